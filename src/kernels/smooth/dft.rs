//! Season and trend by the strongest frequencies.

use crate::kernels::elementwise::{chunks, edge};
use crate::kernels::simd::{Kernel, Lanes, Real, dispatch};
use rayon::prelude::*;

/// Splits series of one length: the `top_k` strongest frequencies are the season, the rest, with the mean, is the trend.
///
/// Holds tables of cosines, of about 1.5 · time² numbers; make it once for a length.
///
/// Strength is the amplitude of the real Fourier transform; bin 0 (the mean) is never season. Bins whose amplitudes differ by no
/// more than rounding (16 units of the last place of the series' norm) count as equal, and the lower wins. When there are fewer
/// than `top_k` bins, all are kept.
///
/// Source: what the `dft_decomp` switch of TimeMixer (Wang et al. 2024) is described to do. The published code keeps bin 0 and
/// takes one threshold for a whole batch, which lets everything through.
#[derive(Debug, Clone)]
pub struct DftDecomposition<T> {
    time: usize,
    kept: usize,
    /// Bins 1 … time/2, and their number rounded up to whole vectors.
    bins: usize,
    stride: usize,
    /// `time` rounded up to whole vectors.
    row: usize,
    /// (pairs, stride): cos and sin of 2π f t / time for bin f = column + 1 and step t = row + 1. Steps t and time − t share a row:
    /// their cosines are equal and their sines opposite.
    cos_by_step: Vec<T>,
    sin_by_step: Vec<T>,
    /// (bins, time rounded up to whole vectors): the same by bin, over all steps.
    cos_by_bin: Vec<T>,
    sin_by_bin: Vec<T>,
}

/// Series transformed together, so that a table entry is read once for all of them.
const BLOCK: usize = 4;

impl<T: Real> DftDecomposition<T> {
    /// For series of `time` steps. Cost: time² table entries.
    pub fn new(time: usize, top_k: usize) -> Self {
        let bins = time / 2;
        let stride = bins.next_multiple_of(T::LANES);
        let row = time.next_multiple_of(T::LANES);
        let turn: Vec<(T, T)> = (0..time).map(|i| cos_sin(i, time)).map(|(c, s)| (T::from_f64(c), T::from_f64(s))).collect();
        let pairs = time.saturating_sub(1) / 2;
        let by_step = |part: fn(&(T, T)) -> T| {
            let entry = |(t, f): (usize, usize)| if f <= bins { part(&turn[f * t % time]) } else { T::ZERO };
            (1..=pairs).flat_map(|t| (1..=stride).map(move |f| (t, f))).map(entry).collect()
        };
        let by_bin = |part: fn(&(T, T)) -> T| {
            (1..=bins).flat_map(|f| (0..row).map(move |t| f * t % time)).map(|i| part(&turn[i])).collect()
        };
        Self {
            time,
            kept: top_k.min(bins),
            bins,
            stride,
            row,
            cos_by_step: by_step(|cs| cs.0),
            sin_by_step: by_step(|cs| cs.1),
            cos_by_bin: by_bin(|cs| cs.0),
            sin_by_bin: by_bin(|cs| cs.1),
        }
    }

    /// How many bins are kept: `top_k`, or all time/2 when there are fewer.
    pub fn kept(&self) -> usize {
        self.kept
    }

    /// Steps of a series.
    pub fn time(&self) -> usize {
        self.time
    }

    /// `season` and `trend` of every series, and the bins kept, strongest first.
    ///
    /// `x`, `season`, `trend`: (rows, time); `bins`: (rows, kept). Cost: time²/2 multiply-adds a series.
    pub fn forward(&self, x: &[T], season: &mut [T], trend: &mut [T], bins: &mut [u32]) {
        let rows = self.rows(x.len());
        assert!(season.len() == x.len() && trend.len() == x.len(), "dft decomposition: lengths differ");
        assert_eq!(bins.len(), rows * self.kept, "dft decomposition: one place per series and bin");
        if self.kept == 0 {
            season.fill(T::ZERO);
            trend.copy_from_slice(x);
            return;
        }
        let task = self.rows_per_task();
        let (width, kept) = (task * self.time, task * self.kept);
        if chunks::worth_sharing(x.len()) {
            let outs = season.par_chunks_mut(width).zip(trend.par_chunks_mut(width)).zip(bins.par_chunks_mut(kept));
            outs.zip(x.par_chunks(width)).for_each(|(((season, trend), bins), x)| {
                dispatch(Forward { plan: self, x, season, trend, bins });
            });
        } else {
            dispatch(Forward { plan: self, x, season, trend, bins });
        }
    }

