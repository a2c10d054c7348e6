"""What the call flow needs of other rooms, as shapes; ``runtime.compose`` fills them in.

Engines, tools, voice and ledger arrive through these, so that a flow is tested with fakes at every seam.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from trunkline.config import Agent, Queue, Route
from trunkline.engines.contract import Brief, EngineFactory
from trunkline.integration.tools import Tool, ToolOutcome, ToolRequest
from trunkline.model import CallId, Clock, Nanos, Outcome
from trunkline.trust.ledger import CallRecord, Kind


@dataclass(frozen=True, slots=True)
class Speech:
    """Synthesised words: signed 16-bit little-endian mono PCM."""

    pcm: bytes
    rate: int

    @property
    def span_ms(self) -> int:
        """How long it takes to say."""
        return len(self.pcm) * 1000 // (2 * self.rate)


class Voice(Protocol):
    """The local voice, for masks and for the words when an engine cannot speak."""

    async def say(self, text: str, voice: str) -> Speech:
        """``text`` as audio; an unknown ``voice`` means the default one. Raises ``Missing`` without a
        voice, ``Overloaded`` when too much is being said."""
        ...


class Tools(Protocol):
    """The tools of all agents (``integration.tools.Tools``)."""

    async def invoke(self, request: ToolRequest, *, on_slow: Callable[[Tool], None]) -> ToolOutcome:
        """Carry out ``request``; ``on_slow`` is called once at the mask point. Raises only cancellation."""
        ...


class CallLedger(Protocol):
    """The part of ``trust.ledger.Ledger`` that a flow writes to."""

    async def call_started(self, record: CallRecord) -> None:
        """Durable when it returns. Raises ``LedgerUnavailable``: then the call must be refused."""
        ...

    def append(self, call: CallId, at: Nanos, kind: Kind, data: Mapping[str, Any] | None = None, /) -> None:
        """Add a step to the call's timeline, without waiting. ``at`` is monotonic."""
        ...

    def answered(self, call: CallId, at: Nanos) -> None:
        """The call was answered."""
        ...

    async def call_ended(
        self, call: CallId, outcome: Outcome, *, at: Nanos, recordings: tuple[str, ...] = ()
    ) -> None:
        """Close the record. Raises ``LedgerUnavailable`` when it is not durable yet; it is kept until it is."""
        ...


class Meter(Protocol):
    """Counters and distributions of calls; ``operations.metrics`` implements it. Times are spans."""

    def call_arrived(self) -> None: ...

    def call_answered(self, setup: Nanos) -> None: ...

    def call_ended(self, outcome: Outcome, duration: Nanos) -> None: ...

    def first_audio(self, after: Nanos) -> None: ...

    def response(self, after: Nanos) -> None: ...

    def barge_in(self, flush: Nanos) -> None: ...

    def masked(self) -> None: ...

    def tool(self, name: str, status: str, took: Nanos) -> None: ...

    def engine_failed(self, engine: str) -> None: ...

    def transfer(self, result: str, release: Nanos | None) -> None: ...

    def media_closed(self, counters: Mapping[str, float]) -> None: ...

    def inbox_dropped(self, kind: str, count: int) -> None: ...


@dataclass(frozen=True, slots=True)
class Engine:
    """A configured engine: how to make a session, its kind for the record, and how long it may take."""

    kind: str
    make: EngineFactory
    ready_timeout: Nanos


@dataclass(frozen=True, slots=True)
class Desk:
    """Everything a call is handled with. One for all calls of a process and a configuration."""

    clock: Clock
    ledger: CallLedger
    tools: Tools
    voice: Voice
    meter: Meter
    engines: Mapping[str, Engine]
    agents: Mapping[str, Agent]
    briefs: Mapping[str, Brief]
    """Per agent: instructions, tool specifications and dialogue, without a call's own context."""
    queues: Mapping[str, Queue]
    routes: tuple[Route, ...]
    data_dir: Path
    config_hash: str
    new_id: Callable[[], CallId]
    problem: Callable[[], str] = lambda: ""
    """Why no call can be taken now (the record is behind, media does not run), or empty."""
