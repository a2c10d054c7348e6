"""Requests inside a dialog: BYE, INFO, re-INVITE and its races."""

from typing import Any

import pytest

from trunkline.model import LocalProtocolError, seconds
from trunkline.telephony.sip.proto import (
    AnswerReceived,
    CallEnded,
    InfoReceived,
    OfferAnswered,
    OfferReceived,
    ReferReceived,
    Request,
    Response,
    Send,
    parse_uri,
)
from trunkline.telephony.sip.proto.session import MAX_GLARE_RETRIES, SessionState
from trunkline.testing.sipnet import SipNetwork, SipNode, Stranger


@pytest.fixture
def call(pair: Any) -> Any:
    return pair.establish()


@pytest.fixture
def inside(net: SipNetwork, bob: SipNode, stranger: Stranger, offer: bytes) -> Any:
    """A stranger in an acknowledged dialog with Bob; sends further requests."""
    stranger.send(bob, stranger.request("INVITE", body=offer))
    session = bob.events[0].session
    session.answer(offer, net.now)
    bob.kick()
    to = f"<sip:1000@10.0.0.2>;tag={session.dialog.local.tag}"
    stranger.send(bob, stranger.request("ACK", to=to, branch="z9hG4bKack"))
    numbers = iter(range(2, 1000))

    def send(method: Any, *, cseq: Any = None, **kwargs: Any) -> Any:
        number = next(numbers)
        data = stranger.request(
            method, to=to, cseq=f"{cseq or number} {method}", branch=f"z9hG4bK{number}", **kwargs
        )
        stranger.send(bob, data)
        responses = stranger.responses(method)
        return responses[-1] if responses else None

    send.session = session
    return send


def statuses(net: SipNetwork, method: Any = "INVITE") -> Any:
    return [m.status for *_, m in net.wire if isinstance(m, Response) and m.cseq.method == method]


def test_bye_both_ways(pair: Any, call: Any) -> None:
    call[1].hang_up(pair.net.now, reason='Q.850;cause=16;text="bye"')
    pair.bob.kick()
    pair.net.run(seconds(1))
    ended = pair.alice.last(CallEnded)
    assert (ended.by_peer, ended.cause, ended.reason) == (True, "bye", 'Q.850;cause=16;text="bye"')
    ours = pair.bob.last(CallEnded)
    assert (ours.by_peer, ours.cause) == (False, "local")
    call[1].hang_up(pair.net.now)
    call[0].bye(pair.net.now)
    assert len(pair.alice.of(CallEnded)) == len(pair.bob.of(CallEnded)) == 1
    pair.finish()


def test_byes_that_cross_are_both_answered(pair: Any, call: Any) -> None:
    for session, node in zip(call, (pair.alice, pair.bob), strict=True):
        session.hang_up(pair.net.now)
        node.kick()
    pair.net.run(seconds(5))
    assert statuses(pair.net, "BYE") == [200, 200]
    pair.finish()


def test_requests_after_the_end_get_481(inside: Any, net: SipNetwork, bob: SipNode) -> None:
    inside.session.hang_up(net.now)
    bob.kick()
    assert inside("INFO").status == 481


def test_old_sequence_numbers_are_refused(inside: Any) -> None:
    assert inside("INFO", cseq=50).status == 200
    assert inside("INFO", cseq=49).status == 500


def test_info(inside: Any, bob: SipNode) -> None:
    ok = inside("INFO", headers=("Content-Type: application/dtmf-relay",), body=b"Signal=1\r\n")
    assert ok.status == 200
    assert bob.last(InfoReceived).body == b"Signal=1\r\n"
    assert inside("INFO", headers=("Content-Type: text/plain",), body=b"x").status == 415
    assert inside("INFO").status == 200


