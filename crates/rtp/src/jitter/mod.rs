//! Adaptive jitter buffer for one stream of packets.

mod delay;
mod slots;

use delay::DelayEstimator;
use slots::{Arrival, Entry, Slots};

use crate::packet::{RtpHeader, RtpPacket};
use crate::time::Nanos;
use crate::wrapping::{sequence_distance, timestamp_distance};

/// Frames of concealment in a row; silence follows, because longer repetition sounds robotic.
const CONCEAL_FRAMES: u32 = 3;
/// Sequence numbers behind the newest that are remembered.
const MEMORY: i16 = 64;
/// Too much delay must last this long before a packet of audible audio is left out.
const PATIENCE: Nanos = Nanos::from_secs(2);
/// Least time between two adjustments while audio is audible.
const PACE: Nanos = Nanos::from_millis(200);
/// Without packets for this long, a late one begins a new talkspurt instead of being late.
const PAUSE: Nanos = Nanos::from_millis(500);
/// So many packets in a row later than the largest delay: the path has changed.
const LATE_IN_A_ROW: u32 = 5;
/// Two packets of a new timeline must not lie farther apart.
const HELD_FOR: Nanos = Nanos::from_secs(1);

/// How the length of a payload tells its duration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Framing {
    /// So many bytes a sample (of the RTP clock): 1 for G.711 and G.722, 2 for L16 mono.
    Linear {
        /// Bytes of one sample; not zero.
        bytes_per_sample: usize,
    },
}

impl Framing {
    fn samples(self, length: usize) -> u32 {
        match self {
            Self::Linear { bytes_per_sample } => (length / bytes_per_sample.max(1)) as u32,
        }
    }

    fn bytes(self, samples: u32) -> usize {
        match self {
            Self::Linear { bytes_per_sample } => samples as usize * bytes_per_sample.max(1),
        }
    }
}

/// Fixed properties of a [`JitterBuffer`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JitterConfig {
    /// RTP clock rate in hertz.
    pub clock_rate: u32,
    /// How payloads are measured.
    pub framing: Framing,
    /// Length of one piece of concealment or silence in samples: the step of the playout side.
    pub frame_samples: u32,
    /// The target delay is never below this.
    pub min_delay: Nanos,
    /// Delay at the beginning, before jitter is known.
    pub initial_delay: Nanos,
    /// The playout is never behind the fastest packets by more than this.
    pub max_delay: Nanos,
    /// Packets that can wait; with twice the largest delay a burst after a stall fits.
    pub packets: usize,
    /// Longest payload in bytes.
    pub max_payload: usize,
}

impl JitterConfig {
    /// G.711 in steps of 20 ms: 20 to 200 ms of delay, payloads up to 60 ms.
    pub const fn g711() -> Self {
        Self {
            clock_rate: 8000,
            framing: Framing::Linear { bytes_per_sample: 1 },
            frame_samples: 160,
            min_delay: Nanos::from_millis(20),
            initial_delay: Nanos::from_millis(20),
            max_delay: Nanos::from_millis(200),
            packets: 32,
            max_payload: 480,
        }
    }

    /// L16 mono at `clock_rate`, otherwise like [`g711`](Self::g711).
    pub const fn l16(clock_rate: u32) -> Self {
        Self {
            clock_rate,
            framing: Framing::Linear { bytes_per_sample: 2 },
            frame_samples: clock_rate / 50,
            max_payload: 1472,
            ..Self::g711()
        }
    }
}

/// What became of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PushOutcome {
    /// It waits for its turn.
    Stored,
    /// Its turn has passed.
    Late,
    /// Its sequence number came before.
    Duplicate,
    /// Its source or its numbers do not continue the stream. It is held: a second packet that
    /// continues it proves a new stream.
    Held,
    /// It proved a new stream, which begins with the held packet and this one. What still waited of
    /// the old stream is discarded.
    Restarted,
    /// No audio in it, or more than a slot holds.
    Unusable,
}

/// Audio for the caller of [`JitterBuffer::pop`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JitterFrame<'a> {
    /// Encoded audio: a packet's payload, without what has been concealed of it already.
    pub payload: &'a [u8],
    /// Its length in samples.
    pub samples: u32,
    /// RTP timestamp of its first sample.
    pub timestamp: u32,
    /// Sequence number of its packet.
    pub sequence: u16,
    /// Marker of its packet: the beginning of a talkspurt.
    pub marker: bool,
    /// Audio before it was left out to lower the delay; a short cross-fade hides the seam.
    pub after_skip: bool,
}

