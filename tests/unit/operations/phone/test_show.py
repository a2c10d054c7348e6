"""Reports and events of phones, for people and for programs."""

import io
import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from trunkline.model import SECOND, LocalError
from trunkline.operations.phone.events import Events, event_lines
from trunkline.operations.phone.report import CallReport, LegReport, Recording, Sending, TransferReport
from trunkline.operations.phone.show import event_line, report_table
from trunkline.operations.phone.wire import Reception
from trunkline.testing import VirtualClock

LEG = LegReport(
    target="sip:[odd]@192.0.2.1",
    began_at=0,
    answered_at=SECOND,
    ended_at=6 * SECOND,
    end="we hung up",
    received=Reception(packets=250, lost=2, gaps=1, longest_gap_ms=88.0, jitter_ms=1.25),
    sent=Sending(249, "192.0.2.1:4000", 0, 1),
    heard=(),
    said=(),
)
GOOD = CallReport(
    ok=True,
    failure="",
    setup_ms=12.0,
    first_audio_ms=None,
    heard_s=3.2,
    legs=(LEG,),
    transfer=TransferReport("sip:human@192.0.2.2", 0, 0, SECOND),
    recording=Recording(0, "heard.wav", "heard-both.wav"),
)


def shown(report: CallReport) -> str:
    out = io.StringIO()
    Console(file=out, width=120, no_color=True).print(report_table(report))
    return out.getvalue()


def test_a_report_shows_figures_legs_and_files() -> None:
    text = shown(GOOD)
    for part in (
        "sip:[odd]@192.0.2.1",
        "5.0 s",
        "250",
        "1, longest 88 ms",
        "12 ms",
        "3.2 s",
        "answered after 1.00 s",
        "heard-both.wav",
        "ok",
    ):
        assert part in text


def test_a_failure_is_the_last_line() -> None:
    report = CallReport(False, "caller.yaml:3: say: the call is over", None, None, 0.0, ())
    assert shown(report).rstrip().endswith("failed: caller.yaml:3: say: the call is over")


@pytest.mark.parametrize(
    ("kind", "data", "part"),
    [
        ("listening", {"address": "127.0.0.1:5060"}, "sip:127.0.0.1:5060"),
        ("dials", {"target": "sip:[x]@y"}, r"sip:\[x]@y"),
        ("rings", {"party": "sip:x@y", "status": 180}, "rings (180)"),
        ("answered", {"party": "sip:x@y", "setup_ms": 3.4}, "after 3 ms"),
        ("step", {"line": 4, "name": "say"}, "line 4"),
        ("presses", {"party": "sip:x@y", "digits": "12#"}, "12#"),
        ("transfer", {"target": "sip:z@y"}, "sip:z@y"),
        ("transfer_failed", {"why": "486"}, "486"),
        ("ended", {"party": "sip:x@y", "why": "we hung up"}, "we hung up"),
        ("something_new", {"a": 1}, "something_new"),
    ],
)
def test_events_in_words(kind: str, data: dict[str, Any], part: str) -> None:
    assert part in event_line(kind, data)


def test_events_are_lines_of_json_with_the_time(tmp_path: Path) -> None:
    clock = VirtualClock()
    seen: list[str] = []
    with event_lines(str(tmp_path / "events")) as lines:
        note = Events(clock, lines=lines, show=lambda kind, _data: seen.append(kind))
        note("dials", target="sip:ü@y")
    assert json.loads((tmp_path / "events").read_text(encoding="utf-8")) == {
        "at": clock.now(),
        "event": "dials",
        "target": "sip:ü@y",
    }
    assert seen == ["dials"]


def test_where_events_go(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with event_lines(None) as lines:
        assert lines is None
    with event_lines("-") as lines:
        assert lines is not None
        lines.write("x\n")
    assert capsys.readouterr().err == "x\n"
    with pytest.raises(LocalError, match="cannot write"), event_lines(str(tmp_path / "no" / "events")):
        pass
