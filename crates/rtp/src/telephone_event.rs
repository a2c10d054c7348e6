//! DTMF digits as telephone events: RFC 4733 section 2, both directions.

use crate::packet::{RtpHeader, RtpPacket};
use crate::time::Nanos;
use crate::wrapping::timestamp_distance;

/// Bytes of one event in a payload.
pub const PAYLOAD_LEN: usize = 4;
/// How often the end of an event is sent (RFC 4733 section 2.5.1.4).
pub const END_PACKETS: u8 = 3;
/// Power of the tones that we claim, in -dBm0; the usual value of gateways.
const VOLUME: u8 = 10;
/// An event whose packets stop without an end is over after this time: several update intervals,
/// which RFC 4733 section 2.5.1.2 puts at 50 ms.
const SILENCE_ENDS_AFTER: Nanos = Nanos::from_millis(200);
/// Packets of an event that was reported are repeats for this long; older timestamps are a restart.
const REPEAT_WINDOW_SECONDS: i32 = 5;
const DIGITS: [char; 16] = ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', '*', '#', 'A', 'B', 'C', 'D'];

/// Event code of a digit (0-9, *, #, A-D in either case).
pub fn event_code(digit: char) -> Option<u8> {
    let digit = digit.to_ascii_uppercase();
    DIGITS.iter().position(|known| *known == digit).map(|code| code as u8)
}

/// The digit of an event code; `None` for flash, fax and line events.
pub fn digit_of(code: u8) -> Option<char> {
    DIGITS.get(usize::from(code)).copied()
}

/// One event as it stands in a payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventPayload {
    /// Event code; see [`digit_of`].
    pub code: u8,
    /// The event is over.
    pub end: bool,
    /// Power in -dBm0, 0 to 63.
    pub volume: u8,
    /// Samples since the timestamp of the packet.
    pub duration: u16,
}

impl EventPayload {
    /// Reads the first event of a payload; `None` when it is shorter than an event.
    pub fn parse(payload: &[u8]) -> Option<Self> {
        let [code, flags, high, low] = *payload.first_chunk::<PAYLOAD_LEN>()?;
        Some(Self {
            code,
            end: flags & 0x80 != 0,
            volume: flags & 0x3F,
            duration: u16::from_be_bytes([high, low]),
        })
    }

    /// The payload's bytes.
    pub fn to_bytes(self) -> [u8; PAYLOAD_LEN] {
        let [high, low] = self.duration.to_be_bytes();
        [self.code, u8::from(self.end) << 7 | self.volume & 0x3F, high, low]
    }
}

/// A digit that is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Digit {
    /// 0-9, *, #, A-D.
    pub digit: char,
    /// How long it was pressed, as far as its packets told.
    pub duration: Nanos,
}

/// Recognises digits in a stream of event packets and reports each once, at its end.
///
/// Any packet of an event suffices: a lost beginning, a lost end and the three end packets all come
/// to one report. Segments of a digit longer than a duration field can say are one digit.
#[derive(Clone, Debug)]
pub struct DigitReceiver {
    clock_rate: u32,
    ssrc: Option<u32>,
    current: Option<Event>,
    /// Timestamp of the event reported last; later packets with it or an older one are repeats.
    reported: Option<u32>,
    ignored: u64,
}

#[derive(Clone, Copy, Debug)]
struct Event {
    code: u8,
    timestamp: u32,
    /// Samples of the segments before this one.
    earlier: u64,
    duration: u16,
    last_packet: Nanos,
}

impl DigitReceiver {
    /// A receiver for events with the given clock rate (that of the audio, usually 8000).
    pub fn new(clock_rate: u32) -> Self {
        Self { clock_rate, ssrc: None, current: None, reported: None, ignored: 0 }
    }

