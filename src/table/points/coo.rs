//! Sparse features: a row for each pair of a node and a feature that is not zero.

use super::roles::some_names;
use super::{PointTable, mean, sort_text};
use crate::table::error::{quoted, suggest_column};
use crate::table::frame::Missing;
use crate::table::{BadInput, Data, Frame, FrameOptions, Header, Preview, Source, Text, Want, read_frame};
use rayon::prelude::*;
use std::collections::HashMap;
use std::sync::Arc;

/// How sparse features are read.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct CooOptions {
    /// Column of nodes (points); else `node` or `id`, else the first.
    pub node: Option<String>,
    /// Column of features; else `feature`, else the next one.
    pub feature: Option<String>,
    /// Column of values; else `value`, else the third if the columns have no names. Without values a row says 1.
    pub value: Option<String>,
    /// The nodes, in the order of the result; others are refused. Else those that occur, as [`text_order`](super::text_order) sorts them.
    pub nodes: Option<Vec<Arc<str>>>,
    /// The features, in the order of the result (those of a kept model); others are refused. Else those that occur, sorted likewise.
    pub features: Option<Vec<String>>,
    pub header: Header,
}

/// The columns of nodes, features and values.
struct Parts {
    node: String,
    feature: String,
    value: Option<String>,
}

/// Whether a table says by the names of its columns that it holds sparse features: `node,feature` or `node,feature,value`.
///
/// Errors: what makes a table unreadable. Cost: a look at its first rows.
pub fn is_coo(source: &Source, header: Header) -> Result<bool, BadInput> {
    let answer = std::cell::Cell::new(None);
    let stop = read_frame(source, &FrameOptions { header, ..FrameOptions::default() }, &|previews| {
        let is = |name: &str| previews.iter().any(|p| p.name.eq_ignore_ascii_case(name));
        answer.set(Some(is("node") && is("feature") && (previews.len() == 2 || previews.len() == 3 && is("value"))));
        // The plan has seen the names; nothing else is wanted.
        Err(BadInput::new(source.name(), "is not read"))
    });
    answer.get().map_or_else(|| stop.map(|_| false), Ok)
}

/// Reads sparse features into a dense table; what has no row is zero. Values of a pair that comes twice are added; without a column of
/// values, a pair is there or not.
///
/// # Errors
/// What makes a table unreadable; no such column; a missing node, feature or value; a node or feature that is not among those that were
/// given; numbers that would not fit in memory. Cost: the rows once, and `n · d` numbers.
pub fn read_coo(source: &Source, options: &CooOptions) -> Result<PointTable, BadInput> {
    let file = source.name().to_owned();
    let found = std::cell::RefCell::new(None);
    let frame = read_frame(source, &FrameOptions { missing: Missing::default(), header: options.header }, &|previews| {
        let parts = parts(&file, previews, options)?;
        let want = |p: &Preview| match &p.name {
            n if *n == parts.node || *n == parts.feature => Want::Text,
            n if Some(n) == parts.value.as_ref() => Want::Number,
            _ => Want::Skip,
        };
        let wants = previews.iter().map(want).collect();
        *found.borrow_mut() = Some(parts);
        Ok(wants)
    })?;
    match found.into_inner() {
        Some(parts) => dense(frame, &parts, options, available_memory()),
        None => Err(BadInput::new(file, "holds no table")),
    }
}

