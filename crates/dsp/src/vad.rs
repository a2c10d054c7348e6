//! Energy-based voice activity with an adaptive noise floor.

use crate::level::{SILENCE_DBFS, power, power_dbfs};

/// Sub-windows of the noise floor's minimum search.
const WINDOWS: usize = 8;
/// Length of a sub-window: eight of them bridge any speech without a pause, and 1.6 s after a lasting
/// change of the background the floor has followed it.
const WINDOW_MS: u32 = 200;
/// The minimum of noisy frame energies lies below their average by about this much.
const MINIMUM_BIAS_DB: f32 = 3.0;

/// The noise of a line is below this; a cut in louder audio would be heard.
const QUIET_DBFS: f32 = -35.0;

/// What counts as speech.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct VadConfig {
    /// Sample rate in hertz.
    pub rate: u32,
    /// A frame counts as voiced when it is louder than the noise floor by this many decibels ...
    pub margin_db: f32,
    /// ... and louder than this level in dBFS.
    pub min_level_dbfs: f32,
    /// Voiced audio needed for an onset, in milliseconds: clicks are shorter.
    pub onset_ms: u32,
    /// Unvoiced audio needed for an offset, in milliseconds: pauses between words are shorter.
    pub hangover_ms: u32,
}

impl VadConfig {
    /// For telephone speech at `rate`: 9 dB above the floor and -48 dBFS, 60 ms on, 300 ms off.
    pub const fn telephone(rate: u32) -> Self {
        Self { rate, margin_db: 9.0, min_level_dbfs: -48.0, onset_ms: 60, hangover_ms: 300 }
    }
}

/// A change of state; it is noticed `lag_ms` after it happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VadEvent {
    /// Speech began.
    Onset {
        /// From the first voiced sample to the end of the frame that proved it.
        lag_ms: u32,
    },
    /// Speech ended.
    Offset {
        /// From the last voiced sample to the end of the frame that proved it.
        lag_ms: u32,
    },
}

/// Detects speech frame by frame.
///
/// The noise floor is the minimum of the frame energies of the last 1.6 s, so a lasting noise or tone
/// stops counting as speech after that time.
#[derive(Clone, Debug)]
pub struct Vad {
    config: VadConfig,
    speech: bool,
    /// Milliseconds since the first voiced frame of an onset, and how much of that was voiced.
    rising_ms: u32,
    voiced_ms: u32,
    /// Milliseconds without a voiced frame.
    unvoiced_ms: u32,
    minima: [f32; WINDOWS],
    window: usize,
    window_ms: u32,
    level_dbfs: f32,
}

impl Vad {
    /// A detector that hears silence so far.
    pub fn new(config: VadConfig) -> Self {
        Self {
            config,
            speech: false,
            rising_ms: 0,
            voiced_ms: 0,
            unvoiced_ms: 0,
            // No frame is above a floor that is not known yet, unless it is loud.
            minima: [f32::INFINITY; WINDOWS],
            window: 0,
            window_ms: 0,
            level_dbfs: SILENCE_DBFS,
        }
    }

    /// Takes the next frame (10 to 30 ms).
    pub fn process(&mut self, frame: &[i16]) -> Option<VadEvent> {
        let length_ms = (frame.len() as u64 * 1000 / u64::from(self.config.rate.max(1))) as u32;
        if length_ms == 0 {
            return None;
        }
        let power = power(frame);
        self.level_dbfs = power_dbfs(power);
        let voiced = self.is_voiced();
        self.track_floor(power, length_ms);
        if self.speech { self.speaking(voiced, length_ms) } else { self.silent(voiced, length_ms) }
    }

    /// Whether speech is going on (hangover included).
    pub fn is_speech(&self) -> bool {
        self.speech
    }

    /// Whether the last frame was neither voiced nor loud: a good moment to change a delay. Music and
    /// tones that the noise floor has followed are not quiet.
    pub fn is_quiet(&self) -> bool {
        self.level_dbfs < QUIET_DBFS && !self.is_voiced()
    }

    /// Level of the last frame in dBFS.
    pub fn level_dbfs(&self) -> f32 {
        self.level_dbfs
    }

    /// The noise floor in dBFS.
    pub fn noise_floor_dbfs(&self) -> f32 {
        let minimum = self.minima.iter().copied().fold(f32::INFINITY, f32::min);
        if minimum.is_finite() { power_dbfs(minimum) + MINIMUM_BIAS_DB } else { SILENCE_DBFS }
    }

    fn is_voiced(&self) -> bool {
        self.level_dbfs > self.config.min_level_dbfs
            && self.level_dbfs > self.noise_floor_dbfs() + self.config.margin_db
    }

    fn silent(&mut self, voiced: bool, length_ms: u32) -> Option<VadEvent> {
        if voiced {
            self.voiced_ms += length_ms;
            self.unvoiced_ms = 0;
        } else {
            self.unvoiced_ms += length_ms;
        }
        if self.voiced_ms == 0 {
            return None;
        }
        self.rising_ms += length_ms;
        if self.voiced_ms >= self.config.onset_ms {
            self.speech = true;
            return Some(VadEvent::Onset { lag_ms: std::mem::take(&mut self.rising_ms) });
        }
        // A gap of one frame inside a beginning is common, a longer one was a click.
        if self.unvoiced_ms > length_ms {
            self.voiced_ms = 0;
            self.rising_ms = 0;
        }
        None
    }

