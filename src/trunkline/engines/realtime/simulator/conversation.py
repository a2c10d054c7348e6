"""The server side of one Realtime session, sans-IO: client messages and the time in, server messages out.

It is as strict as the real server where that matters to a client: unknown fields, a second response while one is
active, truncation beyond what exists, results for calls that were never made. What it says is the script's.
"""

import base64
import binascii
import heapq
import itertools
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final, assert_never

from trunkline.engines.dialect import object_of, parse_object, text_of, to_json
from trunkline.engines.realtime.simulator.answer import (
    AUDIO_RATE,
    Answer,
    Break,
    Event,
    Finish,
    Interrupt,
    Step,
    arguments_done,
    closing,
    lay_out,
)
from trunkline.engines.realtime.simulator.script import Fault, Script, Turn
from trunkline.engines.realtime.simulator.session import default_session, error, refuse_update, updated
from trunkline.engines.realtime.simulator.sound import SpeechDetector, Voice, decode
from trunkline.model import Nanos, RemoteProtocolError, ms

MAX_AUDIO_BYTES: Final = 15 << 20
"""Of one ``input_audio_buffer.append``, decoded."""

MAX_ITEMS: Final = 10_000
MAX_RECORDED: Final = 10_000


@dataclass(frozen=True, slots=True)
class SendText:
    """A message for the client."""

    text: str


@dataclass(frozen=True, slots=True)
class CloseSocket:
    """Close with this code; without a close frame when ``code`` is 0."""

    code: int
    reason: str


ServerOutput = SendText | CloseSocket


