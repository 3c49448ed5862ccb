//! k-means on small random batches, for many points.

use super::kmeans::Start;
use super::kmeans::data::Data;
use super::kmeans::model::{Local, renumber, sizes, whole};
use super::kmeans::start;
use super::saved::{Array, Numbers, Saved};
use super::{ClusterError, Points};
use crate::kernels::distance::{Centroids, nearest, own_distances, squared_distance};
use crate::kernels::simd::Real;
use crate::run::observer::Observer;
use crate::run::seed::{Rng, Streams};
use rand::RngExt;
use rand::seq::index::sample;
use serde::{Deserialize, Serialize};
use serde_json::json;

/// Settings of [`minibatch_kmeans`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct MinibatchOptions {
    pub k: usize,
    pub start: Start,
    /// Starts that are tried; the one with the smallest inertia on a sample goes on.
    pub restarts: usize,
    /// Points of a batch.
    pub batch: usize,
    /// As many batches at most as hold this many times all points.
    pub max_epochs: usize,
    /// Stop when a batch moves the centroids by Σ‖Δc‖² of at most this share of the mean variance of the columns; 0 turns this off.
    pub tolerance: f64,
    /// Stop after so many batches without a new least smoothed inertia; 0 turns this off.
    pub patience: usize,
    /// Centroids that hold less than this share of the count of the largest one are moved to random points now and then; 0 turns this off.
    pub reassignment: f64,
    pub seed: u64,
}

impl Default for MinibatchOptions {
    /// 8 clusters, 3 greedy k-means++ starts, batches of 1024, 100 epochs, patience 10, reassignment .01, no tolerance, seed 0.
    fn default() -> Self {
        Self {
            k: 8,
            start: Start::PlusPlus,
            restarts: 3,
            batch: 1024,
            max_epochs: 100,
            tolerance: 0.0,
            patience: 10,
            reassignment: 0.01,
            seed: 0,
        }
    }
}

impl MinibatchOptions {
    fn check(&self, n: usize, d: usize) -> Result<(), ClusterError> {
        let setting = |what, value: String, expected: &str| Err(ClusterError::Setting { what, value, expected: expected.into() });
        // What the two methods share, with the same words.
        let shared = super::kmeans::KmeansOptions {
            k: self.k,
            start: self.start.clone(),
            restarts: self.restarts,
            tolerance: self.tolerance,
            ..Default::default()
        };
        shared.check(n, d)?;
        if self.batch == 0 {
            return setting("batch", "0".into(), "at least 1");
        }
        if self.max_epochs == 0 {
            return setting("max_epochs", "0".into(), "at least 1");
        }
        if !(0.0..1.0).contains(&self.reassignment) {
            return setting("reassignment", self.reassignment.to_string(), "a share from 0 to below 1");
        }
        Ok(())
    }
}

/// Points in k clusters found from batches.
#[derive(Debug, Clone, PartialEq)]
pub struct MinibatchKmeans {
    /// (n), canonical.
    pub labels: Vec<i32>,
    /// (k, d), row c belongs to label c; centroids without points come last.
    pub centroids: Vec<f64>,
    /// Points with each label.
    pub sizes: Vec<usize>,
    /// Σ over all points of the squared distance to the nearest centroid.
    pub inertia: f64,
    /// Batches.
    pub iterations: usize,
    /// Whether it stopped before the last batch allowed.
    pub converged: bool,
    local: Local,
}

/// Centroids as batches change them.
struct State<T> {
    /// (k, d).
    rows: Vec<T>,
    /// Points that each centroid is the mean of.
    counts: Vec<f64>,
    /// Points seen since small centroids were last moved.
    since: usize,
}

