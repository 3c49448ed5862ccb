//! The columns of the factors: a panel for each mode, a colour for each component.

use super::{MOST_COMPONENTS, SliceLabels, number_axes};
use crate::plot::PlotError;
use crate::plot::axes::{Area, Frame, Key, TimeKind, extent, padded, snap, x_range};
use crate::plot::forecast::{footnotes, header};
use crate::plot::scene::{Anchor, Picture, Xy};
use crate::plot::style::{AXIS, INK, MARGIN, PANEL_TITLE_SIZE, elide, model_bar, model_line};

/// The factor of one mode.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FactorPanel {
    /// Name of the mode.
    pub title: String,
    /// Labels of its slices, if they have any.
    pub labels: Option<Vec<String>>,
    /// Where slices stand on a continuous mode.
    pub positions: Option<Vec<f64>>,
    /// One column a component, one number a slice; a number that is not finite is missing.
    pub columns: Vec<Vec<f64>>,
}

/// Modes with at most so many slices are drawn as bars, others as lines.
const MOST_BARS: usize = 24;
/// Thinner bars are no bars.
const THINNEST: f64 = 2.0;
/// The picture says how many modes it leaves out.
const MOST_MODES: usize = 12;

/// Draws the factors: lines where a mode has more than 24 slices or continuous positions, grouped bars where it has fewer. The legend
/// names components as the tables do: `c0`, `c1`, ….
///
/// At most 12 modes and 24 components are drawn, and the picture says what it leaves out. Errors: [`PlotError::Empty`] without a finite
/// number, [`PlotError::Length`] if columns, labels or positions of a mode differ in length. Cost: linear.
pub fn factor_chart(panels: &[FactorPanel], title: &str) -> Result<Picture, PlotError> {
    for panel in panels {
        let rows = panel.rows();
        let lengths = panel.columns.iter().map(Vec::len).chain(panel.labels.iter().map(Vec::len));
        if let Some(found) = lengths.chain(panel.positions.iter().map(Vec::len)).find(|n| *n != rows) {
            return Err(PlotError::Length { what: format!("factor of mode {:?}", panel.title), found, expected: rows });
        }
    }
    let finite = panels.iter().flat_map(|p| &p.columns).flatten().any(|v| v.is_finite());
    if !finite {
        return Err(PlotError::Empty("no factor has a finite number".into()));
    }
    let shown = &panels[..panels.len().min(MOST_MODES)];
    let rank = shown.iter().map(|p| p.columns.len()).max().unwrap_or(0);
    let components = rank.min(MOST_COMPONENTS);
    let columns = match shown.len() {
        n @ 1..=3 => n,
        4 => 2,
        _ => 3,
    };
    let width = [1000.0, 1000.0, 1000.0, 1200.0][columns.min(3)];
    let mut picture = Picture::new(width, 0.0, title);
    let entry = |r: usize| {
        let (color, dash) = model_line(r);
        (Key::Line { color, width: 2.0, dash, dots: false }, format!("c{r}"))
    };
    let entries: Vec<_> = (0..components).map(entry).collect();
    let top = header(&mut picture, title, "", &entries);
    let mut notes = Vec::new();
    if shown.len() < panels.len() {
        notes.push(format!("the first {} of {} modes", shown.len(), panels.len()));
    }
    if components < rank {
        notes.push(format!("the first {components} of {rank} components"));
    }
    let footer = if notes.is_empty() { MARGIN / 2.0 } else { 24.0 + MARGIN / 2.0 };
    let gap = 26.0;
    let cell_w = (width - 2.0 * MARGIN - gap * (columns as f64 - 1.0)) / columns as f64;
    let mut y = top;
    let plot_h = if shown.len() <= columns { 340.0 } else { 230.0 };
    for row in shown.chunks(columns) {
        let ranges: Vec<Ranges> = row.iter().map(|p| Ranges::new(p, components)).collect();
        let frame = |i: usize, left: f64| {
            let x = MARGIN + i as f64 * (cell_w + gap);
            Frame { area: Area { x: x + left, y: y + 28.0, w: cell_w - left, h: plot_h }, x: ranges[i].x, y: ranges[i].y }
        };
        let frames: Vec<Frame> = (0..row.len()).map(|i| frame(i, frame(i, 60.0).y_label_width() + 10.0)).collect();
        let below = row.iter().zip(&frames).map(|(p, f)| p.below(f)).fold(24.0, f64::max);
        for (i, (panel, frame)) in row.iter().zip(&frames).enumerate() {
            let left = MARGIN + i as f64 * (cell_w + gap);
            let name = elide(panel.title.trim(), PANEL_TITLE_SIZE, true, cell_w);
            picture.text((left, y + 14.0), &name, PANEL_TITLE_SIZE, true, INK, Anchor::Start);
            panel.draw(&mut picture, frame, components, (left - gap / 3.0, left + cell_w + gap / 3.0));
        }
        y += 28.0 + plot_h + below + 12.0;
    }
    picture.height = (y + footer).ceil() as u32;
    footnotes(&mut picture, &notes);
    Ok(picture)
}

