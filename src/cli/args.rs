//! Groups of options that mean the same in every verb.

use super::failure::{Failure, Outcome};
use crate::run::check::{Claim, Tolerance};
use crate::table::series::{Impute, Layout};
use crate::table::{Freq, Header, ReadOptions};
use clap::{Args, ValueEnum, ValueHint};
use std::path::PathBuf;

/// How tables are read.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Input")]
pub struct InputArgs {
    /// Tables to read: CSV, TSV, Parquet or JSON lines, told by content; gzip and zstd are read as they are. "-" is stdin, the
    /// default when stdin is not a terminal.
    #[arg(value_name = "INPUT", value_hint = ValueHint::FilePath)]
    pub input: Vec<String>,
    /// How series lie in the table. auto: long if there are columns unique_id or ds and y, else wide.
    #[arg(long, value_enum, default_value_t)]
    pub layout: LayoutArg,
    /// Column of series ids (long layout) [default: unique_id]
    #[arg(long, value_name = "NAME")]
    pub id_col: Option<String>,
    /// Time column [default: ds, date, or the first column that reads as time]
    #[arg(long, value_name = "NAME")]
    pub time_col: Option<String>,
    /// Value column (long, default y), or the channels to take (wide, default all columns of numbers).
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub target_col: Vec<String>,
    /// Spacing of the time stamps: s, min, h, d, b (business days), w, m (ms, me), q, y, with a number before it such as 15min; a bare
    /// number for integer time [default: inferred]
    #[arg(long, value_name = "FREQ")]
    pub freq: Option<Freq>,
    /// How time stamps are written, as strftime ("%d.%m.%Y") or epoch-s, epoch-ms, epoch-us, epoch-ns [default: recognised]
    #[arg(long, value_name = "FORMAT")]
    pub time_format: Option<String>,
    /// One more text that means a missing value; repeatable. Empty, NA, NaN, nan, NULL and null always do.
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    pub na: Vec<String>,
    /// Fill missing values and missing time stamps.
    #[arg(long, value_enum, value_name = "HOW")]
    pub impute: Option<ImputeArg>,
    /// Take rows as consecutive even where time stamps are missing or irregular.
    #[arg(long)]
    pub allow_gaps: bool,
    /// Sort rows by time instead of refusing unsorted ones.
    #[arg(long)]
    pub sort: bool,
    /// Whether delimited text starts with a row of names.
    #[arg(long, value_enum, default_value_t, value_name = "WHETHER")]
    pub header: HeaderArg,
}

/// See [`Layout`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum LayoutArg {
    #[default]
    Auto,
    Wide,
    Long,
}

/// See [`Impute`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ImputeArg {
    /// the last value before
    Ffill,
    /// the straight line between the neighbours
    Linear,
    /// 0
    Zero,
}

/// See [`Header`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum HeaderArg {
    #[default]
    Auto,
    Yes,
    No,
}

impl From<HeaderArg> for Header {
    fn from(arg: HeaderArg) -> Self {
        match arg {
            HeaderArg::Auto => Self::Auto,
            HeaderArg::Yes => Self::Yes,
            HeaderArg::No => Self::No,
        }
    }
}

impl InputArgs {
    /// The checked form.
    pub fn read_options(&self) -> ReadOptions {
        ReadOptions {
            layout: match self.layout {
                LayoutArg::Auto => Layout::Auto,
                LayoutArg::Wide => Layout::Wide,
                LayoutArg::Long => Layout::Long,
            },
            id_col: self.id_col.clone(),
            time_col: self.time_col.clone(),
            target_cols: self.target_col.clone(),
            freq: self.freq,
            allow_gaps: self.allow_gaps,
            impute: self.impute.map(|i| match i {
                ImputeArg::Ffill => Impute::Ffill,
                ImputeArg::Linear => Impute::Linear,
                ImputeArg::Zero => Impute::Zero,
            }),
            na: self.na.clone(),
            time_format: self.time_format.clone(),
            sort: self.sort,
            header: self.header.into(),
        }
    }
}

