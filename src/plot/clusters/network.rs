//! A small graph with its clusters.

use super::layout::layout;
use super::style::{
    check_len, cluster_style, counted, flat, label_if_free, luminance, marker, marker_legend, members, sized_entries,
};
use crate::plot::axes::Area;
use crate::plot::font::text_width;
use crate::plot::forecast::{footnotes, header};
use crate::plot::scene::{Anchor, Picture, Xy};
use crate::plot::style::{INK, MARGIN, Rgb, WHITE, elide};
use crate::plot::ticks::value_count;
use crate::plot::{PlotError, WIDTH};

/// How a graph is drawn.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NetworkOptions {
    pub title: String,
    /// Names of the nodes; their numbers where there are none.
    pub nodes: Vec<String>,
    /// Names of the clusters by label.
    pub names: Vec<String>,
    /// Whether edges have arrows.
    pub directed: bool,
    /// Another seed gives another picture of the same graph.
    pub seed: u64,
}

/// Beyond, edges hide everything and forces take too long.
pub const MOST_NODES: usize = 500;
const HEIGHT: f64 = 760.0;
const EDGE: Rgb = Rgb(196, 196, 196);
/// Nodes have names up to here.
const MOST_NAMES: usize = 120;

/// Draws a graph of at most 500 nodes; edges within a cluster have a tint of its colour, heavier ones are wider. Loops and names without room are left
/// out, and the picture says so.
///
/// Errors: [`PlotError::Empty`] without nodes, for more than 500, or for an edge to a node that does not exist; [`PlotError::Length`] if
/// labels or names are not one a node. Cost O(n²) times 500.
pub fn network_chart(
    n: usize,
    edges: &[(u32, u32, f64)],
    labels: &[i32],
    options: &NetworkOptions,
) -> Result<Picture, PlotError> {
    check_len("labels", labels.len(), n)?;
    if !options.nodes.is_empty() {
        check_len("names of the nodes", options.nodes.len(), n)?;
    }
    if n == 0 {
        return Err(PlotError::Empty("the graph has no nodes".into()));
    }
    if n > MOST_NODES {
        let text = format!("the graph has {} nodes; graphs of at most {MOST_NODES} can be drawn", value_count(n));
        return Err(PlotError::Empty(text));
    }
    if let Some(e) = edges.iter().find(|e| e.0 as usize >= n || e.1 as usize >= n) {
        return Err(PlotError::Empty(format!("an edge joins {} and {} of {n} nodes", e.0, e.1)));
    }
    let groups = members(labels);
    let mut picture = Picture::new(f64::from(WIDTH), HEIGHT, &options.title);
    let top = header(&mut picture, &options.title, "", &[]);
    let whole = f64::from(WIDTH) - 2.0 * MARGIN;
    let top = top + marker_legend(&mut picture, (MARGIN, top), whole, &sized_entries(&groups, &options.names));
    let loops = edges.iter().filter(|e| e.0 == e.1).count();
    let mut notes: Vec<String> = if loops > 0 { vec![format!("{} not drawn", counted(loops, "loop"))] } else { Vec::new() };
    let r = match n {
        0..=40 => 12.0,
        41..=120 => 8.5,
        121..=250 => 6.0,
        _ => 4.5,
    };
    // Names may turn out to have no room.
    let footer = if notes.is_empty() && n > MOST_NAMES { 0.0 } else { 20.0 };
    picture.height = HEIGHT.max(top + 560.0) as u32;
    let h = f64::from(picture.height) - top - MARGIN - footer;
    let area = Area { x: MARGIN + r + 30.0, y: top + r + 6.0, w: whole - 2.0 * r - 60.0, h: h - 2.0 * r - 16.0 };
    let places = layout(n, edges, options.seed);
    // The layout is at most as high as it is wide: stretched to what the picture has, but never more than by a half.
    let reach = places.iter().map(|p| p.1.abs()).fold(0.0, f64::max);
    let (sx, sy) = (area.w / 2.0, area.h / 2.0);
    let sy = if reach > 0.0 { (sy / reach).min(1.5 * sx) } else { sy };
    let sx = sx.min(1.5 * sy);
    let middle = (area.x + area.w / 2.0, area.y + area.h / 2.0);
    let at: Vec<Xy> = places.iter().map(|p| (middle.0 + sx * p.0, middle.1 + sy * p.1)).collect();
    draw_edges(&mut picture, edges, labels, &at, r, options.directed);
    for (i, p) in at.iter().enumerate() {
        let (color, shape) = cluster_style(labels[i]);
        marker(&mut picture, *p, r + 1.2, WHITE, shape);
        marker(&mut picture, *p, r, color, shape);
    }
    if n <= MOST_NAMES {
        let mut nameless = 0;
        let size = if r > 10.0 { 11.0 } else { 10.0 };
        for (i, p) in at.iter().enumerate() {
            let name = options.nodes.get(i).cloned().unwrap_or_else(|| i.to_string());
            let color = cluster_style(labels[i]).0;
            if text_width(&name, size, false) <= 1.6 * r {
                let ink = if luminance(color) < 150.0 { WHITE } else { INK };
                let label = flat(name, (p.0, p.1 + 0.36 * size), size, false, ink, Anchor::Middle);
                nameless += usize::from(!label_if_free(&mut picture, label, false));
                continue;
            }
            // Right, left, below, above: the first that is free and hides no node.
            let name = elide(&name, size, false, 130.0);
            let ways = [
                ((p.0 + r + 3.0, p.1 + 0.36 * size), Anchor::Start),
                ((p.0 - r - 3.0, p.1 + 0.36 * size), Anchor::End),
                ((p.0, p.1 + r + size), Anchor::Middle),
                ((p.0, p.1 - r - 3.0), Anchor::Middle),
            ];
            let written = ways.into_iter().any(|(place, anchor)| {
                let label = flat(name.clone(), place, size, false, INK, anchor);
                let (l, t, right, b) = label.bounds();
                let hides =
                    at.iter().enumerate().any(|(j, q)| j != i && q.0 + r > l && q.0 - r < right && q.1 + r > t && q.1 - r < b);
                !hides && label_if_free(&mut picture, label, false)
            });
            nameless += usize::from(!written);
        }
        if nameless > 0 {
            notes.push(format!("no room for {}", counted(nameless, "name")));
        }
    }
    footnotes(&mut picture, &notes);
    Ok(picture)
}

