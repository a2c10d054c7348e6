"""What was heard of an item, and in which order items reach the line."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest
import pytest_asyncio

from trunkline.engines.local.speaker import MAX_ITEMS, Speaker, SpeakerEvent, Spoken, Unspoken, split_heard
from trunkline.engines.local.voice import Voices
from trunkline.engines.local.voice.flite import OnAudio
from trunkline.model import MS, LocalError
from trunkline.testing import FakeMediaPort, VirtualClock, wait_until

TEXT = "One two. Three four five. Six."
SENTENCES = [("One two.", 1000.0), ("Three four five.", 1500.0)]


@pytest.mark.parametrize(
    ("heard_ms", "heard", "rest"),
    [
        (0, "", "One two. Three four five. Six."),
        (500, "One", "One two. Three four five. Six."),
        (1000, "One two.", "Three four five. Six."),
        (1900, "One two. Three four", "Three four five. Six."),
        (2500, "One two. Three four five.", "Six."),
        (9999, "One two. Three four five.", "Six."),
    ],
)
def test_the_text_that_was_heard_and_the_rest(heard_ms: int, heard: str, rest: str) -> None:
    assert split_heard(TEXT, SENTENCES, heard_ms) == (heard, rest)


def test_nothing_synthesised_is_nothing_heard() -> None:
    assert split_heard(TEXT, [], 100) == ("", TEXT)
    assert split_heard(TEXT, [("One two.", 0.0)], 100) == ("", TEXT)


def test_a_number_takes_as_long_as_it_is_said() -> None:
    heard, _ = split_heard("Order 45678 is here.", [("Order 45678 is here.", 4000.0)], 1500)
    assert heard == "Order"
    heard, _ = split_heard("Order 45678 is here.", [("Order 45678 is here.", 4000.0)], 3000)
    assert heard == "Order 45678"


class Beeper:
    """100 ms of audio for every character; ``bad`` words cannot be said."""

    def synthesise(self, text: str, voice: str, on_audio: OnAudio, *, stretch: float = 1.0) -> bool:
        if "bad" in text:
            raise LocalError("cannot say that")
        return all(on_audio(bytes(3200), 16000) for _ in text)


@dataclass
class Line:
    speaker: Speaker
    port: FakeMediaPort
    clock: VirtualClock
    events: list[SpeakerEvent] = field(default_factory=list)


@pytest_asyncio.fixture
async def line() -> AsyncIterator[Line]:
    clock = VirtualClock(autojump=False)
    port = FakeMediaPort(clock)
    voices = Voices(Beeper())
    events: list[SpeakerEvent] = []
    speaker = Speaker(voices=voices, voice="slt", port=port, clock=clock, report=events.append)
    task = asyncio.create_task(speaker.run())
    yield Line(speaker, port, clock, events)
    task.cancel()
    await asyncio.wait((task,))
    await port.close()
    voices.close()


async def test_items_are_sent_one_after_the_other(line: Line) -> None:
    first, second = line.speaker.say("Ab."), line.speaker.say("Cd.")
    assert first is not None
    assert second is not None
    await wait_until(lambda: len(line.events) == 2)
    assert line.events == [Spoken(first, "Ab."), Spoken(second, "Cd.")]
    steps = [(what, detail) for _, what, detail in line.port.journal.entries]
    assert steps.index(("end_item", first)) < steps.index(("play", second))
    assert not line.speaker.silent
    assert line.speaker.ended(first)
    assert line.speaker.ended(second)
    assert not line.speaker.ended(second)
    assert line.speaker.silent


async def test_what_cannot_be_said_is_reported_and_the_next_item_said(line: Line) -> None:
    bad, good = line.speaker.say("A bad word."), line.speaker.say("Good.")
    await wait_until(lambda: len(line.events) == 2)
    assert isinstance(line.events[0], Unspoken)
    assert (line.events[0].item, line.events[1]) == (bad, Spoken(str(good), "Good."))
    assert line.speaker.open_items == (good,)


async def test_items_are_bounded(line: Line) -> None:
    assert all(line.speaker.say("A.") for _ in range(MAX_ITEMS))
    assert line.speaker.say("One too many.") is None
    assert len(line.speaker.cancel()) == MAX_ITEMS
    assert line.speaker.silent
    assert line.speaker.say("Again.")


async def test_a_new_item_waits_for_the_flush_of_the_one_it_replaces(line: Line) -> None:
    first = line.speaker.say("Abcdef.")
    assert first is not None
    await wait_until(lambda: bool(line.events))
    line.speaker.started(first)
    line.speaker.cancel()
    second = line.speaker.say("New.")
    await line.clock.advance(100 * MS)
    assert ("media", "play", second) not in line.port.journal.entries
    line.speaker.flushed()
    await wait_until(lambda: ("media", "play", second) in line.port.journal.entries)


async def test_a_flush_that_never_comes_is_not_waited_for_for_ever(line: Line) -> None:
    first = line.speaker.say("Abcdef.")
    assert first is not None
    await wait_until(lambda: bool(line.events))
    line.speaker.started(first)
    line.speaker.cancel()
    second = line.speaker.say("New.")
    await line.clock.advance(400 * MS)
    await wait_until(lambda: ("media", "play", second) in line.port.journal.entries)
