//! Some channels of one element of the batch, direction after direction and tile by tile.

use super::{Inputs, Ss2d, TILE};
use crate::kernels::gemm::with_scratch;
use crate::kernels::scan::Direction;
use crate::kernels::scan::columns::Block;
use crate::kernels::scan::diagonal::forward::{Part, room};
use crate::kernels::scan::diagonal::{Ahead, Couplings};
use crate::kernels::scan::lanes::{line, put, put_lanes};
use crate::kernels::simd::{Kernel, Lanes, Real, dispatch};
use std::ops::Range;

pub(super) struct Task<'a, T> {
    pub(super) scan: &'a Ss2d<'a, T>,
    pub(super) x: &'a Inputs<'a, T>,
    pub(super) element: usize,
    pub(super) channels: Range<usize>,
    pub(super) y: Block<'a, T>,
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

impl<T: Real> Task<'_, T> {
    /// All channels in direction `k`. `buffer`: [`room`] for each vector of them.
    #[inline(always)]
    fn direction<V: Lanes<T>>(&mut self, k: usize, buffer: &mut [T]) {
        let scan = self.scan;
        let (d, n, directions, all) = (scan.channels, scan.states, scan.directions.len(), scan.grid.cells());
        let (channels, room) = (self.channels.clone(), room::<T>(n));
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
                    let delta = line::<T, V>(Some(self.x.delta), (cell * directions + k) * d + at, count);
                    delta.store(&mut part.delta[t * V::N..]);
                    line::<T, V>(Some(self.x.u), cell * d + at, count).store(&mut part.u[t * V::N..]);
                }
            }
            let mut places = [0; TILE];
            for (place, cell) in places.iter_mut().zip(&cells[..steps]) {
                *place = (cell * directions + k) * n;
            }
            let couplings = Couplings { b: self.x.b, c: self.x.c, places: &places[..steps] };
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
                    let mut y = V::load(&part.y[t * V::N..]);
                    let to = self.y.line(*cell, at..end);
                    if k > 0 {
                        y = line::<T, V>(Some(to), 0, end - at).add(y);
                    }
                    put(y, to);
                }
            }
        }
    }
}

/// A task with its buffer, which is taken before the instruction set is chosen: what runs inside a closure would not be compiled for it.
struct Run<'a, 'b, T> {
    task: Task<'a, T>,
    buffer: &'b mut [T],
}

impl<T: Real> Kernel<T> for Run<'_, '_, T> {
    type Output = ();
    #[inline(always)]
    fn run<V: Lanes<T>>(self) {
        let Self { mut task, buffer } = self;
        for k in 0..task.scan.directions.len() {
            task.direction::<V>(k, buffer);
        }
    }
}

impl<T: Real> Task<'_, T> {
    /// Runs on the calling thread.
    pub(super) fn run(self) {
        let vectors = self.channels.len().div_ceil(T::LANES);
        with_scratch(vectors * room::<T>(self.scan.states), |buffer| dispatch(Run { task: self, buffer }));
    }
}
