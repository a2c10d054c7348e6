"""One call's ears: audio in, the caller's turns as words out. Blocking; belongs on a worker thread.

Owns the order of voice activity, look-back and decoding. Refuses meaning, time and threads.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from trunkline.engines.local.audio import Samples
from trunkline.engines.local.dialogue import Expectation
from trunkline.engines.local.recogniser import START_CMN, Decoders, Grammar, Utterance
from trunkline.engines.local.vad import Detector, Started, Stopped, TurnDetector

RATE: Final = 8000
LOOK_BACK: Final = RATE * 450 // 1000
"""Audio before the start of a turn that belongs to it: quiet first sounds, and the time the start took to see."""
MAX_WAITING: Final = RATE * 15
"""Samples of a turn kept while no decoder is free; older ones are lost."""
PARTIAL_EVERY: Final = RATE // 5


@dataclass(frozen=True, slots=True)
class SpeechStarted:
    """The caller began, ``lag_ms`` before the end of the audio pushed."""

    lag_ms: int


@dataclass(frozen=True, slots=True)
class Partial:
    """The words up to now; replaces earlier ones of the turn."""

    text: str


@dataclass(frozen=True, slots=True)
class SpeechEnded:
    """The turn is over. ``text`` is empty when nothing fitted, or with ``unheard`` because no decoder was free."""

    lag_ms: int
    text: str
    unheard: bool = False


ListenerEvent = SpeechStarted | Partial | SpeechEnded


class Listener:
    """See the module's docstring. ``close`` gives everything back; nothing may be pushed after it."""

    def __init__(self, detector: Detector, decoders: Decoders, grammars: Mapping[str, Grammar]) -> None:
        self._turns = TurnDetector(detector)
        self._decoders = decoders
        self._grammars = grammars
        self._recent = np.zeros(0, dtype=np.float32)
        self._waiting: list[Samples] = []
        self._utterance: Utterance | None = None
        self._grammar: Grammar | None = None
        self._cmn = START_CMN
        self._since_partial = 0
        self._partial = ""

    def push(self, samples: Samples, expectation: Expectation, start_ms: int) -> list[ListenerEvent]:
        """Hear 8 kHz audio. A turn is decoded with the grammar that was expected when it started;
        ``start_ms`` of speech make a turn."""
        self._turns.end_ms = expectation.end_of_speech_ms
        self._turns.start_ms = start_ms
        was_speaking = self._turns.speaking
        turn_events = self._turns.push(samples)
        self._recent = np.concatenate((self._recent, samples))
        if was_speaking:
            self._waiting.append(samples)
        events: list[ListenerEvent] = []
        for event in turn_events:
            match event:
                case Started(lag_ms=lag):
                    self._begin(expectation)
                    events.append(SpeechStarted(lag))
                case Stopped(lag_ms=lag):
                    self._decode()
                    events.append(self._end(lag))
        self._recent = self._recent[-LOOK_BACK:]
        if self._turns.speaking:
            self._decode()
            events += self._news(samples.size)
        return events

    def close(self) -> None:
        """Give the decoder back."""
        self._waiting.clear()
        utterance, self._utterance = self._utterance, None
        if utterance is not None:
            utterance.abandon()

    def _begin(self, expectation: Expectation) -> None:
        self._grammar = self._grammars[expectation.grammar]
        self._waiting = [self._recent]
        self._since_partial, self._partial = 0, ""

    def _decode(self) -> None:
        """Let the decoder have what it has not heard; wait for one, within bounds, when all are busy."""
        if self._utterance is None and self._grammar is not None:
            self._utterance = self._decoders.utterance(self._grammar, self._cmn)
        if self._utterance is not None:
            for samples in self._waiting:
                self._utterance.feed(samples)
            self._waiting.clear()
        while sum(samples.size for samples in self._waiting) > MAX_WAITING:
            del self._waiting[0]

    def _news(self, size: int) -> list[ListenerEvent]:
        self._since_partial += size
        if self._utterance is None or self._since_partial < PARTIAL_EVERY:
            return []
        self._since_partial = 0
        text = self._utterance.partial().text
        if text in ("", self._partial):
            return []
        self._partial = text
        return [Partial(text)]

    def _end(self, lag_ms: int) -> SpeechEnded:
        utterance, self._utterance, self._grammar = self._utterance, None, None
        self._waiting.clear()
        if utterance is None:
            return SpeechEnded(lag_ms, "", unheard=True)
        hypothesis, self._cmn = utterance.finish()
        return SpeechEnded(lag_ms, hypothesis.text)
