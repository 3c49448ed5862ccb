//! Training a network on a panel of series, and forecasting from their ends with it.

use super::forecaster::{Card, CardFields, Channel, ChannelForecast, Channels, Forecaster, SCORES, forecast_windows};
use super::learner::{EVALUATION_BATCH, Validation, WindowLearner};
use super::options::Recipe;
use super::windows::{Block, WindowSet};
use crate::forecast::engine::{SeriesForecast, insane, standard_scale};
use crate::forecast::intervals::{Calibration, IntervalConfig, IntervalMethod};
use crate::forecast::naive;
use crate::forecast::time_features::Sampling;
use crate::nn::checkpoint::Checkpoint;
use crate::nn::train::{Checkpoints, TrainError, train};
use crate::run::observer::Observer;
use crate::run::seed::Streams;
use candle_core::{DType, Tensor};
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

/// Validation windows whose errors are kept for conformal intervals, per channel (joint) or over all series (pooled).
const CALIBRATION_WINDOWS: usize = 200;

/// A series with the calendar features of its rows and of the horizon after them (or none).
#[derive(Debug, Clone)]
pub struct NetworkSeries<'a> {
    pub id: &'a str,
    pub y: &'a [f64],
    pub marks: Vec<Vec<f64>>,
}

/// How to train on a panel.
#[derive(Debug, Clone)]
pub struct FitPlan {
    pub recipe: Recipe,
    pub channels_are: Channels,
    /// Share of the last rows of every series kept for early stopping and calibration; at least one horizon.
    pub validation: f64,
    /// Rows that end training and validation, where a preset fixes them (joint only).
    pub rows: Option<(usize, usize)>,
    pub freq: String,
    pub sampling: Option<Sampling>,
    pub quantiles: Vec<f64>,
}

/// Where training starts.
#[derive(Debug)]
pub enum Start {
    /// From freshly drawn weights.
    Fresh,
    /// From weights under their canonical names; the scores of a saved forecaster's calibration may lie beside them.
    Weights(BTreeMap<String, Tensor>),
    /// Where a checkpoint left off.
    Resume(Box<Checkpoint>),
}

/// Why a network could not be trained on a panel, or used on one.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    #[error("{0}")]
    Data(String),
    #[error(transparent)]
    Train(#[from] TrainError),
}

impl From<candle_core::Error> for NetworkError {
    fn from(e: candle_core::Error) -> Self {
        Self::Train(TrainError::Tensor(e))
    }
}

