import json
from typing import Any

import pytest

from trunkline.engines.contract import (
    Brief,
    CallerDigits,
    CallerSpeechStarted,
    CallerText,
    CancelAnswer,
    EngineError,
    Fault,
    GoingAway,
    Greet,
    HandOver,
    HangUp,
    Interrupted,
    ItemEnded,
    ItemStarted,
    Role,
    Say,
    SessionReady,
    ToolCall,
    ToolResult,
    Transcript,
    Truncate,
    TurnEnded,
    UpdateInstructions,
    Usage,
)
from trunkline.engines.realtime.messages import MAX_TOOL_OUTPUT
from trunkline.engines.realtime.settings import RealtimeSettings, SemanticVad, ServerVad
from trunkline.model import RemoteProtocolError, ToolCallId
from trunkline.telephony.media.port import Heard
from trunkline.testing.realtime import BRIEF, RealtimeDriver, call

# --- configuration -----------------------------------------------------------------------------------------


def test_the_server_speaks_first_then_it_is_configured() -> None:
    driver = RealtimeDriver(ready=False)
    assert driver.sent == []
    driver.server("session.created", session={})
    assert driver.types() == ["session.update"]
    assert driver.events == []
    driver.server("session.updated", session={})
    assert driver.types() == ["session.update", "input_audio_buffer.clear"]
    assert driver.events == [SessionReady(at=driver.now)]
    driver.server("session.updated", session={})
    assert driver.kinds() == ["SessionReady"]


def test_the_configuration_has_the_ga_shape() -> None:
    driver = RealtimeDriver(ready=False)
    driver.server("session.created", session={})
    session = driver.sent[0]["session"]
    assert session["type"] == "realtime"
    assert session["output_modalities"] == ["audio"]
    assert session["instructions"].startswith("You answer the phone for Acme.")
    assert "- ani: 5550001" in session["instructions"]
    assert session["audio"]["input"]["format"] == {"type": "audio/pcmu"}
    assert session["audio"]["input"]["transcription"] == {"model": "gpt-4o-mini-transcribe", "language": "en"}
    assert session["audio"]["input"]["turn_detection"]["type"] == "server_vad"
    assert session["audio"]["output"] == {"format": {"type": "audio/pcmu"}, "voice": "marin", "speed": 1.0}
    assert [tool["name"] for tool in session["tools"]] == ["order_status", "transfer_to_person", "end_call"]
    assert session["tools"][1]["parameters"]["properties"]["queue"]["enum"] == ["support"]


def test_settings_reach_the_configuration() -> None:
    settings = RealtimeSettings(
        voice="cedar",
        audio="pcm",
        turn_detection=SemanticVad(eagerness="low"),
        transcription=None,
        noise_reduction="far_field",
        offer_end_call=False,
        session={"audio": {"output": {"speed": 1.2}}, "truncation": "auto"},
    )
    driver = RealtimeDriver(settings, Brief(agent="a", voice="marin"), ready=False)
    driver.server("session.created", session={})
    session = driver.sent[0]["session"]
    assert session["audio"]["input"]["format"] == {"type": "audio/pcm", "rate": 24_000}
    assert session["audio"]["input"]["turn_detection"]["eagerness"] == "low"
    assert session["audio"]["input"]["noise_reduction"] == {"type": "far_field"}
    assert "transcription" not in session["audio"]["input"]
    assert session["audio"]["output"] == {
        "format": {"type": "audio/pcm", "rate": 24_000},
        "speed": 1.2,
        "voice": "cedar",
    }
    assert session["truncation"] == "auto"
    assert session["tools"] == []


def test_an_agents_own_tool_goes_before_a_built_in_one_of_its_name() -> None:
    mine = BRIEF.tools[0].__class__("end_call", "Mine.", {"type": "object"})
    driver = RealtimeDriver(brief=Brief(agent="a", tools=(mine,)))
    driver.created("r1")
    driver.done("r1", calls=(call(name="end_call", arguments="{}"),))
    assert driver.kinds() == ["ToolCall", "TurnEnded"]


