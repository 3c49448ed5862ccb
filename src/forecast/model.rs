//! What every per-series model gives and takes: [`Fitted`], [`Prediction`], [`Diagnostics`] and [`FitError`].

use serde::Serialize;

/// Why a model cannot be fitted to a series. The caller decides between a fallback and an error.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum FitError {
    /// The series has fewer observations than the model has degrees of freedom.
    #[error("needs at least {need} observations, found {got}")]
    TooShort { need: usize, got: usize },
    /// A multiplicative model met a zero or a negative value.
    #[error("needs positive data, found {value} at observation {index}")]
    NonPositive { index: usize, value: f64 },
    /// A value is missing (NaN) or infinite. `index` counts from 1.
    #[error("needs a number everywhere, found {value} at observation {index}")]
    NonFinite { index: usize, value: f64 },
    /// The season length does not suit the series.
    #[error("season length {season} does not work here: {why}")]
    Season { season: usize, why: String },
    /// The model description itself is impossible.
    #[error("{0}")]
    Spec(String),
    /// The optimiser or a factorisation failed.
    #[error("the fit failed: {0}")]
    Numerical(String),
}

/// A point forecast with what is known about its spread.
#[derive(Debug, Clone)]
pub struct Prediction {
    /// Mean for steps 1..=h, shape (h).
    pub mean: Vec<f64>,
    /// The forecast distribution around the mean.
    pub spread: Spread,
}

/// The forecast distribution of a model.
#[derive(Debug, Clone)]
pub enum Spread {
    /// The model defines none (Croston's family, global linear models): use conformal intervals.
    None,
    /// Normal with these standard deviations, shape (h).
    Normal(Vec<f64>),
}

impl Prediction {
    /// The `p` quantile (0 < p < 1) at every step, or `None` where the model defines no spread. Shape (h).
    pub fn quantile(&self, p: f64) -> Option<Vec<f64>> {
        match &self.spread {
            Spread::None => None,
            Spread::Normal(sd) => {
                let z = normal_quantile(p);
                Some(self.mean.iter().zip(sd).map(|(m, s)| m + z * s).collect())
            }
        }
    }
}

/// The standard normal quantile function.
pub fn normal_quantile(p: f64) -> f64 {
    use statrs::distribution::{ContinuousCDF, Normal};
    Normal::standard().inverse_cdf(p)
}

/// What a fit tells about itself. Fields that do not apply are `None`.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Diagnostics {
    /// The model chosen, in the field's notation: `ETS(M,A,M)`, `ARIMA(0,1,1)(0,1,1)[12]`.
    pub form: String,
    /// Log-likelihood at the estimate (ETS: without the constant, as in R).
    pub loglik: Option<f64>,
    /// Akaike's criterion.
    pub aic: Option<f64>,
    /// Akaike's criterion corrected for small samples; infinite when n - k - 1 <= 0.
    pub aicc: Option<f64>,
    /// Schwarz's criterion.
    pub bic: Option<f64>,
    /// Variance of the one-step errors (relative errors for multiplicative-error ETS).
    pub sigma2: Option<f64>,
    /// Estimated parameters with the field's names, in a fixed order.
    pub params: Vec<(String, f64)>,
    /// Whether the optimiser met its stopping test.
    pub converged: bool,
}

impl Diagnostics {
    /// Fills the criteria from a log-likelihood, `k` parameters (variance included) and `n` observations.
    pub fn with_loglik(mut self, loglik: f64, k: usize, n: usize) -> Self {
        let (k, n) = (k as f64, n as f64);
        let aic = -2.0 * loglik + 2.0 * k;
        self.loglik = Some(loglik);
        self.aic = Some(aic);
        self.aicc = Some(if n - k - 1.0 > 0.0 { aic + 2.0 * k * (k + 1.0) / (n - k - 1.0) } else { f64::INFINITY });
        self.bic = Some(-2.0 * loglik + k * n.ln());
        self
    }
}

/// A model fitted to one series.
pub trait Fitted: Send + Sync {
    /// Forecasts steps 1..=h after the last observation.
    fn predict(&self, h: usize) -> Prediction;

    /// One-step-ahead in-sample residuals y_t - ŷ_{t|t-1}, shape (n); NaN where no forecast exists yet.
    fn residuals(&self) -> &[f64];

    /// The same estimated parameters run over another history of the series (the old one continued): nothing is re-estimated.
    /// Used by `backtest --refit never`.
    fn apply(&self, y: &[f64]) -> Result<Box<dyn Fitted>, FitError>;

    /// Form, criteria and parameters.
    fn diagnostics(&self) -> &Diagnostics;
}

/// Refuses missing and infinite values and series shorter than `need`.
pub fn check_series(y: &[f64], need: usize) -> Result<(), FitError> {
    if let Some(i) = y.iter().position(|v| !v.is_finite()) {
        return Err(FitError::NonFinite { index: i + 1, value: y[i] });
    }
    if y.len() < need {
        return Err(FitError::TooShort { need, got: y.len() });
    }
    Ok(())
}

/// Refuses values that are not positive.
pub fn check_positive(y: &[f64]) -> Result<(), FitError> {
    match y.iter().position(|v| *v <= 0.0) {
        Some(i) => Err(FitError::NonPositive { index: i + 1, value: y[i] }),
        None => Ok(()),
    }
}

/// Sums and differences of values up to this size stay finite with room for any horizon.
const LARGEST: f64 = 1e280;

/// Refuses missing values, series shorter than `need` and values so large (beyond 1e280) that sums would overflow.
pub(crate) fn check_range(y: &[f64], need: usize) -> Result<(), FitError> {
    check_series(y, need)?;
    match y.iter().position(|v| v.abs() > LARGEST) {
        Some(i) => Err(FitError::Numerical(format!("observation {} is larger than 1e280: rescale the series", i + 1))),
        None => Ok(()),
    }
}
