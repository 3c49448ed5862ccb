//! What a clustering of points leaves behind: labels, the model, tables, pictures.

use super::input::Scaled;
use super::method::{Found, MethodArg};
use super::pictures::{PictureArg, draw};
use super::points::label_table;
use super::scan::{ScanArgs, Scanned};
use crate::cli::args::{CheckArgs, OutputArgs};
use crate::cli::failure::{Failure, Outcome, complete};
use crate::cli::output::{Output, refuse_same_file};
use crate::cli::report;
use crate::cli::session::Session;
use crate::plot::{PictureFormat, render};
use crate::run::check::MetricRow;
use crate::table::cluster_model::{ClusterModel, write_cluster_model};
use crate::table::points::PointTable;
use crate::table::{AtomicFile, Format, Table, Values, write_table};
use clap::{Args, ValueHint};
use serde_json::Value;
use std::io::Write;
use std::path::{Path, PathBuf};

/// Where a clustering goes.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Output")]
pub struct KeepArgs {
    /// Keep the model, which cluster predict reads: one safetensors file.
    #[arg(long, value_name = "FILE.safetensors", value_hint = ValueHint::FilePath)]
    pub save: Option<PathBuf>,
    /// gmm, ila-sdp: write what each row has of each cluster, a column a cluster.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub proba: Option<PathBuf>,
    /// What --plot draws [default: scatter; k-scan with --k auto]
    #[arg(long, value_enum, value_name = "PICTURE", requires = "plot")]
    pub picture: Option<PictureArg>,
    /// Exit 4 when it has not converged.
    #[arg(long)]
    pub strict: bool,
}

impl KeepArgs {
    /// The picture that is drawn. Refuses one that the method has nothing for.
    pub fn picture(&self, method: MethodArg, auto: bool) -> Outcome<PictureArg> {
        let picture = self.picture.unwrap_or(if auto { PictureArg::KScan } else { PictureArg::Scatter });
        let there = match picture {
            PictureArg::Scatter | PictureArg::Silhouette => true,
            PictureArg::Dendrogram => matches!(method, MethodArg::Agglomerative | MethodArg::Hdbscan),
            PictureArg::Tree => method == MethodArg::Hdbscan,
            PictureArg::KScan => auto,
            PictureArg::Membership => matches!(method, MethodArg::Sdp | MethodArg::IlaSdp | MethodArg::Gmm),
        };
        if there {
            return Ok(picture);
        }
        let needs = match picture {
            PictureArg::Dendrogram => "--method agglomerative or hdbscan",
            PictureArg::Tree => "--method hdbscan",
            PictureArg::KScan => "--k auto",
            _ => "--method sdp, ila-sdp or gmm",
        };
        Err(Failure::usage(format!("--picture {}: there is nothing to draw without {needs}", picture.name())))
    }
}

/// Opened before anything is computed.
pub struct Opened {
    output: Output,
    save: Option<AtomicFile>,
    proba: Option<(AtomicFile, Format)>,
    k_table: Option<(AtomicFile, Format)>,
    linkage: Option<(AtomicFile, Format)>,
    picture: PictureArg,
    strict: bool,
}

/// Opens a table that is written beside the result.
pub fn open_table(path: Option<&Path>) -> Outcome<Option<(AtomicFile, Format)>> {
    let Some(path) = path else { return Ok(None) };
    let format = Format::of_path(path).unwrap_or(Format::Csv);
    Ok(Some((AtomicFile::create(path)?, format)))
}

fn write(opened: Option<(AtomicFile, Format)>, table: impl FnOnce() -> Option<Table>) -> Outcome {
    if let (Some((mut file, format)), Some(table)) = (opened, table()) {
        write_table(&table, format, &mut file)?;
        file.commit()?;
    }
    Ok(())
}

impl Opened {
    /// Opens everything that was asked for.
    pub fn new(
        session: &mut Session,
        output: &OutputArgs,
        keep: &KeepArgs,
        scan: &ScanArgs,
        linkage: Option<&Path>,
        picture: PictureArg,
    ) -> Outcome<Self> {
        refuse_same_file(&[
            ("-o", output.output.as_deref()),
            ("--plot", output.plot.as_deref()),
            ("--save", keep.save.as_deref()),
            ("--proba", keep.proba.as_deref()),
            ("--k-table", scan.k_table.as_deref()),
            ("--linkage-out", linkage),
        ])?;
        let opened = session.open_outputs(output)?;
        Ok(Self {
            output: opened,
            save: keep.save.as_ref().map(AtomicFile::create).transpose()?,
            proba: open_table(keep.proba.as_deref())?,
            k_table: open_table(scan.k_table.as_deref())?,
            linkage: open_table(linkage)?,
            picture,
            strict: keep.strict,
        })
    }
}

