//! y = act(x·Wᵀ + b), row by row.

use super::{Affine, AffineGrad, act, thin};
use crate::kernels::elementwise::Activation;
use crate::kernels::gemm::{MatMut, MatRef, Packed, Start, matmul_from, tile};
use crate::kernels::pieces::{Plan, split};
use crate::kernels::simd::Real;
use crate::kernels::sums;

/// An affine map over the last axis with an activation.
///
/// Shapes: x (rows, inputs) → y (rows, outputs). A few rows are one pass over the weight; else forward 2·rows·in·out operations, by a
/// product blocked for the caches when the weight is large; backward as much for each of dx and dW, and once more when there is an
/// activation, whose argument is computed again.
#[derive(Clone, Copy, Debug)]
pub struct Linear<'a, T> {
    pub affine: Affine<'a, T>,
    pub activation: Activation,
}

const OP: &str = "linear";
/// Numbers of a weight from which on it does not stay packed in a cache, so that a blocked product over all rows is the faster one.
const LARGE: usize = 1 << 19;

impl<T: Real> Linear<'_, T> {
    fn plan(&self, x: &[T], y: &[T], partial: usize) -> Plan {
        self.affine.check(OP);
        let (i, o) = (self.affine.inputs, self.affine.outputs);
        let rows = y.len().checked_div(o).unwrap_or(0);
        assert!(
            o == 0 || (rows * o == y.len() && rows * i == x.len()),
            "{OP}: {} and {} numbers are not rows of {i} and {o}",
            x.len(),
            y.len()
        );
        Plan::new(rows, 2 * i * o, i + o, partial)
    }

    /// Writes y, plus `residual` (as long as y) if there is one. Panics when the lengths do not fit.
    pub fn forward(&self, x: &[T], residual: Option<&[T]>, y: &mut [T]) {
        let plan = self.plan(x, y, 0);
        assert!(residual.is_none_or(|r| r.len() == y.len()), "{OP}: the residual is as long as the result");
        let Affine { inputs: i, outputs: o, .. } = self.affine;
        if thin::pays(&self.affine, y.len().checked_div(o).unwrap_or(0)) {
            thin::forward(&self.affine, x, y);
            act::apply(self.activation, y);
            if let Some(residual) = residual {
                sums::add(y, residual);
            }
            return;
        }
        if self.affine.weight.len() >= LARGE {
            let rows = y.len() / o;
            matmul_from(self.affine.row_start(), MatRef::new(x, rows, i), self.affine.matrix().t(), MatMut::new(y, rows, o));
            if self.activation != Activation::Identity || residual.is_some() {
                plan.write(y, o, |c, y| {
                    act::apply(self.activation, y);
                    if let Some(residual) = residual {
                        sums::add(y, &residual[plan.rows_of(c).start * o..][..y.len()]);
                    }
                });
            }
            return;
        }
        let weight = Packed::new(self.affine.matrix().t());
        plan.write(y, o, |c, y| {
            let first = plan.rows_of(c).start;
            for rows in plan.tiles(c) {
                let n = rows.len();
                let x = MatRef::new(&x[(first + rows.start) * i..], n, i);
                let y = &mut y[rows.start * o..rows.end * o];
                tile(self.affine.row_start(), x, &weight, MatMut::new(y, n, o));
                act::apply(self.activation, y);
                if let Some(residual) = residual {
                    sums::add(y, &residual[(first + rows.start) * o..][..n * o]);
                }
            }
        });
    }

    /// From x and the gradient of y: the gradient of x, if wanted, and those of weight and bias. (The gradient of the residual is that of
    /// y.) Panics when the lengths do not fit.
    pub fn backward(&self, x: &[T], dy: &[T], dx: Option<&mut [T]>, grad: AffineGrad<'_, T>) {
        let sizes = grad.sizes();
        grad.check(OP, &self.affine);
        let plan = self.plan(x, dy, sizes.iter().sum());
        let Affine { inputs: i, outputs: o, .. } = self.affine;
        let slope = self.activation != Activation::Identity;
        let forward = slope.then(|| Packed::new(self.affine.matrix().t()));
        let back = dx.is_some().then(|| Packed::new(self.affine.matrix()));
        plan.gather([dx.map(|dx| (dx, i))], &mut grad.places(), |c, [mut dx], sums| {
            let [dw, db] = split(sums, sizes);
            let first = plan.rows_of(c).start;
            let (x, dy) = (&x[first * i..], &dy[first * o..]);
            let mut pre = vec![T::ZERO; if slope { plan.tile * o } else { 0 }];
            let mut scaled = pre.clone();
            for rows in plan.tiles(c) {
                let n = rows.len();
                let x = MatRef::new(&x[rows.start * i..], n, i);
                let mut dy = &dy[rows.start * o..rows.end * o];
                if let Some(forward) = &forward {
                    let (pre, scaled) = (&mut pre[..n * o], &mut scaled[..n * o]);
                    tile(self.affine.row_start(), x, forward, MatMut::new(pre, n, o));
                    scaled.copy_from_slice(dy);
                    act::differentiate(self.activation, pre, scaled);
                    dy = scaled;
                }
                let g = MatRef::new(dy, n, o);
                if let (Some(dx), Some(back)) = (&mut dx, &back) {
                    tile(Start::Zero, g, back, MatMut::new(&mut dx[rows.start * i..rows.end * i], n, i));
                }
                if !dw.is_empty() {
                    tile(Start::Current, g.t(), x, MatMut::new(dw, o, i));
                }
                sums::add_columns(dy, db);
            }
        });
    }
}
