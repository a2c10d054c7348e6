"""Attaching an engine to a call: one after the other of the agent's chain until one is ready.

Owns sessions' beginning and end. Refuses to decide what happens when none comes: that is ``failover``'s.
"""

import logging
from dataclasses import replace
from enum import Enum, auto
from typing import Final

from trunkline.calls.attachment import Attachment
from trunkline.calls.call import Call
from trunkline.calls.turns import LOCAL_ITEM
from trunkline.calls.waiting import within
from trunkline.engines.contract import Greet
from trunkline.model import LocalError, Nanos, TrunklineError, seconds
from trunkline.trust.ledger import Kind

log = logging.getLogger(__name__)

ENGINE_LATE: Final = "engine"
"""Alarm: the engine should have been ready."""

PATIENCE: Final = "patience"
"""Alarm: the caller should not wait longer for an answer."""

WORDS: Final = "words"
"""Alarm: last words have had their time."""

ENGINE_CLOSE: Final = seconds(2)
"""How long an engine session may take to close before it is left behind."""


class Readiness(Enum):
    """How far the engine is."""

    READY = auto()
    PENDING = auto()
    NONE = auto()
    """No engine of the chain came."""


async def until_ready(call: Call, *, patience: Nanos | None = None) -> Readiness:
    """Attach engines until one is ready, or until ``patience`` is over, or the chain is."""
    if patience is not None:
        call.alarms.after(PATIENCE, patience)
    try:
        while True:
            engine = call.outlet.engine
            if engine is not None and engine.ready and not engine.failed:
                return Readiness.READY
            if engine is None or engine.failed:
                await detach(call)
                if not call.chain:
                    return Readiness.NONE
                await _begin(call, call.chain.popleft())
            elif patience is not None and not call.alarms.pending(PATIENCE):
                return Readiness.PENDING
            elif not call.alarms.pending(ENGINE_LATE):
                engine.given_up = True
                call.note(
                    Kind.ENGINE_CLOSED,
                    engine=engine.name,
                    clean=False,
                    retryable=True,
                    detail="not ready in time",
                )
                call.desk.meter.engine_failed(engine.name)
            else:
                await call.next()
    finally:
        call.alarms.clear(PATIENCE)


async def _begin(call: Call, name: str) -> None:
    """Start a session of the engine ``name``; it reports through the inbox whether it comes."""
    desk = call.desk
    assert call.route is not None, "an engine is attached after routing"
    engine = desk.engines[name]
    line = call.inbox.line()
    call.attempts += 1
    call.note(Kind.ENGINE_STARTING, engine=name, kind=engine.kind, attempt=call.attempts)
    session = engine.make(port=call.leg.media, sink=line, clock=desk.clock)
    attached = Attachment(name=name, session=session, line=line, started=desk.clock.now())
    call.outlet.engine = attached
    call.alarms.after(ENGINE_LATE, engine.ready_timeout)
    brief = desk.briefs[call.route.agent]
    context = {**brief.context, **call.context()}
    tried = await call.trying(session.start(replace(brief, context=context)))
    if tried.error is not None:
        _did_not_start(call, attached, tried.error)


def _did_not_start(call: Call, engine: Attachment, error: Exception) -> None:
    engine.given_up = True
    if isinstance(error, TrunklineError):
        log.warning("engine did not start: %s", error, extra={"call": call.id, "engine": engine.name})
        retryable = not isinstance(error, LocalError)
        call.note(Kind.ENGINE_CLOSED, engine=engine.name, clean=False, retryable=retryable, detail=str(error))
    else:
        call.bug(f"engine {engine.name}, start", error)
    call.desk.meter.engine_failed(engine.name)


async def detach(call: Call) -> None:
    """Close the engine session, if any, within a bound. What it still had to say is not heard. When this is
    cancelled the session stays known, so that the call's end closes it again."""
    engine = call.outlet.engine
    call.alarms.clear(ENGINE_LATE)
    if call.tools is not None:
        call.tools.cancel_all()
    if engine is None:
        return
    told = engine.failed
    engine.given_up = True
    engine.line.close()
    try:
        if not await within(call.desk.clock, ENGINE_CLOSE, engine.session.close()):
            log.warning("engine did not close in time", extra={"call": call.id, "engine": engine.name})
    except Exception as bug:  # noqa: BLE001 - reported; what the session holds ends with its media
        call.bug(f"engine {engine.name}, close", bug)
    call.outlet.engine = None
    if not told:
        call.note(Kind.ENGINE_CLOSED, engine=engine.name, clean=True, retryable=False, detail="")


def greet(call: Call) -> None:
    """Let the engine speak first."""
    assert call.agent is not None, "a greeting comes after routing"
    call.note(Kind.GREETING, text=call.agent.greeting)
    call.outlet.command(Greet())


async def last_words(call: Call) -> None:
    """Wait until what is being said was heard, for as long as the agent's limits allow."""
    assert call.agent is not None and call.turns is not None, "words come after routing"  # noqa: PT018
    call.alarms.after(WORDS, seconds(call.agent.limits.farewell_s))
    while call.alarms.pending(WORDS) and not call.turns.quiet:
        await call.next()
    call.alarms.clear(WORDS)


async def say_locally(call: Call, text: str) -> None:
    """Say ``text`` with the local voice and wait until it was heard. Without a voice nothing is said."""
    assert call.agent is not None and call.turns is not None, "words come after routing"  # noqa: PT018
    if not text or call.outlet.media is None:
        return
    tried = await call.trying(call.desk.voice.say(text, call.agent.voice))
    if isinstance(tried.error, TrunklineError):
        log.warning("nothing said: %s", tried.error, extra={"call": call.id})
        return
    if tried.error is not None:
        # People must be reached also without these words.
        call.bug("voice", tried.error)
        return
    speech = tried.open()
    item = f"{LOCAL_ITEM}{call.now()}"
    call.turns.expect(item)
    call.outlet.media.play(item, speech.pcm, speech.rate)
    call.outlet.media.end_item(item)
    await last_words(call)
