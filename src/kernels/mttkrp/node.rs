//! Contractions of an inner node of the dimension tree, column by column of the rank.

use rayon::prelude::*;

use super::khatri_rao::{KhatriRao, Rows};
use super::right::{axpy, dot};
use super::tasks::{Shared, even};
use crate::kernels::gemm::with_scratch;
use crate::kernels::simd::{Kernel, Lanes, Real, dispatch};

/// Numbers of a node that a task reads.
const TASK: usize = 1 << 16;
/// Numbers of a row that are added up at a time: the sums stay in the first-level cache.
const RUN: usize = 1024;

/// Runs `work(r, part)` for every column and part, on the pool where the node is worth it.
fn grid(rank: usize, parts: usize, numbers: usize, work: impl Fn(usize, usize) + Sync + Send) {
    if numbers > TASK {
        (0..rank * parts).into_par_iter().for_each(|k| work(k / parts, k % parts));
    } else {
        (0..rank * parts).for_each(|k| work(k / parts, k % parts));
    }
}

/// `out[r, i] = Σ_j node[r, i, j] · by[j, r]`; `node` is (R, a, b), `out` (R, a). 2·R·a·b operations, one read of the node.
pub(super) fn keep_left<T: Real>(node: &[T], [a, b]: [usize; 2], by: &KhatriRao<'_, T>, out: &mut [T]) {
    let rank = by.width();
    assert!(node.len() == rank * a * b && by.rows() == b && out.len() == rank * a);
    with_scratch(rank * b, |columns: &mut [T]| {
        by.fill_columns(0..b, columns, b);
        let (columns, out) = (&columns[..], Shared::new(out));
        let parts = (a * b).div_ceil(TASK).min(a);
        grid(rank, parts, node.len(), |r, p| {
            let rows = even(a, 1, parts, p);
            let node = &node[(r * a + rows.start) * b..(r * a + rows.end) * b];
            // SAFETY: these rows of column r belong to this task.
            let out = unsafe { out.part(r * a + rows.start, rows.len()) };
            dispatch(KeepRows { node, by: &columns[r * b..][..b], out });
        });
    });
}

/// `out[r, j] = Σ_i node[r, i, j] · by[i, r]`; `node` is (R, a, b), `out` (R, b). 2·R·a·b operations, one read of the node.
pub(super) fn keep_right<T: Real>(node: &[T], [a, b]: [usize; 2], by: &KhatriRao<'_, T>, out: &mut [T]) {
    let rank = by.width();
    assert!(node.len() == rank * a * b && by.rows() == a && out.len() == rank * b);
    with_scratch(rank * a, |columns: &mut [T]| {
        by.fill_columns(0..a, columns, a);
        let (columns, out) = (&columns[..], Shared::new(out));
        let parts = b.div_ceil(RUN);
        grid(rank, parts, node.len(), |r, p| {
            let cols = even(b, T::LANES, parts, p);
            // SAFETY: these columns of row r belong to this task.
            let out = unsafe { out.part(r * b + cols.start, cols.len()) };
            dispatch(KeepCols { node: &node[r * a * b + cols.start..], step: b, by: &columns[r * a..][..a], out });
        });
    });
}

/// out[i] = node[i, ..] · by
struct KeepRows<'a, T> {
    node: &'a [T],
    by: &'a [T],
    out: &'a mut [T],
}

impl<T: Real> Kernel<T> for KeepRows<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<V: Lanes<T>>(self) {
        for (row, to) in self.node.chunks_exact(self.by.len()).zip(self.out) {
            *to = dot::<T, V>(row, self.by);
        }
    }
}

/// out = Σ_i by[i] · node[i, ..]
struct KeepCols<'a, T> {
    node: &'a [T],
    step: usize,
    by: &'a [T],
    out: &'a mut [T],
}

impl<T: Real> Kernel<T> for KeepCols<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<V: Lanes<T>>(self) {
        self.out.fill(T::ZERO);
        for (i, &x) in self.by.iter().enumerate() {
            axpy::<T, V>(x, &self.node[i * self.step..][..self.out.len()], self.out);
        }
    }
}
