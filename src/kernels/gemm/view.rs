//! Matrices as views: a slice, a shape and two strides.

use std::marker::PhantomData;
use std::ops::Range;

use crate::kernels::simd::Real;

/// A matrix that is read: element (i, j) lies at `i · row_stride + j · col_stride` of the slice.
///
/// Every orientation is a view of the same data: [`MatRef::t`] swaps the strides. A stride of 0 repeats one row or column.
pub struct MatRef<'a, T> {
    ptr: *const T,
    rows: usize,
    cols: usize,
    row_stride: usize,
    col_stride: usize,
    data: PhantomData<&'a [T]>,
}

impl<T> Clone for MatRef<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for MatRef<'_, T> {}

// SAFETY: a MatRef is a shared borrow of a slice.
unsafe impl<T: Sync> Send for MatRef<'_, T> {}
// SAFETY: as above.
unsafe impl<T: Sync> Sync for MatRef<'_, T> {}

/// The largest offset of a strided block plus one (0 when the block is empty), or `None` when it overflows.
pub(super) fn extent(dims: &[(usize, usize)]) -> Option<usize> {
    if dims.iter().any(|&(n, _)| n == 0) {
        return Some(0);
    }
    dims.iter().try_fold(1usize, |sum, &(n, stride)| sum.checked_add((n - 1).checked_mul(stride)?))
}

/// Whether no two index tuples share an address: from the smallest stride up, each steps over all that lies below it.
/// (Sufficient, and true for every layout that is a permuted and padded contiguous block.)
pub(super) fn distinct<const N: usize>(mut dims: [(usize, usize); N]) -> bool {
    if dims.iter().any(|&(n, _)| n == 0) {
        return true;
    }
    dims.sort_unstable_by_key(|&(_, stride)| stride);
    let mut reach = 0;
    for (n, stride) in dims.into_iter().filter(|d| d.0 > 1) {
        if stride <= reach {
            return false;
        }
        reach += (n - 1) * stride;
    }
    true
}

impl<'a, T: Real> MatRef<'a, T> {
    /// The first `rows · cols` numbers of `data`, row by row. Panics when there are fewer.
    pub fn new(data: &'a [T], rows: usize, cols: usize) -> Self {
        Self::with_strides(data, rows, cols, cols, 1)
    }

    /// Any strides. Panics when the last element lies outside `data`.
    pub fn with_strides(data: &'a [T], rows: usize, cols: usize, row_stride: usize, col_stride: usize) -> Self {
        let need = extent(&[(rows, row_stride), (cols, col_stride)]);
        assert!(
            need.is_some_and(|n| n <= data.len()),
            "a {rows}x{cols} view with strides {row_stride}, {col_stride} does not fit in {} numbers",
            data.len()
        );
        // SAFETY: just checked.
        unsafe { Self::from_raw(data.as_ptr(), rows, cols, row_stride, col_stride) }
    }

    /// # Safety
    /// All elements must be readable for `'a` and not be written meanwhile.
    pub(in crate::kernels) unsafe fn from_raw(
        ptr: *const T,
        rows: usize,
        cols: usize,
        row_stride: usize,
        col_stride: usize,
    ) -> Self {
        Self { ptr, rows, cols, row_stride, col_stride, data: PhantomData }
    }

    /// The transpose: the same numbers, rows and columns swapped. Free.
    #[inline]
    pub fn t(self) -> Self {
        Self { rows: self.cols, cols: self.rows, row_stride: self.col_stride, col_stride: self.row_stride, ..self }
    }

    /// Rows `range`. Panics when it leaves the matrix.
    #[inline]
    pub fn row_range(self, range: Range<usize>) -> Self {
        assert!(range.start <= range.end && range.end <= self.rows, "rows {range:?} of {}", self.rows);
        Self { ptr: self.ptr.wrapping_add(range.start * self.row_stride), rows: range.len(), ..self }
    }

    /// Columns `range`. Panics when it leaves the matrix.
    #[inline]
    pub fn col_range(self, range: Range<usize>) -> Self {
        self.t().row_range(range).t()
    }

    /// Element (i, j). Panics when it lies outside.
    #[inline]
    pub fn get(&self, i: usize, j: usize) -> T {
        assert!(i < self.rows && j < self.cols, "({i}, {j}) of {}x{}", self.rows, self.cols);
        // SAFETY: inside the shape, hence inside the slice by construction.
        unsafe { *self.ptr.add(i * self.row_stride + j * self.col_stride) }
    }

