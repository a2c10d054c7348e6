"""The processes of the demonstration: started in groups of their own, watched, and never left behind."""

import asyncio
import json
import os
import shutil
import signal
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

from trunkline.model import SECOND, Clock, LocalError, Nanos

COMMAND: Final = (sys.executable, "-c", "from trunkline.runtime.cli import main; main()")
"""The ``trunkline`` command of this very interpreter."""

GRACE_S: Final = 6.0
PRIORITY: Final = -10
"""Nice value of the processes that speak in real time."""

MAX_LINE: Final = 1 << 20

Event = dict[str, Any]


class Actor:
    """A ``trunkline`` command that tells its events as lines of JSON on one of its streams.

    Events come on standard error (``--events -``) and the report on standard output, or with ``server`` the other
    way round. What is no JSON goes to ``log``.
    """

    def __init__(
        self,
        name: str,
        arguments: Sequence[str],
        *,
        folder: Path,
        server: bool,
        on_event: Callable[[str, Event], None],
        command: Sequence[str] = COMMAND,
    ) -> None:
        self.name = name
        self.log = folder / f"{name}.log"
        self.output = folder / f"{name}.json"
        self._arguments = (*command, *arguments)
        self._server = server
        self._on_event = on_event
        self._process: asyncio.subprocess.Process | None = None
        self._reader: asyncio.Task[None] | None = None
        self._seen: dict[str, Event] = {}

    async def start(self) -> None:
        """Start the process."""
        pipe = asyncio.subprocess.PIPE
        with (self.log if self._server else self.output).open("wb") as file:
            self._process = await asyncio.create_subprocess_exec(
                *_guard(),
                *self._arguments,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=pipe if self._server else file,
                stderr=file if self._server else pipe,
                start_new_session=True,
                limit=MAX_LINE,
            )
        _prefer(self._process.pid)
        stream = self._process.stdout if self._server else self._process.stderr
        if stream is None:
            raise AssertionError("a pipe was asked for")
        self._reader = asyncio.get_running_loop().create_task(
            self._read(stream), name=f"events of {self.name}"
        )

    async def _read(self, stream: asyncio.StreamReader) -> None:
        with self.log.open("ab") as log:
            while line := await self._line(stream):
                event = _decoded(line)
                if event is None:
                    log.write(line)
                    log.flush()
                    continue
                self._seen.setdefault(event["event"], event)
                self._on_event(self.name, event)

    @staticmethod
    async def _line(stream: asyncio.StreamReader) -> bytes:
        try:
            return await stream.readline()
        except ValueError:  # a line beyond the limit is no event of ours
            return b"\n"

    async def event(self, kind: str, clock: Clock, *, within_s: float) -> Event:
        """The first event of a kind, once it came. Raises ``LocalError`` when the process ends without."""
        deadline = clock.now() + round(within_s * SECOND)
        while kind not in self._seen:
            if self._process is None or self._process.returncode is not None:
                raise LocalError(
                    f"{self.name} ended before it was {kind}: {self.last_words()}", hint=f"see {self.log}"
                )
            if clock.now() >= deadline:
                raise LocalError(f"{self.name} was not {kind} within {within_s:g} s", hint=f"see {self.log}")
            await clock.sleep_until(Nanos(clock.now() + SECOND // 50))
        return self._seen[kind]

    async def ended(self, clock: Clock, *, within_s: float) -> int:
        """Exit code, once it ended by itself. Raises ``LocalError`` when it takes too long."""
        process = self._process
        if process is None:
            raise AssertionError(f"{self.name} was never started")
        deadline = clock.now() + round(within_s * SECOND)
        while process.returncode is None:
            if clock.now() >= deadline:
                raise LocalError(f"{self.name} still runs after {within_s:g} s", hint=f"see {self.log}")
            await clock.sleep_until(Nanos(clock.now() + SECOND // 50))
        if self._reader is not None:
            await asyncio.wait((self._reader,), timeout=1)
        return process.returncode

    async def leave(self, clock: Clock, *, within_s: float) -> None:
        """Let it end by itself, or after a while ask it to: then it reports what it has."""
        try:
            await self.ended(clock, within_s=within_s)
        except LocalError:
            await self.stop()

    def report(self) -> Any:
        """The JSON document on its output. Raises ``LocalError`` when there is none."""
        try:
            return json.loads(self.output.read_bytes())
        except (OSError, ValueError) as absent:
            raise LocalError(
                f"{self.name} left no report: {self.last_words()}", hint=f"see {self.log}"
            ) from absent

    def last_words(self) -> str:
        """The last line of its log."""
        try:
            lines = self.log.read_text(errors="replace").strip().splitlines()
        except OSError:
            lines = []
        return lines[-1] if lines else "it said nothing"

    async def stop(self) -> None:
        """End it and everything it started: politely, then by force."""
        process = self._process
        if process is None:
            return
        for sign in (signal.SIGTERM, signal.SIGKILL):
            if process.returncode is None:
                _signal(process.pid, sign)
                try:
                    async with asyncio.timeout(GRACE_S):
                        await process.wait()
                except TimeoutError:
                    continue
        self.kill()
        if self._reader is not None:
            self._reader.cancel()
            await asyncio.gather(self._reader, return_exceptions=True)

    def kill(self) -> None:
        """End it and everything it started at once."""
        if self._process is not None:
            _signal(self._process.pid, signal.SIGKILL)


@asynccontextmanager
async def acting(actor: Actor) -> AsyncIterator[Actor]:
    """An actor for the time of a block."""
    try:
        await actor.start()
        yield actor
    finally:
        try:
            await actor.stop()
        finally:
            # Also when the wait for a polite end was itself interrupted: a second Ctrl-C leaves nothing behind.
            actor.kill()


def _guard() -> tuple[str, ...]:
    """Lets the kernel end a process when this one dies without having stopped it. Empty where util-linux's
    ``setpriv`` is missing."""
    return ("setpriv", "--pdeathsig", "TERM", "--") if shutil.which("setpriv") else ()


def _decoded(line: bytes) -> Event | None:
    try:
        event = json.loads(line)
    except ValueError:
        return None
    return event if isinstance(event, dict) and isinstance(event.get("event"), str) else None


def _prefer(pid: int) -> None:
    """Ask for more of a busy machine's time, as telephony does. Threads started later inherit the niceness; where
    Linux groups processes by session (``sched_autogroup``, see sched(7)), the group's own niceness decides."""
    try:
        os.setpriority(os.PRIO_PROCESS, pid, PRIORITY)
        Path(f"/proc/{pid}/autogroup").write_text(str(PRIORITY), encoding="ascii")
    except OSError:  # only root may, and not every kernel groups; a machine that is not busy does without
        return


def _signal(group: int, sign: signal.Signals) -> None:
    try:
        os.killpg(group, sign)
    except (ProcessLookupError, PermissionError):
        return
