"""The ``trunkline`` command.

Each command lives in a module of ``runtime.commands`` with one function ``command``; a module is imported
only when its command is called, so that a missing library stops that command and no other.
"""

import importlib
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import typer

from trunkline import __version__
from trunkline.model import Missing, TrunklineError
from trunkline.runtime.console import EXIT_INTERRUPTED, complain


@dataclass(frozen=True, slots=True)
class Entry:
    """A command: its name, the module that has it, and its line in the overview."""

    name: str
    module: str
    summary: str


COMMANDS: Final = (
    Entry("serve", "trunkline.runtime.commands.serve", "Answer calls: SIP, media, agents and the HTTP API."),
    Entry(
        "check", "trunkline.runtime.commands.check", "Check a configuration file and everything it refers to."
    ),
    Entry("call", "trunkline.runtime.commands.call", "Place a call that follows a script, and measure it."),
    Entry("phone", "trunkline.runtime.commands.phone", "Answer calls as the people behind a queue."),
    Entry("demo", "trunkline.runtime.commands.demo", "Run the demonstration on this machine."),
    Entry(
        "engine-sim",
        "trunkline.runtime.commands.engine_sim",
        "Play an AI engine, for tests without internet.",
    ),
)


def build(selected: str | None) -> typer.Typer:
    """The command tree. Only ``selected`` is imported, or every command that can be when ``None``."""
    app = typer.Typer(
        name="trunkline",
        help="Conversational AI for the phone networks and business systems you already have.",
        no_args_is_help=True,
        add_completion=False,
        rich_markup_mode="markdown",
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
        epilog="Example: `trunkline check trunkline.yaml && trunkline serve --config trunkline.yaml`",
    )
    app.callback()(_root)
    for entry in COMMANDS:
        if entry.name == selected:
            function = load(entry)
            app.command(entry.name, help=function.__doc__, short_help=entry.summary)(function)
        else:
            app.command(entry.name, help=entry.summary, short_help=entry.summary)(_not_loaded)
    return app


def load(entry: Entry) -> Callable[..., Any]:
    """The function behind a command. Raises ``Missing`` when a library it needs is not installed."""
    try:
        module = importlib.import_module(entry.module)
    except ModuleNotFoundError as absent:
        raise _missing(absent) from absent
    function: Callable[..., Any] = module.command
    return function


def _missing(absent: ModuleNotFoundError) -> Missing:
    if absent.name == "trunkline._native":
        return Missing("the native media core is not built", hint="run: make setup")
    return Missing(f"the Python module {absent.name} is not installed", hint="run: make setup")


def _not_loaded() -> None:
    """Stands in the overview for a command that was not asked for."""


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"trunkline {__version__}")
        raise typer.Exit


def _root(
    version: bool = typer.Option(
        False, "--version", help="Show the version and exit.", callback=_version, is_eager=True
    ),
) -> None:
    pass


def run(arguments: Sequence[str]) -> int:
    """Run the command line; returns the exit code: 0 done, 1 could not be done, 2 wrong input."""
    known = {entry.name for entry in COMMANDS}
    selected = next((argument for argument in arguments if not argument.startswith("-")), None)
    try:
        app = build(selected if selected in known else None)
        app(args=list(arguments), prog_name="trunkline", standalone_mode=True)
    except TrunklineError as error:
        return complain(error)
    except ModuleNotFoundError as absent:
        return complain(_missing(absent))
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except SystemExit as left:
        return left.code if isinstance(left.code, int) else int(left.code is not None)
    return 0


def main() -> None:
    """Entry point of the ``trunkline`` script."""
    sys.exit(run(sys.argv[1:]))
