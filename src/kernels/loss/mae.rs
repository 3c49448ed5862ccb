//! Absolute error.

use super::pointwise::{Term, Weights, mean};
use crate::kernels::simd::{Lanes, Real};

#[derive(Clone, Copy)]
struct Absolute;

impl<T: Real> Term<T> for Absolute {
    #[inline(always)]
    fn at<V: Lanes<T>>(self, prediction: V, target: V) -> (V, V) {
        let d = prediction.sub(target);
        (d.abs(), sign(d))
    }
}

/// −1, 0 or 1; NaN stays NaN.
#[inline(always)]
pub(super) fn sign<T: Real, V: Lanes<T>>(d: V) -> V {
    let (zero, one) = (V::splat(T::ZERO), V::splat(T::ONE));
    let nonzero = V::select(zero.lt(d.abs()), one.copysign(d), d);
    V::select(d.abs().le(zero), zero, nonzero)
}

/// Mean of |f − y|; gradient sign(f − y) · share · `upstream`, 0 where f = y.
///
/// `prediction`, `target`, `gradient`: equal lengths. One pass over memory, and bound by it.
pub fn mae<T: Real>(prediction: &[T], target: &[T], weights: Weights<'_, T>, upstream: f64, gradient: Option<&mut [T]>) -> f64 {
    mean(Absolute, prediction, target, weights, upstream, gradient)
}
