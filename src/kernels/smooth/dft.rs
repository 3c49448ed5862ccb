//! Season and trend by the strongest frequencies.

use crate::kernels::elementwise::chunks;
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
    /// (pairs, stride): cos and sin of 2π f t / time for bin f = column + 1 and step t = row + 1. Steps t and time − t share a row:
    /// their cosines are equal and their sines opposite.
    cos_by_step: Vec<T>,
    sin_by_step: Vec<T>,
    /// (bins, time): the same by bin, over all steps.
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
        let turn: Vec<(T, T)> = (0..time).map(|i| cos_sin(i, time)).map(|(c, s)| (T::from_f64(c), T::from_f64(s))).collect();
        let pairs = time.saturating_sub(1) / 2;
        let by_step = |part: fn(&(T, T)) -> T| {
            let entry = |(t, f): (usize, usize)| if f <= bins { part(&turn[f * t % time]) } else { T::ZERO };
            (1..=pairs).flat_map(|t| (1..=stride).map(move |f| (t, f))).map(entry).collect()
        };
        let by_bin = |part: fn(&(T, T)) -> T| {
            (1..=bins).flat_map(|f| (0..time).map(move |t| f * t % time)).map(|i| part(&turn[i])).collect()
        };
        Self {
            time,
            kept: top_k.min(bins),
            bins,
            stride,
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
        let at = (f as usize - 1) * self.time;
        (&self.cos_by_bin[at..at + self.time], &self.sin_by_bin[at..at + self.time])
    }

    /// 2/time, and 1/time for the one bin that is its own mirror image.
    fn scale(&self, f: u32) -> T {
        T::from_f64(if 2 * f as usize == self.time { 1.0 } else { 2.0 } / self.time as f64)
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
        for first in (0..x.len() / time).step_by(BLOCK) {
            let rows = BLOCK.min(x.len() / time - first);
            let here = first * time..(first + rows) * time;
            work.transform::<V>(plan, &x[here], rows);
            for r in 0..rows {
                let row = first + r;
                let bins = &mut bins[row * kept..(row + 1) * kept];
                work.strongest(plan, r, bins);
                let (x, season) = (&x[row * time..(row + 1) * time], &mut season[row * time..(row + 1) * time]);
                let trend = &mut trend[row * time..(row + 1) * time];
                season.fill(T::ZERO);
                for &f in bins.iter() {
                    let at = r * plan.stride + f as usize - 1;
                    add_wave::<T, V>(plan, f, work.re[at], work.im[at], season);
                }
                for i in (0..time).step_by(V::N) {
                    V::load_partial(&x[i..]).sub(V::load_partial(&season[i..])).store_partial(&mut trend[i..]);
                }
            }
        }
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
    slack: [f64; BLOCK],
    amplitude: Vec<f64>,
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
            slack: [0.0; BLOCK],
            amplitude: vec![0.0; plan.bins],
        }
    }

    /// Cosine and sine sums of `rows` series; the rest of the block is computed from what was there before and not used.
    #[inline(always)]
    fn transform<V: Lanes<T>>(&mut self, plan: &DftDecomposition<T>, x: &[T], rows: usize) {
        let (time, pairs) = (plan.time, (plan.time - 1) / 2);
        let epsilon = if T::LANES == <f32 as Real>::LANES { f64::from(f32::EPSILON) } else { f64::EPSILON };
        for (r, x) in x.chunks_exact(time).enumerate().take(rows) {
            let (mut sum, mut squares) = (0.0, 0.0);
            for x in x {
                sum += x.to_f64();
                squares += x.to_f64() * x.to_f64();
            }
            self.slack[r] = 16.0 * epsilon * squares.sqrt();
            // Bins other than 0 do not see the mean; rounding does.
            let mean = T::from_f64(sum / time as f64);
            for t in 1..=pairs {
                let (a, b) = (x[t] - mean, x[time - t] - mean);
                self.even[(t - 1) * BLOCK + r] = a + b;
                self.odd[(t - 1) * BLOCK + r] = a - b;
            }
            let middle = if time.is_multiple_of(2) { x[time / 2] - mean } else { T::ZERO };
            self.ends[r] = (x[0] - mean, middle);
        }
        for f in (0..plan.stride).step_by(V::N) {
            let mut re = [V::splat(T::ZERO); BLOCK];
            let mut im = [V::splat(T::ZERO); BLOCK];
            // cos(π f): +1 for even bins. Column f holds bin f + 1, and whole vectors start at even f.
            let mut signs = [-T::ONE; 16];
            signs.iter_mut().skip(1).step_by(2).for_each(|s| *s = T::ONE);
            let signs = V::load(&signs);
            for r in 0..BLOCK {
                re[r] = signs.fma(V::splat(self.ends[r].1), V::splat(self.ends[r].0));
            }
            for t in 0..pairs {
                let at = t * plan.stride + f;
                let (cos, sin) = (V::load(&plan.cos_by_step[at..]), V::load(&plan.sin_by_step[at..]));
                let (even, odd) = (&self.even[t * BLOCK..(t + 1) * BLOCK], &self.odd[t * BLOCK..(t + 1) * BLOCK]);
                for r in 0..BLOCK {
                    re[r] = cos.fma(V::splat(even[r]), re[r]);
                    im[r] = sin.fma(V::splat(odd[r]), im[r]);
                }
            }
            for r in 0..BLOCK {
                re[r].store(&mut self.re[r * plan.stride + f..]);
                im[r].store(&mut self.im[r * plan.stride + f..]);
            }
        }
    }

    /// The strongest bins of series `r`, strongest first; near ties go to the lower bin.
    #[inline(always)]
    fn strongest(&mut self, plan: &DftDecomposition<T>, r: usize, bins: &mut [u32]) {
        for (f, amplitude) in self.amplitude.iter_mut().enumerate() {
            let (re, im) = (self.re[r * plan.stride + f].to_f64(), self.im[r * plan.stride + f].to_f64());
            let squared = re * re + im * im;
            // A series with a NaN has no strongest bin: the lowest are taken, and all its numbers become NaN.
            *amplitude = if squared.is_nan() { 0.0 } else { squared.sqrt() };
        }
        for bin in bins {
            let best = self.amplitude.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let lowest = self.amplitude.iter().position(|&a| a >= best - self.slack[r] || a == best).unwrap_or(0);
            self.amplitude[lowest] = f64::NEG_INFINITY;
            *bin = lowest as u32 + 1;
        }
    }
}

