//! `shoal forecast eval`: the fixed protocols of published benchmarks.

use super::common::{ModelList, joined};
use super::network::{self, NetworkArgs};
use super::show;
use crate::cli::args::{CheckArgs, InputArgs, OutputArgs};
use crate::cli::failure::{Failure, Outcome, complete};
use crate::cli::output::to_json;
use crate::cli::report;
use crate::cli::session::{COMMIT, Session, VERSION};
use crate::forecast::engine::{Plan, SeriesInput};
use crate::forecast::intervals::IntervalConfig;
use crate::forecast::m4;
use crate::forecast::metrics::Metric;
use crate::forecast::model::FitError;
use crate::forecast::neural;
use crate::forecast::neural::evaluate::EvaluateError;
use crate::forecast::neural::fit::dtype_name;
use crate::forecast::neural::options::{NetworkKind, NetworkOptions, Shape};
use crate::forecast::protocol::{EvalConfig, EvalResult, PRESETS, Preset, Split, Style, evaluate};
use crate::forecast::spec::ModelSpec;
use crate::forecast::synthetic;
use crate::forecast::time_features::Sampling;
use crate::forecast::timemixer::MarkOrder;
use crate::plot::{BarGroup, bars};
use crate::run::check::MetricRow;
use crate::run::interrupt;
use crate::table::{BadInput, Layout, Panel, ReadOptions, Source, matrix, read_panel};
use clap::{Args, ValueEnum};
use serde::Serialize;
use serde_json::json;
use std::collections::HashMap;
use std::str::FromStr;

pub const EXAMPLES: &str = "Examples:
  shoal forecast eval ETTh1.csv --preset etth1 -m seasonal-naive,linear,nlinear -H 96
  shoal forecast eval national_illness.csv --preset illness -m naive --compat drop-last=32
  shoal forecast eval ETTh1.csv --preset etth1 -m timemixer,linear -H 96 --seed 1
  shoal forecast eval mine.csv -m linear,nlinear -L 336 -H 96,192 --assert 'nlinear.mse<=0.40'
  shoal forecast eval Monthly-train.csv --test Monthly-test.csv --preset m4-monthly -m theta
  shoal forecast eval --synthetic etth --preset etth1 -m linear -H 96";

/// Arguments of `shoal forecast eval`.
#[derive(Debug, Args)]
pub struct EvalArgs {
    #[command(flatten)]
    input: InputArgs,
    /// Conventions of a published data set: split, season, lookback, horizons; custom is 70/10/20 for any wide table.
    #[arg(long, value_name = "NAME", default_value = "custom", value_parser = PresetArg::from_str, long_help = presets_help())]
    preset: PresetArg,
    /// Test file of an m4 preset.
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    test: Option<String>,
    /// Shares of training, validation and test rows, such as 0.7,0.1,0.2 [default: the preset's]
    #[arg(long, value_name = "SHARES", value_delimiter = ',')]
    split: Vec<f64>,
    /// Data made on the spot instead of an input: etth has the shape of ETTh1, its daily and weekly cycles and AR(1) noise.
    #[arg(long, value_enum, value_name = "KIND", conflicts_with = "input")]
    synthetic: Option<Synthetic>,
    /// Models, comma-separated; linear models and networks learn from the training part, all others from each window alone.
    #[arg(short, long, visible_alias = "model", value_name = "MODELS", default_value = "naive,seasonal-naive,linear,nlinear",
          value_parser = super::common::model_list, help_heading = "Models")]
    method: Vec<ModelList>,
    /// Horizons, comma-separated [default: the preset's]
    #[arg(short = 'H', long, value_name = "STEPS", value_delimiter = ',', value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    horizon: Vec<u32>,
    /// Window length [default: the preset's]
    #[arg(short = 'L', long, visible_alias = "context", value_name = "STEPS", value_parser = clap::value_parser!(u32).range(1..))]
    lookback: Option<u32>,
    /// Season length of the seasonal models and of MASE; 1 = none [default: the preset's, else the frequency's]
    #[arg(long, value_name = "M", value_parser = clap::value_parser!(u32).range(1..))]
    season: Option<u32>,
    /// Habits of the published programs that change numbers; repeatable. drop-last=B drops the last partial batch of B test windows; networks
    /// also train on whole batches alone, and validate (on windows in a new order every epoch) and score in whole batches of B; mark-order, with
    /// --time-features on, gives timemixer's rows those of other windows of the batch;
    /// test-selection keeps a network's epoch that is best on the test windows (its scores say nothing about new data).
    #[arg(long, value_name = "SWITCH")]
    compat: Vec<Compat>,
    #[command(flatten)]
    network: NetworkArgs,
    /// Metrics, comma-separated: mse, mae, rmse, mape, mspe, smape, mase, rmsse, rse, owa (m4 only)
    /// [default: mse,mae; for m4: smape,mase,owa; for pems: mae,mape,rmse]
    #[arg(long, value_name = "METRICS", value_delimiter = ',', help_heading = "Options")]
    metrics: Vec<Metric>,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    check: CheckArgs,
}

