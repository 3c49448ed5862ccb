//! By the sums themselves: a window of rows in the first-level cache, eight sums at a time in registers.

use super::LongConv;
use crate::kernels::bf16::Stored;
use crate::kernels::gemm::with_scratch;
use crate::kernels::pieces::split;
use crate::kernels::scan::columns::Block;
use crate::kernels::simd::{Kernel, Lanes, Real, dispatch};
use crate::kernels::transpose::transpose_inside;
use std::ops::Range;

/// Rows of a window.
const WINDOW: usize = 64;
/// Sums at a time.
const SUMS: usize = 8;
/// Zeros around the kernel, and rows read around a window.
const EDGE: usize = SUMS - 1;

/// Rows `first..first + count` of a sequence as lines, those outside of it zeros. `first` counts from `EDGE + before` rows before row
/// `start` of the sequence.
#[inline(always)]
fn load<T: Real, S: Stored<T>, V: Lanes<T>>(
    x: &[S],
    stride: usize,
    rows: &Range<usize>,
    first: isize,
    channels: &Range<usize>,
    to: &mut [T],
) {
    for (i, to) in to.chunks_exact_mut(V::N).enumerate() {
        let row = first + i as isize;
        if row < rows.start as isize || row >= rows.end as isize {
            to.fill(T::ZERO);
            continue;
        }
        let from = &x[row as usize * stride..(row as usize + 1) * stride][channels.clone()];
        S::get::<V>(from, 0, from.len()).store(to);
    }
}

/// The kernel as lines, with [`EDGE`] zeros before and behind.
#[inline(always)]
fn kernel<T: Real, V: Lanes<T>>(conv: &LongConv<'_, T>, used: usize, channels: &Range<usize>, to: &mut [T]) {
    to.fill(T::ZERO);
    let inside = &mut to[EDGE * V::N..];
    transpose_inside((&conv.kernel[channels.start * conv.taps..], conv.taps), (channels.len(), used), (inside, V::N));
}

fn used<T: Real>(conv: &LongConv<'_, T>) -> usize {
    conv.taps.min(super::longest(conv.sequences))
}

/// SUMS neighbouring sums of `count` products: sum i is Σ_j line(j)·kernel(j·STEP + i), STEP = 1 forward in the kernel, −1 back.
#[inline(always)]
fn sums<T: Real, V: Lanes<T>, const BACK: bool>(lines: &[T], kernel: &[T], count: usize) -> [V; SUMS] {
    let mut sums = [V::splat(T::ZERO); SUMS];
    for j in 0..count {
        let x = V::load(&lines[j * V::N..]);
        if BACK {
            let from = &kernel[(count - 1 - j) * V::N..(count - 1 - j + SUMS) * V::N];
            for (i, sum) in sums.iter_mut().enumerate() {
                *sum = x.fma(V::load(&from[i * V::N..]), *sum);
            }
        } else {
            let from = &kernel[j * V::N..(j + SUMS) * V::N];
            for (i, sum) in sums.iter_mut().enumerate() {
                *sum = x.fma(V::load(&from[(SUMS - 1 - i) * V::N..]), *sum);
            }
        }
    }
    sums
}

pub(super) struct Forward<'a, T, S> {
    pub(super) conv: &'a LongConv<'a, T>,
    pub(super) u: &'a [S],
    pub(super) sequences: Range<usize>,
    pub(super) channels: Range<usize>,
    pub(super) y: Block<'a, S>,
}

impl<T: Real, S: Stored<T>> Forward<'_, T, S> {
    /// Runs on the calling thread.
    pub(super) fn run(self) {
        let used = used(self.conv);
        let len = (used + 2 * EDGE) + (WINDOW + EDGE + used);
        with_scratch(len * T::LANES, |buffer| dispatch(RunForward(self, buffer)));
    }
}

struct RunForward<'a, 'b, T, S>(Forward<'a, T, S>, &'b mut [T]);

