"""Packet accounting and the recording made from it."""

import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.model import MS, SECOND, Nanos
from trunkline.operations.phone.wire import SpeechTracker, WireLog, parse, reception

LOUD = bytes([0x90, 0x10] * 80)
"""20 ms of a loud PCMU tone at 4 kHz."""
QUIET = bytes([0xFF] * 160)
ORIGIN = 5 * SECOND


def rtp(sequence: int, timestamp: int, payload: bytes = LOUD, *, ssrc: int = 7, kind: int = 0) -> bytes:
    return struct.pack("!BBHII", 0x80, kind, sequence & 0xFFFF, timestamp & 0xFFFFFFFF, ssrc) + payload


def log_of(payloads: list[bytes], *, first_sequence: int = 0, step_ms: int = 20) -> WireLog:
    log = WireLog()
    for index, payload in enumerate(payloads):
        data = rtp(first_sequence + index, 160 * index, payload)
        log.add(data, Nanos(ORIGIN + index * step_ms * MS), "192.0.2.1:4000", sent=False)
    return log


def test_a_packet_is_taken_apart_with_contributors_extension_and_padding() -> None:
    header = struct.pack("!BBHII", 0x80 | 0x20 | 0x10 | 1, 0x80 | 8, 5, 6, 7)
    data = header + b"CSRC" + struct.pack("!HH", 0xBEDE, 1) + b"EXTN" + b"audio" + b"\x00\x00\x03"
    packet = parse(data, Nanos(1), "192.0.2.1:4000", sent=True)
    assert packet is not None
    assert (packet.sequence, packet.timestamp, packet.ssrc, packet.payload_type) == (5, 6, 7, 8)
    assert packet.payload == b"audio"


@given(st.binary(max_size=64))
def test_arbitrary_bytes_never_raise(data: bytes) -> None:
    packet = parse(data, Nanos(0), "192.0.2.1:4000", sent=False)
    assert packet is None or len(packet.payload) <= len(data) - 12


def test_what_is_no_rtp_is_counted() -> None:
    log = WireLog()
    log.add(b"OPTIONS sip:x SIP/2.0", Nanos(0), "192.0.2.1:4000", sent=False)
    log.add(b"", Nanos(0), "192.0.2.1:4000", sent=False)
    assert log.not_rtp == 2
    assert log.reception().packets == 0


def test_rtcp_on_the_same_port_is_no_rtp() -> None:
    log = log_of([LOUD] * 3)
    log.add(rtp(9, 9, kind=200), Nanos(ORIGIN), "192.0.2.1:4000", sent=False)
    assert log.not_rtp == 1
    assert log.reception().packets == 3


def test_loss_reordering_and_duplicates_are_told_apart_across_the_wrap() -> None:
    log = WireLog()
    for index, sequence in enumerate([65534, 65535, 1, 0, 0, 4]):
        log.add(rtp(sequence, 160 * index), Nanos(ORIGIN + index * 20 * MS), "192.0.2.1:4000", sent=False)
    seen = log.reception()
    assert (seen.packets, seen.lost, seen.reordered, seen.duplicate) == (6, 2, 1, 1)
    assert seen.by_source == {"192.0.2.1:4000": 6}


def test_steady_packets_have_no_jitter_and_a_pause_is_a_gap() -> None:
    log = log_of([LOUD] * 10)
    assert log.reception().jitter_ms == 0
    log.add(rtp(10, 1600), Nanos(ORIGIN + 400 * MS), "192.0.2.1:4000", sent=False)
    seen = log.reception()
    assert (seen.gaps, seen.longest_gap_ms) == (1, 220)
    assert seen.jitter_ms == pytest.approx(200 / 16, abs=0.01)


def test_packets_are_told_apart_by_direction_time_and_peer() -> None:
    log = log_of([LOUD] * 4)
    log.add(rtp(0, 0), Nanos(ORIGIN), "192.0.2.9:1", sent=True)
    assert len(log.packets(sent=False)) == 4
    assert len(log.packets(sent=False, since=ORIGIN + 40 * MS)) == 2
    assert len(log.packets(sent=False, peer="192.0.2.9:1")) == 0
    assert len(log.packets(sent=True, peer="192.0.2.9:1")) == 1


