"""What passed one phone's RTP socket, packet by packet, and what follows from it.

Pure bookkeeping: bytes and arrival times in, counts, gaps, jitter, speech and a recording out. It knows nothing
of the media core, so that the core can be judged by it. Sockets are in ``witness``.
"""

import struct
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from trunkline.model import MS, SECOND, Nanos, to_ms
from trunkline.operations.phone.audio import PHONE_RATE, Samples, decode
from trunkline.operations.phone.measure import FRAME_S, SPEECH_DBFS, level_dbfs
from trunkline.telephony.media.port import Codec

MAX_PACKETS: Final = 400_000
"""Packets kept per log: over an hour of a call, both ways. Later ones are counted, not kept."""

GAP: Final = 60 * MS
"""Two packets further apart than this are a gap: two packets of 20 ms are missing or late."""

RESYNC: Final = 200 * MS
"""When arrival and RTP time disagree by more, the recording follows arrival."""

RTCP_TYPES: Final = range(192, 224)
"""Second bytes that mean RTCP where both share a port (RFC 5761 section 4)."""

_HEADER: Final = struct.Struct("!BBHII")


@dataclass(frozen=True, slots=True)
class Packet:
    """One RTP packet. ``peer`` is ``host:port`` of the other side; ``sent`` when we sent it."""

    at: Nanos
    sent: bool
    peer: str
    sequence: int
    timestamp: int
    ssrc: int
    payload_type: int
    payload: bytes


def parse(data: bytes, at: Nanos, peer: str, *, sent: bool) -> Packet | None:
    """An RTP packet (RFC 3550 section 5.1), or None when it is none; RTCP on the same port is none."""
    if len(data) < 12 or data[0] >> 6 != 2 or data[1] in RTCP_TYPES:
        return None
    first, second, sequence, timestamp, ssrc = _HEADER.unpack_from(data)
    start = 12 + 4 * (first & 0x0F)
    if first & 0x10:
        if len(data) < start + 4:
            return None
        start += 4 + 4 * int.from_bytes(data[start + 2 : start + 4])
    end = len(data) - (data[-1] if first & 0x20 else 0)
    if start > end:
        return None
    return Packet(at, sent, peer, sequence, timestamp, ssrc, second & 0x7F, data[start:end])


@dataclass(frozen=True, slots=True)
class SpeechSpan:
    """Somebody spoke from ``start`` to ``end`` (None: still speaking), on the monotonic clock."""

    start: Nanos
    end: Nanos | None


