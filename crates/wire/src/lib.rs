//! Engine sockets without the socket.
//!
//! [`Client`] is a WebSocket client (RFC 6455): bytes in, messages out. [`Profile`] tells the
//! audio in those messages from everything else, and puts caller audio into frames. Both reuse
//! their buffers, so that a steady stream of audio messages allocates nothing.
//!
//! The crate owns framing and the place of audio in a dialect. It refuses to know what a message
//! means (Python does), what samples are (`trunkline-dsp` does), and how bytes travel
//! (`trunkline-reactor` does).

#![forbid(unsafe_code)]

pub mod base64;
mod client;
mod frame;
pub mod handshake;
pub mod json;
mod profile;

pub use client::{Client, Closed, Incoming, State, write_binary, write_text};
pub use frame::FrameError;
pub use handshake::{HandshakeError, Request, RequestError};
pub use json::{BadAudio, JsonKeys};
pub use profile::{Dialect, Profile, Sorted};
