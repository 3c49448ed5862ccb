//! `shoal decompose-tensor reconstruct`.

use super::cp::model_of;
use crate::cli::args::HeaderArg;
use crate::cli::failure::{Failure, Outcome};
use crate::cli::session::Session;
use crate::table::tensors::{Model, ModelFile, npy_header};
use crate::table::{AtomicFile, BadInput, Data, Format, FrameOptions, Preview, Table, Values, Want, read_frame, write_table};
use crate::tensor::cp::reconstruct::{at, each_run};
use crate::tensor::{train, tucker};
use clap::{Args, ValueHint};
use std::collections::HashMap;
use std::io::{BufWriter, Write};
use std::path::PathBuf;
use std::sync::Arc;

pub const EXAMPLES: &str = "Examples:
  shoal decompose-tensor reconstruct model.safetensors -o whole.npy
  shoal decompose-tensor reconstruct model.safetensors --at cells.csv
  shoal decompose-tensor reconstruct model.safetensors --at calls.csv --coords from,to,day -o predicted.parquet

--at: a table with a row for each cell; the result is that table's coordinates with a column value. Slices are named by their labels where the
model has labels, else by their numbers from 0. Without --at all cells are written as .npy, block by block.";

/// Arguments of `shoal decompose-tensor reconstruct`.
#[derive(Debug, Args)]
pub struct ReconstructArgs {
    /// A model that was kept with --save.
    #[arg(value_name = "MODEL", value_hint = ValueHint::FilePath)]
    model: String,
    /// The cells that are wanted: a table, told by content; "-" is stdin [default: all]
    #[arg(long, value_name = "TABLE", value_hint = ValueHint::FilePath)]
    at: Option<String>,
    /// --at: its columns, one a mode [default: the names of the modes]
    #[arg(long, value_name = "COLUMNS", value_delimiter = ',', requires = "at")]
    coords: Vec<String>,
    /// --at: whether delimited text starts with a row of names [default: auto]
    #[arg(long, value_enum, value_name = "WHETHER", requires = "at")]
    header: Option<HeaderArg>,
    /// Write here instead of stdout: .csv, .tsv, .parquet, .json or .jsonl with --at, else .npy; complete or not at all.
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    output: Option<PathBuf>,
}

/// Cells computed at once.
const RUN: usize = 1 << 16;

/// Reads the model, writes cells.
pub fn run(args: ReconstructArgs, mut session: Session) -> Outcome {
    let format = match (&args.output, &args.at) {
        (Some(path), Some(_)) => Some(Format::of_path(path).ok_or_else(|| {
            Failure::usage(format!("-o {}: expected a name that ends in .csv, .tsv, .parquet, .json or .jsonl", path.display()))
        })?),
        (Some(path), None) if path.extension().is_none_or(|e| e != "npy") => {
            return Err(Failure::usage(format!(
                "-o {}: all cells are written as .npy (name single ones with --at)",
                path.display()
            )));
        }
        (None, None) => return Err(Failure::usage("all cells are written to a file: add -o FILE.npy, or name cells with --at")),
        _ => None,
    };
    let mut file = args.output.as_ref().map(AtomicFile::create).transpose()?;
    let model = model_of(&mut session, &args.model)?;
    match (&args.at, &mut file) {
        (Some(path), file) => {
            let table = cells(&args, &model, path, &mut session)?;
            match file {
                Some(file) => write_table(&table, format.unwrap_or(Format::Csv), file)?,
                None => {
                    let mut out = BufWriter::new(std::io::stdout().lock());
                    write_table(&table, Format::Csv, &mut out)?;
                    out.flush()?;
                }
            }
        }
        (None, Some(file)) => {
            file.write_all(&npy_header(&model.model.shape()))?;
            let mut failed = None;
            let mut put = |values: &[f64]| {
                if failed.is_none() {
                    let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
                    failed = file.write_all(&bytes).err();
                }
            };
            match &model.model {
                Model::Cp(k) => each_run(k, |_, run| {
                    put(run);
                    Ok(())
                })
                .map_err(super::cp::failure)?,
                Model::Tucker(t) => tucker::reconstruct::blocks(t, RUN, |_, run| put(run)),
                Model::Train(t) => train::blocks(t, RUN, |_, run| put(run)),
            }
            if let Some(e) = failed {
                return Err(e.into());
            }
        }
        (None, None) => {}
    }
    if let Some(file) = file {
        file.commit()?;
    }
    Ok(())
}

