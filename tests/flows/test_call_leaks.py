"""A thousand calls, each ended at a random moment of a conversation that goes through every state of a call.

Afterwards everything is back where it was: tasks, timers, media ports, engine sessions, descriptors, places for
calls, objects.
"""

import asyncio
import gc
import random
from collections import Counter
from pathlib import Path

from trunkline.calls.call import Call
from trunkline.calls.states import State
from trunkline.engines.contract import (
    CallerSpeechStarted,
    CallerSpeechStopped,
    Greet,
    HandOver,
    Say,
    ToolCall,
    ToolResult,
)
from trunkline.model import MS, Nanos, Result, ToolCallId
from trunkline.testing import (
    TRANSFER_BUSY,
    TRANSFER_SUCCEEDS,
    Emit,
    FakeLeg,
    FakeMediaPort,
    ScriptedEngine,
    Speak,
    Wait,
    settle,
    wait_until,
)
from trunkline.testing.engine import Script
from trunkline.testing.house import House
from trunkline.testing.leaks import Holdings

CALLS = 1_000
AT_ONCE = 50
LONGEST_MS = 14_000
KEPT = (Call, FakeLeg, FakeMediaPort, ScriptedEngine, asyncio.Task, asyncio.Future)
LASTING = set(State) - {State.ARRIVED, State.ENDING, State.CLOSED}
"""States that a call can be seen in: it arrives and is routed in one turn of the event loop."""

CONVERSATION: Script = {
    Greet: [
        [
            Speak("Hello.", 1_000),
            Wait(1_300),
            Emit(lambda at: ToolCall(at, ToolCallId("t1"), "lookup", {})),
        ]
    ],
    ToolResult: [
        [
            Speak("Your order is on its way, and it will be with you soon.", 3_000),
            Wait(900),
            Emit(CallerSpeechStarted),
            Wait(400),
            Emit(CallerSpeechStopped),
            Speak("One moment.", 500),
            Emit(lambda at: HandOver(at, "support", "asked", "")),
        ]
    ],
    Say: [[Speak("I am back.", 700), Wait(900), Emit(lambda at: HandOver(at, "support", "asked", ""))]],
}


class Ringer:
    """Makes calls and ends them; knows in which states they were when they were ended."""

    def __init__(self, house: House, seed: int) -> None:
        self.house = house
        self.random = random.Random(seed)
        self.ended_in: Counter[State] = Counter()
        self.outcomes: Counter[Result] = Counter()

    async def batch(self) -> None:
        """Calls at once, all ended and forgotten when this returns."""
        async with asyncio.TaskGroup() as tasks:
            for _ in range(AT_ONCE):
                tasks.create_task(self._call())
        await wait_until(lambda: self.house.board.busy == 0, "no call is left")
        self._forget()

    async def _call(self) -> None:
        house, clock = self.house, self.house.clock
        await self._pause(self.random.randrange(200))
        leg = house.ring(acknowledges=False, transfers=(TRANSFER_BUSY, TRANSFER_SUCCEEDS))
        acknowledging = asyncio.create_task(self._acknowledge(leg))
        if self.random.random() < 0.3:
            # Setting up takes no virtual time, only turns of the event loop: end it after some of those.
            for _ in range(self.random.randrange(30)):
                await clock.sleep_until(clock.now())
        else:
            await self._pause(self.random.randrange(LONGEST_MS))
        self.ended_in.update(view.state for view in house.board.live() if self._is(view.id, leg))
        self._end(leg)
        await wait_until(lambda: leg.ended is not None, "the end of the leg")
        await acknowledging

    async def _acknowledge(self, leg: FakeLeg) -> None:
        await wait_until(lambda: leg.state in {"answered", "ended"}, "the answer")
        await self._pause(100)
        leg.acknowledge()

    def _is(self, call: str, leg: FakeLeg) -> bool:
        live = self.house.board._live
        return any(each.id == call and each.leg is leg for each in live.values())

    def _end(self, leg: FakeLeg) -> None:
        port = self._port(leg)
        match self.random.randrange(6):
            case 0 if port is not None:
                port.fails("socket error")
                leg.peer_hangs_up()
            case 1:
                leg.peer_cancels()
            case 2:
                leg.peer_vanishes("transport")
            case 3:
                for engine in [e for e in self._engines() if e._port is port]:
                    engine.die()
                leg.peer_hangs_up()
            case _:
                leg.peer_hangs_up()

    def _engines(self) -> list[ScriptedEngine]:
        return [*self.house.first.made, *self.house.second.made]

    def _port(self, leg: FakeLeg) -> FakeMediaPort | None:
        return next((p for p in self.house.media.open_ports.values() if p.name == leg.id), None)

    async def _pause(self, span_ms: int) -> None:
        await self.house.clock.sleep_until(Nanos(self.house.clock.now() + span_ms * MS))

    def _forget(self) -> None:
        """Drop what the fakes keep for tests to look at, after looking."""
        house = self.house
        house.assert_clean()
        self.outcomes.update(outcome.result for outcome in house.ledger.ended.values())
        for kept in (house.legs, house.media.opened, house.first.made, house.second.made, house.meter.seen):
            kept.clear()
        for table in (house.ledger.started, house.ledger.ended, house.ledger.entries):
            table.clear()
        house.ledger.answered_at.clear()
        house.ledger.recordings.clear()
        house.journal.entries.clear()
        house.tools.requests.clear()
        house.voice.said.clear()


def alive() -> Counter[str]:
    gc.collect()
    return Counter(type(each).__name__ for each in gc.get_objects() if isinstance(each, KEPT))


async def test_a_thousand_calls_ended_at_any_moment_leave_nothing(tmp_path: Path) -> None:
    async with House(tmp_path, calls=AT_ONCE, fallback=["second"]) as house:
        house.first.script = house.second.script = CONVERSATION
        house.first.ready_after_ms = 120
        house.tools.take_ms = 1_200
        ringer = Ringer(house, seed=2)
        await ringer.batch()
        await settle()
        objects, holdings, tasks = alive(), Holdings.now(), asyncio.all_tasks()
        before = len(gc.get_objects())
        for _ in range(CALLS // AT_ONCE):
            await ringer.batch()
        await settle()
        left = alive()
        grown = len(gc.get_objects()) - before
        assert asyncio.all_tasks() == tasks
        assert house.clock.sleepers() == 0
        assert not house.media.open_ports
        assert house.admission.active == 0
        assert holdings.new_descriptors() == []
        assert holdings.new_threads() == []
        assert left == objects
        assert grown < CALLS // 4, "something is kept for each call"
        assert ringer.ended_in.keys() >= LASTING, ringer.ended_in
        assert sum(ringer.outcomes.values()) > CALLS * 0.9
