//! Packet-loss concealment by repeating the pitch period, after the method of G.711 appendix I.
//!
//! Unlike the appendix it adds no delay: where the appendix blends into audio it still holds back, the
//! first samples of the concealment are blended with the mirrored end of what was played.

use crate::gain::cross_fade;
use crate::saturate;

/// Longest pitch period searched: 66 Hz.
const MAX_PERIOD_US: usize = 15_000;
/// Shortest: 200 Hz; higher voices are found at a multiple.
const MIN_PERIOD_US: usize = 5_000;
/// Audio compared in the search.
const CORRELATION_US: usize = 20_000;
/// History: three of the longest periods and a blend.
const HISTORY_US: usize = 48_750;
/// Full level for the first part of a gap, then a straight line to silence.
const FULL_US: usize = 10_000;
const SILENT_US: usize = 60_000;
/// Blend between mirrored past and repetition at the beginning of a gap.
const ENTRY_US: usize = 1_000;
/// Blend back into real audio: this, and more after a long gap.
const EXIT_US: usize = 4_000;
const MAX_EXIT_US: usize = 10_000;
const MAX_RATE: usize = 24_000;

/// Hides gaps in one stream of audio.
///
/// Every good block goes through [`good`](Self::good) on its way to the playout, every gap is filled by
/// [`conceal`](Self::conceal). Blocks may have any length. After 60 ms of gap the output is silent.
#[derive(Clone, Debug)]
pub struct Plc {
    rate: usize,
    /// The last samples played, oldest first.
    history: Vec<i16>,
    /// State of the gap, if one is open.
    gap: Option<Gap>,
}

#[derive(Clone, Copy, Debug)]
struct Gap {
    period: usize,
    /// Samples of the gap so far.
    filled: usize,
}

impl Plc {
    /// For audio at `rate` (8000 to 24000 Hz).
    pub fn new(rate: u32) -> Self {
        let rate = (rate as usize).clamp(8000, MAX_RATE);
        Self { rate, history: vec![0; samples(rate, HISTORY_US)], gap: None }
    }

    /// Takes the next real audio; after a gap its beginning is blended with the concealment.
    pub fn good(&mut self, block: &mut [i16]) {
        if let Some(gap) = self.gap {
            let longer = self.samples(EXIT_US) * gap.filled / self.samples(FULL_US).max(1);
            let blend = (self.samples(EXIT_US) + longer).min(self.samples(MAX_EXIT_US)).min(block.len());
            self.blend_into(block, blend);
            self.gap = None;
        }
        self.remember(block);
    }

    /// Fills a gap.
    pub fn conceal(&mut self, block: &mut [i16]) {
        self.open_gap();
        self.synthesise(block);
        self.remember_synthetic(block);
    }

    /// Hides the seam before `block` where audio was left out: like [`good`](Self::good) after a gap.
    pub fn join(&mut self, block: &mut [i16]) {
        self.open_gap();
        self.good(block);
    }

    fn samples(&self, micros: usize) -> usize {
        samples(self.rate, micros)
    }

    fn open_gap(&mut self) {
        if self.gap.is_none() {
            self.gap = Some(Gap { period: self.find_period(), filled: 0 });
        }
    }

    fn blend_into(&mut self, block: &mut [i16], length: usize) {
        // 10 ms at the highest rate: on the stack, because this path must not allocate.
        let mut tail = [0; MAX_RATE / 100];
        let tail = &mut tail[..length];
        self.synthesise(tail);
        cross_fade(tail, &mut block[..length]);
    }

    /// Appends to the history what a listener has heard.
    fn remember(&mut self, block: &[i16]) {
        let length = self.history.len();
        if block.len() >= length {
            self.history.copy_from_slice(&block[block.len() - length..]);
        } else {
            self.history.copy_within(block.len().., 0);
            self.history[length - block.len()..].copy_from_slice(block);
        }
    }

    /// During a gap the history stays: it is what the repetition is made of.
    fn remember_synthetic(&mut self, block: &[i16]) {
        if let Some(gap) = &mut self.gap {
            gap.filled += block.len();
            // A gap that has become silent is over as far as repetition goes.
            if gap.filled > samples(self.rate, SILENT_US) {
                self.history.fill(0);
            }
        }
    }

