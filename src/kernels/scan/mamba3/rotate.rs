//! Angles, their sines and cosines, and rotations by them.

use super::pairs::Pairs;
use crate::kernels::rows::{each_vector, get, put};
use crate::kernels::simd::{Kernel, Lanes, Real, dispatch};
use std::f64::consts::{FRAC_2_PI, FRAC_PI_2, TAU};

/// sin r = r + r³·(c[0] + c[1]·r² + …) and cos r = 1 − r²/2 + r⁴·(d[0] + …) for |r| <= π/4: the series.
const SINE: [f64; 7] = [
    -1.0 / 6.0,
    1.0 / 120.0,
    -1.0 / 5040.0,
    1.0 / 362_880.0,
    -1.0 / 39_916_800.0,
    1.0 / 6_227_020_800.0,
    -1.0 / 1_307_674_368_000.0,
];
const COSINE: [f64; 7] = [
    1.0 / 24.0,
    -1.0 / 720.0,
    1.0 / 40_320.0,
    -1.0 / 3_628_800.0,
    1.0 / 479_001_600.0,
    -1.0 / 87_178_291_200.0,
    1.0 / 20_922_789_888_000.0,
];

#[inline(always)]
fn series<T: Real, V: Lanes<T>>(square: V, c: &[f64; 7]) -> V {
    // What is left out is below 2e-9 of the sine in f32 (four terms) and 7e-17 in f64 (all).
    let terms = if size_of::<T>() == 4 { 4 } else { 7 };
    let mut y = V::splat(T::from_f64(c[terms - 1]));
    for k in (0..terms - 1).rev() {
        y = y.fma(square, V::splat(T::from_f64(c[k])));
    }
    y
}

/// Sine and cosine for |x| <= 2π, with an error of 2^-23 or 2^-52 at most (against 1, not against the value). The same bits on
/// every machine, unlike those of the system's library.
#[inline(always)]
pub(super) fn sin_cos<T: Real, V: Lanes<T>>(x: V) -> (V, V) {
    let (one, zero) = (V::splat(T::ONE), V::splat(T::ZERO));
    // x = n·π/2 + r, with π/2 in two parts (the last number is what f64 leaves of it).
    let high = T::from_f64(FRAC_PI_2);
    let low = T::from_f64((FRAC_PI_2 - high.to_f64()) + 6.123233995736766e-17);
    let n = x.mul(V::splat(T::from_f64(FRAC_2_PI))).round();
    let r = n.neg_fma(V::splat(low), n.neg_fma(V::splat(high), x));
    let square = r.mul(r);
    let sine = series::<T, V>(square, &SINE).fma(square.mul(r), r);
    let half = V::splat(T::from_f64(0.5));
    let cosine = series::<T, V>(square, &COSINE).fma(square.mul(square), half.neg_fma(square, one));
    // n modulo 4 in −2 ..= 2.
    let four = V::splat(T::from_f64(4.0));
    let quarter = n.mul(V::splat(T::from_f64(0.25))).round().neg_fma(four, n);
    let size = quarter.abs();
    let odd = half.sub(size.sub(one).abs());
    let is_odd = zero.lt(odd);
    let s = V::select(is_odd, cosine, sine);
    let c = V::select(is_odd, sine, cosine);
    // The sine changes its sign for 2 and −1 quarters, the cosine for 1 and 2; −2 is 2.
    let three_halves = V::splat(T::from_f64(1.5));
    let opposite = three_halves.lt(size);
    let s = V::select(opposite, s.neg(), V::select(quarter.lt(half.neg()), s.neg(), s));
    let c = V::select(opposite, c.neg(), V::select(half.lt(quarter), c.neg(), c));
    (s, c)
}

/// Turns increments (steps, angles) into angles in [−π, π], in f64, and takes `last`, the angles before, on.
pub(super) struct Advance<'a> {
    pub steps: &'a mut [f64],
    pub last: &'a mut [f64],
}

impl Kernel<f64> for Advance<'_> {
    type Output = ();
    #[inline(always)]
    fn run<V: Lanes<f64>>(self) {
        let Self { steps, last } = self;
        let width = last.len();
        let (turn, per_turn) = (V::splat(TAU), V::splat(1.0 / TAU));
        each_vector!(V, width, |at, count| {
            let mut angle = get::<f64, V>(last, at, count);
            for row in steps.chunks_exact_mut(width) {
                angle = angle.add(get(row, at, count));
                angle = angle.mul(per_turn).round().neg_fma(turn, angle);
                put(angle, row, at, count);
            }
            put(angle, last, at, count);
        });
    }
}

struct SineCosine<'a, T>(&'a mut [T], &'a mut [T]);

impl<T: Real> Kernel<T> for SineCosine<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<V: Lanes<T>>(self) {
        let Self(sine, cosine) = self;
        each_vector!(V, sine.len(), |at, count| {
            let (s, c) = sin_cos::<T, V>(get(sine, at, count));
            put(s, sine, at, count);
            put(c, cosine, at, count);
        });
    }
}

