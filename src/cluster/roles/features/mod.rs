//! What is measured at the nodes of a directed graph.

use std::sync::atomic::{AtomicU64, Ordering};

use rayon::prelude::*;

use super::betweenness::{Betweenness, betweenness};
use crate::cluster::{ClusterError, Graph};
use crate::run::observer::Observer;

/// What is measured and how.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct FeatureOptions {
    /// Sources that betweenness is estimated from; `None`, the default, takes all nodes and is exact.
    pub pivots: Option<usize>,
    /// Seed of the choice of pivots. Default 0.
    pub seed: u64,
    /// PageRank: chance to follow an edge, in [0, 1). Default 0.85.
    pub damping: f64,
    /// PageRank: stop when the ranks move by less than this in sum. Default 1e-12.
    pub tolerance: f64,
    /// PageRank: iterations at most. Default 1000.
    pub max_iterations: usize,
}

impl Default for FeatureOptions {
    fn default() -> Self {
        Self { pivots: None, seed: 0, damping: 0.85, tolerance: 1e-12, max_iterations: 1000 }
    }
}

/// The features of all nodes, (n) each.
#[derive(Debug, Clone, PartialEq)]
pub struct Features {
    /// Different nodes that point here, and that this one points to; a loop counts in both.
    pub in_degree: Vec<f64>,
    pub out_degree: Vec<f64>,
    /// Share of the shortest paths between other nodes that pass here.
    pub betweenness: Vec<f64>,
    /// Standard errors where betweenness is estimated.
    pub betweenness_se: Option<Vec<f64>>,
    /// Share of the pairs of neighbours that are neighbours, directions and loops ignored.
    pub clustering: Vec<f64>,
    /// Sums to 1.
    pub pagerank: Vec<f64>,
}

impl Features {
    /// Names of the columns of [`matrix`](Self::matrix).
    pub const NAMES: [&str; 5] = ["in_degree", "out_degree", "betweenness", "clustering", "pagerank"];

    /// (n, 5), row by row.
    pub fn matrix(&self) -> Vec<f64> {
        let columns = [&self.in_degree, &self.out_degree, &self.betweenness, &self.clustering, &self.pagerank];
        (0..self.in_degree.len()).flat_map(|i| columns.map(|c| c[i])).collect()
    }
}

/// Measures every node of a directed graph: degrees without weights, betweenness and clustering without weights, PageRank with weights.
///
/// Cost: O(n m) for betweenness (or pivots · m), O(m^1.5) for clustering; on all threads, same bits at any number of them.
/// Errors: an undirected graph, no nodes, a negative weight, a setting out of range, PageRank that does not settle; stopped.
pub fn features(graph: &Graph, options: &FeatureOptions, observer: &dyn Observer) -> Result<Features, ClusterError> {
    if !graph.directed() {
        return Err(ClusterError::Data("roles are read off directed edges (who answers whom); the graph has none".into()));
    }
    if graph.n() == 0 {
        return Err(ClusterError::Empty);
    }
    let back = reversed(graph);
    let pagerank = pagerank(graph, &back, options)?;
    let Betweenness { values, se } = betweenness(graph, options.pivots, options.seed, observer)?;
    let degree = |g: &Graph| (0..g.n()).map(|i| g.row(i).0.len() as f64).collect();
    Ok(Features {
        in_degree: degree(&back),
        out_degree: degree(graph),
        betweenness: values,
        betweenness_se: se,
        clustering: clustering(graph, &back),
        pagerank,
    })
}

/// All edges turned round.
pub fn reversed(graph: &Graph) -> Graph {
    let edges: Vec<(u32, u32, f64)> = (0..graph.n())
        .flat_map(|i| {
            let (to, weights) = graph.row(i);
            to.iter().zip(weights).map(move |(&j, &w)| (j, i as u32, w))
        })
        .collect();
    Graph::new(graph.n(), &edges, true).expect("the edges are those of a graph")
}

/// Edges over pairs, of a directed graph: m / (n (n − 1)), loops counted as edges. 0 for a single node.
pub fn density(graph: &Graph) -> f64 {
    let n = graph.n() as f64;
    if graph.n() > 1 { graph.entries() as f64 / (n * (n - 1.0)) } else { 0.0 }
}

/// Share of the edges between different nodes whose opposite is an edge too. 0 without edges.
pub fn reciprocity(graph: &Graph) -> f64 {
    let (mut edges, mut mutual) = (0u64, 0u64);
    for i in 0..graph.n() {
        for &j in graph.row(i).0.iter().filter(|&&j| j as usize != i) {
            edges += 1;
            mutual += u64::from(graph.row(j as usize).0.binary_search(&(i as u32)).is_ok());
        }
    }
    if edges > 0 { mutual as f64 / edges as f64 } else { 0.0 }
}

