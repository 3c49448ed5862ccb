//! What the regression losses share: one term per element, a weighted mean of the terms.

use crate::kernels::elementwise::chunks;
use crate::kernels::simd::{Kernel, Lanes, Real, dispatch};

/// How the terms ℓᵢ become a mean. Slices hold one weight per term.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Weights<'a, T> {
    /// Σ ℓᵢ / n.
    Equal,
    /// Σ wᵢ ℓᵢ / n: what a mask means in the losses of the M4 protocol.
    PerTerm(&'a [T]),
    /// Σ wᵢ ℓᵢ / Σ wᵢ: the mean over what a mask leaves.
    Normalised(&'a [T]),
}

impl<'a, T: Real> Weights<'a, T> {
    /// The weights, and one over what the sum is divided by (0 when that is 0).
    pub(super) fn resolve(self, terms: usize) -> (Option<&'a [T]>, f64) {
        let (weights, total) = match self {
            Self::Equal => (None, terms as f64),
            Self::PerTerm(w) => (Some(w), terms as f64),
            Self::Normalised(w) => (Some(w), chunks::sum(w.len(), |r| w[r].iter().map(|w| w.to_f64()).sum())),
        };
        if let Some(w) = weights {
            assert_eq!(w.len(), terms, "loss: one weight per term");
        }
        (weights, if total == 0.0 { 0.0 } else { 1.0 / total })
    }
}

/// One loss as a vector expression. `at` must be `#[inline(always)]`, and give 0 for prediction = target = 0, which is what the
/// lanes past the end hold.
pub(super) trait Term<T: Real>: Copy + Send + Sync {
    /// The terms, and their derivatives with respect to the prediction.
    fn at<V: Lanes<T>>(self, prediction: V, target: V) -> (V, V);
}

/// Vectors of terms that are added in `T` before they go to `f64`: 16 additions lose at most 16 half units of the last place.
pub(super) const RUN: usize = 16;

/// Lanes of the longest vector, `f32`'s.
const MOST_LANES: usize = <f32 as Real>::LANES;

struct Pass<'a, T, L> {
    term: L,
    prediction: &'a [T],
    target: &'a [T],
    weights: Option<&'a [T]>,
    /// upstream / divisor.
    factor: T,
    gradient: Option<&'a mut [T]>,
}

impl<T: Real, L: Term<T>> Kernel<T> for Pass<'_, T, L> {
    type Output = f64;
    #[inline(always)]
    fn run<V: Lanes<T>>(self) -> f64 {
        let Self { term, prediction, target, weights, factor, gradient } = self;
        let factor = V::splat(factor);
        match (weights, gradient) {
            (None, None) => walk::<T, V, L, false, false>(term, prediction, target, &[], factor, &mut []),
            (None, Some(g)) => walk::<T, V, L, false, true>(term, prediction, target, &[], factor, g),
            (Some(w), None) => walk::<T, V, L, true, false>(term, prediction, target, w, factor, &mut []),
            (Some(w), Some(g)) => walk::<T, V, L, true, true>(term, prediction, target, w, factor, g),
        }
    }
}

/// Σ wᵢ ℓᵢ of one chunk; writes factor · wᵢ · ℓ'ᵢ.
#[inline(always)]
fn walk<T: Real, V: Lanes<T>, L: Term<T>, const WEIGHTED: bool, const GRADIENT: bool>(
    term: L,
    prediction: &[T],
    target: &[T],
    weights: &[T],
    factor: V,
    gradient: &mut [T],
) -> f64 {
    let n = prediction.len();
    let zero = V::splat(T::ZERO);
    let mut total = 0.0;
    let mut start = 0;
    while start < n {
        let end = n.min(start + RUN * V::N);
        let mut run = zero;
        let mut i = start;
        while i + V::N <= end {
            let (mut loss, mut slope) = term.at(V::load(&prediction[i..]), V::load(&target[i..]));
            if WEIGHTED {
                (loss, slope) = weigh(V::load(&weights[i..]), loss, slope);
            }
            run = run.add(loss);
            if GRADIENT {
                slope.mul(factor).store(&mut gradient[i..]);
            }
            i += V::N;
        }
        if i < end {
            let (mut loss, mut slope) = term.at(V::load_partial(&prediction[i..end]), V::load_partial(&target[i..end]));
            if WEIGHTED {
                (loss, slope) = weigh(V::load_partial(&weights[i..end]), loss, slope);
            }
            run = run.add(loss);
            if GRADIENT {
                slope.mul(factor).store_partial(&mut gradient[i..end]);
            }
        }
        total += run.sum().to_f64();
        start = end;
    }
    total
}

/// Weight times loss and slope; nothing, not even a NaN, passes a weight of 0.
#[inline(always)]
fn weigh<T: Real, V: Lanes<T>>(w: V, loss: V, slope: V) -> (V, V) {
    let zero = V::splat(T::ZERO);
    let out = w.abs().le(zero);
    (V::select(out, zero, w.mul(loss)), V::select(out, zero, w.mul(slope)))
}

/// The mean of `term` over all elements, and its gradient.
pub(super) fn mean<T: Real, L: Term<T>>(
    term: L,
    prediction: &[T],
    target: &[T],
    weights: Weights<'_, T>,
    upstream: f64,
    gradient: Option<&mut [T]>,
) -> f64 {
    assert_eq!(prediction.len(), target.len(), "loss: one target per prediction");
    let (weights, share) = weights.resolve(prediction.len());
    let factor = T::from_f64(upstream * share);
    let part = |start: usize, end: usize, gradient: Option<&mut [T]>| {
        let weights = weights.map(|w| &w[start..end]);
        dispatch(Pass { term, prediction: &prediction[start..end], target: &target[start..end], weights, factor, gradient })
    };
    let total = match gradient {
        Some(gradient) => {
            assert_eq!(prediction.len(), gradient.len(), "loss: one gradient per prediction");
            chunks::sum_mut(gradient, |start, g| part(start, start + g.len(), Some(g)))
        }
        None => chunks::sum(prediction.len(), |r| part(r.start, r.end, None)),
    };
    total * share
}

/// `x` with zeros from lane `count` on.
#[inline(always)]
pub(super) fn first_lanes<T: Real, V: Lanes<T>>(x: V, count: usize) -> V {
    let mut lanes = [T::ZERO; MOST_LANES];
    x.store(&mut lanes);
    V::load_partial(&lanes[..count])
}
