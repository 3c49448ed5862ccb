//! Causal depthwise convolution over time, with SiLU if wanted.
//!
//! y_t\[c\] = act(bias\[c\] + Σ_j w\[c, j\]·x_{t−k+1+j}\[c\]) for j = 0..k: the last tap weighs the row itself. Rows before a sequence are those
//! carried from an earlier part, or zeros.
//!
//! Cost: k multiply-adds per element (and an exponential with SiLU); one read of x and one write of y. Backward computes the
//! pre-activations again: one read of x and dy, one write of dx.
//!
//! Source: Gu & Dao, Mamba, 2023 (arXiv 2312.00752), the layer before the scan. Different: the carried rows have gradients, sequences may
//! be packed.

pub mod reference;
#[cfg(test)]
mod tests;

use super::Sequences;
use crate::kernels::rows::{add_parts, each_vector, for_each, get, put};
use crate::kernels::simd::{Kernel, Lanes, Real, dispatch, math};
use std::ops::Range;

/// Taps at most.
pub const MOST_TAPS: usize = 16;
/// Rows of a task.
const ROWS: usize = 256;
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
#[derive(Debug)]
pub struct Gradients<'a, T> {
    pub x: Option<&'a mut [T]>,
    pub weight: Option<&'a mut [T]>,
    pub bias: Option<&'a mut [T]>,
    /// Of the rows carried in.
    pub before: Option<&'a mut [T]>,
}

impl<T> Default for Gradients<'_, T> {
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

/// A matrix with the rows carried in before it.
#[derive(Clone, Copy)]
struct Carried<'a, T> {
    x: &'a [T],
    before: Option<&'a [T]>,
    zeros: &'a [T],
    channels: usize,
    taps: usize,
}

impl<'a, T: Real> Carried<'a, T> {
    /// The row `back` rows before `row` of a sequence.
    #[inline(always)]
    fn row(&self, piece: &Piece, row: usize, back: usize) -> &'a [T] {
        let d = self.channels;
        match row.checked_sub(back).filter(|r| *r >= piece.whole.start) {
            Some(r) => &self.x[r * d..(r + 1) * d],
            None => match self.before {
                // The rows carried in are the taps − 1 before the sequence, oldest first.
                Some(before) => {
                    let k = self.taps - 1 - (back - (row - piece.whole.start));
                    &before[(piece.sequence * (self.taps - 1) + k) * d..][..d]
                }
                None => self.zeros,
            },
        }
    }
}

