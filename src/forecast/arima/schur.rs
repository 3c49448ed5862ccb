//! The exact Gaussian likelihood of an ARMA process in O(n r) with its exact gradient: the workhorse of estimation.
//!
//! For a stationary start the increments of the state covariance have rank one, `P_{t+1} - P_t = -F_t w_t w_t'`, so that gain and
//! increment vector follow each other by hyperbolic rotations (Chandrasekhar equations: Morf, Sidhu & Kailath 1974; Pearlman 1980).
//! With `k_t = T P_t Z / F_t`, start `w_1 = k_1 = Cov(α_2, w_1)/γ_0`, and `κ_t = w_t[0]` (the partial autocorrelation of lag t):
//!
//! ```text
//! u = T w_t,   k_{t+1} = (k_t - κ u) / (1 - κ²),   w_{t+1} = (u - κ k_t) / (1 - κ²),   F_{t+1} = F_t (1 - κ²)
//! ```
//!
//! What we changed: the increment is normalised by F, which makes the rotation symmetric and F a product of reflection
//! coefficients; once every entry of w is below [`STEADY`], whose square is below rounding, the recursion stops and the
//! innovations follow from the difference equation over the non-zero lags only; the gradient is the reverse sweep of all this
//! (adjoint recursion), at three to four times the cost of a value whatever the number of parameters.

#![allow(clippy::needless_range_loop, reason = "index loops over slices of one length: see the note above rotate")]

use super::polynomial::Layout;
use super::stationary::Stationary;

/// Entries of w below this change gains and variances by less than 1e-17.
const STEADY: f64 = 1e-9;

/// A constant regressor enters through the values it takes: the same for all t.
#[derive(Debug, Clone, Copy)]
pub(super) struct Totals {
    /// Σ v²/F at the best constant.
    pub(super) sum_sq: f64,
    /// Σ ln F.
    pub(super) log_det: f64,
    /// Generalised least-squares estimate of the constant, 0 without one.
    pub(super) constant: f64,
}

/// Buffers reused over evaluations. Time-major: row t of `gains` is k_t, of `steps` w_t and then, once used, T w_t from entry 1.
#[derive(Debug, Default)]
pub(super) struct Schur {
    start: Stationary,
    pub(super) phi: Vec<f64>,
    pub(super) theta: Vec<f64>,
    gains: Vec<f64>,
    steps: Vec<f64>,
    kappa: Vec<f64>,
    variance: Vec<f64>,
    /// One-step predictions under way for series and constant: entry t collects what is known of w_t so far.
    ahead: Vec<f64>,
    ahead_one: Vec<f64>,
    error: Vec<f64>,
    error_one: Vec<f64>,
    /// Row at which the steady state begins, n if never.
    steady_from: usize,
    width: usize,
    // Adjoints.
    back: Vec<f64>,
    gain_bar: Vec<f64>,
    step_bar: Vec<f64>,
    step_bar_new: Vec<f64>,
    phi_bar: Vec<f64>,
    theta_bar: Vec<f64>,
    centred: Vec<f64>,
}

