//! `shoal forecast train`: train a network on a panel and save it.

use super::common::HorizonArg;
use super::network::{self, NetworkArgs, Solver};
use super::networks;
use super::show;
use crate::cli::args::{CheckArgs, InputArgs, OutputArgs};
use crate::cli::failure::{Failure, Outcome, complete};
use crate::cli::output::to_json;
use crate::cli::report;
use crate::cli::session::{COMMIT, Session, VERSION};
use crate::forecast::neural::fit::{FitPlan, NetworkSeries, Start, dtype_name, fit};
use crate::forecast::neural::forecaster::Channels;
use crate::forecast::neural::options::{NetworkKind, NetworkOptions, Shape};
use crate::forecast::protocol::{PRESETS, Preset};
use crate::forecast::spec::ModelSpec;
use crate::forecast::time_features::Sampling;
use crate::forecast::timemixer::MarkOrder;
use crate::nn::checkpoint::Checkpoint;
use crate::nn::params::tensors_of;
use crate::nn::train::{Checkpoints, TrainReport};
use crate::plot::{Curve, loss_by_epoch};
use crate::run::check::MetricRow;
use crate::table::{AtomicFile, BadInput, Layout, Panel, ReadOptions, Table, Values, read_panel};
use clap::{Args, ValueEnum};
use serde::Serialize;
use serde_json::json;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub const EXAMPLES: &str = "Examples:
  shoal forecast train sales.csv -m timemixer -H 24 --save model/
  shoal forecast train ETTh1.csv -m timemixer --preset etth1 -H 96 --save model/ --checkpoint-minutes 5
  shoal forecast train panel.parquet -m patchtst -L 168 -H 24 --quantiles 0.1,0.5,0.9 --save model/
  shoal forecast train ETTh1.csv -m timemixer --preset etth1 -H 96 --save model/ --resume model/
  shoal forecast predict --load model/ sales.csv";

/// The model's file in a --save directory.
pub const MODEL_FILE: &str = "model.safetensors";
/// The training state's file in a --save directory.
const CHECKPOINT_FILE: &str = "checkpoint/state.safetensors";

/// Arguments of `shoal forecast train`.
#[derive(Debug, Args)]
pub struct TrainArgs {
    #[command(flatten)]
    input: InputArgs,
    /// The network: timemixer, patchtst, karma, s4, s4d, mamba, mamba2, mamba3, or a linear model (linear, dlinear, nlinear, rlinear) by gradient descent.
    #[arg(short, long, visible_alias = "model", value_name = "MODEL", default_value = "timemixer", help_heading = "Models")]
    method: ModelSpec,
    #[command(flatten)]
    horizon: HorizonArg,
    /// Window length [default: 96 where the series are long enough]
    #[arg(short = 'L', long, visible_alias = "context", value_name = "STEPS", value_parser = clap::value_parser!(u32).range(1..))]
    lookback: Option<u32>,
    /// Settings, and ends of the training and validation rows, of a published data set.
    #[arg(long, value_name = "NAME", value_parser = table_preset)]
    preset: Option<&'static Preset>,
    /// Share of the last rows of each series kept for early stopping and calibration [default: 0.2, or the preset's rows]
    #[arg(long, value_name = "SHARE", value_parser = validation_share, conflicts_with = "preset")]
    validation: Option<f64>,
    /// Whether the series enter a window together. auto: when they share all their time stamps and come as columns.
    #[arg(long, value_enum, default_value_t, value_name = "HOW")]
    panel: PanelArg,
    /// Quantiles to train outputs for, such as 0.1,0.5,0.9, instead of a mean.
    #[arg(long, value_name = "QUANTILES", value_delimiter = ',')]
    quantiles: Vec<f64>,
    /// Start from the weights of this safetensors file (canonical names).
    #[arg(long, value_name = "FILE", conflicts_with = "resume", value_hint = clap::ValueHint::FilePath)]
    weights: Option<PathBuf>,
    #[command(flatten)]
    network: NetworkArgs,
    /// Directory for the trained model and its checkpoint.
    #[arg(long, value_name = "DIR", help_heading = "Saving", value_hint = clap::ValueHint::DirPath)]
    save: PathBuf,
    /// Go on from the checkpoint in this directory; everything else must be as it was. The result is the same as without the stop.
    #[arg(long, value_name = "DIR", help_heading = "Saving", value_hint = clap::ValueHint::DirPath)]
    resume: Option<PathBuf>,
    /// Write the checkpoint every so many epochs.
    #[arg(long, value_name = "N", default_value_t = 1, help_heading = "Saving", value_parser = clap::value_parser!(u32).range(1..))]
    checkpoint_epochs: u32,
    /// And whenever this many minutes have passed.
    #[arg(long, value_name = "MINUTES", help_heading = "Saving")]
    checkpoint_minutes: Option<f64>,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    check: CheckArgs,
}

