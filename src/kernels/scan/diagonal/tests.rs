//! The decays and the sums that tiles are made of.

use crate::kernels::simd::{Kernel, Lanes, Real, available, dispatch, math, with_isa};
use crate::kernels::testing::{bits, cast, numbers};

/// 2^(x·y) of a vector: the long way, and the short way.
struct Powers<'a, T>(&'a [T], &'a [T]);

impl<T: Real> Kernel<T> for Powers<'_, T> {
    type Output = [Vec<T>; 2];
    #[inline(always)]
    fn run<V: Lanes<T>>(self) -> [Vec<T>; 2] {
        let (x, y) = (V::load(self.0), math::exp2_factor::<T, V>(V::load(self.1)));
        let (mut any, mut near) = ([T::ZERO; 16], [T::ZERO; 16]);
        math::exp2_product::<T, V>(x, y).store(&mut any);
        math::exp2_product_near::<T, V>(x, y).store(&mut near);
        [any[..V::N].to_vec(), near[..V::N].to_vec()]
    }
}

struct Sums<'a, T>(&'a [T]);

impl<T: Real> Kernel<T> for Sums<'_, T> {
    type Output = [Vec<T>; 2];
    #[inline(always)]
    fn run<V: Lanes<T>>(self) -> [Vec<T>; 2] {
        let (mut together, mut each) = ([T::ZERO; 16], [T::ZERO; 16]);
        V::sums(self.0).store(&mut together);
        for (i, v) in self.0.chunks_exact(V::N).enumerate() {
            each[i] = V::load(v).sum();
        }
        [together[..V::N].to_vec(), each[..V::N].to_vec()]
    }
}

fn powers_are_exponentials<T: Real>(epsilon: f64, reach: f64) {
    let (x, y) = (numbers(1, 16 * 500), numbers(2, 16 * 500));
    for size in [1e-6, 0.1, 1.0, reach] {
        for (x, y) in x.chunks(16).zip(y.chunks(16)) {
            let (x, y): (Vec<T>, Vec<T>) = (cast(x), cast(&y.iter().map(|y| y * size).collect::<Vec<_>>()));
            let [any, near] = dispatch(Powers(&x, &y));
            assert_eq!(bits(&any), bits(&near));
            for i in 0..any.len() {
                // 2 units, and the rounding of A′ in the exponent.
                let (exponent, found) = (x[i].to_f64() * y[i].to_f64(), any[i].to_f64());
                let error = (found / exponent.exp() - 1.0).abs();
                assert!(error <= epsilon * (2.0 + exponent.abs()), "exp({exponent}) is {found}: {error}");
            }
            for isa in available() {
                assert_eq!(with_isa(isa, || dispatch(Powers(&x, &y)).map(|v| bits(&v))), [bits(&any), bits(&near)], "{isa:?}");
            }
        }
    }
    let edges = [0.0, -1e3, 1e3, -1e30, 1e30, f64::NEG_INFINITY, f64::INFINITY, f64::NAN];
    let edges: Vec<T> = cast(&[edges, edges].concat());
    for isa in available() {
        let [any, _] = with_isa(isa, || dispatch(Powers(&edges, &[T::ONE; 16])));
        let found: Vec<f64> = any[..7].iter().map(|v| v.to_f64()).collect();
        assert_eq!(found, [1.0, 0.0, f64::INFINITY, 0.0, f64::INFINITY, 0.0, f64::INFINITY], "{isa:?}");
        assert!(any[7].to_f64().is_nan());
    }
}

#[test]
fn decays_are_exponentials_on_every_instruction_set() {
    powers_are_exponentials::<f32>(f32::EPSILON as f64, 80.0);
    // The reference is as exact as the result.
    powers_are_exponentials::<f64>(2.0 * f64::EPSILON, 700.0);
}

#[test]
fn sums_of_many_vectors_are_those_of_each() {
    fn check<T: Real>() {
        let x: Vec<T> = cast(&numbers(3, 256));
        let x = &x[..T::LANES * T::LANES];
        let [_, exact] = with_isa(available()[0], || dispatch(Sums(x)));
        for isa in available() {
            let [together, each] = with_isa(isa, || dispatch(Sums(x)));
            assert_eq!([bits(&together), bits(&each)], [bits(&exact), bits(&exact)], "{isa:?}");
        }
    }
    check::<f32>();
    check::<f64>();
}
