//! The kernel K of some channels, and the way back from its gradient to the parameters.
//!
//! Time is cut into tiles. Within one, a pair's term 2C·B̄·Ā^l runs by powers of Ā in the type of the data; at its start it is taken
//! from a seed in f64, so that rounding does not build up over the steps.

use super::coefficients::{Gathered, Spread, mode_at};
use super::{BLOCK, S4d, TILE};
use crate::kernels::bf16::Stored;
use crate::kernels::gemm::with_scratch;
use crate::kernels::pieces::split;
use crate::kernels::scan::lti::complex::Pair;
use crate::kernels::simd::{Kernel, Lanes, Real, dispatch};
use crate::kernels::transpose::transpose;
use std::ops::Range;

/// Complex numbers that a tile needs of a pair: the seed, then Ā^1..Ā^BLOCK.
const FIELDS: usize = 1 + BLOCK;

/// For all pairs of a vector of channels in f64: Ā, the power of a tile, and what runs from tile to tile.
struct Seeds<'a> {
    a: [&'a mut [f64]; 2],
    tile: [&'a mut [f64]; 2],
    term: [&'a mut [f64]; 2],
}

/// Starts the seeds: terms are 2C·B̄.
struct Start<'a, 'b, T> {
    s4d: &'a S4d<'a, T>,
    x: &'a Gathered<'a>,
    seeds: &'a mut Seeds<'b>,
}

/// Ā^TILE.
#[inline(always)]
fn tile_power<V: Lanes<f64>>(a: Pair<V>) -> Pair<V> {
    let mut power = a;
    let mut steps = 1;
    while steps < TILE {
        power = power.mul(power);
        steps *= 2;
    }
    power
}

impl<T: Real> Kernel<f64> for Start<'_, '_, T> {
    type Output = ();
    #[inline(always)]
    fn run<V: Lanes<f64>>(self) {
        let Seeds { a: a_to, tile, term } = self.seeds;
        let mut at = 0;
        while at < a_to[0].len() {
            let [a, b, c] = mode_at::<V>(self.s4d.rule, self.x, at);
            let power = tile_power(a);
            let first = c.add(c).mul(b);
            for (z, to) in [(a, &mut *a_to), (power, &mut *tile), (first, &mut *term)] {
                z.re.store(&mut to[0][at..]);
                z.im.store(&mut to[1][at..]);
            }
            at += V::N;
        }
    }
}

/// Writes what a tile needs, and takes the terms on to the next tile.
struct Next<'a, 'b, T> {
    seeds: &'a mut Seeds<'b>,
    to: &'a mut [T],
}

impl<T: Real> Kernel<f64> for Next<'_, '_, T> {
    type Output = ();
    #[inline(always)]
    fn run<V: Lanes<f64>>(self) {
        let Self { seeds, to } = self;
        let lanes = T::LANES;
        let mut at = 0;
        while at < seeds.a[0].len() {
            let (pair, lane) = (at / lanes, at % lanes);
            let line = &mut to[pair * FIELDS * 2 * lanes..(pair + 1) * FIELDS * 2 * lanes];
            let a = Pair::<V>::load(seeds.a[0], seeds.a[1], at);
            let term = Pair::<V>::load(seeds.term[0], seeds.term[1], at);
            narrow::<T, V>(term, line, 0, lane);
            let mut power = a;
            for k in 1..FIELDS {
                narrow::<T, V>(power, line, k, lane);
                power = power.mul(a);
            }
            let next = term.mul(Pair::load(seeds.tile[0], seeds.tile[1], at));
            next.re.store(&mut seeds.term[0][at..]);
            next.im.store(&mut seeds.term[1][at..]);
            at += V::N;
        }
    }
}

#[inline(always)]
fn narrow<T: Real, V: Lanes<f64>>(z: Pair<V>, line: &mut [T], field: usize, lane: usize) {
    let mut wide = [0.0; 16];
    for (part, v) in [z.re, z.im].into_iter().enumerate() {
        v.store(&mut wide);
        for (to, from) in line[(2 * field + part) * T::LANES + lane..].iter_mut().zip(&wide[..V::N]) {
            *to = T::from_f64(*from);
        }
    }
}

/// The lines of a tile from its seeds.
struct Lines<'a, T> {
    of_pairs: &'a [T],
    to: &'a mut [T],
}

impl<T: Real> Kernel<T> for Lines<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<V: Lanes<T>>(self) {
        self.to.fill(T::ZERO);
        for of_pair in self.of_pairs.chunks_exact(FIELDS * 2 * V::N) {
            let mut x = Pair::<V>::load_pair(of_pair);
            let mut powers = [Pair::<V>::zero(); BLOCK];
            for (k, power) in powers.iter_mut().enumerate() {
                *power = Pair::load_pair(&of_pair[2 * (1 + k) * V::N..]);
            }
            for block in self.to.chunks_exact_mut(BLOCK * V::N) {
                V::load(block).add(x.re).store(block);
                for k in 1..BLOCK {
                    let place = &mut block[k * V::N..];
                    let sum = powers[k - 1].re.fma(x.re, V::load(place));
                    powers[k - 1].im.neg_fma(x.im, sum).store(place);
                }
                x = powers[BLOCK - 1].mul(x);
            }
        }
    }
}

