//! Rows in tiles, tiles in chunks, and the gradients of chunks put together.

use rayon::prelude::*;

use crate::kernels::gemm::with_scratch;
use crate::kernels::simd::Real;
use crate::kernels::sums::add;

/// Numbers of all tensors of a tile together: 64 KiB of `f32`.
const TILE: usize = 1 << 14;
/// Rows of a tile, a multiple of the heights of register tiles (6 and 12).
const TILE_ROWS: std::ops::RangeInclusive<usize> = 24..=192;
/// Arithmetic of a chunk at least: some tens of microseconds.
const CHUNK_WORK: usize = 1 << 21;
/// Chunks at most: enough for a few dozen threads, few enough that their gradients are quickly added.
const CHUNKS: usize = 64;
/// Gradients of all chunks together, in numbers.
const PARTIALS: usize = 1 << 22;

/// What one chunk writes: its part of each output that there is, and its sums.
struct Task<'a, T, const N: usize> {
    outs: [Option<&'a mut [T]>; N],
    sums: &'a mut [T],
}

/// How rows are cut.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Plan {
    rows: usize,
    pub(super) tile: usize,
    chunk: usize,
}

impl Plan {
    /// For rows that take `work` operations and touch `numbers` numbers each, and gradients of `partial` numbers.
    pub(super) fn new(rows: usize, work: usize, numbers: usize, partial: usize) -> Self {
        let tile = (TILE / numbers.max(1)).clamp(*TILE_ROWS.start(), *TILE_ROWS.end()) / 12 * 12;
        Self::of_tiles(rows, tile, work, partial, CHUNKS)
    }

    /// Same, for rows that are matrices themselves: a tile is a row.
    pub(super) fn of_matrices(rows: usize, work: usize, partial: usize) -> Self {
        Self::of_tiles(rows, 1, work, partial, CHUNKS)
    }

    /// Tiles of a given height, in at most `chunks` chunks.
    pub(super) fn of_tiles(rows: usize, tile: usize, work: usize, partial: usize, chunks: usize) -> Self {
        let most = (PARTIALS / partial.max(1)).clamp(1, chunks);
        let chunk = rows.div_ceil(most).max(CHUNK_WORK / work.max(1)).max(1);
        Self { rows, tile, chunk: chunk.div_ceil(tile) * tile }
    }

    fn chunks(&self) -> usize {
        self.rows.div_ceil(self.chunk)
    }

    /// The tiles of chunk `i`, as rows counted from the start of the chunk.
    pub(super) fn tiles(&self, i: usize) -> impl Iterator<Item = std::ops::Range<usize>> + use<> {
        let (rows, tile) = (self.rows_of(i).len(), self.tile);
        (0..rows.div_ceil(tile)).map(move |t| t * tile..rows.min((t + 1) * tile))
    }

    /// The rows of chunk `i`.
    pub(super) fn rows_of(&self, i: usize) -> std::ops::Range<usize> {
        i * self.chunk..self.rows.min((i + 1) * self.chunk)
    }

    /// `data`, `width` numbers a row, cut into chunks.
    fn cut<'a, T>(&self, mut data: &'a mut [T], width: usize) -> Vec<&'a mut [T]> {
        assert_eq!(data.len(), self.rows * width);
        (0..self.chunks()).map(|i| data.split_off_mut(..self.rows_of(i).len() * width).expect("the lengths add up")).collect()
    }

    /// Gives `work` every chunk of `out`.
    pub(super) fn write<T: Send>(&self, out: &mut [T], width: usize, work: impl Fn(usize, &mut [T]) + Sync) {
        let mut pieces = self.cut(out, width);
        if pieces.len() == 1 {
            work(0, pieces[0]);
        } else {
            pieces.into_par_iter().with_max_len(1).enumerate().for_each(|(i, piece)| work(i, piece));
        }
    }

    /// Gives `work` every chunk of the `outs` that there are (each with its numbers per row) and a buffer of zeros, and adds the
    /// buffers in the order of the chunks into `places`: consecutive parts of a buffer, where a missing place takes no part.
    pub(super) fn gather<const N: usize, T: Real>(
        &self,
        outs: [Option<(&mut [T], usize)>; N],
        places: &mut [Option<&mut [T]>],
        work: impl Fn(usize, [Option<&mut [T]>; N], &mut [T]) + Sync,
    ) {
        if self.rows == 0 {
            // Also maps without outputs, whose rows cannot be counted: nothing depends on their input.
            outs.into_iter().flatten().for_each(|(out, _)| out.fill(T::ZERO));
            places.iter_mut().flatten().for_each(|p| p.fill(T::ZERO));
            return;
        }
        let size: usize = places.iter().flatten().map(|p| p.len()).sum();
        let chunks = self.chunks();
        let mut pieces = outs.map(|out| out.map(|(out, width)| self.cut(out, width).into_iter()));
        with_scratch(size * chunks, |buffer| {
            let mut rest = &mut buffer[..];
            let mut tasks = Vec::with_capacity(chunks);
            for _ in 0..chunks {
                let (sums, tail) = rest.split_at_mut(size);
                let outs = std::array::from_fn(|k| pieces[k].as_mut().and_then(Iterator::next));
                tasks.push(Task { outs, sums });
                rest = tail;
            }
            let one = |(i, Task { outs, sums }): (usize, Task<'_, T, N>)| {
                sums.fill(T::ZERO);
                work(i, outs, sums);
            };
            if tasks.len() == 1 {
                tasks.into_iter().enumerate().for_each(one);
            } else {
                tasks.into_par_iter().with_max_len(1).enumerate().for_each(one);
            }
            let (first, rest) = buffer.split_at_mut(size);
            if rest.len() > 1 << 17 {
                const PART: usize = 1 << 12;
                first.par_chunks_mut(PART).enumerate().for_each(|(p, to)| {
                    rest.chunks_exact(size).for_each(|from| add(to, &from[p * PART..][..to.len()]));
                });
            } else if size > 0 {
                rest.chunks_exact(size).for_each(|from| add(first, from));
            }
            let mut from = &first[..];
            for place in places.iter_mut().flatten() {
                let (head, tail) = from.split_at(place.len());
                place.copy_from_slice(head);
                from = tail;
            }
        });
    }
}

/// Cuts a buffer into consecutive parts of the given sizes.
pub(super) fn split<const N: usize, T>(mut data: &mut [T], sizes: [usize; N]) -> [&mut [T]; N] {
    sizes.map(|n| data.split_off_mut(..n).expect("the buffer holds all parts"))
}
