"""Names of the other end."""

from trunkline.telephony.sip.proto.transport import RELIABLE, Peer


def test_peers() -> None:
    assert str(Peer("UDP", "::1", 5060)) == "[::1]:5060"
    assert not Peer("UDP", "a", 1).reliable
    assert Peer("TCP", "a", 1).reliable
    assert {"TCP", "TLS"} == RELIABLE
