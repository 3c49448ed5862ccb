//! HDBSCAN: clusters of varying density, with noise.
//!
//! | file | what |
//! |---|---|
//! | `mod.rs` | settings, results, the method |
//! | `condense.rs` | the tree of clusters of at least a minimum size |
//! | `select.rs` | which clusters of the tree are taken; labels and strengths |
//! | `predict.rs` | labels of other points; kept models |
//!
//! Sources: Campello, Moulavi & Sander 2013 (method, excess of mass), Campello, Moulavi, Zimek & Sander 2015 (GLOSH), McInnes & Healy
//! 2017 (spanning trees by bounds), Malzer & Baum 2020 (epsilon). Names and conventions are scikit-learn's.
//!
//! What we do otherwise: many mutual reachabilities are equal (that of a point with all its neighbours is its core distance), and the
//! known programs order equal ones by chance. Here the shorter edge comes first, and splits that are equal in that too are one split
//! into all parts. So results do not depend on the order of the rows, and points between two clusters go to the nearer one.

mod condense;
mod predict;
mod select;
#[cfg(test)]
mod tests;

pub use condense::{Cluster, CondensedTree};
pub use predict::Prediction;

use rayon::prelude::*;

use super::dendrogram::Dendrogram;
use super::kd_tree::{KdTree, PIECE, unpack};
use super::spanning_tree::{Cores, Edge, spanning_tree};
use super::{ClusterError, Points, labels};
use crate::run::observer::Observer;
use select::Chosen;

/// Neighbours kept of each point as candidates for its first edge.
const NEAR: usize = 16;

/// Whether `min_samples` counts the point itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Convention {
    /// It does, as in scikit-learn.
    #[default]
    Sklearn,
    /// It does not, as in the hdbscan package: `min_samples` m there is m + 1 in scikit-learn.
    Hdbscan,
}

impl Convention {
    pub const ALL: &[Self] = &[Self::Sklearn, Self::Hdbscan];

    pub fn name(self) -> &'static str {
        match self {
            Self::Sklearn => "sklearn",
            Self::Hdbscan => "hdbscan",
        }
    }
}

/// How clusters are taken from the condensed tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Selection {
    /// The clusters, none within another, whose stabilities have the largest sum (excess of mass).
    #[default]
    Eom,
    /// The clusters that split no further: many, small and homogeneous.
    Leaf,
}

impl Selection {
    pub const ALL: &[Self] = &[Self::Eom, Self::Leaf];

    pub fn name(self) -> &'static str {
        match self {
            Self::Eom => "eom",
            Self::Leaf => "leaf",
        }
    }
}

/// Settings of [`hdbscan`].
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct HdbscanOptions {
    /// Points of a cluster at least; from 2.
    pub min_cluster_size: usize,
    /// The neighbour whose distance is the core distance of a point; from 1, at most the number of points is used. `None`: as
    /// `min_cluster_size`.
    pub min_samples: Option<usize>,
    /// Whether `min_samples` counts the point itself.
    pub convention: Convention,
    pub selection: Selection,
    /// Clusters that are born below this distance are not taken but merged up to it (in units of the points); 0: off.
    pub epsilon: f64,
    /// Whether all points may be one cluster. Then the points are in it that reach the distance `epsilon` or, with 0, the split of the
    /// root.
    pub allow_single_cluster: bool,
    /// Clusters above this size are not taken (excess of mass only); `None`: no limit. Merging up to `epsilon` may exceed it.
    pub max_cluster_size: Option<usize>,
}

impl Default for HdbscanOptions {
    /// As scikit-learn.
    fn default() -> Self {
        Self {
            min_cluster_size: 5,
            min_samples: None,
            convention: Convention::Sklearn,
            selection: Selection::Eom,
            epsilon: 0.0,
            allow_single_cluster: false,
            max_cluster_size: None,
        }
    }
}

impl HdbscanOptions {
    /// The neighbour that decides the core distance, the point itself being the first; at most `n`.
    fn neighbour(&self, n: usize) -> usize {
        let asked = self.min_samples.unwrap_or(self.min_cluster_size);
        match self.convention {
            Convention::Sklearn => asked.min(n),
            Convention::Hdbscan => asked.saturating_add(1).min(n),
        }
    }

    fn check(&self) -> Result<(), ClusterError> {
        let bad = |what, value: String, expected: &str| Err(ClusterError::Setting { what, value, expected: expected.into() });
        if self.min_cluster_size < 2 {
            return bad("min_cluster_size", self.min_cluster_size.to_string(), "at least 2");
        }
        if self.min_samples == Some(0) {
            return bad("min_samples", "0".into(), "at least 1");
        }
        if !(self.epsilon >= 0.0 && self.epsilon.is_finite()) {
            return bad("epsilon", self.epsilon.to_string(), "a distance, at least 0");
        }
        match self.max_cluster_size {
            Some(size) if size < self.min_cluster_size => bad("max_cluster_size", size.to_string(), "at least min_cluster_size"),
            Some(size) if self.selection == Selection::Leaf => {
                bad("max_cluster_size", size.to_string(), "none with leaf selection: it limits excess of mass")
            }
            _ => Ok(()),
        }
    }
}

