"""Tool calls of one call: each in its own task, its mask, its answer to the engine.

Owns how many run at once and what the caller hears meanwhile. Refuses to know what a tool does: arguments,
policy, budget and backend are ``integration.tools``'s, which also writes their timeline entries.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from trunkline.calls.attachment import Outlet
from trunkline.calls.inbox import Line
from trunkline.calls.ports import Meter, Tools, Voice
from trunkline.calls.signals import MaskDue, ToolDone
from trunkline.config import Agent
from trunkline.engines.contract import ToolCall, ToolResult
from trunkline.integration.tools import Tool, ToolOutcome, ToolRequest, ToolStatus
from trunkline.model import CallId, Clock, Nanos, ToolCallId, TrunklineError, to_ms
from trunkline.telephony.media.port import MaskMode, MaskStarted
from trunkline.trust.ledger import Kind

log = logging.getLogger(__name__)

WAITING_PER_PLACE: Final = 4
"""Tool calls that may wait for each that may run; more are refused at once."""

MASK_REST_MS: Final = 2000
"""A mask with no more than this left is let finish when the answer comes; a longer one is faded out."""

MASK: Final = "mask:"
"""Prefix of a mask's name; the rest is the tool call's id."""

Spawn = Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]]
Note = Callable[[Nanos, Kind, Mapping[str, Any]], None]


@dataclass(slots=True)
class _Running:
    name: str
    started: Nanos
    task: asyncio.Task[None]
    due: str = ""
    """The mask's phrase, once the mask point passed."""
    phrase: str = ""
    """The same, once it was chosen to be played."""
    masked_at: Nanos | None = None
    """When its audio was queued."""
    mask_ms: int = 0


@dataclass(slots=True)
class ToolTable:
    """Tool calls that have no answer yet."""

    call: CallId
    agent_name: str
    agent: Agent
    backend: Tools
    voice: Voice
    clock: Clock
    outlet: Outlet
    line: Line
    spawn: Spawn
    meter: Meter
    note: Note
    _running: dict[ToolCallId, _Running] = field(default_factory=dict)
    _places: asyncio.Semaphore = field(init=False)

    def __post_init__(self) -> None:
        self._places = asyncio.Semaphore(self.agent.limits.tools_at_once)

    @property
    def idle(self) -> bool:
        """Whether no tool runs."""
        return not self._running

    def start(self, event: ToolCall) -> None:
        """The engine asks. Its answer comes as ``ToolDone`` through the inbox."""
        if event.id in self._running:
            log.warning("the engine used the id of a running tool call again", extra={"call": self.call})
            return
        if len(self._running) >= self.agent.limits.tools_at_once * (1 + WAITING_PER_PLACE):
            self._refuse(event)
            return
        request = ToolRequest(
            call=self.call,
            agent=self.agent_name,
            id=event.id,
            name=event.name,
            arguments=event.arguments,
            malformed=event.malformed,
        )
        self._running[event.id] = _Running(event.name, event.at, self.spawn(self._run(request)))

    def cancel(self, id_: ToolCallId) -> None:
        """The engine no longer wants the answer: stop the work, say nothing."""
        running = self._running.pop(id_, None)
        if running is not None:
            running.task.cancel()
            self._unmask(running)

    def cancel_all(self) -> None:
        """No engine waits for answers any more."""
        for id_ in list(self._running):
            self.cancel(id_)

    def mask_due(self, signal: MaskDue) -> None:
        """The mask point of a tool passed."""
        if (running := self._running.get(signal.id)) is not None:
            running.due = signal.phrase

    def watch(self, *, quiet: bool) -> None:
        """Bridge a wait with the tool's phrase as soon as the line is free: it never cuts the agent's own words,
        and one phrase at a time is enough."""
        if not quiet or any(running.phrase for running in self._running.values()):
            return
        for id_, running in self._running.items():
            if running.due:
                running.phrase = running.due
                self.spawn(self._mask(id_, running.phrase))
                return

    def mask_started(self, event: MaskStarted) -> None:
        """The caller hears a mask."""
        running = self._running.get(ToolCallId(event.name.removeprefix(MASK)))
        self.note(
            event.at, Kind.MASK_STARTED, {"name": event.name, "text": running.phrase if running else ""}
        )

    def done(self, signal: ToolDone) -> None:
        """Give the engine its answer."""
        running = self._running.pop(signal.id, None)
        if running is None:
            return
        self._unmask(running)
        outcome = signal.outcome
        self.meter.tool(running.name, outcome.status, Nanos(signal.at - running.started))
        self.outlet.command(
            ToolResult(id=signal.id, output=outcome.output, failed=outcome.failed, spoken=outcome.spoken)
        )

    async def _run(self, request: ToolRequest) -> None:
        def slow(tool: Tool) -> None:
            self.line(MaskDue(at=self.clock.now(), id=request.id, phrase=tool.mask))

        async with self._places:
            try:
                outcome = await self.backend.invoke(request, on_slow=slow)
            except Exception as bug:
                # ``invoke`` turns every failure into an outcome; what comes here is our own mistake, and the
                # caller must not pay for it with silence.
                log.exception("a tool call failed", extra={"call": self.call, "tool": request.name})
                self.note(
                    self.clock.now(),
                    Kind.BUG,
                    {"where": f"tool {request.name}", "detail": type(bug).__name__},
                )
                outcome = ToolOutcome(ToolStatus.FAILED, {"error": "the tool failed"})
        self.line(ToolDone(at=self.clock.now(), id=request.id, outcome=outcome))

    async def _mask(self, id_: ToolCallId, phrase: str) -> None:
        try:
            speech = await self.voice.say(phrase, self.agent.voice)
        except TrunklineError as absent:
            log.warning("no mask: %s", absent, extra={"call": self.call})
            return
        except Exception as bug:
            log.exception("the voice of a mask failed", extra={"call": self.call})
            self.note(self.clock.now(), Kind.BUG, {"where": "mask", "detail": type(bug).__name__})
            return
        running = self._running.get(id_)
        if running is None or self.outlet.media is None:
            return
        now = self.clock.now()
        running.masked_at, running.mask_ms = now, speech.span_ms
        self.outlet.media.mask(f"{MASK}{id_}", speech.pcm, speech.rate, mode=MaskMode.TURN)
        self.meter.masked()

    def _unmask(self, running: _Running) -> None:
        if running.masked_at is None or self.outlet.media is None:
            return
        rest = running.mask_ms - to_ms(self.clock.now() - running.masked_at)
        if rest > MASK_REST_MS:
            self.outlet.media.unmask()

    def _refuse(self, event: ToolCall) -> None:
        why = f"{len(self._running)} tool calls of this call have no answer yet"
        self.note(
            event.at,
            Kind.TOOL_REFUSED,
            {"id": event.id, "tool": event.name, "status": ToolStatus.DENIED, "why": why},
        )
        self.outlet.command(ToolResult(id=event.id, output={"error": why}, failed=True))
