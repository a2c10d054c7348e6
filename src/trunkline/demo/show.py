"""What people see of the demonstration: what happens now, then what happened."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Self

from rich.console import Console
from rich.markup import escape
from rich.status import Status
from rich.table import Table
from rich.text import Text

from trunkline.demo.checks import Check
from trunkline.demo.waterfall import Entry, render
from trunkline.model import SECOND

WHO: Final[Mapping[str, str]] = {
    "caller": "cyan",
    "agent": "green",
    "person": "blue",
    "server": "magenta",
    "": "dim",
}


class Stage:
    """Lines of what happens, above one line of what is under way."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._status: Status | None = console.status("") if console.is_terminal else None
        self._zero: int | None = None

    def __enter__(self) -> Self:
        if self._status is not None:
            self._status.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.rest()

    def rest(self) -> None:
        """Nothing is under way any more."""
        if self._status is not None:
            self._status.stop()

    def under_way(self, text: str) -> None:
        """What is being waited for."""
        if self._status is not None:
            self._status.update(escape(text))

    def call_begins(self, at: int) -> None:
        """From now on times are shown since this moment of the monotonic clock."""
        self._zero = at

    def line(self, who: str, text: str, at: int | None = None) -> None:
        """Something happened."""
        when = "" if at is None or self._zero is None else f"{(at - self._zero) / SECOND:5.1f} s"
        self.console.print(_row(when, who, text))


def _row(when: str, who: str, text: str) -> Table:
    """Time, who, what; long texts stay in their column."""
    row = Table.grid(padding=(0, 1))
    row.add_column(width=8, justify="right", style="dim")
    row.add_column(width=7, style=WHO.get(who, ""))
    row.add_column(overflow="fold")
    row.add_row(when, who, Text(text))
    return row


def timeline_line(entry: Entry) -> tuple[str, str] | None:
    """Who did what, for entries worth a line."""
    data = entry.data
    match entry.kind:
        case "transcript":
            return str(data.get("role", "")), f"“{data.get('text', '')}”"
        case "tool_started":
            return "server", f"asks the order system ({data.get('operation', data.get('tool', ''))})"
        case "mask_started":
            return "agent", f"“{data.get('text', '')}” (bridging the wait)"
        case "tool_finished":
            return "server", f"the order system answered after {float(data.get('took_ms', 0)) / 1000:.1f} s"
        case "barge_in":
            return "caller", "interrupts: the agent falls silent"
        case "transfer_started":
            return "server", f"transfers to {data.get('target', '')}"
        case "media_released":
            return "server", f"has left the media path after {float(data.get('release_ms', 0)):.0f} ms"
        case _:
            return None


def phone_line(event: Mapping[str, Any]) -> str | None:
    """What a phone did, for events worth a line."""
    match event["event"]:
        case "dials":
            return f"dials {event['target']}"
        case "answered":
            return f"is connected after {event['setup_ms']:.0f} ms" if "setup_ms" in event else "answers"
        case "transfer":
            return f"is referred to {event['target']}"
        case "ended":
            return f"{event['why']} ({event['party']})"
        case _:
            return None


def results(
    console: Console,
    *,
    timeline: Sequence[Entry],
    checks: Sequence[Check],
    figures: Mapping[str, Any],
    files: Mapping[str, Path],
) -> None:
    """Transcript, waterfall, checks and files."""
    unicode = console.encoding.lower().startswith("utf")
    _heading(console, "Transcript")
    for line in figures["transcript"]:
        console.print(_row(f"{line['at_s']:.1f} s", str(line["role"]), str(line["text"])))
    _heading(console, "Timeline")
    console.print(render(timeline, console.width, unicode=unicode))
    _heading(console, "Checks, from the phones' own packets and the ledger")
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 1))
    yes, no = ("✓", "✗") if unicode else ("ok", "FAILED")
    for check in checks:
        mark = Text(yes, style="green") if check.ok else Text(no, style="bold red")
        table.add_row(mark, check.name.replace("_", " "), Text(check.detail, style="" if check.ok else "red"))
    console.print(table)
    _heading(console, "Files")
    listing = Table(box=None, show_header=False, pad_edge=False, padding=(0, 1))
    for what, path in files.items():
        listing.add_row(what, Text(str(path), overflow="fold"))
    console.print(listing)


def _heading(console: Console, text: str) -> None:
    console.print()
    console.print(Text(text, style="bold"))


def verdict(console: Console, checks: Sequence[Check]) -> None:
    """One line at the end."""
    failed = [check for check in checks if not check.ok]
    console.print()
    if failed:
        names = ", ".join(check.name.replace("_", " ") for check in failed)
        console.print(Text(f"The demonstration failed: {names}.", style="bold red"))
        for check in failed:
            console.print(Text(f"  {check.name.replace('_', ' ')}: {check.detail}", style="red"))
    else:
        console.print(
            Text(f"The demonstration succeeded: {len(checks)} of {len(checks)} checks.", style="bold green")
        )


def how_to_phone(console: Console, *, sip: str, http: str, person: str) -> None:
    """For ``--keep``: where the server is and what a softphone needs."""
    host, _, port = sip.rpartition(":")
    _heading(console, "The server goes on running. Phone it with any SIP softphone:")
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 1))
    for name, value in (
        ("dial", f"sip:1000@{sip}"),
        ("extension", f"1000 (server {host}, port {port}, UDP or TCP)"),
        ("codecs", "G.711: PCMU or PCMA"),
        ("account", "none: no registration, no password"),
        ("say", "“Where is my order?”, then 4 8 2 1 3, then “yes”; “I want to talk to a person”"),
        ("the person", f"{person} (answers by itself)"),
        ("without one", f"trunkline call sip:1000@{sip} --seconds 20 --save heard.wav"),
        ("calls", f"{http}/api/calls"),
    ):
        table.add_row(Text(name, style="dim"), Text(value))
    console.print(table)
    console.print("Ctrl-C ends it.")
