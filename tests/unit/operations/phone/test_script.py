"""The caller script's shape and its mistakes."""

from pathlib import Path

import numpy as np
import pytest

from trunkline.config.source import parse
from trunkline.model import MS, SECOND, ConfigError
from trunkline.operations.phone.audio import write_wav
from trunkline.operations.phone.script import (
    Dtmf,
    ExpectSilence,
    HangUp,
    Interrupt,
    Pause,
    Play,
    Say,
    Script,
    WaitHangUp,
    WaitSpeech,
    WaitTransfer,
    load_script,
    script_from,
)


def script(text: str, folder: Path = Path("scripts")) -> Script:
    return script_from(parse(text.encode(), folder / "caller.yaml"))


def test_every_step_in_its_short_form(tmp_path: Path) -> None:
    write_wav(tmp_path / "hello.wav", np.zeros(80, np.int16))
    made = script(
        """
voice: rms
timeout: 9s
max_duration: 2m
steps:
  - wait_speech
  - wait_speech: started
  - say: "Where is my order?"
  - play: hello.wav
  - dtmf: "12#"
  - pause: 1.5s
  - interrupt: {after_ms: 800, say: "Stop."}
  - expect_silence: {within_ms: 900}
  - wait_transfer: 20s
  - wait_hang_up: 500ms
  - hang_up
""",
        tmp_path,
    )
    assert (made.voice, made.timeout, made.max_duration) == ("rms", 9 * SECOND, 120 * SECOND)
    assert [line.step for line in made.lines] == [
        WaitSpeech(),
        WaitSpeech(until="started"),
        Say(say="Where is my order?"),
        Play(file="hello.wav"),
        Dtmf(digits="12#"),
        Pause(length=1500),
        Interrupt(after_ms=800, say="Stop."),
        ExpectSilence(within_ms=900),
        WaitTransfer(timeout=20_000),
        WaitHangUp(timeout=500),
        HangUp(),
    ]
    assert [line.number for line in made.lines] == list(range(6, 17))


def test_bounds_have_defaults() -> None:
    made = script("steps: [wait_speech]")
    assert made.timeout == 15_000 * MS
    assert made.max_duration == 300 * SECOND
    assert made.lines[0].step == WaitSpeech(until="stopped", quiet=700, timeout=None)


@pytest.mark.parametrize(
    ("text", "line", "what"),
    [
        ("steps: []", 1, "at least 1 item"),
        ("steps:\n  - shout: hello", 2, "no step is called 'shout'"),
        ("steps:\n  - say: hi\n    pause: 1s", 2, "a step is one key"),
        ("steps:\n  - say: hi\n  - 7", 3, "a step is one key"),
        ("steps:\n  - say:", 2, "steps.0.say"),
        ("steps:\n  - pause: soon", 2, "write for example 500ms"),
        ("steps:\n  - pause: 2h", 2, "write for example 500ms"),
        ("steps:\n  - hang_up: now", 2, "takes no plain value"),
        ("steps:\n  - dtmf: 0123", 2, "put digits into quotes"),
        ("steps:\n  - dtmf: 12x", 2, "pattern"),
        ("steps:\n  - interrupt:\n      after_ms: 5\n      sai: hi", 4, "sai"),
        ("steps:\n  - play: missing.wav", 2, "cannot read"),
        ("steps: [wait_speech]\nvoise: rms", 2, "voise"),
    ],
)
def test_mistakes_are_reported_with_their_line(text: str, line: int, what: str) -> None:
    with pytest.raises(ConfigError, match=what) as caught:
        script(text)
    assert f"caller.yaml:{line}: " in str(caught.value)


def test_all_mistakes_are_reported_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        script("steps:\n  - shout: a\n  - say: ok\n  - dtmf: x")
    assert "caller.yaml:2:" in str(caught.value)
    assert "caller.yaml:4:" in str(caught.value)


def test_a_script_is_read_from_its_file(tmp_path: Path) -> None:
    (tmp_path / "caller.yaml").write_text("steps: [hang_up]")
    assert load_script(tmp_path / "caller.yaml").lines[0].step == HangUp()
    with pytest.raises(ConfigError, match="cannot read"):
        load_script(tmp_path / "other.yaml")
