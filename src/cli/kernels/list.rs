//! `shoal kernels list`.

use super::catalog::{ALL, Field};
use crate::cli::args::OutputArgs;
use crate::cli::failure::{Failure, Outcome};
use crate::cli::session::Session;
use crate::table::{Table, Values};
use clap::Args;
use serde_json::json;

/// Arguments of `shoal kernels list`.
#[derive(Debug, Args)]
pub struct ListArgs {
    #[command(flatten)]
    output: OutputArgs,
}

fn texts(fields: &[Field]) -> String {
    let text = |f: &Field| {
        let all = format!("{} ({})", f.name, f.axes.replace(' ', ", "));
        if f.optional { format!("[{all}]") } else { all }
    };
    fields.iter().map(text).collect::<Vec<_>>().join("; ")
}

/// Prints one row per operation.
pub fn run(args: ListArgs, mut session: Session) -> Outcome {
    if args.output.plot.is_some() {
        return Err(Failure::usage("kernels list draws no picture: leave --plot out"));
    }
    let output = session.open_outputs(&args.output)?;
    let column = |of: &dyn Fn(&super::catalog::Operation) -> String| Values::Text(ALL.iter().map(|op| of(op).into()).collect());
    let table = Table::new()
        .with("op", column(&|op| op.name.into()))
        .with("about", column(&|op| op.about.into()))
        .with("inputs", column(&|op| texts(op.inputs)))
        .with("outputs", column(&|op| texts(op.outputs)))
        .with("gradients_of", column(&|op| texts(op.upstream)))
        .with("source", column(&|op| op.source.into()));
    output.result(&table, || {
        let field = |f: &Field| json!({ "name": f.name, "axes": f.axes.split(' ').collect::<Vec<_>>(), "optional": f.optional });
        let all = |fields: &[Field]| fields.iter().map(field).collect::<Vec<_>>();
        let operations: Vec<_> = ALL
            .iter()
            .map(|op| {
                json!({
                    "op": op.name, "about": op.about, "source": op.source, "inputs": all(op.inputs), "outputs": all(op.outputs),
                    "upstream": all(op.upstream),
                })
            })
            .collect();
        Ok(json!({ "operations": operations }))
    })?;
    session.finish(&json!({}))
}
