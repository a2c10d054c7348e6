"""The connector kit: what every connector must do when its system is slow, broken, away or asked nonsense.

A connector's tests build a ``Rig`` around its simulator and run every check::

    @pytest.mark.parametrize("check", CONNECTOR_CHECKS, ids=lambda check: check.__name__)
    async def test_conformance(check, rig):
        await check(rig)

Checks raise ``AssertionError``. They need no framework and no real time: the clock is a ``VirtualClock`` that only
moves when a check moves it.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from jsonschema import Draft202012Validator

from trunkline.integration.connectors import Connector, Context, OperationKind
from trunkline.model import LocalProtocolError, Nanos, RemoteError, TraceId, seconds
from trunkline.testing.clock import VirtualClock
from trunkline.testing.loop import GUARD_SECONDS, wait_until

CANARY: Final = "canary-7f3a9c"
"""A value that must never be seen in an error or a log line."""


BUDGET: Final = seconds(5)


@dataclass(frozen=True, slots=True)
class Question:
    """An operation and its arguments."""

    operation: str
    arguments: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Rig:
    """A connector's simulator, as the kit sees it."""

    create: Callable[[], Connector]
    """A new connector to a working system."""
    create_down: Callable[[], Connector]
    """A new connector to a system that is away."""
    busy: Callable[[Connector], bool]
    """Whether the system works on a question."""
    known: Question
    answer: tuple[Mapping[str, Any], ...]
    """What ``known`` finds."""
    endless: Question
    """Never answered by itself; its arguments contain ``CANARY``."""
    broken: tuple[Question, ...]
    """Answered with something the connector must not pass on; arguments contain ``CANARY``."""
    bad_arguments: tuple[Question, ...] = ()
    """Questions whose arguments the connector must refuse without asking."""
    clock: VirtualClock = field(default_factory=lambda: VirtualClock(autojump=False))

    def context(self, budget: Nanos = BUDGET) -> Context:
        """A context with ``budget`` from now."""
        return Context(Nanos(self.clock.now() + budget), TraceId("trace-kit"), self.clock)


async def describes_its_operations(rig: Rig) -> None:
    """Every operation has a name, a kind and a JSON Schema of an object."""
    async with _open(rig.create) as connector:
        operations = connector.operations()
        assert operations, "a connector without operations is of no use"
        for name, operation in operations.items():
            assert operation.name == name
            assert isinstance(operation.kind, OperationKind)
            Draft202012Validator.check_schema(dict(operation.parameters))
            assert operation.parameters.get("type") == "object", f"{name}: parameters must be an object"


async def answers_what_is_there(rig: Rig) -> None:
    """The known question finds the known records, twice."""
    async with _open(rig.create) as connector:
        for _ in range(2):
            found = await connector.call(rig.known.operation, rig.known.arguments, rig.context())
            assert found.records == rig.answer


async def refuses_an_unknown_operation(rig: Rig) -> None:
    """Asking for what it does not have is our own mistake."""
    async with _open(rig.create) as connector:
        await _raises(LocalProtocolError, connector.call("no_such_operation", {}, rig.context()))


async def refuses_bad_arguments(rig: Rig) -> None:
    """Arguments it cannot use are refused, not passed on."""
    async with _open(rig.create) as connector:
        for question in rig.bad_arguments:
            await _raises(
                LocalProtocolError, connector.call(question.operation, question.arguments, rig.context())
            )


async def stops_at_its_deadline(rig: Rig) -> None:
    """A question that is not answered ends by itself once the deadline has passed."""
    async with _open(rig.create) as connector:
        ctx = rig.context(seconds(2))
        asked = asyncio.ensure_future(connector.call(rig.endless.operation, rig.endless.arguments, ctx))
        await wait_until(lambda: rig.busy(connector), "the system works on the question")
        assert not asked.done()
        rig.clock.tick(seconds(3))
        await _raises(RemoteError, asked)
        await _still_answers(rig, connector)


