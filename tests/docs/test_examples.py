"""Every file under examples/ is one that works."""

import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from trunkline.operations.phone.script import load_script

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


@pytest.mark.parametrize("name", ["reception", "openai"])
def test_an_example_configuration_passes_the_check(name: str, tmp_path: Path) -> None:
    folder = shutil.copytree(EXAMPLES / name, tmp_path / name)
    for schema in folder.glob("*.sql"):
        with sqlite3.connect(schema.with_suffix(".db")) as database:
            database.executescript(schema.read_text())
        database.close()
    checked = subprocess.run(
        [Path(sys.executable).with_name("trunkline"), "check", folder / "trunkline.yaml"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_an_example_caller_is_a_caller() -> None:
    assert load_script(EXAMPLES / "order-status.yaml").lines


def test_every_example_is_listed() -> None:
    listed = (EXAMPLES / "README.md").read_text()
    for path in EXAMPLES.iterdir():
        if path.name != "README.md":
            assert f"`{path.name}{'/' if path.is_dir() else ''}`" in listed, path.name
