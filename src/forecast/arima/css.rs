//! Starting values: the conditional sum of squares with its gradient, and Hannan–Rissanen regression.
//!
//! The conditional sum of squares leaves out the first p + mP values and takes earlier errors as zero (Box & Jenkins 1970). At a
//! tenth of the cost of the likelihood it finds the right valley, and on long series it stands in for it during order selection.

use super::polynomial::Layout;
use super::schur::dot;

/// Buffers of the conditional sum of squares.
#[derive(Debug, Default)]
pub(super) struct Css {
    phi: Vec<f64>,
    theta: Vec<f64>,
    error: Vec<f64>,
    back: Vec<f64>,
    phi_bar: Vec<f64>,
    theta_bar: Vec<f64>,
}

impl Css {
    /// Mean squared conditional error of `w` (n) at `coef`, with its gradient; infinite where nothing is left to sum.
    pub(super) fn value_and_gradient(&mut self, layout: &Layout, coef: &[f64], w: &[f64], grad: &mut [f64]) -> f64 {
        let (n, from) = (w.len(), layout.phi_degree());
        if n <= from {
            return f64::INFINITY;
        }
        let len = layout.state();
        for buffer in [&mut self.phi, &mut self.theta, &mut self.phi_bar, &mut self.theta_bar] {
            buffer.clear();
            buffer.resize(len, 0.0);
        }
        layout.expand(coef, &mut self.phi, &mut self.theta);
        self.error.clear();
        self.error.extend_from_slice(w);
        self.error[..from].fill(0.0);
        for &lag in &layout.phi_lags {
            let c = self.phi[lag - 1];
            let (e, x) = (&mut self.error[from..], &w[from - lag..n - lag]);
            for i in 0..x.len() {
                e[i] -= c * x[i];
            }
        }
        for t in from..n {
            let mut e = self.error[t];
            for &lag in &layout.theta_lags {
                if lag + from > t {
                    break;
                }
                e -= self.theta[lag - 1] * self.error[t - lag];
            }
            self.error[t] = e;
        }
        let count = (n - from) as f64;
        let mean = dot(&self.error, &self.error) / count;
        self.back.clear();
        self.back.resize(n, 0.0);
        for t in (from..n).rev() {
            let mut b = -2.0 / count * self.error[t];
            for &lag in &layout.theta_lags {
                if t + lag >= n {
                    break;
                }
                b -= self.theta[lag - 1] * self.back[t + lag];
            }
            self.back[t] = b;
        }
        for &lag in &layout.phi_lags {
            self.phi_bar[lag - 1] = dot(&self.back[from..], &w[from - lag..]);
        }
        for &lag in &layout.theta_lags {
            if from + lag < n {
                self.theta_bar[lag - 1] = dot(&self.back[from + lag..], &self.error[from..]);
            }
        }
        layout.pull_back(coef, &self.phi_bar, &self.theta_bar, grad);
        mean
    }
}

/// Hannan–Rissanen (1982): errors of a long autoregression, then least squares of `w` on its own lags and the errors' lags.
///
/// Cross products of the seasonal polynomials are left out of the regression. `None` where the series is too short for it or the
/// regression is singular. Cost O(n (longest lag + c²)).
pub(super) fn hannan_rissanen(layout: &Layout, w: &[f64]) -> Option<Vec<f64>> {
    let n = w.len();
    let count = layout.count();
    let own = |p: usize, sp: usize| (1..=p).chain((1..=sp).map(|j| j * layout.m)).collect::<Vec<usize>>();
    let (ar, ma) = (own(layout.p, layout.sp), own(layout.q, layout.sq));
    let reach = layout.state();
    let long = (2 * reach.max(4)).min(n / 4);
    let from = long + layout.q.max(layout.m * layout.sq);
    if count == 0 || long == 0 || n < from.max(reach) + 2 * count + 2 {
        return None;
    }
    let error = long_autoregression(w, long);
    let from = from.max(reach);
    // Normal equations of the regression, columns in the order ar, sar, ma, sma.
    let columns = ar.len() + ma.len();
    let mut a = vec![0.0; columns * columns];
    let mut b = vec![0.0; columns];
    let mut row = vec![0.0; columns];
    for t in from..n {
        for (x, &lag) in row.iter_mut().zip(&ar) {
            *x = w[t - lag];
        }
        for (x, &lag) in row[ar.len()..].iter_mut().zip(&ma) {
            *x = error[t - lag];
        }
        for i in 0..columns {
            b[i] += row[i] * w[t];
            for j in 0..=i {
                a[i * columns + j] += row[i] * row[j];
            }
        }
    }
    cholesky_solve(&mut a, &mut b, columns)?;
    let (ar, ma) = b.split_at(ar.len());
    Some([&ar[..layout.p], &ma[..layout.q], &ar[layout.p..], &ma[layout.q..]].concat())
}

