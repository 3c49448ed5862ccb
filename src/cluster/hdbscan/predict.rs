//! Labels of points that were not there, and models as they are kept.

use rayon::prelude::*;

use super::condense::density;
use super::{Hdbscan, HdbscanOptions};
use crate::cluster::dendrogram::UnionFind;
use crate::cluster::kd_tree::{BLOCK, KdTree, PIECE, squared, unpack};
use crate::cluster::saved::{Array, Numbers, Saved};
use crate::cluster::spanning_tree::{Edge, node_minima};
use crate::cluster::{ClusterError, Points};
use crate::kernels::simd::{Kernel, Lanes, dispatch};

const METHOD: &str = "hdbscan";

/// What the model says about points.
#[derive(Debug, Clone, PartialEq)]
pub struct Prediction {
    pub labels: Vec<i32>,
    /// Membership strengths, 0 to 1; 0 for noise.
    pub probabilities: Vec<f64>,
    /// GLOSH, 0 to 1.
    pub outlier_scores: Vec<f64>,
}

impl Hdbscan {
    /// Labels, strengths and outlier scores of other points (m, d).
    ///
    /// The core distance of a point is the one to its `min_samples`-th training row (for a training row that counts itself, as in the
    /// fit). The point is attached to the training row of the lowest mutual reachability, of equal ones the nearest, then the first; it
    /// joins that row's cluster at the density of this edge and falls off with the row at the latest. It has the cluster's label when
    /// that density reaches the birth of the cluster, else the label of what is around the cluster, mostly noise. Training rows get
    /// exactly the results of the fit: nothing is nearer to a row, at its own core distance, than itself or its duplicates, which have
    /// the same results.
    ///
    /// Errors: another number of columns; distances that overflow. Cost: two searches a point; O(n d) a point from 16 coordinates on.
    pub fn predict(&self, points: Points) -> Result<Prediction, ClusterError> {
        let index = &self.index;
        index.check(points)?;
        let k = self.options.neighbour(index.n());
        let mut core: Vec<f64> = index.rows().iter().map(|&row| self.core_distances[row as usize]).collect();
        core.resize(index.n().div_ceil(BLOCK) * BLOCK, 0.0);
        let least_core = node_minima(index, &core);
        let pieces: Vec<Vec<(i32, f64, f64)>> = points
            .values()
            .par_chunks(PIECE * index.d())
            .map(|queries| {
                let mut own = Vec::with_capacity(queries.len() / index.d());
                index.nearest_of(queries, k, |_, found| own.push(unpack(found[k - 1]).0.sqrt()));
                let attached = dispatch(Attach { index, core: &core, least_core: &least_core, queries, own: &own });
                attached.into_iter().map(|(reach, row)| self.fall_with(row as usize, density(reach))).collect()
            })
            .collect();
        let mut found = Prediction { labels: Vec::new(), probabilities: Vec::new(), outlier_scores: Vec::new() };
        for (label, probability, score) in pieces.into_iter().flatten() {
            found.labels.push(label);
            found.probabilities.push(probability);
            found.outlier_scores.push(score);
        }
        Ok(found)
    }

    /// Label, strength and score of a point that is attached to a row at a density.
    fn fall_with(&self, row: usize, reach: f64) -> (i32, f64, f64) {
        let mut cluster = self.tree.cluster_of[row];
        let lambda = reach.min(self.tree.lambda_of(row));
        while let Some(parent) = self.tree.clusters[cluster as usize].parent {
            if lambda >= self.tree.clusters[cluster as usize].birth {
                break;
            }
            cluster = parent;
        }
        let (label, probability) = self.chosen.label(cluster, lambda);
        (label, probability, self.chosen.outlier_score(cluster, lambda))
    }

    /// Points, core distances and spanning tree: with them nothing has to be fitted again.
    pub fn to_saved(&self) -> Saved {
        let (n, d) = (self.index.n(), self.index.d());
        let array = |name: &str, shape: Vec<usize>, values| Array { name: name.into(), shape, values };
        let ends = self.edges.iter().flat_map(|e| [e.a as i32, e.b as i32]).collect();
        let distances = self.edges.iter().map(|e| e.distance).collect();
        let lengths = self.edges.iter().map(|e| e.length).collect();
        Saved {
            method: METHOD.into(),
            header: serde_json::json!({ "options": self.options }),
            arrays: vec![
                array("points", vec![n, d], Numbers::F64(self.index.points())),
                array("core_distances", vec![n], Numbers::F64(self.core_distances.clone())),
                array("edges", vec![n - 1, 2], Numbers::I32(ends)),
                array("edge_distances", vec![n - 1], Numbers::F64(distances)),
                array("edge_lengths", vec![n - 1], Numbers::F64(lengths)),
            ],
        }
    }

