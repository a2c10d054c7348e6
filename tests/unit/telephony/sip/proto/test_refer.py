"""REFER and its subscription, both ways."""

from typing import Any

import pytest

from trunkline.model import LocalProtocolError, seconds
from trunkline.telephony.sip.proto import (
    BadUri,
    CallEnded,
    ReferAnswered,
    ReferNotified,
    ReferReceived,
    Request,
    Send,
    parse_uri,
)
from trunkline.telephony.sip.proto.refer import MAX_SUBSCRIPTIONS
from trunkline.testing.sipnet import SipNetwork, SipNode, Stranger

TARGET = "sip:queue@10.0.0.7;x=%20y"


@pytest.fixture
def call(pair: Any) -> Any:
    return pair.establish()


def refer(pair: Any, client: Any, target: str = TARGET, **kwargs: Any) -> Any:
    """Alice refers Bob; gives what Bob got."""
    client.refer.send(target, pair.net.now, **kwargs)
    pair.alice.kick()
    count = len(pair.bob.of(ReferReceived))
    pair.net.until(lambda: len(pair.bob.of(ReferReceived)) > count)
    return pair.bob.last(ReferReceived).refer


def notify(pair: Any, incoming: Any, status: int, reason: Any = "") -> None:
    incoming.notify(status, reason, pair.net.now)
    pair.bob.kick()
    pair.net.run(seconds(1))


def progress(pair: Any) -> Any:
    return [
        (event.status, event.final) if isinstance(event, ReferNotified) else f"answered {event.status}"
        for event in pair.alice.events
        if isinstance(event, ReferAnswered | ReferNotified)
    ]


def accept(pair: Any, incoming: Any) -> None:
    incoming.accept(pair.net.now)
    pair.bob.kick()
    pair.net.run(seconds(1))


def test_a_transfer_that_succeeds(pair: Any, call: Any) -> None:
    incoming = refer(pair, call[0], headers={"X-Data": "1"})
    assert (incoming.target, incoming.method) == (TARGET, "INVITE")
    assert incoming.referred_by == "<sip:trunkline@10.0.0.1:5060>"
    accept(pair, incoming)
    notify(pair, incoming, 180)
    notify(pair, incoming, 200, "Great")
    notify(pair, incoming, 486)
    assert progress(pair) == ["answered 202", (100, False), (180, False), (200, True)]
    assert pair.alice.last(ReferNotified).reason == "Great"
    messages = [m for *_, m in pair.net.wire if isinstance(m, Request)]
    sent = next(m for m in messages if m.method == "REFER")
    assert sent.headers.raw("x-data") == b"1"
    notifies = [m for m in messages if m.method == "NOTIFY"]
    assert [m.headers.text("subscription-state") for m in notifies] == [
        "active;expires=180",
        "active;expires=180",
        "terminated;reason=noresource",
    ]
    assert notifies[0].headers.text("event") == f"refer;id={sent.cseq.number}"
    assert notifies[0].body == b"SIP/2.0 100 Trying\r\n"
    call[0].hang_up(pair.net.now)
    pair.alice.kick()
    pair.finish()


def test_a_transfer_that_is_refused(pair: Any, call: Any) -> None:
    incoming = refer(pair, call[0])
    incoming.reject(603, pair.net.now)
    incoming.reject(486, pair.net.now)
    incoming.notify(200, "", pair.net.now)
    pair.bob.kick()
    pair.net.run(seconds(1))
    assert progress(pair) == ["answered 603"]
    assert call[0].confirmed


def test_a_transfer_whose_call_fails(pair: Any, call: Any) -> None:
    incoming = refer(pair, call[0])
    accept(pair, incoming)
    notify(pair, incoming, 486, "Busy")
    assert progress(pair)[-1] == (486, True)


