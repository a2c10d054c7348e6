"""A pair of endpoints on a virtual network, and an SDP to talk about."""

from dataclasses import dataclass

import pytest

from trunkline.model import seconds
from trunkline.telephony.sip.proto import (
    CallAnswered,
    CallConfirmed,
    ClientSession,
    IncomingCall,
    ServerSession,
    parse_uri,
)
from trunkline.testing.sipnet import SipNetwork, SipNode, Stranger

OFFER = (
    b"v=0\r\no=- 1 1 IN IP4 10.0.0.9\r\ns=-\r\nc=IN IP4 10.0.0.9\r\nt=0 0\r\n"
    b"m=audio 4000 RTP/AVP 0 8 101\r\na=rtpmap:101 telephone-event/8000\r\n"
)
ANSWER = b"v=0\r\no=- 2 2 IN IP4 10.0.0.2\r\ns=-\r\nc=IN IP4 10.0.0.2\r\nt=0 0\r\nm=audio 5000 RTP/AVP 0\r\n"


@dataclass
class Pair:
    """Alice (10.0.0.1) calls Bob (10.0.0.2)."""

    net: SipNetwork
    alice: SipNode
    bob: SipNode
    transport: str = ""

    def dial(self, *, offer: bytes = OFFER, headers: dict[str, str] | None = None) -> ClientSession:
        uri = parse_uri(f"sip:1000@10.0.0.2{self.transport}")
        session = self.alice.ua.invite(uri, body=offer, now=self.net.now, headers=headers)
        self.alice.kick()
        return session

    def incoming(self) -> ServerSession:
        self.net.until(lambda: bool(self.bob.of(IncomingCall)))
        event = self.bob.last(IncomingCall)
        assert isinstance(event, IncomingCall)
        return event.session

    def establish(self, *, offer: bytes = OFFER) -> tuple[ClientSession, ServerSession]:
        client = self.dial(offer=offer)
        server = self.incoming()
        server.answer(ANSWER, self.net.now)
        self.bob.kick()
        self.net.until(lambda: bool(self.alice.of(CallAnswered) and self.bob.of(CallConfirmed)))
        return client, server

    def finish(self) -> None:
        """Let everything run out; nothing may be left."""
        self.net.run(seconds(400))
        for node in (self.alice, self.bob):
            assert node.idle, (node.ua.timers, node.ua.sessions, node.ua.transactions, node.ua.dialogs)


@pytest.fixture
def net() -> SipNetwork:
    return SipNetwork(seed=7)


@pytest.fixture
def pair(net: SipNetwork) -> Pair:
    return Pair(net, net.node("10.0.0.1"), net.node("10.0.0.2"))


@pytest.fixture
def bob(net: SipNetwork) -> SipNode:
    return net.node("10.0.0.2")


@pytest.fixture
def stranger(net: SipNetwork) -> Stranger:
    return net.stranger("10.0.0.9")


@pytest.fixture
def offer() -> bytes:
    return OFFER


@pytest.fixture
def answer() -> bytes:
    return ANSWER
