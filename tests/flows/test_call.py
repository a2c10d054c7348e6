"""Whole calls through ``calls.flow`` with every other room faked and time virtual."""

from pathlib import Path

import pytest

from trunkline.calls.states import State
from trunkline.engines.contract import (
    Brief,
    CallerDigits,
    CallerHeld,
    CallerSpeechStarted,
    CallerSpeechStopped,
    EngineCommand,
    EngineError,
    Fault,
    GoingAway,
    Greet,
    HandOver,
    HangUp,
    Interrupted,
    ItemStarted,
    Role,
    Say,
    ToolCall,
    ToolCallCancelled,
    ToolResult,
    Transcript,
    Truncate,
    Usage,
)
from trunkline.model import MS, Nanos, Reason, Result, ToolCallId, seconds
from trunkline.telephony.media.port import MediaEvent, PlayEnded
from trunkline.testing import (
    TRANSFER_BUSY,
    TRANSFER_REFUSED,
    TRANSFER_SILENT,
    Emit,
    ScriptedEngine,
    Speak,
    TransferStep,
    Wait,
    leg_info,
    settle,
    wait_until,
)
from trunkline.testing.house import GREETING, House
from trunkline.trust.ledger import Kind


async def test_a_call_from_ring_to_hang_up(tmp_path: Path) -> None:
    async with House(tmp_path) as house:
        leg = house.ring()
        await house.until(Kind.PLAY_ENDED)
        leg.peer_hangs_up()
        outcome = await house.over()
        await house.gone()
        assert (outcome.result, outcome.reason) == (Result.SUCCESS, Reason.CALLER_HUNG_UP)
        assert [
            k for k in house.kinds() if k not in {Kind.ITEM_STARTED, Kind.ITEM_ENDED, Kind.TURN_ENDED}
        ] == [
            Kind.CALL_ARRIVED,
            Kind.ROUTED,
            Kind.RECORDING_STARTED,
            Kind.MEDIA_OPENED,
            Kind.ENGINE_STARTING,
            Kind.ENGINE_READY,
            Kind.ANSWERED,
            Kind.CONNECTED,
            Kind.GREETING,
            Kind.TRANSCRIPT,
            Kind.PLAY_STARTED,
            Kind.PLAY_ENDED,
            Kind.LEG_ENDED,
            Kind.ENGINE_CLOSED,
            Kind.MEDIA_CLOSED,
        ]
        steps = house.journal.steps("leg", "engine")
        assert steps[:4] == ["leg.prepare", "engine.start", "leg.answer", "engine.Greet"]
        assert house.ledger.recordings[house.call_id()] == ("recordings/call-1.wav",)
        assert house.port.recordings == [tmp_path / "recordings" / "call-1.wav"]
        assert len(house.meter.of("first_audio")) == 1
        house.assert_clean()


async def test_the_record_is_durable_before_the_answer(tmp_path: Path) -> None:
    async with House(tmp_path) as house:
        house.ledger.unavailable = True
        leg = house.ring()
        await house.gone()
        assert leg.status == 503
        assert "leg.prepare" not in house.journal.steps()
        assert "leg.ring" not in house.journal.steps()
        house.assert_clean()


async def test_the_engine_hangs_up_after_its_last_words(tmp_path: Path) -> None:
    async with House(tmp_path) as house:
        house.first.script = {
            Greet: [(Speak("Goodbye.", 2_000, "bye"), Emit(lambda at: HangUp(at, "done")))],
        }
        house.ring()
        outcome = await house.over()
        assert (outcome.result, outcome.reason) == (Result.SUCCESS, Reason.AI_HUNG_UP)
        assert house.entry(Kind.PLAY_ENDED) == {"item": "bye", "heard_ms": 2000, "total_ms": 2000}
        await house.gone()
        house.assert_clean()


async def test_last_words_are_waited_for_only_so_long(tmp_path: Path) -> None:
    async with House(tmp_path, limits={"farewell_s": 3}) as house:
        house.first.script = {Greet: [(Speak("Bla", 60_000, "long"), Emit(lambda at: HangUp(at, "done")))]}
        house.ring()
        await house.over()
        assert Kind.PLAY_ENDED not in house.kinds()
        assert house.at_ms(Kind.LEG_ENDED) == pytest.approx(3000, abs=50)


async def test_barge_in_flushes_and_tells_what_was_heard(tmp_path: Path) -> None:
    async with House(tmp_path) as house:
        house.clock.autojump = False
        house.ring()
        await house.greeted()
        await house.clock.advance(420 * MS)
        house.engine.emit(CallerSpeechStarted(house.clock.now()))
        await house.clock.advance(100 * MS)
        house.engine.emit(CallerSpeechStopped(house.clock.now()))
        await settle()
        [told] = [c for c in house.engine.commands if isinstance(c, Truncate)]
        assert told.item == "greeting"
        assert 420 <= told.heard_ms <= 440
        assert house.entry(Kind.BARGE_IN) == {"item": "greeting", "source": "engine"}
        flushed = house.entry(Kind.FLUSHED)
        assert flushed["items"][0]["heard_ms"] == told.heard_ms
        assert flushed["flush_ms"] <= 60
        assert house.kinds().index(Kind.BARGE_IN) < house.kinds().index(Kind.FLUSHED)
        assert "media.drop_item" in house.journal.steps()
        assert len(house.meter.of("barge_in")) == 1


