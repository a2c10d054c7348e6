"""Where other stacks failed on the wire: each failure by name, on the virtual clock."""

from typing import Any

import pytest

from trunkline.model import seconds
from trunkline.telephony.sip.proto import (
    CallAnswered,
    CallConfirmed,
    CallEnded,
    CallProgress,
    IncomingCall,
    InfoReceived,
    OfferAnswered,
    OfferReceived,
    ReferReceived,
    Request,
    Response,
    Send,
    UaConfig,
    parse_uri,
)
from trunkline.telephony.sip.proto.grammar import readable
from trunkline.testing.sipnet import SipNetwork, SipNode, Stranger


def sent_at(net: SipNetwork, method_or_status: Any, start: Any = None) -> Any:
    """Times in seconds at which a method, or a status to an INVITE, left."""
    times = []
    for when, _, _, message in net.wire:
        if isinstance(message, Request):
            hit = message.method == method_or_status
        else:
            hit = message.status == method_or_status and message.cseq.method == "INVITE"
        if hit:
            times.append((when - (start if start is not None else 0)) / 1e9)
    return times


# --- the first five ---------------------------------------------------------------------------------------


def test_latin1_byte_in_a_display_name(
    net: SipNetwork, bob: SipNode, stranger: Stranger, offer: bytes
) -> None:
    name = b'"J\xfcrgen M\xfcller" '
    stranger.send(bob, stranger.request("INVITE", name=name, body=offer))
    session = bob.last(IncomingCall).session
    assert readable(session.request.from_.display) == "Jürgen Müller"
    session.answer(offer, net.now)
    bob.kick()
    ok = stranger.responses()[-1]
    assert ok.status == 200
    assert ok.headers.raw("from") == name + b"<sip:stranger@10.0.0.9>;tag=stranger"


def test_latin1_byte_in_an_unquoted_display_name(bob: SipNode, stranger: Stranger, offer: bytes) -> None:
    stranger.send(bob, stranger.request("INVITE", name=b"J\xfcrgen ", body=offer))
    assert readable(bob.last(IncomingCall).session.request.from_.display) == "Jürgen"


def test_udp_invite_without_content_length(bob: SipNode, stranger: Stranger, offer: bytes) -> None:
    stranger.send(bob, stranger.request("INVITE", body=offer, length=False))
    assert bob.last(IncomingCall).session.offer == offer
    assert [response.status for response in stranger.responses()] == [100]


@pytest.mark.parametrize("transport", ["", ";transport=tcp"])
def test_2xx_is_retransmitted_until_the_ack(pair: Any, answer: bytes, transport: str) -> None:
    pair.transport = transport
    net = pair.net
    lost: list[bytes] = []

    def lose_acks(node: SipNode, item: Send) -> bytes | None:
        if item.data.startswith(b"ACK"):
            lost.append(item.data)
            return None
        return item.data

    net.tamper = lose_acks
    pair.dial()
    server = pair.incoming()
    start = net.now
    server.answer(answer, net.now)
    pair.bob.kick()
    net.run(seconds(40))
    assert sent_at(net, 200, start) == [0, 0.5, 1.5, 3.5, 7.5, 11.5, 15.5, 19.5, 23.5, 27.5, 31.5]
    assert len(lost) == 11, "each repeated 2xx is acknowledged again"
    ended = pair.bob.last(CallEnded)
    assert (ended.cause, ended.by_peer) == ("timeout", True)
    assert sent_at(net, "BYE", start) == [32.0], "a dialog without ACK is ended with BYE"
    pair.finish()


def test_2xx_retransmission_stops_at_the_ack(pair: Any, answer: bytes) -> None:
    pair.establish()
    pair.net.run(seconds(60))
    assert len(sent_at(pair.net, 200)) == 1


def test_request_uri_is_not_escaped_a_second_time(pair: Any) -> None:
    target = "sip:%2B49%20x;phone-context=a%40b@10.0.0.2;user=phone;x=%25"
    pair.alice.ua.invite(parse_uri(target), now=pair.net.now)
    pair.alice.kick()
    invite = pair.net.wire[0][3]
    assert invite.uri_text == target
    session = pair.incoming()
    assert session.request.uri_text == target
    assert session.request.to.uri == parse_uri(target)


def test_unknown_method_gets_501_with_allow(bob: SipNode, stranger: Stranger) -> None:
    stranger.send(bob, stranger.request("FROBNICATE"))
    response = stranger.responses()[0]
    assert response.status == 501
    assert "INVITE" in response.headers.views("allow")


def test_known_method_that_is_not_for_us_gets_405_with_allow(bob: SipNode, stranger: Stranger) -> None:
    stranger.send(bob, stranger.request("REGISTER"))
    response = stranger.responses()[0]
    assert response.status == 405
    assert "INVITE" in response.headers.views("allow")


