"""The contract of one call's media: commands in, events out, audio stays in Rust.

``engine.py`` implements it over ``trunkline._native``; ``trunkline.testing`` implements it in memory.
Commands never block and never fail because of the peer; after ``close`` they are ignored.

Audio given to and taken from Python is signed 16-bit little-endian mono PCM at a stated rate
(8000, 16000 or 24000 Hz).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from trunkline.model import Nanos


class Codec(StrEnum):
    """Codecs the media core speaks on the phone side (names as in SDP, RFC 3551)."""

    PCMU = "PCMU"
    PCMA = "PCMA"
    L16 = "L16"


class MediaDirection(StrEnum):
    """SDP direction as it applies to us (RFC 3264)."""

    SENDRECV = "sendrecv"
    SENDONLY = "sendonly"
    RECVONLY = "recvonly"
    INACTIVE = "inactive"


@dataclass(frozen=True, slots=True)
class RtpParameters:
    """What the offer/answer exchange agreed on for the one audio stream."""

    remote_host: str
    """Literal IP address."""
    remote_port: int
    codec: Codec
    payload_type: int
    clock_rate: int = 8000
    ptime_ms: int = 20
    dtmf_payload_type: int | None = None
    remote_rtcp_port: int | None = None
    rtcp_mux: bool = False
    direction: MediaDirection = MediaDirection.SENDRECV


class WireProfile(StrEnum):
    """How audio travels on an engine's WebSocket (``crates/wire``)."""

    BINARY = "binary"
    """Binary frames are raw PCM16LE both ways; text frames go to Python."""
    JSON = "json"
    """JSON text with base64 audio; ``JsonAudio`` says where."""


@dataclass(frozen=True, slots=True)
class JsonAudio:
    """Where the audio sits in a JSON dialect. Defaults: OpenAI Realtime GA."""

    type_key: str = "type"
    down_type: str = "response.output_audio.delta"
    """Value of ``type_key`` of messages that carry audio to the caller."""
    down_audio_key: str = "delta"
    down_item_key: str = "item_id"
    up_prefix: str = '{"type":"input_audio_buffer.append","audio":"'
    up_suffix: str = '"}'
    also_down_types: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SocketSpec:
    """An engine's WebSocket. ``url`` is ws:// or wss://; credentials belong in ``headers``."""

    url: str
    profile: WireProfile
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    subprotocols: tuple[str, ...] = ()
    up_rate: int = 16000
    """Sample rate of caller audio sent; with encoding PCMU or PCMA always 8000."""
    down_rate: int = 16000
    up_encoding: str = "pcm16"
    """``pcm16``, ``pcmu`` or ``pcma``."""
    down_encoding: str = "pcm16"
    json: JsonAudio = JsonAudio()
    batch_ms: int = 40
    """Audio toward the engine is sent in pieces of this length (20 or 40)."""
    connect_timeout_ms: int = 5000
    max_message_bytes: int = 1 << 20
    """A larger frame or message closes the socket with 1009; the call goes on."""
    ca_file: str | None = None
    """PEM file with additional trust anchors for wss://; None: the system's."""


class MaskMode(StrEnum):
    """How a mask shares the line with the engine's audio."""

    MIX = "mix"
    """Under the engine's audio, ducked while it speaks."""
    TURN = "turn"
    """Instead of the engine's audio, which waits until the mask's end or ``unmask``."""


# --- events -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class FirstPacket:
    """First RTP packet of the peer was accepted (and its source latched)."""

    at: Nanos
    source: str


@dataclass(frozen=True, slots=True)
class CallerSpeech:
    """Own VAD on the caller's audio: started or stopped. ``at`` is the event, the speech began or ended
    ``lag_ms`` earlier."""

    at: Nanos
    started: bool
    lag_ms: int = 0


@dataclass(frozen=True, slots=True)
class Digit:
    """A digit by RFC 4733, reported once, at its end."""

    at: Nanos
    digit: str
    duration_ms: int


@dataclass(frozen=True, slots=True)
class Heard:
    """How much of an item the caller heard. ``total_ms`` is what the engine had sent of it until then."""

    item: str
    heard_ms: int
    total_ms: int


@dataclass(frozen=True, slots=True)
class PlayStarted:
    """First audio of the item left as RTP."""

    at: Nanos
    item: str


@dataclass(frozen=True, slots=True)
class PlayEnded:
    """The item was played to its end (``end_item`` was called or the next item began)."""

    at: Nanos
    heard: Heard


@dataclass(frozen=True, slots=True)
class Flushed:
    """Answer to ``flush``: playout is silent. ``heard`` has every item that was queued, in order;
    the first is the one that was interrupted. Empty when nothing was playing."""

    at: Nanos
    heard: tuple[Heard, ...]


@dataclass(frozen=True, slots=True)
class MaskStarted:
    """First mask audio left as RTP."""

    at: Nanos
    name: str


@dataclass(frozen=True, slots=True)
class MaskEnded:
    """The mask ended by itself or by ``unmask``."""

    at: Nanos
    name: str
    played_ms: int


@dataclass(frozen=True, slots=True)
class EngineOpened:
    """The engine's WebSocket handshake succeeded."""

    at: Nanos
    subprotocol: str


@dataclass(frozen=True, slots=True)
class EngineText:
    """A message of the engine that is not audio, whole, in order."""

    at: Nanos
    text: str


@dataclass(frozen=True, slots=True)
class EngineClosed:
    """The engine's socket is gone (or never came). ``code`` is the WebSocket close code, 1006 when there was
    none; ``status`` the HTTP status of a refused handshake or 0."""

    at: Nanos
    code: int
    reason: str
    status: int = 0
    by_us: bool = False


