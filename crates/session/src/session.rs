//! One call's media, without sockets, threads or a clock.

use std::net::SocketAddr;

use trunkline_rtp::{Nanos, is_rtcp};

use crate::audio::{self, EngineDecoder, Resampler, Vad};
use crate::mask::{Mask, MaskEvent};
use crate::playout::{Playout, PlayoutEvent};
use crate::receive::Receiver;
use crate::report::Reports;
use crate::send::{Line, Sender};
use crate::types::{EngineFormat, MaskMode, Parameters, SessionEvent, Sink, Stats};
use crate::uplink::{Batcher, EngineUplink, RecordingTap};

/// Frames a second; every rate in use divides by it.
const FRAMES_PER_SECOND: u32 = 50;
/// Rate before the codec is known.
const DEFAULT_RATE: u32 = 8000;
/// Longest fade.
const MAX_FADE_MS: u32 = 500;

/// What a session begins with. RFC 3550 wants the three numbers to be random.
#[derive(Debug, Clone, Copy)]
pub struct SessionConfig {
    /// Our synchronisation source.
    pub ssrc: u32,
    /// First sequence number.
    pub sequence: u16,
    /// First timestamp.
    pub timestamp: u32,
    /// Spreads reports of different calls.
    pub seed: u64,
    /// RTP silence is reported after this long.
    pub rtp_silence: Nanos,
}

/// One call's media.
///
/// Feed it with `handle_*` and commands as they come and call [`tick`](Self::tick) every 20 ms; all
/// that it produces goes to the [`Sink`] of the call. Nothing here fails because of the peer.
#[derive(Debug)]
pub struct Session {
    config: SessionConfig,
    rate: u32,
    parameters: Option<Parameters>,
    receiver: Option<Receiver>,
    sender: Sender,
    reports: Reports,
    playout: Playout,
    mask: Option<Mask>,
    /// A mask that a new one replaced, or that ended outside a tick; its end is reported next.
    replaced: Option<Mask>,
    engine: Option<EngineUplink>,
    decoder: Option<EngineDecoder>,
    tap: Option<Batcher>,
    recording: Option<RecordingTap>,
    vad: Vad,
    local: Option<(u32, Resampler)>,
    caller: Vec<i16>,
    ours: Vec<i16>,
    scratch: Vec<i16>,
}

impl Session {
    /// A session that has no peer yet.
    pub fn new(now: Nanos, config: SessionConfig) -> Self {
        let frame = (DEFAULT_RATE / FRAMES_PER_SECOND) as usize;
        Self {
            rate: DEFAULT_RATE,
            parameters: None,
            receiver: None,
            sender: Sender::new(config.ssrc, config.sequence, config.timestamp),
            reports: Reports::new(now, config.seed),
            playout: Playout::new(DEFAULT_RATE),
            mask: None,
            replaced: None,
            engine: None,
            decoder: None,
            tap: None,
            recording: None,
            vad: Vad::new(DEFAULT_RATE),
            local: None,
            caller: vec![0; frame],
            ours: vec![0; frame],
            scratch: Vec::with_capacity(frame * 8),
            config,
        }
    }

    // --- commands ---------------------------------------------------------------------------------

    /// Begins to send and receive, or changes how, with SSRC, sequence and timestamp continuing.
    pub fn connect(&mut self, now: Nanos, parameters: Parameters) {
        self.sender.change(self.parameters.as_ref(), &parameters);
        if self.parameters.is_some_and(|old| old.remote_rtcp != parameters.remote_rtcp) {
            self.reports.moved();
        }
        match &mut self.receiver {
            Some(receiver) => receiver.change(now, parameters),
            None => self.receiver = Some(Receiver::new(now, parameters, self.config.rtp_silence)),
        }
        self.parameters = Some(parameters);
        if parameters.clock_rate != self.rate {
            self.change_rate(parameters.clock_rate);
        }
    }

