//! Reception statistics of one source: RFC 3550 sections 6.4.1 and A.1, A.3, A.8.

use crate::packet::RtpHeader;
use crate::rtcp::{NtpTime, ReportBlock};
use crate::time::Nanos;
use crate::wrapping::{sequence_distance, timestamp_distance};

/// Packets in order before a source counts as valid (RFC 3550 appendix A.1).
const MIN_SEQUENTIAL: u8 = 2;
/// A larger step forward is a restart or noise, not loss.
const MAX_DROPOUT: i16 = 3000;
/// A packet this far behind the newest is reordered, not a restart.
const MAX_MISORDER: i16 = 100;

/// How a packet was counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received {
    /// Part of a valid stream.
    Counted,
    /// The source is not trusted yet: too few packets in order. Audio may be used all the same.
    Probation,
    /// A jump in sequence that the next packet has to confirm.
    Jump,
    /// The stream began again: a new SSRC, or a confirmed jump. The statistics began again with it.
    Restarted,
}

/// Counts one source's packets and fills report blocks.
#[derive(Clone, Debug)]
pub struct ReceiverStats {
    clock_rate: u32,
    source: Option<Source>,
    last_sender_report: Option<(NtpTime, Nanos)>,
    lost_before: u64,
}

#[derive(Clone, Debug)]
struct Source {
    ssrc: u32,
    probation: u8,
    base_sequence: u16,
    /// Sequence numbers are extended by a count of their wraps.
    highest: u64,
    /// The sequence number that would confirm a jump.
    jump: Option<u16>,
    received: u64,
    expected_prior: u64,
    received_prior: u64,
    /// The last packet's timestamp and arrival; jitter compares with them.
    last: (u32, Nanos),
    /// Interarrival jitter in units of the clock, scaled by 16 as in appendix A.8.
    jitter_scaled: u32,
}

impl ReceiverStats {
    /// Statistics in units of `clock_rate` hertz.
    pub fn new(clock_rate: u32) -> Self {
        Self { clock_rate, source: None, last_sender_report: None, lost_before: 0 }
    }

    /// Counts a packet that arrived at `now`.
    pub fn receive(&mut self, now: Nanos, header: &RtpHeader) -> Received {
        let clock_rate = self.clock_rate;
        let Some(source) = self.source.as_mut().filter(|source| source.ssrc == header.ssrc) else {
            let first = self.source.is_none();
            self.restart(now, header);
            return if first { Received::Probation } else { Received::Restarted };
        };
        let outcome = source.receive(header);
        match outcome {
            Received::Counted => source.measure_jitter(now, header.timestamp, clock_rate),
            Received::Restarted => self.restart(now, header),
            Received::Probation => source.last = (header.timestamp, now),
            Received::Jump => {}
        }
        outcome
    }

    /// Notes a sender report of the source for LSR and DLSR of the next report block.
    pub fn sender_report(&mut self, now: Nanos, ntp: NtpTime) {
        self.last_sender_report = Some((ntp, now));
    }

    /// The report block to send now; `None` while there is no valid source.
    ///
    /// Each call ends an interval of the fraction lost.
    pub fn report_block(&mut self, now: Nanos) -> Option<ReportBlock> {
        let last_sender_report = self.last_sender_report;
        let source = self.source.as_mut().filter(|source| source.probation == 0)?;
        let expected = source.expected();
        let expected_interval = expected - source.expected_prior;
        let received_interval = source.received - source.received_prior;
        source.expected_prior = expected;
        source.received_prior = source.received;
        let fraction_lost = match expected_interval.checked_sub(received_interval) {
            Some(lost) if lost > 0 => (lost * 256 / expected_interval).min(255) as u8,
            _ => 0,
        };
        let (last_report, delay) = last_sender_report.map_or((0, 0), |(ntp, at)| {
            (ntp.middle(), u32::try_from(now.since(at).to_samples(65_536)).unwrap_or(u32::MAX))
        });
        Some(ReportBlock {
            ssrc: source.ssrc,
            fraction_lost,
            // Duplicates can make this negative; the field has 24 bits.
            cumulative_lost: (expected as i64 - source.received as i64).clamp(-0x80_0000, 0x7F_FFFF) as i32,
            highest_sequence: source.highest as u32,
            jitter: source.jitter_scaled >> 4,
            last_sender_report: last_report,
            delay_since_last_sender_report: delay,
        })
    }

