//! Sums, products and multiples of slices. Each is one pass over memory and bound by it.

use super::map::{Map1, Map2, map1, map1_in_place, map2, map2_in_place};
use crate::kernels::simd::{Lanes, Real};

#[derive(Clone, Copy)]
struct Add;
#[derive(Clone, Copy)]
struct Sub;
#[derive(Clone, Copy)]
struct Mul;
#[derive(Clone, Copy)]
struct Scale<T>(T);
#[derive(Clone, Copy)]
struct Axpy<T>(T);

impl<T: Real> Map2<T> for Add {
    #[inline(always)]
    fn at<V: Lanes<T>>(self, a: V, b: V) -> V {
        a.add(b)
    }
}
impl<T: Real> Map2<T> for Sub {
    #[inline(always)]
    fn at<V: Lanes<T>>(self, a: V, b: V) -> V {
        a.sub(b)
    }
}
impl<T: Real> Map2<T> for Mul {
    #[inline(always)]
    fn at<V: Lanes<T>>(self, a: V, b: V) -> V {
        a.mul(b)
    }
}
impl<T: Real> Map1<T> for Scale<T> {
    #[inline(always)]
    fn at<V: Lanes<T>>(self, a: V) -> V {
        a.mul(V::splat(self.0))
    }
}
impl<T: Real> Map2<T> for Axpy<T> {
    #[inline(always)]
    fn at<V: Lanes<T>>(self, y: V, x: V) -> V {
        x.fma(V::splat(self.0), y)
    }
}

/// `out = a + b`. Equal lengths.
pub fn add<T: Real>(a: &[T], b: &[T], out: &mut [T]) {
    map2(Add, a, b, out);
}

/// `a += b`. Equal lengths.
pub fn add_assign<T: Real>(a: &mut [T], b: &[T]) {
    map2_in_place(Add, a, b);
}

/// `out = a − b`. Equal lengths.
pub fn sub<T: Real>(a: &[T], b: &[T], out: &mut [T]) {
    map2(Sub, a, b, out);
}

/// `out = a · b`, element by element. Equal lengths.
pub fn mul<T: Real>(a: &[T], b: &[T], out: &mut [T]) {
    map2(Mul, a, b, out);
}

/// `a = a · b`, element by element. Equal lengths.
pub fn mul_assign<T: Real>(a: &mut [T], b: &[T]) {
    map2_in_place(Mul, a, b);
}

/// `out = factor · a`. Equal lengths.
pub fn scale<T: Real>(factor: f64, a: &[T], out: &mut [T]) {
    map1(Scale(T::from_f64(factor)), a, out);
}

/// `x = factor · x`.
pub fn scale_in_place<T: Real>(factor: f64, x: &mut [T]) {
    map1_in_place(Scale(T::from_f64(factor)), x);
}

/// `y += factor · x`, rounded once. Equal lengths.
pub fn axpy<T: Real>(factor: f64, x: &[T], y: &mut [T]) {
    map2_in_place(Axpy(T::from_f64(factor)), y, x);
}

#[cfg(test)]
mod tests {
    use super::super::chunks::CHUNK;
    use super::*;

    fn inputs<T: Real>(len: usize) -> (Vec<T>, Vec<T>) {
        let at = |i: usize, k: usize| T::from_f64(((i * k) % 1009) as f64 / 37.0 - 13.0);
        ((0..len).map(|i| at(i, 31)).collect(), (0..len).map(|i| at(i, 57)).collect())
    }

    /// One rounding each, so every result must be the correctly rounded one.
    fn check<T: Real>(len: usize) {
        let (a, b) = inputs::<T>(len);
        let mut out = vec![T::from_f64(f64::NAN); len];
        let exact = |out: &[T], f: &dyn Fn(T, T) -> T| out.iter().zip(a.iter().zip(&b)).all(|(&o, (&x, &y))| o == f(x, y));
        let c = T::from_f64(0.3);
        add(&a, &b, &mut out);
        assert!(exact(&out, &|x, y| x + y));
        sub(&a, &b, &mut out);
        assert!(exact(&out, &|x, y| x - y));
        mul(&a, &b, &mut out);
        assert!(exact(&out, &|x, y| x * y));
        scale(0.3, &a, &mut out);
        assert!(exact(&out, &|x, _| x * c));
        let mut y = a.clone();
        add_assign(&mut y, &b);
        assert!(exact(&y, &|x, y| x + y));
        let mut y = a.clone();
        mul_assign(&mut y, &b);
        assert!(exact(&y, &|x, y| x * y));
        let mut y = a.clone();
        scale_in_place(0.3, &mut y);
        assert!(exact(&y, &|x, _| x * c));
        let mut y = a.clone();
        axpy(0.3, &b, &mut y);
        assert!(exact(&y, &|x, y| y.fma(c, x)));
    }

    #[test]
    fn every_result_is_rounded_once() {
        for len in [0, 1, 7, 8, 15, 16, 17, 33, CHUNK + 3] {
            check::<f32>(len);
            check::<f64>(len);
        }
        check::<f32>(5 * CHUNK + 9);
    }
}
