"""Talking to a database, blocking, from a thread of the pool: the driver port and SQLite behind it.

A driver knows one kind of database. It runs statements that were verified before, one at a time per session, and
stops one when told to from another thread.
"""

import contextlib
import sqlite3
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol

from trunkline.model import LocalProtocolError, RemoteError, RemoteProtocolError


class StatementRefused(Exception):  # noqa: N818 - reads as what it says
    """A statement is not a single SELECT this database can run; the text says why."""


@dataclass(frozen=True, slots=True)
class Shape:
    """What a statement takes and gives."""

    parameters: tuple[str, ...]
    columns: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Rows:
    """What a statement found. ``more``: the limit cut it."""

    records: tuple[dict[str, Any], ...] = field(repr=False)
    more: bool = False


class Session(Protocol):
    """One connection. All methods but ``interrupt`` are used from one thread at a time."""

    def verify(self, sql: str) -> Shape:
        """Raises ``StatementRefused`` unless ``sql`` is one SELECT that only reads."""
        ...

    def run(self, sql: str, parameters: Mapping[str, Any], *, limit: int, stop: Callable[[], bool]) -> Rows:
        """Run a statement; ``stop`` is asked now and then whether to give up. Raises ``RemoteError``."""
        ...

    def stale(self) -> bool:
        """Whether this connection no longer shows the present database (its file was replaced)."""
        ...

    def interrupt(self) -> None:
        """Stop the statement that is running, from any thread."""
        ...

    def close(self) -> None:
        """End the connection."""
        ...


class Driver(Protocol):
    """One database."""

    def open(self) -> Session:
        """A new connection. Raises ``RemoteError`` when the database cannot be reached."""
        ...


# --- SQLite ---------------------------------------------------------------------------------------------

STEP: Final = 100_000
"""Instructions of SQLite's virtual machine between two questions whether to stop: a few milliseconds, so that a
long statement seldom takes Python's lock."""
BUSY_MS: Final = 100
MAX_VALUE: Final = 1 << 20
"""Longest text or blob, in bytes, that a row may hold."""

_READING: Final = frozenset(
    {sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_RECURSIVE}
)
_FORBIDDEN_FUNCTIONS: Final = frozenset({"load_extension", "fts3_tokenizer", "readfile", "writefile", "edit"})
_SCHEMA: Final = frozenset({"sqlite_master", "sqlite_schema"})
_HARMLESS_PRAGMAS: Final = frozenset({"data_version"})
"""Pragmas that SQLite's own full-text tables ask internally while they are read."""


@dataclass(frozen=True, slots=True)
class SqliteDriver:
    """A SQLite file, opened read-only."""

    path: Path

    def open(self) -> "SqliteSession":
        """A read-only connection with an authorizer that permits reading only."""
        if not self.path.is_file():
            raise RemoteError(f"the database file {self.path.name} does not exist")
        try:
            connection = sqlite3.connect(
                f"{self.path.absolute().as_uri()}?mode=ro",
                uri=True,
                isolation_level=None,
                check_same_thread=False,
                timeout=BUSY_MS / 1000,
            )
        except sqlite3.Error as bad:
            raise RemoteError(f"the database file {self.path.name} cannot be opened: {bad}") from bad
        try:
            connection.execute("PRAGMA query_only = ON")
            connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, MAX_VALUE)
            connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
            connection.set_authorizer(_permit)
        except sqlite3.Error as bad:
            connection.close()
            raise _translated(bad) from bad
        return SqliteSession(connection, self.path)


