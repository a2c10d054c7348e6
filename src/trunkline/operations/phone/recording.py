"""Recordings of a phone's calls, made from the packets on its own sockets."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from trunkline.model import LocalError, Nanos
from trunkline.operations.phone.audio import Samples, write_wav
from trunkline.operations.phone.report import Recording
from trunkline.operations.phone.wire import WireLog


def mixed(logs: Sequence[WireLog], start: Nanos, *, sent: bool) -> Samples:
    """One direction of several conversations on one clock, added up."""
    tracks = [log.recording(sent=sent, start=start) for log in logs]
    total = np.zeros(max((len(track) for track in tracks), default=0), dtype=np.int32)
    for track in tracks:
        total[: len(track)] += track
    return np.clip(total, -32768, 32767).astype(np.int16)


def save(path: Path, logs: Sequence[WireLog], start: Nanos) -> Recording:
    """Write ``path`` (heard) and ``…-both.wav`` beside it (left heard, right said). Raises ``LocalError``."""
    heard, said = mixed(logs, start, sent=False), mixed(logs, start, sent=True)
    both = path.with_name(f"{path.stem}-both{path.suffix or '.wav'}")
    try:
        write_wav(path, heard)
        write_wav(both, heard, said)
    except OSError as failed:
        raise LocalError(f"cannot write {failed.filename or path}: {failed.strerror}") from failed
    return Recording(started_at=start, heard=str(path), both=str(both))
