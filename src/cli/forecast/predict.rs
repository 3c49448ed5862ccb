//! `shoal forecast predict`: fit to every series and forecast from its end.

use super::common::{
    HorizonArg, IntervalArgs, ModelArgs, Seasons, check_season, default_lookback, inputs, report_fallbacks, tell_seasons,
};
use super::network::NetworkArgs;
use super::networks;
use super::show;
use crate::cli::args::{InputArgs, OutputArgs};
use crate::cli::failure::{Failure, Outcome, complete};
use crate::cli::output::{refuse_same_file, to_json};
use crate::cli::session::{COMMIT, Session, VERSION};
use crate::forecast::engine::{Plan, SeriesForecast, predict_panel};
use crate::forecast::intervals::IntervalConfig;
use crate::forecast::model::Diagnostics;
use crate::forecast::neural::forecaster::Forecaster;
use crate::forecast::spec::ModelSpec;
use crate::table::{BadInput, Format, Panel, ReadOptions, Table, Values, read_panel, write_table};
use clap::Args;
use serde::Serialize;
use serde_json::json;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub const EXAMPLES: &str = "Examples:
  shoal forecast predict sales.csv -H 12
  cat sales.csv | shoal forecast predict -m auto-ets,naive -H 12 --level 80,95 -o out.parquet
  shoal forecast predict panel.parquet -m nlinear -L 96 -H 24 --intervals conformal
  shoal forecast predict --load model/ sales.csv --level 80
  shoal forecast predict sales.csv -m timemixer,auto-ets -H 24";

/// Arguments of `shoal forecast predict`.
#[derive(Debug, Args)]
pub struct PredictArgs {
    #[command(flatten)]
    input: InputArgs,
    #[command(flatten)]
    model: ModelArgs,
    /// Forecast with the network that `forecast train --save DIR` left there; -H defaults to what it was trained for.
    #[arg(long, value_name = "DIR", conflicts_with_all = ["method", "lookback", "season"], help_heading = "Models",
          value_hint = clap::ValueHint::DirPath)]
    load: Option<PathBuf>,
    #[command(flatten)]
    horizon: HorizonArg,
    #[command(flatten)]
    intervals: IntervalArgs,
    #[command(flatten)]
    network: NetworkArgs,
    #[command(flatten)]
    output: OutputArgs,
    /// Write what was fitted here: one row per series and model with its form, criteria and parameters.
    #[arg(long, value_name = "FILE", help_heading = "Output", value_hint = clap::ValueHint::FilePath)]
    fits: Option<PathBuf>,
}

/// The effective configuration.
#[derive(Debug, Serialize)]
struct PredictConfig {
    models: Vec<ModelSpec>,
    loaded: Option<PathBuf>,
    horizon: usize,
    season: Option<u32>,
    lookback: Option<usize>,
    /// What the models over the whole panel used, by model.
    lookbacks: BTreeMap<String, usize>,
    intervals: IntervalConfig,
    strict: bool,
    read: ReadOptions,
}

/// Forecasts of one model for all series.
struct ModelRun {
    spec: ModelSpec,
    forecasts: Vec<SeriesForecast>,
}

