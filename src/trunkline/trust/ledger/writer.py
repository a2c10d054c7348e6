"""The one thread that writes the ledger: takes operations in order, commits them in batches, survives its disk.

Owns the write connection and the bounded queue. Refuses to know calls: it stores what it is handed, in the
order it was handed. Policy of the queue, stated once:

- up to ``soft`` operations: everything is taken;
- between ``soft`` and ``hard``: droppable entries are refused, all others are taken;
- at ``hard``: entries are refused too. Starts are refused as ``LedgerUnavailable``; ends are always taken
  (there is at most one per open call).

A failed commit keeps its batch at the head of the queue and is tried again with growing pauses; only starts in
it fail at once, because a caller waits on them.
"""

import asyncio
import json
import logging
import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, assert_never

from trunkline.model import CallId, Outcome
from trunkline.trust.ledger import chain
from trunkline.trust.ledger.kinds import Kind
from trunkline.trust.ledger.records import LedgerHealth, LedgerUnavailable
from trunkline.trust.ledger.schema import MIGRATIONS, START_COLUMNS, migrate

log = logging.getLogger(__name__)

LINGER_S: Final = 0.05
"""How long entries may wait for company before they are committed (unless someone waits for them)."""
BATCH: Final = 1000
RETRY_S: Final = (0.1, 0.25, 0.5, 1.0, 2.0)
CLOSING_TRIES: Final = 5
BUSY_MS: Final = 1000
"""How long SQLite waits for a lock of another process before it says so."""


@dataclass(frozen=True, slots=True)
class Start:
    """Insert a call; ``columns`` in the order of ``START_COLUMNS``."""

    call: CallId
    columns: tuple[str, ...]
    done: "Future[None]" = field(default_factory=Future)


@dataclass(frozen=True, slots=True)
class Append:
    """Append an entry; ``data`` is canonical JSON."""

    call: CallId
    at_ns: int
    kind: str
    data: str


@dataclass(frozen=True, slots=True)
class Answered:
    """Set when the call was answered."""

    call: CallId
    at_ns: int


@dataclass(frozen=True, slots=True)
class End:
    """Append the last entry and close the call."""

    call: CallId
    at_ns: int
    outcome: Outcome
    recordings: tuple[str, ...]
    done: "Future[None]" = field(default_factory=Future)


@dataclass(frozen=True, slots=True)
class Flush:
    """Done when everything queued before it is committed."""

    done: "Future[None]" = field(default_factory=Future)


@dataclass(frozen=True, slots=True)
class Probe:
    """A write that changes nothing: finds out whether the disk works again when nothing else is queued."""


Operation = Start | Append | Answered | End | Flush | Probe

Connect = Callable[[Path], sqlite3.Connection]


def connect(path: Path) -> sqlite3.Connection:
    """The write connection: WAL, every commit synced to disk."""
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    try:
        connection.execute(f"PRAGMA busy_timeout = {BUSY_MS}")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")
    except BaseException:
        connection.close()
        raise
    return connection


