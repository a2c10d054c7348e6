import asyncio
import signal
import sqlite3
import stat
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from trunkline.model import (
    MS,
    SECOND,
    CallId,
    LocalError,
    LocalProtocolError,
    Nanos,
    Outcome,
    Pii,
    Reason,
    Result,
    Secret,
)
from trunkline.testing.clock import VirtualClock
from trunkline.trust.ledger import CallRecord, Kind, Ledger, LedgerUnavailable
from trunkline.trust.ledger.writer import connect

DONE = Outcome(Result.SUCCESS, Reason.CALLER_HUNG_UP)


def record(call: str = "call-1", started: int = 5 * SECOND) -> CallRecord:
    return CallRecord(
        id=CallId(call),
        started=Nanos(started),
        trunk="pbx",
        direction="inbound",
        ani="+390612345",
        dnis="1000",
        route="orders",
        agent="orders",
        engine="local",
        config_hash="c0ffee",
        protocol_id="abc@127.0.0.1",
    )


class Disk:
    """A database whose commits fail while ``broken`` says so."""

    def __init__(self) -> None:
        self.broken: Exception | None = None

    def connect(self, path: Path) -> sqlite3.Connection:
        disk = self

        class Connection(sqlite3.Connection):
            def execute(self, sql: str, parameters: object = (), /) -> sqlite3.Cursor:
                if sql == "COMMIT" and disk.broken is not None:
                    raise disk.broken
                return super().execute(sql, parameters)  # type: ignore[arg-type]

        connection = Connection(path, isolation_level=None, check_same_thread=False)
        connection.execute("PRAGMA journal_mode = WAL")
        return connection


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.sqlite"


@pytest.fixture
async def ledger(path: Path) -> AsyncIterator[Ledger]:
    async with Ledger.open(path, VirtualClock(), strict=True) as opened:
        yield opened


async def test_start_row_is_on_disk_when_call_started_returns(ledger: Ledger, path: Path) -> None:
    await ledger.call_started(record())
    other = sqlite3.connect(path)
    try:
        row = other.execute("SELECT id, ani, dnis, started_at, result FROM calls").fetchone()
    finally:
        other.close()
    assert row == ("call-1", "+390612345", "1000", "2026-03-02T09:30:00.000+00:00", None)


async def test_a_whole_call(ledger: Ledger) -> None:
    call = CallId("call-1")
    await ledger.call_started(record())
    ledger.append(call, Nanos(5 * SECOND + MS), Kind.CALL_ARRIVED, {"trunk": "pbx", "dnis": "1000"})
    ledger.append(call, Nanos(6 * SECOND), Kind.ANSWERED, {"setup_ms": 1000})
    ledger.answered(call, Nanos(6 * SECOND))
    ledger.answered(call, Nanos(7 * SECOND))
    assert [row.id for row in await ledger.open_calls()] == [call]
    await ledger.call_ended(
        call,
        Outcome(Result.SUCCESS, Reason.TRANSFERRED, "to support"),
        at=Nanos(9 * SECOND),
        recordings=("a.wav",),
    )

    row = await ledger.call(call)
    assert row is not None
    assert (row.answered_ns, row.ended_ns) == (SECOND, 4 * SECOND)
    assert row.outcome == Outcome(Result.SUCCESS, Reason.TRANSFERRED, "to support")
    assert row.recordings == ("a.wav",)
    entries = await ledger.timeline(call)
    assert [(e.seq, e.at_ns, e.kind) for e in entries] == [
        (1, MS, Kind.CALL_ARRIVED),
        (2, SECOND, Kind.ANSWERED),
        (3, 4 * SECOND, Kind.CALL_ENDED),
    ]
    assert entries[2].data == {"result": "success", "reason": "transferred", "detail": "to support"}
    assert await ledger.open_calls() == []
    verified = await ledger.verify(call)
    assert verified is not None
    assert verified.ok
    assert verified.entries == 3


async def test_entries_of_many_calls_keep_their_order(ledger: Ledger) -> None:
    calls = [CallId(f"call-{n}") for n in range(5)]
    await asyncio.gather(*(ledger.call_started(record(call)) for call in calls))
    for step in range(300):
        for call in calls:
            ledger.append(call, Nanos(5 * SECOND + step), Kind.DTMF, {"digit": str(step)})
    await ledger.flush()
    for call in calls:
        assert [entry.data["digit"] for entry in await ledger.timeline(call)] == [str(n) for n in range(300)]


