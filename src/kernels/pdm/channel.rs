//! The map over features: every step of every row of a group is a row of its own.

use super::Mix;
use crate::kernels::elementwise::Activation;
use crate::kernels::gemm::{MatMut, MatRef, Packed, Start, tile};
use crate::kernels::linear::act;
use crate::kernels::pieces::split;
use crate::kernels::simd::Real;
use crate::kernels::sums;

/// Rows of a tile: with 32 hidden features two buffers of 24 KB.
pub(super) const TILE: usize = 192;

/// The weights as right-hand sides of the forward products.
pub(super) struct Packs<T> {
    first: Packed<T>,
    second: Packed<T>,
}

impl<T: Real> Packs<T> {
    pub(super) fn new(mix: &Mix<'_, T>) -> Self {
        Self { first: Packed::new(mix.first.matrix().t()), second: Packed::new(mix.second.matrix().t()) }
    }
}

/// `y = C₂·gelu(C₁·z + e₁) + e₂` for the rows of z. `hidden` has room for [`TILE`] rows.
pub(super) fn forward<T: Real>(mix: &Mix<'_, T>, packs: &Packs<T>, z: &[T], hidden: &mut [T], y: &mut [T]) {
    let (d, f) = (mix.first.inputs, mix.first.outputs);
    for (z, y) in z.chunks(TILE * d).zip(y.chunks_mut(TILE * d)) {
        let n = z.len() / d;
        let hidden = &mut hidden[..n * f];
        tile(mix.first.row_start(), MatRef::new(z, n, d), &packs.first, MatMut::new(hidden, n, f));
        act::apply(Activation::Gelu, hidden);
        tile(mix.second.row_start(), MatRef::new(hidden, n, f), &packs.second, MatMut::new(y, n, d));
    }
}

/// From z and the gradient of y: replaces z by its gradient and adds to the gradients of the weights.
pub(super) fn backward<T: Real>(
    mix: &Mix<'_, T>,
    packs: &Packs<T>,
    z: &mut [T],
    dy: &[T],
    [hidden, inner]: [&mut [T]; 2],
    sums: Option<&mut [T]>,
) {
    let (d, f) = (mix.first.inputs, mix.first.outputs);
    let mut sums = sums.map(|s| split(s, mix.sizes()));
    for (z, dy) in z.chunks_mut(TILE * d).zip(dy.chunks(TILE * d)) {
        let n = z.len() / d;
        let (hidden, inner) = (&mut hidden[..n * f], &mut inner[..n * f]);
        let g = MatRef::new(dy, n, d);
        tile(mix.first.row_start(), MatRef::new(z, n, d), &packs.first, MatMut::new(hidden, n, f));
        tile(Start::Zero, g, mix.second.matrix(), MatMut::new(inner, n, f));
        act::differentiate(Activation::Gelu, hidden, inner);
        let to_first = MatRef::new(inner, n, f);
        if let Some([dw1, db1, dw2, db2]) = &mut sums {
            tile(Start::Current, g.t(), MatRef::new(hidden, n, f), MatMut::new(dw2, d, f));
            sums::add_columns(dy, db2);
            tile(Start::Current, to_first.t(), MatRef::new(z, n, d), MatMut::new(dw1, f, d));
            sums::add_columns(inner, db1);
        }
        tile(Start::Zero, to_first, mix.first.matrix(), MatMut::new(z, n, d));
    }
}
