//! The way back through some sequences by some channels: tiles from last to first, each replayed from the states at its start.

use super::{Inputs, SelectiveScan, TILE};
use crate::kernels::gemm::with_scratch;
use crate::kernels::scan::columns::Block;
use crate::kernels::scan::lanes::{lanes_of, line, put, put_lanes, step_size};
use crate::kernels::simd::{Kernel, Lanes, Real, dispatch, math};
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

/// What a tile keeps, one vector per step and line.
struct Lines<'a, T> {
    delta: &'a mut [T],
    /// dΔ/d(δ + bias).
    slope: &'a mut [T],
    u: &'a mut [T],
    y: &'a mut [T],
    /// The gradient of y before the gate.
    dy: &'a mut [T],
    /// Of Δ, without the share by way of Δ·u.
    ddelta: &'a mut [T],
    /// Of Δ·u.
    dx: &'a mut [T],
    /// Of one state: exp(ΔA), and the state before each step.
    decay: &'a mut [T],
    before: &'a mut [T],
}

const LINES: usize = 9;

/// B and C of a group from the first step of a tile on; those of step t and state k lie at `t · stride + k`.
#[derive(Clone, Copy)]
struct Couplings<'a, T> {
    b: &'a [T],
    c: &'a [T],
    stride: usize,
    states: usize,
}

impl<T: Real> Task<'_, T> {
    #[inline(always)]
    fn vector<V: Lanes<T>>(&mut self, channels: Range<usize>, buffer: &mut [T]) {
        let scan = self.scan;
        let (d, n) = (scan.channels, scan.states);
        let group = channels.start / (d / scan.groups);
        let (at, count) = (channels.start, channels.len());
        let (gradient, rest) = buffer.split_at_mut(n * V::N);
        let (rates, rest) = rest.split_at_mut(n * V::N);
        let (drates, rest) = rest.split_at_mut(n * V::N);
        let (start, rest) = rest.split_at_mut(n * V::N);
        let mut parts = rest.chunks_exact_mut(TILE * V::N);
        let mut next = || parts.next().unwrap_or_default();
        let mut lines = Lines {
            delta: next(),
            slope: next(),
            u: next(),
            y: next(),
            dy: next(),
            ddelta: next(),
            dx: next(),
            decay: next(),
            before: next(),
        };
        lanes_of::<T, V>(scan.a, channels.clone(), n, rates);
        drates.fill(T::ZERO);
        let skip = line::<T, V>(scan.skip, at, count);
        let bias = line::<T, V>(scan.delta_bias, at, count);
        let (mut dskip, mut dbias) = (V::splat(T::ZERO), V::splat(T::ZERO));
        let first_row = scan.sequences.range(self.sequences.start).start;
        let mut first_tile = scan.first_tile(self.sequences.start);
        for sequence in self.sequences.clone() {
            match self.dlast {
                Some(h) => lanes_of::<T, V>(&h[sequence * d * n..(sequence + 1) * d * n], channels.clone(), n, gradient),
                None => gradient.fill(T::ZERO),
            }
            let rows = scan.sequences.range(sequence);
            let tiles = rows.len().div_ceil(TILE);
            for tile in (0..tiles).rev() {
                let first = rows.start + tile * TILE;
                let steps = (rows.end - first).min(TILE);
                let index = first_tile + tile;
                lanes_of::<T, V>(&self.starts[index * d * n..(index + 1) * d * n], channels.clone(), n, start);
                for t in 0..steps {
                    let place = (first + t) * d + at;
                    let raw = line::<T, V>(Some(self.x.delta), place, count).add(bias);
                    let (delta, slope) = step_size(scan.softplus, raw);
                    let u = line::<T, V>(Some(self.x.u), place, count);
                    let mut dy = line::<T, V>(Some(self.dout), place, count);
                    if self.x.z.is_some() {
                        dy = dy.mul(math::silu::<T, V>(line(self.x.z, place, count)));
                    }
                    let zero = V::splat(T::ZERO);
                    for (v, to) in [
                        (delta, &mut *lines.delta),
                        (slope, &mut *lines.slope),
                        (u, &mut *lines.u),
                        (skip.mul(u), &mut *lines.y),
                        (dy, &mut *lines.dy),
                        (zero, &mut *lines.ddelta),
                        (zero, &mut *lines.dx),
                    ] {
                        v.store(&mut to[t * V::N..]);
                    }
                }
                let place = (first * scan.groups + group) * n;
                let couplings = Couplings { b: &self.x.b[place..], c: &self.x.c[place..], stride: scan.groups * n, states: n };
                let shares = if self.couplings.is_empty() { None } else { Some((first - first_row) * 2 * n) };
                for k in 0..n {
                    let rate = V::load(&rates[k * V::N..]);
                    replay::<T, V>(couplings, k, steps, rate, V::load(&start[k * V::N..]), &mut lines);
                    let so_far = (V::load(&gradient[k * V::N..]), V::load(&drates[k * V::N..]));
                    let shares = shares.map(|at| &mut self.couplings[at..]);
                    let (g, drate) = walk_back::<T, V>(couplings, k, steps, rate, so_far, &mut lines, shares);
                    g.store(&mut gradient[k * V::N..]);
                    drate.store(&mut drates[k * V::N..]);
                }
                for t in (0..steps).rev() {
                    let (row, place) = (first + t, t * V::N);
                    let (dy, dx) = (V::load(&lines.dy[place..]), V::load(&lines.dx[place..]));
                    let (u, delta) = (V::load(&lines.u[place..]), V::load(&lines.delta[place..]));
                    dskip = dy.fma(u, dskip);
                    let draw = dx.fma(u, V::load(&lines.ddelta[place..])).mul(V::load(&lines.slope[place..]));
                    dbias = dbias.add(draw);
                    if let Some(du) = &mut self.du {
                        put(dx.fma(delta, skip.mul(dy)), du.line(row, channels.clone()));
                    }
                    if let Some(ddelta) = &mut self.ddelta {
                        put(draw, ddelta.line(row, channels.clone()));
                    }
                    if let Some(dz) = &mut self.dz {
                        let place = row * d + at;
                        let (_, slope) = math::silu_and_derivative::<T, V>(line(self.x.z, place, count));
                        let y = V::load(&lines.y[t * V::N..]);
                        put(line::<T, V>(Some(self.dout), place, count).mul(y).mul(slope), dz.line(row, channels.clone()));
                    }
                }
            }
            first_tile += tiles;
            if let Some(initial) = &mut self.initial {
                put_lanes::<T, V>(gradient, n, initial.line(sequence, at * n..channels.end * n));
            }
        }
        let sums = self.sums.line(self.part, at * (n + 2)..channels.end * (n + 2));
        let (mut skips, mut biases) = ([T::ZERO; 16], [T::ZERO; 16]);
        dskip.store(&mut skips);
        dbias.store(&mut biases);
        for (lane, sums) in sums.chunks_exact_mut(n + 2).enumerate() {
            for k in 0..n {
                sums[k] = drates[k * V::N + lane];
            }
            sums[n] = skips[lane];
            sums[n + 1] = biases[lane];
        }
    }
}

