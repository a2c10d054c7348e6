"""One call's mouth: sentences in, audio items on the line out, and how much of each was heard.

Owns the order of items, their synthesis, and what remains of an item that was cut. Refuses what is said and why.
"""

import asyncio
import itertools
from collections import OrderedDict, deque
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Final

from trunkline.engines.local.voice import RATE, Voices, normalise
from trunkline.engines.local.voice.normalise import sentences
from trunkline.model import Clock, Nanos, TrunklineError, ms
from trunkline.telephony.media.port import EnginePort

MAX_ITEMS: Final = 64
"""Items that may wait or sound at a time; a further one is refused."""
FLUSH_PATIENCE: Final = ms(400)
"""How long a new item waits for the line to fall silent after an older one was cancelled."""


@dataclass(slots=True)
class Item:
    """Something being said."""

    name: str
    text: str
    fixed: bool
    sentences: list[tuple[str, float]] = field(default_factory=list)
    """Synthesised sentences with their length in ms; the last one may still grow."""
    cut: bool = False
    sent: bool = False


@dataclass(frozen=True, slots=True)
class Remains:
    """A cut item: what of its text was heard, the text from the interrupted sentence on, and whether all of its
    audio had been sent."""

    heard: str
    rest: str
    sent: bool


@dataclass(frozen=True, slots=True)
class Spoken:
    """All audio of an item has been sent."""

    item: str
    text: str


@dataclass(frozen=True, slots=True)
class Unspoken:
    """An item cannot be said."""

    item: str
    why: str


SpeakerEvent = Spoken | Unspoken


class Speaker:
    """See the module's docstring. ``run`` is its one task; everything else is called on the same loop."""

    def __init__(
        self,
        *,
        voices: Voices,
        voice: str,
        port: EnginePort,
        clock: Clock,
        report: Callable[[SpeakerEvent], None],
    ) -> None:
        self._voices = voices
        self._voice = voice
        self._port = port
        self._clock = clock
        self._report = report
        self._queue: deque[Item] = deque()
        self._open: OrderedDict[str, Item] = OrderedDict()
        self._more = asyncio.Event()
        self._silent = asyncio.Event()
        self._silent.set()
        self._sounding = ""
        self._count = 0

    @property
    def silent(self) -> bool:
        """Nothing sounds and nothing is about to."""
        return not self._open

    @property
    def open_items(self) -> tuple[str, ...]:
        """Items not yet heard to their end, oldest first."""
        return tuple(self._open)

    def say(self, text: str, *, fixed: bool = False) -> str | None:
        """Queue ``text``; returns the item's name, or None when ``MAX_ITEMS`` are open."""
        if len(self._open) >= MAX_ITEMS:
            return None
        self._count += 1
        item = Item(f"local-{self._count}", text, fixed)
        self._open[item.name] = item
        self._queue.append(item)
        self._more.set()
        return item.name

    def started(self, name: str) -> None:
        """The line carries ``name`` now."""
        self._sounding = name
        self._silent.clear()

    def ended(self, name: str) -> bool:
        """``name`` was heard to its end; True when it was one of ours."""
        if self._sounding == name:
            self._fell_silent()
        return self._open.pop(name, None) is not None

    def flushed(self) -> None:
        """The line fell silent."""
        self._fell_silent()

    def cut(self, name: str, heard_ms: float) -> Remains | None:
        """Stop ``name``, of which ``heard_ms`` were heard. None when it is not open."""
        item = self._open.pop(name, None)
        if item is None:
            return None
        item.cut = True
        if item in self._queue:
            self._queue.remove(item)
        heard, rest = split_heard(item.text, item.sentences, heard_ms)
        return Remains(heard, rest, item.sent)

    def cancel(self) -> list[str]:
        """Stop everything; returns the names of what was stopped."""
        stopped = list(self._open)
        for name in stopped:
            self.cut(name, 0)
        return stopped

    async def run(self) -> None:
        """Synthesise and send item after item, until cancelled."""
        while True:
            while not self._queue:
                self._more.clear()
                await self._more.wait()
            item = self._queue.popleft()
            await self._line_free()
            try:
                await self._speak(item)
            except TrunklineError as failed:
                self._open.pop(item.name, None)
                self._port.drop_item(item.name)
                self._report(Unspoken(item.name, str(failed)))
                continue
            if not item.cut:
                item.sent = True
                self._port.end_item(item.name)
                self._report(Spoken(item.name, item.text))

    async def _speak(self, item: Item) -> None:
        for sentence in sentences(item.text):
            item.sentences.append((sentence, 0.0))
            length = 0.0
            async with aclosing(self._voices.speak(sentence, self._voice, keep=item.fixed)) as pieces:
                async for pcm in pieces:
                    if item.cut:
                        return
                    self._port.play(item.name, pcm, RATE)
                    length += len(pcm) * 500 / RATE
                    item.sentences[-1] = (sentence, length)

    async def _line_free(self) -> None:
        """An item that was cancelled must not take a new one with it when the line is flushed."""
        if self._silent.is_set() or self._sounding in self._open:
            return
        limit = asyncio.ensure_future(self._clock.sleep_until(Nanos(self._clock.now() + FLUSH_PATIENCE)))
        silent = asyncio.ensure_future(self._silent.wait())
        try:
            await asyncio.wait((limit, silent), return_when=asyncio.FIRST_COMPLETED)
        finally:
            limit.cancel()
            silent.cancel()

    def _fell_silent(self) -> None:
        self._sounding = ""
        self._silent.set()


def split_heard(text: str, spoken: list[tuple[str, float]], heard_ms: float) -> tuple[str, str]:
    """What was heard of ``text``, by sentences and within one by words; and the rest, from the beginning of the
    sentence that was cut.

    >>> split_heard("One two. Three four.", [("One two.", 800.0), ("Three four.", 1000.0)], 1300)
    ('One two. Three', 'Three four.')
    """
    left = heard_ms
    heard: list[str] = []
    for index, (sentence, length) in enumerate(spoken):
        if length > 0 and left >= length - 1:
            heard.append(sentence)
            left -= length
            continue
        heard += _begun(sentence.split(), left / length if length > 0 else 0.0)
        done = [sentence for sentence, _ in spoken[:index]]
        return " ".join(heard), " ".join(sentences(text)[len(done) :])
    return " ".join(heard), " ".join(sentences(text)[len(spoken) :])


def _begun(words: list[str], share: float) -> list[str]:
    """Words of a sentence of which at least half was heard, when ``share`` of its time was. A word takes as long as
    what is said for it: a number takes longer than it looks."""
    lengths = [len(normalise(word)) + 1 for word in words]
    limit = share * sum(lengths)
    ends = itertools.accumulate(lengths)
    return [word for word, length, end in zip(words, lengths, ends, strict=True) if end - length / 2 <= limit]