def test_packets_beyond_the_bound_are_counted_and_not_kept() -> None:
    log = WireLog(max_packets=2)
    for index in range(5):
        log.add(rtp(index, index * 160), Nanos(index), "192.0.2.1:4000", sent=False)
    assert log.not_kept == 3
    assert log.reception().packets == 2


def test_the_recording_lies_on_the_clock_and_ignores_arrival_jitter() -> None:
    log = WireLog()
    for index, late in enumerate([0, 15, 3, 19]):
        at = Nanos(ORIGIN + (100 + index * 20 + late) * MS)
        log.add(rtp(index, 160 * index, bytes([index] * 160)), at, "192.0.2.1:4000", sent=False)
    track = log.recording(sent=False, start=Nanos(ORIGIN))
    assert len(track) == 800 + 4 * 160
    assert not track[:800].any()
    assert [len(set(track[800 + 160 * i : 960 + 160 * i].tolist())) for i in range(4)] == [1, 1, 1, 1]


def test_a_lost_packet_leaves_silence_of_its_length() -> None:
    log = WireLog()
    for index in (0, 2):
        at = Nanos(ORIGIN + index * 20 * MS)
        log.add(rtp(index, 160 * index), at, "192.0.2.1:4000", sent=False)
    track = log.recording(sent=False, start=Nanos(ORIGIN))
    assert track[:160].any()
    assert not track[160:320].any()
    assert track[320:480].any()


def test_a_stream_with_a_new_time_base_is_put_where_it_arrived() -> None:
    log = log_of([LOUD])
    log.add(rtp(1, 9_999_999), Nanos(ORIGIN + SECOND), "192.0.2.1:4000", sent=False)
    track = log.recording(sent=False, start=Nanos(ORIGIN))
    assert len(track) == 8160
    assert track[8000:].any()


def test_the_recording_is_cut_to_the_window_asked_for() -> None:
    log = log_of([LOUD] * 50)
    assert (
        len(log.recording(sent=False, start=Nanos(ORIGIN + SECOND // 2), end=Nanos(ORIGIN + 2 * SECOND)))
        == 12000
    )
    assert len(log.recording(sent=True, start=Nanos(ORIGIN))) == 0


def test_speech_is_dated_back_to_its_first_and_last_loud_frame() -> None:
    log = log_of([QUIET] * 10 + [LOUD] * 20 + [QUIET] * 30)
    (span,) = log.heard.spans
    assert span.start == ORIGIN + 200 * MS
    assert span.end == ORIGIN + 600 * MS
    assert not log.heard.speaking


def test_speech_ends_when_packets_stop() -> None:
    log = log_of([LOUD] * 20)
    assert log.heard.speaking
    log.heard.update(Nanos(ORIGIN + 799 * MS))
    assert log.heard.speaking
    log.heard.update(Nanos(ORIGIN + 801 * MS))
    assert log.heard.spans[-1].end == ORIGIN + 400 * MS


def test_a_click_is_no_speech_but_is_known() -> None:
    log = log_of([QUIET] * 5 + [LOUD] * 2 + [QUIET] * 30)
    assert log.heard.spans == ()
    assert log.heard.last_loud == ORIGIN + 140 * MS


def test_the_speech_after_a_mark_may_have_begun_before_it() -> None:
    tracker = SpeechTracker()
    tone = np.full(160, 9000, np.int16)
    for index in [*range(10), *range(100, 110)]:
        tracker.feed(Nanos(index * 20 * MS), tone)
    tracker.update(Nanos(9 * SECOND))
    first, second = tracker.spans
    assert tracker.span_after(Nanos(100 * MS)) == first
    assert tracker.span_after(Nanos(SECOND)) == second
    assert tracker.span_after(Nanos(8 * SECOND)) is None


def test_no_packets_have_no_statistics() -> None:
    seen = reception([])
    assert (seen.packets, seen.first_at, seen.longest_gap_ms) == (0, None, 0)
