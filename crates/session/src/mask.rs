//! Bridging audio while a tool is slow.

use crate::types::MaskMode;

/// Gain of the mask while the engine speaks over it: -12 dB, in 1/32768.
const DUCKED: i32 = 8231;
const FULL: i32 = 32768;

/// What happened while a frame was mixed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum MaskEvent<'a> {
    Started(&'a str),
    Ended { name: &'a str, played_ms: u32 },
}

#[derive(Debug)]
pub(crate) struct Mask {
    name: String,
    pcm: Vec<i16>,
    rate: u32,
    at: usize,
    played: u64,
    looped: bool,
    mode: MaskMode,
    gain: i32,
    /// Samples of the fade-out that are left, and its length.
    fade: Option<(usize, usize)>,
}

impl Mask {
    pub(crate) fn new(name: String, pcm: Vec<i16>, rate: u32, mode: MaskMode, looped: bool) -> Self {
        // An empty loop would never end.
        let looped = looped && !pcm.is_empty();
        Self { name, pcm, rate, at: 0, played: 0, looped, mode, gain: FULL, fade: None }
    }

    /// Whether the engine's audio has to wait.
    pub(crate) fn holds_the_turn(&self) -> bool {
        self.mode == MaskMode::Turn
    }

    /// Ends the mask after `samples` of fade; a fade that is under way goes on.
    pub(crate) fn fade_out(&mut self, samples: usize) {
        if self.fade.is_none() {
            self.fade = Some((samples, samples));
        }
    }

    pub(crate) fn ended(&self) -> MaskEvent<'_> {
        let played_ms = (self.played * 1000 / u64::from(self.rate)) as u32;
        MaskEvent::Ended { name: &self.name, played_ms }
    }

    pub(crate) fn is_fading(&self) -> bool {
        self.fade.is_some()
    }

    /// The same mask at another sample rate.
    pub(crate) fn converted(mut self, rate: u32, convert: impl FnOnce(&[i16]) -> Vec<i16>) -> Self {
        let scale = |count: usize, from: u32| (count as u64 * u64::from(rate) / u64::from(from)) as usize;
        self.pcm = convert(&self.pcm);
        self.at = scale(self.at, self.rate).min(self.pcm.len());
        self.played = self.played * u64::from(rate) / u64::from(self.rate);
        self.fade = self.fade.map(|(left, length)| (scale(left, self.rate), scale(length, self.rate)));
        self.rate = rate;
        self
    }

    pub(crate) fn has_started(&self) -> bool {
        self.played > 0
    }

    /// Adds the mask to `frame`; `busy` tells whether the engine speaks in it. Returns whether the
    /// mask goes on.
    pub(crate) fn mix(
        &mut self,
        frame: &mut [i16],
        busy: bool,
        mut event: impl FnMut(MaskEvent<'_>),
    ) -> bool {
        let target = if busy && self.mode == MaskMode::Mix { DUCKED } else { FULL };
        let length = frame.len() as i32;
        let step = (target - self.gain) / length.max(1);
        let starting = self.played == 0;
        for sample in frame {
            if self.at == self.pcm.len() {
                if !self.looped {
                    break;
                }
                self.at = 0;
            }
            let mut value = i32::from(self.pcm[self.at]) * self.gain / FULL;
            if let Some((left, length)) = &mut self.fade {
                if *left == 0 {
                    break;
                }
                value = (i64::from(value) * *left as i64 / (*length as i64 + 1)) as i32;
                *left -= 1;
            }
            *sample = (i32::from(*sample) + value).clamp(i32::from(i16::MIN), i32::from(i16::MAX)) as i16;
            self.gain += step;
            self.at += 1;
            self.played += 1;
        }
        self.gain = target;
        if starting && self.played > 0 {
            event(MaskEvent::Started(&self.name));
        }
        let faded = self.fade.is_some_and(|(left, _)| left == 0);
        let exhausted = self.at == self.pcm.len() && !self.looped;
        if faded || exhausted {
            event(self.ended());
        }
        !(faded || exhausted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mix(mask: &mut Mask, frame: &mut [i16], busy: bool) -> (bool, Vec<String>) {
        let mut seen = Vec::new();
        let more = mask.mix(frame, busy, |event| seen.push(format!("{event:?}")));
        (more, seen)
    }

    #[test]
    fn plays_once_to_its_end() {
        let mut mask = Mask::new("m".into(), vec![100; 200], 8000, MaskMode::Turn, false);
        let mut frame = [1; 160];
        assert_eq!(mix(&mut mask, &mut frame, false), (true, vec!["Started(\"m\")".into()]));
        assert_eq!(frame, [101; 160]);
        frame = [0; 160];
        let (more, seen) = mix(&mut mask, &mut frame, false);
        assert_eq!(
            (more, seen.as_slice()),
            (false, &["Ended { name: \"m\", played_ms: 25 }".to_owned()][..])
        );
        assert_eq!((frame[39], frame[40]), (100, 0));
    }

    #[test]
    fn loops_until_it_is_faded_out() {
        let mut mask = Mask::new("m".into(), vec![1000; 100], 8000, MaskMode::Mix, true);
        for _ in 0..50 {
            assert!(mix(&mut mask, &mut [0; 160], false).0);
        }
        mask.fade_out(200);
        let mut frame = [0; 160];
        assert!(mix(&mut mask, &mut frame, false).0);
        assert!(frame.windows(2).all(|pair| pair[0] >= pair[1]));
        let mut frame = [0; 160];
        let (more, seen) = mix(&mut mask, &mut frame, false);
        assert!(!more && frame[40] == 0 && frame[39] < 10);
        assert_eq!(seen, ["Ended { name: \"m\", played_ms: 1025 }"]);
    }

    #[test]
    fn ducks_under_speech_without_a_step() {
        let mut mask = Mask::new("m".into(), vec![10_000; 16000], 8000, MaskMode::Mix, false);
        mix(&mut mask, &mut [0; 160], false);
        let mut frame = [0; 160];
        mix(&mut mask, &mut frame, true);
        assert!(frame[0] > 9900 && frame[159] < 2700);
        assert!(frame.windows(2).all(|pair| pair[0] - pair[1] < 100));
        let mut frame = [0; 160];
        mix(&mut mask, &mut frame, true);
        assert!((2500..2520).contains(&frame[80]), "{}", frame[80]);
    }

    #[test]
    fn mixing_saturates() {
        let mut mask = Mask::new("m".into(), vec![30_000; 160], 8000, MaskMode::Mix, false);
        let mut frame = [30_000; 160];
        mix(&mut mask, &mut frame, false);
        assert_eq!(frame, [i16::MAX; 160]);
    }

    #[test]
    fn an_empty_mask_ends_at_once() {
        let mut mask = Mask::new("m".into(), Vec::new(), 8000, MaskMode::Turn, true);
        let (more, seen) = mix(&mut mask, &mut [0; 160], false);
        assert_eq!((more, seen.as_slice()), (false, &["Ended { name: \"m\", played_ms: 0 }".to_owned()][..]));
    }
}
