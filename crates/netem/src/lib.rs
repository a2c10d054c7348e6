//! A network path that loses, delays, reorders and duplicates, the same way for the same seed.
//!
//! Sans-IO: datagrams go in with the time they were sent, and come out when they arrive. For tests and
//! benches only; it allocates freely and refuses to be a proxy.
//!
//! ```
//! use trunkline_netem::{Impairment, Path};
//! use trunkline_rtp::Nanos;
//!
//! let mut path = Path::new(7, Impairment { delay: Nanos::from_millis(30), ..Impairment::none() });
//! path.push(Nanos::ZERO, b"hello");
//! assert_eq!(path.poll(Nanos::from_millis(29)), None);
//! assert_eq!(path.next_timeout(), Some(Nanos::from_millis(30)));
//! assert_eq!(path.poll(Nanos::from_millis(30)).as_deref(), Some(&b"hello"[..]));
//! ```

#![forbid(unsafe_code)]

mod random;

use std::cmp::Reverse;
use std::collections::BinaryHeap;

pub use random::Random;
use trunkline_rtp::Nanos;

/// How datagrams get lost. Probabilities lie in 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Loss {
    /// None is lost.
    None,
    /// Each one independently.
    Random(f64),
    /// In bursts, by the Gilbert-Elliott model: two states with a loss rate each.
    Bursts {
        /// Probability of going from the good state to the bad, for each datagram.
        to_bad: f64,
        /// Probability of going back; its inverse is the mean length of a bad period in datagrams.
        to_good: f64,
        /// Loss rate in the good state.
        good: f64,
        /// Loss rate in the bad state.
        bad: f64,
    },
}

impl Loss {
    /// Bursts of `length` datagrams on average that lose `rate` of all datagrams.
    pub fn bursts(rate: f64, length: f64) -> Self {
        let to_good = 1.0 / length.max(1.0);
        Self::Bursts { to_bad: to_good * rate / (1.0 - rate).max(f64::EPSILON), to_good, good: 0.0, bad: 1.0 }
    }

    /// Share of datagrams lost in the long run.
    pub fn mean(&self) -> f64 {
        match *self {
            Self::None => 0.0,
            Self::Random(rate) => rate,
            Self::Bursts { to_bad, to_good, good, bad } => {
                let in_bad = to_bad / (to_bad + to_good);
                in_bad * bad + (1.0 - in_bad) * good
            }
        }
    }
}

/// How the delay varies, on top of the constant part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Jitter {
    /// Not at all.
    None,
    /// Evenly between zero and this.
    Uniform(Nanos),
    /// Mostly little, sometimes much: exponential with this mean, cut at ten times the mean.
    Exponential(Nanos),
}

/// Everything a path does to datagrams.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Impairment {
    /// How datagrams get lost.
    pub loss: Loss,
    /// Constant delay.
    pub delay: Nanos,
    /// Variable delay.
    pub jitter: Jitter,
    /// Whether a datagram may overtake another because its variable delay is shorter. Otherwise it
    /// waits behind it, as in one queue.
    pub overtaking: bool,
    /// Share of datagrams held back by `reorder_by` in addition, so that later ones overtake them.
    pub reorder: f64,
    /// How long those are held back.
    pub reorder_by: Nanos,
    /// Share of datagrams that arrive twice.
    pub duplicate: f64,
}

impl Impairment {
    /// A perfect path.
    pub const fn none() -> Self {
        Self {
            loss: Loss::None,
            delay: Nanos::ZERO,
            jitter: Jitter::None,
            overtaking: false,
            reorder: 0.0,
            reorder_by: Nanos::ZERO,
            duplicate: 0.0,
        }
    }
}

/// Counters of a [`Path`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PathStats {
    /// Datagrams sent into the path.
    pub sent: u64,
    /// Datagrams lost on it.
    pub lost: u64,
    /// Datagrams that were copied.
    pub duplicated: u64,
    /// Datagrams held back for reordering.
    pub held_back: u64,
}

