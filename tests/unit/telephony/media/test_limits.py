"""Bounds, the engine's end, and a thousand calls in every phase."""

import asyncio
import gc
import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from websockets.asyncio.server import ServerConnection, serve

from trunkline.model import LocalError, LocalProtocolError, Overloaded
from trunkline.telephony.media import (
    EngineOpened,
    EngineText,
    FirstPacket,
    MediaClosed,
    MediaConfig,
    MediaEngine,
    SocketSpec,
    WireProfile,
)
from trunkline.telephony.media.engine import MAX_EARLY_EVENTS
from trunkline.testing import Collector

from .conftest import Phone, tone


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def threads() -> int:
    return len(list(Path("/proc/self/task").iterdir()))


async def test_ports_run_out_and_come_back() -> None:
    async with MediaEngine(MediaConfig(port_low=14000, port_high=14003, quarantine_ms=0)) as engine:
        first, second = await engine.open("a"), await engine.open("b")
        assert engine.totals().free_ports == 0
        with pytest.raises(Overloaded, match="no free RTP port pair in 14000-14003"):
            await engine.open("c")
        await first.close()
        third = await engine.open("c")
        assert third.local_port == first.local_port
        with (
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken,
            pytest.raises(OSError, match="in use"),
        ):
            taken.bind(("127.0.0.1", second.local_port))
        await second.close()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
            free.bind(("127.0.0.1", second.local_port))


async def test_freed_ports_rest() -> None:
    async with MediaEngine(MediaConfig(port_low=14010, port_high=14011, quarantine_ms=60_000)) as engine:
        await (await engine.open("a")).close()
        with pytest.raises(Overloaded):
            await engine.open("b")


async def test_a_configuration_that_makes_no_sense_is_one_sentence() -> None:
    for config in (
        MediaConfig(threads=0),
        MediaConfig(port_low=30000, port_high=30000),
        MediaConfig(host="localhost"),
        MediaConfig(port_high=70000),
    ):
        with pytest.raises(LocalError, match="the media engine cannot start: "):
            await MediaEngine(config).start()


async def test_an_address_that_is_not_ours_is_one_sentence() -> None:
    async with MediaEngine(MediaConfig(host="192.0.2.1", port_low=14020, port_high=14021)) as engine:
        with pytest.raises(LocalError, match=r"cannot bind RTP sockets to 192\.0\.2\.1"):
            await engine.open("a")


async def test_an_engine_that_does_not_run_says_so() -> None:
    engine = MediaEngine(MediaConfig(port_low=14030, port_high=14031))
    with pytest.raises(LocalProtocolError):
        await engine.open("a")
    with pytest.raises(LocalProtocolError):
        engine.totals()
    await engine.close()
    await engine.start()
    with pytest.raises(LocalProtocolError):
        await engine.start()
    await engine.close()
    await engine.close()


async def test_closing_the_engine_closes_its_ports() -> None:
    engine = MediaEngine(MediaConfig(port_low=14040, port_high=14049))
    await engine.start()
    port = await engine.open("a")
    seen: Collector[object] = Collector()
    port.listen(seen)
    await engine.close()
    assert seen.kinds() == ["MediaClosed"]
    again = await port.close()
    assert isinstance(again, MediaClosed)
    port.play("late", tone(440, 20, 8000), 8000)


async def test_events_before_anybody_listens_are_kept_and_bounded() -> None:
    async def talk(connection: ServerConnection) -> None:
        for number in range(MAX_EARLY_EVENTS + 10):
            await connection.send(str(number))
        await connection.close()

    async with (
        serve(talk, "127.0.0.1", 0, compression=None) as server,
        MediaEngine(MediaConfig(port_low=14050, port_high=14053)) as engine,
    ):
        phone = Phone(await engine.open("a"))
        address = "{}:{}".format(*server.sockets[0].getsockname()[:2])
        phone.port.open_socket(SocketSpec(f"ws://{address}/", WireProfile.BINARY))
        # The handshake's and the last event make twelve too many.
        await asyncio.wait_for(_until(lambda: engine.totals().dropped_events == 12), 20)
        phone.port.listen(phone.seen)
        assert len(phone.seen) == MAX_EARLY_EVENTS
        assert phone.seen.of(EngineText)[0].text == "11"
        assert phone.seen.kinds()[-1] == "EngineClosed"


async def _until(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.to_thread(os.sched_yield)


async def test_a_sink_that_raises_disturbs_nobody(caplog: pytest.LogCaptureFixture) -> None:
    def broken(event: object) -> None:
        raise RuntimeError(f"cannot take {type(event).__name__}")

    async with MediaEngine(MediaConfig(port_low=14060, port_high=14063)) as engine:
        one, two = Phone(await engine.open("one")), Phone(await engine.open("two"))
        one.call(two)
        two.call(one)
        one.port.listen(broken)
        two.port.listen(two.seen)
        await two.seen.wait(FirstPacket)
        await one.port.close()
        assert engine.totals().dropped_events >= 1
    assert "one: handling MediaClosed failed" in caplog.text


async def _open_and_kill(engine: MediaEngine, phase: int, address: str, folder: Path) -> None:
    """One call, killed in one of its phases."""
    here, there = Phone(await engine.open("here")), Phone(await engine.open("there"))
    here.port.listen(here.seen)
    there.port.listen(there.seen)
    if phase >= 1:
        here.call(there)
        there.call(here)
        here.port.play("a", tone(440, 200, 16000), 16000)
    if phase >= 2:
        here.port.open_socket(SocketSpec(f"ws://{address}/", WireProfile.BINARY))
        here.port.open_tap(rate=16000, batch_ms=20)
        here.port.record(folder / f"{here.port.local_port}.wav")
    if phase == 3:
        await here.seen.wait(EngineOpened)
        here.port.flush()
    await asyncio.gather(here.port.close(), there.port.close())
    assert here.seen.kinds()[-1] == "MediaClosed"


@pytest.mark.timeout(110)
async def test_a_thousand_calls_in_every_phase_leave_nothing_behind(tmp_path: Path) -> None:
    async def engine_side(connection: ServerConnection) -> None:
        async for _ in connection:
            pass

    config = MediaConfig(port_low=15000, port_high=16999, quarantine_ms=0)
    async with serve(engine_side, "127.0.0.1", 0, compression=None) as server, MediaEngine(config) as engine:
        address = "{}:{}".format(*server.sockets[0].getsockname()[:2])
        await _open_and_kill(engine, 3, address, tmp_path)
        gc.collect()
        before = descriptors(), threads(), engine.totals().free_ports
        for start in range(0, 1000, 50):
            await asyncio.gather(
                *(_open_and_kill(engine, (start + index) % 4, address, tmp_path) for index in range(50))
            )
        await asyncio.wait_for(_until(lambda: not server.connections), 20)
        gc.collect()
        assert (descriptors(), threads(), engine.totals().free_ports) == before
        totals = engine.totals()
        assert (totals.calls, totals.opened, totals.panics) == (0, 2002, 0)
