"""A program of a test: what it prints is seen, and nothing of it outlives the test."""

import os
import signal
import socket
import sys
from pathlib import Path

import numpy as np
import pytest

from trunkline.model import SECOND, Nanos
from trunkline.operations.phone.audio import decode
from trunkline.runtime.clock import RealClock
from trunkline.telephony.media.port import Codec
from trunkline.testing.peers import Program, free_port, free_ports
from trunkline.testing.peers.program import ProgramFailed
from trunkline.testing.peers.speech import joined, mulaw


def python(code: str, tmp_path: Path) -> Program:
    return Program([sys.executable, "-c", code], log=tmp_path / "log", clock=RealClock())


def gone(pid: int) -> bool:
    """No process runs under this id any more (a zombie waits for its new parent only)."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return True
    return state in "ZX"


async def test_output_and_exit_code_are_seen(tmp_path: Path) -> None:
    async with python("print('ready on 42'); raise SystemExit(3)", tmp_path) as program:
        assert (await program.printed(r"ready on (\d+)", within_s=10))[1] == "42"
        assert await program.finished(within_s=10) == 3
        assert program.code == 3


async def test_an_early_end_is_told_with_the_last_words(tmp_path: Path) -> None:
    async with python("print('no luck')", tmp_path) as program:
        with pytest.raises(ProgramFailed, match=r"(?s)ended with code 0 before printing 'ready'.*no luck"):
            await program.printed("ready", within_s=10)


async def test_waiting_is_bounded(tmp_path: Path) -> None:
    async with python("import signal; signal.pause()", tmp_path) as program:
        with pytest.raises(ProgramFailed, match=r"did not print 'ready' within 0\.1 s"):
            await program.printed("ready", within_s=0.1)
        with pytest.raises(ProgramFailed, match=r"still runs after 0\.1 s"):
            await program.finished(within_s=0.1)


async def test_children_are_ended_with_their_parent_even_when_they_ignore_it(tmp_path: Path) -> None:
    code = (
        "import os, signal, sys\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "child = os.fork()\n"
        "if child: print('child', child, flush=True)\n"
        "signal.pause()\n"
    )
    program = python(code, tmp_path)
    await program.start()
    child = int((await program.printed(r"child (\d+)", within_s=10))[1])
    parent = program.pid
    await program.stop(grace_s=0.1)
    assert gone(parent)
    assert gone(child)
    assert program.code == -9


async def test_a_program_dies_with_whoever_started_it(tmp_path: Path) -> None:
    code = (
        "import asyncio, pathlib, sys\n"
        "from trunkline.runtime.clock import RealClock\n"
        "from trunkline.testing.peers import Program\n"
        "async def main():\n"
        f"    child = Program([sys.executable, '-c', 'import signal; signal.pause()'], log=pathlib.Path({str(tmp_path / 'child')!r}), clock=RealClock())\n"
        "    await child.start()\n"
        "    print('child', child.pid, flush=True)\n"
        "    await asyncio.Future()\n"
        "asyncio.run(main())\n"
    )
    clock = RealClock()
    async with python(code, tmp_path) as parent:
        child = int((await parent.printed(r"child (\d+)", within_s=20))[1])
        os.kill(parent.pid, signal.SIGKILL)
        deadline = clock.now() + 10 * SECOND
        while not gone(child):
            assert clock.now() < deadline
            await clock.sleep_until(Nanos(clock.now() + SECOND // 50))


async def test_stopping_twice_or_never_started_is_no_error(tmp_path: Path) -> None:
    program = python("", tmp_path)
    await program.stop()
    with pytest.raises(ProgramFailed, match="was not started"):
        _ = program.pid
    await program.start()
    await program.stop()
    await program.stop()


def test_ports_are_free_when_given() -> None:
    port = free_port()
    first = free_ports(4)
    assert first % 2 == 0
    for number in (port, *range(first, first + 4)):
        for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
            with socket.socket(socket.AF_INET, kind) as sock:
                sock.bind(("127.0.0.1", number))


def test_mulaw_codes_decode_to_the_nearest_value() -> None:
    samples = np.array([0, 1, -1, 100, -100, 12345, -12345, 32767, -32768], dtype=np.int16)
    back = decode(Codec.PCMU, mulaw(samples)).astype(int)
    assert np.all(np.abs(back - samples) <= np.maximum(4, np.abs(samples.astype(int)) // 20))


def test_pauses_are_seconds() -> None:
    assert len(joined(0.5, np.ones(10, dtype=np.int16), 1)) == 4000 + 10 + 8000
