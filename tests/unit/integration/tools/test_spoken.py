from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.integration.tools.spoken import NoValue, ordinal, parse_sentence, unknown_places

VALUES = {
    "number": "48213",
    "customer": {"given": "Maria", "age": None},
    "on": "2026-11-03",
    "total": Decimal("129.90"),
    "count": 3,
    "paid": True,
    "none": None,
    "empty": "",
    "trick": "{number} [x]",
}


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("Plain words.", "Plain words."),
        ("", ""),
        ("Order {number} for {customer.given}.", "Order 48213 for Maria."),
        ("{number:digits}", "4 8 2 1 3"),
        ("{on:date}", "November 3rd, 2026"),
        ("{number:date}", "48213"),
        ("{total:dollars}", "129 dollars and 90 cents"),
        ("{total:euros}", "129 euros and 90 cents"),
        ("{total:pounds}", "129 pounds and 90 pence"),
        ("{number:dollars}", "48213 dollars"),
        ("{on:dollars}", "2026-11-03"),
        ("{count} {paid}", "3 yes"),
        ("{customer.given:upper} {customer.given:lower}", "MARIA maria"),
        ("A[ by {none}] b[ for {customer.given}].", "A b for Maria."),
        ("A[ {empty}][ {customer.age}][ {absent}][ {number.x}].", "A."),
        ("A  \n b", "A b"),
        ("{trick}", "{number} [x]"),
    ],
)
def test_says(template: str, said: str) -> None:
    assert parse_sentence(template).say(VALUES) == said


@pytest.mark.parametrize("template", ["{none}", "{empty}", "{absent}", "{customer.age:digits}", "[x] {none}"])
def test_needs_its_values(template: str) -> None:
    with pytest.raises(NoValue):
        parse_sentence(template).say(VALUES)


@pytest.mark.parametrize(
    ("amount", "said"),
    [
        ("1.01", "1 dollar and 1 cent"),
        ("-5", "minus 5 dollars"),
        ("0.5", "0 dollars and 50 cents"),
        ("soon", "soon"),
        ("1" * 40, "1" * 40),
    ],
)
def test_money(amount: str, said: str) -> None:
    assert parse_sentence("{a:dollars}").say({"a": amount}) == said


@pytest.mark.parametrize(
    ("template", "what"),
    [
        ("{", "write a field as"),
        ("}", "write a field as"),
        ("{Number}", "write a field as"),
        ("{a.b!r}", "write a field as"),
        ("{a:nope}", "there is no filter 'nope'"),
        ("[a", "brackets must be closed"),
        ("a]", "brackets must be closed"),
        ("[a [b] c]", "brackets must be closed"),
    ],
)
def test_refuses_a_template(template: str, what: str) -> None:
    with pytest.raises(ValueError, match=what):
        parse_sentence(template)


def test_fields_are_checked_against_what_there_is() -> None:
    sentence = parse_sentence("{number:digits} {total:date} {nix}[ {total:dollars} {free:date}]")
    assert unknown_places(sentence, {"number": "text", "total": "decimal", "free": ""}) == [
        "{total} is a decimal, which 'date' cannot speak",
        "there is no field {nix}; there are: free, number, total",
    ]


def test_a_long_value_is_cut() -> None:
    assert len(parse_sentence("{a}").say({"a": "x" * 5000})) == 300


@given(
    st.text(max_size=40),
    st.dictionaries(st.sampled_from("abc"), st.text(max_size=9) | st.integers() | st.none()),
)
def test_no_template_and_no_value_makes_it_fall_over(template: str, values: dict[str, Any]) -> None:
    try:
        sentence = parse_sentence(template)
    except ValueError:
        return
    try:
        assert isinstance(sentence.say(values), str)
    except NoValue:
        assert sentence.places


@pytest.mark.parametrize(
    ("number", "text"),
    [(1, "1st"), (2, "2nd"), (3, "3rd"), (4, "4th"), (11, "11th"), (12, "12th"), (21, "21st"), (30, "30th")],
)
def test_ordinal(number: int, text: str) -> None:
    assert ordinal(number) == text
