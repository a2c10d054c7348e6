"""Log lines: one each, bounded, without secrets, and only so many."""

import io
import logging
import warnings
from collections.abc import Iterator

import pytest

from trunkline.model import SECOND, Pii, Secret
from trunkline.runtime.logs import MAX_LINE, RateLimit, set_up
from trunkline.testing import VirtualClock


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    root, ours = logging.getLogger(), logging.getLogger("trunkline")
    handlers, level, own = list(root.handlers), root.level, ours.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    ours.setLevel(own)
    logging.captureWarnings(capture=False)


class Sink:
    def __init__(self, *, level: str = "info", lines: int = 100) -> None:
        self.clock = VirtualClock()
        self.stream = io.StringIO()
        self.limit: RateLimit = set_up(
            clock=self.clock, level=level, lines_per_second=lines, stream=self.stream
        )
        self.log = logging.getLogger("trunkline.calls.flow")

    @property
    def lines(self) -> list[str]:
        return self.stream.getvalue().splitlines()


def test_a_line() -> None:
    sink = Sink()
    sink.log.info("call %s", "ended", extra={"call": "call-1", "why": "no route for x"})
    assert sink.lines == [
        "2026-03-02T09:30:00.000Z info calls.flow call ended call=call-1 why='no route for x'"
    ]


def test_levels() -> None:
    sink = Sink(level="warning")
    sink.log.info("no")
    sink.log.warning("yes")
    logging.getLogger("other.library").info("no")
    logging.getLogger("other.library").error("also")
    assert [line.split()[-1] for line in sink.lines] == ["yes", "also"]


def test_nothing_breaks_a_line_or_the_terminal() -> None:
    sink = Sink()
    sink.log.warning("from %s", "evil\r\n2026 error forged\x1b[31m\x00")
    [line] = sink.lines
    assert "\\r\\n2026 error forged\\x1b[31m\\x00" in line


def test_a_traceback_stays_in_its_line() -> None:
    sink = Sink()
    try:
        raise ValueError("boom")
    except ValueError:
        sink.log.exception("failed")
    [line] = sink.lines
    assert "ValueError: boom" in line


def test_a_line_has_a_length() -> None:
    sink = Sink()
    sink.log.warning("x" * 10_000)
    assert len(sink.lines[0]) == MAX_LINE


def test_private_values_are_not_written() -> None:
    sink = Sink()
    sink.log.info("from %s with %s", Pii("5550001"), Secret("hunter2"), extra={"key": Secret("hunter2")})
    assert "5550001" not in sink.lines[0]
    assert "hunter2" not in sink.lines[0]


def test_a_flood_is_cut_and_counted() -> None:
    sink = Sink(lines=10)
    for _ in range(1000):
        sink.log.warning("junk")
    assert len(sink.lines) == 10
    assert sink.limit.dropped == 990
    sink.clock.tick(SECOND)
    sink.log.warning("after")
    assert sink.lines[-1].endswith("after (990 lines before this one were dropped)")
    sink.log.warning("again")
    assert sink.lines[-1].endswith("again")


def test_warnings_are_logged() -> None:
    sink = Sink()
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(capture=True)
        warnings.warn("old ways", stacklevel=1)
    assert "old ways" in sink.lines[-1]
