//! The condensed tree of HDBSCAN: how clusters lose their points as the density rises.

use super::style::{NOISE_COLOR, Panel, cluster_style, flat, label_if_free, luminance, name_of};
use crate::plot::axes::{Area, Frame};
use crate::plot::font::text_width;
use crate::plot::forecast::{footnotes, header};
use crate::plot::scene::{Anchor, Picture, Xy};
use crate::plot::style::{INK, LABEL, LABEL_SIZE, MARGIN, WHITE, elide};
use crate::plot::ticks::{value_count, value_label};
use crate::plot::{PlotError, WIDTH};
use std::collections::BTreeMap;

/// A row of the tree: at density `lambda` (one over the distance) `child` leaves `parent`, with so many points. Points are 0..n-1, clusters
/// n and above, the root is n. Infinite densities (points on one spot) are allowed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CondensedRow {
    pub parent: usize,
    pub child: usize,
    pub lambda: f64,
    pub size: usize,
}

const HEIGHT: f64 = 640.0;
/// Steps of a branch at most; its outline has no more detail than pixels.
const MOST_STEPS: usize = 300;

/// Draws the condensed tree: a branch for each cluster, as wide as it has points, upwards with rising density. Clusters that were selected
/// have their colours and names (`selected`: cluster and label), branches within them a tint of it, others are grey.
///
/// Branches are cut where all have lost 95 % of their points (single points may lie at densities far above), and the picture says so. Errors:
/// [`PlotError::Empty`] without a row, or if a row has no parent above it, a density that is negative or NaN. Cost O(rows log rows).
pub fn condensed_tree_chart(
    rows: &[CondensedRow],
    selected: &[(usize, i32)],
    names: &[String],
    title: &str,
) -> Result<Picture, PlotError> {
    let tree = Tree::new(rows)?;
    let n = tree.root;
    let top_lambda = tree.top();
    let mut picture = Picture::new(f64::from(WIDTH), HEIGHT, title);
    let top = header(&mut picture, title, "", &[]);
    let cut = tree.nodes.values().any(|b| b.losses.iter().any(|l| l.0 > top_lambda));
    let notes: Vec<String> = if cut {
        vec![format!("branches go on above {}; there each has lost 95 % of its points", value_label(top_lambda))]
    } else {
        Vec::new()
    };
    let footer = if notes.is_empty() { 0.0 } else { 22.0 };
    let cell = Area { x: MARGIN, y: top, w: f64::from(WIDTH) - 2.0 * MARGIN, h: HEIGHT - top - footer - MARGIN / 2.0 };
    let x = (-0.02 * n as f64, 1.02 * n as f64);
    let panel =
        Panel { cell, heading: "", x_name: "", y_name: "density (1 / distance)", x, y: (0.0, 1.06 * top_lambda), whole: false };
    let frame = panel.draw_y(&mut picture, 28.0);
    let about = format!("width of a branch: its points, {} in all", value_count(n));
    picture.text(
        (frame.area.x + frame.area.w / 2.0, frame.area.bottom() + 20.0),
        &about,
        LABEL_SIZE,
        false,
        LABEL,
        Anchor::Middle,
    );
    let label_of: BTreeMap<usize, i32> = selected.iter().copied().collect();
    // Parents have smaller numbers than their children, so one pass goes from the root outwards.
    let mut within: BTreeMap<usize, i32> = BTreeMap::new();
    let mut slots: BTreeMap<usize, f64> = BTreeMap::from([(n, 0.0)]);
    let mut tags: Vec<(i32, Vec<Xy>)> = Vec::new();
    for (id, branch) in &tree.nodes {
        let Some(left) = slots.get(id).copied() else { continue };
        let middle = left + branch.size as f64 / 2.0;
        let mut at = middle - branch.children.iter().map(|c| tree.size(*c)).sum::<usize>() as f64 / 2.0;
        for child in &branch.children {
            slots.insert(*child, at);
            at += tree.size(*child) as f64;
            if let Some(label) = label_of.get(id).or(within.get(id)).copied() {
                within.insert(*child, label);
            }
        }
        let ring = outline(branch, middle, top_lambda, &frame);
        let color = match (label_of.get(id), within.get(id)) {
            (Some(label), _) => cluster_style(*label).0,
            (None, Some(label)) => cluster_style(*label).0.tint(0.45),
            (None, None) => NOISE_COLOR.tint(0.7),
        };
        picture.area(ring.clone(), color, 1.0);
        if let Some(first) = ring.first().copied() {
            picture.line(ring.iter().copied().chain([first]).collect(), 0.8, WHITE, None);
        }
        if let Some(label) = label_of.get(id) {
            tags.push((*label, ring));
        }
    }
    for (label, ring) in tags {
        tag(&mut picture, &frame, &ring, label, names);
    }
    footnotes(&mut picture, &notes);
    Ok(picture)
}

