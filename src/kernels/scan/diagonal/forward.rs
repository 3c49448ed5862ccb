//! Forward through a tile.

use super::{Ahead, Couplings, Exponents, TILE, decay, in_base_2};
use crate::kernels::scan::lanes::{lanes_of, line, step_size};
use crate::kernels::simd::{Lanes, Real, prefetch};
use std::ops::Range;

/// Numbers that one vector of channels needs: states, rates, D and bias, and the lines of a tile.
pub(in crate::kernels::scan) fn room<T: Real>(states: usize) -> usize {
    (2 * states + 2 + 3 * TILE) * T::LANES
}

/// The buffer of one vector of channels. Lines hold one vector for each step.
pub(in crate::kernels::scan) struct Part<'a, T> {
    pub(in crate::kernels::scan) state: &'a mut [T],
    /// A′ of every state.
    rates: &'a mut [T],
    /// D, then the bias.
    constants: &'a mut [T],
    /// Raw δ, then Δ.
    pub(in crate::kernels::scan) delta: &'a mut [T],
    /// u, then Δ·u.
    pub(in crate::kernels::scan) u: &'a mut [T],
    pub(in crate::kernels::scan) y: &'a mut [T],
}

/// What does not depend on the step: A (channels, states), D and the bias.
#[derive(Clone, Copy)]
pub(in crate::kernels::scan) struct Constants<'a, T> {
    pub(in crate::kernels::scan) a: &'a [T],
    pub(in crate::kernels::scan) skip: Option<&'a [T]>,
    pub(in crate::kernels::scan) delta_bias: Option<&'a [T]>,
}

impl<'a, T: Real> Part<'a, T> {
    /// `buffer`: [`room`], as an earlier call left it.
    #[inline(always)]
    pub(in crate::kernels::scan) fn new<V: Lanes<T>>(buffer: &'a mut [T], n: usize) -> Self {
        let (state, rest) = buffer.split_at_mut(n * V::N);
        let (rates, rest) = rest.split_at_mut(n * V::N);
        let (constants, rest) = rest.split_at_mut(2 * V::N);
        let (delta, rest) = rest.split_at_mut(TILE * V::N);
        let (u, y) = rest.split_at_mut(TILE * V::N);
        Self { state, rates, constants, delta, u, y }
    }

    /// Takes in the constants of `channels`. The state is left to the caller.
    #[inline(always)]
    pub(in crate::kernels::scan) fn begin<V: Lanes<T>>(&mut self, of: Constants<'_, T>, channels: Range<usize>) {
        let (at, count, n) = (channels.start, channels.len(), self.rates.len() / V::N);
        // The state is free until the scan begins.
        lanes_of::<T, V>(of.a, channels, n, self.state);
        in_base_2::<T, V>(self.state, self.rates);
        line::<T, V>(of.skip, at, count).store(self.constants);
        line::<T, V>(of.delta_bias, at, count).store(&mut self.constants[V::N..]);
    }

    /// From raw δ and u in the lines to y, and the state taken on.
    #[inline(always)]
    pub(in crate::kernels::scan) fn tile<V: Lanes<T>>(&mut self, softplus: bool, x: Couplings<'_, T>, ahead: Ahead<'_, T>) {
        let end = x.places.len() * V::N;
        let (delta, u, y) = (&mut self.delta[..end], &mut self.u[..end], &mut self.y[..end]);
        let (skip, bias) = (V::load(self.constants), V::load(&self.constants[V::N..]));
        for ((delta, u), y) in delta.chunks_exact_mut(V::N).zip(u.chunks_exact_mut(V::N)).zip(y.chunks_exact_mut(V::N)) {
            let (size, _) = step_size(softplus, V::load(delta).add(bias));
            let input = V::load(u);
            size.store(delta);
            size.mul(input).store(u);
            skip.mul(input).store(y);
        }
        match Exponents::of::<T, V>(delta, self.rates) {
            Exponents::Near => all_states::<T, V, true>(x, self.rates, self.state, (delta, u, y), ahead),
            Exponents::Any => all_states::<T, V, false>(x, self.rates, self.state, (delta, u, y), ahead),
        }
    }
}

#[inline(always)]
fn all_states<T: Real, V: Lanes<T>, const NEAR: bool>(
    x: Couplings<'_, T>,
    rates: &[T],
    state: &mut [T],
    (delta, u, y): (&[T], &[T], &mut [T]),
    ahead: Ahead<'_, T>,
) {
    let (n, mut k) = (state.len() / V::N, 0);
    while k + 2 <= n {
        some_states::<T, V, 2, NEAR>(x, k, rates, state, (delta, u, y), ahead);
        k += 2;
    }
    if k < n {
        some_states::<T, V, 1, NEAR>(x, k, rates, state, (delta, u, y), ahead);
    }
}

/// States `k..k + N`.
#[inline(always)]
fn some_states<T: Real, V: Lanes<T>, const N: usize, const NEAR: bool>(
    x: Couplings<'_, T>,
    k: usize,
    rates: &[T],
    state: &mut [T],
    (delta, u, y): (&[T], &[T], &mut [T]),
    ahead: Ahead<'_, T>,
) {
    let mut rate = [V::splat(T::ZERO); N];
    let mut h = [V::splat(T::ZERO); N];
    for i in 0..N {
        rate[i] = V::load(&rates[(k + i) * V::N..]);
        h[i] = V::load(&state[(k + i) * V::N..]);
    }
    let lines = delta.chunks_exact(V::N).zip(u.chunks_exact(V::N)).zip(y.chunks_exact_mut(V::N));
    let (soon, mut at) = (ahead.matrix(k / N), ahead.first);
    for (((delta, u), y), place) in lines.zip(x.places) {
        if !soon.is_empty() {
            prefetch(soon, at);
            at += ahead.stride;
        }
        let (b, c) = (&x.b[place + k..][..N], &x.c[place + k..][..N]);
        let (delta, input, mut sum) = (V::load(delta), V::load(u), V::load(y));
        for i in 0..N {
            h[i] = decay::<T, V, NEAR>(delta, rate[i]).fma(h[i], input.mul(V::splat(b[i])));
            sum = V::splat(c[i]).fma(h[i], sum);
        }
        sum.store(y);
    }
    for i in 0..N {
        h[i].store(&mut state[(k + i) * V::N..]);
    }
}
