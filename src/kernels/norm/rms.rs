//! RMS norm.

use super::layer::{RowMoments, backward, forward};
use crate::kernels::rows::count_rows;
use crate::kernels::simd::Real;

/// RMS norm over the rows of a matrix: `y = x / √(mean(x²) + eps) · weight`.
///
/// Source: Zhang, Sennrich 2019 (arXiv 1910.07467), equation 4, with eps inside the root as in later use.
#[derive(Clone, Copy, Debug)]
pub struct RmsNorm<'a, T> {
    /// Numbers in a row.
    pub width: usize,
    /// A factor for each column; `None` is 1.
    pub weight: Option<&'a [T]>,
    /// Added to the mean square.
    pub eps: f64,
}

impl<T: Real> RmsNorm<'_, T> {
    /// Normalises `x` into `y`, both (rows × width), and gives `1 / √(mean(x²) + eps)` of each row for the backward pass.
    /// Cost: one read and one write.
    pub fn forward(&self, x: &[T], y: &mut [T]) -> Vec<T> {
        let mut saved = RowMoments { mean: Vec::new(), inv_std: vec![T::ZERO; count_rows(x.len(), self.width)] };
        forward::<T, false>(x, self.width, self.weight, None, self.eps, y, &mut saved);
        saved.inv_std
    }

    /// The gradients of the input (`dx`) and, where asked for, of the weight, from the gradient `dy` of the output and what
    /// [`RmsNorm::forward`] gave. Shapes: `x`, `dy`, `dx` (rows × width), `dweight` (width). Cost: two reads and one write.
    ///
    /// With g = dy · weight and x̂ = x · inv_rms: `dx = inv_rms · (g − x̂ · mean(g · x̂))`, `dweight = Σ dy · x̂` over rows.
    pub fn backward(&self, x: &[T], inv_rms: &[T], dy: &[T], dx: &mut [T], dweight: Option<&mut [T]>) {
        backward::<T, false>([x, dy], self.width, self.weight, [&[], inv_rms], dx, [dweight, None]);
    }
}
