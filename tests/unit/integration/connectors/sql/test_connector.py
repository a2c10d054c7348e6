import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from threading import Event
from typing import Any

import pytest
import yaml

from trunkline.config.source import parse
from trunkline.integration.connectors import Context, OperationKind
from trunkline.integration.connectors.sql.client import Rows, Session, Shape
from trunkline.integration.connectors.sql.connector import SqlConnector, create
from trunkline.integration.connectors.sql.pool import Pool, Stop
from trunkline.integration.connectors.sql.simulator import PEOPLE, SETTINGS, build
from trunkline.model import ConfigError, Nanos, Overloaded, RemoteError, TraceId, seconds
from trunkline.testing import VirtualClock, wait_until


def made(directory: Path, **changes: Any) -> SqlConnector:
    return create(parse(yaml.safe_dump(SETTINGS | changes).encode(), directory / "settings.yaml"))


@pytest.fixture
async def connector(tmp_path: Path) -> AsyncIterator[SqlConnector]:
    build(tmp_path)
    opened = made(tmp_path)
    yield opened
    await opened.close()


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock(autojump=False)


@pytest.fixture
def ctx(clock: VirtualClock) -> Context:
    return Context(Nanos(clock.now() + seconds(5)), TraceId("trace-1"), clock)


def test_operations_are_what_the_database_says(connector: SqlConnector) -> None:
    operations = connector.operations()
    assert set(operations) == set(SETTINGS["statements"])
    assert all(operation.kind is OperationKind.READ for operation in operations.values())
    assert operations["find_person"].single
    search = operations["search"].parameters
    assert search["required"] == ["pattern"]
    assert search["properties"]["pattern"] == {"type": "string", "minLength": 1}
    assert set(search["properties"]) == {"pattern", "least"}
    assert operations["list_people"].parameters == {"type": "object", "properties": {}, "required": []}


async def test_rows(connector: SqlConnector, ctx: Context) -> None:
    listed = await connector.call("list_people", {}, ctx)
    assert (listed.records, listed.truncated) == (PEOPLE[:3], True)
    found = await connector.call("search", {"pattern": "%4", "surplus": "ignored"}, ctx)
    assert found.records == (PEOPLE[3],)
    assert (await connector.call("search", {"pattern": "%", "least": 5}, ctx)).records == (PEOPLE[4],)
    assert (await connector.call("find_person", {"id": 99}, ctx)).records == ()
    assert "Person" not in repr(found)


@pytest.mark.parametrize(
    ("statement", "what"),
    [
        (
            {"sql": "SELECT 1 AS x", "parameters": {"id": {}}},
            "statements.s.parameters.id: the statement has no such",
        ),
        ({"sql": "SELECT 1 AS x", "optional": ["id"]}, "the statement has no such parameter"),
        ({"sql": "SELECT 1 AS x", "mapping": "order"}, "there is no mapping file"),
        ({"sql": "SELECT 1 AS x", "max_rows": 0}, "greater than or equal to 1"),
        ({}, "sql: is required"),
    ],
)
def test_mistakes(tmp_path: Path, statement: dict[str, Any], what: str) -> None:
    build(tmp_path)
    with pytest.raises(ConfigError) as bad:
        made(tmp_path, statements={"s": statement})
    assert what in str(bad.value)
    assert "settings.yaml:" in str(bad.value)


def test_without_the_database_parameters_are_found_in_the_text(tmp_path: Path) -> None:
    sql = "SELECT ':no', \"x:no\", a::b, [c:no] -- :no\n /* :no */ WHERE a = :yes AND b=:too AND c = :yes"
    connector = made(tmp_path, statements={"s": {"sql": sql}})
    assert connector.operations()["s"].parameters["required"] == ["yes", "too"]


async def test_an_absolute_path(tmp_path: Path, ctx: Context) -> None:
    path = build(tmp_path)
    connector = made(tmp_path / "elsewhere", url=f"sqlite:///{path}")
    assert (await connector.call("find_person", {"id": 1}, ctx)).records == (PEOPLE[0],)
    await connector.close()


# --- the pool -------------------------------------------------------------------------------------------


class FakeSession:
    """Runs until it is told to go on or interrupted."""

    def __init__(self, wake: Callable[[], object]) -> None:
        self.go = Event()
        self.wake = wake
        self.runs = 0
        self.interrupted = 0
        self.closed = False
        self.replaced = False

    def verify(self, sql: str) -> Shape:
        return Shape((), ())

    def run(self, sql: str, parameters: Mapping[str, Any], *, limit: int, stop: Callable[[], bool]) -> Rows:
        self.runs += 1
        self.wake()
        self.go.wait(10)
        self.go.clear()
        if stop():
            raise RemoteError("the statement was stopped")
        return Rows(())

    def stale(self) -> bool:
        return self.replaced

    def interrupt(self) -> None:
        self.interrupted += 1
        self.go.set()

    def close(self) -> None:
        self.closed = True