impl<T: Real> CausalConv<'_, T> {
    /// Panics when sizes do not fit.
    fn check(&self, x: &[T], before: Option<&[T]>) {
        self.sequences.check(OP);
        let (rows, d, k) = (self.sequences.rows(), self.channels, self.taps);
        assert!((1..=MOST_TAPS).contains(&k) && d > 0, "{OP}: {k} taps over {d} channels, expected 1 to {MOST_TAPS} taps");
        assert_eq!(self.weight.len(), d * k, "{OP}: the weight is {d} x {k}");
        assert!(self.bias.is_none_or(|b| b.len() == d), "{OP}: the bias has one number per channel");
        assert_eq!(x.len(), rows * d, "{OP}: x is {rows} x {d}");
        assert!(before.is_none_or(|b| b.len() == self.carried_len()), "{OP}: {} rows are carried in", k - 1);
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
        self.check(x, before);
        assert_eq!(y.len(), x.len(), "{OP}: the result is as long as x");
        let d = self.channels;
        let (turned, zeros) = (self.turned(), vec![T::ZERO; d]);
        let from = Carried { x, before, zeros: &zeros, channels: d, taps: self.taps };
        let mut rest = y;
        let tasks: Vec<Forward<'_, T>> = (self.pieces().into_iter())
            .map(|piece| {
                let y = rest.split_off_mut(..piece.rows.len() * d).unwrap_or_default();
                Forward { conv: self, turned: &turned, from, piece, y }
            })
            .collect();
        for_each(tasks, dispatch);
        if let Some(after) = after {
            assert_eq!(after.len(), self.carried_len(), "{OP}: {} rows are carried on", self.taps - 1);
            for (i, whole) in self.sequences.iter().enumerate() {
                let piece = Piece { sequence: i, rows: whole.clone(), whole: whole.clone() };
                for k in 0..self.taps - 1 {
                    let row = from.row(&piece, whole.end, self.taps - 1 - k);
                    after[(i * (self.taps - 1) + k) * d..][..d].copy_from_slice(row);
                }
            }
        }
    }

    /// From x, the rows carried in, the gradient of y and (zeros without) of the rows carried on: the gradients that are wanted.
    /// Panics when sizes do not fit.
    pub fn backward(&self, x: &[T], before: Option<&[T]>, dy: &[T], dafter: Option<&[T]>, to: Gradients<'_, T>) {
        self.check(x, before);
        let (d, k) = (self.channels, self.taps);
        assert_eq!(dy.len(), x.len(), "{OP}: the gradient is as long as x");
        assert!(dafter.is_none_or(|a| a.len() == self.carried_len()), "{OP}: {} rows are carried on", k - 1);
        assert!(to.x.as_ref().is_none_or(|v| v.len() == x.len()), "{OP}: the gradient of x is as long as x");
        assert!(to.weight.as_ref().is_none_or(|v| v.len() == d * k), "{OP}: the gradient of the weight is {d} x {k}");
        assert!(to.bias.as_ref().is_none_or(|v| v.len() == d), "{OP}: the gradient of the bias has one number per channel");
        assert!(to.before.as_ref().is_none_or(|v| v.len() == self.carried_len()), "{OP}: {} rows are carried in", k - 1);
        let (turned, zeros) = (self.turned(), vec![T::ZERO; d]);
        let from = Carried { x, before, zeros: &zeros, channels: d, taps: k };
        let pieces = self.pieces();
        let mut dbefore = to.before;
        let mut dx = to.x;
        let wanted = to.weight.is_some() || to.bias.is_some();
        // Pieces share a buffer of sums when there are many.
        let share = pieces.len().div_ceil(SUMS).max(1);
        let width = if wanted { (k + 1) * d } else { 0 };
        let mut sums = vec![T::ZERO; pieces.len().div_ceil(share).max(1) * width];
        if let Some(dbefore) = &mut dbefore {
            dbefore.fill(T::ZERO);
        }
        let mut tasks = Vec::new();
        let (mut rest_x, mut rest_before) = (dx.as_deref_mut(), dbefore.as_deref_mut());
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
            tasks.push(Backward { conv: self, turned: &turned, from, dy, parts, sums });
        }
        for_each(tasks, dispatch);
        if let Some(dafter) = dafter {
            self.add_carried(dafter, dx, dbefore);
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

    /// The rows carried on are rows of x, or of what was carried in where a sequence is short.
    fn add_carried(&self, dafter: &[T], mut dx: Option<&mut [T]>, mut dbefore: Option<&mut [T]>) {
        let (d, kept) = (self.channels, self.taps - 1);
        for (i, whole) in self.sequences.iter().enumerate() {
            for k in 0..kept {
                let g = &dafter[(i * kept + k) * d..][..d];
                let place = match (whole.len() + k).checked_sub(kept) {
                    Some(row) => dx.as_deref_mut().map(|dx| &mut dx[(whole.start + row) * d..][..d]),
                    None => dbefore.as_deref_mut().map(|b| &mut b[(i * kept + k + whole.len()) * d..][..d]),
                };
                if let Some(place) = place {
                    place.iter_mut().zip(g).for_each(|(a, &g)| *a += g);
                }
            }
        }
    }

    /// One row per sequence: y, with the rows carried in replaced by those to carry on. The convolution's own sequences are not used.
    pub fn step(&self, x: &[T], carried: &mut [T], y: &mut [T]) {
        let count = x.len().checked_div(self.channels).unwrap_or(0);
        let one = Self { sequences: Sequences::Equal { count, len: 1 }, ..*self };
        let before = carried.to_vec();
        one.forward(x, Some(&before), y, Some(carried));
    }
}

/// Numbers carried by `count` sequences.
fn to_len(taps: usize, channels: usize, count: usize) -> usize {
    count * (taps - 1) * channels
}

/// The pre-activation of some channels of a row.
#[inline(always)]
fn before_activation<T: Real, V: Lanes<T>>(
    bias: Option<&[T]>,
    turned: &[T],
    rows: &[&[T]],
    width: usize,
    at: usize,
    count: usize,
) -> V {
    let mut sum = bias.map_or(V::splat(T::ZERO), |b| get(b, at, count));
    for (j, row) in rows.iter().enumerate() {
        sum = V::load(&turned[j * (width + V::N) + at..]).fma(get(row, at, count), sum);
    }
    sum
}

struct Forward<'a, T> {
    conv: &'a CausalConv<'a, T>,
    turned: &'a [T],
    from: Carried<'a, T>,
    piece: Piece,
    y: &'a mut [T],
}

