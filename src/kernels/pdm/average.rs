//! The moving average over the steps of a scale, for all lanes of a group at once, and its transpose.

use crate::kernels::simd::{Kernel, Lanes, Real, dispatch};
use std::ops::Range;

/// A series of vectors to sum over windows, and a place for the sums. All `#[inline(always)]`.
trait Series<T: Real> {
    fn at<V: Lanes<T>>(&self, q: usize) -> V;
    fn put<V: Lanes<T>>(&mut self, p: usize, sum: V);
}

/// Calls `put(p, Σ at(p..p + k))` for p = count − 1, …, 0. `before` has room for `count + k − 1` vectors.
///
/// Steps are cut into blocks of k; a window is the end of one block and the start of the next, so each sum takes k terms at most
/// and nothing is subtracted: the error is that of a plain sum, whatever the length. Three additions for each window.
#[inline(always)]
fn windows<T: Real, V: Lanes<T>>(count: usize, k: usize, before: &mut [T], series: &mut impl Series<T>) {
    let all = count + k - 1;
    assert!(count > 0 && before.len() >= all * V::N);
    // before[q]: the sum of q's block up to q.
    let mut place = 0;
    let mut sum = V::splat(T::ZERO);
    for (q, to) in before.chunks_exact_mut(V::N).take(all).enumerate() {
        sum = if place == 0 { series.at(q) } else { sum.add(series.at(q)) };
        sum.store(to);
        place = if place + 1 == k { 0 } else { place + 1 };
    }
    // The sum of p's block from p on. The block of the last window may end past it.
    let last = count - 1;
    let end = (last / k * k + k).min(all);
    let mut after = V::splat(T::ZERO);
    for q in (count..end).rev() {
        after = after.add(series.at(q));
    }
    let mut place = last % k;
    for p in (0..count).rev() {
        let up_to = V::load(&before[(p + k - 1) * V::N..]);
        if place == 0 {
            // The window is a block.
            series.put(p, up_to);
            after = V::splat(T::ZERO);
            place = k - 1;
        } else {
            after = after.add(series.at::<V>(p));
            series.put(p, after.add(up_to));
            place -= 1;
        }
    }
}

/// Numbers of scratch for scales of at most `longest` steps.
pub(super) fn room<T: Real>(longest: usize, k: usize) -> usize {
    (longest + 2 * (k - 1)) * T::LANES
}

/// A vector of lanes, or what is left of them.
#[inline(always)]
fn load<T: Real, V: Lanes<T>, const WHOLE: bool>(line: &[T]) -> V {
    if WHOLE { V::load(line) } else { V::load_partial(line) }
}

#[inline(always)]
fn store<T: Real, V: Lanes<T>, const WHOLE: bool>(x: V, line: &mut [T]) {
    if WHOLE { x.store(line) } else { x.store_partial(line) }
}

struct Decompose<'a, T> {
    h: &'a [T],
    lanes: usize,
    k: usize,
    scratch: &'a mut [T],
    season: &'a mut [T],
    trend: &'a mut [T],
}

/// Some lanes of [`Decompose`]: h with its ends repeated → season and trend.
struct Forward<'a, T, const WHOLE: bool> {
    h: &'a [T],
    season: &'a mut [T],
    trend: &'a mut [T],
    lanes: usize,
    js: Range<usize>,
    half: usize,
    share: T,
}

impl<T: Real, const WHOLE: bool> Series<T> for Forward<'_, T, WHOLE> {
    #[inline(always)]
    fn at<V: Lanes<T>>(&self, q: usize) -> V {
        let t = q.saturating_sub(self.half).min(self.h.len() / self.lanes - 1) * self.lanes;
        load::<T, V, WHOLE>(&self.h[t + self.js.start..t + self.js.end])
    }
    #[inline(always)]
    fn put<V: Lanes<T>>(&mut self, t: usize, sum: V) {
        let line = t * self.lanes + self.js.start..t * self.lanes + self.js.end;
        let mean = sum.mul(V::splat(self.share));
        store::<T, V, WHOLE>(mean, &mut self.trend[line.clone()]);
        store::<T, V, WHOLE>(load::<T, V, WHOLE>(&self.h[line.clone()]).sub(mean), &mut self.season[line]);
    }
}

