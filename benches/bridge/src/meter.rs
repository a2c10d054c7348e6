//! What is counted: the fate of every frame, distributions, and the processor time of processes.

use std::fs;

use crate::marker::Mark;

/// Frames of one call that may be under way: numbers are modulo this.
const FRAMES: usize = 256;

/// A frame on its way through the gateway and back. Times in nanoseconds; 0: not yet.
#[derive(Clone, Copy, Debug, Default)]
struct Frame {
    sent: u64,
    /// When the echo left the engine, on the audio's timeline.
    echoed: u64,
    measured: bool,
    /// Sent and not back.
    open: bool,
}

/// The frames of one call.
#[derive(Debug)]
pub(crate) struct CallFrames(Box<[Frame; FRAMES]>);

impl Default for CallFrames {
    fn default() -> Self {
        Self(Box::new([Frame::default(); FRAMES]))
    }
}

/// Counters and distributions of a run.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    /// Frames sent in the window; those the engine did not hear; those that did not come back.
    pub(crate) sent: u64,
    pub(crate) lost_up: u64,
    pub(crate) lost: u64,
    /// Frames that carried another call's mark.
    pub(crate) crossed: u64,
    /// Frames that came twice or were never sent.
    pub(crate) strange: u64,
    pub(crate) up: Distribution,
    pub(crate) down: Distribution,
    pub(crate) round_trip: Distribution,
    pub(crate) set_up: Distribution,
    pub(crate) first_audio: Distribution,
    pub(crate) lateness: Distribution,
}

impl Meter {
    pub(crate) fn frame_sent(&mut self, call: &mut CallFrames, number: u8, now: u64, measured: bool) {
        let frame = &mut call.0[usize::from(number)];
        let before = std::mem::replace(frame, Frame { sent: now, echoed: 0, measured, open: true });
        self.settle(before);
        self.sent += u64::from(measured);
    }

    /// The engine heard a frame at `heard` and its echo left at `echoed`.
    pub(crate) fn frame_echoed(&mut self, call: &mut CallFrames, number: u8, heard: u64, echoed: u64) {
        let frame = &mut call.0[usize::from(number)];
        if !frame.open || frame.echoed != 0 {
            self.strange += 1;
            return;
        }
        frame.echoed = echoed;
        if frame.measured {
            self.up.add(heard.saturating_sub(frame.sent));
        }
    }

    /// A frame came back to its phone.
    pub(crate) fn frame_back(&mut self, call: &mut CallFrames, number: u8, at: u64) -> bool {
        let frame = &mut call.0[usize::from(number)];
        if !frame.open || frame.echoed == 0 {
            self.strange += 1;
            return false;
        }
        frame.open = false;
        if frame.measured {
            self.down.add(at.saturating_sub(frame.echoed));
            self.round_trip.add(at.saturating_sub(frame.sent));
        }
        true
    }

    /// Counts what is still open when a call ends.
    pub(crate) fn call_over(&mut self, call: &mut CallFrames) {
        for frame in call.0.iter_mut() {
            self.settle(std::mem::take(frame));
        }
    }

    fn settle(&mut self, frame: Frame) {
        if frame.open && frame.measured {
            self.lost += 1;
            self.lost_up += u64::from(frame.echoed == 0);
        }
    }
}

/// Tells audio of another call from a frame that was misread: the former goes on.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Astray(u64);

impl Astray {
    /// Whether the mark is this call's; others are counted once there are three in a row.
    pub(crate) fn is_ours(&mut self, call: usize, mark: Mark, meter: &mut Meter) -> bool {
        if Mark::of(call, mark.frame) == mark {
            self.0 = 0;
            return true;
        }
        self.0 += 1;
        meter.crossed += match self.0 {
            1 | 2 => 0,
            3 => 3,
            _ => 1,
        };
        false
    }
}

/// Durations in microseconds, kept one by one.
#[derive(Debug, Default)]
pub(crate) struct Distribution(Vec<u32>);

