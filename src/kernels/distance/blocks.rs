//! All distances between two sets of points.

use super::exact::distance;
use crate::kernels::gemm::{MatMut, MatRef, Packed, Start, tile};
use crate::kernels::simd::{Kernel, Lanes, Real, dispatch};
use rayon::prelude::*;

/// A distance below this share of ‖a‖² + ‖b‖² is computed by its definition: cancellation has then cost seven bits.
const NEAR: f64 = 1.0 / 128.0;
/// Rows of `a` at a time.
const ROWS: usize = 48;
/// Rows of `b` at a time, so that what is packed of them stays in a second-level cache.
const COLUMN_BYTES: usize = 256 << 10;

/// `out[i, j]` = ‖a_i − b_j‖² for rows a (n × d) and b (m × d); out is n × m.
///
/// Computed as ‖a‖² + ‖b‖² − 2a·b, and by [`squared_distance`](super::squared_distance) where that cancels, so that every entry has a relative
/// error of at most 700(d + 4)·ε of `T`, equal points are at distance 0, and exchanging a and b transposes the result bit for bit. Points far
/// from the origin cost time (more entries are computed twice), not accuracy: subtract a common centre first.
///
/// On all threads (on one when called on a thread of a busy pool), 2·n·m·d operations; the same bits for any number of threads. Panics when
/// the lengths do not fit.
pub fn squared_distances<T: Real>(a: &[T], b: &[T], d: usize, out: &mut [T]) {
    assert!(d > 0 && a.len().is_multiple_of(d) && b.len().is_multiple_of(d), "squared_distances: rows of {d}");
    let (n, m) = (a.len() / d, b.len() / d);
    assert_eq!(out.len(), n * m, "squared_distances: {n} x {m} numbers");
    if n == 0 || m == 0 {
        return;
    }
    let (a_norms, b_norms) = (norms(a, d), norms(b, d));
    let columns = (COLUMN_BYTES / (d * size_of::<T>())).next_multiple_of(64).min(m);
    let packed: Vec<Packed<T>> = b.chunks(columns * d).map(|b| Packed::new(MatRef::new(b, b.len() / d, d).t())).collect();
    // Blocks of rows that several threads share out; few of them when there is little to do.
    let rows = ((1 << 20) / (m * d).max(1)).clamp(1, 64) * ROWS;
    let work = |(i, out): (usize, &mut [T])| {
        for (q, out) in out.chunks_mut(ROWS * m).enumerate() {
            let first = i * rows + q * ROWS;
            let count = out.len() / m;
            let a = &a[first * d..(first + count) * d];
            let a_norms = &a_norms[first..first + count];
            for (p, packed) in packed.iter().enumerate() {
                let at = p * columns;
                let c = MatMut::with_strides(&mut out[at..], count, packed.cols(), m, 1);
                tile(Start::Zero, MatRef::new(a, count, d), packed, c);
                for i in 0..count {
                    let b_norms = &b_norms[at..at + packed.cols()];
                    let out = &mut out[i * m + at..][..packed.cols()];
                    if dispatch(Finish { a_norm: a_norms[i], b_norms, out: &mut *out }) {
                        let b = &b[at * d..(at + packed.cols()) * d];
                        dispatch(Again { a: &a[i * d..(i + 1) * d], b, a_norm: a_norms[i], b_norms, out });
                    }
                }
            }
        }
    };
    if n <= rows {
        work((0, out));
    } else {
        out.par_chunks_mut(rows * m).enumerate().for_each(work);
    }
}

/// ‖row‖² of every row of `x`, added in order.
fn norms<T: Real>(x: &[T], d: usize) -> Vec<T> {
    x.chunks_exact(d).map(|row| row.iter().fold(T::ZERO, |sum, &v| sum + v * v)).collect()
}

/// Products to distances. Says whether any has to be computed again.
struct Finish<'a, T> {
    a_norm: T,
    b_norms: &'a [T],
    out: &'a mut [T],
}

impl<T: Real> Kernel<T> for Finish<'_, T> {
    type Output = bool;
    #[inline(always)]
    fn run<V: Lanes<T>>(self) -> bool {
        let Self { a_norm, b_norms, out } = self;
        let (a, two, near, zero) = (V::splat(a_norm), V::splat(T::from_f64(2.0)), V::splat(T::from_f64(NEAR)), V::splat(T::ZERO));
        let (mut any, one) = (zero, V::splat(T::ONE));
        let whole = out.len() / V::N * V::N;
        for j in (0..whole).step_by(V::N) {
            let norms = a.add(V::load(&b_norms[j..]));
            let value = two.neg_fma(V::load(&out[j..]), norms);
            // Sums that overflow are computed again too: they compare as not greater.
            any = V::select(norms.mul(near).lt(value), any, one);
            value.store(&mut out[j..]);
        }
        let mut rest = any.max_lane() > T::ZERO;
        for j in whole..out.len() {
            let norms = a_norm + b_norms[j];
            out[j] = norms - (out[j] + out[j]);
            rest |= again(out[j], norms);
        }
        rest
    }
}

/// Whether a distance has cancelled (or overflowed), from the sum of the norms. The product is exact, so that this is decided for a and b
/// as for b and a.
#[inline(always)]
fn again<T: Real>(value: T, norms: T) -> bool {
    let least = norms * T::from_f64(NEAR);
    // What is not a number is computed again.
    value.partial_cmp(&least) != Some(std::cmp::Ordering::Greater)
}

/// The distances of a row that have cancelled.
struct Again<'a, T> {
    a: &'a [T],
    b: &'a [T],
    a_norm: T,
    b_norms: &'a [T],
    out: &'a mut [T],
}

impl<T: Real> Kernel<f64> for Again<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<V: Lanes<f64>>(self) {
        let d = self.a.len();
        for j in 0..self.out.len() {
            if again(self.out[j], self.a_norm + self.b_norms[j]) {
                self.out[j] = T::from_f64(distance::<T, V>(self.a, &self.b[j * d..(j + 1) * d]));
            }
        }
    }
}
