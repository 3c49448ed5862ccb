//! History, forecasts and their intervals: one large chart, or small multiples for several series.

use super::PlotError;
use super::axes::{Area, CUTOFF, CUTOFF_DASH, CUTOFF_WIDTH, Frame, Key, TimeKind, extent, legend, padded, x_range};
use super::font::text_width;
use super::scene::{Anchor, Picture, Xy};
use super::style::{
    ACTUAL, HISTORY, INK, LABEL, LABEL_SIZE, LineStyle, MARGIN, MUTED, NOTE_SIZE, PANEL_TITLE_SIZE, Rgb, TITLE_SIZE, elide,
    level_label, model_line,
};
use super::ticks::value_count;
use super::{HEIGHT, WIDTH};

/// One prediction interval over the horizon. `lo` and `hi` have the same positions.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Band {
    /// Coverage in percent, for example 80.
    pub level: f64,
    /// Lower bounds as (position, value).
    pub lo: Vec<(f64, f64)>,
    /// Upper bounds as (position, value).
    pub hi: Vec<(f64, f64)>,
}

/// What one model predicts from one cutoff. The same name may appear several times in a panel (one per cutoff): same
/// colour, one legend entry.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ModelForecast {
    /// Model name as the legend shows it.
    pub name: String,
    /// The forecast as (position, value), in order of position.
    pub points: Vec<(f64, f64)>,
    /// Its intervals, in any order.
    pub bands: Vec<Band>,
}

/// One series with its forecasts. A value that is not a finite number is missing: the line breaks there.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ForecastPanel {
    /// Series id, shown above the panel; long ids lose their middle.
    pub title: String,
    /// What was observed, as (position, value) in order of position.
    pub history: Vec<(f64, f64)>,
    /// The forecasts.
    pub models: Vec<ModelForecast>,
    /// What was observed later, if known and not part of `history`.
    pub actual: Vec<(f64, f64)>,
    /// Positions of dashed upright lines: the last observation each forecast saw.
    pub cutoffs: Vec<f64>,
}

/// How a forecast chart looks.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ForecastOptions {
    /// Title of the whole picture; may be empty.
    pub title: String,
    /// Name of the forecast quantity, shown above the value axis; may be empty.
    pub value_name: String,
    /// Meaning of the positions.
    pub kind: TimeKind,
    /// Show at most so many observations before the first forecast ([`readable_tail`]); `None` shows all.
    pub tail: Option<usize>,
    /// Number of series there are, when only some are given as panels; 0 if all are.
    pub total: usize,
}

/// Small multiples stop being readable above this number; the picture says how many series it leaves out.
pub const MOST_PANELS: usize = 16;
/// With more models than this, only the first one's intervals are drawn.
const MOST_BANDED: usize = 3;
/// Opacity of one interval. Wide and narrow ones overlap, so the narrow one is darker.
const BAND_ALPHA: f64 = 0.17;

/// Remark of a panel without a finite value.
const NO_VALUE: &str = "no value to show";

/// How many observations before a forecast make a readable chart: five seasons or six horizons, whichever is more, and
/// not less than 30.
pub fn readable_tail(season: usize, horizon: usize) -> usize {
    season.saturating_mul(5).max(horizon.saturating_mul(6)).max(30)
}

/// Draws history, forecasts, intervals and cutoffs: one series as one chart of 1000 x 560, up to 16 as small multiples
/// (more are left out, and the picture says so).
///
/// The value axis follows observations and point forecasts; intervals or forecasts that run far beyond are cut at the
/// frame, and the panel says so. Errors: [`PlotError::Empty`] without panels or without a single finite value.
/// Cost: linear in the number of points.
pub fn forecast_chart(panels: &[ForecastPanel], options: &ForecastOptions) -> Result<Picture, PlotError> {
    let sheet = Sheet::new(panels, options)?;
    let single = sheet.panels.len() == 1;
    let width = if single { f64::from(WIDTH) } else { sheet.width() };
    let mut picture = Picture::new(width, 0.0, &options.title);
    let top = header(&mut picture, &options.title, if single { "" } else { &options.value_name }, &sheet.legend(Vec::new()));
    let footer = if sheet.notes().is_empty() { 0.0 } else { 24.0 };
    let height = if single {
        f64::from(HEIGHT).max(top + 330.0 + footer + MARGIN)
    } else {
        top + sheet.grid_height() + footer + MARGIN / 2.0
    };
    picture.height = height.ceil() as u32;
    let edge = if single { MARGIN } else { MARGIN / 2.0 };
    sheet.draw(&mut picture, Area { x: MARGIN, y: top, w: width - 2.0 * MARGIN, h: height - top - footer - edge });
    footnotes(&mut picture, &sheet.notes());
    Ok(picture)
}

