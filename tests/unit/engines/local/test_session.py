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
    CallerHeld,
    CallerSpeechStarted,
    CallerSpeechStopped,
    CallerText,
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
from trunkline.model import MS, LocalError
from trunkline.telephony.media.port import Digit, Flushed, MediaEvent, MediaFailed
from trunkline.testing import Collector, FakeMediaPort, VirtualClock

DOCUMENT = load(Path(__file__).parents[4] / "src/trunkline/demo/data/dialogues/orders.yaml")
BATCH_MS = 100
BATCH = 8000 * 2 * BATCH_MS // 1000
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
            await self.clock.advance(BATCH_MS * MS)
            await self.session.caught_up()

    async def pass_time(self, seconds: float) -> None:
        await self.hear(bytes(round(seconds * 1000 / BATCH_MS) * BATCH))

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


async def test_a_cough_does_not_end_the_agent_s_words(stage: Stage, caller: Line) -> None:
    await stage.start()
    stage.session.command(Greet("Good day to you. You can ask for an order, or for our opening hours."))
    await stage.pass_time(0.8)
    noise = bytes(caller("", before_s=0.1))
    await stage.hear(noise)
    item = stage.seen.of(ItemStarted)[0].item
    stage.session.command(Truncate(item, 800))
    stage.port.flush()
    await stage.clock.advance(10 * MS)
    stage.session.command(CallerText(""))
    await stage.until_quiet()
    assert stage.said(Role.AGENT)[-1].endswith("or for our opening hours.")
    assert len(stage.seen.of(ItemStarted)) == 2


async def test_keys_cut_the_prompt_and_fill_the_slot(stage: Stage) -> None:
    await stage.start()
    stage.session.command(Greet())
    await stage.pass_time(0.4)
    (greeting,) = stage.seen.of(ItemStarted)
    stage.session.command(CallerDigits("1"))
    assert stage.seen.of(Interrupted)[0].item == greeting.item
    stage.port.flush()
    await stage.until_quiet()
    for key in "45678":
        stage.session.command(CallerDigits(key))
    (call,) = stage.seen.of(ToolCall)
    assert call.arguments == {"order_number": "45678"}


async def test_keys_as_media_events_are_not_counted_twice(stage: Stage) -> None:
    await stage.start()
    stage.session.command(Greet())
    stage.session.handle_media(Digit(at=stage.clock.now(), digit="1", duration_ms=100))
    await stage.pass_time(0.2)
    assert len(stage.seen.of(ItemStarted)) == 1


async def test_silence_is_met_with_the_question_and_then_with_a_person(stage: Stage) -> None:
    await stage.start()
    stage.session.command(Greet())
    await stage.until_quiet()
    for _ in range(3):
        await stage.pass_time(7.5)
        await stage.until_quiet()
    assert [text.split(".")[0].split("?")[0] for text in stage.said(Role.AGENT)[1:]] == [
        "Are you still there",
        "Are you still there",
        "I'm sorry, I'm having trouble understanding you",
    ]
    assert stage.seen.of(HandOver)[0].reason == "not understood"


async def test_on_hold_nobody_is_asked_and_music_is_nobody_s_speech(stage: Stage, caller: Line) -> None:
    await stage.start()
    stage.session.command(Greet())
    await stage.until_quiet()
    stage.session.command(CallerHeld(held=True))
    await stage.hear(caller("I want to talk to a person."))
    await stage.pass_time(30)
    assert len(stage.said(Role.AGENT)) == 1
    assert not stage.seen.of(CallerSpeechStarted)
    stage.session.command(CallerHeld(held=False))
    await stage.pass_time(7.5)
    await stage.until_quiet()
    assert stage.said(Role.AGENT)[1].startswith("Are you still there")
    assert not stage.seen.of(HandOver)


async def test_without_a_queue_in_the_document_the_agent_s_first_is_taken(stage: Stage) -> None:
    document = check_dialogue(DOCUMENT).model_dump()
    document["person"]["queue"] = ""
    await stage.session.start(Brief(agent="orders", dialogue=document, queues=("night", "day")))
    stage.session.command(Greet())
    stage.session.command(CallerText("operator"))
    assert stage.seen.of(HandOver)[0].queue == "night"


async def test_a_farewell_is_not_interrupted(stage: Stage, caller: Line) -> None:
    await stage.start()
    stage.session.command(Greet())
    await stage.until_quiet()
    stage.session.command(CallerText("goodbye"))
    before = len(stage.seen.of(CallerSpeechStarted))
    await stage.hear(caller("where is my order", after_s=1.0))
    assert len(stage.seen.of(CallerSpeechStarted)) == before
    assert stage.seen.kinds().index("ItemStarted") < stage.seen.kinds().index("HangUp")


