//! Smoothing and shortening along time: moving averages, the split of a series into season and trend, pooling.
//!
//! Series lie in slices as (batch, time, channels), row-major; see [`Layout`]. One channel means that time is contiguous.

mod dft;
mod moving_average;
mod pool;
pub mod reference;
mod rows;
mod window;

pub use dft::DftDecomposition;
pub use moving_average::{decompose, decompose_backward, moving_average, moving_average_backward};
pub use pool::{avg_pool, avg_pool_backward, max_pool, max_pool_backward};

/// Where element (b, t, c) of a batch of series lies: at (b · time + t) · channels + c.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    pub batch: usize,
    pub time: usize,
    pub channels: usize,
}

impl Layout {
    /// `rows` series, time contiguous.
    pub fn rows(rows: usize, time: usize) -> Self {
        Self { batch: rows, time, channels: 1 }
    }

    /// Elements of one batch entry.
    pub fn width(self) -> usize {
        self.time * self.channels
    }

    /// All elements.
    pub fn elements(self) -> usize {
        self.batch * self.width()
    }
}

#[cfg(test)]
mod tests;
