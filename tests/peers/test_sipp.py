"""SIPp against a running server: what other stacks get wrong on the wire, one scenario each."""

import itertools
import re
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import pytest_asyncio

from trunkline.model import SECOND, Nanos
from trunkline.runtime.clock import RealClock
from trunkline.testing.peers import Sipp, TrunklineServer, entries, sockets_of
from trunkline.testing.peers.speech import joined, mulaw, say

pytestmark = pytest.mark.asyncio(loop_scope="module")

SCENARIOS = Path(__file__).parent / "sipp"
PERSON = "sip:person@127.0.0.1:5099;transport=udp"

SERVED = ("basic", "cancel", "late_offer", "no_content_length", "latin1_display_name", "hold", "options")
"""Calls that must be served, and a question that must be answered."""

REFUSED = (
    "malformed_sdp",
    "strange_body",
    "no_common_codec",
    "short_body",
    "unknown_extension",
    "unknown_number",
    "unknown_method",
    "stranger_in_dialog",
)
"""What must be refused with the right status, and leave nothing behind."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(sipp: None, server_for: Callable[[str], TrunklineServer]) -> AsyncIterator[TrunklineServer]:
    async with server_for(PERSON) as running:
        yield running


async def run(name: str, server: TrunklineServer, folder: Path, clock: RealClock, **options: object) -> Sipp:
    scenario = SCENARIOS / f"{name}.xml"
    async with Sipp(scenario, server.address, folder=folder, clock=clock, **options) as peer:  # type: ignore[arg-type]
        await peer.passed()
    return peer


async def quiet(server: TrunklineServer, clock: RealClock) -> None:
    """Wait until the server holds no call."""
    deadline = clock.now() + 10 * SECOND
    while True:
        calls = await server.calls()
        live = [call for call in calls if call["outcome"] is None]
        if not live:
            return
        assert clock.now() < deadline, f"calls never ended: {live}"
        await clock.sleep_until(Nanos(clock.now() + SECOND // 20))


@pytest.mark.parametrize(
    ("name", "transport"),
    [
        *((name, "u1") for name in SERVED),
        # Over TCP a message without Content-Length has no end (RFC 3261 section 18.3).
        *((name, "t1") for name in SERVED if name != "no_content_length"),
    ],
)
async def test_served(
    name: str, transport: str, server: TrunklineServer, tmp_path: Path, clock: RealClock
) -> None:
    await run(name, server, tmp_path, clock, transport=transport)
    await quiet(server, clock)


@pytest.mark.parametrize("name", REFUSED)
async def test_refused(name: str, server: TrunklineServer, tmp_path: Path, clock: RealClock) -> None:
    await run(name, server, tmp_path, clock)
    await quiet(server, clock)


async def test_the_answer_is_repeated_until_acknowledged_and_not_after(
    server: TrunklineServer, tmp_path: Path, clock: RealClock
) -> None:
    peer = await run("answer_retransmitted", server, tmp_path, clock, options=["-nr"])
    moments = answers(peer.trace())
    assert len(moments) == 3, "the 200 came before the ACK and never after it"
    first, second = (later - earlier for earlier, later in itertools.pairwise(moments))
    assert 0.3 < first < 1.5, "T1 is 500 ms"
    assert 0.6 < second < 2.5, "it doubles"
    await quiet(server, clock)


def answers(trace: str) -> list[float]:
    """When each 200 to the INVITE came, in seconds of the day."""
    found = []
    for part in trace.split("-----------------------------------------------")[1:]:
        stamp = re.search(r"(\d+):(\d+):(\d+\.\d+)", part)
        if (
            stamp
            and "message received" in part
            and "SIP/2.0 200" in part
            and re.search(r"CSeq: *1 INVITE", part)
        ):
            hours, minutes, seconds = stamp.groups()
            found.append(int(hours) * 3600 + int(minutes) * 60 + float(seconds))
    return found


async def test_a_caller_is_handed_over_by_refer_and_the_media_path_is_left(
    server: TrunklineServer, tmp_path: Path, clock: RealClock
) -> None:
    speech = tmp_path / "person.ulaw"
    speech.write_bytes(mulaw(joined(await say("I want to talk to a person."), 2.0)))
    before = len(await server.calls())
    peer = await run("refer", server, tmp_path, clock, values={"speech": str(speech)})
    refer = peer.trace().split("REFER sip:", 1)[1].split("\r\n\r\n")[0]
    assert f"Refer-To: <{PERSON}>" in refer
    call = await server.ended_call(within_s=10, after=before)
    (released,) = entries(call, "media_released")
    assert released["data"]["release_ms"] <= 200
    (ended,) = entries(call, "call_ended")
    assert (ended["data"]["result"], ended["data"]["reason"]) == ("success", "transferred")


async def test_fifty_calls_at_once_leave_nothing_behind(
    server: TrunklineServer, tmp_path: Path, clock: RealClock
) -> None:
    await run("basic", server, tmp_path / "warm", clock)
    await quiet(server, clock)
    before = sockets_of(server.pid)
    await run("basic", server, tmp_path / "many", clock, calls=50, rate=25, timeout_s=40)
    await quiet(server, clock)
    # A connection of the API's that was answered just now may still be closing.
    deadline = clock.now() + 10 * SECOND
    while (now := sockets_of(server.pid)) > before:
        assert clock.now() < deadline, f"{now} sockets, {before} before"
        await clock.sleep_until(Nanos(clock.now() + SECOND // 20))
