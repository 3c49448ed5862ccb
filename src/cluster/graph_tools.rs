//! What several graph methods need: graphs of one node set put together, connected components, degrees.

use super::{ClusterError, Graph, labels};

/// One graph of several on the same nodes, and how much it counts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct View<'a> {
    pub graph: &'a Graph,
    pub weight: f64,
}

impl<'a> View<'a> {
    /// A graph that counts once.
    pub fn new(graph: &'a Graph) -> Self {
        Self { graph, weight: 1.0 }
    }
}

/// The number of nodes of all views. Errors: no view, no nodes, views of different sizes, a weight that is not finite, more nodes than
/// u32 numbers.
pub fn check_views(views: &[View]) -> Result<usize, ClusterError> {
    let Some(first) = views.first() else { return Err(ClusterError::Data("there is no graph".into())) };
    let n = first.graph.n();
    if n == 0 {
        return Err(ClusterError::Data("the graph has no nodes".into()));
    }
    if n >= u32::MAX as usize {
        return Err(ClusterError::Data(format!("{n} nodes; expected fewer than {}", u32::MAX)));
    }
    for (v, view) in views.iter().enumerate() {
        if view.graph.n() != n {
            return Err(ClusterError::Data(format!(
                "graph {v} (from 0) has {} nodes and graph 0 has {n}; expected the same nodes in all",
                view.graph.n()
            )));
        }
        if !view.weight.is_finite() {
            return Err(ClusterError::Setting {
                what: "the weight of a graph",
                value: view.weight.to_string(),
                expected: "a finite number".into(),
            });
        }
    }
    Ok(n)
}

/// Errors when a weight is negative.
pub fn check_weights(graph: &Graph, method: &str) -> Result<(), ClusterError> {
    for i in 0..graph.n() {
        let (targets, weights) = graph.row(i);
        if let Some(at) = weights.iter().position(|w| *w < 0.0) {
            return Err(ClusterError::Data(format!(
                "the edge from node {i} to node {} has the weight {}; {method} needs weights from 0 on",
                targets[at], weights[at]
            )));
        }
    }
    Ok(())
}

/// One undirected graph: the weight of a–b is the sum over views of the view's weight times that of its edge a–b, or of a→b and b→a
/// where the view is directed. Errors: as [`check_views`], sums that are not finite. Cost: a sort of all edges.
pub fn combine(views: &[View]) -> Result<Graph, ClusterError> {
    let n = check_views(views)?;
    if let [View { graph, weight: 1.0 }] = views
        && !graph.directed()
    {
        return Ok((*graph).clone());
    }
    let mut edges = Vec::with_capacity(views.iter().map(|v| v.graph.entries()).sum());
    for view in views {
        for i in 0..n {
            let (targets, weights) = view.graph.row(i);
            for (&j, &w) in targets.iter().zip(weights) {
                if view.graph.directed() || i <= j as usize {
                    edges.push((i as u32, j, view.weight * w));
                }
            }
        }
    }
    let graph = Graph::new(n, &edges, false)?;
    if graph.weights().iter().any(|w| !w.is_finite()) {
        return Err(ClusterError::Numbers("sums of edge weights are beyond the range of numbers; scale the weights".into()));
    }
    Ok(graph)
}

/// (out, in): sums of the weights of the entries of each row and each column of the adjacency matrix; in an undirected graph both are
/// the degrees, where a loop counts `loops` times (2 in modularity, 0 in a Laplacian).
pub fn degrees(graph: &Graph, loops: f64) -> (Vec<f64>, Vec<f64>) {
    let (mut out, mut into) = (vec![0.0; graph.n()], vec![0.0; graph.n()]);
    for (i, out) in out.iter_mut().enumerate() {
        let (targets, weights) = graph.row(i);
        for (&j, &w) in targets.iter().zip(weights) {
            let w = if j as usize == i { loops * w } else { w };
            *out += w;
            into[j as usize] += w;
        }
    }
    (out, into)
}

