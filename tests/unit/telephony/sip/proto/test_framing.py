"""Where messages end, in datagrams and on streams; and fuzz that finds nothing but ``BadMessage``."""

import contextlib
import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.telephony.sip.proto.errors import BadMessage
from trunkline.telephony.sip.proto.framing import (
    MAX_BODY,
    MAX_HEAD,
    BadFrame,
    StreamFramer,
    is_keepalive,
    parse_datagram,
    salvage,
)
from trunkline.telephony.sip.proto.message import _MULTI, _SINGLE, Request, Response
from trunkline.telephony.sip.proto.sdp import parse_sdp

DATA = Path(__file__).parents[4] / "data" / "sip"
HEAD = b"MESSAGE sip:a@b SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\nTo: <sip:a@b>\r\nFrom: <sip:c@d>;tag=1\r\nCall-ID: i\r\nCSeq: 1 MESSAGE\r\n"


def with_length(length: str, body: bytes = b"hello") -> bytes:
    return HEAD + f"Content-Length: {length}\r\n\r\n".encode() + body


def test_a_datagram_without_content_length_runs_to_its_end() -> None:
    assert parse_datagram(HEAD + b"\r\nbody to the end").body == b"body to the end"


def test_octets_beyond_content_length_are_dropped() -> None:
    assert parse_datagram(with_length("5", b"hello and more")).body == b"hello"


def test_the_same_length_twice_is_tolerated() -> None:
    message = parse_datagram(HEAD + b"l: 2\r\nContent-Length: 2\r\n\r\nab")
    assert message.body == b"ab"
    assert message.headers.all_raw("content-length") == [b"2"]


@pytest.mark.parametrize("length", ["6", "-1", "x", "99999999999999999999999", ""])
def test_a_bad_length_is_answered_with_400(length: str) -> None:
    with pytest.raises(BadFrame) as caught:
        parse_datagram(with_length(length))
    assert caught.value.status == 400
    assert isinstance(caught.value.head, Request)


def test_contradicting_lengths() -> None:
    with pytest.raises(BadFrame, match="contradicting"):
        parse_datagram(HEAD + b"l: 2\r\nl: 3\r\n\r\nabc")


def test_a_short_response_is_not_answered() -> None:
    with pytest.raises(BadFrame) as caught:
        parse_datagram(b"SIP/2.0 200 OK\r\nContent-Length: 9\r\n\r\n")
    assert caught.value.status == 0
    assert isinstance(caught.value.head, Response)


def test_sizes_are_limited() -> None:
    with pytest.raises(BadMessage) as caught:
        parse_datagram(HEAD + b"X: " + b"a" * MAX_HEAD + b"\r\n\r\n")
    assert caught.value.status == 513
    with pytest.raises(BadFrame) as caught:
        parse_datagram(with_length(str(MAX_BODY + 1), b"a" * (MAX_BODY + 1)))
    assert caught.value.status == 513


def test_lines_that_end_in_lf_alone() -> None:
    data = with_length("5").replace(b"\r\n", b"\n")
    message = parse_datagram(data)
    assert message.body == b"hello"
    assert message.call_id == "i"
    with pytest.raises(BadMessage, match="no end"):
        parse_datagram(b"A sip:b SIP/2.0\r\nTo: x\n\nbody")


@pytest.mark.parametrize("data", [b"", b"\r\n\r\n", b"\r\n", b"\x00\x00\x00\x00"])
def test_keepalives(data: bytes) -> None:
    assert is_keepalive(data)


@pytest.mark.parametrize("data", [b"\r\n" * 5, b"jaK", b"x\r\n\r\n"])
def test_not_keepalives(data: bytes) -> None:
    assert not is_keepalive(data)


# --- streams ----------------------------------------------------------------------------------------------


@given(st.lists(st.integers(1, 60), min_size=1, max_size=40))
def test_a_stream_may_be_cut_anywhere(cuts: list[int]) -> None:
    stream = (
        b"\r\n\r\n"
        + with_length("5")
        + b"\r\n"
        + with_length("0", b"")
        + b"\r\n\r\n"
        + with_length("3", b"end")
    )
    framer = StreamFramer()
    bodies: list[bytes] = []
    at = 0
    for cut in cuts:
        bodies += [message.body for message in framer.feed(stream[at : at + cut])]
        at += cut
    bodies += [message.body for message in framer.feed(stream[at:])]
    assert bodies == [b"hello", b"", b"end"]
    assert framer.pings == 2
    assert not framer.partial


def test_a_partial_message_is_seen() -> None:
    framer = StreamFramer()
    assert not framer.partial
    framer.feed(HEAD)
    assert framer.partial
    framer.feed(b"Content-Length: 4\r\n\r\nab")
    assert framer.partial
    assert [message.body for message in framer.feed(b"cd")] == [b"abcd"]
    assert not framer.partial


