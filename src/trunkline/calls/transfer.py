"""Handing the caller to people by REFER, and leaving the media path the moment it is accepted.

At the peer's 2xx to the REFER the engine is closed and the ports are freed, whatever comes later (see
``docs/adr``); when the transfer then fails, media is opened again by re-INVITE. Refuses to talk: what the
caller hears after a failed transfer is the flow's.
"""

import asyncio
import logging
from typing import Final

from trunkline.calls.attach import detach
from trunkline.calls.call import Call, TransferWatch
from trunkline.calls.outcomes import CallOver, leg_outcome
from trunkline.calls.states import Step
from trunkline.model import MS, Nanos, Outcome, Reason, Result, TrunklineError, seconds
from trunkline.trust.ledger import Kind

log = logging.getLogger(__name__)

TRANSFER: Final = "transfer"
"""Alarm: the transfer has taken too long."""


UNCONFIRMED: Final = Outcome(
    Result.UNKNOWN, Reason.TRANSFERRED, "the leg ended before the transfer was confirmed"
)


async def transfer(call: Call, queue: str) -> str:
    """Transfer the caller to ``queue``. Ends with ``CallOver`` when the caller is with a person or gone;
    returns why, with media open and no engine promised, when the caller is still ours."""
    assert call.agent is not None and call.turns is not None, "a transfer comes after routing"  # noqa: PT018
    call.turns.active = False
    target = call.desk.queues[queue].target
    call.transfer = TransferWatch()
    call.note(Kind.TRANSFER_STARTED, target=target, queue=queue)
    call.alarms.after(TRANSFER, seconds(call.agent.limits.transfer_s))
    released: Nanos | None = None
    try:
        await call.during(call.leg.transfer(target, headers={"X-Trunkline-Call": call.id}))
        while (failure := _failure(call)) is None:
            if released is None and call.transfer.accepted_at is not None:
                released = await _release(call, call.transfer.accepted_at)
            elif _succeeded(call) or call.ended is not None:
                _over(call, target, released)
            else:
                await call.next()
    except TrunklineError as failed:
        failure = str(failed)
    finally:
        call.alarms.clear(TRANSFER)
    status = call.transfer.final.status if call.transfer.final is not None else 0
    call.note(Kind.TRANSFER_FAILED, status=status, detail=failure)
    call.desk.meter.transfer("failed", released)
    if released is None:
        call.step(Step.STAY)
    else:
        await _reanchor(call, failure)
    return failure


def _succeeded(call: Call) -> bool:
    final = call.transfer.final
    return final is not None and 200 <= final.status < 300


def _failure(call: Call) -> str | None:
    """Why the caller stays with us, once that is known."""
    if call.ended is not None or _succeeded(call):
        return None
    final = call.transfer.final
    if final is not None:
        return f"{final.status} {final.reason}".strip() if final.status else "no result was reported"
    if not call.alarms.pending(TRANSFER):
        return "no answer in time"
    return None


async def _release(call: Call, accepted_at: Nanos) -> Nanos:
    """Leave the media path now; returns how long it took."""
    call.step(Step.RELEASE)
    engine_closed = ports_freed = accepted_at

    async def close_engine() -> None:
        nonlocal engine_closed
        await detach(call)
        engine_closed = call.now()

    async def free_ports() -> None:
        nonlocal ports_freed
        await call.leg.release_media()
        ports_freed = call.now()

    async def both() -> None:
        await asyncio.gather(close_engine(), free_ports())

    await call.during(both())
    call.outlet.media = None
    if call.turns is not None:
        call.turns.forget()
    span = Nanos(max(engine_closed, ports_freed) - accepted_at)
    stopped = call.closed_media.last_rtp_sent_at if call.closed_media is not None else 0
    call.note(
        Kind.MEDIA_RELEASED,
        accepted_at_ns=accepted_at - call.started,
        engine_closed_at_ns=engine_closed - call.started,
        rtp_stopped_at_ns=stopped - call.started if stopped else None,
        ports_freed_at_ns=ports_freed - call.started,
        release_ms=round(span / MS, 1),
    )
    return span


def _over(call: Call, target: str, released: Nanos | None) -> None:
    """The caller is with a person, or left on the way there."""
    if _succeeded(call):
        call.note(Kind.TRANSFERRED, target=target)
        call.desk.meter.transfer("succeeded", released)
        raise CallOver(Outcome(Result.SUCCESS, Reason.TRANSFERRED, target))
    call.desk.meter.transfer("unconfirmed", released)
    raise CallOver(
        Outcome(Result.UNKNOWN, Reason.TRANSFERRED, "the leg ended before the transfer was confirmed")
    )


async def _reanchor(call: Call, failure: str) -> None:
    """Take the caller back into our media. Ends with ``CallOver`` when that fails."""
    try:
        await call.during(call.leg.reanchor_media())
    except TrunklineError as failed:
        log.warning("media did not come back: %s", failed, extra={"call": call.id})
        raise CallOver(Outcome(Result.UPSTREAM, Reason.TRANSFER_FAILED, failure)) from failed
    if call.ended is not None:
        # A peer that goes away ends its reports first: then nobody knows whether the transfer worked.
        unknown = call.transfer.final is None or not call.transfer.final.status
        raise CallOver(UNCONFIRMED if unknown else leg_outcome(call.ended))
    call.step(Step.REANCHOR)
    call.open_media()
    media = call.leg.media
    call.note(Kind.MEDIA_REANCHORED, host=media.local_host, port=media.local_port)
