# ruff: noqa: ARG002 - methods of ClientUser and ServerUser take what their protocol gives them
"""A session: one INVITE dialog from our side, once it can carry requests of its own.

Owns in-dialog requests both ways: BYE, re-INVITE with glare, INFO, REFER and NOTIFY. How the first INVITE is
answered is in ``uas``, how it is sent in ``uac``; SDP stays bytes here.
"""

from collections import deque
from collections.abc import Mapping
from enum import Enum, auto
from typing import Final, Protocol

from trunkline.model import LocalProtocolError, Nanos
from trunkline.model.units import MS
from trunkline.telephony.sip.proto.accept import PendingAck
from trunkline.telephony.sip.proto.core import ACCEPT, ALLOW, TRACE_RING, Core
from trunkline.telephony.sip.proto.dialog import Dialog, DialogKey, Order
from trunkline.telephony.sip.proto.events import (
    AnswerReceived,
    CallEnded,
    InfoReceived,
    OfferAnswered,
    OfferReceived,
    ReferReceived,
)
from trunkline.telephony.sip.proto.message import Request, Response, set_body
from trunkline.telephony.sip.proto.refer import IncomingRefer, Referrals
from trunkline.telephony.sip.proto.timers import Timer
from trunkline.telephony.sip.proto.transactions import ClientTransaction, ServerTransaction
from trunkline.telephony.sip.proto.transport import Peer, TraceRecord

SDP_TYPE: Final = "application/sdp"
DTMF_TYPES: Final = frozenset({"application/dtmf-relay", "application/dtmf"})
_OWNER_WAIT: Final = (Nanos(2100 * MS), Nanos(4000 * MS))
_OTHER_WAIT: Final = (Nanos(0), Nanos(2000 * MS))
MAX_GLARE_RETRIES: Final = 8


class SessionState(Enum):
    """Where a session stands for its user."""

    STARTING = auto()
    """The first INVITE has no final response yet."""
    ANSWERED = auto()
    """2xx sent, no ACK yet."""
    CONFIRMED = auto()
    ENDED = auto()
    """Over for its user; the dialog may still be tidied up."""


TRANSITIONS: Final = {
    SessionState.STARTING: {SessionState.ANSWERED, SessionState.CONFIRMED, SessionState.ENDED},
    SessionState.ANSWERED: {SessionState.CONFIRMED, SessionState.ENDED},
    SessionState.CONFIRMED: {SessionState.ENDED},
    SessionState.ENDED: set(),
}


class Registry(Protocol):
    """Where sessions are found by dialog."""

    def bind(self, key: DialogKey, session: "Session") -> None: ...

    def unbind(self, key: DialogKey) -> None: ...

    def finished(self, session: "Session") -> None: ...


