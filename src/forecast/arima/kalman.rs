//! The plain Kalman filter of an ARMA process: the definition that the fast recursion is measured against, and what every
//! reported likelihood, residual and forecast comes from.
//!
//! Source: Harvey (1989), Forecasting, Structural Time Series Models and the Kalman Filter, 3.3; state as in `stationary.rs`.

use super::polynomial::Layout;
use super::stationary::Stationary;

/// What a pass over a series leaves behind; innovations have variance `variances[t] * σ²`.
#[derive(Debug, Clone)]
pub(super) struct Filtered {
    /// One-step errors, shape (n).
    pub(super) innovations: Vec<f64>,
    /// Their variances in units of σ², shape (n); 1 in the steady state.
    pub(super) variances: Vec<f64>,
    /// State after the last observation, predicted one step: shape (state).
    pub(super) state: Vec<f64>,
    /// Its covariance in units of σ², (state, state) row-major; `None` where it was not followed (very long states).
    pub(super) covariance: Option<Vec<f64>>,
}

impl Filtered {
    /// Σ v²/F.
    pub(super) fn sum_sq(&self) -> f64 {
        self.innovations.iter().zip(&self.variances).map(|(v, f)| v * v / f).sum()
    }

    /// Σ ln F.
    pub(super) fn log_det(&self) -> f64 {
        self.variances.iter().map(|f| f.ln()).sum()
    }

    /// Exact Gaussian log-likelihood with σ² at its maximum, Σ v²/F / n. Returns (loglik, σ²).
    pub(super) fn concentrated(&self) -> (f64, f64) {
        let n = self.innovations.len() as f64;
        let sigma2 = self.sum_sq() / n;
        (-0.5 * (n * ((2.0 * std::f64::consts::PI * sigma2).ln() + 1.0) + self.log_det()), sigma2)
    }
}

/// Runs the filter over `w` (n) from the stationary distribution. Cost O(n r²), r = max(p + mP, q + mQ) + 1.
///
/// `None` where the AR part is not stationary.
pub(super) fn filter(layout: &Layout, coef: &[f64], w: &[f64]) -> Option<Filtered> {
    let r = layout.state() + 1;
    let (mut phi, mut theta) = (vec![0.0; r], vec![0.0; r]);
    layout.expand(coef, &mut phi, &mut theta);
    let mut start = Stationary::default();
    if !start.solve(layout, &phi, &theta) {
        return None;
    }
    let noise: Vec<f64> = std::iter::once(1.0).chain(theta.iter().copied()).take(r).collect();
    let mut cov = initial_covariance(&phi, &noise, &start, r);
    let mut next = vec![0.0; r * r];
    let mut a = vec![0.0; r];
    let (mut innovations, mut variances) = (Vec::with_capacity(w.len()), Vec::with_capacity(w.len()));
    for &obs in w {
        let f = cov[0];
        if !(f.is_finite() && f > 0.0) {
            return None;
        }
        let v = obs - a[0];
        innovations.push(v);
        variances.push(f);
        // Update: a + P[:,0] v / F, P - P[:,0] P[:,0]' / F.
        let column: Vec<f64> = (0..r).map(|i| cov[i * r]).collect();
        for i in 0..r {
            a[i] += column[i] * v / f;
            let c = column[i] / f;
            for j in 0..r {
                cov[i * r + j] -= c * column[j];
            }
        }
        predict(&phi, &noise, &mut a, &cov, &mut next, r);
        std::mem::swap(&mut cov, &mut next);
    }
    Some(Filtered { innovations, variances, state: a, covariance: Some(cov) })
}

/// One time step: a <- T a, next <- T P T' + R R'.
fn predict(phi: &[f64], noise: &[f64], a: &mut [f64], cov: &[f64], next: &mut [f64], r: usize) {
    let lead = a[0];
    for i in 0..r {
        a[i] = phi[i] * lead + if i + 1 < r { a[i + 1] } else { 0.0 };
    }
    let at = |i: usize, j: usize| if i < r && j < r { cov[i * r + j] } else { 0.0 };
    for i in 0..r {
        for j in 0..r {
            next[i * r + j] = phi[i] * phi[j] * at(0, 0)
                + phi[i] * at(0, j + 1)
                + phi[j] * at(i + 1, 0)
                + at(i + 1, j + 1)
                + noise[i] * noise[j];
        }
    }
}