@pytest.mark.parametrize("event_id", [True, False])
def test_a_refused_configuration_ends_the_session(event_id: bool) -> None:
    driver = RealtimeDriver(ready=False)
    driver.server("session.created", session={})
    error: dict[str, Any] = {
        "type": "invalid_request_error",
        "code": "unknown_parameter",
        "param": "session.x",
    }
    error |= {
        "message": "Unknown parameter: 'session.x'.",
        "event_id": driver.sent[0]["event_id"] if event_id else None,
    }
    driver.server("error", error=error)
    assert driver.failed is not None
    assert "session.x" in driver.failed.message
    assert (driver.failed.fault, driver.failed.retryable) == (Fault.OURS, False)


def test_updated_instructions_keep_what_is_known() -> None:
    driver = RealtimeDriver()
    driver.command(UpdateInstructions("Be brief."))
    assert driver.sent[0]["session"]["instructions"].startswith("Be brief.\n\nKnown about this call")
    assert set(driver.sent[0]["session"]) == {"type", "instructions"}


# --- speaking ----------------------------------------------------------------------------------------------


def test_a_greeting_is_asked_for_and_reported() -> None:
    driver = RealtimeDriver()
    driver.command(Greet())
    assert "Thank you for calling Acme." in driver.last("response.create")["response"]["instructions"]
    driver.created("r1", ours=True)
    driver.speaks("r1", "i1", "Thank you")
    driver.falls_silent("r1", "i1", "Thank you for calling Acme.")
    driver.done("r1", usage={"total_tokens": 9, "output_token_details": {"audio_tokens": 7}})
    assert driver.events == [
        ItemStarted(driver.now, "i1"),
        Transcript(driver.now, Role.AGENT, "Thank you", final=False, item="i1"),
        ItemEnded(driver.now, "i1"),
        Transcript(driver.now, Role.AGENT, "Thank you for calling Acme.", final=True, item="i1"),
        Usage(driver.now, {"total_tokens": 9, "output_audio_tokens": 7}),
        TurnEnded(driver.now, "completed"),
    ]


def test_a_greeting_without_words_is_left_to_the_engine() -> None:
    driver = RealtimeDriver(brief=Brief(agent="a"))
    driver.command(Greet())
    assert set(driver.sent[0]["response"]) == {"metadata"}


def test_what_is_to_be_said_waits_for_the_active_response() -> None:
    driver = RealtimeDriver()
    driver.command(Greet())
    driver.command(Say("One."))
    driver.command(Say("Two."))
    assert driver.types() == ["response.create"]
    driver.created("r1", ours=True)
    driver.done("r1")
    driver.created("r2", ours=True)
    assert "One." in driver.last("response.create")["response"]["instructions"]
    driver.done("r2")
    assert "Two." in driver.last("response.create")["response"]["instructions"]
    assert driver.types() == ["response.create"] * 3


def test_sentences_that_wait_are_bounded() -> None:
    driver = RealtimeDriver()
    for number in range(40):
        driver.command(Say(f"Sentence {number}."))
    errors = [event for event in driver.events if isinstance(event, EngineError)]
    assert {error.code for error in errors} == {"too_many_requests"}
    assert len(errors) == 40 - 1 - 32


def test_nothing_is_asked_for_while_the_caller_speaks_or_the_server_is_about_to_answer() -> None:
    driver = RealtimeDriver()
    driver.server("input_audio_buffer.speech_started", audio_start_ms=0, item_id="c1")
    driver.command(Say("Sorry."))
    driver.wait(3_000)
    driver.server("input_audio_buffer.speech_stopped", audio_end_ms=3000, item_id="c1")
    driver.wait(300)
    assert driver.sent == []
    driver.answers("r1", "i1")
    assert driver.types() == ["response.create"]


