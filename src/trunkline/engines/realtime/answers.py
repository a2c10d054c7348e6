"""What responses contain: audio items and function calls, by the ids the server gave them.

Everything here is bounded: a conversation of an hour keeps the last ``MAX_KEPT`` of each kind.
"""

from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from trunkline.engines.dialect import list_of, object_of, text_of
from trunkline.model import Nanos, ms

MAX_KEPT: Final = 512

PARTIAL_EVERY: Final = ms(250)
"""Shortest time between two reports of the same words as far as they are known."""

K = TypeVar("K")
V = TypeVar("V")


@dataclass(slots=True)
class AudioItem:
    """One spoken item of an answer."""

    response: str
    started: bool = False
    ended: bool = False
    cut: bool = False
    """Truncated, or its response was cancelled."""
    truncated: bool = False
    total_ms: int | None = None
    """How much of it reached the media core, as last reported."""
    words: str = ""
    shown_at: Nanos | None = None
    """When its words so far were last reported."""


@dataclass(frozen=True, slots=True)
class FunctionCall:
    """A call as the server described it. ``arguments`` is JSON text, perhaps malformed."""

    call: str
    name: str
    arguments: str


@dataclass(slots=True)
class Answers:
    """The answers of one session."""

    items: dict[str, AudioItem] = field(default_factory=dict)
    _calls: dict[str, dict[str, FunctionCall]] = field(default_factory=dict)
    _executed: dict[str, None] = field(default_factory=dict)
    _caller_words: dict[str, str] = field(default_factory=dict)
    _caller_shown_at: Nanos | None = None

    def item(self, item_id: str, response: str) -> AudioItem:
        """The audio item, made known when it was not."""
        if item_id not in self.items:
            remember(self.items, item_id, AudioItem(response=response))
        return self.items[item_id]

    def of_response(self, response: str) -> list[tuple[str, AudioItem]]:
        """Audio items of a response, in the order they came."""
        return [(name, item) for name, item in self.items.items() if item.response == response]

    def collect_call(self, response: str, message: Any) -> None:
        """Note a function call that the server finished describing; it is not to be executed yet."""
        call = FunctionCall(
            text_of(message, "call_id"), text_of(message, "name"), text_of(message, "arguments")
        )
        if call.call and call.name:
            if response not in self._calls:
                remember(self._calls, response, {})
            remember(self._calls[response], call.call, call)

    def take_calls(self, response: dict[str, Any]) -> list[FunctionCall]:
        """The calls of a finished response that are to be executed: those of a completed response, each call once in
        the life of the session, in the server's order."""
        name = text_of(response, "id")
        for entry in list_of(response, "output"):
            if text_of(entry, "type") == "function_call":
                self.collect_call(name, entry)
        found = self._calls.pop(name, {})
        if text_of(response, "status") != "completed":
            return []
        fresh = [call for call in found.values() if call.call not in self._executed]
        for call in fresh:
            remember(self._executed, call.call, None)
        return fresh

    def caller_said(self, item_id: str, delta: str, now: Nanos) -> str:
        """Words of the caller so far, with one more piece; empty when it is too soon to show them again."""
        words = self._caller_words.get(item_id, "") + delta
        remember(self._caller_words, item_id, words)
        if not is_time(self._caller_shown_at, now):
            return ""
        self._caller_shown_at = now
        return words

    def caller_finished(self, item_id: str) -> None:
        """The final words of the caller's item came (or never will)."""
        self._caller_words.pop(item_id, None)
        self._caller_shown_at = None


def remember(known: dict[K, V], key: K, value: V) -> None:
    """Put into a dictionary that forgets its oldest entries beyond ``MAX_KEPT``."""
    known[key] = value
    while len(known) > MAX_KEPT:
        del known[next(iter(known))]


def is_time(shown_at: Nanos | None, now: Nanos) -> bool:
    """Whether partial words may be reported again: a server sends them token by token, faster than anyone reads."""
    return shown_at is None or now - shown_at >= PARTIAL_EVERY


def usage_units(response: dict[str, Any]) -> dict[str, int]:
    """Token counts of a response, flat: ``input_tokens``, ``input_audio_tokens``, ``output_text_tokens`` …"""
    usage = object_of(response, "usage")
    units = {name: n for name, n in usage.items() if _is_count(n)}
    for side in ("input", "output"):
        for name, n in object_of(usage, f"{side}_token_details").items():
            if _is_count(n):
                units[f"{side}_{name}"] = n
    return units


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
