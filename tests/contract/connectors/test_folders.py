"""Every connector folder is complete, and what it claims about itself is well-formed."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
HOME = ROOT / "src" / "trunkline" / "integration" / "connectors"
FOLDERS = sorted(path.parent for path in HOME.glob("*/manifest.toml"))
PAGE = ROOT / "docs" / "integration" / "connectors.md"


def rules() -> set[str]:
    return set(re.findall(r"^`(\w+)`\n: ", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE))


def test_every_folder_is_a_connector() -> None:
    made = {path.name for path in HOME.iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert made == {path.name for path in FOLDERS}
    assert rules(), "the rules are documented"


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_folder(folder: Path) -> None:
    for file in ("__init__.py", "connector.py", "client.py", "simulator.py", "quality.toml", "README.md"):
        assert (folder / file).is_file(), file
    manifest = tomllib.loads((folder / "manifest.toml").read_text(encoding="utf-8"))
    assert manifest["name"] == folder.name
    assert {"title", "description", "owner", "systems", "operations", "data", "limits"} <= set(manifest)
    assert all(system["vendor"] and system["versions_seen"] for system in manifest["systems"])


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_quality(folder: Path) -> None:
    claimed = tomllib.loads((folder / "quality.toml").read_text(encoding="utf-8"))["rules"]
    assert set(claimed) == rules()
    for rule, state in claimed.items():
        if isinstance(state, dict):
            assert set(state) == {"exempt"}, rule
            assert len(state["exempt"]) > 10, f"{rule}: say why"
        else:
            assert state in {"done", "todo"}, rule


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_connectors_do_not_import_one_another(folder: Path) -> None:
    others = "|".join(re.escape(path.name) for path in FOLDERS if path != folder) or "$^"
    for file in folder.rglob("*.py"):
        assert not re.search(rf"integration\.connectors\.({others})\b", file.read_text(encoding="utf-8")), (
            file
        )
