"""Errors say what to answer."""

from trunkline.model import RemoteProtocolError
from trunkline.telephony.sip.proto.errors import BadHeader, BadMessage, BadSdp, BadUri


def test_all_are_the_peers_fault_and_carry_a_status() -> None:
    for kind in (BadMessage, BadUri, BadSdp):
        error = kind("x", status=488)
        assert isinstance(error, RemoteProtocolError)
        assert error.status == 488
    header = BadHeader("via", "is missing")
    assert (header.header, header.status, str(header)) == ("via", 400, "via: is missing")