impl Schur {
    /// Σ v²/F and Σ ln F of `y` (n), after removing the best constant if `constant`; `None` where the arithmetic breaks down.
    pub(super) fn value(&mut self, layout: &Layout, coef: &[f64], y: &[f64], constant: bool) -> Option<Totals> {
        let (n, len) = (y.len(), layout.state());
        // A multiple of 4 keeps the inner loops free of remainders; the padding stays zero.
        let width = len.next_multiple_of(4);
        self.width = width;
        resize(&mut self.phi, width + 1);
        resize(&mut self.theta, width + 1);
        layout.expand(coef, &mut self.phi, &mut self.theta);
        if !self.start.solve(layout, &self.phi, &self.theta) {
            return None;
        }
        self.ahead.clear();
        self.ahead.resize(n + width, 0.0);
        self.ahead_one.clear();
        self.ahead_one.resize(if constant { n + width } else { 0 }, 0.0);
        resize(&mut self.error, n);
        resize(&mut self.error_one, if constant { n } else { 0 });
        resize(&mut self.kappa, n);
        resize(&mut self.variance, n);
        let log_det = self.gains_and_errors(layout, y, constant)?;
        self.steady_errors(layout, y, constant);
        let steady = self.steady_from;
        let variance = &self.variance[..steady];
        let weighted = |a: &[f64], b: &[f64]| -> f64 {
            let (first, second) = (&a[..steady], &b[..steady]);
            let mut early = 0.0;
            for t in 0..steady {
                early += first[t] * second[t] / variance[t];
            }
            early + dot(&a[steady..], &b[steady..])
        };
        let mut beta = 0.0;
        if constant {
            let (xy, xx) = (weighted(&self.error, &self.error_one), weighted(&self.error_one, &self.error_one));
            beta = if xx > 0.0 { xy / xx } else { 0.0 };
            for t in 0..n {
                self.error[t] -= beta * self.error_one[t];
            }
        }
        let sum_sq = weighted(&self.error, &self.error);
        (sum_sq.is_finite() && log_det.is_finite()).then_some(Totals { sum_sq, log_det, constant: beta })
    }

    /// Rows until the steady state: gains, variances and errors. Returns Σ ln F.
    fn gains_and_errors(&mut self, layout: &Layout, y: &[f64], constant: bool) -> Option<f64> {
        let (n, width) = (y.len(), self.width);
        let stride = width + 1;
        let gamma0 = self.start.gamma[0];
        self.gains.resize((n + 1) * width, 0.0);
        self.steps.resize((n + 1) * stride, 0.0);
        self.gains[..width].fill(0.0);
        self.steps[..stride].fill(0.0);
        for (i, c) in self.start.cross.iter().enumerate() {
            self.gains[i] = c / gamma0;
            self.steps[i] = c / gamma0;
        }
        let mut f = gamma0;
        let (mut log_det, mut product) = (0.0, 1.0f64);
        self.steady_from = n;
        for t in 0..n {
            if t % 4 == 0 && is_below(&self.steps[t * stride..t * stride + width], STEADY) {
                // F must have come down to 1 and the gain to φ + θ: otherwise rounding has got the better of it.
                if (f - 1.0).abs() > 1e-6 {
                    return None;
                }
                self.steady_from = t;
                break;
            }
            self.variance[t] = f;
            product *= f;
            if product > 1e200 {
                log_det += product.ln();
                product = 1.0;
            }
            let (now, later) = self.gains.split_at_mut((t + 1) * width);
            let (gain, gain_next) = (&now[t * width..], &mut later[..width]);
            advance(&mut self.ahead, &mut self.error, t, y[t], gain, &self.phi, &layout.phi_lags);
            if constant {
                advance(&mut self.ahead_one, &mut self.error_one, t, 1.0, gain, &self.phi, &layout.phi_lags);
            }
            let (now, later) = self.steps.split_at_mut((t + 1) * stride);
            let (step, step_next) = (&mut now[t * stride..], &mut later[..stride]);
            let kappa = step[0];
            self.kappa[t] = kappa;
            for &lag in &layout.phi_lags {
                step[lag] += self.phi[lag - 1] * kappa;
            }
            let shrink = 1.0 - kappa * kappa;
            if shrink.is_nan() || shrink <= 0.0 {
                return None;
            }
            rotate(gain_next, step_next, gain, &step[1..], (kappa, 1.0 / shrink));
            step_next[width] = 0.0;
            f *= shrink;
            // The variance of a one-step error is never below that of the noise.
            if f.is_nan() || f < 1.0 - 1e-6 {
                return None;
            }
        }
        Some(log_det + product.ln())
    }