async def stops_when_cancelled(rig: Rig) -> None:
    """Cancelling returns at once, stops the system's work and gives its place back."""
    async with _open(rig.create) as connector:
        for _ in range(3):
            asked = asyncio.ensure_future(
                connector.call(rig.endless.operation, rig.endless.arguments, rig.context())
            )
            await wait_until(lambda: rig.busy(connector), "the system works on the question")
            asked.cancel()
            await asyncio.wait({asked})
            assert asked.cancelled(), "a cancelled question must raise CancelledError"
            await wait_until(lambda: not rig.busy(connector), "the system stopped")
        await _still_answers(rig, connector)


async def survives_broken_answers(rig: Rig) -> None:
    """What the system sends wrongly is its error, and the next question is answered."""
    async with _open(rig.create) as connector:
        for question in rig.broken:
            await _raises(RemoteError, connector.call(question.operation, question.arguments, rig.context()))
            await _still_answers(rig, connector)


async def says_when_the_system_is_away(rig: Rig) -> None:
    """Away is a ``RemoteError`` when asked, and a health that says so when probed."""
    async with _open(rig.create_down) as connector:
        await _raises(RemoteError, connector.call(rig.known.operation, rig.known.arguments, rig.context()))
        health = await connector.probe(rig.context())
        assert not health.ok
        assert health.detail, "say what is wrong"


async def probes_a_working_system(rig: Rig) -> None:
    """A working system is healthy."""
    async with _open(rig.create) as connector:
        assert (await connector.probe(rig.context())).ok


async def closes_while_it_works(rig: Rig) -> None:
    """Closing ends what is asked, and everything asked afterwards."""
    async with _open(rig.create) as connector:
        asked = asyncio.ensure_future(
            connector.call(rig.endless.operation, rig.endless.arguments, rig.context())
        )
        await wait_until(lambda: rig.busy(connector), "the system works on the question")
        await connector.close()
        await _raises(RemoteError, asked)
        await _raises(RemoteError, connector.call(rig.known.operation, rig.known.arguments, rig.context()))


async def keeps_values_out_of_logs(rig: Rig) -> None:
    """Neither errors nor log lines show what was asked for."""
    lines = _Lines()
    root = logging.getLogger("trunkline")
    level = root.level
    root.addHandler(lines)
    root.setLevel(logging.DEBUG)
    try:
        async with _open(rig.create) as connector:
            for question in rig.broken:
                error = await _raises(
                    RemoteError, connector.call(question.operation, question.arguments, rig.context())
                )
                assert CANARY not in f"{error} {error!r}"
        async with _open(rig.create_down) as connector:
            error = await _raises(
                RemoteError, connector.call(rig.endless.operation, rig.endless.arguments, rig.context())
            )
            assert CANARY not in f"{error} {error!r}"
    finally:
        root.removeHandler(lines)
        root.setLevel(level)
    assert not [line for line in lines.seen if CANARY in line]


Check = Callable[[Rig], Awaitable[None]]
CONNECTOR_CHECKS: Final[tuple[Check, ...]] = (
    describes_its_operations,
    answers_what_is_there,
    refuses_an_unknown_operation,
    refuses_bad_arguments,
    stops_at_its_deadline,
    stops_when_cancelled,
    survives_broken_answers,
    says_when_the_system_is_away,
    probes_a_working_system,
    closes_while_it_works,
    keeps_values_out_of_logs,
)


class _Lines(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.seen.append(record.getMessage())


class _open:  # noqa: N801 - used like a function
    def __init__(self, create: Callable[[], Connector]) -> None:
        self._create = create

    async def __aenter__(self) -> Connector:
        self._connector = self._create()
        return self._connector

    async def __aexit__(self, *_: object) -> None:
        await self._connector.close()


async def _still_answers(rig: Rig, connector: Connector) -> None:
    found = await connector.call(rig.known.operation, rig.known.arguments, rig.context())
    assert found.records == rig.answer


async def _raises(kind: type[Exception], asked: Awaitable[Any]) -> Exception:
    try:
        async with asyncio.timeout(GUARD_SECONDS):
            answer = await asked
    except kind as error:
        return error
    except TimeoutError:
        raise AssertionError(f"neither {kind.__name__} nor an answer within {GUARD_SECONDS:g} s") from None
    raise AssertionError(f"{kind.__name__} was expected, and {answer!r} came")
