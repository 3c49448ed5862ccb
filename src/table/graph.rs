//! Graphs for clustering out of edge lists: `source,target[,weight]`, one file or several as views of the same nodes.
//!
//! Nodes have any names; they become 0..n-1 in the order of [`text_order`](super::points::text_order), or in that of the node features where
//! there are any. What is done with loops, repeated edges and negative weights is said by the options and counted in the result.

use super::error::{quoted, suggest_column};
use super::frame::{Missing, RowMap};
use super::points::sort_text;
use super::{BadInput, Data, FrameOptions, Header, Preview, Source, Text, Want, read_frame};
use crate::cluster::Graph;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// The columns of an edge list.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EdgeColumns {
    /// Else `source`, `src` or `from`, else the first.
    pub source: Option<String>,
    /// Else `target`, `dst` or `to`, else the next one.
    pub target: Option<String>,
    /// Else `weight`, else the third if the columns have no names; else every edge has weight 1.
    pub weight: Option<String>,
}

/// One view: a file with its columns.
#[derive(Debug, Clone)]
pub struct EdgeList<'a> {
    pub source: &'a Source,
    pub columns: EdgeColumns,
}

/// What an edge is that comes in several rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Repeats {
    /// One edge with the largest weight: rows say the same again (without weights an edge is there or not).
    #[default]
    Max,
    /// One edge with the sum of the weights: rows are events, such as messages.
    Sum,
    /// Refused.
    Error,
}

impl Repeats {
    /// All there are.
    pub const ALL: &[Self] = &[Self::Max, Self::Sum, Self::Error];

    /// As the command line says it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Max => "max",
            Self::Sum => "sum",
            Self::Error => "error",
        }
    }
}

/// What the weight between a and b is in an undirected graph whose file holds both a-b and b-a.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mirrored {
    /// The larger of the two: a file that lists every edge from both ends is the graph that it is with one end each.
    #[default]
    Max,
    /// Their sum: messages of both directions.
    Sum,
}

impl Mirrored {
    /// All there are.
    pub const ALL: &[Self] = &[Self::Max, Self::Sum];

    /// As the command line says it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Max => "max",
            Self::Sum => "sum",
        }
    }
}

/// How edge lists are read.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct GraphOptions {
    /// Whether an edge goes one way only.
    pub directed: bool,
    pub repeats: Repeats,
    pub mirrored: Mirrored,
    /// Whether edges from a node to itself are left out.
    pub drop_loops: bool,
    /// Whether weights below zero are allowed.
    pub negative: bool,
    /// The nodes, in the order of the result: an edge to another one is refused.
    pub nodes: Option<Vec<Arc<str>>>,
    pub na: Vec<String>,
    pub header: Header,
}

/// What was found in an edge list.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct EdgeCounts {
    /// Rows of the file.
    pub rows: usize,
    /// Edges of the graph: an undirected one counts once, loops count.
    pub edges: usize,
    /// Loops of the graph, or the rows that were left out as such.
    pub loops: usize,
    /// Rows that repeat the pair of an earlier one, in the same direction.
    pub repeated: usize,
    /// Edges of an undirected graph that the file holds in both directions.
    pub mirrored: usize,
    /// Edges with a weight below zero.
    pub negative: usize,
    /// Rows of weight zero: they are no edges.
    pub zero: usize,
    /// Nodes without an edge to another node in this view.
    pub isolated: usize,
}

/// One graph of several over the same nodes.
#[derive(Debug, Clone, PartialEq)]
pub struct View {
    /// What messages call the file.
    pub name: String,
    pub graph: Graph,
    /// Whether the file has weights.
    pub weighted: bool,
    pub counts: EdgeCounts,
}

/// Graphs over one set of nodes.
#[derive(Debug, Clone, PartialEq)]
pub struct Network {
    /// Name of each node.
    pub ids: Vec<Arc<str>>,
    /// At least one.
    pub views: Vec<View>,
    /// What the reader should know.
    pub notes: Vec<String>,
}

/// One edge list as it was read.
struct Raw {
    name: String,
    source: Text,
    target: Text,
    source_column: String,
    target_column: String,
    weights: Option<Vec<f64>>,
    rows: RowMap,
}

