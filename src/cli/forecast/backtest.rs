//! `shoal forecast backtest`: rolling-origin evaluation.

use super::common::{
    HorizonArg, IntervalArgs, ModelArgs, Seasons, check_season, default_lookback, inputs, report_fallbacks, tell_seasons,
};
use super::predict::rows_json;
use super::show::{self, BacktestRun};
use crate::cli::args::{CheckArgs, InputArgs, OutputArgs};
use crate::cli::failure::{Failure, Outcome, complete};
use crate::cli::output::{refuse_same_file, to_json};
use crate::cli::report;
use crate::cli::session::{COMMIT, Session, VERSION};
use crate::forecast::engine::{Plan, Rolling, SeriesForecast, backtest_panel};
use crate::forecast::intervals::IntervalConfig;
use crate::forecast::metrics::{Metric, Scores, TrainScale, Window};
use crate::forecast::naive;
use crate::forecast::spec::ModelSpec;
use crate::run::check::MetricRow;
use crate::table::time::format_time;
use crate::table::{AtomicFile, Format, Panel, ReadOptions, Series, Table, Values, read_panel, write_table};
use clap::{Args, ValueEnum};
use serde::Serialize;
use serde_json::json;
use std::collections::HashMap;
use std::ops::Range;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

pub const EXAMPLES: &str = "Examples:
  shoal forecast backtest sales.csv -m auto-ets,seasonal-naive -H 12 --windows 3
  shoal forecast backtest sales.csv -m theta -H 6 --step 1 --windows 24 --refit 6 --by model
  shoal forecast backtest sales.csv -m auto-ets -H 12 --by model --assert 'mase<=1'
  shoal forecast backtest panel.parquet -m ses -H 8 --level 80 --forecasts errors.parquet";

/// Arguments of `shoal forecast backtest`.
#[derive(Debug, Args)]
pub struct BacktestArgs {
    #[command(flatten)]
    input: InputArgs,
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    horizon: HorizonArg,
    /// Observations between two cutoffs [default: the horizon]
    #[arg(long, value_name = "STEPS", value_parser = clap::value_parser!(u32).range(1..))]
    step: Option<u32>,
    /// Number of cutoffs; the last one leaves exactly one horizon of truth.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    windows: u32,
    /// When parameters are estimated anew: at every cutoff, only at the first (never), or at every N-th.
    #[arg(long, value_name = "every|never|N", default_value = "every")]
    refit: Refit,
    #[command(flatten)]
    intervals: IntervalArgs,
    /// Metrics, comma-separated: mse, mae, rmse, mape (percent), mspe (share), smape, mase, rmsse, rse, owa, pinball, wql, crps, coverage, width
    /// [default: mse,mae,rmse,mape,smape,mase and, with intervals, coverage,width,pinball]
    #[arg(long, value_name = "METRICS", value_delimiter = ',')]
    metrics: Vec<Metric>,
    /// What a row of the result is about, besides the model.
    #[arg(long, value_enum, value_name = "KEYS", value_delimiter = ',', default_value = "series,cutoff")]
    by: Vec<By>,
    /// Write every forecast here: unique_id, ds, cutoff, model, y, mean, intervals.
    #[arg(long, value_name = "FILE", help_heading = "Output", value_hint = clap::ValueHint::FilePath)]
    forecasts: Option<PathBuf>,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    check: CheckArgs,
}

/// `--refit`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Refit {
    Every(usize),
    Never,
}

impl FromStr for Refit {
    type Err = String;
    fn from_str(s: &str) -> Result<Self, String> {
        match s {
            "every" => Ok(Self::Every(1)),
            "never" => Ok(Self::Never),
            n => match n.parse() {
                Ok(n) if n > 0 => Ok(Self::Every(n)),
                _ => Err(format!("found \"{s}\", expected every, never or a whole number above 0")),
            },
        }
    }
}

/// What rows are kept apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum By {
    /// only the model: one row each
    Model,
    /// the series
    Series,
    /// the cutoff
    Cutoff,
    /// the horizon step
    Step,
}

