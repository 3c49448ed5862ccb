//! Moves of single points.

use super::data::Data;
use crate::cluster::{ClusterError, Points};
use crate::kernels::distance::{ClusterSums, Pieces, squared_distances_from};
use crate::kernels::simd::Real;
use rayon::prelude::*;

/// Moves single points to other clusters while that lowers the inertia of the partition `labels` (0 to k − 1) of `points`; empty clusters
/// are allowed and get points where they help. Returns the labels (numbered as given), their inertia (squared distances to the means of
/// their clusters), and how many moves were made.
///
/// Moving x from cluster a (of n_a points) to b lowers the inertia by n_a/(n_a − 1)·‖x − m_a‖² − n_b/(n_b + 1)·‖x − m_b‖². The partition
/// returned has no such move (a gain of less than 1e-10 of the first term is rounding), so every point is also nearest to the mean of its
/// own cluster; but not every partition with that property, a fixed point of Lloyd's iteration, is one without moves.
///
/// A pass finds the points with a gain at the present means on all threads, then moves them one after another as long as they still have
/// one. Cost of a pass: 3·n·k·d operations. Errors: no clusters or more than points, a label out of range, an inertia beyond f64.
///
/// Source: Hartigan, Clustering algorithms, 1975; Telgarsky and Vattani, Hartigan's method: k-means clustering without Voronoi, 2010.
pub fn hartigan<T: Real>(points: Points<T>, labels: &[i32], k: usize) -> Result<(Vec<i32>, f64, usize), ClusterError> {
    let n = points.n();
    assert_eq!(labels.len(), n, "hartigan: one label per point");
    if k == 0 || k > n {
        return Err(ClusterError::Clusters { k, n, things: "points" });
    }
    if let Some(i) = labels.iter().position(|&l| l < 0 || l as usize >= k) {
        return Err(ClusterError::Data(format!("point {i} (from 0) has the label {}; expected 0 to {}", labels[i], k - 1)));
    }
    let data = Data::<T>::new(points);
    let mut found: Vec<u32> = labels.iter().map(|&l| l as u32).collect();
    let (inertia, moves) = moves(&data, &mut found, k);
    Ok((found.iter().map(|&l| l as i32).collect(), data.frame.squares(inertia)?, moves))
}

/// A gain of less than this share of what a point costs now is not taken.
const LEAST_GAIN: f64 = 1e-10;

/// Means and sizes as moves change them.
struct Clusters {
    d: usize,
    /// (k, d).
    means: Vec<f64>,
    sizes: Vec<f64>,
}

impl Clusters {
    fn new<T: Real>(data: &Data<T>, labels: &[u32], k: usize) -> Self {
        let d = data.d;
        let mut sums = ClusterSums::new(data.n, k, d);
        sums.fill(&data.values, labels);
        let means = sums.sums.iter().enumerate().map(|(at, s)| s / sums.sizes[at / d].max(1) as f64).collect();
        Self { d, means, sizes: sums.sizes.iter().map(|&s| s as f64).collect() }
    }

    /// The cluster to which the point x of cluster `own` moves with the largest gain (the first among equals), if there is one.
    fn better(&self, x: &[f64], own: usize, distances: &mut [f64]) -> Option<usize> {
        let size = self.sizes[own];
        if size < 2.0 {
            return None;
        }
        squared_distances_from(x, &self.means, distances);
        let now = size / (size - 1.0) * distances[own];
        let mut best = (None, now * (1.0 - LEAST_GAIN));
        for (c, (&distance, &size)) in distances.iter().zip(&self.sizes).enumerate() {
            // An empty cluster costs nothing, whatever stands in its place.
            let then = if size == 0.0 { 0.0 } else { size / (size + 1.0) * distance };
            if c != own && then < best.1 {
                best = (Some(c), then);
            }
        }
        best.0
    }

    fn shift(&mut self, x: &[f64], from: usize, to: usize) {
        let (a, b) = (self.sizes[from], self.sizes[to]);
        for (j, &x) in x.iter().enumerate() {
            let mean = &mut self.means[from * self.d + j];
            *mean -= (x - *mean) / (a - 1.0);
            let mean = &mut self.means[to * self.d + j];
            // The mean of an empty cluster is the point itself.
            *mean = if b == 0.0 { x } else { *mean + (x - *mean) / (b + 1.0) };
        }
        self.sizes[from] = a - 1.0;
        self.sizes[to] = b + 1.0;
    }

    /// Σ‖x − mean of its cluster‖².
    fn inertia<T: Real>(&self, data: &Data<T>, labels: &[u32]) -> f64 {
        let pieces = Pieces::new(data.n);
        let one = |piece: usize| {
            let mut total = 0.0;
            let mut distance = [0.0];
            let mut x = vec![0.0; self.d];
            for i in pieces.range(piece) {
                widen(data.row(i), &mut x);
                let c = labels[i] as usize;
                squared_distances_from(&x, &self.means[c * self.d..(c + 1) * self.d], &mut distance);
                total += distance[0];
            }
            total
        };
        (0..pieces.count()).into_par_iter().map(one).collect::<Vec<f64>>().into_iter().sum()
    }
}

fn widen<T: Real>(row: &[T], to: &mut [f64]) {
    to.iter_mut().zip(row).for_each(|(to, x)| *to = x.to_f64());
}

/// As [`hartigan`], in the frame: the inertia of what `labels` are in the end, and the number of moves.
pub(super) fn moves<T: Real>(data: &Data<T>, labels: &mut [u32], k: usize) -> (f64, usize) {
    let (d, pieces) = (data.d, Pieces::new(data.n));
    let mut clusters = Clusters::new(data, labels, k);
    let mut inertia = clusters.inertia(data, labels);
    let mut moves = 0;
    loop {
        let candidates = |piece: usize| {
            let (mut x, mut distances) = (vec![0.0; d], vec![0.0; k]);
            let mut gains = Vec::new();
            for i in pieces.range(piece) {
                widen(data.row(i), &mut x);
                if clusters.better(&x, labels[i] as usize, &mut distances).is_some() {
                    gains.push(i);
                }
            }
            gains
        };
        let candidates: Vec<Vec<usize>> = (0..pieces.count()).into_par_iter().map(candidates).collect();
        let before = labels.to_vec();
        let (mut x, mut distances, mut made) = (vec![0.0; d], vec![0.0; k], 0);
        for i in candidates.into_iter().flatten() {
            widen(data.row(i), &mut x);
            let own = labels[i] as usize;
            if let Some(to) = clusters.better(&x, own, &mut distances) {
                clusters.shift(&x, own, to);
                labels[i] = to as u32;
                made += 1;
            }
        }
        if made == 0 {
            return (inertia, moves);
        }
        // From the points again, so that rounding does not add up over the passes.
        clusters = Clusters::new(data, labels, k);
        let after = clusters.inertia(data, labels);
        if after >= inertia {
            // Gains that were rounding: without this the loop might not end.
            labels.copy_from_slice(&before);
            return (inertia, moves);
        }
        inertia = after;
        moves += made;
    }
}
