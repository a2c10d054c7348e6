"""An engine session over a WebSocket: a dialect, a media port that holds the socket, and the clock between them.

Owns the life of the session: open, ready in time, commands before ready, messages that are no messages, the meaning
of close codes and HTTP statuses. Refuses every detail of any engine's protocol (that is the dialect's) and audio
(that is the media port's).
"""

import asyncio
import logging
from collections import deque
from typing import Final, assert_never

from trunkline.engines.contract import (
    Brief,
    EngineCommand,
    EngineError,
    EngineEvent,
    EngineSession,
    EngineSink,
    Fault,
    Interrupted,
    ItemEnded,
    SessionClosed,
    SessionReady,
)
from trunkline.engines.dialect import Dialect, Fail, Report, Send
from trunkline.model import Clock, Nanos, RemoteProtocolError, ms
from trunkline.telephony.media.port import (
    EngineClosed,
    EngineOpened,
    EnginePort,
    EngineText,
    Flushed,
    MediaClosed,
    MediaEvent,
    MediaFailed,
    PlayEnded,
    SocketSpec,
)

MAX_EARLY_COMMANDS: Final = 64
"""Commands kept until the session is ready; a further one is refused with an ``EngineError``."""

MAX_JUNK_IN_A_ROW: Final = 10
"""Messages in a row that are not of the protocol, after which the session is given up."""

DEFAULT_READY_TIMEOUT_MS: Final = 5_000

log = logging.getLogger(__name__)


class SocketEngineSession(EngineSession):
    """One conversation over one socket; a session is never reused."""

    def __init__(
        self,
        *,
        port: EnginePort,
        sink: EngineSink,
        clock: Clock,
        dialect: Dialect,
        spec: SocketSpec,
        ready_timeout_ms: int = DEFAULT_READY_TIMEOUT_MS,
    ) -> None:
        self.junk = 0
        """Messages of the engine that were ignored because they were not of its protocol."""
        self._port = port
        self._sink = sink
        self._clock = clock
        self._dialect = dialect
        self._spec = spec
        self._ready_within = ms(ready_timeout_ms)
        self._ready_by: Nanos | None = None
        self._brief: Brief | None = None
        self._ready = False
        self._socket_open = False
        self._closed = False
        self._early: deque[EngineCommand] = deque()
        self._junk_in_a_row = 0
        self._timer: asyncio.Task[None] | None = None
        self._timer_due: Nanos | None = None

    async def start(self, brief: Brief) -> None:
        self._brief = brief
        self._ready_by = Nanos(self._clock.now() + self._ready_within)
        self._port.open_socket(self._spec)
        self._rearm()

    def handle_media(self, event: MediaEvent) -> None:
        if self._closed or self._brief is None:
            return
        match event:
            case EngineOpened():
                self._socket_open = True
                self._dialect.opened(self._brief, event.at)
            case EngineText(at, text):
                self._receive(text, at)
            case EngineClosed():
                self._socket_closed(event)
            case Flushed(heard=all_heard):
                for heard in all_heard:
                    self._dialect.heard(heard)
            case PlayEnded(heard=heard):
                self._dialect.heard(heard)
            case MediaFailed() | MediaClosed():
                self._finish(event.at, clean=False, retryable=False, detail="the call's media ended")
            case _:
                return
        self._drain()

    def command(self, command: EngineCommand) -> None:
        if self._closed:
            return
        if self._ready:
            self._dialect.command(command, self._clock.now())
            self._drain()
        elif len(self._early) < MAX_EARLY_COMMANDS:
            self._early.append(command)
        else:
            self._report(
                EngineError(
                    at=self._clock.now(),
                    message=f"{type(command).__name__} dropped: {MAX_EARLY_COMMANDS} commands already wait for the "
                    "engine to become ready",
                    retryable=False,
                    fault=Fault.OURS,
                    code="too_many_commands",
                )
            )

    async def close(self) -> None:
        self._finish(self._clock.now(), clean=True, retryable=False, detail="closed by us")

    # --- inside ------------------------------------------------------------------------------------------

    def _receive(self, text: str, now: Nanos) -> None:
        try:
            self._dialect.receive(text, now)
        except RemoteProtocolError as bad:
            self.junk += 1
            self._junk_in_a_row += 1
            self._error(now, f"engine sent junk: {bad}", "junk", Fault.ENGINE, retryable=True)
            if self._junk_in_a_row >= MAX_JUNK_IN_A_ROW:
                detail = f"the engine sent {MAX_JUNK_IN_A_ROW} messages in a row that are not of its protocol"
                self._finish(now, clean=False, retryable=True, detail=detail)
        else:
            self._junk_in_a_row = 0

    def _drain(self) -> None:
        while not self._closed and (output := self._dialect.poll()) is not None:
            match output:
                case Send(text):
                    self._port.send_text(text)
                case Report(event):
                    self._report(event)
                case Fail(message, code, fault, retryable):
                    now = self._clock.now()
                    self._error(now, message, code, fault, retryable=retryable)
                    self._finish(now, clean=False, retryable=retryable, detail=message)
                case _:
                    assert_never(output)
        self._rearm()

    def _report(self, event: EngineEvent) -> None:
        match event:
            case ItemEnded(item=item):
                self._port.end_item(item)
            case Interrupted(item=item) if item:
                self._port.drop_item(item)
            case SessionReady():
                self._ready = True
                self._ready_by = None
            case _:
                pass
        self._sink(event)
        if isinstance(event, SessionReady):
            while self._early and not self._closed:
                self._dialect.command(self._early.popleft(), event.at)

    def _socket_closed(self, event: EngineClosed) -> None:
        fault, retryable, meaning = judge_close(event)
        if not self._socket_open and not event.status:
            meaning = f"the engine could not be reached{f': {event.reason}' if event.reason else ''}"
        self._error(event.at, meaning, _close_code(event), fault, retryable=retryable)
        self._finish(event.at, clean=False, retryable=retryable, detail=meaning)

    def _error(self, now: Nanos, message: str, code: str, fault: Fault, *, retryable: bool) -> None:
        self._report(EngineError(at=now, message=message, retryable=retryable, fault=fault, code=code))

    def _finish(self, now: Nanos, *, clean: bool, retryable: bool, detail: str) -> None:
        if self._closed:
            return
        self._closed = True
        self._early.clear()
        self._stop_timer()
        self._port.close_engine()
        self._sink(SessionClosed(at=now, clean=clean, retryable=retryable, detail=detail))

    def _rearm(self) -> None:
        due = min((d for d in (self._ready_by, self._dialect.due()) if d is not None), default=None)
        if self._closed or due is None:
            self._stop_timer()
        elif due != self._timer_due:
            self._stop_timer()
            self._timer_due = due
            self._timer = asyncio.get_running_loop().create_task(
                self._wake_at(due), name="engine session timer"
            )

    def _stop_timer(self) -> None:
        if self._timer is not None and self._timer is not _current_task():
            self._timer.cancel()
        self._timer = None
        self._timer_due = None

    async def _wake_at(self, due: Nanos) -> None:
        await self._clock.sleep_until(due)
        if self._timer is not asyncio.current_task():
            return
        self._timer = self._timer_due = None
        now = self._clock.now()
        if self._ready_by is not None and now >= self._ready_by:
            span = self._ready_within // 1_000_000
            where = "did not confirm its configuration" if self._socket_open else "could not be reached"
            message = f"the engine {where} within {span} ms"
            self._error(now, message, "ready_timeout", Fault.ENGINE, retryable=True)
            self._finish(now, clean=False, retryable=True, detail=message)
            return
        self._dialect.tick(now)
        self._drain()


