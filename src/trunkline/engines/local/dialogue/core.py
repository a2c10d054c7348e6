"""The dialogue itself: what the caller said, pressed or did not say, and now, in; what to do next, out. Sans-IO.

A ``Dialogue`` is one call's conversation by one document. It never speaks, listens or waits: it returns
``Say``, ``CallTool``, ``HandOver`` and ``HangUp``, tells which grammar to listen with (``expectation``) and when it
wants to be woken (``deadline``).
"""

import datetime as dt
from collections.abc import Mapping
from typing import Final, assert_never

from trunkline.engines.local.dialogue import listening, understand
from trunkline.engines.local.dialogue.document import (
    FIELD,
    AskStep,
    CallStep,
    ChoiceSlot,
    DateSlot,
    DialogueDocument,
    DigitsSlot,
    HandOverStep,
    HangUpStep,
    SayStep,
    Slot,
    Step,
    YesNoSlot,
)
from trunkline.engines.local.dialogue.events import (
    Answer,
    Begin,
    CallerStarted,
    CallTool,
    Cut,
    Expectation,
    HandOver,
    HangUp,
    Heard,
    Input,
    Mode,
    Output,
    Pressed,
    Quiet,
    Say,
    Tick,
)
from trunkline.engines.local.recogniser import heard_digits, spoken_words
from trunkline.model import Nanos, ms

_LISTENING: Final = frozenset({Mode.MENU, Mode.MORE, Mode.SLOT, Mode.CONFIRM})


class _Plan:
    """The compiled, call-independent half of a document."""

    def __init__(self, document: DialogueDocument) -> None:
        self.document = document
        self.matcher = understand.Matcher(
            {name: [FIELD.sub("", e) for e in intent.examples] for name, intent in document.intents.items()}
        )
        self.people = {" ".join(spoken_words(e)) for e in document.person.examples}
        self.farewells = {" ".join(spoken_words(e)) for e in document.goodbye.examples}
        self.choices = {
            name: understand.Matcher({value: option.examples for value, option in slot.options.items()})
            for name, slot in document.slots.items()
            if isinstance(slot, ChoiceSlot)
        }


class Script:
    """A document ready for calls: grammars and matchers, shared by all of them."""

    def __init__(self, document: DialogueDocument) -> None:
        self.document = document
        self.listening = listening.Listening(document)
        self.plan = _Plan(document)

    def dialogue(self, context: Mapping[str, str], today: dt.date) -> "Dialogue":
        """One call's conversation."""
        return Dialogue(self.plan, context, today)


