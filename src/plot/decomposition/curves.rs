//! How well a decomposition fits: by sweep, by rank, by component.

use crate::plot::axes::{Area, CUTOFF, CUTOFF_DASH, CUTOFF_WIDTH, Frame, Key, TimeKind, extent, padded, snap, x_range};
use crate::plot::forecast::{footnotes, header};
use crate::plot::scene::{Anchor, Picture, Xy};
use crate::plot::style::{INK, LABEL, LABEL_SIZE, MARGIN, PANEL_TITLE_SIZE, elide, model_line};
use crate::plot::{BarGroup, Curve, HEIGHT, PlotError, WIDTH, bars};

/// Draws the fit of one or several starts against the sweep (from 1), one line each.
///
/// Errors: [`PlotError::Empty`] without a finite fit. Cost: linear.
pub fn fit_chart(curves: &[Curve], title: &str) -> Result<Picture, PlotError> {
    let Some(ends) = extent(curves.iter().flat_map(|c| c.values.iter().copied())) else {
        return Err(PlotError::Empty("no sweep has a finite fit".into()));
    };
    let mut picture = Picture::new(f64::from(WIDTH), f64::from(HEIGHT), title);
    let entry = |(i, c): (usize, &Curve)| {
        let (color, dash) = model_line(i);
        (Key::Line { color, width: 2.0, dash, dots: false }, c.name.clone())
    };
    let entries: Vec<_> = if curves.len() > 1 { curves.iter().enumerate().map(entry).collect() } else { Vec::new() };
    let top = header(&mut picture, title, "", &entries);
    let height = f64::from(HEIGHT).max(top + 330.0);
    picture.height = height.ceil() as u32;
    let sweeps = curves.iter().map(|c| c.values.len()).max().unwrap_or(1).max(1) as f64;
    let area = Area { x: MARGIN, y: top, w: f64::from(WIDTH) - 2.0 * MARGIN, h: height - top - MARGIN };
    let chart = Chart { area, heading: "", name: "fit", x_name: "sweep", x: x_range((1.0, sweeps), 1.0), y: fit_range(ends) };
    let frame = chart.draw(&mut picture);
    // The first start lies on top: it is the one that was chosen.
    for (i, curve) in curves.iter().enumerate().rev() {
        let points: Vec<Xy> = curve.values.iter().enumerate().map(|(k, v)| (k as f64 + 1.0, *v)).collect();
        let (color, dash) = model_line(i);
        frame.line(&mut picture, &points, 2.0, color, dash);
        if frame.area.w / points.len().max(1) as f64 >= 24.0 {
            frame.dots(&mut picture, &points, 2.8, color);
        }
    }
    Ok(picture)
}

/// One rank of a scan.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RankPoint {
    /// Number of components.
    pub rank: usize,
    /// Fit; not finite if there is none.
    pub fit: f64,
    /// Core consistency in percent; not finite if there is none.
    pub corcondia: f64,
}

/// Core consistency is shown down to here: anything below says the same.
const LEAST_CORCONDIA: f64 = -20.0;

