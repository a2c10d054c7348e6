//! The RTP packet, RFC 3550 section 5.1.

use thiserror::Error;

/// Length of the fixed header in bytes; all that this crate writes.
pub const HEADER_LEN: usize = 12;

/// Why a datagram is not the RTP or RTCP that was hoped for.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum RtpError {
    /// The datagram ends inside a part that its header promises.
    #[error("truncated: {needed} bytes are promised, {available} are there")]
    Truncated {
        /// Bytes that the header asks for.
        needed: usize,
        /// Bytes that the datagram has.
        available: usize,
    },
    /// Not version 2: some other protocol, or noise.
    #[error("version {0} instead of 2")]
    Version(u8),
    /// The padding count is zero or larger than what is there to pad.
    #[error("padding of {0} bytes does not fit")]
    Padding(usize),
    /// A compound RTCP packet breaks the rules of RFC 3550 section 6.1 or appendix A.2.
    #[error("malformed RTCP: {0}")]
    Rtcp(&'static str),
    /// The caller's buffer cannot hold what is to be written.
    #[error("buffer too small: {needed} bytes are needed, {available} are there")]
    BufferTooSmall {
        /// Bytes to be written.
        needed: usize,
        /// Bytes of room.
        available: usize,
    },
}

/// The fixed header without its counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RtpHeader {
    /// Set on the first packet of a talkspurt (RFC 3551 section 4.1) or of an event (RFC 4733).
    pub marker: bool,
    /// Payload type, 0 to 127.
    pub payload_type: u8,
    /// Sequence number.
    pub sequence: u16,
    /// Timestamp of the first sample, in units of the payload's clock rate.
    pub timestamp: u32,
    /// Synchronisation source.
    pub ssrc: u32,
}

impl RtpHeader {
    /// Writes the header without CSRC, extension or padding; returns [`HEADER_LEN`].
    ///
    /// # Errors
    /// [`RtpError::BufferTooSmall`] when `buffer` has fewer than 12 bytes.
    pub fn write(&self, buffer: &mut [u8]) -> Result<usize, RtpError> {
        let available = buffer.len();
        let target = buffer
            .first_chunk_mut::<HEADER_LEN>()
            .ok_or(RtpError::BufferTooSmall { needed: HEADER_LEN, available })?;
        target[0] = 2 << 6;
        target[1] = u8::from(self.marker) << 7 | self.payload_type & 0x7F;
        target[2..4].copy_from_slice(&self.sequence.to_be_bytes());
        target[4..8].copy_from_slice(&self.timestamp.to_be_bytes());
        target[8..12].copy_from_slice(&self.ssrc.to_be_bytes());
        Ok(HEADER_LEN)
    }
}

/// A parsed packet; payload and extension borrow from the datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RtpPacket<'a> {
    /// The fixed header.
    pub header: RtpHeader,
    /// Contributing sources, four bytes each in network order, at most 15.
    pub csrcs: &'a [[u8; 4]],
    /// Profile-defined identifier and data of the header extension, if there is one.
    pub extension: Option<(u16, &'a [u8])>,
    /// The payload without padding; may be empty.
    pub payload: &'a [u8],
}

impl<'a> RtpPacket<'a> {
    /// Parses a datagram and checks every promised length against what is there.
    ///
    /// # Errors
    /// [`RtpError::Version`], [`RtpError::Truncated`] or [`RtpError::Padding`].
    pub fn parse(datagram: &'a [u8]) -> Result<Self, RtpError> {
        let (fixed, rest) = datagram
            .split_first_chunk::<HEADER_LEN>()
            .ok_or(RtpError::Truncated { needed: HEADER_LEN, available: datagram.len() })?;
        let version = fixed[0] >> 6;
        if version != 2 {
            return Err(RtpError::Version(version));
        }
        let header = RtpHeader {
            marker: fixed[1] & 0x80 != 0,
            payload_type: fixed[1] & 0x7F,
            sequence: u16::from_be_bytes([fixed[2], fixed[3]]),
            timestamp: u32::from_be_bytes([fixed[4], fixed[5], fixed[6], fixed[7]]),
            ssrc: u32::from_be_bytes([fixed[8], fixed[9], fixed[10], fixed[11]]),
        };
        let (csrcs, rest) = take(rest, usize::from(fixed[0] & 0x0F) * 4, datagram)?;
        let (extension, body) = if fixed[0] & 0x10 == 0 {
            (None, rest)
        } else {
            let (prefix, rest) = take(rest, 4, datagram)?;
            let words = usize::from(u16::from_be_bytes([prefix[2], prefix[3]]));
            let (data, rest) = take(rest, words * 4, datagram)?;
            (Some((u16::from_be_bytes([prefix[0], prefix[1]]), data)), rest)
        };
        let payload = if fixed[0] & 0x20 == 0 {
            body
        } else {
            let padding = usize::from(body.last().copied().unwrap_or(0));
            if padding == 0 || padding > body.len() {
                return Err(RtpError::Padding(padding));
            }
            &body[..body.len() - padding]
        };
        Ok(Self { header, csrcs: csrcs.as_chunks().0, extension, payload })
    }
}

fn take<'a>(rest: &'a [u8], count: usize, datagram: &[u8]) -> Result<(&'a [u8], &'a [u8]), RtpError> {
    rest.split_at_checked(count)
        .ok_or(RtpError::Truncated { needed: datagram.len() - rest.len() + count, available: datagram.len() })
}

