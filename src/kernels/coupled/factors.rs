//! The CP form: z = C((Aᵀx) ∘ (Bᵀy)).

use super::lines::{column_dots, pair_dots, times_row};
use crate::kernels::elementwise::mul_assign;
use crate::kernels::gemm::{MatMut, MatRef, Start, matmul, tile, with_scratch};
use crate::kernels::pieces::split;
use crate::kernels::simd::Real;

/// A, B, C, (d, R) in rows.
pub struct Factors<T> {
    d: usize,
    rank: usize,
    a: Vec<T>,
    b: Vec<T>,
    c: Vec<T>,
}

/// Gradients of the factors, added to.
pub type FactorSums<'a, T> = [Option<&'a mut [T]>; 3];

impl<T: Real> Factors<T> {
    pub fn new(d: usize, rank: usize, factors: [&[f64]; 3]) -> Self {
        let [a, b, c] = factors.map(|f| f.iter().map(|v| T::from_f64(*v)).collect());
        Self { d, rank, a, b, c }
    }

    pub fn set(&mut self, [a, b, c]: [&[T]; 3]) {
        for (to, from) in [(&mut self.a, a), (&mut self.b, b), (&mut self.c, c)] {
            to.copy_from_slice(from);
        }
    }

    fn matrix<'a>(&self, f: &'a [T]) -> MatRef<'a, T> {
        MatRef::new(f, self.d, self.rank)
    }

    /// `out[k, c] = Σ M̂[i, j, k] x[i, c] z[j, c]`.
    pub fn pair(&self, x: &[T], z: &[T], n: usize, out: &mut [T]) {
        let (d, rank) = (self.d, self.rank);
        with_scratch(2 * rank * n, |room: &mut [T]| {
            let [p, q] = split(room, [rank * n; 2]);
            tile(Start::Zero, self.matrix(&self.a).t(), MatRef::new(x, d, n), MatMut::new(p, rank, n));
            tile(Start::Zero, self.matrix(&self.b).t(), MatRef::new(z, d, n), MatMut::new(q, rank, n));
            mul_assign(p, q);
            tile(Start::Zero, self.matrix(&self.c), MatRef::new(p, rank, n), MatMut::new(out, d, n));
        });
    }

    /// Gradients of [`pair`](Self::pair).
    pub fn pair_gradients(
        &self,
        [x, z, g]: [&[T]; 3],
        n: usize,
        dx: Option<&mut [T]>,
        dz: Option<&mut [T]>,
        sums: FactorSums<'_, T>,
    ) {
        let (d, rank) = (self.d, self.rank);
        with_scratch(4 * rank * n, |room: &mut [T]| {
            let [p, q, s, t] = split(room, [rank * n; 4]);
            let rows = |m: &mut [T], f: &[T], from: &[T]| {
                tile(Start::Zero, self.matrix(f).t(), MatRef::new(from, d, n), MatMut::new(m, rank, n));
            };
            rows(p, &self.a, x);
            rows(q, &self.b, z);
            rows(s, &self.c, g);
            let [da, db, dc] = sums;
            let add = |to: Option<&mut [T]>, left: &[T], right: &[T]| {
                if let Some(to) = to {
                    matmul(MatRef::new(left, d, n), MatRef::new(right, rank, n).t(), MatMut::new(to, d, rank), true);
                }
            };
            if dc.is_some() {
                t.copy_from_slice(p);
                mul_assign(t, q);
                add(dc, g, t);
            }
            let mut side = |other: &[T], f: &[T], from: &[T], to: Option<&mut [T]>, sum: Option<&mut [T]>| {
                t.copy_from_slice(s);
                mul_assign(t, other);
                if let Some(to) = to {
                    tile(Start::Zero, self.matrix(f), MatRef::new(t, rank, n), MatMut::new(to, d, n));
                }
                add(sum, from, t);
            };
            side(q, &self.a, x, dx, da);
            side(p, &self.b, z, dz, db);
        });
    }

    /// q = Bᵀy, one y of d numbers.
    fn mixed(&self, y: &[T], q: &mut [T]) {
        tile(Start::Zero, MatRef::new(y, 1, self.d), self.matrix(&self.b), MatMut::new(q, 1, self.rank));
    }

    /// Whether one matrix for the y is less work than two products by factors.
    pub fn folds(d: usize, rank: usize, n: usize) -> bool {
        rank * d * d + d * d * n < 2 * rank * d * n
    }

    /// `out[k, c] = Σ M̂[i, j, k] y[j] x[i, c]`, by whichever way is less work.
    pub fn single(&self, x: &[T], y: &[T], n: usize, out: &mut [T]) {
        let (d, rank) = (self.d, self.rank);
        if Self::folds(d, rank, n) {
            return self
                .with_matrix(y, |m, _| tile(Start::Zero, MatRef::new(m, d, d), MatRef::new(x, d, n), MatMut::new(out, d, n)));
        }
        with_scratch(rank * (d + n + 1), |room: &mut [T]| {
            let [q, c, p] = split(room, [rank, d * rank, rank * n]);
            self.mixed(y, q);
            times_row(&self.c, q, c, false);
            tile(Start::Zero, self.matrix(&self.a).t(), MatRef::new(x, d, n), MatMut::new(p, rank, n));
            tile(Start::Zero, MatRef::new(c, d, rank), MatRef::new(p, rank, n), MatMut::new(out, d, n));
        });
    }

    /// Lends N̂(y) = C diag(Bᵀy) Aᵀ as (k, i), and Bᵀy.
    fn with_matrix(&self, y: &[T], work: impl FnOnce(&[T], &[T])) {
        let (d, rank) = (self.d, self.rank);
        with_scratch(rank + d * rank + d * d, |room: &mut [T]| {
            let [q, c, n] = split(room, [rank, d * rank, d * d]);
            self.mixed(y, q);
            times_row(&self.c, q, c, false);
            pair_dots(c, &self.a, rank, n);
            work(n, q);
        });
    }

    /// Gradients of [`single`](Self::single), always by the folded matrix: x · gᵀ carries all that y and the factors need.
    pub fn single_gradients(
        &self,
        [x, y, g]: [&[T]; 3],
        n: usize,
        dx: Option<&mut [T]>,
        dy: Option<&mut [T]>,
        sums: FactorSums<'_, T>,
    ) {
        let (d, rank) = (self.d, self.rank);
        let [da, db, dc] = sums;
        self.with_matrix(y, |matrix, q| {
            if let Some(dx) = dx {
                tile(Start::Zero, MatRef::new(matrix, d, d).t(), MatRef::new(g, d, n), MatMut::new(dx, d, n));
            }
            if dy.is_none() && da.is_none() && db.is_none() && dc.is_none() {
                return;
            }
            with_scratch(d * d + d * rank + rank, |room: &mut [T]| {
                let [outer, right, dq] = split(room, [d * d, d * rank, rank]);
                pair_dots(x, g, n, outer);
                // (x gᵀ) C: row i, column r.
                tile(Start::Zero, MatRef::new(outer, d, d), self.matrix(&self.c), MatMut::new(right, d, rank));
                column_dots(&self.a, right, dq);
                if let Some(dy) = dy {
                    pair_dots(&self.b, dq, rank, dy);
                }
                if let Some(db) = db {
                    tile(Start::Current, MatRef::new(y, d, 1), MatRef::new(dq, 1, rank), MatMut::new(db, d, rank));
                }
                if let Some(da) = da {
                    times_row(right, q, da, true);
                }
                if let Some(dc) = dc {
                    tile(Start::Zero, MatRef::new(outer, d, d).t(), self.matrix(&self.a), MatMut::new(right, d, rank));
                    times_row(right, q, dc, true);
                }
            });
        });
    }
}