def test_no_news_for_too_long_is_final_at_both_ends(pair: Any, call: Any) -> None:
    incoming = refer(pair, call[0])
    accept(pair, incoming)
    pair.net.tamper = lambda node, item: None if item.data.startswith(b"NOTIFY") else item.data
    pair.net.run(seconds(200))
    assert progress(pair)[-1] == (0, True)
    assert not call[0].refer._sent
    assert not call[1].refer.received
    assert call[0].confirmed


def test_an_unanswered_refer_fails(pair: Any, call: Any) -> None:
    pair.net.tamper = lambda node, item: None if item.data.startswith(b"REFER") else item.data
    call[0].refer.send(TARGET, pair.net.now)
    pair.alice.kick()
    pair.net.run(seconds(40))
    assert progress(pair) == ["answered 408"]


def test_a_refer_that_only_gets_provisionals_is_lost_in_the_end(pair: Any, call: Any) -> None:
    client, _ = call
    client.refer.send(TARGET, pair.net.now)
    sent = next(iter(client.refer._sent.values()))
    sent.lost()
    pair.alice.kick()
    assert progress(pair) == ["answered 408"]


def test_a_transport_failure_is_503(pair: Any, call: Any) -> None:
    call[0].refer.send(TARGET, pair.net.now)
    sent = next(iter(call[0].refer._sent.values()))
    sent.failed(timeout=False, now=pair.net.now)
    pair.alice.kick()
    assert progress(pair) == ["answered 503"]


def test_a_notify_that_overtakes_the_202_counts_as_acceptance(pair: Any, call: Any) -> None:
    held = []

    def delay_202(node: SipNode, item: Send) -> Any:
        if item.data.startswith(b"SIP/2.0 202"):
            held.append(item.data)
            return None
        return item.data

    incoming = refer(pair, call[0])
    pair.net.tamper = delay_202
    accept(pair, incoming)
    notify(pair, incoming, 200)
    pair.net.tamper = None
    pair.net.inject(held[0], ("10.0.0.2", 5060), pair.alice)
    assert progress(pair) == ["answered 202", (100, False), (200, True)]


def test_the_end_of_the_call_ends_the_subscription(pair: Any, call: Any) -> None:
    client, server = call
    incoming = refer(pair, client)
    accept(pair, incoming)
    server.hang_up(pair.net.now)
    pair.bob.kick()
    pair.net.run(seconds(1))
    kinds = [type(event) for event in pair.alice.events[-2:]]
    assert kinds == [ReferNotified, CallEnded], "the transfer's end is told before the call's"
    assert progress(pair)[-1] == (0, True)
    incoming.notify(200, "", pair.net.now)
    pair.finish()


def test_a_notify_refused_by_the_peer_ends_the_reports(pair: Any, call: Any) -> None:
    incoming = refer(pair, call[0])
    accept(pair, incoming)
    call[0].refer._sent.clear()
    notify(pair, incoming, 180)
    assert not call[1].refer.received
    pair.net.run(seconds(200))
    assert call[1].confirmed


def test_an_unanswered_notify_ends_the_reports(pair: Any, call: Any) -> None:
    incoming = refer(pair, call[0])
    pair.net.tamper = lambda node, item: None if item.data.startswith(b"NOTIFY") else item.data
    accept(pair, incoming)
    pair.net.run(seconds(40))
    assert not call[1].refer.received


@pytest.mark.parametrize(
    ("event", "status"),
    [("presence", 489), ("", 489), ("refer;id=99999", 481), ("refer;id=x", 481), ("refer", 481)],
)
def test_notifies_that_belong_to_nothing(
    net: SipNetwork, bob: SipNode, stranger: Stranger, offer: bytes, event: Any, status: int
) -> None:
    stranger.send(bob, stranger.request("INVITE", body=offer))
    session = bob.events[0].session
    session.answer(offer, net.now)
    bob.kick()
    to = f"<sip:1000@10.0.0.2>;tag={session.dialog.local.tag}"
    headers = (f"Event: {event}",) if event else ()
    stranger.send(bob, stranger.request("NOTIFY", to=to, cseq="2 NOTIFY", branch="z9hG4bK2", headers=headers))
    assert stranger.responses("NOTIFY")[-1].status == status


