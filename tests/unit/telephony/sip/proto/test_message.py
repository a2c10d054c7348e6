"""Messages keep every byte; views are parsed when they are read."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.telephony.sip.proto.errors import BadHeader, BadMessage, BadUri
from trunkline.telephony.sip.proto.message import (
    _MULTI,
    _SINGLE,
    COMPACT,
    MAX_HEADERS,
    Headers,
    Message,
    Request,
    Response,
    parse_head,
    response_to,
    set_body,
)
from trunkline.telephony.sip.proto.uri import parse_uri

HEAD = (
    b"INVITE sip:a@b SIP/2.0\r\n"
    b"v: SIP/2.0/UDP h;branch=z9hG4bK1\r\n"
    b"VIA : SIP/2.0/TCP i,\r\n  SIP/2.0/TCP j\r\n"
    b"f: <sip:x@y>;tag=1\r\n"
    b"t: sip:a@b\r\n"
    b"i: cid\r\n"
    b"CSeq: 7 INVITE\r\n"
    b"Subject\t: \xe9lan\r\n"
    b"x-Own: 1\r\n"
    b"x-Own:  2 \r\n"
    b"m: <sip:x@1.2.3.4>"
)


def test_a_parsed_message_is_written_back_byte_for_byte() -> None:
    message = parse_head(HEAD)
    assert message.to_bytes() == HEAD + b"\r\n\r\n"


def test_names_are_case_insensitive_and_compact_forms_are_long() -> None:
    message = parse_head(HEAD)
    assert [name for name, _ in message.headers] == [
        "via",
        "via",
        "from",
        "to",
        "call-id",
        "cseq",
        "subject",
        "x-own",
        "x-own",
        "contact",
    ]
    assert [via.host for via in message.vias] == ["h", "i", "j"]
    assert message.via.host == "h"
    assert message.headers.raw("subject") == b"\xe9lan"
    assert message.headers.all_raw("x-own") == [b"1", b"2"]
    assert message.headers.text("nothing") == ""
    assert "x-own" in message.headers
    assert len(message.headers) == 10


def test_views_of_the_core_headers() -> None:
    message = parse_head(HEAD)
    assert message.from_.tag == "1"
    assert str(message.to.uri) == "sip:a@b"
    assert (message.call_id, message.cseq.number) == ("cid", 7)
    assert message.contact is not None
    assert message.record_routes == ()
    assert message.content_type == ""
    assert isinstance(message, Request)
    assert message.uri == parse_uri("sip:a@b")
    assert message.from_ is message.from_, "parsed once"


@pytest.mark.parametrize("name", ["via", "from_", "to", "cseq", "call_id"])
def test_a_missing_header_is_named(name: str) -> None:
    message = Request("INVITE", "sip:a@b", Headers())
    with pytest.raises(BadHeader) as caught:
        getattr(message, name)
    assert caught.value.header == {"from_": "from", "call_id": "call-id"}.get(name, name)


def test_a_bad_header_is_named_when_it_is_read_and_not_before() -> None:
    message = parse_head(b"BYE sip:a@b SIP/2.0\r\nCSeq: nonsense\r\nContact: <\r\nTo: a\r\nTo: b")
    for name in ("cseq", "to"):
        with pytest.raises(BadHeader, match=name):
            message.headers.view(name)
    with pytest.raises(BadHeader, match="contact"):
        _ = message.contact
    assert message.to_bytes().count(b"nonsense") == 1


def test_an_unsupported_scheme_keeps_its_status_through_a_header() -> None:
    with pytest.raises(BadUri):
        _ = Request("INVITE", "sip:", Headers()).uri


def test_changing_headers() -> None:
    headers = Headers()
    headers.add("To", "<sip:a@b>")
    headers.add("Via", "SIP/2.0/UDP two, SIP/2.0/UDP three")
    headers.add("Via", "SIP/2.0/UDP one", first=True)
    assert [via.host for via in headers.views("via")] == ["one", "two", "three"]
    headers.replace_top("Via", "SIP/2.0/UDP uno;received=1.1.1.1")
    assert [via.host for via in headers.views("via")] == ["uno", "two", "three"]
    headers.set("To", "<sip:c@d>")
    assert headers.view("to").tag == ""
    assert headers.lines()[1] == b"To: <sip:c@d>"
    headers.set("Expires", "3")
    assert headers.lines()[-1] == b"Expires: 3"
    headers.remove("via")
    assert "via" not in headers
    headers.replace_top("Via", "SIP/2.0/UDP new")
    assert headers.lines()[0] == b"Via: SIP/2.0/UDP new"
    other = Headers()
    other.copy_from(headers, "to")
    assert other.lines() == [b"To: <sip:c@d>"]


def test_replacing_the_top_of_a_list_keeps_the_rest_of_its_line() -> None:
    headers = Headers()
    headers.add("Via", "SIP/2.0/UDP one, SIP/2.0/UDP two")
    headers.replace_top("Via", "SIP/2.0/UDP uno")
    assert headers.lines() == [b"Via: SIP/2.0/UDP uno, SIP/2.0/UDP two"]


@pytest.mark.parametrize("value", ["a\r\nEvil: yes", "a\nb", b"a\rb"])
def test_a_header_cannot_be_smuggled_into_a_value(value: str | bytes) -> None:
    with pytest.raises(BadMessage, match="line break"):
        Headers().add("X", value)


@pytest.mark.parametrize(
    "block",
    [
        b"no colon",
        b"NoColon",
        b"To",
        b" folded first: x",
        b": empty",
        b"bad name: x",
        b"n\xc3\xa4me: x",
        b"a: b\r\n\r\nc: d",
    ],
)
def test_malformed_blocks(block: bytes) -> None:
    with pytest.raises(BadMessage):
        Headers.parse(block)


def test_too_many_fields() -> None:
    with pytest.raises(BadMessage, match=str(MAX_HEADERS)):
        Headers.parse(b"\r\n".join([b"a: b"] * (MAX_HEADERS + 1)))
    assert len(Headers.parse(b"")) == 0


@pytest.mark.parametrize(
    "line",
    [
        b"INVITE  sip:a@b SIP/2.0",
        b"INVITE sip:a@b",
        b"INVITE sip:a@b SIP/2.0 ",
        b"IN<VITE sip:a@b SIP/2.0",
        b"INVITE <sip:a@b> SIP/2.0",
        b"INVITE sip:a@b HTTP/1.1",
        b"INVITE sip:a\x01b SIP/2.0",
        b"",
        b"SIP/2.0 20 OK",
        b"SIP/2.0 2000 OK",
        b"SIP/2.0 700 X",
        b"SIP/2.0 099 X",
        b"SIP/x 200 OK",
        b"SIP/2.0 \xd9\xa2\xd9\xa0\xd9\xa0 OK",
    ],
)
def test_malformed_start_lines(line: bytes) -> None:
    with pytest.raises(BadMessage):
        parse_head(line + b"\r\nTo: <sip:a@b>")


def test_status_lines() -> None:
    response = parse_head(b"SIP/2.0 183 Session  Progress\r\nTo: <sip:a@b>")
    assert isinstance(response, Response)
    assert (response.status, response.reason) == (183, "Session  Progress")
    assert repr(response) == "<Response 183>"
    assert parse_head(b"SIP/2.0 100 ").to_bytes() == b"SIP/2.0 100 \r\n\r\n"
    assert repr(parse_head(HEAD)) == "<Request INVITE>"


def test_the_base_class_has_no_start_line() -> None:
    with pytest.raises(NotImplementedError):
        Message(Headers(), b"").start_line()


def test_a_response_copies_what_it_must_byte_for_byte() -> None:
    request = parse_head(HEAD)
    assert isinstance(request, Request)
    request.headers.add("Timestamp", "54.2")
    trying = response_to(request, 100)
    assert b"Timestamp: 54.2" in trying.to_bytes()
    response = response_to(request, 486, to_tag="mine")
    data = response.to_bytes()
    assert data.startswith(b"SIP/2.0 486 Busy Here\r\nv: SIP/2.0/UDP h;branch=z9hG4bK1\r\nVIA : ")
    assert b"To: sip:a@b;tag=mine" in data
    assert b"Timestamp" not in data
    assert data.endswith(b"Content-Length: 0\r\n\r\n")


def test_a_to_tag_is_not_added_twice_nor_to_nonsense() -> None:
    tagged = parse_head(b"BYE sip:a@b SIP/2.0\r\nTo: <sip:a@b>;tag=x")
    assert isinstance(tagged, Request)
    assert b"To: <sip:a@b>;tag=x\r\n" in response_to(tagged, 200, to_tag="y").to_bytes()
    broken = parse_head(b'BYE sip:a@b SIP/2.0\r\nTo: "')
    assert isinstance(broken, Request)
    assert b'To: "\r\n' in response_to(broken, 400, to_tag="y").to_bytes()


def test_setting_a_body() -> None:
    request = Request("INVITE", "sip:a@b", Headers())
    set_body(request, b"hello", "text/plain")
    assert request.to_bytes().endswith(b"Content-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello")
    set_body(request, b"")
    assert request.headers.raw("content-length") == b"0"
    assert request.content_type == "text/plain"


def test_compact_forms_are_unique() -> None:
    assert len(set(COMPACT.values())) == len(COMPACT)


def test_the_memory_of_spellings_is_bounded() -> None:
    for number in range(2000):
        name = b"".join(random.Random(number).choice([b"t", b"T"]) + b"" for _ in range(1)) + b" " * number
        Headers.parse(name + b": <sip:a@b>")
    from trunkline.telephony.sip.proto import message

    assert len(message._NAMES) <= 512


_line = st.binary(max_size=40).filter(lambda b: b"\r" not in b and b"\n" not in b)


@given(st.lists(st.tuples(st.sampled_from([b"To", b"v", b"X-1", b"cSeq", b"m"]), _line), max_size=8))
def test_any_header_values_come_back_as_they_were(fields: list[tuple[bytes, bytes]]) -> None:
    block = b"\r\n".join(name + b":" + value for name, value in fields)
    head = b"OPTIONS sip:a@b SIP/2.0\r\n" + block
    message = parse_head(head)
    assert message.to_bytes() == (head if fields else head[:-2]) + b"\r\n\r\n"
    for name in (*_SINGLE, *_MULTI):
        try:
            message.headers.views(name) if name in _MULTI else message.headers.view(name)
        except BadMessage as error:
            assert isinstance(error, BadHeader)
            assert error.header == name


@pytest.mark.parametrize("inside", [b"\n", b"\r", b"\n\r", b"\rX-Evil: 1\r", b"\nX-Evil: 1"])
def test_a_line_break_that_is_no_crlf_is_no_header(inside: bytes) -> None:
    # Echoed in a response it would be a header of the sender's choosing for a reader that ends lines there.
    with pytest.raises(BadMessage, match="no CRLF"):
        Headers.parse(b"To: <sip:a@b>" + inside + b";x=1\r\nCall-ID: 1")
