//! One model over a panel of series: fit, predict, calibrate and re-forecast from earlier cutoffs, in parallel.
//!
//! Every series (and every cutoff of it) is its own task and results are collected in order, so they do not depend on the
//! number of threads. A model that cannot be fitted to a series, or whose forecast is not finite or explodes, is replaced by
//! the naive forecast and the result carries the reason ([`SeriesForecast::fallback`]).

use super::intervals::{Calibration, IntervalConfig, IntervalMethod};
use super::linear::LinearModel;
use super::model::{Diagnostics, FitError, Fitted};
use super::naive;
use super::spec::ModelSpec;
use crate::run::observer::Observer;
use rayon::prelude::*;
use std::sync::Arc;

/// One series as the engine sees it.
#[derive(Debug, Clone, Copy)]
pub struct SeriesInput<'a> {
    /// Name for messages.
    pub id: &'a str,
    /// Observations in time order, none missing.
    pub y: &'a [f64],
    /// Season length; 1 = none.
    pub season: usize,
}

/// What to forecast.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Steps ahead.
    pub horizon: usize,
    /// Window length of the linear models.
    pub lookback: usize,
    /// Quantiles to carry.
    pub intervals: IntervalConfig,
}

/// Where a rolling-origin evaluation forecasts from.
#[derive(Debug, Clone, Copy)]
pub struct Rolling {
    /// Number of cutoffs W.
    pub windows: usize,
    /// Observations between cutoffs.
    pub step: usize,
    /// Re-estimate at every `n`-th cutoff; `None` = only at the first.
    pub refit: Option<usize>,
}

impl Rolling {
    /// The cutoffs of a series with `n` observations: c_w = n − H − step (W − 1 − w), each the number of observations known.
    /// `None` when the first would leave nothing to fit on.
    pub fn cutoffs(&self, n: usize, horizon: usize) -> Option<Vec<usize>> {
        let last = n.checked_sub(horizon)?;
        let first = last.checked_sub(self.step.checked_mul(self.windows.checked_sub(1)?)?)?;
        (first > 0).then(|| (0..self.windows).map(|w| first + w * self.step).collect())
    }

    /// Observations a series must have.
    pub fn need(&self, horizon: usize) -> usize {
        horizon.saturating_add(self.step.saturating_mul(self.windows.saturating_sub(1))).saturating_add(1)
    }
}

/// A forecast of one series from one origin.
#[derive(Debug, Clone)]
pub struct SeriesForecast {
    /// Mean by step, shape (h).
    pub mean: Vec<f64>,
    /// One vector of length h per probability of the plan; empty where the model has none or the series is too short to calibrate.
    pub quantiles: Vec<Vec<f64>>,
    /// Why the naive forecast stands here instead of the model's.
    pub fallback: Option<String>,
    /// What the fit tells about itself (absent for fallbacks and global models).
    pub diagnostics: Option<Diagnostics>,
}

/// Why a whole run stops.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// One series cannot be handled and no fallback makes sense.
    #[error("series \"{id}\", model {model}: {why}")]
    Series { id: String, model: String, why: String },
    /// The model cannot be fitted to the panel as a whole.
    #[error("model {model}: {why}")]
    Panel { model: String, why: String },
    /// The user asked to stop.
    #[error("interrupted")]
    Interrupted,
}

/// A forecast further from the history than this many of its ranges (growing with h/n) is taken for an explosion.
const SANE_RANGES: f64 = 20.0;

/// Interval bounds may lie this many times further out than means.
const SANE_SPREAD: f64 = 50.0;

/// A fitted per-series model, or naive with a reason.
struct Local {
    fitted: Arc<dyn Fitted>,
    fallback: Option<String>,
}

fn fit_local(spec: &ModelSpec, y: &[f64], season: usize) -> Result<Local, FitError> {
    match spec.fit(y, season) {
        Ok(fitted) => Ok(Local { fitted: fitted.into(), fallback: None }),
        Err(e @ FitError::NonFinite { .. }) => Err(e),
        Err(e) => Ok(Local { fitted: naive::fit_naive(y)?.into(), fallback: Some(e.to_string()) }),
    }
}

