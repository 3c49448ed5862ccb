//! The way back through some channels: tiles from last to first, each replayed from the states at its start.

use super::forward::cells_of;
use super::{Inputs, Ss2d, TILE};
use crate::kernels::gemm::with_scratch;
use crate::kernels::scan::columns::Block;
use crate::kernels::scan::lanes::{lanes_of, line, put, step_size};
use crate::kernels::simd::{Kernel, Lanes, Real, dispatch, math};
use std::ops::Range;

pub(super) struct Task<'a, T> {
    pub(super) scan: &'a Ss2d<'a, T>,
    pub(super) x: &'a Inputs<'a, T>,
    pub(super) starts: &'a [T],
    pub(super) dy: &'a [T],
    pub(super) element: usize,
    pub(super) channels: Range<usize>,
    pub(super) du: Option<Block<'a, T>>,
    /// Rows are (cells, directions).
    pub(super) ddelta: Option<Block<'a, T>>,
    /// For every direction and channel: the gradients of A, of D and of the bias.
    pub(super) sums: Block<'a, T>,
    /// For every cell and direction: the shares of these channels in dB, then in dC. Empty when neither is wanted.
    pub(super) couplings: &'a mut [T],
}

/// What a tile keeps, one vector per step and line.
struct Lines<'a, T> {
    delta: &'a mut [T],
    /// dΔ/d(δ + bias).
    slope: &'a mut [T],
    u: &'a mut [T],
    dy: &'a mut [T],
    /// The gradient of Δ, without the share by way of Δ·u.
    ddelta: &'a mut [T],
    /// Of Δ·u.
    dx: &'a mut [T],
    /// Of one state: exp(ΔA), and the state before each step.
    decay: &'a mut [T],
    before: &'a mut [T],
}

const LINES: usize = 8;

/// Numbers of a vector of channels in the buffer: the gradients of states and rates, rates, states before a tile, D, the bias, the
/// gradients of both, and the lines of a tile.
fn room<T: Real>(states: usize) -> usize {
    (4 * states + 4 + LINES * TILE) * T::LANES
}

/// A vector's part of the buffer.
struct Part<'a, T> {
    gradient: &'a mut [T],
    rates: &'a mut [T],
    drates: &'a mut [T],
    start: &'a mut [T],
    /// D and the bias.
    constants: &'a mut [T],
    /// The gradients of D and the bias.
    dconstants: &'a mut [T],
    lines: Lines<'a, T>,
}

impl<'a, T: Real> Part<'a, T> {
    #[inline(always)]
    fn new<V: Lanes<T>>(buffer: &'a mut [T], n: usize) -> Self {
        let (gradient, rest) = buffer.split_at_mut(n * V::N);
        let (rates, rest) = rest.split_at_mut(n * V::N);
        let (drates, rest) = rest.split_at_mut(n * V::N);
        let (start, rest) = rest.split_at_mut(n * V::N);
        let (constants, rest) = rest.split_at_mut(2 * V::N);
        let (dconstants, rest) = rest.split_at_mut(2 * V::N);
        let (delta, rest) = rest.split_at_mut(TILE * V::N);
        let (slope, rest) = rest.split_at_mut(TILE * V::N);
        let (u, rest) = rest.split_at_mut(TILE * V::N);
        let (dy, rest) = rest.split_at_mut(TILE * V::N);
        let (ddelta, rest) = rest.split_at_mut(TILE * V::N);
        let (dx, rest) = rest.split_at_mut(TILE * V::N);
        let (decay, before) = rest.split_at_mut(TILE * V::N);
        let lines = Lines { delta, slope, u, dy, ddelta, dx, decay, before };
        Self { gradient, rates, drates, start, constants, dconstants, lines }
    }
}

