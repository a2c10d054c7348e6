"""What a request must be before anything acts on it (RFC 3261 section 8.2), as one list of checks.

Each check returns the refusal the request deserves or None; ``check`` runs them in the order that decides
which fault is reported.
"""

from collections.abc import Callable
from typing import Final

from trunkline.telephony.sip.proto.core import ACCEPT, ALLOW, KNOWN_METHODS, METHODS, Refusal
from trunkline.telephony.sip.proto.message import Request
from trunkline.telephony.sip.proto.uri import SipUri

SUPPORTED: Final[frozenset[str]] = frozenset()
"""Option tags we understand in Require."""
SCHEMES: Final = frozenset({"sip", "sips", "tel"})
_SINGLE: Final = ("to", "from", "call-id", "cseq", "max-forwards")
_BODIES: Final = {
    "INVITE": frozenset({"application/sdp"}),
    "NOTIFY": frozenset({"message/sipfrag"}),
}
_PRODUCES: Final = frozenset({"application/sdp", "application/*", "*/*"})

Check = Callable[[Request], Refusal | None]


def check(request: Request) -> Refusal | None:
    """The first objection to a request, or None. Raises ``BadMessage`` for malformed headers."""
    for step in _CHECKS:
        refusal = step(request)
        if refusal is not None:
            return refusal
    return None


def _version(request: Request) -> Refusal | None:
    return None if request.version == "SIP/2.0" else Refusal(505)


def _mandatory(request: Request) -> Refusal | None:
    for name in _SINGLE:
        count = len(request.headers.all_raw(name))
        # RFC 2543 knew no Max-Forwards; the others are needed to answer at all.
        if count > 1 or (count == 0 and name != "max-forwards"):
            return Refusal(400, f"{'Repeated' if count else 'Missing'} {name}")
    _ = request.via, request.to, request.from_, request.call_id, request.cseq
    return None


def _method(request: Request) -> Refusal | None:
    if request.method in METHODS:
        return None
    status = 405 if request.method in KNOWN_METHODS else 501
    return Refusal(status, headers=(("Allow", ALLOW),))


def _sequence(request: Request) -> Refusal | None:
    if request.cseq.method != request.method:
        return Refusal(400, "CSeq method does not match")
    return None


def _uri(request: Request) -> Refusal | None:
    scheme = request.uri_text.partition(":")[0].lower()
    if scheme not in SCHEMES:
        return Refusal(416)
    uri = request.uri
    if isinstance(uri, SipUri) and uri.headers:
        return Refusal(400, "Headers in the Request-URI")
    return None


def _hops(request: Request) -> Refusal | None:
    hops = request.headers.view("max-forwards")
    return Refusal(483) if hops == 0 else None


def _extensions(request: Request) -> Refusal | None:
    # ACK and CANCEL cannot be refused for an extension (RFC 3261 section 8.2.2.3).
    if request.method in {"ACK", "CANCEL"}:
        return None
    unknown = [tag for tag in request.headers.views("require") if tag.lower() not in SUPPORTED]
    return Refusal(420, headers=(("Unsupported", ", ".join(unknown)),)) if unknown else None


def _body(request: Request) -> Refusal | None:
    allowed = _BODIES.get(request.method)
    if not request.body or allowed is None:
        return None
    encodings = [name for name in request.headers.views("content-encoding") if name.lower() != "identity"]
    if encodings:
        return Refusal(415, headers=(("Accept-Encoding", "identity"),))
    if request.content_type not in allowed:
        return Refusal(415, headers=(("Accept", ACCEPT),))
    return None


def _accept(request: Request) -> Refusal | None:
    if request.method != "INVITE":
        return None
    accepted = request.headers.views("accept")
    if accepted and not any(kind.value in _PRODUCES for kind in accepted):
        return Refusal(406)
    return None


_CHECKS: Final[tuple[Check, ...]] = (
    _version,
    _mandatory,
    _method,
    _sequence,
    _uri,
    _hops,
    _extensions,
    _body,
    _accept,
)