/// Why audio has to be invented.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConcealCause {
    /// The packet is missing although later ones are there.
    Lost,
    /// Nothing is there; the packet is late or lost.
    Underrun,
    /// Nothing is missing: the delay has to grow by this piece.
    Stretch,
}

/// Why there is no audio.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SilenceCause {
    /// No packet came yet, or the first ones wait out the delay.
    Buffering,
    /// The peer sends nothing on purpose, or concealment has gone on for long enough.
    Pause,
}

/// One piece for the playout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pop<'a> {
    /// Decode this.
    Frame(JitterFrame<'a>),
    /// Invent so many samples from what was played before.
    Conceal {
        /// Length; at most one frame.
        samples: u32,
        /// Why.
        cause: ConcealCause,
    },
    /// Play silence or comfort noise.
    Silence {
        /// Length; at most one frame.
        samples: u32,
        /// Why.
        cause: SilenceCause,
    },
}

impl Pop<'_> {
    /// Length of the piece in samples of the RTP clock.
    pub fn samples(&self) -> u32 {
        match self {
            Self::Frame(frame) => frame.samples,
            Self::Conceal { samples, .. } | Self::Silence { samples, .. } => *samples,
        }
    }
}

/// Counters of a [`JitterBuffer`]; lengths in samples.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct JitterStats {
    /// Packets that were stored.
    pub stored: u64,
    /// Packets whose turn had passed.
    pub late: u64,
    /// Packets that came twice.
    pub duplicate: u64,
    /// Packets discarded because every slot was taken.
    pub overflow: u64,
    /// Packets held back and never confirmed, or without usable audio.
    pub refused: u64,
    /// Times that a new stream or timeline began.
    pub restarts: u64,
    /// Concealment in place of missing packets.
    pub concealed: u64,
    /// Concealment inserted to let the delay grow.
    pub stretched: u64,
    /// Audio left out to let the delay shrink.
    pub skipped: u64,
    /// Delay of the playout behind the fastest packets.
    pub delay: Nanos,
    /// The delay that it should have.
    pub target: Nanos,
}

/// Puts packets back into order and time.
///
/// [`push`](Self::push) takes packets as they come, [`pop`](Self::pop) hands out audio in steps of the
/// playout clock. Packets may have any duration, and another than the step: a caller that needs
/// exactly 20 ms keeps the rest of a piece for the next round.
///
/// The delay follows the measured jitter. It grows by inserting concealment, at once when a late
/// packet proves the need; it shrinks by leaving out packets: while the audio is quiet
/// ([`set_quiet`](Self::set_quiet)), after a pause for nothing, and in audible audio only when there
/// is far too much delay for seconds. A drift between the peer's clock and ours is worked off the
/// same way, one packet in minutes.
///
/// All memory is taken in [`new`](Self::new); nothing is allocated afterwards.
#[derive(Clone, Debug)]
pub struct JitterBuffer {
    config: JitterConfig,
    slots: Slots,
    held: HeldPacket,
    stream: Option<Stream>,
    estimator: DelayEstimator,
    quiet: bool,
    stats: JitterStats,
}

#[derive(Clone, Debug)]
struct HeldPacket {
    header: Option<(RtpHeader, Nanos)>,
    payload: Vec<u8>,
}

/// State of the stream that is being played.
#[derive(Clone, Debug)]
struct Stream {
    ssrc: u32,
    /// Position and RTP timestamp of the same sample: ties the extended timeline to the wire's.
    anchor: (i64, u32),
    /// Until when the first packets wait; `None` once the playout runs.
    buffering_until: Option<Nanos>,
    /// Sample that is played next.
    next: i64,
    /// End of the last real audio that was played.
    played_end: i64,
    last_played: Option<u16>,
    highest: u16,
    /// Bit n: sequence number `highest - n` came; and: it came but holds no audio.
    seen: u64,
    foreign: u64,
    /// Samples since the last real audio.
    without_audio: u32,
    last_arrival: Nanos,
    /// Transit of the playout: `DelayEstimator::transit(pop's now, next)`.
    playout: i64,
    late_in_a_row: u32,
    excess_since: Option<Nanos>,
    adjusted_at: Nanos,
    skipped: bool,
}

