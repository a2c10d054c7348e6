"""The dialogue as a function of what was said, pressed, answered and not said. No audio."""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from trunkline.config.source import parse
from trunkline.engines.local.dialogue import (
    Answer,
    Begin,
    CallerStarted,
    CallTool,
    Cut,
    HandOver,
    HangUp,
    Heard,
    Input,
    Mode,
    Output,
    Pressed,
    Quiet,
    Say,
    Script,
    Tick,
    check_dialogue,
)
from trunkline.model import Nanos, ms

TODAY = dt.date(2026, 11, 20)

DOCUMENT: dict[str, Any] = {
    "version": 1,
    "greeting": "Hello.",
    "help": "Ask for an order, a delivery or a booking.",
    "intents": {
        "status": {
            "key": "1",
            "examples": ["where is my order", "check order {number}"],
            "steps": [
                {"ask": "number"},
                {
                    "call": "order_status",
                    "arguments": {"order_number": "{number}", "caller": "{ani}"},
                    "answer": "It is {state}.",
                    "failed": "No system.",
                    "wait_ms": 5000,
                },
            ],
        },
        "hours": {"key": "2", "examples": ["when are you open"], "steps": [{"say": "Always."}]},
        "delivery": {
            "examples": ["change my delivery"],
            "steps": [{"ask": "day"}, {"ask": "size"}, {"say": "{size} on {day}."}],
        },
        "repeat_booking": {
            "examples": ["book it again"],
            "steps": [{"ask": "size", "keep": True}, {"ask": "sure"}, {"say": "Booked {size}, {sure}."}],
        },
        "complaint": {
            "examples": ["make a complaint"],
            "steps": [{"hand_over": {"queue": "complaints", "summary": "{intent}: {last_words}, {number}"}}],
        },
        "leave": {"examples": ["stop calling me"], "steps": [{"hang_up": "Sorry."}]},
    },
    "slots": {
        "number": {
            "kind": "digits",
            "length": 4,
            "prompt": "Which number?",
            "reprompts": ["Again?", "Key it in."],
            "confirm": "{number}, right?",
            "end_of_speech_ms": 900,
        },
        "day": {"kind": "date", "prompt": "Which day?"},
        "size": {
            "kind": "choice",
            "prompt": "Big or small?",
            "options": {
                "big": {"examples": ["big", "a big one"], "key": "1"},
                "small": {"examples": ["small"]},
            },
        },
        "sure": {"kind": "yes_no", "prompt": "Sure?"},
    },
    "person": {"queue": "support", "farewell": "Connecting.", "summary": "{intent} {number}"},
    "goodbye": {"farewell": "Bye."},
    "anything_else": {"prompt": "More?", "yes": "What?"},
    "phrases": {
        "silence": "Hello?",
        "no_match": "What was that?",
        "misheard": "Oh.",
        "give_up": "I give up.",
    },
    "silence_ms": 7000,
    "key_gap_ms": 3000,
    "reprompts": 2,
}


def script(**changes: Any) -> Script:
    text = yaml.safe_dump({**DOCUMENT, **changes})
    return Script(check_dialogue(parse(text.encode(), Path("dialogue.yaml"))))


SCRIPT = script()


@dataclass
class Talk:
    """A dialogue with a clock that the test moves."""

    script: Script = field(default_factory=lambda: SCRIPT)
    now: Nanos = field(default=Nanos(0))
    context: Mapping[str, str] = field(default_factory=lambda: {"ani": "+1555"})

    def __post_init__(self) -> None:
        self.dialogue = self.script.dialogue(self.context, TODAY)
        self.tell(Begin())

    def tell(self, event: Input) -> list[Output]:
        return self.dialogue.handle(event, self.now)

    def say(self, text: str) -> list[Output]:
        return self.tell(Heard(text))

    def press(self, keys: str) -> list[Output]:
        return [output for key in keys for output in self.tell(Pressed(key))]

    def wait(self, span_ms: float) -> list[Output]:
        self.now = Nanos(self.now + ms(span_ms))
        return self.tell(Tick())


def words(outputs: list[Output]) -> str:
    return " ".join(output.text for output in outputs if isinstance(output, Say))


def only_act(outputs: list[Output]) -> Output:
    (act,) = [output for output in outputs if not isinstance(output, Say)]
    return act


