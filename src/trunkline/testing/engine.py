"""An engine session whose part the test writes: what it says, when, and what it asks for."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field

from trunkline.engines.contract import (
    Brief,
    EngineCommand,
    EngineError,
    EngineEvent,
    EngineSession,
    EngineSink,
    Fault,
    ItemEnded,
    ItemStarted,
    Role,
    SessionClosed,
    SessionReady,
    Transcript,
    TurnEnded,
)
from trunkline.model import MS, Clock, Nanos
from trunkline.telephony.media.port import EngineClosed, EnginePort, MediaEvent
from trunkline.testing.events import Journal

MAX_KEPT_COMMANDS = 64


@dataclass(frozen=True, slots=True)
class Speak:
    """Say ``text`` as an audio item of ``span_ms``; sent at once, as engines do."""

    text: str
    span_ms: int = 1_000
    item: str = ""


@dataclass(frozen=True, slots=True)
class Wait:
    """Let time pass."""

    span_ms: int


@dataclass(frozen=True, slots=True)
class Emit:
    """Report an event made for the moment: ``Emit(lambda at: HangUp(at, "done"))``."""

    make: Callable[[Nanos], EngineEvent]


@dataclass(frozen=True, slots=True)
class Close:
    """End the session from the engine's side."""

    clean: bool = False
    retryable: bool = True
    detail: str = "engine went away"


Step = Speak | Wait | Emit | Close
Script = Mapping[type, Sequence[Sequence[Step]]]
"""Per command type, the steps played for its first, second … occurrence; further ones play nothing."""


@dataclass(slots=True)
class _Progress:
    played: dict[type, int] = field(default_factory=dict)

    def next(self, script: Script, kind: type) -> Sequence[Step]:
        turns = script.get(kind, ())
        index = self.played.get(kind, 0)
        self.played[kind] = index + 1
        return turns[index] if index < len(turns) else ()


class ScriptedEngine(EngineSession):
    """A conversation partner without a brain. Uses the port's tap and ``play``, as local engines do."""

    def __init__(
        self,
        *,
        port: EnginePort,
        sink: EngineSink,
        clock: Clock,
        script: Script | None = None,
        ready_after_ms: int | None = 0,
        close_hangs: Callable[[], Awaitable[None]] | None = None,
        journal: Journal | None = None,
    ) -> None:
        """``ready_after_ms`` None: never ready. ``close_hangs`` is awaited in ``close``, for slow endings."""
        self.journal = journal or Journal()
        self.brief: Brief | None = None
        self.commands: list[EngineCommand] = []
        self.media: list[MediaEvent] = []
        self.closed: SessionClosed | None = None
        self.ready = False
        self._port = port
        self._sink = sink
        self._clock = clock
        self._script: Script = script or {}
        self._ready_after_ms = ready_after_ms
        self._close_hangs = close_hangs
        self._progress = _Progress()
        self._kept: list[EngineCommand] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._items = 0

    # --- what trunkline asks of a session ----------------------------------------------------------------

    async def start(self, brief: Brief) -> None:
        self.journal.note("engine", "start", brief.agent)
        self.brief = brief
        self._port.open_tap(rate=16_000, batch_ms=40)
        if self._ready_after_ms is not None:
            self._spawn(self._become_ready(self._ready_after_ms))

    def handle_media(self, event: MediaEvent) -> None:
        if self.closed is not None:
            return
        self.media.append(event)
        if isinstance(event, EngineClosed) and not event.by_us:
            self._finish(SessionClosed(at=event.at, clean=False, retryable=True, detail=event.reason))

    def command(self, command: EngineCommand) -> None:
        if self.closed is not None:
            return
        if self.ready:
            self._carry_out(command)
        elif len(self._kept) < MAX_KEPT_COMMANDS:
            self._kept.append(command)
        else:
            self.emit(
                EngineError(
                    at=self._clock.now(),
                    message=f"{MAX_KEPT_COMMANDS} commands wait for the session already; this one was dropped",
                    retryable=False,
                    fault=Fault.OURS,
                    code="too_many_commands",
                )
            )

    async def close(self) -> None:
        self.journal.note("engine", "close")
        if self._close_hangs is not None:
            await self._close_hangs()
        self._port.close_engine()
        self._finish(SessionClosed(at=self._clock.now(), clean=True, retryable=False, detail="closed"))

    # --- what the test makes it do -----------------------------------------------------------------------

    def emit(self, event: EngineEvent) -> None:
        """Report ``event`` as the engine's; ignored once closed, as the contract says."""
        if self.closed is None:
            self._sink(event)

    def perform(self, *steps: Step) -> None:
        """Play steps now; those after a ``Wait`` come later, in their own task."""
        self._spawn(self._play(steps))

    def speak(self, text: str, *, span_ms: int = 1_000, item: str = "") -> str:
        """Say something; returns the item's id."""
        self._items += 1
        item = item or f"item-{self._items}"
        now = self._clock.now()
        self.emit(ItemStarted(at=now, item=item))
        self._port.play(item, bytes(span_ms * 32), 16_000)
        self._port.end_item(item)
        self.emit(Transcript(at=now, role=Role.AGENT, text=text, final=True, item=item))
        self.emit(ItemEnded(at=now, item=item))
        self.emit(TurnEnded(at=now, status="completed"))
        return item

    def die(self, detail: str = "engine went away", *, retryable: bool = True) -> None:
        """The engine's side ends the session."""
        self._finish(SessionClosed(at=self._clock.now(), clean=False, retryable=retryable, detail=detail))

    # --- inside ------------------------------------------------------------------------------------------

    async def _become_ready(self, after_ms: int) -> None:
        if after_ms:
            await self._clock.sleep_until(Nanos(self._clock.now() + after_ms * MS))
        self.ready = True
        self.emit(SessionReady(at=self._clock.now()))
        kept, self._kept = self._kept, []
        for command in kept:
            self._carry_out(command)

    def _carry_out(self, command: EngineCommand) -> None:
        self.journal.note("engine", type(command).__name__, command)
        self.commands.append(command)
        steps = self._progress.next(self._script, type(command))
        if steps:
            self.perform(*steps)

    async def _play(self, steps: Sequence[Step]) -> None:
        for step in steps:
            if self.closed is not None:
                return
            match step:
                case Speak(text, span_ms, item):
                    self.speak(text, span_ms=span_ms, item=item)
                case Wait(span_ms):
                    await self._clock.sleep_until(Nanos(self._clock.now() + span_ms * MS))
                case Emit(make):
                    self.emit(make(self._clock.now()))
                case Close(clean, retryable, detail):
                    now = self._clock.now()
                    self._finish(SessionClosed(at=now, clean=clean, retryable=retryable, detail=detail))

    def _spawn(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _finish(self, event: SessionClosed) -> None:
        if self.closed is not None:
            return
        self._sink(event)
        self.closed = event
        current = asyncio.current_task() if self._tasks else None
        for task in self._tasks:
            if task is not current:
                task.cancel()
