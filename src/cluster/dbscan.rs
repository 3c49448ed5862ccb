//! DBSCAN: clusters are what dense points reach.
//!
//! Source: Ester, Kriegel, Sander & Xu 1996. As scikit-learn: `eps` is inclusive and `min_samples` counts the point itself.

use std::sync::atomic::{AtomicU32, Ordering};

use rayon::prelude::*;

use super::kd_tree::{KdTree, PIECE};
use super::saved::{Array, Numbers, Saved};
use super::{ClusterError, NOISE, Points, labels};
use crate::run::observer::Observer;

const METHOD: &str = "dbscan";

/// Which cluster a point belongs to that is not dense itself but within `eps` of core points of several clusters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Border {
    /// The cluster whose first core point is the first in row order, as in scikit-learn. The one choice that depends on the order of
    /// the rows.
    #[default]
    First,
    /// The cluster of the nearest core point, of equally near ones the first.
    Nearest,
    /// None: it is noise (DBSCAN* of Campello et al. 2013).
    Noise,
}

impl Border {
    pub const ALL: &[Self] = &[Self::First, Self::Nearest, Self::Noise];

    pub fn name(self) -> &'static str {
        match self {
            Self::First => "first",
            Self::Nearest => "nearest",
            Self::Noise => "noise",
        }
    }
}

/// Settings of [`dbscan`].
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct DbscanOptions {
    /// Points at this distance or nearer are neighbours; above 0, in units of the points.
    pub eps: f64,
    /// A point with so many neighbours, itself among them, is a core point; from 1.
    pub min_samples: usize,
    pub border: Border,
}

impl Default for DbscanOptions {
    /// As scikit-learn: .5 and 5.
    fn default() -> Self {
        Self { eps: 0.5, min_samples: 5, border: Border::First }
    }
}

impl DbscanOptions {
    fn check(&self) -> Result<(), ClusterError> {
        if !(self.eps > 0.0 && self.eps.is_finite()) {
            return Err(ClusterError::Setting {
                what: "eps",
                value: self.eps.to_string(),
                expected: "a distance above 0".into(),
            });
        }
        if self.min_samples == 0 {
            return Err(ClusterError::Setting { what: "min_samples", value: "0".into(), expected: "at least 1".into() });
        }
        Ok(())
    }
}

/// A clustering by DBSCAN, which can tell the cluster of other points too.
#[derive(Debug, Clone, PartialEq)]
pub struct Dbscan {
    /// (n), canonical; noise is -1.
    pub labels: Vec<i32>,
    /// Rows of the core points, in increasing order.
    pub core_rows: Vec<u32>,
    pub options: DbscanOptions,
    cores: Option<Cores>,
}

/// The core points: all that decides about other points.
#[derive(Debug, Clone, PartialEq)]
struct Cores {
    /// Core points in row order.
    index: KdTree,
    /// Of each core point its label.
    labels: Vec<i32>,
    /// Of each label the position of its first core point: [`Border::First`] prefers the least.
    first: Vec<u32>,
}