/// Title and legend; returns where the charts may begin.
pub(super) fn header(picture: &mut Picture, title: &str, aside: &str, entries: &[(Key, String)]) -> f64 {
    let room = f64::from(picture.width) - 2.0 * MARGIN;
    let mut y = MARGIN;
    let title = if title.trim().is_empty() { String::new() } else { elide(title, TITLE_SIZE, true, room) };
    if !title.is_empty() {
        picture.text((MARGIN, y + 14.0), &title, TITLE_SIZE, true, INK, Anchor::Start);
        let used = text_width(&title, TITLE_SIZE, true) + 14.0;
        if !aside.is_empty() && room - used > 80.0 {
            let aside = elide(aside, LABEL_SIZE, false, room - used);
            picture.text((MARGIN + used, y + 14.0), &aside, LABEL_SIZE, false, MUTED, Anchor::Start);
        }
        y += 30.0;
    }
    let used = legend(picture, (MARGIN, y), room, entries);
    y + used + if used > 0.0 { 10.0 } else { 0.0 }
}

/// Remarks at the bottom left.
pub(super) fn footnotes(picture: &mut Picture, notes: &[String]) {
    let text = elide(&notes.join(" · "), NOTE_SIZE, false, f64::from(picture.width) - 2.0 * MARGIN);
    let at = (MARGIN, f64::from(picture.height) - 12.0);
    picture.text(at, &text, NOTE_SIZE, false, MUTED, Anchor::Start);
}

/// The panels of one picture with what they share.
pub(super) struct Sheet<'a> {
    panels: Vec<Panel<'a>>,
    options: &'a ForecastOptions,
    /// Model names in order of appearance: the position is the colour.
    pub names: Vec<&'a str>,
    /// Levels from wide to narrow.
    levels: Vec<f64>,
    /// The only model whose intervals are drawn, when there are too many models.
    banded: Option<&'a str>,
    left_out: Option<(usize, usize)>,
}

/// One series, cut to what is shown.
struct Panel<'a> {
    data: &'a ForecastPanel,
    history: &'a [Xy],
    x: (f64, f64),
    y: (f64, f64),
    remark: &'static str,
}

