//! Levels of blocks. 0 dBFS is a full-scale square wave; a full-scale sine has an RMS of -3.01 dBFS.

/// Level given for digital silence, below the quietest sample of 16 bits.
pub const SILENCE_DBFS: f32 = -96.4;

/// Mean square of a block as a fraction of full scale, 0 to 1; 0 for an empty block.
pub fn power(block: &[i16]) -> f32 {
    if block.is_empty() {
        return 0.0;
    }
    // 64 bits hold the squares of any block that fits into memory.
    let sum: i64 = block.iter().map(|sample| i64::from(i32::from(*sample) * i32::from(*sample))).sum();
    (sum as f64 / block.len() as f64 / (32_768.0 * 32_768.0)) as f32
}

/// RMS level of a block in dBFS, [`SILENCE_DBFS`] at least.
pub fn rms_dbfs(block: &[i16]) -> f32 {
    power_dbfs(power(block))
}

/// Largest magnitude in a block.
pub fn peak(block: &[i16]) -> u16 {
    block.iter().map(|sample| sample.unsigned_abs()).max().unwrap_or(0)
}

/// Peak level of a block in dBFS, [`SILENCE_DBFS`] at least.
pub fn peak_dbfs(block: &[i16]) -> f32 {
    let ratio = f32::from(peak(block)) / 32_768.0;
    power_dbfs(ratio * ratio)
}

/// A power as a fraction of full scale in dBFS, [`SILENCE_DBFS`] at least.
pub fn power_dbfs(power: f32) -> f32 {
    (10.0 * power.log10()).max(SILENCE_DBFS)
}

/// Amplitude factor of a level in decibels.
pub fn amplitude(decibels: f32) -> f32 {
    10_f32.powf(decibels / 20.0)
}

#[cfg(test)]
mod tests {
    use super::{SILENCE_DBFS, amplitude, peak, peak_dbfs, power, rms_dbfs};
    use crate::Sine;

    #[test]
    fn levels_of_known_signals() {
        let mut block = [0; 800];
        assert_eq!((rms_dbfs(&block), peak_dbfs(&block)), (SILENCE_DBFS, SILENCE_DBFS));
        Sine::new(8000, 1000.0, 0.0).fill(&mut block);
        assert!((rms_dbfs(&block) + 3.01).abs() < 0.01 && peak_dbfs(&block).abs() < 0.01);
        block.fill(i16::MIN);
        assert!(rms_dbfs(&block).abs() < 0.001 && peak(&block) == 32_768);
        assert!((power(&block) - 1.0).abs() < 1e-6 && power(&[]) == 0.0);
    }

    #[test]
    fn decibels_become_factors() {
        assert!((amplitude(-20.0) - 0.1).abs() < 1e-6);
        assert!((amplitude(0.0) - 1.0).abs() < 1e-6);
    }
}
