//! How much of a clustering survives when the points are drawn again.

use rand::RngExt;

use super::score::contingency::{Contingency, Noise};
use super::score::{matching, pairs};
use super::{ClusterError, NOISE, Points};
use crate::run::observer::Observer;
use crate::run::seed::Streams;

/// How stability is measured.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct StabilityOptions {
    /// Times that the points are drawn again. Default 100.
    pub replicates: usize,
    /// Of the draws. Default 0.
    pub seed: u64,
}

impl Default for StabilityOptions {
    fn default() -> Self {
        Self { replicates: 100, seed: 0 }
    }
}

/// The middle and the spread of a score over the replicates.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Spread {
    pub mean: f64,
    /// 2.5 % and 97.5 % quantiles, interpolated linearly between the values in order.
    pub low: f64,
    pub high: f64,
}

impl Spread {
    /// `None` without values.
    pub fn of(values: &[f64]) -> Option<Self> {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let last = sorted.len().checked_sub(1)?;
        let at = |share: f64| {
            let place = share * last as f64;
            let below = place.floor() as usize;
            let above = (below + 1).min(last);
            sorted[below] + (place - below as f64) * (sorted[above] - sorted[below])
        };
        Some(Self { mean: values.iter().sum::<f64>() / values.len() as f64, low: at(0.025), high: at(0.975) })
    }
}

/// How stable one cluster is.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct ClusterStability {
    pub label: i32,
    pub size: usize,
    /// Mean over the replicates that have members of the cluster of the Jaccard index (both / either) of these members and its partner, 0
    /// without a partner. `None` when no replicate has members.
    pub jaccard: Option<f64>,
    /// Replicates that have members.
    pub replicates: usize,
}

/// How stable a clustering is.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Stability {
    /// Adjusted Rand index of the labels of a replicate and the reference labels of the same points.
    pub ari: Spread,
    /// In the order of the replicates.
    pub aris: Vec<f64>,
    /// By increasing label, noise left out.
    pub clusters: Vec<ClusterStability>,
    /// Replicates that could not be clustered since too few distinct points were drawn; they are in no mean.
    pub failed: usize,
}

/// Draws n of n things with replacement, clusters what was drawn, and compares with `labels` on the things that were drawn, each counted
/// once (its label is that of its first copy), `replicates` times.
///
/// `fit` gets the things drawn (indices, with repetitions, in the order drawn) and returns their labels. Clusters are compared by Jaccard
/// index under the one-to-one map with the greatest sum of them, so names of clusters do not matter; noise is a group in the ARI and no
/// cluster in the map.
///
/// Errors: no replicates; all replicates fail; what `fit` says, but for too few distinct points (`Clusters`, `Distinct`), which are counted.
/// Source: Hennig 2007 (per-cluster Jaccard); changed: matched one to one.
pub fn bootstrap(
    labels: &[i32],
    options: &StabilityOptions,
    mut fit: impl FnMut(&[usize]) -> Result<Vec<i32>, ClusterError>,
    observer: &dyn Observer,
) -> Result<Stability, ClusterError> {
    let n = labels.len();
    if n == 0 {
        return Err(ClusterError::Empty);
    }
    if options.replicates == 0 {
        return Err(ClusterError::Setting {
            what: "the number of bootstrap replicates",
            value: "0".into(),
            expected: "at least 1".into(),
        });
    }
    let whole = Contingency::new(labels, labels, Noise::LeaveOut);
    let clusters = whole.rows();
    let place = |label: i32| clusters.partition_point(|&l| l < label);
    let mut sums = vec![(0.0, 0usize); clusters.len()];
    let (mut aris, mut failed, mut first_failure) = (Vec::with_capacity(options.replicates), 0, None);
    observer.start("bootstrap", options.replicates);
    for replicate in 0..options.replicates {
        if observer.cancelled() {
            return Err(ClusterError::Cancelled);
        }
        let mut rng = Streams::new(options.seed).stream("bootstrap", replicate as u64);
        let drawn: Vec<usize> = (0..n).map(|_| rng.random_range(0..n)).collect();
        let found = match fit(&drawn) {
            Ok(found) => found,
            Err(why @ (ClusterError::Clusters { .. } | ClusterError::Distinct { .. })) => {
                failed += 1;
                first_failure.get_or_insert(why);
                observer.advance(1);
                continue;
            }
            Err(why) => return Err(why),
        };
        assert_eq!(found.len(), n, "a label for every thing drawn");
        let mut seen = vec![false; n];
        let (reference, again): (Vec<i32>, Vec<i32>) = drawn
            .iter()
            .zip(&found)
            .filter(|&(&i, _)| !std::mem::replace(&mut seen[i], true))
            .map(|(&i, &label)| (labels[i], label))
            .unzip();
        let table = Contingency::new(&reference, &again, Noise::Group);
        aris.push(pairs::adjusted_rand(&table));
        for (label, jaccard) in jaccards(&table) {
            let sum = &mut sums[place(label)];
            *sum = (sum.0 + jaccard, sum.1 + 1);
        }
        observer.advance(1);
    }
    observer.finish();
    let Some(ari) = Spread::of(&aris) else { return Err(first_failure.unwrap_or(ClusterError::Empty)) };
    let clusters = clusters.iter().zip(whole.row_sums()).zip(&sums).map(|((&label, &size), &(sum, replicates))| {
        ClusterStability { label, size: size as usize, jaccard: (replicates > 0).then(|| sum / replicates as f64), replicates }
    });
    Ok(Stability { ari, aris, clusters: clusters.collect(), failed })
}

/// For every row of the table that is a cluster, its label and the Jaccard index with its partner.
fn jaccards(table: &Contingency) -> Vec<(i32, f64)> {
    let jaccard =
        |row: usize, column: usize, both: u64| both as f64 / (table.row_sums()[row] + table.column_sums()[column] - both) as f64;
    let cells: Vec<(usize, usize, f64)> = table
        .cells()
        .iter()
        .filter(|c| table.rows()[c.row] != NOISE && table.columns()[c.column] != NOISE)
        .map(|c| (c.row, c.column, jaccard(c.row, c.column, c.count)))
        .collect();
    let partner = matching::heaviest(table.rows().len(), table.columns().len(), &cells);
    let of_row = |row: usize| cells.iter().find(|c| c.0 == row && partner[row] == Some(c.1)).map_or(0.0, |c| c.2);
    (0..table.rows().len()).filter(|&r| table.rows()[r] != NOISE).map(|r| (table.rows()[r], of_row(r))).collect()
}

/// The rows of `points` at `indices`, one after the other: what `fit` of [`bootstrap`] clusters.
pub fn gather(points: Points, indices: &[usize]) -> Vec<f64> {
    indices.iter().flat_map(|&i| points.row(i)).copied().collect()
}

#[cfg(test)]
mod tests;