fn parts(file: &str, previews: &[Preview], options: &CooOptions) -> Result<Parts, BadInput> {
    let names: Vec<&str> = previews.iter().map(|p| p.name.as_str()).collect();
    let named: Vec<&String> = options.node.iter().chain(&options.feature).chain(&options.value).collect();
    for (i, wanted) in named.iter().enumerate() {
        if !names.contains(&wanted.as_str()) {
            let e = BadInput::new(file, format!("there is no column {}", quoted(wanted)));
            return Err(e.remedy(suggest_column(wanted, names.iter().copied())));
        }
        if named[..i].contains(wanted) {
            return Err(BadInput::new(file, "the column is named twice")
                .column(*wanted)
                .remedy("node, feature and value have a column each"));
        }
    }
    let mut free: Vec<&str> = names.iter().copied().filter(|n| !named.iter().any(|w| w == n)).collect();
    let called = |free: &[&str], wanted: &[&str]| free.iter().position(|n| wanted.iter().any(|w| n.eq_ignore_ascii_case(w)));
    let mut pick = |given: &Option<String>, wanted: &[&str], first: bool| match given {
        Some(name) => Some(name.clone()),
        None => {
            let at = called(&free, wanted).or((first && !free.is_empty()).then_some(0));
            at.map(|at| free.remove(at).to_owned())
        }
    };
    // Names come before places: `value,node,feature` is understood.
    let nameless = names.iter().all(|n| n.starts_with("column_"));
    let value = pick(&options.value, &["value"], false);
    let feature_named = pick(&options.feature, &["feature"], false);
    let node = pick(&options.node, &["node", "id"], true);
    let feature = feature_named.or_else(|| pick(&None, &[], true));
    let value = value.or_else(|| if nameless { pick(&None, &[], true) } else { None });
    match (node, feature) {
        (Some(node), Some(feature)) => Ok(Parts { node, feature, value }),
        _ => Err(BadInput::new(file, "has a single column")
            .remedy("expected the columns node and feature, and value if not all are 1")),
    }
}

fn dense(mut frame: Frame, parts: &Parts, options: &CooOptions, available: Option<u64>) -> Result<PointTable, BadInput> {
    let file = frame.name.clone();
    let nodes = codes(&mut frame, &parts.node, "node", options.nodes.as_deref())?;
    let given: Option<Vec<Arc<str>>> = options.features.as_ref().map(|f| f.iter().map(|n| n.as_str().into()).collect());
    let features = codes(&mut frame, &parts.feature, "feature", given.as_deref())?;
    let values = match &parts.value {
        None => None,
        Some(name) => match frame.columns.iter_mut().find(|c| c.name == *name).map(|c| &mut c.data) {
            Some(Data::Number(v)) => Some(std::mem::take(v)),
            _ => return Err(BadInput::new(file, "holds no numbers").column(name)),
        },
    };
    if let (Some(name), Some(row)) = (&parts.value, values.as_ref().and_then(|v| v.iter().position(|x| x.is_nan()))) {
        let e = BadInput::new(file, "the value is missing, expected a number").row(frame.rows.file_row(row)).column(name);
        return Err(e.remedy("remove the row: what has no row is zero"));
    }
    let (n, d) = (nodes.dict.len(), features.dict.len());
    let mut table = room(&file, n, d, available)?;
    let mut seen = vec![0u64; (n * d).div_ceil(64)];
    let mut repeated = 0;
    for (row, (i, j)) in nodes.codes.iter().zip(&features.codes).enumerate() {
        let at = *i as usize * d + *j as usize;
        let mark = 1 << (at % 64);
        let again = seen[at / 64] & mark != 0;
        seen[at / 64] |= mark;
        repeated += usize::from(again);
        match &values {
            None => table[at] = 1.0,
            Some(v) => table[at] += v[row],
        }
        if !table[at].is_finite() {
            let what = format!(
                "the values of node {} and feature {} add up to more than a number can hold",
                nodes.dict[*i as usize], features.dict[*j as usize]
            );
            return Err(BadInput::new(file, what).row(frame.rows.file_row(row)));
        }
    }
    let mut notes = frame.warnings;
    if repeated > 0 {
        let what = if values.is_some() { "values of a pair were added" } else { "a pair counts once" };
        notes.push(format!("{file}: {repeated} rows repeat a pair of node and feature; {what}"));
    }
    let means = (0..d).into_par_iter().map(|j| mean(&(0..n).map(|i| table[i * d + j]).collect::<Vec<f64>>())).collect();
    Ok(PointTable {
        name: file,
        values: table,
        n,
        d,
        columns: features.dict.iter().map(|f| f.to_string()).collect(),
        ids: nodes.dict,
        id_column: Some(parts.node.clone()),
        filled: vec![0; d],
        means,
        notes,
        ..PointTable::default()
    })
}

