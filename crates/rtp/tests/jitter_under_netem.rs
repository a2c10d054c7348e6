//! An hour of call over bad paths, in virtual time.

use trunkline_netem::{Impairment, Jitter, Loss, Path};
use trunkline_rtp::{
    HEADER_LEN, JitterBuffer, JitterConfig, JitterStats, Nanos, Pop, ReceiverStats, RtpPacket, RtpSender,
};

const SECOND: u64 = 1_000_000_000;

struct Outcome {
    frames: u64,
    conceal_pieces: u64,
    silence_pieces: u64,
    longest_conceal: u64,
    stats: JitterStats,
    sent: u64,
    lost_on_path: u64,
    average_delay_ms: f64,
    max_delay_ms: f64,
}

/// Sends 20 ms packets for `seconds` by a clock that runs `skew_ppm` faster than the playout's, and plays
/// them. Speech and quiet alternate every three seconds.
fn call(seconds: u64, impairment: Impairment, skew_ppm: i64) -> Outcome {
    let mut sender = RtpSender::new(7, 65_000, u32::MAX - 80_000);
    let mut path = Path::new(0xCA11, impairment);
    let mut buffer = JitterBuffer::new(JitterConfig::g711());
    let mut receiver = ReceiverStats::new(8000);
    let interval = (20_000_000 - 20 * skew_ppm) as u64;
    let (mut next_send, mut next_pop) = (SECOND, SECOND + 7_000_000);
    let end = (seconds + 1) * SECOND;
    let mut outcome = Outcome {
        frames: 0,
        conceal_pieces: 0,
        silence_pieces: 0,
        longest_conceal: 0,
        stats: JitterStats::default(),
        sent: 0,
        lost_on_path: 0,
        average_delay_ms: 0.0,
        max_delay_ms: 0.0,
    };
    let (mut pops, mut conceal_run, mut last_sequence) = (0_u64, 0, None::<u16>);
    while next_pop < end {
        let arrival = path.next_timeout().map_or(u64::MAX, |at| at.0);
        let now = next_send.min(next_pop).min(arrival);
        if now == arrival {
            let datagram = path.poll(Nanos(now)).expect("it arrives now");
            let packet = RtpPacket::parse(&datagram).expect("the sender wrote it");
            receiver.receive(Nanos(now), &packet.header);
            buffer.push(Nanos(now), &packet);
        } else if now == next_send {
            let mut datagram = [0; HEADER_LEN + 160];
            let payload = [outcome.sent as u8; 160];
            sender.write_audio(0, 160, &payload, &mut datagram).expect("it fits");
            path.push(Nanos(now), &datagram);
            outcome.sent += 1;
            next_send += interval;
        } else {
            buffer.set_quiet(now / SECOND % 6 < 3);
            match buffer.pop(Nanos(now)) {
                Pop::Frame(frame) => {
                    outcome.frames += 1;
                    conceal_run = 0;
                    let newer = last_sequence.is_none_or(|last| frame.sequence.wrapping_sub(last) < 1000);
                    assert!(newer, "{} after {last_sequence:?}", frame.sequence);
                    assert_ne!(last_sequence.replace(frame.sequence), Some(frame.sequence));
                }
                Pop::Conceal { .. } => {
                    outcome.conceal_pieces += 1;
                    conceal_run += 1;
                    outcome.longest_conceal = outcome.longest_conceal.max(conceal_run);
                }
                Pop::Silence { .. } => outcome.silence_pieces += 1,
            }
            let delay = buffer.stats().delay.as_millis_f64();
            outcome.average_delay_ms += delay;
            outcome.max_delay_ms = outcome.max_delay_ms.max(delay);
            pops += 1;
            next_pop += 20_000_000;
        }
    }
    outcome.average_delay_ms /= pops as f64;
    outcome.stats = buffer.stats();
    outcome.lost_on_path = path.stats().lost;
    // The counters of RFC 3550 agree with the path, but for what is still under way.
    let doubled = path.stats().duplicated;
    let expected_loss = outcome.lost_on_path.saturating_sub(doubled);
    assert!(receiver.lost().abs_diff(expected_loss) <= 20, "{} {expected_loss}", receiver.lost());
    outcome
}

