//! The frame of a chart: scales, grid, axis labels, lines cut to the frame, and the legend above it.

use super::font::text_width;
use super::scene::{Anchor, Picture, Xy};
use super::style::{AXIS, Dash, GRID, LABEL, LABEL_SIZE, MUTED, NOTE_SIZE, Rgb, elide};
use super::ticks::{Tick, date_ticks, integer_ticks, number_ticks};

/// What the x positions of a picture mean.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TimeKind {
    /// Whole numbers: an index or a step.
    #[default]
    Integer,
    /// Microseconds since 1970-01-01 00:00.
    Date,
}

/// A rectangle in pixels.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Area {
    pub x: f64,
    pub y: f64,
    pub w: f64,
    pub h: f64,
}

impl Area {
    pub(super) fn right(&self) -> f64 {
        self.x + self.w
    }

    pub(super) fn bottom(&self) -> f64 {
        self.y + self.h
    }
}

/// A plotting rectangle with its data ranges.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Frame {
    pub area: Area,
    pub x: (f64, f64),
    pub y: (f64, f64),
}

/// Where `v` lies between the ends of a range, 0 to 1; beyond it, capped far outside.
fn share(v: f64, (lo, hi): (f64, f64)) -> f64 {
    // Halves: the difference of two huge numbers of opposite sign would overflow.
    let share = (v / 2.0 - lo / 2.0) / (hi / 2.0 - lo / 2.0);
    if share.is_nan() { 0.0 } else { share.clamp(-1e4, 1e4) }
}

impl Frame {
    pub(super) fn px(&self, x: f64) -> f64 {
        self.area.x + self.area.w * share(x, self.x)
    }

    pub(super) fn py(&self, y: f64) -> f64 {
        self.area.bottom() - self.area.h * share(y, self.y)
    }

    fn at(&self, (x, y): Xy) -> Xy {
        (self.px(x), self.py(y))
    }

    /// Draws a series: broken at missing values, cut at the frame; a value without neighbours becomes a dot.
    pub(super) fn line(&self, picture: &mut Picture, points: &[Xy], width: f64, color: Rgb, dash: Option<Dash>) {
        for run in runs(points) {
            let pixels: Vec<Xy> = run.iter().map(|&p| self.at(p)).collect();
            if let [only] = pixels[..] {
                if self.shows(only.1) {
                    picture.disc(only, width + 1.0, color);
                }
                continue;
            }
            // Where the line turns several times within a pixel, a finer pen leaves its shape visible.
            let width = if run.len() as f64 > 3.0 * self.area.w { width * 0.6 } else { width };
            for part in cut(&thin(pixels), self.area.y, self.area.bottom()) {
                picture.line(part, width, color, dash);
            }
        }
    }

    /// Draws a dot on every value of a series.
    pub(super) fn dots(&self, picture: &mut Picture, points: &[Xy], radius: f64, color: Rgb) {
        for p in points.iter().filter(|p| p.0.is_finite() && p.1.is_finite()) {
            let at = self.at(*p);
            if self.shows(at.1) {
                picture.disc(at, radius, color);
            }
        }
    }

    fn shows(&self, y: f64) -> bool {
        y >= self.area.y - 0.5 && y <= self.area.bottom() + 0.5
    }

    /// Fills between two bounds with the same positions: broken where one is missing, cut at the frame.
    pub(super) fn band(&self, picture: &mut Picture, lo: &[Xy], hi: &[Xy], color: Rgb, alpha: f64) {
        // A point carries both bounds as long as both are numbers.
        let whole = |i: usize| match (lo.get(i), hi.get(i)) {
            (Some(&(x, a)), Some(&(_, b))) if x.is_finite() && a.is_finite() && b.is_finite() => Some((x, a.min(b), a.max(b))),
            _ => None,
        };
        let mut start = 0;
        let count = lo.len().min(hi.len());
        for i in 0..=count {
            if i < count && whole(i).is_some() {
                continue;
            }
            let run: Vec<_> = (start..i).filter_map(whole).collect();
            start = i + 1;
            let upper = run.iter().map(|&(x, _, b)| self.at((x, b)));
            let lower = run.iter().rev().map(|&(x, a, _)| self.at((x, a)));
            let ring: Vec<Xy> = match run[..] {
                // One step alone is a bar of a few pixels.
                [(x, a, b)] => {
                    let (x, top, bottom) = (self.px(x), self.py(b), self.py(a));
                    vec![(x - 3.0, top), (x + 3.0, top), (x + 3.0, bottom), (x - 3.0, bottom)]
                }
                _ => upper.chain(lower).collect(),
            };
            let ring = keep_side(&ring, self.area.y, 1.0);
            picture.area(keep_side(&ring, self.area.bottom(), -1.0), color, alpha);
        }
    }

