"""How commands speak: tables and colours for people, JSON for programs, errors as one sentence."""

import json
import sys
from typing import Any

from rich.console import Console

from trunkline.config import CombinedConfigError
from trunkline.model import ConfigError, TrunklineError

EXIT_OK = 0
EXIT_FAILED = 1
EXIT_BAD_INPUT = 2
EXIT_INTERRUPTED = 130


def out() -> Console:
    """Standard output, for people."""
    return Console(highlight=False, soft_wrap=True)


def err() -> Console:
    """Standard error, for people."""
    return Console(stderr=True, highlight=False, soft_wrap=True)


def print_json(value: Any, *, line: bool = False) -> None:
    """One JSON document on standard output; with ``line`` on one line, for a stream of them."""
    text = json.dumps(value, ensure_ascii=False, indent=None if line else 2, default=str)
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def error_object(error: TrunklineError) -> dict[str, Any]:
    """An error for programs: what, hint, and for a configuration error where."""
    described: dict[str, Any] = {"error": type(error).__name__, "what": error.what, "hint": error.hint}
    if isinstance(error, CombinedConfigError):
        return {"error": "ConfigError", "errors": [error_object(one) for one in error.errors]}
    if isinstance(error, ConfigError):
        described |= {"file": error.file, "line": error.line}
    return described


def exit_code(error: TrunklineError) -> int:
    """2 when what was given is wrong (a document, an argument), 1 when it could not be done."""
    return EXIT_BAD_INPUT if isinstance(error, ConfigError) else EXIT_FAILED


def complain(error: TrunklineError) -> int:
    """Say what is wrong, in a sentence or one line per mistake; returns the exit code."""
    console = err()
    console.print("error: ", style="bold red", end="")
    console.print(str(error), markup=False)
    return exit_code(error)
