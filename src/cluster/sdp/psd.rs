//! The positive semidefinite part of a symmetric matrix that changes little from call to call.
//!
//! Near the solution of a clustering SDP the positive part has a rank not far above k. So after a complete decomposition the next
//! calls follow its leading eigenvectors: a Chebyshev filter of fixed degree, which damps the interval of the unwanted (negative)
//! eigenvalues (Zhou, Saad, Tiago & Chelikowsky 2006), then Rayleigh–Ritz in the filtered block. The block carries more vectors than
//! there are positive eigenvalues; should the spare ones turn positive, or the filter look at a wrong interval, the call falls back to
//! the complete decomposition, and the caller asks for one ([`PositivePart::refresh`]) before it trusts the result.
//!
//! Whatever the filter misses, the answer is a positive semidefinite matrix; in ADMM the missed part stays in the scaled multiplier,
//! grows there, and is found by a later call.

use super::dense::{self, cholesky, lower_solve, transpose, upper_solve};
use crate::cluster::ClusterError;
use crate::kernels::gemm::{MatMut, MatRef, matmul};

/// Order below which the complete decomposition is the faster one.
const SMALL: usize = 48;
/// Degree of the filter: products of the matrix with the block in a call, besides the one of Rayleigh–Ritz.
const DEGREE: usize = 4;
/// Calls between complete decompositions at first, and at most.
const PERIOD: (usize, usize) = (32, 256);
/// A pivot of the Gram matrix of unit vectors below which the filtered block counts as dependent.
const DEPENDENT: f64 = 1e-6;

/// How the positive part is given.
pub(super) enum Part {
    /// P = F Fᵀ.
    Positive,
    /// P = A + F Fᵀ, when the negative eigenvalues are the fewer.
    Negative,
}

/// Follows the positive part of a sequence of symmetric (n, n) matrices.
pub(super) struct PositivePart {
    n: usize,
    /// (n, rank), row after row: the factor of the last call.
    pub factor: Vec<f64>,
    pub rank: usize,
    pub part: Part,
    /// Whether the last call made a complete decomposition.
    pub complete: bool,
    /// (n, width), row after row: the block that is followed; empty before the first complete decomposition.
    block: Vec<f64>,
    width: usize,
    /// Smallest Ritz value of the block, and a bound from below of all eigenvalues.
    ritz: f64,
    lowest: f64,
    /// Calls since the last complete decomposition, and after how many to make the next.
    age: usize,
    period: usize,
    work: [Vec<f64>; 3],
}

impl PositivePart {
    pub fn new(n: usize) -> Self {
        Self {
            n,
            factor: Vec::new(),
            rank: 0,
            part: Part::Positive,
            complete: false,
            block: Vec::new(),
            width: 0,
            ritz: 0.0,
            lowest: 0.0,
            age: 0,
            period: PERIOD.0,
            work: Default::default(),
        }
    }

    /// Makes the next call decompose completely.
    pub fn refresh(&mut self) {
        self.width = 0;
    }

    /// Finds the positive part of `a`, (n, n); it is then in `factor`, `rank` and `part`.
    pub fn find(&mut self, a: &[f64]) -> Result<(), ClusterError> {
        if self.width > 0 && self.age < self.period && self.follow(a)? {
            self.age += 1;
            self.complete = false;
            return Ok(());
        }
        // Longer periods as long as nothing goes wrong between; a call that had to give up early starts over.
        self.period = if self.age >= self.period { (2 * self.period).min(PERIOD.1) } else { PERIOD.0 };
        self.complete(a)
    }