/// k clusters of `points` (n × d) with a small inertia, from random batches: every centroid is the mean of all points that batches have
/// given it, c ← c + (x − c)/N_c. At the end all points are assigned. Stops early as [`MinibatchOptions`] says.
///
/// The inertia is a little above that of [`kmeans`](super::kmeans::kmeans()), and clusters may be empty. Cost: 2·batch·k·d operations a batch,
/// 2·n·k·d in the end; memory one copy of the points. The same seed gives the same bytes at any number of threads.
///
/// Errors: k is 0, above n, or above the number of different points; settings out of range; an inertia beyond f64; cancelled.
///
/// Source: Sculley, Web-scale k-means clustering, 2010; starts, smoothing, reassignment and stopping as in scikit-learn.
pub fn minibatch_kmeans<T: Real>(
    points: Points<T>,
    options: &MinibatchOptions,
    observer: &dyn Observer,
) -> Result<MinibatchKmeans, ClusterError> {
    let (n, d, k) = (points.n(), points.d(), options.k);
    options.check(n, d)?;
    let data = Data::<T>::new(points);
    data.check_distinct(k)?;
    let batch = options.batch.min(n);
    let streams = Streams::new(options.seed);
    let mut state = State { rows: first(&data, options, batch, observer)?, counts: vec![0.0; k], since: 0 };
    let mut rng = streams.stream("minibatch batches", 0);
    let steps = (options.max_epochs * n / batch).max(1);
    let tolerance = options.tolerance * data.variance;
    let weight = (2.0 * batch as f64 / (n + 1) as f64).min(1.0);
    let (mut smooth, mut least, mut waited) = (None, f64::INFINITY, 0);
    let (mut iterations, mut converged) = (0, false);
    observer.start("batches of k-means", steps);
    let mut values = Vec::with_capacity(batch * d);
    while iterations < steps && !converged {
        if observer.cancelled() {
            return Err(ClusterError::Cancelled);
        }
        iterations += 1;
        values.clear();
        for _ in 0..batch {
            values.extend_from_slice(data.row(rng.random_range(0..n)));
        }
        let before = state.rows.clone();
        let inertia = step(&mut state, &values, d, options.reassignment, &mut rng) / batch as f64;
        observer.advance(1);
        // The first batch has the inertia of the start, which says nothing about progress.
        if iterations == 1 {
            continue;
        }
        let now = smooth.map_or(inertia, |s: f64| s * (1.0 - weight) + inertia * weight);
        smooth = Some(now);
        if tolerance > 0.0 {
            let moved: f64 = state.rows.chunks_exact(d).zip(before.chunks_exact(d)).map(|(a, b)| squared_distance(a, b)).sum();
            converged = moved <= tolerance;
        }
        waited = if now < least { 0 } else { waited + 1 };
        least = least.min(now);
        converged |= options.patience > 0 && waited >= options.patience;
    }
    observer.finish();
    let mut labels = vec![0; n];
    nearest(&data.values, &Centroids::new(&state.rows, d), &mut labels);
    let inertia = data.frame.squares(data.inertia(&labels, &state.rows))?;
    let rows: Vec<f64> = state.rows.iter().map(|c| c.to_f64()).collect();
    let (labels, rows, numbers) = renumber(&labels, &rows, d);
    let local = Local { frame: data.frame, centroids: rows, numbers, single: T::LANES == f32::LANES };
    Ok(MinibatchKmeans { sizes: sizes(&labels, k), labels, centroids: local.outside(), inertia, iterations, converged, local })
}

/// The best of the starts: drawn from samples of three batches (three points per cluster at least), compared on another such sample.
fn first<T: Real>(
    data: &Data<T>,
    options: &MinibatchOptions,
    batch: usize,
    observer: &dyn Observer,
) -> Result<Vec<T>, ClusterError> {
    let (d, k) = (data.d, options.k);
    let size = (3 * batch).max(3 * k).min(data.n);
    let streams = Streams::new(options.seed);
    let draw = |purpose: &str, index: u64| -> Data<T> {
        let mut rows = sample(&mut streams.stream(purpose, index), data.n, size).into_vec();
        rows.sort_unstable();
        let values = rows.iter().flat_map(|&i| data.row(i).iter().copied()).collect();
        Data { values, n: size, d, frame: data.frame.clone(), variance: data.variance }
    };
    let validation = draw("minibatch validation", 0);
    let restarts = if matches!(options.start, Start::Given(_)) { 1 } else { options.restarts };
    let (mut best, mut least) = (Vec::new(), f64::INFINITY);
    for restart in 0..restarts as u64 {
        let from = draw("minibatch start", restart);
        let rows = start::centroids(&from, k, &options.start, options.seed, restart, observer).ok_or(ClusterError::Cancelled)?;
        let mut labels = vec![0; size];
        nearest(&validation.values, &Centroids::new(&rows, d), &mut labels);
        let inertia = validation.inertia(&labels, &rows);
        if best.is_empty() || inertia < least {
            (best, least) = (rows, inertia);
        }
    }
    Ok(best)
}

/// One batch (rows of d). Returns its inertia at the centroids before.
fn step<T: Real>(state: &mut State<T>, values: &[T], d: usize, reassignment: f64, rng: &mut Rng) -> f64 {
    let (k, batch) = (state.counts.len(), values.len() / d);
    let mut labels = vec![0; batch];
    nearest(values, &Centroids::new(&state.rows, d), &mut labels);
    let mut own = vec![0.0; batch];
    own_distances(values, d, &labels, &state.rows, &mut own);
    let (mut sums, mut sizes) = (vec![0.0; k * d], vec![0.0; k]);
    for (row, &label) in values.chunks_exact(d).zip(&labels) {
        let c = label as usize;
        sizes[c] += 1.0;
        sums[c * d..(c + 1) * d].iter_mut().zip(row).for_each(|(s, x)| *s += x.to_f64());
    }
    for c in (0..k).filter(|&c| sizes[c] > 0.0) {
        let (count, total) = (state.counts[c], state.counts[c] + sizes[c]);
        // The mean of all points so far: what single steps c + (x − c)/N add up to.
        for (mean, sum) in state.rows[c * d..(c + 1) * d].iter_mut().zip(&sums[c * d..]) {
            *mean = T::from_f64((mean.to_f64() * count + sum) / total);
        }
        state.counts[c] = total;
    }
    state.since += batch;
    if reassignment > 0.0 && (state.since >= 10 * k || state.counts.contains(&0.0)) {
        state.since = 0;
        reassign(state, values, d, reassignment, rng);
    }
    own.iter().sum()
}

