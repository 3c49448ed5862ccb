//! The stationary start of an ARMA process: impulse response, autocovariances and the covariance of the state with the first
//! observation, with their derivatives.
//!
//! Everything is for innovations of variance 1. The state is Harvey's: `α_t[i] = Σ_{j>=i} (φ_{j+1} w_{t-1-(j-i)} + θ_j ε_{t-(j-i)})`
//! with `θ_0 = 1`, so that `w_t = α_t[0]` and `α_{t+1}[i] = α_t[i+1] + φ_{i+1} α_t[0] + θ_i ε_{t+1}`.

#![allow(clippy::needless_range_loop, reason = "index loops read as the formulas do")]

use super::polynomial::Layout;
use super::schur::dot;

/// Buffers for the start of one parameter point.
#[derive(Debug, Default)]
pub(super) struct Stationary {
    /// Impulse response ψ_0..ψ_q.
    pub(super) psi: Vec<f64>,
    /// Autocovariances γ_0..γ_p.
    pub(super) gamma: Vec<f64>,
    /// Cov(α_2[i], w_1), i < state.
    pub(super) cross: Vec<f64>,
    lu: Vec<f64>,
    pivot: Vec<usize>,
    rhs: Vec<f64>,
    psi_bar: Vec<f64>,
}

impl Stationary {
    /// Fills `psi`, `gamma` and `cross`; false where the AR part has no stationary solution in f64.
    ///
    /// Cost: O(p³/3) for the p + 1 equations `γ_k - Σ φ_i γ_|k-i| = Σ_{j>=k} θ_j ψ_{j-k}` (McLeod 1975), solved as they stand:
    /// with the MA part inside the right-hand side nothing cancels afterwards when AR and MA roots nearly do.
    pub(super) fn solve(&mut self, layout: &Layout, phi: &[f64], theta: &[f64]) -> bool {
        let (p, q, len) = (layout.phi_degree(), layout.theta_degree(), layout.state());
        self.psi.clear();
        self.psi.resize(q + 1, 0.0);
        self.psi[0] = 1.0;
        for j in 1..=q {
            let mut s = theta[j - 1];
            for &lag in &layout.phi_lags {
                if lag > j {
                    break;
                }
                s += phi[lag - 1] * self.psi[j - lag];
            }
            self.psi[j] = s;
        }
        self.gamma.clear();
        self.gamma.resize(p + 1, 0.0);
        for k in 0..=p.min(q) {
            let mut s = if k == 0 { self.psi[0] } else { theta[k - 1] };
            for &lag in &layout.theta_lags {
                if lag > k {
                    s += theta[lag - 1] * self.psi[lag - k];
                }
            }
            self.gamma[k] = s;
        }
        if p > 0 {
            let n = p + 1;
            self.lu.clear();
            self.lu.resize(n * n, 0.0);
            for k in 0..n {
                self.lu[k * n + k] += 1.0;
                for &lag in &layout.phi_lags {
                    self.lu[k * n + k.abs_diff(lag)] -= phi[lag - 1];
                }
            }
            if !factor(&mut self.lu, &mut self.pivot, n) {
                return false;
            }
            solve(&self.lu, &self.pivot, &mut self.gamma, n);
        }
        if !(self.gamma[0].is_finite() && self.gamma[0] >= 0.5) {
            return false;
        }
        self.cross.clear();
        self.cross.resize(len, 0.0);
        for &lag in &layout.phi_lags {
            for i in 0..lag {
                self.cross[i] += phi[lag - 1] * self.gamma[lag - 1 - i];
            }
        }
        for &lag in &layout.theta_lags {
            for i in 0..lag {
                self.cross[i] += theta[lag - 1] * self.psi[lag - 1 - i];
            }
        }
        true
    }

    /// Adds to `phi_bar`, `theta_bar` what derivatives by γ_0 and by `cross` (state) amount to. Call after [`Stationary::solve`].
    pub(super) fn pull_back(
        &mut self,
        layout: &Layout,
        phi: &[f64],
        theta: &[f64],
        (gamma0_bar, cross_bar): (f64, &[f64]),
        phi_bar: &mut [f64],
        theta_bar: &mut [f64],
    ) {
        let (p, q) = (layout.phi_degree(), layout.theta_degree());
        self.rhs.clear();
        self.rhs.resize(p + 1, 0.0);
        self.psi_bar.clear();
        self.psi_bar.resize(q + 1, 0.0);
        self.rhs[0] = gamma0_bar;
        for &lag in &layout.phi_lags {
            let mut s = 0.0;
            for i in 0..lag {
                let bar = cross_bar[i];
                s += bar * self.gamma[lag - 1 - i];
                self.rhs[lag - 1 - i] += bar * phi[lag - 1];
            }
            phi_bar[lag - 1] += s;
        }
        for &lag in &layout.theta_lags {
            let mut s = 0.0;
            for i in 0..lag {
                let bar = cross_bar[i];
                s += bar * self.psi[lag - 1 - i];
                self.psi_bar[lag - 1 - i] += bar * theta[lag - 1];
            }
            theta_bar[lag - 1] += s;
        }
        // λ = M'^{-1} γ_bar carries over to the right-hand side and, against γ, to the matrix.
        if p > 0 {
            let n = p + 1;
            solve_transposed(&self.lu, &self.pivot, &mut self.rhs, n);
            for &lag in &layout.phi_lags {
                let mut s = 0.0;
                for k in 0..n {
                    s += self.rhs[k] * self.gamma[k.abs_diff(lag)];
                }
                phi_bar[lag - 1] += s;
            }
        }
        for k in 0..=p.min(q) {
            let bar = self.rhs[k];
            if k == 0 {
                self.psi_bar[0] += bar;
            } else {
                theta_bar[k - 1] += bar;
            }
            for &lag in &layout.theta_lags {
                if lag > k {
                    theta_bar[lag - 1] += bar * self.psi[lag - k];
                    self.psi_bar[lag - k] += bar * theta[lag - 1];
                }
            }
        }
        for j in (1..=q).rev() {
            let bar = self.psi_bar[j];
            theta_bar[j - 1] += bar;
            for &lag in &layout.phi_lags {
                if lag > j {
                    break;
                }
                phi_bar[lag - 1] += bar * self.psi[j - lag];
                self.psi_bar[j - lag] += bar * phi[lag - 1];
            }
        }
    }
}

