"""A call's timeline as a waterfall for a terminal: who spoke, what was waited for, what overlapped.

Pure: timeline entries in, rows out; ``render`` makes a rich table of them, scaled to the width there is. What a
row is can be told without colour: each kind has a character of its own.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from rich.table import Table
from rich.text import Text

from trunkline.model import SECOND

MIN_BAR: Final = 16
LABEL_WIDTH: Final = 34
FIXED_WIDTH: Final = 22
"""Columns of time and length, with their padding."""


class Lane(StrEnum):
    """What a row shows."""

    CALLER = "caller"
    AGENT = "agent"
    TOOL = "tool"
    MASK = "mask"
    TRANSFER = "transfer"
    CALL = "call"


STYLES: Final[Mapping[Lane, tuple[str, str, str]]] = {
    # character, character for terminals without Unicode, style
    Lane.CALLER: ("▒", "o", "cyan"),
    Lane.AGENT: ("█", "#", "green"),
    Lane.TOOL: ("▓", "t", "magenta"),
    Lane.MASK: ("░", "m", "yellow"),
    Lane.TRANSFER: ("▚", ">", "blue"),
    Lane.CALL: ("─", "-", "dim"),
}


@dataclass(frozen=True, slots=True)
class Entry:
    """A timeline entry: ``at`` in nanoseconds since the call's start."""

    at: int
    kind: str
    data: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Row:
    """A bar from ``start`` to ``end`` (nanoseconds since the call's start); a moment when both are equal."""

    lane: Lane
    label: str
    start: int
    end: int


def rows(timeline: Sequence[Entry]) -> list[Row]:
    """The waterfall of one call, in order of beginning."""
    end = max((entry.at for entry in timeline), default=0)
    made = [
        *_speech(timeline, end),
        *_items(timeline, end),
        *_spans(timeline, end, Lane.MASK, "mask_started", ("mask_ended",), "name", _mask_label),
        *_spans(
            timeline, end, Lane.TOOL, "tool_requested", ("tool_finished", "tool_cancelled"), "id", _tool_label
        ),
        *_spans(
            timeline,
            end,
            Lane.TRANSFER,
            "transfer_started",
            ("transferred", "transfer_failed"),
            None,
            lambda entry: f"transfer to {entry.data.get('queue', '')}",
        ),
        *_moments(timeline),
    ]
    return sorted(made, key=lambda row: (row.start, row.end))


def _mask_label(entry: Entry) -> str:
    return f"mask: {entry.data.get('text') or entry.data.get('name', '')}"


def _tool_label(entry: Entry) -> str:
    return f"tool {entry.data.get('tool', '')}"


def _spans(
    timeline: Sequence[Entry],
    end: int,
    lane: Lane,
    opens: str,
    closes: tuple[str, ...],
    key: str | None,
    label: Any,
) -> Iterable[Row]:
    for index, entry in enumerate(timeline):
        if entry.kind == opens:
            until = next(
                (
                    later.at
                    for later in timeline[index + 1 :]
                    if later.kind in closes and (key is None or later.data.get(key) == entry.data.get(key))
                ),
                end,
            )
            yield Row(lane, label(entry), entry.at, until)


def _speech(timeline: Sequence[Entry], end: int) -> Iterable[Row]:
    """The caller's turns, labelled with what was understood at their end."""
    since: int | None = None
    words = [entry for entry in timeline if entry.kind == "transcript" and entry.data.get("role") == "caller"]
    for entry in timeline:
        lag = int(float(entry.data.get("lag_ms", 0)) * 1_000_000)
        if entry.kind == "caller_speech_started" and since is None:
            since = entry.at - lag
        elif entry.kind == "caller_speech_stopped" and since is not None:
            yield Row(Lane.CALLER, _said(words, since), since, max(since, entry.at - lag))
            since = None
    if since is not None:
        yield Row(Lane.CALLER, _said(words, since), since, end)


