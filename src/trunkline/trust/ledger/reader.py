"""Reading the ledger, on its own connection and thread, so that a slow reader never delays a writer."""

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from trunkline.model import CallId, Outcome, Reason, Result
from trunkline.trust.ledger import chain
from trunkline.trust.ledger.kinds import Kind
from trunkline.trust.ledger.records import CallRow, Entry, Verification
from trunkline.trust.ledger.schema import START_COLUMNS

MAX_CALLS: Final = 1000
"""Most calls one page may have."""

_COLUMNS: Final = (*START_COLUMNS, "answered_ns", "ended_ns", "result", "reason", "detail", "recordings")
_SELECT: Final = f"SELECT {', '.join(_COLUMNS)} FROM calls"  # noqa: S608 - the names are constants


class Reader:
    """Blocking; used from one thread at a time. Sees what is committed."""

    def __init__(self, path: Path) -> None:
        self._connection = sqlite3.connect(
            f"{path.absolute().as_uri()}?mode=ro", uri=True, check_same_thread=False, isolation_level=None
        )
        self._connection.execute("PRAGMA busy_timeout = 1000")

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def calls(self, limit: int, before: CallId | None) -> list[CallRow]:
        """Newest first; ``before`` continues after the last call of the page before."""
        limit = max(0, min(limit, MAX_CALLS))
        if before is None:
            rows = self._connection.execute(f"{_SELECT} ORDER BY n DESC LIMIT ?", (limit,))
        else:
            rows = self._connection.execute(
                f"{_SELECT} WHERE n < (SELECT n FROM calls WHERE id = ?) ORDER BY n DESC LIMIT ?",  # noqa: S608
                (before, limit),
            )
        return [_call(row) for row in rows]

    def call(self, call: CallId) -> CallRow | None:
        """One call."""
        row = self._connection.execute(f"{_SELECT} WHERE id = ?", (call,)).fetchone()
        return None if row is None else _call(row)

    def open_calls(self) -> list[CallRow]:
        """Calls without an end, oldest first."""
        return [_call(row) for row in self._connection.execute(f"{_SELECT} WHERE result IS NULL ORDER BY n")]

    def timeline(self, call: CallId) -> list[Entry]:
        """All entries of a call, in order."""
        return [
            Entry(seq=seq, at_ns=at_ns, kind=_kind(kind), data=json.loads(data), hash=digest.hex())
            for seq, at_ns, kind, data, digest in self._rows(call)
        ]

    def last_at(self, call: CallId) -> int:
        """Time of the call's last entry, 0 when it has none."""
        row = self._connection.execute("SELECT max(at_ns) FROM entries WHERE call = ?", (call,)).fetchone()
        return int(row[0] or 0)

    def verify(self, call: CallId) -> Verification | None:
        """Recompute the call's chain; ``None`` when there is no such call."""
        start = self._connection.execute(
            f"SELECT {', '.join(START_COLUMNS)}, entries, head FROM calls WHERE id = ?",  # noqa: S608
            (call,),
        ).fetchone()
        if start is None:
            return None
        head = chain.genesis(dict(zip(START_COLUMNS, start[:-2], strict=True)))
        sealed, sealed_head = start[-2:]
        seen = 0
        for seq, at_ns, kind, data, digest in self._rows(call):
            if seq != seen + 1:
                return Verification(False, seen, seen + 1, f"entry {seen + 1} is missing")
            head = chain.link(head, seq, at_ns, kind, data)
            if head != digest:
                culprit = f"entry {seq} does not match" + (" (or the call's start)" if seq == 1 else "")
                return Verification(False, seen, seq, culprit)
            seen = seq
        if sealed is not None and (sealed != seen or sealed_head != head):
            return Verification(
                False, seen, seen + 1, f"the call was closed with {sealed} entries, {seen} fit"
            )
        return Verification(True, seen)

    def _rows(self, call: CallId) -> Iterator[tuple[int, int, str, str, bytes]]:
        yield from self._connection.execute(
            "SELECT seq, at_ns, kind, data, hash FROM entries WHERE call = ? ORDER BY seq", (call,)
        )


def _kind(name: str) -> Kind | str:
    try:
        return Kind(name)
    except ValueError:
        return name


def _outcome(result: str, reason: str, detail: str) -> Outcome:
    """Words of a newer version are shown as text: a list of calls must not fail because of one of them."""
    try:
        return Outcome(Result(result), Reason(reason), detail)
    except ValueError:
        return Outcome(Result.UNKNOWN, Reason.BUG, f"{result}, {reason} (of a newer version): {detail}")


def _call(row: tuple[Any, ...]) -> CallRow:
    value = dict(zip(_COLUMNS, row, strict=True))
    result, reason, detail = value.pop("result"), value.pop("reason"), value.pop("detail")
    outcome = None if result is None else _outcome(result, reason, detail)
    return CallRow(outcome=outcome, recordings=tuple(json.loads(value.pop("recordings"))), **value)
