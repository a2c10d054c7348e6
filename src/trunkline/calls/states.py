"""The states of a call, as one table.

Everything about which step may follow which is in ``TABLE``; nothing else decides it, and the table knows of no
leg, engine or clock. A step that the table does not have is a bug of ours: ``LocalProtocolError``.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from trunkline.model import LocalProtocolError


class State(StrEnum):
    """Where a call stands."""

    ARRIVED = "arrived"
    """An INVITE was accepted for handling; nothing was promised to the caller."""
    ROUTED = "routed"
    """An agent was chosen."""
    RECORDED = "recorded"
    """The record's start is durable."""
    PREPARED = "prepared"
    """Media is open; an engine is being connected."""
    ANSWERED = "answered"
    """The 200 OK was sent."""
    TALKING = "talking"
    """Caller and engine converse."""
    ALONE = "alone"
    """Answered, but no engine: it failed and another is sought, or an apology is being said."""
    HANDING_OVER = "handing_over"
    """Last words, then the REFER; Trunkline is still in the media path."""
    RELEASED = "released"
    """The transfer was accepted: engine closed, ports free; its result is awaited."""
    ENDING = "ending"
    """Being torn down; the outcome is known."""
    CLOSED = "closed"
    """The record is closed. Nothing follows."""


class Step(StrEnum):
    """What moves a call from one state to another."""

    ROUTE = "route"
    RECORD = "record"
    PREPARE = "prepare"
    ANSWER = "answer"
    CONVERSE = "converse"
    LOSE_ENGINE = "lose engine"
    HAND_OVER = "hand over"
    STAY = "transfer refused"
    RELEASE = "release media"
    REANCHOR = "reanchor media"
    END = "end"
    CLOSE = "close"


TABLE: Final[Mapping[State, Mapping[Step, State]]] = {
    State.ARRIVED: {Step.ROUTE: State.ROUTED, Step.END: State.ENDING},
    State.ROUTED: {Step.RECORD: State.RECORDED, Step.END: State.ENDING},
    State.RECORDED: {Step.PREPARE: State.PREPARED, Step.END: State.ENDING},
    State.PREPARED: {Step.ANSWER: State.ANSWERED, Step.END: State.ENDING},
    State.ANSWERED: {
        Step.CONVERSE: State.TALKING,
        Step.LOSE_ENGINE: State.ALONE,
        Step.END: State.ENDING,
    },
    State.TALKING: {
        Step.HAND_OVER: State.HANDING_OVER,
        Step.LOSE_ENGINE: State.ALONE,
        Step.END: State.ENDING,
    },
    State.ALONE: {
        Step.CONVERSE: State.TALKING,
        Step.HAND_OVER: State.HANDING_OVER,
        Step.END: State.ENDING,
    },
    State.HANDING_OVER: {
        Step.STAY: State.ALONE,
        Step.RELEASE: State.RELEASED,
        Step.END: State.ENDING,
    },
    State.RELEASED: {Step.REANCHOR: State.ALONE, Step.END: State.ENDING},
    State.ENDING: {Step.CLOSE: State.CLOSED},
    State.CLOSED: {},
}

BEFORE_ANSWER: Final = frozenset({State.ARRIVED, State.ROUTED, State.RECORDED, State.PREPARED})
"""States in which the caller was promised nothing yet, so that a refusal can still be sent."""


def follow(state: State, step: Step) -> State:
    """The state after ``step``. Raises ``LocalProtocolError`` when the table has no such pair."""
    try:
        return TABLE[state][step]
    except KeyError:
        raise LocalProtocolError(f"a call that is {state} has no step {step!s}") from None


def diagram() -> str:
    """The table as a Mermaid state diagram, for ``docs/``."""
    lines = ["stateDiagram-v2", f"    [*] --> {State.ARRIVED}"]
    for state, steps in TABLE.items():
        lines.extend(f"    {state} --> {target}: {step}" for step, target in steps.items())
    lines.append(f"    {State.CLOSED} --> [*]")
    return "\n".join(lines) + "\n"