/// Labels of the connected components, by first appearance; directions are ignored, and edges of weight 0 are none.
pub fn components(graph: &Graph) -> Vec<i32> {
    connected(graph.n(), |i| {
        let (targets, weights) = graph.row(i);
        targets.iter().zip(weights).filter(|(_, w)| **w != 0.0).map(|(&j, _)| j)
    })
}

/// Cuts clusters that are not connected (by edges of positive weight, directions ignored) into their connected parts. `labels` come out
/// canonical. Returns how many clusters there are more.
pub fn split_disconnected(graph: &Graph, labels: &mut [i32]) -> usize {
    let before = {
        labels::canonical(labels);
        labels::count(labels)
    };
    let parts = connected(graph.n(), |i| {
        let (targets, weights) = graph.row(i);
        let labels = &*labels;
        targets.iter().zip(weights).filter(move |(j, w)| **w > 0.0 && labels[**j as usize] == labels[i]).map(|(&j, _)| j)
    });
    labels.copy_from_slice(&parts);
    labels::count(labels) - before
}

/// Labels, by first appearance, of the components of the graph of `n` nodes with the given neighbours; an edge may be given from either end.
/// Cost: nearly linear (union by root, halving of paths).
pub fn connected<I: Iterator<Item = u32>>(n: usize, neighbours: impl Fn(usize) -> I) -> Vec<i32> {
    let mut parent: Vec<u32> = (0..n as u32).collect();
    fn root(parent: &mut [u32], mut i: u32) -> u32 {
        while parent[i as usize] != i {
            parent[i as usize] = parent[parent[i as usize] as usize];
            i = parent[i as usize];
        }
        i
    }
    for i in 0..n {
        for j in neighbours(i) {
            let (a, b) = (root(&mut parent, i as u32), root(&mut parent, j));
            parent[a.max(b) as usize] = a.min(b);
        }
    }
    let mut found: Vec<i32> = (0..n as u32).map(|i| root(&mut parent, i) as i32).collect();
    labels::canonical(&mut found);
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn components_ignore_direction_and_weight_zero() {
        let graph = Graph::new(6, &[(3, 1, 1.0), (1, 5, 2.0), (0, 2, 0.0), (4, 4, 1.0)], true).unwrap();
        assert_eq!(components(&graph), [0, 1, 2, 1, 3, 1]);
    }

    #[test]
    fn views_add_up() {
        let a = Graph::new(3, &[(0, 1, 1.0), (1, 0, 2.0), (2, 2, 4.0)], true).unwrap();
        let b = Graph::new(3, &[(1, 0, 10.0), (1, 2, 1.0)], false).unwrap();
        let sum = combine(&[View { graph: &a, weight: 0.5 }, View::new(&b)]).unwrap();
        assert_eq!(sum, Graph::new(3, &[(0, 1, 11.5), (1, 2, 1.0), (2, 2, 2.0)], false).unwrap());
        assert_eq!(degrees(&sum, 2.0).0, [11.5, 12.5, 5.0]);
        assert_eq!(degrees(&a, 1.0), (vec![1.0, 2.0, 4.0], vec![2.0, 1.0, 4.0]));
        let big = Graph::new(2, &[(0, 1, f64::MAX)], false).unwrap();
        assert!(matches!(combine(&[View::new(&big), View::new(&big)]), Err(ClusterError::Numbers(_))));
        assert!(matches!(combine(&[View::new(&a), View::new(&big)]), Err(ClusterError::Data(_))));
        assert!(matches!(combine(&[]), Err(ClusterError::Data(_))));
        assert!(combine(&[View { graph: &a, weight: f64::NAN }]).is_err());
    }

    #[test]
    fn disconnected_clusters_are_cut() {
        let path = Graph::new(5, &[(0, 1, 1.0), (1, 2, 1.0), (2, 3, 1.0), (3, 4, -1.0)], false).unwrap();
        let mut labels = vec![7, 3, 7, 7, 7];
        assert_eq!(split_disconnected(&path, &mut labels), 2);
        assert_eq!(labels, [0, 1, 2, 2, 3]);
        assert_eq!(split_disconnected(&path, &mut labels), 0);
    }
}
