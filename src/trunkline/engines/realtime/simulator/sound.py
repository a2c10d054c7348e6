"""Sound for the simulated engine: G.711, voices, tones, and the level of what the caller says.

All samples are mono ``int16`` arrays. G.711 follows ITU-T G.711 (1988), by table.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt

Samples = npt.NDArray[np.int16]
Voice = Callable[[str], tuple[bytes, int]]
"""Speaks text: signed 16-bit little-endian mono PCM and its sample rate."""

FRAME_MS: Final = 20


def _ulaw_table() -> Samples:
    codes = ~np.arange(256, dtype=np.int32) & 0xFF
    magnitude = (((codes & 0x0F) << 3) + 0x84) << ((codes & 0x70) >> 4)
    value = magnitude - 0x84
    return np.where(codes & 0x80, -value, value).astype(np.int16)


def _alaw_table() -> Samples:
    codes = np.arange(256, dtype=np.int32) ^ 0x55
    mantissa, exponent = (codes & 0x0F) << 4, (codes & 0x70) >> 4
    value = np.where(exponent == 0, mantissa + 8, (mantissa + 0x108) << np.maximum(exponent - 1, 0))
    return np.where(codes & 0x80, value, -value).astype(np.int16)


_DECODE: Final = {"pcmu": _ulaw_table(), "pcma": _alaw_table()}
_SORTED: Final = {name: np.argsort(table, kind="stable") for name, table in _DECODE.items()}


def decode(audio: bytes, encoding: str) -> Samples:
    """Samples of ``pcmu``, ``pcma`` or ``pcm`` bytes; an odd last byte of PCM is left out."""
    if encoding == "pcm":
        return np.frombuffer(audio[: len(audio) // 2 * 2], dtype="<i2").astype(np.int16)
    return _DECODE[encoding][np.frombuffer(audio, dtype=np.uint8)]


def encode(samples: Samples, encoding: str) -> bytes:
    """Bytes of ``samples``; G.711 picks the nearest code."""
    if encoding == "pcm":
        return samples.astype("<i2").tobytes()
    order = _SORTED[encoding]
    levels = _DECODE[encoding][order].astype(np.int32)
    middle = (levels[:-1] + levels[1:] + 1) // 2
    return order[np.searchsorted(middle, samples.astype(np.int32), side="right")].astype(np.uint8).tobytes()


def resample(samples: Samples, source: int, target: int) -> Samples:
    """The same sound at another rate; a whole utterance at a time, low-passed when going down."""
    if source == target or not len(samples):
        return samples
    signal = samples.astype(np.float64)
    if target < source:
        taps = np.arange(-32, 33)
        cutoff = 0.45 * target / source
        kernel = 2 * cutoff * np.sinc(2 * cutoff * taps) * np.hamming(len(taps))
        signal = np.convolve(signal, kernel / kernel.sum(), mode="same")
    count = len(samples) * target // source
    positions = np.arange(count) * (source / target)
    resampled: Samples = (
        np.interp(positions, np.arange(len(signal)), signal).clip(-32768, 32767).astype(np.int16)
    )
    return resampled


def tone(hz: float, ms: int, level_db: float, rate: int) -> Samples:
    """A sine with soft ends."""
    count = rate * ms // 1000
    wave = np.sin(2 * np.pi * hz * np.arange(count) / rate) * 32767 * 10 ** (level_db / 20)
    return (wave * _soft_ends(count, rate)).astype(np.int16)


def babble(text: str, rate: int) -> Samples:
    """Sound that detectors take for speech: two gliding formants over a buzz, a syllable for every three letters.

    The same text always sounds the same.
    """
    parts = []
    for index, at in enumerate(range(0, max(3, len(text)), 3)):
        letters = text[at : at + 3] or "aah"
        count = rate * (120 + 20 * (len(letters) % 3)) // 1000
        time = np.arange(count) / rate
        weight = sum(map(ord, letters))
        pitch = 110 + (weight + index * 7) % 40
        low, high = 350 + weight % 350, 1100 + weight * 7 % 900
        buzz = sum(np.sin(2 * np.pi * pitch * k * time) / k for k in range(1, 6))
        sound = (1.2 * np.sin(2 * np.pi * low * time) + 0.6 * np.sin(2 * np.pi * high * time)) * (
            0.6 + 0.4 * buzz
        )
        parts.append(sound * np.hanning(count) ** 0.5)
    signal = np.concatenate(parts)
    peak = float(np.max(np.abs(signal))) or 1.0
    return (signal / peak * 12_000).astype(np.int16)


def speak(text: str, rate: int, voice: Voice | None) -> Samples:
    """``text`` by ``voice``, or babble of a plausible length."""
    if voice is None:
        return babble(text, rate)
    pcm, own_rate = voice(text)
    return resample(decode(pcm, "pcm"), own_rate, rate)


def _soft_ends(count: int, rate: int) -> npt.NDArray[np.float64]:
    ramp = np.minimum(np.arange(count), np.arange(count)[::-1]) / max(1, rate // 200)
    return np.minimum(1.0, ramp)


@dataclass(slots=True)
class SpeechDetector:
    """Server VAD by level: three loud frames of 20 ms begin speech, ``silence_ms`` of quiet ends it."""

    rate: int
    threshold_db: float
    silence_ms: int
    at_ms: int = 0
    """Position in the caller's audio."""
    speaking: bool = False
    _pending: Samples = field(default_factory=lambda: np.zeros(0, dtype=np.int16))
    _loud: int = 0
    _quiet: int = 0

    def feed(self, samples: Samples) -> list[tuple[str, int]]:
        """``("started" | "stopped", audio position in ms)`` for each change within these samples."""
        size = self.rate * FRAME_MS // 1000
        signal = np.concatenate((self._pending, samples))
        whole = len(signal) // size
        self._pending = signal[whole * size :]
        changes = []
        for frame in signal[: whole * size].reshape(whole, size).astype(np.float64):
            self.at_ms += FRAME_MS
            level = 20 * np.log10(max(1e-9, float(np.sqrt(np.mean(frame**2))) / 32768))
            if (change := self._frame(loud=level > self.threshold_db)) is not None:
                changes.append((change, self.at_ms))
        return changes

    def _frame(self, *, loud: bool) -> str | None:
        self._loud, self._quiet = (self._loud + 1, 0) if loud else (0, self._quiet + FRAME_MS)
        if not self.speaking and self._loud >= 3:
            self.speaking = True
            return "started"
        if self.speaking and self._quiet >= self.silence_ms:
            self.speaking = False
            return "stopped"
        return None
