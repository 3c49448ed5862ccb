//! Some rows of P, and what they add to the gradient of the scores.

use crate::kernels::bf16::{Stored, narrow_line};
use crate::kernels::gemm::with_scratch;
use crate::kernels::rows::{each_vector, get, ones, put_over};
use crate::kernels::simd::{Kernel, Lanes, Real, dispatch, math};

/// Writes the rows of P whose tokens have the scores `sorted`.
pub(super) fn forward<T: Real>(scores: &[T], sorted: &[T], rate: T, p: &mut [T]) {
    dispatch(Forward { scores, sorted, rate, p });
}

struct Forward<'a, T> {
    scores: &'a [T],
    sorted: &'a [T],
    rate: T,
    p: &'a mut [T],
}

impl<T: Real> Kernel<T> for Forward<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<V: Lanes<T>>(self) {
        let Self { scores, sorted, rate, p } = self;
        let len = scores.len();
        for (i, &score) in sorted.iter().enumerate() {
            row::<T, V>(scores, score, rate, &mut p[i * len..]);
        }
    }
}

/// [`forward`] with P as bits of bf16.
pub(super) fn forward_bf16(scores: &[f32], sorted: &[f32], rate: f32, p: &mut [u16]) {
    with_scratch(scores.len(), |line| dispatch(ForwardHalf { scores, sorted, rate, line, p }));
}

struct ForwardHalf<'a> {
    scores: &'a [f32],
    sorted: &'a [f32],
    rate: f32,
    /// A row of P.
    line: &'a mut [f32],
    p: &'a mut [u16],
}

impl Kernel<f32> for ForwardHalf<'_> {
    type Output = ();
    #[inline(always)]
    fn run<V: Lanes<f32>>(self) {
        let Self { scores, sorted, rate, line, p } = self;
        for (&score, p) in sorted.iter().zip(p.chunks_exact_mut(scores.len())) {
            row::<f32, V>(scores, score, rate, line);
            narrow_line(line, p);
        }
    }
}

/// exp(−|a − b|·rate) in the first `count` lanes, zeros in the others.
#[inline(always)]
fn weight<T: Real, V: Lanes<T>>(a: V, b: V, rate: V, count: usize) -> V {
    let weight = math::exp::<T, V>(a.sub(b).abs().mul(rate).neg());
    if count == V::N { weight } else { weight.mul(ones(count)) }
}

/// Writes one row; places behind it may be written too.
#[inline(always)]
fn row<T: Real, V: Lanes<T>>(scores: &[T], score: T, rate: T, p: &mut [T]) {
    let (score, rate) = (V::splat(score), V::splat(rate));
    let mut sum = V::splat(T::ZERO);
    each_vector!(V, scores.len(), |at, count| {
        let weight = weight::<T, V>(get(scores, at, count), score, rate, count);
        sum = sum.add(weight);
        put_over(weight, p, at, count);
    });
    let share = V::splat(T::ONE / sum.sum());
    each_vector!(V, scores.len(), |at, count| {
        put_over(get::<T, V>(p, at, count).mul(share), p, at, count);
    });
}

/// Writes 1 / the sum of the weights of each row.
pub(super) fn shares<T: Real>(scores: &[T], sorted: &[T], rate: T, shares: &mut [T]) {
    dispatch(Shares { scores, sorted, rate, shares });
}

struct Shares<'a, T> {
    scores: &'a [T],
    sorted: &'a [T],
    rate: T,
    shares: &'a mut [T],
}

impl<T: Real> Kernel<T> for Shares<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<V: Lanes<T>>(self) {
        let rate = V::splat(self.rate);
        for (share, &score) in self.shares.iter_mut().zip(self.sorted) {
            let (mut sum, score) = (V::splat(T::ZERO), V::splat(score));
            each_vector!(V, self.scores.len(), |at, count| {
                sum = sum.add(weight::<T, V>(get(self.scores, at, count), score, rate, count));
            });
            *share = T::ONE / sum.sum();
        }
    }
}

