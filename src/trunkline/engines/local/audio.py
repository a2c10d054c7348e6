"""Sample arithmetic that the local engine's rooms share: PCM bytes, rate doubling and halving with kept state.

Owns nothing that waits or does I/O. The phone side's resampling is native; this is for audio that is already in
Python because the engine runs in this process.
"""

from typing import Final

import numpy as np
import numpy.typing as npt

Samples = npt.NDArray[np.float32]
"""Mono audio, full scale is 32768."""

_TAPS: Final = 31


def to_samples(pcm: bytes) -> Samples:
    """Samples of PCM16LE bytes; a trailing odd byte is ignored."""
    return np.frombuffer(pcm[: len(pcm) & ~1], dtype="<i2").astype(np.float32)


def to_pcm(samples: Samples) -> bytes:
    """PCM16LE bytes, clipped to the 16-bit range."""
    return np.clip(np.rint(samples), -32768, 32767).astype("<i2").tobytes()


def _half_band() -> Samples:
    """Windowed-sinc low-pass at a quarter of the rate; unity gain at 0 Hz."""
    n = np.arange(_TAPS) - _TAPS // 2
    taps = np.sinc(n / 2) * np.blackman(_TAPS + 2)[1:-1]
    return np.asarray(taps / taps.sum(), dtype=np.float32)


class Doubler:
    """8 kHz to 16 kHz in pieces of any length; the filter's state continues across pieces.

    Output lags by 15 samples at the higher rate (0.9 ms); ``flush`` returns the rest.
    """

    def __init__(self) -> None:
        self._taps = _half_band() * 2
        self._past = np.zeros(_TAPS - 1, dtype=np.float32)

    def push(self, samples: Samples) -> Samples:
        """Twice as many samples as came in."""
        if samples.size == 0:
            return samples
        stuffed = np.zeros(samples.size * 2, dtype=np.float32)
        stuffed[::2] = samples
        joined = np.concatenate((self._past, stuffed))
        self._past = joined[-(_TAPS - 1) :]
        return np.convolve(joined, self._taps, mode="valid").astype(np.float32)

    def flush(self) -> Samples:
        """The last 16 samples held back by the filter."""
        return self.push(np.zeros((_TAPS + 1) // 4, dtype=np.float32))


class Halver:
    """16 kHz to 8 kHz in pieces of any length, with kept filter state and phase."""

    def __init__(self) -> None:
        self._taps = _half_band()
        self._past = np.zeros(_TAPS - 1, dtype=np.float32)
        self._phase = 0

    def push(self, samples: Samples) -> Samples:
        """Half as many samples as came in, give or take one."""
        if samples.size == 0:
            return samples
        joined = np.concatenate((self._past, samples))
        self._past = joined[-(_TAPS - 1) :]
        filtered = np.convolve(joined, self._taps, mode="valid").astype(np.float32)
        kept = filtered[self._phase :: 2]
        self._phase = (self._phase + samples.size) % 2
        return kept