def test_unknown_require_gets_420_with_unsupported(bob: SipNode, stranger: Stranger, offer: bytes) -> None:
    stranger.send(
        bob, stranger.request("INVITE", headers=("Require: 100rel, made-up", "Require: other"), body=offer)
    )
    response = stranger.responses()[-1]
    assert response.status == 420
    assert response.headers.views("unsupported") == ("100rel", "made-up", "other")
    assert not bob.of(IncomingCall)


def test_ack_for_2xx_follows_route_set_and_remote_target(
    net: SipNetwork, stranger: Stranger, answer: bytes
) -> None:
    alice = net.node("10.0.0.1")
    proxy = net.stranger("10.0.0.5")
    alice.ua.invite(parse_uri("sip:1000@10.0.0.9"), body=answer, now=net.now)
    alice.kick()
    invite = stranger.requests("INVITE")[0]
    headers = (
        "Record-Route: <sip:10.0.0.6;lr;id=2>, <sip:10.0.0.5;lr;id=1>",
        "Contact: <sip:real@192.0.2.77:5099;gr=x%20y>",
    )
    stranger.send(alice, stranger.respond(invite, 200, tag="b", headers=headers, body=answer))
    ack = proxy.requests("ACK")[0]
    assert ack.uri_text == "sip:real@192.0.2.77:5099;gr=x%20y"
    assert [str(route) for route in ack.headers.views("route")] == [
        "<sip:10.0.0.5;lr;id=1>",
        "<sip:10.0.0.6;lr;id=2>",
    ]
    assert ack.via.branch != invite.via.branch, "the ACK of a 2xx is a transaction of its own"
    assert ack.cseq.number == invite.cseq.number
    assert ack.to.tag == "b"


def test_ack_for_failure_follows_the_transaction(net: SipNetwork, stranger: Stranger, answer: bytes) -> None:
    alice = net.node("10.0.0.1")
    alice.ua.invite(parse_uri("sip:1000@10.0.0.9"), body=answer, now=net.now)
    alice.kick()
    invite = stranger.requests("INVITE")[0]
    headers = ("Record-Route: <sip:10.0.0.5;lr>", "Contact: <sip:elsewhere@192.0.2.77>")
    stranger.send(alice, stranger.respond(invite, 486, tag="busy", headers=headers))
    ack = stranger.requests("ACK")[0]
    assert ack.uri_text == invite.uri_text
    assert str(ack.via) == str(invite.via)
    assert "route" not in ack.headers
    assert ack.to.tag == "busy"


# --- the others that are in scope -------------------------------------------------------------------------


def test_cancel_crossing_200_is_acknowledged_and_ended_with_bye(pair: Any, answer: bytes) -> None:
    net = pair.net
    client = pair.dial()
    server = pair.incoming()
    server.progress(net.now)
    pair.bob.kick()
    net.until(lambda: bool(pair.alice.of(CallProgress)))
    # Both act in the same instant: the 200 and the CANCEL pass each other on the wire.
    server.answer(answer, net.now)
    client.cancel(net.now)
    pair.bob.kick()
    pair.alice.kick()
    net.run(seconds(1))
    methods = [m.method for _, src, _, m in net.wire if isinstance(m, Request) and src.startswith("10.0.0.1")]
    assert methods == ["INVITE", "CANCEL", "ACK", "BYE"]
    assert [event.cause for event in pair.alice.of(CallEnded)] == ["cancel"]
    assert [event.cause for event in pair.bob.of(CallEnded)] == ["bye"]
    assert not pair.alice.of(CallAnswered), "a cancelled call is not reported as answered"
    pair.finish()


def test_cancel_waits_for_a_provisional_response(net: SipNetwork, stranger: Stranger, answer: bytes) -> None:
    alice = net.node("10.0.0.1")
    session = alice.ua.invite(parse_uri("sip:1000@10.0.0.9"), body=answer, now=net.now)
    alice.kick()
    session.cancel(net.now)
    alice.kick()
    assert not stranger.requests("CANCEL")
    invite = stranger.requests("INVITE")[0]
    stranger.send(alice, stranger.respond(invite, 100))
    cancel = stranger.requests("CANCEL")[0]
    assert str(cancel.via) == str(invite.via)
    assert cancel.uri_text == invite.uri_text
    stranger.send(alice, stranger.respond(cancel, 200, tag="b"))
    stranger.send(alice, stranger.respond(invite, 487, tag="b"))
    assert stranger.requests("ACK")
    net.run(seconds(400))
    assert alice.idle