/// Clusters `points` (n, d) by DBSCAN.
///
/// Core points within `eps` of each other are in one cluster. A point that is not a core point but has some within `eps` is on the border
/// and goes where [`Border`] says; all others are noise. Squared distances are compared with `eps²`, both rounded as scikit-learn does.
/// Errors: settings out of range, distances that overflow, cancelled.
/// Cost: two searches in a kd-tree a point, the second of which lists all neighbours (so an `eps` that spans the points takes O(n²)
/// time); from 16 coordinates on n² d. Memory: O(n d).
pub fn dbscan(points: Points, options: &DbscanOptions, observer: &dyn Observer) -> Result<Dbscan, ClusterError> {
    options.check()?;
    let (n, d, limit) = (points.n(), points.d(), options.eps * options.eps);
    let all = KdTree::new(points)?;
    let flags: Vec<Option<Vec<bool>>> = (0..n.div_ceil(PIECE))
        .into_par_iter()
        .map(|piece| {
            let places = piece * PIECE..n.min((piece + 1) * PIECE);
            (!observer.cancelled()).then(|| all.enough_within(&all.gather(places), limit, options.min_samples))
        })
        .collect();
    let flags: Option<Vec<_>> = flags.into_iter().collect();
    let mut core_rows: Vec<u32> = all
        .rows()
        .iter()
        .zip(flags.ok_or(ClusterError::Cancelled)?.into_iter().flatten())
        .filter(|c| c.1)
        .map(|c| *c.0)
        .collect();
    core_rows.sort_unstable();
    drop(all);
    if core_rows.is_empty() {
        return Ok(Dbscan { labels: vec![NOISE; n], core_rows, options: options.clone(), cores: None });
    }
    let values: Vec<f64> = core_rows.iter().flat_map(|&row| points.row(row as usize)).copied().collect();
    let index = KdTree::new(Points::new(&values, core_rows.len(), d)?)?;
    let components = connect(&index, limit, observer)?;
    // Labels by first core point, which is what `Border::First` goes by.
    let mut core_labels: Vec<i32> = components.iter().map(|&c| c as i32).collect();
    labels::canonical(&mut core_labels);
    let mut cores = Cores::new(index, core_labels);
    let mut found = cores.label(points, options);
    for (&row, &label) in core_rows.iter().zip(&cores.labels) {
        debug_assert_eq!(found[row as usize], label, "a core point reaches only its own cluster");
    }
    // Labels by first point of any kind.
    let order = labels::canonical(&mut found);
    cores.renumber(&order);
    Ok(Dbscan { labels: found, core_rows, options: options.clone(), cores: Some(cores) })
}

/// Of each point of the tree, in row order, the least row that it is connected with by steps whose squares are at most `limit`.
fn connect(index: &KdTree, limit: f64, observer: &dyn Observer) -> Result<Vec<u32>, ClusterError> {
    let n = index.n();
    // The least row of a set becomes its root, whatever the order of the joins: the outcome does not depend on threads.
    let parents: Vec<AtomicU32> = (0..n as u32).map(AtomicU32::new).collect();
    let find = |mut i: u32| loop {
        let above = parents[i as usize].load(Ordering::Relaxed);
        if above == i {
            return i;
        }
        // Halving the path; a lost race only leaves it longer.
        let next = parents[above as usize].load(Ordering::Relaxed);
        let _ = parents[i as usize].compare_exchange_weak(above, next, Ordering::Relaxed, Ordering::Relaxed);
        i = next;
    };
    let join = |a: u32, b: u32| {
        loop {
            let (a, b) = (find(a), find(b));
            let (low, high) = (a.min(b), a.max(b));
            if low == high || parents[high as usize].compare_exchange(high, low, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
                return;
            }
        }
    };
    let stopped: Vec<bool> = (0..n.div_ceil(PIECE))
        .into_par_iter()
        .map(|piece| {
            if observer.cancelled() {
                return true;
            }
            let begin = piece * PIECE;
            let places = begin..n.min(begin + PIECE);
            index.within(&index.gather(places), limit, |i, found| {
                let row = index.rows()[begin + i];
                // Every pair is seen from both ends.
                found.iter().map(|&q| index.rows()[q as usize]).filter(|&q| q < row).for_each(|q| join(row, q));
            });
            false
        })
        .collect();
    if stopped.contains(&true) {
        return Err(ClusterError::Cancelled);
    }
    Ok((0..n as u32).map(find).collect())
}

impl Cores {
    fn new(index: KdTree, core_labels: Vec<i32>) -> Self {
        let mut first = vec![u32::MAX; labels::count(&core_labels)];
        for (i, &label) in core_labels.iter().enumerate().rev() {
            first[label as usize] = i as u32;
        }
        Self { index, labels: core_labels, first }
    }

    /// New label i is the old `order[i]`. Every label has its core points, so none is missing.
    fn renumber(&mut self, order: &[i32]) {
        let mut new = vec![NOISE; order.len()];
        for (i, &old) in order.iter().enumerate() {
            new[old as usize] = i as i32;
        }
        self.first = order.iter().map(|&old| self.first[old as usize]).collect();
        self.labels.iter_mut().for_each(|l| *l = new[*l as usize]);
    }

