# ruff: noqa: ARG002 - methods of ClientUser and ServerUser take what their protocol gives them
"""The calling side of a session: INVITE, forked early dialogs, CANCEL and its races (RFC 3261 section 13.2)."""

from collections.abc import Mapping
from typing import Final

from trunkline.model import LocalProtocolError, Nanos
from trunkline.telephony.sip.proto.core import ALLOW, Core
from trunkline.telephony.sip.proto.dialog import Dialog, client_dialog, confirmed
from trunkline.telephony.sip.proto.errors import BadMessage
from trunkline.telephony.sip.proto.events import CallAnswered, CallProgress
from trunkline.telephony.sip.proto.headers import NameAddr
from trunkline.telephony.sip.proto.message import Headers, Request, Response, set_body
from trunkline.telephony.sip.proto.session import SDP_TYPE, Registry, Session, SessionState, make_ack
from trunkline.telephony.sip.proto.timers import Timer
from trunkline.telephony.sip.proto.transactions import ClientTransaction
from trunkline.telephony.sip.proto.transport import Peer
from trunkline.telephony.sip.proto.uri import Uri

MAX_FORKS: Final = 16
"""Early dialogs of one INVITE; further ones are not reported."""


class ClientSession(Session):
    """A call of ours. Made by ``UserAgent.invite``."""

    def __init__(self, core: Core, registry: Registry, request: Request, peer: Peer) -> None:
        super().__init__(core, registry, request.call_id)
        self.request = request
        self.peer = peer
        self._transaction: ClientTransaction | None = None
        self._early: dict[str, Dialog] = {}
        self._acks: dict[str, tuple[Request, Peer]] = {}
        self._losers: dict[str, _Loser] = {}
        self._provisional = False
        self._cancel_wanted = False
        self._cancel_sent = False
        self._limit: Timer | None = None
        self._owes_answer = False

    @property
    def early_dialogs(self) -> int:
        """Forks that have answered provisionally."""
        return len(self._early)

    def start(self, now: Nanos) -> None:
        """Send the INVITE."""
        at = Nanos(now + self.core.config.unanswered)
        self._limit = self.core.timers.set(at, "unanswered", self._nobody_answered)
        self._transaction = self.core.request(self.request, self.peer, self, now)

    # --- responses ----------------------------------------------------------------------------------

    def response(self, response: Response, now: Nanos) -> None:
        try:
            if response.status < 200:
                self._progress(response, now)
            elif response.status < 300:
                self._success(response, now)
            else:
                self._rejected(response, now)
        except BadMessage as error:
            self._unusable(response, error, now)

    def failed(self, *, timeout: bool, now: Nanos) -> None:
        """Timer B, or the transport failed."""
        status, cause = (408, "timeout") if timeout else (503, "transport")
        self._end(by_peer=True, cause=cause, status=status)
        self.close()

    def _unusable(self, response: Response, error: BadMessage, now: Nanos) -> None:
        self.core.counters["bad_response"] += 1
        if response.status >= 200:
            self._end(by_peer=True, cause="rejected", status=response.status, reason=error.what)
            self.close()

    def _progress(self, response: Response, now: Nanos) -> None:
        self._provisional = True
        if self._cancel_wanted:
            self._send_cancel(now)
            return
        tag = response.to.tag
        if response.status == 100 or self.state is not SessionState.STARTING:
            return
        if tag:
            early = self._early.get(tag)
            if early is not None:
                early.refresh_target(response)
            elif len(self._early) < MAX_FORKS:
                self._early[tag] = dialog = client_dialog(self.request, response, self.peer)
                self._bind(dialog)
            else:
                self.core.counters["forks_ignored"] += 1
                return
        body = response.body if response.content_type == SDP_TYPE else b""
        self.core.emit(CallProgress(self, response.status, response.reason, tag, body))

    def _success(self, response: Response, now: Nanos) -> None:
        tag = response.to.tag
        if tag in self._acks:
            ack, peer = self._acks[tag]
            self.core.transmit(ack, peer, "", now)
            return
        if self.dialog is not None:
            if self._owes_answer and tag == self.dialog.remote.tag:
                return
            self._drop_fork(tag, response, now)
            return
        if self._closed:
            # Too late: the call was given up. What the peer believes to have is ended without a session.
            self._drop_fork(tag, response, now)
            return
        self._stop_limit()
        dialog = self._dialog_of(tag, response)
        self.dialog = dialog
        for other in list(self._early.values()):
            if other.key != dialog.key:
                self._unbind(other)
        self._early.clear()
        self._bind(dialog)
        if self.ended:
            # The 200 crossed our CANCEL: acknowledge it, then end what it began (RFC 3261 section 9.1).
            self.core.counters["cancel_crossed"] += 1
            self._ack(b"", now)
            self._send_bye(now)
            return
        self._move(SessionState.CONFIRMED)
        is_offer = not self.request.body
        if is_offer:
            self._owes_answer = True
        else:
            self._ack(b"", now)
        self.core.emit(CallAnswered(self, response.body, is_offer))

    def _dialog_of(self, tag: str, response: Response) -> Dialog:
        early = self._early.get(tag)
        if early is None:
            return client_dialog(self.request, response, self.peer)
        return confirmed(early, response)

    def acknowledge(self, answer: bytes, now: Nanos) -> None:
        """ACK with our answer, after a ``CallAnswered`` that brought an offer."""
        if not self._owes_answer:
            raise LocalProtocolError("no answer is owed")
        self._ack(answer, now)

    def _ack(self, body: bytes, now: Nanos) -> None:
        dialog = self.need_dialog()
        self._owes_answer = False
        ack, peer = make_ack(self.core, dialog, self.request.cseq.number, body)
        self._acks[dialog.remote.tag] = (ack, peer)
        self.core.transmit(ack, peer, "", now)

    def _drop_fork(self, tag: str, response: Response, now: Nanos) -> None:
        """A second branch answered: acknowledge it and hang up (RFC 3261 section 13.2.2.4)."""
        self.core.counters["forks_dropped"] += 1
        if len(self._losers) >= MAX_FORKS:
            return
        dialog = client_dialog(self.request, response, self.peer)
        ack, peer = make_ack(self.core, dialog, self.request.cseq.number, b"")
        self._acks[tag] = (ack, peer)
        self.core.transmit(ack, peer, "", now)
        loser = _Loser()
        self._losers[tag] = loser
        self.core.request(dialog.request("BYE"), dialog.next_hop(), loser, now)

    def _rejected(self, response: Response, now: Nanos) -> None:
        self._end(by_peer=True, cause="rejected", status=response.status, reason=response.reason)
        self.close()

    # --- ending -------------------------------------------------------------------------------------

    def hang_up(self, now: Nanos, *, reason: str = "") -> None:
        """End the call in whatever state it is: CANCEL or BYE."""
        if self.state is SessionState.STARTING:
            self.cancel(now)
        elif not self.ended:
            if self._owes_answer:
                self._ack(b"", now)
            self.bye(now, reason=reason)

    def cancel(self, now: Nanos) -> None:
        """Give up before the answer. CANCEL waits for a provisional response (RFC 3261 section 9.1)."""
        if self.state is not SessionState.STARTING:
            return
        self._cancel_wanted = True
        self._end(by_peer=False, cause="cancel", status=487)
        self._stop_limit()
        if self._provisional:
            self._send_cancel(now)

    def _send_cancel(self, now: Nanos) -> None:
        if self._cancel_sent:
            return
        self._cancel_sent = True
        request = self._cancel_request()
        # No final response within 64·T1 after CANCEL: the transaction is considered cancelled.
        at = Nanos(now + self.core.config.timing.timeout)
        self._limit = self.core.timers.set(at, "cancel", self._cancel_unanswered)
        self.core.layer.request(request, self.peer, _CancelUser(), now)

    def _cancel_request(self) -> Request:
        """RFC 3261 section 9.1: Request-URI, ids, top Via and Route of the INVITE."""
        invite = self.request
        headers = Headers()
        headers.add("Via", str(invite.via))
        headers.copy_from(invite.headers, "route")
        headers.add("Max-Forwards", "70")
        for name in ("from", "to", "call-id"):
            headers.copy_from(invite.headers, name)
        headers.add("CSeq", f"{invite.cseq.number} CANCEL")
        headers.add("Content-Length", "0")
        return Request("CANCEL", invite.uri_text, headers)

    def _cancel_unanswered(self, now: Nanos) -> None:
        self.core.counters["cancel_unanswered"] += 1
        if self._transaction is not None:
            self._transaction.end()
        self.close()

    def _nobody_answered(self, now: Nanos) -> None:
        """The peer rang for too long."""
        if self.state is SessionState.STARTING:
            self._cancel_wanted = True
            self._end(by_peer=True, cause="timeout", status=408, reason="no answer")
            if self._provisional:
                self._send_cancel(now)

    def _stop_limit(self) -> None:
        if self._limit is not None:
            self._limit.cancel()
            self._limit = None

    def close(self) -> None:
        self._stop_limit()
        super().close()