    /// Grid and labels of both axes. `bounds` are the left and right ends that no label may pass.
    pub(super) fn axes(&self, picture: &mut Picture, kind: TimeKind, bounds: (f64, f64)) {
        self.value_grid(picture);
        let base = self.area.bottom();
        for (tick, left) in self.x_ticks(kind, bounds) {
            let x = snap(self.px(tick.at));
            picture.line(vec![(x, self.area.y), (x, base)], 1.0, GRID, None);
            picture.line(vec![(x, base), (x, base + 4.0)], 1.0, AXIS, None);
            picture.text((left, base + 19.0), &tick.label, LABEL_SIZE, false, LABEL, Anchor::Start);
            if let Some(context) = &tick.context {
                let center = left + text_width(&tick.label, LABEL_SIZE, false) / 2.0;
                let half = text_width(context, NOTE_SIZE, false) / 2.0;
                let left = (center - half).min(bounds.1 - 2.0 * half).max(bounds.0);
                picture.text((left, base + 35.0), context, NOTE_SIZE, false, MUTED, Anchor::Start);
            }
        }
        picture.line(vec![(self.area.x, snap(base)), (self.area.right(), snap(base))], 1.0, AXIS, None);
    }

    /// Grid lines and labels of the value axis.
    pub(super) fn value_grid(&self, picture: &mut Picture) {
        for tick in self.y_ticks() {
            let y = snap(self.py(tick.at));
            picture.line(vec![(self.area.x, y), (self.area.right(), y)], 1.0, GRID, None);
            let at = (self.area.x - 8.0, y + 0.36 * LABEL_SIZE);
            picture.text(at, &tick.label, LABEL_SIZE, false, LABEL, Anchor::End);
        }
    }

    fn y_ticks(&self) -> Vec<Tick> {
        let most = (self.area.h / 46.0).clamp(2.0, 10.0) as usize;
        let mut ticks = number_ticks(self.y.0, self.y.1, most);
        ticks.retain(|t| (0.0..=1.0).contains(&share(t.at, self.y)));
        ticks
    }

    /// Width of the widest y label.
    pub(super) fn y_label_width(&self) -> f64 {
        self.y_ticks().iter().map(|t| text_width(&t.label, LABEL_SIZE, false)).fold(0.0, f64::max)
    }

    /// Marks with the left end of their labels, which never meet each other nor pass the bounds.
    fn x_ticks(&self, kind: TimeKind, bounds: (f64, f64)) -> Vec<(Tick, f64)> {
        let left_of = |tick: &Tick| {
            let width = text_width(&tick.label, LABEL_SIZE, false);
            let left = self.px(tick.at) - width / 2.0;
            (left.min(bounds.1 - width).max(bounds.0), width)
        };
        let fits = |ticks: &[Tick]| {
            let mut free = f64::NEG_INFINITY;
            let mut context_free = f64::NEG_INFINITY;
            ticks.iter().all(|tick| {
                let (left, width) = left_of(tick);
                let fine = left >= free;
                free = left + width + 12.0;
                let Some(context) = &tick.context else { return fine };
                let half = text_width(context, NOTE_SIZE, false) / 2.0;
                let context_left = (left + width / 2.0 - half).min(bounds.1 - 2.0 * half).max(bounds.0);
                let fine = fine && context_left >= context_free;
                context_free = context_left + 2.0 * half + 10.0;
                fine
            })
        };
        // Dates need room to be read one by one; whole numbers may stand as close as they fit.
        let least = if kind == TimeKind::Date { 62.0 } else { 31.0 };
        let most = (self.area.w / least).clamp(2.0, 31.0) as usize;
        let mut ticks = match kind {
            TimeKind::Date => date_ticks(self.x.0, self.x.1, most, fits),
            TimeKind::Integer => {
                let tries = (1..=most).rev().map(|most| integer_ticks(self.x.0, self.x.1, most));
                tries.into_iter().find(|ticks| fits(ticks)).unwrap_or_default()
            }
        };
        ticks.retain(|t| (-1e-9..=1.0 + 1e-9).contains(&share(t.at, self.x)));
        ticks.into_iter().map(|t| (left_of(&t).0, t)).map(|(left, t)| (t, left)).collect()
    }

