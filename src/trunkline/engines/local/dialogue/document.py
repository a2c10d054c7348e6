"""The dialogue document: what the local engine says, understands and does, without a language model.

Owns the YAML's shape and every check that needs no audio; errors carry file and line. ``docs/engines/local.md``
explains each key to the people who write these documents.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, model_validator

from trunkline.config.source import Document, Path_, load
from trunkline.engines.local.recogniser import spoken_words
from trunkline.model import ConfigError

Text = Annotated[str, Field(min_length=1, max_length=1000)]
Key = Annotated[str, Field(pattern=r"^[0-9*]$")]
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,39}$")]
Examples = Annotated[tuple[Text, ...], Field(max_length=200)]

FIELD: Final = re.compile(r"\{([a-z][a-z0-9_]*)\}")
"""A template's field: ``{order_number}``."""

BUILT_IN_FIELDS: Final = frozenset({"intent", "last_words"})
"""Fields that a summary may use besides slots and context."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


# --- slots ---------------------------------------------------------------------------------------------


class _Slot(_Strict):
    prompt: Text
    """Question that asks for it."""
    reprompts: tuple[Text, ...] = ()
    """Said instead of the prompt after the first, second … failure; the last one repeats."""
    confirm: str = Field(default="", max_length=500)
    """Template of a yes-or-no question; empty: not confirmed. Keyed-in values never are."""
    end_of_speech_ms: int = Field(default=0, ge=0, le=3000)
    """How long silence must last to end the caller's turn; 0: the document's."""


class DigitsSlot(_Slot):
    """A string of digits, spoken one by one or keyed in."""

    kind: Literal["digits"]
    """Which kind of slot it is."""
    length: int | None = Field(default=None, ge=1, le=32)
    """Exact number of digits; a known length is recognised far better than a free one."""
    min_length: int = Field(default=1, ge=1, le=32)
    """Fewest digits, when the length varies."""
    max_length: int = Field(default=16, ge=1, le=32)
    """Most digits, when the length varies."""
    lead_ins: Examples = ()
    """What callers say before the digits, besides the usual ("it's", "my number is")."""

    @property
    def shortest(self) -> int:
        """Fewest digits."""
        return self.length or self.min_length

    @property
    def longest(self) -> int:
        """Most digits."""
        return self.length or self.max_length

    @model_validator(mode="after")
    def _ordered(self) -> "DigitsSlot":
        if self.shortest > self.longest:
            raise ValueError("min_length is greater than max_length")
        return self


class DateSlot(_Slot):
    """A day: weekday, month and day, today, tomorrow, yesterday; its value is ``YYYY-MM-DD``."""

    kind: Literal["date"]
    """Which kind of slot it is."""
    direction: Literal["past", "future"] = "future"
    """Where "Tuesday" or "March third" lies when it could be either."""


class YesNoSlot(_Slot):
    """Yes or no (keys 1 and 2); its value is ``yes`` or ``no``."""

    kind: Literal["yes_no"]
    """Which kind of slot it is."""


class Option(_Strict):
    """One value of a choice."""

    examples: Examples = Field(min_length=1)
    """What callers say for it."""
    key: Key | None = None
    """Pressed, it means this value."""


class ChoiceSlot(_Slot):
    """One of a few values."""

    kind: Literal["choice"]
    """Which kind of slot it is."""
    options: dict[Name, Option] = Field(min_length=1, max_length=40)
    """Values, each with what is said for it."""


Slot = Annotated[DigitsSlot | DateSlot | YesNoSlot | ChoiceSlot, Field(discriminator="kind")]


# --- steps ---------------------------------------------------------------------------------------------


class SayStep(_Strict):
    """Say a sentence."""

    say: Text
    """Template."""


class AskStep(_Strict):
    """Fill a slot, unless the request itself named its value."""

    ask: Name
    """Slot."""
    keep: bool = False
    """Do not ask when an earlier request filled it."""


class CallStep(_Strict):
    """Call a tool and speak its answer."""

    call: Name
    """Tool of the agent."""
    arguments: dict[Name, str] = Field(default_factory=dict)
    """Templates over slots and context."""
    answer: str = Field(default="", max_length=1000)
    """Template over the tool's output; empty: the sentence that the tool itself prepared."""
    failed: Text = "I'm sorry, I can't look that up at the moment."
    """Said when the tool failed and prepared no sentence for it."""
    wait_ms: int = Field(default=30000, ge=1000, le=120000)
    """Without an answer for so long, the tool has failed."""


class HandOver(_Strict):
    """Give the caller to a person."""

    queue: str = Field(default="", max_length=100)
    """One of the agent's queues; empty: its first."""
    farewell: Text = "I'm connecting you with a colleague. One moment please."
    """Said before."""
    summary: str = Field(default="", max_length=1000)
    """Template for the person who takes over; an unfilled field reads "unknown"."""