    /// The errors from the steady state on, by the difference equation.
    fn steady_errors(&mut self, layout: &Layout, y: &[f64], constant: bool) {
        let (from, n) = (self.steady_from, y.len());
        if from == n {
            return;
        }
        let run = |known: &mut [f64], error: &mut [f64], value: &dyn Fn(usize) -> f64, phi: &[f64], theta: &[f64]| {
            for &lag in &layout.phi_lags {
                for t in from + lag..n {
                    known[t] += phi[lag - 1] * value(t - lag);
                }
            }
            for t in from..n {
                let mut e = value(t) - known[t];
                for &lag in &layout.theta_lags {
                    if t < from + lag {
                        break;
                    }
                    e -= theta[lag - 1] * error[t - lag];
                }
                error[t] = e;
            }
        };
        run(&mut self.ahead, &mut self.error, &|t| y[t], &self.phi, &self.theta);
        if constant {
            run(&mut self.ahead_one, &mut self.error_one, &|_| 1.0, &self.phi, &self.theta);
        }
    }

    /// Derivatives by coefficient of `a Σ v²/F + b Σ ln F` at the point and series of the last [`Schur::value`].
    ///
    /// The constant needs no term of its own: it minimises the sum of squares.
    pub(super) fn gradient(
        &mut self,
        layout: &Layout,
        coef: &[f64],
        (y, totals): (&[f64], Totals),
        (a, b): (f64, f64),
        coef_bar: &mut [f64],
    ) {
        let (n, width, from) = (y.len(), self.width, self.steady_from);
        let stride = width + 1;
        self.centred.clear();
        self.centred.extend(y.iter().map(|v| v - totals.constant));
        for (buffer, len) in [
            (&mut self.back, n + width),
            (&mut self.gain_bar, width),
            (&mut self.step_bar, stride),
            (&mut self.step_bar_new, stride),
            (&mut self.phi_bar, width + 1),
            (&mut self.theta_bar, width + 1),
        ] {
            buffer.clear();
            buffer.resize(len, 0.0);
        }
        self.steady_gradient(layout, n, a);
        let mut f_bar = 0.0;
        for t in (0..from).rev() {
            let (v, f, kappa) = (self.error[t], self.variance[t], self.kappa[t]);
            let lead = self.centred[t] - v;
            let gain = &self.gains[t * width..(t + 1) * width];
            let u = &self.steps[t * stride + 1..(t + 1) * stride];
            let ahead_bar = &self.back[t + 1..t + 1 + width];
            let [ku, kk, ag] = products(&self.gain_bar, &self.step_bar[..width], gain, u, ahead_bar);
            let shrink = 1.0 - kappa * kappa;
            let c = 1.0 / shrink;
            let mut error_bar = 2.0 * a * v / f + ag;
            let mut kappa_bar = -2.0 * kappa * f * f_bar - c * ku + 2.0 * kappa * c * c * (kk - kappa * ku);
            f_bar = (b - a * v * v / f) / f + f_bar * shrink;
            let u_bar = &mut self.step_bar_new[1..];
            rotate_back(u_bar, &mut self.gain_bar, &self.step_bar, ahead_bar, (kappa, c, v));
            for &lag in &layout.phi_lags {
                let phi = self.phi[lag - 1];
                error_bar -= phi * ahead_bar[lag - 1];
                self.phi_bar[lag - 1] += ahead_bar[lag - 1] * lead + u_bar[lag - 1] * kappa;
                kappa_bar += u_bar[lag - 1] * phi;
            }
            self.step_bar_new[0] = kappa_bar;
            self.step_bar_new[layout.state()..].fill(0.0);
            std::mem::swap(&mut self.step_bar, &mut self.step_bar_new);
            self.back[t] = -error_bar;
        }
        if from > 0 {
            let gamma0 = self.start.gamma[0];
            let mut gamma0_bar = f_bar;
            // k_1 = w_1 = cross / γ_0.
            for i in 0..layout.state() {
                let bar = (self.gain_bar[i] + self.step_bar[i]) / gamma0;
                gamma0_bar -= bar * self.gains[i];
                self.gain_bar[i] = bar;
            }
            self.start.pull_back(
                layout,
                &self.phi,
                &self.theta,
                (gamma0_bar, &self.gain_bar[..layout.state()]),
                &mut self.phi_bar,
                &mut self.theta_bar,
            );
        }
        layout.pull_back(coef, &self.phi_bar, &self.theta_bar, coef_bar);
    }

