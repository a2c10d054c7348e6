import numpy as np
import pytest

from trunkline.engines.realtime.simulator.sound import (
    SpeechDetector,
    babble,
    decode,
    encode,
    resample,
    speak,
    tone,
)


@pytest.mark.parametrize(
    ("encoding", "code", "sample"),
    [
        # ITU-T G.711 tables 1a/2a: the ends and the zero of both laws, scaled to 16 bits.
        ("pcmu", 0xFF, 0),
        ("pcmu", 0x80, 32124),
        ("pcmu", 0x00, -32124),
        ("pcma", 0xD5, 8),
        ("pcma", 0xAA, 32256),
        ("pcma", 0x2A, -32256),
    ],
)
def test_g711_by_the_tables(encoding: str, code: int, sample: int) -> None:
    assert decode(bytes([code]), encoding).tolist() == [sample]
    assert encode(np.array([sample], dtype=np.int16), encoding) == bytes([code])


@pytest.mark.parametrize("encoding", ["pcmu", "pcma"])
def test_every_code_survives_a_round_trip(encoding: str) -> None:
    codes = bytes(range(256))
    samples = decode(codes, encoding)
    assert np.array_equal(decode(encode(samples, encoding), encoding), samples)


@pytest.mark.parametrize("encoding", ["pcmu", "pcma"])
def test_g711_keeps_close_to_the_signal(encoding: str) -> None:
    signal = tone(440, 200, -6, 8000)
    error = decode(encode(signal, encoding), encoding).astype(float) - signal
    assert 10 * np.log10(np.sum(signal.astype(float) ** 2) / np.sum(error**2)) > 35


def test_an_odd_byte_of_pcm_is_left_out() -> None:
    assert decode(b"\x01\x00\x02", "pcm").tolist() == [1]


@pytest.mark.parametrize(("source", "target"), [(16000, 8000), (16000, 24000), (24000, 8000), (8000, 8000)])
def test_resampling_keeps_length_and_pitch(source: int, target: int) -> None:
    changed = resample(tone(500, 400, -6, source), source, target)
    assert len(changed) == target * 400 // 1000
    spectrum = np.abs(np.fft.rfft(changed))
    assert abs(np.argmax(spectrum) * target / len(changed) - 500) < 5


def test_going_down_removes_what_does_not_fit() -> None:
    loud = resample(tone(6000, 400, -6, 16000), 16000, 8000).astype(float)
    assert np.sqrt(np.mean(loud**2)) < 500


def test_babble_is_the_same_for_the_same_words_and_longer_for_more() -> None:
    assert np.array_equal(babble("hello there", 8000), babble("hello there", 8000))
    assert len(babble("hello there, friend", 8000)) > len(babble("hello", 8000)) > 0
    assert len(babble("", 8000)) > 0


def test_a_voice_is_used_when_there_is_one() -> None:
    spoken = speak("hi", 8000, lambda text: (tone(300, 100 * len(text), -6, 16000).tobytes(), 16000))
    assert len(spoken) == 1600


@pytest.mark.parametrize("piece", [80, 160, 333])
def test_the_detector_finds_begin_and_end_in_any_pieces(piece: int) -> None:
    speech, silence = babble("please find my order", 8000), np.zeros(8000, dtype=np.int16)
    signal = np.concatenate((silence, speech, silence))
    detector, changes = SpeechDetector(8000, -36, 500), []
    for at in range(0, len(signal), piece):
        changes += detector.feed(signal[at : at + piece])
    assert [what for what, _ in changes] == ["started", "stopped"]
    begin, end = changes[0][1], changes[1][1]
    assert 1000 < begin <= 1120
    assert abs(end - (1000 + len(speech) / 8 + 500)) < 80


def test_a_click_is_no_speech() -> None:
    detector = SpeechDetector(8000, -36, 500)
    assert detector.feed(np.concatenate((tone(1000, 30, -6, 8000), np.zeros(4000, dtype=np.int16)))) == []
