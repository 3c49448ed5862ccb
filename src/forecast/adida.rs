//! ADIDA: aggregate the series until demands stop being intermittent, forecast the totals, disaggregate evenly.
//!
//! The bucket is the mean interval between demands, rounded (ties to even); buckets end at the last observation, an incomplete
//! one at the start is dropped; totals are smoothed exponentially with the α of [0.1, 0.3] that has the smallest squared one-step
//! error; the forecast of every step is the smoothed total divided by the bucket. The spread is [`Spread::None`]: use conformal
//! intervals.
//!
//! Source: Nikolopoulos, Syntetos, Boylan, Petropoulos & Assimakopoulos (2011), *An aggregate–disaggregate intermittent demand
//! approach (ADIDA) to forecasting*, Journal of the Operational Research Society 62(3). Conventions as in statsforecast.

use crate::forecast::croston::{best_alpha, check_demand};
use crate::forecast::model::{Diagnostics, FitError, Fitted, Prediction, Spread};

struct Adida {
    bucket: usize,
    alpha: f64,
    forecast: f64,
    residuals: Vec<f64>,
    diagnostics: Diagnostics,
}

impl Adida {
    /// The smoothed totals of every prefix: prefixes whose lengths differ by a bucket share all but their last total.
    /// y: (n) -> forecasts after 0..=n observations (NaN where no bucket is complete), (n + 1). Cost: O(n).
    fn forecasts(y: &[f64], bucket: usize, alpha: f64) -> Vec<f64> {
        let mut level = vec![f64::NAN; y.len() + 1];
        let mut total = 0.0;
        for end in bucket..=y.len() {
            // Summed afresh once a bucket, where the forecast after all of y needs it: running sums collect rounding errors.
            total = if end == bucket || (y.len() - end).is_multiple_of(bucket) {
                y[end - bucket..end].iter().sum()
            } else {
                total + (y[end - 1] - y[end - 1 - bucket])
            };
            let before = level[end - bucket];
            level[end] = if before.is_nan() { total } else { alpha * total + (1.0 - alpha) * before };
        }
        level.iter_mut().for_each(|v| *v /= bucket as f64);
        level
    }

    fn run(bucket: usize, alpha: f64, y: &[f64], diagnostics: Diagnostics) -> Adida {
        let forecasts = Self::forecasts(y, bucket, alpha);
        let residuals = y.iter().zip(&forecasts).map(|(v, f)| v - f).collect();
        // A history shorter than one bucket: its mean.
        let last = forecasts.last().copied().unwrap_or(f64::NAN);
        let forecast = if last.is_nan() { y.iter().sum::<f64>() / y.len().max(1) as f64 } else { last };
        Adida { bucket, alpha, forecast, residuals, diagnostics }
    }
}

impl Fitted for Adida {
    fn predict(&self, h: usize) -> Prediction {
        Prediction { mean: vec![self.forecast; h], spread: Spread::None }
    }

    fn residuals(&self) -> &[f64] {
        &self.residuals
    }

    fn apply(&self, y: &[f64]) -> Result<Box<dyn Fitted>, FitError> {
        check_demand(y, "ADIDA")?;
        Ok(Box::new(Adida::run(self.bucket, self.alpha, y, self.diagnostics.clone())))
    }

    fn diagnostics(&self) -> &Diagnostics {
        &self.diagnostics
    }
}

