//! `shoal decompose-tensor info`.

use super::input::TensorArgs;
use crate::cli::args::{CheckArgs, OutputArgs};
use crate::cli::failure::{Failure, Outcome, complete};
use crate::cli::report;
use crate::cli::session::Session;
use crate::run::check::MetricRow;
use crate::table::tensors::statistics;
use clap::Args;
use serde_json::json;

pub const EXAMPLES: &str = "Examples:
  shoal decompose-tensor info aminoacid.tns
  shoal decompose-tensor info calls.csv --coords from,to,day --missing zero --duplicates sum --json

One row a mode: its size, empty slices, how many cells its slices hold, the norms of the largest and smallest. Totals go to stderr, and into
--json.";

/// Arguments of `shoal decompose-tensor info`.
#[derive(Debug, Args)]
pub struct InfoArgs {
    #[command(flatten)]
    tensor: TensorArgs,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    check: CheckArgs,
}

/// Metrics of a tensor.
const METRICS: [&str; 8] = ["cells", "held", "nnz", "density", "norm", "sum", "min", "max"];

/// Reads and tells.
pub fn run(args: InfoArgs, mut session: Session) -> Outcome {
    if args.output.plot.is_some() {
        return Err(Failure::usage("decompose-tensor info draws no picture: leave --plot out"));
    }
    report::validate_claims(&args.check, &METRICS.map(String::from), &[])?;
    let output = session.open_outputs(&args.output)?;
    let read = args.tensor.read::<f64>(&mut session)?;
    let found = statistics(&read);
    let values = [found.cells, found.held as f64, found.nnz as f64, found.density, found.norm, found.sum, found.min, found.max];
    let row = MetricRow {
        keys: vec![("input".into(), read.name.clone())],
        metrics: METRICS.iter().zip(values).map(|(n, v)| (n.to_string(), Some(v).filter(|v| v.is_finite()))).collect(),
    };
    let modes = |m: &crate::table::tensors::ModeStatistics| {
        json!({
            "name": m.name, "size": m.size, "empty": m.empty, "most": m.most, "fewest": m.fewest, "mean": m.mean,
            "largest": m.largest, "largest_norm": m.largest_norm, "smallest_norm": m.smallest_norm,
        })
    };
    let written = output.result(&found.modes_table(), || {
        Ok(json!({
            "shape": found.shape, "cells": found.cells, "held": found.held, "nnz": found.nnz, "unobserved": found.unobserved,
            "density": found.density, "norm": found.norm, "sum": found.sum, "min": found.min, "max": found.max,
            "merged": found.merged, "nan": found.nan, "modes": found.modes.iter().map(modes).collect::<Vec<_>>(),
        }))
    });
    session.say(format!(
        "{} nonzeros (density {:.3e}), norm {}, sum {}, from {} to {}",
        found.nnz, found.density, found.norm, found.sum, found.min, found.max
    ));
    complete(written, || {
        let rows = [row];
        report::keep(&session, &rows)?;
        session.finish(&json!({}))?;
        report::check(&session, &args.check, &rows)
    })
}
