//! One call's media, sans-IO: datagrams, engine audio, commands and time in; datagrams, caller
//! audio, recording frames and events out.
//!
//! The crate owns what happens to the audio of a call between the phone side and the engine side:
//! latching, jitter, loss, digits, playout with exact account of what was heard, masks, flushing,
//! taps and recording frames. It refuses sockets, threads and clocks (`trunkline-reactor` has
//! them), WebSocket framing (`trunkline-wire`), and any idea of what is being said.
//!
//! Once a call runs, [`Session::tick`] and the `handle_*` methods allocate nothing, except when an
//! engine runs further ahead than ever before in the call and the playout queue has to grow.

#![forbid(unsafe_code)]

mod audio;
mod mask;
mod playout;
mod receive;
mod report;
mod send;
mod session;
mod types;
mod uplink;

pub use playout::{Heard, MAX_BACKLOG_SECONDS};
pub use session::{Session, SessionConfig};
pub use trunkline_rtp::Nanos;
pub use types::{
    Codec, Direction, Encoding, EngineFormat, MaskMode, Parameters, RECORD_FRAME, SessionEvent, Sink, Stats,
    StereoFrame,
};
