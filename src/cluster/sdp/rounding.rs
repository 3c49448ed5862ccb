//! From a relaxed membership matrix to labels: k-means on rows of its leading eigenvectors.

use super::dense;
use crate::cluster::kmeans::{KmeansOptions, kmeans};
use crate::cluster::{ClusterError, Points};
use crate::kernels::gemm::{MatMut, MatRef, matmul};
use crate::run::observer::Observer;

/// The k leading left singular vectors of F (n, r) as rows (n, k): the leading eigenvectors of FFᵀ. Columns beyond the rank are zero.
pub(super) fn leading(factor: &[f64], n: usize, r: usize, k: usize) -> Result<Vec<f64>, ClusterError> {
    let mut gram = vec![0.0; r * r];
    let view = MatRef::new(factor, n, r);
    matmul(view.t(), view, MatMut::new(&mut gram, r, r), false);
    let eigen = dense::eigen(&gram, r)?;
    let largest = eigen.values.last().copied().unwrap_or(0.0);
    // Columns of the turn: eigenvectors of FᵀF over their singular values.
    let mut turn = vec![0.0; r * k];
    for c in 0..k.min(r) {
        let (value, vector) = (eigen.values[r - 1 - c], &eigen.vectors[(r - 1 - c) * r..][..r]);
        // Below, a direction is rounding.
        if value > r as f64 * f64::EPSILON * largest {
            vector.iter().enumerate().for_each(|(i, v)| turn[i * k + c] = v / value.sqrt());
        }
    }
    let mut rows = vec![0.0; n * k];
    matmul(view, MatRef::new(&turn, r, k), MatMut::new(&mut rows, n, k), false);
    Ok(rows)
}

/// k-means (k-means++ starts, best of `restarts`) of the rows (n, k); labels may leave groups empty when rows coincide.
pub(in crate::cluster) fn labels(
    rows: &[f64],
    n: usize,
    k: usize,
    restarts: usize,
    seed: u64,
    observer: &dyn Observer,
) -> Result<Vec<i32>, ClusterError> {
    let points = Points::new(rows, n, k)?;
    let distinct = super::frame::distinct(points, k);
    let options = KmeansOptions { k: distinct, restarts, seed, ..KmeansOptions::default() };
    Ok(kmeans(points, &options, observer)?.labels)
}