/// A finished clustering.
pub struct Done<'a> {
    pub method: &'static str,
    pub table: &'a PointTable,
    pub scaled: &'a Scaled,
    pub found: Found,
    pub silhouettes: Option<Vec<f64>>,
    pub scanned: Option<Scanned>,
    pub rows: Vec<MetricRow>,
    pub details: Value,
    pub configuration: Value,
    pub summary: String,
}

/// Writes everything, and holds the claims.
pub fn finish(session: &Session, mut opened: Opened, check: &CheckArgs, done: Done) -> Outcome {
    let found = &done.found;
    found.warnings.iter().for_each(|w| tracing::warn!("{w}"));
    let labels = label_table(done.table, &found.labels, found.confidence.as_deref(), found.outlier_scores.as_deref());
    let model = found.saved.clone().map(|saved| {
        let names = done.table.labels.first().map_or(Vec::new(), |l| l.names.iter().map(|n| n.to_string()).collect());
        let scaler = serde_json::to_value(&done.scaled.scaler).unwrap_or(Value::Null);
        write_cluster_model(&ClusterModel::new(done.table.inputs(), scaler, names, saved))
    });
    if let (Some(mut file), Some(bytes)) = (opened.save.take(), &model) {
        file.write_all(bytes)?;
        file.commit()?;
    }
    write(opened.proba.take(), || membership_table(done.table, found))?;
    write(opened.k_table.take(), || done.scanned.as_ref().map(Scanned::table))?;
    write(opened.linkage.take(), || found.shapes.merges.as_deref().map(merge_table))?;
    if opened.output.wants_picture() {
        opened.output.picture(&draw(opened.picture, &done)?)?;
    }
    if session.keeps_run() {
        keep_run(session, &done, &labels, model.as_deref(), opened.picture)?;
    }
    let mut object = report::json(&done.rows);
    let mut object = match object.as_array_mut() {
        Some(rows) if rows.len() == 1 => rows.remove(0),
        _ => serde_json::json!({ "rows": object }),
    };
    if let (Value::Object(object), Value::Object(details)) = (&mut object, &done.details) {
        object.extend(details.clone());
        object.insert("ids".into(), done.table.ids.iter().map(|id| Value::from(&**id)).collect());
        object.insert("labels".into(), found.labels.iter().map(|l| Value::from(*l)).collect());
        object.insert("configuration".into(), done.configuration.clone());
    }
    let written = opened.output.result(&labels, || Ok(object));
    session.say(&done.summary);
    complete(written, || {
        report::keep(session, &done.rows)?;
        session.finish(&done.configuration)?;
        report::check(session, check, &done.rows)?;
        match found.converged {
            Some(false) if opened.strict => {
                Err(Failure::Numbers(vec!["not converged: raise --max-iter or --tol, or leave --strict out".to_string()]))
            }
            _ => Ok(()),
        }
    })
}

fn membership_table(table: &PointTable, found: &Found) -> Option<Table> {
    let memberships = found.memberships.as_ref()?;
    let k = memberships.len() / table.n.max(1);
    let mut out = Table::new().with(table.id_column.as_deref().unwrap_or("id"), Values::Text(table.ids.clone()));
    for c in 0..k {
        out = out.with(format!("cluster_{c}"), Values::Number(memberships.iter().skip(c).step_by(k).copied().collect()));
    }
    Some(out)
}

fn merge_table(merges: &[f64]) -> Table {
    let column = |c: usize| merges.iter().skip(c).step_by(4).copied();
    Table::new()
        .with("left", Values::Integer(column(0).map(|v| v as i64).collect()))
        .with("right", Values::Integer(column(1).map(|v| v as i64).collect()))
        .with("height", Values::Number(column(2).collect()))
        .with("size", Values::Integer(column(3).map(|v| v as i64).collect()))
}

fn keep_run(session: &Session, done: &Done, labels: &Table, model: Option<&[u8]>, picture: PictureArg) -> Outcome {
    let table = |name: &str, table: &Table| -> Outcome {
        if let Some(mut file) = session.run_file(name)? {
            write_table(table, Format::Csv, &mut file)?;
            file.commit()?;
        }
        Ok(())
    };
    let bytes = |name: &str, bytes: &[u8]| -> Outcome {
        if let Some(mut file) = session.run_file(name)? {
            file.write_all(bytes)?;
            file.commit()?;
        }
        Ok(())
    };
    table("labels.csv", labels)?;
    if let Some(model) = model {
        bytes("model.safetensors", model)?;
    }
    if let Some(memberships) = membership_table(done.table, &done.found) {
        table("memberships.csv", &memberships)?;
    }
    if let Some(scanned) = &done.scanned {
        table("k_table.csv", &scanned.table())?;
    }
    if let Some(merges) = &done.found.shapes.merges {
        table("merges.csv", &merge_table(merges))?;
    }
    bytes(&format!("{}.svg", picture.name()), &render(&draw(picture, done)?, PictureFormat::Svg)?)
}