    /// The gradient of x, for the `bins` that [`DftDecomposition::forward`] kept: which bins are strongest counts as given, and a
    /// projection is its own transpose, so it is g_trend + P(g_season − g_trend).
    ///
    /// Gradients: (rows, time); `bins`: (rows, kept). Cost: 4 · kept · time multiply-adds a series.
    pub fn backward(&self, season_gradient: &[T], trend_gradient: &[T], bins: &[u32], x_gradient: &mut [T]) {
        let rows = self.rows(x_gradient.len());
        let len = x_gradient.len();
        assert!(season_gradient.len() == len && trend_gradient.len() == len, "dft decomposition: lengths differ");
        assert_eq!(bins.len(), rows * self.kept, "dft decomposition: one place per series and bin");
        assert!(bins.iter().all(|&f| f >= 1 && f as usize <= self.bins), "dft decomposition: no such bin");
        if self.kept == 0 {
            x_gradient.copy_from_slice(trend_gradient);
            return;
        }
        let task = self.rows_per_task();
        let width = task * self.time;
        let work = |(i, x_gradient): (usize, &mut [T])| {
            let here = i * width..i * width + x_gradient.len();
            let bins = &bins[i * task * self.kept..][..x_gradient.len() / self.time * self.kept];
            let (season, trend) = (&season_gradient[here.clone()], &trend_gradient[here]);
            dispatch(Backward { plan: self, season, trend, bins, x_gradient });
        };
        if chunks::worth_sharing(len) {
            x_gradient.par_chunks_mut(width).enumerate().for_each(work);
        } else {
            x_gradient.chunks_mut(width).enumerate().for_each(work);
        }
    }

    fn rows(&self, len: usize) -> usize {
        let rows = len.checked_div(self.time).unwrap_or(0);
        assert_eq!(rows * self.time, len, "dft decomposition: series of {} steps do not fill {len} elements", self.time);
        rows
    }

    fn rows_per_task(&self) -> usize {
        chunks::rows_per_task(self.time).next_multiple_of(BLOCK)
    }

    fn by_bin(&self, f: u32) -> (&[T], &[T]) {
        let at = (f as usize - 1) * self.row;
        (&self.cos_by_bin[at..at + self.row], &self.sin_by_bin[at..at + self.row])
    }
}

/// Cosine and sine of 2π i / n, i < n, by way of the angle within its quarter turn.
fn cos_sin(i: usize, n: usize) -> (f64, f64) {
    let (quarter, rest) = (4 * i / n, 4 * i % n);
    let (sin, cos) = (std::f64::consts::FRAC_PI_2 * (rest as f64 / n as f64)).sin_cos();
    match quarter {
        0 => (cos, sin),
        1 => (-sin, cos),
        2 => (-cos, -sin),
        _ => (sin, -cos),
    }
}

struct Forward<'a, T> {
    plan: &'a DftDecomposition<T>,
    x: &'a [T],
    season: &'a mut [T],
    trend: &'a mut [T],
    bins: &'a mut [u32],
}

impl<T: Real> Kernel<T> for Forward<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<V: Lanes<T>>(self) {
        let Self { plan, x, season, trend, bins } = self;
        let (time, kept) = (plan.time, plan.kept);
        let mut work = Spectra::new(plan);
        let mut waves = vec![Wave::default(); kept];
        for first in (0..x.len() / time).step_by(BLOCK) {
            let rows = BLOCK.min(x.len() / time - first);
            work.transform::<V>(plan, &x[first * time..(first + rows) * time]);
            for r in 0..rows {
                let row = first + r;
                let bins = &mut bins[row * kept..(row + 1) * kept];
                work.strongest::<V>(plan, r, bins);
                for (wave, &f) in waves.iter_mut().zip(&*bins) {
                    let at = r * plan.stride + f as usize - 1;
                    *wave = plan.wave(f, work.re[at], work.im[at]);
                }
                for i in (0..time).step_by(V::N) {
                    let wanted = plan.sum::<V>(&waves, i);
                    // A vector may run over into the next series, which is written after this one.
                    let here = row * time + i..;
                    edge::put(edge::get::<T, V>(&x[here.clone()]).sub(wanted), &mut trend[here.clone()]);
                    edge::put(wanted, &mut season[here]);
                }
            }
        }
    }
}

