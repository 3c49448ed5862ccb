//! A fitted form: [`EtsFit`], which forecasts, filters further data and tells its parameters.

use super::super::model::{Diagnostics, FitError, Fitted, Prediction, Spread, check_positive, check_series};
use super::forecast::Origin;
use super::form::{ErrorKind, Form, SeasonKind, Trend};
use super::recursion::{Smoothing, State, one_step};

/// An estimate as the search hands it over: everything in units of `scale`.
#[derive(Debug, Clone)]
pub(super) struct Estimate {
    pub form: Form,
    /// Season length, 1 without a season.
    pub season: usize,
    /// Data units per internal unit.
    pub scale: f64,
    pub smoothing: Smoothing,
    /// The state before the first observation.
    pub initial: State,
    pub loglik: f64,
    pub converged: bool,
}

/// An exponential smoothing model fitted to one series.
#[derive(Debug, Clone)]
pub struct EtsFit {
    form: Form,
    scale: f64,
    smoothing: Smoothing,
    initial: State,
    last: State,
    position: usize,
    /// One-step variance in internal units (relative for multiplicative errors).
    sigma2: f64,
    residuals: Vec<f64>,
    diagnostics: Diagnostics,
}

impl EtsFit {
    /// Filters `y` with the estimate and fills in the diagnostics.
    pub(super) fn new(y: &[f64], mut estimate: Estimate) -> Result<EtsFit, FitError> {
        normalise(estimate.form, &mut estimate.initial);
        let Estimate { form, season, scale, smoothing, initial, loglik, converged } = estimate;
        let n = y.len();
        let k = form.parameters(season);
        let run = Run::over(form, scale, smoothing, &initial, y)?;
        // The coefficients take k - 1 degrees of freedom (the variance itself none).
        let sigma2 = run.squares / n.saturating_sub(k - 1).max(1) as f64;
        let relative = form.error == ErrorKind::Multiplicative;
        let diagnostics = Diagnostics {
            form: form.to_string(),
            sigma2: Some(if relative { sigma2 } else { sigma2 * scale * scale }),
            params: named_parameters(form, scale, smoothing, &initial),
            converged,
            ..Diagnostics::default()
        };
        let diagnostics = diagnostics.with_loglik(loglik, k, n);
        Ok(EtsFit { form, scale, smoothing, initial, last: run.last, position: n, sigma2, residuals: run.residuals, diagnostics })
    }

    /// The form that was fitted.
    pub fn form(&self) -> Form {
        self.form
    }
}

/// The outcome of filtering a history.
struct Run {
    last: State,
    residuals: Vec<f64>,
    squares: f64,
}

impl Run {
    fn over(form: Form, scale: f64, smoothing: Smoothing, initial: &State, y: &[f64]) -> Result<Run, FitError> {
        let z: Vec<f64> = y.iter().map(|v| v / scale).collect();
        let relative = form.error == ErrorKind::Multiplicative;
        let mut last = initial.clone();
        let mu = one_step(form, &z, smoothing, &mut last, relative)
            .ok_or_else(|| FitError::Numerical(format!("{form} has a state or forecast that is not positive on this history")))?;
        let squares = z.iter().zip(&mu).map(|(z, m)| if relative { z / m - 1.0 } else { z - m }).map(|e| e * e).sum();
        let residuals = z.iter().zip(&mu).map(|(z, m)| (z - m) * scale).collect();
        let fine = last.level.is_finite() && last.slope.is_finite() && last.season.iter().all(|s| s.is_finite());
        if !fine {
            return Err(FitError::Numerical(format!("{form} has an infinite state on this history")));
        }
        Ok(Run { last, residuals, squares })
    }
}

/// Uses the freedom between level and season so that additive seasonal states sum to 0 and multiplicative ones average 1.
fn normalise(form: Form, state: &mut State) {
    let m = state.season.len();
    if m == 0 {
        return;
    }
    let mean = state.season.iter().sum::<f64>() / m as f64;
    match form.season {
        SeasonKind::Multiplicative if mean > 0.0 => {
            state.season.iter_mut().for_each(|s| *s /= mean);
            state.level *= mean;
            if !form.trend.multiplicative() {
                state.slope *= mean;
            }
        }
        SeasonKind::Additive if !form.trend.multiplicative() => {
            state.season.iter_mut().for_each(|s| *s -= mean);
            state.level += mean;
        }
        _ => {}
    }
}

/// α, β, γ, φ, l0, b0, s0, s1, ... as far as the form has them, in data units. `s0` belongs to the first observation.
fn named_parameters(form: Form, scale: f64, p: Smoothing, state: &State) -> Vec<(String, f64)> {
    let trend = form.trend != Trend::None;
    let slope_scale = if form.trend.multiplicative() { 1.0 } else { scale };
    let season_scale = if form.season == SeasonKind::Multiplicative { 1.0 } else { scale };
    let mut out = vec![("alpha".to_string(), p.alpha)];
    let mut put = |there: bool, name: &str, v: f64| {
        if there {
            out.push((name.to_string(), v));
        }
    };
    put(trend, "beta", p.beta);
    put(form.seasonal(), "gamma", p.gamma);
    put(form.trend.damped(), "phi", p.phi);
    put(true, "l0", state.level * scale);
    put(trend, "b0", state.slope * slope_scale);
    for (i, s) in state.season.iter().enumerate() {
        put(true, &format!("s{i}"), s * season_scale);
    }
    out
}

