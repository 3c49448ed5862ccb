//! Some channels of one element of the batch, direction after direction and tile by tile.

use super::{Inputs, Ss2d, TILE};
use crate::kernels::bf16::Stored;
use crate::kernels::gemm::with_scratch;
use crate::kernels::rows::{get, put};
use crate::kernels::scan::Direction;
use crate::kernels::scan::columns::Block;
use crate::kernels::scan::diagonal::forward::{Part, room};
use crate::kernels::scan::diagonal::{Ahead, Couplings};
use crate::kernels::scan::lanes::put_lanes;
use crate::kernels::simd::{Kernel, Lanes, Real, dispatch};
use std::ops::Range;

pub(super) struct Task<'a, T, S> {
    pub(super) scan: &'a Ss2d<'a, T>,
    pub(super) x: &'a Inputs<'a, S>,
    pub(super) element: usize,
    pub(super) channels: Range<usize>,
    pub(super) y: Block<'a, S>,
    pub(super) starts: Option<Block<'a, T>>,
}

/// Where the cells of a tile of steps lie among those of all maps.
#[inline(always)]
pub(super) fn cells_of<T: Real>(scan: &Ss2d<'_, T>, element: usize, direction: Direction, steps: Range<usize>) -> [usize; TILE] {
    let (mut cells, mut walk) = ([0; TILE], scan.grid.walk(direction, steps.start));
    for cell in cells.iter_mut().take(steps.len()) {
        *cell = element * scan.grid.cells() + walk.next();
    }
    cells
}

/// Numbers that B and C of a tile, and sums over the directions for `sums` numbers need where memory holds another type.
pub(super) fn converted<T: Real, S: Stored<T>>(states: usize, sums: usize) -> usize {
    if S::numbers(&[]).is_some() { 0 } else { 2 * TILE * states + sums }
}

/// B and C of a tile. `cells`: those of its steps. `room` is used where they have to be converted.
#[inline(always)]
pub(super) fn couplings<'a, T: Real, S: Stored<T>>(
    x: &Inputs<'a, S>,
    (n, directions, k): (usize, usize, usize),
    cells: &[usize],
    places: &'a mut [usize; TILE],
    room: &'a mut [T],
) -> Couplings<'a, T> {
    for (place, cell) in places.iter_mut().zip(cells) {
        *place = (cell * directions + k) * n;
    }
    if let (Some(b), Some(c)) = (S::numbers(x.b), S::numbers(x.c)) {
        return Couplings { b, c, places: &places[..cells.len()] };
    }
    let (b, rest) = room.split_at_mut(TILE * n);
    let c = &mut rest[..TILE * n];
    for (from, to) in [(x.b, &mut *b), (x.c, &mut *c)] {
        for (place, to) in places.iter().zip(to.chunks_exact_mut(n)).take(cells.len()) {
            for (to, from) in to.iter_mut().zip(&from[*place..]) {
                *to = from.number();
            }
        }
    }
    for t in 0..cells.len() {
        places[t] = t * n;
    }
    Couplings { b, c, places: &places[..cells.len()] }
}

/// Adds what direction `k` of `directions` has at a place to what the earlier ones had. They meet in `sums`, at place `at` of it, where
/// memory holds another type than numbers, and are rounded with the last.
#[inline(always)]
pub(super) fn meet<T: Real, S: Stored<T>, V: Lanes<T>>(
    v: V,
    (k, directions): (usize, usize),
    to: &mut [S],
    sums: &mut [T],
    at: usize,
) {
    let count = to.len();
    if S::numbers(to).is_some() || directions == 1 {
        let v = if k > 0 { S::get::<V>(to, 0, count).add(v) } else { v };
        S::put(v, to, 0, count);
        return;
    }
    let v = if k > 0 { get::<T, V>(sums, at, count).add(v) } else { v };
    if k + 1 < directions {
        put(v, sums, at, count);
    } else {
        S::put(v, to, 0, count);
    }
}

