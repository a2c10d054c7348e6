"""The user agent: dispatch, OPTIONS, screening, bounds, counting."""

from typing import Any

import pytest

from trunkline.model import Overloaded, seconds
from trunkline.telephony.sip.proto import (
    BadUri,
    CallEnded,
    Health,
    IncomingCall,
    Peer,
    Refusal,
    UaConfig,
    parse_uri,
)
from trunkline.testing.sipnet import SipNetwork, SipNode, Stranger


def test_options_tell_the_truth(net: SipNetwork, stranger: Stranger) -> None:
    health = [Health()]
    bob = net.node("10.0.0.2", health=lambda: health[0])
    stranger.send(bob, stranger.request("OPTIONS"))
    good = stranger.responses()[-1]
    assert good.status == 200
    assert "REFER" in good.headers.views("allow")
    assert good.headers.views("accept")[0].value == "application/sdp"
    health[0] = Health(ok=False, reason='no "audio"\r\n from the engine', retry_after=17)
    stranger.send(bob, stranger.request("OPTIONS", branch="z9hG4bK2", call_id="2"))
    bad = stranger.responses()[-1]
    assert bad.status == 503
    assert bad.headers.view("retry-after") == 17
    assert bad.headers.raw("reason") == b'SIP;cause=503;text="no audio from the engine"'
    health[0] = Health(ok=False)
    stranger.send(bob, stranger.request("OPTIONS", branch="z9hG4bK3", call_id="3"))
    assert "reason" not in stranger.responses()[-1].headers


def test_options_inside_a_dialog(pair: Any, net: SipNetwork) -> None:
    thief = net.stranger("10.0.0.9")
    _, server = pair.establish()
    thief.send(pair.bob, thief.request("OPTIONS", to="<sip:x>;tag=nobody"))
    assert thief.responses()[-1].status == 481
    tag = server.dialog.local.tag
    to = f"<sip:x@y>;tag={tag}"
    inside = thief.request(
        "OPTIONS", to=to, tag=server.dialog.remote.tag, call_id=server.call_id, branch="z9hG4bK2"
    )
    thief.send(pair.bob, inside)
    assert thief.responses()[-1].status == 200
    assert thief.responses()[-1].to.tag == tag


@pytest.mark.parametrize("status", [403, 0])
def test_strangers_begin_nothing(net: SipNetwork, stranger: Stranger, offer: bytes, status: int) -> None:
    refusal = Refusal(status)
    bob = net.node("10.0.0.2", screen=lambda request, peer: refusal if peer.host == "10.0.0.9" else None)
    for method in ("INVITE", "OPTIONS", "BYE", "CANCEL", "ACK", "FOO"):
        stranger.send(bob, stranger.request(method, branch=f"z9hG4bK{method}", body=offer))
    assert {response.status for response in stranger.responses()} == ({403} if status else set())
    assert not stranger.responses("ACK")
    assert bob.ua.counters["screened"] == 6
    assert bob.idle
    stranger.send(bob, b"INVITE  sip:a@b SIP/2.0\r\n" + stranger.request("INVITE").partition(b"\r\n")[2])
    assert 400 not in {response.status for response in stranger.responses()}
    friend = net.stranger("10.0.0.8")
    friend.send(bob, friend.request("INVITE", body=offer))
    assert bob.of(IncomingCall)


def test_junk_is_counted_and_silent(net: SipNetwork, bob: SipNode, stranger: Stranger) -> None:
    for data in (b"junk", b"\xff" * 200, b"SIP/2.0 99999 x\r\n\r\n", b"\x00"):
        stranger.send(bob, data)
    stranger.send(bob, b"\r\n\r\n")
    assert bob.ua.counters["malformed"] == 3
    assert bob.ua.counters["keepalive"] == 2
    assert not stranger.received
    assert bob.idle


