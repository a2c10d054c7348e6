"""The calling side: progress, forks, answers, cancelling and its races."""

from typing import Any

import pytest

from trunkline.model import LocalProtocolError, seconds
from trunkline.telephony.sip.proto import (
    CallAnswered,
    CallEnded,
    CallProgress,
    InfoReceived,
    NameAddr,
    Peer,
    UaConfig,
    parse_uri,
)
from trunkline.telephony.sip.proto.uac import MAX_FORKS
from trunkline.testing.sipnet import SipNetwork, SipNode, Stranger

TARGET = parse_uri("sip:1000@10.0.0.9;user=phone")
CONTACT = ("Contact: <sip:them@10.0.0.9>",)


@pytest.fixture
def alice(net: SipNetwork) -> Any:
    return net.node("10.0.0.1", config=UaConfig(unanswered=seconds(60)))


@pytest.fixture
def call(net: SipNetwork, alice: SipNode, stranger: Stranger, offer: bytes) -> Any:
    session = alice.ua.invite(TARGET, body=offer, now=net.now, headers={"X-A": "1"})
    alice.kick()
    return session


@pytest.fixture
def invite(stranger: Stranger, call: Any) -> Any:
    return stranger.requests("INVITE")[0]


@pytest.fixture
def reply(alice: SipNode, stranger: Stranger, invite: Any) -> Any:
    def send(status: int, tag: Any = "t", headers: Any = CONTACT, body: bytes = b"") -> None:
        stranger.send(alice, stranger.respond(invite, status, tag=tag, headers=headers, body=body))

    return send


def ends(alice: SipNode) -> Any:
    return [(event.cause, event.status, event.by_peer) for event in alice.of(CallEnded)]


def test_the_invite(invite: Any) -> None:
    assert invite.uri_text == "sip:1000@10.0.0.9;user=phone"
    assert invite.headers.raw("x-a") == b"1"
    assert invite.from_.tag
    assert not invite.to.tag
    assert str(invite.contact.uri) == "sip:trunkline@10.0.0.1:5060"
    assert invite.headers.raw("max-forwards") == b"70"


def test_routes_identity_and_proxy(net: SipNetwork, alice: SipNode, stranger: Stranger) -> None:
    alice.ua.invite(
        parse_uri("tel:+491"),
        from_=NameAddr(parse_uri("sip:+492@trunk"), "Ann"),
        to=NameAddr(parse_uri("sip:+491@trunk")),
        routes=(NameAddr(parse_uri("sip:10.0.0.9;lr")),),
        now=net.now,
    )
    alice.kick()
    invite = stranger.requests("INVITE")[0]
    assert invite.uri_text == "tel:+491"
    assert invite.headers.raw("from").startswith(b'"Ann" <sip:+492@trunk>;tag=')
    assert invite.headers.raw("to") == b"<sip:+491@trunk>"
    assert invite.headers.raw("route") == b"<sip:10.0.0.9;lr>"
    alice.ua.invite(parse_uri("sip:far@away"), peer=Peer("UDP", "10.0.0.9", 5060), now=net.now)
    alice.kick()
    assert stranger.requests("INVITE")[-1].uri_text == "sip:far@away"


def test_progress_and_answer(
    alice: SipNode, stranger: Stranger, reply: Any, call: Any, answer: bytes
) -> None:
    reply(100, tag="")
    reply(180)
    reply(183, body=answer)
    reply(182, tag="")
    seen = [(event.status, event.body) for event in alice.of(CallProgress)]
    assert seen == [(180, b""), (183, answer), (182, b"")]
    assert call.early_dialogs == 1
    reply(200, body=answer)
    answered = alice.last(CallAnswered)
    assert (answered.body, answered.is_offer) == (answer, False)
    assert call.confirmed
    reply(180)
    assert len(alice.of(CallProgress)) == 3
    reply(200, body=answer)
    assert len(stranger.requests("ACK")) == 2
    assert len(alice.of(CallAnswered)) == 1


@pytest.mark.parametrize("status", [302, 404, 486, 503, 603])
def test_refusals(net: SipNetwork, alice: SipNode, stranger: Stranger, reply: Any, status: int) -> None:
    reply(180)
    reply(status)
    assert ends(alice) == [("rejected", status, True)]
    assert stranger.requests("ACK")
    net.run(seconds(100))
    assert alice.idle


