//! The moving average along time with repeated ends, and the split into season and trend by it.
//!
//! Here: what the caller sees, the cutting into tasks, and series with several channels. Steps of time are then a stride apart in
//! memory, and the sums run along memory whatever the number of channels. Series of one channel are in `rows`.

use super::Layout;
use super::rows;
use super::window::Window;
use crate::kernels::elementwise::{chunks, edge};
use crate::kernels::simd::{Kernel, Lanes, Real, dispatch};
use rayon::prelude::*;

/// `trend[t]` = mean of x over t − h … t + h, h = (k − 1)/2, with x₀ before the start and the last element past the end.
///
/// `x`, `trend`: `layout.elements()`. `k` odd; it may be longer than the series. Cost: about 2√k additions an element, see
/// `smooth::window` for the error bound. Backward: [`moving_average_backward`].
///
/// Source: the decomposition block of Autoformer (Wu et al. 2021), used by DLinear and TimeMixer.
pub fn moving_average<T: Real>(x: &[T], layout: Layout, k: usize, trend: &mut [T]) {
    check("moving average", layout, k, &[x.len(), trend.len()]);
    let tasks = Tasks::new::<T>(layout, k);
    tasks.each(trend, &mut [], |task, trend, _| tasks.forward(task.of(x), None, trend));
}

/// [`moving_average`] as `trend`, and `season = x − trend`, in one pass.
pub fn decompose<T: Real>(x: &[T], layout: Layout, k: usize, season: &mut [T], trend: &mut [T]) {
    check("decompose", layout, k, &[x.len(), season.len(), trend.len()]);
    let tasks = Tasks::new::<T>(layout, k);
    tasks.each(trend, season, |task, trend, season| tasks.forward(task.of(x), Some(season), trend));
}

/// The gradient of x from that of [`moving_average`]'s trend: the transposed average. Same sizes and cost.
pub fn moving_average_backward<T: Real>(trend_gradient: &[T], layout: Layout, k: usize, x_gradient: &mut [T]) {
    check("moving average", layout, k, &[trend_gradient.len(), x_gradient.len()]);
    let tasks = Tasks::new::<T>(layout, k);
    tasks.each(x_gradient, &mut [], |task, x_gradient, _| tasks.backward(None, task.of(trend_gradient), x_gradient));
}

/// The gradient of x from those of [`decompose`]'s season and trend, in one pass. Same sizes and cost.
pub fn decompose_backward<T: Real>(season_gradient: &[T], trend_gradient: &[T], layout: Layout, k: usize, x_gradient: &mut [T]) {
    check("decompose", layout, k, &[season_gradient.len(), trend_gradient.len(), x_gradient.len()]);
    let tasks = Tasks::new::<T>(layout, k);
    tasks.each(x_gradient, &mut [], |task, x_gradient, _| {
        tasks.backward(Some(task.of(season_gradient)), task.of(trend_gradient), x_gradient);
    });
}

fn check(op: &str, layout: Layout, k: usize, lengths: &[usize]) {
    assert!(k % 2 == 1, "{op}: the kernel must be odd, got {k}");
    assert!(lengths.iter().all(|&l| l == layout.elements()), "{op}: {lengths:?} elements for {layout:?}");
}

/// The plan: how many batch entries make a task, and in what strips of channels an entry is worked on.
struct Tasks {
    layout: Layout,
    k: usize,
    /// Channels side by side in the padded copy, so that the copy stays in cache.
    strip: usize,
    entries: usize,
    window: Window,
}

/// Elements of the padded copy of a strip: half of a first-level cache of `f32`.
const PADDED: usize = 4096;

#[derive(Clone, Copy)]
struct Task {
    start: usize,
    len: usize,
}

impl Task {
    fn of<T>(self, x: &[T]) -> &[T] {
        &x[self.start..self.start + self.len]
    }
}

impl Tasks {
    fn new<T: Real>(layout: Layout, k: usize) -> Self {
        let fit = PADDED / (layout.time + k - 1).max(1) / T::LANES * T::LANES;
        let strip = layout.channels.min(fit.max(T::LANES)).max(1);
        Self { layout, k, strip, entries: chunks::rows_per_task(layout.width()), window: Window::new(k) }
    }

