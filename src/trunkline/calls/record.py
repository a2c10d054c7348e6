"""The record of one call in the ledger: opened before anything is promised, closed whatever happens."""

import asyncio
import logging
from typing import Final

from trunkline.calls.call import Call
from trunkline.calls.outcomes import CallOver, Refusal
from trunkline.calls.states import Step
from trunkline.model import Outcome, Reason, Result
from trunkline.trust.ledger import CallRecord, Kind, LedgerUnavailable

log = logging.getLogger(__name__)

RETRY_AFTER_S: Final = 30
"""What a caller's network is told while no record can be written."""


async def start_record(call: Call) -> None:
    """Make the start of the record durable, before the call may be answered; 503 when it cannot be."""
    opening = asyncio.ensure_future(call.desk.ledger.call_started(_record(call)))
    try:
        # Not abandoned half-way: a row that was written must be closed.
        await asyncio.shield(opening)
    except LedgerUnavailable as broken:
        refusal = Refusal(503, "Service Unavailable", RETRY_AFTER_S)
        raise CallOver(Outcome(Result.LOCAL, Reason.OVERLOADED, broken.what), refusal=refusal) from broken
    except asyncio.CancelledError:
        await asyncio.wait((opening,))
        call.recorded = not opening.cancelled() and opening.exception() is None
        raise
    call.recorded = True
    _first_entries(call)
    call.step(Step.RECORD)


def _record(call: Call) -> CallRecord:
    assert call.route is not None and call.agent is not None, "recorded after routing"  # noqa: PT018
    info = call.leg.info
    return CallRecord(
        id=call.id,
        started=call.started,
        trunk=info.trunk,
        direction=info.direction,
        ani=info.ani,
        dnis=info.dnis,
        route=call.route.name,
        agent=call.route.agent,
        engine=call.agent.engine,
        config_hash=call.desk.config_hash,
        protocol_id=info.protocol_id,
    )


def _first_entries(call: Call) -> None:
    assert call.route is not None and call.agent is not None, "recorded after routing"  # noqa: PT018
    info = call.leg.info
    arrived = {
        "trunk": info.trunk,
        "direction": info.direction,
        "ani": info.ani,
        "dnis": info.dnis,
        "display_name": info.display_name,
        "source": info.source,
        "protocol_id": info.protocol_id,
        "leg": call.leg.id,
    }
    call.note_at(call.started, Kind.CALL_ARRIVED, arrived)
    call.note(Kind.ROUTED, route=call.route.name, agent=call.route.agent, engine=call.agent.engine)
    # Numbers and names of callers belong into the record, not into logs.
    log.info(
        "call arrived",
        extra={"call": call.id, "trunk": info.trunk, "route": call.route.name, "agent": call.route.agent},
    )
