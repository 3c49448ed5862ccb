//! Pooling along time over windows of w steps that do not overlap. A remainder of fewer than w steps is dropped.
//!
//! Input (batch, time, channels), output (batch, time / w, channels); `layout` is the input's. Cost: one pass over memory.

use super::Layout;
use crate::kernels::elementwise::chunks;
use crate::kernels::simd::{Kernel, Lanes, Real, dispatch};
use rayon::prelude::*;
use std::ops::Range;

/// The mean of each window.
pub fn avg_pool<T: Real>(x: &[T], layout: Layout, w: usize, y: &mut [T]) {
    let pool = Pool::new("average pooling", layout, w, x.len(), y.len());
    pool.each(pool.out_width(), y, |entries, y| dispatch(Average { pool, x: &x[pool.inputs(entries)], y }));
}

/// The gradient of x from that of [`avg_pool`]'s output; 0 in a dropped remainder.
pub fn avg_pool_backward<T: Real>(gradient: &[T], layout: Layout, w: usize, x_gradient: &mut [T]) {
    let pool = Pool::new("average pooling", layout, w, x_gradient.len(), gradient.len());
    pool.each(layout.width(), x_gradient, |entries, out| {
        dispatch(AverageBackward { pool, gradient: &gradient[pool.outputs(entries)], out });
    });
}

/// The largest of each window; NaN when it holds one.
pub fn max_pool<T: Real>(x: &[T], layout: Layout, w: usize, y: &mut [T]) {
    let pool = Pool::new("max pooling", layout, w, x.len(), y.len());
    pool.each(pool.out_width(), y, |entries, y| dispatch(Largest { pool, x: &x[pool.inputs(entries)], y }));
}

