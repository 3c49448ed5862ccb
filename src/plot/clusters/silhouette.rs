//! Silhouettes: how well each point lies in its cluster.

use super::style::{Panel, check_len, cluster_style, counted, flat, label_if_free, members, name_of};
use crate::plot::axes::{Area, CUTOFF, CUTOFF_DASH, Key, extent, snap};
use crate::plot::forecast::{footnotes, header};
use crate::plot::scene::{Anchor, Picture, Xy};
use crate::plot::style::{AXIS, INK, LABEL_SIZE, MARGIN, NOTE_SIZE, elide};
use crate::plot::{PlotError, WIDTH};

/// Room for the sizes and means at the right, and for the names at the left.
const RIGHT: f64 = 190.0;
const LEFT: f64 = 110.0;

/// Draws the silhouettes of all points: cluster below cluster, each sorted from the best to the worst point, with the mean of all as a line.
/// Noise (negative labels) and numbers that are not finite have no silhouette; the picture says how many.
///
/// Errors: [`PlotError::Empty`] without a point that has both, [`PlotError::Length`] if labels and silhouettes differ in length. Cost
/// O(n log n).
pub fn silhouette_chart(silhouettes: &[f64], labels: &[i32], names: &[String], title: &str) -> Result<Picture, PlotError> {
    check_len("labels", labels.len(), silhouettes.len())?;
    let groups = members(labels);
    let mut clusters: Vec<(i32, Vec<f64>)> = Vec::new();
    for (label, members) in groups.iter().filter(|g| *g.0 >= 0) {
        let mut values: Vec<f64> =
            members.iter().map(|i| silhouettes[*i]).filter(|s| s.is_finite()).map(|s| s.clamp(-1.0, 1.0)).collect();
        values.sort_by(|a, b| b.total_cmp(a));
        if !values.is_empty() {
            clusters.push((*label, values));
        }
    }
    let shown: usize = clusters.iter().map(|c| c.1.len()).sum();
    let Some((lo, _)) = extent(clusters.iter().flat_map(|c| c.1.iter().copied())) else {
        return Err(PlotError::Empty("no point of a cluster has a silhouette".into()));
    };
    let mean = clusters.iter().flat_map(|c| &c.1).sum::<f64>() / shown as f64;
    let mut notes = Vec::new();
    let noise = groups.get(&-1).map_or(0, Vec::len);
    if noise > 0 {
        notes.push(format!("{} of no cluster not shown", counted(noise, "point")));
    }
    if shown + noise < silhouettes.len() {
        notes.push(format!("{} not finite", counted(silhouettes.len() - shown - noise, "silhouette")));
    }
    let k = clusters.len() as f64;
    // Every cluster has room for its name as long as the picture does not become a scroll.
    let body = (18.0 * k).clamp(420.0, 1600.0);
    let mut picture = Picture::new(f64::from(WIDTH), 0.0, title);
    let top = header(&mut picture, title, "", &[(Key::Upright, format!("mean of all points {}", signed(mean)))]);
    let footer = if notes.is_empty() { 0.0 } else { 20.0 };
    picture.height = (top + body + 54.0 + footer + MARGIN / 2.0).ceil() as u32;
    let width = f64::from(WIDTH) - 2.0 * MARGIN;
    let cell = Area { x: MARGIN + LEFT, y: top, w: width - LEFT - RIGHT, h: body + 54.0 };
    // The scale of points has no numbers: it is filled with bars.
    let panel = Panel {
        cell,
        heading: "",
        x_name: "silhouette",
        y_name: "",
        x: ((lo - 0.02).min(-0.05), 1.0),
        y: (2.0, 3.0),
        whole: false,
    };
    let frame = panel.draw_x(&mut picture);
    let area = frame.area;
    let gap = (0.12 * area.h / k).min(10.0);
    let unit = (area.h - gap * (k + 1.0)) / shown as f64;
    let zero = frame.px(0.0);
    let mut y = area.y + gap;
    for (label, values) in &clusters {
        let h = unit * values.len() as f64;
        let color = cluster_style(*label).0;
        // One step a point, or one each half pixel.
        let steps = values.len().min((2.0 * h).ceil().max(1.0) as usize);
        let mut ring: Vec<Xy> = vec![(zero, y)];
        for s in 0..steps {
            let value = values[s * values.len() / steps];
            let x = frame.px(value);
            ring.push((x, y + h * s as f64 / steps as f64));
            ring.push((x, y + h * (s + 1) as f64 / steps as f64));
        }
        ring.push((zero, y + h));
        picture.area(ring, color, 0.85);
        let middle = y + h / 2.0 + 0.36 * LABEL_SIZE;
        let name = elide(&name_of(*label, names), LABEL_SIZE, true, LEFT - 14.0);
        label_if_free(&mut picture, flat(name, (area.x - 10.0, middle), LABEL_SIZE, true, INK, Anchor::End), false);
        let own = values.iter().sum::<f64>() / values.len() as f64;
        let points = counted(values.len(), "point");
        let text = format!("{points}, mean {}", signed(own));
        let about = elide(&text, NOTE_SIZE, false, RIGHT - 12.0);
        label_if_free(&mut picture, flat(about, (area.right() + 12.0, middle), NOTE_SIZE, false, INK, Anchor::Start), false);
        y += h + gap;
    }
    let x = snap(zero);
    picture.line(vec![(x, area.y), (x, area.bottom())], 1.0, AXIS, None);
    let x = snap(frame.px(mean));
    picture.line(vec![(x, area.y), (x, area.bottom())], 1.4, CUTOFF, Some(CUTOFF_DASH));
    footnotes(&mut picture, &notes);
    Ok(picture)
}

/// A silhouette with three decimals.
fn signed(v: f64) -> String {
    let text = format!("{:.3}", if v.abs() < 5e-4 { 0.0 } else { v });
    text.replace('-', "−")
}