/// One direction of a network path.
#[derive(Clone, Debug)]
pub struct Path {
    impairment: Impairment,
    random: Random,
    in_bad_state: bool,
    last_arrival: Nanos,
    sequence: u64,
    under_way: BinaryHeap<Reverse<(Nanos, u64, Vec<u8>)>>,
    stats: PathStats,
}

impl Path {
    /// An empty path; the same seed makes the same decisions.
    pub fn new(seed: u64, impairment: Impairment) -> Self {
        Self {
            impairment,
            random: Random::new(seed),
            in_bad_state: false,
            last_arrival: Nanos::ZERO,
            sequence: 0,
            under_way: BinaryHeap::new(),
            stats: PathStats::default(),
        }
    }

    /// Changes the impairment; datagrams under way keep their arrival.
    pub fn set_impairment(&mut self, impairment: Impairment) {
        self.impairment = impairment;
    }

    /// Sends a datagram at `now`.
    pub fn push(&mut self, now: Nanos, datagram: &[u8]) {
        self.stats.sent += 1;
        if self.is_lost() {
            self.stats.lost += 1;
            return;
        }
        self.schedule(now, datagram);
        if self.random.chance(self.impairment.duplicate) {
            self.stats.duplicated += 1;
            self.schedule(now, datagram);
        }
    }

    /// The next datagram that has arrived at `now`; call until `None`.
    pub fn poll(&mut self, now: Nanos) -> Option<Vec<u8>> {
        self.poll_with_time(now).map(|(_, datagram)| datagram)
    }

    /// Like [`poll`](Self::poll), with the moment of arrival.
    pub fn poll_with_time(&mut self, now: Nanos) -> Option<(Nanos, Vec<u8>)> {
        if self.next_timeout()? > now {
            return None;
        }
        self.under_way.pop().map(|Reverse((at, _, datagram))| (at, datagram))
    }

    /// When the next datagram arrives.
    pub fn next_timeout(&self) -> Option<Nanos> {
        self.under_way.peek().map(|Reverse((at, _, _))| *at)
    }

    /// Counters so far.
    pub fn stats(&self) -> PathStats {
        self.stats
    }

    fn is_lost(&mut self) -> bool {
        match self.impairment.loss {
            Loss::None => false,
            Loss::Random(rate) => self.random.chance(rate),
            Loss::Bursts { to_bad, to_good, good, bad } => {
                let turn = if self.in_bad_state { to_good } else { to_bad };
                self.in_bad_state ^= self.random.chance(turn);
                let rate = if self.in_bad_state { bad } else { good };
                self.random.chance(rate)
            }
        }
    }

