//! Intermittent demand: Croston's method, its optimised and bias-corrected (SBA) forms, and TSB.
//!
//! Croston smooths the sizes z of the demands and the intervals p between them, both only when a demand occurs, and forecasts
//! z/p for every step; SBA multiplies by 0.95 = 1 - α/2, α = 0.1, against Croston's upward bias. TSB smooths the probability of a
//! demand at every step instead, so that its forecast fades when demand stops.
//!
//! A smoothing starts at its first value. The first interval counts from the start of the series. Without any demand the forecast
//! is 0. None of the methods has a model of its errors: the spread is [`Spread::None`], use conformal intervals.
//!
//! Residuals: before the first demand the forecast is 0; the first residual is NaN.
//!
//! Source: Croston (1972), Operational Research Quarterly 23(3); Syntetos & Boylan (2005), International Journal of Forecasting
//! 21(2); Teunter, Syntetos & Babai (2011), European Journal of Operational Research 214(3). Conventions as in statsforecast.

use crate::forecast::model::{Diagnostics, FitError, Fitted, Prediction, Spread, check_range};
use crate::forecast::optimize::minimise;

/// The smoothing constant of the classic methods.
const ALPHA: f64 = 0.1;
/// Where optimised smoothing constants are looked for.
const OPTIMISED: (f64, f64) = (0.1, 0.3);

/// Which of Croston's methods.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CrostonVariant {
    /// Both smoothing constants are 0.1.
    Classic,
    /// Each constant minimises the squared one-step errors of its own sequence over [0.1, 0.3].
    Optimized,
    /// Classic times 0.95 (Syntetos–Boylan approximation).
    Sba,
}

/// Refuses what is no demand: negative, missing, infinite or huge values.
pub(crate) fn check_demand(y: &[f64], model: &str) -> Result<(), FitError> {
    check_range(y, 1)?;
    match y.iter().position(|&v| v < 0.0) {
        Some(i) => Err(FitError::Spec(format!("{model} needs values of zero or more, found {} at observation {}", y[i], i + 1))),
        None => Ok(()),
    }
}

/// The α in [0.1, 0.3] with the smallest sum of squared one-step errors of exponential smoothing started at x_1; 0.2 where α does
/// not matter. x: (n) -> α. Cost: about 30 passes.
pub(crate) fn best_alpha(x: &[f64]) -> f64 {
    let middle = 0.5 * (OPTIMISED.0 + OPTIMISED.1);
    let unit = x.iter().fold(0.0f64, |m, v| m.max(v.abs()));
    if x.len() < 3 || unit == 0.0 {
        // One error at most, and it does not depend on α.
        return middle;
    }
    let sse = |alpha: f64| {
        let mut level = x[0] / unit;
        let mut sse = 0.0;
        for v in &x[1..] {
            let e = v / unit - level;
            sse += e * e;
            level += alpha * e;
        }
        sse
    };
    let (alpha, lowest) = minimise(sse, OPTIMISED.0, OPTIMISED.1, 8);
    if lowest < sse(middle) { alpha } else { middle }
}

/// Sizes of the demands and the intervals before them, the first counted from the start. y: (n) -> two of (demands)
fn split(y: &[f64]) -> (Vec<f64>, Vec<f64>) {
    let mut last = 0;
    let demands = y.iter().enumerate().filter(|(_, v)| **v > 0.0);
    demands
        .map(|(t, &v)| {
            let interval = (t + 1 - last) as f64;
            last = t + 1;
            (v, interval)
        })
        .unzip()
}

#[derive(Debug, Clone, Copy)]
enum Method {
    /// Smoothing constants of sizes and intervals, and the correction factor.
    Croston { sizes: f64, intervals: f64, factor: f64 },
    /// Smoothing constants of sizes and of the probability.
    Tsb { sizes: f64, probability: f64 },
}

struct Intermittent {
    method: Method,
    forecast: f64,
    residuals: Vec<f64>,
    diagnostics: Diagnostics,
}

impl Intermittent {
    /// One pass: the forecast before every observation and after the last.
    fn run(method: Method, y: &[f64], diagnostics: Diagnostics) -> Intermittent {
        let mut residuals = Vec::with_capacity(y.len());
        let (mut size, mut interval, mut probability): (Option<f64>, f64, f64) = (None, 0.0, 0.0);
        let mut since = 0.0;
        let mut forecast = f64::NAN;
        let toward = |state: &mut f64, value: f64, alpha: f64, first: bool| {
            *state = if first { value } else { alpha * value + (1.0 - alpha) * *state };
        };
        for (t, &v) in y.iter().enumerate() {
            residuals.push(v - forecast);
            since += 1.0;
            if let Method::Tsb { probability: alpha, .. } = method {
                toward(&mut probability, if v > 0.0 { 1.0 } else { 0.0 }, alpha, t == 0);
            }
            if v > 0.0 {
                let first = size.is_none();
                let mut z = size.unwrap_or(0.0);
                match method {
                    Method::Croston { sizes, intervals, .. } => {
                        toward(&mut z, v, sizes, first);
                        toward(&mut interval, since, intervals, first);
                    }
                    Method::Tsb { sizes, .. } => toward(&mut z, v, sizes, first),
                }
                size = Some(z);
                since = 0.0;
            }
            forecast = match (size, method) {
                (None, _) => 0.0,
                (Some(z), Method::Croston { factor, .. }) => factor * (z / interval),
                (Some(z), Method::Tsb { .. }) => probability * z,
            };
        }
        Intermittent { method, forecast, residuals, diagnostics }
    }
}

