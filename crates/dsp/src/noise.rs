//! Comfort noise at a given level (RFC 3389 without spectral parameters).

use crate::level::amplitude;
use crate::saturate;

/// Feedback of the one-pole low-pass that takes the hiss out of white noise.
const SMOOTHING: f32 = 0.6;

/// Noise that sounds like a quiet line.
#[derive(Clone, Debug)]
pub struct ComfortNoise {
    random: u32,
    amplitude: f32,
    filtered: f32,
}

impl ComfortNoise {
    /// Noise with an RMS of `level_dbfs`; different seeds give different noise.
    pub fn new(seed: u32, level_dbfs: f32) -> Self {
        let mut noise = Self { random: seed | 1, amplitude: 0.0, filtered: 0.0 };
        noise.set_level(level_dbfs);
        noise
    }

    /// Sets the RMS in dBFS.
    pub fn set_level(&mut self, level_dbfs: f32) {
        // Uniform noise of amplitude a has a power of a²/3; the filter passes (1-s)/(1+s) of it.
        let correction = (3.0 * (1.0 + SMOOTHING) / (1.0 - SMOOTHING)).sqrt();
        self.amplitude = amplitude(level_dbfs) * 32_768.0 * correction;
    }

    /// Takes the level from a comfort noise payload: its first byte is -dBov (RFC 3389 section 3.1).
    pub fn set_from_payload(&mut self, payload: &[u8]) {
        if let Some(level) = payload.first() {
            self.set_level(-f32::from(*level & 0x7F));
        }
    }

    /// Fills a block.
    pub fn fill(&mut self, block: &mut [i16]) {
        for sample in block {
            self.random ^= self.random << 13;
            self.random ^= self.random >> 17;
            self.random ^= self.random << 5;
            let white = self.random as i32 as f32 / 2_147_483_648.0;
            self.filtered = SMOOTHING * self.filtered + (1.0 - SMOOTHING) * white;
            *sample = saturate(self.filtered * self.amplitude);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::ComfortNoise;
    use crate::level::rms_dbfs;

    #[test]
    fn has_the_level_that_was_asked_for() {
        let mut block = vec![0; 16_000];
        for level in [-30.0, -45.0, -60.0] {
            let mut noise = ComfortNoise::new(1234, level);
            noise.fill(&mut block);
            assert!((rms_dbfs(&block) - level).abs() < 0.7, "{level}: {}", rms_dbfs(&block));
        }
        let mut noise = ComfortNoise::new(99, -20.0);
        noise.set_from_payload(&[50]);
        noise.set_from_payload(&[]);
        noise.fill(&mut block);
        assert!((rms_dbfs(&block) + 50.0).abs() < 0.7);
    }

    #[test]
    fn seeds_differ_and_repeat() {
        let noise = |seed| {
            let mut block = [0; 160];
            ComfortNoise::new(seed, -30.0).fill(&mut block);
            block
        };
        assert_eq!(noise(3), noise(3));
        assert_ne!(noise(3), noise(5));
    }
}
