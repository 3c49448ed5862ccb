//! `shoal decompose-tensor cg`.

mod train;

use super::model::{Pictures, panels};
use crate::cli::args::{CheckArgs, OutputArgs};
use crate::cli::failure::{Failure, Outcome, complete};
use crate::cli::output::{refuse_same_file, to_json};
use crate::cli::report;
use crate::cli::session::Session;
use crate::kernels::coupled::{Channels, ChannelsError, Form, Mode};
use crate::run::check::MetricRow;
use crate::table::tensors::{Mode as TensorMode, Model, ModelFile, write_model};
use crate::table::{AtomicFile, Table, Values};
use crate::tensor::cg::als::decompose_cg;
use crate::tensor::cg::bench::{BenchConfig, BenchReport, BenchRow, bench};
use crate::tensor::cg::{CgError, CgTensor, CpConfig, CpFit, RankSchedule, report as measure};
use clap::{Args, Subcommand, ValueHint};
use serde_json::json;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

pub const EXAMPLES: &str = "Examples:
  shoal decompose-tensor cg --lmax 2 --rank 28 --save cg2.safetensors
  shoal decompose-tensor cg --lmax 1 --rank 8 --assert 'rel_error<=1e-12'
  shoal decompose-tensor cg --lmax 3 --bench --mode uvu --channels 64
  shoal decompose-tensor cg train --generate 160 --rank 8

One row: how far the sum of products of vectors is from the Clebsch-Gordan tensor of SO(3), and what of that breaks equivariance. With
--bench a row for each form of the product: exact, per-edge (a matrix for every second input), cp.";

/// Arguments of `shoal decompose-tensor cg`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct CgArgs {
    #[command(subcommand)]
    verb: Option<CgVerb>,
    /// Largest degree L; the tensor is (L + 1)^2 in each mode.
    #[arg(long, value_name = "L", default_value_t = 2, value_parser = clap::value_parser!(u32).range(0..=12))]
    lmax: u32,
    /// Terms: a number, linear (7 L), quadratic (7 L^2), log (16 ln^2(L + 1)) or full ((L + 1)^4).
    #[arg(short, long, visible_alias = "rank-schedule", value_name = "R|SCHEDULE", default_value = "quadratic", value_parser = schedule)]
    rank: RankSchedule,
    /// Random starts at most [default: 20, 12, 4 for L of 1, 2, 3, then 1]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    starts: Option<u32>,
    /// Sweeps of a start at most.
    #[arg(long, value_name = "N", default_value_t = 3000, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    max_iter: u32,
    /// Random inputs and rotations that errors are measured on.
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    samples: u32,
    /// Time the forms of the product.
    #[arg(long)]
    bench: bool,
    /// --bench: how channels are connected: uvu, uvw, uuu, uuw or uvv [default: uvu]
    #[arg(long, value_name = "MODE", value_parser = mode, requires = "bench")]
    mode: Option<Mode>,
    /// --bench: channels of the features [default: 64]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=65_536), requires = "bench")]
    channels: Option<u32>,
    /// --bench: items of the batch [default: 2000]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000_000), requires = "bench")]
    edges: Option<u32>,
    /// Keep the factors: one safetensors file, which align and reconstruct read.
    #[arg(long, value_name = "FILE.safetensors", value_hint = ValueHint::FilePath)]
    save: Option<PathBuf>,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    check: CheckArgs,
}

#[derive(Debug, Subcommand)]
enum CgVerb {
    /// Train a small interatomic potential with such products, beside one with the exact tensor.
    #[command(after_help = train::EXAMPLES)]
    Train(Box<train::TrainArgs>),
}

fn schedule(text: &str) -> Result<RankSchedule, String> {
    text.parse().map_err(|e: CgError| e.to_string())
}

fn mode(text: &str) -> Result<Mode, String> {
    text.parse().map_err(|e: ChannelsError| e.to_string())
}

fn failure(e: CgError) -> Failure {
    match e {
        CgError::Interrupted => Failure::Interrupted,
        other => Failure::usage(other.to_string()),
    }
}

const METRICS: [&str; 9] = [
    "rel_error",
    "non_equivariant_share",
    "approximation",
    "sampled_loss",
    "equivariance_mean",
    "equivariance_rms",
    "equivariance_expected_rms",
    "bound_used",
    "rank_bound",
];

