//! Criteria against the number of clusters.

use super::style::{Panel, check_len};
use crate::plot::axes::{Area, CUTOFF, CUTOFF_DASH, Key, extent, padded, snap, x_range};
use crate::plot::forecast::{footnotes, header};
use crate::plot::scene::Picture;
use crate::plot::style::{MARGIN, Rgb, WHITE, model_line};
use crate::plot::{PlotError, WIDTH};

/// One criterion of a scan.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Criterion {
    /// What it is called: `silhouette`, `BIC`, ….
    pub name: String,
    /// One number for each k; not finite where there is none.
    pub values: Vec<f64>,
    /// Standard errors of the numbers, if they have any.
    pub errors: Option<Vec<f64>>,
    /// The k that this criterion prefers.
    pub best: Option<usize>,
}

const RING: Rgb = Rgb(213, 94, 0);

/// Draws every criterion in a panel of its own against k. A dashed line marks the k that was chosen, a ring the one that the criterion
/// prefers, so that disagreement is seen at once. A criterion without a number is left out, and the picture says so.
///
/// Errors: [`PlotError::Empty`] without any number, [`PlotError::Length`] if a criterion has not one number for each k. Cost: linear.
pub fn k_scan_chart(ks: &[usize], criteria: &[Criterion], chosen: Option<usize>, title: &str) -> Result<Picture, PlotError> {
    for c in criteria {
        check_len(&format!("numbers of the criterion {}", c.name), c.values.len(), ks.len())?;
        if let Some(errors) = &c.errors {
            check_len(&format!("errors of the criterion {}", c.name), errors.len(), ks.len())?;
        }
    }
    let (shown, empty): (Vec<&Criterion>, Vec<&Criterion>) =
        criteria.iter().partition(|c| c.values.iter().any(|v| v.is_finite()));
    if shown.is_empty() {
        return Err(PlotError::Empty("no criterion has a finite number for any k".into()));
    }
    let mut picture = Picture::new(f64::from(WIDTH), 0.0, title);
    let marked = chosen.filter(|c| ks.contains(c));
    let mut entries: Vec<(Key, String)> = marked.iter().map(|c| (Key::Upright, format!("k = {c}, chosen"))).collect();
    if shown.iter().any(|c| c.best.is_some_and(|b| ks.contains(&b))) {
        entries.push((Key::Line { color: RING, width: 1.0, dash: None, dots: true }, "preferred by the criterion".into()));
    }
    let top = header(&mut picture, title, "", &entries);
    let columns = shown.len().min(3);
    let rows = shown.len().div_ceil(columns);
    let gap = 26.0;
    let w = (f64::from(WIDTH) - 2.0 * MARGIN - gap * (columns as f64 - 1.0)) / columns as f64;
    let h = if rows == 1 { 330.0 } else { 260.0 };
    let footer = if empty.is_empty() { 0.0 } else { 22.0 };
    picture.height = (top + rows as f64 * (h + 10.0) + footer + MARGIN / 2.0).ceil() as u32;
    let x = x_range(extent(ks.iter().map(|k| *k as f64)).unwrap_or((1.0, 1.0)), 1.0);
    let mut order: Vec<usize> = (0..ks.len()).collect();
    order.sort_by_key(|i| ks[*i]);
    for (i, criterion) in shown.into_iter().enumerate() {
        let cell = Area { x: MARGIN + (i % columns) as f64 * (w + gap), y: top + (i / columns) as f64 * (h + 10.0), w, h };
        let error = |j: usize| criterion.errors.as_ref().map_or(0.0, |e| if e[j].is_finite() { e[j].abs() } else { 0.0 });
        let ends = order.iter().flat_map(|j| [criterion.values[*j] - error(*j), criterion.values[*j] + error(*j)]);
        let y = padded(extent(ends).unwrap_or((0.0, 1.0)), 0.08);
        let frame = Panel { cell, heading: &criterion.name, x_name: "k", y_name: "", x, y, whole: true }.draw(&mut picture);
        if let Some(c) = marked {
            let px = snap(frame.px(c as f64));
            picture.line(vec![(px, frame.area.y), (px, frame.area.bottom())], 1.0, CUTOFF, Some(CUTOFF_DASH));
        }
        let color = model_line(0).0;
        let points: Vec<(f64, f64)> = order.iter().map(|j| (ks[*j] as f64, criterion.values[*j])).collect();
        for (j, p) in order.iter().zip(&points).filter(|(j, p)| p.1.is_finite() && error(**j) > 0.0) {
            let (px, lo, hi) = (frame.px(p.0), frame.py(p.1 - error(*j)), frame.py(p.1 + error(*j)));
            picture.line(vec![(px, lo), (px, hi)], 1.2, color, None);
            for end in [lo, hi] {
                picture.line(vec![(px - 3.0, end), (px + 3.0, end)], 1.2, color, None);
            }
        }
        frame.line(&mut picture, &points, 1.8, color, None);
        let preferred = criterion.best.and_then(|b| points.iter().find(|p| p.0 == b as f64)).filter(|p| p.1.is_finite());
        if let Some(p) = preferred {
            let at = (frame.px(p.0), frame.py(p.1));
            picture.disc(at, 7.0, RING);
            picture.disc(at, 5.2, WHITE);
        }
        if points.len() <= 60 {
            frame.dots(&mut picture, &points, 3.0, color);
        }
        if let Some(p) = preferred {
            picture.disc((frame.px(p.0), frame.py(p.1)), 3.0, RING);
        }
    }
    if !empty.is_empty() {
        let names: Vec<&str> = empty.iter().map(|c| c.name.as_str()).collect();
        footnotes(&mut picture, &[format!("without a finite number: {}", names.join(", "))]);
    }
    Ok(picture)
}
