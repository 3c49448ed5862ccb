//! Structure-aware state fusion: the states of a scan over a map, mixed with those of their neighbours.
//!
//! out = Σ_δ α_δ · (3 × 3 depthwise convolution of h with kernel k_δ and dilation δ), δ = 1, 3, 5; cells outside the map are the nearest
//! ones inside (replicate padding), and kernels are not flipped: k_δ\[c, i, j\] weighs the cell δ(i − 1) rows down and δ(j − 1) to the right.
//!
//! # How
//! The three kernels are one with 25 taps (of 27 the centres add), which are computed once for a call. A few channels of some rows are
//! packed so that neighbouring cells lie together, with five cells at either side repeated; then a tap is read once for several
//! cells and no place is clamped. Rows outside are replaced as a whole. The gradient of h is the same walk over the cells that read a
//! cell, so nothing is scattered; only the outermost cells, which are read from outside too, look for their readers one by one.
//!
//! # Cost
//! 25 multiply-adds for each number forward, and backward 25 for the gradient of h and 25 for those of kernels and α together; one read of
//! h and one write of out if a dozen rows of the map fit into the cache.
//!
//! # Source
//! Xiao et al., Spatial-Mamba, 2024 (arXiv 2410.15091).

mod apply;
mod plane;
pub mod reference;
mod taps;
#[cfg(test)]
mod tests;
mod weights;

use super::Grid;
use crate::kernels::bf16::Stored;
use crate::kernels::rows::add_parts;
use crate::kernels::simd::Real;
use taps::TAPS;

/// The dilations, in the order of kernels and α.
pub const DILATIONS: [usize; 3] = [1, 3, 5];

const OP: &str = "state fusion";

/// See the module's text.
#[derive(Clone, Copy, Debug)]
pub struct StateFusion<'a, T> {
    pub batch: usize,
    pub grid: Grid,
    pub channels: usize,
    /// For each dilation (channels, 3, 3).
    pub kernels: [&'a [T]; 3],
    pub alpha: [T; 3],
}

/// Where gradients go, each as long as what it is the gradient of; written, not added to. `None`: not wanted.
/// That of h may be of another type `S`: bf16 as bits.
#[derive(Debug)]
pub struct Gradients<'a, T, S = T> {
    pub h: Option<&'a mut [S]>,
    pub kernels: [Option<&'a mut [T]>; 3],
    pub alpha: Option<&'a mut [T; 3]>,
}

impl<T, S> Default for Gradients<'_, T, S> {
    fn default() -> Self {
        Self { h: None, kernels: [None, None, None], alpha: None }
    }
}

impl<T: Real> StateFusion<'_, T> {
    fn check<S>(&self, h: &[S]) {
        let (cells, d) = (self.batch * self.grid.cells(), self.channels);
        assert_eq!(h.len(), cells * d, "{OP}: h is {cells} x {d}");
        assert!(self.kernels.iter().all(|k| k.len() == 9 * d), "{OP}: kernels are {d} x 3 x 3");
    }

    /// Writes the fused states, as long as h (batch, cells, channels). Panics when sizes do not fit.
    pub fn forward(&self, h: &[T], out: &mut [T]) {
        self.forward_stored(h, out);
    }

    /// [`forward`](Self::forward) with h and the result as they are held in memory.
    fn forward_stored<S: Stored<T>>(&self, h: &[S], out: &mut [S]) {
        self.check(h);
        assert_eq!(out.len(), h.len(), "{OP}: the result is as long as h");
        apply::run::<T, S, false>(self, &self.taps(), h, out);
    }

    /// From h and the gradient of the result: the gradients that are wanted. Panics when sizes do not fit.
    pub fn backward(&self, h: &[T], dout: &[T], to: Gradients<'_, T>) {
        self.backward_stored(h, dout, to);
    }

    /// [`backward`](Self::backward) with h and its gradient and that of the result as they are held in memory.
    fn backward_stored<S: Stored<T>>(&self, h: &[S], dout: &[S], mut to: Gradients<'_, T, S>) {
        self.check(h);
        let d = self.channels;
        assert_eq!(dout.len(), h.len(), "{OP}: the gradient is as long as h");
        assert!(to.h.as_ref().is_none_or(|v| v.len() == h.len()), "{OP}: the gradient of h is as long as h");
        let fits = |k: &Option<&mut [T]>| k.as_ref().is_none_or(|k| k.len() == 9 * d);
        assert!(to.kernels.iter().all(fits), "{OP}: gradients of kernels are {d} x 3 x 3");
        if let Some(dh) = to.h {
            apply::run::<T, S, true>(self, &self.taps(), dout, dh);
        }
        if to.kernels.iter().all(Option::is_none) && to.alpha.is_none() {
            return;
        }
        // For each tap and channel Σ dout · h of the cell that the tap reads.
        let line = self.line();
        let mut sums = weights::sums(self, h, dout);
        add_parts(&mut sums, TAPS.len() * line);
        for k in 0..3 {
            let mut dalpha = 0.0;
            for c in 0..d {
                for (place, tap) in taps::of_kernel(k).into_iter().enumerate() {
                    let sum = sums[tap * line + c];
                    dalpha += (self.kernels[k][c * 9 + place] * sum).to_f64();
                    if let Some(dk) = &mut to.kernels[k] {
                        dk[c * 9 + place] = self.alpha[k] * sum;
                    }
                }
            }
            if let Some(alpha) = &mut to.alpha {
                alpha[k] = T::from_f64(dalpha);
            }
        }
    }

    /// Numbers of a line of taps: one for each channel, and room for a whole vector after them.
    fn line(&self) -> usize {
        self.channels + T::LANES
    }

    /// The merged kernel, (taps, channels) in lines.
    fn taps(&self) -> Vec<T> {
        let line = self.line();
        let mut taps = vec![T::ZERO; TAPS.len() * line];
        for (k, kernel) in self.kernels.iter().enumerate() {
            for (place, tap) in taps::of_kernel(k).into_iter().enumerate() {
                for c in 0..self.channels {
                    taps[tap * line + c] += self.alpha[k] * kernel[c * 9 + place];
                }
            }
        }
        taps
    }
}

impl StateFusion<'_, f32> {
    /// [`forward`](Self::forward) with h and the result as bits of bf16. Panics when sizes do not fit.
    pub fn forward_bf16(&self, h: &[u16], out: &mut [u16]) {
        self.forward_stored(h, out);
    }

    /// [`backward`](Self::backward) with h, its gradient and that of the result as bits of bf16. Panics when sizes do not fit.
    pub fn backward_bf16(&self, h: &[u16], dout: &[u16], to: Gradients<'_, f32, u16>) {
        self.backward_stored(h, dout, to);
    }
}
