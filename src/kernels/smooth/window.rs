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

    /// Places that [`Window::short_sums`] and [`Window::at`] need in both of their buffers for windows starting at `outputs` places.
    pub(super) fn room<T: Real>(&self, outputs: usize) -> usize {
        outputs + (self.length - 1) * self.stride + T::LANES
    }

    /// Short sums that start at places 0 … up to what windows at 0 … `outputs` − 1 take, into `partial`.
    #[inline(always)]
    pub(super) fn short_sums<T: Real, V: Lanes<T>>(&self, from: &[T], partial: &mut [T], outputs: usize) {
        let room = self.room::<T>(outputs);
        assert!(from.len() >= room && partial.len() >= room, "window: buffers are too short");
        let len = outputs + self.short * (self.count - 1) * self.stride;
        let (from, partial) = (from.as_ptr(), partial.as_mut_ptr());
        // SAFETY: the last vector starts before len and ends before len + N, plus (short − 1) strides in `from`; and
        // short · count <= length, so both ends are within `room`.
        unsafe {
            // Fives make up the window of 25 that every published model uses: a loop of its own, to be unrolled.
            if self.short == 5 {
                for i in (0..len).step_by(V::N) {
                    sum_of::<T, V>(from.add(i), 5, self.stride).store_ptr(partial.add(i));
                }
            } else {
                for i in (0..len).step_by(V::N) {
                    sum_of::<T, V>(from.add(i), self.short, self.stride).store_ptr(partial.add(i));
                }
            }
        }
    }

    /// The windows that start at places i … i + N − 1, where i is below the `outputs` of [`Window::short_sums`].
    #[inline(always)]
    pub(super) fn at<T: Real, V: Lanes<T>>(&self, from: &[T], partial: &[T], i: usize) -> V {
        let room = self.room::<T>(i);
        assert!(from.len() >= room && partial.len() >= room, "window: buffers are too short");
        let step = self.short * self.stride;
        // SAFETY: the last element read is N − 1 after the start of the last short sum, or of the last single element, and both
        // start within the window, (length − 1) strides after i at most: within `room`.
        unsafe {
            let partial = partial.as_ptr().add(i);
            let mut sum =
                if self.count == 5 { sum_of::<T, V>(partial, 5, step) } else { sum_of::<T, V>(partial, self.count, step) };
            for j in self.short * self.count..self.length {
                sum = sum.add(V::load_ptr(from.as_ptr().add(i + j * self.stride)));
            }
            sum
        }
    }
}

/// The sum of `count` vectors, `step` elements apart.
///
/// # Safety
/// All of them must be readable.
#[inline(always)]
unsafe fn sum_of<T: Real, V: Lanes<T>>(from: *const T, count: usize, step: usize) -> V {
    // SAFETY: the caller's promise.
    unsafe {
        let mut sum = V::load_ptr(from);
        for j in 1..count {
            sum = sum.add(V::load_ptr(from.add(j * step)));
        }
        sum
    }
}
