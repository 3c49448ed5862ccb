//! Dropout whose mask is a function, not a tensor.
//!
//! Element `i` is kept when the `i`-th number of the sequence named by a key is not below the rate. Any element's number can be
//! computed on its own, so the backward pass draws the mask again from the key, nothing is stored, and threads do not matter.

mod philox;
pub mod reference;

pub use philox::{GROUP, group};

use crate::kernels::elementwise::chunks;
use crate::kernels::simd::{Kernel, Lanes, Real, dispatch};

/// What becomes of an element.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rate {
    /// Nothing is dropped.
    Keep,
    /// Everything is.
    Drop,
    /// Dropped when its number is below this.
    Below(u32),
}

impl Rate {
    fn of(rate: f64) -> Self {
        assert!((0.0..=1.0).contains(&rate), "dropout: the rate must be in [0, 1], got {rate}");
        // Rates closer to 0 or 1 than half a step of 2⁻³² must not become certainties of the wrong kind: `as` saturates.
        match (rate * 2f64.powi(32)).round() {
            _ if rate == 1.0 => Self::Drop,
            below if below < 1.0 => Self::Keep,
            below => Self::Below(below as u32),
        }
    }
}

/// Whether element `i` is kept under `key`: what [`dropout`] does to one element.
pub fn keeps(key: u64, rate: f64, i: usize) -> bool {
    match Rate::of(rate) {
        Rate::Keep => true,
        Rate::Drop => false,
        Rate::Below(below) => group(key, (i / GROUP) as u64)[i % GROUP] >= below,
    }
}

/// `y = x / (1 − rate)` where the mask of `key` keeps an element, 0 elsewhere (also where `x` is NaN or infinite).
///
/// `x`, `y`: equal lengths; element `i` is masked by its place `i` in the slice. The backward pass is the same function, from the
/// output's gradient to the input's. `rate` in [0, 1]; 0 copies, 1 clears. Rates count in steps of 2⁻³².
///
/// Cost: 4 counters of Philox per 16 elements, and memory.
///
/// Source: Srivastava et al. (2014), scaled in training as PyTorch's; see [`group`] for the numbers.
pub fn dropout<T: Real>(key: u64, rate: f64, x: &[T], y: &mut [T]) {
    assert_eq!(x.len(), y.len(), "dropout: lengths differ");
    match Rate::of(rate) {
        Rate::Keep => chunks::for_each(y, |start, y| y.copy_from_slice(&x[start..start + y.len()])),
        Rate::Drop => y.fill(T::ZERO),
        Rate::Below(below) => {
            let scale = T::from_f64(1.0 / (1.0 - rate));
            chunks::for_each(y, |start, y| {
                let x = &x[start..start + y.len()];
                dispatch(Apply { key, below, scale, first: (start / GROUP) as u64, x, y });
            });
        }
    }
}

/// [`dropout`] of `x` in place.
pub fn dropout_in_place<T: Real>(key: u64, rate: f64, x: &mut [T]) {
    match Rate::of(rate) {
        Rate::Keep => {}
        Rate::Drop => x.fill(T::ZERO),
        Rate::Below(below) => {
            let scale = T::from_f64(1.0 / (1.0 - rate));
            chunks::for_each(x, |start, x| dispatch(ApplyInPlace { key, below, scale, first: (start / GROUP) as u64, x }));
        }
    }
}

struct Apply<'a, T> {
    key: u64,
    below: u32,
    scale: T,
    /// Group of the first element.
    first: u64,
    x: &'a [T],
    y: &'a mut [T],
}

// No vector type is needed: plain loops over arrays, compiled with the features of the instruction set.
impl<T: Real> Kernel<T> for Apply<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<V: Lanes<T>>(self) {
        let Self { key, below, scale, first, x, y } = self;
        for (i, (x, y)) in x.chunks(GROUP).zip(y.chunks_mut(GROUP)).enumerate() {
            let numbers = group(key, first + i as u64);
            if let (Ok(x), Ok(y)) = (<&[T; GROUP]>::try_from(x), <&mut [T; GROUP]>::try_from(&mut *y)) {
                for k in 0..GROUP {
                    y[k] = masked(x[k], numbers[k], below, scale);
                }
            } else {
                for ((y, &x), number) in y.iter_mut().zip(x).zip(numbers) {
                    *y = masked(x, number, below, scale);
                }
            }
        }
    }
}

struct ApplyInPlace<'a, T> {
    key: u64,
    below: u32,
    scale: T,
    first: u64,
    x: &'a mut [T],
}

impl<T: Real> Kernel<T> for ApplyInPlace<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<V: Lanes<T>>(self) {
        let Self { key, below, scale, first, x } = self;
        for (i, x) in x.chunks_mut(GROUP).enumerate() {
            let numbers = group(key, first + i as u64);
            if let Ok(x) = <&mut [T; GROUP]>::try_from(&mut *x) {
                for k in 0..GROUP {
                    x[k] = masked(x[k], numbers[k], below, scale);
                }
            } else {
                for (x, number) in x.iter_mut().zip(numbers) {
                    *x = masked(*x, number, below, scale);
                }
            }
        }
    }
}

#[inline(always)]
fn masked<T: Real>(x: T, number: u32, below: u32, scale: T) -> T {
    let scaled = x * scale;
    if number >= below { scaled } else { T::ZERO }
}

#[cfg(test)]
mod tests;