impl JitterBuffer {
    /// Takes all memory: about `packets` times `max_payload` bytes.
    pub fn new(config: JitterConfig) -> Self {
        let slots = Slots::new(config.packets, config.max_payload);
        let held = HeldPacket { header: None, payload: Vec::with_capacity(slots.slot_len()) };
        Self {
            estimator: DelayEstimator::new(config.clock_rate),
            slots,
            held,
            stream: None,
            quiet: false,
            stats: JitterStats::default(),
            config,
        }
    }

    /// Takes a packet of audio that arrived at `now`.
    pub fn push(&mut self, now: Nanos, packet: &RtpPacket<'_>) -> PushOutcome {
        let samples = self.config.framing.samples(packet.payload.len());
        if samples == 0 || packet.payload.len() > self.slots.slot_len() {
            self.stats.refused += 1;
            return PushOutcome::Unusable;
        }
        if self.stream.is_none() {
            self.begin(now, &packet.header);
        }
        let outcome = self.push_to_stream(now, packet, samples);
        match outcome {
            PushOutcome::Stored => self.stats.stored += 1,
            PushOutcome::Late => self.stats.late += 1,
            PushOutcome::Duplicate => self.stats.duplicate += 1,
            PushOutcome::Held | PushOutcome::Restarted | PushOutcome::Unusable => {}
        }
        outcome
    }

    /// Notes a packet of the same stream that holds no audio (comfort noise, a telephone event), so
    /// that its sequence number does not look lost: the gap in the audio is then a pause.
    pub fn note_foreign(&mut self, header: &RtpHeader) {
        if let Some(stream) = self.stream.as_mut().filter(|stream| stream.ssrc == header.ssrc) {
            stream.mark_seen(header.sequence, true);
        }
    }

    /// Says whether the audio played last was quiet: a good moment to change the delay.
    pub fn set_quiet(&mut self, quiet: bool) {
        self.quiet = quiet;
    }