    /// Takes a packet of the event payload type; yields the digits that it ends, at most two.
    pub fn receive(&mut self, now: Nanos, packet: &RtpPacket<'_>) -> impl Iterator<Item = Digit> + use<> {
        let mut ended = [None, None];
        match EventPayload::parse(packet.payload) {
            Some(payload) if digit_of(payload.code).is_some() => {
                let follows = self.ssrc.replace(packet.header.ssrc) != Some(packet.header.ssrc);
                if follows {
                    ended[0] = self.finish();
                    self.reported = None;
                }
                if !self.is_repeat(packet.header.timestamp) {
                    ended[0] = ended[0].or(self.begin_if_new(&packet.header, payload, now));
                    if payload.end {
                        ended[1] = self.finish();
                    }
                }
            }
            _ => self.ignored = self.ignored.saturating_add(1),
        }
        ended.into_iter().flatten()
    }

    /// When [`poll`](Self::poll) wants to be called, if at all.
    pub fn next_timeout(&self) -> Option<Nanos> {
        self.current.map(|event| event.last_packet + SILENCE_ENDS_AFTER)
    }

    /// Ends a digit whose packets have stopped.
    pub fn poll(&mut self, now: Nanos) -> Option<Digit> {
        if self.next_timeout()? > now {
            return None;
        }
        self.finish()
    }

    /// Whether a digit is being pressed.
    pub fn is_pressed(&self) -> bool {
        self.current.is_some()
    }

    /// Packets without a digit in them: malformed, or events that are not digits.
    pub fn ignored(&self) -> u64 {
        self.ignored
    }

    fn is_repeat(&self, timestamp: u32) -> bool {
        let window = REPEAT_WINDOW_SECONDS.saturating_mul(self.clock_rate as i32);
        self.reported.is_some_and(|reported| {
            let distance = timestamp_distance(reported, timestamp);
            distance <= 0 && distance > -window
        })
    }

    /// Continues the current event or begins a new one, which ends the one before.
    fn begin_if_new(&mut self, header: &RtpHeader, payload: EventPayload, now: Nanos) -> Option<Digit> {
        if let Some(event) = self.current.as_mut().filter(|event| event.code == payload.code) {
            if event.timestamp == header.timestamp {
                // Packets of one event may overtake each other: the longest duration counts.
                event.duration = event.duration.max(payload.duration);
                event.last_packet = now;
                return None;
            }
            if header.timestamp == event.timestamp.wrapping_add(0xFFFF) {
                event.earlier += 0xFFFF;
                event.timestamp = header.timestamp;
                event.duration = payload.duration;
                event.last_packet = now;
                return None;
            }
        }
        if self.current.is_some_and(|event| timestamp_distance(event.timestamp, header.timestamp) < 0) {
            // A late packet of something older than what is being pressed.
            return None;
        }
        let ended = self.finish();
        self.current = Some(Event {
            code: payload.code,
            timestamp: header.timestamp,
            earlier: 0,
            duration: payload.duration,
            last_packet: now,
        });
        ended
    }

    fn finish(&mut self) -> Option<Digit> {
        let event = self.current.take()?;
        self.reported = Some(event.timestamp);
        let samples = event.earlier + u64::from(event.duration);
        digit_of(event.code)
            .map(|digit| Digit { digit, duration: Nanos::from_samples(samples, self.clock_rate) })
    }
}

/// What to send in one packet interval.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DigitTick {
    /// No digit: audio has the line.
    Idle,
    /// An event packet instead of audio.
    Event {
        /// Set on the first packet of an event.
        marker: bool,
        /// Timestamp of the event's beginning.
        timestamp: u32,
        /// The event.
        payload: EventPayload,
    },
    /// The pause after a digit: neither audio nor event.
    Gap,
}

/// Most digits that wait to be sent.
pub const QUEUE_LEN: usize = 64;

/// Sends digits one after another, one packet an interval.
///
/// ```
/// use trunkline_rtp::telephone_event::{DigitSender, DigitTick};
/// use trunkline_rtp::{Nanos, RtpSender};
///
/// let mut stream = RtpSender::new(1, 1, 0);
/// let mut digits = DigitSender::new(8000);
/// digits.enqueue('5', Nanos::from_millis(100), Nanos::from_millis(60));
/// // Every 20 ms:
/// match digits.tick(stream.timestamp(), 160) {
///     DigitTick::Event { marker, timestamp, payload } => {
///         let header = stream.event(101, timestamp, marker, 4);
///         stream.pause(160);
///         assert!(header.marker && payload.code == 5);
///     }
///     DigitTick::Gap | DigitTick::Idle => unreachable!("a digit waits"),
/// }
/// ```
#[derive(Clone, Debug)]
pub struct DigitSender {
    clock_rate: u32,
    queue: [Queued; QUEUE_LEN],
    first: usize,
    waiting: usize,
    state: SenderState,
}