/// Where B and C of the steps of a tile lie, and the shares of these channels in their gradients where those are wanted.
#[derive(Clone, Copy)]
struct Places<'a> {
    couplings: &'a [usize],
    shares: &'a [usize],
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
            part.gradient.fill(T::ZERO);
            part.drates.fill(T::ZERO);
            part.dconstants.fill(T::ZERO);
            lanes_of::<T, V>(&scan.a[k * d * n..(k + 1) * d * n], at..at + count, n, part.rates);
            line::<T, V>(scan.skip, k * d + at, count).store(part.constants);
            line::<T, V>(scan.delta_bias, k * d + at, count).store(&mut part.constants[V::N..]);
        }
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
                    let delta = line::<T, V>(Some(self.x.delta), (cell * directions + k) * d + at, count);
                    delta.store(&mut lines.delta[t * V::N..]);
                    line::<T, V>(Some(self.x.u), cell * d + at, count).store(&mut lines.u[t * V::N..]);
                    line::<T, V>(Some(self.dy), cell * d + at, count).store(&mut lines.dy[t * V::N..]);
                }
            }
            let (mut couplings, mut shares) = ([0; TILE], [0; TILE]);
            for (t, cell) in cells[..steps].iter().enumerate() {
                couplings[t] = (cell * directions + k) * n;
                // Shares are those of one element of the batch.
                shares[t] = ((cell - self.element * all) * directions + k) * 2 * n;
            }
            let places = Places { couplings: &couplings[..steps], shares: &shares[..steps] };
            for (at, part) in channels.clone().step_by(V::N).zip(buffer.chunks_exact_mut(room)) {
                let (mut part, count) = (Part::new::<V>(part, n), (channels.end - at).min(V::N));
                lanes_of::<T, V>(starts, at..at + count, n, part.start);
                self.tile::<V>(places, &mut part);
            }
            for (t, cell) in cells[..steps].iter().enumerate() {
                for (at, part) in channels.clone().step_by(V::N).zip(buffer.chunks_exact_mut(room)) {
                    let (lines, end) = (Part::new::<V>(part, n).lines, channels.end.min(at + V::N));
                    if let Some(du) = &mut self.du {
                        let (to, mut share) = (du.line(*cell, at..end), V::load(&lines.dx[t * V::N..]));
                        if k > 0 {
                            share = line::<T, V>(Some(to), 0, end - at).add(share);
                        }
                        put(share, to);
                    }
                    if let Some(ddelta) = &mut self.ddelta {
                        put(V::load(&lines.ddelta[t * V::N..]), ddelta.line(cell * directions + k, at..end));
                    }
                }
            }
        }
        for (at, part) in channels.clone().step_by(V::N).zip(buffer.chunks_exact_mut(room)) {
            let (part, end) = (Part::new::<V>(part, n), channels.end.min(at + V::N));
            let sums = self.sums.line(self.element * directions + k, at * (n + 2)..end * (n + 2));
            for (lane, sums) in sums.chunks_exact_mut(n + 2).enumerate() {
                for s in 0..n {
                    sums[s] = part.drates[s * V::N + lane];
                }
                sums[n] = part.dconstants[lane];
                sums[n + 1] = part.dconstants[V::N + lane];
            }
        }
    }

    /// A tile of one vector: from raw δ, u and dy to the gradients of δ and u in the lines `ddelta` and `dx`.
    #[inline(always)]
    fn tile<V: Lanes<T>>(&mut self, places: Places<'_>, part: &mut Part<'_, T>) {
        let (n, end) = (self.scan.states, places.couplings.len() * V::N);
        let (skip, bias) = (V::load(part.constants), V::load(&part.constants[V::N..]));
        for t in (0..end).step_by(V::N) {
            let (delta, slope) = step_size(self.scan.softplus, V::load(&part.lines.delta[t..]).add(bias));
            delta.store(&mut part.lines.delta[t..]);
            slope.store(&mut part.lines.slope[t..]);
        }
        part.lines.ddelta[..end].fill(T::ZERO);
        part.lines.dx[..end].fill(T::ZERO);
        for s in 0..n {
            let place = s * V::N;
            let rate = V::load(&part.rates[place..]);
            replay::<T, V>(self.x, places, s, rate, V::load(&part.start[place..]), &mut part.lines);
            let so_far = (V::load(&part.gradient[place..]), V::load(&part.drates[place..]));
            let (g, drate) = walk_back::<T, V>(self.x, places, (s, n), rate, so_far, &mut part.lines, self.couplings);
            g.store(&mut part.gradient[place..]);
            drate.store(&mut part.drates[place..]);
        }
        let (mut dskip, mut dbias) = (V::load(part.dconstants), V::load(&part.dconstants[V::N..]));
        let lines = &mut part.lines;
        for t in (0..end).step_by(V::N) {
            let (dy, dx) = (V::load(&lines.dy[t..]), V::load(&lines.dx[t..]));
            let (u, delta) = (V::load(&lines.u[t..]), V::load(&lines.delta[t..]));
            dskip = dy.fma(u, dskip);
            let draw = dx.fma(u, V::load(&lines.ddelta[t..])).mul(V::load(&lines.slope[t..]));
            dbias = dbias.add(draw);
            dx.fma(delta, skip.mul(dy)).store(&mut lines.dx[t..]);
            draw.store(&mut lines.ddelta[t..]);
        }
        dskip.store(part.dconstants);
        dbias.store(&mut part.dconstants[V::N..]);
    }
}