    fn schedule(&mut self, now: Nanos, datagram: &[u8]) {
        let variable = match self.impairment.jitter {
            Jitter::None => Nanos::ZERO,
            Jitter::Uniform(width) => Nanos((self.random.unit() * width.0 as f64) as u64),
            Jitter::Exponential(mean) => {
                let factor = (-(1.0 - self.random.unit()).ln()).min(10.0);
                Nanos((factor * mean.0 as f64) as u64)
            }
        };
        let mut at = now + self.impairment.delay + variable;
        if !self.impairment.overtaking {
            at = at.max(self.last_arrival);
        }
        if self.random.chance(self.impairment.reorder) {
            // Only this one is held back: it does not block the queue behind it.
            self.stats.held_back += 1;
            at += self.impairment.reorder_by;
        } else {
            self.last_arrival = self.last_arrival.max(at);
        }
        self.under_way.push(Reverse((at, self.sequence, datagram.to_vec())));
        self.sequence += 1;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use trunkline_rtp::Nanos;

    use super::{Impairment, Jitter, Loss, Path};

    fn ms(millis: u64) -> Nanos {
        Nanos::from_millis(millis)
    }

    /// Sends numbered datagrams every 20 ms; returns what arrives, with its time.
    fn run(seed: u64, impairment: Impairment, count: u32) -> Vec<(Nanos, u32)> {
        let mut path = Path::new(seed, impairment);
        for number in 0..count {
            path.push(ms(20 * u64::from(number)), &number.to_be_bytes());
        }
        std::iter::from_fn(|| path.poll_with_time(Nanos::MAX))
            .map(|(at, datagram)| (at, u32::from_be_bytes(datagram.try_into().unwrap())))
            .collect()
    }

    #[test]
    fn a_perfect_path_changes_nothing() {
        let arrived = run(1, Impairment::none(), 100);
        assert_eq!(arrived, (0..100).map(|number| (ms(20 * u64::from(number)), number)).collect::<Vec<_>>());
    }

    #[test]
    fn the_seed_decides() {
        let impairment =
            Impairment { loss: Loss::Random(0.2), jitter: Jitter::Uniform(ms(80)), ..Impairment::none() };
        assert_eq!(run(5, impairment, 500), run(5, impairment, 500));
        assert_ne!(run(5, impairment, 500), run(6, impairment, 500));
    }

    #[test]
    fn loss_has_its_rate_and_bursts_their_length() {
        for loss in [Loss::Random(0.1), Loss::bursts(0.1, 5.0)] {
            assert!((loss.mean() - 0.1).abs() < 1e-9);
            let arrived = run(3, Impairment { loss, ..Impairment::none() }, 50_000);
            let rate = 1.0 - arrived.len() as f64 / 50_000.0;
            assert!((rate - 0.1).abs() < 0.012, "{loss:?}: {rate}");
            let gaps: Vec<u32> =
                arrived.windows(2).map(|pair| pair[1].1 - pair[0].1 - 1).filter(|gap| *gap > 0).collect();
            let mean = f64::from(gaps.iter().sum::<u32>()) / gaps.len() as f64;
            let expected = if matches!(loss, Loss::Random(_)) { 1.11 } else { 5.0 };
            assert!((mean / expected - 1.0).abs() < 0.1, "{loss:?}: {mean}");
        }
    }

    #[test]
    fn one_queue_keeps_the_order_and_overtaking_does_not() {
        let queue = Impairment { jitter: Jitter::Exponential(ms(30)), ..Impairment::none() };
        let arrived = run(2, queue, 2000);
        assert!(arrived.windows(2).all(|pair| pair[0].1 < pair[1].1));
        let many_paths = Impairment { overtaking: true, ..queue };
        let arrived = run(2, many_paths, 2000);
        assert!(arrived.windows(2).any(|pair| pair[0].1 > pair[1].1));
    }

    #[test]
    fn held_back_and_doubled_datagrams_have_their_share() {
        let impairment =
            Impairment { reorder: 0.1, reorder_by: ms(50), duplicate: 0.05, ..Impairment::none() };
        let arrived = run(4, impairment, 10_000);
        let late = arrived.windows(2).filter(|pair| pair[0].1 > pair[1].1).count();
        let doubled = arrived.len() - 10_000;
        assert!((800..1200).contains(&late), "{late}");
        assert!((400..600).contains(&doubled), "{doubled}");
    }

    proptest! {
        #[test]
        fn nothing_arrives_before_its_delay_or_out_of_thin_air(seed: u64, delay in 0_u64..200, width in 0_u64..200,
                                                                loss in 0.0..0.5_f64, overtaking: bool) {
            let impairment = Impairment {
                loss: Loss::Random(loss), delay: ms(delay), jitter: Jitter::Uniform(ms(width)), overtaking,
                ..Impairment::none()
            };
            for (at, number) in run(seed, impairment, 100) {
                prop_assert!(number < 100);
                prop_assert!(at >= ms(20 * u64::from(number) + delay));
            }
        }
    }
}
