"""Items, flush, masks and recordings."""

import wave
from pathlib import Path

import numpy as np
import pytest

from trunkline.model import LocalError
from trunkline.telephony.media import (
    Flushed,
    Heard,
    MaskEnded,
    MaskMode,
    MaskStarted,
    PlayEnded,
    PlayStarted,
)

from .conftest import Phone, loud_ms, pitch, tone


def connected(phones: tuple[Phone, Phone]) -> tuple[Phone, Phone]:
    here, there = phones
    here.call(there)
    there.call(here)
    there.port.open_tap(rate=8000, batch_ms=20)
    return here, there


async def test_flush_silences_at_once_and_accounts_for_every_item(phones: tuple[Phone, Phone]) -> None:
    here, there = connected(phones)
    here.port.play("a", tone(440, 3000, 16000), 16000)
    here.port.play("b", tone(660, 1000, 16000), 16000)
    await there.heard_for(300, 8000)
    here.port.flush()
    flushed = await here.seen.wait(Flushed)
    first, second = flushed.heard
    assert (first.item, first.total_ms) == ("a", 3000)
    assert second == Heard("b", 0, 1000)
    here.port.play("a", tone(440, 1000, 16000), 16000)
    here.port.play("c", tone(880, 200, 16000), 16000)
    here.port.end_item("c")
    ended = await here.seen.wait(PlayEnded)
    assert ended.heard == Heard("c", 200, 200)
    await there.seen.until(lambda: abs(pitch(there.heard()[-800:], 8000) - 880) < 20, what="the third item")
    audio = there.heard()
    # What the account says is what the other side heard, to the precision of the blocks compared.
    assert abs(loud_ms(audio[:-1600], 8000, 300) - first.heard_ms) <= 160


async def test_flush_of_nothing_is_answered(phones: tuple[Phone, Phone]) -> None:
    here, _ = connected(phones)
    here.port.flush()
    assert (await here.seen.wait(Flushed)).heard == ()


async def test_flush_before_the_call_is_answered(phones: tuple[Phone, Phone]) -> None:
    here, _ = phones
    here.port.play("early", tone(440, 100, 8000), 8000)
    here.port.flush()
    assert (await here.seen.wait(Flushed)).heard == (Heard("early", 0, 100),)


async def test_items_end_in_order(phones: tuple[Phone, Phone]) -> None:
    here, _ = connected(phones)
    here.port.play("a", tone(440, 60, 8000), 8000)
    here.port.play("b", tone(440, 60, 8000), 8000)
    here.port.end_item("b")
    here.port.end_item("empty")
    await here.seen.wait(PlayEnded, count=3)
    told: list[tuple[str, str]] = []
    for event in here.seen:
        match event:
            case PlayStarted(item=item):
                told.append(("started", item))
            case PlayEnded(heard=heard):
                told.append(("ended", heard.item))
    assert told == [("started", "a"), ("ended", "a"), ("started", "b"), ("ended", "b"), ("ended", "empty")]


async def test_the_oldest_audio_gives_way_after_two_minutes(phones: tuple[Phone, Phone]) -> None:
    here, _ = phones
    second = tone(440, 1000, 8000)
    for index in range(125):
        here.port.play(f"item-{index}", second, 8000)
    here.call(phones[1])
    started = await here.seen.wait(PlayStarted)
    assert started.item == "item-5"
    await here.seen.until(lambda: here.port.stats().playout_dropped_ms == 5000, what="the count")


async def test_a_mask_in_turn_holds_the_engine_back(phones: tuple[Phone, Phone]) -> None:
    here, there = connected(phones)
    here.port.mask("wait", tone(880, 300, 16000), 16000, mode=MaskMode.TURN)
    here.port.play("a", tone(440, 200, 16000), 16000)
    here.port.end_item("a")
    await here.seen.wait(PlayEnded)
    order = [
        type(event) for event in here.seen if type(event) in {MaskStarted, MaskEnded, PlayStarted, PlayEnded}
    ]
    assert order == [MaskStarted, MaskEnded, PlayStarted, PlayEnded]
    assert here.seen.of(MaskEnded)[0].played_ms == 300
    audio = await there.heard_for(450, 8000)
    loud = np.flatnonzero(np.abs(audio) > 500)
    assert abs(pitch(audio[loud[0] : loud[0] + 2000], 8000) - 880) < 15
    assert abs(pitch(audio[loud[-1] - 1200 : loud[-1]], 8000) - 440) < 15


