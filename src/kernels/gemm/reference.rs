//! The definition: three loops in `f64`.

use super::{MatRef, Start};
use crate::kernels::simd::Real;

/// start + A·B in `f64`, row-major, and beside each element the sum of the magnitudes of its terms (what errors scale with).
/// `current` is what C holds, for [`Start::Current`].
pub fn product<T: Real>(start: Start<'_, T>, a: MatRef<'_, T>, b: MatRef<'_, T>, current: MatRef<'_, T>) -> Vec<(f64, f64)> {
    let mut c = Vec::with_capacity(a.rows() * b.cols());
    for i in 0..a.rows() {
        for j in 0..b.cols() {
            let first = match start {
                Start::Zero => 0.0,
                Start::Current => current.get(i, j).to_f64(),
                Start::Row(bias) => bias[j].to_f64(),
                Start::Column(bias) => bias[i].to_f64(),
            };
            let mut sum = (first, first.abs());
            for k in 0..a.cols() {
                let term = a.get(i, k).to_f64() * b.get(k, j).to_f64();
                sum = (sum.0 + term, sum.1 + term.abs());
            }
            c.push(sum);
        }
    }
    c
}