/// Draws fit and core consistency (CORCONDIA) against the rank, side by side (the fit alone where there is no consistency); `chosen`
/// marks a rank.
///
/// Core consistencies below −20 % are drawn at the lower end, and the picture says so. Errors: [`PlotError::Empty`] without a finite fit.
pub fn rank_scan_chart(points: &[RankPoint], chosen: Option<usize>, title: &str) -> Result<Picture, PlotError> {
    let Some(fits) = extent(points.iter().map(|p| p.fit)) else {
        return Err(PlotError::Empty("no rank has a finite fit".into()));
    };
    let mut picture = Picture::new(f64::from(WIDTH), 0.0, title);
    let marked = chosen.filter(|c| points.iter().any(|p| p.rank == *c));
    let entries: Vec<_> = marked.iter().map(|c| (Key::Upright, format!("rank {c}, chosen"))).collect();
    let top = header(&mut picture, title, "", &entries);
    let both = points.iter().any(|p| p.corcondia.is_finite());
    let cut = points.iter().any(|p| p.corcondia < LEAST_CORCONDIA);
    let notes: Vec<String> = if cut {
        vec![format!("core consistencies below −{} % are drawn at the lower end", -LEAST_CORCONDIA)]
    } else {
        Vec::new()
    };
    let height = 420.0;
    picture.height = (top + height + if cut { 24.0 } else { 0.0 } + MARGIN / 2.0).ceil() as u32;
    let gap = 30.0;
    let whole = f64::from(WIDTH) - 2.0 * MARGIN;
    let w = if both { (whole - gap) / 2.0 } else { whole };
    let ranks = extent(points.iter().map(|p| p.rank as f64)).unwrap_or((1.0, 1.0));
    let x = x_range(ranks, 1.0);
    let fit = Chart {
        area: Area { x: MARGIN, y: top, w, h: height },
        heading: if both { "Fit" } else { "" },
        name: if both { "" } else { "fit" },
        x_name: "rank",
        x,
        y: fit_range(fits),
    };
    let mut series = vec![(fit.draw(&mut picture), points.iter().map(|p| (p.rank as f64, p.fit)).collect::<Vec<Xy>>(), 0)];
    if both {
        let shown =
            |p: &RankPoint| if p.corcondia == f64::NEG_INFINITY { LEAST_CORCONDIA } else { p.corcondia.max(LEAST_CORCONDIA) };
        let values: Vec<Xy> =
            points.iter().map(|p| (p.rank as f64, if p.corcondia.is_nan() { f64::NAN } else { shown(p) })).collect();
        let (lo, hi) = extent(values.iter().map(|v| v.1)).unwrap_or((0.0, 100.0));
        let consistency = Chart {
            area: Area { x: MARGIN + w + gap, y: top, w, h: height },
            heading: "Core consistency",
            name: "%",
            x_name: "rank",
            x,
            y: (padded((lo.min(0.0), hi.max(100.0)), 0.05).0.min(0.0), hi.max(100.0) + 5.0),
        };
        series.push((consistency.draw(&mut picture), values, 1));
    }
    for (frame, mut values, style) in series {
        values.sort_by(|a, b| a.0.total_cmp(&b.0));
        if let Some(c) = marked {
            let px = snap(frame.px(c as f64));
            picture.line(vec![(px, frame.area.y), (px, frame.area.bottom())], CUTOFF_WIDTH, CUTOFF, Some(CUTOFF_DASH));
        }
        let color = model_line(style).0;
        frame.line(&mut picture, &values, 2.0, color, None);
        frame.dots(&mut picture, &values, 3.4, color);
    }
    footnotes(&mut picture, &notes);
    Ok(picture)
}

/// Draws a bar for each component: the share of the tensor's sum of squares that it explains alone, as a fraction.
///
/// A share is never negative: one that is, or that is not finite, is shown as `n/a`. Errors: [`PlotError::Empty`] without any share.
pub fn explained_chart(shares: &[f64], title: &str) -> Result<Picture, PlotError> {
    let group = |(r, share): (usize, &f64)| BarGroup {
        name: format!("c{r}"),
        values: vec![if *share >= 0.0 { *share } else { f64::NAN }],
    };
    let groups: Vec<BarGroup> = shares.iter().enumerate().map(group).collect();
    bars(&["component alone".to_string()], &groups, "share of the sum of squares", title)
}

/// Room around fits: not above 1 unless some are.
fn fit_range((lo, hi): (f64, f64)) -> (f64, f64) {
    let (low, high) = padded((lo, hi), 0.06);
    let low = if lo >= 0.0 && (lo <= 0.35 * hi || low < 0.0) { 0.0 } else { low };
    // A line at 1 must not lie on the frame's edge.
    let high = if hi <= 1.0 && high > 1.0 { 1.0 + 0.015 * (1.0 - low).max(1e-9) } else { high };
    (low, high)
}

/// A chart with whole numbers along the x axis.
struct Chart<'a> {
    area: Area,
    heading: &'a str,
    /// What is measured, above the axis.
    name: &'a str,
    x_name: &'a str,
    x: (f64, f64),
    y: (f64, f64),
}

impl Chart<'_> {
    /// Draws headings and axes; the lines are drawn into the frame.
    fn draw(&self, picture: &mut Picture) -> Frame {
        let frame = |left: f64| Frame {
            area: Area {
                x: self.area.x + left,
                y: self.area.y + 28.0,
                w: self.area.w - left,
                h: (self.area.h - 28.0 - 44.0).max(40.0),
            },
            x: self.x,
            y: self.y,
        };
        let frame = frame(frame(60.0).y_label_width() + 10.0);
        let at = self.area.y + 14.0;
        let used = if self.heading.is_empty() {
            0.0
        } else {
            crate::plot::font::text_width(self.heading, PANEL_TITLE_SIZE, true) + 12.0
        };
        picture.text((self.area.x, at), self.heading, PANEL_TITLE_SIZE, true, INK, Anchor::Start);
        let name = elide(self.name, LABEL_SIZE, false, self.area.w - used);
        picture.text((self.area.x + used, at), &name, LABEL_SIZE, false, LABEL, Anchor::Start);
        frame.axes(picture, TimeKind::Integer, (self.area.x, self.area.right()));
        let middle = frame.area.x + frame.area.w / 2.0;
        picture.text((middle, frame.area.bottom() + 40.0), self.x_name, LABEL_SIZE, false, LABEL, Anchor::Middle);
        frame
    }
}