fn presets_help() -> String {
    let rows = PRESETS.iter().map(|p| match p.shape {
        (0, 0) => format!("{}: {}", p.name, p.file),
        (0, c) => format!("{}: {} ({c} channels)", p.name, p.file),
        (n, c) => format!("{}: {} ({n} rows, {c} channels)", p.name, p.file),
    });
    let m4 = m4::GROUPS.iter().map(|g| format!("{}: horizon {}, season {}", g.name, g.horizon, g.season));
    format!("Conventions of a published data set. Known:\n  {}", rows.chain(m4).collect::<Vec<_>>().join("\n  "))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Synthetic {
    Etth,
}

/// A known preset.
#[derive(Debug, Clone, Copy)]
enum PresetArg {
    Table(&'static Preset),
    M4(m4::Group),
}

impl FromStr for PresetArg {
    type Err = String;
    fn from_str(s: &str) -> Result<Self, String> {
        let wanted = s.to_lowercase();
        let table = PRESETS.iter().find(|p| p.name == wanted).map(Self::Table);
        let m4 = m4::GROUPS.iter().find(|g| g.name == wanted).map(|g| Self::M4(*g));
        table.or(m4).ok_or_else(|| {
            let names = PRESETS.iter().map(|p| p.name).chain(m4::GROUPS.iter().map(|g| g.name));
            let close = names.clone().min_by_key(|n| strsim::damerau_levenshtein(n, &wanted)).unwrap_or_default();
            format!("unknown preset \"{s}\": did you mean \"{close}\"? Known: {}", names.collect::<Vec<_>>().join(", "))
        })
    }
}

/// A habit of the published programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Compat {
    DropLast(usize),
    MarkOrder,
    TestSelection,
}

impl FromStr for Compat {
    type Err = String;
    fn from_str(s: &str) -> Result<Self, String> {
        match s.split_once('=') {
            Some(("drop-last", b)) => match b.parse() {
                Ok(b) if b > 0 => Ok(Self::DropLast(b)),
                _ => Err(format!("drop-last: found \"{b}\", expected a batch size above 0")),
            },
            None if s == "mark-order" => Ok(Self::MarkOrder),
            None if s == "test-selection" => Ok(Self::TestSelection),
            _ => Err(format!("unknown switch \"{s}\", expected drop-last=B, mark-order or test-selection")),
        }
    }
}

/// What a network is evaluated on besides the channels.
struct NetworkTask<'a> {
    preset: Option<&'a str>,
    sampling: Option<Sampling>,
    marks: &'a [Vec<f64>],
    options: &'a NetworkOptions,
}