impl Fitted for EtsFit {
    /// Means by the error-free recursion, standard deviations by the formulas of the form's class (see the module page of `ets`).
    /// A growth factor carried very far can exceed the range of numbers: means and deviations then stay at the largest number.
    fn predict(&self, h: usize) -> Prediction {
        let origin = Origin { form: self.form, smoothing: self.smoothing, state: &self.last, position: self.position };
        let finite = |v: f64| if v.is_nan() { f64::MAX } else { v.clamp(-f64::MAX, f64::MAX) };
        let mean = origin.means(h).into_iter().map(|v| finite(v * self.scale)).collect();
        let sd = origin.variances(h, self.sigma2).into_iter().map(|v| finite(v.max(0.0).sqrt() * self.scale)).collect();
        Prediction { mean, spread: Spread::Normal(sd) }
    }

    fn residuals(&self) -> &[f64] {
        &self.residuals
    }

    /// Filters `y` from the same initial states with the same parameters; the criteria and σ² stay those of the estimation.
    fn apply(&self, y: &[f64]) -> Result<Box<dyn Fitted>, FitError> {
        check_series(y, 1)?;
        if self.form.needs_positive() {
            check_positive(y)?;
        }
        let run = Run::over(self.form, self.scale, self.smoothing, &self.initial, y)?;
        Ok(Box::new(EtsFit { last: run.last, residuals: run.residuals, position: y.len(), ..self.clone() }))
    }

    fn diagnostics(&self) -> &Diagnostics {
        &self.diagnostics
    }
}

#[cfg(test)]
mod tests {
    use super::super::{EtsConfig, fit_form};
    use super::*;

    fn series(n: usize) -> Vec<f64> {
        (0..n).map(|t| 50.0 + 0.5 * t as f64 + 8.0 * (t as f64 * 1.57).sin() + 2.0 * ((t * t) as f64).sin()).collect()
    }

    fn spread(p: &Prediction) -> &[f64] {
        match &p.spread {
            Spread::Normal(sd) => sd,
            Spread::None => panic!("no spread"),
        }
    }

    #[test]
    fn applying_the_same_history_changes_nothing_and_a_longer_one_filters_on() {
        let y = series(60);
        // 46 is no multiple of the season: the forecast starts within a cycle.
        for form in Form::all() {
            let fit = fit_form(&y[..46], &EtsConfig::fixed(form, 4)).unwrap();
            let same = fit.apply(&y[..46]).unwrap();
            assert_eq!(same.residuals(), fit.residuals());
            assert_eq!(same.predict(5).mean, fit.predict(5).mean);
            // One step on, the new residual is the new observation less the old forecast.
            let next = fit.apply(&y[..47]).unwrap();
            assert_eq!(next.residuals().len(), 47);
            let want = y[46] - fit.predict(1).mean[0];
            assert!((next.residuals()[46] - want).abs() < 1e-10 * y[46], "{form}");
            assert_eq!(next.diagnostics().params, fit.diagnostics().params);
        }
    }

    #[test]
    fn forecasts_have_the_asked_length_and_positive_spread() {
        let fit = fit_form(&series(48), &EtsConfig::fixed("MAdM".parse().unwrap(), 4)).unwrap();
        for h in [0, 1, 30] {
            let p = fit.predict(h);
            assert_eq!((p.mean.len(), spread(&p).len()), (h, h));
            assert!(spread(&p).iter().all(|s| *s > 0.0));
        }
        let sd = spread(&fit.predict(1))[0];
        let d = fit.diagnostics();
        assert!((sd - d.sigma2.unwrap().sqrt() * fit.predict(1).mean[0]).abs() < 1e-9);
    }

    #[test]
    fn parameters_are_named_and_normalised() {
        let fit = fit_form(&series(48), &EtsConfig::fixed("AAdA".parse().unwrap(), 4)).unwrap();
        let names: Vec<&str> = fit.diagnostics().params.iter().map(|(n, _)| n.as_str()).collect();
        assert_eq!(names, ["alpha", "beta", "gamma", "phi", "l0", "b0", "s0", "s1", "s2", "s3"]);
        let sum: f64 = fit.diagnostics().params[6..].iter().map(|(_, v)| v).sum();
        assert!(sum.abs() < 1e-9);
        let fit = fit_form(&series(48), &EtsConfig::fixed("MNM".parse().unwrap(), 4)).unwrap();
        let sum: f64 = fit.diagnostics().params[3..].iter().map(|(_, v)| v).sum();
        assert!((sum - 4.0).abs() < 1e-9);
    }

    #[test]
    fn a_history_that_the_form_cannot_take_is_refused() {
        let fit = fit_form(&series(48), &EtsConfig::fixed("MAM".parse().unwrap(), 4)).unwrap();
        let mut y = series(50);
        y[49] = -1.0;
        assert!(matches!(fit.apply(&y), Err(FitError::NonPositive { index: 50, .. })));
        y[49] = f64::NAN;
        assert!(matches!(fit.apply(&y), Err(FitError::NonFinite { index: 50, .. })));
        assert!(matches!(fit.apply(&[]), Err(FitError::TooShort { .. })));
    }

    #[test]
    fn a_growth_factor_carried_far_stays_finite() {
        let y: Vec<f64> = (0..40).map(|t| 1.5f64.powi(t) * (1.0 + 0.01 * ((t * t) as f64).sin())).collect();
        let fit = fit_form(&y, &EtsConfig::fixed("MMN".parse().unwrap(), 1)).unwrap();
        let p = fit.predict(3000);
        assert!(p.mean.iter().chain(spread(&p)).all(|v| v.is_finite()));
    }
}
