//! What pictures of clusterings share: the look of a cluster, legends of markers, axes of any numbers.

use crate::plot::PlotError;
use crate::plot::axes::{Area, Frame, snap};
use crate::plot::font::text_width;
use crate::plot::scene::{Anchor, Label, Picture, Xy};
use crate::plot::style::{AXIS, GRID, INK, LABEL, LABEL_SIZE, MUTED, PANEL_TITLE_SIZE, Rgb, WHITE, elide, model_line};
use crate::plot::ticks::{Tick, number_ticks, value_count};
use std::collections::BTreeMap;

/// Points in no cluster.
pub const NOISE_COLOR: Rgb = Rgb(165, 165, 165);

/// The outline of a marker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    Disc,
    Square,
    Triangle,
    Diamond,
}

/// Colour and shape of the points of cluster `label`: six colours that people with any colour vision tell apart, each in four shapes, then
/// dark shades of all; from the 49th cluster on they come again. Noise is grey discs.
pub fn cluster_style(label: i32) -> (Rgb, Shape) {
    let Ok(i) = usize::try_from(label) else { return (NOISE_COLOR, Shape::Disc) };
    let color = model_line(i % 6).0;
    let shape = [Shape::Disc, Shape::Square, Shape::Triangle, Shape::Diamond][i / 6 % 4];
    let dark = Rgb(color.0 / 2, color.1 / 2, color.2 / 2);
    (if i / 24 % 2 == 1 { dark } else { color }, shape)
}

/// A marker of about the same ink for every shape.
pub fn marker(picture: &mut Picture, (x, y): Xy, r: f64, color: Rgb, shape: Shape) {
    match shape {
        Shape::Disc => picture.disc((x, y), r, color),
        Shape::Square => picture.rect(x - 0.89 * r, y - 0.89 * r, 1.78 * r, 1.78 * r, color),
        Shape::Triangle => {
            let (w, up, down) = (1.2 * r, 1.3 * r, 0.8 * r);
            picture.area(vec![(x, y - up), (x + w, y + down), (x - w, y + down)], color, 1.0);
        }
        Shape::Diamond => {
            let w = 1.28 * r;
            picture.area(vec![(x, y - w), (x + w, y), (x, y + w), (x - w, y)], color, 1.0);
        }
    }
}

/// The members of each cluster, by label; all negative labels are noise (-1).
pub fn members(labels: &[i32]) -> BTreeMap<i32, Vec<usize>> {
    let mut groups: BTreeMap<i32, Vec<usize>> = BTreeMap::new();
    for (i, label) in labels.iter().enumerate() {
        groups.entry((*label).max(-1)).or_default().push(i);
    }
    groups
}

/// What cluster `label` is called.
pub fn name_of(label: i32, names: &[String]) -> String {
    match usize::try_from(label) {
        Err(_) => "noise".to_owned(),
        Ok(i) => names.get(i).filter(|n| !n.trim().is_empty()).cloned().unwrap_or_else(|| label.to_string()),
    }
}

/// An error unless there are `expected` of them.
pub fn check_len(what: &str, found: usize, expected: usize) -> Result<(), PlotError> {
    if found == expected { Ok(()) } else { Err(PlotError::Length { what: what.to_owned(), found, expected }) }
}

const ROW: f64 = 20.0;
const ROWS: usize = 4;

/// Markers with names in rows from `at`, at most `width` wide and four rows; then it says how many are left out. Returns the height used.
pub fn marker_legend(picture: &mut Picture, at: Xy, width: f64, entries: &[(i32, String)]) -> f64 {
    let (mut x, mut row) = (0.0, 0);
    for (i, (label, name)) in entries.iter().enumerate() {
        let name = elide(name, LABEL_SIZE, false, (width / 2.0).clamp(60.0, 230.0));
        let needed = 16.0 + text_width(&name, LABEL_SIZE, false);
        let last = row + 1 == ROWS && i + 1 < entries.len();
        if x > 0.0 && x + needed > width - if last { 110.0 } else { 0.0 } {
            if row + 1 == ROWS {
                let more = format!("and {} more", entries.len() - i);
                picture.text((at.0 + x, at.1 + row as f64 * ROW + 14.0), &more, LABEL_SIZE, false, MUTED, Anchor::Start);
                break;
            }
            (x, row) = (0.0, row + 1);
        }
        let middle = at.1 + row as f64 * ROW + 9.5;
        let (color, shape) = cluster_style(*label);
        marker(picture, (at.0 + x + 6.0, middle), 4.6, color, shape);
        picture.text((at.0 + x + 16.0, middle + 4.5), &name, LABEL_SIZE, false, LABEL, Anchor::Start);
        x += needed + 18.0;
    }
    if entries.is_empty() { 0.0 } else { (row + 1) as f64 * ROW + 10.0 }
}

