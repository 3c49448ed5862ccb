//! `shoal decompose-tensor align`.

use super::cp::model_of;
use crate::cli::args::{CheckArgs, OutputArgs};
use crate::cli::failure::{Failure, Outcome, complete};
use crate::cli::output::refuse_same_file;
use crate::cli::report;
use crate::cli::session::Session;
use crate::run::check::MetricRow;
use crate::table::tensors::{Model, ModelFile, write_model};
use crate::table::{AtomicFile, Table, Values};
use crate::tensor::align::{align, aligned};
use crate::tensor::model::Kruskal;
use clap::{Args, ValueHint};
use serde_json::json;
use std::io::Write;
use std::path::PathBuf;

pub const EXAMPLES: &str = "Examples:
  shoal decompose-tensor align first.safetensors second.safetensors
  shoal decompose-tensor align first.safetensors second.safetensors --fms-no-weights --assert 'fms>=0.99'

One row for each component of the first model: component, partner, weight_gap, and the cosine of the two columns in each mode. fms, the
factor match score, is 1 when the models agree up to order and signs.";

/// Arguments of `shoal decompose-tensor align`.
#[derive(Debug, Args)]
pub struct AlignArgs {
    /// A CP model that was kept with --save.
    #[arg(value_name = "FIRST", value_hint = ValueHint::FilePath)]
    first: String,
    /// Another of the same shape.
    #[arg(value_name = "SECOND", value_hint = ValueHint::FilePath)]
    second: String,
    /// Leave the weights out of the score: columns alone.
    #[arg(long)]
    fms_no_weights: bool,
    /// Keep the second model with its components in the order and signs of the first.
    #[arg(long, value_name = "FILE.safetensors", value_hint = ValueHint::FilePath)]
    save: Option<PathBuf>,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    check: CheckArgs,
}

fn kruskal(path: &str, file: &ModelFile) -> Outcome<Kruskal> {
    match &file.model {
        Model::Cp(k) => Ok(k.clone()),
        other => Err(Failure::usage(format!("{path}: holds a model of kind {}, and align compares cp models", other.kind()))),
    }
}

/// Reads both, compares.
pub fn run(args: AlignArgs, mut session: Session) -> Outcome {
    if args.output.plot.is_some() {
        return Err(Failure::usage("decompose-tensor align draws no picture: leave --plot out"));
    }
    report::validate_claims(&args.check, &["fms".to_string()], &[])?;
    refuse_same_file(&[("-o", args.output.output.as_deref()), ("--save", args.save.as_deref())])?;
    let output = session.open_outputs(&args.output)?;
    let save = args.save.as_ref().map(AtomicFile::create).transpose()?;
    let (first, second) = (model_of(&mut session, &args.first)?, model_of(&mut session, &args.second)?);
    let (a, b) = (kruskal(&args.first, &first)?, kruskal(&args.second, &second)?);
    let found = align(&a, &b, !args.fms_no_weights).map_err(|e| Failure::usage(e.to_string()))?;
    if let Some(mut file) = save {
        file.write_all(&write_model(&ModelFile { model: Model::Cp(aligned(&b, &found)), ..second }))?;
        file.commit()?;
    }
    let partner = found.partner.iter().map(|p| p.map_or(f64::NAN, |p| p as f64)).collect();
    let mut table = Table::new()
        .with("component", Values::Integer((0..found.partner.len() as i64).collect()))
        .with("partner", Values::Number(partner))
        .with("weight_gap", Values::Number(found.weight_gap.clone()));
    for (mode, cosines) in first.modes.iter().zip(&found.congruence) {
        table = table.with(format!("cosine_{}", mode.name), Values::Number(cosines.clone()));
    }
    let rows = [MetricRow { keys: vec![("second".into(), args.second.clone())], metrics: vec![("fms".into(), Some(found.fms))] }];
    let written = output.result(&table, || {
        Ok(json!({ "fms": found.fms, "partner": found.partner, "congruence": found.congruence, "weight_gap": found.weight_gap }))
    });
    session.say(format!("factor match score {:.6}", found.fms));
    complete(written, || {
        report::keep(&session, &rows)?;
        session.finish(&json!({ "weights": !args.fms_no_weights }))?;
        report::check(&session, &args.check, &rows)
    })
}