    /// Labels of any points.
    fn label(&self, points: Points, options: &DbscanOptions) -> Vec<i32> {
        let (limit, d) = (options.eps * options.eps, points.d());
        let pieces: Vec<Vec<i32>> = points
            .values()
            .par_chunks(PIECE * d)
            .map(|queries| {
                let mut found = vec![NOISE; queries.len() / d];
                let label_of = |place: u32| self.labels[self.index.rows()[place as usize] as usize];
                if options.border == Border::First {
                    self.index.within(queries, limit, |i, places| {
                        let labels = places.iter().map(|&p| label_of(p));
                        found[i] = labels.min_by_key(|&l| self.first[l as usize]).unwrap_or(NOISE);
                    });
                    return found;
                }
                self.index.nearest_of(queries, 1, |i, nearest| {
                    let (squared, row) = super::kd_tree::unpack(nearest[0]);
                    let reached = if options.border == Border::Nearest { squared <= limit } else { squared == 0.0 };
                    if reached {
                        found[i] = self.labels[row as usize];
                    }
                });
                found
            })
            .collect();
        pieces.concat()
    }
}

impl Dbscan {
    /// Labels of other points (m, d) by the rule that labelled the training rows: with core points within `eps` the cluster that
    /// [`Border`] says, else noise. ([`Border::Noise`]: only what coincides with a core point.) So training rows get the labels of the
    /// fit.
    /// Errors: another number of columns; distances that overflow. Cost: one search a point.
    pub fn predict(&self, points: Points) -> Result<Vec<i32>, ClusterError> {
        let Some(cores) = &self.cores else { return Ok(vec![NOISE; points.n()]) };
        cores.index.check(points)?;
        Ok(cores.label(points, &self.options))
    }

    /// Settings, labels of the training rows, core points and their labels.
    pub fn to_saved(&self) -> Saved {
        let (d, values, core_labels) = match &self.cores {
            Some(cores) => (cores.index.d(), cores.index.points(), cores.labels.clone()),
            None => (0, Vec::new(), Vec::new()),
        };
        let array = |name: &str, shape: Vec<usize>, values| Array { name: name.into(), shape, values };
        let rows: Vec<i32> = self.core_rows.iter().map(|&r| r as i32).collect();
        Saved {
            method: METHOD.into(),
            header: serde_json::json!({ "options": self.options }),
            arrays: vec![
                array("labels", vec![self.labels.len()], Numbers::I32(self.labels.clone())),
                array("core_rows", vec![rows.len()], Numbers::I32(rows)),
                array("core_points", vec![core_labels.len(), d], Numbers::F64(values)),
                array("core_labels", vec![core_labels.len()], Numbers::I32(core_labels)),
            ],
        }
    }

