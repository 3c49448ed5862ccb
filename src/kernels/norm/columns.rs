//! Sums over the rows of a matrix.

use crate::kernels::rows::{CHUNK, add_parts, count_rows, each_vector, for_each, get, put};
use crate::kernels::simd::{Kernel, Lanes, Real, dispatch};

/// Columns that one task adds: a strip of partial sums that stays in the first-level cache.
const STRIP: usize = 4096;

/// Adds all rows: `sums[c] = Σ_r x[r, c]`.
///
/// Shapes: `x` (rows × width), `sums` (width). No rows give zeros. Cost: one read of `x`.
///
/// A narrow matrix whose width is no multiple of the vector is read as one with several rows side by side, so that every lane
/// works; each sum is then folded from its parts.
pub fn column_sums<T: Real>(x: &[T], width: usize, sums: &mut [T]) {
    assert_eq!(sums.len(), width, "column_sums: one sum for each column");
    let rows = count_rows(x.len(), width);
    if width == 0 {
        return;
    }
    let fold = if width < 4 * T::LANES { T::LANES / gcd(width, T::LANES) } else { 1 };
    let wide = fold * width;
    let (body, rest) = x.split_at(rows / fold * wide);
    sums.fill(T::ZERO);
    if !body.is_empty() {
        let per_chunk = (CHUNK / wide.min(STRIP)).max(32);
        let chunks = body.len().div_ceil(per_chunk * wide);
        let mut parts = vec![T::ZERO; chunks * wide];
        let mut tasks = Vec::new();
        for (rows, part) in body.chunks(per_chunk * wide).zip(parts.chunks_mut(wide)) {
            for (k, strip) in part.chunks_mut(STRIP).enumerate() {
                tasks.push(Strip { rows, width: wide, first: k * STRIP, sums: strip });
            }
        }
        for_each(tasks, |task| dispatch(task));
        add_parts(&mut parts, wide);
        for part in parts[..wide].chunks(width) {
            sums.iter_mut().zip(part).for_each(|(sum, &x)| *sum += x);
        }
    }
    for row in rest.chunks(width) {
        sums.iter_mut().zip(row).for_each(|(sum, &x)| *sum += x);
    }
}

fn gcd(a: usize, b: usize) -> usize {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// The sums of the columns `first .. first + sums.len()`; `sums` starts at zero.
struct Strip<'a, T> {
    rows: &'a [T],
    width: usize,
    first: usize,
    sums: &'a mut [T],
}

impl<T: Real> Kernel<T> for Strip<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<V: Lanes<T>>(self) {
        let Self { rows, width, first, sums } = self;
        // Eight rows at a time: one read and one write of a partial sum for eight numbers, and a shorter chain of additions.
        let groups = rows.chunks_exact(8 * width);
        let rest = groups.remainder();
        for group in groups {
            each_vector!(V, sums.len(), |at, count| {
                let row = |r: usize| r * width + first + at;
                let a = get::<T, V>(group, row(0), count).add(get(group, row(1), count));
                let b = get::<T, V>(group, row(2), count).add(get(group, row(3), count));
                let c = get::<T, V>(group, row(4), count).add(get(group, row(5), count));
                let d = get::<T, V>(group, row(6), count).add(get(group, row(7), count));
                let all = a.add(b).add(c.add(d));
                put(get::<T, V>(sums, at, count).add(all), sums, at, count);
            });
        }
        for row in rest.chunks_exact(width) {
            each_vector!(V, sums.len(), |at, count| {
                put(get::<T, V>(sums, at, count).add(get(row, first + at, count)), sums, at, count);
            });
        }
    }
}