/// Moves the centroids with small counts, at most half as many as the batch has points, to random points of the batch.
fn reassign<T: Real>(state: &mut State<T>, values: &[T], d: usize, share: f64, rng: &mut Rng) {
    let batch = values.len() / d;
    let most = state.counts.iter().fold(0.0f64, |m, &c| m.max(c));
    let mut small: Vec<usize> = (0..state.counts.len()).filter(|&c| state.counts[c] < share * most).collect();
    small.sort_by(|&a, &b| state.counts[a].total_cmp(&state.counts[b]));
    small.truncate(batch / 2);
    if small.is_empty() {
        return;
    }
    let kept = |c: &usize| !small.contains(c);
    let count = (0..state.counts.len()).filter(kept).map(|c| state.counts[c]).fold(f64::INFINITY, f64::min);
    for (&c, row) in small.iter().zip(sample(rng, batch, small.len())) {
        state.rows[c * d..(c + 1) * d].copy_from_slice(&values[row * d..(row + 1) * d]);
        state.counts[c] = count;
    }
}

impl MinibatchKmeans {
    /// The label of every point: the nearest centroid, among equals the one that came first in the fit. The rows of the fit get its labels.
    /// Error: another number of columns.
    pub fn predict<U: Real>(&self, points: Points<U>) -> Result<Vec<i32>, ClusterError> {
        self.local.nearest(points)
    }

    /// Without the labels, which belong to the rows of the fit.
    pub fn to_saved(&self) -> Saved {
        let d = self.local.frame.centre.len();
        let k = self.sizes.len();
        let header = json!({
            "k": k, "d": d, "precision": self.local.precision(), "exponent": self.local.frame.exponent, "inertia": self.inertia,
            "iterations": self.iterations, "converged": self.converged, "sizes": self.sizes,
        });
        let mut arrays =
            vec![Array { name: "centroids".into(), shape: vec![k, d], values: Numbers::F64(self.centroids.clone()) }];
        arrays.extend(self.local.arrays());
        Saved { method: "minibatch-kmeans".into(), header, arrays }
    }