    fn change_rate(&mut self, rate: u32) {
        let old = std::mem::replace(&mut self.rate, rate);
        let frame = (rate / FRAMES_PER_SECOND) as usize;
        self.playout.convert(rate, |pcm| audio::resample(pcm, old, rate));
        if let Some(mask) = self.mask.take() {
            self.mask = Some(mask.converted(rate, |pcm| audio::resample(pcm, old, rate)));
        }
        self.engine = self.engine.take().map(|engine| EngineUplink::new(rate, *engine.format()));
        self.decoder = self.decoder.take().map(|decoder| EngineDecoder::new(*decoder.format(), rate));
        self.tap = self.tap.take().map(|tap| Batcher::new(rate, tap.rate(), tap.batch_ms()));
        self.recording = self.recording.take().map(|_| RecordingTap::new(rate));
        self.local = None;
        self.vad = Vad::new(rate);
        self.caller = vec![0; frame];
        self.ours = vec![0; frame];
    }

    /// The engine's socket is open: caller audio flows to it from now on.
    pub fn engine_opened(&mut self, format: EngineFormat) {
        self.engine = Some(EngineUplink::new(self.rate, format));
        self.decoder = Some(EngineDecoder::new(format, self.rate));
    }

    /// The engine's socket is gone. What it sent is still played.
    pub fn engine_closed(&mut self) {
        self.engine = None;
        self.decoder = None;
    }

    /// Delivers the caller's audio as taps from now on.
    pub fn open_tap(&mut self, rate: u32, batch_ms: u32) {
        self.tap = Some(Batcher::new(self.rate, rate, batch_ms));
    }

    /// Ends the taps.
    pub fn close_tap(&mut self) {
        self.tap = None;
    }

    /// Records from now on, or stops.
    pub fn set_recording(&mut self, on: bool) {
        self.recording = on.then(|| RecordingTap::new(self.rate));
    }

    /// Queues audio of `item`: signed 16-bit little-endian at `rate`.
    pub fn play(&mut self, item: &str, pcm: &[u8], rate: u32) {
        if rate == self.rate {
            self.scratch.clear();
            audio::append_le(pcm, &mut self.scratch);
        } else {
            if self.local.as_ref().is_none_or(|&(known, _)| known != rate) {
                self.local = Some((rate, Resampler::new(rate, self.rate)));
            }
            let mut samples = Vec::with_capacity(pcm.len() / 2);
            audio::append_le(pcm, &mut samples);
            self.scratch.clear();
            if let Some((_, resampler)) = &mut self.local {
                resampler.process(&samples, &mut self.scratch);
            }
        }
        self.playout.push(item, &self.scratch);
    }

    /// No more audio of `item` will come.
    pub fn end_item(&mut self, item: &str) {
        self.playout.end(item);
    }

    /// Audio of `item` that comes from now on is discarded.
    pub fn drop_item(&mut self, item: &str) {
        self.playout.drop_item(item);
    }

    /// Silences playout and mask with a short fade; the next tick reports what was heard.
    pub fn flush(&mut self, fade_ms: u32) {
        let fade = self.fade_samples(fade_ms);
        let held = self.mask.as_ref().is_some_and(Mask::holds_the_turn);
        self.playout.flush(if held { 0 } else { fade });
        if let Some(mask) = &mut self.mask {
            mask.fade_out(fade);
        }
    }

    /// Plays bridging audio at once, in place of an earlier mask.
    pub fn mask(&mut self, name: &str, pcm: &[u8], rate: u32, mode: MaskMode, looped: bool) {
        let mut samples = Vec::with_capacity(pcm.len() / 2);
        audio::append_le(pcm, &mut samples);
        let samples = audio::resample(&samples, rate, self.rate);
        let mask = Mask::new(name.to_owned(), samples, self.rate, mode, looped);
        if let Some(old) = self.mask.replace(mask)
            && self.replaced.is_none()
        {
            self.replaced = Some(old);
        }
    }

