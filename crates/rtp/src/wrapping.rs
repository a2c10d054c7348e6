//! Distances on counters that wrap.

/// Signed distance from sequence number `from` to `to`: positive when `to` is newer.
///
/// Right for distances below 2^15 (RFC 3550 appendix A.1 needs far less).
pub const fn sequence_distance(from: u16, to: u16) -> i16 {
    to.wrapping_sub(from) as i16
}

/// Signed distance in samples from RTP timestamp `from` to `to`: positive when `to` is later.
///
/// Right for distances below 2^31, which is 74 hours at 8 kHz.
pub const fn timestamp_distance(from: u32, to: u32) -> i32 {
    to.wrapping_sub(from) as i32
}

#[cfg(test)]
mod tests {
    use super::{sequence_distance, timestamp_distance};

    #[test]
    fn distances_cross_the_wrap() {
        assert_eq!(sequence_distance(0xFFFF, 2), 3);
        assert_eq!(sequence_distance(2, 0xFFFF), -3);
        assert_eq!(timestamp_distance(u32::MAX, 159), 160);
        assert_eq!(timestamp_distance(159, u32::MAX), -160);
    }
}
