"""What a process holds: descriptors, threads and asyncio tasks, and the difference between two looks."""

import asyncio
import gc
import os
import threading
import weakref
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

_FDS = Path("/proc/self/fd")
_IGNORED_TARGETS = ("/dev/null", "/dev/urandom", "/dev/random", "/dev/pts/", "/dev/tty")
THREAD_GRACE_SECONDS = 1.0
"""How long a thread that was told to end may take to do so."""


@dataclass(frozen=True, slots=True)
class Holdings:
    """Descriptors as (number, what), and the threads alive."""

    descriptors: frozenset[tuple[int, str]]
    threads: "weakref.WeakSet[threading.Thread]" = field(compare=False)

    @classmethod
    def now(cls) -> "Holdings":
        """Look at this process. Descriptors are seen on Linux only; elsewhere the set is empty."""
        return cls(frozenset(_descriptors()), weakref.WeakSet(threading.enumerate()))

    def new_descriptors(self, allowed: Iterable[tuple[int, str]] = ()) -> list[str]:
        """Descriptors that are open now and were not here, as ``12 socket:[345]``."""
        known = self.descriptors.union(allowed)
        found = set(_descriptors()) - known
        if found:
            gc.collect()
            found = set(_descriptors()) - known
        return [f"{number} {what}" for number, what in sorted(found)]

    def new_threads(self, allowed: Iterable[threading.Thread] = ()) -> list[str]:
        """Names of threads that live now and were not here, after giving them a moment to end."""
        known = {*self.threads, *allowed, threading.current_thread()}
        left = [thread for thread in threading.enumerate() if thread not in known]
        for thread in left:
            thread.join(THREAD_GRACE_SECONDS)
        return [thread.name for thread in left if thread.is_alive()]


def _descriptors() -> Iterable[tuple[int, str]]:
    if not _FDS.is_dir():
        return
    for entry in list(_FDS.iterdir()):
        try:
            target = str(entry.readlink())
        except OSError:
            continue  # the listing's own descriptor, already closed
        if not target.startswith(_IGNORED_TARGETS) and target != f"/proc/{os.getpid()}/fd":
            yield int(entry.name), target


def other_tasks(known: Iterable[asyncio.Task[object]] = ()) -> list[str]:
    """Tasks of the running loop, without the current one and ``known``, as text that names their coroutine."""
    allowed = {*known, asyncio.current_task()}
    return [_describe(task) for task in asyncio.all_tasks() if task not in allowed and not task.done()]


def _describe(task: asyncio.Task[object]) -> str:
    coroutine = task.get_coro()
    return f"{task.get_name()} ({getattr(coroutine, '__qualname__', coroutine)})"
