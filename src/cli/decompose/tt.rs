//! `shoal decompose-tensor tt`.

use super::cp::named;
use super::input::{DtypeArg, TensorArgs};
use super::keep::{Finished, KeepArgs, Opened, PictureArg, finish};
use super::model::{Pictures, by_commas};
use super::tucker::{PrecisionArg, whole};
use crate::cli::args::{CheckArgs, OutputArgs, not_negative};
use crate::cli::failure::{Failure, Outcome};
use crate::cli::report;
use crate::cli::session::Session;
use crate::run::check::MetricRow;
use crate::table::tensors::{Model, ModelFile, TensorData};
use crate::table::{Table, Values};
use crate::tensor::train::{TrainSize, tt_svd};
use crate::tensor::tucker::ErrorFrom;
use crate::tensor::tucker::operand::Widen;
use clap::Args;
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

pub const EXAMPLES: &str = "Examples:
  shoal decompose-tensor tt field.npy --eps 1e-3 --save field.safetensors
  shoal decompose-tensor tt aminoacid.tns --ranks 3,3 --json

The result has a row for each core: mode, size, rank_before, rank_after and numbers. The cores themselves are in --save and --run-dir.";

/// Arguments of `shoal decompose-tensor tt`.
#[derive(Debug, Args)]
pub struct TtArgs {
    /// Ranks between neighbouring modes, one fewer than modes.
    #[arg(long, value_name = "RANKS", value_delimiter = ',', required_unless_present = "eps")]
    ranks: Option<Vec<usize>>,
    /// The smallest ranks with at most this relative error.
    #[arg(long, value_name = "X", value_parser = not_negative, conflicts_with = "ranks")]
    eps: Option<f64>,
    /// How singular vectors are found. auto: gram, unless --eps asks for more than it can tell apart.
    #[arg(long, value_enum, default_value = "auto", value_name = "HOW")]
    precision: PrecisionArg,
    /// Numbers that are held.
    #[arg(long, value_enum, default_value = "f64", value_name = "TYPE")]
    dtype: DtypeArg,
    #[command(flatten)]
    tensor: TensorArgs,
    #[command(flatten)]
    keep: KeepArgs,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    check: CheckArgs,
}

const METRICS: [&str; 4] = ["rel_error", "fit", "compression", "norm"];

/// Reads, decomposes, writes.
pub fn run(args: TtArgs, mut session: Session) -> Outcome {
    if args.output.plot.is_some() {
        return Err(Failure::usage("decompose-tensor tt draws no picture: leave --plot out"));
    }
    if args.keep.strict {
        return Err(Failure::usage("--strict: a tensor train takes no iterations, leave it out"));
    }
    match args.dtype {
        DtypeArg::F64 => run_as::<f64>(&args, session),
        DtypeArg::F32 => {
            session.dtype = "f32";
            run_as::<f32>(&args, session)
        }
    }
}

fn run_as<T: Widen>(args: &TtArgs, mut session: Session) -> Outcome {
    report::validate_claims(&args.check, &METRICS.map(String::from), &[])?;
    let opened = Opened::new(&mut session, &args.output, &args.keep, PictureArg::Factors)?;
    let read = args.tensor.read::<T>(&mut session)?;
    let x = match whole(&read, "a tensor train")? {
        TensorData::Dense(x) => x,
        TensorData::Masked(m) => &m.tensor,
        TensorData::Sparse(..) => {
            return Err(Failure::usage(format!(
                "{}: held as coordinates, and a tensor train is made of a dense tensor: add --storage dense",
                read.name
            )));
        }
    };
    let size = match (&args.ranks, args.eps) {
        (Some(ranks), _) => TrainSize::Ranks(ranks.clone()),
        (None, eps) => TrainSize::Eps(eps.unwrap_or(0.0)),
    };
    let started = Instant::now();
    let fitted = tt_svd(x, &size, args.precision.checked()).map_err(|e| Failure::usage(e.to_string()))?;
    let seconds = started.elapsed().as_secs_f64();
    let values = [fitted.rel_error, fitted.fit(), fitted.compression, fitted.norm];
    let row = MetricRow {
        keys: vec![("ranks".into(), by_commas(&fitted.ranks))],
        metrics: METRICS.iter().zip(values).map(|(n, v)| (n.to_string(), Some(v))).collect(),
    };
    let details = json!({
        "shape": read.data.shape(), "order": read.data.shape().len(), "seconds": seconds, "singular_values": fitted.singular_values,
        "error_from": match fitted.error_from { ErrorFrom::Norms => "norms", ErrorFrom::Cells => "cells" },
    });
    let configuration =
        json!({ "ranks": args.ranks, "eps": args.eps, "precision": named(Some(args.precision)), "dtype": session.dtype });
    let sizes = |axis: usize| fitted.model.cores.iter().map(move |c| c.shape()[axis] as i64).collect::<Vec<_>>();
    let table = Table::new()
        .with("mode", Values::Text(read.modes.iter().map(|m| Arc::from(m.name.as_str())).collect()))
        .with("size", Values::Integer(sizes(1)))
        .with("rank_before", Values::Integer(sizes(0)))
        .with("rank_after", Values::Integer(sizes(2)))
        .with("numbers", Values::Integer(fitted.model.cores.iter().map(|c| c.values().len() as i64).collect()));
    let about: BTreeMap<String, String> =
        [("rel_error", fitted.rel_error.to_string()), ("input", read.name.clone())].map(|(k, v)| (k.to_string(), v)).into();
    let summary = format!(
        "relative error {:.8} with ranks {} ({:.4}x fewer numbers), {seconds:.2} s",
        fitted.rel_error,
        by_commas(&fitted.ranks),
        fitted.compression
    );
    let done = Finished {
        model: ModelFile { model: Model::Train(fitted.model), modes: read.modes.clone(), about },
        table,
        trace: None,
        pictures: Pictures::default(),
        row,
        details,
        configuration,
        converged: None,
        warnings: Vec::new(),
        summary,
    };
    finish(&session, opened, &args.check, done)
}
