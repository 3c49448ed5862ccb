//! Points for clustering out of a table: which columns are coordinates, ids and labels, what becomes of missing cells.
//!
//! | file | what |
//! |---|---|
//! | this one | a table with a row a point: [`read_points`] |
//! | `roles` | which column plays which part |
//! | `coo` | node, feature and value in rows: [`read_coo`] |
//! | `labels` | text labels as numbers; a file of ids and labels beside the points: [`read_labels`] |

mod coo;
mod labels;
mod roles;
#[cfg(test)]
mod tests;

pub use coo::{CooOptions, is_coo, read_coo};
pub use labels::{LabelColumn, LabelFile, LabelOptions, cluster_labels, code_labels, read_labels};

use super::error::quoted;
use super::frame::{Missing, RowMap};
use super::{BadInput, Data, Frame, FrameOptions, Header, Source, Text, read_frame};
use crate::cluster::{ClusterError, Points};
use rayon::prelude::*;
use roles::{Roles, flag, roles};
use serde::{Deserialize, Serialize};
use std::cmp::Ordering;
use std::sync::Arc;

/// Which columns are coordinates.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Features {
    /// All that are not excluded and neither ids nor labels, in file order.
    #[default]
    All,
    /// These, in this order.
    Only(Vec<String>),
    /// Those of a kept model, whatever their order in the file; columns that the model does not know are refused.
    Trained(Inputs),
}

/// What becomes of missing cells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Imputation {
    /// They are refused.
    #[default]
    Error,
    /// The mean of the column's other cells takes their place; for a kept model the mean of the training rows.
    Mean,
    /// Their rows are left out.
    Drop,
}

impl Imputation {
    /// All there are.
    pub const ALL: &[Self] = &[Self::Error, Self::Mean, Self::Drop];

    /// As the command line says it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Mean => "mean",
            Self::Drop => "drop",
        }
    }
}

/// How points are read.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct PointOptions {
    pub features: Features,
    /// Columns that are no coordinates.
    pub exclude: Vec<String>,
    /// Column of ids. Without it, a column called `id` or `node` (in any case) holds them unless it is excluded or asked for
    /// as a coordinate.
    pub id: Option<String>,
    /// Columns of known labels. Without any, a column called `label` (in any case) holds them, with the same exceptions.
    pub labels: Vec<String>,
    pub impute: Imputation,
    /// Texts for missing cells besides the usual ones.
    pub na: Vec<String>,
    pub header: Header,
}

/// What a kept model must know about the columns that it was trained on.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Inputs {
    /// Coordinates, in the order of the model's numbers.
    pub columns: Vec<String>,
    /// Mean of each, for missing cells.
    pub means: Vec<f64>,
    /// Column of ids, if there was one.
    pub id: Option<String>,
    /// Columns of the training table that were no coordinates; they may be there again.
    pub left_out: Vec<String>,
}

/// A row that was left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dropped {
    /// Its row in the file (1-based, the header counts).
    pub row: usize,
    pub id: Arc<str>,
    /// The first column in which it has no number.
    pub column: String,
}

/// Points with what is known of them.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct PointTable {
    /// What messages call the file.
    pub name: String,
    /// (n, d), row after row; finite.
    pub values: Vec<f64>,
    pub n: usize,
    pub d: usize,
    /// Name of each coordinate.
    pub columns: Vec<String>,
    /// Id of each point: of its column, or the number of its data row (from 1).
    pub ids: Vec<Arc<str>>,
    /// The column of ids; `None` where rows are numbered.
    pub id_column: Option<String>,
    /// Known labels, a column each.
    pub labels: Vec<LabelColumn>,
    /// The data rows (from 0) that the points are; of a table of coordinates empty, as a point has many rows there.
    pub kept_rows: Vec<usize>,
    /// The rows that are no points.
    pub dropped: Vec<Dropped>,
    /// Cells of each coordinate that were filled.
    pub filled: Vec<usize>,
    /// Mean of each coordinate over the cells that are there, or what the model brought.
    pub means: Vec<f64>,
    /// Columns that are no coordinates.
    pub left_out: Vec<String>,
    /// What the reader should know.
    pub notes: Vec<String>,
}