async def test_commands_before_ready_are_kept_and_bounded(stage: Stage) -> None:
    stage.session.command(Greet("First."))
    for _ in range(MAX_EARLY_COMMANDS):
        stage.session.command(CallerText(""))
    assert [error.code for error in stage.seen.of(EngineError)] == ["too_many_commands"]
    await stage.start()
    assert stage.seen.kinds()[1] == "SessionReady"
    await stage.until_quiet()
    assert stage.said(Role.AGENT)[0] == "First."


async def test_say_speaks_and_cancel_stops(stage: Stage) -> None:
    await stage.start()
    stage.session.command(Say("Please hold the line while I look."))
    await stage.pass_time(0.2)
    (item,) = stage.seen.of(ItemStarted)
    stage.session.command(CancelAnswer())
    assert [event.item for event in stage.seen.of(Interrupted)] == [item.item]


async def test_after_close_nothing_is_said_or_done(stage: Stage, caller: Line) -> None:
    await stage.start()
    stage.session.command(Greet())
    pcm = caller("where is my order")
    await stage.hear(pcm[: len(pcm) // 4 * 2])
    await stage.session.close()
    count = len(stage.seen)
    assert stage.seen.events[-1] == SessionClosed(
        stage.clock.now(), clean=True, retryable=False, detail="closed by us"
    )
    assert stage.port.tap is None
    stage.session.command(Say("Hello?"))
    stage.session.handle_media(MediaFailed(stage.clock.now(), "late", bug=False))
    await stage.session.close()
    await stage.clock.advance(20_000 * MS)
    assert len(stage.seen) == count


async def test_a_session_survives_an_engine_that_was_closed_first(stage: Stage, caller: Line) -> None:
    await stage.start()
    pcm = caller("where is my order")
    await stage.hear(pcm[: len(pcm) // 4 * 2])
    await stage.engine.close()
    await stage.session.close()
    assert stage.seen.events[-1] == SessionClosed(
        stage.clock.now(), clean=True, retryable=False, detail="closed by us"
    )


async def test_a_session_that_was_never_started_closes(stage: Stage) -> None:
    await stage.session.close()
    assert stage.seen.kinds() == ["SessionClosed"]


async def test_the_end_of_the_media_ends_the_session(stage: Stage) -> None:
    await stage.start()
    stage.session.command(Greet())
    stage.port.fails("socket error")
    await stage.clock.advance(10 * MS)
    (closed,) = stage.seen.of(SessionClosed)
    assert (closed.clean, closed.retryable) == (False, False)


@pytest.mark.parametrize("dialogue", [{}, {"version": 1, "help": "?", "intents": {}}])
async def test_a_dialogue_that_is_none_closes_the_session_with_a_reason(
    stage: Stage, dialogue: dict[str, object]
) -> None:
    await stage.session.start(Brief(agent="orders", dialogue=dialogue))
    assert stage.seen.kinds() == ["EngineError", "SessionClosed"]
    assert "dialogue" in stage.seen.of(SessionClosed)[0].detail


async def test_a_tool_s_answer_after_its_time_is_ignored(stage: Stage) -> None:
    await stage.start()
    stage.session.command(Greet())
    stage.session.command(CallerText("where is order one two three four five"))
    stage.session.command(CallerDigits("1"))
    (call,) = stage.seen.of(ToolCall)
    await stage.pass_time(31)
    await stage.until_quiet()
    said = len(stage.said(Role.AGENT))
    stage.session.command(ToolResult(call.id, {}, spoken="Much too late."))
    await stage.until_quiet()
    assert len(stage.said(Role.AGENT)) == said


async def test_audio_beyond_the_bound_is_dropped_oldest_first_and_counted(stage: Stage) -> None:
    await stage.start()
    for _ in range(20):
        stage.port.caller_audio(bytes(16000))
    await stage.clock.advance(1 * MS)
    await stage.session.caught_up()
    assert stage.session.counters.dropped_audio_ms > 0
    assert not stage.seen.of(SessionClosed)


async def test_an_unknown_voice_is_replaced(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    await stage.start(voice="nobody")
    assert "nobody" in caplog.text
    stage.session.command(Greet("Hi."))
    await stage.until_quiet()
    assert stage.said(Role.AGENT) == ["Hi."]
    assert stage.seen.of(SessionReady)


async def test_warming_up_finds_what_is_wrong_before_a_call(flite: Flite, detectors: Detectors) -> None:
    pool = Decoders(1)
    voices = Voices(flite)
    engine = LocalEngine(voices=voices, detectors=detectors, decoders=pool)
    await engine.warm([check_dialogue(DOCUMENT).model_dump()])
    bad = check_dialogue(DOCUMENT).model_dump()
    bad["intents"]["opening_hours"]["examples"] = ["zzyzx qwrt"]
    with pytest.raises(LocalError, match="pronounce"):
        await engine.warm([bad])
    await engine.close()
    voices.close()
    pool.close()
