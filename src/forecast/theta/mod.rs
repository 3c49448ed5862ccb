//! The Theta family: the standard, optimised, dynamic and dynamic optimised Theta models, and the best of them.
//!
//! The seasonally adjusted series is seen as a mix of its straight line and of a curve with θ times its curvature, which simple
//! exponential smoothing extrapolates. As a state-space model with a single source of error (t from 0, q = 1 - α, w = 1 - 1/θ):
//!
//! y_t = μ_t + ε_t,   μ_t = ℓ_{t-1} + w (A_{t-1} q^t + B_{t-1} (1 - q^{t+1})/α),   ℓ_t = α y_t + q ℓ_{t-1}
//!
//! | variant | name | θ | line (A, B) |
//! |---|---|---|---|
//! | [`ThetaVariant::Standard`] | STM | 2 | least squares over the whole series |
//! | [`ThetaVariant::Optimized`] | OTM | estimated | the same |
//! | [`ThetaVariant::Dynamic`] | DSTM | 2 | least squares over what was seen so far |
//! | [`ThetaVariant::DynamicOptimized`] | DOTM | estimated | the same |
//! | [`ThetaVariant::Auto`] | the one with the smallest criterion | | |
//!
//! **Season.** Where the series is seasonal at 90 % ([`crate::forecast::seasonality::adjust_if_seasonal`], two cycles or more),
//! it is divided by the factors of a classical decomposition (differences where not all values are positive), and the
//! forecasts are multiplied by them again.
//!
//! **Estimation.** The criterion is Σ e_t² over t >= 3 on the adjusted series, with α in [0.1, 0.99] and θ in [1, 1e10]: the
//! criterion and the intervals of statsforecast, so that optima can be compared; ℓ0 is free (there: within ±1e10). The minimum
//! is global up to a grid in α. The first three errors do not count, and so are not reported either: those residuals are NaN.
//!
//! **Spread.** σ² = Σe²/(n - 3 - p), p the number of estimated parameters. Every forecast error is linear in future shocks, so
//! the h-step variance is exact: σ² (1 + (h-1) α²) for a fixed line (Fiorucci et al. 2016); for a dynamic one the covariance of
//! (level, mean, slope) is carried forward, which adds the uncertainty of the line. Multiplicative factors stretch it; the
//! factors' own uncertainty and that of the parameters are left out. (statsforecast simulates 200 paths instead.)
//!
//! Source: Assimakopoulos & Nikolopoulos (2000), *The theta model*, International Journal of Forecasting 16(4); Fiorucci,
//! Pellegrini, Louzada, Petropoulos & Koehler (2016), *Models for optimising the theta method and their relationship to state
//! space models*, International Journal of Forecasting 32(4). What we changed: the estimation (exact elimination of ℓ0 and θ),
//! seasons of length 2 and 3 are tested too, exact variances for the dynamic models.

mod estimate;

use crate::forecast::model::{Diagnostics, FitError, Fitted, Prediction, Spread, check_range};
use crate::forecast::seasonality::{Decomposition, Kind, adjust_if_seasonal};
use estimate::{BURN_IN, Estimate, Line, Problem, Running, line_of};

/// Which member of the Theta family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ThetaVariant {
    /// θ = 2, one line (STM).
    Standard,
    /// θ estimated, one line (OTM).
    Optimized,
    /// θ = 2, a line updated with every observation (DSTM).
    Dynamic,
    /// θ estimated, a line updated with every observation (DOTM).
    DynamicOptimized,
    /// The one of the four with the smallest sum of squared one-step errors.
    Auto,
}

