"""The demo's legacy system: an order-entry database as they were built forty years ago, in one SQLite file.

Names in one column in capitals, status codes, dates as CYYMMDD integers, amounts with implied decimals, columns
of ten characters. The contents are the same on every build.

Its order inquiry is slow, as asking through a terminal gateway is: the view ORDINQ waits until THINK_MS of wall
time have passed, inside SQLite. Nothing in Trunkline delays the answer; any SQLite client that reads the view
waits as long. (SQLite freezes ``'now'`` for one step of a statement. The view TRMTICK is read through a full-text
table, which asks it with a statement of its own each time, and so sees the time pass.)
"""

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from trunkline.model import LocalError, Missing

THINK_MS: Final = 2500
"""How long the order inquiry takes."""
ORDER: Final = "48213"
"""The order the demo's caller asks about."""
ORDERS: Final = 2000
FIRST_ORDER: Final = 47000

_SCHEMA: Final = """
CREATE TABLE CUSTMAST (
    CUST_NO   INTEGER PRIMARY KEY,
    CUST_NAME TEXT NOT NULL,          -- LAST, FIRST MIDDLE; padded to 30
    CUST_TEL  TEXT NOT NULL           -- digits only
);
CREATE TABLE ORDHDR (
    ORD_NO    TEXT PRIMARY KEY,
    CUST_NO   INTEGER NOT NULL REFERENCES CUSTMAST (CUST_NO),
    ORD_ST    TEXT NOT NULL,          -- S1 received .. S9 cancelled
    ORD_DT    INTEGER NOT NULL,       -- CYYMMDD
    SHP_DT    INTEGER NOT NULL,       -- CYYMMDD, 0 when not shipped
    DUE_DT    INTEGER NOT NULL,       -- CYYMMDD, 0 when unknown
    ORD_AMT   INTEGER NOT NULL,       -- two implied decimals
    ORD_LINES INTEGER NOT NULL,
    SHP_VIA   TEXT NOT NULL           -- carrier code
) WITHOUT ROWID;
CREATE TABLE TRMCTL (ID INTEGER PRIMARY KEY, THINK_MS INTEGER NOT NULL);
CREATE VIEW TRMTICK AS SELECT ID, julianday('now') AS NOW FROM TRMCTL;
CREATE VIRTUAL TABLE TRMCLK USING fts5 (NOW, content = 'TRMTICK', content_rowid = 'ID');
CREATE VIEW TRMWAIT AS
WITH RECURSIVE
    THINK (UNTIL) AS (SELECT (SELECT NOW FROM TRMCLK WHERE rowid = 1) + THINK_MS / 86400000.0 FROM TRMCTL),
    WAIT (N, NOW) AS (
        SELECT 0, 0.0
        UNION ALL
        SELECT N + 1, (SELECT NOW FROM TRMCLK WHERE rowid = 1 + 0 * N)
        FROM WAIT, THINK WHERE NOW < UNTIL AND N < 1000000000
    )
SELECT max(N) AS TICKS FROM WAIT;
CREATE VIEW ORDINQ AS
SELECT O.ORD_NO, C.CUST_NAME, C.CUST_TEL, O.ORD_ST, O.ORD_DT, O.SHP_DT, O.DUE_DT, O.ORD_AMT, O.ORD_LINES, O.SHP_VIA
FROM TRMWAIT AS W CROSS JOIN ORDHDR AS O CROSS JOIN CUSTMAST AS C
WHERE W.TICKS >= 0 AND C.CUST_NO = O.CUST_NO;
"""

_FAMILY: Final = (
    "GARCIA",
    "SMITH",
    "O'BRIEN",
    "MCKAY",
    "ROSSI",
    "NGUYEN",
    "MUELLER",
    "DE LA CRUZ",
    "KOWALSKI",
    "JOHNSON",
    "SMITH-JONES",
    "OKAFOR",
    "TANAKA",
    "LINDQVIST",
    "BROWN JR",
)
_GIVEN: Final = (
    "MARIA L",
    "JOHN",
    "PATRICK J",
    "ANNA",
    "LUCA",
    "LINH T",
    "HANS-PETER",
    "SOFIA",
    "EWA",
    "DAVID",
)
_STATES: Final = ("S1", "S2", "S3", "S4", "S4", "S5", "S5", "S9")
_CARRIERS: Final = ("UPSG", "FDXE", "LOCL")


def build_legacy(path: Path, *, think_ms: int = THINK_MS) -> None:
    """Create the database at ``path``, replacing what was there.

    Raises ``Missing`` when Python's SQLite has no FTS5, ``LocalError`` when the file cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        connection = sqlite3.connect(path)
    except (OSError, sqlite3.Error) as bad:
        raise LocalError(f"the demo's database {path} cannot be written: {bad}") from bad
    try:
        connection.executescript(_SCHEMA)
        connection.execute("INSERT INTO TRMCTL VALUES (1, ?)", (think_ms,))
        connection.executemany("INSERT INTO CUSTMAST VALUES (?, ?, ?)", _customers())
        connection.executemany("INSERT INTO ORDHDR VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", _orders())
        connection.commit()
    except sqlite3.Error as bad:
        if "fts5" in str(bad):
            raise Missing(
                "this Python's SQLite has no FTS5, which the demo's database needs",
                hint="use the distribution's python3, whose SQLite has it",
            ) from bad
        raise LocalError(f"the demo's database {path} cannot be written: {bad}") from bad
    finally:
        connection.close()


def _customers() -> Iterator[tuple[int, str, str]]:
    number = 0
    for given in _GIVEN:
        for family in _FAMILY:
            number += 1
            yield number, f"{family}, {given}".ljust(30), f"1555{number:07d}"


def _orders() -> Iterator[tuple[str, int, str, int, int, int, int, int, str]]:
    customers = len(_GIVEN) * len(_FAMILY)
    for n in range(ORDERS):
        number = str(FIRST_ORDER + n)
        if number == ORDER:
            yield ORDER, 1, "S4", 1261103, 1261117, 1261123, 12990, 3, "UPSG"
            continue
        state = _STATES[n % len(_STATES)]
        ordered = _cyymmdd(n)
        shipped = _cyymmdd(n + 9) if state in {"S4", "S5"} else 0
        due = 0 if state == "S9" else _cyymmdd(n + 14)
        amount = 500 + n * 7919 % 250_000
        yield number, 1 + n % customers, state, ordered, shipped, due, amount, 1 + n % 9, _CARRIERS[n % 3]


def _cyymmdd(n: int) -> int:
    """A date of 2026, in the century after 1999 (C = 1); every month has 28 days here."""
    month, day = divmod(n % 336, 28)
    return 1_260_000 + (month + 1) * 100 + day + 1