/// State s forward through a tile: keeps the decays and the states before each step.
#[inline(always)]
fn replay<T: Real, V: Lanes<T>>(x: &Inputs<'_, T>, places: Places<'_>, s: usize, rate: V, mut h: V, lines: &mut Lines<'_, T>) {
    for (t, coupling) in places.couplings.iter().enumerate() {
        let place = t * V::N;
        let delta = V::load(&lines.delta[place..]);
        let decay = math::exp::<T, V>(delta.mul(rate));
        decay.store(&mut lines.decay[place..]);
        h.store(&mut lines.before[place..]);
        let input = delta.mul(V::load(&lines.u[place..]));
        h = decay.fma(h, input.mul(V::splat(x.b[coupling + s])));
    }
}

/// State s of n back through a tile. Takes and gives the gradients of the state after the tile (before it, on return) and of its rate;
/// adds to the `sums` of these channels in dB and dC where there are any.
#[inline(always)]
fn walk_back<T: Real, V: Lanes<T>>(
    x: &Inputs<'_, T>,
    places: Places<'_>,
    (s, n): (usize, usize),
    rate: V,
    (mut g, mut drate): (V, V),
    lines: &mut Lines<'_, T>,
    sums: &mut [T],
) -> (V, V) {
    for t in (0..places.couplings.len()).rev() {
        let coupling = places.couplings[t] + s;
        let (b, c) = (V::splat(x.b[coupling]), V::splat(x.c[coupling]));
        let place = t * V::N;
        let (delta, dy) = (V::load(&lines.delta[place..]), V::load(&lines.dy[place..]));
        let (decay, before) = (V::load(&lines.decay[place..]), V::load(&lines.before[place..]));
        g = c.fma(dy, g);
        if !sums.is_empty() {
            let input = delta.mul(V::load(&lines.u[place..]));
            let sums = &mut sums[places.shares[t]..][..2 * n];
            sums[s] += g.mul(input).sum();
            sums[n + s] += dy.mul(decay.fma(before, input.mul(b))).sum();
        }
        let dexponent = g.mul(decay).mul(before);
        drate = dexponent.fma(delta, drate);
        rate.fma(dexponent, V::load(&lines.ddelta[place..])).store(&mut lines.ddelta[place..]);
        g.fma(b, V::load(&lines.dx[place..])).store(&mut lines.dx[place..]);
        g = g.mul(decay);
    }
    (g, drate)
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