    #[inline]
    pub fn rows(&self) -> usize {
        self.rows
    }
    #[inline]
    pub fn cols(&self) -> usize {
        self.cols
    }
    #[inline]
    pub fn row_stride(&self) -> usize {
        self.row_stride
    }
    #[inline]
    pub fn col_stride(&self) -> usize {
        self.col_stride
    }
    #[inline]
    pub(in crate::kernels) fn ptr(&self) -> *const T {
        self.ptr
    }
}

/// A matrix that is written; as [`MatRef`], and no two elements share an address.
pub struct MatMut<'a, T> {
    ptr: *mut T,
    rows: usize,
    cols: usize,
    row_stride: usize,
    col_stride: usize,
    data: PhantomData<&'a mut [T]>,
}

// SAFETY: a MatMut is an exclusive borrow of its elements.
unsafe impl<T: Send> Send for MatMut<'_, T> {}
// SAFETY: a shared MatMut only reads.
unsafe impl<T: Sync> Sync for MatMut<'_, T> {}

impl<'a, T: Real> MatMut<'a, T> {
    /// The first `rows · cols` numbers of `data`, row by row. Panics when there are fewer.
    pub fn new(data: &'a mut [T], rows: usize, cols: usize) -> Self {
        Self::with_strides(data, rows, cols, cols, 1)
    }

    /// Any strides that keep the elements apart. Panics when they do not, or when the last element lies outside `data`.
    pub fn with_strides(data: &'a mut [T], rows: usize, cols: usize, row_stride: usize, col_stride: usize) -> Self {
        let dims = [(rows, row_stride), (cols, col_stride)];
        assert!(
            extent(&dims).is_some_and(|n| n <= data.len()) && distinct(dims),
            "a {rows}x{cols} view with strides {row_stride}, {col_stride} overlaps itself or does not fit in {} numbers",
            data.len()
        );
        // SAFETY: just checked.
        unsafe { Self::from_raw(data.as_mut_ptr(), rows, cols, row_stride, col_stride) }
    }

    /// # Safety
    /// The elements must be writable for `'a`, apart from each other, and touched through this view alone.
    pub(in crate::kernels) unsafe fn from_raw(
        ptr: *mut T,
        rows: usize,
        cols: usize,
        row_stride: usize,
        col_stride: usize,
    ) -> Self {
        Self { ptr, rows, cols, row_stride, col_stride, data: PhantomData }
    }

    /// The transpose. Free.
    #[inline]
    pub fn t(self) -> Self {
        Self { rows: self.cols, cols: self.rows, row_stride: self.col_stride, col_stride: self.row_stride, ..self }
    }

    /// The same view for a shorter time.
    #[inline]
    pub fn reborrow(&mut self) -> MatMut<'_, T> {
        MatMut { data: PhantomData, ..*self }
    }

    /// To read what is there.
    #[inline]
    pub fn as_ref(&self) -> MatRef<'_, T> {
        // SAFETY: the borrow of self keeps writers away.
        unsafe { MatRef::from_raw(self.ptr, self.rows, self.cols, self.row_stride, self.col_stride) }
    }

    /// Rows `range`. Panics when it leaves the matrix.
    #[inline]
    pub fn row_range(self, range: Range<usize>) -> Self {
        assert!(range.start <= range.end && range.end <= self.rows, "rows {range:?} of {}", self.rows);
        Self { ptr: self.ptr.wrapping_add(range.start * self.row_stride), rows: range.len(), ..self }
    }

    /// Columns `range`. Panics when it leaves the matrix.
    #[inline]
    pub fn col_range(self, range: Range<usize>) -> Self {
        self.t().row_range(range).t()
    }

    /// Writes element (i, j). Panics when it lies outside.
    #[inline]
    pub fn set(&mut self, i: usize, j: usize, x: T) {
        assert!(i < self.rows && j < self.cols, "({i}, {j}) of {}x{}", self.rows, self.cols);
        // SAFETY: inside the shape, hence inside the slice by construction.
        unsafe { *self.ptr.add(i * self.row_stride + j * self.col_stride) = x }
    }

    #[inline]
    pub fn rows(&self) -> usize {
        self.rows
    }
    #[inline]
    pub fn cols(&self) -> usize {
        self.cols
    }
    #[inline]
    pub fn row_stride(&self) -> usize {
        self.row_stride
    }
    #[inline]
    pub fn col_stride(&self) -> usize {
        self.col_stride
    }
    #[inline]
    pub(in crate::kernels) fn ptr(&mut self) -> *mut T {
        self.ptr
    }
}
