"""Watching what a component reports: an event sink that remembers and can be waited on."""

import asyncio
from collections.abc import Callable, Iterator
from typing import Any, Generic, TypeVar

from trunkline.testing.loop import GUARD_SECONDS

E = TypeVar("E")
T = TypeVar("T")


class Collector(Generic[E]):
    """A sink that keeps every event in order. ``await`` its methods instead of sleeping."""

    def __init__(self) -> None:
        self.events: list[E] = []
        self._changed: list[asyncio.Future[None]] = []

    def __call__(self, event: E) -> None:
        self.events.append(event)
        waiting, self._changed = self._changed, []
        for future in waiting:
            if not future.done():
                future.set_result(None)

    def __iter__(self) -> Iterator[E]:
        return iter(self.events)

    def __len__(self) -> int:
        return len(self.events)

    def of(self, kind: type[T]) -> list[T]:
        """All events of one type so far."""
        return [event for event in self.events if isinstance(event, kind)]

    def kinds(self) -> list[str]:
        """Type names in order: what most ordering assertions compare."""
        return [type(event).__name__ for event in self.events]

    async def wait(
        self, kind: type[T], match: Callable[[T], bool] = lambda _: True, *, count: int = 1, after: int = 0
    ) -> T:
        """The ``count``-th event of ``kind`` that matches, from position ``after`` on; waits for it."""
        found: list[T] = []

        def seen() -> bool:
            found[:] = [e for e in self.events[after:] if isinstance(e, kind) and match(e)]
            return len(found) >= count

        await self.until(seen, what=f"{count} of {kind.__name__}")
        return found[count - 1]

    async def until(self, condition: Callable[[], bool], *, what: str = "condition") -> None:
        """Wait until ``condition`` holds; it is looked at after every event."""
        try:
            async with asyncio.timeout(GUARD_SECONDS):
                while not condition():
                    future = asyncio.get_running_loop().create_future()
                    self._changed.append(future)
                    await future
        except TimeoutError:
            raise AssertionError(f"waited in vain for {what}; the last seen: {self.events[-20:]!r}") from None


class Journal:
    """One list for several fakes, so that a test can assert the order of things across rooms."""

    def __init__(self) -> None:
        self.entries: list[tuple[str, str, Any]] = []

    def note(self, who: str, what: str, detail: Any = None) -> None:
        """Append one entry."""
        self.entries.append((who, what, detail))

    def steps(self, *who: str) -> list[str]:
        """``who.what`` in order, restricted to the named fakes when any is given."""
        return [f"{actor}.{what}" for actor, what, _ in self.entries if not who or actor in who]

    def index(self, step: str) -> int:
        """Position of the first ``who.what``; raises ``AssertionError`` when it did not happen."""
        steps = self.steps()
        assert step in steps, f"{step} did not happen: {steps}"
        return steps.index(step)