    /// The source that is counted, once a packet came.
    pub fn ssrc(&self) -> Option<u32> {
        self.source.as_ref().map(|source| source.ssrc)
    }

    /// Packets expected but not received, over all restarts.
    pub fn lost(&self) -> u64 {
        self.lost_before + self.source.as_ref().map_or(0, Source::lost)
    }

    /// Interarrival jitter.
    pub fn jitter(&self) -> Nanos {
        self.source.as_ref().map_or(Nanos::ZERO, |source| {
            Nanos(Nanos::from_samples(u64::from(source.jitter_scaled), self.clock_rate).0 / 16)
        })
    }

    fn restart(&mut self, now: Nanos, header: &RtpHeader) {
        self.lost_before = self.lost();
        self.last_sender_report = None;
        self.source = Some(Source {
            ssrc: header.ssrc,
            probation: MIN_SEQUENTIAL - 1,
            base_sequence: header.sequence,
            highest: u64::from(header.sequence),
            jump: None,
            received: 1,
            expected_prior: 0,
            received_prior: 0,
            last: (header.timestamp, now),
            jitter_scaled: 0,
        });
    }
}

impl Source {
    fn receive(&mut self, header: &RtpHeader) -> Received {
        let step = sequence_distance(self.highest as u16, header.sequence);
        if self.probation > 0 {
            if step == 1 {
                self.probation -= 1;
                self.highest += 1;
                self.received += 1;
                return if self.probation == 0 { Received::Counted } else { Received::Probation };
            }
            self.probation = MIN_SEQUENTIAL - 1;
            self.base_sequence = header.sequence;
            self.highest = u64::from(header.sequence);
            self.received = 1;
            return Received::Probation;
        }
        if (-MAX_MISORDER..=MAX_DROPOUT).contains(&step) {
            // A packet from before the first one counted would make the loss negative for ever.
            let extended = self.highest.checked_add_signed(i64::from(step));
            if extended.is_none_or(|extended| extended < u64::from(self.base_sequence)) {
                return Received::Jump;
            }
            self.highest = self.highest.max(extended.unwrap_or(0));
            self.received += 1;
            self.jump = None;
            return Received::Counted;
        }
        if self.jump == Some(header.sequence) {
            return Received::Restarted;
        }
        self.jump = Some(header.sequence.wrapping_add(1));
        Received::Jump
    }

    /// Appendix A.8. Packets that share a timestamp (events, video) say nothing about jitter.
    fn measure_jitter(&mut self, now: Nanos, timestamp: u32, clock_rate: u32) {
        let (last_timestamp, last_arrival) = std::mem::replace(&mut self.last, (timestamp, now));
        let advance = i64::from(timestamp_distance(last_timestamp, timestamp));
        if advance == 0 {
            return;
        }
        let arrival = now.since(last_arrival).to_samples(clock_rate) as i64;
        let deviation = (arrival - advance).unsigned_abs();
        // A silent pause with a restarted timestamp is not jitter: more than ten seconds is ignored.
        if deviation > u64::from(clock_rate) * 10 {
            return;
        }
        let decayed = self.jitter_scaled - ((self.jitter_scaled + 8) >> 4);
        self.jitter_scaled = decayed + deviation as u32;
    }

    fn expected(&self) -> u64 {
        self.highest - u64::from(self.base_sequence) + 1
    }

    fn lost(&self) -> u64 {
        if self.probation > 0 { 0 } else { self.expected().saturating_sub(self.received) }
    }
}

#[cfg(test)]
mod tests {
    use super::{Received, ReceiverStats};
    use crate::packet::RtpHeader;
    use crate::rtcp::NtpTime;
    use crate::time::Nanos;

    fn header(sequence: u16, timestamp: u32) -> RtpHeader {
        RtpHeader { marker: false, payload_type: 0, sequence, timestamp, ssrc: 1 }
    }

    /// Packets of 20 ms, each arriving when it is due plus `late_ms`.
    fn stream(stats: &mut ReceiverStats, numbers: impl IntoIterator<Item = (u16, u64)>) {
        for (number, late_ms) in numbers {
            let at = Nanos::from_millis(1000 + 20 * u64::from(number) + late_ms);
            stats.receive(at, &header(number, u32::from(number) * 160));
        }
    }