    /// Reverse of [`Schur::steady_errors`]: `back[t]` becomes minus the derivative by the error at t.
    fn steady_gradient(&mut self, layout: &Layout, n: usize, a: f64) {
        let from = self.steady_from;
        for t in (from..n).rev() {
            let mut bar = -2.0 * a * self.error[t];
            for &lag in &layout.theta_lags {
                if t + lag >= n {
                    break;
                }
                bar -= self.theta[lag - 1] * self.back[t + lag];
            }
            self.back[t] = bar;
        }
        for &lag in &layout.phi_lags {
            if from + lag < n {
                self.phi_bar[lag - 1] += dot(&self.back[from + lag..n], &self.centred[from..n - lag]);
            }
        }
        for &lag in &layout.theta_lags {
            if from + lag < n {
                self.theta_bar[lag - 1] += dot(&self.back[from + lag..n], &self.error[from..n - lag]);
            }
        }
    }

    /// Innovations (n), their variances (n) and the predicted state (state + 1) after the last [`Schur::value`] without a constant.
    pub(super) fn tail(&self, layout: &Layout, y: &[f64]) -> (Vec<f64>, Vec<f64>, Vec<f64>) {
        let (n, from) = (y.len(), self.steady_from);
        let mut variances = self.variance.clone();
        variances[from..].fill(1.0);
        let mut state = vec![0.0; layout.state() + 1];
        for (i, s) in state.iter_mut().take(layout.state()).enumerate() {
            *s = self.ahead[n + i];
            // In the steady state only what came before it has been added up.
            if from < n {
                let recent = |lags: &[usize], c: &[f64], series: &[f64]| -> f64 {
                    lags.iter().filter(|&&l| l > i && n + i >= l + from).map(|&l| c[l - 1] * series[n + i - l]).sum()
                };
                *s += recent(&layout.phi_lags, &self.phi, y) + recent(&layout.theta_lags, &self.theta, &self.error);
            }
        }
        (self.error.clone(), variances, state)
    }
}

/// The error at t and its part in later predictions: ahead[t+1+i] += gain[i] v + φ_{i+1} w_t.
#[inline]
fn advance(ahead: &mut [f64], error: &mut [f64], t: usize, value: f64, gain: &[f64], phi: &[f64], phi_lags: &[usize]) {
    // The state's first entry is the prediction, w_t - v its share that T carries on through φ.
    let lead = ahead[t];
    let v = value - lead;
    error[t] = v;
    let count = gain.len().min(ahead.len() - t - 1);
    let (later, gain) = (&mut ahead[t + 1..t + 1 + count], &gain[..count]);
    for i in 0..count {
        later[i] += gain[i] * v;
    }
    for &lag in phi_lags {
        if lag <= count {
            later[lag - 1] += phi[lag - 1] * lead;
        }
    }
}

// The loops below run over plain indices of slices cut to one length: they must vectorise even when the compiler splits the
// crate into many parts and does not inline iterator adapters across them.

/// k' = c (k - κ u), w' = c (u - κ k).
#[inline]
fn rotate(k_next: &mut [f64], w_next: &mut [f64], k: &[f64], u: &[f64], (kappa, c): (f64, f64)) {
    let n = k.len();
    let (k_next, w_next, u) = (&mut k_next[..n], &mut w_next[..n], &u[..n]);
    for i in 0..n {
        k_next[i] = c * (k[i] - kappa * u[i]);
        w_next[i] = c * (u[i] - kappa * k[i]);
    }
}

