"""What the commands of phones share."""

import asyncio
import os
import signal

import pytest
import typer

from trunkline.runtime.phones import STOPS, codecs_of, duration_of, stoppable, voice_of
from trunkline.telephony.media.port import Codec


def test_codecs_by_name() -> None:
    assert codecs_of([]) == (Codec.PCMU, Codec.PCMA)
    assert codecs_of(["pcma"]) == (Codec.PCMA,)
    with pytest.raises(typer.BadParameter, match="PCMU, PCMA, L16"):
        codecs_of(["opus"])


def test_voices_by_name() -> None:
    assert voice_of("rms") == "rms"
    with pytest.raises(typer.BadParameter, match="slt, rms"):
        voice_of("nobody")


def test_durations() -> None:
    assert duration_of("1.5s", "--answer-after") == 1500
    with pytest.raises(typer.BadParameter, match="no duration"):
        duration_of("soon", "--answer-after")


@pytest.mark.parametrize("number", STOPS)
async def test_a_signal_cancels_the_work_which_may_clean_up(number: signal.Signals) -> None:
    tidied = asyncio.Event()
    started = asyncio.Event()

    async def work() -> None:
        try:
            started.set()
            await asyncio.get_running_loop().create_future()
        finally:
            tidied.set()

    running = asyncio.create_task(stoppable(work()))
    await started.wait()
    os.kill(os.getpid(), number)
    with pytest.raises(asyncio.CancelledError):
        await running
    assert tidied.is_set()
    assert signal.getsignal(number) == signal.SIG_DFL


async def test_work_that_ends_gives_its_result() -> None:
    async def work() -> int:
        return 7

    assert await stoppable(work()) == 7
