//! The media engine's sockets, threads and clock: the only crate that has any.
//!
//! A call lives on one thread for life. Each thread is an epoll loop with a wheel of eight phases,
//! so that the calls' packets spread over 20 ms. What happens to audio is decided by
//! `trunkline-session` and `trunkline-wire`; this crate moves the bytes, and refuses to look at
//! them. Every queue has a bound; `docs/media/engine.md` lists them and what happens there.

#[cfg(test)]
#[global_allocator]
static ALLOCATOR: trunkline_testalloc::CountingAllocator = trunkline_testalloc::CountingAllocator;

mod backlog;
mod call;
pub mod clock;
mod command;
mod engine;
mod events;
mod poller;
mod ports;
mod priority;
mod random;
mod recorder;
mod resolver;
mod shard;
mod socket;
mod url;
mod wake;

pub use backlog::{MAX_AUDIO_MS, MAX_TEXT_BYTES};
pub use command::MAX_PLAY_BYTES;
pub use engine::{CallHandle, Engine, EngineConfig, EngineError, Totals};
pub use events::{Event, EventKind, MAX_CONTROL, MAX_TAPS};
pub use socket::SocketSpec;
