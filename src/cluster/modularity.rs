//! How well a partition fits a graph: modularity, and the constant Potts model.

use super::graph_tools::{check_weights, degrees};
use super::{ClusterError, Graph, labels};

/// Modularity of a partition: Q = Σ_c [ w_c / M − γ o_c t_c / M² ].
///
/// w_c is the sum of the adjacency entries inside of cluster c, M that of all, o_c and t_c are the sums of the rows and columns of its
/// nodes, γ the `resolution` (1 is the usual one; more means smaller clusters). In an undirected graph an edge is two entries, a loop of
/// weight w counts 2w, and o = t are the degrees (Newman & Girvan 2004; Reichardt & Bornholdt 2006 for γ); in a directed one
/// o and t are the out- and in-degrees (Leicht & Newman 2008). A graph without edges has Q = 0.
///
/// `labels` (n): any numbers; each node of [`NOISE`](super::NOISE) is a cluster by itself. Errors: another number of labels, a negative
/// weight, a resolution that is negative or not finite. Cost: the number of edges.
pub fn modularity(graph: &Graph, labels: &[i32], resolution: f64) -> Result<f64, ClusterError> {
    check_weights(graph, "modularity")?;
    let found = clusters(graph, labels, resolution)?;
    let k = labels::count(&found);
    let (out, into) = degrees(graph, loops(graph));
    let (mut inside, mut rows, mut columns, mut total) = (0.0, vec![0.0; k], vec![0.0; k], 0.0);
    for i in 0..graph.n() {
        let c = found[i] as usize;
        rows[c] += out[i];
        columns[c] += into[i];
        total += out[i];
        inside += inside_of(graph, &found, i);
    }
    if total <= 0.0 {
        return Ok(0.0);
    }
    let expected: f64 = rows.iter().zip(&columns).map(|(o, t)| (o / total) * (t / total)).sum();
    let q = inside / total - resolution * expected;
    if q.is_finite() {
        Ok(q)
    } else {
        Err(ClusterError::Numbers("sums of edge weights are beyond the range of numbers; scale the weights".into()))
    }
}

/// The constant Potts model: H = Σ_c [ e_c − γ n_c (n_c − 1) / 2 ] of an undirected graph, e_c being the weight of the edges inside of
/// cluster c and n_c its nodes; Σ_c [ e_c − γ n_c (n_c − 1) ] of a directed one. Weights may be negative. Labels, errors (but for the
/// weights) and cost as [`modularity`]. Source: Traag, Van Dooren, Nesterov 2011. (The program leidenalg prints 2H of an undirected graph.)
pub fn constant_potts(graph: &Graph, labels: &[i32], resolution: f64) -> Result<f64, ClusterError> {
    let found = clusters(graph, labels, resolution)?;
    let mut sizes = vec![0.0; labels::count(&found)];
    found.iter().for_each(|&c| sizes[c as usize] += 1.0);
    let inside: f64 = (0..graph.n()).map(|i| inside_of(graph, &found, i)).sum();
    let pairs: f64 = sizes.iter().map(|n| n * (n - 1.0)).sum();
    let h = inside - resolution * pairs;
    let h = if graph.directed() { h } else { h / 2.0 };
    if h.is_finite() {
        Ok(h)
    } else {
        Err(ClusterError::Numbers("sums of edge weights are beyond the range of numbers; scale the weights".into()))
    }
}

/// How often the loop of a node counts in its row of the adjacency matrix.
fn loops(graph: &Graph) -> f64 {
    if graph.directed() { 1.0 } else { 2.0 }
}

/// Sum of the entries of row `i` that stay in its cluster.
fn inside_of(graph: &Graph, found: &[i32], i: usize) -> f64 {
    let (targets, weights) = graph.row(i);
    let entries = targets.iter().zip(weights).filter(|(j, _)| found[**j as usize] == found[i]);
    entries.map(|(&j, &w)| if j as usize == i { loops(graph) * w } else { w }).sum()
}

