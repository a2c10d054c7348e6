"""The reference is complete: settings, metrics, commands, options, paths. Generated parts are up to date."""

import re
from pathlib import Path

import pytest
import typer.main

from trunkline.config.reference import settings
from trunkline.operations.metrics import CATALOGUE
from trunkline.runtime.cli import COMMANDS, build
from trunkline.runtime.reference import BLOCKS, blocks, fill
from trunkline.web.api import PATHS

DOCS = Path(__file__).parents[2] / "docs"
PAGES = sorted(page for page in DOCS.rglob("*.md") if "_build" not in page.parts)
REFERENCE = DOCS / "reference"


def read(name: str) -> str:
    return (REFERENCE / name).read_text(encoding="utf-8")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(DOCS).as_posix())
def test_generated_parts_are_up_to_date(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert fill(text) == text, "run: python -m trunkline.runtime.reference docs"


def test_every_generated_part_is_on_a_page() -> None:
    used = {name for page in PAGES for name in blocks(page.read_text(encoding="utf-8"))}
    assert used == set(BLOCKS)


def test_every_setting_is_documented() -> None:
    text = read("configuration.md")
    everything = list(settings())
    assert len(everything) > 60
    for setting in everything:
        assert f"| `{setting.path}` |" in text, setting.path
        assert setting.meaning, setting.path


def test_every_metric_is_documented_and_no_other() -> None:
    text = read("metrics.md")
    assert set(re.findall(r"^\| `(trunkline_\w+)` ", text, re.MULTILINE)) == set(CATALOGUE)
    asked = set(re.findall(r"\b(trunkline_\w+?)(?:_bucket)?[\[{]", text))
    assert asked <= set(CATALOGUE), "an example asks for a metric that does not exist"


def test_every_command_and_option_is_documented() -> None:
    text = read("cli.md")
    for entry in COMMANDS:
        section = text.partition(f"## trunkline {entry.name}\n")[2].partition("\n## trunkline")[0]
        command = typer.main.get_command(build(entry.name)).commands[entry.name]  # type: ignore[attr-defined]
        for parameter in command.params:
            names = parameter.opts if parameter.param_type_name == "option" else [parameter.name.upper()]
            for name in names:
                assert name in {"--help", "-h"} or f"`{name}`" in section, f"{entry.name} {name}"
                assert parameter.help, f"{entry.name} {name} has no help"


def test_every_path_is_documented() -> None:
    text = read("http-api.md")
    headings = set(re.findall(r"^## GET (\S+)$", text, re.MULTILINE))
    assert headings == {path.path for path in PATHS}