@dataclass(frozen=True, slots=True)
class Tap:
    """A batch of the caller's decoded audio (``open_tap``)."""

    at: Nanos
    pcm: bytes
    rate: int


@dataclass(frozen=True, slots=True)
class RtpSilence:
    """No RTP from the peer for ``quiet_ms`` (sent once per silence; not while on hold)."""

    at: Nanos
    quiet_ms: int


@dataclass(frozen=True, slots=True)
class MediaFailed:
    """The leg's media session is gone: a socket error or, with ``bug``, a caught panic. Others live on."""

    at: Nanos
    detail: str
    bug: bool


@dataclass(frozen=True, slots=True)
class MediaClosed:
    """Answer to ``close``: sockets closed, ports free, recording sealed. ``last_rtp_sent_at`` is 0 when none."""

    at: Nanos
    last_rtp_sent_at: Nanos
    stats: "MediaStats"


MediaEvent = (
    FirstPacket
    | CallerSpeech
    | Digit
    | PlayStarted
    | PlayEnded
    | Flushed
    | MaskStarted
    | MaskEnded
    | EngineOpened
    | EngineText
    | EngineClosed
    | Tap
    | RtpSilence
    | MediaFailed
    | MediaClosed
)


@dataclass(frozen=True, slots=True)
class MediaStats:
    """Counters of one media session; all count from its opening."""

    rtp_received: int = 0
    rtp_sent: int = 0
    rtp_lost: int = 0
    rtp_late: int = 0
    rtp_duplicate: int = 0
    rtp_rejected: int = 0
    """Malformed, or from a source that is not the peer."""
    concealed_ms: int = 0
    jitter_ms: float = 0.0
    """Interarrival jitter, RFC 3550 section 6.4.1."""
    round_trip_ms: float = 0.0
    buffer_ms: float = 0.0
    engine_dropped_ms: int = 0
    """Caller audio dropped because the engine's socket did not take it."""
    playout_dropped_ms: int = 0
    """Engine audio dropped because the playout queue was full."""
    engine_bad_messages: int = 0
    """Messages of the engine that claim to be audio and are not (bad base64, no item id); dropped."""


class EnginePort(Protocol):
    """The part of a media port that an engine session may use."""

    def open_socket(self, spec: SocketSpec) -> None:
        """Connect the engine's WebSocket: ``EngineOpened`` or ``EngineClosed`` follows. Caller audio flows to
        it from ``EngineOpened`` on. A second call replaces the first socket, of which nothing more is
        reported."""
        ...

    def open_tap(self, *, rate: int, batch_ms: int) -> None:
        """Deliver the caller's audio as ``Tap`` events (8000 or 16000 Hz, 20 to 100 ms each)."""
        ...

    def send_text(self, text: str) -> None:
        """Send a text message to the engine; ignored when no socket is open."""
        ...

    def play(self, item: str, pcm: bytes, rate: int) -> None:
        """Queue audio of ``item`` for the caller; at most 120 s are held, the oldest is dropped and counted."""
        ...

    def end_item(self, item: str) -> None:
        """No more audio of ``item`` will come: ``PlayEnded`` follows when the caller has heard it."""
        ...

    def drop_item(self, item: str) -> None:
        """Discard late audio of a cancelled item from now on, whether from the socket or from ``play``."""
        ...

    def close_engine(self) -> None:
        """Close the engine's socket (1000) or tap; playout goes on."""
        ...


class MediaPort(EnginePort, Protocol):
    """One call's media session: one RTP port pair, one engine side, one recording."""

    @property
    def local_host(self) -> str:
        """Address to put into SDP."""
        ...

    @property
    def local_port(self) -> int:
        """RTP port; RTCP is the next one."""
        ...

    def listen(self, sink: Callable[[MediaEvent], None]) -> None:
        """Deliver events to ``sink``, in order, on the event loop's thread; earlier ones at once."""
        ...

    def connect(self, parameters: RtpParameters) -> None:
        """Start, or after a re-INVITE change, sending and receiving with these parameters. SSRC, sequence and
        timestamp continue."""
        ...

    def flush(self, *, fade_ms: int = 10) -> None:
        """Silence the playout now, with a short fade: ``Flushed`` answers. A mask ends as well.

        Late audio of the flushed items is discarded as by ``drop_item`` (audio without an item id, as
        in the binary profile, cannot be told from what follows and is played)."""
        ...

    def mask(self, name: str, pcm: bytes, rate: int, *, mode: MaskMode, loop: bool = False) -> None:
        """Play bridging audio at once. One mask at a time: a new one replaces the old."""
        ...

    def unmask(self, *, fade_ms: int = 40) -> None:
        """End the mask, if any, with a fade."""
        ...

    def send_dtmf(self, digits: str, *, duration_ms: int = 100, gap_ms: int = 60) -> None:
        """Send digits (0-9 * # A-D) by RFC 4733; needs ``dtmf_payload_type``."""
        ...

    def record(self, path: Path) -> None:
        """Record both sides (caller left, our audio right) to a WAV file at 8 kHz from now on, but not
        before ``connect``. A second file replaces the first, which is sealed. Raises ``LocalError`` when
        the file cannot be created; a disk that fails later ends the recording, not the call."""
        ...

    def stats(self) -> MediaStats:
        """Counters now."""
        ...

    async def close(self) -> MediaClosed:
        """Close engine, recording and sockets; the ports are free when this returns."""
        ...


class MediaFactory(Protocol):
    """Opens media ports; implemented by ``MediaEngine``."""

    async def open(self, name: str) -> MediaPort:
        """A new session with free ports, named for logs. Raises ``Overloaded`` when none is free."""
        ...
