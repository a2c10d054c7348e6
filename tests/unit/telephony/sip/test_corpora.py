"""The IETF's torture messages (RFC 4475, RFC 5118): each gets the verdict it deserves, at the right layer."""

import csv
import os
from pathlib import Path
from typing import Any

import pytest

from trunkline.telephony.sip.proto import BadHeader, BadMessage, Request, Response, Send, parse_datagram
from trunkline.telephony.sip.proto.message import _MULTI, _SINGLE
from trunkline.testing.sipnet import SipNetwork, SipNode

ROOT = Path(__file__).parents[4]
CORPORA = Path(os.environ.get("TRUNKLINE_CORPORA", ROOT.parent / "shared" / "corpora"))

pytestmark = pytest.mark.skipif(
    not (CORPORA / "rfc4475" / "verdicts.csv").exists(),
    reason="the IETF message corpora are not here (set TRUNKLINE_CORPORA to their folder)",
)

_NEEDED = ("via", "from", "to", "cseq", "call-id", "max-forwards", "contact", "content-type")


def verdicts() -> list[dict[str, str]]:
    path = CORPORA / "rfc4475" / "verdicts.csv"
    return list(csv.DictReader(path.read_text().splitlines())) if path.exists() else []


def read(message: Request | Response, name: str) -> object:
    if name in _MULTI:
        return message.headers.views(name)
    return message.headers.view(name)


def statuses(data: bytes) -> list[int]:
    """Final statuses that a user agent answers these bytes with."""
    net = SipNetwork()
    bob = net.node("10.0.0.2")
    seen: list[int] = []

    def look(node: SipNode, item: Send) -> None:
        seen.append(int(item.data.split()[1]))

    net.tamper = look
    net.inject(data, ("10.0.0.9", 5060), bob)
    return [status for status in seen if status >= 200]


@pytest.mark.parametrize("row", verdicts(), ids=lambda row: row["name"])
def test_rfc4475(row: Any) -> None:
    data = (CORPORA / "rfc4475" / f"{row['name']}.dat").read_bytes()
    expect = row["expect"]
    if expect == "framing":
        with pytest.raises(BadMessage):
            parse_datagram(data)
    else:
        message = parse_datagram(data)
        whole = message.to_bytes()
        assert data.startswith(whole), "what was parsed is written back byte for byte"
        if expect == "ok":
            for name in {field for field, _ in message.headers} & (_SINGLE.keys() | _MULTI.keys()):
                read(message, name)
        elif expect.startswith("header:"):
            bad = expect.removeprefix("header:").lower()
            with pytest.raises(BadHeader) as caught:
                read(message, bad)
            assert caught.value.header == bad
    if row["status"] and not data.startswith(b"SIP/"):
        # REGISTER is not for us: where the verdict looks at what only a registrar reads, 405 comes first.
        allowed = {int(row["status"]), *([405] if data.startswith(b"REGISTER") else [])}
        found = statuses(data)
        assert len(found) == 1
        assert found[0] in allowed


@pytest.mark.parametrize(
    "row", [row for row in verdicts() if row["expect"] == "ok"], ids=lambda row: row["name"]
)
def test_rfc4475_sound_requests_are_not_called_malformed(row: Any) -> None:
    data = (CORPORA / "rfc4475" / f"{row['name']}.dat").read_bytes()
    if data.startswith(b"SIP/"):
        assert statuses(data) == [], "a response is never answered"
        return
    assert not set(statuses(data)) & ({400} if row["status"] != "400" else set())


def test_rfc4475_extra_file_without_a_verdict_is_refused() -> None:
    with pytest.raises(BadMessage):
        parse_datagram((CORPORA / "rfc4475" / "test.dat").read_bytes())


_5118 = {
    "ipv6-bad": "uri",
    "ipv4-mapped-ipv6": "",
    "ipv6-bug-abnf-3-colons": "",
    "ipv6-correct-abnf-2-colons": "",
    "ipv6-good": "",
    "ipv6-in-sdp": "",
    "mult-ip-in-header": "",
    "mult-ip-in-sdp": "",
    "port-ambiguous": "",
    "port-unambiguous": "",
    "via-received-param-no-delim": "",
    "via-received-param-with-delim": "",
}


def rfc5118(name: str) -> bytes:
    """The published files have LF line ends, and two lack their last line end."""
    data = (CORPORA / "rfc5118" / name).read_bytes().replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    return data if b"\r\n\r\n" in data else data.rstrip() + b"\r\n\r\n"


@pytest.mark.parametrize("name", sorted(_5118))
def test_rfc5118(name: Any) -> None:
    data = rfc5118(name)
    if name == "ipv6-in-sdp":
        # As published, its body is 17 octets shorter than its Content-Length.
        with pytest.raises(BadMessage, match="shorter"):
            parse_datagram(data)
        data = data.replace(b"Content-Length: 268", b"Content-Length: 251")
    message = parse_datagram(data)
    for header in _NEEDED:
        read(message, header)
    assert isinstance(message, Request)
    if _5118[name] == "uri":
        with pytest.raises(BadMessage):
            _ = message.uri
    else:
        assert str(message.uri) == message.uri_text


def test_rfc5118_every_file_has_a_verdict() -> None:
    assert {path.name for path in (CORPORA / "rfc5118").iterdir()} == set(_5118)


def test_rfc5118_received_with_and_without_brackets() -> None:
    for name in ("via-received-param-no-delim", "via-received-param-with-delim"):
        assert parse_datagram(rfc5118(name)).via.received == "2001:db8::9:255"


def test_rfc5118_port_inside_the_brackets_is_part_of_the_address() -> None:
    assert parse_datagram(rfc5118("port-ambiguous")).uri.port is None
    assert parse_datagram(rfc5118("port-unambiguous")).uri.port == 5070
