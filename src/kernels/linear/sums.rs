//! Bias gradients: sums of a tile over its rows or over its columns.

use crate::kernels::simd::{Kernel, Lanes, Real, dispatch};

struct Columns<'a, T>(&'a [T], &'a mut [T]);

impl<T: Real> Kernel<T> for Columns<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<V: Lanes<T>>(self) {
        let Self(x, sums) = self;
        let cols = sums.len();
        let whole = cols / V::N * V::N;
        for j in (0..whole).step_by(V::N) {
            let mut sum = V::load(&sums[j..]);
            for row in x.chunks_exact(cols) {
                sum = sum.add(V::load(&row[j..]));
            }
            sum.store(&mut sums[j..]);
        }
        if whole < cols {
            let mut sum = V::load_partial(&sums[whole..]);
            for row in x.chunks_exact(cols) {
                sum = sum.add(V::load_partial(&row[whole..]));
            }
            sum.store_partial(&mut sums[whole..]);
        }
    }
}

struct Rows<'a, T>(&'a [T], &'a mut [T]);

impl<T: Real> Kernel<T> for Rows<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<V: Lanes<T>>(self) {
        let Self(x, sums) = self;
        let cols = x.len() / sums.len();
        for (row, total) in x.chunks_exact(cols).zip(sums) {
            let mut sum = V::splat(T::ZERO);
            let mut vectors = row.chunks_exact(V::N);
            for x in &mut vectors {
                sum = sum.add(V::load(x));
            }
            sum = sum.add(V::load_partial(vectors.remainder()));
            *total += sum.sum();
        }
    }
}

/// `sums[j] += Σ_i x[i, j]`; x has `sums.len()` columns.
pub(super) fn add_columns<T: Real>(x: &[T], sums: &mut [T]) {
    if !x.is_empty() && !sums.is_empty() {
        dispatch(Columns(x, sums));
    }
}

/// `sums[i] += Σ_j x[i, j]`; x has `sums.len()` rows.
pub(super) fn add_rows<T: Real>(x: &[T], sums: &mut [T]) {
    if !x.is_empty() && !sums.is_empty() {
        dispatch(Rows(x, sums));
    }
}

struct Add<'a, T>(&'a mut [T], &'a [T]);

impl<T: Real> Kernel<T> for Add<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<V: Lanes<T>>(self) {
        let mut to = self.0.chunks_exact_mut(V::N);
        let mut from = self.1.chunks_exact(V::N);
        for (a, b) in (&mut to).zip(&mut from) {
            V::load(a).add(V::load(b)).store(a);
        }
        let rest = to.into_remainder();
        V::load_partial(rest).add(V::load_partial(from.remainder())).store_partial(rest);
    }
}

/// `a += b` on the calling thread. Equal lengths.
pub(super) fn add<T: Real>(a: &mut [T], b: &[T]) {
    assert_eq!(a.len(), b.len());
    dispatch(Add(a, b));
}
