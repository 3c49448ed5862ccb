//! Points as the iteration uses them.

use super::frame::Frame;
use crate::cluster::{ClusterError, Points};
use crate::kernels::distance::{Pieces, own_distances};
use crate::kernels::simd::Real;
use rayon::prelude::*;
use std::collections::HashSet;

/// Points in their frame.
pub(crate) struct Data<T> {
    pub values: Vec<T>,
    pub n: usize,
    pub d: usize,
    pub frame: Frame,
    /// Mean over the columns of their variance.
    pub variance: f64,
}

impl<T: Real> Data<T> {
    pub fn new(points: Points<T>) -> Self {
        let (n, d) = (points.n(), points.d());
        let frame = Frame::of(points);
        let values: Vec<T> = frame.enter(points.values());
        let rows = Pieces::new(n).rows();
        let squares = |part: &[T]| part.iter().map(|x| x.to_f64() * x.to_f64()).sum::<f64>();
        let squares: Vec<f64> = values.par_chunks(rows * d).map(squares).collect();
        let variance = squares.iter().sum::<f64>() / (n as f64 * d as f64);
        Self { values, n, d, frame, variance }
    }

    pub fn row(&self, i: usize) -> &[T] {
        &self.values[i * self.d..(i + 1) * self.d]
    }

    /// Error when there are fewer than `k` different rows. Reads rows until it has found that many.
    pub fn check_distinct(&self, k: usize) -> Result<(), ClusterError> {
        let mut seen: HashSet<Vec<u64>> = HashSet::with_capacity(k);
        for row in self.values.chunks_exact(self.d) {
            if seen.len() == k {
                break;
            }
            // The sum makes −0 and 0 one.
            seen.insert(row.iter().map(|x| (x.to_f64() + 0.0).to_bits()).collect());
        }
        if seen.len() < k { Err(ClusterError::Distinct { k, distinct: seen.len() }) } else { Ok(()) }
    }

    /// Squared distance of every point to its own centroid.
    pub fn own(&self, labels: &[u32], centroids: &[T]) -> Vec<f64> {
        let (d, rows) = (self.d, Pieces::new(self.n).rows());
        let mut out = vec![0.0; self.n];
        let parts = out.par_chunks_mut(rows).zip(labels.par_chunks(rows)).zip(self.values.par_chunks(rows * d));
        parts.for_each(|((out, labels), values)| own_distances(values, d, labels, centroids, out));
        out
    }

    /// Σ of [`own`](Self::own), pieces added in order.
    pub fn inertia(&self, labels: &[u32], centroids: &[T]) -> f64 {
        let rows = Pieces::new(self.n).rows();
        self.own(labels, centroids).chunks(rows).map(|part| part.iter().sum::<f64>()).sum()
    }
}
