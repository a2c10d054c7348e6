"""URIs are parsed, kept and compared, and never escaped twice."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.telephony.sip.proto.errors import BadUri
from trunkline.telephony.sip.proto.uri import (
    MAX_URI,
    SipUri,
    TelUri,
    Uri,
    format_hostport,
    parse_hostport,
    parse_sip_uri,
    parse_uri,
    sip_uri,
)


def test_all_parts_of_a_sip_uri() -> None:
    uri = parse_sip_uri("SIP:alice%40x:secret@Example.COM:5070;transport=tcp;lr;x=%20y?Replaces=a%40b&X=1")
    assert (uri.scheme, uri.user, uri.password, uri.host, uri.port) == (
        "sip",
        "alice%40x",
        "secret",
        "Example.COM",
        5070,
    )
    assert uri.params == (("transport", "tcp"), ("lr", None), ("x", "%20y"))
    assert uri.param("lr") == ""
    assert uri.param("maddr") is None
    assert uri.headers == "Replaces=a%40b&X=1"
    assert uri.username == "alice@x"
    assert uri.hostport == "Example.COM:5070"
    assert str(uri) == "sip:alice%40x:secret@Example.COM:5070;transport=tcp;lr;x=%20y?Replaces=a%40b&X=1"


@pytest.mark.parametrize(
    "text",
    [
        "sip:example.com",
        "sip:10.0.0.1:5060",
        "sip:[2001:db8::1]:5060;lr",
        "sips:bob@example.com",
        "sip:+49123;phone-context=x@example.com;user=phone",
        "sip:1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*@example.com",
        "sip:*72#@pbx",
        "sip:%00@host5.example.com",
        "tel:+49-30-1234;ext=5",
        "tel:7042;phone-context=example.com",
        "http://www.example.com/?a=b@c",
        "isbn:2983792873",
    ],
)
def test_a_uri_is_written_as_it_came(text: str) -> None:
    assert str(parse_uri(text)) == text


def test_schemes_decide_the_type() -> None:
    assert type(parse_uri("sips:a@b")) is SipUri
    assert type(parse_uri("tel:+1")) is TelUri
    assert type(parse_uri("mailto:a@b")) is Uri
    with pytest.raises(BadUri) as caught:
        parse_sip_uri("tel:+1")
    assert caught.value.status == 416


def test_a_tel_number_without_its_decoration() -> None:
    uri = parse_uri("tel:+49-(30).12;ext=3")
    assert isinstance(uri, TelUri)
    assert uri.number == "+493012"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "noscheme",
        ":x",
        "sip:",
        "sip: a@b",
        "sip:a@b c",
        "sip:<a@b>",
        'sip:"a"@b',
        "sip:@b",
        "sip:a@",
        "sip:a@b@c",
        "sip:a@b:",
        "sip:a@b:99999",
        "sip:a@b:x",
        "sip:a@[::1",
        "sip:a@[zz]",
        "sip:a@b;",
        "sip:a@b;;x",
        "sip:a@b;x=",
        "sip:a@b?",
        "sip:a%zz@b",
        "sip:a@-b",
        "sip:2001:db8::10",
        "sip:a@b:+5",
        "sip:a@b:\u0665",
        "tel:abc xyz",
        "tel:hello",
        "sip:a@[::1]x",
        "sip:" + "a" * MAX_URI,
    ],
)
def test_malformed_uris_are_refused(text: str) -> None:
    with pytest.raises(BadUri):
        parse_uri(text)


def test_too_many_parameters_are_refused() -> None:
    with pytest.raises(BadUri, match="64"):
        parse_uri("sip:a@b" + ";p" * 65)


def test_three_colons_before_an_embedded_ipv4_address_are_tolerated() -> None:
    assert parse_sip_uri("sip:a@[2001:db8:::192.0.2.1]").host == "2001:db8::192.0.2.1"


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20))
def test_a_built_user_is_escaped_exactly_once(user: str) -> None:
    uri = sip_uri(user, "h")
    again = parse_sip_uri(str(uri))
    assert again.username == user
    assert str(again) == str(uri)


def test_building_and_changing() -> None:
    uri = sip_uri("a b", "::1", 5062, (("transport", "tcp"),), scheme="sips")
    assert str(uri) == "sips:a%20b@[::1]:5062;transport=tcp"
    assert str(uri.with_(port=None, params=(), headers="X=1")) == "sips:a%20b@[::1]?X=1"
    assert str(parse_sip_uri("sip:u:p@h").with_(host="i")) == "sip:u:p@i"
    assert str(sip_uri("", "h")) == "sip:h"


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("sip:%61lice@atlanta.com;transport=TCP", "sip:alice@AtlanTa.CoM;Transport=tcp", True),
        ("sip:carol@chicago.com", "sip:carol@chicago.com;newparam=5", True),
        ("sip:carol@chicago.com;security=on", "sip:carol@chicago.com;security=off", False),
        ("sip:ALICE@a.com", "sip:alice@a.com", False),
        ("sip:bob@b.com", "sip:bob@b.com:5060", False),
        ("sip:bob@b.com", "sip:bob@b.com;transport=udp", False),
        ("sip:bob@b.com", "sips:bob@b.com", False),
        ("sip:bob@b.com", "sip:bob@c.com", False),
    ],
)
def test_equivalence_of_rfc_3261_19_1_4(one: str, other: str, same: bool) -> None:
    assert parse_sip_uri(one).equivalent(parse_sip_uri(other)) is same


def test_host_and_port() -> None:
    assert parse_hostport("[::1]") == ("::1", None)
    assert parse_hostport("h:1") == ("h", 1)
    assert format_hostport("::1", None) == "[::1]"
    with pytest.raises(BadUri):
        parse_hostport("")