fn draw_edges(picture: &mut Picture, edges: &[(u32, u32, f64)], labels: &[i32], at: &[Xy], r: f64, directed: bool) {
    let largest = edges.iter().map(|e| e.2.abs()).filter(|w| w.is_finite()).fold(0.0, f64::max);
    let smallest = edges.iter().map(|e| e.2.abs()).filter(|w| w.is_finite()).fold(f64::INFINITY, f64::min);
    // Many edges are thin ones.
    let base: f64 = match edges.len() {
        0..=300 => 1.4,
        301..=1500 => 1.0,
        _ => 0.6,
    };
    for same in [false, true] {
        for (a, b, w) in edges.iter().filter(|e| e.0 != e.1) {
            let (a, b) = (*a as usize, *b as usize);
            if (labels[a] == labels[b] && labels[a] >= 0) != same {
                continue;
            }
            let share = if largest > smallest && w.is_finite() { (w.abs() - smallest) / (largest - smallest) } else { 0.3 };
            let width = base * (0.6 + 1.6 * share.clamp(0.0, 1.0));
            let color = if same { cluster_style(labels[a]).0.tint(0.5) } else { EDGE };
            let (p, q) = (at[a], at[b]);
            picture.line(vec![p, q], width, color, None);
            let length = (q.0 - p.0).hypot(q.1 - p.1);
            if directed && length > 2.0 * r + 8.0 {
                let (ux, uy) = ((q.0 - p.0) / length, (q.1 - p.1) / length);
                let (size, tip) = (3.0 + 2.0 * width, (q.0 - ux * (r + 2.0), q.1 - uy * (r + 2.0)));
                let foot = (tip.0 - ux * size, tip.1 - uy * size);
                let side = (0.45 * size * -uy, 0.45 * size * ux);
                picture.area(vec![tip, (foot.0 + side.0, foot.1 + side.1), (foot.0 - side.0, foot.1 - side.1)], color, 1.0);
            }
        }
    }
}
