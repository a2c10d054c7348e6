"""What ``calls`` knows of an AI engine, whichever it is.

An ``EngineSession`` is one conversation. It uses an ``EnginePort`` for audio, is fed the media events that
concern it, takes commands and emits ``EngineEvent``s, in order, through the sink it was created with.
Audio never passes through here, except for engines that run in this process (tap and ``play``).
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

from trunkline.model import Clock, Nanos, ToolCallId
from trunkline.telephony.media.port import EnginePort, MediaEvent


class Role(StrEnum):
    """Whose words a transcript holds."""

    CALLER = "caller"
    AGENT = "agent"


class Fault(StrEnum):
    """Whose fault an engine error is."""

    OURS = "ours"
    ENGINE = "engine"
    NETWORK = "network"


# --- what a session is started with -------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ToolSpec:
    """A tool as the engine sees it. ``parameters`` is a JSON Schema object."""

    name: str
    description: str
    parameters: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Brief:
    """The agent document, resolved for one call."""

    agent: str
    instructions: str = ""
    greeting: str = ""
    """Spoken first; empty: the engine decides."""
    voice: str = ""
    language: str = "en-US"
    tools: tuple[ToolSpec, ...] = ()
    dialogue: Mapping[str, Any] = field(default_factory=dict)
    """The dialogue document of the local engine, already validated; empty for others."""
    context: Mapping[str, str] = field(default_factory=dict)
    """What is known about the caller (DNIS, ANI, name …), for templates and instructions."""
    queues: tuple[str, ...] = ()
    """Names of the queues of people this agent may hand over to; empty: handing over is not offered."""


# --- events --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SessionReady:
    """The engine listens and will speak."""

    at: Nanos


@dataclass(frozen=True, slots=True)
class CallerSpeechStarted:
    """The engine (or its own VAD) heard the caller begin: the cue for barge-in."""

    at: Nanos


@dataclass(frozen=True, slots=True)
class CallerSpeechStopped:
    """The engine takes the caller's turn for ended."""

    at: Nanos


@dataclass(frozen=True, slots=True)
class Transcript:
    """Words of either side. Partial ones (``final`` false) replace each other; ``item`` names the audio item of
    the agent's words, or is empty."""

    at: Nanos
    role: Role
    text: str
    final: bool
    item: str = ""


@dataclass(frozen=True, slots=True)
class ItemStarted:
    """The engine began to produce an audio item."""

    at: Nanos
    item: str


@dataclass(frozen=True, slots=True)
class ItemEnded:
    """The engine has sent all audio of an item (sent, not heard)."""

    at: Nanos
    item: str


@dataclass(frozen=True, slots=True)
class ToolCall:
    """The engine asks for a tool; exactly one ``ToolResult`` must answer, unless cancelled. ``arguments`` is what
    the engine sent, decoded but not validated; ``malformed`` holds the raw text when it was not a JSON object."""

    at: Nanos
    id: ToolCallId
    name: str
    arguments: Mapping[str, Any]
    malformed: str = ""


@dataclass(frozen=True, slots=True)
class ToolCallCancelled:
    """The engine no longer wants the answer."""

    at: Nanos
    id: ToolCallId


@dataclass(frozen=True, slots=True)
class HandOver:
    """The engine asks for a person: ``queue`` is a queue's name or empty, ``summary`` what the person should know."""

    at: Nanos
    queue: str
    reason: str
    summary: str


@dataclass(frozen=True, slots=True)
class HangUp:
    """The engine considers the conversation finished; hang up once its last words were heard."""

    at: Nanos
    reason: str


@dataclass(frozen=True, slots=True)
class Interrupted:
    """The engine cancelled its own answer because the caller spoke; late audio of ``item`` must be dropped."""

    at: Nanos
    item: str


@dataclass(frozen=True, slots=True)
class TurnEnded:
    """The engine finished an answer (audio sent, tools asked)."""

    at: Nanos
    status: str


