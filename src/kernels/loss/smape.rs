//! Symmetric percentage error.

use super::mae::sign;
use super::pointwise::{Term, Weights, mean};
use crate::kernels::simd::{Lanes, Real};

#[derive(Clone, Copy)]
struct Symmetric;

impl<T: Real> Term<T> for Symmetric {
    #[inline(always)]
    fn at<V: Lanes<T>>(self, prediction: V, target: V) -> (V, V) {
        let d = prediction.sub(target);
        let scale = V::splat(T::from_f64(200.0)).div(prediction.abs().add(target.abs()));
        let (zero, infinity) = (V::splat(T::ZERO), V::splat(T::from_f64(f64::INFINITY)));
        // Neither NaN nor infinity is below infinity.
        let usable = |x: V| x.abs().lt(infinity);
        let loss = d.abs().mul(scale);
        let slope = sign(d).mul(scale);
        (V::select(usable(loss), loss, zero), V::select(usable(slope), slope, zero))
    }
}

/// 200 · mean of |f − y| / (|f| + |y|); gradient 200 · sign(f − y) / (|f| + |y|) · share · `upstream`: the denominator counts as a
/// constant. Terms that are NaN or infinite, such as 0/0, count as 0, and so do their slopes.
///
/// `prediction`, `target`, `gradient`: equal lengths. One pass over memory, one division an element.
///
/// Source: the training loss of the M4 protocol, with its mask as [`Weights::PerTerm`]. Where f = y = 0 the original's gradient is
/// NaN; here it is 0.
pub fn smape<T: Real>(prediction: &[T], target: &[T], weights: Weights<'_, T>, upstream: f64, gradient: Option<&mut [T]>) -> f64 {
    mean(Symmetric, prediction, target, weights, upstream, gradient)
}
