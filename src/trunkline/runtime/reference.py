"""Generated parts of the documentation: settings, metrics, commands, states of a call.

A page marks where such a part goes with ``<!-- begin: NAME -->`` and ``<!-- end: NAME -->``. ``python -m
trunkline.runtime.reference docs`` writes them anew; a test fails when a page is behind the code.
"""

import re
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import typer.main

from trunkline.calls.states import diagram
from trunkline.config.reference import tables
from trunkline.model import Missing
from trunkline.operations.metrics.reference import table
from trunkline.runtime.cli import COMMANDS, build, load

_BLOCK: Final = re.compile(r"(<!-- begin: ([a-z]+) -->\n).*?(<!-- end: \2 -->)", re.DOTALL)


def commands() -> str:
    """Markdown: every command with its help, arguments and options."""
    return "\n".join(_command(entry.name) for entry in COMMANDS if _loads(entry.name))


def _loads(name: str) -> bool:
    entry = next(entry for entry in COMMANDS if entry.name == name)
    try:
        load(entry)
    except Missing:
        return False
    return True


def _command(name: str) -> str:
    group = typer.main.get_command(build(name))
    command = group.commands[name]  # type: ignore[attr-defined]
    lines = [f"## trunkline {name}", "", _dedent(command.help or ""), ""]
    lines += ["| argument or option | default | meaning |", "|---|---|---|"]
    lines.extend(_parameter(parameter) for parameter in command.params if parameter.name != "help")
    return "\n".join(lines) + "\n"


def _parameter(parameter: Any) -> str:
    written = ", ".join(f"`{option}`" for option in parameter.opts)
    if parameter.param_type_name == "argument":
        written = f"`{parameter.name.upper()}`"
    default = "required" if parameter.required else ""
    value = parameter.default
    if not parameter.required and value is not None and not callable(value) and value not in {False, ""}:
        default = f"`{getattr(value, 'value', value)}`"
    return f"| {written} | {default} | {(parameter.help or '').replace('|', chr(92) + '|')} |"


def _dedent(text: str) -> str:
    return "\n".join(line.strip() for line in text.strip().splitlines()).replace("\f", "")


def states() -> str:
    """A Mermaid diagram of a call's states."""
    return f"```mermaid\n{diagram()}```\n"


BLOCKS: Final[Mapping[str, Callable[[], str]]] = {
    "settings": tables,
    "metrics": table,
    "commands": commands,
    "states": states,
}


def fill(text: str) -> str:
    """``text`` with every block as the code has it now. Raises ``KeyError`` for a block nobody generates."""
    return _BLOCK.sub(lambda found: f"{found[1]}\n{BLOCKS[found[2]]()}\n{found[3]}", text)


def blocks(text: str) -> Iterator[str]:
    """Names of the blocks in a page."""
    return (found[2] for found in _BLOCK.finditer(text))


def main(folder: Path) -> None:
    """Bring every page under ``folder`` up to date."""
    for page in sorted(folder.rglob("*.md")):
        text = page.read_text(encoding="utf-8")
        if (filled := fill(text)) != text:
            page.write_text(filled, encoding="utf-8")
            sys.stdout.write(f"{page}\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
