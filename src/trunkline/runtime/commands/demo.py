"""``trunkline demo``: a whole call on this machine, judged from outside."""

import asyncio
import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from trunkline.demo.run import run_demo
from trunkline.runtime import loop
from trunkline.runtime.clock import RealClock
from trunkline.runtime.console import EXIT_INTERRUPTED, print_json
from trunkline.runtime.phones import stoppable


def command(
    keep: Annotated[
        bool, typer.Option("--keep", help="Leave the server running and say how to phone it.")
    ] = False,
    folder: Annotated[
        Path, typer.Option("--folder", help="Where recordings, logs and report.json go.")
    ] = Path(".demo"),
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the report as JSON; what happens goes to standard error.")
    ] = False,
) -> None:
    """Run the demonstration on this machine.

    Starts a server with a slow legacy order system behind it, a person's phone, and a scripted caller who phones in
    over real SIP and RTP, asks for an order, interrupts the answer and asks for a person. Then shows transcript,
    timeline and checks, all made from what the phones' own sockets received, and writes `report.json`. The exit
    code is 0 only when every check holds.

    **Examples**

    `trunkline demo`

    `trunkline demo --keep`

    `trunkline demo --json | jq .metrics`
    """
    console = Console(highlight=False, stderr=as_json)
    try:
        code = loop.run(stoppable(run_demo(folder, console, RealClock(), keep=keep)))
    except asyncio.CancelledError:
        raise typer.Exit(EXIT_INTERRUPTED) from None
    if as_json:
        print_json(json.loads((folder / "report.json").read_bytes()))
    if code:
        raise typer.Exit(code)
