//! One number per model and case as grouped bars.

use super::axes::{Area, Frame, Key, extent, snap};
use super::font::text_width;
use super::forecast::{footnotes, header};
use super::scene::{Anchor, Label, Picture};
use super::style::{AXIS, LABEL, LABEL_SIZE, MARGIN, elide, model_bar};
use super::ticks::value_label;
use super::{HEIGHT, PlotError, WIDTH};

/// One case (a dataset, a horizon) with one value per model.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BarGroup {
    /// What stands below the group.
    pub name: String,
    /// One value per model, in the order of the models; not finite means there is none.
    pub values: Vec<f64>,
}

/// A picture never grows wider than this; groups that do not fit are left out and counted.
const MOST_WIDE: f64 = 2400.0;
const VALUE_SIZE: f64 = 11.0;
/// The frame is at least so many pixels high.
const LEAST_HEIGHT: f64 = 240.0;

/// Draws grouped bars from zero: `groups` side by side, one bar per model in each, values on the bars where they fit.
///
/// A value far above the others (20 times the median) is cut at the top and written out. Errors: [`PlotError::Empty`]
/// without a finite value, [`PlotError::Length`] if a group has not one value per model. Cost: linear.
pub fn bars(models: &[String], groups: &[BarGroup], metric: &str, title: &str) -> Result<Picture, PlotError> {
    if let Some(group) = groups.iter().find(|g| g.values.len() != models.len()) {
        let what = format!("values of group {:?}", group.name);
        return Err(PlotError::Length { what, found: group.values.len(), expected: models.len() });
    }
    let bar = (700.0 / (models.len() * groups.len()).max(1) as f64).clamp(8.0, 56.0);
    let group_width = (bar * models.len() as f64 + 18.0).max(44.0);
    let fit = ((MOST_WIDE - 140.0) / group_width).floor().max(1.0) as usize;
    let shown = &groups[..groups.len().min(fit)];
    let Some((lo, hi)) = extent(shown.iter().flat_map(|g| g.values.iter().copied())) else {
        return Err(PlotError::Empty("no case has a finite value".into()));
    };
    let width = f64::from(WIDTH).max(140.0 + group_width * shown.len() as f64).min(MOST_WIDE).max(group_width + 140.0);
    let slot = (width - 2.0 * MARGIN - 60.0) / shown.len() as f64;
    let style = Bars::new(slot, models.len(), shown);
    let scale = Scale::new((lo, hi), shown, style.room);
    let mut picture = Picture::new(width, f64::from(HEIGHT), title);
    let entries: Vec<_> = models.iter().enumerate().map(|(i, m)| (bar_key(i), m.clone())).collect();
    let top = header(&mut picture, title, "", &entries);
    let mut notes = Vec::new();
    if shown.len() < groups.len() {
        notes.push(format!("the first {} of {} groups", shown.len(), groups.len()));
    }
    if scale.cut {
        notes.push("bars with an arrow are cut".to_string());
    }
    let footer = if notes.is_empty() { 0.0 } else { 24.0 };
    let height = f64::from(HEIGHT).max(top + 330.0);
    picture.height = height.ceil() as u32;
    let metric = elide(metric, LABEL_SIZE, false, width - 2.0 * MARGIN);
    picture.text((MARGIN, top + 14.0), &metric, LABEL_SIZE, false, LABEL, Anchor::Start);
    let frame = |left: f64| Frame {
        area: Area {
            x: MARGIN + left,
            y: top + 28.0,
            w: width - 2.0 * MARGIN - left,
            h: height - top - 28.0 - 26.0 - footer - MARGIN / 2.0,
        },
        x: (0.0, shown.len() as f64),
        y: scale.ends,
    };
    let frame = frame(frame(60.0).y_label_width() + 10.0);
    frame.value_grid(&mut picture);
    for (i, group) in shown.iter().enumerate() {
        style.draw(&mut picture, &frame, &scale, i, group);
    }
    let zero = snap(frame.py(0.0));
    picture.line(vec![(frame.area.x, zero), (frame.area.right(), zero)], 1.0, AXIS, None);
    footnotes(&mut picture, &notes);
    Ok(picture)
}

/// The value axis of a bar chart.
struct Scale {
    /// Its ends, with room for the values beyond the longest bars.
    ends: (f64, f64),
    /// How far bars reach; longer ones are cut.
    reach: (f64, f64),
    /// Whether any is.
    cut: bool,
}