/// The effective configuration.
#[derive(Debug, Serialize)]
struct Config {
    preset: String,
    models: Vec<ModelSpec>,
    horizons: Vec<usize>,
    lookback: Option<usize>,
    season: usize,
    split: Option<Split>,
    style: Option<Style>,
    compat: Vec<Compat>,
    metrics: Vec<String>,
    synthetic: Option<Synthetic>,
    /// Architecture and training of every network, by model and horizon.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    networks: Vec<serde_json::Value>,
    read: ReadOptions,
}

/// One scored case: row, error by step, and whether naive stood in.
struct Case {
    row: MetricRow,
    by_step: Vec<f64>,
}

/// Runs the verb.
pub fn run(args: EvalArgs, mut session: Session) -> Outcome {
    let metrics = metrics_of(&args)?;
    let models = joined(&args.method)?;
    let names: Vec<String> = models.iter().map(ModelSpec::to_string).collect();
    report::validate_claims(&args.check, &metrics.iter().map(Metric::to_string).collect::<Vec<_>>(), &names)?;
    args.network.refuse_unused(&models)?;
    if args.compat.contains(&Compat::MarkOrder) && !models.contains(&ModelSpec::Network(NetworkKind::TimeMixer)) {
        return Err(Failure::usage("--compat mark-order belongs to timemixer: leave it out"));
    }
    let mut output = session.open_outputs(&args.output)?;
    let (config, dataset, cases) = match args.preset {
        PresetArg::Table(preset) => long_horizon(&args, &models, preset, &metrics, &mut session)?,
        PresetArg::M4(group) => competition(&args, &models, group, &metrics, &mut session)?,
    };
    let rows: Vec<MetricRow> = cases.iter().map(|c| c.row.clone()).collect();
    if output.wants_picture() || session.keeps_run() {
        let picture = picture(&config, &dataset, &cases)?;
        output.picture(&picture)?;
        show::keep(&session, "eval.svg", &picture)?;
    }
    report::keep(&session, &rows)?;
    let object = || {
        Ok(json!({
            "shoal": VERSION, "commit": COMMIT, "seed": session.seed, "config": to_json(&config)?, "cases": report::json(&rows),
        }))
    };
    let written = output.result(&report::table(&rows), object);
    complete(written, || {
        session.finish(&config)?;
        report::check(&session, &args.check, &rows)
    })
}

fn metrics_of(args: &EvalArgs) -> Outcome<Vec<Metric>> {
    let m4 = matches!(args.preset, PresetArg::M4(_));
    let pems = matches!(args.preset, PresetArg::Table(p) if p.style == Style::Pems);
    if let Some(m) = args.metrics.iter().find(|m| m.is_probabilistic()) {
        return Err(Failure::usage(format!("metric \"{m}\" needs intervals, which eval does not make: use backtest")));
    }
    if args.metrics.contains(&Metric::Owa) && !m4 {
        return Err(Failure::usage(
            "metric \"owa\" compares with naive2 from the end of a training file: it needs an m4 preset (or backtest)",
        ));
    }
    Ok(match (&args.metrics[..], m4, pems) {
        ([], true, _) => vec![Metric::Smape, Metric::Mase, Metric::Owa],
        ([], _, true) => vec![Metric::Mae, Metric::Mape, Metric::Rmse],
        ([], ..) => vec![Metric::Mse, Metric::Mae],
        (typed, ..) => {
            let mut unique: Vec<Metric> = Vec::new();
            typed.iter().for_each(|m| {
                if !unique.contains(m) {
                    unique.push(*m);
                }
            });
            unique
        }
    })
}

