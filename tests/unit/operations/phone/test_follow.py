"""What each step of a caller script means in time, against a far end that speaks by the clock."""

import asyncio
import struct
from pathlib import Path

import pytest

from trunkline.config.source import parse
from trunkline.model import MS, SECOND, Nanos, ms
from trunkline.operations.phone.follow import Clip, Follower, ScriptFailed, rehearse
from trunkline.operations.phone.script import Script, script_from
from trunkline.operations.phone.wire import WireLog
from trunkline.testing.clock import VirtualClock

LOUD = bytes([0x90, 0x10] * 80)
QUIET = bytes([0xFF] * 160)
FAR = "192.0.2.1:4000"


class TalkingPhone:
    """A phone whose far end speaks during ``far`` (ms from the start) unless told to be quiet."""

    def __init__(self, clock: VirtualClock, *far: tuple[int, int]) -> None:
        self.log = WireLog()
        self.over = ""
        self.transferred = False
        self.transfer_failed = ""
        self.did: list[str] = []
        self.far = list(far)
        self._clock = clock
        self._zero = clock.now()
        self._heard = self._sent = 0

    def since_start(self) -> float:
        return (self._clock.now() - self._zero) / MS

    async def talk(self) -> None:
        while True:
            now = self.since_start()
            loud = any(start <= now < end for start, end in self.far)
            self._packet(self._heard, LOUD if loud else QUIET, sent=False)
            self._heard += 1
            await self._clock.sleep_until(Nanos(self._zero + self._heard * 20 * MS))

    def stops_at(self, moment: float) -> None:
        self.far = [(start, min(end, int(moment))) for start, end in self.far]

    def _packet(self, index: int, payload: bytes, *, sent: bool) -> None:
        data = struct.pack("!BBHII", 0x80, 0, index & 0xFFFF, index * 160, 1) + payload
        self.log.add(data, self._clock.now(), FAR, sent=sent)

    async def speak(self, name: str, clip: Clip) -> None:
        self.did.append(f"{name} at {self.since_start():.0f}")
        pcm, rate = clip
        began = self._clock.now()
        for index in range(len(pcm) // 2 * 50 // rate):
            self._packet(index, LOUD, sent=True)
            await self._clock.sleep_until(Nanos(began + (index + 1) * 20 * MS))

    async def press(self, digits: str) -> None:
        self.did.append(f"press {digits}")

    async def hang_up(self) -> None:
        self.did.append(f"hang up at {self.since_start():.0f}")
        self.over = "we hung up"


async def voice(text: str, name: str) -> Clip:
    return bytes(2 * 8 * 100 * len(text.split())), 8000


def script(text: str) -> Script:
    return script_from(parse(text.encode(), Path("caller.yaml")))


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


async def follow(clock: VirtualClock, phone: TalkingPhone, text: str) -> Follower:
    made = script(text)
    follower = Follower(made, phone, await rehearse(made, voice), clock)
    far_end = asyncio.create_task(phone.talk())
    try:
        await follower.run()
    finally:
        far_end.cancel()
        await asyncio.gather(far_end, return_exceptions=True)
    return follower


async def fails(clock: VirtualClock, phone: TalkingPhone, text: str) -> str:
    with pytest.raises(ScriptFailed) as caught:
        await follow(clock, phone, text)
    return str(caught.value)


async def test_a_turn_waits_for_the_far_end_to_finish_and_hangs_up(clock: VirtualClock) -> None:
    phone = TalkingPhone(clock, (500, 1500))
    follower = await follow(clock, phone, "steps:\n  - wait_speech\n  - say: one two three")
    assert phone.did == ["line 3 at 2200", "hang up at 2500"]
    waited, said = follower.done
    assert waited.detail["speech_at"] - waited.began == 500 * MS
    assert waited.detail["speech_until"] - waited.began == 1500 * MS
    assert said.detail["words_at"] == said.began


async def test_until_started_goes_on_while_the_far_end_speaks(clock: VirtualClock) -> None:
    phone = TalkingPhone(clock, (500, 5000))
    await follow(clock, phone, "steps: [{wait_speech: started}]")
    assert phone.did == ["hang up at 560"]


async def test_speech_that_was_waited_for_is_not_taken_for_the_answer(clock: VirtualClock) -> None:
    phone = TalkingPhone(clock, (0, 1000), (4000, 5000))
    await follow(clock, phone, "steps:\n  - wait_speech\n  - say: hello\n  - wait_speech")
    assert phone.did == ["line 3 at 1700", "hang up at 5700"]


async def test_silence_of_the_far_end_fails_with_the_line(clock: VirtualClock) -> None:
    phone = TalkingPhone(clock)
    what = await fails(clock, phone, "timeout: 2s\nsteps:\n  - wait_speech")
    assert what == "caller.yaml:3: wait_speech: the far end said nothing within 2 s"


async def test_a_far_end_that_never_stops_fails(clock: VirtualClock) -> None:
    phone = TalkingPhone(clock, (0, 60_000))
    what = await fails(clock, phone, "steps:\n  - wait_speech: {timeout: 3s}")
    assert "did not stop speaking within 3 s" in what


async def test_an_interruption_talks_over_the_far_end(clock: VirtualClock) -> None:
    phone = TalkingPhone(clock, (1000, 9000))

    async def yields() -> None:
        await clock.sleep_until(Nanos(clock.now() + ms(2200)))
        phone.stops_at(phone.since_start())

    polite = asyncio.create_task(yields())
    follower = await follow(
        clock,
        phone,
        "steps:\n  - interrupt: {after_ms: 800, say: stop please}\n  - expect_silence: {within_ms: 600, for_ms: 500}",
    )
    await polite
    assert phone.did[0] == "line 2 at 1800"
    assert follower.done[1].detail["silent_after_ms"] == pytest.approx(400, abs=20)


async def test_a_far_end_that_talks_on_is_not_silent(clock: VirtualClock) -> None:
    phone = TalkingPhone(clock, (0, 9000))
    what = await fails(clock, phone, "steps:\n  - interrupt: {say: stop}\n  - expect_silence: 300")
    assert "fell silent never, allowed were 300 ms" in what


async def test_nothing_to_interrupt(clock: VirtualClock) -> None:
    phone = TalkingPhone(clock, (0, 300))
    what = await fails(clock, phone, "steps:\n  - interrupt: {after_ms: 2000, say: stop}")
    assert "nothing to interrupt: the far end spoke for 300 ms only" in what


async def test_keys_and_pauses(clock: VirtualClock) -> None:
    phone = TalkingPhone(clock)
    await follow(clock, phone, 'steps:\n  - pause: 250ms\n  - dtmf: "12#"\n  - hang_up\n  - say: never')
    assert phone.did == ["press 12#", "hang up at 250"]


async def test_after_a_transfer_the_conversation_is_a_new_one(clock: VirtualClock) -> None:
    phone = TalkingPhone(clock, (0, 100))

    async def transfer() -> None:
        await clock.sleep_until(Nanos(clock.now() + 3 * SECOND))
        phone.transferred = True
        phone.log = WireLog()
        phone.far = [(4000, 5000)]

    moving = asyncio.create_task(transfer())
    await follow(clock, phone, "steps:\n  - wait_transfer\n  - wait_speech\n  - say: hello")
    await moving
    assert phone.did == ["line 4 at 5700", "hang up at 5800"]


async def test_a_transfer_that_fails_or_never_comes(clock: VirtualClock) -> None:
    phone = TalkingPhone(clock)
    phone.transfer_failed = "486 Busy Here"
    assert "the transfer failed: 486 Busy Here" in await fails(clock, phone, "steps: [wait_transfer]")
    phone = TalkingPhone(clock)
    assert "no transfer was completed within 1 s" in await fails(clock, phone, "steps: [wait_transfer: 1s]")


async def test_a_far_end_that_hangs_up_fails_the_step_that_needed_it(clock: VirtualClock) -> None:
    phone = TalkingPhone(clock)
    phone.over = "the far end hung up"
    for step in ("wait_speech", "say: x", 'dtmf: "1"', "pause: 1s"):
        assert "the call is over: the far end hung up" in await fails(clock, phone, f"steps:\n  - {step}")


async def test_waiting_for_the_far_end_to_hang_up(clock: VirtualClock) -> None:
    phone = TalkingPhone(clock)
    assert "did not hang up within 1 s" in await fails(clock, phone, "steps: [wait_hang_up: 1s]")
    phone.over = "the far end hung up"
    await follow(clock, phone, "steps: [wait_hang_up]")
    assert phone.did == []


async def test_the_whole_script_is_bounded(clock: VirtualClock) -> None:
    phone = TalkingPhone(clock, (0, 100_000))
    text = "max_duration: 5s\nsteps:\n  - pause: 3s\n  - wait_speech: {timeout: 1m}"
    assert "max_duration of 5 s reached" in await fails(clock, phone, text)
