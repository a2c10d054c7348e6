//! The one clock: `CLOCK_MONOTONIC`, the same numbers as Python's `time.monotonic_ns()`.

use rustix::time::{ClockId, clock_gettime};
use trunkline_session::Nanos;

/// Now.
pub fn now() -> Nanos {
    let time = clock_gettime(ClockId::Monotonic);
    Nanos(time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64)
}