/// The effective configuration.
#[derive(Debug, Serialize)]
struct BacktestConfig {
    models: Vec<ModelSpec>,
    horizon: usize,
    step: usize,
    windows: usize,
    refit: Refit,
    season: Option<u32>,
    lookback: Option<usize>,
    intervals: IntervalConfig,
    metrics: Vec<String>,
    by: Vec<By>,
    strict: bool,
    read: ReadOptions,
}

/// Forecasts of one model: (cutoff, forecast) by window, by series.
struct ModelRun {
    spec: ModelSpec,
    forecasts: Vec<Vec<(usize, SeriesForecast)>>,
}

/// Runs the verb.
pub fn run(args: BacktestArgs, mut session: Session) -> Outcome {
    if let Some(m) = args.model.models()?.iter().find(|m| matches!(m, ModelSpec::Network(_))) {
        return Err(Failure::usage(format!(
            "{m} is a network, and backtest does not train networks at every cutoff: use `shoal forecast eval -m {m}` for a fixed split"
        )));
    }
    let horizon = args.horizon.get()?;
    let intervals = args.intervals.config(&args.model.models()?)?;
    let metrics = chosen_metrics(&args.metrics, &intervals)?;
    if args.by.contains(&By::Model) && args.by.len() > 1 {
        return Err(Failure::usage("--by model stands alone: every row has a model"));
    }
    let mut config = BacktestConfig {
        horizon,
        step: args.step.map_or(horizon, |s| s as usize),
        windows: args.windows as usize,
        refit: args.refit,
        models: args.model.models()?,
        season: args.model.season,
        lookback: args.model.lookback.map(|l| l as usize),
        intervals,
        metrics: metrics.iter().map(Metric::to_string).collect(),
        by: args.by,
        strict: args.model.strict,
        read: args.input.read_options(),
    };
    let columns = metric_columns(&metrics, &config.intervals);
    let names: Vec<String> = config.models.iter().map(ModelSpec::to_string).collect();
    report::validate_claims(&args.check, &columns, &names)?;
    refuse_same_file(&[
        ("-o", args.output.output.as_deref()),
        ("--plot", args.output.plot.as_deref()),
        ("--forecasts", args.forecasts.as_deref()),
    ])?;
    let mut output = session.open_outputs(&args.output)?;
    let forecasts_file = args.forecasts.as_ref().map(|p| Ok::<_, Failure>((AtomicFile::create(p)?, p))).transpose()?;
    let sources = session.open_inputs(&args.input.input)?;
    let mut panel = read_panel(&sources, &config.read)?;
    drop(sources);
    panel.warnings.iter().for_each(|w| tracing::warn!("{w}"));
    check_season(&panel, config.season)?;
    let refit = match config.refit {
        Refit::Every(n) => Some(n),
        Refit::Never => None,
    };
    let rolling = Rolling { windows: config.windows, step: config.step, refit };
    leave_out_short(&mut panel, &rolling, horizon);
    // A season is looked for only in what the first cutoff knows.
    let seasons: Vec<Seasons> = {
        use rayon::prelude::*;
        let known = |n: usize| rolling.cutoffs(n, horizon).map_or(n, |c| c[0]);
        panel.series.par_iter().map(|s| Seasons::of(s, &panel, config.season, known(s.y.len()))).collect()
    };
    tell_seasons(&panel, &seasons, &config.models);
    let calibration = config.intervals.calibration_need(horizon);
    let mut runs = Vec::new();
    for spec in &config.models {
        let series = inputs(&panel, &seasons, spec);
        let known = series.iter().filter_map(|s| rolling.cutoffs(s.y.len(), horizon)).map(|c| c[0]).max().unwrap_or(0);
        let season = series.iter().map(|s| s.season).max().unwrap_or(1);
        let lookback = config.lookback.unwrap_or_else(|| default_lookback(known.saturating_sub(calibration), season, horizon));
        if spec.is_global() {
            tracing::info!("{spec}: lookback {lookback}");
            config.lookback = Some(lookback);
        }
        let plan = Plan { horizon, lookback, intervals: config.intervals.clone() };
        runs.push(ModelRun {
            spec: spec.clone(),
            forecasts: backtest_panel(spec, &series, &plan, &rolling, session.observer())?,
        });
    }
    let fallbacks: Vec<(String, String, String)> = runs
        .iter()
        .flat_map(|r| {
            panel.series.iter().zip(&r.forecasts).filter_map(|(s, windows)| {
                let why = windows.iter().find_map(|(_, f)| f.fallback.clone())?;
                Some((s.id.clone(), r.spec.to_string(), why))
            })
        })
        .collect();
    let unconverged: Vec<(String, String)> = runs
        .iter()
        .flat_map(|r| {
            let failed =
                |w: &[(usize, SeriesForecast)]| w.iter().any(|(_, f)| f.diagnostics.as_ref().is_some_and(|d| !d.converged));
            panel.series.iter().zip(&r.forecasts).filter(move |(_, w)| failed(w)).map(|(s, _)| (s.id.clone(), r.spec.to_string()))
        })
        .collect();
    report_fallbacks(config.strict, &fallbacks, &unconverged)?;
    let scored = Scored::new(&panel, &runs, &seasons, &config, &metrics)?;
    let rows = &scored.rows;
    let details = forecast_table(&panel, &runs, &config);
    if let Some((mut file, path)) = forecasts_file {
        write_table(&details, Format::of_path(path).unwrap_or(Format::Csv), &mut file)?;
        file.commit()?;
    }
    if output.wants_picture() || session.keeps_run() {
        let metric = metrics.iter().copied().find(|m| !m.is_probabilistic()).unwrap_or(Metric::Mae);
        let shown: Vec<BacktestRun<'_>> = runs
            .iter()
            .enumerate()
            .map(|(r, run)| BacktestRun {
                name: run.spec.to_string(),
                forecasts: &run.forecasts,
                by_step: scored.by_step(r, metric),
            })
            .collect();
        let picture = show::backtest(&panel, &shown, &config.intervals, &seasons, horizon, &metric.to_string().to_uppercase())?;
        output.picture(&picture)?;
        show::keep(&session, "backtest.svg", &picture)?;
    }
    report::keep(&session, rows)?;
    if let Some(mut file) = session.run_file("forecasts.csv")? {
        write_table(&details, Format::Csv, &mut file)?;
        file.commit()?;
    }
    summary(&session, &panel, &scored.overall, &config)?;
    let object = || {
        Ok(json!({
            "shoal": VERSION, "commit": COMMIT, "seed": session.seed, "config": to_json(&config)?,
            "freq": panel.freq.to_string(), "models": report::json(&scored.overall), "cases": report::json(rows),
            "forecasts": rows_json(&details)?,
        }))
    };
    let written = output.result(&report::table(rows), object);
    complete(written, || {
        session.finish(&config)?;
        report::check(&session, &args.check, rows)
    })
}

