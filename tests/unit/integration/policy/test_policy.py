import asyncio
import inspect
from collections.abc import Mapping
from typing import Any

import pytest

from trunkline.integration.policy import (
    ORDER,
    ArgumentRules,
    ArgumentsInvalid,
    Attempt,
    Budget,
    Chain,
    DeadlinePassed,
)
from trunkline.integration.policy.chain import GATES, MAX_STRAYS
from trunkline.model import MS, Nanos, Overloaded, RemoteError, ms
from trunkline.testing import VirtualClock

RULES = ArgumentRules(
    {"type": "object", "required": ["n"], "properties": {"n": {"type": "integer", "minimum": 1}}}
)


class Slow:
    """What happened, and when."""

    def __init__(self, clock: VirtualClock) -> None:
        self.clock = clock
        self.called_after: list[float] = []

    def attempt(
        self, arguments: Mapping[str, Any] | None = None, *, mask: int = 700, hard: int = 8000
    ) -> Attempt:
        began = self.clock.now()
        deadline = Budget(mask=ms(mask), hard=ms(hard)).begin(began)

        def note() -> None:
            self.called_after.append((self.clock.now() - began) / MS)

        return Attempt({"n": 1} if arguments is None else arguments, RULES, deadline, note)


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def slow(clock: VirtualClock) -> Slow:
    return Slow(clock)


def after(clock: VirtualClock, span_ms: float, result: Any = "answer") -> Any:
    async def operation(_: Attempt) -> Any:
        await clock.sleep_until(Nanos(clock.now() + ms(span_ms)))
        if isinstance(result, Exception):
            raise result
        return result

    return operation


# --- the order ---------------------------------------------------------------------------------------------


def test_order_of_the_gates() -> None:
    assert ORDER == ("arguments", "mask", "deadline")
    assert set(GATES) == set(ORDER)
    assert all(inspect.iscoroutinefunction(gate) for gate in GATES.values())


# --- budget --------------------------------------------------------------------------------------------------


def test_a_budget_becomes_instants() -> None:
    deadline = Budget(mask=ms(700), hard=ms(8000)).begin(Nanos(5 * MS))
    assert (deadline.asked_at, deadline.mask_at, deadline.hard_at) == (5 * MS, 705 * MS, 8005 * MS)


@pytest.mark.parametrize(("mask", "hard"), [(5, 5), (6, 5), (-1, 5), (0, 0)])
def test_a_budget_that_makes_no_sense(mask: int, hard: int) -> None:
    with pytest.raises(ValueError, match="0 <= mask < hard"):
        Budget(mask=Nanos(mask), hard=Nanos(hard))


# --- arguments -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        ({}, "'n' is a required property"),
        ({"n": "1"}, "n: '1' is not of type 'integer'"),
        ({"n": 0}, "n: 0 is less than the minimum of 1"),
        ({"n": 1, "text": "x" * 5000}, "longer than 4096"),
        ({"n": 1, "list": [[0] * 50] * 6}, "more than 256 values"),
    ],
)
async def test_arguments_that_do_not_fit(slow: Slow, arguments: dict[str, Any], what: str) -> None:
    asked: list[Attempt] = []

    async def operation(attempt: Attempt) -> None:
        asked.append(attempt)

    with pytest.raises(ArgumentsInvalid, match=what):
        await Chain(slow.clock).run(slow.attempt(arguments), operation)
    assert asked == []


def test_few_problems_are_told() -> None:
    rules = ArgumentRules({"properties": {f"p{i}": {"type": "null"} for i in range(9)}})
    with pytest.raises(ArgumentsInvalid) as told:
        rules.check({f"p{i}": 1 for i in range(9)})
    assert told.value.what.count(";") == 4