/// Fits, measures, times.
pub fn run(args: CgArgs, mut session: Session) -> Outcome {
    if let Some(CgVerb::Train(train)) = args.verb {
        return train::run(*train, session);
    }
    report::validate_claims(&args.check, &METRICS.map(String::from), &[])?;
    refuse_same_file(&[
        ("-o", args.output.output.as_deref()),
        ("--plot", args.output.plot.as_deref()),
        ("--save", args.save.as_deref()),
    ])?;
    let mut output = session.open_outputs(&args.output)?;
    let save = args.save.as_ref().map(AtomicFile::create).transpose()?;
    let lmax = args.lmax as usize;
    let m = CgTensor::new(lmax).map_err(failure)?;
    let rank = args.rank.rank(lmax).map_err(failure)?;
    let plain = CpConfig::at(lmax, session.seed);
    let config = CpConfig { max_iter: args.max_iter as usize, starts: args.starts.map_or(plain.starts, |n| n as usize), ..plain };
    let started = Instant::now();
    let fit = decompose_cg(&m, rank, &config, session.observer()).map_err(failure)?;
    let seconds = started.elapsed().as_secs_f64();
    let found = measure(&m, &fit.factors, args.samples as usize, session.seed).map_err(failure)?;
    if let Some(mut file) = save {
        file.write_all(&write_model(&model(&fit)))?;
        file.commit()?;
    }
    if output.wants_picture() {
        let modes = ["x", "y", "z"].map(|n| TensorMode { name: n.into(), labels: None });
        let title = format!("Clebsch-Gordan tensor, L = {lmax}, {rank} terms, relative error {:.3e}", fit.rel_error);
        let pictures = Pictures { factors: panels(&fit.factors, &modes), title, ..Pictures::default() };
        output.picture(&pictures.get(super::keep::PictureArg::Factors)?)?;
    }
    let timed = if args.bench { Some(timed(&args, &m, &fit, &session)?) } else { None };
    let values = [
        found.rel_error,
        found.non_equivariant_share,
        found.approximation,
        found.sampled_loss,
        found.equivariance_mean,
        found.equivariance_rms,
        found.equivariance_expected_rms,
        found.bound_used,
        found.rank_bound,
    ];
    let rows = [MetricRow {
        keys: vec![("lmax".into(), lmax.to_string()), ("rank".into(), rank.to_string())],
        metrics: METRICS.iter().zip(values).map(|(n, v)| (n.to_string(), Some(v))).collect(),
    }];
    let configuration = json!({ "lmax": lmax, "rank": args.rank, "fit": config, "samples": args.samples });
    let table = timed.as_ref().map_or_else(|| report::table(&rows), |t| bench_table(t, args.edges()));
    let written = output.result(&table, || {
        Ok(json!({
            "report": to_json(&found)?, "dim": m.dim(), "paths": m.paths().len(), "nonzeros": m.entries().len(), "seconds": seconds,
            "starts": to_json(&fit.starts)?, "best": fit.best, "bench": to_json(&timed)?, "configuration": configuration,
        }))
    });
    session.say(format!(
        "L = {lmax}: {} paths, {} nonzeros; {rank} terms leave {:.6} of the norm, {:.1} % of it (squared) not equivariant ({seconds:.2} s, best of {} starts)",
        m.paths().len(),
        m.entries().len(),
        found.rel_error,
        100.0 * found.non_equivariant_share,
        fit.starts.len()
    ));
    complete(written, || {
        report::keep(&session, &rows)?;
        session.finish(&configuration)?;
        report::check(&session, &args.check, &rows)
    })
}

fn model(fit: &CpFit) -> ModelFile {
    let about = [("method", "cg".to_string()), ("rel_error", fit.rel_error.to_string())].map(|(k, v)| (k.to_string(), v)).into();
    ModelFile { model: Model::Cp(fit.kruskal()), modes: TensorMode::unnamed(3), about }
}

impl CgArgs {
    fn edges(&self) -> usize {
        self.edges.map_or(2000, |n| n as usize)
    }
}

/// Runs of a form; the fastest counts.
const REPEATS: usize = 7;

fn timed(args: &CgArgs, m: &CgTensor, fit: &CpFit, session: &Session) -> Outcome<BenchReport> {
    let channels = args.channels.map_or(64, |n| n as usize);
    let mode = args.mode.unwrap_or(Mode::Uvu);
    // One harmonic an edge where y may have channels of its own.
    let of_y = if matches!(mode, Mode::Uuu | Mode::Uuw) { channels } else { 1 };
    let channels = Channels::new(mode, channels, of_y, channels).map_err(|e| Failure::usage(e.to_string()))?;
    let config = BenchConfig { channels, edges: args.edges(), repeats: REPEATS, seed: session.seed };
    let started = Instant::now();
    bench(m, &fit.factors, &config, &|| started.elapsed().as_secs_f64(), session.observer()).map_err(failure)
}

fn bench_table(found: &BenchReport, edges: usize) -> Table {
    let name = |form: Form| match form {
        Form::Exact => "exact",
        Form::PerEdge => "per-edge",
        Form::Cp => "cp",
    };
    let numbers = |of: &dyn Fn(&BenchRow) -> f64| Values::Number(found.rows.iter().map(of).collect());
    let per_edge = 1e6 / edges as f64;
    Table::new()
        .with("form", Values::Text(found.rows.iter().map(|r| Arc::from(name(r.form))).collect()))
        .with("operations", Values::Integer(found.rows.iter().map(|r| r.operations as i64).collect()))
        .with("forward_us", numbers(&|r| r.forward_s * per_edge))
        .with("backward_us", numbers(&|r| r.backward_s * per_edge))
        .with("gflop_per_s", numbers(&|r| r.gflops))
        .with("rel_error", numbers(&|r| r.rel_error))
        .with("equivariant", Values::Bool(found.rows.iter().map(|r| r.equivariant).collect()))
}