/// Writes columns of P as rows: those of the tokens with the scores `some`.
pub(super) fn columns<T: Real>(sorted: &[T], shares: &[T], some: &[T], rate: T, to: &mut [T]) {
    dispatch(Columns { sorted, shares, some, rate, to });
}

struct Columns<'a, T> {
    sorted: &'a [T],
    shares: &'a [T],
    some: &'a [T],
    rate: T,
    to: &'a mut [T],
}

impl<T: Real> Kernel<T> for Columns<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<V: Lanes<T>>(self) {
        let (rate, len) = (V::splat(self.rate), self.sorted.len());
        for (i, &score) in self.some.iter().enumerate() {
            let (to, score) = (&mut self.to[i * len..], V::splat(score));
            each_vector!(V, len, |at, count| {
                let weight = weight::<T, V>(score, get(self.sorted, at, count), rate, count);
                put_over(weight.mul(get(self.shares, at, count)), to, at, count);
            });
        }
    }
}

/// Σ σG over rows (added to) and over columns (written). See [`SoftSort::backward`](super::SoftSort::backward).
pub(super) struct Sums<'a, T> {
    pub(super) by_column: &'a mut [T],
    pub(super) by_row: &'a mut [T],
}

/// Rows of P again, and their sums from the rows `dp` of its gradient.
pub(super) fn backward<T: Real, S: Stored<T>>(scores: &[T], sorted: &[T], rate: T, dp: &[S], sums: Sums<'_, T>) {
    with_scratch(scores.len(), |p| dispatch(Backward { scores, sorted, rate, p, given: false, dp, sums }));
}

/// Same from the rows of P themselves.
pub(super) fn backward_of<T: Real>(scores: &[T], sorted: &[T], p: &mut [T], dp: &[T], sums: Sums<'_, T>) {
    dispatch(Backward { scores, sorted, rate: T::ZERO, p, given: true, dp, sums });
}

struct Backward<'a, T, S> {
    scores: &'a [T],
    sorted: &'a [T],
    rate: T,
    /// All rows if `given`, else room for one.
    p: &'a mut [T],
    given: bool,
    dp: &'a [S],
    sums: Sums<'a, T>,
}

impl<T: Real, S: Stored<T>> Kernel<T> for Backward<'_, T, S> {
    type Output = ();
    #[inline(always)]
    fn run<V: Lanes<T>>(self) {
        let Self { scores, sorted, rate, p, given, dp, sums: Sums { by_column, by_row } } = self;
        let len = scores.len();
        for (i, &score) in sorted.iter().enumerate() {
            if !given {
                row::<T, V>(scores, score, rate, p);
            }
            let p = if given { &p[i * len..][..len] } else { &p[..len] };
            let dp = &dp[i * len..][..len];
            let mut along = V::splat(T::ZERO);
            each_vector!(V, len, |at, count| {
                along = get::<T, V>(p, at, count).fma(S::get(dp, at, count), along);
            });
            let (along, score) = (V::splat(along.sum()), V::splat(score));
            let mut sum = V::splat(T::ZERO);
            each_vector!(V, len, |at, count| {
                // Lanes behind the row hold zeros in P.
                let inner = get::<T, V>(p, at, count).mul(S::get::<V>(dp, at, count).sub(along));
                let other = get::<T, V>(scores, at, count);
                let falling = V::select(other.lt(score), inner.neg(), V::splat(T::ZERO));
                let signed = V::select(score.lt(other), inner, falling);
                sum = sum.add(signed);
                let to = &mut by_column[at..at + count];
                if count == V::N {
                    V::load(to).add(signed).store(to);
                } else {
                    V::load_partial(to).add(signed).store_partial(to);
                }
            });
            by_row[i] = sum.sum();
        }
    }
}
