"""Where a message ends: in a datagram (RFC 3261 section 18.3) and on a stream (Content-Length required).

Every input ends in messages or in ``BadMessage``; a stream that raised cannot be continued.
"""

from typing import Final

from trunkline.telephony.sip.proto.errors import BadHeader, BadMessage
from trunkline.telephony.sip.proto.message import Headers, Message, Request, Response, parse_head

MAX_HEAD: Final = 64 * 1024
MAX_BODY: Final = 256 * 1024
_END: Final = b"\r\n\r\n"


def parse_datagram(data: bytes) -> Request | Response:
    """The message in a datagram. Octets beyond Content-Length are dropped; without it the body runs to the
    end. Raises ``BadMessage``; when the header block was readable the error is a ``BadFrame`` that has it."""
    end = data.find(_END)
    if end < 0:
        lenient = _bare_line_feeds(data)
        if lenient is None:
            raise BadMessage("no end of the header block")
        data, end = lenient
    if end > MAX_HEAD:
        raise BadMessage(f"a header block above {MAX_HEAD} octets", status=513)
    message = parse_head(data[:end])
    body = data[end + 4 :]
    length = _declared_length(message)
    if length is None:
        length = len(body)
    if length > len(body):
        raise BadFrame(message, "body shorter than Content-Length")
    if length > MAX_BODY:
        raise BadFrame(message, f"a body above {MAX_BODY} octets", status=513)
    message.body = body[:length]
    return message


class BadFrame(BadMessage):
    """The header block is sound but the body is not; ``head`` allows an answer."""

    def __init__(self, head: Message, what: str, *, status: int = 400) -> None:
        super().__init__(what, status=status if isinstance(head, Request) else 0)
        self.head = head


def is_keepalive(data: bytes) -> bool:
    """Whether a datagram is a keep-alive (CRLFs or zero octets), not a message (RFC 5626 section 3.5)."""
    return len(data) <= 8 and not data.strip(b"\r\n\x00")


def _bare_line_feeds(data: bytes) -> tuple[bytes, int] | None:
    # Some senders end lines with LF alone. Only a datagram without any CRLF is read that way.
    end = data.find(b"\n\n")
    if end < 0 or b"\r" in data[:end]:
        return None
    head = data[:end].replace(b"\n", b"\r\n")
    return head + _END + data[end + 2 :], len(head)


def _declared_length(message: Message) -> int | None:
    values = set(message.headers.all_raw("content-length"))
    if not values:
        return None
    if len(values) > 1:
        raise BadFrame(message, "contradicting Content-Length headers")
    try:
        if len(message.headers.all_raw("content-length")) > 1:
            message.headers.set("Content-Length", values.pop())
        length: int = message.headers.view("content-length")
    except BadHeader as error:
        raise BadFrame(message, error.what) from None
    return length


class StreamFramer:
    """Cuts a byte stream into messages. Holds at most one header block and one body."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._searched = 0
        self._head: Request | Response | None = None
        self._need = 0
        self.pings = 0
        """Double CRLF pings since last taken; each deserves a single CRLF (RFC 5626 section 4.4.1)."""

    @property
    def partial(self) -> bool:
        """Whether a message has begun and is not yet whole."""
        return self._head is not None or len(self._buffer) > 0

    def feed(self, data: bytes) -> list[Request | Response]:
        """Take octets, give complete messages. Raises ``BadMessage``: close the connection then."""
        self._buffer += data
        done: list[Request | Response] = []
        while (message := self._next()) is not None:
            done.append(message)
        return done

    def _next(self) -> Request | Response | None:
        if self._head is None and not self._take_head():
            return None
        head = self._head
        if head is None or len(self._buffer) < self._need:
            return None
        head.body = bytes(self._buffer[: self._need])
        del self._buffer[: self._need]
        self._head = None
        return head

    def _take_head(self) -> bool:
        self._skip_keepalives()
        end = self._buffer.find(_END, max(0, self._searched - 3))
        if end < 0:
            self._searched = len(self._buffer)
            if len(self._buffer) > MAX_HEAD:
                raise BadMessage(f"a header block above {MAX_HEAD} octets", status=513)
            return False
        if end > MAX_HEAD:
            raise BadMessage(f"a header block above {MAX_HEAD} octets", status=513)
        head = parse_head(bytes(self._buffer[:end]))
        del self._buffer[: end + 4]
        self._searched = 0
        length = _declared_length(head)
        if length is None:
            raise BadFrame(head, "no Content-Length on a stream")
        if length > MAX_BODY:
            raise BadFrame(head, f"a body above {MAX_BODY} octets", status=513)
        self._head, self._need = head, length
        return True

    def _skip_keepalives(self) -> None:
        while self._buffer[:2] == b"\r\n":
            if self._buffer[:4] == _END:
                self.pings += 1
                del self._buffer[:4]
            else:
                if len(self._buffer) < 4:
                    return
                del self._buffer[:2]
            self._searched = 0


def salvage(data: bytes) -> Request | None:
    """Enough of a malformed request to answer it: the fields a response copies, read leniently.

    None when there is no method and version to see, or a response could not be addressed.
    """
    head = data[:MAX_HEAD].partition(_END)[0]
    line, _, block = head.partition(b"\r\n")
    words = line.split()
    if len(words) < 2 or not words[-1].upper().startswith(b"SIP/") or words[0].upper().startswith(b"SIP/"):
        return None
    headers = Headers()
    try:
        parsed = Headers.parse(block.rstrip(b"\r\n"))
    except BadMessage:
        return None
    for name in ("via", "from", "to", "call-id", "cseq"):
        if name not in parsed:
            return None
        headers.copy_from(parsed, name)
    method = words[0].decode("ascii", "replace")
    return Request(method, "sip:malformed.invalid", headers)
