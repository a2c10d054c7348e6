"""Transfers and failures with everything real: SIP, RTP, engine socket, ledger. A phone calls, the engine is
scripted; what is asserted is what the phone got and what the record says."""

import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Self

import pytest

from trunkline.config import load_config
from trunkline.engines.realtime.simulator import Simulator, parse_script
from trunkline.model import CallId
from trunkline.runtime.clock import RealClock
from trunkline.runtime.compose import House, native_media, open_house
from trunkline.telephony.legs.contract import LegAnswered, LegEnded, LegEvent, TransferRequested
from trunkline.telephony.legs.sip import SipLeg, SipLegs, anyone
from trunkline.telephony.media import MediaConfig, MediaEngine, MediaEvent, MediaPort, Tap
from trunkline.telephony.media.tools import rms_dbfs
from trunkline.telephony.sip.aio import SipListen, SipStack
from trunkline.testing import Collector, wait_until

QUIET_DB = -45

DOCUMENT = """
version: 1
server:
  sip: {{port: 0}}
  media: {{ports: 32000-32199}}
  http: {{port: 0}}
  data_dir: data
trunks:
  - {{name: pbx, sources: ["127.0.0.0/8"]}}
queues:
  support: {{target: "sip:human@127.0.0.1:9"}}
engines:
  sim: {{kind: realtime, url: "{url}", model: sim}}
agents:
  orders:
    engine: sim
    greeting: "Hello."
    queues: [support]
    limits: {{farewell_s: 3}}
routes:
  - {{name: main, agent: orders}}
"""

SCRIPT = """
pace: 8
turns:
  - {say: "One moment.", transfer: {queue: support, reason: asked}}
  - {say: "Nobody is there. What else can I do for you?"}
"""


class Phone:
    """Someone with a SIP phone who may be transferred."""

    def __init__(self, media: MediaEngine) -> None:
        clock = RealClock()
        self.stack = SipStack(SipListen(port=0), clock=clock, entropy=os.urandom)
        self.legs = SipLegs(
            self.stack,
            media_factory=media,
            trunks=anyone(),
            entropy=os.urandom,
            clock=clock,
            accept_refer=True,
        )
        self.stack.on_event = self.legs.handle
        self.events: Collector[LegEvent] = Collector()
        self.audio: Collector[MediaEvent] = Collector()
        self.leg: SipLeg | None = None

    async def __aenter__(self) -> Self:
        await self.stack.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.legs.close()
        await self.stack.close()

    async def dial(self, house: House) -> SipLeg:
        self.leg = await self.legs.dial(
            f"sip:1000@127.0.0.1:{house.sip.port}", caller="alice", listener=self.events
        )
        await self.events.wait(LegAnswered)
        media: MediaPort = self.leg.media
        media.listen(self.audio)
        media.open_tap(rate=8000, batch_ms=100)
        return self.leg

    def loud(self, since: int = 0) -> int:
        """How many of the pieces heard since ``since`` have speech in them."""
        taps = [event for event in self.audio.events[since:] if isinstance(event, Tap)]
        return sum(rms_dbfs(tap.pcm) > QUIET_DB for tap in taps)


class Site:
    """A running house, a simulated engine and a phone."""

    def __init__(self, house: House, simulator: Simulator, phone: Phone) -> None:
        self.house, self.simulator, self.phone = house, simulator, phone

    async def record(self) -> tuple[Any, list[tuple[str, dict[str, Any]]]]:
        """Outcome and timeline of the only call, once it is over."""
        await wait_until(lambda: self.house.board.busy == 0, "the end of the call", guard_s=20)
        [row] = await self.house.ledger.calls()
        return row.outcome, await self.timeline(row.id)

    async def timeline(self, call: CallId) -> list[tuple[str, dict[str, Any]]]:
        return [(str(entry.kind), dict(entry.data)) for entry in await self.house.ledger.timeline(call)]


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    async with AsyncExitStack() as stack:
        clock = RealClock()
        simulator = await stack.enter_async_context(Simulator(parse_script(SCRIPT), clock=clock))
        file = tmp_path / "trunkline.yaml"
        file.write_text(DOCUMENT.format(url=simulator.url))
        house = await stack.enter_async_context(
            open_house(load_config(file), clock=clock, open_media=native_media)
        )
        media = await stack.enter_async_context(MediaEngine(MediaConfig(port_low=32200, port_high=32399)))
        yield Site(house, simulator, await stack.enter_async_context(Phone(media)))


