//! Tensor times matrix.

use std::ops::Range;

use super::super::mttkrp::around;
use super::super::mttkrp::khatri_rao::Rows;
use super::super::mttkrp::left::left;
use super::super::mttkrp::right::right;
use super::super::mttkrp::tasks::{Shared, each, even};
use crate::kernels::gemm::{BatchMut, BatchRef, MatMut, MatRef, Packed, Start, matmul, matmul_batched, tile, with_scratch};
use crate::kernels::simd::Real;
use crate::kernels::transpose::transpose;

/// Multiply-adds of a task.
const TASK: usize = 1 << 20;
/// Tasks at most.
const TASKS: usize = 256;
/// Rows of M up to which X passes faster through the contractions of MTTKRP, which read it as it lies, than through a product that packs
/// it.
const FEW: usize = 48;
/// Rows of X of a task, where the last mode is multiplied.
const ROWS: usize = 1024;

/// `out = X ×_mode M`: `out[…, j, …] = Σ_i M[j, i] · x[…, i, …]`, the size of the mode going from I to J.
///
/// `x` is a tensor of `shape` in C order, `m` is (J, I_mode) with any strides (`u.t()` for the projection by a factor `u`), `out` has J
/// in the place of I_mode.
///
/// X is seen as (I_L, I, I_T). Up to 48 rows of M the contractions of MTTKRP are used, which read X once and as it lies; above, one
/// matrix product for the first and the last mode, and I_L products of (J × I)·(I × I_T) between. Where I_T is shorter than a vector,
/// these are done with lanes along J. 2·J·ΠI operations; X is read and `out` written once. The same bytes at any number of threads.
///
/// # Panics
/// When a slice or `m` has not the size that `shape` asks for.
pub fn ttm<T: Real>(x: &[T], shape: &[usize], m: MatRef<'_, T>, mode: usize, out: &mut [T]) {
    let [l, i, t] = around(shape, mode);
    let j = m.rows();
    assert_eq!(x.len(), l * i * t, "ttm: a tensor of shape {shape:?}");
    assert_eq!(m.cols(), i, "ttm: a matrix of {j} x {} along mode {mode} of shape {shape:?}", m.cols());
    assert_eq!(out.len(), l * j * t, "ttm: a result of {l} x {j} x {t}");
    if out.is_empty() {
        return;
    }
    if i == 0 {
        out.fill(T::ZERO);
    } else if j <= FEW && t == 1 && i >= 2 * T::LANES {
        last(x, [l, i], &Matrix(m), out);
    } else if j <= FEW && t >= 4 * T::LANES {
        let to = Shared::new(out);
        let tasks = (l * i * t * j / TASK).clamp(1, TASKS).min(l);
        each(tasks, |task| {
            for l in even(l, 1, tasks, task) {
                // SAFETY: the results of these l belong to this task.
                let to = unsafe { to.part(l * j * t, j * t) };
                left(&x[l * i * t..][..i * t], [i, t, 1], &Matrix(m), None, to);
            }
        });
    } else if t == 1 {
        matmul(MatRef::new(x, l, i), m.t(), MatMut::new(out, l, j), false);
    } else if l == 1 {
        matmul(m, MatRef::new(x, i, t), MatMut::new(out, j, t), false);
    } else if t.next_multiple_of(T::LANES) * j <= 2 * t * j.next_multiple_of(T::LANES) {
        let m = strided(m, l);
        matmul_batched(m, BatchRef::new(x, l, i, t), BatchMut::new(out, l, j, t), false);
    } else {
        narrow(x, [l, i, t], m, out);
    }
}

/// M as the right-hand side of the contractions: Mᵀ (I, J), row i is column i of M.
struct Matrix<'a, T>(MatRef<'a, T>);

impl<T: Real> Rows<T> for Matrix<'_, T> {
    fn rows(&self) -> usize {
        self.0.cols()
    }
    fn width(&self) -> usize {
        self.0.rows()
    }
    fn fill(&self, range: Range<usize>, out: &mut [T]) {
        for (i, to) in range.zip(out.chunks_exact_mut(self.width())) {
            to.iter_mut().enumerate().for_each(|(j, to)| *to = self.0.get(j, i));
        }
    }
    fn fill_columns(&self, range: Range<usize>, out: &mut [T], lead: usize) {
        for j in 0..self.width() {
            let to = &mut out[j * lead..][..range.len()];
            to.iter_mut().zip(range.clone()).for_each(|(to, i)| *to = self.0.get(j, i));
        }
    }
}

/// The last mode: blocks of rows, the result (J, rows) transposed while it is in the cache.
fn last<T: Real>(x: &[T], [l, i]: [usize; 2], m: &Matrix<'_, T>, out: &mut [T]) {
    let j = m.width();
    let to = Shared::new(out);
    let blocks = l.div_ceil(ROWS);
    each(blocks, |block| {
        let ls = even(l, 4, blocks, block);
        with_scratch(j * ls.len(), |flipped: &mut [T]| {
            right(&x[ls.start * i..ls.end * i], [1, ls.len(), i], None, m, flipped);
            // SAFETY: these rows of the result belong to this task.
            let to = unsafe { to.part(ls.start * j, ls.len() * j) };
            transpose((flipped, ls.len()), (j, ls.len()), (to, j));
        });
    });
}

/// The matrix for every product of a batch.
fn strided<T: Real>(m: MatRef<'_, T>, count: usize) -> BatchRef<'_, T> {
    let extent = (m.rows() - 1) * m.row_stride() + (m.cols() - 1) * m.col_stride() + 1;
    // SAFETY: the view vouches for its elements, of which the last is the farthest.
    let data = unsafe { std::slice::from_raw_parts(m.ptr(), extent) };
    BatchRef::with_strides(data, [1, count], [0, 0], (m.rows(), m.cols()), (m.row_stride(), m.col_stride()))
}

/// I_T shorter than a vector: out_lᵀ (T × J) = x_lᵀ (T × I) · Mᵀ, transposed while it is in the cache.
fn narrow<T: Real>(x: &[T], [l, i, t]: [usize; 3], m: MatRef<'_, T>, out: &mut [T]) {
    let j = m.rows();
    let packed = Packed::new(m.t());
    let tasks = (l * i * t * j / TASK).clamp(1, TASKS).min(l);
    let to = Shared::new(out);
    each(tasks, |task| {
        let ls = even(l, 1, tasks, task);
        with_scratch(t * j, |flipped: &mut [T]| {
            for l in ls {
                let x = MatRef::new(&x[l * i * t..][..i * t], i, t);
                tile(Start::Zero, x.t(), &packed, MatMut::new(flipped, t, j));
                // SAFETY: the result of this l belongs to this task.
                let to = unsafe { to.part(l * j * t, j * t) };
                transpose((flipped, j), (t, j), (to, t));
            }
        });
    });
}