/// Leaves out the series that are too short for the cutoffs, unless all are (which the engine refuses, naming one).
fn leave_out_short(panel: &mut Panel, rolling: &Rolling, horizon: usize) {
    let enough = |s: &Series| s.y.len() >= rolling.need(horizon);
    let short: Vec<&str> = panel.series.iter().filter(|s| !enough(s)).map(|s| s.id.as_str()).collect();
    if short.is_empty() || short.len() == panel.series.len() {
        return;
    }
    let (count, first) = (short.len(), short[0]);
    tracing::warn!(
        "{count} series are too short for the cutoffs (\"{first}\" is the first; {} observations are needed): left out",
        rolling.need(horizon)
    );
    panel.series.retain(enough);
}

/// The metrics asked for, or the default set.
fn chosen_metrics(typed: &[Metric], intervals: &IntervalConfig) -> Outcome<Vec<Metric>> {
    let has_quantiles = !intervals.probabilities().is_empty();
    if let Some(m) = typed.iter().find(|m| matches!(m, Metric::Coverage | Metric::Width) && intervals.levels.is_empty()) {
        return Err(Failure::usage(format!("metric \"{m}\" needs --level")));
    }
    if let Some(m) = typed.iter().find(|m| m.is_probabilistic() && !has_quantiles) {
        return Err(Failure::usage(format!("metric \"{m}\" needs --level or --quantiles")));
    }
    if !typed.is_empty() {
        let mut unique = Vec::new();
        typed.iter().for_each(|m| {
            if !unique.contains(m) {
                unique.push(*m);
            }
        });
        return Ok(unique);
    }
    let mut metrics = vec![Metric::Mse, Metric::Mae, Metric::Rmse, Metric::Mape, Metric::Smape, Metric::Mase];
    if !intervals.levels.is_empty() {
        metrics.extend([Metric::Coverage, Metric::Width]);
    }
    if has_quantiles {
        metrics.push(Metric::Pinball);
    }
    Ok(metrics)
}

