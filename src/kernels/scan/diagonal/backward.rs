//! Back through a tile: replayed from the states at its start, a few states at a time.

use super::forward::Constants;
use super::{Ahead, Couplings, Exponents, TILE, decay, in_base_2};
use crate::kernels::scan::lanes::{lanes_of, line, step_size};
use crate::kernels::simd::{Lanes, Real, prefetch};
use std::ops::Range;

/// States that are taken together at most.
const TOGETHER: usize = 2;
/// Lines of a vector of channels.
const LINES: usize = 8;

/// Numbers that one vector of channels needs: the gradients of states and rates, rates in both bases, states before the tile, D and
/// the bias, their gradients, and the lines of a tile.
pub(in crate::kernels::scan) fn room<T: Real>(states: usize) -> usize {
    (5 * states + 4 + LINES * TILE) * T::LANES
}

/// Numbers that all vectors share: [`Shared`].
pub(in crate::kernels::scan) fn shared_room<T: Real>(states: usize) -> usize {
    2 * states * TILE + 2 * TOGETHER * (TILE + T::LANES) * T::LANES
}

/// The buffer of one vector of channels. Lines hold one vector for each step.
pub(in crate::kernels::scan) struct Part<'a, T> {
    pub(in crate::kernels::scan) gradient: &'a mut [T],
    drates: &'a mut [T],
    rates: &'a mut [T],
    /// A′.
    binary: &'a mut [T],
    /// States before the tile.
    pub(in crate::kernels::scan) start: &'a mut [T],
    /// D, then the bias.
    constants: &'a mut [T],
    /// Their gradients.
    dconstants: &'a mut [T],
    pub(in crate::kernels::scan) lines: Lines<'a, T>,
}

pub(in crate::kernels::scan) struct Lines<'a, T> {
    /// Raw δ, then Δ.
    pub(in crate::kernels::scan) delta: &'a mut [T],
    pub(in crate::kernels::scan) u: &'a mut [T],
    pub(in crate::kernels::scan) dy: &'a mut [T],
    /// Filled when it is asked for.
    pub(in crate::kernels::scan) y: &'a mut [T],
    /// The gradient of Δ without the share by way of Δ·u, then of raw δ.
    pub(in crate::kernels::scan) ddelta: &'a mut [T],
    /// The gradient of Δ·u, then of u.
    pub(in crate::kernels::scan) du: &'a mut [T],
    /// dΔ/dδ.
    slope: &'a mut [T],
    /// Δ·u.
    input: &'a mut [T],
}

/// What of a tile is wanted beside the gradients of δ and u.
#[derive(Clone, Copy)]
pub(in crate::kernels::scan) struct Wanted {
    /// y without its gate.
    pub(in crate::kernels::scan) y: bool,
    /// The sums of B and C.
    pub(in crate::kernels::scan) sums: bool,
}

/// What the vectors of a task use one after the other.
pub(in crate::kernels::scan) struct Shared<'a, T> {
    /// Sums over the channels that have been walked in this tile: the gradients of B of every state, then of C, each a line of [`TILE`]
    /// numbers.
    pub(in crate::kernels::scan) sums: &'a mut [T],
    /// Decays, and states before each step, of the states that are walked.
    kept: &'a mut [T],
    /// What is to be summed over lanes, for as many steps as a vector has lanes.
    spread: &'a mut [T],
}

impl<'a, T: Real> Shared<'a, T> {
    /// `buffer`: [`shared_room`].
    #[inline(always)]
    pub(in crate::kernels::scan) fn new<V: Lanes<T>>(buffer: &'a mut [T], n: usize) -> Self {
        let (sums, rest) = buffer.split_at_mut(2 * n * TILE);
        let (kept, spread) = rest.split_at_mut(2 * TOGETHER * TILE * V::N);
        Self { sums, kept, spread }
    }
}

