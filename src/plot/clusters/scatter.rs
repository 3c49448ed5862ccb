//! Points in two dimensions with their clusters.

use super::plane::{Plane, plane};
use super::style::{
    Panel, check_len, clip, cluster_style, counted, flat, label_if_free, marker, marker_legend, members, name_of, sized_entries,
    spread,
};
use crate::plot::axes::{Area, Frame, extent, padded};
use crate::plot::forecast::{footnotes, header};
use crate::plot::scene::{Anchor, Picture, Xy};
use crate::plot::style::{INK, LABEL_SIZE, MARGIN, WHITE};
use crate::plot::ticks::value_count;
use crate::plot::{PlotError, WIDTH};

/// What surrounds the points of a cluster.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Outline {
    /// Nothing.
    None,
    /// Their convex hull.
    #[default]
    Hull,
    /// The ellipse that holds 95 % of a normal distribution with their mean and covariance.
    Ellipse,
}

/// How points are drawn.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ScatterOptions {
    pub title: String,
    /// Names of the columns; `x0`, `x1`, … where there are none.
    pub columns: Vec<String>,
    /// Names of the clusters by label; their numbers where there are none.
    pub names: Vec<String>,
    pub outline: Outline,
    /// Centroids (k, d) by label, if the method has its own; else the means of the points.
    pub centroids: Option<Vec<f64>>,
    /// Covariances (k, d, d) by label for the ellipses, if the method has its own.
    pub covariances: Option<Vec<f64>>,
}

const HEIGHT: f64 = 720.0;
/// More points are thinned out evenly, and the picture says so.
const MOST_POINTS: usize = 20_000;
/// Clusters beyond these have neither outline nor centroid.
const MOST_OUTLINES: usize = 200;
/// 95 % quantile of the chi-squared distribution with two degrees of freedom: -2 ln 0.05.
const CHI_95: f64 = 5.991_464_547_107_98;