impl PointTable {
    /// As the methods take them. Errors: none for a table that was read here.
    pub fn points(&self) -> Result<Points<'_>, ClusterError> {
        Points::new(&self.values, self.n, self.d)
    }

    /// What a model that is trained on these points must keep of them.
    pub fn inputs(&self) -> Inputs {
        Inputs {
            columns: self.columns.clone(),
            means: self.means.clone(),
            id: self.id_column.clone(),
            left_out: self.left_out.clone(),
        }
    }
}

/// Reads points: a row each.
///
/// # Errors
/// What makes a table unreadable; a column that does not exist, is named twice or plays two parts; a coordinate that is no number;
/// a missing cell unless `impute` says what to do; no row or column left; a missing or repeated id, a missing label; for a kept model
/// columns that are absent or that it does not know. Cost: one pass; memory twice the numbers for a moment.
pub fn read_points(source: &Source, options: &PointOptions) -> Result<PointTable, BadInput> {
    let file = source.name().to_owned();
    let read = FrameOptions { missing: Missing(options.na.clone()), header: options.header };
    let found = std::cell::RefCell::new(None);
    let frame = read_frame(source, &read, &|previews| {
        let roles = roles(&file, previews, options)?;
        let wants = roles.wants.clone();
        *found.borrow_mut() = Some(roles);
        Ok(wants)
    })?;
    match found.into_inner() {
        Some(roles) => from_frame(frame, roles, options),
        None => Err(BadInput::new(file, "holds no table")),
    }
}

fn from_frame(mut frame: Frame, roles: Roles, options: &PointOptions) -> Result<PointTable, BadInput> {
    let rows = frame.len();
    let ids = ids(&frame, roles.id.as_deref())?;
    let labels: Vec<(String, Text)> =
        roles.labels.iter().map(|name| Ok((name.clone(), label_text(&frame, name)?))).collect::<Result<_, BadInput>>()?;
    let mut columns = Vec::with_capacity(roles.features.len());
    for name in &roles.features {
        columns.push(numbers(&mut frame, name)?);
    }
    let trained = match &options.features {
        Features::Trained(inputs) => Some(inputs),
        _ => None,
    };
    let means: Vec<f64> = match trained {
        Some(inputs) if inputs.means.len() == columns.len() => inputs.means.clone(),
        _ => columns.par_iter().map(|c| mean(c)).collect(),
    };
    let mut table = PointTable {
        d: columns.len(),
        filled: vec![0; columns.len()],
        columns: roles.features,
        id_column: roles.id,
        left_out: roles.left_out,
        notes: std::mem::take(&mut frame.warnings),
        means,
        ..PointTable::default()
    };
    table.notes.extend(roles.notes);
    let keep = missing_cells(&frame, &mut columns, &ids, options.impute, &mut table)?;
    table.n = keep.len();
    if table.n == 0 {
        return Err(BadInput::new(&frame.name, format!("every one of the {rows} rows has a missing cell"))
            .remedy("fill cells with --impute mean, or leave sparse columns out with --exclude"));
    }
    table.values = interleave(&columns, &keep);
    table.ids = keep.iter().map(|&i| ids[i].clone()).collect();
    table.labels = labels.iter().map(|(name, text)| code_labels(name, keep.iter().filter_map(|&i| text.get(i)))).collect();
    table.kept_rows = keep;
    table.name = frame.name;
    Ok(table)
}

