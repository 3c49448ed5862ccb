//! The iteration that all algorithms share: assign, fill empty clusters, average.

use super::data::Data;
use super::elkan::Elkan;
use super::hamerly::Hamerly;
use super::lloyd::Lloyd;
use super::options::Algorithm;
use crate::cluster::ClusterError;
use crate::kernels::distance::{Centroids, ClusterSums, nearest, squared_distance};
use crate::kernels::simd::Real;
use crate::run::observer::Observer;
use rayon::prelude::*;

/// All of one run, in the frame.
#[derive(Debug, Clone)]
pub(super) struct Best<T> {
    pub labels: Vec<u32>,
    /// (k, d).
    pub centroids: Vec<T>,
    pub inertia: f64,
    pub iterations: usize,
    pub converged: bool,
}

/// How far centroids moved since the last assignment: upper bounds of ‖Δc‖.
pub(super) struct Drift {
    pub each: Vec<f64>,
}

/// Relative error allowed for a distance (not squared) that is computed by its definition, for d coordinates: its square is wrong by at most
/// (d + 3)u, the root halves that and adds u; doubled, so that inequalities between two of them are certain.
pub(super) fn slack(d: usize) -> f64 {
    (d + 8) as f64 * f64::EPSILON
}

/// An algorithm: sets the label of every point to its nearest centroid and leaves the sums of the new clusters.
pub(super) trait Assign<T: Real>: Send {
    /// `drift` is `None` at the first call. Returns how many labels changed.
    fn assign(
        &mut self,
        data: &Data<T>,
        centroids: &Centroids<T>,
        drift: Option<&Drift>,
        labels: &mut [u32],
        sums: &mut ClusterSums,
    ) -> usize;

    /// The label of point `i` was changed from outside.
    fn forget(&mut self, i: usize);
}

fn method<T: Real>(algorithm: Algorithm, data: &Data<T>, k: usize) -> Box<dyn Assign<T>> {
    match algorithm {
        Algorithm::Auto => method(algorithm.chosen(data.d, k), data, k),
        Algorithm::Lloyd => Box::new(Lloyd),
        Algorithm::Hamerly => Box::new(Hamerly::new(data.n)),
        Algorithm::Elkan => Box::new(Elkan::new(data.n, k)),
    }
}

/// Iterates from `start` (k, d) until no label changes, Σ‖Δc‖² is at most `tolerance` (in the frame), or `most` iterations are done.
pub(super) fn iterate<T: Real>(
    data: &Data<T>,
    start: &[T],
    algorithm: Algorithm,
    tolerance: f64,
    most: usize,
    observer: &dyn Observer,
) -> Result<Best<T>, ClusterError> {
    let (n, d) = (data.n, data.d);
    let k = start.len() / d;
    let mut method = method(algorithm, data, k);
    let mut sums = ClusterSums::new(n, k, d);
    let mut labels = vec![u32::MAX; n];
    let mut centroids = Centroids::new(start, d);
    let mut drift = None;
    let (mut iterations, mut converged, mut settled) = (0, false, false);
    while iterations < most && !converged {
        if observer.cancelled() {
            return Err(ClusterError::Cancelled);
        }
        iterations += 1;
        let changed = method.assign(data, &centroids, drift.as_ref(), &mut labels, &mut sums);
        let moved = fill_empty(data, &centroids, &mut labels, &mut sums)?;
        moved.iter().for_each(|&i| method.forget(i));
        let means = means::<T>(&sums, d);
        let squares: Vec<f64> =
            means.chunks_exact(d).zip(centroids.rows().chunks_exact(d)).map(|(a, b)| squared_distance(a, b)).collect();
        drift = Some(Drift { each: squares.iter().map(|s| s.sqrt() * (1.0 + slack(d))).collect() });
        centroids = Centroids::new(&means, d);
        // Unchanged labels have the same sums, so the centroids are the ones the labels were found with.
        settled = changed == 0 && moved.is_empty();
        converged = settled || squares.iter().sum::<f64>() <= tolerance;
    }
    if !settled {
        nearest(&data.values, &centroids, &mut labels);
    }
    let centroids = centroids.rows().to_vec();
    let inertia = data.inertia(&labels, &centroids);
    Ok(Best { labels, centroids, inertia, iterations, converged })
}

/// Centroids of sums. Every cluster has points.
fn means<T: Real>(sums: &ClusterSums, d: usize) -> Vec<T> {
    let sizes = sums.sizes.iter().flat_map(|&s| std::iter::repeat_n(s as f64, d));
    sums.sums.iter().zip(sizes).map(|(s, size)| T::from_f64(s / size)).collect()
}

/// Gives every empty cluster, in order, the point farthest from its own centroid (the first among equals) of a cluster that has others,
/// and brings the sums up to date. Returns the points. Error: all such points stand on their centroids, so there are fewer places than
/// clusters.
fn fill_empty<T: Real>(
    data: &Data<T>,
    centroids: &Centroids<T>,
    labels: &mut [u32],
    sums: &mut ClusterSums,
) -> Result<Vec<usize>, ClusterError> {
    let k = sums.sizes.len();
    let empty: Vec<usize> = (0..k).filter(|&c| sums.sizes[c] == 0).collect();
    let mut moved = Vec::with_capacity(empty.len());
    if empty.is_empty() {
        return Ok(moved);
    }
    let own = data.own(labels, centroids.rows());
    let mut order: Vec<u32> = (0..data.n as u32).filter(|&i| own[i as usize] > 0.0).collect();
    order.par_sort_unstable_by(|&a, &b| own[b as usize].total_cmp(&own[a as usize]).then(a.cmp(&b)));
    let mut order = order.into_iter().map(|i| i as usize);
    for &c in &empty {
        let Some(i) = order.find(|&i| sums.sizes[labels[i] as usize] > 1) else {
            let distinct = sums.sizes.iter().filter(|&&s| s > 0).count();
            return Err(ClusterError::Distinct { k, distinct });
        };
        sums.sizes[labels[i] as usize] -= 1;
        sums.sizes[c] = 1;
        labels[i] = c as u32;
        moved.push(i);
    }
    sums.fill(&data.values, labels);
    Ok(moved)
}
