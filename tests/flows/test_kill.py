"""A thousand calls opened and killed in every phase leave nothing behind: tasks, ports, engines, records, memory."""

import asyncio
import gc
import tracemalloc
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from trunkline.engines.contract import Greet, HandOver, ToolCall
from trunkline.model import ToolCallId
from trunkline.testing import TRANSFER_BUSY, Emit, FakeLeg, Speak, Wait
from trunkline.testing.house import House
from trunkline.trust.ledger import Kind

CALLS = 1_000
AT_ONCE = 250

SCRIPT: Mapping[type, Any] = {
    Greet: [
        (
            Speak("Hello", 1_000),
            Wait(1_200),
            Emit(lambda at: ToolCall(at, ToolCallId("t1"), "lookup", {})),
            Wait(3_000),
            Speak("Bye", 500),
            Emit(lambda at: HandOver(at, "support", "", "")),
        )
    ]
}
PHASES = (
    Kind.ROUTED,
    Kind.ENGINE_STARTING,
    Kind.ANSWERED,
    Kind.PLAY_STARTED,
    Kind.MASK_STARTED,
    Kind.TRANSFER_STARTED,
    Kind.MEDIA_RELEASED,
    Kind.MEDIA_REANCHORED,
)


class Killer:
    """Watches the ledger and ends each call at its first entry of one kind, in one of several ways."""

    def __init__(self, house: House, phase: Kind) -> None:
        self.phase = phase
        self.legs: dict[str, FakeLeg] = {}
        self.killed = 0
        append = house.ledger.append

        def watching(call, at, kind, data=None, /):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
            append(call, at, kind, data)
            if kind is self.phase and (leg := self.legs.pop(call, None)) is not None:
                self.killed += 1
                self._kill(leg)

        house.ledger.append = watching  # type: ignore[method-assign]

    def _kill(self, leg: FakeLeg) -> None:
        ways = (leg.peer_hangs_up, leg.peer_cancels, lambda: leg.peer_vanishes("transport"))
        asyncio.get_running_loop().call_soon(ways[self.killed % 3])


async def _wave(house: House, killer: Killer, count: int) -> None:
    for _ in range(count):
        number = len(house.legs) + 1
        killer.legs[house.call_id(number)] = house.ring(transfers=[TRANSFER_BUSY])
    await house.gone()
    house.assert_clean()


def _forget(house: House) -> None:
    """Let go of what the fakes keep for assertions."""
    for kept in (house.first.made, house.media.opened, house.tools.requests, house.journal.entries):
        kept.clear()
    house.meter.seen.clear()
    house.ledger.entries.clear()
    for leg in house.legs:
        leg.transferred.clear()


@pytest.mark.parametrize("phase", PHASES)
async def test_a_thousand_calls_killed_in_one_phase_leave_nothing(tmp_path: Path, phase: Kind) -> None:
    async with House(tmp_path, calls=AT_ONCE) as house:
        house.tools.take_ms = 1_500
        house.first.script = SCRIPT
        killer = Killer(house, phase)
        before = len(asyncio.all_tasks())
        for _ in range(CALLS // AT_ONCE):
            await _wave(house, killer, AT_ONCE)
        assert killer.killed == CALLS
        assert len(house.ledger.ended) == CALLS
        assert len(asyncio.all_tasks()) == before
        assert house.clock.sleepers() == 0


async def test_memory_comes_back(tmp_path: Path) -> None:
    async with House(tmp_path, calls=AT_ONCE) as house:
        house.first.script = SCRIPT
        killer = Killer(house, Kind.MASK_STARTED)
        house.tools.take_ms = 1_500
        sizes: list[int] = []
        tracemalloc.start()
        try:
            for _ in range(4):
                await _wave(house, killer, 50)
                _forget(house)
                gc.collect()
                sizes.append(tracemalloc.get_traced_memory()[0])
        finally:
            tracemalloc.stop()
        # The first wave fills caches; after that a wave of 50 calls may keep what the fakes keep (legs, rows).
        assert sizes[3] - sizes[2] < 50 * 16_000, sizes
