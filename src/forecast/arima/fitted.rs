//! A fitted ARIMA model: forecasts, residuals, running on over new data, diagnostics.

use super::difference::{difference, integrate, recursion};
use super::estimate::{Model, Point, Series};
use super::kalman::{self, Filtered};
use super::order::Order;
use super::polynomial::Layout;
use super::schur::Schur;
use crate::forecast::model::{Diagnostics, FitError, Fitted, Prediction, Spread, check_series};

/// Longest state for which the plain filter, quadratic in it, is run; beyond, the fast recursion and steady-state variances.
const PLAIN_STATE: usize = 256;

/// An ARIMA model with estimated parameters, run over one series.
pub(super) struct ArimaFit {
    order: Order,
    layout: Layout,
    coef: Vec<f64>,
    /// Mean of the differenced series, in its own units; `None` for a model without a constant.
    constant: Option<f64>,
    sigma2: f64,
    /// Last d + mD observations.
    tail: Vec<f64>,
    state: Vec<f64>,
    covariance: Option<Vec<f64>>,
    residuals: Vec<f64>,
    diagnostics: Diagnostics,
}

impl ArimaFit {
    /// Turns an estimate into a fitted model: the plain Kalman filter at the estimate gives every reported number.
    ///
    /// # Errors
    /// [`FitError::Numerical`] where the filter breaks down or a number leaves the range of f64.
    pub(super) fn new(y: &[f64], order: Order, series: &Series, model: &Model, point: &Point) -> Result<Self, FitError> {
        let mut coef = vec![0.0; model.layout.count()];
        model.region.coefficients(&model.layout, &point.x, &mut coef);
        // The constant in scaled units, relative to the mean that was taken off.
        let shift = if model.constant {
            let totals = Schur::default().value(&model.layout, &coef, &series.centred, true).ok_or_else(breakdown)?;
            totals.constant
        } else {
            0.0
        };
        let w: Vec<f64> = series.of(model.constant).iter().map(|v| v - shift).collect();
        let filtered = run(&model.layout, &coef, &w).ok_or_else(breakdown)?;
        let n = series.len();
        let (scaled_loglik, scaled_sigma2) = filtered.concentrated();
        let sigma2 = scaled_sigma2 * series.scale * series.scale;
        let constant = model.constant.then_some((series.mean + shift) * series.scale);
        let exact = scaled_sigma2 <= series.floor;
        let mut diagnostics = Diagnostics {
            form: form(&order, model.constant),
            sigma2: Some(sigma2),
            params: parameters(&order, &coef, constant),
            converged: point.converged,
            ..Diagnostics::default()
        };
        if !exact {
            let loglik = scaled_loglik - n as f64 * series.scale.ln();
            diagnostics = diagnostics.with_loglik(loglik, model.parameters(), n);
        }
        let fit = Self::assemble(y, order, model.layout.clone(), coef, constant, sigma2, filtered, series.scale, diagnostics);
        fit.check()?;
        Ok(fit)
    }

    /// A model whose parameters are all known beforehand and that leaves nothing but rounding: a constant, a line, a fixed season.
    pub(super) fn exact(y: &[f64], order: Order, constant: Option<f64>) -> Result<Self, FitError> {
        let layout = Layout::new(&order);
        let coef = vec![0.0; layout.count()];
        let w: Vec<f64> = difference(y, &order).iter().map(|v| v - constant.unwrap_or(0.0)).collect();
        let filtered = run(&layout, &coef, &w).ok_or_else(breakdown)?;
        let diagnostics = Diagnostics {
            form: form(&order, constant.is_some()),
            sigma2: Some(0.0),
            params: parameters(&order, &coef, constant),
            converged: true,
            ..Diagnostics::default()
        };
        let fit = Self::assemble(y, order, layout, coef, constant, 0.0, filtered, 1.0, diagnostics);
        fit.check()?;
        Ok(fit)
    }

    #[expect(clippy::too_many_arguments, reason = "the one place where all parts of a fit meet")]
    fn assemble(
        y: &[f64],
        order: Order,
        layout: Layout,
        coef: Vec<f64>,
        constant: Option<f64>,
        sigma2: f64,
        filtered: Filtered,
        scale: f64,
        diagnostics: Diagnostics,
    ) -> Self {
        let lost = order.lost();
        let mut residuals = vec![f64::NAN; lost];
        residuals.extend(filtered.innovations.iter().map(|v| v * scale));
        Self {
            order,
            layout,
            coef,
            constant,
            sigma2,
            tail: y[y.len() - lost..].to_vec(),
            state: filtered.state.iter().map(|v| v * scale).collect(),
            covariance: filtered.covariance,
            residuals,
            diagnostics,
        }
    }

    /// Refuses fits whose numbers left the range of f64.
    fn check(&self) -> Result<(), FitError> {
        let d = &self.diagnostics;
        let numbers = [d.loglik, d.sigma2, self.constant].into_iter().flatten();
        let finite = numbers.chain(self.state.iter().copied()).all(f64::is_finite);
        if finite && self.residuals[self.order.lost()..].iter().all(|r| r.is_finite()) { Ok(()) } else { Err(breakdown()) }
    }
}

fn breakdown() -> FitError {
    FitError::Numerical("the ARIMA filter left the range of numbers; rescale the series or lower the orders".into())
}

