"""Speech on the event loop: streaming, cancelling, bounds, the cache; and libflite itself."""

import threading
from collections.abc import Callable, Iterator
from contextlib import aclosing

import numpy as np
import pytest

from trunkline.engines.local.audio import to_samples
from trunkline.engines.local.voice import RATE, VOICES, Flite, Voices
from trunkline.engines.local.voice.flite import MAX_UTTERANCE_CHARS, OnAudio
from trunkline.model import LocalError, LocalProtocolError, Missing, Overloaded
from trunkline.testing import wait_until


class Typist:
    """A synthesiser: two samples for every character, one character at a time, when it may."""

    def __init__(self, *, rate: int = RATE, gate: threading.Event | None = None, fails: bool = False) -> None:
        self.spoken: list[str] = []
        self.stopped = 0
        self._rate = rate
        self._gate = gate
        self._fails = fails

    def synthesise(self, text: str, voice: str, on_audio: OnAudio, *, stretch: float = 1.0) -> bool:
        self.spoken.append(text)
        if self._fails:
            raise LocalError(f"no voice {voice}", hint=str(stretch))
        for char in text:
            if not on_audio(bytes([ord(char), 0, 0, 0]), self._rate):
                self.stopped += 1
                return False
            if self._gate is not None:
                self._gate.wait(5)
        return True


@pytest.fixture
def open_voices() -> Iterator[Callable[..., Voices]]:
    made: list[Voices] = []

    def make(synthesiser: Typist, **bounds: int) -> Voices:
        made.append(Voices(synthesiser, **bounds))
        return made[-1]

    yield make
    for voices in made:
        voices.close()


Make = Callable[..., Voices]


async def test_sentences_are_made_in_order(open_voices: Make) -> None:
    typist = Typist()
    pcm = await open_voices(typist).render("Ab. Cd 2.", "slt")
    assert typist.spoken == ["Ab.", "Cd two."]
    assert bytes(pcm[::4]) == b"Ab.Cd two."


async def test_the_next_sentence_waits_until_the_last_was_taken(open_voices: Make) -> None:
    typist = Typist()
    async with aclosing(open_voices(typist).speak("A. B. C.", "slt")) as pieces:
        await anext(pieces)
        assert typist.spoken == ["A."]


async def test_closing_the_stream_stops_the_synthesiser(open_voices: Make) -> None:
    gate = threading.Event()
    typist = Typist(gate=gate)
    async with aclosing(open_voices(typist).speak("A long sentence.", "slt")) as pieces:
        await anext(pieces)
    gate.set()
    await wait_until(lambda: typist.stopped == 1)


async def test_what_the_synthesiser_raises_arrives(open_voices: Make) -> None:
    with pytest.raises(LocalError, match="no voice"):
        await open_voices(Typist(fails=True)).render("Hello.", "slt")


async def test_kept_phrases_are_made_once_and_others_are_forgotten(open_voices: Make) -> None:
    typist = Typist()
    voices = open_voices(typist)
    first = await voices.render("Hello.", "slt", keep=True)
    assert await voices.render("Hello.", "slt", keep=True) == first
    assert len(typist.spoken) == 1
    await voices.render("Hello.", "rms", keep=True)
    await voices.render("Mr. Smith.", "slt")
    await voices.render("Mr. Smith.", "slt")
    assert len(typist.spoken) == 6


async def test_the_cache_has_a_bound_and_forgets_the_least_used(open_voices: Make) -> None:
    typist = Typist()
    voices = open_voices(typist, cache_bytes=50)
    for text in ("Aaaa.", "Bbbb.", "Aaaa.", "Cccc.", "Aaaa.", "Bbbb."):
        await voices.render(text, "slt", keep=True)
    assert typist.spoken == ["Aaaa.", "Bbbb.", "Cccc.", "Bbbb."]
    await voices.render("Much too long to be kept.", "slt", keep=True)
    assert await voices.render("Bbbb.", "slt", keep=True)
    assert len(typist.spoken) == 5


async def test_only_so_many_texts_may_wait(open_voices: Make) -> None:
    gate = threading.Event()
    voices = open_voices(Typist(gate=gate), threads=1, waiting=1)
    async with aclosing(voices.speak("One.", "slt")) as one, aclosing(voices.speak("Two.", "slt")) as two:
        await anext(one)
        second = anext(two)
        with pytest.raises(Overloaded):
            await asyncio_both(second, voices, gate)
    await voices.render("Four.", "slt")


