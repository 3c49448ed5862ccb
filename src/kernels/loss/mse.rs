//! Squared error.

use super::pointwise::{Term, Weights, mean};
use crate::kernels::simd::{Lanes, Real};

#[derive(Clone, Copy)]
struct Squared;

impl<T: Real> Term<T> for Squared {
    #[inline(always)]
    fn at<V: Lanes<T>>(self, prediction: V, target: V) -> (V, V) {
        let d = prediction.sub(target);
        (d.mul(d), d.add(d))
    }
}

/// Mean of (f − y)²; gradient 2 (f − y) · share · `upstream`.
///
/// `prediction`, `target`, `gradient`: equal lengths. One pass over memory, and bound by it.
pub fn mse<T: Real>(prediction: &[T], target: &[T], weights: Weights<'_, T>, upstream: f64, gradient: Option<&mut [T]>) -> f64 {
    mean(Squared, prediction, target, weights, upstream, gradient)
}
