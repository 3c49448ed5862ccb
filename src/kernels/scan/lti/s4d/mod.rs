//! S4D: a diagonal linear system for every channel, the same at every step.
//!
//! For channel h with pairs n, Δ = rate·exp(log Δ\[h\]) and A\[h,n\] = −exp(log decay) + i·frequency, discretised by a [`Rule`] to Ā and B̄:
//!
//! * x_t\[h,n\] = Ā·x_{t−1} + B̄·u_t\[h\]
//! * y_t\[h\] = 2·Re Σ_n C\[h,n\]·x_t\[h,n\] + D\[h\]·u_t\[h\]; without first states y = K∗u + D·u with K_l = 2·Re Σ_n C·B̄·Ā^l.
//!
//! # How
//! Two forms, chosen by the sizes and by whether states are given or wanted, never by the data:
//!
//! * the scan: sixteen f32 channels lie in the lanes of a vector. Blocks of four steps are taken at once, which costs 5 multiply-adds
//!   for each pair and step instead of 8 and rounds the state once per block. Powers of Ā are computed in f64, and once per tile the
//!   state gets what the rounded power lacked, so that errors do not grow with the length. Backward keeps no states: 16 multiply-adds.
//! * the convolution: K from its recurrence (3 multiply-adds for each channel, pair and step, for all sequences together) and
//!   [`long_conv`]. Cheaper for many pairs, short sequences or large batches; gives no states.
//!
//! Between different sizes results agree to rounding, as between the two forms.
//!
//! # Cost
//! As above. Memory: one read of u and one write of y; the scan's backward pass holds the states at the starts of 64 tiles per task.
//!
//! # Source
//! Gu, Gupta, Goel & Ré, On the Parameterization and Initialization of Diagonal State Space Models, 2022 (arXiv 2206.11893). Different:
//! B may be given; states before the first and after the last step have gradients; sequences may be packed; no transform is needed where
//! the scan is cheaper.

mod backward;
mod coefficients;
mod forward;
mod kernel;
pub mod reference;
mod step;

pub use step::Stepper;

use super::complex::{ComplexMut, ComplexRef};
use super::long_conv::{self, LongConv};
use super::modes::Rule;
use crate::kernels::bf16::Stored;
use crate::kernels::gemm::with_scratch;
use crate::kernels::rows::{add_parts, for_each};
use crate::kernels::scan::Sequences;
use crate::kernels::scan::columns::Block;
use crate::kernels::simd::{Real, dispatch};
use std::ops::Range;

/// Steps of a block of the scan.
pub(crate) const BLOCK: usize = 4;
/// Steps of a tile.
pub(crate) const TILE: usize = 64;
/// Parts of a sequence whose states the backward pass holds at a time.
pub(crate) const SEGMENT: usize = 64;
/// Tasks that work is cut into, about: enough for a few dozen threads.
const TASKS: usize = 32;
/// Channels of a task at most, a multiple of all vector widths.
const CHANNELS: usize = 128;

const OP: &str = "s4d";

/// Sizes and parameters. See the module's text.
#[derive(Clone, Copy, Debug)]
pub struct S4d<'a, T> {
    pub sequences: Sequences<'a>,
    pub channels: usize,
    /// Complex states of a channel: half of N, the number of real ones.
    pub pairs: usize,
    pub rule: Rule,
    /// Multiplies Δ: 2 for data sampled half as often as those trained on. 1 otherwise.
    pub rate: f64,
    /// log Δ, (channels).
    pub log_dt: &'a [T],
    /// The logarithm of −Re A, (channels, pairs).
    pub log_decay: &'a [T],
    /// Im A, (channels, pairs).
    pub frequency: &'a [T],
    /// (channels, pairs); ones without.
    pub b: Option<ComplexRef<'a, T>>,
    /// (channels, pairs).
    pub c: ComplexRef<'a, T>,
    /// D, (channels).
    pub skip: Option<&'a [T]>,
}

