"""A SIP call as a leg, at both ends."""

import asyncio
from typing import Any

import pytest

from trunkline.model import LocalError, LocalProtocolError, Overloaded, RemoteProtocolError
from trunkline.telephony.legs.contract import (
    Direction,
    LegAnswered,
    LegDtmf,
    LegEnded,
    LegHeld,
    LegResumed,
    LegRinging,
    TransferProgress,
)
from trunkline.telephony.legs.sip import DtmfMode, SipLeg, Trunk, TrunkTable, anyone, networks
from trunkline.telephony.media.port import Codec, MediaDirection
from trunkline.telephony.sip.proto.sdp import parse_sdp
from trunkline.testing.sipnet import Stranger

OFFER = (
    b"v=0\r\no=- 1 1 IN IP4 10.0.0.9\r\ns=-\r\nc=IN IP4 10.0.0.9\r\nt=0 0\r\n"
    b"m=audio 4000 RTP/AVP 8 0 96\r\na=rtpmap:96 telephone-event/8000\r\n"
)


@pytest.fixture
def stranger(town: Any) -> Any:
    return town.net.stranger("10.0.0.9")


@pytest.fixture
async def incoming(town: Any, bob: Any, stranger: Stranger) -> Any:
    """A stranger's call at Bob: (leg, send a request inside it)."""
    stranger.send(bob.node, stranger.request("INVITE", body=OFFER, name=b'"J\xfcrgen" '))
    return bob.inbound[0]


def inside(bob: Any, stranger: Stranger, leg: Any, method: Any, number: Any, **kwargs: Any) -> Any:
    to = f"<sip:1000@10.0.0.2>;tag={leg.session.dialog.local.tag}"
    data = stranger.request(
        method, to=to, cseq=f"{number} {method}", branch=f"z9hG4bK{method}{number}", **kwargs
    )
    stranger.send(bob.node, data)
    responses = stranger.responses(method)
    return responses[-1] if responses else None


def final(stranger: Stranger, method: Any = "INVITE") -> Any:
    return [response for response in stranger.responses(method) if response.status >= 200]


# --- inbound ----------------------------------------------------------------------------------------------


async def test_an_inbound_call_from_ring_to_bye(
    town: Any, bob: Any, stranger: Stranger, incoming: Any
) -> None:
    leg = incoming
    assert (leg.info.trunk, leg.info.direction, leg.info.ani, leg.info.dnis) == (
        "any",
        Direction.INBOUND,
        "stranger",
        "1000",
    )
    assert leg.info.display_name == "Jürgen"
    assert leg.info.source == "10.0.0.9:5060"
    assert leg.info.protocol_id == "stranger-call"
    assert str(leg.id).startswith("leg-")
    with pytest.raises(LocalProtocolError):
        _ = leg.media
    with pytest.raises(LocalProtocolError):
        await leg.answer()
    await leg.prepare()
    await leg.prepare()
    assert len(bob.media.opened) == 1
    await leg.ring()
    await leg.answer()
    ok = final(stranger)[0]
    audio = parse_sdp(ok.body).media[0]
    assert (audio.port, audio.formats) == (leg.media.local_port, ("8", "96"))
    parameters = leg.media.connected[-1]
    assert (parameters.remote_host, parameters.remote_port, parameters.codec) == (
        "10.0.0.9",
        4000,
        Codec.PCMA,
    )
    assert parameters.dtmf_payload_type == 96
    inside(bob, stranger, leg, "ACK", 1)
    assert bob.of(LegAnswered)
    inside(bob, stranger, leg, "BYE", 2, headers=('Reason: Q.850;cause=16;text="Normal"',))
    ended = bob.last(LegEnded)
    assert (ended.by_peer, ended.cause, ended.detail) == (True, "bye", "Normal")
    await town.run(1)
    assert not bob.media.open_ports
    assert leg.ended
    for command in (
        leg.prepare(),
        leg.ring(),
        leg.answer(),
        leg.reject(486),
        leg.transfer("sip:a@b"),
        leg.hangup(),
        leg.reanchor_media(),
        leg.hold(),
    ):
        await command
    leg.send_dtmf("1")
    assert len(bob.of(LegEnded)) == 1
    await town.finish()


async def test_events_before_a_listener_comes_are_kept(town: Any, bob: Any, stranger: Stranger) -> None:
    legs: list[SipLeg] = []
    bob.legs.set_handler(legs.append)
    stranger.send(bob.node, stranger.request("INVITE", body=OFFER))
    stranger.send(bob.node, stranger.request("CANCEL"))
    seen = []
    legs[0].listen(seen.append)
    assert [event.cause for event in seen] == ["cancel"]
    await town.finish()


