//! Weights between the steps of a chunk, and gradients of the logarithms of decays.
//!
//! Matrices have the rows of a chunk below each other, (step, rank) with rank fastest, and as many columns, `lead` apart.

use crate::kernels::rows::{each_vector, get, put};
use crate::kernels::simd::{Kernel, Lanes, Real, math};
use std::ops::Range;

/// Writes E, a row for each step: `w_j·exp(Σ_{j<k<=t} a_k)` for the columns of earlier steps j, γ_t for its own, 0 for later
/// ones; and, if wanted, the same without w and γ: the decays between different steps.
pub(super) struct Weigh<'a, T> {
    pub rank: usize,
    pub lead: usize,
    /// a, a number for each step.
    pub steps: &'a [T],
    pub gamma: &'a [T],
    /// w, a number for each column, zeros behind.
    pub weight: &'a [T],
    /// `lead` numbers of room.
    pub sums: &'a mut [T],
    pub weighted: &'a mut [T],
    pub decay: Option<&'a mut [T]>,
}

impl<T: Real> Kernel<T> for Weigh<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<V: Lanes<T>>(self) {
        let Self { rank, lead, steps, gamma, weight, sums, weighted, mut decay } = self;
        sums.fill(T::ZERO);
        for (t, (&a, row)) in steps.iter().zip(weighted.chunks_exact_mut(lead)).enumerate() {
            let mut decay = decay.as_deref_mut().map(|d| &mut d[t * lead..][..lead]);
            let (own, next) = (t * rank, (t + 1) * rank);
            let step = V::splat(a);
            for at in (0..own).step_by(V::N) {
                // Each step is added to all sums that hold it.
                let sum = V::load(&sums[at..]).add(step);
                sum.store(&mut sums[at..]);
                let factor = math::exp::<T, V>(sum);
                factor.mul(V::load(&weight[at..])).store(&mut row[at..]);
                if let Some(decay) = &mut decay {
                    factor.store(&mut decay[at..]);
                }
            }
            sums[own..next].fill(T::ZERO);
            row[own..next].fill(gamma[t]);
            row[next..].fill(T::ZERO);
            if let Some(decay) = decay {
                decay[own..].fill(T::ZERO);
            }
        }
    }
}

/// `to = from ∘ E` for the rows of some steps and the columns up to `columns`.
pub(super) struct Apply<'a, T> {
    pub rank: usize,
    pub lead: usize,
    pub steps: Range<usize>,
    pub columns: usize,
    pub weighted: &'a [T],
    pub from: &'a [T],
    pub to: &'a mut [T],
}

impl<T: Real> Kernel<T> for Apply<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<V: Lanes<T>>(self) {
        let Self { rank, lead, steps, columns, weighted, from, to } = self;
        for t in steps {
            for row in t * rank..(t + 1) * rank {
                for at in (0..columns).step_by(V::N) {
                    let x = V::load(&from[row * lead + at..]).mul(V::load(&weighted[t * lead + at..]));
                    x.store(&mut to[row * lead + at..]);
                }
            }
        }
    }
}

/// The way back: from the scores Q·Kᵀ and the gradients of the weighted scores, for the steps of a strip, last first.
pub(super) struct Pull<'a, T> {
    pub rank: usize,
    pub lead: usize,
    pub steps: Range<usize>,
    pub columns: usize,
    pub weight: &'a [T],
    pub weighted: &'a [T],
    pub decay: &'a [T],
    pub scores: &'a [T],
    /// Becomes the gradients of the scores.
    pub gradients: &'a mut [T],
    /// (lead): the gradients of w, column by column, from the steps so far.
    pub sums: &'a mut [T],
    /// A number for each step: the direct gradient of γ.
    pub gamma: &'a mut [T],
    /// A number for each step: the gradient of a, from all pairs that it lies between.
    pub logs: &'a mut [T],
}