/// The name of a branch: inside if it has room, else above.
fn tag(picture: &mut Picture, frame: &Frame, ring: &[Xy], label: i32, names: &[String]) {
    let name = elide(&name_of(label, names), LABEL_SIZE, true, 120.0);
    let (top, bottom) = ring.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |r, p| (r.0.min(p.1), r.1.max(p.1)));
    let x = ring.iter().map(|p| p.0).sum::<f64>() / ring.len().max(1) as f64;
    // The upper edge of a line of text a third of the way up; branches become narrower upwards.
    let baseline = bottom - (bottom - top) / 3.0 + 4.5;
    let half = ring.iter().filter(|p| p.1 <= baseline - 12.0).map(|p| (p.0 - x).abs()).fold(0.0, f64::max);
    if bottom - top >= 24.0 && text_width(&name, LABEL_SIZE, true) + 6.0 <= 2.0 * half {
        let ink = if luminance(cluster_style(label).0) < 140.0 { WHITE } else { INK };
        if label_if_free(picture, flat(name.clone(), (x, baseline), LABEL_SIZE, true, ink, Anchor::Middle), false) {
            return;
        }
    }
    label_if_free(picture, flat(name, (x, (top - 6.0).max(frame.area.y + 12.0)), LABEL_SIZE, true, INK, Anchor::Middle), true);
}

/// A branch from its birth upwards, narrower with every loss.
fn outline(branch: &Branch, middle: f64, top: f64, frame: &Frame) -> Vec<Xy> {
    let mut sides = vec![(branch.birth.min(top), branch.size)];
    let mut left = branch.size;
    for (lambda, size) in &branch.losses {
        left = left.saturating_sub(*size);
        if *lambda > top {
            break;
        }
        match sides.last_mut().filter(|s| s.0 == *lambda) {
            Some(last) => last.1 = left,
            None => sides.push((*lambda, left)),
        }
    }
    // The branch ends where its last points leave, or is cut.
    let end = branch.end(f64::INFINITY).min(top);
    sides.push((end, 0));
    if sides.len() > MOST_STEPS {
        let keep = super::style::spread(sides.len(), MOST_STEPS);
        sides = keep.into_iter().map(|i| sides[i]).chain(sides.last().copied()).collect();
    }
    let (mut up, mut down): (Vec<Xy>, Vec<Xy>) = (Vec::new(), Vec::new());
    for pair in sides.windows(2) {
        // Between two losses the width stays.
        let half = pair[0].1 as f64 / 2.0;
        for lambda in [pair[0].0, pair[1].0] {
            up.push((frame.px(middle - half), frame.py(lambda)));
            down.push((frame.px(middle + half), frame.py(lambda)));
        }
    }
    up.into_iter().chain(down.into_iter().rev()).collect()
}

/// One cluster of the tree.
#[derive(Debug, Default)]
struct Branch {
    /// Density at which it leaves its parent; 0 for the root.
    birth: f64,
    size: usize,
    /// Density and number of points, rising.
    losses: Vec<(f64, usize)>,
    children: Vec<usize>,
}

impl Branch {
    /// The density of the last loss that is not above `top`, or its birth.
    fn end(&self, top: f64) -> f64 {
        self.losses.iter().rev().map(|l| l.0).find(|l| *l <= top).unwrap_or(self.birth)
    }
}

struct Tree {
    root: usize,
    nodes: BTreeMap<usize, Branch>,
}

impl Tree {
    fn new(rows: &[CondensedRow]) -> Result<Tree, PlotError> {
        let Some(root) = rows.iter().map(|r| r.parent).min() else {
            return Err(PlotError::Empty("the condensed tree has no rows".into()));
        };
        let mut nodes: BTreeMap<usize, Branch> = BTreeMap::new();
        nodes.insert(root, Branch::default());
        for row in rows {
            let wrong =
                |what: &str| PlotError::Empty(format!("the condensed tree's row of {} and {} {what}", row.parent, row.child));
            if row.lambda.is_nan() || row.lambda < 0.0 {
                return Err(wrong(&format!("has the density {}", row.lambda)));
            }
            if row.child >= root {
                if row.child <= row.parent {
                    return Err(wrong("names a child that is not above its parent"));
                }
                if nodes.get(&row.child).is_some_and(|b| b.size > 0) {
                    return Err(wrong("names a cluster that has a parent already"));
                }
                let child = nodes.entry(row.child).or_default();
                (child.birth, child.size) = (row.lambda, row.size.max(1));
            }
            let parent = nodes.entry(row.parent).or_default();
            parent.losses.push((row.lambda, row.size));
            if row.child >= root {
                parent.children.push(row.child);
            }
        }
        for branch in nodes.values_mut() {
            branch.losses.sort_by(|a, b| a.0.total_cmp(&b.0));
            branch.children.sort_unstable();
        }
        if let Some(root) = nodes.get_mut(&root) {
            root.size = root.losses.iter().map(|l| l.1).sum();
        }
        match nodes.iter().find(|(id, branch)| **id != root && branch.size == 0) {
            Some((id, _)) => Err(PlotError::Empty(format!("the condensed tree's cluster {id} has no parent"))),
            None => Ok(Tree { root, nodes }),
        }
    }

    fn size(&self, id: usize) -> usize {
        self.nodes.get(&id).map_or(0, |b| b.size)
    }

    /// The density at which every branch has lost 95 % of its points; above 0 and finite.
    fn top(&self) -> f64 {
        let end = |branch: &Branch| {
            let mut lost = 0;
            for (lambda, size) in branch.losses.iter().filter(|l| l.0.is_finite()) {
                lost += size;
                if lost as f64 >= 0.95 * branch.size as f64 {
                    return *lambda;
                }
            }
            branch.end(f64::MAX)
        };
        let finite = |v: f64| if v.is_finite() { v } else { 0.0 };
        let top = self.nodes.values().map(|b| finite(end(b))).fold(0.0, f64::max);
        if top > 0.0 { top.min(f64::MAX / 4.0) } else { 1.0 }
    }
}
