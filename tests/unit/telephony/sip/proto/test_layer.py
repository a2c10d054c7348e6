"""Matching messages to transactions, where responses go, and the bound."""

import random
from collections import Counter

import pytest

from trunkline.model import Nanos, seconds
from trunkline.telephony.sip.proto.entropy import Ids
from trunkline.telephony.sip.proto.errors import BadMessage
from trunkline.telephony.sip.proto.layer import TransactionLayer, note_source, response_peer
from trunkline.telephony.sip.proto.message import Request, Response, parse_head, response_to
from trunkline.telephony.sip.proto.timers import Timers, Timing
from trunkline.telephony.sip.proto.transport import Peer

SOURCE = Peer("UDP", "10.0.0.9", 5070)
NOW = Nanos(0)


class User:
    def __init__(self) -> None:
        self.seen: list[object] = []

    def response(self, response: Response, now: Nanos) -> None:
        self.seen.append(response.status)

    def failed(self, *, timeout: bool, now: Nanos) -> None:
        self.seen.append(timeout)


@pytest.fixture
def sent() -> list[tuple[Request | Response, Peer, str]]:
    return []


@pytest.fixture
def layer(sent: list[tuple[Request | Response, Peer, str]]) -> TransactionLayer:
    return TransactionLayer(
        timers=Timers(),
        timing=Timing(),
        ids=Ids(random.Random(1).randbytes),
        transmit=lambda message, peer, token, now: sent.append((message, peer, token)),
        counters=Counter(),
        limit=3,
    )


def make(
    method: str = "INVITE",
    via: str = "SIP/2.0/UDP 10.0.0.9:5070;branch=z9hG4bKx",
    cseq: str = "",
    to: str = "<sip:a@b>",
    call_id: str = "c",
) -> Request:
    message = parse_head(
        f"{method} sip:a@b SIP/2.0\r\nVia: {via}\r\nFrom: <sip:x@y>;tag=1\r\nTo: {to}\r\nCall-ID: {call_id}\r\n"
        f"CSeq: {cseq or '1 ' + method}".encode()
    )
    assert isinstance(message, Request)
    return message


def test_a_response_finds_its_request_by_branch_and_method(layer: TransactionLayer) -> None:
    user = User()
    request = make("BYE")
    layer.request(request, SOURCE, user, NOW)
    assert layer.response(response_to(request, 100), NOW)
    other = make("INFO")
    assert not layer.response(response_to(other, 200), NOW)
    foreign = make("BYE", via="SIP/2.0/UDP 10.0.0.8:5070;branch=z9hG4bKx")
    assert not layer.response(response_to(foreign, 200), NOW), "the branch is ours but the sender is not"
    assert layer.response(response_to(request, 200), NOW)
    assert user.seen == [100, 200]


def test_a_response_with_more_vias_is_for_somebody_else(layer: TransactionLayer) -> None:
    request = make(via="SIP/2.0/UDP a;branch=z9hG4bK1, SIP/2.0/UDP b")
    with pytest.raises(BadMessage, match="another hop"):
        layer.response(response_to(request, 200), NOW)


def test_a_request_finds_its_transaction_by_branch_sender_and_method(layer: TransactionLayer) -> None:
    transaction = layer.serve(make(), SOURCE, NOW)
    assert layer.find(make()) is transaction
    assert layer.find(make("ACK")) is transaction
    assert layer.find(make("CANCEL")) is None
    assert layer.find(make("CANCEL"), "INVITE") is transaction
    assert layer.find(make(via="SIP/2.0/UDP 10.0.0.9:5071;branch=z9hG4bKx")) is None
    assert layer.find(make(via="SIP/2.0/UDP 10.0.0.9:5070;branch=Z9HG4bKX")) is transaction


