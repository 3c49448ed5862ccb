//! Vector kernels over channels that the products are made of. Matrices are rows of `c` channels.

use crate::kernels::rows::{each_vector, get, put};
use crate::kernels::simd::{Kernel, Lanes, Real, dispatch};

/// `to[r, :] = a[r, :] ∘ w`, or added to what is there.
pub fn times_row<T: Real>(a: &[T], w: &[T], to: &mut [T], add: bool) {
    dispatch(TimesRow { a, w, to, add });
}

struct TimesRow<'a, T> {
    a: &'a [T],
    w: &'a [T],
    to: &'a mut [T],
    add: bool,
}

impl<T: Real> Kernel<T> for TimesRow<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<V: Lanes<T>>(self) {
        let Self { a, w, to, add } = self;
        for (a, to) in a.chunks_exact(w.len()).zip(to.chunks_exact_mut(w.len())) {
            each_vector!(V, w.len(), |at, count| {
                let (a, w) = (get::<T, V>(a, at, count), get::<T, V>(w, at, count));
                let y = if add { a.fma(w, get(to, at, count)) } else { a.mul(w) };
                put(y, to, at, count);
            });
        }
    }
}

/// `to[c] = Σ_r a[r, c] b[r, c]`.
pub fn column_dots<T: Real>(a: &[T], b: &[T], to: &mut [T]) {
    dispatch(ColumnDots { a, b, to });
}

struct ColumnDots<'a, T> {
    a: &'a [T],
    b: &'a [T],
    to: &'a mut [T],
}

impl<T: Real> Kernel<T> for ColumnDots<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<V: Lanes<T>>(self) {
        let Self { a, b, to } = self;
        let c = to.len();
        each_vector!(V, c, |at, count| {
            let mut sum = V::splat(T::ZERO);
            for (a, b) in a.chunks_exact(c).zip(b.chunks_exact(c)) {
                sum = get::<T, V>(a, at, count).fma(get(b, at, count), sum);
            }
            put(sum, to, at, count);
        });
    }
}

/// `to[i, k] = Σ_c a[i, c] b[k, c]`: all pairs of rows.
pub fn pair_dots<T: Real>(a: &[T], b: &[T], c: usize, to: &mut [T]) {
    dispatch(PairDots { a, b, c, to });
}

struct PairDots<'a, T> {
    a: &'a [T],
    b: &'a [T],
    c: usize,
    to: &'a mut [T],
}

impl<T: Real> Kernel<T> for PairDots<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<V: Lanes<T>>(self) {
        /// Rows of b at a time: a vector of a is loaded once for them.
        const ROWS: usize = 4;
        let Self { a, b, c, to } = self;
        let n = b.len() / c;
        for (a, to) in a.chunks_exact(c).zip(to.chunks_exact_mut(n)) {
            let whole = n / ROWS * ROWS;
            for k in (0..whole).step_by(ROWS) {
                let rows: [&[T]; ROWS] = std::array::from_fn(|r| &b[(k + r) * c..][..c]);
                let mut sums = [V::splat(T::ZERO); ROWS];
                each_vector!(V, c, |at, count| {
                    let x = get::<T, V>(a, at, count);
                    for r in 0..ROWS {
                        sums[r] = x.fma(get(rows[r], at, count), sums[r]);
                    }
                });
                for r in 0..ROWS {
                    to[k + r] = sums[r].sum();
                }
            }
            for k in whole..n {
                let row = &b[k * c..][..c];
                let mut sum = V::splat(T::ZERO);
                each_vector!(V, c, |at, count| {
                    sum = get::<T, V>(a, at, count).fma(get(row, at, count), sum);
                });
                to[k] = sum.sum();
            }
        }
    }
}
