use proptest::prelude::*;

use super::{ConcealCause, JitterBuffer, JitterConfig, Pop, PushOutcome, SilenceCause};
use crate::packet::{RtpHeader, RtpPacket};
use crate::time::Nanos;

const FRAME: Nanos = Nanos::from_millis(20);

/// What a pop gave, without borrowing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Piece {
    Frame { sequence: u16, samples: u32, after_skip: bool },
    Conceal(ConcealCause),
    Silence(SilenceCause),
}

/// A buffer whose playout side pops every 20 ms.
struct Line {
    buffer: JitterBuffer,
    now: Nanos,
    next_pop: Nanos,
    pieces: Vec<Piece>,
}

impl Line {
    fn new() -> Self {
        Self::with(JitterConfig::g711())
    }

    fn with(config: JitterConfig) -> Self {
        let now = Nanos::from_millis(1000);
        // The playout clock and the packets are not in phase.
        Self { buffer: JitterBuffer::new(config), now, next_pop: now + Nanos::from_millis(7), pieces: vec![] }
    }

    /// Pops everything that is due until `now`.
    fn run_to(&mut self, now: Nanos) {
        while self.next_pop <= now {
            let piece = match self.buffer.pop(self.next_pop) {
                Pop::Frame(frame) => {
                    assert_eq!(frame.payload.len(), frame.samples as usize);
                    assert!(frame.payload.iter().all(|byte| *byte == frame.sequence as u8));
                    let (sequence, samples, after_skip) = (frame.sequence, frame.samples, frame.after_skip);
                    Piece::Frame { sequence, samples, after_skip }
                }
                Pop::Conceal { cause, .. } => Piece::Conceal(cause),
                Pop::Silence { cause, .. } => Piece::Silence(cause),
            };
            self.pieces.push(piece);
            self.next_pop += FRAME;
        }
        self.now = now;
    }

    fn wait(&mut self, length: Nanos) {
        self.run_to(self.now + length);
    }

    fn push(&mut self, ssrc: u32, sequence: u16, timestamp: u32) -> PushOutcome {
        self.push_samples(ssrc, sequence, timestamp, 160)
    }

    fn push_samples(&mut self, ssrc: u32, sequence: u16, timestamp: u32, samples: usize) -> PushOutcome {
        let payload = vec![sequence as u8; samples];
        let header = RtpHeader { marker: false, payload_type: 0, sequence, timestamp, ssrc };
        self.buffer.push(self.now, &RtpPacket { header, csrcs: &[], extension: None, payload: &payload })
    }

    /// Packets of 20 ms every 20 ms.
    fn stream(&mut self, sequences: std::ops::Range<u16>) {
        for sequence in sequences {
            self.push(1, sequence, u32::from(sequence) * 160);
            self.wait(FRAME);
        }
    }

    fn played(&self) -> Vec<u16> {
        self.pieces
            .iter()
            .filter_map(|piece| match piece {
                Piece::Frame { sequence, .. } => Some(*sequence),
                _ => None,
            })
            .collect()
    }

    fn count(&self, wanted: Piece) -> usize {
        self.pieces.iter().filter(|piece| **piece == wanted).count()
    }

    fn drain(&mut self) {
        self.wait(Nanos::from_millis(400));
    }
}

fn range(range: std::ops::Range<u16>) -> Vec<u16> {
    range.collect()
}

#[test]
fn plays_everything_in_order_after_the_initial_delay() {
    let mut line = Line::new();
    line.stream(0..100);
    line.drain();
    assert_eq!(line.played(), range(0..100));
    // First popped 27 ms after it came: at the first tick that is not before 20 ms.
    assert_eq!(line.pieces[0], Piece::Silence(SilenceCause::Buffering));
    assert_eq!(line.pieces[1], Piece::Frame { sequence: 0, samples: 160, after_skip: false });
    let stats = line.buffer.stats();
    assert_eq!((stats.stored, stats.late, stats.stretched, stats.skipped), (100, 0, 0, 0));
}

#[test]
fn before_the_first_packet_there_is_silence() {
    let mut line = Line::new();
    line.wait(Nanos::from_secs(1));
    assert_eq!(line.count(Piece::Silence(SilenceCause::Buffering)), line.pieces.len());
    assert!(line.buffer.is_empty());
}