    fn complete(&mut self, a: &[f64]) -> Result<(), ClusterError> {
        let n = self.n;
        let eigen = dense::eigen(a, n)?;
        let negative = eigen.values.partition_point(|&v| v <= 0.0);
        let positive = n - negative;
        let (from, rank) = if positive <= negative { (negative, positive) } else { (0, negative) };
        self.part = if positive <= negative { Part::Positive } else { Part::Negative };
        self.rank = rank;
        self.factor.clear();
        self.factor.resize(n * rank, 0.0);
        for r in 0..rank {
            let size = eigen.values[from + r].abs().sqrt();
            let vector = &eigen.vectors[(from + r) * n..][..n];
            vector.iter().enumerate().for_each(|(i, v)| self.factor[i * rank + r] = size * v);
        }
        let width = positive + (positive / 2).max(6);
        self.age = 0;
        self.complete = true;
        if n >= SMALL && 4 * width <= n {
            self.width = width;
            self.block.clear();
            self.block.resize(n * width, 0.0);
            for c in 0..width {
                let vector = &eigen.vectors[(n - width + c) * n..][..n];
                vector.iter().enumerate().for_each(|(i, v)| self.block[i * width + c] = *v);
            }
            self.ritz = eigen.values[n - width];
            // Room for what the negative end may do until the next complete decomposition.
            self.lowest = 1.5 * eigen.values[0];
        } else {
            self.width = 0;
        }
        Ok(())
    }

