"""A bounded set of threads with one database session each.

A question that is cancelled stops being waited for at once; its thread is told to stop and its place is free
again when it did.
"""

import asyncio
import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from trunkline.integration.connectors.sql.client import Driver, Session
from trunkline.model import Clock, Nanos, Overloaded, RemoteError

log = logging.getLogger(__name__)
T = TypeVar("T")


class Stop:
    """Tells a running statement to give up: asked from its thread, set from the loop's."""

    def __init__(self, deadline: Nanos, clock: Clock) -> None:
        self._asked = threading.Event()
        self._deadline, self._clock = deadline, clock
        self._lock = threading.Lock()
        self._session: Session | None = None

    def __call__(self) -> bool:
        return self._asked.is_set() or self._clock.now() >= self._deadline

    def ask(self) -> None:
        """Stop now."""
        self._asked.set()
        with self._lock:  # a session that was given back runs someone else's statement
            if self._session is not None:
                self._session.interrupt()

    def uses(self, session: Session | None) -> None:
        """Which session runs the statement; ``None`` before it is given back."""
        with self._lock:
            self._session = session


class Pool:
    """``size`` sessions at most; ``waiting`` questions may wait for one."""

    def __init__(self, driver: Driver, *, size: int, waiting: int) -> None:
        self._driver = driver
        self._threads = ThreadPoolExecutor(size, thread_name_prefix="sql")
        self._free = asyncio.Semaphore(size)
        self._idle: list[Session] = []
        self._waiting = 0
        self._bound = waiting
        self._running: set[Stop] = set()
        self._closed = False

    @property
    def running(self) -> int:
        """Questions a thread works on now, including cancelled ones that have not stopped."""
        return len(self._running)

    async def run(self, job: Callable[[Session, Stop], T], stop: Stop) -> T:
        """Run ``job`` with a session in a thread. Raises ``Overloaded`` at the bound of waiting questions,
        ``RemoteError`` when no session can be had."""
        await self._place()
        if self._closed:
            self._free.release()
            raise RemoteError("the connector is closed")
        self._running.add(stop)
        work = asyncio.get_running_loop().run_in_executor(self._threads, self._work, job, stop)
        work.add_done_callback(lambda done: self._done(done, stop))
        try:
            return await asyncio.shield(work)
        except asyncio.CancelledError:
            stop.ask()
            raise

    async def close(self) -> None:
        """Stop what runs, end all sessions and threads."""
        self._closed = True
        for stop in self._running:
            stop.ask()
        await asyncio.to_thread(self._threads.shutdown, wait=True)
        while self._idle:
            self._idle.pop().close()

    async def _place(self) -> None:
        if self._free.locked() and self._waiting >= self._bound:
            raise Overloaded(f"{self._waiting} questions wait for the database already")
        self._waiting += 1
        try:
            await self._free.acquire()
        finally:
            self._waiting -= 1

    def _work(self, job: Callable[[Session, Stop], T], stop: Stop) -> T:
        if stop():
            raise RemoteError("the statement was stopped")
        session = self._session()
        stop.uses(session)
        try:
            if stop():  # asked while the session was being opened
                raise RemoteError("the statement was stopped")
            result = job(session, stop)
        except BaseException:
            stop.uses(None)
            session.close()
            raise
        stop.uses(None)
        self._idle.append(session)
        return result

    def _session(self) -> Session:
        while self._idle:
            session = self._idle.pop()
            if not session.stale():
                return session
            session.close()
        return self._driver.open()

    def _done(self, work: "asyncio.Future[T]", stop: Stop) -> None:
        self._running.discard(stop)
        self._free.release()
        if not work.cancelled() and (error := work.exception()) is not None:
            log.debug("a question to the database ended with %s", type(error).__name__)