    /// The lag with the highest normalised correlation of the last 20 ms.
    fn find_period(&self) -> usize {
        let end = self.history.len();
        let window = self.samples(CORRELATION_US);
        // Coarse on every second or further sample, then fine around the best.
        let stride = self.rate / 4000;
        let mut best = (f32::MIN, self.samples(MIN_PERIOD_US));
        for lag in (self.samples(MIN_PERIOD_US)..=self.samples(MAX_PERIOD_US)).step_by(stride) {
            let score = self.correlation(end, window, lag, stride);
            if score > best.0 {
                best = (score, lag);
            }
        }
        let coarse = best.1;
        best.0 = f32::MIN;
        for lag in coarse.saturating_sub(stride)..=coarse + stride {
            if (self.samples(MIN_PERIOD_US)..=self.samples(MAX_PERIOD_US)).contains(&lag) {
                let score = self.correlation(end, window, lag, 1);
                if score > best.0 {
                    best = (score, lag);
                }
            }
        }
        best.1
    }

    fn correlation(&self, end: usize, window: usize, lag: usize, stride: usize) -> f32 {
        let recent = &self.history[end - window..];
        let earlier = &self.history[end - window - lag..end - lag];
        let mut product = 0_i64;
        let mut energy = 0_i64;
        for (now, then) in recent.iter().zip(earlier).step_by(stride) {
            product += i64::from(*now) * i64::from(*then);
            energy += i64::from(*then) * i64::from(*then);
        }
        product as f32 / (energy as f32 + 1.0).sqrt()
    }

    /// Writes the continuation of the open gap without moving it on.
    fn synthesise(&self, block: &mut [i16]) {
        let Some(gap) = self.gap else { return };
        let entry = self.samples(ENTRY_US);
        for (index, sample) in block.iter_mut().enumerate() {
            let at = gap.filled + index;
            let mut value = self.repetition(gap.period, at);
            if at < entry {
                let mirrored = f32::from(self.history[self.history.len() - 1 - at]);
                let share = (at + 1) as f32 / (entry + 1) as f32;
                value = mirrored + (value - mirrored) * share;
            }
            *sample = saturate(value * self.attenuation(at));
        }
    }

    /// Sample `at` of an endless repetition: one period for 10 ms, then two, then three, because one
    /// period repeated for longer buzzes. A quarter period is blended wherever the source jumps.
    fn repetition(&self, period: usize, at: usize) -> f32 {
        let stage = self.samples(FULL_US);
        // Whole periods, so that a stage begins at the phase where the last one ended.
        let first_end = stage.div_ceil(period) * period;
        let second_end = first_end + stage.div_ceil(2 * period) * 2 * period;
        let (begin, periods) = match at {
            at if at < first_end => (0, 1),
            at if at < second_end => (first_end, 2),
            _ => (second_end, 3),
        };
        let length = periods * period;
        let offset = (at - begin) % length;
        let start = self.history.len() - length;
        let value = f32::from(self.history[start + offset]);
        let blend = period / 4;
        if length - offset <= blend {
            // Towards the end the source fades into what precedes its own beginning.
            let before = f32::from(self.history[start - (length - offset)]);
            let share = (blend - (length - offset) + 1) as f32 / (blend + 1) as f32;
            return value + (before - value) * share;
        }
        value
    }

    fn attenuation(&self, at: usize) -> f32 {
        let (full, silent) = (self.samples(FULL_US), self.samples(SILENT_US));
        if at < full { 1.0 } else { (silent.saturating_sub(at)) as f32 / (silent - full) as f32 }
    }
}

