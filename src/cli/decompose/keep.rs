//! What a decomposition leaves behind: the model, tables, pictures.

use super::model::Pictures;
use crate::cli::args::{CheckArgs, OutputArgs};
use crate::cli::failure::{Failure, Outcome, complete};
use crate::cli::output::{Output, refuse_same_file};
use crate::cli::report;
use crate::cli::session::Session;
use crate::plot::{PictureFormat, render};
use crate::run::check::MetricRow;
use crate::table::tensors::{Model, ModelFile, factor_table, weights_table, write_model, write_npy};
use crate::table::{AtomicFile, Format, Table, write_table};
use clap::{Args, ValueEnum, ValueHint};
use serde_json::Value;
use std::io::Write;
use std::path::PathBuf;

/// Where a decomposition goes.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Output")]
pub struct KeepArgs {
    /// Keep the model: one safetensors file with all of it, which eval, align, reconstruct and --init read.
    #[arg(long, value_name = "FILE.safetensors", value_hint = ValueHint::FilePath)]
    pub save: Option<PathBuf>,
    /// Exit 4 when it has not converged.
    #[arg(long)]
    pub strict: bool,
}

/// Which picture `--plot` draws.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum PictureArg {
    /// the columns of the factors
    Factors,
    /// the fit by sweep
    Fit,
    /// what each component explains
    Explained,
    /// tucker: the core as heat maps
    Core,
}

/// Opened before anything is computed.
pub struct Opened {
    output: Output,
    save: Option<AtomicFile>,
    picture: PictureArg,
    strict: bool,
}

impl Opened {
    /// Opens result, picture, run directory and model file.
    pub fn new(session: &mut Session, output: &OutputArgs, keep: &KeepArgs, picture: PictureArg) -> Outcome<Self> {
        refuse_same_file(&[
            ("-o", output.output.as_deref()),
            ("--plot", output.plot.as_deref()),
            ("--save", keep.save.as_deref()),
        ])?;
        let opened = session.open_outputs(output)?;
        let save = keep.save.as_ref().map(AtomicFile::create).transpose()?;
        Ok(Self { output: opened, save, picture, strict: keep.strict })
    }
}

/// A finished decomposition.
pub struct Finished {
    pub model: ModelFile,
    /// The result, a row for each slice of a mode or each core.
    pub table: Table,
    pub trace: Option<Table>,
    pub pictures: Pictures,
    pub row: MetricRow,
    /// More than the metrics, for `--json`.
    pub details: Value,
    /// The checked arguments.
    pub configuration: Value,
    /// For methods that iterate.
    pub converged: Option<bool>,
    pub warnings: Vec<String>,
    pub summary: String,
}

/// Writes everything, and holds the claims.
pub fn finish(session: &Session, mut opened: Opened, check: &CheckArgs, done: Finished) -> Outcome {
    done.warnings.iter().for_each(|w| tracing::warn!("{w}"));
    if let Some(mut file) = opened.save.take() {
        file.write_all(&write_model(&done.model))?;
        file.commit()?;
    }
    if opened.output.wants_picture() {
        let picture = done.pictures.get(opened.picture)?;
        opened.output.picture(&picture)?;
    }
    if session.keeps_run() {
        keep_run(session, &done)?;
    }
    let mut object = report::json(std::slice::from_ref(&done.row));
    let object = match object.as_array_mut().and_then(|rows| rows.pop()) {
        Some(Value::Object(mut metrics)) => {
            if let Value::Object(details) = &done.details {
                metrics.extend(details.clone());
            }
            metrics.insert("configuration".into(), done.configuration.clone());
            Value::Object(metrics)
        }
        _ => done.details.clone(),
    };
    let written = opened.output.result(&done.table, || Ok(object));
    session.say(&done.summary);
    complete(written, || {
        let rows = [done.row];
        report::keep(session, &rows)?;
        session.finish(&done.configuration)?;
        report::check(session, check, &rows)?;
        match done.converged {
            Some(false) if opened.strict => {
                Err(Failure::Numbers(vec!["not converged: raise --max-iter or --tol, or leave --strict out".to_string()]))
            }
            _ => Ok(()),
        }
    })
}

fn table_file(session: &Session, name: &str, table: &Table, format: Format) -> Outcome {
    if let Some(mut file) = session.run_file(name)? {
        write_table(table, format, &mut file)?;
        file.commit()?;
    }
    Ok(())
}

fn bytes_file(session: &Session, name: &str, bytes: &[u8]) -> Outcome {
    if let Some(mut file) = session.run_file(name)? {
        file.write_all(bytes)?;
        file.commit()?;
    }
    Ok(())
}

fn keep_run(session: &Session, done: &Finished) -> Outcome {
    bytes_file(session, "model.safetensors", &write_model(&done.model))?;
    let factors = match &done.model.model {
        Model::Cp(k) => {
            table_file(session, "weights.parquet", &weights_table(&k.weights), Format::Parquet)?;
            k.factors.as_slice()
        }
        Model::Tucker(t) => {
            bytes_file(session, "core.npy", &write_npy(t.core.shape(), t.core.values()))?;
            t.factors.as_slice()
        }
        Model::Train(t) => {
            for (n, core) in t.cores.iter().enumerate() {
                bytes_file(session, &format!("core_{n}.npy"), &write_npy(core.shape(), core.values()))?;
            }
            &[]
        }
    };
    for (n, (factor, mode)) in factors.iter().zip(&done.model.modes).enumerate() {
        table_file(session, &format!("factor_{n}.parquet"), &factor_table(factor, mode, None), Format::Parquet)?;
    }
    if let Some(trace) = &done.trace {
        table_file(session, "trace.csv", trace, Format::Csv)?;
    }
    for (which, name) in [
        (PictureArg::Factors, "factors.svg"),
        (PictureArg::Fit, "fit.svg"),
        (PictureArg::Explained, "explained.svg"),
        (PictureArg::Core, "core.svg"),
    ] {
        if done.pictures.has(which) {
            bytes_file(session, name, &render(&done.pictures.get(which)?, PictureFormat::Svg)?)?;
        }
    }
    Ok(())
}