/// The train/validation/test protocol.
fn long_horizon(
    args: &EvalArgs,
    models: &[ModelSpec],
    preset: &Preset,
    metrics: &[Metric],
    session: &mut Session,
) -> Outcome<(Config, String, Vec<Case>)> {
    if args.test.is_some() {
        return Err(Failure::usage("--test belongs to the m4 presets: a table is split by rows here (--split)"));
    }
    let mut read = args.input.read_options();
    if read.layout == Layout::Auto {
        read.layout = Layout::Wide;
    }
    let split = split_of(&args.split, preset)?;
    let Loaded { dataset, channels, usual, times, sampling } = match args.synthetic {
        Some(Synthetic::Etth) => Loaded {
            dataset: "synthetic-etth".to_string(),
            channels: synthetic::etth(&session.streams()),
            usual: 24,
            times: Vec::new(),
            sampling: None,
        },
        None => load(args, preset, &read, session)?,
    };
    let season = args.season.map_or(if preset.season > 0 { preset.season } else { usual }, |m| m as usize);
    let lookback = args.lookback.map_or(preset.lookback, |l| l as usize);
    let horizons: Vec<usize> =
        if args.horizon.is_empty() { preset.horizons.to_vec() } else { args.horizon.iter().map(|h| *h as usize).collect() };
    let drop_last = args.compat.iter().filter_map(|c| if let Compat::DropLast(b) = c { Some(*b) } else { None }).next_back();
    let select_on_test = args.compat.contains(&Compat::TestSelection);
    if select_on_test && !models.iter().any(|m| args.network.network(m).is_some()) {
        return Err(Failure::usage("--compat test-selection is about networks, and none of the models is one: leave it out"));
    }
    let mark_order = if args.compat.contains(&Compat::MarkOrder) { MarkOrder::Reference } else { MarkOrder::Aligned };
    let options = args.network.options(&[], mark_order, drop_last.is_some())?;
    let marks = network::marks(&times, sampling);
    let task = NetworkTask {
        preset: (preset.name != "custom").then_some(preset.name),
        sampling: sampling.filter(|_| !marks.is_empty()),
        marks: &marks,
        options: &options,
    };
    let mut networks = Vec::new();
    let views: Vec<&[f64]> = channels.iter().map(|(_, y)| y.as_slice()).collect();
    session.say(format!("{dataset}: {} rows, {} channels, lookback {lookback}, season {season}", views[0].len(), views.len()));
    for spec in models {
        if let Some(most) = spec.longest_season().filter(|most| season > *most) {
            tracing::warn!("{spec} takes seasons up to {most}, not {season}: it is fitted without one");
        }
    }
    let mut cases = Vec::new();
    for &horizon in &horizons {
        for spec in models {
            let cfg = EvalConfig { split, style: preset.style, lookback, horizon, season, drop_last, select_on_test };
            let explain = |e: FitError| match e {
                FitError::Spec(_) if interrupt::requested() => Failure::Interrupted,
                e => Failure::usage(format!("model {spec}, horizon {horizon}: {e}")),
            };
            let result = match args.network.network(spec) {
                Some(kind) => {
                    let (result, record) = train_and_score(kind, &task, &views, &cfg, session)?;
                    networks.push(json!({ "model": spec.to_string(), "horizon": horizon, "network": record }));
                    result
                }
                None => evaluate(spec, &views, &cfg, session.observer()).map_err(explain)?,
            };
            if result.fallbacks > 0 {
                tracing::warn!(
                    "{spec}, horizon {horizon}: naive stands in on {} of {} windows",
                    result.fallbacks,
                    result.windows * views.len()
                );
            }
            let keys = [
                ("dataset", dataset.clone()),
                ("model", spec.to_string()),
                ("lookback", lookback.to_string()),
                ("horizon", horizon.to_string()),
                ("n_windows", result.windows.to_string()),
            ];
            let first = metrics.first().copied().unwrap_or(Metric::Mse);
            let step = |s: &crate::forecast::metrics::Scores| s.columns(first).first().and_then(|(_, v)| *v).unwrap_or(f64::NAN);
            cases.push(Case {
                row: MetricRow {
                    keys: keys.map(|(k, v)| (k.to_string(), v)).to_vec(),
                    metrics: metrics.iter().flat_map(|m| result.scores.columns(*m)).collect(),
                },
                by_step: result.by_step.iter().map(step).collect(),
            });
        }
    }
    let config = Config {
        preset: preset.name.into(),
        models: models.to_vec(),
        horizons,
        lookback: Some(lookback),
        season,
        split: Some(split),
        style: Some(preset.style),
        compat: args.compat.clone(),
        metrics: metrics.iter().map(Metric::to_string).collect(),
        synthetic: args.synthetic,
        networks,
        read,
    };
    Ok((config, dataset, cases))
}