/// Where gradients go, each as long as what it is the gradient of; written, not added to. `None`: not wanted. Of complex numbers:
/// the gradient of the real part, and that of the imaginary part. That of u may be of another type `S`: bf16 as bits.
#[derive(Debug)]
pub struct Gradients<'a, T, S = T> {
    pub u: Option<&'a mut [S]>,
    pub log_dt: Option<&'a mut [T]>,
    pub log_decay: Option<&'a mut [T]>,
    pub frequency: Option<&'a mut [T]>,
    pub b: Option<ComplexMut<'a, T>>,
    pub c: Option<ComplexMut<'a, T>>,
    pub skip: Option<&'a mut [T]>,
    /// Of the states before the first steps.
    pub initial: Option<ComplexMut<'a, T>>,
}

impl<T, S> Default for Gradients<'_, T, S> {
    fn default() -> Self {
        Self { u: None, log_dt: None, log_decay: None, frequency: None, b: None, c: None, skip: None, initial: None }
    }
}

/// How the work is cut: some sequences by some channels. Depends on the sizes alone.
struct Cut {
    sequences: Vec<Range<usize>>,
    /// Rows of those sequences.
    rows: Vec<Range<usize>>,
    channels: Vec<Range<usize>>,
}

impl<T: Real> S4d<'_, T> {
    fn check_parameters(&self) {
        let (h, n) = (self.channels, self.pairs);
        assert!(h > 0 && n > 0, "{OP}: {h} channels of {n} pairs");
        assert!(self.rate.is_finite() && self.rate > 0.0, "{OP}: the rate is {}", self.rate);
        assert_eq!(self.log_dt.len(), h, "{OP}: one step size per channel");
        assert!(self.log_decay.len() == h * n && self.frequency.len() == h * n, "{OP}: A is {h} x {n}");
        assert!(self.c.has(h * n) && self.b.is_none_or(|b| b.has(h * n)), "{OP}: B and C are {h} x {n}");
        assert!(self.skip.is_none_or(|d| d.len() == h), "{OP}: D has one number per channel");
    }

    fn check<S>(&self, u: &[S], y: &[S], states: [Option<ComplexRef<'_, T>>; 2]) {
        self.check_parameters();
        self.sequences.check(OP);
        let (rows, h, n) = (self.sequences.rows(), self.channels, self.pairs);
        assert!(u.len() == rows * h && y.len() == rows * h, "{OP}: u and y are {rows} x {h}");
        let fits = states.iter().flatten().all(|s| s.has(self.state_len()));
        assert!(fits, "{OP}: states are {} x {h} x {n}", self.sequences.count());
    }

    fn check_gradients<S>(&self, rows: usize, to: &Gradients<'_, T, S>) {
        let (h, n) = (self.channels, self.pairs);
        assert!(to.u.as_ref().is_none_or(|p| p.len() == rows * h), "{OP}: the gradient of u has {} numbers", rows * h);
        for (name, place, len) in [
            ("the step sizes", &to.log_dt, h),
            ("the decays", &to.log_decay, h * n),
            ("the frequencies", &to.frequency, h * n),
            ("D", &to.skip, self.skip.map_or(0, <[T]>::len)),
        ] {
            assert!(place.as_ref().is_none_or(|p| p.len() == len), "{OP}: the gradient of {name} has {len} numbers");
        }
        for (name, place, len) in [("B", &to.b, h * n), ("C", &to.c, h * n), ("the first states", &to.initial, self.state_len())]
        {
            assert!(place.as_ref().is_none_or(|p| p.has(len)), "{OP}: the gradient of {name} has {len} numbers");
        }
    }

    /// Complex numbers of the states of all sequences, (sequences, channels, pairs).
    pub fn state_len(&self) -> usize {
        self.sequences.count() * self.channels * self.pairs
    }

    fn longest(&self) -> usize {
        self.sequences.iter().map(|r| r.len()).max().unwrap_or(0)
    }

    /// Vectors of channels.
    fn vectors(&self) -> Vec<Range<usize>> {
        (0..self.channels).step_by(T::LANES).map(|at| at..self.channels.min(at + T::LANES)).collect()
    }

    /// Whether the convolution is the cheaper form: multiply-adds for each channel, against those of the scan. `[scan, kernel]`: what
    /// a pair costs in each step of the scan, and in each step of the kernel.
    fn convolves(&self, [scan, kernel]: [f64; 2], conv: f64) -> bool {
        let (pairs, rows) = (self.pairs as f64, self.sequences.rows() as f64);
        conv + kernel * pairs * (self.longest() as f64) < scan * pairs * rows
    }

    fn conv<'b>(&'b self, len: usize, kernel: &'b [T]) -> LongConv<'b, T> {
        LongConv { sequences: self.sequences, channels: self.channels, taps: len, kernel }
    }

    fn cut(&self) -> Cut {
        let count = self.sequences.count();
        let vectors = self.channels.div_ceil(T::LANES);
        let block = (vectors * count / TASKS).clamp(1, CHANNELS / T::LANES) * T::LANES;
        let channels: Vec<Range<usize>> = (0..self.channels).step_by(block).map(|at| at..self.channels.min(at + block)).collect();
        let parts = (TASKS / channels.len().max(1)).clamp(1, count.max(1));
        let sequences: Vec<Range<usize>> =
            (0..parts).map(|p| count * p / parts..count * (p + 1) / parts).filter(|r| !r.is_empty()).collect();
        let rows = sequences.iter().map(|s| self.sequences.range(s.start).start..self.sequences.range(s.end - 1).end).collect();
        Cut { sequences, rows, channels }
    }

    /// The coefficients of all vectors of channels.
    fn prepare(&self, to: &mut [T]) {
        let len = coefficients::len::<T>(self.pairs);
        let tasks: Vec<(Range<usize>, &mut [T])> = self.vectors().into_iter().zip(to.chunks_exact_mut(len)).collect();
        for_each(tasks, |(channels, to)| {
            let each = self.pairs * T::LANES;
            with_scratch(coefficients::Gathered::ARRAYS * each, |buffer: &mut [f64]| {
                let x = coefficients::Gathered::new(self, channels.clone(), buffer);
                dispatch(coefficients::Prepare { s4d: self, channels, x, to });
            });
        });
    }

    /// Writes y, as long as u (rows, channels), and if wanted the states after the last steps. `initial`: the states before the first
    /// steps, zeros without. Panics when sizes do not fit.
    pub fn forward(&self, u: &[T], initial: Option<ComplexRef<'_, T>>, y: &mut [T], last: Option<ComplexMut<'_, T>>) {
        self.forward_stored(u, initial, y, last);
    }

    /// [`forward`](Self::forward) with u and y as they are held in memory.
    fn forward_stored<S: Stored<T>>(
        &self,
        u: &[S],
        initial: Option<ComplexRef<'_, T>>,
        y: &mut [S],
        last: Option<ComplexMut<'_, T>>,
    ) {
        self.check(u, y, [initial, last.as_ref().map(ComplexMut::as_ref)]);
        let len = self.longest();
        if initial.is_none() && last.is_none() && self.convolves([5.0, 4.6], LongConv::<T>::cost(self.sequences, len, len, false))
        {
            self.through_kernel_forward(u, y);
        } else {
            self.scan(u, initial, y, last);
        }
    }

    /// The convolution, whatever it costs.
    pub(super) fn through_kernel_forward<S: Stored<T>>(&self, u: &[S], y: &mut [S]) {
        let len = self.longest();
        let mut k = vec![T::ZERO; self.channels * len];
        self.kernel(len, &mut k);
        self.add_skip(len, &mut k);
        self.conv(len, &k).forward_stored(u, y);
    }

    /// The scan, whatever it costs.
    pub(super) fn scan<S: Stored<T>>(
        &self,
        u: &[S],
        initial: Option<ComplexRef<'_, T>>,
        y: &mut [S],
        last: Option<ComplexMut<'_, T>>,
    ) {
        let (h, n) = (self.channels, self.pairs);
        let cut = self.cut();
        let states: Vec<Range<usize>> = cut.channels.iter().map(|c| c.start * n..c.end * n).collect();
        with_scratch(self.vectors().len() * coefficients::len::<T>(n), |coefficients| {
            self.prepare(coefficients);
            let coefficients = &*coefficients;
            let mut y = Block::cut(y, h, &cut.rows, &cut.channels).into_iter();
            let (re, im) = last.map_or((None, None), |last| (Some(last.re), Some(last.im)));
            let mut re = Block::cut_some(re, h * n, &cut.sequences, &states).into_iter();
            let mut im = Block::cut_some(im, h * n, &cut.sequences, &states).into_iter();
            let mut tasks = Vec::new();
            for sequences in &cut.sequences {
                for channels in &cut.channels {
                    let last = re.next().flatten().zip(im.next().flatten()).map(|(re, im)| [re, im]);
                    let Some(y) = y.next() else { continue };
                    let (sequences, channels) = (sequences.clone(), channels.clone());
                    tasks.push(forward::Task { s4d: self, coefficients, u, initial, sequences, channels, y, last });
                }
            }
            for_each(tasks, forward::Task::run);
        });
    }

    /// From what [`forward`](Self::forward) was given and the gradients of y and (zeros without) of the last states: the gradients
    /// that are wanted. Panics when sizes do not fit.
    pub fn backward(
        &self,
        u: &[T],
        initial: Option<ComplexRef<'_, T>>,
        dy: &[T],
        dlast: Option<ComplexRef<'_, T>>,
        to: Gradients<'_, T>,
    ) {
        self.backward_stored(u, initial, dy, dlast, to);
    }

    /// [`backward`](Self::backward) with u, dy and the gradient of u as they are held in memory.
    fn backward_stored<S: Stored<T>>(
        &self,
        u: &[S],
        initial: Option<ComplexRef<'_, T>>,
        dy: &[S],
        dlast: Option<ComplexRef<'_, T>>,
        to: Gradients<'_, T, S>,
    ) {
        self.check(u, dy, [initial, dlast]);
        self.check_gradients(self.sequences.rows(), &to);
        let len = self.longest();
        let states = initial.is_some() || dlast.is_some() || to.initial.is_some();
        // Long sequences are run forward twice.
        let scan = if len > SEGMENT * TILE { 17.7 } else { 14.7 };
        if !states && self.convolves([scan, 14.6], LongConv::<T>::cost(self.sequences, len, len, true)) {
            self.through_kernel(u, dy, to);
        } else {
            self.scan_back(u, initial, dy, dlast, to);
        }
    }

    /// The gradients by way of that of the kernel.
    pub(super) fn through_kernel<S: Stored<T>>(&self, u: &[S], dy: &[S], mut to: Gradients<'_, T, S>) {
        let len = self.longest();
        let (mut k, mut dk) = (vec![T::ZERO; self.channels * len], vec![T::ZERO; self.channels * len]);
        self.kernel(len, &mut k);
        self.add_skip(len, &mut k);
        self.conv(len, &k).backward_stored(u, dy, long_conv::Gradients { u: to.u.take(), kernel: Some(&mut dk) });
        if let Some(dskip) = to.skip.take() {
            dskip.fill(T::ZERO);
            dskip.iter_mut().zip(dk.chunks_exact(len.max(1))).for_each(|(to, dk)| *to = dk[0]);
        }
        self.kernel_back(len, &dk, to);
    }

    /// The scan's gradients, whatever they cost.
    pub(super) fn scan_back<S: Stored<T>>(
        &self,
        u: &[S],
        initial: Option<ComplexRef<'_, T>>,
        dy: &[S],
        dlast: Option<ComplexRef<'_, T>>,
        mut to: Gradients<'_, T, S>,
    ) {
        let (h, n) = (self.channels, self.pairs);
        let cut = self.cut();
        let states: Vec<Range<usize>> = cut.channels.iter().map(|c| c.start * n..c.end * n).collect();
        let (len, vectors) = (coefficients::len::<T>(n), self.vectors());
        let sum_columns: Vec<Range<usize>> =
            cut.channels.iter().map(|c| c.start / T::LANES * len..c.end.div_ceil(T::LANES) * len).collect();
        let parts: Vec<Range<usize>> = (0..cut.sequences.len()).map(|i| i..i + 1).collect();
        let width = vectors.len() * len;
        with_scratch(width * (1 + parts.len().max(1)), |buffer| {
            let (coefficients, sums) = buffer.split_at_mut(width);
            self.prepare(coefficients);
            sums.fill(T::ZERO);
            {
                let coefficients = &*coefficients;
                let mut du = Block::cut_some(to.u.take(), h, &cut.rows, &cut.channels).into_iter();
                let (re, im) = to.initial.take().map_or((None, None), |d| (Some(d.re), Some(d.im)));
                let mut re = Block::cut_some(re, h * n, &cut.sequences, &states).into_iter();
                let mut im = Block::cut_some(im, h * n, &cut.sequences, &states).into_iter();
                let mut blocks = Block::cut(sums, width, &parts, &sum_columns).into_iter();
                let mut tasks = Vec::new();
                for (part, sequences) in cut.sequences.iter().enumerate() {
                    for channels in &cut.channels {
                        let dinitial = re.next().flatten().zip(im.next().flatten()).map(|(re, im)| [re, im]);
                        let Some(sums) = blocks.next() else { continue };
                        let (sequences, channels) = (sequences.clone(), channels.clone());
                        let du = du.next().flatten();
                        tasks.push(backward::Task {
                            s4d: self,
                            coefficients,
                            u,
                            initial,
                            dy,
                            dlast,
                            part,
                            sequences,
                            channels,
                            du,
                            dinitial,
                            sums,
                        });
                    }
                }
                for_each(tasks, backward::Task::run);
            }
            add_parts(sums, width);
            if let Some(dskip) = to.skip.take() {
                for (channels, sums) in vectors.iter().zip(sums.chunks_exact(len)) {
                    // D stands in K_0.
                    let first = n * coefficients::FIELDS * 2 * T::LANES;
                    dskip[channels.clone()].copy_from_slice(&sums[first..first + channels.len()]);
                }
            }
            let sums = &*sums;
            self.finish(&mut to, |index, channels, spread| {
                let from = &sums[index * len..(index + 1) * len];
                with_scratch(coefficients::Gathered::ARRAYS * n * T::LANES, |buffer: &mut [f64]| {
                    let x = coefficients::Gathered::new(self, channels, buffer);
                    dispatch(coefficients::Finish { s4d: self, x, from, to: coefficients::Spread::new(spread) });
                });
            });
        });
    }

    /// K (channels, `len`), without D. Panics when sizes do not fit.
    pub fn kernel(&self, len: usize, k: &mut [T]) {
        self.kernel_stored(len, k);
    }

    fn kernel_stored<S: Stored<T>>(&self, len: usize, k: &mut [S]) {
        self.check_parameters();
        assert_eq!(k.len(), self.channels * len, "{OP}: the kernel is {} x {len}", self.channels);
        if len == 0 {
            return;
        }
        let mut rest = k;
        let tasks: Vec<(Range<usize>, &mut [S])> = (self.vectors().into_iter())
            .map(|channels| {
                let to = rest.split_off_mut(..channels.len() * len).unwrap_or_default();
                (channels, to)
            })
            .collect();
        for_each(tasks, |(channels, to)| kernel::kernel(self, channels, len, to));
    }

    /// From the gradient of K: those of the parameters that are wanted; u, D and first states have none. Panics when sizes do not fit.
    pub fn kernel_backward(&self, len: usize, dk: &[T], to: Gradients<'_, T>) {
        self.kernel_back(len, dk, to);
    }

    fn kernel_back<S: Stored<T>, U>(&self, len: usize, dk: &[S], mut to: Gradients<'_, T, U>) {
        self.check_parameters();
        self.check_gradients(0, &Gradients { u: None, skip: None, initial: None, ..to.reborrow() });
        assert_eq!(dk.len(), self.channels * len, "{OP}: the kernel is {} x {len}", self.channels);
        self.finish(&mut to, |_, channels, spread| {
            let dk = &dk[channels.start * len..channels.end * len];
            kernel::backward(self, channels, len, dk, spread);
        });
    }

    fn add_skip(&self, len: usize, k: &mut [T]) {
        if let Some(skip) = self.skip.filter(|_| len > 0) {
            k.chunks_exact_mut(len).zip(skip).for_each(|(k, d)| k[0] += *d);
        }
    }

    /// Runs `work` for every vector of channels, and writes the gradients of the parameters that it leaves in the buffer.
    fn finish<S>(&self, to: &mut Gradients<'_, T, S>, work: impl Fn(usize, Range<usize>, &mut [f64]) + Sync + Send) {
        let (n, lanes) = (self.pairs, T::LANES);
        let width = coefficients::Spread::ARRAYS * n * lanes;
        let vectors = self.vectors();
        with_scratch(vectors.len() * width, |buffer: &mut [f64]| {
            let tasks: Vec<_> = vectors.iter().cloned().zip(buffer.chunks_exact_mut(width)).enumerate().collect();
            for_each(tasks, |(index, (channels, spread))| work(index, channels, spread));
            for (channels, spread) in vectors.iter().zip(buffer.chunks_exact_mut(width)) {
                let x = coefficients::Spread::new(spread);
                if let Some(log_dt) = &mut to.log_dt {
                    for (lane, channel) in channels.clone().enumerate() {
                        log_dt[channel] = T::from_f64((0..n).map(|k| x.log_dt[k * lanes + lane]).sum());
                    }
                }
                let of = |channels: &Range<usize>| channels.start * n..channels.end * n;
                for (from, to) in [(&x.log_decay, &mut to.log_decay), (&x.frequency, &mut to.frequency)] {
                    if let Some(to) = to {
                        turn(from, lanes, n, &mut to[of(channels)]);
                    }
                }
                for (from, to) in [(&x.b, &mut to.b), (&x.c, &mut to.c)] {
                    if let Some(to) = to {
                        turn(from[0], lanes, n, &mut to.re[of(channels)]);
                        turn(from[1], lanes, n, &mut to.im[of(channels)]);
                    }
                }
            }
        });
    }
}

