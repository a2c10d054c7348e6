//! How long audio must wait so that nearly all packets come in time.

use crate::time::Nanos;

/// Width of a class of relative delay.
const BUCKET: i64 = 5_000_000;
/// Classes; the last takes everything above.
const BUCKETS: usize = 64;
/// Share of packets that must come in time.
const QUANTILE: f32 = 0.98;
/// Weight of one packet: the memory is about 500 packets, ten seconds of audio.
const GAIN: f32 = 1.0 / 500.0;
/// For the wake-up of the playout side, which is not exact either.
const MARGIN: i64 = 5_000_000;
/// The fastest packet of this and the previous window is the reference.
const WINDOW: Nanos = Nanos::from_secs(2);
/// Until this many packets came, the initial delay is a floor.
const WARM_UP: u32 = 50;

/// Relative delays of the packets of one stream.
///
/// A *transit* is arrival minus media time: meaningless as a number, but packets that took longer
/// have a larger one. The smallest of the last seconds is the reference, which also follows a drift
/// between the two clocks; what a packet took longer than that is its relative delay.
#[derive(Clone, Debug)]
pub(super) struct DelayEstimator {
    clock_rate: i64,
    window_start: Nanos,
    fastest: i64,
    fastest_before: i64,
    histogram: [f32; BUCKETS],
    observed: u32,
}

impl DelayEstimator {
    pub(super) fn new(clock_rate: u32) -> Self {
        Self {
            clock_rate: i64::from(clock_rate.max(1)),
            window_start: Nanos::ZERO,
            fastest: i64::MAX,
            fastest_before: i64::MAX,
            histogram: [0.0; BUCKETS],
            observed: 0,
        }
    }

    /// Transit in nanoseconds of the sample `at` at the moment `now`.
    pub(super) fn transit(&self, now: Nanos, at: i64) -> i64 {
        let whole = at.div_euclid(self.clock_rate).wrapping_mul(1_000_000_000);
        let part = at.rem_euclid(self.clock_rate) * 1_000_000_000 / self.clock_rate;
        (now.0 as i64).wrapping_sub(whole).wrapping_sub(part)
    }

    /// Samples in so many nanoseconds, towards zero.
    pub(super) fn samples(&self, nanos: i64) -> i64 {
        (i128::from(nanos) * i128::from(self.clock_rate) / 1_000_000_000) as i64
    }

    /// Counts a packet; returns its relative delay in nanoseconds.
    pub(super) fn observe(&mut self, now: Nanos, at: i64) -> i64 {
        let transit = self.transit(now, at);
        if now.since(self.window_start) >= WINDOW {
            self.window_start = now;
            self.fastest_before = self.fastest;
            self.fastest = i64::MAX;
        }
        self.fastest = self.fastest.min(transit);
        let relative = transit - self.reference();
        let bucket = ((relative / BUCKET) as usize).min(BUCKETS - 1);
        for weight in &mut self.histogram {
            *weight *= 1.0 - GAIN;
        }
        self.histogram[bucket] += GAIN;
        self.observed = self.observed.saturating_add(1);
        relative
    }

    /// Transit of the fastest packet lately.
    pub(super) fn reference(&self) -> i64 {
        self.fastest.min(self.fastest_before)
    }

    /// Delay in nanoseconds that the playout should have, between `min` and `max`.
    pub(super) fn target(&self, min: Nanos, initial: Nanos, max: Nanos) -> i64 {
        let floor = if self.observed < WARM_UP { initial.max(min) } else { min };
        let total: f32 = self.histogram.iter().sum();
        let mut rest = total * (1.0 - QUANTILE);
        let mut top = BUCKETS;
        // From above: the classes that hold the slowest two per cent are given up.
        while top > 1 {
            rest -= self.histogram[top - 1];
            if rest < 0.0 {
                break;
            }
            top -= 1;
        }
        (top as i64 * BUCKET + MARGIN).max(floor.0 as i64).min(max.0 as i64)
    }

    /// Forgets where the timeline lies but not how the path jitters.
    pub(super) fn restart(&mut self, now: Nanos) {
        self.window_start = now;
        self.fastest = i64::MAX;
        self.fastest_before = i64::MAX;
    }
}

#[cfg(test)]
mod tests {
    use super::DelayEstimator;
    use crate::time::Nanos;

    const MS: i64 = 1_000_000;

    fn target(estimator: &DelayEstimator) -> i64 {
        estimator.target(Nanos::from_millis(20), Nanos::from_millis(40), Nanos::from_millis(200)) / MS
    }

    fn feed(estimator: &mut DelayEstimator, packets: std::ops::Range<u64>, late_ms: impl Fn(u64) -> u64) {
        for number in packets {
            let now = Nanos::from_millis(500 + number * 20 + late_ms(number));
            estimator.observe(now, number as i64 * 160);
        }
    }

    #[test]
    fn the_target_covers_the_slow_packets_and_forgets_them() {
        let mut estimator = DelayEstimator::new(8000);
        feed(&mut estimator, 0..20, |_| 0);
        assert_eq!(target(&estimator), 40);
        feed(&mut estimator, 20..200, |_| 0);
        assert_eq!(target(&estimator), 20);
        feed(&mut estimator, 200..700, |number| if number % 10 == 0 { 62 } else { 0 });
        assert_eq!(target(&estimator), 70);
        feed(&mut estimator, 700..3000, |_| 0);
        assert_eq!(target(&estimator), 20);
    }

    #[test]
    fn one_spike_in_a_hundred_is_not_waited_for_and_the_maximum_holds() {
        let mut estimator = DelayEstimator::new(8000);
        feed(&mut estimator, 0..3000, |number| if number % 100 == 50 { 150 } else { 3 });
        assert_eq!(target(&estimator), 20);
        feed(&mut estimator, 3000..6000, |number| if number % 2 == 0 { 900 } else { 0 });
        assert_eq!(target(&estimator), 200);
    }

    #[test]
    fn the_reference_follows_a_drifting_clock() {
        let mut estimator = DelayEstimator::new(8000);
        // 1 ms a second slower: after a minute the transit is 60 ms larger, the delay is not.
        for number in 0..3000_u64 {
            let now = Nanos::from_micros(500_000 + number * 20_020);
            let relative = estimator.observe(now, number as i64 * 160);
            assert!((0..5 * MS).contains(&relative), "{relative}");
        }
        assert_eq!(target(&estimator), 20);
    }
}
