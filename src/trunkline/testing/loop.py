"""Knowing when an event loop has nothing left to do.

``LoopWatch`` sits between asyncio and its selector: asyncio asks the selector to block exactly when no callback
is ready, which is the one moment at which "every task waits" can be observed without guessing. The virtual
clock jumps at that moment, ``settle`` returns at it, and ``wait_until`` looks at its condition before it.

Threads count: while a Python thread (an executor's, aiosqlite's) is at work, the loop is not idle.
This room never sleeps; it refuses loops that have no selector (uvloop).
"""

import asyncio
import linecache
import queue
import selectors
import sys
import threading
from collections.abc import Callable, Mapping
from types import FrameType
from typing import Any

from trunkline.model import LocalError

BUSY_THREAD_LIMIT = 5_000
"""Milliseconds of real time after which a thread that never parks no longer holds the clock."""

GUARD_SECONDS = 10.0
"""Real seconds after which a wait in a test has failed; never part of a passing test's time."""

_PARKED_MODULES = ("threading.py", "queue.py", "selectors.py", "socketserver.py")


class LoopWatch(selectors.BaseSelector):
    """The selector of one loop, observed."""

    def __init__(self, inner: selectors.BaseSelector) -> None:
        self._inner = inner
        self._conditions: dict[asyncio.Future[None], Callable[[], bool]] = {}
        self._idlers: list[asyncio.Future[None]] = []
        self._on_idle: list[Callable[[], bool]] = []
        self._busy_for = 0

    @classmethod
    def of(cls, loop: asyncio.AbstractEventLoop) -> "LoopWatch":
        """The watch of ``loop``, put in place on first use."""
        inner = getattr(loop, "_selector", None)
        if isinstance(inner, LoopWatch):
            return inner
        if not isinstance(inner, selectors.BaseSelector):
            raise LocalError(
                f"{type(loop).__name__} cannot be watched",
                hint="run tests on asyncio's own selector event loop",
            )
        watch = cls(inner)
        loop._selector = watch  # type: ignore[attr-defined]  # noqa: SLF001 - asyncio has no public way
        return watch

    def at_idle(self, hook: Callable[[], bool]) -> None:
        """Call ``hook`` whenever the loop would block; it returns whether it made something ready."""
        if hook not in self._on_idle:
            self._on_idle.append(hook)

    def when_idle(self) -> asyncio.Future[None]:
        """Done when the loop would next block (before any ``at_idle`` hook runs)."""
        future = asyncio.get_running_loop().create_future()
        self._idlers.append(future)
        return future

    def when(self, condition: Callable[[], bool]) -> asyncio.Future[None]:
        """Done when ``condition``, looked at on every pass of the loop, holds."""
        future = asyncio.get_running_loop().create_future()
        self._conditions[future] = condition
        return future

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if self._conditions and self._check_conditions():
            timeout = 0
        if timeout is not None and timeout <= 0:
            return self._inner.select(0)
        if not self._idlers and not self._on_idle:
            return self._inner.select(timeout)
        parked = _threads_parked()
        events = self._inner.select(0)
        if not events and parked and threading.active_count() > 1:
            # A thread may just have taken its work. Let it run, then look again.
            events = self._inner.select(0.0002)
            parked = _threads_parked()
            events = events or self._inner.select(0)
        if events:
            self._busy_for = 0
            return events
        if not parked and self._busy_for < BUSY_THREAD_LIMIT:
            self._busy_for += 1
            return self._inner.select(0.001)
        self._busy_for = 0
        if self._wake_idlers() or self._run_idle_hooks():
            return []
        return self._inner.select(timeout)

    def _run_idle_hooks(self) -> bool:
        woke = False
        for hook in self._on_idle:
            woke = hook() or woke
        return woke

    def _check_conditions(self) -> bool:
        woke = False
        for future, condition in list(self._conditions.items()):
            if future.done():
                del self._conditions[future]
                continue
            try:
                holds = condition()
            except Exception as failed:  # noqa: BLE001 - belongs to the waiter, which raises it in its test
                future.set_exception(failed)
                holds = True
            else:
                if holds:
                    future.set_result(None)
            if holds:
                del self._conditions[future]
                woke = True
        return woke

    def _wake_idlers(self) -> bool:
        waiting = [future for future in self._idlers if not future.done()]
        self._idlers.clear()
        for future in waiting:
            future.set_result(None)
        return bool(waiting)

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return self._inner.register(fileobj, events, data)

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        return self._inner.unregister(fileobj)

    def modify(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return self._inner.modify(fileobj, events, data)

    def get_key(self, fileobj: Any) -> selectors.SelectorKey:
        return self._inner.get_key(fileobj)

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        return self._inner.get_map()

    def close(self) -> None:
        self._conditions.clear()
        self._idlers.clear()
        self._on_idle.clear()
        self._inner.close()


def _threads_parked() -> bool:
    """Whether every other Python thread waits for work. What a parked thread had to tell the loop it has already
    told, so a look at the selector after this one sees it."""
    if threading.active_count() == 1:
        return True
    me = threading.get_ident()
    known = {thread.ident for thread in threading.enumerate()}
    frames = sys._current_frames()  # noqa: SLF001 - documented, despite its name
    return all(_is_parked(frame) for ident, frame in frames.items() if ident != me and ident in known)


def _is_parked(frame: FrameType) -> bool:
    file = frame.f_code.co_filename
    in_library = file.endswith(_PARKED_MODULES)
    line: int | None = frame.f_lineno  # None between two instructions that belong to no line
    if not in_library and (line is None or ".get(" not in linecache.getline(file, line)):
        return False
    inner: FrameType | None = frame
    while inner is not None:
        if any(_has_work(value) for value in list(inner.f_locals.values())):
            return False
        inner = inner.f_back
    return True


def _has_work(value: object) -> bool:
    """Whether ``value`` is a queue that a waiting thread is about to be woken for."""
    return isinstance(value, queue.SimpleQueue | queue.Queue) and value.qsize() > 0


async def settle() -> None:
    """Return once no task can run before time passes or a peer speaks."""
    await LoopWatch.of(asyncio.get_running_loop()).when_idle()


async def wait_until(
    condition: Callable[[], bool], what: str = "", *, guard_s: float = GUARD_SECONDS
) -> None:
    """Wait, without sleeping, until ``condition`` holds; raises ``AssertionError`` after ``guard_s`` real seconds.

    The condition is looked at on every pass of the event loop, so it must be cheap and free of side effects.
    """
    if condition():
        return
    try:
        async with asyncio.timeout(guard_s):
            await LoopWatch.of(asyncio.get_running_loop()).when(condition)
    except TimeoutError:
        name = what or getattr(condition, "__name__", "condition")
        raise AssertionError(f"waited {guard_s:g} s in vain: {name}") from None