#[test]
fn reordered_and_doubled_packets_play_once_in_order() {
    let mut line = Line::new();
    for pair in 0..50_u16 {
        let (first, second) = (pair * 2, pair * 2 + 1);
        line.wait(FRAME);
        assert_eq!(line.push(1, second, u32::from(second) * 160), PushOutcome::Stored);
        assert_eq!(line.push(1, second, u32::from(second) * 160), PushOutcome::Duplicate);
        line.wait(Nanos::from_millis(5));
        assert_eq!(line.push(1, first, u32::from(first) * 160), PushOutcome::Stored);
        line.wait(Nanos::from_millis(15));
    }
    line.drain();
    assert_eq!(line.played(), range(0..100));
    assert_eq!(line.buffer.stats().duplicate, 50);
}

#[test]
fn sequence_and_timestamp_wrap_unnoticed() {
    let mut line = Line::new();
    for number in 0..200_u32 {
        let sequence = (65_436 + number) as u16;
        assert_eq!(line.push(1, sequence, (number * 160).wrapping_sub(100 * 160)), PushOutcome::Stored);
        line.wait(FRAME);
    }
    line.drain();
    assert_eq!(line.played().len(), 200);
    assert_eq!(line.buffer.stats().restarts, 0);
}

#[test]
fn a_lost_packet_is_one_piece_of_concealment() {
    let mut line = Line::new();
    line.stream(0..50);
    line.wait(FRAME);
    line.stream(51..100);
    line.drain();
    let lost = line.pieces.iter().position(|piece| *piece == Piece::Conceal(ConcealCause::Lost)).unwrap();
    assert_eq!(line.pieces[lost - 1], Piece::Frame { sequence: 49, samples: 160, after_skip: false });
    assert_eq!(line.pieces[lost + 1], Piece::Frame { sequence: 51, samples: 160, after_skip: false });
    assert_eq!(line.count(Piece::Conceal(ConcealCause::Lost)), 1);
}

#[test]
fn a_late_packet_that_was_passed_over_is_late() {
    let mut line = Line::new();
    line.stream(0..50);
    line.wait(FRAME);
    line.stream(51..60);
    assert_eq!(line.push(1, 50, 50 * 160), PushOutcome::Late);
    line.drain();
    assert!(!line.played().contains(&50));
    assert_eq!(line.buffer.stats().late, 1);
}

#[test]
fn a_pause_marked_by_comfort_noise_is_silence_not_concealment() {
    let mut line = Line::new();
    line.stream(0..50);
    let cn = RtpHeader { marker: false, payload_type: 13, sequence: 50, timestamp: 50 * 160, ssrc: 1 };
    line.buffer.note_foreign(&cn);
    line.wait(Nanos::from_secs(3));
    for sequence in 51..100_u16 {
        line.push(1, sequence, (u32::from(sequence) + 149) * 160);
        line.wait(FRAME);
    }
    line.drain();
    assert_eq!(line.played().len(), 99);
    let stats = line.buffer.stats();
    // After the last packet nothing tells that the stream has ended: three frames are concealed.
    assert_eq!((stats.concealed, stats.late, stats.restarts), (3 * 160, 0, 0));
}

#[test]
fn telephone_events_leave_no_concealment_behind() {
    let mut line = Line::new();
    line.stream(0..50);
    for sequence in 50..60 {
        let event = RtpHeader { marker: false, payload_type: 101, sequence, timestamp: 50 * 160, ssrc: 1 };
        line.buffer.note_foreign(&event);
        line.wait(FRAME);
    }
    line.stream(60..100);
    line.drain();
    assert_eq!(line.played(), [range(0..50), range(60..100)].concat());
    assert_eq!(line.buffer.stats().concealed, 3 * 160);
}

#[test]
fn a_stall_is_played_late_but_whole_and_the_delay_shrinks_again_when_it_is_quiet() {
    let mut line = Line::new();
    line.stream(0..100);
    line.wait(Nanos::from_millis(120));
    for sequence in 100..106_u16 {
        line.push(1, sequence, u32::from(sequence) * 160);
    }
    assert!(line.buffer.stats().delay <= Nanos::from_millis(200));
    line.stream(106..200);
    assert_eq!(line.played().len(), line.played().last().map_or(0, |last| usize::from(*last) + 1));
    let grown = line.buffer.stats().delay;
    assert!(grown >= Nanos::from_millis(100), "{grown}");
    // The jitter is forgotten after a while. Audible audio then gives up one packet in two seconds.
    let skipped = line.buffer.stats().skipped;
    line.stream(200..700);
    assert!(line.buffer.stats().skipped - skipped <= 5 * 160);
    // Quiet audio gives up the rest at once.
    line.buffer.set_quiet(true);
    line.stream(700..800);
    let shrunk = line.buffer.stats().delay;
    assert!(shrunk <= Nanos::from_millis(45), "{shrunk}");
    assert!(line.pieces.iter().any(|piece| matches!(piece, Piece::Frame { after_skip: true, .. })));
}

