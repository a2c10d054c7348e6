"""Timeline entries as rows and bars."""

import io

import pytest
from rich.console import Console

from trunkline.demo.waterfall import Entry, Lane, Row, bar, render, rows
from trunkline.model import MS, SECOND


def entry(at_ms: float, kind: str, **data: object) -> Entry:
    return Entry(round(at_ms * MS), kind, data)


CALL = [
    entry(0, "call_arrived"),
    entry(5, "answered", setup_ms=5),
    entry(100, "play_started", item="a1"),
    entry(110, "transcript", role="agent", text="Thank you for calling.", item="a1"),
    entry(2100, "play_ended", item="a1", heard_ms=2000, total_ms=2000),
    entry(2600, "caller_speech_started", source="engine", lag_ms=100),
    entry(4300, "caller_speech_stopped", source="engine", lag_ms=300),
    entry(4310, "transcript", role="caller", text="Where is my order?"),
    entry(4320, "tool_requested", id="t1", tool="order_status"),
    entry(5020, "mask_started", name="mask:t1", text="One moment."),
    entry(5900, "mask_ended", name="mask:t1", played_ms=880),
    entry(6820, "tool_finished", id="t1", tool="order_status", status="ok"),
    entry(6900, "play_started", item="a2"),
    entry(6905, "transcript", role="agent", text="Your order was shipped.", item="a2"),
    entry(8000, "barge_in", source="engine", item="a2"),
    entry(8030, "flushed", items=[{"item": "a2", "heard_ms": 1130, "total_ms": 3000}], flush_ms=30),
    entry(9000, "transfer_started", target="sip:human@192.0.2.1", queue="support"),
    entry(9100, "media_released", release_ms=12.5),
    entry(9900, "transferred", target="sip:human@192.0.2.1"),
    entry(9950, "call_ended", result="success", reason="transferred"),
]


def test_every_part_of_a_call_is_a_row_in_order() -> None:
    made = [(row.lane, row.label, row.start // MS, row.end // MS) for row in rows(CALL)]
    assert made == [
        (Lane.CALL, "answered", 5, 5),
        (Lane.AGENT, "agent: Thank you for calling.", 100, 2100),
        (Lane.CALLER, "caller: Where is my order?", 2500, 4000),
        (Lane.TOOL, "tool order_status", 4320, 6820),
        (Lane.MASK, "mask: One moment.", 5020, 5900),
        (Lane.AGENT, "agent: Your order was shipped. ✂", 6900, 8030),
        (Lane.CALL, "barge-in", 8000, 8000),
        (Lane.TRANSFER, "transfer to support", 9000, 9900),
        (Lane.CALL, "AI left the media path (12 ms)", 9100, 9100),
        (Lane.CALL, "the person answered", 9900, 9900),
        (Lane.CALL, "call ended", 9950, 9950),
    ]


def test_what_never_ended_lasts_until_the_last_entry() -> None:
    cut = [e for e in CALL if e.kind not in {"play_ended", "caller_speech_stopped"}][:8]
    ends = {row.label: row.end for row in rows(cut)}
    assert ends["agent: Thank you for calling."] == cut[-1].at
    assert ends["caller: Where is my order?"] == cut[-1].at


@pytest.mark.parametrize("width", [16, 37, 200])
@pytest.mark.parametrize(("start", "end"), [(0, 0), (0, 10), (9, 10), (10, 10), (3, 4)])
def test_a_bar_stays_inside_its_columns_and_is_never_empty(width: int, start: int, end: int) -> None:
    drawn = bar(Row(Lane.AGENT, "x", start * SECOND, end * SECOND), 10 * SECOND, width)
    assert len(drawn) <= width
    assert drawn.strip()


def test_bars_lie_in_proportion() -> None:
    drawn = bar(Row(Lane.TOOL, "x", 2 * SECOND, 5 * SECOND), 10 * SECOND, 100)
    assert drawn == " " * 20 + "▓" * 30
    assert bar(Row(Lane.TOOL, "x", 0, SECOND), 10 * SECOND, 100, unicode=False) == "t" * 10


@pytest.mark.parametrize("width", [60, 80, 140])
@pytest.mark.parametrize("unicode", [True, False])
def test_the_table_fits_the_width_and_needs_no_colour(width: int, unicode: bool) -> None:
    out = io.StringIO()
    Console(file=out, width=width, no_color=True, force_terminal=False).print(
        render(CALL, width, unicode=unicode)
    )
    lines = out.getvalue().splitlines()
    assert len(lines) == 12
    assert max(map(len, lines)) <= width
    assert "agent: Thank you" in out.getvalue()
    assert unicode or out.getvalue().isascii()


def test_an_empty_timeline_is_drawn_empty() -> None:
    assert rows([]) == []
    Console(file=io.StringIO(), width=80).print(render([], 80))
