//! Labels: texts as numbers, and files of them beside the points.

use super::roles::some_names;
use super::{text_order, unique};
use crate::cluster::NOISE;
use crate::table::error::{quoted, suggest_column};
use crate::table::frame::Missing;
use crate::table::{BadInput, Data, FrameOptions, Header, Preview, Source, Text, Want, read_frame};
use std::collections::HashMap;
use std::sync::Arc;

/// Labels as numbers: `names[code]` is the text. Numbers are sorted by size, other texts by their bytes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LabelColumn {
    /// Name of the column.
    pub column: String,
    /// (n), from 0.
    pub codes: Vec<i32>,
    pub names: Vec<Arc<str>>,
}

/// Numbers for texts, by the order of [`text_order`]. Cost O(n + k log k).
pub fn code_labels<'a>(column: &str, texts: impl Iterator<Item = &'a str>) -> LabelColumn {
    let mut known: HashMap<&str, usize> = HashMap::new();
    let mut names: Vec<Arc<str>> = Vec::new();
    let first: Vec<usize> = texts
        .map(|t| {
            *known.entry(t).or_insert_with(|| {
                names.push(t.into());
                names.len() - 1
            })
        })
        .collect();
    let order = text_order(&names);
    let mut place = vec![0i32; names.len()];
    for (new, old) in order.iter().enumerate() {
        place[*old] = new as i32;
    }
    LabelColumn {
        column: column.to_owned(),
        codes: first.into_iter().map(|f| place[f]).collect(),
        names: order.into_iter().map(|old| names[old].clone()).collect(),
    }
}

/// How a file of labels is read.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct LabelOptions {
    /// Column of ids; else `id` or `node`, or rows are numbered from 1 if the file has a single column.
    pub id: Option<String>,
    /// Column of labels; else `label`, or the only one that is not the ids.
    pub label: Option<String>,
    pub header: Header,
}

/// Labels by id.
#[derive(Debug, Clone, PartialEq)]
pub struct LabelFile {
    /// What messages call the file.
    pub name: String,
    /// Column of ids; `None` where rows are numbered.
    pub id_column: Option<String>,
    pub label_column: String,
    pub ids: Vec<Arc<str>>,
    pub labels: Vec<Arc<str>>,
    /// Row of each in the file (1-based, the header counts).
    pub rows: Vec<usize>,
}

/// Reads `id,label` (other columns are skipped), as `cluster points` writes it.
///
/// Errors: what makes a table unreadable; no such column, or several that may be meant; a missing id or label; an id that comes twice
/// (both rows are named).
pub fn read_labels(source: &Source, options: &LabelOptions) -> Result<LabelFile, BadInput> {
    let file = source.name().to_owned();
    let found = std::cell::RefCell::new((None, String::new()));
    let read = FrameOptions { missing: Missing::default(), header: options.header };
    let frame = read_frame(source, &read, &|previews| {
        let (id, label) = columns(&file, previews, options)?;
        let want = |p: &Preview| if p.name == label || Some(&p.name) == id.as_ref() { Want::Text } else { Want::Skip };
        let wants = previews.iter().map(want).collect();
        *found.borrow_mut() = (id, label);
        Ok(wants)
    })?;
    let (id, label) = found.into_inner();
    let text = |name: &str, what: &str| match frame.column(name).map(|c| &c.data) {
        Some(Data::Text(t)) => match t.codes.iter().position(|c| *c == Text::MISSING) {
            None => Ok(t),
            Some(row) => Err(BadInput::new(&file, format!("the {what} is missing"))
                .row(frame.rows.file_row(row))
                .column(name)
                .remedy("fill it in, or remove the row")),
        },
        _ => Err(BadInput::new(&file, format!("holds no {what}s")).column(name)),
    };
    let all = |t: &Text| -> Vec<Arc<str>> { t.codes.iter().map(|c| t.dict[*c as usize].clone()).collect() };
    let labels = all(text(&label, "label")?);
    let ids = match &id {
        None => (1..=labels.len()).map(|i| i.to_string().into()).collect(),
        Some(name) => {
            let t = text(name, "id")?;
            unique(&file, name, t, &frame.rows).map_err(|e| e.remedy("each point has one label"))?;
            all(t)
        }
    };
    let rows = (0..labels.len()).map(|i| frame.rows.file_row(i)).collect();
    Ok(LabelFile { name: file, id_column: id, label_column: label, ids, labels, rows })
}