async def test_late_audio_of_an_interrupted_item_is_not_heard(tmp_path: Path) -> None:
    async with House(tmp_path) as house:
        house.clock.autojump = False
        house.ring()
        await house.greeted()
        await house.clock.advance(300 * MS)
        house.engine.emit(CallerSpeechStarted(house.clock.now()))
        await house.clock.advance(50 * MS)
        house.port.play("greeting", bytes(32_000), 16_000)
        await house.clock.advance(3_000 * MS)
        heard = dict(house.port.playout.heard_log())
        assert heard["greeting"] <= 320


async def test_an_agent_without_barge_in_talks_on(tmp_path: Path) -> None:
    async with House(tmp_path, barge_in=False) as house:
        house.clock.autojump = False
        house.ring()
        await house.greeted()
        await house.clock.advance(300 * MS)
        house.engine.emit(CallerSpeechStarted(house.clock.now()))
        await house.clock.advance(1_000 * MS)
        assert Kind.BARGE_IN not in house.kinds()
        assert house.entry(Kind.PLAY_ENDED)["heard_ms"] == 1000


async def test_speech_into_silence_is_no_barge_in(tmp_path: Path) -> None:
    async with House(tmp_path) as house:
        house.ring()
        await house.until(Kind.PLAY_ENDED)
        house.engine.emit(CallerSpeechStarted(house.clock.now()))
        await house.until(Kind.CALLER_SPEECH_STARTED)
        assert Kind.BARGE_IN not in house.kinds()
        assert "media.flush" not in house.journal.steps()


async def test_digits_of_both_ways_reach_the_engine(tmp_path: Path) -> None:
    async with House(tmp_path) as house:
        leg = house.ring()
        await house.until(Kind.PLAY_ENDED)
        leg.peer_presses("1")
        house.port.caller_presses("2#")
        await house.until(Kind.DTMF, count=3)
        pressed = [c.digits for c in house.engine.commands if isinstance(c, CallerDigits)]
        assert sorted(pressed) == ["#", "1", "2"]


async def test_a_slow_tool_is_masked_and_answered(tmp_path: Path) -> None:
    async with House(tmp_path) as house:
        house.tools.take_ms = 2500
        house.ring()
        await house.until(Kind.PLAY_ENDED)
        asked = house.clock.now()
        house.engine.emit(ToolCall(asked, ToolCallId("t1"), "lookup", {"order": "4711"}))
        await house.until(Kind.MASK_ENDED)
        started = house.at_ms(Kind.MASK_STARTED) + house.ledger.started[house.call_id()].started / MS
        assert started - asked / MS == pytest.approx(700, abs=50)
        assert house.entry(Kind.MASK_STARTED) == {"name": "mask:t1", "text": "Let me look that up."}
        await house.engine_has(ToolResult)
        [result] = [c for c in house.engine.commands if isinstance(c, ToolResult)]
        assert result == ToolResult(
            ToolCallId("t1"), {"status": "shipped"}, failed=False, spoken="It is shipped."
        )
        assert house.tools.requests[0].arguments == {"order": "4711"}
        [(name, status, took)] = house.meter.of("tool")
        assert (name, status, took / MS) == ("lookup", "ok", pytest.approx(2500, abs=50))


async def test_a_fast_tool_is_not_masked(tmp_path: Path) -> None:
    async with House(tmp_path) as house:
        house.ring()
        await house.until(Kind.PLAY_ENDED)
        house.engine.emit(ToolCall(house.clock.now(), ToolCallId("t1"), "lookup", {}))
        await house.engine_has(ToolResult)
        assert Kind.MASK_STARTED not in house.kinds()
        assert house.voice.said == []


async def test_a_mask_waits_for_the_agents_own_words(tmp_path: Path) -> None:
    async with House(tmp_path) as house:
        house.tools.take_ms = 5000
        house.first.script = {
            Greet: [
                (
                    Speak("I will check that for you, one second.", 2_000, "own"),
                    Emit(lambda at: ToolCall(at, ToolCallId("t1"), "lookup", {})),
                )
            ]
        }
        house.ring()
        await house.engine_has(ToolResult)
        assert house.kinds().index(Kind.PLAY_ENDED) < house.kinds().index(Kind.MASK_STARTED)


async def test_one_mask_at_a_time(tmp_path: Path) -> None:
    async with House(tmp_path) as house:
        house.tools.take_ms = 3000
        house.ring()
        await house.until(Kind.PLAY_ENDED)
        for name in ("t1", "t2"):
            house.engine.emit(ToolCall(house.clock.now(), ToolCallId(name), "lookup", {}))
        await house.engine_has(ToolResult, 2)
        assert house.kinds().count(Kind.MASK_STARTED) == 1


