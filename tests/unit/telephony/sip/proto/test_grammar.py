"""Tokens, quoted strings, lists and parameters."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.telephony.sip.proto import grammar
from trunkline.telephony.sip.proto.errors import BadMessage
from trunkline.telephony.sip.proto.grammar import (
    MAX_PARAMS,
    MAX_VALUES,
    format_params,
    is_token,
    param,
    parse_number,
    parse_params,
    quote,
    quoted_end,
    raw,
    readable,
    split_commas,
    text,
    unquote,
    with_param,
)


@given(st.binary(max_size=64))
def test_any_bytes_survive_text_and_back(data: bytes) -> None:
    assert raw(text(data)) == data


def test_readable_shows_latin1_when_it_is_not_utf8() -> None:
    assert readable(text("Zoë".encode())) == "Zoë"
    assert readable(text("Zoë".encode("latin-1"))) == "Zoë"


@pytest.mark.parametrize(
    ("value", "token"), [("INVITE", True), ("a.b!%*_+`'~-1", True), ("", False), ("a b", False), ("ü", False)]
)
def test_tokens(value: str, token: bool) -> None:
    assert is_token(value) is token


@pytest.mark.parametrize(
    ("value", "parts"),
    [
        ("one", ["one"]),
        ("a, b ,c", ["a", "b", "c"]),
        ('"x, y" <sip:a@b>, <sip:c,d@e>;p="1,2"', ['"x, y" <sip:a@b>', '<sip:c,d@e>;p="1,2"']),
        ('"a \\" , b" <sip:x>, z', ['"a \\" , b" <sip:x>', "z"]),
        ("a,,b", ["a", "", "b"]),
    ],
)
def test_values_are_cut_at_commas_that_separate(value: str, parts: list[str]) -> None:
    assert split_commas(value) == parts


def test_a_list_has_limits() -> None:
    with pytest.raises(BadMessage, match="quoted string"):
        split_commas('"a, b')
    with pytest.raises(BadMessage, match=str(MAX_VALUES)):
        split_commas("," * (MAX_VALUES + 1))


def test_parameters_keep_order_spelling_and_raw_values() -> None:
    params = parse_params(' ; Tag = abc;lr ;q="a;b,\\"c";x=[::1]')
    assert params == (("Tag", "abc"), ("lr", None), ("q", '"a;b,\\"c"'), ("x", "[::1]"))
    assert format_params(params) == ';Tag=abc;lr;q="a;b,\\"c";x=[::1]'
    assert param(params, "tag") == "abc"
    assert param(params, "lr") == ""
    assert param(params, "none") is None


@pytest.mark.parametrize("value", ["", "  "])
def test_no_parameters(value: str) -> None:
    assert parse_params(value) == ()


@pytest.mark.parametrize("value", [";;", ";", "x", ";a=b c", ';a="b', ";=b", ";a=<b>"])
def test_bad_parameters_are_refused(value: str) -> None:
    with pytest.raises(BadMessage):
        parse_params(value)


def test_trailing_space_after_parameters_is_fine() -> None:
    assert parse_params(";a=b  ") == (("a", "b"),)
    assert parse_params(";a=b; c ") == (("a", "b"), ("c", None))


def test_parameters_have_a_limit() -> None:
    with pytest.raises(BadMessage, match=str(MAX_PARAMS)):
        parse_params(";a" * (MAX_PARAMS + 1))


def test_a_parameter_is_replaced_in_its_place_or_appended() -> None:
    params = (("a", "1"), ("RPORT", None), ("b", "2"))
    assert with_param(params, "rport", "5") == (("a", "1"), ("RPORT", "5"), ("b", "2"))
    assert with_param(params, "c", None) == (*params, ("c", None))


@given(st.text(max_size=30))
def test_quote_and_unquote_are_inverse(value: str) -> None:
    quoted = quote(value)
    assert unquote(quoted) == value
    assert quoted_end(quoted + "tail", 0) == len(quoted)


def test_unquote_leaves_tokens_alone() -> None:
    assert unquote("plain") == "plain"
    assert unquote('"') == '"'


def test_a_quoted_string_must_end() -> None:
    with pytest.raises(BadMessage):
        quoted_end('"never', 0)


@pytest.mark.parametrize("value", ["", "-1", "1.5", "x", "١", "9" * 21, "101"])
def test_numbers_out_of_range_or_form(value: str) -> None:
    with pytest.raises(BadMessage):
        parse_number(value, limit=100)


def test_numbers() -> None:
    assert parse_number("0100", limit=100) == 100


def test_grammar_knows_no_header_names() -> None:
    assert "via" not in vars(grammar)
