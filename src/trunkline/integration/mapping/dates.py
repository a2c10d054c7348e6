"""Dates as old systems write them, to ISO 8601. Each format is compiled once to a function of text.

Sources: IBM i date formats *CYMD, *JUL, *LONGJUL (IBM i documentation, "Date formats"); JD Edwards julian
dates CYYDDD; Excel's serial dates count from 1900-01-01 with a 29 February 1900 that never was (Microsoft
Support, "DATE function" and Excel's 1900 leap year).
"""

import datetime as dt
import re
from collections.abc import Callable
from typing import Final

from trunkline.integration.mapping.record import BadValue

Read = Callable[[str], str]

_PARTS: Final = {
    "%Y": r"(?P<Y>\d{4})",
    "%y": r"(?P<y>\d{2})",
    "%m": r"(?P<m>\d{2})",
    "%d": r"(?P<d>\d{2})",
    "%j": r"(?P<j>\d{3})",
    "%b": r"(?P<b>[A-Za-z]{3})",
    "%H": r"(?P<H>\d{2})",
    "%M": r"(?P<M>\d{2})",
    "%S": r"(?P<S>\d{2})",
    "%%": "%",
}
_MONTHS: Final = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_WIDTHS: Final = {"CYYMMDD": 7, "CYYDDD": 6, "YYDDD": 5, "YYYYDDD": 7, "YYMMDD": 6}

NAMED: Final = (*_WIDTHS, "excel", "iso")
"""Formats with a name; everything else is a pattern of %-directives."""


def compile_date(pattern: str, century_from: int) -> Read:
    """A function from text to an ISO date (or date and time, when the pattern has a time).

    Raises ``ValueError`` with what is wrong with the pattern; the function raises ``BadValue``.
    """
    if pattern in _WIDTHS:
        return _packed(pattern, century_from)
    if pattern == "excel":
        return _excel
    if pattern == "iso":
        return _iso
    if "%" not in pattern:
        raise ValueError(f"date: {pattern!r} is none of {', '.join(NAMED)} and has no %-directives")
    return _directives(pattern, century_from)


def _packed(pattern: str, century_from: int) -> Read:
    """Digits without separators; leading zeros may be missing because the system stores a number."""
    width = _WIDTHS[pattern]

    def read(text: str) -> str:
        if not text.isascii() or not text.isdigit() or len(text) > width:
            raise BadValue(f"is no date of {width} digits as {pattern}")
        digits = text.zfill(width)
        if pattern.startswith("CYY"):
            year, rest = 1900 + 100 * int(digits[0]) + int(digits[1:3]), digits[3:]
        elif pattern.startswith("YYYY"):
            year, rest = int(digits[:4]), digits[4:]
        else:
            year, rest = _year(int(digits[:2]), century_from), digits[2:]
        if len(rest) == 3:
            return _day_of_year(year, int(rest))
        return _date(year, int(rest[:2]), int(rest[2:]))

    return read


def _excel(text: str) -> str:
    try:
        serial = int(float(text))
    except (ValueError, OverflowError):
        raise BadValue("is no Excel serial date") from None
    if not 1 <= serial <= 2_958_465 or serial == 60:
        raise BadValue("is no date that Excel has")
    epoch = dt.date(1899, 12, 31) if serial < 60 else dt.date(1899, 12, 30)
    return (epoch + dt.timedelta(days=serial)).isoformat()


def _iso(text: str) -> str:
    try:
        return dt.date.fromisoformat(text[:10]).isoformat()
    except ValueError:
        raise BadValue("is no ISO date") from None


def _directives(pattern: str, century_from: int) -> Read:
    pieces = re.split(r"(%.)", pattern)
    if any(piece.startswith("%") and piece not in _PARTS for piece in pieces):
        raise ValueError(f"date: use only {' '.join(_PARTS)}")
    names = [piece for piece in pieces if piece in _PARTS and piece != "%%"]
    if len(set(names)) != len(names):
        raise ValueError("date: a directive is given twice")
    days = {"%j"} if "%j" in names else {"%d", "%m" if "%m" in names else "%b"}
    years = {"%Y", "%y"} & set(names)
    if len(years) != 1 or not days <= set(names) or {"%m", "%b"} <= set(names):
        raise ValueError("date: needs one year (%Y or %y) and either %j or %d with %m or %b")
    expression = re.compile("".join(_PARTS.get(piece, re.escape(piece)) for piece in pieces), re.ASCII)
    timed = "%H" in names

    def read(text: str) -> str:
        match = expression.fullmatch(text)
        if match is None:
            raise BadValue(f"is no date as {pattern}")
        part = match.groupdict()
        year = int(part["Y"]) if "Y" in part else _year(int(part["y"]), century_from)
        if "j" in part:
            day = _day_of_year(year, int(part["j"]))
        else:
            day = _date(year, int(part["m"]) if "m" in part else _month(part["b"]), int(part["d"]))
        return day + _time(part) if timed else day

    return read


def _year(two_digits: int, century_from: int) -> int:
    return (2000 if two_digits < century_from else 1900) + two_digits


def _month(name: str) -> int:
    try:
        return _MONTHS.index(name.lower()) + 1
    except ValueError:
        raise BadValue("has no month we know") from None


def _date(year: int, month: int, day: int) -> str:
    try:
        return dt.date(year, month, day).isoformat()
    except ValueError:
        raise BadValue("is no day of the calendar") from None


def _day_of_year(year: int, day: int) -> str:
    try:
        found = dt.date(year, 1, 1) + dt.timedelta(days=day - 1)
    except (ValueError, OverflowError):
        raise BadValue("is no day of the calendar") from None
    if found.year != year:
        raise BadValue("is no day of the calendar")
    return found.isoformat()


def _time(part: dict[str, str]) -> str:
    try:
        time = dt.time(int(part["H"]), int(part.get("M", 0)), int(part.get("S", 0)))
    except ValueError:
        raise BadValue("is no time of day") from None
    return f"T{time.isoformat()}"
