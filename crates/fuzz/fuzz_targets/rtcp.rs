//! A compound packet from anywhere: what passes the check can be read to its end.
#![no_main]

use libfuzzer_sys::fuzz_target;
use trunkline_rtp::rtcp::{Compound, NtpTime, RtcpPacket};

fuzz_target!(|datagram: &[u8]| {
    let Ok(compound) = Compound::parse(datagram) else { return };
    for packet in compound {
        assert!(packet.sdes_chunks().count() <= 31);
        if let RtcpPacket::SenderReport { blocks, .. } | RtcpPacket::ReceiverReport { blocks, .. } = packet {
            for block in blocks {
                block.round_trip(NtpTime(u64::MAX / 3));
            }
        }
    }
});
