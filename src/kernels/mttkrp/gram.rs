//! Gram matrices of factors and their elementwise products: R × R numbers, always added up in f64.

use super::tasks::Shared;
use super::tasks::{each, even};
use crate::kernels::gemm::{MatMut, MatRef, Start, tile, with_scratch};
use crate::kernels::simd::Real;
use crate::kernels::sums::{add, mul};

/// Rows of a task at least, rows of a block, and tasks at most.
const LEAST: usize = 2048;
const BLOCK: usize = 128;
const TASKS: usize = 64;

/// UᵀU of `u` (I, rank) in rows: (rank, rank), symmetric to the bit. 2·I·rank² operations in f64, one read of `u`.
pub fn gram<T: Real>(u: &[T], rank: usize) -> Vec<f64> {
    let mut out = vec![0.0; rank * rank];
    gram_into(u, rank, &mut out);
    out
}

/// [`gram`] to `out`.
pub fn gram_into<T: Real>(u: &[T], rank: usize, out: &mut [f64]) {
    cross_into(u, u, rank, out);
}

/// UᵀV of two matrices (I, rank) in rows.
pub(super) fn cross_into<T: Real>(u: &[T], v: &[T], rank: usize, out: &mut [f64]) {
    assert!(out.len() == rank * rank && u.len() == v.len(), "gram: a result of {rank} x {rank}");
    assert!(rank > 0 && u.len().is_multiple_of(rank) || u.is_empty(), "gram: {} numbers do not make rows of {rank}", u.len());
    out.fill(0.0);
    let rows = u.len().checked_div(rank).unwrap_or(0);
    let same = std::ptr::eq(u, v);
    // Parts together take a quarter of a million numbers at most.
    let parts = (rows / LEAST).clamp(1, TASKS.min((1 << 18) / (rank * rank).max(1)).max(1));
    with_scratch((parts - 1) * out.len(), |others: &mut [f64]| {
        others.fill(0.0);
        let (first, rest) = (Shared::new(out), Shared::new(others));
        each(parts, |p| {
            // SAFETY: part p of the sums belongs to this task.
            let to = unsafe { if p == 0 { first.part(0, rank * rank) } else { rest.part((p - 1) * rank * rank, rank * rank) } };
            let rows = even(rows, 1, parts, p);
            with_scratch(2 * BLOCK * rank, |wide: &mut [f64]| {
                for start in rows.clone().step_by(BLOCK) {
                    let count = BLOCK.min(rows.end - start);
                    let (a, b) = wide[..2 * count * rank].split_at_mut(count * rank);
                    let widen = |to: &mut [f64], from: &[T]| to.iter_mut().zip(from).for_each(|(to, x)| *to = x.to_f64());
                    widen(a, &u[start * rank..][..count * rank]);
                    let a = MatRef::new(a, count, rank);
                    let b = if same {
                        a
                    } else {
                        widen(b, &v[start * rank..][..count * rank]);
                        MatRef::new(b, count, rank)
                    };
                    tile(Start::Current, a.t(), b, MatMut::new(to, rank, rank));
                }
            });
        });
        others.chunks_exact(out.len().max(1)).for_each(|part| add(out, part));
    });
}

/// The elementwise product of matrices of one size; all ones where there are none. `len` numbers each.
pub fn hadamard<'a>(matrices: impl IntoIterator<Item = &'a [f64]>, len: usize) -> Vec<f64> {
    let mut out = vec![1.0; len];
    matrices.into_iter().for_each(|m| mul(&mut out, m));
    out
}

/// The elementwise product of all Grams but that of `mode`: the matrix of the normal equations of that mode.
pub fn hadamard_except(grams: &[Vec<f64>], mode: usize, len: usize) -> Vec<f64> {
    hadamard(grams.iter().enumerate().filter(|&(m, _)| m != mode).map(|(_, g)| &g[..]), len)
}
