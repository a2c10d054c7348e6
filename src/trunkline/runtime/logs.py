"""Logging: one line per event, ``key=value`` after the message, bounded in length and in number.

Values of ``Pii`` and ``Secret`` print as such; nothing else private may be logged. A flood is counted and
summed up in one line, so that no peer can fill a disk through us.
"""

import logging
import sys
from collections.abc import Callable
from typing import Final, TextIO

from trunkline.model import SECOND, Clock, Nanos

MAX_LINE: Final = 2000
"""Characters of one line, traceback included."""

_STANDARD: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_UNSAFE: Final = {code: f"\\x{code:02x}" for code in (*range(32), 127) if code != 9} | {10: "\\n", 13: "\\r"}


class LineFormatter(logging.Formatter):
    """``2026-03-02T09:30:00.123Z warning calls.flow call ended call=call-1 reason=…``."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock

    def format(self, record: logging.LogRecord) -> str:
        at = self._clock.wall().isoformat(timespec="milliseconds").replace("+00:00", "Z")
        name = record.name.removeprefix("trunkline.")
        extras = " ".join(f"{k}={_value(v)}" for k, v in vars(record).items() if k not in _STANDARD)
        line = f"{at} {record.levelname.lower()} {name} {record.getMessage()}"
        if extras:
            line = f"{line} {extras}"
        if record.exc_info:
            line = f"{line} | {self.formatException(record.exc_info)}"
        line = line.translate(_UNSAFE)
        return line if len(line) <= MAX_LINE else f"{line[: MAX_LINE - 1]}…"


def _value(value: object) -> str:
    text = str(value)
    return repr(text) if " " in text or "=" in text else text


class RateLimit(logging.Filter):
    """At most ``lines`` a second; the rest is counted and reported once the flood is over or a second passed."""

    def __init__(self, clock: Clock, lines: int) -> None:
        super().__init__()
        self.dropped = 0
        self._now: Callable[[], Nanos] = clock.now
        self._lines = lines
        self._window = Nanos(0)
        self._used = 0
        self._untold = 0

    def filter(self, record: logging.LogRecord) -> bool:
        now = self._now()
        if now - self._window >= SECOND:
            self._window, self._used = now, 0
        if self._used >= self._lines:
            self.dropped += 1
            self._untold += 1
            return False
        self._used += 1
        if self._untold:
            record.msg = f"{record.getMessage()} ({self._untold} lines before this one were dropped)"
            record.args = None
            self._untold = 0
        return True


def set_up(*, clock: Clock, level: str, lines_per_second: int, stream: TextIO | None = None) -> RateLimit:
    """Log to ``stream`` (standard error) and nowhere else; returns the limit, which counts what it dropped."""
    handler = logging.StreamHandler(stream if stream is not None else sys.stderr)
    handler.setFormatter(LineFormatter(clock))
    limit = RateLimit(clock, lines_per_second)
    handler.addFilter(limit)
    root = logging.getLogger()
    for old in list(root.handlers):
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(logging.WARNING)
    logging.getLogger("trunkline").setLevel(level.upper())
    logging.captureWarnings(capture=True)
    return limit