/// Reads edge lists as views of one graph.
///
/// # Errors
/// What makes a table unreadable; no file; no such column; a missing node or weight; an edge to a node that is not among those that were
/// given; a negative weight or a repeated edge unless the options allow it; more than 2³² nodes. Cost: rows once, and a sort of the edges.
pub fn read_graph(lists: &[EdgeList<'_>], options: &GraphOptions) -> Result<Network, BadInput> {
    if lists.is_empty() {
        return Err(BadInput::new("edges", "no file was given").remedy("expected at least one edge list"));
    }
    let mut notes = Vec::new();
    let mut raw: Vec<Raw> = lists.iter().map(|l| read_list(l, options, &mut notes)).collect::<Result<_, _>>()?;
    let ids = match &options.nodes {
        Some(ids) => ids.clone(),
        None => all_nodes(&raw),
    };
    if u32::try_from(ids.len()).is_err() {
        return Err(BadInput::new(lists[0].source.name(), format!("{} nodes are more than 4,294,967,295", ids.len())));
    }
    let place: HashMap<&str, u32> = ids.iter().enumerate().map(|(i, id)| (&**id, i as u32)).collect();
    let mut views = Vec::with_capacity(raw.len());
    for list in &mut raw {
        number(list, &place)?;
        views.push(view(list, &ids, options)?);
    }
    Ok(Network { ids, views, notes })
}

fn read_list(list: &EdgeList<'_>, options: &GraphOptions, notes: &mut Vec<String>) -> Result<Raw, BadInput> {
    let file = list.source.name();
    let found = std::cell::RefCell::new(None);
    let read = FrameOptions { missing: Missing(options.na.clone()), header: options.header };
    let frame = read_frame(list.source, &read, &|previews| {
        let (columns, left_out) = columns(file, previews, &list.columns)?;
        let want = |p: &Preview| match &p.name {
            n if *n == columns.0 || *n == columns.1 => Want::Text,
            n if Some(n) == columns.2.as_ref() => Want::Number,
            _ => Want::Skip,
        };
        let wants = previews.iter().map(want).collect();
        *found.borrow_mut() = Some((columns, left_out));
        Ok(wants)
    })?;
    let Some(((source, target, weight), left_out)) = found.into_inner() else {
        return Err(BadInput::new(file, "holds no table"));
    };
    notes.extend(frame.warnings);
    if !left_out.is_empty() {
        let list: Vec<String> = left_out.iter().take(8).map(|n| quoted(n)).collect();
        let and_more = if left_out.len() > 8 { ", …" } else { "" };
        notes.push(format!("{file}: columns that are no part of an edge list: {}{and_more}", list.join(", ")));
    }
    let (mut from, mut to, mut weights) = (None, None, None);
    for column in frame.columns {
        match column.data {
            Data::Text(t) if column.name == source => from = Some(t),
            Data::Text(t) if column.name == target => to = Some(t),
            Data::Number(v) if Some(&column.name) == weight.as_ref() => weights = Some(v),
            _ => return Err(BadInput::new(file, "the column cannot be read").column(column.name)),
        }
    }
    let (Some(from), Some(to)) = (from, to) else { return Err(BadInput::new(file, "holds no edges")) };
    for (text, name) in [(&from, &source), (&to, &target)] {
        if let Some(row) = text.codes.iter().position(|c| *c == Text::MISSING) {
            let e = BadInput::new(file, "the node is missing").row(frame.rows.file_row(row)).column(name);
            return Err(e.remedy("an edge has two ends: fill it in, or remove the row"));
        }
    }
    if let (Some(v), Some(name)) = (&weights, &weight) {
        if let Some(row) = v.iter().position(|x| x.is_nan()) {
            let e = BadInput::new(file, "the weight is missing, expected a number").row(frame.rows.file_row(row)).column(name);
            return Err(e.remedy("fill it in, or remove the row"));
        }
        if let Some(row) = v.iter().position(|x| *x < 0.0).filter(|_| !options.negative) {
            let what = format!("found the weight {}, expected one that is not negative", v[row]);
            let e = BadInput::new(file, what).row(frame.rows.file_row(row)).column(name);
            return Err(e.remedy("weights say how close two nodes are: shift or drop those below zero"));
        }
    }
    Ok(Raw {
        name: file.to_owned(),
        source: from,
        target: to,
        source_column: source,
        target_column: target,
        weights,
        rows: frame.rows,
    })
}

type Columns = (String, String, Option<String>);

/// The columns of source, target and weight, and those that are none of them.
fn columns(file: &str, previews: &[Preview], wanted: &EdgeColumns) -> Result<(Columns, Vec<String>), BadInput> {
    let names: Vec<&str> = previews.iter().map(|p| p.name.as_str()).collect();
    let named: Vec<&String> = wanted.source.iter().chain(&wanted.target).chain(&wanted.weight).collect();
    for (i, name) in named.iter().enumerate() {
        if !names.contains(&name.as_str()) {
            let e = BadInput::new(file, format!("there is no column {}", quoted(name)));
            return Err(e.remedy(suggest_column(name, names.iter().copied())));
        }
        if named[..i].contains(name) {
            let e = BadInput::new(file, "the column is named twice").column(*name);
            return Err(e.remedy("source, target and weight have a column each"));
        }
    }
    let mut free: Vec<&str> = names.iter().copied().filter(|n| !named.iter().any(|w| w == n)).collect();
    let mut take = |known: &[&str]| {
        let at = free.iter().position(|n| known.iter().any(|k| n.eq_ignore_ascii_case(k)));
        at.map(|at| free.remove(at).to_owned())
    };
    // Names come before places.
    let weight = wanted.weight.clone().or_else(|| take(&["weight"]));
    let source = wanted.source.clone().or_else(|| take(&["source", "src", "from"]));
    let target = wanted.target.clone().or_else(|| take(&["target", "dst", "to"]));
    let mut next = || if free.is_empty() { None } else { Some(free.remove(0).to_owned()) };
    let (source, target) = (source.or_else(&mut next), target.or_else(&mut next));
    let nameless = names.iter().all(|n| n.starts_with("column_"));
    let weight = weight.or_else(|| if nameless { next() } else { None });
    match (source, target) {
        (Some(source), Some(target)) => Ok(((source, target, weight), free.into_iter().map(str::to_owned).collect())),
        _ => Err(BadInput::new(file, "has a single column, expected the two ends of an edge")
            .remedy("expected the columns source and target, and weight if edges have one")),
    }
}

/// The names of all nodes, in order.
fn all_nodes(lists: &[Raw]) -> Vec<Arc<str>> {
    let mut known: HashSet<Arc<str>> = HashSet::new();
    let mut all = Text::default();
    for id in lists.iter().flat_map(|l| l.source.dict.iter().chain(&l.target.dict)) {
        if known.insert(id.clone()) {
            all.dict.push(id.clone());
        }
    }
    sort_text(&mut all);
    all.dict
}

/// Replaces the codes of the file by the numbers of the nodes.
fn number(list: &mut Raw, place: &HashMap<&str, u32>) -> Result<(), BadInput> {
    let unknown = |text: &Text| (0..text.dict.len()).filter(|c| !place.contains_key(&*text.dict[*c])).collect::<Vec<_>>();
    let (from, to) = (unknown(&list.source), unknown(&list.target));
    let place_of = |text: &Text, codes: &[usize]| text.codes.iter().position(|c| codes.binary_search(&(*c as usize)).is_ok());
    let first = [
        (place_of(&list.source, &from), &list.source, &list.source_column),
        (place_of(&list.target, &to), &list.target, &list.target_column),
    ];
    if let Some((row, text, column)) = first.into_iter().filter_map(|(r, t, c)| Some((r?, t, c))).min_by_key(|f| f.0) {
        let count = from
            .iter()
            .map(|c| &list.source.dict[*c])
            .chain(to.iter().map(|c| &list.target.dict[*c]))
            .collect::<HashSet<_>>()
            .len();
        let more = if count > 1 { format!("; {count} such nodes in all") } else { String::new() };
        let what = format!("the node {} is not among the node features{more}", quoted(text.get(row).unwrap_or("")));
        let e = BadInput::new(&list.name, what).row(list.rows.file_row(row)).column(column);
        return Err(e.remedy("give it features (in node,feature,value form a row with the value 0 will do), or remove its edges"));
    }
    for text in [&mut list.source, &mut list.target] {
        let new: Vec<u32> = text.dict.iter().map(|id| place[&**id]).collect();
        text.codes.iter_mut().for_each(|c| *c = new[*c as usize]);
    }
    Ok(())
}

fn view(list: &Raw, ids: &[Arc<str>], options: &GraphOptions) -> Result<View, BadInput> {
    let mut counts = EdgeCounts { rows: list.source.codes.len(), ..EdgeCounts::default() };
    // (from, to, row, weight), sorted by pair; rows keep their order, which is that of the sums.
    let mut edges: Vec<(u32, u32, usize, f64)> = Vec::with_capacity(counts.rows);
    for (row, (a, b)) in list.source.codes.iter().zip(&list.target.codes).enumerate() {
        let weight = list.weights.as_ref().map_or(1.0, |w| w[row]);
        if weight == 0.0 {
            counts.zero += 1;
        } else if a == b && options.drop_loops {
            counts.loops += 1;
        } else {
            edges.push((*a, *b, row, weight));
        }
    }
    edges.par_sort_unstable_by_key(|e| (e.0, e.1, e.2));
    let mut merged: Vec<(u32, u32, f64)> = Vec::with_capacity(edges.len());
    let mut last_row = 0;
    for (a, b, row, weight) in edges {
        match merged.last_mut().filter(|last| (last.0, last.1) == (a, b)) {
            None => merged.push((a, b, weight)),
            Some(_) if options.repeats == Repeats::Error => {
                let e = BadInput::new(&list.name, "both hold the same edge")
                    .row(list.rows.file_row(last_row))
                    .row(list.rows.file_row(row));
                return Err(e.remedy("say what repeated edges are: their sum or the largest"));
            }
            Some(last) => {
                counts.repeated += 1;
                last.2 = if options.repeats == Repeats::Sum { last.2 + weight } else { last.2.max(weight) };
            }
        }
        last_row = row;
    }
    if !options.directed {
        merged = undirected(merged, options.mirrored, &mut counts);
    }
    if let Some(edge) = merged.iter().find(|e| !e.2.is_finite()) {
        let (a, b) = (quoted(&ids[edge.0 as usize]), quoted(&ids[edge.1 as usize]));
        return Err(BadInput::new(&list.name, format!("the weights between {a} and {b} add up to more than a number can hold")));
    }
    counts.edges = merged.len();
    counts.negative = merged.iter().filter(|e| e.2 < 0.0).count();
    if !options.drop_loops {
        counts.loops = merged.iter().filter(|e| e.0 == e.1).count();
    }
    let mut linked = vec![false; ids.len()];
    for (a, b, _) in merged.iter().filter(|e| e.0 != e.1) {
        linked[*a as usize] = true;
        linked[*b as usize] = true;
    }
    counts.isolated = linked.iter().filter(|l| !**l).count();
    let graph = Graph::new(ids.len(), &merged, options.directed).map_err(|e| BadInput::new(&list.name, e.to_string()))?;
    Ok(View { name: list.name.clone(), graph, weighted: list.weights.is_some(), counts })
}

/// One edge for each pair, from the smaller node to the larger one. `edges` are sorted and hold no pair twice.
fn undirected(edges: Vec<(u32, u32, f64)>, mirrored: Mirrored, counts: &mut EdgeCounts) -> Vec<(u32, u32, f64)> {
    let mut turned: Vec<(u32, u32, bool, f64)> = edges.into_iter().map(|(a, b, w)| (a.min(b), a.max(b), a > b, w)).collect();
    turned.par_sort_unstable_by_key(|e| (e.0, e.1, e.2));
    let mut merged: Vec<(u32, u32, f64)> = Vec::with_capacity(turned.len());
    for (a, b, _, weight) in turned {
        match merged.last_mut().filter(|last| (last.0, last.1) == (a, b)) {
            None => merged.push((a, b, weight)),
            Some(last) => {
                counts.mirrored += 1;
                last.2 = if mirrored == Mirrored::Sum { last.2 + weight } else { last.2.max(weight) };
            }
        }
    }
    merged
}

#[cfg(test)]
#[path = "graph_tests.rs"]
mod tests;