/// Trains on every series of the panel.
///
/// # Errors
/// [`NetworkError::Data`] when the rows leave no training or validation window; what the training loop reports.
pub fn fit(
    series: &[NetworkSeries<'_>],
    plan: &FitPlan,
    checkpoints: &Checkpoints<'_>,
    start: Start,
    observer: &dyn Observer,
) -> Result<Forecaster, NetworkError> {
    let (l, h) = (plan.recipe.architecture.lookback(), plan.recipe.architecture.horizon());
    // (end of training, end of validation) of every series.
    let ends: Vec<(usize, usize)> = series
        .iter()
        .map(|s| {
            let n = s.y.len();
            plan.rows.unwrap_or_else(|| {
                let kept = ((n as f64 * plan.validation).ceil() as usize).max(h).min(n);
                (n - kept, n)
            })
        })
        .collect();
    let scales: Vec<(f64, f64)> =
        (series.iter().zip(&ends)).map(|(s, (train, _))| standard_scale(if *train > 0 { &s.y[..*train] } else { s.y })).collect();
    let blocks = Arc::new(blocks(series, &scales, plan.channels_are));
    let part = |rows: &dyn Fn(&(usize, usize)) -> Range<usize>| {
        let rows: Vec<Range<usize>> = ends.iter().take(blocks.len()).map(rows).collect();
        WindowSet::new(blocks.clone(), &rows, l, h, 1)
    };
    let train_set = part(&|(train, _)| 0..*train);
    let val_set = part(&|(train, end)| train.saturating_sub(l)..*end);
    if train_set.is_empty() {
        let longest = ends.iter().map(|(train, _)| *train).max().unwrap_or(0);
        return Err(NetworkError::Data(format!(
            "no training window: a window takes lookback {l} + horizon {h} = {} rows, and the longest training part has {longest} \
             (lower -L, -H or --validation)",
            l + h
        )));
    }
    let mut network = plan.recipe.architecture.build(plan.recipe.dtype, &Streams::new(plan.recipe.training.seed))?;
    let resume = match start {
        Start::Fresh => None,
        Start::Resume(checkpoint) => Some(*checkpoint),
        Start::Weights(mut tensors) => {
            tensors.remove(SCORES);
            network.params_mut().restore(&tensors).map_err(|e| NetworkError::Data(format!("the weights do not fit: {e}")))?;
            None
        }
    };
    let mut learner = WindowLearner::new(network, train_set, Some(Validation::new(val_set.clone())), plan.recipe.loss.clone());
    let report = train(&mut learner, &plan.recipe.training, checkpoints, resume, observer)?;
    let network = learner.into_network();
    let mut card = Card::new(CardFields {
        architecture: plan.recipe.architecture.clone(),
        dtype: plan.recipe.dtype,
        channels_are: plan.channels_are,
        channels: Vec::new(),
        freq: plan.freq.clone(),
        sampling: plan.sampling,
        quantiles: plan.quantiles.clone(),
        loss: plan.recipe.loss.clone(),
        training: plan.recipe.training.clone(),
        report,
    });
    if plan.channels_are == Channels::Joint {
        let with = series.iter().zip(&scales);
        card.channels = with.map(|(s, &(mean, deviation))| Channel { id: s.id.to_string(), mean, deviation }).collect();
    }
    let bare = Forecaster::new(card, network, Vec::new());
    let calibration = calibrate(&bare, &blocks, &val_set, &scales)?;
    Ok(bare.with_calibration(calibration))
}

/// One block for all series, or one for each.
fn blocks(series: &[NetworkSeries<'_>], scales: &[(f64, f64)], channels_are: Channels) -> Vec<Block> {
    let scaled = |(s, (mean, deviation)): (&NetworkSeries<'_>, &(f64, f64))| -> Vec<f64> {
        s.y.iter().map(|v| (v - mean) / deviation).collect()
    };
    let all = series.iter().zip(scales);
    match channels_are {
        Channels::Joint => {
            let block = Block::new(&all.map(scaled).collect::<Vec<_>>());
            vec![match series.first() {
                Some(s) if !s.marks.is_empty() => block.with_marks(&s.marks),
                _ => block,
            }]
        }
        Channels::Pooled => all
            .map(|(s, scale)| {
                let block = Block::new(&[scaled((s, scale))]);
                if s.marks.is_empty() { block } else { block.with_marks(&s.marks) }
            })
            .collect(),
    }
}

/// Absolute errors of the (middle) forecast on validation windows, evenly spaced over all of them.
fn calibrate(
    forecaster: &Forecaster,
    blocks: &[Block],
    windows: &WindowSet,
    scales: &[(f64, f64)],
) -> Result<Vec<Calibration>, NetworkError> {
    if windows.is_empty() {
        return Ok(Vec::new());
    }
    let (l, h) = (forecaster.card().architecture.lookback(), forecaster.card().architecture.horizon());
    let count = windows.len().min(CALIBRATION_WINDOWS);
    let places: Vec<(usize, usize)> = (0..count).map(|i| windows.place(i * windows.len() / count)).collect();
    let forecasts = forecast_windows(forecaster.network(), &forecaster.card().architecture, blocks, &places, EVALUATION_BATCH)?;
    let joint = forecaster.card().channels_are == Channels::Joint;
    let channels = blocks[0].channels();
    let mut errors: Vec<Vec<Vec<f64>>> = vec![Vec::new(); if joint { channels } else { 1 }];
    for (k, forecast) in forecasts.iter().enumerate() {
        let (window, channel) = (k / channels, k % channels);
        let (block, row) = places[window];
        let truth = &blocks[block].channel(channel)[row + l..][..h];
        let unit = if joint { scales[channel].1 } else { 1.0 };
        let e = middle(forecast).iter().zip(truth).map(|(f, y)| (f - y).abs() * unit).collect();
        errors[if joint { channel } else { 0 }].push(e);
    }
    Ok(errors.iter().map(|e| Calibration::new(e)).collect())
}

/// The median of a quantile forecast, or the mean.
fn middle(forecast: &ChannelForecast) -> &[f64] {
    &forecast[forecast.len() / 2]
}

/// Forecasts every series `horizon` steps from its end with a trained network.
///
/// # Errors
/// A series shorter than the lookback; for joint models other series than those it was trained on; quantiles that the network has
/// no output for; missing time features.
pub fn predict(
    forecaster: &Forecaster,
    series: &[NetworkSeries<'_>],
    horizon: usize,
    intervals: &IntervalConfig,
) -> Result<Vec<SeriesForecast>, NetworkError> {
    let card = forecaster.card();
    let l = card.architecture.lookback();
    if horizon == 0 || horizon > card.architecture.horizon() {
        let most = card.architecture.horizon();
        return Err(NetworkError::Data(format!(
            "the network forecasts 1 to {most} steps, asked for {horizon}: train it with -H {horizon}"
        )));
    }
    if let Some(short) = series.iter().find(|s| s.y.len() < l) {
        let n = short.y.len();
        return Err(NetworkError::Data(format!("series \"{}\" has {n} observations, the network looks back over {l}", short.id)));
    }
    let order = match card.channels_are {
        Channels::Pooled => (0..series.len()).collect(),
        Channels::Joint => joint_order(card, series)?,
    };
    let ordered: Vec<NetworkSeries<'_>> = order.iter().map(|&i| tail(&series[i], l)).collect();
    let scales: Vec<(f64, f64)> = match card.channels_are {
        Channels::Joint => card.channels.iter().map(|c| (c.mean, c.deviation)).collect(),
        Channels::Pooled => series.iter().map(|s| standard_scale(s.y)).collect(),
    };
    let blocks = blocks(&ordered, &scales, card.channels_are);
    let places: Vec<(usize, usize)> = (0..blocks.len()).map(|b| (b, 0)).collect();
    let forecasts = forecaster.forecast(&blocks, &places)?;
    let mut out: Vec<Option<SeriesForecast>> = vec![None; series.len()];
    for (k, forecast) in forecasts.into_iter().enumerate() {
        let (s, (m, d)) = (&series[order[k]], scales[k]);
        let back = |v: &[f64]| v[..horizon].iter().map(|x| x * d + m).collect::<Vec<f64>>();
        let mean = back(middle(&forecast));
        let quantiles = match intervals.method {
            IntervalMethod::None => Vec::new(),
            IntervalMethod::Model => (intervals.probabilities().iter())
                .map(|p| output_for(card, *p).map(|i| back(&forecast[i])))
                .collect::<Result<_, _>>()?,
            IntervalMethod::Conformal { variant, .. } => {
                let Some(calibration) = forecaster.calibration(k) else {
                    return Err(NetworkError::Data(
                        "the network was saved without calibration: train it with --validation above 0".into(),
                    ));
                };
                // Pooled scores are in standard deviations: put into units of the series.
                let unit = if card.channels_are == Channels::Pooled { d } else { 1.0 };
                let scaled: Vec<f64> = mean.iter().map(|v| v / unit).collect();
                let at = |p: &f64| calibration.quantile(variant, &scaled, *p).into_iter().map(|v| v * unit).collect();
                intervals.probabilities().iter().map(at).collect()
            }
        };
        out[order[k]] = Some(match insane(s.y, &mean, &quantiles) {
            None => SeriesForecast { mean, quantiles, fallback: None, diagnostics: None },
            Some(why) => {
                let naive = naive::fit_naive(s.y).map_err(|e| NetworkError::Data(format!("series \"{}\": {e}", s.id)))?;
                SeriesForecast {
                    mean: naive.predict(horizon).mean,
                    quantiles: Vec::new(),
                    fallback: Some(why),
                    diagnostics: None,
                }
            }
        });
    }
    Ok(out.into_iter().flatten().collect())
}

/// The last `l` observations, with their features and all that follow.
fn tail<'a>(s: &NetworkSeries<'a>, l: usize) -> NetworkSeries<'a> {
    let from = s.y.len() - l;
    NetworkSeries { id: s.id, y: &s.y[from..], marks: s.marks.get(from..).unwrap_or_default().to_vec() }
}

/// Where the channels of a joint model are among `series`.
fn joint_order(card: &Card, series: &[NetworkSeries<'_>]) -> Result<Vec<usize>, NetworkError> {
    let order: Vec<usize> = (card.channels.iter())
        .map(|c| {
            series.iter().position(|s| s.id == c.id).ok_or_else(|| {
                NetworkError::Data(format!("the network was trained on channel \"{}\", which the data has not", c.id))
            })
        })
        .collect::<Result<_, _>>()?;
    if let Some(other) = series.iter().find(|s| card.channels.iter().all(|c| c.id != s.id)) {
        let known: Vec<&str> = card.channels.iter().map(|c| c.id.as_str()).take(8).collect();
        return Err(NetworkError::Data(format!(
            "channel \"{}\" is not among those the network was trained on ({}): choose them with --target-col",
            other.id,
            known.join(", ")
        )));
    }
    let n = series.first().map_or(0, |s| s.y.len());
    match series.iter().find(|s| s.y.len() != n) {
        Some(s) => Err(NetworkError::Data(format!(
            "channel \"{}\" has {} observations and \"{}\" has {n}: the network takes channels over the same time stamps",
            s.id,
            s.y.len(),
            series[0].id
        ))),
        None => Ok(order),
    }
}

/// The output trained for a probability.
fn output_for(card: &Card, probability: f64) -> Result<usize, NetworkError> {
    card.quantiles.iter().position(|q| (q - probability).abs() < 1e-9).ok_or_else(|| {
        let trained: Vec<String> = card.quantiles.iter().map(f64::to_string).collect();
        NetworkError::Data(if trained.is_empty() {
            "the network forecasts a mean: use --intervals conformal, or train it with --quantiles".into()
        } else {
            format!("the network was trained for the quantiles {}, not for {probability}", trained.join(", "))
        })
    })
}

/// The numbers of a training run.
pub fn dtype_name(dtype: DType) -> &'static str {
    if dtype == DType::F64 { "f64" } else { "f32" }
}
