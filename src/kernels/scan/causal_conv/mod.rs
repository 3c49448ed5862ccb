//! Causal depthwise convolution over time, with SiLU if wanted.
//!
//! y_t\[c\] = act(bias\[c\] + Σ_j w\[c, j\]·x_{t−k+1+j}\[c\]) for j = 0..k: the last tap weighs the row itself. Rows before a
//! sequence are those carried from an earlier part, or zeros.
//!
//! Cost: k multiply-adds per element (and an exponential with SiLU); one read of x and one write of y. Backward computes the
//! pre-activations again: one read of x and dy, one write of dx.
//!
//! Source: Gu & Dao, Mamba, 2023 (arXiv 2312.00752), the layer before the scan. Different: the carried rows have gradients,
//! sequences may be packed.

mod backward;
mod carried;
mod forward;
pub mod reference;
#[cfg(test)]
mod tests;

use super::Sequences;
use crate::kernels::bf16::Stored;
use crate::kernels::rows::{add_parts, for_each};
use crate::kernels::simd::{Real, dispatch};
use backward::{Backward, Part};
use carried::{Carried, CopyRow};
use forward::Forward;
use std::ops::Range;

/// Taps at most.
pub const MOST_TAPS: usize = 16;
/// Rows of a task.
const ROWS: usize = 256;
/// Rows that are walked down together, a vector of channels at a time.
const STRIP: usize = 4;
/// Taps at most for which a strip is walked with weights and rows held in registers.
const HELD: usize = 4;
/// Tasks that add up gradients of weights, at most.
const SUMS: usize = 64;

const OP: &str = "causal convolution";

/// See the module's text.
#[derive(Clone, Copy, Debug)]
pub struct CausalConv<'a, T> {
    pub sequences: Sequences<'a>,
    pub channels: usize,
    /// 1 to [`MOST_TAPS`].
    pub taps: usize,
    /// (channels, taps), the tap of the row itself last.
    pub weight: &'a [T],
    /// (channels).
    pub bias: Option<&'a [T]>,
    pub silu: bool,
}

/// Where gradients go, each as long as what it is the gradient of; written, not added to. `None`: not wanted.
/// What belongs to the rows may be of another type `S`: bf16 as bits.
#[derive(Debug)]
pub struct Gradients<'a, T, S = T> {
    pub x: Option<&'a mut [S]>,
    pub weight: Option<&'a mut [T]>,
    pub bias: Option<&'a mut [T]>,
    /// Of the rows carried in.
    pub before: Option<&'a mut [T]>,
}

impl<T, S> Default for Gradients<'_, T, S> {
    fn default() -> Self {
        Self { x: None, weight: None, bias: None, before: None }
    }
}

/// Rows `rows` of sequence `sequence`, whose rows are `whole`.
#[derive(Clone, Debug)]
struct Piece {
    sequence: usize,
    whole: Range<usize>,
    rows: Range<usize>,
}

