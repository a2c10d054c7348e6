"""The compiled module: its helpers, its version, and what is said when it is not there."""

import math
import types

import numpy as np
import pytest

from trunkline.model import Missing, Nanos
from trunkline.telephony.media import Tap, convert, native, port
from trunkline.telephony.media.tools import Resampler, g711_decode, g711_encode, resample, rms_dbfs

from .conftest import pitch, samples, tone


@pytest.mark.parametrize("law", ["PCMU", "PCMA"])
def test_g711_keeps_the_signal(law: str) -> None:
    pcm = tone(440, 100, 8000)
    codes = g711_encode(pcm, law)
    assert len(codes) == 800
    error = samples(g711_decode(codes, law)) - samples(pcm)
    assert np.sqrt((error**2).mean()) < 8000 * 0.02


def test_silence_has_the_codes_of_the_standard() -> None:
    assert g711_encode(bytes(4), "PCMU") == b"\xff\xff"
    assert g711_encode(bytes(4), "PCMA") == b"\xd5\xd5"


def test_resampling_in_pieces_equals_resampling_at_once() -> None:
    pcm = tone(1000, 500, 8000)
    whole = resample(pcm, 8000, 24000)
    converter = Resampler(8000, 24000)
    pieces = b"".join(converter.process(pcm[start : start + 318]) for start in range(0, len(pcm), 318))
    assert pieces == whole
    assert abs(pitch(samples(whole), 24000) - 1000) < 3
    converter.reset()
    assert converter.process(pcm) == whole


def test_levels() -> None:
    assert rms_dbfs(tone(440, 100, 8000, peak=32767)) == pytest.approx(
        -20 * math.log10(math.sqrt(2)), abs=0.05
    )


def test_bad_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="even number of bytes"):
        g711_encode(b"a", "PCMU")
    with pytest.raises(ValueError, match="unknown law"):
        g711_encode(b"ab", "OPUS")
    with pytest.raises(ValueError, match="cannot resample"):
        resample(b"ab", 8000, 11025)


def test_a_build_for_another_version_is_refused() -> None:
    native.check(types.SimpleNamespace(abi_version=native.ABI_VERSION))  # type: ignore[arg-type]
    with pytest.raises(Missing, match="another version") as caught:
        native.check(types.SimpleNamespace(abi_version=0))  # type: ignore[arg-type]
    assert caught.value.hint == "run `make build`"


def test_a_missing_build_is_one_sentence() -> None:
    def absent() -> types.ModuleType:
        raise ImportError("No module named 'trunkline._native'")

    with pytest.raises(Missing, match="the native media engine is not built") as caught:
        native.load(absent)
    assert caught.value.hint == "run `make build`"


def test_every_event_of_the_contract_has_its_native_kind() -> None:
    made = {kind.__name__ for kind in convert.KINDS.values() if isinstance(kind, type)}
    special = {"PlayEnded", "Flushed", "MediaClosed"}
    assert made | special == {kind.__name__ for kind in port.MediaEvent.__args__}
    assert convert.event("tap", 7, (b"ab", 8000)) == Tap(Nanos(7), b"ab", 8000)
