"""Names of people as systems store them: split, put in order, cased."""

import re
from typing import Final, NamedTuple

_SUFFIXES: Final = frozenset({"JR", "SR", "II", "III", "IV"})
_PREFIX: Final = re.compile(r"^(Mc)([a-z])")
_WORD: Final = re.compile(r"[^\W\d_]+", re.UNICODE)
_ROMAN: Final = frozenset({"Ii", "Iii", "Iv"})


class PersonName(NamedTuple):
    """Parts of a name; empty where it has none."""

    given: str
    middle: str
    family: str

    @property
    def full(self) -> str:
        """In spoken order: given, middle, family."""
        return " ".join(part for part in self if part)


def split_name(text: str) -> PersonName:
    """``LAST, FIRST MIDDLE`` when there is a comma, otherwise ``FIRST MIDDLE LAST``. A name of one word is a
    family name. A suffix (JR, III) stays with the family name.

    >>> split_name("GARCIA, MARIA L")
    PersonName(given='MARIA', middle='L', family='GARCIA')
    """
    text = " ".join(text.split())
    family, comma, rest = text.partition(",")
    if comma:
        words = rest.replace(",", " ").split()
        suffix = [word for word in words if word.rstrip(".").upper() in _SUFFIXES]
        words = [word for word in words if word not in suffix]
        family = " ".join([family.strip(), *suffix])
    else:
        words = text.split()
        last = [words.pop()] if words else []
        if words and last[0].rstrip(".").upper() in _SUFFIXES:
            last.insert(0, words.pop())
        family = " ".join(last)
    return PersonName(words[0] if words else "", " ".join(words[1:]), family)


def case_name(text: str) -> str:
    """Capitals as in a name: ``O'BRIEN-MCKAY`` to ``O'Brien-McKay``, ``SMITH III`` to ``Smith III``."""
    return _WORD.sub(_capital, text)


def _capital(match: "re.Match[str]") -> str:
    word = match[0].capitalize()
    if word in _ROMAN:
        return word.upper()
    before = match.string[match.start() - 1] if match.start() else ""
    if before == "'" and len(word) == 1:
        return word.lower()
    return _PREFIX.sub(lambda m: m[1] + m[2].upper(), word)
