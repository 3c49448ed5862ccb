//! The benchmarks every other model has to beat: naive, seasonal naive, mean, window average and random walk with drift.
//!
//! With residuals e and σ² = Σe²/d the forecast distributions are Normal with
//!
//! | model | forecast at step h | d | standard deviation at step h |
//! |---|---|---|---|
//! | naive | y_n | n - 1 | σ √h |
//! | seasonal naive | y_{n+h-m(k+1)}, k = ⌊(h-1)/m⌋ | n - m | σ √(k + 1) |
//! | mean | ȳ | n - 1 | σ √(1 + 1/n) |
//! | window average | mean of the last w | | none: use conformal intervals |
//! | drift | y_n + h (y_n - y_1)/(n-1) | n - 1 | σ √(h (1 + h/(n-1))) |
//!
//! Where no residual has a degree of freedom left (one observation; two for the drift, whose line then passes through both;
//! one cycle for the seasonal naive) the spread is [`Spread::None`]: a width of zero would claim certainty.
//!
//! Source: Hyndman & Athanasopoulos, *Forecasting: Principles and Practice* (3rd ed.), sections 5.2 and 5.5; divisors as in
//! statsforecast, so that intervals agree with it. [`naive2`] is the benchmark of the M4 competition.

use crate::forecast::model::{Diagnostics, FitError, Fitted, Prediction, Spread, check_range};
use crate::forecast::seasonality::adjust_if_seasonal;

/// √(Σ e²/divisor) over the entries that are numbers, without overflow or underflow of the squares.
pub(crate) fn root_mean_square(e: &[f64], divisor: f64) -> f64 {
    let largest = e.iter().filter(|v| !v.is_nan()).fold(0.0f64, |m, v| m.max(v.abs()));
    if largest == 0.0 || divisor <= 0.0 {
        return 0.0;
    }
    let sum: f64 = e.iter().filter(|v| !v.is_nan()).map(|v| (v / largest) * (v / largest)).sum();
    largest * (sum / divisor).sqrt()
}

/// What a benchmark keeps from its fit.
#[derive(Debug, Clone, Copy)]
enum Rule {
    Naive,
    SeasonalNaive { season: usize },
    Mean { mean: f64 },
    WindowAverage { window: usize },
    Drift { slope: f64 },
}

impl Rule {
    /// Observations without which the rule has no forecast.
    fn need(self) -> usize {
        match self {
            Rule::Naive | Rule::Mean { .. } | Rule::Drift { .. } => 1,
            Rule::SeasonalNaive { season } => season,
            Rule::WindowAverage { window } => window,
        }
    }

    /// y_t - ŷ_{t|t-1}, NaN where no forecast exists. y: (n) -> (n)
    fn residuals(self, y: &[f64]) -> Vec<f64> {
        let n = y.len();
        match self {
            Rule::Naive => lagged(y, 1, 0.0),
            Rule::SeasonalNaive { season } => lagged(y, season, 0.0),
            Rule::Drift { slope } => lagged(y, 1, slope),
            Rule::Mean { mean } => y.iter().map(|v| v - mean).collect(),
            Rule::WindowAverage { window } => {
                let mut e = vec![f64::NAN; n];
                let mut sum = 0.0;
                for t in window..n {
                    // Summed afresh once a window: a running sum would collect rounding errors.
                    sum = if (t - window) % window == 0 {
                        y[t - window..t].iter().sum()
                    } else {
                        sum + (y[t - 1] - y[t - 1 - window])
                    };
                    e[t] = y[t] - sum / window as f64;
                }
                e
            }
        }
    }

    fn form(self) -> String {
        match self {
            Rule::Naive => "Naive".into(),
            Rule::SeasonalNaive { season } => format!("SeasonalNaive[{season}]"),
            Rule::Mean { .. } => "Mean".into(),
            Rule::WindowAverage { window } => format!("WindowAverage({window})"),
            Rule::Drift { .. } => "Drift".into(),
        }
    }
}

fn lagged(y: &[f64], lag: usize, shift: f64) -> Vec<f64> {
    (0..y.len()).map(|t| if t < lag { f64::NAN } else { y[t] - y[t - lag] - shift }).collect()
}