async def asyncio_both(second: object, voices: Voices, gate: threading.Event) -> None:
    """Let the second text begin to wait, then ask for a third."""
    import asyncio

    waiting = asyncio.ensure_future(second)  # type: ignore[call-overload]
    try:
        await asyncio.sleep(0)  # noqa: TID251 - one turn of the loop, no time
        await voices.render("Three.", "slt")
    finally:
        gate.set()
        await waiting


async def test_bad_requests_are_refused(open_voices: Make) -> None:
    voices = open_voices(Typist())
    with pytest.raises(LocalError, match="no voice 'bob'"):
        await voices.render("Hello.", "bob")
    with pytest.raises(LocalError, match="5000 characters"):
        await voices.render("x" * 5000, "slt")
    voices.close()
    with pytest.raises(LocalProtocolError):
        await voices.render("Hello.", "slt")


async def test_a_voice_of_8_khz_is_doubled(open_voices: Make) -> None:
    wide = await open_voices(Typist(rate=8000)).render("Hello there.", "kal")
    assert len(wide) // 2 == 2 * 2 * len("Hello there.") + 16


# --- libflite ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("voice", VOICES)
def test_every_voice_speaks_in_pieces(flite: Flite, voice: str) -> None:
    pieces: list[tuple[int, int]] = []
    whole = bytearray()

    def keep(pcm: bytes, rate: int) -> bool:
        pieces.append((len(pcm), rate))
        whole.extend(pcm)
        return True

    assert flite.synthesise("One moment, please.", voice, keep)
    rate = pieces[0][1]
    assert rate == (8000 if voice == "kal" else 16000)
    assert pieces[0][0] <= 0.1 * rate * 2, "the first piece comes early"
    assert len(pieces) > 3
    samples = to_samples(bytes(whole))
    assert 0.7 < samples.size / rate < 3
    assert 300 < float(np.sqrt(np.mean(samples**2))) < 12000


def test_stretch_and_pitch(flite: Flite) -> None:
    sizes = []
    for stretch in (1.0, 1.5):
        size = 0

        def count(pcm: bytes, _rate: int) -> bool:
            nonlocal size
            size += len(pcm)
            return True

        flite.synthesise("One moment, please.", "slt", count, stretch=stretch, pitch=1.2)
        sizes.append(size)
    assert 1.4 < sizes[1] / sizes[0] < 1.6


def test_an_exception_in_the_listener_comes_out_of_the_library(flite: Flite) -> None:
    def bad(_pcm: bytes, _rate: int) -> bool:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        flite.synthesise("Hello.", "slt", bad)
    assert flite.synthesise("Hello.", "slt", lambda _pcm, _rate: False) is False


def test_too_long_and_unknown_are_refused(flite: Flite) -> None:
    with pytest.raises(LocalError, match="characters"):
        flite.synthesise("x" * (MAX_UTTERANCE_CHARS + 1), "slt", lambda _pcm, _rate: True)
    with pytest.raises(LocalError, match="no voice"):
        flite.synthesise("Hello.", "../../x", lambda _pcm, _rate: True)


def test_threads_share_voices(flite: Flite) -> None:
    """Lengths are the same from every thread; samples are not, for the voices' breath is random."""
    lengths: dict[tuple[str, str], set[int]] = {}
    lock = threading.Lock()

    def work() -> None:
        for voice in ("slt", "awb", "kal16"):
            for text in ("Hello there.", "One two three."):
                size = [0]

                def count(pcm: bytes, _rate: int, size: list[int] = size) -> bool:
                    size[0] += len(pcm)
                    return True

                flite.synthesise(text, voice, count)
                with lock:
                    lengths.setdefault((voice, text), set()).add(size[0])

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(lengths) == 6
    assert all(len(sizes) == 1 for sizes in lengths.values())


def test_pronunciations(flite: Flite) -> None:
    assert flite.pronounce("hello") == ["HH", "AH", "L", "OW"]
    assert flite.pronounce("trunkline")[:5] == ["T", "R", "AH", "NG", "K"]
    assert flite.pronounce("") == []


def test_a_missing_library_names_the_package() -> None:
    with pytest.raises(Missing, match="apt-get install libflite1"):
        Flite("libflite-that-nobody-has.so.1")