/// Draws points (n, d) with the colours of their labels: two columns as they are, more as their first two principal components, one
/// against its row number, with lines for centroids.
///
/// Errors: [`PlotError::Empty`] without a point of finite coordinates, [`PlotError::Length`] if numbers, labels, centroids or covariances
/// disagree in length. Cost: O(n d min(d, 1024)) for the components, else linear in n.
pub fn scatter_chart(values: &[f64], n: usize, d: usize, labels: &[i32], options: &ScatterOptions) -> Result<Picture, PlotError> {
    check_len("coordinates of the points", values.len(), n.saturating_mul(d))?;
    check_len("labels", labels.len(), n)?;
    let groups = members(labels);
    let k = groups.last_key_value().map_or(0, |g| (g.0 + 1).max(0) as usize);
    if let Some(c) = &options.centroids {
        check_len("numbers of the centroids", c.len(), k.saturating_mul(d))?;
    }
    if let Some(c) = &options.covariances {
        check_len("numbers of the covariances", c.len(), k.saturating_mul(d).saturating_mul(d))?;
    }
    if d == 0 || n == 0 {
        return Err(PlotError::Empty("there are no points".into()));
    }
    let view = View::new(values, n, d, options)?;
    let mut picture = Picture::new(f64::from(WIDTH), HEIGHT, &options.title);
    let top = header(&mut picture, &options.title, "", &[]);
    let whole = f64::from(WIDTH) - 2.0 * MARGIN;
    let top = top + marker_legend(&mut picture, (MARGIN, top), whole, &sized_entries(&groups, &options.names));
    let drawn = spread(n, MOST_POINTS);
    let hidden = view.plane.points.iter().filter(|p| !(p.0.is_finite() && p.1.is_finite())).count();
    let mut notes = Vec::new();
    if drawn.len() < n {
        notes.push(format!(
            "{} of {} points are drawn; outlines and centroids are those of all",
            value_count(drawn.len()),
            value_count(n)
        ));
    }
    if hidden > 0 {
        notes.push(format!("{} with a coordinate that is not finite", counted(hidden, "point")));
    }
    if options.outline == Outline::Ellipse && d > 1 && groups.keys().any(|l| *l >= 0) {
        notes.push("ellipses hold 95 % of a normal distribution".into());
    }
    let footer = if notes.is_empty() { 0.0 } else { 20.0 };
    picture.height = HEIGHT.max(top + 500.0) as u32;
    let cell = Area { x: MARGIN, y: top, w: whole, h: f64::from(picture.height) - top - MARGIN / 2.0 - footer };
    let (mut reach_x, mut reach_y) = ((0.0, 1.0), (0.0, 1.0));
    let outlines: Vec<(i32, Vec<Xy>)> = groups
        .iter()
        .filter(|g| *g.0 >= 0)
        .take(MOST_OUTLINES)
        .map(|(label, members)| (*label, view.outline(*label, members, options)))
        .collect();
    // Room for ellipses, but not so much that the points shrink to a spot.
    for p in outlines.iter().flat_map(|o| &o.1) {
        reach_x = (p.0.clamp(-0.3, reach_x.0), p.0.clamp(reach_x.1, 1.3));
        reach_y = (p.1.clamp(-0.3, reach_y.0), p.1.clamp(reach_y.1, 1.3));
    }
    let data = |reach: Xy, range: Xy| {
        let (lo, hi) = padded(reach, 0.03);
        (range.0 + lo * (range.1 - range.0), range.0 + hi * (range.1 - range.0))
    };
    let panel = Panel {
        cell,
        heading: "",
        x_name: &view.x_name,
        y_name: &view.y_name,
        x: data(reach_x, view.x),
        y: data(reach_y, view.y),
        whole: false,
    };
    let frame = panel.draw(&mut picture);
    let unit = Frame { area: frame.area, x: padded(reach_x, 0.03), y: padded(reach_y, 0.03) };
    let pixel = |p: Xy| (unit.px(p.0), unit.py(p.1));
    for (label, ring) in &outlines {
        let ring = clip(&ring.iter().map(|p| pixel(*p)).collect::<Vec<Xy>>(), &unit.area);
        let color = cluster_style(*label).0;
        picture.area(ring.clone(), color, 0.10);
        if let Some(first) = ring.first().copied() {
            picture.line(ring.into_iter().chain([first]).collect(), 1.2, color.tint(0.75), None);
        }
    }
    let r = match n {
        0..=200 => 4.0,
        201..=1000 => 3.2,
        1001..=5000 => 2.3,
        _ => 1.6,
    };
    // Noise lies below all clusters; those are drawn in row order, so that none hides another.
    for noise in [true, false] {
        for i in drawn.iter().filter(|i| (labels[**i] < 0) == noise) {
            let Some(p) = view.unit(view.plane.points[*i]) else { continue };
            let (color, shape) = cluster_style(labels[*i]);
            let at = pixel(p);
            if n <= 1000 {
                marker(&mut picture, at, r + 0.8, WHITE, shape);
            }
            marker(&mut picture, at, if noise { 0.7 * r } else { r }, color, shape);
        }
    }
    let centers: Vec<(i32, Xy)> = groups
        .iter()
        .filter(|g| *g.0 >= 0)
        .take(MOST_OUTLINES)
        .filter_map(|(label, members)| Some((*label, view.center(*label, members, options)?)))
        .collect();
    for (label, at) in &centers {
        let at = pixel(*at);
        if at.0 < unit.area.x || at.0 > unit.area.right() || at.1 < unit.area.y || at.1 > unit.area.bottom() {
            continue;
        }
        let (color, shape) = cluster_style(*label);
        if view.numbered {
            picture.line(vec![(at.0, unit.area.y), (at.0, unit.area.bottom())], 1.4, color, Some((6.0, 4.0)));
        }
        marker(&mut picture, at, 8.0, INK, shape);
        marker(&mut picture, at, 6.8, WHITE, shape);
        marker(&mut picture, at, 4.6, color, shape);
    }
    for (label, at) in &centers {
        let at = pixel(*at);
        let name = crate::plot::style::elide(&name_of(*label, &options.names), LABEL_SIZE, true, 140.0);
        let inside = |x: f64, anchor: Anchor| {
            let l = flat(name.clone(), (x, at.1 + 4.5), LABEL_SIZE, true, INK, anchor);
            let (left, top, right, bottom) = l.bounds();
            (left >= unit.area.x && right <= unit.area.right() && top >= unit.area.y && bottom <= unit.area.bottom()).then_some(l)
        };
        // To the right of its centroid, else to the left, else not at all: the legend has it.
        for (x, anchor) in [(at.0 + 12.0, Anchor::Start), (at.0 - 12.0, Anchor::End)] {
            if inside(x, anchor).is_some_and(|l| label_if_free(&mut picture, l, true)) {
                break;
            }
        }
    }
    footnotes(&mut picture, &notes);
    Ok(picture)
}

/// The points as they are seen.
struct View {
    plane: Plane,
    d: usize,
    /// Smallest and largest coordinate; never the same.
    x: Xy,
    y: Xy,
    x_name: String,
    y_name: String,
    /// Whether the second direction is the row number.
    numbered: bool,
}

