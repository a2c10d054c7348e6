"""What may arrive in a call's inbox: events of its leg, media and engine, and signals of the call itself."""

from dataclasses import dataclass
from typing import Any

from trunkline.engines.contract import EngineEvent
from trunkline.integration.tools import ToolOutcome
from trunkline.model import Nanos, ToolCallId
from trunkline.telephony.legs.contract import LegEvent
from trunkline.telephony.media.port import MediaEvent


@dataclass(frozen=True, slots=True)
class AlarmRang:
    """A deadline of the call passed."""

    at: Nanos
    name: str


@dataclass(frozen=True, slots=True)
class MaskDue:
    """A tool's mask point passed without an answer; ``phrase`` bridges the wait, empty: none does."""

    at: Nanos
    id: ToolCallId
    phrase: str


@dataclass(frozen=True, slots=True)
class ToolDone:
    """A tool call ended, well or not."""

    at: Nanos
    id: ToolCallId
    outcome: ToolOutcome


@dataclass(frozen=True, slots=True, eq=False)
class StepDone:
    """Something the flow waits for has ended; ``step`` is the waiter's token."""

    step: Any


@dataclass(frozen=True, slots=True)
class Shutdown:
    """The process ends and the drain limit has passed: hang up."""

    at: Nanos


OwnSignal = AlarmRang | MaskDue | ToolDone | StepDone | Shutdown
Signal = LegEvent | MediaEvent | EngineEvent | OwnSignal
