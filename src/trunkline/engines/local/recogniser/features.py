"""From telephone audio to the cepstra that a wideband acoustic model expects.

The acoustic model was trained on 16 kHz speech. A small network (``bwe.npz``, trained by
``scripts/train_bwe.py`` on synthesised speech) looks at the log-mel spectrum of 8 kHz audio and predicts the 13
cepstra that the model's own front end would have computed from the same speech at 16 kHz, without the channel.

Everything here is arithmetic with kept state: pieces of any length give the same frames as the whole.
"""

from dataclasses import dataclass
from importlib import resources
from typing import IO, Final

import numpy as np
import numpy.typing as npt

from trunkline.engines.local.audio import Samples
from trunkline.model import Missing

RATE: Final = 8000
HOP: Final = 80
"""Samples from frame to frame: 10 ms, as the acoustic model has it."""
WINDOW: Final = 205
"""Samples in a frame: 25.6 ms."""
FFT: Final = 256
BANDS: Final = 22
LOW_HZ: Final = 120.0
HIGH_HZ: Final = 3800.0
PRE_EMPHASIS: Final = 0.97
CONTEXT: Final = 5
"""Frames before and after that the network sees; the frames after are its delay (50 ms)."""
CEPSTRA: Final = 13
_FLOOR: Final = 10.0
"""Added to the power of each band; about the noise of G.711's smallest step."""

Frames = npt.NDArray[np.float32]
"""One row per 10 ms."""


def _mel(hertz: npt.NDArray[np.float64] | float) -> npt.NDArray[np.float64]:
    return np.asarray(2595.0 * np.log10(1.0 + np.asarray(hertz) / 700.0))


def _filters() -> Frames:
    """Triangular mel filters over the FFT's bins, one column per band."""
    edges_mel = np.linspace(_mel(LOW_HZ), _mel(HIGH_HZ), BANDS + 2)
    edges = 700.0 * (10.0 ** (edges_mel / 2595.0) - 1.0)
    bins = np.arange(FFT // 2 + 1) * (RATE / FFT)
    rising = (bins[:, None] - edges[None, :-2]) / (edges[1:-1] - edges[:-2])[None, :]
    falling = (edges[None, 2:] - bins[:, None]) / (edges[2:] - edges[1:-1])[None, :]
    return np.maximum(0.0, np.minimum(rising, falling)).astype(np.float32)


class LogMel:
    """Log power in mel bands, frame by frame."""

    def __init__(self) -> None:
        self._filters = _filters()
        self._window = np.hamming(WINDOW).astype(np.float32)
        self._held = np.zeros(0, dtype=np.float32)
        self._last = np.float32(0.0)

    def push(self, samples: Samples) -> Frames:
        """The frames that became complete."""
        if samples.size:
            before = np.concatenate((np.asarray([self._last], dtype=np.float32), samples[:-1]))
            self._last = samples[-1]
            self._held = np.concatenate((self._held, samples - PRE_EMPHASIS * before))
        count = (self._held.size - WINDOW) // HOP + 1 if self._held.size >= WINDOW else 0
        if count <= 0:
            return np.zeros((0, BANDS), dtype=np.float32)
        view = np.lib.stride_tricks.sliding_window_view(self._held, WINDOW)[: count * HOP : HOP]
        spectrum = np.fft.rfft(view * self._window, FFT)
        power = (spectrum.real**2 + spectrum.imag**2).astype(np.float32)
        self._held = self._held[count * HOP :]
        return np.asarray(np.log(power @ self._filters + _FLOOR), dtype=np.float32)


@dataclass(frozen=True, slots=True)
class Network:
    """A feed-forward network with two hidden ReLU layers, shared by all calls."""

    mean: Frames
    scale: Frames
    w1: Frames
    b1: Frames
    w2: Frames
    b2: Frames
    w3: Frames
    b3: Frames

    @classmethod
    def read(cls, file: IO[bytes]) -> "Network":
        """Weights from an ``.npz`` of half-precision arrays named like the fields."""
        with np.load(file, allow_pickle=False) as arrays:
            return cls(
                **{name: np.ascontiguousarray(arrays[name], dtype=np.float32) for name in cls.__slots__}
            )

    @classmethod
    def bundled(cls) -> "Network":
        """The network that ships with the package. ``Missing`` when the installation lost it."""
        try:
            with resources.files(__package__).joinpath("bwe.npz").open("rb") as file:
                return cls.read(file)
        except FileNotFoundError as lost:
            raise Missing(
                "the recogniser's weights (bwe.npz) are not in the installed package",
                hint="reinstall trunkline, or run scripts/train_bwe.py in a checkout",
            ) from lost

    def __call__(self, windows: Frames) -> Frames:
        """Cepstra of rows of ``2 * CONTEXT + 1`` flattened log-mel frames."""
        hidden = np.maximum((windows - self.mean) * self.scale @ self.w1 + self.b1, 0.0)
        hidden = np.maximum(hidden @ self.w2 + self.b2, 0.0)
        return np.asarray(hidden @ self.w3 + self.b3, dtype=np.float32)


def with_context(frames: Frames) -> Frames:
    """Each frame together with its neighbours, flattened; loses ``CONTEXT`` frames at either end."""
    span = 2 * CONTEXT + 1
    if len(frames) < span:
        return np.zeros((0, span * BANDS), dtype=np.float32)
    view = np.lib.stride_tricks.sliding_window_view(frames, span, axis=0)
    return np.ascontiguousarray(view.transpose(0, 2, 1)).reshape(len(view), span * BANDS)


class Widener:
    """Cepstra of one utterance of 8 kHz audio, in pieces."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._mel = LogMel()
        self._frames = np.zeros((0, BANDS), dtype=np.float32)

    def push(self, samples: Samples) -> Frames:
        """Rows of 13 cepstra that became complete (50 ms after the frame)."""
        fresh = self._mel.push(samples)
        if not len(fresh):
            return np.zeros((0, CEPSTRA), dtype=np.float32)
        if not len(self._frames):
            fresh = np.concatenate((np.repeat(fresh[:1], CONTEXT, axis=0), fresh))
        return self._predict(fresh)

    def flush(self) -> Frames:
        """The last frames, whose future does not exist."""
        if not len(self._frames):
            return np.zeros((0, CEPSTRA), dtype=np.float32)
        return self._predict(np.repeat(self._frames[-1:], CONTEXT, axis=0))

    def _predict(self, fresh: Frames) -> Frames:
        frames = np.concatenate((self._frames, fresh))
        windows = with_context(frames)
        self._frames = frames[-2 * CONTEXT :]
        return self._network(windows) if len(windows) else np.zeros((0, CEPSTRA), dtype=np.float32)
