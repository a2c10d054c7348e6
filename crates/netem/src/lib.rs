//! A seeded model of loss, delay, jitter, reordering and duplication.

#![forbid(unsafe_code)]
