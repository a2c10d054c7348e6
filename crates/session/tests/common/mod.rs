//! Two sessions, one virtual clock, two seeded paths.
#![allow(dead_code, reason = "each test binary uses its part")]
#![allow(clippy::unwrap_used, reason = "a failing step of a test should say so at once")]

use std::net::SocketAddr;

use trunkline_netem::{Impairment, Path};
use trunkline_session::{
    Codec, Direction, Nanos, Parameters, Session, SessionConfig, SessionEvent, Sink, StereoFrame,
};

pub(crate) const TICK: Nanos = Nanos::from_millis(20);

/// Everything a session put out, with events as text.
#[derive(Debug, Default)]
pub(crate) struct Out {
    pub(crate) rtp: Vec<(SocketAddr, Vec<u8>)>,
    pub(crate) rtcp: Vec<(SocketAddr, Vec<u8>, bool)>,
    pub(crate) engine: Vec<(Vec<u8>, u32)>,
    pub(crate) tapped: Vec<i16>,
    pub(crate) frames: Vec<StereoFrame>,
    pub(crate) events: Vec<String>,
}

impl Sink for Out {
    fn send_rtp(&mut self, to: SocketAddr, packet: &[u8]) {
        self.rtp.push((to, packet.to_vec()));
    }

    fn send_rtcp(&mut self, to: SocketAddr, packet: &[u8], mux: bool) {
        self.rtcp.push((to, packet.to_vec(), mux));
    }

    fn engine_audio(&mut self, encoded: &[u8], ms: u32) {
        self.engine.push((encoded.to_vec(), ms));
    }

    fn tap(&mut self, pcm: &[i16], _: u32) {
        self.tapped.extend_from_slice(pcm);
    }

    fn record(&mut self, frame: &StereoFrame) {
        self.frames.push(*frame);
    }

    fn event(&mut self, event: SessionEvent<'_>) {
        self.events.push(format!("{event:?}"));
    }
}

/// One end.
pub(crate) struct End {
    pub(crate) session: Session,
    pub(crate) out: Out,
    pub(crate) address: SocketAddr,
    rtp: Path,
    rtcp: Path,
}

/// Two ends that phone each other.
pub(crate) struct Pair {
    pub(crate) now: Nanos,
    pub(crate) a: End,
    pub(crate) b: End,
}

pub(crate) fn config(ssrc: u32) -> SessionConfig {
    SessionConfig {
        ssrc,
        sequence: 65_500,
        timestamp: u32::MAX - 1000,
        seed: u64::from(ssrc),
        rtp_silence: Nanos::from_secs(5),
    }
}

pub(crate) fn parameters(remote: SocketAddr, codec: Codec) -> Parameters {
    Parameters {
        remote,
        remote_rtcp: SocketAddr::new(remote.ip(), remote.port() + 1),
        rtcp_mux: false,
        codec,
        payload_type: match codec {
            Codec::Pcmu => 0,
            Codec::Pcma => 8,
            Codec::L16 => 96,
        },
        clock_rate: 8000,
        ptime_ms: 20,
        dtmf_payload_type: Some(101),
        direction: Direction::SendRecv,
    }
}

impl End {
    fn new(ssrc: u32, address: &str, impairment: Impairment) -> Self {
        Self {
            session: Session::new(Nanos::ZERO, config(ssrc)),
            out: Out::default(),
            address: address.parse().unwrap(),
            rtp: Path::new(u64::from(ssrc), impairment),
            rtcp: Path::new(u64::from(ssrc) + 1000, impairment),
        }
    }

    fn tick(&mut self, now: Nanos) {
        self.session.tick(now, &mut self.out);
        for (_, packet) in self.out.rtp.drain(..) {
            self.rtp.push(now, &packet);
        }
        for (_, packet, _) in self.out.rtcp.drain(..) {
            self.rtcp.push(now, &packet);
        }
    }

    fn deliver(&mut self, now: Nanos, to: &mut Self) {
        while let Some((at, packet)) = self.rtp.poll_with_time(now) {
            to.session.handle_rtp(at, self.address, &packet, &mut to.out);
        }
        let source = SocketAddr::new(self.address.ip(), self.address.port() + 1);
        while let Some((at, packet)) = self.rtcp.poll_with_time(now) {
            to.session.handle_rtcp(at, source, &packet);
        }
    }

    pub(crate) fn events(&self, kind: &str) -> Vec<&str> {
        self.out.events.iter().filter(|event| event.starts_with(kind)).map(String::as_str).collect()
    }
}

impl Pair {
    pub(crate) fn new(impairment: Impairment) -> Self {
        let a = End::new(1, "192.0.2.1:4000", impairment);
        let b = End::new(2, "192.0.2.2:5000", impairment);
        Self { now: Nanos::from_secs(1), a, b }
    }

    pub(crate) fn connected(impairment: Impairment, codec: Codec) -> Self {
        let mut pair = Self::new(impairment);
        pair.connect(codec);
        pair
    }

    pub(crate) fn connect(&mut self, codec: Codec) {
        self.a.session.connect(self.now, parameters(self.b.address, codec));
        self.b.session.connect(self.now, parameters(self.a.address, codec));
    }

    /// Lets `ms` of time pass.
    pub(crate) fn run(&mut self, ms: u64) {
        let end = self.now + Nanos::from_millis(ms);
        while self.now < end {
            self.now += TICK;
            self.a.deliver(self.now, &mut self.b);
            self.b.deliver(self.now, &mut self.a);
            self.a.tick(self.now);
            self.b.tick(self.now);
        }
    }
}

pub(crate) fn sine(hertz: f64, ms: usize, rate: u32, peak: f64) -> Vec<u8> {
    let step = std::f64::consts::TAU * hertz / f64::from(rate);
    (0..ms * rate as usize / 1000)
        .flat_map(|index| ((peak * (step * index as f64).sin()) as i16).to_le_bytes())
        .collect()
}

/// Strength of one frequency, as the peak of a sine.
pub(crate) fn strength(pcm: &[i16], hertz: f64, rate: u32) -> f64 {
    let step = std::f64::consts::TAU * hertz / f64::from(rate);
    let (mut re, mut im) = (0.0, 0.0);
    for (index, &sample) in pcm.iter().enumerate() {
        let angle = step * index as f64;
        re += f64::from(sample) * angle.cos();
        im += f64::from(sample) * angle.sin();
    }
    2.0 * re.hypot(im) / pcm.len().max(1) as f64
}

pub(crate) fn loud_ms(pcm: &[i16]) -> usize {
    pcm.chunks(40).filter(|block| block.iter().any(|sample| sample.unsigned_abs() > 400)).count() * 5
}
