"""SIP messages: a start line, header fields kept as the bytes they came in, and a body.

Typed views are parsed when they are first read and raise ``BadHeader`` then; a header that nobody reads may
hold anything. Owns the cut of a header block into fields and the way back to bytes; ``framing`` finds where
a message ends.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

from trunkline.telephony.sip.proto import headers as h
from trunkline.telephony.sip.proto.errors import BadHeader, BadMessage
from trunkline.telephony.sip.proto.grammar import is_token, raw, split_commas, text
from trunkline.telephony.sip.proto.reasons import reason_phrase
from trunkline.telephony.sip.proto.uri import Uri, parse_uri

MAX_HEADERS: Final = 512
"""Header fields of one message; a message with more is refused."""

COMPACT: Final = {
    "a": "accept-contact",
    "b": "referred-by",
    "c": "content-type",
    "d": "request-disposition",
    "e": "content-encoding",
    "f": "from",
    "i": "call-id",
    "j": "reject-contact",
    "k": "supported",
    "l": "content-length",
    "m": "contact",
    "o": "event",
    "r": "refer-to",
    "s": "subject",
    "t": "to",
    "u": "allow-events",
    "v": "via",
    "x": "session-expires",
    "y": "identity",
}
"""Compact forms (IANA SIP header field registry)."""

_NAME: Final = re.compile(rb"[A-Za-z0-9\-.!%*_+`'~]+\Z")
_NOT_IN_URI: Final = re.compile(r'[\x00- <>"]')
_VERSION: Final = re.compile(r"SIP/\d+\.\d+\Z", re.IGNORECASE)
_FOLD: Final = re.compile(rb"[ \t]*\r\n[ \t]+")
_NAMES: dict[bytes, str] = {}
"""Names seen on the wire, by their bytes; only well-known names enter, so it stays small."""

Field = tuple[str, bytes, bytes]
"""Lower-case full name, the whole line(s) as received without the final CRLF, the unfolded value."""

_SINGLE: Final[dict[str, Callable[[str], Any]]] = {
    "call-id": h.parse_call_id,
    "content-length": h.parse_content_length,
    "content-type": h.parse_media_type,
    "cseq": h.parse_cseq,
    "date": h.parse_date,
    "event": h.parse_valued,
    "from": h.parse_name_addr,
    "max-forwards": h.parse_max_forwards,
    "refer-to": h.parse_name_addr,
    "referred-by": h.parse_name_addr,
    "reply-to": h.parse_name_addr,
    "retry-after": h.parse_retry_after,
    "subscription-state": h.parse_valued,
    "to": h.parse_name_addr,
}
_MULTI: Final[dict[str, Callable[[str], tuple[Any, ...]]]] = {
    "accept": lambda value: tuple(h.parse_media_type(part) for part in split_commas(value) if part),
    "allow": h.parse_tokens,
    "contact": h.parse_contacts,
    "content-encoding": h.parse_tokens,
    "p-asserted-identity": h.parse_name_addrs,
    "proxy-require": h.parse_tokens,
    "reason": lambda value: tuple(h.parse_valued(part) for part in split_commas(value)),
    "record-route": h.parse_name_addrs,
    "require": h.parse_tokens,
    "route": h.parse_name_addrs,
    "supported": h.parse_tokens,
    "unsupported": h.parse_tokens,
    "via": h.parse_vias,
}


class Headers:
    """Header fields in order. Names are case-insensitive and compact forms count as their long ones."""

    __slots__ = ("_fields", "_index", "_views")

    def __init__(self, fields: Iterable[Field] = ()) -> None:
        self._fields: list[Field] = list(fields)
        self._views: dict[str, Any] = {}
        self._index: dict[str, list[bytes]] | None = None

    def __len__(self) -> int:
        return len(self._fields)

    def __iter__(self) -> Iterator[tuple[str, bytes]]:
        """(lower-case name, unfolded raw value) in order."""
        return ((name, value) for name, _, value in self._fields)

    def __contains__(self, name: str) -> bool:
        return name in self._values()

    def raw(self, name: str) -> bytes | None:
        """First value of the header, or None."""
        values = self._values().get(name)
        return values[0] if values else None

    def all_raw(self, name: str) -> list[bytes]:
        """Every value of the header, one per field."""
        return self._values().get(name, [])

    def _values(self) -> dict[str, list[bytes]]:
        """Values by name; built when first asked after a change."""
        index = self._index
        if index is None:
            index = self._index = {}
            for name, _, value in self._fields:
                if name in index:
                    index[name].append(value)
                else:
                    index[name] = [value]
        return index

    def _changed(self, name: str) -> None:
        self._views.pop(name, None)
        self._index = None

    def text(self, name: str) -> str:
        """First value as text, ``""`` when absent."""
        value = self.raw(name)
        return "" if value is None else text(value)

    def add(self, name: str, value: str | bytes, *, first: bool = False) -> None:
        """Add a field at the end, or before all others. ``name`` in its usual spelling."""
        data = raw(value) if isinstance(value, str) else value
        if b"\r" in data or b"\n" in data:
            raise BadMessage(f"line break in a value for {name}")
        field = (name.lower(), name.encode("ascii") + b": " + data, data)
        if first:
            self._fields.insert(0, field)
        else:
            self._fields.append(field)
        self._changed(field[0])

    def set(self, name: str, value: str | bytes) -> None:
        """Replace all fields of this name by one, in the place of the first."""
        key = name.lower()
        at = next((i for i, field in enumerate(self._fields) if field[0] == key), len(self._fields))
        self.remove(key)
        self.add(name, value)
        self._fields.insert(at, self._fields.pop())

    def remove(self, name: str) -> None:
        """Remove all fields of this name."""
        self._fields = [field for field in self._fields if field[0] != name]
        self._changed(name)

    def replace_top(self, name: str, value: str) -> None:
        """Replace the first value of a list header (the top Via), leaving the others as they came."""
        key = name.lower()
        for at, (field, _, old) in enumerate(self._fields):
            if field == key:
                rest = split_commas(text(old))[1:]
                data = raw(", ".join([value, *rest]))
                self._fields[at] = (key, name.encode("ascii") + b": " + data, data)
                self._changed(key)
                return
        self.add(name, value, first=True)

    def copy_from(self, other: "Headers", name: str) -> None:
        """Append all fields of this name from another message, byte for byte."""
        self._fields.extend(field for field in other._fields if field[0] == name)
        self._changed(name)

    def view(self, name: str) -> Any:
        """Typed value of a header that occurs once; None when absent. Raises ``BadHeader``."""
        if name in self._views:
            return self._views[name]
        values = self.all_raw(name)
        if not values:
            return None
        if len(values) > 1:
            raise BadHeader(name, "must occur once")
        parsed = self._parse(name, _SINGLE[name], values[0])
        self._views[name] = parsed
        return parsed

    def views(self, name: str) -> tuple[Any, ...]:
        """Typed values of a list header over all its fields. Raises ``BadHeader``."""
        if name in self._views:
            found: tuple[Any, ...] = self._views[name]
            return found
        parsed: list[Any] = []
        for value in self.all_raw(name):
            parsed.extend(self._parse(name, _MULTI[name], value))
        self._views[name] = views = tuple(parsed)
        return views

    @staticmethod
    def _parse(name: str, parser: Callable[[str], Any], value: bytes) -> Any:
        try:
            return parser(text(value))
        except BadMessage as error:
            raise BadHeader(name, error.what, status=error.status) from None

    def lines(self) -> list[bytes]:
        """The fields as lines without their CRLF."""
        return [line for _, line, _ in self._fields]

    @classmethod
    def parse(cls, block: bytes) -> "Headers":
        """Cut a header block (lines joined by CRLF, no blank line) into fields. Raises ``BadMessage``."""
        breaks = block.count(b"\r\n")
        if block.count(b"\r") != breaks or block.count(b"\n") != breaks:
            # The grammar has no CR or LF of its own (RFC 3261 section 25.1), and what is copied into a response
            # would end a line there for a reader that is more lenient: a header of the sender's choosing.
            raise BadMessage("a line break that is no CRLF in a header")
        fields: list[Field] = []
        names = _NAMES
        for line in _unfolded_lines(block):
            name, colon, value = line.partition(b":")
            key = names.get(name)
            if key is None:
                key = _name_of(name)
            if not colon:
                raise BadMessage("a header line without a colon")
            if b"\r\n" in value:
                value = _FOLD.sub(b" ", value)
            fields.append((key, line, value.strip(b" \t")))
        if len(fields) > MAX_HEADERS:
            raise BadMessage(f"more than {MAX_HEADERS} header fields")
        return cls(fields)


def _unfolded_lines(block: bytes) -> list[bytes]:
    if not block:
        return []
    lines = block.split(b"\r\n")
    if b"\r\n " not in block and b"\r\n\t" not in block:
        return lines
    joined: list[bytes] = []
    for line in lines:
        if line[:1] in (b" ", b"\t"):
            if not joined:
                raise BadMessage("a continuation line without a header")
            joined[-1] += b"\r\n" + line
        else:
            joined.append(line)
    return joined


def _name_of(name: bytes) -> str:
    trimmed = name.rstrip(b" \t\r\n")
    if not _NAME.match(trimmed):
        raise BadMessage("a malformed header name")
    lower = trimmed.decode("ascii").lower()
    full = COMPACT.get(lower, lower)
    if full in _SINGLE or full in _MULTI:
        _remember(name, full)
    return full


def _remember(name: bytes, full: str) -> None:
    # Spellings of known names are few in practice; the bound stops a peer that varies case and spaces.
    if len(_NAMES) < 512:
        _NAMES[name] = full


class Message:
    """What requests and responses share. ``body`` is bytes, never decoded here."""

    __slots__ = ("body", "headers")

    def __init__(self, headers: Headers, body: bytes) -> None:
        self.headers = headers
        self.body = body

    # Views used by the protocol machines; each raises ``BadHeader`` when the header is missing or malformed.

    def _need(self, name: str) -> Any:
        value = self.headers.view(name)
        if value is None:
            raise BadHeader(name, "is missing")
        return value

    @property
    def vias(self) -> tuple[h.Via, ...]:
        return self.headers.views("via")

    @property
    def via(self) -> h.Via:
        """Top Via."""
        vias = self.vias
        if not vias:
            raise BadHeader("via", "is missing")
        return vias[0]

    @property
    def from_(self) -> h.NameAddr:
        value: h.NameAddr = self._need("from")
        return value

    @property
    def to(self) -> h.NameAddr:
        value: h.NameAddr = self._need("to")
        return value

    @property
    def cseq(self) -> h.CSeq:
        value: h.CSeq = self._need("cseq")
        return value

    @property
    def call_id(self) -> str:
        value: str = self._need("call-id")
        return value

    @property
    def contact(self) -> h.NameAddr | None:
        """The only or first contact."""
        contacts: tuple[h.NameAddr, ...] = self.headers.views("contact")
        return contacts[0] if contacts else None

    @property
    def record_routes(self) -> tuple[h.NameAddr, ...]:
        return self.headers.views("record-route")

    @property
    def content_type(self) -> str:
        """Media type in lower case without parameters; ``""`` when absent."""
        value: h.Valued | None = self.headers.view("content-type")
        return value.value if value else ""

    def start_line(self) -> bytes:
        raise NotImplementedError

    def to_bytes(self) -> bytes:
        """The message for the wire, header fields exactly as they were received or added."""
        lines = [self.start_line(), *self.headers.lines(), b"", self.body]
        return b"\r\n".join(lines)


class Request(Message):
    """A request. ``uri_text`` is the Request-URI as on the wire; ``uri`` parses it when read."""

    __slots__ = ("_uri", "method", "uri_text", "version")

    def __init__(
        self, method: str, uri: Uri | str, headers: Headers, body: bytes = b"", version: str = "SIP/2.0"
    ) -> None:
        super().__init__(headers, body)
        self.method = method
        self.uri_text = str(uri)
        self.version = version
        self._uri = uri if isinstance(uri, Uri) else None

    @property
    def uri(self) -> Uri:
        """Raises ``BadUri``."""
        if self._uri is None:
            self._uri = parse_uri(self.uri_text)
        return self._uri

    def start_line(self) -> bytes:
        return raw(f"{self.method} {self.uri_text} {self.version}")

    def __repr__(self) -> str:
        return f"<Request {self.method}>"


class Response(Message):
    """A response."""

    __slots__ = ("reason", "status", "version")

    def __init__(
        self, status: int, reason: str, headers: Headers, body: bytes = b"", version: str = "SIP/2.0"
    ) -> None:
        super().__init__(headers, body)
        self.status = status
        self.reason = reason
        self.version = version

    def start_line(self) -> bytes:
        return raw(f"{self.version} {self.status} {self.reason}")

    def __repr__(self) -> str:
        return f"<Response {self.status}>"


def parse_head(head: bytes) -> Request | Response:
    """Parse start line and header block (no blank line); the body stays empty. Raises ``BadMessage``."""
    line, _, block = head.partition(b"\r\n")
    first = text(line)
    if first[:4].upper() == "SIP/":
        return _status_line(first, Headers.parse(block))
    return _request_line(first, block)


def _request_line(line: str, block: bytes) -> Request:
    parts = line.split(" ")
    if len(parts) != 3 or not is_token(parts[0]) or not _VERSION.match(parts[2]):
        raise BadMessage("a malformed request line")
    method, uri, version = parts
    if not uri or _NOT_IN_URI.search(uri):
        raise BadMessage("a malformed Request-URI")
    return Request(method, uri, Headers.parse(block), version=version.upper())


def _status_line(line: str, headers: Headers) -> Response:
    version, _, rest = line.partition(" ")
    code, _, reason = rest.partition(" ")
    if not _VERSION.match(version) or len(code) != 3 or not code.isascii() or not code.isdigit():
        raise BadMessage("a malformed status line", status=0)
    status = int(code)
    if not 100 <= status <= 699:
        raise BadMessage("a status outside 100 to 699", status=0)
    return Response(status, reason, headers, version=version.upper())


def set_body(message: Message, body: bytes, content_type: str = "") -> None:
    """Give the message its body, Content-Type and Content-Length."""
    message.body = body
    if body and content_type:
        message.headers.set("Content-Type", content_type)
    message.headers.set("Content-Length", str(len(body)))


def response_to(request: Request, status: int, reason: str = "", *, to_tag: str = "") -> Response:
    """A response with what RFC 3261 section 8.2.6 copies from the request, without a body.

    Headers are copied byte for byte, so this works for requests whose headers are malformed.
    ``to_tag`` is added unless the request's To already has one or cannot be parsed.
    """
    headers = Headers()
    for name in ("via", "from", "to", "call-id", "cseq"):
        headers.copy_from(request.headers, name)
    if status == 100:
        headers.copy_from(request.headers, "timestamp")
    elif to_tag:
        _add_to_tag(headers, to_tag)
    headers.add("Content-Length", "0")
    return Response(status, reason or reason_phrase(status), headers)


def _add_to_tag(headers: Headers, tag: str) -> None:
    try:
        to: h.NameAddr | None = headers.view("to")
    except BadMessage:
        return
    if to is not None and not to.tag:
        # Appended to the raw value: an unquoted or exotic To must come back as it was sent.
        headers.set("To", headers.all_raw("to")[0] + b";tag=" + tag.encode("ascii"))