/// The solution of P = T P T' + R R'. Its first column follows from the autocovariances, the rest by the equation itself,
/// from the last row up.
fn initial_covariance(phi: &[f64], noise: &[f64], start: &Stationary, r: usize) -> Vec<f64> {
    let variance = start.gamma[0];
    // Cov(α_2[i], w_1) = φ_i γ_0 + P[i+1][0].
    let mut column = vec![variance; r];
    for i in 0..r - 1 {
        column[i + 1] = start.cross[i] - phi[i] * variance;
    }
    let mut cov = vec![0.0; r * r];
    for i in (0..r).rev() {
        for j in (0..r).rev() {
            let lead = |k: usize| if k < r { column[k] } else { 0.0 };
            let below = if i + 1 < r && j + 1 < r { cov[(i + 1) * r + j + 1] } else { 0.0 };
            cov[i * r + j] =
                phi[i] * phi[j] * variance + phi[i] * lead(j + 1) + phi[j] * lead(i + 1) + below + noise[i] * noise[j];
        }
    }
    cov
}

#[cfg(test)]
mod tests {
    use super::super::order::Order;
    use super::*;

    #[test]
    fn likelihood_is_the_density_of_a_gaussian_vector() {
        // Against the definition: Toeplitz covariance from the autocovariances of an ARMA(1,1), Cholesky, log density.
        let (phi, theta) = (0.6f64, 0.5f64);
        let w = [0.3, -1.2, 0.8, 2.0, -0.1, 0.4, -0.9];
        let n = w.len();
        let g0 = (1.0 + 2.0 * phi * theta + theta * theta) / (1.0 - phi * phi);
        let g1 = (1.0 + phi * theta) * (phi + theta) / (1.0 - phi * phi);
        let gamma = |k: usize| if k == 0 { g0 } else { g1 * phi.powi(k as i32 - 1) };
        let mut l = vec![vec![0.0; n]; n];
        for i in 0..n {
            for j in 0..=i {
                let s: f64 = (0..j).map(|k| l[i][k] * l[j][k]).sum();
                l[i][j] = if i == j { (gamma(0) - s).sqrt() } else { (gamma(i - j) - s) / l[j][j] };
            }
        }
        let mut z = vec![0.0; n];
        for i in 0..n {
            z[i] = (w[i] - (0..i).map(|k| l[i][k] * z[k]).sum::<f64>()) / l[i][i];
        }
        let f = filter(&Layout::new(&Order { p: 1, q: 1, ..Order::default() }), &[phi, theta], &w).unwrap();
        assert!((f.sum_sq() - z.iter().map(|z| z * z).sum::<f64>()).abs() < 1e-12);
        assert!((f.log_det() - 2.0 * (0..n).map(|i| l[i][i].ln()).sum::<f64>()).abs() < 1e-12);
    }

    #[test]
    fn initial_covariance_solves_its_equation() {
        let layout = Layout::new(&Order { p: 2, q: 1, seasonal_p: 1, seasonal_q: 2, season: 4, ..Order::default() });
        let coef = [0.9, -0.3, 0.4, 0.7, -0.6, 0.5];
        let r = layout.state() + 1;
        let (mut phi, mut theta) = (vec![0.0; r], vec![0.0; r]);
        layout.expand(&coef, &mut phi, &mut theta);
        let mut start = Stationary::default();
        assert!(start.solve(&layout, &phi, &theta));
        let noise: Vec<f64> = std::iter::once(1.0).chain(theta.iter().copied()).take(r).collect();
        let cov = initial_covariance(&phi, &noise, &start, r);
        let mut next = vec![0.0; r * r];
        predict(&phi, &noise, &mut vec![0.0; r], &cov, &mut next, r);
        // Entries near 10, a dozen operations each.
        assert!(cov.iter().zip(&next).all(|(a, b)| (a - b).abs() < 1e-11));
        assert!((cov[0] - start.gamma[0]).abs() < 1e-12);
    }
}
