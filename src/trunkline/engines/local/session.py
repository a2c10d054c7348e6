"""One conversation with the local engine: ears, dialogue and mouth joined on the event loop.

Owns what crosses between them: audio to a worker thread and words back, dialogue outputs to events and speech,
barge-in, the dialogue's deadline. Refuses to decode, to decide what is said, and to flush the line (``calls`` does).
"""

import asyncio
import logging
from collections import deque
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Final, assert_never

from trunkline.engines.contract import (
    Brief,
    CallerDigits,
    CallerHeld,
    CallerSpeechStarted,
    CallerSpeechStopped,
    CallerText,
    CancelAnswer,
    EngineCommand,
    EngineError,
    EngineEvent,
    EngineSession,
    EngineSink,
    Fault,
    Greet,
    HandOver,
    HangUp,
    Interrupted,
    ItemEnded,
    ItemStarted,
    Role,
    Say,
    SessionClosed,
    SessionReady,
    ToolCall,
    ToolResult,
    Transcript,
    Truncate,
    TurnEnded,
    UpdateInstructions,
)
from trunkline.engines.local import dialogue as talk
from trunkline.engines.local.audio import to_samples
from trunkline.engines.local.listener import Listener, ListenerEvent, Partial, SpeechEnded, SpeechStarted
from trunkline.engines.local.parts import Parts
from trunkline.engines.local.speaker import Speaker, SpeakerEvent, Spoken, Unspoken
from trunkline.model import Clock, Nanos, ToolCallId, TrunklineError
from trunkline.telephony.media.port import (
    EnginePort,
    Flushed,
    MediaClosed,
    MediaEvent,
    MediaFailed,
    PlayEnded,
    PlayStarted,
    Tap,
)

TAP_RATE: Final = 8000
TAP_MS: Final = 40
MAX_AUDIO_MS: Final = 10_000
"""Caller audio that may wait for a worker thread; the oldest is dropped and counted."""
MAX_EARLY_COMMANDS: Final = 64
START_MS: Final = 128
START_MS_WHILE_SPEAKING: Final = 192
"""Speech that makes a turn while the agent speaks: the caller's echo of it should not."""

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Counters:
    """What a session had to leave out."""

    dropped_audio_ms: int = 0
    unheard_turns: int = 0
    refused_items: int = 0


