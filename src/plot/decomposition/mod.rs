//! Pictures of decompositions.
//!
//! | file | what |
//! |---|---|
//! | `factors` | the columns of the factors, a panel for each mode |
//! | `curves` | fit by sweep, fit and core consistency by rank, shares of components |
//! | `core` | a core as heat maps of its slices |

mod core;
mod curves;
mod factors;
#[cfg(test)]
mod tests;

pub use core::{CoreOptions, core_chart};
pub use curves::{RankPoint, explained_chart, fit_chart, rank_scan_chart};
pub use factors::{FactorPanel, factor_chart};

use super::axes::{Frame, snap};
use super::font::text_width;
use super::scene::{Anchor, Label, Picture};
use super::style::{AXIS, GRID, LABEL, LABEL_SIZE, elide};
use super::ticks::{Tick, number_ticks};

/// More components than there are styles of lines are left out, and the picture says so.
const MOST_COMPONENTS: usize = 24;
/// Pixels a turned label may be long.
const TURNED: f64 = 110.0;
/// Pixels from one turned label to the next.
const TURNED_STEP: f64 = 16.0;

/// Labels of slices below a frame whose x range is `-0.5..n-0.5`: flat if all fit, else turned, and then as many as fit.
struct SliceLabels<'a> {
    labels: &'a [String],
    flat: bool,
    step: usize,
    /// Letters at the start and at the end that all labels share and that are left out, because with them labels would be too long.
    shared: (usize, usize),
}

impl<'a> SliceLabels<'a> {
    /// For slices that are `slot` pixels wide.
    fn new(labels: &'a [String], slot: f64) -> SliceLabels<'a> {
        let widest = labels.iter().map(|l| text_width(l, LABEL_SIZE, false)).fold(0.0, f64::max);
        let flat = widest <= slot - 8.0;
        let shared = if flat || widest <= TURNED { (0, 0) } else { shared_ends(labels) };
        SliceLabels { labels, flat, step: (TURNED_STEP / slot).ceil().max(1.0) as usize, shared }
    }

    /// Pixels needed below the frame.
    fn height(&self) -> f64 {
        if self.flat {
            return 24.0;
        }
        let widest = self.shown().map(|(_, l)| text_width(&l, LABEL_SIZE, false)).fold(0.0, f64::max);
        widest + 12.0
    }

    fn shown(&self) -> impl Iterator<Item = (usize, String)> + '_ {
        let cut =
            |l: &String| if self.flat { l.clone() } else { elide(&without_ends(l, self.shared), LABEL_SIZE, false, TURNED) };
        let step = if self.flat { 1 } else { self.step };
        self.labels.iter().enumerate().step_by(step).map(move |(i, l)| (i, cut(l)))
    }

    fn draw(&self, picture: &mut Picture, frame: &Frame) {
        let base = frame.area.bottom();
        for (i, text) in self.shown() {
            let x = frame.px(i as f64);
            picture.line(vec![(snap(x), base), (snap(x), base + 4.0)], 1.0, AXIS, None);
            if self.flat {
                picture.text((x, base + 19.0), &text, LABEL_SIZE, false, LABEL, Anchor::Middle);
            } else {
                let x = x + 0.26 * LABEL_SIZE;
                let baseline = base + 8.0;
                let (size, anchor) = (LABEL_SIZE, Anchor::End);
                picture.label(Label { text, x, baseline, size, bold: false, color: LABEL, anchor, turned: true });
            }
        }
        picture.line(vec![(frame.area.x, snap(base)), (frame.area.right(), snap(base))], 1.0, AXIS, None);
    }
}

/// How many letters all labels share at the start and at the end, at least three or none: what is between tells them apart.
fn shared_ends(labels: &[String]) -> (usize, usize) {
    let Some((first, rest)) = labels.split_first().filter(|(_, rest)| !rest.is_empty()) else { return (0, 0) };
    let same =
        |a: &mut dyn Iterator<Item = char>, b: &mut dyn Iterator<Item = char>| a.zip(b).take_while(|(x, y)| x == y).count();
    let start = rest.iter().map(|l| same(&mut first.chars(), &mut l.chars())).min().unwrap_or(0);
    let end = rest.iter().map(|l| same(&mut first.chars().rev(), &mut l.chars().rev())).min().unwrap_or(0);
    // The two ends must not meet in the shortest label.
    let shortest = labels.iter().map(|l| l.chars().count()).min().unwrap_or(0);
    let end = end.min(shortest.saturating_sub(start + 1));
    let long = |n: usize| if n >= 3 { n } else { 0 };
    (long(start), long(end))
}

/// A label without its shared ends, each replaced by an ellipsis.
fn without_ends(label: &str, (start, end): (usize, usize)) -> String {
    let count = label.chars().count();
    if count <= start + end {
        return label.to_string();
    }
    let middle: String = label.chars().skip(start).take(count - start - end).collect();
    let dots = |n: usize| if n > 0 { "…" } else { "" };
    format!("{}{middle}{}", dots(start), dots(end))
}

/// Grid and labels of both axes where the x axis is any numbers; `bounds` are the ends that no label may pass.
fn number_axes(picture: &mut Picture, frame: &Frame, bounds: (f64, f64)) {
    frame.value_grid(picture);
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
        let mut ticks = number_ticks(frame.x.0, frame.x.1, most);
        ticks.retain(|t| t.at >= frame.x.0 && t.at <= frame.x.1);
        ticks
    };
    let ticks = (1..=12).rev().map(inside).find(|ticks| fits(ticks)).unwrap_or_default();
    for tick in ticks {
        let x = snap(frame.px(tick.at));
        picture.line(vec![(x, frame.area.y), (x, base)], 1.0, GRID, None);
        picture.line(vec![(x, base), (x, base + 4.0)], 1.0, AXIS, None);
        picture.text((left_of(&tick).0, base + 19.0), &tick.label, LABEL_SIZE, false, LABEL, Anchor::Start);
    }
    picture.line(vec![(frame.area.x, snap(base)), (frame.area.right(), snap(base))], 1.0, AXIS, None);
}
