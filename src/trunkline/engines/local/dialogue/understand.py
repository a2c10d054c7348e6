"""From words to meaning: intents by likeness to examples, yes and no, days, choices. Pure functions.

The recogniser hears only words it was given, so likeness can be simple: shared words, weighted by how much each
tells one intent from another.
"""

import datetime as dt
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from trunkline.engines.local.recogniser import DIGIT_WORDS, spoken_words

PERSON_EXAMPLES: Final = (
    "agent",
    "agent please",
    "representative",
    "operator",
    "human",
    "person",
    "real person",
    "customer service",
    "talk to a person",
    "talk to an agent",
    "speak to an agent",
    "speak to a person",
    "speak to a human",
    "speak to a representative",
    "i want to talk to a person",
    "i want to speak to a person",
    "i would like to speak to a person",
    "i'd like to speak to a person",
    "can i talk to a person please",
    "can i speak to an agent",
    "can i speak to someone",
    "let me talk to a person",
    "let me speak to an agent",
    "give me an agent",
    "transfer me to an agent",
    "connect me to an agent please",
)
_PERSON_WORDS: Final = frozenset({"agent", "representative", "operator", "human", "person"})

GOODBYE_EXAMPLES: Final = (
    "goodbye",
    "bye",
    "bye bye",
    "thank you goodbye",
    "thanks bye",
    "that's all goodbye",
)
_GOODBYE_WORDS: Final = frozenset({"goodbye", "bye"})

YES_EXAMPLES: Final = (
    "yes",
    "yes please",
    "yes it is",
    "yes that's right",
    "yeah",
    "yep",
    "that's right",
    "that is correct",
    "correct",
    "right",
    "sure",
    "okay",
    "i do",
)
NO_EXAMPLES: Final = (
    "no",
    "no it's not",
    "no that's wrong",
    "that's wrong",
    "that's not right",
    "nope",
    "wrong",
    "not quite",
)
DONE_EXAMPLES: Final = (
    "no",
    "no thanks",
    "no thank you",
    "no that's all",
    "no that is all",
    "no that's it",
    "that's all",
    "that is all",
    "that's all thank you",
    "that will be all",
    "nothing else",
    "i'm done",
)
REPEAT_EXAMPLES: Final = (
    "repeat that",
    "repeat please",
    "please repeat that",
    "can you repeat that",
    "can you say that again",
    "say that again",
    "what did you say",
    "pardon",
)
WAIT_EXAMPLES: Final = (
    "one moment",
    "one moment please",
    "one second",
    "just a moment",
    "just a second",
    "wait a minute",
    "hold on",
    "hold on a second",
    "let me see",
    "let me check",
)
LOST_EXAMPLES: Final = (
    "i don't know",
    "i don't have it",
    "i don't have it with me",
    "i don't know it",
    "i'm not sure",
)
"""Heard in a slot, these are failures: better than digits made of them."""

_YES: Final = frozenset({"yes", "yeah", "yep", "correct", "right", "sure", "okay", "do"})
_NO: Final = frozenset({"no", "nope", "wrong", "not", "nothing", "done", "all"})

_CERTAIN: Final = 0.999
_ENOUGH: Final = 0.5
_MARGIN: Final = 0.05


def wants_person(words: Sequence[str]) -> bool:
    """Asks for a person, in whatever sentence."""
    return bool(_PERSON_WORDS.intersection(words)) or " ".join(words) in PERSON_EXAMPLES


def says_goodbye(words: Sequence[str]) -> bool:
    """Takes leave."""
    return bool(_GOODBYE_WORDS.intersection(words))


def wants_repeat(words: Sequence[str]) -> bool:
    """Asks to hear the last words again."""
    return " ".join(words) in REPEAT_EXAMPLES


def asks_to_wait(words: Sequence[str]) -> bool:
    """Needs time."""
    return " ".join(words) in WAIT_EXAMPLES


def yes_or_no(words: Sequence[str]) -> bool | None:
    """True for yes, False for no, None for neither; "not" and "wrong" beat "right".

    >>> yes_or_no(["that's", "not", "right"]), yes_or_no(["that's", "right"]), yes_or_no(["maybe"])
    (False, True, None)
    """
    if _NO.intersection(words):
        return False
    return True if _YES.intersection(words) else None