/// Where results go.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Output")]
pub struct OutputArgs {
    /// Write the result here instead of stdout: complete or not at all.
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub output: Option<PathBuf>,
    /// Form of the result. auto: by the extension of -o, else a readable table on a terminal and CSV in a pipe.
    #[arg(long, value_enum, default_value_t)]
    pub format: FormatArg,
    /// Write one JSON object with the result, what was fitted and the effective configuration.
    #[arg(long, conflicts_with = "format")]
    pub json: bool,
    /// Draw the picture that belongs to the verb, as .svg or .png.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub plot: Option<PathBuf>,
    /// Keep the whole run here: manifest.json (with which --config repeats it), results, picture.
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub run_dir: Option<PathBuf>,
    /// Write into --run-dir even if it is not empty.
    #[arg(long)]
    pub force: bool,
}

/// Form of a table on its way out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum FormatArg {
    #[default]
    Auto,
    Csv,
    Tsv,
    Parquet,
    /// an array of objects
    Json,
    /// one object a line
    Jsonl,
    /// aligned columns for reading
    Table,
}

/// Claims about the metrics.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Regression checks")]
pub struct CheckArgs {
    /// Exit 3 unless the claim holds for every row: "mse<=0.40", "nlinear.mae < 0.5", "mse within 2% of 0.38"; repeatable.
    #[arg(long, value_name = "CLAIM")]
    pub assert: Vec<Claim>,
    /// Compare all metrics with this file, print old, new and difference on stderr, exit 3 when they differ.
    #[arg(long, value_name = "FILE.json", value_hint = ValueHint::FilePath)]
    pub check: Option<PathBuf>,
    /// How far --check lets a metric move: a share such as 1% or a difference such as 1e-6.
    #[arg(long, value_name = "T", default_value = "1e-9", requires = "check")]
    pub tolerance: Tolerance,
    /// Write this run's metrics to the --check file instead of comparing.
    #[arg(long, requires = "check")]
    pub update_check: bool,
}

/// Options of the whole program.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Run")]
pub struct GlobalArgs {
    /// Seed of every random stream.
    #[arg(long, global = true, default_value_t = 0, value_name = "N")]
    pub seed: u64,
    /// Threads [default: all cores]; never changes a result
    #[arg(long, global = true, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=512))]
    pub threads: Option<u16>,
    /// Options from a TOML file (long flags as keys), or a run repeated from its manifest.json; the command line wins.
    #[arg(long, global = true, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub config: Option<PathBuf>,
    /// No progress, no summary, no warnings: errors only.
    #[arg(short, long, global = true)]
    pub quiet: bool,
    /// More on stderr; twice for details.
    #[arg(short, long, global = true, action = clap::ArgAction::Count, conflicts_with = "quiet")]
    pub verbose: u8,
}

/// A number above 0, as typed.
pub fn positive(s: &str) -> Result<f64, String> {
    match s.parse::<f64>() {
        Ok(v) if v > 0.0 && v.is_finite() => Ok(v),
        _ => Err("expected a number above 0".into()),
    }
}

/// A number of at least 0, as typed.
pub fn not_negative(s: &str) -> Result<f64, String> {
    match s.parse::<f64>() {
        Ok(v) if v >= 0.0 && v.is_finite() => Ok(v),
        _ => Err("expected a number of at least 0".into()),
    }
}

/// A number from 0 to below 1, as typed.
pub fn share(s: &str) -> Result<f64, String> {
    match s.parse::<f64>() {
        Ok(v) if (0.0..1.0).contains(&v) => Ok(v),
        _ => Err("expected a share of at least 0 and below 1".into()),
    }
}

/// Refuses options that were given and that `what` has no use for: (option, given, used).
pub fn refuse_unused(what: &str, options: &[(&str, bool, bool)]) -> Outcome {
    match options.iter().find(|(_, given, used)| *given && !used) {
        Some((option, ..)) => Err(Failure::usage(format!("{option} means nothing for {what}: leave it out"))),
        None => Ok(()),
    }
}
