"""The user agent: takes messages and time, gives messages and events.

The run loop of a shell is always the same: call one of ``receive_datagram``, ``receive``, ``fire``,
``transport_failed`` or a command of a session; then drain ``poll`` until it is empty, sending every ``Send``
and handing over every event; then set one timer for ``deadline``.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping

from trunkline.model import Nanos, Overloaded
from trunkline.telephony.sip.proto import validate
from trunkline.telephony.sip.proto.core import (
    ACCEPT,
    ALLOW,
    KNOWN_METHODS,
    Core,
    Health,
    LocalAddress,
    Refusal,
    UaConfig,
)
from trunkline.telephony.sip.proto.dialog import DialogKey, peer_of
from trunkline.telephony.sip.proto.entropy import Entropy, Ids
from trunkline.telephony.sip.proto.errors import BadMessage
from trunkline.telephony.sip.proto.events import IncomingCall, SipEvent
from trunkline.telephony.sip.proto.framing import BadFrame, is_keepalive, parse_datagram, salvage
from trunkline.telephony.sip.proto.headers import NameAddr
from trunkline.telephony.sip.proto.layer import note_source
from trunkline.telephony.sip.proto.message import Request, Response
from trunkline.telephony.sip.proto.session import OfferUser, Session
from trunkline.telephony.sip.proto.transactions import InviteServerTransaction, ServerTransaction
from trunkline.telephony.sip.proto.transport import Peer, Send, TraceRecord
from trunkline.telephony.sip.proto.uac import ClientSession, build_invite
from trunkline.telephony.sip.proto.uas import ServerSession
from trunkline.telephony.sip.proto.uri import Uri

Screen = Callable[[Request, Peer], Refusal | None]
"""Decides on requests outside dialogs before anything else is done for them; None lets them in."""


class UserAgent:
    """UAS and UAC of one endpoint.

    ``local`` tells our address as seen by a peer, ``health`` how OPTIONS is answered, ``screen`` who may
    begin anything. Counters, by reason, are in ``counters``.
    """

    def __init__(
        self,
        *,
        entropy: Entropy,
        local: LocalAddress,
        config: UaConfig | None = None,
        health: Callable[[], Health] | None = None,
        screen: Screen | None = None,
    ) -> None:
        self.config = config or UaConfig()
        self._core = Core(self.config, Ids(entropy), local)
        self._health = health or Health
        self._screen = screen
        self._dialogs: dict[DialogKey, Session] = {}
        self._sessions: set[Session] = set()

    # --- what the shell needs -----------------------------------------------------------------------

    def receive_datagram(self, data: bytes, peer: Peer, now: Nanos) -> None:
        """A datagram: a message, a keep-alive, or junk that is counted and perhaps answered with 400."""
        if is_keepalive(data):
            self.counters["keepalive"] += 1
            return
        try:
            message = parse_datagram(data)
        except BadMessage as error:
            self._core.note(TraceRecord(now, False, peer, data, ""))
            self.malformed(data, error, peer, now)
            return
        self.receive(message, peer, now, data=data)

    def receive(
        self, message: Request | Response, peer: Peer, now: Nanos, *, data: bytes | None = None
    ) -> None:
        """A framed message. Never raises because of what is in it."""
        try:
            call_id = message.call_id
        except BadMessage:
            call_id = ""
        self._core.note(TraceRecord(now, False, peer, data or message.to_bytes(), call_id))
        if isinstance(message, Response):
            self._receive_response(message, now)
        else:
            self._receive_request(message, peer, now)

    def malformed(self, data: bytes, error: BadMessage, peer: Peer, now: Nanos) -> None:
        """Octets that are no message: counted, and answered when enough of a request can be read."""
        self.counters["malformed"] += 1
        head = error.head if isinstance(error, BadFrame) else salvage(data)
        if not isinstance(head, Request) or head.method == "ACK" or not error.status:
            return
        if self._screen is not None and self._screen_safely(head, peer) is not None:
            return
        self._answer_malformed(head, error, peer, now)

    def fire(self, now: Nanos) -> None:
        """Let all due timers do their work."""
        self._core.timers.fire(now)

    def deadline(self) -> Nanos | None:
        """When ``fire`` must be called next."""
        return self._core.timers.deadline()

    def transport_failed(self, token: str, now: Nanos) -> None:
        """A ``Send`` with this token could not be sent."""
        self._core.layer.transport_failed(token, now)

    def poll(self) -> Iterator[Send | SipEvent]:
        """What is to be done, in order; more may be added while it is drained."""
        outbox = self._core.outbox
        while outbox:
            yield outbox.popleft()

    # --- what people and metrics see ----------------------------------------------------------------

    @property
    def counters(self) -> Counter[str]:
        return self._core.counters

    @property
    def sessions(self) -> int:
        """Sessions that still hold any state."""
        return len(self._sessions)

    @property
    def dialogs(self) -> int:
        return len(self._dialogs)

    @property
    def transactions(self) -> int:
        return len(self._core.layer)

    @property
    def timers(self) -> dict[str, int]:
        """Live timers by name."""
        return self._core.timers.why()

    @property
    def traces(self) -> int:
        """Call-IDs with a message ring."""
        return len(self._core.traces)

    def observe(self, hook: Callable[[TraceRecord], None] | None) -> None:
        """Show every message to ``hook``; None ends it."""
        self._core.observe = hook

    # --- commands -----------------------------------------------------------------------------------

    def invite(
        self,
        target: Uri,
        *,
        from_: NameAddr | None = None,
        to: NameAddr | None = None,
        body: bytes = b"",
        now: Nanos,
        routes: tuple[NameAddr, ...] = (),
        headers: Mapping[str, str] | None = None,
        peer: Peer | None = None,
    ) -> ClientSession:
        """Call somebody. ``body`` is our offer; without one the peer is asked to make it. ``peer`` overrides
        where the INVITE is sent (an outbound proxy). Raises ``BadUri`` and ``Overloaded``."""
        if len(self._sessions) >= self.config.max_sessions:
            raise Overloaded(f"{self.config.max_sessions} SIP sessions exist already")
        hop = routes[0].uri if routes else target
        peer = peer or peer_of(hop)
        from_ = from_ or NameAddr(self._core.contact(peer))
        request = build_invite(
            self._core,
            target=target,
            from_=from_,
            to=to,
            peer=peer,
            routes=routes,
            headers=headers or {},
            body=body,
        )
        session = ClientSession(self._core, self, request, peer)
        self._sessions.add(session)
        session.start(now)
        return session

    # --- registry of sessions -----------------------------------------------------------------------

    def bind(self, key: DialogKey, session: Session) -> None:
        """A session has a dialog (called by it)."""
        self._dialogs[key] = session

    def unbind(self, key: DialogKey) -> None:
        """A dialog is gone (called by its session)."""
        self._dialogs.pop(key, None)

    def finished(self, session: Session) -> None:
        """A session holds nothing any more (called by it)."""
        self._sessions.discard(session)

    # --- responses ----------------------------------------------------------------------------------

    def _receive_response(self, response: Response, now: Nanos) -> None:
        try:
            if not self._core.layer.response(response, now):
                self.counters["stray_response"] += 1
        except BadMessage:
            self.counters["bad_response"] += 1

    # --- requests -----------------------------------------------------------------------------------

    def _receive_request(self, request: Request, peer: Peer, now: Nanos) -> None:
        self.counters[_received(request.method)] += 1
        try:
            note_source(request, peer)
            transaction = self._core.layer.find(request)
        except BadMessage as error:
            self.malformed(b"", BadFrame(request, error.what), peer, now)
            return
        try:
            if transaction is not None:
                self._known(transaction, request, now)
            else:
                self._new_request(request, peer, now)
        except BadMessage as error:
            self.counters["bad_header"] += 1
            self._answer_malformed(request, error, peer, now)

    def _known(self, transaction: ServerTransaction, request: Request, now: Nanos) -> None:
        if request.method != "ACK":
            self.counters["retransmitted_request"] += 1
            transaction.again(now)
        elif isinstance(transaction, InviteServerTransaction):
            transaction.ack(request, now)

    def _new_request(self, request: Request, peer: Peer, now: Nanos) -> None:
        """A request without a transaction. Raises ``BadMessage`` for headers that cannot be read."""
        session = self._session_of(request)
        if session is None and self._screen is not None:
            refusal = self._screen(request, peer)
            if refusal is not None:
                self._turn_away(request, refusal, peer, now)
                return
        if request.method == "ACK":
            self._receive_ack(request, session, now)
            return
        if self._full_for(session):
            self.counters["overload_transactions"] += 1
            busy = Refusal(503, headers=(("Retry-After", str(self.config.retry_after)),))
            self._stateless(request, busy, peer, now)
            return
        refusal = validate.check(request)
        if refusal is None and self._core.layer.merged(request):
            refusal = Refusal(482)
        transaction = self._core.layer.serve(request, peer, now)
        if refusal is not None:
            self._refuse(transaction, refusal, now)
            return
        try:
            self._dispatch(request, session, transaction, peer, now)
        except BadMessage as error:
            self.counters["bad_header"] += 1
            if not transaction.answered:
                self._refuse(transaction, Refusal(error.status or 400), now)

    def _full_for(self, session: Session | None) -> bool:
        """Whether the transaction table refuses; requests inside calls get as much room again."""
        layer = self._core.layer
        return layer.full and (session is None or len(layer) >= 2 * layer.limit)

    def _session_of(self, request: Request) -> Session | None:
        try:
            to_tag = request.to.tag
            if not to_tag:
                return None
            return self._dialogs.get((request.call_id, to_tag, request.from_.tag))
        except BadMessage:
            return None

    def _receive_ack(self, request: Request, session: Session | None, now: Nanos) -> None:
        if session is None:
            self.counters["stray_ack"] += 1
            return
        session.receive_ack(request, now)

    def _dispatch(
        self,
        request: Request,
        session: Session | None,
        transaction: ServerTransaction,
        peer: Peer,
        now: Nanos,
    ) -> None:
        method = request.method
        if method == "CANCEL":
            self._cancel(request, transaction, now)
        elif method == "OPTIONS":
            self._options(request, session, transaction, now)
        elif session is not None:
            session.receive(request, transaction, now)
        elif request.to.tag or method in {"BYE", "NOTIFY", "INFO"}:
            self.counters["unknown_dialog"] += 1
            self._refuse(transaction, Refusal(481), now)
        elif method == "INVITE":
            self._invite(request, transaction, peer, now)
        else:
            # REFER outside a dialog would let a stranger place calls.
            self._refuse(transaction, Refusal(603), now)

    def _invite(self, request: Request, transaction: ServerTransaction, peer: Peer, now: Nanos) -> None:
        if len(self._sessions) >= self.config.max_sessions:
            self.counters["overload_sessions"] += 1
            busy = Refusal(503, headers=(("Retry-After", str(self.config.retry_after)),))
            self._refuse(transaction, busy, now)
            return
        session = ServerSession(self._core, self, request, transaction, peer, now)
        self._sessions.add(session)
        self._core.emit(IncomingCall(session))

    def _cancel(self, request: Request, transaction: ServerTransaction, now: Nanos) -> None:
        invite = self._core.layer.find(request, "INVITE")
        if invite is None:
            self._refuse(transaction, Refusal(481), now)
            return
        user = invite.user
        session = user.session if isinstance(user, OfferUser) else user
        if not isinstance(session, Session):
            # The INVITE was refused before it became a call.
            transaction.respond(self._core.response(request, 200), now)
            return
        tag = session.dialog.local.tag if session.dialog is not None else ""
        transaction.respond(self._core.response(request, 200, to_tag=tag), now)
        session.cancelled(invite, now)

    def _options(
        self, request: Request, session: Session | None, transaction: ServerTransaction, now: Nanos
    ) -> None:
        if session is None and request.to.tag:
            self._refuse(transaction, Refusal(481), now)
            return
        health = self._health()
        headers = {"Accept": ACCEPT, "Allow": ALLOW, "Supported": ""}
        if not health.ok:
            headers["Retry-After"] = str(health.retry_after)
            if health.reason:
                headers["Reason"] = f'SIP;cause=503;text="{_reason_text(health.reason)}"'
        tag = session.dialog.local.tag if session is not None and session.dialog is not None else ""
        status = 200 if health.ok else 503
        transaction.respond(self._core.response(request, status, to_tag=tag, headers=headers), now)

    # --- refusals -----------------------------------------------------------------------------------

    def _refuse(self, transaction: ServerTransaction, refusal: Refusal, now: Nanos) -> None:
        self.counters[f"refused_{refusal.status}"] += 1
        response = self._core.response(
            transaction.request, refusal.status, refusal.reason, headers=refusal.headers
        )
        transaction.respond(response, now)

    def _turn_away(self, request: Request, refusal: Refusal, peer: Peer, now: Nanos) -> None:
        self.counters["screened"] += 1
        if refusal.status and request.method != "ACK":
            self._stateless(request, refusal, peer, now)

    def _stateless(self, request: Request, refusal: Refusal, peer: Peer, now: Nanos) -> None:
        response = self._core.response(request, refusal.status, refusal.reason, headers=refusal.headers)
        self._core.layer.stateless(response, request, peer, now)

    def _answer_malformed(self, request: Request, error: BadMessage, peer: Peer, now: Nanos) -> None:
        if request.method != "ACK" and error.status:
            self.counters[f"refused_{error.status}"] += 1
            self._stateless(request, Refusal(error.status), peer, now)

    def _screen_safely(self, request: Request, peer: Peer) -> Refusal | None:
        return self._screen(request, peer) if self._screen is not None else None


def _received(method: str) -> str:
    """Counter name; methods of strangers' invention share one."""
    return f"received_{method.lower()}" if method in KNOWN_METHODS else "received_other"


def _reason_text(text: str) -> str:
    return "".join(ch for ch in text if ch >= " " and ch not in '"\\')[:120]
