//! What a vector of channels multiplies with, and the way back from its gradients to the parameters. All in f64, narrowed at the end.
//!
//! With the state x before a block of R steps, inputs u_0.. and outputs y_0..:
//!
//! * x' = Ā^R·x + Σ_k u_k·(Ā^{R−1−k}·B̄),
//! * y_k = Re((2C·Ā^{k+1})·x) + Σ_{j<=k} K_{k−j}·u_j.
//!
//! A pair therefore holds one power, R inputs and R outputs for blocks of R = [`BLOCK`] steps, and the same for R = 1.

use super::{BLOCK, S4d, TILE};
use crate::kernels::pieces::split;
use crate::kernels::scan::lti::complex::Pair;
use crate::kernels::scan::lti::modes::discretise;
use crate::kernels::simd::{Kernel, Lanes, Real};
use std::ops::Range;

/// Complex numbers for blocks of `steps`: the power, the inputs, the outputs.
pub(super) const fn block_len(steps: usize) -> usize {
    1 + 2 * steps
}
/// Where those of single steps lie, and the correction of a tile.
pub(super) const SINGLE: usize = block_len(BLOCK);
pub(super) const CORRECTION: usize = SINGLE + block_len(1);
/// Complex numbers of a pair.
pub(super) const FIELDS: usize = CORRECTION + 1;
/// Numbers per channel that do not belong to a pair: K_0.. with D in the first.
pub(super) const LOCAL: usize = BLOCK;

/// Where lines of a vector lie in the coefficients of a vector of channels.
pub(super) fn len<T: Real>(pairs: usize) -> usize {
    (pairs * FIELDS * 2 + LOCAL) * T::LANES
}

/// The coefficients of a pair for blocks of R steps, in registers.
pub(super) struct BlockOf<V, const R: usize> {
    pub(super) power: Pair<V>,
    pub(super) input: [Pair<V>; R],
    pub(super) output: [Pair<V>; R],
}

impl<V: Copy, const R: usize> BlockOf<V, R> {
    #[inline(always)]
    pub(super) fn load<T: Real>(from: &[T]) -> Self
    where
        V: Lanes<T>,
    {
        let mut of = Self { power: Pair::load_pair(from), input: [Pair::zero(); R], output: [Pair::zero(); R] };
        for k in 0..R {
            of.input[k] = Pair::load_pair(&from[2 * (1 + k) * V::N..]);
            of.output[k] = Pair::load_pair(&from[2 * (1 + R + k) * V::N..]);
        }
        of
    }
}

