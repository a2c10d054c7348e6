"""Turns of callers, on synthesised speech through a telephone line."""

import logging
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from trunkline.engines.local.audio import Samples, to_samples
from trunkline.engines.local.vad import (
    FRAME_MS,
    Detector,
    Detectors,
    Energy,
    SileroModel,
    Started,
    Stopped,
    TurnDetector,
    TurnEvent,
)
from trunkline.model import Missing

Line = Callable[..., bytes]
FRAME = 8 * FRAME_MS


class Told:
    """A detector that says what it is told, frame by frame."""

    def __init__(self, probabilities: Sequence[float]) -> None:
        self._left = list(probabilities)

    def probability(self, frame: Samples) -> float:
        assert frame.size == FRAME
        return self._left.pop(0)


def turns(
    detector: Detector, samples: Samples, *, piece: int, end_ms: int = 600
) -> list[tuple[float, TurnEvent]]:
    """Events with the ms of audio pushed until then."""
    found: list[tuple[float, TurnEvent]] = []
    turn = TurnDetector(detector)
    turn.end_ms = end_ms
    for at in range(0, samples.size, piece):
        found += [((at + piece) / 8, event) for event in turn.push(samples[at : at + piece])]
    return found


def frames(*runs: tuple[float, int]) -> tuple[Told, Samples]:
    probabilities = [probability for probability, count in runs for _ in range(count)]
    return Told(probabilities), np.zeros(len(probabilities) * FRAME, dtype=np.float32)


def test_a_turn_starts_after_enough_speech_and_ends_after_enough_silence() -> None:
    events = turns(*frames((0.0, 5), (0.9, 10), (0.0, 25)), piece=FRAME)
    assert events == [(9 * FRAME_MS, Started(4 * FRAME_MS)), (34 * FRAME_MS, Stopped(19 * FRAME_MS))]


def test_a_click_is_no_turn() -> None:
    assert turns(*frames((0.0, 5), (0.9, 2), (0.0, 3), (0.9, 3), (0.0, 40)), piece=FRAME) == []


def test_a_dip_within_a_word_does_not_lose_its_beginning() -> None:
    ((_, started),) = turns(*frames((0.0, 5), (0.9, 3), (0.1, 1), (0.9, 2), (0.0, 5)), piece=FRAME)
    assert started == Started(6 * FRAME_MS)


def test_a_pause_shorter_than_the_wait_does_not_end_a_turn() -> None:
    events = turns(*frames((0.9, 10), (0.0, 15), (0.9, 4), (0.0, 30)), piece=FRAME, end_ms=600)
    assert [type(event) for _, event in events] == [Started, Stopped]


def test_quiet_word_ends_keep_a_turn_going() -> None:
    events = turns(*frames((0.9, 10), (0.35, 40)), piece=FRAME)
    assert [type(event) for _, event in events] == [Started]


@pytest.mark.parametrize("kind", ["silero", "energy"])
@pytest.mark.parametrize("text", ["where is my order", "yes", "four five six seven eight"])
def test_speech_is_one_turn_where_it_was(detectors: Detectors, caller: Line, kind: str, text: str) -> None:
    assert detectors.kind == "silero", "the model file belongs to the set-up"
    detector = detectors.detector() if kind == "silero" else Energy()
    line = to_samples(caller(text, before_s=1.0, after_s=1.5))
    loud = np.flatnonzero(np.abs(line) > 600) / 8
    (at, started), (end, stopped) = turns(detector, line, piece=320)
    assert isinstance(started, Started)
    assert isinstance(stopped, Stopped)
    assert abs(at - started.lag_ms - loud[0]) < 150
    assert abs(end - stopped.lag_ms - loud[-1]) < 300
    assert at - loud[0] < 350, "the cue for barge-in comes soon"


@pytest.mark.parametrize("piece", [160, 320, 333, 8000])
def test_pieces_do_not_matter(detectors: Detectors, caller: Line, piece: int) -> None:
    line = to_samples(caller("where is my order", before_s=0.5, after_s=1.0))
    turn, other = TurnDetector(detectors.detector()), TurnDetector(detectors.detector())
    whole = turn.push(line)
    pieces = [event for at in range(0, line.size, piece) for event in other.push(line[at : at + piece])]
    assert pieces == whole


def test_silero_takes_noise_for_no_speech(detectors: Detectors) -> None:
    noise = np.random.default_rng(3).standard_normal(8000 * 10).astype(np.float32) * 500
    assert turns(detectors.detector(), noise, piece=320) == []


def test_calls_do_not_disturb_each_other(detectors: Detectors, caller: Line) -> None:
    line = to_samples(caller("where is my order", before_s=0.5, after_s=1.0))
    alone = [event for _, event in turns(detectors.detector(), line, piece=320)]
    one, two = TurnDetector(detectors.detector()), TurnDetector(detectors.detector())
    heard: list[TurnEvent] = []
    for at in range(0, line.size, 320):
        heard += one.push(line[at : at + 320])
        two.push(line[::-1][at : at + 320].copy())
    assert heard == alone


def test_without_the_model_speech_is_found_by_level_with_one_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        fallback = Detectors(tmp_path / "none.onnx")
        fallback.detector()
        fallback.detector()
    assert fallback.kind == "energy"
    assert len(caplog.records) == 1


def test_the_model_s_runtime_reports_to_nobody(tmp_path: Path) -> None:
    """Its wheels keep a database of events under the home directory, and send them, unless forbidden."""
    program = (
        "import os, numpy\n"
        "from trunkline.engines.local.vad import Detectors\n"
        "detectors = Detectors()\n"
        "assert detectors.kind == 'silero'\n"
        "detectors.detector().probability(numpy.zeros(256, dtype=numpy.float32))\n"
        "links = [f'/proc/self/fd/{fd}' for fd in os.listdir('/proc/self/fd')]\n"
        "held = [os.readlink(link) for link in links if os.path.islink(link)]\n"
        "assert not any('socket' in name or '.db' in name for name in held), held\n"
    )
    kept = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    subprocess.run(
        [sys.executable, "-c", program], check=True, env={**kept, "HOME": str(tmp_path)}, timeout=60
    )
    assert list(tmp_path.iterdir()) == []


def test_a_missing_model_file_is_missing(tmp_path: Path) -> None:
    with pytest.raises(Missing):
        SileroModel(tmp_path / "none.onnx")