/// LU with partial pivoting of a row-major (n, n) matrix in place; false on a zero or non-finite pivot.
fn factor(a: &mut [f64], pivot: &mut Vec<usize>, n: usize) -> bool {
    pivot.clear();
    for k in 0..n {
        let mut best = k;
        for i in k + 1..n {
            if a[i * n + k].abs() > a[best * n + k].abs() {
                best = i;
            }
        }
        pivot.push(best);
        if best != k {
            let (top, bottom) = a.split_at_mut(best * n);
            top[k * n..(k + 1) * n].swap_with_slice(&mut bottom[..n]);
        }
        let (top, bottom) = a.split_at_mut((k + 1) * n);
        let row_k = &top[k * n..];
        if !(row_k[k].abs() > f64::MIN_POSITIVE && row_k[k].is_finite()) {
            return false;
        }
        let inverse = 1.0 / row_k[k];
        for i in 0..n - k - 1 {
            let row = &mut bottom[i * n..(i + 1) * n];
            if row[k] != 0.0 {
                let f = row[k] * inverse;
                row[k] = f;
                let (x, y) = (&mut row[k + 1..n], &row_k[k + 1..n]);
                for i in 0..y.len() {
                    x[i] -= f * y[i];
                }
            }
        }
    }
    true
}

fn solve(lu: &[f64], pivot: &[usize], b: &mut [f64], n: usize) {
    for (k, &other) in pivot.iter().enumerate() {
        b.swap(k, other);
    }
    for i in 1..n {
        let s = dot(&lu[i * n..i * n + i], &b[..i]);
        b[i] -= s;
    }
    for i in (0..n).rev() {
        let s = dot(&lu[i * n + i + 1..(i + 1) * n], &b[i + 1..n]);
        b[i] = (b[i] - s) / lu[i * n + i];
    }
}

fn solve_transposed(lu: &[f64], pivot: &[usize], b: &mut [f64], n: usize) {
    for i in 0..n {
        let x = b[i] / lu[i * n + i];
        b[i] = x;
        let (rest, row) = (&mut b[i + 1..n], &lu[i * n + i + 1..(i + 1) * n]);
        for j in 0..row.len() {
            rest[j] -= row[j] * x;
        }
    }
    for i in (1..n).rev() {
        let x = b[i];
        let (b, row) = (&mut b[..i], &lu[i * n..i * n + i]);
        for j in 0..i {
            b[j] -= row[j] * x;
        }
    }
    for (k, &other) in pivot.iter().enumerate().rev() {
        b.swap(k, other);
    }
}

#[cfg(test)]
mod tests {
    use super::super::order::Order;
    use super::*;

    #[test]
    fn lu_solves_both_ways() {
        let a = [0.0, 2.0, 1.0, 1.0, -1.0, 3.0, 4.0, 0.5, 0.0];
        let (mut lu, mut pivot) = (a.to_vec(), Vec::new());
        assert!(factor(&mut lu, &mut pivot, 3));
        let x = [1.0, -2.0, 0.5];
        let mut b: Vec<f64> = (0..3).map(|i| (0..3).map(|j| a[i * 3 + j] * x[j]).sum()).collect();
        solve(&lu, &pivot, &mut b, 3);
        let mut c: Vec<f64> = (0..3).map(|i| (0..3).map(|j| a[j * 3 + i] * x[j]).sum()).collect();
        solve_transposed(&lu, &pivot, &mut c, 3);
        assert!(b.iter().chain(&c).zip(x.iter().chain(&x)).all(|(b, x)| (b - x).abs() < 1e-14), "{b:?} {c:?}");
    }

    #[test]
    fn autocovariances_in_closed_form() {
        // ARMA(1,1): γ0 = (1 + 2φθ + θ²)/(1 - φ²), γ1 = (1 + φθ)(φ + θ)/(1 - φ²).
        let (phi, theta) = (0.7, -0.4);
        let layout = Layout::new(&Order { p: 1, q: 1, ..Order::default() });
        let mut s = Stationary::default();
        assert!(s.solve(&layout, &[phi], &[theta]));
        let scale = 1.0 / (1.0 - phi * phi);
        assert!((s.gamma[0] - (1.0 + 2.0 * phi * theta + theta * theta) * scale).abs() < 1e-14);
        assert!((s.gamma[1] - (1.0 + phi * theta) * (phi + theta) * scale).abs() < 1e-14);
        // Cov(α_2[0], w_1) is γ1.
        assert!((s.cross[0] - s.gamma[1]).abs() < 1e-14);
    }
}