    /// The model as it was. Errors: arrays that are missing or do not belong together.
    pub fn from_saved(saved: &Saved) -> Result<Self, ClusterError> {
        let bad = |why: String| ClusterError::Model { method: METHOD, why };
        if saved.method != METHOD {
            return Err(bad(format!("it is one of {:?}", saved.method)));
        }
        let options: DbscanOptions =
            serde_json::from_value(saved.header["options"].clone()).map_err(|e| bad(format!("its options: {e}")))?;
        options.check()?;
        let (_, found) = saved.i32(METHOD, "labels")?;
        let (_, rows) = saved.i32(METHOD, "core_rows")?;
        let (shape, values) = saved.f64(METHOD, "core_points")?;
        let (_, core_labels) = saved.i32(METHOD, "core_labels")?;
        let &[count, d] = shape else {
            return Err(bad(format!("its core points have the shape {shape:?}; expected rows and columns")));
        };
        if rows.len() != count || core_labels.len() != count || values.len() != count * d {
            return Err(bad(format!("its arrays do not belong to {count} core points of {d} columns")));
        }
        let clusters = labels::count(found) as i32;
        let belongs = |(&row, &label): (&i32, &i32)| {
            (0..clusters).contains(&label) && usize::try_from(row).ok().and_then(|r| found.get(r)) == Some(&label)
        };
        if !rows.iter().zip(core_labels).all(belongs) || (0..clusters).any(|c| !core_labels.contains(&c)) {
            return Err(bad("the labels of its core points are not those of its rows".into()));
        }
        let core_rows = rows.iter().map(|&r| r as u32).collect();
        let cores = match count {
            0 => None,
            _ => Some(Cores::new(KdTree::new(Points::new(values, count, d)?)?, core_labels.to_vec())),
        };
        Ok(Self { labels: found.to_vec(), core_rows, options, cores })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::kd_tree::tests::{blobs, grid, hash, on_threads, shuffled, table, uniform};
    use crate::cluster::score::adjusted_rand;
    use crate::run::observer::Silent;

    fn fit(values: &[f64], d: usize, eps: f64, min_samples: usize, border: Border) -> Dbscan {
        let points = Points::new(values, values.len() / d, d).unwrap();
        dbscan(points, &DbscanOptions { eps, min_samples, border }, &Silent).unwrap()
    }

    fn same(a: &Dbscan, values: &[f64], d: usize) {
        let points = Points::new(values, values.len() / d, d).unwrap();
        assert_eq!(a.predict(points).unwrap(), a.labels, "training rows have the labels of the fit");
        let kept = Dbscan::from_saved(&a.to_saved()).unwrap();
        assert_eq!(kept, *a);
    }

    #[test]
    fn iris_is_what_scikit_learn_finds() {
        let Some((values, d, truth)) = table("iris") else { return };
        let found = fit(&values, d, 0.5, 5, Border::First);
        let sizes = [-1, 0, 1].map(|l| found.labels.iter().filter(|x| **x == l).count());
        assert_eq!((sizes, found.core_rows.len()), ([17, 49, 84], 117));
        assert!((adjusted_rand(&truth, &found.labels) - 0.5206185).abs() < 5e-8, "seven digits are given");
        assert_eq!(hash(found.labels.iter().map(|&l| l.into())), 0xd7e4_9128_992b_718c);
        same(&found, &values, d);
    }

    #[test]
    fn blobs_are_what_scikit_learn_finds() {
        // scikit-learn 1.9.1: d, eps, min_samples; clusters, noise, core points, hash of canonical labels.
        let cases = [
            (4, 0.9, 6, 5, 65, 491, 0x694b_db50_b31c_3992),
            (4, 1.5, 4, 5, 56, 542, 0x8168_2fb8_e255_38b7),
            (20, 2.2, 4, 6, 269, 184, 0x3ced_4ecd_204e_a9a5),
            (20, 3.0, 6, 5, 60, 538, 0xb182_7a68_84fa_59d5_u64),
        ];
        for (d, eps, min_samples, clusters, noise, cores, expected) in cases {
            let values = blobs(600, d, 5, 3);
            let found = fit(&values, d, eps, min_samples, Border::First);
            let left = found.labels.iter().filter(|l| **l == NOISE).count();
            assert_eq!((labels::count(&found.labels), left, found.core_rows.len()), (clusters, noise, cores), "d {d} eps {eps}");
            assert_eq!(hash(found.labels.iter().map(|&l| l.into())), expected, "d {d} eps {eps}");
            same(&found, &values, d);
        }
    }

    #[test]
    fn eps_is_inclusive_and_a_point_counts_itself() {
        // Steps of exactly 1, then one of 2.
        let values = [0.0, 1.0, 2.0, 4.0];
        assert_eq!(fit(&values, 1, 1.0, 2, Border::First).labels, [0, 0, 0, NOISE]);
        assert_eq!(fit(&values, 1, 0.999, 2, Border::First).labels, [NOISE; 4]);
        assert_eq!(fit(&values, 1, 1.0, 1, Border::First).labels, [0, 0, 0, 1]);
        assert_eq!(fit(&values, 1, 1.0, 3, Border::First).core_rows, [1]);
        assert_eq!(fit(&values, 1, 1e200, 4, Border::First).labels, [0; 4]);
    }

    #[test]
    fn a_border_point_goes_where_the_rule_says() {
        // Two dense groups; 1 is within .91 of one core point of each, .1 and 1.8, nearer to the second, and has only 3 neighbours.
        let values = [0.1, 0.0, 0.0, 0.0, 0.0, 1.8, 2.0, 2.0, 2.0, 2.0, 1.0];
        let label = |border| fit(&values, 1, 0.91, 5, border).labels[10];
        assert_eq!([Border::First, Border::Nearest, Border::Noise].map(label), [0, 1, NOISE]);
        let turned: Vec<f64> = values.iter().rev().copied().collect();
        // The border point is the first row now, and its cluster the one of the first core row, 2.
        assert_eq!(fit(&turned, 1, 0.91, 5, Border::First).labels, [0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1]);
        for border in Border::ALL {
            same(&fit(&values, 1, 0.91, 5, *border), &values, 1);
            same(&fit(&turned, 1, 0.91, 5, *border), &turned, 1);
        }
    }

    #[test]
    fn training_rows_keep_their_labels_and_threads_do_not_matter() {
        for (values, d, eps) in [(blobs(3000, 3, 6, 1), 3, 0.5), (grid(900, 2, 2), 2, 1.0), (blobs(700, 18, 4, 2), 18, 2.5)] {
            for border in Border::ALL {
                let run = || fit(&values, d, eps, 6, *border);
                let found = on_threads(1, run);
                assert_eq!(found, on_threads(2, run));
                same(&found, &values, d);
            }
        }
    }

    #[test]
    fn the_order_of_rows_matters_at_borders_only() {
        let values = blobs(1500, 2, 6, 8);
        let (turned, order) = shuffled(&values, 2, 3);
        for border in Border::ALL {
            let (one, other) = (fit(&values, 2, 0.25, 8, *border), fit(&turned, 2, 0.25, 8, *border));
            let mut expected: Vec<i32> = order.iter().map(|&i| one.labels[i]).collect();
            let mut found = other.labels.clone();
            if *border == Border::First {
                // Core points only.
                let keep: Vec<usize> = other.core_rows.iter().map(|&r| r as usize).collect();
                expected = keep.iter().map(|&i| expected[i]).collect();
                found = keep.iter().map(|&i| found[i]).collect();
            }
            labels::canonical(&mut expected);
            labels::canonical(&mut found);
            assert_eq!(found, expected, "{}", border.name());
        }
    }

    #[test]
    fn without_core_points_all_is_noise() {
        let values = uniform(20, 2, 1);
        let found = fit(&values, 2, 1e-9, 2, Border::First);
        assert_eq!((found.labels.clone(), found.core_rows.len()), (vec![NOISE; 20], 0));
        same(&found, &values, 2);
        let one = fit(&[3.0, 4.0], 2, 1.0, 1, Border::First);
        assert_eq!(one.labels, [0]);
    }

    #[test]
    fn bad_settings_and_models_are_refused() {
        let points = Points::new(&[0.0, 1.0], 2, 1).unwrap();
        let text = |eps, min_samples| {
            let options = DbscanOptions { eps, min_samples, border: Border::First };
            dbscan(points, &options, &Silent).unwrap_err().to_string()
        };
        assert_eq!(text(0.0, 1), "eps is 0; expected a distance above 0");
        assert_eq!(text(f64::NAN, 1), "eps is NaN; expected a distance above 0");
        assert_eq!(text(1.0, 0), "min_samples is 0; expected at least 1");
        let mut saved = fit(&[0.0, 1.0], 1, 2.0, 1, Border::First).to_saved();
        saved.arrays[1].values = Numbers::I32(vec![0, 7]);
        assert!(Dbscan::from_saved(&saved).unwrap_err().to_string().contains("are not those of its rows"));
        saved.method = "kmeans".into();
        assert!(Dbscan::from_saved(&saved).unwrap_err().to_string().contains("it is one of \"kmeans\""));
    }
}
