//! Lower bounds from approximate multipliers: valid at any iterate, converged or not.

use super::admm::{Admm, Problem};
use super::dense;
use crate::cluster::ClusterError;

/// A lower bound on ⟨C, Z⟩ over the Peng–Wei set (one block, trace k), from any N ≥ 0.
///
/// Z ≥ 0 gives ⟨C, Z⟩ ≥ ⟨G, Z⟩ with G = C − N. Z1 = 1 means Z = 11ᵀ/n + Z' with Z'1 = 0 and tr Z' = k − 1; a symmetric Z ≥ 0 with
/// unit row sums has no eigenvalue above 1, so 0 ⪯ Z' ⪯ I. By Ky Fan's theorem ⟨G, Z'⟩ is at least the sum of the k − 1 smallest
/// eigenvalues of G on the complement of 1, and the bound is 1ᵀG1/n plus that sum. It is never below the one of the specification,
/// which asks k times for the smallest eigenvalue ([`by_multipliers`]). What rounding may have done is taken off.
///
/// Cost: 4/3 n³.
pub(super) fn ky_fan(admm: &Admm, problem: &Problem) -> Result<f64, ClusterError> {
    let (n, k) = (problem.n, problem.trace as usize);
    let mut g: Vec<f64> = problem.costs[0].iter().enumerate().map(|(e, c)| c - admm.multiplier(0, e)).collect();
    let size = n as f64;
    let means: Vec<f64> = g.chunks(n).map(|row| row.iter().sum::<f64>() / size).collect();
    let mean = means.iter().sum::<f64>() / size;
    let norm = g.iter().map(|v| v * v).sum::<f64>().sqrt();
    // Out of the way of the smallest: the eigenvalue of the vector 1, zero after centring.
    let away = (norm + 1.0) / size;
    for (i, row) in g.chunks_mut(n).enumerate() {
        row.iter_mut().zip(&means).for_each(|(v, m)| *v += away + mean - (means[i] + m));
    }
    let values = dense::eigenvalues(&g, n)?;
    let smallest: f64 = values[..k - 1].iter().sum();
    Ok(mean * size + smallest - k as f64 * dense::eigenvalue_error(n, 2.0 * norm + 1.0))
}

/// The bound of the specification, for any number of blocks that share the row sums:
/// N = max(−ρU₂, 0), S = −ρU₁, R = C − N − S; a and b_b from the least-squares fit R_b ≈ a1ᵀ + 1aᵀ + b_b I; then
/// 2Σa + τ Σ_b (b_b + min(λ_min(C_b − N_b − a1ᵀ − 1aᵀ − b_b I), 0)), less what rounding may have done.
///
/// Cost: 4/3 n³ for each block.
pub(in crate::cluster) fn by_multipliers(admm: &Admm, problem: &Problem) -> Result<f64, ClusterError> {
    let (n, blocks) = (problem.n, problem.costs.len());
    let (size, count) = (n as f64, blocks as f64);
    let mut rows = vec![0.0; n];
    let mut traces = Vec::with_capacity(blocks);
    for (b, cost) in problem.costs.iter().enumerate() {
        let rest = |e: usize| cost[e] - admm.multiplier(b, e) - admm.slack(b, e);
        rows.iter_mut().enumerate().for_each(|(i, row)| *row += (i * n..(i + 1) * n).map(rest).sum::<f64>() / count);
        traces.push((0..n).map(|i| rest(i * n + i)).sum::<f64>());
    }
    let s = (rows.iter().sum::<f64>() - traces.iter().sum::<f64>() / count) / (2.0 * (size - 1.0));
    let diagonal: Vec<f64> = traces.iter().map(|t| (t - 2.0 * s) / size).collect();
    let common = s + diagonal.iter().sum::<f64>() / count;
    let a: Vec<f64> = rows.iter().map(|row| (row - common) / size).collect();
    let mut bound = 2.0 * a.iter().sum::<f64>();
    for (b, cost) in problem.costs.iter().enumerate() {
        let mut slack: Vec<f64> = (0..n * n).map(|e| cost[e] - admm.multiplier(b, e) - (a[e / n] + a[e % n])).collect();
        (0..n).for_each(|i| slack[i * n + i] -= diagonal[b]);
        let norm = slack.iter().map(|v| v * v).sum::<f64>().sqrt();
        let lowest = dense::eigenvalues(&slack, n)?[0];
        bound += problem.trace * (diagonal[b] + lowest.min(0.0) - dense::eigenvalue_error(n, norm));
    }
    Ok(bound)
}