async def test_a_tool_that_breaks_is_answered_all_the_same(tmp_path: Path) -> None:
    async with House(tmp_path) as house:
        house.tools.fail = RuntimeError("secret detail")
        house.ring()
        await house.until(Kind.PLAY_ENDED)
        house.engine.emit(ToolCall(house.clock.now(), ToolCallId("t1"), "lookup", {}))
        await house.engine_has(ToolResult)
        [result] = [c for c in house.engine.commands if isinstance(c, ToolResult)]
        assert result.failed
        assert "secret" not in str(result)
        assert Kind.BUG in house.kinds()


async def test_a_cancelled_tool_is_stopped_and_not_answered(tmp_path: Path) -> None:
    async with House(tmp_path) as house:
        house.tools.take_ms = 10_000
        house.ring()
        await house.until(Kind.PLAY_ENDED)
        house.engine.emit(ToolCall(house.clock.now(), ToolCallId("t1"), "lookup", {}))
        await house.until(Kind.MASK_STARTED)
        house.engine.emit(ToolCallCancelled(house.clock.now(), ToolCallId("t1")))
        await house.until(Kind.MASK_ENDED)
        assert house.tools.cancelled == 1
        assert not [c for c in house.engine.commands if isinstance(c, ToolResult)]


async def test_more_tools_than_allowed_are_refused(tmp_path: Path) -> None:
    async with House(tmp_path, limits={"tools_at_once": 1}) as house:
        house.tools.take_ms = 10_000
        house.ring()
        await house.until(Kind.PLAY_ENDED)
        for number in range(6):
            house.engine.emit(ToolCall(house.clock.now(), ToolCallId(f"t{number}"), "lookup", {}))
        await house.until(Kind.TOOL_REFUSED)
        assert house.kinds().count(Kind.TOOL_REFUSED) == 1
        await house.engine_has(ToolResult, 1)


async def test_a_hang_up_cancels_running_tools(tmp_path: Path) -> None:
    async with House(tmp_path) as house:
        house.tools.take_ms = 60_000
        leg = house.ring()
        await house.until(Kind.PLAY_ENDED)
        house.engine.emit(ToolCall(house.clock.now(), ToolCallId("t1"), "lookup", {}))
        await house.until(Kind.MASK_STARTED)
        leg.peer_hangs_up()
        await house.over()
        assert house.tools.cancelled == 1
        await house.gone()
        house.assert_clean()


HAND_OVER = Emit(lambda at: HandOver(at, "support", "asked", "wants a person"))


async def test_a_transfer_releases_everything_when_it_is_accepted(tmp_path: Path) -> None:
    async with House(tmp_path) as house:
        house.first.script = {Greet: [(Speak("I connect you.", 1_500, "bye"), HAND_OVER)]}
        leg = house.ring()
        outcome = await house.over()
        assert (outcome.result, outcome.reason) == (Result.SUCCESS, Reason.TRANSFERRED)
        assert leg.transferred[0].target == "sip:human@127.0.0.1:5090"
        assert leg.transferred[0].headers == {"X-Trunkline-Call": "call-1"}
        assert house.entry(Kind.PLAY_ENDED)["item"] == "bye", "the farewell was heard before the REFER"
        kinds = house.kinds()
        assert kinds.index(Kind.PLAY_ENDED) < kinds.index(Kind.TRANSFER_STARTED)
        assert kinds.index(Kind.MEDIA_RELEASED) < kinds.index(Kind.TRANSFERRED)
        released = house.entry(Kind.MEDIA_RELEASED)
        assert released["release_ms"] <= 200
        assert released["accepted_at_ns"] <= released["engine_closed_at_ns"]
        assert released["accepted_at_ns"] <= released["ports_freed_at_ns"]
        assert released["rtp_stopped_at_ns"] <= released["ports_freed_at_ns"]
        assert house.at_ms(Kind.TRANSFERRED) > released["ports_freed_at_ns"] / MS + 500
        await house.gone()
        house.assert_clean()


@pytest.mark.parametrize(
    ("steps", "why"),
    [
        (TRANSFER_REFUSED, "603 Decline"),
        (TRANSFER_BUSY, "486 Busy Here"),
        (TRANSFER_SILENT, "no answer in time"),
    ],
)
async def test_a_failed_transfer_brings_the_caller_back(
    tmp_path: Path, steps: tuple[TransferStep, ...], why: str
) -> None:
    async with House(tmp_path) as house:
        house.first.script = {Greet: [(Speak("I connect you.", 500, "bye"), HAND_OVER)]}
        leg = house.ring(transfers=[steps])
        await house.until(Kind.TRANSFER_FAILED)
        assert house.entry(Kind.TRANSFER_FAILED)["detail"] == why
        await house.engine_has(Say)
        [said] = [c for c in house.engine.commands if isinstance(c, Say)]
        assert said.text == house.desk.agents["orders"].phrases.transfer_failed
        released = steps is not TRANSFER_REFUSED
        assert (Kind.MEDIA_REANCHORED in house.kinds()) is released
        assert len(house.media.opened) == (2 if released else 1)
        assert len(house.first.made) == (2 if released else 1)
        leg.peer_hangs_up()
        outcome = await house.over()
        assert outcome.reason is Reason.CALLER_HUNG_UP
        assert len(house.ledger.recordings[house.call_id()]) == (2 if released else 1)
        await house.gone()
        house.assert_clean()


