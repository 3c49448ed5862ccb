//! The recurrence of one channel in f64, step by step at a cost of O(pairs·rank).

use crate::kernels::scan::lti::complex::Complex;
use crate::kernels::scan::lti::dense::{power, solve};

/// The parameters of a channel.
#[derive(Debug, Clone)]
pub(super) struct Channel {
    pub(super) dt: f64,
    pub(super) lambda: Vec<Complex>,
    /// (rank, pairs).
    pub(super) p: Vec<Complex>,
    pub(super) b: Vec<Complex>,
    pub(super) c: Vec<Complex>,
}

/// 2·Re Σ a_n·b_n: a sum over pairs and their conjugates.
pub(super) fn inner(a: impl Iterator<Item = Complex>, b: &[Complex]) -> f64 {
    2.0 * a.zip(b).map(|(a, b)| a.re * b.re - a.im * b.im).sum::<f64>()
}

/// What one step needs.
#[derive(Debug, Clone)]
pub(super) struct Advance {
    /// 2/Δ + Λ and 1/(2/Δ − Λ).
    ahead: Vec<Complex>,
    back: Vec<Complex>,
    p: Vec<Complex>,
    twice_b: Vec<Complex>,
    /// (1 + P*·D·P)⁻¹, (rank, rank).
    small: Vec<f64>,
}

impl Advance {
    /// x' = Ā·x + B̄·u. With `row`, rows instead: c' = c·Ā, which has conj(P) for P.
    pub(super) fn new(channel: &Channel, row: bool) -> Self {
        let (n, two) = (channel.lambda.len(), Complex::real(2.0 / channel.dt));
        let p: Vec<Complex> = channel.p.iter().map(|p| if row { p.conj() } else { *p }).collect();
        let back: Vec<Complex> = channel.lambda.iter().map(|l| Complex::ONE / (two - *l)).collect();
        let rank = p.len() / n;
        let mut m = vec![0.0; rank * rank];
        for i in 0..rank {
            for j in 0..rank {
                let weighed: Vec<Complex> = back.iter().zip(&p[j * n..(j + 1) * n]).map(|(d, p)| *d * *p).collect();
                let one = if i == j { 1.0 } else { 0.0 };
                m[i * rank + j] = one + inner(p[i * n..(i + 1) * n].iter().map(|p| p.conj()), &weighed);
            }
        }
        // 1 + P*·D·P is regular for stable Λ: the real part of D is positive.
        let small = solve(&m, &crate::kernels::scan::lti::dense::diagonal(rank, 1.0), rank, rank)
            .unwrap_or_else(|| vec![0.0; rank * rank]);
        let ahead = channel.lambda.iter().map(|l| two + *l).collect();
        Self { ahead, back, p, twice_b: channel.b.iter().map(|b| b.scale(2.0)).collect(), small }
    }

    pub(super) fn step(&self, x: &mut [Complex], u: f64) {
        let n = x.len();
        let rank = self.p.len() / n;
        let mut low = [0.0; super::MOST_RANK];
        for (low, p) in low.iter_mut().zip(self.p.chunks(n)) {
            *low = inner(p.iter().map(|p| p.conj()), x);
        }
        for k in 0..n {
            let mut y = self.ahead[k] * x[k] + self.twice_b[k].scale(u);
            for i in 0..rank {
                y = y - self.p[i * n + k].scale(low[i]);
            }
            x[k] = y * self.back[k];
        }
        let mut sums = [0.0; super::MOST_RANK];
        for (sum, p) in sums.iter_mut().zip(self.p.chunks(n)) {
            *sum = inner(p.iter().map(|p| p.conj()), x);
        }
        for i in 0..rank {
            let v: f64 = (0..rank).map(|j| self.small[i * rank + j] * sums[j]).sum();
            for k in 0..n {
                x[k] = x[k] - (self.p[i * n + k] * self.back[k]).scale(v);
            }
        }
    }
}

impl Channel {
    /// C·Ā^`len`.
    pub(super) fn row_after(&self, len: usize) -> Vec<Complex> {
        let advance = Advance::new(self, true);
        let mut row = self.c.clone();
        (0..len).for_each(|_| advance.step(&mut row, 0.0));
        row
    }

    /// The row r with r·(1 − Ā^`len`) = C. `None` when there is none.
    pub(super) fn row_before(&self, len: usize) -> Option<Vec<Complex>> {
        let n = self.c.len();
        let advance = Advance::new(self, true);
        // The matrix that takes a row, as real numbers, to the next.
        let mut m = vec![0.0; 4 * n * n];
        for i in 0..2 * n {
            let mut x = vec![Complex::ZERO; n];
            x[i % n] = if i < n { Complex::ONE } else { Complex::new(0.0, 1.0) };
            advance.step(&mut x, 0.0);
            for (k, x) in x.iter().enumerate() {
                m[k * 2 * n + i] = x.re;
                m[(n + k) * 2 * n + i] = x.im;
            }
        }
        let mut left = power(&m, 2 * n, len);
        left.iter_mut().for_each(|x| *x = -*x);
        (0..2 * n).for_each(|i| left[i * 2 * n + i] += 1.0);
        let right = Complex::split(&self.c).concat();
        let x = solve(&left, &right, 2 * n, 1)?;
        Some((0..n).map(|k| Complex::new(x[k], x[n + k])).collect())
    }
}
