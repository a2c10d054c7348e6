//! What goes into a session and what comes out of it.

use std::net::SocketAddr;

use crate::Nanos;
use crate::playout::Heard;

/// Codecs on the phone side (RFC 3551).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Codec {
    /// G.711 µ-law.
    Pcmu,
    /// G.711 A-law.
    Pcma,
    /// Linear 16-bit, network byte order.
    L16,
}

/// SDP direction as it applies to us (RFC 3264).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// Both ways.
    SendRecv,
    /// We send only: what comes is ignored.
    SendOnly,
    /// We receive only: playout waits.
    RecvOnly,
    /// Hold.
    Inactive,
}

impl Direction {
    /// Whether we send audio.
    pub const fn sends(self) -> bool {
        matches!(self, Self::SendRecv | Self::SendOnly)
    }

    /// Whether we use the peer's audio.
    pub const fn receives(self) -> bool {
        matches!(self, Self::SendRecv | Self::RecvOnly)
    }
}

/// What offer and answer agreed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parameters {
    /// The peer's RTP address.
    pub remote: SocketAddr,
    /// The peer's RTCP address; that of `remote` with `rtcp_mux`.
    pub remote_rtcp: SocketAddr,
    /// RTCP on the RTP port (RFC 5761).
    pub rtcp_mux: bool,
    /// Codec both ways.
    pub codec: Codec,
    /// Its payload type.
    pub payload_type: u8,
    /// RTP clock and sample rate: 8000, for L16 also 16000.
    pub clock_rate: u32,
    /// Audio in one packet we send: 10, 20, 30, 40 or 60 ms.
    pub ptime_ms: u32,
    /// Payload type of telephone events.
    pub dtmf_payload_type: Option<u8>,
    /// Who may send.
    pub direction: Direction,
}

/// Encodings of audio on an engine's socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// Signed 16-bit little-endian.
    Pcm16,
    /// G.711 µ-law.
    Pcmu,
    /// G.711 A-law.
    Pcma,
}

/// Audio on an engine's socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EngineFormat {
    /// Encoding of caller audio.
    pub up_encoding: Encoding,
    /// Its sample rate: 8000, 16000 or 24000.
    pub up_rate: u32,
    /// Encoding of the engine's audio.
    pub down_encoding: Encoding,
    /// Its sample rate.
    pub down_rate: u32,
    /// Caller audio is sent in pieces of this length.
    pub batch_ms: u32,
}

/// How a mask shares the line with the engine's audio.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MaskMode {
    /// Under the engine's audio, ducked while it speaks.
    Mix,
    /// Instead of the engine's audio, which waits.
    Turn,
}

/// Samples of one channel in a [`StereoFrame`].
pub const RECORD_FRAME: usize = 160;

/// 20 ms of a recording at 8 kHz.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StereoFrame {
    /// Left: the caller.
    pub caller: [i16; RECORD_FRAME],
    /// Right: what we sent.
    pub ours: [i16; RECORD_FRAME],
}

/// Something that happened. The fields are those of the Python events of the same names.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "documented where Python sees them")]
pub enum SessionEvent<'a> {
    FirstPacket { source: SocketAddr },
    CallerSpeech { started: bool, lag_ms: u32 },
    Digit { digit: char, duration_ms: u32 },
    PlayStarted { item: &'a str },
    PlayEnded { item: &'a str, heard_ms: u32, total_ms: u32 },
    Flushed { heard: Vec<Heard> },
    MaskStarted { name: &'a str },
    MaskEnded { name: &'a str, played_ms: u32 },
    RtpSilence { quiet_ms: u32 },
}

/// Where a session puts what it produces. Everything is borrowed: take it or lose it.
pub trait Sink {
    /// Send an RTP packet.
    fn send_rtp(&mut self, to: SocketAddr, packet: &[u8]);
    /// Send an RTCP packet, from the RTP port when `mux`.
    fn send_rtcp(&mut self, to: SocketAddr, packet: &[u8], mux: bool);
    /// Send caller audio to the engine, in the encoding of its socket.
    fn engine_audio(&mut self, encoded: &[u8], ms: u32);
    /// Deliver a batch of the caller's audio.
    fn tap(&mut self, pcm: &[i16], rate: u32);
    /// Record 20 ms.
    fn record(&mut self, frame: &StereoFrame);
    /// Report.
    fn event(&mut self, event: SessionEvent<'_>);
}

/// Counters of a session.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Stats {
    /// RTP packets accepted.
    pub rtp_received: u64,
    /// RTP packets sent.
    pub rtp_sent: u64,
    /// Packets that never came.
    pub rtp_lost: u64,
    /// Packets too late to be played.
    pub rtp_late: u64,
    /// Packets that came twice.
    pub rtp_duplicate: u64,
    /// Malformed, or from a source that is not the peer.
    pub rtp_rejected: u64,
    /// Audio invented in place of missing packets.
    pub concealed_ms: u64,
    /// Interarrival jitter.
    pub jitter: Nanos,
    /// Round trip by RTCP; zero while unknown.
    pub round_trip: Nanos,
    /// Delay of the jitter buffer.
    pub buffer: Nanos,
    /// Engine audio dropped because the playout queue was full.
    pub playout_dropped_ms: u64,
    /// Caller audio dropped because the engine's socket did not take it (counted by the reactor).
    pub engine_dropped_ms: u64,
    /// Engine messages that claim to be audio and are not (counted by the reactor).
    pub engine_bad_messages: u64,
}
