"""Events of a phone as they happen: to a person's terminal, and as lines of JSON to a file or standard error."""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from trunkline.model import Clock, LocalError


class Events:
    """A ``Note`` (see ``conversation``) with any number of listeners."""

    def __init__(
        self, clock: Clock, *, lines: TextIO | None, show: Callable[[str, dict[str, Any]], None]
    ) -> None:
        self._clock = clock
        self._lines = lines
        self._show = show

    def __call__(self, kind: str, **data: Any) -> None:
        """Tell of an event; ``at`` is the monotonic clock."""
        if self._lines is not None:
            record = {"at": self._clock.now(), "event": kind, **data}
            self._lines.write(json.dumps(record, ensure_ascii=False) + "\n")
            self._lines.flush()
        self._show(kind, data)


@contextmanager
def event_lines(where: str | None) -> Iterator[TextIO | None]:
    """The stream that ``--events`` names: a file, ``-`` for standard error, None for none.

    Raises ``LocalError`` when the file cannot be written.
    """
    if where is None:
        yield None
    elif where == "-":
        yield sys.stderr
    else:
        with _appending(Path(where)) as stream:
            yield stream


def _appending(path: Path) -> TextIO:
    try:
        return path.open("a", encoding="utf-8")
    except OSError as failed:
        raise LocalError(f"cannot write {path}: {failed.strerror}") from failed
