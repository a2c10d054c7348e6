"""Random interleavings of a server, a caller and ``calls``, judged by the rules that must always hold."""

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from trunkline.engines.contract import (
    CallerText,
    CancelAnswer,
    EngineError,
    Greet,
    HandOver,
    HangUp,
    Interrupted,
    ItemEnded,
    ItemStarted,
    Say,
    ToolCall,
    ToolResult,
    Truncate,
)
from trunkline.model import RemoteProtocolError
from trunkline.telephony.media.port import Heard
from trunkline.testing.realtime import RealtimeDriver, call


class Server(RuleBasedStateMachine):
    """A server that allows one response at a time and answers what it got, late or early, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.driver = RealtimeDriver()
        self.read = 0
        self.inbox: list[dict[str, Any]] = []
        self.active = ""
        self.cancel = False
        self.item = ""
        self.responses = 0
        self.calls = 0
        self.answered: dict[str, int] = {}
        self.refusals = 0
        self.speaking = False

    def _collect(self) -> None:
        self.inbox += self.driver.sent[self.read :]
        self.read = len(self.driver.sent)

    def _begin(self, metadata: Any) -> None:
        self.responses += 1
        self.active, self.item, self.cancel = f"r{self.responses}", "", False
        self.driver.server("response.created", response={"id": self.active, "metadata": metadata})

    @rule()
    def server_reads_one(self) -> None:
        self._collect()
        if not self.inbox:
            return
        message = self.inbox.pop(0)
        match message["type"]:
            case "response.create" if self.active:
                self.refusals += 1
                code = "conversation_already_has_active_response"
                self.driver.server(
                    "error", error={"code": code, "message": "busy", "event_id": message["event_id"]}
                )
            case "response.create":
                self._begin(message["response"]["metadata"])
            case "response.cancel":
                self.cancel = bool(self.active)
            case "conversation.item.create":
                item = message["item"]
                if item["type"] == "function_call_output":
                    self.answered[item["call_id"]] = self.answered.get(item["call_id"], 0) + 1
                self.driver.server("conversation.item.added", item=item)
            case "conversation.item.truncate":
                assert 0 <= message["audio_end_ms"] <= 1_000

    @precondition(lambda self: self.active and not self.item)
    @rule()
    def server_speaks(self) -> None:
        self.item = f"i{self.responses}"
        self.driver.speaks(self.active, self.item)

    @precondition(lambda self: self.active)
    @rule(calls=st.integers(0, 3), leave=st.booleans(), twice=st.booleans())
    def server_finishes(self, calls: int, leave: bool, twice: bool) -> None:
        response, self.active = self.active, ""
        if self.item:
            self.driver.falls_silent(response, self.item)
        made = [call(f"c{self.calls + index}") for index in range(calls)]
        self.calls += calls
        if leave:
            made.append(call(f"leave{self.responses}", "transfer_to_person", json.dumps({"reason": "x"})))
        self.driver.done(
            response, "cancelled" if self.cancel else "completed", calls=tuple(made * (1 + twice))
        )

    @rule()
    def caller_starts(self) -> None:
        self.speaking = True
        self.driver.server("input_audio_buffer.speech_started", audio_start_ms=0, item_id="c")
        if self.active:
            response, self.active = self.active, ""
            self.driver.done(response, "cancelled", status_details={"reason": "turn_detected"})

    @precondition(lambda self: self.speaking)
    @rule(answers=st.booleans())
    def caller_stops(self, answers: bool) -> None:
        self.speaking = False
        self.driver.server("input_audio_buffer.speech_stopped", audio_end_ms=0, item_id="c")
        if answers and not self.active:
            self._begin(None)

    @rule(which=st.integers(0, 20))
    def tool_answers(self, which: int) -> None:
        made = [event for event in self.driver.events if isinstance(event, ToolCall)]
        if made:
            self.driver.command(ToolResult(made[which % len(made)].id, {"ok": True}))

    @rule(which=st.sampled_from([Greet(), Say("Sorry."), CallerText("hello"), CancelAnswer()]))
    def calls_commands(self, which: Greet | Say | CallerText | CancelAnswer) -> None:
        self.driver.command(which)

    @rule(heard=st.integers(0, 2_000))
    def caller_was_cut_off(self, heard: int) -> None:
        started = [event for event in self.driver.events if isinstance(event, ItemStarted)]
        if started:
            self.driver.dialect.heard(Heard(started[-1].item, min(heard, 1_000), 1_000))
            self.driver.command(Truncate(started[-1].item, heard))

    @rule(span=st.sampled_from([10, 600, 2_500, 12_000]))
    def time_passes(self, span: int) -> None:
        self.driver.wait(span)

    @invariant()
    def one_request_at_a_time(self) -> None:
        self._collect()
        waiting = [message for message in self.inbox if message["type"] == "response.create"]
        overdue = sum(
            isinstance(event, EngineError) and event.code == "no_response" for event in self.driver.events
        )
        assert len(waiting) <= 1 + overdue

    @invariant()
    def nothing_happens_twice(self) -> None:
        assert all(count == 1 for count in self.answered.values())
        made = [event.id for event in self.driver.events if isinstance(event, ToolCall)]
        assert len(made) == len(set(made))
        for kind in (ItemStarted, ItemEnded, Interrupted):
            items = [event.item for event in self.driver.events if isinstance(event, kind)]
            assert len(items) == len(set(items))

    @invariant()
    def the_session_survives(self) -> None:
        assert self.driver.failed is None

    def teardown(self) -> None:
        """Whatever happened, a server that is left in peace is asked for everything that is open."""
        for _ in range(200):
            self._collect()
            if self.speaking:
                self.caller_stops(False)
            elif self.inbox:
                self.server_reads_one()
            elif self.active:
                response, self.active = self.active, ""
                self.driver.done(response, "cancelled" if self.cancel else "completed")
            elif (due := self.driver.dialect.due()) is not None and due < self.driver.now + 10**11:
                self.driver.wait(12_500)
            else:
                break
        else:
            raise AssertionError("the dialect never comes to rest")
        assert self.driver.dialect._gate.next(self.driver.now) is None
        assert self.driver.dialect._leaving is None
        leaving = [event for event in self.driver.events if isinstance(event, HandOver | HangUp)]
        asked = [m for m in self.driver.sent if m.get("item", {}).get("call_id", "").startswith("leave")]
        assert bool(leaving) == bool(asked)


Server.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestInterleavings = Server.TestCase


TYPES = sorted(RealtimeDriver().dialect._handlers)
KEYS = st.sampled_from(
    [
        *("response", "response_id", "item", "item_id", "id", "type", "status", "output", "part", "delta"),
        *("metadata", "error", "code", "message", "call_id", "name", "arguments", "usage", "transcript"),
        "status_details",
    ]
)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(max_size=8)
    | st.sampled_from(["message", "function_call"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=5),
    max_leaves=12,
)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(TYPES), st.dictionaries(KEYS, JSON, max_size=5)), max_size=12))
def test_a_server_that_says_anything_causes_events_and_nothing_else(
    said: list[tuple[str, dict[str, Any]]],
) -> None:
    driver = RealtimeDriver(ready=False)
    for kind, fields in said:
        driver.raw(json.dumps({**fields, "type": kind}))
    driver.wait(30_000)


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=60) | st.binary(max_size=60).map(lambda raw: raw.decode("latin-1")))
def test_text_that_is_no_message_is_refused(text: str) -> None:
    driver = RealtimeDriver()
    try:
        driver.raw(text)
    except RemoteProtocolError:
        driver.raw(json.dumps({"type": "response.created", "response": {"id": "r"}}))