async def test_a_caller_who_leaves_while_it_rings_is_recorded_as_unconfirmed(tmp_path: Path) -> None:
    async with House(tmp_path) as house:
        house.first.script = {Greet: [(HAND_OVER,)]}
        leg = house.ring(transfers=[TRANSFER_SILENT])
        await house.until(Kind.MEDIA_RELEASED)
        leg.peer_hangs_up()
        outcome = await house.over()
        assert (outcome.result, outcome.reason) == (Result.UNKNOWN, Reason.TRANSFERRED)
        await house.gone()
        house.assert_clean()


async def test_an_engine_gets_no_queue_its_agent_does_not_have(tmp_path: Path) -> None:
    async with House(tmp_path) as house:
        house.first.script = {Greet: [(Emit(lambda at: HandOver(at, "sip:evil@example.com", "", "")),)]}
        leg = house.ring()
        await house.until(Kind.TRANSFER_FAILED)
        assert leg.transferred == []
        await house.engine_has(Say)


async def test_two_wishes_are_carried_out_in_order(tmp_path: Path) -> None:
    async with House(tmp_path) as house:
        house.first.script = {Greet: [(HAND_OVER, Emit(lambda at: HangUp(at, "no")))]}
        house.ring(transfers=[TRANSFER_REFUSED])
        outcome = await house.over()
        assert outcome.reason is Reason.AI_HUNG_UP
        assert Kind.TRANSFER_FAILED in house.kinds()


async def test_no_route_is_404(tmp_path: Path) -> None:
    async with House(tmp_path) as house:
        leg = house.ring(info=leg_info(dnis="999"))
        await house.gone()
        assert leg.status == 404
        assert not house.ledger.started


async def test_no_common_codec_is_488(tmp_path: Path) -> None:
    async with House(tmp_path) as house:
        leg = house.ring(speakable=False)
        outcome = await house.over()
        assert leg.status == 488
        assert outcome.reason is Reason.NO_MEDIA
        assert house.entry(Kind.ADMISSION_REFUSED)["status"] == 488


async def test_overload_is_503_before_anything_rings(tmp_path: Path) -> None:
    async with House(tmp_path, calls=1) as house:
        house.ring()
        await house.greeted()
        second = house.ring()
        await settle()
        assert second.status == 503
        assert house.journal.steps("leg")[-1] == "leg.reject"
        assert "leg.ring" not in house.journal.steps()
        assert house.ledger.started.keys() == {house.call_id()}
        assert house.admission.active == 1
        assert house.admission.refused == 1


async def test_no_free_port_is_503(tmp_path: Path) -> None:
    async with House(tmp_path) as house:
        for number in range(10_000):
            house.media.open_ports[number] = house.media.opened  # type: ignore[assignment]
        leg = house.ring()
        outcome = await house.over()
        assert leg.status == 503
        assert outcome.reason is Reason.OVERLOADED
        house.media.open_ports.clear()


async def test_an_engine_that_does_not_come_is_503(tmp_path: Path) -> None:
    async with House(tmp_path) as house:
        house.first.script = {}
        house.first.ready_after_ms = None
        house.set_timeout("first", 1000)
        leg = house.ring()
        outcome = await house.over()
        assert leg.status == 503
        assert outcome.reason is Reason.ENGINE_FAILED
        assert "leg.answer" not in house.journal.steps()
        await house.gone()
        house.assert_clean()


async def test_the_next_engine_of_the_chain_takes_the_call(tmp_path: Path) -> None:
    async with House(tmp_path, fallback=["second"]) as house:
        house.first.ready_after_ms = None
        house.set_timeout("first", 800)
        house.ring()
        await house.greeted()
        assert house.entry(Kind.ENGINE_READY)["engine"] == "second"
        assert [e.brief.agent for e in house.second.made if e.brief] == ["orders"]
        assert house.meter.of("engine_failed") == [("first",)]


async def test_a_slow_engine_does_not_hold_up_the_answer(tmp_path: Path) -> None:
    async with House(tmp_path) as house:
        house.first.ready_after_ms = 4000
        house.ring()
        await house.greeted()
        assert house.at_ms(Kind.ANSWERED) == pytest.approx(1500, abs=50)
        assert house.at_ms(Kind.ENGINE_READY) == pytest.approx(4000, abs=50)