impl<'a> Sheet<'a> {
    pub(super) fn new(panels: &'a [ForecastPanel], options: &'a ForecastOptions) -> Result<Sheet<'a>, PlotError> {
        if panels.is_empty() {
            return Err(PlotError::Empty("there is no series".into()));
        }
        let shown = &panels[..panels.len().min(MOST_PANELS)];
        let values = |p: &ForecastPanel| {
            let models = p.models.iter().flat_map(|m| &m.points);
            p.history.iter().chain(models).chain(&p.actual).any(|v| v.0.is_finite() && v.1.is_finite())
        };
        if !shown.iter().any(values) {
            return Err(PlotError::Empty("no series has a finite value".into()));
        }
        let mut names: Vec<&str> = Vec::new();
        let mut levels: Vec<f64> = Vec::new();
        for model in shown.iter().flat_map(|p| &p.models) {
            if !names.contains(&model.name.as_str()) {
                names.push(&model.name);
            }
            levels.extend(model.bands.iter().map(|b| b.level).filter(|level| level.is_finite()));
        }
        levels.sort_by(|a, b| b.total_cmp(a));
        levels.dedup();
        let first_banded = || shown.iter().flat_map(|p| &p.models).find(|m| !m.bands.is_empty()).map(|m| m.name.as_str());
        let banded = if names.len() > MOST_BANDED { first_banded() } else { None };
        let total = options.total.max(panels.len());
        let left_out = (total > shown.len()).then_some((shown.len(), total));
        let panels = shown.iter().map(|data| Panel::new(data, options, banded)).collect();
        Ok(Sheet { panels, options, names, levels, banded, left_out })
    }

    /// Columns and rows of the grid.
    pub(super) fn shape(&self) -> (usize, usize) {
        let columns = match self.panels.len() {
            n @ 1..=3 => n,
            4 => 2,
            5..=9 => 3,
            _ => 4,
        };
        (columns, self.panels.len().div_ceil(columns))
    }

    /// Height of the grid of panels: the fewer there are, the larger they are.
    pub(super) fn grid_height(&self) -> f64 {
        match self.shape() {
            (1, 1) => 370.0,
            (_, 1) => 340.0,
            (2, rows) => rows as f64 * 280.0,
            (_, rows) => rows as f64 * 240.0,
        }
    }

    /// Width of the picture.
    pub(super) fn width(&self) -> f64 {
        f64::from(WIDTH).max(self.shape().0 as f64 * 350.0)
    }

    fn draws_bands(&self, model: &ModelForecast) -> bool {
        !model.bands.is_empty() && self.banded.is_none_or(|only| model.name == only)
    }

    pub(super) fn color(&self, name: &str) -> LineStyle {
        model_line(self.names.iter().position(|n| *n == name).unwrap_or(0))
    }

    /// Everything that needs a name; `more` models come after those with a line.
    pub(super) fn legend(&self, more: Vec<(Key, String)>) -> Vec<(Key, String)> {
        let line = |color, width, dash, dots| Key::Line { color, width, dash, dots };
        let any = |f: fn(&ForecastPanel) -> bool| self.panels.iter().any(|p| f(p.data));
        let mut entries = Vec::new();
        if any(|p| !p.history.is_empty()) {
            entries.push((line(HISTORY, 1.5, None, false), "observed".to_string()));
        }
        if any(|p| !p.actual.is_empty()) {
            entries.push((line(ACTUAL, 1.5, None, true), "observed later".to_string()));
        }
        for name in &self.names {
            let (color, dash) = self.color(name);
            entries.push((line(color, 2.0, dash, false), (*name).to_string()));
        }
        entries.extend(more);
        // The intervals of one model have its colour, for those of several a neutral grey stands.
        let mut with_bands =
            self.panels.iter().flat_map(|p| p.data.models.iter().filter(|m| self.draws_bands(m))).map(|m| &m.name);
        let base = match with_bands.next() {
            Some(first) if with_bands.all(|name| name == first) => self.color(first).0,
            _ => Rgb(90, 90, 90),
        };
        for (i, &level) in self.levels.iter().enumerate() {
            let color = base.tint(1.0 - (1.0 - BAND_ALPHA).powi(i as i32 + 1));
            entries.push((Key::Fill { edge: color, fill: color }, level_label(level)));
        }
        if any(|p| !p.cutoffs.is_empty()) {
            entries.push((Key::Upright, "cutoff".to_string()));
        }
        entries
    }

    pub(super) fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        if let Some((shown, total)) = self.left_out {
            let total = value_count(total);
            notes.push(if shown == 1 {
                format!("the first of {total} series")
            } else {
                format!("the first {shown} of {total} series")
            });
        }
        let cut: Vec<_> = self.panels.iter().filter(|p| p.history.len() < p.data.history.len()).collect();
        match cut[..] {
            [] => {}
            [only] if self.panels.len() == 1 => {
                let [shown, all] = [only.history.len(), only.data.history.len()].map(value_count);
                notes.push(format!("the last {shown} of {all} observations"));
            }
            _ => notes.push("earlier observations are left out".to_string()),
        }
        if let Some(name) = self.banded {
            notes.push(format!("intervals of {} only", elide(name, NOTE_SIZE, false, 260.0)));
        }
        notes
    }

    /// Draws all panels into the area.
    pub(super) fn draw(&self, picture: &mut Picture, area: Area) {
        let (columns, rows) = self.shape();
        let gap = if columns > 1 { 24.0 } else { 0.0 };
        let cell_w = (area.w - gap * (columns as f64 - 1.0)) / columns as f64;
        let cell_h = area.h / rows as f64;
        let kind = self.options.kind;
        let cells: Vec<Area> = (0..self.panels.len())
            .map(|i| Area {
                x: area.x + (i % columns) as f64 * (cell_w + gap),
                y: area.y + (i / columns) as f64 * cell_h,
                w: cell_w,
                h: cell_h,
            })
            .collect();
        let single = self.panels.len() == 1;
        let bare = |p: &Panel<'a>| self.panel_title(p).is_empty() && p.remark.is_empty();
        let strip = if self.value_name().is_empty() && self.panels.iter().all(bare) { 8.0 } else { 30.0 };
        // Panels of a column share their left edge, panels of the picture the height below the frame.
        let frame = |i: usize, left: f64, below: f64| {
            let (cell, panel) = (cells[i], &self.panels[i]);
            let area = Area { x: cell.x + left, y: cell.y + strip, w: cell.w - left, h: (cell.h - strip - below).max(40.0) };
            Frame { area, x: panel.x, y: panel.y }
        };
        let left: Vec<f64> = (0..columns)
            .map(|c| (c..cells.len()).step_by(columns).map(|i| frame(i, 60.0, 40.0).y_label_width()).fold(0.0, f64::max) + 10.0)
            .collect();
        // An axis label may reach a little beyond its panel, into the gap.
        let bounds = |i: usize| (cells[i].x - gap / 3.0, cells[i].right() + if single { MARGIN - 6.0 } else { gap / 3.0 });
        let below =
            (0..cells.len()).map(|i| frame(i, left[i % columns], 40.0).x_label_height(kind, bounds(i))).fold(0.0, f64::max);
        for (i, panel) in self.panels.iter().enumerate() {
            let frame = frame(i, left[i % columns], below + if single { 0.0 } else { 10.0 });
            self.draw_panel(picture, panel, &frame, cells[i], bounds(i));
        }
    }

    /// The panel's own title, unless the picture already says it.
    fn panel_title(&self, panel: &Panel<'a>) -> &'a str {
        let title = panel.data.title.trim();
        if self.panels.len() == 1 && title == self.options.title.trim() { "" } else { title }
    }

    /// The name of the values above the axis; several panels share the one in the header.
    fn value_name(&self) -> &str {
        if self.panels.len() == 1 { self.options.value_name.trim() } else { "" }
    }

    fn draw_panel(&self, picture: &mut Picture, panel: &Panel<'a>, frame: &Frame, cell: Area, bounds: (f64, f64)) {
        self.draw_strip(picture, panel, frame, cell);
        if panel.remark == NO_VALUE {
            return;
        }
        frame.axes(picture, self.options.kind, bounds);
        let mut bands: Vec<_> =
            panel.data.models.iter().filter(|m| self.draws_bands(m)).flat_map(|m| m.bands.iter().map(move |b| (m, b))).collect();
        bands.sort_by(|a, b| b.1.level.total_cmp(&a.1.level));
        for (model, band) in bands {
            let from = panel.joint(&model.points).filter(|_| band.lo.first().map(|p| p.0) == model.points.first().map(|p| p.0));
            let joined = |bound: &[Xy]| -> Vec<Xy> { from.iter().chain(bound).copied().collect() };
            frame.band(picture, &joined(&band.lo), &joined(&band.hi), self.color(&model.name).0, BAND_ALPHA);
        }
        for &cutoff in panel.data.cutoffs.iter().filter(|c| **c >= frame.x.0 && **c <= frame.x.1) {
            let x = super::axes::snap(frame.px(cutoff));
            picture.line(vec![(x, frame.area.y), (x, frame.area.bottom())], CUTOFF_WIDTH, CUTOFF, Some(CUTOFF_DASH));
        }
        let thin = if self.panels.len() > 4 { 0.8 } else { 1.0 };
        frame.line(picture, panel.history, 1.5 * thin, HISTORY, None);
        let last = panel.joint(&panel.data.actual);
        let actual: Vec<Xy> = last.iter().chain(&panel.data.actual).copied().collect();
        frame.line(picture, &actual, 1.5 * thin, ACTUAL, None);
        // Dots only where they do not run together.
        if frame.area.w > 6.0 * (panel.history.len() + panel.data.actual.len()) as f64 {
            frame.dots(picture, &panel.data.actual, 2.2 * thin, ACTUAL);
        }
        for model in &panel.data.models {
            let (color, dash) = self.color(&model.name);
            let points: Vec<Xy> = panel.joint(&model.points).iter().chain(&model.points).copied().collect();
            frame.line(picture, &points, 2.0 * thin, color, dash);
            if let [only] = model.points[..] {
                frame.dots(picture, &[only], 3.0, color);
            }
        }
    }

    fn draw_strip(&self, picture: &mut Picture, panel: &Panel<'a>, frame: &Frame, cell: Area) {
        let baseline = frame.area.y - 14.0;
        let (mut x, mut room) = (cell.x, cell.w);
        if !panel.remark.is_empty() {
            picture.text((cell.right(), baseline), panel.remark, NOTE_SIZE, false, MUTED, Anchor::End);
            room -= text_width(panel.remark, NOTE_SIZE, false) + 12.0;
        }
        let title = self.panel_title(panel);
        if !title.is_empty() {
            let title = elide(title, PANEL_TITLE_SIZE, true, room);
            picture.text((x, baseline), &title, PANEL_TITLE_SIZE, true, INK, Anchor::Start);
            let used = text_width(&title, PANEL_TITLE_SIZE, true) + 12.0;
            (x, room) = (x + used, room - used);
        }
        if room > 40.0 {
            let name = elide(self.value_name(), LABEL_SIZE, false, room);
            picture.text((x, baseline), &name, LABEL_SIZE, false, LABEL, Anchor::Start);
        }
    }
}