impl<'a, T: Real> Part<'a, T> {
    /// `buffer`: [`room`], as an earlier call left it.
    #[inline(always)]
    pub(in crate::kernels::scan) fn new<V: Lanes<T>>(buffer: &'a mut [T], n: usize) -> Self {
        let (gradient, rest) = buffer.split_at_mut(n * V::N);
        let (drates, rest) = rest.split_at_mut(n * V::N);
        let (rates, rest) = rest.split_at_mut(n * V::N);
        let (binary, rest) = rest.split_at_mut(n * V::N);
        let (start, rest) = rest.split_at_mut(n * V::N);
        let (constants, rest) = rest.split_at_mut(2 * V::N);
        let (dconstants, rest) = rest.split_at_mut(2 * V::N);
        let lines = Lines::new::<V>(rest);
        Self { gradient, drates, rates, binary, start, constants, dconstants, lines }
    }

    /// Takes in the constants of `channels`. The gradient of the state is left to the caller.
    #[inline(always)]
    pub(in crate::kernels::scan) fn begin<V: Lanes<T>>(&mut self, of: Constants<'_, T>, channels: Range<usize>) {
        let (at, count, n) = (channels.start, channels.len(), self.rates.len() / V::N);
        self.drates.fill(T::ZERO);
        self.dconstants.fill(T::ZERO);
        lanes_of::<T, V>(of.a, channels, n, self.rates);
        in_base_2::<T, V>(self.rates, self.binary);
        line::<T, V>(of.skip, at, count).store(self.constants);
        line::<T, V>(of.delta_bias, at, count).store(&mut self.constants[V::N..]);
    }

    /// Writes the sums of each channel: the gradients of its rates, of D and of the bias.
    #[inline(always)]
    pub(in crate::kernels::scan) fn end<V: Lanes<T>>(&self, sums: &mut [T]) {
        let n = self.rates.len() / V::N;
        for (lane, sums) in sums.chunks_exact_mut(n + 2).enumerate() {
            for k in 0..n {
                sums[k] = self.drates[k * V::N + lane];
            }
            sums[n] = self.dconstants[lane];
            sums[n + 1] = self.dconstants[V::N + lane];
        }
    }

    /// From raw δ, u and dy in the lines, and the states before the tile, to the gradients of δ and u and what else is `wanted`. Sums of
    /// B and C are added to.
    #[inline(always)]
    pub(in crate::kernels::scan) fn tile<V: Lanes<T>>(
        &mut self,
        softplus: bool,
        x: Couplings<'_, T>,
        wanted: Wanted,
        ahead: Ahead<'_, T>,
        shared: &mut Shared<'_, T>,
    ) {
        let end = x.places.len() * V::N;
        let (skip, bias) = (V::load(self.constants), V::load(&self.constants[V::N..]));
        let lines = &mut self.lines;
        for t in (0..end).step_by(V::N) {
            let (delta, slope) = step_size(softplus, V::load(&lines.delta[t..]).add(bias));
            let u = V::load(&lines.u[t..]);
            delta.store(&mut lines.delta[t..]);
            slope.store(&mut lines.slope[t..]);
            delta.mul(u).store(&mut lines.input[t..]);
            skip.mul(u).store(&mut lines.y[t..]);
        }
        lines.ddelta[..end].fill(T::ZERO);
        lines.du[..end].fill(T::ZERO);
        match Exponents::of::<T, V>(&lines.delta[..end], self.binary) {
            Exponents::Near => self.all_states::<V, true>(x, wanted, ahead, shared),
            Exponents::Any => self.all_states::<V, false>(x, wanted, ahead, shared),
        }
        let (mut dskip, mut dbias) = (V::load(self.dconstants), V::load(&self.dconstants[V::N..]));
        let lines = &mut self.lines;
        for t in (0..end).step_by(V::N).rev() {
            let (dy, dx) = (V::load(&lines.dy[t..]), V::load(&lines.du[t..]));
            let (u, delta) = (V::load(&lines.u[t..]), V::load(&lines.delta[t..]));
            dskip = dy.fma(u, dskip);
            let draw = dx.fma(u, V::load(&lines.ddelta[t..])).mul(V::load(&lines.slope[t..]));
            dbias = dbias.add(draw);
            dx.fma(delta, skip.mul(dy)).store(&mut lines.du[t..]);
            draw.store(&mut lines.ddelta[t..]);
        }
        dskip.store(self.dconstants);
        dbias.store(&mut self.dconstants[V::N..]);
    }