impl<T: Real, S: Stored<T>> Kernel<T> for RunForward<'_, '_, T, S> {
    type Output = ();
    #[inline(always)]
    fn run<V: Lanes<T>>(self) {
        let Self(Forward { conv, u, sequences, channels, mut y }, buffer) = self;
        let used = used(conv);
        if used == 0 {
            return;
        }
        let (k, lines) = buffer.split_at_mut((used + 2 * EDGE) * V::N);
        kernel::<T, V>(conv, used, &channels, k);
        for sequence in sequences {
            let rows = conv.sequences.range(sequence);
            let mut first = rows.start;
            while first < rows.end {
                let steps = (rows.end - first).min(WINDOW);
                // Line j is row first − (used − 1) + j.
                let count = used - 1 + steps + EDGE;
                load::<T, S, V>(
                    u,
                    conv.channels,
                    &rows,
                    first as isize - (used as isize - 1),
                    &channels,
                    &mut lines[..count * V::N],
                );
                let mut t = 0;
                while t < steps {
                    // Row t + i sees line j + t with tap used − 1 + i − j.
                    let sums = sums::<T, V, true>(&lines[t * V::N..], k, used + EDGE);
                    for (i, sum) in sums.into_iter().enumerate().take(steps - t) {
                        S::put(sum, y.line(first + t + i, channels.clone()), 0, channels.len());
                    }
                    t += SUMS;
                }
                first += steps;
            }
        }
    }
}

pub(super) struct Backward<'a, T, S> {
    pub(super) conv: &'a LongConv<'a, T>,
    /// Taps that have an effect.
    pub(super) used: usize,
    pub(super) u: &'a [S],
    pub(super) dy: &'a [S],
    pub(super) sequences: Range<usize>,
    pub(super) channels: Range<usize>,
    pub(super) du: Option<Block<'a, S>>,
    /// (channels, used).
    pub(super) dk: Option<&'a mut [T]>,
}

impl<T: Real, S: Stored<T>> Backward<'_, T, S> {
    /// Runs on the calling thread.
    pub(super) fn run(self) {
        let used = self.used;
        let len = (used + 2 * EDGE) + 2 * (WINDOW + 2 * EDGE + used) + used + SUMS;
        with_scratch(len * T::LANES, |buffer| dispatch(RunBackward(self, buffer)));
    }
}

struct RunBackward<'a, 'b, T, S>(Backward<'a, T, S>, &'b mut [T]);

impl<T: Real, S: Stored<T>> Kernel<T> for RunBackward<'_, '_, T, S> {
    type Output = ();
    #[inline(always)]
    fn run<V: Lanes<T>>(self) {
        let Self(Backward { conv, used, u, dy, sequences, channels, mut du, dk }, buffer) = self;
        if used == 0 {
            return;
        }
        let window = (WINDOW + 2 * EDGE + used) * V::N;
        let [k, lines, g, dk_lines] = split(buffer, [(used + 2 * EDGE) * V::N, window, window, (used + SUMS) * V::N]);
        kernel::<T, V>(conv, used, &channels, k);
        dk_lines.fill(T::ZERO);
        for sequence in sequences {
            let rows = conv.sequences.range(sequence);
            let mut first = rows.start;
            while first < rows.end {
                let steps = (rows.end - first).min(WINDOW);
                // Line j of g is row first + j.
                let count = steps + EDGE + used - 1;
                load::<T, S, V>(dy, conv.channels, &rows, first as isize, &channels, &mut g[..count * V::N]);
                if let Some(du) = &mut du {
                    let mut t = 0;
                    while t < steps {
                        // Row t + i is seen by line t + j with tap j − i.
                        let sums = sums::<T, V, false>(&g[t * V::N..], k, used + EDGE);
                        for (i, sum) in sums.into_iter().enumerate().take(steps - t) {
                            S::put(sum, du.line(first + t + i, channels.clone()), 0, channels.len());
                        }
                        t += SUMS;
                    }
                }
                if dk.is_some() {
                    // Line j of u is row first − (used − 1) − EDGE + j; tap l + i joins g line t with u line used − 1 + EDGE − l − i + t.
                    let count = used - 1 + EDGE + steps;
                    let start = first as isize - (used - 1 + EDGE) as isize;
                    load::<T, S, V>(u, conv.channels, &rows, start, &channels, &mut lines[..count * V::N]);
                    let mut l = 0;
                    while l < used {
                        let sums = sums::<T, V, false>(&g[..steps * V::N], &lines[(used - 1 - l) * V::N..], steps);
                        for (i, sum) in sums.into_iter().enumerate() {
                            let place = &mut dk_lines[(l + i) * V::N..];
                            sum.add(V::load(place)).store(place);
                        }
                        l += SUMS;
                    }
                }
                first += steps;
            }
        }
        if let Some(dk) = dk {
            transpose_inside((dk_lines, V::N), (used, channels.len()), (dk, used));
        }
    }
}
