//! ω = 1 with a state near to frequency and decay 0, where the sums of [`bins`](super::bins) are large or infinite and K̂ is not.
//!
//! There A·x = −B is solved as it stands: all other states follow from q = P*·x, and q and the slow state from a system of two equations
//! for the state and one for each q. With Λ_0 = 0 to working precision and one row of P that system is singular: the state's row gives q,
//! what is then missing in q is the state itself, as a multiple of P_0, and what lies across has no effect on a C̃ = C·(1 − Ā^L).

use super::Slopes;
use super::recurrence::{Channel, inner};
use crate::kernels::scan::lti::complex::Complex;
use crate::kernels::scan::lti::dense::solve;

/// |ΔΛ| below which the sums at ω = 1 lose some six digits.
const SLOW: f64 = 1e-3;
/// |ΔΛ| that is taken for 0.
const TINY: f64 = 1e-12;

/// x of A·x = −B, and Δ·w of wᵀ·A = −C̃ᵀ/Δ, with q = P*·x and p = Pᵀ·(Δw).
pub(super) struct Solution {
    x: Vec<Complex>,
    w: Vec<Complex>,
    q: Vec<f64>,
    p: Vec<f64>,
}

impl Solution {
    /// `None` when no state is of this kind.
    pub(super) fn of(channel: &Channel) -> Option<Self> {
        let slowest = (0..channel.lambda.len()).min_by(|&i, &j| channel.lambda[i].abs().total_cmp(&channel.lambda[j].abs()))?;
        if channel.lambda[slowest].abs() * channel.dt >= SLOW {
            return None;
        }
        let conj: Vec<Complex> = channel.p.iter().map(|p| p.conj()).collect();
        let (x, q) = half(channel, slowest, &channel.p, &channel.b);
        let (w, p) = half(channel, slowest, &conj, &channel.c);
        Some(Self { x, w, q, p })
    }

    /// K̂(1).
    pub(super) fn value(&self, channel: &Channel) -> f64 {
        inner(channel.c.iter().copied(), &self.x)
    }

    /// Adds the gradients by way of K̂(1), whose gradient is `weight`. Δ has no effect on it.
    pub(super) fn add_gradients(&self, weight: f64, to: &mut Slopes) {
        let (twice, n) = (2.0 * weight, self.x.len());
        for k in 0..n {
            let (x, w) = (self.x[k], self.w[k]);
            to.c[k] += x.conj().scale(twice);
            to.b[k] += w.conj().scale(twice);
            to.lambda[k] += (w * x).conj().scale(twice);
            for i in 0..self.q.len() {
                to.p[i * n + k] += (w.scale(self.q[i]) + x.conj().scale(self.p[i])).conj().scale(-twice);
            }
        }
    }
}

/// The solution of Λ·x − P·q = −b with q = P*·x. `slow`: the slowest state.
fn half(channel: &Channel, slow: usize, p: &[Complex], b: &[Complex]) -> (Vec<Complex>, Vec<f64>) {
    let n = b.len();
    let rank = p.len() / n;
    let first: Vec<Complex> = (0..rank).map(|i| p[i * n + slow]).collect();
    let rate = channel.lambda[slow];
    // 2·Re Σ conj(P_i)·y/Λ over the other states.
    let sum = |i: usize, y: &[Complex]| {
        2.0 * (0..n).filter(|k| *k != slow).map(|k| (p[i * n + k].conj() * y[k] / channel.lambda[k]).re).sum::<f64>()
    };
    let size = first[0].square();
    let (q, x) = if rank == 1 && rate.abs() * channel.dt < TINY {
        // Without a part in q the state plays none.
        let q = if size > 0.0 { (first[0].conj() * b[slow]).re / size } else { -sum(0, b) / (1.0 - sum(0, p)) };
        let rest = q - (q * sum(0, p) - sum(0, b));
        (vec![q], if size > 0.0 { first[0].scale(rest / (2.0 * size)) } else { Complex::ZERO })
    } else {
        let wide = 2 + rank;
        let mut m = vec![0.0; wide * wide];
        (m[0], m[1], m[wide], m[wide + 1]) = (rate.re, -rate.im, rate.im, rate.re);
        let mut right = vec![-b[slow].re, -b[slow].im];
        for i in 0..rank {
            (m[2 + i], m[wide + 2 + i]) = (-first[i].re, -first[i].im);
            // q_i − 2·Re(conj(P_i0)·x_0) − Σ_j sum(P_j)·q_j = −sum(b).
            let line = &mut m[(2 + i) * wide..(3 + i) * wide];
            (line[0], line[1]) = (-2.0 * first[i].re, -2.0 * first[i].im);
            for j in 0..rank {
                line[2 + j] = if i == j { 1.0 } else { 0.0 } - sum(i, &p[j * n..(j + 1) * n]);
            }
            right.push(-sum(i, b));
        }
        // A singular system here is a resonance of C̃ itself: nothing of the state is seen.
        let found = solve(&m, &right, wide, 1).unwrap_or_else(|| vec![0.0; wide]);
        (found[2..].to_vec(), Complex::new(found[0], found[1]))
    };
    let other = |k: usize| {
        let low = (0..rank).fold(Complex::ZERO, |s, i| s + p[i * n + k].scale(q[i]));
        if k == slow { x } else { (low - b[k]) / channel.lambda[k] }
    };
    ((0..n).map(other).collect(), q)
}
