import re
from pathlib import Path

from trunkline.trust.ledger import KINDS, Kind

PAGE = Path(__file__).parents[4] / "docs" / "reference" / "timeline.md"
SOURCE = Path(__file__).parents[4] / "src" / "trunkline"


def test_the_table_has_every_kind() -> None:
    assert set(KINDS) == set(Kind)


def test_every_kind_and_field_is_documented() -> None:
    text = PAGE.read_text(encoding="utf-8")
    sections = dict(re.findall(r"^### `(\w+)`\n(.*?)(?=^###? |\Z)", text, flags=re.MULTILINE | re.DOTALL))
    assert set(sections) == {kind.value for kind in Kind}
    for kind, spec in KINDS.items():
        documented = set(re.findall(r"^\| `(\w+)` \|", sections[kind.value], flags=re.MULTILINE))
        assert documented == set(spec.fields), kind
        assert ("Dropped first" in sections[kind.value]) is spec.droppable


def test_every_kind_that_is_named_in_the_source_exists() -> None:
    named = {
        name
        for file in SOURCE.rglob("*.py")
        for name in re.findall(r"\bKind\.([A-Z_]+)\b", file.read_text(encoding="utf-8"))
        if re.search(r"trust\.ledger", file.read_text(encoding="utf-8"))
    }
    assert named
    assert named <= set(Kind.__members__)