/// A fitted benchmark: the rule, the end of the history and σ.
struct Benchmark {
    rule: Rule,
    /// The last observations the rule looks at: m for the seasonal naive, w for the window average, one otherwise.
    tail: Vec<f64>,
    /// σ of the one-step errors; `None` where no degree of freedom is left.
    sigma: Option<f64>,
    /// Observations the parameters were estimated from.
    n_fit: usize,
    residuals: Vec<f64>,
    diagnostics: Diagnostics,
}

impl Benchmark {
    /// `divisor`: the d of σ² = Σe²/d, zero for "no spread".
    fn fit(rule: Rule, y: &[f64], divisor: usize) -> Result<Box<dyn Fitted>, FitError> {
        let residuals = rule.residuals(y);
        let sigma = (divisor > 0).then(|| root_mean_square(&residuals, divisor as f64));
        let params = match rule {
            Rule::Mean { mean } => vec![("mean".to_string(), mean)],
            Rule::Drift { slope } => vec![("drift".to_string(), slope)],
            _ => Vec::new(),
        };
        let sigma2 = sigma.map(|s| s * s).filter(|v| v.is_finite());
        let diagnostics = Diagnostics { form: rule.form(), sigma2, params, converged: true, ..Diagnostics::default() };
        let tail = y[y.len().saturating_sub(rule.need())..].to_vec();
        Ok(Box::new(Benchmark { rule, tail, sigma, n_fit: y.len(), residuals, diagnostics }))
    }

    fn last(&self) -> f64 {
        self.tail.last().copied().unwrap_or(0.0)
    }
}

impl Fitted for Benchmark {
    fn predict(&self, h: usize) -> Prediction {
        let steps = 1..=h;
        let (mean, factor): (Vec<f64>, Vec<f64>) = match self.rule {
            Rule::Naive => steps.map(|k| (self.last(), (k as f64).sqrt())).unzip(),
            Rule::SeasonalNaive { season } => (0..h).map(|k| (self.tail[k % season], ((k / season + 1) as f64).sqrt())).unzip(),
            Rule::Mean { mean } => {
                let factor = (1.0 + 1.0 / self.n_fit as f64).sqrt();
                steps.map(|_| (mean, factor)).unzip()
            }
            Rule::WindowAverage { window } => {
                let mean = self.tail.iter().sum::<f64>() / window as f64;
                steps.map(|_| (mean, 1.0)).unzip()
            }
            Rule::Drift { slope } => {
                let span = self.n_fit.saturating_sub(1).max(1) as f64;
                steps.map(|k| k as f64).map(|k| (self.last() + k * slope, (k * (1.0 + k / span)).sqrt())).unzip()
            }
        };
        let spread = match self.sigma {
            Some(sigma) => Spread::Normal(factor.iter().map(|f| f * sigma).collect()),
            None => Spread::None,
        };
        Prediction { mean, spread }
    }

    fn residuals(&self) -> &[f64] {
        &self.residuals
    }

    fn apply(&self, y: &[f64]) -> Result<Box<dyn Fitted>, FitError> {
        let need = self.rule.need();
        check_range(y, need)?;
        Ok(Box::new(Benchmark {
            rule: self.rule,
            tail: y[y.len() - need..].to_vec(),
            sigma: self.sigma,
            n_fit: self.n_fit,
            residuals: self.rule.residuals(y),
            diagnostics: self.diagnostics.clone(),
        }))
    }

    fn diagnostics(&self) -> &Diagnostics {
        &self.diagnostics
    }
}

/// Repeats the last observation. y: (n), n >= 1; with n = 1 there is no spread. Cost: O(n).
///
/// Errors: missing, infinite or huge (> 1e280) values, an empty series.
pub fn fit_naive(y: &[f64]) -> Result<Box<dyn Fitted>, FitError> {
    check_range(y, 1)?;
    Benchmark::fit(Rule::Naive, y, y.len() - 1)
}

