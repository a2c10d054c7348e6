//! Unpredictable bytes for nonces and masks.

/// A pool filled from the system, 64 masks at a time.
#[derive(Debug)]
pub(crate) struct Random {
    pool: [u8; 256],
    used: usize,
}

impl Random {
    pub(crate) const fn new() -> Self {
        Self { pool: [0; 256], used: 256 }
    }

    pub(crate) fn bytes<const N: usize>(&mut self) -> [u8; N] {
        if self.used + N > self.pool.len() {
            getrandom::fill(&mut self.pool).expect("the system's random source works once it has started");
            self.used = 0;
        }
        let mut out = [0; N];
        out.copy_from_slice(&self.pool[self.used..self.used + N]);
        self.used += N;
        out
    }

    pub(crate) fn mask(&mut self) -> [u8; 4] {
        self.bytes()
    }
}
