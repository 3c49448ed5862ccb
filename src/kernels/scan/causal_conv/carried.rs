//! Rows of a sequence with those carried in before them, and what the passes do with rows alike.

use super::{HELD, MOST_TAPS, Piece};
use crate::kernels::bf16::Stored;
use crate::kernels::rows::{each_vector, get, put};
use crate::kernels::simd::{Kernel, Lanes, Real};

/// A matrix with the rows carried in before it.
#[derive(Clone, Copy)]
pub(super) struct Carried<'a, T, S> {
    pub(super) x: &'a [S],
    pub(super) before: Option<&'a [T]>,
    pub(super) zeros: &'a [T],
    pub(super) channels: usize,
    pub(super) taps: usize,
}

/// A row of such a matrix.
#[derive(Clone, Copy)]
pub(super) enum Row<'a, T, S> {
    Given(&'a [S]),
    Before(&'a [T]),
}

impl<T: Real, S: Stored<T>> Row<'_, T, S> {
    #[inline(always)]
    pub(super) fn get<V: Lanes<T>>(&self, at: usize, count: usize) -> V {
        match self {
            Self::Given(row) => S::get(row, at, count),
            Self::Before(row) => get(row, at, count),
        }
    }
}

impl<'a, T: Real, S: Stored<T>> Carried<'a, T, S> {
    /// The row `back` rows before `row` of a sequence.
    #[inline(always)]
    pub(super) fn row(&self, piece: &Piece, row: usize, back: usize) -> Row<'a, T, S> {
        let d = self.channels;
        match row.checked_sub(back).filter(|r| *r >= piece.whole.start) {
            Some(r) => Row::Given(&self.x[r * d..(r + 1) * d]),
            None => match self.before {
                // The rows carried in are the taps − 1 before the sequence, oldest first.
                Some(before) => {
                    let k = self.taps - 1 - (back - (row - piece.whole.start));
                    Row::Before(&before[(piece.sequence * (self.taps - 1) + k) * d..][..d])
                }
                None => Row::Before(self.zeros),
            },
        }
    }

    /// What the taps of a row see.
    #[inline(always)]
    pub(super) fn seen(&self, piece: &Piece, row: usize) -> [Row<'a, T, S>; MOST_TAPS] {
        let mut rows = [Row::Before(self.zeros); MOST_TAPS];
        for (j, r) in rows.iter_mut().take(self.taps).enumerate() {
            *r = self.row(piece, row, self.taps - 1 - j);
        }
        rows
    }

    /// The K − 1 rows before a row.
    #[inline(always)]
    pub(super) fn above<const K: usize>(&self, piece: &Piece, row: usize) -> [Row<'a, T, S>; HELD - 1] {
        let mut rows = [Row::Before(self.zeros); HELD - 1];
        for i in 0..K - 1 {
            rows[i] = self.row(piece, row, K - 1 - i);
        }
        rows
    }
}

/// The weights of some channels, tap by tap.
#[inline(always)]
pub(super) fn weights<T: Real, V: Lanes<T>, const K: usize>(turned: &[T], width: usize, at: usize) -> [V; K] {
    let mut to = [V::splat(T::ZERO); K];
    for j in 0..K {
        to[j] = V::load(&turned[j * (width + V::N) + at..]);
    }
    to
}

/// Some channels of the rows above a strip; the last place is free.
#[inline(always)]
pub(super) fn window<T: Real, S: Stored<T>, V: Lanes<T>, const K: usize>(
    above: &[Row<'_, T, S>],
    at: usize,
    count: usize,
) -> [V; K] {
    let mut to = [V::splat(T::ZERO); K];
    for j in 0..K - 1 {
        to[j] = above[j].get(at, count);
    }
    to
}

/// One row on.
#[inline(always)]
pub(super) fn shift<V: Copy, const K: usize>(of: &mut [V; K]) {
    for j in 1..K {
        of[j - 1] = of[j];
    }
}

/// Σ_j w_j·x_j, from `start` on.
#[inline(always)]
pub(super) fn weigh<T: Real, V: Lanes<T>, const K: usize>(weights: &[V; K], seen: &[V; K], start: V) -> V {
    let mut sum = start;
    for j in 0..K {
        sum = weights[j].fma(seen[j], sum);
    }
    sum
}

/// A row in the type that is computed with.
pub(super) struct CopyRow<'a, T, S> {
    pub(super) row: Row<'a, T, S>,
    pub(super) to: &'a mut [T],
}

impl<T: Real, S: Stored<T>> Kernel<T> for CopyRow<'_, T, S> {
    type Output = ();
    #[inline(always)]
    fn run<V: Lanes<T>>(self) {
        each_vector!(V, self.to.len(), |at, count| {
            put(self.row.get::<V>(at, count), self.to, at, count);
        });
    }
}

/// The pre-activation of some channels of a row.
#[inline(always)]
pub(super) fn before_activation<T: Real, S: Stored<T>, V: Lanes<T>>(
    bias: Option<&[T]>,
    turned: &[T],
    rows: &[Row<'_, T, S>],
    width: usize,
    at: usize,
    count: usize,
) -> V {
    let mut sum = bias.map_or(V::splat(T::ZERO), |b| get(b, at, count));
    for (j, row) in rows.iter().enumerate() {
        sum = V::load(&turned[j * (width + V::N) + at..]).fma(row.get(at, count), sum);
    }
    sum
}