/// A network through the protocol, with what is to be known about it afterwards.
fn train_and_score(
    kind: NetworkKind,
    task: &NetworkTask<'_>,
    channels: &[&[f64]],
    cfg: &EvalConfig,
    session: &Session,
) -> Outcome<(EvalResult, serde_json::Value)> {
    let features = task.sampling.map_or(0, Sampling::features);
    let shape = Shape { lookback: cfg.lookback, horizon: cfg.horizon, channels: channels.len(), features };
    let recipe = task.options.resolve(kind, task.preset, shape, session.seed).map_err(Failure::usage)?;
    let marks = if recipe.architecture.features() > 0 { task.marks } else { &[] };
    let (result, report) =
        neural::evaluate::evaluate(&recipe, channels, marks, cfg, session.observer()).map_err(|e| match e {
            EvaluateError::Task(text) => Failure::usage(text),
            EvaluateError::Train(e) => network::train_failure(e, None),
            e @ EvaluateError::NotFinite { .. } => Failure::Numbers(vec![e.to_string()]),
        })?;
    let record = json!({
        "architecture": to_json(&recipe.architecture)?, "training": to_json(&recipe.training)?, "loss": to_json(&recipe.loss)?,
        "dtype": dtype_name(recipe.dtype), "report": to_json(&report)?,
    });
    Ok((result, record))
}

/// `--split`, or the preset's.
fn split_of(shares: &[f64], preset: &Preset) -> Outcome<Split> {
    match shares {
        [] => Ok(preset.split),
        [train, val, test] if shares.iter().all(|s| *s > 0.0) && (train + val + test - 1.0).abs() < 1e-9 => {
            Ok(if preset.style == Style::Pems {
                Split::SharesApart { train: *train, test: *test }
            } else {
                Split::Shares { train: *train, test: *test }
            })
        }
        _ => Err(Failure::usage("--split: expected three shares above 0 that add up to 1, such as 0.7,0.1,0.2")),
    }
}

/// Channels by name.
type Channels = Vec<(String, Vec<f64>)>;

/// A data set as it was read.
struct Loaded {
    dataset: String,
    channels: Channels,
    /// The frequency's season.
    usual: usize,
    /// Time stamps of the rows; empty where there are none.
    times: Vec<i64>,
    /// Which calendar features networks get.
    sampling: Option<Sampling>,
}

/// Reads the channels of a wide table or a matrix.
fn load(args: &EvalArgs, preset: &Preset, read: &ReadOptions, session: &mut Session) -> Outcome<Loaded> {
    if let [path] = &args.input.input[..]
        && path.to_lowercase().ends_with(".npz")
    {
        let source = session.open_raw(path)?;
        let channels = matrix::read_npz_feature(path, &source, "data")?;
        check_shape(preset, path, &channels, None);
        return Ok(Loaded { dataset: stem(path), channels, usual: 1, times: Vec::new(), sampling: None });
    }
    let mut sources = session.open_inputs(&args.input.input)?;
    if sources.len() != 1 {
        return Err(Failure::usage("eval takes one table: the split is by its rows"));
    }
    let source = sources.remove(0);
    let panel = read_panel(std::slice::from_ref(&source), read)?;
    panel.warnings.iter().for_each(|w| tracing::warn!("{w}"));
    let name = source.name().to_string();
    same_length(&name, &panel)?;
    let usual = panel.freq.season_candidates().first().copied().unwrap_or(1);
    // The published scripts give networks hourly features whatever the spacing is.
    let own = network::sampling(panel.freq);
    let sampling = if preset.name == "custom" { own } else { own.map(|_| Sampling::Hour) };
    let times = panel.series.first().map_or_else(Vec::new, |s| s.times.to_vec());
    let mut channels: Channels = panel.series.into_iter().map(|s| (s.id, s.y)).collect();
    if preset.target_last
        && let Some(at) = channels.iter().position(|(id, _)| id == "OT")
    {
        let target = channels.remove(at);
        channels.push(target);
    }
    check_shape(preset, &name, &channels, Some(&source));
    Ok(Loaded { dataset: stem(&name), channels, usual, times, sampling })
}

