//! Activations on a tile in the cache, on the calling thread.

use crate::kernels::elementwise::Activation;
use crate::kernels::simd::{Kernel, Lanes, Real, dispatch, math};

/// The activation and its derivative at x.
#[inline(always)]
fn both<T: Real, V: Lanes<T>>(activation: Activation, x: V) -> (V, V) {
    let one = V::splat(T::ONE);
    match activation {
        Activation::Identity => (x, one),
        Activation::Gelu => math::gelu_and_derivative::<T, V>(x),
        Activation::Silu => math::silu_and_derivative::<T, V>(x),
        Activation::Relu => {
            let zero = V::splat(T::ZERO);
            // As written, NaN gives NaN; at 0 the derivative is 0.
            let off = x.le(zero);
            (V::select(off, zero, x), V::select(off, zero, one))
        }
        Activation::Tanh => {
            let y = math::tanh::<T, V>(x);
            (y, y.neg_fma(y, one))
        }
        Activation::Sigmoid => {
            let y = math::sigmoid::<T, V>(x);
            (y, y.neg_fma(y, y))
        }
    }
}

#[inline(always)]
fn value<T: Real, V: Lanes<T>>(activation: Activation, x: V) -> V {
    match activation {
        Activation::Gelu => math::gelu::<T, V>(x),
        Activation::Silu => math::silu::<T, V>(x),
        _ => both::<T, V>(activation, x).0,
    }
}

struct Apply<'a, T>(Activation, &'a mut [T]);

impl<T: Real> Kernel<T> for Apply<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<V: Lanes<T>>(self) {
        let Self(activation, x) = self;
        // One loop for each, so that the choice is made outside of it.
        macro_rules! each {
            ($($kind:ident)*) => {
                match activation {
                    $(Activation::$kind => {
                        let mut whole = x.chunks_exact_mut(V::N);
                        for x in &mut whole {
                            value::<T, V>(Activation::$kind, V::load(x)).store(x);
                        }
                        let rest = whole.into_remainder();
                        if !rest.is_empty() {
                            value::<T, V>(Activation::$kind, V::load_partial(rest)).store_partial(rest);
                        }
                    })*
                }
            };
        }
        each!(Identity Gelu Silu Relu Tanh Sigmoid);
    }
}

struct Differentiate<'a, T>(Activation, &'a mut [T], &'a mut [T]);

impl<T: Real> Kernel<T> for Differentiate<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<V: Lanes<T>>(self) {
        let Self(activation, x, g) = self;
        macro_rules! each {
            ($($kind:ident)*) => {
                match activation {
                    $(Activation::$kind => {
                        let (mut xs, mut gs) = (x.chunks_exact_mut(V::N), g.chunks_exact_mut(V::N));
                        for (x, g) in (&mut xs).zip(&mut gs) {
                            let (y, slope) = both::<T, V>(Activation::$kind, V::load(x));
                            y.store(x);
                            V::load(g).mul(slope).store(g);
                        }
                        let (x, g) = (xs.into_remainder(), gs.into_remainder());
                        if !x.is_empty() {
                            let (y, slope) = both::<T, V>(Activation::$kind, V::load_partial(x));
                            y.store_partial(x);
                            V::load_partial(g).mul(slope).store_partial(g);
                        }
                    })*
                }
            };
        }
        each!(Identity Gelu Silu Relu Tanh Sigmoid);
    }
}

/// `x = act(x)`.
pub(in crate::kernels) fn apply<T: Real>(activation: Activation, x: &mut [T]) {
    if activation != Activation::Identity {
        dispatch(Apply(activation, x));
    }
}

/// `g = g · act'(x)` and `x = act(x)`. Equal lengths.
pub(in crate::kernels) fn differentiate<T: Real>(activation: Activation, x: &mut [T], g: &mut [T]) {
    assert_eq!(x.len(), g.len());
    if activation != Activation::Identity {
        dispatch(Differentiate(activation, x, g));
    }
}

struct Split<'a, T>(Activation, &'a mut [T], &'a mut [T]);

impl<T: Real> Kernel<T> for Split<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<V: Lanes<T>>(self) {
        let Self(activation, x, slope) = self;
        macro_rules! each {
            ($($kind:ident)*) => {
                match activation {
                    $(Activation::$kind => {
                        let (mut xs, mut slopes) = (x.chunks_exact_mut(V::N), slope.chunks_exact_mut(V::N));
                        for (x, slope) in (&mut xs).zip(&mut slopes) {
                            let (y, d) = both::<T, V>(Activation::$kind, V::load(x));
                            y.store(x);
                            d.store(slope);
                        }
                        let (x, slope) = (xs.into_remainder(), slopes.into_remainder());
                        if !x.is_empty() {
                            let (y, d) = both::<T, V>(Activation::$kind, V::load_partial(x));
                            y.store_partial(x);
                            d.store_partial(slope);
                        }
                    })*
                }
            };
        }
        each!(Identity Gelu Silu Relu Tanh Sigmoid);
    }
}

/// `slope = act'(x)` and `x = act(x)`. Equal lengths.
pub(in crate::kernels) fn split<T: Real>(activation: Activation, x: &mut [T], slope: &mut [T]) {
    assert_eq!(x.len(), slope.len());
    dispatch(Split(activation, x, slope));
}