def test_a_server_that_does_not_answer_by_itself_does_not_hold_us_back_forever() -> None:
    driver = RealtimeDriver()
    driver.server("input_audio_buffer.speech_started", audio_start_ms=0, item_id="c1")
    driver.command(CallerText("hello"))
    driver.server("input_audio_buffer.speech_stopped", audio_end_ms=900, item_id="c1")
    driver.wait(2_500)
    assert driver.types() == ["conversation.item.create", "response.create"]


def test_digits_become_words_of_the_caller() -> None:
    driver = RealtimeDriver()
    driver.command(CallerDigits("12#"))
    item = driver.sent[0]["item"]
    assert (item["type"], item["role"]) == ("message", "user")
    assert item["content"] == [
        {"type": "input_text", "text": "The caller pressed on the telephone keypad: 1 2 #"}
    ]
    assert driver.types()[1:] == ["response.create"]


# --- the caller --------------------------------------------------------------------------------------------


def test_partial_words_of_the_caller_replace_each_other() -> None:
    driver = RealtimeDriver()
    kind = "conversation.item.input_audio_transcription"
    driver.server(f"{kind}.delta", item_id="c1", delta="Where ")
    driver.server(f"{kind}.delta", item_id="c1", delta="is ")
    driver.wait(250)
    driver.server(f"{kind}.delta", item_id="c1", delta="my order")
    driver.server(f"{kind}.completed", item_id="c1", transcript="Where is my order?")
    texts = [(e.text, e.final, e.role) for e in driver.events if isinstance(e, Transcript)]
    assert texts == [
        ("Where ", False, Role.CALLER),
        ("Where is my order", False, Role.CALLER),
        ("Where is my order?", True, Role.CALLER),
    ]
    driver.server(f"{kind}.failed", item_id="c2", error={"code": "audio_unintelligible", "message": "no"})
    assert isinstance(driver.events[-1], EngineError)


def test_partial_words_of_the_agent_are_reported_now_and_then() -> None:
    driver = RealtimeDriver()
    driver.created("r1")
    driver.speaks("r1", "i1", "One")
    for word in (" two", " three", " four"):
        driver.wait(130)
        driver.server("response.output_audio_transcript.delta", response_id="r1", item_id="i1", delta=word)
    driver.falls_silent("r1", "i1", "One two three four")
    texts = [(e.text, e.final) for e in driver.events if isinstance(e, Transcript)]
    assert texts == [("One", False), ("One two three", False), ("One two three four", True)]


def test_barge_in_names_what_was_cancelled() -> None:
    driver = RealtimeDriver()
    driver.created("r1")
    driver.speaks("r1", "i1")
    driver.server("input_audio_buffer.speech_started", audio_start_ms=10, item_id="c1")
    driver.done("r1", "cancelled", status_details={"type": "cancelled", "reason": "turn_detected"})
    assert driver.kinds()[-3:] == ["CallerSpeechStarted", "Interrupted", "TurnEnded"]
    assert driver.events[-2] == Interrupted(driver.now, "i1")
    assert driver.events[-1] == TurnEnded(driver.now, "cancelled")
    before = len(driver.events)
    driver.server("response.output_audio_transcript.delta", response_id="r1", item_id="i1", delta=" late")
    assert len(driver.events) == before
    driver.command(Truncate("i1", 700))
    assert driver.sent[-1]["type"] == "conversation.item.truncate"
    assert driver.sent[-1]["audio_end_ms"] == 700
    assert "response.cancel" not in driver.types()


def test_truncation_is_clamped_to_what_the_media_core_got() -> None:
    driver = RealtimeDriver()
    driver.answers("r1", "i1")
    driver.dialect.heard(Heard("i1", heard_ms=900, total_ms=1200))
    driver.command(Truncate("i1", 1500))
    assert driver.sent == []
    driver.answers("r2", "i2")
    driver.created("r3")
    driver.speaks("r3", "i3")
    driver.dialect.heard(Heard("i3", heard_ms=900, total_ms=1200))
    driver.command(Truncate("i3", 1500))
    assert driver.last("conversation.item.truncate")["audio_end_ms"] == 1200
    driver.command(Truncate("i3", 100))
    driver.command(Truncate("nobody", 100))
    assert driver.types().count("conversation.item.truncate") == 1


