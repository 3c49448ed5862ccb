//! The logistic function and its relatives: SiLU, softplus and tanh.

use super::exp::{Reduced, exp_down, exp_minus_split};
use super::log::log1p_unit;
use super::polynomial;
use crate::kernels::simd::{Lanes, Real};

/// The logistic function `σ(x) = 1 / (1 + e⁻ˣ)`, to full relative precision on both sides.
#[inline(always)]
pub fn sigmoid<T: Real, V: Lanes<T>>(x: V) -> V {
    sigmoid_from(exp_down(x.abs().neg()), x)
}

/// `σ(x)` from `t = exp(−|x|)`: `t / (1 + t)` below zero and `1 / (1 + t)` above, without cancellation.
#[inline(always)]
fn sigmoid_from<T: Real, V: Lanes<T>>(t: V, x: V) -> V {
    let one = V::splat(T::ONE);
    V::select(x.lt(V::splat(T::ZERO)), t, one).div(t.add(one))
}

/// `x·σ(x)`; 0 at −∞.
#[inline(always)]
pub fn silu<T: Real, V: Lanes<T>>(x: V) -> V {
    silu_and_derivative(x).0
}

/// `x·σ(x)` and its derivative `σ(x) + x·σ(x)·σ(−x)`, from one exponential and one division.
///
/// The derivative has a root at −1.278…, near which its error is small against 1, not against itself.
#[inline(always)]
pub fn silu_and_derivative<T: Real, V: Lanes<T>>(x: V) -> (V, V) {
    let (zero, one) = (V::splat(T::ZERO), V::splat(T::ONE));
    // Bounded, so that no product is ∞·0.
    let a = V::splat(T::LOGISTIC_END).min(x.abs());
    let (t, scale) = exp_minus_split(a);
    // σ(a) is `upper`, σ(−a) is `upper·t·scale`. `scale` goes to a factor that it cannot make subnormal.
    let upper = one.div(t.add(one));
    let weighted = a.mul(upper);
    // With the ramp max(x, 0): x·σ(x) = ramp − a·σ(−a), and the derivatives at a and −a add to 1.
    let value = weighted.mul(scale).neg_fma(t, zero.max(x));
    let left = a.neg_fma(upper, one).mul(upper.mul(scale)).mul(t);
    (value, V::select(x.lt(zero), left, one.sub(left)))
}

/// `ln(1 + eˣ)`, to full relative precision also far below zero.
#[inline(always)]
pub fn softplus<T: Real, V: Lanes<T>>(x: V) -> V {
    softplus_and_derivative(x).0
}

/// `ln(1 + eˣ)` and its derivative `σ(x)`, from one exponential.
#[inline(always)]
pub fn softplus_and_derivative<T: Real, V: Lanes<T>>(x: V) -> (V, V) {
    let t = exp_down(x.abs().neg());
    (V::splat(T::ZERO).max(x).add(log1p_unit(t)), sigmoid_from(t, x))
}

/// The hyperbolic tangent, to full relative precision also near 0.
#[inline(always)]
pub fn tanh<T: Real, V: Lanes<T>>(x: V) -> V {
    let one = V::splat(T::ONE);
    let a = V::splat(T::TANH_END).min(x.abs());
    // tanh a = (e²ᵃ − 1) / (e²ᵃ + 1), both sides divided by 2ⁿ: with e^r = 1 + p the numerator is (1 − 2⁻ⁿ) + p, and the
    // denominator 2·2⁻ⁿ more, so the quotient never passes 1. The large part of p comes first, which rounds little.
    let Reduced { n, high, low } = Reduced::new(a.add(a));
    let r = high.add(low);
    let scale = n.neg().exp2_integer();
    let curve = polynomial(r, T::EXP).fma(r.mul(r), low);
    let numerator = one.sub(scale).add(high).add(curve);
    let denominator = scale.add(scale).add(numerator);
    numerator.div(denominator).copysign(x)
}
