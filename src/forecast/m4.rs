//! The M4 competition's protocol: one forecast per series from the end of its training file, scored on the test file.
//!
//! # Source
//! Makridakis et al. 2020, "The M4 Competition"; horizons and the seasonal frequencies of MASE as published (weekly and daily
//! count as not seasonal). OWA compares with Naive2 of the same run.

use super::engine::{EngineError, Plan, SeriesForecast, SeriesInput, predict_panel};
use super::metrics::{Scores, TrainScale, Window};
use super::naive;
use super::spec::ModelSpec;
use crate::run::observer::Observer;

/// One frequency group of the competition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Group {
    /// Preset name.
    pub name: &'static str,
    /// Steps ahead.
    pub horizon: usize,
    /// Seasonal frequency of models, MASE and Naive2.
    pub season: usize,
}

/// All groups.
pub const GROUPS: [Group; 6] = [
    Group { name: "m4-yearly", horizon: 6, season: 1 },
    Group { name: "m4-quarterly", horizon: 8, season: 4 },
    Group { name: "m4-monthly", horizon: 18, season: 12 },
    Group { name: "m4-weekly", horizon: 13, season: 1 },
    Group { name: "m4-daily", horizon: 14, season: 1 },
    Group { name: "m4-hourly", horizon: 48, season: 24 },
];

/// Forecasts and scores of a group.
#[derive(Debug, Clone)]
pub struct M4Result {
    /// Flat over series × horizon; `owa` against Naive2.
    pub scores: Scores,
    /// By horizon step.
    pub by_step: Vec<Scores>,
    /// The forecasts, by series.
    pub forecasts: Vec<SeriesForecast>,
}

/// Forecasts every series and scores it on `truth` (one slice of the plan's horizon per series).
///
/// # Errors
/// Those of [`predict_panel`].
pub fn evaluate(
    spec: &ModelSpec,
    train: &[SeriesInput<'_>],
    truth: &[&[f64]],
    plan: &Plan,
    observer: &dyn Observer,
) -> Result<M4Result, EngineError> {
    let forecasts = predict_panel(spec, train, plan, observer)?;
    let (mut scores, mut by_step) = (Scores::default(), vec![Scores::default(); plan.horizon]);
    for ((s, y), f) in train.iter().zip(truth).zip(&forecasts) {
        let naive2 = naive::naive2(s.y, s.season, plan.horizon).map_err(|e| EngineError::Series {
            id: s.id.into(),
            model: "naive2".into(),
            why: e.to_string(),
        })?;
        let scale = TrainScale::new(s.y, s.season);
        scores.add(&Window { y, mean: &f.mean, scale, naive2: Some(&naive2), ..Window::default() });
        for (k, step) in by_step.iter_mut().enumerate() {
            let at = k..=k;
            let n2 = Some(&naive2[at.clone()]);
            step.add(&Window { y: &y[at.clone()], mean: &f.mean[at], scale, naive2: n2, ..Window::default() });
        }
    }
    Ok(M4Result { scores, by_step, forecasts })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::forecast::intervals::IntervalConfig;
    use crate::forecast::metrics::Metric;
    use crate::run::observer::Silent;

    #[test]
    fn owa_of_naive_is_one_without_a_season() {
        let y: Vec<f64> = (0..40).map(|t| 10.0 + f64::from(t * t % 13)).collect();
        let train = [SeriesInput { id: "a", y: &y[..34], season: 1 }];
        let plan = Plan { horizon: 6, lookback: 12, intervals: IntervalConfig::none() };
        let r = evaluate(&ModelSpec::Naive, &train, &[&y[34..]], &plan, &Silent).unwrap();
        assert_eq!(r.scores.columns(Metric::Owa)[0].1, Some(1.0));
        assert_eq!(r.by_step.len(), 6);
    }
}