class FakeDriver:
    def __init__(self) -> None:
        self.sessions: list[FakeSession] = []
        self.away = False
        self.loop = asyncio.get_running_loop()

    def open(self) -> FakeSession:
        if self.away:
            raise RemoteError("away")
        session = FakeSession(lambda: self.loop.call_soon_threadsafe(lambda: None))
        self.sessions.append(session)
        return session


class Stage:
    def __init__(self, clock: VirtualClock, *, size: int, waiting: int) -> None:
        self.clock, self.driver = clock, FakeDriver()
        self.pool = Pool(self.driver, size=size, waiting=waiting)

    def ask(self) -> "asyncio.Task[Rows]":
        def job(session: Session, stop: Stop) -> Rows:
            return session.run("", {}, limit=1, stop=stop)

        stop = Stop(Nanos(self.clock.now() + seconds(5)), self.clock)
        return asyncio.ensure_future(self.pool.run(job, stop))

    async def runs(self, *each: int) -> None:
        """Wait until so many statements have begun in each session."""
        await wait_until(lambda: sorted(session.runs for session in self.driver.sessions) == list(each))


async def test_sessions_are_bounded_and_used_again(clock: VirtualClock) -> None:
    stage = Stage(clock, size=2, waiting=1)
    asked = [stage.ask() for _ in range(3)]
    await stage.runs(1, 1)
    refused = stage.ask()
    await asyncio.wait({refused})
    with pytest.raises(Overloaded, match="wait for the database already"):
        refused.result()
    stage.driver.sessions[0].go.set()
    await stage.runs(1, 2)
    for session in stage.driver.sessions:
        session.go.set()
    assert await asyncio.gather(*asked) == [Rows(())] * 3
    await stage.pool.close()
    assert all(session.closed for session in stage.driver.sessions)


async def test_a_cancelled_question_gives_its_place_back(clock: VirtualClock) -> None:
    stage = Stage(clock, size=1, waiting=1)
    first = stage.ask()
    await stage.runs(1)
    first.cancel()
    await asyncio.wait({first})
    assert first.cancelled()
    assert stage.driver.sessions[0].interrupted == 1
    second = stage.ask()
    await stage.runs(1, 1)
    assert stage.driver.sessions[0].closed, "a session whose statement was stopped is not trusted again"
    stage.driver.sessions[1].go.set()
    assert await second == Rows(())
    await stage.pool.close()


async def test_a_question_cancelled_while_it_waits_is_never_asked(clock: VirtualClock) -> None:
    stage = Stage(clock, size=1, waiting=1)
    first, second = stage.ask(), stage.ask()
    await stage.runs(1)
    second.cancel()
    await asyncio.wait({second})
    third = stage.ask()
    stage.driver.sessions[0].go.set()
    await first
    await stage.runs(2)
    stage.driver.sessions[0].go.set()
    await third
    await stage.pool.close()


async def test_a_session_that_was_given_back_is_not_interrupted(clock: VirtualClock) -> None:
    stop = Stop(Nanos(clock.now() + seconds(5)), clock)
    session = FakeSession(lambda: None)
    stop.uses(session)
    stop.uses(None)
    stop.ask()
    assert session.interrupted == 0
    assert stop()


async def test_a_session_to_a_database_that_was_replaced_is_not_used_again(clock: VirtualClock) -> None:
    stage = Stage(clock, size=1, waiting=0)
    for n in (1, 2):
        asked = stage.ask()
        await stage.runs(*[1] * n)
        stage.driver.sessions[-1].go.set()
        await asked
        stage.driver.sessions[-1].replaced = True
    assert stage.driver.sessions[0].closed
    await stage.pool.close()


async def test_a_database_that_comes_back(clock: VirtualClock) -> None:
    stage = Stage(clock, size=1, waiting=0)
    stage.driver.away = True
    with pytest.raises(RemoteError, match="away"):
        await stage.ask()
    stage.driver.away = False
    asked = stage.ask()
    await stage.runs(1)
    stage.driver.sessions[0].go.set()
    assert await asked == Rows(())
    await stage.pool.close()
    with pytest.raises(RemoteError, match="closed"):
        await stage.ask()
