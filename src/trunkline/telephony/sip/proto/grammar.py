"""The lexical parts that SIP header fields share: tokens, quoted strings, lists, parameters.

Works on ``str`` decoded by ``text`` (UTF-8 with surrogate escapes), so that bytes which are not UTF-8 survive
a round trip through ``raw``. Refuses to interpret what a parameter means; that is ``headers``.
"""

import re
from typing import Final

from trunkline.telephony.sip.proto.errors import BadMessage

MAX_PARAMS: Final = 64
"""Parameters of one value; a value with more is refused."""
MAX_VALUES: Final = 256
"""Comma-separated values of one header name; more are refused."""

_TOKEN: Final = re.compile(r"[A-Za-z0-9\-.!%*_+`'~]+\Z")
_QUOTED: Final = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)
_SPECIAL: Final = re.compile(r'["<>,]')
_PARAM: Final = re.compile(
    r"""\s*([^\s=;"<>,?]+)\s*(?:=\s*("(?:[^"\\]|\\.)*"|\[[0-9A-Fa-f:.]+\]|[^\s;"<>,]+)\s*)?""", re.DOTALL
)
_UNESCAPE: Final = re.compile(r"\\(.)", re.DOTALL)

Params = tuple[tuple[str, str | None], ...]
"""Parameters in order, names as received, values raw (a quoted string keeps its quotes)."""


def text(raw: bytes) -> str:
    """Header bytes as text that ``raw`` turns back into exactly the same bytes."""
    return raw.decode("utf-8", "surrogateescape")


def raw(value: str) -> bytes:
    """Inverse of ``text``."""
    return value.encode("utf-8", "surrogateescape")


def readable(value: str) -> str:
    """Text for people: bytes that were not UTF-8 are shown as Latin-1, which is what they usually are."""
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        return raw(value).decode("latin-1")
    return value


def is_token(value: str) -> bool:
    """Whether ``value`` is a token of RFC 3261 section 25.1."""
    return _TOKEN.match(value) is not None


def split_commas(value: str) -> list[str]:
    """Cut a header value at the commas that separate values: not in quotes, not in angle brackets."""
    if "," not in value:
        return [value.strip()]
    parts: list[str] = []
    start = at = 0
    in_angle = False
    while found := _SPECIAL.search(value, at):
        at = found.end()
        match found.group():
            case '"':
                quoted = _QUOTED.match(value, found.start())
                if quoted is None:
                    raise BadMessage("a quoted string has no end")
                at = quoted.end()
            case "<":
                in_angle = True
            case ">":
                in_angle = False
            case _ if not in_angle:
                parts.append(value[start : found.start()].strip())
                start = at
                if len(parts) >= MAX_VALUES:
                    raise BadMessage(f"more than {MAX_VALUES} values in one header field")
    parts.append(value[start:].strip())
    return parts


def parse_params(value: str) -> Params:
    """Parse ``;name=value;flag`` (with or without the first semicolon's left side being empty).

    Raises ``BadMessage`` for an empty parameter, stray characters or too many parameters.
    """
    if not value or value.isspace():
        return ()
    found: list[tuple[str, str | None]] = []
    at, end = 0, len(value)
    while at < end:
        while at < end and value[at] in " \t":
            at += 1
        if at >= end:
            break
        if value[at] != ";":
            raise BadMessage("parameters must be separated by semicolons")
        match = _PARAM.match(value, at + 1)
        if match is None:
            raise BadMessage("an empty or malformed parameter")
        found.append((match.group(1), match.group(2)))
        if len(found) > MAX_PARAMS:
            raise BadMessage(f"more than {MAX_PARAMS} parameters")
        at = match.end()
    return tuple(found)


def param(params: Params, name: str) -> str | None:
    """Value of the parameter (case-insensitive name); ``""`` for a flag, ``None`` when absent."""
    for key, value in params:
        if key == name or key.lower() == name:
            return value if value is not None else ""
    return None


def with_param(params: Params, name: str, value: str | None) -> Params:
    """Parameters with ``name`` set in its place, or appended."""
    if param(params, name) is None:
        return (*params, (name, value))
    return tuple((key, value) if key.lower() == name else (key, old) for key, old in params)


def format_params(params: Params) -> str:
    """Serialise parameters, each with its leading semicolon."""
    return "".join(f";{name}" if value is None else f";{name}={value}" for name, value in params)


def unquote(value: str) -> str:
    """Content of a quoted string; other text is returned as it is."""
    if len(value) >= 2 and value[0] == '"' and value[-1] == '"':
        return _UNESCAPE.sub(r"\1", value[1:-1])
    return value


def quote(value: str) -> str:
    """A quoted string with backslashes where they are needed."""
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def quoted_end(value: str, start: int) -> int:
    """Index after the quoted string that starts at ``start``; raises ``BadMessage`` when it has no end."""
    match = _QUOTED.match(value, start)
    if match is None:
        raise BadMessage("a quoted string has no end")
    return match.end()


def parse_number(value: str, *, limit: int) -> int:
    """A non-negative decimal number not above ``limit``."""
    if not value.isascii() or not value.isdigit() or len(value) > 20:
        raise BadMessage("not a number in range")
    number = int(value)
    if number > limit:
        raise BadMessage(f"{number} is above {limit}")
    return number
