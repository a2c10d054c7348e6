"""One call's own things: its inbox, its tasks, its state, and the parts that look at every signal.

``Call.next`` is the heart: take a signal, write it to the timeline, let turns, tools and engine see it, hand it
to the flow. The flow decides; nothing here does, except that a call whose leg or media is gone is over.
"""

import asyncio
import inspect
import logging
from collections import deque
from collections.abc import Coroutine, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final, Generic, TypeVar, assert_never, cast

from trunkline.calls import timeline
from trunkline.calls.alarms import Alarms
from trunkline.calls.attachment import Outlet
from trunkline.calls.inbox import Inbox
from trunkline.calls.outcomes import CallOver, leg_outcome
from trunkline.calls.ports import Desk
from trunkline.calls.recording import Recordings
from trunkline.calls.signals import AlarmRang, MaskDue, Shutdown, Signal, StepDone, ToolDone
from trunkline.calls.states import State, Step, follow
from trunkline.calls.tools import ToolTable
from trunkline.calls.turns import SILENCE, Turns
from trunkline.config import Agent, Route
from trunkline.engines.contract import (
    EngineEvent,
    HandOver,
    HangUp,
    SessionClosed,
    SessionReady,
    ToolCall,
    ToolCallCancelled,
)
from trunkline.model import (
    CallId,
    LocalError,
    LocalProtocolError,
    Nanos,
    Outcome,
    Reason,
    Result,
    ms,
    seconds,
)
from trunkline.telephony.legs.contract import (
    Leg,
    LegAnswered,
    LegDtmf,
    LegEnded,
    LegEvent,
    LegHeld,
    LegResumed,
    LegRinging,
    TransferProgress,
    TransferRequested,
)
from trunkline.telephony.media.port import (
    FirstPacket,
    MaskStarted,
    MediaClosed,
    MediaEvent,
    MediaFailed,
    MediaPort,
    RtpSilence,
)
from trunkline.trust.ledger import Kind

log = logging.getLogger(__name__)
T = TypeVar("T")

MAX_DURATION: Final = "max_duration"
RTP_GONE: Final = "rtp_timeout"
MAX_WISHES: Final = 16

Wish = HandOver | HangUp
"""What an engine may ask of the flow."""


class Owned:
    """The tasks of one call. Leaving the call cancels them all; none outlives it."""

    def __init__(self, group: asyncio.TaskGroup) -> None:
        self._group = group
        self._tasks: set[asyncio.Task[None]] = set()

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run ``work``, which must not raise."""
        task = self._group.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def stop(self) -> None:
        """Cancel all and wait until they are gone."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)


@dataclass(slots=True)
class TransferWatch:
    """What is known of a transfer under way."""

    accepted_at: Nanos | None = None
    final: TransferProgress | None = None

    def see(self, event: TransferProgress) -> None:
        """Note progress."""
        if event.accepted and self.accepted_at is None:
            self.accepted_at = event.at
        if event.final:
            self.final = event


