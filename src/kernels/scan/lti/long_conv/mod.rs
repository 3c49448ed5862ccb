//! Causal convolution over time with a kernel of any length, one for every channel: y_t\[h\] = Σ_l K\[h,l\]·u_{t−l}\[h\].
//!
//! # How
//! Short kernels directly; long ones by Fourier transforms of a power of two that holds a sequence and the kernel side by side.
//! Channels lie in the lanes of a vector. Two sequences are the real and the imaginary part of one transform: as K is real, they do
//! not mix, and nothing has to be taken apart. The sizes choose the form.
//!
//! # Cost
//! Operations for each channel and sequence of length L with a kernel as long: L²/2 directly, about 4.5·M·log₂M with M = 2L by transforms
//! (a third more backward), in each lane. A transform of M points holds 128·M bytes for a vector of channels.
//! A single sequence takes as long as two.

mod direct;
pub mod reference;
mod spectral;

use super::fft;
use crate::kernels::bf16::Stored;
use crate::kernels::rows::for_each;
use crate::kernels::scan::Sequences;
use crate::kernels::scan::columns::Block;
use crate::kernels::simd::Real;
use crate::kernels::sums::add;
use std::ops::Range;

/// Tasks that work is cut into, about: enough for a few dozen threads.
const TASKS: usize = 32;

const OP: &str = "long convolution";

/// See the module's text.
#[derive(Clone, Copy, Debug)]
pub struct LongConv<'a, T> {
    pub sequences: Sequences<'a>,
    pub channels: usize,
    /// Length of the kernel. What lies beyond the longest sequence has no effect.
    pub taps: usize,
    /// K, (channels, taps), the tap of the row itself first.
    pub kernel: &'a [T],
}

/// Where gradients go, each as long as what it is the gradient of; written, not added to. `None`: not wanted.
/// That of u may be of another type `S`: bf16 as bits.
#[derive(Debug)]
pub struct Gradients<'a, T, S = T> {
    pub u: Option<&'a mut [S]>,
    pub kernel: Option<&'a mut [T]>,
}

impl<T, S> Default for Gradients<'_, T, S> {
    fn default() -> Self {
        Self { u: None, kernel: None }
    }
}

/// Multiply-adds for each channel, or the time of as many: directly and by transforms, for sequences of at most `longest` steps. `back`:
/// of the way back.
fn costs(sequences: Sequences<'_>, longest: usize, taps: usize, back: bool) -> [f64; 2] {
    let taps = taps.min(longest);
    let products = |r: Range<usize>| {
        let used = taps.min(r.len()) as f64;
        r.len() as f64 * used - 0.5 * used * used
    };
    let (sum, rows) = (sequences.iter().map(products).sum::<f64>(), sequences.rows() as f64);
    // Two sums for two gradients; transforms of the kernel (and of its gradient), and of every two sequences.
    let (sums, of_kernel, of_two) = if back { (2.0, 2.0, 3.0) } else { (1.0, 1.0, 2.0) };
    let transforms = of_kernel + of_two * sequences.count().div_ceil(2) as f64;
    [sums * (1.2 * sum + 8.0 * rows), transforms * fft::cost(size_for(longest, taps)) + 4.0 * rows]
}

/// Points of a transform in which what wraps around meets nothing.
fn size_for(longest: usize, taps: usize) -> usize {
    (longest + taps).saturating_sub(1).max(1).next_power_of_two()
}

fn longest(sequences: Sequences<'_>) -> usize {
    sequences.iter().map(|r| r.len()).max().unwrap_or(0)
}

/// How the work is cut: a vector of channels by some sequences. Depends on the sizes alone.
struct Cut {
    sequences: Vec<Range<usize>>,
    rows: Vec<Range<usize>>,
    channels: Vec<Range<usize>>,
}

