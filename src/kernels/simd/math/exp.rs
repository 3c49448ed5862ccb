//! The exponential function and the reduction that others share.

use super::{constant, polynomial};
use crate::kernels::simd::{Lanes, Real};

/// `eˣ`: ∞ above the range, subnormal numbers and then 0 below it.
#[inline(always)]
pub fn exp<T: Real, V: Lanes<T>>(x: V) -> V {
    // A NaN stays: `min` and `max` return their second argument then.
    let x = V::splat(T::EXP_RANGE.1).min(V::splat(T::EXP_RANGE.0).max(x));
    scaled(Reduced::new(x))
}

/// `eˣ` for x <= 0.
#[inline(always)]
pub(super) fn exp_down<T: Real, V: Lanes<T>>(x: V) -> V {
    scaled(Reduced::new(V::splat(T::EXP_RANGE.0).max(x)))
}

/// `exp(−h − l)` for h >= 0 below the range's end and a rounding error l of it: squares need it, as their rounding error is as
/// large as many ulp of the result.
#[inline(always)]
pub(super) fn exp_minus<T: Real, V: Lanes<T>>(h: V, l: V) -> V {
    let Reduced { n, high, low } = Reduced::new(h.neg());
    scaled(Reduced { n, high, low: low.sub(l) })
}

/// `a·log₂e`: [`exp2_product`] of it and x is `exp(a·x)`.
#[inline(always)]
pub fn exp2_factor<T: Real, V: Lanes<T>>(a: V) -> V {
    a.fma(V::splat(T::LOG2_E.0), a.mul(V::splat(T::LOG2_E.1)))
}

/// `2^(x·y)`; the product is not rounded. ∞ above the range, subnormal numbers and then 0 below it.
#[inline(always)]
pub fn exp2_product<T: Real, V: Lanes<T>>(x: V, y: V) -> V {
    let (end, half) = (V::splat(T::EXP2_END), constant::<T, V>(0.5));
    // Bounded, so that the rest stays one outside the range. A NaN stays, as in `exp`.
    let n = end.min(end.neg().max(nearest(x, y)));
    let rest = half.min(half.neg().max(x.neg_fma(y, n)));
    exp2_minus(rest).scale_exp2(n)
}

/// [`exp2_product`] where |x·y| <= `EXP2_NEAR`, with the same bits and fewer operations. Other values: unspecified, but for NaN.
#[inline(always)]
pub fn exp2_product_near<T: Real, V: Lanes<T>>(x: V, y: V) -> V {
    let n = nearest(x, y);
    exp2_minus(x.neg_fma(y, n)).scale_exp2_near(n)
}

/// The integer nearest to x·y where that is far below 2^mantissa; ±∞ and NaN stay.
#[inline(always)]
fn nearest<T: Real, V: Lanes<T>>(x: V, y: V) -> V {
    // Next to this number the floats are the integers.
    let integers = V::splat(T::INTEGERS);
    x.fma(y, integers).sub(integers)
}

/// `2⁻ˢ` for |s| <= ½.
#[inline(always)]
fn exp2_minus<T: Real, V: Lanes<T>>(s: V) -> V {
    polynomial(s, T::EXP2).fma(s, V::splat(T::ONE))
}

/// `x = n·ln 2 + high + low` with integer n, |high| <= ln 2 / 2 and a small `low`.
pub(super) struct Reduced<V> {
    pub n: V,
    pub high: V,
    pub low: V,
}

impl<V: Copy> Reduced<V> {
    #[inline(always)]
    pub(super) fn new<T: Real>(x: V) -> Self
    where
        V: Lanes<T>,
    {
        let n = x.mul(constant(std::f64::consts::LOG2_E)).round();
        // `high` is exact: it is a multiple of the last place of ln 2 or x and no larger than ln 2 / 2.
        let high = n.neg_fma(V::splat(T::LN_2.0), x);
        Reduced { n, high, low: n.mul(V::splat(T::LN_2.1)).neg() }
    }
}

/// `exp(−a)` as a normal number times a power of two that is 1 except in the far tail. Factors that come between the two keep the
/// product exact where `exp(−a)` alone would be subnormal. For 0 <= a <= `LOGISTIC_END`.
#[inline(always)]
pub(super) fn exp_minus_split<T: Real, V: Lanes<T>>(a: V) -> (V, V) {
    let x = Reduced::new(a.neg());
    let near = V::splat(T::SPLIT).max(x.n);
    (mantissa(&x).mul(near.exp2_integer()), x.n.sub(near).exp2_integer())
}

/// `2ⁿ·exp(high + low)`.
#[inline(always)]
fn scaled<T: Real, V: Lanes<T>>(x: Reduced<V>) -> V {
    mantissa(&x).scale_exp2(x.n)
}

/// `exp(high + low)`, between √½ and √2.
#[inline(always)]
fn mantissa<T: Real, V: Lanes<T>>(x: &Reduced<V>) -> V {
    let r = x.high.add(x.low);
    polynomial(r, T::EXP).fma(r.mul(r), r).add(V::splat(T::ONE))
}
