//! A core tensor as heat maps: rows are the first mode, columns the second, a panel for each slice of the others.

use crate::plot::PlotError;
use crate::plot::font::text_width;
use crate::plot::forecast::{footnotes, header};
use crate::plot::scene::{Anchor, Picture};
use crate::plot::style::{AXIS, INK, LABEL, LABEL_SIZE, MARGIN, MUTED, NOTE_SIZE, PANEL_TITLE_SIZE, Rgb, WHITE, elide};
use crate::plot::ticks::value_label;

/// How a core is drawn.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CoreOptions {
    /// Title of the picture.
    pub title: String,
    /// Names of the modes; `mode_0`, `mode_1`, … where there are none.
    pub modes: Vec<String>,
}

/// The two ends of the scale: two colours of the palette that people with any colour vision tell apart.
const POSITIVE: Rgb = Rgb(0, 114, 178);
const NEGATIVE: Rgb = Rgb(213, 94, 0);
const MOST_PANELS: usize = 16;
/// Rows and columns of a panel at most; the picture says what it leaves out.
const MOST_CELLS: usize = 120;
const VALUE_SIZE: f64 = 11.0;
/// Pixels of the largest cell, and of a panel at most.
const CELL: f64 = 58.0;
const PANEL: f64 = 300.0;

/// Draws a core of any order in C order: one scale for all panels, symmetric about zero, values written into cells that have room.
///
/// Errors: [`PlotError::Empty`] without a finite number, [`PlotError::Length`] if shape and numbers disagree. Cost: linear in the cells drawn.
pub fn core_chart(shape: &[usize], values: &[f64], options: &CoreOptions) -> Result<Picture, PlotError> {
    let expected = shape.iter().product();
    if values.len() != expected {
        return Err(PlotError::Length { what: format!("a core of shape {shape:?}"), found: values.len(), expected });
    }
    let largest = values.iter().filter(|v| v.is_finite()).fold(f64::NAN, |m: f64, v| m.max(v.abs()));
    if !largest.is_finite() {
        return Err(PlotError::Empty("the core has no finite number".into()));
    }
    let (rows, cols) = (shape.first().copied().unwrap_or(1), shape.get(1).copied().unwrap_or(1));
    let rest = shape.get(2..).unwrap_or_default();
    let panels: usize = rest.iter().product();
    let shown = panels.min(MOST_PANELS);
    let (high, wide) = (rows.min(MOST_CELLS), cols.min(MOST_CELLS));
    let columns = match shown {
        n @ 1..=3 => n,
        4 => 2,
        5..=9 => 3,
        _ => 4,
    };
    let name = |n: usize| options.modes.get(n).cloned().unwrap_or_else(|| format!("mode_{n}"));
    let side = (PANEL / high.max(wide) as f64).clamp(2.0, CELL);
    let (index_w, index_h) = (text_width(&(high - 1).to_string(), NOTE_SIZE, false) + 8.0, 18.0);
    let panel_title = |p: usize| {
        let (mut left, mut parts) = (p, Vec::new());
        for (n, size) in rest.iter().enumerate().rev() {
            parts.push(format!("{} = {}", elide(&name(n + 2), PANEL_TITLE_SIZE, true, 160.0), left % size));
            left /= size;
        }
        parts.reverse();
        parts.join(", ")
    };
    let title_w = (0..shown).map(|p| text_width(&panel_title(p), PANEL_TITLE_SIZE, true)).fold(0.0, f64::max).min(PANEL + 40.0);
    let cell_w = (index_w + side * wide as f64).max(title_w);
    let cell_h = if rest.is_empty() { 0.0 } else { 26.0 } + index_h + side * high as f64;
    let gap = 28.0;
    let width = (2.0 * MARGIN + columns as f64 * cell_w + (columns as f64 - 1.0) * gap).max(520.0);
    let mut picture = Picture::new(width, 0.0, &options.title);
    let top = header(&mut picture, &options.title, "", &[]);
    let room = width - 2.0 * MARGIN;
    let about = match shape.len() {
        0 | 1 => format!("rows: {}", name(0)),
        _ => format!("rows: {}, columns: {}", name(0), name(1)),
    };
    picture.text((MARGIN, top + 12.0), &elide(&about, LABEL_SIZE, false, room), LABEL_SIZE, false, LABEL, Anchor::Start);
    let key_y = top + 26.0;
    color_key(&mut picture, key_y, largest);
    let mut y = key_y + 44.0;
    for (row, line) in (0..shown).collect::<Vec<_>>().chunks(columns).enumerate() {
        if row > 0 {
            y += gap;
        }
        for (i, p) in line.iter().enumerate() {
            let x = MARGIN + i as f64 * (cell_w + gap);
            let heading = elide(&panel_title(*p), PANEL_TITLE_SIZE, true, cell_w);
            picture.text((x, y + 13.0), &heading, PANEL_TITLE_SIZE, true, INK, Anchor::Start);
            let at = (x + index_w, y + cell_h - side * high as f64);
            indices(&mut picture, at, side, (high, wide));
            for r in 0..high {
                for c in 0..wide {
                    let v = values[(r * cols + c) * panels + p];
                    draw_cell(&mut picture, (at.0 + c as f64 * side, at.1 + r as f64 * side), side, v, largest);
                }
            }
            let (w, h) = (side * wide as f64, side * high as f64);
            let ring = vec![at, (at.0 + w, at.1), (at.0 + w, at.1 + h), (at.0, at.1 + h), at];
            picture.line(ring, 1.0, AXIS, None);
        }
        y += cell_h;
    }
    let mut notes = Vec::new();
    if shown < panels {
        notes.push(format!("the first {shown} of {panels} slices"));
    }
    if (high, wide) != (rows, cols) {
        notes.push(format!("the first {high} x {wide} of {rows} x {cols} cells"));
    }
    picture.height = (y + MARGIN + if notes.is_empty() { 0.0 } else { 24.0 }).ceil() as u32;
    footnotes(&mut picture, &notes);
    Ok(picture)
}

