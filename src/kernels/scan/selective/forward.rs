//! Some sequences by some channels, tile by tile.

use super::{Inputs, SelectiveScan, TILE};
use crate::kernels::gemm::with_scratch;
use crate::kernels::scan::columns::Block;
use crate::kernels::scan::lanes::{lanes_of, line, put, put_lanes, step_size};
use crate::kernels::simd::{Kernel, Lanes, Real, dispatch, math};
use std::ops::Range;

pub(super) struct Task<'a, T> {
    pub(super) scan: &'a SelectiveScan<'a, T>,
    pub(super) x: &'a Inputs<'a, T>,
    pub(super) initial: Option<&'a [T]>,
    pub(super) sequences: Range<usize>,
    pub(super) channels: Range<usize>,
    pub(super) out: Block<'a, T>,
    pub(super) last: Option<Block<'a, T>>,
    pub(super) starts: Option<Block<'a, T>>,
}

/// Lines of one vector each, of a tile: step t at `t · V::N`.
pub(super) struct Tile<'a, T> {
    /// Δ.
    pub(super) delta: &'a mut [T],
    /// Δ·u.
    pub(super) x: &'a mut [T],
    pub(super) y: &'a mut [T],
}

impl<T: Real> Task<'_, T> {
    /// One vector of channels, `channels.start` being of the same group as the others.
    #[inline(always)]
    fn vector<V: Lanes<T>>(&mut self, channels: Range<usize>, buffer: &mut [T]) {
        let scan = self.scan;
        let (d, n) = (scan.channels, scan.states);
        let group = channels.start / (d / scan.groups);
        let (at, count) = (channels.start, channels.len());
        let (state, rest) = buffer.split_at_mut(n * V::N);
        let (rates, rest) = rest.split_at_mut(n * V::N);
        let (delta, rest) = rest.split_at_mut(TILE * V::N);
        let (x, y) = rest.split_at_mut(TILE * V::N);
        let mut tile = Tile { delta, x, y };
        lanes_of::<T, V>(scan.a, channels.clone(), n, rates);
        let skip = line::<T, V>(scan.skip, at, count);
        let bias = line::<T, V>(scan.delta_bias, at, count);
        let mut index = scan.first_tile(self.sequences.start);
        for sequence in self.sequences.clone() {
            match self.initial {
                Some(h) => lanes_of::<T, V>(&h[sequence * d * n..(sequence + 1) * d * n], channels.clone(), n, state),
                None => state.fill(T::ZERO),
            }
            let rows = scan.sequences.range(sequence);
            for first in rows.clone().step_by(TILE) {
                let steps = (rows.end - first).min(TILE);
                if let Some(starts) = &mut self.starts {
                    put_lanes::<T, V>(state, n, starts.line(index, at * n..channels.end * n));
                }
                index += 1;
                for t in 0..steps {
                    let place = (first + t) * d + at;
                    let raw = line::<T, V>(Some(self.x.delta), place, count).add(bias);
                    let (delta, _) = step_size(scan.softplus, raw);
                    let u = line::<T, V>(Some(self.x.u), place, count);
                    delta.store(&mut tile.delta[t * V::N..]);
                    delta.mul(u).store(&mut tile.x[t * V::N..]);
                    skip.mul(u).store(&mut tile.y[t * V::N..]);
                }
                let couplings = ((first * scan.groups + group) * n, scan.groups * n);
                let mut k = 0;
                while k + 2 <= n {
                    states::<T, V, 2>(self.x, couplings, k, steps, rates, state, &mut tile);
                    k += 2;
                }
                if k < n {
                    states::<T, V, 1>(self.x, couplings, k, steps, rates, state, &mut tile);
                }
                for t in 0..steps {
                    let mut y = V::load(&tile.y[t * V::N..]);
                    if self.x.z.is_some() {
                        y = y.mul(math::silu::<T, V>(line(self.x.z, (first + t) * d + at, count)));
                    }
                    put(y, self.out.line(first + t, channels.clone()));
                }
            }
            if let Some(last) = &mut self.last {
                put_lanes::<T, V>(state, n, last.line(sequence, at * n..channels.end * n));
            }
        }
    }
}

/// Takes states `k..k + N` through a tile. `couplings`: the place of the first step's B and C, and the distance to the next step's.
#[inline(always)]
fn states<T: Real, V: Lanes<T>, const N: usize>(
    x: &Inputs<'_, T>,
    (place, stride): (usize, usize),
    k: usize,
    steps: usize,
    rates: &[T],
    state: &mut [T],
    tile: &mut Tile<'_, T>,
) {
    let rate: [V; N] = std::array::from_fn(|i| V::load(&rates[(k + i) * V::N..]));
    let mut h: [V; N] = std::array::from_fn(|i| V::load(&state[(k + i) * V::N..]));
    for t in 0..steps {
        let at = t * V::N;
        let (delta, input) = (V::load(&tile.delta[at..]), V::load(&tile.x[at..]));
        let mut y = V::load(&tile.y[at..]);
        for i in 0..N {
            let (b, c) = (x.b[place + t * stride + k + i], x.c[place + t * stride + k + i]);
            h[i] = math::exp::<T, V>(delta.mul(rate[i])).fma(h[i], input.mul(V::splat(b)));
            y = V::splat(c).fma(h[i], y);
        }
        y.store(&mut tile.y[at..]);
    }
    for i in 0..N {
        h[i].store(&mut state[(k + i) * V::N..]);
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
        for at in task.channels.clone().step_by(V::N) {
            task.vector::<V>(at..task.channels.end.min(at + V::N), buffer);
        }
    }
}

impl<T: Real> Task<'_, T> {
    /// Runs on the calling thread.
    pub(super) fn run(self) {
        let n = self.scan.states;
        with_scratch((2 * n + 3 * TILE) * T::LANES, |buffer| dispatch(Run { task: self, buffer }));
    }
}