def test_lost_bye_ends_our_side_all_the_same(pair: Any) -> None:
    client, _ = pair.establish()
    pair.net.tamper = lambda node, item: None if item.data.startswith(b"BYE") else item.data
    client.hang_up(pair.net.now)
    pair.alice.kick()
    pair.net.run(seconds(64))
    assert pair.alice.idle
    assert pair.bob.ua.sessions == 1, "the peer's side has no way to know; RTP silence ends it"


@pytest.mark.parametrize(
    "target",
    [
        "sip:queue@10.0.0.7:5090;transport=tcp;user=phone?Replaces=a%40b%3Bto-tag%3D1&X-Data=1%202",
        "sips:%61lice@example.com",
        "tel:+49-30-123456;phone-context=example.com;ext=7",
        "sip:+4930123@[2001:db8::1]:5070;isub=1",
    ],
)
def test_refer_target_is_kept_exactly(pair: Any, target: str) -> None:
    client, _ = pair.establish()
    client.refer.send(target, pair.net.now)
    pair.alice.kick()
    pair.net.until(lambda: bool(pair.bob.of(ReferReceived)))
    refer = next(m for *_, m in pair.net.wire if isinstance(m, Request) and m.method == "REFER")
    assert refer.headers.raw("refer-to") == f"<{target}>".encode()
    assert pair.bob.last(ReferReceived).refer.target == target


def test_second_early_dialog_from_a_forking_proxy(net: SipNetwork, stranger: Stranger, answer: bytes) -> None:
    alice = net.node("10.0.0.1")
    session = alice.ua.invite(parse_uri("sip:1000@10.0.0.9"), body=answer, now=net.now)
    alice.kick()
    invite = stranger.requests("INVITE")[0]

    def branch(status: int, tag: Any, body: bytes = b"") -> None:
        contact = (f"Contact: <sip:{tag}@10.0.0.9>",)
        stranger.send(alice, stranger.respond(invite, status, tag=tag, headers=contact, body=body))

    branch(180, "one")
    branch(183, "two", answer)
    assert [event.tag for event in alice.of(CallProgress)] == ["one", "two"]
    assert session.early_dialogs == 2
    branch(200, "two", answer)
    branch(200, "one", answer)
    branch(200, "two", answer)
    acks = [(ack.to.tag, ack.uri_text) for ack in stranger.requests("ACK")]
    assert acks == [("two", "sip:two@10.0.0.9"), ("one", "sip:one@10.0.0.9"), ("two", "sip:two@10.0.0.9")]
    assert [bye.to.tag for bye in stranger.requests("BYE")] == ["one"], "the second branch is hung up"
    assert len(alice.of(CallAnswered)) == 1
    assert alice.ua.dialogs == 1


def test_requests_inside_the_dialog_before_the_ack(
    net: SipNetwork, bob: SipNode, stranger: Stranger, offer: bytes
) -> None:
    stranger.send(bob, stranger.request("INVITE", body=offer))
    session = bob.last(IncomingCall).session
    session.answer(offer, net.now)
    bob.kick()
    tag = stranger.responses()[-1].to.tag
    to = f"<sip:1000@10.0.0.2>;tag={tag}"
    info = stranger.request(
        "INFO",
        to=to,
        cseq="2 INFO",
        branch="z9hG4bK-2",
        body=b"Signal=5\r\n",
        headers=("Content-Type: application/dtmf-relay",),
    )
    stranger.send(bob, info)
    assert stranger.responses("INFO")[-1].status == 200
    assert bob.of(InfoReceived)
    stranger.send(bob, stranger.request("INVITE", to=to, cseq="3 INVITE", branch="z9hG4bK-3", body=offer))
    assert bob.of(OfferReceived), "the first offer is settled, so another is welcome before the ACK"
    stranger.send(bob, stranger.request("BYE", to=to, cseq="4 BYE", branch="z9hG4bK-4"))
    assert stranger.responses("BYE")[-1].status == 200
    assert bob.last(CallEnded).cause == "bye"
    net.run(seconds(400))
    assert bob.idle


def test_callee_does_not_send_bye_before_the_ack(pair: Any, answer: bytes) -> None:
    net = pair.net
    net.tamper = lambda node, item: None if item.data.startswith(b"ACK") else item.data
    pair.dial()
    server = pair.incoming()
    server.answer(answer, net.now)
    pair.bob.kick()
    server.hang_up(net.now)
    pair.bob.kick()
    net.run(seconds(3))
    assert not sent_at(net, "BYE")
    net.tamper = None
    net.run(seconds(5))
    assert len(sent_at(net, "BYE")) == 1
    pair.finish()


