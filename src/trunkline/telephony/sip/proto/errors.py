"""What a peer can do wrong in SIP, as errors that carry the answer it deserves."""

from trunkline.model import RemoteProtocolError


class BadMessage(RemoteProtocolError):  # noqa: N818 - reads as what it says
    """Bytes that cannot be cut into a SIP message.

    ``status`` is the response a request of this kind deserves, 0 when silence is right.
    """

    def __init__(self, what: str, *, status: int = 400) -> None:
        super().__init__(what)
        self.status = status


class BadHeader(BadMessage):
    """A header field that was needed does not follow its grammar; ``header`` names it in lower case."""

    def __init__(self, header: str, what: str, *, status: int = 400) -> None:
        super().__init__(f"{header}: {what}", status=status)
        self.header = header


class BadUri(BadMessage):
    """A URI that does not follow its scheme's grammar."""


class BadSdp(BadMessage):
    """A session description that cannot be used; answered with 488 unless its syntax is at fault (400)."""
