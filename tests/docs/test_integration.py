"""What docs/integration says is what the code does: its examples run, its tables are complete."""

import json
import re
import textwrap
from pathlib import Path
from typing import Any

import pytest
import yaml

from trunkline.config import Root
from trunkline.config.source import parse
from trunkline.demo.legacy import build_legacy
from trunkline.integration.connectors import Connector
from trunkline.integration.connectors.sql import create
from trunkline.integration.connectors.sql.settings import Pool, SqlSettings, Statement
from trunkline.integration.mapping import compile_mapping
from trunkline.integration.mapping.dates import NAMED, compile_date
from trunkline.integration.mapping.document import FieldRule, Number
from trunkline.integration.tools import ToolStatus
from trunkline.integration.tools.answers import plain
from trunkline.integration.tools.spoken import FILTERS, parse_sentence
from trunkline.testing.connectors import Question, Rig, answers_what_is_there, describes_its_operations

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs" / "integration"
README = ROOT / "src" / "trunkline" / "integration" / "connectors" / "sql" / "README.md"


def text(name: str) -> str:
    return (DOCS / f"{name}.md").read_text(encoding="utf-8")


def block(page: str, language: str, containing: str) -> str:
    blocks = re.findall(rf"^```{language}\n(.*?)^```", text(page), flags=re.MULTILINE | re.DOTALL)
    (found,) = [one for one in blocks if containing in one]
    return str(found)


def rows(page: str, header: str) -> list[list[str]]:
    """Cells of the table whose header line starts with ``header``."""
    lines = text(page).splitlines()
    start = next(n for n, line in enumerate(lines) if line.startswith(header))
    cells = []
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        cells.append([cell.strip() for cell in line.strip("|").split("|")])
    assert cells
    return cells


def code(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def test_the_mapping_example() -> None:
    mapping = compile_mapping(parse(block("mapping", "yaml", "version: 1").encode(), Path("mapping.md")))
    written = re.search(r"The record `(\{.*?\})` becomes", text("mapping"), flags=re.DOTALL)
    assert written is not None
    record = mapping.record("order").apply(yaml.safe_load(" ".join(written[1].split()))).record
    assert plain(record) == json.loads(block("mapping", "json", "order_number"))


def test_the_dates_table() -> None:
    shown = set()
    for format_cell, written_cell, day in rows("mapping", "| date format |"):
        pattern, written = code(format_cell)[0], code(written_cell)[0]
        assert compile_date(pattern, 40)(written) == day
        shown.add(pattern)
    assert set(NAMED) <= shown


def test_every_setting_of_a_field_is_explained() -> None:
    page = text("mapping")
    for name, field in {**FieldRule.model_fields, **Number.model_fields}.items():
        assert re.search(rf"`{field.alias or name}\b", page), name


def test_the_note_about_yaml() -> None:
    assert yaml.safe_load("{a: NO, b: 01}") == {"a": False, "b": 1}


def test_the_tool_example_is_a_valid_configuration() -> None:
    document = yaml.safe_load(block("tools", "yaml", "order_status:"))
    document["agents"]["orders"]["engine"] = "local"
    whole = {"version": 1, **document}
    Root.model_validate(whole)


def test_every_status_and_filter_is_explained() -> None:
    assert [code(row[0])[0] for row in rows("tools", "| status |")] == [status.value for status in ToolStatus]
    filters = rows("tools", "| filter |")
    assert {code(name)[0] for name, _, _ in filters} == set(FILTERS)
    for name, value, said in filters:
        assert parse_sentence(f"{{x:{code(name)[0]}}}").say({"x": code(value)[0]}) == said


async def test_the_connector_example_is_a_connector() -> None:
    source = block("connectors", "python", "class Weather")
    names: dict[str, Any] = {}
    exec(compile(textwrap.dedent(source), "connectors.md", "exec"), names)

    def create_weather() -> Connector:
        made: Connector = names["create"](parse(b"towns: {Rome: sunny}", Path("settings.yaml")))
        return made

    rig = Rig(
        create=create_weather,
        create_down=create_weather,
        busy=lambda _: False,
        known=Question("tomorrow", {"town": "Rome"}),
        answer=({"weather": "sunny"},),
        endless=Question("tomorrow", {"town": "Rome"}),
        broken=(),
    )
    await describes_its_operations(rig)
    await answers_what_is_there(rig)


@pytest.mark.parametrize("model", [SqlSettings, Statement, Pool])
def test_every_setting_of_the_sql_connector_is_explained(model: type[Any]) -> None:
    page = README.read_text(encoding="utf-8")
    for name in model.model_fields:
        if name == "pool":
            continue
        assert re.search(rf"^\| `(pool\.)?{name}` \|", page, flags=re.MULTILINE), name


def test_the_sql_example_is_valid(tmp_path: Path) -> None:
    settings = yaml.safe_load(block("connectors", "yaml", "kind: sql"))["connectors"]["erp"]["settings"]
    build_legacy(tmp_path / "legacy.db", think_ms=0)
    (tmp_path / "mappings").mkdir()
    demo = ROOT / "src" / "trunkline" / "demo" / "data" / "mappings" / "orders.yaml"
    (tmp_path / "mappings" / "orders.yaml").write_bytes(demo.read_bytes())
    connector = create(parse(yaml.safe_dump(settings).encode(), tmp_path / "trunkline.yaml"))
    assert set(connector.operations()) == {"find_order"}