    /// Height of the labels below the frame: two lines for dates below a year's step, else one.
    pub(super) fn x_label_height(&self, kind: TimeKind, bounds: (f64, f64)) -> f64 {
        if self.x_ticks(kind, bounds).iter().any(|(t, _)| t.context.is_some()) { 40.0 } else { 24.0 }
    }
}

/// The middle of a pixel: a line one pixel wide is then sharp.
pub(super) fn snap(v: f64) -> f64 {
    v.floor() + 0.5
}

/// The pieces of a series between missing values.
pub(super) fn runs(points: &[Xy]) -> impl Iterator<Item = &[Xy]> {
    points.split(|p| !(p.0.is_finite() && p.1.is_finite())).filter(|run| !run.is_empty())
}

/// At most four points (first, lowest, highest, last) per half pixel column: looks the same, and a series of a million
/// values stays a small file.
fn thin(points: Vec<Xy>) -> Vec<Xy> {
    if points.len() < 2000 {
        return points;
    }
    let column = |p: &Xy| (p.0 * 2.0).floor();
    let mut kept = Vec::new();
    for group in points.chunk_by(|a, b| column(a) == column(b)) {
        let mut picks = vec![0, group.len() - 1];
        let by_y = |a: &usize, b: &usize| group[*a].1.total_cmp(&group[*b].1);
        picks.extend((0..group.len()).min_by(by_y));
        picks.extend((0..group.len()).max_by(by_y));
        picks.sort_unstable();
        picks.dedup();
        kept.extend(picks.into_iter().map(|i| group[i]));
    }
    kept
}

/// The parts of a line between two heights.
fn cut(points: &[Xy], top: f64, bottom: f64) -> Vec<Vec<Xy>> {
    let mut parts: Vec<Vec<Xy>> = Vec::new();
    let mut part: Vec<Xy> = Vec::new();
    for pair in points.windows(2) {
        let ((x0, y0), (x1, y1)) = (pair[0], pair[1]);
        let (dx, dy) = (x1 - x0, y1 - y0);
        let (mut enter, mut leave) = (0.0f64, 1.0f64);
        if dy == 0.0 {
            if y0 < top || y0 > bottom {
                leave = -1.0;
            }
        } else {
            let (a, b) = ((top - y0) / dy, (bottom - y0) / dy);
            enter = enter.max(a.min(b));
            leave = leave.min(a.max(b));
        }
        if enter > leave {
            if part.len() > 1 {
                parts.push(std::mem::take(&mut part));
            }
            part.clear();
            continue;
        }
        if enter > 0.0 || part.is_empty() {
            part = vec![(x0 + dx * enter, y0 + dy * enter)];
        }
        part.push((x0 + dx * leave, y0 + dy * leave));
        if leave < 1.0 {
            parts.push(std::mem::take(&mut part));
        }
    }
    if part.len() > 1 {
        parts.push(part);
    }
    parts
}

/// The part of a polygon on one side of a horizontal line: below it on the screen for `sign` 1, above it for -1.
fn keep_side(ring: &[Xy], line: f64, sign: f64) -> Vec<Xy> {
    let inside = |p: Xy| sign * (p.1 - line) >= 0.0;
    let mut kept = Vec::with_capacity(ring.len() + 4);
    for (i, &from) in ring.iter().enumerate() {
        let to = ring[(i + 1) % ring.len()];
        if inside(from) {
            kept.push(from);
        }
        if inside(from) != inside(to) {
            let t = (line - from.1) / (to.1 - from.1);
            kept.push((from.0 + (to.0 - from.0) * t, line));
        }
    }
    kept
}

