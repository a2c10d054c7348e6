"""``trunkline phone``: a person's phone."""

import asyncio
import signal
from pathlib import Path
from typing import Annotated, Any

import typer

from trunkline.model import ms
from trunkline.operations.phone.events import Events, event_lines
from trunkline.operations.phone.line import host_and_port, open_line
from trunkline.operations.phone.person import Manners, Person
from trunkline.operations.phone.report import PhoneReport
from trunkline.operations.phone.show import event_line, report_table
from trunkline.runtime import loop
from trunkline.runtime.clock import RealClock
from trunkline.runtime.console import EXIT_FAILED, out, print_json
from trunkline.runtime.phones import codecs_of, duration_of, media_core, speaking, voice_of

GREETING = "Hello, this is the support desk. How can I help you?"


def command(
    listen: Annotated[
        str, typer.Option("--listen", help="Own SIP address, HOST:PORT; port 0 takes a free one.")
    ] = "127.0.0.1:5090",
    say: Annotated[str, typer.Option("--say", help="Greeting; empty for none.")] = GREETING,
    voice: Annotated[str, typer.Option("--voice", help="Voice of the greeting.")] = "awb",
    answer_after: Annotated[str, typer.Option("--answer-after", help="How long it rings.")] = "600ms",
    save: Annotated[
        Path | None,
        typer.Option("--save", help="Write what was heard to this WAV file.", show_default=False),
    ] = None,
    once: Annotated[bool, typer.Option("--once", help="End after the first call.")] = False,
    codec: Annotated[
        list[str] | None, typer.Option("--codec", help="Codec to accept, repeatable.", show_default=False)
    ] = None,
    events: Annotated[
        str | None,
        typer.Option(
            "--events", help="Append events as JSON lines; - is standard error.", show_default=False
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON at the end.")] = False,
) -> None:
    """Answer calls as the people behind a queue.

    Rings, answers after a moment, greets, listens until the caller hangs up, and reports what it heard and how
    many packets came from which address. Ends with Ctrl-C, SIGTERM, or after one call with `--once`.

    **Examples**

    `trunkline phone --listen 127.0.0.1:5090 --say "Support desk." --save human.wav --once`

    `trunkline phone --listen 0.0.0.0:5060 --json`
    """
    host_and_port(listen)  # a mistake in it is told before anything is synthesised
    codecs, chosen = codecs_of(codec or []), voice_of(voice)
    rings = ms(duration_of(answer_after, "--answer-after"))
    clock = RealClock()
    console = out()

    def show(kind: str, data: dict[str, Any]) -> None:
        if not as_json:
            console.print(event_line(kind, data))

    async def main() -> PhoneReport:
        async with speaking(chosen) as speak:
            greeting = await speak(say, chosen) if say else None
        with event_lines(events) as lines:
            person = Person(Manners(greeting, rings, save), clock, note=Events(clock, lines=lines, show=show))
            async with (
                media_core() as core,
                open_line(listen, core, clock, codecs=codecs, handler=person.handler) as line,
            ):
                person.opened(line)
                try:
                    await _until_over(person, once=once)
                finally:
                    await person.close()
            return person.report()

    report = loop.run(main())
    if as_json:
        print_json(report.to_json())
    else:
        for call in report.calls:
            console.print(report_table(call))
    if once and not report.ok:
        raise typer.Exit(EXIT_FAILED)


async def _until_over(person: Person, *, once: bool) -> None:
    """Until a signal, or with ``once`` the end of the first call."""
    stop = asyncio.Event()
    running = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        running.add_signal_handler(number, stop.set)
    waits: list[asyncio.Future[object]] = [asyncio.ensure_future(stop.wait())]
    if once:
        waits.append(asyncio.ensure_future(person.first_call_over()))
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            running.remove_signal_handler(number)
        for task in waits:
            task.cancel()
        await asyncio.gather(*waits, return_exceptions=True)
