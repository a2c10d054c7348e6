"""One function is one call: read ``run_call`` from top to bottom.

A call is admitted, routed, recorded, prepared, answered, given an engine, talked with, and wrapped up. Whatever
ends it early (the caller hangs up, media dies, a limit is reached, an engine is gone for good) arrives as
``CallOver`` from the step that was under way; leaving the function cancels every task of the call, closes its
engine, ends its leg, frees its ports and closes its record.

Each step's details are one room further: ``call`` (signals), ``turns`` (barge-in, silence), ``tools`` (tool
calls and masks), ``attach`` and ``failover`` (engines), ``handover`` and ``transfer`` (people), ``wrapup``.
"""

import asyncio
import logging

from trunkline.calls.admission import Admission
from trunkline.calls.attach import greet, last_words
from trunkline.calls.call import MAX_DURATION, Call
from trunkline.calls.failover import engine_after_answer, engine_before_answer, fail_over
from trunkline.calls.handover import hand_over
from trunkline.calls.outcomes import CallOver, Refusal
from trunkline.calls.record import start_record
from trunkline.calls.routing import find_route
from trunkline.calls.states import Step
from trunkline.calls.wrapup import outcome_of, wrap_up
from trunkline.engines.contract import HandOver, HangUp
from trunkline.model import (
    Nanos,
    Outcome,
    Overloaded,
    Reason,
    RemoteProtocolError,
    Result,
    seconds,
    to_ms,
)
from trunkline.trust.ledger import Kind

log = logging.getLogger(__name__)


async def run_call(call: Call, admission: Admission) -> Outcome:
    """One inbound call, from its arrival to its closed record. Raises nothing that a peer could cause."""
    refusal: Refusal | None = None
    try:
        admit(call, admission)
        route(call)
        await start_record(call)
        await prepare(call)
        await engine_before_answer(call)
        await answer(call)
        await engine_after_answer(call)
        await converse(call)
    except asyncio.CancelledError:
        call.outcome = Outcome(Result.LOCAL, Reason.SHUTDOWN, "the process ends")
        raise
    except Exception as ended:
        call.outcome, refusal = outcome_of(ended)
        if call.outcome.reason is Reason.BUG:
            log.exception("the flow of a call failed", extra={"call": call.id})
            call.note(Kind.BUG, where=f"a call that was {call.state}", detail=call.outcome.detail)
    finally:
        try:
            await wrap_up(call, refusal)
        finally:
            admission.leave(call.admitted)
    return call.outcome


def admit(call: Call, admission: Admission) -> None:
    """A place for the call, or 503 before anything rings."""
    call.desk.meter.call_arrived()
    try:
        if problem := call.desk.problem():
            raise Overloaded(problem)
        admission.enter()
    except Overloaded as full:
        refusal = Refusal(503, "Service Unavailable", admission.retry_after_s)
        raise CallOver(Outcome(Result.LOCAL, Reason.OVERLOADED, full.what), refusal=refusal) from full
    call.admitted = True


def route(call: Call) -> None:
    """The agent that answers, or 404."""
    found = find_route(call.desk.routes, call.leg.info)
    if found is None:
        outcome = Outcome(Result.CALLER, Reason.NO_ROUTE, f"no route for {call.leg.info.trunk}")
        raise CallOver(outcome, refusal=Refusal(404, "Not Found"))
    call.assign(found, call.desk.agents[found.agent])
    call.step(Step.ROUTE)


async def prepare(call: Call) -> None:
    """Media for the caller's offer: 488 when we speak none of its codecs, 503 without a free port."""
    try:
        await call.during(call.leg.prepare())
    except RemoteProtocolError as strange:
        outcome = Outcome(Result.CALLER, Reason.NO_MEDIA, strange.what)
        raise CallOver(outcome, refusal=Refusal(488, "Not Acceptable Here")) from strange
    except Overloaded as full:
        refusal = Refusal(503, "Service Unavailable", 5)
        raise CallOver(Outcome(Result.LOCAL, Reason.OVERLOADED, full.what), refusal=refusal) from full
    while not call.leg_has_media():
        # It ended while it was being prepared; the event that says so is still under way.
        await call.next()
    call.open_media()
    call.note(Kind.MEDIA_OPENED, host=call.leg.media.local_host, port=call.leg.media.local_port)
    call.step(Step.PREPARE)


async def answer(call: Call) -> None:
    """The 200 OK, and its acknowledgement: before that nobody listens."""
    assert call.agent is not None and call.turns is not None, "answered after routing"  # noqa: PT018
    await call.during(_send_answer(call))
    call.step(Step.ANSWER)
    call.alarms.after(MAX_DURATION, seconds(call.agent.limits.max_duration_s))
    while not call.confirmed:
        await call.next()


async def _send_answer(call: Call) -> None:
    await call.leg.answer()
    now = call.now()
    setup = Nanos(now - call.started)
    call.note_at(now, Kind.ANSWERED, {"setup_ms": round(to_ms(setup), 1)})
    call.desk.ledger.answered(call.id, now)
    call.desk.meter.call_answered(setup)
    assert call.turns is not None, "answered after routing"
    call.turns.answered_at = now


async def converse(call: Call) -> None:
    """Greet, then talk until one side has had enough. Turns and tools run beside; here are the decisions."""
    assert call.turns is not None, "a conversation comes after routing"
    call.step(Step.CONVERSE)
    greet(call)
    call.turns.active = True
    while True:
        match await call.wish():
            case HandOver() as wish:
                await hand_over(call, wish)
            case HangUp(reason=reason):
                await last_words(call)
                raise CallOver(Outcome(Result.SUCCESS, Reason.AI_HUNG_UP, reason))
            case None:
                await fail_over(call)
