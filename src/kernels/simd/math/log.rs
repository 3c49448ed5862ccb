//! The natural logarithm.

use super::constant;
use crate::kernels::simd::{Lanes, Real};

/// `ln x`: −∞ at ±0, NaN below, ∞ at ∞.
#[inline(always)]
pub fn log<T: Real, V: Lanes<T>>(x: V) -> V {
    let zero = V::splat(T::ZERO);
    let one = V::splat(T::ONE);
    let small = x.lt(V::splat(T::SMALLEST_NORMAL));
    let lifted = V::select(small, x.mul(V::splat(T::LIFT.0)), x);
    let (mantissa, exponent) = lifted.frexp();
    let exponent = V::select(small, exponent.sub(V::splat(T::LIFT.1)), exponent);
    // Mantissa into [√½, √2], where the series is centred.
    let big = constant::<T, V>(std::f64::consts::SQRT_2).lt(mantissa);
    let mantissa = V::select(big, mantissa.mul(constant(0.5)), mantissa);
    let exponent = V::select(big, exponent.add(one), exponent);
    let f = mantissa.sub(one);
    let y = with_exponent(f, exponent);
    // ∞ and NaN as they are; then zero and negative numbers.
    let y = V::select(x.lt(constant(f64::INFINITY)), y, x);
    let y = V::select(x.lt(zero), constant(f64::NAN), y);
    V::select(zero.le(x.abs().neg()), constant(f64::NEG_INFINITY), y)
}

/// `ln(1 + t)` for 0 <= t <= 1.
#[inline(always)]
pub(super) fn log1p_unit<T: Real, V: Lanes<T>>(t: V) -> V {
    // Above √2 − 1 from (1 + t) / 2, whose distance from 1 needs no rounding of 1 + t.
    let big = constant::<T, V>(std::f64::consts::SQRT_2 - 1.0).lt(t);
    let half = constant::<T, V>(0.5);
    let f = V::select(big, t.fma(half, half.neg()), t);
    with_exponent(f, V::select(big, V::splat(T::ONE), V::splat(T::ZERO)))
}

/// `ln(1 + f) + exponent·ln 2`, the small parts first.
#[inline(always)]
fn with_exponent<T: Real, V: Lanes<T>>(f: V, exponent: V) -> V {
    let rest = exponent.fma(V::splat(T::LN_2.1), T::log_rest(f));
    exponent.fma(V::splat(T::LN_2.0), f.add(rest))
}
