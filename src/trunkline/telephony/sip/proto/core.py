"""What sessions share: the pieces of one endpoint and the small things every request and response needs."""

from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from trunkline.model import Nanos, seconds
from trunkline.telephony.sip.proto.entropy import Ids
from trunkline.telephony.sip.proto.errors import BadMessage
from trunkline.telephony.sip.proto.events import SipEvent
from trunkline.telephony.sip.proto.headers import Via
from trunkline.telephony.sip.proto.layer import TransactionLayer
from trunkline.telephony.sip.proto.message import Message, Request, Response, response_to
from trunkline.telephony.sip.proto.timers import Timers, Timing
from trunkline.telephony.sip.proto.transactions import ClientTransaction, ClientUser
from trunkline.telephony.sip.proto.transport import Peer, Send, TraceRecord
from trunkline.telephony.sip.proto.uri import SipUri, sip_uri

METHODS: Final = ("INVITE", "ACK", "BYE", "CANCEL", "OPTIONS", "REFER", "NOTIFY", "INFO")
"""What we answer to; the value of Allow."""
KNOWN_METHODS: Final = frozenset({*METHODS, "REGISTER", "SUBSCRIBE", "PUBLISH", "MESSAGE", "PRACK", "UPDATE"})
"""Methods that exist (IANA registry); those not in ``METHODS`` get 405, all others 501."""
ALLOW: Final = ", ".join(METHODS)
ACCEPT: Final = "application/sdp, message/sipfrag, application/dtmf-relay, application/dtmf"
TRACE_RING: Final = 64
"""Messages kept per dialog."""
DEFAULT_TIMING: Final = Timing()
THREE_MINUTES: Final = seconds(180)


@dataclass(frozen=True, slots=True)
class Health:
    """What OPTIONS is answered with: 200, or 503 with Retry-After and a Reason header."""

    ok: bool = True
    reason: str = ""
    retry_after: int = 10


@dataclass(frozen=True, slots=True)
class Refusal:
    """A final response that turns a request away. Status 0 means silence."""

    status: int
    reason: str = ""
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class UaConfig:
    """Names and bounds of a user agent."""

    user_agent: str = "Trunkline"
    contact_user: str = "trunkline"
    timing: Timing = DEFAULT_TIMING
    max_transactions: int = 100_000
    """At the bound new requests get a stateless 503 with Retry-After."""
    max_sessions: int = 4_000
    """At the bound new INVITEs get 503 with Retry-After."""
    retry_after: int = 5
    unanswered: Nanos = THREE_MINUTES
    """An INVITE that its user has not answered by then is ended with 480; one that the peer has not answered
    is cancelled."""
    subscription: Nanos = THREE_MINUTES
    """How long a REFER's implicit subscription may live."""


LocalAddress = Callable[[str, str], tuple[str, int]]
"""(transport, remote host) -> host and port that the remote can reach us at."""


class Core:
    """Shared state of one endpoint; its outputs wait in ``outbox`` for the shell."""

    def __init__(self, config: UaConfig, ids: Ids, local: LocalAddress) -> None:
        self.config = config
        self.ids = ids
        self.timers = Timers()
        self.counters: Counter[str] = Counter()
        self.outbox: deque[Send | SipEvent] = deque()
        self.traces: dict[str, deque[TraceRecord]] = {}
        self.received: TraceRecord | None = None
        """The message that is being handled, for the trace of a session that it creates."""
        self.observe: Callable[[TraceRecord], None] | None = None
        self._local = local
        self.layer = TransactionLayer(
            timers=self.timers,
            timing=config.timing,
            ids=ids,
            transmit=self.transmit,
            counters=self.counters,
            limit=config.max_transactions,
        )

    def emit(self, event: SipEvent) -> None:
        self.outbox.append(event)

    def transmit(self, message: Request | Response, peer: Peer, token: str, now: Nanos) -> None:
        """Queue a message for the wire."""
        data = message.to_bytes()
        if isinstance(message, Request):
            self.counters[f"sent_{message.method.lower()}"] += 1
        else:
            self.counters[f"sent_{message.status}"] += 1
        self.note(TraceRecord(now, True, peer, data, call_id_of(message)))
        self.outbox.append(Send(data, peer, token))

    def note(self, record: TraceRecord) -> None:
        """Keep a message for traces: in its dialog's ring, and for whoever observes."""
        if not record.sent:
            self.received = record
        ring = self.traces.get(record.call_id)
        if ring is not None:
            ring.append(record)
        if self.observe is not None:
            self.observe(record)

    def contact(self, peer: Peer) -> SipUri:
        """Our Contact for a peer."""
        host, port = self._local(peer.transport, peer.host)
        params = () if peer.transport == "UDP" else (("transport", peer.transport.lower()),)
        return sip_uri(self.config.contact_user, host, port, params)

    def add_via(self, request: Request, peer: Peer, branch: str = "") -> None:
        """Put our Via on top of a request."""
        host, port = self._local(peer.transport, peer.host)
        via = Via(peer.transport, host, port, (("branch", branch or self.ids.branch()), ("rport", None)))
        request.headers.add("Via", str(via), first=True)

    def request(self, request: Request, peer: Peer, user: ClientUser, now: Nanos) -> ClientTransaction:
        """Send a complete request but for its Via and User-Agent."""
        self.add_via(request, peer)
        if "content-length" not in request.headers:
            request.headers.add("Content-Length", "0")
        request.headers.add("User-Agent", self.config.user_agent)
        return self.layer.request(request, peer, user, now)

    def response(
        self,
        request: Request,
        status: int,
        reason: str = "",
        *,
        to_tag: str = "",
        headers: Mapping[str, str] | tuple[tuple[str, str], ...] = (),
    ) -> Response:
        """A response with our Server header; without ``to_tag`` one is derived from the request."""
        if not to_tag and status > 100:
            to_tag = self.stateless_tag(request)
        response = response_to(request, status, reason, to_tag=to_tag)
        pairs = headers.items() if isinstance(headers, Mapping) else headers
        for name, value in pairs:
            response.headers.add(name, value)
        response.headers.add("Server", self.config.user_agent)
        return response

    def stateless_tag(self, request: Request) -> str:
        """A To tag that is the same whenever this request comes again."""
        return self.ids.stateless_tag(
            request.headers.text("via"), request.headers.text("call-id"), request.headers.text("cseq")
        )


def call_id_of(message: Message) -> str:
    """Call-ID for traces; ``""`` when it cannot be read."""
    try:
        value: str = message.headers.view("call-id") or ""
    except BadMessage:
        return ""
    return value
