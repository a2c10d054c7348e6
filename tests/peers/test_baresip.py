"""baresip, a softphone that people use, calls in, hears the agent speak and is understood."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import pytest_asyncio

from trunkline.operations.phone.audio import read_wav
from trunkline.operations.phone.measure import speech_seconds, speech_segments
from trunkline.runtime.clock import RealClock
from trunkline.testing.peers import Baresip, TrunklineServer, entries
from trunkline.testing.peers.speech import say, write_speech

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(
    baresip: None, server_for: Callable[[str], TrunklineServer]
) -> AsyncIterator[TrunklineServer]:
    async with server_for("sip:person@127.0.0.1:5099") as running:
        yield running


@pytest.mark.parametrize("transport", ["udp", "tcp"])
async def test_a_softphone_hears_the_agent_and_is_understood(
    transport: str, server: TrunklineServer, tmp_path: Path, clock: RealClock
) -> None:
    # The file ends the call: the greeting, a question, the answer and some rest fit into it.
    words = write_speech(tmp_path / "say.wav", 4.0, await say("What are your opening hours?"), 8.0)
    before = len(await server.calls())
    async with Baresip(
        server.uri("1000"), say=words, folder=tmp_path / "phone", seconds=25, clock=clock, transport=transport
    ) as phone:
        await phone.printed("Call established", within_s=10)
        call = await server.ended_call(within_s=25, after=before)
    samples, rate = read_wav(phone.heard())
    heard = speech_segments(samples, rate)
    assert speech_seconds(heard) > 4, "the greeting and the opening hours were heard"
    assert len(heard) >= 2
    said = {entry["data"]["role"]: entry["data"]["text"] for entry in entries(call, "transcript")}
    assert "opening hours" in said["caller"]
    spoken = " ".join(entry["data"]["text"] for entry in entries(call, "transcript"))
    assert "nine to five" in spoken
    (ended,) = entries(call, "call_ended")
    assert (ended["data"]["result"], ended["data"]["reason"]) == ("success", "caller_hung_up")
    stats = entries(call, "media_closed")[-1]["data"]["stats"]
    assert stats["rtp_received"] > 400
    assert stats["rtp_lost"] <= stats["rtp_received"] * 0.01
