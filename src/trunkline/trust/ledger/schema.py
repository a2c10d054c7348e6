"""The ledger's tables and their versions. A step, once released, is never edited: append another."""

import sqlite3
from typing import Final

from trunkline.model import LocalError

MIGRATIONS: Final[tuple[tuple[str, ...], ...]] = (
    (
        """
        CREATE TABLE calls (
            n            INTEGER PRIMARY KEY AUTOINCREMENT,
            id           TEXT NOT NULL UNIQUE,
            started_at   TEXT NOT NULL,
            trunk        TEXT NOT NULL,
            direction    TEXT NOT NULL,
            ani          TEXT NOT NULL,
            dnis         TEXT NOT NULL,
            route        TEXT NOT NULL,
            agent        TEXT NOT NULL,
            engine       TEXT NOT NULL,
            config_hash  TEXT NOT NULL,
            protocol_id  TEXT NOT NULL,
            answered_ns  INTEGER,
            ended_ns     INTEGER,
            result       TEXT,
            reason       TEXT,
            detail       TEXT NOT NULL DEFAULT '',
            recordings   TEXT NOT NULL DEFAULT '[]',
            entries      INTEGER,
            head         BLOB
        ) STRICT
        """,
        "CREATE INDEX calls_open ON calls (n) WHERE result IS NULL",
        """
        CREATE TABLE entries (
            call   TEXT NOT NULL REFERENCES calls (id),
            seq    INTEGER NOT NULL,
            at_ns  INTEGER NOT NULL,
            kind   TEXT NOT NULL,
            data   TEXT NOT NULL,
            hash   BLOB NOT NULL,
            PRIMARY KEY (call, seq)
        ) STRICT, WITHOUT ROWID
        """,
        """
        CREATE TRIGGER entries_stay BEFORE UPDATE ON entries
        BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END
        """,
    ),
)

START_COLUMNS: Final = (
    "id",
    "started_at",
    "trunk",
    "direction",
    "ani",
    "dnis",
    "route",
    "agent",
    "engine",
    "config_hash",
    "protocol_id",
)
"""Columns known at the start; the chain begins with them."""


def migrate(connection: sqlite3.Connection) -> None:
    """Bring the file to the newest version, each step in one transaction. The connection is in autocommit mode.

    Raises ``LocalError`` when the file was written by a newer Trunkline.
    """
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > len(MIGRATIONS):
        raise LocalError(
            f"the ledger has schema version {version}, this Trunkline knows up to {len(MIGRATIONS)}",
            hint="it was written by a newer version; use that one or another data_dir",
        )
    for number, statements in enumerate(MIGRATIONS[version:], start=version + 1):
        connection.execute("BEGIN IMMEDIATE")
        try:
            for statement in statements:
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {number}")
        except BaseException:
            connection.execute("ROLLBACK")
            raise
        connection.execute("COMMIT")
