//! Weighted graphs in compressed rows.

use super::ClusterError;

/// A graph of `n` nodes: the neighbours of node `i` are `targets[offsets[i]..offsets[i + 1]]`, in increasing order, each once, with the
/// `weights` at the same places. In an undirected graph every edge is there from both ends, a loop once.
#[derive(Debug, Clone, PartialEq)]
pub struct Graph {
    directed: bool,
    offsets: Vec<usize>,
    targets: Vec<u32>,
    weights: Vec<f64>,
}

impl Graph {
    /// From edges `(source, target, weight)`. Weights of repeated edges are added (in an undirected graph a-b and b-a are the same edge).
    /// Errors: a node that is not below `n`, a weight that is not finite.
    pub fn new(n: usize, edges: &[(u32, u32, f64)], directed: bool) -> Result<Self, ClusterError> {
        let mut all: Vec<(u32, u32, f64)> = Vec::with_capacity(edges.len() * if directed { 1 } else { 2 });
        for &(a, b, weight) in edges {
            if a as usize >= n || b as usize >= n {
                return Err(ClusterError::Data(format!("an edge from node {a} to node {b} of {n} nodes (from 0)")));
            }
            if !weight.is_finite() {
                return Err(ClusterError::Data(format!(
                    "the edge from node {a} to node {b} has the weight {weight}; expected a finite number"
                )));
            }
            all.push((a, b, weight));
            if !directed && a != b {
                all.push((b, a, weight));
            }
        }
        // A stable sort: weights of repeated edges are added in the order in which they were given.
        all.sort_by_key(|&(a, b, _)| (a, b));
        let (mut offsets, mut targets, mut weights) = (vec![0; n + 1], Vec::new(), Vec::<f64>::new());
        let mut last = None;
        for (a, b, weight) in all {
            if last == Some((a, b)) {
                if let Some(sum) = weights.last_mut() {
                    *sum += weight;
                }
                continue;
            }
            last = Some((a, b));
            targets.push(b);
            weights.push(weight);
            offsets[a as usize + 1] += 1;
        }
        for i in 0..n {
            offsets[i + 1] += offsets[i];
        }
        Ok(Self { directed, offsets, targets, weights })
    }

    pub fn n(&self) -> usize {
        self.offsets.len() - 1
    }

    pub fn directed(&self) -> bool {
        self.directed
    }

    /// Entries of the adjacency matrix.
    pub fn entries(&self) -> usize {
        self.targets.len()
    }

    /// Neighbours of node `i` and the weights of the edges to them.
    pub fn row(&self, i: usize) -> (&[u32], &[f64]) {
        let range = self.offsets[i]..self.offsets[i + 1];
        (&self.targets[range.clone()], &self.weights[range])
    }

    pub fn offsets(&self) -> &[usize] {
        &self.offsets
    }

    pub fn targets(&self) -> &[u32] {
        &self.targets
    }

    pub fn weights(&self) -> &[f64] {
        &self.weights
    }
}