    #[inline(always)]
    fn all_states<V: Lanes<T>, const NEAR: bool>(
        &mut self,
        x: Couplings<'_, T>,
        wanted: Wanted,
        ahead: Ahead<'_, T>,
        shared: &mut Shared<'_, T>,
    ) {
        let (n, mut k) = (self.rates.len() / V::N, 0);
        if V::REGISTER_FILE / V::REGISTERS >= 16 {
            while k + 2 <= n {
                self.some_states::<V, 2, NEAR>(x, k, wanted, ahead, shared);
                k += 2;
            }
        }
        while k < n {
            self.some_states::<V, 1, NEAR>(x, k, wanted, ahead, shared);
            k += 1;
        }
    }

    /// States `k..k + N`.
    #[inline(always)]
    fn some_states<V: Lanes<T>, const N: usize, const NEAR: bool>(
        &mut self,
        x: Couplings<'_, T>,
        k: usize,
        wanted: Wanted,
        ahead: Ahead<'_, T>,
        shared: &mut Shared<'_, T>,
    ) {
        let (steps, n) = (x.places.len(), self.rates.len() / V::N);
        let after = self.replay::<V, N, NEAR>(x, k, wanted.y, ahead, shared.kept);
        let mut so_far = [[V::splat(T::ZERO); N]; 3];
        for i in 0..N {
            let place = (k + i) * V::N;
            so_far[0][i] = V::load(&self.gradient[place..]);
            so_far[1][i] = V::load(&self.drates[place..]);
            so_far[2][i] = after[i];
        }
        // As many steps at a time as a vector has lanes: their sums over lanes are taken together.
        for first in (0..steps).step_by(V::N).rev() {
            let some = first..steps.min(first + V::N);
            so_far = self.walk_back::<V, N>(x, some, k, wanted.sums, so_far, shared);
            if wanted.sums {
                for i in 0..2 * N {
                    let spread = &shared.spread[i * V::N * V::N..][..V::N * V::N];
                    let sums = &mut shared.sums[(i / N * n + k + i % N) * TILE + first..][..V::N];
                    V::load(sums).add(V::sums(spread)).store(sums);
                }
            }
        }
        for i in 0..N {
            let place = (k + i) * V::N;
            so_far[0][i].store(&mut self.gradient[place..]);
            so_far[1][i].store(&mut self.drates[place..]);
        }
    }

    /// Forward through the tile. Keeps decays and the states before each step; gives the states after the last.
    #[inline(always)]
    fn replay<V: Lanes<T>, const N: usize, const NEAR: bool>(
        &mut self,
        x: Couplings<'_, T>,
        k: usize,
        wants_y: bool,
        ahead: Ahead<'_, T>,
        kept: &mut [T],
    ) -> [V; N] {
        let mut rate = [V::splat(T::ZERO); N];
        let mut h = [V::splat(T::ZERO); N];
        for i in 0..N {
            rate[i] = V::load(&self.binary[(k + i) * V::N..]);
            h[i] = V::load(&self.start[(k + i) * V::N..]);
        }
        let (delta, input) = (self.lines.delta.chunks_exact(V::N), self.lines.input.chunks_exact(V::N));
        let lines = delta.zip(input).zip(self.lines.y.chunks_exact_mut(V::N)).zip(kept.chunks_exact_mut(2 * N * V::N));
        let (soon, mut at) = (ahead.matrix(k / N), ahead.first);
        for ((((delta, input), y), kept), place) in lines.zip(x.places) {
            if !soon.is_empty() {
                prefetch(soon, at);
                at += ahead.stride;
            }
            let (b, c) = (&x.b[place + k..][..N], &x.c[place + k..][..N]);
            let (delta, input) = (V::load(delta), V::load(input));
            let mut sum = V::splat(T::ZERO);
            if wants_y {
                sum = V::load(y);
            }
            for i in 0..N {
                let decay = decay::<T, V, NEAR>(delta, rate[i]);
                decay.store(&mut kept[2 * i * V::N..]);
                h[i].store(&mut kept[(2 * i + 1) * V::N..]);
                h[i] = decay.fma(h[i], input.mul(V::splat(b[i])));
                if wants_y {
                    sum = V::splat(c[i]).fma(h[i], sum);
                }
            }
            if wants_y {
                sum.store(y);
            }
        }
        h
    }