async def test_pages_of_calls(ledger: Ledger) -> None:
    for n in range(5):
        await ledger.call_started(record(f"call-{n}"))
    first = await ledger.calls(limit=2)
    assert [row.id for row in first] == ["call-4", "call-3"]
    second = await ledger.calls(limit=2, before=first[-1].id)
    assert [row.id for row in second] == ["call-2", "call-1"]
    assert await ledger.calls(limit=2, before=CallId("call-0")) == []
    assert await ledger.calls(limit=0) == []


async def test_unknown_call_has_no_record(ledger: Ledger) -> None:
    assert await ledger.call(CallId("call-x")) is None
    assert await ledger.timeline(CallId("call-x")) == []
    assert await ledger.verify(CallId("call-x")) is None


async def test_entries_for_a_call_that_is_not_open_are_counted(ledger: Ledger) -> None:
    ledger.append(CallId("call-x"), Nanos(0), Kind.HELD)
    await ledger.call_started(record())
    await ledger.call_ended(CallId("call-1"), DONE, at=Nanos(6 * SECOND))
    ledger.append(CallId("call-1"), Nanos(6 * SECOND), Kind.HELD)
    assert ledger.health.late == 2
    assert [entry.kind for entry in await ledger.timeline(CallId("call-1"))] == [Kind.CALL_ENDED]


async def test_starting_or_ending_twice_is_our_mistake(ledger: Ledger) -> None:
    await ledger.call_started(record())
    with pytest.raises(LocalProtocolError):
        await ledger.call_started(record())
    await ledger.call_ended(CallId("call-1"), DONE, at=Nanos(6 * SECOND))
    with pytest.raises(LocalProtocolError):
        await ledger.call_ended(CallId("call-1"), DONE, at=Nanos(6 * SECOND))


async def test_words_of_a_newer_version_can_be_read(ledger: Ledger, path: Path) -> None:
    await ledger.call_started(record())
    await ledger.call_ended(CallId("call-1"), DONE, at=Nanos(6 * SECOND))
    other = sqlite3.connect(path)
    try:
        other.execute("UPDATE calls SET reason = 'beamed_up', detail = 'twice'")
        other.commit()
    finally:
        other.close()
    row = await ledger.call(CallId("call-1"))
    assert row is not None
    assert row.outcome == Outcome(
        Result.UNKNOWN, Reason.BUG, "success, beamed_up (of a newer version): twice"
    )


async def test_an_id_that_was_used_before_is_refused_and_others_go_on(ledger: Ledger) -> None:
    await ledger.call_started(record())
    await ledger.call_ended(CallId("call-1"), DONE, at=Nanos(6 * SECOND))
    await ledger.call_started(record("call-2"))
    ledger.append(CallId("call-2"), Nanos(6 * SECOND), Kind.HELD)
    with pytest.raises(LedgerUnavailable, match="refused"):
        await ledger.call_started(record())
    await ledger.flush()
    assert [entry.kind for entry in await ledger.timeline(CallId("call-2"))] == [Kind.HELD]
    assert ledger.health.healthy
    assert ledger.health.failures == 1


