//! `shoal decompose-tensor tucker`.

use super::cp::named;
use super::input::{DtypeArg, TensorArgs};
use super::keep::{Finished, KeepArgs, Opened, PictureArg, finish};
use super::model::{Pictures, by_commas, factors_table, panels, short};
use crate::cli::args::{CheckArgs, OutputArgs, not_negative, refuse_unused};
use crate::cli::failure::{Failure, Outcome};
use crate::cli::report;
use crate::cli::session::Session;
use crate::plot::Curve;
use crate::run::check::MetricRow;
use crate::table::tensors::{Absent, Model, ModelFile, TensorData, TensorInput, TracePoint, trace_table};
use crate::tensor::tucker::hooi::{HooiConfig, hooi};
use crate::tensor::tucker::hosvd::hosvd;
use crate::tensor::tucker::nonnegative::{NonNegativeConfig, Start, nonnegative};
use crate::tensor::tucker::operand::{Operand, Widen};
use crate::tensor::tucker::randomised::{RandomisedConfig, randomised};
use crate::tensor::tucker::semi_sparse::SemiSparse;
use crate::tensor::tucker::sthosvd::sthosvd;
use crate::tensor::tucker::{ErrorFrom, Iterations, ModeOrder, Precision, Size, StopReason, TuckerError, TuckerFit};
use clap::{Args, ValueEnum};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Instant;

pub const EXAMPLES: &str = "Examples:
  shoal decompose-tensor tucker aminoacid.tns --ranks 3,3,3 --method hooi
  shoal decompose-tensor tucker field.npy --eps 1e-3 --save field.safetensors
  shoal decompose-tensor tucker aminoacid.tns --ranks 3,3,3 --plot core.png --picture core

The result has a row for each slice of each mode: mode, index, label, and a number for each column of its factor. The core is in --save and
--run-dir. rel_error is |X - X^| / |X|; compression is cells over numbers of the model.";

/// Arguments of `shoal decompose-tensor tucker`.
#[derive(Debug, Args)]
pub struct TuckerArgs {
    /// Columns of the factors, one number a mode.
    #[arg(long, value_name = "RANKS", value_delimiter = ',', required_unless_present = "eps")]
    ranks: Option<Vec<usize>>,
    /// The smallest ranks with at most this relative error.
    #[arg(long, value_name = "X", value_parser = not_negative, conflicts_with = "ranks")]
    eps: Option<f64>,
    /// How.
    #[arg(short, long, value_enum, default_value = "sthosvd", value_name = "METHOD")]
    method: Method,
    /// In which order modes are truncated: auto (short ones first), or their numbers from 0, such as 0,1,2.
    #[arg(long, value_name = "auto|MODES", default_value = "auto")]
    mode_order: String,
    /// hosvd, sthosvd, hooi: how singular vectors are found. auto: gram, unless --eps asks for more than it can tell apart.
    #[arg(long, value_enum, default_value = "auto", value_name = "HOW")]
    precision: PrecisionArg,
    /// hooi, nonnegative: converged when the relative error changes by less [default: 1e-8]
    #[arg(long, value_name = "X", value_parser = not_negative)]
    tol: Option<f64>,
    /// hooi, nonnegative: sweeps at most [default: 100; nonnegative 500]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000_000))]
    max_iter: Option<u32>,
    /// nonnegative: starts, the first from singular vectors, others random; the best is kept [default: 1]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    restarts: Option<u32>,
    /// rand: random vectors beyond the rank [default: 10]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=100_000))]
    oversample: Option<u32>,
    /// rand: power iterations [default: 1]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=100))]
    power: Option<u32>,
    /// Numbers that are held.
    #[arg(long, value_enum, default_value = "f64", value_name = "TYPE")]
    dtype: DtypeArg,
    /// What --plot draws [default: factors]
    #[arg(long, value_enum, value_name = "PICTURE", requires = "plot")]
    picture: Option<PictureArg>,
    #[command(flatten)]
    tensor: TensorArgs,
    #[command(flatten)]
    keep: KeepArgs,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    check: CheckArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Method {
    /// every factor from the tensor itself
    Hosvd,
    /// the tensor truncated after each mode
    Sthosvd,
    /// orthogonal iteration from there: the lowest error of the three
    Hooi,
    /// sthosvd with random range finders
    Rand,
    /// core and factors not negative
    Nonnegative,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum PrecisionArg {
    Auto,
    /// from sums of squares: fast, half of the digits
    Gram,
    /// from a triangular factor: all digits
    Lq,
}

impl PrecisionArg {
    pub fn checked(self) -> Precision {
        match self {
            Self::Auto => Precision::Auto,
            Self::Gram => Precision::Gram,
            Self::Lq => Precision::Lq,
        }
    }
}

const METRICS: [&str; 5] = ["rel_error", "fit", "compression", "norm", "iterations"];

impl TuckerArgs {
    fn name(&self) -> &'static str {
        match self.method {
            Method::Hosvd => "hosvd",
            Method::Sthosvd => "sthosvd",
            Method::Hooi => "hooi",
            Method::Rand => "rand",
            Method::Nonnegative => "nonnegative",
        }
    }

    fn check_options(&self) -> Outcome {
        let method = self.method;
        let (iterates, nonneg, random) =
            (matches!(method, Method::Hooi | Method::Nonnegative), method == Method::Nonnegative, method == Method::Rand);
        let options = [
            ("--mode-order", self.mode_order != "auto", matches!(method, Method::Sthosvd | Method::Hooi | Method::Rand)),
            (
                "--precision",
                self.precision != PrecisionArg::Auto,
                matches!(method, Method::Hosvd | Method::Sthosvd | Method::Hooi),
            ),
            ("--tol", self.tol.is_some(), iterates),
            ("--max-iter", self.max_iter.is_some(), iterates),
            ("--restarts", self.restarts.is_some(), nonneg),
            ("--oversample", self.oversample.is_some(), random),
            ("--power", self.power.is_some(), random),
            ("--picture explained", self.picture == Some(PictureArg::Explained), false),
            ("--picture fit", self.picture == Some(PictureArg::Fit), iterates),
            ("--eps", self.eps.is_some(), !nonneg),
            ("--strict", self.keep.strict, iterates),
        ];
        refuse_unused(self.name(), &options)?;
        Ok(())
    }

    fn mode_order(&self) -> Outcome<ModeOrder> {
        if self.mode_order == "auto" {
            return Ok(ModeOrder::Auto);
        }
        let modes: Option<Vec<usize>> = self.mode_order.split(',').map(|w| w.trim().parse().ok()).collect();
        let wrong =
            || Failure::usage(format!("--mode-order {}: expected auto, or modes from 0 with commas between", self.mode_order));
        modes.map(ModeOrder::Given).ok_or_else(wrong)
    }

    fn size(&self) -> Size {
        match (&self.ranks, self.eps) {
            (Some(ranks), _) => Size::Ranks(ranks.clone()),
            (None, eps) => Size::Eps(eps.unwrap_or(0.0)),
        }
    }
}

fn failure(e: TuckerError) -> Failure {
    Failure::usage(e.to_string())
}

/// Refuses tensors that are not observed everywhere.
pub fn whole<'a, T>(read: &'a TensorInput<T>, what: &str) -> Outcome<&'a TensorData<T>> {
    match &read.data {
        TensorData::Masked(_) | TensorData::Sparse(_, Absent::Unobserved) => Err(Failure::usage(format!(
            "{}: cells are missing, and {what} needs all: say --missing zero, or use cp, which leaves them out",
            read.name
        ))),
        all => Ok(all),
    }
}