async def test_a_caller_who_gives_up_while_media_opens_leaves_nothing(
    town: Any, bob: Any, stranger: Stranger, incoming: Any
) -> None:
    stranger.send(bob.node, stranger.request("CANCEL"))
    await incoming.prepare()
    assert not bob.media.open_ports
    await incoming._open_media(incoming._new_negotiation())
    assert not bob.media.open_ports
    await town.finish()


async def test_an_offer_that_we_cannot_speak_costs_no_port(town: Any, bob: Any, stranger: Stranger) -> None:
    stranger.send(bob.node, stranger.request("INVITE", body=OFFER.replace(b"RTP/AVP 8 0 96", b"RTP/AVP 18")))
    leg = bob.inbound[0]
    with pytest.raises(RemoteProtocolError):
        await leg.prepare()
    assert not bob.media.opened
    await leg.reject(488)
    assert final(stranger)[0].status == 488
    await town.finish()


async def test_no_port_left(town: Any, stranger: Stranger) -> None:
    full = town.party("10.0.0.2", ports=0)
    stranger.send(full.node, stranger.request("INVITE", body=OFFER))
    with pytest.raises(Overloaded):
        await full.inbound[0].prepare()
    await full.inbound[0].reject(503, retry_after=3)
    assert final(stranger)[0].headers.view("retry-after") == 3
    await town.finish()


async def test_rejecting_frees_prepared_media(town: Any, bob: Any, stranger: Stranger, incoming: Any) -> None:
    await incoming.prepare()
    await incoming.reject(486, "Full")
    assert (final(stranger)[0].status, final(stranger)[0].reason) == (486, "Full")
    assert not bob.media.open_ports
    assert bob.last(LegEnded).status == 486
    await town.finish()


async def test_hanging_up_before_the_answer_is_480(
    town: Any, bob: Any, stranger: Stranger, incoming: Any
) -> None:
    await incoming.prepare()
    await incoming.hangup()
    assert final(stranger)[0].status == 480
    await town.finish()


async def test_a_late_offer(town: Any, bob: Any, stranger: Stranger) -> None:
    stranger.send(bob.node, stranger.request("INVITE"))
    leg = bob.inbound[0]
    await leg.prepare()
    await leg.answer()
    assert not leg.media.connected
    assert parse_sdp(final(stranger)[0].body).media[0].formats == ("0", "8", "101")
    inside(bob, stranger, leg, "ACK", 1, body=OFFER)
    assert leg.media.connected[-1].codec is Codec.PCMA
    assert bob.of(LegAnswered)
    await leg.hangup(reason="finished")
    assert stranger.requests("BYE")[0].headers.raw("reason") == b'SIP;cause=200;text="finished"'
    await town.finish()


@pytest.mark.parametrize("answer", [b"", b"nonsense", OFFER.replace(b"audio 4000", b"audio 0")])
async def test_a_late_offer_without_a_usable_answer_ends_the_call(
    town: Any, bob: Any, stranger: Stranger, answer: bytes
) -> None:
    stranger.send(bob.node, stranger.request("INVITE"))
    leg = bob.inbound[0]
    await leg.prepare()
    await leg.answer()
    inside(bob, stranger, leg, "ACK", 1, body=answer)
    assert not bob.of(LegAnswered)
    assert b"cause=488" in stranger.requests("BYE")[0].headers.raw("reason")
    assert bob.of(LegEnded)
    await town.finish()


# --- hold and other re-INVITEs of the peer ----------------------------------------------------------------


@pytest.fixture
async def up(town: Any, bob: Any, stranger: Stranger, incoming: Any) -> Any:
    await incoming.prepare()
    await incoming.answer()
    inside(bob, stranger, incoming, "ACK", 1)
    return incoming


HOLDS = {
    "sendonly": OFFER + b"a=sendonly\r\n",
    "inactive": OFFER + b"a=inactive\r\n",
    "zero address": OFFER.replace(b"c=IN IP4 10.0.0.9", b"c=IN IP4 0.0.0.0"),
}


