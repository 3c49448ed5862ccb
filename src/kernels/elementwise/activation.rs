//! Activation functions over slices, forward and backward.
//!
//! For layers that have no fused form of their own; the vector expressions come from `simd::math`. Backward functions take what the
//! forward pass had at hand: the input for gelu, silu and relu, the output for tanh and sigmoid. Cost: one pass over memory.

use super::map::{Map1, Map2, map1, map2};
use crate::kernels::simd::{Lanes, Real, math};

macro_rules! forward {
    ($(#[$doc:meta])* $name:ident, $kind:ident, |$x:ident| $value:expr) => {
        #[derive(Clone, Copy)]
        struct $kind;
        impl<T: Real> Map1<T> for $kind {
            #[inline(always)]
            fn at<V: Lanes<T>>(self, $x: V) -> V {
                $value
            }
        }
        $(#[$doc])*
        pub fn $name<T: Real>(x: &[T], out: &mut [T]) {
            map1($kind, x, out);
        }
    };
}

macro_rules! backward {
    ($(#[$doc:meta])* $name:ident, $kind:ident, |$saved:ident, $g:ident| $value:expr) => {
        #[derive(Clone, Copy)]
        struct $kind;
        impl<T: Real> Map2<T> for $kind {
            #[inline(always)]
            fn at<V: Lanes<T>>(self, $saved: V, $g: V) -> V {
                $value
            }
        }
        $(#[$doc])*
        pub fn $name<T: Real>($saved: &[T], gradient: &[T], out: &mut [T]) {
            map2($kind, $saved, gradient, out);
        }
    };
}

forward! {
    /// `out = x Φ(x)`, Φ the normal distribution function: the exact form, by the error function. Equal lengths.
    ///
    /// Source: Hendrycks & Gimpel (2016), "Gaussian error linear units".
    gelu, Gelu, |x| math::gelu::<T, V>(x)
}
backward! {
    /// `out = gradient · (Φ(x) + x φ(x))`, with the input `x` of [`gelu`]. Equal lengths.
    gelu_backward, GeluBackward, |x, g| g.mul(math::gelu_and_derivative::<T, V>(x).1)
}
forward! {
    /// `out = x σ(x)`. Equal lengths.
    silu, Silu, |x| math::silu::<T, V>(x)
}
backward! {
    /// `out = gradient · σ(x) (1 + x (1 − σ(x)))`, with the input `x` of [`silu`]. Equal lengths.
    silu_backward, SiluBackward, |x, g| g.mul(math::silu_and_derivative::<T, V>(x).1)
}
forward! {
    /// `out = max(x, 0)`; NaN stays NaN. Equal lengths.
    relu, Relu, |x| V::splat(T::ZERO).max(x)
}
backward! {
    /// `out = gradient` where `x > 0`, else 0; `x` may be the input or the output of [`relu`]. Equal lengths.
    relu_backward, ReluBackward, |x, g| {
        let zero = V::splat(T::ZERO);
        V::select(zero.lt(x), g, zero)
    }
}
forward! {
    /// `out = tanh(x)`. Equal lengths.
    tanh, Tanh, |x| math::tanh::<T, V>(x)
}
backward! {
    /// `out = gradient · (1 − y²)`, with the output `y` of [`tanh`]. Equal lengths.
    tanh_backward, TanhBackward, |y, g| g.mul(y.neg_fma(y, V::splat(T::ONE)))
}
forward! {
    /// `out = σ(x) = 1 / (1 + exp(−x))`. Equal lengths.
    sigmoid, Sigmoid, |x| math::sigmoid::<T, V>(x)
}
backward! {
    /// `out = gradient · y (1 − y)`, with the output `y` of [`sigmoid`]. Equal lengths.
    sigmoid_backward, SigmoidBackward, |y, g| g.mul(y.mul(V::splat(T::ONE).sub(y)))
}

#[cfg(test)]
mod tests {
    use super::super::reference;
    use super::*;

    type Forward<T> = fn(&[T], &mut [T]);
    type Backward<T> = fn(&[T], &[T], &mut [T]);
    type Plain = fn(f64) -> f64;

    /// Forward, backward, whether backward takes the output, the plain pair.
    type Row<T> = (&'static str, Forward<T>, Backward<T>, bool, Plain, Plain);

    fn table<T: Real>() -> [Row<T>; 5] {
        [
            ("gelu", gelu::<T>, gelu_backward::<T>, false, reference::gelu, reference::gelu_derivative),
            ("silu", silu::<T>, silu_backward::<T>, false, reference::silu, reference::silu_derivative),
            ("relu", relu::<T>, relu_backward::<T>, false, reference::relu, reference::relu_derivative),
            ("tanh", tanh::<T>, tanh_backward::<T>, true, f64::tanh, reference::tanh_derivative),
            ("sigmoid", sigmoid::<T>, sigmoid_backward::<T>, true, reference::sigmoid, reference::sigmoid_derivative),
        ]
    }

    fn check<T: Real>(len: usize, tol: f64) {
        let x: Vec<T> = (0..len).map(|i| T::from_f64(((i * 37) % 4001) as f64 / 200.0 - 10.0)).collect();
        let g: Vec<T> = (0..len).map(|i| T::from_f64((i as f64).sin())).collect();
        for (name, forward, backward, from_output, plain, slope) in table::<T>() {
            let (mut y, mut out) = (vec![T::from_f64(f64::NAN); len], vec![T::from_f64(f64::NAN); len]);
            forward(&x, &mut y);
            backward(if from_output { &y } else { &x }, &g, &mut out);
            for i in 0..len {
                let (at, exact) = (x[i].to_f64(), plain(x[i].to_f64()));
                assert!((y[i].to_f64() - exact).abs() <= tol * exact.abs().max(1.0), "{name}({at}) = {}, not {exact}", y[i]);
                let exact = slope(at) * g[i].to_f64();
                assert!((out[i].to_f64() - exact).abs() <= tol, "{name}'({at}) gives {}, not {exact}", out[i]);
            }
        }
    }

    #[test]
    fn values_and_slopes_are_those_of_the_definition() {
        // A few roundings of numbers up to 10 for values, up to about 1.1 for slopes; functions are good to 2 units.
        for len in [0, 1, 9, 16, 17, 4001] {
            check::<f32>(len, 8.0 * f64::from(f32::EPSILON));
            // The reference's error function is good to 1e-14.
            check::<f64>(len, 4e-14);
        }
        check::<f32>(70_000, 8.0 * f64::from(f32::EPSILON));
    }

    #[test]
    fn slopes_are_central_differences() {
        for (name, _, _, _, plain, slope) in table::<f64>() {
            for i in 0..200 {
                let (x, h) = (f64::from(i) / 20.0 - 5.013, 1e-5);
                let numeric = (plain(x + h) - plain(x - h)) / (2.0 * h);
                // Truncation h² f'''/6 is 1e-10 at most, the error function's 1e-14 over 2h 1e-9.
                assert!((numeric - slope(x)).abs() < 4e-9, "{name}'({x}): {numeric}, {}", slope(x));
            }
        }
    }

    #[test]
    fn extremes_stay_finite_and_nan_stays_nan() {
        let x = [f32::MIN, -100.0, -0.0, 100.0, f32::MAX, f32::NAN];
        for (name, forward, backward, from_output, plain, _) in table::<f32>() {
            let (mut y, mut out) = ([9.0; 6], [9.0; 6]);
            forward(&x, &mut y);
            for i in 0..5 {
                let exact = plain(f64::from(x[i])) as f32;
                assert!((y[i] - exact).abs() <= 4.0 * f32::EPSILON * exact.abs() + 1e-37, "{name}({}) = {}", x[i], y[i]);
            }
            assert!(y[5].is_nan(), "{name}");
            backward(if from_output { &y } else { &x }, &[1.0; 6], &mut out);
            assert!(out[..5].iter().all(|g| g.is_finite()), "{name}: {out:?}");
        }
    }
}