impl View {
    fn new(values: &[f64], n: usize, d: usize, options: &ScatterOptions) -> Result<View, PlotError> {
        let column = |j: usize| options.columns.get(j).cloned().unwrap_or_else(|| format!("x{j}"));
        let given =
            |points: Vec<Xy>| Plane { points, axes: [vec![1.0, 0.0], vec![0.0, 1.0]], center: vec![0.0; d], shares: [0.0; 2] };
        let (plane, x_name, y_name) = match d {
            1 => (given(values.iter().enumerate().map(|(i, v)| (*v, (i + 1) as f64)).collect()), column(0), "row".to_owned()),
            2 => (given(values.as_chunks::<2>().0.iter().map(|p| (p[0], p[1])).collect()), column(0), column(1)),
            _ => {
                let plane = plane(values, n, d)?;
                let name = |k: usize| format!("principal component {} ({:.1} % of the variance)", k + 1, 100.0 * plane.shares[k]);
                let (x, y) = (name(0), name(1));
                (plane, x, y)
            }
        };
        let both = || plane.points.iter().filter(|p| p.0.is_finite() && p.1.is_finite());
        let (Some(x), Some(y)) = (extent(both().map(|p| p.0)), extent(both().map(|p| p.1))) else {
            return Err(PlotError::Empty("there is no point with finite coordinates".into()));
        };
        let wide = |range: Xy| {
            if range.1 / 2.0 - range.0 / 2.0 > 1e-12 * range.0.abs().max(range.1.abs()) {
                limited(range)
            } else {
                padded(range, 0.1)
            }
        };
        Ok(View { x: wide(x), y: wide(y), plane, d, x_name, y_name, numbered: d == 1 })
    }

    /// A place in the plane as shares of both ranges.
    fn unit(&self, (x, y): Xy) -> Option<Xy> {
        let share = |v: f64, (lo, hi): Xy| (v / 2.0 - lo / 2.0) / (hi / 2.0 - lo / 2.0);
        let p = (share(x, self.x), share(y, self.y));
        (p.0.is_finite() && p.1.is_finite()).then_some(p)
    }

    /// Where a place of the data is in the plane.
    fn place(&self, at: &[f64]) -> Xy {
        if self.d == 2 {
            return (at[0], at[1]);
        }
        let along = |axis: &[f64]| at.iter().zip(&self.plane.center).zip(axis).map(|((v, c), a)| (v - c) * a).sum::<f64>();
        (along(&self.plane.axes[0]), along(&self.plane.axes[1]))
    }

    fn units(&self, members: &[usize]) -> Vec<Xy> {
        members.iter().filter_map(|i| self.unit(self.plane.points[*i])).collect()
    }

    /// The method's centroid, or the mean of the points.
    fn center(&self, label: i32, members: &[usize], options: &ScatterOptions) -> Option<Xy> {
        match &options.centroids {
            Some(c) if self.numbered => self.unit((c[label as usize], self.y.1)),
            Some(c) => self.unit(self.place(&c[label as usize * self.d..(label as usize + 1) * self.d])),
            // At the top: only the column counts.
            None if self.numbered => mean(&self.units(members)).map(|m| (m.0, 1.0)),
            None => mean(&self.units(members)),
        }
    }

    fn outline(&self, label: i32, members: &[usize], options: &ScatterOptions) -> Vec<Xy> {
        match options.outline {
            // Row numbers have no shape.
            _ if self.numbered => Vec::new(),
            Outline::None => Vec::new(),
            Outline::Hull => hull(self.units(members)),
            Outline::Ellipse => {
                let Some(center) = self.center(label, members, options) else { return Vec::new() };
                let covariance = match &options.covariances {
                    Some(all) => self.project(&all[label as usize * self.d * self.d..][..self.d * self.d]),
                    None => covariance(&self.units(members)),
                };
                ellipse(center, covariance)
            }
        }
    }

    /// A covariance (d, d) in the plane, in shares of both ranges: xx, xy, yy.
    fn project(&self, cov: &[f64]) -> [f64; 3] {
        let d = self.d;
        let spans = [self.x.1 - self.x.0, self.y.1 - self.y.0];
        let between = |a: usize, b: usize| {
            let (u, v) = (&self.plane.axes[a], &self.plane.axes[b]);
            let sum: f64 = (0..d).map(|i| u[i] * (0..d).map(|j| cov[i * d + j] / spans[a] / spans[b] * v[j]).sum::<f64>()).sum();
            sum
        };
        [between(0, 0), between(0, 1), between(1, 1)]
    }
}

/// A range whose span is a finite number.
fn limited((lo, hi): Xy) -> Xy {
    (lo.max(f64::MIN / 4.0), hi.min(f64::MAX / 4.0))
}

