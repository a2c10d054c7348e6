"""YAML with lines: what is read, what is refused, where a mistake is said to be."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict

from trunkline.config.source import MAX_DOCUMENT_BYTES, parse
from trunkline.model import ConfigError

FILE = Path("x.yaml")


class Inner(BaseModel):
    model_config = ConfigDict(extra="forbid")
    size: int


class Outer(BaseModel):
    model_config = ConfigDict(extra="forbid")
    items: list[Inner]
    name: str = ""


def test_every_node_has_its_line() -> None:
    document = parse(b"a: 1\nb:\n  - x\n  - {y: 2}\n", FILE)
    assert document.data == {"a": 1, "b": ["x", {"y": 2}]}
    assert [document.line(path) for path in [("a",), ("b",), ("b", 1, "y"), ("b", 7), ("z",)]] == [
        1,
        2,
        4,
        2,
        1,
    ]


@pytest.mark.parametrize(
    ("text", "line", "what"),
    [
        (b"a: [1", 1, "not valid YAML"),
        (b"a: 1\nb: 2\na: 3\n", 3, "'a' is given twice"),
        (b"a: !!python/object:os.system {}\n", 1, "not a plain value"),
        (b"\xff\xfe\x00", 0, "not valid YAML"),
        (b"a: &x [*x]\n", 1, "nested too deeply"),
    ],
)
def test_what_is_refused(text: bytes, line: int, what: str) -> None:
    with pytest.raises(ConfigError, match=what) as refused:
        parse(text, FILE)
    assert line in (0, refused.value.line)


def test_a_document_has_a_size() -> None:
    with pytest.raises(ConfigError, match="larger than"):
        parse(b"#" * (MAX_DOCUMENT_BYTES + 1), FILE)


def test_nesting_has_a_depth() -> None:
    with pytest.raises(ConfigError, match="nested too deeply"):
        parse(b"[" * 60 + b"]" * 60, FILE)


def test_validation_points_at_the_place() -> None:
    document = parse(b"name: x\nitems:\n  - {size: 1}\n  - {size: big}\n  - {sizes: 1}\n", FILE)
    with pytest.raises(ConfigError) as refused:
        document.validate(Outer)
    lines = str(refused.value).splitlines()
    assert [line.split(": ")[0] for line in lines] == ["x.yaml:4", "x.yaml:5", "x.yaml:5"]
    assert "did you mean size" in str(refused.value)


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=200))
def test_no_bytes_do_more_than_raise_a_config_error(raw: bytes) -> None:
    try:
        parse(raw, FILE)
    except ConfigError as error:
        assert error.file == "x.yaml"