async def test_without_an_engine_after_the_answer_the_caller_goes_to_people(tmp_path: Path) -> None:
    async with House(tmp_path) as house:
        house.first.ready_after_ms = None
        house.ring()
        outcome = await house.over()
        assert house.voice.said == [house.desk.agents["orders"].phrases.apology]
        assert outcome.reason is Reason.TRANSFERRED
        kinds = house.kinds()
        assert kinds.index(Kind.PLAY_ENDED) < kinds.index(Kind.TRANSFER_STARTED)
        await house.gone()
        house.assert_clean()


async def test_without_engine_and_people_the_caller_is_told(tmp_path: Path) -> None:
    async with House(tmp_path, queues=[]) as house:
        house.ring()
        await house.greeted()
        house.engine.die()
        outcome = await house.over()
        assert (outcome.result, outcome.reason) == (Result.UPSTREAM, Reason.ENGINE_FAILED)
        assert house.voice.said == [house.desk.agents["orders"].phrases.goodbye]


async def test_without_voice_the_call_still_ends(tmp_path: Path) -> None:
    async with House(tmp_path, queues=[]) as house:
        house.voice.missing = True
        house.ring()
        await house.greeted()
        house.engine.die()
        assert (await house.over()).reason is Reason.ENGINE_FAILED


async def test_an_engine_that_dies_in_the_middle_is_replaced(tmp_path: Path) -> None:
    async with House(tmp_path, fallback=["second"]) as house:
        house.ring()
        await house.until(Kind.PLAY_ENDED)
        house.engine.die("1006")
        await house.until(Kind.ENGINE_READY, count=2)
        await house.engine_has(Say)
        assert [c.text for c in house.second.made[0].commands if isinstance(c, Say)] == [
            house.desk.agents["orders"].phrases.resumed
        ]


async def test_an_engine_that_never_closes_is_left_behind(tmp_path: Path) -> None:
    async with House(tmp_path) as house:
        house.first.close_hangs = lambda: house.clock.sleep_until(Nanos(house.clock.now() + 3_600_000 * MS))
        leg = house.ring()
        await house.greeted()
        leg.peer_hangs_up()
        await house.over()
        assert not house.media.open_ports


async def test_media_failure_ends_the_call(tmp_path: Path) -> None:
    async with House(tmp_path) as house:
        house.ring()
        await house.greeted()
        house.port.fails("panic", bug=True)
        outcome = await house.over()
        assert (outcome.result, outcome.reason) == (Result.LOCAL, Reason.BUG)
        await house.gone()
        house.assert_clean()


async def test_rtp_silence_is_noted_and_then_ends_the_call(tmp_path: Path) -> None:
    async with House(tmp_path, limits={"silence_s": 600}) as house:
        house.ring()
        await house.until(Kind.PLAY_ENDED)
        house.port.rtp_silence(5000)
        outcome = await house.over()
        assert (outcome.result, outcome.reason) == (Result.UPSTREAM, Reason.RTP_TIMEOUT)
        quiet = next(at for at, kind, _ in house.ledger.entries[house.call_id()] if kind is Kind.RTP_SILENCE)
        ended = [at for at, kind, _ in house.ledger.entries[house.call_id()] if kind is Kind.LIMIT_REACHED][
            -1
        ]
        assert (ended - quiet) / MS == pytest.approx(15_000, abs=50)


async def test_silence_is_asked_about_and_then_ends_the_call(tmp_path: Path) -> None:
    async with House(tmp_path, limits={"silence_s": 5, "silence_prompts": 2}) as house:
        house.first.script = {
            Greet: [GREETING],
            Say: [(Speak("Still there?", 500),), (Speak("Still there?", 500),)],
        }
        house.ring()
        outcome = await house.over()
        assert (outcome.result, outcome.reason) == (Result.CALLER, Reason.CALLER_SILENT)
        assert len([c for c in house.engine.commands if isinstance(c, Say)]) == 2


async def test_a_held_call_is_not_asked(tmp_path: Path) -> None:
    async with House(tmp_path, limits={"silence_s": 5, "max_duration_s": 120}) as house:
        leg = house.ring()
        await house.greeted()
        leg.peer_holds()
        outcome = await house.over()
        assert outcome.reason is Reason.MAX_DURATION
        assert not [c for c in house.engine.commands if isinstance(c, Say)]
        assert CallerHeld(held=True) in house.engine.commands


async def test_a_call_taken_back_from_hold_is_asked_again(tmp_path: Path) -> None:
    async with House(tmp_path, limits={"silence_s": 5, "silence_prompts": 1, "max_duration_s": 120}) as house:
        leg = house.ring()
        await house.greeted()
        leg.peer_holds()
        await house.clock.sleep_until(Nanos(house.clock.now() + seconds(60)))
        leg.peer_resumes()
        outcome = await house.over()
        assert outcome.reason is Reason.CALLER_SILENT
        held = [c for c in house.engine.commands if isinstance(c, CallerHeld)]
        assert held == [CallerHeld(held=True), CallerHeld(held=False)]


async def test_the_longest_call_ends(tmp_path: Path) -> None:
    async with House(tmp_path, limits={"silence_s": 600, "max_duration_s": 60}) as house:
        house.ring()
        outcome = await house.over()
        assert outcome.reason is Reason.MAX_DURATION
        assert house.at_ms(Kind.LEG_ENDED) == pytest.approx(60_000, abs=100)


