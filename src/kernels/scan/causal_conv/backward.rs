//! The gradients of some pieces.

use super::carried::{Carried, before_activation, shift, weigh, weights, window};
use super::{CausalConv, Piece, ROWS, STRIP};
use crate::kernels::bf16::Stored;
use crate::kernels::rows::{each_vector, get, put};
use crate::kernels::simd::{Kernel, Lanes, Real, math};
use std::ops::Range;

/// What a piece writes.
pub(super) struct Part<'a, T, S> {
    pub(super) piece: Piece,
    pub(super) dx: Option<&'a mut [S]>,
    pub(super) dbefore: Option<&'a mut [T]>,
}

pub(super) struct Backward<'a, T, S> {
    pub(super) conv: &'a CausalConv<'a, T>,
    pub(super) turned: &'a [T],
    pub(super) from: Carried<'a, T, S>,
    pub(super) dy: &'a [S],
    /// Of the rows carried on.
    pub(super) dafter: Option<&'a [T]>,
    pub(super) parts: Vec<Part<'a, T, S>>,
    /// (taps, channels), then the bias; empty when not wanted.
    pub(super) sums: &'a mut [T],
}

impl<T: Real, S: Stored<T>> Backward<'_, T, S> {
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
            let rows = self.from.seen(piece, row);
            each_vector!(V, d, |at, count| {
                let mut slope: V = S::get(dy, at, count);
                if self.conv.silu {
                    let sum: V = before_activation(self.conv.bias, self.turned, &rows[..k], d, at, count);
                    slope = math::silu_and_derivative::<T, V>(sum).1.mul(slope);
                }
                put(slope, g, at, count);
            });
        }
    }

    /// And the sums over the rows, for K taps with the rows they see held in registers.
    #[inline(always)]
    fn inner_and_sums<V: Lanes<T>, const K: usize>(&mut self, piece: &Piece, g: &mut [T]) {
        let (d, rows) = (self.conv.channels, piece.rows.clone());
        let known = (rows.end + K - 1).min(piece.whole.end) - rows.start;
        g[known * d..].fill(T::ZERO);
        let (sums, total) = self.sums.split_at_mut(if self.sums.is_empty() { 0 } else { K * d });
        // Rows behind the piece belong to the sums of the next: strips end at its end.
        let own = (0..rows.len()).step_by(STRIP).map(|first| (first, rows.len().min(first + STRIP)));
        let behind = (rows.len()..known).step_by(STRIP).map(|first| (first, known.min(first + STRIP)));
        for (first, end) in own.chain(behind) {
            let summed = end <= rows.len() && !total.is_empty();
            let above = self.from.above::<K>(piece, rows.start + first);
            let place = (rows.start + first) * d..(rows.start + end) * d;
            let (x, dy, g) = (&self.from.x[place.clone()], &self.dy[place], &mut g[first * d..end * d]);
            each_vector!(V, d, |at, count| {
                let bias: V = self.conv.bias.map_or(V::splat(T::ZERO), |b| get(b, at, count));
                let weights: [V; K] = weights(self.turned, d, at);
                let mut seen: [V; K] = window(&above, at, count);
                let (mut of_weights, mut of_bias) = ([V::splat(T::ZERO); K], V::splat(T::ZERO));
                if summed {
                    for j in 0..K {
                        of_weights[j] = get(&sums[j * d..(j + 1) * d], at, count);
                    }
                    of_bias = get(total, at, count);
                }
                for ((x, dy), g) in x.chunks_exact(d).zip(dy.chunks_exact(d)).zip(g.chunks_exact_mut(d)) {
                    seen[K - 1] = S::get(x, at, count);
                    let mut slope: V = S::get(dy, at, count);
                    if self.conv.silu {
                        slope = math::silu_and_derivative::<T, V>(weigh(&weights, &seen, bias)).1.mul(slope);
                    }
                    put(slope, g, at, count);
                    for j in 0..K {
                        of_weights[j] = slope.fma(seen[j], of_weights[j]);
                    }
                    of_bias = slope.add(of_bias);
                    shift(&mut seen);
                }
                if summed {
                    for j in 0..K {
                        put(of_weights[j], &mut sums[j * d..(j + 1) * d], at, count);
                    }
                    put(of_bias, total, at, count);
                }
            });
        }
    }

    /// The gradient of a row carried on that is row `row` of x.
    #[inline(always)]
    fn carried_on(&self, piece: &Piece, row: usize) -> Option<&[T]> {
        let (d, kept) = (self.conv.channels, self.conv.taps - 1);
        let k = (row + kept).checked_sub(piece.whole.end)?;
        self.dafter.map(|g| &g[(piece.sequence * kept + k) * d..][..d])
    }

    /// dx of a piece, for K taps.
    #[inline(always)]
    fn to_strips<V: Lanes<T>, const K: usize>(&self, g: &[T], piece: &Piece, dx: &mut [S]) {
        let d = self.conv.channels;
        for (strip, to) in dx.chunks_mut(STRIP * d).enumerate() {
            let (above, g) = g[strip * STRIP * d..].split_at((K - 1) * d);
            let mut more: [Option<&[T]>; STRIP] = [None; STRIP];
            for t in 0..to.len() / d {
                more[t] = self.carried_on(piece, piece.rows.start + strip * STRIP + t);
            }
            each_vector!(V, d, |at, count| {
                let mut weights: [V; K] = weights(self.turned, d, at);
                // The first tap sees the row farthest ahead.
                weights.reverse();
                let mut seen = [V::splat(T::ZERO); K];
                for j in 0..K - 1 {
                    seen[j] = get(&above[j * d..(j + 1) * d], at, count);
                }
                for ((g, to), more) in g.chunks_exact(d).zip(to.chunks_exact_mut(d)).zip(&more) {
                    seen[K - 1] = get(g, at, count);
                    let mut sum = V::splat(T::ZERO);
                    for j in (0..K).rev() {
                        sum = weights[j].fma(seen[j], sum);
                    }
                    if let Some(more) = more {
                        sum = sum.add(get(more, at, count));
                    }
                    S::put(sum, to, at, count);
                    shift(&mut seen);
                }
            });
        }
    }

    /// The gradient of the row `ahead` rows before the first of `g`: Σ_j w_j · g of the row that tap j lets see it, and `more`.
    #[inline(always)]
    fn to_row<V: Lanes<T>, R: Stored<T>>(&self, g: &[T], first: usize, taps: Range<usize>, more: Option<&[T]>, to: &mut [R]) {
        let (d, k) = (self.conv.channels, self.conv.taps);
        each_vector!(V, d, |at, count| {
            let mut sum = V::splat(T::ZERO);
            for j in taps.clone() {
                // Tap j of row r sees row r − (k − 1 − j).
                let row = first + (k - 1 - j) - (k - 1 - (taps.end - 1));
                sum = V::load(&self.turned[j * (d + V::N) + at..]).fma(get(&g[row * d..(row + 1) * d], at, count), sum);
            }
            if let Some(more) = more {
                sum = sum.add(get(more, at, count));
            }
            R::put(sum, to, at, count);
        });
    }

    /// The gradients of x and of what belongs to all rows, for K taps.
    #[inline(always)]
    fn held<V: Lanes<T>, const K: usize>(&mut self, part: &mut Part<'_, T, S>, g: &mut [T]) {
        self.inner_and_sums::<V, K>(&part.piece, g);
        if let Some(dx) = &mut part.dx {
            self.to_strips::<V, K>(g, &part.piece, dx);
        }
    }

    /// The same for any number of taps.
    #[inline(always)]
    fn any<V: Lanes<T>>(&mut self, part: &mut Part<'_, T, S>, g: &mut [T]) {
        let (d, k) = (self.conv.channels, self.conv.taps);
        let piece = &part.piece;
        self.inner::<V>(piece, g);
        if let Some(dx) = &mut part.dx {
            for (t, to) in dx.chunks_exact_mut(d).enumerate() {
                self.to_row::<V, S>(g, t, 0..k, self.carried_on(piece, piece.rows.start + t), to);
            }
        }
        if self.sums.is_empty() {
            return;
        }
        let (weights, bias) = self.sums.split_at_mut(k * d);
        for (row, g) in piece.rows.clone().zip(g.chunks_exact(d)) {
            for (j, sums) in weights.chunks_exact_mut(d).enumerate() {
                let x = self.from.row(piece, row, k - 1 - j);
                each_vector!(V, d, |at, count| {
                    let sum: V = get::<T, V>(g, at, count).fma(x.get(at, count), get(sums, at, count));
                    put(sum, sums, at, count);
                });
            }
            each_vector!(V, d, |at, count| {
                put(get::<T, V>(g, at, count).add(get(bias, at, count)), bias, at, count);
            });
        }
    }
}

impl<T: Real, S: Stored<T>> Kernel<T> for Backward<'_, T, S> {
    type Output = ();
    #[inline(always)]
    fn run<V: Lanes<T>>(mut self) {
        let (d, k) = (self.conv.channels, self.conv.taps);
        let mut buffer = vec![T::ZERO; (ROWS + k - 1) * d];
        for mut part in std::mem::take(&mut self.parts) {
            let rows = part.piece.rows.len();
            let g = &mut buffer[..(rows + k - 1) * d];
            match k {
                2 => self.held::<V, 2>(&mut part, g),
                3 => self.held::<V, 3>(&mut part, g),
                4 => self.held::<V, 4>(&mut part, g),
                _ => self.any::<V>(&mut part, g),
            }
            if let Some(dbefore) = &mut part.dbefore {
                // Row i of those carried in is k − 1 − i rows before the sequence: taps 0..=i see it, tap i from the first row.
                for (i, to) in dbefore.chunks_exact_mut(d).enumerate() {
                    self.to_row::<V, T>(g, 0, 0..i + 1, None, to);
                }
            }
        }
    }
}