/// `out += scale · (re cos + im sin)` of bin `f`.
#[inline(always)]
fn add_wave<T: Real, V: Lanes<T>>(plan: &DftDecomposition<T>, f: u32, re: T, im: T, out: &mut [T]) {
    let (cos, sin) = plan.by_bin(f);
    let scale = plan.scale(f);
    let (re, im) = (V::splat(re * scale), V::splat(im * scale));
    for i in (0..out.len()).step_by(V::N) {
        let sum = V::load_partial(&cos[i..]).fma(re, V::load_partial(&out[i..]));
        V::load_partial(&sin[i..]).fma(im, sum).store_partial(&mut out[i..]);
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
        let time = plan.time;
        let mut difference = vec![T::ZERO; time];
        let rows = season.chunks_exact(time).zip(trend.chunks_exact(time)).zip(bins.chunks_exact(plan.kept));
        for (((season, trend), bins), out) in rows.zip(x_gradient.chunks_exact_mut(time)) {
            for i in (0..time).step_by(V::N) {
                V::load_partial(&season[i..]).sub(V::load_partial(&trend[i..])).store_partial(&mut difference[i..]);
            }
            out.copy_from_slice(trend);
            for &f in bins {
                let (cos, sin) = plan.by_bin(f);
                let (mut re, mut im) = (V::splat(T::ZERO), V::splat(T::ZERO));
                for i in (0..time).step_by(V::N) {
                    let d = V::load_partial(&difference[i..]);
                    re = V::load_partial(&cos[i..]).fma(d, re);
                    im = V::load_partial(&sin[i..]).fma(d, im);
                }
                add_wave::<T, V>(plan, f, re.sum(), im.sum(), out);
            }
        }
    }
}
