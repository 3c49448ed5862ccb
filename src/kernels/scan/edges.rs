//! Decays from the edges of a chunk.

use crate::kernels::simd::{Real, math};

/// From the logarithms a of the decays of a chunk: `start[i] = exp(Σ_{k<=i} a_k)` and `end[j] = exp(Σ_{k>j} a_k)`.
pub(super) fn edges<T: Real>(steps: &[T], start: &mut [T], end: &mut [T]) {
    let mut sum = T::ZERO;
    for (to, &a) in start.iter_mut().zip(steps) {
        sum += a;
        *to = sum;
    }
    sum = T::ZERO;
    for (to, &a) in end.iter_mut().zip(steps).rev() {
        *to = sum;
        sum += a;
    }
    math::exp_in_place(start);
    math::exp_in_place(end);
}
