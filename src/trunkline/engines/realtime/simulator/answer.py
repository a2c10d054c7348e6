"""One answer of the simulated server, laid out in time: which message follows which, and when.

Pure: a turn of the script and the session's format in, a list of (delay, step) out. ``conversation`` sends them and
can cut the list short at any point.
"""

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from trunkline.engines.dialect import to_json
from trunkline.engines.realtime.simulator.script import Fault, Script, Turn
from trunkline.engines.realtime.simulator.sound import Samples, Voice, encode, speak, tone

AUDIO_RATE: Final = {"pcm": 24_000, "pcmu": 8_000, "pcma": 8_000}


@dataclass(frozen=True, slots=True)
class Event:
    """A message; ``audio_ms`` of audio exist once it was sent."""

    message: dict[str, Any]
    audio_ms: float = 0.0


@dataclass(frozen=True, slots=True)
class Break:
    """A fault is due."""

    fault: Fault


@dataclass(frozen=True, slots=True)
class Interrupt:
    """The caller is taken to have begun to speak."""


@dataclass(frozen=True, slots=True)
class Finish:
    """The answer is complete."""


Step = Event | Break | Interrupt | Finish


@dataclass(slots=True)
class Answer:
    """A response in progress."""

    id: str
    metadata: Mapping[str, Any]
    item_id: str = ""
    spoken: str = ""
    output: list[dict[str, Any]] = field(default_factory=list)
    """Finished items, as ``response.done`` lists them."""
    calls: list[dict[str, Any]] = field(default_factory=list)
    """Function call items of this answer, whether or not they were reached."""
    speaking: bool = False
    """The spoken item was begun and not ended."""


def lay_out(
    answer: Answer, turn: Turn, script: Script, *, encoding: str, voice: Voice | None, words: str
) -> list[tuple[float, Step]]:
    """The steps of an answer with their delays in milliseconds from its creation, in order."""
    first = float(script.first_audio_ms if turn.first_audio_ms is None else turn.first_audio_ms)
    steps: list[tuple[float, Step]] = []
    end = first
    if words or turn.tone:
        samples = speak(words, AUDIO_RATE[encoding], voice) if words else _tone(turn, encoding)
        answer.item_id, answer.spoken = f"item_{answer.id[5:]}_0", words
        steps, end = _speech(answer, samples, script, turn, encoding=encoding, first=first)
    for index, call in enumerate(turn.all_calls()):
        arguments = to_json(call.arguments) if call.raw is None else call.raw
        item = {
            "id": f"item_{answer.id[5:]}_{index + 1}",
            "object": "realtime.item",
            "type": "function_call",
            "status": "completed",
            "name": call.name,
            "call_id": f"call_{answer.id[5:]}_{index + 1}",
            "arguments": arguments,
        }
        answer.calls.append(item)
        steps += [(end, Event(message)) for message in _call(answer.id, item, index + 1)]
    steps.append((end, Finish()))
    if turn.fault is not None:
        steps.append((first + turn.fault.after_ms, Break(turn.fault)))
    if turn.interrupt_after_ms is not None:
        steps.append((first + turn.interrupt_after_ms, Interrupt()))
    steps.sort(key=lambda step: (step[0], isinstance(step[1], Finish)))
    return steps


def closing(answer: Answer, *, complete: bool) -> list[dict[str, Any]]:
    """The messages that end the spoken item, whole or cut."""
    if not answer.speaking:
        return []
    answer.speaking = False
    where = {"response_id": answer.id, "item_id": answer.item_id, "output_index": 0, "content_index": 0}
    item = _spoken_item(answer, "completed" if complete else "incomplete")
    answer.output.insert(0, item)
    part = {"type": "audio", "transcript": answer.spoken}
    return [
        {"type": "response.output_audio.done", **where},
        {"type": "response.output_audio_transcript.done", **where, "transcript": answer.spoken},
        {"type": "response.content_part.done", **where, "part": part},
        {"type": "conversation.item.done", "item": item},
        {"type": "response.output_item.done", "response_id": answer.id, "output_index": 0, "item": item},
    ]


def arguments_done(answer: Answer, item: dict[str, Any], index: int) -> dict[str, Any]:
    """The event with a call's arguments; the real server sends it for calls of interrupted answers too."""
    return {
        "type": "response.function_call_arguments.done",
        "response_id": answer.id,
        "item_id": item["id"],
        "output_index": index,
        "call_id": item["call_id"],
        "name": item["name"],
        "arguments": item["arguments"],
    }


def _tone(turn: Turn, encoding: str) -> Samples:
    assert turn.tone is not None, "lay_out asks for a tone only when the turn has one"
    return tone(turn.tone.hz, turn.tone.ms, turn.tone.level_db, AUDIO_RATE[encoding])


def _spoken_item(answer: Answer, status: str) -> dict[str, Any]:
    content = [] if status == "in_progress" else [{"type": "output_audio", "transcript": answer.spoken}]
    return {
        "id": answer.item_id,
        "object": "realtime.item",
        "type": "message",
        "status": status,
        "role": "assistant",
        "content": content,
    }


def _speech(
    answer: Answer, samples: Samples, script: Script, turn: Turn, *, encoding: str, first: float
) -> tuple[list[tuple[float, Step]], float]:
    rate, pace = AUDIO_RATE[encoding], turn.pace or script.pace
    item = _spoken_item(answer, "in_progress")
    where = {"response_id": answer.id, "item_id": answer.item_id, "output_index": 0, "content_index": 0}
    opening: list[dict[str, Any]] = [
        {"type": "response.output_item.added", "response_id": answer.id, "output_index": 0, "item": item},
        {"type": "conversation.item.added", "previous_item_id": None, "item": item},
        {"type": "response.content_part.added", **where, "part": {"type": "audio", "transcript": ""}},
    ]
    steps: list[tuple[float, Step]] = [(first, Event(message)) for message in opening]
    size = max(1, rate * script.delta_ms // 1000)
    pieces = [samples[at : at + size] for at in range(0, len(samples), size)]
    words = answer.spoken.split(" ") if answer.spoken else []
    at, said = first, 0
    for index, piece in enumerate(pieces):
        upto = len(words) * (index + 1) // len(pieces)
        if upto > said:
            delta = (" " if said else "") + " ".join(words[said:upto])
            steps.append(
                (at, Event({"type": "response.output_audio_transcript.delta", **where, "delta": delta}))
            )
            said = upto
        audio = base64.b64encode(encode(piece, encoding)).decode()
        span = 1000 * len(piece) / rate
        steps.append(
            (at, Event({"type": "response.output_audio.delta", **where, "delta": audio}, audio_ms=span))
        )
        at += span / pace
    return steps, at


def _call(response: str, item: dict[str, Any], index: int) -> list[dict[str, Any]]:
    begun = {**item, "status": "in_progress", "arguments": ""}
    where = {"response_id": response, "item_id": item["id"], "output_index": index}
    return [
        {"type": "response.output_item.added", "response_id": response, "output_index": index, "item": begun},
        {"type": "conversation.item.added", "previous_item_id": None, "item": begun},
        {
            "type": "response.function_call_arguments.delta",
            **where,
            "call_id": item["call_id"],
            "delta": item["arguments"],
        },
        {
            "type": "response.function_call_arguments.done",
            **where,
            "call_id": item["call_id"],
            "name": item["name"],
            "arguments": item["arguments"],
        },
        {"type": "conversation.item.done", "item": item},
        {"type": "response.output_item.done", "response_id": response, "output_index": index, "item": item},
    ]