def test_an_item_heard_to_its_end_is_left_whole() -> None:
    driver = RealtimeDriver()
    driver.answers("r1", "i1")
    driver.dialect.heard(Heard("i1", heard_ms=1200, total_ms=1200))
    driver.command(Truncate("i1", 1200))
    assert driver.sent == []


@pytest.mark.parametrize("interrupts", [True, False])
def test_truncating_an_answer_in_progress_cancels_it_unless_the_server_does(interrupts: bool) -> None:
    driver = RealtimeDriver(RealtimeSettings(turn_detection=ServerVad(interrupt_response=interrupts)))
    driver.created("r1")
    driver.speaks("r1", "i1")
    driver.server("input_audio_buffer.speech_started", audio_start_ms=10, item_id="c1")
    driver.command(Truncate("i1", 300))
    expected = (
        ["conversation.item.truncate"] if interrupts else ["response.cancel", "conversation.item.truncate"]
    )
    assert driver.types() == expected


def test_our_own_voice_detection_may_be_first() -> None:
    driver = RealtimeDriver()
    driver.created("r1")
    driver.speaks("r1", "i1")
    driver.command(Truncate("i1", 300))
    assert driver.types() == ["response.cancel", "conversation.item.truncate"]
    assert driver.sent[0]["response_id"] == "r1"


def test_cancelling_what_was_only_asked_for() -> None:
    driver = RealtimeDriver()
    driver.command(Greet())
    driver.command(CancelAnswer())
    assert driver.types() == ["response.create"]
    driver.created("r1", ours=True)
    assert driver.sent[-1]["type"] == "response.cancel"
    driver.refuses(
        "response.cancel", "response_cancel_not_active", "Cancellation failed: no active response found"
    )
    driver.command(CancelAnswer())
    assert "EngineError" not in driver.kinds()


def test_cancelling_silence_sends_nothing() -> None:
    driver = RealtimeDriver()
    driver.command(CancelAnswer())
    assert driver.sent == []


# --- tools -------------------------------------------------------------------------------------------------


def test_a_tool_is_called_when_its_response_completed_and_answered_once() -> None:
    driver = RealtimeDriver()
    driver.created("r1")
    driver.server("response.function_call_arguments.done", response_id="r1", **call())
    assert driver.events == []
    driver.done("r1", calls=(call(),))
    assert driver.events == [
        ToolCall(driver.now, ToolCallId("call_1"), "order_status", {"order_number": "4711"}),
        TurnEnded(driver.now, "completed"),
    ]
    result = ToolResult(ToolCallId("call_1"), {"status": "shipped"})
    driver.command(result)
    assert driver.types() == ["conversation.item.create", "response.create"]
    item = driver.sent[0]["item"]
    assert (item["type"], item["call_id"]) == ("function_call_output", "call_1")
    assert json.loads(item["output"]) == {"status": "shipped"}
    driver.command(result)
    assert driver.types() == ["conversation.item.create", "response.create"]
    assert driver.events[-1].code == "unknown_tool_call"  # type: ignore[union-attr]


def test_calls_are_taken_from_their_events_when_the_response_does_not_list_them() -> None:
    driver = RealtimeDriver()
    driver.created("r1")
    driver.server("response.function_call_arguments.done", response_id="r1", **call())
    driver.done("r1")
    assert driver.kinds() == ["ToolCall", "TurnEnded"]


@pytest.mark.parametrize("status", ["cancelled", "incomplete", "failed"])
def test_calls_of_a_response_that_did_not_complete_are_not_made(status: str) -> None:
    driver = RealtimeDriver()
    driver.created("r1")
    driver.server("response.function_call_arguments.done", response_id="r1", **call())
    driver.done("r1", status, calls=(call(),))
    assert "ToolCall" not in driver.kinds()


def test_a_call_that_is_reported_twice_is_made_once() -> None:
    driver = RealtimeDriver()
    for response in ("r1", "r2"):
        driver.created(response)
        driver.done(response, calls=(call(), call()))
    assert driver.kinds().count("ToolCall") == 1


