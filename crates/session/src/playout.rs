//! The queue of audio for the caller, with exact account of what was heard of which item.

use std::collections::VecDeque;

/// Longest backlog; beyond it the oldest audio is dropped and counted.
pub const MAX_BACKLOG_SECONDS: u32 = 120;

/// Most items that wait at a time; beyond it the oldest is dropped and counted.
const MAX_SEGMENTS: usize = 1024;

/// Item ids remembered as dropped or as done.
const MEMORY: usize = 64;

/// Backlog that is allocated at once; more is allocated when an engine runs ahead, and kept.
const INITIAL_SECONDS: u32 = 2;

/// How much of an item was heard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heard {
    /// The item's id.
    pub item: String,
    /// Audio of it that left as RTP.
    pub heard_ms: u32,
    /// Audio of it that the engine had sent.
    pub total_ms: u32,
}

/// What happened while a frame was taken from the queue.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum PlayoutEvent<'a> {
    Started(&'a str),
    Ended { item: &'a str, heard_ms: u32, total_ms: u32 },
    Flushed(Vec<Heard>),
}

#[derive(Debug, Default)]
struct Segment {
    item: String,
    queued: usize,
    played: u64,
    total: u64,
    started: bool,
    ended: bool,
}

impl Segment {
    fn heard(&self, rate: u32) -> Heard {
        Heard {
            item: self.item.clone(),
            heard_ms: to_ms(self.played, rate),
            total_ms: to_ms(self.total, rate),
        }
    }
}

#[derive(Debug)]
struct Flush {
    fade: usize,
    faded: usize,
    /// Segments queued when the flush was asked for; later ones survive it.
    segments: usize,
}

/// Audio waiting to be heard, in order, by item.
#[derive(Debug)]
pub(crate) struct Playout {
    rate: u32,
    samples: VecDeque<i16>,
    segments: VecDeque<Segment>,
    flush: Option<Flush>,
    dropped: Names,
    done: Names,
    spare: Vec<String>,
    /// Items that gave way to newer ones before they were heard, to be reported.
    displaced: Vec<Heard>,
    dropped_samples: u64,
}

impl Playout {
    pub(crate) fn new(rate: u32) -> Self {
        Self {
            rate,
            samples: VecDeque::with_capacity((rate * INITIAL_SECONDS) as usize),
            segments: VecDeque::with_capacity(16),
            flush: None,
            dropped: Names::default(),
            done: Names::default(),
            spare: Vec::with_capacity(16),
            displaced: Vec::new(),
            dropped_samples: 0,
        }
    }

    pub(crate) fn dropped_ms(&self) -> u64 {
        self.dropped_samples * 1000 / u64::from(self.rate)
    }

    pub(crate) fn is_flushing(&self) -> bool {
        self.flush.is_some()
    }

    pub(crate) fn push(&mut self, item: &str, mut pcm: &[i16]) {
        if pcm.is_empty() || self.dropped.contains(item) {
            return;
        }
        self.done.forget(item);
        let at = self.open_segment(item);
        let capacity = (self.rate * MAX_BACKLOG_SECONDS) as usize;
        self.segments[at].total += pcm.len() as u64;
        if pcm.len() > capacity {
            let excess = pcm.len() - capacity;
            self.dropped_samples += excess as u64;
            pcm = &pcm[excess..];
        }
        let excess = (self.samples.len() + pcm.len()).saturating_sub(capacity);
        self.drop_oldest(excess);
        self.samples.extend(pcm);
        if let Some(segment) = self.segments.back_mut() {
            segment.queued += pcm.len();
        }
    }

    /// No more audio of `item` will come.
    pub(crate) fn end(&mut self, item: &str) {
        let flushing = self.flushing();
        if let Some(segment) =
            self.segments.iter_mut().skip(flushing).rev().find(|segment| segment.item == item)
        {
            segment.ended = true;
        } else if !self.done.contains(item) && !self.is_being_flushed(item) {
            // An item without any audio is still answered, in its turn, unless it was answered before.
            let at = self.open_segment(item);
            self.segments[at].ended = true;
        }
    }

    /// Segments at the front that a flush has marked.
    fn flushing(&self) -> usize {
        self.flush.as_ref().map_or(0, |flush| flush.segments)
    }

    fn is_being_flushed(&self, item: &str) -> bool {
        self.segments.iter().take(self.flushing()).any(|segment| segment.item == item)
    }

    /// Audio of `item` that comes from now on is discarded.
    pub(crate) fn drop_item(&mut self, item: &str) {
        self.dropped.remember(item);
        if let Some(segment) = self.segments.iter_mut().find(|segment| segment.item == item) {
            segment.ended = true;
        }
    }

    /// Fades out over `fade` samples and discards what is queued now; `pull` reports the end.
    /// While one flush is under way another adds to it.
    pub(crate) fn flush(&mut self, fade: usize) {
        for segment in &self.segments {
            // Without an id, late audio cannot be told from what the engine says next.
            if !segment.item.is_empty() {
                self.dropped.remember(&segment.item);
            }
        }
        let segments = self.segments.len();
        if let Some(flush) = &mut self.flush {
            flush.segments = segments;
        } else {
            let fade = self.segments.front().map_or(0, |segment| segment.queued.min(fade));
            self.flush = Some(Flush { fade, faded: 0, segments });
        }
    }

    /// Discards what a flush marked without playing the rest of its fade.
    pub(crate) fn finish_flush(&mut self, mut event: impl FnMut(PlayoutEvent<'_>)) {
        let Some(flush) = self.flush.take() else {
            return;
        };
        let mut heard = Vec::with_capacity(flush.segments);
        for segment in self.segments.drain(..flush.segments) {
            self.samples.drain(..segment.queued);
            self.done.remember(&segment.item);
            heard.push(segment.heard(self.rate));
        }
        event(PlayoutEvent::Flushed(heard));
    }

    /// Reports items that ended without being heard because too many were queued behind them.
    pub(crate) fn report_displaced(&mut self, mut event: impl FnMut(PlayoutEvent<'_>)) {
        for Heard { item, heard_ms, total_ms } in self.displaced.drain(..) {
            event(PlayoutEvent::Ended { item: &item, heard_ms, total_ms });
        }
    }

    /// Fills `frame` and returns how many samples of it are audio; the rest is silence.
    pub(crate) fn pull(&mut self, frame: &mut [i16], mut event: impl FnMut(PlayoutEvent<'_>)) -> usize {
        frame.fill(0);
        let mut filled = 0;
        if self.flush.is_some() {
            filled = self.pull_fade(frame, &mut event);
            if self.flush.is_some() {
                return filled;
            }
        }
        loop {
            let more = self.segments.len() > 1;
            let Some(segment) = self.segments.front_mut() else {
                return filled;
            };
            let count = segment.queued.min(frame.len() - filled);
            if count > 0 && !segment.started {
                segment.started = true;
                event(PlayoutEvent::Started(&segment.item));
            }
            for (target, sample) in frame[filled..].iter_mut().zip(self.samples.drain(..count)) {
                *target = sample;
            }
            filled += count;
            segment.queued -= count;
            segment.played += count as u64;
            if segment.queued > 0 || !(segment.ended || more) {
                return filled;
            }
            event(PlayoutEvent::Ended {
                item: &segment.item,
                heard_ms: to_ms(segment.played, self.rate),
                total_ms: to_ms(segment.total, self.rate),
            });
            self.retire_front();
        }
    }

    fn pull_fade(&mut self, frame: &mut [i16], event: impl FnMut(PlayoutEvent<'_>)) -> usize {
        let (Some(flush), Some(segment)) = (&mut self.flush, self.segments.front_mut()) else {
            self.finish_flush(event);
            return 0;
        };
        let count = (flush.fade - flush.faded).min(frame.len()).min(segment.queued);
        for (target, sample) in frame.iter_mut().zip(self.samples.drain(..count)) {
            let left = (flush.fade - flush.faded) as i64;
            *target = (i64::from(sample) * left / (flush.fade as i64 + 1)) as i16;
            flush.faded += 1;
        }
        segment.queued -= count;
        segment.played += count as u64;
        if flush.faded == flush.fade || segment.queued == 0 {
            self.finish_flush(event);
        }
        count
    }

    /// Index of the segment that takes audio of `item` now: the last one, if it is that item's.
    fn open_segment(&mut self, item: &str) -> usize {
        let flushing = self.flushing();
        let last = self.segments.len().wrapping_sub(1);
        if self.segments.len() > flushing && self.segments[last].item == item && !self.segments[last].ended {
            return last;
        }
        if self.segments.len() == MAX_SEGMENTS {
            let oldest = &self.segments[0];
            self.displaced.push(oldest.heard(self.rate));
            let queued = oldest.queued;
            self.drop_oldest(queued);
            self.retire_front();
            if let Some(flush) = &mut self.flush {
                flush.segments = flush.segments.saturating_sub(1);
            }
        }
        let mut name = self.spare.pop().unwrap_or_default();
        name.clear();
        name.push_str(item);
        self.segments.push_back(Segment { item: name, ..Segment::default() });
        self.segments.len() - 1
    }

    fn drop_oldest(&mut self, mut count: usize) {
        self.dropped_samples += count as u64;
        self.samples.drain(..count);
        for segment in &mut self.segments {
            let part = segment.queued.min(count);
            segment.queued -= part;
            count -= part;
        }
    }

    fn retire_front(&mut self) {
        if let Some(segment) = self.segments.pop_front() {
            self.done.remember(&segment.item);
            if self.spare.len() < self.spare.capacity() {
                self.spare.push(segment.item);
            }
        }
    }

    /// Takes all audio out, for a change of the sample rate; `put_back` gives it back converted.
    pub(crate) fn convert(&mut self, rate: u32, mut convert: impl FnMut(&[i16]) -> Vec<i16>) {
        if rate == self.rate {
            return;
        }
        let scale = |count: u64, from: u32| count * u64::from(rate) / u64::from(from);
        let mut samples = VecDeque::with_capacity((rate * INITIAL_SECONDS) as usize);
        for segment in &mut self.segments {
            let part: Vec<i16> = self.samples.drain(..segment.queued).collect();
            let part = convert(&part);
            samples.extend(&part);
            segment.queued = part.len();
            segment.played = scale(segment.played, self.rate);
            segment.total = scale(segment.total, self.rate).max(segment.played + part.len() as u64);
        }
        self.dropped_samples = scale(self.dropped_samples, self.rate);
        self.samples = samples;
        self.rate = rate;
    }
}

fn to_ms(samples: u64, rate: u32) -> u32 {
    u32::try_from(samples * 1000 / u64::from(rate)).unwrap_or(u32::MAX)
}

/// The last few names, oldest forgotten first.
#[derive(Debug, Default)]
struct Names(VecDeque<String>);

impl Names {
    fn contains(&self, name: &str) -> bool {
        self.0.iter().any(|known| known == name)
    }

    fn remember(&mut self, name: &str) {
        if self.contains(name) {
            return;
        }
        let mut slot =
            if self.0.len() == MEMORY { self.0.pop_front().unwrap_or_default() } else { String::new() };
        slot.clear();
        slot.push_str(name);
        self.0.push_back(slot);
    }

    fn forget(&mut self, name: &str) {
        self.0.retain(|known| known != name);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const RATE: u32 = 8000;

    #[derive(Debug, PartialEq, Eq)]
    enum Seen {
        Started(String),
        Ended(Heard),
        Flushed(Vec<Heard>),
    }

    fn heard(item: &str, heard_ms: u32, total_ms: u32) -> Heard {
        Heard { item: item.into(), heard_ms, total_ms }
    }

    fn pull(playout: &mut Playout) -> (Vec<i16>, Vec<Seen>) {
        let mut frame = [99; 160];
        let mut seen = Vec::new();
        let filled = playout.pull(&mut frame, |event| {
            seen.push(match event {
                PlayoutEvent::Started(item) => Seen::Started(item.to_owned()),
                PlayoutEvent::Ended { item, heard_ms, total_ms } => {
                    Seen::Ended(heard(item, heard_ms, total_ms))
                }
                PlayoutEvent::Flushed(list) => Seen::Flushed(list),
            });
        });
        assert!(frame[filled..].iter().all(|&sample| sample == 0));
        (frame[..filled].to_vec(), seen)
    }

    #[test]
    fn an_item_ends_when_told_or_when_the_next_begins() {
        let mut playout = Playout::new(RATE);
        playout.push("a", &[1; 200]);
        assert_eq!(pull(&mut playout), (vec![1; 160], vec![Seen::Started("a".into())]));
        assert_eq!(pull(&mut playout), (vec![1; 40], vec![]));
        playout.push("b", &[2; 160]);
        let (frame, seen) = pull(&mut playout);
        assert_eq!(frame, [2; 160]);
        assert_eq!(seen, [Seen::Ended(heard("a", 25, 25)), Seen::Started("b".into())]);
        playout.end("b");
        assert_eq!(pull(&mut playout).1, [Seen::Ended(heard("b", 20, 20))]);
        playout.end("b");
        playout.end("silent");
        assert_eq!(pull(&mut playout).1, [Seen::Ended(heard("silent", 0, 0))]);
    }

    #[test]
    fn flush_fades_accounts_and_drops_late_audio() {
        let mut playout = Playout::new(RATE);
        playout.push("a", &[1000; 800]);
        playout.push("b", &[2000; 1600]);
        pull(&mut playout);
        playout.flush(80);
        playout.push("a", &[9; 100]);
        playout.push("new", &[3; 80]);
        let (frame, seen) = pull(&mut playout);
        assert_eq!(frame.len(), 160);
        assert!(frame[..80].windows(2).all(|pair| pair[0] >= pair[1]), "{frame:?}");
        assert!(frame[0] < 1000 && frame[79] > 0 && frame[79] < 30);
        assert_eq!(frame[80..], [3; 80]);
        assert_eq!(
            seen,
            [Seen::Flushed(vec![heard("a", 30, 100), heard("b", 0, 200)]), Seen::Started("new".into())]
        );
        playout.end("a");
        assert_eq!(pull(&mut playout), (vec![], vec![]));
    }

    #[test]
    fn flush_of_nothing_is_answered() {
        let mut playout = Playout::new(RATE);
        playout.flush(80);
        assert_eq!(pull(&mut playout), (vec![], vec![Seen::Flushed(vec![])]));
    }

    #[test]
    fn audio_without_an_item_plays_on_after_a_flush() {
        let mut playout = Playout::new(RATE);
        playout.push("", &[5; 800]);
        pull(&mut playout);
        playout.flush(0);
        playout.push("", &[6; 160]);
        let (frame, seen) = pull(&mut playout);
        assert_eq!(frame, [6; 160]);
        assert_eq!(seen[0], Seen::Flushed(vec![heard("", 20, 100)]));
    }

    #[test]
    fn dropped_items_stay_silent_and_end() {
        let mut playout = Playout::new(RATE);
        playout.push("a", &[1; 160]);
        playout.drop_item("a");
        playout.push("a", &[2; 160]);
        let (frame, seen) = pull(&mut playout);
        assert_eq!(frame, [1; 160]);
        assert_eq!(seen, [Seen::Started("a".into()), Seen::Ended(heard("a", 20, 20))]);
    }

    #[test]
    fn the_oldest_audio_gives_way_at_the_bound() {
        let mut playout = Playout::new(RATE);
        playout.push("a", &[1; 8000]);
        playout.push("b", &vec![2; 120 * 8000 - 4000]);
        assert_eq!(playout.dropped_ms(), 500);
        playout.push("c", &vec![3; 121 * 8000]);
        assert_eq!(playout.dropped_ms(), 500 + 1000 + 120_000);
        let (frame, seen) = pull(&mut playout);
        assert_eq!(frame, [3; 160]);
        assert_eq!(
            seen,
            [
                Seen::Ended(heard("a", 0, 1000)),
                Seen::Ended(heard("b", 0, 119_500)),
                Seen::Started("c".into())
            ]
        );
    }

    #[test]
    fn many_items_are_bounded() {
        let mut playout = Playout::new(RATE);
        for index in 0..5000 {
            playout.push(&index.to_string(), &[1; 8]);
        }
        assert_eq!(playout.segments.len(), MAX_SEGMENTS);
        assert_eq!(playout.samples.len(), MAX_SEGMENTS * 8);
        assert_eq!(playout.dropped_ms(), (5000 - MAX_SEGMENTS as u64));
        let mut ended = Vec::new();
        playout.report_displaced(|event| ended.push(format!("{event:?}")));
        assert_eq!(ended.len(), 5000 - MAX_SEGMENTS);
        assert_eq!(ended[0], r#"Ended { item: "0", heard_ms: 0, total_ms: 1 }"#);
    }

    #[test]
    fn a_change_of_rate_keeps_the_account() {
        let mut playout = Playout::new(RATE);
        playout.push("a", &[1; 800]);
        pull(&mut playout);
        playout.convert(16000, |part| part.iter().flat_map(|&sample| [sample; 2]).collect());
        playout.flush(0);
        assert_eq!(pull(&mut playout).1, [Seen::Flushed(vec![heard("a", 20, 100)])]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]

        #[test]
        fn samples_are_conserved(steps in proptest::collection::vec((0_u8..8, 0_usize..400, 0_u8..4), 1..80)) {
            let mut playout = Playout::new(RATE);
            let (mut given, mut played, mut flushed) = (0_u64, 0_u64, 0_u64);
            for (step, size, item) in steps {
                let item = format!("i{item}");
                match step {
                    0..=3 => {
                        if !playout.dropped.contains(&item) {
                            given += size as u64;
                        }
                        playout.push(&item, &vec![7; size]);
                    }
                    4 => playout.end(&item),
                    5 if size < 100 => playout.flush(size),
                    _ => {
                        let before = playout.samples.len() as u64;
                        let (frame, seen) = pull(&mut playout);
                        played += frame.len() as u64;
                        let after = playout.samples.len() as u64;
                        if seen.iter().any(|event| matches!(event, Seen::Flushed(_))) {
                            flushed += before - after - frame.len() as u64;
                        } else {
                            prop_assert_eq!(before - after, frame.len() as u64);
                        }
                    }
                }
                let queued: usize = playout.segments.iter().map(|segment| segment.queued).sum();
                prop_assert_eq!(queued, playout.samples.len());
                prop_assert_eq!(given, played + flushed + queued as u64);
            }
        }
    }
}
