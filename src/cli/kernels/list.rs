//! `shoal kernels list`.

use super::catalog::{ALL, Field, Operation, find, names};
use crate::cli::args::OutputArgs;
use crate::cli::failure::{Failure, Outcome};
use crate::cli::session::Session;
use crate::table::{Table, Values};
use clap::Args;
use serde_json::json;

pub const EXAMPLES: &str = "Examples:
  shoal kernels list
  shoal kernels list ssd";

/// Arguments of `shoal kernels list`.
#[derive(Debug, Args)]
pub struct ListArgs {
    /// List the arrays of this operation instead: role, array, axes, needed.
    #[arg(value_name = "OP")]
    op: Option<String>,
    #[command(flatten)]
    output: OutputArgs,
}

/// The roles of arrays, and those that have them.
fn roles(op: &Operation) -> [(&'static str, &'static [Field]); 3] {
    [("input", op.inputs), ("output", op.outputs), ("gradient of an output", op.upstream)]
}

fn texts(of: impl Iterator<Item = String>) -> Values {
    Values::Text(of.map(Into::into).collect())
}

/// Writes one row per operation, or per array of one.
pub fn run(args: ListArgs, mut session: Session) -> Outcome {
    if args.output.plot.is_some() {
        return Err(Failure::usage("kernels list draws no picture: leave --plot out"));
    }
    let one = match &args.op {
        Some(name) => {
            Some(find(name).ok_or_else(|| Failure::usage(format!("unknown operation \"{name}\", expected {}", names())))?)
        }
        None => None,
    };
    let output = session.open_outputs(&args.output)?;
    let table = match one {
        Some(op) => {
            let all = || roles(op).into_iter().flat_map(|(role, fields)| fields.iter().map(move |f| (role, f)));
            Table::new()
                .with("role", texts(all().map(|(role, _)| role.into())))
                .with("array", texts(all().map(|(_, f)| f.name.into())))
                .with("axes", texts(all().map(|(_, f)| f.axes.into())))
                .with("needed", texts(all().map(|(_, f)| if f.optional { "no" } else { "yes" }.into())))
        }
        None => Table::new()
            .with("op", texts(ALL.iter().map(|op| op.name.into())))
            .with("about", texts(ALL.iter().map(|op| op.about.into())))
            .with("source", texts(ALL.iter().map(|op| op.source.into()))),
    };
    let field = |f: &Field| json!({ "name": f.name, "axes": f.axes, "needed": !f.optional });
    let all = |fields: &[Field]| fields.iter().map(field).collect::<Vec<_>>();
    let operations: Vec<_> = ALL
        .iter()
        .filter(|op| one.is_none_or(|o| o.name == op.name))
        .map(|op| {
            json!({
                "op": op.name, "about": op.about, "source": op.source, "inputs": all(op.inputs), "outputs": all(op.outputs),
                "upstream": all(op.upstream),
            })
        })
        .collect();
    output.result(&table, || Ok(json!({ "operations": operations })))?;
    session.finish(&json!({ "op": args.op }))
}
