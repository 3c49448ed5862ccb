//! Merges of neighbours in a graph only.
//!
//! A queue holds the edges between clusters by height; the lowest is merged, and the union takes over the edges of both.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use super::{Linkage, matrix, ward};
use crate::cluster::dendrogram::{Dendrogram, UnionFind};
use crate::cluster::kd_tree::{KdTree, squared_distance, unpack};
use crate::cluster::{ClusterError, Graph, Points};
use crate::run::observer::Observer;

/// Components that are still connected with each other, pair by pair.
const MOST_COMPONENTS: usize = 1000;

/// Edges of a connected graph, each once, the lower row first, in order.
pub(super) struct Neighbours {
    edges: Vec<(u32, u32)>,
    pub components: usize,
    pub added: Vec<(u32, u32)>,
}

/// The edges of `graph`, and of each two components the edge of their nearest points.
pub(super) fn complete(points: Points, graph: &Graph) -> Result<Neighbours, ClusterError> {
    let (n, d) = (points.n(), points.d());
    if graph.n() != n {
        return Err(ClusterError::Data(format!("a graph of {} nodes for {n} points; expected a node for each point", graph.n())));
    }
    let mut sets = UnionFind::new(n);
    let mut edges = Vec::with_capacity(graph.entries());
    for a in 0..n as u32 {
        for &b in graph.row(a as usize).0.iter().filter(|&&b| b != a) {
            edges.push((a.min(b), a.max(b)));
            sets.join(a, b);
        }
    }
    // Components by their first row.
    let mut parts: Vec<Vec<u32>> = Vec::new();
    let mut part_of = BTreeMap::new();
    for row in 0..n as u32 {
        let part = *part_of.entry(sets.find(row)).or_insert_with(|| {
            parts.push(Vec::new());
            parts.len() - 1
        });
        parts[part].push(row);
    }
    let components = parts.len();
    if components > MOST_COMPONENTS {
        return Err(ClusterError::Data(format!(
            "the graph has {components} components; expected one, or up to {MOST_COMPONENTS} to be joined at their nearest points: \
             give each point more neighbours"
        )));
    }
    let mut added = Vec::new();
    if components > 1 {
        let values: Vec<Vec<f64>> =
            parts.iter().map(|rows| rows.iter().flat_map(|&r| points.row(r as usize)).copied().collect()).collect();
        for (earlier, (part, rows)) in values.iter().zip(&parts).enumerate() {
            let index = KdTree::new(Points::new(part, rows.len(), d)?)?;
            for later in earlier + 1..components {
                let mut best = (f64::INFINITY, 0, 0);
                index.nearest_of(&values[later], 1, |i, found| {
                    let (squared, row) = unpack(found[0]);
                    if squared < best.0 {
                        best = (squared, rows[row as usize], parts[later][i]);
                    }
                });
                added.push((best.1.min(best.2), best.1.max(best.2)));
            }
        }
    }
    edges.extend(&added);
    edges.sort_unstable();
    edges.dedup();
    Ok(Neighbours { edges, components, added })
}

/// An edge in the queue: height (its bits, which are in the order of heights from 0 on), the higher cluster, the lower one.
type Queued = Reverse<(u64, u32, u32)>;

fn queued(height: f64, a: u32, b: u32) -> Queued {
    // A negative zero would come last.
    Reverse(((height + 0.0).to_bits(), a.max(b), a.min(b)))
}

/// The dendrogram of `linkage` along the edges.
pub(super) fn merges(
    points: Points,
    linkage: Linkage,
    neighbours: Neighbours,
    observer: &dyn Observer,
) -> Result<Dendrogram, ClusterError> {
    let n = points.n();
    let most = 2 * n - 1;
    // Clusters 0..n are points, merge i makes cluster n + i; of each open one: its size, centroid (Ward's linkage only), neighbours.
    let mut size = vec![1.0; n];
    let mut centroids: Vec<Vec<f64>> =
        if linkage == Linkage::Ward { points.rows().map(<[f64]>::to_vec).collect() } else { Vec::new() };
    let mut edges: Vec<BTreeMap<u32, f64>> = vec![BTreeMap::new(); n];
    let mut queue: BinaryHeap<Queued> = BinaryHeap::with_capacity(neighbours.edges.len());
    for &(a, b) in &neighbours.edges {
        // Ward's heights stay squared until the end; those of two points are squared distances.
        let squared = squared_distance(points.row(a as usize), points.row(b as usize));
        let height = if linkage == Linkage::Ward { squared } else { squared.sqrt() };
        edges[a as usize].insert(b, height);
        edges[b as usize].insert(a, height);
        queue.push(queued(height, a, b));
    }
    let mut open = vec![true; most];
    let mut a_point: Vec<u32> = (0..n as u32).collect();
    let mut pairs = Vec::with_capacity(n - 1);
    observer.start("merges", n - 1);
    while pairs.len() + 1 < n {
        if observer.cancelled() {
            return Err(ClusterError::Cancelled);
        }
        let Some(Reverse((bits, a, b))) = queue.pop() else {
            return Err(ClusterError::Numbers("the graph fell apart while its clusters were merged".into()));
        };
        let (a, b) = (a as usize, b as usize);
        if !open[a] || !open[b] {
            continue;
        }
        let height = f64::from_bits(bits);
        pairs.push((a_point[b], a_point[a], if linkage == Linkage::Ward { height.sqrt() } else { height }));
        let new = (n + pairs.len() - 1) as u32;
        (open[a], open[b]) = (false, false);
        let (size_a, size_b) = (size[a], size[b]);
        size.push(size_a + size_b);
        a_point.push(a_point[b]);
        if linkage == Linkage::Ward {
            let centre = ward::union(&centroids[a], size_a, &centroids[b], size_b);
            (centroids[a], centroids[b]) = (Vec::new(), Vec::new());
            centroids.push(centre);
        }
        let (from_a, mut all) = (std::mem::take(&mut edges[a]), std::mem::take(&mut edges[b]));
        for (other, x) in from_a {
            all.entry(other)
                .and_modify(|y| {
                    *y = if linkage == Linkage::Ward { x } else { matrix::update(linkage, (x, size_a), (*y, size_b)) }
                })
                .or_insert(x);
        }
        all.remove(&(a as u32));
        all.remove(&(b as u32));
        for (&other, height) in &mut all {
            if linkage == Linkage::Ward {
                let i = other as usize;
                *height = ward::squared_height(&centroids[new as usize], size[new as usize], &centroids[i], size[i]);
            }
            let back = &mut edges[other as usize];
            back.remove(&(a as u32));
            back.remove(&(b as u32));
            back.insert(new, *height);
            queue.push(queued(*height, new, other));
        }
        edges.push(all);
        observer.advance(1);
    }
    observer.finish();
    Ok(Dendrogram::from_pairs(n, pairs))
}
