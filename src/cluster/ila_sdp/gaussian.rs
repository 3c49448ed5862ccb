//! Gaussian groups: estimates, densities, and the hard likelihood of a partition.

use rayon::prelude::*;

use crate::cluster::ClusterError;
use crate::cluster::sdp::dense::{cholesky, lower_solve};

use super::Covariance;

/// Rows of a piece when labels are found on several threads.
const PIECE: usize = 1024;

/// A normal distribution N(m, Σ).
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Gaussian {
    /// (p).
    pub mean: Vec<f64>,
    /// (p, p).
    pub covariance: Vec<f64>,
    /// L of Σ = L Lᵀ, (p, p), zero above the diagonal.
    factor: Vec<f64>,
    pub log_det: f64,
}

impl Gaussian {
    /// Errors: a covariance that is not positive definite.
    pub fn new(mean: Vec<f64>, covariance: Vec<f64>) -> Result<Self, ClusterError> {
        let p = mean.len();
        let mut factor = covariance.clone();
        if !cholesky(&mut factor, p, f64::MIN_POSITIVE) {
            return Err(ClusterError::Numbers(
                "a covariance matrix is not positive definite; raise the ridge, take diag or tied covariances, or fewer columns"
                    .into(),
            ));
        }
        for i in 0..p {
            factor[i * p + i + 1..(i + 1) * p].fill(0.0);
        }
        let log_det = 2.0 * (0..p).map(|i| factor[i * p + i].ln()).sum::<f64>();
        Ok(Self { mean, covariance, factor, log_det })
    }

    /// log|Σ| + (x − m)ᵀ Σ⁻¹ (x − m): −2 log density without its constant.
    pub fn cost(&self, x: &[f64], work: &mut Vec<f64>) -> f64 {
        let p = x.len();
        work.clear();
        let mut sum = self.log_det;
        for (i, (x, mean)) in x.iter().zip(&self.mean).enumerate() {
            let row = &self.factor[i * p..][..=i];
            let known: f64 = row[..i].iter().zip(&*work).map(|(l, u)| l * u).sum();
            let u = (x - mean - known) / row[i];
            work.push(u);
            sum += u * u;
        }
        sum
    }

    /// L⁻¹ x for every row of (n, p): half squared distances between these rows are half squared Mahalanobis distances.
    pub fn whiten(&self, rows: &[f64]) -> Vec<f64> {
        let p = self.mean.len();
        let n = rows.len() / p;
        let mut columns: Vec<f64> = (0..n * p).map(|e| rows[e % n * p + e / n]).collect();
        lower_solve(&self.factor, &mut columns, p);
        (0..n * p).map(|e| columns[e % p * n + e / p]).collect()
    }
}

/// The group of highest density for each row (n, p), the first of equals.
pub(super) fn densest(rows: &[f64], groups: &[Gaussian]) -> Vec<i32> {
    let p = groups[0].mean.len();
    let of = |row: &[f64], work: &mut Vec<f64>| {
        let (mut at, mut least) = (0, f64::INFINITY);
        for (g, group) in groups.iter().enumerate() {
            let cost = group.cost(row, work);
            if cost < least {
                (at, least) = (g as i32, cost);
            }
        }
        at
    };
    let piece = |rows: &[f64]| -> Vec<i32> {
        let mut work = Vec::with_capacity(p);
        rows.chunks_exact(p).map(|row| of(row, &mut work)).collect()
    };
    rows.par_chunks(PIECE * p).map(piece).collect::<Vec<_>>().concat()
}

/// What an estimate adds to the diagonal, and when a group is too light to have a covariance of its own.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rule {
    pub covariance: Covariance,
    pub ridge: f64,
}

impl Rule {
    /// The least weight of a group with its own covariance: p + 1, 2 for a diagonal, none where it is tied.
    pub fn least(self, p: usize) -> f64 {
        match self.covariance {
            Covariance::Full => (p + 1) as f64,
            Covariance::Diag => 2.0,
            Covariance::Tied => 0.0,
        }
    }

