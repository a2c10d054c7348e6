//! From the peer's datagrams to the caller's audio, 20 ms at a time.

use std::net::SocketAddr;

use trunkline_rtp::telephone_event::{Digit, DigitReceiver};
use trunkline_rtp::{
    JitterBuffer, JitterConfig, JitterStats, LatchOutcome, Nanos, Pop, ReceiverStats, RtpPacket, SourceLatch,
};

use crate::audio::{self, Plc};
use crate::types::{Codec, Parameters, SessionEvent};

/// The receiving half of the phone side.
#[derive(Debug)]
pub(crate) struct Receiver {
    parameters: Parameters,
    latch: SourceLatch,
    jitter: JitterBuffer,
    plc: Plc,
    statistics: ReceiverStats,
    digits: DigitReceiver,
    /// Decoded audio that the last frame left over.
    rest: Vec<i16>,
    decoded: Vec<i16>,
    quiet_limit: Nanos,
    last_packet: Nanos,
    silence_reported: bool,
    first_reported: bool,
    received: u64,
    rejected: u64,
    before: JitterStats,
}

impl Receiver {
    pub(crate) fn new(now: Nanos, parameters: Parameters, quiet_limit: Nanos) -> Self {
        let rate = parameters.clock_rate;
        Self {
            latch: SourceLatch::new(parameters.remote),
            jitter: JitterBuffer::new(jitter_config(&parameters)),
            plc: Plc::new(rate),
            statistics: ReceiverStats::new(rate),
            digits: DigitReceiver::new(rate),
            rest: Vec::with_capacity(audio::MAX_PACKET_SAMPLES * 2),
            decoded: Vec::with_capacity(audio::MAX_PACKET_SAMPLES),
            quiet_limit,
            last_packet: now,
            silence_reported: false,
            first_reported: false,
            received: 0,
            rejected: 0,
            before: JitterStats::default(),
            parameters,
        }
    }

    /// A re-INVITE changed something.
    pub(crate) fn change(&mut self, now: Nanos, parameters: Parameters) {
        let old = std::mem::replace(&mut self.parameters, parameters);
        let moved = self.latch.signal(parameters.remote);
        if (old.codec, old.clock_rate) != (parameters.codec, parameters.clock_rate) {
            let rate = parameters.clock_rate;
            self.before = add(self.before, self.jitter.stats());
            self.jitter = JitterBuffer::new(jitter_config(&parameters));
            self.plc = Plc::new(rate);
            self.statistics = ReceiverStats::new(rate);
            self.digits = DigitReceiver::new(rate);
            self.rest.clear();
        } else if moved || old.direction != parameters.direction {
            self.jitter.reset();
            self.rest.clear();
        }
        if old.direction.receives() != parameters.direction.receives() || moved {
            self.last_packet = now;
            self.silence_reported = false;
        }
    }

    pub(crate) fn reject(&mut self) {
        self.rejected += 1;
    }

    /// Where our packets go.
    pub(crate) fn destination(&self) -> SocketAddr {
        self.latch.destination()
    }

    /// The peer's address as far as its packets proved it.
    pub(crate) fn latched(&self) -> Option<SocketAddr> {
        self.latch.latched()
    }

    pub(crate) fn statistics(&mut self) -> &mut ReceiverStats {
        &mut self.statistics
    }

