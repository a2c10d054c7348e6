"""What a phone reports of its calls: plain records that become JSON and come back from it.

All times are nanoseconds on the monotonic clock, which all processes of one machine share, so that reports of
several phones and the server's timeline can be laid side by side.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

import msgspec

from trunkline.model import SECOND, Nanos
from trunkline.operations.phone.wire import Reception, SpeechSpan


@dataclass(frozen=True, slots=True)
class Spoken:
    """A stretch of speech on the wire."""

    start: int
    end: int

    @property
    def seconds(self) -> float:
        return (self.end - self.start) / SECOND


def spoken(spans: Sequence[SpeechSpan], until: Nanos) -> tuple[Spoken, ...]:
    """Speech spans with those that go on closed at ``until``."""
    return tuple(Spoken(span.start, until if span.end is None else span.end) for span in spans)


@dataclass(frozen=True, slots=True)
class Sending:
    """Packets we sent."""

    packets: int
    peer: str
    first_at: int | None
    last_at: int | None


@dataclass(frozen=True, slots=True)
class LegReport:
    """One dialog of a phone."""

    target: str
    """URI that was dialled, or of the caller."""
    began_at: int
    """When the INVITE was sent or arrived."""
    answered_at: int | None
    ended_at: int | None
    end: str
    """How it ended, for people."""
    received: Reception
    sent: Sending
    heard: tuple[Spoken, ...]
    """Speech of the far end."""
    said: tuple[Spoken, ...]
    """Speech of ours."""


@dataclass(frozen=True, slots=True)
class StepReport:
    """A step of the script that was carried out."""

    line: int
    name: str
    began_at: int
    ended_at: int
    detail: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TransferReport:
    """A REFER that we followed."""

    target: str
    requested_at: int
    accepted_at: int
    """When our 202 was sent."""
    answered_at: int | None
    """When the new party answered."""
    failure: str = ""


@dataclass(frozen=True, slots=True)
class Recording:
    """WAV files of 8 kHz; the first sample belongs to ``started_at``."""

    started_at: int
    heard: str
    """What the far end said."""
    both: str
    """Left the far end, right we."""


@dataclass(frozen=True, slots=True)
class CallReport:
    """One call that a phone made or answered."""

    ok: bool
    failure: str
    """Why not ``ok``: the step, its line and what was missing."""
    setup_ms: float | None
    """From the INVITE to the 200."""
    first_audio_ms: float | None
    """From the 200 to the first speech heard."""
    heard_s: float
    """Seconds of speech heard from all parties."""
    legs: tuple[LegReport, ...]
    steps: tuple[StepReport, ...] = ()
    transfer: TransferReport | None = None
    recording: Recording | None = None

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Any) -> Self:
        """Back from plain data. Raises ``msgspec.ValidationError``."""
        return msgspec.convert(data, cls)


@dataclass(frozen=True, slots=True)
class PhoneReport:
    """What a phone that answers has seen."""

    ok: bool
    address: str
    calls: tuple[CallReport, ...]

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Any) -> Self:
        """Back from plain data. Raises ``msgspec.ValidationError``."""
        return msgspec.convert(data, cls)


def file_text(path: Path | None) -> str:
    """A path as reports carry it."""
    return "" if path is None else str(path)