impl<T: Real> Kernel<T> for Forward<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<V: Lanes<T>>(self) {
        let (d, k) = (self.conv.channels, self.conv.taps);
        for (row, y) in self.piece.rows.clone().zip(self.y.chunks_exact_mut(d)) {
            let mut rows = [self.from.zeros; MOST_TAPS];
            for (j, r) in rows.iter_mut().take(k).enumerate() {
                *r = self.from.row(&self.piece, row, k - 1 - j);
            }
            each_vector!(V, d, |at, count| {
                let sum: V = before_activation(self.conv.bias, self.turned, &rows[..k], d, at, count);
                put(if self.conv.silu { math::silu::<T, V>(sum) } else { sum }, y, at, count);
            });
        }
    }
}

/// What a piece writes.
struct Part<'a, T> {
    piece: Piece,
    dx: Option<&'a mut [T]>,
    dbefore: Option<&'a mut [T]>,
}

struct Backward<'a, T> {
    conv: &'a CausalConv<'a, T>,
    turned: &'a [T],
    from: Carried<'a, T>,
    dy: &'a [T],
    parts: Vec<Part<'a, T>>,
    /// (taps, channels), then the bias; empty when not wanted.
    sums: &'a mut [T],
}

impl<T: Real> Backward<'_, T> {
    /// The gradients of the pre-activations of a piece and of the taps − 1 rows after it (zeros past the sequence).
    #[inline(always)]
    fn inner<V: Lanes<T>>(&self, piece: &Piece, g: &mut [T]) {
        let (d, k) = (self.conv.channels, self.conv.taps);
        for (row, g) in (piece.rows.start..).zip(g.chunks_exact_mut(d)) {
            if row >= piece.whole.end {
                g.fill(T::ZERO);
                continue;
            }
            let dy = &self.dy[row * d..(row + 1) * d];
            if !self.conv.silu {
                g.copy_from_slice(dy);
                continue;
            }
            let mut rows = [self.from.zeros; MOST_TAPS];
            for (j, r) in rows.iter_mut().take(k).enumerate() {
                *r = self.from.row(piece, row, k - 1 - j);
            }
            each_vector!(V, d, |at, count| {
                let sum: V = before_activation(self.conv.bias, self.turned, &rows[..k], d, at, count);
                let (_, slope) = math::silu_and_derivative::<T, V>(sum);
                put(slope.mul(get(dy, at, count)), g, at, count);
            });
        }
    }

    /// The gradient of the row `ahead` rows before the first of `g`: Σ_j w_j · g of the row that tap j lets see it.
    #[inline(always)]
    fn to_row<V: Lanes<T>>(&self, g: &[T], first: usize, taps: Range<usize>, to: &mut [T]) {
        let (d, k) = (self.conv.channels, self.conv.taps);
        each_vector!(V, d, |at, count| {
            let mut sum = V::splat(T::ZERO);
            for j in taps.clone() {
                // Tap j of row r sees row r − (k − 1 − j).
                let row = first + (k - 1 - j) - (k - 1 - (taps.end - 1));
                sum = V::load(&self.turned[j * (d + V::N) + at..]).fma(get(&g[row * d..(row + 1) * d], at, count), sum);
            }
            put(sum, to, at, count);
        });
    }
}

impl<T: Real> Kernel<T> for Backward<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<V: Lanes<T>>(mut self) {
        let (d, k) = (self.conv.channels, self.conv.taps);
        let mut buffer = vec![T::ZERO; (ROWS + k - 1) * d];
        for mut part in std::mem::take(&mut self.parts) {
            let piece = part.piece.clone();
            let rows = piece.rows.len();
            let g = &mut buffer[..(rows + k - 1) * d];
            self.inner::<V>(&piece, g);
            if let Some(dx) = &mut part.dx {
                for (t, to) in dx.chunks_exact_mut(d).enumerate() {
                    self.to_row::<V>(g, t, 0..k, to);
                }
            }
            if let Some(dbefore) = &mut part.dbefore {
                // Row i of those carried in is k − 1 − i rows before the sequence: taps 0..=i see it, tap i from the first row.
                for (i, to) in dbefore.chunks_exact_mut(d).enumerate() {
                    self.to_row::<V>(g, 0, 0..i + 1, to);
                }
            }
            if self.sums.is_empty() {
                continue;
            }
            let (weights, bias) = self.sums.split_at_mut(k * d);
            for (row, g) in piece.rows.clone().zip(g.chunks_exact(d)) {
                for (j, sums) in weights.chunks_exact_mut(d).enumerate() {
                    let x = self.from.row(&piece, row, k - 1 - j);
                    each_vector!(V, d, |at, count| {
                        let sum: V = get::<T, V>(g, at, count).fma(get(x, at, count), get(sums, at, count));
                        put(sum, sums, at, count);
                    });
                }
                each_vector!(V, d, |at, count| {
                    put(get::<T, V>(g, at, count).add(get(bias, at, count)), bias, at, count);
                });
            }
        }
    }
}