/// Names of the metric columns.
fn metric_columns(metrics: &[Metric], intervals: &IntervalConfig) -> Vec<String> {
    let per_level = |m: &Metric| intervals.levels.iter().map(move |l| format!("{m}-{l}")).collect::<Vec<_>>();
    metrics
        .iter()
        .flat_map(|m| if matches!(m, Metric::Coverage | Metric::Width) { per_level(m) } else { vec![m.to_string()] })
        .collect()
}

/// Scores of all elements, summed in the groups that are shown: the rows asked for, the models, and the models by step.
struct Scored {
    rows: Vec<MetricRow>,
    overall: Vec<MetricRow>,
    /// by_step[model][step]
    by_step: Vec<Vec<Scores>>,
}

/// Sums by key, in order of first appearance.
#[derive(Default)]
struct Groups {
    at: HashMap<Vec<(String, String)>, usize>,
    sums: Vec<(Vec<(String, String)>, Scores)>,
}

impl Groups {
    fn slot(&mut self, keys: Vec<(String, String)>, levels: &[f64]) -> &mut Scores {
        let next = self.sums.len();
        let at = *self.at.entry(keys.clone()).or_insert(next);
        if at == next {
            let mut scores = Scores::default();
            scores.expect_levels(levels);
            self.sums.push((keys, scores));
        }
        &mut self.sums[at].1
    }

    fn rows(self, metrics: &[Metric]) -> Vec<MetricRow> {
        let row = |(keys, scores): (Vec<(String, String)>, Scores)| MetricRow {
            keys,
            metrics: metrics.iter().flat_map(|m| scores.columns(*m)).collect(),
        };
        self.sums.into_iter().map(row).collect()
    }
}

impl Scored {
    fn new(panel: &Panel, runs: &[ModelRun], seasons: &[Seasons], config: &BacktestConfig, metrics: &[Metric]) -> Outcome<Self> {
        let wants_naive2 = metrics.contains(&Metric::Owa);
        let (horizon, levels) = (config.horizon, &config.intervals.levels);
        let (mut groups, mut overall) = (Groups::default(), Groups::default());
        let mut by_step = vec![vec![Scores::default(); horizon]; runs.len()];
        for (run, steps) in runs.iter().zip(&mut by_step) {
            let model = run.spec.to_string();
            for ((s, season), windows) in panel.series.iter().zip(seasons).zip(&run.forecasts) {
                // One season for all models of a series, or their scaled errors could not be compared.
                let m = season.found();
                for (cut, f) in windows {
                    let (train, truth) = (&s.y[..*cut], &s.y[*cut..*cut + horizon]);
                    let scale = TrainScale::new(train, m);
                    let naive2 = if wants_naive2 { Some(naive::naive2(train, m, horizon)?) } else { None };
                    let mut keys = Vec::new();
                    if config.by.contains(&By::Series) {
                        keys.push(("unique_id".to_string(), s.id.clone()));
                    }
                    keys.push(("model".to_string(), model.clone()));
                    if config.by.contains(&By::Cutoff) {
                        keys.push(("cutoff".to_string(), format_time(s.times[cut - 1], panel.kind)));
                    }
                    let window = |at: Range<usize>| scored_window(f, truth, naive2.as_deref(), scale, &config.intervals, at);
                    if config.by.contains(&By::Step) {
                        for k in 0..horizon {
                            let mut keys = keys.clone();
                            keys.push(("step".to_string(), (k + 1).to_string()));
                            groups.slot(keys, levels).add(&window(k..k + 1));
                        }
                    } else {
                        groups.slot(keys, levels).add(&window(0..horizon));
                    }
                    overall.slot(vec![("model".to_string(), model.clone())], levels).add(&window(0..horizon));
                    steps.iter_mut().enumerate().for_each(|(k, step)| step.add(&window(k..k + 1)));
                }
            }
        }
        Ok(Self { rows: groups.rows(metrics), overall: overall.rows(metrics), by_step })
    }