impl<'a> Panel<'a> {
    fn new(data: &'a ForecastPanel, options: &ForecastOptions, banded: Option<&str>) -> Panel<'a> {
        let starts = data.models.iter().filter_map(|m| m.points.first()).map(|p| p.0);
        let start = extent(starts).map_or(f64::INFINITY, |(first, _)| first);
        let before = data.history.iter().filter(|p| p.0 < start).count();
        let skip = options.tail.map_or(0, |tail| before.saturating_sub(tail.max(1)));
        let history = &data.history[skip.min(data.history.len())..];
        let lines = data.models.iter().flat_map(|m| &m.points).chain(&data.actual);
        let positions = history.iter().chain(lines).map(|p| p.0);
        let x = extent(positions).unwrap_or((0.0, 1.0));
        let x = x_range(x, if options.kind == TimeKind::Date { 86_400e6 } else { 1.0 });
        let (y, remark) = value_range(data, history, banded);
        Panel { data, history, x, y, remark }
    }

    /// The last observation before the first of `points`: where their line starts.
    fn joint(&self, points: &[Xy]) -> Option<Xy> {
        let first = points.first().filter(|p| p.0.is_finite() && p.1.is_finite())?;
        self.history.iter().rev().find(|p| p.0 < first.0 && p.1.is_finite()).copied()
    }
}

/// The range of the value axis and a remark if something is cut.
///
/// Observations always fit. Forecasts fit unless they leave the observed range by ten times its width (then they are
/// shown up to three times). Intervals fit unless they leave all lines by one and a half times their range (then three quarters).
fn value_range(data: &ForecastPanel, history: &[Xy], banded: Option<&str>) -> ((f64, f64), &'static str) {
    let lines = data.models.iter().flat_map(|m| &m.points).map(|p| p.1);
    let forecasts = extent(lines);
    let observed = extent(history.iter().chain(&data.actual).map(|p| p.1));
    let Some(core) = observed.or(forecasts) else { return ((0.0, 1.0), NO_VALUE) };
    let span = core.1 - core.0;
    let (mut lo, mut hi) = core;
    let mut cut_line = false;
    if let Some((f_lo, f_hi)) = forecasts {
        let wild = |beyond: f64| span > core.0.abs().max(core.1.abs()) * 1e-9 && beyond > 10.0 * span;
        (lo, hi) = (lo.min(f_lo), hi.max(f_hi));
        if wild(core.0 - f_lo) {
            (lo, cut_line) = (core.0 - 3.0 * span, true);
        }
        if wild(f_hi - core.1) {
            (hi, cut_line) = (core.1 + 3.0 * span, true);
        }
    }
    let bands = || data.models.iter().filter(|m| banded.is_none_or(|only| m.name == only)).flat_map(|m| &m.bands);
    let bounds = || bands().flat_map(|b| b.lo.iter().chain(&b.hi)).map(|p| p.1);
    let mut room = hi - lo;
    if room <= lo.abs().max(hi.abs()) * 1e-9 {
        // A flat series: the first width that is not zero sets the scale.
        let widths = bands().flat_map(|b| b.lo.iter().zip(&b.hi)).map(|(l, h)| h.1 - l.1).filter(|w| w.is_finite() && *w > 0.0);
        room = 4.0 * widths.fold(f64::INFINITY, f64::min);
    }
    let mut cut_band = bounds().any(f64::is_infinite);
    if let Some((b_lo, b_hi)) = extent(bounds()) {
        if lo - b_lo > 1.5 * room {
            (lo, cut_band) = (lo - 0.75 * room, true);
        } else {
            lo = lo.min(b_lo);
        }
        if b_hi - hi > 1.5 * room {
            (hi, cut_band) = (hi + 0.75 * room, true);
        } else {
            hi = hi.max(b_hi);
        }
    }
    let (low, high) = padded((lo, hi), 0.05);
    // No negative numbers on an axis of what is never negative.
    let low = if lo >= 0.0 && low < 0.0 { 0.0 } else { low };
    let remark = match (cut_line, cut_band) {
        (true, true) => "forecast and interval clipped",
        (true, false) => "forecast clipped",
        (false, true) => "interval clipped",
        (false, false) => "",
    };
    ((low, high), remark)
}
