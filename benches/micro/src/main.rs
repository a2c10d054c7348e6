//! Nanoseconds for 20 ms of one call, piece by piece: `cargo run --release -p trunkline-bench-micro`.
//!
//! Each figure is the median of many rounds; `--json` prints them as an object.

#![expect(clippy::disallowed_methods, clippy::print_stdout, reason = "a benchmark")]

use std::hint::black_box;
use std::time::Instant;

use trunkline_dsp::g711::Law;
use trunkline_dsp::{ComfortNoise, Plc, Resampler, Vad, VadConfig, gain, level};
use trunkline_rtp::{HEADER_LEN, JitterBuffer, JitterConfig, Nanos, ReceiverStats, RtpPacket, RtpSender};
use trunkline_wire::base64;

const ROUNDS: usize = 200;
const PER_ROUND: u32 = 200;

fn main() {
    let mut figures = Vec::new();
    codecs(&mut figures);
    resampling(&mut figures);
    repair_and_speech(&mut figures);
    packets(&mut figures);
    if std::env::args().any(|argument| argument == "--json") {
        let object: serde_json::Map<_, _> =
            figures.into_iter().map(|(name, nanos)| (name, nanos.into())).collect();
        println!("{}", serde_json::Value::Object(object));
    } else {
        for (name, nanos) in figures {
            println!("{name:<44} {nanos:>8} ns");
        }
    }
}

/// Median of the rounds, in nanoseconds for one call of `work`.
fn measure(figures: &mut Vec<(String, u64)>, name: &str, mut work: impl FnMut()) {
    let mut rounds: Vec<u64> = (0..ROUNDS)
        .map(|_| {
            let start = Instant::now();
            for _ in 0..PER_ROUND {
                work();
            }
            (start.elapsed() / PER_ROUND).as_nanos() as u64
        })
        .collect();
    rounds.sort_unstable();
    figures.push((name.to_owned(), rounds[ROUNDS / 2]));
}

fn noise(samples: usize) -> Vec<i16> {
    let mut block = vec![0; samples];
    ComfortNoise::new(1, -20.0).fill(&mut block);
    block
}

fn codecs(figures: &mut Vec<(String, u64)>) {
    let pcm = noise(160);
    for (law, name) in [(Law::Mu, "µ-law"), (Law::A, "A-law")] {
        let mut codes = [0; 160];
        measure(figures, &format!("{name} encode, 160 samples"), || {
            law.encode(black_box(&pcm), &mut codes);
        });
        let mut back = [0; 160];
        measure(figures, &format!("{name} decode, 160 samples"), || {
            law.decode(black_box(&codes), &mut back);
        });
    }
    let bytes = vec![7; 640];
    let mut text = Vec::with_capacity(1024);
    measure(figures, "base64 encode, 640 bytes", || {
        text.clear();
        base64::encode(black_box(&bytes), &mut text);
    });
    let mut back = Vec::with_capacity(1024);
    measure(figures, "base64 decode, 640 bytes", || {
        back.clear();
        let _ = base64::decode(black_box(&text), &mut back);
    });
}

fn resampling(figures: &mut Vec<(String, u64)>) {
    for (from, to) in
        [(8000, 16_000), (16_000, 8000), (8000, 24_000), (24_000, 8000), (16_000, 24_000), (24_000, 16_000)]
    {
        let Ok(mut resampler) = Resampler::new(from, to) else { continue };
        let input = noise(from as usize / 50);
        let mut output = vec![0; to as usize / 50];
        measure(figures, &format!("resample {from} to {to} Hz, 20 ms"), || {
            resampler.process(black_box(&input), &mut output);
        });
    }
}

fn repair_and_speech(figures: &mut Vec<(String, u64)>) {
    let mut block = noise(160);
    let mut plc = Plc::new(8000);
    measure(figures, "loss concealment, a good frame", || plc.good(black_box(&mut block)));
    let mut gap = vec![0; 160];
    measure(figures, "loss concealment, a lost and a good frame", || {
        plc.conceal(&mut gap);
        plc.good(black_box(&mut block));
    });
    let mut vad = Vad::new(VadConfig::telephone(8000));
    measure(figures, "voice activity, 160 samples", || {
        black_box(vad.process(black_box(&block)));
    });
    measure(figures, "RMS level, 160 samples", || {
        black_box(level::rms_dbfs(black_box(&block)));
    });
    let other = noise(160);
    measure(figures, "mix, 160 samples", || gain::mix(black_box(&mut gap), black_box(&other)));
}

fn packets(figures: &mut Vec<(String, u64)>) {
    let mut sender = RtpSender::new(1, 1, 1);
    let mut statistics = ReceiverStats::new(8000);
    let mut buffer = JitterBuffer::new(JitterConfig::g711());
    let mut datagram = [0; HEADER_LEN + 160];
    let mut now = Nanos::ZERO;
    measure(figures, "RTP write, 160 bytes", || {
        let _ = sender.write_audio(0, 160, black_box(&[7; 160]), &mut datagram);
    });
    measure(figures, "RTP parse and statistics", || {
        if let Ok(packet) = RtpPacket::parse(black_box(&datagram)) {
            statistics.receive(now, &packet.header);
        }
    });
    measure(figures, "RTP write, parse, jitter buffer in and out", || {
        now += Nanos::from_millis(20);
        let _ = sender.write_audio(0, 160, &[7; 160], &mut datagram);
        if let Ok(packet) = RtpPacket::parse(black_box(&datagram)) {
            buffer.push(now, &packet);
        }
        black_box(buffer.pop(now));
    });
}
