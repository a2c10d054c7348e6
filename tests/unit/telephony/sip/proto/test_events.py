"""The union is closed and its members are values."""

import dataclasses
from typing import get_args

import pytest

from trunkline.telephony.sip.proto import events


def test_every_event_is_in_the_union_frozen_and_names_its_session() -> None:
    members = set(get_args(events.SipEvent))
    defined = {value for value in vars(events).values() if dataclasses.is_dataclass(value)}
    assert members == defined
    for kind in members:
        assert dataclasses.fields(kind)[0].name == "session"
        event = object.__new__(kind)
        with pytest.raises(dataclasses.FrozenInstanceError):
            event.session = None