/// Runs the verb.
pub fn run(args: PredictArgs, mut session: Session) -> Outcome {
    let loaded = args.load.as_deref().map(|dir| load(dir, &mut session)).transpose()?;
    let models = match &loaded {
        Some(forecaster) => {
            args.network.refuse_unused(&[])?;
            vec![networks::spec_of(forecaster)]
        }
        None => args.model.models()?,
    };
    if loaded.is_none() {
        args.network.refuse_unused(&models)?;
    }
    let horizon = match (&loaded, args.horizon.horizon) {
        (Some(forecaster), None) => forecaster.card().architecture.horizon(),
        _ => args.horizon.get()?,
    };
    let mut config = PredictConfig {
        horizon,
        intervals: match &loaded {
            Some(forecaster) => networks::intervals(&args.intervals, forecaster)?,
            None => args.intervals.config(&models)?,
        },
        models,
        loaded: args.load.clone(),
        season: args.model.season,
        lookback: args.model.lookback.map(|l| l as usize),
        lookbacks: BTreeMap::new(),
        strict: args.model.strict,
        read: args.input.read_options(),
    };
    refuse_same_file(&[
        ("-o", args.output.output.as_deref()),
        ("--plot", args.output.plot.as_deref()),
        ("--fits", args.fits.as_deref()),
    ])?;
    let mut output = session.open_outputs(&args.output)?;
    let fits_file = args.fits.as_ref().map(|p| Ok::<_, Failure>((crate::table::AtomicFile::create(p)?, p))).transpose()?;
    let sources = session.open_inputs(&args.input.input)?;
    let panel = read_panel(&sources, &config.read)?;
    drop(sources);
    panel.warnings.iter().for_each(|w| tracing::warn!("{w}"));
    check_season(&panel, config.season)?;
    let seasons: Vec<Seasons> = {
        use rayon::prelude::*;
        panel.series.par_iter().map(|s| Seasons::of(s, &panel, config.season, s.y.len())).collect()
    };
    tell_seasons(&panel, &seasons, &config.models);
    // Before the fits: the calendar may end before the horizon does.
    if let Some(last) = panel.series.iter().filter_map(|s| s.times.last()).max() {
        future(&panel, *last, config.horizon)?;
    }
    let calibration = config.intervals.calibration_need(config.horizon);
    let mut runs = Vec::new();
    let mut lookbacks: Vec<(String, usize)> = Vec::new();
    for spec in &config.models {
        let series = inputs(&panel, &seasons, spec);
        let longest = series.iter().map(|s| s.y.len()).max().unwrap_or(0);
        let season = series.iter().map(|s| s.season).max().unwrap_or(1);
        let lookback =
            config.lookback.unwrap_or_else(|| default_lookback(longest.saturating_sub(calibration), season, config.horizon));
        let forecasts = match (&loaded, args.network.network(spec)) {
            (Some(forecaster), _) => networks::forecast(forecaster, &panel, config.horizon, &config.intervals)?,
            (None, Some(kind)) => {
                let task =
                    networks::Task { kind, lookback: config.lookback, horizon: config.horizon, intervals: &config.intervals };
                let (forecasts, used) = networks::train_and_forecast(&args.network, task, &panel, &session)?;
                lookbacks.push((spec.to_string(), used));
                forecasts
            }
            (None, None) => {
                if spec.is_global() {
                    tracing::info!("{spec}: lookback {lookback}");
                    lookbacks.push((spec.to_string(), lookback));
                }
                let plan = Plan { horizon: config.horizon, lookback, intervals: config.intervals.clone() };
                predict_panel(spec, &series, &plan, session.observer())?
            }
        };
        runs.push(ModelRun { spec: spec.clone(), forecasts });
    }
    config.lookbacks = lookbacks.into_iter().collect();
    let (fallbacks, unconverged) = troubles(&panel, &runs);
    report_fallbacks(config.strict, &fallbacks, &unconverged)?;
    let table = forecast_table(&panel, &runs, &config)?;
    let fits = fits_table(&panel, &runs, &seasons);
    if let Some((mut file, path)) = fits_file {
        write_table(&fits, Format::of_path(path).unwrap_or(Format::Csv), &mut file)?;
        file.commit()?;
    }
    if output.wants_picture() || session.keeps_run() {
        let picture = show::forecasts(
            &panel,
            &runs.iter().map(|r| (r.spec.to_string(), &r.forecasts[..])).collect::<Vec<_>>(),
            &config.intervals,
            &seasons,
            config.horizon,
        )?;
        output.picture(&picture)?;
        show::keep(&session, "forecast.svg", &picture)?;
    }
    if let Some(mut file) = session.run_file("forecast.csv")? {
        write_table(&table, Format::Csv, &mut file)?;
        file.commit()?;
    }
    if let Some(mut file) = session.run_file("fits.csv")? {
        write_table(&fits, Format::Csv, &mut file)?;
        file.commit()?;
    }
    summary(&session, &panel, &runs, config.horizon);
    let object = || {
        Ok(json!({
            "shoal": VERSION, "commit": COMMIT, "seed": session.seed, "config": to_json(&config)?,
            "freq": panel.freq.to_string(), "forecasts": rows_json(&table)?, "fits": rows_json(&fits)?,
        }))
    };
    let written = output.result(&table, object);
    complete(written, || session.finish(&config))
}

