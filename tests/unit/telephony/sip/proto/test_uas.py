"""The called side: ringing, answering, refusing, being cancelled."""

from typing import Any

import pytest

from trunkline.model import LocalProtocolError, seconds
from trunkline.telephony.sip.proto import CallConfirmed, CallEnded, IncomingCall, UaConfig
from trunkline.telephony.sip.proto.transport import Peer
from trunkline.testing.sipnet import SipNetwork, SipNode, Stranger


@pytest.fixture
def call(bob: SipNode, stranger: Stranger, offer: bytes) -> Any:
    stranger.send(bob, stranger.request("INVITE", body=offer, headers=("Record-Route: <sip:10.0.0.5;lr>",)))
    return bob.last(IncomingCall).session


def final(stranger: Stranger) -> Any:
    return [response for response in stranger.responses("INVITE") if response.status >= 200]


def test_ringing_then_answered(
    net: SipNetwork, bob: SipNode, stranger: Stranger, call: Any, offer: bytes, answer: bytes
) -> None:
    assert call.offer == offer
    assert call.peer == Peer("UDP", "10.0.0.9", 5060)
    call.progress(net.now)
    call.progress(net.now, status=183, body=answer)
    call.answer(answer, net.now)
    call.progress(net.now)
    bob.kick()
    statuses = [response.status for response in stranger.responses()]
    assert statuses == [100, 180, 183, 200]
    ringing, progress, ok = stranger.responses()[1:]
    assert {ringing.to.tag, progress.to.tag, ok.to.tag} == {call.dialog.local.tag}
    assert ringing.headers.raw("record-route") == ok.headers.raw("record-route") == b"<sip:10.0.0.5;lr>"
    assert progress.body == ok.body == answer
    assert str(ok.contact.uri) == "sip:trunkline@10.0.0.2:5060"
    to = f"<sip:1000@10.0.0.2>;tag={ok.to.tag}"
    stranger.send(bob, stranger.request("ACK", to=to, branch="z9hG4bKack"))
    assert bob.last(CallConfirmed).body == b""
    with pytest.raises(LocalProtocolError, match="answered already"):
        call.answer(answer, net.now)


def test_an_ack_with_the_branch_of_the_invite_confirms_too(
    net: SipNetwork, bob: SipNode, stranger: Stranger, call: Any, answer: bytes
) -> None:
    call.answer(answer, net.now)
    bob.kick()
    to = f"<sip:1000@10.0.0.2>;tag={call.dialog.local.tag}"
    stranger.send(bob, stranger.request("ACK", to=to, branch="z9hG4bK-1"))
    assert call.confirmed


def test_an_ack_for_something_else_is_ignored(
    net: SipNetwork, bob: SipNode, stranger: Stranger, call: Any, answer: bytes
) -> None:
    call.answer(answer, net.now)
    bob.kick()
    to = f"<sip:1000@10.0.0.2>;tag={call.dialog.local.tag}"
    stranger.send(bob, stranger.request("ACK", to=to, branch="z9hG4bKack", cseq="77 ACK"))
    assert call.waiting_for_ack


def test_a_refusal(net: SipNetwork, bob: SipNode, stranger: Stranger, call: Any) -> None:
    call.reject(486, net.now, reason="Full Up", headers={"Retry-After": "7"})
    call.reject(500, net.now)
    bob.kick()
    response = final(stranger)[0]
    assert (response.status, response.reason, response.headers.view("retry-after")) == (486, "Full Up", 7)
    assert response.to.tag == call.dialog.local.tag
    assert [event.status for event in bob.of(CallEnded)] == [486]
    assert bob.ua.sessions == 0
    net.run(seconds(5))
    assert len(final(stranger)) > 1, "repeated until its ACK"
    stranger.send(bob, stranger.request("ACK", to=f"<sip:1000@10.0.0.2>;tag={response.to.tag}"))
    count = len(final(stranger))
    net.run(seconds(100))
    assert len(final(stranger)) == count
    assert bob.idle


def test_methods_that_are_not_allowed_say_which_are(
    net: SipNetwork, bob: SipNode, stranger: Stranger, call: Any
) -> None:
    call.reject(405, net.now)
    bob.kick()
    assert "INVITE" in final(stranger)[0].headers.views("allow")


def test_being_cancelled(net: SipNetwork, bob: SipNode, stranger: Stranger, call: Any) -> None:
    call.progress(net.now)
    bob.kick()
    stranger.send(bob, stranger.request("CANCEL"))
    assert stranger.responses("CANCEL")[0].status == 200
    assert stranger.responses("CANCEL")[0].to.tag == final(stranger)[0].to.tag
    assert final(stranger)[0].status == 487
    ended = bob.last(CallEnded)
    assert (ended.cause, ended.by_peer, ended.status) == ("cancel", True, 487)
    call.answer(b"", net.now)
    assert len(final(stranger)) == 1
    net.run(seconds(100))
    assert bob.idle