@pytest.mark.parametrize("kind", HOLDS)
async def test_hold_and_resume(town: Any, bob: Any, stranger: Stranger, up: Any, kind: Any) -> None:
    inside(bob, stranger, up, "INVITE", 2, body=HOLDS[kind])
    inside(bob, stranger, up, "ACK", 2)
    assert len(bob.of(LegHeld)) == 1
    assert up.media.connected[-1].direction in {MediaDirection.RECVONLY, MediaDirection.INACTIVE}
    inside(bob, stranger, up, "INVITE", 3, body=HOLDS[kind])
    inside(bob, stranger, up, "ACK", 3)
    assert len(bob.of(LegHeld)) == 1, "told once"
    inside(bob, stranger, up, "INVITE", 4, body=OFFER)
    inside(bob, stranger, up, "ACK", 4)
    assert len(bob.of(LegResumed)) == 1
    assert up.media.connected[-1].direction is MediaDirection.SENDRECV
    assert not bob.of(LegEnded)
    assert [response.status for response in final(stranger)] == [200] * 4


async def test_media_may_move_and_change_codec(bob: Any, stranger: Stranger, up: Any) -> None:
    moved = OFFER.replace(b"10.0.0.9\r\nt", b"10.0.0.77\r\nt").replace(
        b"audio 4000 RTP/AVP 8 0", b"audio 4444 RTP/AVP 0 8"
    )
    inside(bob, stranger, up, "INVITE", 2, body=moved)
    parameters = up.media.connected[-1]
    assert (parameters.remote_host, parameters.remote_port, parameters.codec) == (
        "10.0.0.77",
        4444,
        Codec.PCMU,
    )


@pytest.mark.parametrize("body", [OFFER.replace(b"8 0 96", b"18"), b"garbage"])
async def test_a_reinvite_that_we_cannot_speak_is_refused_and_the_call_goes_on(
    town: Any, bob: Any, stranger: Stranger, up: Any, body: bytes
) -> None:
    before = len(up.media.connected)
    inside(bob, stranger, up, "INVITE", 2, body=body)
    assert final(stranger)[-1].status in {400, 488}
    assert len(up.media.connected) == before
    assert not bob.of(LegEnded)
    assert not up.ended


@pytest.mark.parametrize("answer", [OFFER, b"garbage"])
async def test_a_reinvite_without_sdp(bob: Any, stranger: Stranger, up: Any, answer: bytes) -> None:
    before = len(up.media.connected)
    inside(bob, stranger, up, "INVITE", 2)
    assert final(stranger)[-1].body
    inside(bob, stranger, up, "ACK", 2, body=answer)
    assert len(up.media.connected) == before + (answer == OFFER)
    assert not bob.of(LegEnded)


async def test_digits_by_info(bob: Any, stranger: Stranger, up: Any) -> None:
    relay = ("Content-Type: application/dtmf-relay",)
    plain = ("Content-Type: application/dtmf",)
    bodies = [
        (relay, b"Signal=5\r\nDuration=160\r\n"),
        (relay, b"Signal= *\r\n"),
        (relay, b"Signal=11\r\n"),
        (plain, b"7"),
        (relay, b"Signal=x"),
        (plain, b""),
        (relay, b""),
    ]
    for number, (headers, body) in enumerate(bodies, 2):
        inside(bob, stranger, up, "INFO", number, headers=headers, body=body)
    assert [event.digit for event in bob.of(LegDtmf)] == ["5", "*", "#", "7"]


# --- two legs ---------------------------------------------------------------------------------------------


async def test_a_call_between_two_legs(town: Any, alice: Any, bob: Any) -> None:
    out, into = await town.call(alice, bob)
    assert alice.of(LegAnswered)
    assert bob.of(LegAnswered)
    assert into.info.ani == "alice"
    assert into.info.display_name == "Alice"
    assert out.info.protocol_id == into.info.protocol_id != ""
    assert out.info.direction is Direction.OUTBOUND
    assert out.media.connected[-1].remote_port == into.media.local_port
    assert into.media.connected[-1].remote_port == out.media.local_port
    await out.hangup()
    await town.run(1)
    assert bob.last(LegEnded).cause == "bye"
    await town.finish()


async def test_our_hold_and_resume(town: Any, alice: Any, bob: Any) -> None:
    out, into = await town.call(alice, bob)

    async def change(step: Any) -> None:
        task = asyncio.ensure_future(step)
        await town.run(1)
        await task

    await change(out.hold())
    assert bob.of(LegHeld)
    assert out.media.connected[-1].direction is MediaDirection.SENDONLY
    assert into.media.connected[-1].direction is MediaDirection.RECVONLY
    await change(out.resume())
    assert bob.of(LegResumed)
    assert into.media.connected[-1].direction is MediaDirection.SENDRECV
    assert not alice.of(LegHeld), "our own hold is not news to us"


