"""Offer and answer for one audio stream."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.model import LocalProtocolError
from trunkline.telephony.media.port import Codec, MediaDirection
from trunkline.telephony.sip.proto.errors import BadMessage, BadSdp
from trunkline.telephony.sip.proto.offer import Capabilities, OfferAnswer
from trunkline.telephony.sip.proto.sdp import parse_sdp

SEND, RECV, BOTH, NONE = (
    MediaDirection.SENDONLY,
    MediaDirection.RECVONLY,
    MediaDirection.SENDRECV,
    MediaDirection.INACTIVE,
)


def side(
    codecs: tuple[Codec, ...] = (Codec.PCMU, Codec.PCMA),
    *,
    host: str = "10.0.0.2",
    mux: bool = True,
    dtmf: bool = True,
) -> OfferAnswer:
    capabilities = Capabilities(codecs=codecs, rtcp_mux=mux, dtmf=dtmf)
    return OfferAnswer(capabilities=capabilities, host=host, port=5000, session_id=7)


def sdp(
    *audio: str,
    host: str = "192.0.2.5",
    media: str = "m=audio 4000 RTP/AVP 0 8 101",
    before: str = "",
    after: str = "",
) -> bytes:
    lines = ["v=0", "o=- 1 1 IN IP4 192.0.2.5", "s=-", f"c=IN IP{6 if ':' in host else 4} {host}", "t=0 0"]
    lines += [line for line in (before, media) if line] + list(audio) + ([after] if after else [])
    return ("\r\n".join(lines) + "\r\n").encode()


def test_two_sides_agree() -> None:
    caller = side((Codec.PCMA, Codec.PCMU), host="10.0.0.1")
    callee = side()
    callee.receive_offer(caller.offer())
    answer = callee.answer()
    caller.receive_answer(answer)
    assert caller.parameters is not None
    assert callee.parameters is not None
    assert caller.parameters.codec is callee.parameters.codec is Codec.PCMA, "the offerer's order decides"
    assert (caller.parameters.remote_host, caller.parameters.remote_port) == ("10.0.0.2", 5000)
    assert caller.parameters.dtmf_payload_type == callee.parameters.dtmf_payload_type == 101
    assert caller.parameters.rtcp_mux
    assert callee.parameters.rtcp_mux
    assert caller.parameters.remote_rtcp_port == 5000
    assert caller.parameters.direction is callee.parameters.direction is BOTH


def test_the_answer_names_one_codec_and_telephone_event() -> None:
    ours = side()
    ours.receive_offer(sdp("a=rtpmap:101 telephone-event/8000", "a=fmtp:101 0-16", "a=ptime:30"))
    audio = parse_sdp(ours.answer()).media[0]
    assert audio.formats == ("0", "101")
    assert audio.all("rtpmap") == ["0 PCMU/8000", "101 telephone-event/8000"]
    assert audio.attribute("fmtp") == "101 0-15"
    assert audio.attribute("ptime") == "30"
    assert audio.attribute("rtcp-mux") is None, "mux is answered only when it was offered"
    assert audio.attribute("rtcp") == "5001"


def test_dynamic_payload_types_of_the_peer_are_used() -> None:
    ours = side((Codec.L16, Codec.PCMU))
    parameters = ours.receive_offer(
        sdp("a=rtpmap:110 l16/8000", "a=rtpmap:96 telephone-event/8000", media="m=audio 4000 RTP/AVP 110 96")
    )
    assert (parameters.codec, parameters.payload_type, parameters.dtmf_payload_type) == (Codec.L16, 110, 96)
    assert b"a=rtpmap:110 L16/8000" in ours.answer()
    later = ours.offer()
    assert b"a=rtpmap:110 L16/8000" in later, "a later offer keeps the types in use"
    assert b"a=rtpmap:96 telephone-event/8000" in later


def test_a_free_type_is_taken_for_telephone_event() -> None:
    ours = side((Codec.L16, Codec.PCMU))
    ours.receive_offer(sdp("a=rtpmap:101 L16/8000/1", media="m=audio 4000 RTP/AVP 101"))
    formats = parse_sdp(ours.offer()).media[0].formats
    assert len(set(formats)) == len(formats)


@pytest.mark.parametrize(
    "body",
    [
        sdp(media="m=audio 4000 RTP/AVP 18"),
        sdp(media="m=audio 4000 RTP/SAVP 0"),
        sdp(media="m=audio 0 RTP/AVP 0"),
        sdp(media="m=video 4000 RTP/AVP 31"),
        sdp(media=""),
        sdp("a=rtpmap:0 PCMU/16000", media="m=audio 4000 RTP/AVP 0"),
        sdp("a=rtpmap:96 PCMU/8000/2", media="m=audio 4000 RTP/AVP 96"),
        sdp(media="m=audio 4000 RTP/AVP x 300 -1"),
        sdp(host="host.example.com"),
        sdp(host="224.0.0.5"),
    ],
)
def test_what_we_cannot_speak_is_488(body: bytes) -> None:
    ours = side()
    with pytest.raises(BadSdp) as caught:
        ours.receive_offer(body)
    assert caught.value.status == 488
    assert ours.parameters is None


def test_an_offer_without_an_address_is_malformed() -> None:
    with pytest.raises(BadSdp) as caught:
        side().receive_offer(sdp().replace(b"c=IN IP4 192.0.2.5\r\n", b""))
    assert caught.value.status == 400


def test_other_streams_are_refused_with_port_0_in_their_place() -> None:
    ours = side()
    ours.receive_offer(sdp(before="m=video 5006 RTP/AVP 31 32", after="m=audio 4002 RTP/AVP 8"))
    answer = parse_sdp(ours.answer())
    assert [(media.kind, media.port) for media in answer.media] == [
        ("video", 0),
        ("audio", 5000),
        ("audio", 0),
    ]
    assert answer.media[0].formats == ("31",)
    again = parse_sdp(ours.offer())
    assert [media.port for media in again.media] == [0, 5000, 0], "the number of streams never shrinks"


@pytest.mark.parametrize(
    ("line", "ours_is", "held", "answered"),
    [
        ("a=sendrecv", BOTH, False, BOTH),
        ("a=sendonly", RECV, True, RECV),
        ("a=recvonly", SEND, False, SEND),
        ("a=inactive", NONE, True, NONE),
    ],
)
def test_directions(line: str, ours_is: MediaDirection, held: bool, answered: MediaDirection) -> None:
    ours = side()
    parameters = ours.receive_offer(sdp(line))
    assert parameters.direction is ours_is
    assert ours.peer_holds is held
    assert parse_sdp(ours.answer()).media[0].attribute(answered.value) is not None


def test_a_direction_of_the_session_counts_for_its_media() -> None:
    ours = side()
    assert ours.receive_offer(sdp(before="a=sendonly")).direction is RECV


def test_hold_by_zero_address_keeps_the_old_one() -> None:
    ours = side()
    ours.receive_offer(sdp())
    held = ours.receive_offer(sdp(host="0.0.0.0"))
    assert held.direction is NONE
    assert ours.peer_holds
    assert (held.remote_host, held.remote_port) == ("192.0.2.5", 4000)
    resumed = ours.receive_offer(sdp(host="192.0.2.6"))
    assert resumed.direction is BOTH
    assert not ours.peer_holds
    assert resumed.remote_host == "192.0.2.6"


def test_hold_by_zero_address_from_the_start() -> None:
    parameters = side().receive_offer(sdp(host="0.0.0.0"))
    assert (parameters.remote_host, parameters.direction) == ("0.0.0.0", NONE)


def test_our_own_hold_survives_a_re_offer_of_the_peer() -> None:
    ours = side()
    ours.desired = SEND
    assert ours.receive_offer(sdp()).direction is SEND
    assert b"a=sendonly" in ours.answer()
    ours.desired = NONE
    assert ours.receive_offer(sdp()).direction is NONE


def test_a_late_offer_is_ours() -> None:
    ours = side()
    assert not ours.awaiting_answer
    offer = ours.offer()
    assert ours.awaiting_answer
    assert parse_sdp(offer).media[0].formats == ("0", "8", "101")
    parameters = ours.receive_answer(sdp(media="m=audio 4000 RTP/AVP 8"))
    assert parameters.codec is Codec.PCMA
    assert parameters.dtmf_payload_type is None
    assert not ours.awaiting_answer


@pytest.mark.parametrize(
    "body",
    [
        sdp(media="m=audio 0 RTP/AVP 0"),
        sdp(media=""),
        sdp(media="m=video 4 RTP/AVP 0"),
        sdp(after="m=video 1 RTP/AVP 31"),
        sdp(media="m=audio 1 RTP/AVP 18"),
    ],
)
def test_answers_that_do_not_fit(body: bytes) -> None:
    ours = side()
    ours.offer()
    with pytest.raises(BadSdp) as caught:
        ours.receive_answer(body)
    assert caught.value.status == 488


def test_an_early_answer_may_be_followed_by_the_final_one() -> None:
    ours = side()
    ours.offer()
    ours.receive_answer(sdp(), early=True)
    final = ours.receive_answer(sdp(host="192.0.2.9"))
    assert final.remote_host == "192.0.2.9"


def test_a_refused_offer_leaves_all_as_it_was() -> None:
    ours = side()
    before = ours.receive_offer(sdp())
    ours.offer()
    ours.offer_failed()
    assert not ours.awaiting_answer
    assert ours.parameters is before
    with pytest.raises(BadSdp):
        ours.receive_offer(sdp(media="m=audio 4000 RTP/AVP 18"))
    assert ours.parameters is before


def test_asking_out_of_turn_is_a_bug_of_ours() -> None:
    with pytest.raises(LocalProtocolError):
        side().answer()
    with pytest.raises(LocalProtocolError):
        side().receive_answer(sdp())


def test_the_version_grows_only_with_a_change() -> None:
    ours = side()
    first = ours.offer()
    assert ours.offer() == first
    ours.moved("10.0.0.3", 6000)
    second = parse_sdp(ours.offer())
    assert second.origin.version == parse_sdp(first).origin.version + 1
    assert second.origin.session == "7"
    assert second.media[0].port == 6000


@pytest.mark.parametrize(
    ("lines", "ptime"),
    [
        (("a=ptime:20",), 20),
        (("a=ptime:7",), 20),
        (("a=ptime:x",), 20),
        (("a=maxptime:10",), 10),
        (("a=ptime:60", "a=maxptime:40"), 40),
        (("a=maxptime:5",), 10),
    ],
)
def test_ptime(lines: tuple[str, ...], ptime: int) -> None:
    assert side().receive_offer(sdp(*lines)).ptime_ms == ptime


@pytest.mark.parametrize(
    ("lines", "port"),
    [
        ((), 4001),
        (("a=rtcp:4444",), 4444),
        (("a=rtcp:4444 IN IP4 1.2.3.4",), 4444),
        (("a=rtcp:x",), 4001),
        (("a=rtcp",), 4001),
        (("a=rtcp-mux",), 4000),
    ],
)
def test_rtcp_port(lines: tuple[str, ...], port: int) -> None:
    assert side().receive_offer(sdp(*lines)).remote_rtcp_port == port


def test_the_last_port_has_no_next() -> None:
    assert side().receive_offer(sdp(media="m=audio 65535 RTP/AVP 0")).remote_rtcp_port is None


def test_mux_and_dtmf_can_be_left_out() -> None:
    ours = side(mux=False, dtmf=False)
    parameters = ours.receive_offer(sdp("a=rtcp-mux", "a=rtpmap:101 telephone-event/8000"))
    assert not parameters.rtcp_mux
    assert parameters.dtmf_payload_type is None
    assert b"telephone-event" not in ours.offer()


def test_malformed_maps_are_skipped() -> None:
    parameters = side().receive_offer(
        sdp("a=rtpmap:x PCMU/8000", "a=rtpmap:8", "a=rtpmap:8 PCMA/y", "a=rtpmap")
    )
    assert parameters.payload_type == 0


@given(
    st.binary(max_size=120), st.sampled_from([sdp(), sdp("a=rtcp:1 2 3", "a=ptime:20")]), st.integers(0, 120)
)
def test_any_damage_is_refused_or_understood(junk: bytes, body: bytes, at: int) -> None:
    ours = side()
    try:
        ours.receive_offer(body[:at] + junk + body[at:])
    except BadMessage:
        return
    ours.answer()
