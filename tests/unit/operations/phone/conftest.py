"""A media port in plain Python, with real sockets and real pacing, for phones without the native core."""

import asyncio
import struct
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from trunkline.model import MS, Clock, Nanos
from trunkline.operations.phone.witness import bind_pair
from trunkline.runtime.clock import RealClock
from trunkline.telephony.media.port import (
    Heard,
    MediaClosed,
    MediaEvent,
    MediaStats,
    PlayEnded,
    RtpParameters,
)

QUIET = bytes([0xFF] * 160)
LOUD = bytes([0x90, 0x10] * 80)


class SoftPort:
    """Sends 20 ms PCMU packets from ``connect`` on: loud where an item plays, quiet elsewhere."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._rtp, self._rtcp = bind_pair("127.0.0.1")
        self._remote: tuple[str, int] | None = None
        self._task: asyncio.Task[None] | None = None
        self._sink: Callable[[MediaEvent], None] = lambda _event: None
        self._queue: list[tuple[str, int]] = []
        self.digits = ""
        self.received = 0

    @property
    def local_host(self) -> str:
        return "127.0.0.1"

    @property
    def local_port(self) -> int:
        return int(self._rtp.getsockname()[1])

    def listen(self, sink: Callable[[MediaEvent], None]) -> None:
        self._sink = sink

    def connect(self, parameters: RtpParameters) -> None:
        self._remote = (parameters.remote_host, parameters.remote_port)
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._pace())

    async def _pace(self) -> None:
        began = self._clock.now()
        index = 0
        while True:
            self._drain()
            payload = QUIET
            if self._queue:
                item, left = self._queue[0]
                payload = LOUD
                self._queue[0] = (item, left - 1)
                if left <= 1:
                    self._queue.pop(0)
                    self._sink(PlayEnded(self._clock.now(), Heard(item, 0, 0)))
            header = struct.pack("!BBHII", 0x80, 0, index & 0xFFFF, index * 160, 99)
            assert self._remote is not None
            self._rtp.sendto(header + payload, self._remote)
            index += 1
            await self._clock.sleep_until(Nanos(began + index * 20 * MS))

    def _drain(self) -> None:
        try:
            while self._rtp.recv(2048):
                self.received += 1
        except (BlockingIOError, ConnectionRefusedError):
            return

    def play(self, item: str, pcm: bytes, rate: int) -> None:
        self._queue.append((item, len(pcm) // 2 * 50 // rate))

    def end_item(self, item: str) -> None:
        pass

    def send_dtmf(self, digits: str, **_: Any) -> None:
        self.digits += digits

    def stats(self) -> MediaStats:
        return MediaStats(rtp_received=self.received)

    async def close(self) -> MediaClosed:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        self._rtp.close()
        self._rtcp.close()
        return MediaClosed(self._clock.now(), Nanos(0), self.stats())


class SoftMedia:
    """Opens ``SoftPort``s."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.opened: list[SoftPort] = []

    async def open(self, name: str) -> Any:
        self.opened.append(SoftPort(self._clock))
        return self.opened[-1]


@pytest.fixture
def real_clock() -> RealClock:
    return RealClock()


@pytest.fixture
async def soft_media(real_clock: RealClock) -> AsyncIterator[SoftMedia]:
    media = SoftMedia(real_clock)
    yield media
    for port in media.opened:
        await port.close()
