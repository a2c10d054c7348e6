"""The life of ``trunkline serve``: open the house, take calls, drain on the first signal, end on the second."""

import asyncio
import logging
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from enum import StrEnum

from trunkline.config import Config
from trunkline.model import Clock, seconds
from trunkline.runtime.compose import House, OpenMedia, open_house

log = logging.getLogger(__name__)

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Phase(StrEnum):
    """Where the process stands, for whoever watches it."""

    LISTENING = "listening"
    DRAINING = "draining"
    ENDING = "ending"
    STOPPED = "stopped"


Announce = Callable[[Phase, House], None]


class Signals:
    """SIGTERM and SIGINT, counted: the first drains, the second ends, a third does what the system does."""

    def __init__(self) -> None:
        self.drain = asyncio.Event()
        self.end = asyncio.Event()

    def received(self) -> None:
        """One more."""
        (self.end if self.drain.is_set() else self.drain).set()

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Listen to them on the running loop."""
        loop = asyncio.get_running_loop()

        def handle() -> None:
            self.received()
            if self.end.is_set():
                _remove(loop)

        for number in SIGNALS:
            loop.add_signal_handler(number, handle)
        try:
            yield
        finally:
            _remove(loop)


def _remove(loop: asyncio.AbstractEventLoop) -> None:
    for number in SIGNALS:
        loop.remove_signal_handler(number)


async def serve(
    config: Config,
    *,
    clock: Clock,
    open_media: OpenMedia,
    announce: Announce,
    signals: Signals,
    log_dropped: Callable[[], int] = lambda: 0,
) -> None:
    """Serve until told to stop. Raises ``TrunklineError`` when something cannot be opened."""
    async with open_house(config, clock=clock, open_media=open_media, log_dropped=log_dropped) as house:
        announce(Phase.LISTENING, house)
        await signals.drain.wait()
        announce(Phase.DRAINING, house)
        await _drain(config, house, signals)
        announce(Phase.ENDING, house)
    announce(Phase.STOPPED, house)


async def _drain(config: Config, house: House, signals: Signals) -> None:
    """Let live calls end by themselves, for as long as configured or until a second signal."""
    draining = asyncio.create_task(
        house.board.drain(seconds(config.root.server.limits.drain_s)), name="drain"
    )
    hurry = asyncio.create_task(signals.end.wait(), name="second signal")
    await asyncio.wait((draining, hurry), return_when=asyncio.FIRST_COMPLETED)
    for task in (draining, hurry):
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