#[test]
fn after_a_long_stall_only_the_newest_audio_is_played() {
    let mut line = Line::new();
    line.stream(0..100);
    line.wait(Nanos::from_secs(1));
    for sequence in 100..150_u16 {
        line.push(1, sequence, u32::from(sequence) * 160);
    }
    line.stream(150..250);
    line.drain();
    let played = line.played();
    assert!(played.windows(2).all(|pair| pair[0] < pair[1]));
    assert!(range(150..220).iter().all(|sequence| played.contains(sequence)), "{played:?}");
    assert!(line.buffer.stats().delay <= Nanos::from_millis(220), "{}", line.buffer.stats().delay);
}

#[test]
fn a_new_source_takes_over_with_its_second_packet() {
    let mut line = Line::new();
    line.stream(0..50);
    assert_eq!(line.push(2, 9000, 77), PushOutcome::Held);
    line.wait(FRAME);
    assert_eq!(line.push(2, 9001, 77 + 160), PushOutcome::Restarted);
    for number in 2..50_u16 {
        line.wait(FRAME);
        assert_eq!(line.push(2, 9000 + number, 77 + 160 * u32::from(number)), PushOutcome::Stored);
    }
    line.drain();
    assert!(line.played().ends_with(&range(9000..9050)), "{:?}", line.played());
    assert_eq!(line.buffer.stats().restarts, 1);
}

#[test]
fn one_stray_packet_changes_nothing() {
    let mut line = Line::new();
    line.stream(0..50);
    assert_eq!(line.push(2, 9000, 77), PushOutcome::Held);
    line.stream(50..60);
    assert_eq!(line.push(1, 60, 60 * 160 + 900_000), PushOutcome::Held);
    line.stream(60..70);
    assert_eq!(line.push(1, 40_000, 70 * 160), PushOutcome::Held);
    line.stream(70..100);
    line.drain();
    assert_eq!(line.played(), range(0..100));
    assert_eq!(line.buffer.stats().refused, 3);
}

#[test]
fn two_alternating_sources_do_not_take_turns() {
    let mut line = Line::new();
    for number in 0..100_u16 {
        line.push(1, number, u32::from(number) * 160);
        line.push(2, 9000 + number, u32::from(number) * 160);
        line.wait(FRAME);
    }
    line.drain();
    assert_eq!(line.played(), range(0..100));
}

#[test]
fn a_jump_of_the_timestamp_begins_a_new_timeline() {
    for jump in [5_000_000_u32, 0_u32.wrapping_sub(5_000_000), 0_u32.wrapping_sub(4_000)] {
        let mut line = Line::new();
        line.stream(0..50);
        for sequence in 50..100_u16 {
            line.push(1, sequence, (u32::from(sequence) * 160).wrapping_add(jump));
            line.wait(FRAME);
        }
        line.drain();
        let played = line.played();
        // What still waited when the jump was proved is given up.
        assert!(played.ends_with(&range(50..100)), "{jump}: {played:?}");
        assert!(played.len() >= 96, "{jump}: {played:?}");
    }
}

#[test]
fn a_peer_whose_timestamp_stands_still_in_a_pause_is_understood() {
    let mut line = Line::new();
    line.stream(0..50);
    line.wait(Nanos::from_secs(4));
    line.stream(50..100);
    line.drain();
    assert_eq!(line.played(), range(0..100));
}

#[test]
fn a_change_of_the_path_to_much_more_delay_is_followed() {
    let mut line = Line::new();
    line.stream(0..100);
    line.wait(Nanos::from_millis(400));
    line.stream(100..200);
    line.drain();
    let played = line.played();
    assert!(range(106..200).iter().all(|sequence| played.contains(sequence)), "{played:?}");
}