/// A split by rows needs every channel on every row.
fn same_length(name: &str, panel: &Panel) -> Outcome {
    let n = panel.series.first().map_or(0, |s| s.y.len());
    match panel.series.iter().find(|s| s.y.len() != n) {
        Some(s) => Err(BadInput::new(
            name,
            format!("channel \"{}\" has {} values and \"{}\" has {n}", s.id, s.y.len(), panel.series[0].id),
        )
        .remedy("a split by rows needs all channels on all rows: fill the gaps with --impute")
        .into()),
        None => Ok(()),
    }
}

/// Says when a file is not the one the published numbers belong to.
fn check_shape(preset: &Preset, name: &str, channels: &Channels, source: Option<&Source>) {
    let shape = (channels.first().map_or(0, |(_, y)| y.len()), channels.len());
    let (rows, columns) = preset.shape;
    if (rows > 0 && rows != shape.0) || (columns > 0 && columns != shape.1) {
        let expected = if rows > 0 { format!("{rows} rows and {columns} channels") } else { format!("{columns} channels") };
        tracing::warn!(
            "{name} has {} rows and {} channels; {} has {expected}: published numbers do not apply",
            shape.0,
            shape.1,
            preset.file
        );
    } else if let (Some(sha), Some(source)) = (preset.sha256, source)
        && !source.sha256().starts_with(sha)
    {
        tracing::warn!("{name} is not the published {} (sha256 {sha}...): published numbers may not apply", preset.file);
    }
}

/// A data set's name: the file name without directories and extensions.
fn stem(path: &str) -> String {
    let file = path.rsplit(['/', '\\']).next().unwrap_or(path);
    let name = file.split('.').next().unwrap_or(file);
    if name.is_empty() || path == "-" { "stdin".into() } else { name.into() }
}

