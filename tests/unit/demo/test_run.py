"""The stage: what is prepared, what is found afterwards, what is written."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from rich.console import Console

from trunkline.demo.checks import METRICS, Check
from trunkline.demo.legacy import ORDER
from trunkline.demo.run import OWN, Play, run_demo
from trunkline.demo.server import CallView
from trunkline.demo.waterfall import Entry
from trunkline.model import LocalError
from trunkline.operations.phone.audio import write_wav
from trunkline.operations.phone.report import CallReport, PhoneReport
from trunkline.runtime.clock import RealClock


@pytest.fixture
def play(tmp_path: Path) -> Play:
    made = Play(tmp_path / "demo", Console(file=io.StringIO()), RealClock())
    made.prepare()
    return made


def test_a_folder_is_prepared_and_only_own_files_are_replaced(tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    folder.mkdir()
    for name in (*(name for name in OWN if name != "config"), "server.log", "mine.txt"):
        (folder / name).write_text("old")
    Play(folder, Console(file=io.StringIO()), RealClock()).prepare()
    assert sorted(path.name for path in folder.iterdir()) == ["config", "mine.txt"]
    assert (folder / "config" / "legacy.db").stat().st_size > 10_000
    script = yaml.safe_load((folder / "config" / "caller.yaml").read_text())
    spoken = " ".join(str(step.get("say", "")) for step in script["steps"] if isinstance(step, dict))
    assert " ".join(ORDER) in spoken, "the caller asks for the order that the database has"


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(LocalError, match="cannot be prepared"):
        Play(tmp_path / "file" / "demo", Console(file=io.StringIO()), RealClock()).prepare()


def test_the_report_has_the_promised_shape(play: Play, tmp_path: Path) -> None:
    play.write_report(
        [Check("a", ok=True, detail="x"), Check("b", ok=False, detail="ü")], dict.fromkeys(METRICS)
    )
    report = json.loads((tmp_path / "demo" / "report.json").read_text(encoding="utf-8"))
    assert report == {
        "ok": False,
        "checks": [{"name": "a", "ok": True, "detail": "x"}, {"name": "b", "ok": False, "detail": "ü"}],
        "metrics": dict.fromkeys(METRICS),
    }


def test_evidence_of_a_call_that_never_was(play: Play) -> None:
    caller = CallReport(False, "not answered", None, None, 0.0, ())
    call = CallView("", over=False, timeline=(), recordings=())
    found = play.evidence(
        caller, 1, PhoneReport(ok=False, address="", calls=()), call, healthy=False, open_calls=0
    )
    assert found.person is None
    assert found.recording is None
    assert len(found.caller_heard.samples) == 0
    assert found.expected.order_number == ORDER
    assert play.files(found) == {}


def test_the_servers_recording_is_taken_apart(play: Play, tmp_path: Path) -> None:
    file = tmp_path / "demo" / "config" / "data" / "recordings" / "call-1.wav"
    write_wav(file, np.full(10, 5, np.int16), np.full(10, -5, np.int16))
    timeline = (Entry(7, "recording_started", {"path": "recordings/call-1.wav"}),)
    caller = CallReport(False, "", None, None, 0.0, ())
    call = CallView("call-1", over=True, timeline=timeline, recordings=())
    found = play.evidence(
        caller, 0, PhoneReport(ok=False, address="", calls=()), call, healthy=True, open_calls=0
    )
    assert found.recording is not None
    assert found.recording.started_at == 7
    assert set(found.recording.caller.tolist()) == {5}
    assert set(found.recording.agent.tolist()) == {-5}
    assert play.files(found)["the server's recording"] == file


async def test_a_demonstration_that_cannot_start_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(LocalError):
        await run_demo(tmp_path / "file", Console(file=io.StringIO()), RealClock(), keep=False)