    /// A model that predicts as the one saved; its `labels` are empty. Errors: another method, arrays or settings that do not fit.
    pub fn from_saved(saved: &Saved) -> Result<Self, ClusterError> {
        const METHOD: &str = "minibatch-kmeans";
        let local = Local::read(saved, METHOD)?;
        let wrong = |name: &str, e: serde_json::Error| ClusterError::Model { method: METHOD, why: format!("its {name}: {e}") };
        let k = local.centroids.len() / local.frame.centre.len();
        let sizes: Vec<usize> = Deserialize::deserialize(&saved.header["sizes"]).map_err(|e| wrong("sizes", e))?;
        if sizes.len() != k {
            return Err(ClusterError::Model { method: METHOD, why: format!("it has {} sizes and {k} centroids", sizes.len()) });
        }
        Ok(Self {
            labels: Vec::new(),
            centroids: local.outside(),
            sizes,
            inertia: Deserialize::deserialize(&saved.header["inertia"]).map_err(|e| wrong("inertia", e))?,
            iterations: whole(saved, METHOD, "iterations")?,
            converged: Deserialize::deserialize(&saved.header["converged"]).map_err(|e| wrong("converged", e))?,
            local,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::kmeans::{KmeansOptions, kmeans};
    use crate::run::observer::Silent;

    /// Four round clouds of different sizes in the plane.
    fn clouds(n: usize) -> (Vec<f64>, Vec<i32>) {
        let mut rng = Streams::new(3).stream("clouds", 0);
        let centres = [[0.0, 0.0], [10.0, 0.0], [0.0, 10.0], [10.0, 10.0]];
        let truth: Vec<i32> = (0..n).map(|i| [0, 0, 0, 0, 0, 1, 1, 1, 2, 3][i % 10]).collect();
        let values = truth.iter().flat_map(|&t| centres[t as usize].map(|c| c + rng.random::<f64>() - 0.5)).collect();
        (values, truth)
    }

    #[test]
    fn finds_clouds_near_the_optimum() {
        let (values, truth) = clouds(20_000);
        let points = Points::new(&values, 20_000, 2).unwrap();
        let found = minibatch_kmeans(points, &MinibatchOptions { k: 4, ..Default::default() }, &Silent).unwrap();
        assert_eq!(found.labels, truth);
        assert_eq!(found.sizes, [10_000, 6_000, 2_000, 2_000]);
        assert!(found.converged && found.iterations > 10, "{} batches", found.iterations);
        let best = kmeans(points, &KmeansOptions { k: 4, ..Default::default() }, &Silent).unwrap();
        // A centroid is the mean of the N points it was given: its variance is s²/N around the mean of the cluster, so the inertia is above
        // the least by a share of about 1/N; every cloud gets above 1000 points here.
        assert!(found.inertia >= best.inertia && found.inertia < best.inertia * 1.005, "{} {}", found.inertia, best.inertia);
        assert_eq!(found.predict(points).unwrap(), found.labels);
    }

    #[test]
    fn same_bytes_at_any_number_of_threads_and_after_keeping() {
        let (values, _) = clouds(5_000);
        let points = Points::new(&values, 5_000, 2).unwrap();
        let options = MinibatchOptions { k: 7, batch: 100, seed: 5, tolerance: 1e-9, ..Default::default() };
        let run = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| minibatch_kmeans(points, &options, &Silent).unwrap())
        };
        let one = run(1);
        assert_eq!(one, run(2));
        let back = MinibatchKmeans::from_saved(&one.to_saved()).unwrap();
        assert_eq!(back.predict(points).unwrap(), one.labels);
        assert_eq!((back.centroids, back.sizes, back.iterations), (one.centroids.clone(), one.sizes.clone(), one.iterations));
        let single: Vec<f32> = values.iter().map(|&x| x as f32).collect();
        let single = Points::new(&single, 5_000, 2).unwrap();
        let found = minibatch_kmeans(single, &options, &Silent).unwrap();
        assert_eq!(found.predict(single).unwrap(), found.labels);
    }

    #[test]
    fn a_batch_moves_centroids_to_the_mean_of_all_their_points() {
        let mut rng = Streams::new(0).stream("test", 0);
        let mut state = State { rows: vec![0.0, 10.0], counts: vec![2.0, 0.0], since: 0 };
        // 1 and 2 join the two points at 0: (0 + 0 + 1 + 2)/4; 11 is the first point of the other. Inertia 1 + 4 + 1.
        assert_eq!(step(&mut state, &[1.0, 2.0, 11.0], 1, 0.0, &mut rng), 6.0);
        assert_eq!((state.rows, state.counts), (vec![0.75, 11.0], vec![4.0, 1.0]));
    }

    #[test]
    fn small_centroids_are_moved_to_points_of_the_batch() {
        let mut rng = Streams::new(0).stream("test", 0);
        let mut state = State { rows: vec![0.0, 1e6, 3.0], counts: vec![1000.0, 0.0, 50.0], since: 0 };
        step(&mut state, &[0.0, 0.25, 3.0, 3.0], 1, 0.01, &mut rng);
        assert!([0.0, 0.25, 3.0].contains(&state.rows[1]), "{:?}", state.rows);
        // The moved one takes the smallest count of the others.
        assert_eq!(state.counts, [1002.0, 52.0, 52.0]);
    }

    #[test]
    fn bad_settings_are_named() {
        let x = [0.0, 1.0, 1.0, 2.0];
        let points = Points::new(&x, 4, 1).unwrap();
        let fails = |options: MinibatchOptions| minibatch_kmeans(points, &options, &Silent).unwrap_err();
        let k3 = MinibatchOptions { k: 3, ..Default::default() };
        assert_eq!(fails(MinibatchOptions { k: 4, ..k3.clone() }), ClusterError::Distinct { k: 4, distinct: 3 });
        assert_eq!(fails(MinibatchOptions { k: 5, ..k3.clone() }), ClusterError::Clusters { k: 5, n: 4, things: "points" });
        let named =
            |options, name: &str| assert!(matches!(fails(options), ClusterError::Setting { what, .. } if what == name), "{name}");
        named(MinibatchOptions { batch: 0, ..k3.clone() }, "batch");
        named(MinibatchOptions { max_epochs: 0, ..k3.clone() }, "max_epochs");
        named(MinibatchOptions { reassignment: 1.0, ..k3.clone() }, "reassignment");
        named(MinibatchOptions { reassignment: f64::NAN, ..k3.clone() }, "reassignment");
        named(MinibatchOptions { restarts: 0, ..k3.clone() }, "restarts");
        assert!(minibatch_kmeans(points, &k3, &Silent).is_ok());
    }
}