class Writer:
    """Created and closed by ``Ledger``. ``put`` may be called from any thread."""

    def __init__(self, path: Path, *, soft: int, hard: int, connect: Connect = connect) -> None:
        if not 0 < soft <= hard:
            raise ValueError("the queue's bounds must be 0 < soft <= hard")
        self._soft, self._hard = soft, hard
        self._connection = connect(path)
        try:
            migrate(self._connection)
        except BaseException:
            self._connection.close()
            raise
        self._heads: dict[CallId, tuple[int, bytes]] = {}
        self._queue: deque[Operation] = deque()
        self._taken = 0
        self._urgent = 0
        self._closing = False
        self._wake = threading.Condition()
        self._reason = ""
        self._written = self._commits = self._failures = 0
        self._room: list[Future[None]] = []
        self._thread = threading.Thread(target=self._run, name="ledger-writer", daemon=True)
        self._thread.start()

    # --- any thread -----------------------------------------------------------------------------------

    def put(self, operation: Operation, *, droppable: bool = False) -> bool:
        """Queue an operation; False when it was refused because of the stated bounds."""
        with self._wake:
            waiting = len(self._queue) + self._taken
            match operation:
                case Append() | Answered():
                    if waiting >= (self._soft if droppable else self._hard) or self._closing:
                        return False
                case Start() if waiting >= self._hard or self._closing or self._reason:
                    return False
                case Start() | End() | Flush():
                    self._urgent += 1
            self._queue.append(operation)
            if self._urgent or len(self._queue) == 1 or len(self._queue) >= BATCH:
                self._wake.notify()
        return True

    def room(self) -> "Future[None]":
        """Done when the queue is below its soft bound and the last write succeeded."""
        future: Future[None] = Future()
        with self._wake:
            if len(self._queue) + self._taken < self._soft and not self._reason:
                future.set_result(None)
            else:
                self._room.append(future)
        return future

    def health(self) -> LedgerHealth:
        """A snapshot; counters of refused entries are kept by the ledger."""
        with self._wake:
            queued = len(self._queue) + self._taken
            reason = self._reason
            if not reason and queued >= self._soft:
                reason = f"{queued} entries wait to be written; the disk is too slow"
            return LedgerHealth(
                healthy=not reason,
                reason=reason,
                queued=queued,
                written=self._written,
                commits=self._commits,
                failures=self._failures,
            )

    def close(self) -> int:
        """Write what is queued and stop; returns how many operations could not be written."""
        with self._wake:
            self._closing = True
            self._wake.notify()
        self._thread.join()
        self._connection.close()
        with self._wake:
            lost, self._queue = list(self._queue), deque()
            room, self._room = self._room, []
        for future in (*room, *(one.done for one in lost if isinstance(one, Start | End | Flush))):
            _fail(future, LedgerUnavailable("the ledger was closed before this was written"))
        return len(lost)

    # --- the writer's thread --------------------------------------------------------------------------

    def _run(self) -> None:
        failed = 0
        while batch := self._take(failed):
            try:
                self._commit(batch)
            except sqlite3.Error as problem:
                self._rollback()
                if _is_poison(problem):
                    self._one_by_one(batch)
                    failed = 0
                    continue
                failed += 1
                self._keep(batch, problem)
                if self._closing and failed >= CLOSING_TRIES:
                    return
                with self._wake:
                    self._wake.wait(RETRY_S[min(failed, len(RETRY_S)) - 1])
            except Exception:
                log.exception("ledger: an operation could not be stored")
                self._rollback()
                self._one_by_one(batch)
                failed = 0
            else:
                self._finished(batch)
                failed = 0

    def _take(self, failed: int) -> list[Operation]:
        with self._wake:
            while not self._queue:
                if self._closing:
                    return []
                if failed:
                    return [Probe()]
                self._wake.wait()
            if not self._urgent and not self._closing and not failed and len(self._queue) < BATCH:
                self._wake.wait(LINGER_S)
            batch = [self._queue.popleft() for _ in range(min(BATCH, len(self._queue)))]
            self._taken = len(batch)
            return batch

    def _commit(self, batch: Sequence[Operation]) -> None:
        heads = dict(self._heads)
        self._connection.execute("BEGIN IMMEDIATE")
        for operation in batch:
            self._apply(operation, heads)
        self._connection.execute("COMMIT")
        self._heads = heads

    def _finished(self, batch: Sequence[Operation]) -> None:
        with self._wake:
            self._taken = 0
            self._commits += 1
            self._written += sum(isinstance(one, Append | End) for one in batch)
            self._urgent -= sum(isinstance(one, Start | End | Flush) for one in batch)
            recovered, self._reason = self._reason, ""
            room: list[Future[None]] = []
            if len(self._queue) < self._soft:
                room, self._room = self._room, []
        if recovered:
            log.warning("ledger: writing again")
        for future in room:
            _succeed(future)
        for operation in batch:
            if isinstance(operation, Start | End | Flush):
                _succeed(operation.done)

    def _keep(self, batch: Sequence[Operation], problem: sqlite3.Error) -> None:
        reason = f"the database cannot be written: {problem}"
        error = LedgerUnavailable(reason, hint="check free disk space and who else uses the file")
        started = {one.call for one in batch if isinstance(one, Start)}
        kept = [one for one in batch if isinstance(one, Append | Answered | End) and one.call not in started]
        with self._wake:
            self._urgent -= sum(isinstance(one, Start | End | Flush) for one in batch)
            self._urgent += sum(isinstance(one, End) for one in kept)
            self._queue.extendleft(reversed(kept))
            self._taken = 0
            self._failures += 1
            first, self._reason = not self._reason, reason
        for operation in batch:
            if isinstance(operation, Start | End | Flush):
                _fail(operation.done, error)
        if first:
            log.error("ledger: %s; keeping %d operations and trying again", reason, len(kept))

    def _one_by_one(self, batch: Sequence[Operation]) -> None:
        """After a batch that can never be stored as a whole: store each part alone, drop the impossible loudly."""
        for position, operation in enumerate(batch):
            try:
                self._commit([operation])
            except Exception as problem:
                self._rollback()
                if isinstance(problem, sqlite3.Error) and not _is_poison(problem):
                    self._keep(batch[position:], problem)
                    return
                log.exception("ledger: refused %s", type(operation).__name__)
                with self._wake:
                    self._failures += 1
                    self._urgent -= isinstance(operation, Start | End | Flush)
                if isinstance(operation, Start | End | Flush):
                    _fail(operation.done, LedgerUnavailable(f"the row was refused: {problem}"))
            else:
                self._finished([operation])
        with self._wake:
            self._taken = 0

    def _rollback(self) -> None:
        try:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
        except sqlite3.Error:
            log.exception("ledger: roll-back failed")

    # --- rows -------------------------------------------------------------------------------------------

    def _apply(self, operation: Operation, heads: dict[CallId, tuple[int, bytes]]) -> None:
        match operation:
            case Start(call=call, columns=columns):
                marks = ", ".join("?" * len(START_COLUMNS))
                self._connection.execute(
                    f"INSERT INTO calls ({', '.join(START_COLUMNS)}) VALUES ({marks})",  # noqa: S608 - constants
                    columns,
                )
                heads[call] = (0, chain.genesis(dict(zip(START_COLUMNS, columns, strict=True))))
            case Append(call=call, at_ns=at_ns, kind=kind, data=data):
                self._append(heads, call, at_ns, kind, data)
            case Answered(call=call, at_ns=at_ns):
                self._connection.execute(
                    "UPDATE calls SET answered_ns = ? WHERE id = ? AND answered_ns IS NULL", (at_ns, call)
                )
            case End():
                self._end(operation, heads)
            case Probe():
                self._connection.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")
            case Flush():
                pass
            case _:
                assert_never(operation)

    def _append(
        self, heads: dict[CallId, tuple[int, bytes]], call: CallId, at_ns: int, kind: str, data: str
    ) -> None:
        seq, head = heads.get(call) or self._stored_head(call)
        head = chain.link(head, seq + 1, at_ns, kind, data)
        self._connection.execute(
            "INSERT INTO entries (call, seq, at_ns, kind, data, hash) VALUES (?, ?, ?, ?, ?, ?)",
            (call, seq + 1, at_ns, kind, data, head),
        )
        heads[call] = (seq + 1, head)

    def _end(self, end: End, heads: dict[CallId, tuple[int, bytes]]) -> None:
        outcome = end.outcome
        said = {"result": outcome.result, "reason": outcome.reason, "detail": outcome.detail}
        self._append(heads, end.call, end.at_ns, Kind.CALL_ENDED, chain.canonical(said))
        seq, head = heads.pop(end.call)
        self._connection.execute(
            "UPDATE calls SET ended_ns = ?, result = ?, reason = ?, detail = ?, recordings = ?, entries = ?, head = ?"
            " WHERE id = ?",
            (
                end.at_ns,
                outcome.result,
                outcome.reason,
                outcome.detail,
                json.dumps(end.recordings),
                seq,
                head,
                end.call,
            ),
        )

    def _stored_head(self, call: CallId) -> tuple[int, bytes]:
        row = self._connection.execute(
            "SELECT seq, hash FROM entries WHERE call = ? ORDER BY seq DESC LIMIT 1", (call,)
        ).fetchone()
        if row is not None:
            return row[0], row[1]
        start = self._connection.execute(
            f"SELECT {', '.join(START_COLUMNS)} FROM calls WHERE id = ?",  # noqa: S608 - constants
            (call,),
        ).fetchone()
        if start is None:
            raise sqlite3.IntegrityError(f"there is no call {call}")
        return 0, chain.genesis(dict(zip(START_COLUMNS, start, strict=True)))


def _is_poison(problem: sqlite3.Error) -> bool:
    """Whether trying again cannot help: the row is wrong, not the disk."""
    return isinstance(
        problem,
        sqlite3.IntegrityError | sqlite3.ProgrammingError | sqlite3.DataError | sqlite3.InterfaceError,
    )


def _succeed(future: "Future[None]") -> None:
    if not future.done():
        future.set_result(None)


def _fail(future: "Future[Any]", error: Exception) -> None:
    if not future.done():
        future.set_exception(error)


async def wait(future: "Future[None]") -> None:
    """Await a writer's future. Cancelling the wait does not cancel the write."""
    await asyncio.shield(asyncio.wrap_future(future))
