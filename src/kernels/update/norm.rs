//! The norm of all gradients together, and what to multiply them by.

use crate::kernels::elementwise::chunks;
use crate::kernels::simd::{Kernel, Lanes, Real, dispatch};

/// √ΣΣ x² over all slices, squares and sums in `f64`, in order: it neither overflows for `f32` nor depends on threads.
pub fn global_norm<T: Real>(parts: &[&[T]]) -> f64 {
    parts.iter().map(|x| chunks::sum(x.len(), |r| dispatch(Squares(&x[r])))).fold(0.0, |a, b| a + b).sqrt()
}

/// The factor that brings gradients of this norm down to `max_norm`; 1 when they are not longer. NaN stays NaN.
///
/// Source: Pascanu et al. (2013), with PyTorch's max_norm / (norm + 10⁻⁶).
pub fn clip_factor(norm: f64, max_norm: f64) -> f64 {
    let factor = max_norm / (norm + 1e-6);
    if factor > 1.0 { 1.0 } else { factor }
}

struct Squares<'a, T>(&'a [T]);

impl<T: Real> Kernel<T> for Squares<'_, T> {
    type Output = f64;
    #[inline(always)]
    fn run<V: Lanes<T>>(self) -> f64 {
        // Plain arrays: vectors of T have no way to f64, the compiler does.
        let mut sums = [0.0f64; 16];
        let mut whole = self.0.chunks_exact(16);
        for x in &mut whole {
            for (sum, x) in sums.iter_mut().zip(x) {
                let x = x.to_f64();
                *sum += x * x;
            }
        }
        for (sum, x) in sums.iter_mut().zip(whole.remainder()) {
            *sum += x.to_f64() * x.to_f64();
        }
        sums.iter().fold(0.0, |a, b| a + b)
    }
}
