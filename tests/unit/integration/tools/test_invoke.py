import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest

from trunkline.config.source import parse
from trunkline.integration.connectors import Answer, Connector, Context, Health, Operation, OperationKind
from trunkline.integration.mapping import compile_mapping
from trunkline.integration.policy import ArgumentRules, Budget
from trunkline.integration.tools import Registry, Tool, ToolOutcome, ToolRequest, ToolStatus
from trunkline.integration.tools.invoke import Invoker
from trunkline.integration.tools.spoken import parse_sentence
from trunkline.model import (
    MS,
    CallId,
    LocalProtocolError,
    Nanos,
    NeedsReauth,
    Overloaded,
    RemoteError,
    ToolCallId,
    ms,
    to_ms,
)
from trunkline.testing import VirtualClock, settle
from trunkline.trust.ledger import KINDS, Kind

ORDER: dict[str, Any] = {"NO": "48213", "WHO": "GARCIA, MARIA", "AMT": 12990}
MAPPING = compile_mapping(
    parse(
        b"""
version: 1
records:
  order:
    fields:
      number: {from: "NO", required: true, on_error: reject}
      customer: {from: WHO, name: full, case: name}
      total: {from: AMT, number: {implied_decimals: 2}}
""",
        "orders.yaml",  # type: ignore[arg-type]
    )
).record("order")


class FakeSystem(Connector):
    """Answers what it is told to, after as long as it is told to."""

    def __init__(self, clock: VirtualClock) -> None:
        self.clock = clock
        self.takes_ms = 0.0
        self.says: Answer | Exception = Answer((ORDER,))
        self.asked: list[tuple[str, Mapping[str, Any]]] = []
        self.deadlines: list[Nanos] = []
        self.cancelled = 0

    def operations(self) -> Mapping[str, Operation]:
        return {}

    async def call(self, operation: str, arguments: Mapping[str, Any], ctx: Context) -> Answer:
        self.asked.append((operation, arguments))
        self.deadlines.append(ctx.deadline)
        try:
            await self.clock.sleep_until(Nanos(self.clock.now() + ms(self.takes_ms)))
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if isinstance(self.says, Exception):
            raise self.says
        return self.says

    async def probe(self, ctx: Context) -> Health:
        return Health(True)

    async def close(self) -> None:
        pass


def tool(name: str = "order_status", *, single: bool = True, mapped: bool = True) -> Tool:
    parameters = {
        "type": "object",
        "required": ["order_number"],
        "properties": {"order_number": {"type": "string", "pattern": "^[0-9]{4,8}$"}},
    }
    return Tool(
        name=name,
        description="Looks up an order.",
        parameters=parameters,
        connector="erp",
        operation=Operation(
            "find_order", OperationKind.READ, parameters, single=single, mapping=MAPPING if mapped else None
        ),
        rules=ArgumentRules(parameters),
        budget=Budget(mask=ms(700), hard=ms(8000)),
        mask="Let me look.",
        spoken=parse_sentence("Order {order_number:digits} for {customer}: {total:dollars}."),
        not_found=parse_sentence("No order {order_number:digits}."),
        unavailable="I can't reach the order system.",
    )


class Stage:
    """An invoker with its fakes, and what it recorded."""

    def __init__(self, clock: VirtualClock, *tools: Tool) -> None:
        self.clock = clock
        self.system = FakeSystem(clock)
        self.steps: list[tuple[Kind, dict[str, Any]]] = []
        self.slow: list[tuple[str, float]] = []
        self.began = clock.now()
        named = {one.name: one for one in tools}
        self.invoker = Invoker(
            Registry({**named, "secret": tool("secret")}, {"orders": tuple(named)}),
            {"erp": self.system},
            clock=clock,
            record=self._record,
            entropy=bytes,
        )

    def _record(self, call: CallId, at: Nanos, kind: Kind, data: Mapping[str, Any], /) -> None:
        assert call == "call-1"
        assert at == self.clock.now()
        assert data.keys() <= KINDS[kind].fields.keys(), kind
        self.steps.append((kind, dict(data)))

    async def invoke(
        self, name: str = "order_status", arguments: Mapping[str, Any] | None = None, malformed: str = ""
    ) -> ToolOutcome:
        given = {"order_number": "48213"} if arguments is None else arguments
        request = ToolRequest(CallId("call-1"), ToolCallId("t-1"), "orders", name, given, malformed)
        return await self.invoker.invoke(request, on_slow=self._slow)

    def _slow(self, late: Tool) -> None:
        self.slow.append((late.mask, to_ms(self.clock.now() - self.began)))

    def kinds(self) -> list[Kind]:
        return [kind for kind, _ in self.steps]

    def step(self, kind: Kind) -> dict[str, Any]:
        (found,) = [data for one, data in self.steps if one is kind]
        return found


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    made = Stage(VirtualClock(), tool())
    yield made
    await made.invoker.close()


