//! RTCP: compound packets, round trips and the interval between reports (RFC 3550 section 6).

mod build;
mod parse;
mod schedule;

pub use build::CompoundBuilder;
pub use parse::{Compound, ReportBlocks, RtcpPacket, SdesChunk};
pub use schedule::{RtcpSchedule, interval};

use crate::time::Nanos;

/// Most report blocks of one SR or RR: the count has five bits.
pub const MAX_REPORT_BLOCKS: usize = 31;

pub(crate) const SENDER_REPORT: u8 = 200;
pub(crate) const RECEIVER_REPORT: u8 = 201;
pub(crate) const SOURCE_DESCRIPTION: u8 = 202;
pub(crate) const GOODBYE: u8 = 203;
pub(crate) const SDES_CNAME: u8 = 1;

/// A 64-bit NTP timestamp: seconds since 1900 and their binary fraction (RFC 3550 section 4).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct NtpTime(pub u64);

impl NtpTime {
    /// Seconds from 1900 to 1970.
    const UNIX_EPOCH_SECONDS: u64 = 2_208_988_800;

    /// From nanoseconds since the Unix epoch. Any clock that advances steadily serves as well: only
    /// differences are used for round trips.
    pub const fn from_unix(since_epoch: Nanos) -> Self {
        let seconds = since_epoch.0 / 1_000_000_000 + Self::UNIX_EPOCH_SECONDS;
        let fraction = ((since_epoch.0 % 1_000_000_000) << 32) / 1_000_000_000;
        Self(seconds << 32 | fraction)
    }

    /// The middle 32 bits, in units of 1/65536 s, as LSR carries them.
    pub const fn middle(self) -> u32 {
        (self.0 >> 16) as u32
    }
}

/// What a sender says of its own stream in an SR.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SenderInfo {
    /// Wall clock at the moment of the report.
    pub ntp: NtpTime,
    /// The same moment on the RTP timeline.
    pub rtp_timestamp: u32,
    /// Packets sent since the stream began.
    pub packets: u32,
    /// Payload bytes sent since the stream began.
    pub octets: u32,
}

/// What a receiver says of one source in an SR or RR.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReportBlock {
    /// The source that is reported on.
    pub ssrc: u32,
    /// Lost in the last interval, in 1/256.
    pub fraction_lost: u8,
    /// Lost since the beginning; 24 bits with sign.
    pub cumulative_lost: i32,
    /// Highest sequence number, extended by its wraps.
    pub highest_sequence: u32,
    /// Interarrival jitter in units of the clock rate.
    pub jitter: u32,
    /// LSR: middle 32 bits of the last SR's NTP timestamp; 0 when none came.
    pub last_sender_report: u32,
    /// DLSR: time since that SR in 1/65536 s; 0 when none came.
    pub delay_since_last_sender_report: u32,
}

impl ReportBlock {
    /// Round-trip time to the reporter (RFC 3550 section 6.4.1): `arrival` is when this block came.
    ///
    /// `None` when the reporter had no sender report of ours yet or the numbers make no sense, as
    /// when a peer's DLSR is longer than the whole round trip.
    pub fn round_trip(&self, arrival: NtpTime) -> Option<Nanos> {
        if self.last_sender_report == 0 {
            return None;
        }
        let elapsed = arrival.middle().wrapping_sub(self.last_sender_report);
        let units = elapsed.checked_sub(self.delay_since_last_sender_report)?;
        // An LSR that never was ours shows as a round trip of hours.
        (units < 60 << 16).then(|| Nanos::from_samples(u64::from(units), 65_536))
    }
}

#[cfg(test)]
mod tests {
    use super::{NtpTime, ReportBlock};
    use crate::time::Nanos;

    #[test]
    fn ntp_counts_from_1900() {
        let ntp = NtpTime::from_unix(Nanos::from_millis(1500));
        assert_eq!(ntp.0, (2_208_988_801 << 32) | 0x8000_0000);
        assert_eq!(ntp.middle(), 0x7E81_8000);
    }

    #[test]
    fn the_example_of_the_specification() {
        // RFC 3550 figure 2: A = 0xb710:8000, DLSR = 5.25 s, LSR = 0xb705:2000, so 6.125 s.
        let block = ReportBlock {
            last_sender_report: 0xB705_2000,
            delay_since_last_sender_report: 0x0005_4000,
            ..ReportBlock::default()
        };
        assert_eq!(block.round_trip(NtpTime(0xB710_8000 << 16)), Some(Nanos::from_millis(6125)));
    }

    #[test]
    fn nonsense_is_no_round_trip() {
        let mut block = ReportBlock { last_sender_report: 0, ..ReportBlock::default() };
        assert_eq!(block.round_trip(NtpTime(1 << 40)), None);
        block.last_sender_report = 0xB710_0000;
        block.delay_since_last_sender_report = 0x9000;
        assert_eq!(block.round_trip(NtpTime(0xB710_8000 << 16)), None);
        block.last_sender_report = 0x0100_0000;
        assert_eq!(block.round_trip(NtpTime(0xB710_8000 << 16)), None);
    }
}
