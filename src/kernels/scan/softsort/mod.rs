//! SoftSort: a soft permutation that puts tokens in the order of their scores, and its product with the tokens.
//!
//! With s_(i) the i-th largest score: P\[i, j\] = softmax over j of −|s_j − s_(i)| / τ. Rows add up to 1; as τ → 0, P becomes the
//! permutation that sorts in falling order (equal scores share a row). A constant added to all scores changes nothing.
//!
//! # How
//! The exponent of a row is 0 at the token that has the place, so no largest one is looked for. The sum of a row is at least 1. Products
//! with P make and use it in blocks of rows, and never hold it whole.
//!
//! # Cost
//! len² exponentials for each element of the batch; len² numbers of output for [`forward`](SoftSort::forward), which is meant for a
//! thousand tokens at most. [`apply`](SoftSort::apply) to `width` numbers a token: 2·len²·width operations and len·width numbers; backward
//! twice that, and the exponentials three times.
//!
//! # Source
//! Prillo & Eisenschlos, SoftSort, 2020 (arXiv 2006.16038), with the distance |·|; for tokens before a selective scan: Vo et al.,
//! Demystifying the Token Dynamics of Deep Selective State Space Models, 2024 (arXiv 2410.03292), which sorts −score.

mod apply;
pub mod reference;
mod rows;
#[cfg(test)]
mod tests;

use crate::kernels::bf16::{Stored, narrow, widen};
use crate::kernels::rows::{add_parts, for_each, rows_per_chunk};
use crate::kernels::simd::Real;

/// Blocks of rows of a P at most.
const BLOCKS: usize = 64;

const OP: &str = "SoftSort";

/// See the module's text.
#[derive(Clone, Copy, Debug)]
pub struct SoftSort {
    /// Vectors of scores.
    pub batch: usize,
    /// Scores of each.
    pub len: usize,
    /// How soft, above 0: the distance of scores over which a weight falls to 1/e.
    pub tau: f64,
}

impl SoftSort {
    fn check<T>(&self, scores: &[T]) {
        assert!(self.tau > 0.0, "{OP}: tau is {}, expected a number above 0", self.tau);
        assert_eq!(scores.len(), self.batch * self.len, "{OP}: scores are {} x {}", self.batch, self.len);
    }

    /// For each element of the batch the places of its scores from the largest to the smallest; of equal ones the first comes first.
    /// This is the hard order that P softens.
    pub fn order<T: Real>(&self, scores: &[T]) -> Vec<usize> {
        self.check(scores);
        let mut order = Vec::with_capacity(scores.len());
        for scores in scores.chunks(self.len.max(1)) {
            let start = order.len();
            order.extend(0..self.len);
            // Adding 0 makes −0 equal to 0.
            order[start..].sort_by(|a, b| (scores[*b].to_f64() + 0.0).total_cmp(&(scores[*a].to_f64() + 0.0)));
        }
        order
    }

    /// The scores in that order.
    fn sorted<T: Real>(&self, scores: &[T], order: &[usize]) -> Vec<T> {
        let len = self.len.max(1);
        (order.iter().enumerate()).map(|(i, place)| scores[i / len * len + place]).collect()
    }

    /// 1/τ.
    fn rate<T: Real>(&self) -> T {
        T::from_f64(1.0 / self.tau)
    }

    /// Writes P (batch, len, len). Panics when sizes do not fit.
    pub fn forward<T: Real>(&self, scores: &[T], p: &mut [T]) {
        self.rows(scores, p, |scores, sorted, p| rows::forward(scores, sorted, self.rate(), p));
    }

    /// [`forward`](Self::forward) with scores and P as bits of bf16. Panics when sizes do not fit.
    pub fn forward_bf16(&self, scores: &[u16], p: &mut [u16]) {
        let scores = wide(scores);
        self.rows(&scores, p, |scores, sorted, p| rows::forward_bf16(scores, sorted, self.rate(), p));
    }

    /// Has `work` write the rows of P: scores, and of some rows the scores in order.
    fn rows<T: Real, S: Send>(&self, scores: &[T], p: &mut [S], work: impl Fn(&[T], &[T], &mut [S]) + Sync + Send) {
        let (order, l) = (self.order(scores), self.len);
        assert_eq!(p.len(), self.batch * l * l, "{OP}: the result is {} x {l} x {l}", self.batch);
        if p.is_empty() {
            return;
        }
        let (sorted, per_task) = (self.sorted(scores, &order), rows_per_chunk(l, 1));
        let mut tasks = Vec::new();
        for (b, p) in p.chunks_mut(l * l).enumerate() {
            let (scores, sorted) = (&scores[b * l..][..l], &sorted[b * l..][..l]);
            for (sorted, p) in sorted.chunks(per_task).zip(p.chunks_mut(per_task * l)) {
                tasks.push((scores, sorted, p));
            }
        }
        for_each(tasks, |(scores, sorted, p)| work(scores, sorted, p));
    }

