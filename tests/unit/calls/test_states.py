"""The table of call states: complete, closed, and what the documentation shows."""

from pathlib import Path

import pytest

from trunkline.calls.states import BEFORE_ANSWER, TABLE, State, Step, diagram, follow
from trunkline.model import LocalProtocolError

PAIRS = [(state, step) for state in State for step in Step]


def test_every_state_is_in_the_table_and_leads_on() -> None:
    assert set(TABLE) == set(State)
    assert [state for state, steps in TABLE.items() if not steps] == [State.CLOSED]


@pytest.mark.parametrize(("state", "step"), PAIRS)
def test_a_pair_that_is_missing_is_a_bug(state: State, step: Step) -> None:
    if step in TABLE[state]:
        assert follow(state, step) is TABLE[state][step]
    else:
        with pytest.raises(LocalProtocolError, match=f"a call that is {state} has no step {step}"):
            follow(state, step)


def test_every_state_is_reached_and_every_call_can_be_ended() -> None:
    reached = {State.ARRIVED}
    while more := {target for state in reached for target in TABLE[state].values()} - reached:
        reached |= more
    assert reached == set(State)
    for state in set(State) - {State.ENDING, State.CLOSED}:
        assert follow(state, Step.END) is State.ENDING
    assert follow(State.ENDING, Step.CLOSE) is State.CLOSED


def test_every_step_is_used() -> None:
    assert {step for steps in TABLE.values() for step in steps} == set(Step)


def test_what_comes_before_the_answer() -> None:
    """Nothing after the answer leads back to a state in which a refusal could be sent."""
    later = set(State) - BEFORE_ANSWER
    assert all(target in later for state in later for target in TABLE[state].values())


def test_the_diagram_has_every_transition() -> None:
    lines = diagram().splitlines()
    assert lines[0] == "stateDiagram-v2"
    assert len(lines) == 3 + sum(len(steps) for steps in TABLE.values())


def test_the_documentation_has_the_diagram() -> None:
    page = Path(__file__).parents[3] / "docs" / "calls.md"
    assert diagram() in page.read_text(encoding="utf-8")
