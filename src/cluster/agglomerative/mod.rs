//! Agglomerative clustering: from single points up, the two nearest clusters are merged until one is left.
//!
//! | file | what |
//! |---|---|
//! | `mod.rs` | settings, results, the method |
//! | `matrix.rs` | complete, average and weighted linkage: nearest-neighbour chain on the matrix of distances |
//! | `ward.rs` | Ward's linkage: nearest-neighbour chain on centroids, without a matrix |
//! | `connected.rs` | merges of neighbours in a graph only |
//!
//! Single linkage is the minimum spanning tree of [`spanning_tree`](super::spanning_tree).
//!
//! Sources: Lance & Williams 1967 (updates), Benzécri 1982 and Juan 1982 (nearest-neighbour chain), Müllner 2011 (which algorithm for
//! which linkage), Ward 1963. Heights and layout are those of `scipy.cluster.hierarchy`.

mod connected;
mod matrix;
#[cfg(test)]
mod tests;
mod ward;

use super::dendrogram::Dendrogram;
use super::kd_tree::KdTree;
use super::spanning_tree::{Cores, spanning_tree};
use super::{ClusterError, Graph, Points};
use crate::run::observer::Observer;

/// The distance of two clusters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Linkage {
    /// √(2 a b / (a + b)) · distance of the centroids of clusters of a and b points: what the merge adds to the sum of squares,
    /// doubled, and its root.
    #[default]
    Ward,
    /// The largest distance of a point of one and a point of the other.
    Complete,
    /// The mean of these distances (UPGMA).
    Average,
    /// The mean of the distances of the two parts of which a cluster was made (WPGMA).
    Weighted,
    /// The smallest distance of a point of one and a point of the other.
    Single,
}

impl Linkage {
    pub const ALL: &[Self] = &[Self::Ward, Self::Complete, Self::Average, Self::Weighted, Self::Single];

    pub fn name(self) -> &'static str {
        match self {
            Self::Ward => "ward",
            Self::Complete => "complete",
            Self::Average => "average",
            Self::Weighted => "weighted",
            Self::Single => "single",
        }
    }
}

/// Where the tree is cut into clusters.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cut {
    /// Into so many: the last merges are not made.
    Clusters(usize),
    /// Merges at this height or above are not made, as in scikit-learn. (Where heights are not monotone, as a graph may make them, one
    /// cluster more than there are such merges.)
    Distance(f64),
}

/// Settings of [`agglomerative`].
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct AgglomerativeOptions {
    pub linkage: Linkage,
    pub cut: Cut,
    /// The matrix of complete, average and weighted linkage takes 4 n² bytes; above this many the method refuses.
    pub memory_bytes: u64,
}

impl Default for AgglomerativeOptions {
    /// Ward's linkage and 2 clusters, as scikit-learn; 4 GiB (32 768 points).
    fn default() -> Self {
        Self { linkage: Linkage::Ward, cut: Cut::Clusters(2), memory_bytes: 4 << 30 }
    }
}

/// A tree of clusters and its cut. It labels the points that it was made of and no others: which cluster a new point would have been
/// merged into depends on all merges, and the nearest centroid is another answer even for the points of the fit.
#[derive(Debug, Clone, PartialEq)]
pub struct Agglomerative {
    /// (n), canonical.
    pub labels: Vec<i32>,
    pub k: usize,
    pub dendrogram: Dendrogram,
    /// Connected components of the graph; 1 without one.
    pub components: usize,
    /// Edges added to connect them: between each two components their nearest points.
    pub added: Vec<(u32, u32)>,
}

/// Clusters `points` (n, d) bottom-up. With a graph over the points (weights are not used, a loop and an edge in one direction are
/// fine) only clusters that an edge joins are merged.
///
/// Merges are in the order of their heights, equal ones in the order in which the chain found them, children before parents. With a
/// graph they are in the order in which they were made (equal heights: by the numbers of the clusters); heights of a later merge can
/// then be lower than those of earlier ones, and complete, average and weighted linkage know only the distances of points that the
/// graph joins, all as in scikit-learn. A graph in several components is completed, as there, by the edge of the two nearest points of
/// each two components; see [`Agglomerative::added`].
///
/// Errors: k of 0 or above n, a threshold that is negative or not a number, a graph of other size or more than 1000 components, a
/// matrix above `memory_bytes`, distances that overflow, cancelled.
/// Cost: ward O(n² d) time and O(n d) memory; complete, average, weighted O(n²) time after O(n² d), 4 n² bytes; single as the spanning
/// tree; with a graph of m edges about O(m log m · d) for graphs of low degree.
pub fn agglomerative(
    points: Points,
    options: &AgglomerativeOptions,
    connectivity: Option<&Graph>,
    observer: &dyn Observer,
) -> Result<Agglomerative, ClusterError> {
    let n = points.n();
    match options.cut {
        Cut::Clusters(k) if k == 0 || k > n => return Err(ClusterError::Clusters { k, n, things: "points" }),
        Cut::Distance(height) if height.is_nan() || height < 0.0 => {
            let expected = "a distance, at least 0".to_string();
            return Err(ClusterError::Setting { what: "the distance threshold", value: height.to_string(), expected });
        }
        _ => {}
    }
    if options.linkage == Linkage::Ward {
        // Centroids are means of up to n points, heights up to √(2 n) distances.
        let extreme = points.values().iter().fold(0.0f64, |m, x| m.max(x.abs()));
        if extreme * extreme * 8.0 * points.d() as f64 * n as f64 >= f64::MAX {
            return Err(ClusterError::Data(format!(
                "coordinates reach {extreme:e}: sums of {n} squares overflow: scale the columns"
            )));
        }
    }
    let (mut components, mut added) = (1, Vec::new());
    let dendrogram = if let Some(graph) = connectivity {
        // Building it checks the spread of the points.
        let index = KdTree::new(points)?;
        drop(index);
        let neighbours = connected::complete(points, graph)?;
        (components, added) = (neighbours.components, neighbours.added.clone());
        connected::merges(points, options.linkage, neighbours, observer)?
    } else {
        match options.linkage {
            Linkage::Ward => ward::merges(points, observer)?,
            Linkage::Single => Dendrogram::from_edges(n, &spanning_tree(&KdTree::new(points)?, Cores::default(), observer)?),
            linkage => matrix::merges(points, linkage, options.memory_bytes, observer)?,
        }
    };
    let k = match options.cut {
        Cut::Clusters(k) => k,
        Cut::Distance(height) => dendrogram.clusters_below(height),
    };
    Ok(Agglomerative { labels: dendrogram.cut(k), k, dendrogram, components, added })
}

/// Merges in the order of the chain put into the order of their heights; equal ones stay.
fn sorted(n: usize, mut pairs: Vec<(u32, u32, f64)>) -> Dendrogram {
    pairs.sort_by(|a, b| a.2.total_cmp(&b.2));
    Dendrogram::from_pairs(n, pairs)
}
