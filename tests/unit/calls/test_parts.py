"""The smaller parts of a call: routing, admission, alarms, waiting, recordings, outcomes, timeline, queues."""

import asyncio
import typing
from pathlib import Path

import pytest

from trunkline.calls import timeline
from trunkline.calls.admission import Admission
from trunkline.calls.alarms import Alarms
from trunkline.calls.handover import choose_queue
from trunkline.calls.outcomes import leg_outcome
from trunkline.calls.recording import Recordings
from trunkline.calls.routing import find_route
from trunkline.calls.signals import AlarmRang
from trunkline.calls.waiting import within
from trunkline.config import DnisPattern, Route
from trunkline.engines import contract as engine
from trunkline.model import MS, CallId, LegId, Nanos, Overloaded, Reason, Result, ToolCallId, ms
from trunkline.telephony.legs import contract as leg
from trunkline.telephony.legs.contract import LegEnded
from trunkline.telephony.media import port as media
from trunkline.testing import VirtualClock, leg_info, settle
from trunkline.trust.ledger import KINDS


def route(name: str, *, trunk: str | None = None, dnis: str | None = None) -> Route:
    pattern = DnisPattern.parse(dnis) if dnis is not None else None
    return Route(name=name, trunk=trunk, dnis=pattern, agent="a")


ROUTES = (
    route("exact", trunk="pbx", dnis="1000"),
    route("prefix", trunk="pbx", dnis="10*"),
    route("regex", dnis="/2[0-9]+/"),
    route("trunk", trunk="carrier"),
)


@pytest.mark.parametrize(
    ("trunk", "dnis", "name"),
    [
        ("pbx", "1000", "exact"),
        ("pbx", "1001", "prefix"),
        ("pbx", "20", "regex"),
        ("carrier", "20", "regex"),
        ("carrier", "1000", "trunk"),
        ("pbx", "3000", None),
        ("pbx", "", None),
    ],
)
def test_the_first_route_that_matches(trunk: str, dnis: str, name: str | None) -> None:
    found = find_route(ROUTES, leg_info(trunk=trunk, dnis=dnis))
    assert (found.name if found else None) == name


def test_admission_counts_places() -> None:
    admission = Admission(limit=2)
    admission.enter()
    admission.enter()
    with pytest.raises(Overloaded, match="2 calls are active"):
        admission.enter()
    admission.leave(admitted=False)
    with pytest.raises(Overloaded):
        admission.enter()
    admission.leave(admitted=True)
    admission.enter()
    assert (admission.active, admission.refused) == (2, 2)


def test_a_drain_takes_no_new_calls() -> None:
    admission = Admission(limit=2)
    admission.enter()
    admission.close()
    with pytest.raises(Overloaded, match="shutting down"):
        admission.enter()
    admission.leave(admitted=True)
    assert (admission.active, admission.refused) == (0, 1)