/// One kept frequency of a series: its row in the tables and the factors of cosine and sine.
#[derive(Debug, Clone, Copy, Default)]
struct Wave<T> {
    at: usize,
    re: T,
    im: T,
}

impl<T: Real> DftDecomposition<T> {
    /// The wave of bin `f` with these cosine and sine sums.
    #[inline(always)]
    fn wave(&self, f: u32, re: T, im: T) -> Wave<T> {
        // The bin that is its own mirror image counts once.
        let scale = T::from_f64(if 2 * f as usize == self.time { 1.0 } else { 2.0 } / self.time as f64);
        Wave { at: (f as usize - 1) * self.row, re: re * scale, im: im * scale }
    }

    /// The sum of waves at steps i … i + N − 1.
    #[inline(always)]
    fn sum<V: Lanes<T>>(&self, waves: &[Wave<T>], i: usize) -> V {
        let mut sum = V::splat(T::ZERO);
        for wave in waves {
            sum = V::load(&self.cos_by_bin[wave.at + i..]).fma(V::splat(wave.re), sum);
            sum = V::load(&self.sin_by_bin[wave.at + i..]).fma(V::splat(wave.im), sum);
        }
        sum
    }
}

/// What a task computes of [`BLOCK`] series at a time.
struct Spectra<T> {
    /// (BLOCK, stride): cosine and sine sums of bins 1, 2, …
    re: Vec<T>,
    im: Vec<T>,
    /// (pairs, BLOCK): x_t + x_{time − t} and x_t − x_{time − t}, of the series less its mean.
    even: Vec<T>,
    odd: Vec<T>,
    /// x_0, and x_{time/2} when time is even.
    ends: [(T, T); BLOCK],
    /// Differences of amplitudes that mean nothing.
    slack: [T; BLOCK],
    amplitude: Vec<T>,
}

impl<T: Real> Spectra<T> {
    fn new(plan: &DftDecomposition<T>) -> Self {
        let pairs = (plan.time - 1) / 2;
        Self {
            re: vec![T::ZERO; BLOCK * plan.stride],
            im: vec![T::ZERO; BLOCK * plan.stride],
            even: vec![T::ZERO; BLOCK * pairs],
            odd: vec![T::ZERO; BLOCK * pairs],
            ends: [(T::ZERO, T::ZERO); BLOCK],
            slack: [T::ZERO; BLOCK],
            amplitude: vec![T::ZERO; plan.stride],
        }
    }

    /// Cosine and sine sums of up to [`BLOCK`] series; the rest of the block is computed from what was there before and not used.
    #[inline(always)]
    fn transform<V: Lanes<T>>(&mut self, plan: &DftDecomposition<T>, x: &[T]) {
        let (time, pairs) = (plan.time, (plan.time - 1) / 2);
        let epsilon = if T::LANES == <f32 as Real>::LANES { f64::from(f32::EPSILON) } else { f64::EPSILON };
        for (r, x) in x.chunks_exact(time).enumerate() {
            let (mut sum, mut squares) = (V::splat(T::ZERO), V::splat(T::ZERO));
            for i in (0..time).step_by(V::N) {
                let x = edge::get::<T, V>(&x[i..]);
                sum = sum.add(x);
                squares = x.fma(x, squares);
            }
            self.slack[r] = T::from_f64(16.0 * epsilon * squares.sum().sqrt().to_f64());
            // Bins other than 0 do not see the mean; rounding does.
            let mean = T::from_f64(sum.sum().to_f64() / time as f64);
            let (front, back) = (&x[1..=pairs], &x[time - pairs..]);
            let folded = self.even.chunks_exact_mut(BLOCK).zip(self.odd.chunks_exact_mut(BLOCK));
            for ((even, odd), (&a, &b)) in folded.zip(front.iter().zip(back.iter().rev())) {
                even[r] = (a - mean) + (b - mean);
                odd[r] = a - b;
            }
            let middle = if time.is_multiple_of(2) { x[time / 2] - mean } else { T::ZERO };
            self.ends[r] = (x[0] - mean, middle);
        }
        // cos(π f): +1 for even bins. Column f holds bin f + 1, and whole vectors start at even columns.
        let mut signs = [-T::ONE; <f32 as Real>::LANES];
        signs.iter_mut().skip(1).step_by(2).for_each(|s| *s = T::ONE);
        let signs = V::load(&signs);
        for f in (0..plan.stride).step_by(V::N) {
            let start = self.ends.map(|(first, middle)| signs.fma(V::splat(middle), V::splat(first)));
            products(start, &plan.cos_by_step, &self.even, f, plan.stride, &mut self.re);
            products([V::splat(T::ZERO); BLOCK], &plan.sin_by_step, &self.odd, f, plan.stride, &mut self.im);
        }
    }