impl<T: Real> Kernel<T> for Pull<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<V: Lanes<T>>(self) {
        let Self { rank, lead, steps, columns, weight, weighted, decay, scores, gradients, sums, gamma, logs } = self;
        for t in steps.rev() {
            let own = t * rank..(t + 1) * rank;
            let (weighted, decay) = (&weighted[t * lead..][..columns], &decay[t * lead..][..columns]);
            let mut direct = T::ZERO;
            for row in own.clone() {
                let (scores, gradients) = (&scores[row * lead..][..columns], &mut gradients[row * lead..][..columns]);
                for j in own.clone() {
                    direct = scores[j].fma(gradients[j], direct);
                }
                for at in (0..columns).step_by(V::N) {
                    let g = V::load(&gradients[at..]);
                    let sum = g.mul(V::load(&scores[at..])).fma(V::load(&decay[at..]), V::load(&sums[at..]));
                    sum.store(&mut sums[at..]);
                    g.mul(V::load(&weighted[at..])).store(&mut gradients[at..]);
                }
            }
            gamma[t] = direct;
            let mut sum = V::splat(T::ZERO);
            let before = own.start;
            each_vector!(V, before, |at, count| {
                sum = get::<T, V>(weight, at, count).fma(get(sums, at, count), sum);
            });
            logs[t] = sum.sum();
        }
    }
}

/// Rows (step, rank) of a matrix times a number for each step.
pub(super) struct Scale<'a, T> {
    pub rank: usize,
    pub width: usize,
    pub factors: &'a [T],
    pub from: &'a [T],
    pub to: &'a mut [T],
}

impl<T: Real> Kernel<T> for Scale<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<V: Lanes<T>>(self) {
        let Self { rank, width, factors, from, to } = self;
        let rows = from.chunks_exact(width).zip(to.chunks_exact_mut(width));
        for (row, (from, to)) in rows.enumerate() {
            let factor = V::splat(factors[row / rank]);
            each_vector!(V, width, |at, count| {
                put(get::<T, V>(from, at, count).mul(factor), to, at, count);
            });
        }
    }
}

/// A number for each step: the sum of a∘b over its rows (step, rank).
pub(super) struct Dots<'a, T> {
    pub rank: usize,
    pub width: usize,
    pub a: &'a [T],
    pub b: &'a [T],
    pub to: &'a mut [T],
}

impl<T: Real> Kernel<T> for Dots<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<V: Lanes<T>>(self) {
        let Self { rank, width, a, b, to } = self;
        let step = rank * width;
        for ((a, b), to) in a.chunks_exact(step).zip(b.chunks_exact(step)).zip(to) {
            let mut sum = V::splat(T::ZERO);
            each_vector!(V, step, |at, count| {
                sum = get::<T, V>(a, at, count).fma(get(b, at, count), sum);
            });
            *to = sum.sum();
        }
    }
}

/// `to += from` with each row (step, rank) times a number for its step.
pub(super) struct AddScaled<'a, T>(pub Scale<'a, T>);

impl<T: Real> Kernel<T> for AddScaled<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<V: Lanes<T>>(self) {
        let Scale { rank, width, factors, from, to } = self.0;
        let rows = from.chunks_exact(width).zip(to.chunks_exact_mut(width));
        for (row, (from, to)) in rows.enumerate() {
            let factor = V::splat(factors[row / rank]);
            each_vector!(V, width, |at, count| {
                put(get::<T, V>(from, at, count).fma(factor, get(to, at, count)), to, at, count);
            });
        }
    }
}

/// A number times a matrix, in place; gives the product (sum of products of elements) with another before.
pub(super) struct Decay<'a, T> {
    pub factor: T,
    pub matrix: &'a mut [T],
    pub other: &'a [T],
}

impl<T: Real> Kernel<T> for Decay<'_, T> {
    type Output = T;
    #[inline(always)]
    fn run<V: Lanes<T>>(self) -> T {
        let Self { factor, matrix, other } = self;
        let (by, mut sum) = (V::splat(factor), V::splat(T::ZERO));
        each_vector!(V, matrix.len(), |at, count| {
            let x = get::<T, V>(matrix, at, count);
            sum = x.fma(get(other, at, count), sum);
            put(x.mul(by), matrix, at, count);
        });
        sum.sum()
    }
}

/// A number times a matrix, in place.
pub(super) struct Shrink<'a, T>(pub T, pub &'a mut [T]);

impl<T: Real> Kernel<T> for Shrink<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<V: Lanes<T>>(self) {
        let Self(factor, matrix) = self;
        let by = V::splat(factor);
        each_vector!(V, matrix.len(), |at, count| {
            put(get::<T, V>(matrix, at, count).mul(by), matrix, at, count);
        });
    }
}
