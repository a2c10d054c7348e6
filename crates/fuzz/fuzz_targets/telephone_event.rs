//! Event packets in any order: never more digits than packets, and a digit ends.
#![no_main]

use libfuzzer_sys::fuzz_target;
use trunkline_rtp::telephone_event::DigitReceiver;
use trunkline_rtp::{Nanos, RtpHeader, RtpPacket};

fuzz_target!(|packets: Vec<(u16, u32, bool, [u8; 4])>| {
    let mut receiver = DigitReceiver::new(8000);
    let mut now = Nanos::ZERO;
    let (mut heard, count) = (0, packets.len());
    for (wait, timestamp, other, payload) in packets {
        now += Nanos::from_millis(u64::from(wait));
        heard += usize::from(receiver.poll(now).is_some());
        let ssrc = u32::from(other);
        let header = RtpHeader { marker: false, payload_type: 101, sequence: 0, timestamp, ssrc };
        let packet = RtpPacket { header, csrcs: &[], extension: None, payload: &payload };
        heard += receiver.receive(now, &packet).count();
    }
    heard += usize::from(receiver.poll(Nanos::MAX).is_some());
    assert!(heard <= count && !receiver.is_pressed());
});
