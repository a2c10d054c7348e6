//! Time as a number that is handed in.

use std::fmt;
use std::ops::{Add, AddAssign, Sub, SubAssign};

/// Nanoseconds: a point in time since the start of the process, or a length of time.
///
/// The same integer as `Nanos` on the Python side. Arithmetic saturates at both ends, so that
/// [`Nanos::MAX`] can stand for "never" and a clock that was handed in wrongly cannot end a call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Nanos(pub u64);

impl Nanos {
    /// The start of time, or no time at all.
    pub const ZERO: Self = Self(0);
    /// Later than everything: "never" as a deadline.
    pub const MAX: Self = Self(u64::MAX);

    /// Whole microseconds.
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros.saturating_mul(1_000))
    }

    /// Whole milliseconds.
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis.saturating_mul(1_000_000))
    }

    /// Whole seconds.
    pub const fn from_secs(secs: u64) -> Self {
        Self(secs.saturating_mul(1_000_000_000))
    }

    /// The length of `samples` at `rate` samples a second, rounded down; zero when `rate` is zero.
    pub const fn from_samples(samples: u64, rate: u32) -> Self {
        if rate == 0 {
            return Self::ZERO;
        }
        Self((samples as u128 * 1_000_000_000 / rate as u128) as u64)
    }

    /// Samples at `rate` that fit into this length, rounded down.
    pub const fn to_samples(self, rate: u32) -> u64 {
        (self.0 as u128 * rate as u128 / 1_000_000_000) as u64
    }

    /// Whole microseconds, rounded down.
    pub const fn as_micros(self) -> u64 {
        self.0 / 1_000
    }

    /// Whole milliseconds, rounded down.
    pub const fn as_millis(self) -> u64 {
        self.0 / 1_000_000
    }

    /// Milliseconds with fraction.
    pub fn as_millis_f64(self) -> f64 {
        self.0 as f64 / 1e6
    }

    /// Seconds with fraction.
    pub fn as_secs_f64(self) -> f64 {
        self.0 as f64 / 1e9
    }

    /// The time passed since `earlier`; zero when `earlier` is in fact later.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Self {
        Self(self.0.saturating_sub(earlier.0))
    }
}

impl Add for Nanos {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl AddAssign for Nanos {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl Sub for Nanos {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        self.since(other)
    }
}

impl SubAssign for Nanos {
    fn sub_assign(&mut self, other: Self) {
        *self = *self - other;
    }
}

impl fmt::Display for Nanos {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:.3} ms", self.as_millis_f64())
    }
}

#[cfg(test)]
mod tests {
    use super::Nanos;

    #[test]
    fn converts_between_units() {
        assert_eq!(Nanos::from_millis(20).to_samples(8000), 160);
        assert_eq!(Nanos::from_samples(160, 8000), Nanos::from_millis(20));
        assert_eq!(Nanos::from_samples(1, 0), Nanos::ZERO);
        assert_eq!(Nanos::from_secs(2).as_millis(), 2000);
        assert_eq!(Nanos::from_micros(1500).to_string(), "1.500 ms");
    }

    #[test]
    fn arithmetic_saturates() {
        assert_eq!(Nanos::MAX + Nanos(1), Nanos::MAX);
        assert_eq!(Nanos(1) - Nanos(2), Nanos::ZERO);
        assert_eq!(Nanos(7).since(Nanos(2)), Nanos(5));
    }
}
