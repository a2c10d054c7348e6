import pytest

from trunkline.model import LocalProtocolError, RemoteProtocolError
from trunkline.telephony.legs.contract import LegAnswered, LegDtmf, LegEnded, LegEvent, TransferProgress
from trunkline.testing import (
    TRANSFER_BUSY,
    TRANSFER_SUCCEEDS,
    Collector,
    FakeLeg,
    FakeMediaFactory,
    VirtualClock,
    leg_info,
    settle,
)


async def test_a_call_from_answer_to_bye(fake_media: FakeMediaFactory, virtual_clock: VirtualClock) -> None:
    leg, seen = (
        FakeLeg(fake_media, virtual_clock, info=leg_info(dnis="2000", x_cust="7")),
        Collector[LegEvent](),
    )
    assert leg.info.dnis == "2000"
    assert leg.info.headers == {"x-cust": "7"}
    with pytest.raises(LocalProtocolError, match="prepare"):
        _ = leg.media
    leg.listen(seen)
    await leg.prepare()
    assert len(fake_media.open_ports) == 1
    await leg.ring()
    await leg.answer()
    await seen.wait(LegAnswered)
    leg.peer_presses("5")
    leg.peer_holds()
    leg.peer_resumes()
    leg.peer_hangs_up()
    leg.peer_presses("6")
    ended = await seen.wait(LegEnded)
    assert (ended.by_peer, ended.cause) == (True, "bye")
    assert seen.kinds() == ["LegAnswered", "LegDtmf", "LegHeld", "LegResumed", "LegEnded"]
    assert [event.digit for event in seen.of(LegDtmf)] == ["5"]
    await leg.hangup()
    assert not fake_media.open_ports
    await settle()
    assert len(seen.of(LegEnded)) == 1


async def test_transfers_report_their_script(
    fake_media: FakeMediaFactory, virtual_clock: VirtualClock
) -> None:
    leg = FakeLeg(fake_media, virtual_clock, transfers=[TRANSFER_BUSY, TRANSFER_SUCCEEDS])
    seen = Collector[LegEvent]()
    leg.listen(seen)
    await leg.prepare()
    await leg.answer()
    await leg.transfer("tel:+15550100", headers={"X-Case": "1"})
    refused = await seen.wait(TransferProgress, lambda e: e.final)
    assert refused.status == 486
    await leg.release_media()
    assert leg.state == "released"
    assert not fake_media.open_ports
    await leg.reanchor_media()
    assert leg.state == "answered"
    await leg.transfer("sip:human@127.0.0.1")
    done = await seen.wait(TransferProgress, lambda e: e.final, count=2)
    assert done.status == 200
    assert [t.target for t in leg.transferred] == ["tel:+15550100", "sip:human@127.0.0.1"]
    await leg.hangup()


async def test_a_rejected_call_holds_nothing(
    fake_media: FakeMediaFactory, virtual_clock: VirtualClock
) -> None:
    leg, seen = FakeLeg(fake_media, virtual_clock), Collector[LegEvent]()
    await leg.prepare()
    await leg.reject(503, retry_after=5)
    leg.listen(seen)
    assert seen.of(LegEnded)[0].status == 503
    assert leg.status == 503
    await leg.answer()
    assert leg.state == "ended"


async def test_an_offer_we_cannot_speak(fake_media: FakeMediaFactory, virtual_clock: VirtualClock) -> None:
    leg = FakeLeg(fake_media, virtual_clock, speakable=False)
    with pytest.raises(RemoteProtocolError, match="codec"):
        await leg.prepare()


async def test_hanging_up_ends_a_transfer_in_progress(
    fake_media: FakeMediaFactory, virtual_clock: VirtualClock
) -> None:
    leg, seen = FakeLeg(fake_media, virtual_clock), Collector[LegEvent]()
    leg.listen(seen)
    await leg.prepare()
    await leg.answer()
    await leg.transfer("sip:a@b")
    await leg.hangup()
    await settle()
    assert virtual_clock.sleepers() == 0
    assert not seen.of(TransferProgress)