    pub(crate) fn receive(
        &mut self,
        now: Nanos,
        source: SocketAddr,
        datagram: &[u8],
        mut event: impl FnMut(SessionEvent<'_>),
    ) {
        let Ok(packet) = RtpPacket::parse(datagram) else {
            self.rejected += 1;
            return;
        };
        if self.latch.receive(source) == LatchOutcome::Rejected {
            self.rejected += 1;
            return;
        }
        self.received += 1;
        self.last_packet = now;
        self.silence_reported = false;
        if !self.first_reported {
            self.first_reported = true;
            event(SessionEvent::FirstPacket { source });
        }
        let payload_type = packet.header.payload_type;
        let is_digit = Some(payload_type) == self.parameters.dtmf_payload_type;
        self.statistics.receive(now, &packet.header);
        if is_digit {
            for digit in self.digits.receive(now, &packet) {
                event(digit_event(digit));
            }
        }
        if !self.parameters.direction.receives() {
            return;
        }
        if payload_type == self.parameters.payload_type && !is_digit {
            self.jitter.push(now, &packet);
        } else {
            self.jitter.note_foreign(&packet.header);
        }
    }

    /// Fills `frame` with what is to be heard from `now` on.
    pub(crate) fn pull(&mut self, now: Nanos, frame: &mut [i16], mut event: impl FnMut(SessionEvent<'_>)) {
        if let Some(digit) = self.digits.poll(now) {
            event(digit_event(digit));
        }
        self.report_silence(now, &mut event);
        if !self.parameters.direction.receives() {
            frame.fill(0);
            return;
        }
        let rate = self.parameters.clock_rate;
        while self.rest.len() < frame.len() {
            let at = now + Nanos::from_samples(self.rest.len() as u64, rate);
            match self.jitter.pop(at) {
                Pop::Frame(piece) => {
                    audio::decode(self.parameters.codec, piece.payload, &mut self.decoded);
                    if piece.after_skip {
                        self.plc.join(&mut self.decoded);
                    } else {
                        self.plc.good(&mut self.decoded);
                    }
                }
                Pop::Conceal { samples, .. } => {
                    self.decoded.clear();
                    self.decoded.resize(samples as usize, 0);
                    self.plc.conceal(&mut self.decoded);
                }
                Pop::Silence { samples, .. } => {
                    self.decoded.clear();
                    self.decoded.resize(samples as usize, 0);
                    self.plc.good(&mut self.decoded);
                }
            }
            if self.decoded.is_empty() {
                // A piece without samples would make this loop endless; the rest of the frame is
                // silence then.
                break;
            }
            self.rest.extend_from_slice(&self.decoded);
        }
        let count = self.rest.len().min(frame.len());
        frame[..count].copy_from_slice(&self.rest[..count]);
        frame[count..].fill(0);
        self.rest.copy_within(count.., 0);
        self.rest.truncate(self.rest.len() - count);
    }

    /// Whether a digit is being pressed right now: its tones, if a gateway left them in, are not speech.
    pub(crate) fn is_digit_pressed(&self) -> bool {
        self.digits.is_pressed()
    }

    pub(crate) fn set_quiet(&mut self, quiet: bool) {
        self.jitter.set_quiet(quiet);
    }

    fn report_silence(&mut self, now: Nanos, event: &mut impl FnMut(SessionEvent<'_>)) {
        let quiet = now.since(self.last_packet);
        if self.silence_reported || quiet < self.quiet_limit || !self.parameters.direction.receives() {
            return;
        }
        self.silence_reported = true;
        event(SessionEvent::RtpSilence { quiet_ms: u32::try_from(quiet.as_millis()).unwrap_or(u32::MAX) });
    }

    pub(crate) fn fill(&self, stats: &mut crate::types::Stats) {
        let jitter = add(self.before, self.jitter.stats());
        stats.rtp_received = self.received;
        stats.rtp_rejected = self.rejected;
        stats.rtp_lost = self.statistics.lost();
        stats.rtp_late = jitter.late;
        stats.rtp_duplicate = jitter.duplicate;
        stats.concealed_ms = jitter.concealed * 1000 / u64::from(self.parameters.clock_rate);
        stats.jitter = self.statistics.jitter();
        stats.buffer = jitter.delay;
    }
}

fn digit_event(digit: Digit) -> SessionEvent<'static> {
    let duration_ms = u32::try_from(digit.duration.as_millis()).unwrap_or(u32::MAX);
    SessionEvent::Digit { digit: digit.digit, duration_ms }
}

fn jitter_config(parameters: &Parameters) -> JitterConfig {
    match parameters.codec {
        Codec::Pcmu | Codec::Pcma => JitterConfig::g711(),
        Codec::L16 => JitterConfig::l16(parameters.clock_rate),
    }
}

fn add(before: JitterStats, now: JitterStats) -> JitterStats {
    JitterStats {
        late: before.late + now.late,
        duplicate: before.duplicate + now.duplicate,
        concealed: before.concealed + now.concealed,
        ..now
    }
}