/// Reverse of [`rotate`] and of the gain's part in [`advance`].
#[inline]
fn rotate_back(u_bar: &mut [f64], k_bar: &mut [f64], w_bar: &[f64], ahead: &[f64], (kappa, c, v): (f64, f64, f64)) {
    let n = k_bar.len();
    let (u_bar, w_bar, ahead) = (&mut u_bar[..n], &w_bar[..n], &ahead[..n]);
    for i in 0..n {
        u_bar[i] = c * (w_bar[i] - kappa * k_bar[i]);
        k_bar[i] = ahead[i] * v + c * (k_bar[i] - kappa * w_bar[i]);
    }
}

/// Σ (k_bar u + w_bar k), Σ (k_bar k + w_bar u) and Σ ahead_bar k, in four lanes so that the loop vectorises; lengths a multiple of 4.
#[inline]
fn products(k_bar: &[f64], w_bar: &[f64], k: &[f64], u: &[f64], ahead: &[f64]) -> [f64; 3] {
    let (k_bar, w_bar) = (k_bar.as_chunks::<4>().0, w_bar.as_chunks::<4>().0);
    let n = k_bar.len();
    let (k, u, ahead) = (&k.as_chunks::<4>().0[..n], &u.as_chunks::<4>().0[..n], &ahead.as_chunks::<4>().0[..n]);
    let w_bar = &w_bar[..n];
    let (mut a, mut b, mut d) = ([0.0f64; 4], [0.0f64; 4], [0.0f64; 4]);
    for i in 0..n {
        // One accumulator a loop: together they get shuffled instead of packed.
        for j in 0..4 {
            a[j] += k_bar[i][j] * u[i][j];
        }
        for j in 0..4 {
            a[j] += w_bar[i][j] * k[i][j];
        }
        for j in 0..4 {
            b[j] += k_bar[i][j] * k[i][j];
        }
        for j in 0..4 {
            b[j] += w_bar[i][j] * u[i][j];
        }
        for j in 0..4 {
            d[j] += ahead[i][j] * k[i][j];
        }
    }
    let sum = |s: [f64; 4]| (s[0] + s[1]) + (s[2] + s[3]);
    [sum(a), sum(b), sum(d)]
}

/// Σ x y in four lanes.
#[inline]
pub(super) fn dot(x: &[f64], y: &[f64]) -> f64 {
    let n = x.len().min(y.len());
    let (x, y) = (&x[..n], &y[..n]);
    let (x4, y4) = (x.as_chunks::<4>().0, y.as_chunks::<4>().0);
    let mut s = [0.0f64; 4];
    for i in 0..x4.len() {
        for j in 0..4 {
            s[j] += x4[i][j] * y4[i][j];
        }
    }
    let mut rest = 0.0;
    for i in 4 * x4.len()..n {
        rest += x[i] * y[i];
    }
    (s[0] + s[1]) + (s[2] + s[3]) + rest
}

/// Whether every entry is smaller than `bound` in size.
#[inline]
fn is_below(x: &[f64], bound: f64) -> bool {
    // Most often the first entries decide.
    for i in 0..x.len() {
        if x[i].abs() >= bound {
            return false;
        }
    }
    true
}

fn resize(buffer: &mut Vec<f64>, len: usize) {
    buffer.resize(len, 0.0);
}

#[cfg(test)]
mod tests {
    use super::super::kalman;
    use super::super::order::Order;
    use super::*;

    fn series(n: usize) -> Vec<f64> {
        // A fixed linear congruential stream: rough enough to excite every lag.
        let mut s = 12345u64;
        (0..n)
            .map(|_| {
                s = s.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                (s >> 11) as f64 / (1u64 << 53) as f64 - 0.5
            })
            .collect()
    }

