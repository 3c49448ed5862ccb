//! The convolution of a piece.

use super::carried::{Carried, before_activation, weights};
use super::{CausalConv, HELD, Piece, STRIP};
use crate::kernels::bf16::Stored;
use crate::kernels::rows::{each_vector, get};
use crate::kernels::simd::{Kernel, Lanes, Real, math};

pub(super) struct Forward<'a, T, S> {
    pub(super) conv: &'a CausalConv<'a, T>,
    pub(super) turned: &'a [T],
    pub(super) from: Carried<'a, T, S>,
    pub(super) piece: Piece,
    pub(super) y: &'a mut [S],
}

impl<T: Real, S: Stored<T>> Forward<'_, T, S> {
    /// K taps, the rows they see held in registers.
    #[inline(always)]
    fn strips<V: Lanes<T>, const K: usize>(self) {
        let (d, rows) = (self.conv.channels, self.piece.rows.clone());
        for (first, y) in rows.step_by(STRIP).zip(self.y.chunks_mut(STRIP * d)) {
            let above = self.from.above::<K>(&self.piece, first);
            let (x, steps) = (&self.from.x[first * d..][..y.len()], y.len() / d);
            each_vector!(V, d, |at, count| {
                let bias: V = self.conv.bias.map_or(V::splat(T::ZERO), |b| get(b, at, count));
                let weights: [V; K] = weights(self.turned, d, at);
                // Loops of fixed lengths: everything stays in registers.
                let mut seen = [V::splat(T::ZERO); STRIP + HELD - 1];
                for j in 0..K - 1 {
                    seen[j] = above[j].get(at, count);
                }
                for t in 0..STRIP {
                    if t < steps {
                        seen[K - 1 + t] = S::get(&x[t * d..(t + 1) * d], at, count);
                    }
                }
                let mut sums = [bias; STRIP];
                for t in 0..STRIP {
                    for j in 0..K {
                        sums[t] = weights[j].fma(seen[t + j], sums[t]);
                    }
                }
                if self.conv.silu {
                    for t in 0..STRIP {
                        sums[t] = math::silu::<T, V>(sums[t]);
                    }
                }
                for t in 0..STRIP {
                    if t < steps {
                        S::put(sums[t], &mut y[t * d..(t + 1) * d], at, count);
                    }
                }
            });
        }
    }
}

impl<T: Real, S: Stored<T>> Kernel<T> for Forward<'_, T, S> {
    type Output = ();
    #[inline(always)]
    fn run<V: Lanes<T>>(self) {
        let (d, k) = (self.conv.channels, self.conv.taps);
        match k {
            2 => return self.strips::<V, 2>(),
            3 => return self.strips::<V, 3>(),
            4 => return self.strips::<V, 4>(),
            _ => (),
        }
        for (row, y) in self.piece.rows.clone().zip(self.y.chunks_exact_mut(d)) {
            let rows = self.from.seen(&self.piece, row);
            each_vector!(V, d, |at, count| {
                let sum: V = before_activation(self.conv.bias, self.turned, &rows[..k], d, at, count);
                S::put(if self.conv.silu { math::silu::<T, V>(sum) } else { sum }, y, at, count);
            });
        }
    }
}