fn report(name: &str, outcome: &Outcome) -> String {
    format!(
        "{name}: sent {} lost {} played {} concealed {} silent {} longest {} delay {:.1} (max {:.1}) ms {:?}",
        outcome.sent,
        outcome.lost_on_path,
        outcome.frames,
        outcome.conceal_pieces,
        outcome.silence_pieces,
        outcome.longest_conceal,
        outcome.average_delay_ms,
        outcome.max_delay_ms,
        outcome.stats
    )
}

#[test]
fn an_hour_on_a_clean_path_is_perfect_and_fast() {
    let outcome = call(3600, Impairment::none(), 0);
    let text = report("clean", &outcome);
    assert_eq!(
        (outcome.conceal_pieces, outcome.stats.late, outcome.stats.skipped % 160),
        (0, 0, 0),
        "{text}"
    );
    assert!(outcome.stats.skipped <= 320 && outcome.average_delay_ms < 50.0, "{text}");
}

#[test]
fn an_hour_with_jitter_loses_next_to_nothing() {
    let impairment = Impairment {
        delay: Nanos::from_millis(40),
        jitter: Jitter::Uniform(Nanos::from_millis(60)),
        overtaking: true,
        ..Impairment::none()
    };
    let outcome = call(3600, impairment, 0);
    let text = report("jitter", &outcome);
    let late = outcome.stats.late as f64 / outcome.sent as f64;
    assert!(late < 0.01, "{text}");
    assert!(outcome.average_delay_ms < 95.0 && outcome.max_delay_ms <= 220.0, "{text}");
    assert!(outcome.stats.restarts == 0 && outcome.silence_pieces < 10, "{text}");
}

#[test]
fn an_hour_of_bursts_duplicates_and_reordering_conceals_what_was_lost_and_little_more() {
    let impairment = Impairment {
        loss: Loss::bursts(0.05, 3.0),
        delay: Nanos::from_millis(25),
        jitter: Jitter::Exponential(Nanos::from_millis(8)),
        reorder: 0.01,
        reorder_by: Nanos::from_millis(30),
        duplicate: 0.01,
        ..Impairment::none()
    };
    let outcome = call(3600, impairment, 0);
    let text = report("bursts", &outcome);
    let missing = outcome.sent - outcome.frames;
    assert!(missing as f64 <= outcome.lost_on_path as f64 * 1.4, "{text}");
    assert!(outcome.average_delay_ms < 100.0, "{text}");
    assert!(outcome.stats.duplicate > 1500, "{text}");
}

#[test]
fn clocks_that_drift_neither_starve_nor_flood_it() {
    for skew_ppm in [500, -500, 60, -60] {
        let outcome =
            call(3600, Impairment { delay: Nanos::from_millis(30), ..Impairment::none() }, skew_ppm);
        let text = report(&format!("{skew_ppm} ppm"), &outcome);
        // An hour at 500 ppm is 1.8 s: 90 packets.
        let drift = skew_ppm.unsigned_abs() * 3600 / 20_000;
        assert_eq!(outcome.stats.late, 0, "{text}");
        if skew_ppm > 0 {
            let skipped = outcome.stats.skipped / 160;
            assert!(skipped.abs_diff(drift) <= 3 && outcome.conceal_pieces == 0, "{text}");
        } else {
            assert!(outcome.conceal_pieces.abs_diff(drift) <= 3 && outcome.stats.skipped <= 320, "{text}");
        }
        assert!(outcome.max_delay_ms < 90.0 && outcome.silence_pieces < 5, "{text}");
    }
}

#[test]
fn ten_minutes_of_twenty_per_cent_loss_go_on() {
    let impairment = Impairment { loss: Loss::Random(0.2), ..Impairment::none() };
    let outcome = call(600, impairment, 0);
    let text = report("loss", &outcome);
    assert!((outcome.sent - outcome.frames).abs_diff(outcome.lost_on_path) < 20, "{text}");
    assert!(outcome.max_delay_ms < 90.0, "{text}");
}
