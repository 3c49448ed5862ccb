//! LA-SDP: the relaxation for groups of known covariances.

use crate::cluster::ClusterError;
use crate::cluster::sdp::admm::{Admm, Limits, Outcome, Problem};
use crate::cluster::sdp::{bound, half_distances};
use crate::run::observer::Observer;

use super::gaussian::Gaussian;

/// Iterates and the norm of the costs they belong to, kept from one covariance estimate to the next.
pub(super) struct Lifted {
    admm: Admm,
    /// Norm of the costs of the last run.
    scale: Option<f64>,
}

/// One relaxed solution.
pub(super) struct Solution {
    /// Σ_k ⟨W_k, Z_k⟩.
    pub objective: f64,
    /// A lower bound on it for every partition.
    pub bound: f64,
    /// (n, k): Z_k 1, clipped at zero, rows adding up to one.
    pub weights: Vec<f64>,
    pub outcome: Outcome,
}

/// ρ at first. Distances by narrow groups are large beside those that matter, so that costs of unit norm ask for a small one: on iris 200
/// iterations from 0.05 come closer than 400 from 1, where the residuals stay just balanced enough for ρ not to adapt.
const RHO: f64 = 0.05;

impl Lifted {
    /// Memory: six (n, n) arrays for each group.
    pub fn new(n: usize, blocks: usize) -> Self {
        let mut admm = Admm::new(n, blocks);
        admm.rho = RHO;
        Self { admm, scale: None }
    }

    /// min Σ_k ⟨W_k, Z_k⟩ with W_k = log|Σ_k| 11ᵀ + half squared Mahalanobis distances, over Z_k ⪰ 0, Z_k ≥ 0, tr Z_k = 1, (Σ_k Z_k) 1 = 1.
    /// Starts where the last call ended. Tied covariances have one block and trace k: the groups cannot be told apart there.
    ///
    /// Cost: see [`Admm::solve`], for each group; two bounds' worth of eigenvalues at the end.
    pub fn solve(
        &mut self,
        rows: &[f64],
        groups: &[Gaussian],
        tied: bool,
        limits: Limits,
        observer: &dyn Observer,
    ) -> Result<Solution, ClusterError> {
        let p = groups[0].mean.len();
        let (n, k) = (rows.len() / p, groups.len());
        // Adding one number to all costs adds n times it to the objective of every feasible point; without their mean the logarithms depend
        // on the shapes alone, not on the units of the data.
        let mean = groups.iter().map(|g| g.log_det).sum::<f64>() / k as f64;
        let used = if tied { &groups[..1] } else { groups };
        let mut costs: Vec<Vec<f64>> = used.iter().map(|group| half_distances(&group.whiten(rows), n, p)).collect();
        for (cost, group) in costs.iter_mut().zip(used) {
            let log = group.log_det - mean;
            cost.iter_mut().for_each(|v| *v += log);
        }
        let scale = costs.iter().flatten().map(|v| v * v).sum::<f64>().sqrt();
        if !(scale > 0.0 && scale.is_finite()) {
            return Err(ClusterError::Numbers(
                "all distances vanish or overflow; look for extreme values among the points".into(),
            ));
        }
        costs.iter_mut().flatten().for_each(|v| *v /= scale);
        let problem = Problem { n, costs: &costs, trace: if tied { k as f64 } else { 1.0 } };
        if let Some(old) = self.scale.replace(scale) {
            self.admm.scale_multipliers(old / scale);
        }
        let outcome = self.admm.solve(&problem, limits, observer)?;
        let constant = n as f64 * mean;
        let bound = scale * bound::by_multipliers(&self.admm, &problem)? + constant;
        let mut weights = vec![0.0; n * used.len()];
        for (g, block) in self.admm.blocks.iter().enumerate() {
            block
                .z
                .chunks_exact(n)
                .enumerate()
                .for_each(|(i, row)| weights[i * used.len() + g] = row.iter().sum::<f64>().max(0.0));
        }
        for row in weights.chunks_exact_mut(used.len()) {
            let sum: f64 = row.iter().sum();
            row.iter_mut().for_each(|w| *w /= sum);
        }
        let objective = scale * self.admm.objective(&problem) + constant;
        Ok(Solution { objective, bound, weights, outcome })
    }

    /// The k leading eigenvectors of Σ_k Z_k as rows (n, k).
    pub fn leading(&self, n: usize, k: usize) -> Result<Vec<f64>, ClusterError> {
        if let [block] = &self.admm.blocks[..] {
            return block.leading(n, k);
        }
        let mut sum = vec![0.0; n * n];
        self.admm.blocks.iter().for_each(|b| sum.iter_mut().zip(&b.z).for_each(|(s, z)| *s += z));
        let eigen = crate::cluster::sdp::dense::eigen(&sum, n)?;
        Ok((0..n * k).map(|e| eigen.vectors[(n - 1 - e % k) * n + e / k]).collect())
    }
}