/// The saved network of a directory (or its file).
fn load(path: &Path, session: &mut Session) -> Outcome<Forecaster> {
    let file = if path.is_dir() { path.join(super::train::MODEL_FILE) } else { path.to_path_buf() };
    let name = file.display().to_string();
    let bytes = session.open_raw(&name)?;
    Forecaster::from_bytes(&bytes).map_err(|e| BadInput::new(name, e.to_string()).into())
}

/// Fallbacks as (series, model, reason) and unconverged fits as (series, model).
type Troubles = (Vec<(String, String, String)>, Vec<(String, String)>);

fn troubles(panel: &Panel, runs: &[ModelRun]) -> Troubles {
    let mut out: Troubles = Default::default();
    for run in runs {
        for (s, f) in panel.series.iter().zip(&run.forecasts) {
            if let Some(why) = &f.fallback {
                out.0.push((s.id.clone(), run.spec.to_string(), why.clone()));
            } else if f.diagnostics.as_ref().is_some_and(|d| !d.converged) {
                out.1.push((s.id.clone(), run.spec.to_string()));
            }
        }
    }
    out
}

/// The time stamps of the horizon.
pub fn future(panel: &Panel, last: i64, horizon: usize) -> Outcome<Vec<i64>> {
    (1..=horizon as i64).map(|k| panel.freq.advance(last, k)).collect::<Option<Vec<i64>>>().ok_or_else(|| {
        Failure::usage(format!("the horizon runs past the last time stamp that can be written (frequency {})", panel.freq))
    })
}

/// One row per series, model and step.
fn forecast_table(panel: &Panel, runs: &[ModelRun], config: &PredictConfig) -> Outcome<Table> {
    let (mut ids, mut models): (Vec<Arc<str>>, Vec<Arc<str>>) = Default::default();
    let (mut times, mut mean): (Vec<i64>, Vec<f64>) = Default::default();
    let names = config.intervals.column_names();
    let mut quantiles: Vec<Vec<f64>> = vec![Vec::new(); names.len()];
    let mut fallback: Vec<Arc<str>> = Vec::new();
    let model_names: Vec<Arc<str>> = runs.iter().map(|r| r.spec.to_string().into()).collect();
    let nothing: Arc<str> = "".into();
    for (i, s) in panel.series.iter().enumerate() {
        let id: Arc<str> = s.id.as_str().into();
        let stamps = future(panel, s.times.last().copied().unwrap_or(0), config.horizon)?;
        for (run, model) in runs.iter().zip(&model_names) {
            let f = &run.forecasts[i];
            let why: Arc<str> = f.fallback.as_deref().map_or_else(|| nothing.clone(), Arc::from);
            for (k, &t) in stamps.iter().enumerate() {
                ids.push(id.clone());
                times.push(t);
                models.push(model.clone());
                mean.push(f.mean[k]);
                fallback.push(why.clone());
                for (column, q) in quantiles.iter_mut().enumerate() {
                    q.push(f.quantiles.get(column).map_or(f64::NAN, |v| v[k]));
                }
            }
        }
    }
    let fell_back = fallback.iter().any(|f| !f.is_empty());
    let mut table = Table::new()
        .with("unique_id", Values::Text(ids))
        .with("ds", Values::Time { values: times, kind: panel.kind })
        .with("model", Values::Text(models))
        .with("mean", Values::Number(mean));
    for (name, q) in names.into_iter().zip(quantiles) {
        table = table.with(name, Values::Number(q));
    }
    // The reason column appears only when there is a reason.
    Ok(if fell_back { table.with("fallback", Values::Text(fallback)) } else { table })
}

