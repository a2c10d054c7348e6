"""A thousand calls opened and killed in every phase, by either side, in bad weather: nothing may be left.

Transactions, dialogs, timers, sessions, trace rings, legs, media ports and tasks are counted afterwards.
"""

import datetime as dt
import gc
import random
import tracemalloc
from collections.abc import Callable

import pytest

from trunkline.model import Nanos, seconds
from trunkline.model.units import MS
from trunkline.telephony.legs.contract import LegEvent, TransferRequested
from trunkline.telephony.legs.sip import SipLeg, SipLegs, anyone
from trunkline.telephony.sip.proto import (
    CallAnswered,
    ClientSession,
    IncomingCall,
    OfferReceived,
    ReferReceived,
    ServerSession,
    SipEvent,
    UaConfig,
    parse_uri,
)
from trunkline.testing import FakeMediaFactory, settle
from trunkline.testing.sipnet import SipNetwork, SipNode, Weather

CALLS = 1000
SDP = b"v=0\r\no=- 1 1 IN IP4 10.0.0.9\r\ns=-\r\nc=IN IP4 10.0.0.9\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n"
PHASES = ("sent", "100", "180", "200", "ack", "reinvite", "refer")
CONFIG = UaConfig(max_transactions=1_000_000, max_sessions=100_000)
CLEAR = Weather(delay=Nanos(20 * MS))
STORM = Weather(loss=0.15, duplicate=0.1, delay=Nanos(20 * MS), jitter=Nanos(150 * MS))


class Phones:
    """Many calls from Alice to Bob. Each is brought to a phase and then killed by ``kill``."""

    def __init__(self, seed: int, weather: Weather, phase: str) -> None:
        self.net = SipNetwork(seed=seed, weather=weather)
        self.net.keep_wire = False
        self.phase = phase
        self.alice = self.net.node("10.0.0.1", config=CONFIG)
        self.bob = self.net.node("10.0.0.2", config=CONFIG)
        self.alice.on_event = self.on_alice
        self.bob.on_event = self.on_bob
        self.servers: dict[str, ServerSession] = {}

    def on_bob(self, event: SipEvent) -> None:
        now = self.net.now
        match event:
            case IncomingCall(session=session):
                self.servers[session.call_id] = session
                if self.phase not in {"sent", "100"}:
                    session.progress(now)
                if self.phase not in {"sent", "100", "180"}:
                    session.answer(SDP, now)
            case OfferReceived(session=session):
                if self.net.now % 2:
                    session.accept_offer(SDP, now)
            case ReferReceived(refer=refer):
                refer.accept(now)
            case _:
                pass

    def on_alice(self, event: SipEvent) -> None:
        if isinstance(event, CallAnswered) and self.phase == "reinvite":
            event.session.reinvite(SDP, self.net.now)
        if isinstance(event, CallAnswered) and self.phase == "refer":
            event.session.refer.send("sip:x@10.0.0.3", self.net.now)
        if isinstance(event, OfferReceived):
            event.session.accept_offer(SDP, self.net.now)

    def dial(self) -> ClientSession:
        session = self.alice.ua.invite(parse_uri("sip:1@10.0.0.2"), body=SDP, now=self.net.now)
        self.alice.kick()
        return session


WAITS = {"sent": 0, "100": 60, "180": 60, "200": 45, "ack": 300, "reinvite": 400, "refer": 400}
"""Milliseconds from the INVITE to the kill, so that it falls into the phase (more or less, in a storm)."""