/// Residuals of an AR(`order`) fitted by Yule–Walker, zero before they are defined.
fn long_autoregression(w: &[f64], order: usize) -> Vec<f64> {
    let n = w.len();
    let acov: Vec<f64> = (0..=order).map(|k| dot(&w[k..], w)).collect();
    let mut a = vec![0.0; order];
    let mut variance = acov[0];
    for k in 0..order {
        if variance <= 1e-12 * acov[0] || acov[0] == 0.0 {
            break;
        }
        let r = (acov[k + 1] - (0..k).map(|j| a[j] * acov[k - j]).sum::<f64>()) / variance;
        let old = a[..k].to_vec();
        for j in 0..k {
            a[j] -= r * old[k - 1 - j];
        }
        a[k] = r;
        variance *= 1.0 - r * r;
    }
    let mut error = vec![0.0; n];
    for t in order..n {
        error[t] = w[t] - a.iter().enumerate().map(|(i, c)| c * w[t - 1 - i]).sum::<f64>();
    }
    error
}

/// Solves a x = b in place for a symmetric positive definite row-major `a` (lower part given).
fn cholesky_solve(a: &mut [f64], b: &mut [f64], n: usize) -> Option<()> {
    for i in 0..n {
        for j in 0..=i {
            let s = a[i * n + j] - (0..j).map(|k| a[i * n + k] * a[j * n + k]).sum::<f64>();
            if i == j {
                if s.is_nan() || s <= 1e-12 * a[i * n + i].abs() {
                    return None;
                }
                a[i * n + i] = s.sqrt();
            } else {
                a[i * n + j] = s / a[j * n + j];
            }
        }
    }
    for i in 0..n {
        b[i] = (b[i] - (0..i).map(|k| a[i * n + k] * b[k]).sum::<f64>()) / a[i * n + i];
    }
    for i in (0..n).rev() {
        b[i] = (b[i] - (i + 1..n).map(|k| a[k * n + i] * b[k]).sum::<f64>()) / a[i * n + i];
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::super::order::Order;
    use super::*;

    fn noise(n: usize) -> Vec<f64> {
        let mut s = 99u64;
        let mut uniform = move || {
            s = s.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (s >> 11) as f64 / (1u64 << 53) as f64 - 0.5
        };
        (0..n).map(|_| (0..6).map(|_| uniform()).sum()).collect()
    }

    #[test]
    fn gradient_matches_central_differences() {
        let layout = Layout::new(&"2,0,1,1,0,1,4".parse::<Order>().unwrap());
        let coef = [0.5, -0.3, 0.4, 0.6, -0.5];
        let w = noise(60);
        let mut css = Css::default();
        let mut grad = [0.0; 5];
        css.value_and_gradient(&layout, &coef, &w, &mut grad);
        for i in 0..5 {
            let mut at = |h: f64| {
                let mut c = coef;
                c[i] += h;
                css.value_and_gradient(&layout, &c, &w, &mut [0.0; 5])
            };
            let slope = (at(1e-6) - at(-1e-6)) / 2e-6;
            assert!((slope - grad[i]).abs() < 1e-8, "{i}: {slope} {}", grad[i]);
        }
    }

    #[test]
    fn true_errors_are_found_at_the_true_parameters() {
        // Pure AR: the conditional errors are the innovations exactly.
        let e = noise(50);
        let mut w = vec![0.0; 50];
        for t in 0..50 {
            w[t] = e[t] + if t > 0 { 0.7 * w[t - 1] } else { 0.0 };
        }
        let layout = Layout::new(&"1,0,0".parse::<Order>().unwrap());
        let mut grad = [0.0];
        let mean = Css::default().value_and_gradient(&layout, &[0.7], &w, &mut grad);
        let truth = e[1..].iter().map(|e| e * e).sum::<f64>() / 49.0;
        assert!((mean - truth).abs() < 1e-13);
    }

    #[test]
    fn hannan_rissanen_comes_near_the_truth() {
        let e = noise(4000);
        let mut w = vec![0.0; 4000];
        for t in 0..4000 {
            let back = |v: &[f64], lag: usize| if t >= lag { v[t - lag] } else { 0.0 };
            w[t] = 0.6 * back(&w, 1) + e[t] + 0.4 * back(&e, 1) + 0.5 * back(&e, 4) + 0.2 * back(&e, 5);
        }
        let layout = Layout::new(&"1,0,1,0,0,1,4".parse::<Order>().unwrap());
        let coef = hannan_rissanen(&layout, &w).unwrap();
        // Standard errors near 1/sqrt(4000) = 0.016, plus the neglected product term's part.
        for (c, truth) in coef.iter().zip([0.6, 0.4, 0.5]) {
            assert!((c - truth).abs() < 0.12, "{coef:?}");
        }
        assert!(hannan_rissanen(&layout, &w[..12]).is_none());
        assert!(hannan_rissanen(&layout, &[0.0; 200]).is_none());
    }
}
