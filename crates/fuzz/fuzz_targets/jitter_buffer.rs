//! Any packets at any time: bounded, and empty after a while.
#![no_main]

use libfuzzer_sys::fuzz_target;
use trunkline_rtp::{JitterBuffer, JitterConfig, Nanos, RtpHeader, RtpPacket};

fuzz_target!(|steps: Vec<(u8, u8, u16, u32, u16)>| {
    let mut buffer = JitterBuffer::new(JitterConfig::g711());
    let mut now = Nanos::from_secs(1);
    let payload = [0; 600];
    for (kind, wait, sequence, timestamp, length) in steps {
        now += Nanos::from_millis(u64::from(wait));
        let header =
            RtpHeader { marker: false, payload_type: 0, sequence, timestamp, ssrc: u32::from(kind >> 6) };
        match kind & 7 {
            0 => buffer.note_foreign(&header),
            1..=3 => {
                let payload = &payload[..usize::from(length).min(payload.len())];
                buffer.push(now, &RtpPacket { header, csrcs: &[], extension: None, payload });
            }
            _ => assert!((1..=480).contains(&buffer.pop(now).samples())),
        }
        buffer.set_quiet(kind & 8 != 0);
        assert!(buffer.len() <= 32);
    }
    for _ in 0..200 {
        now += Nanos::from_millis(20);
        buffer.pop(now);
    }
    assert!(buffer.is_empty());
});
