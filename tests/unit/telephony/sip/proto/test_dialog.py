"""Dialogs: ids, sequence, route sets, remote targets, next hops."""

import pytest

from trunkline.telephony.sip.proto.dialog import (
    MAX_ROUTES,
    Order,
    client_dialog,
    confirmed,
    peer_of,
    server_dialog,
)
from trunkline.telephony.sip.proto.errors import BadHeader
from trunkline.telephony.sip.proto.message import Request, Response, parse_head
from trunkline.telephony.sip.proto.transport import Peer
from trunkline.telephony.sip.proto.uri import parse_uri

PEER = Peer("UDP", "10.0.0.9", 5060)


def request(method: str = "INVITE", cseq: int = 5, *lines: str) -> Request:
    message = parse_head(
        "\r\n".join(
            [
                f"{method} sip:us@10.0.0.2 SIP/2.0",
                "Via: SIP/2.0/UDP 10.0.0.9;branch=z9hG4bK1",
                "From: <sip:them@x>;tag=their",
                "To: <sip:us@y>",
                "Call-ID: c",
                f"CSeq: {cseq} {method}",
                *(lines or ("Contact: <sip:them@10.0.0.9:5070>",)),
            ]
        ).encode()
    )
    assert isinstance(message, Request)
    return message


def response(*lines: str, tag: str = "theirs") -> Response:
    text = "\r\n".join(["SIP/2.0 180 Ringing", f"To: <sip:us@y>;tag={tag}", *lines])
    message = parse_head(text.encode())
    assert isinstance(message, Response)
    return message


def test_the_called_side() -> None:
    invite = request(
        "INVITE", 5, "Record-Route: <sip:p1;lr>, <sip:p2;lr>", "Contact: <sip:them@10.0.0.9:5070>"
    )
    dialog = server_dialog(invite, "ours", PEER)
    assert dialog.key == ("c", "ours", "their")
    assert not dialog.initiator
    bye = dialog.request("BYE")
    assert bye.uri_text == "sip:them@10.0.0.9:5070"
    assert [str(route.uri) for route in bye.headers.views("route")] == ["sip:p1;lr", "sip:p2;lr"]
    assert (bye.from_.tag, bye.to.tag, bye.cseq.number) == ("ours", "their", 1)
    assert dialog.next_hop() == Peer("UDP", "p1", 5060)


def test_the_calling_side_reverses_the_route_set() -> None:
    invite = request()
    early = client_dialog(
        invite, response("Record-Route: <sip:p1;lr>, <sip:p2;lr>", "Contact: <sip:b@10.1.1.1>"), PEER
    )
    assert [str(route.uri) for route in early.routes] == ["sip:p2;lr", "sip:p1;lr"]
    assert early.initiator
    assert early.remote_seq == -1
    assert early.request("BYE").cseq.number == 6
    final = confirmed(early, response("Record-Route: <sip:p3;lr>"))
    assert [str(route.uri) for route in final.routes] == ["sip:p3;lr"]
    assert str(final.target) == "sip:b@10.1.1.1", "a 2xx without Contact keeps the early target"
    assert str(client_dialog(invite, response(), PEER).target) == "sip:us@10.0.0.2"


def test_a_strict_router_gets_itself_in_the_request_uri() -> None:
    dialog = server_dialog(
        request("INVITE", 5, "Record-Route: <sip:old>, <sip:p2;lr>", "Contact: <sip:them@10.0.0.9>"),
        "o",
        PEER,
    )
    bye = dialog.request("BYE")
    assert bye.uri_text == "sip:old"
    assert [str(route.uri) for route in bye.headers.views("route")] == ["sip:p2;lr", "sip:them@10.0.0.9"]


def test_sequence_numbers() -> None:
    dialog = server_dialog(request(), "o", PEER)
    assert dialog.check_order(request("INFO", 6)) is Order.IN_ORDER
    assert dialog.check_order(request("INFO", 9)) is Order.IN_ORDER
    assert dialog.check_order(request("INFO", 8)) is Order.OUT_OF_ORDER
    ack = dialog.request("ACK", cseq=5)
    assert ack.cseq.number == 5
    assert dialog.local_seq == 0, "ACK takes no number"


def test_the_target_is_refreshed_by_sip_contacts_only() -> None:
    dialog = server_dialog(request(), "o", PEER)
    dialog.refresh_target(request("INVITE", 6, "Contact: <sip:new@10.0.0.8>"))
    dialog.refresh_target(request("INVITE", 7, "Contact: <tel:+1>"))
    dialog.refresh_target(request("INVITE", 8, "X: y"))
    assert str(dialog.target) == "sip:new@10.0.0.8"


@pytest.mark.parametrize(
    ("lines", "header"),
    [
        (("Contact: <tel:+1>",), "contact"),
        (("Contact: <sip:a@b>", "Record-Route: <tel:+1>"), "record-route"),
        (
            ("Contact: <sip:a@b>", "Record-Route: " + ", ".join(["<sip:p;lr>"] * (MAX_ROUTES + 1))),
            "record-route",
        ),
    ],
)
def test_dialogs_that_could_not_be_answered_are_refused(lines: tuple[str, ...], header: str) -> None:
    with pytest.raises(BadHeader) as caught:
        server_dialog(request("INVITE", 5, *lines), "o", PEER)
    assert caught.value.header == header


def test_a_peer_of_rfc_2543_is_reached_by_its_from() -> None:
    assert str(server_dialog(request("INVITE", 5, "X: y"), "o", PEER).target) == "sip:them@x"


@pytest.mark.parametrize(
    ("uri", "peer"),
    [
        ("sip:h", Peer("UDP", "h", 5060)),
        ("sip:h:99;transport=UDP", Peer("UDP", "h", 99)),
        ("sip:a@h;transport=TCP", Peer("TCP", "h", 5060)),
        ("sips:h", Peer("TLS", "h", 5061)),
        ("sip:h;transport=tls", Peer("TLS", "h", 5061)),
        ("sip:h;maddr=10.9.9.9", Peer("UDP", "h", 5060)),
    ],
)
def test_where_a_uri_points(uri: str, peer: Peer) -> None:
    assert peer_of(parse_uri(uri)) == peer


def test_a_stream_is_reused_for_the_same_transport() -> None:
    stream = Peer("TCP", "10.0.0.9", 40000, 17)
    assert peer_of(parse_uri("sip:h;transport=tcp"), flow=stream).flow == 17
    assert peer_of(parse_uri("sip:h"), flow=stream).flow == 0


def test_only_sip_can_be_sent_to() -> None:
    with pytest.raises(BadHeader) as caught:
        peer_of(parse_uri("tel:+1"))
    assert caught.value.status == 416