impl Scale {
    /// A scale with zero from the smallest to the largest value; `room` pixels are kept beyond the bars.
    fn new((lo, hi): (f64, f64), groups: &[BarGroup], room: f64) -> Scale {
        let mut sizes: Vec<f64> =
            groups.iter().flat_map(|g| &g.values).map(|v| v.abs()).filter(|v| v.is_finite() && *v > 0.0).collect();
        sizes.sort_by(f64::total_cmp);
        let limit = sizes.get(sizes.len().saturating_sub(1) / 2).map_or(f64::MAX, |median| 20.0 * median);
        // The largest bar that is not far above the usual one.
        let usual = sizes.iter().rev().copied().find(|v| *v <= limit).unwrap_or(f64::MAX);
        let wild = |v: f64| usual > 1e-290 && v.abs() > limit && v.abs() / 3.0 > usual;
        let end = |v: f64| if wild(v) { 1.3 * usual * v.signum() } else { v.clamp(f64::MIN / 8.0, f64::MAX / 8.0) };
        let reach = (end(lo).min(0.0), end(hi).max(0.0));
        let span = reach.1 - reach.0;
        if span <= f64::MIN_POSITIVE * 1e3 {
            return Scale { ends: (0.0, 1.0), reach: (0.0, 1.0), cut: false };
        }
        let room = room.min(LEAST_HEIGHT / 4.0);
        let room = span * room / (LEAST_HEIGHT - 2.0 * room);
        let ends = (if reach.0 < 0.0 { reach.0 - room } else { 0.0 }, if reach.1 > 0.0 { reach.1 + room } else { 0.0 });
        Scale { ends, reach, cut: lo < reach.0 || hi > reach.1 }
    }
}

fn bar_key(i: usize) -> Key {
    let (edge, fill) = model_bar(i);
    Key::Fill { edge, fill }
}

/// How the values stand on the bars; the same everywhere in a picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Values {
    Flat,
    Upright,
    None,
}

/// Sizes that all groups share.
struct Bars {
    slot: f64,
    /// Width of one bar.
    bar: f64,
    values: Values,
    /// Pixels that the longest value needs beyond its bar.
    room: f64,
}

impl Bars {
    fn new(slot: f64, models: usize, groups: &[BarGroup]) -> Bars {
        let bar = ((slot - (slot * 0.16).clamp(8.0, 40.0)) / models.max(1) as f64).clamp(1.0, 64.0);
        let labels = groups.iter().flat_map(|g| &g.values).map(|v| text_width(&value_label(*v), VALUE_SIZE, false));
        let longest = labels.fold(0.0, f64::max) + text_width(" ↑", VALUE_SIZE, false);
        let values = if longest + 4.0 <= bar {
            Values::Flat
        } else if bar >= 12.0 {
            Values::Upright
        } else {
            Values::None
        };
        let room = match values {
            Values::Flat => 18.0,
            Values::Upright => longest + 8.0,
            // Only bars that are cut carry their value.
            Values::None => 8.0,
        };
        Bars { slot, bar, values, room }
    }

    fn draw(&self, picture: &mut Picture, frame: &Frame, scale: &Scale, index: usize, group: &BarGroup) {
        let (center, bar) = (frame.px(index as f64 + 0.5), self.bar);
        let name = elide(&group.name, LABEL_SIZE, false, self.slot - 8.0);
        picture.text((center, frame.area.bottom() + 20.0), &name, LABEL_SIZE, false, LABEL, Anchor::Middle);
        for (m, &value) in group.values.iter().enumerate() {
            let left = center + bar * (m as f64 - group.values.len() as f64 / 2.0);
            let zero = frame.py(0.0);
            if !value.is_finite() {
                self.write(picture, left, (zero, false), "n/a");
                continue;
            }
            let cut = value > scale.reach.1 || value < scale.reach.0;
            let arrow = match (cut, value > 0.0) {
                (false, _) => "",
                (true, true) => " ↑",
                (true, false) => " ↓",
            };
            let text = value_label(value) + arrow;
            let end = frame.py(value.clamp(scale.reach.0, scale.reach.1));
            let (edge, fill) = model_bar(m);
            picture.framed_rect((left + 0.5, zero.min(end)), ((bar - 1.0).max(1.0), (zero - end).abs().max(1.0)), edge, fill);
            if cut || self.values != Values::None {
                self.write(picture, left, (end, value < 0.0), &text);
            }
        }
    }

    /// A value at the end of a bar: above it, or below for negative ones.
    fn write(&self, picture: &mut Picture, left: f64, (end, below): (f64, bool), text: &str) {
        let middle = left + self.bar / 2.0;
        if self.values == Values::Flat {
            let baseline = if below { end + 12.0 } else { end - 4.0 };
            picture.text((middle, baseline), text, VALUE_SIZE, false, LABEL, Anchor::Middle);
        } else if self.bar >= 7.0 {
            let size = VALUE_SIZE.min(self.bar);
            let (anchor, baseline) = if below { (Anchor::End, end + 4.0) } else { (Anchor::Start, end - 4.0) };
            let label = Label {
                text: text.to_string(),
                x: middle + 0.3 * size,
                baseline,
                size,
                bold: false,
                color: LABEL,
                anchor,
                turned: true,
            };
            picture.label(label);
        }
    }
}