def test_no_answer_at_all(net: SipNetwork, alice: SipNode, call: Any) -> None:
    net.run(seconds(40))
    assert ends(alice) == [("timeout", 408, True)]
    assert alice.idle


def test_no_connection(net: SipNetwork, offer: bytes) -> None:
    alice = net.node("10.0.0.1")
    alice.ua.invite(parse_uri("sip:x@10.0.0.99;transport=tcp"), body=offer, now=net.now)
    alice.kick()
    net.run(seconds(1))
    assert ends(alice) == [("transport", 503, True)]
    assert alice.idle


def test_ringing_for_too_long_is_cancelled(
    net: SipNetwork, alice: SipNode, stranger: Stranger, reply: Any
) -> None:
    reply(180)
    net.run(seconds(61))
    assert ends(alice) == [("timeout", 408, True)]
    assert stranger.requests("CANCEL")
    net.run(seconds(100))
    assert alice.idle, "also when the peer never answers the CANCEL"
    assert alice.ua.counters["cancel_unanswered"] == 1


def test_cancelling(net: SipNetwork, alice: SipNode, stranger: Stranger, call: Any, reply: Any) -> None:
    reply(180)
    call.cancel(net.now)
    call.cancel(net.now)
    call.hang_up(net.now)
    alice.kick()
    assert len(stranger.requests("CANCEL")) == 1
    assert ends(alice) == [("cancel", 487, False)]
    reply(180)
    assert len(stranger.requests("CANCEL")) == 1
    reply(487)
    net.run(seconds(100))
    assert alice.idle


def test_cancel_of_an_invite_that_is_never_answered(
    net: SipNetwork, alice: SipNode, stranger: Stranger, call: Any
) -> None:
    call.cancel(net.now)
    net.run(seconds(100))
    assert not stranger.requests("CANCEL")
    assert ends(alice) == [("cancel", 487, False)]
    assert alice.idle


def test_hanging_up_before_and_after_the_answer(
    net: SipNetwork, alice: SipNode, stranger: Stranger, call: Any, reply: Any, answer: bytes
) -> None:
    reply(180)
    reply(200, body=answer)
    call.hang_up(net.now)
    call.hang_up(net.now)
    alice.kick()
    assert len(stranger.requests("BYE")) == 1
    assert ends(alice) == [("local", 0, False)]


def test_a_late_offer_and_its_answer(
    net: SipNetwork, alice: SipNode, stranger: Stranger, offer: bytes, answer: bytes
) -> None:
    session = alice.ua.invite(TARGET, now=net.now)
    alice.kick()
    invite = stranger.requests("INVITE")[0]
    ok = stranger.respond(invite, 200, tag="t", headers=CONTACT, body=offer)
    stranger.send(alice, ok)
    stranger.send(alice, ok)
    assert alice.last(CallAnswered).is_offer
    assert not stranger.requests("ACK"), "a repeated 2xx waits for the answer too"
    session.acknowledge(answer, net.now)
    alice.kick()
    assert stranger.requests("ACK")[0].body == answer
    with pytest.raises(LocalProtocolError):
        session.acknowledge(answer, net.now)


def test_hanging_up_while_an_answer_is_owed(
    net: SipNetwork, alice: SipNode, stranger: Stranger, offer: bytes
) -> None:
    session = alice.ua.invite(TARGET, now=net.now)
    alice.kick()
    invite = stranger.requests("INVITE")[0]
    stranger.send(alice, stranger.respond(invite, 200, tag="t", headers=CONTACT, body=offer))
    session.hang_up(net.now)
    alice.kick()
    assert len(stranger.requests("ACK")) == len(stranger.requests("BYE")) == 1


def test_forks_are_bounded(alice: SipNode, stranger: Stranger, call: Any, reply: Any, answer: bytes) -> None:
    for number in range(MAX_FORKS + 5):
        reply(180, tag=f"fork{number}")
    assert call.early_dialogs == MAX_FORKS
    assert alice.ua.counters["forks_ignored"] == 5
    for number in range(MAX_FORKS + 5):
        reply(200, tag=f"fork{number}", body=answer)
    assert len(stranger.requests("BYE")) == MAX_FORKS
    assert alice.ua.dialogs == 1


