"""Prepared sentences: text with ``{field}`` and ``{field:filter}``, and ``[optional parts]``.

A total language: no expressions, no attribute access, no code. A part in brackets is left out when one of its
fields has no value. Values are put in as they are; a value that looks like a template stays text.
"""

import datetime as dt
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from trunkline.model.words import MONTHS

MAX_VALUE: Final = 300
"""Longest value that is spoken; the rest is cut."""

_FIELD: Final = re.compile(r"\{([a-z][a-z0-9_.]*)(?::([a-z]+))?\}")
_PART: Final = re.compile(r"\[([^\[\]]*)\]")


class NoValue(Exception):  # noqa: N818 - reads as what it says
    """A field that the sentence needs has no value."""


@dataclass(frozen=True, slots=True)
class Place:
    """A field in a sentence."""

    field: str
    filter: str


@dataclass(frozen=True, slots=True)
class Sentence:
    """A compiled template: groups of pieces; a group is optional as a whole."""

    groups: tuple[tuple[bool, tuple[str | Place, ...]], ...]

    @property
    def places(self) -> tuple[Place, ...]:
        """Every field it uses."""
        return tuple(piece for _, pieces in self.groups for piece in pieces if isinstance(piece, Place))

    def say(self, values: Mapping[str, Any]) -> str:
        """The sentence. Raises ``NoValue`` when a field outside of brackets has none."""
        said: list[str] = []
        for optional, pieces in self.groups:
            try:
                said.append("".join(p if isinstance(p, str) else _speak(p, values) for p in pieces))
            except NoValue:
                if not optional:
                    raise
        return " ".join("".join(said).split())


def parse_sentence(text: str) -> Sentence:
    """Compile a template. Raises ``ValueError`` with what is wrong."""
    groups: list[tuple[bool, tuple[str | Place, ...]]] = []
    for index, chunk in enumerate(_PART.split(text)):
        if "[" in chunk or "]" in chunk:
            raise ValueError("brackets must be closed and may not be nested")
        if chunk:
            groups.append((index % 2 == 1, _pieces(chunk)))
    return Sentence(tuple(groups))


def unknown_places(sentence: Sentence, known: Mapping[str, str]) -> list[str]:
    """What is wrong with a sentence, given the fields there will be and the kind of value each holds (empty:
    not known)."""
    problems: list[str] = []
    for place in sentence.places:
        if place.field not in known:
            problems.append(f"there is no field {{{place.field}}}; there are: {', '.join(sorted(known))}")
        elif place.filter and known[place.field] and known[place.field] not in FILTERS[place.filter].kinds:
            problems.append(
                f"{{{place.field}}} is a {known[place.field]}, which {place.filter!r} cannot speak"
            )
    return problems


def _pieces(chunk: str) -> tuple[str | Place, ...]:
    pieces: list[str | Place] = []
    position = 0
    for match in _FIELD.finditer(chunk):
        _plain(chunk[position : match.start()], pieces)
        if match[2] and match[2] not in FILTERS:
            raise ValueError(f"there is no filter {match[2]!r}; there are: {', '.join(FILTERS)}")
        pieces.append(Place(match[1], match[2] or ""))
        position = match.end()
    _plain(chunk[position:], pieces)
    return tuple(pieces)


def _plain(text: str, pieces: list[str | Place]) -> None:
    if "{" in text or "}" in text:
        raise ValueError("write a field as {name} or {name:filter}")
    if text:
        pieces.append(text)


def _speak(place: Place, values: Mapping[str, Any]) -> str:
    value: Any = values
    for step in place.field.split("."):
        value = value.get(step) if isinstance(value, Mapping) else None
    if value is None or value == "":
        raise NoValue(place.field)
    text = FILTERS[place.filter].speak(value) if place.filter else _text(value)
    return text[:MAX_VALUE]


# --- filters: a value they cannot read is spoken as it is -------------------------------------------------


def _text(value: Any) -> str:
    return ("yes" if value else "no") if isinstance(value, bool) else str(value)


def _digits(value: Any) -> str:
    """Each character for itself: ``48213`` is ``4 8 2 1 3``."""
    return " ".join(character for character in str(value) if not character.isspace())


def _date(value: Any) -> str:
    """``2026-11-03`` is ``November 3rd, 2026``."""
    try:
        day = dt.date.fromisoformat(str(value)[:10])
    except ValueError:
        return str(value)
    return f"{MONTHS[day.month - 1]} {ordinal(day.day)}, {day.year}"


def _money(one: str, many: str, cent: str, cents: str) -> Callable[[Any], str]:
    def speak(value: Any) -> str:
        try:
            amount = Decimal(str(value)).quantize(Decimal("0.01"))
        except InvalidOperation:
            return str(value)
        sign = "minus " if amount < 0 else ""
        whole, part = divmod(int(abs(amount) * 100), 100)
        words = f"{whole} {one if whole == 1 else many}"
        return f"{sign}{words}" + (f" and {part} {cent if part == 1 else cents}" if part else "")

    return speak


def ordinal(number: int) -> str:
    """``1st``, ``2nd``, ``3rd``, ``11th``."""
    ending = "th" if 10 <= number % 100 <= 20 else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending}"


@dataclass(frozen=True, slots=True)
class Filter:
    """How a value is spoken, and which kinds of values make sense for it."""

    speak: Callable[[Any], str]
    kinds: Collection[str]


_WORDS: Final = ("text", "constant", "string")
_NUMBERS: Final = ("decimal", "integer", "number", "constant")
FILTERS: Final[Mapping[str, Filter]] = {
    "digits": Filter(_digits, (*_WORDS, "integer")),
    "date": Filter(_date, ("date", *_WORDS)),
    "dollars": Filter(_money("dollar", "dollars", "cent", "cents"), _NUMBERS),
    "euros": Filter(_money("euro", "euros", "cent", "cents"), _NUMBERS),
    "pounds": Filter(_money("pound", "pounds", "penny", "pence"), _NUMBERS),
    "lower": Filter(lambda value: str(value).lower(), _WORDS),
    "upper": Filter(lambda value: str(value).upper(), _WORDS),
}