impl<T: Real, S: Stored<T>> Task<'_, T, S> {
    /// All channels in direction `k`. `buffer`: [`room`] for each vector of them. `converted`: [`converted`] numbers.
    #[inline(always)]
    fn direction<V: Lanes<T>>(&mut self, k: usize, buffer: &mut [T], converted: &mut [T]) {
        let scan = self.scan;
        let (d, n, directions, all) = (scan.channels, scan.states, scan.directions.len(), scan.grid.cells());
        let (channels, room) = (self.channels.clone(), room::<T>(n));
        let (of_tile, sums) = converted.split_at_mut(converted.len().min(2 * TILE * n));
        for (at, part) in channels.clone().step_by(V::N).zip(buffer.chunks_exact_mut(room)) {
            let mut part = Part::new::<V>(part, n);
            part.begin::<V>(scan.constants(k), at..channels.end.min(at + V::N));
            part.state.fill(T::ZERO);
        }
        for (tile, first) in (0..all).step_by(TILE).enumerate() {
            let steps = (all - first).min(TILE);
            let cells = cells_of(scan, self.element, scan.directions[k], first..first + steps);
            // Cells may lie far apart in memory. A pass that does nothing else has many of them under way at a time, and takes all
            // channels of one together.
            for (t, cell) in cells[..steps].iter().enumerate() {
                for (at, part) in channels.clone().step_by(V::N).zip(buffer.chunks_exact_mut(room)) {
                    let (part, count) = (Part::new::<V>(part, n), (channels.end - at).min(V::N));
                    let delta = S::get::<V>(self.x.delta, (cell * directions + k) * d + at, count);
                    delta.store(&mut part.delta[t * V::N..]);
                    S::get::<V>(self.x.u, cell * d + at, count).store(&mut part.u[t * V::N..]);
                }
            }
            let mut places = [0; TILE];
            let couplings = couplings(self.x, (n, directions, k), &cells[..steps], &mut places, of_tile);
            for (at, part) in channels.clone().step_by(V::N).zip(buffer.chunks_exact_mut(room)) {
                let (mut part, end) = (Part::new::<V>(part, n), channels.end.min(at + V::N));
                if let Some(starts) = &mut self.starts {
                    let row = (self.element * directions + k) * scan.tiles() + tile;
                    put_lanes::<T, V>(part.state, n, starts.line(row, at * n..end * n));
                }
                part.tile::<V>(scan.softplus, couplings, Ahead::NONE);
            }
            for (t, cell) in cells[..steps].iter().enumerate() {
                for (at, part) in channels.clone().step_by(V::N).zip(buffer.chunks_exact_mut(room)) {
                    let (part, end) = (Part::new::<V>(part, n), channels.end.min(at + V::N));
                    let y = V::load(&part.y[t * V::N..]);
                    let place = (cell - self.element * all) * channels.len() + at - channels.start;
                    meet(y, (k, directions), self.y.line(*cell, at..end), sums, place);
                }
            }
        }
    }
}

/// A task with its buffer, which is taken before the instruction set is chosen: what runs inside a closure would not be compiled for it.
struct Run<'a, 'b, T, S> {
    task: Task<'a, T, S>,
    buffer: &'b mut [T],
}

impl<T: Real, S: Stored<T>> Kernel<T> for Run<'_, '_, T, S> {
    type Output = ();
    #[inline(always)]
    fn run<V: Lanes<T>>(self) {
        let Self { mut task, buffer } = self;
        let vectors = task.channels.len().div_ceil(V::N) * room::<T>(task.scan.states);
        let (buffer, converted) = buffer.split_at_mut(vectors);
        for k in 0..task.scan.directions.len() {
            task.direction::<V>(k, buffer, converted);
        }
    }
}

impl<T: Real, S: Stored<T>> Task<'_, T, S> {
    /// Runs on the calling thread.
    pub(super) fn run(self) {
        let vectors = self.channels.len().div_ceil(T::LANES);
        let more = converted::<T, S>(self.scan.states, self.scan.sums_len(&self.channels));
        with_scratch(vectors * room::<T>(self.scan.states) + more, |buffer| dispatch(Run { task: self, buffer }));
    }
}
