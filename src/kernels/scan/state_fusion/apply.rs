//! The merged kernel on some rows: forward, and on gradients backward.

use super::StateFusion;
use super::plane::{Cut, Piece};
use super::taps::{FIRST, LINES, REACH, TAPS, joined};
use crate::kernels::bf16::Stored;
use crate::kernels::gemm::with_scratch;
use crate::kernels::rows::for_each;
use crate::kernels::scan::columns::Block;
use crate::kernels::simd::{Kernel, Lanes, Real, dispatch};
use std::ops::Range;

/// Most rows that a row is joined with: at an end 6 + 4 + 2 + 1 of them.
const JOINED: usize = 16;

/// `to` = the kernel on `from`, or its adjoint where `BACK`. Both (batch, cells, channels).
pub(super) fn run<T: Real, S: Stored<T>, const BACK: bool>(fusion: &StateFusion<'_, T>, taps: &[T], from: &[S], to: &mut [S]) {
    if to.is_empty() {
        return;
    }
    let cut = Cut::new(fusion);
    let (height, width) = (fusion.grid.height, fusion.grid.width);
    let cells = |(map, rows): &(usize, Range<usize>)| (map * height + rows.start) * width..(map * height + rows.end) * width;
    let blocks = Block::cut(to, fusion.channels, &cut.bands.iter().map(cells).collect::<Vec<_>>(), &cut.channels);
    let tasks = cut.pieces().zip(blocks).map(|(piece, to)| Apply::<T, S, BACK> { fusion, taps, from, piece, to }).collect();
    for_each(tasks, |task: Apply<'_, T, S, BACK>| {
        let room = task.piece.room(fusion) + TAPS.len() * T::LANES;
        with_scratch(room, |buffer| dispatch(Run { task, buffer }));
    });
}

struct Apply<'a, T, S, const BACK: bool> {
    fusion: &'a StateFusion<'a, T>,
    /// In lines of [`StateFusion::line`].
    taps: &'a [T],
    from: &'a [S],
    piece: Piece,
    to: Block<'a, S>,
}

struct Run<'a, 'b, T, S, const BACK: bool> {
    task: Apply<'a, T, S, BACK>,
    /// The taps of a vector, and the planes of all.
    buffer: &'b mut [T],
}