/// Canonical labels without noise.
fn clusters(graph: &Graph, labels: &[i32], resolution: f64) -> Result<Vec<i32>, ClusterError> {
    if labels.len() != graph.n() {
        return Err(ClusterError::Data(format!("{} labels for the {} nodes of the graph", labels.len(), graph.n())));
    }
    check_resolution(resolution)?;
    let mut found = labels.to_vec();
    labels::canonical(&mut found);
    let next = labels::count(&found) as i32;
    found.iter_mut().filter(|l| **l < 0).zip(next..).for_each(|(label, new)| *label = new);
    Ok(found)
}

/// Errors when a resolution is negative or not finite.
pub fn check_resolution(resolution: f64) -> Result<(), ClusterError> {
    if resolution.is_finite() && resolution >= 0.0 {
        return Ok(());
    }
    Err(ClusterError::Setting { what: "the resolution", value: resolution.to_string(), expected: "a number from 0 on".into() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::fixtures;

    #[test]
    fn karate_has_the_number_of_its_clubs() {
        let Some((graph, clubs)) = fixtures::graph("karate") else { return };
        // networkx 3.6.1: modularity of the two clubs, resolution 1 and 0.5.
        let q = modularity(&graph, &clubs, 1.0).unwrap();
        assert!((q - 0.3582347140039448).abs() < 1e-15, "{q}");
        let q = modularity(&graph, &clubs, 0.5).unwrap();
        assert!((q - 0.6086045364891519).abs() < 1e-15, "{q}");
    }

    #[test]
    fn two_triangles_by_hand() {
        // Two triangles and a bridge: M = 14, each side has 6 entries inside and degree 7.
        let edges: Vec<(u32, u32, f64)> =
            [(0, 1), (1, 2), (0, 2), (3, 4), (4, 5), (3, 5), (2, 3)].map(|(a, b)| (a, b, 1.0)).to_vec();
        let graph = Graph::new(6, &edges, false).unwrap();
        let labels = [0, 0, 0, 1, 1, 1];
        assert!((modularity(&graph, &labels, 1.0).unwrap() - (12.0 / 14.0 - 0.5)).abs() < 1e-15);
        assert_eq!(constant_potts(&graph, &labels, 0.5).unwrap(), 6.0 - 0.5 * 6.0);
        // A loop of weight 2 on node 0: M = 18, degrees 11 and 7, inside 16.
        let mut looped = edges.clone();
        looped.push((0, 0, 2.0));
        let graph = Graph::new(6, &looped, false).unwrap();
        let want = 16.0 / 18.0 - (121.0 + 49.0) / 324.0;
        assert!((modularity(&graph, &labels, 1.0).unwrap() - want).abs() < 1e-15);
        assert_eq!(constant_potts(&graph, &labels, 0.5).unwrap(), 8.0 - 3.0);
        // Directed: M = 7, out 4 and 3, in 3 and 4, inside 6.
        let directed = Graph::new(6, &edges, true).unwrap();
        let want = 6.0 / 7.0 - (4.0 * 3.0 + 3.0 * 4.0) / 49.0;
        assert!((modularity(&directed, &labels, 1.0).unwrap() - want).abs() < 1e-15);
        assert_eq!(constant_potts(&directed, &labels, 0.5).unwrap(), 6.0 - 0.5 * 12.0);
        // Noise is as good as a label of its own.
        assert_eq!(modularity(&directed, &[0, 0, -1, 1, -1, 1], 1.0), modularity(&directed, &[9, 9, 5, 1, 3, 1], 1.0));
    }

    #[test]
    fn odd_graphs_are_answered_or_refused() {
        let none = Graph::new(3, &[], false).unwrap();
        assert_eq!(modularity(&none, &[0, 0, 1], 1.0), Ok(0.0));
        assert!(matches!(modularity(&none, &[0], 1.0), Err(ClusterError::Data(_))));
        assert!(matches!(modularity(&none, &[0, 0, 0], -1.0), Err(ClusterError::Setting { .. })));
        let negative = Graph::new(2, &[(0, 1, -1.0)], false).unwrap();
        assert!(matches!(modularity(&negative, &[0, 0], 1.0), Err(ClusterError::Data(_))));
        assert_eq!(constant_potts(&negative, &[0, 0], 1.0), Ok(-2.0));
        let big = Graph::new(3, &[(0, 1, f64::MAX), (1, 2, f64::MAX)], false).unwrap();
        assert!(matches!(modularity(&big, &[0, 0, 1], 1.0), Err(ClusterError::Numbers(_))));
    }
}
