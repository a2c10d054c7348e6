//! Reads compound packets; everything borrows from the datagram.

use super::{
    GOODBYE, NtpTime, RECEIVER_REPORT, ReportBlock, SDES_CNAME, SENDER_REPORT, SOURCE_DESCRIPTION, SenderInfo,
};
use crate::packet::RtpError;

/// One packet of a compound.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RtcpPacket<'a> {
    /// SR.
    SenderReport {
        /// The sender.
        ssrc: u32,
        /// Its own stream.
        info: SenderInfo,
        /// The sources it hears.
        blocks: ReportBlocks<'a>,
    },
    /// RR.
    ReceiverReport {
        /// The reporter.
        ssrc: u32,
        /// The sources it hears.
        blocks: ReportBlocks<'a>,
    },
    /// SDES; chunks without a CNAME are there with an empty name.
    SourceDescription {
        /// One chunk for each source.
        chunks: &'a [u8],
    },
    /// BYE.
    Goodbye {
        /// Sources that left, four bytes each in network order.
        ssrcs: &'a [[u8; 4]],
        /// Reason, not necessarily UTF-8; often empty.
        reason: &'a [u8],
    },
    /// Some other type (APP, feedback, XR): skipped.
    Other {
        /// Its packet type.
        packet_type: u8,
    },
}

/// A checked compound: iterate over it to get its packets.
#[derive(Clone, Debug)]
pub struct Compound<'a> {
    rest: &'a [u8],
}

impl<'a> Compound<'a> {
    /// Checks the whole datagram before anything of it is used (RFC 3550 appendix A.2): versions,
    /// lengths, padding only in the last packet, counts that fit.
    ///
    /// The first packet need not be a report (RFC 5506).
    ///
    /// # Errors
    /// [`RtpError::Truncated`], [`RtpError::Version`], [`RtpError::Padding`] or [`RtpError::Rtcp`].
    pub fn parse(datagram: &'a [u8]) -> Result<Self, RtpError> {
        let mut rest = datagram;
        loop {
            let (packet, after) = split(rest)?;
            if packet.padded && !after.is_empty() {
                return Err(RtpError::Rtcp("padding before the last packet"));
            }
            packet.read()?;
            if after.is_empty() {
                return Ok(Self { rest: datagram });
            }
            rest = after;
        }
    }
}

impl<'a> Iterator for Compound<'a> {
    type Item = RtcpPacket<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let (packet, after) = split(self.rest).expect("parse() walked the same bytes");
        self.rest = after;
        Some(packet.read().expect("parse() read the same packet"))
    }
}

/// Report blocks of an SR or RR.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReportBlocks<'a>(&'a [[u8; 24]]);

impl Iterator for ReportBlocks<'_> {
    type Item = ReportBlock;

    fn next(&mut self) -> Option<ReportBlock> {
        let (block, rest) = self.0.split_first()?;
        self.0 = rest;
        let lost = u32_at(block, 4);
        Some(ReportBlock {
            ssrc: u32_at(block, 0),
            fraction_lost: (lost >> 24) as u8,
            // Shifted up and back down to carry the sign of 24 bits.
            cumulative_lost: (lost << 8) as i32 >> 8,
            highest_sequence: u32_at(block, 8),
            jitter: u32_at(block, 12),
            last_sender_report: u32_at(block, 16),
            delay_since_last_sender_report: u32_at(block, 20),
        })
    }
}

/// One source's description.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SdesChunk<'a> {
    /// The source.
    pub ssrc: u32,
    /// Canonical name, not necessarily UTF-8; empty when the chunk has none.
    pub cname: &'a [u8],
}

impl<'a> RtcpPacket<'a> {
    /// The chunks of an SDES packet; nothing for other packets.
    pub fn sdes_chunks(&self) -> impl Iterator<Item = SdesChunk<'a>> + use<'a> {
        let mut rest = match self {
            Self::SourceDescription { chunks } => chunks,
            _ => &[][..],
        };
        std::iter::from_fn(move || {
            // Ends at the end; chunks that did not come from `Compound` may also end in nonsense.
            let (chunk, after) = sdes_chunk(rest).ok()?;
            rest = after;
            Some(chunk)
        })
    }
}

/// A packet whose lengths are known to fit, padding removed.
struct RawPacket<'a> {
    count: usize,
    packet_type: u8,
    padded: bool,
    body: &'a [u8],
}