impl Distribution {
    pub(crate) fn add(&mut self, nanos: u64) {
        self.0.push(u32::try_from(nanos / 1000).unwrap_or(u32::MAX));
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Quantiles in milliseconds; `None` when there is nothing.
    pub(crate) fn quantiles<const N: usize>(&mut self, wanted: [f64; N]) -> Option<[f64; N]> {
        if self.0.is_empty() {
            return None;
        }
        self.0.sort_unstable();
        let last = self.0.len() - 1;
        Some(wanted.map(|share| f64::from(self.0[(share * last as f64).round() as usize]) / 1000.0))
    }
}

/// Processor time and memory of a process at one moment.
#[derive(Clone, Debug, Default)]
pub(crate) struct Usage {
    /// Seconds of processor time by thread name, user and system together.
    pub(crate) threads: Vec<(String, f64)>,
    pub(crate) resident_kb: u64,
}

impl Usage {
    /// Reads `/proc`; nothing when the process is gone.
    pub(crate) fn of(pid: u32) -> Self {
        let mut usage = Self::default();
        let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else { return usage };
        for task in tasks.flatten() {
            let path = task.path();
            let name = fs::read_to_string(path.join("comm")).unwrap_or_default();
            // The scheduler's own count in nanoseconds: exact, unlike the ticks of `stat`.
            let time = fs::read_to_string(path.join("schedstat")).unwrap_or_default();
            let nanos: u64 = time.split(' ').next().and_then(|field| field.parse().ok()).unwrap_or(0);
            usage.threads.push((name.trim().to_owned(), nanos as f64 / 1e9));
        }
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        usage.resident_kb =
            resident.and_then(|text| text.trim().split(' ').next()?.parse().ok()).unwrap_or(0);
        usage
    }

    pub(crate) fn seconds(&self) -> f64 {
        self.threads.iter().map(|(_, seconds)| seconds).sum()
    }

    /// Seconds used since `before`, by thread name, busiest first.
    pub(crate) fn by_thread_since(&self, before: &Self) -> Vec<(String, f64)> {
        let mut names: Vec<(String, f64)> = Vec::new();
        for (usage, sign) in [(self, 1.0), (before, -1.0)] {
            for (name, seconds) in &usage.threads {
                match names.iter_mut().find(|(known, _)| known == name) {
                    Some((_, sum)) => *sum += sign * seconds,
                    None => names.push((name.clone(), sign * seconds)),
                }
            }
        }
        names.retain(|(_, seconds)| *seconds > 0.0005);
        names.sort_by(|one, other| other.1.total_cmp(&one.1));
        names
    }
}

#[cfg(test)]
mod tests {
    use super::{Astray, CallFrames, Distribution, Meter, Usage};
    use crate::marker::Mark;

    #[test]
    fn one_wrong_frame_is_a_misreading_and_several_are_another_call() {
        let (mut meter, mut astray) = (Meter::default(), Astray::default());
        for (call, crossed) in [(1, 0), (2, 0), (1, 0), (2, 0), (2, 0), (2, 3), (2, 4), (1, 4)] {
            assert_eq!(astray.is_ours(1, Mark::of(call, 0), &mut meter), call == 1);
            assert_eq!(meter.crossed, crossed);
        }
    }

    #[test]
    fn every_frame_has_one_fate() {
        let mut meter = Meter::default();
        let mut call = CallFrames::default();
        for number in 0..10 {
            meter.frame_sent(&mut call, number, 1_000, true);
        }
        for number in 0..8 {
            meter.frame_echoed(&mut call, number, 2_000_000, 3_000_000);
        }
        for number in 0..7 {
            assert!(meter.frame_back(&mut call, number, 5_000_000));
        }
        assert!(!meter.frame_back(&mut call, 0, 6_000_000) && !meter.frame_back(&mut call, 9, 6_000_000));
        meter.call_over(&mut call);
        assert_eq!((meter.sent, meter.lost, meter.lost_up, meter.strange), (10, 3, 2, 2));
        assert_eq!(meter.down.quantiles([0.5]), Some([2.0]));
    }

    #[test]
    fn a_number_that_is_used_again_settles_the_frame_before() {
        let mut meter = Meter::default();
        let mut call = CallFrames::default();
        meter.frame_sent(&mut call, 0, 1, true);
        meter.frame_sent(&mut call, 0, 2, false);
        meter.call_over(&mut call);
        assert_eq!((meter.sent, meter.lost), (1, 1));
    }

    #[test]
    fn quantiles_are_of_the_sorted_values() {
        let mut values = Distribution::default();
        assert_eq!(values.quantiles([0.5]), None);
        for value in (0..=100).rev() {
            values.add(value * 1_000_000);
        }
        assert_eq!(values.quantiles([0.5, 0.99, 1.0]), Some([50.0, 99.0, 100.0]));
    }

    #[test]
    fn this_process_uses_memory() {
        let usage = Usage::of(std::process::id());
        assert!(usage.resident_kb > 100 && !usage.threads.is_empty());
    }
}
