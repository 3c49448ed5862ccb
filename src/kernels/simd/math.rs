//! Elementary functions on whole vectors, for `f32` and `f64`.
//!
//! Every function is generic over the float `T` and its vector `V`, has no branches and no tables, and is meant to be called inside
//! a [`Kernel`](super::Kernel): `math::exp::<T, V>(v)`. The `*_in_place` functions and the two-output forms work on slices and
//! choose the instruction set themselves. As they only use the operations of [`Lanes`], they give the same bits on
//! every instruction set.
//!
//! Errors are counted in ulp, units in the last place of the exact result. The bounds of the `f32` forms come from a sweep over
//! every finite `f32`, those of the `f64` forms from samples against a reference of twice the precision:
//!
//! | function | f32 | f64 | remark |
//! |---|---|---|---|
//!
//! The coefficients are minimax fits of our own (Remez exchange in 60 digits, coefficients rounded one at a time and the rest
//! fitted again); the fitted function and the error of the fit stand beside each table.

mod exp;
mod log;
mod logistic;
mod normal;
#[cfg(test)]
mod oracle;
mod slices;
mod tables;
#[cfg(test)]
mod tests;

pub use exp::{exp, exp2_factor, exp2_product, exp2_product_near};
pub use log::log;
pub use logistic::{sigmoid, silu, silu_and_derivative, softplus, softplus_and_derivative, tanh};
pub use normal::{erf, erfc, gelu, gelu_and_derivative};
pub use slices::{
    erf_in_place, erfc_in_place, exp_in_place, gelu_and_derivative_of, gelu_in_place, log_in_place, sigmoid_in_place,
    silu_and_derivative_of, silu_in_place, softplus_and_derivative_of, softplus_in_place, tanh_in_place,
};
pub use tables::Tables;

use super::{Lanes, Real};

/// `c[0] + c[1]·x + c[2]·x² + …` by Horner's rule.
#[inline(always)]
fn polynomial<T: Real, V: Lanes<T>>(x: V, c: &[T]) -> V {
    let mut i = c.len() - 1;
    let mut y = V::splat(c[i]);
    while i > 0 {
        i -= 1;
        y = y.fma(x, V::splat(c[i]));
    }
    y
}

/// [`polynomial`] with pairs of terms in x under Horner's rule in x²: as many operations, half as many roundings in a row.
#[inline(always)]
fn polynomial_pairs<T: Real, V: Lanes<T>>(x: V, square: V, c: &[T]) -> V {
    let mut i = c.len() & !1;
    // An even degree leaves one term on top.
    let mut y = if i < c.len() {
        V::splat(c[i])
    } else {
        i -= 2;
        V::splat(c[i + 1]).fma(x, V::splat(c[i]))
    };
    while i > 0 {
        i -= 2;
        y = y.fma(square, V::splat(c[i + 1]).fma(x, V::splat(c[i])));
    }
    y
}

/// A constant given in double precision, rounded to `T`.
#[inline(always)]
fn constant<T: Real, V: Lanes<T>>(x: f64) -> V {
    V::splat(T::from_f64(x))
}
