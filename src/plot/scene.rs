//! A picture before it is a file: a list of marks in pixels, the same for every format.

use super::font::{printable, text_width};
use super::style::{Dash, Rgb};

/// A point in pixels, or in data units where a function says so.
pub(super) type Xy = (f64, f64);

/// Where a text's position is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Anchor {
    Start,
    Middle,
    End,
}

/// One line of text. `turned` runs it upwards instead of to the right.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Label {
    pub text: String,
    pub x: f64,
    pub baseline: f64,
    pub size: f64,
    pub bold: bool,
    pub color: Rgb,
    pub anchor: Anchor,
    pub turned: bool,
}

impl Label {
    /// Smallest box that holds the text: left, top, right, bottom. Ascent and descent as in DejaVu Sans capitals and `g`.
    pub(super) fn bounds(&self) -> (f64, f64, f64, f64) {
        let width = text_width(&self.text, self.size, self.bold);
        let before = match self.anchor {
            Anchor::Start => 0.0,
            Anchor::Middle => width / 2.0,
            Anchor::End => width,
        };
        let (up, down) = (0.76 * self.size, 0.24 * self.size);
        if self.turned {
            (self.x - up, self.baseline + before - width, self.x + down, self.baseline + before)
        } else {
            (self.x - before, self.baseline - up, self.x - before + width, self.baseline + down)
        }
    }
}

/// Something to draw; later marks lie over earlier ones.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Mark {
    Rect { x: f64, y: f64, w: f64, h: f64, color: Rgb },
    Line { points: Vec<Xy>, width: f64, color: Rgb },
    Area { points: Vec<Xy>, color: Rgb, alpha: f64 },
    Disc { x: f64, y: f64, r: f64, color: Rgb },
    Text(Label),
}

/// A finished picture, ready to be written as SVG or PNG by [`render`](super::render).
#[derive(Clone, Debug, PartialEq)]
pub struct Picture {
    pub(super) width: u32,
    pub(super) height: u32,
    pub(super) title: String,
    pub(super) marks: Vec<Mark>,
}

impl Picture {
    pub(super) fn new(width: f64, height: f64, title: &str) -> Picture {
        Picture { width: width.ceil() as u32, height: height.ceil() as u32, title: printable(title), marks: Vec::new() }
    }

    /// Width and height in pixels at the normal density.
    pub fn size(&self) -> (u32, u32) {
        (self.width, self.height)
    }

    /// Every line of text in the picture, in drawing order.
    pub fn texts(&self) -> impl Iterator<Item = &str> {
        self.labels().map(|label| label.text.as_str())
    }

    pub(super) fn labels(&self) -> impl Iterator<Item = &Label> {
        self.marks.iter().filter_map(|mark| if let Mark::Text(label) = mark { Some(label) } else { None })
    }

    pub(super) fn rect(&mut self, x: f64, y: f64, w: f64, h: f64, color: Rgb) {
        if w > 0.0 && h > 0.0 {
            self.marks.push(Mark::Rect { x, y, w, h, color });
        }
    }

    /// A rectangle with an edge of 1.5 pixels, as far as there is room for one.
    pub(super) fn framed_rect(&mut self, (x, y): Xy, (w, h): Xy, edge: Rgb, fill: Rgb) {
        let inset = 1.5f64.min(w / 4.0).min(h / 4.0);
        self.rect(x, y, w, h, edge);
        if fill != edge {
            self.rect(x + inset, y + inset, w - 2.0 * inset, h - 2.0 * inset, fill);
        }
    }

    /// A line through the points; dashes are cut here, so that every format shows the same ones.
    pub(super) fn line(&mut self, points: Vec<Xy>, width: f64, color: Rgb, dash: Option<Dash>) {
        match dash {
            _ if points.len() < 2 => {}
            None => self.marks.push(Mark::Line { points, width, color }),
            Some(dash) => self.marks.extend(dashes(&points, dash).into_iter().map(|points| Mark::Line { points, width, color })),
        }
    }

    pub(super) fn area(&mut self, points: Vec<Xy>, color: Rgb, alpha: f64) {
        if points.len() >= 3 {
            self.marks.push(Mark::Area { points, color, alpha });
        }
    }

    pub(super) fn disc(&mut self, (x, y): Xy, r: f64, color: Rgb) {
        self.marks.push(Mark::Disc { x, y, r, color });
    }

    /// One horizontal line of text.
    pub(super) fn text(&mut self, at: Xy, text: &str, size: f64, bold: bool, color: Rgb, anchor: Anchor) {
        self.label(Label { text: text.to_string(), x: at.0, baseline: at.1, size, bold, color, anchor, turned: false });
    }

    pub(super) fn label(&mut self, mut label: Label) {
        label.text = printable(&label.text);
        if !label.text.trim().is_empty() {
            self.marks.push(Mark::Text(label));
        }
    }
}

/// Cuts a line into dashes of `on` pixels with gaps of `off`.
fn dashes(points: &[Xy], (on, off): Dash) -> Vec<Vec<Xy>> {
    let mut all = Vec::new();
    let mut dash: Vec<Xy> = points.first().copied().into_iter().collect();
    let (mut drawing, mut left) = (true, on);
    for pair in points.windows(2) {
        let ((x0, y0), (x1, y1)) = (pair[0], pair[1]);
        let length = (x1 - x0).hypot(y1 - y0);
        let mut done = 0.0;
        while length - done > left {
            done += left;
            let at = (x0 + (x1 - x0) * done / length, y0 + (y1 - y0) * done / length);
            if drawing {
                dash.push(at);
                all.push(std::mem::take(&mut dash));
            } else {
                dash = vec![at];
            }
            drawing = !drawing;
            left = if drawing { on } else { off };
        }
        left -= length - done;
        if drawing {
            dash.push((x1, y1));
        }
    }
    if drawing && dash.len() > 1 {
        all.push(dash);
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dashes_cover_their_share_and_turn_corners() {
        let cut = dashes(&[(0.0, 0.0), (10.0, 0.0), (10.0, 10.0)], (6.0, 3.0));
        assert_eq!(
            cut,
            vec![vec![(0.0, 0.0), (6.0, 0.0)], vec![(9.0, 0.0), (10.0, 0.0), (10.0, 5.0)], vec![(10.0, 8.0), (10.0, 10.0)]]
        );
    }

    #[test]
    fn bounds_follow_anchor_and_turn() {
        let mut label = Label {
            text: "500".into(),
            x: 100.0,
            baseline: 50.0,
            size: 10.0,
            bold: false,
            color: super::super::style::INK,
            anchor: Anchor::End,
            turned: false,
        };
        let (left, top, right, bottom) = label.bounds();
        assert!((right - 100.0).abs() < 1e-9 && left < 100.0 && top < 50.0 && bottom > 50.0);
        label.turned = true;
        let (l, t, r, b) = label.bounds();
        assert!((r - l - (bottom - top)).abs() < 1e-9 && (b - t - (right - left)).abs() < 1e-9);
    }

    #[test]
    fn empty_text_and_single_points_draw_nothing() {
        let mut picture = Picture::new(10.0, 10.0, "");
        picture.text((0.0, 0.0), " \n", 13.0, false, super::super::style::INK, Anchor::Start);
        picture.line(vec![(1.0, 1.0)], 1.0, super::super::style::INK, None);
        picture.rect(0.0, 0.0, 0.0, 5.0, super::super::style::INK);
        assert!(picture.marks.is_empty());
    }
}
