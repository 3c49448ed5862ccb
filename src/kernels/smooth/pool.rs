//! Pooling along time over windows of w steps that do not overlap. A remainder of fewer than w steps is dropped.
//!
//! Input (batch, time, channels), output (batch, time / w, channels); `layout` is the input's. Cost: one pass over memory.

use super::Layout;
use crate::kernels::elementwise::chunks;
use crate::kernels::simd::{Kernel, Lanes, Real, dispatch};
use rayon::prelude::*;

/// The mean of each window.
pub fn avg_pool<T: Real>(x: &[T], layout: Layout, w: usize, y: &mut [T]) {
    let pool = Pool::new("average pooling", layout, w, x.len(), y.len());
    pool.each(pool.out_width(), y, |entry, y| dispatch(Average { pool, x: pool.entry(x, entry), y }));
}

/// The gradient of x from that of [`avg_pool`]'s output; 0 in a dropped remainder.
pub fn avg_pool_backward<T: Real>(gradient: &[T], layout: Layout, w: usize, x_gradient: &mut [T]) {
    let pool = Pool::new("average pooling", layout, w, x_gradient.len(), gradient.len());
    pool.each(layout.width(), x_gradient, |entry, out| {
        dispatch(AverageBackward { pool, gradient: &gradient[entry * pool.out_width()..][..pool.out_width()], out });
    });
}

/// The largest of each window; NaN when it holds one.
pub fn max_pool<T: Real>(x: &[T], layout: Layout, w: usize, y: &mut [T]) {
    let pool = Pool::new("max pooling", layout, w, x.len(), y.len());
    pool.each(pool.out_width(), y, |entry, y| dispatch(Largest { pool, x: pool.entry(x, entry), y }));
}

/// The gradient of `x` from that of [`max_pool`]'s output: all of it goes to the first of the largest; 0 elsewhere.
pub fn max_pool_backward<T: Real>(x: &[T], gradient: &[T], layout: Layout, w: usize, x_gradient: &mut [T]) {
    let pool = Pool::new("max pooling", layout, w, x_gradient.len(), gradient.len());
    assert_eq!(x.len(), x_gradient.len(), "max pooling: lengths differ");
    pool.each(layout.width(), x_gradient, |entry, out| {
        let gradient = &gradient[entry * pool.out_width()..][..pool.out_width()];
        dispatch(LargestBackward { pool, x: pool.entry(x, entry), gradient, out });
    });
}

#[derive(Clone, Copy)]
struct Pool {
    layout: Layout,
    w: usize,
}

impl Pool {
    fn new(op: &str, layout: Layout, w: usize, input: usize, output: usize) -> Self {
        assert!(w >= 1, "{op}: the window must be at least 1");
        let pool = Self { layout, w };
        assert_eq!(input, layout.elements(), "{op}: input for {layout:?}");
        assert_eq!(output, layout.batch * pool.out_width(), "{op}: output for {layout:?}, window {w}");
        pool
    }

    /// Output elements of one batch entry.
    fn out_width(self) -> usize {
        self.layout.time / self.w * self.layout.channels
    }

    fn entry<T>(self, x: &[T], entry: usize) -> &[T] {
        &x[entry * self.layout.width()..(entry + 1) * self.layout.width()]
    }

    /// Gives `work` every batch entry's part of `out`, `width` elements of it each.
    fn each<T: Real>(self, width: usize, out: &mut [T], work: impl Fn(usize, &mut [T]) + Sync) {
        if width == 0 {
            return;
        }
        let entries = chunks::rows_per_task(self.layout.width());
        let task = |(i, out): (usize, &mut [T])| {
            for (j, out) in out.chunks_mut(width).enumerate() {
                work(i * entries + j, out);
            }
        };
        if chunks::worth_sharing(self.layout.elements()) {
            out.par_chunks_mut(entries * width).enumerate().for_each(task);
        } else {
            out.chunks_mut(entries * width).enumerate().for_each(task);
        }
    }
}

struct Average<'a, T> {
    pool: Pool,
    x: &'a [T],
    y: &'a mut [T],
}

impl<T: Real> Kernel<T> for Average<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<V: Lanes<T>>(self) {
        let Self { pool: Pool { layout, w }, x, y } = self;
        let (channels, share) = (layout.channels, T::from_f64(1.0 / w as f64));
        if channels == 1 {
            for (y, x) in y.iter_mut().zip(x.chunks_exact(w)) {
                *y = x.iter().copied().sum::<T>() * share;
            }
            return;
        }
        for (y, x) in y.chunks_exact_mut(channels).zip(x.chunks_exact(w * channels)) {
            y.copy_from_slice(&x[..channels]);
            for x in x.chunks_exact(channels).skip(1) {
                y.iter_mut().zip(x).for_each(|(y, &x)| *y += x);
            }
            y.iter_mut().for_each(|y| *y = *y * share);
        }
    }
}

struct AverageBackward<'a, T> {
    pool: Pool,
    gradient: &'a [T],
    out: &'a mut [T],
}

impl<T: Real> Kernel<T> for AverageBackward<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<V: Lanes<T>>(self) {
        let Self { pool: Pool { layout, w }, gradient, out } = self;
        let (channels, share) = (layout.channels, T::from_f64(1.0 / w as f64));
        let (used, dropped) = out.split_at_mut(gradient.len() * w);
        dropped.fill(T::ZERO);
        for (g, out) in gradient.chunks_exact(channels).zip(used.chunks_exact_mut(w * channels)) {
            for out in out.chunks_exact_mut(channels) {
                out.iter_mut().zip(g).for_each(|(out, &g)| *out = g * share);
            }
        }
    }
}

/// Whether `x` takes the place of `best` as the largest: larger, or the first NaN.
#[inline(always)]
fn beats<T: Real>(x: T, best: T) -> bool {
    x > best || (is_nan(x) && !is_nan(best))
}

#[inline(always)]
fn is_nan<T: Real>(x: T) -> bool {
    x.partial_cmp(&x).is_none()
}

struct Largest<'a, T> {
    pool: Pool,
    x: &'a [T],
    y: &'a mut [T],
}

impl<T: Real> Kernel<T> for Largest<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<V: Lanes<T>>(self) {
        let Self { pool: Pool { layout, w }, x, y } = self;
        let channels = layout.channels;
        for (y, x) in y.chunks_exact_mut(channels).zip(x.chunks_exact(w * channels)) {
            y.copy_from_slice(&x[..channels]);
            for x in x.chunks_exact(channels).skip(1) {
                y.iter_mut().zip(x).for_each(|(y, &x)| *y = if beats(x, *y) { x } else { *y });
            }
        }
    }
}

struct LargestBackward<'a, T> {
    pool: Pool,
    x: &'a [T],
    gradient: &'a [T],
    out: &'a mut [T],
}

impl<T: Real> Kernel<T> for LargestBackward<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<V: Lanes<T>>(self) {
        let Self { pool: Pool { layout, w }, x, gradient, out } = self;
        let channels = layout.channels;
        out.fill(T::ZERO);
        let windows = x.chunks_exact(w * channels).zip(out.chunks_exact_mut(w * channels));
        for (g, (x, out)) in gradient.chunks_exact(channels).zip(windows) {
            for c in 0..channels {
                let mut first = c;
                for at in (c + channels..w * channels).step_by(channels) {
                    if beats(x[at], x[first]) {
                        first = at;
                    }
                }
                out[first] = g[c];
            }
        }
    }
}