async def test_media_is_released_and_anchored_again(town: Any, alice: Any, bob: Any) -> None:
    out, into = await town.call(alice, bob)
    first = into.media
    await into.release_media()
    assert first.closed is not None
    assert not bob.media.open_ports
    held = asyncio.ensure_future(out.hold())
    await town.run(1)
    await held
    assert out.media.connected[-1].direction is MediaDirection.INACTIVE, "no media at the other end"
    task = asyncio.ensure_future(into.reanchor_media())
    await town.run(1)
    await task
    assert into.media is not first
    assert into.media.connected
    assert out.media.connected[-1].remote_port == into.media.local_port
    await into.hangup()
    await town.finish()


async def test_a_reanchoring_that_the_peer_refuses(town: Any, bob: Any, stranger: Stranger, up: Any) -> None:
    await up.release_media()
    task = asyncio.ensure_future(up.reanchor_media())
    await town.run(0.1)
    with pytest.raises(LocalProtocolError, match="under way"):
        await up.hold()
    stranger.send(bob.node, stranger.respond(stranger.requests("INVITE")[0], 403))
    await town.run(0.1)
    with pytest.raises(RemoteProtocolError, match="403"):
        await task
    assert not bob.media.open_ports
    assert not up.ended
    await up.hangup()
    await town.finish()


async def test_a_call_that_ends_during_a_reinvite(town: Any, bob: Any, stranger: Stranger, up: Any) -> None:
    task = asyncio.ensure_future(up.reanchor_media())
    await town.run(0.1)
    inside(bob, stranger, up, "BYE", 2)
    await town.run(0.1)
    with pytest.raises(RemoteProtocolError, match="ended"):
        await task
    await town.finish()


async def test_digits_go_the_way_the_trunk_wants(town: Any, alice: Any, bob: Any) -> None:
    out, _ = await town.call(alice, bob)
    out.send_dtmf("12#")
    assert out.media.digits_sent == ["12#"]
    by_info = town.party("10.0.0.4", trunks=anyone(dtmf=DtmfMode.INFO))
    other, _ = await town.call(by_info, bob)
    other.send_dtmf("9*")
    await town.run(1)
    assert [event.digit for event in bob.of(LegDtmf)] == ["9", "*"]


async def test_a_dial_that_rings_and_is_refused(town: Any, alice: Any, bob: Any) -> None:
    leg = await alice.legs.dial("sip:1000@10.0.0.2", listener=alice.events.append)
    await town.until(lambda: bool(bob.inbound))
    await bob.inbound[0].ring()
    await town.run(0.5)
    await bob.inbound[0].reject(486)
    await town.run(0.5)
    assert [event.status for event in alice.of(LegRinging)] == [180]
    ended = alice.last(LegEnded)
    assert (ended.cause, ended.status, ended.by_peer) == ("rejected", 486, True)
    assert leg.ended
    await town.finish()


async def test_early_media_and_an_answer_that_differs(town: Any, alice: Any, stranger: Stranger) -> None:
    await alice.legs.dial("sip:1000@10.0.0.9", listener=alice.events.append)
    invite = stranger.requests("INVITE")[0]
    contact = ("Contact: <sip:x@10.0.0.9>",)
    stranger.send(alice.node, stranger.respond(invite, 183, tag="a", headers=contact, body=OFFER))
    stranger.send(alice.node, stranger.respond(invite, 183, tag="b", headers=contact, body=b"junk"))
    assert [event.early_media for event in alice.of(LegRinging)] == [True, False]
    port = alice.media.opened[0]
    assert port.connected[-1].remote_port == 4000
    later = OFFER.replace(b"audio 4000", b"audio 4002")
    stranger.send(alice.node, stranger.respond(invite, 200, tag="b", headers=contact, body=later))
    assert port.connected[-1].remote_port == 4002
    assert alice.of(LegAnswered)


@pytest.mark.parametrize("body", [b"", b"junk", OFFER.replace(b"8 0 96", b"18")])
async def test_an_answer_that_we_cannot_speak_ends_the_call(
    town: Any, alice: Any, stranger: Stranger, body: bytes
) -> None:
    await alice.legs.dial("sip:1000@10.0.0.9", listener=alice.events.append)
    invite = stranger.requests("INVITE")[0]
    stranger.send(
        alice.node, stranger.respond(invite, 200, tag="a", headers=("Contact: <sip:x@10.0.0.9>",), body=body)
    )
    assert stranger.requests("ACK")
    assert stranger.requests("BYE")
    assert not alice.of(LegAnswered)
    assert alice.of(LegEnded)
    stranger.send(alice.node, stranger.respond(stranger.requests("BYE")[0], 200))
    await town.finish()


