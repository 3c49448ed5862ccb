//! Blocks of a matrix, each written by a task of its own.

use std::marker::PhantomData;
use std::ops::Range;

/// A block of a row-major matrix that one task writes while others write other blocks.
#[derive(Debug)]
pub(super) struct Block<'a, T> {
    /// The matrix.
    data: *mut T,
    stride: usize,
    rows: Range<usize>,
    columns: Range<usize>,
    borrow: PhantomData<&'a mut [T]>,
}

// SAFETY: blocks of one matrix are disjoint (see `cut`), so a block is an exclusive borrow of its elements.
unsafe impl<T: Send> Send for Block<'_, T> {}

impl<'a, T> Block<'a, T> {
    /// Cuts a matrix with `stride` columns into blocks, columns fastest. Panics when ranges overlap, fall, or leave the matrix.
    pub(super) fn cut(data: &'a mut [T], stride: usize, rows: &[Range<usize>], columns: &[Range<usize>]) -> Vec<Self> {
        let apart = |ranges: &[Range<usize>], end: usize| {
            let within = ranges.iter().all(|r| r.start <= r.end && r.end <= end);
            within && ranges.windows(2).all(|w| w[0].end <= w[1].start)
        };
        let all = data.len().checked_div(stride).unwrap_or(0);
        assert!(apart(rows, all) && apart(columns, stride), "blocks must be disjoint and lie in the matrix");
        let data = data.as_mut_ptr();
        let block =
            |r: &Range<usize>, c: &Range<usize>| Self { data, stride, rows: r.clone(), columns: c.clone(), borrow: PhantomData };
        rows.iter().flat_map(|r| columns.iter().map(move |c| block(r, c))).collect()
    }

    /// Same for a matrix that may not be there.
    pub(super) fn cut_some(
        data: Option<&'a mut [T]>,
        stride: usize,
        rows: &[Range<usize>],
        columns: &[Range<usize>],
    ) -> Vec<Option<Self>> {
        match data {
            Some(data) => Self::cut(data, stride, rows, columns).into_iter().map(Some).collect(),
            None => (0..rows.len() * columns.len()).map(|_| None).collect(),
        }
    }

    /// Columns `columns` of row `row`, counted as in the whole matrix. Panics when they are not of this block.
    #[inline(always)]
    pub(super) fn line(&mut self, row: usize, columns: Range<usize>) -> &mut [T] {
        assert!(self.rows.contains(&row) && self.columns.start <= columns.start && columns.end <= self.columns.end);
        // SAFETY: row and columns were checked against the block, which lies in the matrix and overlaps no other.
        unsafe { std::slice::from_raw_parts_mut(self.data.add(row * self.stride + columns.start), columns.end - columns.start) }
    }
}

// One range is meant to be one block.
#[cfg(test)]
#[allow(clippy::single_range_in_vec_init)]
mod tests {
    use super::*;

    #[test]
    fn blocks_cover_what_they_say() {
        let mut data = [0; 12];
        for (i, mut block) in Block::cut(&mut data, 4, &[0..1, 1..3], &[0..3, 3..4]).into_iter().enumerate() {
            let (rows, columns) = (block.rows.clone(), block.columns.clone());
            rows.for_each(|r| block.line(r, columns.clone()).fill(i + 1));
        }
        assert_eq!(data, [1, 1, 1, 2, 3, 3, 3, 4, 3, 3, 3, 4]);
    }

    #[test]
    fn what_overlaps_or_leaves_is_refused() {
        let refused = |rows: &[Range<usize>], columns: &[Range<usize>]| {
            std::panic::catch_unwind(|| Block::cut(&mut [0; 12], 4, rows, columns).len()).is_err()
        };
        assert!(!refused(&[0..3], &[0..2, 2..4]));
        assert!(refused(&[0..2, 1..3], &[0..4]) && refused(&[0..4], &[0..4]) && refused(&[0..3], &[0..5]));
        let mut data = [0; 12];
        let mut block = Block::cut(&mut data, 4, &[1..2], &[1..3]).remove(0);
        assert_eq!(block.line(1, 1..3).len(), 2);
        assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| block.line(0, 1..2).len())).is_err());
    }
}