/// Takes the column out of the frame: coordinates are large.
fn numbers(frame: &mut Frame, name: &str) -> Result<Vec<f64>, BadInput> {
    let Some(column) = frame.columns.iter_mut().find(|c| c.name == name) else {
        return Err(BadInput::new(&frame.name, format!("there is no column {}", quoted(name))));
    };
    match std::mem::replace(&mut column.data, Data::Number(Vec::new())) {
        Data::Number(values) => Ok(values),
        Data::Text(text) => {
            let row = text.codes.iter().position(|c| *c != Text::MISSING).unwrap_or(0);
            let place = frame.rows.file_row(row);
            let e = BadInput::cell(&frame.name, place, name, text.get(row).unwrap_or(""), "a number");
            Err(e.remedy(format!(
                "leave the column out with --exclude {0}, or say what it is: --id-col {0} or --label-col {0}",
                flag(name)
            )))
        }
        Data::Time(_) => Err(roles::no_numbers(&frame.name, name, "time stamps")),
    }
}

/// One id a row; those of a column must be there and differ.
fn ids(frame: &Frame, column: Option<&str>) -> Result<Vec<Arc<str>>, BadInput> {
    let Some(name) = column else {
        return Ok((1..=frame.len()).map(|i| i.to_string().into()).collect());
    };
    let remedy = || format!("name another column with --id-col, or number the rows: --exclude {}", flag(name));
    let Some(Data::Text(text)) = frame.column(name).map(|c| &c.data) else {
        return Err(BadInput::new(&frame.name, "the column holds no ids").column(name).remedy(remedy()));
    };
    if let Some(row) = text.codes.iter().position(|c| *c == Text::MISSING) {
        return Err(BadInput::new(&frame.name, "the id is missing").row(frame.rows.file_row(row)).column(name).remedy(remedy()));
    }
    unique(&frame.name, name, text, &frame.rows).map_err(|e| e.remedy(remedy()))?;
    Ok(text.codes.iter().map(|c| text.dict[*c as usize].clone()).collect())
}

/// An error that names both rows where two have the same id.
fn unique(file: &str, column: &str, text: &Text, rows: &RowMap) -> Result<(), BadInput> {
    if text.dict.len() == text.codes.len() {
        return Ok(());
    }
    let mut seen = vec![usize::MAX; text.dict.len()];
    for (row, code) in text.codes.iter().enumerate() {
        let Some(first) = seen.get_mut(*code as usize) else { continue };
        if *first != usize::MAX {
            let e = BadInput::new(file, format!("both have the id {}", quoted(&text.dict[*code as usize])));
            return Err(e.row(rows.file_row(*first)).row(rows.file_row(row)).column(column));
        }
        *first = row;
    }
    Ok(())
}

fn label_text(frame: &Frame, name: &str) -> Result<Text, BadInput> {
    let Some(Data::Text(text)) = frame.column(name).map(|c| &c.data) else {
        return Err(BadInput::new(&frame.name, "the column holds no labels").column(name));
    };
    match text.codes.iter().position(|c| *c == Text::MISSING) {
        None => Ok(text.clone()),
        Some(row) => {
            let e = BadInput::new(&frame.name, "the label is missing").row(frame.rows.file_row(row)).column(name);
            Err(e.remedy(format!("fill it in, or do without labels: --exclude {}", flag(name))))
        }
    }
}

