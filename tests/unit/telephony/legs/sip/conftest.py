"""Legs on a virtual SIP network with media in memory."""

import datetime as dt
import random
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from trunkline.model import Nanos, seconds
from trunkline.telephony.legs.contract import LegEvent
from trunkline.telephony.legs.sip import SipLeg, SipLegs, TrunkTable, anyone
from trunkline.telephony.sip.proto import UaConfig
from trunkline.testing import FakeMediaFactory, settle
from trunkline.testing.sipnet import SipNetwork, SipNode


class NetClock:
    """The network's clock as a ``model.Clock``; waiting lets the network run."""

    def __init__(self, net: SipNetwork) -> None:
        self._net = net

    def now(self) -> Nanos:
        return self._net.now

    def wall(self) -> dt.datetime:
        return dt.datetime(2026, 1, 1, tzinfo=dt.UTC)

    async def sleep_until(self, when: Nanos) -> None:
        await settle()
        self._net.run(max(0, when - self._net.now))


@dataclass
class Party:
    """A SIP endpoint with legs and media; events of its legs are kept."""

    node: SipNode
    legs: SipLegs
    media: FakeMediaFactory
    events: list[LegEvent] = field(default_factory=list)
    inbound: list[SipLeg] = field(default_factory=list)

    def on_leg(self, leg: SipLeg) -> None:
        leg.listen(self.events.append)
        self.inbound.append(leg)

    def of(self, kind: type) -> list[LegEvent]:
        return [event for event in self.events if isinstance(event, kind)]

    def last(self, kind: type) -> LegEvent:
        assert self.of(kind), f"no {kind.__name__} among {self.events}"
        return self.of(kind)[-1]

    @property
    def idle(self) -> bool:
        return self.node.idle and not self.media.open_ports and not len(self.legs)


@dataclass
class Town:
    """Everybody, and time."""

    net: SipNetwork
    parties: dict[str, Party] = field(default_factory=dict)

    def party(
        self,
        host: str,
        *,
        trunks: TrunkTable | None = None,
        accept_refer: bool = False,
        ports: int = 100,
        answering: bool = True,
        config: UaConfig | None = None,
    ) -> Party:
        table = trunks or anyone()
        node = self.net.node(host, screen=table.screen, config=config)
        clock = NetClock(self.net)
        media = FakeMediaFactory(clock, limit=ports)
        legs = SipLegs(
            node,
            media_factory=media,
            trunks=table,
            entropy=random.Random(host).randbytes,
            clock=clock,
            accept_refer=accept_refer,
        )
        party = self.parties[host] = Party(node, legs, media)
        node.on_event = legs.handle
        if answering:
            legs.set_handler(party.on_leg)
        return party

    async def run(self, span: float = 1.0) -> None:
        """Let time pass, and tasks run in between."""
        end = Nanos(self.net.now + seconds(span))
        await settle()
        while self.net.step(end):
            await settle()
        self.net.now = end

    async def until(self, condition: Callable[[], bool]) -> None:
        await settle()
        end = Nanos(self.net.now + seconds(600))
        while not condition():
            assert self.net.step(end), "it never happened"
            await settle()

    async def call(self, caller: Party, callee: Party) -> tuple[SipLeg, SipLeg]:
        """An answered call; gives the leg at each end."""
        count = len(callee.inbound)
        out = await caller.legs.dial(
            f"sip:1000@{callee.node.host}",
            caller="alice",
            display_name="Alice",
            listener=caller.events.append,
        )
        await self.until(lambda: len(callee.inbound) > count)
        into = callee.inbound[-1]
        await into.prepare()
        await into.answer()
        await self.run(0.5)
        return out, into

    async def finish(self) -> None:
        """Let all run out: nothing may be left anywhere."""
        await self.run(400)
        for party in self.parties.values():
            assert party.idle, (party.node.ua.timers, party.node.ua.sessions, party.media.open_ports)


@pytest.fixture
def town() -> Town:
    return Town(SipNetwork(seed=3))


@pytest.fixture
def alice(town: Town) -> Party:
    return town.party("10.0.0.1", accept_refer=True)


@pytest.fixture
def bob(town: Town) -> Party:
    return town.party("10.0.0.2")


@pytest.fixture
def offer_bytes() -> bytes:
    return (
        b"v=0\r\no=- 1 1 IN IP4 10.0.0.9\r\ns=-\r\nc=IN IP4 10.0.0.9\r\nt=0 0\r\n"
        b"m=audio 4000 RTP/AVP 8 0 96\r\na=rtpmap:96 telephone-event/8000\r\n"
    )