/// Legend entries: every cluster with its size, noise last.
pub fn sized_entries(groups: &BTreeMap<i32, Vec<usize>>, names: &[String]) -> Vec<(i32, String)> {
    let entry =
        |(label, members): (&i32, &Vec<usize>)| (*label, format!("{} ({})", name_of(*label, names), value_count(members.len())));
    let clusters = groups.iter().filter(|g| *g.0 >= 0).map(entry);
    clusters.chain(groups.iter().filter(|g| *g.0 < 0).map(entry)).collect()
}

/// Writes a label unless it would meet another or leave the picture. `halo` puts white behind it.
pub fn label_if_free(picture: &mut Picture, label: Label, halo: bool) -> bool {
    let (l, t, r, b) = label.bounds();
    let (w, h) = (f64::from(picture.width), f64::from(picture.height));
    let free = l >= 1.0 && t >= 1.0 && r <= w - 1.0 && b <= h - 1.0;
    let free = free
        && picture.labels().all(|o| {
            let (l2, t2, r2, b2) = o.bounds();
            r + 2.0 <= l2 || r2 + 2.0 <= l || b <= t2 || b2 <= t
        });
    if free {
        if halo {
            // Points below stay visible.
            let (l, r) = (l - 2.0, r + 2.0);
            picture.area(vec![(l, t), (r, t), (r, b), (l, b)], WHITE, 0.72);
        }
        picture.label(label);
    }
    free
}

/// A line of text that is not turned.
pub fn flat(text: impl Into<String>, (x, baseline): Xy, size: f64, bold: bool, color: Rgb, anchor: Anchor) -> Label {
    Label { text: text.into(), x, baseline, size, bold, color, anchor, turned: false }
}

/// A chart with any numbers along both axes.
pub struct Panel<'a> {
    /// All of its room, labels of axes too.
    pub cell: Area,
    /// Bold above it; may be empty.
    pub heading: &'a str,
    pub x_name: &'a str,
    pub y_name: &'a str,
    pub x: (f64, f64),
    pub y: (f64, f64),
    /// Only whole numbers along x.
    pub whole: bool,
}

