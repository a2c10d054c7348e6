//! From 20 ms frames to RTP packets: one SSRC, a timeline without gaps.

use std::net::SocketAddr;

use trunkline_rtp::telephone_event::{DigitSender, DigitTick, PAYLOAD_LEN};
use trunkline_rtp::{HEADER_LEN, Nanos, RtpSender};

use crate::audio;
use crate::types::{Parameters, Sink};

const MAX_PACKET: usize = HEADER_LEN + audio::MAX_PACKET_SAMPLES * 2;

/// The sending half of the phone side.
#[derive(Debug)]
pub(crate) struct Sender {
    rtp: RtpSender,
    digits: DigitSender,
    /// Audio that does not fill a packet yet.
    pending: Vec<i16>,
    payload: Vec<u8>,
    packet: [u8; MAX_PACKET],
    sent: u64,
    last_sent: Nanos,
}

/// What the line is used for in the next 20 ms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Line {
    Audio,
    /// A digit or its pause: audio waits.
    Digit,
    /// We may not send.
    Closed,
}

impl Sender {
    pub(crate) fn new(ssrc: u32, sequence: u16, timestamp: u32) -> Self {
        Self {
            rtp: RtpSender::new(ssrc, sequence, timestamp),
            digits: DigitSender::new(8000),
            pending: Vec::with_capacity(audio::MAX_PACKET_SAMPLES * 2),
            payload: Vec::with_capacity(audio::MAX_PACKET_SAMPLES * 2),
            packet: [0; MAX_PACKET],
            sent: 0,
            last_sent: Nanos::ZERO,
        }
    }

    pub(crate) fn change(&mut self, old: Option<&Parameters>, new: &Parameters) {
        let same = old.is_some_and(|old| {
            (old.codec, old.clock_rate, old.direction.sends())
                == (new.codec, new.clock_rate, new.direction.sends())
        });
        if !same {
            self.pending.clear();
        }
        if old.is_none_or(|old| old.clock_rate != new.clock_rate) {
            self.digits = DigitSender::new(new.clock_rate);
        }
    }

    pub(crate) fn dial(&mut self, digit: char, duration: Nanos, gap: Nanos) -> bool {
        self.digits.enqueue(digit, duration, gap)
    }

    pub(crate) fn line(&self, parameters: &Parameters) -> Line {
        if !parameters.direction.sends() {
            Line::Closed
        } else if self.digits.is_busy() && parameters.dtmf_payload_type.is_some() {
            Line::Digit
        } else {
            Line::Audio
        }
    }

    /// Lets `samples` pass without audio: hold.
    pub(crate) fn pause(&mut self, samples: usize) {
        self.rtp.pause(samples as u32);
    }

    /// Sends `frame`, as soon as it fills a packet.
    pub(crate) fn audio(
        &mut self,
        now: Nanos,
        frame: &[i16],
        parameters: &Parameters,
        to: SocketAddr,
        sink: &mut impl Sink,
    ) {
        self.pending.extend_from_slice(frame);
        let packet = (parameters.clock_rate * parameters.ptime_ms / 1000) as usize;
        while self.pending.len() >= packet {
            self.send_pending(now, packet, parameters, to, sink);
        }
    }

    fn send_pending(
        &mut self,
        now: Nanos,
        count: usize,
        parameters: &Parameters,
        to: SocketAddr,
        sink: &mut impl Sink,
    ) {
        audio::encode(parameters.codec, &self.pending[..count], &mut self.payload);
        self.pending.copy_within(count.., 0);
        self.pending.truncate(self.pending.len() - count);
        let length = self
            .rtp
            .write_audio(parameters.payload_type, count as u32, &self.payload, &mut self.packet)
            .expect("the buffer holds the longest packet time that parameters allow");
        sink.send_rtp(to, &self.packet[..length]);
        self.sent += 1;
        self.last_sent = now;
    }

    /// Sends what a digit needs in these 20 ms.
    pub(crate) fn digit(
        &mut self,
        now: Nanos,
        samples: usize,
        parameters: &Parameters,
        to: SocketAddr,
        sink: &mut impl Sink,
    ) {
        if !self.pending.is_empty() {
            self.send_pending(now, self.pending.len(), parameters, to, sink);
        }
        let samples = samples as u32;
        if let (DigitTick::Event { marker, timestamp, payload }, Some(payload_type)) =
            (self.digits.tick(self.rtp.timestamp(), samples), parameters.dtmf_payload_type)
        {
            let header = self.rtp.event(payload_type, timestamp, marker, PAYLOAD_LEN);
            let (head, body) = self.packet.split_at_mut(HEADER_LEN);
            if header.write(head).is_ok() {
                body[..PAYLOAD_LEN].copy_from_slice(&payload.to_bytes());
                sink.send_rtp(to, &self.packet[..HEADER_LEN + PAYLOAD_LEN]);
                self.sent += 1;
                self.last_sent = now;
            }
        }
        self.rtp.pause(samples);
    }

    pub(crate) fn rtp(&self) -> &RtpSender {
        &self.rtp
    }

    pub(crate) fn sent(&self) -> u64 {
        self.sent
    }

    /// When the last packet left; zero when none did.
    pub(crate) fn last_sent(&self) -> Nanos {
        self.last_sent
    }
}
