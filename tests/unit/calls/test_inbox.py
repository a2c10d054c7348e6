"""The inbox: order, bounds and what gives way, closed lines."""

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trunkline.calls.inbox import Inbox, InboxOverflow
from trunkline.calls.signals import AlarmRang, Signal
from trunkline.engines.contract import Role, Transcript, Usage
from trunkline.model import Nanos
from trunkline.telephony.media.port import Digit, Tap


def control(number: int) -> Digit:
    return Digit(at=Nanos(number), digit="1", duration_ms=number)


def partial(number: int) -> Transcript:
    return Transcript(at=Nanos(number), role=Role.CALLER, text=str(number), final=False)


TAP = Tap(at=Nanos(0), pcm=b"", rate=8000)


async def empty(inbox: Inbox) -> list[Signal]:
    return [await inbox.get() for _ in range(len(inbox))]


async def test_signals_of_all_lines_come_in_one_order() -> None:
    inbox = Inbox()
    leg, engine = inbox.line(), inbox.line()
    leg(control(1))
    engine(partial(2))
    leg(control(3))
    assert [s.at for s in await empty(inbox)] == [1, 2, 3]  # type: ignore[union-attr]


async def test_get_waits() -> None:
    inbox = Inbox()
    line = inbox.line()
    waiting = asyncio.ensure_future(inbox.get())
    await asyncio.wait([waiting], timeout=0)
    assert not waiting.done()
    line(control(7))
    assert await waiting == control(7)


async def test_a_cancelled_get_loses_nothing() -> None:
    inbox = Inbox()
    line = inbox.line()
    waiting = asyncio.ensure_future(inbox.get())
    await asyncio.wait([waiting], timeout=0)
    waiting.cancel()
    await asyncio.wait([waiting])
    line(control(1))
    assert await inbox.get() == control(1)


async def test_a_closed_line_is_not_heard_any_more() -> None:
    inbox = Inbox()
    old, new = inbox.line(), inbox.line()
    old(control(1))
    new(control(2))
    old.close()
    old(control(3))
    assert await inbox.get() == control(2)
    assert len(inbox) == 0


async def test_provisional_newcomers_give_way() -> None:
    inbox = Inbox(capacity=2)
    line = inbox.line()
    for signal in (control(1), control(2), partial(3), TAP, Usage(at=Nanos(4), units={})):
        line(signal)
    assert await empty(inbox) == [control(1), control(2)]
    assert inbox.dropped == {"Transcript": 1, "Tap": 1, "Usage": 1}


async def test_control_pushes_out_the_oldest_provisional() -> None:
    inbox = Inbox(capacity=3)
    line = inbox.line()
    for signal in (control(1), partial(2), partial(3), control(4)):
        line(signal)
    assert await empty(inbox) == [control(1), partial(3), control(4)]


async def test_a_final_transcript_is_control() -> None:
    inbox = Inbox(capacity=1)
    line = inbox.line()
    final = Transcript(at=Nanos(1), role=Role.CALLER, text="yes", final=True)
    line(partial(0))
    line(final)
    assert await inbox.get() == final


async def test_what_waits_of_a_closed_line_gives_way_first() -> None:
    inbox = Inbox(capacity=2)
    old, new = inbox.line(), inbox.line()
    old(control(1))
    new(control(2))
    old.close()
    new(control(3))
    assert await empty(inbox) == [control(2), control(3)]


async def test_too_much_control_overflows_and_says_so() -> None:
    inbox = Inbox(capacity=2)
    line = inbox.line()
    for number in range(3):
        line(control(number))
    with pytest.raises(InboxOverflow, match="more than 2 control signals"):
        await inbox.get()
    assert inbox.dropped == {"Digit": 1}


async def test_an_overflow_wakes_the_one_that_waits() -> None:
    inbox = Inbox(capacity=0)
    line = inbox.line()
    waiting = asyncio.ensure_future(inbox.get())
    await asyncio.wait([waiting], timeout=0)
    line(control(1))
    with pytest.raises(InboxOverflow):
        await waiting


async def test_drain_takes_what_is_there() -> None:
    inbox = Inbox()
    line, closed = inbox.line(), inbox.line()
    line(control(1))
    closed(control(2))
    closed.close()
    assert inbox.drain() == [control(1)]
    assert len(inbox) == 0


@settings(max_examples=80, deadline=None)
@given(st.lists(st.booleans(), max_size=60), st.integers(1, 12))
async def test_it_never_holds_more_than_its_bound_and_keeps_control_in_order(
    kinds: list[bool], capacity: int
) -> None:
    inbox = Inbox(capacity=capacity)
    line = inbox.line()
    sent = [control(n) if kind else partial(n) for n, kind in enumerate(kinds)]
    for signal in sent:
        line(signal)
        assert len(inbox) <= capacity
    controls = [s for s in sent if isinstance(s, Digit)]
    if len(controls) > capacity:
        with pytest.raises(InboxOverflow):
            await inbox.get()
        return
    kept = await empty(inbox)
    assert [s for s in kept if isinstance(s, Digit)] == controls
    assert [s.at for s in kept] == sorted(s.at for s in kept)  # type: ignore[union-attr]


def test_an_alarm_is_control() -> None:
    inbox = Inbox(capacity=1)
    line = inbox.line()
    line(TAP)
    line(AlarmRang(at=Nanos(1), name="x"))
    assert inbox.drain() == [AlarmRang(at=Nanos(1), name="x")]
