//! Grams of unfoldings.

use super::super::mttkrp::around;
use super::super::mttkrp::tasks::{Shared, each, even};
use crate::kernels::gemm::{MatMut, MatRef, Start, tile, with_scratch};
use crate::kernels::simd::Real;
use crate::kernels::sums::add;
use crate::kernels::transpose::transpose;

/// Columns of the unfolding that are gathered at a time, and the side of a square of the result.
pub(super) const DEPTH: usize = 256;
const SIDE: usize = 96;
/// Below this size of the mode, the result is small enough for each task to have its own.
const WHOLE: usize = 128;
/// Multiply-adds of a task, and tasks at most.
const TASK: usize = 1 << 21;
const TASKS: usize = 32;

/// `out = X_(mode) · X_(mode)ᵀ`, (I, I), both triangles: `out[i, j] = Σ x[…, i, …] · x[…, j, …]`.
///
/// X is seen as (I_L, I, I_T). Columns of the unfolding are gathered `DEPTH` at a time into rows of a block that stays in the caches (in
/// place where I_T = 1), and the upper triangle is added up from the blocks: I·ΠI operations, X read once. The result is symmetric to the
/// bit. Up to I = 128, parts of the columns are summed apart and added in order; their number depends on the shape alone.
///
/// # Panics
/// When a slice has not the size that `shape` asks for.
pub fn mode_gram<T: Real>(x: &[T], shape: &[usize], mode: usize, out: &mut [T]) {
    let [l, i, t] = around(shape, mode);
    assert_eq!(x.len(), l * i * t, "mode_gram: a tensor of shape {shape:?}");
    assert_eq!(out.len(), i * i, "mode_gram: a result of {i} x {i}");
    cross(x, x, [l, i, t], out);
    for a in 0..i {
        for b in 0..a {
            out[a * i + b] = out[b * i + a];
        }
    }
}

/// The upper triangle of `X Yᵀ` by squares: all of the elements (a, b) with a <= b, and some below. All, when x and y are not the same.
pub(super) fn cross<T: Real>(x: &[T], y: &[T], dims: [usize; 3], out: &mut [T]) {
    let [l, i, t] = dims;
    out.fill(T::ZERO);
    if x.is_empty() {
        return;
    }
    let same = std::ptr::eq(x, y);
    let total = l * t;
    if i <= WHOLE {
        let parts = (total * i * i / TASK).clamp(1, TASKS);
        with_scratch((parts - 1) * i * i, |others: &mut [T]| {
            others.fill(T::ZERO);
            let (first, rest) = (Shared::new(out), Shared::new(others));
            each(parts, |p| {
                // SAFETY: part p of the sums belongs to this task.
                let to = unsafe { if p == 0 { first.part(0, i * i) } else { rest.part((p - 1) * i * i, i * i) } };
                let own = even(total, 1, parts, p);
                with_scratch(DEPTH * i, |a: &mut [T]| {
                    with_scratch(if same { 0 } else { DEPTH * i }, |b: &mut [T]| {
                        for start in own.clone().step_by(DEPTH) {
                            let columns = start..(start + DEPTH).min(own.end);
                            let a = gather(x, dims, columns.clone(), a, false);
                            let b = if same { a } else { gather(y, dims, columns, b, false) };
                            squares(i)
                                .filter(|s| !same || s[0] <= s[1])
                                .for_each(|square| add_square(a, b, square, to.as_mut_ptr(), i));
                        }
                    });
                });
            });
            others.chunks_exact(out.len()).for_each(|part| add(out, part));
        });
        return;
    }
    let chosen: Vec<[usize; 2]> = squares(i).filter(|s| !same || s[0] <= s[1]).collect();
    let to = Shared::new(out);
    with_scratch(DEPTH * i, |a: &mut [T]| {
        with_scratch(if same { 0 } else { DEPTH * i }, |b: &mut [T]| {
            for start in (0..total).step_by(DEPTH) {
                let columns = start..(start + DEPTH).min(total);
                let a = gather(x, dims, columns.clone(), a, true);
                let b = if same { a } else { gather(y, dims, columns, b, true) };
                // Squares are apart.
                each(chosen.len(), |s| add_square(a, b, chosen[s], to.at(0), i));
            }
        });
    });
}

/// The places of the squares of an i × i matrix.
fn squares(i: usize) -> impl Iterator<Item = [usize; 2]> {
    let n = i.div_ceil(SIDE);
    (0..n * n).map(move |k| [k / n, k % n])
}

/// to[square] += (aᵀ b)[square], `to` (i × i).
fn add_square<T: Real>(a: MatRef<'_, T>, b: MatRef<'_, T>, [row, col]: [usize; 2], to: *mut T, i: usize) {
    let n = i.div_ceil(SIDE);
    let (rows, cols) = (even(i, 1, n, row), even(i, 1, n, col));
    // SAFETY: the square lies inside, and belongs to the caller's task.
    let c = unsafe { MatMut::from_raw(to.wrapping_add(rows.start * i + cols.start), rows.len(), cols.len(), i, 1) };
    tile(Start::Current, a.col_range(rows).t(), b.col_range(cols), c);
}

/// Columns of the unfolding, column (l, t) at l · T + t, as rows (columns, I): in place, or in `to`.
pub(super) fn gather<'a, T: Real>(
    x: &'a [T],
    [_, i, t]: [usize; 3],
    columns: std::ops::Range<usize>,
    to: &'a mut [T],
    parallel: bool,
) -> MatRef<'a, T> {
    if t == 1 {
        return MatRef::new(&x[columns.start * i..columns.end * i], columns.len(), i);
    }
    let count = columns.len();
    let shared = Shared::new(to);
    let groups = if parallel { count.div_ceil(DEPTH / 8) } else { 1 };
    each(groups, |g| {
        let own = even(count, 1, groups, g);
        // SAFETY: these rows of the block belong to this task.
        let to = unsafe { shared.part(own.start * i, own.len() * i) };
        let (mut at, end, start) = (columns.start + own.start, columns.start + own.end, columns.start + own.start);
        while at < end {
            let (l, first) = (at / t, at % t);
            let run = (t - first).min(end - at);
            transpose((&x[l * i * t + first..], t), (i, run), (&mut to[(at - start) * i..], i));
            at += run;
        }
    });
    MatRef::new(to, count, i)
}