def test_greets_with_the_document_s_words_or_the_given_ones() -> None:
    dialogue = SCRIPT.dialogue({}, TODAY)
    before = dialogue.mode
    assert dialogue.handle(Begin(), Nanos(0)) == [Say("Hello.", fixed=True)]
    assert words(SCRIPT.dialogue({}, TODAY).handle(Begin("Good day."), Nanos(0))) == "Good day."
    assert (before, dialogue.mode) == (Mode.IDLE, Mode.MENU)


def test_an_order_is_looked_up_after_its_number_was_confirmed() -> None:
    talk = Talk()
    assert words(talk.say("where is my order")) == "Which number?"
    assert words(talk.say("one two oh four")) == "1 2 0 4, right?"
    assert only_act(talk.say("yes")) == CallTool(
        "order_status-1", "order_status", {"order_number": "1204", "caller": "+1555"}
    )
    said = talk.tell(Answer("order_status-1", {"state": "shipped"}, spoken="Prepared."))
    assert words(said) == "It is shipped. More?"
    assert talk.dialogue.mode is Mode.MORE


def test_a_number_in_the_request_is_only_confirmed() -> None:
    talk = Talk()
    assert words(talk.say("check order one two three four")) == "1 2 3 4, right?"
    assert isinstance(only_act(talk.say("that's right")), CallTool)


def test_a_second_request_asks_again() -> None:
    talk = Talk()
    talk.say("check order one two three four")
    talk.say("yes")
    talk.tell(Answer("order_status-1", {"state": "shipped"}))
    assert words(talk.say("where is my order")) == "Which number?"


def test_a_kept_slot_is_not_asked_again() -> None:
    talk = Talk()
    talk.say("change my delivery")
    talk.say("tomorrow")
    assert words(talk.say("a big one")) == "big on 2026-11-21. More?"
    assert words(talk.say("book it again")) == "Sure?"
    assert words(talk.say("no")) == "Booked big, no. More?"


@pytest.mark.parametrize(
    ("answer", "spoken"),
    [
        (Answer("order_status-1", {"state": "late"}), "It is late."),
        (Answer("order_status-1", {"other": 1}, spoken="Prepared."), "Prepared."),
        (Answer("order_status-1", {"state": None}), "No system."),
        (Answer("order_status-1", {"state": "x"}, failed=True, spoken="It is down."), "It is down."),
        (Answer("order_status-1", failed=True), "No system."),
    ],
)
def test_what_a_tool_s_answer_sounds_like(answer: Answer, spoken: str) -> None:
    talk = Talk()
    talk.say("check order one two three four")
    talk.say("yes")
    assert words(talk.tell(answer)) == f"{spoken} More?"


def test_an_answer_nobody_waits_for_is_ignored() -> None:
    talk = Talk()
    assert talk.tell(Answer("order_status-1", {"state": "x"})) == []
    talk.say("check order one two three four")
    talk.say("yes")
    assert talk.tell(Answer("order_status-7", {"state": "x"})) == []
    assert talk.dialogue.mode is Mode.WAITING
    talk.tell(Answer("order_status-1", {"state": "x"}))
    assert talk.tell(Answer("order_status-1", {"state": "x"})) == [], "the same answer twice"


def test_a_tool_that_never_answers_has_failed() -> None:
    talk = Talk()
    talk.say("check order one two three four")
    talk.say("yes")
    talk.tell(CallerStarted())
    assert talk.wait(4999) == []
    assert words(talk.wait(1)) == "No system. More?"


def test_while_a_tool_works_only_a_person_and_goodbye_count() -> None:
    talk = Talk()
    talk.say("check order one two three four")
    talk.say("yes")
    assert talk.say("when are you open") == []
    assert talk.say("") == []
    assert talk.press("1") == []
    assert only_act(talk.say("agent")) == HandOver("support", "caller asked for a person", "status 1 2 3 4")


def test_a_no_asks_for_the_slot_again_and_at_last_gives_up() -> None:
    talk = Talk()
    talk.say("where is my order")
    talk.say("one two three four")
    assert words(talk.say("no")) == "Oh. Again?"
    talk.say("one two three five")
    assert words(talk.say("no that's wrong")) == "Oh. Again?"
    talk.say("one two three six")
    outputs = talk.say("no")
    assert words(outputs) == "I give up. Connecting."
    assert only_act(outputs) == HandOver("support", "not understood", "status unknown")


def test_a_correction_is_taken_as_the_new_value() -> None:
    talk = Talk()
    talk.say("where is my order")
    talk.say("one two three four")
    assert words(talk.say("no it's one two three five")) == "1 2 3 5, right?"
    assert isinstance(only_act(talk.say("it's one two three five")), CallTool), "said again, it is right"