fn samples(rate: usize, micros: usize) -> usize {
    rate * micros / 1_000_000
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::Plc;
    use crate::level::rms_dbfs;

    /// A voice-like sound: harmonics of 125 Hz with falling strength.
    fn voice(rate: u32, seconds: f64) -> Vec<i16> {
        (0..(f64::from(rate) * seconds) as u32)
            .map(|n| {
                let time = f64::from(n) / f64::from(rate);
                let sum: f64 = (1..=12)
                    .map(|k| {
                        (std::f64::consts::TAU * 125.0 * f64::from(k) * time + f64::from(k)).sin()
                            / f64::from(k)
                    })
                    .sum();
                (sum * 6000.0) as i16
            })
            .collect()
    }

    fn error_db(reference: &[i16], actual: &[i16]) -> f32 {
        let difference: Vec<i16> = reference.iter().zip(actual).map(|(r, a)| r.saturating_sub(*a)).collect();
        rms_dbfs(&difference) - rms_dbfs(reference)
    }

    #[test]
    fn a_lost_frame_of_a_voice_is_nearly_the_voice() {
        for rate in [8000, 16_000, 24_000] {
            let signal = voice(rate, 0.5);
            let frame = rate as usize / 50;
            let mut plc = Plc::new(rate);
            let mut played = Vec::new();
            for (index, block) in signal.chunks(frame).enumerate() {
                let mut block = block.to_vec();
                if index == 12 {
                    plc.conceal(&mut block);
                } else {
                    plc.good(&mut block);
                }
                played.extend(block);
            }
            let gap = 12 * frame..13 * frame;
            // 10 ms at full level, then down by a fifth until the end of the frame.
            let first_half = gap.start..gap.start + frame / 2;
            let error = error_db(&signal[first_half.clone()], &played[first_half]);
            assert!(error < -15.0, "{rate} Hz: {error:.1} dB");
            let error = error_db(&signal[gap.clone()], &played[gap]);
            assert!(error < -12.0, "{rate} Hz: {error:.1} dB");
            // Real audio is untouched once the blend is over.
            assert_eq!(signal[14 * frame..], played[14 * frame..]);
        }
    }

    #[test]
    fn nothing_clicks() {
        let signal = voice(8000, 1.0);
        let largest_step =
            signal.windows(2).map(|pair| (i32::from(pair[0]) - i32::from(pair[1])).abs()).max().unwrap();
        let mut plc = Plc::new(8000);
        let mut played = Vec::new();
        for (index, block) in signal.chunks(160).enumerate() {
            let mut block = block.to_vec();
            if [10, 20, 21, 30, 31, 32].contains(&index) {
                plc.conceal(&mut block);
            } else {
                plc.good(&mut block);
            }
            played.extend(block);
        }
        let step =
            played.windows(2).map(|pair| (i32::from(pair[0]) - i32::from(pair[1])).abs()).max().unwrap();
        assert!(step < largest_step * 3 / 2, "{step} against {largest_step}");
    }

    #[test]
    fn a_long_gap_fades_to_silence_and_stays_silent() {
        let mut plc = Plc::new(8000);
        for block in voice(8000, 0.2).chunks_mut(160) {
            plc.good(block);
        }
        let levels: Vec<f32> = (0..5)
            .map(|_| {
                let mut block = [0; 160];
                plc.conceal(&mut block);
                rms_dbfs(&block)
            })
            .collect();
        assert!(levels.windows(2).take(3).all(|pair| pair[1] < pair[0]), "{levels:?}");
        assert!(levels[3] < -90.0 && levels[4] < -90.0, "{levels:?}");
    }

    #[test]
    fn a_seam_is_hidden_by_a_blend() {
        let signal = voice(8000, 0.4);
        let mut plc = Plc::new(8000);
        let mut before = signal[..1600].to_vec();
        plc.good(&mut before);
        // 20 ms are left out, half a period out of phase.
        let mut after = signal[1600 + 160 + 32..][..160].to_vec();
        let original = after.clone();
        plc.join(&mut after);
        let step = (i32::from(before[1599]) - i32::from(after[0])).abs();
        assert!(step < 6000, "{step}");
        assert_eq!(original[40..], after[40..]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn cutting_a_gap_changes_nothing(cuts in proptest::collection::vec(1_usize..200, 1..8)) {
            let mut one = Plc::new(8000);
            let mut signal = voice(8000, 0.1);
            one.good(&mut signal);
            let mut other = one.clone();
            let mut whole = vec![0; cuts.iter().sum::<usize>()];
            // Past the point of silence the history is given up, block by block.
            prop_assume!(whole.len() <= 480);
            one.conceal(&mut whole);
            let mut parts = Vec::new();
            for cut in cuts {
                let mut block = vec![0; cut];
                other.conceal(&mut block);
                parts.extend(block);
            }
            prop_assert_eq!(parts, whole);
        }
    }
}
