//! bf16 as bits: the upper half of an f32.

use crate::kernels::scan::columns::Block;
use crate::kernels::simd::{Kernel, Lanes, dispatch};
use std::ops::Range;

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
fn widen_line(from: &[u16], to: &mut [f32]) {
    for (to, &bits) in to.iter_mut().zip(from) {
        *to = from_bf16(bits);
    }
}

#[inline(always)]
fn narrow_line(from: &[f32], to: &mut [u16]) {
    for (to, &x) in to.iter_mut().zip(from) {
        *to = to_bf16(x);
    }
}

/// Some columns of some rows of a matrix, packed.
pub(super) struct Widen<'a> {
    pub from: &'a [u16],
    pub stride: usize,
    pub rows: Range<usize>,
    pub columns: Range<usize>,
    pub to: &'a mut [f32],
}

impl Kernel<f32> for Widen<'_> {
    type Output = ();
    #[inline(always)]
    fn run<V: Lanes<f32>>(self) {
        let Self { from, stride, rows, columns, to } = self;
        if columns.len() == stride {
            widen_line(&from[rows.start * stride..rows.end * stride], to);
            return;
        }
        for (row, to) in rows.zip(to.chunks_exact_mut(columns.len().max(1))) {
            widen_line(&from[row * stride..][columns.start..columns.end], to);
        }
    }
}

/// The way back, to a block of a matrix.
pub(super) struct Narrow<'a, 'b> {
    pub from: &'a [f32],
    pub to: &'a mut Block<'b, u16>,
    pub rows: Range<usize>,
    pub columns: Range<usize>,
}

impl Kernel<f32> for Narrow<'_, '_> {
    type Output = ();
    #[inline(always)]
    fn run<V: Lanes<f32>>(self) {
        let Self { from, to, rows, columns } = self;
        for (row, from) in rows.zip(from.chunks_exact(columns.len().max(1))) {
            narrow_line(from, to.line(row, columns.clone()));
        }
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
    fn slices_and_blocks_are_the_numbers_of_every_instruction_set() {
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
                let mut part = vec![0.0; 6];
                dispatch(Widen { from: &one, stride: 100, rows: 2..4, columns: 97..100, to: &mut part });
                let places = [297, 298, 299, 397, 398, 399];
                assert!(part.iter().zip(places).all(|(w, p)| w.to_bits() == from_bf16(one[p]).to_bits()), "{isa:?}");
            });
        }
    }
}
