//! `shoal decompose-tensor eval`.

use super::cp::{failure, model_of};
use super::input::{TensorArgs, cp_input};
use crate::cli::args::{CheckArgs, OutputArgs};
use crate::cli::failure::{Failure, Outcome, complete};
use crate::cli::report;
use crate::cli::session::Session;
use crate::run::check::MetricRow;
use crate::table::tensors::{Absent, Model, TensorData};
use crate::tensor::corcondia::corcondia;
use crate::tensor::cp::{CpError, evaluate};
use crate::tensor::{train, tucker};
use clap::{Args, ValueHint};
use serde_json::json;

pub const EXAMPLES: &str = "Examples:
  shoal decompose-tensor eval aminoacid.safetensors aminoacid.tns
  shoal decompose-tensor eval model.safetensors held-out.csv --coords user,item,week --missing absent --shape 900,400,52

One row: kind, fit = 1 - |X - X^| / |X|, rel_error, rmse, the cells that count, and for CP models the core consistency (corcondia).";

/// Arguments of `shoal decompose-tensor eval`.
#[derive(Debug, Args)]
pub struct EvalArgs {
    /// A model that was kept with --save.
    #[arg(value_name = "MODEL", value_hint = ValueHint::FilePath)]
    model: String,
    #[command(flatten)]
    tensor: TensorArgs,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    check: CheckArgs,
}

const METRICS: [&str; 6] = ["fit", "rel_error", "rmse", "norm", "observed", "corcondia"];

/// Reads both, compares cell by cell.
pub fn run(args: EvalArgs, mut session: Session) -> Outcome {
    if args.output.plot.is_some() {
        return Err(Failure::usage("decompose-tensor eval draws no picture: leave --plot out"));
    }
    report::validate_claims(&args.check, &METRICS.map(String::from), &[])?;
    let output = session.open_outputs(&args.output)?;
    let file = model_of(&mut session, &args.model)?;
    let read = args.tensor.read::<f64>(&mut session)?;
    let (model, shape) = (file.model.shape(), read.data.shape());
    if model != shape {
        return Err(Failure::usage(format!(
            "{} is of shape {model:?} and {} of {shape:?}: say --shape if the file does not name all slices",
            args.model, read.name
        )));
    }
    let values = match &file.model {
        Model::Cp(k) => {
            let input = cp_input(&read.data);
            let e = evaluate(input, k).map_err(failure)?;
            let consistency = match corcondia(input, k) {
                Ok(value) => Some(value),
                Err(CpError::Memory { .. }) => None,
                Err(e) => return Err(failure(e)),
            };
            [Some(e.fit), Some(e.rel_error), Some(e.rmse), Some(e.norm), Some(e.observed as f64), consistency]
        }
        other => compared(other, &read.data)?,
    };
    let row = MetricRow {
        keys: vec![("kind".into(), file.model.kind().into())],
        metrics: METRICS.iter().zip(values).map(|(n, v)| (n.to_string(), v)).collect(),
    };
    let rows = [row];
    let written = output.result(&report::table(&rows), || Ok(report::json(&rows)[0].clone()));
    complete(written, || {
        report::keep(&session, &rows)?;
        session.finish(&json!({ "model": args.model }))?;
        report::check(&session, &args.check, &rows)
    })
}

/// Cells compared at once.
const RUN: usize = 1 << 16;

/// Squares of a tensor and of what a model leaves of it, over the cells that count.
#[derive(Default)]
struct Sums {
    whole: f64,
    left: f64,
    /// Of the model in these cells.
    model: f64,
    cells: f64,
}

impl Sums {
    fn add(&mut self, x: f64, model: f64) {
        self.whole += x * x;
        self.left += (x - model) * (x - model);
        self.model += model * model;
        self.cells += 1.0;
    }

    fn metrics(&self) -> [Option<f64>; 6] {
        // Of a tensor of zeros: 0 for zeros, else all of it.
        let error = match (self.whole > 0.0, self.left > 0.0) {
            (true, _) => (self.left / self.whole).sqrt(),
            (false, true) => 1.0,
            (false, false) => 0.0,
        };
        let rmse = if self.cells > 0.0 { (self.left / self.cells).sqrt() } else { 0.0 };
        [Some(1.0 - error), Some(error), Some(rmse), Some(self.whole.sqrt()), Some(self.cells), None]
    }
}

fn compared(model: &Model, data: &TensorData<f64>) -> Outcome<[Option<f64>; 6]> {
    let mut sums = Sums::default();
    let usage = |e: &dyn std::fmt::Display| Failure::usage(e.to_string());
    let (values, observed) = match data {
        TensorData::Dense(x) => (x.values(), None),
        TensorData::Masked(m) => (m.tensor.values(), Some(&m.observed)),
        TensorData::Sparse(x, absent) => {
            for start in (0..x.len()).step_by(RUN) {
                let range = start..x.len().min(start + RUN);
                let indices: Vec<Vec<u32>> = (0..x.order()).map(|m| x.indices(m)[range.clone()].to_vec()).collect();
                let cells = match model {
                    Model::Tucker(t) => tucker::reconstruct::cells(t, &indices).map_err(|e| usage(&e))?,
                    Model::Train(t) => train::cells(t, &indices).map_err(|e| usage(&e))?,
                    Model::Cp(_) => Vec::new(),
                };
                x.values()[range].iter().zip(&cells).for_each(|(x, m)| sums.add(*x, *m));
            }
            if *absent == Absent::Zero {
                // Cells that are not listed are zero: there the model's own squares are the error.
                let own = match model {
                    Model::Tucker(t) => tucker::nonnegative::model_squares(t),
                    Model::Train(t) => train::norm(t).powi(2),
                    Model::Cp(_) => 0.0,
                };
                sums.left += (own - sums.model).max(0.0);
                sums.cells = x.shape().iter().map(|&n| n as f64).product();
            }
            return Ok(sums.metrics());
        }
    };
    let mut compare = |at: usize, run: &[f64]| {
        for (i, m) in run.iter().enumerate() {
            if observed.is_none_or(|o| o[at + i]) {
                sums.add(values[at + i], *m);
            }
        }
    };
    match model {
        Model::Tucker(t) => tucker::reconstruct::blocks(t, RUN, &mut compare),
        Model::Train(t) => train::blocks(t, RUN, &mut compare),
        Model::Cp(_) => {}
    }
    Ok(sums.metrics())
}
