//! CrossScan and CrossMerge: maps as sequences in up to four orders, and such sequences added up as a map.
//!
//! Scan: xs\[k, t\] = x\[cell of step t in direction k\]. Merge: y\[cell\] = Σ_k ys\[k, step of the cell in direction k\], added in the order of
//! the directions. Each is the adjoint of the other, so the gradient of a scan is the merge of the gradients and the other way round,
//! on any map; with all four directions merge(scan(x)) = 4·x. With one direction they are the single scans of GroupMamba.
//!
//! Cost: one read and one write of everything. Columns are turned in bands of rows that stay in the cache.
//!
//! Source: Liu et al., VMamba, 2024 (arXiv 2401.10166); single directions: Shaker et al., GroupMamba, 2024 (arXiv 2407.13772).

mod maps;
pub mod reference;
mod rows;
#[cfg(test)]
mod tests;

use super::{Direction, Grid};
use crate::kernels::bf16::Stored;
use crate::kernels::gemm::Plain;
use crate::kernels::simd::{Real, dispatch};

const OP: &str = "cross scan";

/// How a map lies in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// x is (batch, channels, height, width), xs (batch, directions, channels, cells).
    ChannelsFirst,
    /// x is (batch, cells, channels), xs (batch, directions, cells, channels).
    ChannelsLast,
}

/// See the module's text.
#[derive(Clone, Copy, Debug)]
pub struct CrossScan<'a> {
    pub batch: usize,
    pub channels: usize,
    pub grid: Grid,
    /// One to four, [`Direction::ALL`] for the usual form.
    pub directions: &'a [Direction],
    pub layout: Layout,
}

impl CrossScan<'_> {
    /// Numbers of x.
    pub fn map_len(&self) -> usize {
        self.batch * self.channels * self.grid.cells()
    }

    /// Numbers of xs.
    pub fn sequences_len(&self) -> usize {
        self.map_len() * self.directions.len()
    }

    fn check<T>(&self, map: &[T], sequences: &[T]) {
        assert!((1..=4).contains(&self.directions.len()), "{OP}: {} directions, expected 1 to 4", self.directions.len());
        assert_eq!(map.len(), self.map_len(), "{OP}: numbers of the maps");
        assert_eq!(sequences.len(), self.sequences_len(), "{OP}: numbers of the sequences");
    }

    /// Whether channels come first; with one channel both layouts are the same.
    fn first(&self) -> bool {
        self.layout == Layout::ChannelsFirst || self.channels == 1
    }

    /// Writes the sequences of the maps `x`. Panics when sizes do not fit.
    pub fn scan<T: Real>(&self, x: &[T], xs: &mut [T]) {
        self.check(x, xs);
        match x.is_empty() {
            true => {}
            false if self.first() => maps::scan(self, x, xs),
            false => rows::scan(self, x, xs, |task| dispatch(task)),
        }
    }

    /// Writes the maps that the sequences `ys` add up to. Panics when sizes do not fit.
    pub fn merge<T: Real>(&self, ys: &[T], y: &mut [T]) {
        self.merge_stored::<T, T>(ys, y);
    }

    /// [`scan`](Self::scan) of bits of bf16, which are moved as they are. Panics when sizes do not fit.
    pub fn scan_bf16(&self, x: &[u16], xs: &mut [u16]) {
        self.check(x, xs);
        match x.is_empty() {
            true => {}
            false if self.first() => maps::scan(self, x, xs),
            false => rows::scan(self, x, xs, |task| dispatch(task)),
        }
    }

    /// [`merge`](Self::merge) of bits of bf16: added in f32, and rounded once. Panics when sizes do not fit.
    pub fn merge_bf16(&self, ys: &[u16], y: &mut [u16]) {
        self.merge_stored::<f32, u16>(ys, y);
    }

    fn merge_stored<T: Real, S: Stored<T> + Plain>(&self, ys: &[S], y: &mut [S]) {
        self.check(y, ys);
        match y.is_empty() {
            true => {}
            false if self.first() => maps::merge::<T, S>(self, ys, y),
            false => rows::merge::<T, S>(self, ys, y),
        }
    }
}
