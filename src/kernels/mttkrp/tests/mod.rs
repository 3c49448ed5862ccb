//! Against the definitions, against each other, and on the edges of every shape.

mod complex;
mod dense;
mod gradient;
mod sparse;

use crate::testing::shared;

use crate::kernels::simd::Real;
use crate::kernels::testing::{cast, numbers};

/// Factors of a shape.
fn factors<T: Real>(seed: u64, shape: &[usize], rank: usize) -> Vec<Vec<T>> {
    shape.iter().enumerate().map(|(m, &size)| cast(&numbers(seed + m as u64, size * rank))).collect()
}

fn slices<T>(lists: &[Vec<T>]) -> Vec<&[T]> {
    lists.iter().map(Vec::as_slice).collect()
}

fn unit<T: Real>() -> f64 {
    if size_of::<T>() == 4 { f64::from(f32::EPSILON) / 2.0 } else { f64::EPSILON / 2.0 }
}

/// A sum of n terms, each a product of p numbers, errs by at most (n + p)·u·Σ|terms| in first order, in whatever order it is added up; the
/// reference errs in the same way in f64. Twice that covers higher orders. Sums of the factors' own products add two roundings a mode.
pub(in crate::kernels) fn close<T: Real>(got: &[T], want: &[(f64, f64)], terms: usize, modes: usize, what: &str) {
    assert_eq!(got.len(), want.len(), "{what}");
    let u = unit::<T>() + f64::EPSILON / 2.0;
    for (k, (x, (y, size))) in got.iter().zip(want).enumerate() {
        let allowed = 2.0 * (terms + 3 * modes) as f64 * u * size + f64::MIN_POSITIVE;
        assert!((x.to_f64() - y).abs() <= allowed, "{what}: element {k} is {x}, not {y} (allowed {allowed:e})");
    }
}