@pytest.mark.parametrize("arguments", ["{not json", "[1]", '"text"', "{\ufffd}"])
def test_arguments_that_are_no_object_are_malformed(arguments: str) -> None:
    driver = RealtimeDriver()
    driver.created("r1")
    driver.done("r1", calls=(call(arguments=arguments),))
    made = driver.events[0]
    assert isinstance(made, ToolCall)
    assert made.malformed == arguments
    assert made.arguments == {}


def test_missing_arguments_are_none() -> None:
    driver = RealtimeDriver()
    driver.created("r1")
    driver.done("r1", calls=(call(arguments=""),))
    assert driver.events[0] == ToolCall(driver.now, ToolCallId("call_1"), "order_status", {})


def test_parallel_calls_get_one_answer_together() -> None:
    driver = RealtimeDriver()
    driver.created("r1")
    driver.done("r1", calls=(call("c1"), call("c2"), call("c3")))
    for name in ("c2", "c1"):
        driver.command(ToolResult(ToolCallId(name), {"ok": True}))
    assert driver.types() == ["conversation.item.create"] * 2
    driver.command(ToolResult(ToolCallId("c3"), {"why": "timeout"}, failed=True))
    assert driver.types() == ["conversation.item.create"] * 3 + ["response.create"]
    assert json.loads(driver.sent[2]["item"]["output"]) == {"failed": True, "why": "timeout"}


def test_a_result_waits_for_the_response_in_progress() -> None:
    driver = RealtimeDriver()
    driver.created("r1")
    driver.done("r1", calls=(call(),))
    driver.created("r2")
    driver.command(ToolResult(ToolCallId("call_1"), {}))
    driver.confirms_items()
    assert driver.types() == ["conversation.item.create"]
    driver.done("r2")
    assert driver.types() == ["conversation.item.create", "response.create"]


def test_a_response_that_saw_the_result_makes_asking_needless() -> None:
    driver = RealtimeDriver()
    driver.created("r1")
    driver.done("r1", calls=(call(),))
    driver.server("input_audio_buffer.speech_started", audio_start_ms=0, item_id="c1")
    driver.command(ToolResult(ToolCallId("call_1"), {}))
    driver.confirms_items()
    driver.server("input_audio_buffer.speech_stopped", audio_end_ms=500, item_id="c1")
    driver.answers("r2", "i2")
    driver.wait(60_000)
    assert driver.types() == ["conversation.item.create"]


def test_a_response_that_began_before_the_server_had_the_result_does_not_count() -> None:
    driver = RealtimeDriver()
    driver.created("r1")
    driver.done("r1", calls=(call(),))
    driver.server("input_audio_buffer.speech_started", audio_start_ms=0, item_id="c1")
    driver.server("input_audio_buffer.speech_stopped", audio_end_ms=500, item_id="c1")
    driver.command(ToolResult(ToolCallId("call_1"), {}))
    driver.created("r2")
    driver.confirms_items()
    driver.done("r2")
    assert driver.types() == ["conversation.item.create", "response.create"]


@pytest.mark.parametrize("tags", [True, False])
def test_a_lost_race_for_the_response_is_tried_again(tags: bool) -> None:
    driver = RealtimeDriver()
    driver.command(Say("Sorry."))
    driver.created("r1", tags=tags)
    driver.refuses("response.create", "conversation_already_has_active_response")
    assert driver.types() == ["response.create"]
    driver.done("r1")
    assert driver.types() == ["response.create"] * 2
    assert "Sorry." in driver.last("response.create")["response"]["instructions"]
    assert "EngineError" not in driver.kinds()


def test_half_a_surrogate_pair_does_not_spoil_a_message() -> None:
    driver = RealtimeDriver()
    kind = "conversation.item.input_audio_transcription.completed"
    for text, expected in [(r"a\ud83d", "a\ufffd"), (r"\ude00b", "\ufffdb"), (r"\ud83d\ude00", "\U0001f600")]:
        driver.raw(f'{{"type":"{kind}","item_id":"c","transcript":"{text}"}}')
        assert driver.events[-1] == Transcript(driver.now, Role.CALLER, expected, final=True)