@dataclass(frozen=True, slots=True)
class Usage:
    """What a turn cost, in the engine's own units."""

    at: Nanos
    units: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class GoingAway:
    """The engine will close soon; ``in_ms`` is 0 when unknown."""

    at: Nanos
    in_ms: int


@dataclass(frozen=True, slots=True)
class EngineError:
    """Something went wrong. The session goes on unless ``SessionClosed`` follows."""

    at: Nanos
    message: str
    retryable: bool
    fault: Fault
    code: str = ""


@dataclass(frozen=True, slots=True)
class SessionClosed:
    """The session is over; nothing follows. ``clean`` when we closed it."""

    at: Nanos
    clean: bool
    retryable: bool
    detail: str


EngineEvent = (
    SessionReady
    | CallerSpeechStarted
    | CallerSpeechStopped
    | Transcript
    | ItemStarted
    | ItemEnded
    | ToolCall
    | ToolCallCancelled
    | HandOver
    | HangUp
    | Interrupted
    | TurnEnded
    | Usage
    | GoingAway
    | EngineError
    | SessionClosed
)

EngineSink = Callable[[EngineEvent], None]


# --- commands ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Greet:
    """Speak first: the brief's greeting, or ``text``."""

    text: str = ""


@dataclass(frozen=True, slots=True)
class CallerText:
    """Words of the caller that did not come as audio."""

    text: str


@dataclass(frozen=True, slots=True)
class CallerDigits:
    """Digits the caller pressed."""

    digits: str


@dataclass(frozen=True, slots=True)
class ToolResult:
    """Answer to a ``ToolCall``: ``output`` is JSON-serialisable; ``spoken`` is a sentence for engines that speak
    prepared text; with ``failed`` the output says why in words for the engine."""

    id: ToolCallId
    output: Mapping[str, Any]
    failed: bool = False
    spoken: str = ""


@dataclass(frozen=True, slots=True)
class Truncate:
    """The caller heard only ``heard_ms`` of ``item``; the rest was flushed. Already clamped to what exists."""

    item: str
    heard_ms: int


@dataclass(frozen=True, slots=True)
class CancelAnswer:
    """Stop producing the current answer."""


@dataclass(frozen=True, slots=True)
class UpdateInstructions:
    """Replace the instructions (or append context, for engines that cannot)."""

    instructions: str


@dataclass(frozen=True, slots=True)
class Say:
    """Speak this sentence now, word for word where the engine can."""

    text: str


@dataclass(frozen=True, slots=True)
class CallerHeld:
    """The caller's side put the call on hold, or with ``held`` false took it back. Nobody listens meanwhile: an
    engine that asks again into silence waits, and takes what it hears (music, often) for nobody's words."""

    held: bool


EngineCommand = (
    Greet
    | CallerText
    | CallerDigits
    | CallerHeld
    | ToolResult
    | Truncate
    | CancelAnswer
    | UpdateInstructions
    | Say
)


class EngineSession(ABC):
    """One conversation with one engine."""

    @abstractmethod
    async def start(self, brief: Brief) -> None:
        """Open socket or tap and configure; returns at once. ``SessionReady`` or ``SessionClosed`` follows."""

    @abstractmethod
    def handle_media(self, event: MediaEvent) -> None:
        """Feed a media event of this call. All are offered; unknown ones are ignored."""

    @abstractmethod
    def command(self, command: EngineCommand) -> None:
        """Carry out a command; commands before ``SessionReady`` are kept (at most 64) and sent then."""

    @abstractmethod
    async def close(self) -> None:
        """End the session and free what it holds; ``SessionClosed`` with ``clean`` is emitted if none was."""


class EngineFactory(Protocol):
    """Makes the session of one call; settings and credentials were bound before. Makes no connection yet."""

    def __call__(self, *, port: EnginePort, sink: EngineSink, clock: Clock) -> EngineSession: ...