class Session:
    """Common part of both roles. Commands take ``now`` and queue their messages in the core."""

    def __init__(self, core: Core, registry: Registry, call_id: str) -> None:
        self.core = core
        self.call_id = call_id
        self.state = SessionState.STARTING
        self.dialog: Dialog | None = None
        self.trace: deque[TraceRecord] = deque(maxlen=TRACE_RING)
        self.refer = Referrals(self)
        self._registry = registry
        self._bound: set[DialogKey] = set()
        self._pending_acks: list[PendingAck] = []
        self._closing = False
        self._bye_waits = False
        self._closed = False
        self._reinvite: _Reinvite | None = None
        self._offer: ServerTransaction | None = None
        self._offer_guard: Timer | None = None
        core.traces.setdefault(call_id, self.trace)

    # --- state --------------------------------------------------------------------------------------

    @property
    def ended(self) -> bool:
        return self.state is SessionState.ENDED

    @property
    def confirmed(self) -> bool:
        return self.state is SessionState.CONFIRMED

    @property
    def established(self) -> bool:
        """Whether the dialog can carry requests: confirmed, or answered by us and not yet acknowledged."""
        return self.state in {SessionState.ANSWERED, SessionState.CONFIRMED}

    @property
    def waiting_for_ack(self) -> bool:
        return bool(self._pending_acks)

    def _move(self, state: SessionState) -> None:
        if state not in TRANSITIONS[self.state]:
            raise LocalProtocolError(f"a session cannot go from {self.state.name} to {state.name}")
        self.state = state

    def _end(self, *, by_peer: bool, cause: str, status: int = 0, reason: str = "") -> None:
        """Tell the user once that the session is over."""
        if self.ended:
            return
        self.refer.session_ended()
        self._move(SessionState.ENDED)
        self.core.counters[f"ended_{cause}"] += 1
        self.core.emit(CallEnded(self, by_peer, cause, status, reason))

    def _bind(self, dialog: Dialog) -> None:
        self._bound.add(dialog.key)
        self._registry.bind(dialog.key, self)

    def _unbind(self, dialog: Dialog) -> None:
        self._bound.discard(dialog.key)
        self._registry.unbind(dialog.key)

    def close(self) -> None:
        """Drop all state; nothing is sent. The last step of every session."""
        if self._closed:
            return
        self._closed = True
        for pending in self._pending_acks:
            pending.stop()
        self._pending_acks.clear()
        if self._reinvite is not None:
            self._reinvite.stop()
        if self._offer_guard is not None:
            self._offer_guard.cancel()
        self.refer.close()
        for key in self._bound:
            self._registry.unbind(key)
        self._bound.clear()
        if self.core.traces.get(self.call_id) is self.trace:
            del self.core.traces[self.call_id]
        self._registry.finished(self)

    # --- requests of ours ---------------------------------------------------------------------------

    def need_dialog(self) -> Dialog:
        if self.dialog is None:
            raise LocalProtocolError("the session has no dialog yet")
        return self.dialog

    def new_request(self, method: str, headers: Mapping[str, str] | None = None) -> Request:
        """The next request of the dialog, without Via; Contact where the method refreshes the target."""
        dialog = self.need_dialog()
        request = dialog.request(method)
        if method in {"INVITE", "REFER", "NOTIFY"}:
            request.headers.add("Contact", f"<{self.core.contact(dialog.peer)}>")
        if method == "INVITE":
            request.headers.add("Allow", ALLOW)
        for name, value in (headers or {}).items():
            request.headers.add(name, value)
        return request

    def send_info(self, digit: str, now: Nanos, *, duration_ms: int = 160) -> None:
        """A digit by INFO (``application/dtmf-relay``); its answer does not matter to the call."""
        if self.confirmed:
            request = self.new_request("INFO")
            body = f"Signal={digit}\r\nDuration={duration_ms}\r\n".encode("ascii")
            set_body(request, body, "application/dtmf-relay")
            self.core.request(request, self.need_dialog().next_hop(), _Indifferent(self), now)

    def bye(self, now: Nanos, *, reason: str = "", cause: str = "local") -> None:
        """End an answered session. Before its ACK the callee must not send BYE (RFC 3261 section 15): it is
        sent when the ACK arrives or its time is over."""
        if self.ended:
            return
        self._end(by_peer=False, cause=cause, reason=reason)
        if self._pending_acks:
            self._bye_waits = True
            return
        self._send_bye(now, reason)

    def _send_bye(self, now: Nanos, reason: str = "") -> None:
        self._closing = True
        self._bye_waits = False
        self._terminate_offer(now)
        headers = {"Reason": reason} if reason else None
        request = self.new_request("BYE", headers)
        self.core.request(request, self.need_dialog().next_hop(), _Bye(self), now)

    # --- re-INVITE of ours --------------------------------------------------------------------------

    def reinvite(self, offer: bytes, now: Nanos) -> None:
        """Offer new media; ``OfferAnswered`` follows. One at a time: a second one before that is a bug."""
        if not self.confirmed:
            raise LocalProtocolError("re-INVITE outside a confirmed session")
        if self._reinvite is not None:
            raise LocalProtocolError("a re-INVITE is already under way")
        self._reinvite = _Reinvite(self, offer)
        self._reinvite.send(now)

    def reinvite_done(self, status: int, reason: str, body: bytes, now: Nanos) -> None:
        """Our re-INVITE has ended (called by it)."""
        self._reinvite = None
        if self.ended:
            return
        self.core.emit(OfferAnswered(self, status, reason, body))
        if status in {408, 481}:
            # The dialog is gone at the other end (RFC 3261 section 14.1).
            self.bye(now, cause="timeout" if status == 408 else "rejected")

    # --- requests of the peer -----------------------------------------------------------------------

    def receive(self, request: Request, transaction: ServerTransaction, now: Nanos) -> None:
        """A request inside the dialog other than ACK and CANCEL. Raises ``BadMessage``."""
        dialog = self.dialog
        if dialog is None:
            self._receive_early(request, transaction, now)
            return
        if dialog.check_order(request) is Order.OUT_OF_ORDER:
            self.respond(transaction, 500, now, reason="Out Of Order")
            return
        method = request.method
        if method == "BYE":
            self._receive_bye(request, transaction, now)
        elif self.ended:
            self.respond(transaction, 481, now)
        elif method == "INVITE":
            self._receive_invite(request, transaction, now)
        elif method == "INFO":
            self._receive_info(request, transaction, now)
        elif method == "NOTIFY":
            self.refer.receive_notify(request, transaction, now)
        elif method == "REFER":
            self._receive_refer(request, transaction, now)
        else:
            raise LocalProtocolError(f"{method} is not for a session")

    def _receive_early(self, request: Request, transaction: ServerTransaction, now: Nanos) -> None:
        """A request in an early dialog of a call we are placing. The 2xx may just be late, so nothing here
        may make the peer give the call up."""
        if self.ended:
            self.respond(transaction, 481, now)
        elif request.method == "INFO":
            self._receive_info(request, transaction, now)
        elif request.method == "INVITE":
            self.respond(transaction, 491, now)
        else:
            self.respond(transaction, 500, now, headers={"Retry-After": str(1 + self.core.ids.number(10))})

    def respond(
        self,
        transaction: ServerTransaction,
        status: int,
        now: Nanos,
        *,
        reason: str = "",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """A bodiless response inside the dialog."""
        tag = self.dialog.local.tag if self.dialog is not None else ""
        response = self.core.response(transaction.request, status, reason, to_tag=tag, headers=headers or {})
        transaction.respond(response, now)

    def _receive_bye(self, request: Request, transaction: ServerTransaction, now: Nanos) -> None:
        self.respond(transaction, 200, now)
        self._terminate_offer(now)
        self._end(by_peer=True, cause="bye", reason=request.headers.text("reason"))
        self.close()

    def _terminate_offer(self, now: Nanos) -> None:
        """Answer a pending INVITE of the peer when the dialog goes (RFC 3261 section 15.1.2)."""
        offer = self._take_offer()
        if offer is not None:
            self.respond(offer, 487, now)

    def _receive_info(self, request: Request, transaction: ServerTransaction, now: Nanos) -> None:
        if request.body and request.content_type not in DTMF_TYPES:
            self.respond(transaction, 415, now, headers={"Accept": ACCEPT})
            return
        self.respond(transaction, 200, now)
        self.core.emit(InfoReceived(self, request.content_type, request.body))

    def _receive_refer(self, request: Request, transaction: ServerTransaction, now: Nanos) -> None:
        refer = IncomingRefer.from_request(self, request, transaction)
        self.core.emit(ReferReceived(self, refer))

    # --- re-INVITE of the peer ----------------------------------------------------------------------

    def _receive_invite(self, request: Request, transaction: ServerTransaction, now: Nanos) -> None:
        transaction.user = OfferUser(self)
        if self._reinvite is not None and self._reinvite.pending:
            self.core.counters["glare"] += 1
            self.respond(transaction, 491, now)
        elif self._offer is not None or self.state is SessionState.STARTING:
            wait = str(self.core.ids.number(11))
            self.respond(transaction, 500, now, headers={"Retry-After": wait})
        elif any(pending.made_offer for pending in self._pending_acks):
            self.respond(transaction, 491, now)
        elif request.body and request.content_type != SDP_TYPE:
            self.respond(transaction, 415, now, headers={"Accept": SDP_TYPE})
        else:
            self._offer = transaction
            transaction.respond(self.core.response(request, 100), now)
            guard = Nanos(now + self.core.config.timing.timeout)
            self._offer_guard = self.core.timers.set(guard, "offer", lambda at: self.refuse_offer(500, at))
            self.core.emit(OfferReceived(self, request.body))

    def accept_offer(self, body: bytes, now: Nanos) -> None:
        """200 to the peer's re-INVITE, with our answer, or our offer when it had none. Ignored when the
        re-INVITE is gone."""
        transaction = self._take_offer()
        if transaction is None:
            return
        dialog = self.need_dialog()
        dialog.refresh_target(transaction.request)
        response = self.success(transaction.request, body)
        self._await_ack(transaction, response, made_offer=not transaction.request.body, now=now)

    def refuse_offer(self, status: int, now: Nanos) -> None:
        """Refuse the peer's re-INVITE (488 when its media cannot be spoken); the session goes on."""
        transaction = self._take_offer()
        if transaction is not None:
            self.respond(transaction, status, now)

    def cancelled(self, transaction: ServerTransaction, now: Nanos) -> None:
        """CANCEL for an INVITE of the peer; ignored when it has its final response."""
        if self._offer is transaction:
            self.refuse_offer(487, now)

    def _take_offer(self) -> ServerTransaction | None:
        if self._offer_guard is not None:
            self._offer_guard.cancel()
            self._offer_guard = None
        transaction, self._offer = self._offer, None
        return transaction

    def success(self, request: Request, body: bytes) -> Response:
        """A 200 to an INVITE with our Contact and what we support."""
        dialog = self.need_dialog()
        response = self.core.response(request, 200, to_tag=dialog.local.tag)
        response.headers.copy_from(request.headers, "record-route")
        response.headers.add("Contact", f"<{self.core.contact(dialog.peer)}>")
        response.headers.add("Allow", ALLOW)
        set_body(response, body, SDP_TYPE)
        return response

    # --- ACK ----------------------------------------------------------------------------------------

    def _await_ack(
        self, transaction: ServerTransaction, response: Response, *, made_offer: bool, now: Nanos
    ) -> None:
        pending = PendingAck(
            self.core, transaction, response, made_offer=made_offer, gave_up=self._no_ack, now=now
        )
        self._pending_acks.append(pending)

    def receive_ack(self, ack: Request, now: Nanos) -> None:
        """An ACK for one of our 2xx; repeated ones are ignored."""
        for pending in self._pending_acks:
            if pending.matches(ack):
                pending.stop()
                self._pending_acks.remove(pending)
                self._acknowledged(pending, ack, now)
                return

    def _acknowledged(self, pending: PendingAck, ack: Request, now: Nanos) -> None:
        if self._bye_waits and not self._pending_acks:
            self._send_bye(now)
        elif not self.ended and pending.made_offer:
            self.core.emit(AnswerReceived(self, ack.body))

    def _no_ack(self, now: Nanos) -> None:
        """No ACK within 64·T1: BYE (RFC 3261 section 13.3.1.4)."""
        self.core.counters["ack_timeout"] += 1
        self._pending_acks.clear()
        self._end(by_peer=True, cause="timeout", status=408, reason="no ACK")
        if not self._closing:
            self._send_bye(now)


class OfferUser:
    """Server side of a re-INVITE transaction."""

    def __init__(self, session: Session) -> None:
        self.session = session

    def acknowledged(self, ack: Request, now: Nanos) -> None:
        self.session.receive_ack(ack, now)

    def unacknowledged(self, now: Nanos) -> None:
        """A refusal without ACK changes nothing; a 2xx has its own timer."""


class _Indifferent:
    """Client side of a request whose failure only matters when the dialog is gone."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def response(self, response: Response, now: Nanos) -> None:
        if response.status == 481 and not self._session.ended:
            self._session.bye(now, cause="rejected")

    def failed(self, *, timeout: bool, now: Nanos) -> None:
        """An INFO that got no answer does not end a call."""


class _Bye:
    """Client side of our BYE: whatever happens to it, the dialog is over."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def response(self, response: Response, now: Nanos) -> None:
        if response.status >= 200:
            self._session.close()

    def failed(self, *, timeout: bool, now: Nanos) -> None:
        self._session.core.counters["bye_unanswered"] += 1
        self._session.close()


class _Reinvite:
    """Our re-INVITE: one offer, repeated after 491 (RFC 3261 section 14.1)."""

    def __init__(self, session: Session, offer: bytes) -> None:
        self._session = session
        self._offer = offer
        self._tries = 0
        self._retry: Timer | None = None
        self._guard: Timer | None = None
        self._transaction: ClientTransaction | None = None
        self._acked: tuple[int, Request, Peer] | None = None
        self._over = False

    @property
    def pending(self) -> bool:
        """Whether an INVITE is really out (and not waiting for its retry)."""
        return self._transaction is not None

    def send(self, now: Nanos) -> None:
        session = self._session
        self._retry = None
        if session._offer is not None:  # noqa: SLF001 - one machine in two classes
            # The peer's own offer came first; wait until it is settled.
            self._wait(now)
            return
        request = session.new_request("INVITE")
        set_body(request, self._offer, SDP_TYPE)
        timeout = Nanos(now + 2 * session.core.config.timing.timeout)
        self._guard = session.core.timers.set(timeout, "re-INVITE", self._unanswered)
        self._transaction = session.core.request(request, session.need_dialog().next_hop(), self, now)

    def stop(self) -> None:
        """The session is closed. An INVITE that is still out keeps its guard: the peer's final response to it
        is acknowledged by the transaction, and when none comes the guard ends that."""
        self._over = True
        if self._retry is not None:
            self._retry.cancel()
        if self._guard is not None and self._transaction is None:
            self._guard.cancel()

    def response(self, response: Response, now: Nanos) -> None:
        if response.status < 200:
            return
        if self._guard is not None:
            self._guard.cancel()
        if response.status < 300:
            self._accepted(response, now)
            return
        self._transaction = None
        if self._over or self._session.ended:
            return
        if response.status == 491 and self._tries < MAX_GLARE_RETRIES:
            self._wait(now)
        else:
            self._finish(response.status, response.reason, b"", now)

    def failed(self, *, timeout: bool, now: Nanos) -> None:
        if self._guard is not None:
            self._guard.cancel()
        self._transaction = None
        if not self._over:
            self._finish(408 if timeout else 503, "no answer" if timeout else "transport failed", b"", now)

    def _accepted(self, response: Response, now: Nanos) -> None:
        if self._acked is not None:
            _, ack, peer = self._acked
            self._session.core.transmit(ack, peer, "", now)
            return
        dialog = self._session.need_dialog()
        dialog.refresh_target(response)
        ack, peer = make_ack(self._session.core, dialog, response.cseq.number, b"")
        self._acked = (response.cseq.number, ack, peer)
        self._session.core.transmit(ack, peer, "", now)
        self._transaction = None
        if not self._over:
            self._finish(response.status, response.reason, response.body, now)

    def _wait(self, now: Nanos) -> None:
        self._tries += 1
        low, high = _OWNER_WAIT if self._session.need_dialog().initiator else _OTHER_WAIT
        delay = self._session.core.ids.between(low, high)
        self._session.core.counters["glare_retry"] += 1
        self._retry = self._session.core.timers.set(Nanos(now + delay), "glare", self.send)

    def _unanswered(self, now: Nanos) -> None:
        if self._transaction is not None:
            self._transaction.end()
            self.failed(timeout=True, now=now)

    def _finish(self, status: int, reason: str, body: bytes, now: Nanos) -> None:
        self._over = True
        self._session.reinvite_done(status, reason, body, now)


def make_ack(core: Core, dialog: Dialog, cseq: int, body: bytes) -> tuple[Request, Peer]:
    """The ACK of a 2xx: a request of its own along the dialog's route set (RFC 3261 section 13.2.2.4)."""
    ack = dialog.request("ACK", cseq=cseq)
    peer = dialog.next_hop()
    core.add_via(ack, peer)
    set_body(ack, body, SDP_TYPE)
    return ack, peer