def _said(words: list[Entry], since: int) -> str:
    """The next words after ``since``; each are used once."""
    for index, entry in enumerate(words):
        if entry.at >= since:
            return f"caller: {words.pop(index).data.get('text', '')}"
    return "caller"


def _items(timeline: Sequence[Entry], end: int) -> Iterable[Row]:
    """What the agent said, from the first packet to the last or to the flush."""
    texts = {
        entry.data.get("item"): entry.data.get("text", "")
        for entry in timeline
        if entry.kind == "transcript" and entry.data.get("role") == "agent"
    }
    for index, entry in enumerate(timeline):
        if entry.kind != "play_started":
            continue
        item = entry.data.get("item")
        until, cut = end, ""
        for later in timeline[index + 1 :]:
            if later.kind == "play_ended" and later.data.get("item") == item:
                until = later.at
                break
            if later.kind == "flushed" and any(
                part.get("item") == item for part in later.data.get("items", ())
            ):
                until, cut = later.at, " ✂"
                break
        yield Row(Lane.AGENT, f"agent: {texts.get(item) or 'speaks'}{cut}", entry.at, until)


_MOMENTS: Final[Mapping[str, str]] = {
    "answered": "answered",
    "barge_in": "barge-in",
    "media_released": "AI left the media path",
    "media_reanchored": "AI took the caller back",
    "transferred": "the person answered",
    "call_ended": "call ended",
}


def _moments(timeline: Sequence[Entry]) -> Iterable[Row]:
    for entry in timeline:
        if entry.kind in _MOMENTS:
            detail = ""
            if entry.kind == "media_released":
                detail = f" ({entry.data.get('release_ms', 0):.0f} ms)"
            yield Row(Lane.CALL, _MOMENTS[entry.kind] + detail, entry.at, entry.at)


def bar(row: Row, total: int, width: int, *, unicode: bool = True) -> str:
    """The row's bar in ``width`` columns that stand for ``total`` nanoseconds; never empty, never too long."""
    scale = width / max(1, total)
    start = min(width - 1, int(row.start * scale))
    length = max(1, min(width - start, round((row.end - row.start) * scale)))
    character = STYLES[row.lane][0 if unicode else 1]
    if row.start == row.end:
        character = "◆" if unicode else "*"
    return " " * start + character * length


def render(timeline: Sequence[Entry], width: int, *, unicode: bool = True) -> Table:
    """The waterfall as a table of at most ``width`` columns."""
    made = rows(timeline)
    total = max(SECOND, *(row.end for row in made), 0)
    label_width = max(12, min(LABEL_WIDTH, width - FIXED_WIDTH - MIN_BAR))
    bar_width = max(MIN_BAR, width - FIXED_WIDTH - label_width)
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False, width=width)
    table.add_column("at", justify="right", style="dim", width=8, no_wrap=True)
    table.add_column("for", justify="right", style="dim", width=8, no_wrap=True)
    table.add_column("what", width=label_width, no_wrap=True, overflow="ellipsis" if unicode else "crop")
    table.add_column(_ruler(total, bar_width), width=bar_width, no_wrap=True, overflow="crop")
    for row in made:
        style = STYLES[row.lane][2]
        length = "" if row.start == row.end else f"{(row.end - row.start) / SECOND:.2f} s"
        label = row.label if unicode else row.label.replace("✂", "(cut)")
        table.add_row(
            f"{row.start / SECOND:.2f} s",
            length,
            Text(label, style=style),
            Text(bar(row, total, bar_width, unicode=unicode), style=style),
        )
    return table


def _ruler(total: int, width: int) -> str:
    """Seconds above the bars, as many as fit."""
    line = [" "] * width
    step = next(
        (step for step in (1, 2, 5, 10, 20, 30, 60, 120, 300) if width / (total / SECOND / step) >= 6), 600
    )
    second = 0
    while second * SECOND <= total:
        mark = f"{second}"
        at = int(second * SECOND * width / total)
        if at + len(mark) <= width:
            line[at : at + len(mark)] = mark
        second += step
    return "".join(line)
