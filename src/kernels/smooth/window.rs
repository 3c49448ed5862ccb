//! Sums over sliding windows, in two levels.
//!
//! A window of k elements is m sums of w neighbours (w near √k) and up to w − 1 single elements: about 2√k additions an element
//! instead of k, vectorised along memory. No element is ever subtracted again, as a running sum would, so the error of a window
//! depends on that window alone: at most (w + k/w) half units of Σ|x|, and a NaN or an outlier spoils only the windows that hold it.

use crate::kernels::simd::{Lanes, Real};

/// How windows of `length` elements, `stride` apart, are added up.
#[derive(Debug, Clone, Copy)]
pub(super) struct Window {
    length: usize,
    stride: usize,
    /// Elements of a short sum.
    short: usize,
    /// Short sums in a window.
    count: usize,
}

impl Window {
    pub(super) fn new(length: usize) -> Self {
        // Additions an element: w − 1 for the short sums, k/w + k%w − 1 on top.
        let short = (1..=length).min_by_key(|w| w + length / w + length % w).unwrap_or(1);
        Self { length, stride: 1, short, count: length / short }
    }

    /// The same window over elements that lie `stride` apart.
    #[inline(always)]
    pub(super) fn stride(self, stride: usize) -> Self {
        Self { stride, ..self }
    }

    /// Elements that the short sums of `outputs` windows take.
    pub(super) fn partial_len(&self, outputs: usize) -> usize {
        outputs + self.short * (self.count - 1) * self.stride
    }

    /// Short sums from every place of `from` on, into `partial` ([`Window::partial_len`] places). Both must have a vector more than
    /// they need.
    #[inline(always)]
    pub(super) fn short_sums<T: Real, V: Lanes<T>>(&self, from: &[T], partial: &mut [T], outputs: usize) {
        let len = self.partial_len(outputs);
        for i in (0..len).step_by(V::N) {
            let mut sum = V::load(&from[i..]);
            for j in 1..self.short {
                sum = sum.add(V::load(&from[i + j * self.stride..]));
            }
            sum.store(&mut partial[i..]);
        }
    }

    /// The windows that start at places i … i + N − 1.
    #[inline(always)]
    pub(super) fn at<T: Real, V: Lanes<T>>(&self, from: &[T], partial: &[T], i: usize) -> V {
        let step = self.short * self.stride;
        let mut sum = V::load(&partial[i..]);
        for j in 1..self.count {
            sum = sum.add(V::load(&partial[i + j * step..]));
        }
        for j in self.short * self.count..self.length {
            sum = sum.add(V::load(&from[i + j * self.stride..]));
        }
        sum
    }
}