/// See [`Channels`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
enum PanelArg {
    #[default]
    Auto,
    /// a window holds all series over the same time; forecasts need the same series again
    Joint,
    /// every series makes windows of its own; the model serves any series
    Pooled,
}

fn table_preset(s: &str) -> Result<&'static Preset, String> {
    let wanted = s.to_lowercase();
    PRESETS.iter().find(|p| p.name == wanted).ok_or_else(|| {
        let names: Vec<&str> = PRESETS.iter().map(|p| p.name).collect();
        format!("unknown preset \"{s}\", expected one of {}", names.join(", "))
    })
}

fn validation_share(s: &str) -> Result<f64, String> {
    match s.parse::<f64>() {
        Ok(v) if v > 0.0 && v < 1.0 => Ok(v),
        _ => Err("expected a share between 0 and 1, such as 0.2".into()),
    }
}

/// The effective configuration.
#[derive(Debug, Serialize)]
struct TrainRecord {
    model: String,
    horizon: usize,
    lookback: usize,
    preset: Option<String>,
    validation: Option<f64>,
    channels_are: Channels,
    sampling: Option<Sampling>,
    options: NetworkOptions,
    architecture: serde_json::Value,
    training: serde_json::Value,
    dtype: &'static str,
    read: ReadOptions,
}

/// Runs the verb.
pub fn run(args: TrainArgs, mut session: Session) -> Outcome {
    let kind = kind_of(&args)?;
    let horizon = args.horizon.get()?;
    report::validate_claims(&args.check, &["train_loss", "validation"].map(String::from), &[args.method.to_string()])?;
    if args.network.epochs == Some(0) && args.weights.is_none() {
        return Err(Failure::usage("--epochs 0 saves weights as they are: it needs --weights FILE"));
    }
    if args.checkpoint_minutes.is_some_and(|m| !(m > 0.0 && m.is_finite())) {
        return Err(Failure::usage("--checkpoint-minutes: expected a number above 0"));
    }
    session.dtype = if args.network.double() { "f64" } else { "f32" };
    let mut output = session.open_outputs(&args.output)?;
    let checkpoint_file = prepare_save(&args)?;
    let start = match (&args.resume, &args.weights) {
        (Some(dir), _) => {
            let file = dir.join(CHECKPOINT_FILE).display().to_string();
            let bytes = session.open_raw(&file)?;
            let checkpoint = Checkpoint::from_bytes(&bytes).map_err(|e| BadInput::new(file, e.to_string()))?;
            Start::Resume(Box::new(checkpoint))
        }
        (None, Some(file)) => {
            let file = file.display().to_string();
            let bytes = session.open_raw(&file)?;
            Start::Weights(tensors_of(&bytes).map_err(|e| BadInput::new(file, e.to_string()))?)
        }
        (None, None) => Start::Fresh,
    };
    let mut read = args.input.read_options();
    if args.preset.is_some() && read.layout == Layout::Auto {
        read.layout = Layout::Wide;
    }
    let sources = session.open_inputs(&args.input.input)?;
    let mut panel = read_panel(&sources, &read)?;
    drop(sources);
    panel.warnings.iter().for_each(|w| tracing::warn!("{w}"));
    if args.preset.is_some_and(|p| p.target_last)
        && let Some(at) = panel.series.iter().position(|s| s.id == "OT")
    {
        let target = panel.series.remove(at);
        panel.series.push(target);
    }
    let channels_are = channels_of(&args, &panel)?;
    let longest = panel.series.iter().map(|s| s.y.len()).max().unwrap_or(0);
    let validation = args.validation.unwrap_or(networks::VALIDATION);
    let wanted = args.lookback.map(|l| l as usize).or(args.preset.map(|p| p.lookback));
    let lookback = wanted.unwrap_or_else(|| networks::default_lookback(&panel, horizon));
    // The published scripts give every data set hourly features.
    let sampling = if args.preset.is_some_and(|p| p.name != "custom") {
        network::sampling(panel.freq).map(|_| Sampling::Hour)
    } else {
        network::sampling(panel.freq)
    };
    let options = args.network.options(&args.quantiles, MarkOrder::Aligned, false)?;
    let channels = if channels_are == Channels::Joint { panel.series.len() } else { 1 };
    let shape = Shape { lookback, horizon, channels, features: sampling.map_or(0, Sampling::features) };
    let recipe = options.resolve(kind, args.preset.map(|p| p.name), shape, session.seed).map_err(Failure::usage)?;
    let sampling = sampling.filter(|_| recipe.architecture.features() > 0);
    let rows = match args.preset {
        Some(p) => Some(preset_rows(p, longest, lookback)?),
        None => None,
    };
    let series = network::network_series(&panel, sampling, horizon)?;
    let plan = FitPlan {
        recipe: recipe.clone(),
        channels_are,
        validation,
        rows,
        freq: panel.freq.to_string(),
        sampling,
        quantiles: options.quantiles.clone(),
    };
    let record = TrainRecord {
        model: args.method.to_string(),
        horizon,
        lookback,
        preset: args.preset.map(|p| p.name.to_string()),
        validation: args.preset.is_none().then_some(validation),
        channels_are,
        sampling,
        architecture: to_json(&recipe.architecture)?,
        training: to_json(&recipe.training)?,
        dtype: dtype_name(recipe.dtype),
        options,
        read,
    };
    session.say(format!(
        "{}: {} series, lookback {lookback}, horizon {horizon}, {} numbers in {}",
        args.method,
        panel.series.len(),
        if channels_are == Channels::Joint { "together" } else { "one at a time" },
        dtype_name(recipe.dtype),
    ));
    // What a resumed run must repeat, besides the training settings that the checkpoint holds itself.
    let task = json!({
        "architecture": to_json(&recipe.architecture)?, "loss": to_json(&recipe.loss)?, "channels": channels_are, "validation": validation,
        "rows": rows, "data": fingerprint(&series),
    });
    let keep = |bytes: &[u8]| write_whole(&checkpoint_file, bytes).map_err(|e| e.to_string());
    let checkpoints = Checkpoints {
        keep: Some(&keep),
        task: Some(&task),
        every_epochs: args.checkpoint_epochs as usize,
        every: args.checkpoint_minutes.map(|m| Duration::from_secs_f64(60.0 * m)),
    };
    let kept = format!("the last good state is in {}", checkpoint_file.display());
    let forecaster = fit(&series, &plan, &checkpoints, start, session.observer()).map_err(|e| {
        if crate::run::interrupt::requested() && checkpoint_file.exists() {
            session.say(format!("the state is kept: go on with --resume {}", args.save.display()));
        }
        network::failure(e, Some(&kept))
    })?;
    let bytes = forecaster.to_bytes().map_err(|e| Failure::Run(e.into()))?;
    write_whole(&args.save.join(MODEL_FILE), &bytes).map_err(Failure::Run)?;
    let history = &forecaster.card().report;
    let rows = [summary_row(&args, lookback, horizon, history)];
    if output.wants_picture() || session.keeps_run() {
        let picture = picture(&args.method.to_string(), history)?;
        output.picture(&picture)?;
        show::keep(&session, "training.svg", &picture)?;
    }
    if let Some(mut file) = session.run_file(MODEL_FILE)? {
        file.write_all(&bytes)?;
        file.commit()?;
    }
    report::keep(&session, &rows)?;
    session.say(format!("saved {}", args.save.join(MODEL_FILE).display()));
    let table = history_table(history);
    let object = || {
        Ok(json!({
            "shoal": VERSION, "commit": COMMIT, "seed": session.seed, "config": to_json(&record)?, "epochs": to_json(&history.epochs)?,
            "best_epoch": history.best_epoch, "steps": history.steps, "stopped": to_json(&history.stopped)?,
            "first_losses": history.first_losses, "cases": report::json(&rows),
        }))
    };
    let written = output.result(&table, object);
    complete(written, || {
        session.finish(&record)?;
        report::check(&session, &args.check, &rows)
    })
}

