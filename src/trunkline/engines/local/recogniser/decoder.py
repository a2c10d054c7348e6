"""Pocketsphinx decoders: a bounded pool, and one utterance at a time on each.

Everything here blocks and belongs on worker threads. A decoder costs about 13 MB and some tens of milliseconds to
make, so they are pooled, made when first needed and never more than ``size``.
"""

import logging
import tempfile
import threading
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from trunkline.engines.local.audio import Samples
from trunkline.engines.local.recogniser.features import CEPSTRA, Frames, Network, Widener
from trunkline.engines.local.recogniser.grammar import Grammar, Search
from trunkline.engines.local.recogniser.lexicon import Pronounce, dictionary, pronunciations
from trunkline.model import LocalProtocolError, Missing

log = logging.getLogger(__name__)

MAX_GRAMMARS: Final = 24
"""Grammars kept compiled in one decoder; the least recently used one makes room."""
MAX_UTTERANCE_FRAMES: Final = 30 * 100
"""Speech after 30 s of one utterance is not decoded any more."""

FRAMES_AT_A_TIME: Final = 8

START_CMN: Final = "49.2,1.0,6.4,4.5,-0.3,1.2,-2.6,1.9,1.4,3.5,1.5,4.7,2.8"


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """What was heard; ``text`` is empty when nothing fitted the grammar."""

    text: str
    words: tuple[tuple[str, int, int], ...] = ()
    """Each word with its start and end in ms from the start of the utterance's audio."""


NOTHING: Final = Hypothesis("")


def _import() -> Any:
    try:
        import pocketsphinx
    except ImportError as failed:
        raise Missing(
            f"the speech recogniser cannot be loaded: {failed}", hint="pip install 'pocketsphinx>=5.1'"
        ) from failed
    return pocketsphinx


class Decoder:
    """One decoder with its compiled grammars. Not for two threads at a time."""

    def __init__(self, *, pronounce: Pronounce | None = None) -> None:
        sphinx = _import()
        self._sphinx = sphinx
        self._known = dictionary(Path(sphinx.get_model_path("en-us/cmudict-en-us.dict")))
        self._pronounce = pronounce
        self._learnt: frozenset[str] = frozenset()
        # A decoder is as large as its dictionary, and one that begins with 135,000 words takes three times the
        # memory: it begins with one word and learns those of its grammars.
        with tempfile.NamedTemporaryFile("w", suffix=".dict", encoding="ascii") as file:
            file.write("a AH\n")
            file.flush()
            # Best-path rescoring of a digit loop's lattice can take longer than the call.
            self._decoder = sphinx.Decoder(
                lm=None, dict=file.name, loglevel="FATAL", bestpath=False, cmninit=START_CMN
            )
        self._grammars: OrderedDict[str, None] = OrderedDict()

    def use(self, grammar: Grammar) -> None:
        """Make ``grammar`` the current one. ``LocalError`` when a word of it has no pronunciation."""
        name = grammar.name
        if name not in self._grammars:
            self._compile(grammar)
        self._grammars[name] = None
        self._grammars.move_to_end(name)
        self._decoder.activate_search(name)
        while len(self._grammars) > MAX_GRAMMARS:
            oldest, _ = self._grammars.popitem(last=False)
            self._decoder.remove_search(oldest)

    def _compile(self, grammar: Grammar) -> None:
        self._learn(grammar.words - self._learnt)
        if grammar.search is Search.JSGF:
            self._decoder.add_jsgf_string(grammar.name, grammar.source)
            return
        with tempfile.NamedTemporaryFile("w", suffix=".lm", encoding="ascii") as file:
            file.write(grammar.source)
            file.flush()
            self._decoder.add_lm_file(grammar.name, file.name)

    def _learn(self, words: frozenset[str]) -> None:
        found = pronunciations(words, self._known, self._pronounce)
        spoken = [
            (word if number == 1 else f"{word}({number})", phones)
            for word, variants in found.items()
            for number, phones in enumerate(variants, start=1)
            if (word, number) != ("a", 1)
        ]
        for left, (word, phones) in zip(range(len(spoken) - 1, -1, -1), spoken, strict=True):
            # Updating rebuilds every search: once is enough.
            self._decoder.add_word(word, phones, update=left == 0)
        self._learnt |= words

    def start(self, cmn: str) -> None:
        """Begin an utterance with the cepstral means ``cmn`` of this line, as ``end`` returned them."""
        self._decoder.set_cmn(cmn)
        self._decoder.start_utt()

    def feed(self, cepstra: Frames) -> None:
        """Search on with more frames. Pocketsphinx holds the interpreter's lock, so it gets them in small pieces."""
        for at in range(0, len(cepstra), FRAMES_AT_A_TIME):
            self._decoder.process_cep(cepstra[at : at + FRAMES_AT_A_TIME].tobytes())

    def hypothesis(self) -> Hypothesis:
        """The best words up to now."""
        best = self._decoder.hyp()
        if best is None or not best.hypstr:
            return NOTHING
        words = tuple(
            (segment.word.split("(")[0], segment.start_frame * 10, segment.end_frame * 10 + 10)
            for segment in self._decoder.seg()
            if segment.word[0] not in "<[+("
        )
        return Hypothesis(" ".join(word for word, _, _ in words), words)

    def end(self) -> tuple[Hypothesis, str]:
        """Finish: the words, and the line's cepstral means for its next utterance."""
        self._decoder.end_utt()
        return self.hypothesis(), str(self._decoder.get_cmn(update=False))


