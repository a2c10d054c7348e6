//! Telephone audio on blocks of 16-bit samples: codecs, resampling, concealment, speech and levels.
//!
//! Everything here is arithmetic on slices: no clock, no sockets, no allocation after construction.
//! Samples are `i16`, mono, in host order; blocks may have any length unless a function says
//! otherwise (20 ms is usual). Rates are 8000, 16000 and 24000 Hz.
//!
//! Refuses: packets, buffers in time (`trunkline-rtp`), codecs that need a library.

#![forbid(unsafe_code)]

pub mod g711;
pub mod gain;
pub mod l16;
pub mod level;
mod noise;
mod plc;
mod resample;
mod tone;
mod vad;

pub use noise::ComfortNoise;
pub use plc::Plc;
pub use resample::{Resampler, UnsupportedRates};
pub use tone::{DualTone, Sine, dtmf_frequencies};
pub use vad::{Vad, VadConfig, VadEvent};

/// Nearest sample to a value that may lie outside the range.
fn saturate(value: f32) -> i16 {
    // The cast saturates by itself.
    value.round_ties_even() as i16
}
