//! A bilinear map in CP form: `z = C · ((Aᵀx) ∘ (Bᵀy))`, for batches of x and y.

use crate::kernels::gemm::{MatMut, MatRef, Packed, Start, tile, with_scratch};
use crate::kernels::pieces::{Plan, split};
use crate::kernels::simd::Real;
use crate::kernels::sums::mul;

/// The map; A is (d_1, R), B (d_2, R) and C (d_3, R) in rows. With M̂[i, j, k] = Σ_r A[i, r] B[j, r] C[k, r] it is `z_k = Σ_ij M̂[i, j,
/// k] x_i y_j`.
///
/// Forward 2·R·(d_1 + d_2 + d_3) operations a row, backward five halves of that without and three times with gradients of A, B and C:
/// nothing is saved, Aᵀx and Bᵀy are computed again. Rows go through in tiles that stay in the caches; a row of x, y and z is read or
/// written once. The cut is fixed by the sizes, and gradients of chunks are added in order: same bytes at any number of threads.
#[derive(Clone, Copy, Debug)]
pub struct CpLayer<'a, T> {
    pub a: &'a [T],
    pub b: &'a [T],
    pub c: &'a [T],
    /// d_1, d_2, d_3.
    pub sizes: [usize; 3],
    pub rank: usize,
}

/// Where the gradients go; as large as A, B and C.
#[derive(Debug)]
pub struct CpLayerGradients<'a, T> {
    pub a: &'a mut [T],
    pub b: &'a mut [T],
    pub c: &'a mut [T],
}

impl<T: Real> CpLayer<'_, T> {
    /// Panics when sizes do not fit.
    fn check(&self, lens: [usize; 3]) -> usize {
        for (name, factor, size) in [("A", self.a, self.sizes[0]), ("B", self.b, self.sizes[1]), ("C", self.c, self.sizes[2])] {
            assert_eq!(factor.len(), size * self.rank, "cp layer: {name} is {size} x {}", self.rank);
            assert!(size > 0, "cp layer: {name} has no rows");
        }
        let rows = lens[0] / self.sizes[0];
        for (name, len, size) in [("x", lens[0], self.sizes[0]), ("y", lens[1], self.sizes[1]), ("z", lens[2], self.sizes[2])] {
            assert_eq!(len, rows * size, "cp layer: {name} has {rows} rows of {size}");
        }
        rows
    }

    fn matrix<'b>(&self, k: usize, of: &'b [T]) -> MatRef<'b, T> {
        MatRef::new(of, self.sizes[k], self.rank)
    }

    fn plan(&self, rows: usize, partial: usize) -> Plan {
        let numbers: usize = self.sizes.iter().sum::<usize>();
        Plan::new(rows, 2 * self.rank * numbers, numbers + 4 * self.rank, partial)
    }

    /// z (n, d_3) from x (n, d_1) and y (n, d_2). Panics when sizes do not fit.
    pub fn forward(&self, x: &[T], y: &[T], z: &mut [T]) {
        let rows = self.check([x.len(), y.len(), z.len()]);
        let [d1, d2, d3] = self.sizes;
        let (a, b) = (Packed::new(self.matrix(0, self.a)), Packed::new(self.matrix(1, self.b)));
        let c = Packed::new(self.matrix(2, self.c).t());
        let plan = self.plan(rows, 0);
        plan.write(z, d3, |chunk, z| {
            let start = plan.rows_of(chunk).start;
            with_scratch(2 * plan.tile * self.rank, |space| {
                for own in plan.tiles(chunk) {
                    let n = own.len();
                    let [p, q] = split(&mut space[..2 * n * self.rank], [n * self.rank; 2]);
                    let at = start + own.start;
                    tile(Start::Zero, MatRef::new(&x[at * d1..], n, d1), &a, MatMut::new(p, n, self.rank));
                    tile(Start::Zero, MatRef::new(&y[at * d2..], n, d2), &b, MatMut::new(q, n, self.rank));
                    mul(p, q);
                    tile(Start::Zero, MatRef::new(p, n, self.rank), &c, MatMut::new(&mut z[own.start * d3..], n, d3));
                }
            });
        });
    }

    /// From dz (n, d_3): dx, dy and the gradients of A, B and C, where they are wanted. Panics when sizes do not fit.
    pub fn backward(
        &self,
        x: &[T],
        y: &[T],
        dz: &[T],
        dx: Option<&mut [T]>,
        dy: Option<&mut [T]>,
        gradients: Option<CpLayerGradients<'_, T>>,
    ) {
        let rows = self.check([x.len(), y.len(), dz.len()]);
        let ([d1, d2, d3], rank) = (self.sizes, self.rank);
        assert!(dx.as_ref().is_none_or(|d| d.len() == x.len()) && dy.as_ref().is_none_or(|d| d.len() == y.len()));
        let wanted = gradients.is_some();
        let sizes = [d1 * rank, d2 * rank, d3 * rank];
        let mut places = match gradients {
            None => [None, None, None],
            Some(CpLayerGradients { a, b, c }) => {
                assert_eq!([a.len(), b.len(), c.len()], sizes, "cp layer: gradients as large as A, B and C");
                [Some(a), Some(b), Some(c)]
            }
        };
        let (a, b, c) = (self.matrix(0, self.a), self.matrix(1, self.b), self.matrix(2, self.c));
        let (at, bt) = (Packed::new(a.t()), Packed::new(b.t()));
        let (a, b, c) = (Packed::new(a), Packed::new(b), Packed::new(c));
        let plan = self.plan(rows, if wanted { sizes.iter().sum() } else { 0 });
        plan.gather([dx.map(|d| (d, d1)), dy.map(|d| (d, d2))], &mut places, |chunk, [mut dx, mut dy], sums| {
            let start = plan.rows_of(chunk).start;
            let [da, db, dc] = if wanted { split(sums, sizes) } else { split(sums, [0; 3]) };
            with_scratch(4 * plan.tile * rank, |space| {
                for own in plan.tiles(chunk) {
                    let (n, at_row) = (own.len(), start + own.start);
                    let [p, q, dp, dq] = split(&mut space[..4 * n * rank], [n * rank; 4]);
                    let x = MatRef::new(&x[at_row * d1..], n, d1);
                    let y = MatRef::new(&y[at_row * d2..], n, d2);
                    let dz = MatRef::new(&dz[at_row * d3..], n, d3);
                    tile(Start::Zero, x, &a, MatMut::new(p, n, rank));
                    tile(Start::Zero, y, &b, MatMut::new(q, n, rank));
                    tile(Start::Zero, dz, &c, MatMut::new(dp, n, rank));
                    dq.copy_from_slice(dp);
                    mul(dp, q);
                    mul(dq, p);
                    if let Some(dx) = &mut dx {
                        tile(Start::Zero, MatRef::new(dp, n, rank), &at, MatMut::new(&mut dx[own.start * d1..], n, d1));
                    }
                    if let Some(dy) = &mut dy {
                        tile(Start::Zero, MatRef::new(dq, n, rank), &bt, MatMut::new(&mut dy[own.start * d2..], n, d2));
                    }
                    if wanted {
                        mul(p, q);
                        tile(Start::Current, x.t(), MatRef::new(dp, n, rank), MatMut::new(da, d1, rank));
                        tile(Start::Current, y.t(), MatRef::new(dq, n, rank), MatMut::new(db, d2, rank));
                        tile(Start::Current, dz.t(), MatRef::new(p, n, rank), MatMut::new(dc, d3, rank));
                    }
                }
            });
        });
    }
}
