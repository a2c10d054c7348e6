//! Gains that move without clicks, fades, mixing and ducking.

use crate::level::amplitude;
use crate::saturate;

/// Adds `other` to `target`, saturating; stops at the shorter of the two.
pub fn mix(target: &mut [i16], other: &[i16]) {
    for (sample, added) in target.iter_mut().zip(other) {
        *sample = sample.saturating_add(*added);
    }
}

/// Cross-fades linearly from `from` to `target`, in place, over the shorter of the two.
pub fn cross_fade(from: &[i16], target: &mut [i16]) {
    let length = from.len().min(target.len());
    let step = 1.0 / (length as f32 + 1.0);
    for (index, (old, new)) in from.iter().zip(target).enumerate() {
        let share = (index as f32 + 1.0) * step;
        *new = saturate(f32::from(*old) + (f32::from(*new) - f32::from(*old)) * share);
    }
}

/// A gain that reaches its target on a straight line.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Gain {
    current: f32,
    target: f32,
    remaining: u32,
}

impl Gain {
    /// A constant gain; 1.0 leaves samples as they are.
    pub const fn new(gain: f32) -> Self {
        Self { current: gain, target: gain, remaining: 0 }
    }

    /// Moves to `target` over so many samples; at once when zero.
    pub fn ramp(&mut self, target: f32, samples: u32) {
        self.target = target;
        self.remaining = samples;
        if samples == 0 {
            self.current = target;
        }
    }

    /// Applies the gain to the next samples.
    pub fn apply(&mut self, block: &mut [i16]) {
        let mut rest = block.iter_mut();
        while self.remaining > 0 {
            let Some(sample) = rest.next() else { return };
            self.current += (self.target - self.current) / self.remaining as f32;
            self.remaining -= 1;
            *sample = saturate(f32::from(*sample) * self.current);
        }
        self.current = self.target;
        // Unity and silence are by far the most common.
        let gain = self.current;
        if (gain - 1.0).abs() < f32::EPSILON {
            return;
        }
        if gain.abs() < f32::EPSILON {
            rest.for_each(|sample| *sample = 0);
        } else {
            rest.for_each(|sample| *sample = saturate(f32::from(*sample) * gain));
        }
    }

    /// The gain now.
    pub fn current(&self) -> f32 {
        self.current
    }

    /// Whether the target is reached.
    pub fn is_settled(&self) -> bool {
        self.remaining == 0
    }
}

/// Lowers a background while a foreground is active.
#[derive(Clone, Copy, Debug)]
pub struct Ducker {
    gain: Gain,
    ducked: f32,
    attack: u32,
    release: u32,
    active: bool,
}

impl Ducker {
    /// Background at `rate`, lowered by `depth_db` (a positive number) within 20 ms, raised again
    /// within 300 ms.
    pub fn new(rate: u32, depth_db: f32) -> Self {
        Self {
            gain: Gain::new(1.0),
            ducked: amplitude(-depth_db.abs()),
            attack: rate / 50,
            release: rate * 3 / 10,
            active: false,
        }
    }

    /// Applies the gain to a block of background.
    pub fn apply(&mut self, background: &mut [i16], foreground_active: bool) {
        if foreground_active != self.active {
            self.active = foreground_active;
            let (target, samples) =
                if foreground_active { (self.ducked, self.attack) } else { (1.0, self.release) };
            self.gain.ramp(target, samples);
        }
        self.gain.apply(background);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Ducker, Gain, cross_fade, mix};

    #[test]
    fn mixing_saturates_and_stops_at_the_shorter() {
        let mut target = [30_000, -30_000, 5];
        mix(&mut target, &[10_000, -10_000]);
        assert_eq!(target, [i16::MAX, i16::MIN, 5]);
    }

    #[test]
    fn a_ramp_ends_exactly_and_crosses_blocks() {
        let mut gain = Gain::new(1.0);
        gain.ramp(0.0, 100);
        let mut first = [10_000; 60];
        let mut second = [10_000; 60];
        gain.apply(&mut first);
        assert!(!gain.is_settled());
        gain.apply(&mut second);
        assert!(gain.is_settled() && gain.current() == 0.0);
        let joined = [first, second].concat();
        assert_eq!((joined[0], joined[49], joined[99], joined[100]), (9_900, 5_000, 0, 0));
        assert!(joined.windows(2).all(|pair| (0..=101).contains(&(pair[0] - pair[1]))));
    }

    #[test]
    fn no_ramp_is_at_once() {
        let mut gain = Gain::new(1.0);
        gain.ramp(0.5, 0);
        let mut block = [100; 4];
        gain.apply(&mut block);
        assert_eq!(block, [50; 4]);
    }

    #[test]
    fn ducking_lowers_fast_and_raises_slowly() {
        let mut ducker = Ducker::new(8000, 12.0);
        let mut block = [10_000; 320];
        ducker.apply(&mut block, true);
        assert!((2_400..2_600).contains(&block[319]), "{}", block[319]);
        let mut block = [10_000; 2400];
        ducker.apply(&mut block, false);
        assert!((2_400..2_600).contains(&block[0]) && block[2399] == 10_000);
    }

    proptest! {
        #[test]
        fn a_cross_fade_stays_between_both(pairs in proptest::collection::vec((any::<i16>(), any::<i16>()), 1..80)) {
            let (from, mut to): (Vec<_>, Vec<_>) = pairs.iter().copied().unzip();
            cross_fade(&from, &mut to);
            for ((old, new), mixed) in pairs.into_iter().zip(to) {
                prop_assert!((old.min(new)..=old.max(new)).contains(&mixed));
            }
        }
    }
}