/// Parameters of some channels in f64, pairs outermost and channels in lanes; channels that are not there are at rest.
pub(super) struct Gathered<'a> {
    /// Δ, repeated for every pair.
    dt: &'a mut [f64],
    rate: [&'a mut [f64]; 2],
    b: [&'a mut [f64]; 2],
    c: [&'a mut [f64]; 2],
}

impl<'a> Gathered<'a> {
    pub(super) const ARRAYS: usize = 7;

    /// `buffer`: `ARRAYS` times pairs · lanes.
    pub(super) fn new<T: Real>(s4d: &S4d<'_, T>, channels: Range<usize>, buffer: &'a mut [f64]) -> Self {
        let (n, lanes) = (s4d.pairs, T::LANES);
        let [dt, re, im, b_re, b_im, c_re, c_im] = split(buffer, [n * lanes; Self::ARRAYS]);
        re.fill(-1.0);
        b_re.fill(1.0);
        for x in [&mut *dt, &mut *im, &mut *b_im, &mut *c_re, &mut *c_im] {
            x.fill(0.0);
        }
        let mut steps = [0.0; 16];
        for (step, c) in steps.iter_mut().zip(channels.clone()) {
            *step = s4d.log_dt[c].to_f64();
        }
        crate::kernels::simd::math::exp_in_place(&mut steps);
        for (lane, channel) in channels.enumerate() {
            for pair in 0..n {
                let (i, to) = (channel * n + pair, pair * lanes + lane);
                dt[to] = s4d.rate * steps[lane];
                re[to] = s4d.log_decay[i].to_f64();
                im[to] = s4d.frequency[i].to_f64();
                (c_re[to], c_im[to]) = (s4d.c.re[i].to_f64(), s4d.c.im[i].to_f64());
                if let Some(b) = s4d.b {
                    (b_re[to], b_im[to]) = (b.re[i].to_f64(), b.im[i].to_f64());
                }
            }
        }
        crate::kernels::simd::math::exp_in_place(re);
        re.iter_mut().for_each(|x| *x = -*x);
        Self { dt, rate: [re, im], b: [b_re, b_im], c: [c_re, c_im] }
    }
}

/// Ā, B̄ and C of a vector of pairs.
#[inline(always)]
pub(super) fn mode_at<V: Lanes<f64>>(rule: super::Rule, x: &Gathered<'_>, at: usize) -> [Pair<V>; 3] {
    let (dt, rate) = (V::load(&x.dt[at..]), Pair::load(x.rate[0], x.rate[1], at));
    let mode = discretise(rule, rate.scale(dt));
    let b = mode.gain.scale(dt).mul(Pair::load(x.b[0], x.b[1], at));
    [mode.a, b, Pair::load(x.c[0], x.c[1], at)]
}

/// Writes the coefficients of a vector of channels, [`len`] numbers: for every pair [`FIELDS`] complex numbers, then [`LOCAL`] lines.
pub(super) struct Prepare<'a, T> {
    pub(super) s4d: &'a S4d<'a, T>,
    pub(super) channels: Range<usize>,
    pub(super) x: Gathered<'a>,
    pub(super) to: &'a mut [T],
}

/// f64 vectors in a vector of T, at most.
const HALVES: usize = 2;

impl<T: Real> Kernel<f64> for Prepare<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<V: Lanes<f64>>(self) {
        let Self { s4d, channels, x, to } = self;
        let (n, lanes) = (s4d.pairs, T::LANES);
        let (of_pairs, of_channels) = to.split_at_mut(n * FIELDS * 2 * lanes);
        let zero = V::splat(0.0);
        let mut local = [[zero; HALVES]; LOCAL];
        for pair in 0..n {
            for half in 0..lanes / V::N {
                let [a, b, c] = mode_at::<V>(s4d.rule, &x, pair * lanes + half * V::N);
                let twice = c.add(c);
                let line = &mut of_pairs[pair * FIELDS * 2 * lanes..(pair + 1) * FIELDS * 2 * lanes];
                let at = half * V::N;
                let mut power = Pair::new(V::splat(1.0), zero);
                for k in 0..BLOCK {
                    // Ā^k.
                    let input = power.mul(b);
                    put::<T, V>(input, line, 1 + BLOCK - 1 - k, at);
                    local[k][half] = twice.im.neg_fma(input.im, twice.re.fma(input.re, local[k][half]));
                    power = power.mul(a);
                    put::<T, V>(twice.mul(power), line, 1 + BLOCK + k, at);
                }
                put::<T, V>(power, line, 0, at);
                put::<T, V>(a, line, SINGLE, at);
                put::<T, V>(b, line, SINGLE + 1, at);
                put::<T, V>(twice.mul(a), line, SINGLE + 2, at);
                // What the rounded power of a block lacks after a whole tile.
                let (mut exact, mut rounded) = (power, rounded::<T, V>(power));
                let mut blocks = 1;
                while blocks < TILE / BLOCK {
                    (exact, rounded) = (exact.mul(exact), rounded.mul(rounded));
                    blocks *= 2;
                }
                put::<T, V>(exact.sub(rounded), line, CORRECTION, at);
            }
        }
        for k in 0..LOCAL {
            for half in 0..lanes / V::N {
                let mut line = [0.0; 16];
                local[k][half].store(&mut line);
                for (to, from) in of_channels[k * lanes + half * V::N..].iter_mut().zip(&line[..V::N]) {
                    *to = T::from_f64(*from);
                }
            }
        }
        if let Some(skip) = s4d.skip {
            for (to, d) in of_channels.iter_mut().zip(&skip[channels]) {
                *to += *d;
            }
        }
    }
}

/// Writes complex number `field` of a pair, from lane `at` on.
#[inline(always)]
fn put<T: Real, V: Lanes<f64>>(z: Pair<V>, line: &mut [T], field: usize, at: usize) {
    let mut wide = [0.0; 16];
    for (part, v) in [z.re, z.im].into_iter().enumerate() {
        v.store(&mut wide);
        for (to, from) in line[(2 * field + part) * T::LANES + at..].iter_mut().zip(&wide[..V::N]) {
            *to = T::from_f64(*from);
        }
    }
}

/// Complex number `field` of a pair, from lane `at` on.
#[inline(always)]
fn get<T: Real, V: Lanes<f64>>(line: &[T], field: usize, at: usize) -> Pair<V> {
    let mut wide = [[0.0; 16]; 2];
    for (part, wide) in wide.iter_mut().enumerate() {
        for (to, from) in wide[..V::N].iter_mut().zip(&line[(2 * field + part) * T::LANES + at..]) {
            *to = from.to_f64();
        }
    }
    Pair::new(V::load(&wide[0]), V::load(&wide[1]))
}

/// As it will be after it was stored as T.
#[inline(always)]
fn rounded<T: Real, V: Lanes<f64>>(z: Pair<V>) -> Pair<V> {
    let mut wide = [[0.0; 16]; 2];
    z.re.store(&mut wide[0]);
    z.im.store(&mut wide[1]);
    for part in &mut wide {
        for x in &mut part[..V::N] {
            *x = T::from_f64(*x).to_f64();
        }
    }
    Pair::new(V::load(&wide[0]), V::load(&wide[1]))
}

