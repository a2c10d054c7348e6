# ruff: noqa: ARG002 - methods of ClientUser and ServerUser take what their protocol gives them
"""REFER and its implicit subscription, both ways (RFC 3515, RFC 6665 where it applies, RFC 3892).

The target of a REFER is text that is never taken apart and built again: parameters, escaped headers and
``tel:`` URIs arrive as they were given.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from trunkline.model import LocalProtocolError, Nanos
from trunkline.telephony.sip.proto.errors import BadHeader
from trunkline.telephony.sip.proto.events import ReferAnswered, ReferNotified
from trunkline.telephony.sip.proto.headers import Valued
from trunkline.telephony.sip.proto.message import Request, Response, set_body
from trunkline.telephony.sip.proto.reasons import reason_phrase
from trunkline.telephony.sip.proto.uri import parse_uri

if TYPE_CHECKING:
    from trunkline.telephony.sip.proto.session import Session
    from trunkline.telephony.sip.proto.timers import Timer
    from trunkline.telephony.sip.proto.transactions import ServerTransaction

SIPFRAG: Final = "message/sipfrag;version=2.0"
MAX_SUBSCRIPTIONS: Final = 8
"""Live REFER subscriptions of one dialog, per direction; more are refused."""
_STATUS: Final = re.compile(rb"SIP/2\.0 ([1-6]\d\d)(?: ([^\r\n]*))?")


class Referrals:
    """The REFERs of one session that we sent, and the bookkeeping of those we received."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._sent: dict[int, _SentRefer] = {}
        self.received: dict[int, IncomingRefer] = {}

    def send(self, target: str, now: Nanos, *, headers: Mapping[str, str] | None = None) -> None:
        """Ask the peer to call ``target``. ``ReferAnswered`` follows, then ``ReferNotified`` until its final
        one. Raises ``BadUri`` for a target that is not a URI."""
        parse_uri(target)
        session = self._session
        if not session.established:
            raise LocalProtocolError("REFER outside an established session")
        if len(self._sent) >= MAX_SUBSCRIPTIONS:
            raise LocalProtocolError(f"more than {MAX_SUBSCRIPTIONS} REFERs at once")
        dialog = session.need_dialog()
        fixed = {"Refer-To": f"<{target}>", "Referred-By": f"<{dialog.local.uri}>"}
        request = session.new_request("REFER", fixed | dict(headers or {}))
        sent = _SentRefer(self, request.cseq.number)
        self._sent[sent.number] = sent
        session.core.request(request, dialog.next_hop(), sent, now)
        sent.guard(session, now)

    def receive_notify(self, request: Request, transaction: ServerTransaction, now: Nanos) -> None:
        """A NOTIFY inside the dialog; 481 when it belongs to no REFER of ours. Raises ``BadMessage``."""
        session = self._session
        event: Valued | None = request.headers.view("event")
        if event is None or event.value != "refer":
            session.respond(transaction, 489, now, headers={"Allow-Events": "refer"})
            return
        sent = self._match(event.param("id"))
        if sent is None:
            session.respond(transaction, 481, now)
            return
        state: Valued | None = request.headers.view("subscription-state")
        session.respond(transaction, 200, now)
        sent.notified(request.body, terminated=state is not None and state.value == "terminated")

    def _match(self, number: str | None) -> _SentRefer | None:
        if number is not None and number.isascii() and number.isdigit():
            return self._sent.get(int(number[:12]))
        return next(iter(self._sent.values()), None) if number is None else None

    def done(self, sent: _SentRefer, event: ReferAnswered | ReferNotified | None) -> None:
        """A subscription of ours has ended (called by it)."""
        self._sent.pop(sent.number, None)
        if event is not None:
            self.tell(event)

    def tell(self, event: ReferAnswered | ReferNotified) -> None:
        if not self._session.ended:
            self._session.core.emit(event)

    @property
    def session(self) -> Session:
        return self._session

    def session_ended(self) -> None:
        """The dialog ends: open subscriptions end with it, unanswered ones without a status."""
        for sent in list(self._sent.values()):
            sent.lost()

    def close(self) -> None:
        for sent in list(self._sent.values()):
            sent.stop()
        for refer in list(self.received.values()):
            refer.stop()
        self._sent.clear()
        self.received.clear()