def test_failures_lead_to_reprompts_and_to_a_person() -> None:
    talk = Talk()
    talk.say("where is my order")
    assert words(talk.say("")) == "What was that? Again?"
    assert words(talk.say("i don't know")) == "What was that? Key it in."
    assert isinstance(only_act(talk.say("one two three")), HandOver)
    assert talk.dialogue.ended


def test_an_understood_turn_forgives_failures() -> None:
    talk = Talk()
    for _ in range(5):
        assert words(talk.say("")) == "What was that? Ask for an order, a delivery or a booking."
        assert words(talk.say("when are you open")) == "Always. More?"
        assert words(talk.say("yes")) == "What?"


def test_giving_up_may_mean_hanging_up() -> None:
    talk = Talk(script(give_up="hang_up", reprompts=0))
    outputs = talk.say("")
    assert words(outputs) == "I give up. Bye."
    assert only_act(outputs) == HangUp("not understood")


def test_silence_is_counted_from_the_end_of_the_agent_s_words() -> None:
    talk = Talk()
    assert talk.dialogue.deadline is None
    talk.tell(Quiet())
    assert talk.dialogue.deadline == ms(7000)
    talk.tell(CallerStarted())
    assert talk.dialogue.deadline is None
    talk.say("where is my order")
    talk.tell(Quiet())
    assert talk.wait(6999) == []
    assert words(talk.wait(1)) == "Hello? Again?"
    talk.tell(Quiet())
    assert words(talk.wait(7000)) == "Hello? Key it in."
    talk.tell(Quiet())
    assert isinstance(only_act(talk.wait(7000)), HandOver)
    assert talk.dialogue.deadline is None


def test_an_interruption_without_words_goes_on_where_it_was_cut() -> None:
    talk = Talk()
    talk.tell(Cut("You can ask."))
    assert words(talk.say("")) == "You can ask."
    assert words(talk.say("")).startswith("What was that?"), "only once"


def test_an_interruption_with_words_is_followed() -> None:
    talk = Talk()
    talk.tell(Cut("You can ask."))
    assert words(talk.say("where is my order")) == "Which number?"
    assert words(talk.say("")).startswith("What was that?"), "what was cut is forgotten"


def test_the_last_words_can_be_repeated_and_time_be_asked_for() -> None:
    talk = Talk()
    talk.say("where is my order")
    assert words(talk.say("can you repeat that")) == "Which number?"
    assert talk.say("hold on a second") == []
    assert talk.dialogue.mode is Mode.SLOT


@pytest.mark.parametrize("state", ["menu", "slot", "confirm", "more"])
@pytest.mark.parametrize(
    ("text", "act"),
    [
        ("representative", HandOver),
        ("i want to talk to a person", HandOver),
        ("can i speak to someone", HandOver),
        ("goodbye", HangUp),
        ("thank you bye", HangUp),
    ],
)
def test_a_person_and_goodbye_are_understood_everywhere(state: str, text: str, act: type[Output]) -> None:
    talk = Talk()
    for before in {"menu": [], "slot": ["where is my order"], "more": ["when are you open"]}.get(
        state, ["where is my order", "one two three four"]
    ):
        talk.say(before)
    assert isinstance(only_act(talk.say(text)), act)
    assert talk.dialogue.ended


def test_after_the_end_nothing_is_heard_until_it_begins_again() -> None:
    talk = Talk()
    talk.say("goodbye")
    for event in (Heard("where is my order"), Pressed("1"), Quiet(), Tick(), Cut("x"), Answer("a")):
        assert talk.tell(event) == []
    assert talk.dialogue.deadline is None
    assert words(talk.tell(Begin("Nobody is free."))) == "Nobody is free."
    assert words(talk.say("when are you open")) == "Always. More?"


def test_no_after_anything_else_says_goodbye() -> None:
    talk = Talk()
    talk.say("when are you open")
    outputs = talk.say("no thanks")
    assert outputs == [Say("Bye.", fixed=True), HangUp("caller needs nothing else")]


def test_an_intent_may_hand_over_in_its_own_way() -> None:
    outputs = Talk().say("make a complaint")
    assert outputs == [
        Say("Connecting.", fixed=True),
        HandOver("complaints", "complaint", "complaint: make a complaint, unknown"),
    ]


def test_an_intent_may_hang_up() -> None:
    assert Talk().say("stop calling me") == [Say("Sorry.", fixed=True), HangUp("leave")]


# --- keys ----------------------------------------------------------------------------------------------