async def test_hanging_up_while_it_rings_cancels(town: Any, alice: Any, bob: Any) -> None:
    leg = await alice.legs.dial("sip:1000@10.0.0.2", listener=alice.events.append)
    await town.until(lambda: bool(bob.inbound))
    await town.run(0.5)
    await leg.hangup()
    assert not alice.media.open_ports, "media is free at once"
    await town.run(0.5)
    assert bob.last(LegEnded).cause == "cancel"
    assert alice.last(LegEnded).cause == "cancel"
    await town.finish()


# --- transfer ---------------------------------------------------------------------------------------------


async def test_a_transfer_as_seen_by_the_one_who_asks(
    town: Any, bob: Any, stranger: Stranger, up: Any
) -> None:
    target = "sip:queue@10.0.0.7;x=1?Replaces=a%40b"
    await up.transfer(target, headers={"X-Context": "7"})
    refer = stranger.requests("REFER")[0]
    assert refer.headers.raw("refer-to") == f"<{target}>".encode()
    assert refer.headers.raw("x-context") == b"7"
    stranger.send(bob.node, stranger.respond(refer, 202))
    event = ("Event: refer", "Subscription-State: active", "Content-Type: message/sipfrag")
    inside(bob, stranger, up, "NOTIFY", 2, headers=event, body=b"SIP/2.0 180 Ringing")
    inside(bob, stranger, up, "NOTIFY", 3, headers=event, body=b"SIP/2.0 200 OK")
    seen = [(e.status, e.accepted, e.final) for e in bob.of(TransferProgress)]
    assert seen == [(202, True, False), (180, False, False), (200, False, True)]
    assert not up.ended


async def test_a_transfer_that_is_refused(bob: Any, stranger: Stranger, up: Any) -> None:
    await up.transfer("tel:+491")
    stranger.send(bob.node, stranger.respond(stranger.requests("REFER")[0], 405))
    progress = bob.last(TransferProgress)
    assert (progress.status, progress.accepted, progress.final) == (405, False, True)


async def test_a_target_that_is_no_uri_is_our_mistake(up: Any) -> None:
    with pytest.raises(LocalError, match="cannot transfer"):
        await up.transfer("the other desk")


async def test_who_may_not_transfer_us(town: Any, bob: Any, stranger: Stranger, up: Any) -> None:
    response = inside(bob, stranger, up, "REFER", 2, headers=("Refer-To: <sip:a@b>",))
    assert response.status == 403
    assert not up.ended


async def test_the_session_of_a_leg_that_was_never_dialled(town: Any, alice: Any) -> None:
    leg = SipLeg(alice.legs, "leg-x", None, None, None, "")
    with pytest.raises(LocalProtocolError):
        _ = leg.session
    seen = []
    leg.listen(seen.append)
    await leg.hangup()
    assert [event.cause for event in seen] == ["cancel"]


async def test_everything_a_call_needed_is_given_back(town: Any, alice: Any, bob: Any) -> None:
    out, _ = await town.call(alice, bob)
    out.session.refer.send("sip:a@b", town.net.now)
    alice.node.kick()
    await town.run(2)
    await out.hangup()
    await town.finish()


@pytest.mark.parametrize(("nat", "host"), [(False, "192.168.7.7"), (True, "10.0.0.9")])
async def test_behind_a_nat_media_goes_where_signalling_comes_from(
    town: Any, stranger: Stranger, nat: Any, host: str
) -> None:
    table = TrunkTable((Trunk("desk", networks(("10.0.0.0/8",)), nat=nat),))
    carol = town.party("10.0.0.3", trunks=table)
    offer = OFFER.replace(b"c=IN IP4 10.0.0.9", b"c=IN IP4 192.168.7.7")
    stranger.send(carol.node, stranger.request("INVITE", body=offer))
    leg = carol.inbound[0]
    await leg.prepare()
    await leg.answer()
    parameters = leg.media.connected[-1]
    assert (parameters.remote_host, parameters.remote_port) == (host, 4000)
    await leg.hangup()
    await carol.legs.close()
