//! When to send the next report: RFC 3550 section 6.3 for a session of two.

use crate::time::Nanos;

/// Least time between reports before randomisation.
const MINIMUM: Nanos = Nanos::from_secs(5);
/// Compensates for the reconsideration that lowers the average: e - 3/2.
const COMPENSATION: f64 = 1.218_28;
/// Lower-layer header in the size of a packet: IPv4 and UDP.
const LOWER_LAYERS: usize = 28;

/// Interval to the next report (appendix A.7).
///
/// `bandwidth` is RTCP's share in bytes a second, `average_size` in bytes with lower-layer headers;
/// `random` lies in 0 to 1. Halved before the first report.
pub fn interval(
    members: u32,
    senders: u32,
    bandwidth: f64,
    we_sent: bool,
    average_size: f64,
    initial: bool,
    random: f64,
) -> Nanos {
    let minimum = if initial { MINIMUM.as_secs_f64() / 2.0 } else { MINIMUM.as_secs_f64() };
    // Senders share a quarter of the bandwidth while they are at most a quarter of the members.
    let (share, count) = if f64::from(senders) <= f64::from(members) * 0.25 {
        if we_sent { (0.25, senders) } else { (0.75, members - senders) }
    } else {
        (1.0, members)
    };
    let bandwidth = (bandwidth * share).max(1.0);
    let deterministic = (average_size * f64::from(count) / bandwidth).max(minimum);
    let seconds = deterministic * (random.clamp(0.0, 1.0) + 0.5) / COMPENSATION;
    Nanos((seconds * 1e9) as u64)
}

/// Decides when this side of a call reports.
#[derive(Clone, Debug)]
pub struct RtcpSchedule {
    due: Nanos,
    initial: bool,
    bandwidth: f64,
    average_size: f64,
    random: u64,
}

impl RtcpSchedule {
    /// Begins at `now`; `session_bandwidth` of the RTP stream in bytes a second, of which RTCP gets
    /// five per cent. `seed` must differ between calls, or they all report in the same moment.
    pub fn new(now: Nanos, session_bandwidth: u32, seed: u64) -> Self {
        let mut schedule = Self {
            due: now,
            initial: true,
            bandwidth: f64::from(session_bandwidth) * 0.05,
            average_size: 100.0,
            random: seed | 1,
        };
        schedule.due = now + schedule.next_interval();
        schedule
    }

    /// When [`poll`](Self::poll) wants to be called.
    pub fn next_timeout(&self) -> Nanos {
        self.due
    }

    /// Whether a report is due; the next one is then scheduled.
    pub fn poll(&mut self, now: Nanos) -> bool {
        if now < self.due {
            return false;
        }
        self.initial = false;
        self.due = now + self.next_interval();
        true
    }

    /// Notes the size of a compound that was sent or received, without lower-layer headers.
    pub fn observe(&mut self, length: usize) {
        self.average_size += ((length + LOWER_LAYERS) as f64 - self.average_size) / 16.0;
    }

    fn next_interval(&mut self) -> Nanos {
        // Xorshift64: spreads reports, protects nothing.
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        let random = (self.random >> 11) as f64 / (1_u64 << 53) as f64;
        interval(2, 2, self.bandwidth, true, self.average_size, self.initial, random)
    }
}

#[cfg(test)]
mod tests {
    use super::{RtcpSchedule, interval};
    use crate::time::Nanos;

    #[test]
    fn a_call_reports_about_every_five_seconds() {
        for (random, seconds) in [(0.0, 2.052), (0.5, 4.104), (1.0, 6.156)] {
            let interval = interval(2, 2, 400.0, true, 100.0, false, random).as_secs_f64();
            assert!((interval - seconds).abs() < 0.01, "{random}: {interval}");
        }
    }

    #[test]
    fn a_large_session_shares_its_bandwidth() {
        let listener = interval(1000, 10, 400.0, false, 100.0, false, 0.5).as_secs_f64();
        assert!((listener - 990.0 * 100.0 / 300.0 / 1.21828).abs() < 0.1, "{listener}");
        let sender = interval(1000, 10, 400.0, true, 100.0, false, 0.5).as_secs_f64();
        assert!((sender - 10.0 * 100.0 / 100.0 / 1.21828).abs() < 0.1, "{sender}");
    }

    #[test]
    fn the_first_report_comes_early_and_all_are_spread() {
        let start = Nanos::from_secs(100);
        let mut schedule = RtcpSchedule::new(start, 8000, 0x5EED);
        let first = schedule.next_timeout() - start;
        assert!((1.02..=3.08).contains(&first.as_secs_f64()), "{first}");
        assert!(!schedule.poll(start));
        let mut last = schedule.next_timeout();
        for _ in 0..200 {
            assert!(schedule.poll(last));
            schedule.observe(100);
            let gap = (schedule.next_timeout() - last).as_secs_f64();
            assert!((2.05..=6.16).contains(&gap), "{gap}");
            last = schedule.next_timeout();
        }
        let average = (last - start).as_secs_f64() / 200.0;
        assert!((3.8..=4.4).contains(&average), "{average}");
    }
}
