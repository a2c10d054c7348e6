"""A child process that cannot outlive its test, and free ports for it to use."""

import os
import re
import shutil
import signal
import socket
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from trunkline.model import MS, Clock, Nanos, seconds

LOOK_EVERY: Final = 20 * MS
TAIL_LINES: Final = 40


class ProgramFailed(AssertionError):  # noqa: N818 - a test fails with it
    """A program did not do what the test needs; the message ends with its last output."""


class Program:
    """A command with its output in a file. ``async with`` starts it and stops its whole process group."""

    def __init__(
        self,
        arguments: Sequence[str | Path],
        *,
        log: Path,
        clock: Clock,
        folder: Path | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.arguments = [str(argument) for argument in arguments]
        self.log = log
        self.clock = clock
        self._folder = folder
        self._environment = environment
        self._process: subprocess.Popen[bytes] | None = None

    async def start(self) -> None:
        """Start it. Override to wait until it is ready."""
        self._process = self._spawn()

    def _spawn(self) -> subprocess.Popen[bytes]:
        with self.log.open("wb") as output:
            return subprocess.Popen(
                [*guard(), *self.arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=self._folder,
                env=None if self._environment is None else {**os.environ, **self._environment},
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """Process id, also of the process group."""
        return self._running().pid

    @property
    def code(self) -> int | None:
        """Exit code, None while it runs."""
        return None if self._process is None else self._process.poll()

    def output(self) -> str:
        """All output until now."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    async def printed(self, pattern: str, *, within_s: float) -> re.Match[str]:
        """Wait until the output matches. Fails when it ends or takes too long."""
        deadline = self.clock.now() + seconds(within_s)
        while True:
            ended = self.code is not None
            if found := re.search(pattern, self.output(), re.MULTILINE):
                return found
            if ended:
                raise self.failed(f"ended with code {self.code} before printing {pattern!r}")
            if self.clock.now() >= deadline:
                raise self.failed(f"did not print {pattern!r} within {within_s:g} s")
            await self.clock.sleep_until(Nanos(self.clock.now() + LOOK_EVERY))

    async def finished(self, *, within_s: float) -> int:
        """Wait until it ended by itself and return its exit code."""
        process = self._running()
        deadline = self.clock.now() + seconds(within_s)
        while process.poll() is None:
            if self.clock.now() >= deadline:
                raise self.failed(f"still runs after {within_s:g} s")
            await self.clock.sleep_until(Nanos(self.clock.now() + LOOK_EVERY))
        return process.returncode

    def failed(self, what: str) -> ProgramFailed:
        """An error that says what happened and what the program printed last."""
        tail = "\n".join(self.output().splitlines()[-TAIL_LINES:])
        return ProgramFailed(f"{Path(self.arguments[0]).name} {what}; last output:\n{tail}")

    def interrupt(self) -> None:
        """Press Ctrl-C: SIGINT to the whole process group."""
        self._signal(signal.SIGINT)

    async def stop(self, *, grace_s: float = 5) -> None:
        """End the whole process group: politely, then by force."""
        process = self._process
        if process is None:
            return
        for sign, patience in ((signal.SIGTERM, grace_s), (signal.SIGKILL, 5.0)):
            if process.poll() is None:
                self._signal(sign)
            deadline = self.clock.now() + seconds(patience)
            while process.poll() is None and self.clock.now() < deadline:
                await self.clock.sleep_until(Nanos(self.clock.now() + LOOK_EVERY))
        self._signal(signal.SIGKILL)  # children that outlived their parent
        process.wait()

    def _signal(self, sign: signal.Signals) -> None:
        try:
            os.killpg(self._running().pid, sign)
        except ProcessLookupError:
            return

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise ProgramFailed(f"{self.arguments[0]} was not started")
        return self._process

    async def __aenter__(self) -> Self:
        try:
            await self.start()
        except BaseException:
            await self.stop()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()


def guard() -> list[str]:
    """Puts a command under the kernel's care: it is killed when this process dies without having stopped it, as
    when the test run itself is killed. Empty where util-linux's ``setpriv`` is missing."""
    return ["setpriv", "--pdeathsig", "KILL", "--"] if shutil.which("setpriv") else []


def free_port(host: str = "127.0.0.1") -> int:
    """A port that is free for UDP and TCP now."""
    for _ in range(100):
        with ExitStack() as stack:
            tcp = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM))
            udp = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            tcp.bind((host, 0))
            port: int = tcp.getsockname()[1]
            try:
                udp.bind((host, port))
            except OSError:
                continue
            return port
    raise ProgramFailed("no port is free")


def free_ports(count: int, host: str = "127.0.0.1") -> int:
    """First of ``count`` consecutive ports that are free for UDP and TCP; the first is even."""
    for start in range(34_000 + os.getpid() % 97 * 200, 60_000 - count, count + count % 2):
        with ExitStack() as stack:
            try:
                for port in range(start, start + count):
                    for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
                        stack.enter_context(socket.socket(socket.AF_INET, kind)).bind((host, port))
            except OSError:
                continue
            return start
    raise ProgramFailed(f"no {count} consecutive ports are free")