class SpeechTracker:
    """Follows levels and says when speech began and ended, a fixed threshold and two waiting times.

    Speech begins when ``begin_ms`` of the last ``2 * begin_ms`` were loud and ends after ``hang_ms`` without
    anything loud, packets or none; both are dated back to the first and last loud frame.
    """

    def __init__(
        self, *, threshold_dbfs: float = SPEECH_DBFS, begin_ms: int = 60, hang_ms: int = 400
    ) -> None:
        self._threshold = threshold_dbfs
        self._begin = begin_ms * MS
        self._hang = hang_ms * MS
        self._spans: list[SpeechSpan] = []
        self._loud_since: Nanos | None = None
        self._loud_for = 0
        self._last_loud: Nanos | None = None

    def feed(self, at: Nanos, samples: Samples, rate: int = PHONE_RATE) -> None:
        """Samples that began at ``at``."""
        size = int(rate * FRAME_S)
        frame = round(FRAME_S * SECOND)
        for index in range(len(samples) // size):
            when = Nanos(at + index * frame)
            self.update(when)
            if level_dbfs(samples[index * size : (index + 1) * size]) > self._threshold:
                self._loud(when, frame)

    def _loud(self, when: Nanos, frame: int) -> None:
        self._last_loud = Nanos(when + frame)
        if self.speaking:
            return
        if self._loud_since is None or when - self._loud_since > 2 * self._begin:
            self._loud_since, self._loud_for = when, 0
        self._loud_for += frame
        if self._loud_for >= self._begin:
            self._spans.append(SpeechSpan(self._loud_since, None))
            self._loud_since = None

    def update(self, now: Nanos) -> None:
        """Notice that speech has ended because nothing loud came until ``now``."""
        if self.speaking and self._last_loud is not None and now - self._last_loud >= self._hang:
            self._spans[-1] = SpeechSpan(self._spans[-1].start, self._last_loud)
            self._loud_since = None

    @property
    def speaking(self) -> bool:
        """Speech has begun and not ended."""
        return bool(self._spans) and self._spans[-1].end is None

    @property
    def spans(self) -> tuple[SpeechSpan, ...]:
        """All speech until now, oldest first."""
        return tuple(self._spans)

    @property
    def last_loud(self) -> Nanos | None:
        """End of the last loud frame, also of one too short for speech."""
        return self._last_loud

    def span_after(self, mark: Nanos) -> SpeechSpan | None:
        """The first speech that was going on at ``mark`` or began later."""
        return next((span for span in self._spans if span.end is None or span.end > mark), None)


@dataclass(frozen=True, slots=True)
class Reception:
    """How well packets of the stream(s) arrived."""

    packets: int = 0
    lost: int = 0
    """Sequence numbers that never came."""
    duplicate: int = 0
    reordered: int = 0
    jitter_ms: float = 0.0
    """Interarrival jitter, RFC 3550 section 6.4.1, at the end."""
    gaps: int = 0
    """Pauses above 60 ms between two packets."""
    longest_gap_ms: float = 0.0
    by_source: Mapping[str, int] = field(default_factory=dict)
    first_at: Nanos | None = None
    last_at: Nanos | None = None


class _Stream:
    """Sequence and jitter accounting of one SSRC from one source."""

    def __init__(self, first: Packet) -> None:
        self.base = self.highest = first.sequence
        self.seen = {first.sequence}
        self.duplicate = self.reordered = 0
        self.jitter = 0.0
        self._transit = self._transit_of(first)

    @staticmethod
    def _transit_of(packet: Packet) -> float:
        return packet.at / SECOND * PHONE_RATE - packet.timestamp

    def add(self, packet: Packet) -> None:
        extended = self.highest + ((packet.sequence - self.highest + 0x8000) & 0xFFFF) - 0x8000
        if extended in self.seen:
            self.duplicate += 1
            return
        self.seen.add(extended)
        if extended < self.highest:
            self.reordered += 1
        self.highest, self.base = max(self.highest, extended), min(self.base, extended)
        transit = self._transit_of(packet)
        change = abs(transit - self._transit)
        self._transit = transit
        if change < PHONE_RATE:  # more than a second is a new time base, not jitter
            self.jitter += (change - self.jitter) / 16

    @property
    def lost(self) -> int:
        return self.highest - self.base + 1 - len(self.seen)


def reception(packets: Iterable[Packet]) -> Reception:
    """Account for received packets, in order of arrival."""
    streams: dict[tuple[str, int], _Stream] = {}
    sources: Counter[str] = Counter()
    first: Packet | None = None
    previous: Packet | None = None
    gaps, longest, count, jitter = 0, 0, 0, 0.0
    for packet in packets:
        count += 1
        sources[packet.peer] += 1
        key = (packet.peer, packet.ssrc)
        if key in streams:
            streams[key].add(packet)
        else:
            streams[key] = _Stream(packet)
        jitter = streams[key].jitter
        first = first or packet
        if previous is not None:
            pause = packet.at - previous.at
            longest = max(longest, pause)
            gaps += pause > GAP
        previous = packet
    return Reception(
        packets=count,
        lost=sum(stream.lost for stream in streams.values()),
        duplicate=sum(stream.duplicate for stream in streams.values()),
        reordered=sum(stream.reordered for stream in streams.values()),
        jitter_ms=round(jitter / PHONE_RATE * 1000, 3),
        gaps=gaps,
        longest_gap_ms=round(to_ms(longest), 1),
        by_source=dict(sources),
        first_at=first.at if first else None,
        last_at=previous.at if previous else None,
    )


class WireLog:
    """Everything that passed one RTP socket, and who spoke when."""

    def __init__(self, *, max_packets: int = MAX_PACKETS) -> None:
        self._max = max_packets
        self._packets: list[Packet] = []
        self._codecs: dict[int, Codec] = {0: Codec.PCMU, 8: Codec.PCMA}
        self.not_kept = 0
        self.not_rtp = 0
        self.heard = SpeechTracker()
        self.spoken = SpeechTracker()

    def codec(self, payload_type: int, codec: Codec) -> None:
        """From now on ``payload_type`` means ``codec`` (as signalled)."""
        self._codecs[payload_type] = codec

    def add(self, data: bytes, at: Nanos, peer: str, *, sent: bool) -> None:
        """Note one datagram."""
        packet = parse(data, at, peer, sent=sent)
        if packet is None:
            self.not_rtp += 1
            return
        if len(self._packets) < self._max:
            self._packets.append(packet)
        else:
            self.not_kept += 1
        codec = self._codecs.get(packet.payload_type)
        if codec is not None:
            (self.spoken if sent else self.heard).feed(at, decode(codec, packet.payload))

    def packets(self, *, sent: bool, since: int = 0, peer: str | None = None) -> list[Packet]:
        """Packets of one direction, at or after ``since``, optionally of one peer."""
        return [
            packet
            for packet in self._packets
            if packet.sent is sent and packet.at >= since and peer in (None, packet.peer)
        ]

    def reception(self) -> Reception:
        """How well the far end's packets arrived."""
        return reception(self.packets(sent=False))

    def recording(self, *, sent: bool, start: Nanos, end: Nanos | None = None) -> Samples:
        """What was heard (or sent), from ``start`` on: sample ``n`` belongs to ``start + n / 8000`` s.

        Packets lie where their RTP time puts them relative to the first of their stream, so arrival jitter does
        not cut words; a stream whose clock moved away by more than 200 ms is put where it arrived.
        """
        placed: list[tuple[int, Samples]] = []
        origin: dict[tuple[str, int], tuple[int, int]] = {}
        for packet in self.packets(sent=sent):
            codec = self._codecs.get(packet.payload_type)
            if codec is None:
                continue
            key = (packet.peer, packet.ssrc)
            arrived = round((packet.at - start) * PHONE_RATE / SECOND)
            base, timestamp = origin.get(key, (arrived, packet.timestamp))
            position = base + ((packet.timestamp - timestamp + 0x8000_0000) & 0xFFFF_FFFF) - 0x8000_0000
            if abs(position - arrived) > RESYNC * PHONE_RATE // SECOND:
                base, timestamp, position = arrived, packet.timestamp, arrived
            origin[key] = (base, timestamp)
            placed.append((position, decode(codec, packet.payload)))
        length = max((position + len(samples) for position, samples in placed), default=0)
        if end is not None:
            length = max(0, round((end - start) * PHONE_RATE / SECOND))
        track = np.zeros(max(0, length), dtype=np.int16)
        for position, samples in placed:
            low, high = max(0, position), min(len(track), position + len(samples))
            if low < high:
                track[low:high] = samples[low - position : high - position]
        return track
