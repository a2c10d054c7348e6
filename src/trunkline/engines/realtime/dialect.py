"""The OpenAI Realtime protocol (GA) as a sans-IO state machine, client side.

Owns the order of messages: configuration before anything else, one response at a time (``gate``), function calls
executed only when their response completed, truncation of what was not heard. Refuses audio (the media core takes it
off the socket) and the meaning of tools. Event names of the retired beta shape are understood too; several servers
still send them. Source: the Realtime API's client and server events.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final, assert_never

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
    Fault,
    GoingAway,
    Greet,
    HandOver,
    HangUp,
    Interrupted,
    ItemEnded,
    ItemStarted,
    Role,
    Say,
    SessionReady,
    ToolCall,
    ToolResult,
    Transcript,
    Truncate,
    TurnEnded,
    UpdateInstructions,
    Usage,
)
from trunkline.engines.dialect import (
    Dialect,
    Fail,
    Output,
    Report,
    Send,
    object_of,
    parse_object,
    text_of,
    to_json,
)
from trunkline.engines.realtime import messages
from trunkline.engines.realtime.answers import (
    Answers,
    AudioItem,
    FunctionCall,
    is_time,
    remember,
    usage_units,
)
from trunkline.engines.realtime.errors import BUSY, HARMLESS, read_error
from trunkline.engines.realtime.gate import Request, ResponseGate
from trunkline.engines.realtime.settings import RealtimeSettings
from trunkline.model import Nanos, RemoteProtocolError, ToolCallId, seconds
from trunkline.telephony.media.port import Heard

FAREWELL_LIMIT: Final = seconds(12)
"""How long the engine may take to say goodbye before it is left without."""

GOING_AWAY_BEFORE: Final = seconds(60)
"""How long before the engine's session limit ``GoingAway`` is reported."""

_BETA_NAMES: Final = {
    "response.audio.done": "response.output_audio.done",
    "response.audio_transcript.delta": "response.output_audio_transcript.delta",
    "response.audio_transcript.done": "response.output_audio_transcript.done",
    "conversation.item.created": "conversation.item.added",
}