    /// Gives `work` every task's share of `first` and `second` (which may be empty).
    fn each<T: Real>(&self, first: &mut [T], second: &mut [T], work: impl Fn(Task, &mut [T], &mut [T]) + Sync) {
        let size = self.entries * self.layout.width();
        if size == 0 || first.is_empty() {
            return;
        }
        let task = |i: usize, len: usize| Task { start: i * size, len };
        if !chunks::worth_sharing(first.len()) {
            let mut rest = second;
            for (i, first) in first.chunks_mut(size).enumerate() {
                let (own, other) = rest.split_at_mut(first.len().min(rest.len()));
                rest = other;
                work(task(i, first.len()), first, own);
            }
        } else if second.is_empty() {
            first.par_chunks_mut(size).enumerate().for_each(|(i, first)| work(task(i, first.len()), first, &mut []));
        } else {
            let both = first.par_chunks_mut(size).zip(second.par_chunks_mut(size)).enumerate();
            both.for_each(|(i, (first, second))| work(task(i, first.len()), first, second));
        }
    }

    fn forward<T: Real>(&self, x: &[T], season: Option<&mut [T]>, trend: &mut [T]) {
        let &Self { layout: Layout { time, channels, .. }, k, window, .. } = self;
        if channels == 1 {
            dispatch(rows::Forward { time, k, window, x, season, trend });
        } else {
            dispatch(Forward { tasks: self, x, season, trend });
        }
    }

    fn backward<T: Real>(&self, season: Option<&[T]>, trend: &[T], x_gradient: &mut [T]) {
        let &Self { layout: Layout { time, channels, .. }, k, window, .. } = self;
        if channels == 1 {
            dispatch(rows::Backward { time, k, window, season, trend, x_gradient });
        } else {
            dispatch(Backward { tasks: self, season, trend, x_gradient });
        }
    }

    /// Where a vector for the places from `start` on may be stored. Whole batch entries are written in order, so that a vector may run
    /// over into the next entry, which is written after it; a masked store costs several times a whole one. A strip's vectors end with
    /// its `rest` channels.
    #[inline(always)]
    fn places(&self, start: usize, rest: usize, end: usize) -> std::ops::Range<usize> {
        start..end.min(start.saturating_add(rest))
    }

    /// Pieces of a strip that are contiguous in the series: (place in the strip, place in the entry, length).
    #[inline(always)]
    fn pieces(&self, channel: usize, strip: usize) -> impl Iterator<Item = (usize, usize, usize)> + use<> {
        let Layout { time, channels, .. } = self.layout;
        // All channels: the entry is one piece. Otherwise a piece for every step of time.
        let (count, len) = if strip == channels { (1, time * channels) } else { (time, strip) };
        (0..count).map(move |i| (i * len, i * channels + channel, len))
    }
}

struct Forward<'a, T> {
    tasks: &'a Tasks,
    x: &'a [T],
    season: Option<&'a mut [T]>,
    trend: &'a mut [T],
}

impl<T: Real> Kernel<T> for Forward<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<V: Lanes<T>>(self) {
        let Self { tasks, x, mut season, trend } = self;
        let Layout { time, channels, .. } = tasks.layout;
        let (half, width) = (tasks.k / 2, time * channels);
        let room = (time + 2 * half) * tasks.strip + V::N;
        let (mut padded, mut partial) = (vec![T::ZERO; room], vec![T::ZERO; room]);
        let share = V::splat(T::from_f64(1.0 / tasks.k as f64));
        for entry in (0..x.len()).step_by(width) {
            let x = &x[entry..entry + width];
            for channel in (0..channels).step_by(tasks.strip) {
                let strip = tasks.strip.min(channels - channel);
                let window = tasks.window.stride(strip);
                let middle = half * strip;
                for (to, from, len) in tasks.pieces(channel, strip) {
                    padded[middle + to..middle + to + len].copy_from_slice(&x[from..from + len]);
                }
                let last = middle + (time - 1) * strip;
                repeat(&mut padded, middle, strip, 0..half);
                repeat(&mut padded, last, strip, half + time..time + 2 * half);
                window.short_sums::<T, V>(&padded, &mut partial, time * strip);
                for (from, to, len) in tasks.pieces(channel, strip) {
                    let reach = if strip == channels { usize::MAX } else { len };
                    for i in (0..len).step_by(V::N) {
                        let average = window.at::<T, V>(&padded, &partial, from + i).mul(share);
                        let here = tasks.places(entry + to + i, reach - i, trend.len());
                        if let Some(season) = season.as_deref_mut() {
                            let rest = V::load(&padded[middle + from + i..]).sub(average);
                            edge::put(rest, &mut season[here.clone()]);
                        }
                        edge::put(average, &mut trend[here]);
                    }
                }
            }
        }
    }
}

