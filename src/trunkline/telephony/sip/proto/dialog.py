"""A dialog (RFC 3261 section 12): ids, sequence numbers, route set and remote target, nothing else.

Everything here is a value or follows from values, so that a dialog can be kept and rebuilt elsewhere.
"""

from dataclasses import dataclass, replace
from enum import Enum, auto
from typing import Final

from trunkline.telephony.sip.proto.errors import BadHeader, BadMessage
from trunkline.telephony.sip.proto.headers import NameAddr
from trunkline.telephony.sip.proto.message import Headers, Message, Request, Response
from trunkline.telephony.sip.proto.transport import Peer, TransportName
from trunkline.telephony.sip.proto.uri import DEFAULT_PORTS, SipUri, Uri

DialogKey = tuple[str, str, str]
"""Call-ID, our tag, the peer's tag."""

MAX_ROUTES: Final = 32


class Order(Enum):
    """How a request's CSeq stands to those before it."""

    IN_ORDER = auto()
    OUT_OF_ORDER = auto()


@dataclass(slots=True)
class Dialog:
    """State of one dialog, seen from our side."""

    call_id: str
    local: NameAddr
    """With our tag."""
    remote: NameAddr
    """With the peer's tag, which is empty for a peer of RFC 2543."""
    target: Uri
    """Remote target: the Request-URI of our requests."""
    routes: tuple[NameAddr, ...]
    local_seq: int
    remote_seq: int
    """-1 until the peer sent a request."""
    peer: Peer
    """Where the dialog's first message came from; its flow is reused over streams."""
    initiator: bool
    """Whether the Call-ID is ours (decides who waits how long after 491)."""

    @property
    def key(self) -> DialogKey:
        return (self.call_id, self.local.tag, self.remote.tag)

    def check_order(self, request: Request) -> Order:
        """Note the CSeq of a request other than ACK and CANCEL (RFC 3261 section 12.2.2)."""
        number = request.cseq.number
        if number < self.remote_seq:
            return Order.OUT_OF_ORDER
        self.remote_seq = number
        return Order.IN_ORDER

    def refresh_target(self, message: Message) -> None:
        """Take the Contact of a target refresh request or its 2xx. One that cannot be used changes nothing: a
        call that is up must not fail for it."""
        try:
            contact = message.contact
        except BadMessage:
            return
        if contact is not None and isinstance(contact.uri, SipUri):
            self.target = contact.uri

    def request(self, method: str, *, cseq: int | None = None) -> Request:
        """A request inside the dialog without Via and Contact; takes the next CSeq unless one is given
        (ACK and CANCEL use that of their INVITE)."""
        if cseq is None:
            self.local_seq += 1
            cseq = self.local_seq
        uri, routes = self._path()
        headers = Headers()
        for route in routes:
            headers.add("Route", f"<{route}>")
        headers.add("Max-Forwards", "70")
        headers.add("From", str(self.local))
        headers.add("To", str(self.remote))
        headers.add("Call-ID", self.call_id)
        headers.add("CSeq", f"{cseq} {method}")
        return Request(method, uri, headers)

    def next_hop(self) -> Peer:
        """Where requests go: the first route, or the remote target (both are SIP URIs in every dialog)."""
        hop = self.routes[0].uri if self.routes else self.target
        return peer_of(hop, flow=self.peer)

    def _path(self) -> tuple[Uri, tuple[Uri, ...]]:
        routes = tuple(route.uri for route in self.routes)
        if not routes or _loose(routes[0]):
            return self.target, routes
        # A strict router of RFC 2543 wants itself in the Request-URI and the target last (12.2.1.1).
        return routes[0], (*routes[1:], self.target)


def _loose(uri: Uri) -> bool:
    return isinstance(uri, SipUri) and uri.param("lr") is not None


def peer_of(uri: Uri, *, flow: Peer | None = None) -> Peer:
    """Transport, host and port a SIP URI points at (without DNS SRV). A stream flow is kept when the URI asks
    for the same transport. Raises ``BadUri`` for URIs that are not SIP."""
    if not isinstance(uri, SipUri):
        raise BadHeader("route", f"cannot send to a {uri.scheme}: URI", status=416)
    transport = _transport(uri)
    port = uri.port or DEFAULT_PORTS["sips" if transport == "TLS" else "sip"]
    # ``maddr`` is not followed, for the same reason as in Via.
    reuse = flow.flow if flow is not None and flow.reliable and flow.transport == transport else 0
    return Peer(transport, uri.host, port, reuse)


def _transport(uri: SipUri) -> TransportName:
    wanted = (uri.param("transport") or "").lower()
    if uri.scheme == "sips" or wanted == "tls":
        return "TLS"
    return "TCP" if wanted == "tcp" else "UDP"


def server_dialog(request: Request, local_tag: str, peer: Peer) -> Dialog:
    """The dialog that our answer to ``request`` creates (RFC 3261 section 12.1.1). A peer of RFC 2543 may
    leave out Contact and is reached by its From then. Raises ``BadHeader``."""
    return Dialog(
        call_id=request.call_id,
        local=request.to.with_tag(local_tag),
        remote=request.from_,
        target=_sip_target(request.contact, request.from_.uri),
        routes=_routes(request),
        local_seq=0,
        remote_seq=request.cseq.number,
        peer=peer,
        initiator=False,
    )


def client_dialog(request: Request, response: Response, peer: Peer) -> Dialog:
    """The dialog that a response to our ``request`` creates (RFC 3261 section 12.1.2). The target is the
    Request-URI while the response has no Contact. Raises ``BadHeader``."""
    contact = response.contact
    return Dialog(
        call_id=request.call_id,
        local=request.from_,
        remote=response.to,
        target=_sip_target(contact, request.uri),
        routes=tuple(reversed(_routes(response))),
        local_seq=request.cseq.number,
        remote_seq=-1,
        peer=peer,
        initiator=True,
    )


def confirmed(early: Dialog, response: Response) -> Dialog:
    """An early dialog at its 2xx: the route set is computed anew (RFC 3261 section 13.2.2.4)."""
    contact = response.contact
    return replace(
        early,
        routes=tuple(reversed(_routes(response))),
        target=_sip_target(contact, early.target),
    )


def _routes(message: Message) -> tuple[NameAddr, ...]:
    routes = message.record_routes
    if len(routes) > MAX_ROUTES:
        raise BadHeader("record-route", f"more than {MAX_ROUTES} hops")
    if any(not isinstance(route.uri, SipUri) for route in routes):
        raise BadHeader("record-route", "not a SIP URI")
    return routes


def _sip_target(contact: NameAddr | None, fallback: Uri) -> SipUri:
    uri = contact.uri if contact is not None else fallback
    if not isinstance(uri, SipUri):
        raise BadHeader("contact", "is missing or not a SIP URI")
    return uri