class Decoders:
    """At most ``size`` decoders, handed out to one utterance each. Safe for threads."""

    def __init__(
        self, size: int, *, network: Network | None = None, pronounce: Pronounce | None = None
    ) -> None:
        if size < 1:
            raise ValueError("a pool needs at least one decoder")
        self._size = size
        self._network = network or Network.bundled()
        self._pronounce = pronounce
        self._lock = threading.Lock()
        self._idle: list[Decoder] = []
        self._made = 0
        self._closed = False
        self.refused = 0
        """Times that no decoder was free."""

    @property
    def busy(self) -> int:
        """Decoders that are out with an utterance."""
        with self._lock:
            return self._made - len(self._idle)

    def warm(self, count: int, grammars: tuple[Grammar, ...] = ()) -> None:
        """Make up to ``count`` decoders now and compile ``grammars`` in each. Raises what is wrong with them."""
        taken: list[Decoder] = []
        try:
            for _ in range(min(count, self._size)):
                decoder = self._take()
                if decoder is None:
                    break
                taken.append(decoder)
                for grammar in grammars[-MAX_GRAMMARS:]:
                    decoder.use(grammar)
        finally:
            for decoder in taken:
                self._put_back(decoder)

    def utterance(self, grammar: Grammar, cmn: str = START_CMN) -> "Utterance | None":
        """Begin an utterance; None when all decoders are busy (counted in ``refused``)."""
        decoder = self._take()
        if decoder is None:
            return None
        try:
            decoder.use(grammar)
            decoder.start(cmn)
        except BaseException:
            self._put_back(decoder)
            raise
        return Utterance(self, decoder, Widener(self._network))

    def close(self) -> None:
        """Free the idle decoders; those that are out are freed when their utterance ends."""
        with self._lock:
            self._closed = True
            self._made -= len(self._idle)
            self._idle.clear()

    def _take(self) -> Decoder | None:
        with self._lock:
            if self._closed:
                raise LocalProtocolError("the recogniser was closed")
            if self._idle:
                return self._idle.pop()
            if self._made >= self._size:
                self.refused += 1
                return None
            self._made += 1
        try:
            return Decoder(pronounce=self._pronounce)
        except BaseException:
            with self._lock:
                self._made -= 1
            raise

    def _put_back(self, decoder: Decoder | None) -> None:
        with self._lock:
            if decoder is None or self._closed:
                self._made -= 1
            else:
                self._idle.append(decoder)


class Utterance:
    """One stretch of a caller's speech being decoded. ``finish`` or ``abandon`` gives the decoder back."""

    def __init__(self, pool: Decoders, decoder: Decoder, widener: Widener) -> None:
        self._pool = pool
        self._decoder: Decoder | None = decoder
        self._widener = widener
        self._frames = 0

    def feed(self, samples: Samples) -> None:
        """More 8 kHz audio."""
        self._search(self._widener.push(samples))

    def partial(self) -> Hypothesis:
        """The words up to now."""
        return self._decoder.hypothesis() if self._decoder is not None else NOTHING

    def finish(self) -> tuple[Hypothesis, str]:
        """The final words, and the line's cepstral means for its next utterance."""
        if self._decoder is None:
            raise LocalProtocolError("an utterance was finished twice")
        try:
            self._search(self._widener.flush())
            return self._decoder.end()
        finally:
            self._give_back()

    def abandon(self) -> None:
        """Stop without a result; harmless when finished."""
        if self._decoder is None:
            return
        try:
            self._decoder.end()
        finally:
            self._give_back()

    def _search(self, cepstra: Frames) -> None:
        if self._decoder is None:
            raise LocalProtocolError("audio for an utterance that has ended")
        room = MAX_UTTERANCE_FRAMES - self._frames
        if room > 0 and len(cepstra):
            assert cepstra.shape[1] == CEPSTRA
            self._frames += len(cepstra)
            self._decoder.feed(cepstra[:room])

    def _give_back(self) -> None:
        decoder, self._decoder = self._decoder, None
        self._pool._put_back(decoder)  # noqa: SLF001 - the pool's own half
