//! Error by horizon: one line per model.

use super::axes::{Area, Frame, Key, TimeKind, extent, padded, x_range};
use super::font::text_width;
use super::forecast::{footnotes, header};
use super::scene::{Anchor, Picture, Xy};
use super::style::{AXIS, INK, LABEL, LABEL_SIZE, LineStyle, MARGIN, NOTE_SIZE, PANEL_TITLE_SIZE, Rgb, elide, model_line};
use super::{HEIGHT, PlotError, WIDTH};

/// A model's error at every step of the horizon; a value that is not finite is missing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Curve {
    /// Model name.
    pub name: String,
    /// Error at step 1, 2, ..., H.
    pub values: Vec<f64>,
}

/// With more curves than this, their names stand in a legend.
const MOST_DIRECT: usize = 14;

/// Draws error against step, with the models' names at the ends of their lines (a legend if there are too many).
///
/// Errors: [`PlotError::Empty`] without a finite value. Cost: linear.
pub fn error_by_horizon(curves: &[Curve], metric: &str, title: &str) -> Result<Picture, PlotError> {
    drawn(Plan::new(curves, metric)?, title)
}

/// Draws a loss against the epoch, one line per curve; otherwise as [`error_by_horizon`].
pub fn loss_by_epoch(curves: &[Curve], title: &str) -> Result<Picture, PlotError> {
    drawn(Plan { x_label: "epoch", ..Plan::new(curves, "loss")? }, title)
}

fn drawn(plan: Plan<'_>, title: &str) -> Result<Picture, PlotError> {
    let curves = plan.curves;
    let (width, height) = (f64::from(WIDTH), f64::from(HEIGHT));
    let mut picture = Picture::new(width, height, title);
    let direct = plan.shown.len() <= MOST_DIRECT;
    let entries: Vec<_> = plan.shown.iter().map(|&i| (key(model_line(i)), curves[i].name.clone())).collect();
    let top = header(&mut picture, title, "", if direct { &[] } else { &entries });
    let footer = if plan.notes.is_empty() { 0.0 } else { 24.0 };
    let height = height.max(top + 330.0);
    picture.height = height.ceil() as u32;
    let area = Area { x: MARGIN, y: top, w: width - 2.0 * MARGIN, h: height - top - footer - MARGIN };
    plan.draw(&mut picture, area, "", direct, model_line);
    footnotes(&mut picture, &plan.notes);
    Ok(picture)
}

pub(super) fn key((color, dash): LineStyle) -> Key {
    Key::Line { color, width: 2.0, dash, dots: false }
}

/// Curves that can be drawn, their ranges, and what has to be said about the others.
pub(super) struct Plan<'a> {
    curves: &'a [Curve],
    metric: &'a str,
    /// What is counted along the horizontal axis.
    x_label: &'static str,
    /// Indices of curves with a finite value.
    shown: Vec<usize>,
    x: (f64, f64),
    y: (f64, f64),
    pub notes: Vec<String>,
}