def test_a_malformed_request_gets_400(bob: SipNode, stranger: Stranger) -> None:
    stranger.send(bob, stranger.request("INVITE").replace(b"Content-Length: 0", b"Content-Length: 99"))
    assert stranger.responses()[-1].status == 400
    stranger.send(bob, stranger.request("INVITE").replace(b" SIP/2.0\r\nVia", b" SIP/2.0 \r\nVia"))
    assert len(stranger.responses()) == 2
    stranger.send(bob, stranger.request("ACK").replace(b"Content-Length: 0", b"Content-Length: 99"))
    assert len(stranger.responses()) == 2, "an ACK is never answered"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"CSeq: 1 INVITE", b"CSeq: x"),
        (b"<sip:stranger@10.0.0.9>;tag", b"<;tag"),
        (b"UDP 10.0.0.9:5060", b"UDP ;;"),
        (b"Call-ID: stranger-call", b"Call-ID: a b"),
    ],
)
def test_a_bad_header_gets_400_without_a_transaction(
    bob: SipNode, stranger: Stranger, old: Any, new: Any
) -> None:
    stranger.send(bob, stranger.request("INVITE").replace(old, new))
    assert [response.status for response in stranger.received] == [400]
    assert bob.ua.transactions == 0


def test_an_old_style_request_with_bad_ids_gets_400(bob: SipNode, stranger: Stranger) -> None:
    data = stranger.request("INVITE", branch="old").replace(b"CSeq: 1 INVITE", b"CSeq: x")
    stranger.send(bob, data)
    assert [response.status for response in stranger.received] == [400]


def test_a_request_that_came_twice_is_482(bob: SipNode, stranger: Stranger, offer: bytes) -> None:
    stranger.send(bob, stranger.request("INVITE", body=offer))
    stranger.send(bob, stranger.request("INVITE", branch="z9hG4bK-other", body=offer))
    assert [response.status for response in stranger.responses()] == [100, 482]


def test_a_repeated_request_is_answered_from_its_transaction(bob: SipNode, stranger: Stranger) -> None:
    for _ in range(3):
        stranger.send(bob, stranger.request("OPTIONS"))
    assert len({response.to.tag for response in stranger.responses()}) == 1
    assert len(stranger.responses()) == 3
    assert bob.ua.counters["retransmitted_request"] == 2


def test_an_ack_for_nothing_is_ignored(bob: SipNode, stranger: Stranger) -> None:
    stranger.send(bob, stranger.request("ACK"))
    assert bob.ua.counters["stray_ack"] == 1
    stranger.send(bob, stranger.request("OPTIONS"))
    stranger.send(bob, stranger.request("ACK", branch="z9hG4bK-1"))
    assert len(stranger.responses()) == 1


def test_a_cancel_for_nothing_is_481(bob: SipNode, stranger: Stranger) -> None:
    stranger.send(bob, stranger.request("CANCEL"))
    assert stranger.responses()[-1].status == 481


def test_a_cancel_of_a_refused_invite_is_ok(bob: SipNode, stranger: Stranger) -> None:
    stranger.send(bob, stranger.request("INVITE", headers=("Require: x",)))
    stranger.send(bob, stranger.request("CANCEL"))
    assert [response.status for response in stranger.responses()] == [420, 200]


def test_refer_outside_a_dialog_is_declined(bob: SipNode, stranger: Stranger) -> None:
    stranger.send(bob, stranger.request("REFER", headers=("Refer-To: <sip:a@b>",)))
    assert stranger.responses()[-1].status == 603


def test_stray_and_bad_responses_are_counted(net: SipNetwork, bob: SipNode, stranger: Stranger) -> None:
    other = net.node("10.0.0.1")
    other.ua.invite(parse_uri("sip:x@10.0.0.9"), now=net.now)
    other.kick()
    invite = stranger.requests("INVITE")[0]
    stranger.send(bob, stranger.respond(invite, 180))
    assert bob.ua.counters["stray_response"] == 1
    stranger.send(bob, stranger.respond(invite, 180).replace(b"CSeq: 1", b"CSeq: x"))
    stranger.send(bob, stranger.respond(invite, 180).replace(b"SIP/2.0/UDP", b"SIP/2.0/UDP a, SIP/2.0/UDP"))
    assert bob.ua.counters["bad_response"] == 2
    assert bob.idle