#[derive(Clone, Copy, Debug, Default)]
struct Queued {
    code: u8,
    duration: u16,
    gap: u32,
}

#[derive(Clone, Copy, Debug)]
enum SenderState {
    Idle,
    Pressed { digit: Queued, timestamp: u32, elapsed: u32, ends_sent: u8 },
    Gap { remaining: u32 },
}

impl DigitSender {
    /// A sender for events with the given clock rate (that of the audio).
    pub fn new(clock_rate: u32) -> Self {
        Self {
            clock_rate,
            queue: [Queued::default(); QUEUE_LEN],
            first: 0,
            waiting: 0,
            state: SenderState::Idle,
        }
    }

    /// Queues a digit; `false` when it is none, or when [`QUEUE_LEN`] digits already wait.
    ///
    /// A digit lasts at least one packet and at most what one duration field can say (8.19 s at 8 kHz).
    pub fn enqueue(&mut self, digit: char, duration: Nanos, gap: Nanos) -> bool {
        let Some(code) = event_code(digit) else { return false };
        if self.waiting == QUEUE_LEN {
            return false;
        }
        let samples = |length: Nanos| length.to_samples(self.clock_rate);
        self.queue[(self.first + self.waiting) % QUEUE_LEN] = Queued {
            code,
            duration: samples(duration).clamp(1, 0xFFFF) as u16,
            gap: u32::try_from(samples(gap)).unwrap_or(u32::MAX),
        };
        self.waiting += 1;
        true
    }

    /// What goes out in the interval of `step` samples that begins at `timestamp`.
    pub fn tick(&mut self, timestamp: u32, step: u32) -> DigitTick {
        if let SenderState::Gap { remaining } = self.state {
            if remaining > 0 {
                self.state = SenderState::Gap { remaining: remaining.saturating_sub(step) };
                return DigitTick::Gap;
            }
            self.state = SenderState::Idle;
        }
        if matches!(self.state, SenderState::Idle) {
            if self.waiting == 0 {
                return DigitTick::Idle;
            }
            let digit = self.queue[self.first];
            self.first = (self.first + 1) % QUEUE_LEN;
            self.waiting -= 1;
            self.state = SenderState::Pressed { digit, timestamp, elapsed: 0, ends_sent: 0 };
        }
        self.press(step)
    }

    /// Whether a digit or its gap has the line, or digits wait.
    pub fn is_busy(&self) -> bool {
        self.waiting > 0
            || match self.state {
                SenderState::Idle => false,
                SenderState::Gap { remaining } => remaining > 0,
                SenderState::Pressed { .. } => true,
            }
    }