class _SentRefer:
    """Client side of one REFER."""

    def __init__(self, referrals: Referrals, number: int) -> None:
        self.number = number
        self._referrals = referrals
        self._timer: Timer | None = None
        self._accepted = False

    def guard(self, session: Session, now: Nanos) -> None:
        at = Nanos(now + session.core.config.subscription)
        self._timer = session.core.timers.set(at, "refer", lambda _: self.lost())

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def response(self, response: Response, now: Nanos) -> None:
        if response.status < 200 or self._accepted:
            return
        answered = ReferAnswered(self._referrals.session, response.status, response.reason)
        if response.status < 300:
            self._accepted = True
            self._referrals.tell(answered)
        else:
            self.stop()
            self._referrals.done(self, answered)

    def failed(self, *, timeout: bool, now: Nanos) -> None:
        if not self._accepted:
            self.stop()
            status, reason = (408, "no answer") if timeout else (503, "transport failed")
            self._referrals.done(self, ReferAnswered(self._referrals.session, status, reason))

    def notified(self, body: bytes, *, terminated: bool) -> None:
        """A NOTIFY; one that overtakes the 202 counts as acceptance (RFC 3515 section 2.4.4)."""
        session = self._referrals.session
        if not self._accepted:
            self._accepted = True
            self._referrals.tell(ReferAnswered(session, 202, "Accepted"))
        match = _STATUS.match(body.lstrip())
        status = int(match.group(1)) if match else 0
        reason = (match.group(2) or b"").decode("utf-8", "replace") if match else ""
        final = status >= 200 or terminated
        event = ReferNotified(session, status, reason, final)
        if final:
            self.stop()
            self._referrals.done(self, event)
        else:
            self._referrals.tell(event)

    def lost(self) -> None:
        """No more news will come."""
        self.stop()
        session = self._referrals.session
        event = ReferNotified(session, 0, "", final=True) if self._accepted else None
        self._referrals.done(self, event or ReferAnswered(session, 408, "no answer"))


@dataclass(slots=True)
class IncomingRefer:
    """The peer asks us to call somebody. ``target`` is the Refer-To URI exactly as it came."""

    session: Session
    target: str
    referred_by: str
    method: str
    """Method parameter of the target; INVITE when absent."""
    _transaction: ServerTransaction
    _number: int
    _timer: Timer | None = None
    _answered: bool = False
    _over: bool = field(default=False)

    @classmethod
    def from_request(
        cls, session: Session, request: Request, transaction: ServerTransaction
    ) -> IncomingRefer:
        """Raises ``BadHeader`` unless there is exactly one good Refer-To (RFC 3515 section 2.4.2)."""
        if len(request.headers.all_raw("refer-to")) != 1:
            raise BadHeader("refer-to", "must occur once")
        refer_to = request.headers.view("refer-to")
        target = str(refer_to.uri)
        method = "INVITE"
        found = re.search(r";method=([A-Za-z]+)", target)
        if found:
            method = found.group(1).upper()
        return cls(
            session=session,
            target=target,
            referred_by=request.headers.text("referred-by"),
            method=method,
            _transaction=transaction,
            _number=request.cseq.number,
        )

    def accept(self, now: Nanos) -> None:
        """202, and the first NOTIFY with 100 Trying."""
        received = self.session.refer.received
        if len(received) >= MAX_SUBSCRIPTIONS:
            self.reject(486, now)
            return
        self._answered = True
        self._respond(202, now)
        received[self._number] = self
        at = Nanos(now + self.session.core.config.subscription)
        self._timer = self.session.core.timers.set(at, "refer", lambda when: self.notify(408, "", when))
        self.notify(100, "", now)

    def reject(self, status: int, now: Nanos) -> None:
        """Final failure to the REFER itself."""
        self._over = True
        if not self._answered:
            self._answered = True
            self._respond(status, now)

    def notify(self, status: int, reason: str, now: Nanos) -> None:
        """Report a status of the new call; a final one ends the subscription. Ignored afterwards."""
        session = self.session
        if self._over or session.ended or session.dialog is None:
            self.stop()
            return
        if status >= 200:
            state = "terminated;reason=noresource"
            self.stop()
        else:
            left = max(1, session.core.config.subscription // 1_000_000_000)
            state = f"active;expires={left}"
        headers = {"Event": f"refer;id={self._number}", "Subscription-State": state}
        request = session.new_request("NOTIFY", headers)
        line = f"SIP/2.0 {status} {reason or reason_phrase(status)}\r\n"
        set_body(request, line.encode("utf-8", "replace"), SIPFRAG)
        session.core.request(request, session.dialog.next_hop(), _NotifyUser(self), now)

    def stop(self) -> None:
        """No more NOTIFYs."""
        self._over = True
        if self._timer is not None:
            self._timer.cancel()
        self.session.refer.received.pop(self._number, None)

    def _respond(self, status: int, now: Nanos) -> None:
        self.session.respond(self._transaction, status, now)


class _NotifyUser:
    """Client side of a NOTIFY of ours: a refusal ends the subscription."""

    def __init__(self, refer: IncomingRefer) -> None:
        self._refer = refer

    def response(self, response: Response, now: Nanos) -> None:
        if response.status >= 300:
            self._refer.stop()

    def failed(self, *, timeout: bool, now: Nanos) -> None:
        self._refer.stop()