class HandOverStep(_Strict):
    """Give the caller to a person as the top-level ``person`` says."""

    hand_over: dict[Literal["queue", "farewell", "summary"], str] = Field(default_factory=dict)
    """What differs from ``person``."""


class HangUpStep(_Strict):
    """Say farewell and end the call."""

    hang_up: Text
    """Farewell."""


_STEPS: Final[dict[str, type[BaseModel]]] = {
    "say": SayStep,
    "ask": AskStep,
    "call": CallStep,
    "hand_over": HandOverStep,
    "hang_up": HangUpStep,
}


def _which(value: Any) -> str:
    """Tag of a step: the first key that names one. What is none is reported as a bad ``say``.

    Tags differ from keys, so that error locations are not mistaken for paths in the document.
    """
    if isinstance(value, Mapping):
        return "step:" + next((key for key in _STEPS if key in value), "say")
    return "step:" + next((key for key, model in _STEPS.items() if isinstance(value, model)), "say")


Step = Annotated[
    Annotated[SayStep, Tag("step:say")]
    | Annotated[AskStep, Tag("step:ask")]
    | Annotated[CallStep, Tag("step:call")]
    | Annotated[HandOverStep, Tag("step:hand_over")]
    | Annotated[HangUpStep, Tag("step:hang_up")],
    Discriminator(_which),
]


# --- document ------------------------------------------------------------------------------------------


class Intent(_Strict):
    """Something a caller may want."""

    examples: Examples = Field(min_length=1)
    """What callers say; may hold a digits slot: "where is order {order_number}"."""
    key: Key | None = None
    """Pressed in the menu, it means this intent; 0 always means a person."""
    steps: tuple[Step, ...] = Field(min_length=1, max_length=20)
    """Carried out in order; then ``anything_else`` is asked."""


class Person(HandOver):
    """Handing over, which is understood at any time ("agent", "representative", key 0)."""

    examples: Examples = ()
    """Besides the built-in ones."""


class Goodbye(_Strict):
    """Ending the call, which is understood at any time."""

    farewell: Text = "Thank you for calling. Goodbye."
    """Said before hanging up."""
    examples: Examples = ()
    """Besides the built-in ones."""


class AnythingElse(_Strict):
    """Asked after each request."""

    prompt: Text = "Is there anything else I can help you with?"
    """The question."""
    yes: Text = "What can I do for you?"
    """Said when the caller just says yes."""


class Phrases(_Strict):
    """What is said when things go wrong."""

    silence: Text = "Are you still there?"
    """When the caller was silent; the question follows."""
    no_match: Text = "Sorry, I didn't get that."
    """When nothing was understood; the question follows."""
    misheard: Text = "Sorry about that."
    """When the caller says no to a confirmation."""
    give_up: Text = "I'm sorry, I'm having trouble understanding you."
    """Before handing over, or hanging up, after too many failures."""


class DialogueDocument(_Strict):
    """A whole dialogue."""

    version: Literal[1]
    """Version of this document's shape."""
    language: Literal["en-US"] = "en-US"
    """The only one that the recogniser has a model for."""
    greeting: Text = "Hello. How can I help?"
    """Said first, unless the agent's document has a greeting."""
    help: Text
    """Said after the first failure to understand a request: what callers can ask for."""
    intents: dict[Name, Intent] = Field(min_length=1, max_length=60)
    """What callers may want, by name."""
    slots: dict[Name, Slot] = Field(default_factory=dict, max_length=40)
    """What is asked of callers, by name."""
    context: tuple[Name, ...] = ("dnis", "ani", "name")
    """Facts about the call that templates may use."""
    person: Person = Person()
    """How callers get to a person."""
    goodbye: Goodbye = Goodbye()
    """How calls end."""
    anything_else: AnythingElse = AnythingElse()
    """What is asked after each request."""
    phrases: Phrases = Phrases()
    """What is said when things go wrong."""
    silence_ms: int = Field(default=7000, ge=1000, le=60000)
    """Silence of the caller after which the question is put again."""
    key_gap_ms: int = Field(default=3000, ge=500, le=20000)
    """Pause after a key that ends keyed-in digits (``#`` ends them at once)."""
    end_of_speech_ms: int = Field(default=600, ge=200, le=3000)
    """Silence that ends the caller's turn."""
    reprompts: int = Field(default=2, ge=0, le=10)
    """Failures in a row that are met with a reprompt; the next one gives up."""
    give_up: Literal["hand_over", "hang_up"] = "hand_over"
    """What happens after too many failures."""