def test_the_menu_and_a_number_by_keys_alone() -> None:
    talk = Talk()
    assert words(talk.press("1")) == "Which number?"
    assert talk.press("120") == []
    assert isinstance(only_act(talk.press("4")), CallTool), "keyed-in values are not confirmed"


def test_hash_ends_digits_and_star_clears_them() -> None:
    talk = Talk(
        script(
            slots={
                **DOCUMENT["slots"],
                "number": {**DOCUMENT["slots"]["number"], "length": None, "min_length": 2, "max_length": 8},
            }
        )
    )
    talk.press("1")
    act = only_act(talk.press("99*123#"))
    assert isinstance(act, CallTool)
    assert act.arguments["order_number"] == "123"


def test_a_pause_ends_keyed_digits_and_too_few_are_a_failure() -> None:
    talk = Talk()
    talk.press("112")
    talk.tell(Quiet())
    assert talk.wait(2999) == []
    assert words(talk.wait(1)) == "What was that? Again?"
    assert talk.press("1204") != []


def test_keys_answer_questions() -> None:
    talk = Talk()
    talk.say("where is my order")
    talk.say("one two three four")
    assert isinstance(only_act(talk.press("1")), CallTool)
    talk = Talk()
    talk.say("change my delivery")
    assert words(talk.press("1225")) == "Big or small?"
    assert words(talk.press("1")) == "big on 2026-12-25. More?"
    talk.say("book it again")
    assert words(talk.press("2")) == "Booked big, no. More?"


def test_zero_is_a_person_except_among_digits() -> None:
    assert only_act(Talk().press("0")) == HandOver("support", "caller pressed 0", "unknown unknown")
    talk = Talk()
    talk.press("1")
    assert talk.press("0") == []


@pytest.mark.parametrize("key", ["9", "*", "#"])
def test_a_key_that_means_nothing_is_a_failure(key: str) -> None:
    assert words(Talk().press(key)).startswith("What was that?")


@pytest.mark.parametrize("keys", ["0230", "1301", "0000"])
def test_a_day_that_does_not_exist_is_a_failure(keys: str) -> None:
    talk = Talk()
    talk.say("change my delivery")
    assert words(talk.press(keys)).startswith("What was that?")


# --- listening -----------------------------------------------------------------------------------------


def test_each_moment_has_its_grammar_and_patience() -> None:
    talk = Talk()
    assert (talk.dialogue.expectation.grammar, talk.dialogue.expectation.end_of_speech_ms) == ("menu", 600)
    talk.say("where is my order")
    assert (talk.dialogue.expectation.grammar, talk.dialogue.expectation.end_of_speech_ms) == (
        "slot:number",
        900,
    )
    talk.say("one two three four")
    assert talk.dialogue.expectation.grammar == "confirm:number"
    talk.say("when are you open")
    assert {"menu", "more", "slot:number", "confirm:number", "slot:day"} <= SCRIPT.listening.grammars.keys()


EVENTS = st.one_of(
    st.sampled_from(
        [
            Quiet(),
            CallerStarted(),
            Tick(),
            Cut("And so on."),
            Answer("order_status-1", {"state": "x"}),
            Heard(""),
            Heard("one two three four"),
            Heard("yes"),
            Heard("no"),
            Heard("tomorrow"),
            Heard("big"),
            Heard("repeat that"),
        ]
    ),
    st.sampled_from([Heard(example) for i in SCRIPT.document.intents.values() for example in i.examples]),
    st.sampled_from([Pressed(key) for key in "0123456789*#"]),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(EVENTS, st.integers(0, 8000)), max_size=40))
def test_whatever_happens_the_dialogue_stays_sound(events: list[tuple[Input, int]]) -> None:
    talk = Talk()
    ends = waiting = 0
    for event, span in events:
        talk.now = Nanos(talk.now + ms(span))
        outputs = talk.tell(event)
        says = [o for o in outputs if isinstance(o, Say)]
        assert len(says) <= 1
        assert not says or (outputs[0] is says[0] and says[0].text)
        assert "{" not in words(outputs)
        ends += sum(isinstance(o, HandOver | HangUp) for o in outputs)
        waiting += sum(isinstance(o, CallTool) for o in outputs)
        assert ends == (1 if talk.dialogue.ended else 0)
        assert talk.dialogue.expectation.grammar in SCRIPT.listening.grammars
        if talk.dialogue.mode is Mode.WAITING:
            assert waiting
            assert talk.dialogue.deadline is not None
