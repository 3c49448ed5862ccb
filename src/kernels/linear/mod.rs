//! Affine maps and two-layer perceptrons with their gradients, over the last axis or over the middle one.
//!
//! | over | one map | two maps with an activation between |
//! |---|---|---|
//! | last axis: x (rows, in) → y (rows, out) | [`Linear`] | [`Mlp`] |
//! | middle axis: x (rows, in, time) → y (rows, out, time) | [`LinearMid`] | [`MlpMid`] |
//!
//! Rows are worked through in tiles that stay in the cache together with the weights, so each input is read once and each output
//! written once; nothing is transposed in memory, and the hidden layer of a perceptron exists for one tile at a time. Backward
//! passes save nothing: they compute the pre-activations of a tile again, which costs one more product and no memory traffic.
//!
//! Rows are cut into chunks by the size of the problem alone. Each chunk adds up its own weight gradients, and those are added in the
//! order of the chunks: same bytes at any number of threads.

pub(super) mod act;
mod mid;
mod mlp_mid;
mod mlp_rows;
#[cfg(test)]
pub mod reference;
mod rows;
#[cfg(test)]
mod tests;
mod thin;

pub use mid::LinearMid;
pub use mlp_mid::MlpMid;
pub use mlp_rows::Mlp;
pub use rows::Linear;

use crate::kernels::gemm::{MatRef, Start};
use crate::kernels::simd::Real;

/// A weight (outputs × inputs, row-major) and a bias: the map x ↦ W·x + b.
#[derive(Clone, Copy, Debug)]
pub struct Affine<'a, T> {
    /// W, `outputs · inputs` numbers.
    pub weight: &'a [T],
    /// b, `outputs` numbers.
    pub bias: Option<&'a [T]>,
    pub inputs: usize,
    pub outputs: usize,
}

impl<'a, T: Real> Affine<'a, T> {
    /// Panics when a slice has another length.
    pub(super) fn check(&self, op: &str) {
        let (i, o) = (self.inputs, self.outputs);
        assert_eq!(self.weight.len(), o * i, "{op}: the weight is {o} x {i}");
        if let Some(bias) = self.bias {
            assert_eq!(bias.len(), o, "{op}: one bias per output");
        }
    }

    pub(super) fn matrix(&self) -> MatRef<'a, T> {
        MatRef::new(self.weight, self.outputs, self.inputs)
    }

    /// Sums start from the bias of each column.
    pub(super) fn row_start(&self) -> Start<'a, T> {
        self.bias.map_or(Start::Zero, Start::Row)
    }

    /// Sums start from the bias of each row.
    pub(super) fn column_start(&self) -> Start<'a, T> {
        self.bias.map_or(Start::Zero, Start::Column)
    }
}

/// Where the gradients of an [`Affine`] go; written, not added to. `None`: not wanted, and not computed.
#[derive(Debug)]
pub struct AffineGrad<'a, T> {
    pub weight: Option<&'a mut [T]>,
    pub bias: Option<&'a mut [T]>,
}

impl<T> Default for AffineGrad<'_, T> {
    fn default() -> Self {
        Self { weight: None, bias: None }
    }
}

impl<'a, T: Real> AffineGrad<'a, T> {
    fn check(&self, op: &str, of: &Affine<'_, T>) {
        if let Some(weight) = &self.weight {
            assert_eq!(weight.len(), of.weight.len(), "{op}: the gradient of the weight");
        }
        if let Some(bias) = &self.bias {
            assert_eq!(bias.len(), of.outputs, "{op}: the gradient of the bias");
        }
    }

    /// Numbers that a chunk sums up for it: weight, then bias.
    fn sizes(&self) -> [usize; 2] {
        [self.weight.as_ref().map_or(0, |w| w.len()), self.bias.as_ref().map_or(0, |b| b.len())]
    }

    fn places(self) -> [Option<&'a mut [T]>; 2] {
        [self.weight, self.bias]
    }
}
