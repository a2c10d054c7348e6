"""Which grammar belongs to which moment of a dialogue. Built once per document, shared by all its calls."""

import functools
from typing import Final

from trunkline.engines.local.dialogue import understand
from trunkline.engines.local.dialogue.document import (
    FIELD,
    ChoiceSlot,
    DateSlot,
    DialogueDocument,
    DigitsSlot,
    Slot,
    YesNoSlot,
)
from trunkline.engines.local.recogniser import Grammar, digits, language_model, phrases

MENU: Final = "menu"
"""Anything the dialogue understands."""
MORE: Final = "more"
"""As the menu, and yes or no."""

_LEAD_INS: Final = (
    "it's",
    "it is",
    "my number is",
    "the number is",
    "my order number is",
    "the order number is",
)
_DIGITS: Final = "zero one two three four five six seven eight nine".split()  # noqa: SIM905 - readable
_EXPANSIONS: Final = 10


def slot_key(name: str) -> str:
    """Key of the grammar that listens for a slot."""
    return f"slot:{name}"


def confirm_key(name: str) -> str:
    """Key of the grammar that listens for a confirmation."""
    return f"confirm:{name}"


class Listening:
    """All grammars of a document, by key."""

    def __init__(self, document: DialogueDocument) -> None:
        self._document = document
        self._escapes = (
            *understand.PERSON_EXAMPLES,
            *document.person.examples,
            *understand.GOODBYE_EXAMPLES,
            *document.goodbye.examples,
            *understand.REPEAT_EXAMPLES,
            *understand.WAIT_EXAMPLES,
        )

    @functools.cached_property
    def grammars(self) -> dict[str, Grammar]:
        """Key to grammar."""
        wishes = [*self._wishes(), *self._escapes]
        found = {
            MENU: language_model(wishes),
            MORE: language_model([*wishes, *understand.YES_EXAMPLES, *understand.DONE_EXAMPLES]),
        }
        for name, slot in self._document.slots.items():
            found[slot_key(name)] = self._slot(slot)
            if slot.confirm:
                found[confirm_key(name)] = self._confirm(slot)
        return found

    def _wishes(self) -> list[str]:
        wishes = []
        for intent in self._document.intents.values():
            for example in intent.examples:
                wishes += self._expanded(example)
        return wishes

    def _expanded(self, example: str) -> list[str]:
        """An example with a digits slot, with digits that bring every pair of neighbours into the model."""
        field = FIELD.search(example)
        if field is None:
            return [example]
        slot = self._document.slots[field[1]]
        length = slot.longest if isinstance(slot, DigitsSlot) else 1
        runs = (
            " ".join(_DIGITS[(first + place * (first + 1)) % 10] for place in range(length))
            for first in range(_EXPANSIONS)
        )
        return [FIELD.sub(run, example) for run in runs]

    def _slot(self, slot: Slot) -> Grammar:
        match slot:
            case DigitsSlot():
                return digits(
                    slot.shortest,
                    slot.longest,
                    lead_ins=(*_LEAD_INS, *slot.lead_ins),
                    escapes=(*self._escapes, *understand.LOST_EXAMPLES),
                )
            case YesNoSlot():
                return phrases((*understand.YES_EXAMPLES, *understand.NO_EXAMPLES, *self._escapes))
            case ChoiceSlot():
                options = [example for option in slot.options.values() for example in option.examples]
                return phrases((*options, *self._escapes, *understand.LOST_EXAMPLES))
            case DateSlot():
                days = [f"{month} {number}" for month in understand.MONTHS for number in understand.ORDINALS]
                days += [
                    f"{month} the {number}" for month in understand.MONTHS for number in understand.ORDINALS
                ]
                return phrases(
                    (
                        *understand.RELATIVE,
                        *understand.WEEKDAYS,
                        *days,
                        *self._escapes,
                        *understand.LOST_EXAMPLES,
                    )
                )

    def _confirm(self, slot: Slot) -> Grammar:
        answers = (*understand.YES_EXAMPLES, *understand.NO_EXAMPLES, *self._escapes)
        if isinstance(slot, DigitsSlot):
            corrections = ("no", "no it's", "no it is", "no my number is", "it's")
            return digits(slot.shortest, slot.longest, lead_ins=corrections, escapes=answers)
        return phrases(answers)