/// One row per series and model: form, criteria, parameters.
fn fits_table(panel: &Panel, runs: &[ModelRun], seasons: &[Seasons]) -> Table {
    let mut text: [Vec<Arc<str>>; 5] = Default::default();
    let mut season: Vec<i64> = Vec::new();
    let mut n: Vec<i64> = Vec::new();
    let mut numbers: [Vec<f64>; 5] = Default::default();
    let mut converged: Vec<bool> = Vec::new();
    for (i, s) in panel.series.iter().enumerate() {
        for run in runs {
            let f = &run.forecasts[i];
            let d =
                f.diagnostics.clone().unwrap_or_else(|| Diagnostics { converged: f.fallback.is_none(), ..Default::default() });
            let params = d.params.iter().map(|(k, v)| format!("{k}={v}")).collect::<Vec<_>>().join(" ");
            let cells = [s.id.clone(), run.spec.to_string(), d.form.clone(), params, f.fallback.clone().unwrap_or_default()];
            text.iter_mut().zip(cells).for_each(|(column, cell)| column.push(cell.into()));
            n.push(s.y.len() as i64);
            season.push(seasons[i].for_model(&run.spec) as i64);
            let finite = |v: Option<f64>| v.filter(|x| x.is_finite()).unwrap_or(f64::NAN);
            let values = [finite(d.loglik), finite(d.aic), finite(d.aicc), finite(d.bic), finite(d.sigma2)];
            numbers.iter_mut().zip(values).for_each(|(column, v)| column.push(v));
            converged.push(d.converged);
        }
    }
    let [id, model, form, params, fallback] = text;
    let [loglik, aic, aicc, bic, sigma2] = numbers;
    Table::new()
        .with("unique_id", Values::Text(id))
        .with("model", Values::Text(model))
        .with("form", Values::Text(form))
        .with("n", Values::Integer(n))
        .with("season", Values::Integer(season))
        .with("loglik", Values::Number(loglik))
        .with("aic", Values::Number(aic))
        .with("aicc", Values::Number(aicc))
        .with("bic", Values::Number(bic))
        .with("sigma2", Values::Number(sigma2))
        .with("converged", Values::Bool(converged))
        .with("params", Values::Text(params))
        .with("fallback", Values::Text(fallback))
}

/// A table as a JSON array of objects.
pub fn rows_json(table: &Table) -> Outcome<serde_json::Value> {
    let mut bytes = Vec::new();
    write_table(table, Format::Json, &mut bytes)?;
    serde_json::from_slice(&bytes).map_err(|e| Failure::Run(e.into()))
}

/// A few lines on stderr: what was read and what was fitted.
fn summary(session: &Session, panel: &Panel, runs: &[ModelRun], horizon: usize) {
    let lengths = panel.series.iter().map(|s| s.y.len());
    let (least, most) = (lengths.clone().min().unwrap_or(0), lengths.max().unwrap_or(0));
    let n = if least == most { format!("{most}") } else { format!("{least} to {most}") };
    session.say(format!("{} series of {n} observations, frequency {}, {horizon} steps ahead", panel.series.len(), panel.freq));
    if panel.series.len() > 3 {
        return;
    }
    for (i, s) in panel.series.iter().enumerate() {
        for run in runs {
            if let Some(d) = &run.forecasts[i].diagnostics {
                let aicc = d.aicc.filter(|a| a.is_finite()).map(|a| format!(", AICc {a:.3}")).unwrap_or_default();
                session.say(format!("{}: {} = {}{aicc}", s.id, run.spec, d.form));
            }
        }
    }
}