async def test_undocumented_field(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with Ledger.open(path, VirtualClock(), strict=True) as strict:
        await strict.call_started(record())
        with pytest.raises(LocalProtocolError, match="colour"):
            strict.append(CallId("call-1"), Nanos(0), Kind.HELD, {"colour": "red"})
        await strict.call_ended(CallId("call-1"), DONE, at=Nanos(0))
    async with Ledger.open(path, VirtualClock()) as lenient:
        await lenient.call_started(record("call-2"))
        for _ in range(3):
            lenient.append(CallId("call-2"), Nanos(0), Kind.HELD, {"colour": "red"})
        await lenient.flush()
        assert len(await lenient.timeline(CallId("call-2"))) == 3
        await lenient.call_ended(CallId("call-2"), DONE, at=Nanos(0))
    assert caplog.text.count("not documented") == 1


async def test_data_is_taken_as_it_was_when_appended(ledger: Ledger) -> None:
    await ledger.call_started(record())
    data = {"ani": Pii("+39061"), "dnis": Secret("hunter2")}
    ledger.append(CallId("call-1"), Nanos(5 * SECOND), Kind.CALL_ARRIVED, data)
    data.clear()
    await ledger.flush()
    (entry,) = await ledger.timeline(CallId("call-1"))
    assert entry.data == {"ani": "+39061", "dnis": "<secret>"}


async def test_data_that_is_no_json_is_our_mistake(ledger: Ledger) -> None:
    await ledger.call_started(record())
    with pytest.raises(TypeError):
        ledger.append(CallId("call-1"), Nanos(0), Kind.DTMF, {"digit": object()})
    with pytest.raises(ValueError, match="JSON compliant"):
        ledger.append(CallId("call-1"), Nanos(0), Kind.DTMF, {"digit": float("nan")})


async def test_too_much_data_is_cut_and_says_so(ledger: Ledger) -> None:
    await ledger.call_started(record())
    ledger.append(CallId("call-1"), Nanos(5 * SECOND), Kind.TRANSCRIPT, {"text": "x" * 100_000})
    await ledger.flush()
    (entry,) = await ledger.timeline(CallId("call-1"))
    assert entry.data == {"cut": 100_011}


async def test_crash_leaves_calls_that_the_next_start_closes(path: Path) -> None:
    async with Ledger.open(path, VirtualClock()) as ledger:
        await ledger.call_started(record())
        ledger.append(CallId("call-1"), Nanos(7 * SECOND), Kind.HELD)
        # leaving without call_ended is what a killed process does to the file

    async with Ledger.open(path, VirtualClock()) as ledger:
        row = await ledger.call(CallId("call-1"))
        assert row is not None
        assert row.outcome is not None
        assert (row.outcome.result, row.outcome.reason) == (Result.UNKNOWN, Reason.PROCESS_LOST)
        assert row.ended_ns == 2 * SECOND
        kinds = [entry.kind for entry in await ledger.timeline(CallId("call-1"))]
        assert kinds == [Kind.HELD, Kind.RECOVERED, Kind.CALL_ENDED]
        verified = await ledger.verify(CallId("call-1"))
        assert verified is not None
        assert verified.ok
        assert await ledger.open_calls() == []


async def test_one_process_per_file(path: Path) -> None:
    async with Ledger.open(path, VirtualClock()):
        with pytest.raises(LocalError, match="in use by another process"):
            async with Ledger.open(path, VirtualClock()):
                pass
    async with Ledger.open(path, VirtualClock()) as again:
        assert again.health.healthy


@pytest.fixture
def garbage(path: Path) -> Path:
    path.write_bytes(b"not a database, but long enough to have a header" * 100)
    return path


async def test_a_file_that_is_no_database(garbage: Path) -> None:
    with pytest.raises(LocalError, match="cannot be opened"):
        async with Ledger.open(garbage, VirtualClock()):
            pass


async def test_a_file_of_a_newer_version(path: Path) -> None:
    made = sqlite3.connect(path)
    made.execute("PRAGMA user_version = 99")
    made.close()
    with pytest.raises(LocalError, match="newer version"):
        async with Ledger.open(path, VirtualClock()):
            pass


async def test_a_directory_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(LocalError, match="cannot be created"):
        async with Ledger.open(tmp_path / "file" / "ledger.sqlite", VirtualClock()):
            pass


async def test_entries_cannot_be_changed_in_place(ledger: Ledger, path: Path) -> None:
    await ledger.call_started(record())
    ledger.append(CallId("call-1"), Nanos(5 * SECOND), Kind.HELD)
    await ledger.flush()
    other = sqlite3.connect(path)
    try:
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            other.execute("UPDATE entries SET kind = 'resumed'")
    finally:
        other.close()


@pytest.mark.parametrize(
    ("damage", "broken_at"),
    [
        ("DELETE FROM entries WHERE seq = 2", 2),
        ("DELETE FROM entries WHERE seq = 4", 4),
        ("DROP TRIGGER entries_stay; UPDATE entries SET data = '{}' WHERE seq = 3", 3),
        ("DROP TRIGGER entries_stay; UPDATE entries SET at_ns = at_ns + 1 WHERE seq = 1", 1),
        ("UPDATE calls SET ani = '+1555'", 1),
    ],
)
async def test_verify_finds_what_was_changed(ledger: Ledger, path: Path, damage: str, broken_at: int) -> None:
    call = CallId("call-1")
    await ledger.call_started(record())
    for digit in "123":
        ledger.append(call, Nanos(5 * SECOND), Kind.DTMF, {"digit": digit})
    await ledger.call_ended(call, DONE, at=Nanos(6 * SECOND))
    other = sqlite3.connect(path)
    try:
        other.executescript(damage)
    finally:
        other.close()
    verified = await ledger.verify(call)
    assert verified is not None
    assert not verified.ok
    assert verified.broken_at == broken_at


async def healed(ledger: Ledger) -> None:
    """Each try waits for the writer's next attempt."""
    while True:
        try:
            await ledger.flush()
        except LedgerUnavailable:
            continue
        assert ledger.health.healthy
        return


# --- when the disk does not take it ----------------------------------------------------------------------


async def test_full_disk_refuses_new_calls_and_keeps_what_is_owed(path: Path) -> None:
    disk = Disk()
    call = CallId("call-1")
    async with Ledger.open(path, VirtualClock(), connect=disk.connect) as ledger:
        await ledger.call_started(record())
        disk.broken = sqlite3.OperationalError("database or disk is full")
        ledger.append(call, Nanos(6 * SECOND), Kind.HELD)
        with pytest.raises(LedgerUnavailable, match="disk is full"):
            await ledger.flush()
        assert not ledger.health.healthy
        assert "disk is full" in ledger.health.reason
        with pytest.raises(LedgerUnavailable, match="disk is full"):
            await ledger.call_started(record("call-2"))
        with pytest.raises(LedgerUnavailable, match="disk is full"):
            await ledger.call_ended(call, DONE, at=Nanos(7 * SECOND))
        assert ledger.health.queued == 2

        disk.broken = None
        await healed(ledger)
        row = await ledger.call(call)
        assert row is not None
        assert row.outcome == DONE
        assert [entry.kind for entry in await ledger.timeline(call)] == [Kind.HELD, Kind.CALL_ENDED]
        assert await ledger.call(CallId("call-2")) is None
        await ledger.call_started(record("call-2"))


async def test_a_start_that_fails_leaves_nothing(path: Path) -> None:
    disk = Disk()
    async with Ledger.open(path, VirtualClock(), connect=disk.connect) as ledger:
        disk.broken = sqlite3.OperationalError("database is locked")
        with pytest.raises(LedgerUnavailable, match="locked"):
            await ledger.call_started(record())
        disk.broken = None
        await healed(ledger)
        assert await ledger.calls() == []


async def test_the_ledger_heals_without_new_entries(path: Path) -> None:
    disk = Disk()
    async with Ledger.open(path, VirtualClock(), connect=disk.connect) as ledger:
        disk.broken = sqlite3.OperationalError("database is locked")
        with pytest.raises(LedgerUnavailable):
            await ledger.call_started(record())
        disk.broken = None
        await ledger.room()
        assert ledger.health.healthy
        await ledger.call_started(record())


async def test_bounds_drop_the_droppable_first_and_mark_the_gap(path: Path) -> None:
    disk = Disk()
    call = CallId("call-1")
    async with Ledger.open(path, VirtualClock(), connect=disk.connect, soft=3, hard=6) as ledger:
        await ledger.call_started(record())
        disk.broken = sqlite3.OperationalError("database or disk is full")
        for _ in range(5):
            ledger.append(call, Nanos(6 * SECOND), Kind.TRANSCRIPT_PARTIAL, {"text": "po"})
        assert ledger.health.dropped == {"transcript_partial": 2}
        for digit in "12345":
            ledger.append(call, Nanos(6 * SECOND), Kind.DTMF, {"digit": digit})
        dropped = ledger.health.dropped
        assert dropped["dtmf"] >= 3
        room = asyncio.ensure_future(ledger.room())
        await asyncio.wait({room}, timeout=0)
        assert not room.done()

        disk.broken = None
        await room
        await healed(ledger)
        await ledger.call_ended(call, DONE, at=Nanos(7 * SECOND))
        entries = await ledger.timeline(call)
        gaps = [entry.data for entry in entries if entry.kind == Kind.LEDGER_GAP]
        assert sum(gap["dropped"] for gap in gaps) == sum(dropped.values())
        stored = [entry for entry in entries if entry.kind in {Kind.DTMF, Kind.TRANSCRIPT_PARTIAL}]
        assert len(stored) + sum(gap["dropped"] for gap in gaps) == 10
        verified = await ledger.verify(call)
        assert verified is not None
        assert verified.ok


async def test_a_really_full_database(path: Path) -> None:
    made: list[sqlite3.Connection] = []

    def small(where: Path) -> sqlite3.Connection:
        made.append(connect(where))
        return made[0]

    call = CallId("call-1")
    async with Ledger.open(path, VirtualClock(), connect=small) as ledger:
        await ledger.call_started(record())
        made[0].execute("PRAGMA max_page_count = 12")
        for _ in range(20):
            ledger.append(call, Nanos(6 * SECOND), Kind.TRANSCRIPT, {"text": "x" * 4000})
        with pytest.raises(LedgerUnavailable, match="full"):
            await ledger.flush()
        with pytest.raises(LedgerUnavailable, match="full"):
            await ledger.call_started(record("call-2"))
        made[0].execute("PRAGMA max_page_count = 1000000")
        await healed(ledger)
        await ledger.call_ended(call, DONE, at=Nanos(7 * SECOND))
        assert len(await ledger.timeline(call)) == 21


KILLED = """
import asyncio, os, signal, sys
from pathlib import Path
from trunkline.model import CallId, Nanos
from trunkline.testing import VirtualClock
from trunkline.trust.ledger import CallRecord, Kind, Ledger

async def main():
    async with Ledger.open(Path(sys.argv[1]), VirtualClock(autojump=False)) as ledger:
        for n in range(3):
            call = CallId(f"call-{n}")
            await ledger.call_started(CallRecord(call, Nanos(0), "pbx", "inbound", "1", "2"))
            ledger.append(call, Nanos(5), Kind.HELD)
        await ledger.flush()
        ledger.append(call, Nanos(6), Kind.RESUMED)
        os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main())
"""


async def test_killed_in_the_middle_of_calls(path: Path) -> None:
    killed = await asyncio.create_subprocess_exec(sys.executable, "-c", KILLED, str(path))
    assert await killed.wait() == -signal.SIGKILL
    async with Ledger.open(path, VirtualClock(autojump=False)) as ledger:
        rows = await ledger.calls()
        assert [row.id for row in rows] == ["call-2", "call-1", "call-0"]
        for row in rows:
            assert row.outcome is not None
            assert row.outcome.reason is Reason.PROCESS_LOST
            kinds = [entry.kind for entry in await ledger.timeline(row.id)]
            assert kinds[0] is Kind.HELD
            assert kinds[-2:] == [Kind.RECOVERED, Kind.CALL_ENDED]
            verified = await ledger.verify(row.id)
            assert verified is not None
            assert verified.ok


async def test_nothing_but_the_ledger_is_left_and_only_its_owner_reads_it(path: Path) -> None:
    async with Ledger.open(path, VirtualClock()) as ledger:
        await ledger.call_started(record())
        await ledger.call_ended(CallId("call-1"), DONE, at=Nanos(0))
    left = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
    assert left == {"ledger.sqlite": 0o600, "ledger.sqlite.lock": 0o600}


async def test_closing_on_a_dead_disk_gives_up_loudly(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    disk = Disk()
    async with Ledger.open(path, VirtualClock(), connect=disk.connect) as ledger:
        await ledger.call_started(record())
        disk.broken = sqlite3.OperationalError("disk I/O error")
        ledger.append(CallId("call-1"), Nanos(6 * SECOND), Kind.HELD)
    assert "1 operations that could not be written" in caplog.text


async def test_a_locked_database_is_reported(path: Path) -> None:
    def impatient(where: Path) -> sqlite3.Connection:
        connection = connect(where)
        connection.execute("PRAGMA busy_timeout = 1")
        return connection

    async with Ledger.open(path, VirtualClock(), connect=impatient) as ledger:
        other = sqlite3.connect(path, isolation_level=None)
        try:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(LedgerUnavailable, match="locked"):
                await ledger.call_started(record())
            other.execute("ROLLBACK")
        finally:
            other.close()
        await healed(ledger)
        await ledger.call_started(record())
