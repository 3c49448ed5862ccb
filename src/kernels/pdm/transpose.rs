//! Transposition in the cache.

use crate::kernels::simd::{Kernel, Lanes, Real, dispatch};

/// Side of the blocks that are transposed in registers.
const BLOCK: usize = 4;

struct Transpose<'a, T> {
    from: &'a [T],
    rows: usize,
    cols: usize,
    to: &'a mut [T],
}

impl<T: Real> Kernel<T> for Transpose<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<V: Lanes<T>>(self) {
        let Self { from, rows, cols, to } = self;
        let (whole_rows, whole_cols) = (rows / BLOCK * BLOCK, cols / BLOCK * BLOCK);
        for i in (0..whole_rows).step_by(BLOCK) {
            for j in (0..whole_cols).step_by(BLOCK) {
                // SAFETY: the block lies inside both matrices, whose sizes `transpose` has checked.
                unsafe { block(from.as_ptr().add(i * cols + j), cols, to.as_mut_ptr().add(j * rows + i), rows) }
            }
            for j in whole_cols..cols {
                for k in i..i + BLOCK {
                    to[j * rows + k] = from[k * cols + j];
                }
            }
        }
        for i in whole_rows..rows {
            for j in 0..cols {
                to[j * rows + i] = from[i * cols + j];
            }
        }
    }
}

/// # Safety
/// `BLOCK` rows of `BLOCK` numbers must be readable and writable, `from_row` and `to_row` apart.
#[inline(always)]
unsafe fn block<T: Real>(from: *const T, from_row: usize, to: *mut T, to_row: usize) {
    // SAFETY: the caller's promise.
    unsafe {
        let mut lines = [[T::ZERO; BLOCK]; BLOCK];
        for (k, line) in lines.iter_mut().enumerate() {
            *line = from.add(k * from_row).cast::<[T; BLOCK]>().read();
        }
        for k in 0..BLOCK {
            let mut column = [T::ZERO; BLOCK];
            for (x, line) in column.iter_mut().zip(&lines) {
                *x = line[k];
            }
            to.add(k * to_row).cast::<[T; BLOCK]>().write(column);
        }
    }
}

/// Writes the transpose of `from` (rows × cols) to `to` (cols × rows).
pub(super) fn transpose<T: Real>(from: &[T], rows: usize, cols: usize, to: &mut [T]) {
    assert!(from.len() == rows * cols && to.len() == rows * cols);
    dispatch(Transpose { from, rows, cols, to });
}