def _current_task() -> asyncio.Task[None] | None:
    try:
        return asyncio.current_task()
    except RuntimeError:
        return None


def _close_code(event: EngineClosed) -> str:
    return f"http_{event.status}" if event.status else f"ws_{event.code}"


_REFUSALS: Final = {
    401: "the engine refused our key (HTTP 401)",
    403: "the engine refused our key or does not allow this model (HTTP 403)",
    404: "the engine has no such address or model (HTTP 404)",
    429: "the engine is busy or our quota is used up (HTTP 429)",
}

_CLOSES: Final[dict[int, tuple[Fault, bool, str]]] = {
    1000: (Fault.ENGINE, False, "the engine ended the session"),
    1001: (Fault.ENGINE, True, "the engine went away"),
    1002: (Fault.OURS, False, "the engine says that we broke the WebSocket protocol"),
    1003: (Fault.OURS, False, "the engine does not accept what we sent"),
    1005: (Fault.ENGINE, True, "the engine closed without a code"),
    1006: (Fault.NETWORK, True, "the connection to the engine was lost"),
    1007: (Fault.OURS, False, "the engine could not decode what we sent"),
    1008: (Fault.OURS, False, "the engine refused us for policy"),
    1009: (Fault.ENGINE, True, "a message was too large"),
    1011: (Fault.ENGINE, True, "the engine failed"),
    1012: (Fault.ENGINE, True, "the engine restarts"),
    1013: (Fault.ENGINE, True, "the engine asks to try again later"),
    1015: (Fault.NETWORK, False, "the engine's TLS certificate was not accepted"),
    3000: (Fault.OURS, False, "the engine does not accept our credentials"),
}


def judge_close(event: EngineClosed) -> tuple[Fault, bool, str]:
    """Whose fault a lost socket is, whether a new session makes sense, and in words.

    HTTP statuses as in RFC 9110 section 15, close codes as in RFC 6455 section 7.4.1 and the IANA registry.
    """
    reason = f": {event.reason}" if event.reason else ""
    if event.status:
        meaning = _REFUSALS.get(event.status, f"the engine refused the connection (HTTP {event.status})")
        ours = event.status < 500 and event.status != 429
        return (Fault.OURS if ours else Fault.ENGINE), not ours, meaning + reason
    known = _CLOSES.get(event.code)
    if known is None:
        return Fault.ENGINE, False, f"the engine closed with code {event.code}{reason}"
    fault, retryable, meaning = known
    return fault, retryable, f"{meaning} ({event.code}){reason}"