class Conversation:
    """One connected client."""

    def __init__(
        self, script: Script, *, name: str = "1", model: str = "", voice: Voice | None = None
    ) -> None:
        self.script = script
        self.received: deque[dict[str, Any]] = deque(maxlen=MAX_RECORDED)
        """Client messages without their audio, in order."""
        self.problems: list[str] = []
        """Mistakes of the client: every error it was sent, and every turn that something else led to."""
        self.audio_ms = 0.0
        """Caller audio received."""
        self.turns_played = 0
        self.session = default_session(f"sess_sim{name}", model)
        self._name = name
        self._voice = voice
        self._out: deque[ServerOutput] = deque()
        self._ids = itertools.count(1)
        self._later: list[tuple[Nanos, int, Callable[[Nanos], None]]] = []
        self._order = itertools.count()
        self._answer: Answer | None = None
        self._turn: Turn | None = None
        self._items: dict[str, dict[str, Any]] = {}
        self._audio: dict[str, float] = {}
        self._tool_output: dict[str, Any] = {}
        self._trigger = "request"
        self._detector = self._new_detector()
        self._caller_item = ""
        self._closed = False
        self._commands: dict[str, Callable[[dict[str, Any], Nanos], None]] = {
            "session.update": self._on_session_update,
            "input_audio_buffer.append": self._on_append,
            "input_audio_buffer.clear": self._on_clear,
            "input_audio_buffer.commit": self._on_commit,
            "conversation.item.create": self._on_item_create,
            "conversation.item.truncate": self._on_truncate,
            "conversation.item.delete": self._on_delete,
            "response.create": self._on_response_create,
            "response.cancel": self._on_response_cancel,
        }

    # --- what the shell calls ----------------------------------------------------------------------------

    def opened(self) -> None:
        """The socket is open: the server speaks first."""
        self._emit({"type": "session.created", "session": self.session})

    def receive(self, text: str, now: Nanos) -> None:
        """A text message of the client."""
        if self._closed:
            return
        try:
            message = parse_object(text)
        except RemoteProtocolError as bad:
            self._refuse(error(f"Could not parse your message as JSON: {bad}", "invalid_json"), {})
            return
        kind = text_of(message, "type")
        self.received.append({k: v for k, v in message.items() if k != "audio"})
        command = self._commands.get(kind)
        if command is None:
            names = ", ".join(f"'{name}'" for name in self._commands)
            self._refuse(
                error(f"Invalid value: '{kind}'. Supported values are: {names}.", "invalid_value", "type"),
                message,
            )
            return
        command(message, now)

    def due(self) -> Nanos | None:
        """When ``tick`` is wanted."""
        return self._later[0][0] if self._later and not self._closed else None

    def tick(self, now: Nanos) -> None:
        """Do what is due."""
        while self._later and self._later[0][0] <= now and not self._closed:
            when, _, action = heapq.heappop(self._later)
            action(when)

    def poll(self) -> ServerOutput | None:
        """The next output."""
        return self._out.popleft() if self._out else None

    @property
    def active(self) -> bool:
        """Whether a response is in progress."""
        return self._answer is not None

    # --- the client's messages ---------------------------------------------------------------------------

    def _on_session_update(self, message: dict[str, Any], now: Nanos) -> None:
        update = message.get("session")
        refusal = refuse_update(update, self.session, has_spoken=bool(self._audio))
        if refusal is not None or not isinstance(update, dict):
            self._refuse(refusal or error("Missing required parameter: 'session'.", None), message)
            return
        self.session = updated(self.session, update)
        self._detector = self._new_detector()
        self._at(now, self.script.update_delay_ms, lambda _: self._confirm_session())

    def _confirm_session(self) -> None:
        self._emit({"type": "session.updated", "session": self.session})

    def _on_append(self, message: dict[str, Any], now: Nanos) -> None:
        try:
            audio = base64.b64decode(text_of(message, "audio"), validate=True)
        except (binascii.Error, ValueError):
            self._refuse(
                error("Invalid 'audio'. Expected base64-encoded audio bytes.", "invalid_value", "audio"),
                message,
            )
            return
        if len(audio) > MAX_AUDIO_BYTES:
            self._refuse(error("The audio is larger than 15 MiB.", "invalid_value", "audio"), message)
            return
        encoding = self._encoding("input")
        samples = decode(audio, encoding)
        self.audio_ms += 1000 * len(samples) / AUDIO_RATE[encoding]
        for change, at_ms in self._detector.feed(samples):
            if change == "started":
                self._speech_started(at_ms, now)
            else:
                self._speech_stopped(at_ms, now)

    def _on_clear(self, _: dict[str, Any], __: Nanos) -> None:
        self._detector = self._new_detector()
        self._emit({"type": "input_audio_buffer.cleared"})

    def _on_commit(self, message: dict[str, Any], now: Nanos) -> None:
        if self.audio_ms < 100:
            text = "Error committing input audio buffer: buffer too small. Expected at least 100ms of audio."
            self._refuse(error(text, "input_audio_buffer_commit_empty"), message)
            return
        self._commit(self._new_id("item"), now)

    def _on_item_create(self, message: dict[str, Any], _: Nanos) -> None:
        item = dict(object_of(message, "item"))
        kind = text_of(item, "type")
        name = text_of(item, "id") or self._new_id("item")
        if kind == "function_call_output":
            call = text_of(item, "call_id")
            if not any(call == text_of(known, "call_id") for known in self._items.values()):
                text = f"Tool call ID '{call}' not found in conversation."
                self._refuse(error(text, "invalid_tool_call_id", "item.call_id"), message)
                return
            if any(call == text_of(k, "call_id") and k["type"] == kind for k in self._items.values()):
                self._refuse(
                    error(f"Tool call ID '{call}' is answered already.", "invalid_value", "item"), message
                )
                return
            self._read_tool_output(text_of(item, "output"))
        elif kind != "message":
            self._refuse(error(f"Invalid value: '{kind}'.", "invalid_value", "item.type"), message)
            return
        if name in self._items or len(self._items) >= MAX_ITEMS:
            self._refuse(
                error(f"Item with id '{name}' cannot be added.", "invalid_value", "item.id"), message
            )
            return
        self._trigger = "tool" if kind == "function_call_output" else "text"
        self._add({**item, "id": name, "object": "realtime.item", "status": "completed"})

    def _on_truncate(self, message: dict[str, Any], _: Nanos) -> None:
        name, end = text_of(message, "item_id"), message.get("audio_end_ms")
        if name not in self._audio:
            text = f"Item '{name}' has no audio to truncate."
            self._refuse(error(text, "item_truncate_invalid_item_id", "item_id"), message)
        elif not isinstance(end, int) or isinstance(end, bool) or end < 0:
            self._refuse(error("Invalid value for 'audio_end_ms'.", "invalid_value", "audio_end_ms"), message)
        elif end > self._audio[name]:
            text = f"Audio content of {int(self._audio[name])}ms is already shorter than {end}ms"
            self._refuse(error(text, "invalid_value", "audio_end_ms"), message)
        else:
            self._audio[name] = end
            truncated = {
                "item_id": name,
                "content_index": message.get("content_index", 0),
                "audio_end_ms": end,
            }
            self._emit({"type": "conversation.item.truncated", **truncated})

    def _on_delete(self, message: dict[str, Any], _: Nanos) -> None:
        name = text_of(message, "item_id")
        if self._items.pop(name, None) is None:
            self._refuse(
                error(f"Item with id '{name}' does not exist.", "item_delete_invalid_item_id"), message
            )
            return
        self._audio.pop(name, None)
        self._emit({"type": "conversation.item.deleted", "item_id": name})

    def _on_response_create(self, message: dict[str, Any], now: Nanos) -> None:
        if self._answer is not None:
            text = (
                f"Conversation already has an active response in progress: {self._answer.id}. "
                "Wait until the response is finished before creating a new one."
            )
            self._refuse(error(text, "conversation_already_has_active_response"), message)
            return
        wanted = object_of(message, "response")
        known = {
            "instructions",
            "metadata",
            "tool_choice",
            "tools",
            "output_modalities",
            "conversation",
            "input",
        }
        for key in wanted.keys() - known - {"audio", "max_output_tokens", "prompt"}:
            where = f"response.{key}"
            self._refuse(error(f"Unknown parameter: '{where}'.", "unknown_parameter", where), message)
            return
        self._begin(now, metadata=object_of(wanted, "metadata"))

    def _on_response_cancel(self, message: dict[str, Any], _: Nanos) -> None:
        wanted = text_of(message, "response_id")
        if self._answer is None or (wanted and wanted != self._answer.id):
            self._refuse(
                error("Cancellation failed: no active response found", "response_cancel_not_active"), message
            )
            return
        self._cancel("client_cancelled")

    # --- the caller's speech -----------------------------------------------------------------------------

    def _speech_started(self, at_ms: int, _: Nanos) -> None:
        self._caller_item = self._new_id("item")
        vad = self._vad()
        start = max(0, at_ms - int(vad.get("prefix_padding_ms") or 300))
        self._emit(
            {
                "type": "input_audio_buffer.speech_started",
                "audio_start_ms": start,
                "item_id": self._caller_item,
            }
        )
        if self._answer is not None and vad.get("interrupt_response", True):
            self._cancel("turn_detected")

    def _speech_stopped(self, at_ms: int, now: Nanos) -> None:
        name = self._caller_item or self._new_id("item")
        self._emit({"type": "input_audio_buffer.speech_stopped", "audio_end_ms": at_ms, "item_id": name})
        self._commit(name, now)
        if self._vad().get("create_response", True) and self._answer is None:
            self._trigger = "speech"
            self._begin(now, metadata={})

    def _commit(self, name: str, now: Nanos) -> None:
        self._emit({"type": "input_audio_buffer.committed", "previous_item_id": None, "item_id": name})
        content = [{"type": "input_audio", "transcript": None}]
        self._add(
            {"id": name, "object": "realtime.item", "type": "message", "role": "user", "content": content}
        )
        if object_of(self.session, "audio", "input", "transcription"):
            words = self._next_turn().heard
            self._at(now, 120, lambda _: self._transcribed(name, words))

    def _transcribed(self, name: str, words: str) -> None:
        where = {"item_id": name, "content_index": 0}
        if words:
            half = words[: len(words) // 2]
            kind = "conversation.item.input_audio_transcription.delta"
            self._emit({"type": kind, **where, "delta": half})
            self._emit({"type": kind, **where, "delta": words[len(half) :]})
        done = "conversation.item.input_audio_transcription.completed"
        self._emit({"type": done, **where, "transcript": words})

    # --- answers -----------------------------------------------------------------------------------------

    def _next_turn(self) -> Turn:
        turns = self.script.turns or (Turn(say="..."),)
        return turns[min(self.turns_played, len(turns) - 1)]

    def _begin(self, now: Nanos, *, metadata: dict[str, Any]) -> None:
        turn, number = self._next_turn(), self.turns_played + 1
        self.turns_played = number
        if turn.expect is not None and turn.expect != self._trigger:
            self.problems.append(f"turn {number} expected {turn.expect}, but {self._trigger} led to it")
        self._trigger = "request"
        answer = Answer(id=self._new_id("resp"), metadata=metadata)
        self._answer, self._turn = answer, turn
        words = turn.say.format_map(_Filled(self._tool_output)) if turn.say else ""
        steps = lay_out(
            answer, turn, self.script, encoding=self._encoding("output"), voice=self._voice, words=words
        )
        self._emit({"type": "response.created", "response": self._response("in_progress")})
        for delay, step in steps:
            self._at(now, delay, partial(self._perform, answer, step))

    def _perform(self, answer: Answer, step: Step, now: Nanos, /) -> None:
        if answer is not self._answer:
            return
        match step:
            case Event(message, audio_ms):
                self._note(answer, message, audio_ms)
                self._emit(message)
            case Break(fault):
                self._break(answer, fault)
            case Interrupt():
                self._speech_started(int(self.audio_ms), now)
            case Finish():
                self._finish(answer, "completed")
            case _:
                assert_never(step)

    def _note(self, answer: Answer, message: dict[str, Any], audio_ms: float) -> None:
        match message["type"]:
            case "conversation.item.added":
                self._items[message["item"]["id"]] = message["item"]
                answer.speaking = answer.speaking or message["item"]["type"] == "message"
            case "response.output_audio.delta":
                self._audio[answer.item_id] = self._audio.get(answer.item_id, 0.0) + audio_ms
            case "response.output_item.added" if message["item"]["type"] == "function_call":
                for part in closing(answer, complete=True):
                    self._emit(part)
            case "response.output_item.done":
                answer.output.append(message["item"])
            case _:
                pass

    def _finish(self, answer: Answer, status: str, details: dict[str, Any] | None = None) -> None:
        for message in closing(answer, complete=status == "completed"):
            self._emit(message)
        done = self._response(status, details)
        self._answer = None
        self._emit({"type": "response.done", "response": done})
        self._emit({"type": "rate_limits.updated", "rate_limits": []})

    def _cancel(self, reason: str) -> None:
        answer = self._answer
        assert answer is not None, "callers look first"
        made = {item["id"] for item in answer.output}
        for index, item in enumerate(answer.calls):
            if item["id"] in made:
                continue
            # The real server reports the arguments of calls it will not make: a client must not run these.
            self._emit(arguments_done(answer, item, index + 1))
        self._finish(answer, "cancelled", {"type": "cancelled", "reason": reason})

    def _break(self, answer: Answer, fault: Fault) -> None:
        if fault.close is not None or fault.drop:
            self._closed = True
            self._out.append(CloseSocket(fault.close or 0, fault.reason))
        elif fault.error is not None:
            self._emit(
                {"type": "error", "error": {**fault.error.model_dump(), "param": None, "event_id": None}}
            )
        elif fault.fail is not None:
            self._finish(answer, "failed", {"type": "failed", "error": fault.fail.model_dump()})
        elif fault.junk:
            self._out.extend(SendText("{this is not JSON") for _ in range(fault.junk))
        elif fault.oversized:
            self._out.append(SendText('{"type":"padding","x":"' + "x" * max(0, fault.oversized - 25) + '"}'))
        elif fault.bad_base64:
            where = {"response_id": answer.id, "item_id": answer.item_id or "item_none", "content_index": 0}
            self._emit(
                {
                    "type": "response.output_audio.delta",
                    **where,
                    "output_index": 0,
                    "delta": "*** not base64 ***",
                }
            )
        else:
            # Silence: the answer stays open for ever, so nothing scheduled for it may still match.
            self._answer = replace(answer)

    def _response(self, status: str, details: dict[str, Any] | None = None) -> dict[str, Any]:
        answer = self._answer
        assert answer is not None, "only an answer in progress is described"
        spoken = int(self._audio.get(answer.item_id, 0.0)) // 50
        heard = int(self.audio_ms) // 100
        usage = {
            "total_tokens": spoken + heard,
            "input_tokens": heard,
            "output_tokens": spoken,
            "input_token_details": {"audio_tokens": heard, "text_tokens": 0, "cached_tokens": 0},
            "output_token_details": {"audio_tokens": spoken, "text_tokens": 0},
        }
        return {
            "object": "realtime.response",
            "id": answer.id,
            "status": status,
            "status_details": details,
            "output": list(answer.output) if status != "in_progress" else [],
            "conversation_id": f"conv_sim{self._name}",
            "output_modalities": ["audio"],
            "metadata": dict(answer.metadata) or None,
            "usage": None if status == "in_progress" else usage,
        }

    # --- inside ------------------------------------------------------------------------------------------

    def _vad(self) -> dict[str, Any]:
        return object_of(self.session, "audio", "input", "turn_detection")

    def _encoding(self, side: str) -> str:
        return text_of(self.session, "audio", side, "format", "type").removeprefix("audio/") or "pcm"

    def _new_detector(self) -> SpeechDetector:
        silence = int(self._vad().get("silence_duration_ms") or 500)
        return SpeechDetector(AUDIO_RATE[self._encoding("input")], self.script.speech_db, silence)

    def _read_tool_output(self, output: str) -> None:
        try:
            self._tool_output = parse_object(output)
        except RemoteProtocolError:
            self._tool_output = {"output": output}

    def _add(self, item: dict[str, Any]) -> None:
        self._items[item["id"]] = item
        self._emit({"type": "conversation.item.added", "previous_item_id": None, "item": item})
        self._emit({"type": "conversation.item.done", "previous_item_id": None, "item": item})

    def _refuse(self, refusal: dict[str, Any], message: dict[str, Any]) -> None:
        self.problems.append(f"{text_of(message, 'type') or 'message'}: {refusal['message']}")
        self._emit({"type": "error", "error": {**refusal, "event_id": message.get("event_id")}})

    def _emit(self, message: dict[str, Any]) -> None:
        self._out.append(SendText(to_json({"event_id": self._new_id("event"), **message})))

    def _new_id(self, kind: str) -> str:
        return f"{kind}_sim{self._name}x{next(self._ids)}"

    def _at(self, now: Nanos, delay_ms: float, action: Callable[[Nanos], None]) -> None:
        heapq.heappush(self._later, (Nanos(now + ms(delay_ms)), next(self._order), action))


class _Filled(dict[str, Any]):
    """Values for ``{name}`` in what is said; a name that the tool's result lacks stays visible."""

    def __missing__(self, key: str) -> str:
        return "{" + key + "}"
