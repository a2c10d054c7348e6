//! Seeded hostile bytes against every parser: the fuzz targets of `crates/fuzz` in miniature.
//!
//! Half of the inputs are noise, half are valid packets with a few bytes changed.

use trunkline_netem::Random;
use trunkline_rtp::rtcp::{Compound, CompoundBuilder, ReportBlock, RtcpPacket, SenderInfo};
use trunkline_rtp::telephone_event::DigitReceiver;
use trunkline_rtp::{
    HEADER_LEN, JitterBuffer, JitterConfig, Nanos, ReceiverStats, RtpPacket, RtpSender, is_rtcp,
};

const CASES: usize = 40_000;

fn mutate(random: &mut Random, datagram: &mut Vec<u8>) {
    for _ in 0..random.below(4) {
        if !datagram.is_empty() {
            let at = random.below(datagram.len() as u64) as usize;
            datagram[at] = random.bits() as u8;
        }
    }
    if random.chance(0.2) {
        datagram.truncate(random.below(datagram.len() as u64 + 1) as usize);
    }
}

fn noise(random: &mut Random, longest: u64) -> Vec<u8> {
    let mut bytes = vec![0; random.below(longest) as usize];
    random.fill(&mut bytes);
    if let Some(first) = bytes.first_mut() {
        // Otherwise three quarters end at the version.
        *first = *first & 0x3F | 0x80;
    }
    bytes
}

#[test]
fn rtp_and_the_jitter_buffer() {
    let mut random = Random::new(1);
    let mut sender = RtpSender::new(1, 0, 0);
    let mut buffer = JitterBuffer::new(JitterConfig::g711());
    let mut statistics = ReceiverStats::new(8000);
    let mut digits = DigitReceiver::new(8000);
    let (mut parsed, mut heard) = (0, 0);
    for case in 0..CASES {
        let now = Nanos::from_millis(case as u64 * 7);
        let mut datagram = vec![0; HEADER_LEN + 160];
        sender.write_audio(0, 160, &[0; 160], &mut datagram).expect("it fits");
        if random.chance(0.5) {
            datagram = noise(&mut random, 700);
        } else {
            mutate(&mut random, &mut datagram);
        }
        if let Ok(packet) = RtpPacket::parse(&datagram) {
            parsed += 1;
            statistics.receive(now, &packet.header);
            heard += digits.receive(now, &packet).count();
            if random.chance(0.1) {
                buffer.note_foreign(&packet.header);
            }
            buffer.push(now, &packet);
        }
        heard += usize::from(digits.poll(now).is_some());
        buffer.set_quiet(random.chance(0.5));
        let piece = buffer.pop(now);
        assert!((1..=480).contains(&piece.samples()), "{piece:?}");
        assert!(buffer.len() <= 32);
        statistics.report_block(now);
    }
    assert!(parsed > CASES / 2, "{parsed}");
    assert!(heard > 0);
}

#[test]
fn rtcp() {
    let mut random = Random::new(2);
    let (mut parsed, mut refused) = (0, 0);
    for _ in 0..CASES {
        let mut buffer = [0; 300];
        let mut builder = CompoundBuilder::new(&mut buffer);
        builder.sender_report(1, &SenderInfo::default(), &[ReportBlock::default(); 2]).expect("it fits");
        builder.cname(1, "fuzz@trunkline").expect("it fits");
        builder.goodbye(1, "done").expect("it fits");
        let length = builder.finish();
        let mut datagram = buffer[..length].to_vec();
        if random.chance(0.3) {
            datagram = noise(&mut random, 200);
        } else {
            mutate(&mut random, &mut datagram);
        }
        is_rtcp(&datagram);
        match Compound::parse(&datagram) {
            Ok(compound) => {
                parsed += 1;
                for packet in compound {
                    let chunks = packet.sdes_chunks().count();
                    assert!(chunks <= 31);
                    if let RtcpPacket::SenderReport { blocks, .. }
                    | RtcpPacket::ReceiverReport { blocks, .. } = packet
                    {
                        assert!(blocks.count() <= 31);
                    }
                }
            }
            Err(error) => {
                refused += 1;
                assert!(!error.to_string().is_empty());
            }
        }
    }
    assert!(parsed > 1000 && refused > 1000, "{parsed} {refused}");
}
