//! Softmax and attention, forward and backward.
//!
//! | operator | what | file |
//! |---|---|---|
//! | [`softmax`], [`softmax_backward`] | each row to weights that add up to one | `softmax.rs` |
//! | [`log_softmax`], [`log_softmax_backward`] | their logarithms | `log_softmax.rs` |
//! | [`Attention`] | scaled dot products, mask, softmax, weighted sum, without storing the matrix of weights | `forward.rs`, `backward.rs` |
//!
//! `reference.rs` states each of them in plain `f64` loops. Masks are added to the logits and may hold −∞. A row in which
//! everything is masked has no weights: softmax and attention give zeros for it, not NaN, and no gradient goes through it; its
//! log-softmax is −∞ throughout. NaN in the input shows in the output.
//!
//! All functions take row-major slices, write every place of their outputs without reading it first, and run on all threads. Work
//! is cut by the problem size alone: same bytes at any number of threads. Slices whose lengths do not fit each other panic.

mod backward;
mod forward;
mod log_softmax;
#[cfg(test)]
pub(crate) mod reference;
mod softmax;
#[cfg(test)]
mod tests;
mod tiles;

pub use log_softmax::{log_softmax, log_softmax_backward};
pub use softmax::{softmax, softmax_backward};

use crate::kernels::simd::Real;

/// Scaled dot-product attention: `out = softmax(scale · q·kᵀ + mask) · v` for each head of each batch element.
///
/// Shapes: queries, their output and gradients are (batch, queries, heads · width), keys and values (batch, keys, heads · width):
/// the heads of a row lie beside each other, as a linear layer leaves them, so nothing needs to be transposed. Heads that lie one
/// after another, (batch · heads, rows, width), are the case `heads: 1` with a larger batch.
///
/// Source: Vaswani et al. 2017 (arXiv 1706.03762), equation 1; in blocks as in Dao et al. 2022 (arXiv 2205.14135), algorithms 1 and
/// 4: the forward pass keeps one number for each query, the backward pass computes the weights again.
#[derive(Clone, Copy, Debug)]
pub struct Attention<'a, T> {
    /// Independent elements.
    pub batch: usize,
    /// Heads in a row.
    pub heads: usize,
    /// Rows of the queries.
    pub queries: usize,
    /// Rows of the keys and values.
    pub keys: usize,
    /// Numbers of one head in a row.
    pub width: usize,
    /// Factor of the dot products; usually `1 / √width`.
    pub scale: f64,
    /// Added to the scaled dot products, (queries × keys), for all elements and heads.
    pub mask: Option<&'a [T]>,
    /// Query i sees the keys 0..=i only.
    pub causal: bool,
}

impl<T: Real> Attention<'_, T> {
    /// Computes the output and returns log Σ exp of the logits of each query, (batch, heads, queries), for the backward pass: +∞
    /// where everything is masked, so that `exp(logit − it)` is the weight in every case.
    ///
    /// Cost: `4 · queries · keys · width` operations and `queries · keys` exponentials for each head; memory for one block of
    /// weights for each thread.
    pub fn forward(&self, q: &[T], k: &[T], v: &[T], out: &mut [T]) -> Vec<T> {
        self.check([q, out], [k, v]);
        forward::run(self, q, k, v, out)
    }

    /// The gradients `[dq, dk, dv]` from the inputs `[q, k, v]`, what the forward pass gave (`out` and `log_sums`) and the gradient
    /// `dout` of its output. Cost: `10 · queries · keys · width` operations and `queries · keys` exponentials for each head.
    ///
    /// With weights P and G = dout · vᵀ: `dv = Pᵀ · dout`, `dS = P ∘ (G − rows Σ P ∘ G)`, `dq = scale · dS · k`,
    /// `dk = scale · dSᵀ · q`. For many keys the sum is taken as `Σ dout ∘ out`, which is equal; for few `out` is not read.
    pub fn backward(&self, inputs: [&[T]; 3], out: &[T], log_sums: &[T], dout: &[T], gradients: [&mut [T]; 3]) {
        let [q, k, v] = inputs;
        let [dq, dk, dv] = gradients;
        self.check([q, out], [k, v]);
        self.check([dout, dq], [dk, dv]);
        assert_eq!(log_sums.len(), self.batch * self.heads * self.queries, "attention: one saved number for each query");
        backward::run(self, [q, k, v], out, log_sums, dout, [dq, dk, dv]);
    }

    fn check(&self, of_queries: [&[T]; 2], of_keys: [&[T]; 2]) {
        let row = self.heads * self.width;
        for slice in of_queries {
            assert_eq!(slice.len(), self.batch * self.queries * row, "attention: (batch, queries, heads · width) expected");
        }
        for slice in of_keys {
            assert_eq!(slice.len(), self.batch * self.keys * row, "attention: (batch, keys, heads · width) expected");
        }
        if let Some(mask) = self.mask {
            assert_eq!(mask.len(), self.queries * self.keys, "attention: a mask of (queries × keys) expected");
        }
    }
}