async def test_cancel_before_the_answer(tmp_path: Path) -> None:
    async with House(tmp_path) as house:
        house.first.ready_after_ms = None
        leg = house.ring()
        await house.until(Kind.ENGINE_STARTING)
        leg.peer_cancels()
        outcome = await house.over()
        assert (outcome.result, outcome.reason) == (Result.CALLER, Reason.CANCELLED)
        assert "leg.answer" not in house.journal.steps()
        await house.gone()
        house.assert_clean()


async def test_an_answer_nobody_acknowledges(tmp_path: Path) -> None:
    async with House(tmp_path) as house:
        leg = house.ring(acknowledges=False)
        await house.until(Kind.ANSWERED)
        leg.peer_vanishes("timeout")
        outcome = await house.over()
        assert (outcome.result, outcome.reason) == (Result.UPSTREAM, Reason.SIGNALLING_FAILED)
        assert Kind.GREETING not in house.kinds()


WHEN = {
    "preparing": Kind.ROUTED,
    "connecting": Kind.ENGINE_STARTING,
    "answered": Kind.ANSWERED,
    "greeting": Kind.PLAY_STARTED,
    "talking": Kind.PLAY_ENDED,
    "tool": Kind.MASK_STARTED,
    "farewell": Kind.HAND_OVER,
    "transferring": Kind.TRANSFER_STARTED,
    "released": Kind.MEDIA_RELEASED,
    "returning": Kind.MEDIA_REANCHORED,
}


@pytest.mark.parametrize("moment", WHEN)
async def test_a_hang_up_in_every_state_leaves_nothing(tmp_path: Path, moment: str) -> None:
    async with House(tmp_path) as house:
        house.tools.take_ms = 1500
        house.first.script = {
            Greet: [
                (
                    *GREETING,
                    Wait(1_200),
                    Emit(lambda at: ToolCall(at, ToolCallId("t1"), "lookup", {})),
                    Wait(3_000),
                    Speak("Bye", 500, "bye"),
                    HAND_OVER,
                )
            ]
        }
        leg = house.ring(transfers=[TRANSFER_BUSY])
        await house.until(WHEN[moment])
        leg.peer_hangs_up()
        await house.over()
        await house.gone()
        house.assert_clean()
        assert house.kinds().count(Kind.LEG_ENDED) == 1


async def test_drain_lets_calls_end_and_refuses_new_ones(tmp_path: Path) -> None:
    async with House(tmp_path) as house:
        house.first.script = {Greet: [(*GREETING, Wait(5_000), Emit(lambda at: HangUp(at, "done")))]}
        house.ring()
        await house.greeted()
        house.admission.close()
        refused = house.ring()
        await settle()
        assert refused.status == 503
        await house.board.drain(seconds(60))
        assert house.ledger.ended[house.call_id()].reason is Reason.AI_HUNG_UP


async def test_drain_hangs_up_at_its_limit(tmp_path: Path) -> None:
    async with House(tmp_path, limits={"silence_s": 600}) as house:
        house.ring()
        await house.greeted()
        await house.board.drain(seconds(10))
        assert house.ledger.ended[house.call_id()].reason is Reason.SHUTDOWN
        house.assert_clean()


async def test_leaving_the_switchboard_ends_calls_at_once(tmp_path: Path) -> None:
    async with House(tmp_path) as house:
        house.ring()
        await house.greeted()
        await house.board.__aexit__()
        assert house.ledger.ended[house.call_id()].reason is Reason.SHUTDOWN
        house.assert_clean()


async def test_many_calls_at_once_are_independent(tmp_path: Path) -> None:
    async with House(tmp_path, calls=60) as house:
        legs = [house.ring() for _ in range(50)]
        for number in range(1, 51):
            await house.greeted(number)
        assert len(list(house.board.live())) == 50
        for leg in legs:
            leg.peer_hangs_up()
        await house.gone()
        house.assert_clean()


async def test_a_flood_of_control_ends_that_call_as_a_bug(tmp_path: Path) -> None:
    async with House(tmp_path) as house:
        house.ring()
        await house.greeted()
        house.ring()
        await house.greeted(2)
        house.media.opened[0].caller_presses("1" * 5_000)
        outcome = await house.over(1)
        assert (outcome.result, outcome.reason) == (Result.LOCAL, Reason.BUG)
        assert house.meter.of("inbox_dropped")
        await wait_until(lambda: house.board.busy == 1, "the end of the flow")
        assert [view.id for view in house.board.live()] == [house.call_id(2)]


async def test_a_process_that_cannot_record_takes_no_calls(tmp_path: Path) -> None:
    async with House(tmp_path) as house:
        house.problem = "the ledger is behind"
        leg = house.ring()
        await house.gone()
        assert leg.status == 503
        house.problem = ""
        house.ring()
        await house.until(Kind.ANSWERED, 2)