/// The network that was asked for.
fn kind_of(args: &TrainArgs) -> Outcome<NetworkKind> {
    let kind = match &args.method {
        ModelSpec::Network(kind) => Some(*kind),
        ModelSpec::Linear(kind) => Some(NetworkKind::Linear(*kind)),
        _ => None,
    };
    let Some(kind) = kind else {
        return Err(Failure::usage(format!(
            "model \"{}\" is not trained: `shoal forecast predict -m {}` fits it at once (train takes timemixer, patchtst, karma, s4, s4d, mamba, \
             mamba2, mamba3, linear, dlinear, nlinear, rlinear)",
            args.method, args.method
        )));
    };
    if args.network.solver.is_some() && !matches!(kind, NetworkKind::Linear(_)) {
        return Err(Failure::usage(format!(
            "--solver belongs to the linear models: {} is trained by gradient descent anyway",
            args.method
        )));
    }
    if args.network.solver == Some(Solver::Ols) {
        return Err(Failure::usage(format!(
            "--solver ols needs no training: `shoal forecast predict -m {}` solves it exactly",
            args.method
        )));
    }
    Ok(kind)
}

/// Makes the --save directory and refuses to overwrite a model unasked; gives the checkpoint's file.
fn prepare_save(args: &TrainArgs) -> Outcome<PathBuf> {
    let dir = &args.save;
    let model = dir.join(MODEL_FILE);
    let checkpoint = dir.join(CHECKPOINT_FILE);
    let resumes_here = args.resume.as_ref().is_some_and(|r| r == dir);
    if !args.output.force && !resumes_here && (model.exists() || checkpoint.exists()) {
        return Err(Failure::usage(format!(
            "--save {} holds a model or a checkpoint already: choose another, add --force to replace it, or --resume {} to go on",
            dir.display(),
            dir.display()
        )));
    }
    let refuse = |e: std::io::Error| Failure::usage(format!("--save {}: {e}", dir.display()));
    std::fs::create_dir_all(checkpoint.parent().unwrap_or(dir)).map_err(refuse)?;
    Ok(checkpoint)
}