fn mean(points: &[Xy]) -> Option<Xy> {
    let n = points.len() as f64;
    let sum = points.iter().fold((0.0, 0.0), |s, p| (s.0 + p.0, s.1 + p.1));
    (n > 0.0).then_some((sum.0 / n, sum.1 / n))
}

/// Of two points and more: xx, xy, yy.
fn covariance(points: &[Xy]) -> [f64; 3] {
    let Some(m) = mean(points).filter(|_| points.len() > 1) else { return [0.0; 3] };
    let sum = points.iter().fold([0.0; 3], |s, p| {
        let (x, y) = (p.0 - m.0, p.1 - m.1);
        [s[0] + x * x, s[1] + x * y, s[2] + y * y]
    });
    sum.map(|s| s / (points.len() - 1) as f64)
}

/// The ellipse of 95 %; nothing where the covariance is zero or no number.
fn ellipse(center: Xy, [xx, xy, yy]: [f64; 3]) -> Vec<Xy> {
    let (half, off) = ((xx - yy) / 2.0, xy);
    let spread = half.hypot(off);
    let (large, small) = ((xx + yy) / 2.0 + spread, ((xx + yy) / 2.0 - spread).max(0.0));
    if !(large.is_finite() && large > 0.0) {
        return Vec::new();
    }
    let turn = 0.5 * off.atan2(half);
    let (a, b) = ((CHI_95 * large).sqrt(), (CHI_95 * small).sqrt());
    let at = |k: usize| {
        let t = k as f64 / 72.0 * std::f64::consts::TAU;
        let (u, v) = (a * t.cos(), b * t.sin());
        (center.0 + u * turn.cos() - v * turn.sin(), center.1 + u * turn.sin() + v * turn.cos())
    };
    (0..72).map(at).collect()
}

/// The convex hull, counter-clockwise (Andrew 1979). Two points, or points on a line, give their two ends.
pub fn hull(mut points: Vec<Xy>) -> Vec<Xy> {
    points.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)));
    points.dedup();
    if points.len() < 3 {
        return points;
    }
    let left = |a: Xy, b: Xy, c: Xy| (b.0 - a.0) * (c.1 - a.1) - (b.1 - a.1) * (c.0 - a.0) > 0.0;
    let chain = |points: &mut dyn Iterator<Item = Xy>| {
        let mut kept: Vec<Xy> = Vec::new();
        for p in points {
            while kept.len() > 1 && !left(kept[kept.len() - 2], kept[kept.len() - 1], p) {
                kept.pop();
            }
            kept.push(p);
        }
        kept.pop();
        kept
    };
    let mut lower = chain(&mut points.iter().copied());
    lower.extend(chain(&mut points.iter().rev().copied()));
    lower
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hulls_hold_all_points_and_turn_left() {
        let points: Vec<Xy> = (0..200).map(|i| (((i * 37) % 101) as f64, ((i * 53) % 97) as f64)).collect();
        let ring = hull(points.clone());
        for (i, a) in ring.iter().enumerate() {
            let b = ring[(i + 1) % ring.len()];
            assert!(points.iter().all(|p| (b.0 - a.0) * (p.1 - a.1) - (b.1 - a.1) * (p.0 - a.0) >= 0.0));
        }
        assert_eq!(hull(vec![(0.0, 0.0), (1.0, 1.0), (2.0, 2.0)]), [(0.0, 0.0), (2.0, 2.0)]);
        assert_eq!(hull(vec![(1.0, 1.0); 9]), [(1.0, 1.0)]);
        assert_eq!(hull(vec![(0.0, 0.0), (2.0, 0.0), (2.0, 2.0), (0.0, 2.0), (1.0, 1.0)]).len(), 4);
    }

    #[test]
    fn ellipses_have_the_covariance_they_are_given() {
        // Points of an ellipse with half axes a, b, evenly in angle: covariance a²/2 and b²/2 along them, so C·chi/2.
        let wanted = [3.0, 1.2, 2.0];
        let ring = ellipse((7.0, -1.0), wanted);
        let m = mean(&ring).unwrap();
        assert!((m.0 - 7.0).abs() < 1e-12 && (m.1 + 1.0).abs() < 1e-12);
        let found = covariance(&ring).map(|c| c * 71.0 / 72.0 * 2.0 / CHI_95);
        assert!(found.iter().zip(wanted).all(|(a, b)| (a - b).abs() < 1e-12), "{found:?}");
        assert!(ellipse((0.0, 0.0), [0.0; 3]).is_empty() && ellipse((0.0, 0.0), [f64::INFINITY, 0.0, 1.0]).is_empty());
    }
}
