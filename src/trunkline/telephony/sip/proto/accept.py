"""The 2xx to an INVITE: sent again until its ACK comes, over every transport (RFC 3261 section 13.3.1.4)."""

from collections.abc import Callable

from trunkline.model import Nanos
from trunkline.telephony.sip.proto.core import Core
from trunkline.telephony.sip.proto.message import Request, Response
from trunkline.telephony.sip.proto.timers import Timer
from trunkline.telephony.sip.proto.transactions import ServerTransaction


class PendingAck:
    """One accepted INVITE whose ACK is awaited: T1 doubling to T2, for 64·T1."""

    def __init__(
        self,
        core: Core,
        transaction: ServerTransaction,
        response: Response,
        *,
        made_offer: bool,
        gave_up: Callable[[Nanos], None],
        now: Nanos,
    ) -> None:
        self.cseq = transaction.request.cseq.number
        self.made_offer = made_offer
        """Whether the ACK has to bring an answer."""
        self._core = core
        self._transaction = transaction
        self._response = response
        self._gave_up = gave_up
        self._interval = core.config.timing.t1
        transaction.respond(response, now)
        self._again: Timer = self._arm(now)
        self._limit = core.timers.set(Nanos(now + core.config.timing.timeout), "2xx no ACK", self._give_up)

    def matches(self, ack: Request) -> bool:
        return ack.cseq.number == self.cseq

    def stop(self) -> None:
        """The ACK came, or the dialog is gone."""
        self._again.cancel()
        self._limit.cancel()

    def _arm(self, now: Nanos) -> Timer:
        return self._core.timers.set(Nanos(now + self._interval), "2xx", self._resend)

    def _resend(self, now: Nanos) -> None:
        self._core.counters["retransmitted_2xx"] += 1
        self._transaction.respond(self._response, now)
        self._interval = Nanos(min(2 * self._interval, self._core.config.timing.t2))
        self._again = self._arm(now)

    def _give_up(self, now: Nanos) -> None:
        self.stop()
        self._gave_up(now)
