"""How written text is said on the phone."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.engines.local.voice.normalise import cardinal, normalise, ordinal, sentences, spelled, year


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Order 45678 is here.", "Order four five six, seven eight is here."),
        ("order number 77", "order number seven seven"),
        ("Order #123456", "Order one two three, four five six"),
        ("Reference number is 1234.", "Reference number is one two three four."),
        ("call 0049", "call zero zero four nine"),
        ("we have 12 of 1,250", "we have twelve of one thousand two hundred fifty"),
        ("$19.99", "nineteen dollars and ninety nine cents"),
        ("$1", "one dollar"),
        ("$0.01", "one cent"),
        ("$1,200.00", "one thousand two hundred dollars"),
        ("\N{EURO SIGN}5.50", "five euros and fifty cents"),
        ("\N{POUND SIGN}2.01", "two pounds and one penny"),
        ("2026-11-21", "November twenty first, twenty twenty six"),
        ("2026-19-41", "two zero two, six one nine, four one"),
        ("at 14:05", "at two oh five P M"),
        ("at 0:30", "at twelve thirty A M"),
        ("at 9:00", "at nine A M"),
        ("at 12:00", "at twelve P M"),
        ("at 9:30 pm", "at nine thirty P M"),
        ("3.5%", "three point five percent"),
        ("100%", "one hundred percent"),
        ("the 2nd and the 21st", "the second and the twenty first"),
        ("parcel AB-123", "parcel A B one, two three"),
        ("Q&A @ noon", "Q and A at noon"),
        ("don\N{RIGHT SINGLE QUOTATION MARK}t", "don't"),
        ("No numbers, no change.", "No numbers, no change."),
        ("", ""),
    ],
)
def test_numbers_money_dates_times_and_codes(text: str, said: str) -> None:
    assert normalise(text) == said


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (0, "zero"),
        (13, "thirteen"),
        (40, "forty"),
        (101, "one hundred one"),
        (1_000_000, "one million"),
        (2_000_000_015, "two billion fifteen"),
    ],
)
def test_cardinals(value: int, said: str) -> None:
    assert cardinal(value) == said


@pytest.mark.parametrize(
    ("value", "said"),
    [(1, "first"), (12, "twelfth"), (20, "twentieth"), (33, "thirty third"), (100, "one hundredth")],
)
def test_ordinals(value: int, said: str) -> None:
    assert ordinal(value) == said


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (1999, "nineteen ninety nine"),
        (2005, "two thousand five"),
        (1900, "nineteen hundred"),
        (2011, "twenty eleven"),
    ],
)
def test_years(value: int, said: str) -> None:
    assert year(value) == said


@given(st.text(alphabet=st.characters(min_codepoint=32, max_codepoint=126), max_size=80))
def test_nothing_is_left_to_guess_at(text: str) -> None:
    assert not re.search(r"[0-9$#%&@\"]", normalise(text))


@given(st.from_regex(r"[0-9]{1,20}", fullmatch=True))
def test_a_spelled_code_has_every_digit(code: str) -> None:
    names = "zero one two three four five six seven eight nine".split()  # noqa: SIM905
    assert [names.index(word) for word in spelled(code).replace(",", "").split()] == [int(d) for d in code]


@given(st.text(alphabet="ab ,.!?;", max_size=400), st.integers(10, 60))
def test_sentences_lose_no_word_and_stay_short(text: str, longest: int) -> None:
    pieces = sentences(text, longest=longest)
    assert all(len(piece) <= longest for piece in pieces)

    def letters(value: str) -> str:
        return "".join(char for char in value if char.isalnum())

    assert letters("".join(pieces)) == letters(text)


def test_sentences_are_cut_where_a_speaker_breathes() -> None:
    assert sentences("One. Two, three! Four?") == ["One.", "Two, three!", "Four?"]
    assert sentences("aaa bbb, ccc ddd, eee", longest=10) == ["aaa bbb,", "ccc ddd,", "eee"]
    assert sentences("...") == []