def test_a_2xx_that_makes_no_dialog_ends_the_call(
    net: SipNetwork, alice: SipNode, reply: Any, answer: bytes
) -> None:
    reply(200, headers=("Contact: <tel:+1>",), body=answer)
    assert ends(alice) == [("rejected", 200, True)]
    assert alice.ua.counters["bad_response"] == 1
    reply(180, headers=("Contact: <",))
    net.run(seconds(100))
    assert alice.idle


def test_a_malformed_progress_is_only_counted(alice: SipNode, call: Any, reply: Any) -> None:
    reply(180, headers=("Contact: <",))
    assert alice.ua.counters["bad_response"] == 1
    assert not ends(alice)


def early(alice: SipNode, stranger: Stranger, invite: Any, method: Any, number: Any, **kwargs: Any) -> Any:
    to = f"<sip:x@y>;tag={invite.from_.tag}"
    data = stranger.request(
        method,
        to=to,
        tag="t",
        call_id=invite.call_id,
        cseq=f"{number} {method}",
        branch=f"z9hG4bK{number}",
        **kwargs,
    )
    stranger.send(alice, data)
    return stranger.responses(method)[-1]


def test_requests_in_an_early_dialog_do_not_cost_the_call(
    net: SipNetwork, alice: SipNode, stranger: Stranger, invite: Any, call: Any, reply: Any, offer: bytes
) -> None:
    reply(183)
    assert early(alice, stranger, invite, "INVITE", 1, body=offer).status == 491
    assert early(alice, stranger, invite, "INFO", 2).status == 200
    assert alice.of(InfoReceived)
    refused = early(alice, stranger, invite, "BYE", 3)
    assert refused.status == 500
    assert refused.headers.view("retry-after") >= 1
    assert not ends(alice)
    call.cancel(net.now)
    alice.kick()
    assert early(alice, stranger, invite, "INFO", 4).status == 481


def test_a_200_that_crosses_the_cancel(
    net: SipNetwork, alice: SipNode, stranger: Stranger, call: Any, reply: Any, answer: bytes
) -> None:
    reply(180)
    call.hang_up(net.now)
    alice.kick()
    reply(200, body=answer)
    assert alice.ua.counters["cancel_crossed"] == 1
    assert len(stranger.requests("ACK")) == len(stranger.requests("BYE")) == 1
    for request in (stranger.requests("BYE")[0], stranger.requests("CANCEL")[0]):
        stranger.send(alice, stranger.respond(request, 200))
    assert not alice.of(CallAnswered)
    net.run(seconds(100))
    assert alice.idle


def test_an_answer_that_says_nothing_of_forks_keeps_one_dialog(
    net: SipNetwork, alice: SipNode, stranger: Stranger, call: Any, reply: Any, answer: bytes
) -> None:
    reply(180, tag="a")
    reply(180, tag="b")
    reply(200, tag="b", body=answer)
    assert alice.ua.dialogs == 1
    reply(200, tag="a", body=answer)
    bye = stranger.requests("BYE")[0]
    stranger.send(alice, stranger.respond(bye, 200))
    call.hang_up(net.now)
    alice.kick()
    net.run(seconds(100))
    assert alice.idle


def test_a_bye_to_a_fork_that_nobody_answers_leaves_nothing(
    net: SipNetwork, alice: SipNode, stranger: Stranger, call: Any, reply: Any, answer: bytes
) -> None:
    reply(200, tag="a", body=answer)
    reply(200, tag="b", body=answer)
    call.hang_up(net.now)
    alice.kick()
    net.run(seconds(100))
    assert alice.idle


def test_ringing_for_too_long_without_a_sign_of_life(
    net: SipNetwork, stranger: Stranger, offer: bytes
) -> None:
    hasty = net.node("10.0.0.4", config=UaConfig(unanswered=seconds(5)))
    hasty.ua.invite(TARGET, body=offer, now=net.now)
    hasty.kick()
    net.run(seconds(6))
    assert ends(hasty) == [("timeout", 408, True)]
    assert not stranger.requests("CANCEL")
    net.run(seconds(100))
    assert hasty.idle
