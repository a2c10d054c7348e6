"""Virtual time: an hour of call in milliseconds.

``VirtualClock`` is a ``model.Clock``. With ``autojump`` (the default) time jumps to the next deadline whenever
every task of the loop waits; without, it moves only when the test says so, which also suits sans-IO code.
"""

import asyncio
import datetime as dt
import heapq
import itertools
from typing import Final

from trunkline.model import SECOND, Nanos
from trunkline.testing.loop import LoopWatch, settle

START: Final = Nanos(1_000 * SECOND)
"""Where virtual time begins: not 0, so that a forgotten default shows."""

EPOCH: Final = dt.datetime(2026, 3, 2, 9, 30, tzinfo=dt.UTC)
"""Wall time at ``START``: a Monday morning."""

HORIZON: Final = Nanos(7 * 24 * 3600 * SECOND)
"""Autojump stops this far after the start, so that a periodic timer cannot spin forever."""


class VirtualClock:
    """A clock that tests own. One per test; usable from one event loop at a time."""

    def __init__(self, *, start: Nanos = START, wall: dt.datetime = EPOCH, autojump: bool = True) -> None:
        self._start = start
        self._now = start
        self._epoch = wall
        self.autojump = autojump
        self._sleepers: list[tuple[Nanos, int, asyncio.Future[None]]] = []
        self._order = itertools.count()

    def now(self) -> Nanos:
        """Virtual monotonic nanoseconds."""
        return self._now

    def wall(self) -> dt.datetime:
        """Wall time that advances with ``now``."""
        return self._epoch + dt.timedelta(microseconds=(self._now - self._start) // 1_000)

    async def sleep_until(self, when: Nanos) -> None:
        """Return when virtual time reaches ``when``; yields to other tasks once even when it has passed."""
        loop = asyncio.get_running_loop()
        LoopWatch.of(loop).at_idle(self._idle)
        future: asyncio.Future[None] = loop.create_future()
        if when <= self._now:
            loop.call_soon(_finish, future)
        else:
            heapq.heappush(self._sleepers, (when, next(self._order), future))
        await future

    def sleepers(self) -> int:
        """How many tasks sleep on this clock now."""
        return sum(1 for _, _, future in self._sleepers if not future.done())

    def next_deadline(self) -> Nanos | None:
        """When the earliest sleeper wakes."""
        while self._sleepers and self._sleepers[0][2].done():
            heapq.heappop(self._sleepers)
        return self._sleepers[0][0] if self._sleepers else None

    def tick(self, span: int) -> Nanos:
        """Move time by ``span`` nanoseconds at once and wake who is due; returns the new time."""
        if span < 0:
            raise ValueError("monotonic time does not go back")
        self._move_to(Nanos(self._now + span))
        return self._now

    async def advance(self, span: int) -> None:
        """Move time by ``span``, stopping at every deadline on the way until all tasks wait again."""
        target = Nanos(self._now + span)
        autojump, self.autojump = self.autojump, False
        try:
            await settle()
            while (due := self.next_deadline()) is not None and due <= target:
                self._move_to(due)
                await settle()
            self._move_to(target)
            await settle()
        finally:
            self.autojump = autojump

    def _idle(self) -> bool:
        if not self.autojump:
            return False
        due = self.next_deadline()
        if due is None or due > self._start + HORIZON:
            return False
        self._move_to(due)
        return True

    def _move_to(self, when: Nanos) -> None:
        self._now = max(self._now, when)
        while self._sleepers and self._sleepers[0][0] <= self._now:
            _finish(heapq.heappop(self._sleepers)[2])


def _finish(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
