//! The way back through some sequences by some channels: tiles from last to first, each replayed from the states at its start.

use super::{Inputs, SelectiveScan, TILE};
use crate::kernels::gemm::with_scratch;
use crate::kernels::scan::columns::Block;
use crate::kernels::scan::diagonal::backward::{Part, Shared, Wanted, room, shared_room};
use crate::kernels::scan::diagonal::{Ahead, Couplings};
use crate::kernels::scan::lanes::{lanes_of, line, put, put_lanes};
use crate::kernels::simd::{Kernel, Lanes, Real, dispatch, math};
use crate::kernels::transpose::transpose_inside;
use std::ops::Range;

pub(super) struct Task<'a, T> {
    pub(super) scan: &'a SelectiveScan<'a, T>,
    pub(super) x: &'a Inputs<'a, T>,
    pub(super) starts: &'a [T],
    pub(super) dout: &'a [T],
    pub(super) dlast: Option<&'a [T]>,
    /// Which part of the sequences this is.
    pub(super) part: usize,
    pub(super) sequences: Range<usize>,
    /// All of one group.
    pub(super) channels: Range<usize>,
    pub(super) du: Option<Block<'a, T>>,
    pub(super) ddelta: Option<Block<'a, T>>,
    pub(super) dz: Option<Block<'a, T>>,
    pub(super) initial: Option<Block<'a, T>>,
    /// For every channel: the gradients of A, of D and of the bias.
    pub(super) sums: Block<'a, T>,
    /// For every row of the sequences: the shares of these channels in dB, then in dC. Empty when neither is wanted.
    pub(super) couplings: &'a mut [T],
}

impl<T: Real> Task<'_, T> {
    /// `buffer`: [`room`] for each vector of channels.
    #[inline(always)]
    fn sequence<V: Lanes<T>>(&mut self, sequence: usize, first_tile: usize, buffer: &mut [T], shared: &mut Shared<'_, T>) {
        let (scan, x) = (self.scan, self.x);
        let (d, n, channels, stop) = (scan.channels, scan.states, self.channels.clone(), self.channels.end);
        let (group, room) = (channels.start / (d / scan.groups), room::<T>(n));
        let states = sequence * d * n..(sequence + 1) * d * n;
        for (at, part) in channels.clone().step_by(V::N).zip(buffer.chunks_exact_mut(room)) {
            let gradient = Part::new::<V>(part, n).gradient;
            match self.dlast {
                Some(h) => lanes_of::<T, V>(&h[states.clone()], at..stop.min(at + V::N), n, gradient),
                None => gradient.fill(T::ZERO),
            }
        }
        let rows = scan.sequences.range(sequence);
        let first_row = scan.sequences.range(self.sequences.start).start;
        for tile in (0..rows.len().div_ceil(TILE)).rev() {
            let first = rows.start + tile * TILE;
            let steps = (rows.end - first).min(TILE);
            let places = scan.places(first, group);
            let couplings = Couplings { b: x.b, c: x.c, places: &places[..steps] };
            let index = first_tile + tile;
            let starts = &self.starts[index * d * n..(index + 1) * d * n];
            let wanted = Wanted { y: self.dz.is_some(), sums: !self.couplings.is_empty() };
            if wanted.sums {
                shared.sums.fill(T::ZERO);
            }
            for (at, part) in channels.clone().step_by(V::N).zip(buffer.chunks_exact_mut(room)) {
                let (mut part, end) = (Part::new::<V>(part, n), stop.min(at + V::N));
                let (lines, count) = (&mut part.lines, end - at);
                for t in 0..steps {
                    let (place, to) = ((first + t) * d + at, t * V::N);
                    line::<T, V>(Some(x.delta), place, count).store(&mut lines.delta[to..]);
                    line::<T, V>(Some(x.u), place, count).store(&mut lines.u[to..]);
                    let mut dy = line::<T, V>(Some(self.dout), place, count);
                    if x.z.is_some() {
                        dy = dy.mul(math::silu::<T, V>(line(x.z, place, count)));
                    }
                    dy.store(&mut lines.dy[to..]);
                }
                lanes_of::<T, V>(starts, at..end, n, part.start);
                let of = [x.delta, x.u, self.dout, x.z.unwrap_or_default()];
                let soon = if tile > 0 { Ahead { of, first: (first - TILE) * d + at, stride: d } } else { Ahead::NONE };
                part.tile::<V>(scan.softplus, couplings, wanted, soon, shared);
                let lines = &part.lines;
                for t in 0..steps {
                    let (row, from) = (first + t, t * V::N);
                    if let Some(du) = &mut self.du {
                        put(V::load(&lines.du[from..]), du.line(row, at..end));
                    }
                    if let Some(ddelta) = &mut self.ddelta {
                        put(V::load(&lines.ddelta[from..]), ddelta.line(row, at..end));
                    }
                    if let Some(dz) = &mut self.dz {
                        let place = row * d + at;
                        let (_, slope) = math::silu_and_derivative::<T, V>(line(x.z, place, count));
                        let y = V::load(&lines.y[from..]);
                        put(line::<T, V>(Some(self.dout), place, count).mul(y).mul(slope), dz.line(row, at..end));
                    }
                }
            }
            if wanted.sums {
                let to = &mut self.couplings[(first - first_row) * 2 * n..][..steps * 2 * n];
                transpose_inside((shared.sums, TILE), (2 * n, steps), (to, 2 * n));
            }
        }
        if let Some(initial) = &mut self.initial {
            for (at, part) in channels.clone().step_by(V::N).zip(buffer.chunks_exact_mut(room)) {
                let to = initial.line(sequence, at * n..stop.min(at + V::N) * n);
                put_lanes::<T, V>(Part::new::<V>(part, n).gradient, n, to);
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
        let (scan, n, channels) = (task.scan, task.scan.states, task.channels.clone());
        let (shared, buffer) = buffer.split_at_mut(shared_room::<T>(n));
        let (mut shared, room) = (Shared::new::<V>(shared, n), room::<T>(n));
        for (at, part) in channels.clone().step_by(V::N).zip(buffer.chunks_exact_mut(room)) {
            Part::new::<V>(part, n).begin::<V>(scan.constants(), at..channels.end.min(at + V::N));
        }
        let mut first_tile = scan.first_tile(task.sequences.start);
        for sequence in task.sequences.clone() {
            task.sequence::<V>(sequence, first_tile, buffer, &mut shared);
            first_tile += scan.sequences.range(sequence).len().div_ceil(TILE);
        }
        for (at, part) in channels.clone().step_by(V::N).zip(buffer.chunks_exact_mut(room)) {
            let to = task.sums.line(task.part, at * (n + 2)..channels.end.min(at + V::N) * (n + 2));
            Part::new::<V>(part, n).end::<V>(to);
        }
    }
}

impl<T: Real> Task<'_, T> {
    /// Runs on the calling thread.
    pub(super) fn run(self) {
        let (n, vectors) = (self.scan.states, self.channels.len().div_ceil(T::LANES));
        with_scratch(shared_room::<T>(n) + vectors * room::<T>(n), |buffer| dispatch(Run { task: self, buffer }));
    }
}