@pytest.mark.parametrize("weather", [CLEAR, STORM], ids=["clear", "storm"])
@pytest.mark.parametrize("who", ["caller", "callee", "both", "crash"])
@pytest.mark.parametrize("phase", PHASES)
def test_calls_killed_in_every_phase_leave_nothing(phase: str, who: str, weather: Weather) -> None:
    phones = Phones(len(phase) + len(who), weather, phase)
    net = phones.net

    def kill(client: ClientSession) -> None:
        server = phones.servers.get(client.call_id)
        if who in {"caller", "both"}:
            client.hang_up(net.now)
        if who in {"callee", "both"} and server is not None:
            server.hang_up(net.now)
        phones.alice.kick()
        phones.bob.kick()

    # All phases and killers together are 56 runs; a thousand calls in each phase are spread over its runs.
    for number in range(CALLS // 8):
        client = phones.dial()
        net.after(WAITS[phase] * MS + number % 7 * MS, lambda client=client: kill(client))
        net.run(5 * MS)
    if who == "crash":
        phones.bob.closed = True
        net.run(seconds(1))
        for client in [phones.dial() for _ in range(20)]:
            client.hang_up(net.now)
        assert phones.alice.ua.sessions
        for session in list(phones.alice.ua._sessions):
            session.hang_up(net.now)
        phones.alice.kick()
    net.run(seconds(600))
    survivors = () if who == "crash" else (phones.bob,)
    for session in list(phones.bob.ua._sessions) if who != "crash" else ():
        # A callee whose caller's BYE was lost for 32 s ends by RTP silence; here by our hand.
        session.hang_up(net.now)
    phones.bob.kick()
    net.run(seconds(600))
    for node in (phones.alice, *survivors):
        assert node.idle, describe(node)


def describe(node: SipNode) -> str:
    ua = node.ua
    return f"{ua.sessions} sessions, {ua.dialogs} dialogs, {ua.transactions} transactions, {ua.timers}, {ua.traces} traces"


@pytest.mark.parametrize("at_ms", range(0, 130, 10))
def test_cancel_at_every_point(at_ms: int) -> None:
    """The 200 leaves Bob 60 ms after the INVITE left Alice; CANCEL falls before, on and after every message."""
    phones = Phones(1, CLEAR, "100")
    net = phones.net
    for number in range(CALLS // 10):
        client = phones.dial()

        def answer(client: ClientSession = client) -> None:
            server = phones.servers.get(client.call_id)
            if server is not None and not server.ended:
                server.answer(SDP, net.now)
                phones.bob.kick()

        def cancel(client: ClientSession = client) -> None:
            client.hang_up(net.now)
            phones.alice.kick()

        net.after(60 * MS, answer)
        net.after((at_ms + number % 10) * MS, cancel)
    net.run(seconds(300))
    assert phones.alice.idle, describe(phones.alice)
    assert phones.bob.idle, describe(phones.bob)


def test_memory_is_back_where_it_was() -> None:
    phones = Phones(5, CLEAR, "ack")
    net = phones.net

    def burst(calls: int) -> None:
        clients = [phones.dial() for _ in range(calls)]
        net.run(seconds(1))
        for client in clients:
            client.hang_up(net.now)
        phones.alice.kick()
        net.run(seconds(300))
        phones.servers.clear()
        phones.alice.events.clear()
        phones.bob.events.clear()

    tracemalloc.start()
    try:
        seen = []
        for _ in range(3):
            burst(100)
            gc.collect()
            seen.append(tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
    # The first crowd makes room that dictionaries keep; the ones after it must fit into the same room.
    grown = seen[-1] - seen[0]
    assert grown < 20_000, f"{grown} bytes stayed after 200 calls"


# --- with legs and media ----------------------------------------------------------------------------------


class NetClock:
    def __init__(self, net: SipNetwork) -> None:
        self._net = net

    def now(self) -> Nanos:
        return self._net.now

    def wall(self) -> dt.datetime:
        return dt.datetime(2026, 1, 1, tzinfo=dt.UTC)

    async def sleep_until(self, when: Nanos) -> None:
        await settle()
        self._net.run(max(0, when - self._net.now))


class Side:
    """An endpoint with legs and media in memory."""

    def __init__(self, net: SipNetwork, host: str) -> None:
        self.node = net.node(host, config=CONFIG)
        clock = NetClock(net)
        self.media = FakeMediaFactory(clock)
        self.legs = SipLegs(
            self.node,
            media_factory=self.media,
            trunks=anyone(),
            entropy=random.Random(host).randbytes,
            clock=clock,
            accept_refer=True,
        )
        self.node.on_event = self.legs.handle
        self.inbound: list[SipLeg] = []
        self.legs.set_handler(self.inbound.append)


async def ring(leg: SipLeg) -> None:
    await leg.prepare()
    await leg.ring()


async def answer(leg: SipLeg) -> None:
    await leg.prepare()
    await leg.answer()


async def transfer(leg: SipLeg) -> None:
    await answer(leg)
    await leg.transfer("sip:human@10.0.0.3")


STEPS: dict[str, Callable[[SipLeg], object] | None] = {
    "100": None,
    "prepared": SipLeg.prepare,
    "180": ring,
    "200": answer,
    "refer": transfer,
}


@pytest.mark.parametrize("phase", STEPS)
@pytest.mark.parametrize("by", ["caller", "callee"])
async def test_legs_killed_in_every_phase_free_their_media(phase: str, by: str) -> None:
    net = SipNetwork(seed=2, weather=CLEAR)
    net.keep_wire = False
    alice, bob = Side(net, "10.0.0.1"), Side(net, "10.0.0.2")
    followed: list[SipLeg] = []
    for _ in range(CALLS // 10):
        events: list[LegEvent] = []
        out = await alice.legs.dial("sip:1@10.0.0.2", listener=events.append)
        net.run(30 * MS)
        into = bob.inbound[-1]
        step = STEPS[phase]
        if step is not None:
            await step(into)
        net.run(40 * MS)
        request = next((event for event in events if isinstance(event, TransferRequested)), None)
        if request is not None:
            new = await alice.legs.follow(out, request)
            if new is not None:
                followed.append(new)
        await (out if by == "caller" else into).hangup()
        net.run(100 * MS)
        await settle()
    for leg in followed:
        await leg.hangup()
    net.run(seconds(600))
    await settle()
    for side in (alice, bob):
        assert side.node.idle, describe(side.node)
        assert not side.media.open_ports
        assert len(side.legs) == 0
    assert len(bob.inbound) == CALLS // 10
