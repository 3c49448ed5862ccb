//! Options and steps that the forecasting verbs share: models, season, intervals.

use crate::cli::failure::{Failure, Outcome};
use crate::forecast::engine::SeriesInput;
use crate::forecast::intervals::{ConformalVariant, IntervalConfig, IntervalMethod};
use crate::forecast::seasonality::detect_season;
use crate::forecast::spec::{ModelSpec, model_names, parse_models};
use crate::table::{Freq, Panel, Series};
use clap::{Args, ValueEnum};

/// Which models, and what they need to know.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Models")]
pub struct ModelArgs {
    /// Models, comma-separated; --help lists them.
    #[arg(short, long, visible_alias = "model", value_name = "MODELS", default_value = "auto-ets", value_parser = model_list, long_help = models_help())]
    pub method: Vec<ModelList>,
    /// Season length in steps; 1 = none [default: found in each series among those usual for the frequency]
    #[arg(long, value_name = "M", value_parser = clap::value_parser!(u32).range(1..))]
    pub season: Option<u32>,
    /// Window length of the linear models, in steps.
    #[arg(short = 'L', long, visible_alias = "context", value_name = "STEPS", value_parser = clap::value_parser!(u32).range(1..))]
    pub lookback: Option<u32>,
    /// Exit 4 when a model had to be replaced by naive or did not converge, instead of only saying so.
    #[arg(long)]
    pub strict: bool,
}

fn models_help() -> String {
    let names: Vec<&str> = model_names();
    format!("Models, comma-separated. Known: {}", names.join(", "))
}

impl ModelArgs {
    /// All models, in the order typed.
    pub fn models(&self) -> Outcome<Vec<ModelSpec>> {
        joined(&self.method)
    }
}

/// The models of a repeated `--method`, each listed once.
pub fn joined(lists: &[ModelList]) -> Outcome<Vec<ModelSpec>> {
    let mut models: Vec<ModelSpec> = Vec::new();
    for model in lists.iter().flat_map(|l| &l.0) {
        if models.contains(model) {
            return Err(Failure::usage(format!("model \"{model}\" is listed twice")));
        }
        models.push(model.clone());
    }
    Ok(models)
}

/// A parsed `--method` list.
#[derive(Debug, Clone)]
pub struct ModelList(pub Vec<ModelSpec>);

/// Parses `--method`.
pub fn model_list(s: &str) -> Result<ModelList, String> {
    parse_models(s).map(ModelList)
}

/// Which intervals.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Intervals")]
pub struct IntervalArgs {
    /// Central interval coverages in percent, such as 80,95: columns lo-80, hi-80, ...
    #[arg(long, value_name = "PERCENTS", value_delimiter = ',')]
    pub level: Vec<f64>,
    /// Quantiles in (0, 1), such as 0.1,0.5,0.9: columns q0.1, ...
    #[arg(long, value_name = "QUANTILES", value_delimiter = ',')]
    pub quantiles: Vec<f64>,
    /// Where they come from: the model's own distribution, or errors of forecasts made before the origin [default: model when
    /// --level or --quantiles is given, else none]
    #[arg(long, value_enum, value_name = "SOURCE")]
    pub intervals: Option<IntervalSource>,
    /// How calibration errors become intervals: an order statistic of the errors, or quantiles of mean plus and minus every error.
    /// Implies --intervals conformal [default: distribution]
    #[arg(long, value_enum, value_name = "VARIANT")]
    pub conformal: Option<VariantArg>,
    /// Forecasts made for calibration, each one horizon further back. Implies --intervals conformal [default: 3]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub calib_windows: Option<u16>,
}

/// See [`IntervalMethod`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum IntervalSource {
    Model,
    Conformal,
    None,
}

/// See [`ConformalVariant`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum VariantArg {
    Split,
    #[default]
    Distribution,
}

