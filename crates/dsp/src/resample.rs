//! Sample rate conversion at fixed ratios between 8, 16 and 24 kHz.

use std::f64::consts::PI;
use std::fmt;

/// Coefficients have this many fractional bits. One less than 16-bit coefficients could have, so that
/// the sum of a phase's magnitudes (below 2) times full scale stays inside 32 bits.
const FRACTION_BITS: u32 = 14;
/// Attenuation that the window is designed for; the coefficients' 16 bits cost a few decibels of it.
const DESIGN_DB: f64 = 78.0;
/// Coefficients of one phase are padded to this multiple: whole vectors in the inner loop.
const LANES: usize = 8;
/// Input taken in one step: 40 ms at 24 kHz.
const STEP: usize = 960;

/// No filter is made for this pair of rates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnsupportedRates {
    /// Rate of the input in hertz.
    pub from: u32,
    /// Rate of the output in hertz.
    pub to: u32,
}

impl fmt::Display for UnsupportedRates {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "cannot resample {} Hz to {} Hz: 8000, 16000 and 24000 are supported",
            self.from, self.to
        )
    }
}

impl std::error::Error for UnsupportedRates {}

/// A polyphase FIR that keeps its state from block to block.
///
/// The output does not depend on how the input is cut into blocks. With 8 kHz on either side the
/// pass band reaches to 3.4 kHz and the stop band begins at 4.6 kHz; between 16 and 24 kHz it is 7
/// and 9 kHz. The delay ([`delay_micros`](Self::delay_micros)) is constant for all frequencies.
///
/// ```
/// use trunkline_dsp::Resampler;
///
/// let mut up = Resampler::new(8000, 16000)?;
/// let mut output = [0; 320];
/// assert_eq!(up.process(&[100; 160], &mut output), 320);
/// # Ok::<(), trunkline_dsp::UnsupportedRates>(())
/// ```
#[derive(Clone, Debug)]
pub struct Resampler {
    up: usize,
    down: usize,
    delay_micros: u32,
    taps: usize,
    /// One row of `taps` for each of `up` phases, newest sample last.
    rows: Vec<i16>,
    /// The last `taps - 1` samples of the input, then room for one step.
    window: Vec<i16>,
    /// Where the next output lies behind the next input sample: whole samples and phase.
    position: usize,
    phase: usize,
}

impl Resampler {
    /// A converter at rest. Equal rates copy.
    ///
    /// # Errors
    /// [`UnsupportedRates`] for anything but 8000, 16000 and 24000.
    pub fn new(from: u32, to: u32) -> Result<Self, UnsupportedRates> {
        let (up, down) = match (from, to) {
            (8000 | 16_000 | 24_000, same) if same == from => (1, 1),
            (8000, 16_000) => (2, 1),
            (16_000, 8000) => (1, 2),
            (8000, 24_000) => (3, 1),
            (24_000, 8000) => (1, 3),
            (16_000, 24_000) => (3, 2),
            (24_000, 16_000) => (2, 3),
            _ => return Err(UnsupportedRates { from, to }),
        };
        if up == down {
            return Ok(Self {
                up,
                down,
                delay_micros: 0,
                taps: 1,
                rows: vec![],
                window: vec![],
                position: 0,
                phase: 0,
            });
        }
        let common = f64::from(from) * up as f64;
        // The narrower side's Nyquist frequency lies in the middle of the transition band.
        let nyquist = f64::from(from.min(to)) / 2.0;
        let transition = if nyquist < 5000.0 { 1200.0 } else { 2000.0 };
        let prototype = low_pass(nyquist / common, transition / common);
        let taps = prototype.len().div_ceil(up).next_multiple_of(LANES);
        Ok(Self {
            up,
            down,
            delay_micros: ((prototype.len() - 1) as f64 / 2.0 / common * 1e6).round() as u32,
            taps,
            rows: rows(&prototype, up, taps),
            window: vec![0; taps - 1 + STEP],
            position: 0,
            phase: 0,
        })
    }

    /// Most samples that `input` samples can become.
    pub fn max_output(&self, input: usize) -> usize {
        (input * self.up).div_ceil(self.down)
    }

    /// By how much the output lags behind the input.
    pub fn delay_micros(&self) -> u32 {
        self.delay_micros
    }

    /// Converts a block of any length; returns the samples written.
    ///
    /// # Panics
    /// When `output` is shorter than what the input becomes; [`max_output`](Self::max_output) suffices.
    pub fn process(&mut self, input: &[i16], output: &mut [i16]) -> usize {
        if self.rows.is_empty() {
            output[..input.len()].copy_from_slice(input);
            return input.len();
        }
        let mut written = 0;
        for step in input.chunks(STEP) {
            written += self.process_step(step, &mut output[written..]);
        }
        written
    }

    /// Forgets the signal: as after `new`.
    pub fn reset(&mut self) {
        self.window.fill(0);
        self.position = 0;
        self.phase = 0;
    }