class Call:
    """One caller's call, from its arrival to its closed record."""

    def __init__(self, leg: Leg, desk: Desk, group: asyncio.TaskGroup) -> None:
        self.leg = leg
        self.desk = desk
        self.id: CallId = desk.new_id()
        self.started = desk.clock.now()
        self.state = State.ARRIVED
        self.outcome = Outcome(Result.UNKNOWN, Reason.BUG, "the flow ended without an outcome")
        self.route: Route | None = None
        self.agent: Agent | None = None
        self.admitted = False
        self.recorded = False
        self.attempts = 0
        self.confirmed = False
        self.ended: LegEnded | None = None
        self.closed_media: MediaClosed | None = None
        self.transfer = TransferWatch()
        self.chain: deque[str] = deque()
        self.owned = Owned(group)
        self.inbox = Inbox()
        self.own_line = self.inbox.line()
        self.outlet = Outlet(report=self.bug)
        self.alarms = Alarms(clock=desk.clock, spawn=self.owned.spawn, ring=self.own_line)
        self.recordings = Recordings(desk.data_dir, self.id)
        self.turns: Turns | None = None
        self.tools: ToolTable | None = None
        self._wishes: deque[Wish] = deque(maxlen=MAX_WISHES)
        self._rtp_seen = 0
        leg.listen(self.inbox.line())

    # --- what the flow does to it --------------------------------------------------------------------------

    def step(self, step: Step) -> None:
        """Go to the next state; the table says which."""
        self.state = follow(self.state, step)

    def assign(self, route: Route, agent: Agent) -> None:
        """The agent that answers."""
        self.route, self.agent = route, agent
        self.chain = deque((agent.engine, *agent.fallback))
        self.tools = ToolTable(
            call=self.id,
            agent_name=route.agent,
            agent=agent,
            backend=self.desk.tools,
            voice=self.desk.voice,
            clock=self.desk.clock,
            outlet=self.outlet,
            line=self.own_line,
            spawn=self.owned.spawn,
            meter=self.desk.meter,
            note=self.note_at,
        )
        table = self.tools
        self.turns = Turns(
            agent=agent,
            outlet=self.outlet,
            alarms=self.alarms,
            meter=self.desk.meter,
            note=self.note_at,
            busy=lambda: not table.idle,
        )

    @property
    def answered(self) -> bool:
        """Whether the 200 OK was sent; the state follows a moment later."""
        return self.turns is not None and self.turns.answered_at is not None

    def now(self) -> Nanos:
        """The clock's time."""
        return self.desk.clock.now()

    def note(self, kind: Kind, /, **data: Any) -> None:
        """Add a step to the timeline, as of now."""
        self.note_at(self.now(), kind, data)

    def note_at(self, at: Nanos, kind: Kind, data: Mapping[str, Any]) -> None:
        """Add a step that happened ``at``. Before the record is open there is nothing to add it to."""
        if self.recorded:
            self.desk.ledger.append(self.id, at, kind, data)

    def bug(self, where: str, error: Exception) -> None:
        """A mistake of ours that costs a part of the call, not the call."""
        log.error("%s failed", where, exc_info=error, extra={"call": self.id})
        self.note(Kind.BUG, where=where, detail=f"{type(error).__name__}: {error}"[:500])

    def leg_has_media(self) -> bool:
        """Whether ``prepare`` opened media; a leg that ended meanwhile has none."""
        try:
            return self.leg.media is not None
        except LocalProtocolError:
            return False

    def open_media(self) -> None:
        """Hear the leg's present media port, and no earlier one; record it if the agent is recorded."""
        if self.outlet.media_line is not None:
            self.outlet.media_line.close()
        line = self.inbox.line()
        self.outlet.media, self.outlet.media_line = self.leg.media, line
        self.closed_media = None
        self.leg.media.listen(line)
        if self.agent is not None and self.agent.record:
            self._record_audio(self.leg.media)

    def _record_audio(self, media: MediaPort) -> None:
        try:
            media.record(self.recordings.next_path())
        except (LocalError, OSError) as failed:
            # A full disk costs the recording, not the call.
            self.recordings.names.pop()
            log.warning("not recorded: %s", failed, extra={"call": self.id})
            self.note(Kind.BUG, where="recording", detail=str(failed))
        else:
            self.note(Kind.RECORDING_STARTED, path=self.recordings.names[-1])

    # --- signals -------------------------------------------------------------------------------------------

    async def next(self) -> Signal:
        """The next signal, after every part has seen it. Raises ``CallOver`` when it ends the call."""
        signal = await self.inbox.get()
        self._observe(signal)
        return signal

    async def wish(self) -> Wish | None:
        """What the engine wants of the flow next, or ``None`` when the engine is gone."""
        while True:
            if self._wishes:
                return self._wishes.popleft()
            if not self.outlet.attached:
                return None
            await self.next()

    async def during(self, work: Coroutine[Any, Any, T]) -> T:
        """Do ``work`` while signals go on being handled. A call that ends meanwhile cancels it."""
        return (await self.trying(work)).open()

    async def trying(self, work: Coroutine[Any, Any, T]) -> "Tried[T]":
        """As ``during``, but what ``work`` itself raises is in the result; what ends the call is raised."""
        tried = Tried[T]()
        task = self.owned.spawn(self._work(work, tried))
        try:
            while not task.done():
                signal = await self.next()
                if isinstance(signal, StepDone) and signal.step is tried:
                    break
        finally:
            if not task.done():
                task.cancel()
                await asyncio.wait([task])
            if inspect.getcoroutinestate(work) == inspect.CORO_CREATED:
                work.close()
        return tried

    def settle(self) -> None:
        """Write down what still waits in the inbox, deciding nothing. For the end of a call."""
        for signal in self.inbox.drain():
            self._record(signal)

    async def _work(self, work: Coroutine[Any, Any, T], tried: "Tried[T]") -> None:
        try:
            tried.value = await work
        except Exception as failed:  # noqa: BLE001 - raised or handled where the flow waits for it
            tried.error = failed
        self.own_line(StepDone(tried))

    def _observe(self, signal: Signal) -> None:
        self._record(signal)
        if isinstance(signal, LegEvent):
            self._see_leg(signal)
        elif isinstance(signal, MediaEvent):
            self._see_media(signal)
        elif isinstance(signal, EngineEvent):
            self._see_engine(signal)
        else:
            self._see_own(signal)
        if self.tools is not None and self.turns is not None:
            self.tools.watch(quiet=self.turns.quiet)
            self.turns.watch_silence()

    def _record(self, signal: Signal) -> None:
        if isinstance(signal, LegEvent):
            step = timeline.leg_entry(signal, self.leg.id)
        elif isinstance(signal, MediaEvent):
            step = timeline.media_entry(signal)
            if isinstance(signal, MediaClosed):
                self.closed_media = signal
                self.desk.meter.media_closed(asdict(signal.stats))
        elif isinstance(signal, EngineEvent):
            engine = self.outlet.engine
            step = timeline.engine_entry(signal, engine.name if engine is not None else "")
        else:
            return
        if step is not None:
            self.note_at(signal.at, *step)

    def _see_leg(self, event: LegEvent) -> None:
        match event:
            case LegAnswered():
                self.confirmed = True
            case LegHeld() | LegResumed():
                self.alarms.clear(RTP_GONE)
                if self.turns is not None:
                    self.turns.hold(held=isinstance(event, LegHeld))
            case LegDtmf(digit=digit):
                if self.turns is not None:
                    self.turns.digit(digit)
            case TransferProgress():
                self.transfer.see(event)
            case LegEnded():
                self.ended = event
                if self.state is not State.RELEASED:
                    raise CallOver(leg_outcome(event))
            case LegRinging() | TransferRequested():
                # Inbound callers neither ring nor are they transferred by their own REFER; the leg refuses it.
                pass
            case _:
                assert_never(event)

    def _see_media(self, event: MediaEvent) -> None:
        if isinstance(event, MediaFailed):
            reason = Reason.BUG if event.bug else Reason.NO_MEDIA
            raise CallOver(Outcome(Result.LOCAL, reason, event.detail))
        if isinstance(event, FirstPacket):
            self.confirmed = True
        elif isinstance(event, RtpSilence):
            self._rtp_stopped(event)
        elif isinstance(event, MaskStarted) and self.tools is not None:
            self.tools.mask_started(event)
        self.outlet.offer(event)
        if self.turns is not None:
            self.turns.see_media(event)

    def _see_engine(self, event: EngineEvent) -> None:
        engine = self.outlet.engine
        if engine is None:
            return
        match event:
            case SessionReady():
                engine.ready = True
                self.note(Kind.ENGINE_READY, engine=engine.name, start_ms=_ms(self.now() - engine.started))
            case SessionClosed():
                engine.lost = event
                self.desk.meter.engine_failed(engine.name)
            case ToolCall() if self.tools is not None:
                self.tools.start(event)
            case ToolCallCancelled(id=id_) if self.tools is not None:
                self.tools.cancel(id_)
            case HandOver() | HangUp():
                self._wishes.append(event)
            case _:
                if self.turns is not None:
                    self.turns.see_engine(event)

    def _see_own(self, signal: AlarmRang | MaskDue | ToolDone | StepDone | Shutdown) -> None:
        match signal:
            case AlarmRang(name=name):
                self._alarm(name)
            case MaskDue():
                if self.tools is not None:
                    self.tools.mask_due(signal)
            case ToolDone():
                if self.tools is not None:
                    self.tools.done(signal)
            case Shutdown():
                raise CallOver(Outcome(Result.LOCAL, Reason.SHUTDOWN, "the drain limit passed"))
            case StepDone():
                pass
            case _:
                assert_never(signal)

    def _alarm(self, name: str) -> None:
        if self.agent is None or self.turns is None:
            return
        limits = self.agent.limits
        if name == MAX_DURATION:
            self.note(Kind.LIMIT_REACHED, limit="max_duration_s", value=limits.max_duration_s)
            raise CallOver(Outcome(Result.LOCAL, Reason.MAX_DURATION))
        if name == SILENCE:
            self.note(Kind.LIMIT_REACHED, limit="silence_s", value=limits.silence_s)
            if not self.turns.ask_whether_there():
                raise CallOver(Outcome(Result.CALLER, Reason.CALLER_SILENT))
        elif name == RTP_GONE and self.outlet.media is not None:
            if self.outlet.media.stats().rtp_received > self._rtp_seen:
                return
            self.note(Kind.LIMIT_REACHED, limit="rtp_timeout_s", value=limits.rtp_timeout_s)
            raise CallOver(Outcome(Result.UPSTREAM, Reason.RTP_TIMEOUT))

    def _rtp_stopped(self, event: RtpSilence) -> None:
        if self.agent is None or self.outlet.media is None:
            return
        self._rtp_seen = self.outlet.media.stats().rtp_received
        left = seconds(self.agent.limits.rtp_timeout_s) - ms(event.quiet_ms)
        self.alarms.set(RTP_GONE, Nanos(event.at + max(0, left)))

    def context(self) -> dict[str, str]:
        """What is known about the caller, for the engine and the tools."""
        info = self.leg.info
        return {"call": self.id, "ani": info.ani, "dnis": info.dnis, "name": info.display_name}


class Tried(Generic[T]):
    """Result of work beside the inbox: a value, or what it raised."""

    __slots__ = ("error", "value")

    def __init__(self) -> None:
        self.value: T | None = None
        self.error: Exception | None = None

    def open(self) -> T:
        """The result, or its exception."""
        if self.error is not None:
            raise self.error
        return cast("T", self.value)


def _ms(span: int) -> float:
    return round(span / 1_000_000, 1)
