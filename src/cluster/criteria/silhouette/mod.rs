//! Silhouettes: is each point nearer to its own cluster than to the next?
//!
//! For point i with mean distance a to the other points of its cluster and b to the points of the nearest other cluster,
//! s = (b − a) / max(a, b), in [-1, 1]; 0 for a point alone in its cluster, and where a = b = 0. Source: Rousseeuw 1987.

use rand::seq::index;
use rayon::prelude::*;

use super::Groups;
use super::tiles::{BLOCK, Queries, Sorted};
use crate::cluster::score::Noise;
use crate::cluster::{ClusterError, Points};
use crate::kernels::simd::Real;
use crate::run::observer::Observer;
use crate::run::seed::Streams;

/// What the number of clusters is for, in messages.
const WHAT: &str = "the number of clusters for the silhouette";
/// Numbers in the sums of distances of all points to all clusters, up to which every distance is computed once for both its ends.
const SYMMETRIC: usize = 1 << 24;
/// Sums that one task holds when they are not kept for all points.
const TASK_SUMS: usize = 1 << 20;

/// The silhouette of one cluster.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct ClusterSilhouette {
    pub label: i32,
    pub size: usize,
    pub mean: f64,
}

/// Silhouettes of all points.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Silhouette {
    /// Mean over the points.
    pub mean: f64,
    /// Mean over the points outside of the largest cluster (the first of several), which can hide all others. Distances to the largest
    /// cluster still count.
    pub mean_without_largest: f64,
    /// By increasing label.
    pub clusters: Vec<ClusterSilhouette>,
    /// (n), in [-1, 1]; 0 for noise that is left out.
    pub samples: Vec<f64>,
}

/// The mean silhouette by a sample of the points.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct SilhouetteSample {
    pub mean: f64,
    /// Standard error of the mean, by the spread within the sample and the share of points that it leaves out; 0 when it has all.
    pub se: f64,
    /// Points of the sample.
    pub size: usize,
}

/// Silhouettes of all points by Euclidean distance, exact.
///
/// Distances come from ‖x‖² − 2 x·y + ‖y‖² of the centred points, a block of matrix products at a time, and are summed by cluster at once;
/// pairs so close that this would lose digits are measured again coordinate by coordinate, so equal points are at distance 0. Each
/// distance is computed once for both its ends while sums of all points to all clusters fit in 256 MiB (n · k ≤ 2²⁴), else twice.
/// Time O(n² d), memory O(n (d + k)) at most 256 MiB of sums; same bits at any number of threads.
///
/// Errors: fewer than 2 clusters, or as many as points; stopped. Panics when there is not a label for every point.
pub fn silhouette<T: Real>(
    points: Points<T>,
    labels: &[i32],
    noise: Noise,
    observer: &dyn Observer,
) -> Result<Silhouette, ClusterError> {
    assert_eq!(labels.len(), points.n(), "a label for every point");
    let groups = Groups::new(labels, noise);
    groups.check(WHAT)?;
    let sorted = Sorted::new(points, &groups);
    // (n), in the order of the groups.
    let values = match groups.n().saturating_mul(groups.count()) <= SYMMETRIC {
        true => symmetric(&sorted, &groups, observer)?,
        false => by_rows(&sorted, &groups, &sorted.all(), observer)?,
    };
    let mut samples = vec![0.0; points.n()];
    groups.order().iter().zip(&values).for_each(|(&i, &s)| samples[i] = s);
    let clusters: Vec<ClusterSilhouette> = (0..groups.count())
        .map(|g| {
            let sum: f64 = values[groups.offsets()[g]..groups.offsets()[g + 1]].iter().sum();
            ClusterSilhouette { label: groups.labels()[g], size: groups.size(g), mean: sum / groups.size(g) as f64 }
        })
        .collect();
    let largest = groups.largest();
    let sum = |skip: Option<usize>| {
        let kept = || clusters.iter().enumerate().filter(|(g, _)| Some(*g) != skip).map(|(_, c)| c);
        kept().map(|c| c.mean * c.size as f64).sum::<f64>() / kept().map(|c| c.size).sum::<usize>() as f64
    };
    Ok(Silhouette { mean: sum(None), mean_without_largest: sum(largest), clusters, samples })
}