def test_requests_inside_calls_pass_a_full_table(net: SipNetwork, stranger: Stranger, offer: bytes) -> None:
    bob = net.node("10.0.0.2", config=UaConfig(max_transactions=2))
    stranger.send(bob, stranger.request("INVITE", body=offer))
    session = bob.events[0].session
    session.answer(offer, net.now)
    bob.kick()
    stranger.send(bob, stranger.request("OPTIONS", branch="z9hG4bK2", call_id="o"))
    stranger.send(bob, stranger.request("OPTIONS", branch="z9hG4bK3", call_id="p"))
    assert stranger.responses("OPTIONS")[-1].status == 503
    to = f"<sip:1000@10.0.0.2>;tag={session.dialog.local.tag}"
    for number in range(4, 9):
        stranger.send(bob, stranger.request("INFO", to=to, branch=f"z9hG4bK{number}", cseq=f"{number} INFO"))
    statuses = [response.status for response in stranger.responses("INFO")]
    assert statuses == [200, 200, 503, 503, 503], "twice the bound, and then no more"


def test_too_many_calls_of_ours(net: SipNetwork, offer: bytes) -> None:
    alice = net.node("10.0.0.1", config=UaConfig(max_sessions=1))
    alice.ua.invite(parse_uri("sip:x@10.0.0.9"), now=net.now)
    with pytest.raises(Overloaded):
        alice.ua.invite(parse_uri("sip:x@10.0.0.9"), now=net.now)
    with pytest.raises(BadUri):
        alice.ua.invite(parse_uri("sip:"), now=net.now)


def test_every_message_can_be_observed(net: SipNetwork, bob: SipNode, stranger: Stranger) -> None:
    seen = []
    bob.ua.observe(seen.append)
    stranger.send(bob, stranger.request("OPTIONS"))
    stranger.send(bob, b"junk")
    assert [(record.sent, record.call_id) for record in seen] == [
        (False, "stranger-call"),
        (True, "stranger-call"),
        (False, ""),
    ]
    assert seen[0].data == stranger.request("OPTIONS")
    assert seen[0].peer == Peer("UDP", "10.0.0.9", 5060)
    bob.ua.observe(None)
    stranger.send(bob, b"junk")
    assert len(seen) == 3


def test_a_session_keeps_its_messages(pair: Any) -> None:
    client, server = pair.establish()
    assert [record.sent for record in client.trace] == [True, False, False, True]
    assert [record.sent for record in server.trace] == [False, True, True, False]
    assert pair.bob.ua.traces == 1
    client.hang_up(pair.net.now)
    pair.alice.kick()
    pair.finish()


def test_counters_have_a_bounded_number_of_names(bob: SipNode, stranger: Stranger) -> None:
    for number in range(100):
        stranger.send(
            bob, stranger.request(f"METHOD{number}", branch=f"z9hG4bK{number}", call_id=f"c{number}")
        )
    assert bob.ua.counters["received_other"] == 100
    assert len(bob.ua.counters) < 20


def test_a_failed_transport_reaches_its_user(net: SipNetwork, offer: bytes) -> None:
    alice = net.node("10.0.0.1")
    alice.ua.invite(parse_uri("sip:x@10.0.0.99;transport=tcp"), body=offer, now=net.now)
    alice.kick()
    net.run(seconds(1))
    assert alice.of(CallEnded)
    assert alice.ua.counters["transport_failed"] == 1


def test_calls_that_are_cancelled_refused_and_acknowledged(
    net: SipNetwork, stranger: Stranger, offer: bytes
) -> None:
    bob = net.node("10.0.0.2", config=UaConfig(max_sessions=1))
    stranger.send(bob, stranger.request("INVITE", body=offer))
    stranger.send(bob, stranger.request("INVITE", branch="z9hG4bK2", call_id="2", body=offer))
    assert stranger.responses()[-1].status == 503
    assert bob.ua.counters["overload_sessions"] == 1
    stranger.send(bob, stranger.request("CANCEL"))
    assert [response.status for response in stranger.responses("CANCEL")] == [200]
    assert stranger.responses("INVITE")[-1].status == 487
    stranger.send(bob, stranger.request("ACK"))
    net.run(seconds(6))
    stranger.send(bob, stranger.request("ACK", branch="z9hG4bK2", call_id="2"))
    net.run(seconds(200))
    assert bob.idle