/// Reads, decomposes, writes.
pub fn run(args: TuckerArgs, mut session: Session) -> Outcome {
    args.check_options()?;
    match args.dtype {
        DtypeArg::F64 => run_as::<f64>(&args, session),
        DtypeArg::F32 => {
            session.dtype = "f32";
            run_as::<f32>(&args, session)
        }
    }
}

fn run_as<T: Widen>(args: &TuckerArgs, mut session: Session) -> Outcome {
    report::validate_claims(&args.check, &METRICS.map(String::from), &[])?;
    let opened = Opened::new(&mut session, &args.output, &args.keep, args.picture.unwrap_or(PictureArg::Factors))?;
    let read = args.tensor.read::<T>(&mut session)?;
    let started = Instant::now();
    let (fitted, runs) = match whole(&read, "a Tucker decomposition")? {
        TensorData::Sparse(x, _) => fit(args, &session, &SemiSparse::new(x))?,
        TensorData::Dense(x) => fit(args, &session, x)?,
        TensorData::Masked(m) => fit(args, &session, &m.tensor)?,
    };
    let seconds = started.elapsed().as_secs_f64();
    if fitted.iterations.as_ref().is_some_and(|i| i.stop_reason == StopReason::Cancelled) {
        return Err(Failure::Interrupted);
    }
    let configuration = json!({
        "method": args.name(), "ranks": args.ranks, "eps": args.eps, "mode_order": args.mode_order, "tol": args.tol,
        "max_iter": args.max_iter, "restarts": args.restarts, "precision": named(Some(args.precision)), "oversample": args.oversample,
        "power": args.power, "dtype": session.dtype, "seed": session.seed,
    });
    finish(&session, opened, &args.check, finished(args, &session, &read, fitted, (runs, seconds), configuration))
}

