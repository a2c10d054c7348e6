"""Whole conversations: synthesised callers, the real recogniser and voice, a media port in memory, virtual time."""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import pytest_asyncio

from trunkline.config.source import load
from trunkline.engines.contract import (
    Brief,
    CallerDigits,
    CallerSpeechStarted,
    CallerSpeechStopped,
    CancelAnswer,
    EngineError,
    EngineEvent,
    Greet,
    HandOver,
    HangUp,
    Interrupted,
    ItemEnded,
    ItemStarted,
    Role,
    Say,
    SessionClosed,
    SessionReady,
    ToolCall,
    ToolResult,
    Transcript,
    Truncate,
)
from trunkline.engines.local import LocalEngine, LocalEngineSession, Voices, check_dialogue
from trunkline.engines.local.recogniser import Decoders
from trunkline.engines.local.session import MAX_EARLY_COMMANDS
from trunkline.engines.local.vad import Detectors
from trunkline.engines.local.voice import Flite
from trunkline.model import MS
from trunkline.telephony.media.port import Digit, Flushed, MediaEvent, MediaFailed
from trunkline.testing import Collector, FakeMediaPort, VirtualClock, wait_until

DOCUMENT = load(Path(__file__).parents[4] / "src/trunkline/demo/data/dialogues/orders.yaml")
BATCH = 8000 * 2 * 40 // 1000
Line = Callable[..., bytes]


@dataclass
class Stage:
    """One call with the engine."""

    engine: LocalEngine
    clock: VirtualClock
    port: FakeMediaPort
    seen: Collector[EngineEvent]
    session: LocalEngineSession
    media: list[MediaEvent] = field(default_factory=list)

    async def start(self, *, greeting: str = "", voice: str = "kal16") -> None:
        dialogue = check_dialogue(DOCUMENT).model_dump()
        self.port.listen(self._media)
        await self.session.start(Brief(agent="orders", greeting=greeting, voice=voice, dialogue=dialogue))

    def _media(self, event: MediaEvent) -> None:
        self.media.append(event)
        self.session.handle_media(event)

    async def hear(self, pcm: bytes) -> None:
        """The caller's line carries ``pcm``, in real time of the virtual clock."""
        for at in range(0, len(pcm), BATCH):
            self.port.caller_audio(pcm[at : at + BATCH])
            await self.clock.advance(40 * MS)
            await wait_until(lambda: not self.session.hearing, "the recogniser is done")

    async def pass_time(self, seconds: float) -> None:
        await self.hear(bytes(round(seconds * 1000 / 40) * BATCH))

    async def until_quiet(self) -> None:
        """Let the agent finish what it is saying."""
        for _ in range(1000):
            if self.port.playout.next_deadline() is None and not self.unfinished:
                return
            await self.pass_time(0.2)
        raise AssertionError("the agent never stops talking")

    @property
    def unfinished(self) -> set[str]:
        return {e.item for e in self.seen.of(ItemStarted)} - {
            e.item for e in self.seen.events if isinstance(e, ItemEnded | Interrupted)
        }

    def said(self, role: Role) -> list[str]:
        return [e.text for e in self.seen.of(Transcript) if e.role is role and e.final]


@pytest_asyncio.fixture
async def stage(flite: Flite, detectors: Detectors, decoders: Decoders) -> AsyncIterator[Stage]:
    voices = Voices(flite)
    engine = LocalEngine(voices=voices, detectors=detectors, decoders=decoders)
    clock = VirtualClock(autojump=False)
    port = FakeMediaPort(clock)
    seen: Collector[EngineEvent] = Collector()
    session = engine(port=port, sink=seen, clock=clock)
    assert isinstance(session, LocalEngineSession)
    yield Stage(engine, clock, port, seen, session)
    await session.close()
    await port.close()
    await engine.close()
    voices.close()


async def test_an_order_status_call_from_greeting_to_goodbye(stage: Stage, caller: Line) -> None:
    await stage.start(greeting="Thank you for calling. How can I help?")
    stage.session.command(Greet())
    await stage.until_quiet()
    await stage.hear(caller("where is my order", after_s=1.0))
    await stage.until_quiet()
    await stage.hear(caller("four five six seven eight", after_s=1.2))
    await stage.until_quiet()
    await stage.hear(caller("yes that's right", after_s=1.0))
    (call,) = stage.seen.of(ToolCall)
    assert (call.name, call.arguments) == ("order_status", {"order_number": "45678"})
    await stage.pass_time(2)
    stage.session.command(ToolResult(call.id, {"status": "S"}, spoken="Order 45678 was shipped on Monday."))
    await stage.until_quiet()
    await stage.hear(caller("no that's all thank you", after_s=1.0))
    (end,) = stage.seen.of(HangUp)
    assert end.reason == "caller needs nothing else"
    await stage.until_quiet()

    assert stage.said(Role.AGENT) == [
        "Thank you for calling. How can I help?",
        "What is your order number? It has five digits.",
        "That's order 45678. Is that right?",
        "Order 45678 was shipped on Monday. Is there anything else I can help you with?",
        "Thank you for calling Acme. Goodbye.",
    ]
    assert stage.said(Role.CALLER) == [
        "where is my order",
        "four five six seven eight",
        "yes that's right",
        "no that's all thank you",
    ]
    kinds = stage.seen.kinds()
    assert kinds[0] == "SessionReady"
    assert len(stage.seen.of(CallerSpeechStarted)) == len(stage.seen.of(CallerSpeechStopped)) == 4
    assert not stage.seen.of(EngineError)


async def test_an_interrupted_answer_is_cut_and_the_new_wish_followed(stage: Stage, caller: Line) -> None:
    await stage.start()
    stage.session.command(Greet("Good day to you. You can ask for an order, or for our opening hours."))
    await stage.pass_time(1.2)
    item = stage.seen.of(ItemStarted)[0].item
    speech = caller("i want to talk to a person", after_s=1.0)
    cut = False
    for at in range(0, len(speech), BATCH):
        await stage.hear(speech[at : at + BATCH])
        if stage.seen.of(CallerSpeechStarted) and not cut:
            cut = True
            stage.port.flush()
            await stage.clock.advance(10 * MS)
            (heard,) = [h for e in stage.media if isinstance(e, Flushed) for h in e.heard]
            assert heard.item == item
            stage.session.command(Truncate(item, heard.heard_ms))
    assert cut, "the caller was not heard while the agent spoke"
    greeting = stage.said(Role.AGENT)[1]
    assert greeting.startswith("Good day to you.")
    assert "opening hours" not in greeting
    (over,) = stage.seen.of(HandOver)
    assert over.queue == "support"
    assert "unknown" in over.summary
    await stage.until_quiet()
    assert stage.said(Role.AGENT)[-1] == "I'm connecting you with a colleague. One moment please."