fn split(rest: &[u8]) -> Result<(RawPacket<'_>, &[u8]), RtpError> {
    let available = rest.len();
    let (header, _) = rest.split_first_chunk::<4>().ok_or(RtpError::Truncated { needed: 4, available })?;
    if header[0] >> 6 != 2 {
        return Err(RtpError::Version(header[0] >> 6));
    }
    let needed = 4 + 4 * usize::from(u16::from_be_bytes([header[2], header[3]]));
    let (packet, after) = rest.split_at_checked(needed).ok_or(RtpError::Truncated { needed, available })?;
    let mut body = &packet[4..];
    let padded = header[0] & 0x20 != 0;
    if padded {
        let padding = usize::from(body.last().copied().unwrap_or(0));
        if padding == 0 || padding > body.len() || !padding.is_multiple_of(4) {
            return Err(RtpError::Padding(padding));
        }
        body = &body[..body.len() - padding];
    }
    Ok((RawPacket { count: usize::from(header[0] & 0x1F), packet_type: header[1], padded, body }, after))
}

impl<'a> RawPacket<'a> {
    fn read(&self) -> Result<RtcpPacket<'a>, RtpError> {
        match self.packet_type {
            SENDER_REPORT => {
                let (fixed, rest) =
                    self.body.split_first_chunk::<24>().ok_or(RtpError::Rtcp("short sender report"))?;
                let info = SenderInfo {
                    ntp: NtpTime(u64::from(u32_at(fixed, 4)) << 32 | u64::from(u32_at(fixed, 8))),
                    rtp_timestamp: u32_at(fixed, 12),
                    packets: u32_at(fixed, 16),
                    octets: u32_at(fixed, 20),
                };
                Ok(RtcpPacket::SenderReport { ssrc: u32_at(fixed, 0), info, blocks: self.blocks(rest)? })
            }
            RECEIVER_REPORT => {
                let (fixed, rest) =
                    self.body.split_first_chunk::<4>().ok_or(RtpError::Rtcp("short receiver report"))?;
                Ok(RtcpPacket::ReceiverReport { ssrc: u32_at(fixed, 0), blocks: self.blocks(rest)? })
            }
            SOURCE_DESCRIPTION => self.source_description(),
            GOODBYE => self.goodbye(),
            packet_type => Ok(RtcpPacket::Other { packet_type }),
        }
    }

    /// Profile-specific extensions after the blocks are allowed and skipped.
    fn blocks(&self, rest: &'a [u8]) -> Result<ReportBlocks<'a>, RtpError> {
        let blocks = rest.as_chunks::<24>().0;
        blocks.get(..self.count).map(ReportBlocks).ok_or(RtpError::Rtcp("fewer report blocks than counted"))
    }

    fn source_description(&self) -> Result<RtcpPacket<'a>, RtpError> {
        let mut rest = self.body;
        for _ in 0..self.count {
            (_, rest) = sdes_chunk(rest)?;
        }
        Ok(RtcpPacket::SourceDescription { chunks: &self.body[..self.body.len() - rest.len()] })
    }

    fn goodbye(&self) -> Result<RtcpPacket<'a>, RtpError> {
        let (ssrcs, rest) = self
            .body
            .split_at_checked(4 * self.count)
            .ok_or(RtpError::Rtcp("fewer sources than counted in a goodbye"))?;
        let reason = match rest.split_first() {
            None => &[][..],
            Some((&length, text)) => {
                text.get(..usize::from(length)).ok_or(RtpError::Rtcp("reason longer than its goodbye"))?
            }
        };
        Ok(RtcpPacket::Goodbye { ssrcs: ssrcs.as_chunks().0, reason })
    }
}