class SqliteSession:
    """One connection to a SQLite file."""

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self._connection = connection
        self._path = path
        self._file = _identity(path)

    def verify(self, sql: str) -> Shape:
        names: dict[str, None] = {}
        statement = sql.strip().removesuffix(";")
        try:
            self._connection.execute(f"EXPLAIN {statement}", _Names(names)).close()
            wrapped = f"SELECT * FROM (\n{statement}\n) LIMIT 0"  # noqa: S608 - the statement is configuration
            found = self._connection.execute(wrapped, _Names(names))
            columns = tuple(column[0] for column in found.description or ())
            found.close()
        except (sqlite3.Error, sqlite3.Warning) as bad:
            raise StatementRefused(_why(bad)) from bad
        if not columns:
            raise StatementRefused("it gives no columns")
        if any(name.rpartition(":")[0] in columns for name in columns if ":" in name):
            raise StatementRefused("two columns have the same name; rename one with AS")
        return Shape(parameters=tuple(names), columns=columns)

    def run(self, sql: str, parameters: Mapping[str, Any], *, limit: int, stop: Callable[[], bool]) -> Rows:
        self._connection.set_progress_handler(stop, STEP)
        try:
            while True:
                try:
                    return self._fetch(sql, parameters, limit)
                except sqlite3.OperationalError as bad:
                    if getattr(bad, "sqlite_errorcode", 0) & 0xFF != sqlite3.SQLITE_BUSY or stop():
                        raise
        except sqlite3.Error as bad:
            raise _translated(bad) from bad
        except OverflowError as bad:
            raise LocalProtocolError("a number is too large for the database") from bad
        finally:
            self._connection.set_progress_handler(None, 0)

    def _fetch(self, sql: str, parameters: Mapping[str, Any], limit: int) -> Rows:
        cursor = self._connection.execute(sql, dict(parameters))
        try:
            names = [column[0] for column in cursor.description or ()]
            rows = cursor.fetchmany(limit + 1)
        finally:
            cursor.close()
        records = tuple(dict(zip(names, row, strict=True)) for row in rows[:limit])
        return Rows(records, more=len(rows) > limit)

    def stale(self) -> bool:
        return _identity(self._path) != self._file

    def interrupt(self) -> None:
        with contextlib.suppress(sqlite3.ProgrammingError):  # already closed: nothing runs
            self._connection.interrupt()

    def close(self) -> None:
        self._connection.close()


def _identity(path: Path) -> tuple[int, int] | None:
    """Which file is there now: systems often replace their extract by a new file of the same name."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


class _Names(dict[str, None]):
    """Answers every parameter with NULL and notes its name: SQLite's own parser finds them."""

    def __init__(self, names: dict[str, None]) -> None:
        super().__init__()
        self._names = names

    def __missing__(self, name: str) -> None:
        self._names[name] = None


def _permit(
    action: int, first: str | None, second: str | None, _database: str | None, _by: str | None
) -> int:
    if action == sqlite3.SQLITE_FUNCTION and (second or "").lower() in _FORBIDDEN_FUNCTIONS:
        return sqlite3.SQLITE_DENY
    if action == sqlite3.SQLITE_UPDATE and first in _SCHEMA:
        # Connecting a virtual table asks this; the file is read-only and SQLite itself refuses such an UPDATE.
        return sqlite3.SQLITE_OK
    if action == sqlite3.SQLITE_PRAGMA and first in _HARMLESS_PRAGMAS and second is None:
        return sqlite3.SQLITE_OK
    return sqlite3.SQLITE_OK if action in _READING else sqlite3.SQLITE_DENY


def _why(bad: Exception) -> str:
    text = str(bad)
    if text == "not authorized" or "prohibited" in text:
        return "only reading is allowed"
    if "one statement at a time" in text:
        return "only one statement is allowed"
    return text


def _translated(bad: sqlite3.Error) -> RemoteError:
    """SQLite's error as ours. SQLite's texts name tables and columns, never values."""
    text = str(bad)
    if "interrupted" in text:
        return RemoteError("the statement was stopped")
    if "Could not decode" in text:
        return RemoteProtocolError("a text column holds bytes that are not UTF-8")
    if isinstance(bad, sqlite3.DataError) or "too big" in text:
        return RemoteProtocolError(f"a value is larger than {MAX_VALUE} bytes")
    if "malformed" in text or "not a database" in text:
        return RemoteProtocolError(f"the database file is damaged: {text}")
    return RemoteError(f"the database said: {text}")
