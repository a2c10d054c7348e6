"""``trunkline call``: a scripted caller."""

import asyncio
from pathlib import Path
from typing import Annotated, Any

import typer

from trunkline.model import seconds
from trunkline.operations.phone.caller import Caller, Plan
from trunkline.operations.phone.events import Events, event_lines
from trunkline.operations.phone.follow import rehearse
from trunkline.operations.phone.line import address_towards, host_and_port, open_line
from trunkline.operations.phone.report import CallReport
from trunkline.operations.phone.script import Script, load_script
from trunkline.operations.phone.show import event_line, report_table
from trunkline.runtime import loop
from trunkline.runtime.clock import RealClock
from trunkline.runtime.console import EXIT_FAILED, EXIT_INTERRUPTED, out, print_json
from trunkline.runtime.phones import codecs_of, media_core, speaking, stoppable

DEFAULT_VOICE = "rms"


def command(
    target: Annotated[str, typer.Argument(help="SIP URI to dial.", show_default=False)],
    script: Annotated[
        Path | None, typer.Option("--script", help="What the caller does (YAML).", show_default=False)
    ] = None,
    listen_for: Annotated[
        float, typer.Option("--seconds", min=0.1, max=3600, help="Without a script: how long to listen.")
    ] = 10.0,
    save: Annotated[
        Path | None,
        typer.Option("--save", help="Write what was heard to this WAV file.", show_default=False),
    ] = None,
    caller: Annotated[str, typer.Option("--from", help="User or SIP URI of the caller.")] = "caller",
    listen: Annotated[
        str,
        typer.Option(
            "--listen",
            help="Own SIP address, HOST:PORT; port 0 takes a free one. Default: the address that reaches the target.",
            show_default=False,
        ),
    ] = "",
    codec: Annotated[
        list[str] | None, typer.Option("--codec", help="Codec to offer, repeatable.", show_default=False)
    ] = None,
    events: Annotated[
        str | None,
        typer.Option(
            "--events", help="Append events as JSON lines; - is standard error.", show_default=False
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Place a call that follows a script, and measure it.

    Dials over SIP, speaks, presses keys, listens, interrupts and follows a transfer as the script says; without
    one it only listens. Reports set-up time, time to the first audio, loss, jitter, gaps and what was heard, from
    the packets on its own socket. The exit code is 0 only when the whole script succeeded.

    **Examples**

    `trunkline call sip:1000@127.0.0.1:5060 --script caller.yaml --save heard.wav`

    `trunkline call "sip:1000@127.0.0.1:5060;transport=tcp" --seconds 5 --json`
    """
    loaded = load_script(script) if script is not None else None
    codecs = codecs_of(codec or [])
    own = listen or address_towards(target)
    host_and_port(own)  # a mistake in it is told before anything is synthesised
    clock = RealClock()
    console = out()

    def show(kind: str, data: dict[str, Any]) -> None:
        if not as_json:
            console.print(event_line(kind, data))

    async def main() -> CallReport:
        clips = await _rehearsed(loaded)
        with event_lines(events) as lines:
            note = Events(clock, lines=lines, show=show)
            async with media_core() as core, open_line(own, core, clock, codecs=codecs) as line:
                plan = Plan(target, caller, loaded, clips, seconds(listen_for), save)
                return await Caller(line, clock, note=note).call(plan)

    try:
        report = loop.run(stoppable(main()))
    except asyncio.CancelledError:
        raise typer.Exit(EXIT_INTERRUPTED) from None
    if as_json:
        print_json(report.to_json())
    else:
        console.print(report_table(report))
    if not report.ok:
        raise typer.Exit(EXIT_FAILED)


async def _rehearsed(script: Script | None) -> dict[int, tuple[bytes, int]]:
    if script is None:
        return {}
    async with speaking(DEFAULT_VOICE) as voice:
        return await rehearse(script, voice)
