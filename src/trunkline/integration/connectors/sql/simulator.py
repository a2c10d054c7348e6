"""A small real database for tests of this connector: well-behaved, endless and broken operations side by side."""

import sqlite3
from pathlib import Path
from typing import Any, Final

SETTINGS: Final[dict[str, Any]] = {
    "url": "sqlite:///simulator.db",
    "pool": {"size": 2, "waiting": 2},
    "statements": {
        "find_person": {"sql": "SELECT id, name FROM person WHERE id = :id", "single": True},
        "list_people": {"sql": "SELECT id, name FROM person ORDER BY id", "max_rows": 3},
        "search": {
            "sql": "SELECT id, name FROM person WHERE name LIKE :pattern AND (:least IS NULL OR id >= :least)",
            "optional": ["least"],
            "parameters": {"pattern": {"type": "string", "minLength": 1}},
        },
        "endless": {
            "sql": "WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n) SELECT max(i) AS i FROM n"
            " WHERE :id IS NOT NULL"
        },
        "broken_text": {"sql": "SELECT name FROM broken WHERE kind = 'text' AND :id IS NOT NULL"},
        "huge_value": {"sql": "SELECT zeroblob(4000000) AS bytes WHERE :id IS NOT NULL"},
    },
}
"""Settings of a connector to it, relative to the directory it was built in."""

PEOPLE: Final = tuple({"id": n, "name": f"Person {n}"} for n in range(1, 6))


def build(directory: Path) -> Path:
    """Create ``simulator.db`` in ``directory``."""
    path = directory / "simulator.db"
    connection = sqlite3.connect(path)
    try:
        connection.execute("CREATE TABLE person (id INTEGER PRIMARY KEY, name TEXT NOT NULL)")
        connection.executemany("INSERT INTO person VALUES (:id, :name)", PEOPLE)
        connection.execute("CREATE TABLE broken (kind TEXT, name TEXT)")
        connection.execute("INSERT INTO broken VALUES ('text', CAST(x'47fc6e746572' AS TEXT))")
        connection.commit()
    finally:
        connection.close()
    return path
