//! One outgoing stream: continuity of sequence number and timestamp.

use crate::packet::{HEADER_LEN, RtpError, RtpHeader};

/// Numbers the packets of one SSRC.
///
/// The timestamp follows the playout clock and never stops: audio advances it by what is sent,
/// [`pause`](Self::pause) by what is not. It therefore stays continuous over engine changes, masks,
/// telephone events and hold, and the first audio after a pause carries the marker.
#[derive(Clone, Debug)]
pub struct RtpSender {
    ssrc: u32,
    sequence: u16,
    timestamp: u32,
    talkspurt_begins: bool,
    packets: u32,
    octets: u32,
}

impl RtpSender {
    /// A stream that begins with these numbers; RFC 3550 section 5.1 wants all three to be random.
    pub fn new(ssrc: u32, first_sequence: u16, first_timestamp: u32) -> Self {
        Self {
            ssrc,
            sequence: first_sequence,
            timestamp: first_timestamp,
            talkspurt_begins: true,
            packets: 0,
            octets: 0,
        }
    }

    /// Header of the next audio packet, which carries `samples` in `payload_len` bytes.
    pub fn audio(&mut self, payload_type: u8, samples: u32, payload_len: usize) -> RtpHeader {
        let header = self.number(payload_type, self.timestamp, self.talkspurt_begins, payload_len);
        self.talkspurt_begins = false;
        self.timestamp = self.timestamp.wrapping_add(samples);
        header
    }

    /// Header of a packet outside the audio timeline: a telephone event, which keeps the timestamp of
    /// its beginning (RFC 4733 section 2.5.1.2). Call [`pause`](Self::pause) for the time it takes.
    pub fn event(&mut self, payload_type: u8, timestamp: u32, marker: bool, payload_len: usize) -> RtpHeader {
        self.number(payload_type, timestamp, marker, payload_len)
    }

    /// Lets `samples` of time pass without audio.
    pub fn pause(&mut self, samples: u32) {
        self.timestamp = self.timestamp.wrapping_add(samples);
        self.talkspurt_begins = true;
    }

    /// Writes header and payload of the next audio packet into `buffer`; returns the length.
    ///
    /// # Errors
    /// [`RtpError::BufferTooSmall`]; nothing is counted then.
    pub fn write_audio(
        &mut self,
        payload_type: u8,
        samples: u32,
        payload: &[u8],
        buffer: &mut [u8],
    ) -> Result<usize, RtpError> {
        let needed = HEADER_LEN + payload.len();
        let available = buffer.len();
        let target = buffer.get_mut(..needed).ok_or(RtpError::BufferTooSmall { needed, available })?;
        self.audio(payload_type, samples, payload.len()).write(target)?;
        target[HEADER_LEN..].copy_from_slice(payload);
        Ok(needed)
    }

    /// Timestamp that the next audio packet will carry.
    pub fn timestamp(&self) -> u32 {
        self.timestamp
    }

    /// The stream's synchronisation source.
    pub fn ssrc(&self) -> u32 {
        self.ssrc
    }

    /// Packets numbered so far, as a sender report counts them (wraps).
    pub fn packets(&self) -> u32 {
        self.packets
    }

    /// Payload bytes numbered so far, as a sender report counts them (wraps).
    pub fn octets(&self) -> u32 {
        self.octets
    }

    fn number(&mut self, payload_type: u8, timestamp: u32, marker: bool, payload_len: usize) -> RtpHeader {
        let sequence = self.sequence;
        self.sequence = sequence.wrapping_add(1);
        self.packets = self.packets.wrapping_add(1);
        self.octets = self.octets.wrapping_add(payload_len as u32);
        RtpHeader { marker, payload_type, sequence, timestamp, ssrc: self.ssrc }
    }
}

#[cfg(test)]
mod tests {
    use super::RtpSender;
    use crate::packet::{RtpError, RtpPacket};

    #[test]
    fn numbers_continue_across_the_wrap() {
        let mut sender = RtpSender::new(7, 0xFFFF, u32::MAX - 159);
        let first = sender.audio(0, 160, 160);
        let second = sender.audio(0, 160, 160);
        assert_eq!((first.sequence, first.timestamp, first.marker), (0xFFFF, u32::MAX - 159, true));
        assert_eq!((second.sequence, second.timestamp, second.marker), (0, 0, false));
        assert_eq!((sender.packets(), sender.octets(), sender.ssrc()), (2, 320, 7));
    }

    #[test]
    fn time_goes_on_in_a_pause_and_the_next_packet_is_marked() {
        let mut sender = RtpSender::new(1, 10, 1000);
        sender.audio(0, 160, 160);
        sender.pause(160);
        sender.pause(160);
        let next = sender.audio(0, 160, 160);
        assert_eq!((next.sequence, next.timestamp, next.marker), (11, 1480, true));
        assert!(!sender.audio(0, 160, 160).marker);
    }

    #[test]
    fn an_event_takes_sequence_numbers_but_no_time() {
        let mut sender = RtpSender::new(1, 10, 1000);
        let begin = sender.timestamp();
        for _ in 0..3 {
            assert_eq!(sender.event(101, begin, false, 4).timestamp, 1000);
            sender.pause(160);
        }
        let next = sender.audio(0, 160, 160);
        assert_eq!((next.sequence, next.timestamp, next.marker), (13, 1480, true));
    }

    #[test]
    fn a_packet_that_does_not_fit_is_not_counted() {
        let mut sender = RtpSender::new(1, 10, 1000);
        let mut small = [0; 20];
        assert_eq!(
            sender.write_audio(0, 160, &[1; 160], &mut small),
            Err(RtpError::BufferTooSmall { needed: 172, available: 20 })
        );
        let mut buffer = [0; 200];
        let length = sender.write_audio(0, 160, &[1; 160], &mut buffer).unwrap();
        let packet = RtpPacket::parse(&buffer[..length]).unwrap();
        assert_eq!((packet.header.sequence, packet.payload), (10, &[1; 160][..]));
        assert_eq!(sender.packets(), 1);
    }
}
