//! The error function, the normal distribution and GELU.
//!
//! One smooth factor carries all of it: `Q(a) = exp(−a²/2)·M(a)` is the upper tail of the normal distribution and M a ratio of two
//! polynomials with positive coefficients, good for every a >= 0 at which Q is not 0. So tails keep their relative precision.

use super::exp::exp_minus;
use super::{constant, polynomial, polynomial_pairs};
use crate::kernels::simd::{Lanes, Real};

/// `Q(a)·exp(a²/2)` for a >= 0.
#[inline(always)]
fn tail_factor<T: Real, V: Lanes<T>>(a: V) -> V {
    let square = a.mul(a);
    polynomial_pairs(a, square, T::TAIL.0).div(polynomial_pairs(a, square, T::TAIL.1))
}

/// `exp(−a²/2)`.
#[inline(always)]
fn bell<T: Real, V: Lanes<T>>(a: V) -> V {
    let half = constant::<T, V>(0.5);
    let square = a.mul(a);
    let lost = a.neg_fma(a, square).neg();
    exp_minus(square.mul(half), lost.mul(half))
}

/// The error function `2/√π ∫₀ˣ exp(−t²) dt`; odd.
#[inline(always)]
pub fn erf<T: Real, V: Lanes<T>>(x: V) -> V {
    let one = V::splat(T::ONE);
    let a = V::splat(T::ERF_END).min(x.abs());
    let square = a.mul(a);
    let near = polynomial(square, T::ERF).fma(a, a);
    let tail = exp_minus(square, V::splat(T::ZERO)).mul(tail_factor(a.mul(constant(std::f64::consts::SQRT_2))));
    let far = tail.neg_fma(constant(2.0), one);
    V::select(a.lt(one), near, far).copysign(x)
}

/// `1 − erf(x)`, to full relative precision while it is a normal number.
#[inline(always)]
pub fn erfc<T: Real, V: Lanes<T>>(x: V) -> V {
    let a = (constant::<T, V>(std::f64::consts::FRAC_1_SQRT_2).mul(V::splat(T::TAIL_END))).min(x.abs());
    let square = a.mul(a);
    let lost = a.neg_fma(a, square).neg();
    let two = constant::<T, V>(2.0);
    let tail = exp_minus(square, lost).mul(tail_factor(a.mul(constant(std::f64::consts::SQRT_2))));
    V::select(x.lt(V::splat(T::ZERO)), tail.neg_fma(two, two), tail.mul(two))
}

/// `x·Φ(x)` with the normal distribution function Φ (the exact GELU, not the tanh form); 0 at −∞.
///
/// Source: Hendrycks and Gimpel, "Gaussian error linear units", 2016.
#[inline(always)]
pub fn gelu<T: Real, V: Lanes<T>>(x: V) -> V {
    gelu_and_derivative(x).0
}

/// `x·Φ(x)` and its derivative `Φ(x) + x·φ(x)`, from one exponential and one division.
///
/// The derivative has a root at −0.7517…, near which its error is small against 1, not against itself.
#[inline(always)]
pub fn gelu_and_derivative<T: Real, V: Lanes<T>>(x: V) -> (V, V) {
    let (zero, one) = (V::splat(T::ZERO), V::splat(T::ONE));
    // Bounded, so that no product is ∞·0.
    let a = V::splat(T::TAIL_END).min(x.abs());
    let bell = bell(a);
    let factor = tail_factor(a);
    // With the ramp max(x, 0): x·Φ(x) = ramp − a·Q(a), and the derivatives at a and −a add to 1. The left one is
    // Q(a) − a·φ(a), φ = bell / √(2π).
    let value = a.mul(factor).neg_fma(bell, zero.max(x));
    let left = a.neg_fma(constant(0.398_942_280_401_432_7), factor).mul(bell);
    (value, V::select(x.lt(zero), left, one.sub(left)))
}