@dataclass(frozen=True, slots=True)
class Match:
    """The likeliest intent and how alike (0 to 1) its best example is."""

    name: str
    score: float

    @property
    def certain(self) -> bool:
        """The words are an example."""
        return self.score >= _CERTAIN


class Matcher:
    """Finds the example that words resemble most."""

    def __init__(self, examples: Mapping[str, Iterable[str]]) -> None:
        self._examples = {
            name: [frozenset(spoken_words(text)) for text in texts] for name, texts in examples.items()
        }
        spread = Counter(word for sets in self._examples.values() for word in frozenset().union(*sets))
        self._weights = {word: math.log(1 + len(self._examples) / n) for word, n in spread.items()}
        self._exact = {
            " ".join(spoken_words(text)): name for name, texts in examples.items() for text in texts
        }

    def match(self, words: Sequence[str]) -> Match | None:
        """The intent that ``words`` mean; None when none is alike enough or two are equally alike."""
        exact = self._exact.get(" ".join(words))
        if exact is not None:
            return Match(exact, 1.0)
        said = frozenset(words) - DIGIT_WORDS.keys()
        ranked = sorted(
            (
                Match(name, max(self._alike(said, example) for example in sets))
                for name, sets in self._examples.items()
            ),
            key=lambda match: -match.score,
        )
        best, *others = ranked
        if best.score < _ENOUGH or (others and best.score - others[0].score < _MARGIN):
            return None
        return Match(best.name, min(best.score, 0.99))

    def _alike(self, said: frozenset[str], example: frozenset[str]) -> float:
        if not said or not example:
            return 0.0
        both = self._weight(said & example)
        return 2 * both / (self._weight(said) + self._weight(example))

    def _weight(self, words: Iterable[str]) -> float:
        return sum(self._weights.get(word, 0.3) for word in words)


# --- days ----------------------------------------------------------------------------------------------

MONTHS: Final = (
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
)
WEEKDAYS: Final = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
ORDINALS: Final = (
    "first",
    "second",
    "third",
    "fourth",
    "fifth",
    "sixth",
    "seventh",
    "eighth",
    "ninth",
    "tenth",
    "eleventh",
    "twelfth",
    "thirteenth",
    "fourteenth",
    "fifteenth",
    "sixteenth",
    "seventeenth",
    "eighteenth",
    "nineteenth",
    "twentieth",
    "twenty first",
    "twenty second",
    "twenty third",
    "twenty fourth",
    "twenty fifth",
    "twenty sixth",
    "twenty seventh",
    "twenty eighth",
    "twenty ninth",
    "thirtieth",
    "thirty first",
)
RELATIVE: Final = {"yesterday": -1, "today": 0, "tomorrow": 1}


def day(words: Sequence[str], today: dt.date, *, future: bool) -> dt.date | None:
    """The day that ``words`` name; None when they name none that exists.

    >>> day("march third".split(), dt.date(2026, 11, 20), future=True)
    datetime.date(2027, 3, 3)
    """
    for word in words:
        if word in RELATIVE:
            return today + dt.timedelta(days=RELATIVE[word])
        if word in WEEKDAYS:
            ahead = (WEEKDAYS.index(word) - today.weekday()) % 7
            return today + dt.timedelta(days=(ahead or 7) if future else (ahead - 7))
    month = next((MONTHS.index(word) + 1 for word in words if word in MONTHS), None)
    number = _ordinal(words)
    return (
        month_day(month, number, today, future=future) if month is not None and number is not None else None
    )


def _ordinal(words: Sequence[str]) -> int | None:
    text = f" {' '.join(words)} "
    found = [number for number, name in enumerate(ORDINALS, start=1) if f" {name} " in text]
    return max(found, default=None)


def month_day(month: int, number: int, today: dt.date, *, future: bool) -> dt.date | None:
    """The nearest such day in the direction; None when no year has it."""
    years = range(today.year, today.year + 9) if future else range(today.year, today.year - 9, -1)
    for year in years:
        try:
            found = dt.date(year, month, number)
        except ValueError:
            continue
        if (found >= today) if future else (found <= today):
            return found
    return None
