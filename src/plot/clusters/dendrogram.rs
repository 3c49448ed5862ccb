//! The tree of merges of an agglomerative clustering.

use super::style::{Panel, check_len, cluster_style, flat, label_if_free};
use crate::plot::axes::{Area, CUTOFF, CUTOFF_DASH, Frame, Key, extent, snap};
use crate::plot::font::text_width;
use crate::plot::forecast::{footnotes, header};
use crate::plot::scene::{Anchor, Label, Picture, Xy};
use crate::plot::style::{LABEL, MARGIN, MUTED, NOTE_SIZE, Rgb, elide};
use crate::plot::ticks::{value_count, value_label};
use crate::plot::{PlotError, WIDTH};

/// How a tree is drawn.
#[derive(Clone, Debug, PartialEq)]
pub struct DendrogramOptions {
    pub title: String,
    /// At most so many leaves; below them branches are drawn as one leaf with their size in parentheses.
    pub leaves: usize,
    /// Names of the points; their numbers where there are none.
    pub names: Vec<String>,
    /// Labels of the points: a branch of a single cluster has its colour.
    pub labels: Option<Vec<i32>>,
    /// Where the tree was cut.
    pub cut: Option<f64>,
}

impl Default for DendrogramOptions {
    fn default() -> Self {
        Self { title: String::new(), leaves: 50, names: Vec::new(), labels: None, cut: None }
    }
}

const HEIGHT: f64 = 560.0;
/// Branches of several clusters.
const MIXED: Rgb = Rgb(90, 90, 90);
const LONGEST: f64 = 120.0;

/// Draws a dendrogram from scipy's linkage matrix: row i joins the clusters `z[i][0]` and `z[i][1]` (points are 0..n-1, row i makes n + i) at
/// height `z[i][2]`. The first of a row is to the left. Only the last merges are drawn where there are more than `leaves` points.
///
/// Errors: [`PlotError::Empty`] if a row names a cluster that does not exist or is taken already, or a height is not finite;
/// [`PlotError::Length`] if names or labels are not one a point. Cost: linear.
pub fn dendrogram_chart(z: &[[f64; 4]], options: &DendrogramOptions) -> Result<Picture, PlotError> {
    let n = z.len() + 1;
    if !options.names.is_empty() {
        check_len("names of the points", options.names.len(), n)?;
    }
    if let Some(labels) = &options.labels {
        check_len("labels", labels.len(), n)?;
    }
    let tree = Tree::new(z, options.labels.as_deref())?;
    // Nodes whose children are drawn: the last merges.
    let leaves = options.leaves.clamp(2, 400).min(n);
    let first = 2 * n - leaves;
    let order = tree.order(first);
    let mut picture = Picture::new(f64::from(WIDTH), HEIGHT, &options.title);
    let cut = options.cut.filter(|c| c.is_finite());
    let entries: Vec<_> = cut
        .iter()
        .map(|c| {
            (Key::Line { color: CUTOFF, width: 1.4, dash: Some(CUTOFF_DASH), dots: false }, format!("cut at {}", value_label(*c)))
        })
        .collect();
    let top = header(&mut picture, &options.title, "", &entries);
    let name = |node: usize| {
        if node >= n {
            return format!("({})", value_count(tree.size[node]));
        }
        options.names.get(node).cloned().unwrap_or_else(|| node.to_string())
    };
    let texts: Vec<String> = order.iter().map(|node| elide(&name(*node), NOTE_SIZE, false, LONGEST)).collect();
    let longest = texts.iter().map(|t| text_width(t, NOTE_SIZE, false)).fold(0.0, f64::max);
    let whole = f64::from(WIDTH) - 2.0 * MARGIN;
    let turned = longest + 8.0 > (whole - 70.0) / order.len() as f64;
    let below = if turned { longest + 14.0 } else { 24.0 };
    let mut notes = Vec::new();
    if leaves < n {
        notes.push(format!(
            "the last {} of {} merges; numbers in parentheses are sizes of branches",
            value_count(leaves - 1),
            value_count(n - 1)
        ));
    }
    let footer = if notes.is_empty() { 0.0 } else { 22.0 };
    let (lo, hi) = extent(z[z.len() - (leaves - 1).min(z.len())..].iter().map(|r| r[2]).chain(cut)).unwrap_or((0.0, 1.0));
    // Heights are distances; only centroid linkage could go below its children, and nothing goes below zero but by the user's own hand.
    let span = (hi.max(0.0) / 2.0 - lo.min(0.0) / 2.0) * 2.0;
    let span = if span > 0.0 && span.is_finite() { span } else { 1.0 };
    let y = (if lo < 0.0 { lo - 0.05 * span } else { 0.0 }, hi.max(0.0) + 0.04 * span);
    let cell = Area { x: MARGIN, y: top, w: whole, h: HEIGHT.max(top + 360.0) - top - footer - MARGIN / 2.0 };
    picture.height = HEIGHT.max(top + 360.0) as u32;
    let frame = Panel {
        cell,
        heading: "",
        x_name: "",
        y_name: "height of the merge",
        x: (-0.5, order.len() as f64 - 0.5),
        y,
        whole: false,
    }
    .draw_y(&mut picture, below);
    let base = frame.area.bottom();
    let mut place = vec![f64::NAN; 2 * n - 1];
    for (slot, node) in order.iter().enumerate() {
        place[*node] = slot as f64;
    }
    for node in first..2 * n - 1 {
        let [a, b] = tree.children[node - n];
        place[node] = (place[a] + place[b]) / 2.0;
    }
    // From the root down, so that coloured branches lie over grey ones.
    for node in (first..2 * n - 1).rev() {
        draw_merge(&mut picture, &frame, &tree, node, &place, (n, first));
    }
    if order.len() == 1 {
        picture.line(vec![(frame.px(0.0), base), (frame.px(0.0), base - 40.0)], 1.8, tree.color(0), None);
    }
    if let Some(c) = cut {
        let py = snap(frame.py(c));
        picture.line(vec![(frame.area.x, py), (frame.area.right(), py)], 1.4, CUTOFF, Some(CUTOFF_DASH));
    }
    for (slot, text) in texts.into_iter().enumerate() {
        let x = frame.px(slot as f64);
        let node = order[slot];
        let color = if node < n { LABEL } else { MUTED };
        if turned {
            let label = Label {
                text,
                x: x + 0.26 * NOTE_SIZE,
                baseline: base + 6.0,
                size: NOTE_SIZE,
                bold: false,
                color,
                anchor: Anchor::End,
                turned: true,
            };
            label_if_free(&mut picture, label, false);
        } else {
            label_if_free(&mut picture, flat(text, (x, base + 17.0), NOTE_SIZE, false, color, Anchor::Middle), false);
        }
    }
    footnotes(&mut picture, &notes);
    Ok(picture)
}