/// The M4 protocol.
fn competition(
    args: &EvalArgs,
    models: &[ModelSpec],
    group: m4::Group,
    metrics: &[Metric],
    session: &mut Session,
) -> Outcome<(Config, String, Vec<Case>)> {
    let Some(test_path) = &args.test else {
        return Err(Failure::usage(format!("preset {} needs its test file: add --test FILE", group.name)));
    };
    if let Some(m) = models.iter().find(|m| args.network.network(m).is_some()) {
        return Err(Failure::usage(format!(
            "{m} is not trained under the m4 presets: they sample and mask windows in a way it does not"
        )));
    }
    if args.synthetic.is_some() || !args.split.is_empty() || !args.compat.is_empty() {
        return Err(Failure::usage("--synthetic, --split and --compat do not apply to the m4 presets"));
    }
    let horizon = match args.horizon[..] {
        [] => group.horizon,
        [h] => h as usize,
        _ => return Err(Failure::usage("the m4 presets have one horizon")),
    };
    let season = args.season.map_or(group.season, |m| m as usize);
    let lookback = args.lookback.map_or(2 * horizon, |l| l as usize);
    let read = args.input.read_options();
    let sources = session.open_inputs(&args.input.input)?;
    let [train_source] = &sources[..] else {
        return Err(Failure::usage("an m4 preset takes one training file and --test FILE"));
    };
    let train = matrix::read_rows(train_source, &read)?;
    let test_source = session.open_input(test_path)?;
    let test = matrix::read_rows(&test_source, &read)?;
    let by_id: HashMap<&str, &[f64]> = test.iter().map(|(id, y)| (id.as_str(), y.as_slice())).collect();
    let mut truth = Vec::with_capacity(train.len());
    for (id, _) in &train {
        let Some(y) = by_id.get(id.as_str()) else {
            return Err(BadInput::new(test_path.as_str(), format!("no row for series \"{id}\" of the training file")).into());
        };
        if y.len() < horizon {
            let why = format!("series \"{id}\" has {} values, the horizon needs {horizon}", y.len());
            return Err(BadInput::new(test_path.as_str(), why).into());
        }
        truth.push(&y[..horizon]);
    }
    let series: Vec<SeriesInput<'_>> = train.iter().map(|(id, y)| SeriesInput { id, y, season }).collect();
    let plan = Plan { horizon, lookback, intervals: IntervalConfig::none() };
    let dataset = stem(train_source.name());
    session.say(format!("{dataset}: {} series, horizon {horizon}, season {season}", series.len()));
    let mut cases = Vec::new();
    for spec in models {
        let result = m4::evaluate(spec, &series, &truth, &plan, session.observer())?;
        let fallbacks = result.forecasts.iter().filter(|f| f.fallback.is_some()).count();
        if fallbacks > 0 {
            tracing::warn!("{spec}: naive stands in for {fallbacks} of {} series", series.len());
        }
        let keys = [
            ("dataset", dataset.clone()),
            ("model", spec.to_string()),
            ("horizon", horizon.to_string()),
            ("n_series", series.len().to_string()),
        ];
        let first = metrics.first().copied().unwrap_or(Metric::Smape);
        cases.push(Case {
            row: MetricRow {
                keys: keys.map(|(k, v)| (k.to_string(), v)).to_vec(),
                metrics: metrics.iter().flat_map(|m| result.scores.columns(*m)).collect(),
            },
            by_step: result.by_step.iter().map(|s| s.columns(first).first().and_then(|(_, v)| *v).unwrap_or(f64::NAN)).collect(),
        });
    }
    let config = Config {
        preset: group.name.into(),
        models: models.to_vec(),
        horizons: vec![horizon],
        lookback: models.iter().any(ModelSpec::is_global).then_some(lookback),
        season,
        split: None,
        style: None,
        compat: Vec::new(),
        metrics: metrics.iter().map(Metric::to_string).collect(),
        synthetic: None,
        networks: Vec::new(),
        read: args.input.read_options(),
    };
    Ok((config, dataset, cases))
}

/// One horizon: error by step. Several: bars by horizon.
fn picture(config: &Config, dataset: &str, cases: &[Case]) -> Outcome<crate::plot::Picture> {
    let metric = config.metrics.first().map_or_else(String::new, |m| m.to_uppercase());
    let models: Vec<String> = config.models.iter().map(ModelSpec::to_string).collect();
    if config.horizons.len() == 1 {
        let curves: Vec<crate::plot::Curve> = models
            .iter()
            .zip(cases)
            .map(|(name, c)| crate::plot::Curve { name: name.clone(), values: c.by_step.clone() })
            .collect();
        return Ok(crate::plot::error_by_horizon(&curves, &metric, &format!("{dataset}: {metric} by step"))?);
    }
    let groups: Vec<BarGroup> = config
        .horizons
        .iter()
        .zip(cases.chunks(models.len().max(1)))
        .map(|(h, chunk)| BarGroup {
            name: format!("H = {h}"),
            values: chunk.iter().map(|c| c.row.metrics.first().and_then(|(_, v)| *v).unwrap_or(f64::NAN)).collect(),
        })
        .collect();
    Ok(bars(&models, &groups, &metric, &format!("{dataset}: {metric} by horizon"))?)
}
