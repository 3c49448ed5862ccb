//! y = W₂·act(W₁·x + b₁) + b₂, row by row.

use super::{Affine, AffineGrad, act};
use crate::kernels::elementwise::Activation;
use crate::kernels::gemm::{MatMut, MatRef, Packed, Start, tile};
use crate::kernels::pieces::{Plan, split};
use crate::kernels::simd::Real;
use crate::kernels::sums;

/// Two affine maps over the last axis with an activation between them.
///
/// Shapes: x (rows, in) → y (rows, out) by way of `first.outputs = second.inputs` hidden numbers, which live for a tile of rows only.
/// Forward 2·rows·hidden·(in + out) operations; backward twice that and 2·rows·hidden·in to have the hidden layer again.
#[derive(Clone, Copy, Debug)]
pub struct Mlp<'a, T> {
    pub first: Affine<'a, T>,
    pub activation: Activation,
    pub second: Affine<'a, T>,
}

const OP: &str = "mlp";

impl<T: Real> Mlp<'_, T> {
    fn plan(&self, x: &[T], y: &[T], partial: usize) -> Plan {
        self.first.check(OP);
        self.second.check(OP);
        let (i, h, o) = (self.first.inputs, self.first.outputs, self.second.outputs);
        assert_eq!(self.second.inputs, h, "{OP}: the hidden widths differ");
        let rows = y.len().checked_div(o).unwrap_or(0);
        assert!(
            o == 0 || (rows * o == y.len() && rows * i == x.len()),
            "{OP}: {} and {} numbers are not rows of {i} and {o}",
            x.len(),
            y.len()
        );
        Plan::new(rows, 2 * h * (i + o), i + 2 * h + o, partial)
    }

    /// Writes y, plus `residual` (as long as y) if there is one. Panics when the lengths do not fit.
    pub fn forward(&self, x: &[T], residual: Option<&[T]>, y: &mut [T]) {
        let plan = self.plan(x, y, 0);
        assert!(residual.is_none_or(|r| r.len() == y.len()), "{OP}: the residual is as long as the result");
        let (i, h, o) = (self.first.inputs, self.first.outputs, self.second.outputs);
        let (w1, w2) = (Packed::new(self.first.matrix().t()), Packed::new(self.second.matrix().t()));
        plan.write(y, o, |c, y| {
            let first = plan.rows_of(c).start;
            let mut hidden = vec![T::ZERO; plan.tile * h];
            for rows in plan.tiles(c) {
                let n = rows.len();
                let hidden = &mut hidden[..n * h];
                tile(self.first.row_start(), MatRef::new(&x[(first + rows.start) * i..], n, i), &w1, MatMut::new(hidden, n, h));
                act::apply(self.activation, hidden);
                let y = &mut y[rows.start * o..rows.end * o];
                tile(self.second.row_start(), MatRef::new(hidden, n, h), &w2, MatMut::new(y, n, o));
                if let Some(residual) = residual {
                    sums::add(y, &residual[(first + rows.start) * o..][..n * o]);
                }
            }
        });
    }

    /// From x and the gradient of y: the gradient of x, if wanted, and those of the weights and biases. (The gradient of the residual
    /// is that of y.) Panics when the lengths do not fit.
    pub fn backward(&self, x: &[T], dy: &[T], dx: Option<&mut [T]>, first: AffineGrad<'_, T>, second: AffineGrad<'_, T>) {
        first.check(OP, &self.first);
        second.check(OP, &self.second);
        let (s1, s2) = (first.sizes(), second.sizes());
        let sizes = [s1[0], s1[1], s2[0], s2[1]];
        let plan = self.plan(x, dy, sizes.iter().sum());
        let (i, h, o) = (self.first.inputs, self.first.outputs, self.second.outputs);
        let w1 = Packed::new(self.first.matrix().t());
        let back2 = Packed::new(self.second.matrix());
        let back1 = dx.is_some().then(|| Packed::new(self.first.matrix()));
        let into_first = dx.is_some() || s1 != [0, 0];
        let ([p1, p2], [p3, p4]) = (first.places(), second.places());
        plan.gather([dx.map(|dx| (dx, i))], &mut [p1, p2, p3, p4], |c, [mut dx], sums| {
            let [dw1, db1, dw2, db2] = split(sums, sizes);
            let start = plan.rows_of(c).start;
            let (x, dy) = (&x[start * i..], &dy[start * o..]);
            let mut hidden = vec![T::ZERO; plan.tile * h];
            let mut inner = hidden.clone();
            for rows in plan.tiles(c) {
                let n = rows.len();
                let x = MatRef::new(&x[rows.start * i..], n, i);
                let dy = &dy[rows.start * o..rows.end * o];
                let g = MatRef::new(dy, n, o);
                let (hidden, inner) = (&mut hidden[..n * h], &mut inner[..n * h]);
                tile(self.first.row_start(), x, &w1, MatMut::new(hidden, n, h));
                if into_first {
                    tile(Start::Zero, g, &back2, MatMut::new(inner, n, h));
                    act::differentiate(self.activation, hidden, inner);
                } else {
                    act::apply(self.activation, hidden);
                }
                if !dw2.is_empty() {
                    tile(Start::Current, g.t(), MatRef::new(hidden, n, h), MatMut::new(dw2, o, h));
                }
                sums::add_columns(dy, db2);
                let inner_view = MatRef::new(inner, n, h);
                if !dw1.is_empty() {
                    tile(Start::Current, inner_view.t(), x, MatMut::new(dw1, h, i));
                }
                sums::add_columns(inner, db1);
                if let (Some(dx), Some(back1)) = (&mut dx, &back1) {
                    tile(Start::Zero, inner_view, back1, MatMut::new(&mut dx[rows.start * i..rows.end * i], n, i));
                }
            }
        });
    }
}