#[test]
fn packets_of_other_lengths_are_whole() {
    for samples in [80_u32, 240, 480] {
        let mut buffer = JitterBuffer::new(JitterConfig::g711());
        let mut held = 0_i64;
        let mut played = 0_u64;
        let mut pushed = 0_u32;
        for step in 0..1000_u64 {
            let now = Nanos::from_millis(1000 + step * 10);
            while u64::from(pushed * samples) <= step * 80 {
                let header = RtpHeader {
                    marker: false,
                    payload_type: 0,
                    sequence: pushed as u16,
                    timestamp: pushed * samples,
                    ssrc: 1,
                };
                let payload = [0; 480];
                let payload = &payload[..samples as usize];
                buffer.push(now, &RtpPacket { header, csrcs: &[], extension: None, payload });
                pushed += 1;
            }
            // 20 ms are wanted every 20 ms; what a piece has too much waits for the next round.
            if step % 2 == 1 {
                while held < 160 {
                    let at = now + Nanos::from_samples(held.unsigned_abs(), 8000);
                    let piece = buffer.pop(at);
                    held += i64::from(piece.samples());
                    if let Pop::Frame(frame) = piece {
                        played += u64::from(frame.samples);
                    }
                }
                held -= 160;
            }
        }
        let stats = buffer.stats();
        assert_eq!((stats.concealed, stats.late, stats.skipped), (0, 0, 0), "{samples}: {stats:?}");
        assert!(played + 2 * 480 + 800 >= u64::from(pushed * samples), "{samples}: {played}");
    }
}

#[test]
fn the_rest_of_a_half_concealed_packet_is_played() {
    let mut line = Line::new();
    line.stream(0..10);
    // Two packets overlap by half; the second half of the later one is new.
    line.push_samples(1, 10, 10 * 160, 160);
    line.push_samples(1, 11, 10 * 160 + 80, 160);
    line.drain();
    let tail: Vec<_> = line.pieces.iter().filter(|piece| matches!(piece, Piece::Frame { .. })).collect();
    assert_eq!(tail.last(), Some(&&Piece::Frame { sequence: 11, samples: 80, after_skip: false }));
}

#[test]
fn a_playout_that_stood_still_does_not_turn_the_timeline_back() {
    let mut line = Line::new();
    line.stream(0..50);
    line.drain();
    // Nobody pops for ten seconds, then a talkspurt begins.
    line.now += Nanos::from_secs(10);
    line.next_pop = line.now + Nanos::from_millis(7);
    for sequence in 50..100_u16 {
        line.push(1, sequence, (u32::from(sequence) + 520) * 160);
        line.wait(FRAME);
    }
    line.drain();
    assert!(line.played().ends_with(&range(50..100)), "{:?}", line.played());
}

#[test]
fn memory_is_bounded_and_the_oldest_gives_way() {
    let mut line = Line::new();
    for sequence in 0..32 {
        line.push(1, sequence, u32::from(sequence) * 160);
    }
    for sequence in 32..64 {
        // Two to a slot of time, so that nothing is too far ahead.
        line.push(1, sequence, u32::from(sequence - 32) * 160 + 80);
    }
    assert_eq!(line.buffer.len(), 32);
    assert_eq!(line.buffer.stats().overflow, 32);
    assert_eq!(line.push(1, 64, 1_000_000), PushOutcome::Held);
    assert_eq!(line.push_samples(1, 65, 0, 481), PushOutcome::Unusable);
    assert_eq!(line.push_samples(1, 66, 0, 0), PushOutcome::Unusable);
    line.drain();
}

#[test]
fn reset_forgets_the_stream() {
    let mut line = Line::new();
    line.stream(0..10);
    line.buffer.reset();
    assert!(line.buffer.is_empty());
    line.pieces.clear();
    line.wait(FRAME);
    assert_eq!(line.pieces, [Piece::Silence(SilenceCause::Buffering)]);
    assert_eq!(line.push(5, 1, 1), PushOutcome::Stored);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]
    #[test]
    fn no_packets_break_it(packets in proptest::collection::vec(
        (0_u64..100, 0_u16..3, prop_oneof![0_u16..200, any::<u16>()],
         prop_oneof![(0_u32..300).prop_map(|number| number * 160), any::<u32>()], 0_usize..500, 0_u8..4), 1..200)) {
        let mut line = Line::new();
        for (wait, ssrc, sequence, timestamp, samples, kind) in packets {
            line.wait(Nanos::from_millis(wait));
            if kind == 0 {
                let header = RtpHeader { marker: false, payload_type: 13, sequence, timestamp, ssrc: u32::from(ssrc) };
                line.buffer.note_foreign(&header);
            } else {
                line.push_samples(u32::from(ssrc), sequence, timestamp, samples);
            }
            line.buffer.set_quiet(wait % 2 == 0);
            prop_assert!(line.buffer.len() <= 32);
        }
        line.drain();
        // Everything has been played or given up, however wild the numbers were.
        line.wait(Nanos::from_secs(2));
        prop_assert!(line.buffer.is_empty());
    }
}