fn run(layout: &Layout, coef: &[f64], w: &[f64]) -> Option<Filtered> {
    if layout.state() < PLAIN_STATE
        && let Some(filtered) = kalman::filter(layout, coef, w)
        && filtered.innovations.iter().chain(&filtered.variances).all(|v| v.is_finite())
    {
        return Some(filtered);
    }
    // Too long a state, or an AR part so near the unit circle that the covariance loses its sign.
    let mut fast = Schur::default();
    fast.value(layout, coef, w, false)?;
    let (innovations, variances, state) = fast.tail(layout, w);
    Some(Filtered { innovations, variances, state, covariance: None })
}

fn form(order: &Order, constant: bool) -> String {
    let suffix = match (constant, order.d + order.seasonal_d) {
        (false, _) => "",
        (true, 0) => " with mean",
        (true, _) => " with drift",
    };
    format!("{order}{suffix}")
}

fn parameters(order: &Order, coef: &[f64], constant: Option<f64>) -> Vec<(String, f64)> {
    let blocks = [("ar", order.p), ("ma", order.q), ("sar", order.seasonal_p), ("sma", order.seasonal_q)];
    let names = blocks.into_iter().flat_map(|(name, count)| (1..=count).map(move |i| format!("{name}{i}")));
    let mut out: Vec<(String, f64)> = names.zip(coef.iter().copied()).collect();
    if let Some(c) = constant {
        if order.d + order.seasonal_d == 0 {
            out.push(("mean".into(), c));
        } else {
            // Drift is growth per step; a seasonal difference spans a whole season of steps.
            out.push(("drift".into(), c / if order.seasonal_d > 0 { order.season as f64 } else { 1.0 }));
        }
    }
    out
}

impl Fitted for ArimaFit {
    fn predict(&self, h: usize) -> Prediction {
        let r = self.state.len();
        let (mut phi, mut theta) = (vec![0.0; r], vec![0.0; r]);
        self.layout.expand(&self.coef, &mut phi, &mut theta);
        let mut a = self.state.clone();
        let mut steps = Vec::with_capacity(h);
        for _ in 0..h {
            let lead = a[0];
            steps.push(lead + self.constant.unwrap_or(0.0));
            a.rotate_left(1);
            a[r - 1] = 0.0;
            for &lag in &self.layout.phi_lags {
                a[lag - 1] += phi[lag - 1] * lead;
            }
        }
        let mean = integrate(&self.tail, &steps, &self.order);
        let variance = self.unit_variances(h, &phi, &theta);
        let sd = variance.iter().map(|v| (v * self.sigma2).max(0.0).sqrt()).collect();
        Prediction { mean, spread: Spread::Normal(sd) }
    }

    fn residuals(&self) -> &[f64] {
        &self.residuals
    }

    fn apply(&self, y: &[f64]) -> Result<Box<dyn Fitted>, FitError> {
        check_series(y, self.order.lost() + 1)?;
        let constant = self.constant.unwrap_or(0.0);
        let w: Vec<f64> = difference(y, &self.order).iter().map(|v| v - constant).collect();
        let filtered = run(&self.layout, &self.coef, &w).ok_or_else(breakdown)?;
        let (layout, coef) = (self.layout.clone(), self.coef.clone());
        let fit =
            Self::assemble(y, self.order, layout, coef, self.constant, self.sigma2, filtered, 1.0, self.diagnostics.clone());
        fit.check()?;
        Ok(Box::new(fit))
    }

    fn diagnostics(&self) -> &Diagnostics {
        &self.diagnostics
    }
}

impl ArimaFit {
    /// Forecast variances on the scale of the data in units of σ², shape (h).
    ///
    /// The error h steps ahead is `ζ_h (state error) + Σ_{i<h-1} ψ_i ε` with ψ the weights of the integrated process and ζ_h the
    /// weights of the state on the sum of differenced forecasts; in the steady state the first part is ψ_{h-1}². Uncertainty of the
    /// parameters is not included, as usual.
    fn unit_variances(&self, h: usize, phi: &[f64], theta: &[f64]) -> Vec<f64> {
        let r = self.state.len();
        let delta = recursion(&self.order);
        // z: row Z T^{h-1}; weights: ζ_h for the past steps, needed back to lag d + mD.
        let mut z = vec![0.0; r];
        z[0] = 1.0;
        let mut weights: Vec<Vec<f64>> = Vec::new();
        let mut psi: Vec<f64> = Vec::with_capacity(h);
        let mut past = 0.0;
        let mut out = Vec::with_capacity(h);
        for step in 0..h {
            let arma_psi = z[0] + (1..r).map(|i| z[i] * theta[i - 1]).sum::<f64>();
            let back = |lag: usize| (lag <= step).then(|| step - lag);
            let p = arma_psi + delta.iter().filter_map(|&(lag, c)| back(lag).map(|s| c * psi[s])).sum::<f64>();
            psi.push(p);
            let now = match &self.covariance {
                None => p * p,
                Some(cov) => {
                    let mut zeta = z.clone();
                    for &(lag, c) in &delta {
                        if let Some(s) = back(lag) {
                            zeta.iter_mut().zip(&weights[s]).for_each(|(x, y)| *x += c * y);
                        }
                    }
                    let quadratic = (0..r)
                        .filter(|&i| zeta[i] != 0.0)
                        .map(|i| zeta[i] * cov[i * r..(i + 1) * r].iter().zip(&zeta).map(|(c, x)| c * x).sum::<f64>())
                        .sum();
                    weights.push(zeta);
                    quadratic
                }
            };
            out.push(now + past);
            past += p * p;
            // z <- z T: entry 0 collects z_i φ_{i+1}, the others move up by one.
            let lead = self.layout.phi_lags.iter().map(|&lag| z[lag - 1] * phi[lag - 1]).sum();
            z.rotate_right(1);
            z[0] = lead;
        }
        out
    }
}
