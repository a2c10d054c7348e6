"""When the caller begins and ends a turn. Sans-IO: time is the number of samples that came in."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from trunkline.engines.local.audio import Samples
from trunkline.engines.local.vad.detector import FRAME, FRAME_MS, Detector

START_PROBABILITY: Final = 0.5
STAY_PROBABILITY: Final = 0.3
"""Speech goes on above this: the ends of words are quieter than their beginnings."""
DEFAULT_START_MS: Final = 128
DEFAULT_END_MS: Final = 600


@dataclass(frozen=True, slots=True)
class Started:
    """Speech began ``lag_ms`` before the end of the audio pushed so far: the cue for barge-in."""

    lag_ms: int


@dataclass(frozen=True, slots=True)
class Stopped:
    """The turn is over; its last speech lies ``lag_ms`` back."""

    lag_ms: int


TurnEvent = Started | Stopped


class TurnDetector:
    """Turns of one caller.

    A turn starts after ``start_ms`` of speech (shorter sounds are clicks, coughs, echo) and ends after ``end_ms``
    without. Both may be changed between turns: a digit slot wants a longer wait than a yes or no.
    """

    def __init__(self, detector: Detector) -> None:
        self._detector = detector
        self._held = np.zeros(0, dtype=np.float32)
        self._speaking = False
        self._speech_ms = 0.0
        self._silence_ms = 0
        self._onset_ms = 0
        self.start_ms = DEFAULT_START_MS
        self.end_ms = DEFAULT_END_MS

    @property
    def speaking(self) -> bool:
        """A turn has started and not ended."""
        return self._speaking

    def push(self, samples: Samples) -> list[TurnEvent]:
        """Feed 8 kHz audio of any length."""
        self._held = np.concatenate((self._held, samples))
        events: list[TurnEvent] = []
        while self._held.size >= FRAME:
            frame, self._held = self._held[:FRAME], self._held[FRAME:]
            event = self._frame(self._detector.probability(frame))
            if event is not None:
                events.append(event)
        return events

    def _frame(self, probability: float) -> TurnEvent | None:
        if self._speaking:
            return self._in_turn(probability)
        if probability >= START_PROBABILITY:
            self._speech_ms += FRAME_MS
            self._onset_ms += FRAME_MS
        elif self._speech_ms > 0:
            # A dip inside a word costs as much as it lasts; the onset stays where it was.
            self._speech_ms = max(0.0, self._speech_ms - FRAME_MS)
            self._onset_ms = self._onset_ms + FRAME_MS if self._speech_ms else 0
        if self._speech_ms < self.start_ms:
            return None
        lag, self._speaking, self._silence_ms = self._onset_ms, True, 0
        self._speech_ms, self._onset_ms = 0.0, 0
        return Started(lag_ms=lag)

    def _in_turn(self, probability: float) -> TurnEvent | None:
        self._silence_ms = 0 if probability >= STAY_PROBABILITY else self._silence_ms + FRAME_MS
        if self._silence_ms < self.end_ms:
            return None
        self._speaking = False
        return Stopped(lag_ms=self._silence_ms)