/// Repeats the last cycle of `season` observations. y: (n), n >= season; with n = season there is no spread. Cost: O(n).
///
/// Errors: as [`fit_naive`], and [`FitError::Season`] for `season` = 0 or more than n.
pub fn fit_seasonal_naive(y: &[f64], season: usize) -> Result<Box<dyn Fitted>, FitError> {
    check_range(y, 1)?;
    if season == 0 || season > y.len() {
        let why = if season == 0 {
            "it must be at least 1".to_string()
        } else {
            format!("the series has only {} observations, less than one cycle", y.len())
        };
        return Err(FitError::Season { season, why });
    }
    Benchmark::fit(Rule::SeasonalNaive { season }, y, y.len() - season)
}

/// The mean of all observations. y: (n), n >= 1; with n = 1 there is no spread. Cost: O(n).
///
/// The mean is an estimated parameter: residuals are y_t - ȳ, and `apply` keeps ȳ. Errors: as [`fit_naive`].
pub fn fit_mean(y: &[f64]) -> Result<Box<dyn Fitted>, FitError> {
    check_range(y, 1)?;
    let n = y.len() as f64;
    // Second pass over the deviations: the first mean is off by the rounding of a long sum.
    let rough = y.iter().sum::<f64>() / n;
    let mean = rough + y.iter().map(|v| v - rough).sum::<f64>() / n;
    Benchmark::fit(Rule::Mean { mean }, y, y.len() - 1)
}

/// The mean of the last `window` observations. y: (n), n >= window. Cost: O(n).
///
/// The model says nothing about its errors, so the spread is [`Spread::None`]: use conformal intervals. Errors: as
/// [`fit_naive`], [`FitError::Spec`] for `window` = 0, [`FitError::TooShort`] for a window longer than the series.
pub fn fit_window_average(y: &[f64], window: usize) -> Result<Box<dyn Fitted>, FitError> {
    if window == 0 {
        return Err(FitError::Spec("window-average needs a window of at least 1".into()));
    }
    check_range(y, window)?;
    Benchmark::fit(Rule::WindowAverage { window }, y, 0)
}

/// Random walk with drift: the line through the first and the last observation, continued. y: (n), n >= 2; with n = 2 there
/// is no spread. Cost: O(n). `apply` keeps the slope and starts from the new last value. Errors: as [`fit_naive`].
pub fn fit_drift(y: &[f64]) -> Result<Box<dyn Fitted>, FitError> {
    check_range(y, 2)?;
    let n = y.len();
    let slope = (y[n - 1] - y[0]) / (n - 1) as f64;
    Benchmark::fit(Rule::Drift { slope }, y, if n > 2 { n - 1 } else { 0 })
}