/// The colour of a number.
fn color(v: f64, largest: f64) -> Rgb {
    match v {
        v if !v.is_finite() => AXIS.tint(0.4),
        _ if largest == 0.0 => WHITE,
        v if v < 0.0 => NEGATIVE.tint(-v / largest),
        v => POSITIVE.tint(v / largest),
    }
}

/// How bright a colour looks, 0 to 255 (ITU-R BT.601).
fn luminance(Rgb(r, g, b): Rgb) -> f64 {
    0.299 * f64::from(r) + 0.587 * f64::from(g) + 0.114 * f64::from(b)
}

fn draw_cell(picture: &mut Picture, (x, y): (f64, f64), side: f64, v: f64, largest: f64) {
    let gap = if side >= 8.0 { 1.0 } else { 0.0 };
    picture.rect(x, y, side - gap, side - gap, color(v, largest));
    let text = value_label(v);
    if text_width(&text, VALUE_SIZE, false) + 5.0 <= side && side >= 16.0 {
        let ink = if luminance(color(v, largest)) < 140.0 { WHITE } else { INK };
        let at = (x + (side - gap) / 2.0, y + side / 2.0 + 0.36 * VALUE_SIZE);
        picture.text(at, &text, VALUE_SIZE, false, ink, Anchor::Middle);
    }
}

/// Indices of rows and columns, as many as have room.
fn indices(picture: &mut Picture, (x, y): (f64, f64), side: f64, (high, wide): (usize, usize)) {
    let step = |count: usize, room: f64| {
        let least = (room / side).ceil().max(1.0) as usize;
        [1, 2, 5, 10, 20, 50, 100].into_iter().find(|s| *s >= least).unwrap_or(count.max(1))
    };
    let widest = text_width(&(wide - 1).to_string(), NOTE_SIZE, false);
    for c in (0..wide).step_by(step(wide, widest + 6.0)) {
        let at = (x + (c as f64 + 0.5) * side, y - 5.0);
        picture.text(at, &c.to_string(), NOTE_SIZE, false, MUTED, Anchor::Middle);
    }
    for r in (0..high).step_by(step(high, 15.0)) {
        let at = (x - 6.0, y + (r as f64 + 0.5) * side + 0.36 * NOTE_SIZE);
        picture.text(at, &r.to_string(), NOTE_SIZE, false, MUTED, Anchor::End);
    }
}

/// The scale: a strip from the most negative to the most positive colour, with its ends and zero.
fn color_key(picture: &mut Picture, y: f64, largest: f64) {
    const STEPS: usize = 60;
    let strip = 240.0;
    for k in 0..STEPS {
        let share = 2.0 * (k as f64 + 0.5) / STEPS as f64 - 1.0;
        picture.rect(MARGIN + strip * k as f64 / STEPS as f64, y, strip / STEPS as f64 + 0.3, 10.0, color(share, 1.0));
    }
    let label = |picture: &mut Picture, at: f64, text: &str, anchor: Anchor| {
        picture.text((at, y + 25.0), text, NOTE_SIZE, false, LABEL, anchor);
    };
    let end = value_label(largest);
    label(picture, MARGIN, &format!("−{end}"), Anchor::Start);
    label(picture, MARGIN + strip / 2.0, "0", Anchor::Middle);
    label(picture, MARGIN + strip, &end, Anchor::End);
}