async def test_a_fast_answer(stage: Stage) -> None:
    stage.system.takes_ms = 120
    outcome = await stage.invoke()
    assert outcome.status is ToolStatus.OK
    assert not outcome.failed
    assert outcome.output == {"number": "48213", "customer": "Maria Garcia", "total": "129.90"}
    assert outcome.spoken == "Order 4 8 2 1 3 for Maria Garcia: 129 dollars and 90 cents."
    assert outcome.took == 120 * MS
    assert not outcome.masked
    assert stage.slow == []
    assert stage.system.asked == [("find_order", {"order_number": "48213"})]
    assert stage.system.deadlines == [stage.began + 8000 * MS]


async def test_every_step_is_on_the_timeline(stage: Stage) -> None:
    stage.system.takes_ms = 2500
    outcome = await stage.invoke()
    assert stage.kinds() == [
        Kind.TOOL_REQUESTED,
        Kind.TOOL_STARTED,
        Kind.TOOL_SLOW,
        Kind.TOOL_ANSWERED,
        Kind.TOOL_MAPPED,
        Kind.TOOL_FINISHED,
    ]
    assert all(data["id"] == "t-1" and data["tool"] == "order_status" for _, data in stage.steps)
    assert stage.step(Kind.TOOL_REQUESTED)["arguments"] == {"order_number": "48213"}
    assert stage.step(Kind.TOOL_STARTED) == {
        "id": "t-1",
        "tool": "order_status",
        "connector": "erp",
        "operation": "find_order",
        "mask_ms": 700,
        "hard_ms": 8000,
        "trace": "trace-0000000000000000",
    }
    assert stage.step(Kind.TOOL_ANSWERED)["took_ms"] == 2500
    assert stage.step(Kind.TOOL_MAPPED)["mapping"] == f"order@{MAPPING.version[:12]}"
    assert stage.step(Kind.TOOL_MAPPED)["lineage"]["total"] == "from AMT, decimal with 2 implied decimals"
    finished = stage.step(Kind.TOOL_FINISHED)
    assert (finished["status"], finished["took_ms"], finished["masked"]) == ("ok", 2500, True)
    assert finished["output"] == outcome.output


async def test_a_slow_answer_is_masked_at_the_mask_point(stage: Stage) -> None:
    stage.system.takes_ms = 2500
    outcome = await stage.invoke()
    assert outcome.masked
    assert outcome.status is ToolStatus.OK
    assert stage.slow == [("Let me look.", 700)]


async def test_the_deadline(stage: Stage) -> None:
    stage.system.takes_ms = 60_000
    outcome = await stage.invoke()
    assert outcome.status is ToolStatus.UNAVAILABLE
    assert outcome.failed
    assert outcome.spoken == "I can't reach the order system."
    assert outcome.detail == "no answer within 8000 ms"
    assert outcome.took == 8000 * MS
    assert stage.kinds()[-1] is Kind.TOOL_FINISHED
    await stage.invoker.close()
    assert stage.system.cancelled == 1


async def test_no_such_record(stage: Stage) -> None:
    stage.system.says = Answer(())
    outcome = await stage.invoke()
    assert outcome.status is ToolStatus.NOT_FOUND
    assert not outcome.failed
    assert outcome.spoken == "No order 4 8 2 1 3."
    assert outcome.output["found"] is False


@pytest.mark.parametrize("name", ["nix", "secret", "", "x" * 5000, "order_status\x00", "../order_status"])
async def test_a_tool_that_is_not_the_agents(stage: Stage, name: str) -> None:
    outcome = await stage.invoke(name)
    assert outcome.status is ToolStatus.DENIED
    assert outcome.failed
    assert stage.system.asked == []
    assert stage.kinds() == [Kind.TOOL_REQUESTED, Kind.TOOL_REFUSED, Kind.TOOL_FINISHED]
    assert all(len(data["tool"]) <= 200 for _, data in stage.steps)


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"order_number": 48213},
        {"order_number": "48213'; DROP TABLE ORDHDR; --"},
        {"order_number": None},
        {"order_number": float("nan")},
    ],
)
async def test_arguments_that_do_not_fit(stage: Stage, arguments: dict[str, Any]) -> None:
    outcome = await stage.invoke(arguments=arguments)
    assert outcome.status is ToolStatus.INVALID_ARGUMENTS
    assert "order_number" in str(outcome.output["message"])
    assert stage.system.asked == []
    assert stage.step(Kind.TOOL_REFUSED)["status"] == "invalid_arguments"