/// A column of texts as indices into the sorted dictionary, or into the one that is given.
fn codes(frame: &mut Frame, name: &str, what: &str, given: Option<&[Arc<str>]>) -> Result<Text, BadInput> {
    let data =
        frame.columns.iter_mut().find(|c| c.name == name).map(|c| std::mem::replace(&mut c.data, Data::Number(Vec::new())));
    let Some(Data::Text(mut text)) = data else {
        return Err(BadInput::new(&frame.name, format!("holds no {what}s")).column(name));
    };
    if let Some(row) = text.codes.iter().position(|c| *c == Text::MISSING) {
        let e = BadInput::new(&frame.name, format!("the {what} is missing")).row(frame.rows.file_row(row));
        return Err(e.column(name).remedy("remove the row, or fill it in"));
    }
    let Some(given) = given else {
        sort_text(&mut text);
        return Ok(text);
    };
    let place: HashMap<&str, u32> = given.iter().enumerate().map(|(i, id)| (&**id, i as u32)).collect();
    let unknown: Vec<usize> = (0..text.dict.len()).filter(|c| !place.contains_key(&*text.dict[*c])).collect();
    if let Some(first) = unknown.first() {
        let row = text.codes.iter().position(|c| *c as usize == *first).unwrap_or(0);
        let list = some_names(unknown.iter().map(|c| &*text.dict[*c]).collect::<Vec<_>>().into_iter());
        let e = BadInput::new(&frame.name, format!("unknown {what}s: {list}")).row(frame.rows.file_row(row)).column(name);
        return Err(e.remedy(format!("expected {what}s that are known already; remove these rows")));
    }
    let codes = text.codes.iter().map(|c| place[&*text.dict[*c as usize]]).collect();
    Ok(Text { codes, dict: given.to_vec() })
}

/// `n · d` zeros. Errors: they do not fit in memory.
fn room(file: &str, n: usize, d: usize, available: Option<u64>) -> Result<Vec<f64>, BadInput> {
    let cells = n.checked_mul(d);
    let bytes = cells.and_then(|c| c.checked_mul(8));
    let mut values = Vec::new();
    let fits = bytes.is_some_and(|b| available.is_none_or(|a| b as u64 <= a))
        && cells.is_some_and(|c| values.try_reserve_exact(c).is_ok());
    if !fits {
        let gigabytes = |b: f64| format!("{:.1} GB", b / 1e9);
        let mut what = format!("{n} nodes with {d} features are {} as dense numbers", gigabytes(n as f64 * d as f64 * 8.0));
        if let Some(a) = available {
            what.push_str(&format!(", and {} of memory are free", gigabytes(a as f64)));
        }
        return Err(BadInput::new(file, what).remedy("keep fewer features: those of many nodes, or components of them"));
    }
    values.resize(n * d, 0.0);
    Ok(values)
}

/// Bytes of memory that can be used without swapping, where the system says so (Linux).
fn available_memory() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|l| l.strip_prefix("MemAvailable:"))?;
    line.split_whitespace().next()?.parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_refused_with_its_size() {
        let e = room("f.csv", 3_000_000, 500_000, Some(8_000_000_000)).unwrap_err().to_string();
        assert_eq!(
            e,
            "f.csv: 3000000 nodes with 500000 features are 12000.0 GB as dense numbers, and 8.0 GB of memory are free \
             (keep fewer features: those of many nodes, or components of them)"
        );
        assert!(room("f.csv", usize::MAX, 2, None).is_err());
        assert!(room("f.csv", 1 << 40, 1 << 20, None).is_err());
        assert_eq!(room("f.csv", 2, 3, Some(48)).unwrap(), vec![0.0; 6]);
        assert!(room("f.csv", 2, 3, Some(47)).is_err());
    }
}