impl<'a> Plan<'a> {
    pub(super) fn new(curves: &'a [Curve], metric: &'a str) -> Result<Plan<'a>, PlotError> {
        let finite = |c: &Curve| c.values.iter().any(|v| v.is_finite());
        let shown: Vec<usize> = (0..curves.len()).filter(|&i| finite(&curves[i])).collect();
        let Some((lo, hi)) = extent(curves.iter().flat_map(|c| c.values.iter().copied())) else {
            return Err(PlotError::Empty("no model has a finite error".into()));
        };
        // One exploding model must not flatten the others: the axis ends at four times what most models need. Half or more of the
        // models are never cut.
        let mut peaks: Vec<f64> =
            shown.iter().filter_map(|&i| extent(curves[i].values.iter().copied())).map(|(_, high)| high).collect();
        peaks.sort_by(f64::total_cmp);
        let usual = peaks[peaks.len() / 2];
        let cut = lo >= 0.0 && usual > 0.0 && hi / usual > 20.0;
        let hi = if cut { 4.0 * usual } else { hi };
        let (low, high) = padded((lo, hi), 0.06);
        // From zero when that costs no more than a third of the height.
        let low = if lo >= 0.0 && (lo <= 0.35 * hi || low < 0.0) { 0.0 } else { low };
        let steps = curves.iter().map(|c| c.values.len()).max().unwrap_or(1) as f64;
        let x = x_range((1.0, steps.max(1.0)), 1.0);
        let without: Vec<&str> = curves.iter().filter(|c| !finite(c)).map(|c| c.name.as_str()).collect();
        let mut notes = Vec::new();
        if !without.is_empty() {
            notes.push(format!("no finite error: {}", without.join(", ")));
        }
        if cut {
            notes.push("larger errors run out of the frame".to_string());
        }
        Ok(Plan { curves, metric, x_label: "step of the horizon", shown, x, y: (low, high), notes })
    }

    /// Draws the chart into the area below a heading (may be empty); `direct` writes the names at the line ends.
    pub(super) fn draw(
        &self,
        picture: &mut Picture,
        area: Area,
        heading: &str,
        direct: bool,
        color: impl Fn(usize) -> LineStyle,
    ) {
        let names: Vec<String> = self.shown.iter().map(|&i| elide(&self.curves[i].name, LABEL_SIZE, false, 190.0)).collect();
        let right = if direct { names.iter().map(|n| text_width(n, LABEL_SIZE, false)).fold(0.0, f64::max) + 22.0 } else { 0.0 };
        let frame = |left: f64| Frame {
            area: Area { x: area.x + left, y: area.y + 28.0, w: area.w - left - right, h: (area.h - 28.0 - 44.0).max(40.0) },
            x: self.x,
            y: self.y,
        };
        let frame = frame(frame(60.0).y_label_width() + 10.0);
        let used = if heading.is_empty() { 0.0 } else { text_width(heading, PANEL_TITLE_SIZE, true) + 12.0 };
        picture.text((area.x, area.y + 14.0), heading, PANEL_TITLE_SIZE, true, INK, Anchor::Start);
        let metric = elide(self.metric, LABEL_SIZE, false, area.w - used);
        picture.text((area.x + used, area.y + 14.0), &metric, LABEL_SIZE, false, LABEL, Anchor::Start);
        frame.axes(picture, TimeKind::Integer, (area.x, area.right()));
        let middle = frame.area.x + frame.area.w / 2.0;
        picture.text((middle, frame.area.bottom() + 40.0), self.x_label, LABEL_SIZE, false, LABEL, Anchor::Middle);
        let mut ends = Vec::new();
        for (&i, name) in self.shown.iter().zip(&names) {
            let points: Vec<Xy> = self.curves[i].values.iter().enumerate().map(|(h, v)| (h as f64 + 1.0, *v)).collect();
            let style = color(i);
            frame.line(picture, &points, 2.0, style.0, style.1);
            if frame.area.w / points.len() as f64 >= 24.0 {
                frame.dots(picture, &points, 2.8, style.0);
            }
            if let Some(last) = points.iter().rev().find(|p| p.1.is_finite()) {
                let y = frame.py(last.1).clamp(frame.area.y, frame.area.bottom());
                ends.push((frame.px(last.0), y, name, style.0));
            }
        }
        if direct {
            label_ends(picture, &frame, ends);
        }
    }
}

/// Names at the right of the frame beside their line ends, moved apart where they would meet.
fn label_ends(picture: &mut Picture, frame: &Frame, mut ends: Vec<(f64, f64, &String, Rgb)>) {
    ends.sort_by(|a, b| a.1.total_cmp(&b.1));
    let wanted: Vec<f64> = ends.iter().map(|e| e.1).collect();
    let placed = spread(&wanted, 16.0, frame.area.y, frame.area.bottom() + 2.0);
    for ((x, y, name, color), at) in ends.into_iter().zip(placed) {
        let text_x = frame.area.right() + 16.0;
        picture.line(vec![(x + 4.0, y), (text_x - 10.0, at), (text_x - 4.0, at)], 1.0, color.tint(0.6), None);
        picture.text((text_x, at + 0.36 * LABEL_SIZE), name, LABEL_SIZE, false, LABEL, Anchor::Start);
    }
}

