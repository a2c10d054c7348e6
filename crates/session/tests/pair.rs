//! Two sessions on virtual time.

mod common;

use common::{Pair, TICK, loud_ms, parameters, sine, strength};
use trunkline_netem::{Impairment, Jitter, Loss};
use trunkline_rtp::{RtpPacket, rtcp};
use trunkline_session::{Codec, Direction, Encoding, EngineFormat, MaskMode, Nanos};

const PERFECT: Impairment = Impairment::none();

fn engine(up_rate: u32, down_rate: u32) -> EngineFormat {
    EngineFormat {
        up_encoding: Encoding::Pcm16,
        up_rate,
        down_encoding: Encoding::Pcm16,
        down_rate,
        batch_ms: 40,
    }
}

fn pcm(pieces: &[(Vec<u8>, u32)]) -> Vec<i16> {
    pieces
        .iter()
        .flat_map(|(bytes, _)| bytes.as_chunks::<2>().0.iter().map(|&sample| i16::from_le_bytes(sample)))
        .collect()
}

#[test]
fn an_hour_of_call_over_a_bad_network() {
    let impairment = Impairment {
        loss: Loss::bursts(0.02, 2.0),
        delay: Nanos::from_millis(40),
        jitter: Jitter::Uniform(Nanos::from_millis(15)),
        ..PERFECT
    };
    let mut pair = Pair::connected(impairment, Codec::Pcmu);
    pair.a.session.open_tap(8000, 100);
    pair.b.session.engine_opened(engine(16000, 16000));
    for minute in 0..60 {
        let speech = sine(440.0, 2000, 16000, 8000.0);
        pair.b.session.handle_engine_audio(&format!("item {minute}"), &speech);
        pair.b.session.end_item(&format!("item {minute}"));
        pair.a.out.tapped.clear();
        pair.run(60_000);
        let heard = loud_ms(&pair.a.out.tapped);
        assert!((1900..=2100).contains(&heard), "minute {minute}: {heard} ms");
    }
    let ended = pair.b.events("PlayEnded");
    assert_eq!(ended.len(), 60);
    assert!(ended.iter().all(|event| event.contains("heard_ms: 2000, total_ms: 2000")));
    let stats = pair.a.session.stats();
    assert_eq!(pair.b.session.stats().rtp_sent, 180_000);
    let lost = stats.rtp_lost as f64 / 180_000.0;
    assert!((0.015..0.025).contains(&lost), "{lost}");
    assert!(stats.concealed_ms > 0 && stats.concealed_ms < 3_600_000 / 20);
    assert!(stats.round_trip >= Nanos::from_millis(80), "{:?}", stats.round_trip);
    assert!(stats.buffer < Nanos::from_millis(120), "{:?}", stats.buffer);
}

#[test]
fn the_stream_is_one_and_has_no_gaps() {
    let mut pair = Pair::new(PERFECT);
    pair.a.session.connect(pair.now, parameters(pair.b.address, Codec::Pcmu));
    let mut packets: Vec<(u16, u32, u32, u8)> = Vec::new();
    let mut tick = |pair: &mut Pair| {
        pair.now += TICK;
        pair.a.session.tick(pair.now, &mut pair.a.out);
        for (_, packet) in pair.a.out.rtp.drain(..) {
            let header = RtpPacket::parse(&packet).unwrap().header;
            packets.push((header.sequence, header.timestamp, header.ssrc, header.payload_type));
        }
    };
    for _ in 0..10 {
        tick(&mut pair);
    }
    pair.a.session.play("a", &sine(440.0, 100, 16000, 8000.0), 16000);
    pair.a.session.send_dtmf("5", Nanos::from_millis(100), Nanos::from_millis(60));
    for _ in 0..20 {
        tick(&mut pair);
    }
    let hold = Direction::Inactive;
    pair.a.session.connect(
        pair.now,
        trunkline_session::Parameters { direction: hold, ..parameters(pair.b.address, Codec::Pcmu) },
    );
    for _ in 0..50 {
        tick(&mut pair);
    }
    pair.a.session.connect(pair.now, parameters(pair.b.address, Codec::Pcma));
    for _ in 0..10 {
        tick(&mut pair);
    }
    let sequences: Vec<u16> = packets.iter().map(|packet| packet.0).collect();
    assert!(sequences.windows(2).all(|pair| pair[1] == pair[0].wrapping_add(1)));
    assert!(packets.iter().all(|packet| packet.2 == 1));
    let audio: Vec<u32> = packets.iter().filter(|packet| packet.3 != 101).map(|packet| packet.1).collect();
    let first = audio[0];
    // Every audio packet lies where its tick lies, digits and hold included.
    assert!(audio.iter().all(|timestamp| timestamp.wrapping_sub(first) % 160 == 0));
    assert_eq!(audio.last().unwrap().wrapping_sub(first), 89 * 160);
    assert_eq!(packets.iter().filter(|packet| packet.3 == 101).count(), 7);
    assert_eq!(packets.iter().filter(|packet| packet.3 == 8).count(), 10);
}