@pytest.mark.parametrize(
    ("body", "state", "expected"),
    [
        (b"", "terminated;reason=timeout", (0, True)),
        (b"not a status line", "active", (0, False)),
        (b"SIP/2.0 503 Gone\r\nX: y", "active", (503, True)),
        (b"\r\nSIP/2.0 180\r\n", "active", (180, False)),
    ],
)
def test_sipfrags_of_all_kinds(
    net: SipNetwork, bob: SipNode, stranger: Stranger, offer: bytes, body: bytes, state: Any, expected: Any
) -> None:
    stranger.send(bob, stranger.request("INVITE", body=offer))
    session = bob.events[0].session
    session.answer(offer, net.now)
    bob.kick()
    tag = session.dialog.local.tag
    to = f"<sip:1000@10.0.0.2>;tag={tag}"
    stranger.send(bob, stranger.request("ACK", to=to, branch="z9hG4bKa"))
    session.refer.send(TARGET, net.now)
    bob.kick()
    refer_request = stranger.requests("REFER")[0]
    stranger.send(bob, stranger.respond(refer_request, 200))
    headers = ("Event: refer", f"Subscription-State: {state}", "Content-Type: message/sipfrag")
    stranger.send(
        bob, stranger.request("NOTIFY", to=to, cseq="2 NOTIFY", branch="z9hG4bK2", headers=headers, body=body)
    )
    notified = bob.last(ReferNotified)
    assert (notified.status, notified.final) == expected


def test_subscriptions_are_bounded_both_ways(pair: Any, call: Any) -> None:
    client, _ = call
    for _ in range(MAX_SUBSCRIPTIONS):
        accept(pair, refer(pair, client))
    with pytest.raises(LocalProtocolError, match=str(MAX_SUBSCRIPTIONS)):
        client.refer.send(TARGET, pair.net.now)
    client.refer._sent.popitem()
    incoming = refer(pair, client)
    accept(pair, incoming)
    assert progress(pair)[-1] == "answered 486"
    client.hang_up(pair.net.now)
    pair.alice.kick()
    pair.finish()


def test_what_cannot_be_referred(pair: Any, offer: bytes) -> None:
    client = pair.dial()
    with pytest.raises(LocalProtocolError, match="established"):
        client.refer.send(TARGET, pair.net.now)
    with pytest.raises(BadUri):
        client.refer.send("not a uri", pair.net.now)


def test_a_method_parameter_is_seen(pair: Any, call: Any) -> None:
    assert refer(pair, call[0], "sip:a@b;method=BYE").method == "BYE"
    assert parse_uri("sip:a@b;method=BYE")


@pytest.mark.parametrize("lines", [(), ("Refer-To: <sip:a@b>", "Refer-To: <sip:c@d>"), ("Refer-To: <",)])
def test_a_refer_needs_one_good_target(
    net: SipNetwork, bob: SipNode, stranger: Stranger, offer: bytes, lines: Any
) -> None:
    stranger.send(bob, stranger.request("INVITE", body=offer))
    session = bob.events[0].session
    session.answer(offer, net.now)
    bob.kick()
    to = f"<sip:1000@10.0.0.2>;tag={session.dialog.local.tag}"
    stranger.send(bob, stranger.request("REFER", to=to, cseq="2 REFER", branch="z9hG4bK2", headers=lines))
    assert stranger.responses("REFER")[-1].status == 400
    assert not bob.of(ReferReceived)


def test_a_dropped_session_drops_its_subscriptions(pair: Any, call: Any) -> None:
    client, server = call
    accept(pair, refer(pair, client))
    client.close()
    server.close()
    assert not client.refer._sent
    assert not server.refer.received
    assert not pair.alice.ua.timers.get("refer")
    assert not pair.bob.ua.timers.get("refer")