impl Fitted for Intermittent {
    fn predict(&self, h: usize) -> Prediction {
        Prediction { mean: vec![self.forecast; h], spread: Spread::None }
    }

    fn residuals(&self) -> &[f64] {
        &self.residuals
    }

    fn apply(&self, y: &[f64]) -> Result<Box<dyn Fitted>, FitError> {
        check_demand(y, &self.diagnostics.form)?;
        Ok(Box::new(Intermittent::run(self.method, y, self.diagnostics.clone())))
    }

    fn diagnostics(&self) -> &Diagnostics {
        &self.diagnostics
    }
}

/// Croston's method and its relatives. y: (n), n >= 1, values >= 0. Cost: O(n); `Optimized` about 60 passes over the demands.
///
/// Errors: negative, missing, infinite or huge (> 1e280) values, an empty series.
pub fn fit_croston(y: &[f64], variant: CrostonVariant) -> Result<Box<dyn Fitted>, FitError> {
    let (form, factor) = match variant {
        CrostonVariant::Classic => ("Croston", 1.0),
        CrostonVariant::Optimized => ("CrostonOptimized", 1.0),
        CrostonVariant::Sba => ("CrostonSBA", 0.95),
    };
    check_demand(y, form)?;
    let (sizes, intervals) = match variant {
        CrostonVariant::Optimized => {
            let (z, p) = split(y);
            (best_alpha(&z), best_alpha(&p))
        }
        CrostonVariant::Classic | CrostonVariant::Sba => (ALPHA, ALPHA),
    };
    let params = vec![("alpha_size".to_string(), sizes), ("alpha_interval".to_string(), intervals)];
    let diagnostics = Diagnostics { form: form.into(), params, converged: true, ..Diagnostics::default() };
    Ok(Box::new(Intermittent::run(Method::Croston { sizes, intervals, factor }, y, diagnostics)))
}