/// What a legend entry shows before its name.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Key {
    Line { color: Rgb, width: f64, dash: Option<Dash>, dots: bool },
    Fill { edge: Rgb, fill: Rgb },
    Upright,
}

const KEY_WIDTH: f64 = 22.0;
const ROW: f64 = 20.0;
/// A legend longer than this says how many entries it leaves out.
const ROWS: usize = 5;

/// Legend entries in rows from the top left corner `at`, at most `width` wide. Returns the height used.
pub(super) fn legend(picture: &mut Picture, at: Xy, width: f64, entries: &[(Key, String)]) -> f64 {
    let name_width = (width / 2.0).clamp(60.0, 230.0);
    let (mut x, mut row) = (0.0, 0);
    for (i, (key, name)) in entries.iter().enumerate() {
        let name = elide(name, LABEL_SIZE, false, name_width);
        let needed = KEY_WIDTH + 7.0 + text_width(&name, LABEL_SIZE, false);
        let last = row + 1 == ROWS && i + 1 < entries.len();
        // In the last row, room is kept for the remark.
        if x > 0.0 && x + needed > width - if last { 90.0 } else { 0.0 } {
            if row + 1 == ROWS {
                let more = format!("and {} more", entries.len() - i);
                let baseline = at.1 + row as f64 * ROW + 14.0;
                picture.text((at.0 + x, baseline), &more, LABEL_SIZE, false, MUTED, Anchor::Start);
                break;
            }
            x = 0.0;
            row += 1;
        }
        let (left, middle) = (at.0 + x, at.1 + row as f64 * ROW + 9.5);
        draw_key(picture, *key, left, middle);
        let text_at = (left + KEY_WIDTH + 7.0, middle + 4.5);
        picture.text(text_at, &name, LABEL_SIZE, false, LABEL, Anchor::Start);
        x += needed + 20.0;
    }
    if entries.is_empty() { 0.0 } else { (row + 1) as f64 * ROW }
}

fn draw_key(picture: &mut Picture, key: Key, left: f64, middle: f64) {
    match key {
        Key::Line { color, width, dash, dots } => {
            picture.line(vec![(left, middle), (left + KEY_WIDTH, middle)], width, color, dash);
            if dots {
                picture.disc((left + KEY_WIDTH / 2.0, middle), 2.4, color);
            }
        }
        Key::Fill { edge, fill } => picture.framed_rect((left + 3.0, middle - 6.0), (KEY_WIDTH - 6.0, 12.0), edge, fill),
        Key::Upright => {
            let x = snap(left + KEY_WIDTH / 2.0);
            picture.line(vec![(x, middle - 7.0), (x, middle + 7.0)], CUTOFF_WIDTH, CUTOFF, Some(CUTOFF_DASH));
        }
    }
}

pub(super) const CUTOFF: Rgb = Rgb(120, 120, 120);
pub(super) const CUTOFF_WIDTH: f64 = 1.0;
pub(super) const CUTOFF_DASH: Dash = (4.0, 3.0);

/// Range with room around it: never empty, never infinite. `share` of the span is added on both sides; numbers that
/// are all the same get a span around them.
pub(super) fn padded((lo, hi): (f64, f64), share: f64) -> (f64, f64) {
    let largest = lo.abs().max(hi.abs());
    let half = hi / 2.0 - lo / 2.0;
    let pad = if half <= largest * 1e-12 { if largest == 0.0 { 1.0 } else { largest * 0.1 } } else { 2.0 * half * share };
    // Subnormal numbers have no room between them.
    let pad = pad.max(f64::MIN_POSITIVE * 1e3);
    ((lo - pad).max(f64::MIN / 2.0), (hi + pad).min(f64::MAX / 2.0))
}

