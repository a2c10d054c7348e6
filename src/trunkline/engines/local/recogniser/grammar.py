"""What may be said next: a closed grammar (JSGF) or a small language model made from example sentences.

Pure data. Words are lower case, as in the recogniser's dictionary. A grammar knows its words, so that pronunciations
are looked up, and mistakes reported, before a call.
"""

import hashlib
import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

DIGIT_WORDS: Final = {
    "zero": "0",
    "oh": "0",
    "one": "1",
    "two": "2",
    "three": "3",
    "four": "4",
    "five": "5",
    "six": "6",
    "seven": "7",
    "eight": "8",
    "nine": "9",
}
"""Spoken digits; what people say for 0 is both ``zero`` and ``oh``."""

_NOT_SPOKEN: Final = re.compile(r"[^a-z' ]+")
_SPACES: Final = re.compile(r"\s+")
MAX_SENTENCES: Final = 2000


class Search(StrEnum):
    """How the recogniser searches."""

    JSGF = "jsgf"
    """Only what the grammar holds can be heard."""
    NGRAM = "ngram"
    """Any order of the known words, likelier the closer to the examples."""


@dataclass(frozen=True, slots=True)
class Grammar:
    """Source text for the decoder (JSGF or ARPA), its words, and a name that is a hash of it."""

    search: Search
    source: str
    words: frozenset[str]

    @property
    def name(self) -> str:
        """The same source has the same name in every process."""
        return hashlib.sha256(self.source.encode()).hexdigest()[:16]


def spoken_words(text: str) -> list[str]:
    """Lower-case words without punctuation.

    >>> spoken_words("What's my order's status?")
    ["what's", 'my', "order's", 'status']
    """
    bare = _NOT_SPOKEN.sub(" ", text.lower().replace("\N{RIGHT SINGLE QUOTATION MARK}", "'"))
    return [word for word in (raw.strip("'") for raw in _SPACES.split(bare)) if word]


def _jsgf(rules: Sequence[str]) -> str:
    return "#JSGF V1.0;\ngrammar state;\n" + "\n".join(rules) + "\n"


def _alternatives(phrases: Iterable[str]) -> str:
    return " | ".join(dict.fromkeys(" ".join(spoken_words(phrase)) for phrase in phrases))


def phrases(choices: Sequence[str]) -> Grammar:
    """Exactly one of ``choices``."""
    source = _jsgf([f"public <heard> = {_alternatives(choices)};"])
    return Grammar(
        Search.JSGF, source, frozenset(word for choice in choices for word in spoken_words(choice))
    )


def digits(
    shortest: int, longest: int, *, lead_ins: Sequence[str] = (), escapes: Sequence[str] = ()
) -> Grammar:
    """``shortest`` to ``longest`` digits after an optional lead-in ("it's"), or one of the ``escapes``."""
    if not 1 <= shortest <= longest <= 32:
        raise ValueError("digits: 1 <= shortest <= longest <= 32")
    digit = "<digit>"
    run = " ".join([digit] * shortest) + f" [ {digit}" * (longest - shortest) + " ]" * (longest - shortest)
    opening = f"[ {_alternatives(lead_ins)} ] " if lead_ins else ""
    rules = [f"<digit> = {' | '.join(DIGIT_WORDS)};", f"<run> = {opening}{run};"]
    top = "<run>" + (f" | {_alternatives(escapes)}" if escapes else "")
    words = {word for phrase in (*lead_ins, *escapes) for word in spoken_words(phrase)}
    return Grammar(
        Search.JSGF, _jsgf([*rules, f"public <heard> = {top};"]), frozenset(words | DIGIT_WORDS.keys())
    )


def language_model(sentences: Sequence[str]) -> Grammar:
    """A trigram model of ``sentences``, backing off to pairs and single words."""
    if not 1 <= len(sentences) <= MAX_SENTENCES:
        raise ValueError(f"a language model needs 1 to {MAX_SENTENCES} sentences")
    spoken = [spoken_words(sentence) for sentence in sentences]
    words = frozenset(word for sentence in spoken for word in sentence)
    return Grammar(Search.NGRAM, _arpa(spoken), words)


_DISCOUNT: Final = 0.5


def _arpa(sentences: list[list[str]]) -> str:
    """ARPA text by interpolation-free absolute discounting (Katz-style back-off)."""
    counts: list[Counter[tuple[str, ...]]] = [Counter(), Counter(), Counter()]
    for sentence in sentences:
        marked = ["<s>", *sentence, "</s>"]
        for order in (1, 2, 3):
            for at in range(len(marked) - order + 1):
                counts[order - 1][tuple(marked[at : at + order])] += 1
    del counts[0][("<s>",)]
    total = sum(counts[0].values()) + 0.5 * len(counts[0])
    chance: dict[tuple[str, ...], float] = {gram: (n + 0.5) / total for gram, n in counts[0].items()}
    backoff: dict[tuple[str, ...], float] = {}
    for order in (2, 3):
        followers: dict[tuple[str, ...], list[tuple[str, ...]]] = defaultdict(list)
        for gram in counts[order - 1]:
            followers[gram[:-1]].append(gram)
        for history, grams in followers.items():
            seen = sum(counts[order - 1][gram] for gram in grams)
            for gram in grams:
                chance[gram] = (counts[order - 1][gram] - _DISCOUNT) / seen
            left = _DISCOUNT * len(grams) / seen
            covered = sum(chance.get(gram[1:], 0.0) for gram in grams)
            backoff[history] = left / max(1e-9, 1.0 - covered)
    return _write_arpa(counts, chance, backoff)


def _write_arpa(
    counts: list[Counter[tuple[str, ...]]],
    chance: dict[tuple[str, ...], float],
    backoff: dict[tuple[str, ...], float],
) -> str:
    def log(value: float) -> str:
        return f"{math.log10(max(value, 1e-9)):.4f}"

    ones = sorted({*counts[0], ("<s>",)})
    lines = ["\\data\\", f"ngram 1={len(ones)}", f"ngram 2={len(counts[1])}", f"ngram 3={len(counts[2])}"]
    for order, grams in enumerate((ones, sorted(counts[1]), sorted(counts[2])), start=1):
        lines += ["", f"\\{order}-grams:"]
        for gram in grams:
            chances = log(chance[gram]) if gram in chance else "-99"
            tail = f" {log(backoff.get(gram, 1.0))}" if order < 3 else ""
            lines.append(f"{chances} {' '.join(gram)}{tail}")
    return "\n".join([*lines, "", "\\end\\", ""])


def heard_digits(text: str) -> str:
    """The digits among the words of a hypothesis.

    >>> heard_digits("it's four oh seven")
    '407'
    """
    return "".join(DIGIT_WORDS.get(word, "") for word in text.split())
