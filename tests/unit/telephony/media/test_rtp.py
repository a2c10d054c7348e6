"""Audio and digits between two engines."""

import asyncio
import socket

import numpy as np
import pytest

from trunkline.telephony.media import (
    CallerSpeech,
    Codec,
    Digit,
    FirstPacket,
    MediaConfig,
    MediaDirection,
    MediaEngine,
    MediaFactory,
    MediaPort,
    PlayEnded,
    PlayStarted,
    RtpSilence,
)

from .conftest import Phone, loud_ms, pitch, tone


@pytest.mark.parametrize("codec", [Codec.PCMU, Codec.PCMA])
async def test_what_is_played_here_is_heard_there(phones: tuple[Phone, Phone], codec: Codec) -> None:
    here, there = phones
    here.call(there, codec)
    there.call(here, codec)
    there.port.open_tap(rate=16000, batch_ms=40)
    here.port.play("a", tone(440, 600, 24000), 24000)
    here.port.end_item("a")
    ended = await here.seen.wait(PlayEnded)
    assert (ended.heard.item, ended.heard.heard_ms, ended.heard.total_ms) == ("a", 600, 600)
    audio = await there.heard_for(560, 16000)
    loud = audio[np.abs(audio) > 100]
    # Concealment may stretch it when the machine stalls.
    assert loud_ms(audio, 16000) <= 760
    assert abs(pitch(audio, 16000) - 440) < 5
    assert 7000 < np.abs(loud).max() < 9000
    first = await there.seen.wait(FirstPacket)
    assert first.source == f"127.0.0.1:{here.port.local_port}"
    speech = await there.seen.wait(CallerSpeech, lambda event: event.started)
    assert 0 < speech.lag_ms <= 100
    started = here.seen.of(PlayStarted)[0]
    assert started.at < ended.at
    await there.seen.wait(CallerSpeech, lambda event: not event.started)


async def test_wideband_linear_audio(phones: tuple[Phone, Phone]) -> None:
    here, there = phones
    here.call(there, Codec.L16, clock_rate=16000)
    there.call(here, Codec.L16, clock_rate=16000)
    there.port.open_tap(rate=16000, batch_ms=20)
    here.port.play("a", tone(5000, 300, 16000), 16000)
    audio = await there.heard_for(280, 16000)
    assert abs(pitch(audio, 16000) - 5000) < 10


@pytest.mark.parametrize("ptime", [10, 30, 60])
async def test_other_packet_times(phones: tuple[Phone, Phone], ptime: int) -> None:
    here, there = phones
    here.call(there, ptime_ms=ptime)
    there.call(here)
    there.port.open_tap(rate=8000, batch_ms=20)
    here.port.play("a", tone(440, 400, 8000), 8000)
    audio = await there.heard_for(370, 8000)
    assert abs(pitch(audio, 8000) - 440) < 10


async def test_digits_both_ways_and_never_as_audio(phones: tuple[Phone, Phone]) -> None:
    here, there = phones
    here.call(there)
    there.call(here)
    there.port.open_tap(rate=8000, batch_ms=20)
    here.port.send_dtmf("19#")
    there.port.send_dtmf("*D", duration_ms=60, gap_ms=40)
    await there.seen.wait(Digit, count=3)
    await here.seen.wait(Digit, count=2)
    assert [(event.digit, event.duration_ms) for event in there.seen.of(Digit)] == [
        ("1", 100),
        ("9", 100),
        ("#", 100),
    ]
    assert [(event.digit, event.duration_ms) for event in here.seen.of(Digit)] == [("*", 60), ("D", 60)]
    assert not there.heard().any()


async def test_bad_digits_are_refused(phones: tuple[Phone, Phone]) -> None:
    with pytest.raises(ValueError, match="'x' is not a DTMF digit"):
        phones[0].port.send_dtmf("1x")