/// The rows that a row is joined with: a line of taps and the numbers of a packed row.
struct Joined<'a, T> {
    rows: [(usize, &'a [T]); JOINED],
    count: usize,
}

impl<T: Real, S: Stored<T>, const BACK: bool> Kernel<T> for Run<'_, '_, T, S, BACK> {
    type Output = ();
    #[inline(always)]
    fn run<V: Lanes<T>>(self) {
        let Self { mut task, buffer } = self;
        let (taps, planes) = buffer.split_at_mut(TAPS.len() * V::N);
        let Apply { fusion, piece, .. } = &task;
        let (fusion, piece) = (*fusion, piece.clone());
        piece.pack::<T, S, V>(fusion, task.from, !BACK, planes);
        let plane = planes.len() / piece.channels.len().div_ceil(V::N);
        for (at, plane) in piece.channels.clone().step_by(V::N).zip(planes.chunks_exact(plane)) {
            for (tap, line) in taps.chunks_exact_mut(V::N).zip(task.taps.chunks_exact(fusion.line())) {
                V::load(&line[at..]).store(tap);
            }
            let channels = at..piece.channels.end.min(at + V::N);
            for row in piece.rows.clone() {
                let joined = Self::joined::<V>(fusion, &piece, plane, row);
                task.row::<V>(&joined, taps, row, channels.clone());
            }
        }
    }
}

impl<T: Real, S: Stored<T>, const BACK: bool> Run<'_, '_, T, S, BACK> {
    #[inline(always)]
    fn joined<'p, V: Lanes<T>>(fusion: &StateFusion<'_, T>, piece: &Piece, plane: &'p [T], row: usize) -> Joined<'p, T> {
        let (mut rows, mut count): ([(usize, &[T]); JOINED], usize) = ([(0, &[]); JOINED], 0);
        for (line, (offset, _)) in LINES.iter().enumerate() {
            for other in joined::<BACK>(row, *offset, fusion.grid.height) {
                rows[count] = (line, piece.row::<T, V>(fusion, plane, other));
                count += 1;
            }
        }
        Joined { rows, count }
    }
}

impl<T: Real, S: Stored<T>, const BACK: bool> Apply<'_, T, S, BACK> {
    /// One row of a vector of channels.
    #[inline(always)]
    fn row<V: Lanes<T>>(&mut self, joined: &Joined<'_, T>, taps: &[T], row: usize, channels: Range<usize>) {
        let width = self.fusion.grid.width;
        let cell = (self.piece.map * self.fusion.grid.height + row) * width;
        // Backwards the outermost cells also gather from those that read outside.
        let (mut x, end) = if BACK { (1, width - 1) } else { (0, width) };
        if BACK {
            self.end::<V>(joined, taps, cell, 0, channels.clone());
            if width > 1 {
                self.end::<V>(joined, taps, cell, width - 1, channels.clone());
            }
        }
        // As many cells at a time as sums stay in registers.
        while V::REGISTERS == 1 && x + 8 <= end {
            self.strip::<V, 8>(joined, taps, cell, x, channels.clone());
            x += 8;
        }
        while x + 4 <= end {
            self.strip::<V, 4>(joined, taps, cell, x, channels.clone());
            x += 4;
        }
        while x < end {
            self.strip::<V, 1>(joined, taps, cell, x, channels.clone());
            x += 1;
        }
    }

    /// `N` cells of a row, which read a cell once for each tap.
    #[inline(always)]
    fn strip<V: Lanes<T>, const N: usize>(
        &mut self,
        joined: &Joined<'_, T>,
        taps: &[T],
        cell: usize,
        x: usize,
        channels: Range<usize>,
    ) {
        let mut sums = [V::splat(T::ZERO); N];
        for (line, from) in &joined.rows[..joined.count] {
            let window = &from[x * V::N..][..(N + 2 * REACH) * V::N];
            // Offsets that are constants need no checks.
            match line {
                0 => line_of::<T, V, N, 0, BACK>(&mut sums, taps, window),
                1 => line_of::<T, V, N, 1, BACK>(&mut sums, taps, window),
                2 => line_of::<T, V, N, 2, BACK>(&mut sums, taps, window),
                3 => line_of::<T, V, N, 3, BACK>(&mut sums, taps, window),
                4 => line_of::<T, V, N, 4, BACK>(&mut sums, taps, window),
                5 => line_of::<T, V, N, 5, BACK>(&mut sums, taps, window),
                _ => line_of::<T, V, N, 6, BACK>(&mut sums, taps, window),
            }
        }
        for (i, sum) in sums.into_iter().enumerate() {
            S::put(sum, self.to.line(cell + x + i, channels.clone()), 0, channels.len());
        }
    }

    /// The first or last cell of a row, backwards.
    #[inline(always)]
    fn end<V: Lanes<T>>(&mut self, rows: &Joined<'_, T>, taps: &[T], cell: usize, x: usize, channels: Range<usize>) {
        let mut sum = V::splat(T::ZERO);
        for (line, from) in &rows.rows[..rows.count] {
            for (k, &offset) in LINES[*line].1.iter().enumerate() {
                let tap = V::load(&taps[(FIRST[*line] + k) * V::N..]);
                for other in joined::<BACK>(x, offset, self.fusion.grid.width) {
                    sum = tap.fma(V::load(&from[(REACH + other) * V::N..]), sum);
                }
            }
        }
        S::put(sum, self.to.line(cell + x, channels.clone()), 0, channels.len());
    }
}

/// Adds a line of taps. `window`: from the cell [`REACH`] before the first one on.
#[inline(always)]
fn line_of<T: Real, V: Lanes<T>, const N: usize, const LINE: usize, const BACK: bool>(
    sums: &mut [V; N],
    taps: &[T],
    window: &[T],
) {
    let offsets = LINES[LINE].1;
    let taps = &taps[FIRST[LINE] * V::N..][..offsets.len() * V::N];
    for k in 0..offsets.len() {
        let tap = V::load(&taps[k * V::N..]);
        let first = REACH.wrapping_add_signed(if BACK { -offsets[k] } else { offsets[k] });
        for i in 0..N {
            sums[i] = tap.fma(V::load(&window[(first + i) * V::N..]), sums[i]);
        }
    }
}