    #[test]
    fn two_packets_in_order_make_a_source_valid() {
        let mut stats = ReceiverStats::new(8000);
        assert!(stats.report_block(Nanos(1)).is_none());
        assert_eq!(stats.receive(Nanos(1), &header(10, 0)), Received::Probation);
        assert!(stats.report_block(Nanos(2)).is_none());
        assert_eq!(stats.receive(Nanos(3), &header(500, 0)), Received::Probation);
        assert_eq!(stats.receive(Nanos(4), &header(501, 160)), Received::Counted);
        let block = stats.report_block(Nanos(5)).unwrap();
        assert_eq!((block.highest_sequence, block.cumulative_lost, block.fraction_lost), (501, 0, 0));
    }

    #[test]
    fn loss_is_counted_in_total_and_by_interval() {
        let mut stats = ReceiverStats::new(8000);
        stream(&mut stats, (0..100).filter(|number| number % 4 != 3).map(|number| (number, 0)));
        let block = stats.report_block(Nanos::from_secs(4)).unwrap();
        // The last packet, number 99, is missing: nobody can know yet that it was sent.
        assert_eq!((block.cumulative_lost, block.highest_sequence), (24, 98));
        assert_eq!(block.fraction_lost, (24 * 256 / 99) as u8);
        stream(&mut stats, (100..200).map(|number| (number, 0)));
        let block = stats.report_block(Nanos::from_secs(8)).unwrap();
        assert_eq!((block.cumulative_lost, block.fraction_lost), (25, (256 / 101) as u8));
        assert_eq!(stats.lost(), 25);
    }

    #[test]
    fn reordering_and_the_wrap_are_no_loss() {
        let mut stats = ReceiverStats::new(8000);
        for number in [65_533_u16, 65_534, 0, 65_535, 2, 1] {
            stats.receive(Nanos(1), &header(number, 0));
        }
        let block = stats.report_block(Nanos(2)).unwrap();
        assert_eq!((block.highest_sequence, block.cumulative_lost), (0x1_0002, 0));
    }

    #[test]
    fn a_jump_must_be_confirmed() {
        let mut stats = ReceiverStats::new(8000);
        stream(&mut stats, (0..10).map(|number| (number, 0)));
        assert_eq!(stats.receive(Nanos::from_secs(2), &header(20_000, 0)), Received::Jump);
        assert_eq!(stats.receive(Nanos::from_secs(2), &header(10, 1600)), Received::Counted);
        assert_eq!(stats.receive(Nanos::from_secs(2), &header(30_000, 0)), Received::Jump);
        assert_eq!(stats.receive(Nanos::from_secs(2), &header(30_001, 0)), Received::Restarted);
        let mut other = header(5, 5);
        other.ssrc = 2;
        assert_eq!(stats.receive(Nanos::from_secs(2), &other), Received::Restarted);
        assert_eq!((stats.ssrc(), stats.lost()), (Some(2), 0));
    }

    #[test]
    fn even_arrival_has_no_jitter_and_alternating_lateness_has_its_amount() {
        let mut even = ReceiverStats::new(8000);
        stream(&mut even, (0..200).map(|number| (number, 0)));
        assert_eq!(even.jitter(), Nanos::ZERO);
        let mut uneven = ReceiverStats::new(8000);
        stream(&mut uneven, (0..1000).map(|number| (number, u64::from(number % 2) * 10)));
        // Each transit differs by 10 ms from the one before, so the average is 10 ms.
        let jitter = uneven.jitter().as_millis_f64();
        assert!((9.0..=10.5).contains(&jitter), "{jitter}");
    }

    #[test]
    fn packets_of_one_timestamp_do_not_count_as_jitter() {
        let mut stats = ReceiverStats::new(8000);
        stream(&mut stats, (0..50).map(|number| (number, 0)));
        for number in 50..60 {
            stats.receive(Nanos::from_millis(1000 + 20 * number), &header(number as u16, 8000));
        }
        assert_eq!(stats.jitter(), Nanos::ZERO);
    }

    #[test]
    fn a_report_says_how_long_ago_the_sender_report_came() {
        let mut stats = ReceiverStats::new(8000);
        stream(&mut stats, (0..3).map(|number| (number, 0)));
        stats.sender_report(Nanos::from_secs(1), NtpTime(0x1111_2222_3333_4444));
        let block = stats.report_block(Nanos::from_millis(1500)).unwrap();
        assert_eq!((block.last_sender_report, block.delay_since_last_sender_report), (0x2222_3333, 0x8000));
    }
}
