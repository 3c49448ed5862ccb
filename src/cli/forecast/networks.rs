//! Networks as `predict` uses them: loaded, or trained on the spot.

use super::common::{IntervalArgs, IntervalSource};
use super::network::{self, NetworkArgs};
use crate::cli::failure::{Failure, Outcome};
use crate::cli::session::Session;
use crate::forecast::engine::SeriesForecast;
use crate::forecast::intervals::{IntervalConfig, IntervalMethod};
use crate::forecast::neural::architecture::Architecture;
use crate::forecast::neural::fit::{FitPlan, Start, fit, predict};
use crate::forecast::neural::forecaster::{Channels, Forecaster};
use crate::forecast::neural::options::{NetworkKind, Shape};
use crate::forecast::spec::ModelSpec;
use crate::forecast::time_features::Sampling;
use crate::forecast::timemixer::MarkOrder;
use crate::nn::train::Checkpoints;
use crate::table::{Layout, Panel};

/// Share of the last rows kept for early stopping and calibration when nothing is said.
pub const VALIDATION: f64 = 0.2;
/// Window length when nothing is said and the series are long enough.
const LOOKBACK: usize = 96;

/// The model a saved network is.
pub fn spec_of(forecaster: &Forecaster) -> ModelSpec {
    match &forecaster.card().architecture {
        Architecture::TimeMixer(_) => ModelSpec::Network(NetworkKind::TimeMixer),
        Architecture::PatchTst(_) => ModelSpec::Network(NetworkKind::PatchTst),
        Architecture::Karma(_) => ModelSpec::Network(NetworkKind::Karma),
        Architecture::StateSpace(c) => ModelSpec::Network(NetworkKind::StateSpace(c.kind)),
        Architecture::Linear(c) => ModelSpec::Linear(c.kind),
    }
}

/// The intervals asked of a saved network: its own outputs where it has them for all, else its stored calibration.
pub fn intervals(args: &IntervalArgs, forecaster: &Forecaster) -> Outcome<IntervalConfig> {
    let asked = !args.level.is_empty() || !args.quantiles.is_empty();
    if args.calib_windows.is_some() {
        return Err(Failure::usage("--calib-windows: the calibration was stored when the network was trained; leave it out"));
    }
    let trained = &forecaster.card().quantiles;
    let spec = ModelSpec::Network(NetworkKind::TimeMixer);
    let mut config = IntervalArgs {
        intervals: Some(args.intervals.unwrap_or(if asked || args.conformal.is_some() {
            IntervalSource::Conformal
        } else {
            IntervalSource::None
        })),
        ..args.clone()
    }
    .config(&[spec])?;
    let has = |p: &f64| trained.iter().any(|q| (q - p).abs() < 1e-9);
    if args.intervals.is_none() && args.conformal.is_none() && asked && config.probabilities().iter().all(has) {
        config.method = IntervalMethod::Model;
    }
    // A quantile network shows its quantiles when nothing else is asked for.
    if !asked && args.intervals.is_none() && args.conformal.is_none() && !trained.is_empty() {
        return Ok(IntervalConfig { method: IntervalMethod::Model, levels: Vec::new(), quantiles: trained.clone() });
    }
    Ok(config)
}

/// Forecasts of a trained network for a panel.
pub fn forecast(
    forecaster: &Forecaster,
    panel: &Panel,
    horizon: usize,
    intervals: &IntervalConfig,
) -> Outcome<Vec<SeriesForecast>> {
    let card = forecaster.card();
    if card.freq != panel.freq.to_string() {
        tracing::warn!("the network was trained on data with frequency {}, this has {}", card.freq, panel.freq);
    }
    let series = network::network_series(panel, card.sampling, card.architecture.horizon())?;
    predict(forecaster, &series, horizon, intervals).map_err(|e| network::failure(e, None))
}

/// What to train for.
pub struct Task<'a> {
    pub kind: NetworkKind,
    pub lookback: Option<usize>,
    pub horizon: usize,
    pub intervals: &'a IntervalConfig,
}

/// Trains on the panel and forecasts from its end; gives the lookback that was used too.
pub fn train_and_forecast(
    args: &NetworkArgs,
    task: Task<'_>,
    panel: &Panel,
    session: &Session,
) -> Outcome<(Vec<SeriesForecast>, usize)> {
    let quantiles = if task.intervals.method == IntervalMethod::Model { outputs(task.intervals) } else { Vec::new() };
    let options = args.options(&quantiles, MarkOrder::Aligned, false)?;
    let channels_are = default_channels(panel);
    let lookback = task.lookback.unwrap_or_else(|| default_lookback(panel, task.horizon));
    let sampling = network::sampling(panel.freq);
    let channels = if channels_are == Channels::Joint { panel.series.len() } else { 1 };
    let shape = Shape { lookback, horizon: task.horizon, channels, features: sampling.map_or(0, Sampling::features) };
    let recipe = options.resolve(task.kind, None, shape, session.seed).map_err(Failure::usage)?;
    let sampling = sampling.filter(|_| recipe.architecture.features() > 0);
    let series = network::network_series(panel, sampling, task.horizon)?;
    let plan = FitPlan {
        recipe,
        channels_are,
        validation: VALIDATION,
        rows: None,
        freq: panel.freq.to_string(),
        sampling,
        quantiles: options.quantiles,
    };
    let forecaster =
        fit(&series, &plan, &Checkpoints::default(), Start::Fresh, session.observer()).map_err(|e| network::failure(e, None))?;
    let forecasts = predict(&forecaster, &series, task.horizon, task.intervals).map_err(|e| network::failure(e, None))?;
    Ok((forecasts, lookback))
}

/// Together when the series come as columns over the same time stamps, else one at a time.
pub fn default_channels(panel: &Panel) -> Channels {
    let aligned = panel.series.iter().all(|s| s.times == panel.series[0].times);
    if aligned && panel.layout == Layout::Wide { Channels::Joint } else { Channels::Pooled }
}

/// The benchmarks' 96 steps, less where that would leave too few windows.
pub fn default_lookback(panel: &Panel, horizon: usize) -> usize {
    let longest = panel.series.iter().map(|s| s.y.len()).max().unwrap_or(0);
    // Training rows are four fifths; half of what the horizon leaves of them may go into a window.
    let most = ((longest * 4 / 5).saturating_sub(horizon) / 2).max(2);
    LOOKBACK.max(2 * horizon).min(most)
}

/// The probabilities to train outputs for, with the median, which is the forecast itself.
fn outputs(intervals: &IntervalConfig) -> Vec<f64> {
    let mut p = intervals.probabilities();
    p.push(0.5);
    p.sort_by(f64::total_cmp);
    p.dedup_by(|a, b| (*a - *b).abs() < 1e-9);
    p
}