async def test_a_shutdown_while_the_answer_is_sent_hangs_up(tmp_path: Path) -> None:
    async with House(tmp_path) as house:
        leg = house.ring(acknowledges=False)
        await house.until(Kind.ANSWERED)
        await house.board.drain(seconds(0))
        assert house.ledger.ended[house.call_id()].reason is Reason.SHUTDOWN
        assert "leg.reject" not in house.journal.steps()
        assert leg.state == "ended"


async def test_a_full_disk_costs_the_recording_not_the_call(tmp_path: Path) -> None:
    (tmp_path / "recordings").write_text("in the way")
    async with House(tmp_path) as house:
        leg = house.ring()
        await house.greeted()
        leg.peer_hangs_up()
        assert (await house.over()).reason is Reason.CALLER_HUNG_UP
        assert house.ledger.recordings[house.call_id()] == ()
        assert house.entry(Kind.BUG)["where"] == "recording"


class Broken(ScriptedEngine):
    """An engine with a bug."""

    where = ""

    async def start(self, brief: Brief) -> None:
        if self.where == "start":
            raise KeyError("start")
        await super().start(brief)

    def handle_media(self, event: MediaEvent) -> None:
        if self.where == "media" and isinstance(event, PlayEnded):
            raise KeyError("media")
        super().handle_media(event)

    def command(self, command: EngineCommand) -> None:
        if self.where == "command" and isinstance(command, CallerDigits):
            raise KeyError("command")
        super().command(command)

    async def close(self) -> None:
        await super().close()
        if self.where == "close":
            raise KeyError("close")


@pytest.mark.parametrize("where", ["start", "media", "command"])
async def test_a_bug_in_an_engine_costs_the_engine_not_the_call(tmp_path: Path, where: str) -> None:
    async with House(tmp_path, fallback=["second"]) as house:
        house.first.kind = type("Buggy", (Broken,), {"where": where})
        leg = house.ring()
        await house.until(Kind.ENGINE_STARTING)
        if where == "command":
            await house.until(Kind.PLAY_ENDED)
            leg.peer_presses("1")
        await house.until(Kind.ENGINE_READY, count=1 if where == "start" else 2)
        assert house.entry(Kind.ENGINE_READY)["engine"] == "second"
        assert house.entry(Kind.BUG)["detail"].startswith("KeyError")
        leg.peer_hangs_up()
        assert (await house.over()).reason is Reason.CALLER_HUNG_UP
        await house.gone()
        assert not house.media.open_ports


async def test_a_bug_in_closing_an_engine_keeps_nothing_else_from_ending(tmp_path: Path) -> None:
    async with House(tmp_path) as house:
        house.first.kind = type("Buggy", (Broken,), {"where": "close"})
        leg = house.ring()
        await house.greeted()
        leg.peer_hangs_up()
        assert (await house.over()).reason is Reason.CALLER_HUNG_UP
        await house.gone()
        house.assert_clean()


async def test_a_bug_in_the_voice_keeps_nobody_from_people(tmp_path: Path) -> None:
    async with House(tmp_path) as house:
        house.voice.bug = True
        house.ring()
        await house.greeted()
        house.engine.die()
        assert (await house.over()).reason is Reason.TRANSFERRED
        assert house.entry(Kind.BUG)["where"] == "voice"


async def test_a_bug_in_the_voice_of_a_mask_costs_the_mask(tmp_path: Path) -> None:
    async with House(tmp_path) as house:
        house.voice.bug = True
        house.tools.take_ms = 2500
        house.ring()
        await house.until(Kind.PLAY_ENDED)
        house.engine.emit(ToolCall(house.clock.now(), ToolCallId("t1"), "lookup", {}))
        await house.engine_has(ToolResult)
        assert Kind.MASK_STARTED not in house.kinds()
        assert house.entry(Kind.BUG)["where"] == "mask"


async def test_an_engine_that_gives_its_answer_up_is_silenced(tmp_path: Path) -> None:
    async with House(tmp_path) as house:
        house.clock.autojump = False
        house.ring()
        await house.greeted()
        await house.clock.advance(200 * MS)
        house.engine.emit(Interrupted(house.clock.now(), "greeting"))
        await house.clock.advance(100 * MS)
        [told] = [c for c in house.engine.commands if isinstance(c, Truncate)]
        assert told.item == "greeting"
        assert 200 <= told.heard_ms <= 220
        assert house.kinds().count(Kind.BARGE_IN) == 1


async def test_both_cues_of_one_interruption_flush_once(tmp_path: Path) -> None:
    async with House(tmp_path) as house:
        house.clock.autojump = False
        house.ring()
        await house.greeted()
        await house.clock.advance(200 * MS)
        house.engine.emit(CallerSpeechStarted(house.clock.now()))
        house.engine.emit(Interrupted(house.clock.now(), "greeting"))
        await house.clock.advance(100 * MS)
        assert house.kinds().count(Kind.BARGE_IN) == 1
        assert house.journal.steps("media").count("media.flush") == 1
        assert len([c for c in house.engine.commands if isinstance(c, Truncate)]) == 1


