//! One mode over one step: x' = A·x + B·u becomes x_t = Ā·x_{t−1} + B̄·u_t.

use super::complex::Pair;
use crate::kernels::simd::{Lanes, math};

/// How the input is taken between steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// Constant (zero-order hold): Ā = e^{ΔA}, B̄ = (Ā − 1)/A·B.
    Zoh,
    /// The trapezoidal rule: Ā = (1 + ΔA/2)/(1 − ΔA/2), B̄ = Δ/(1 − ΔA/2)·B.
    Bilinear,
}

/// With z = ΔA: Ā(z), the gain g(z) in B̄ = Δ·g·B, and their derivatives in z.
#[derive(Clone, Copy)]
pub(super) struct Mode<V> {
    pub(super) a: Pair<V>,
    pub(super) gain: Pair<V>,
    pub(super) da: Pair<V>,
    pub(super) dgain: Pair<V>,
}

/// Terms of the series of g' for small z: at |z| = 1/2 the next is below 1e-17.
const TERMS: usize = 15;

/// (k + 1)/(k + 2)!
const SERIES: [f64; TERMS] = series();

const fn series() -> [f64; TERMS] {
    let mut c = [0.0; TERMS];
    let (mut k, mut factorial) = (0, 2.0);
    while k < TERMS {
        c[k] = (k + 1) as f64 / factorial;
        k += 1;
        factorial *= (k + 2) as f64;
    }
    c
}

/// The modes in the lanes.
#[inline(always)]
pub(super) fn discretise<V: Lanes<f64>>(rule: Rule, z: Pair<V>) -> Mode<V> {
    let (one, half) = (V::splat(1.0), V::splat(0.5));
    let unit = Pair::new(one, V::splat(0.0));
    match rule {
        Rule::Bilinear => {
            let near = z.scale(half);
            let gain = unit.sub(near).reciprocal();
            let da = gain.mul(gain);
            Mode { a: unit.add(near).mul(gain), gain, da, dgain: da.scale(half) }
        }
        Rule::Zoh => {
            let (s, c) = sin_cos(z.im.mul(half));
            let (sin, cos) = (s.mul(c).add(s.mul(c)), V::splat(2.0).neg_fma(s.mul(s), one));
            let size = math::exp::<f64, V>(z.re);
            let a = Pair::new(size.mul(cos), size.mul(sin));
            // e^x − 1 by the hyperbolic tangent, which is exact near 0; e^z − 1 with 1 − cos = 2·sin²(y/2).
            let t = math::tanh::<f64, V>(z.re.mul(half));
            let rise = t.add(t).div(one.sub(t));
            let less = Pair::new(rise.mul(cos).sub(s.mul(s).add(s.mul(s))), a.im);
            // For the smallest numbers 1 + z/2 is exact, and z² would be 0.
            let square = z.square();
            let tiny = square.lt(V::splat(1e-60));
            let near = unit.add(z.scale(half));
            let inverse = z.reciprocal();
            let far = less.mul(inverse);
            let gain = select(tiny, near, far);
            // g' = (e^z − g)/z cancels near 0, where its series takes over.
            let mut sum = Pair::new(V::splat(SERIES[TERMS - 1]), V::splat(0.0));
            for k in (0..TERMS - 1).rev() {
                sum = sum.fma(z, Pair::new(V::splat(SERIES[k]), V::splat(0.0)));
            }
            let dgain = select(square.lt(V::splat(0.25)), sum, a.sub(gain).mul(inverse));
            Mode { a, gain, da: a, dgain }
        }
    }
}

#[inline(always)]
fn select<V: Lanes<f64>>(mask: V::Mask, yes: Pair<V>, no: Pair<V>) -> Pair<V>
where
    V::Mask: Copy,
{
    Pair::new(V::select(mask, yes.re, no.re), V::select(mask, yes.im, no.im))
}

/// π/2 in three parts.
const QUARTER: [f64; 3] = [std::f64::consts::FRAC_PI_2, 6.123233995736766e-17, -1.4973849048591833e-33];

/// (−1)^k/(2k + `first`)! for k = 0..9.
const fn factorials(first: usize) -> [f64; 9] {
    let mut c = [0.0; 9];
    let (mut k, mut term) = (0, 1.0);
    while k < 9 {
        c[k] = term;
        k += 1;
        term /= -(((2 * k + first) * (2 * k + first - 1)) as f64);
    }
    c
}

const COSINE: [f64; 9] = factorials(0);
const SINE: [f64; 9] = factorials(1);

/// Sine and cosine, within some 1e-16 of the exact value for |x| up to about 1e6.
///
/// Series of nine terms on [−π/4, π/4], whose next terms are below 1e-17 there.
#[inline(always)]
pub(super) fn sin_cos<V: Lanes<f64>>(x: V) -> (V, V) {
    let n = x.mul(V::splat(std::f64::consts::FRAC_2_PI)).round();
    let r = n.neg_fma(V::splat(QUARTER[0]), x);
    let r = n.neg_fma(V::splat(QUARTER[1]), r);
    let r = n.neg_fma(V::splat(QUARTER[2]), r);
    let square = r.mul(r);
    let (mut sin, mut cos) = (V::splat(SINE[8]), V::splat(COSINE[8]));
    for k in (1..8).rev() {
        sin = sin.fma(square, V::splat(SINE[k]));
        cos = cos.fma(square, V::splat(COSINE[k]));
    }
    let sin = sin.mul(square).fma(r, r);
    let cos = cos.fma(square, V::splat(COSINE[0]));
    // Quarter turns: n − 4·round(n/4) is in −2..=2, and ±2 is the same turn.
    let turn = V::splat(4.0).neg_fma(n.mul(V::splat(0.25)).round(), n);
    let side = turn.abs();
    let one_side = V::select(V::splat(1.5).lt(side), V::splat(0.0), side);
    let odd = V::splat(0.5).lt(one_side);
    let (zero_sin, zero_cos) = (V::select(odd, cos, sin), V::select(odd, sin, cos));
    let back = V::splat(1.5).lt(side);
    // sin changes its sign at turns −1 and ±2, cos at turns 1 and ±2.
    let flip_sin = V::select(back, V::splat(-1.0), V::select(turn.lt(V::splat(-0.5)), V::splat(-1.0), V::splat(1.0)));
    let flip_cos = V::select(back, V::splat(-1.0), V::select(V::splat(0.5).lt(turn), V::splat(-1.0), V::splat(1.0)));
    (zero_sin.mul(flip_sin), zero_cos.mul(flip_cos))
}

/// `(cos, sin)` of 2π·numerator/denominator, the same on every machine.
pub(super) fn root_of_unity(numerator: usize, denominator: usize) -> (f64, f64) {
    // Within an eighth of a turn of the nearest quarter turn, where the angle is small and exact.
    let (n, d) = (numerator % denominator, denominator);
    let quarter = (8 * n + d) / (2 * d);
    let angle = (4 * n) as f64 - (quarter * d) as f64;
    let r = angle / (4 * d) as f64 * std::f64::consts::TAU;
    let square = r * r;
    let (mut sin, mut cos) = (SINE[8], COSINE[8]);
    for k in (0..8).rev() {
        sin = sin * square + SINE[k];
        cos = cos * square + COSINE[k];
    }
    sin *= r;
    match quarter % 4 {
        0 => (cos, sin),
        1 => (-sin, cos),
        2 => (-cos, -sin),
        _ => (sin, -cos),
    }
}