    /// The model as it was, results included. Errors: arrays that are missing or do not belong together.
    pub fn from_saved(saved: &Saved) -> Result<Self, ClusterError> {
        let bad = |why: String| ClusterError::Model { method: METHOD, why };
        if saved.method != METHOD {
            return Err(bad(format!("it is one of {:?}", saved.method)));
        }
        let options: HdbscanOptions =
            serde_json::from_value(saved.header["options"].clone()).map_err(|e| bad(format!("its options: {e}")))?;
        options.check()?;
        let (shape, points) = saved.f64(METHOD, "points")?;
        let &[n, d] = shape else { return Err(bad(format!("its points have the shape {shape:?}; expected rows and columns"))) };
        let (_, cores) = saved.f64(METHOD, "core_distances")?;
        let (_, ends) = saved.i32(METHOD, "edges")?;
        let (_, distances) = saved.f64(METHOD, "edge_distances")?;
        let (_, lengths) = saved.f64(METHOD, "edge_lengths")?;
        if n == 0
            || points.len() != n * d
            || cores.len() != n
            || ends.len() != 2 * (n - 1)
            || distances.len() != n - 1
            || lengths.len() != n - 1
        {
            return Err(bad(format!("its arrays do not belong to {n} points of {d} columns")));
        }
        let good = |x: &f64| x.is_finite() && *x >= 0.0;
        if !cores.iter().all(good) || !distances.iter().chain(lengths).all(good) || !distances.is_sorted() {
            return Err(bad("its distances are not finite, or not in order".into()));
        }
        let mut sets = UnionFind::new(n);
        let mut edges = Vec::with_capacity(n - 1);
        for (ends, (&distance, &length)) in ends.chunks_exact(2).zip(distances.iter().zip(lengths)) {
            let &[a, b] = ends else { continue };
            let inside = |i: i32| usize::try_from(i).is_ok_and(|i| i < n);
            if !inside(a) || !inside(b) || !sets.join(a as u32, b as u32) {
                return Err(bad(format!("its edges are no tree of {n} points")));
            }
            edges.push(Edge { a: a as u32, b: b as u32, distance, length });
        }
        let index = KdTree::new(Points::new(points, n, d)?)?;
        Ok(Self::from_tree(index, cores.to_vec(), edges, options))
    }
}

/// Finds for each query the row of the lowest mutual reachability; distances are not squared here, so that they compare as those of the
/// fit.
struct Attach<'a> {
    index: &'a KdTree,
    /// Core distances of places, padded.
    core: &'a [f64],
    least_core: &'a [f64],
    queries: &'a [f64],
    /// Core distances of the queries.
    own: &'a [f64],
}

impl Attach<'_> {
    /// A node with bounds of the reachability and the distance of its points.
    #[inline(always)]
    fn bounds(&self, node: u32, query: &[f64], own: f64) -> (u32, f64, f64) {
        let distance = self.index.nearest_corner(node as usize, query).sqrt();
        (node, distance.max(self.least_core[node as usize]).max(own), distance)
    }
}

impl Kernel<f64> for Attach<'_> {
    /// Mutual reachability and row.
    type Output = Vec<(f64, u32)>;
    #[inline(always)]
    fn run<V: Lanes<f64>>(self) -> Vec<(f64, u32)> {
        let Self { index, core, queries, own, .. } = self;
        let mut stack: Vec<(u32, f64, f64)> = Vec::with_capacity(64);
        let mut distances = [0.0; BLOCK];
        let mut attached = Vec::with_capacity(own.len());
        for (query, &own) in queries.chunks_exact(index.d()).zip(own) {
            let mut best = (f64::INFINITY, f64::INFINITY, u32::MAX);
            stack.clear();
            stack.push((0, 0.0, 0.0));
            while let Some((at, reach, distance)) = stack.pop() {
                if reach > best.0 || (reach == best.0 && distance > best.1) {
                    continue;
                }
                let node = index.nodes()[at as usize];
                if node.right != 0 {
                    let children = [self.bounds(at + 1, query, own), self.bounds(node.right, query, own)];
                    let left_first = (children[0].1, children[0].2) <= (children[1].1, children[1].2);
                    stack.push(children[usize::from(left_first)]);
                    stack.push(children[usize::from(!left_first)]);
                    continue;
                }
                for b in node.begin as usize / BLOCK..(node.end as usize).div_ceil(BLOCK) {
                    squared::<V>(index.block(b), query).sqrt().store(&mut distances);
                    for (place, &distance) in (b * BLOCK..).zip(&distances) {
                        let reach = distance.max(core[place]).max(own);
                        // Padding is infinitely far away.
                        if reach < f64::INFINITY && reach <= best.0 {
                            let found = (reach, distance, index.rows()[place]);
                            if found < best {
                                best = found;
                            }
                        }
                    }
                }
            }
            attached.push((best.0, best.2));
        }
        attached
    }
}
