//! Huber's loss: squared near the target, absolute far from it.

use super::pointwise::{Term, Weights, mean};
use crate::kernels::simd::{Lanes, Real};

#[derive(Clone, Copy)]
struct Huber<T>(T);

impl<T: Real> Term<T> for Huber<T> {
    #[inline(always)]
    fn at<V: Lanes<T>>(self, prediction: V, target: V) -> (V, V) {
        let d = prediction.sub(target);
        let delta = V::splat(self.0);
        // c = d held within ±δ: the loss is c (d − c/2) on both branches. `d` comes second, so that a NaN stays one.
        let c = delta.min(delta.neg().max(d));
        (c.mul(V::splat(T::from_f64(-0.5)).fma(c, d)), c)
    }
}

/// Mean of ½d² where |d| ≤ δ and δ(|d| − ½δ) elsewhere, d = f − y; gradient d held within ±δ, times share and `upstream`.
///
/// `delta` must be positive; `prediction`, `target`, `gradient`: equal lengths. One pass over memory, and bound by it.
///
/// Source: Huber (1964), "Robust estimation of a location parameter".
pub fn huber<T: Real>(
    delta: f64,
    prediction: &[T],
    target: &[T],
    weights: Weights<'_, T>,
    upstream: f64,
    gradient: Option<&mut [T]>,
) -> f64 {
    assert!(delta > 0.0, "huber: delta must be positive, got {delta}");
    mean(Huber(T::from_f64(delta)), prediction, target, weights, upstream, gradient)
}
