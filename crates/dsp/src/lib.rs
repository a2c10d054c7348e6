//! Codecs, resampling, loss concealment, voice activity, tones, mixing and levels on 20 ms blocks.

#![forbid(unsafe_code)]