#[test]
fn engine_audio_faster_than_real_time_is_heard_in_order_and_counted() {
    let mut pair = Pair::connected(PERFECT, Codec::Pcma);
    pair.a.session.open_tap(16000, 20);
    pair.b.session.engine_opened(engine(24000, 24000));
    for (item, hertz) in [("one", 500.0), ("two", 900.0)] {
        for piece in sine(hertz, 1000, 24000, 8000.0).chunks(4801) {
            pair.b.session.handle_engine_audio(item, piece);
        }
    }
    pair.run(1500);
    pair.b.session.flush(10);
    pair.run(200);
    let flushed = pair.b.events("Flushed");
    assert_eq!(flushed.len(), 1);
    assert!(flushed[0].contains(r#"item: "two", heard_ms: 510, total_ms: 1000"#), "{flushed:?}");
    assert_eq!(loud_ms(&pair.a.out.tapped) / 2, 1510);
    let start = pair.a.out.tapped.iter().position(|sample| sample.unsigned_abs() > 400).unwrap();
    let heard = &pair.a.out.tapped[start..];
    assert!(strength(&heard[1000..9000], 500.0, 16000) > 7000.0);
    assert!(strength(&heard[17_000..23_000], 900.0, 16000) > 7000.0);
    assert!(strength(&heard[25_000..], 900.0, 16000) < 50.0);
}

#[test]
fn caller_audio_reaches_the_engine_at_its_rate_in_its_batches() {
    for (format, samples) in
        [(engine(8000, 8000), 320), (engine(16000, 8000), 640), (engine(24000, 8000), 960)]
    {
        let mut pair = Pair::connected(PERFECT, Codec::Pcmu);
        pair.b.session.engine_opened(format);
        pair.a.session.play("a", &sine(1000.0, 1000, 8000, 8000.0), 8000);
        pair.run(1400);
        let pieces = &pair.b.out.engine;
        assert!(pieces.iter().all(|(bytes, ms)| bytes.len() == samples * 2 && *ms == 40));
        assert!(pieces.len() >= 34, "{}", pieces.len());
        let audio = pcm(pieces);
        let rate = format.up_rate;
        let middle = audio.len() / 2;
        assert!(strength(&audio[middle..middle + rate as usize / 10], 1000.0, rate) > 7500.0);
    }
}

#[test]
fn digits_never_sound() {
    let mut pair = Pair::connected(Impairment { loss: Loss::Random(0.2), ..PERFECT }, Codec::Pcmu);
    pair.b.session.engine_opened(engine(16000, 16000));
    pair.b.session.open_tap(8000, 20);
    pair.b.session.set_recording(true);
    pair.run(500);
    pair.a.session.send_dtmf("0123456789*#ABCD", Nanos::from_millis(120), Nanos::from_millis(80));
    pair.run(6000);
    let digits: String =
        pair.b.events("Digit").iter().map(|event| event.split('\'').nth(1).unwrap().to_owned()).collect();
    assert_eq!(digits, "0123456789*#ABCD");
    assert!(pair.b.out.tapped.iter().all(|&sample| sample == 0));
    assert!(pcm(&pair.b.out.engine).iter().all(|&sample| sample == 0));
    assert!(pair.b.out.frames.iter().all(|frame| frame.caller.iter().all(|&sample| sample == 0)));
    assert!(pair.b.events("CallerSpeech").is_empty());
}

#[test]
fn recordings_hold_both_sides_in_step() {
    let mut pair = Pair::connected(PERFECT, Codec::Pcmu);
    pair.b.session.set_recording(true);
    pair.run(1000);
    pair.a.session.play("a", &sine(700.0, 500, 8000, 8000.0), 8000);
    pair.run(1000);
    pair.b.session.play("b", &sine(1200.0, 500, 8000, 8000.0), 8000);
    pair.run(1000);
    let caller: Vec<i16> = pair.b.out.frames.iter().flat_map(|frame| frame.caller).collect();
    let ours: Vec<i16> = pair.b.out.frames.iter().flat_map(|frame| frame.ours).collect();
    assert_eq!(caller.len(), 3 * 8000);
    assert_eq!((loud_ms(&caller), loud_ms(&ours)), (500, 500));
    assert!(strength(&caller[9000..12_000], 700.0, 8000) > 6000.0);
    assert!(strength(&ours[16_200..19_800], 1200.0, 8000) > 7500.0);
}

#[test]
fn wideband_legs_work_and_a_change_of_rate_keeps_what_waits() {
    let mut pair = Pair::connected(PERFECT, Codec::Pcmu);
    pair.a.session.open_tap(16000, 20);
    pair.b.session.set_recording(true);
    pair.b.session.engine_opened(engine(16000, 16000));
    pair.b.session.handle_engine_audio("a", &sine(1000.0, 1000, 16000, 8000.0));
    pair.b.session.mask("bed", &sine(300.0, 3000, 8000, 1000.0), 8000, MaskMode::Mix, true);
    pair.run(500);
    let (a, b) = (pair.a.address, pair.b.address);
    let wide = |other| trunkline_session::Parameters { clock_rate: 16000, ..parameters(other, Codec::L16) };
    pair.a.session.connect(pair.now, wide(b));
    pair.b.session.connect(pair.now, wide(a));
    pair.b.session.end_item("a");
    pair.run(1000);
    let ended = pair.b.events("PlayEnded");
    assert_eq!(ended.len(), 1);
    assert!(ended[0].contains("heard_ms: 1000, total_ms: 1000"), "{ended:?}");
    assert!(strength(&pair.a.out.tapped[12_000..15_000], 1000.0, 16000) > 6500.0);
    assert_eq!(pair.b.out.frames.len(), 75);
}

#[test]
fn before_the_peer_is_known_nothing_is_sent_and_flush_is_answered() {
    let mut pair = Pair::new(PERFECT);
    pair.a.session.play("a", &sine(440.0, 100, 8000, 8000.0), 8000);
    pair.a.session.flush(10);
    pair.run(100);
    assert!(pair.a.events("Flushed")[0].contains(r#"item: "a", heard_ms: 0, total_ms: 100"#));
    assert_eq!(pair.a.session.stats().rtp_sent, 0);
    assert_eq!(pair.a.session.last_rtp_sent(), Nanos::ZERO);
    let mut out = common::Out::default();
    pair.a.session.handle_rtp(pair.now, pair.b.address, &[0x80; 172], &mut out);
    pair.a.session.handle_rtcp(pair.now, pair.b.address, &[0x80; 20]);
    pair.a.session.close(pair.now, &mut out);
    assert!(out.rtcp.is_empty());
}

#[test]
fn on_hold_playout_waits_masks_end_and_flush_is_answered() {
    let mut pair = Pair::connected(PERFECT, Codec::Pcmu);
    pair.a.session.open_tap(8000, 20);
    pair.b.session.play("a", &sine(440.0, 400, 8000, 8000.0), 8000);
    pair.b.session.end_item("a");
    pair.b.session.mask("m", &sine(440.0, 400, 8000, 10.0), 8000, MaskMode::Mix, true);
    pair.run(200);
    let hold = trunkline_session::Parameters {
        direction: Direction::RecvOnly,
        ..parameters(pair.a.address, Codec::Pcmu)
    };
    pair.b.session.connect(pair.now, hold);
    pair.run(20_000);
    assert!(pair.b.events("PlayEnded").is_empty());
    pair.b.session.unmask(40);
    pair.run(20);
    assert!(pair.b.events("MaskEnded")[0].contains("played_ms: 200"));
    pair.b.session.flush(10);
    pair.run(20);
    assert!(pair.b.events("Flushed")[0].contains("heard_ms: 200, total_ms: 400"));
    // The other side is told nothing on hold, and it is not silence of the network: it hears us.
    assert!(pair.b.events("RtpSilence").is_empty());
    assert_eq!(pair.a.events("RtpSilence").len(), 1);
    pair.b.session.connect(pair.now, parameters(pair.a.address, Codec::Pcmu));
    pair.b.session.play("b", &sine(440.0, 200, 8000, 8000.0), 8000);
    pair.run(500);
    // The stream stopped in the middle of a tone: concealment covers up to 60 ms of that.
    let heard = loud_ms(&pair.a.out.tapped);
    assert!((400..=460).contains(&heard), "{heard}");
}

#[test]
fn reports_and_the_last_goodbye() {
    let mut pair = Pair::connected(PERFECT, Codec::Pcmu);
    let mut reports = Vec::new();
    let mut tick = |pair: &mut Pair| {
        pair.now += TICK;
        pair.a.session.tick(pair.now, &mut pair.a.out);
        reports.append(&mut pair.a.out.rtcp);
    };
    for _ in 0..3000 {
        tick(&mut pair);
    }
    assert!((8..=25).contains(&reports.len()), "{} reports in a minute", reports.len());
    let (to, packet, mux) = &reports[0];
    assert_eq!((to.port(), *mux), (5001, false));
    let first = rtcp::Compound::parse(packet).unwrap().next().unwrap();
    assert!(matches!(first, rtcp::RtcpPacket::SenderReport { ssrc: 1, .. }), "{first:?}");
    let mut out = common::Out::default();
    pair.a.session.close(pair.now, &mut out);
    let (_, packet, _) = &out.rtcp[0];
    let last = rtcp::Compound::parse(packet).unwrap().last().unwrap();
    assert!(matches!(last, rtcp::RtcpPacket::Goodbye { .. }), "{last:?}");
}

#[test]
fn a_muxed_report_is_taken_from_the_rtp_port() {
    let mut pair = Pair::connected(PERFECT, Codec::Pcmu);
    let mut out = common::Out::default();
    pair.a.session.close(pair.now, &mut out);
    let before = pair.b.session.stats();
    pair.b.session.handle_rtp(pair.now, pair.a.address, &out.rtcp[0].1, &mut common::Out::default());
    assert_eq!(pair.b.session.stats().rtp_rejected, before.rtp_rejected);
    assert_eq!(pair.b.session.stats().rtp_received, before.rtp_received);
    let stranger = "198.51.100.9:1".parse().unwrap();
    pair.b.session.handle_rtp(pair.now, stranger, &out.rtcp[0].1, &mut common::Out::default());
    assert_eq!(pair.b.session.stats().rtp_rejected, before.rtp_rejected + 1);
}

#[test]
fn strangers_and_noise_change_nothing() {
    let mut pair = Pair::connected(PERFECT, Codec::Pcmu);
    pair.a.session.open_tap(8000, 20);
    pair.run(500);
    let mut random = trunkline_netem::Random::new(5);
    let stranger = "198.51.100.9:4000".parse().unwrap();
    let mut out = common::Out::default();
    for round in 0..20_000_u32 {
        let mut bytes = [0; 200];
        random.fill(&mut bytes);
        bytes[0] = if round % 2 == 0 { 0x80 } else { bytes[0] };
        bytes[1] = if round % 3 == 0 { 0 } else { bytes[1] };
        let length = random.below(200) as usize;
        let source = if round % 2 == 0 { stranger } else { pair.b.address };
        // Noise from the peer's own address must do no harm either, beyond being noise.
        let bytes = if round % 2 == 0 { &bytes[..] } else { &bytes[..length.min(11)] };
        pair.a.session.handle_rtp(pair.now, source, bytes, &mut out);
        pair.a.session.handle_rtcp(pair.now, source, bytes);
    }
    pair.run(500);
    assert!(pair.a.out.tapped.iter().all(|&sample| sample == 0));
    assert!(pair.a.session.stats().rtp_rejected >= 20_000);
    assert!(out.events.is_empty());
}

#[test]
fn a_new_ssrc_of_the_peer_is_followed() {
    let mut pair = Pair::connected(PERFECT, Codec::Pcmu);
    pair.a.session.open_tap(8000, 20);
    pair.run(1000);
    pair.b.session = trunkline_session::Session::new(pair.now, common::config(77));
    pair.b.session.connect(pair.now, parameters(pair.a.address, Codec::Pcmu));
    pair.b.session.play("b", &sine(440.0, 500, 8000, 8000.0), 8000);
    pair.run(1000);
    let heard = loud_ms(&pair.a.out.tapped);
    assert!((460..=500).contains(&heard), "{heard}");
    assert_eq!(pair.a.events("FirstPacket").len(), 1);
}

#[test]
fn masks_hold_the_turn_and_fade() {
    let mut pair = Pair::connected(PERFECT, Codec::Pcmu);
    pair.b.session.mask("m", &sine(900.0, 200, 16000, 8000.0), 16000, MaskMode::Turn, true);
    pair.b.session.play("a", &sine(440.0, 200, 8000, 8000.0), 8000);
    pair.run(1000);
    assert!(pair.b.events("PlayStarted").is_empty());
    pair.b.session.unmask(40);
    pair.b.session.end_item("a");
    pair.run(400);
    let order: Vec<&str> = pair
        .b
        .out
        .events
        .iter()
        .map(|event| event.split(' ').next().unwrap())
        .filter(|kind| kind.starts_with("Mask") || kind.starts_with("Play"))
        .collect();
    assert_eq!(order, ["MaskStarted", "MaskEnded", "PlayStarted", "PlayEnded"]);
    assert!(pair.b.events("MaskEnded")[0].contains("played_ms: 1040"));
}
