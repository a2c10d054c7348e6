"""Rate doubling and halving with kept state."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trunkline.engines.local.audio import Doubler, Halver, Samples, to_pcm, to_samples

pieces = st.lists(st.integers(0, 300), min_size=1, max_size=20)


def tone(hertz: float, rate: int, size: int) -> Samples:
    return (8000 * np.sin(2 * np.pi * hertz * np.arange(size) / rate)).astype(np.float32)


@settings(max_examples=30, deadline=None)
@given(pieces)
def test_doubling_and_halving_do_not_depend_on_pieces(sizes: list[int]) -> None:
    samples = np.random.default_rng(1).standard_normal(sum(sizes)).astype(np.float32) * 1000
    for kind in (Doubler, Halver):
        one, many = kind(), kind()
        whole = one.push(samples)
        at, parts = 0, [np.zeros(0, dtype=np.float32)]
        for size in sizes:
            parts.append(many.push(samples[at : at + size]))
            at += size
        assert np.allclose(np.concatenate(parts), whole, atol=1e-2)


def test_a_tone_keeps_its_level_and_has_no_image() -> None:
    doubled = Doubler().push(tone(1000, 8000, 8000))
    assert doubled.size == 16000
    spectrum = np.abs(np.fft.rfft(doubled[200:-200] * np.hanning(15600)))
    hertz = np.arange(spectrum.size) * 16000 / 15600
    image = spectrum[np.abs(hertz - 7000) < 50].max() / spectrum.max()
    assert image < 1e-3
    assert np.abs(doubled[500:]).max() == pytest.approx(8000, rel=0.02)
    halved = Halver().push(tone(1000, 16000, 16000))
    assert np.sqrt(2 * np.mean(halved[500:] ** 2)) == pytest.approx(8000, rel=0.02)
    assert np.abs(Halver().push(tone(6500, 16000, 16000))[500:]).max() < 80


def test_pcm_is_clipped_and_an_odd_byte_ignored() -> None:
    assert to_samples(to_pcm(np.array([40000.0, -40000.0, 1.4], dtype=np.float32))).tolist() == [
        32767,
        -32768,
        1,
    ]
    assert to_samples(b"\x01\x00\x02").tolist() == [1]