def test_offer_in_the_200_and_answer_in_the_ack(pair: Any, offer: bytes, answer: bytes) -> None:
    client = pair.dial(offer=b"")
    server = pair.incoming()
    assert server.offer == b""
    server.answer(offer, pair.net.now)
    pair.bob.kick()
    pair.net.until(lambda: bool(pair.alice.of(CallAnswered)))
    answered = pair.alice.last(CallAnswered)
    assert answered.is_offer
    assert answered.body == offer
    pair.net.run(seconds(2))
    assert not sent_at(pair.net, "ACK"), "the ACK waits for the answer"
    client.acknowledge(answer, pair.net.now)
    pair.alice.kick()
    pair.net.until(lambda: bool(pair.bob.of(CallConfirmed)))
    assert pair.bob.last(CallConfirmed).body == answer


@pytest.mark.parametrize("status", [200, 488, 500])
def test_a_mid_call_reinvite_never_ends_the_call(pair: Any, offer: bytes, status: int) -> None:
    client, server = pair.establish()

    def react(event: Any) -> None:
        if isinstance(event, OfferReceived):
            if status == 200:
                event.session.accept_offer(offer, pair.net.now)
            else:
                event.session.refuse_offer(status, pair.net.now)

    pair.bob.on_event = react
    for _ in range(5):
        client.reinvite(offer, pair.net.now)
        pair.alice.kick()
        pair.net.run(seconds(10))
    assert [event.status for event in pair.alice.of(OfferAnswered)] == [status] * 5
    assert not pair.alice.of(CallEnded)
    assert not pair.bob.of(CallEnded)
    assert client.confirmed
    assert server.confirmed


def test_full_tables_refuse_with_503_and_count(net: SipNetwork, stranger: Stranger, offer: bytes) -> None:
    bob = net.node("10.0.0.2", config=UaConfig(max_transactions=4, max_sessions=2))
    for number in range(8):
        request = stranger.request("INVITE", branch=f"z9hG4bK-{number}", call_id=f"call-{number}", body=offer)
        stranger.send(bob, request)
    final = [response for response in stranger.responses() if response.status >= 200]
    assert [response.status for response in final] == [503] * 6
    assert all(response.headers.view("retry-after") == 5 for response in final)
    assert bob.ua.counters["overload_sessions"] == 2
    assert bob.ua.counters["overload_transactions"] == 4
    assert bob.ua.transactions == 4
    again = stranger.request("INVITE", branch="z9hG4bK-7", call_id="call-7", body=offer)
    stranger.send(bob, again)
    assert stranger.responses()[-1].to.tag == final[-1].to.tag, "a stateless answer is the same every time"


def test_glare_is_settled_by_491_and_different_waits(pair: Any, offer: bytes) -> None:
    client, server = pair.establish()

    def accept(event: Any) -> None:
        if isinstance(event, OfferReceived):
            event.session.accept_offer(offer, pair.net.now)

    pair.alice.on_event = pair.bob.on_event = accept
    start = pair.net.now
    client.reinvite(offer, start)
    server.reinvite(offer, start)
    pair.alice.kick()
    pair.bob.kick()
    pair.net.run(seconds(10))
    assert sent_at(pair.net, 491)
    retries = [
        (source, (when - start) / 1e9)
        for when, source, _, m in pair.net.wire
        if isinstance(m, Request) and m.method == "INVITE" and when > start
    ]
    for source, when in retries:
        low, high = (2.1, 4.0) if source.startswith("10.0.0.1") else (0.0, 2.0)
        assert low <= when - 0.01 <= high + 0.02
    assert pair.alice.last(OfferAnswered).status == 200
    assert pair.bob.last(OfferAnswered).status == 200
    assert client.confirmed
    assert server.confirmed


def test_unknown_dialog_gets_481(bob: SipNode, stranger: Stranger) -> None:
    for number, method in enumerate(("BYE", "INFO", "INVITE", "NOTIFY", "REFER")):
        request = stranger.request(
            method, to="<sip:1000@10.0.0.2>;tag=nobody", branch=f"z9hG4bK-{number}", call_id=f"c{number}"
        )
        stranger.send(bob, request)
        assert stranger.responses(method)[-1].status == 481
    assert bob.ua.counters["unknown_dialog"] == 5


def test_stranger_cannot_enter_a_dialog_with_the_wrong_tag(pair: Any, net: SipNetwork) -> None:
    _, server = pair.establish()
    thief = net.stranger("10.0.0.66")
    to = f"<sip:1000@10.0.0.2>;tag={server.dialog.local.tag}"
    thief.send(pair.bob, thief.request("BYE", to=to, call_id=server.call_id, cseq="99 BYE"))
    assert thief.responses()[0].status == 481
    assert server.confirmed


def test_100_trying_leaves_in_the_same_instant(
    net: SipNetwork, bob: SipNode, stranger: Stranger, offer: bytes
) -> None:
    before = net.now
    stranger.send(bob, stranger.request("INVITE", body=offer))
    assert net.now == before
    assert isinstance(stranger.received[0], Response)
    assert stranger.received[0].status == 100