    /// One metric by horizon step for model `m`; NaN where undefined.
    fn by_step(&self, m: usize, metric: Metric) -> Vec<f64> {
        self.by_step[m].iter().map(|s| s.columns(metric).first().and_then(|(_, v)| *v).unwrap_or(f64::NAN)).collect()
    }
}

/// The steps `at` of one forecast beside the truth.
fn scored_window<'a>(
    f: &'a SeriesForecast,
    truth: &'a [f64],
    naive2: Option<&'a [f64]>,
    scale: TrainScale,
    intervals: &IntervalConfig,
    at: Range<usize>,
) -> Window<'a> {
    let part = |v: &'a [f64]| &v[at.clone()];
    let levels = intervals.levels.iter().enumerate().filter(|(i, _)| f.quantiles.len() > 2 * i + 1);
    // A bound of a level may also be asked for as a quantile: it counts once.
    let mut quantiles: Vec<(f64, &[f64])> = Vec::new();
    for (p, q) in intervals.probabilities().into_iter().zip(&f.quantiles) {
        if !quantiles.iter().any(|(other, _)| (other - p).abs() < 1e-12) {
            quantiles.push((p, part(q)));
        }
    }
    Window {
        y: part(truth),
        mean: part(&f.mean),
        quantiles,
        levels: levels.map(|(i, l)| (*l, part(&f.quantiles[2 * i]), part(&f.quantiles[2 * i + 1]))).collect(),
        scale,
        naive2: naive2.map(part),
        mape_cap: None,
    }
}

/// One row per series, cutoff, model and step.
fn forecast_table(panel: &Panel, runs: &[ModelRun], config: &BacktestConfig) -> Table {
    let mut text: [Vec<Arc<str>>; 3] = Default::default();
    let (mut ds, mut cutoffs): (Vec<i64>, Vec<i64>) = Default::default();
    let (mut y, mut mean): (Vec<f64>, Vec<f64>) = Default::default();
    let names = config.intervals.column_names();
    let mut quantiles: Vec<Vec<f64>> = vec![Vec::new(); names.len()];
    let models: Vec<Arc<str>> = runs.iter().map(|r| r.spec.to_string().into()).collect();
    for (i, s) in panel.series.iter().enumerate() {
        let id: Arc<str> = s.id.as_str().into();
        for (run, model) in runs.iter().zip(&models) {
            for (cut, f) in &run.forecasts[i] {
                for k in 0..f.mean.len() {
                    let why: Arc<str> = f.fallback.as_deref().unwrap_or_default().into();
                    text.iter_mut().zip([id.clone(), model.clone(), why]).for_each(|(c, v)| c.push(v));
                    ds.push(s.times[cut + k]);
                    cutoffs.push(s.times[cut - 1]);
                    y.push(s.y[cut + k]);
                    mean.push(f.mean[k]);
                    quantiles.iter_mut().enumerate().for_each(|(c, q)| q.push(f.quantiles.get(c).map_or(f64::NAN, |v| v[k])));
                }
            }
        }
    }
    let [ids, model, fallback] = text;
    let fell_back = fallback.iter().any(|f| !f.is_empty());
    let mut table = Table::new()
        .with("unique_id", Values::Text(ids))
        .with("ds", Values::Time { values: ds, kind: panel.kind })
        .with("cutoff", Values::Time { values: cutoffs, kind: panel.kind })
        .with("model", Values::Text(model))
        .with("y", Values::Number(y))
        .with("mean", Values::Number(mean));
    for (name, q) in names.into_iter().zip(quantiles) {
        table = table.with(name, Values::Number(q));
    }
    if fell_back { table.with("fallback", Values::Text(fallback)) } else { table }
}

/// The models side by side, on stderr.
fn summary(session: &Session, panel: &Panel, overall: &[MetricRow], config: &BacktestConfig) -> Outcome {
    session.say(format!(
        "{} series, {} cutoffs, {} steps ahead; all of them together:",
        panel.series.len(),
        config.windows,
        config.horizon
    ));
    let mut lines = Vec::new();
    write_table(&report::table(overall), Format::Table, &mut lines)?;
    session.say(String::from_utf8_lossy(&lines).trim_end());
    Ok(())
}
