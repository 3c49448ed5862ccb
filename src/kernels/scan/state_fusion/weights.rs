//! Sums of products for the gradients of kernels and α.

use super::StateFusion;
use super::plane::{Cut, Piece};
use super::taps::{REACH, TAPS, read};
use crate::kernels::bf16::Stored;
use crate::kernels::gemm::with_scratch;
use crate::kernels::rows::for_each;
use crate::kernels::scan::columns::Block;
use crate::kernels::simd::{Kernel, Lanes, Real, dispatch};
use std::ops::Range;

/// For each band of rows, tap and channel (in lines of [`StateFusion::line`]): Σ dout · h of the cell that the tap reads.
pub(super) fn sums<T: Real, S: Stored<T>>(fusion: &StateFusion<'_, T>, h: &[S], dout: &[S]) -> Vec<T> {
    let cut = if h.is_empty() { Cut { bands: Vec::new(), channels: Vec::new() } } else { Cut::new(fusion) };
    let line = fusion.line();
    let mut sums = vec![T::ZERO; cut.bands.len().max(1) * TAPS.len() * line];
    let rows: Vec<Range<usize>> = (0..cut.bands.len()).map(|i| i * TAPS.len()..(i + 1) * TAPS.len()).collect();
    // Whole vectors: a line has room for them.
    let whole: Vec<Range<usize>> = cut.channels.iter().map(|c| c.start..c.end.next_multiple_of(T::LANES)).collect();
    let blocks = Block::cut(&mut sums, line, &rows, &whole);
    let bands = rows.iter().flat_map(|r| cut.channels.iter().map(|_| r.start));
    let tasks = (cut.pieces().zip(blocks).zip(bands))
        .map(|((piece, sums), first)| Products { fusion, h, dout, piece, first, sums })
        .collect();
    for_each(tasks, |task: Products<'_, T, S>| {
        with_scratch(task.piece.room(fusion), |planes| dispatch(Run { task, planes }));
    });
    sums
}

struct Products<'a, T, S> {
    fusion: &'a StateFusion<'a, T>,
    h: &'a [S],
    dout: &'a [S],
    piece: Piece,
    /// The line of the first tap.
    first: usize,
    sums: Block<'a, T>,
}

struct Run<'a, 'b, T, S> {
    task: Products<'a, T, S>,
    planes: &'b mut [T],
}

impl<T: Real, S: Stored<T>> Kernel<T> for Run<'_, '_, T, S> {
    type Output = ();
    #[inline(always)]
    fn run<V: Lanes<T>>(self) {
        let Self { mut task, planes } = self;
        let (fusion, piece) = (task.fusion, task.piece.clone());
        piece.pack::<T, S, V>(fusion, task.h, true, planes);
        let plane = planes.len() / piece.channels.len().div_ceil(V::N);
        for (at, plane) in piece.channels.clone().step_by(V::N).zip(planes.chunks_exact(plane)) {
            let count = (piece.channels.end - at).min(V::N);
            for row in piece.rows.clone() {
                // As many taps at a time as sums stay in registers.
                task.taps::<V, 6, 0>(plane, row, at, count);
                task.taps::<V, 3, 6>(plane, row, at, count);
                task.taps::<V, 7, 9>(plane, row, at, count);
                task.taps::<V, 3, 16>(plane, row, at, count);
                task.taps::<V, 6, 19>(plane, row, at, count);
            }
        }
    }
}

impl<T: Real, S: Stored<T>> Products<'_, T, S> {
    /// Taps `FIRST..FIRST + N` on one row of a vector of channels.
    #[inline(always)]
    fn taps<V: Lanes<T>, const N: usize, const FIRST: usize>(&mut self, plane: &[T], row: usize, at: usize, count: usize) {
        let (height, width, d) = (self.fusion.grid.height, self.fusion.grid.width, self.fusion.channels);
        let dout = &self.dout[(self.piece.map * height + row) * width * d..][..width * d];
        let mut lines: [&[T]; N] = [&[]; N];
        let mut sums = [V::splat(T::ZERO); N];
        for i in 0..N {
            lines[i] = self.piece.row::<T, V>(self.fusion, plane, read(row, TAPS[FIRST + i].0, height));
            sums[i] = V::load(self.sums.line(self.first + FIRST + i, at..at + V::N));
        }
        for x in 0..width {
            let g = S::get::<V>(dout, x * d + at, count);
            for i in 0..N {
                let other = (x + REACH).wrapping_add_signed(TAPS[FIRST + i].1);
                sums[i] = g.fma(V::load(&lines[i][other * V::N..]), sums[i]);
            }
        }
        for i in 0..N {
            sums[i].store(self.sums.line(self.first + FIRST + i, at..at + V::N));
        }
    }
}