/// Whether a datagram on a multiplexed port is RTCP rather than RTP (RFC 5761 section 4).
///
/// It looks at the packet type only; what it calls RTCP may still be malformed.
pub fn is_rtcp(datagram: &[u8]) -> bool {
    datagram.get(1).is_some_and(|packet_type| (192..=223).contains(packet_type))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{HEADER_LEN, RtpError, RtpHeader, RtpPacket, is_rtcp};

    const PLAIN: [u8; 12] = [0x80, 0x80, 0x12, 0x34, 0, 0, 0, 160, 0xDE, 0xAD, 0xBE, 0xEF];

    #[test]
    fn reads_the_fixed_header() {
        let datagram = [&PLAIN[..], &[1, 2, 3]].concat();
        let packet = RtpPacket::parse(&datagram).unwrap();
        assert_eq!(
            packet.header,
            RtpHeader { marker: true, payload_type: 0, sequence: 0x1234, timestamp: 160, ssrc: 0xDEAD_BEEF }
        );
        assert_eq!((packet.csrcs.len(), packet.extension, packet.payload), (0, None, &[1, 2, 3][..]));
    }

    #[test]
    fn skips_csrcs_extension_and_padding() {
        let mut datagram = PLAIN.to_vec();
        datagram[0] = 0x80 | 0x20 | 0x10 | 2;
        datagram.extend([0, 0, 0, 1, 0, 0, 0, 2]);
        datagram.extend([0xBE, 0xDE, 0, 1, 9, 9, 9, 9]);
        datagram.extend([5, 6, 0, 0, 3]);
        let packet = RtpPacket::parse(&datagram).unwrap();
        assert_eq!(packet.csrcs, [[0, 0, 0, 1], [0, 0, 0, 2]]);
        assert_eq!(packet.extension, Some((0xBEDE, &[9, 9, 9, 9][..])));
        assert_eq!(packet.payload, [5, 6]);
    }

    #[test]
    fn padding_may_take_the_whole_payload_but_no_more() {
        let mut datagram = PLAIN.to_vec();
        datagram[0] |= 0x20;
        assert_eq!(RtpPacket::parse(&datagram), Err(RtpError::Padding(0)));
        datagram.extend([0, 2]);
        assert_eq!(RtpPacket::parse(&datagram).unwrap().payload, []);
        *datagram.last_mut().unwrap() = 3;
        assert_eq!(RtpPacket::parse(&datagram), Err(RtpError::Padding(3)));
        *datagram.last_mut().unwrap() = 0;
        assert_eq!(RtpPacket::parse(&datagram), Err(RtpError::Padding(0)));
    }

    #[test]
    fn every_promise_beyond_the_end_is_an_error() {
        let mut full = PLAIN.to_vec();
        full[0] = 0x80 | 0x10 | 3;
        full.extend([0; 12]);
        full.extend([0, 0, 0, 2, 1, 1, 1, 1, 2, 2, 2, 2]);
        for length in 0..full.len() {
            assert!(
                matches!(RtpPacket::parse(&full[..length]), Err(RtpError::Truncated { needed, available })
                    if needed > available && available == length),
                "{length} bytes"
            );
        }
        assert_eq!(RtpPacket::parse(&full).unwrap().payload, []);
    }

    #[test]
    fn refuses_other_versions() {
        for version in [0_u8, 1, 3] {
            let mut datagram = PLAIN;
            datagram[0] = version << 6;
            assert_eq!(RtpPacket::parse(&datagram), Err(RtpError::Version(version)));
        }
    }

    #[test]
    fn tells_rtcp_from_rtp_with_any_marker_and_static_payload_type() {
        assert!(is_rtcp(&[0x80, 200]) && is_rtcp(&[0x80, 207]));
        assert!(!is_rtcp(&[0x80]));
        for payload_type in [0_u8, 8, 13, 34, 96, 127] {
            assert!(!is_rtcp(&[0x80, payload_type]) && !is_rtcp(&[0x80, 0x80 | payload_type]));
        }
    }

    #[test]
    fn a_short_buffer_is_reported() {
        let header = RtpPacket::parse(&PLAIN).unwrap().header;
        assert_eq!(
            header.write(&mut [0; 11]),
            Err(RtpError::BufferTooSmall { needed: HEADER_LEN, available: 11 })
        );
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(marker: bool, payload_type in 0_u8..128, sequence: u16, timestamp: u32,
                                   ssrc: u32, payload: Vec<u8>) {
            let header = RtpHeader { marker, payload_type, sequence, timestamp, ssrc };
            let mut datagram = vec![0; HEADER_LEN];
            prop_assert_eq!(header.write(&mut datagram), Ok(HEADER_LEN));
            datagram.extend(&payload);
            let packet = RtpPacket::parse(&datagram).unwrap();
            prop_assert_eq!(packet.header, header);
            prop_assert_eq!(packet.payload, &payload[..]);
        }

        #[test]
        fn a_parsed_payload_lies_inside_the_datagram(datagram: Vec<u8>) {
            if let Ok(packet) = RtpPacket::parse(&datagram) {
                prop_assert!(HEADER_LEN + packet.csrcs.len() * 4 + packet.payload.len() <= datagram.len());
            }
        }
    }
}
