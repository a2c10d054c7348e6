"""Patterns for called numbers, as routes use them. Matching is pure and bounded."""

import re
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, ClassVar, Final

from trunkline.config.fields import Written

MAX_NUMBER: Final = 128
"""Longer called numbers match no pattern: it bounds what a regular expression may work on."""


class PatternKind(StrEnum):
    """How a pattern compares."""

    EXACT = "exact"
    PREFIX = "prefix"
    REGEX = "regex"


@dataclass(frozen=True, slots=True)
class DnisPattern(Written):
    """``1000`` is exact, ``10*`` a prefix, ``/10[0-9]{2}/`` a regular expression over the whole number."""

    json_schema: ClassVar = {"examples": ["1000", "10*", "/10[0-9]{2}/"]}

    kind: PatternKind
    text: str
    _regex: "re.Pattern[str] | None" = field(default=None, compare=False, repr=False)

    def __str__(self) -> str:
        match self.kind:
            case PatternKind.EXACT:
                return self.text
            case PatternKind.PREFIX:
                return f"{self.text}*"
            case PatternKind.REGEX:
                return f"/{self.text}/"

    def matches(self, number: str) -> bool:
        """Whether a called number matches."""
        if len(number) > MAX_NUMBER:
            return False
        match self.kind:
            case PatternKind.EXACT:
                return number == self.text
            case PatternKind.PREFIX:
                return number.startswith(self.text)
            case PatternKind.REGEX:
                return self._regex is not None and self._regex.fullmatch(number) is not None

    @classmethod
    def parse(cls, value: Any) -> "DnisPattern":
        """From text."""
        if isinstance(value, DnisPattern):
            return value
        if not isinstance(value, str):
            raise ValueError('write a number in quotes, such as "1000"')
        if not value or len(value) > MAX_NUMBER:
            raise ValueError(f"a pattern has 1 to {MAX_NUMBER} characters")
        if len(value) > 2 and value.startswith("/") and value.endswith("/"):
            try:
                return cls(PatternKind.REGEX, value[1:-1], re.compile(value[1:-1]))
            except re.error as bad:
                raise ValueError(f"not a regular expression: {bad}") from bad
        if value.endswith("*"):
            return cls(PatternKind.PREFIX, value[:-1])
        return cls(PatternKind.EXACT, value)