/// Positions at least `gap` apart, in order, close to the sorted wanted ones, within `lo..hi` if there is room.
fn spread(wanted: &[f64], gap: f64, lo: f64, hi: f64) -> Vec<f64> {
    // Neighbours that are too close form a block around the mean of their wishes; blocks merge until none meet.
    let mut blocks: Vec<(f64, usize)> = Vec::new();
    let limit = |center: f64, count: usize| {
        let half = gap * (count as f64 - 1.0) / 2.0;
        center.min(hi - half).max(lo + half)
    };
    for &w in wanted {
        let mut block = (limit(w, 1), 1);
        while let Some(&(center, count)) = blocks.last() {
            if block.0 - center >= gap * (count + block.1) as f64 / 2.0 {
                break;
            }
            let all = count + block.1;
            let mean = (center * count as f64 + block.0 * block.1 as f64) / all as f64;
            block = (limit(mean, all), all);
            blocks.pop();
        }
        blocks.push(block);
    }
    let rows = |&(center, count): &(f64, usize)| {
        (0..count).map(move |i| center + gap * (i as f64 - (count as f64 - 1.0) / 2.0)).collect::<Vec<_>>()
    };
    blocks.iter().flat_map(rows).collect()
}

/// A thin line that separates two parts of a picture.
pub(super) fn rule(picture: &mut Picture, y: f64) {
    let right = f64::from(picture.width) - MARGIN;
    picture.line(vec![(MARGIN, super::axes::snap(y)), (right, super::axes::snap(y))], 1.0, AXIS.tint(0.5), None);
}

/// Height a remark needs.
pub(super) const NOTE_ROW: f64 = NOTE_SIZE * 2.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_move_apart_in_order_and_stay_inside() {
        let placed = spread(&[10.0, 10.0, 11.0, 80.0, 99.0], 16.0, 0.0, 100.0);
        assert!(placed.windows(2).all(|p| p[1] - p[0] >= 16.0 - 1e-9), "{placed:?}");
        assert!(placed[0] >= 0.0 && placed[4] <= 100.0);
        assert_eq!(spread(&[20.0, 60.0], 16.0, 0.0, 100.0), [20.0, 60.0]);
        assert_eq!(spread(&[50.0, 50.0], 16.0, 0.0, 100.0), [42.0, 58.0]);
        assert!(spread(&[], 16.0, 0.0, 100.0).is_empty());
    }

    #[test]
    fn every_name_is_beside_its_line() {
        let curve =
            |name: &str, level: f64| Curve { name: name.into(), values: (1..=12).map(|h| level + f64::from(h)).collect() };
        let curves = [curve("naive", 20.0), curve("theta", 10.0), curve("auto-ets", 10.2)];
        let picture = error_by_horizon(&curves, "MAE", "Errors").expect("draws");
        let y = |name: &str| picture.labels().find(|l| l.text == name).map(|l| l.baseline).expect("named");
        assert!(y("naive") < y("auto-ets") && y("auto-ets") < y("theta"));
    }

    #[test]
    fn nothing_finite_is_an_error() {
        let curves = [Curve { name: "a".into(), values: vec![f64::NAN, f64::INFINITY] }];
        assert!(matches!(error_by_horizon(&curves, "MAE", ""), Err(PlotError::Empty(_))));
        assert!(matches!(error_by_horizon(&[], "MAE", ""), Err(PlotError::Empty(_))));
    }

    #[test]
    fn an_exploding_model_does_not_flatten_the_others() {
        let mut curves: Vec<_> = (0..3).map(|i| Curve { name: format!("m{i}"), values: vec![1.0, 2.0] }).collect();
        curves[2].values = vec![1.0, 1e12];
        curves.push(Curve { name: "broken".into(), values: vec![f64::NAN] });
        let picture = error_by_horizon(&curves, "MAE", "").expect("draws");
        assert!(picture.texts().any(|t| t.contains("out of the frame") && t.contains("broken")));
        assert!(picture.texts().any(|t| t == "8"), "{:?}", picture.texts().collect::<Vec<_>>());
    }
}