@pytest.mark.parametrize("branch", ["", ";branch=z9hG4bK", ";branch=old-style"])
def test_requests_of_rfc_2543_match_by_their_ids(layer: TransactionLayer, branch: str) -> None:
    via = f"SIP/2.0/UDP 10.0.0.9{branch}"
    transaction = layer.serve(make(via=via), SOURCE, NOW)
    assert layer.find(make(via=via)) is transaction
    assert layer.find(make("ACK", via=via, to="<sip:a@b>;tag=ours")) is transaction
    assert layer.find(make("CANCEL", via=via), "INVITE") is transaction
    assert layer.find(make(via=via, call_id="other")) is None
    assert layer.find(make(via=via, cseq="2 INVITE")) is None


def test_a_request_that_came_by_two_paths_is_merged(layer: TransactionLayer) -> None:
    first = layer.serve(make(), SOURCE, NOW)
    again = make(via="SIP/2.0/UDP proxy2;branch=z9hG4bKother")
    assert layer.merged(again)
    assert not layer.merged(make(to="<sip:a@b>;tag=in-dialog"))
    second = layer.serve(again, SOURCE, NOW)
    second.end()
    assert layer.merged(make(via="SIP/2.0/UDP proxy3;branch=z9hG4bKthird")), "the first is still there"
    first.end()
    assert not layer.merged(again)
    assert len(layer) == 0


def test_the_bound_is_over_both_sides(layer: TransactionLayer) -> None:
    layer.serve(make(), SOURCE, NOW)
    layer.request(make("BYE"), SOURCE, User(), NOW)
    assert not layer.full
    layer.serve(make("INFO"), SOURCE, NOW)
    assert layer.full
    assert len(layer) == 3


def test_transport_failures_reach_their_transaction(layer: TransactionLayer) -> None:
    user = User()
    transaction = layer.request(make("BYE"), SOURCE, user, NOW)
    layer.transport_failed("nobody", NOW)
    layer.transport_failed(transaction.token, NOW)
    assert user.seen == [False]
    assert len(layer) == 0


def test_a_stateless_answer_goes_where_a_stateful_one_would(
    layer: TransactionLayer, sent: list[tuple[Request | Response, Peer, str]]
) -> None:
    request = make(via="SIP/2.0/UDP 10.0.0.9:6000;branch=z9hG4bKx")
    layer.stateless(response_to(request, 503), request, SOURCE, NOW)
    assert sent[-1][1:] == (Peer("UDP", "10.0.0.9", 6000), "")
    broken = make(via="nonsense")
    layer.stateless(response_to(broken, 400), broken, SOURCE, NOW)
    assert sent[-1][1] == SOURCE
    assert len(layer) == 0


def test_all_transactions_end_by_themselves(layer: TransactionLayer) -> None:
    layer.serve(make("INFO"), SOURCE, NOW)
    layer.request(make("BYE"), SOURCE, User(), NOW)
    while (when := layer.timers.deadline()) is not None:
        layer.timers.fire(when)
        assert when <= seconds(33)
    assert len(layer) == 0


@pytest.mark.parametrize(
    ("via", "expected"),
    [
        ("SIP/2.0/UDP 10.0.0.9:5070;rport", "SIP/2.0/UDP 10.0.0.9:5070;rport=5070;received=10.0.0.9"),
        ("SIP/2.0/UDP host.example.com", "SIP/2.0/UDP host.example.com;received=10.0.0.9"),
        ("SIP/2.0/UDP 10.0.0.9:1;branch=a", "SIP/2.0/UDP 10.0.0.9:1;branch=a"),
    ],
)
def test_received_and_rport_are_noted(via: str, expected: str) -> None:
    request = make(via=via)
    note_source(request, SOURCE)
    assert str(request.via) == expected


def test_responses_go_back_to_the_source() -> None:
    via = make(via="SIP/2.0/UDP evil.example.com:99;maddr=10.9.9.9;rport").via
    assert response_peer(via, SOURCE) == SOURCE
    without_rport = make(via="SIP/2.0/UDP x;maddr=10.9.9.9").via
    assert response_peer(without_rport, SOURCE) == Peer("UDP", "10.0.0.9", 5060)
    stream = Peer("TCP", "10.0.0.9", 40000, 7)
    assert response_peer(without_rport, stream) == stream
