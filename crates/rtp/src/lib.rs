//! Sans-IO RTP: packets in and out, reports, jitter buffer, telephone events, source latching.
//!
//! Owns what RFC 3550, 3551 and 4733 say about one audio stream. Refuses sockets, clocks, threads,
//! codecs and allocation on the packet path: time comes in as [`Nanos`], bytes come in as slices and
//! leave in the caller's buffers. Everything a peer can send ends in a value or an error of this
//! crate, never in a panic.
//!
//! A receiver wires the parts like this:
//!
//! ```
//! use trunkline_rtp::{JitterBuffer, JitterConfig, Nanos, Pop, ReceiverStats, RtpPacket};
//!
//! let mut statistics = ReceiverStats::new(8000);
//! let mut buffer = JitterBuffer::new(JitterConfig::g711());
//! let datagram = [&[0x80, 0x00, 0, 1, 0, 0, 0, 160, 0, 0, 0, 7][..], &[0xFF; 160]].concat();
//!
//! let now = Nanos::from_millis(1000);
//! let packet = RtpPacket::parse(&datagram)?;
//! statistics.receive(now, &packet.header);
//! buffer.push(now, &packet);
//!
//! // Later, whenever the playout side wants audio (every 20 ms):
//! match buffer.pop(now + Nanos::from_millis(40)) {
//!     Pop::Frame(frame) => assert_eq!(frame.payload.len(), 160),
//!     Pop::Conceal { .. } | Pop::Silence { .. } => unreachable!("the packet is due"),
//! }
//! # Ok::<(), trunkline_rtp::RtpError>(())
//! ```

#![forbid(unsafe_code)]

mod jitter;
mod latch;
mod packet;
pub mod rtcp;
mod sender;
mod stats;
pub mod telephone_event;
mod time;
mod wrapping;

pub use jitter::{
    ConcealCause, Framing, JitterBuffer, JitterConfig, JitterFrame, JitterStats, Pop, PushOutcome,
    SilenceCause,
};
pub use latch::{LatchOutcome, SourceLatch};
pub use packet::{HEADER_LEN, RtpError, RtpHeader, RtpPacket, is_rtcp};
pub use sender::RtpSender;
pub use stats::{Received, ReceiverStats};
pub use time::Nanos;
pub use wrapping::{sequence_distance, timestamp_distance};
