"""Named deadlines of one call, on the injected clock. At most one task sleeps, for the earliest of them."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from trunkline.calls.signals import AlarmRang
from trunkline.model import Clock, Nanos

Spawn = Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]]


class Alarms:
    """Deadlines by name. Setting a name again replaces its deadline; each rings once."""

    __slots__ = ("_clock", "_due", "_ring", "_sleeper", "_spawn", "_until")

    def __init__(self, *, clock: Clock, spawn: Spawn, ring: Callable[[AlarmRang], None]) -> None:
        self._clock = clock
        self._spawn = spawn
        self._ring = ring
        self._due: dict[str, Nanos] = {}
        self._sleeper: asyncio.Task[None] | None = None
        self._until = Nanos(0)

    def set(self, name: str, when: Nanos) -> None:
        """Ring at or after ``when``."""
        self._due[name] = when
        if self._sleeper is None or when < self._until:
            self._sleep_for(when)

    def after(self, name: str, span: Nanos) -> None:
        """Ring ``span`` from now."""
        self.set(name, Nanos(self._clock.now() + span))

    def clear(self, name: str) -> None:
        """Do not ring. A sleeper that wakes for nothing sleeps on."""
        self._due.pop(name, None)

    def pending(self, name: str) -> bool:
        """Whether the alarm is set and has not rung."""
        return name in self._due

    def _sleep_for(self, when: Nanos) -> None:
        if self._sleeper is not None:
            self._sleeper.cancel()
        self._until = when
        self._sleeper = self._spawn(self._sleep(when))

    async def _sleep(self, when: Nanos) -> None:
        await self._clock.sleep_until(when)
        now = self._clock.now()
        for name in sorted((n for n, due in self._due.items() if due <= now), key=self._due.__getitem__):
            del self._due[name]
            self._ring(AlarmRang(at=now, name=name))
        self._sleeper = None
        if self._due:
            self._sleep_for(min(self._due.values()))