/// (name, dynamic line, θ estimated)
type Form = (&'static str, bool, bool);
const STM: Form = ("STM", false, false);
const OTM: Form = ("OTM", false, true);
const DSTM: Form = ("DSTM", true, false);
const DOTM: Form = ("DOTM", true, true);

/// Fits a Theta model. y: (n), n >= 4. Cost: about 60 passes over the series for each form (four for `Auto`), plus O(n · season)
/// for the season.
///
/// `season` <= 1, or too long for two cycles, means no season. `sigma2` of the diagnostics belongs to the adjusted series;
/// residuals are on the scale of the data. Every estimated parameter needs two errors: with fewer than 9 observations θ = 2,
/// with fewer than 7 also α = 0.5 and ℓ0 = y_1/2 are fixed.
///
/// Errors: missing, infinite or huge (> 1e280) values, fewer than 4 observations.
pub fn fit_theta(y: &[f64], season: usize, variant: ThetaVariant) -> Result<Box<dyn Fitted>, FitError> {
    check_range(y, BURN_IN + 1)?;
    let season = adjust_if_seasonal(y, season, 2);
    let unit = power_of_two(y);
    let x = adjusted(y, season.as_ref(), unit);
    let (a, b) = line_of(&x);
    let forms: &[Form] = match variant {
        ThetaVariant::Standard => &[STM],
        ThetaVariant::Optimized => &[OTM],
        ThetaVariant::Dynamic => &[DSTM],
        ThetaVariant::DynamicOptimized => &[DOTM],
        ThetaVariant::Auto => &[STM, OTM, DSTM, DOTM],
    };
    let mut fixed = Problem::new(&x, &Line::Fixed(a, b));
    let mut moving = Problem::new(&x, &Line::Dynamic);
    let mut best: Option<(Form, Estimate)> = None;
    for &form in forms {
        let (_, dynamic, optimise_theta) = form;
        let estimate = if dynamic { moving.fit(optimise_theta) } else { fixed.fit(optimise_theta) };
        if estimate.sse.is_finite() && estimate.level0.is_finite() && best.is_none_or(|(_, e)| estimate.sse < e.sse) {
            best = Some((form, estimate));
        }
    }
    let Some(((name, dynamic, _), estimate)) = best else {
        return Err(FitError::Numerical("the Theta criterion is not finite anywhere".into()));
    };
    let degrees = x.len().saturating_sub(BURN_IN + estimate.free).max(1);
    let sigma = (estimate.sse / degrees as f64).sqrt();
    let mut params = vec![
        ("alpha".to_string(), estimate.alpha),
        ("theta".to_string(), 1.0 / (1.0 - estimate.weight)),
        ("l0".to_string(), estimate.level0 * unit),
    ];
    if !dynamic {
        params.push(("intercept".to_string(), a * unit));
        params.push(("slope".to_string(), b * unit));
    }
    let form = match &season {
        None => name.to_string(),
        Some(s) if s.kind == Kind::Multiplicative => format!("{name}, multiplicative season {}", s.factors.len()),
        Some(s) => format!("{name}, additive season {}", s.factors.len()),
    };
    let sigma2 = Some((sigma * unit).powi(2)).filter(|v| v.is_finite());
    let diagnostics = Diagnostics { form, sigma2, params, converged: true, ..Diagnostics::default() };
    let line = if dynamic { None } else { Some((a, b)) };
    let parameters =
        Parameters { alpha: estimate.alpha, weight: estimate.weight, level0: estimate.level0, line, sigma, unit, season };
    Ok(Box::new(Theta::run(parameters, &x, diagnostics)))
}

/// The largest power of two not above the largest |y| (1 for zeros). Dividing by it is exact, so results scale exactly with the
/// data and squares stay in range.
fn power_of_two(y: &[f64]) -> f64 {
    let largest = y.iter().fold(0.0f64, |m, v| m.max(v.abs()));
    if largest > 0.0 { largest.log2().floor().clamp(-1000.0, 1000.0).exp2() } else { 1.0 }
}

/// Season and unit taken out. y: (n) -> (n)
fn adjusted(y: &[f64], season: Option<&Decomposition>, unit: f64) -> Vec<f64> {
    match season {
        Some(s) => y.iter().enumerate().map(|(t, &v)| s.remove(v, t) / unit).collect(),
        None => y.iter().map(|v| v / unit).collect(),
    }
}

/// What the fit estimates; all but the season in units of `unit`.
#[derive(Debug, Clone)]
struct Parameters {
    alpha: f64,
    weight: f64,
    level0: f64,
    /// The line of the fixed-line models; `None` for a dynamic one.
    line: Option<(f64, f64)>,
    sigma: f64,
    unit: f64,
    season: Option<Decomposition>,
}

impl Parameters {
    /// What the line adds to the level in μ_t, given the line before t.
    fn tilt(&self, (a, b): (f64, f64), t: usize) -> f64 {
        let q = 1.0 - self.alpha;
        let power = q.powf(t as f64);
        self.weight * (a * power + b * (1.0 - power * q) / self.alpha)
    }
}

/// A fitted Theta model: parameters and the state at the end of the history.
struct Theta {
    parameters: Parameters,
    level: f64,
    running: Running,
    /// Observations in the history.
    n: usize,
    residuals: Vec<f64>,
    diagnostics: Diagnostics,
}

impl Theta {
    /// Runs the recursion over an adjusted history. x: (n), n >= 1
    fn run(parameters: Parameters, x: &[f64], diagnostics: Diagnostics) -> Theta {
        let p = &parameters;
        let n = x.len();
        let mut level = p.alpha * x[0] + (1.0 - p.alpha) * p.level0;
        let mut running = Running::start(x[0]);
        let mut residuals = vec![f64::NAN; n];
        for t in 1..n {
            let e = x[t] - level - p.tilt(p.line.unwrap_or_else(|| running.line()), t);
            if t >= BURN_IN {
                residuals[t] = e * p.unit * p.season.as_ref().map_or(1.0, |s| s.stretch(t));
            }
            level = p.alpha * x[t] + (1.0 - p.alpha) * level;
            running.push(x[t]);
        }
        Theta { parameters, level, running, n, residuals, diagnostics }
    }

    /// Standard deviations of steps 1..=h in units of σ. Exact: the forecast errors are linear in the shocks. Cost: O(h).
    fn spread(&self, h: usize) -> Vec<f64> {
        let p = &self.parameters;
        let (alpha, q) = (p.alpha, 1.0 - p.alpha);
        if p.line.is_some() {
            return (0..h).map(|k| (1.0 + k as f64 * alpha * alpha).sqrt()).collect();
        }
        // Covariance of (level, mean, slope) given the history, in units of σ².
        let mut cov = [[0.0f64; 3]; 3];
        let mut out = Vec::with_capacity(h);
        for t in self.n..self.n + h {
            let i = t as f64;
            let power = q.powf(i);
            // μ_t as a function of the state: A = mean - slope (t + 1)/2.
            let c = [1.0, p.weight * power, p.weight * ((1.0 - power * q) / alpha - power * (i + 1.0) / 2.0)];
            // What an observation does to the state.
            let g = [alpha, 1.0 / (i + 1.0), 6.0 / ((i + 1.0) * (i + 2.0))];
            let mut step = [[q, 0.0, 0.0], [0.0, i / (i + 1.0), 0.0], [0.0, -g[2], (i - 1.0) / (i + 2.0)]];
            for r in 0..3 {
                for s in 0..3 {
                    step[r][s] += g[r] * c[s];
                }
            }
            let times = |a: &[[f64; 3]; 3], r: usize, v: &[f64; 3]| a[r][0] * v[0] + a[r][1] * v[1] + a[r][2] * v[2];
            let cc = [times(&cov, 0, &c), times(&cov, 1, &c), times(&cov, 2, &c)];
            out.push((1.0 + c[0] * cc[0] + c[1] * cc[1] + c[2] * cc[2]).max(1.0).sqrt());
            let mut next = [[0.0; 3]; 3];
            for r in 0..3 {
                // Row r of step · cov (cov is symmetric).
                let row = [times(&cov, 0, &step[r]), times(&cov, 1, &step[r]), times(&cov, 2, &step[r])];
                for s in 0..3 {
                    next[r][s] = times(&step, s, &row) + g[r] * g[s];
                }
            }
            cov = next;
        }
        out
    }
}

impl Fitted for Theta {
    fn predict(&self, h: usize) -> Prediction {
        let p = &self.parameters;
        let (mut level, mut running) = (self.level, self.running);
        let mut mean = Vec::with_capacity(h);
        for t in self.n..self.n + h {
            let mu = level + p.tilt(p.line.unwrap_or_else(|| running.line()), t);
            level = p.alpha * mu + (1.0 - p.alpha) * level;
            running.push(mu);
            let value = mu * p.unit;
            mean.push(p.season.as_ref().map_or(value, |s| s.restore(value, t)));
        }
        let mut sd = self.spread(h);
        for (k, sd) in sd.iter_mut().enumerate() {
            *sd *= p.sigma * p.unit * p.season.as_ref().map_or(1.0, |season| season.stretch(self.n + k));
        }
        Prediction { mean, spread: Spread::Normal(sd) }
    }

    fn residuals(&self) -> &[f64] {
        &self.residuals
    }

    fn apply(&self, y: &[f64]) -> Result<Box<dyn Fitted>, FitError> {
        check_range(y, 1)?;
        let x = adjusted(y, self.parameters.season.as_ref(), self.parameters.unit);
        Ok(Box::new(Theta::run(self.parameters.clone(), &x, self.diagnostics.clone())))
    }

    fn diagnostics(&self) -> &Diagnostics {
        &self.diagnostics
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VARIANTS: [ThetaVariant; 5] = [
        ThetaVariant::Standard,
        ThetaVariant::Optimized,
        ThetaVariant::Dynamic,
        ThetaVariant::DynamicOptimized,
        ThetaVariant::Auto,
    ];

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

    fn wiggly(n: usize) -> Vec<f64> {
        let mut s = 77u64;
        let mut level = 30.0;
        (0..n)
            .map(|t| {
                s = s.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                let u = (s >> 11) as f64 / (1u64 << 53) as f64 - 0.5;
                level += u;
                level + 2.0 * u + 0.1 * t as f64
            })
            .collect()
    }

    #[test]
    fn forecasts_and_spreads_scale_exactly_with_the_data() {
        // Powers of two: every operation is exact, so equality is too.
        let y = air_passengers();
        for variant in VARIANTS {
            let p = fit_theta(&y, 12, variant).unwrap().predict(15);
            for scale in [2f64.powi(-900), 2f64.powi(-40), 2f64.powi(40), 2f64.powi(900)] {
                let z: Vec<f64> = y.iter().map(|v| v * scale).collect();
                let q = fit_theta(&z, 12, variant).unwrap().predict(15);
                for k in 0..15 {
                    assert_eq!(p.mean[k] * scale, q.mean[k], "{variant:?}");
                    assert_eq!(sd(&p)[k] * scale, sd(&q)[k], "{variant:?}");
                }
            }
        }
    }

    #[test]
    fn turning_a_series_without_season_upside_down_turns_the_forecast() {
        let y = wiggly(50);
        let z: Vec<f64> = y.iter().map(|v| -v).collect();
        for variant in VARIANTS {
            let (p, q) = (fit_theta(&y, 1, variant).unwrap().predict(5), fit_theta(&z, 1, variant).unwrap().predict(5));
            assert!(p.mean.iter().zip(&q.mean).all(|(a, b)| *a == -b), "{variant:?}");
        }
    }

    #[test]
    fn constants_and_pure_seasons_are_continued() {
        for variant in VARIANTS {
            for n in [4usize, 6, 8, 20] {
                for c in [0.0, 7.3, -1e250, 1e-250] {
                    let p = fit_theta(&vec![c; n], 12, variant).unwrap().predict(5);
                    assert!(p.mean.iter().all(|v| (v - c).abs() <= 1e-13 * c.abs()), "{variant:?} {n} {c} {:?}", p.mean);
                    assert!(sd(&p).iter().all(|s| s.is_finite() && *s <= 1e-12 * c.abs()));
                }
            }
            let pattern = [0.7, 1.1, 1.4, 0.8];
            let y: Vec<f64> = (0..40).map(|t| 250.0 * pattern[t % 4]).collect();
            let model = fit_theta(&y, 4, variant).unwrap();
            for (k, v) in model.predict(8).mean.iter().enumerate() {
                assert!((v - 250.0 * pattern[k % 4]).abs() < 1e-9, "{variant:?}");
            }
            assert!(model.diagnostics().form.ends_with("multiplicative season 4"));
        }
    }

    #[test]
    fn theta_of_two_goes_half_way_with_the_line() {
        // Assimakopoulos & Nikolopoulos: SES with half the slope of the line as drift, for h -> ∞ of the state's decay.
        let y = wiggly(200);
        let m = fit_theta(&y, 1, ThetaVariant::Standard).unwrap();
        let p = m.predict(3).mean;
        let slope = m.diagnostics().params[4].1;
        assert!((p[2] - p[1] - 0.5 * slope).abs() < 1e-9 && (p[1] - p[0] - 0.5 * slope).abs() < 1e-9);
    }

    #[test]
    fn residuals_are_one_step_errors_of_the_prefixes() {
        let y = air_passengers();
        for variant in VARIANTS {
            let model = fit_theta(&y, 12, variant).unwrap();
            assert!(model.residuals()[..3].iter().all(|e| e.is_nan()));
            for t in 3..y.len() {
                let ahead = model.apply(&y[..t]).unwrap().predict(1).mean[0];
                assert!((y[t] - ahead - model.residuals()[t]).abs() < 1e-9 * y[t], "{variant:?} {t}");
            }
            let again = model.apply(&y).unwrap().predict(9);
            assert_eq!((again.mean.clone(), sd(&again)), (model.predict(9).mean, sd(&model.predict(9))));
        }
    }

    #[test]
    fn the_spread_is_the_response_to_unit_shocks() {
        // Forecast errors are linear in the shocks: add one to the future at step j and see what the forecasts of later steps
        // do. Var_h = σ² Σ_j (response of step h to a shock at step j)².
        let y = wiggly(25);
        let h = 12;
        for variant in &VARIANTS[..4] {
            let model = fit_theta(&y, 1, *variant).unwrap();
            let p = model.predict(h);
            let sigma = model.diagnostics().sigma2.unwrap().sqrt();
            let mut variance = vec![1.0; h];
            for j in 0..h {
                let mut path = y.clone();
                path.extend_from_slice(&p.mean[..=j]);
                let shocked = path.len() - 1;
                path[shocked] += 1.0;
                let later = model.apply(&path).unwrap().predict(h - 1 - j).mean;
                for (k, v) in later.iter().enumerate() {
                    variance[j + 1 + k] += (v - p.mean[j + 1 + k]).powi(2);
                }
            }
            for (k, v) in variance.iter().enumerate() {
                let expected = sigma * v.sqrt();
                assert!((sd(&p)[k] - expected).abs() < 1e-9 * expected, "{variant:?} {k}: {} {expected}", sd(&p)[k]);
            }
        }
    }

    #[test]
    fn auto_is_the_best_and_more_parameters_never_fit_worse() {
        for n in [9usize, 15, 40, 90] {
            let y = wiggly(n);
            let sse = |variant: ThetaVariant| {
                let m = fit_theta(&y, 1, variant).unwrap();
                m.residuals()[3..].iter().map(|e| e * e).sum::<f64>()
            };
            let [stm, otm, dstm, dotm, auto] = VARIANTS.map(sse);
            // Two sums of the same squares: rounding only.
            let below = |a: f64, b: f64| a <= b * (1.0 + 1e-9);
            assert!(below(otm, stm) && below(dotm, dstm), "{n}");
            assert!(below(auto, otm.min(dotm)) && below(otm.min(dotm), auto), "{n}");
        }
    }

    #[test]
    fn the_reference_case() {
        // Printed by statsforecast 2.1.1, whose optimiser stops early: half a percent.
        let y = &air_passengers()[..132];
        let optimised = [412.711879, 404.640500, 466.810896];
        for (variant, expected) in [
            (ThetaVariant::Standard, [411.370264, 402.274687, 462.882814]),
            (ThetaVariant::Optimized, optimised),
            (ThetaVariant::DynamicOptimized, [412.697645, 404.638583, 466.829101]),
            (ThetaVariant::Auto, optimised),
        ] {
            let model = fit_theta(y, 12, variant).unwrap();
            for (a, b) in model.predict(12).mean.iter().zip(expected) {
                assert!((a - b).abs() <= 0.005 * b, "{variant:?}: {a} {b}");
            }
        }
        let auto = fit_theta(y, 12, ThetaVariant::Auto).unwrap();
        assert_eq!(auto.diagnostics().form, "OTM, multiplicative season 12");
        // The season stretches the spread.
        let spread = sd(&auto.predict(24));
        assert!(spread[7] > spread[0] * 1.2 && spread[19] > spread[7]);
    }

    #[test]
    fn short_odd_and_extreme_series_give_numbers_or_errors() {
        let short = |y: &[f64]| matches!(fit_theta(y, 1, ThetaVariant::Auto), Err(FitError::TooShort { need: 4, .. }));
        assert!(short(&[]) && short(&[1.0]) && short(&[1.0, 2.0, 3.0]));
        let mut spike = vec![0.0; 30];
        spike[17] = 5.0;
        let grown: Vec<f64> = (0..40).map(|t| 1.7f64.powi(t)).collect();
        let signs: Vec<f64> = (0..30).map(|t| [-3.0, 2.0, 5.0, -1.0][t % 4] - t as f64).collect();
        let jump: Vec<f64> = (0..30).map(|t| if t < 29 { 1.0 } else { 1e9 }).collect();
        let mut odd = vec![spike, grown, signs, jump, vec![1e280, -1e280, 1e280, -1e280, 1e280, 1e280, 0.0, 1.0]];
        for n in 4..14 {
            odd.push(wiggly(n));
            odd.push((0..n).map(|t| t as f64).collect());
            odd.push((0..n).map(|t| if t % 3 == 0 { 1e-280 } else { 0.0 }).collect());
        }
        for y in &odd {
            let size = y.iter().fold(0.0f64, |m, v| m.max(v.abs()));
            for variant in VARIANTS {
                for season in [0, 1, 4, 12, 1000, usize::MAX] {
                    let p = fit_theta(y, season, variant).unwrap().predict(40);
                    assert!(
                        p.mean.iter().all(|v| v.is_finite() && v.abs() <= 100.0 * size),
                        "{variant:?} {season} {y:?} {:?}",
                        p.mean
                    );
                    assert!(sd(&p).iter().all(|s| s.is_finite() && *s >= 0.0), "{variant:?} {season} {y:?}");
                }
            }
        }
        assert!(matches!(fit_theta(&[1.0, f64::INFINITY], 1, ThetaVariant::Auto), Err(FitError::NonFinite { index: 2, .. })));
    }
}