    /// Back through `steps`. Takes and gives the gradients of the states after (before, on return) them, those of the rates, and the states
    /// themselves.
    #[inline(always)]
    fn walk_back<V: Lanes<T>, const N: usize>(
        &mut self,
        x: Couplings<'_, T>,
        steps: Range<usize>,
        k: usize,
        wants_sums: bool,
        [mut g, mut drate, mut after]: [[V; N]; 3],
        shared: &mut Shared<'_, T>,
    ) -> [[V; N]; 3] {
        let mut rate = [V::splat(T::ZERO); N];
        for i in 0..N {
            rate[i] = V::load(&self.rates[(k + i) * V::N..]);
        }
        let first = steps.start;
        for t in steps.rev() {
            let (place, at) = (x.places[t], t * V::N);
            let (b, c) = (&x.b[place + k..][..N], &x.c[place + k..][..N]);
            let kept = &shared.kept[2 * N * at..][..2 * N * V::N];
            let (delta, input) = (V::load(&self.lines.delta[at..]), V::load(&self.lines.input[at..]));
            let dy = V::load(&self.lines.dy[at..]);
            let (mut ddelta, mut dx) = (V::load(&self.lines.ddelta[at..]), V::load(&self.lines.du[at..]));
            for i in 0..N {
                let (decay, before) = (V::load(&kept[2 * i * V::N..]), V::load(&kept[(2 * i + 1) * V::N..]));
                g[i] = V::splat(c[i]).fma(dy, g[i]);
                if wants_sums {
                    let at = (t - first) * V::N;
                    g[i].mul(input).store(&mut shared.spread[i * V::N * V::N + at..]);
                    dy.mul(after[i]).store(&mut shared.spread[(N + i) * V::N * V::N + at..]);
                    after[i] = before;
                }
                dx = g[i].fma(V::splat(b[i]), dx);
                g[i] = g[i].mul(decay);
                let dexponent = g[i].mul(before);
                drate[i] = dexponent.fma(delta, drate[i]);
                ddelta = rate[i].fma(dexponent, ddelta);
            }
            ddelta.store(&mut self.lines.ddelta[at..]);
            dx.store(&mut self.lines.du[at..]);
        }
        [g, drate, after]
    }
}

impl<'a, T: Real> Lines<'a, T> {
    #[inline(always)]
    fn new<V: Lanes<T>>(rest: &'a mut [T]) -> Self {
        let (delta, rest) = rest.split_at_mut(TILE * V::N);
        let (u, rest) = rest.split_at_mut(TILE * V::N);
        let (dy, rest) = rest.split_at_mut(TILE * V::N);
        let (y, rest) = rest.split_at_mut(TILE * V::N);
        let (ddelta, rest) = rest.split_at_mut(TILE * V::N);
        let (du, rest) = rest.split_at_mut(TILE * V::N);
        let (slope, input) = rest.split_at_mut(TILE * V::N);
        Self { delta, u, dy, y, ddelta, du, slope, input }
    }
}