impl<T: Real> Decompose<'_, T> {
    #[inline(always)]
    fn lane<V: Lanes<T>, const WHOLE: bool>(&mut self, js: Range<usize>) {
        let time = self.h.len() / self.lanes;
        let share = T::from_f64(1.0 / self.k as f64);
        let (season, trend) = (&mut *self.season, &mut *self.trend);
        let mut series = Forward::<T, WHOLE> { h: self.h, season, trend, lanes: self.lanes, js, half: self.k / 2, share };
        windows::<T, V>(time, self.k, self.scratch, &mut series);
    }
}

impl<T: Real> Kernel<T> for Decompose<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<V: Lanes<T>>(mut self) {
        let whole = self.lanes / V::N * V::N;
        for j in (0..whole).step_by(V::N) {
            self.lane::<V, true>(j..j + V::N);
        }
        if whole < self.lanes {
            self.lane::<V, false>(whole..self.lanes);
        }
    }
}

/// Season and trend of one scale, all three (time, lanes); edges are repeated.
pub(super) fn decompose<T: Real>(h: &[T], lanes: usize, k: usize, scratch: &mut [T], season: &mut [T], trend: &mut [T]) {
    assert!(h.len() == season.len() && h.len() == trend.len());
    if !h.is_empty() {
        dispatch(Decompose { h, lanes, k, scratch, season, trend });
    }
}

struct Backward<'a, T> {
    g: &'a mut [T],
    lanes: usize,
    k: usize,
    scratch: &'a mut [T],
    season: &'a [T],
    trend: &'a mut [T],
}

/// Some lanes of [`Backward`]: the gradient of the trend with nothing around it → the gradient of the padded series, what went to the
/// padding put to the ends.
struct Padded<'a, T, const WHOLE: bool> {
    trend: &'a [T],
    g: &'a mut [T],
    lanes: usize,
    js: Range<usize>,
    time: usize,
    k: usize,
    share: T,
}

impl<T: Real, const WHOLE: bool> Series<T> for Padded<'_, T, WHOLE> {
    #[inline(always)]
    fn at<V: Lanes<T>>(&self, q: usize) -> V {
        if q < self.k - 1 || q >= self.time + self.k - 1 {
            return V::splat(T::ZERO);
        }
        let t = (q - (self.k - 1)) * self.lanes;
        load::<T, V, WHOLE>(&self.trend[t + self.js.start..t + self.js.end])
    }
    #[inline(always)]
    fn put<V: Lanes<T>>(&mut self, p: usize, sum: V) {
        // Place p of the padded series is in the windows p − k + 1 ..= p.
        let t = p.saturating_sub(self.k / 2).min(self.time - 1) * self.lanes;
        let line = &mut self.g[t + self.js.start..t + self.js.end];
        store::<T, V, WHOLE>(sum.fma(V::splat(self.share), load::<T, V, WHOLE>(line)), line);
    }
}

impl<T: Real> Backward<'_, T> {
    #[inline(always)]
    fn lane<V: Lanes<T>, const WHOLE: bool>(&mut self, js: Range<usize>) {
        let (lanes, k, time) = (self.lanes, self.k, self.g.len() / self.lanes);
        for t in 0..time {
            let line = t * lanes + js.start..t * lanes + js.end;
            let season = load::<T, V, WHOLE>(&self.season[line.clone()]);
            let (trend, g) = (&mut self.trend[line.clone()], &mut self.g[line]);
            store::<T, V, WHOLE>(load::<T, V, WHOLE>(trend).sub(season), trend);
            store::<T, V, WHOLE>(load::<T, V, WHOLE>(g).add(season), g);
        }
        let share = T::from_f64(1.0 / k as f64);
        let mut series = Padded::<T, WHOLE> { trend: self.trend, g: &mut *self.g, lanes, js, time, k, share };
        windows::<T, V>(time + k - 1, k, self.scratch, &mut series);
    }
}

impl<T: Real> Kernel<T> for Backward<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<V: Lanes<T>>(mut self) {
        let whole = self.lanes / V::N * V::N;
        for j in (0..whole).step_by(V::N) {
            self.lane::<V, true>(j..j + V::N);
        }
        if whole < self.lanes {
            self.lane::<V, false>(whole..self.lanes);
        }
    }
}

/// `g += season + Mᵀ(trend − season)`, the gradient of [`decompose`]; `trend` is used up. All three (time, lanes).
pub(super) fn backward<T: Real>(g: &mut [T], lanes: usize, k: usize, scratch: &mut [T], season: &[T], trend: &mut [T]) {
    assert!(g.len() == season.len() && g.len() == trend.len());
    if !g.is_empty() {
        dispatch(Backward { g, lanes, k, scratch, season, trend });
    }
}