class LocalEngineSession(EngineSession):
    """See the module's docstring. A session is never reused."""

    def __init__(
        self, *, port: EnginePort, sink: EngineSink, clock: Clock, parts: Parts, executor: Executor
    ) -> None:
        self.counters = Counters()
        self._port = port
        self._sink = sink
        self._clock = clock
        self._parts = parts
        self._executor = executor
        self._brief: Brief | None = None
        self._dialogue: talk.Dialogue | None = None
        self._listener: Listener | None = None
        self._speaker: Speaker | None = None
        self._closed = False
        self._early: deque[EngineCommand] = deque()
        self._audio: deque[bytes] = deque()
        self._audio_bytes = 0
        self._job: asyncio.Future[list[ListenerEvent]] | None = None
        self._speaking: asyncio.Task[None] | None = None
        self._timer: asyncio.Task[None] | None = None
        self._timer_due: Nanos | None = None
        self._caller_speaks = False
        self._held = False
        self._cued: tuple[str, ...] = ()
        """Items that were open when the caller began to speak: a flush ends also those not yet on the line."""
        self._quiet = False

    async def caught_up(self) -> None:
        """Return when all of the caller's audio so far has been listened to."""
        while self._job is not None:
            await asyncio.wait((self._job,))

    # --- contract --------------------------------------------------------------------------------------

    async def start(self, brief: Brief) -> None:
        self._brief = brief
        loop = asyncio.get_running_loop()
        try:
            script = await loop.run_in_executor(self._executor, self._parts.script, brief.dialogue)
        except TrunklineError as wrong:
            self._error(str(wrong), "dialogue", retryable=False)
            self._finish(clean=False, retryable=False, detail=str(wrong))
            return
        if self._closed:
            return
        self._dialogue = script.dialogue(brief.context, self._clock.wall().date())
        self._listener = self._parts.listener(script)
        self._speaker = Speaker(
            voices=self._parts.voices,
            voice=self._parts.voice(brief.voice),
            port=self._port,
            clock=self._clock,
            report=self._spoke,
        )
        self._speaking = loop.create_task(self._speaker.run(), name="local engine: speech")
        self._speaking.add_done_callback(self._speech_ended)
        self._port.open_tap(rate=TAP_RATE, batch_ms=TAP_MS)
        self._sink(SessionReady(at=self._clock.now()))
        while self._early and not self._closed:
            self._carry_out(self._early.popleft())

    def handle_media(self, event: MediaEvent) -> None:
        if self._closed:
            return
        match event:
            case MediaFailed() | MediaClosed():
                self._finish(clean=False, retryable=False, detail="the call's media ended")
            case Tap():
                self._hear(event)
            case PlayStarted(item=item) if self._speaker is not None:
                self._speaker.started(item)
            case PlayEnded(heard=heard) if self._speaker is not None:
                if self._speaker.ended(heard.item):
                    self._settle()
            case Flushed(heard=all_heard) if self._speaker is not None:
                self._speaker.flushed()
                known = {heard.item: heard.heard_ms for heard in all_heard}
                for item in self._speaker.open_items:
                    if item in known or item in self._cued:
                        self._cut(item, known.get(item, 0))
                self._cued = ()
                self._settle()
            case _:
                # Keys come as CallerDigits, whatever way they were signalled.
                pass

    def command(self, command: EngineCommand) -> None:
        if self._closed:
            return
        if self._dialogue is not None:
            self._carry_out(command)
        elif len(self._early) < MAX_EARLY_COMMANDS:
            self._early.append(command)
        else:
            self._error(
                f"{type(command).__name__} dropped: too many commands before ready", "too_many_commands"
            )

    async def close(self) -> None:
        self._finish(clean=True, retryable=False, detail="closed by us")
        if self._speaking is not None:
            await asyncio.wait((self._speaking,))
        job, listener = self._job, self._listener
        self._job = self._listener = None
        if job is not None:
            await asyncio.wait((job,))
        if listener is None:
            return
        try:
            await asyncio.get_running_loop().run_in_executor(self._executor, listener.close)
        except RuntimeError:
            # The engine was closed first; its threads are gone, and ending an utterance takes a moment at most.
            listener.close()

    # --- commands --------------------------------------------------------------------------------------

    def _carry_out(self, command: EngineCommand) -> None:
        assert self._brief is not None, "commands are carried out after start"
        match command:
            case Greet(text):
                self._tell(talk.Begin(text or self._brief.greeting))
            case CallerText(text):
                self._tell(talk.Heard(text))
            case CallerDigits(digits):
                self._keys(digits)
            case CallerHeld(held):
                self._held, self._quiet = held, False
                self._settle()
            case ToolResult():
                answer = talk.Answer(command.id, command.output, command.failed, command.spoken)
                self._tell(answer)
            case Truncate(item, heard_ms):
                self._cut(item, heard_ms)
                self._settle()
            case CancelAnswer():
                self._cancel()
                self._settle()
            case Say(text):
                self._say(talk.Say(text))
            case UpdateInstructions():
                log.debug("the local engine follows its dialogue document; instructions are ignored")
            case _:
                assert_never(command)

    def _keys(self, digits: str) -> None:
        assert self._dialogue is not None
        for key in digits:
            if key in "0123456789*#" and self._dialogue.listening:
                # A key interrupts as speech does, but it is we who stop: what the key leads to is said at once.
                self._cancel()
                self._tell(talk.Pressed(key))

    def _cancel(self) -> None:
        """Stop what is being said, by our own decision."""
        assert self._speaker is not None
        for item in self._speaker.cancel():
            self._sink(Interrupted(at=self._clock.now(), item=item))

    # --- the caller ------------------------------------------------------------------------------------

    def _hear(self, tap: Tap) -> None:
        if self._listener is None or self._dialogue is None or self._dialogue.ended or self._held:
            return
        if tap.rate != TAP_RATE:
            self._finish(
                clean=False, retryable=False, detail=f"the tap runs at {tap.rate} Hz, not at {TAP_RATE}"
            )
            return
        self._audio.append(tap.pcm)
        self._audio_bytes += len(tap.pcm)
        while self._audio_bytes > MAX_AUDIO_MS * TAP_RATE * 2 // 1000:
            lost = self._audio.popleft()
            self._audio_bytes -= len(lost)
            if not self.counters.dropped_audio_ms:
                log.warning("the recogniser is too slow: caller audio is dropped")
            self.counters.dropped_audio_ms += len(lost) * 500 // TAP_RATE
        self._listen()

    def _listen(self) -> None:
        """Give waiting audio to a worker, one job at a time."""
        if self._job is not None or not self._audio or self._listener is None or self._dialogue is None:
            return
        assert self._speaker is not None
        samples = to_samples(b"".join(self._audio))
        self._audio.clear()
        self._audio_bytes = 0
        start_ms = START_MS if self._speaker.silent else START_MS_WHILE_SPEAKING
        self._job = asyncio.get_running_loop().run_in_executor(
            self._executor, self._listener.push, samples, self._dialogue.expectation, start_ms
        )
        self._job.add_done_callback(self._listened)

    def _listened(self, job: asyncio.Future[list[ListenerEvent]]) -> None:
        self._job = None
        if job.cancelled():
            return
        failed = job.exception()
        if self._closed:
            return
        if failed is not None:
            log.error("the recogniser failed", exc_info=failed)
            self._error(f"the recogniser failed: {failed}", "recogniser", retryable=False)
            self._finish(clean=False, retryable=True, detail=f"the recogniser failed: {failed}")
            return
        for event in job.result():
            self._heard(event)
        self._listen()

    def _heard(self, event: ListenerEvent) -> None:
        if self._dialogue is None or self._dialogue.ended or self._closed:
            return
        now = self._clock.now()
        match event:
            case SpeechStarted():
                assert self._speaker is not None
                self._caller_speaks, self._quiet = True, False
                self._cued = self._speaker.open_items
                self._sink(CallerSpeechStarted(at=now))
                self._tell(talk.CallerStarted())
            case Partial(text):
                self._sink(Transcript(at=now, role=Role.CALLER, text=text, final=False))
            case SpeechEnded(text=text, unheard=unheard):
                self._caller_speaks, self._cued = False, ()
                self._sink(CallerSpeechStopped(at=now))
                if unheard:
                    self.counters.unheard_turns += 1
                    self._error("no decoder was free for the caller's words", "overloaded", retryable=True)
                if text:
                    self._sink(Transcript(at=now, role=Role.CALLER, text=text, final=True))
                self._tell(talk.Heard(text))
            case _:
                assert_never(event)

    # --- the agent -------------------------------------------------------------------------------------

    def _tell(self, event: talk.Input) -> None:
        """Let the dialogue react, and carry out what it wants."""
        assert self._dialogue is not None
        assert self._brief is not None
        now = self._clock.now()
        for output in self._dialogue.handle(event, now):
            match output:
                case talk.Say():
                    self._say(output)
                case talk.CallTool(id=name, name=tool, arguments=arguments):
                    self._sink(ToolCall(at=now, id=ToolCallId(name), name=tool, arguments=arguments))
                case talk.HandOver(queue, reason, summary):
                    chosen = queue or next(iter(self._brief.queues), "")
                    self._sink(HandOver(at=now, queue=chosen, reason=reason, summary=summary))
                case talk.HangUp(reason):
                    self._sink(HangUp(at=now, reason=reason))
                case _:
                    assert_never(output)
        self._settle()

    def _say(self, words: talk.Say) -> None:
        assert self._speaker is not None
        item = self._speaker.say(words.text, fixed=words.fixed)
        if item is None:
            self.counters.refused_items += 1
            self._error("too much is waiting to be said", "too_many_items")
            return
        self._quiet = False
        # Announced before what follows from it (hand-over, hang-up), so that its end is waited for.
        self._sink(ItemStarted(at=self._clock.now(), item=item))

    def _spoke(self, event: SpeakerEvent) -> None:
        if self._closed:
            return
        now = self._clock.now()
        match event:
            case Spoken(item, text):
                self._sink(Transcript(at=now, role=Role.AGENT, text=text, final=True, item=item))
                self._sink(ItemEnded(at=now, item=item))
                self._sink(TurnEnded(at=now, status="completed"))
            case Unspoken(item, why):
                self._error(why, "voice")
                self._sink(Interrupted(at=now, item=item))
                self._settle()
            case _:
                assert_never(event)

    def _speech_ended(self, task: asyncio.Task[None]) -> None:
        """The speech task only ends by being cancelled, or by a bug."""
        if task.cancelled() or self._closed:
            return
        failed = task.exception()
        log.error("the voice failed", exc_info=failed)
        self._error(f"the voice failed: {failed}", "voice")
        self._finish(clean=False, retryable=True, detail=f"the voice failed: {failed}")

    def _cut(self, item: str, heard_ms: int) -> None:
        """The caller heard only ``heard_ms`` of an item: correct its transcript, remember the rest."""
        assert self._speaker is not None
        remains = self._speaker.cut(item, heard_ms)
        if remains is None:
            return
        now = self._clock.now()
        if remains.heard or remains.sent:
            self._sink(Transcript(at=now, role=Role.AGENT, text=remains.heard, final=True, item=item))
        if not remains.sent:
            self._sink(ItemEnded(at=now, item=item))
        self._sink(TurnEnded(at=now, status="interrupted"))
        self._tell(talk.Cut(remains.rest))

    # --- time ------------------------------------------------------------------------------------------

    def _settle(self) -> None:
        """Tell the dialogue when silence begins, and follow its deadline."""
        if self._closed or self._dialogue is None or self._speaker is None:
            return
        if self._speaker.silent and not self._caller_speaks and not self._quiet:
            self._quiet = True
            self._dialogue.handle(talk.Quiet(), self._clock.now())
        # A tool's deadline holds whether or not the caller listens; silence is only counted when they do.
        due = None if self._held and self._dialogue.listening else self._dialogue.deadline
        if due == self._timer_due and self._timer is not None:
            return
        self._stop_timer()
        if due is not None:
            self._timer_due = due
            self._timer = asyncio.get_running_loop().create_task(
                self._wake(due), name="local engine: deadline"
            )

    async def _wake(self, due: Nanos) -> None:
        await self._clock.sleep_until(due)
        self._timer = self._timer_due = None
        if not self._closed:
            self._quiet = False
            self._tell(talk.Tick())

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._timer_due = None

    # --- ending ----------------------------------------------------------------------------------------

    def _error(self, message: str, code: str, *, retryable: bool = True) -> None:
        self._sink(
            EngineError(
                at=self._clock.now(), message=message, retryable=retryable, fault=Fault.OURS, code=code
            )
        )

    def _finish(self, *, clean: bool, retryable: bool, detail: str) -> None:
        if self._closed:
            return
        self._closed = True
        self._early.clear()
        self._audio.clear()
        self._stop_timer()
        if self._speaking is not None:
            self._speaking.cancel()
        self._port.close_engine()
        event: EngineEvent = SessionClosed(
            at=self._clock.now(), clean=clean, retryable=retryable, detail=detail
        )
        self._sink(event)
