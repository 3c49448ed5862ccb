//! bf16 as bits, the upper half of an f32, and loads and stores that convert.

use crate::kernels::rows;
use crate::kernels::simd::{Kernel, Lanes, Real, dispatch};

/// The number of some bits, exactly.
#[inline(always)]
pub fn from_bf16(bits: u16) -> f32 {
    f32::from_bits(u32::from(bits) << 16)
}

/// The nearest bf16, of two equally near ones the even one; beyond the largest infinity, and NaN stays NaN.
#[inline(always)]
pub fn to_bf16(x: f32) -> u16 {
    let bits = x.to_bits();
    let nearest = bits.wrapping_add(0x7FFF + (bits >> 16 & 1));
    // A NaN whose payload lies in the lower half would become infinity, or change its sign by the carry.
    let nan = bits & 0x7FFF_FFFF > 0x7F80_0000;
    ((if nan { bits | 0x40_0000 } else { nearest }) >> 16) as u16
}

#[inline(always)]
pub(super) fn widen_line(from: &[u16], to: &mut [f32]) {
    for (to, &bits) in to.iter_mut().zip(from) {
        *to = from_bf16(bits);
    }
}

#[inline(always)]
pub(super) fn narrow_line(from: &[f32], to: &mut [u16]) {
    for (to, &x) in to.iter_mut().zip(from) {
        *to = to_bf16(x);
    }
}

struct Lines<F, G>(F, G);

impl Kernel<f32> for Lines<&[u16], &mut [f32]> {
    type Output = ();
    #[inline(always)]
    fn run<V: Lanes<f32>>(self) {
        widen_line(self.0, self.1);
    }
}

impl Kernel<f32> for Lines<&[f32], &mut [u16]> {
    type Output = ();
    #[inline(always)]
    fn run<V: Lanes<f32>>(self) {
        narrow_line(self.0, self.1);
    }
}

/// [`from_bf16`] of all. Panics when the lengths differ.
pub fn widen(from: &[u16], to: &mut [f32]) {
    assert_eq!(from.len(), to.len(), "as many numbers as there were");
    dispatch(Lines(from, to));
}

/// [`to_bf16`] of all. Panics when the lengths differ.
pub fn narrow(from: &[f32], to: &mut [u16]) {
    assert_eq!(from.len(), to.len(), "as many numbers as there were");
    dispatch(Lines(from, to));
}

/// A number in memory: `T` itself, or bits of bf16 for f32.
pub(super) trait Stored<T: Real>: Copy + Send + Sync {
    /// `count` numbers from place `at` on; zeros in the other lanes.
    fn get<V: Lanes<T>>(from: &[Self], at: usize, count: usize) -> V;
    /// Writes `count` lanes from place `at` on, rounded to nearest.
    fn put<V: Lanes<T>>(v: V, to: &mut [Self], at: usize, count: usize);
    /// The number itself.
    fn number(self) -> T;
    /// The nearest of a number.
    fn nearest(x: T) -> Self;
    /// The same memory as numbers, if that is what it holds.
    fn numbers(of: &[Self]) -> Option<&[T]>;
}

impl<T: Real> Stored<T> for T {
    #[inline(always)]
    fn get<V: Lanes<T>>(from: &[T], at: usize, count: usize) -> V {
        rows::get(from, at, count)
    }

    #[inline(always)]
    fn put<V: Lanes<T>>(v: V, to: &mut [T], at: usize, count: usize) {
        rows::put(v, to, at, count);
    }

    #[inline(always)]
    fn number(self) -> T {
        self
    }

    #[inline(always)]
    fn nearest(x: T) -> T {
        x
    }

    #[inline(always)]
    fn numbers(of: &[T]) -> Option<&[T]> {
        Some(of)
    }
}

const LANES: usize = <f32 as Real>::LANES;

impl Stored<f32> for u16 {
    #[inline(always)]
    fn get<V: Lanes<f32>>(from: &[u16], at: usize, count: usize) -> V {
        let mut wide = [0.0; LANES];
        if count == LANES {
            let from: &[u16] = &from[at..at + LANES];
            for i in 0..LANES {
                wide[i] = from_bf16(from[i]);
            }
        } else {
            for (wide, &bits) in wide.iter_mut().zip(&from[at..at + count]) {
                *wide = from_bf16(bits);
            }
        }
        V::load(&wide)
    }

    #[inline(always)]
    fn put<V: Lanes<f32>>(v: V, to: &mut [u16], at: usize, count: usize) {
        let mut wide = [0.0; LANES];
        v.store(&mut wide);
        if count == LANES {
            let to: &mut [u16] = &mut to[at..at + LANES];
            for i in 0..LANES {
                to[i] = to_bf16(wide[i]);
            }
        } else {
            for (to, &wide) in to[at..at + count].iter_mut().zip(&wide) {
                *to = to_bf16(wide);
            }
        }
    }

    #[inline(always)]
    fn number(self) -> f32 {
        from_bf16(self)
    }

    #[inline(always)]
    fn nearest(x: f32) -> u16 {
        to_bf16(x)
    }

    #[inline(always)]
    fn numbers(_: &[u16]) -> Option<&[f32]> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::simd::{available, with_isa};

    #[test]
    fn every_bf16_comes_back() {
        for bits in 0..=u16::MAX {
            let (x, back) = (from_bf16(bits), to_bf16(from_bf16(bits)));
            assert!(if x.is_nan() { from_bf16(back).is_nan() } else { back == bits }, "{bits:04x} became {back:04x}");
        }
    }

    /// Against the definition: the nearer of the two neighbours, the even one if both are as near.
    #[test]
    fn rounding_is_to_nearest_even() {
        for high in (0..0xFF80u16).step_by(7).filter(|h| h & 0x7FFF < 0x7F80) {
            for low in [0u32, 1, 0x7FFF, 0x8000, 0x8001, 0xFFFF] {
                let x = f32::from_bits(u32::from(high) << 16 | low);
                let up = low > 0x8000 || (low == 0x8000 && high & 1 == 1);
                assert_eq!(to_bf16(x), high + u16::from(up), "{x:e}");
            }
        }
        assert_eq!(from_bf16(to_bf16(f32::MAX)), f32::INFINITY);
        assert_eq!(from_bf16(to_bf16(f32::MIN)), f32::NEG_INFINITY);
        for bits in [0x7F80_0001u32, 0xFF80_0001, 0x7FFF_FFFF, 0xFFFF_FFFF] {
            let back = from_bf16(to_bf16(f32::from_bits(bits)));
            assert!(back.is_nan() && back.is_sign_negative() == (bits >> 31 == 1), "{bits:x}");
        }
    }

    #[test]
    fn slices_are_the_numbers_of_every_instruction_set() {
        let x: Vec<f32> = (0..1003u32).map(|i| f32::from_bits(i.wrapping_mul(0x9E37_79B9))).collect();
        let one: Vec<u16> = x.iter().map(|&x| to_bf16(x)).collect();
        for isa in available() {
            with_isa(isa, || {
                let mut bits = vec![0; x.len()];
                narrow(&x, &mut bits);
                assert_eq!(bits, one, "{isa:?}");
                let mut wide = vec![0.0; x.len()];
                widen(&bits, &mut wide);
                assert!(wide.iter().zip(&one).all(|(w, &b)| w.to_bits() == from_bf16(b).to_bits()), "{isa:?}");
            });
        }
    }
}
