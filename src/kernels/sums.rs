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

/// What [`Zip`] does with two vectors.
trait Pair<T: Real>: Copy {
    fn of<V: Lanes<T>>(self, a: V, b: V) -> V;
}
#[derive(Clone, Copy)]
struct Add;
#[derive(Clone, Copy)]
struct Mul;
impl<T: Real> Pair<T> for Add {
    #[inline(always)]
    fn of<V: Lanes<T>>(self, a: V, b: V) -> V {
        a.add(b)
    }
}
impl<T: Real> Pair<T> for Mul {
    #[inline(always)]
    fn of<V: Lanes<T>>(self, a: V, b: V) -> V {
        a.mul(b)
    }
}

struct Zip<'a, T, F>(F, &'a mut [T], &'a [T]);

impl<T: Real, F: Pair<T>> Kernel<T> for Zip<'_, T, F> {
    type Output = ();
    #[inline(always)]
    fn run<V: Lanes<T>>(self) {
        let Self(f, a, b) = self;
        let mut to = a.chunks_exact_mut(V::N);
        let mut from = b.chunks_exact(V::N);
        for (a, b) in (&mut to).zip(&mut from) {
            f.of(V::load(a), V::load(b)).store(a);
        }
        let rest = to.into_remainder();
        if !rest.is_empty() {
            f.of(V::load_partial(rest), V::load_partial(from.remainder())).store_partial(rest);
        }
    }
}

/// `a += b` on the calling thread. Equal lengths.
pub(super) fn add<T: Real>(a: &mut [T], b: &[T]) {
    assert_eq!(a.len(), b.len());
    dispatch(Zip(Add, a, b));
}

/// `a = a · b`, element by element, on the calling thread. Equal lengths.
pub(super) fn mul<T: Real>(a: &mut [T], b: &[T]) {
    assert_eq!(a.len(), b.len());
    dispatch(Zip(Mul, a, b));
}

struct Constants<'a, T>(&'a mut [T], &'a [T]);

impl<T: Real> Kernel<T> for Constants<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<V: Lanes<T>>(self) {
        let cols = self.0.len() / self.1.len();
        for (row, &constant) in self.0.chunks_exact_mut(cols).zip(self.1) {
            let constant = V::splat(constant);
            let mut vectors = row.chunks_exact_mut(V::N);
            for x in &mut vectors {
                V::load(x).add(constant).store(x);
            }
            let rest = vectors.into_remainder();
            if !rest.is_empty() {
                V::load_partial(rest).add(constant).store_partial(rest);
            }
        }
    }
}

/// `x[i, j] += b[i]`; x has `b.len()` rows.
pub(super) fn add_to_rows<T: Real>(x: &mut [T], b: &[T]) {
    if !x.is_empty() {
        dispatch(Constants(x, b));
    }
}
