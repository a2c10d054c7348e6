//! Writes compound packets into the caller's buffer.

use super::{
    GOODBYE, MAX_REPORT_BLOCKS, RECEIVER_REPORT, ReportBlock, SDES_CNAME, SENDER_REPORT, SOURCE_DESCRIPTION,
    SenderInfo,
};
use crate::packet::RtpError;

/// Appends packets to a compound; begin with a report, as RFC 3550 section 6.1 demands.
///
/// ```
/// use trunkline_rtp::rtcp::{CompoundBuilder, SenderInfo};
///
/// let mut buffer = [0; 128];
/// let mut compound = CompoundBuilder::new(&mut buffer);
/// compound.sender_report(7, &SenderInfo::default(), &[])?;
/// compound.cname(7, "call-1@trunkline")?;
/// let length = compound.finish();
/// assert_eq!(length % 4, 0);
/// # Ok::<(), trunkline_rtp::RtpError>(())
/// ```
#[derive(Debug)]
pub struct CompoundBuilder<'a> {
    buffer: &'a mut [u8],
    length: usize,
}

impl<'a> CompoundBuilder<'a> {
    /// An empty compound at the beginning of `buffer`.
    pub fn new(buffer: &'a mut [u8]) -> Self {
        Self { buffer, length: 0 }
    }

    /// Appends an SR; at most [`MAX_REPORT_BLOCKS`] blocks are written.
    ///
    /// # Errors
    /// [`RtpError::BufferTooSmall`]; the compound is unchanged then.
    pub fn sender_report(
        &mut self,
        ssrc: u32,
        info: &SenderInfo,
        blocks: &[ReportBlock],
    ) -> Result<(), RtpError> {
        let blocks = &blocks[..blocks.len().min(MAX_REPORT_BLOCKS)];
        let mut packet = self.packet(SENDER_REPORT, blocks.len() as u8, 24 + 24 * blocks.len())?;
        packet.u32(ssrc);
        packet.bytes(&info.ntp.0.to_be_bytes());
        packet.u32(info.rtp_timestamp);
        packet.u32(info.packets);
        packet.u32(info.octets);
        for block in blocks {
            packet.report_block(block);
        }
        Ok(())
    }

    /// Appends an RR; at most [`MAX_REPORT_BLOCKS`] blocks are written.
    ///
    /// # Errors
    /// [`RtpError::BufferTooSmall`]; the compound is unchanged then.
    pub fn receiver_report(&mut self, ssrc: u32, blocks: &[ReportBlock]) -> Result<(), RtpError> {
        let blocks = &blocks[..blocks.len().min(MAX_REPORT_BLOCKS)];
        let mut packet = self.packet(RECEIVER_REPORT, blocks.len() as u8, 4 + 24 * blocks.len())?;
        packet.u32(ssrc);
        for block in blocks {
            packet.report_block(block);
        }
        Ok(())
    }

    /// Appends an SDES packet with the canonical name of `ssrc`, cut after 255 bytes.
    ///
    /// # Errors
    /// [`RtpError::BufferTooSmall`]; the compound is unchanged then.
    pub fn cname(&mut self, ssrc: u32, name: &str) -> Result<(), RtpError> {
        let name = &name.as_bytes()[..name.len().min(255)];
        // At least one zero byte ends the list of items, then zeros to the next word.
        let chunk = (4 + 2 + name.len() + 1).next_multiple_of(4);
        let mut packet = self.packet(SOURCE_DESCRIPTION, 1, chunk)?;
        packet.u32(ssrc);
        packet.bytes(&[SDES_CNAME, name.len() as u8]);
        packet.bytes(name);
        Ok(())
    }

    /// Appends a BYE with a reason, cut after 255 bytes; an empty one is left out.
    ///
    /// # Errors
    /// [`RtpError::BufferTooSmall`]; the compound is unchanged then.
    pub fn goodbye(&mut self, ssrc: u32, reason: &str) -> Result<(), RtpError> {
        let reason = &reason.as_bytes()[..reason.len().min(255)];
        let tail = if reason.is_empty() { 0 } else { (1 + reason.len()).next_multiple_of(4) };
        let mut packet = self.packet(GOODBYE, 1, 4 + tail)?;
        packet.u32(ssrc);
        if !reason.is_empty() {
            packet.bytes(&[reason.len() as u8]);
            packet.bytes(reason);
        }
        Ok(())
    }

    /// Length of the compound in bytes.
    pub fn finish(self) -> usize {
        self.length
    }

    /// Writes a packet's header and zeroes its body.
    fn packet(&mut self, packet_type: u8, count: u8, body: usize) -> Result<Writer<'_>, RtpError> {
        let needed = self.length + 4 + body;
        let available = self.buffer.len();
        let target =
            self.buffer.get_mut(self.length..needed).ok_or(RtpError::BufferTooSmall { needed, available })?;
        target.fill(0);
        let mut writer = Writer { target, at: 0 };
        writer.bytes(&[2 << 6 | count, packet_type]);
        writer.bytes(&((body / 4) as u16).to_be_bytes());
        self.length = needed;
        Ok(writer)
    }
}

/// Writes into a slice that was measured before.
struct Writer<'a> {
    target: &'a mut [u8],
    at: usize,
}

impl Writer<'_> {
    fn bytes(&mut self, bytes: &[u8]) {
        self.target[self.at..self.at + bytes.len()].copy_from_slice(bytes);
        self.at += bytes.len();
    }

    fn u32(&mut self, value: u32) {
        self.bytes(&value.to_be_bytes());
    }

    fn report_block(&mut self, block: &ReportBlock) {
        let lost = block.cumulative_lost.clamp(-0x80_0000, 0x7F_FFFF) as u32 & 0xFF_FFFF;
        self.u32(block.ssrc);
        self.u32(u32::from(block.fraction_lost) << 24 | lost);
        self.u32(block.highest_sequence);
        self.u32(block.jitter);
        self.u32(block.last_sender_report);
        self.u32(block.delay_since_last_sender_report);
    }
}

#[cfg(test)]
mod tests {
    use super::CompoundBuilder;
    use crate::packet::RtpError;
    use crate::rtcp::{ReportBlock, SenderInfo};

    #[test]
    fn a_packet_that_does_not_fit_leaves_the_compound_as_it_was() {
        let mut buffer = [0; 40];
        let mut compound = CompoundBuilder::new(&mut buffer);
        compound.receiver_report(1, &[ReportBlock::default()]).unwrap();
        assert_eq!(
            compound.cname(1, "name"),
            Err(RtpError::BufferTooSmall { needed: 32 + 16, available: 40 })
        );
        assert_eq!(compound.finish(), 32);
    }

    #[test]
    fn more_blocks_than_the_count_can_say_are_cut() {
        let mut buffer = [0; 2000];
        let mut compound = CompoundBuilder::new(&mut buffer);
        compound.sender_report(1, &SenderInfo::default(), &[ReportBlock::default(); 40]).unwrap();
        assert_eq!(compound.finish(), 28 + 31 * 24);
        assert_eq!(buffer[0], 0x80 | 31);
    }
}