class Dialogue:
    """One conversation; see the module's docstring. Not for two threads."""

    def __init__(self, plan: _Plan, context: Mapping[str, str], today: dt.date) -> None:
        self._plan = plan
        self._document = plan.document
        self._context = dict(context)
        self._today = today
        self._mode = Mode.IDLE
        self._deadline: Nanos | None = None
        self._slots: dict[str, str] = {}
        self._intent = ""
        self._step = 0
        self._slot = ""
        self._pending = ""
        self._calls = 0
        self._failures = 0
        self._keys = ""
        self._rest = ""
        self._last_words = ""
        self._said: Say | None = None
        self._words: list[Say] = []
        self._acts: list[Output] = []

    @property
    def mode(self) -> Mode:
        """Where the conversation is."""
        return self._mode

    @property
    def ended(self) -> bool:
        """It handed over or hung up: what the caller says now is for somebody else."""
        return self._mode is Mode.ENDED

    @property
    def listening(self) -> bool:
        """It waits for the caller."""
        return self._mode in _LISTENING

    @property
    def deadline(self) -> Nanos | None:
        """When ``Tick`` is wanted."""
        return self._deadline

    @property
    def slots(self) -> Mapping[str, str]:
        """What is filled."""
        return self._slots

    @property
    def expectation(self) -> Expectation:
        """How to listen now."""
        wait = self._document.end_of_speech_ms
        match self._mode:
            case Mode.SLOT:
                slot = self._document.slots[self._slot]
                return Expectation(listening.slot_key(self._slot), slot.end_of_speech_ms or wait)
            case Mode.CONFIRM:
                return Expectation(listening.confirm_key(self._slot), wait)
            case Mode.MORE:
                return Expectation(listening.MORE, wait)
            case Mode.IDLE | Mode.MENU | Mode.WAITING | Mode.ENDED:
                # While a tool works only a person and goodbye are acted on; the many other words are there so
                # that not everything sounds like these two.
                return Expectation(listening.MENU, wait)

    def handle(self, event: Input, now: Nanos) -> list[Output]:
        """React. What is said comes first, as one ``Say``; what is done comes after it."""
        self._words, self._acts = [], []
        if self._mode is not Mode.ENDED or isinstance(event, Begin):
            self._react(event, now)
        if not self._words:
            return self._acts
        self._said = Say(" ".join(said.text for said in self._words), all(said.fixed for said in self._words))
        return [self._said, *self._acts]

    def _react(self, event: Input, now: Nanos) -> None:
        match event:
            case Begin(text):
                self._say(text or self._document.greeting)
                self._listen(Mode.MENU)
            case Heard(text):
                self._heard(spoken_words(text), now)
            case Pressed(key):
                self._pressed(key, now)
            case CallerStarted():
                if self._mode in _LISTENING:
                    self._deadline = None
            case Quiet():
                if self._mode in _LISTENING and not self._keys:
                    self._deadline = Nanos(now + ms(self._document.silence_ms))
            case Cut(rest):
                self._rest = rest if self._mode in _LISTENING else ""
            case Answer():
                self._answered(event, now)
            case Tick():
                self._tick(now)
            case _:
                assert_never(event)

    # --- the caller ------------------------------------------------------------------------------------

    def _heard(self, words: list[str], now: Nanos) -> None:
        if self._mode is Mode.IDLE:
            return
        if words:
            self._last_words = " ".join(words)
        if self._everywhere(words):
            return
        match self._mode:
            case Mode.MENU | Mode.MORE:
                understood = self._wish(words, now)
            case Mode.SLOT:
                understood = self._value(words, now)
            case Mode.CONFIRM:
                understood = self._confirmed(words, now)
            case _:
                return
        if not understood:
            self._failed(self._document.phrases.no_match)

    def _everywhere(self, words: list[str]) -> bool:
        """A person, goodbye, "repeat", "one moment", unless the words are an example of an intent that may be meant here."""
        text = " ".join(words)
        match = self._plan.matcher.match(words) if words and self._mode in (Mode.MENU, Mode.MORE) else None
        if match is not None and match.certain:
            return False
        if understand.wants_person(words) or text in self._plan.people:
            self._hand_over(HandOverStep(), "caller asked for a person")
        elif understand.says_goodbye(words) or text in self._plan.farewells:
            self._hang_up(self._document.goodbye.farewell, "caller said goodbye")
        elif self._mode in _LISTENING and understand.wants_repeat(words):
            self._rest = ""
            self._words += [self._said] if self._said is not None else []
        else:
            return understand.asks_to_wait(words)
        return True

    def _wish(self, words: list[str], now: Nanos) -> bool:
        match = self._plan.matcher.match(words)
        if match is not None:
            self._start(match.name, words, now)
            return True
        if self._mode is not Mode.MORE:
            return False
        answer = understand.yes_or_no(words)
        if answer is None:
            return False
        if answer:
            self._say(self._document.anything_else.yes)
            self._listen(Mode.MENU)
        else:
            self._hang_up(self._document.goodbye.farewell, "caller needs nothing else")
        return True

    def _value(self, words: list[str], now: Nanos) -> bool:
        value = self._parse(self._document.slots[self._slot], words)
        if value is None:
            return False
        self._fill(value, now, keyed=False)
        return True

    def _parse(self, slot: Slot, words: list[str]) -> str | None:
        match slot:
            case DigitsSlot():
                digits = heard_digits(" ".join(words))
                return digits if slot.shortest <= len(digits) <= slot.longest else None
            case YesNoSlot():
                answer = understand.yes_or_no(words)
                return None if answer is None else "yes" if answer else "no"
            case ChoiceSlot():
                match = self._plan.choices[self._slot].match(words)
                return match.name if match is not None else None
            case DateSlot():
                day = understand.day(words, self._today, future=slot.direction == "future")
                return day.isoformat() if day is not None else None

    def _confirmed(self, words: list[str], now: Nanos) -> bool:
        slot = self._document.slots[self._slot]
        corrected = self._parse(slot, words) if isinstance(slot, DigitsSlot) else None
        if corrected is not None and corrected != self._slots[self._slot]:
            self._fill(corrected, now, keyed=False)
            return True
        answer = understand.yes_or_no(words)
        if corrected is None and answer is None:
            return False
        if corrected is not None or answer:
            self._failures = 0
            self._next(now)
        else:
            self._misheard()
        return True

    def _misheard(self) -> None:
        """A no counts as a failure: a caller whose digits are never heard right gets to a person."""
        slot = self._document.slots[self._slot]
        del self._slots[self._slot]
        self._mode = Mode.SLOT
        self._failed(self._document.phrases.misheard, question=_reprompt(slot, 1))

    # --- keys ------------------------------------------------------------------------------------------

    def _pressed(self, key: str, now: Nanos) -> None:
        self._deadline = None if self._mode in _LISTENING else self._deadline
        slot = self._document.slots.get(self._slot) if self._mode is Mode.SLOT else None
        if isinstance(slot, DigitsSlot | DateSlot):
            self._keyed(slot, key, now)
        elif self._mode in _LISTENING:
            self._chosen(slot, key, now)

    def _keyed(self, slot: DigitsSlot | DateSlot, key: str, now: Nanos) -> None:
        longest = slot.longest if isinstance(slot, DigitsSlot) else 4
        if key == "*":
            self._keys = ""
        elif key != "#":
            self._keys += key
        if self._keys and (key == "#" or len(self._keys) >= longest):
            self._keys_complete(now)
        else:
            self._deadline = Nanos(now + ms(self._document.key_gap_ms))

    def _keys_complete(self, now: Nanos) -> None:
        keys, self._keys = self._keys, ""
        slot = self._document.slots[self._slot]
        value: str | None = None
        if isinstance(slot, DigitsSlot):
            value = keys if slot.shortest <= len(keys) <= slot.longest else None
        elif isinstance(slot, DateSlot) and len(keys) == 4:
            future = slot.direction == "future"
            day = understand.month_day(int(keys[:2]), int(keys[2:]), self._today, future=future)
            value = day.isoformat() if day is not None else None
        if value is None:
            self._failed(self._document.phrases.no_match)
        else:
            self._fill(value, now, keyed=True)

    def _chosen(self, slot: Slot | None, key: str, now: Nanos) -> None:
        if self._mode in (Mode.MENU, Mode.MORE):
            wish = next((name for name, intent in self._document.intents.items() if intent.key == key), None)
            if wish is not None:
                self._start(wish, [], now)
                return
        if isinstance(slot, ChoiceSlot):
            value = next((value for value, option in slot.options.items() if option.key == key), None)
            if value is not None:
                self._fill(value, now, keyed=True)
                return
        if key == "0":
            self._hand_over(HandOverStep(), "caller pressed 0")
        elif key in "12" and isinstance(slot, YesNoSlot):
            self._fill("yes" if key == "1" else "no", now, keyed=True)
        elif key in "12" and self._mode is Mode.CONFIRM:
            self._confirmed(["yes" if key == "1" else "no"], now)
        else:
            self._failed(self._document.phrases.no_match)

    # --- steps -----------------------------------------------------------------------------------------

    def _start(self, intent: str, words: list[str], now: Nanos) -> None:
        self._intent, self._step = intent, 0
        given = heard_digits(" ".join(words))
        taken = False
        for step in self._document.intents[intent].steps:
            if not isinstance(step, AskStep):
                continue
            slot = self._document.slots[step.ask]
            fits = isinstance(slot, DigitsSlot) and slot.shortest <= len(given) <= slot.longest
            if fits and not taken:
                taken = True
                self._slots[step.ask] = given
            elif not step.keep:
                self._slots.pop(step.ask, None)
        self._failures = 0
        self._run(now, fresh=taken)

    def _next(self, now: Nanos) -> None:
        self._step += 1
        self._run(now)

    def _run(self, now: Nanos, *, fresh: bool = False) -> None:
        steps = self._document.intents[self._intent].steps
        self._keys = ""
        while self._step < len(steps):
            if self._do(steps[self._step], now, fresh=fresh):
                return
            self._step += 1
        self._say(self._document.anything_else.prompt)
        self._listen(Mode.MORE)

    def _do(self, step: Step, now: Nanos, *, fresh: bool) -> bool:
        """Carry out a step; True when the conversation waits or is over."""
        match step:
            case SayStep():
                self._say(step.say)
                return False
            case AskStep():
                return self._ask(step, fresh=fresh)
            case CallStep():
                self._call(step, now)
            case HandOverStep():
                self._hand_over(step, self._intent)
            case HangUpStep():
                self._hang_up(step.hang_up, self._intent)
            case _:
                assert_never(step)
        return True

    def _ask(self, step: AskStep, *, fresh: bool) -> bool:
        slot = self._document.slots[step.ask]
        self._slot = step.ask
        if step.ask not in self._slots:
            self._say(slot.prompt)
            self._listen(Mode.SLOT)
            return True
        if fresh and slot.confirm:
            self._say(slot.confirm)
            self._listen(Mode.CONFIRM)
            return True
        return False

    def _fill(self, value: str, now: Nanos, *, keyed: bool) -> None:
        self._slots[self._slot] = value
        confirm = self._document.slots[self._slot].confirm
        if confirm and not keyed:
            failures = self._failures
            self._say(confirm)
            self._listen(Mode.CONFIRM)
            self._failures = failures
            return
        self._failures = 0
        self._next(now)

    def _call(self, step: CallStep, now: Nanos) -> None:
        self._calls += 1
        self._pending = f"{step.call}-{self._calls}"
        arguments = {name: self._render(template, plain=True) for name, template in step.arguments.items()}
        self._acts.append(CallTool(self._pending, step.call, arguments))
        self._listen(Mode.WAITING)
        self._deadline = Nanos(now + ms(step.wait_ms))

    def _answered(self, answer: Answer, now: Nanos) -> None:
        if self._mode is not Mode.WAITING or answer.id != self._pending:
            return
        step = self._document.intents[self._intent].steps[self._step]
        assert isinstance(step, CallStep), "only a call step waits"
        self._pending, self._deadline = "", None
        self._words.append(Say(self._spoken(step, answer)))
        self._next(now)

    def _spoken(self, step: CallStep, answer: Answer) -> str:
        if answer.failed or not step.answer:
            return answer.spoken or step.failed
        fields = FIELD.findall(step.answer)
        known = {
            **self._values(plain=False),
            **{k: str(v) for k, v in answer.output.items() if v is not None},
        }
        if any(name not in known for name in fields):
            return answer.spoken or step.failed
        return FIELD.sub(lambda match: known[match[1]], step.answer)

    # --- failing and ending ----------------------------------------------------------------------------

    def _tick(self, now: Nanos) -> None:
        if self._deadline is None or now < self._deadline:
            return
        self._deadline = None
        if self._mode is Mode.WAITING:
            self._answered(Answer(self._pending, failed=True), now)
        elif self._keys:
            self._keys_complete(now)
        elif self._mode in _LISTENING:
            self._rest = ""
            self._failed(self._document.phrases.silence)

    def _failed(self, regret: str, *, question: str = "") -> None:
        rest, self._rest = self._rest, ""
        if rest and not question:
            # A cough or a "hm" cut us off: go on where the caller stopped hearing.
            self._words.append(Say(rest))
            return
        self._failures += 1
        if self._failures > self._document.reprompts:
            self._give_up()
            return
        self._say(regret)
        self._say(question or self._question())

    def _question(self) -> str:
        match self._mode:
            case Mode.SLOT:
                return _reprompt(self._document.slots[self._slot], self._failures)
            case Mode.CONFIRM:
                return self._document.slots[self._slot].confirm
            case Mode.MORE:
                return self._document.anything_else.prompt
            case Mode.MENU | Mode.IDLE | Mode.WAITING | Mode.ENDED:
                return self._document.help

    def _give_up(self) -> None:
        self._say(self._document.phrases.give_up)
        if self._document.give_up == "hand_over":
            self._hand_over(HandOverStep(), "not understood")
        else:
            self._hang_up(self._document.goodbye.farewell, "not understood")

    def _hand_over(self, step: HandOverStep, reason: str) -> None:
        person = self._document.person
        self._say(step.hand_over.get("farewell") or person.farewell)
        summary = self._render(step.hand_over.get("summary") or person.summary, missing="unknown")
        self._acts.append(HandOver(step.hand_over.get("queue") or person.queue, reason, summary))
        self._end()

    def _hang_up(self, farewell: str, reason: str) -> None:
        self._say(farewell)
        self._acts.append(HangUp(reason))
        self._end()

    def _end(self) -> None:
        self._listen(Mode.ENDED)

    # --- words -----------------------------------------------------------------------------------------

    def _listen(self, mode: Mode) -> None:
        """Enter a mode; silence counts from the next ``Quiet``."""
        self._mode = mode
        self._deadline = None
        self._keys = self._rest = ""
        self._failures = 0

    def _say(self, template: str) -> None:
        self._words.append(Say(self._render(template), fixed=not FIELD.search(template)))

    def _render(self, template: str, *, missing: str = "", plain: bool = False) -> str:
        values = self._values(plain=plain)
        return FIELD.sub(lambda match: values.get(match[1]) or missing, template)

    def _values(self, *, plain: bool) -> dict[str, str]:
        """Context and slots; short digit strings are spaced unless ``plain``, so that they are read one by one."""
        spoken = {
            name: " ".join(value)
            if not plain and isinstance(self._document.slots[name], DigitsSlot) and len(value) < 5
            else value
            for name, value in self._slots.items()
        }
        about = {"intent": self._intent.replace("_", " "), "last_words": self._last_words}
        return {**self._context, **about, **spoken}


def _reprompt(slot: Slot, failures: int) -> str:
    if not slot.reprompts:
        return slot.prompt
    return slot.reprompts[min(failures, len(slot.reprompts)) - 1]
