"""Session descriptions: lenient reading, strict writing, limits."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.telephony.sip.proto.errors import BadSdp
from trunkline.telephony.sip.proto.sdp import (
    MAX_FORMATS,
    MAX_LINES,
    MAX_MEDIA,
    MAX_SDP,
    connection_for,
    is_unspecified,
    parse_sdp,
)

FULL = (
    b"v=0\r\no=alice 2890844526 7 IN IP4 host.example.com\r\ns=\xe9lan\r\ni=information\r\n"
    b"c=IN IP4 192.0.2.1\r\nb=AS:64\r\nt=0 0\r\na=sendonly\r\na=ice-lite\r\na=x-own:1:2\r\n"
    b"m=audio 49170 RTP/AVP 0 8\r\ni=title\r\nc=IN IP6 2001:db8::1\r\na=rtpmap:0 PCMU/8000\r\na=unknown:thing\r\na=rtcp-mux\r\n"
    b"m=video 51372/2 RTP/SAVP 99\r\nb=AS:1\r\na=rtpmap:99 h263-1998/90000\r\n"
)


def test_reading() -> None:
    sdp = parse_sdp(FULL)
    assert (sdp.origin.user, sdp.origin.session, sdp.origin.version) == ("alice", "2890844526", 7)
    assert sdp.attribute("sendonly") == ""
    assert sdp.attribute("x-own") == "1:2"
    assert sdp.attribute("none") is None
    audio, video = sdp.media
    assert (audio.kind, audio.port, audio.protocol, audio.formats) == ("audio", 49170, "RTP/AVP", ("0", "8"))
    assert audio.attribute("rtcp-mux") == ""
    assert audio.attribute("none") is None
    assert audio.all("rtpmap") == ["0 PCMU/8000"]
    assert video.port_count == 2
    connection = sdp.connection_of(audio)
    assert connection is not None
    assert connection.host == "2001:db8::1"
    assert sdp.connection_of(video) == sdp.connection


def test_unknown_lines_attributes_and_bytes_are_kept() -> None:
    written = parse_sdp(FULL).to_bytes()
    assert sorted(written.split(b"\r\n")) == sorted(FULL.split(b"\r\n"))
    assert parse_sdp(written).to_bytes() == written


@pytest.mark.parametrize(
    "data",
    [
        FULL.replace(b"\r\n", b"\n"),
        FULL.replace(b"t=0 0\r\n", b""),
        FULL + b"\r\n\r\n",
        FULL + b"\x00",
        FULL.replace(b"IP4 192.0.2.1", b"IP4 224.2.1.1/127"),
        FULL.replace(b" 7 IN", b" -1 IN"),
        FULL.replace(b"s=\xe9lan", b"s="),
        FULL + b"c=IN IP4 1.1.1.1\r\nc=IN IP4 2.2.2.2\r\n",
    ],
)
def test_leniency(data: bytes) -> None:
    assert len(parse_sdp(data).media) == 2


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"hello",
        b"v=1\r\no=- 1 1 IN IP4 1.1.1.1\r\n",
        b"v=0\r\ns=-\r\n",
        FULL.replace(b"m=audio 49170", b"m=audio 70000"),
        FULL.replace(b"m=audio 49170", b"m=audio x"),
        FULL.replace(b"m=audio 49170 RTP/AVP 0 8", b"m=audio 49170"),
        FULL.replace(b"c=IN IP4", b"c=ATM IP4"),
        FULL.replace(b"c=IN IP4 192.0.2.1", b"c=IN"),
        FULL.replace(b"o=alice", b"o=al ice"),
        FULL + b"nonsense\r\n",
        FULL + b"1=x\r\n",
        b"v=0\r\n" + b"a=x\r\n" * MAX_LINES,
        b"v=0\r\n" + b"m=audio 1 RTP/AVP 0\r\n" * (MAX_MEDIA + 1),
        b"v=0\r\nm=audio 1 RTP/AVP" + b" 0" * (MAX_FORMATS + 1) + b"\r\n",
        b"v=0\r\n" + b"a" * MAX_SDP,
    ],
)
def test_what_cannot_be_used_is_refused(data: bytes) -> None:
    with pytest.raises(BadSdp) as caught:
        parse_sdp(data)
    assert caught.value.status == 400


def test_addresses() -> None:
    assert str(connection_for("::1")) == "IN IP6 ::1"
    assert str(connection_for("1.2.3.4")) == "IN IP4 1.2.3.4"
    assert is_unspecified("0.0.0.0")
    assert is_unspecified("::")
    assert not is_unspecified("host.example.com")


@given(
    st.lists(
        st.sampled_from([*FULL.split(b"\r\n"), b"m=audio 0 X 1", b"a=", b"c=IN IP4 x", b"=", b"k=v"]),
        max_size=30,
    )
)
def test_any_mix_of_lines_is_read_or_refused(lines: list[bytes]) -> None:
    data = b"v=0\r\n" + b"\r\n".join(lines)
    try:
        sdp = parse_sdp(data)
    except BadSdp:
        return
    assert parse_sdp(sdp.to_bytes()) == sdp
