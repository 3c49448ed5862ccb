//! Many products of one shape.

use rayon::prelude::*;

use super::matmul::product;
use super::view::{distinct, extent};
use super::{MatMut, MatRef, Start};
use crate::kernels::simd::Real;
use std::marker::PhantomData;

/// Matrices of one shape that are read: matrix (o, i) starts at `o · strides[0] + i · strides[1]`.
///
/// Two batch dimensions, because attention over (batch, time, heads · width) has two: its matrix (b, h) is a view of the tensor as it
/// lies, and nothing is transposed in memory. A stride of 0 repeats a matrix.
pub struct BatchRef<'a, T> {
    ptr: *const T,
    batch: [usize; 2],
    strides: [usize; 2],
    rows: usize,
    cols: usize,
    row_stride: usize,
    col_stride: usize,
    data: PhantomData<&'a [T]>,
}

/// Matrices of one shape that are written; as [`BatchRef`], and no two elements share an address.
pub struct BatchMut<'a, T> {
    ptr: *mut T,
    batch: [usize; 2],
    strides: [usize; 2],
    rows: usize,
    cols: usize,
    row_stride: usize,
    col_stride: usize,
    data: PhantomData<&'a mut [T]>,
}

impl<T> Clone for BatchRef<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for BatchRef<'_, T> {}

// SAFETY: a shared borrow of a slice.
unsafe impl<T: Sync> Send for BatchRef<'_, T> {}
// SAFETY: as above.
unsafe impl<T: Sync> Sync for BatchRef<'_, T> {}
// SAFETY: an exclusive borrow of its elements.
unsafe impl<T: Send> Send for BatchMut<'_, T> {}
// SAFETY: `matmul_batched` hands each matrix to one task.
unsafe impl<T: Send> Sync for BatchMut<'_, T> {}

impl<'a, T: Real> BatchRef<'a, T> {
    /// `count` row-major matrices one after the other. Panics when `data` is too short.
    pub fn new(data: &'a [T], count: usize, rows: usize, cols: usize) -> Self {
        Self::with_strides(data, [1, count], [0, rows * cols], (rows, cols), (cols, 1))
    }

    /// Any strides: `batch` and `strides` are (outer, inner), `shape` is (rows, columns), and `matrix` its strides. Panics when the last element
    /// lies outside `data`.
    pub fn with_strides(
        data: &'a [T],
        batch: [usize; 2],
        strides: [usize; 2],
        (rows, cols): (usize, usize),
        (row_stride, col_stride): (usize, usize),
    ) -> Self {
        let need = extent(&[(batch[0], strides[0]), (batch[1], strides[1]), (rows, row_stride), (cols, col_stride)]);
        assert!(
            need.is_some_and(|n| n <= data.len()),
            "a batch {batch:?} of {rows}x{cols} does not fit in {} numbers",
            data.len()
        );
        Self { ptr: data.as_ptr(), batch, strides, rows, cols, row_stride, col_stride, data: PhantomData }
    }

    /// All matrices transposed. Free.
    pub fn t(self) -> Self {
        Self { rows: self.cols, cols: self.rows, row_stride: self.col_stride, col_stride: self.row_stride, ..self }
    }

    fn at(&self, o: usize, i: usize) -> MatRef<'a, T> {
        let ptr = self.ptr.wrapping_add(o * self.strides[0] + i * self.strides[1]);
        // SAFETY: the constructor checked the whole batch.
        unsafe { MatRef::from_raw(ptr, self.rows, self.cols, self.row_stride, self.col_stride) }
    }
}

impl<'a, T: Real> BatchMut<'a, T> {
    /// `count` row-major matrices one after the other. Panics when `data` is too short.
    pub fn new(data: &'a mut [T], count: usize, rows: usize, cols: usize) -> Self {
        Self::with_strides(data, [1, count], [0, rows * cols], (rows, cols), (cols, 1))
    }

    /// As [`BatchRef::with_strides`]. Panics also when the strides let two elements meet.
    pub fn with_strides(
        data: &'a mut [T],
        batch: [usize; 2],
        strides: [usize; 2],
        (rows, cols): (usize, usize),
        (row_stride, col_stride): (usize, usize),
    ) -> Self {
        let dims = [(batch[0], strides[0]), (batch[1], strides[1]), (rows, row_stride), (cols, col_stride)];
        assert!(
            extent(&dims).is_some_and(|n| n <= data.len()) && distinct(dims),
            "a batch {batch:?} of {rows}x{cols} overlaps itself or does not fit in {} numbers",
            data.len()
        );
        Self { ptr: data.as_mut_ptr(), batch, strides, rows, cols, row_stride, col_stride, data: PhantomData }
    }

    /// # Safety
    /// No two live views of the same matrix.
    unsafe fn at(&self, o: usize, i: usize) -> MatMut<'_, T> {
        let ptr = self.ptr.wrapping_add(o * self.strides[0] + i * self.strides[1]);
        // SAFETY: the constructor checked the whole batch.
        unsafe { MatMut::from_raw(ptr, self.rows, self.cols, self.row_stride, self.col_stride) }
    }
}

/// C = A·B, or C += A·B when `accumulate`, for every matrix of the batch, on the threads of the current rayon pool.
///
/// Each product gives the bits that [`matmul`](super::matmul) gives for it. Small products share tasks; large ones are cut
/// themselves. Panics when batch sizes or shapes do not agree.
pub fn matmul_batched<T: Real>(a: BatchRef<'_, T>, b: BatchRef<'_, T>, c: BatchMut<'_, T>, accumulate: bool) {
    assert!(a.batch == c.batch && b.batch == c.batch, "matmul_batched: batches {:?}, {:?} and {:?}", a.batch, b.batch, c.batch);
    let start = if accumulate { Start::Current } else { Start::Zero };
    let (count, inner) = (c.batch[0] * c.batch[1], c.batch[1]);
    let one = |i: usize, parallel: bool| {
        let (o, i) = (i / inner, i % inner);
        // SAFETY: every index is visited once.
        product(start, a.at(o, i), b.at(o, i), unsafe { c.at(o, i) }, parallel);
    };
    let work = a.rows * a.cols * b.cols;
    if work >= 1 << 23 || count < 2 || work * count < 1 << 19 {
        (0..count).for_each(|i| one(i, true));
    } else {
        let group = (1usize << 20).div_ceil(work.max(1)).max(count.div_ceil(256));
        (0..count.div_ceil(group)).into_par_iter().with_max_len(1).for_each(|g| {
            (g * group..count.min((g + 1) * group)).for_each(|i| one(i, false));
        });
    }
}