    fn process_step(&mut self, input: &[i16], output: &mut [i16]) -> usize {
        let history = self.taps - 1;
        self.window[history..history + input.len()].copy_from_slice(input);
        let mut written = 0;
        while self.position < input.len() {
            let row = &self.rows[self.phase * self.taps..][..self.taps];
            output[written] = dot(row, &self.window[self.position..][..self.taps]);
            written += 1;
            self.phase += self.down;
            self.position += self.phase / self.up;
            self.phase %= self.up;
        }
        self.position -= input.len();
        self.window.copy_within(input.len()..input.len() + history, 0);
        written
    }
}

/// Rounded and saturated sum of products.
fn dot(coefficients: &[i16], samples: &[i16]) -> i16 {
    let sum: i32 = coefficients.iter().zip(samples).map(|(c, s)| i32::from(*c) * i32::from(*s)).sum();
    let rounded = (sum + (1 << (FRACTION_BITS - 1))) >> FRACTION_BITS;
    rounded.clamp(i32::from(i16::MIN), i32::from(i16::MAX)) as i16
}

/// A Kaiser-windowed low-pass with unity gain; frequencies as fractions of the sample rate.
fn low_pass(cutoff: f64, transition: f64) -> Vec<f64> {
    let length = ((DESIGN_DB - 8.0) / (2.285 * 2.0 * PI * transition)).ceil() as usize | 1;
    let beta = 0.1102 * (DESIGN_DB - 8.7);
    let middle = (length - 1) as f64 / 2.0;
    (0..length)
        .map(|index| {
            let offset = index as f64 - middle;
            let angle = 2.0 * PI * cutoff * offset;
            let sinc = if offset == 0.0 { 2.0 * cutoff } else { angle.sin() / (PI * offset) };
            let ratio = offset / middle;
            sinc * bessel_i0(beta * (1.0 - ratio * ratio).max(0.0).sqrt()) / bessel_i0(beta)
        })
        .collect()
}

/// Modified Bessel function of the first kind, order zero.
fn bessel_i0(x: f64) -> f64 {
    let mut term = 1.0;
    let mut sum = 1.0;
    for k in 1..60 {
        term *= (x / 2.0 / f64::from(k)).powi(2);
        sum += term;
    }
    sum
}