def test_a_lost_race_with_a_response_we_never_saw_is_tried_again_later() -> None:
    driver = RealtimeDriver()
    driver.command(CallerText("hello"))
    driver.refuses("response.create", "", "Conversation already has an active response in progress: resp_x.")
    assert driver.types()[1:] == ["response.create"]
    driver.wait(600)
    assert driver.types()[1:] == ["response.create"] * 2


def test_a_request_without_any_reaction_is_given_up() -> None:
    driver = RealtimeDriver()
    driver.command(Say("Sorry."))
    driver.wait(11_000)
    assert driver.events[-1].code == "no_response"  # type: ignore[union-attr]
    driver.command(Say("Again."))
    assert driver.types() == ["response.create"] * 2


def test_an_enormous_result_is_replaced_by_a_sentence() -> None:
    driver = RealtimeDriver()
    driver.created("r1")
    driver.done("r1", calls=(call(),))
    driver.command(ToolResult(ToolCallId("call_1"), {"rows": "x" * MAX_TOOL_OUTPUT}))
    assert "too long" in driver.sent[0]["item"]["output"]


# --- leaving -----------------------------------------------------------------------------------------------


def transfer(queue: str = "support") -> dict[str, str]:
    arguments = {"queue": queue, "reason": "billing", "summary": "Wants a refund."}
    return call("call_9", "transfer_to_person", json.dumps(arguments))


def test_handing_over_after_a_spoken_farewell() -> None:
    driver = RealtimeDriver()
    driver.created("r1")
    driver.speaks("r1", "i1", "One moment.")
    driver.falls_silent("r1", "i1", "One moment.")
    driver.done("r1", calls=(transfer(),))
    assert HandOver(driver.now, "support", "billing", "Wants a refund.") in driver.events
    assert driver.types() == ["conversation.item.create"]
    assert driver.sent[0]["item"]["type"] == "function_call_output"


def test_handing_over_without_a_word_lets_the_engine_say_one() -> None:
    driver = RealtimeDriver()
    driver.created("r1")
    driver.done("r1", calls=(transfer("nobody"),))
    assert driver.types() == ["conversation.item.create", "response.create"]
    assert "HandOver" not in driver.kinds()
    driver.created("r2", ours=True)
    driver.speaks("r2", "i2")
    driver.falls_silent("r2", "i2")
    driver.done("r2")
    assert driver.events[-1] == HandOver(driver.now, "", "billing", "Wants a refund.")


def test_a_farewell_that_never_comes_is_not_waited_for_forever() -> None:
    driver = RealtimeDriver()
    driver.created("r1")
    driver.done("r1", calls=(call("call_9", "end_call", '{"reason":"done"}'),))
    driver.created("r2", ours=True)
    driver.wait(13_000)
    assert driver.events[-1] == HangUp(driver.events[-1].at, "done")
    driver.done("r2")
    assert driver.kinds().count("HangUp") == 1


def test_a_farewell_that_is_refused_is_done_without() -> None:
    driver = RealtimeDriver()
    driver.created("r1")
    driver.done("r1", calls=(call("call_9", "end_call", '{"reason":"done"}'),))
    driver.refuses("response.create", "rate_limit_exceeded")
    assert driver.kinds()[-2:] == ["EngineError", "HangUp"]


def test_leaving_is_asked_for_once() -> None:
    driver = RealtimeDriver()
    driver.created("r1")
    driver.done("r1", calls=(transfer(), call("call_10", "end_call", "{}")))
    driver.created("r2", ours=True)
    driver.done("r2")
    assert driver.kinds().count("HandOver") + driver.kinds().count("HangUp") == 1


# --- errors ------------------------------------------------------------------------------------------------