def test_sending_info(pair: Any, call: Any) -> None:
    call[0].send_info("7", pair.net.now, duration_ms=100)
    pair.alice.kick()
    pair.net.run(seconds(1))
    assert pair.bob.last(InfoReceived).body == b"Signal=7\r\nDuration=100\r\n"
    call[0].hang_up(pair.net.now)
    call[0].send_info("8", pair.net.now)
    pair.alice.kick()
    assert len([m for *_, m in pair.net.wire if isinstance(m, Request) and m.method == "INFO"]) == 1


def test_an_info_that_finds_no_dialog_ends_the_call(pair: Any, call: Any) -> None:
    call[1].close()
    call[0].send_info("7", pair.net.now)
    pair.alice.kick()
    pair.net.run(seconds(1))
    assert pair.alice.last(CallEnded).cause == "rejected"
    pair.finish()


def test_an_unanswered_info_does_not_end_the_call(pair: Any, call: Any) -> None:
    pair.net.tamper = lambda node, item: None if item.data.startswith(b"INFO") else item.data
    call[0].send_info("7", pair.net.now)
    pair.alice.kick()
    pair.net.run(seconds(60))
    assert call[0].confirmed


def test_reinvite_with_the_offer(pair: Any, call: Any, offer: bytes) -> None:
    call[0].reinvite(b"new offer", pair.net.now)
    pair.alice.kick()
    pair.net.until(lambda: bool(pair.bob.of(OfferReceived)))
    assert pair.bob.last(OfferReceived).body == b"new offer"
    call[1].accept_offer(b"new answer", pair.net.now)
    call[1].accept_offer(b"ignored", pair.net.now)
    call[1].refuse_offer(488, pair.net.now)
    pair.bob.kick()
    pair.net.run(seconds(1))
    answered = pair.alice.last(OfferAnswered)
    assert (answered.status, answered.body) == (200, b"new answer")
    assert not call[1].waiting_for_ack


def test_reinvite_without_an_offer(
    inside: Any, net: SipNetwork, bob: SipNode, stranger: Stranger, offer: bytes
) -> None:
    assert inside("INVITE").status == 100
    assert bob.last(OfferReceived).body == b""
    inside.session.accept_offer(b"our offer", net.now)
    bob.kick()
    assert stranger.responses("INVITE")[-1].body == b"our offer"
    assert inside("INVITE", body=offer).status == 491, "our offer has no answer yet"
    inside("ACK", cseq=2, body=b"their answer")
    assert bob.last(AnswerReceived).body == b"their answer"
    inside("ACK", cseq=2, body=b"again")
    assert len(bob.of(AnswerReceived)) == 1


def test_reinvite_before_the_last_one_is_answered(inside: Any, offer: bytes) -> None:
    assert inside("INVITE", body=offer).status == 100
    busy = inside("INVITE", body=offer)
    assert busy.status == 500
    assert 0 <= busy.headers.view("retry-after") <= 10


def test_reinvite_with_a_foreign_body(inside: Any) -> None:
    assert inside("INVITE", headers=("Content-Type: text/plain",), body=b"x").status == 415


def test_reinvite_that_nobody_answers_is_refused_in_the_end(
    inside: Any, net: SipNetwork, stranger: Stranger, offer: bytes
) -> None:
    inside("INVITE", body=offer)
    net.run(seconds(33))
    assert 500 in [response.status for response in stranger.responses("INVITE")]
    assert inside.session.confirmed


def test_reinvite_can_be_cancelled(
    inside: Any, net: SipNetwork, stranger: Stranger, bob: SipNode, offer: bytes
) -> None:
    inside("INVITE", body=offer)
    to = f"<sip:1000@10.0.0.2>;tag={inside.session.dialog.local.tag}"
    stranger.send(bob, stranger.request("CANCEL", to=to, cseq="2 CANCEL", branch="z9hG4bK2"))
    assert stranger.responses("CANCEL")[-1].status == 200
    assert stranger.responses("INVITE")[-1].status == 487
    assert inside.session.confirmed
    stranger.send(bob, stranger.request("CANCEL", to=to, cseq="2 CANCEL", branch="z9hG4bK2"))
    assert inside.session.confirmed


