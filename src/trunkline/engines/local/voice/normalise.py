"""Written text to words for a telephone: numbers, money, dates, times, codes; and sentences short enough to stream.

English only. A number of five or more digits, or one with a leading zero, or one after a word such as "order" or
"number", is a code and is read digit by digit, as people do on the phone; shorter ones are quantities.
"""

import re
from typing import Final

from trunkline.model.words import MONTHS

_ONES: Final = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
]
_TENS: Final = ["_", "_", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
_IRREGULAR: Final = {
    "one": "first",
    "two": "second",
    "three": "third",
    "five": "fifth",
    "eight": "eighth",
    "nine": "ninth",
    "twelve": "twelfth",
}
_CURRENCIES: Final = {
    "$": ("dollar", "dollars", "cent", "cents"),
    "\N{EURO SIGN}": ("euro", "euros", "cent", "cents"),
    "\N{POUND SIGN}": ("pound", "pounds", "penny", "pence"),
}
_CODE_DIGITS: Final = 5
_GROUP: Final = 3

_MONEY: Final = re.compile(r"([$\N{EURO SIGN}\N{POUND SIGN}])(\d{1,3}(?:,\d{3})+|\d+)(?:\.(\d{2}))?(?!\d)")
_ISO_DATE: Final = re.compile(r"\b(\d{4})-(\d{2})-(\d{2})\b")
_TIME: Final = re.compile(r"\b([01]?\d|2[0-3]):([0-5]\d)(?!\d)\s*([ap]m\b)?", re.IGNORECASE)
_CODE_AFTER_WORD: Final = re.compile(
    r"\b((?:order|number|account|invoice|reference|code|ticket|extension|pin)(?:\s+(?:number|is))*\s+)#?(\d+)\b",
    re.IGNORECASE,
)
_PERCENT: Final = re.compile(r"(\d+(?:\.\d+)?)\s?%")
_ORDINAL: Final = re.compile(r"\b(\d{1,4})(?:st|nd|rd|th)\b")
_LETTERED_CODE: Final = re.compile(r"\b(?=[A-Z0-9-]*\d)(?=[A-Z0-9-]*[A-Z])[A-Z0-9]+(?:-[A-Z0-9]+)*\b")
_GROUPED: Final = re.compile(r"\b\d{1,3}(?:,\d{3})+\b")
_DECIMAL: Final = re.compile(r"\b(\d+)\.(\d+)\b")
_NUMBER: Final = re.compile(r"\d+")
_WORDS: Final = {
    "$": " dollars ",
    "\N{EURO SIGN}": " euros ",
    "\N{POUND SIGN}": " pounds ",
    "&": " and ",
    "@": " at ",
    "#": " number ",
    "%": " percent ",
    "\N{RIGHT SINGLE QUOTATION MARK}": "'",
    "\N{LEFT SINGLE QUOTATION MARK}": "'",
    "\N{LEFT DOUBLE QUOTATION MARK}": "",
    "\N{RIGHT DOUBLE QUOTATION MARK}": "",
    "\N{EN DASH}": ", ",
    "\N{EM DASH}": ", ",
    "\N{HORIZONTAL ELLIPSIS}": ".",
    '"': "",
}


def cardinal(value: int) -> str:
    """A quantity in words, below a million million.

    >>> cardinal(1042)
    'one thousand forty two'
    """
    if value < 20:
        return _ONES[value]
    if value < 100:
        return _TENS[value // 10] + (f" {_ONES[value % 10]}" if value % 10 else "")
    for size, name in ((10**9, "billion"), (10**6, "million"), (10**3, "thousand"), (100, "hundred")):
        if value >= size:
            rest = f" {cardinal(value % size)}" if value % size else ""
            return f"{cardinal(value // size)} {name}{rest}"
    raise AssertionError("unreachable")


def ordinal(value: int) -> str:
    """A rank in words.

    >>> ordinal(21)
    'twenty first'
    """
    *head, last = cardinal(value).split()
    last = _IRREGULAR.get(last) or (last[:-1] + "ieth" if last.endswith("y") else last + "th")
    return " ".join([*head, last])


def spelled(code: str) -> str:
    """A code, character by character, with a breath after every third of a long one.

    >>> spelled("45678")
    'four five six, seven eight'
    """
    spoken = [_ONES[int(char)] if char.isdigit() else char for char in code if char.isalnum()]
    groups = [spoken[at : at + _GROUP] for at in range(0, len(spoken), _GROUP)]
    if len(groups) > 1 and len(groups[-1]) == 1:
        groups[-2:] = [groups[-2] + groups[-1]]
    return ", ".join(" ".join(group) for group in groups)


def year(value: int) -> str:
    """A calendar year as it is said.

    >>> year(2026), year(1907)
    ('twenty twenty six', 'nineteen oh seven')
    """
    century, rest = divmod(value, 100)
    if not 11 <= century <= 99 or 2000 <= value < 2010:
        return cardinal(value)
    if rest == 0:
        return f"{cardinal(century)} hundred"
    return f"{cardinal(century)} {'oh ' if rest < 10 else ''}{cardinal(rest)}"


def _money(match: re.Match[str]) -> str:
    one, many, cent, cents = _CURRENCIES[match[1]]
    whole, part = int(match[2].replace(",", "")), int(match[3] or 0)
    said = [f"{_number_words(whole)} {one if whole == 1 else many}"] if whole or not part else []
    if part:
        said.append(f"{cardinal(part)} {cent if part == 1 else cents}")
    return " and ".join(said)


def _date(match: re.Match[str]) -> str:
    month, day = int(match[2]), int(match[3])
    if not (1 <= month <= 12 and 1 <= day <= 31):
        return spelled(match[0])
    return f"{MONTHS[month - 1]} {ordinal(day)}, {year(int(match[1]))}"


def _time(match: re.Match[str]) -> str:
    hour, minute, half = int(match[1]), int(match[2]), (match[3] or "").lower()
    if not half:
        half = "am" if hour < 12 else "pm"
        hour = hour % 12 or 12
    spoken = cardinal(hour) if hour else "twelve"
    if minute:
        spoken += f" {'oh ' if minute < 10 else ''}{cardinal(minute)}"
    return f"{spoken} {half[0].upper()} M"


def _number_words(value: int) -> str:
    return cardinal(value) if value < 10**12 else spelled(str(value))


def _number(match: re.Match[str]) -> str:
    digits = match[0]
    if len(digits) >= _CODE_DIGITS or (len(digits) > 1 and digits[0] == "0"):
        return spelled(digits)
    return cardinal(int(digits))


def _percent(match: re.Match[str]) -> str:
    return f"{match[1]} percent"


def _decimal(match: re.Match[str]) -> str:
    return f"{_number_words(int(match[1]))} point {' '.join(_ONES[int(d)] for d in match[2])}"


def normalise(text: str) -> str:
    """Text with nothing left that must be guessed at: words and punctuation only.

    >>> normalise("Order 45678 for $19.99 arrives 2026-11-21 at 14:05.")
    'Order four five six, seven eight for nineteen dollars and ninety nine cents arrives November twenty first, \
twenty twenty six at two oh five P M.'
    """
    text = _MONEY.sub(_money, text)
    text = _ISO_DATE.sub(_date, text)
    text = _TIME.sub(_time, text)
    text = _CODE_AFTER_WORD.sub(lambda match: match[1] + spelled(match[2]), text)
    text = _PERCENT.sub(_percent, text)
    text = _ORDINAL.sub(lambda match: ordinal(int(match[1])), text)
    text = _GROUPED.sub(lambda match: _number_words(int(match[0].replace(",", ""))), text)
    text = _LETTERED_CODE.sub(lambda match: spelled(match[0]), text)
    text = _DECIMAL.sub(_decimal, text)
    text = _NUMBER.sub(_number, text)
    for sign, words in _WORDS.items():
        text = text.replace(sign, words)
    return " ".join(text.split())


_SENTENCE_END: Final = re.compile(r"(?<=[.!?;:])\s+")
_CLAUSE_END: Final = re.compile(r"(?<=,)\s+")


def sentences(text: str, *, longest: int = 240) -> list[str]:
    """Pieces to synthesise one after another: sentences, longer ones cut at commas, then at spaces."""
    pieces: list[str] = []
    for sentence in _SENTENCE_END.split(text.strip()):
        pieces += _cut(sentence, longest) if len(sentence) > longest else [sentence]
    return [piece for piece in pieces if any(char.isalnum() for char in piece)]


def _cut(sentence: str, longest: int) -> list[str]:
    pieces: list[str] = []
    for clause in _CLAUSE_END.split(sentence):
        if pieces and len(pieces[-1]) + len(clause) < longest:
            pieces[-1] += f" {clause}"
            continue
        pieces += _wrap(clause, longest)
    return pieces


def _wrap(clause: str, longest: int) -> list[str]:
    pieces: list[str] = []
    while len(clause) > longest:
        at = clause.rfind(" ", 1, longest)
        at = at if at > 0 else longest
        pieces.append(clause[:at])
        clause = clause[at:].lstrip()
    return [*pieces, clause]