    /// Ends the mask with a fade.
    pub fn unmask(&mut self, fade_ms: u32) {
        let fade = self.fade_samples(fade_ms);
        if let Some(mask) = &mut self.mask {
            mask.fade_out(fade);
        }
    }

    /// Queues digits for sending; `false` when the peer takes none, or when one of them is none or does
    /// not fit.
    pub fn send_dtmf(&mut self, digits: &str, duration: Nanos, gap: Nanos) -> bool {
        if self.parameters.is_none_or(|parameters| parameters.dtmf_payload_type.is_none()) {
            return false;
        }
        digits.chars().all(|digit| self.sender.dial(digit, duration, gap))
    }

    fn fade_samples(&self, fade_ms: u32) -> usize {
        (self.rate * fade_ms.min(MAX_FADE_MS) / 1000) as usize
    }

    // --- input ------------------------------------------------------------------------------------

    /// A datagram came to the RTP port.
    pub fn handle_rtp(&mut self, now: Nanos, source: SocketAddr, datagram: &[u8], sink: &mut impl Sink) {
        if is_rtcp(datagram) {
            self.handle_rtcp(now, source, datagram);
        } else if let Some(receiver) = &mut self.receiver {
            receiver.receive(now, source, datagram, |event| sink.event(event));
        }
    }

    /// A datagram came to the RTCP port.
    pub fn handle_rtcp(&mut self, now: Nanos, source: SocketAddr, datagram: &[u8]) {
        if let Some(receiver) = &mut self.receiver {
            let peer = receiver.destination();
            if !self.reports.receive(now, source, datagram, peer, receiver.statistics()) {
                receiver.reject();
            }
        }
    }

    /// Audio came on the engine's socket.
    pub fn handle_engine_audio(&mut self, item: &str, bytes: &[u8]) {
        if let Some(decoder) = &mut self.decoder {
            self.scratch.clear();
            decoder.decode(item, bytes, &mut self.scratch);
            self.playout.push(item, &self.scratch);
        }
    }

    // --- time -------------------------------------------------------------------------------------

    /// 20 ms have passed.
    pub fn tick(&mut self, now: Nanos, sink: &mut impl Sink) {
        if let Some(mask) = self.replaced.take() {
            report_mask_end(&mask, sink);
        }
        self.playout.report_displaced(|event| sink.event(playout_event(event)));
        self.tick_caller(now, sink);
        let Some(parameters) = self.parameters else {
            // Nobody listens yet; a flush is answered all the same.
            self.playout.finish_flush(|event| sink.event(playout_event(event)));
            return;
        };
        self.tick_ours(now, &parameters, sink);
        if let Some(recording) = &mut self.recording {
            recording.push(&self.caller, &self.ours, sink);
        }
        self.tick_reports(now, &parameters, sink);
    }

    fn tick_caller(&mut self, now: Nanos, sink: &mut impl Sink) {
        let Some(receiver) = &mut self.receiver else {
            return;
        };
        receiver.pull(now, &mut self.caller, |event| sink.event(event));
        // Tones of a digit that a gateway left in the audio are not speech.
        if !receiver.is_digit_pressed()
            && let Some(change) = self.vad.push(&self.caller)
        {
            sink.event(SessionEvent::CallerSpeech { started: change.started, lag_ms: change.lag_ms });
        }
        receiver.set_quiet(self.vad.is_quiet());
        if let Some(engine) = &mut self.engine {
            engine.push(&self.caller, sink);
        }
        if let Some(tap) = &mut self.tap {
            let rate = tap.rate();
            tap.push(&self.caller, |pcm| sink.tap(pcm, rate));
        }
    }

