"""The session object of the simulated server: defaults, and the refusals of a wrong ``session.update``.

Codes and sentences follow those that the real server sends.
"""

from collections.abc import Mapping
from typing import Any, Final

from trunkline.engines.dialect import object_of, text_of

Error = dict[str, Any]

_ANY: Final[dict[str, Any]] = {}
_FIELDS: Final[dict[str, Any]] = {
    "type": None,
    "model": None,
    "instructions": None,
    "output_modalities": None,
    "max_output_tokens": None,
    "tools": None,
    "tool_choice": None,
    "parallel_tool_calls": None,
    "include": None,
    "prompt": _ANY,
    "reasoning": _ANY,
    "tracing": None,
    "truncation": None,
    "audio": {
        "input": {
            "format": {"type": None, "rate": None},
            "noise_reduction": {"type": None},
            "transcription": {"model": None, "language": None, "prompt": None, "delay": None},
            "turn_detection": {
                "type": None,
                "threshold": None,
                "prefix_padding_ms": None,
                "silence_duration_ms": None,
                "create_response": None,
                "interrupt_response": None,
                "idle_timeout_ms": None,
                "eagerness": None,
            },
        },
        "output": {"format": {"type": None, "rate": None}, "voice": None, "speed": None},
    },
}
_FORMATS: Final = ("audio/pcm", "audio/pcmu", "audio/pcma")
_CHOICES: Final[dict[tuple[str, ...], tuple[str, ...]]] = {
    ("type",): ("realtime",),
    ("audio", "input", "format", "type"): _FORMATS,
    ("audio", "output", "format", "type"): _FORMATS,
    ("audio", "input", "turn_detection", "type"): ("server_vad", "semantic_vad"),
    ("audio", "input", "noise_reduction", "type"): ("near_field", "far_field"),
    ("audio", "output", "voice"): (
        *("alloy", "ash", "ballad", "coral", "echo", "sage", "shimmer", "verse", "marin", "cedar"),
    ),
}


def error(message: str, code: str | None, param: str | None = None) -> Error:
    """The ``error`` object of a refused client event."""
    return {
        "type": "invalid_request_error",
        "code": code,
        "message": message,
        "param": param,
        "event_id": None,
    }


def default_session(session_id: str, model: str) -> dict[str, Any]:
    """What a session is before the client configured it."""
    return {
        "object": "realtime.session",
        "id": session_id,
        "type": "realtime",
        "model": model,
        "instructions": "You are a helpful assistant.",
        "output_modalities": ["audio"],
        "tools": [],
        "tool_choice": "auto",
        "max_output_tokens": "inf",
        "audio": {
            "input": {
                "format": {"type": "audio/pcm", "rate": 24_000},
                "noise_reduction": None,
                "transcription": None,
                "turn_detection": {
                    "type": "server_vad",
                    "threshold": 0.5,
                    "prefix_padding_ms": 300,
                    "silence_duration_ms": 500,
                    "create_response": True,
                    "interrupt_response": True,
                    "idle_timeout_ms": None,
                },
            },
            "output": {"format": {"type": "audio/pcm", "rate": 24_000}, "voice": "alloy", "speed": 1.0},
        },
    }


def refuse_update(update: Any, session: Mapping[str, Any], *, has_spoken: bool) -> Error | None:
    """Why the server would refuse this ``session`` of a ``session.update``; None when it would not."""
    if not isinstance(update, dict):
        return error("Missing required parameter: 'session'.", "missing_required_parameter", "session")
    if "type" not in update:
        return error(
            "Missing required parameter: 'session.type'.", "missing_required_parameter", "session.type"
        )
    return (
        _unknown(update, _FIELDS, "session")
        or _wrong_choice(update)
        or _wrong_rate(update)
        or _wrong_tools(update)
        or _frozen(update, session, has_spoken=has_spoken)
    )


def updated(session: Mapping[str, Any], update: Mapping[str, Any]) -> dict[str, Any]:
    """The session with an accepted update: objects are merged, everything else replaced."""
    merged = dict(session)
    for key, value in update.items():
        below = merged.get(key)
        if isinstance(below, dict) and isinstance(value, dict) and key != "turn_detection":
            merged[key] = updated(below, value)
        else:
            merged[key] = value
    return merged


def _unknown(value: Mapping[str, Any], known: Mapping[str, Any], path: str) -> Error | None:
    for key, below in value.items():
        where = f"{path}.{key}"
        if key not in known:
            return error(f"Unknown parameter: '{where}'.", "unknown_parameter", where)
        allowed = known[key]
        if allowed and isinstance(below, dict):
            found = _unknown(below, allowed, where)
            if found is not None:
                return found
        elif allowed and below is not None:
            message = f"Invalid type for '{where}': expected an object, but got something else instead."
            return error(message, "invalid_type", where)
    return None


def _wrong_choice(update: Mapping[str, Any]) -> Error | None:
    for path, choices in _CHOICES.items():
        given = object_of(update, *path[:-1]).get(path[-1])
        if given is not None and given not in choices:
            where = ".".join(("session", *path))
            names = ", ".join(f"'{choice}'" for choice in choices)
            return error(f"Invalid value: '{given}'. Supported values are: {names}.", "invalid_value", where)
    return None


def _wrong_rate(update: Mapping[str, Any]) -> Error | None:
    for side in ("input", "output"):
        wanted = object_of(update, "audio", side, "format")
        if wanted.get("type") == "audio/pcm" and wanted.get("rate", 24_000) != 24_000:
            where = f"session.audio.{side}.format.rate"
            return error(
                f"Invalid value: {wanted['rate']}. Supported values are: 24000.", "invalid_value", where
            )
    modalities = update.get("output_modalities")
    if modalities is not None and modalities not in (["audio"], ["text"]):
        message = f"Invalid modalities: {modalities}. Supported combinations are: ['text'] and ['audio']."
        return error(message, "invalid_value", "session.output_modalities")
    return None


def _wrong_tools(update: Mapping[str, Any]) -> Error | None:
    tools = update.get("tools", [])
    if not isinstance(tools, list):
        return error("Invalid type for 'session.tools': expected an array.", "invalid_type", "session.tools")
    for index, tool in enumerate(tools):
        where = f"session.tools[{index}]"
        if text_of(tool, "type") != "function":
            return error(f"Invalid value for '{where}.type'.", "invalid_value", f"{where}.type")
        if not text_of(tool, "name"):
            missing = f"{where}.name"
            return error(f"Missing required parameter: '{missing}'.", "missing_required_parameter", missing)
    return None


def _frozen(update: Mapping[str, Any], session: Mapping[str, Any], *, has_spoken: bool) -> Error | None:
    voice = text_of(update, "audio", "output", "voice")
    if has_spoken and voice and voice != text_of(session, "audio", "output", "voice"):
        message = "Cannot update a conversation's voice if assistant audio is present."
        return error(message, "cannot_update_voice")
    model = text_of(update, "model")
    if model and model != session.get("model"):
        return error("The model of a session cannot be changed.", "cannot_update_model", "session.model")
    return None
