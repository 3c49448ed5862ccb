//! Label propagation.

use rand::seq::SliceRandom;

use crate::cluster::graph_tools::{View, combine, split_disconnected};
use crate::cluster::{ClusterError, labels};
use crate::run::observer::Observer;
use crate::run::seed::Streams;

/// Settings of [`label_propagation`].
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct LabelPropOptions {
    /// Sweeps over all nodes at most.
    pub max_iterations: usize,
    pub seed: u64,
}

impl Default for LabelPropOptions {
    fn default() -> Self {
        Self { max_iterations: 100, seed: 0 }
    }
}

/// What label propagation found.
#[derive(Debug, Clone, PartialEq)]
pub struct LabelProp {
    /// (n), canonical; every cluster is connected, a node without edges is one by itself.
    pub labels: Vec<i32>,
    /// Sweeps, the last one without a change when `converged`.
    pub iterations: usize,
    /// Whether every node has a label that no other label outweighs among its neighbours.
    pub converged: bool,
    /// Clusters that more were made of because they had come apart.
    pub split: usize,
}

/// Label propagation: every node starts with a label of its own and takes, node by node in an order drawn anew for each sweep, the label
/// with the largest weight among its neighbours, until none changes. At last, clusters that are not connected are cut into their parts, as
/// the paper does.
///
/// What we changed: ties. A node whose label is among the largest keeps it; else the label first in an order of the labels that is drawn
/// once takes it (the paper draws each time). So a node changes only to a label that weighs more, the weight of the edges within
/// clusters grows with each change, and there can be no cycle. (A lead of less than 1e-12 of a node's weight is a tie: rounding.)
///
/// Several views: their weights are added ([`combine`]). Directed edges count in both directions. Loops say nothing. Negative weights
/// vote against a label. Errors: as [`combine`], no sweeps. Cost: the number of edges for each sweep; usually fewer than ten.
/// Source: Raghavan, Albert, Kumara 2007, section III.
pub fn label_propagation(views: &[View], options: &LabelPropOptions, observer: &dyn Observer) -> Result<LabelProp, ClusterError> {
    if options.max_iterations == 0 {
        return Err(ClusterError::Setting { what: "the most iterations", value: "0".into(), expected: "at least 1".into() });
    }
    let graph = combine(views)?;
    let n = graph.n();
    let streams = Streams::new(options.seed);
    let mut ranks: Vec<u32> = (0..n as u32).collect();
    ranks.shuffle(&mut streams.stream("label propagation ranks", 0));
    // Labels are the ranks themselves, so the smaller label wins a tie.
    let mut label = ranks;
    let mut order: Vec<u32> = (0..n as u32).collect();
    let (mut votes, mut marked) = (vec![0.0; n], vec![false; n]);
    let mut seen: Vec<u32> = Vec::new();
    let (mut iterations, mut converged) = (0, false);
    observer.start("sweeps", options.max_iterations);
    while iterations < options.max_iterations && !converged {
        if observer.cancelled() {
            return Err(ClusterError::Cancelled);
        }
        order.shuffle(&mut streams.stream("label propagation order", iterations as u64));
        converged = true;
        for &i in &order {
            let (targets, weights) = graph.row(i as usize);
            let mut total = 0.0;
            for (&j, &w) in targets.iter().zip(weights).filter(|(j, w)| **j != i && **w != 0.0) {
                let l = label[j as usize];
                if !marked[l as usize] {
                    marked[l as usize] = true;
                    seen.push(l);
                }
                votes[l as usize] += w;
                total += w.abs();
            }
            let own = label[i as usize];
            let (mut best, mut most) = (own, votes[own as usize] + 1e-12 * total);
            for &l in &seen {
                let vote = votes[l as usize];
                if vote > most || (vote == most && best != own && l < best) {
                    (best, most) = (l, vote);
                }
            }
            if best != own {
                label[i as usize] = best;
                converged = false;
            }
            for l in seen.drain(..) {
                (votes[l as usize], marked[l as usize]) = (0.0, false);
            }
        }
        iterations += 1;
        observer.advance(1);
    }
    observer.finish();
    let mut labels: Vec<i32> = label.into_iter().map(|l| l as i32).collect();
    labels::canonical(&mut labels);
    let split = split_disconnected(&graph, &mut labels);
    Ok(LabelProp { labels, iterations, converged, split })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::{Graph, fixtures, graph_tools};
    use crate::run::observer::Silent;

    fn run(graph: &Graph, seed: u64) -> LabelProp {
        label_propagation(&[View::new(graph)], &LabelPropOptions { seed, ..LabelPropOptions::default() }, &Silent).unwrap()
    }

    /// Cliques of `size` in a ring, one edge of half the weight between neighbours: no label is ever worth crossing for.
    fn ring(cliques: u32, size: u32) -> Graph {
        let mut edges = Vec::new();
        for c in 0..cliques {
            let at = c * size;
            (0..size).for_each(|i| (0..i).for_each(|j| edges.push((at + i, at + j, 1.0))));
            edges.push((at, (at + size + 1) % (cliques * size), 0.5));
        }
        Graph::new((cliques * size) as usize, &edges, false).unwrap()
    }

    #[test]
    fn cliques_of_a_ring_are_found() {
        let graph = ring(20, 6);
        for seed in 0..5 {
            let found = run(&graph, seed);
            let want: Vec<i32> = (0..120).map(|i| i / 6).collect();
            assert_eq!((found.labels, found.converged, found.split), (want, true, 0));
        }
    }

    #[test]
    fn the_end_is_an_end() {
        let Some((graph, _)) = fixtures::graph("football") else { return };
        for seed in 0..10 {
            let found = run(&graph, seed);
            assert!(found.converged && found.iterations < 50);
            if found.split > 0 {
                continue;
            }
            for i in 0..graph.n() {
                let mut votes = vec![0.0; graph.n()];
                graph.row(i).0.iter().for_each(|&j| votes[found.labels[j as usize] as usize] += 1.0);
                let most = votes.iter().copied().fold(0.0, f64::max);
                assert_eq!(votes[found.labels[i] as usize], most, "node {i}");
            }
            assert_eq!(run(&graph, seed), found);
        }
    }

    #[test]
    fn weights_decide_and_directions_add_up() {
        // A path 0 - 1 - 2 - 3: heavy ends, light middle; the same as a directed graph, and as two views.
        let path = Graph::new(4, &[(0, 1, 5.0), (1, 2, 1.0), (2, 3, 5.0)], false).unwrap();
        let directed = Graph::new(4, &[(0, 1, 3.0), (1, 0, 2.0), (2, 1, 1.0), (2, 3, 5.0)], true).unwrap();
        let (a, b) = (Graph::new(4, &[(0, 1, 1.0)], false).unwrap(), Graph::new(4, &[(1, 2, 0.2), (2, 3, 1.0)], false).unwrap());
        for seed in 0..8 {
            let options = LabelPropOptions { seed, ..LabelPropOptions::default() };
            assert_eq!(run(&path, seed).labels, [0, 0, 1, 1]);
            assert_eq!(run(&directed, seed), run(&path, seed));
            let views = [View { graph: &a, weight: 5.0 }, View { graph: &b, weight: 5.0 }];
            assert_eq!(label_propagation(&views, &options, &Silent).unwrap(), run(&path, seed));
        }
    }

    #[test]
    fn odd_graphs() {
        let none = Graph::new(3, &[(1, 1, 4.0)], false).unwrap();
        assert_eq!(run(&none, 0).labels, [0, 1, 2]);
        // Negative edges keep apart.
        let against = Graph::new(3, &[(0, 1, 1.0), (1, 2, -1.0)], false).unwrap();
        assert_eq!(run(&against, 0).labels, [0, 0, 1]);
        let empty = Graph::new(0, &[], false).unwrap();
        assert!(label_propagation(&[View::new(&empty)], &LabelPropOptions::default(), &Silent).is_err());
        let zero = LabelPropOptions { max_iterations: 0, seed: 0 };
        assert!(label_propagation(&[View::new(&none)], &zero, &Silent).is_err());
        // A star ends with one label or, after one sweep, says that it has not.
        let star = Graph::new(50, &(1..50).map(|i| (0, i, 1.0)).collect::<Vec<_>>(), false).unwrap();
        assert_eq!(graph_tools::components(&star), run(&star, 3).labels);
    }
}