/// Fits ADIDA. y: (n), n >= 1, values >= 0; without any demand the forecast is 0. Cost: O(n) plus about 30 passes over the totals.
///
/// Errors: negative, missing, infinite or huge (> 1e280) values, an empty series.
pub fn fit_adida(y: &[f64]) -> Result<Box<dyn Fitted>, FitError> {
    check_demand(y, "ADIDA")?;
    let demands = y.iter().filter(|v| **v > 0.0).count();
    let last = y.iter().rposition(|v| *v > 0.0);
    let bucket = match last {
        // The intervals add up to the position of the last demand.
        Some(t) => (((t + 1) as f64 / demands as f64).round_ties_even() as usize).max(1),
        None => 1,
    };
    let offset = y.len() % bucket;
    let totals: Vec<f64> = y[offset..].chunks_exact(bucket).map(|c| c.iter().sum()).collect();
    let alpha = best_alpha(&totals);
    let params = vec![("bucket".to_string(), bucket as f64), ("alpha".to_string(), alpha)];
    let form = format!("ADIDA({bucket})");
    let diagnostics = Diagnostics { form, params, converged: true, ..Diagnostics::default() };
    Ok(Box::new(Adida::run(bucket, alpha, y, diagnostics)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const Y: [f64; 10] = [0.0, 0.0, 3.0, 0.0, 5.0, 0.0, 0.0, 0.0, 2.0, 0.0];

    #[test]
    fn by_hand() {
        // Demands at 3, 5, 9: mean interval 3. Buckets of the last nine: 3, 5, 2.
        let m = fit_adida(&Y).unwrap();
        assert_eq!(m.diagnostics().form, "ADIDA(3)");
        // Errors 2 and 2 - (3 + 2α): the second is smallest in size at α = 0.1.
        let alpha = m.diagnostics().params[1].1;
        assert!((alpha - 0.1).abs() < 1e-9);
        let expected = (0.1 * 2.0 + 0.9 * (0.1 * 5.0 + 0.9 * 3.0)) / 3.0;
        // The search stops within 1e-9 of the bound.
        assert!((m.predict(2).mean[1] - expected).abs() < 1e-8);
    }

    #[test]
    fn a_bucket_of_one_is_exponential_smoothing() {
        let m = fit_adida(&[4.0, 6.0, 5.0, 9.0, 7.0]).unwrap();
        assert_eq!(m.diagnostics().form, "ADIDA(1)");
        let alpha = m.diagnostics().params[1].1;
        let level = [6.0, 5.0, 9.0, 7.0].iter().fold(4.0, |l, v| alpha * v + (1.0 - alpha) * l);
        assert!((m.predict(1).mean[0] - level).abs() < 1e-14);
    }

    #[test]
    fn residuals_are_forecasts_of_the_prefixes() {
        let mut s = 9u64;
        let y: Vec<f64> = (0..83)
            .map(|_| {
                s = s.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                if (s >> 40).is_multiple_of(4) { 0.1 + ((s >> 33) % 9) as f64 } else { 0.0 }
            })
            .collect();
        let m = fit_adida(&y).unwrap();
        let bucket = m.diagnostics().params[0].1 as usize;
        for t in bucket..y.len() {
            let ahead = m.apply(&y[..t]).unwrap().predict(1).mean[0];
            // Running sums against fresh ones: rounding of sums below 100.
            assert!((y[t] - ahead - m.residuals()[t]).abs() < 1e-12, "{t}");
        }
        assert!(m.residuals()[..bucket].iter().all(|e| e.is_nan()));
        assert_eq!(m.apply(&y).unwrap().predict(4).mean, m.predict(4).mean);
    }

    #[test]
    fn odd_series_give_numbers_or_errors() {
        for y in [vec![0.0], vec![0.0; 20], vec![5.0], vec![0.0, 0.0, 0.0, 8.0], vec![8.0, 0.0, 0.0, 0.0], vec![1e280; 5]] {
            let p = fit_adida(&y).unwrap().predict(3);
            assert!(p.mean.iter().all(|v| v.is_finite() && *v >= 0.0));
            assert!(matches!(p.spread, Spread::None));
        }
        assert_eq!(fit_adida(&[0.0; 20]).unwrap().predict(1).mean, vec![0.0]);
        // One demand at the end of four steps: one bucket of four.
        assert_eq!(fit_adida(&[0.0, 0.0, 0.0, 8.0]).unwrap().predict(1).mean, vec![2.0]);
        assert!(matches!(fit_adida(&[1.0, -1.0]), Err(FitError::Spec(_))));
        assert!(matches!(fit_adida(&[]), Err(FitError::TooShort { .. })));
    }
}