def test_a_cancel_that_comes_too_late_changes_nothing(
    net: SipNetwork, bob: SipNode, stranger: Stranger, call: Any, answer: bytes
) -> None:
    call.answer(answer, net.now)
    bob.kick()
    stranger.send(bob, stranger.request("CANCEL"))
    assert stranger.responses("CANCEL")[0].status == 200
    assert not bob.of(CallEnded)
    assert [response.status for response in final(stranger)] == [200]


def test_bye_before_the_answer(net: SipNetwork, bob: SipNode, stranger: Stranger, call: Any) -> None:
    to = f"<sip:1000@10.0.0.2>;tag={call.dialog.local.tag}"
    stranger.send(bob, stranger.request("BYE", to=to, cseq="2 BYE", branch="z9hG4bKbye"))
    assert stranger.responses("BYE")[0].status == 200
    assert final(stranger)[0].status == 487
    assert bob.last(CallEnded).cause == "bye"
    net.run(seconds(100))
    assert bob.idle


def test_reinvite_before_the_answer(bob: SipNode, stranger: Stranger, call: Any, offer: bytes) -> None:
    to = f"<sip:1000@10.0.0.2>;tag={call.dialog.local.tag}"
    stranger.send(bob, stranger.request("INVITE", to=to, cseq="2 INVITE", branch="z9hG4bK2", body=offer))
    assert final(stranger)[0].status == 500


@pytest.mark.parametrize("answered", [False, True])
def test_hanging_up(
    net: SipNetwork, bob: SipNode, stranger: Stranger, call: Any, answer: bytes, answered: Any
) -> None:
    if answered:
        call.answer(answer, net.now)
        to = f"<sip:1000@10.0.0.2>;tag={call.dialog.local.tag}"
        stranger.send(bob, stranger.request("ACK", to=to, branch="z9hG4bKack"))
    call.hang_up(net.now)
    call.hang_up(net.now)
    bob.kick()
    assert final(stranger)[0].status == (200 if answered else 480)
    assert len(bob.of(CallEnded)) == 1


def test_a_call_that_nobody_answers_ends_with_480(net: SipNetwork, stranger: Stranger, offer: bytes) -> None:
    bob = net.node("10.0.0.2", config=UaConfig(unanswered=seconds(20)))
    stranger.send(bob, stranger.request("INVITE", body=offer))
    net.run(seconds(21))
    assert final(stranger)[0].status == 480
    assert bob.of(CallEnded)
    net.run(seconds(100))
    assert bob.idle


def test_a_broken_connection_before_the_answer_ends_the_call(
    net: SipNetwork, bob: SipNode, call: Any
) -> None:
    call.unacknowledged(net.now)
    bob.kick()
    assert bob.last(CallEnded).cause == "transport"
    call.unacknowledged(net.now)
    assert len(bob.of(CallEnded)) == 1


def test_a_broken_connection_after_the_answer_waits_for_the_ack(
    net: SipNetwork, bob: SipNode, call: Any, answer: bytes
) -> None:
    call.answer(answer, net.now)
    call.unacknowledged(net.now)
    bob.kick()
    assert not bob.of(CallEnded)


def test_an_invite_that_cannot_make_a_dialog_is_refused(
    bob: SipNode, stranger: Stranger, offer: bytes
) -> None:
    data = (
        stranger.request("INVITE", body=offer)
        .replace(b"Contact: <sip:", b"Contact: <tel:")
        .replace(b"tel:stranger@10.0.0.9:5060", b"tel:+1")
    )
    stranger.send(bob, data)
    assert final(stranger)[0].status == 400
    assert bob.ua.sessions == 0


def test_a_cancel_for_a_reinvite_is_not_for_the_call(
    net: SipNetwork, bob: SipNode, stranger: Stranger, call: Any, offer: bytes, answer: bytes
) -> None:
    call.answer(answer, net.now)
    to = f"<sip:1000@10.0.0.2>;tag={call.dialog.local.tag}"
    stranger.send(bob, stranger.request("ACK", to=to, branch="z9hG4bKack"))
    stranger.send(bob, stranger.request("INVITE", to=to, cseq="2 INVITE", branch="z9hG4bK2", body=offer))
    stranger.send(bob, stranger.request("CANCEL", to=to, cseq="2 CANCEL", branch="z9hG4bK2"))
    assert final(stranger)[-1].status == 487
    assert call.confirmed


def test_hanging_up_before_the_ack(
    net: SipNetwork, bob: SipNode, stranger: Stranger, call: Any, answer: bytes
) -> None:
    call.answer(answer, net.now)
    call.hang_up(net.now)
    bob.kick()
    to = f"<sip:1000@10.0.0.2>;tag={call.dialog.local.tag}"
    stranger.send(bob, stranger.request("ACK", to=to, branch="z9hG4bKack"))
    assert bob.of(CallEnded)
    assert not bob.of(CallConfirmed)
    net.run(seconds(100))
    assert bob.idle
