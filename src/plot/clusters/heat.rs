//! Heat maps: who belongs with whom, and what groups are like.

use super::style::{check_len, cluster_style, flat, label_if_free, luminance, members, name_of};
use crate::plot::PlotError;
use crate::plot::font::text_width;
use crate::plot::forecast::{footnotes, header};
use crate::plot::scene::{Anchor, Label, Picture, Xy};
use crate::plot::style::{AXIS, INK, LABEL, LABEL_SIZE, MARGIN, NOTE_SIZE, Rgb, WHITE, elide};
use crate::plot::ticks::{value_count, value_label};

/// How a matrix of memberships is drawn.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MembershipOptions {
    pub title: String,
    /// Names of the clusters by label.
    pub names: Vec<String>,
    /// Whether entry (i, j) of a square matrix is divided by the root of the diagonal entries of i and j. The matrix of a partition holds
    /// 1 / size in the block of each cluster; divided so, it holds 1 whatever the sizes.
    pub by_diagonal: bool,
}

const HIGH: Rgb = Rgb(0, 114, 178);
const LOW: Rgb = Rgb(213, 94, 0);
/// Cells each way of a square matrix; more rows are averaged.
const MOST_CELLS: usize = 150;
/// Rows where there are few columns.
const MOST_ROWS: usize = 300;
const SIDE: f64 = 600.0;
const LEFT: f64 = 120.0;
const VALUE_SIZE: f64 = 11.0;

/// Draws a matrix (rows, columns) of memberships with its rows sorted by label; a square one (n, n), as the clusterings by semidefinite
/// programming give it, has its columns sorted likewise, another (n, k) has a column a cluster. White is zero (and below), the darkest blue the
/// largest number. Up to 150 rows (300 if not square) are drawn as they are, more are averaged in bins within their cluster.
///
/// Errors: [`PlotError::Empty`] without a number above zero, [`PlotError::Length`] if numbers or labels disagree in length. Cost: linear.
pub fn membership_chart(
    matrix: &[f64],
    rows: usize,
    columns: usize,
    labels: &[i32],
    options: &MembershipOptions,
) -> Result<Picture, PlotError> {
    check_len("numbers of the membership matrix", matrix.len(), rows.saturating_mul(columns))?;
    check_len("labels", labels.len(), rows)?;
    let square = rows == columns && rows > 1;
    let root = |i: usize| if square && options.by_diagonal { matrix[i * columns + i].max(0.0).sqrt() } else { 1.0 };
    let roots: Vec<f64> = (0..rows).map(root).collect();
    let value = |i: usize, j: usize| {
        let v = matrix[i * columns + j];
        let by = if square { roots[i] * roots[j] } else { 1.0 };
        if v.is_finite() && by > 0.0 { (v / by).max(0.0) } else { 0.0 }
    };
    let mut groups: Vec<(i32, Vec<usize>)> = members(labels).into_iter().collect();
    groups.sort_by_key(|g| if g.0 < 0 { i32::MAX } else { g.0 });
    let bins = bins(&groups, rows, if square { MOST_CELLS } else { MOST_ROWS });
    let across: Vec<Vec<usize>> = if square { bins.iter().map(|b| b.1.clone()).collect() } else { bins_of_columns(columns) };
    let cells: Vec<Vec<f64>> = bins
        .iter()
        .map(|(_, down)| {
            across
                .iter()
                .map(|to| {
                    down.iter().map(|i| to.iter().map(|j| value(*i, *j)).sum::<f64>() / to.len() as f64).sum::<f64>()
                        / down.len() as f64
                })
                .collect()
        })
        .collect();
    let largest = cells.iter().flatten().copied().fold(0.0, f64::max);
    if !(largest > 0.0 && largest.is_finite()) {
        return Err(PlotError::Empty("no membership is above zero".into()));
    }
    let wide = if square { SIDE } else { (110.0 * across.len() as f64).clamp(160.0, SIDE) };
    let mut picture = Picture::new((2.0 * MARGIN + LEFT + wide + 30.0).max(620.0), 0.0, &options.title);
    let top = header(&mut picture, &options.title, "", &[]);
    let key_at = (MARGIN + LEFT, top + 2.0);
    scale_key(&mut picture, key_at, &|s| HIGH.tint(s), &["0", &value_label(largest)]);
    let above = if square { 12.0 } else { 30.0 };
    let (x, y) = (MARGIN + LEFT, top + 40.0 + above);
    let mut notes = Vec::new();
    if bins.len() < rows {
        notes.push(format!("{} rows in {} bins, each the mean of its rows", value_count(rows), value_count(bins.len())));
    }
    picture.height = (y + SIDE + MARGIN + if notes.is_empty() { 0.0 } else { 20.0 }).ceil() as u32;
    let (sx, sy) = (wide / across.len() as f64, SIDE / bins.len() as f64);
    // At whole pixels of the PNG, which has two per unit: else pale seams run between cells.
    let edge = |from: f64, size: f64, cell: usize| from + (2.0 * size * cell as f64).round() / 2.0;
    for (r, row) in cells.iter().enumerate() {
        // Neighbours of one shade are one rectangle: blocks of zeros are nothing at all.
        let shade = |v: f64| (v / largest * 64.0).round() as u32;
        let mut from = 0;
        for c in 1..=row.len() {
            if c < row.len() && shade(row[c]) == shade(row[from]) {
                continue;
            }
            if shade(row[from]) > 0 {
                let color = HIGH.tint(f64::from(shade(row[from])) / 64.0);
                let (left, top) = (edge(x, sx, from), edge(y, sy, r));
                picture.rect(left, top, edge(x, sx, c) - left, edge(y, sy, r + 1) - top, color);
            }
            from = c;
        }
    }
    border(&mut picture, (x, y), (wide, SIDE));
    let mut start = 0;
    for (label, _) in &groups {
        let count = bins[start..].iter().take_while(|b| b.0 == *label).count();
        let (a, b) = (edge(y, sy, start), edge(y, sy, start + count));
        picture.rect(x - 9.0, a, 5.0, b - a, cluster_style(*label).0);
        if start > 0 {
            picture.line(vec![(x - 9.0, a), (x + wide, a)], 0.8, AXIS, None);
            if square {
                let at = edge(x, sx, start);
                picture.line(vec![(at, y), (at, y + SIDE)], 0.8, AXIS, None);
            }
        }
        let name = elide(&name_of(*label, &options.names), LABEL_SIZE, true, LEFT - 20.0);
        label_if_free(&mut picture, flat(name, (x - 15.0, (a + b) / 2.0 + 4.5), LABEL_SIZE, true, INK, Anchor::End), false);
        start += count;
    }
    if !square && across.len() == columns {
        for j in 0..columns {
            let name = elide(&name_of(j as i32, &options.names), LABEL_SIZE, true, (sx - 8.0).max(14.0));
            label_if_free(
                &mut picture,
                flat(name, (x + sx * (j as f64 + 0.5), y - 8.0), LABEL_SIZE, true, INK, Anchor::Middle),
                false,
            );
        }
    }
    footnotes(&mut picture, &notes);
    Ok(picture)
}