impl Local {
    /// The same parameters over a longer history.
    fn apply(&self, y: &[f64]) -> Result<Local, FitError> {
        match self.fitted.apply(y) {
            Ok(fitted) => Ok(Local { fitted: fitted.into(), fallback: self.fallback.clone() }),
            Err(e) => Ok(Local { fitted: naive::fit_naive(y)?.into(), fallback: Some(e.to_string()) }),
        }
    }

    /// Mean and model quantiles, replaced by naive's when they are not sane.
    fn forecast(&self, y: &[f64], h: usize, probabilities: &[f64]) -> Result<SeriesForecast, FitError> {
        let prediction = self.fitted.predict(h);
        let quantiles: Vec<Vec<f64>> = probabilities.iter().filter_map(|&p| prediction.quantile(p)).collect();
        if let Some(why) = insane(y, &prediction.mean, &quantiles) {
            let naive = Local { fitted: naive::fit_naive(y)?.into(), fallback: Some(why) };
            let prediction = naive.fitted.predict(h);
            let quantiles = probabilities.iter().filter_map(|&p| prediction.quantile(p)).collect();
            return Ok(SeriesForecast { mean: prediction.mean, quantiles, fallback: naive.fallback, diagnostics: None });
        }
        let diagnostics = self.fallback.is_none().then(|| self.fitted.diagnostics().clone());
        Ok(SeriesForecast { mean: prediction.mean, quantiles, fallback: self.fallback.clone(), diagnostics })
    }
}

/// The mean forecast of a per-series model, with the reason if naive stands in.
pub(super) fn mean_or_naive(spec: &ModelSpec, y: &[f64], season: usize, h: usize) -> Result<MeanOrNaive, FitError> {
    let forecast = fit_local(spec, y, season)?.forecast(y, h, &[])?;
    Ok((forecast.mean, forecast.fallback))
}

/// Why a forecast must not leave the program, if it must not.
pub(super) fn insane(y: &[f64], mean: &[f64], quantiles: &[Vec<f64>]) -> Option<String> {
    if mean.iter().chain(quantiles.iter().flatten()).any(|v| !v.is_finite()) {
        return Some("the forecast is not finite".into());
    }
    let (lo, hi) = y.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), &v| (l.min(v), h.max(v)));
    let range = if hi > lo { hi - lo } else { hi.abs().max(1.0) };
    let limit = SANE_RANGES * range * (1.0 + mean.len() as f64 / y.len().max(1) as f64);
    let beyond = |v: &f64, limit: f64| (v - lo).abs().max((v - hi).abs()) > limit;
    if let Some(bound) = quantiles.iter().flatten().find(|v| beyond(v, SANE_SPREAD * limit)) {
        return Some(format!("the interval explodes: {bound:.3e} against a history between {lo:.3e} and {hi:.3e}"));
    }
    let worst = mean.iter().find(|v| beyond(v, limit))?;
    Some(format!("the forecast explodes: {worst:.3e} against a history between {lo:.3e} and {hi:.3e}"))
}

/// Fits and forecasts one series, calibrating where the plan asks for it.
fn forecast_one(spec: &ModelSpec, s: &SeriesInput<'_>, plan: &Plan, fitted: &Local) -> Result<SeriesForecast, FitError> {
    let h = plan.horizon;
    let probabilities = plan.intervals.probabilities();
    let IntervalMethod::Conformal { variant, windows } = plan.intervals.method else {
        return fitted.forecast(s.y, h, &probabilities);
    };
    if s.y.len() < plan.intervals.calibration_need(h) {
        // Too short to calibrate: a forecast without quantiles.
        return fitted.forecast(s.y, h, &[]);
    }
    let mut errors = Vec::with_capacity(windows);
    for w in (1..=windows).rev() {
        let cut = s.y.len() - w * h;
        let train = &s.y[..cut];
        let past = fit_local(spec, train, season_for(s.season, cut))?.forecast(train, h, &[])?;
        errors.push(past.mean.iter().zip(&s.y[cut..]).map(|(f, y)| (y - f).abs()).collect::<Vec<f64>>());
    }
    let calibration = Calibration::new(&errors);
    let mut out = fitted.forecast(s.y, h, &[])?;
    out.quantiles = probabilities.iter().map(|&p| calibration.quantile(variant, &out.mean, p)).collect();
    Ok(out)
}

