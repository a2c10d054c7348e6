"""What people see of the demonstration."""

import io

from rich.console import Console

from trunkline.demo.checks import METRICS, Check
from trunkline.demo.show import Stage, how_to_phone, phone_line, results, timeline_line, verdict
from trunkline.demo.waterfall import Entry
from trunkline.model import SECOND


def console(width: int = 100) -> Console:
    return Console(file=io.StringIO(), width=width, no_color=True)


def text(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_lines_carry_the_time_since_the_call_began_and_long_ones_stay_in_their_column() -> None:
    out = console(50)
    with Stage(out) as stage:
        stage.line("server", "ready")
        stage.call_begins(100 * SECOND)
        stage.under_way("nothing is shown of this on a file")
        stage.line("agent", "word " * 12, 102 * SECOND)
    first, *rest = text(out).splitlines()
    assert first.split() == ["server", "ready"]
    assert rest[0].startswith("   2.0 s agent")
    assert len(rest) > 1
    assert all(line.startswith(" " * 17) for line in rest[1:])


def test_entries_worth_a_line() -> None:
    def line(kind: str, **data: object) -> tuple[str, str] | None:
        return timeline_line(Entry(0, kind, data))

    assert line("transcript", role="caller", text="hello") == ("caller", "“hello”")
    assert line("mask_started", text="One moment.") == ("agent", "“One moment.” (bridging the wait)")
    assert line("tool_finished", took_ms=2512.0) == ("server", "the order system answered after 2.5 s")
    assert line("media_released", release_ms=3.6) == ("server", "has left the media path after 4 ms")
    assert line("play_started") is None


def test_events_worth_a_line() -> None:
    assert phone_line({"event": "answered", "setup_ms": 12.4}) == "is connected after 12 ms"
    assert phone_line({"event": "answered"}) == "answers"
    assert phone_line({"event": "ended", "party": "sip:x", "why": "we hung up"}) == "we hung up (sip:x)"
    assert phone_line({"event": "step", "line": 1}) is None


def test_results_name_every_check_and_file() -> None:
    out = console()
    figures = dict.fromkeys(METRICS) | {
        "transcript": [{"at_s": 1.5, "role": "agent", "text": "Hello [you]."}]
    }
    checks = [
        Check("mask_heard", ok=True, detail="700 ms"),
        Check("server_well", ok=False, detail="2 calls open"),
    ]
    results(out, timeline=[Entry(0, "answered", {})], checks=checks, figures=figures, files={})
    shown = text(out)
    assert "Hello [you]." in shown
    assert "✓  mask heard" in shown
    assert "✗  server well" in shown
    verdict(out, checks)
    assert "The demonstration failed: server well." in text(out)
    verdict(out, checks[:1])
    assert "The demonstration succeeded: 1 of 1 checks." in text(out)


def test_how_to_phone_names_address_extension_and_codecs() -> None:
    out = console()
    how_to_phone(out, sip="127.0.0.1:5060", http="http://127.0.0.1:8080", person="sip:human@127.0.0.1:5090")
    for part in ("sip:1000@127.0.0.1:5060", "port 5060", "PCMU", "sip:human@127.0.0.1:5090", "/api/calls"):
        assert part in text(out)