    /// Weighted maximum-likelihood estimates from weights (n, k), plus the ridge. Groups lighter than [`Rule::least`] take the covariance of
    /// all groups pooled; how many did is returned. Errors: a group without any weight, numbers that overflow.
    pub fn fit(self, rows: &[f64], weights: &[f64], k: usize) -> Result<(Vec<Gaussian>, usize), ClusterError> {
        let n = weights.len() / k;
        let p = rows.len() / n;
        let (mut means, mut spreads, mut totals) = (vec![0.0; k * p], vec![0.0; k * p * p], vec![0.0; k]);
        for (row, w) in rows.chunks_exact(p).zip(weights.chunks_exact(k)) {
            for (g, w) in w.iter().enumerate().filter(|w| *w.1 > 0.0) {
                totals[g] += w;
                means[g * p..][..p].iter_mut().zip(row).for_each(|(m, x)| *m += w * x);
            }
        }
        if let Some(g) = totals.iter().position(|&t| t <= 0.0) {
            return Err(ClusterError::Numbers(format!(
                "group {g} of {k} lost all its points; lower k, or take diag or tied covariances"
            )));
        }
        means.chunks_exact_mut(p).zip(&totals).for_each(|(m, t)| m.iter_mut().for_each(|m| *m /= t));
        let mut off = vec![0.0; p];
        for (row, w) in rows.chunks_exact(p).zip(weights.chunks_exact(k)) {
            for (g, w) in w.iter().enumerate().filter(|w| *w.1 > 0.0) {
                off.iter_mut().zip(row).zip(&means[g * p..]).for_each(|((o, x), m)| *o = x - m);
                for i in 0..p {
                    let scaled = w * off[i];
                    spreads[(g * p + i) * p..][..p].iter_mut().zip(&off).for_each(|(s, o)| *s += scaled * o);
                }
            }
        }
        let all: f64 = totals.iter().sum();
        let pooled: Vec<f64> = (0..p * p).map(|e| (0..k).map(|g| spreads[g * p * p + e]).sum::<f64>() / all).collect();
        let mut light = 0;
        let groups = (0..k).map(|g| {
            let own = self.covariance != Covariance::Tied && totals[g] >= self.least(p);
            light += usize::from(!own && self.covariance != Covariance::Tied);
            let mut covariance: Vec<f64> =
                if own { spreads[g * p * p..][..p * p].iter().map(|s| s / totals[g]).collect() } else { pooled.clone() };
            if self.covariance == Covariance::Diag {
                (0..p * p).filter(|e| e / p != e % p).for_each(|e| covariance[e] = 0.0);
            }
            (0..p).for_each(|i| covariance[i * p + i] += self.ridge);
            Gaussian::new(means[g * p..][..p].to_vec(), covariance)
        });
        let groups = groups.collect::<Result<Vec<_>, _>>()?;
        Ok((groups, light))
    }

    /// Σ_k [ |G_k| log|Σ_k| + Σ_{i∈G_k} (x_i − m_k)ᵀ Σ_k⁻¹ (x_i − m_k) ] at the partition's own estimates, with these; `None` when a group is
    /// empty or too small for its covariance (the likelihood is not bounded there).
    pub fn hard(self, rows: &[f64], labels: &[i32], k: usize) -> Result<Option<(f64, Vec<Gaussian>)>, ClusterError> {
        let p = rows.len() / labels.len();
        let mut sizes = vec![0.0; k];
        labels.iter().for_each(|&l| sizes[l as usize] += 1.0);
        if sizes.iter().any(|&s| s < self.least(p).max(1.0)) {
            return Ok(None);
        }
        let (groups, _) = self.fit(rows, &one_hot(labels, k), k)?;
        let mut work = Vec::with_capacity(p);
        let value = rows.chunks_exact(p).zip(labels).map(|(row, &l)| groups[l as usize].cost(row, &mut work)).sum();
        Ok(Some((value, groups)))
    }
}

/// Labels in 0..k as weights (n, k).
pub(super) fn one_hot(labels: &[i32], k: usize) -> Vec<f64> {
    let mut weights = vec![0.0; labels.len() * k];
    labels.iter().enumerate().for_each(|(i, &l)| weights[i * k + l as usize] = 1.0);
    weights
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn costs_are_log_determinant_and_mahalanobis_distance() {
        // Σ = [[2, 1], [1, 2]]: |Σ| = 3, Σ⁻¹ = [[2, −1], [−1, 2]]/3; x − m = (1, 2): (2 − 4 + 8)/3 = 2.
        let group = Gaussian::new(vec![1.0, -1.0], vec![2.0, 1.0, 1.0, 2.0]).unwrap();
        let cost = group.cost(&[2.0, 1.0], &mut Vec::new());
        assert!((cost - (3f64.ln() + 2.0)).abs() < 1e-15, "{cost}");
        let white = group.whiten(&[1.0, 2.0, 0.0, 0.0]);
        let square: f64 = (0..2).map(|i| (white[i] - white[2 + i]).powi(2)).sum();
        assert!((square - 2.0).abs() < 1e-15, "{square}");
        assert!(Gaussian::new(vec![0.0; 2], vec![1.0, 2.0, 2.0, 1.0]).is_err());
    }

    #[test]
    fn light_groups_take_the_pooled_covariance() {
        let rows = [0.0, 0.0, 2.0, 0.0, 0.0, 2.0, 2.0, 2.0, 9.0, 9.0];
        let rule = Rule { covariance: Covariance::Full, ridge: 0.0 };
        let labels = [0, 0, 0, 0, 1];
        assert!(rule.hard(&rows, &labels, 2).unwrap().is_none());
        let (groups, light) = rule.fit(&rows, &one_hot(&labels, 2), 2).unwrap();
        assert_eq!(light, 1);
        assert_eq!(groups[0].covariance, [1.0, 0.0, 0.0, 1.0]);
        assert_eq!(groups[1].covariance, [0.8, 0.0, 0.0, 0.8]);
        assert_eq!(groups[1].mean, [9.0, 9.0]);
    }
}