class RealtimeDialect(Dialect):
    """One session."""

    def __init__(self, settings: RealtimeSettings) -> None:
        self._settings = settings
        vad = settings.turn_detection
        self._server_interrupts = vad.interrupt_response
        self._gate = ResponseGate(server_answers=vad.create_response)
        self._answers = Answers()
        self._out: deque[Output] = deque()
        self._brief = Brief(agent="")
        self._ready = False
        self._failed = False
        self._sent: dict[str, str] = {}
        self._sequence = 0
        self._open_calls: dict[str, None] = {}
        self._cancel_on_creation = False
        self._leaving: HandOver | HangUp | None = None
        self._leave_by: Nanos | None = None
        self._farewell: Request | None = None
        self._farewell_response = ""
        self._going_away_at: Nanos | None = None
        self._handlers = self._table()

    # --- what the session calls --------------------------------------------------------------------------

    def opened(self, brief: Brief, now: Nanos) -> None:
        self._brief = brief
        self._going_away_at = Nanos(now + max(0, seconds(self._settings.session_limit_s) - GOING_AWAY_BEFORE))

    def receive(self, text: str, now: Nanos) -> None:
        message = parse_object(text)
        kind = text_of(message, "type")
        if not kind:
            raise RemoteProtocolError("a message without a type")
        handler = self._handlers.get(_BETA_NAMES.get(kind, kind))
        if handler is not None:
            handler(message, now)
            self._ask(now)

    def command(self, command: EngineCommand, now: Nanos) -> None:
        match command:
            case Greet(text):
                self._request(messages.greeting(text or self._brief.greeting), now)
            case Say(text):
                self._request(messages.verbatim(text), now)
            case CallerText(text):
                self._send_item(messages.user_text(text, self._item_id()))
            case CallerDigits(digits):
                words = f"The caller pressed on the telephone keypad: {' '.join(digits)}"
                self._send_item(messages.user_text(words, self._item_id()))
            case CallerHeld():
                # The protocol has no hold. Silence leads to nothing there unless idle_timeout_ms was asked for.
                pass
            case ToolResult():
                self._send_result(command, now)
            case Truncate(item, heard_ms):
                self._truncate(item, heard_ms)
            case CancelAnswer():
                self._cancel()
            case UpdateInstructions(text):
                text = messages.instructions(self._brief, text)
                self._send({"type": "session.update", "session": {"type": "realtime", "instructions": text}})
            case _:
                assert_never(command)
        self._ask(now)

    def heard(self, heard: Heard) -> None:
        if (item := self._answers.items.get(heard.item)) is not None:
            item.total_ms = heard.total_ms

    def due(self) -> Nanos | None:
        times = (self._gate.due(), self._going_away_at, self._leave_by)
        return min((time for time in times if time is not None), default=None)

    def tick(self, now: Nanos) -> None:
        if self._going_away_at is not None and now >= self._going_away_at:
            self._going_away_at = None
            self._report(GoingAway(at=now, in_ms=GOING_AWAY_BEFORE // 1_000_000))
        if (request := self._gate.overdue(now)) is not None:
            self._error(
                now, "the engine did not answer a request for a response", "no_response", Fault.ENGINE
            )
            self._gave_up(request, now)
        if self._leave_by is not None and now >= self._leave_by:
            self._leave(now)
        self._ask(now)

    def poll(self) -> Output | None:
        return self._out.popleft() if self._out else None

    # --- messages of the server --------------------------------------------------------------------------

    def _table(self) -> dict[str, Callable[[dict[str, Any], Nanos], None]]:
        return {
            "session.created": self._on_session_created,
            "session.updated": self._on_session_updated,
            "error": self._on_error,
            "input_audio_buffer.speech_started": self._on_speech_started,
            "input_audio_buffer.speech_stopped": self._on_speech_stopped,
            "input_audio_buffer.timeout_triggered": self._on_timeout_triggered,
            "conversation.item.added": self._on_item_added,
            "conversation.item.input_audio_transcription.delta": self._on_caller_words,
            "conversation.item.input_audio_transcription.completed": self._on_caller_said,
            "conversation.item.input_audio_transcription.failed": self._on_caller_unheard,
            "response.created": self._on_response_created,
            "response.output_item.added": self._on_output_item,
            "response.content_part.added": self._on_content_part,
            "response.output_audio_transcript.delta": self._on_agent_words,
            "response.output_audio_transcript.done": self._on_agent_said,
            "response.output_audio.done": self._on_audio_done,
            "response.function_call_arguments.done": self._on_arguments_done,
            "response.done": self._on_response_done,
        }

    def _on_session_created(self, _: dict[str, Any], now: Nanos) -> None:
        if not self._ready and "session.update" not in self._sent.values():
            self._send(messages.session_update(self._brief, self._settings))
        elif self._ready:
            self._error(now, "the engine began its session a second time", "unexpected_message", Fault.ENGINE)

    def _on_session_updated(self, _: dict[str, Any], now: Nanos) -> None:
        if not self._ready:
            self._ready = True
            # What was appended before had been taken for the server's default format.
            self._send({"type": "input_audio_buffer.clear"})
            self._report(SessionReady(at=now))

    def _on_speech_started(self, _: dict[str, Any], now: Nanos) -> None:
        if self._ready:
            self._gate.speech_started(now)
            self._report(CallerSpeechStarted(at=now))

    def _on_speech_stopped(self, _: dict[str, Any], now: Nanos) -> None:
        if self._ready:
            self._gate.speech_stopped(now)
            self._report(CallerSpeechStopped(at=now))

    def _on_timeout_triggered(self, _: dict[str, Any], now: Nanos) -> None:
        self._gate.speech_stopped(now)

    def _on_item_added(self, message: dict[str, Any], _: Nanos) -> None:
        self._gate.item_confirmed(text_of(message, "item", "id"))

    def _on_caller_words(self, message: dict[str, Any], now: Nanos) -> None:
        words = self._answers.caller_said(text_of(message, "item_id"), text_of(message, "delta"), now)
        if words:
            self._report(Transcript(at=now, role=Role.CALLER, text=words, final=False))

    def _on_caller_said(self, message: dict[str, Any], now: Nanos) -> None:
        self._answers.caller_finished(text_of(message, "item_id"))
        if words := text_of(message, "transcript").strip():
            self._report(Transcript(at=now, role=Role.CALLER, text=words, final=True))

    def _on_caller_unheard(self, message: dict[str, Any], now: Nanos) -> None:
        self._answers.caller_finished(text_of(message, "item_id"))
        error = read_error(object_of(message, "error"))
        self._error(now, f"the caller's words were not transcribed: {error.message}", error.code, error.fault)

    def _on_response_created(self, message: dict[str, Any], _: Nanos) -> None:
        response = object_of(message, "response")
        name = text_of(response, "id")
        tag = text_of(response, "metadata", "trunkline") if "metadata" in response else None
        ours = self._gate.created(name, tag)
        if ours is not None and ours is self._farewell:
            self._farewell_response = name
        if ours is not None and self._cancel_on_creation:
            self._cancel_on_creation = False
            self._cancel()

    def _on_output_item(self, message: dict[str, Any], _: Nanos) -> None:
        if text_of(message, "item", "type") == "message" and (item := text_of(message, "item", "id")):
            self._answers.item(item, self._response_of(message))

    def _on_content_part(self, message: dict[str, Any], now: Nanos) -> None:
        if text_of(message, "part", "type") in {"audio", "output_audio"}:
            self._started(message, now)

    def _on_agent_words(self, message: dict[str, Any], now: Nanos) -> None:
        if (item := self._started(message, now)) is not None and not item.cut:
            item.words += text_of(message, "delta")
            if not is_time(item.shown_at, now):
                return
            item.shown_at = now
            name = text_of(message, "item_id")
            self._report(Transcript(at=now, role=Role.AGENT, text=item.words, final=False, item=name))

    def _on_agent_said(self, message: dict[str, Any], now: Nanos) -> None:
        if (item := self._started(message, now)) is not None:
            item.words = text_of(message, "transcript") or item.words
            name = text_of(message, "item_id")
            self._report(Transcript(at=now, role=Role.AGENT, text=item.words, final=True, item=name))

    def _on_audio_done(self, message: dict[str, Any], now: Nanos) -> None:
        if (item := self._started(message, now)) is not None:
            self._ended(text_of(message, "item_id"), item, now)

    def _on_arguments_done(self, message: dict[str, Any], _: Nanos) -> None:
        self._answers.collect_call(self._response_of(message), message)

    def _on_response_done(self, message: dict[str, Any], now: Nanos) -> None:
        response = object_of(message, "response")
        name = text_of(response, "id") or self._gate.active
        response = {**response, "id": name}
        status = text_of(response, "status") or "completed"
        self._gate.done(name)
        spoken = self._close_items(name, status, now)
        if status == "failed":
            error = read_error(object_of(response, "status_details", "error"))
            self._error(
                now, f"an answer failed: {error.message}", error.code, error.fault, retryable=error.retryable
            )
        for call in self._answers.take_calls(response):
            self._execute(call, name, now, spoken=spoken)
        if units := usage_units(response):
            self._report(Usage(at=now, units=units))
        self._report(TurnEnded(at=now, status=status))
        if name and name == self._farewell_response:
            self._leave(now)

    def _on_error(self, message: dict[str, Any], now: Nanos) -> None:
        error = read_error(object_of(message, "error"))
        about = self._sent.pop(error.about, "")
        if error.fatal or not self._ready:
            hint = "" if error.fatal else "the engine refused our configuration: "
            self._failed = True
            self._out.append(Fail(hint + error.message, error.code, error.fault, error.retryable))
        elif error.code == BUSY or about == "response.create":
            request = self._gate.refused(now, busy=error.code == BUSY)
            if error.code != BUSY:
                self._error(now, error.message, error.code, error.fault, retryable=error.retryable)
                self._gave_up(request, now)
        elif error.code not in HARMLESS and not error.already_shorter:
            self._error(now, error.message, error.code, error.fault, retryable=error.retryable)

    # --- answers -----------------------------------------------------------------------------------------

    def _started(self, message: dict[str, Any], now: Nanos) -> AudioItem | None:
        name = text_of(message, "item_id")
        if not name:
            return None
        item = self._answers.item(name, self._response_of(message))
        if not item.started and not item.cut:
            item.started = True
            self._report(ItemStarted(at=now, item=name))
        return item

    def _ended(self, name: str, item: AudioItem, now: Nanos) -> None:
        if item.started and not item.ended and not item.cut:
            item.ended = True
            self._report(ItemEnded(at=now, item=name))

    def _close_items(self, response: str, status: str, now: Nanos) -> bool:
        """End the items of a response; returns whether it spoke."""
        spoken = False
        for name, item in self._answers.of_response(response):
            spoken = spoken or item.started
            if status == "cancelled" and not item.cut:
                item.cut = True
                self._report(Interrupted(at=now, item=name))
            else:
                self._ended(name, item, now)
        return spoken

    def _execute(self, call: FunctionCall, response: str, now: Nanos, *, spoken: bool) -> None:
        try:
            arguments = parse_object(call.arguments or "{}")
            malformed = ""
        except RemoteProtocolError:
            arguments, malformed = {}, call.arguments
        own = {tool.name for tool in self._brief.tools}
        if call.name in messages.FAREWELLS and call.name not in own:
            self._prepare_to_leave(call, arguments, now, spoken=spoken)
            return
        remember(self._open_calls, call.call, None)
        self._gate.call_opened(call.call, response)
        self._report(
            ToolCall(
                at=now, id=ToolCallId(call.call), name=call.name, arguments=arguments, malformed=malformed
            )
        )

    # --- leaving -----------------------------------------------------------------------------------------

    def _prepare_to_leave(
        self, call: FunctionCall, arguments: dict[str, Any], now: Nanos, *, spoken: bool
    ) -> None:
        """A built-in tool was called: answer it, let the caller hear a farewell, then say so to ``calls``."""
        result = ToolResult(id=ToolCallId(call.call), output={"status": "accepted"})
        self._send(messages.tool_output(result, self._item_id()))
        if self._leaving is not None:
            return
        reason = text_of(arguments, "reason")
        self._leaving = HangUp(at=now, reason=reason)
        if call.name == messages.TRANSFER:
            queue, summary = text_of(arguments, "queue"), text_of(arguments, "summary")
            known = queue if queue in self._brief.queues else ""
            self._leaving = HandOver(at=now, queue=known, reason=reason, summary=summary)
        self._farewell = None if spoken else self._gate.ask(messages.FAREWELLS[call.name])
        if self._farewell is None:
            self._leave(now)
        else:
            self._leave_by = Nanos(now + FAREWELL_LIMIT)

    def _leave(self, now: Nanos) -> None:
        if self._leaving is not None:
            self._report(replace(self._leaving, at=now))
        if self._farewell is not None:
            self._gate.withdraw(self._farewell)
        self._leaving = self._leave_by = self._farewell = None
        self._farewell_response = ""

    def _gave_up(self, request: Request | None, now: Nanos) -> None:
        if request is not None and request is self._farewell:
            self._leave(now)

    # --- commands ----------------------------------------------------------------------------------------

    def _request(self, response: dict[str, Any], now: Nanos) -> None:
        if self._gate.ask(response) is None:
            self._error(now, "too many sentences wait to be said; this one was dropped", "too_many_requests")

    def _send_item(self, message: dict[str, Any], *, call: str = "") -> None:
        self._send(message)
        self._gate.item_sent(message["item"]["id"], call=call)

    def _send_result(self, result: ToolResult, now: Nanos) -> None:
        call = str(result.id)
        if call not in self._open_calls:
            self._error(now, "a tool result answers no open call; it was dropped", "unknown_tool_call")
            return
        del self._open_calls[call]
        self._send_item(messages.tool_output(result, self._item_id()), call=call)

    def _truncate(self, name: str, heard_ms: int) -> None:
        item = self._answers.items.get(name)
        if item is None or item.truncated or not (item.started or item.total_ms):
            return
        if item.response == self._gate.active and not (self._server_interrupts and self._gate.speaking):
            self._cancel()
        total = item.total_ms
        if item.ended and total is not None and heard_ms >= total:
            return
        item.cut = item.truncated = True
        end = max(0, heard_ms if total is None else min(heard_ms, total))
        self._send(
            {"type": "conversation.item.truncate", "item_id": name, "content_index": 0, "audio_end_ms": end}
        )

    def _cancel(self) -> None:
        if self._gate.active:
            self._send({"type": "response.cancel", "response_id": self._gate.active})
        elif self._gate.requested is not None:
            self._cancel_on_creation = True

    def _ask(self, now: Nanos) -> None:
        if not self._ready or self._failed:
            return
        request = self._gate.next(now)
        if request is not None:
            self._send(messages.response_create(request.tag, request.response))

    # --- inside ------------------------------------------------------------------------------------------

    def _response_of(self, message: dict[str, Any]) -> str:
        return text_of(message, "response_id") or self._gate.active

    def _item_id(self) -> str:
        self._sequence += 1
        return f"tl_item_{self._sequence}"

    def _send(self, message: dict[str, Any]) -> None:
        self._sequence += 1
        name = f"tl_{self._sequence}"
        remember(self._sent, name, message["type"])
        self._out.append(Send(to_json({"event_id": name, **message})))

    def _report(self, event: EngineEvent) -> None:
        self._out.append(Report(event))

    def _error(
        self, now: Nanos, message: str, code: str, fault: Fault = Fault.OURS, *, retryable: bool = False
    ) -> None:
        self._report(EngineError(at=now, message=message, retryable=retryable, fault=fault, code=code))
