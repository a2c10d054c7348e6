"""The SIP network model is itself tested: the same seed is the same run, and weather does what it says."""

import pytest

from trunkline.model import Nanos, seconds
from trunkline.model.units import MS
from trunkline.telephony.sip.proto import CallAnswered, CallEnded, IncomingCall, Request, parse_uri
from trunkline.testing.sipnet import SipNetwork, Weather

BAD = Weather(loss=0.3, duplicate=0.3, delay=Nanos(10 * MS), jitter=Nanos(300 * MS))


def run(seed: int, weather: Weather) -> tuple[list[tuple[int, str]], SipNetwork]:
    """A call with everything on the wire: (time, start line)."""
    net = SipNetwork(seed=seed, weather=weather)
    alice, bob = net.node("10.0.0.1"), net.node("10.0.0.2")
    alice.ua.invite(parse_uri(f"{bob.uri}"), body=b"v=0\r\n", now=net.now)
    alice.kick()
    net.until(lambda: bool(bob.of(IncomingCall)))
    call = bob.last(IncomingCall)
    assert isinstance(call, IncomingCall)
    call.session.answer(b"v=0\r\n", net.now)
    bob.kick()
    net.until(lambda: bool(alice.of(CallAnswered)))
    answered = alice.last(CallAnswered)
    assert isinstance(answered, CallAnswered)
    answered.session.hang_up(net.now)
    alice.kick()
    net.settle()
    assert alice.idle
    return [(when, message.start_line().decode()) for when, _, _, message in net.wire], net


def test_the_same_seed_is_the_same_run() -> None:
    assert run(5, BAD)[0] == run(5, BAD)[0]
    assert run(5, BAD)[0] != run(6, BAD)[0]


def test_loss_makes_more_messages_and_calm_weather_none() -> None:
    calm = run(1, Weather())[0]
    assert [line.split()[0] for _, line in calm] == ["INVITE", "SIP/2.0", "SIP/2.0", "ACK", "BYE", "SIP/2.0"]
    assert sum(len(run(seed, BAD)[0]) for seed in range(10)) > 10 * len(calm)


def test_hours_pass_in_no_time() -> None:
    net = SipNetwork()
    start = net.now
    fired: list[int] = []
    net.after(seconds(3600), lambda: fired.append(net.now - start))
    net.run(seconds(7200))
    assert fired == [seconds(3600)]
    assert net.now - start == seconds(7200)


def test_a_stranger_is_bytes_at_an_address() -> None:
    net = SipNetwork()
    bob, stranger = net.node("10.0.0.2"), net.stranger("10.0.0.9")
    stranger.send(bob, stranger.request("INVITE", body=b"v=0\r\n", name=b"\xfc "))
    assert [response.status for response in stranger.responses("INVITE")] == [100]
    assert stranger.requests("INVITE") == []
    invite = bob.last(IncomingCall)
    assert isinstance(invite, IncomingCall)
    assert isinstance(invite.session.request, Request)
    assert bob.media_host("anywhere") == "10.0.0.2"


def test_streams_fail_where_nobody_listens_and_lose_nothing() -> None:
    net = SipNetwork(weather=Weather(loss=1.0))
    alice, bob = net.node("10.0.0.1"), net.node("10.0.0.2")
    for host in ("10.0.0.2", "10.0.0.3"):
        alice.ua.invite(parse_uri(f"sip:x@{host};transport=tcp"), now=net.now)
    alice.kick()
    net.run(seconds(1))
    assert len(bob.of(IncomingCall)) == 1
    assert len(alice.of(CallEnded)) == 1
    bob.closed = True
    alice.ua.invite(parse_uri("sip:x@10.0.0.2;transport=tcp"), now=net.now)
    alice.kick()
    net.run(seconds(1))
    assert len(alice.of(CallEnded)) == 2


def test_waiting_for_what_never_happens_fails() -> None:
    net = SipNetwork()
    with pytest.raises(AssertionError, match="never"):
        net.until(lambda: False)
    with pytest.raises(AssertionError, match="no CallEnded"):
        net.node("10.0.0.1").last(CallEnded)