/// The gradient of `x` from that of [`max_pool`]'s output: all of it goes to the first of the largest; 0 elsewhere.
pub fn max_pool_backward<T: Real>(x: &[T], gradient: &[T], layout: Layout, w: usize, x_gradient: &mut [T]) {
    let pool = Pool::new("max pooling", layout, w, x_gradient.len(), gradient.len());
    assert_eq!(x.len(), x_gradient.len(), "max pooling: lengths differ");
    pool.each(layout.width(), x_gradient, |entries, out| {
        let (x, gradient) = (&x[pool.inputs(entries.clone())], &gradient[pool.outputs(entries)]);
        dispatch(LargestBackward { pool, x, gradient, out });
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

    fn inputs(self, entries: Range<usize>) -> Range<usize> {
        entries.start * self.layout.width()..entries.end * self.layout.width()
    }

    fn outputs(self, entries: Range<usize>) -> Range<usize> {
        entries.start * self.out_width()..entries.end * self.out_width()
    }

    /// Gives `work` runs of batch entries with their part of `out`, `width` elements of it an entry.
    fn each<T: Real>(self, width: usize, out: &mut [T], work: impl Fn(Range<usize>, &mut [T]) + Sync) {
        if width == 0 {
            return;
        }
        let entries = chunks::rows_per_task(self.layout.width());
        let task = |(i, out): (usize, &mut [T])| work(i * entries..i * entries + out.len() / width, out);
        if chunks::worth_sharing(self.layout.elements()) {
            out.par_chunks_mut(entries * width).enumerate().for_each(task);
        } else {
            out.chunks_mut(entries * width).enumerate().for_each(task);
        }
    }

    /// (input, output) of every batch entry, with one of the two being written.
    fn entries<'a, T>(self, x: &'a [T], y: &'a mut [T]) -> impl Iterator<Item = (&'a [T], &'a mut [T])> {
        x.chunks_exact(self.layout.width()).zip(y.chunks_exact_mut(self.out_width()))
    }
}

/// Calls a function of the window's length with a constant where it is a usual one, so that the compiler can unroll and vectorise
/// contiguous windows. The constant 0 stands for any length.
macro_rules! by_window {
    ($w:expr, $function:ident::<$T:ty>($($argument:expr),*)) => {
        match $w {
            2 => $function::<$T, 2>($($argument),*),
            3 => $function::<$T, 3>($($argument),*),
            4 => $function::<$T, 4>($($argument),*),
            _ => $function::<$T, 0>($($argument),*),
        }
    };
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
        let Self { pool, x, y } = self;
        let (channels, w, share) = (pool.layout.channels, pool.w, T::from_f64(1.0 / pool.w as f64));
        for (x, y) in pool.entries(x, y) {
            if channels == 1 {
                by_window!(w, means::<T>(x, w, share, y));
                continue;
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
}

#[inline(always)]
fn means<T: Real, const W: usize>(x: &[T], w: usize, share: T, y: &mut [T]) {
    let w = if W == 0 { w } else { W };
    for (y, x) in y.iter_mut().zip(x.chunks_exact(w)) {
        let mut sum = x[0];
        for &x in &x[1..] {
            sum += x;
        }
        *y = sum * share;
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
        let Self { pool, gradient, out } = self;
        let (channels, w, share) = (pool.layout.channels, pool.w, T::from_f64(1.0 / pool.w as f64));
        let width = pool.out_width();
        for (i, out) in out.chunks_exact_mut(pool.layout.width()).enumerate() {
            let gradient = &gradient[i * width..(i + 1) * width];
            let (used, dropped) = out.split_at_mut(width * w);
            dropped.fill(T::ZERO);
            if channels == 1 {
                by_window!(w, spread::<T>(gradient, w, share, used));
                continue;
            }
            for (g, out) in gradient.chunks_exact(channels).zip(used.chunks_exact_mut(w * channels)) {
                for out in out.chunks_exact_mut(channels) {
                    out.iter_mut().zip(g).for_each(|(out, &g)| *out = g * share);
                }
            }
        }
    }
}

#[inline(always)]
fn spread<T: Real, const W: usize>(gradient: &[T], w: usize, share: T, out: &mut [T]) {
    let w = if W == 0 { w } else { W };
    for (&g, out) in gradient.iter().zip(out.chunks_exact_mut(w)) {
        out.fill(g * share);
    }
}

/// Whether `x` takes the place of `best` as the largest: larger, or NaN. Once NaN, nothing is larger; a second NaN changes nothing
/// in the value, and [`first_largest`] asks for the first.
#[inline(always)]
fn beats<T: Real>(x: T, best: T) -> bool {
    x > best || is_nan(x)
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
        let Self { pool, x, y } = self;
        let (channels, w) = (pool.layout.channels, pool.w);
        for (x, y) in pool.entries(x, y) {
            if channels == 1 {
                by_window!(w, largest::<T>(x, w, y));
                continue;
            }
            for (y, x) in y.chunks_exact_mut(channels).zip(x.chunks_exact(w * channels)) {
                y.copy_from_slice(&x[..channels]);
                for x in x.chunks_exact(channels).skip(1) {
                    y.iter_mut().zip(x).for_each(|(y, &x)| *y = if beats(x, *y) { x } else { *y });
                }
            }
        }
    }
}

#[inline(always)]
fn largest<T: Real, const W: usize>(x: &[T], w: usize, y: &mut [T]) {
    let w = if W == 0 { w } else { W };
    for (y, x) in y.iter_mut().zip(x.chunks_exact(w)) {
        let mut best = x[0];
        for &x in &x[1..] {
            best = if beats(x, best) { x } else { best };
        }
        *y = best;
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
        let Self { pool, x, gradient, out } = self;
        let (channels, w) = (pool.layout.channels, pool.w);
        let width = pool.out_width();
        let entries = x.chunks_exact(pool.layout.width()).zip(out.chunks_exact_mut(pool.layout.width()));
        for (i, (x, out)) in entries.enumerate() {
            let gradient = &gradient[i * width..(i + 1) * width];
            let (used, dropped) = out.split_at_mut(width * w);
            dropped.fill(T::ZERO);
            if channels == 1 {
                by_window!(w, send::<T>(x, gradient, w, used));
                continue;
            }
            used.fill(T::ZERO);
            let windows = x.chunks_exact(w * channels).zip(used.chunks_exact_mut(w * channels));
            for (g, (x, out)) in gradient.chunks_exact(channels).zip(windows) {
                for (c, &g) in g.iter().enumerate() {
                    out[c + channels * first_largest(w, |j| x[c + channels * j])] = g;
                }
            }
        }
    }
}

#[inline(always)]
fn send<T: Real, const W: usize>(x: &[T], gradient: &[T], w: usize, out: &mut [T]) {
    let w = if W == 0 { w } else { W };
    for (&g, (x, out)) in gradient.iter().zip(x.chunks_exact(w).zip(out.chunks_exact_mut(w))) {
        let first = first_largest(w, |j| x[j]);
        for (j, out) in out.iter_mut().enumerate() {
            *out = if j == first { g } else { T::ZERO };
        }
    }
}

/// The first place of the largest of `w` numbers, or of the first NaN.
#[inline(always)]
fn first_largest<T: Real>(w: usize, x: impl Fn(usize) -> T) -> usize {
    let (mut first, mut best) = (0, x(0));
    for j in 1..w {
        let x = x(j);
        if beats(x, best) && !is_nan(best) {
            (first, best) = (j, x);
        }
    }
    first
}