/// Replaces a file, whole or not at all.
fn write_whole(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let mut file = AtomicFile::create(path)?;
    file.write_all(bytes)?;
    Ok(file.commit()?)
}

/// A checksum of the data as the network sees it: ids, values, calendar features.
fn fingerprint(series: &[NetworkSeries<'_>]) -> String {
    use sha2::{Digest, Sha256};
    let mut hash = Sha256::new();
    for s in series {
        hash.update((s.id.len() as u64).to_le_bytes());
        hash.update(s.id);
        for v in s.y.iter().chain(s.marks.iter().flatten()) {
            hash.update(v.to_le_bytes());
        }
    }
    hash.finalize().iter().map(|b| format!("{b:02x}")).collect()
}

/// Whether the series enter a window together.
fn channels_of(args: &TrainArgs, panel: &Panel) -> Outcome<Channels> {
    let first = &panel.series[0];
    let aligned = panel.series.iter().all(|s| s.times == first.times);
    match args.panel {
        PanelArg::Pooled if args.preset.is_some() => {
            Err(Failure::usage("--panel pooled does not go with --preset, whose rows are split for all channels together"))
        }
        PanelArg::Pooled => Ok(Channels::Pooled),
        PanelArg::Joint if !aligned => {
            let other = panel.series.iter().find(|s| s.times != first.times).map_or("", |s| s.id.as_str());
            Err(Failure::usage(format!(
                "--panel joint needs series over the same time stamps: \"{other}\" has others than \"{}\"",
                first.id
            )))
        }
        PanelArg::Joint => Ok(Channels::Joint),
        PanelArg::Auto if args.preset.is_some() && !aligned => {
            Err(BadInput::new("the input", "its channels do not share their time stamps".to_string())
                .remedy("a preset's split by rows needs all channels on all rows")
                .into())
        }
        PanelArg::Auto => Ok(networks::default_channels(panel)),
    }
}

/// Ends of the training and validation rows.
fn preset_rows(preset: &Preset, n: usize, lookback: usize) -> Outcome<(usize, usize)> {
    let parts = preset.split.parts(n, lookback).map_err(|e| Failure::usage(format!("--preset {}: {e}", preset.name)))?;
    Ok((parts.train.end, parts.val.end))
}

fn summary_row(args: &TrainArgs, lookback: usize, horizon: usize, history: &TrainReport) -> MetricRow {
    let best = history.best_epoch.and_then(|e| history.epochs.get(e - 1)).or(history.epochs.last());
    let keys = [
        ("model", args.method.to_string()),
        ("lookback", lookback.to_string()),
        ("horizon", horizon.to_string()),
        ("epoch", best.map_or(0, |r| r.epoch).to_string()),
    ];
    MetricRow {
        keys: keys.map(|(k, v)| (k.to_string(), v)).to_vec(),
        metrics: vec![("train_loss".into(), best.map(|r| r.train_loss)), ("validation".into(), best.and_then(|r| r.validation))],
    }
}

/// One row per epoch.
fn history_table(history: &TrainReport) -> Table {
    let rows = &history.epochs;
    Table::new()
        .with("epoch", Values::Integer(rows.iter().map(|r| r.epoch as i64).collect()))
        .with("train_loss", Values::Number(rows.iter().map(|r| r.train_loss).collect()))
        .with("validation", Values::Number(rows.iter().map(|r| r.validation.unwrap_or(f64::NAN)).collect()))
        .with("learning_rate", Values::Number(rows.iter().map(|r| r.learning_rate).collect()))
        .with("best", Values::Bool(rows.iter().map(|r| r.best).collect()))
}

/// Loss by epoch.
fn picture(model: &str, history: &TrainReport) -> Outcome<crate::plot::Picture> {
    let curve = |name: &str, values: Vec<f64>| Curve { name: name.into(), values };
    let curves = [
        curve("training", history.epochs.iter().map(|r| r.train_loss).collect()),
        curve("validation", history.epochs.iter().map(|r| r.validation.unwrap_or(f64::NAN)).collect()),
    ];
    Ok(loss_by_epoch(&curves, &format!("{model}: loss by epoch"))?)
}