/// Teunter–Syntetos–Babai: the smoothed size of a demand times its smoothed probability. y: (n), n >= 1, values >= 0. Cost: O(n).
///
/// `alpha_d` smooths the sizes (at each demand), `alpha_p` the probability (at every step); both in [0, 1]. The authors estimate
/// them by hand; 0.2 for both is a usual choice and the command line's default. Errors: as [`fit_croston`], and
/// [`FitError::Spec`] for a constant outside [0, 1].
pub fn fit_tsb(y: &[f64], alpha_d: f64, alpha_p: f64) -> Result<Box<dyn Fitted>, FitError> {
    for (name, alpha) in [("alpha_d", alpha_d), ("alpha_p", alpha_p)] {
        if !(0.0..=1.0).contains(&alpha) {
            return Err(FitError::Spec(format!("tsb needs {name} between 0 and 1, found {alpha}")));
        }
    }
    check_demand(y, "TSB")?;
    let params = vec![("alpha_d".to_string(), alpha_d), ("alpha_p".to_string(), alpha_p)];
    let diagnostics = Diagnostics { form: "TSB".into(), params, converged: true, ..Diagnostics::default() };
    Ok(Box::new(Intermittent::run(Method::Tsb { sizes: alpha_d, probability: alpha_p }, y, diagnostics)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const Y: [f64; 10] = [0.0, 0.0, 3.0, 0.0, 5.0, 0.0, 0.0, 0.0, 2.0, 0.0];

    fn forecast(m: Result<Box<dyn Fitted>, FitError>) -> f64 {
        m.unwrap().predict(1).mean[0]
    }

    fn near(a: f64, b: f64) {
        // A handful of operations: a few ulps.
        assert!((a - b).abs() <= 1e-14 * b.abs(), "{a} != {b}");
    }

    fn all(y: &[f64]) -> Vec<Box<dyn Fitted>> {
        [
            fit_croston(y, CrostonVariant::Classic),
            fit_croston(y, CrostonVariant::Optimized),
            fit_croston(y, CrostonVariant::Sba),
            fit_tsb(y, 0.2, 0.3),
        ]
        .into_iter()
        .map(|m| m.unwrap())
        .collect()
    }

    #[test]
    fn croston_by_hand() {
        // Sizes 3, 5, 2: 3 -> 3.2 -> 3.08. Intervals 3, 2, 4: 3 -> 2.9 -> 3.01.
        near(forecast(fit_croston(&Y, CrostonVariant::Classic)), 3.08 / 3.01);
        near(forecast(fit_croston(&Y, CrostonVariant::Sba)), 0.95 * 3.08 / 3.01);
        let m = fit_croston(&Y, CrostonVariant::Classic).unwrap();
        assert!(m.residuals()[0].is_nan());
        assert_eq!(m.residuals()[1..5], [0.0, 3.0, -1.0, 4.0]);
        near(m.residuals()[9], -3.08 / 3.01);
    }

    #[test]
    fn tsb_by_hand() {
        // Sizes with 0.5: 3 -> 4 -> 3. Probability with 0.5 from 0: 0 0 .5 .25 .625 .3125 .15625 .078125 .5390625 .26953125.
        near(forecast(fit_tsb(&Y, 0.5, 0.5)), 3.0 * 0.26953125);
        let m = fit_tsb(&Y, 0.5, 0.5).unwrap();
        near(m.residuals()[5], -4.0 * 0.625);
    }

    #[test]
    fn regular_demand_is_its_rate() {
        // Size 6 every third step: 2 a step for Croston, whatever the smoothing.
        let y: Vec<f64> = (0..30).map(|t| if t % 3 == 2 { 6.0 } else { 0.0 }).collect();
        near(forecast(fit_croston(&y, CrostonVariant::Classic)), 2.0);
        near(forecast(fit_croston(&y, CrostonVariant::Optimized)), 2.0);
        near(forecast(fit_tsb(&[4.0; 7], 0.2, 0.2)), 4.0);
    }

    #[test]
    fn forecasts_scale_with_the_demand_and_residuals_match_the_prefixes() {
        for (a, b) in all(&Y).iter().zip(all(&Y.map(|v| v * 1024.0))) {
            assert_eq!(1024.0 * a.predict(2).mean[1], b.predict(2).mean[1]);
            for t in 1..Y.len() {
                let ahead = a.apply(&Y[..t]).unwrap().predict(1).mean[0];
                assert_eq!(Y[t] - ahead, a.residuals()[t], "{}", a.diagnostics().form);
            }
            assert_eq!(a.apply(&Y).unwrap().predict(3).mean, a.predict(3).mean);
        }
    }

    #[test]
    fn the_optimised_constants_are_the_lowest_of_a_grid() {
        let mut s = 12345u64;
        for n in [3usize, 5, 9, 20, 60] {
            let x: Vec<f64> = (0..n)
                .map(|_| {
                    s = s.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                    1.0 + ((s >> 33) % 17) as f64
                })
                .collect();
            let sse = |alpha: f64| {
                let mut level = x[0];
                x[1..]
                    .iter()
                    .map(|v| {
                        let e = v - level;
                        level += alpha * e;
                        e * e
                    })
                    .sum::<f64>()
            };
            let best = sse(best_alpha(&x));
            for i in 0..=1000 {
                assert!(best <= sse(0.1 + 0.2 * i as f64 / 1000.0) * (1.0 + 1e-12), "{n} {i}");
            }
        }
        assert_eq!(best_alpha(&[1.0, 5.0]), 0.2);
        assert_eq!(best_alpha(&[1.0, 1.0, 1.0, 5.0]), 0.2);
    }

    #[test]
    fn no_demand_one_demand_and_extreme_scales_give_numbers() {
        for y in [vec![0.0], vec![0.0; 30], vec![7.0], vec![0.0, 0.0, 1e280], vec![1e-300, 0.0, 2e-300, 0.0]] {
            for m in all(&y) {
                let p = m.predict(3);
                assert!(p.mean.iter().all(|v| v.is_finite() && *v >= 0.0));
                assert!(matches!(p.spread, Spread::None));
                if y.iter().all(|v| *v == 0.0) {
                    assert_eq!(p.mean, vec![0.0; 3]);
                }
            }
        }
    }

    #[test]
    fn what_is_no_demand_is_refused() {
        assert!(matches!(fit_croston(&[1.0, -2.0], CrostonVariant::Sba), Err(FitError::Spec(_))));
        assert!(matches!(fit_tsb(&[1.0], 1.5, 0.2), Err(FitError::Spec(_))));
        assert!(matches!(fit_tsb(&[1.0], 0.1, f64::NAN), Err(FitError::Spec(_))));
        assert!(matches!(fit_tsb(&[f64::NAN], 0.1, 0.1), Err(FitError::NonFinite { index: 1, .. })));
        assert!(matches!(fit_croston(&[], CrostonVariant::Classic), Err(FitError::TooShort { need: 1, got: 0 })));
    }
}
