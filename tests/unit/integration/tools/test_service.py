from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from trunkline.config import Config, load_config
from trunkline.integration.connectors import Answer, Connector, Context, Health, Operation
from trunkline.integration.connectors.sql.simulator import build
from trunkline.integration.tools import Registry, ToolRequest, Tools, ToolStatus, check_tools, open_tools
from trunkline.model import CallId, ConfigError, Nanos, ToolCallId, seconds
from trunkline.testing import VirtualClock

GOOD = """
version: 1
engines:
  realtime: {kind: realtime, url: "wss://engine.example/v1", model: m}
connectors:
  people:
    kind: sql
    settings:
      url: "sqlite:///simulator.db"
      mapping: people.yaml
      statements:
        find: {sql: "SELECT id, name FROM person WHERE id = :id", mapping: person, single: true}
tools:
  find_person:
    connector: people
    operation: find
    description: Finds a person.
    parameters: {type: object, required: [id], properties: {id: {type: integer}}}
    spoken: "{id} is {name}[ since {since:date}]."
    not_found: "There is no {id}."
  hidden:
    connector: people
    operation: find
    description: Not for this agent.
    parameters: {type: object, required: [id], properties: {id: {type: integer}}}
agents:
  desk: {engine: realtime, tools: [find_person]}
"""
MAPPING = """
version: 1
records:
  person:
    fields:
      name: {from: name, required: true}
      since: {constant: ""}
"""


@pytest.fixture
def house(tmp_path: Path) -> Path:
    build(tmp_path)
    (tmp_path / "people.yaml").write_text(MAPPING)
    (tmp_path / "trunkline.yaml").write_text(GOOD)
    return tmp_path / "trunkline.yaml"


def loaded(house: Path, *changes: tuple[str, str]) -> Config:
    text = GOOD
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    house.write_text(text)
    return load_config(house, checks=[check_tools])


async def test_from_configuration_to_an_answer(house: Path) -> None:
    config = loaded(house)
    steps: list[str] = []
    async with open_tools(
        config, clock=VirtualClock(autojump=False), record=lambda _call, _at, kind, _data: steps.append(kind)
    ) as tools:
        (tool,) = tools.for_agent("desk")
        assert (tool.name, tool.description) == ("find_person", "Finds a person.")
        assert tool.parameters["required"] == ["id"]
        assert tools.for_agent("nobody") == ()
        found = await tools.invoke(
            ToolRequest(CallId("c"), ToolCallId("t"), "desk", "find_person", {"id": 2}),
            on_slow=lambda _: None,
        )
        assert found.status is ToolStatus.OK
        assert found.spoken == "2 is Person 2."
        absent = await tools.invoke(
            ToolRequest(CallId("c"), ToolCallId("t"), "desk", "find_person", {"id": 99}),
            on_slow=lambda _: None,
        )
        assert absent.status is ToolStatus.NOT_FOUND
        assert absent.spoken == "There is no 99."
        denied = await tools.invoke(
            ToolRequest(CallId("c"), ToolCallId("t"), "desk", "hidden", {"id": 2}), on_slow=lambda _: None
        )
        assert denied.status is ToolStatus.DENIED
        assert {name: health.ok for name, health in (await tools.probe()).items()} == {"people": True}
    assert "tool_finished" in steps


async def test_a_number_no_database_holds_is_refused_before_it_is_asked(house: Path) -> None:
    async with open_tools(loaded(house), clock=VirtualClock(autojump=False), record=lambda *_: None) as tools:
        outcome = await tools.invoke(
            ToolRequest(CallId("c"), ToolCallId("t"), "desk", "find_person", {"id": 2**70}),
            on_slow=lambda _: None,
        )
    assert outcome.status is ToolStatus.INVALID_ARGUMENTS


