"""What the local engine's tests share: synthesised callers on a telephone line, loaded models."""

import ctypes
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from trunkline.engines.local.audio import Halver, Samples, to_pcm, to_samples
from trunkline.engines.local.recogniser import Decoders
from trunkline.engines.local.vad import Detectors
from trunkline.engines.local.voice import Flite

LIBC = ctypes.CDLL(None)


@pytest.fixture(scope="session")
def flite() -> Flite:
    return Flite()


@pytest.fixture(scope="session")
def detectors() -> Detectors:
    return Detectors()


@pytest.fixture(scope="session")
def decoders(flite: Flite) -> Iterator[Decoders]:
    pool = Decoders(2, pronounce=flite.pronounce)
    pool.warm(1)
    yield pool
    assert pool.busy == 0, "a test kept a decoder"
    pool.close()


def ulaw(samples: Samples) -> Samples:
    """There and back through G.711 mu-law."""
    magnitude = np.minimum(np.abs(np.rint(samples)), 32635) + 132
    step = 2.0 ** (np.floor(np.log2(magnitude)) - 4)
    return np.asarray(np.sign(samples) * ((np.floor(magnitude / step) + 0.5) * step - 132), dtype=np.float32)


Caller = Callable[..., bytes]


@pytest.fixture(scope="session")
def caller(flite: Flite) -> Caller:
    """8 kHz PCM of a text as it comes from a telephone: ``caller("yes", voice="rms", snr_db=20)``.

    The default voice, rms, is one that the recogniser's network never heard.
    """

    def say(
        text: str,
        *,
        voice: str = "rms",
        before_s: float = 0.3,
        after_s: float = 0.3,
        snr_db: float | None = None,
        seed: int = 1,
    ) -> bytes:
        # The voices' breath comes from the C library's generator: without a seed no sentence sounds twice the same.
        LIBC.srand(seed)
        pieces: list[bytes] = []

        def keep(pcm: bytes, _rate: int) -> bool:
            pieces.append(pcm)
            return True

        if text:
            flite.synthesise(text, voice, keep)
        wide = to_samples(b"".join(pieces))
        line = np.concatenate(
            (
                np.zeros(round(before_s * 8000), dtype=np.float32),
                Halver().push(wide),
                np.zeros(round(after_s * 8000), dtype=np.float32),
            )
        )
        if snr_db is not None:
            loud = line[np.abs(line) > 500]
            level = float(np.sqrt(np.mean(loud**2))) * 10 ** (-snr_db / 20)
            line = line + np.random.default_rng(1).standard_normal(line.size).astype(np.float32) * level
        return to_pcm(ulaw(line))

    return say
