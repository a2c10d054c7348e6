"""The pages about phones, the demonstration and Asterisk say what the code does."""

import re
from pathlib import Path

import pytest

from trunkline.config.source import parse
from trunkline.demo.checks import JUDGES, METRICS
from trunkline.operations.phone.report import CallReport
from trunkline.operations.phone.script import STEPS, script_from

DOCS = Path(__file__).parents[2] / "docs"
PHONES = (DOCS / "phones.md").read_text()
DEMO = (DOCS / "demo.md").read_text()


def test_every_step_and_every_key_of_the_script_is_documented() -> None:
    for name, kind in STEPS.items():
        (row,) = re.findall(rf"^\| `{name}` \|.*$", PHONES, re.MULTILINE)
        for key in kind.model_fields:
            assert f"`{key}`" in row, f"{name}.{key}"


def test_the_script_on_the_page_is_valid() -> None:
    (example,) = re.findall(r"```yaml\n(.*?)```", PHONES, re.DOTALL)
    assert len(script_from(parse(example.encode(), DOCS / "example.yaml")).lines) == 7


@pytest.mark.parametrize("command", ["call", "phone"])
def test_every_option_is_documented(command: str) -> None:
    source = (DOCS.parent / "src" / "trunkline" / "runtime" / "commands" / f"{command}.py").read_text()
    options = set(re.findall(r'"(--[a-z-]+)"', source))
    assert options
    for option in options:
        assert option in PHONES, option


def test_every_key_of_the_report_is_documented() -> None:
    for key in CallReport.__dataclass_fields__:
        assert f"`{key}" in PHONES, key


def test_every_check_and_every_metric_is_documented() -> None:
    assert re.findall(r"^\| `([a-z_]+)` \|", DEMO, re.MULTILINE) == [
        *(one.__name__ for one in JUDGES),
        *METRICS,
    ]
