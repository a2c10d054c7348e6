"""Inbound calls to the handler, outbound calls, transfers that are followed, closing."""

import asyncio
from typing import Any

import pytest

from trunkline.model import Overloaded, RemoteProtocolError
from trunkline.telephony.legs.contract import (
    LegAnswered,
    LegEnded,
    TransferProgress,
    TransferRequested,
)
from trunkline.telephony.legs.sip import Strangers, Trunk, TrunkTable, networks
from trunkline.telephony.sip.proto import UaConfig
from trunkline.testing.sipnet import Stranger


@pytest.fixture
def stranger(town: Any) -> Any:
    return town.net.stranger("10.0.0.9")


async def test_only_trunks_may_call(town: Any, stranger: Stranger, offer_bytes: bytes) -> None:
    table = TrunkTable((Trunk("pbx", networks(["10.0.0.8"])),))
    bob = town.party("10.0.0.2", trunks=table)
    stranger.send(bob.node, stranger.request("INVITE", body=offer_bytes))
    assert [response.status for response in stranger.responses()] == [403]
    pbx = town.net.stranger("10.0.0.8")
    pbx.send(bob.node, pbx.request("INVITE", body=offer_bytes))
    assert [leg.info.trunk for leg in bob.inbound] == ["pbx"]
    await bob.legs.close()


async def test_scanners_hear_nothing(town: Any, stranger: Stranger, offer_bytes: bytes) -> None:
    bob = town.party("10.0.0.2", trunks=TrunkTable((), strangers=Strangers.SILENCE))
    for method in ("INVITE", "OPTIONS", "REGISTER"):
        stranger.send(bob.node, stranger.request(method, branch=f"z9hG4bK{method}", body=offer_bytes))
    assert not stranger.received


async def test_without_a_handler_calls_get_480(town: Any, stranger: Stranger, offer_bytes: bytes) -> None:
    bob = town.party("10.0.0.2", answering=False)
    stranger.send(bob.node, stranger.request("INVITE", body=offer_bytes))
    assert stranger.responses()[-1].status == 480


async def test_a_source_that_slips_past_the_screen_is_refused(
    town: Any, stranger: Stranger, offer_bytes: bytes
) -> None:
    bob = town.party("10.0.0.2", trunks=TrunkTable(()))
    bob.node.ua._screen = None
    stranger.send(bob.node, stranger.request("INVITE", body=offer_bytes))
    assert stranger.responses()[-1].status == 403


async def test_a_handler_that_fails_costs_one_call(
    town: Any, stranger: Stranger, offer_bytes: bytes, bob: Any, caplog: Any
) -> None:
    def broken(leg: Any) -> None:
        raise KeyError("oops")

    bob.legs.set_handler(broken)
    stranger.send(bob.node, stranger.request("INVITE", body=offer_bytes))
    assert stranger.responses()[-1].status == 500
    assert bob.node.ua.counters["handler_failed"] == 1
    assert "oops" in caplog.text
    await town.finish()


async def test_dialling_names_the_caller(town: Any, alice: Any, stranger: Stranger) -> None:
    await alice.legs.dial(
        "sip:1@10.0.0.9;user=phone?X=1",
        caller="sip:+491@trunk.example",
        display_name="Ann",
        headers={"X-A": "b"},
    )
    invite = stranger.requests("INVITE")[0]
    assert invite.uri_text == "sip:1@10.0.0.9;user=phone"
    assert invite.headers.raw("from").startswith(b'"Ann" <sip:+491@trunk.example>;tag=')
    assert invite.headers.raw("x-a") == b"b"
    await alice.legs.dial("sip:2@10.0.0.9")
    assert stranger.requests("INVITE")[-1].from_.uri.user == "trunkline"


async def test_a_telephone_number_goes_through_a_proxy(town: Any, alice: Any, stranger: Stranger) -> None:
    leg = await alice.legs.dial("tel:+49-30-1", proxy="sip:10.0.0.9", trunk="carrier")
    invite = stranger.requests("INVITE")[0]
    assert invite.uri_text == "tel:+49-30-1"
    assert invite.headers.raw("route") == b"<sip:10.0.0.9;lr>"
    assert (leg.info.dnis, leg.info.trunk) == ("+49301", "any")


@pytest.mark.parametrize("target", ["nonsense", "tel:+491", "sip:", "http://x/"])
async def test_what_cannot_be_dialled(alice: Any, target: str) -> None:
    with pytest.raises(RemoteProtocolError):
        await alice.legs.dial(target)
    assert not alice.media.opened


async def test_dialling_without_room(town: Any, stranger: Stranger) -> None:
    small = town.party("10.0.0.5", ports=0)
    with pytest.raises(Overloaded):
        await small.legs.dial("sip:x@10.0.0.9")
    full = town.party("10.0.0.6", config=UaConfig(max_sessions=0))
    with pytest.raises(Overloaded):
        await full.legs.dial("sip:x@10.0.0.9")
    assert not full.media.open_ports
    assert len(full.legs) == 0