async def test_a_stranger_is_not_heard(phones: tuple[Phone, Phone]) -> None:
    here, there = phones
    here.call(there)
    there.call(here)
    there.port.open_tap(rate=8000, batch_ms=20)
    await there.seen.wait(FirstPacket)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        stranger.bind(("127.0.0.1", 0))
        noise = bytes([0x80, 0x80])
        for number in range(100):
            packet = (
                noise[:1]
                + bytes([0])
                + number.to_bytes(2)
                + (number * 160).to_bytes(4)
                + b"evil"
                + bytes(160)
            )
            stranger.sendto(packet, ("127.0.0.1", there.port.local_port))
        stranger.sendto(b"\x00" * 3, ("127.0.0.1", there.port.local_port))
    await there.seen.until(lambda: there.port.stats().rtp_rejected >= 101, what="rejected packets")
    assert not there.heard().any()
    assert there.port.stats().rtp_received > 0


async def test_hold_stops_the_stream_and_resume_continues_it(phones: tuple[Phone, Phone]) -> None:
    here, there = phones
    here.call(there)
    there.call(here)
    there.port.open_tap(rate=8000, batch_ms=20)
    here.port.play("a", tone(440, 2000, 8000), 8000)
    await there.heard_for(200, 8000)
    here.call(there, direction=MediaDirection.INACTIVE)
    before = len(there.seen)
    await there.seen.until(lambda: len(there.seen) >= before + 20, what="taps during hold")
    held = here.port.stats().rtp_sent
    await there.seen.until(lambda: len(there.seen) >= before + 30, what="taps during hold")
    assert here.port.stats().rtp_sent == held
    assert not here.seen.of(PlayEnded)
    here.call(there)
    here.port.end_item("a")
    ended = await here.seen.wait(PlayEnded)
    assert ended.heard.heard_ms == 2000
    await there.heard_for(1900, 8000)
    assert there.port.stats().rtp_lost == 0


async def test_silence_of_the_peer_is_reported_once() -> None:
    config = MediaConfig(port_low=12000, port_high=12999, rtp_silence_ms=200)
    async with MediaEngine(config) as engine:
        phone, other = Phone(await engine.open("a")), Phone(await engine.open("b"))
        phone.port.listen(phone.seen)
        phone.call(other)
        silence = await phone.seen.wait(RtpSilence)
        assert 200 <= silence.quiet_ms < 1000
        phone.port.open_tap(rate=8000, batch_ms=100)
        before = len(phone.seen)
        await phone.seen.until(lambda: len(phone.seen) >= before + 4, what="400 ms of taps")
        assert len(phone.seen.of(RtpSilence)) == 1


async def test_counters_tell_what_happened(phones: tuple[Phone, Phone]) -> None:
    here, there = phones
    here.call(there)
    there.call(here)
    there.port.open_tap(rate=8000, batch_ms=100)
    await there.seen.until(lambda: len(there.seen) > 6, what="600 ms")
    stats = there.port.stats()
    assert stats.rtp_received >= 20
    assert stats.rtp_sent >= 20
    assert stats.rtp_lost == stats.rtp_rejected == 0
    assert 0 < stats.buffer_ms < 200


async def test_the_contract_is_kept(phones: tuple[Phone, Phone]) -> None:
    port: MediaPort = phones[0].port
    assert port.local_host == "127.0.0.1"
    assert port.local_port % 2 == 0
    with pytest.raises(ValueError, match="not an IP address"):
        phones[0].call(phones[1], remote_host="example.com")
    with pytest.raises(ValueError, match="sample rate 11025"):
        port.play("a", b"ab", 11025)


async def test_the_engine_is_a_factory() -> None:
    async with MediaEngine(
        MediaConfig(port_low=12000, port_high=12999, advertised_host="192.0.2.1")
    ) as engine:
        factory: MediaFactory = engine
        port = await factory.open("a")
        assert port.local_host == "192.0.2.1"
        await asyncio.gather(port.close(), port.close())
