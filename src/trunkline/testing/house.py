"""A whole house of fakes around ``calls``: everything but the flow itself is in memory and on virtual time."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from trunkline.calls import Admission, Desk, Engine, Speech, Switchboard
from trunkline.config import Agent, DnisPattern, Queue, Route
from trunkline.engines.contract import Brief, EngineSession, EngineSink, Greet, ToolSpec
from trunkline.integration.connectors import Operation, OperationKind
from trunkline.integration.policy import ArgumentRules, Budget
from trunkline.integration.tools import Tool, ToolOutcome, ToolRequest, ToolStatus
from trunkline.integration.tools.spoken import parse_sentence
from trunkline.model import (
    CallId,
    Clock,
    LocalProtocolError,
    Missing,
    Nanos,
    Outcome,
    Reason,
    Result,
    ms,
    seconds,
)
from trunkline.operations.metrics import Metrics
from trunkline.telephony.legs.contract import LegInfo
from trunkline.telephony.media.port import EnginePort
from trunkline.testing import (
    TRANSFER_SUCCEEDS,
    FakeLeg,
    FakeMediaFactory,
    FakeMediaPort,
    Journal,
    ScriptedEngine,
    Speak,
    TransferStep,
    VirtualClock,
    wait_until,
)
from trunkline.trust.ledger import KINDS, CallRecord, Kind, LedgerUnavailable

GREETING = (Speak("Hello, how can I help?", 1_000, "greeting"),)


@dataclass
class MemoryLedger:
    """What the flow wrote. As strict as the real one with ``strict=True``."""

    unavailable: bool = False
    started: dict[CallId, CallRecord] = field(default_factory=dict)
    entries: dict[CallId, list[tuple[int, Kind, Mapping[str, Any]]]] = field(default_factory=dict)
    answered_at: dict[CallId, Nanos] = field(default_factory=dict)
    ended: dict[CallId, Outcome] = field(default_factory=dict)
    recordings: dict[CallId, tuple[str, ...]] = field(default_factory=dict)

    async def call_started(self, record: CallRecord) -> None:
        if self.unavailable:
            raise LedgerUnavailable("the disk is full")
        self.started[record.id] = record
        self.entries[record.id] = []

    def append(self, call: CallId, at: Nanos, kind: Kind, data: Mapping[str, Any] | None = None, /) -> None:
        if call not in self.started or call in self.ended:
            raise LocalProtocolError(f"{kind} for a call that is not open")
        unknown = (data or {}).keys() - KINDS[kind].fields.keys()
        if unknown:
            raise LocalProtocolError(f"{kind} has no field {unknown}")
        self.entries[call].append((at - self.started[call].started, kind, data or {}))

    def answered(self, call: CallId, at: Nanos) -> None:
        self.answered_at[call] = at

    async def call_ended(
        self, call: CallId, outcome: Outcome, *, at: Nanos, recordings: tuple[str, ...] = ()
    ) -> None:
        if call in self.ended or at < self.started[call].started:
            raise LocalProtocolError("closed twice, or before it began")
        self.ended[call] = outcome
        self.recordings[call] = recordings


def tool(name: str, *, mask: str = "") -> Tool:
    """A tool as a registry would hold it, of a connector that nobody asks."""
    return Tool(
        name=name,
        description="",
        parameters={"type": "object"},
        connector="none",
        operation=Operation(name, OperationKind.READ, {"type": "object"}),
        rules=ArgumentRules({"type": "object"}),
        budget=Budget(mask=ms(700), hard=seconds(8)),
        mask=mask,
        spoken=parse_sentence(""),
        not_found=parse_sentence(""),
        unavailable="",
    )


@dataclass
class FakeTools:
    """Tools that take as long as the test says."""

    clock: Clock
    outcome: ToolOutcome = field(
        default_factory=lambda: ToolOutcome(ToolStatus.OK, {"status": "shipped"}, "It is shipped.")
    )
    take_ms: int = 100
    mask_ms: int = 700
    phrase: str = "Let me look that up."
    fail: Exception | None = None
    requests: list[ToolRequest] = field(default_factory=list)
    cancelled: int = 0

    async def invoke(self, request: ToolRequest, *, on_slow: Callable[[Tool], None]) -> ToolOutcome:
        self.requests.append(request)
        asked = self.clock.now()
        try:
            if self.take_ms > self.mask_ms:
                await self.clock.sleep_until(Nanos(asked + ms(self.mask_ms)))
                on_slow(tool(request.name, mask=self.phrase))
            await self.clock.sleep_until(Nanos(asked + ms(self.take_ms)))
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if self.fail is not None:
            raise self.fail
        return self.outcome


@dataclass
class FakeVoice:
    """Every sentence takes ``span_ms``."""

    missing: bool = False
    bug: bool = False
    span_ms: int = 1_000
    said: list[str] = field(default_factory=list)
    voices: set[str] = field(default_factory=set)

    async def say(self, text: str, voice: str) -> Speech:
        if self.missing:
            raise Missing("no voice is installed")
        if self.bug:
            raise KeyError(voice)
        self.said.append(text)
        self.voices.add(voice)
        return Speech(bytes(self.span_ms * 16), 8_000)


class FakeMeter:
    """Real metrics that also keep what was pushed, by method, with the arguments."""

    def __init__(self) -> None:
        self.metrics = Metrics()
        self.seen: list[tuple[str, tuple[Any, ...]]] = []

    def __getattr__(self, name: str) -> Callable[..., None]:
        if name.startswith("_"):
            raise AttributeError(name)
        push = getattr(self.metrics, name)

        def record(*values: Any) -> None:
            push(*values)
            self.seen.append((name, values))

        return record

    def of(self, name: str) -> list[tuple[Any, ...]]:
        return [values for seen, values in self.seen if seen == name]


def agent(**changes: Any) -> Agent:
    """An agent with one queue; keyword arguments replace its settings."""
    settings: dict[str, Any] = {
        "engine": "first",
        "greeting": "Hello",
        "queues": ["support"],
        "tools": ["lookup"],
    }
    return Agent.model_validate(settings | changes)


@dataclass
class EngineRoom:
    """Makes scripted engines and keeps them."""

    journal: Journal
    script: Mapping[type, Any] = field(default_factory=lambda: {Greet: [GREETING]})
    ready_after_ms: int | None = 0
    close_hangs: Any = None
    kind: type[ScriptedEngine] = ScriptedEngine
    made: list[ScriptedEngine] = field(default_factory=list)

    def __call__(self, *, port: EnginePort, sink: EngineSink, clock: Clock) -> EngineSession:
        engine = self.kind(
            port=port,
            sink=sink,
            clock=clock,
            script=self.script,
            ready_after_ms=self.ready_after_ms,
            close_hangs=self.close_hangs,
            journal=self.journal,
        )
        self.made.append(engine)
        return engine


class House:
    """``async with House(tmp_path) as house: call = house.ring()``."""

    def __init__(
        self,
        data_dir: Path,
        *,
        calls: int = 10,
        agent_: Agent | None = None,
        port_type: type[FakeMediaPort] = FakeMediaPort,
        **agent_settings: Any,
    ) -> None:
        self.clock = VirtualClock()
        self.journal = Journal()
        self.media = FakeMediaFactory(self.clock, journal=self.journal, port_type=port_type)
        self.ledger = MemoryLedger()
        self.tools = FakeTools(self.clock)
        self.voice = FakeVoice()
        self.meter = FakeMeter()
        self.first = EngineRoom(self.journal)
        self.second = EngineRoom(self.journal)
        self.engines = {
            "first": Engine("scripted", self.first, seconds(5)),
            "second": Engine("scripted", self.second, seconds(5)),
        }
        self.admission = Admission(limit=calls, retry_after_s=7)
        self.problem = ""
        self.legs: list[FakeLeg] = []
        self._ids = 0
        self.desk = Desk(
            clock=self.clock,
            ledger=self.ledger,
            tools=self.tools,
            voice=self.voice,
            meter=self.meter,
            engines=self.engines,
            agents={"orders": agent_ or agent(**agent_settings)},
            briefs={"orders": Brief(agent="orders", greeting="Hello", tools=(ToolSpec("lookup", "", {}),))},
            queues={"support": Queue(target="sip:human@127.0.0.1:5090")},
            routes=(Route(name="main", trunk="pbx", dnis=DnisPattern.parse("1*"), agent="orders"),),
            data_dir=data_dir,
            config_hash="c0ffee",
            new_id=self._new_id,
            problem=lambda: self.problem,
        )
        self.board = Switchboard(self.desk, self.admission)

    async def __aenter__(self) -> Self:
        await self.board.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        for leg in self.legs:
            leg.peer_hangs_up()
        await self.board.drain(seconds(30))
        await self.board.__aexit__()
        for leg in self.legs:
            await leg.hangup()

    def ring(
        self,
        *,
        info: LegInfo | None = None,
        transfers: Sequence[Sequence[TransferStep]] = (TRANSFER_SUCCEEDS,),
        acknowledges: bool = True,
        speakable: bool = True,
    ) -> FakeLeg:
        """A caller phones in."""
        leg = FakeLeg(
            self.media,
            self.clock,
            info=info,
            transfers=transfers,
            acknowledges=acknowledges,
            speakable=speakable,
            journal=self.journal,
        )
        self.legs.append(leg)
        self.board.accept(leg)
        return leg

    # --- what happened -------------------------------------------------------------------------------------

    @property
    def engine(self) -> ScriptedEngine:
        """The engine session made last."""
        return (self.second.made or self.first.made)[-1]

    @property
    def port(self) -> FakeMediaPort:
        """The media port opened last."""
        return self.media.opened[-1]

    def call_id(self, number: int = 1) -> CallId:
        return CallId(f"call-{number}")

    def kinds(self, number: int = 1) -> list[Kind]:
        """Kinds of the timeline, in order."""
        return [kind for _, kind, _ in self.ledger.entries.get(self.call_id(number), [])]

    def entry(self, kind: Kind, number: int = 1) -> Mapping[str, Any]:
        """Data of the last entry of ``kind``."""
        found = [data for _, seen, data in self.ledger.entries[self.call_id(number)] if seen is kind]
        assert found, f"no {kind} in {self.kinds(number)}"
        return found[-1]

    def at_ms(self, kind: Kind, number: int = 1) -> float:
        """When the first entry of ``kind`` happened, in milliseconds since the call's start."""
        found = [at for at, seen, _ in self.ledger.entries[self.call_id(number)] if seen is kind]
        assert found, f"no {kind} in {self.kinds(number)}"
        return found[0] / 1e6

    async def until(self, kind: Kind, number: int = 1, *, count: int = 1) -> None:
        """Wait until the timeline has ``count`` entries of ``kind``."""
        await wait_until(lambda: self.kinds(number).count(kind) >= count, f"{kind} in {self.kinds(number)}")

    async def greeted(self, number: int = 1) -> None:
        """Wait until the caller hears the greeting."""
        await self.until(Kind.PLAY_STARTED, number)

    async def engine_has(self, kind: type, count: int = 1) -> None:
        """Wait until the engine made last was given ``count`` commands of ``kind``."""
        await wait_until(
            lambda: bool(self.first.made) and sum(isinstance(c, kind) for c in self.engine.commands) >= count,
            f"{kind.__name__}; {self.kinds()}",
        )

    def set_timeout(self, name: str, timeout_ms: int) -> None:
        """How long an engine may take to become ready."""
        room = {"first": self.first, "second": self.second}[name]
        self.engines[name] = Engine("scripted", room, ms(timeout_ms))

    async def over(self, number: int = 1) -> Outcome:
        """Wait for the closed record."""
        await wait_until(lambda: self.call_id(number) in self.ledger.ended, f"the end; {self.kinds(number)}")
        return self.ledger.ended[self.call_id(number)]

    async def gone(self) -> None:
        """Wait until no call is left."""
        await wait_until(lambda: self.board.busy == 0, "no calls")

    def assert_clean(self) -> None:
        """Every port is free, every engine closed, every record closed exactly once."""
        assert not self.media.open_ports
        assert all(engine.closed is not None for engine in (*self.first.made, *self.second.made))
        assert self.ledger.started.keys() == self.ledger.ended.keys()
        assert self.admission.active == 0

    def _new_id(self) -> CallId:
        self._ids += 1
        return self.call_id(self._ids)


SUCCESS = Result.SUCCESS
__all__ = ["GREETING", "SUCCESS", "EngineRoom", "House", "Reason", "agent"]