    /// Hands out the next piece. `now` is the moment when its first sample will be played: a caller
    /// that still holds some audio adds its length.
    pub fn pop(&mut self, now: Nanos) -> Pop<'_> {
        let frame = self.config.frame_samples;
        let Some(stream) = self.stream.as_mut() else {
            return Pop::Silence { samples: frame, cause: SilenceCause::Buffering };
        };
        if stream.buffering_until.is_some_and(|until| now < until) {
            return Pop::Silence { samples: frame, cause: SilenceCause::Buffering };
        }
        stream.buffering_until = None;
        stream.playout = self.estimator.transit(now, stream.next);
        if self.adjust(now) {
            self.stats.stretched += u64::from(frame);
            return Pop::Conceal { samples: frame, cause: ConcealCause::Stretch };
        }
        self.discard_passed();
        let stream = self.stream.as_mut().expect("checked at the beginning");
        match self.slots.front() {
            Some(front) if front.at <= stream.next => self.pop_frame(),
            Some(front) => {
                let samples = u32::try_from(front.at - stream.next).unwrap_or(frame).min(frame);
                let cause = stream.gap_before(front);
                self.pop_gap(samples, cause)
            }
            None => {
                // The newest packet was comfort noise or an event: the peer pauses on purpose.
                let cause = if stream.foreign & 1 == 1 { None } else { Some(ConcealCause::Underrun) };
                self.pop_gap(frame, cause)
            }
        }
    }

    /// Counters and delays now.
    pub fn stats(&self) -> JitterStats {
        let delay = self.stream.as_ref().map_or(0, |stream| self.delay(stream)).max(0);
        JitterStats { delay: Nanos(delay as u64), target: Nanos(self.target() as u64), ..self.stats }
    }

    /// Packets that wait.
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether no packet waits.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Forgets the stream and everything that waits; counters and what is known of the jitter stay.
    pub fn reset(&mut self) {
        self.slots.clear();
        self.held.header = None;
        self.stream = None;
    }

    fn begin(&mut self, now: Nanos, header: &RtpHeader) {
        self.estimator.restart(now);
        let until = now + Nanos(self.target() as u64);
        self.stream = Some(Stream::new(header, now, until));
    }

    fn push_to_stream(&mut self, now: Nanos, packet: &RtpPacket<'_>, samples: u32) -> PushOutcome {
        let header = &packet.header;
        let reach = i64::from(self.config.frame_samples) * self.config.packets as i64;
        let Some(stream) = self.stream.as_mut() else { return PushOutcome::Held };
        if header.ssrc != stream.ssrc {
            return self.hold(now, packet);
        }
        if stream.has_seen(header.sequence) {
            return PushOutcome::Duplicate;
        }
        let at = stream.extend(header.timestamp);
        let newer = sequence_distance(stream.highest, header.sequence);
        // A newer packet may overlap what was played by less than a frame (senders round), not more.
        let overlap = stream.played_end.saturating_sub(at);
        let continues = at - stream.next <= reach
            && newer > -MEMORY
            && (newer <= 0 || overlap <= i64::from(self.config.frame_samples));
        if !continues {
            return self.hold(now, packet);
        }
        self.release_held();
        let stream = self.stream.as_mut().expect("it was there before");
        stream.mark_seen(header.sequence, false);
        stream.last_arrival = now;
        let relative = self.estimator.observe(now, at);
        let arrival = Arrival {
            at,
            samples,
            timestamp: header.timestamp,
            sequence: header.sequence,
            marker: header.marker,
        };
        self.place(now, arrival, relative, newer > 0);
        let stream = self.stream.as_ref().expect("it was there before");
        if arrival.at + i64::from(samples) <= stream.next {
            return PushOutcome::Late;
        }
        if self.slots.is_full() {
            self.slots.take_front();
            self.stats.overflow += 1;
        }
        self.slots.insert(arrival, packet.payload);
        PushOutcome::Stored
    }

    /// Moves the playout position where the arrival of a packet demands or allows it.
    fn place(&mut self, now: Nanos, arrival: Arrival, relative: i64, newer: bool) {
        let target = self.target();
        let max = self.config.max_delay.0 as i64;
        let pause = CONCEAL_FRAMES * self.config.frame_samples;
        let nothing_waits = self.slots.is_empty();
        let Some(stream) = self.stream.as_mut() else { return };
        stream.late_in_a_row = if relative > max && newer { stream.late_in_a_row + 1 } else { 0 };
        if stream.buffering_until.is_some() {
            stream.next = stream.next.min(arrival.at);
            return;
        }
        if stream.late_in_a_row >= LATE_IN_A_ROW {
            // The reference is stale: measured against it everything would be late for seconds.
            self.rebuffer(now, arrival.at);
            return;
        }
        if !nothing_waits || arrival.at < stream.played_end {
            return;
        }
        // When the playout side has not asked for a while (hold), `next` is played no earlier than now.
        let playout = stream.playout.max(self.estimator.transit(now, stream.next));
        let delay = playout - self.estimator.reference();
        let behind = stream.next - arrival.at;
        if behind <= 0 {
            if stream.without_audio >= pause {
                // A new talkspurt: silence before it may be longer or shorter, nobody hears it.
                let shift = self.estimator.samples(target - delay).max(behind);
                stream.shift(-shift, &self.estimator);
            }
            return;
        }
        let room = self.estimator.samples(max - delay).max(0);
        if behind <= room {
            stream.shift(-behind, &self.estimator);
            self.stats.stretched += behind as u64;
        } else if Nanos::from_samples(u64::from(stream.without_audio), self.config.clock_rate) >= PAUSE {
            self.rebuffer(now, arrival.at);
        } else {
            stream.shift(-room, &self.estimator);
            self.stats.stretched += room as u64;
        }
    }

    /// Begins the timeline anew at `at`, as at the start of a stream.
    fn rebuffer(&mut self, now: Nanos, at: i64) {
        let Some(stream) = self.stream.as_mut() else { return };
        self.slots.clear();
        self.estimator.restart(now);
        self.estimator.observe(now, at);
        stream.next = at;
        stream.late_in_a_row = 0;
        let target =
            self.estimator.target(self.config.min_delay, self.config.initial_delay, self.config.max_delay);
        stream.buffering_until = Some(now + Nanos(target as u64));
        stream.excess_since = None;
        self.stats.restarts += 1;
    }

    /// Keeps a packet that does not continue the stream until the next one decides about it.
    fn hold(&mut self, now: Nanos, packet: &RtpPacket<'_>) -> PushOutcome {
        let header = packet.header;
        let confirmed = self.held.header.filter(|(held, at)| {
            let step = timestamp_distance(held.timestamp, header.timestamp);
            held.ssrc == header.ssrc
                && held.sequence.wrapping_add(1) == header.sequence
                && now.since(*at) <= HELD_FOR
                && (1..=self.config.clock_rate as i32).contains(&step)
        });
        let Some((first, first_at)) = confirmed else {
            self.release_held();
            self.held.header = Some((header, now));
            self.held.payload.clear();
            self.held.payload.extend_from_slice(packet.payload);
            return PushOutcome::Held;
        };
        self.held.header = None;
        self.slots.clear();
        self.begin(first_at, &first);
        self.stats.restarts += 1;
        // Taken out so that the buffer can be pushed to; moving a Vec allocates nothing.
        let payload = std::mem::take(&mut self.held.payload);
        for (at, header, payload) in [(first_at, first, &payload[..]), (now, header, packet.payload)] {
            let samples = self.config.framing.samples(payload.len());
            let packet = RtpPacket { header, csrcs: &[], extension: None, payload };
            if self.push_to_stream(at, &packet, samples) == PushOutcome::Stored {
                self.stats.stored += 1;
            }
        }
        self.held.payload = payload;
        PushOutcome::Restarted
    }

    fn release_held(&mut self) {
        if self.held.header.take().is_some() {
            self.stats.refused += 1;
        }
    }

    fn target(&self) -> i64 {
        self.estimator.target(self.config.min_delay, self.config.initial_delay, self.config.max_delay)
    }

    fn delay(&self, stream: &Stream) -> i64 {
        if stream.buffering_until.is_some() {
            return self.target();
        }
        stream.playout - self.estimator.reference()
    }

    /// Lets the delay shrink by leaving out packets; returns whether it must grow by one frame now.
    fn adjust(&mut self, now: Nanos) -> bool {
        let target = self.target();
        let max = self.config.max_delay.0 as i64;
        let frame =
            Nanos::from_samples(u64::from(self.config.frame_samples), self.config.clock_rate).0 as i64;
        let waiting = self.slots.len();
        let front = self.slots.front().map(|front| (front.at, front.samples));
        let Some(stream) = self.stream.as_mut() else { return false };
        // In a pause the arrival of the next talkspurt decides.
        let Some((front_at, front_samples)) = front.filter(|_| stream.without_audio == 0) else {
            stream.excess_since = None;
            return false;
        };
        let delay = stream.playout - self.estimator.reference();
        let paced = now.since(stream.adjusted_at) >= PACE;
        if delay > max + frame {
            let newest = self.slots.back().map_or(front_at, |back| back.at);
            let skip = self.estimator.samples(delay - max).min(newest - stream.next).max(0);
            stream.skip(skip, now, &self.estimator);
            self.stats.skipped += skip as u64;
            return false;
        }
        let missing = target - delay;
        if missing > frame / 2 && (self.quiet || (missing >= frame && paced)) {
            stream.adjusted_at = now;
            stream.playout += frame;
            return true;
        }
        let packet = Nanos::from_samples(u64::from(front_samples), self.config.clock_rate).0 as i64;
        if delay - target < packet + 1_000_000 || waiting < 2 || front_at != stream.next {
            stream.excess_since = None;
            return false;
        }
        let since = *stream.excess_since.get_or_insert(now);
        let far_too_much = delay - target > 2 * packet.max(frame) && now.since(since) >= PATIENCE;
        if (self.quiet && now.since(since) >= PACE) || far_too_much {
            stream.excess_since = None;
            stream.skip(i64::from(front_samples), now, &self.estimator);
            self.stats.skipped += u64::from(front_samples);
        }
        false
    }

    /// Throws away what lies wholly before the playout position.
    fn discard_passed(&mut self) {
        let next = self.stream.as_ref().map_or(i64::MIN, |stream| stream.next);
        while self.slots.front().is_some_and(|front| front.end() <= next) {
            self.slots.take_front();
        }
    }

    fn pop_frame(&mut self) -> Pop<'_> {
        let entry = self.slots.take_front().expect("the caller saw the packet");
        let stream = self.stream.as_mut().expect("packets wait only in a stream");
        let offset = (stream.next - entry.at) as u32;
        let after_skip = std::mem::take(&mut stream.skipped);
        stream.next = entry.end();
        stream.played_end = entry.end();
        stream.last_played = Some(entry.sequence);
        stream.without_audio = 0;
        let payload = self.slots.payload(&entry);
        Pop::Frame(JitterFrame {
            payload: &payload[self.config.framing.bytes(offset).min(payload.len())..],
            samples: entry.samples - offset,
            timestamp: entry.timestamp.wrapping_add(offset),
            sequence: entry.sequence,
            marker: entry.marker,
            after_skip,
        })
    }

    fn pop_gap(&mut self, samples: u32, cause: Option<ConcealCause>) -> Pop<'static> {
        let limit = CONCEAL_FRAMES * self.config.frame_samples;
        let stream = self.stream.as_mut().expect("gaps are found only in a stream");
        stream.next += i64::from(samples);
        let conceal = cause.filter(|_| stream.without_audio < limit);
        stream.without_audio = stream.without_audio.saturating_add(samples);
        match conceal {
            Some(cause) => {
                self.stats.concealed += u64::from(samples);
                Pop::Conceal { samples, cause }
            }
            None => Pop::Silence { samples, cause: SilenceCause::Pause },
        }
    }
}

