//! The functions on slices, with the instruction set of this machine.

use super::*;
use crate::kernels::simd::{Kernel, dispatch};

macro_rules! in_place {
    ($(#[$doc:meta])* $name:ident, $function:ident) => {
        $(#[$doc])*
        pub fn $name<T: Real>(x: &mut [T]) {
            struct InPlace<'a, T>(&'a mut [T]);
            impl<T: Real> Kernel<T> for InPlace<'_, T> {
                type Output = ();
                #[inline(always)]
                fn run<V: Lanes<T>>(self) {
                    let whole = self.0.len() / V::N * V::N;
                    let mut i = 0;
                    while i < whole {
                        let at = &mut self.0[i..];
                        $function::<T, V>(V::load(at)).store(at);
                        i += V::N;
                    }
                    if whole < self.0.len() {
                        let at = &mut self.0[whole..];
                        $function::<T, V>(V::load_partial(at)).store_partial(at);
                    }
                }
            }
            dispatch(InPlace(x))
        }
    };
}

in_place!(/// Replaces every number by [`exp`] of it.
    exp_in_place, exp);
in_place!(/// Replaces every number by [`log`] of it.
    log_in_place, log);
in_place!(/// Replaces every number by [`erf`] of it.
    erf_in_place, erf);
in_place!(/// Replaces every number by [`erfc`] of it.
    erfc_in_place, erfc);
in_place!(/// Replaces every number by [`tanh`] of it.
    tanh_in_place, tanh);
in_place!(/// Replaces every number by [`sigmoid`] of it.
    sigmoid_in_place, sigmoid);
in_place!(/// Replaces every number by [`gelu`] of it.
    gelu_in_place, gelu);
in_place!(/// Replaces every number by [`silu`] of it.
    silu_in_place, silu);
in_place!(/// Replaces every number by [`softplus`] of it.
    softplus_in_place, softplus);

macro_rules! with_derivative {
    ($(#[$doc:meta])* $name:ident, $function:ident) => {
        $(#[$doc])*
        ///
        /// The three slices must have the same length.
        pub fn $name<T: Real>(x: &[T], value: &mut [T], slope: &mut [T]) {
            struct Both<'a, T>(&'a [T], &'a mut [T], &'a mut [T]);
            impl<T: Real> Kernel<T> for Both<'_, T> {
                type Output = ();
                #[inline(always)]
                fn run<V: Lanes<T>>(self) {
                    let Both(x, value, slope) = self;
                    let whole = x.len() / V::N * V::N;
                    let mut i = 0;
                    while i < whole {
                        let (y, d) = $function::<T, V>(V::load(&x[i..]));
                        y.store(&mut value[i..]);
                        d.store(&mut slope[i..]);
                        i += V::N;
                    }
                    if whole < x.len() {
                        let (y, d) = $function::<T, V>(V::load_partial(&x[whole..]));
                        y.store_partial(&mut value[whole..]);
                        d.store_partial(&mut slope[whole..]);
                    }
                }
            }
            assert!(x.len() == value.len() && x.len() == slope.len(), "value and slope must be as long as x");
            dispatch(Both(x, value, slope))
        }
    };
}

with_derivative!(/// Writes [`gelu`] of `x` and its derivative.
    gelu_and_derivative_of, gelu_and_derivative);
with_derivative!(/// Writes [`silu`] of `x` and its derivative.
    silu_and_derivative_of, silu_and_derivative);
with_derivative!(/// Writes [`softplus`] of `x` and its derivative.
    softplus_and_derivative_of, softplus_and_derivative);