fn sdes_chunk(chunk: &[u8]) -> Result<(SdesChunk<'_>, &[u8]), RtpError> {
    const SHORT: RtpError = RtpError::Rtcp("source description ends inside a chunk");
    let (ssrc, _) = chunk.split_first_chunk::<4>().ok_or(SHORT)?;
    let mut at = 4;
    let mut cname: &[u8] = &[];
    loop {
        match *chunk.get(at).ok_or(SHORT)? {
            0 => break,
            item => {
                let length = usize::from(*chunk.get(at + 1).ok_or(SHORT)?);
                let text = chunk.get(at + 2..at + 2 + length).ok_or(SHORT)?;
                if item == SDES_CNAME {
                    cname = text;
                }
                at += 2 + length;
            }
        }
    }
    // The list ends with at least one zero and is padded with zeros to a whole word.
    let end = (at + 1).next_multiple_of(4);
    let rest = chunk.get(end..).ok_or(SHORT)?;
    Ok((SdesChunk { ssrc: u32::from_be_bytes(*ssrc), cname }, rest))
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let word = bytes[at..].first_chunk().expect("callers pass fixed-size blocks that hold the offset");
    u32::from_be_bytes(*word)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Compound, RtcpPacket, SdesChunk};
    use crate::packet::RtpError;
    use crate::rtcp::{CompoundBuilder, NtpTime, ReportBlock, SenderInfo};

    fn block() -> impl Strategy<Value = ReportBlock> {
        (any::<[u32; 5]>(), any::<u8>(), -0x80_0000..0x80_0000).prop_map(|(words, fraction_lost, lost)| {
            ReportBlock {
                ssrc: words[0],
                fraction_lost,
                cumulative_lost: lost,
                highest_sequence: words[1],
                jitter: words[2],
                last_sender_report: words[3],
                delay_since_last_sender_report: words[4],
            }
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn what_is_built_is_parsed(blocks in proptest::collection::vec(block(), 0..4), ntp: u64, words: [u32; 4],
                                   name in "[a-z@.]{0,40}", reason in "[a-z ]{0,20}") {
            let info = SenderInfo { ntp: NtpTime(ntp), rtp_timestamp: words[0], packets: words[1], octets: words[2] };
            let mut buffer = [0xAA; 512];
            let mut builder = CompoundBuilder::new(&mut buffer);
            builder.sender_report(words[3], &info, &blocks).unwrap();
            builder.receiver_report(words[3], &blocks).unwrap();
            builder.cname(words[3], &name).unwrap();
            builder.goodbye(words[3], &reason).unwrap();
            let length = builder.finish();

            let packets: Vec<_> = Compound::parse(&buffer[..length]).unwrap().collect();
            prop_assert_eq!(packets.len(), 4);
            let RtcpPacket::SenderReport { ssrc, info: read, blocks: list } = packets[0].clone() else {
                panic!("{:?}", packets[0])
            };
            prop_assert_eq!((ssrc, read), (words[3], info));
            prop_assert_eq!(&list.collect::<Vec<_>>(), &blocks);
            let RtcpPacket::ReceiverReport { ssrc, blocks: list } = packets[1].clone() else {
                panic!("{:?}", packets[1])
            };
            prop_assert_eq!((ssrc, list.collect::<Vec<_>>()), (words[3], blocks));
            let chunks: Vec<_> = packets[2].sdes_chunks().collect();
            prop_assert_eq!(chunks, [SdesChunk { ssrc: words[3], cname: name.as_bytes() }]);
            prop_assert_eq!(&packets[3], &RtcpPacket::Goodbye {
                ssrcs: &[words[3].to_be_bytes()], reason: reason.as_bytes(),
            });
        }
    }

    #[test]
    fn a_truncated_compound_is_refused_whole() {
        let mut buffer = [0; 200];
        let mut builder = CompoundBuilder::new(&mut buffer);
        builder.receiver_report(1, &[ReportBlock::default()]).unwrap();
        builder.cname(1, "someone@somewhere").unwrap();
        let length = builder.finish();
        for cut in 0..length {
            if cut != 32 {
                assert!(Compound::parse(&buffer[..cut]).is_err(), "{cut} of {length} bytes");
            }
        }
    }

    #[test]
    fn counts_and_items_that_lie_are_refused() {
        let fewer_blocks = [0x82, 201, 0, 1, 0, 0, 0, 1];
        let fewer_sources = [0x82, 203, 0, 1, 0, 0, 0, 1];
        let long_reason = [0x81, 203, 0, 2, 0, 0, 0, 1, 4, b'a', b'b', b'c'];
        let endless_items = [0x81, 202, 0, 2, 0, 0, 0, 1, 1, 2, b'a', b'b'];
        for datagram in [&fewer_blocks[..], &fewer_sources, &long_reason, &endless_items] {
            assert!(matches!(Compound::parse(datagram), Err(RtpError::Rtcp(_))), "{datagram:?}");
        }
    }

    #[test]
    fn padding_belongs_to_the_last_packet() {
        let padded = [0xA0, 201, 0, 2, 0, 0, 0, 1, 0, 0, 0, 4];
        assert_eq!(Compound::parse(&padded).unwrap().count(), 1);
        let twice = [&padded[..], &padded].concat();
        assert!(matches!(Compound::parse(&twice), Err(RtpError::Rtcp(_))));
        let odd = [0xA0, 201, 0, 2, 0, 0, 0, 1, 0, 0, 0, 3];
        assert_eq!(Compound::parse(&odd).unwrap_err(), RtpError::Padding(3));
    }

    #[test]
    fn other_types_are_skipped() {
        let app = [0x80, 204, 0, 2, 0, 0, 0, 1, b'n', b'a', b'm', b'e'];
        let packets: Vec<_> = Compound::parse(&app).unwrap().collect();
        assert_eq!(packets, [RtcpPacket::Other { packet_type: 204 }]);
        assert_eq!(packets[0].sdes_chunks().count(), 0);
    }
}