def test_bye_answers_a_pending_reinvite(inside: Any, stranger: Stranger, offer: bytes) -> None:
    inside("INVITE", body=offer)
    assert inside("BYE").status == 200
    assert stranger.responses("INVITE")[-1].status == 487
    assert inside.session.ended


def test_reinvite_refreshes_the_target_when_accepted(
    inside: Any, net: SipNetwork, bob: SipNode, offer: bytes
) -> None:
    inside("INVITE", body=offer, headers=("Contact: <sip:moved@10.0.0.8>",))
    assert str(inside.session.dialog.target) == "sip:stranger@10.0.0.9:5060"
    inside("BYE")


def test_no_ack_for_a_reinvite_ends_the_call(
    inside: Any, net: SipNetwork, bob: SipNode, offer: bytes
) -> None:
    inside("INVITE", body=offer)
    inside.session.accept_offer(offer, net.now)
    bob.kick()
    net.run(seconds(40))
    assert bob.last(CallEnded).cause == "timeout"
    assert bob.ua.counters["ack_timeout"] == 1


@pytest.mark.parametrize("status", [408, 481])
def test_a_reinvite_that_finds_no_dialog_ends_the_call(pair: Any, call: Any, status: int) -> None:
    call[0].reinvite(b"offer", pair.net.now)
    pair.alice.kick()
    pair.net.until(lambda: bool(pair.bob.of(OfferReceived)))
    call[1].refuse_offer(status, pair.net.now)
    pair.bob.kick()
    pair.net.run(seconds(2))
    assert pair.alice.last(OfferAnswered).status == status
    assert pair.alice.of(CallEnded)
    pair.finish()


def test_a_reinvite_without_any_answer_ends_the_call(pair: Any, call: Any) -> None:
    pair.net.tamper = lambda node, item: None if item.data.startswith(b"INVITE") else item.data
    call[0].reinvite(b"offer", pair.net.now)
    pair.alice.kick()
    pair.net.run(seconds(40))
    assert pair.alice.last(OfferAnswered).status == 408
    assert pair.alice.last(CallEnded).cause == "timeout"


def test_a_reinvite_that_is_only_trying_ends_the_wait_by_itself(
    net: SipNetwork, pair: Any, offer: bytes
) -> None:
    alice = pair.alice
    stranger = net.stranger("10.0.0.9")

    session = alice.ua.invite(parse_uri("sip:x@10.0.0.9"), body=offer, now=net.now)
    alice.kick()
    ok = ("Contact: <sip:x@10.0.0.9>",)
    stranger.send(
        alice, stranger.respond(stranger.requests("INVITE")[0], 200, tag="t", headers=ok, body=offer)
    )
    session.reinvite(offer, net.now)
    alice.kick()
    again = stranger.requests("INVITE")[-1]
    stranger.send(alice, stranger.respond(again, 100))
    net.run(seconds(70))
    assert alice.last(OfferAnswered).status == 408
    stranger.send(alice, stranger.respond(again, 200, tag="t", headers=ok, body=offer))


def test_a_transport_failure_of_a_reinvite_leaves_the_call(pair: Any, call: Any) -> None:
    call[0].reinvite(b"offer", pair.net.now)
    call[0]._reinvite.failed(timeout=False, now=pair.net.now)
    pair.alice.kick()
    assert pair.alice.last(OfferAnswered).status == 503
    assert call[0].confirmed


def test_a_repeated_2xx_of_a_reinvite_is_acknowledged_again(pair: Any, call: Any) -> None:
    acks = []

    def lose_first_ack(node: SipNode, item: Send) -> Any:
        if item.data.startswith(b"ACK"):
            acks.append(item)
            if len(acks) == 1:
                return None
        return item.data

    pair.bob.on_event = lambda e: isinstance(e, OfferReceived) and e.session.accept_offer(b"a", pair.net.now)
    pair.net.tamper = lose_first_ack
    call[0].reinvite(b"offer", pair.net.now)
    pair.alice.kick()
    pair.net.run(seconds(3))
    assert len(acks) == 2
    assert len(pair.alice.of(OfferAnswered)) == 1
    assert not call[1].waiting_for_ack