/// The table of the cells that are asked for, with their values.
fn cells(args: &ReconstructArgs, file: &ModelFile, path: &str, session: &mut Session) -> Outcome<Table> {
    let source = session.open_input(path)?;
    let columns: Vec<String> =
        if args.coords.is_empty() { file.modes.iter().map(|m| m.name.clone()).collect() } else { args.coords.clone() };
    if columns.len() != file.modes.len() {
        return Err(Failure::usage(format!(
            "--coords names {} columns, and the model has {} modes",
            columns.len(),
            file.modes.len()
        )));
    }
    let header = args.header.unwrap_or_default().into();
    if columns.iter().any(|c| c == "value") {
        return Err(Failure::usage("a coordinate is called value, as the column of the result: rename it"));
    }
    let wanted = |previews: &[Preview]| -> Result<Vec<Want>, BadInput> {
        Ok(previews.iter().map(|p| if columns.contains(&p.name) { Want::Text } else { Want::Skip }).collect())
    };
    let frame = read_frame(&source, &FrameOptions { header, ..FrameOptions::default() }, &wanted)?;
    let shape = file.model.shape();
    let mut indices: Vec<Vec<u32>> = Vec::with_capacity(columns.len());
    let mut table = Table::new();
    for (n, (name, mode)) in columns.iter().zip(&file.modes).enumerate() {
        let column = frame.column(name).ok_or_else(|| {
            BadInput::new(source.name(), format!("has no column \"{name}\""))
                .remedy("name the columns of the modes with --coords")
        })?;
        let Data::Text(text) = &column.data else {
            return Err(BadInput::new(source.name(), format!("column \"{name}\" cannot be read as text")).into());
        };
        let known: Option<HashMap<&str, u32>> =
            mode.labels.as_ref().map(|l| l.iter().enumerate().map(|(i, s)| (&**s, i as u32)).collect());
        let mut of = Vec::with_capacity(frame.len());
        let mut cells: Vec<Arc<str>> = Vec::with_capacity(frame.len());
        for i in 0..frame.len() {
            let cell = text.get(i).unwrap_or_default();
            let index = match &known {
                Some(labels) => labels.get(cell).copied(),
                None => cell.parse::<u32>().ok().filter(|k| (*k as usize) < shape[n]),
            };
            let index = index.ok_or_else(|| {
                let expected = match &known {
                    Some(_) => format!("one of the {} labels of mode {}", shape[n], mode.name),
                    None => format!("a number from 0 to {}", shape[n].saturating_sub(1)),
                };
                BadInput::cell(source.name(), frame.rows.file_row(i), name.clone(), cell, &expected)
            })?;
            of.push(index);
            cells.push(Arc::from(cell));
        }
        indices.push(of);
        table = table.with(name.clone(), Values::Text(cells));
    }
    let usage = |e: &dyn std::fmt::Display| Failure::usage(e.to_string());
    let values = match &file.model {
        Model::Cp(k) => {
            let cells = (0..frame.len()).map(|i| indices.iter().map(|of| of[i] as usize).collect::<Vec<_>>());
            at(k, cells).collect::<Result<Vec<f64>, _>>().map_err(super::cp::failure)?
        }
        Model::Tucker(t) => tucker::reconstruct::cells(t, &indices).map_err(|e| usage(&e))?,
        Model::Train(t) => train::cells(t, &indices).map_err(|e| usage(&e))?,
    };
    Ok(table.with("value", Values::Number(values)))
}
