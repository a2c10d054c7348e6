"""A call report for people: figures, legs and steps as tables; events as lines while the call goes on."""

from collections.abc import Mapping
from typing import Any

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from trunkline.model import SECOND
from trunkline.operations.phone.report import CallReport, LegReport


def event_line(kind: str, data: Mapping[str, Any]) -> str:
    """One event in words (rich markup)."""
    party = escape(str(data.get("party", "")))
    match kind:
        case "listening":
            return f"listening on [bold]sip:{escape(data['address'])}[/]"
        case "dials":
            return f"dialling [bold]{escape(data['target'])}[/]"
        case "rings":
            return f"{party} rings" + (f" ({data['status']})" if "status" in data else "")
        case "answered":
            took = f" after {data['setup_ms']:.0f} ms" if "setup_ms" in data else ""
            return f"[green]{party} answered{took}[/]"
        case "step":
            return f"[dim]line {data['line']}:[/] {escape(data['name'])}"
        case "speaks":
            return f"[cyan]speaking[/] to {party}"
        case "presses":
            return f"[cyan]pressing[/] {escape(data['digits'])}"
        case "transfer":
            return f"[blue]transferred[/] to {escape(data['target'])}"
        case "transfer_failed":
            return f"[red]transfer failed:[/] {escape(data['why'])}"
        case "ended":
            return f"{party}: {escape(data['why'])}"
        case _:
            return escape(f"{kind} {dict(data)}")


def report_table(report: CallReport) -> RenderableType:
    """The whole report."""
    figures = Table(box=None, show_header=False, pad_edge=False)
    figures.add_row("set-up", _ms(report.setup_ms))
    figures.add_row("first audio", f"{_ms(report.first_audio_ms)} after the answer")
    figures.add_row("speech heard", f"{report.heard_s:.1f} s")
    if report.transfer is not None:
        transfer = report.transfer
        took = (
            f"answered after {(transfer.answered_at - transfer.requested_at) / SECOND:.2f} s"
            if transfer.answered_at is not None
            else f"failed: {transfer.failure}"
        )
        figures.add_row("transfer", escape(f"{transfer.target}, {took}"))
    if report.recording is not None:
        figures.add_row("recordings", escape(f"{report.recording.heard}, {report.recording.both}"))
    verdict = (
        Text("ok", style="bold green") if report.ok else Text(f"failed: {report.failure}", style="bold red")
    )
    return Group(_legs(report.legs), figures, verdict)


def _legs(legs: tuple[LegReport, ...]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in ("with", "length", "received", "lost", "jitter", "gaps", "sent", "end"):
        table.add_column(name, overflow="fold")
    for leg in legs:
        length = (
            ""
            if leg.answered_at is None or leg.ended_at is None
            else f"{(leg.ended_at - leg.answered_at) / SECOND:.1f} s"
        )
        gaps = f"{leg.received.gaps}" + (
            f", longest {leg.received.longest_gap_ms:.0f} ms" if leg.received.gaps else ""
        )
        table.add_row(
            escape(leg.target),
            length,
            str(leg.received.packets),
            str(leg.received.lost),
            f"{leg.received.jitter_ms:.1f} ms",
            gaps,
            str(leg.sent.packets),
            escape(leg.end),
        )
    return table


def _ms(value: float | None) -> str:
    return "none" if value is None else f"{value:.0f} ms"