/// Ranges of both axes.
struct Ranges {
    x: (f64, f64),
    y: (f64, f64),
}

impl Ranges {
    fn new(panel: &FactorPanel, components: usize) -> Ranges {
        let shown = panel.columns.iter().take(components).flatten().copied();
        let (lo, hi) = extent(shown).unwrap_or((0.0, 1.0));
        // Zero belongs to every factor: a component that is not there is zero.
        let (low, high) = padded((lo.min(0.0), hi.max(0.0)), 0.05);
        let y = (if lo >= 0.0 { 0.0 } else { low }, if hi <= 0.0 { 0.0 } else { high });
        let y = if y.0 < y.1 { y } else { (low, high) };
        let x = match &panel.positions {
            Some(p) => x_range(extent(p.iter().copied()).unwrap_or((0.0, 1.0)), 1.0),
            None if panel.is_bars() || panel.labels.is_some() => (-0.5, panel.rows().max(1) as f64 - 0.5),
            None => x_range((0.0, panel.rows().max(1) as f64 - 1.0), 1.0),
        };
        Ranges { x, y }
    }
}

impl FactorPanel {
    fn rows(&self) -> usize {
        self.columns.first().map_or(0, Vec::len)
    }

    fn is_bars(&self) -> bool {
        self.positions.is_none() && self.rows() <= MOST_BARS
    }

    fn slot(&self, frame: &Frame) -> f64 {
        frame.area.w / self.rows().max(1) as f64
    }

    /// Pixels below the frame.
    fn below(&self, frame: &Frame) -> f64 {
        match (&self.labels, &self.positions) {
            (Some(labels), None) => SliceLabels::new(labels, self.slot(frame)).height(),
            _ => 24.0,
        }
    }

    fn draw(&self, picture: &mut Picture, frame: &Frame, components: usize, bounds: (f64, f64)) {
        match (&self.labels, &self.positions) {
            (_, Some(_)) => number_axes(picture, frame, bounds),
            (Some(labels), None) => {
                frame.value_grid(picture);
                SliceLabels::new(labels, self.slot(frame)).draw(picture, frame);
            }
            _ => frame.axes(picture, TimeKind::Integer, bounds),
        }
        let zero = snap(frame.py(0.0));
        picture.line(vec![(frame.area.x, zero), (frame.area.right(), zero)], 1.0, AXIS, None);
        let columns = &self.columns[..self.columns.len().min(components)];
        let slot = self.slot(frame);
        let bar = (0.78 * slot / columns.len().max(1) as f64).min(22.0);
        if self.is_bars() && bar >= THINNEST {
            for (r, column) in columns.iter().enumerate() {
                for (i, v) in column.iter().enumerate().filter(|(_, v)| v.is_finite()) {
                    let left = frame.px(i as f64) + bar * (r as f64 - columns.len() as f64 / 2.0);
                    let end = frame.py(*v);
                    let (edge, fill) = model_bar(r);
                    let base = frame.py(0.0);
                    let space = if bar > 4.0 { 1.0 } else { 0.0 };
                    picture.framed_rect(
                        (left + space / 2.0, base.min(end)),
                        (bar - space, (base - end).abs().max(0.5)),
                        edge,
                        fill,
                    );
                }
            }
            return;
        }
        let x = |i: usize| self.positions.as_ref().map_or(i as f64, |p| p[i]);
        for (r, column) in columns.iter().enumerate() {
            let mut points: Vec<Xy> = column.iter().enumerate().map(|(i, v)| (x(i), *v)).collect();
            if self.positions.is_some() {
                points.sort_by(|a, b| a.0.total_cmp(&b.0));
            }
            let (color, dash) = model_line(r);
            frame.line(picture, &points, 1.8, color, dash);
            if slot >= 14.0 {
                frame.dots(picture, &points, 2.6, color);
            }
        }
    }
}
