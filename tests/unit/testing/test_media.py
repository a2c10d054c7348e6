from pathlib import Path

import pytest

from trunkline.model import MS, Nanos, Overloaded
from trunkline.telephony.media.port import (
    EngineClosed,
    EngineOpened,
    EngineText,
    Flushed,
    Heard,
    MaskMode,
    MediaClosed,
    MediaEvent,
    PlayEnded,
    PlayStarted,
    SocketSpec,
    Tap,
    WireProfile,
)
from trunkline.testing import Collector, FakeMediaFactory, VirtualClock, settle
from trunkline.testing.clock import START

PCM_1S = bytes(2 * 16_000)
SPEC = SocketSpec(url="ws://127.0.0.1:1", profile=WireProfile.JSON)


async def test_playout_follows_the_clock(fake_media: FakeMediaFactory, virtual_clock: VirtualClock) -> None:
    port, seen = await fake_media.open("one"), Collector[MediaEvent]()
    port.listen(seen)
    port.play("hello", PCM_1S, 16_000)
    port.end_item("hello")
    ended = await seen.wait(PlayEnded)
    assert ended == PlayEnded(at=Nanos(START + 1_000 * MS), heard=Heard("hello", 1_000, 1_000))
    assert seen.kinds() == ["PlayStarted", "PlayEnded"]
    await port.close()


async def test_a_flush_stops_the_line(fake_media: FakeMediaFactory, virtual_clock: VirtualClock) -> None:
    virtual_clock.autojump = False
    port, seen = await fake_media.open("one"), Collector[MediaEvent]()
    port.listen(seen)
    port.play("hello", PCM_1S, 16_000)
    await virtual_clock.advance(300 * MS)
    port.flush(fade_ms=10)
    await virtual_clock.advance(50 * MS)
    assert seen.of(Flushed) == [Flushed(at=Nanos(START + 310 * MS), heard=(Heard("hello", 310, 1_000),))]
    await virtual_clock.advance(5_000 * MS)
    assert port.playout.heard_log() == [("hello", 310)]
    await port.close()


async def test_events_before_listen_are_delivered_then(fake_media: FakeMediaFactory) -> None:
    port, seen = await fake_media.open("one"), Collector[MediaEvent]()
    port.first_packet()
    port.caller_presses("12")
    await settle()
    port.listen(seen)
    assert seen.kinds() == ["FirstPacket", "Digit", "Digit"]
    await port.close()


async def test_events_never_arrive_inside_a_command(fake_media: FakeMediaFactory) -> None:
    port, seen = await fake_media.open("one"), Collector[MediaEvent]()
    port.listen(seen)
    port.flush(fade_ms=0)
    assert len(seen) == 0
    await seen.wait(Flushed)
    await port.close()


async def test_the_engine_side(fake_media: FakeMediaFactory, virtual_clock: VirtualClock) -> None:
    port, seen = await fake_media.open("one"), Collector[MediaEvent]()
    port.listen(seen)
    port.send_text("too early")
    port.open_socket(SPEC)
    port.engine_opens()
    port.send_text("hello")
    port.engine_says("{}")
    port.engine_audio("item", 20)
    port.close_engine()
    await seen.wait(EngineClosed)
    assert port.sent == ["hello"]
    assert seen.kinds() == ["EngineOpened", "EngineText", "PlayStarted", "EngineClosed"]
    assert seen.of(EngineClosed)[0].by_us
    assert seen.of(EngineOpened)
    assert seen.of(EngineText)[0].text == "{}"
    assert seen.of(PlayStarted)
    await port.close()


async def test_closing_frees_the_port_and_ends_everything(virtual_clock: VirtualClock) -> None:
    factory = FakeMediaFactory(virtual_clock, limit=1)
    port, seen = await factory.open("one"), Collector[MediaEvent]()
    port.listen(seen)
    with pytest.raises(Overloaded, match="in use"):
        await factory.open("two")
    port.open_socket(SPEC)
    port.mask("wait", PCM_1S, 16_000, mode=MaskMode.TURN, loop=True)
    port.record(Path("call.wav"))
    closed = await port.close()
    assert await port.close() == closed
    assert not factory.open_ports
    count = len(seen)
    assert isinstance(seen.events[-1], MediaClosed)
    port.play("late", PCM_1S, 16_000)
    port.engine_closes()
    await settle()
    assert len(seen) == count
    again = await factory.open("three")
    assert again.local_port == port.local_port
    await again.close()
    assert virtual_clock.sleepers() == 0


async def test_taps_need_to_be_opened(fake_media: FakeMediaFactory) -> None:
    port, seen = await fake_media.open("one"), Collector[MediaEvent]()
    port.listen(seen)
    with pytest.raises(AssertionError, match="tap"):
        port.caller_audio(bytes(320))
    port.open_tap(rate=16_000, batch_ms=40)
    port.caller_audio(bytes(320))
    assert (await seen.wait(Tap)).rate == 16_000
    await port.close()


async def test_commands_are_in_the_journal_in_order(fake_media: FakeMediaFactory) -> None:
    port = await fake_media.open("one")
    port.flush()
    port.drop_item("a")
    port.send_dtmf("12#")
    assert port.journal.steps("media") == ["media.flush", "media.drop_item", "media.send_dtmf"]
    assert port.journal.index("media.drop_item") == 1
    assert port.digits_sent == ["12#"]
    await port.close()