@pytest.mark.parametrize(
    ("schema", "what"),
    [
        ({"type": "object"}, ""),
        ({"type": "thing"}, "type: 'thing' is not valid"),
        ({"properties": {"x": {"pattern": "("}}}, "properties.x.pattern"),
        ({"properties": {"x": {"$ref": "https://example.org/x"}}}, "$ref is not supported"),
        ({"anyOf": [{"$dynamicRef": "#x"}]}, "$ref is not supported"),
    ],
)
def test_mistakes_of_a_schema(schema: dict[str, Any], what: str) -> None:
    mistake = ArgumentRules.mistake(schema)
    assert what in mistake
    assert bool(mistake) is bool(what)


# --- mask and deadline -----------------------------------------------------------------------------------------


async def test_a_fast_answer_is_not_masked(clock: VirtualClock, slow: Slow) -> None:
    assert await Chain(clock).run(slow.attempt(), after(clock, 699)) == "answer"
    assert slow.called_after == []
    assert clock.sleepers() == 0


async def test_a_slow_answer_is_masked_once_at_the_mask_point(clock: VirtualClock, slow: Slow) -> None:
    began = clock.now()
    assert await Chain(clock).run(slow.attempt(), after(clock, 2500)) == "answer"
    assert slow.called_after == [700]
    assert clock.now() - began == 2500 * MS
    assert clock.sleepers() == 0


async def test_the_deadline_ends_what_does_not_answer(clock: VirtualClock, slow: Slow) -> None:
    began, chain = clock.now(), Chain(clock)
    with pytest.raises(DeadlinePassed):
        await chain.run(slow.attempt(), after(clock, 60_000))
    assert clock.now() - began == 8000 * MS
    await chain.close()
    assert chain.strays == 0


async def test_errors_pass_through(clock: VirtualClock, slow: Slow) -> None:
    with pytest.raises(RemoteError, match="no luck"):
        await Chain(clock).run(slow.attempt(), after(clock, 10, RemoteError("no luck")))
    assert clock.sleepers() == 0


async def test_a_failing_mask_does_not_lose_the_answer(
    clock: VirtualClock, slow: Slow, caplog: pytest.LogCaptureFixture
) -> None:
    deadline = Budget(mask=ms(1), hard=ms(100)).begin(clock.now())

    def broken() -> None:
        raise ValueError("no voice")

    attempt = Attempt({"n": 1}, RULES, deadline, broken)
    assert await Chain(clock).run(attempt, after(clock, 50)) == "answer"
    assert "bridging a slow answer failed" in caplog.text


async def test_cancelling_cancels_the_operation(clock: VirtualClock, slow: Slow) -> None:
    cancelled = asyncio.Event()
    clock.autojump = False

    async def operation(_: Attempt) -> None:
        try:
            await clock.sleep_until(Nanos(clock.now() + ms(60_000)))
        except asyncio.CancelledError:
            cancelled.set()
            raise

    chain = Chain(clock)
    task = asyncio.ensure_future(chain.run(slow.attempt(), operation))
    await clock.advance(ms(100))
    task.cancel()
    await asyncio.wait({task})
    assert task.cancelled()
    await chain.close()
    assert cancelled.is_set()
    assert clock.sleepers() == 0


async def test_an_operation_that_does_not_stop_holds_nobody_up(clock: VirtualClock, slow: Slow) -> None:
    release = asyncio.Event()

    async def stubborn(_: Attempt) -> None:
        while not release.is_set():
            try:
                await release.wait()
            except asyncio.CancelledError:
                continue
        raise RemoteError("at last")

    chain = Chain(clock)
    for n in range(MAX_STRAYS):
        with pytest.raises(DeadlinePassed):
            await chain.run(slow.attempt(), stubborn)
        assert chain.strays == n + 1
    with pytest.raises(Overloaded, match="have not stopped"):
        await chain.run(slow.attempt(), stubborn)
    release.set()
    await chain.close()
    assert chain.strays == 0
    assert await chain.run(slow.attempt(), after(clock, 1)) == "answer"
