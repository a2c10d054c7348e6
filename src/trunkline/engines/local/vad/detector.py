"""Is this speech? A number for every 32 ms of 8 kHz audio.

Two detectors: Silero's network (ONNX, from the installed wheel's data folder, one session for all calls, state per
call) and, when it is not installed, the level above an adaptive noise floor.
"""

import importlib.util
import logging
import os
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt

from trunkline.engines.local.audio import Samples
from trunkline.model import Missing

log = logging.getLogger(__name__)

RATE: Final = 8000
FRAME: Final = 256
"""Samples a detector judges at a time: 32 ms."""
FRAME_MS: Final = 1000 * FRAME // RATE
_CONTEXT: Final = 32
"""Samples of the frame before that Silero wants to see at 8 kHz."""
_HINT: Final = "pip install --no-deps silero-vad (torch is not needed)"


class Detector(Protocol):
    """One call's detector; keeps state from frame to frame."""

    def probability(self, frame: Samples) -> float:
        """How likely these ``FRAME`` samples (full scale 32768) hold speech, 0 to 1."""
        ...


class SileroModel:
    """The network, loaded once and shared by all calls; safe for threads.

    ``Missing`` when onnxruntime or the model file is not installed. The package ``silero_vad`` itself is never
    imported: it would want torch.
    """

    def __init__(self, file: Path | None = None) -> None:
        path = file if file is not None else _model_file()
        if not path.is_file():
            raise Missing(f"there is no model file {path.name}", hint=_HINT)
        onnxruntime = _onnxruntime()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(
            str(path), sess_options=options, providers=["CPUExecutionProvider"]
        )
        self._rate = np.array(RATE, dtype=np.int64)

    def run(self, audio: Samples, state: npt.NDArray[Any]) -> tuple[float, npt.NDArray[Any]]:
        """Probability for context and frame (full scale 1.0), and the state for the next frame."""
        output, state = self._session.run(None, {"input": audio[None, :], "state": state, "sr": self._rate})
        return float(output[0, 0]), state


def _onnxruntime() -> Any:
    """The library, forbidden to report usage to its vendor: its Linux wheels collect events in a database under the
    home directory and send them, unless told not to before the first import."""
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    try:
        import onnxruntime
    except ImportError as failed:
        raise Missing(f"onnxruntime cannot be loaded: {failed}", hint="pip install onnxruntime") from failed
    onnxruntime.disable_telemetry_events()
    return onnxruntime


def _model_file() -> Path:
    spec = importlib.util.find_spec("silero_vad")
    for folder in (spec.submodule_search_locations or ()) if spec is not None else ():
        file = Path(folder) / "data" / "silero_vad.onnx"
        if file.is_file():
            return file
    raise Missing("Silero's voice activity model is not installed", hint=_HINT)


class Silero:
    """Silero's network on one call."""

    def __init__(self, model: SileroModel) -> None:
        self._model = model
        self._state: npt.NDArray[Any] = np.zeros((2, 1, 128), dtype=np.float32)
        self._context = np.zeros(_CONTEXT, dtype=np.float32)

    def probability(self, frame: Samples) -> float:
        """See ``Detector``."""
        scaled = frame * np.float32(1 / 32768)
        probability, self._state = self._model.run(np.concatenate((self._context, scaled)), self._state)
        self._context = scaled[-_CONTEXT:]
        return probability


class Energy:
    """Level above an adaptive noise floor: cheap, good on clean lines, misses quiet speech in noise."""

    _RISE_DB_PER_FRAME = 0.08
    _MIDDLE_DB = 12.0
    """Excess over the floor that counts as one half."""
    _QUIETEST_DB = 30.0
    """Below this level (RMS 30) nothing is speech."""

    def __init__(self) -> None:
        self._floor_db: float | None = None

    def probability(self, frame: Samples) -> float:
        """See ``Detector``."""
        level = 10.0 * float(np.log10(np.mean(frame * frame) + 1.0))
        if self._floor_db is None:
            # A call opens with the line's noise far more often than with speech.
            self._floor_db = min(level, 50.0)
        fall = 0.5 * (self._floor_db - level) if level < self._floor_db else 0.0
        self._floor_db = max(10.0, self._floor_db - fall + (0.0 if fall else self._RISE_DB_PER_FRAME))
        if level < self._QUIETEST_DB:
            return 0.0
        return float(1.0 / (1.0 + np.exp(-(level - self._floor_db - self._MIDDLE_DB) / 3.0)))


class Detectors:
    """Makes a detector for each call: Silero where installed, else energy (warned about once)."""

    def __init__(self, file: Path | None = None) -> None:
        self._model: SileroModel | None = None
        try:
            self._model = SileroModel(file)
        except Missing as missing:
            log.warning("speech is detected by level only: %s", missing)

    @property
    def kind(self) -> str:
        """``silero`` or ``energy``."""
        return "energy" if self._model is None else "silero"

    def detector(self) -> Detector:
        """A detector for one call."""
        return Energy() if self._model is None else Silero(self._model)
