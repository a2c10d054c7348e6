"""The transition tables as data: complete for what peers may do, and without dead ends."""

import pytest

from trunkline.telephony.sip.proto import tables
from trunkline.telephony.sip.proto.tables import Action, Input, State, Table

ALL = {
    "invite client": (tables.INVITE_CLIENT, State.CALLING),
    "client": (tables.CLIENT, State.TRYING),
    "invite server": (tables.INVITE_SERVER, State.PROCEEDING),
    "server": (tables.SERVER, State.TRYING),
}
PEER = {
    "invite client": {Input.PROVISIONAL, Input.SUCCESS, Input.FAILURE},
    "client": {Input.PROVISIONAL, Input.SUCCESS, Input.FAILURE},
    "invite server": {Input.REQUEST, Input.ACK},
    "server": {Input.REQUEST},
}


@pytest.mark.parametrize("name", ALL)
def test_every_state_is_reached_and_leads_to_the_end(name: str) -> None:
    table, start = ALL[name]
    seen, todo = {start}, [start]
    while todo:
        for state, _ in table.get(todo.pop(), {}).values():
            if state not in seen:
                seen.add(state)
                todo.append(state)
    assert seen == {*table, State.TERMINATED}
    for state in table:
        assert _ends(table, state), f"{name}: {state.name} never ends"


def _ends(table: Table, start: State) -> bool:
    seen, todo = set(), [start]
    while todo:
        state = todo.pop()
        if state is State.TERMINATED:
            return True
        if state not in seen:
            seen.add(state)
            todo += [target for target, _ in table[state].values()]
    return False


@pytest.mark.parametrize("name", ALL)
def test_what_a_peer_or_the_transport_may_do_is_listed_in_every_state(name: str) -> None:
    table, _ = ALL[name]
    for state, row in table.items():
        assert PEER[name] | {Input.ERROR} <= row.keys(), f"{name}: {state.name}"


@pytest.mark.parametrize("name", ALL)
def test_a_state_that_arms_a_timer_knows_what_to_do_when_it_fires(name: str) -> None:
    table, _ = ALL[name]
    fires = {
        Action.ARM_LINGER: Input.LINGER,
        Action.ARM_TIMEOUT: Input.TIMEOUT,
        Action.ARM_RETRANSMIT: Input.RETRANSMIT,
    }
    for row in table.values():
        for target, actions in row.values():
            for action in actions:
                if action in fires:
                    assert fires[action] in table[target]
