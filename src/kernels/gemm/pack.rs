//! The right-hand matrix rearranged into panels that the register tile reads from end to end.

use std::cell::RefCell;
use std::marker::PhantomData;

use super::MatRef;
use crate::kernels::simd::Real;

/// Types of which every bit pattern is a value, and a power of two of bytes at most 64 long.
///
/// # Safety
/// Memory that was written as something else is read as this.
pub(crate) unsafe trait Plain: Copy {}

// SAFETY: `f32` and `f64`, of which every bit pattern is a number.
unsafe impl<T: Real> Plain for T {}
// SAFETY: as for every integer.
unsafe impl Plain for u16 {}

/// Numbers at an address divisible by 64.
pub(super) struct Aligned {
    lines: Vec<Line>,
}

#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([u64; 8]);

impl Aligned {
    pub(super) const fn new() -> Self {
        Self { lines: Vec::new() }
    }

    /// Room for `len` numbers, of unspecified value.
    pub(super) fn reserve<T: Plain>(&mut self, len: usize) -> &mut [T] {
        const { assert!(64 % size_of::<T>() == 0 && align_of::<T>() <= 64) };
        let lines = len.div_ceil(64 / size_of::<T>());
        if self.lines.len() < lines {
            // Nothing worth keeping is copied when the block moves.
            self.lines.clear();
            self.lines.resize(lines, Line([0; 8]));
        }
        // SAFETY: the lines hold at least `len` of them, and every bit pattern is one.
        unsafe { std::slice::from_raw_parts_mut(self.lines.as_mut_ptr().cast(), len) }
    }

    pub(super) fn as_ptr<T: Real>(&self) -> *const T {
        self.lines.as_ptr().cast()
    }
}

thread_local! {
    static SCRATCH: RefCell<Vec<Aligned>> = const { RefCell::new(Vec::new()) };
}

/// Runs `work` with room for `len` numbers (unspecified values, 64-byte aligned) that this thread keeps for the next call.
/// Calls may nest, also by way of a stolen task: each takes its own block.
pub(crate) fn with_scratch<T: Plain, R>(len: usize, work: impl FnOnce(&mut [T]) -> R) -> R {
    let mut block = SCRATCH.with_borrow_mut(|free| free.pop()).unwrap_or(Aligned::new());
    let result = work(block.reserve(len));
    SCRATCH.with_borrow_mut(|free| free.push(block));
    result
}

/// A matrix B (k × n) as panels of `T::LANES` columns, ready to be the right-hand side of [`tile`](super::tile) any number of times.
///
/// Panel p holds columns `p·LANES ..`, row after row, the last panel padded with zeros; the layout is the same for every instruction
/// set. Packing reads B once: O(k·n), from any orientation, so weights stored as (out × in) are packed as `Packed::new(w.t())` for
/// X·Wᵀ and as `Packed::new(w)` for dY·W.
pub struct Packed<T> {
    data: Aligned,
    rows: usize,
    cols: usize,
    numbers: PhantomData<T>,
}

impl<T: Real> Packed<T> {
    /// A 0 × 0 matrix to [`assign`](Packed::assign) to.
    pub const fn empty() -> Self {
        Self { data: Aligned::new(), rows: 0, cols: 0, numbers: PhantomData }
    }

    /// Packs `b`, whatever its strides.
    pub fn new(b: MatRef<'_, T>) -> Self {
        let mut packed = Self::empty();
        packed.assign(b);
        packed
    }

    /// Packs another matrix into the same memory (grown when too small).
    pub fn assign(&mut self, b: MatRef<'_, T>) {
        let panels = b.cols().div_ceil(T::LANES);
        let to = self.data.reserve::<T>(panels * b.rows() * T::LANES);
        pack(b, to);
        (self.rows, self.cols) = (b.rows(), b.cols());
    }

    /// k: the rows of the matrix that was packed.
    #[inline]
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// n: its columns.
    #[inline]
    pub fn cols(&self) -> usize {
        self.cols
    }

    #[inline]
    pub(super) fn ptr(&self) -> *const T {
        self.data.as_ptr()
    }
}

impl<T: Real> Default for Packed<T> {
    fn default() -> Self {
        Self::empty()
    }
}

/// Writes the panels of `b` to `to`, which must hold `ceil(cols / LANES) · rows · LANES` numbers at least.
pub(super) fn pack<T: Real>(b: MatRef<'_, T>, to: &mut [T]) {
    let n = T::LANES;
    let size = b.rows() * n;
    let panels = b.cols().div_ceil(n);
    assert!(to.len() >= panels * size);
    for p in 0..panels {
        let columns = p * n..b.cols().min((p + 1) * n);
        pack_panel(b.col_range(columns), &mut to[p * size..(p + 1) * size], n);
    }
}

/// One panel: row k of `b` (at most `width` columns) goes to `to[k · width..]`, padded with zeros.
pub(super) fn pack_panel<T: Real>(b: MatRef<'_, T>, to: &mut [T], width: usize) {
    assert!(b.cols() <= width && to.len() >= b.rows() * width);
    if b.rows() == 0 || b.cols() == 0 {
        to[..b.rows() * width].fill(T::ZERO);
        return;
    }
    // Whole panels of the widths in use have loops of constant length.
    // SAFETY: just checked.
    unsafe {
        match (b.cols() == width, width) {
            (true, 16) => whole_panel::<T, 16>(b, to),
            (true, 12) => whole_panel::<T, 12>(b, to),
            (true, 8) => whole_panel::<T, 8>(b, to),
            (true, 6) => whole_panel::<T, 6>(b, to),
            _ => {
                for (k, row) in to.chunks_exact_mut(width).enumerate().take(b.rows()) {
                    let from = b.ptr().add(k * b.row_stride());
                    for (j, x) in row[..b.cols()].iter_mut().enumerate() {
                        *x = *from.add(j * b.col_stride());
                    }
                    row[b.cols()..].fill(T::ZERO);
                }
            }
        }
    }
}

/// # Safety
/// `b` has `W` columns, and `to` room for all of it.
unsafe fn whole_panel<T: Real, const W: usize>(b: MatRef<'_, T>, to: &mut [T]) {
    let (row, col) = (b.row_stride(), b.col_stride());
    let (mut from, mut to) = (b.ptr(), to.as_mut_ptr());
    // SAFETY: row k and its W elements are inside the view, and `to` holds W numbers for each row.
    unsafe {
        if col == 1 {
            for _ in 0..b.rows() {
                to.copy_from_nonoverlapping(from, W);
                (from, to) = (from.wrapping_add(row), to.wrapping_add(W));
            }
        } else {
            // Four rows at a time: with unit row stride a column gives four neighbours.
            let mut left = b.rows();
            while left >= 4 {
                for j in 0..W {
                    let x: [T; 4] = std::array::from_fn(|k| *from.add(j * col + k * row));
                    for (k, &x) in x.iter().enumerate() {
                        *to.add(k * W + j) = x;
                    }
                }
                (from, to, left) = (from.wrapping_add(4 * row), to.wrapping_add(4 * W), left - 4);
            }
            for _ in 0..left {
                for j in 0..W {
                    *to.add(j) = *from.add(j * col);
                }
                (from, to) = (from.wrapping_add(row), to.wrapping_add(W));
            }
        }
    }
}
