//! By Fourier transforms.

use super::LongConv;
use super::fft::Plan;
use crate::kernels::bf16::Stored;
use crate::kernels::gemm::with_scratch;
use crate::kernels::pieces::split;
use crate::kernels::scan::columns::Block;
use crate::kernels::scan::lti::complex::Pair;
use crate::kernels::simd::{Kernel, Lanes, Real, dispatch};
use crate::kernels::transpose::transpose_inside;
use std::ops::Range;

pub(super) struct Forward<'a, T, S> {
    pub(super) conv: &'a LongConv<'a, T>,
    pub(super) plan: &'a Plan<T>,
    pub(super) u: &'a [S],
    pub(super) sequences: Range<usize>,
    pub(super) channels: Range<usize>,
    pub(super) y: Block<'a, S>,
}

/// The points that two sequences fill: as real and imaginary parts, zeros behind, at least half of all points.
#[inline(always)]
fn load<T: Real, S: Stored<T>, V: Lanes<T>>(
    conv: &LongConv<'_, T>,
    x: &[S],
    sequences: Range<usize>,
    channels: &Range<usize>,
    half: bool,
    to: &mut [T],
) {
    let filled = if half { to.len() / 2 } else { to.len() };
    let mut longest = 0;
    for (part, sequence) in sequences.clone().enumerate() {
        let rows = conv.sequences.range(sequence);
        if part == 0 {
            longest = rows.len();
        }
        for (row, to) in rows.clone().zip(to.chunks_exact_mut(2 * V::N)) {
            let from = &x[row * conv.channels..(row + 1) * conv.channels][channels.clone()];
            let to = &mut to[part * V::N..(part + 1) * V::N];
            S::get::<V>(from, 0, from.len()).store(to);
        }
        // Where this one is shorter than the other, and where there is no other.
        if part == 1 {
            for to in to[2 * rows.len() * V::N..filled].chunks_exact_mut(2 * V::N).take(longest.saturating_sub(rows.len())) {
                to[V::N..].fill(T::ZERO);
            }
            for to in to[2 * longest * V::N..filled].chunks_exact_mut(2 * V::N).take(rows.len().saturating_sub(longest)) {
                to[..V::N].fill(T::ZERO);
            }
            longest = longest.max(rows.len());
        }
    }
    if sequences.len() == 1 {
        for to in to.chunks_exact_mut(2 * V::N).take(longest) {
            to[V::N..].fill(T::ZERO);
        }
    }
    to[2 * longest * V::N..filled].fill(T::ZERO);
}

/// And back.
#[inline(always)]
fn store<T: Real, S: Stored<T>, V: Lanes<T>>(
    conv: &LongConv<'_, T>,
    from: &[T],
    sequences: Range<usize>,
    channels: &Range<usize>,
    to: &mut Block<'_, S>,
) {
    for (part, sequence) in sequences.enumerate() {
        for (row, from) in conv.sequences.range(sequence).zip(from.chunks_exact(2 * V::N)) {
            let to = to.line(row, channels.clone());
            S::put(V::load(&from[part * V::N..]), to, 0, channels.len());
        }
    }
}

/// The spectrum of the kernel, divided by the number of points.
#[inline(always)]
fn kernel<T: Real, V: Lanes<T>>(conv: &LongConv<'_, T>, plan: &Plan<T>, channels: &Range<usize>, to: &mut [T]) {
    let used = conv.taps.min(super::longest(conv.sequences));
    to.fill(T::ZERO);
    transpose_inside((&conv.kernel[channels.start * conv.taps..], conv.taps), (channels.len(), used), (to, 2 * V::N));
    let scale = V::splat(T::from_f64(1.0 / plan.size() as f64));
    for z in to.chunks_exact_mut(2 * V::N).take(used) {
        V::load(z).mul(scale).store(z);
    }
    plan.forward::<V>(to, 2 * used <= plan.size());
}

/// Whether the longest of the sequences fills no more than half of the points.
fn half<T: Real>(conv: &LongConv<'_, T>, plan: &Plan<T>) -> bool {
    2 * super::longest(conv.sequences) <= plan.size()
}

