"""Timer values of RFC 3261 (table 4) and the one heap that all timers of an endpoint live in."""

import heapq
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from trunkline.model import Nanos, seconds
from trunkline.model.units import MS

T1: Final = Nanos(500 * MS)
T2: Final = Nanos(4000 * MS)
T4: Final = Nanos(5000 * MS)
Fire = Callable[[Nanos], None]


@dataclass(frozen=True, slots=True)
class Timing:
    """T1, T2, T4 and what follows from them (RFC 3261 section 17, RFC 6026 section 7)."""

    t1: Nanos = T1
    t2: Nanos = T2
    t4: Nanos = T4

    @property
    def timeout(self) -> Nanos:
        """64·T1: timers B, F, H, L, M, and J over unreliable transports."""
        return Nanos(64 * self.t1)

    @property
    def linger(self) -> Nanos:
        """Timer D over unreliable transports: at least 32 s."""
        return Nanos(max(64 * self.t1, seconds(32)))


class Timer:
    """A timer that was set. ``why`` names it for people (``"B"``, ``"2xx"``, …)."""

    __slots__ = ("_fire", "_timers", "when", "why")

    def __init__(self, timers: "Timers", when: Nanos, why: str, fire: Fire) -> None:
        self.when = when
        self.why = why
        self._timers = timers
        self._fire: Fire | None = fire

    @property
    def active(self) -> bool:
        return self._fire is not None

    def cancel(self) -> None:
        """Idempotent; also after it fired."""
        if self._fire is not None:
            self._fire = None
            self._timers.cancelled()

    def take(self) -> Fire | None:
        """The callback, once; None when cancelled."""
        fire, self._fire = self._fire, None
        return fire


class Timers:
    """A heap of timers. Cancelled ones are dropped when they outnumber the live ones."""

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, Timer]] = []
        self._serial = 0
        self._dead = 0

    def __len__(self) -> int:
        """Live timers."""
        return len(self._heap) - self._dead

    def set(self, when: Nanos, why: str, fire: Fire) -> Timer:
        """Call ``fire(now)`` at or after ``when``."""
        timer = Timer(self, when, why, fire)
        self._serial += 1
        heapq.heappush(self._heap, (when, self._serial, timer))
        return timer

    def deadline(self) -> Nanos | None:
        """When the next live timer is due."""
        while self._heap and not self._heap[0][2].active:
            heapq.heappop(self._heap)
            self._dead -= 1
        return Nanos(self._heap[0][0]) if self._heap else None

    def fire(self, now: Nanos) -> int:
        """Fire all that is due, in order; gives how many."""
        fired = 0
        while (when := self.deadline()) is not None and when <= now:
            callback = heapq.heappop(self._heap)[2].take()
            if callback is not None:
                callback(now)
                fired += 1
        return fired

    def why(self) -> dict[str, int]:
        """Live timers by name, for tests and diagnosis."""
        found: dict[str, int] = {}
        for _, _, timer in self._heap:
            if timer.active:
                found[timer.why] = found.get(timer.why, 0) + 1
        return found

    def cancelled(self) -> None:
        """A timer in the heap was cancelled (called by ``Timer``)."""
        self._dead += 1
        if self._dead > 64 and self._dead * 2 > len(self._heap):
            self._heap = [entry for entry in self._heap if entry[2].active]
            heapq.heapify(self._heap)
            self._dead = 0