/// Sines and cosines of angles in [−2π, 2π].
pub(super) fn sines_and_cosines<T: Real>(angles: &[f64], sine: &mut [T], cosine: &mut [T]) {
    sine.iter_mut().zip(angles).for_each(|(to, &x)| *to = T::from_f64(x));
    dispatch(SineCosine(sine, cosine));
}

/// An angle in [0, 2π) in `T`.
pub(super) fn positive<T: Real>(angle: f64) -> T {
    T::from_f64(if angle < 0.0 { angle + TAU } else { angle })
}

/// Adds the bias to rows (steps · rank, states), whose places are inside, and rotates them.
pub(super) struct Rotate<'a, T> {
    pub pairs: Pairs,
    pub rank: usize,
    pub from: &'a [T],
    /// Row stride of `from`.
    pub stride: usize,
    /// (rank, states).
    pub bias: &'a [T],
    /// (steps, angles), as the sine.
    pub cosine: &'a [T],
    pub sine: &'a [T],
    pub to: &'a mut [T],
}

impl<T: Real> Kernel<T> for Rotate<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<V: Lanes<T>>(self) {
        let Self { pairs, rank, from, stride, bias, cosine, sine, to } = self;
        let (n, s, second) = (pairs.states, pairs.count, pairs.second);
        let plain = pairs.plain();
        for (row, to) in to.chunks_exact_mut(n).enumerate() {
            let (from, bias) = (&from[row * stride..][..n], &bias[row % rank * n..][..n]);
            let (cosine, sine) = (&cosine[row / rank * s..][..s], &sine[row / rank * s..][..s]);
            each_vector!(V, s, |at, count| {
                let a = get::<T, V>(from, at, count).add(get(bias, at, count));
                let b = get::<T, V>(from, second + at, count).add(get(bias, second + at, count));
                let (c, s) = (get::<T, V>(cosine, at, count), get::<T, V>(sine, at, count));
                put(s.neg_fma(b, a.mul(c)), to, at, count);
                put(s.fma(a, b.mul(c)), to, second + at, count);
            });
            for (start, end) in plain {
                each_vector!(V, end - start, |at, count| {
                    let x = get::<T, V>(from, start + at, count).add(get(bias, start + at, count));
                    put(x, to, start + at, count);
                });
            }
        }
    }
}

#[inline(always)]
fn more<T: Real, V: Lanes<T>>(to: &mut [T], at: usize, count: usize, x: V) {
    put(get::<T, V>(to, at, count).add(x), to, at, count);
}

/// The way back of [`Rotate`], for the gradients of rotated rows.
pub(super) struct Unrotate<'a, T> {
    pub pairs: Pairs,
    pub rank: usize,
    /// The rows after the rotation, (steps · rank, states), and their gradients.
    pub rows: &'a [T],
    pub gradients: &'a [T],
    pub cosine: &'a [T],
    pub sine: &'a [T],
    /// (steps, angles): the gradients of the angles are added.
    pub angles: &'a mut [T],
    /// (steps · rank, states): those of the rows before the rotation are added, if wanted.
    pub to: Option<&'a mut [T]>,
    /// (rank, states): and here their sums over the steps.
    pub bias: &'a mut [T],
}

impl<T: Real> Kernel<T> for Unrotate<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<V: Lanes<T>>(self) {
        let Self { pairs, rank, rows, gradients, cosine, sine, angles, mut to, bias } = self;
        let (n, s, second) = (pairs.states, pairs.count, pairs.second);
        let plain = pairs.plain();
        for (row, (rows, gradients)) in rows.chunks_exact(n).zip(gradients.chunks_exact(n)).enumerate() {
            let (cosine, sine) = (&cosine[row / rank * s..][..s], &sine[row / rank * s..][..s]);
            let angles = &mut angles[row / rank * s..][..s];
            let bias = &mut bias[row % rank * n..][..n];
            let mut to = to.as_deref_mut().map(|to| &mut to[row * n..][..n]);
            each_vector!(V, s, |at, count| {
                let (a, b) = (get::<T, V>(rows, at, count), get::<T, V>(rows, second + at, count));
                let (da, db) = (get::<T, V>(gradients, at, count), get::<T, V>(gradients, second + at, count));
                let (c, s) = (get::<T, V>(cosine, at, count), get::<T, V>(sine, at, count));
                more(angles, at, count, da.neg_fma(b, db.mul(a)));
                let (da, db) = (s.fma(db, da.mul(c)), s.neg_fma(da, db.mul(c)));
                if let Some(to) = &mut to {
                    more(to, at, count, da);
                    more(to, second + at, count, db);
                }
                more(bias, at, count, da);
                more(bias, second + at, count, db);
            });
            for (start, end) in plain {
                each_vector!(V, end - start, |at, count| {
                    let d = get::<T, V>(gradients, start + at, count);
                    if let Some(to) = &mut to {
                        more(to, start + at, count, d);
                    }
                    more(bias, start + at, count, d);
                });
            }
        }
    }
}
