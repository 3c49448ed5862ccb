//! Which quantiles a forecast carries and how they come about: from the model's own distribution or by conformal calibration.
//!
//! # Conformal calibration
//! Scores are absolute errors |y − ŷ| of `windows` forecasts made before the forecast origin, kept per horizon step: cutoffs
//! n − w·h for w = windows … 1, each fitted on what lies before it. Two readings of the scores at a step:
//! - `split`: the interval of level ℓ is ŷ ± the ⌈(w + 1) ℓ⌉-th smallest score; where that rank exceeds w the level cannot be
//!   guaranteed from w scores and the largest score is taken (`windows_for_level` says how many it takes).
//! - `distribution`: the quantiles (linear interpolation) of the 2w values ŷ ± score.
//!
//! # Source
//! Split conformal prediction (Lei et al. 2018, section 2.2); the pooled distribution is the convention of statsforecast.

use serde::{Deserialize, Serialize};

/// How scores become intervals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ConformalVariant {
    /// Order statistic of the scores, symmetric about the mean.
    Split,
    /// Quantiles of the mean plus and minus every score.
    Distribution,
}

/// Where quantiles come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum IntervalMethod {
    /// No quantiles.
    None,
    /// The model's forecast distribution.
    Model,
    /// Calibrated on `windows` earlier forecasts.
    Conformal { variant: ConformalVariant, windows: usize },
}

/// The quantiles asked for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct IntervalConfig {
    /// Source of the quantiles.
    pub method: IntervalMethod,
    /// Central interval coverages in percent, each in (0, 100).
    pub levels: Vec<f64>,
    /// Probabilities in (0, 1).
    pub quantiles: Vec<f64>,
}

impl IntervalConfig {
    /// No intervals at all.
    pub fn none() -> Self {
        Self { method: IntervalMethod::None, levels: Vec::new(), quantiles: Vec::new() }
    }

    /// The probabilities to compute: two per level (lower, upper) in the order given, then the quantiles.
    pub fn probabilities(&self) -> Vec<f64> {
        if self.method == IntervalMethod::None {
            return Vec::new();
        }
        let tails = self.levels.iter().flat_map(|l| [0.5 - l / 200.0, 0.5 + l / 200.0]);
        tails.chain(self.quantiles.iter().copied()).collect()
    }

    /// Column names parallel to [`Self::probabilities`]: `lo-80`, `hi-80`, …, `q0.1`.
    pub fn column_names(&self) -> Vec<String> {
        if self.method == IntervalMethod::None {
            return Vec::new();
        }
        let tails = self.levels.iter().flat_map(|l| [format!("lo-{l}"), format!("hi-{l}")]);
        tails.chain(self.quantiles.iter().map(|q| format!("q{q}"))).collect()
    }

    /// Observations a series needs for calibration at horizon `h`: one to fit on before the first of the calibration windows.
    pub fn calibration_need(&self, h: usize) -> usize {
        match self.method {
            IntervalMethod::Conformal { windows, .. } => windows * h + 1,
            _ => 0,
        }
    }
}

/// Calibration scores of one series: `scores[step]` holds one score per calibration window, ascending.
#[derive(Debug, Clone, PartialEq)]
pub struct Calibration {
    scores: Vec<Vec<f64>>,
}

impl Calibration {
    /// From errors |y − ŷ| by window and step. `errors`: (windows, h).
    pub fn new(errors: &[Vec<f64>]) -> Self {
        let h = errors.first().map_or(0, Vec::len);
        let scores = (0..h)
            .map(|k| {
                let mut column: Vec<f64> = errors.iter().map(|e| e[k]).collect();
                column.sort_by(f64::total_cmp);
                column
            })
            .collect();
        Self { scores }
    }

    /// From scores by step, as [`Self::scores`] gives them; they are put in order.
    pub fn from_scores(mut scores: Vec<Vec<f64>>) -> Self {
        scores.iter_mut().for_each(|s| s.sort_by(f64::total_cmp));
        Self { scores }
    }

    /// The scores of every step, ascending.
    pub fn scores(&self) -> &[Vec<f64>] {
        &self.scores
    }

    /// The `p` quantile of the forecast at every step around `mean` (at most as many steps as were calibrated).
    pub fn quantile(&self, variant: ConformalVariant, mean: &[f64], p: f64) -> Vec<f64> {
        let at = |m: f64, scores: &[f64]| match variant {
            ConformalVariant::Split => {
                let level = (2.0 * p - 1.0).abs();
                let w = scores.len();
                // A level of 0.8 computed as 2·0.9 − 1 must not round up to the next rank.
                let rank = (((w + 1) as f64 * level - 1e-9).ceil() as usize).clamp(1, w);
                m + (p - 0.5).signum() * if p == 0.5 { 0.0 } else { scores[rank - 1] }
            }
            ConformalVariant::Distribution => {
                let mut pool: Vec<f64> = scores.iter().flat_map(|s| [m - s, m + s]).collect();
                pool.sort_by(f64::total_cmp);
                interpolate(&pool, p)
            }
        };
        mean.iter().zip(&self.scores).map(|(&m, s)| at(m, s)).collect()
    }

    /// The smallest number of windows with which `split` can honour a level in percent: ⌈(w + 1) ℓ⌉ ≤ w.
    pub fn windows_for_level(level: f64) -> usize {
        let l = level / 100.0;
        (l / (1.0 - l) - 1e-9).ceil().max(1.0) as usize
    }
}

/// Linear interpolation between order statistics (type 7).
fn interpolate(sorted: &[f64], p: f64) -> f64 {
    let at = p * (sorted.len() - 1) as f64;
    let low = (at.floor() as usize).min(sorted.len() - 1);
    let high = (low + 1).min(sorted.len() - 1);
    sorted[low] + (at - low as f64) * (sorted[high] - sorted[low])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn split_takes_the_order_statistic_and_saturates() {
        let c = Calibration::new(&(1..=9).map(|s| vec![f64::from(s)]).collect::<Vec<_>>());
        // ⌈10 · 0.8⌉ = 8th of nine scores; 95 % would need rank 10 and takes the largest.
        assert_eq!(c.quantile(ConformalVariant::Split, &[100.0], 0.9), [108.0]);
        assert_eq!(c.quantile(ConformalVariant::Split, &[100.0], 0.1), [92.0]);
        assert_eq!(c.quantile(ConformalVariant::Split, &[100.0], 0.975), [109.0]);
        assert_eq!(c.quantile(ConformalVariant::Split, &[100.0], 0.5), [100.0]);
        assert_eq!([80.0, 90.0, 95.0].map(Calibration::windows_for_level), [4, 9, 19]);
    }

    #[test]
    fn distribution_interpolates_the_pool() {
        let c = Calibration::new(&[vec![1.0], vec![3.0]]);
        // Pool −3, −1, 1, 3.
        assert_eq!(c.quantile(ConformalVariant::Distribution, &[0.0], 0.5), [0.0]);
        assert!((c.quantile(ConformalVariant::Distribution, &[0.0], 0.9)[0] - 2.4).abs() < 1e-12);
    }

    #[test]
    fn names_and_probabilities_run_in_parallel() {
        let c = IntervalConfig { method: IntervalMethod::Model, levels: vec![80.0, 99.5], quantiles: vec![0.1] };
        assert_eq!(c.column_names(), ["lo-80", "hi-80", "lo-99.5", "hi-99.5", "q0.1"]);
        let p = c.probabilities();
        assert!((p[0] - 0.1).abs() < 1e-15 && (p[3] - 0.9975).abs() < 1e-15 && p[4] == 0.1);
    }
}