/// Cuts the prototype into phases, each with a gain of one at zero frequency and reversed.
fn rows(prototype: &[f64], up: usize, taps: usize) -> Vec<i16> {
    let mut rows = vec![0; up * taps];
    for phase in 0..up {
        let column: Vec<f64> = prototype.iter().copied().skip(phase).step_by(up).collect();
        let sum: f64 = column.iter().sum();
        for (index, coefficient) in column.iter().enumerate() {
            let scaled = coefficient / sum * f64::from(1 << FRACTION_BITS);
            rows[phase * taps + taps - 1 - index] = scaled.round() as i16;
        }
    }
    rows
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Resampler, UnsupportedRates};
    use crate::Sine;

    const PAIRS: [(u32, u32); 6] =
        [(8000, 16_000), (16_000, 8000), (8000, 24_000), (24_000, 8000), (16_000, 24_000), (24_000, 16_000)];

    fn resample(from: u32, to: u32, input: &[i16]) -> Vec<i16> {
        let mut resampler = Resampler::new(from, to).unwrap();
        let mut output = vec![0; resampler.max_output(input.len())];
        let written = resampler.process(input, &mut output);
        output.truncate(written);
        output
    }

    fn sine(rate: u32, hertz: f64, amplitude: f64) -> Vec<i16> {
        (0..rate)
            .map(|n| {
                (amplitude * (std::f64::consts::TAU * hertz * f64::from(n) / f64::from(rate)).sin()).round()
                    as i16
            })
            .collect()
    }

    /// Amplitude at one frequency, by correlation over a whole number of periods after settling.
    fn amplitude_at(signal: &[i16], rate: u32, hertz: f64) -> f64 {
        let tail = &signal[signal.len() - rate as usize / 2..];
        let (mut re, mut im) = (0.0, 0.0);
        for (n, sample) in tail.iter().enumerate() {
            let angle = std::f64::consts::TAU * hertz * n as f64 / f64::from(rate);
            re += f64::from(*sample) * angle.cos();
            im += f64::from(*sample) * angle.sin();
        }
        2.0 * (re * re + im * im).sqrt() / tail.len() as f64
    }

    #[test]
    fn the_pass_band_is_flat() {
        for (from, to) in PAIRS {
            let edge = if from.min(to) == 8000 { 3400 } else { 7000 };
            for hertz in (100..=edge).step_by(100) {
                let hertz = f64::from(hertz);
                let output = resample(from, to, &sine(from, hertz, 16_000.0));
                let gain = 20.0 * (amplitude_at(&output, to, hertz) / 16_000.0).log10();
                assert!(gain.abs() < 0.1, "{from} to {to} at {hertz} Hz: {gain:.3} dB");
            }
        }
    }

    #[test]
    fn images_are_gone_when_the_rate_rises() {
        for (from, to) in PAIRS.into_iter().filter(|(from, to)| from < to) {
            let edge = if from == 8000 { 3400 } else { 7000 };
            for hertz in (200..=edge).step_by(200) {
                let output = resample(from, to, &sine(from, f64::from(hertz), 16_000.0));
                for image in [f64::from(from) - f64::from(hertz), f64::from(from) + f64::from(hertz)] {
                    if image < f64::from(to) / 2.0 {
                        let level = 20.0 * (amplitude_at(&output, to, image) / 16_000.0).log10();
                        assert!(level < -65.0, "{from} to {to}: image of {hertz} at {image}: {level:.1} dB");
                    }
                }
            }
        }
    }

    #[test]
    fn aliases_are_gone_when_the_rate_falls() {
        for (from, to) in PAIRS.into_iter().filter(|(from, to)| from > to) {
            let edge = if to == 8000 { 4600 } else { 9000 };
            for hertz in (edge..from / 2).step_by(200) {
                let output = resample(from, to, &sine(from, f64::from(hertz), 16_000.0));
                let folded = f64::from(hertz % to).min(f64::from(to - hertz % to));
                let level = 20.0 * (amplitude_at(&output, to, folded) / 16_000.0).log10();
                assert!(level < -65.0, "{from} to {to}: {hertz} folds to {folded}: {level:.1} dB");
            }
        }
    }

    #[test]
    fn the_delay_is_what_it_says() {
        for (from, to) in PAIRS {
            let resampler = Resampler::new(from, to).unwrap();
            let delay = f64::from(resampler.delay_micros()) / 1e6;
            assert!(delay < 0.003, "{from} to {to}: {delay}");
            let hertz = 1000.0;
            let output = resample(from, to, &sine(from, hertz, 16_000.0));
            for n in to / 2..to / 2 + 50 {
                let time = f64::from(n) / f64::from(to) - delay;
                let expected = 16_000.0 * (std::f64::consts::TAU * hertz * time).sin();
                assert!(
                    (f64::from(output[n as usize]) - expected).abs() < 60.0,
                    "{from} to {to}: sample {n}"
                );
            }
        }
    }

    #[test]
    fn full_scale_saturates_instead_of_wrapping() {
        for (from, to) in PAIRS {
            let square: Vec<i16> =
                (0..4000).map(|n| if n / 7 % 2 == 0 { i16::MAX } else { i16::MIN }).collect();
            let output = resample(from, to, &square);
            let limit = |sample: &i16| i32::from(*sample).abs();
            assert!(output.iter().map(limit).max().unwrap() >= 32_000);
            // A wrapped sum would show as a jump of nearly twice full scale between neighbours at 3 to 1.
            let constant = resample(from, to, &[i16::MIN; 2000]);
            assert!(constant[500..].iter().all(|sample| *sample < -32_700), "{from} to {to}");
        }
    }

    #[test]
    fn equal_rates_copy_and_others_are_refused() {
        assert_eq!(resample(8000, 8000, &[1, -2, 3]), [1, -2, 3]);
        assert_eq!(Resampler::new(8000, 44_100).unwrap_err(), UnsupportedRates { from: 8000, to: 44_100 });
        assert!(Resampler::new(0, 0).is_err());
    }

    #[test]
    fn blocks_of_20_ms_become_blocks_of_20_ms() {
        for (from, to) in PAIRS {
            let mut resampler = Resampler::new(from, to).unwrap();
            let input = vec![0; from as usize / 50];
            let mut output = vec![0; to as usize / 50];
            for _ in 0..100 {
                assert_eq!(resampler.process(&input, &mut output), output.len());
            }
        }
    }

    #[test]
    fn reset_is_like_new() {
        let mut signal = vec![0; 333];
        Sine::new(8000, 440.0, -6.0).fill(&mut signal);
        let mut resampler = Resampler::new(16_000, 24_000).unwrap();
        let mut output = vec![0; 600];
        resampler.process(&[12_345; 77], &mut output);
        resampler.reset();
        let written = resampler.process(&signal, &mut output);
        assert_eq!(output[..written], resample(16_000, 24_000, &signal));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn cutting_the_input_changes_nothing(pair in 0_usize..6, seed: u32, cuts in proptest::collection::vec(0_usize..2500, 1..12)) {
            let (from, to) = PAIRS[pair];
            let mut noise = crate::ComfortNoise::new(seed, -12.0);
            let mut input = vec![0; cuts.iter().sum()];
            noise.fill(&mut input);
            let whole = resample(from, to, &input);
            let mut resampler = Resampler::new(from, to).unwrap();
            let mut parts = Vec::new();
            let mut rest = &input[..];
            for cut in cuts {
                let (block, after) = rest.split_at(cut);
                let mut output = vec![0; resampler.max_output(cut)];
                let written = resampler.process(block, &mut output);
                parts.extend_from_slice(&output[..written]);
                rest = after;
            }
            prop_assert_eq!(parts, whole);
        }
    }
}