impl Panel<'_> {
    /// Draws grid, labels and names, and gives the frame to draw in.
    pub fn draw(&self, picture: &mut Picture) -> Frame {
        let above = if self.heading.is_empty() && self.y_name.is_empty() { 8.0 } else { 26.0 };
        let below = if self.x_name.is_empty() { 24.0 } else { 46.0 };
        let frame = |left: f64| {
            let area =
                Area { x: self.cell.x + left, y: self.cell.y + above, w: self.cell.w - left, h: self.cell.h - above - below };
            Frame { area, x: self.x, y: self.y }
        };
        let frame = frame((y_label_width(&frame(60.0)) + 10.0).min(self.cell.w / 2.0));
        let at = self.cell.y + 14.0;
        let heading = elide(self.heading, PANEL_TITLE_SIZE, true, self.cell.w);
        picture.text((self.cell.x, at), &heading, PANEL_TITLE_SIZE, true, INK, Anchor::Start);
        let used = if heading.trim().is_empty() { 0.0 } else { text_width(&heading, PANEL_TITLE_SIZE, true) + 12.0 };
        if self.cell.w - used > 40.0 {
            let name = elide(self.y_name, LABEL_SIZE, false, self.cell.w - used);
            picture.text((self.cell.x + used, at), &name, LABEL_SIZE, false, LABEL, Anchor::Start);
        }
        y_axis(picture, &frame);
        self.x_axis(picture, &frame);
        frame
    }

    /// As [`draw`](Self::draw) without a scale along y: what is drawn there has its own labels. No heading either.
    pub fn draw_x(&self, picture: &mut Picture) -> Frame {
        let area = Area { y: self.cell.y + 4.0, h: self.cell.h - 50.0, ..self.cell };
        let frame = Frame { area, x: self.x, y: self.y };
        self.x_axis(picture, &frame);
        frame
    }

    /// As [`draw`](Self::draw) without a scale along x, for which `below` pixels are kept. No heading either.
    pub fn draw_y(&self, picture: &mut Picture, below: f64) -> Frame {
        let frame = |left: f64| {
            let area =
                Area { x: self.cell.x + left, y: self.cell.y + 26.0, w: self.cell.w - left, h: self.cell.h - 26.0 - below };
            Frame { area, x: self.x, y: self.y }
        };
        let frame = frame((y_label_width(&frame(60.0)) + 10.0).min(self.cell.w / 2.0));
        let name = elide(self.y_name, LABEL_SIZE, false, self.cell.w);
        picture.text((self.cell.x, self.cell.y + 14.0), &name, LABEL_SIZE, false, LABEL, Anchor::Start);
        y_axis(picture, &frame);
        let base = snap(frame.area.bottom());
        picture.line(vec![(frame.area.x, base), (frame.area.right(), base)], 1.0, AXIS, None);
        frame
    }

    fn x_axis(&self, picture: &mut Picture, frame: &Frame) {
        // Labels may reach a little into the gap to what is beside.
        x_axis(picture, frame, (self.cell.x - 12.0, self.cell.right() + 12.0), self.whole);
        let middle = frame.area.x + frame.area.w / 2.0;
        let name = elide(self.x_name, LABEL_SIZE, false, frame.area.w);
        picture.text((middle, frame.area.bottom() + 40.0), &name, LABEL_SIZE, false, LABEL, Anchor::Middle);
    }
}

/// Marks along y: closer than those of a time series, as panels are small.
fn y_ticks(frame: &Frame) -> Vec<Tick> {
    let most = (frame.area.h / 34.0).clamp(2.0, 10.0) as usize;
    let mut ticks = number_ticks(frame.y.0, frame.y.1, most);
    ticks.retain(|t| t.at >= frame.y.0 && t.at <= frame.y.1);
    ticks
}

fn y_label_width(frame: &Frame) -> f64 {
    y_ticks(frame).iter().map(|t| text_width(&t.label, LABEL_SIZE, false)).fold(0.0, f64::max)
}

/// Grid and labels along y.
fn y_axis(picture: &mut Picture, frame: &Frame) {
    for tick in y_ticks(frame) {
        let y = snap(frame.py(tick.at));
        picture.line(vec![(frame.area.x, y), (frame.area.right(), y)], 1.0, GRID, None);
        picture.text((frame.area.x - 8.0, y + 0.36 * LABEL_SIZE), &tick.label, LABEL_SIZE, false, LABEL, Anchor::End);
    }
}

/// Grid and labels along x; `bounds` are the ends that no label may pass.
fn x_axis(picture: &mut Picture, frame: &Frame, bounds: (f64, f64), whole: bool) {
    let base = frame.area.bottom();
    let left_of = |tick: &Tick| {
        let width = text_width(&tick.label, LABEL_SIZE, false);
        ((frame.px(tick.at) - width / 2.0).min(bounds.1 - width).max(bounds.0), width)
    };
    let fits = |ticks: &[Tick]| {
        let mut free = f64::NEG_INFINITY;
        ticks.iter().all(|tick| {
            let (left, width) = left_of(tick);
            let fine = left >= free;
            free = left + width + 12.0;
            fine
        })
    };
    let inside = |most: usize| {
        let ticks = if whole { crate::plot::ticks::integer_ticks } else { number_ticks };
        let mut ticks = ticks(frame.x.0, frame.x.1, most);
        ticks.retain(|t| t.at >= frame.x.0 && t.at <= frame.x.1);
        ticks
    };
    let ticks = (1..=14).rev().map(inside).find(|ticks| fits(ticks)).unwrap_or_default();
    for tick in ticks {
        let x = snap(frame.px(tick.at));
        picture.line(vec![(x, frame.area.y), (x, base)], 1.0, GRID, None);
        picture.line(vec![(x, base), (x, base + 4.0)], 1.0, AXIS, None);
        picture.text((left_of(&tick).0, base + 19.0), &tick.label, LABEL_SIZE, false, LABEL, Anchor::Start);
    }
    picture.line(vec![(frame.area.x, snap(base)), (frame.area.right(), snap(base))], 1.0, AXIS, None);
}