def test_a_request_for_an_unknown_dialog_is_481(bob: SipNode, stranger: Stranger) -> None:
    stranger.send(bob, stranger.request("BYE"))
    assert stranger.responses()[-1].status == 481
    assert bob.ua.counters["unknown_dialog"] == 1


def test_a_header_that_only_the_call_needs_is_found_broken_later(
    bob: SipNode, stranger: Stranger, offer: bytes
) -> None:
    data = stranger.request("INVITE", body=offer).replace(b"<sip:stranger@10.0.0.9:5060>", b"<tel:+1>")
    stranger.send(bob, data)
    assert stranger.responses()[-1].status == 400
    assert bob.ua.counters["bad_header"] == 1
    assert bob.ua.transactions == 1


def test_a_reinvite_can_be_cancelled(net: SipNetwork, bob: SipNode, stranger: Stranger, offer: bytes) -> None:
    stranger.send(bob, stranger.request("INVITE", body=offer))
    session = bob.last(IncomingCall).session
    session.answer(offer, net.now)
    bob.kick()
    to = f"<sip:1000@10.0.0.2>;tag={session.dialog.local.tag}"
    stranger.send(bob, stranger.request("ACK", to=to, branch="z9hG4bKack"))
    stranger.send(bob, stranger.request("INVITE", to=to, cseq="2 INVITE", branch="z9hG4bK2", body=offer))
    stranger.send(bob, stranger.request("CANCEL", to=to, cseq="2 CANCEL", branch="z9hG4bK2"))
    assert stranger.responses("INVITE")[-1].status == 487
    assert stranger.responses("CANCEL")[-1].to.tag == session.dialog.local.tag


def test_a_stranger_with_broken_bytes_is_not_answered_either(net: SipNetwork, stranger: Stranger) -> None:
    bob = net.node("10.0.0.2", screen=lambda request, peer: Refusal(403))
    stranger.send(bob, stranger.request("INVITE").replace(b"Content-Length: 0", b"Content-Length: 99"))
    assert not stranger.received


def test_an_ack_with_broken_ids_is_counted_and_never_answered(
    net: SipNetwork, bob: SipNode, stranger: Stranger, offer: bytes
) -> None:
    stranger.send(bob, stranger.request("INVITE", body=offer))
    session = bob.last(IncomingCall).session
    session.answer(offer, net.now)
    bob.kick()
    count = len(stranger.received)
    stranger.send(bob, stranger.request("ACK").replace(b"CSeq: 1 ACK", b"CSeq: x"))
    assert bob.ua.counters["bad_header"] == 1
    assert len(stranger.received) == count
    assert session.waiting_for_ack


def test_a_request_whose_ids_break_late_leaves_no_transaction(bob: SipNode, stranger: Stranger) -> None:
    stranger.send(bob, stranger.request("FOO").replace(b"To: <sip:1000@10.0.0.2>\r\n", b""))
    assert stranger.responses()[-1].status == 400
    assert bob.ua.transactions == 0


def test_a_header_found_broken_after_the_answer_is_only_counted(
    net: SipNetwork, bob: SipNode, stranger: Stranger, offer: bytes
) -> None:
    stranger.send(bob, stranger.request("INVITE", body=offer))
    session = bob.last(IncomingCall).session
    session.answer(offer, net.now)
    bob.kick()
    to = f"<sip:1000@10.0.0.2>;tag={session.dialog.local.tag}"
    stranger.send(bob, stranger.request("ACK", to=to, branch="z9hG4bKack"))
    bad = ("Contact: <tel:",)
    data = stranger.request("INVITE", to=to, cseq="2 INVITE", branch="z9hG4bK2", headers=bad, body=offer)
    stranger.send(bob, data)
    session.accept_offer(offer, net.now)
    bob.kick()
    assert stranger.responses("INVITE")[-1].status == 200
    assert str(session.dialog.target) == "sip:stranger@10.0.0.9:5060", "a bad Contact changes nothing"
