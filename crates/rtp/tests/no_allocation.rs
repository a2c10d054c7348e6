//! The packet path allocates nothing after construction.

use trunkline_rtp::rtcp::{Compound, CompoundBuilder, NtpTime, RtcpPacket, RtcpSchedule, SenderInfo};
use trunkline_rtp::telephone_event::{DigitReceiver, DigitSender, DigitTick};
use trunkline_rtp::{
    HEADER_LEN, JitterBuffer, JitterConfig, Nanos, Pop, PushOutcome, ReceiverStats, RtpPacket, RtpSender,
    SourceLatch,
};
use trunkline_testalloc::{CountingAllocator, allocations_in};

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

#[test]
fn the_counter_counts() {
    let (_, counted) = allocations_in(|| vec![1_u8; 10]);
    assert_eq!(counted, 1);
}

#[test]
fn packets_go_through_the_jitter_buffer_without_allocating() {
    let mut buffer = JitterBuffer::new(JitterConfig::g711());
    let mut statistics = ReceiverStats::new(8000);
    let mut latch = SourceLatch::new(([127, 0, 0, 1], 4000).into());
    let mut restarts = 0;
    let ((), counted) = allocations_in(|| {
        for ssrc in 0..3_u32 {
            let mut sender = RtpSender::new(ssrc, 65_500, u32::MAX - 4000);
            for number in 0..500_u64 {
                let now = Nanos::from_millis(u64::from(ssrc) * 20_000 + number * 20);
                let mut datagram = [0; HEADER_LEN + 160];
                let length = sender.write_audio(0, 160, &[7; 160], &mut datagram).expect("it fits");
                // Loss, a stall with a burst after it, duplicates: every branch of the buffer.
                if number % 17 != 0 && !(200..230).contains(&number) {
                    for _ in 0..=usize::from(number % 31 == 0) {
                        let packet = RtpPacket::parse(&datagram[..length]).expect("it was written here");
                        assert!(latch.receive(([127, 0, 0, 1], 4000).into()).is_accepted());
                        statistics.receive(now, &packet.header);
                        restarts += u32::from(buffer.push(now, &packet) == PushOutcome::Restarted);
                    }
                }
                buffer.set_quiet(number % 100 < 50);
                if let Pop::Frame(frame) = buffer.pop(now) {
                    assert_eq!(frame.payload[0], 7);
                }
            }
        }
    });
    assert_eq!((counted, restarts), (0, 2));
    assert!(buffer.stats().stored > 1000);
}

#[test]
fn reports_and_digits_do_not_allocate() {
    let mut statistics = ReceiverStats::new(8000);
    let mut schedule = RtcpSchedule::new(Nanos::ZERO, 8000, 1);
    let mut digits = DigitSender::new(8000);
    let mut receiver = DigitReceiver::new(8000);
    let mut stream = RtpSender::new(1, 1, 1);
    let mut heard = 0;
    let ((), counted) = allocations_in(|| {
        digits.enqueue('1', Nanos::from_millis(100), Nanos::from_millis(60));
        for number in 0..100_u64 {
            let now = Nanos::from_millis(number * 20);
            if let DigitTick::Event { marker, timestamp, payload } = digits.tick(stream.timestamp(), 160) {
                let header = stream.event(101, timestamp, marker, 4);
                let bytes = payload.to_bytes();
                let packet = RtpPacket { header, csrcs: &[], extension: None, payload: &bytes };
                statistics.receive(now, &header);
                heard += receiver.receive(now, &packet).count();
                stream.pause(160);
            }
        }
        let now = schedule.next_timeout();
        assert!(schedule.poll(now));
        let mut datagram = [0; 256];
        let mut compound = CompoundBuilder::new(&mut datagram);
        let block = statistics.report_block(now);
        let blocks = block.as_slice();
        compound.sender_report(1, &SenderInfo::default(), blocks).expect("it fits");
        compound.cname(1, "trunkline").expect("it fits");
        let length = compound.finish();
        for packet in Compound::parse(&datagram[..length]).expect("it was written here") {
            if let RtcpPacket::SenderReport { blocks, .. } = packet {
                let mut blocks = blocks;
                assert_eq!(blocks.find_map(|block| block.round_trip(NtpTime(0))), None);
            }
        }
    });
    assert_eq!((counted, heard), (0, 1));
}