def test_endless_glare_is_given_up(net: SipNetwork, pair: Any, offer: bytes) -> None:
    stranger = net.stranger("10.0.0.9")

    session = pair.alice.ua.invite(parse_uri("sip:x@10.0.0.9"), body=offer, now=net.now)
    pair.alice.kick()
    ok = ("Contact: <sip:x@10.0.0.9>",)
    stranger.send(
        pair.alice, stranger.respond(stranger.requests("INVITE")[0], 200, tag="t", headers=ok, body=offer)
    )
    session.reinvite(offer, net.now)
    pair.alice.kick()
    answered = 1
    while not pair.alice.of(OfferAnswered):
        invites = stranger.requests("INVITE")
        if len(invites) > answered:
            answered = len(invites)
            stranger.send(pair.alice, stranger.respond(invites[-1], 491))
        net.run(seconds(0.1))
    assert pair.alice.last(OfferAnswered).status == 491
    assert answered == MAX_GLARE_RETRIES + 2
    assert session.confirmed


def test_our_retry_waits_for_the_peers_offer(pair: Any, call: Any) -> None:
    client, server = call
    server._reinvite = None
    client.reinvite(b"ours", pair.net.now)
    client._reinvite._transaction = None
    server.reinvite(b"theirs", pair.net.now)
    pair.bob.kick()
    pair.net.until(lambda: bool(pair.alice.of(OfferReceived)))
    client._reinvite.send(pair.net.now)
    assert not client._reinvite.pending, "an offer of the peer is open"
    client.accept_offer(b"fine", pair.net.now)
    pair.alice.kick()
    pair.net.run(seconds(5))
    assert client._reinvite is None or client._reinvite.pending


def test_asking_out_of_turn_is_a_bug_of_ours(pair: Any, offer: bytes) -> None:
    client = pair.dial()
    for step in (lambda: client.reinvite(b"", pair.net.now), client.need_dialog):
        with pytest.raises(LocalProtocolError):
            step()
    server = pair.incoming()
    server.answer(offer, pair.net.now)
    pair.bob.kick()
    pair.net.run(seconds(1))
    client.reinvite(b"", pair.net.now)
    with pytest.raises(LocalProtocolError, match="under way"):
        client.reinvite(b"", pair.net.now)
    with pytest.raises(LocalProtocolError, match="CONFIRMED to STARTING"):
        client._move(SessionState.STARTING)
    with pytest.raises(LocalProtocolError, match="not for a session"):
        client.receive(_options(client), None, pair.net.now)


def _options(client: Any) -> Any:
    return client.dialog.request("OPTIONS")


def test_a_hang_up_during_a_reinvite(pair: Any, call: Any) -> None:
    call[0].reinvite(b"offer", pair.net.now)
    call[0].hang_up(pair.net.now)
    pair.alice.kick()
    pair.net.run(seconds(1))
    assert not pair.alice.of(OfferAnswered)
    pair.finish()


def test_a_hang_up_while_a_retry_waits(pair: Any, call: Any) -> None:
    client, server = call
    server.reinvite(b"theirs", pair.net.now)
    client.reinvite(b"ours", pair.net.now)
    pair.alice.kick()
    pair.bob.kick()
    pair.net.run(seconds(0.1))
    client.hang_up(pair.net.now)
    pair.alice.kick()
    pair.finish()


def test_refer_is_reported(pair: Any, call: Any) -> None:
    call[0].refer.send("sip:x@y", pair.net.now)
    pair.alice.kick()
    pair.net.run(seconds(1))
    assert pair.bob.last(ReferReceived).session is call[1]


