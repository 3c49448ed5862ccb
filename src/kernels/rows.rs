//! What the row kernels share: how work is cut, how rows meet vectors, how partial sums meet.

use rayon::prelude::*;

use crate::kernels::simd::{Lanes, Real};

/// Numbers in a chunk of work: 64 KiB of `f32`, so that a second pass over a chunk finds it in the second-level cache.
pub(crate) const CHUNK: usize = 16 * 1024;

/// Rows of `width` numbers in a chunk: about [`CHUNK`] numbers and at least `least` rows.
pub(crate) fn rows_per_chunk(width: usize, least: usize) -> usize {
    (CHUNK / width.max(1)).max(least).max(1)
}

/// How many rows of `width` numbers `len` numbers make. Panics when they do not fill the last row.
pub(crate) fn count_rows(len: usize, width: usize) -> usize {
    if width == 0 {
        assert_eq!(len, 0, "rows without columns cannot hold numbers");
        return 0;
    }
    assert_eq!(len % width, 0, "{len} numbers do not make whole rows of {width}");
    len / width
}

/// Runs `work` on every item, on all threads when there are several. Items must not depend on each other.
pub(crate) fn for_each<I: Send>(items: Vec<I>, work: impl Fn(I) + Sync + Send) {
    if items.len() <= 1 {
        // Waking the pool costs more than a single chunk.
        items.into_iter().for_each(work);
    } else {
        items.into_par_iter().for_each(work);
    }
}

/// Adds `parts` (count × width) in a binary tree over neighbours and leaves the sum in the first part.
pub(crate) fn add_parts<T: Real>(parts: &mut [T], width: usize) {
    if width == 0 {
        return;
    }
    let count = parts.len() / width;
    let mut step = 1;
    while step < count {
        for first in (0..count - step).step_by(2 * step) {
            let (left, right) = parts.split_at_mut((first + step) * width);
            for (a, &b) in left[first * width..][..width].iter_mut().zip(&right[..width]) {
                *a += b;
            }
        }
        step *= 2;
    }
}

/// `count` numbers of `from` from place `at` on; zeros in the other lanes. Fast when `count` is the constant `V::N`.
#[inline(always)]
pub(crate) fn get<T: Real, V: Lanes<T>>(from: &[T], at: usize, count: usize) -> V {
    if count == V::N { V::load(&from[at..]) } else { V::load_partial(&from[at..at + count]) }
}

/// Writes `count` numbers to `to` from place `at` on. Where `to` goes on behind them, the other lanes are written too: use it only
/// where a later step of the same pass writes those places. (A masked store is slow on some machines.)
#[inline(always)]
pub(crate) fn put_over<T: Real, V: Lanes<T>>(v: V, to: &mut [T], at: usize, count: usize) {
    if count == V::N || at + V::N <= to.len() { v.store(&mut to[at..]) } else { v.store_partial(&mut to[at..at + count]) }
}

/// Writes `count` numbers to `to` from place `at` on, and nothing else.
#[inline(always)]
pub(crate) fn put<T: Real, V: Lanes<T>>(v: V, to: &mut [T], at: usize, count: usize) {
    if count == V::N { v.store(&mut to[at..]) } else { v.store_partial(&mut to[at..at + count]) }
}

/// A one in the first `count` lanes, zeros elsewhere.
#[inline(always)]
pub(crate) fn ones<T: Real, V: Lanes<T>>(count: usize) -> V {
    V::load_partial(&[T::ONE; 16][..count])
}

/// Runs a block for each vector of a row: `each_vector!(V, width, |at, count| { .. })`, `count` being `V::N` but for the last.
macro_rules! each_vector {
    ($V:ty, $width:expr, |$at:ident, $count:ident| $body:block) => {{
        let width: usize = $width;
        let mut $at = 0usize;
        while $at + <$V>::N <= width {
            let $count = <$V>::N;
            $body
            $at += <$V>::N;
        }
        if $at < width {
            let $count = width - $at;
            $body
        }
    }};
}
pub(crate) use each_vector;

/// Σ x over a row.
#[inline(always)]
pub(crate) fn row_sum<T: Real, V: Lanes<T>>(row: &[T]) -> T {
    let mut sums = [V::splat(T::ZERO); 4];
    let whole = row.len() / (4 * V::N) * (4 * V::N);
    for at in (0..whole).step_by(4 * V::N) {
        for (k, sum) in sums.iter_mut().enumerate() {
            *sum = sum.add(V::load(&row[at + k * V::N..]));
        }
    }
    let rest = &row[whole..];
    each_vector!(V, rest.len(), |at, count| {
        sums[0] = sums[0].add(get::<T, V>(rest, at, count));
    });
    sums[0].add(sums[1]).add(sums[2].add(sums[3])).sum()
}

/// Σ (x − centre)² over a row.
#[inline(always)]
pub(crate) fn row_squares<T: Real, V: Lanes<T>>(row: &[T], centre: T) -> T {
    let mut sums = [V::splat(T::ZERO); 4];
    let c = V::splat(centre);
    let whole = row.len() / (4 * V::N) * (4 * V::N);
    for at in (0..whole).step_by(4 * V::N) {
        for (k, sum) in sums.iter_mut().enumerate() {
            let d = V::load(&row[at + k * V::N..]).sub(c);
            *sum = d.fma(d, *sum);
        }
    }
    let rest = &row[whole..];
    each_vector!(V, rest.len(), |at, count| {
        let mut d = get::<T, V>(rest, at, count).sub(c);
        if count != V::N {
            d = d.mul(ones(count));
        }
        sums[0] = d.fma(d, sums[0]);
    });
    sums[0].add(sums[1]).add(sums[2].add(sums[3])).sum()
}
