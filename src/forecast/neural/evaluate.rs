//! A network through the fixed train/validation/test protocol: trained on the training windows, the best epoch picked on the
//! validation windows, scored on the test windows.

use super::forecaster::forecast_windows;
use super::learner::{EVALUATION_BATCH, Validation, WindowLearner};
use super::options::Recipe;
use super::windows::{Block, WindowSet};
use crate::forecast::engine::standard_scale;
use crate::forecast::metrics::{Scores, TrainScale};
use crate::forecast::protocol::{EvalConfig, EvalResult, Style, score, window_count};
use crate::nn::train::{Checkpoints, TrainError, TrainReport, train};
use crate::run::observer::Observer;
use crate::run::seed::Streams;
use std::ops::Range;
use std::sync::Arc;

/// Ratio above which the PEMS loader ignores a relative error.
const PEMS_MAPE_CAP: f64 = 5.0;
/// Rows between the PEMS loader's test windows.
const PEMS_STRIDE: usize = 12;

/// Why a network could not be evaluated.
#[derive(Debug, thiserror::Error)]
pub enum EvaluateError {
    #[error("{0}")]
    Task(String),
    #[error(transparent)]
    Train(#[from] TrainError),
    #[error("the network's forecast of test window {window} is not finite: training went wrong; lower the learning rate")]
    NotFinite { window: usize },
}

impl From<candle_core::Error> for EvaluateError {
    fn from(e: candle_core::Error) -> Self {
        Self::Train(TrainError::Tensor(e))
    }
}

/// Trains and scores. `channels`: one slice of n rows each; `marks`: the calendar features of every row, or empty.
///
/// # Errors
/// [`EvaluateError::Task`] when a part leaves no window; what training reports.
pub fn evaluate(
    recipe: &Recipe,
    channels: &[&[f64]],
    marks: &[Vec<f64>],
    cfg: &EvalConfig,
    observer: &dyn Observer,
) -> Result<(EvalResult, TrainReport), EvaluateError> {
    let n = channels.first().map_or(0, |c| c.len());
    let (l, h) = (cfg.lookback, cfg.horizon);
    let parts = cfg.split.parts(n, l).map_err(EvaluateError::Task)?;
    // Statistics of the training rows; the PEMS loader standardises every part by its own.
    let own = |part: &Range<usize>| if cfg.style == Style::Pems { part.clone() } else { parts.train.clone() };
    let block = |part: &Range<usize>| {
        let scaled: Vec<Vec<f64>> = channels
            .iter()
            .map(|c| {
                let (mean, deviation) = standard_scale(&c[own(part)]);
                c[part.clone()].iter().map(|v| (v - mean) / deviation).collect()
            })
            .collect();
        let block = Block::new(&scaled);
        Arc::new(vec![if marks.is_empty() { block } else { block.with_marks(&marks[part.clone()]) }])
    };
    let windows =
        |part: &Range<usize>, stride: usize| WindowSet::new(block(part), std::slice::from_ref(&(0..part.len())), l, h, stride);
    let (train_set, val_set) = (windows(&parts.train, 1), windows(&parts.val, 1));
    if train_set.is_empty() || val_set.is_empty() {
        let which = if train_set.is_empty() { "training" } else { "validation" };
        return Err(EvaluateError::Task(format!("no {which} window of lookback {l} and horizon {h} (lower -L or -H)")));
    }
    let streams = Streams::new(recipe.training.seed);
    let drop_last = cfg.drop_last.filter(|b| *b > 0);
    // The published loaders take batches of one size everywhere, leave out what does not fill one, and shuffle all but the test windows.
    let validation = match (cfg.select_on_test, drop_last) {
        (false, None) => Validation::new(val_set),
        (false, Some(batch)) => Validation::in_batches(val_set, batch, Some(streams)),
        (true, None) => Validation::new(windows(&parts.test, 1)),
        (true, Some(batch)) => Validation::in_batches(windows(&parts.test, 1), batch, None),
    };
    let at_once = drop_last.unwrap_or(EVALUATION_BATCH);
    let stride = if cfg.style == Style::Pems { PEMS_STRIDE } else { 1 };
    let mut count = window_count(parts.test.len(), l, h) / stride;
    if let Some(batch) = drop_last {
        count -= count % batch;
    }
    if count == 0 {
        let rows = parts.test.len();
        return Err(EvaluateError::Task(format!(
            "no test window: {rows} rows with lookback {l} and horizon {h} (lower -L or -H)"
        )));
    }
    let network = recipe.architecture.build(recipe.dtype, &streams)?;
    let mut learner = WindowLearner::new(network, train_set, Some(validation), recipe.loss.clone());
    let report = train(&mut learner, &recipe.training, &Checkpoints::default(), None, observer)?;
    let network = learner.into_network();

    let test = block(&parts.test);
    let undo: Vec<(f64, f64)> = channels.iter().map(|c| standard_scale(&c[own(&parts.test)])).collect();
    let scales: Vec<TrainScale> = (channels.iter())
        .map(|c| {
            let (mean, deviation) = if cfg.style == Style::Pems { (0.0, 1.0) } else { standard_scale(&c[parts.train.clone()]) };
            let y: Vec<f64> = c[parts.train.clone()].iter().map(|v| (v - mean) / deviation).collect();
            TrainScale::new(&y, cfg.season)
        })
        .collect();
    let middle = recipe.architecture.outputs() / 2;
    let mut out = (Scores::default(), vec![Scores::default(); h], 0);
    observer.start("scoring", count);
    for first in (0..count).step_by(at_once) {
        if observer.cancelled() {
            return Err(EvaluateError::Train(TrainError::Interrupted { steps: report.steps }));
        }
        let places: Vec<(usize, usize)> = (first..(first + at_once).min(count)).map(|w| (0, w * stride)).collect();
        let forecasts = forecast_windows(&*network, &recipe.architecture, &test, &places, at_once)?;
        for (k, forecast) in forecasts.iter().enumerate() {
            let (window, c) = (k / channels.len(), k % channels.len());
            let mean = &forecast[middle];
            if mean.iter().any(|v| !v.is_finite()) {
                return Err(EvaluateError::NotFinite { window: first + window });
            }
            let truth = &test[0].channel(c)[places[window].1 + l..][..h];
            if cfg.style == Style::Pems {
                let back = |v: &[f64]| v.iter().map(|x| x * undo[c].1 + undo[c].0).collect::<Vec<f64>>();
                score(&mut out, &back(truth), &back(mean), scales[c], Some(PEMS_MAPE_CAP));
            } else {
                score(&mut out, truth, mean, scales[c], None);
            }
        }
        observer.advance(places.len());
    }
    observer.finish();
    Ok((EvalResult { windows: count, scores: out.0, by_step: out.1, fallbacks: 0 }, report))
}