/// Rows in the order of their labels: one a bin if they are few, else bins whose number goes with the size of the cluster, at least one each.
fn bins(groups: &[(i32, Vec<usize>)], rows: usize, most: usize) -> Vec<(i32, Vec<usize>)> {
    let mut all = Vec::new();
    for (label, members) in groups {
        let share = members.len() as f64 * most as f64 / rows as f64;
        let count = if rows <= most { members.len() } else { (share.round() as usize).clamp(1, members.len()) };
        for b in 0..count {
            let cut = |b: usize| (b as u128 * members.len() as u128 / count as u128) as usize;
            all.push((*label, members[cut(b)..cut(b + 1)].to_vec()));
        }
    }
    all
}

fn bins_of_columns(columns: usize) -> Vec<Vec<usize>> {
    let count = columns.min(MOST_CELLS);
    (0..count).map(|b| (b * columns / count..(b + 1) * columns / count).collect()).collect()
}

/// A strip of colours with what its ends (and middle) mean.
fn scale_key(picture: &mut Picture, (x, y): Xy, color: &dyn Fn(f64) -> Rgb, texts: &[&str]) {
    const STEPS: usize = 60;
    let strip = 240.0;
    for k in 0..STEPS {
        let share = (k as f64 + 0.5) / STEPS as f64;
        picture.rect(x + strip * k as f64 / STEPS as f64, y, strip / STEPS as f64 + 0.3, 10.0, color(share));
    }
    border(picture, (x, y), (strip, 10.0));
    for (i, text) in texts.iter().enumerate() {
        let share = i as f64 / (texts.len() - 1).max(1) as f64;
        let anchor = match i {
            0 => Anchor::Start,
            i if i + 1 == texts.len() => Anchor::End,
            _ => Anchor::Middle,
        };
        picture.text((x + strip * share, y + 24.0), text, NOTE_SIZE, false, LABEL, anchor);
    }
}

fn border(picture: &mut Picture, (x, y): Xy, (w, h): Xy) {
    picture.line(vec![(x, y), (x + w, y), (x + w, y + h), (x, y + h), (x, y)], 1.0, AXIS, None);
}

/// A group with its mean values.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Profile {
    /// Its label, for the colour.
    pub label: i32,
    pub name: String,
    /// Members.
    pub size: usize,
    /// One number a feature, in units of standard deviations from the mean of all; not finite where there is none.
    pub values: Vec<f64>,
}

const MOST_PROFILES: usize = 40;
const MOST_FEATURES: usize = 40;
const NAME_WIDTH: f64 = 210.0;
const HEAD: f64 = 130.0;

