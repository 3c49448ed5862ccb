//! Drivers: one vector expression applied to whole slices.

use super::chunks;
use crate::kernels::simd::{Kernel, Lanes, Real, dispatch};

/// An expression of one operand. `at` must be `#[inline(always)]`.
pub trait Map1<T: Real>: Copy + Send + Sync {
    /// The result for one vector of elements.
    fn at<V: Lanes<T>>(self, a: V) -> V;
}

/// An expression of two operands. `at` must be `#[inline(always)]`.
pub trait Map2<T: Real>: Copy + Send + Sync {
    /// The result for one vector of elements.
    fn at<V: Lanes<T>>(self, a: V, b: V) -> V;
}

struct Unary<'a, T, F>(F, &'a [T], &'a mut [T]);

impl<T: Real, F: Map1<T>> Kernel<T> for Unary<'_, T, F> {
    type Output = ();
    #[inline(always)]
    fn run<V: Lanes<T>>(self) {
        let Self(f, a, out) = self;
        let mut outs = out.chunks_exact_mut(V::N);
        let mut ins = a.chunks_exact(V::N);
        for (out, a) in (&mut outs).zip(&mut ins) {
            f.at(V::load(a)).store(out);
        }
        f.at(V::load_partial(ins.remainder())).store_partial(outs.into_remainder());
    }
}

struct UnaryInPlace<'a, T, F>(F, &'a mut [T]);

impl<T: Real, F: Map1<T>> Kernel<T> for UnaryInPlace<'_, T, F> {
    type Output = ();
    #[inline(always)]
    fn run<V: Lanes<T>>(self) {
        let Self(f, x) = self;
        let mut whole = x.chunks_exact_mut(V::N);
        for x in &mut whole {
            f.at(V::load(x)).store(x);
        }
        let rest = whole.into_remainder();
        f.at(V::load_partial(rest)).store_partial(rest);
    }
}

struct Binary<'a, T, F>(F, &'a [T], &'a [T], &'a mut [T]);

impl<T: Real, F: Map2<T>> Kernel<T> for Binary<'_, T, F> {
    type Output = ();
    #[inline(always)]
    fn run<V: Lanes<T>>(self) {
        let Self(f, a, b, out) = self;
        let mut outs = out.chunks_exact_mut(V::N);
        let (mut left, mut right) = (a.chunks_exact(V::N), b.chunks_exact(V::N));
        for ((out, a), b) in (&mut outs).zip(&mut left).zip(&mut right) {
            f.at(V::load(a), V::load(b)).store(out);
        }
        f.at(V::load_partial(left.remainder()), V::load_partial(right.remainder())).store_partial(outs.into_remainder());
    }
}

struct BinaryInPlace<'a, T, F>(F, &'a mut [T], &'a [T]);

impl<T: Real, F: Map2<T>> Kernel<T> for BinaryInPlace<'_, T, F> {
    type Output = ();
    #[inline(always)]
    fn run<V: Lanes<T>>(self) {
        let Self(f, a, b) = self;
        let mut left = a.chunks_exact_mut(V::N);
        let mut right = b.chunks_exact(V::N);
        for (a, b) in (&mut left).zip(&mut right) {
            f.at(V::load(a), V::load(b)).store(a);
        }
        let rest = left.into_remainder();
        f.at(V::load_partial(rest), V::load_partial(right.remainder())).store_partial(rest);
    }
}

/// `out = f(a)`. Lengths must be equal.
pub fn map1<T: Real, F: Map1<T>>(f: F, a: &[T], out: &mut [T]) {
    assert_eq!(a.len(), out.len(), "map1: lengths differ");
    chunks::for_each(out, |start, out| dispatch(Unary(f, &a[start..start + out.len()], out)));
}

/// `x = f(x)`.
pub fn map1_in_place<T: Real, F: Map1<T>>(f: F, x: &mut [T]) {
    chunks::for_each(x, |_, x| dispatch(UnaryInPlace(f, x)));
}

/// `out = f(a, b)`. Lengths must be equal.
pub fn map2<T: Real, F: Map2<T>>(f: F, a: &[T], b: &[T], out: &mut [T]) {
    assert!(a.len() == out.len() && b.len() == out.len(), "map2: lengths differ");
    chunks::for_each(out, |start, out| dispatch(Binary(f, &a[start..start + out.len()], &b[start..start + out.len()], out)));
}

/// `a = f(a, b)`. Lengths must be equal.
pub fn map2_in_place<T: Real, F: Map2<T>>(f: F, a: &mut [T], b: &[T]) {
    assert_eq!(a.len(), b.len(), "map2_in_place: lengths differ");
    chunks::for_each(a, |start, a| dispatch(BinaryInPlace(f, a, &b[start..start + a.len()])));
}