/// (pairs, lanes) to (channels, pairs).
fn turn<T: Real>(from: &[f64], lanes: usize, pairs: usize, to: &mut [T]) {
    for (lane, to) in to.chunks_exact_mut(pairs).enumerate() {
        to.iter_mut().enumerate().for_each(|(k, to)| *to = T::from_f64(from[k * lanes + lane]));
    }
}

impl<T, S> Gradients<'_, T, S> {
    /// The same places for a shorter time.
    fn reborrow(&mut self) -> Gradients<'_, T, S> {
        fn again<'b, T>(z: &'b mut Option<ComplexMut<'_, T>>) -> Option<ComplexMut<'b, T>> {
            z.as_mut().map(ComplexMut::reborrow)
        }
        Gradients {
            u: self.u.as_deref_mut(),
            log_dt: self.log_dt.as_deref_mut(),
            log_decay: self.log_decay.as_deref_mut(),
            frequency: self.frequency.as_deref_mut(),
            b: again(&mut self.b),
            c: again(&mut self.c),
            skip: self.skip.as_deref_mut(),
            initial: again(&mut self.initial),
        }
    }
}

impl S4d<'_, f32> {
    /// [`forward`](Self::forward) with u and y as bits of bf16. States are f32. Panics when sizes do not fit.
    pub fn forward_bf16(
        &self,
        u: &[u16],
        initial: Option<ComplexRef<'_, f32>>,
        y: &mut [u16],
        last: Option<ComplexMut<'_, f32>>,
    ) {
        self.forward_stored(u, initial, y, last);
    }

    /// [`backward`](Self::backward) with u, dy and the gradient of u as bits of bf16. Panics when sizes do not fit.
    pub fn backward_bf16(
        &self,
        u: &[u16],
        initial: Option<ComplexRef<'_, f32>>,
        dy: &[u16],
        dlast: Option<ComplexRef<'_, f32>>,
        to: Gradients<'_, f32, u16>,
    ) {
        self.backward_stored(u, initial, dy, dlast, to);
    }

    /// [`kernel`](Self::kernel) with K as bits of bf16. Panics when sizes do not fit.
    pub fn kernel_bf16(&self, len: usize, k: &mut [u16]) {
        self.kernel_stored(len, k);
    }

    /// [`kernel_backward`](Self::kernel_backward) from the gradient of K as bits of bf16. Panics when sizes do not fit.
    pub fn kernel_backward_bf16(&self, len: usize, dk: &[u16], to: Gradients<'_, f32>) {
        self.kernel_back(len, dk, to);
    }
}