/// The benchmark behind the M4 competition's OWA: the naive forecast of the seasonally adjusted series, with the season put
/// back. y: (n), n >= 1 -> (h). Cost: O(n · season).
///
/// The series is adjusted when it covers at least three cycles and the autocorrelation at the season is significant at 90 %
/// ([`crate::forecast::seasonality::is_seasonal`]); by ratio to the moving average when all values are positive, else (where
/// the original would fail) by difference. Otherwise this is the naive forecast. Errors: as [`fit_naive`].
///
/// Source: Makridakis, Spiliotis & Assimakopoulos (2020), *The M4 Competition*, International Journal of Forecasting 36(1).
pub fn naive2(y: &[f64], season: usize, h: usize) -> Result<Vec<f64>, FitError> {
    check_range(y, 1)?;
    let n = y.len();
    let last = y[n - 1];
    Ok(match adjust_if_seasonal(y, season, 3) {
        Some(season) => (0..h).map(|k| season.restore(season.remove(last, n - 1), n + k)).collect(),
        None => vec![last; h],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn air_passengers() -> Vec<f64> {
        let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/classic/air_passengers.csv")).unwrap();
        text.lines().skip(1).map(|l| l.rsplit(',').next().unwrap().trim().parse().unwrap()).collect()
    }

    fn sd(p: &Prediction) -> Vec<f64> {
        match &p.spread {
            Spread::Normal(sd) => sd.clone(),
            Spread::None => Vec::new(),
        }
    }

    fn all(y: &[f64]) -> Vec<Box<dyn Fitted>> {
        [fit_naive(y), fit_seasonal_naive(y, 4), fit_mean(y), fit_window_average(y, 3), fit_drift(y)]
            .into_iter()
            .map(|m| m.unwrap())
            .collect()
    }

    /// Relative difference; NaN counts as infinitely far.
    fn off(a: f64, b: f64) -> f64 {
        let d = (a - b).abs() / b.abs().max(1e-300);
        if d.is_nan() { f64::INFINITY } else { d }
    }

    #[test]
    fn shifting_and_scaling_the_series_shifts_and_scales_the_forecasts() {
        let y: Vec<f64> = air_passengers()[..50].to_vec();
        let z: Vec<f64> = y.iter().map(|v| -8.0 * v + 64.0).collect();
        for (a, b) in all(&y).iter().zip(all(&z)) {
            let (p, q) = (a.predict(9), b.predict(9));
            for k in 0..9 {
                // Shifts round; 1e-12 is a few hundred ulps of a sum of 50 terms.
                assert!(off(q.mean[k], -8.0 * p.mean[k] + 64.0) < 1e-12, "{}", a.diagnostics().form);
            }
            for (s, t) in sd(&p).iter().zip(sd(&q)) {
                assert!(off(t, 8.0 * s) < 1e-12, "{}", a.diagnostics().form);
            }
        }
    }

    #[test]
    fn one_step_residuals_are_what_forecasting_from_each_prefix_gives() {
        let y: Vec<f64> = air_passengers()[..40].to_vec();
        for model in all(&y) {
            let e = model.residuals();
            assert_eq!(e.len(), y.len());
            for t in 4..y.len() {
                let ahead = model.apply(&y[..t]).unwrap().predict(1).mean[0];
                assert!(off(y[t] - e[t], ahead) < 1e-12, "{} at {t}", model.diagnostics().form);
            }
        }
    }

    #[test]
    fn applying_to_the_same_history_changes_nothing() {
        let y: Vec<f64> = air_passengers();
        for model in all(&y) {
            let (p, q) = (model.predict(7), model.apply(&y).unwrap().predict(7));
            assert_eq!(p.mean, q.mean);
            assert_eq!(sd(&p), sd(&q));
        }
    }

    #[test]
    fn applying_keeps_the_estimates_and_moves_the_origin() {
        let y: Vec<f64> = (0..20).map(|t| (t * t) as f64).collect();
        let drift = fit_drift(&y[..11]).unwrap().apply(&y).unwrap();
        // Slope of the first 11 points is 100/10; the walk goes on from 19² = 361.
        assert_eq!(drift.predict(2).mean, vec![371.0, 381.0]);
        assert!(off(fit_mean(&y[..3]).unwrap().apply(&y).unwrap().predict(1).mean[0], 5.0 / 3.0) < 1e-15);
    }

    #[test]
    fn intervals_of_the_reference_case() {
        let y = &air_passengers()[..132];
        // Six printed decimals: half a unit of the last one, plus rounding.
        let near = |a: f64, b: f64| assert!((a - b).abs() < 6e-7, "{a} != {b}");
        let p = fit_naive(y).unwrap().predict(1);
        near(p.quantile(0.025).unwrap()[0], 343.590156);
        near(p.quantile(0.975).unwrap()[0], 466.409844);
        let p = fit_seasonal_naive(y, 12).unwrap().predict(13);
        near(p.quantile(0.1).unwrap()[0], 315.724604);
        near(p.quantile(0.9).unwrap()[0], 404.275396);
        let sd = sd(&p);
        assert_eq!(sd[0], sd[11]);
        near(sd[12], sd[0] * 2.0f64.sqrt());
    }

    #[test]
    fn standard_deviations_follow_their_formulas() {
        let y = [3.0, 5.0, 4.0, 8.0, 7.0];
        // Naive: diffs 2, -1, 4, -1 -> 22/4.
        let s = sd(&fit_naive(&y).unwrap().predict(4));
        assert!(off(s[0], 5.5f64.sqrt()) < 1e-15 && off(s[3], 22.0f64.sqrt()) < 1e-15);
        // Mean 5.4: Σe² = 17.2 -> 4.3 (1 + 1/5).
        let s = sd(&fit_mean(&y).unwrap().predict(2));
        assert!(off(s[1], (4.3f64 * 1.2).sqrt()) < 1e-14);
        // Drift 1: residuals 1, -2, 3, -2 -> 18/4, step 2: 2 (1 + 2/4).
        let p = fit_drift(&y).unwrap().predict(2);
        assert_eq!(p.mean, vec![8.0, 9.0]);
        assert!(off(sd(&p)[1], (4.5f64 * 3.0).sqrt()) < 1e-14);
        assert_eq!(fit_window_average(&y, 2).unwrap().predict(2).mean, vec![7.5, 7.5]);
    }

    #[test]
    fn too_little_data_has_no_spread_or_an_error() {
        assert!(matches!(fit_naive(&[2.0]).unwrap().predict(3).spread, Spread::None));
        assert!(matches!(fit_mean(&[2.0]).unwrap().predict(3).spread, Spread::None));
        assert!(matches!(fit_drift(&[2.0, 3.0]).unwrap().predict(3).spread, Spread::None));
        assert!(matches!(fit_seasonal_naive(&[2.0, 3.0], 2).unwrap().predict(3).spread, Spread::None));
        assert!(matches!(fit_naive(&[]), Err(FitError::TooShort { need: 1, got: 0 })));
        assert!(matches!(fit_drift(&[2.0]), Err(FitError::TooShort { need: 2, got: 1 })));
        assert!(matches!(fit_seasonal_naive(&[2.0; 5], 12), Err(FitError::Season { season: 12, .. })));
        assert!(matches!(fit_seasonal_naive(&[2.0; 5], 0), Err(FitError::Season { season: 0, .. })));
        assert!(matches!(fit_window_average(&[2.0], 0), Err(FitError::Spec(_))));
        assert!(matches!(fit_window_average(&[2.0], 2), Err(FitError::TooShort { need: 2, got: 1 })));
        assert!(matches!(fit_naive(&[1.0, f64::NAN]), Err(FitError::NonFinite { index: 2, .. })));
        assert!(matches!(fit_mean(&[1.0, 1e300]), Err(FitError::Numerical(_))));
        assert!(fit_naive(&[1.0, 4.0]).unwrap().predict(0).mean.is_empty());
    }

    #[test]
    fn extreme_scales_stay_finite_and_keep_their_spread() {
        for scale in [1e-300, 1e-160, 1e160, 1e279] {
            let y: Vec<f64> = [1.0, -2.0, 3.0, 0.0, 2.0, -1.0, 4.0].iter().map(|v| v * scale).collect();
            for model in all(&y) {
                let p = model.predict(30);
                assert!(p.mean.iter().all(|v| v.is_finite()), "{} {scale}", model.diagnostics().form);
                assert!(sd(&p).iter().all(|s| s.is_finite() && *s > 0.0), "{} {scale}", model.diagnostics().form);
            }
        }
    }

    #[test]
    fn naive2_repeats_a_pure_season_and_is_naive_without_one() {
        let pattern = [0.8, 1.0, 1.3, 0.9];
        let y: Vec<f64> = (0..32).map(|t| 50.0 * pattern[t % 4]).collect();
        for (k, v) in naive2(&y, 4, 6).unwrap().iter().enumerate() {
            assert!(off(*v, 50.0 * pattern[k % 4]) < 1e-12);
        }
        assert_eq!(naive2(&[1.0, 5.0, 2.0], 12, 2).unwrap(), vec![2.0, 2.0]);
        assert_eq!(naive2(&y[..9], 4, 2).unwrap(), vec![40.0, 40.0]);
    }

    #[test]
    fn naive2_of_the_reference_case() {
        // By hand: last value / last factor * the year's factors, factors by decompose() of the same 132 months.
        let y = &air_passengers()[..132];
        let season = crate::forecast::seasonality::decompose(y, 12, crate::forecast::seasonality::Kind::Multiplicative).unwrap();
        let f = naive2(y, 12, 12).unwrap();
        for (k, v) in f.iter().enumerate() {
            assert!(off(*v, y[131] / season.factors[11] * season.factors[k]) < 1e-14);
        }
    }
}
