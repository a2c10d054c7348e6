"""The whole demonstration, as a user runs it: exit code, report and what people see."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from trunkline.runtime.clock import RealClock
from trunkline.testing.peers import COMMAND, Program

CHECKS = {
    "caller_finished",
    "greeting_heard",
    "mask_heard",
    "answer_heard",
    "silent_after_barge_in",
    "transferred",
    "person_hears_caller",
    "caller_hears_person",
    "media_path_left",
    "release_recorded",
    "transcript_has_order",
    "recording_has_both",
    "outcome_recorded",
    "audio_unbroken",
    "server_well",
}
METRICS = {
    "setup_ms",
    "first_audio_ms",
    "mask_after_ms",
    "barge_in_flush_ms",
    "transfer_release_ms",
    "caller_heard_s",
    "transcript",
}


def demo(tmp_path: Path, *arguments: str) -> Program:
    return Program(
        [*COMMAND, "demo", "--folder", tmp_path / "demo", *arguments],
        log=tmp_path / "output",
        clock=RealClock(),
        folder=tmp_path,
        environment={"COLUMNS": "120", "NO_COLOR": "1", "TERM": "dumb"},
    )


def processes_in(folder: Path) -> list[str]:
    """Command lines of processes that work with files of ``folder``."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            if str(folder) in line:
                found.append(line)
    return found


@pytest.mark.demo
@pytest.mark.timeout(180)
async def test_the_demonstration_succeeds_and_can_be_phoned_until_it_is_interrupted(tmp_path: Path) -> None:
    async with demo(tmp_path, "--keep") as program:
        uri = (await program.printed(r"dial +(sip:1000@[0-9.]+:\d+)", within_s=150))[1]
        await program.printed("Ctrl-C ends it", within_s=10)
        call = Program(
            [*COMMAND, "call", uri, "--seconds", "4", "--json"], log=tmp_path / "call", clock=RealClock()
        )
        async with call:
            assert await call.finished(within_s=40) == 0, call.output()
        assert json.loads(call.output())["heard_s"] > 1
        program.interrupt()
        assert await program.finished(within_s=30) == 0, program.output()
    assert processes_in(tmp_path / "demo") == []
    output = program.output()
    check_report(json.loads((tmp_path / "demo" / "report.json").read_text()))
    for name in ("caller.wav", "caller-both.wav", "person.wav", "person-both.wav"):
        assert (tmp_path / "demo" / name).stat().st_size > 44
    assert "Transcript" in output
    assert "The demonstration succeeded: 15 of 15 checks." in output
    assert "\x1b[" not in output, "NO_COLOR is respected"
    assert max(map(len, output.splitlines())) <= 120


def check_report(report: dict[str, Any]) -> None:
    """The shape that other programs rely on, and a good result."""
    assert report.keys() == {"ok", "checks", "metrics"}
    assert report["ok"] is True
    assert {check["name"] for check in report["checks"]} == CHECKS
    assert all(check.keys() == {"name", "ok", "detail"} and check["ok"] for check in report["checks"])
    assert report["metrics"].keys() == METRICS
    assert [line["role"] for line in report["metrics"]["transcript"]][:2] == ["agent", "caller"]
    assert all(isinstance(report["metrics"][name], int | float) for name in METRICS - {"transcript"})