/// The part of a polygon inside a rectangle (Sutherland & Hodgman 1974).
pub fn clip(ring: &[Xy], area: &Area) -> Vec<Xy> {
    // Each side as (coordinate, bound, sign): inside is sign * (coordinate - bound) >= 0.
    let sides = [(0, area.x, 1.0), (0, area.right(), -1.0), (1, area.y, 1.0), (1, area.bottom(), -1.0)];
    let mut ring = ring.to_vec();
    for (axis, bound, sign) in sides {
        let of = |p: Xy| if axis == 0 { p.0 } else { p.1 };
        let depth = |p: Xy| sign * (of(p) - bound);
        let mut kept = Vec::with_capacity(ring.len() + 4);
        for (i, &from) in ring.iter().enumerate() {
            let to = ring[(i + 1) % ring.len()];
            let (a, b) = (depth(from), depth(to));
            if a >= 0.0 {
                kept.push(from);
            }
            if (a >= 0.0) != (b >= 0.0) {
                let t = a / (a - b);
                kept.push((from.0 + (to.0 - from.0) * t, from.1 + (to.1 - from.1) * t));
            }
        }
        ring = kept;
    }
    ring
}

/// How bright a colour looks, 0 to 255 (ITU-R BT.601).
pub fn luminance(Rgb(r, g, b): Rgb) -> f64 {
    0.299 * f64::from(r) + 0.587 * f64::from(g) + 0.114 * f64::from(b)
}

/// `1 point`, `2,000 points`.
pub fn counted(n: usize, what: &str) -> String {
    if n == 1 { format!("1 {what}") } else { format!("{} {what}s", value_count(n)) }
}

/// At most `most` of `n` positions, evenly spread: all of them if they are few enough.
pub fn spread(n: usize, most: usize) -> Vec<usize> {
    if n <= most { (0..n).collect() } else { (0..most).map(|i| (i as u128 * n as u128 / most as u128) as usize).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_48_clusters_look_different() {
        let all: Vec<_> = (0..48).map(cluster_style).collect();
        for (i, a) in all.iter().enumerate() {
            assert!(all[..i].iter().all(|b| a != b) && a.0 != NOISE_COLOR, "cluster {i}");
        }
        assert_eq!((cluster_style(-1), cluster_style(i32::MIN)), ((NOISE_COLOR, Shape::Disc), (NOISE_COLOR, Shape::Disc)));
    }

    #[test]
    fn polygons_are_cut_on_all_sides() {
        let area = Area { x: 0.0, y: 0.0, w: 2.0, h: 2.0 };
        let ring = clip(&[(-1.0, 1.0), (1.0, -1.0), (3.0, 1.0), (1.0, 3.0)], &area);
        assert!(ring.iter().all(|p| (-1e-12..=2.0 + 1e-12).contains(&p.0) && (-1e-12..=2.0 + 1e-12).contains(&p.1)));
        // The square is wholly inside the diamond.
        let turn = |ring: &[Xy]| {
            (0..ring.len()).map(|i| (ring[i], ring[(i + 1) % ring.len()])).map(|(a, b)| a.0 * b.1 - a.1 * b.0).sum::<f64>()
        };
        assert!((turn(&ring).abs() / 2.0 - 4.0).abs() < 1e-12);
        assert!(clip(&[(5.0, 5.0), (6.0, 5.0), (5.0, 6.0)], &area).is_empty());
    }

    #[test]
    fn positions_are_spread_evenly() {
        assert_eq!(spread(5, 9), [0, 1, 2, 3, 4]);
        assert_eq!(spread(10, 5), [0, 2, 4, 6, 8]);
        assert_eq!(spread(usize::MAX, 3).len(), 3);
    }
}
