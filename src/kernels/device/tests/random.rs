//! Sizes drawn at random, each in an order of its own.

use super::{Emulator, Order};
use crate::kernels::testing::numbers;

/// Draws from ranges.
pub(super) struct Draw(u64);

impl Draw {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// `low..=high`.
    pub(super) fn size(&mut self, low: usize, high: usize) -> usize {
        self.0 += 1;
        let unit = (numbers(self.0, 1)[0] + 1.0) / 2.0;
        low + ((high - low + 1) as f64 * unit) as usize
    }

    pub(super) fn flag(&mut self) -> bool {
        self.size(0, 1) == 1
    }

    /// Bounds of packed sequences, some of them empty, with `rows` rows at most.
    pub(super) fn bounds(&mut self, rows: usize) -> Vec<usize> {
        let mut bounds = vec![0];
        for _ in 0..self.size(1, 4) {
            let last = bounds[bounds.len() - 1];
            let more = if self.size(0, 4) == 0 { 0 } else { self.size(1, (rows - last).max(1)) };
            bounds.push((last + more).min(rows));
        }
        bounds
    }

    pub(super) fn device(&mut self) -> Emulator {
        Emulator::new(Order::Shuffled(self.size(10, 1000) as u16))
    }
}