/// Draws the profiles of groups, a row each and a column a feature: blue above the mean of all, orange below, white at it. Colours end at the
/// largest number, but at 3 standard deviations at most; the numbers are written into cells that have room.
///
/// Errors: [`PlotError::Empty`] without a finite number, [`PlotError::Length`] if a profile has not one number a feature. Cost: linear in the
/// cells drawn.
pub fn profile_chart(profiles: &[Profile], features: &[String], title: &str) -> Result<Picture, PlotError> {
    for p in profiles {
        check_len(&format!("values of the profile {}", p.name), p.values.len(), features.len())?;
    }
    let all = profiles.iter().flat_map(|p| &p.values).filter(|v| v.is_finite());
    let largest = all.fold(f64::NAN, |m: f64, v| m.max(v.abs()));
    if largest.is_nan() {
        return Err(PlotError::Empty("no profile has a finite number".into()));
    }
    let limit = if largest > 0.0 { largest.min(3.0) } else { 1.0 };
    let (high, wide) = (profiles.len().min(MOST_PROFILES), features.len().min(MOST_FEATURES));
    let side = ((980.0 - NAME_WIDTH - 2.0 * MARGIN) / wide as f64).clamp(18.0, 104.0);
    let tall = if high <= 14 { 38.0 } else { 24.0 };
    let width = (2.0 * MARGIN + NAME_WIDTH + side * wide as f64).max(560.0);
    let mut picture = Picture::new(width, 0.0, title);
    let top = header(&mut picture, title, "", &[]);
    let color = |v: f64| match v {
        v if !v.is_finite() => AXIS.tint(0.4),
        v if v < 0.0 => LOW.tint((-v / limit).min(1.0)),
        v => HIGH.tint((v / limit).min(1.0)),
    };
    let beyond = |word: &str| if largest > limit { format!(" and {word}") } else { String::new() };
    let ends = (format!("−{}{}", value_label(limit), beyond("below")), format!("{}{}", value_label(limit), beyond("above")));
    scale_key(&mut picture, (MARGIN, top + 2.0), &|s| color((2.0 * s - 1.0) * limit), &[&ends.0, "0", &ends.1]);
    picture.text(
        (MARGIN + 258.0, top + 11.0),
        "standard deviations from the mean of all",
        NOTE_SIZE,
        false,
        LABEL,
        Anchor::Start,
    );
    let flat_names = features.iter().take(wide).all(|f| text_width(f, NOTE_SIZE, false) <= side - 6.0);
    let longest = features.iter().take(wide).map(|f| text_width(f, NOTE_SIZE, false)).fold(0.0, f64::max).min(HEAD);
    let head = if flat_names { 22.0 } else { longest + 10.0 };
    let (x, y) = (MARGIN + NAME_WIDTH, top + 40.0 + head);
    for (j, feature) in features.iter().take(wide).enumerate() {
        let middle = x + side * (j as f64 + 0.5);
        if flat_names {
            picture.text((middle, y - 8.0), feature, NOTE_SIZE, false, LABEL, Anchor::Middle);
        } else {
            let text = elide(feature, NOTE_SIZE, false, HEAD);
            let label = Label {
                text,
                x: middle + 0.26 * NOTE_SIZE,
                baseline: y - 6.0,
                size: NOTE_SIZE,
                bold: false,
                color: LABEL,
                anchor: Anchor::Start,
                turned: true,
            };
            picture.label(label);
        }
    }
    for (i, p) in profiles.iter().take(high).enumerate() {
        let (row, middle) = (y + tall * i as f64, y + tall * (i as f64 + 0.5));
        picture.rect(x - 9.0, row, 5.0, tall - 1.0, cluster_style(p.label).0);
        let size = format!("({})", value_count(p.size));
        let used = text_width(&size, NOTE_SIZE, false);
        picture.text((x - 15.0, middle + 4.5), &size, NOTE_SIZE, false, LABEL, Anchor::End);
        let name = elide(&p.name, LABEL_SIZE, true, NAME_WIDTH - 30.0 - used);
        picture.text((x - 21.0 - used, middle + 4.5), &name, LABEL_SIZE, true, INK, Anchor::End);
        for (j, v) in p.values.iter().take(wide).enumerate() {
            picture.rect(x + side * j as f64, row, side - 1.0, tall - 1.0, color(*v));
            let text = if v.is_finite() { format!("{v:.2}").replace('-', "−") } else { String::new() };
            if text_width(&text, VALUE_SIZE, false) + 5.0 <= side {
                let ink = if luminance(color(*v)) < 140.0 { WHITE } else { INK };
                picture.text(
                    (x + side * (j as f64 + 0.5) - 0.5, middle + 0.36 * VALUE_SIZE),
                    &text,
                    VALUE_SIZE,
                    false,
                    ink,
                    Anchor::Middle,
                );
            }
        }
    }
    border(&mut picture, (x, y), (side * wide as f64 - 1.0, tall * high as f64 - 1.0));
    let mut notes = Vec::new();
    if high < profiles.len() {
        notes.push(format!("the first {high} of {} groups", value_count(profiles.len())));
    }
    if wide < features.len() {
        notes.push(format!("the first {wide} of {} features", value_count(features.len())));
    }
    picture.height = (y + tall * high as f64 + MARGIN + if notes.is_empty() { 0.0 } else { 20.0 }).ceil() as u32;
    footnotes(&mut picture, &notes);
    Ok(picture)
}
