//! Some channels of one element of the batch, direction after direction and tile by tile.

use super::{Inputs, Ss2d, TILE};
use crate::kernels::gemm::with_scratch;
use crate::kernels::scan::Direction;
use crate::kernels::scan::columns::Block;
use crate::kernels::scan::lanes::{lanes_of, line, put, put_lanes, step_size};
use crate::kernels::simd::{Kernel, Lanes, Real, dispatch, math};
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

/// Lines of one vector each, of a tile and one vector of channels: step t at `t · V::N`.
struct Lines<'a, T> {
    /// Δ.
    delta: &'a mut [T],
    /// Δ·u.
    x: &'a mut [T],
    y: &'a mut [T],
}

/// Numbers of a vector of channels in the buffer: states, rates, D, bias, and the lines of a tile.
fn room<T: Real>(states: usize) -> usize {
    (2 * states + 2 + 3 * TILE) * T::LANES
}

/// A vector's part of the buffer.
struct Part<'a, T> {
    state: &'a mut [T],
    rates: &'a mut [T],
    /// D and the bias.
    constants: &'a mut [T],
    lines: Lines<'a, T>,
}

impl<'a, T: Real> Part<'a, T> {
    #[inline(always)]
    fn new<V: Lanes<T>>(buffer: &'a mut [T], n: usize) -> Self {
        let (state, rest) = buffer.split_at_mut(n * V::N);
        let (rates, rest) = rest.split_at_mut(n * V::N);
        let (constants, rest) = rest.split_at_mut(2 * V::N);
        let (delta, rest) = rest.split_at_mut(TILE * V::N);
        let (x, y) = rest.split_at_mut(TILE * V::N);
        Self { state, rates, constants, lines: Lines { delta, x, y } }
    }
}

impl<T: Real> Task<'_, T> {
    /// All channels in direction `k`. `buffer`: [`room`] for each vector of them.
    #[inline(always)]
    fn direction<V: Lanes<T>>(&mut self, k: usize, buffer: &mut [T]) {
        let scan = self.scan;
        let (d, n, directions, all) = (scan.channels, scan.states, scan.directions.len(), scan.grid.cells());
        let (channels, room) = (self.channels.clone(), room::<T>(n));
        for (at, part) in channels.clone().step_by(V::N).zip(buffer.chunks_exact_mut(room)) {
            let (part, count) = (Part::new::<V>(part, n), (channels.end - at).min(V::N));
            part.state.fill(T::ZERO);
            lanes_of::<T, V>(&scan.a[k * d * n..(k + 1) * d * n], at..at + count, n, part.rates);
            line::<T, V>(scan.skip, k * d + at, count).store(part.constants);
            line::<T, V>(scan.delta_bias, k * d + at, count).store(&mut part.constants[V::N..]);
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
                    delta.store(&mut part.lines.delta[t * V::N..]);
                    line::<T, V>(Some(self.x.u), cell * d + at, count).store(&mut part.lines.x[t * V::N..]);
                }
            }
            let mut places = [0; TILE];
            for (place, cell) in places.iter_mut().zip(&cells[..steps]) {
                *place = (cell * directions + k) * n;
            }
            for (at, part) in channels.clone().step_by(V::N).zip(buffer.chunks_exact_mut(room)) {
                let (mut part, end) = (Part::new::<V>(part, n), channels.end.min(at + V::N));
                if let Some(starts) = &mut self.starts {
                    let row = (self.element * directions + k) * scan.tiles() + tile;
                    put_lanes::<T, V>(part.state, n, starts.line(row, at * n..end * n));
                }
                let (skip, bias) = (V::load(part.constants), V::load(&part.constants[V::N..]));
                for t in (0..steps * V::N).step_by(V::N) {
                    let (delta, _) = step_size(scan.softplus, V::load(&part.lines.delta[t..]).add(bias));
                    let u = V::load(&part.lines.x[t..]);
                    delta.store(&mut part.lines.delta[t..]);
                    delta.mul(u).store(&mut part.lines.x[t..]);
                    skip.mul(u).store(&mut part.lines.y[t..]);
                }
                let mut s = 0;
                while s + 2 <= n {
                    states::<T, V, 2>(self.x, &places[..steps], s, part.rates, part.state, &mut part.lines);
                    s += 2;
                }
                if s < n {
                    states::<T, V, 1>(self.x, &places[..steps], s, part.rates, part.state, &mut part.lines);
                }
            }
            for (t, cell) in cells[..steps].iter().enumerate() {
                for (at, part) in channels.clone().step_by(V::N).zip(buffer.chunks_exact_mut(room)) {
                    let (part, end) = (Part::new::<V>(part, n), channels.end.min(at + V::N));
                    let mut y = V::load(&part.lines.y[t * V::N..]);
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

/// Takes states `s..s + N` through a tile. `places`: where B and C of each step lie.
#[inline(always)]
fn states<T: Real, V: Lanes<T>, const N: usize>(
    x: &Inputs<'_, T>,
    places: &[usize],
    s: usize,
    rates: &[T],
    state: &mut [T],
    lines: &mut Lines<'_, T>,
) {
    let rate: [V; N] = std::array::from_fn(|i| V::load(&rates[(s + i) * V::N..]));
    let mut h: [V; N] = std::array::from_fn(|i| V::load(&state[(s + i) * V::N..]));
    for (t, place) in places.iter().enumerate() {
        let at = t * V::N;
        let (delta, input) = (V::load(&lines.delta[at..]), V::load(&lines.x[at..]));
        let mut y = V::load(&lines.y[at..]);
        for i in 0..N {
            let (b, c) = (x.b[place + s + i], x.c[place + s + i]);
            h[i] = math::exp::<T, V>(delta.mul(rate[i])).fma(h[i], input.mul(V::splat(b)));
            y = V::splat(c).fma(h[i], y);
        }
        y.store(&mut lines.y[at..]);
    }
    for i in 0..N {
        h[i].store(&mut state[(s + i) * V::N..]);
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
