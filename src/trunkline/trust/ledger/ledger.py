"""The ledger as the flows see it: an asyncio façade over one writer thread and one reader thread."""

import asyncio
import fcntl
import logging
import os
import sqlite3
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, TypeVar

from trunkline.model import CallId, Clock, LocalError, LocalProtocolError, Nanos, Outcome, Reason, Result
from trunkline.trust.ledger.chain import canonical
from trunkline.trust.ledger.kinds import KINDS, Kind
from trunkline.trust.ledger.reader import Reader
from trunkline.trust.ledger.records import (
    CallRecord,
    CallRow,
    Entry,
    LedgerHealth,
    LedgerUnavailable,
    Verification,
)
from trunkline.trust.ledger.writer import Answered, Append, Connect, End, Flush, Start, Writer, connect, wait

log = logging.getLogger(__name__)
T = TypeVar("T")

SOFT: Final = 8_000
"""Queued entries from which droppable kinds are refused and the ledger says it is unhealthy."""
HARD: Final = 64_000
"""Queued entries from which all entries are refused (counted, and marked in the timeline)."""
MAX_DATA: Final = 64 * 1024
"""Longest JSON text of one entry; longer data is replaced by a note of its size."""


@dataclass(slots=True)
class _Open:
    started: Nanos
    gap: Counter[str] = field(default_factory=Counter)


