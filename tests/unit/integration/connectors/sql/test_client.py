import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from trunkline.integration.connectors.sql.client import SqliteDriver, SqliteSession, StatementRefused
from trunkline.integration.connectors.sql.simulator import PEOPLE, build
from trunkline.model import RemoteError, RemoteProtocolError


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return build(tmp_path)


@pytest.fixture
def session(database: Path) -> Iterator[SqliteSession]:
    opened = SqliteDriver(database).open()
    yield opened
    opened.close()


def never() -> bool:
    return False


@pytest.mark.parametrize(
    ("sql", "parameters", "columns"),
    [
        ("SELECT id, name FROM person WHERE id = :id", ("id",), ("id", "name")),
        ("select 1 AS one;", (), ("one",)),
        ("SELECT :a AS a, :b AS b, :a AS c -- :no\n", ("a", "b"), ("a", "b", "c")),
        ("SELECT ':x' AS x /* :y */", (), ("x",)),
        ("WITH p AS (SELECT id FROM person) SELECT id FROM p", (), ("id",)),
        ("VALUES (1, 2)", (), ("column1", "column2")),
    ],
)
def test_verify_tells_what_a_statement_takes_and_gives(
    session: SqliteSession, sql: str, parameters: tuple[str, ...], columns: tuple[str, ...]
) -> None:
    shape = session.verify(sql)
    assert shape.parameters == parameters
    assert shape.columns == columns


@pytest.mark.parametrize(
    ("sql", "why"),
    [
        ("DELETE FROM person", "only reading"),
        ("INSERT INTO person VALUES (9, 'x') RETURNING id", "only reading"),
        ("WITH p AS (SELECT 1) UPDATE person SET name = 'x'", "only reading"),
        ("UPDATE sqlite_master SET sql = ''", "may not be modified"),
        ("DROP TABLE person", "only reading"),
        ("CREATE TEMP TABLE t AS SELECT 1", "only reading"),
        ("ATTACH 'other.db' AS o", "only reading"),
        ("PRAGMA journal_mode", "only reading"),
        ("BEGIN", "only reading"),
        ("VACUUM", "no such table"),
        ("SELECT load_extension('x')", "not authorized"),
        ("SELECT 1; SELECT 2", "only one statement"),
        ("SELECT 1) UNION SELECT (2", "syntax error"),
        ("SELECT nix FROM person", "no such column"),
        ("SELECT 1 AS a, 2 AS a", "same name"),
        ("SELECT id FROM person WHERE id = ?", "."),
        ("", "."),
    ],
)
def test_verify_refuses(session: SqliteSession, sql: str, why: str) -> None:
    with pytest.raises(StatementRefused, match=why):
        session.verify(sql)


@pytest.mark.parametrize(
    "sql",
    [
        "DELETE FROM person",
        "INSERT INTO person VALUES (9, 'x')",
        "CREATE TABLE t (x)",
        "ATTACH ':memory:' AS m",
        "PRAGMA query_only = OFF",
        "VACUUM",
    ],
)
def test_what_was_not_verified_cannot_write_either(session: SqliteSession, database: Path, sql: str) -> None:
    before = database.read_bytes()
    with pytest.raises(RemoteError):
        session.run(sql, {}, limit=1, stop=never)
    assert database.read_bytes() == before


def test_values_are_values(session: SqliteSession) -> None:
    rows = session.run(
        "SELECT name FROM person WHERE name = :name", {"name": "x' OR '1' = '1"}, limit=10, stop=never
    )
    assert rows.records == ()


def test_limit(session: SqliteSession) -> None:
    sql = "SELECT id, name FROM person ORDER BY id"
    some = session.run(sql, {}, limit=3, stop=never)
    assert (some.records, some.more) == (PEOPLE[:3], True)
    every = session.run(sql, {}, limit=5, stop=never)
    assert (every.records, every.more) == (PEOPLE, False)


def test_stop_is_asked_while_a_statement_runs(session: SqliteSession) -> None:
    asked = 0

    def stop() -> bool:
        nonlocal asked
        asked += 1
        return asked > 3

    with pytest.raises(RemoteError, match="was stopped"):
        session.run(
            "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n",
            {},
            limit=1,
            stop=stop,
        )
    assert asked == 4
    assert session.run("SELECT 1 AS one", {}, limit=1, stop=never).records == ({"one": 1},)


def test_interrupt_from_another_thread(session: SqliteSession) -> None:
    running = threading.Event()

    def stop() -> bool:
        running.set()
        return False

    def interrupt() -> None:
        running.wait(10)
        session.interrupt()

    other = threading.Thread(target=interrupt)
    other.start()
    with pytest.raises(RemoteError, match="was stopped"):
        session.run(
            "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n",
            {},
            limit=1,
            stop=stop,
        )
    other.join()


def test_a_locked_database_is_waited_for(session: SqliteSession, database: Path) -> None:
    writer = sqlite3.connect(database, isolation_level=None)
    try:
        writer.execute("BEGIN EXCLUSIVE")
        tries = 0

        def unlock_on_the_second_try() -> bool:
            nonlocal tries
            tries += 1
            if tries == 2:
                writer.execute("ROLLBACK")
            return False

        rows = session.run("SELECT count(*) AS n FROM person", {}, limit=1, stop=unlock_on_the_second_try)
        assert rows.records == ({"n": 5},)
        assert tries == 2

        writer.execute("BEGIN EXCLUSIVE")
        with pytest.raises(RemoteError, match="locked"):
            session.run("SELECT count(*) AS n FROM person", {}, limit=1, stop=lambda: True)
    finally:
        writer.close()


def test_broken_contents(session: SqliteSession) -> None:
    with pytest.raises(RemoteProtocolError, match="not UTF-8"):
        session.run("SELECT name FROM broken", {}, limit=1, stop=never)
    with pytest.raises(RemoteProtocolError, match="larger than"):
        session.run("SELECT zeroblob(2000000) AS z", {}, limit=1, stop=never)


def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    (tmp_path / "x.db").write_bytes(b"something else entirely" * 100)
    with pytest.raises(RemoteProtocolError, match="damaged"):
        SqliteDriver(tmp_path / "x.db").open()


def test_a_file_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(RemoteError, match=r"x.db does not exist"):
        SqliteDriver(tmp_path / "x.db").open()
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_was_replaced_makes_its_sessions_stale(session: SqliteSession, database: Path) -> None:
    assert not session.stale()
    database.rename(database.with_name("old.db"))
    assert session.stale()
    build(database.parent)
    assert session.stale()


def test_a_closed_session_can_be_interrupted(session: SqliteSession) -> None:
    session.close()
    session.interrupt()
