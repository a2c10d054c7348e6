"""The two phones against each other over real SIP and RTP on loopback, with media in plain Python."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from trunkline.config.source import parse
from trunkline.model import MS, SECOND, ConfigError, Nanos
from trunkline.operations.phone.audio import read_wav
from trunkline.operations.phone.caller import Caller, Plan
from trunkline.operations.phone.follow import Clip, rehearse
from trunkline.operations.phone.line import Line, address_towards, host_and_port, open_line
from trunkline.operations.phone.measure import speech_segments
from trunkline.operations.phone.person import Manners, Person
from trunkline.operations.phone.report import CallReport, PhoneReport
from trunkline.operations.phone.script import script_from
from trunkline.runtime.clock import RealClock
from trunkline.telephony.legs.contract import Leg, LegEvent

ANY = "127.0.0.1:0"


async def voice(text: str, name: str) -> Clip:
    """A word takes 200 ms."""
    return bytes(2 * 8 * 200 * len(text.split())), 8000


class Notes:
    def __init__(self) -> None:
        self.all: list[tuple[str, dict[str, Any]]] = []

    def __call__(self, kind: str, **data: Any) -> None:
        self.all.append((kind, data))

    def kinds(self) -> list[str]:
        return [kind for kind, _ in self.all]


@asynccontextmanager
async def a_person(
    media: Any, clock: RealClock, greeting: str = "hello there", **manners: Any
) -> AsyncIterator[tuple[Line, Person, Notes]]:
    notes = Notes()
    clip = await voice(greeting, "") if greeting else None
    person = Person(Manners(greeting=clip, answer_after=Nanos(100 * MS), **manners), clock, note=notes)
    async with open_line(ANY, media, clock, handler=person.handler) as line:
        person.opened(line)
        try:
            yield line, person, notes
        finally:
            await person.close()


async def call(
    media: Any, clock: RealClock, target: str, text: str, save_to: Path | None = None
) -> tuple[CallReport, Notes]:
    script = script_from(parse(text.encode(), Path("caller.yaml")))
    notes = Notes()
    async with open_line(ANY, media, clock) as line:
        plan = Plan(
            target, caller="alice", script=script, clips=await rehearse(script, voice), save_to=save_to
        )
        return await Caller(line, clock, note=notes).call(plan), notes


async def test_two_phones_hear_each_other(soft_media: Any, real_clock: RealClock, tmp_path: Path) -> None:
    async with a_person(soft_media, real_clock, save_to=tmp_path / "human.wav") as (line, person, _):
        report, notes = await call(
            soft_media,
            real_clock,
            f"sip:human@{line.address}",
            'steps:\n  - wait_speech: {quiet: 300ms}\n  - say: one two three\n  - dtmf: "5"\n  - hang_up',
            tmp_path / "heard.wav",
        )
        await person.first_call_over()
        other = person.report()
    assert report.ok, report.failure
    assert [step.name for step in report.steps] == ["wait_speech", "say", "dtmf", "hang_up"]
    assert report.setup_ms is not None
    assert report.setup_ms >= 90
    (leg,) = report.legs
    assert (leg.end, leg.received.lost) == ("we hung up", 0)
    assert leg.heard[0].seconds > 0.2
    assert leg.said[0].seconds > 0.2
    assert other.ok
    assert other.calls[0].legs[0].end == "the far end hung up"
    assert other.calls[0].heard_s > 0.2
    assert "answered" in notes.kinds()
    assert soft_media.opened[-1].digits + soft_media.opened[0].digits == "5"
    for recording in (report.recording, other.calls[0].recording):
        assert recording is not None
        samples, rate = read_wav(Path(recording.both))
        assert speech_segments(samples[:, 0], rate)
        assert speech_segments(samples[:, 1], rate)
    assert CallReport.from_json(report.to_json()) == report
    assert PhoneReport.from_json(other.to_json()) == other


class Referrer:
    """Answers and refers the caller to ``target``."""

    def __init__(self, target: str, clock: RealClock) -> None:
        self.target = target
        self.progress: list[int] = []
        self.sent_on_after = 0
        self._clock = clock
        self._tasks: list[asyncio.Task[None]] = []

    def handler(self, leg: Leg) -> None:
        self._tasks.append(asyncio.get_running_loop().create_task(self._refer(leg)))

    async def _refer(self, leg: Leg) -> None:
        def sink(event: LegEvent) -> None:
            if hasattr(event, "accepted"):
                self.progress.append(event.status)

        leg.listen(sink)
        await leg.prepare()
        await leg.answer()
        await self._clock.sleep_until(Nanos(self._clock.now() + 200 * MS))
        await leg.transfer(self.target)
        deadline = self._clock.now() + 10 * SECOND
        while not any(status >= 200 and status != 202 for status in self.progress):
            assert self._clock.now() < deadline, self.progress
            await self._clock.sleep_until(Nanos(self._clock.now() + 20 * MS))
        if self.progress[-1] < 300:
            await leg.hangup()

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


async def test_a_transfer_is_followed_and_the_old_party_gets_nothing_more(
    soft_media: Any, real_clock: RealClock
) -> None:
    async with a_person(soft_media, real_clock) as (line, person, _):
        referrer = Referrer(f"sip:human@{line.address}", real_clock)
        async with open_line(ANY, soft_media, real_clock, handler=referrer.handler) as first:
            report, _ = await call(
                soft_media,
                real_clock,
                f"sip:ai@{first.address}",
                "steps:\n  - wait_transfer: 10s\n  - wait_speech: {quiet: 300ms}\n  - say: one two three\n",
            )
            await referrer.close()
        await person.first_call_over()
        other = person.report()
    assert report.ok, report.failure
    assert report.transfer is not None
    assert report.transfer.answered_at is not None
    assert referrer.progress[0] == 202
    assert referrer.progress[-1] == 200
    old, new = report.legs
    assert old.sent.last_at is not None
    assert old.sent.last_at <= report.transfer.accepted_at
    assert old.end == "the far end hung up"
    assert new.heard
    (served,) = other.calls
    assert served.heard_s > 0.2


async def test_a_transfer_to_nobody_returns_to_the_old_party(soft_media: Any, real_clock: RealClock) -> None:
    async with open_line(ANY, soft_media, real_clock) as nobody:
        referrer = Referrer(f"sip:human@{nobody.address}", real_clock)
        async with open_line(ANY, soft_media, real_clock, handler=referrer.handler) as first:
            report, notes = await call(
                soft_media, real_clock, f"sip:ai@{first.address}", "steps: [wait_transfer: 10s]"
            )
            await referrer.close()
    assert not report.ok
    assert "caller.yaml:1: wait_transfer: the transfer failed: refused with 480" in report.failure
    assert referrer.progress[-1] == 480
    assert "transfer_failed" in notes.kinds()


async def test_nobody_there(soft_media: Any, real_clock: RealClock) -> None:
    async with open_line(ANY, soft_media, real_clock) as nobody:
        report, _ = await call(soft_media, real_clock, f"sip:x@{nobody.address}", "steps: [wait_speech]")
    assert not report.ok
    assert report.failure.startswith("not answered: refused with 480")
    assert report.setup_ms is None


async def test_an_address_that_is_none(soft_media: Any, real_clock: RealClock) -> None:
    report, _ = await call(soft_media, real_clock, "mailto:x@example.com", "steps: [wait_speech]")
    assert not report.ok
    assert report.failure
    assert report.legs == () or report.legs[0].answered_at is None


async def test_without_a_script_the_caller_listens(soft_media: Any, real_clock: RealClock) -> None:
    async with (
        a_person(soft_media, real_clock) as (line, _, _notes),
        open_line(ANY, soft_media, real_clock) as own,
    ):
        plan = Plan(f"sip:human@{line.address}", listen=Nanos(900 * MS))
        report = await Caller(own, real_clock, note=Notes()).call(plan)
    assert report.ok
    assert report.heard_s > 0.2


async def test_the_far_end_hanging_up_is_told_with_the_step(soft_media: Any, real_clock: RealClock) -> None:
    async with a_person(soft_media, real_clock, greeting="") as (line, person, _):
        calling = asyncio.create_task(
            call(soft_media, real_clock, f"sip:human@{line.address}", "steps:\n  - pause: 20s")
        )
        while not soft_media.opened[2:] and len(soft_media.opened) < 2:
            await real_clock.sleep_until(Nanos(real_clock.now() + 20 * MS))
        await real_clock.sleep_until(Nanos(real_clock.now() + 600 * MS))
        await person.close()
        report, _ = await calling
    assert report.failure == "caller.yaml:2: pause: the call is over: the far end hung up"


@pytest.mark.parametrize("text", ["127.0.0.1", "x:port", ":5060", "127.0.0.1:70000"])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="no HOST:PORT"):
        host_and_port(text)


@pytest.mark.parametrize(
    ("target", "own"),
    [
        ("sip:1000@127.0.0.1:5060", "127.0.0.1:0"),
        ("sip:1000@127.0.0.1;transport=tcp", "127.0.0.1:0"),
        ("mailto:x@example.com", "127.0.0.1:0"),
        ("sip:x@no.such.host.invalid", "127.0.0.1:0"),
    ],
)
def test_the_own_address_is_the_one_that_reaches_the_target(target: str, own: str) -> None:
    assert address_towards(target) == own


def test_addresses() -> None:
    assert host_and_port("127.0.0.1:5060") == ("127.0.0.1", 5060)
    assert host_and_port("[::1]:0") == ("::1", 0)
