"""The shape of an engine's protocol as a sans-IO state machine.

A ``Dialect`` gets messages, commands and the time, and answers with outputs that are drained through ``poll``
after every call. It owns what the engine's protocol allows and when; it refuses sockets, tasks, clocks and audio:
audio messages never reach it, they are split off in the media core.
"""

import re
from dataclasses import dataclass
from typing import Any, Final, Protocol

import msgspec

from trunkline.engines.contract import Brief, EngineCommand, EngineEvent, Fault
from trunkline.model import Nanos, RemoteProtocolError
from trunkline.telephony.media.port import Heard


@dataclass(frozen=True, slots=True)
class Send:
    """A message for the engine."""

    text: str


@dataclass(frozen=True, slots=True)
class Report:
    """Something for ``calls``."""

    event: EngineEvent


@dataclass(frozen=True, slots=True)
class Fail:
    """The session cannot go on: the socket is to be closed."""

    message: str
    code: str
    fault: Fault
    retryable: bool


Output = Send | Report | Fail


class Dialect(Protocol):
    """One session's protocol state. Drain ``poll`` after each of the other methods, then ask ``due``."""

    def opened(self, brief: Brief, now: Nanos) -> None:
        """The socket is open. ``SessionReady`` is reported once the engine is configured."""
        ...

    def receive(self, text: str, now: Nanos) -> None:
        """A text message. Raises ``RemoteProtocolError`` when it is not a message of this protocol at all; the state
        is then as before."""
        ...

    def command(self, command: EngineCommand, now: Nanos) -> None:
        """Carry out a command; only after ``SessionReady``."""
        ...

    def heard(self, heard: Heard) -> None:
        """The media core's measure of how much of an item exists and was heard."""
        ...

    def due(self) -> Nanos | None:
        """When ``tick`` wants to be called next; None: not before something else happens."""
        ...

    def tick(self, now: Nanos) -> None:
        """Time has passed."""
        ...

    def poll(self) -> Output | None:
        """The next output, or None when there is none."""
        ...


_HIGH, _LOW = r"\\u[dD][89abAB][0-9a-fA-F]{2}", r"\\u[dD][c-fC-F][0-9a-fA-F]{2}"
_HALF_PAIR: Final = re.compile(f"{_HIGH}(?!{_LOW})|(?<!{_HIGH}){_LOW}")


def parse_object(text: str) -> dict[str, Any]:
    """``text`` as a JSON object. Raises ``RemoteProtocolError`` that says where it goes wrong, not what it holds.

    Half of a surrogate pair, which models now and then produce, becomes U+FFFD instead of spoiling the message.
    """
    try:
        try:
            message = msgspec.json.decode(text)
        except msgspec.DecodeError:
            mended = _HALF_PAIR.sub(r"\\ufffd", text)
            if mended == text:
                raise
            message = msgspec.json.decode(mended)
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError) as bad:
        raise RemoteProtocolError(f"not JSON: {str(bad)[:120]}") from None
    if not isinstance(message, dict):
        raise RemoteProtocolError("JSON, but not an object")
    return message


def to_json(message: Any) -> str:
    """Compact JSON text. Values that JSON does not know become text."""
    return msgspec.json.encode(message, enc_hook=str).decode()


def text_of(message: Any, *path: str) -> str:
    """Text at a path of keys, or empty when anything on the way is missing or of another type."""
    value = _at(message, path)
    return value if isinstance(value, str) else ""


def object_of(message: Any, *path: str) -> dict[str, Any]:
    """Object at a path of keys, or an empty one."""
    value = _at(message, path)
    return value if isinstance(value, dict) else {}


def list_of(message: Any, *path: str) -> list[Any]:
    """List at a path of keys, or an empty one."""
    value = _at(message, path)
    return value if isinstance(value, list) else []


def _at(message: Any, path: tuple[str, ...]) -> Any:
    for key in path:
        if not isinstance(message, dict):
            return None
        message = message.get(key)
    return message