/// Copies the `len` elements at `from` to each of the steps `to`.
#[inline(always)]
fn repeat<T: Real>(padded: &mut [T], from: usize, len: usize, to: std::ops::Range<usize>) {
    for step in to {
        padded.copy_within(from..from + len, step * len);
    }
}

struct Backward<'a, T> {
    tasks: &'a Tasks,
    season: Option<&'a [T]>,
    trend: &'a [T],
    x_gradient: &'a mut [T],
}

impl<T: Real> Kernel<T> for Backward<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<V: Lanes<T>>(self) {
        let Self { tasks, season, trend, x_gradient } = self;
        let Layout { time, channels, .. } = tasks.layout;
        let (half, width) = (tasks.k / 2, time * channels);
        // Between the ends the transposed average is an average with zeros around; those zeros are written once.
        let room = (time + 2 * half) * tasks.strip + V::N;
        let (mut padded, mut partial) = (vec![T::ZERO; room], vec![T::ZERO; room]);
        let share = V::splat(T::from_f64(1.0 / tasks.k as f64));
        let ramp = rows::ramp::<T>(half, time, tasks.k);
        let falling: Vec<T> = ramp.iter().rev().copied().collect();
        let reach = ramp.len();
        let mut ends = vec![T::ZERO; 2 * tasks.strip];
        let mut former = tasks.strip;
        for entry in (0..trend.len()).step_by(width) {
            let trend = &trend[entry..entry + width];
            let season = season.map(|s| &s[entry..]);
            for channel in (0..channels).step_by(tasks.strip) {
                let strip = tasks.strip.min(channels - channel);
                let window = tasks.window.stride(strip);
                let middle = half * strip;
                for (to, from, len) in tasks.pieces(channel, strip) {
                    let to = &mut padded[middle + to..middle + to + len];
                    match season {
                        None => to.copy_from_slice(&trend[from..from + len]),
                        Some(season) => difference::<T, V>(&trend[from..from + len], &season[from..from + len], to),
                    }
                }
                // A strip of another width left numbers where zeros should be.
                if strip != former {
                    padded[..middle].fill(T::ZERO);
                    padded[middle + time * strip..].fill(T::ZERO);
                    former = strip;
                }
                let steps = &padded[middle..];
                let (first, last) = ends.split_at_mut(tasks.strip);
                if time == 1 {
                    first[..strip].copy_from_slice(&steps[..strip]);
                } else {
                    weighted::<T, V>(&ramp, steps, strip, first);
                    weighted::<T, V>(&falling, &steps[(time - reach) * strip..], strip, last);
                }
                window.short_sums::<T, V>(&padded, &mut partial, time * strip);
                for (from, to, len) in tasks.pieces(channel, strip) {
                    let reach = if strip == channels { usize::MAX } else { len };
                    for i in (0..len).step_by(V::N) {
                        let mut sum = window.at::<T, V>(&padded, &partial, from + i).mul(share);
                        if let Some(season) = season {
                            sum = sum.add(edge::get::<T, V>(&season[to + i..]));
                        }
                        let here = tasks.places(entry + to + i, reach - i, x_gradient.len());
                        edge::put(sum, &mut x_gradient[here]);
                    }
                }
                for (step, ends) in [(0, &*first), (time - 1, &*last)].into_iter().take(time) {
                    let at = step * channels + channel;
                    for c in 0..strip {
                        x_gradient[entry + at + c] = ends[c] + season.map_or(T::ZERO, |s| s[at + c]);
                    }
                }
            }
        }
    }
}

/// `out = a − b`.
#[inline(always)]
fn difference<T: Real, V: Lanes<T>>(a: &[T], b: &[T], out: &mut [T]) {
    for i in (0..out.len()).step_by(V::N) {
        edge::put(edge::get::<T, V>(&a[i..]).sub(edge::get::<T, V>(&b[i..])), &mut out[i..]);
    }
}

/// `out[c]` = Σ_t weights[t] · steps[t, c], for `strip` channels; a vector of steps may be read beyond the last.
#[inline(always)]
fn weighted<T: Real, V: Lanes<T>>(weights: &[T], steps: &[T], strip: usize, out: &mut [T]) {
    let zero = V::splat(T::ZERO);
    for c in (0..strip).step_by(V::N) {
        let mut sum = zero;
        for (t, &w) in weights.iter().enumerate() {
            sum = V::splat(w).fma(V::load(&steps[t * strip + c..]), sum);
        }
        edge::put(sum, &mut out[c..strip]);
    }
}
