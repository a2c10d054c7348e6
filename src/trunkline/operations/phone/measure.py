"""What a recording contains, by measurement: levels, speech, silence, one utterance inside another recording.

Pure functions of samples (numpy ``int16``, mono) and a rate; times are seconds from the first sample.
Energy decides what is speech, so music or a loud tone counts as speech too: enough to tell whether somebody
was heard, not to tell who.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from trunkline.operations.phone.audio import Samples

FRAME_S: Final = 0.01
SILENT_DBFS: Final = -96.0
"""Level of digital silence: what 16 bits can express, not minus infinity."""

SPEECH_DBFS: Final = -42.0
"""Lowest level of a frame that is taken for speech on a quiet line."""

MARGIN_DB: Final = 12.0
"""How far speech must stand out of a noisy line's own level."""


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of speech, in seconds."""

    start: float
    end: float

    @property
    def length(self) -> float:
        return self.end - self.start


@dataclass(frozen=True, slots=True)
class Match:
    """Where an utterance fits best inside a recording, and how well (1 is identical, 0 unrelated)."""

    score: float
    at: float


def level_dbfs(samples: Samples) -> float:
    """RMS level relative to full scale; ``SILENT_DBFS`` when there is nothing."""
    if len(samples) == 0:
        return SILENT_DBFS
    rms = float(np.sqrt(np.mean(np.square(samples.astype(np.float64)))))
    return max(SILENT_DBFS, 20 * float(np.log10(max(rms, 1e-9) / 32768)))


def frame_levels(samples: Samples, rate: int) -> NDArray[np.float64]:
    """RMS level in dBFS of each whole 10 ms frame."""
    size = int(rate * FRAME_S)
    count = len(samples) // size
    frames = samples[: count * size].astype(np.float64).reshape(count, size)
    rms = np.sqrt(np.mean(np.square(frames), axis=1))
    levels: NDArray[np.float64] = np.maximum(20 * np.log10(np.maximum(rms, 1e-9) / 32768), SILENT_DBFS)
    return levels


def speech_threshold(levels: NDArray[np.float64]) -> float:
    """The level above which a frame is speech, from the quietest tenth of the recording itself."""
    if len(levels) == 0:
        return SPEECH_DBFS
    floor = float(np.percentile(levels, 10))
    return float(np.clip(floor + MARGIN_DB, SPEECH_DBFS, -25.0))


def speech_segments(
    samples: Samples,
    rate: int,
    *,
    min_speech_s: float = 0.08,
    join_s: float = 0.35,
    threshold_dbfs: float | None = None,
) -> tuple[Segment, ...]:
    """Stretches of speech: pauses up to ``join_s`` inside are bridged, bursts under ``min_speech_s`` ignored.

    Without ``threshold_dbfs`` the level of speech is derived from the recording's own quiet parts, so a recording
    that is all speech has none: give a threshold for a cutting.
    """
    levels = frame_levels(samples, rate)
    threshold = speech_threshold(levels) if threshold_dbfs is None else threshold_dbfs
    loud = np.flatnonzero(levels > threshold)
    if len(loud) == 0:
        return ()
    breaks = np.flatnonzero(np.diff(loud) * FRAME_S > join_s)
    starts = np.concatenate(([loud[0]], loud[breaks + 1]))
    ends = np.concatenate((loud[breaks], [loud[-1]])) + 1
    return tuple(
        Segment(round(float(start) * FRAME_S, 3), round(float(end) * FRAME_S, 3))
        for start, end in zip(starts, ends, strict=True)
        if (end - start) * FRAME_S >= min_speech_s
    )


def speech_seconds(segments: Sequence[Segment], start: float = 0.0, end: float = float("inf")) -> float:
    """How much of ``start``..``end`` the segments cover."""
    return sum(max(0.0, min(s.end, end) - max(s.start, start)) for s in segments)


def silent_after(
    samples: Samples, rate: int, after: float, *, for_s: float, threshold: float = SPEECH_DBFS
) -> float | None:
    """Seconds from ``after`` until the line fell silent for at least ``for_s``; None when it never did.

    A recording that ends while silent counts as silent for the rest.
    """
    levels = frame_levels(samples, rate)
    first = max(0, round(after / FRAME_S))
    need = max(1, round(for_s / FRAME_S))
    quiet_from = first
    for index in range(first, len(levels)):
        if levels[index] > threshold:
            quiet_from = index + 1
        elif index + 1 - quiet_from >= need:
            break
    else:
        if len(levels) > first and quiet_from >= len(levels):
            return None
    return max(0.0, quiet_from * FRAME_S - after)


def find_utterance(recording: Samples, utterance: Samples, rate: int) -> Match:
    """Where in ``recording`` the ``utterance`` is, by normalised cross-correlation of band envelopes.

    The envelopes survive companding, resampling, concealed packets and small timing changes, which waveforms
    do not. A score above 0.75 is the same words of the same voice; unrelated speech stays below 0.6.
    """
    needle, hay = _envelopes(utterance, rate), _envelopes(recording, rate)
    width = needle.shape[1]
    if width < 10 or hay.shape[1] < width:
        return Match(0.0, 0.0)
    needle = needle - needle.mean(axis=1, keepdims=True)
    energy = float(np.sum(np.square(needle)))
    if energy <= 0:
        return Match(0.0, 0.0)
    lags = hay.shape[1] - width + 1
    cross = np.zeros(lags)
    spread = np.zeros(lags)
    ones = np.ones(width)
    for band, pattern in zip(hay, needle, strict=True):
        cross += np.correlate(band, pattern, mode="valid")
        total = np.convolve(band, ones, mode="valid")
        spread += np.maximum(np.convolve(np.square(band), ones, mode="valid") - np.square(total) / width, 0)
    scores = cross / np.sqrt(np.maximum(spread * energy, 1e-12))
    best = int(np.argmax(scores))
    return Match(round(float(scores[best]), 4), round(best * FRAME_S, 3))


BANDS_HZ: Final = (150, 300, 450, 650, 900, 1200, 1600, 2100, 2700, 3500)


def _envelopes(samples: Samples, rate: int) -> NDArray[np.float64]:
    """Log energy in nine bands of the telephone's range, one column per 10 ms (window 25 ms)."""
    size, hop = int(rate * 0.025), int(rate * FRAME_S)
    if len(samples) < size:
        return np.zeros((len(BANDS_HZ) - 1, 0))
    frames = np.lib.stride_tricks.sliding_window_view(samples.astype(np.float64) / 32768, size)[::hop]
    spectrum = np.square(np.abs(np.fft.rfft(frames * np.hanning(size), axis=1)))
    bins = np.searchsorted(np.fft.rfftfreq(size, 1 / rate), BANDS_HZ)
    energy = np.stack([spectrum[:, low:high].sum(axis=1) for low, high in pairwise(bins)])
    envelopes: NDArray[np.float64] = np.log10(energy + 1e-4)
    return envelopes
