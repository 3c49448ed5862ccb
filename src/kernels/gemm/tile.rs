//! Products on one thread, for use inside fused kernels.

use super::micro::{self, Init, Job};
use super::{MatMut, MatRef, Packed};
use crate::kernels::simd::Real;

/// What the sums of a product start from.
#[derive(Clone, Copy, Debug)]
pub enum Start<'a, T> {
    /// C = A·B.
    Zero,
    /// C += A·B.
    Current,
    /// C = bias + A·B, one bias per column of C (the bias of a linear layer on rows of samples).
    Row(&'a [T]),
    /// C = bias + A·B, one bias per row of C.
    Column(&'a [T]),
}

/// The right-hand matrix of [`tile`].
#[derive(Clone, Copy)]
pub enum Right<'a, T> {
    Packed(&'a Packed<T>),
    /// Read in place; its column stride must be 1.
    Plain(MatRef<'a, T>),
}

impl<'a, T> From<&'a Packed<T>> for Right<'a, T> {
    fn from(b: &'a Packed<T>) -> Self {
        Right::Packed(b)
    }
}

impl<'a, T> From<MatRef<'a, T>> for Right<'a, T> {
    fn from(b: MatRef<'a, T>) -> Self {
        Right::Plain(b)
    }
}

/// C (m × n) = start + A (m × k) · B (k × n) on the calling thread.
///
/// A may have any strides: a weight gradient dW += dYᵀ·X passes `dy.t()` and `x` as they lie. B is a [`Packed`] matrix or a view with
/// unit column stride; another orientation is packed first, into a [`Packed`] that the caller keeps. C needs unit column stride.
/// Each element is a chain of fused multiply-adds over k in order, from its start value: the same bits for every instruction set and
/// however the caller cuts the matrices.
///
/// Safe to call inside a kernel that runs under [`dispatch`](crate::kernels::simd::dispatch): it dispatches by itself, to code
/// shared by all callers. Meant for matrices that fit the caches (rows of A are blocked, columns of B are not); whole large matrices
/// belong to [`matmul`](super::matmul). 2·m·n·k operations.
///
/// Panics when the shapes do not agree, or on strides other than the above.
pub fn tile<'b, T: Real>(start: Start<'_, T>, a: MatRef<'_, T>, b: impl Into<Right<'b, T>>, mut c: MatMut<'_, T>) {
    let (m, n, k) = (c.rows(), c.cols(), a.cols());
    let (rows, cols, ptr, b_row, b_panel, b_padded) = match b.into() {
        Right::Packed(b) => (b.rows(), b.cols(), b.ptr(), T::LANES, b.rows() * T::LANES, true),
        Right::Plain(b) => {
            assert!(b.col_stride() == 1 || b.cols() <= 1, "tile: a plain B needs unit column stride, not {}", b.col_stride());
            (b.rows(), b.cols(), b.ptr(), b.row_stride(), T::LANES, false)
        }
    };
    assert!(a.rows() == m && rows == k && cols == n, "tile: ({}x{k}) * ({rows}x{cols}) is not {m}x{n}", a.rows());
    assert!(c.col_stride() == 1 || n <= 1, "tile: C needs unit column stride, not {}", c.col_stride());
    let init = match start {
        Start::Zero => Init::Zero,
        Start::Current => Init::Current,
        Start::Row(bias) => {
            assert_eq!(bias.len(), n, "tile: one bias per column of C");
            Init::Row(bias.as_ptr())
        }
        Start::Column(bias) => {
            assert_eq!(bias.len(), m, "tile: one bias per row of C");
            Init::Column(bias.as_ptr())
        }
    };
    let job = Job {
        rows: m,
        cols: n,
        depth: k,
        a: a.ptr(),
        a_row: a.row_stride(),
        a_col: a.col_stride(),
        a_block: m,
        a_step: 0,
        b: ptr,
        b_row,
        b_panel,
        b_padded,
        init,
        c: c.ptr(),
        ldc: c.row_stride(),
    };
    // SAFETY: the views vouch for their shapes, which agree; C is borrowed exclusively.
    unsafe { micro::run(job) }
}
