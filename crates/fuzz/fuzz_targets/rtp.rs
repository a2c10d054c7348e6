//! A datagram from anywhere: parsing never panics, and slices lie inside the datagram.
#![no_main]

use libfuzzer_sys::fuzz_target;
use trunkline_rtp::{HEADER_LEN, Nanos, ReceiverStats, RtpPacket};

fuzz_target!(|datagrams: Vec<&[u8]>| {
    let mut statistics = ReceiverStats::new(8000);
    for (number, datagram) in datagrams.into_iter().enumerate() {
        let now = Nanos::from_millis(number as u64 * 20);
        if let Ok(packet) = RtpPacket::parse(datagram) {
            assert!(HEADER_LEN + packet.csrcs.len() * 4 + packet.payload.len() <= datagram.len());
            statistics.receive(now, &packet.header);
        }
        statistics.report_block(now);
    }
});