impl Stream {
    fn new(header: &RtpHeader, now: Nanos, buffering_until: Nanos) -> Self {
        Self {
            ssrc: header.ssrc,
            anchor: (0, header.timestamp),
            buffering_until: Some(buffering_until),
            next: 0,
            played_end: i64::MIN,
            last_played: None,
            highest: header.sequence.wrapping_sub(1),
            seen: 0,
            foreign: 0,
            without_audio: 0,
            last_arrival: now,
            playout: 0,
            late_in_a_row: 0,
            excess_since: None,
            adjusted_at: now,
            skipped: false,
        }
    }

    /// Position of a wire timestamp; the anchor follows the playout so that the wrap never matters.
    fn extend(&mut self, timestamp: u32) -> i64 {
        let (position, anchor) = self.anchor;
        let moved = self.next - position;
        self.anchor = (self.next, anchor.wrapping_add(moved as u32));
        self.next + i64::from(timestamp_distance(self.anchor.1, timestamp))
    }

    fn has_seen(&self, sequence: u16) -> bool {
        let behind = sequence_distance(sequence, self.highest);
        (0..MEMORY).contains(&behind) && self.seen >> behind & 1 == 1
    }

    fn mark_seen(&mut self, sequence: u16, foreign: bool) {
        let ahead = sequence_distance(self.highest, sequence);
        if ahead > 0 {
            let shift = |bits: u64| if ahead < MEMORY { bits << ahead } else { 0 };
            self.seen = shift(self.seen) | 1;
            self.foreign = shift(self.foreign) | u64::from(foreign);
            self.highest = sequence;
        } else if ahead > -MEMORY {
            self.seen |= 1 << -ahead;
            self.foreign |= u64::from(foreign) << -ahead;
        }
    }

    /// Whether audio is missing before `front` or the peer paused: then every sequence number between
    /// the audio played last and `front` was something else.
    fn gap_before(&self, front: &Entry) -> Option<ConcealCause> {
        let last = self.last_played?;
        let mut sequence = last.wrapping_add(1);
        while sequence_distance(sequence, front.sequence) > 0 {
            let behind = sequence_distance(sequence, self.highest);
            if !(0..MEMORY).contains(&behind) || self.foreign >> behind & 1 == 0 {
                return Some(ConcealCause::Lost);
            }
            sequence = sequence.wrapping_add(1);
        }
        None
    }

    /// Moves the playout position by samples; forward lowers the delay.
    fn shift(&mut self, samples: i64, estimator: &DelayEstimator) {
        let before = estimator.transit(Nanos::ZERO, self.next);
        self.next += samples;
        self.playout += estimator.transit(Nanos::ZERO, self.next) - before;
    }

    fn skip(&mut self, samples: i64, now: Nanos, estimator: &DelayEstimator) {
        self.shift(samples, estimator);
        self.adjusted_at = now;
        self.skipped = true;
    }
}

#[cfg(test)]
mod tests;
