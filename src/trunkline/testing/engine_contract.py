"""What every engine session must do, as tests that run against any of them.

Write an ``EngineRig`` for your engine and subclass ``EngineContract`` in a test module, with a fixture ``rig`` that
yields it. The engine must be set up to hold this conversation: it greets; when the caller asks, it calls the tool
``lookup`` once and speaks after the result; when the caller asks for a person, it hands over.
"""

from abc import ABC, abstractmethod
from typing import Final

from trunkline.engines.contract import (
    Brief,
    CallerDigits,
    CancelAnswer,
    EngineError,
    EngineEvent,
    EngineSession,
    Greet,
    HandOver,
    ItemEnded,
    ItemStarted,
    Role,
    SessionClosed,
    SessionReady,
    ToolCall,
    ToolResult,
    ToolSpec,
    Transcript,
    Truncate,
    TurnEnded,
)
from trunkline.model import ToolCallId
from trunkline.testing.events import Collector
from trunkline.testing.loop import settle, wait_until
from trunkline.testing.media import FakeMediaPort

LOOKUP: Final = ToolSpec(
    name="lookup",
    description="Look up an order.",
    parameters={"type": "object", "properties": {"number": {"type": "string"}}},
)
BRIEF: Final = Brief(
    agent="contract",
    instructions="You answer the phone for Acme.",
    greeting="Thank you for calling Acme.",
    tools=(LOOKUP,),
    queues=("support",),
)


class EngineRig(ABC):
    """One session with everything around it. ``seen`` is the session's sink; ``port`` feeds ``handle_media``."""

    session: EngineSession
    port: FakeMediaPort
    seen: Collector[EngineEvent]
    brief: Brief = BRIEF

    @abstractmethod
    async def caller_asks(self) -> None:
        """The caller asks something that needs ``lookup``."""

    @abstractmethod
    async def caller_wants_a_person(self) -> None:
        """The caller asks for a person."""

    @abstractmethod
    async def caller_interrupts(self) -> None:
        """The caller begins to speak while the engine does."""

    @abstractmethod
    async def engine_dies(self) -> None:
        """The engine's side ends without being asked to."""

    async def greeted(self) -> str:
        """Start, greet and wait for the end of the greeting; its item."""
        await self.session.start(self.brief)
        self.session.command(Greet())
        await self.seen.wait(TurnEnded)
        return self.seen.of(ItemStarted)[0].item


class EngineContract:
    """The expectations. Pytest collects them from subclasses."""

    async def test_it_becomes_ready_before_anything_else(self, rig: EngineRig) -> None:
        await rig.session.start(rig.brief)
        await rig.seen.wait(SessionReady)
        assert rig.seen.kinds()[0] == "SessionReady"
        assert len(rig.seen.of(SessionReady)) == 1

    async def test_it_greets_even_when_asked_before_it_is_ready(self, rig: EngineRig) -> None:
        item = await rig.greeted()
        order = [
            kind
            for kind in rig.seen.kinds()
            if kind in {"SessionReady", "ItemStarted", "ItemEnded", "TurnEnded"}
        ]
        assert order == ["SessionReady", "ItemStarted", "ItemEnded", "TurnEnded"]
        assert rig.seen.of(ItemEnded)[0].item == item
        words = [e for e in rig.seen.of(Transcript) if e.role is Role.AGENT and e.final]
        assert [e.item for e in words] == [item]
        assert words[0].text
        await wait_until(lambda: bool(rig.port.playout.heard_log()), "the caller hears the greeting")
        assert rig.port.playout.heard_log()[0][0] == item

    async def test_it_calls_a_tool_once_and_speaks_after_the_result(self, rig: EngineRig) -> None:
        await rig.greeted()
        await rig.caller_asks()
        call = await rig.seen.wait(ToolCall)
        assert call.name == "lookup"
        assert not call.malformed
        spoken = len(rig.seen.of(ItemStarted))
        result = ToolResult(call.id, {"status": "on its way"}, spoken="Your order is on its way.")
        rig.session.command(result)
        rig.session.command(result)
        await rig.seen.wait(ItemEnded, count=spoken + 1)
        await rig.seen.wait(TurnEnded, after=rig.seen.events.index(rig.seen.of(ItemEnded)[spoken]))
        await settle()
        assert len(rig.seen.of(ToolCall)) == 1
        assert len(rig.seen.of(ItemStarted)) == spoken + 1

    async def test_a_result_for_no_call_is_harmless(self, rig: EngineRig) -> None:
        await rig.greeted()
        rig.session.command(ToolResult(ToolCallId("never-asked"), {}))
        await settle()
        assert not rig.seen.of(SessionClosed)
        await rig.caller_asks()
        await rig.seen.wait(ToolCall)

    async def test_it_hears_the_caller_interrupt_and_goes_on(self, rig: EngineRig) -> None:
        await rig.session.start(rig.brief)
        rig.session.command(Greet())
        item = (await rig.seen.wait(ItemStarted)).item
        await wait_until(lambda: rig.port.playout.playing == item, "the greeting plays")
        await rig.caller_interrupts()
        rig.port.flush()
        rig.session.command(Truncate(item, 100))
        await rig.caller_asks()
        await rig.seen.wait(ToolCall)
        assert not [error for error in rig.seen.of(EngineError) if not error.retryable]

    async def test_it_hands_over_to_a_person(self, rig: EngineRig) -> None:
        await rig.greeted()
        await rig.caller_wants_a_person()
        handed = await rig.seen.wait(HandOver)
        assert handed.queue in {"", *rig.brief.queues}

    async def test_commands_that_mean_nothing_now_are_harmless(self, rig: EngineRig) -> None:
        await rig.greeted()
        rig.session.command(CancelAnswer())
        rig.session.command(Truncate("no such item", 500))
        rig.session.command(CallerDigits("1"))
        await settle()
        assert not rig.seen.of(SessionClosed)

    async def test_closing_ends_it_once_and_cleanly(self, rig: EngineRig) -> None:
        await rig.greeted()
        await rig.session.close()
        await rig.session.close()
        closed = rig.seen.of(SessionClosed)
        assert [event.clean for event in closed] == [True]
        count = len(rig.seen)
        rig.session.command(Greet())
        rig.port.caller_speaks()
        await settle()
        assert len(rig.seen) == count
        assert rig.seen.events[-1] == closed[0]
        assert rig.port.socket is None
        assert rig.port.tap is None

    async def test_closing_before_it_is_ready(self, rig: EngineRig) -> None:
        await rig.session.start(rig.brief)
        await rig.session.close()
        await settle()
        assert [event.clean for event in rig.seen.of(SessionClosed)] == [True]
        assert rig.seen.kinds()[-1] == "SessionClosed"

    async def test_its_end_is_reported_when_it_was_not_asked_for(self, rig: EngineRig) -> None:
        await rig.greeted()
        await rig.engine_dies()
        closed = await rig.seen.wait(SessionClosed)
        assert not closed.clean
        await rig.session.close()
        await settle()
        assert len(rig.seen.of(SessionClosed)) == 1
        assert rig.seen.kinds()[-1] == "SessionClosed"