async def test_arguments_that_are_no_object(stage: Stage) -> None:
    outcome = await stage.invoke(malformed='{"order_number": ' + "x" * 5000)
    assert outcome.status is ToolStatus.INVALID_ARGUMENTS
    assert stage.system.asked == []
    assert len(stage.step(Kind.TOOL_REQUESTED)["malformed"]) == 200


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (RemoteError("the database said no"), ToolStatus.UNAVAILABLE),
        (NeedsReauth("expired"), ToolStatus.UNAVAILABLE),
        (Overloaded("too many questions"), ToolStatus.UNAVAILABLE),
        (LocalProtocolError("no such operation"), ToolStatus.FAILED),
        (ZeroDivisionError("oops"), ToolStatus.FAILED),
    ],
)
async def test_a_system_that_fails(
    stage: Stage, error: Exception, status: ToolStatus, caplog: pytest.LogCaptureFixture
) -> None:
    stage.system.says = error
    outcome = await stage.invoke()
    assert outcome.status is status
    assert outcome.spoken == "I can't reach the order system."
    assert "order_status" in caplog.text
    assert "48213" not in caplog.text
    assert stage.step(Kind.TOOL_FINISHED)["status"] == status


async def test_a_record_that_the_mapping_rejects(stage: Stage) -> None:
    stage.system.says = Answer(({"NO": None, "WHO": "X", "AMT": 1},))
    outcome = await stage.invoke()
    assert outcome.status is ToolStatus.UNAVAILABLE
    assert "order.number" in outcome.detail


async def test_a_value_that_does_not_fit_is_told(stage: Stage) -> None:
    stage.system.says = Answer(({**ORDER, "AMT": "n/a"},))
    outcome = await stage.invoke()
    assert outcome.status is ToolStatus.OK
    assert outcome.output["total"] is None
    assert outcome.spoken == "", "the sentence needs the total, so there is none"
    assert stage.step(Kind.TOOL_MAPPED)["issues"] == [
        "order.total (from AMT, decimal with 2 implied decimals): is no number as described: empty"
    ]


async def test_many_records() -> None:
    stage = Stage(VirtualClock(), tool(single=False, mapped=False))
    stage.system.says = Answer(({"a": 1, "b": b"x"}, {"a": 2.5, "b": float("inf")}), truncated=True)
    outcome = await stage.invoke()
    assert outcome.output == {
        "records": [{"a": 1, "b": None}, {"a": 2.5, "b": None}],
        "count": 2,
        "truncated": True,
    }
    assert stage.step(Kind.TOOL_MAPPED)["mapping"] == "none"


async def test_cancelling_a_request_stops_the_system_and_is_recorded(stage: Stage) -> None:
    stage.clock.autojump = False
    stage.system.takes_ms = 60_000
    asked = asyncio.ensure_future(stage.invoke())
    await settle()
    asked.cancel()
    await asyncio.wait({asked})
    assert asked.cancelled()
    await stage.invoker.close()
    assert stage.system.cancelled == 1
    assert stage.kinds() == [Kind.TOOL_REQUESTED, Kind.TOOL_STARTED, Kind.TOOL_CANCELLED]
    assert stage.clock.sleepers() == 0


async def test_requests_do_not_wait_for_one_another(stage: Stage) -> None:
    stage.system.takes_ms = 1000
    outcomes = await asyncio.gather(*(stage.invoke() for _ in range(20)))
    assert {outcome.took for outcome in outcomes} == {Nanos(1000 * MS)}


def test_private_values_stay_out_of_reprs() -> None:
    request = ToolRequest(CallId("c"), ToolCallId("t"), "orders", "x", {"n": "48213"}, "48213")
    outcome = ToolOutcome(ToolStatus.OK, {"n": "48213"}, "48213", "48213")
    assert "48213" not in f"{request!r}{outcome!r}"