/// Numbers of a tile of lines, whatever their type.
const TILED: usize = TILE * 16;

/// Lines to the form in memory.
struct Store<'a, T, S>(&'a [T], &'a mut [S]);

impl<T: Real, S: Stored<T>> Kernel<T> for Store<'_, T, S> {
    type Output = ();
    #[inline(always)]
    fn run<V: Lanes<T>>(self) {
        for at in (0..self.0.len()).step_by(V::N) {
            S::put(V::load(&self.0[at..]), self.1, at, V::N);
        }
    }
}

/// Lines from the form in memory.
struct Fetch<'a, T, S>(&'a [S], &'a mut [T]);

impl<T: Real, S: Stored<T>> Kernel<T> for Fetch<'_, T, S> {
    type Output = ();
    #[inline(always)]
    fn run<V: Lanes<T>>(self) {
        for at in (0..self.1.len()).step_by(V::N) {
            S::get::<V>(self.0, at, V::N).store(&mut self.1[at..]);
        }
    }
}

/// Writes K (channels, `len`) of a vector of channels, on the calling thread.
pub(super) fn kernel<T: Real, S: Stored<T>>(s4d: &S4d<'_, T>, channels: Range<usize>, len: usize, to: &mut [S]) {
    let (n, lanes) = (s4d.pairs, T::LANES);
    let each = n * lanes;
    with_scratch((Gathered::ARRAYS + 6) * each, |wide: &mut [f64]| {
        let [gathered, rest] = split(wide, [Gathered::ARRAYS * each, 6 * each]);
        let x = Gathered::new(s4d, channels.clone(), gathered);
        let mut seeds = Seeds::new(rest, each);
        dispatch(Start { s4d, x: &x, seeds: &mut seeds });
        with_scratch((n * FIELDS * 2 + TILE) * lanes, |buffer: &mut [T]| {
            let mut stored = [S::nearest(T::ZERO); TILED];
            let [of_pairs, lines] = split(buffer, [n * FIELDS * 2 * lanes, TILE * lanes]);
            for first in (0..len).step_by(TILE) {
                let steps = (len - first).min(TILE);
                dispatch(Next { seeds: &mut seeds, to: of_pairs });
                dispatch(Lines { of_pairs, to: lines });
                dispatch(Store(&*lines, &mut stored[..lines.len()]));
                transpose((&stored, lanes), (steps, channels.len()), (&mut to[first..], len));
            }
        });
    });
}

impl<'a> Seeds<'a> {
    fn new(buffer: &'a mut [f64], each: usize) -> Self {
        let [a, b, c, d, e, f] = split(buffer, [each; 6]);
        Self { a: [a, b], tile: [c, d], term: [e, f] }
    }
}

/// For a tile: Σ_l dK_l·Ā^l and its derivative in Ā, by Horner's rule from the last step.
struct Sums<'a, T> {
    of_pairs: &'a [T],
    lines: &'a [T],
    /// Two complex numbers for each pair.
    to: &'a mut [T],
}

impl<T: Real> Kernel<T> for Sums<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<V: Lanes<T>>(self) {
        /// Pairs whose chains run side by side.
        const GROUP: usize = 4;
        let width = FIELDS * 2 * V::N;
        let pairs = self.of_pairs.len() / width;
        let mut first = 0;
        while first < pairs {
            // A last short group works on its last pair several times.
            let mut a = [Pair::<V>::zero(); GROUP];
            for (i, a) in a.iter_mut().enumerate() {
                *a = Pair::load_pair(&self.of_pairs[(first + i).min(pairs - 1) * width + 2 * V::N..]);
            }
            let (mut sum, mut slope) = ([Pair::<V>::zero(); GROUP], [Pair::<V>::zero(); GROUP]);
            for line in self.lines.chunks_exact(V::N).rev() {
                let dk = V::load(line);
                for i in 0..GROUP {
                    slope[i] = a[i].fma(slope[i], sum[i]);
                    sum[i] = a[i].fma(sum[i], Pair::new(dk, V::splat(T::ZERO)));
                }
            }
            for i in 0..GROUP.min(pairs - first) {
                sum[i].store_pair(&mut self.to[(first + i) * 4 * V::N..]);
                slope[i].store_pair(&mut self.to[(first + i) * 4 * V::N + 2 * V::N..]);
            }
            first += GROUP;
        }
    }
}

/// Takes the sums over tiles one tile back: P ← Ā^TILE·P + the tile's, and the derivative likewise.
struct Before<'a, 'b, T> {
    seeds: &'a mut Seeds<'b>,
    /// The derivative's sum.
    slope: &'a mut [&'b mut [f64]; 2],
    from: &'a [T],
}

#[inline(always)]
fn widen<T: Real, V: Lanes<f64>>(from: &[T]) -> V {
    let mut wide = [0.0; 16];
    for (to, from) in wide[..V::N].iter_mut().zip(from) {
        *to = from.to_f64();
    }
    V::load(&wide)
}

