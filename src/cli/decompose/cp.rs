//! `shoal decompose-tensor cp`.

use super::input::{DtypeArg, TensorArgs, cp_input};
use super::keep::{Finished, KeepArgs, Opened, PictureArg, finish};
use super::model::{Pictures, factors_table, panels, points, short};
use super::rank_scan;
use crate::cli::args::{CheckArgs, OutputArgs, not_negative, refuse_unused};
use crate::cli::failure::{Failure, Outcome};
use crate::cli::report;
use crate::cli::session::Session;
use crate::kernels::simd::Real;
use crate::plot::Curve;
use crate::run::check::MetricRow;
use crate::table::tensors::input::Input as TensorFile;
use crate::table::tensors::{Model, ModelFile, TensorInput, read_model, trace_table};
use crate::tensor::cp::diagnose::Degeneracy;
use crate::tensor::cp::{
    Bayes, CpError, Evaluation, Init, Input, Missing, NonnegSolver, Options, Rand, Restart, Run, Sampling, StopReason, TraceRow,
    als, bayes, cprand, hals,
};
use crate::tensor::model::Kruskal;
use clap::{Args, ValueEnum};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::time::Instant;

pub const EXAMPLES: &str = "Examples:
  shoal decompose-tensor cp aminoacid.tns --rank 3 --restarts 4 --save aminoacid.safetensors
  shoal decompose-tensor cp aminoacid.tns --rank-scan 1..5 --plot ranks.svg
  shoal decompose-tensor cp response.npy --missing absent --rank 3 --nonneg all
  shoal decompose-tensor cp calls.csv --coords from,to,day --missing zero --duplicates sum --rank 8 --run-dir out/calls

The result has a row for each slice of each mode: mode, index, label, and a number for each component (c0, c1, ...); columns have norm 1, and
the weights are in --json, --save and --run-dir. fit is 1 - |X - X^| / |X| over the cells that count.";