/// State k forward through a tile: keeps the decays and the states before each step, and adds to y.
#[inline(always)]
fn replay<T: Real, V: Lanes<T>>(x: Couplings<'_, T>, k: usize, steps: usize, rate: V, mut h: V, lines: &mut Lines<'_, T>) {
    for t in 0..steps {
        let (b, c) = (x.b[t * x.stride + k], x.c[t * x.stride + k]);
        let place = t * V::N;
        let delta = V::load(&lines.delta[place..]);
        let decay = math::exp::<T, V>(delta.mul(rate));
        decay.store(&mut lines.decay[place..]);
        h.store(&mut lines.before[place..]);
        let input = delta.mul(V::load(&lines.u[place..]));
        h = decay.fma(h, input.mul(V::splat(b)));
        V::splat(c).fma(h, V::load(&lines.y[place..])).store(&mut lines.y[place..]);
    }
}

/// State k back through a tile. Takes and gives the gradients of the state after the tile (before it, on return) and of its rate; adds
/// to the `shares` of these channels in dB and dC, from the first step of the tile on, where those are wanted.
#[inline(always)]
fn walk_back<T: Real, V: Lanes<T>>(
    x: Couplings<'_, T>,
    k: usize,
    steps: usize,
    rate: V,
    (mut g, mut drate): (V, V),
    lines: &mut Lines<'_, T>,
    mut shares: Option<&mut [T]>,
) -> (V, V) {
    let n = x.states;
    for t in (0..steps).rev() {
        let (b, c) = (V::splat(x.b[t * x.stride + k]), V::splat(x.c[t * x.stride + k]));
        let place = t * V::N;
        let (delta, dy) = (V::load(&lines.delta[place..]), V::load(&lines.dy[place..]));
        let (decay, before) = (V::load(&lines.decay[place..]), V::load(&lines.before[place..]));
        g = c.fma(dy, g);
        if let Some(shares) = &mut shares {
            let input = delta.mul(V::load(&lines.u[place..]));
            let shares = &mut shares[t * 2 * n..][..2 * n];
            shares[k] += g.mul(input).sum();
            shares[n + k] += dy.mul(decay.fma(before, input.mul(b))).sum();
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
        for at in task.channels.clone().step_by(V::N) {
            task.vector::<V>(at..task.channels.end.min(at + V::N), buffer);
        }
    }
}

impl<T: Real> Task<'_, T> {
    /// Runs on the calling thread.
    pub(super) fn run(self) {
        let n = self.scan.states;
        with_scratch((4 * n + LINES * TILE) * T::LANES, |buffer| dispatch(Run { task: self, buffer }));
    }
}