    /// One filtered Rayleigh–Ritz step; false when it cannot be trusted.
    fn follow(&mut self, a: &[f64]) -> Result<bool, ClusterError> {
        let (n, p) = (self.n, self.width);
        let a = MatRef::new(a, n, n);
        let (low, high) = (self.lowest, self.ritz.min(0.0));
        if high <= low {
            return Ok(false);
        }
        let (centre, half) = (0.5 * (low + high), 0.5 * (high - low));
        let [old, now, next] = &mut self.work;
        // T_0 = block; T_1 = B T_0; T_{j+1} = 2 B T_j - T_{j-1}, with B = (A - centre) / half.
        old.clone_from(&self.block);
        now.resize(n * p, 0.0);
        next.resize(n * p, 0.0);
        matmul(a, MatRef::new(old, n, p), MatMut::new(now, n, p), false);
        now.iter_mut().zip(&*old).for_each(|(t, v)| *t = (*t - centre * v) / half);
        for _ in 1..DEGREE {
            matmul(a, MatRef::new(now, n, p), MatMut::new(next, n, p), false);
            for ((t, v), o) in next.iter_mut().zip(&*now).zip(&*old) {
                *t = 2.0 * (*t - centre * v) / half - o;
            }
            std::mem::swap(old, now);
            std::mem::swap(now, next);
        }
        // Unit columns, so that the Gram matrix is near the identity.
        let mut squares = vec![0.0; p];
        for row in now.chunks_exact(p) {
            squares.iter_mut().zip(row).for_each(|(s, v)| *s += v * v);
        }
        if squares.iter().any(|s| !s.is_finite() || *s <= 0.0) {
            return Ok(false);
        }
        squares.iter_mut().for_each(|s| *s = 1.0 / s.sqrt());
        for row in now.chunks_exact_mut(p) {
            row.iter_mut().zip(&squares).for_each(|(v, s)| *v *= s);
        }
        let v = MatRef::new(now, n, p);
        matmul(a, v, MatMut::new(old, n, p), false);
        let (mut gram, mut h) = (vec![0.0; p * p], vec![0.0; p * p]);
        matmul(v.t(), v, MatMut::new(&mut gram, p, p), false);
        matmul(v.t(), MatRef::new(old, n, p), MatMut::new(&mut h, p, p), false);
        if !cholesky(&mut gram, p, DEPENDENT) {
            return Ok(false);
        }
        // H <- L⁻¹ H L⁻ᵀ, made symmetric.
        lower_solve(&gram, &mut h, p);
        transpose(&mut h, p);
        lower_solve(&gram, &mut h, p);
        for i in 0..p {
            for j in 0..i {
                let mean = 0.5 * (h[i * p + j] + h[j * p + i]);
                (h[i * p + j], h[j * p + i]) = (mean, mean);
            }
        }
        let eigen = dense::eigen(&h, p)?;
        // Ritz vectors V L⁻ᵀ W; `vectors` holds Wᵀ row after row.
        let mut turned = eigen.vectors;
        transpose(&mut turned, p);
        upper_solve(&gram, &mut turned, p);
        matmul(v, MatRef::new(&turned, p, p), MatMut::new(&mut self.block, n, p), false);
        self.ritz = eigen.values[0];
        let spare = eigen.values.partition_point(|&v| v <= 0.0);
        // The spare vectors must be on the other side of zero, and above the interval's lower end.
        if spare < 2 || eigen.values[0] < 0.8 * low {
            return Ok(false);
        }
        let rank = p - spare;
        self.rank = rank;
        self.part = Part::Positive;
        self.factor.clear();
        for row in self.block.chunks_exact(p) {
            self.factor.extend(row[spare..].iter().zip(&eigen.values[spare..]).map(|(v, value)| v * value.sqrt()));
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A symmetric matrix with three positive eigenvalues of order one and a negative rest, turned a little by `angle`.
    fn matrix(n: usize, angle: f64) -> Vec<f64> {
        let mut a = vec![0.0; n * n];
        for c in 0..n {
            let value = if c < 3 { 1.0 - 0.2 * c as f64 } else { -0.05 - 0.3 * (c as f64 / n as f64) };
            let vector: Vec<f64> = (0..n)
                .map(|i| {
                    (2.0 / n as f64).sqrt()
                        * (std::f64::consts::PI * (i as f64 + 0.5 + angle) * (c as f64 + 0.5) / n as f64).cos()
                })
                .collect();
            for i in 0..n {
                for j in 0..n {
                    a[i * n + j] += value * vector[i] * vector[j];
                }
            }
        }
        a
    }

    fn product(part: &PositivePart, a: &[f64], n: usize) -> Vec<f64> {
        let (f, r) = (&part.factor, part.rank);
        (0..n * n)
            .map(|e| {
                let dot: f64 = (0..r).map(|c| f[e / n * r + c] * f[e % n * r + c]).sum();
                if matches!(part.part, Part::Positive) { dot } else { a[e] + dot }
            })
            .collect()
    }

    #[test]
    fn a_followed_part_comes_to_the_complete_one() {
        let n = 80;
        let (first, second) = (matrix(n, 0.0), matrix(n, 0.02));
        let mut followed = PositivePart::new(n);
        followed.find(&first).unwrap();
        assert!(followed.complete && followed.rank == 3);
        for _ in 0..12 {
            followed.find(&second).unwrap();
            assert!(!followed.complete);
        }
        let mut complete = PositivePart::new(n);
        complete.find(&second).unwrap();
        let (x, y) = (product(&followed, &second, n), product(&complete, &second, n));
        // The filter damps the rest by more than 0.5 a call relative to what it keeps: 12 calls of degree 4 leave rounding, about
        // n eps = 2e-14 for eigenvalues of order one.
        let apart = x.iter().zip(&y).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        assert!(apart < 1e-12, "{apart:e}");
    }

    #[test]
    fn many_positive_eigenvalues_are_given_by_the_negative_ones() {
        let n = 60;
        let a: Vec<f64> = matrix(n, 0.0).iter().map(|v| -v).collect();
        let mut part = PositivePart::new(n);
        part.find(&a).unwrap();
        assert!(matches!(part.part, Part::Negative) && part.rank == 3);
        let p = product(&part, &a, n);
        let values = dense::eigenvalues(&p, n).unwrap();
        // Three zeros, the others as they were; errors of rounding only.
        assert!(values[..3].iter().all(|v| v.abs() < 1e-13), "{:?}", &values[..3]);
        assert!((values[n - 1] - 0.345).abs() < 1e-12, "{}", values[n - 1]);
    }

    #[test]
    fn a_jump_is_noticed() {
        let n = 80;
        let mut part = PositivePart::new(n);
        part.find(&matrix(n, 0.0)).unwrap();
        // All eigenvalues but three change sign: the spare vectors cannot be told from the wanted ones.
        let a: Vec<f64> = matrix(n, 0.0).iter().map(|v| -v).collect();
        (0..8).for_each(|_| part.find(&a).unwrap());
        let p = product(&part, &a, n);
        let trace: f64 = (0..n).map(|i| p[i * n + i]).sum();
        let wanted: f64 = (3..n).map(|c| 0.05 + 0.3 * (c as f64 / n as f64)).sum();
        assert!((trace - wanted).abs() < 1e-9, "{trace} {wanted}");
    }
}
