"""Typed header values and their parsers."""

import pytest

from trunkline.telephony.sip.proto import headers as h
from trunkline.telephony.sip.proto.errors import BadMessage
from trunkline.telephony.sip.proto.grammar import text
from trunkline.telephony.sip.proto.uri import parse_uri


def test_via() -> None:
    via = h.parse_via("SIP / 2.0 / udp  Host.Example.com : 5070 ; branch = z9hG4bKa;RPORT;received=[::9]")
    assert (via.transport, via.host, via.port) == ("UDP", "Host.Example.com", 5070)
    assert via.branch == "z9hG4bKa"
    assert via.sent_by == "host.example.com:5070"
    assert via.received == "::9"
    assert via.wants_rport
    assert via.rport is None
    assert via.with_param("rport", "9").rport == 9
    assert str(via) == "SIP/2.0/UDP Host.Example.com:5070;branch=z9hG4bKa;RPORT;received=[::9]"


def test_via_defaults() -> None:
    assert h.parse_via("SIP/2.0/UDP a").sent_by == "a:5060"
    assert h.parse_via("SIP/2.0/TLS a").sent_by == "a:5061"
    via = h.parse_via("SIP/2.0/TCP [::1]")
    assert (via.host, via.branch, via.received, via.wants_rport) == ("::1", "", None, False)
    assert [v.host for v in h.parse_vias("SIP/2.0/UDP a, SIP/2.0/UDP b;x=1")] == ["a", "b"]


@pytest.mark.parametrize(
    "value", ["", "SIP/2.0/UDP", "HTTP/1.1/TCP a", "SIP/2.0/UDP 192.0.2.15;;,;,,", "SIP/2.0/UDP a:x"]
)
def test_bad_via(value: str) -> None:
    with pytest.raises(BadMessage):
        h.parse_via(value)


@pytest.mark.parametrize(
    ("value", "display", "uri", "tag"),
    [
        ('"A. G. \\"Bell\\"" <sip:agb@example.com> ;tag=a48s', 'A. G. "Bell"', "sip:agb@example.com", "a48s"),
        ("Anonymous  Words <sip:c8oqz84@example.net>", "Anonymous  Words", "sip:c8oqz84@example.net", ""),
        ("caller<sip:caller@example.com>;tag=323", "caller", "sip:caller@example.com", "323"),
        ("sip:+12125551212@phone2net.com;tag=887s", "", "sip:+12125551212@phone2net.com", "887s"),
        ("<sip:a@b;p=1>;x", "", "sip:a@b;p=1", ""),
        ("Jürgen <sip:j@x>", "Jürgen", "sip:j@x", ""),
        (text(b"J\xfcrgen <sip:j@x>"), text(b"J\xfcrgen"), "sip:j@x", ""),
    ],
)
def test_name_addr(value: str, display: str, uri: str, tag: str) -> None:
    address = h.parse_name_addr(value)
    assert (address.display, str(address.uri), address.tag) == (display, uri, tag)


@pytest.mark.parametrize(
    "value",
    [
        '"Mr. J. User <sip:j@x>',
        '"A" sip:a@b',
        "<sip:a@b",
        "a, b <sip:x@y>",
        "< sip:a@b >",
        "sip:a@b?X=1",
        "sip:a,b@c",
        "",
        "<sip:a@b>x",
        "two;words <sip:a@b>",
    ],
)
def test_bad_name_addr(value: str) -> None:
    with pytest.raises(BadMessage):
        h.parse_name_addr(value)


def test_name_addr_is_written_with_quotes_and_brackets() -> None:
    address = h.NameAddr(parse_uri("sip:a@b;lr"), 'say "hi"', (("x", "1"),))
    assert str(address) == '"say \\"hi\\"" <sip:a@b;lr>;x=1'
    assert str(address.with_tag("t").with_tag("u")).endswith(";x=1;tag=u")
    assert address.param("x") == "1"
    assert h.parse_name_addr(str(address)) == address


def test_lists_of_addresses() -> None:
    assert len(h.parse_name_addrs('"a, b" <sip:x@y>, <sip:z@w>')) == 2
    assert h.parse_contacts("*") == ()
    assert len(h.parse_contacts("<sip:z@w>;expires=3")) == 1


def test_cseq() -> None:
    assert h.parse_cseq("0009   INVITE") == h.CSeq(9, "INVITE")
    assert str(h.CSeq(9, "INVITE")) == "9 INVITE"


@pytest.mark.parametrize("value", ["", "1", "INVITE 1", "1 IN VITE", "2147483648 BYE", "-1 BYE", "1 B@E"])
def test_bad_cseq(value: str) -> None:
    with pytest.raises(BadMessage):
        h.parse_cseq(value)


def test_valued() -> None:
    value = h.parse_valued('Refer ; id = "9\\"3" ;x')
    assert (value.value, value.param("id"), value.param("x"), value.param("y")) == ("refer", '9"3', "", None)
    assert str(h.parse_media_type("Application / SDP;charset=utf-8")) == "application/sdp;charset=utf-8"
    for bad in ("", ";x", "a b@"):
        with pytest.raises(BadMessage):
            h.parse_valued(bad)
    with pytest.raises(BadMessage):
        h.parse_media_type("text")


def test_small_ones() -> None:
    assert h.parse_tokens("a, b,,c") == ("a", "b", "c")
    assert h.parse_max_forwards(" 0068 ") == 68
    assert h.parse_retry_after("120 (a comment);duration=3") == 120
    assert h.parse_retry_after("9" * 40) == 86400
    assert h.parse_content_length(" 5") == 5
    assert h.parse_date("Sat, 13 Nov 2010 23:29:00 GMT").endswith("GMT")
    assert h.parse_call_id(" a@b ") == "a@b"


@pytest.mark.parametrize(
    ("parser", "value"),
    [
        (h.parse_tokens, "a b"),
        (h.parse_max_forwards, "300"),
        (h.parse_retry_after, "soon"),
        (h.parse_content_length, "-1"),
        (h.parse_date, "Fri, 01 Jan 2010 16:00:00 EST"),
        (h.parse_call_id, "a b"),
        (h.parse_call_id, ""),
    ],
)
def test_small_bad_ones(parser: object, value: str) -> None:
    with pytest.raises(BadMessage):
        parser(value)
