"""Processes of the demonstration: their events, their reports, their end."""

import asyncio
import os
import sys
from pathlib import Path

import pytest

from trunkline.demo.actors import Actor, Event, acting
from trunkline.model import LocalError
from trunkline.runtime.clock import RealClock
from trunkline.testing import wait_until

CLOCK = RealClock()


def actor(tmp_path: Path, code: str, *, server: bool = False, heard: list[Event] | None = None) -> Actor:
    def on_event(_name: str, event: Event) -> None:
        if heard is not None:
            heard.append(event)

    return Actor(
        "player", [code], folder=tmp_path, server=server, on_event=on_event, command=(sys.executable, "-c")
    )


async def test_events_are_told_apart_from_other_lines_and_the_report_is_read(tmp_path: Path) -> None:
    heard: list[Event] = []
    code = (
        "import sys\n"
        "print('warming up', file=sys.stderr)\n"
        'print(\'{"event": "listening", "address": "x"}\', file=sys.stderr)\n'
        "print('[1, 2]', file=sys.stderr)\n"
        "print('{\"ok\": true}')\n"
    )
    async with acting(actor(tmp_path, code, heard=heard)) as player:
        assert (await player.event("listening", CLOCK, within_s=10))["address"] == "x"
        assert await player.ended(CLOCK, within_s=10) == 0
    assert player.report() == {"ok": True}
    assert [event["event"] for event in heard] == ["listening"]
    assert player.log.read_text().splitlines() == ["warming up", "[1, 2]"]


async def test_a_server_tells_its_events_on_standard_output(tmp_path: Path) -> None:
    code = "import sys\nprint('trouble', file=sys.stderr)\nprint('{\"event\": \"listening\"}', flush=True)\n"
    async with acting(actor(tmp_path, code, server=True)) as player:
        await player.event("listening", CLOCK, within_s=10)
        await player.ended(CLOCK, within_s=10)
    assert player.last_words() == "trouble"


async def test_a_process_that_ends_too_early_is_told_with_its_last_words(tmp_path: Path) -> None:
    code = "import sys\nprint('the port is busy', file=sys.stderr)\nsys.exit(2)\n"
    async with acting(actor(tmp_path, code)) as player:
        with pytest.raises(LocalError, match="player ended before it was listening: the port is busy"):
            await player.event("listening", CLOCK, within_s=10)
        with pytest.raises(LocalError, match="player left no report: the port is busy"):
            player.report()


async def test_a_process_that_says_nothing_and_stays_is_ended(tmp_path: Path) -> None:
    player = actor(tmp_path, "import signal\nsignal.pause()\n")
    async with acting(player):
        with pytest.raises(LocalError, match=r"player was not listening within 0\.1 s"):
            await player.event("listening", CLOCK, within_s=0.1)
        await player.leave(CLOCK, within_s=0.1)
        assert await player.ended(CLOCK, within_s=1) == -15


async def test_a_line_beyond_the_limit_stops_nothing(tmp_path: Path) -> None:
    code = "import sys\nsys.stderr.write('x' * 3_000_000 + '\\n')\nprint('{\"event\": \"after\"}', file=sys.stderr)\n"
    async with acting(actor(tmp_path, code)) as player:
        await player.event("after", CLOCK, within_s=10)
        await player.ended(CLOCK, within_s=10)


async def test_a_second_interruption_leaves_no_process_behind(tmp_path: Path) -> None:
    deaf = (
        "import os, signal, sys\n"
        'signal.signal(signal.SIGTERM, lambda *_: print(\'{"event": "asked"}\', file=sys.stderr, flush=True))\n'
        'print(\'{"event": "ready", "pid": %d}\' % os.getpid(), file=sys.stderr, flush=True)\n'
        "while True: signal.pause()\n"
    )
    player = actor(tmp_path, deaf)
    pid: list[int] = []

    async def play() -> None:
        async with acting(player):
            pid.append((await player.event("ready", CLOCK, within_s=10))["pid"])
            await asyncio.get_running_loop().create_future()

    playing = asyncio.create_task(play())
    await wait_until(lambda: bool(pid))
    playing.cancel()
    await player.event("asked", CLOCK, within_s=10)
    playing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await playing
    await player.ended(CLOCK, within_s=10)
    with pytest.raises(ProcessLookupError):
        os.kill(pid[0], 0)