/// Fills missing cells or finds the rows that stay, and notes what was done.
fn missing_cells(
    frame: &Frame,
    columns: &mut [Vec<f64>],
    ids: &[Arc<str>],
    impute: Imputation,
    table: &mut PointTable,
) -> Result<Vec<usize>, BadInput> {
    let rows = ids.len();
    let gaps: Vec<usize> = columns.par_iter().map(|c| c.iter().filter(|v| v.is_nan()).count()).collect();
    if gaps.iter().all(|g| *g == 0) {
        return Ok((0..rows).collect());
    }
    if impute == Imputation::Mean {
        for (j, (column, gap)) in columns.iter_mut().zip(&gaps).enumerate().filter(|(_, (_, gap))| **gap > 0) {
            let mean = table.means[j];
            if mean.is_nan() {
                let e = BadInput::new(&frame.name, "has no number in any row, so there is no mean").column(&table.columns[j]);
                return Err(e.remedy(format!("leave it out with --exclude {}", flag(&table.columns[j]))));
            }
            column.iter_mut().filter(|v| v.is_nan()).for_each(|v| *v = mean);
            table.filled[j] = *gap;
        }
        return Ok((0..rows).collect());
    }
    let holes: Vec<usize> = (0..columns.len()).filter(|j| gaps[*j] > 0).collect();
    let hole = |i: usize| holes.iter().copied().find(|j| columns[*j][i].is_nan());
    let mut keep = Vec::with_capacity(rows);
    for (i, id) in ids.iter().enumerate() {
        match hole(i) {
            None => keep.push(i),
            Some(j) if impute == Imputation::Drop => {
                table.dropped.push(Dropped { row: frame.rows.file_row(i), id: id.clone(), column: table.columns[j].clone() });
            }
            Some(j) => {
                let e = BadInput::new(&frame.name, "the cell is missing, expected a number").row(frame.rows.file_row(i));
                return Err(e
                    .column(&table.columns[j])
                    .remedy("fill it with --impute mean, or leave such rows out with --impute drop"));
            }
        }
    }
    Ok(keep)
}

/// The mean of the numbers that are there; NaN without any.
fn mean(column: &[f64]) -> f64 {
    let (sum, count) = column.iter().filter(|v| !v.is_nan()).fold((0.0, 0usize), |(s, c), v| (s + v, c + 1));
    let mean = sum / count as f64;
    // The sum of large numbers may overflow where their mean does not.
    if mean.is_infinite() { column.iter().filter(|v| !v.is_nan()).map(|v| v / count as f64).sum() } else { mean }
}

/// Columns into rows. Blocks of rows are small enough to stay in cache while all columns are gone through.
fn interleave(columns: &[Vec<f64>], keep: &[usize]) -> Vec<f64> {
    const BLOCK: usize = 1024;
    let d = columns.len();
    let mut values = vec![0.0; keep.len() * d];
    values.par_chunks_mut(BLOCK * d).zip(keep.par_chunks(BLOCK)).for_each(|(block, rows)| {
        for (j, column) in columns.iter().enumerate() {
            for (row, i) in block.chunks_exact_mut(d).zip(rows) {
                row[j] = column[*i];
            }
        }
    });
    values
}

/// The order of ids, labels and features: by size where all are numbers, else by their bytes. Equal numbers that are written in two ways
/// stay apart, the shorter one first.
pub fn text_order(texts: &[Arc<str>]) -> Vec<usize> {
    let numbers: Option<Vec<f64>> = texts.iter().map(|t| t.parse::<f64>().ok().filter(|x| x.is_finite())).collect();
    let mut order: Vec<usize> = (0..texts.len()).collect();
    match numbers {
        // Above 2^53 whole numbers of different size may be the same f64; the longer one is larger then.
        Some(n) => order.sort_by(|a, b| {
            let by_text = || texts[*a].len().cmp(&texts[*b].len()).then_with(|| texts[*a].cmp(&texts[*b]));
            n[*a].partial_cmp(&n[*b]).unwrap_or(Ordering::Equal).then_with(by_text)
        }),
        None => order.sort_by(|a, b| texts[*a].cmp(&texts[*b])),
    }
    order
}

/// Sorts the dictionary of a text column as [`text_order`] says and renames the codes.
pub(super) fn sort_text(text: &mut Text) {
    let order = text_order(&text.dict);
    let mut place = vec![Text::MISSING; order.len()];
    for (new, old) in order.iter().enumerate() {
        place[*old] = new as u32;
    }
    text.codes.par_iter_mut().for_each(|c| *c = place.get(*c as usize).copied().unwrap_or(Text::MISSING));
    text.dict = order.iter().map(|old| text.dict[*old].clone()).collect();
}
