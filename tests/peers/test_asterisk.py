"""Asterisk 22 as the trunk: it dials Trunkline with PJSIP, speaks, hears the agent, and follows its REFER."""

import re
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio

from trunkline.model import SECOND, Nanos
from trunkline.operations.phone.audio import PHONE_RATE, read_wav
from trunkline.operations.phone.measure import find_utterance, speech_seconds, speech_segments
from trunkline.runtime.clock import RealClock
from trunkline.testing.peers import Asterisk, TrunklineServer, entries, free_port
from trunkline.testing.peers.speech import say, write_speech

pytestmark = pytest.mark.asyncio(loop_scope="module")

DOCUMENTATION = Path(__file__).parents[2] / "docs" / "connecting" / "asterisk.md"

PERSON = "Hello, this is the support desk. How can I help you?"
CALLER = "Hello. I have a question about my order from last week."

# The caller is a channel of Asterisk itself: one half (caller@peers) speaks and records what it hears, the other
# half is connected to Trunkline by the documented dialplan.
DIALPLAN = """
[peers]
exten => caller,1,Answer()
 same => n,MixMonitor({here}/caller-mix.wav,r({here}/caller-heard.wav)t({here}/caller-said.wav))
 same => n,Wait(4.5)
 same => n,Playback({here}/question)
 same => n,Wait(8)
 same => n,Playback({here}/person-please)
 same => n,Wait(9)
 same => n,Playback({here}/hello)
 same => n,Wait(2)
 same => n,Hangup()

exten => human,1,Answer()
 same => n,MixMonitor({here}/human-mix.wav,r({here}/human-heard.wav)t({here}/human-said.wav))
 same => n,Playback({here}/support)
 same => n,Wait(30)
 same => n,Hangup()
"""


def documented(language: str, number: int = 0) -> str:
    """A code block of the documentation page, so that what users copy is what is tested."""
    blocks = re.findall(rf"```{language}\n(.*?)```", DOCUMENTATION.read_text(), re.DOTALL)
    return str(blocks[number])


@dataclass(frozen=True)
class Pair:
    asterisk: Asterisk
    server: TrunklineServer


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def pair(
    asterisk_tree: Path,
    server_for: Callable[[str], TrunklineServer],
    tmp_path_factory: pytest.TempPathFactory,
    clock: RealClock,
) -> AsyncIterator[Pair]:
    port = free_port()
    async with server_for(f"sip:human@127.0.0.1:{port}") as server:
        pjsip = documented("ini", 0)
        for theirs, ours in (
            ("192.0.2.10:5060", server.address),
            ("192.0.2.10", "127.0.0.1"),
            ("0.0.0.0:5060", f"127.0.0.1:{port}"),
        ):
            assert theirs in pjsip
            pjsip = pjsip.replace(theirs, ours)
        extensions = (
            documented("ini", 1)
            + DIALPLAN.replace("[peers]", "[peers]\ninclude => to-trunkline")
            + "\n[from-trunkline]\ninclude => peers\n"
        )
        asterisk = Asterisk(
            asterisk_tree,
            pjsip=pjsip,
            extensions=extensions,
            log=tmp_path_factory.mktemp("asterisk") / "asterisk.log",
            clock=clock,
            sip_port=port,
        )
        asterisk.lay_out()
        for name, text, voice in (
            ("question", "What are your opening hours?", "rms"),
            ("person-please", "I want to talk to a person.", "rms"),
            ("hello", CALLER, "rms"),
            ("support", PERSON, "awb"),
        ):
            write_speech(asterisk.sound(name), await say(text, voice))
        async with asterisk:
            yield Pair(asterisk, server)


async def test_asterisk_calls_speaks_hears_and_follows_the_refer(
    pair: Pair, tmp_path: Path, clock: RealClock
) -> None:
    asterisk, server = pair.asterisk, pair.server
    before = len(await server.calls())
    await asterisk.command("channel originate Local/caller@peers/n extension 1000@peers")
    call = await server.ended_call(within_s=60, after=before)

    # What Trunkline recorded: understood, handed over, out of the media path, ended well.
    words = " ".join(entry["data"]["text"] for entry in entries(call, "transcript"))
    assert "opening hours" in words
    assert "nine to five" in words
    (released,) = entries(call, "media_released")
    assert released["data"]["release_ms"] <= 200
    assert [entry["data"]["status"] for entry in entries(call, "transfer_progress")][-1] == 200
    (ended,) = entries(call, "call_ended")
    assert (ended["data"]["result"], ended["data"]["reason"]) == ("success", "transferred")
    assert entries(call, "call_arrived")[0]["data"]["dnis"] == "1000"

    # What Asterisk recorded: the agent before the transfer, the person after it, each hearing the other.
    await _channels_gone(asterisk, clock)
    heard, rate = read_wav(asterisk.recording("caller-heard"))
    assert rate == PHONE_RATE
    assert speech_seconds(speech_segments(heard, rate), 0, 12) > 4, "the agent's greeting and answer"
    assert find_utterance(heard, await say(PERSON, "awb"), rate).score > 0.75
    human, _ = read_wav(asterisk.recording("human-heard"))
    assert find_utterance(human, await say(CALLER), rate).score > 0.75


async def test_a_call_that_asterisk_gives_up_leaves_nothing(pair: Pair, clock: RealClock) -> None:
    asterisk, server = pair.asterisk, pair.server
    before = len(await server.calls())
    await asterisk.command("channel originate PJSIP/1000@trunkline application Wait 1")
    call = await server.ended_call(within_s=20, after=before)
    (ended,) = entries(call, "call_ended")
    assert (ended["data"]["result"], ended["data"]["reason"]) == ("success", "caller_hung_up")
    await _channels_gone(asterisk, clock)


async def _channels_gone(asterisk: Asterisk, clock: RealClock) -> None:
    deadline = clock.now() + 40 * SECOND
    while "0 active channels" not in (listing := await asterisk.command("core show channels")):
        assert clock.now() < deadline, listing
        await clock.sleep_until(Nanos(clock.now() + SECOND // 4))