def test_bye_waits_for_the_ack_and_carries_its_reason(
    net: SipNetwork, bob: SipNode, stranger: Stranger, offer: bytes
) -> None:
    stranger.send(bob, stranger.request("INVITE", body=offer))
    session = bob.events[0].session
    session.answer(offer, net.now)
    assert session.established
    assert session.waiting_for_ack
    session.hang_up(net.now)
    bob.kick()
    assert not stranger.requests("BYE")
    to = f"<sip:1000@10.0.0.2>;tag={session.dialog.local.tag}"
    stranger.send(bob, stranger.request("ACK", to=to, branch="z9hG4bKack"))
    assert len(stranger.requests("BYE")) == 1


def test_no_ack_ends_the_dialog_even_when_it_was_hung_up(
    net: SipNetwork, bob: SipNode, stranger: Stranger, offer: bytes
) -> None:
    stranger.send(bob, stranger.request("INVITE", body=offer))
    session = bob.events[0].session
    session.answer(offer, net.now)
    session.hang_up(net.now)
    bob.kick()
    net.run(seconds(40))
    assert len(stranger.requests("BYE")) >= 1
    net.run(seconds(60))
    assert bob.idle
    assert bob.ua.counters["bye_unanswered"] == 1


def test_requests_in_an_early_dialog_of_ours(net: SipNetwork, pair: Any, offer: bytes) -> None:
    alice, stranger = pair.alice, net.stranger("10.0.0.9")
    session = alice.ua.invite(parse_uri("sip:x@10.0.0.9"), body=offer, now=net.now)
    alice.kick()
    invite = stranger.requests("INVITE")[0]
    contact = ("Contact: <sip:x@10.0.0.9>",)
    for tag in ("t", "u"):
        stranger.send(alice, stranger.respond(invite, 183, tag=tag, headers=contact))
    numbers = iter(range(1, 99))

    def send(method: str) -> int:
        number = next(numbers)
        to = f"<sip:x@y>;tag={invite.from_.tag}"
        data = stranger.request(
            method,
            to=to,
            tag="t",
            call_id=invite.call_id,
            cseq=f"{number} {method}",
            branch=f"z9hG4bK{number}",
        )
        stranger.send(alice, data)
        return stranger.responses(method)[-1].status

    assert [send(method) for method in ("INFO", "INVITE", "BYE")] == [200, 491, 500]
    stranger.send(alice, stranger.respond(invite, 200, tag="t", headers=contact, body=offer))
    assert alice.ua.dialogs == 1, "the other early dialog is forgotten"
    session.cancel(net.now)
    assert session.confirmed, "too late to cancel"


def test_early_requests_after_giving_up(net: SipNetwork, pair: Any, offer: bytes) -> None:
    alice, stranger = pair.alice, net.stranger("10.0.0.9")
    session = alice.ua.invite(parse_uri("sip:x@10.0.0.9"), body=offer, now=net.now)
    alice.kick()
    invite = stranger.requests("INVITE")[0]
    stranger.send(alice, stranger.respond(invite, 183, tag="t", headers=("Contact: <sip:x@10.0.0.9>",)))
    session.cancel(net.now)
    alice.kick()
    to = f"<sip:x@y>;tag={invite.from_.tag}"
    stranger.send(alice, stranger.request("INFO", to=to, tag="t", call_id=invite.call_id))
    assert stranger.responses("INFO")[-1].status == 481


def test_a_session_dropped_in_the_middle_leaves_no_timers(pair: Any, call: Any, offer: bytes) -> None:
    client, server = call
    client.reinvite(offer, pair.net.now)
    pair.alice.kick()
    pair.net.until(lambda: bool(pair.bob.of(OfferReceived)))
    server.accept_offer(offer, pair.net.now)
    server.close()
    client.close()
    client.reinvite_done(200, "", b"", pair.net.now)
    pair.net.run(seconds(200))
    assert pair.alice.idle
    assert pair.bob.idle