    fn tick_ours(&mut self, now: Nanos, parameters: &Parameters, sink: &mut impl Sink) {
        let to = self.receiver.as_ref().map_or(parameters.remote, Receiver::destination);
        let samples = self.ours.len();
        match self.sender.line(parameters) {
            Line::Audio => {
                self.mix(sink);
                self.sender.audio(now, &self.ours, parameters, to, sink);
            }
            Line::Digit => {
                self.silence(sink);
                self.sender.digit(now, samples, parameters, to, sink);
            }
            Line::Closed => {
                self.silence(sink);
                self.sender.pause(samples);
            }
        }
    }

    /// Playout and mask into `ours`.
    fn mix(&mut self, sink: &mut impl Sink) {
        let held = self.mask.as_ref().is_some_and(Mask::holds_the_turn);
        let busy = if held && !self.playout.is_flushing() {
            self.ours.fill(0);
            false
        } else {
            self.playout.pull(&mut self.ours, |event| sink.event(playout_event(event))) > 0
        };
        if let Some(mask) = &mut self.mask
            && !mask.mix(&mut self.ours, busy, |event| sink.event(mask_event(&event)))
        {
            self.mask = None;
        }
    }

    /// Nothing of ours is heard in these 20 ms: playout and mask wait, what is to end ends.
    fn silence(&mut self, sink: &mut impl Sink) {
        self.ours.fill(0);
        self.playout.finish_flush(|event| sink.event(playout_event(event)));
        if let Some(mask) = self.mask.take_if(|mask| mask.is_fading()) {
            report_mask_end(&mask, sink);
        }
    }

    fn tick_reports(&mut self, now: Nanos, parameters: &Parameters, sink: &mut impl Sink) {
        let Some(receiver) = &mut self.receiver else {
            return;
        };
        let report = self.reports.poll(now, parameters, self.sender.rtp(), receiver.statistics());
        if let Some((to, packet)) = report {
            sink.send_rtcp(to, packet, parameters.rtcp_mux);
        }
    }

    /// Says goodbye by RTCP and reports a mask that is cut off.
    pub fn close(&mut self, now: Nanos, sink: &mut impl Sink) {
        let (Some(parameters), Some(receiver)) = (&self.parameters, &mut self.receiver) else {
            return;
        };
        let report = self.reports.goodbye(now, parameters, self.sender.rtp(), receiver.statistics());
        if let Some((to, packet)) = report {
            sink.send_rtcp(to, packet, parameters.rtcp_mux);
        }
    }

    // --- questions --------------------------------------------------------------------------------

    /// Counters now.
    pub fn stats(&self) -> Stats {
        let mut stats = Stats {
            rtp_sent: self.sender.sent(),
            round_trip: self.reports.round_trip(),
            playout_dropped_ms: self.playout.dropped_ms(),
            ..Stats::default()
        };
        if let Some(receiver) = &self.receiver {
            receiver.fill(&mut stats);
        }
        stats
    }

    /// When the last RTP packet left; zero when none did.
    pub fn last_rtp_sent(&self) -> Nanos {
        self.sender.last_sent()
    }

    /// The peer's RTP address as its packets proved it.
    pub fn peer(&self) -> Option<SocketAddr> {
        self.receiver.as_ref().and_then(Receiver::latched)
    }
}

fn report_mask_end(mask: &Mask, sink: &mut impl Sink) {
    if mask.has_started() {
        sink.event(mask_event(&mask.ended()));
    }
}

fn playout_event(event: PlayoutEvent<'_>) -> SessionEvent<'_> {
    match event {
        PlayoutEvent::Started(item) => SessionEvent::PlayStarted { item },
        PlayoutEvent::Ended { item, heard_ms, total_ms } => {
            SessionEvent::PlayEnded { item, heard_ms, total_ms }
        }
        PlayoutEvent::Flushed(heard) => SessionEvent::Flushed { heard },
    }
}

fn mask_event<'a>(event: &MaskEvent<'a>) -> SessionEvent<'a> {
    match *event {
        MaskEvent::Started(name) => SessionEvent::MaskStarted { name },
        MaskEvent::Ended { name, played_ms } => SessionEvent::MaskEnded { name, played_ms },
    }
}
