"""Speech for a call, streamed while it is being made: a bounded thread pool around the synthesiser.

Sentences are synthesised one after another, the next one only when the listener has taken the last, so memory per
answer is bounded by one sentence and a cancelled answer stops within a sentence's first 120 ms piece.
"""

import asyncio
import threading
from collections import OrderedDict
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from typing import Final, Protocol

from trunkline.engines.local.audio import Doubler, to_pcm, to_samples
from trunkline.engines.local.voice.flite import VOICES, Flite, OnAudio
from trunkline.engines.local.voice.normalise import normalise, sentences
from trunkline.model import LocalError, LocalProtocolError, Overloaded

RATE: Final = 16000
"""Sample rate of everything ``Voices`` returns, PCM16LE mono."""
MAX_TEXT: Final = 4000
"""Characters of one text; about five minutes of speech."""
DEFAULT_VOICE: Final = "slt"


class Synthesiser(Protocol):
    """What ``Voices`` needs of a library (``Flite`` has it)."""

    def synthesise(self, text: str, voice: str, on_audio: OnAudio, *, stretch: float = 1.0) -> bool:
        """Speak one utterance in the calling thread, handing out audio as it is made."""
        ...


class Voices:
    """Text to 16 kHz speech. Create it on any thread, use it on the event loop, ``close`` it at the end.

    ``threads`` bounds how many sentences are synthesised at the same time and ``waiting`` how many more texts may
    wait; beyond it ``Overloaded`` is raised. ``cache_bytes`` bounds what ``keep=True`` holds; the least recently
    used phrase goes first.

    >>> voices = Voices()                                          # doctest: +SKIP
    >>> pcm = await voices.render("One moment, please.", "slt")    # doctest: +SKIP
    """

    def __init__(
        self,
        synthesiser: Synthesiser | None = None,
        *,
        threads: int = 2,
        waiting: int = 256,
        cache_bytes: int = 16 << 20,
    ) -> None:
        self._synthesiser = synthesiser if synthesiser is not None else Flite()
        self._executor = ThreadPoolExecutor(max_workers=threads, thread_name_prefix="voice")
        self._most = threads + waiting
        self._active = 0
        self._closed = False
        self._cache = _Cache(cache_bytes)

    @property
    def synthesiser(self) -> Synthesiser:
        """The library, for pronunciations."""
        return self._synthesiser

    async def speak(
        self, text: str, voice: str = DEFAULT_VOICE, *, stretch: float = 1.0, keep: bool = False
    ) -> AsyncGenerator[bytes, None]:
        """Pieces of speech as they are made (the first has 40 ms, the others about 120 ms).

        ``keep`` remembers the whole for the next time: for greetings and set phrases, not for what is said about a
        caller. Closing the generator (``contextlib.aclosing``) cancels. Raises ``LocalError`` for an unknown voice
        or too long a text, ``Overloaded`` when too many texts wait.
        """
        self._check(text, voice)
        key = (text, voice, stretch)
        known = self._cache.get(key) if keep else None
        if known is not None:
            yield known
            return
        self._active += 1
        try:
            made = bytearray()
            for sentence in sentences(normalise(text)):
                async with aclosing(self._sentence(sentence, voice, stretch)) as pieces:
                    async for piece in pieces:
                        if keep:
                            made += piece
                        yield piece
            if keep and made:
                self._cache.put(key, bytes(made))
        finally:
            self._active -= 1

    async def render(
        self, text: str, voice: str = DEFAULT_VOICE, *, stretch: float = 1.0, keep: bool = False
    ) -> bytes:
        """The whole text at once; errors as ``speak``."""
        async with aclosing(self.speak(text, voice, stretch=stretch, keep=keep)) as pieces:
            return b"".join([piece async for piece in pieces])

    def close(self) -> None:
        """Refuse new texts and let the threads go, waiting for the sentences in the making (a tenth of a second)."""
        self._closed = True
        self._executor.shutdown(cancel_futures=True)

    def _check(self, text: str, voice: str) -> None:
        if self._closed:
            raise LocalProtocolError("the voices were closed")
        if voice not in VOICES:
            raise LocalError(f"there is no voice {voice!r}", hint=f"voices: {', '.join(VOICES)}")
        if len(text) > MAX_TEXT:
            raise LocalError(f"a text of {len(text)} characters", hint=f"at most {MAX_TEXT}")
        if self._active >= self._most:
            raise Overloaded(f"{self._active} texts are being spoken or waiting for a voice thread")

    async def _sentence(self, sentence: str, voice: str, stretch: float) -> AsyncGenerator[bytes, None]:
        loop = asyncio.get_running_loop()
        # Bounded by the sentence's length, which sentences() bounds.
        pieces: asyncio.Queue[bytes | None] = asyncio.Queue()
        cancelled = threading.Event()

        def hand_over(piece: bytes | None) -> None:
            try:
                loop.call_soon_threadsafe(pieces.put_nowait, piece)
            except RuntimeError:  # the loop was closed under us: nobody listens any more
                cancelled.set()

        job = loop.run_in_executor(
            self._executor, _synthesise, self._synthesiser, sentence, voice, stretch, hand_over, cancelled
        )
        try:
            while (piece := await pieces.get()) is not None:
                yield piece
            await job
        finally:
            cancelled.set()
            if not job.cancel() and job.done() and not job.cancelled():
                job.exception()


def _synthesise(
    synthesiser: Synthesiser,
    sentence: str,
    voice: str,
    stretch: float,
    hand_over: Callable[[bytes | None], None],
    cancelled: threading.Event,
) -> None:
    doubler = Doubler()
    narrow = False

    def on_audio(pcm: bytes, rate: int) -> bool:
        nonlocal narrow
        if rate != RATE:
            narrow = True
            pcm = to_pcm(doubler.push(to_samples(pcm)))
        hand_over(pcm)
        return not cancelled.is_set()

    try:
        if not cancelled.is_set():
            synthesiser.synthesise(sentence, voice, on_audio, stretch=stretch)
            if narrow:
                hand_over(to_pcm(doubler.flush()))
    finally:
        hand_over(None)


class _Cache:
    """Least recently used phrases within a number of bytes."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._held = 0
        self._phrases: OrderedDict[tuple[str, str, float], bytes] = OrderedDict()

    def get(self, key: tuple[str, str, float]) -> bytes | None:
        phrase = self._phrases.get(key)
        if phrase is not None:
            self._phrases.move_to_end(key)
        return phrase

    def put(self, key: tuple[str, str, float], phrase: bytes) -> None:
        if len(phrase) > self._most:
            return
        self._held += len(phrase) - len(self._phrases.pop(key, b""))
        self._phrases[key] = phrase
        while self._held > self._most:
            _, oldest = self._phrases.popitem(last=False)
            self._held -= len(oldest)