def test_a_stream_needs_content_length() -> None:
    with pytest.raises(BadFrame, match="no Content-Length"):
        StreamFramer().feed(HEAD + b"\r\n")


def test_stream_sizes_are_limited() -> None:
    with pytest.raises(BadMessage) as caught:
        StreamFramer().feed(b"A" * (MAX_HEAD + 1))
    assert caught.value.status == 513
    with pytest.raises(BadMessage):
        StreamFramer().feed(HEAD + b"X: " + b"a" * MAX_HEAD + b"\r\n\r\n")
    with pytest.raises(BadFrame):
        StreamFramer().feed(with_length(str(MAX_BODY + 1)))


def test_a_stream_of_nonsense_is_refused() -> None:
    with pytest.raises(BadMessage):
        StreamFramer().feed(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")


# --- salvage ----------------------------------------------------------------------------------------------


def test_enough_is_salvaged_to_answer() -> None:
    request = salvage(HEAD.replace(b"MESSAGE sip:a@b SIP/2.0", b"MESSAGE <sip:a@b>  SIP/2.0 ") + b"\r\n")
    assert request is not None
    assert (request.method, request.call_id) == ("MESSAGE", "i")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"junk",
        b"SIP/2.0 999 x SIP/2.0\r\n\r\n",
        b"INVITE sip:a SIP/2.0\r\nVia: x\r\n\r\n",
        b"A b SIP/2.0\r\n:\r\n\r\n",
    ],
)
def test_nothing_is_salvaged_from_junk(data: bytes) -> None:
    assert salvage(data) is None


# --- torture of our own, and fuzz -------------------------------------------------------------------------


def cases(prefix: str) -> list[Path]:
    return sorted(DATA.glob(f"{prefix}-*.sip"))


@pytest.mark.parametrize("path", cases("good"), ids=lambda path: path.stem)
def test_own_torture_messages_that_are_sound(path: Path) -> None:
    data = path.read_bytes()
    message = parse_datagram(data)
    assert message.to_bytes() == data
    read_all(message)
    _ = message.via, message.from_, message.to, message.cseq, message.call_id


@pytest.mark.parametrize("path", cases("bad"), ids=lambda path: path.stem)
def test_own_torture_messages_that_are_not(path: Path) -> None:
    with pytest.raises(BadMessage):
        read_everything(path.read_bytes())


def test_own_torture_messages_exist() -> None:
    assert len(cases("good")) >= 10
    assert len(cases("bad")) >= 10


def read_everything(data: bytes) -> None:
    message = parse_datagram(data)
    read_all(message)
    _ = message.via, message.from_, message.to, message.cseq, message.call_id
    if isinstance(message, Request):
        _ = message.uri


def read_all(message: Request | Response) -> None:
    for name in _SINGLE:
        message.headers.view(name)
    for name in _MULTI:
        message.headers.views(name)


def poke(data: bytes) -> None:
    """Everything a peer's bytes can reach; only ``BadMessage`` may come out."""
    try:
        message = parse_datagram(data)
    except BadMessage:
        salvage(data)
        return
    for name in (*_SINGLE, *_MULTI):
        try:
            message.headers.views(name) if name in _MULTI else message.headers.view(name)
        except BadMessage:
            continue
    try:
        if isinstance(message, Request):
            _ = message.uri
        parse_sdp(message.body)
    except BadMessage:
        pass
    message.to_bytes()


def test_seeded_mutations_raise_nothing_else() -> None:
    seeds = [path.read_bytes() for path in (*cases("good"), *cases("bad"))]
    rng = random.Random(4475)
    for _ in range(4000):
        data = bytearray(rng.choice(seeds))
        for _ in range(rng.randint(1, 12)):
            at = rng.randrange(len(data) + 1)
            match rng.randrange(5):
                case 0:
                    data[at : at + 1] = bytes([rng.randrange(256)])
                case 1:
                    del data[at : at + rng.randint(1, 20)]
                case 2:
                    data[at:at] = rng.choice(
                        [b'"', b"<", b">", b";", b",", b"\r\n", b" ", b"=", b"%", b"@", b":", b"\\"]
                    )
                case 3:
                    other = rng.choice(seeds)
                    start = rng.randrange(len(other))
                    data[at:at] = other[start : start + rng.randint(1, 60)]
                case _:
                    data[at:at] = data[at : at + rng.randint(1, 30)] * 2
        poke(bytes(data))


@given(st.binary(max_size=300))
def test_random_bytes_raise_nothing_else(data: bytes) -> None:
    poke(data)
    poke(HEAD + data)
    with contextlib.suppress(BadMessage):
        StreamFramer().feed(data)