def test_an_expired_session_is_worth_a_new_one() -> None:
    driver = RealtimeDriver()
    driver.server(
        "error", error={"type": "invalid_request_error", "code": "session_expired", "message": "60 minutes"}
    )
    assert driver.failed is not None
    assert (driver.failed.code, driver.failed.retryable) == ("session_expired", True)


def test_a_wrong_key_is_not() -> None:
    driver = RealtimeDriver()
    message = "Incorrect API key provided: sk-proj-abcdef1234567890. You can find your key at …"
    driver.server(
        "error", error={"type": "invalid_request_error", "code": "invalid_api_key", "message": message}
    )
    assert driver.failed is not None
    assert not driver.failed.retryable
    assert "abcdef" not in driver.failed.message


def test_other_errors_leave_the_session_open() -> None:
    driver = RealtimeDriver()
    driver.server("error", error={"type": "server_error", "code": None, "message": "oops"})
    error = driver.events[-1]
    assert isinstance(error, EngineError)
    assert (error.fault, error.retryable, error.code) == (Fault.ENGINE, True, "server_error")
    assert driver.failed is None


def test_a_truncation_of_what_was_heard_whole_is_no_error() -> None:
    driver = RealtimeDriver()
    message = "Audio content of 900ms is already shorter than 985ms"
    driver.server(
        "error", error={"type": "invalid_request_error", "code": "invalid_value", "message": message}
    )
    assert driver.events == []


def test_a_failed_answer_says_why() -> None:
    driver = RealtimeDriver()
    driver.created("r1")
    details = {
        "type": "failed",
        "error": {"type": "server_error", "code": "rate_limit_exceeded", "message": "slow"},
    }
    driver.done("r1", "failed", status_details=details)
    error = driver.events[0]
    assert isinstance(error, EngineError)
    assert (error.code, error.retryable) == ("rate_limit_exceeded", True)
    assert driver.events[-1] == TurnEnded(driver.now, "failed")


@pytest.mark.parametrize("text", ["{", "[]", "7", '{"no":"type"}', '{"type":5}', ""])
def test_what_is_no_message_is_refused(text: str) -> None:
    driver = RealtimeDriver()
    with pytest.raises(RemoteProtocolError):
        driver.raw(text)


@pytest.mark.parametrize("kind", sorted(RealtimeDriver().dialect._handlers))
@pytest.mark.parametrize("junk", [{}, {"response": 5, "item": "x", "error": [], "item_id": 7, "delta": {}}])
def test_known_messages_with_wrong_insides_do_no_harm(kind: str, junk: dict[str, Any]) -> None:
    driver = RealtimeDriver()
    driver.server(kind, **junk)
    driver.command(Greet())


def test_unknown_messages_are_ignored() -> None:
    driver = RealtimeDriver()
    driver.server("rate_limits.updated", rate_limits=[])
    driver.server("something.new", x=1)
    assert driver.events == []
    assert driver.sent == []


def test_the_retired_event_names_are_understood() -> None:
    driver = RealtimeDriver()
    driver.created("r1")
    where = {"response_id": "r1", "item_id": "i1"}
    driver.server("response.audio_transcript.delta", **where, delta="Hi")
    driver.server("response.audio_transcript.done", **where, transcript="Hi.")
    driver.server("response.audio.done", **where)
    driver.done("r1")
    assert driver.kinds() == ["ItemStarted", "Transcript", "Transcript", "ItemEnded", "TurnEnded"]


def test_the_end_of_the_session_is_announced() -> None:
    driver = RealtimeDriver(RealtimeSettings(session_limit_s=3600))
    driver.wait(3_539_000)
    assert driver.events == []
    driver.wait(2_000)
    assert driver.events == [GoingAway(driver.events[0].at, 60_000)]


def test_speech_before_the_session_is_ready_is_noise() -> None:
    driver = RealtimeDriver(ready=False)
    driver.server("input_audio_buffer.speech_started", audio_start_ms=0, item_id="c1")
    assert not [event for event in driver.events if isinstance(event, CallerSpeechStarted)]
