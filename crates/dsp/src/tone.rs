//! Sine and dual-tone generators.

use std::f64::consts::TAU;

use crate::level::amplitude;
use crate::saturate;

/// A sine by recursion: one multiplication a sample, amplitude constant to better than 0.01 dB an hour.
#[derive(Clone, Debug)]
pub struct Sine {
    /// `y[n] = coefficient * y[n-1] - y[n-2]`; in 64 bits the rounding does not grow.
    coefficient: f64,
    previous: f64,
    before: f64,
}

impl Sine {
    /// A sine of `hertz` at `rate` whose peak is `peak_dbfs`, beginning at zero.
    pub fn new(rate: u32, hertz: f32, peak_dbfs: f32) -> Self {
        let step = TAU * f64::from(hertz) / f64::from(rate.max(1));
        let peak = f64::from(amplitude(peak_dbfs)) * 32_767.0;
        Self {
            coefficient: 2.0 * step.cos(),
            previous: -peak * step.sin(),
            before: -peak * (2.0 * step).sin(),
        }
    }

    /// The next samples.
    pub fn fill(&mut self, block: &mut [i16]) {
        for sample in block {
            *sample = saturate(self.next() as f32);
        }
    }

    fn next(&mut self) -> f64 {
        let value = self.coefficient * self.previous - self.before;
        self.before = self.previous;
        self.previous = value;
        value
    }
}

/// Two sines of equal level: DTMF, ringing and busy tones.
#[derive(Clone, Debug)]
pub struct DualTone {
    first: Sine,
    second: Sine,
}

impl DualTone {
    /// Two frequencies at `rate`, each with a peak of `peak_dbfs`.
    pub fn new(rate: u32, hertz: (f32, f32), peak_dbfs: f32) -> Self {
        Self { first: Sine::new(rate, hertz.0, peak_dbfs), second: Sine::new(rate, hertz.1, peak_dbfs) }
    }

    /// A DTMF digit; `None` for other characters.
    pub fn dtmf(rate: u32, digit: char, peak_dbfs: f32) -> Option<Self> {
        dtmf_frequencies(digit).map(|hertz| Self::new(rate, hertz, peak_dbfs))
    }

    /// The next samples.
    pub fn fill(&mut self, block: &mut [i16]) {
        for sample in block {
            *sample = saturate((self.first.next() + self.second.next()) as f32);
        }
    }
}

/// Row and column frequency of a DTMF digit in hertz (ITU-T Q.23).
pub fn dtmf_frequencies(digit: char) -> Option<(f32, f32)> {
    const ROWS: [f32; 4] = [697.0, 770.0, 852.0, 941.0];
    const COLUMNS: [f32; 4] = [1209.0, 1336.0, 1477.0, 1633.0];
    let place = "123A456B789C*0#D".find(digit.to_ascii_uppercase())?;
    Some((ROWS[place / 4], COLUMNS[place % 4]))
}

#[cfg(test)]
mod tests {
    use super::{DualTone, Sine, dtmf_frequencies};
    use crate::level::{peak, rms_dbfs};

    #[test]
    fn a_sine_is_a_sine_also_after_an_hour() {
        let mut sine = Sine::new(8000, 1000.0, 0.0);
        let mut block = [0; 8000];
        sine.fill(&mut block);
        assert_eq!(block[..8], [0, 23_170, 32_767, 23_170, 0, -23_170, -32_767, -23_170]);
        for _ in 0..3600 {
            sine.fill(&mut block);
        }
        assert!((rms_dbfs(&block) + 3.01).abs() < 0.01, "{}", rms_dbfs(&block));
    }

    #[test]
    fn digits_have_their_frequencies() {
        assert_eq!(dtmf_frequencies('5'), Some((770.0, 1336.0)));
        assert_eq!(dtmf_frequencies('d'), Some((941.0, 1633.0)));
        assert_eq!(dtmf_frequencies('0'), Some((941.0, 1336.0)));
        assert_eq!(dtmf_frequencies('x'), None);
        let mut block = [0; 8000];
        DualTone::dtmf(8000, '#', -9.0).unwrap().fill(&mut block);
        assert!((rms_dbfs(&block) + 9.0).abs() < 0.1 && peak(&block) < 25_000);
    }
}