impl<T: Real> LongConv<'_, T> {
    /// What the forward pass, or the way back, costs for each channel in multiply-adds.
    pub(super) fn cost(sequences: Sequences<'_>, longest: usize, taps: usize, back: bool) -> f64 {
        let [direct, spectral] = costs(sequences, longest, taps, back);
        direct.min(spectral)
    }

    fn is_direct(&self, back: bool) -> bool {
        let [direct, spectral] = costs(self.sequences, longest(self.sequences), self.taps, back);
        direct <= spectral
    }

    fn check<S>(&self, u: &[S], y: &[S]) {
        self.sequences.check(OP);
        let (rows, h) = (self.sequences.rows(), self.channels);
        assert!(h > 0, "{OP}: no channels");
        assert_eq!(self.kernel.len(), h * self.taps, "{OP}: the kernel is {h} x {}", self.taps);
        assert!(u.len() == rows * h && y.len() == rows * h, "{OP}: u and y are {rows} x {h}");
    }

    fn cut(&self) -> Cut {
        let (h, count) = (self.channels, self.sequences.count());
        let channels: Vec<Range<usize>> = (0..h).step_by(T::LANES).map(|at| at..h.min(at + T::LANES)).collect();
        // Even parts, so that sequences find their partners.
        let twos = count.div_ceil(2);
        let parts = (TASKS / channels.len()).clamp(1, twos.max(1));
        let sequences: Vec<Range<usize>> =
            (0..parts).map(|p| twos * p / parts * 2..count.min(twos * (p + 1) / parts * 2)).filter(|r| !r.is_empty()).collect();
        let rows = sequences.iter().map(|s| self.sequences.range(s.start).start..self.sequences.range(s.end - 1).end).collect();
        Cut { sequences, rows, channels }
    }

    /// Writes y, as long as u (rows, channels). Panics when sizes do not fit.
    pub fn forward(&self, u: &[T], y: &mut [T]) {
        self.forward_stored(u, y);
    }

    /// [`forward`](Self::forward) with u and y as they are held in memory.
    pub(in crate::kernels::scan) fn forward_stored<S: Stored<T>>(&self, u: &[S], y: &mut [S]) {
        self.check(u, y);
        if self.taps == 0 {
            y.fill(S::nearest(T::ZERO));
            return;
        }
        let cut = self.cut();
        let direct = self.is_direct(false);
        let plan = self.plan(direct);
        let mut y = Block::cut(y, self.channels, &cut.rows, &cut.channels).into_iter();
        let mut tasks = Vec::new();
        for sequences in &cut.sequences {
            for channels in &cut.channels {
                let Some(y) = y.next() else { continue };
                tasks.push((sequences.clone(), channels.clone(), y));
            }
        }
        for_each(tasks, |(sequences, channels, y)| match &plan {
            None => direct::Forward { conv: self, u, sequences, channels, y }.run(),
            Some(plan) => spectral::Forward { conv: self, plan, u, sequences, channels, y }.run(),
        });
    }

    fn plan(&self, direct: bool) -> Option<fft::Plan<T>> {
        let longest = longest(self.sequences);
        (!direct).then(|| fft::Plan::new(size_for(longest, self.taps.min(longest))))
    }

    /// From u and the gradient of y: the gradients that are wanted. Panics when sizes do not fit.
    pub fn backward(&self, u: &[T], dy: &[T], to: Gradients<'_, T>) {
        self.backward_stored(u, dy, to);
    }

    /// [`backward`](Self::backward) with u, dy and the gradient of u as they are held in memory.
    pub(in crate::kernels::scan) fn backward_stored<S: Stored<T>>(&self, u: &[S], dy: &[S], to: Gradients<'_, T, S>) {
        self.check(u, dy);
        assert!(to.u.as_ref().is_none_or(|v| v.len() == u.len()), "{OP}: the gradient of u is as long as u");
        assert!(
            to.kernel.as_ref().is_none_or(|v| v.len() == self.kernel.len()),
            "{OP}: the gradient of the kernel is as long as it"
        );
        let cut = self.cut();
        let Gradients { u: du, kernel: mut dk } = to;
        if let Some(dk) = &mut dk {
            dk.fill(T::ZERO);
        }
        if self.taps == 0 || cut.sequences.is_empty() {
            if let Some(du) = du {
                du.fill(S::nearest(T::ZERO));
            }
            return;
        }
        let direct = self.is_direct(true);
        let plan = self.plan(direct);
        let used = self.taps.min(longest(self.sequences));
        // The gradient of the kernel: (parts of the sequences, channels, taps that are used), added in order.
        let each = self.channels * used;
        let mut sums = vec![T::ZERO; if dk.is_some() { each * cut.sequences.len() } else { 0 }];
        {
            let mut du = Block::cut_some(du, self.channels, &cut.rows, &cut.channels).into_iter();
            let mut rest = &mut sums[..];
            let mut tasks = Vec::new();
            for sequences in &cut.sequences {
                for channels in &cut.channels {
                    let dk = dk.is_some().then(|| rest.split_off_mut(..channels.len() * used)).flatten();
                    tasks.push((sequences.clone(), channels.clone(), du.next().flatten(), dk));
                }
            }
            for_each(tasks, |(sequences, channels, du, dk)| match &plan {
                None => direct::Backward { conv: self, used, u, dy, sequences, channels, du, dk }.run(),
                Some(plan) => spectral::Backward { conv: self, plan, used, u, dy, sequences, channels, du, dk }.run(),
            });
        }
        if let Some(dk) = dk
            && used > 0
        {
            let (first, others) = sums.split_at_mut(each);
            others.chunks_exact(each).for_each(|part| add(first, part));
            for (to, from) in dk.chunks_exact_mut(self.taps).zip(first.chunks_exact(used)) {
                to[..used].copy_from_slice(from);
            }
        }
    }
}

impl LongConv<'_, f32> {
    /// [`forward`](Self::forward) with u and y as bits of bf16. Panics when sizes do not fit.
    pub fn forward_bf16(&self, u: &[u16], y: &mut [u16]) {
        self.forward_stored(u, y);
    }

    /// [`backward`](Self::backward) with u, dy and the gradient of u as bits of bf16. Panics when sizes do not fit.
    pub fn backward_bf16(&self, u: &[u16], dy: &[u16], to: Gradients<'_, f32, u16>) {
        self.backward_stored(u, dy, to);
    }
}
