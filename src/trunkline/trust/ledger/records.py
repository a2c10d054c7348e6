"""What goes into the ledger and what comes out. All are plain values."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from trunkline.model import CallId, LocalError, Nanos, Outcome
from trunkline.trust.ledger.kinds import Kind


class LedgerUnavailable(LocalError):  # noqa: N818 - reads as what it says
    """The record could not be made durable (disk full, database locked, file gone).

    From ``call_started``: nothing was written, the call must be refused. From ``call_ended`` and ``flush``: the
    rows are still held and written as soon as the database works again.
    """


@dataclass(frozen=True, slots=True)
class CallRecord:
    """The start of a call, known before it is answered. ``started`` is the monotonic instant all times of the
    call's timeline are counted from."""

    id: CallId
    started: Nanos
    trunk: str
    direction: str
    ani: str
    dnis: str
    route: str = ""
    agent: str = ""
    engine: str = ""
    config_hash: str = ""
    """Hash of the configuration the call was born under."""
    protocol_id: str = ""
    """The network's own id: the SIP Call-ID."""


@dataclass(frozen=True, slots=True)
class CallRow:
    """A call detail record. Spans are nanoseconds since the call's start; ``None``: it never happened (yet)."""

    id: CallId
    started_at: str
    """Wall-clock time, ISO 8601, UTC."""
    trunk: str
    direction: str
    ani: str
    dnis: str
    route: str
    agent: str
    engine: str
    config_hash: str
    protocol_id: str
    answered_ns: int | None
    ended_ns: int | None
    outcome: Outcome | None
    """``None`` while the call is open."""
    recordings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Entry:
    """One step of a call's timeline. ``seq`` counts from 1 without holes; ``hash`` is the chain's value in hex."""

    seq: int
    at_ns: int
    kind: Kind | str
    """A plain string only for a kind written by a newer version."""
    data: Mapping[str, Any]
    hash: str


@dataclass(frozen=True, slots=True)
class Verification:
    """Whether a call's chain holds. ``broken_at`` is the ``seq`` of the first entry that does not fit, 0 for the
    call's own start, ``None`` when all is well."""

    ok: bool
    entries: int
    broken_at: int | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True)
class LedgerHealth:
    """State of the record for readiness, metrics and people. Counters count from opening."""

    healthy: bool
    reason: str
    queued: int
    written: int
    commits: int
    failures: int
    dropped: Mapping[str, int] = field(default_factory=dict)
    """Entries refused because the queue was full, by kind."""
    late: int = 0
    """Entries for calls that are not open."""


class Record(Protocol):
    """What a flow needs to write a timeline: ``Ledger.append``, or a list in a test."""

    def __call__(self, call: CallId, at: Nanos, kind: Kind, data: Mapping[str, Any], /) -> None: ...