fn fit<X: Operand>(args: &TuckerArgs, session: &Session, x: &X) -> Outcome<(TuckerFit, Vec<Value>)> {
    let (size, mode_order, precision) = (args.size(), args.mode_order()?, args.precision.checked());
    let sweeps = |plain: usize| args.max_iter.map_or(plain, |n| n as usize);
    let mut runs = Vec::new();
    let fitted = match args.method {
        Method::Hosvd => hosvd(x, &size, precision),
        Method::Sthosvd => sthosvd(x, &size, &mode_order, precision),
        Method::Hooi => {
            let plain = HooiConfig::new(size);
            let told = HooiConfig {
                mode_order,
                precision,
                tol: args.tol.unwrap_or(plain.tol),
                max_iter: sweeps(plain.max_iter),
                ..plain
            };
            hooi(x, &told, session.observer())
        }
        Method::Rand => {
            let plain = RandomisedConfig::new(size);
            let told = RandomisedConfig {
                mode_order,
                oversample: args.oversample.map_or(plain.oversample, |n| n as usize),
                power: args.power.map_or(plain.power, |n| n as usize),
                seed: session.seed,
                ..plain
            };
            randomised(x, &told)
        }
        Method::Nonnegative => {
            let plain = NonNegativeConfig::new(args.ranks.clone().unwrap_or_default());
            let told = NonNegativeConfig {
                start: Start::Svd,
                runs: args.restarts.map_or(plain.runs, |n| n as usize),
                tol: args.tol.unwrap_or(plain.tol),
                max_iter: sweeps(plain.max_iter),
                seed: session.seed,
                ..plain
            };
            nonnegative(x, &told, session.observer()).map(|f| {
                runs = (f.runs.iter())
                    .map(|r| json!({ "rel_error": r.rel_error, "iterations": r.sweeps, "stop_reason": stop_name(r.stop_reason) }))
                    .collect();
                f.best
            })
        }
    };
    Ok((fitted.map_err(failure)?, runs))
}

fn stop_name(stop: StopReason) -> &'static str {
    match stop {
        StopReason::Tolerance => "converged",
        StopReason::Rounding => "rounding",
        StopReason::MaxIter => "max_iter",
        StopReason::Cancelled => "cancelled",
    }
}

fn finished<T: Widen>(
    args: &TuckerArgs,
    session: &Session,
    read: &TensorInput<T>,
    fitted: TuckerFit,
    (runs, seconds): (Vec<Value>, f64),
    configuration: Value,
) -> Finished {
    let ranks = fitted.ranks().to_vec();
    let iterations = fitted.iterations.as_ref();
    let values = [
        Some(fitted.rel_error),
        Some(fitted.fit()),
        Some(fitted.compression),
        Some(fitted.norm),
        iterations.map(|i| i.count() as f64),
    ];
    let row = MetricRow {
        keys: vec![("method".into(), args.name().into()), ("ranks".into(), by_commas(&ranks))],
        metrics: METRICS.iter().zip(values).map(|(n, v)| (n.to_string(), v)).collect(),
    };
    let details = json!({
        "shape": read.data.shape(), "order": read.data.shape().len(), "seconds": seconds, "seed": session.seed,
        "mode_order": fitted.mode_order, "singular_values": fitted.singular_values, "core_shares": fitted.core_shares,
        "error_from": match fitted.error_from { ErrorFrom::Norms => "norms", ErrorFrom::Cells => "cells" },
        "converged": iterations.map(Iterations::converged), "stop_reason": iterations.map(|i| stop_name(i.stop_reason)), "runs": runs,
    });
    let about: BTreeMap<String, String> = [
        ("method", args.name().to_string()),
        ("seed", session.seed.to_string()),
        ("rel_error", fitted.rel_error.to_string()),
        ("input", read.name.clone()),
    ]
    .map(|(k, v)| (k.to_string(), v))
    .into();
    let point = |(i, e): (usize, &f64)| TracePoint { iter: i, fit: 1.0 - e, rel_error: *e, seconds: f64::NAN };
    let trace: Option<Vec<TracePoint>> = iterations.map(|i| i.trace.iter().enumerate().map(point).collect());
    let names: Vec<String> = read.modes.iter().map(|m| m.name.clone()).collect();
    let pictures = Pictures {
        factors: panels(&fitted.model.factors, &read.modes),
        title: format!("{}: Tucker {}, relative error {:.3e}", short(&read.name), by_commas(&ranks), fitted.rel_error),
        fits: trace.iter().map(|t| Curve { name: "fit".into(), values: t.iter().map(|p| p.fit).collect() }).collect(),
        explained: Vec::new(),
        core: Some((fitted.model.core.clone(), names)),
    };
    Finished {
        table: factors_table(&fitted.model.factors, &read.modes),
        trace: trace.as_deref().map(trace_table),
        pictures,
        summary: format!(
            "relative error {:.8} with ranks {} ({:.4}x fewer numbers), {seconds:.2} s",
            fitted.rel_error,
            by_commas(&ranks),
            fitted.compression
        ),
        row,
        details,
        configuration,
        converged: iterations.map(Iterations::converged),
        warnings: Vec::new(),
        model: ModelFile { model: Model::Tucker(fitted.model), modes: read.modes.clone(), about },
    }
}
