//! Betweenness: how many shortest paths pass through a node.

use rand::seq::index;
use rayon::prelude::*;

use crate::cluster::{ClusterError, Graph};
use crate::run::observer::Observer;
use crate::run::seed::Streams;

/// Sources whose dependencies one task adds up, and tasks whose sums are held at a time.
const SOURCES: usize = 16;
const TASKS: usize = 64;
/// Counts of paths are scaled down by level before they overflow.
const MANY: f64 = 1e200;

/// Betweenness of all nodes.
#[derive(Debug, Clone, PartialEq)]
pub struct Betweenness {
    /// (n): the sum over ordered pairs (s, t) of other nodes of the share of shortest paths from s to t through here, over (n − 1)(n − 2).
    pub values: Vec<f64>,
    /// (n): standard errors where sources were sampled.
    pub se: Option<Vec<f64>>,
}

/// Betweenness without weights, along directed edges (both ways in an undirected graph), endpoints not counted.
///
/// With `pivots`, sources are a simple random sample of that many nodes (all when there are no more): values are unbiased, and standard
/// errors come from the spread over the sources. Cost: O(m) for every source; on all threads, sums in the order of the sources, so the
/// same bits at any number of threads. Errors: no pivots; stopped.
///
/// Source: Brandes 2001, Brandes & Pich 2007; changed: predecessors are found again by distance, and counts of paths are scaled by level, so
/// that no count overflows.
pub fn betweenness(
    graph: &Graph,
    pivots: Option<usize>,
    seed: u64,
    observer: &dyn Observer,
) -> Result<Betweenness, ClusterError> {
    let n = graph.n();
    if pivots == Some(0) {
        return Err(ClusterError::Setting { what: "the number of pivots", value: "0".into(), expected: "at least 1".into() });
    }
    let sampled = pivots.filter(|&m| m < n);
    let sources: Vec<usize> = match sampled {
        None => (0..n).collect(),
        Some(m) => {
            let mut chosen = index::sample(&mut Streams::new(seed).stream("betweenness pivots", 0), n, m).into_vec();
            chosen.sort_unstable();
            chosen
        }
    };
    let (mut sums, mut squares) = (vec![0.0; n], vec![0.0; n]);
    observer.start("betweenness", sources.len());
    for batch in sources.chunks(SOURCES * TASKS) {
        if observer.cancelled() {
            return Err(ClusterError::Cancelled);
        }
        let task = |sources: &[usize]| {
            let mut search = Search::new(n);
            let (mut sums, mut squares) = (vec![0.0; n], vec![0.0; n]);
            for &s in sources {
                search.from(graph, s);
                for &v in search.order.iter().filter(|&&v| v as usize != s) {
                    let d = search.dependency[v as usize];
                    sums[v as usize] += d;
                    squares[v as usize] += d * d;
                }
                search.clear();
            }
            observer.advance(sources.len());
            (sums, squares)
        };
        let parts: Vec<(Vec<f64>, Vec<f64>)> = batch.par_chunks(SOURCES).with_max_len(1).map(task).collect();
        for (more, more_squares) in parts {
            sums.iter_mut().zip(&more).for_each(|(s, m)| *s += m);
            squares.iter_mut().zip(&more_squares).for_each(|(s, m)| *s += m);
        }
    }
    observer.finish();
    let pairs = if n > 2 { (n - 1) as f64 * (n - 2) as f64 } else { 1.0 };
    let m = sources.len() as f64;
    let values = sums.iter().map(|s| s * (n as f64 / m) / pairs).collect();
    let se = sampled.map(|_| {
        let one = |(s, q): (&f64, &f64)| {
            let variance = if m > 1.0 { ((q - s * s / m) / (m - 1.0)).max(0.0) } else { s * s };
            n as f64 * ((1.0 - m / n as f64) * variance / m).sqrt() / pairs
        };
        sums.iter().zip(&squares).map(one).collect()
    });
    Ok(Betweenness { values, se })
}

/// A search from one source.
struct Search {
    /// Steps from the source.
    distance: Vec<u32>,
    /// Shortest paths from the source, in units of the node's level.
    paths: Vec<f64>,
    dependency: Vec<f64>,
    /// Nodes that were reached, by distance, and where each level starts.
    order: Vec<u32>,
    levels: Vec<usize>,
    /// By how much the counts of each level were divided, beyond the level before.
    scales: Vec<f64>,
}

impl Search {
    fn new(n: usize) -> Self {
        Self {
            distance: vec![u32::MAX; n],
            paths: vec![0.0; n],
            dependency: vec![0.0; n],
            order: Vec::new(),
            levels: Vec::new(),
            scales: Vec::new(),
        }
    }

    /// Dependencies of the source on every node that it reaches.
    fn from(&mut self, graph: &Graph, source: usize) {
        (self.distance[source], self.paths[source]) = (0, 1.0);
        self.order.push(source as u32);
        self.levels.push(0);
        self.scales.push(1.0);
        let mut start = 0;
        while start < self.order.len() {
            let end = self.order.len();
            let next = self.levels.len() as u32;
            for at in start..end {
                let v = self.order[at] as usize;
                for &w in graph.row(v).0 {
                    let w = w as usize;
                    if self.distance[w] == u32::MAX {
                        self.distance[w] = next;
                        self.order.push(w as u32);
                    }
                    if self.distance[w] == next {
                        self.paths[w] += self.paths[v];
                    }
                }
            }
            self.levels.push(end);
            let largest = self.order[end..].iter().fold(0.0f64, |m, &w| m.max(self.paths[w as usize]));
            let scale = if largest > MANY { largest } else { 1.0 };
            if scale > 1.0 {
                // Counts far below the largest keep a number that can be divided by.
                self.order[end..].iter().for_each(|&w| self.paths[w as usize] = (self.paths[w as usize] / scale).max(1e-300));
            }
            self.scales.push(scale);
            start = end;
        }
        // From the farthest nodes back: δ(v) = Σ over the next nodes w of paths(v) / paths(w) · (1 + δ(w)).
        for &v in self.order.iter().rev() {
            let v = v as usize;
            let next = self.distance[v] + 1;
            let scale = self.scales[next as usize];
            let mut sum = 0.0;
            for &w in graph.row(v).0.iter().filter(|&&w| self.distance[w as usize] == next) {
                sum += (1.0 + self.dependency[w as usize]) / (self.paths[w as usize] * scale);
            }
            self.dependency[v] = sum * self.paths[v];
        }
    }

    fn clear(&mut self) {
        for &v in &self.order {
            (self.distance[v as usize], self.paths[v as usize], self.dependency[v as usize]) = (u32::MAX, 0.0, 0.0);
        }
        self.order.clear();
        self.levels.clear();
        self.scales.clear();
    }
}
