"""What goes into the tool flow and what comes out."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from trunkline.model import CallId, Nanos, ToolCallId

NONE: Final = Nanos(0)


class ToolStatus(StrEnum):
    """How a tool call ended."""

    OK = "ok"
    NOT_FOUND = "not_found"
    """The system answered: there is no such record."""
    INVALID_ARGUMENTS = "invalid_arguments"
    """The engine's arguments do not fit; nothing was asked."""
    DENIED = "denied"
    """No such tool, or not for this agent; nothing was asked."""
    UNAVAILABLE = "unavailable"
    """The system did not answer in time, or not properly."""
    FAILED = "failed"
    """Our own mistake."""


@dataclass(frozen=True, slots=True)
class ToolRequest:
    """An engine's wish. ``name`` and ``arguments`` come from a model: nothing about them is to be believed."""

    call: CallId
    id: ToolCallId
    agent: str
    name: str
    arguments: Mapping[str, Any] = field(default_factory=dict, repr=False)
    malformed: str = field(default="", repr=False)
    """The raw text, when it was not a JSON object."""


@dataclass(frozen=True, slots=True)
class ToolOutcome:
    """The answer, for the engine (``output``, JSON), for the caller's ear (``spoken``) and for people
    (``detail``; it may quote what the engine asked, so it is not for logs)."""

    status: ToolStatus
    output: Mapping[str, Any] = field(default_factory=dict, repr=False)
    spoken: str = field(default="", repr=False)
    detail: str = field(default="", repr=False)
    took: Nanos = NONE
    masked: bool = False
    """The mask point passed."""

    @property
    def failed(self) -> bool:
        """Whether the engine should treat it as an error; a record that does not exist is an answer."""
        return self.status not in {ToolStatus.OK, ToolStatus.NOT_FOUND}
