//! The condensed tree: single linkage in which only parts of at least `min_cluster_size` points are clusters, and smaller ones fall off.

use crate::cluster::dendrogram::Dendrogram;
use crate::cluster::spanning_tree::Edge;

/// A cluster of the condensed tree. Densities λ are inverse distances.
#[derive(Debug, Clone, PartialEq)]
pub struct Cluster {
    /// The cluster that it split off from; `None` for the root, which holds all points and is the first.
    pub parent: Option<u32>,
    /// The density at which it split off; 0 for the root.
    pub birth: f64,
    /// Points at its birth.
    pub size: usize,
    /// Σ over its points of (density at which the point leaves it - birth). Infinite where duplicates never leave.
    pub stability: f64,
}

/// Clusters, parents before children, and where each point falls off.
#[derive(Debug, Clone, PartialEq)]
pub struct CondensedTree {
    pub clusters: Vec<Cluster>,
    /// (n) the last cluster that holds the point.
    pub cluster_of: Vec<u32>,
    /// (n) the distance at which the point falls off it: 1/λ. 0 for duplicates that nothing parts, and for a point alone.
    pub distance_of: Vec<f64>,
}

/// The density of a distance; infinite at 0.
pub(super) fn density(distance: f64) -> f64 {
    1.0 / distance
}

impl CondensedTree {
    /// Condenses single linkage, whose merges are the edges. Those of equal distance and length are one merge: their cluster falls into
    /// all its parts at once.
    pub(super) fn new(dendrogram: &Dendrogram, edges: &[Edge], min_cluster_size: usize) -> Self {
        let (n, merges) = (dendrogram.n(), dendrogram.merges());
        let mut clusters = vec![Cluster { parent: None, birth: 0.0, size: n, stability: 0.0 }];
        let (mut cluster_of, mut distance_of) = (vec![0; n], vec![0.0; n]);
        let size = |part: u32| if (part as usize) < n { 1 } else { merges[part as usize - n].size as usize };
        let (mut open, mut parts, mut large) = (Vec::new(), Vec::new(), Vec::new());
        if n > 1 {
            open.push(((2 * n - 2) as u32, 0u32));
        }
        while let Some((top, cluster)) = open.pop() {
            let (height, length) = (edges[top as usize - n].distance, edges[top as usize - n].length);
            let lambda = density(height);
            let mut left = 0;
            parts.push(top);
            large.clear();
            while let Some(part) = parts.pop() {
                match (part as usize).checked_sub(n) {
                    Some(m) if edges[m].distance == height && edges[m].length == length => {
                        parts.extend([merges[m].left, merges[m].right]);
                    }
                    _ if size(part) >= min_cluster_size => large.push(part),
                    _ => {
                        left += size(part);
                        fall(n, dendrogram, part, |point| {
                            cluster_of[point] = cluster;
                            distance_of[point] = height;
                        });
                    }
                }
            }
            if let [part] = large[..] {
                open.push((part, cluster));
            } else {
                for &part in &large {
                    left += size(part);
                    open.push((part, clusters.len() as u32));
                    clusters.push(Cluster { parent: Some(cluster), birth: lambda, size: size(part), stability: 0.0 });
                }
            }
            if left > 0 {
                let cluster = &mut clusters[cluster as usize];
                cluster.stability += left as f64 * (lambda - cluster.birth);
            }
        }
        Self { clusters, cluster_of, distance_of }
    }

    /// The density at which point `i` falls off; 0 for a point alone.
    pub fn lambda_of(&self, i: usize) -> f64 {
        if self.cluster_of.len() == 1 { 0.0 } else { density(self.distance_of[i]) }
    }

    /// The children of each cluster, in increasing order.
    pub fn children(&self) -> Vec<Vec<u32>> {
        let mut children = vec![Vec::new(); self.clusters.len()];
        for (c, cluster) in self.clusters.iter().enumerate() {
            if let Some(parent) = cluster.parent {
                children[parent as usize].push(c as u32);
            }
        }
        children
    }
}

/// Gives `to` every point of a part.
fn fall(n: usize, dendrogram: &Dendrogram, part: u32, mut to: impl FnMut(usize)) {
    let mut stack = vec![part];
    while let Some(part) = stack.pop() {
        match (part as usize).checked_sub(n) {
            Some(merge) => stack.extend([dendrogram.merges()[merge].left, dendrogram.merges()[merge].right]),
            None => to(part as usize),
        }
    }
}