/// Arguments of `shoal decompose-tensor cp`.
#[derive(Debug, Args)]
pub struct CpArgs {
    /// Components. bayes: components to start from [default there: the largest mode]
    #[arg(short, long, value_name = "R", value_parser = rank, conflicts_with = "rank_scan", required_unless_present_any = ["rank_scan", "method"])]
    rank: Option<usize>,
    /// als, hals: fit all ranks from A to B and compare them instead: fit, core consistency, BIC, split halves.
    #[arg(long, value_name = "A..B", value_parser = range)]
    rank_scan: Option<RangeInclusive<usize>>,
    /// How it is fitted.
    #[arg(short, long, value_enum, default_value = "als", value_name = "METHOD")]
    method: Method,
    /// als, hals: first factors: random, svd, or a model that was kept with --save.
    #[arg(long, value_name = "random|svd|FILE", default_value = "random")]
    init: String,
    /// Starts; the best is kept and all are reported [default: 1; bayes 8]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    restarts: Option<u32>,
    /// Converged when the fit changes by less [default: 1e-8; rand 1e-5, bayes 1e-6]
    #[arg(long, value_name = "X", value_parser = not_negative)]
    tol: Option<f64>,
    /// als, hals: sweeps in a row that must change less.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    stop_window: u32,
    /// Sweeps at most [default: 500; rand 1000]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000_000))]
    max_iter: Option<u32>,
    /// als, hals: extrapolate every other sweep (Bro 1998).
    #[arg(long)]
    line_search: bool,
    /// als, hals: modes whose factors must not be negative: all, or their numbers from 0, such as 0,2.
    #[arg(long, value_name = "all|MODES")]
    nonneg: Option<String>,
    /// How non-negative factors are solved for [default: hals]
    #[arg(long, value_enum, value_name = "HOW")]
    nonneg_solver: Option<SolverArg>,
    /// als, hals: ridge on the factor that is solved for.
    #[arg(long, value_name = "X", default_value_t = 0.0, value_parser = not_negative)]
    l2: f64,
    /// als, hals: hold a factor near what it was before the sweep.
    #[arg(long, value_name = "X", default_value_t = 0.0, value_parser = not_negative)]
    prox: f64,
    /// als, hals: what is done about cells that are not observed. auto: weighted below half, else em.
    #[arg(long, value_enum, default_value = "auto", value_name = "HOW")]
    fill: FillArg,
    /// rand: rows of every sampled problem [default: 10 R ln R, at least 10 R]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    samples: Option<u32>,
    /// rand: how rows are drawn [default: uniform]
    #[arg(long, value_enum, value_name = "HOW")]
    sampling: Option<SamplingArg>,
    /// rand: mix every mode first, by random signs and a cosine transform; takes a copy of the tensor.
    #[arg(long)]
    mix: bool,
    /// Numbers that are held and multiplied.
    #[arg(long, value_enum, default_value = "f64", value_name = "TYPE")]
    dtype: DtypeArg,
    /// What --plot draws [default: factors]
    #[arg(long, value_enum, value_name = "PICTURE", conflicts_with = "rank_scan", requires = "plot")]
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
    /// alternating least squares
    Als,
    /// the same with non-negative factors, column by column
    Hals,
    /// least squares on sampled fibres (CPRAND)
    Rand,
    /// variational Bayes: components that the data do not need vanish
    Bayes,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum SolverArg {
    /// column by column
    Hals,
    /// exact
    ActiveSet,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum FillArg {
    Auto,
    /// filled with the model before every sweep
    Em,
    /// exact least squares over the observed cells, row by row
    Weighted,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum SamplingArg {
    Uniform,
    /// by leverage scores
    Leverage,
}

fn rank(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|r| *r > 0).ok_or_else(|| format!("\"{text}\" is no rank, expected a whole number above 0"))
}

fn range(text: &str) -> Result<RangeInclusive<usize>, String> {
    let parsed = text.split_once("..").and_then(|(a, b)| Some((rank(a).ok()?, rank(b.trim_start_matches('=')).ok()?)));
    match parsed {
        Some((a, b)) if a <= b => Ok(a..=b),
        _ => Err(format!("\"{text}\" is no range of ranks, expected for example 1..6, both included")),
    }
}

/// A failure of a method: what the user asked for does not fit the data.
pub fn failure(e: CpError) -> Failure {
    Failure::usage(e.to_string())
}

/// Metrics of every CP model.
const METRICS: [&str; 7] = ["fit", "rel_error", "iterations", "converged", "norm", "observed", "components"];

/// What the methods have in common.
struct Fitted {
    model: Kruskal,
    fit: f64,
    rel_error: f64,
    norm: f64,
    observed: usize,
    iterations: usize,
    stop: StopReason,
    trace: Vec<TraceRow>,
    restarts: Vec<Restart>,
    best: usize,
    degeneracy: Degeneracy,
    warnings: Vec<String>,
    /// What only one method says.
    more: Vec<(&'static str, Value)>,
}

impl Fitted {
    /// One start, without warnings.
    fn new(model: Kruskal, e: &Evaluation, trace: Vec<TraceRow>, stop: StopReason) -> Self {
        let degeneracy = Degeneracy::of(&model, e.norm);
        let Evaluation { fit, rel_error, norm, observed, .. } = *e;
        let iterations = trace.last().map_or(0, |t| t.iter);
        let (restarts, warnings, more) = Default::default();
        Self { model, fit, rel_error, norm, observed, iterations, stop, trace, restarts, best: 0, degeneracy, warnings, more }
    }
}

impl CpArgs {
    fn name(&self) -> &'static str {
        match self.method {
            Method::Als => "als",
            Method::Hals => "hals",
            Method::Rand => "rand",
            Method::Bayes => "bayes",
        }
    }

    /// Options that the method has no use for.
    fn check_options(&self) -> Outcome {
        let (sweeps, sampled, bayes) =
            (matches!(self.method, Method::Als | Method::Hals), self.method == Method::Rand, self.method == Method::Bayes);
        let options = [
            ("--init", self.init != "random", sweeps),
            ("--stop-window", self.stop_window > 1, sweeps),
            ("--line-search", self.line_search, sweeps),
            ("--nonneg", self.nonneg.is_some(), sweeps),
            ("--nonneg-solver", self.nonneg_solver.is_some(), self.nonneg.is_some() || self.method == Method::Hals),
            ("--picture core", self.picture == Some(PictureArg::Core), false),
            ("--l2", self.l2 > 0.0, sweeps),
            ("--prox", self.prox > 0.0, sweeps),
            ("--fill", self.fill != FillArg::Auto, sweeps),
            ("--samples", self.samples.is_some(), sampled),
            ("--sampling", self.sampling.is_some(), sampled),
            ("--mix", self.mix, sampled),
            ("--rank-scan", self.rank_scan.is_some(), sweeps),
        ];
        refuse_unused(self.name(), &options)?;
        if self.rank.is_none() && self.rank_scan.is_none() && !bayes {
            return Err(Failure::usage(format!("{} needs --rank R (or --rank-scan A..B to choose one)", self.name())));
        }
        if self.rank_scan.is_some() && (self.keep.save.is_some() || self.keep.strict) {
            return Err(Failure::usage(
                "--rank-scan keeps no model: leave --save and --strict out, and fit the rank that you choose",
            ));
        }
        Ok(())
    }

    /// One flag a mode, where factors must not be negative.
    fn nonneg_modes(&self, order: usize) -> Outcome<Option<Vec<bool>>> {
        match self.nonneg.as_deref() {
            None if self.method == Method::Hals => Ok(Some(vec![true; order])),
            None => Ok(None),
            Some("all") => Ok(Some(vec![true; order])),
            Some(list) => {
                let mut flags = vec![false; order];
                for word in list.split(',') {
                    let mode = word.trim().parse::<usize>().ok().filter(|m| *m < order);
                    let mode = mode.ok_or_else(|| {
                        Failure::usage(format!(
                            "--nonneg {list}: expected all, or modes from 0 to {} with commas between",
                            order.saturating_sub(1)
                        ))
                    })?;
                    flags[mode] = true;
                }
                Ok(Some(flags))
            }
        }
    }

    fn options(&self, rank: usize, seed: u64, init: Init) -> Options {
        let plain = Options::new(rank);
        Options {
            init,
            restarts: self.restarts.map_or(plain.restarts, |n| n as usize),
            tol: self.tol.unwrap_or(plain.tol),
            stop_window: self.stop_window as usize,
            max_iter: self.max_iter.map_or(plain.max_iter, |n| n as usize),
            line_search: self.line_search,
            l2: self.l2,
            prox: self.prox,
            missing: match self.fill {
                FillArg::Auto => Missing::Auto,
                FillArg::Em => Missing::Em,
                FillArg::Weighted => Missing::Weighted,
            },
            seed,
            ..plain
        }
    }

    fn solver(&self) -> NonnegSolver {
        match self.nonneg_solver {
            Some(SolverArg::ActiveSet) => NonnegSolver::ActiveSet,
            _ => NonnegSolver::Hals,
        }
    }

    fn start(&self, session: &mut Session) -> Outcome<Init> {
        Ok(match self.init.as_str() {
            "random" => Init::Random,
            "svd" => Init::Svd,
            path => match model_of(session, path)?.model {
                Model::Cp(model) => Init::Model(model),
                other => {
                    return Err(Failure::usage(format!("--init {path}: holds a model of kind {}, expected cp", other.kind())));
                }
            },
        })
    }
}

/// Reads a model that was kept.
pub fn model_of(session: &mut Session, path: &str) -> Outcome<ModelFile> {
    let bytes = session.open_raw(path)?;
    Ok(read_model(TensorFile::from_bytes(path, bytes)?)?)
}

/// A choice as it was typed.
pub fn named<V: ValueEnum>(choice: Option<V>) -> Option<String> {
    choice.and_then(|c| c.to_possible_value()).map(|v| v.get_name().to_string())
}

/// Reads, fits, writes.
pub fn run(args: CpArgs, mut session: Session) -> Outcome {
    args.check_options()?;
    match args.dtype {
        DtypeArg::F64 => run_as::<f64>(&args, session),
        DtypeArg::F32 => {
            session.dtype = "f32";
            run_as::<f32>(&args, session)
        }
    }
}

fn run_as<T: Real>(args: &CpArgs, mut session: Session) -> Outcome {
    if let Some(ranks) = &args.rank_scan {
        let init = args.start(&mut session)?;
        let plan = rank_scan::Plan {
            ranks: ranks.clone(),
            options: args.options(1, session.seed, init),
            nonneg: args.nonneg.is_some() || args.method == Method::Hals,
            solver: args.solver(),
        };
        return rank_scan::run::<T>(&args.tensor, &args.output, &args.check, plan, |order| args.nonneg_modes(order), session);
    }
    report::validate_claims(&args.check, &METRICS.map(String::from), &[])?;
    let opened = Opened::new(&mut session, &args.output, &args.keep, args.picture.unwrap_or(PictureArg::Factors))?;
    let init = args.start(&mut session)?;
    let read = args.tensor.read_arranged::<T>(&mut session)?;
    let started = Instant::now();
    let fitted = fit(args, &session, &read, init)?;
    let seconds = started.elapsed().as_secs_f64();
    if fitted.stop == StopReason::Cancelled {
        return Err(Failure::Interrupted);
    }
    let configuration = json!({
        "method": args.name(), "rank": args.rank, "init": args.init, "restarts": args.restarts, "tol": args.tol, "max_iter": args.max_iter,
        "stop_window": args.stop_window, "line_search": args.line_search, "nonneg": args.nonneg, "l2": args.l2, "prox": args.prox,
        "nonneg_solver": named(args.nonneg_solver), "fill": named(Some(args.fill)), "samples": args.samples,
        "sampling": named(args.sampling), "mix": args.mix, "dtype": session.dtype, "seed": session.seed,
    });
    finish(&session, opened, &args.check, finished(args, &session, &read, fitted, seconds, configuration))
}

/// The model with everything that is written of it.
fn finished<T: Real>(
    args: &CpArgs,
    session: &Session,
    read: &TensorInput<T>,
    fitted: Fitted,
    seconds: f64,
    configuration: Value,
) -> Finished {
    let converged = fitted.stop == StopReason::Converged;
    let r = fitted.model.weights.len();
    let values = [
        fitted.fit,
        fitted.rel_error,
        fitted.iterations as f64,
        f64::from(u8::from(converged)),
        fitted.norm,
        fitted.observed as f64,
        r as f64,
    ];
    let row = MetricRow {
        keys: vec![("method".into(), args.name().into()), ("rank".into(), args.rank.unwrap_or(r).to_string())],
        metrics: METRICS.iter().zip(values).map(|(n, v)| (n.to_string(), Some(v))).collect(),
    };
    // What a component alone has of the squares; components that overlap add up to more or less than what all have.
    let squares = (fitted.norm * fitted.norm).max(f64::MIN_POSITIVE);
    let explained: Vec<f64> = fitted.model.weights.iter().map(|w| w * w / squares).collect();
    let restarts: Vec<Value> = (fitted.restarts.iter())
        .map(|s| json!({ "seed": s.seed, "fit": s.fit, "iterations": s.iterations, "stop_reason": stop_name(s.stop) }))
        .collect();
    let mut details = json!({
        "shape": read.data.shape(), "order": read.data.shape().len(), "stop_reason": stop_name(fitted.stop), "seconds": seconds,
        "seed": session.seed, "weights": fitted.model.weights, "explained": explained, "restarts": restarts, "best": fitted.best,
        "lowest_cosine": fitted.degeneracy.lowest_cosine, "largest_cosine": fitted.degeneracy.largest_cosine,
        "weight_ratio": fitted.degeneracy.weight_ratio, "warnings": fitted.warnings,
    });
    if let Value::Object(map) = &mut details {
        map.extend(fitted.more.iter().map(|(k, v)| (k.to_string(), v.clone())));
    }
    let about: BTreeMap<String, String> = [
        ("method", args.name().to_string()),
        ("seed", session.seed.to_string()),
        ("fit", fitted.fit.to_string()),
        ("input", read.name.clone()),
    ]
    .map(|(k, v)| (k.to_string(), v))
    .into();
    let summary = format!(
        "fit {:.8} with {r} components ({} after {} sweeps, {seconds:.2} s); weights {}",
        fitted.fit,
        stop_name(fitted.stop),
        fitted.iterations,
        fitted.model.weights.iter().take(8).map(|w| format!("{w:.6}")).collect::<Vec<_>>().join(" ")
    );
    let pictures = Pictures {
        factors: panels(&fitted.model.factors, &read.modes),
        title: format!("{}: CP, {r} components, fit {:.5}", short(&read.name), fitted.fit),
        fits: vec![Curve { name: "fit".into(), values: fitted.trace.iter().map(|t| t.fit).collect() }],
        explained,
        core: None,
    };
    Finished {
        table: factors_table(&fitted.model.factors, &read.modes),
        trace: Some(trace_table(&points(&fitted.trace))),
        pictures,
        row,
        details,
        configuration,
        converged: Some(converged),
        warnings: fitted.warnings,
        summary,
        model: ModelFile { model: Model::Cp(fitted.model), modes: read.modes.clone(), about },
    }
}

/// As `stop_reason` says it.
pub fn stop_name(stop: StopReason) -> &'static str {
    match stop {
        StopReason::Converged => "converged",
        StopReason::MaxIter => "max_iter",
        StopReason::Cancelled => "cancelled",
    }
}

fn fit<T: Real>(args: &CpArgs, session: &Session, read: &TensorInput<T>, init: Init) -> Outcome<Fitted> {
    let started = Instant::now();
    let clock = || started.elapsed().as_secs_f64();
    let run = Run { observer: session.observer(), clock: Some(&clock) };
    let input: Input<'_, T> = cp_input(&read.data);
    let nonneg = args.nonneg_modes(input.shape().len())?;
    let rank = args.rank.unwrap_or(1);
    let fitted = match args.method {
        Method::Als | Method::Hals => {
            let options = args.options(rank, session.seed, init);
            let f = match &nonneg {
                Some(modes) => hals(input, &options, modes, args.solver(), &run),
                None => als(input, &options, &run),
            }
            .map_err(failure)?;
            Fitted {
                model: f.model,
                fit: f.fit,
                rel_error: f.rel_error,
                norm: f.norm,
                observed: f.observed,
                iterations: f.iterations,
                stop: f.stop,
                trace: f.trace,
                restarts: f.restarts,
                best: f.best,
                degeneracy: f.degeneracy,
                warnings: f.warnings,
                more: Vec::new(),
            }
        }
        Method::Rand => {
            let plain = Rand::new(rank);
            let told = Rand {
                samples: args.samples.map(|n| n as usize),
                sampling: if args.sampling == Some(SamplingArg::Leverage) { Sampling::Leverage } else { Sampling::Uniform },
                mix: args.mix,
                tol: args.tol.unwrap_or(plain.tol),
                max_epochs: args.max_iter.map_or(plain.max_epochs, |n| (n as usize).div_ceil(plain.epoch)),
                restarts: args.restarts.map_or(plain.restarts, |n| n as usize),
                seed: session.seed,
                ..plain
            };
            let f = cprand(input, &told, &run).map_err(failure)?;
            Fitted {
                restarts: f.restarts,
                best: f.best,
                warnings: f.warnings,
                more: vec![("samples", json!(f.samples))],
                ..Fitted::new(f.model, &f.evaluation, f.trace, f.stop)
            }
        }
        Method::Bayes => {
            let plain = Bayes::default();
            let told = Bayes {
                max_rank: args.rank,
                tol: args.tol.unwrap_or(plain.tol),
                max_iter: args.max_iter.map_or(plain.max_iter, |n| n as usize),
                restarts: args.restarts.map_or(plain.restarts, |n| n as usize),
                seed: session.seed,
                ..plain
            };
            let f = bayes(input, &told, &run).map_err(failure)?;
            let starts: Vec<Value> =
                f.restarts.iter().map(|s| json!({ "seed": s.seed, "rank": s.rank, "fit": s.fit, "bic": s.bic })).collect();
            Fitted {
                best: f.best,
                warnings: f.warnings,
                more: vec![
                    ("noise", json!(f.noise)),
                    ("restarts", Value::from(starts)),
                    ("start_rank", json!(f.start_rank)),
                    ("component_precision", json!(f.component_precision)),
                ],
                ..Fitted::new(f.model, &f.evaluation, f.trace, f.stop)
            }
        }
    };
    Ok(fitted)
}
