"""The contract kit against the scripted engine: the fake keeps the promises of real ones."""

from collections.abc import AsyncIterator

import pytest

from trunkline.engines.contract import (
    CallerSpeechStarted,
    EngineEvent,
    Greet,
    HandOver,
    ToolCall,
    ToolResult,
)
from trunkline.model import ToolCallId
from trunkline.testing import Collector, Emit, FakeMediaFactory, ScriptedEngine, Speak, VirtualClock
from trunkline.testing.engine_contract import EngineContract, EngineRig


class ScriptedRig(EngineRig):
    def __init__(self, engine: ScriptedEngine, seen: Collector[EngineEvent]) -> None:
        self.session = self.engine = engine
        self.seen = seen

    async def caller_asks(self) -> None:
        self.engine.perform(Emit(lambda at: ToolCall(at, ToolCallId("c1"), "lookup", {"number": "4711"})))

    async def caller_wants_a_person(self) -> None:
        self.engine.perform(Speak("One moment."), Emit(lambda at: HandOver(at, "support", "asked", "")))

    async def caller_interrupts(self) -> None:
        self.engine.perform(Emit(CallerSpeechStarted))
        await self.seen.wait(CallerSpeechStarted)

    async def engine_dies(self) -> None:
        self.engine.die()


class TestScriptedEngine(EngineContract):
    @pytest.fixture
    async def rig(
        self, fake_media: FakeMediaFactory, virtual_clock: VirtualClock
    ) -> AsyncIterator[EngineRig]:
        port, seen = await fake_media.open("call"), Collector[EngineEvent]()
        script = {Greet: [[Speak("Hello.", span_ms=3_000)]], ToolResult: [[Speak("It is on its way.")]]}
        engine = ScriptedEngine(port=port, sink=seen, clock=virtual_clock, script=script, ready_after_ms=50)
        port.listen(engine.handle_media)
        rig = ScriptedRig(engine, seen)
        rig.port = port
        yield rig
        await engine.close()
        await port.close()
