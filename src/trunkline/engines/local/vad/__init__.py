"""Voice activity on 8 kHz audio and the turns it makes. Refuses words, threads and clocks."""

from trunkline.engines.local.vad.detector import FRAME_MS, Detector, Detectors, Energy, Silero, SileroModel
from trunkline.engines.local.vad.turns import DEFAULT_END_MS, Started, Stopped, TurnDetector, TurnEvent

__all__ = [
    "DEFAULT_END_MS",
    "FRAME_MS",
    "Detector",
    "Detectors",
    "Energy",
    "Silero",
    "SileroModel",
    "Started",
    "Stopped",
    "TurnDetector",
    "TurnEvent",
]
