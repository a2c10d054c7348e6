"""What a dialogue is told and what it wants done: frozen values between it and whoever runs it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any

# --- in ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Begin:
    """Greet; ``text`` instead of the document's greeting unless empty."""

    text: str = ""


@dataclass(frozen=True, slots=True)
class Heard:
    """The caller's turn as words; empty when nothing fitted."""

    text: str


@dataclass(frozen=True, slots=True)
class Pressed:
    """One key: 0-9, * or #."""

    key: str


@dataclass(frozen=True, slots=True)
class CallerStarted:
    """The caller begins to speak: silence is over."""


@dataclass(frozen=True, slots=True)
class Quiet:
    """The agent's words were heard to their end (or cut) and the caller is silent: silence begins."""


@dataclass(frozen=True, slots=True)
class Cut:
    """The caller interrupted; ``rest`` is what they did not hear."""

    rest: str


@dataclass(frozen=True, slots=True)
class Answer:
    """A tool's answer to the call with this id."""

    id: str
    output: Mapping[str, Any] = field(default_factory=dict)
    failed: bool = False
    spoken: str = ""


@dataclass(frozen=True, slots=True)
class Tick:
    """Time has passed; look at the deadline."""


Input = Begin | Heard | Pressed | CallerStarted | Quiet | Cut | Answer | Tick

# --- out -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Say:
    """Speak. ``fixed`` when the text is the same on every call, so that its audio may be kept."""

    text: str
    fixed: bool = False


@dataclass(frozen=True, slots=True)
class CallTool:
    """Ask for a tool; ``Answer`` with this id is expected."""

    id: str
    name: str
    arguments: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class HandOver:
    """Give the caller to a person, after what was said."""

    queue: str
    reason: str
    summary: str


@dataclass(frozen=True, slots=True)
class HangUp:
    """End the call, after what was said."""

    reason: str


Output = Say | CallTool | HandOver | HangUp


@dataclass(frozen=True, slots=True)
class Expectation:
    """What to listen for: the key of a grammar (see ``listening``) and the silence that ends a turn."""

    grammar: str
    end_of_speech_ms: int


class Mode(Enum):
    """Where the conversation is."""

    IDLE = auto()
    MENU = auto()
    MORE = auto()
    SLOT = auto()
    CONFIRM = auto()
    WAITING = auto()
    ENDED = auto()