    /// The strongest bins of series `r`, strongest first; near ties go to the lower bin.
    #[inline(always)]
    fn strongest<V: Lanes<T>>(&mut self, plan: &DftDecomposition<T>, r: usize, bins: &mut [u32]) {
        let zero = V::splat(T::ZERO);
        for f in (0..plan.stride).step_by(V::N) {
            let (re, im) = (V::load(&self.re[r * plan.stride + f..]), V::load(&self.im[r * plan.stride + f..]));
            let amplitude = re.fma(re, im.mul(im)).sqrt();
            // A series with a NaN has no strongest bin: the lowest are taken, and all its numbers become NaN.
            V::select(zero.le(amplitude), amplitude, zero).store(&mut self.amplitude[f..]);
        }
        let taken = T::from_f64(f64::NEG_INFINITY);
        self.amplitude[plan.bins..].fill(taken);
        for bin in bins {
            let mut best = V::splat(taken);
            for f in (0..plan.stride).step_by(V::N) {
                best = V::load(&self.amplitude[f..]).max(best);
            }
            let best = best.max_lane();
            let lowest = self.amplitude.iter().position(|&a| a >= best - self.slack[r] || a == best).unwrap_or(0);
            self.amplitude[lowest] = taken;
            *bin = lowest as u32 + 1;
        }
    }
}

/// Columns f … f + N − 1 of `table` times the folded series, for each series of the block, added to `sums`, into `out`.
#[inline(always)]
fn products<T: Real, V: Lanes<T>>(mut sums: [V; BLOCK], table: &[T], folded: &[T], f: usize, stride: usize, out: &mut [T]) {
    for (row, x) in table.chunks_exact(stride).zip(folded.chunks_exact(BLOCK)) {
        let wave = V::load(&row[f..]);
        for (sum, &x) in sums.iter_mut().zip(x) {
            *sum = wave.fma(V::splat(x), *sum);
        }
    }
    for (r, sum) in sums.into_iter().enumerate() {
        sum.store(&mut out[r * stride + f..]);
    }
}

struct Backward<'a, T> {
    plan: &'a DftDecomposition<T>,
    season: &'a [T],
    trend: &'a [T],
    bins: &'a [u32],
    x_gradient: &'a mut [T],
}

impl<T: Real> Kernel<T> for Backward<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<V: Lanes<T>>(self) {
        let Self { plan, season, trend, bins, x_gradient } = self;
        let (time, kept) = (plan.time, plan.kept);
        // Zeros past the end, where tables go on.
        let mut difference = vec![T::ZERO; plan.row];
        let mut waves = vec![Wave::default(); kept];
        for (row, bins) in bins.chunks_exact(kept).enumerate() {
            let here = row * time..(row + 1) * time;
            let (season, after) = (&season[here.clone()], &trend[here.start..]);
            for i in (0..time).step_by(V::N) {
                let d = edge::get::<T, V>(&season[i..]).sub(edge::get::<T, V>(&after[i..time]));
                d.store(&mut difference[i..]);
            }
            for (wave, &f) in waves.iter_mut().zip(bins) {
                let (cos, sin) = plan.by_bin(f);
                let (mut re, mut im) = (V::splat(T::ZERO), V::splat(T::ZERO));
                for i in (0..plan.row).step_by(V::N) {
                    let d = V::load(&difference[i..]);
                    re = V::load(&cos[i..]).fma(d, re);
                    im = V::load(&sin[i..]).fma(d, im);
                }
                *wave = plan.wave(f, re.sum(), im.sum());
            }
            for i in (0..time).step_by(V::N) {
                let sum = edge::get::<T, V>(&after[i..]).add(plan.sum::<V>(&waves, i));
                // May run over into the next series, which is written after this one.
                edge::put(sum, &mut x_gradient[here.start + i..]);
            }
        }
    }
}
