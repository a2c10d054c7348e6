"""The end of a call, whatever ended it: tasks, engine, leg, media, record, in this order, each in its own bounds."""

import logging
from collections.abc import Callable, Coroutine
from typing import Any, Final

from trunkline.calls.attach import detach
from trunkline.calls.call import Call
from trunkline.calls.outcomes import CallOver, Refusal
from trunkline.calls.states import BEFORE_ANSWER, Step
from trunkline.calls.waiting import within
from trunkline.model import Nanos, Outcome, Reason, Result, TrunklineError, seconds
from trunkline.trust.ledger import Kind, LedgerUnavailable

log = logging.getLogger(__name__)

LEG_END: Final = seconds(5)
"""How long ending the leg may take; a peer that does not answer a BYE is not waited for longer."""

RECORD_END: Final = seconds(5)
"""How long the call waits for its record to be durable; the ledger keeps and writes it later as well."""


def outcome_of(failed: BaseException) -> tuple[Outcome, Refusal | None]:
    """What an exception that left the flow means."""
    if isinstance(failed, CallOver):
        return failed.outcome, failed.refusal
    detail = f"{type(failed).__name__}: {failed}"[:500]
    return Outcome(Result.LOCAL, Reason.BUG, detail), Refusal(500, "Server Internal Error")


async def wrap_up(call: Call, refusal: Refusal | None) -> None:
    """End everything the call still holds and close its record. Never raises because of a peer."""
    early = call.state in BEFORE_ANSWER and not call.answered
    call.step(Step.END)
    await call.owned.stop()
    await _carefully(call, "closing the engine", seconds(3), detach(call))
    await _carefully(call, "ending the leg", LEG_END, _end_leg(call, refusal if early else None, early=early))
    _guarded(call, "writing the last entries", call.settle)
    _guarded(call, "counting", lambda: _count(call))
    await _close_record(call)
    call.step(Step.CLOSE)


async def _end_leg(call: Call, refusal: Refusal | None, *, early: bool) -> None:
    if early and call.ended is None:
        refusal = refusal or Refusal(480, "Temporarily Unavailable")
        await call.leg.reject(refusal.status, refusal.reason, retry_after=refusal.retry_after)
        if call.recorded:
            call.note(Kind.ADMISSION_REFUSED, status=refusal.status, reason=refusal.reason)
    else:
        # Also when the peer ended it: this is what frees the leg's media.
        await call.leg.hangup(reason=call.outcome.reason)


def _count(call: Call) -> None:
    duration = call.now() - call.started
    for kind, count in call.inbox.dropped.items():
        call.desk.meter.inbox_dropped(kind, count)
    call.desk.meter.call_ended(call.outcome, Nanos(duration))
    log.info(
        "call ended",
        extra={
            "call": call.id,
            "result": call.outcome.result,
            "reason": call.outcome.reason,
            "seconds": round(duration / 1e9, 1),
        },
    )


async def _close_record(call: Call) -> None:
    if call.recorded:
        recordings = tuple(call.recordings.names)
        ending = call.desk.ledger.call_ended(call.id, call.outcome, at=call.now(), recordings=recordings)
        await _carefully(call, "closing the record", RECORD_END, ending)


async def _carefully(call: Call, what: str, span: Nanos, work: Coroutine[Any, Any, None]) -> None:
    """Do one part of the ending such that the others still happen."""
    try:
        if not await within(call.desk.clock, span, work):
            log.warning("%s took too long", what, extra={"call": call.id})
            call.note(Kind.BUG, where=what, detail="took too long")
    except LedgerUnavailable as later:
        log.warning("%s: %s; it is written later", what, later, extra={"call": call.id})
    except TrunklineError as failed:
        log.warning("%s: %s", what, failed, extra={"call": call.id})
    except Exception as bug:  # noqa: BLE001 - reported
        # A mistake of ours in one part must not keep the ports, the engine or the record of this call.
        call.bug(what, bug)


def _guarded(call: Call, what: str, work: Callable[[], None]) -> None:
    try:
        work()
    except Exception as bug:  # noqa: BLE001 - reported; as above
        call.bug(what, bug)