@pytest.mark.parametrize(
    ("old", "new", "line", "what"),
    [
        ("kind: sql", "kind: sqll", 7, "no connector of kind 'sqll' (installed: sql"),
        (
            "operation: find\n    description: Finds",
            "operation: look\n    description: Finds",
            16,
            "it has: find",
        ),
        ("sqlite:///simulator.db", "mysql://host/db", 9, "write sqlite:///FILE"),
        ("mapping: people.yaml", "mapping: absent.yaml", 10, "absent.yaml cannot be read"),
        ("mapping: person", "mapping: animal", 12, "no record 'animal'"),
        ("SELECT id, name FROM person", "DELETE FROM person", 12, "only reading is allowed"),
        ("SELECT id, name FROM person", "SELECT id, name FROM people", 12, "no such table"),
        (
            "SELECT id, name FROM",
            "SELECT id FROM",
            12,
            "person reads name, which the statement does not give",
        ),
        ("statements:", "statementz:", 11, "unknown setting"),
        ("{name}[", "{nam}[", 19, "there is no field {nam}"),
        ("{name}[", "{name:dollars}[", 19, "is a text, which 'dollars' cannot speak"),
        ("{name}[", "{name[", 19, "write a field as"),
        ("There is no {id}", "There is no {name}", 20, "there is no field {name}"),
        ("WHERE id = :id", "WHERE id = :identity", 18, "the operation needs 'identity'"),
    ],
)
def test_mistakes_have_file_and_line(house: Path, old: str, new: str, line: int, what: str) -> None:
    with pytest.raises(ConfigError) as bad:
        loaded(house, (old, new))
    assert what in str(bad.value)
    assert f"trunkline.yaml:{line}: " in str(bad.value)


@pytest.mark.parametrize(
    ("new", "what"),
    [
        ("{type: object, properties: {id: {type: integer}}}", "'id' must be in required"),
        ("{type: object, required: [id], properties: {id: {type: int}}}", "'int' is not valid"),
        ("{type: object, required: [id], properties: {id: {$ref: '#/x'}}}", "$ref is not supported"),
    ],
)
def test_mistakes_of_parameters(house: Path, new: str, what: str) -> None:
    with pytest.raises(ConfigError) as bad:
        loaded(house, ("{type: object, required: [id], properties: {id: {type: integer}}}", new))
    assert what in str(bad.value)


def test_all_mistakes_at_once(house: Path) -> None:
    with pytest.raises(ConfigError) as bad:
        loaded(house, ("{name}[", "{nam}["), ("There is no {id}", "There is no {ident}"))
    assert str(bad.value).count("trunkline.yaml:") == 2


class Silent(Connector):
    """A connector that never answers."""

    def operations(self) -> Mapping[str, Operation]:
        return {}

    async def call(self, operation: str, arguments: Mapping[str, Any], ctx: Context) -> Answer:
        raise AssertionError("nobody asks")

    async def probe(self, ctx: Context) -> Health:
        await ctx.clock.sleep_until(Nanos(ctx.deadline * 2))
        return Health(True)

    async def close(self) -> None:
        pass


async def test_a_probe_that_is_not_answered() -> None:
    clock = VirtualClock()
    tools = Tools(Registry({}, {}), {"a": Silent(), "b": Silent()}, clock=clock, record=lambda *_: None)
    began = clock.now()
    health = await tools.probe()
    assert clock.now() - began == seconds(2)
    assert health == dict.fromkeys("ab", Health(False, "no answer within 2000 ms"))
    await tools.close()
    assert clock.sleepers() == 0


@pytest.fixture
def mistaken(house: Path) -> Config:
    house.write_text(GOOD.replace("operation: find", "operation: look"))
    return load_config(house)


async def test_opening_with_mistakes_opens_nothing(mistaken: Config) -> None:
    with pytest.raises(ConfigError, match="has no operation"):
        async with open_tools(mistaken, clock=VirtualClock(autojump=False), record=lambda *_: None):
            pass


@pytest.fixture
def empty_house(house: Path) -> Path:
    (house.parent / "simulator.db").unlink()
    return house


async def test_a_database_that_is_not_there_yet(empty_house: Path, caplog: pytest.LogCaptureFixture) -> None:
    config = loaded(empty_house)
    assert "statements were not verified" in caplog.text
    async with open_tools(config, clock=VirtualClock(autojump=False), record=lambda *_: None) as tools:
        request = ToolRequest(CallId("c"), ToolCallId("t"), "desk", "find_person", {"id": 2})
        outcome = await tools.invoke(request, on_slow=lambda _: None)
        assert outcome.status is ToolStatus.UNAVAILABLE
        assert not (await tools.probe())["people"].ok
        build(empty_house.parent)
        outcome = await tools.invoke(request, on_slow=lambda _: None)
        assert outcome.status is ToolStatus.OK
