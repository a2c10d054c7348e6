"""``trunkline serve``: answer calls."""

import logging
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from trunkline.config import load_config
from trunkline.model import to_ms
from trunkline.runtime import loop
from trunkline.runtime.checks import remarks, room_checks
from trunkline.runtime.clock import RealClock
from trunkline.runtime.compose import House, native_media
from trunkline.runtime.console import out, print_json
from trunkline.runtime.logs import set_up
from trunkline.runtime.serve import Phase, Signals, serve

log = logging.getLogger(__name__)


def command(
    config: Annotated[
        Path, typer.Option("--config", "-c", help="Configuration file (YAML).", show_default=False)
    ],
    as_json: Annotated[
        bool, typer.Option("--json", help="Report what happens as JSON, one object a line.")
    ] = False,
    log_level: Annotated[
        str, typer.Option(help="Least severity logged; overrides server.logging.level.", show_default=False)
    ] = "",
) -> None:
    """Answer calls: SIP, media, agents and the HTTP API in one process.

    Stops on SIGTERM or Ctrl-C: new calls are refused with 503, live ones may end by themselves for
    `server.limits.drain_s`, then they are hung up. A second signal ends them at once. Log lines go to standard
    error.

    **Examples**

    `trunkline serve --config trunkline.yaml`

    `trunkline serve --config trunkline.yaml --json --log-level warning`
    """
    loaded = load_config(config, checks=room_checks())
    levels = ("debug", "info", "warning", "error")
    if log_level and log_level not in levels:
        raise typer.BadParameter(f"use one of {', '.join(levels)}", param_hint="--log-level")
    clock = RealClock()
    started = clock.now()
    settings = loaded.root.server.logging
    limit = set_up(
        clock=clock, level=log_level or settings.level.value, lines_per_second=settings.lines_per_second
    )

    for remark in remarks(loaded):
        log.warning("%s", remark)

    def announce(phase: Phase, house: House) -> None:
        facts = listening(house) if phase is Phase.LISTENING else {"calls": house.board.busy}
        if as_json:
            took = round(to_ms(clock.now() - started))
            print_json({"event": phase.value, "after_ms": took, **facts}, line=True)
        else:
            show(phase, facts)

    async def main() -> None:
        signals = Signals()
        with signals.installed():
            await serve(
                loaded,
                clock=clock,
                open_media=native_media,
                announce=announce,
                signals=signals,
                log_dropped=lambda: limit.dropped,
            )

    loop.run(main())


def listening(house: House) -> dict[str, Any]:
    """What the process listens on and where it writes."""
    server = house.config.root.server
    return {
        "sip": [f"{t.value}:{server.sip.host}:{house.sip.port}" for t in server.sip.transports],
        "media": f"{server.media.host}:{server.media.ports}",
        "http": f"http://{_bracketed(server.http.host)}:{house.http_port}",
        "data_dir": str(house.config.data_dir),
        "config": str(house.config.file),
        "config_sha256": house.config.sha256,
        "agents": list(house.config.root.agents),
    }


def show(phase: Phase, facts: dict[str, Any]) -> None:
    """The same for people."""
    console = out()
    match phase:
        case Phase.LISTENING:
            table = Table(box=None, show_header=False, pad_edge=False)
            for name, value in facts.items():
                if name != "config_sha256":
                    table.add_row(name, ", ".join(value) if isinstance(value, list) else str(value))
            console.print("[bold green]Trunkline takes calls.[/] Stop with Ctrl-C.")
            console.print(table)
        case Phase.DRAINING:
            console.print(f"Draining: {facts['calls']} calls are still up. Again to end them now.")
        case Phase.ENDING:
            console.print("Closing.")
        case Phase.STOPPED:
            console.print("Stopped.")


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
