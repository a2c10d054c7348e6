"""Trunks by source network."""

import pytest

from trunkline.model import ConfigError
from trunkline.telephony.legs.sip import DtmfMode, Strangers, Trunk, TrunkTable, anyone, networks
from trunkline.telephony.media.port import Codec
from trunkline.telephony.sip.proto import Headers, Peer, Request

REQUEST = Request("OPTIONS", "sip:a@b", Headers())


def test_the_longest_prefix_wins_then_the_first() -> None:
    table = TrunkTable(
        (
            Trunk("wide", networks(["10.0.0.0/8", "2001:db8::/32"])),
            Trunk("narrow", networks(["10.1.0.0/16"])),
            Trunk("twin", networks(["10.1.0.0/16"])),
        )
    )

    def name(host: str) -> str | None:
        trunk = table.match(host)
        return trunk.name if trunk else None

    assert name("10.1.2.3") == "narrow"
    assert name("10.2.2.3") == "wide"
    assert name("2001:db8::7") == "wide"
    assert name("::ffff:10.1.0.1") == "narrow"
    assert name("192.0.2.1") is None
    assert name("host.example.com") is None
    assert table.named("twin") is table.trunks[2]
    assert table.named("none") is None


@pytest.mark.parametrize(("strangers", "status"), [(Strangers.REJECT, 403), (Strangers.SILENCE, 0)])
def test_screening(strangers: Strangers, status: int) -> None:
    table = TrunkTable((Trunk("t", networks(["10.0.0.1"])),), strangers=strangers)
    assert table.screen(REQUEST, Peer("UDP", "10.0.0.1", 1)) is None
    refusal = table.screen(REQUEST, Peer("UDP", "10.0.0.2", 1))
    assert refusal is not None
    assert refusal.status == status


def test_anyone_is_everybody() -> None:
    table = anyone(codecs=(Codec.L16,), dtmf=DtmfMode.NONE)
    trunk = table.match("::1")
    assert trunk is not None
    assert trunk is table.match("203.0.113.1")
    assert trunk.capabilities.codecs == (Codec.L16,)
    assert not trunk.capabilities.dtmf


def test_a_wrong_network_is_said_in_words() -> None:
    with pytest.raises(ConfigError, match="is not an address"):
        networks(["10.0.0.0/99"])
