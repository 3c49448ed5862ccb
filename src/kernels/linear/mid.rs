//! y_r = act(W·x_r + b) for matrices x_r: the contraction runs over the middle axis.

use super::{Affine, AffineGrad, act};
use crate::kernels::elementwise::Activation;
use crate::kernels::gemm::{MatMut, MatRef, Packed, Start, tile};
use crate::kernels::pieces::{Plan, split};
use crate::kernels::simd::Real;
use crate::kernels::sums;

/// An affine map over the middle axis with an activation.
///
/// Shapes: x (rows, inputs, time) → y (rows, outputs, time). Costs as [`Linear`](super::Linear) with rows · time rows, and a
/// transposition in the cache of the smaller of x_r and dy_r for the gradient of the weight.
#[derive(Clone, Copy, Debug)]
pub struct LinearMid<'a, T> {
    pub affine: Affine<'a, T>,
    pub activation: Activation,
    pub time: usize,
}

const OP: &str = "linear_mid";

impl<T: Real> LinearMid<'_, T> {
    fn plan(&self, x: &[T], y: &[T], partial: usize) -> Plan {
        self.affine.check(OP);
        let (i, o, t) = (self.affine.inputs, self.affine.outputs, self.time);
        let rows = y.len().checked_div(o * t).unwrap_or(0);
        assert!(
            o * t == 0 || (rows * o * t == y.len() && rows * i * t == x.len()),
            "{OP}: {} and {} numbers are not rows of {i} x {t} and {o} x {t}",
            x.len(),
            y.len()
        );
        Plan::of_matrices(rows, 2 * i * o * t, partial)
    }

    /// Writes y. Panics when the lengths do not fit.
    pub fn forward(&self, x: &[T], y: &mut [T]) {
        let plan = self.plan(x, y, 0);
        let (i, o, t) = (self.affine.inputs, self.affine.outputs, self.time);
        let weight = self.affine.matrix();
        plan.write(y, o * t, |c, y| {
            for (r, y) in plan.rows_of(c).zip(y.chunks_exact_mut(o * t)) {
                tile(self.affine.column_start(), weight, MatRef::new(&x[r * i * t..], i, t), MatMut::new(y, o, t));
                act::apply(self.activation, y);
            }
        });
    }

    /// From x and the gradient of y: the gradient of x, if wanted, and those of weight and bias. Panics when the lengths do not fit.
    pub fn backward(&self, x: &[T], dy: &[T], dx: Option<&mut [T]>, grad: AffineGrad<'_, T>) {
        let sizes = grad.sizes();
        grad.check(OP, &self.affine);
        let plan = self.plan(x, dy, sizes.iter().sum());
        let (i, o, t) = (self.affine.inputs, self.affine.outputs, self.time);
        let slope = self.activation != Activation::Identity;
        let weight = self.affine.matrix();
        plan.gather([dx.map(|dx| (dx, i * t))], &mut grad.places(), |c, [mut dx], sums| {
            let [dw, db] = split(sums, sizes);
            let mut pre = vec![T::ZERO; if slope { o * t } else { 0 }];
            let mut scaled = pre.clone();
            let mut outer = Outer::new(o, i);
            for (k, r) in plan.rows_of(c).enumerate() {
                let x = MatRef::new(&x[r * i * t..], i, t);
                let mut dy = &dy[r * o * t..(r + 1) * o * t];
                if slope {
                    tile(self.affine.column_start(), weight, x, MatMut::new(&mut pre, o, t));
                    scaled.copy_from_slice(dy);
                    act::differentiate(self.activation, &mut pre, &mut scaled);
                    dy = &scaled;
                }
                let g = MatRef::new(dy, o, t);
                if let Some(dx) = &mut dx {
                    tile(Start::Zero, weight.t(), g, MatMut::new(&mut dx[k * i * t..(k + 1) * i * t], i, t));
                }
                if !dw.is_empty() {
                    outer.add(g, x);
                }
                sums::add_rows(dy, db);
            }
            if !dw.is_empty() {
                outer.write(dw);
            }
        });
    }
}

/// Sums of A·Bᵀ over many pairs of matrices whose long axis is the one that is contracted: A (m × time), B (n × time).
///
/// One of them has to be transposed for the register tile, which is done to the smaller one; when that is A, the transpose of the
/// sum is what is built.
pub(super) struct Outer<T> {
    m: usize,
    n: usize,
    sum: Vec<T>,
    turned: Packed<T>,
}

impl<T: Real> Outer<T> {
    pub(super) fn new(m: usize, n: usize) -> Self {
        Self { m, n, sum: vec![T::ZERO; m * n], turned: Packed::empty() }
    }

    pub(super) fn add(&mut self, a: MatRef<'_, T>, b: MatRef<'_, T>) {
        let (m, n) = (self.m, self.n);
        if m < n {
            self.turned.assign(a.t());
            tile(Start::Current, b, &self.turned, MatMut::new(&mut self.sum, n, m));
        } else {
            self.turned.assign(b.t());
            tile(Start::Current, a, &self.turned, MatMut::new(&mut self.sum, m, n));
        }
    }

    /// The sum (m × n).
    pub(super) fn write(&self, to: &mut [T]) {
        let (m, n) = (self.m, self.n);
        if m < n {
            let sum = MatRef::new(&self.sum, n, m);
            for i in 0..m {
                for j in 0..n {
                    to[i * n + j] = sum.get(j, i);
                }
            }
        } else {
            to.copy_from_slice(&self.sum);
        }
    }
}
