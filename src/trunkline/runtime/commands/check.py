"""``trunkline check``: validate a configuration without starting anything."""

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from trunkline.config import Config, json_schema, load_config
from trunkline.model import ConfigError
from trunkline.runtime.checks import remarks, room_checks
from trunkline.runtime.console import complain, err, error_object, exit_code, out, print_json


def command(
    config: Annotated[
        Path | None, typer.Argument(help="Configuration file (YAML).", show_default=False)
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
    schema: Annotated[
        bool, typer.Option("--schema", help="Print the JSON Schema of the file for editors.")
    ] = False,
) -> None:
    """Check a configuration file and everything it refers to.

    Reads the file, the dialogue and mapping documents it names and the settings of every connector. Nothing is
    started, no port is opened and no secret is read. Every mistake is shown with file and line; then the exit
    code is 2.

    **Examples**

    `trunkline check trunkline.yaml`

    `trunkline check --schema > trunkline.schema.json`
    """
    if schema:
        print_json(json_schema())
        return
    if config is None:
        raise typer.BadParameter("name the configuration file", param_hint="CONFIG")
    try:
        loaded = load_config(config, checks=room_checks())
    except ConfigError as error:
        if not as_json:
            raise typer.Exit(complain(error)) from error
        print_json({"ok": False, **error_object(error)})
        raise typer.Exit(exit_code(error)) from error
    found = list(remarks(loaded))
    if as_json:
        summary = _summary(loaded)
        answer = {
            "ok": True,
            "file": str(config),
            "sha256": loaded.sha256,
            "summary": summary,
            "remarks": found,
        }
        print_json(answer)
    else:
        _show(loaded)
        for remark in found:
            err().print(f"remark: {remark}", style="yellow", markup=False)


def _summary(config: Config) -> dict[str, list[str]]:
    root = config.root
    return {
        "trunks": [trunk.name for trunk in root.trunks],
        "routes": [route.name for route in root.routes],
        "agents": list(root.agents),
        "engines": list(root.engines),
        "tools": list(root.tools),
        "connectors": list(root.connectors),
        "queues": list(root.queues),
    }


def _show(config: Config) -> None:
    table = Table(box=None, show_header=False, pad_edge=False)
    for section, names in _summary(config).items():
        table.add_row(section, ", ".join(names) or "none")
    console = out()
    console.print(f"[green]ok[/green] {config.file} ({config.sha256[:12]})")
    console.print(table)