    /// Writes the gradient of the scores from that of P. Panics when sizes do not fit.
    ///
    /// With G = P∘(dP − rowsum(P∘dP)) and σ the sign of s_j − s_(i): −1/τ · Σ_i σG at s_j, and +1/τ · Σ_j σG at s_(i).
    pub fn backward<T: Real>(&self, scores: &[T], dp: &[T], dscores: &mut [T]) {
        self.backward_stored(scores, dp, dscores);
    }

    /// [`backward`](Self::backward) with scores, their gradient and that of P as bits of bf16. Panics when sizes do not fit.
    pub fn backward_bf16(&self, scores: &[u16], dp: &[u16], dscores: &mut [u16]) {
        let scores = wide(scores);
        let mut sums = vec![0.0; dscores.len()];
        self.backward_stored(&scores, dp, &mut sums);
        narrow(&sums, dscores);
    }

    /// With the gradient of P as it is held in memory.
    fn backward_stored<T: Real, S: Stored<T>>(&self, scores: &[T], dp: &[S], dscores: &mut [T]) {
        let (order, l) = (self.order(scores), self.len);
        assert_eq!(dp.len(), self.batch * l * l, "{OP}: the gradient is {} x {l} x {l}", self.batch);
        assert_eq!(dscores.len(), scores.len(), "{OP}: the gradient of the scores is as long as they are");
        if dp.is_empty() {
            return;
        }
        let sorted = self.sorted(scores, &order);
        let per_task = l.div_ceil(BLOCKS).max(rows_per_chunk(l, 8));
        let blocks = l.div_ceil(per_task);
        // Sums over rows for each block, and over columns for each row.
        let (mut by_column, mut by_row) = (vec![T::ZERO; self.batch * blocks * l], vec![T::ZERO; self.batch * l]);
        let mut columns = by_column.chunks_mut(l);
        let mut tasks = Vec::new();
        for (b, by_row) in by_row.chunks_mut(l).enumerate() {
            let (scores, sorted, dp) = (&scores[b * l..][..l], &sorted[b * l..][..l], &dp[b * l * l..][..l * l]);
            for (i, by_row) in by_row.chunks_mut(per_task).enumerate() {
                let rows = i * per_task..i * per_task + by_row.len();
                let by_column = columns.next().unwrap_or_default();
                tasks.push((scores, &sorted[rows.clone()], &dp[rows.start * l..rows.end * l], rows::Sums { by_column, by_row }));
            }
        }
        for_each(tasks, |(scores, sorted, dp, sums)| rows::backward(scores, sorted, self.rate(), dp, sums));
        self.finish(&order, &mut by_column, blocks * l, &by_row, dscores);
    }

    /// Puts together the sums of the blocks: `by_column` has for each element of the batch `each` numbers, some blocks of len.
    fn finish<T: Real>(&self, order: &[usize], by_column: &mut [T], each: usize, by_row: &[T], dscores: &mut [T]) {
        let (l, rate) = (self.len, self.rate::<T>());
        for (b, by_column) in by_column.chunks_mut(each).enumerate() {
            add_parts(by_column, l);
            let dscores = &mut dscores[b * l..][..l];
            for (to, sum) in dscores.iter_mut().zip(by_column) {
                *to = -(rate * *sum);
            }
            for (place, sum) in order[b * l..][..l].iter().zip(&by_row[b * l..]) {
                dscores[*place] += rate * *sum;
            }
        }
    }

    /// Writes y = P·x, both (batch, len, width). Panics when sizes do not fit.
    pub fn apply<T: Real>(&self, scores: &[T], x: &[T], width: usize, y: &mut [T]) {
        let order = self.order(scores);
        assert!(x.len() == scores.len() * width && y.len() == x.len(), "{OP}: tokens are {} x {width}", scores.len());
        if !x.is_empty() {
            apply::forward(self, scores, &self.sorted(scores, &order), (x, width), y);
        }
    }

    /// The gradients that are wanted, of the scores and of x, from that of y. Panics when sizes do not fit.
    pub fn apply_backward<T: Real>(
        &self,
        scores: &[T],
        x: &[T],
        width: usize,
        dy: &[T],
        dscores: Option<&mut [T]>,
        dx: Option<&mut [T]>,
    ) {
        let order = self.order(scores);
        let fits = x.len() == scores.len() * width && dy.len() == x.len() && dx.as_ref().is_none_or(|v| v.len() == x.len());
        assert!(fits, "{OP}: tokens are {} x {width}", scores.len());
        assert!(
            dscores.as_ref().is_none_or(|v| v.len() == scores.len()),
            "{OP}: the gradient of the scores is as long as they are"
        );
        if x.is_empty() {
            // Nothing depends on the scores of tokens without numbers.
            if let Some(dscores) = dscores {
                dscores.fill(T::ZERO);
            }
            return;
        }
        let sorted = self.sorted(scores, &order);
        if let Some(dx) = dx {
            apply::backward_tokens(self, scores, &sorted, (dy, width), dx);
        }
        if let Some(dscores) = dscores {
            apply::backward_scores(self, scores, &order, &sorted, (x, width), dy, dscores);
        }
    }
}

/// Scores, which are few beside P.
fn wide(scores: &[u16]) -> Vec<f32> {
    let mut wide = vec![0.0; scores.len()];
    widen(scores, &mut wide);
    wide
}