/// Gradients of the parameters of some channels in f64, pairs outermost and channels in lanes.
pub(super) struct Spread<'a> {
    /// Of log Δ, for every pair on its own.
    pub(super) log_dt: &'a mut [f64],
    pub(super) log_decay: &'a mut [f64],
    pub(super) frequency: &'a mut [f64],
    pub(super) b: [&'a mut [f64]; 2],
    pub(super) c: [&'a mut [f64]; 2],
}

impl<'a> Spread<'a> {
    pub(super) const ARRAYS: usize = 7;

    /// `buffer`: `ARRAYS` times pairs · lanes.
    pub(super) fn new(buffer: &'a mut [f64]) -> Self {
        let each = buffer.len() / Self::ARRAYS;
        let [log_dt, log_decay, frequency, b_re, b_im, c_re, c_im] = split(buffer, [each; Self::ARRAYS]);
        Self { log_dt, log_decay, frequency, b: [b_re, b_im], c: [c_re, c_im] }
    }

    /// From the gradients of Ā, of B̄ and of C at one place.
    #[inline(always)]
    pub(super) fn put<V: Lanes<f64>>(&mut self, rule: super::Rule, x: &Gathered<'_>, at: usize, [da, db, dc]: [Pair<V>; 3]) {
        let (dt, rate) = (V::load(&x.dt[at..]), Pair::<V>::load(x.rate[0], x.rate[1], at));
        let z = rate.scale(dt);
        let mode = discretise(rule, z);
        let b = Pair::load(x.b[0], x.b[1], at);
        // B̄ = Δ·g(z)·B.
        let input = mode.gain.scale(dt);
        let of_b = input.conj_fma(db, Pair::zero());
        let of_z = mode.da.conj_fma(da, mode.dgain.scale(dt).mul(b).conj_fma(db, Pair::zero()));
        let direct = input.mul(b);
        // Δ·d/dΔ: by way of z = ΔA, and the factor Δ of B̄.
        let of_step = z.re.fma(of_z.re, z.im.mul(of_z.im)).add(direct.re.fma(db.re, direct.im.mul(db.im)));
        of_step.store(&mut self.log_dt[at..]);
        of_z.re.mul(z.re).store(&mut self.log_decay[at..]);
        of_z.im.mul(dt).store(&mut self.frequency[at..]);
        for (v, to) in [of_b.re, of_b.im].into_iter().zip(&mut self.b).chain([dc.re, dc.im].into_iter().zip(&mut self.c)) {
            v.store(&mut to[at..]);
        }
    }
}

/// The way back: from the gradients of the coefficients to those of the parameters. `from` has the layout of the coefficients.
pub(super) struct Finish<'a, T> {
    pub(super) s4d: &'a S4d<'a, T>,
    pub(super) x: Gathered<'a>,
    pub(super) from: &'a [T],
    pub(super) to: Spread<'a>,
}

impl<T: Real> Kernel<f64> for Finish<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<V: Lanes<f64>>(self) {
        let Self { s4d, x, from, mut to } = self;
        let (n, lanes) = (s4d.pairs, T::LANES);
        let (of_pairs, of_channels) = from.split_at(n * FIELDS * 2 * lanes);
        for pair in 0..n {
            let line = &of_pairs[pair * FIELDS * 2 * lanes..(pair + 1) * FIELDS * 2 * lanes];
            for half in 0..lanes / V::N {
                let at = half * V::N;
                let place = pair * lanes + at;
                let [a, b, c] = mode_at::<V>(s4d.rule, &x, place);
                let two = V::splat(2.0);
                let (twice, twice_b) = (c.scale(two), b.scale(two));
                let [mut da, mut db, mut dc] = [Pair::<V>::zero(); 3];
                // Powers Ā^k for k = 0..=BLOCK, the one before at `lower`.
                let mut power = Pair::new(V::splat(1.0), V::splat(0.0));
                let mut lower = Pair::zero();
                for k in 0..=BLOCK {
                    let slope = lower.scale(V::splat(k as f64));
                    if k < BLOCK {
                        let g = get::<T, V>(line, 1 + BLOCK - 1 - k, at);
                        db = power.conj_fma(g, db);
                        da = slope.mul(b).conj_fma(g, da);
                        // K_k = 2·Re(C·Ā^k·B̄).
                        let mut wide = [0.0; 16];
                        for (to, from) in wide[..V::N].iter_mut().zip(&of_channels[k * lanes + at..]) {
                            *to = from.to_f64();
                        }
                        let g = Pair::new(V::load(&wide), V::splat(0.0));
                        dc = power.mul(twice_b).conj_fma(g, dc);
                        db = power.mul(twice).conj_fma(g, db);
                        da = slope.mul(twice).mul(b).conj_fma(g, da);
                    }
                    if k > 0 {
                        let g = get::<T, V>(line, 1 + BLOCK + k - 1, at);
                        dc = power.scale(two).conj_fma(g, dc);
                        da = slope.mul(twice).conj_fma(g, da);
                    }
                    if k == BLOCK {
                        da = slope.conj_fma(get::<T, V>(line, 0, at), da);
                    }
                    (lower, power) = (power, power.mul(a));
                }
                da = da.add(get::<T, V>(line, SINGLE, at));
                db = db.add(get::<T, V>(line, SINGLE + 1, at));
                let g = get::<T, V>(line, SINGLE + 2, at);
                dc = a.scale(two).conj_fma(g, dc);
                da = twice.conj_fma(g, da);
                to.put(s4d.rule, &x, place, [da, db, dc]);
            }
        }
    }
}