impl IntervalArgs {
    /// The checked form, for these models.
    pub fn config(&self, models: &[ModelSpec]) -> Outcome<IntervalConfig> {
        let asked = !self.level.is_empty() || !self.quantiles.is_empty();
        let calibrated = self.conformal.is_some() || self.calib_windows.is_some();
        let source = match self.intervals {
            Some(IntervalSource::Model | IntervalSource::None) if calibrated => {
                return Err(Failure::usage(
                    "--conformal and --calib-windows go with --intervals conformal: leave one of them out",
                ));
            }
            Some(source) => source,
            None if calibrated => IntervalSource::Conformal,
            None if asked => IntervalSource::Model,
            None => IntervalSource::None,
        };
        if let Some(bad) = self.level.iter().find(|l| !(**l > 0.0 && **l < 100.0)) {
            return Err(Failure::usage(format!("--level: found {bad}, expected percents between 0 and 100 such as 80,95")));
        }
        if let Some(bad) = self.quantiles.iter().find(|q| !(**q > 0.0 && **q < 1.0)) {
            return Err(Failure::usage(format!("--quantiles: found {bad}, expected values between 0 and 1 such as 0.1,0.5,0.9")));
        }
        let unique = |mut v: Vec<f64>| {
            v.sort_by(f64::total_cmp);
            v.dedup();
            v
        };
        let mut levels = unique(self.level.clone());
        let quantiles = unique(self.quantiles.clone());
        let method = match source {
            IntervalSource::None if asked => {
                return Err(Failure::usage("--intervals none contradicts --level and --quantiles: leave one of them out"));
            }
            IntervalSource::None => return Ok(IntervalConfig::none()),
            IntervalSource::Model => {
                if let Some(m) = models.iter().find(|m| !m.has_model_intervals()) {
                    return Err(Failure::usage(format!(
                        "model \"{m}\" has no forecast distribution of its own: add --intervals conformal"
                    )));
                }
                IntervalMethod::Model
            }
            IntervalSource::Conformal => IntervalMethod::Conformal {
                variant: match self.conformal.unwrap_or_default() {
                    VariantArg::Split => ConformalVariant::Split,
                    VariantArg::Distribution => ConformalVariant::Distribution,
                },
                windows: usize::from(self.calib_windows.unwrap_or(3)),
            },
        };
        if !asked {
            levels = vec![80.0, 95.0];
        }
        let config = IntervalConfig { method, levels, quantiles };
        warn_of_few_windows(&config);
        Ok(config)
    }
}

/// Split conformal cannot promise a level from too few scores.
fn warn_of_few_windows(config: &IntervalConfig) {
    if let IntervalMethod::Conformal { variant: ConformalVariant::Split, windows } = config.method {
        for level in &config.levels {
            let need = crate::forecast::intervals::Calibration::windows_for_level(*level);
            if windows < need {
                tracing::warn!(
                    "level {level} needs --calib-windows {need} or more; with {windows} the widest error seen is taken and the coverage is lower"
                );
            }
        }
    }
}

/// Default lookback of the linear models when -L is absent: three seasons or two horizons, whichever is more, at least 12, and not more
/// than leaves two thirds of the longest series for windows to slide over.
pub fn default_lookback(longest: usize, season: usize, horizon: usize) -> usize {
    let wished = (3 * season).max(2 * horizon).max(12);
    wished.min(longest.saturating_sub(horizon) / 3).max(2)
}

/// The season of one series, on the part that may be looked at.
#[derive(Debug, Clone, Copy)]
pub struct Seasons {
    /// Found by test, or typed.
    found: usize,
    /// Found by test among the candidates that every model can take.
    found_short: usize,
    /// What is usual for the frequency.
    usual: usize,
}

impl Seasons {
    /// Takes `--season`, or looks for one in the first `known` observations.
    pub fn of(series: &Series, panel: &Panel, typed: Option<u32>, known: usize) -> Self {
        let y = &series.y[..known.min(series.y.len())];
        if let Some(m) = typed {
            // A series shorter than the season has none.
            let m = if y.len() >= m as usize { m as usize } else { 1 };
            return Self { found: m, found_short: m, usual: m };
        }
        let candidates = panel.freq.season_candidates();
        let usual = candidates.iter().copied().find(|m| y.len() >= 2 * m).unwrap_or(1);
        // Only plain integers leave open what a step is; a year has no season.
        let open = matches!(panel.freq, Freq::Integer(_));
        let look = |candidates: &[usize]| if candidates.is_empty() && !open { 1 } else { detect_season(y, candidates) };
        let found = look(&candidates);
        let short: Vec<usize> = candidates.iter().copied().filter(|m| *m <= LONGEST_COMMON).collect();
        let found_short = if found <= LONGEST_COMMON || short.is_empty() { found } else { look(&short) };
        Self { found, found_short, usual }
    }

    /// The longest season any model may use.
    pub fn longest(&self) -> usize {
        self.found.max(self.usual)
    }

    /// The season that scaled errors divide by: what was found, whatever the model.
    pub fn found(&self) -> usize {
        self.found
    }

