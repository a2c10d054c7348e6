"""The command line: exit codes, sentences, lazy commands."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from trunkline.model import LocalError, Missing
from trunkline.runtime import cli
from trunkline.runtime.cli import COMMANDS, Entry, build, load, run

GOOD = """\
version: 1
trunks: [{name: pbx, sources: ["127.0.0.0/8"]}]
engines: {sim: {kind: realtime, url: "ws://127.0.0.1:1/x", model: m, settings: {speed: 1.2}}}
agents: {a: {engine: sim}}
routes: [{name: r, agent: a}]
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "trunkline.yaml"
    file.write_text(GOOD)
    return file


def test_check_says_ok(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["check", str(file)]) == 0
    assert "ok" in capsys.readouterr().out


def test_check_as_json(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["check", str(file), "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["ok"] is True
    assert answer["summary"]["agents"] == ["a"]


@pytest.mark.parametrize(
    ("before", "after", "place", "what"),
    [
        ("version: 1", "version: 9", ":1:", "version"),
        ("speed: 1.2", "speed: 9", ":3:", "engines.sim.settings.speed"),
        ("speed: 1.2", "sped: 1.2", ":3:", "did you mean speed"),
        ("engine: sim", "engine: local", ":4:", "there is no engine 'local'"),
        ("version: 1", "version: [", ":", "not valid YAML"),
    ],
)
def test_a_mistake_is_said_with_its_place_and_exit_code_2(
    file: Path, capsys: pytest.CaptureFixture[str], before: str, after: str, place: str, what: str
) -> None:
    file.write_text(GOOD.replace(before, after))
    assert run(["check", str(file)]) == 2
    said = capsys.readouterr().err
    assert f"{file}{place}" in said
    assert what in said
    assert "Traceback" not in said


def test_mistakes_as_json(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.write_text(GOOD.replace("speed: 1.2", "speed: 9, sped: 1"))
    assert run(["check", str(file), "--json"]) == 2
    answer = json.loads(capsys.readouterr().out)
    assert answer["ok"] is False
    assert [error["line"] for error in answer["errors"]] == [3, 3]


def test_documents_of_rooms_are_checked(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    local = GOOD.replace("agents: {a: {engine: sim}}", "agents: {a: {engine: sim, dialogue: talk.yaml}}")
    file.write_text(local)
    assert run(["check", str(file)]) == 2
    assert f"{file}:4: agents.a.dialogue: talk.yaml: cannot read" in capsys.readouterr().err
    talk = file.parent / "talk.yaml"
    talk.write_text(
        "version: 1\nhelp: Ask.\nintents:\n  hours:\n    examples: [opening hours]\n    steps:\n"
        "      - call: clock\nperson:\n  queue: nobody\n"
    )
    assert run(["check", str(file)]) == 2
    said = capsys.readouterr().err
    assert f"{talk}:7: intents.hours.steps.0.call: agent 'a' has no tool 'clock'" in said
    assert f"{talk}:9: person.queue: agent 'a' has no queue 'nobody'" in said


def test_connectors_are_checked(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.write_text(GOOD + "connectors: {crm: {kind: telepathy}}\n")
    assert run(["check", str(file)]) == 2
    assert f"{file}:6:" in capsys.readouterr().err


def test_the_schema_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["check", "--schema"]) == 0
    assert json.loads(capsys.readouterr().out)["title"] == "Trunkline configuration"


@pytest.mark.parametrize(
    "arguments", [["check"], ["serve"], ["nonsense"], ["check", "--nonsense"], ["serve", "--config"]]
)
def test_wrong_use_is_exit_code_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(arguments) == 2
    assert capsys.readouterr().err


def test_a_bad_level_is_wrong_use(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["serve", "--config", str(file), "--log-level", "loud"]) == 2
    assert "debug" in capsys.readouterr().err


def test_a_configuration_that_cannot_be_served_is_exit_code_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["serve", "--config", str(tmp_path / "none.yaml")]) == 2
    assert "cannot read" in capsys.readouterr().err


def test_help_and_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--help"]) == 0
    overview = capsys.readouterr().out
    for entry in COMMANDS:
        assert entry.name in overview
    assert run(["--version"]) == 0
    assert capsys.readouterr().out.startswith("trunkline ")


@pytest.mark.parametrize("name", [entry.name for entry in COMMANDS])
def test_every_command_has_help_with_examples(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([name, "--help"]) == 0
    said = capsys.readouterr().out
    assert "Examples" in said
    assert f"trunkline {name}" in said


def test_only_the_command_that_is_called_is_imported() -> None:
    program = (
        "import sys; from trunkline.runtime.cli import run; run(['check', '--schema']); "
        "print(sorted(m for m in sys.modules if m.startswith('trunkline.runtime.commands.')), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stderr.strip().endswith("['trunkline.runtime.commands.check']")


def test_a_missing_library_is_one_sentence() -> None:
    with pytest.raises(Missing, match="the Python module no_such_module is not installed") as refused:
        load(Entry("x", "no_such_module.x", ""))
    assert "make setup" in refused.value.hint


@pytest.mark.parametrize(
    ("error", "code"), [(LocalError("the port is taken", hint="free it"), 1), (Missing("x"), 1)]
)
def test_what_could_not_be_done_is_exit_code_1(
    error: Exception, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    from trunkline.runtime.console import complain

    assert complain(error) == code  # type: ignore[arg-type]
    assert str(error) in capsys.readouterr().err


def test_a_configuration_that_takes_no_calls_is_remarked_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "empty.yaml"
    file.write_text("version: 1\nserver: {http: {host: 0.0.0.0, allow_remote: true}}\n")
    assert run(["check", str(file)]) == 0
    said = capsys.readouterr().err
    assert "no trunk" in said
    assert "no route" in said
    assert "no authentication" in said
    assert run(["check", str(file), "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["remarks"]) == 3


def test_names_differ_and_are_sorted_by_use() -> None:
    names = [entry.name for entry in COMMANDS]
    assert len(set(names)) == len(names)
    assert names[:2] == ["serve", "check"]
    assert build(None) is not build(None)
    assert cli.main is not None