class Clockwork:
    """Alarms on a virtual clock, and what rang."""

    def __init__(self) -> None:
        self.clock = VirtualClock(autojump=False)
        self.rang: list[AlarmRang] = []
        self.tasks: set[asyncio.Task[None]] = set()
        self.alarms = Alarms(clock=self.clock, spawn=self._spawn, ring=self.rang.append)

    def _spawn(self, work: typing.Coroutine[typing.Any, typing.Any, None]) -> asyncio.Task[None]:
        task = asyncio.ensure_future(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        return task

    @property
    def names(self) -> list[str]:
        return [alarm.name for alarm in self.rang]

    async def stop(self) -> None:
        for task in list(self.tasks):
            task.cancel()
        await settle()


@pytest.fixture
async def work() -> typing.AsyncIterator[Clockwork]:
    work = Clockwork()
    yield work
    await work.stop()


async def test_alarms_ring_in_order_and_once(work: Clockwork) -> None:
    work.alarms.after("late", ms(300))
    work.alarms.after("early", ms(100))
    await work.clock.advance(99 * MS)
    assert work.names == []
    await work.clock.advance(1 * MS)
    assert work.names == ["early"]
    await work.clock.advance(1000 * MS)
    assert work.names == ["early", "late"]
    assert work.tasks == set()


async def test_an_alarm_can_be_moved_and_cleared(work: Clockwork) -> None:
    work.alarms.after("moved", ms(100))
    work.alarms.after("cleared", ms(100))
    work.alarms.after("moved", ms(500))
    work.alarms.clear("cleared")
    work.alarms.clear("never set")
    await work.clock.advance(400 * MS)
    assert work.names == []
    assert work.alarms.pending("moved")
    assert not work.alarms.pending("cleared")
    await work.clock.advance(100 * MS)
    assert work.names == ["moved"]
    assert not work.alarms.pending("moved")


async def test_one_task_sleeps_however_many_alarms_there_are(work: Clockwork) -> None:
    for number in range(50):
        work.alarms.after(f"a{number}", ms(1000 - number))
    await settle()
    assert len(work.tasks) == 1
    await work.clock.advance(1000 * MS)
    assert len(work.names) == 50


async def test_within_lets_work_finish_or_cancels_it() -> None:
    clock = VirtualClock()
    ended: list[str] = []

    async def take(span_ms: int) -> None:
        try:
            await clock.sleep_until(Nanos(clock.now() + span_ms * MS))
            ended.append("done")
        except asyncio.CancelledError:
            ended.append("cancelled")
            raise

    async def fail() -> None:
        raise ValueError("mine")

    assert await within(clock, ms(100), take(50))
    assert not await within(clock, ms(100), take(150))
    assert ended == ["done", "cancelled"]
    with pytest.raises(ValueError, match="mine"):
        await within(clock, ms(100), fail())
    assert clock.sleepers() == 0


def test_recordings_have_names_of_their_own(tmp_path: Path) -> None:
    recordings = Recordings(tmp_path, CallId("call-1"))
    assert recordings.next_path() == tmp_path / "recordings" / "call-1.wav"
    assert recordings.next_path() == tmp_path / "recordings" / "call-1-2.wav"
    assert recordings.names == ["recordings/call-1.wav", "recordings/call-1-2.wav"]
    assert (tmp_path / "recordings").is_dir()


def test_a_recording_that_cannot_be_made_raises(tmp_path: Path) -> None:
    (tmp_path / "recordings").write_text("not a folder")
    with pytest.raises(OSError, match="exists"):
        Recordings(tmp_path, CallId("call-1")).next_path()


@pytest.mark.parametrize(
    ("cause", "by_peer", "result", "reason"),
    [
        ("bye", True, Result.SUCCESS, Reason.CALLER_HUNG_UP),
        ("cancel", True, Result.CALLER, Reason.CANCELLED),
        ("session_expired", False, Result.UPSTREAM, Reason.SESSION_EXPIRED),
        ("timeout", False, Result.UPSTREAM, Reason.SIGNALLING_FAILED),
        ("transport", False, Result.UPSTREAM, Reason.SIGNALLING_FAILED),
        ("rejected", False, Result.LOCAL, Reason.REJECTED),
        ("something new", True, Result.UNKNOWN, Reason.CALLER_HUNG_UP),
    ],
)
def test_what_a_legs_end_means(cause: str, by_peer: bool, result: Result, reason: Reason) -> None:
    outcome = leg_outcome(LegEnded(at=Nanos(0), by_peer=by_peer, cause=cause))
    assert (outcome.result, outcome.reason) == (result, reason)


@pytest.mark.parametrize(
    ("wanted", "allowed", "queue"),
    [
        ("", ("a", "b"), "a"),
        ("b", ("a", "b"), "b"),
        ("c", ("a", "b"), None),
        ("sip:x@y", ("a",), None),
        ("", (), None),
    ],
)
def test_the_queue_of_a_hand_over(wanted: str, allowed: tuple[str, ...], queue: str | None) -> None:
    assert choose_queue(wanted, allowed) == queue


AT = Nanos(5)
HEARD = media.Heard("i", 10, 20)
STATS = media.MediaStats()
LEG_EVENTS = (
    leg.LegRinging(AT, 180),
    leg.LegAnswered(AT),
    leg.LegHeld(AT),
    leg.LegResumed(AT),
    leg.LegDtmf(AT, "1"),
    leg.TransferProgress(AT, 202, "Accepted", accepted=True, final=False),
    leg.TransferRequested(AT, "sip:a@b"),
    leg.LegEnded(AT, by_peer=True, cause="bye"),
)
MEDIA_EVENTS = (
    media.FirstPacket(AT, "127.0.0.1:1"),
    media.CallerSpeech(AT, started=True),
    media.CallerSpeech(AT, started=False),
    media.Digit(AT, "1", 100),
    media.PlayStarted(AT, "i"),
    media.PlayEnded(AT, HEARD),
    media.Flushed(AT, (HEARD,)),
    media.MaskStarted(AT, "m"),
    media.MaskEnded(AT, "m", 5),
    media.EngineOpened(AT, ""),
    media.EngineText(AT, "{}"),
    media.EngineClosed(AT, 1000, ""),
    media.Tap(AT, b"", 8000),
    media.RtpSilence(AT, 5000),
    media.MediaFailed(AT, "x", bug=False),
    media.MediaClosed(AT, AT, STATS),
)
ENGINE_EVENTS = (
    engine.SessionReady(AT),
    engine.CallerSpeechStarted(AT),
    engine.CallerSpeechStopped(AT),
    engine.Transcript(AT, engine.Role.CALLER, "x", final=True),
    engine.Transcript(AT, engine.Role.CALLER, "x", final=False),
    engine.ItemStarted(AT, "i"),
    engine.ItemEnded(AT, "i"),
    engine.ToolCall(AT, ToolCallId("t"), "n", {}),
    engine.ToolCallCancelled(AT, ToolCallId("t")),
    engine.HandOver(AT, "", "", ""),
    engine.HangUp(AT, ""),
    engine.Interrupted(AT, "i"),
    engine.TurnEnded(AT, "completed"),
    engine.Usage(AT, {"tokens": 1}),
    engine.GoingAway(AT, 0),
    engine.EngineError(AT, "m", retryable=True, fault=engine.Fault.ENGINE),
    engine.SessionClosed(AT, clean=True, retryable=False, detail=""),
)


@pytest.mark.parametrize(
    ("union", "samples"),
    [
        (leg.LegEvent, LEG_EVENTS),
        (media.MediaEvent, MEDIA_EVENTS),
        (engine.EngineEvent, ENGINE_EVENTS),
    ],
)
def test_the_samples_have_every_event(union: object, samples: tuple[object, ...]) -> None:
    assert {type(sample) for sample in samples} == set(typing.get_args(union))


def test_every_entry_has_only_documented_fields() -> None:
    entries = [timeline.leg_entry(event, LegId("leg-1")) for event in LEG_EVENTS]
    entries += [timeline.media_entry(event) for event in MEDIA_EVENTS]
    entries += [timeline.engine_entry(event, "local") for event in ENGINE_EVENTS]
    written = [entry for entry in entries if entry is not None]
    assert len(written) > 20
    for kind, data in written:
        assert data.keys() <= KINDS[kind].fields.keys(), kind


def test_audio_and_an_engines_wire_are_not_in_the_timeline() -> None:
    for event in MEDIA_EVENTS:
        if isinstance(event, media.Tap | media.EngineText):
            assert timeline.media_entry(event) is None