    /// The season length that a model is fitted with: a model that is nothing without a season takes the usual one where none was
    /// found; one that cannot take the season found takes a shorter one that was found too, or none.
    pub fn for_model(&self, spec: &ModelSpec) -> usize {
        if self.found == 1 && spec.needs_season() {
            return self.usual;
        }
        match spec.longest_season() {
            Some(most) if self.found > most => {
                if self.found_short <= most {
                    self.found_short
                } else {
                    1
                }
            }
            _ => self.found,
        }
    }
}

/// Seasons up to this length are looked for apart when a longer one is found, for the models that cannot take the longer one.
const LONGEST_COMMON: usize = 60;

/// Says which seasons were found (with -v, per series with -vv), and warns where a model leaves out one that the series has.
pub fn tell_seasons(panel: &Panel, seasons: &[Seasons], models: &[ModelSpec]) {
    let mut counts = std::collections::BTreeMap::new();
    for (s, season) in panel.series.iter().zip(seasons) {
        *counts.entry(season.found).or_insert(0usize) += 1;
        tracing::debug!("series \"{}\": season {}", s.id, season.found);
    }
    for (season, count) in counts {
        let what = if season == 1 { "no season".to_string() } else { format!("season {season}") };
        tracing::info!("{what} in {count} of {} series", panel.series.len());
    }
    for spec in models {
        let short = panel.series.iter().zip(seasons).filter(|(_, s)| s.for_model(spec) != s.found && s.found != 1);
        let mut short = short.map(|(s, season)| (s.id.as_str(), season.found, season.for_model(spec)));
        if let Some((id, found, used)) = short.next() {
            let more = short.count();
            let used = if used == 1 { "none".to_string() } else { used.to_string() };
            let rest = if more > 0 { format!(" (and {more} more series)") } else { String::new() };
            tracing::warn!("series \"{id}\": {spec} cannot take the season of {found}, it uses {used}{rest}");
        }
    }
}

/// The series of a panel as the engine takes them, for one model.
pub fn inputs<'a>(panel: &'a Panel, seasons: &[Seasons], spec: &ModelSpec) -> Vec<SeriesInput<'a>> {
    let with = panel.series.iter().zip(seasons);
    with.map(|(s, season)| SeriesInput { id: &s.id, y: &s.y, season: season.for_model(spec) }).collect()
}

/// Refuses a season that no series can have; where only some are too short for it, they have none.
pub fn check_season(panel: &Panel, typed: Option<u32>) -> Outcome {
    let Some(m) = typed else { return Ok(()) };
    let longest = panel.series.iter().map(|s| s.y.len()).max().unwrap_or(0);
    if longest < m as usize {
        let whose = if panel.series.len() == 1 { "the series has" } else { "the longest series has" };
        return Err(Failure::usage(format!("--season {m}: {whose} {longest} observations: lower it, or 1 for no season")));
    }
    Ok(())
}

/// Warns of fallbacks and failed convergence; under `--strict` they are the run's failure.
pub fn report_fallbacks(strict: bool, fallbacks: &[(String, String, String)], unconverged: &[(String, String)]) -> Outcome {
    let mut texts: Vec<String> = fallbacks
        .iter()
        .map(|(id, model, why)| format!("series \"{id}\": naive stands in for {model}: {why}"))
        .chain(unconverged.iter().map(|(id, model)| format!("series \"{id}\": {model} did not converge")))
        .collect();
    if texts.is_empty() {
        return Ok(());
    }
    if strict {
        return Err(Failure::Numbers(texts));
    }
    let total = texts.len();
    texts.truncate(5);
    texts.iter().for_each(|t| tracing::warn!("{t}"));
    if total > 5 {
        tracing::warn!("... and {} more of these; the forecasts have a column \"fallback\"", total - 5);
    }
    Ok(())
}

/// Horizon argument shared by the verbs that take one.
#[derive(Debug, Clone, Copy, Args)]
pub struct HorizonArg {
    /// Steps to forecast.
    #[arg(short = 'H', long, value_name = "STEPS", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub horizon: Option<u32>,
}

impl HorizonArg {
    /// The horizon, which must be there.
    pub fn get(self) -> Outcome<usize> {
        self.horizon
            .map(|h| h as usize)
            .ok_or_else(|| Failure::usage("-H/--horizon is missing: say how many steps to forecast, such as -H 12"))
    }
}