impl<T: Real> Kernel<f64> for Before<'_, '_, T> {
    type Output = ();
    #[inline(always)]
    fn run<V: Lanes<f64>>(self) {
        let Self { seeds, slope, from } = self;
        let lanes = T::LANES;
        let mut at = 0;
        while at < seeds.a[0].len() {
            let (pair, lane) = (at / lanes, at % lanes);
            let line = &from[pair * 4 * lanes..(pair + 1) * 4 * lanes];
            let here = Pair::<V>::new(widen::<T, V>(&line[lane..]), widen::<T, V>(&line[lanes + lane..]));
            let here_slope = Pair::<V>::new(widen::<T, V>(&line[2 * lanes + lane..]), widen::<T, V>(&line[3 * lanes + lane..]));
            let a = Pair::<V>::load(seeds.a[0], seeds.a[1], at);
            let power = Pair::<V>::load(seeds.tile[0], seeds.tile[1], at);
            // TILE·Ā^(TILE−1), as 63 = 32 + 16 + 8 + 4 + 2 + 1.
            let (mut lower, mut square, mut steps) = (a, a, 1);
            while 2 * steps < TILE {
                square = square.mul(square);
                lower = lower.mul(square);
                steps *= 2;
            }
            let lower = lower.scale(V::splat(TILE as f64));
            let sum = Pair::<V>::load(seeds.term[0], seeds.term[1], at);
            let rise = lower.fma(sum, here_slope);
            let new_slope = power.fma(Pair::load(slope[0], slope[1], at), rise);
            let new_sum = power.fma(sum, here);
            new_sum.re.store(&mut seeds.term[0][at..]);
            new_sum.im.store(&mut seeds.term[1][at..]);
            new_slope.re.store(&mut slope[0][at..]);
            new_slope.im.store(&mut slope[1][at..]);
            at += V::N;
        }
    }
}

/// From P = Σ_l dK_l·Ā^l and its derivative to the parameters: K_l = 2·Re(C·B̄·Ā^l).
struct Finish<'a, 'b, T> {
    s4d: &'a S4d<'a, T>,
    x: Gathered<'a>,
    seeds: Seeds<'b>,
    slope: [&'b mut [f64]; 2],
    to: Spread<'a>,
}

impl<T: Real> Kernel<f64> for Finish<'_, '_, T> {
    type Output = ();
    #[inline(always)]
    fn run<V: Lanes<f64>>(mut self) {
        let two = V::splat(2.0);
        let mut at = 0;
        while at < self.slope[0].len() {
            let [_, b, c] = mode_at::<V>(self.s4d.rule, &self.x, at);
            let sum = Pair::<V>::load(self.seeds.term[0], self.seeds.term[1], at).scale(two);
            let slope = Pair::<V>::load(self.slope[0], self.slope[1], at).scale(two);
            let (dc, db, da) = (b.mul(sum).conj(), c.mul(sum).conj(), c.mul(b).mul(slope).conj());
            self.to.put(self.s4d.rule, &self.x, at, [da, db, dc]);
            at += V::N;
        }
    }
}

/// From the gradient of K (channels, `len`) to those of the parameters, in `to` ([`Spread`]), on the calling thread.
pub(super) fn backward<T: Real, S: Stored<T>>(s4d: &S4d<'_, T>, channels: Range<usize>, len: usize, dk: &[S], to: &mut [f64]) {
    let (n, lanes) = (s4d.pairs, T::LANES);
    let each = n * lanes;
    with_scratch((Gathered::ARRAYS + 8) * each, |wide: &mut [f64]| {
        let [gathered, rest, slope_re, slope_im] = split(wide, [Gathered::ARRAYS * each, 6 * each, each, each]);
        let x = Gathered::new(s4d, channels.clone(), gathered);
        let mut seeds = Seeds::new(rest, each);
        let mut slope = [slope_re, slope_im];
        slope.iter_mut().for_each(|s| s.fill(0.0));
        dispatch(Start { s4d, x: &x, seeds: &mut seeds });
        with_scratch((n * (FIELDS * 2 + 4) + TILE) * lanes, |buffer: &mut [T]| {
            let mut stored = [S::nearest(T::ZERO); TILED];
            let [of_pairs, sums, lines] = split(buffer, [n * FIELDS * 2 * lanes, n * 4 * lanes, TILE * lanes]);
            dispatch(Next { seeds: &mut seeds, to: of_pairs });
            seeds.term.iter_mut().for_each(|s| s.fill(0.0));
            for first in (0..len).step_by(TILE).rev() {
                let steps = (len - first).min(TILE);
                stored.fill(S::nearest(T::ZERO));
                transpose((&dk[first..], len), (channels.len(), steps), (&mut stored, lanes));
                dispatch(Fetch(&stored[..lines.len()], &mut *lines));
                dispatch(Sums { of_pairs, lines, to: sums });
                dispatch(Before { seeds: &mut seeds, slope: &mut slope, from: sums });
            }
        });
        dispatch(Finish { s4d, x, seeds, slope, to: Spread::new(to) });
    });
}