class _CancelUser:
    """Client side of CANCEL: only the INVITE's own response matters."""

    def response(self, response: Response, now: Nanos) -> None:
        pass

    def failed(self, *, timeout: bool, now: Nanos) -> None:
        pass


class _Loser(_CancelUser):
    """Client side of the BYE to a branch that answered second."""


def build_invite(
    core: Core,
    *,
    target: Uri,
    from_: NameAddr,
    to: NameAddr | None,
    peer: Peer,
    routes: tuple[NameAddr, ...],
    headers: Mapping[str, str],
    body: bytes,
) -> Request:
    """An INVITE outside a dialog, without Via. The Request-URI is the target without what may not be in one
    (RFC 3261 section 19.1.1: headers and the method parameter)."""
    fields = Headers()
    for route in routes:
        fields.add("Route", str(route))
    fields.add("Max-Forwards", "70")
    fields.add("From", str(from_.with_tag(core.ids.tag())))
    fields.add("To", str(to if to is not None else NameAddr(target)))
    fields.add("Call-ID", core.ids.call_id())
    fields.add("CSeq", "1 INVITE")
    fields.add("Contact", f"<{core.contact(peer)}>")
    fields.add("Allow", ALLOW)
    for name, value in headers.items():
        fields.add(name, value)
    request = Request("INVITE", target, fields)
    set_body(request, body, SDP_TYPE)
    return request