def load_dialogue(file: Path) -> DialogueDocument:
    """Read and check a dialogue document. ``ConfigError`` lists every mistake with its line."""
    return check_dialogue(load(file))


def check_dialogue(source: Document) -> DialogueDocument:
    """``load_dialogue`` for YAML that is parsed already."""
    document = source.validate(DialogueDocument)
    errors = [source.error(path, what, hint=hint) for path, what, hint in problems(document)]
    if errors:
        first = errors[0]
        text = first.what + (f" ({first.hint})" if first.hint else "")
        raise ConfigError(
            "\n".join([text, *(str(error) for error in errors[1:])]), file=first.file, line=first.line
        )
    return document


def schema() -> dict[str, Any]:
    """JSON Schema of the document, for editors."""
    return DialogueDocument.model_json_schema()


Problem = tuple[Path_, str, str]


def problems(document: DialogueDocument) -> Iterator[Problem]:
    """Mistakes that the shape allows: path, what, hint."""
    yield from _intents(document)
    yield from _keys(document)
    for name, slot in document.slots.items():
        yield from _fields(("slots", name, "confirm"), slot.confirm, {*document.context, *document.slots})
        match slot:
            case ChoiceSlot():
                for value, option in slot.options.items():
                    yield from _spoken(("slots", name, "options", value, "examples"), option.examples)
            case DigitsSlot():
                yield from _spoken(("slots", name, "lead_ins"), slot.lead_ins)
            case DateSlot() | YesNoSlot():
                pass
    known = {*document.context, *document.slots, *BUILT_IN_FIELDS}
    yield from _fields(("person", "summary"), document.person.summary, known)
    yield from _spoken(("person", "examples"), document.person.examples)
    yield from _spoken(("goodbye", "examples"), document.goodbye.examples)


def _intents(document: DialogueDocument) -> Iterator[Problem]:
    seen: dict[str, str] = {}
    digit_slots = {name for name, slot in document.slots.items() if isinstance(slot, DigitsSlot)}
    for name, intent in document.intents.items():
        where: Path_ = ("intents", name, "examples")
        yield from _spoken(where, intent.examples)
        for index, example in enumerate(intent.examples):
            strangers = [field for field in FIELD.findall(example) if field not in digit_slots]
            for field in strangers:
                yield (*where, index), f"{{{field}}} is not a digits slot", "define it under slots"
            key = " ".join(spoken_words(example))
            if seen.setdefault(key, name) != name:
                yield (*where, index), f"also an example of the intent {seen[key]}", "keep it in one of them"
        yield from _steps(document, name, intent)


def _steps(document: DialogueDocument, name: str, intent: Intent) -> Iterator[Problem]:
    known = {*document.context, *document.slots}
    for index, step in enumerate(intent.steps):
        where: Path_ = ("intents", name, "steps", index)
        match step:
            case SayStep():
                yield from _fields((*where, "say"), step.say, known)
            case AskStep():
                if step.ask not in document.slots:
                    yield (*where, "ask"), f"there is no slot {step.ask}", "define it under slots"
            case CallStep():
                for argument, template in step.arguments.items():
                    yield from _fields((*where, "arguments", argument), template, known)
            case HandOverStep():
                summary = step.hand_over.get("summary", "")
                yield from _fields((*where, "hand_over", "summary"), summary, {*known, *BUILT_IN_FIELDS})
            case HangUpStep():
                yield from _fields((*where, "hang_up"), step.hang_up, known)
        if isinstance(step, HandOverStep | HangUpStep) and index + 1 < len(intent.steps):
            yield (*where,), "the conversation ends here", "remove the steps after it"


def _keys(document: DialogueDocument) -> Iterator[Problem]:
    taken: dict[str, str] = {"0": "a person"}
    for name, intent in document.intents.items():
        if intent.key is not None and taken.setdefault(intent.key, name) != name:
            yield (
                ("intents", name, "key"),
                f"key {intent.key} already means {taken[intent.key]}",
                "choose another",
            )


def _fields(path: Path_, template: str, known: set[str]) -> Iterator[Problem]:
    for field in FIELD.findall(template):
        if field not in known:
            yield path, f"nothing is called {{{field}}}", f"known here: {', '.join(sorted(known))}"


def _spoken(path: Path_, examples: tuple[str, ...]) -> Iterator[Problem]:
    for index, example in enumerate(examples):
        bare = FIELD.sub(" ", example)
        strange = sorted(
            {char for char in bare if char.isalnum() and not (char.isascii() and char.isalpha())}
        )
        if strange:
            hint = "write numbers as words, with the letters a to z"
            yield (*path, index), f"{''.join(strange)!r} cannot be recognised in {example!r}", hint
        elif not spoken_words(bare) and not FIELD.search(example):
            yield (*path, index), f"{example!r} has no words", "write what callers say"
