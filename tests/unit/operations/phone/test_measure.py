"""What a recording contains, by measurement."""

import numpy as np
import pytest
from numpy.typing import NDArray

from trunkline.operations.phone.measure import (
    SILENT_DBFS,
    Segment,
    find_utterance,
    level_dbfs,
    silent_after,
    speech_seconds,
    speech_segments,
)

RATE = 8000
Samples = NDArray[np.int16]


def silence(seconds: float) -> Samples:
    return np.zeros(int(seconds * RATE), dtype=np.int16)


def voice(seconds: float, seed: int = 1, level: float = 4000) -> Samples:
    """Speech-like: noise in changing bands, with syllables four times a second."""
    random = np.random.default_rng(seed)
    count = int(seconds * RATE)
    time = np.arange(count) / RATE
    sound = np.zeros(count)
    for _ in range(6):
        pitch, beat, phase = random.uniform(200, 3000), random.uniform(1, 5), random.uniform(0, 6)
        sound += np.sin(2 * np.pi * pitch * time) * (0.55 + 0.45 * np.sin(2 * np.pi * beat * time + phase))
    return (sound / 6 * level).astype(np.int16)


def test_level_of_full_scale_and_of_nothing() -> None:
    assert level_dbfs(np.full(800, 32767, np.int16)) == pytest.approx(0, abs=0.01)
    assert level_dbfs(np.full(800, 3277, np.int16)) == pytest.approx(-20, abs=0.01)
    assert level_dbfs(silence(1)) == SILENT_DBFS
    assert level_dbfs(silence(0)) == SILENT_DBFS


def test_speech_is_found_where_it_is_and_short_pauses_are_bridged() -> None:
    recording = np.concatenate(
        [silence(0.5), voice(1), silence(0.2), voice(0.5, 2), silence(1), voice(0.4, 3)]
    )
    assert [(s.start, s.end) for s in speech_segments(recording, RATE)] == [
        (pytest.approx(0.5, abs=0.03), pytest.approx(2.2, abs=0.03)),
        (pytest.approx(3.2, abs=0.03), pytest.approx(3.6, abs=0.03)),
    ]


def test_clicks_and_line_noise_are_no_speech() -> None:
    noise = np.random.default_rng(3).normal(0, 60, RATE * 2).astype(np.int16)
    assert speech_segments(noise, RATE) == ()
    click = np.concatenate([silence(1), voice(0.03), silence(1)])
    assert speech_segments(click, RATE) == ()
    assert speech_segments(silence(0), RATE) == ()


def test_speech_stands_out_of_a_noisy_line() -> None:
    noise = np.random.default_rng(3).normal(0, 250, RATE * 3)
    noise[RATE : 2 * RATE] += voice(1, level=16000)
    (found,) = speech_segments(noise.astype(np.int16), RATE)
    assert found.start == pytest.approx(1, abs=0.05)
    assert found.end == pytest.approx(2, abs=0.05)


def test_seconds_of_speech_are_clipped_to_the_window() -> None:
    segments = (Segment(1, 2), Segment(3, 5))
    assert speech_seconds(segments) == 3
    assert speech_seconds(segments, 1.5, 4) == 1.5
    assert speech_seconds(segments, 5, 9) == 0


def test_silence_after_a_moment_is_measured_from_it() -> None:
    recording = np.concatenate([voice(2), silence(1), voice(1, 2)])
    assert silent_after(recording, RATE, 1.5, for_s=0.5) == pytest.approx(0.5, abs=0.02)
    assert silent_after(recording, RATE, 2.2, for_s=0.5) == 0
    assert silent_after(recording, RATE, 0.5, for_s=1.5) is None


def test_a_recording_that_ends_silent_is_silent_for_good() -> None:
    assert silent_after(np.concatenate([voice(1), silence(0.1)]), RATE, 0, for_s=3) == pytest.approx(
        1, abs=0.02
    )
    assert silent_after(voice(1), RATE, 5, for_s=1) == 0


@pytest.mark.parametrize("at", [0.0, 1.23, 4.0])
def test_an_utterance_is_found_at_its_place_though_louder_and_noisier(at: float) -> None:
    said = voice(1.5, seed=9)
    hay = np.random.default_rng(5).normal(0, 30, int(6 * RATE))
    hay[int(at * RATE) : int(at * RATE) + len(said)] += said * 1.7
    match = find_utterance(hay.astype(np.int16), said, RATE)
    assert match.score > 0.85
    assert match.at == pytest.approx(at, abs=0.02)


def test_other_speech_is_not_taken_for_the_utterance() -> None:
    hay = np.concatenate([silence(1), voice(2, seed=11), silence(1), voice(2, seed=12), silence(1)])
    assert find_utterance(hay, voice(1.5, seed=9), RATE).score < 0.7


def test_nothing_is_found_in_less_than_was_said() -> None:
    assert find_utterance(voice(0.5), voice(1), RATE).score == 0
    assert find_utterance(voice(1), silence(0.5), RATE).score == 0
    assert find_utterance(voice(1), silence(0), RATE).score == 0