impl<T: Real, S: Stored<T>> Forward<'_, T, S> {
    /// Runs on the calling thread.
    pub(super) fn run(self) {
        with_scratch(2 * self.plan.len(), |buffer| dispatch(RunForward(self, buffer)));
    }
}

struct RunForward<'a, 'b, T, S>(Forward<'a, T, S>, &'b mut [T]);

impl<T: Real, S: Stored<T>> Kernel<T> for RunForward<'_, '_, T, S> {
    type Output = ();
    #[inline(always)]
    fn run<V: Lanes<T>>(self) {
        let Self(Forward { conv, plan, u, sequences, channels, mut y }, buffer) = self;
        let half = half(conv, plan);
        let (k, z) = buffer.split_at_mut(plan.len());
        kernel::<T, V>(conv, plan, &channels, k);
        let mut first = sequences.start;
        while first < sequences.end {
            let two = first..sequences.end.min(first + 2);
            load::<T, S, V>(conv, u, two.clone(), &channels, half, z);
            plan.forward::<V>(z, half);
            for (z, k) in z.chunks_exact_mut(2 * V::N).zip(k.chunks_exact(2 * V::N)) {
                Pair::<V>::load_pair(z).mul(Pair::load_pair(k)).store_pair(z);
            }
            plan.inverse::<V>(z, half);
            store::<T, S, V>(conv, z, two, &channels, &mut y);
            first += 2;
        }
    }
}

pub(super) struct Backward<'a, T, S> {
    pub(super) conv: &'a LongConv<'a, T>,
    pub(super) plan: &'a Plan<T>,
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
        with_scratch(4 * self.plan.len(), |buffer| dispatch(RunBackward(self, buffer)));
    }
}

struct RunBackward<'a, 'b, T, S>(Backward<'a, T, S>, &'b mut [T]);

impl<T: Real, S: Stored<T>> Kernel<T> for RunBackward<'_, '_, T, S> {
    type Output = ();
    #[inline(always)]
    fn run<V: Lanes<T>>(self) {
        let Self(Backward { conv, plan, used, u, dy, sequences, channels, mut du, dk }, buffer) = self;
        let half = half(conv, plan);
        let [k, x, g, sum] = split(buffer, [plan.len(); 4]);
        kernel::<T, V>(conv, plan, &channels, k);
        if dk.is_some() {
            sum.fill(T::ZERO);
        }
        let mut first = sequences.start;
        while first < sequences.end {
            let two = first..sequences.end.min(first + 2);
            load::<T, S, V>(conv, dy, two.clone(), &channels, half, g);
            plan.forward::<V>(g, half);
            if dk.is_some() {
                // With u + i·u' and g + i·g' for two sequences, the real part of the correlation is the sum of both.
                load::<T, S, V>(conv, u, two.clone(), &channels, half, x);
                plan.forward::<V>(x, half);
                for ((sum, x), g) in sum.chunks_exact_mut(2 * V::N).zip(x.chunks_exact(2 * V::N)).zip(g.chunks_exact(2 * V::N)) {
                    Pair::<V>::load_pair(x).conj_fma(Pair::load_pair(g), Pair::load_pair(sum)).store_pair(sum);
                }
            }
            if let Some(du) = &mut du {
                for (g, k) in g.chunks_exact_mut(2 * V::N).zip(k.chunks_exact(2 * V::N)) {
                    Pair::<V>::load_pair(k).conj_fma(Pair::load_pair(g), Pair::zero()).store_pair(g);
                }
                plan.inverse::<V>(g, half);
                store::<T, S, V>(conv, g, two, &channels, du);
            }
            first += 2;
        }
        if let Some(dk) = dk {
            plan.inverse::<V>(sum, 2 * used <= plan.size());
            let scale = V::splat(T::from_f64(1.0 / plan.size() as f64));
            for (z, to) in sum.chunks_exact(2 * V::N).zip(x.chunks_exact_mut(V::N)).take(used) {
                V::load(z).mul(scale).store(to);
            }
            transpose_inside((x, V::N), (used, channels.len()), (dk, used));
        }
    }
}