    fn speaking(&mut self, voiced: bool, length_ms: u32) -> Option<VadEvent> {
        if voiced {
            self.unvoiced_ms = 0;
            return None;
        }
        self.unvoiced_ms += length_ms;
        if self.unvoiced_ms < self.config.hangover_ms {
            return None;
        }
        self.speech = false;
        self.voiced_ms = 0;
        self.rising_ms = 0;
        Some(VadEvent::Offset { lag_ms: self.unvoiced_ms })
    }

    fn track_floor(&mut self, power: f32, length_ms: u32) {
        self.minima[self.window] = self.minima[self.window].min(power);
        self.window_ms += length_ms;
        if self.window_ms >= WINDOW_MS {
            self.window_ms = 0;
            self.window = (self.window + 1) % WINDOWS;
            self.minima[self.window] = f32::INFINITY;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Vad, VadConfig, VadEvent};
    use crate::gain::mix;
    use crate::{ComfortNoise, Sine};

    /// Noise all the time, a syllable-like tone where `speech` says so; events with their frame.
    fn run(
        noise_dbfs: f32,
        speech_dbfs: f32,
        frames: usize,
        speech: impl Fn(usize) -> bool,
    ) -> Vec<(usize, VadEvent)> {
        let mut vad = Vad::new(VadConfig::telephone(8000));
        let mut noise = ComfortNoise::new(77, noise_dbfs);
        let mut tone = Sine::new(8000, 300.0, speech_dbfs + 3.0);
        let mut events = Vec::new();
        for index in 0..frames {
            let mut frame = [0; 160];
            noise.fill(&mut frame);
            if speech(index) {
                let mut voice = [0; 160];
                tone.fill(&mut voice);
                mix(&mut frame, &voice);
            }
            events.extend(vad.process(&frame).map(|event| (index, event)));
        }
        events
    }

    #[test]
    fn speech_is_found_with_its_lag() {
        let events = run(-60.0, -25.0, 200, |frame| (100..150).contains(&frame));
        assert_eq!(events, [(102, VadEvent::Onset { lag_ms: 60 }), (164, VadEvent::Offset { lag_ms: 300 })]);
    }

    #[test]
    fn a_loud_line_needs_louder_speech() {
        let quiet = run(-35.0, -30.0, 300, |frame| (150..200).contains(&frame));
        assert_eq!(quiet, []);
        let loud = run(-35.0, -15.0, 300, |frame| (150..200).contains(&frame));
        assert_eq!(loud.len(), 2, "{loud:?}");
    }

    #[test]
    fn clicks_are_not_speech_and_a_dropped_frame_does_not_hide_it() {
        assert_eq!(run(-60.0, -20.0, 300, |frame| frame % 25 == 0), []);
        let events = run(-60.0, -20.0, 150, |frame| (100..110).contains(&frame) && frame != 101);
        assert_eq!(events[0], (103, VadEvent::Onset { lag_ms: 80 }));
    }

    #[test]
    fn words_are_joined_by_the_hangover() {
        let events = run(-60.0, -25.0, 300, |frame| (100..200).contains(&frame) && frame % 20 < 10);
        assert_eq!(events.len(), 2, "{events:?}");
    }

    #[test]
    fn a_lasting_background_stops_being_speech() {
        let events = run(-70.0, -30.0, 400, |frame| frame >= 100);
        assert!(
            matches!(events[..], [(102, VadEvent::Onset { .. }), (_, VadEvent::Offset { .. })]),
            "{events:?}"
        );
        assert!(events[1].0 < 220);
    }

    #[test]
    fn speech_from_the_first_frame_is_found() {
        // Syllables: a voice is never level for long.
        let events = run(-60.0, -20.0, 60, |frame| frame % 8 < 6);
        assert!(matches!(events[..], [(frame, VadEvent::Onset { .. })] if frame < 12), "{events:?}");
    }

    #[test]
    fn a_tone_that_lasts_is_neither_speech_nor_quiet() {
        let mut vad = Vad::new(VadConfig::telephone(8000));
        let mut tone = Sine::new(8000, 440.0, -15.0);
        let mut frame = [0; 160];
        for _ in 0..300 {
            tone.fill(&mut frame);
            vad.process(&frame);
        }
        assert!(!vad.is_speech() && !vad.is_quiet());
        ComfortNoise::new(3, -50.0).fill(&mut frame);
        vad.process(&frame);
        assert!(vad.is_quiet());
    }

    #[test]
    fn silence_and_empty_frames_are_quiet() {
        let mut vad = Vad::new(VadConfig::telephone(8000));
        assert_eq!(vad.process(&[]), None);
        for _ in 0..100 {
            assert_eq!(vad.process(&[0; 160]), None);
        }
        assert!(vad.is_quiet() && !vad.is_speech() && vad.noise_floor_dbfs() < -90.0);
    }
}
