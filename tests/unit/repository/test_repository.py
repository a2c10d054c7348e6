"""Promises the repository makes about itself."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]


def tracked(*patterns: str) -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "-z", *patterns], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if listed.returncode:
        pytest.skip("not a git checkout")
    return [ROOT / name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]


def test_the_locks_belong_to_the_dependency_tables() -> None:
    now = subprocess.run(
        [sys.executable, ROOT / "scripts/lock-inputs"], capture_output=True, text=True, check=True
    ).stdout.strip()
    assert now == (ROOT / "locks/inputs.sha256").read_text().strip(), "run scripts/lock"


def test_every_locked_package_has_a_hash_and_no_address() -> None:
    for lock in sorted((ROOT / "locks").glob("*.txt")):
        text = lock.read_text()
        pins = re.findall(r"^[A-Za-z0-9_.-]+==.*?(?=^\S|\Z)", text, re.MULTILINE | re.DOTALL)
        assert pins, lock
        assert all("--hash=sha256:" in pin for pin in pins), lock
        assert "://" not in text, lock


def test_make_lists_every_target_it_has() -> None:
    text = (ROOT / "Makefile").read_text()
    phony = set(re.findall(r"^\.PHONY: (\S+)", text, re.MULTILINE))
    described = set(re.findall(r"^([a-z-]+):[^#\n]*## ", text, re.MULTILINE))
    assert phony == described
    assert {"demo", "test", "check", "fix", "types", "bench", "fuzz", "peers", "docs", "clean"} <= phony


def test_the_flow_files_stay_readable() -> None:
    for flow in ("calls/flow.py", "integration/tools/invoke.py"):
        lines = (ROOT / "src/trunkline" / flow).read_text().splitlines()
        assert len(lines) < 150, f"{flow} has {len(lines)} lines"


def test_every_decision_says_context_decision_and_consequences() -> None:
    pages = sorted((ROOT / "docs/adr").glob("[0-9]*.md"))
    assert len(pages) >= 11
    for page in pages:
        text = page.read_text()
        for heading in ("## Context", "## Decision", "## Consequences"):
            assert heading in text, f"{page.name} lacks {heading}"


def test_no_unfinished_work_is_marked_in_the_code() -> None:
    marker = re.compile(r"\b(TODO|FIXME|XXX)\b")
    found = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in tracked("src/**/*.py", "crates/**/*.rs", "benches/**/*.py", "scripts/*")
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1)
        if marker.search(line)
    ]
    assert not found


def test_only_telephony_media_imports_the_native_module() -> None:
    # import-linter reads Python sources only, so a compiled module is invisible to it.
    names = re.compile(r"trunkline\._native|from trunkline import .*\b_native\b")
    importing = {
        str(path.relative_to(ROOT / "src/trunkline").parent)
        for path in (ROOT / "src/trunkline").rglob("*.py")
        if any(names.search(line) for line in path.read_text().splitlines() if "import" in line)
    }
    assert importing == {"telephony/media"}


def test_pyo3_appears_in_one_manifest() -> None:
    manifests = [*ROOT.glob("crates/*/Cargo.toml"), *ROOT.glob("benches/*/Cargo.toml")]
    with_bindings = {
        path.parent.name for path in manifests if re.search(r"^pyo3\b", path.read_text(), re.MULTILINE)
    }
    assert with_bindings == {"native"}


def test_sans_io_crates_forbid_unsafe_code() -> None:
    for crate in ("rtp", "dsp", "wire", "session", "netem"):
        assert "#![forbid(unsafe_code)]" in (ROOT / f"crates/{crate}/src/lib.rs").read_text(), crate


@pytest.mark.parametrize("room", ["engines", "integration.connectors", "telephony.legs"])
def test_every_sibling_of_a_room_is_in_its_independence_contract(room: str) -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    listed = {
        module
        for contract in contracts
        if contract["type"] == "independence"
        for module in contract["modules"]
        if module.startswith(f"trunkline.{room}.")
    }
    folder = ROOT / "src/trunkline" / room.replace(".", "/")
    assert listed == {f"trunkline.{room}.{path.parent.name}" for path in folder.glob("*/__init__.py")}
