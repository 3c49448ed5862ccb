//! The way back through some channels: tiles from last to first, each replayed from the states at its start.

use super::forward::{cells_of, converted, couplings, meet};
use super::{Inputs, Ss2d, TILE};
use crate::kernels::bf16::Stored;
use crate::kernels::gemm::with_scratch;
use crate::kernels::scan::columns::Block;
use crate::kernels::scan::diagonal::Ahead;
use crate::kernels::scan::diagonal::backward::{Part, Shared, Wanted, room, shared_room};
use crate::kernels::scan::lanes::lanes_of;
use crate::kernels::simd::{Kernel, Lanes, Real, dispatch};
use std::ops::Range;

pub(super) struct Task<'a, T, S> {
    pub(super) scan: &'a Ss2d<'a, T>,
    pub(super) x: &'a Inputs<'a, S>,
    pub(super) starts: &'a [T],
    pub(super) dy: &'a [S],
    pub(super) element: usize,
    pub(super) channels: Range<usize>,
    pub(super) du: Option<Block<'a, S>>,
    /// Rows are (cells, directions).
    pub(super) ddelta: Option<Block<'a, S>>,
    /// For every direction and channel: the gradients of A, of D and of the bias.
    pub(super) sums: Block<'a, T>,
    /// For every cell and direction: the shares of these channels in dB, then in dC. Empty when neither is wanted.
    pub(super) couplings: &'a mut [T],
}

impl<T: Real, S: Stored<T>> Task<'_, T, S> {
    /// All channels in direction `k`. `buffer`: [`room`] for each vector of them. `more`: [`converted`] numbers.
    #[inline(always)]
    fn direction<V: Lanes<T>>(&mut self, k: usize, buffer: &mut [T], shared: &mut Shared<'_, T>, more: &mut [T]) {
        let scan = self.scan;
        let (d, n, directions, all) = (scan.channels, scan.states, scan.directions.len(), scan.grid.cells());
        let (channels, room) = (self.channels.clone(), room::<T>(n));
        let (of_tile, du_sums) = more.split_at_mut(more.len().min(2 * TILE * n));
        for (at, part) in channels.clone().step_by(V::N).zip(buffer.chunks_exact_mut(room)) {
            let mut part = Part::new::<V>(part, n);
            part.begin::<V>(scan.constants(k), at..channels.end.min(at + V::N));
            part.gradient.fill(T::ZERO);
        }
        let wanted = Wanted { y: false, sums: !self.couplings.is_empty() };
        for tile in (0..scan.tiles()).rev() {
            let first = tile * TILE;
            let steps = (all - first).min(TILE);
            let row = (self.element * directions + k) * scan.tiles() + tile;
            let starts = &self.starts[row * d * n..(row + 1) * d * n];
            let cells = cells_of(scan, self.element, scan.directions[k], first..first + steps);
            // As forward: a pass that only fetches.
            for (t, cell) in cells[..steps].iter().enumerate() {
                for (at, part) in channels.clone().step_by(V::N).zip(buffer.chunks_exact_mut(room)) {
                    let (lines, count) = (Part::new::<V>(part, n).lines, (channels.end - at).min(V::N));
                    let delta = S::get::<V>(self.x.delta, (cell * directions + k) * d + at, count);
                    delta.store(&mut lines.delta[t * V::N..]);
                    S::get::<V>(self.x.u, cell * d + at, count).store(&mut lines.u[t * V::N..]);
                    S::get::<V>(self.dy, cell * d + at, count).store(&mut lines.dy[t * V::N..]);
                }
            }
            let mut places = [0; TILE];
            let couplings = couplings(self.x, (n, directions, k), &cells[..steps], &mut places, of_tile);
            shared.sums.fill(T::ZERO);
            for (at, part) in channels.clone().step_by(V::N).zip(buffer.chunks_exact_mut(room)) {
                let mut part = Part::new::<V>(part, n);
                lanes_of::<T, V>(starts, at..channels.end.min(at + V::N), n, part.start);
                part.tile::<V>(scan.softplus, couplings, wanted, Ahead::NONE, shared);
            }
            if wanted.sums {
                for (t, cell) in cells[..steps].iter().enumerate() {
                    // Shares are those of one element of the batch.
                    let place = ((cell - self.element * all) * directions + k) * 2 * n;
                    for (to, sums) in self.couplings[place..][..2 * n].iter_mut().zip(shared.sums.chunks_exact(TILE)) {
                        *to = sums[t];
                    }
                }
            }
            for (t, cell) in cells[..steps].iter().enumerate() {
                for (at, part) in channels.clone().step_by(V::N).zip(buffer.chunks_exact_mut(room)) {
                    let (lines, end) = (Part::new::<V>(part, n).lines, channels.end.min(at + V::N));
                    if let Some(du) = &mut self.du {
                        let place = (cell - self.element * all) * channels.len() + at - channels.start;
                        meet(V::load(&lines.du[t * V::N..]), (k, directions), du.line(*cell, at..end), du_sums, place);
                    }
                    if let Some(ddelta) = &mut self.ddelta {
                        S::put(V::load(&lines.ddelta[t * V::N..]), ddelta.line(cell * directions + k, at..end), 0, end - at);
                    }
                }
            }
        }
        for (at, part) in channels.clone().step_by(V::N).zip(buffer.chunks_exact_mut(room)) {
            let end = channels.end.min(at + V::N);
            let sums = self.sums.line(self.element * directions + k, at * (n + 2)..end * (n + 2));
            Part::new::<V>(part, n).end::<V>(sums);
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
        let n = task.scan.states;
        let (shared, buffer) = buffer.split_at_mut(shared_room::<T>(n));
        let mut shared = Shared::new::<V>(shared, n);
        let (buffer, more) = buffer.split_at_mut(task.channels.len().div_ceil(V::N) * room::<T>(n));
        for k in 0..task.scan.directions.len() {
            task.direction::<V>(k, buffer, &mut shared, more);
        }
    }
}

impl<T: Real, S: Stored<T>> Task<'_, T, S> {
    /// Runs on the calling thread.
    pub(super) fn run(self) {
        let (n, vectors) = (self.scan.states, self.channels.len().div_ceil(T::LANES));
        let sums = if self.du.is_some() { self.scan.sums_len(&self.channels) } else { 0 };
        let more = converted::<T, S>(n, sums);
        with_scratch(shared_room::<T>(n) + vectors * room::<T>(n) + more, |buffer| dispatch(Run { task: self, buffer }));
    }
}