async def test_an_accepted_transfer_frees_media_and_engine_at_once(site: Site) -> None:
    leg = await site.phone.dial(site.house)
    wish = await site.phone.events.wait(TransferRequested)
    assert wish.target == "sip:human@127.0.0.1:9"
    leg.accept_transfer()
    leg.transfer_progress(180)
    await wait_until(lambda: site.simulator.open_sessions == 0, "the engine's end")
    leg.transfer_progress(200)
    assert (await site.phone.events.wait(LegEnded)).by_peer
    outcome, timeline = await site.record()
    assert (outcome.result, outcome.reason) == ("success", "transferred")
    released = dict(timeline)["media_released"]
    assert released["accepted_at_ns"] <= released["ports_freed_at_ns"]
    assert released["rtp_stopped_at_ns"] <= released["ports_freed_at_ns"]
    kinds = [kind for kind, _ in timeline]
    assert kinds.index("media_released") < kinds.index("transferred")


async def test_a_refused_transfer_keeps_the_conversation(site: Site) -> None:
    leg = await site.phone.dial(site.house)
    await site.phone.events.wait(TransferRequested)
    leg.reject_transfer(603)
    await wait_until(lambda: site.simulator.connections == 1 and _said(site, "Nobody"), "the engine's words")
    await leg.hangup()
    outcome, timeline = await site.record()
    assert outcome.reason == "caller_hung_up"
    data = dict(timeline)
    assert data["transfer_failed"]["status"] == 603
    assert "media_released" not in data
    assert site.simulator.connections == 1


async def test_a_failed_transfer_brings_the_caller_back_by_re_invite(site: Site) -> None:
    leg = await site.phone.dial(site.house)
    await site.phone.events.wait(TransferRequested)
    leg.accept_transfer()
    await wait_until(lambda: site.simulator.open_sessions == 0, "the engine's end")
    before = len(site.phone.audio)
    leg.transfer_progress(486)
    await wait_until(lambda: site.simulator.connections == 2, "the second engine session")
    await wait_until(lambda: site.phone.loud(before) >= 5, "speech after the transfer")
    await leg.hangup()
    outcome, timeline = await site.record()
    assert outcome.reason == "caller_hung_up"
    data = dict(timeline)
    assert data["transfer_failed"] == {"status": 486, "detail": "486 Busy Here"}
    assert data["media_reanchored"]["port"] != data["media_opened"]["port"]
    [row] = await site.house.ledger.calls()
    assert len(row.recordings) == 2
    for name in row.recordings:
        assert (site.house.config.data_dir / name).stat().st_size > 1000


async def test_a_caller_who_leaves_during_the_transfer(site: Site) -> None:
    leg = await site.phone.dial(site.house)
    await site.phone.events.wait(TransferRequested)
    leg.accept_transfer()
    await wait_until(lambda: site.simulator.open_sessions == 0, "the engine's end")
    await leg.hangup()
    outcome, timeline = await site.record()
    assert (outcome.result, outcome.reason) == ("indeterminate", "transferred")
    assert "media_released" in dict(timeline)


async def test_an_engine_that_dies_hands_the_caller_to_people(site: Site) -> None:
    leg = await site.phone.dial(site.house)
    await wait_until(lambda: site.phone.loud() >= 1, "the greeting")
    await site.simulator.__aexit__(None, None, None)
    await site.phone.events.wait(TransferRequested)
    leg.accept_transfer()
    leg.transfer_progress(200)
    outcome, _ = await site.record()
    assert outcome.reason == "transferred"


def _said(site: Site, word: str) -> bool:
    return any(
        word in str(session.received) or session.turns_played > 1 for session in site.simulator.sessions
    )
