//! A few channels of some rows of a map, packed: vectors of neighbouring cells lie together, with room at the sides.

use super::StateFusion;
use super::taps::{REACH, read};
use crate::kernels::bf16::Stored;
use crate::kernels::simd::{Lanes, Real};
use std::ops::Range;

/// Bytes of a task's planes: they stay in a second-level cache.
const BYTES: usize = 512 << 10;
/// Vectors of a task at most: a few cache lines of each cell are read together.
const VECTORS: usize = 4;

/// What one task works on: rows of a map by channels.
#[derive(Clone, Debug)]
pub(super) struct Piece {
    pub(super) map: usize,
    pub(super) rows: Range<usize>,
    pub(super) channels: Range<usize>,
}

/// How maps are cut. Depends on the sizes alone.
pub(super) struct Cut {
    /// Rows of the maps in all, in order: (map, rows).
    pub(super) bands: Vec<(usize, Range<usize>)>,
    pub(super) channels: Vec<Range<usize>>,
}

impl Cut {
    pub(super) fn new<T: Real>(fusion: &StateFusion<'_, T>) -> Self {
        let (height, wide, d) = (fusion.grid.height, fusion.grid.width + 2 * REACH, fusion.channels);
        let room = BYTES / size_of::<T>() / (wide * T::LANES);
        let vectors = (room / (4 * REACH)).clamp(1, VECTORS);
        let rows = (room / vectors).saturating_sub(2 * REACH).max(REACH);
        let of_map = |map| (0..height).step_by(rows).map(move |at| (map, at..height.min(at + rows)));
        let block = vectors * T::LANES;
        Self {
            bands: (0..fusion.batch).flat_map(of_map).collect(),
            channels: (0..d).step_by(block).map(|at| at..d.min(at + block)).collect(),
        }
    }

    /// All pieces, channels fastest.
    pub(super) fn pieces(&self) -> impl Iterator<Item = Piece> + '_ {
        self.bands
            .iter()
            .flat_map(|(map, rows)| self.channels.iter().map(|c| Piece { map: *map, rows: rows.clone(), channels: c.clone() }))
    }
}

impl Piece {
    /// The rows that taps on these rows reach.
    fn reached(&self, height: usize) -> Range<usize> {
        self.rows.start.saturating_sub(REACH)..height.min(self.rows.end + REACH)
    }

    /// Numbers of the planes of all vectors.
    pub(super) fn room<T: Real>(&self, fusion: &StateFusion<'_, T>) -> usize {
        self.reached(fusion.grid.height).len() * (fusion.grid.width + 2 * REACH) * self.channels.len().next_multiple_of(T::LANES)
    }

    /// Packs `from` (batch, cells, channels). The sides repeat the outermost cells, or are zeros.
    #[inline(always)]
    pub(super) fn pack<T: Real, S: Stored<T>, V: Lanes<T>>(
        &self,
        fusion: &StateFusion<'_, T>,
        from: &[S],
        repeat: bool,
        planes: &mut [T],
    ) {
        let (height, width, d) = (fusion.grid.height, fusion.grid.width, fusion.channels);
        let (rows, wide) = (self.reached(height), width + 2 * REACH);
        let (first, plane) = (rows.start, rows.len() * wide * V::N);
        for row in rows {
            for x in 0..wide {
                let other = read(x, -(REACH as isize), width);
                let inside = repeat || other + REACH == x;
                let cell = (self.map * height + row) * width + other;
                let place = ((row - first) * wide + x) * V::N;
                for (at, plane) in self.channels.clone().step_by(V::N).zip(planes.chunks_exact_mut(plane)) {
                    let count = (self.channels.end - at).min(V::N);
                    let v = if inside { S::get::<V>(from, cell * d + at, count) } else { V::splat(T::ZERO) };
                    v.store(&mut plane[place..]);
                }
            }
        }
    }

    /// A row of a plane, sides included.
    #[inline(always)]
    pub(super) fn row<'a, T: Real, V: Lanes<T>>(&self, fusion: &StateFusion<'_, T>, plane: &'a [T], row: usize) -> &'a [T] {
        let length = (fusion.grid.width + 2 * REACH) * V::N;
        &plane[(row - self.reached(fusion.grid.height).start) * length..][..length]
    }
}