async def test_a_transfer_is_followed_by_a_phone(town: Any, alice: Any, bob: Any) -> None:
    """Alice (a phone) calls Bob (an agent), who transfers her to Carol (a human)."""
    carol = town.party("10.0.0.3")
    out, into = await town.call(alice, bob)
    await into.transfer("sip:human@10.0.0.3;reason=x", headers={"X-Note": "vip"})
    await town.until(lambda: bool(alice.of(TransferRequested)))
    request = alice.last(TransferRequested)
    assert request.target == "sip:human@10.0.0.3;reason=x"
    new = await alice.legs.follow(out, request, alice.events.append)
    await town.until(lambda: bool(carol.inbound))
    human = carol.inbound[0]
    assert "10.0.0.2" in human.info.headers["referred-by"]
    await human.prepare()
    await human.ring()
    await town.run(0.5)
    await into.release_media()
    await human.answer()
    await town.run(0.5)
    seen = [(e.status, e.accepted, e.final) for e in bob.of(TransferProgress)]
    assert seen == [(202, True, False), (100, False, False), (180, False, False), (200, False, True)]
    assert new.media.connected[-1].remote_port == human.media.local_port
    await into.hangup()
    await town.run(0.5)
    assert not bob.media.open_ports
    assert not new.ended
    await new.hangup()
    await town.finish()


@pytest.mark.parametrize(("status", "told"), [(486, 486), (603, 603)])
async def test_a_followed_transfer_that_fails_is_reported(
    town: Any, alice: Any, bob: Any, status: int, told: Any
) -> None:
    carol = town.party("10.0.0.3")
    out, into = await town.call(alice, bob)
    await into.transfer("sip:human@10.0.0.3")
    await town.until(lambda: bool(alice.of(TransferRequested)))
    await alice.legs.follow(out, alice.last(TransferRequested))
    await town.until(lambda: bool(carol.inbound))
    await carol.inbound[0].reject(status)
    await town.run(0.5)
    last = bob.last(TransferProgress)
    assert (last.status, last.final) == (told, True)
    assert not out.ended
    assert not into.ended


async def test_a_followed_transfer_that_we_cancel(town: Any, alice: Any, bob: Any) -> None:
    town.party("10.0.0.3")
    out, into = await town.call(alice, bob)
    await into.transfer("sip:human@10.0.0.3")
    await town.until(lambda: bool(alice.of(TransferRequested)))
    new = await alice.legs.follow(out, alice.last(TransferRequested))
    await town.run(0.2)
    await new.hangup()
    await town.run(0.5)
    assert (bob.last(TransferProgress).status, bob.last(TransferProgress).final) == (487, True)


async def test_a_followed_transfer_that_cannot_be_placed(town: Any, bob: Any) -> None:
    phone = town.party("10.0.0.1", accept_refer=True, ports=1)
    out, into = await town.call(phone, bob)
    for target, status in (("sip:human@10.0.0.3", 503), ("http://web/", 400)):
        await into.transfer(target)
        await town.run(0.5)
        assert await phone.legs.follow(out, phone.last(TransferRequested)) is None
        await town.run(0.5)
        assert (bob.last(TransferProgress).status, bob.last(TransferProgress).final) == (status, True)


async def test_a_transfer_request_can_be_refused(town: Any, alice: Any, bob: Any) -> None:
    out, into = await town.call(alice, bob)
    await into.transfer("sip:human@10.0.0.3")
    await town.until(lambda: bool(alice.of(TransferRequested)))
    await into.transfer("sip:other@10.0.0.3")
    await town.run(0.5)
    assert bob.last(TransferProgress).status == 491, "one at a time"
    out.reject_transfer(486)
    out.reject_transfer(486)
    out.accept_transfer()
    out.transfer_progress(200)
    await town.run(0.5)
    assert [e.status for e in bob.of(TransferProgress)] == [491, 486]


async def test_a_target_method_other_than_invite_is_refused(town: Any, alice: Any, bob: Any) -> None:
    _, into = await town.call(alice, bob)
    await into.transfer("sip:x@y;method=BYE")
    await town.run(0.5)
    assert bob.last(TransferProgress).status == 403


async def test_closing_hangs_up_everything(town: Any, alice: Any, bob: Any) -> None:
    await town.call(alice, bob)
    await town.call(alice, bob)
    assert len(bob.legs) == 2
    await bob.legs.close()
    assert not bob.media.open_ports
    assert len(bob.legs) == 0
    await town.run(1)
    assert [event.cause for event in alice.of(LegEnded)] == ["bye", "bye"]
    assert len(bob.of(LegAnswered)) == 2
    late = await alice.legs.dial("sip:1@10.0.0.2", listener=alice.events.append)
    await town.run(1)
    assert late.ended
    assert alice.last(LegEnded).status == 480
    await alice.legs.close()
    await town.finish()


async def test_a_task_that_fails_is_seen(town: Any, bob: Any, caplog: Any) -> None:
    async def broken() -> None:
        raise KeyError("media")

    bob.legs.spawn(broken(), "closing")
    await town.run(0.1)
    assert bob.node.ua.counters["task_failed"] == 1
    assert "closing failed" in caplog.text


async def test_closing_waits_for_tasks(town: Any, bob: Any) -> None:
    done = asyncio.Event()

    async def work() -> None:
        done.set()

    bob.legs.spawn(work(), "work")
    await bob.legs.close()
    assert done.is_set()