/// A season longer than a shortened history counts as none there.
fn season_for(season: usize, n: usize) -> usize {
    if n >= season { season } else { 1 }
}

/// Refuses a panel that cannot be calibrated. A per-series model goes without quantiles on the series that are too short, as long as
/// there are others; a model over the panel needs all of them.
fn check_calibration(
    spec: &ModelSpec,
    series: &[SeriesInput<'_>],
    plan: &Plan,
    known: impl Fn(usize) -> usize,
) -> Result<(), EngineError> {
    let need = plan.intervals.calibration_need(plan.horizon);
    let lacking = |s: &&SeriesInput<'_>| known(s.y.len()) < need;
    let first = series.iter().find(lacking);
    match first {
        Some(s) if spec.is_global() || series.iter().all(|s| lacking(&s)) => Err(EngineError::Series {
            id: s.id.into(),
            model: spec.to_string(),
            why: format!(
                "conformal intervals at horizon {} need at least {need} observations before the forecast origin, found {} (lower --calib-windows or -H)",
                plan.horizon,
                known(s.y.len())
            ),
        }),
        _ => Ok(()),
    }
}

/// Forecasts every series from its end. Result: one forecast per series, in order.
///
/// # Errors
/// A series with missing values or without any observation; one too short for the calibration asked for; a global model whose
/// windows fit no series; interruption.
pub fn predict_panel(
    spec: &ModelSpec,
    series: &[SeriesInput<'_>],
    plan: &Plan,
    observer: &dyn Observer,
) -> Result<Vec<SeriesForecast>, EngineError> {
    check_calibration(spec, series, plan, |n| n)?;
    if let ModelSpec::Linear(_) = spec {
        let histories: Vec<&[f64]> = series.iter().map(|s| s.y).collect();
        return Global::fit(spec, &histories, plan)?.forecast(spec, series, &histories, plan);
    }
    observer.start(&spec.to_string(), series.len());
    let out: Vec<Result<SeriesForecast, EngineError>> = series
        .par_iter()
        .map(|s| {
            if observer.cancelled() {
                return Err(EngineError::Interrupted);
            }
            let result = fit_local(spec, s.y, s.season).and_then(|fitted| forecast_one(spec, s, plan, &fitted));
            observer.advance(1);
            result.map_err(|e| EngineError::Series { id: s.id.into(), model: spec.to_string(), why: e.to_string() })
        })
        .collect();
    observer.finish();
    // The first error in order, whichever thread met one first.
    out.into_iter().collect()
}

/// Forecasts every series from `rolling.windows` cutoffs. Result: (cutoff, forecast) by window, per series, in order.
///
/// # Errors
/// As [`predict_panel`], and a series too short for the cutoffs.
pub fn backtest_panel(
    spec: &ModelSpec,
    series: &[SeriesInput<'_>],
    plan: &Plan,
    rolling: &Rolling,
    observer: &dyn Observer,
) -> Result<Vec<Vec<(usize, SeriesForecast)>>, EngineError> {
    let named = |s: &SeriesInput<'_>, why: String| EngineError::Series { id: s.id.into(), model: spec.to_string(), why };
    let cutoffs: Vec<Vec<usize>> = series
        .iter()
        .map(|s| {
            rolling.cutoffs(s.y.len(), plan.horizon).ok_or_else(|| {
                let need = rolling.need(plan.horizon);
                named(
                    s,
                    format!("the cutoffs need at least {need} observations, found {} (lower --windows, --step or -H)", s.y.len()),
                )
            })
        })
        .collect::<Result<_, _>>()?;
    check_calibration(spec, series, plan, |n| n - (rolling.need(plan.horizon) - 1))?;
    // A block is a run of cutoffs that share one estimation.
    let block = rolling.refit.unwrap_or(rolling.windows).clamp(1, rolling.windows.max(1));
    observer.start(&spec.to_string(), series.len() * rolling.windows);
    let out = if let ModelSpec::Linear(_) = spec {
        let mut by_series: Vec<Vec<(usize, SeriesForecast)>> = vec![Vec::new(); series.len()];
        let mut model = None;
        for w in 0..rolling.windows {
            if observer.cancelled() {
                return Err(EngineError::Interrupted);
            }
            let known: Vec<&[f64]> = series.iter().zip(&cutoffs).map(|(s, c)| &s.y[..c[w]]).collect();
            if w % block == 0 || model.is_none() {
                model = Some(Global::fit(spec, &known, plan)?);
            }
            if let Some(model) = &model {
                for (i, f) in model.forecast(spec, series, &known, plan)?.into_iter().enumerate() {
                    by_series[i].push((cutoffs[i][w], f));
                }
            }
            observer.advance(series.len());
        }
        Ok(by_series)
    } else {
        let tasks: Vec<(usize, usize)> =
            (0..series.len()).flat_map(|i| (0..rolling.windows).step_by(block).map(move |w| (i, w))).collect();
        let parts: Vec<Result<Vec<(usize, SeriesForecast)>, EngineError>> = tasks
            .par_iter()
            .map(|&(i, first)| {
                let s = &series[i];
                let mut fitted: Option<Local> = None;
                let mut out = Vec::with_capacity(block);
                for &cut in cutoffs[i].iter().skip(first).take(block) {
                    if observer.cancelled() {
                        return Err(EngineError::Interrupted);
                    }
                    let known = SeriesInput { id: s.id, y: &s.y[..cut], season: season_for(s.season, cut) };
                    let local = match &fitted {
                        None => fit_local(spec, known.y, known.season),
                        Some(f) => f.apply(known.y),
                    }
                    .map_err(|e| named(s, e.to_string()))?;
                    out.push((cut, forecast_one(spec, &known, plan, &local).map_err(|e| named(s, e.to_string()))?));
                    fitted.get_or_insert(local);
                    observer.advance(1);
                }
                Ok(out)
            })
            .collect();
        let mut by_series: Vec<Vec<(usize, SeriesForecast)>> = vec![Vec::new(); series.len()];
        for ((i, _), part) in tasks.into_iter().zip(parts) {
            by_series[i].extend(part?);
        }
        Ok(by_series)
    };
    observer.finish();
    out
}

/// A mean forecast, and the reason if it is naive's.
pub(super) type MeanOrNaive = (Vec<f64>, Option<String>);

/// A linear model over the panel, fitted on series standardised by their own training mean and standard deviation.
struct Global {
    model: LinearModel,
    scales: Vec<(f64, f64)>,
    /// Series without any variation: their forecast is their value, whatever the shared weights say.
    constant: Vec<bool>,
}

/// (mean, population standard deviation) of a series; a standard deviation of 0 counts as 1.
pub fn standard_scale(y: &[f64]) -> (f64, f64) {
    let n = y.len().max(1) as f64;
    let mean = y.iter().sum::<f64>() / n;
    let sd = (y.iter().map(|v| (v - mean) * (v - mean)).sum::<f64>() / n).sqrt();
    // A constant series leaves rounding noise here, not a scale.
    (mean, if sd > mean.abs() * 1e-14 { sd } else { 1.0 })
}

impl Global {
    fn fit(spec: &ModelSpec, histories: &[&[f64]], plan: &Plan) -> Result<Self, EngineError> {
        let ModelSpec::Linear(kind) = spec else {
            return Err(EngineError::Panel { model: spec.to_string(), why: "is not a model over the whole panel".into() });
        };
        let scales: Vec<(f64, f64)> = histories.iter().map(|y| standard_scale(y)).collect();
        let constant = histories.iter().map(|y| y.windows(2).all(|w| w[0] == w[1])).collect();
        let scaled: Vec<Vec<f64>> =
            histories.iter().zip(&scales).map(|(y, (m, s))| y.iter().map(|v| (v - m) / s).collect()).collect();
        let views: Vec<&[f64]> = scaled.iter().map(Vec::as_slice).collect();
        let model = LinearModel::fit(*kind, &views, plan.lookback, plan.horizon).map_err(|e| EngineError::Panel {
            model: spec.to_string(),
            why: format!("{e} (a window is lookback {} + horizon {}; lower -L or -H)", plan.lookback, plan.horizon),
        })?;
        Ok(Self { model, scales, constant })
    }

    /// The mean of every series by step, with the reason where naive stands in.
    fn means(&self, histories: &[&[f64]], h: usize) -> Result<Vec<MeanOrNaive>, FitError> {
        histories
            .iter()
            .zip(self.scales.iter().zip(&self.constant))
            .map(|(y, (&(m, s), &constant))| {
                if constant {
                    return Ok((naive::fit_naive(y)?.predict(h).mean, None));
                }
                let tail = &y[y.len().saturating_sub(self.model.lookback())..];
                let scaled: Vec<f64> = tail.iter().map(|v| (v - m) / s).collect();
                let (mean, why) = match self.model.predict(&scaled) {
                    Ok(z) => {
                        let mean: Vec<f64> = z.iter().map(|v| v * s + m).collect();
                        let why = insane(y, &mean, &[]);
                        (mean, why)
                    }
                    Err(e) => (Vec::new(), Some(e.to_string())),
                };
                Ok(match why {
                    None => (mean, None),
                    Some(why) => (naive::fit_naive(y)?.predict(h).mean, Some(why)),
                })
            })
            .collect()
    }

    /// Forecasts every series from the end of its history; calibration refits the whole panel on shortened histories.
    fn forecast(
        &self,
        spec: &ModelSpec,
        series: &[SeriesInput<'_>],
        histories: &[&[f64]],
        plan: &Plan,
    ) -> Result<Vec<SeriesForecast>, EngineError> {
        let h = plan.horizon;
        let panel = |e: FitError| EngineError::Panel { model: spec.to_string(), why: e.to_string() };
        let means = self.means(histories, h).map_err(panel)?;
        let mut errors: Vec<Vec<Vec<f64>>> = vec![Vec::new(); series.len()];
        let method = plan.intervals.method;
        if let IntervalMethod::Conformal { windows, .. } = method {
            for w in (1..=windows).rev() {
                let past: Vec<&[f64]> = histories.iter().map(|y| &y[..y.len() - w * h]).collect();
                let forecasts = Self::fit(spec, &past, plan)?.means(&past, h).map_err(panel)?;
                for (i, (mean, _)) in forecasts.iter().enumerate() {
                    let truth = &histories[i][past[i].len()..];
                    errors[i].push(mean.iter().zip(truth).map(|(f, y)| (y - f).abs()).collect());
                }
            }
        }
        let probabilities = plan.intervals.probabilities();
        Ok(means
            .into_iter()
            .zip(errors)
            .map(|((mean, fallback), errors)| {
                let quantiles = match method {
                    IntervalMethod::Conformal { variant, .. } => {
                        let calibration = Calibration::new(&errors);
                        probabilities.iter().map(|&p| calibration.quantile(variant, &mean, p)).collect()
                    }
                    _ => Vec::new(),
                };
                SeriesForecast { mean, quantiles, fallback, diagnostics: None }
            })
            .collect())
    }
}
