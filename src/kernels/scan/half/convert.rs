//! Blocks of a matrix from bf16 to f32 and back.

use crate::kernels::bf16::{narrow_line, widen_line};
use crate::kernels::scan::columns::Block;
use crate::kernels::simd::{Kernel, Lanes};
use std::ops::Range;

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::bf16::{from_bf16, to_bf16};
    use crate::kernels::simd::{available, dispatch, with_isa};

    #[test]
    fn columns_are_the_numbers_of_every_instruction_set() {
        let one: Vec<u16> = (0..1003u32).map(|i| to_bf16(f32::from_bits(i.wrapping_mul(0x9E37_79B9)))).collect();
        for isa in available() {
            with_isa(isa, || {
                let mut part = vec![0.0; 6];
                dispatch(Widen { from: &one, stride: 100, rows: 2..4, columns: 97..100, to: &mut part });
                let places = [297, 298, 299, 397, 398, 399];
                assert!(part.iter().zip(places).all(|(w, p)| w.to_bits() == from_bf16(one[p]).to_bits()), "{isa:?}");
            });
        }
    }
}