/// The mean silhouette by a simple random sample of `size` points (all of them where there are fewer), each measured against all points.
/// Unbiased, unlike silhouettes within a subset. O(size · n d).
///
/// Errors: as [`silhouette`], or a sample of less than 2.
pub fn silhouette_sample<T: Real>(
    points: Points<T>,
    labels: &[i32],
    noise: Noise,
    size: usize,
    seed: u64,
    observer: &dyn Observer,
) -> Result<SilhouetteSample, ClusterError> {
    assert_eq!(labels.len(), points.n(), "a label for every point");
    if size < 2 {
        return Err(ClusterError::Setting {
            what: "the silhouette sample",
            value: size.to_string(),
            expected: "at least 2 points".into(),
        });
    }
    let groups = Groups::new(labels, noise);
    groups.check(WHAT)?;
    let n = groups.n();
    if size >= n {
        let mean = silhouette(points, labels, noise, observer)?.mean;
        return Ok(SilhouetteSample { mean, se: 0.0, size: n });
    }
    let mut rng = Streams::new(seed).stream("silhouette sample", 0);
    let mut places = index::sample(&mut rng, n, size).into_vec();
    places.sort_unstable();
    let sorted = Sorted::new(points, &groups);
    let values = by_rows(&sorted, &groups, &sorted.some(&places), observer)?;
    let mean = values.iter().sum::<f64>() / size as f64;
    let variance = values.iter().map(|s| (s - mean) * (s - mean)).sum::<f64>() / (size - 1) as f64;
    let left_out = 1.0 - size as f64 / n as f64;
    Ok(SilhouetteSample { mean, se: (left_out * variance / size as f64).sqrt(), size })
}

/// The silhouette of a point of group `own` from its sums of distances to all groups.
fn value(sums: impl Iterator<Item = f64>, groups: &Groups, own: usize) -> f64 {
    if groups.size(own) == 1 {
        return 0.0;
    }
    let (mut inside, mut nearest) = (0.0, f64::INFINITY);
    for (g, sum) in sums.enumerate() {
        if g == own {
            inside = sum / (groups.size(g) - 1) as f64;
        } else {
            nearest = f64::min(nearest, sum / groups.size(g) as f64);
        }
    }
    let larger = inside.max(nearest);
    if larger > 0.0 { (nearest - inside) / larger } else { 0.0 }
}

/// Every pair of blocks once. In round r block I meets block I + r: as rows it adds to sums of its own, and block I + r as columns to sums
/// of its own, so the tasks of a round share nothing, and the order of all additions is that of the rounds.
fn symmetric(sorted: &Sorted, groups: &Groups, observer: &dyn Observer) -> Result<Vec<f64>, ClusterError> {
    let (n, k, blocks) = (groups.n(), groups.count(), sorted.blocks());
    // Of points as rows: (n, k). Of points as columns: for each block (k, BLOCK).
    let (mut by_row, mut by_column) = (vec![0.0; n * k], vec![0.0; blocks * k * BLOCK]);
    let all = sorted.all();
    observer.start("silhouette", blocks / 2 + 1);
    for round in 0..=blocks / 2 {
        if observer.cancelled() {
            return Err(ClusterError::Cancelled);
        }
        // Half way round, I and I + r meet twice.
        let tasks = if round > 0 && 2 * round == blocks { round } else { blocks };
        let mut columns: Vec<&mut [f64]> = by_column.chunks_mut(k * BLOCK).collect();
        columns.rotate_left(round);
        let rows = by_row.par_chunks_mut(BLOCK * k).zip(columns).take(tasks).enumerate().with_max_len(1);
        rows.for_each(|(i, (rows, columns))| {
            let columns = if round == 0 { None } else { Some(columns) };
            sorted.meet(&all, sorted.places(i), (i + round) % blocks, rows, columns);
        });
        observer.advance(1);
    }
    observer.finish();
    let of_place = sorted.group_of();
    let one = |p: usize| {
        let column = &by_column[p / BLOCK * k * BLOCK + p % BLOCK..];
        let sums = (0..k).map(|g| by_row[p * k + g] + column[g * BLOCK]);
        value(sums, groups, of_place[p] as usize)
    };
    Ok((0..n).into_par_iter().with_min_len(256).map(one).collect())
}

/// The queries against all blocks, a few rows at a time.
fn by_rows(sorted: &Sorted, groups: &Groups, queries: &Queries, observer: &dyn Observer) -> Result<Vec<f64>, ClusterError> {
    let k = groups.count();
    let height = (TASK_SUMS / k).clamp(1, BLOCK);
    let tasks = queries.len().div_ceil(height);
    observer.start("silhouette", tasks);
    let values: Vec<Vec<f64>> = (0..tasks)
        .into_par_iter()
        .with_max_len(1)
        .map(|t| {
            if observer.cancelled() {
                return Vec::new();
            }
            let rows = t * height..queries.len().min((t + 1) * height);
            let mut sums = vec![0.0; rows.len() * k];
            for block in 0..sorted.blocks() {
                sorted.meet(queries, rows.clone(), block, &mut sums, None);
            }
            observer.advance(1);
            rows.zip(sums.chunks_exact(k)).map(|(q, sums)| value(sums.iter().copied(), groups, queries.group(q))).collect()
        })
        .collect();
    if observer.cancelled() {
        return Err(ClusterError::Cancelled);
    }
    observer.finish();
    Ok(values.concat())
}

#[cfg(test)]
mod tests;