    fn press(&mut self, step: u32) -> DigitTick {
        let SenderState::Pressed { digit, timestamp, elapsed, ends_sent } = self.state else {
            return DigitTick::Idle;
        };
        let marker = elapsed == 0;
        let elapsed = elapsed.saturating_add(step);
        let end = elapsed >= u32::from(digit.duration);
        let ends_sent = ends_sent + u8::from(end);
        self.state = if ends_sent == END_PACKETS {
            // The repeats of the end already took two intervals of the pause.
            let repeats = u32::from(END_PACKETS - 1) * step;
            SenderState::Gap { remaining: digit.gap.saturating_sub(repeats) }
        } else {
            SenderState::Pressed { digit, timestamp, elapsed, ends_sent }
        };
        let duration = elapsed.min(u32::from(digit.duration)) as u16;
        DigitTick::Event {
            marker,
            timestamp,
            payload: EventPayload { code: digit.code, end, volume: VOLUME, duration },
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{
        Digit, DigitReceiver, DigitSender, DigitTick, EventPayload, QUEUE_LEN, digit_of, event_code,
    };
    use crate::packet::{RtpHeader, RtpPacket};
    use crate::sender::RtpSender;
    use crate::time::Nanos;

    const MS: u64 = 1_000_000;

    struct Sent {
        at: Nanos,
        header: RtpHeader,
        payload: [u8; 4],
    }

    /// The packets of these digits with 100 ms each and pauses of 60 ms, and the stream afterwards.
    fn sent(digits: &str) -> (Vec<Sent>, RtpSender) {
        let mut stream = RtpSender::new(9, 100, 5000);
        let mut sender = DigitSender::new(8000);
        for digit in digits.chars() {
            assert!(sender.enqueue(digit, Nanos(100 * MS), Nanos(60 * MS)));
        }
        let mut packets = Vec::new();
        let mut now = Nanos(1000 * MS);
        while sender.is_busy() {
            if let DigitTick::Event { marker, timestamp, payload } = sender.tick(stream.timestamp(), 160) {
                let header = stream.event(101, timestamp, marker, 4);
                packets.push(Sent { at: now, header, payload: payload.to_bytes() });
            }
            stream.pause(160);
            now += Nanos(20 * MS);
        }
        (packets, stream)
    }

    fn received(packets: &[Sent], keep: impl Fn(usize) -> bool) -> Vec<Digit> {
        let mut receiver = DigitReceiver::new(8000);
        let mut digits = Vec::new();
        for (_, sent) in packets.iter().enumerate().filter(|(index, _)| keep(*index)) {
            digits.extend(receiver.poll(sent.at));
            let packet =
                RtpPacket { header: sent.header, csrcs: &[], extension: None, payload: &sent.payload };
            digits.extend(receiver.receive(sent.at, &packet));
        }
        digits.extend(receiver.poll(Nanos::MAX));
        assert_eq!(receiver.next_timeout(), None);
        digits
    }

    #[test]
    fn codes_and_digits_belong_together() {
        for (code, digit) in "0123456789*#ABCD".chars().enumerate() {
            assert_eq!((event_code(digit), digit_of(code as u8)), (Some(code as u8), Some(digit)));
        }
        assert_eq!((event_code('d'), event_code('x'), digit_of(16)), (Some(15), None, None));
    }

    #[test]
    fn a_digit_is_sent_as_the_rfc_says() {
        let (packets, mut stream) = sent("7");
        let events: Vec<_> = packets.iter().map(|sent| EventPayload::parse(&sent.payload).unwrap()).collect();
        // Five packets of 20 ms, the fifth ends it, and the end is repeated twice.
        assert_eq!(
            events.iter().map(|event| event.duration).collect::<Vec<_>>(),
            [160, 320, 480, 640, 800, 800, 800]
        );
        assert_eq!(events.iter().filter(|event| event.end).count(), 3);
        assert!(events.iter().all(|event| event.code == 7 && event.volume == 10));
        assert!(packets.iter().all(|sent| sent.header.timestamp == 5000));
        let sequences: Vec<_> = packets.iter().map(|sent| sent.header.sequence).collect();
        assert_eq!(sequences, (100..107).collect::<Vec<_>>());
        let marked: Vec<_> = packets.iter().map(|sent| sent.header.marker).collect();
        assert_eq!(marked, [true, false, false, false, false, false, false]);
        // Seven intervals for the digit, one more for what is left of the pause of three.
        let next = stream.audio(0, 160, 160);
        assert_eq!((next.sequence, next.timestamp, next.marker), (107, 5000 + 8 * 160, true));
    }

    #[test]
    fn digits_are_heard_once_each_and_in_order() {
        let (packets, _) = sent("0123456789*#ABCD11");
        let digits = received(&packets, |_| true);
        assert_eq!(digits.iter().map(|digit| digit.digit).collect::<String>(), "0123456789*#ABCD11");
        assert!(digits.iter().all(|digit| digit.duration == Nanos(100 * MS)));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn one_packet_of_each_digit_is_enough(kept in proptest::collection::vec(0_usize..7, 6)) {
            let (packets, _) = sent("115599");
            let digits = received(&packets, |index| kept[index / 7] == index % 7);
            prop_assert_eq!(digits.iter().map(|digit| digit.digit).collect::<String>(), "115599");
        }

        #[test]
        fn reordered_packets_do_not_make_digits(swaps in proptest::collection::vec(0_usize..13, 0..12)) {
            let (mut packets, _) = sent("12");
            for at in swaps {
                // Neighbours only, and not across the digits' border.
                if at != 6 {
                    packets.swap(at, at + 1);
                }
            }
            let digits = received(&packets, |_| true);
            prop_assert_eq!(digits.iter().map(|digit| digit.digit).collect::<String>(), "12");
        }
    }

    fn event(timestamp: u32, code: u8, end: bool, duration: u16) -> (RtpHeader, [u8; 4]) {
        let header = RtpHeader { marker: false, payload_type: 101, sequence: 0, timestamp, ssrc: 1 };
        (header, EventPayload { code, end, volume: 10, duration }.to_bytes())
    }

    fn feed(receiver: &mut DigitReceiver, now: Nanos, (header, payload): (RtpHeader, [u8; 4])) -> Vec<Digit> {
        let packet = RtpPacket { header, csrcs: &[], extension: None, payload: &payload };
        receiver.receive(now, &packet).collect()
    }

    #[test]
    fn a_very_long_digit_is_one_digit() {
        let mut receiver = DigitReceiver::new(8000);
        assert!(feed(&mut receiver, Nanos(1), event(1000, 5, false, 0xFFFF)).is_empty());
        assert!(feed(&mut receiver, Nanos(2), event(1000 + 0xFFFF, 5, false, 400)).is_empty());
        let digits = feed(&mut receiver, Nanos(3), event(1000 + 0xFFFF, 5, true, 800));
        assert_eq!(digits, [Digit { digit: '5', duration: Nanos::from_samples(0xFFFF + 800, 8000) }]);
        assert!(feed(&mut receiver, Nanos(4), event(1000 + 0xFFFF, 5, true, 800)).is_empty());
    }

    #[test]
    fn a_digit_whose_end_is_lost_ends_by_silence_or_by_the_next() {
        let mut receiver = DigitReceiver::new(8000);
        feed(&mut receiver, Nanos(0), event(1000, 1, false, 320));
        assert_eq!(receiver.poll(Nanos(199 * MS)), None);
        assert_eq!(receiver.poll(Nanos(200 * MS)), Some(Digit { digit: '1', duration: Nanos(40 * MS) }));
        assert!(feed(&mut receiver, Nanos(210 * MS), event(1000, 1, true, 800)).is_empty());
        feed(&mut receiver, Nanos(300 * MS), event(4000, 2, false, 160));
        let digits = feed(&mut receiver, Nanos(301 * MS), event(6000, 2, true, 320));
        assert_eq!(digits.iter().map(|digit| digit.digit).collect::<String>(), "22");
    }

    #[test]
    fn a_new_source_begins_afresh() {
        let mut receiver = DigitReceiver::new(8000);
        assert_eq!(feed(&mut receiver, Nanos(0), event(90_000, 1, true, 320)).len(), 1);
        let (mut header, payload) = event(89_000, 2, true, 320);
        header.ssrc = 2;
        assert_eq!(feed(&mut receiver, Nanos(1), (header, payload)).len(), 1);
    }

    #[test]
    fn what_is_no_digit_is_counted_and_ignored() {
        let mut receiver = DigitReceiver::new(8000);
        assert!(feed(&mut receiver, Nanos(0), event(0, 16, true, 320)).is_empty());
        let (header, _) = event(0, 1, true, 1);
        let short = RtpPacket { header, csrcs: &[], extension: None, payload: &[1, 2, 3] };
        assert_eq!(receiver.receive(Nanos(1), &short).count(), 0);
        assert_eq!((receiver.ignored(), receiver.is_pressed()), (2, false));
    }

    #[test]
    fn the_queue_is_bounded() {
        let mut sender = DigitSender::new(8000);
        assert!(!sender.enqueue('x', Nanos(MS), Nanos(0)));
        for _ in 0..QUEUE_LEN {
            assert!(sender.enqueue('1', Nanos(MS), Nanos(0)));
        }
        assert!(!sender.enqueue('1', Nanos(MS), Nanos(0)));
    }
}
