# ruff: noqa: ARG002 - methods of ClientUser and ServerUser take what their protocol gives them
"""The called side of a session: from the INVITE to its ACK, CANCEL or refusal (RFC 3261 section 13.3)."""

from collections.abc import Mapping

from trunkline.model import LocalProtocolError, Nanos
from trunkline.telephony.sip.proto.accept import PendingAck
from trunkline.telephony.sip.proto.core import ALLOW, Core
from trunkline.telephony.sip.proto.dialog import server_dialog
from trunkline.telephony.sip.proto.events import CallConfirmed
from trunkline.telephony.sip.proto.message import Request, set_body
from trunkline.telephony.sip.proto.session import SDP_TYPE, Registry, Session, SessionState
from trunkline.telephony.sip.proto.transactions import ServerTransaction
from trunkline.telephony.sip.proto.transport import Peer


class ServerSession(Session):
    """A call that came to us. ``request`` is its INVITE, ``peer`` where it came from."""

    def __init__(
        self,
        core: Core,
        registry: Registry,
        request: Request,
        transaction: ServerTransaction,
        peer: Peer,
        now: Nanos,
    ) -> None:
        """Sends 100 Trying. Raises ``BadMessage`` when the INVITE cannot make a dialog."""
        dialog = server_dialog(request, core.ids.tag(), peer)
        super().__init__(core, registry, request.call_id)
        if core.received is not None:
            self.trace.append(core.received)
        self.request = request
        self.peer = peer
        self.dialog = dialog
        self._transaction = transaction
        transaction.user = self
        transaction.respond(core.response(request, 100), now)
        at = Nanos(now + core.config.unanswered)
        self._unanswered = core.timers.set(at, "unanswered", self._nobody_answered)
        self._bind(dialog)

    @property
    def offer(self) -> bytes:
        """SDP of the INVITE; empty when the caller leaves the offer to us."""
        return self.request.body

    def progress(self, now: Nanos, *, status: int = 180, body: bytes = b"") -> None:
        """180 Ringing, or 183 with early SDP. Ignored after a final response."""
        if self.state is not SessionState.STARTING:
            return
        response = self.core.response(self.request, status, to_tag=self.need_dialog().local.tag)
        response.headers.copy_from(self.request.headers, "record-route")
        response.headers.add("Contact", f"<{self.core.contact(self.peer)}>")
        set_body(response, body, SDP_TYPE)
        self._transaction.respond(response, now)

    def answer(self, body: bytes, now: Nanos) -> None:
        """200 with our SDP: the answer, or the offer when the INVITE had none. ``CallConfirmed`` follows.
        Ignored when the caller has gone."""
        if self.ended:
            return
        if self.state is not SessionState.STARTING:
            raise LocalProtocolError("the call has been answered already")
        self._unanswered.cancel()
        self._move(SessionState.ANSWERED)
        response = self.success(self.request, body)
        self._await_ack(self._transaction, response, made_offer=not self.offer, now=now)

    def reject(
        self, status: int, now: Nanos, *, reason: str = "", headers: Mapping[str, str] | None = None
    ) -> None:
        """Final failure. Ignored after a final response."""
        if self.state is SessionState.STARTING:
            self._refuse(status, now, reason=reason, headers=headers)
            self._end(by_peer=False, cause="local", status=status, reason=reason)
            self.close()  # The transaction lives on by itself to see the ACK.

    def hang_up(self, now: Nanos, *, reason: str = "") -> None:
        """End the call in whatever state it is: 480, or BYE."""
        if self.state is SessionState.STARTING:
            self.reject(480, now)
        elif not self.ended:
            self.bye(now, reason=reason)

    def cancelled(self, transaction: ServerTransaction, now: Nanos) -> None:
        """CANCEL: 487 to the INVITE, unless it has its final response."""
        if transaction is not self._transaction:
            super().cancelled(transaction, now)
        elif self.state is SessionState.STARTING:
            self._refuse(487, now)
            self._end(by_peer=True, cause="cancel", status=487)
            self.close()

    def acknowledged(self, ack: Request, now: Nanos) -> None:
        """ACK with the INVITE's own branch."""
        self.receive_ack(ack, now)

    def unacknowledged(self, now: Nanos) -> None:
        """No ACK for our refusal, or the connection broke before an answer. After an answer its own timer
        decides: the ACK may come over another connection."""
        if self.state is SessionState.STARTING:
            self._unanswered.cancel()
            self._end(by_peer=True, cause="transport")
            self.close()

    def _refuse(
        self, status: int, now: Nanos, *, reason: str = "", headers: Mapping[str, str] | None = None
    ) -> None:
        self._unanswered.cancel()
        tag = self.need_dialog().local.tag
        fixed = dict(headers or {})
        if status in {405, 501}:
            fixed.setdefault("Allow", ALLOW)
        response = self.core.response(self.request, status, reason, to_tag=tag, headers=fixed)
        self._transaction.respond(response, now)

    def _terminate_offer(self, now: Nanos) -> None:
        if self.state is SessionState.STARTING:
            self._unanswered.cancel()
            response = self.core.response(self.request, 487, to_tag=self.need_dialog().local.tag)
            self._transaction.respond(response, now)
        super()._terminate_offer(now)

    def _acknowledged(self, pending: PendingAck, ack: Request, now: Nanos) -> None:
        if self.state is SessionState.ANSWERED and pending.cseq == self.request.cseq.number:
            self._move(SessionState.CONFIRMED)
            self.core.emit(CallConfirmed(self, ack.body))
        else:
            super()._acknowledged(pending, ack, now)

    def _nobody_answered(self, now: Nanos) -> None:
        self.reject(480, now, reason="Temporarily Unavailable")

    def close(self) -> None:
        self._unanswered.cancel()
        super().close()
