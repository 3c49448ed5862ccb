//! y_r = W₂·act(W₁·x_r + b₁) + b₂ for matrices x_r: the contractions run over the middle axis.

use super::mid::Outer;
use super::{Affine, AffineGrad, act};
use crate::kernels::elementwise::Activation;
use crate::kernels::gemm::{MatMut, MatRef, Start, tile};
use crate::kernels::pieces::{Plan, split};
use crate::kernels::simd::Real;
use crate::kernels::sums;

/// Two affine maps over the middle axis with an activation between them.
///
/// Shapes: x (rows, in, time) → y (rows, out, time) by way of `first.outputs = second.inputs` hidden lines of `time` numbers, which live
/// for one row only. Costs as [`Mlp`](super::Mlp) with rows · time rows, and two transpositions in the cache per row for the gradients
/// of the weights.
#[derive(Clone, Copy, Debug)]
pub struct MlpMid<'a, T> {
    pub first: Affine<'a, T>,
    pub activation: Activation,
    pub second: Affine<'a, T>,
    pub time: usize,
}

const OP: &str = "mlp_mid";

impl<T: Real> MlpMid<'_, T> {
    fn plan(&self, x: &[T], y: &[T], partial: usize) -> Plan {
        self.first.check(OP);
        self.second.check(OP);
        let (i, h, o, t) = (self.first.inputs, self.first.outputs, self.second.outputs, self.time);
        assert_eq!(self.second.inputs, h, "{OP}: the hidden widths differ");
        let rows = y.len().checked_div(o * t).unwrap_or(0);
        assert!(
            o * t == 0 || (rows * o * t == y.len() && rows * i * t == x.len()),
            "{OP}: {} and {} numbers are not rows of {i} x {t} and {o} x {t}",
            x.len(),
            y.len()
        );
        Plan::of_matrices(rows, 2 * h * (i + o) * t, partial)
    }

    /// Writes y, plus `residual` (as long as y) if there is one. Panics when the lengths do not fit.
    pub fn forward(&self, x: &[T], residual: Option<&[T]>, y: &mut [T]) {
        let plan = self.plan(x, y, 0);
        assert!(residual.is_none_or(|r| r.len() == y.len()), "{OP}: the residual is as long as the result");
        let (i, h, o, t) = (self.first.inputs, self.first.outputs, self.second.outputs, self.time);
        let (w1, w2) = (self.first.matrix(), self.second.matrix());
        plan.write(y, o * t, |c, y| {
            let mut hidden = vec![T::ZERO; h * t];
            for (r, y) in plan.rows_of(c).zip(y.chunks_exact_mut(o * t)) {
                tile(self.first.column_start(), w1, MatRef::new(&x[r * i * t..], i, t), MatMut::new(&mut hidden, h, t));
                act::apply(self.activation, &mut hidden);
                tile(self.second.column_start(), w2, MatRef::new(&hidden, h, t), MatMut::new(y, o, t));
                if let Some(residual) = residual {
                    sums::add(y, &residual[r * o * t..][..o * t]);
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
        let (i, h, o, t) = (self.first.inputs, self.first.outputs, self.second.outputs, self.time);
        let (w1, w2) = (self.first.matrix(), self.second.matrix());
        let into_first = dx.is_some() || s1 != [0, 0];
        let ([p1, p2], [p3, p4]) = (first.places(), second.places());
        plan.gather([dx.map(|dx| (dx, i * t))], &mut [p1, p2, p3, p4], |c, [mut dx], sums| {
            let [dw1, db1, dw2, db2] = split(sums, sizes);
            let mut hidden = vec![T::ZERO; h * t];
            let mut inner = hidden.clone();
            let (mut outer1, mut outer2) = (Outer::new(h, i), Outer::new(o, h));
            for (k, r) in plan.rows_of(c).enumerate() {
                let x = MatRef::new(&x[r * i * t..], i, t);
                let dy = &dy[r * o * t..(r + 1) * o * t];
                let g = MatRef::new(dy, o, t);
                tile(self.first.column_start(), w1, x, MatMut::new(&mut hidden, h, t));
                if into_first {
                    tile(Start::Zero, w2.t(), g, MatMut::new(&mut inner, h, t));
                    act::differentiate(self.activation, &mut hidden, &mut inner);
                } else {
                    act::apply(self.activation, &mut hidden);
                }
                if !dw2.is_empty() {
                    outer2.add(g, MatRef::new(&hidden, h, t));
                }
                sums::add_rows(dy, db2);
                let inner_view = MatRef::new(&inner, h, t);
                if !dw1.is_empty() {
                    outer1.add(inner_view, x);
                }
                sums::add_rows(&inner, db1);
                if let Some(dx) = &mut dx {
                    tile(Start::Zero, w1.t(), inner_view, MatMut::new(&mut dx[k * i * t..(k + 1) * i * t], i, t));
                }
            }
            if !dw1.is_empty() {
                outer1.write(dw1);
            }
            if !dw2.is_empty() {
                outer2.write(dw2);
            }
        });
    }
}