async def test_a_looped_mask_plays_until_it_is_taken_away(phones: tuple[Phone, Phone]) -> None:
    here, there = connected(phones)
    here.port.mask("typing", tone(500, 50, 8000), 8000, mode=MaskMode.MIX, loop=True)
    await there.heard_for(300, 8000)
    here.port.unmask()
    ended = await here.seen.wait(MaskEnded)
    assert ended.played_ms >= 300
    here.port.unmask()


async def test_a_mixed_mask_is_ducked_under_speech(phones: tuple[Phone, Phone]) -> None:
    here, there = connected(phones)
    here.port.mask("bed", tone(1000, 2000, 8000), 8000, mode=MaskMode.MIX, loop=True)
    alone = await there.heard_for(300, 8000)
    here.port.play("a", tone(400, 400, 8000), 8000)
    here.port.end_item("a")
    await here.seen.wait(PlayEnded)
    await there.seen.until(
        lambda: abs(pitch(there.heard()[-1600:], 8000) - 400) < 10, what="speech over the bed"
    )
    both = there.heard()[-1600:]
    level = np.abs(np.fft.rfft(both * np.hanning(1600)))
    quiet = np.abs(np.fft.rfft(alone[-1600:] * np.hanning(1600)))
    bed, before = level[200], quiet[200]
    assert 0.15 < bed / before < 0.4


async def test_a_new_mask_replaces_the_old_and_flush_ends_it(phones: tuple[Phone, Phone]) -> None:
    here, there = connected(phones)
    here.port.mask("one", tone(500, 100, 8000), 8000, mode=MaskMode.TURN, loop=True)
    await there.heard_for(50, 8000)
    here.port.mask("two", tone(700, 100, 8000), 8000, mode=MaskMode.TURN, loop=True)
    await here.seen.wait(MaskStarted, lambda event: event.name == "two")
    assert [event.name for event in here.seen.of(MaskEnded)] == ["one"]
    here.port.play("waits", tone(440, 100, 8000), 8000)
    here.port.flush()
    flushed = await here.seen.wait(Flushed)
    assert flushed.heard == (Heard("waits", 0, 100),)
    await here.seen.wait(MaskEnded, lambda event: event.name == "two")


def read(path: Path) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    with wave.open(str(path)) as recording:
        assert (recording.getnchannels(), recording.getframerate(), recording.getsampwidth()) == (2, 8000, 2)
        data = recording.readframes(recording.getnframes())
    return np.frombuffer(data, dtype="<i2").astype(np.float64).reshape(-1, 2)


async def test_a_recording_holds_both_sides_in_step(phones: tuple[Phone, Phone], tmp_path: Path) -> None:
    here, there = connected(phones)
    here.port.open_tap(rate=8000, batch_ms=20)
    path = tmp_path / "call.wav"
    here.port.record(path)
    here.port.play("ours", tone(440, 400, 16000), 16000)
    await there.heard_for(380, 8000)
    there.port.play("theirs", tone(1200, 300, 16000), 16000)
    await here.heard_for(280, 8000)
    sent = here.port.stats().rtp_sent
    closed = await here.port.close()
    audio = read(path)
    caller, ours = audio[:, 0], audio[:, 1]
    assert abs(pitch(ours, 8000) - 440) < 5
    assert abs(pitch(caller, 8000) - 1200) < 5
    assert 380 <= loud_ms(ours, 8000) <= 420
    assert 270 <= loud_ms(caller, 8000) <= 400
    # One file frame for every packet sent: the channels are the call's own timeline.
    assert abs(len(audio) / 160 - closed.stats.rtp_sent) <= 5
    assert sent <= closed.stats.rtp_sent
    assert np.flatnonzero(np.abs(ours) > 500)[0] < np.flatnonzero(np.abs(caller) > 500)[0]


async def test_a_recording_is_readable_before_it_is_sealed(
    phones: tuple[Phone, Phone], tmp_path: Path
) -> None:
    here, _ = connected(phones)
    path = tmp_path / "call.wav"
    here.port.record(path)
    assert len(read(path)) == 0
    here.port.open_tap(rate=8000, batch_ms=100)
    # The header follows every two seconds.
    await here.seen.until(lambda: len(read(path)) >= 16000, what="the first header update")


async def test_a_recording_that_cannot_be_made_is_refused(
    phones: tuple[Phone, Phone], tmp_path: Path
) -> None:
    with pytest.raises(LocalError, match="cannot record to"):
        phones[0].port.record(tmp_path / "missing" / "call.wav")
