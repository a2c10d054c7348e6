"""One call's ears: look-back, patience while decoders are busy, and giving back."""

from collections.abc import Callable

import numpy as np

from trunkline.engines.local.audio import to_samples
from trunkline.engines.local.dialogue import Expectation
from trunkline.engines.local.listener import Listener, ListenerEvent, Partial, SpeechEnded, SpeechStarted
from trunkline.engines.local.recogniser import Decoders, digits, phrases
from trunkline.engines.local.vad import Detectors
from trunkline.engines.local.voice import Flite

Line = Callable[..., bytes]
GRAMMARS = {"wish": phrases(("where is my order", "goodbye")), "digits": digits(5, 5)}
WISH = Expectation("wish", 600)


def hear(listener: Listener, pcm: bytes, expectation: Expectation = WISH) -> list[ListenerEvent]:
    samples = to_samples(pcm)
    return [
        event
        for at in range(0, samples.size, 320)
        for event in listener.push(samples[at : at + 320], expectation, 128)
    ]


def test_a_turn_is_started_followed_and_ended(detectors: Detectors, decoders: Decoders, caller: Line) -> None:
    listener = Listener(detectors.detector(), decoders, GRAMMARS)
    events = hear(listener, caller("where is my order", after_s=1.0))
    assert isinstance(events[0], SpeechStarted)
    assert any(isinstance(event, Partial) for event in events)
    assert isinstance(events[-1], SpeechEnded)
    assert events[-1].text == "where is my order"
    assert not events[-1].unheard
    events = hear(listener, caller("one two three four five", after_s=1.0), Expectation("digits", 800))
    assert isinstance(events[-1], SpeechEnded)
    assert events[-1].text == "one two three four five"
    assert events[-1].lag_ms >= 800
    assert decoders.busy == 0


def test_a_turn_waits_for_a_decoder(detectors: Detectors, flite: Flite, caller: Line) -> None:
    pool = Decoders(1, pronounce=flite.pronounce)
    other = pool.utterance(GRAMMARS["wish"])
    assert other is not None
    listener = Listener(detectors.detector(), pool, GRAMMARS)
    pcm = caller("where is my order", after_s=1.0)
    half = len(pcm) // 4 * 2
    events = hear(listener, pcm[:half])
    assert [type(event) for event in events] == [SpeechStarted]
    other.abandon()
    events += hear(listener, pcm[half:])
    assert isinstance(events[-1], SpeechEnded)
    assert events[-1].text == "where is my order", "what was said meanwhile is not lost"
    pool.close()


def test_a_turn_that_got_no_decoder_says_so(detectors: Detectors, flite: Flite, caller: Line) -> None:
    pool = Decoders(1, pronounce=flite.pronounce)
    other = pool.utterance(GRAMMARS["wish"])
    assert other is not None
    listener = Listener(detectors.detector(), pool, GRAMMARS)
    ended = hear(listener, caller("where is my order", after_s=1.0))[-1]
    assert isinstance(ended, SpeechEnded)
    assert ended.unheard
    assert ended.text == ""
    other.abandon()
    pool.close()


def test_closing_in_the_middle_gives_the_decoder_back(
    detectors: Detectors, decoders: Decoders, caller: Line
) -> None:
    listener = Listener(detectors.detector(), decoders, GRAMMARS)
    pcm = caller("where is my order")
    assert hear(listener, pcm[: len(pcm) // 4 * 2])
    assert decoders.busy == 1
    listener.close()
    listener.close()
    assert decoders.busy == 0


def test_an_hour_of_silence_keeps_nothing(detectors: Detectors, decoders: Decoders) -> None:
    listener = Listener(detectors.detector(), decoders, GRAMMARS)
    for _ in range(20):
        assert listener.push(np.zeros(8000, dtype=np.float32), WISH, 128) == []
    assert decoders.busy == 0