/// Clustering coefficients of the undirected graph without loops: 2 · triangles / (degree (degree − 1)), 0 below degree 2.
///
/// Every triangle is found once, from its node of least degree (Chiba & Nishizeki 1985): O(m^1.5).
pub fn clustering(graph: &Graph, back: &Graph) -> Vec<f64> {
    let n = graph.n();
    let neighbours: Vec<Vec<u32>> = (0..n)
        .into_par_iter()
        .map(|i| {
            let mut all: Vec<u32> = [graph.row(i).0, back.row(i).0].concat();
            all.retain(|&j| j as usize != i);
            all.sort_unstable();
            all.dedup();
            all
        })
        .collect();
    let rank = |i: u32| (neighbours[i as usize].len(), i);
    let upward: Vec<Vec<u32>> = (0..n as u32)
        .into_par_iter()
        .map(|i| neighbours[i as usize].iter().copied().filter(|&j| rank(j) > rank(i)).collect())
        .collect();
    let triangles: Vec<AtomicU64> = (0..n).map(|_| AtomicU64::new(0)).collect();
    // Counts are whole numbers, so the order in which threads add does not matter.
    let count = |i: u32| triangles[i as usize].fetch_add(1, Ordering::Relaxed);
    (0..n as u32).into_par_iter().for_each(|i| {
        let mine = &upward[i as usize];
        for &j in mine {
            let (mut a, mut b) = (mine.iter().peekable(), upward[j as usize].iter().peekable());
            while let (Some(&&x), Some(&&y)) = (a.peek(), b.peek()) {
                if x <= y {
                    a.next();
                }
                if y <= x {
                    b.next();
                }
                if x == y {
                    count(i);
                    count(j);
                    count(x);
                }
            }
        }
    });
    let one = |(t, neighbours): (&AtomicU64, &Vec<u32>)| {
        let d = neighbours.len() as f64;
        if d > 1.0 { 2.0 * t.load(Ordering::Relaxed) as f64 / (d * (d - 1.0)) } else { 0.0 }
    };
    triangles.iter().zip(&neighbours).map(one).collect()
}

/// PageRank by power iteration: with chance `damping` along an edge in proportion to its weight (from a node without any: to any node),
/// else to any node.
///
/// Errors: see [`features`]. Source: Page et al. 1999. networkx stops when ranks move by less than n · 1e-6 in sum; this goes on to
/// `tolerance`.
pub fn pagerank(graph: &Graph, back: &Graph, options: &FeatureOptions) -> Result<Vec<f64>, ClusterError> {
    let n = graph.n();
    if !(0.0..1.0).contains(&options.damping) {
        let value = options.damping.to_string();
        return Err(ClusterError::Setting { what: "the damping of PageRank", value, expected: "from 0 to below 1".into() });
    }
    let mut leaving = vec![0.0; n];
    for (i, sum) in leaving.iter_mut().enumerate() {
        let (to, weights) = graph.row(i);
        if let Some(at) = weights.iter().position(|w| *w < 0.0) {
            let edge = format!("the edge from node {i} to node {} has the weight {}", to[at], weights[at]);
            return Err(ClusterError::Data(format!("{edge}; PageRank needs weights of 0 or more")));
        }
        // Shares of the largest, so that sums do not overflow.
        *sum = weights.iter().sum();
        if !f64::is_finite(*sum) {
            return Err(ClusterError::Numbers(format!(
                "the weights of the edges of node {i} overflow; divide all weights by the largest"
            )));
        }
    }
    let mut rank = vec![1.0 / n as f64; n];
    for _ in 0..options.max_iterations {
        let stuck: f64 = (0..n).filter(|&i| leaving[i] == 0.0).map(|i| rank[i]).sum();
        let base = (1.0 - options.damping + options.damping * stuck) / n as f64;
        let share: Vec<f64> = rank.iter().zip(&leaving).map(|(r, l)| if *l > 0.0 { r / l } else { 0.0 }).collect();
        let one = |i: usize| {
            let (from, weights) = back.row(i);
            base + options.damping * from.iter().zip(weights).map(|(&j, w)| w * share[j as usize]).sum::<f64>()
        };
        let next: Vec<f64> = (0..n).into_par_iter().with_min_len(1024).map(one).collect();
        let total: f64 = next.iter().sum();
        let next: Vec<f64> = next.iter().map(|r| r / total).collect();
        let moved: f64 = next.iter().zip(&rank).map(|(a, b)| (a - b).abs()).sum();
        rank = next;
        if moved <= options.tolerance {
            return Ok(rank);
        }
    }
    Err(ClusterError::Setting {
        what: "the number of PageRank iterations",
        value: options.max_iterations.to_string(),
        expected: format!("more, or a damping below {}", options.damping),
    })
}

#[cfg(test)]
mod tests;