class Ledger:
    """The append-only record. ``async with Ledger.open(path, clock) as ledger``; one process per file."""

    def __init__(self, writer: Writer, reader: Reader, clock: Clock, *, strict: bool) -> None:
        self._writer, self._reader, self._clock, self._strict = writer, reader, clock, strict
        self._read_thread = ThreadPoolExecutor(1, thread_name_prefix="ledger-reader")
        self._open: dict[CallId, _Open] = {}
        self._dropped: Counter[str] = Counter()
        self._late = 0
        self._undocumented: set[tuple[Kind, str]] = set()

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        path: Path,
        clock: Clock,
        *,
        soft: int = SOFT,
        hard: int = HARD,
        strict: bool = False,
        connect: Connect = connect,
    ) -> AsyncIterator["Ledger"]:
        """Open or create the file at ``path``, close the calls a crash left open, yield the ledger, and write what
        is queued before closing.

        With ``strict`` an undocumented data field is a ``LocalProtocolError`` (tests); without, it is recorded
        and logged once. Raises ``LocalError`` when the file cannot be used or another process uses it.
        """
        lock = _lock(path)
        try:
            try:
                writer = await asyncio.to_thread(Writer, path, soft=soft, hard=hard, connect=connect)
            except sqlite3.Error as bad:
                raise LocalError(
                    f"the ledger {path} cannot be opened: {bad}",
                    hint="check the directory, or use another data_dir",
                ) from bad
            ledger = cls(writer, Reader(path), clock, strict=strict)
            try:
                await ledger._recover()
                yield ledger
            finally:
                await ledger._close()
        finally:
            os.close(lock)

    # --- writing ----------------------------------------------------------------------------------------

    async def call_started(self, record: CallRecord) -> None:
        """Open a call. Committed to disk when it returns: only then may the call be answered.

        Raises ``LedgerUnavailable`` when it is not; the call must then be refused. Cancelling the wait does not undo
        the row: the call is then open until ``call_ended``.
        """
        if record.id in self._open:
            raise LocalProtocolError(f"{record.id} was started before")
        columns = (
            record.id,
            self._clock.wall().isoformat(timespec="milliseconds"),
            record.trunk,
            record.direction,
            record.ani,
            record.dnis,
            record.route,
            record.agent,
            record.engine,
            record.config_hash,
            record.protocol_id,
        )
        start = Start(record.id, columns)
        if not self._writer.put(start):
            raise LedgerUnavailable(self._writer.health().reason or "the ledger is closing")
        self._open[record.id] = _Open(record.started)
        try:
            await wait(start.done)
        except LedgerUnavailable:
            del self._open[record.id]
            raise

    def append(self, call: CallId, at: Nanos, kind: Kind, data: Mapping[str, Any] | None = None, /) -> None:
        """Add an entry to the call's timeline; ``at`` is monotonic. Never blocks, never fails because of the
        disk. An entry the queue has no room for is counted and marked by a ``ledger_gap`` entry; one for a call
        that is not open is counted as late."""
        state = self._open.get(call)
        if state is None:
            self._late += 1
            log.warning("ledger: %s for %s, which is not open", kind, call)
            return
        spec = KINDS[kind]
        if data and not data.keys() <= spec.fields.keys():
            self._complain(kind, data.keys() - spec.fields.keys())
        if state.gap and self._put(state, call, at, Kind.LEDGER_GAP, _gap(state.gap)):
            state.gap.clear()
        if state.gap or not self._put(state, call, at, kind, data or {}, droppable=spec.droppable):
            state.gap[kind] += 1
            self._dropped[kind] += 1

    def answered(self, call: CallId, at: Nanos) -> None:
        """Note in the CDR when the call was answered (in addition to the ``answered`` entry)."""
        if (state := self._open.get(call)) is not None:
            self._writer.put(Answered(call, at - state.started))

    async def call_ended(
        self, call: CallId, outcome: Outcome, *, at: Nanos, recordings: tuple[str, ...] = ()
    ) -> None:
        """Close the call with a last ``call_ended`` entry. Durable when it returns.

        Raises ``LedgerUnavailable`` when it is not durable yet: it stays queued and is written as soon as
        possible. Closing twice is a ``LocalProtocolError``.
        """
        state = self._open.pop(call, None)
        if state is None:
            raise LocalProtocolError(f"{call} is not open")
        if state.gap:
            self._put(state, call, at, Kind.LEDGER_GAP, _gap(state.gap))
        end = End(call, at - state.started, outcome, recordings)
        self._writer.put(end)
        await wait(end.done)

    async def flush(self) -> None:
        """Return when all that was appended before is durable; raises ``LedgerUnavailable`` when it is not."""
        flush = Flush()
        self._writer.put(flush)
        await wait(flush.done)

    async def room(self) -> None:
        """Return when the queue is below its soft bound and writing works: how a producer yields to the disk."""
        await wait(self._writer.room())

    @property
    def health(self) -> LedgerHealth:
        """State and counters. While not ``healthy``, new calls are refused."""
        return replace(self._writer.health(), dropped=dict(self._dropped), late=self._late)

    # --- reading: what is committed; an entry is committed at most 50 ms after it was appended -------------

    async def calls(self, limit: int = 50, before: CallId | None = None) -> list[CallRow]:
        """Calls, newest first. ``before``: the id of the last call of the page before."""
        return await self._read(lambda reader: reader.calls(limit, before))

    async def call(self, call: CallId) -> CallRow | None:
        """One call's record."""
        return await self._read(lambda reader: reader.call(call))

    async def timeline(self, call: CallId) -> list[Entry]:
        """One call's entries, in order; empty when there is no such call."""
        return await self._read(lambda reader: reader.timeline(call))

    async def open_calls(self) -> list[CallRow]:
        """Calls that have not ended, oldest first."""
        return await self._read(lambda reader: reader.open_calls())

    async def verify(self, call: CallId) -> Verification | None:
        """Check the call's hash chain; ``None`` when there is no such call."""
        return await self._read(lambda reader: reader.verify(call))

    # --- inside -------------------------------------------------------------------------------------------

    async def _read(self, question: Callable[[Reader], T]) -> T:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._read_thread, question, self._reader)
        except sqlite3.Error as bad:
            raise LedgerUnavailable(f"the ledger cannot be read: {bad}") from bad

    def _put(
        self,
        state: _Open,
        call: CallId,
        at: Nanos,
        kind: Kind,
        data: Mapping[str, Any],
        *,
        droppable: bool = False,
    ) -> bool:
        text = canonical(data)
        if len(text) > MAX_DATA:
            log.warning("ledger: %s with %d characters of data was cut", kind, len(text))
            text = canonical({"cut": len(text)})
        return self._writer.put(Append(call, at - state.started, kind, text), droppable=droppable)

    def _complain(self, kind: Kind, fields: set[str]) -> None:
        if self._strict:
            raise LocalProtocolError(f"{kind} has no field {', '.join(sorted(fields))}", hint="see kinds.py")
        for name in fields:
            if (kind, name) not in self._undocumented:
                self._undocumented.add((kind, name))
                log.warning("ledger: field %r of %s is not documented", name, kind)

    async def _recover(self) -> None:
        """A process that died left calls open; nobody will close them but we."""
        for row in await self.open_calls():
            last = await self._read(lambda reader, call=row.id: reader.last_at(call))  # type: ignore[misc]
            self._open[row.id] = _Open(Nanos(0))
            self.append(row.id, Nanos(last), Kind.RECOVERED, {"recovered_at": self._clock.wall().isoformat()})
            outcome = Outcome(Result.UNKNOWN, Reason.PROCESS_LOST, "the process ended during the call")
            await self.call_ended(row.id, outcome, at=Nanos(last))
            log.warning("ledger: %s was left open by a process that ended; closed as indeterminate", row.id)

    async def _close(self) -> None:
        await asyncio.to_thread(self._read_thread.shutdown, wait=True)
        self._reader.close()  # first, so that the writer is the last to leave and folds the WAL back
        lost = await asyncio.to_thread(self._writer.close)
        if lost:
            log.error("ledger: closed with %d operations that could not be written", lost)


def _gap(gap: Counter[str]) -> dict[str, Any]:
    return {"dropped": gap.total(), "kinds": dict(gap)}


def _lock(path: Path) -> int:
    """An exclusive lock beside the ledger, held by the returned descriptor: two owners would close each
    other's calls. The ledger itself is created here, readable by its owner only."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        descriptor = os.open(
            path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600
        )
    except OSError as bad:
        raise LocalError(
            f"the ledger {path} cannot be created: {bad.strerror}", hint="check server.data_dir"
        ) from bad
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as held:
        os.close(descriptor)
        raise LocalError(
            f"the ledger {path} is in use by another process",
            hint="stop it, or give this one its own data_dir",
        ) from held
    return descriptor