/// A merge as a bracket, each leg in the colour of its branch.
fn draw_merge(picture: &mut Picture, frame: &Frame, tree: &Tree, node: usize, place: &[f64], (n, first): (usize, usize)) {
    let top = frame.py(tree.height[node - n]);
    let leg = |child: usize| {
        // A branch that is drawn as one leaf stands on the axis.
        let foot = if child >= first { frame.py(tree.height[child - n]) } else { frame.area.bottom() };
        (frame.px(place[child]), foot)
    };
    let [a, b] = tree.children[node - n];
    let ((xa, ya), (xb, yb)) = (leg(a), leg(b));
    let middle = (xa + xb) / 2.0;
    let own = tree.color(node);
    let lines: [(Vec<Xy>, Rgb); 2] = if own == MIXED {
        [(vec![(xa, ya), (xa, top)], tree.color(a)), (vec![(xb, yb), (xb, top)], tree.color(b))]
    } else {
        [(vec![(xa, ya), (xa, top), (middle, top)], own), (vec![(xb, yb), (xb, top), (middle, top)], own)]
    };
    if own == MIXED {
        picture.line(vec![(xa, top), (xb, top)], 1.6, MIXED, None);
    }
    for (points, color) in lines {
        picture.line(points, 1.6, color, None);
    }
}

/// A linkage matrix, checked.
struct Tree {
    n: usize,
    /// Children of cluster n + i.
    children: Vec<[usize; 2]>,
    height: Vec<f64>,
    /// Points of each node.
    size: Vec<usize>,
    /// The cluster of all points of a node, if they have one in common and it is known.
    label: Vec<Option<i32>>,
}

impl Tree {
    fn new(z: &[[f64; 4]], labels: Option<&[i32]>) -> Result<Tree, PlotError> {
        let n = z.len() + 1;
        let mut tree = Tree {
            n,
            children: Vec::with_capacity(z.len()),
            height: Vec::with_capacity(z.len()),
            size: vec![1; n],
            label: (0..n).map(|i| labels.map(|l| l[i].max(-1))).collect(),
        };
        let mut taken = vec![false; 2 * n - 1];
        for (i, row) in z.iter().enumerate() {
            let node = |v: f64| (v >= 0.0 && v < (n + i) as f64 && v.fract() == 0.0).then_some(v as usize);
            let wrong = |what: &str| PlotError::Empty(format!("row {i} of the linkage {what}"));
            let (Some(a), Some(b)) = (node(row[0]), node(row[1])) else {
                return Err(wrong(&format!("joins {} and {}, expected clusters below {}", row[0], row[1], n + i)));
            };
            if a == b || taken[a] || taken[b] {
                return Err(wrong(&format!("joins {a} and {b}, of which one is part of another cluster already")));
            }
            if !row[2].is_finite() {
                return Err(wrong(&format!("has the height {}", row[2])));
            }
            (taken[a], taken[b]) = (true, true);
            tree.children.push([a, b]);
            tree.height.push(row[2]);
            tree.size.push(tree.size[a] + tree.size[b]);
            tree.label.push(tree.label[a].filter(|l| Some(*l) == tree.label[b]));
        }
        Ok(tree)
    }

    /// Nodes that are drawn as leaves, from left to right; nodes from `first` on are drawn as merges.
    fn order(&self, first: usize) -> Vec<usize> {
        let (mut order, mut stack) = (Vec::new(), vec![2 * self.n - 2]);
        while let Some(node) = stack.pop() {
            if node >= first {
                let [a, b] = self.children[node - self.n];
                stack.extend([b, a]);
            } else {
                order.push(node);
            }
        }
        order
    }

    fn color(&self, node: usize) -> Rgb {
        self.label[node].map_or(MIXED, |l| cluster_style(l).0)
    }
}