fn columns(file: &str, previews: &[Preview], options: &LabelOptions) -> Result<(Option<String>, String), BadInput> {
    let names = || previews.iter().map(|c| c.name.as_str());
    for wanted in options.id.iter().chain(&options.label) {
        if !names().any(|n| n == wanted) {
            let e = BadInput::new(file, format!("there is no column {}", quoted(wanted)));
            return Err(e.remedy(suggest_column(wanted, names())));
        }
    }
    if options.id.is_some() && options.id == options.label {
        return Err(
            BadInput::new(file, "the column is to hold both ids and labels").column(options.id.as_deref().unwrap_or_default())
        );
    }
    let called = |wanted: &str| names().find(|n| n.eq_ignore_ascii_case(wanted) && options.label.as_deref() != Some(n));
    let id = options.id.as_deref().or_else(|| called("id")).or_else(|| called("node"));
    let others: Vec<&str> = names().filter(|n| Some(*n) != id).collect();
    let label = match (&options.label, others.iter().find(|n| n.eq_ignore_ascii_case("label"))) {
        (Some(label), _) => label.as_str(),
        (None, Some(label)) => label,
        (None, None) => match others[..] {
            [only] => only,
            [] => return Err(BadInput::new(file, "holds ids and no labels").remedy("expected the columns id and label")),
            _ => {
                return Err(BadInput::new(file, "several columns may hold the labels")
                    .remedy(format!("call it label; {}", suggest_column("label", others.iter().copied()))));
            }
        },
    };
    Ok((id.map(str::to_owned), label.to_owned()))
}

impl LabelFile {
    /// The labels in the order of `ids`; rows for an id of `also` (rows that were dropped) may be there and do not count.
    ///
    /// Errors, with the ids: a label for an unknown id, an id without a label.
    pub fn align<'a>(&'a self, ids: &[Arc<str>], also: &[Arc<str>]) -> Result<Vec<&'a str>, BadInput> {
        if self.id_column.is_none() && self.ids.len() != ids.len() + also.len() {
            let what = format!("holds {} labels without ids for {} points", self.ids.len(), ids.len() + also.len());
            return Err(BadInput::new(&self.name, what).remedy("expected a row for each point, or a column of ids"));
        }
        let place: HashMap<&str, usize> = self.ids.iter().enumerate().map(|(i, id)| (&**id, i)).collect();
        let missing: Vec<&str> = ids.iter().map(|id| &**id).filter(|id| !place.contains_key(id)).collect();
        if !missing.is_empty() {
            let what = format!("has no label for {}: {}", points(missing.len()), some_names(missing.into_iter()));
            return Err(BadInput::new(&self.name, what).remedy("expected a label for every point"));
        }
        if self.ids.len() > ids.len() {
            let known: std::collections::HashSet<&str> = ids.iter().chain(also).map(|id| &**id).collect();
            let unknown: Vec<usize> = (0..self.ids.len()).filter(|i| !known.contains(&*self.ids[*i])).collect();
            if let Some(first) = unknown.first() {
                let list = some_names(unknown.iter().map(|i| &*self.ids[*i]).collect::<Vec<_>>().into_iter());
                let e = BadInput::new(&self.name, format!("labels {} that are not there: {list}", points(unknown.len())))
                    .row(self.rows[*first]);
                return Err(e.remedy("remove these rows, or give the table that holds their points"));
            }
        }
        Ok(ids.iter().filter_map(|id| place.get(&**id)).map(|i| &*self.labels[*i]).collect())
    }

    /// All labels as numbers, in the order of the file.
    pub fn coded(&self) -> LabelColumn {
        code_labels(&self.label_column, self.labels.iter().map(|l| &**l))
    }
}

fn points(n: usize) -> String {
    if n == 1 { "1 point".to_owned() } else { format!("{n} points") }
}

/// Labels of a clustering as numbers: where all are whole numbers, -1 is [`NOISE`] and others are numbered by size; other texts are numbered
/// by [`text_order`]. (Known classes may be called -1 and 1: those go through [`code_labels`].)
///
/// Errors: a number below -1.
pub fn cluster_labels(file: &str, column: &str, texts: &[&str]) -> Result<LabelColumn, BadInput> {
    let numbers: Option<Vec<i64>> = texts.iter().map(|t| t.parse().ok()).collect();
    let Some(numbers) = numbers else { return Ok(code_labels(column, texts.iter().copied())) };
    if let Some(wrong) = numbers.iter().find(|x| **x < i64::from(NOISE)) {
        let e = BadInput::new(file, format!("found the label {wrong}, expected a number from 0, or -1 for noise")).column(column);
        return Err(e.remedy("number the clusters from 0"));
    }
    let mut names: Vec<i64> = numbers.iter().copied().filter(|x| *x >= 0).collect();
    names.sort_unstable();
    names.dedup();
    let codes = numbers.iter().map(|x| names.binary_search(x).map_or(NOISE, |p| p as i32)).collect();
    Ok(LabelColumn { column: column.to_owned(), codes, names: names.iter().map(|x| x.to_string().into()).collect() })
}
