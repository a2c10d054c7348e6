"""What the commands ``call`` and ``phone`` share: a media engine of their own, voices, events."""

import asyncio
import signal
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any, Final, TypeVar

import typer

from trunkline.engines.local.voice import RATE, VOICES, Voices
from trunkline.operations.phone.follow import Clip
from trunkline.operations.phone.script import milliseconds
from trunkline.telephony.media import MediaConfig, MediaEngine
from trunkline.telephony.media.port import Codec, MediaFactory

T = TypeVar("T")

STOPS: Final = (signal.SIGTERM, signal.SIGHUP)

CORE_PORTS: Final = (40000, 48999)
"""Between the core and its witness, inside this process; never in an SDP."""


@asynccontextmanager
async def media_core() -> AsyncIterator[MediaFactory]:
    """The media engine of a phone, on loopback behind its witness. Raises ``Missing`` when it is not built."""
    low, high = CORE_PORTS
    async with MediaEngine(MediaConfig(host="127.0.0.1", port_low=low, port_high=high)) as engine:
        yield engine


@asynccontextmanager
async def speaking(default: str) -> AsyncIterator["Speaker"]:
    """A local voice for the time of a command."""
    voices = Voices(threads=1)
    try:
        yield Speaker(voices, default)
    finally:
        voices.close()


class Speaker:
    """Speaks a text with a voice: the ``Voice`` of ``operations.phone.follow``."""

    def __init__(self, voices: Voices, default: str) -> None:
        self._voices = voices
        self._default = default

    async def __call__(self, text: str, voice: str) -> Clip:
        """PCM and rate. Raises ``LocalError`` for a voice that does not exist."""
        return await self._voices.render(text, voice or self._default), RATE


async def stoppable(work: Coroutine[Any, Any, T]) -> T:
    """Run it so that a closed terminal or SIGTERM ends it as Ctrl-C does: calls are hung up, and nothing that was
    started stays. Raises ``CancelledError`` then."""
    running = asyncio.get_running_loop()
    task = running.create_task(work)
    for number in STOPS:
        running.add_signal_handler(number, task.cancel)
    try:
        return await task
    finally:
        for number in STOPS:
            running.remove_signal_handler(number)


def codecs_of(names: list[str]) -> tuple[Codec, ...]:
    """The codecs named on the command line."""
    try:
        return tuple(Codec(name.upper()) for name in names) or (Codec.PCMU, Codec.PCMA)
    except ValueError as unknown:
        known = ", ".join(codec.value for codec in Codec)
        raise typer.BadParameter(f"use one of {known}", param_hint="--codec") from unknown


def voice_of(name: str) -> str:
    """A voice named on the command line."""
    if name not in VOICES:
        raise typer.BadParameter(f"use one of {', '.join(VOICES)}", param_hint="--voice")
    return name


def duration_of(text: str, option: str) -> int:
    """Milliseconds of a duration named on the command line."""
    try:
        return milliseconds(text)
    except ValueError as bad:
        raise typer.BadParameter(str(bad), param_hint=option) from bad