impl<T: Real> CausalConv<'_, T> {
    /// Panics when sizes do not fit.
    pub(super) fn check<S>(&self, x: &[S], before: Option<&[T]>) {
        self.sequences.check(OP);
        let (rows, d, k) = (self.sequences.rows(), self.channels, self.taps);
        assert!((1..=MOST_TAPS).contains(&k) && d > 0, "{OP}: {k} taps over {d} channels, expected 1 to {MOST_TAPS} taps");
        assert_eq!(self.weight.len(), d * k, "{OP}: the weight is {d} x {k}");
        assert!(self.bias.is_none_or(|b| b.len() == d), "{OP}: the bias has one number per channel");
        assert_eq!(x.len(), rows * d, "{OP}: x is {rows} x {d}");
        assert!(before.is_none_or(|b| b.len() == self.carried_len()), "{OP}: {} rows are carried in", k - 1);
    }

    /// Panics when gradients do not fit; x has `len` numbers.
    pub(super) fn check_gradients<S>(&self, len: usize, dafter: Option<&[T]>, to: &Gradients<'_, T, S>) {
        let (d, k) = (self.channels, self.taps);
        assert!(dafter.is_none_or(|a| a.len() == self.carried_len()), "{OP}: {} rows are carried on", k - 1);
        assert!(to.x.as_ref().is_none_or(|v| v.len() == len), "{OP}: the gradient of x is as long as x");
        assert!(to.weight.as_ref().is_none_or(|v| v.len() == d * k), "{OP}: the gradient of the weight is {d} x {k}");
        assert!(to.bias.as_ref().is_none_or(|v| v.len() == d), "{OP}: the gradient of the bias has one number per channel");
        assert!(to.before.as_ref().is_none_or(|v| v.len() == self.carried_len()), "{OP}: {} rows are carried in", k - 1);
    }

    /// Numbers of the rows carried from one part to the next: (sequences, taps − 1, channels), oldest first.
    pub fn carried_len(&self) -> usize {
        self.sequences.count() * (self.taps - 1) * self.channels
    }

    fn pieces(&self) -> Vec<Piece> {
        let cut = |(sequence, whole): (usize, Range<usize>)| {
            let piece = move |start: usize, whole: &Range<usize>| start..whole.end.min(start + ROWS);
            let starts = whole.clone().step_by(ROWS);
            starts.map(move |start| Piece { sequence, rows: piece(start, &whole), whole: whole.clone() }).collect::<Vec<_>>()
        };
        self.sequences.iter().enumerate().flat_map(cut).collect()
    }

    /// (taps, channels), with room for a whole vector after each line.
    fn turned(&self) -> Vec<T> {
        let (d, k) = (self.channels, self.taps);
        let line = d + T::LANES;
        let mut turned = vec![T::ZERO; k * line];
        for c in 0..d {
            for j in 0..k {
                turned[j * line + c] = self.weight[c * k + j];
            }
        }
        turned
    }

    /// Writes y, as long as x (rows, channels), and if wanted the rows to carry on. Panics when sizes do not fit.
    pub fn forward(&self, x: &[T], before: Option<&[T]>, y: &mut [T], after: Option<&mut [T]>) {
        self.forward_stored(x, before, y, after);
    }

    /// [`forward`](Self::forward) with x and y as they are held in memory.
    pub(super) fn forward_stored<S: Stored<T>>(&self, x: &[S], before: Option<&[T]>, y: &mut [S], after: Option<&mut [T]>) {
        self.check(x, before);
        assert_eq!(y.len(), x.len(), "{OP}: the result is as long as x");
        let d = self.channels;
        let (turned, zeros) = (self.turned(), vec![T::ZERO; d]);
        let from = Carried { x, before, zeros: &zeros, channels: d, taps: self.taps };
        let mut rest = y;
        let tasks: Vec<Forward<'_, T, S>> = (self.pieces().into_iter())
            .map(|piece| {
                let y = rest.split_off_mut(..piece.rows.len() * d).unwrap_or_default();
                Forward { conv: self, turned: &turned, from, piece, y }
            })
            .collect();
        for_each(tasks, dispatch);
        if let Some(after) = after {
            self.carry(from, after);
        }
    }

    /// Writes the rows to carry on.
    fn carry<S: Stored<T>>(&self, from: Carried<'_, T, S>, after: &mut [T]) {
        assert_eq!(after.len(), self.carried_len(), "{OP}: {} rows are carried on", self.taps - 1);
        for (i, whole) in self.sequences.iter().enumerate() {
            let piece = Piece { sequence: i, rows: whole.clone(), whole: whole.clone() };
            for k in 0..self.taps - 1 {
                let row = from.row(&piece, whole.end, self.taps - 1 - k);
                let to = &mut after[(i * (self.taps - 1) + k) * self.channels..][..self.channels];
                dispatch(CopyRow { row, to });
            }
        }
    }

    /// From x, the rows carried in, the gradient of y and (zeros without) of the rows carried on: the gradients that are wanted.
    /// Panics when sizes do not fit.
    pub fn backward(&self, x: &[T], before: Option<&[T]>, dy: &[T], dafter: Option<&[T]>, to: Gradients<'_, T>) {
        self.backward_stored(x, before, dy, dafter, to);
    }

    /// [`backward`](Self::backward) with x, dy and the gradient of x as they are held in memory.
    pub(super) fn backward_stored<S: Stored<T>>(
        &self,
        x: &[S],
        before: Option<&[T]>,
        dy: &[S],
        dafter: Option<&[T]>,
        to: Gradients<'_, T, S>,
    ) {
        self.check(x, before);
        let (d, k) = (self.channels, self.taps);
        assert_eq!(dy.len(), x.len(), "{OP}: the gradient is as long as x");
        self.check_gradients(x.len(), dafter, &to);
        let (turned, zeros) = (self.turned(), vec![T::ZERO; d]);
        let from = Carried { x, before, zeros: &zeros, channels: d, taps: k };
        let pieces = self.pieces();
        let mut dbefore = to.before;
        let dx = to.x;
        let wanted = to.weight.is_some() || to.bias.is_some();
        // Pieces share a buffer of sums when there are many.
        let share = pieces.len().div_ceil(SUMS).max(1);
        let width = if wanted { (k + 1) * d } else { 0 };
        let mut sums = vec![T::ZERO; pieces.len().div_ceil(share).max(1) * width];
        if let Some(dbefore) = &mut dbefore {
            dbefore.fill(T::ZERO);
        }
        let mut tasks = Vec::new();
        let (mut rest_x, mut rest_before) = (dx, dbefore.as_deref_mut());
        let mut rest_sums = &mut sums[..];
        for group in pieces.chunks(share) {
            let parts = (group.iter())
                .map(|piece| {
                    let dx = rest_x.as_mut().and_then(|rest| rest.split_off_mut(..piece.rows.len() * d));
                    // The first piece of a sequence also gives the gradient of what was carried in.
                    let first = piece.rows.start == piece.whole.start;
                    let dbefore = rest_before.as_mut().filter(|_| first).and_then(|rest| {
                        // Sequences without rows have no piece.
                        let place = piece.sequence * (k - 1) * d;
                        let skip = place - (to_len(k, d, self.sequences.count()) - rest.len());
                        rest.split_off_mut(..skip)?;
                        rest.split_off_mut(..(k - 1) * d)
                    });
                    Part { piece: piece.clone(), dx, dbefore }
                })
                .collect();
            let sums = rest_sums.split_off_mut(..width).unwrap_or_default();
            tasks.push(Backward { conv: self, turned: &turned, from, dy, dafter, parts, sums });
        }
        for_each(tasks, dispatch);
        if let Some(dafter) = dafter {
            self.add_carried(dafter, dbefore);
        }
        add_parts(&mut sums, width);
        if let Some(weight) = to.weight {
            for c in 0..d {
                for j in 0..k {
                    weight[c * k + j] = sums[j * d + c];
                }
            }
        }
        if let Some(bias) = to.bias {
            bias.copy_from_slice(&sums[k * d..(k + 1) * d]);
        }
    }

    /// Of the rows carried on those are rows carried in that a short sequence leaves. (The others are rows of x.)
    fn add_carried(&self, dafter: &[T], dbefore: Option<&mut [T]>) {
        let (d, kept) = (self.channels, self.taps - 1);
        let Some(dbefore) = dbefore else { return };
        for (i, whole) in self.sequences.iter().enumerate() {
            for k in 0..kept.saturating_sub(whole.len()) {
                let g = &dafter[(i * kept + k) * d..][..d];
                let to = &mut dbefore[(i * kept + k + whole.len()) * d..][..d];
                to.iter_mut().zip(g).for_each(|(a, &g)| *a += g);
            }
        }
    }

    /// One row per sequence: y, with the rows carried in replaced by those to carry on. The convolution's own sequences are not
    /// used.
    pub fn step(&self, x: &[T], carried: &mut [T], y: &mut [T]) {
        self.step_stored(x, carried, y);
    }

    fn step_stored<S: Stored<T>>(&self, x: &[S], carried: &mut [T], y: &mut [S]) {
        let count = x.len().checked_div(self.channels).unwrap_or(0);
        let one = Self { sequences: Sequences::Equal { count, len: 1 }, ..*self };
        let before = carried.to_vec();
        one.forward_stored(x, Some(&before), y, Some(carried));
    }
}

/// Numbers carried by `count` sequences.
fn to_len(taps: usize, channels: usize, count: usize) -> usize {
    count * (taps - 1) * channels
}

impl CausalConv<'_, f32> {
    /// [`forward`](Self::forward) with x and y as bits of bf16. The rows carried are f32. Panics when sizes do not fit.
    pub fn forward_bf16(&self, x: &[u16], before: Option<&[f32]>, y: &mut [u16], after: Option<&mut [f32]>) {
        self.forward_stored(x, before, y, after);
    }

    /// [`step`](Self::step) with x and y as bits of bf16. Panics when sizes do not fit.
    pub fn step_bf16(&self, x: &[u16], carried: &mut [f32], y: &mut [u16]) {
        self.step_stored(x, carried, y);
    }

    /// [`backward`](Self::backward) with x, dy and the gradient of x as bits of bf16. Panics when sizes do not fit.
    pub fn backward_bf16(
        &self,
        x: &[u16],
        before: Option<&[f32]>,
        dy: &[u16],
        dafter: Option<&[f32]>,
        to: Gradients<'_, f32, u16>,
    ) {
        self.backward_stored(x, before, dy, dafter, to);
    }
}