    fn cases() -> Vec<(&'static str, Vec<f64>)> {
        vec![
            ("0,0,0", vec![]),
            ("1,0,0", vec![0.9]),
            ("0,0,1", vec![-0.8]),
            ("0,0,1", vec![-1.0]),
            ("2,0,1", vec![1.2, -0.4, 0.5]),
            ("1,0,1", vec![0.999, -0.99]),
            ("0,0,1,0,0,1,12", vec![-0.4, -0.56]),
            ("0,0,1,0,0,1,12", vec![-0.4, -1.0]),
            ("1,0,0,1,0,0,12", vec![0.5, 0.8]),
            ("2,0,1,2,0,1,4", vec![0.9, -0.3, 0.4, 0.7, -0.2, -0.6]),
            ("3,0,2,1,0,2,12", vec![0.3, 0.2, -0.1, 0.5, 0.2, 0.85, -0.5, 0.3]),
            // Roots that nearly cancel.
            ("2,0,2", vec![1.5, -0.56, -1.5, 0.5625]),
        ]
    }

    #[test]
    fn equals_the_plain_kalman_filter() {
        for n in [3, 40, 150, 600] {
            let y = series(n);
            for (text, coef) in cases() {
                let layout = Layout::new(&text.parse::<Order>().unwrap());
                let slow = kalman::filter(&layout, &coef, &y).unwrap();
                let mut fast = Schur::default();
                let totals = fast.value(&layout, &coef, &y, false).unwrap();
                // Variances start near γ_0 <= 1e3 and come down to 1 by products: about 1e-16 * γ_0 a step.
                let tol = 1e-10 * (1.0 + n as f64 / 10.0);
                assert!((totals.sum_sq - slow.sum_sq()).abs() < tol * slow.sum_sq(), "{text} {n}");
                assert!((totals.log_det - slow.log_det()).abs() < tol, "{text} {n}");
                let (errors, variances, state) = fast.tail(&layout, &y);
                let close = |a: &[f64], b: &[f64]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-8);
                assert!(close(&errors, &slow.innovations) && close(&variances, &slow.variances), "{text} {n}");
                assert!(close(&state, &slow.state) && state.len() == slow.state.len(), "{text} {n}");
            }
        }
    }

    #[test]
    fn the_constant_is_generalised_least_squares() {
        let y: Vec<f64> = series(80).iter().map(|v| v + 3.0).collect();
        let layout = Layout::new(&"1,0,1".parse::<Order>().unwrap());
        let coef = [0.7, 0.3];
        let totals = Schur::default().value(&layout, &coef, &y, true).unwrap();
        let at = |c: f64| {
            let shifted: Vec<f64> = y.iter().map(|v| v - c).collect();
            kalman::filter(&layout, &coef, &shifted).unwrap().sum_sq()
        };
        assert!((at(totals.constant) - totals.sum_sq).abs() < 1e-10);
        assert!(at(totals.constant + 1e-3) > totals.sum_sq && at(totals.constant - 1e-3) > totals.sum_sq);
    }

    #[test]
    fn gradient_matches_central_differences() {
        for n in [30, 200] {
            let y: Vec<f64> = series(n).iter().map(|v| v + 0.2).collect();
            for (text, coef) in cases() {
                if coef.iter().any(|c| c.abs() >= 0.99) {
                    continue; // No room for a difference quotient beside the unit circle.
                }
                let layout = Layout::new(&text.parse::<Order>().unwrap());
                for constant in [false, true] {
                    let (a, b) = (1.7, 0.6);
                    let mut engine = Schur::default();
                    let totals = engine.value(&layout, &coef, &y, constant).unwrap();
                    let mut grad = vec![0.0; coef.len()];
                    engine.gradient(&layout, &coef, (&y, totals), (a, b), &mut grad);
                    for i in 0..coef.len() {
                        let mut at = |h: f64| {
                            let mut c = coef.clone();
                            c[i] += h;
                            let t = engine.value(&layout, &c, &y, constant).unwrap();
                            a * t.sum_sq + b * t.log_det
                        };
                        let slope = (at(1e-5) - at(-1e-5)) / 2e-5;
                        // h² times a third derivative that grows like the cube of the near-unit AR root's variance.
                        assert!(
                            (slope - grad[i]).abs() < 1e-5 * (1.0 + grad[i].abs()),
                            "{text} n={n} constant={constant} {i}: {slope} {}",
                            grad[i]
                        );
                    }
                }
            }
        }
    }
}
