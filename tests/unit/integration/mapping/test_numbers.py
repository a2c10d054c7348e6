from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.integration.mapping.document import Number
from trunkline.integration.mapping.numbers import compile_number
from trunkline.integration.mapping.record import BadValue


@pytest.mark.parametrize(
    ("rule", "value", "number"),
    [
        (Number(), "12", Decimal(12)),
        (Number(), 12.5, Decimal("12.5")),
        (Number(), "+7", Decimal(7)),
        (Number(implied_decimals=2), 12990, Decimal("129.90")),
        (Number(implied_decimals=2), "-5", Decimal("-0.05")),
        (Number(implied_decimals=2), "12990.00", Decimal("129.90")),
        (Number(decimal_mark=",", group_mark="."), "1.234.567,89", Decimal("1234567.89")),
        (Number(group_mark=","), "1234", Decimal(1234)),
        (Number(trailing_sign=True), "12990-", Decimal(-12990)),
        (Number(integer=True), "007", 7),
        (Number(integer=True), 7.0, 7),
    ],
)
def test_reads(rule: Number, value: Any, number: Any) -> None:
    read = compile_number(rule)(value)
    assert read == number
    assert type(read) is type(number)


@pytest.mark.parametrize(
    ("rule", "value"),
    [
        (Number(), ""),
        (Number(), "1e5"),
        (Number(), "1,5"),
        (Number(), "12-"),
        (Number(), "٣"),
        (Number(), True),
        (Number(), "1" * 41),
        (Number(), float("nan")),
        (Number(trailing_sign=True), "-1-"),
        (Number(group_mark=","), "12,34"),
        (Number(implied_decimals=2), "129.90"),
        (Number(integer=True), "7.5"),
    ],
)
def test_refuses(rule: Number, value: Any) -> None:
    with pytest.raises(BadValue):
        compile_number(rule)(value)


@given(st.integers(-(10**18), 10**18), st.integers(0, 6))
def test_implied_decimals_are_exact(amount: int, places: int) -> None:
    read = compile_number(Number(implied_decimals=places))(amount)
    assert read * 10**places == amount
