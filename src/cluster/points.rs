//! Points as the methods take them.

use super::ClusterError;
use crate::kernels::simd::Real;

/// `n` points with `d` coordinates each, row after row. Coordinates are finite.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Points<'a, T = f64> {
    values: &'a [T],
    n: usize,
    d: usize,
}

impl<'a, T: Real> Points<'a, T> {
    /// Errors: no rows, no columns, a number that is not finite. Panics when the number of values is not `n · d`.
    pub fn new(values: &'a [T], n: usize, d: usize) -> Result<Self, ClusterError> {
        assert_eq!(values.len(), n * d, "{n} points of {d} coordinates");
        if values.is_empty() {
            return Err(ClusterError::Empty);
        }
        if let Some(at) = values.iter().position(|v| !v.to_f64().is_finite()) {
            return Err(ClusterError::NotFinite { row: at / d, column: at % d, value: values[at].to_f64() });
        }
        Ok(Self { values, n, d })
    }

    pub fn n(&self) -> usize {
        self.n
    }

    pub fn d(&self) -> usize {
        self.d
    }

    pub fn values(&self) -> &'a [T] {
        self.values
    }

    pub fn row(&self, i: usize) -> &'a [T] {
        &self.values[i * self.d..(i + 1) * self.d]
    }

    pub fn rows(&self) -> std::slice::ChunksExact<'a, T> {
        self.values.chunks_exact(self.d)
    }
}