async def test_every_queued_item_is_truncated(tmp_path: Path) -> None:
    async with House(tmp_path) as house:
        house.first.script = {Greet: [(Speak("One", 1_000, "one"), Speak("Two", 1_000, "two"))]}
        house.clock.autojump = False
        house.ring()
        await house.greeted()
        await house.clock.advance(300 * MS)
        house.engine.emit(CallerSpeechStarted(house.clock.now()))
        await house.clock.advance(100 * MS)
        told = [(c.item, c.heard_ms) for c in house.engine.commands if isinstance(c, Truncate)]
        assert [item for item, _ in told] == ["one", "two"]
        assert told[1] == ("two", 0)


async def test_an_item_that_is_given_up_unheard_is_not_waited_for(tmp_path: Path) -> None:
    async with House(tmp_path) as house:
        house.ring()
        await house.until(Kind.PLAY_ENDED)
        began = house.clock.now()
        house.engine.emit(ItemStarted(began, "never"))
        house.engine.emit(Interrupted(began, "never"))
        house.engine.emit(HangUp(began, "done"))
        await house.over()
        assert house.clock.now() - began < 1_000 * MS


async def test_the_caller_speaks_into_a_mask(tmp_path: Path) -> None:
    async with House(tmp_path) as house:
        house.tools.take_ms = 6_000
        house.clock.autojump = False
        house.ring()
        await house.greeted()
        await house.clock.advance(1_500 * MS)
        house.engine.emit(ToolCall(house.clock.now(), ToolCallId("t1"), "lookup", {}))
        await house.clock.advance(900 * MS)
        assert Kind.MASK_STARTED in house.kinds()
        house.engine.emit(CallerSpeechStarted(house.clock.now()))
        await house.clock.advance(100 * MS)
        assert house.entry(Kind.MASK_ENDED)["played_ms"] <= 300
        assert Kind.BARGE_IN not in house.kinds(), "the engine said nothing that could be cut"


async def test_a_long_mask_is_faded_out_when_the_answer_comes(tmp_path: Path) -> None:
    async with House(tmp_path) as house:
        house.voice.span_ms = 10_000
        house.tools.take_ms = 1_500
        house.ring()
        await house.until(Kind.PLAY_ENDED)
        house.engine.emit(ToolCall(house.clock.now(), ToolCallId("t1"), "lookup", {}))
        await house.until(Kind.MASK_ENDED)
        assert house.entry(Kind.MASK_ENDED)["played_ms"] == pytest.approx(840, abs=60)


async def test_what_an_engine_reports_is_in_the_timeline(tmp_path: Path) -> None:
    async with House(tmp_path) as house:
        house.ring()
        await house.until(Kind.PLAY_ENDED)
        now = house.clock.now()
        house.engine.emit(EngineError(now, "slow down", retryable=True, fault=Fault.ENGINE, code="rate"))
        house.engine.emit(GoingAway(now, 60_000))
        house.engine.emit(Usage(now, {"tokens": 12}))
        await house.until(Kind.USAGE)
        assert house.entry(Kind.ENGINE_ERROR)["code"] == "rate"
        assert house.entry(Kind.ENGINE_GOING_AWAY) == {"in_ms": 60_000}
        assert [view.state for view in house.board.live()] == [State.TALKING]


async def test_a_key_or_a_word_starts_the_silence_anew(tmp_path: Path) -> None:
    async with House(tmp_path, limits={"silence_s": 10, "silence_prompts": 0}) as house:
        house.clock.autojump = False
        leg = house.ring()
        await house.greeted()
        await house.clock.advance(9_000 * MS)
        leg.peer_presses("1")
        await house.clock.advance(9_000 * MS)
        words = Transcript(house.clock.now(), Role.CALLER, "well", final=True)
        house.engine.emit(words)
        await house.clock.advance(9_000 * MS)
        assert house.board.busy == 1
        await house.clock.advance(2_000 * MS)
        assert house.ledger.ended[house.call_id()].reason is Reason.CALLER_SILENT


async def test_after_a_hold_silence_is_watched_again(tmp_path: Path) -> None:
    async with House(tmp_path, limits={"silence_s": 5, "silence_prompts": 0}) as house:
        house.clock.autojump = False
        leg = house.ring()
        await house.greeted()
        leg.peer_holds()
        await house.clock.advance(60_000 * MS)
        assert house.board.busy == 1
        leg.peer_resumes()
        await house.clock.advance(6_000 * MS)
        assert house.ledger.ended[house.call_id()].reason is Reason.CALLER_SILENT


async def test_rtp_that_came_back_does_not_end_the_call(tmp_path: Path) -> None:
    async with House(tmp_path, limits={"silence_s": 600, "max_duration_s": 100}) as house:
        house.ring()
        await house.until(Kind.PLAY_ENDED)
        house.port.rtp_silence(5_000)
        await house.until(Kind.RTP_SILENCE)
        house.port.received += 50
        assert (await house.over()).reason is Reason.MAX_DURATION