/// Range of the positions `lo..=hi` with a little room, or `step` around a single one.
pub(super) fn x_range((lo, hi): (f64, f64), step: f64) -> (f64, f64) {
    let half = hi / 2.0 - lo / 2.0;
    let pad = if half > 0.0 { half * 0.024 } else { step.max(lo.abs() * 1e-9) };
    ((lo - pad).max(f64::MIN / 2.0), (hi + pad).min(f64::MAX / 2.0))
}

/// Smallest and largest finite number.
pub(super) fn extent(values: impl Iterator<Item = f64>) -> Option<(f64, f64)> {
    values.filter(|v| v.is_finite()).fold(None, |range, v| {
        let (lo, hi) = range.unwrap_or((v, v));
        Some((v.min(lo), v.max(hi)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_cut_at_the_frame() {
        let zigzag = [(0.0, 5.0), (10.0, -5.0), (20.0, 5.0), (30.0, 15.0)];
        assert_eq!(cut(&zigzag, 0.0, 10.0), vec![vec![(0.0, 5.0), (5.0, 0.0)], vec![(15.0, 0.0), (20.0, 5.0), (25.0, 10.0)]]);
        assert!(cut(&[(0.0, -1.0), (5.0, -1.0)], 0.0, 10.0).is_empty());
        assert_eq!(cut(&[(0.0, -1.0), (5.0, 11.0)], 0.0, 11.0).len(), 1);
    }

    #[test]
    fn polygons_are_cut_at_the_frame() {
        let square = [(0.0, 0.0), (10.0, 0.0), (10.0, 10.0), (0.0, 10.0)];
        assert_eq!(keep_side(&square, 4.0, 1.0), vec![(10.0, 4.0), (10.0, 10.0), (0.0, 10.0), (0.0, 4.0)]);
        assert!(keep_side(&square, 40.0, 1.0).is_empty());
        assert_eq!(keep_side(&square, 40.0, -1.0), square);
    }

    #[test]
    fn thinning_keeps_extremes() {
        let mut points: Vec<Xy> = (0..100_000).map(|i| (f64::from(i) / 200.0, f64::from(i % 7))).collect();
        points[54_321].1 = 99.0;
        let kept = thin(points.clone());
        assert!(kept.len() < 5000 && kept.contains(&points[54_321]) && kept[0] == points[0]);
        assert!(kept.is_sorted_by(|a, b| a.0 <= b.0));
    }

    #[test]
    fn ranges_always_have_room() {
        for range in [(0.0, 0.0), (5.0, 5.0), (-1e300, 1e300), (f64::MIN, f64::MAX), (1e15, 1e15 + 0.25), (0.0, 5e-324)] {
            let (lo, hi) = padded(range, 0.05);
            assert!(lo < hi && lo.is_finite() && hi.is_finite(), "{range:?} -> {lo} {hi}");
        }
        assert_eq!(padded((0.0, 10.0), 0.05), (-0.5, 10.5));
        assert_eq!(x_range((3.0, 3.0), 1.0), (2.0, 4.0));
        // A few microseconds in our days are a range, not a rounding error.
        let (lo, hi) = x_range((1.7e15, 1.7e15 + 100.0), 1.0);
        assert!(1.7e15 - lo < 4.0 && hi - 1.7e15 < 104.0);
    }

    #[test]
    fn breaks_at_missing_values() {
        let points = [(0.0, 1.0), (1.0, f64::NAN), (2.0, 1.0), (3.0, f64::INFINITY), (4.0, 2.0), (5.0, 2.0)];
        assert_eq!(runs(&points).map(<[Xy]>::len).collect::<Vec<_>>(), [1, 1, 2]);
    }

    #[test]
    fn a_long_legend_wraps_and_says_what_is_missing() {
        let mut picture = Picture::new(600.0, 400.0, "");
        let key = Key::Fill { edge: AXIS, fill: AXIS };
        let entries: Vec<_> = (0..80).map(|i| (key, format!("model-{i:02}"))).collect();
        let height = legend(&mut picture, (10.0, 10.0), 580.0, &entries);
        assert_eq!(height, ROWS as f64 * ROW);
        assert!(picture.texts().last().is_some_and(|t| t.starts_with("and ") && t.ends_with(" more")));
        assert!(picture.labels().all(|l| l.bounds().2 <= 590.0));
    }
}