/// A clustering by HDBSCAN, which can tell the cluster of other points too.
#[derive(Debug, Clone, PartialEq)]
pub struct Hdbscan {
    /// (n), canonical; noise is -1.
    pub labels: Vec<i32>,
    /// (n) how strongly a point belongs to its cluster, 0 to 1; 0 for noise.
    pub probabilities: Vec<f64>,
    /// (n) GLOSH: how far a point is from the densest part of what it belongs to, 0 (not at all) to 1.
    pub outlier_scores: Vec<f64>,
    /// (k) how persistent each cluster is, 0 to 1: its stability by size and the largest density; 1 where duplicates make densities
    /// infinite.
    pub persistences: Vec<f64>,
    /// (n) distance to the neighbour that decides.
    pub core_distances: Vec<f64>,
    /// (n - 1) edges of a minimum spanning tree of mutual reachabilities, by distance.
    pub edges: Vec<Edge>,
    pub tree: CondensedTree,
    /// (k) the cluster of the tree behind each label.
    pub clusters: Vec<u32>,
    pub options: HdbscanOptions,
    chosen: Chosen,
    index: KdTree,
}

/// Clusters `points` (n, d) by HDBSCAN.
///
/// The number of clusters comes from the points; with fewer points than `min_cluster_size` all are noise. Duplicates are fine: a group
/// of at least `min_cluster_size` equal points has infinite density and is always a cluster of its own, as in the known programs.
/// Errors: settings out of range, distances that overflow, cancelled.
/// Cost: up to 15 coordinates about n log n searches in a kd-tree; with more n² d · 1.5 operations; O(n (d + min_samples)) memory.
pub fn hdbscan(points: Points, options: &HdbscanOptions, observer: &dyn Observer) -> Result<Hdbscan, ClusterError> {
    options.check()?;
    let index = KdTree::new(points)?;
    let n = index.n();
    let k = options.neighbour(n);
    let width = if index.is_flat() { 0 } else { k.min(NEAR) };
    observer.start("core distances", n);
    let pieces: Vec<Option<(Vec<f64>, Vec<u32>)>> = (0..n.div_ceil(PIECE))
        .into_par_iter()
        .map(|piece| {
            if observer.cancelled() {
                return None;
            }
            let places = piece * PIECE..n.min((piece + 1) * PIECE);
            let (mut cores, mut near) = (Vec::with_capacity(places.len()), Vec::with_capacity(places.len() * width));
            let count = places.len();
            index.nearest_of(&index.gather(places), k, |_, found| {
                cores.push(unpack(found[k - 1]).0);
                if width > 0 {
                    found.select_nth_unstable(width - 1);
                    found[..width].sort_unstable();
                    near.extend(found[..width].iter().map(|&f| index.places()[unpack(f).1 as usize]));
                }
            });
            observer.advance(count);
            Some((cores, near))
        })
        .collect();
    observer.finish();
    let pieces: Option<Vec<_>> = pieces.into_iter().collect();
    let (cores, near): (Vec<_>, Vec<_>) = pieces.ok_or(ClusterError::Cancelled)?.into_iter().unzip();
    let (squared, near) = (cores.concat(), near.concat());
    let edges = spanning_tree(&index, Cores { squared: &squared, near: &near, width }, observer)?;
    let mut core_distances = vec![0.0; n];
    for (&row, squared) in index.rows().iter().zip(&squared) {
        core_distances[row as usize] = squared.sqrt();
    }
    Ok(Hdbscan::from_tree(index, core_distances, edges, options.clone()))
}

impl Hdbscan {
    /// What follows from the spanning tree.
    fn from_tree(index: KdTree, core_distances: Vec<f64>, edges: Vec<Edge>, options: HdbscanOptions) -> Self {
        let n = index.n();
        let tree = CondensedTree::new(&Dendrogram::from_edges(n, &edges), &edges, options.min_cluster_size);
        let mut chosen = Chosen::new(&tree, &options);
        let found: Vec<(i32, f64)> = (0..n).map(|i| chosen.label(tree.cluster_of[i], tree.lambda_of(i))).collect();
        let (mut labels, probabilities): (Vec<i32>, Vec<f64>) = found.into_iter().unzip();
        let order = labels::canonical(&mut labels);
        let clusters = chosen.renumber(&order);
        let outlier_scores = (0..n).map(|i| chosen.outlier_score(tree.cluster_of[i], tree.lambda_of(i))).collect();
        let mut sizes = vec![0usize; clusters.len()];
        labels.iter().filter(|l| **l >= 0).for_each(|&l| sizes[l as usize] += 1);
        let largest = (0..n).map(|i| tree.lambda_of(i)).fold(0.0, f64::max);
        let persistence = |(&cluster, &size): (&u32, &usize)| {
            if largest == 0.0 || largest.is_infinite() {
                return 1.0;
            }
            (tree.clusters[cluster as usize].stability / (size as f64 * largest)).min(1.0)
        };
        let persistences = clusters.iter().zip(&sizes).map(persistence).collect();
        Self {
            labels,
            probabilities,
            outlier_scores,
            persistences,
            core_distances,
            edges,
            tree,
            clusters,
            options,
            chosen,
            index,
        }
    }

    /// Single linkage of the mutual reachabilities.
    pub fn dendrogram(&self) -> Dendrogram {
        Dendrogram::from_edges(self.index.n(), &self.edges)
    }
}