def test_an_offer_that_is_open_when_we_hang_up_is_refused(
    inside: Any, net: SipNetwork, bob: SipNode, stranger: Stranger, offer: bytes
) -> None:
    inside("INVITE", body=offer)
    inside.session.hang_up(net.now)
    bob.kick()
    assert stranger.responses("INVITE")[-1].status == 487
    inside.session.cancelled(None, net.now)


def test_glare_of_the_other_kind_waits_less(net: SipNetwork, pair: Any, call: Any, offer: bytes) -> None:
    """The called side retries within 2 s; a re-INVITE without offer in the ACK needs no answer event."""
    client, server = call

    def accept(event: Any) -> None:
        if isinstance(event, OfferReceived):
            event.session.accept_offer(offer, net.now)

    pair.alice.on_event = pair.bob.on_event = accept
    client.reinvite(offer, net.now)
    server.reinvite(offer, net.now)
    pair.alice.kick()
    pair.bob.kick()
    net.run(seconds(10))
    assert pair.alice.last(OfferAnswered).status == pair.bob.last(OfferAnswered).status == 200
    assert pair.alice.ua.counters["glare_retry"] + pair.bob.ua.counters["glare_retry"] >= 1


def test_an_ack_with_the_branch_of_the_reinvite(
    inside: Any, net: SipNetwork, bob: SipNode, stranger: Stranger, offer: bytes
) -> None:
    inside("INVITE", body=offer)
    inside.session.accept_offer(offer, net.now)
    bob.kick()
    to = f"<sip:1000@10.0.0.2>;tag={inside.session.dialog.local.tag}"
    stranger.send(bob, stranger.request("ACK", to=to, cseq="2 ACK", branch="z9hG4bK2"))
    assert not inside.session.waiting_for_ack


def test_a_refused_reinvite_without_ack_changes_nothing(inside: Any, net: SipNetwork, offer: bytes) -> None:
    inside("INVITE", body=offer)
    inside.session.refuse_offer(488, net.now)
    net.run(seconds(60))
    assert inside.session.confirmed


def test_a_notify_is_looked_at_by_the_referrals(inside: Any) -> None:
    assert inside("NOTIFY").status == 489


def test_a_reinvite_while_ours_is_out(
    inside: Any, net: SipNetwork, bob: SipNode, stranger: Stranger, offer: bytes
) -> None:
    inside.session.reinvite(offer, net.now)
    bob.kick()
    assert inside("INVITE", body=offer).status == 491
    assert bob.ua.counters["glare"] == 1
    inside.session.hang_up(net.now)
    inside.session.bye(net.now)
    bob.kick()
    refused = stranger.respond(stranger.requests("INVITE")[0], 487)
    stranger.send(bob, refused)
    stranger.send(bob, stranger.respond(stranger.requests("BYE")[0], 100))
    stranger.send(bob, stranger.respond(stranger.requests("BYE")[0], 200))
    net.run(seconds(100))
    assert bob.idle


def test_a_reinvite_that_is_lost_with_the_call(
    inside: Any, net: SipNetwork, bob: SipNode, stranger: Stranger, offer: bytes
) -> None:
    inside.session.reinvite(offer, net.now)
    bob.kick()
    stranger.send(bob, stranger.respond(stranger.requests("INVITE")[0], 180))
    inside("BYE")
    assert bob.last(CallEnded).cause == "bye"
    net.run(seconds(100))
    assert bob.idle, "the guard ends an INVITE that has no final response"


def test_an_info_for_a_dialog_that_is_gone(
    inside: Any, net: SipNetwork, bob: SipNode, stranger: Stranger
) -> None:
    for digit in "12":
        inside.session.send_info(digit, net.now)
    bob.kick()
    for request in stranger.requests("INFO"):
        stranger.send(bob, stranger.respond(request, 481))
    assert len(bob.of(CallEnded)) == 1
