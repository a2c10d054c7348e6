"""Names, numbers, digits and reasons."""

import pytest

from trunkline.telephony.legs.sip import Trunk
from trunkline.telephony.legs.sip.info import (
    MAX_HEADERS,
    MAX_VALUE,
    dtmf_digit,
    headers_of_interest,
    inbound_info,
    reason_header,
    reason_text,
    user_of,
)
from trunkline.telephony.sip.proto import Peer, Request, parse_uri
from trunkline.telephony.sip.proto.message import parse_head


def request(*lines: str, uri: str = "sip:%2B4930@h;user=phone") -> Request:
    head = "\r\n".join([f"INVITE {uri} SIP/2.0", "Call-ID: c", "From: Ann <sip:+491;cpc=x@h>;tag=1", *lines])
    message = parse_head(head.encode())
    assert isinstance(message, Request)
    return message


@pytest.mark.parametrize(
    ("uri", "user"),
    [
        ("sip:%2B49%20x;isub=1@h", "+49 x"),
        ("sip:h", ""),
        ("tel:+49-30(1)", "+49301"),
        ("urn:service:sos", "urn:service:sos"),
        ("sip:%fc@h", "ü"),
    ],
)
def test_user_of(uri: str, user: str) -> None:
    assert user_of(parse_uri(uri)) == user


def test_p_asserted_identity_counts_only_on_trusted_trunks() -> None:
    peer = Peer("TCP", "10.0.0.1", 5062)
    message = request("P-Asserted-Identity: Real <sip:+999@h>, <tel:+999>")
    info = inbound_info(message, peer, Trunk("t", trusted=True))
    assert (info.ani, info.display_name, info.dnis, info.source) == ("+999", "Real", "+4930", "10.0.0.1:5062")
    assert inbound_info(message, peer, Trunk("t")).ani == "+491"
    broken = request("P-Asserted-Identity: <")
    assert inbound_info(broken, peer, Trunk("t", trusted=True)).ani == "+491"
    assert inbound_info(request(), peer, Trunk("t", trusted=True)).ani == "+491"


def test_headers_of_interest_are_bounded() -> None:
    found = headers_of_interest(
        request(
            "X-A: 1",
            "x-a: 2",
            "User-To-User: abc;encoding=hex",
            "Subject: hi",
            "Accept: x/y",
            "X-Long: " + "z" * 5000,
        )
    )
    assert found["x-a"] == "1, 2"
    assert found["user-to-user"] == "abc;encoding=hex"
    assert "accept" not in found
    assert len(found["x-long"]) == MAX_VALUE
    many = headers_of_interest(request(*(f"X-{n}: {n}" for n in range(100))))
    assert len(many) == MAX_HEADERS


def test_digits() -> None:
    assert dtmf_digit("application/dtmf-relay", b"Duration=1\r\nsignal = D\r\n") == "D"
    assert dtmf_digit("application/dtmf-relay", b"Signal=10") == "*"
    assert dtmf_digit("application/dtmf", b" 4\r\n") == "4"
    assert dtmf_digit("application/dtmf", b"\xff") == ""
    assert dtmf_digit("application/dtmf-relay", b"Signal=99") == ""


def test_reasons() -> None:
    assert reason_header("") == ""
    assert reason_header('say "x"\r\n') == 'SIP;cause=200;text="say x"'
    assert reason_header("Q.850;cause=16") == "Q.850;cause=16"
    assert reason_text('Q.850;cause=16;text="Normal clearing"') == "Normal clearing"
    assert reason_text("Busy Here") == "Busy Here"
