//! k-means as a model: a mixture of Gaussian spheres of one size, points assigned for certain.

use super::Dispersion;

/// The greatest likelihood of a partition under that model.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Spherical {
    /// The common variance of every coordinate, inertia / (n d).
    pub variance: f64,
    pub log_likelihood: f64,
    /// Free parameters: k − 1 weights, k d means, 1 variance.
    pub parameters: usize,
    /// p ln n − 2 log-likelihood.
    pub bic: f64,
    /// 2 p − 2 log-likelihood.
    pub aic: f64,
}

/// Likelihood, BIC and AIC of a k-means partition: ℓ = Σ_c n_c ln(n_c / n) − (n d / 2) (ln(2π σ²) + 1) with σ² = inertia / (n d).
/// `None` when the inertia is 0, where the likelihood has no bound.
///
/// Source: Pelleg & Moore 2000 (X-means), section 3.2; changed: σ² maximises the likelihood (there it is divided by n − k and taken once
/// for all coordinates). It is not comparable with the BIC of a Gaussian mixture, whose points are assigned in part.
pub fn spherical(dispersion: &Dispersion) -> Option<Spherical> {
    let (n, d, k) = (dispersion.n as f64, dispersion.d as f64, dispersion.sizes.len());
    let variance = dispersion.inertia() / (n * d);
    let ln = variance.ln();
    if !ln.is_finite() {
        return None;
    }
    let weights: f64 = dispersion.sizes.iter().map(|&s| s as f64 * (s as f64 / n).ln()).sum();
    let log_likelihood = weights - 0.5 * n * d * ((2.0 * std::f64::consts::PI).ln() + ln + 1.0);
    let parameters = k - 1 + k * dispersion.d + 1;
    let p = parameters as f64;
    Some(Spherical {
        variance,
        log_likelihood,
        parameters,
        bic: p * n.ln() - 2.0 * log_likelihood,
        aic: 2.0 * p - 2.0 * log_likelihood,
    })
}
