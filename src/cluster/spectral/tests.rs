use rand::RngExt;

use super::eigen::{Spectrum, adjacency, smallest};
use super::*;
use crate::cluster::fixtures::{self, on_threads, table};
use crate::cluster::graph_tools::View;
use crate::cluster::modularity::modularity;
use crate::cluster::score::adjusted_rand;
use crate::cluster::{ClusterError, Graph, Points};
use crate::run::observer::Silent;
use crate::run::seed::Streams;

fn fixed(k: usize) -> SpectralOptions {
    SpectralOptions { clusters: Clusters::Fixed(k), kmeans_restarts: 50, ..SpectralOptions::default() }
}

fn spectrum(graph: &Graph, count: usize, solver: Solver) -> Spectrum {
    smallest(&adjacency(graph), count, &SpectralOptions { solver, ..SpectralOptions::default() }, &Silent).unwrap()
}

fn cycle(n: u32) -> Graph {
    Graph::new(n as usize, &(0..n).map(|i| (i, (i + 1) % n, 2.0)).collect::<Vec<_>>(), false).unwrap()
}

#[test]
fn iris_has_the_sizes_of_scikit_learn() {
    let Some((x, truth, d)) = table("uci-small/iris.csv") else { return };
    let found = spectral(Points::new(&x, truth.len(), d).unwrap(), &fixed(3), &Silent).unwrap();
    let mut sizes: Vec<usize> = (0..3).map(|c| found.labels.iter().filter(|l| **l == c).count()).collect();
    sizes.sort_unstable();
    assert_eq!(sizes, [36, 50, 64]);
    assert!((adjusted_rand(&truth, &found.labels) - 0.7591987).abs() < 5e-8);
}

#[test]
fn karate_has_the_numbers_of_the_specification() {
    let Some((graph, clubs)) = fixtures::graph("karate") else { return };
    for embedding in Embedding::ALL {
        for solver in [Solver::Dense, Solver::Lanczos] {
            let options = SpectralOptions { embedding: *embedding, solver, ..fixed(2) };
            let found = spectral_graph(&[View::new(&graph)], &options, &Silent).unwrap();
            assert_eq!(found.eigenvalues[0], 0.0);
            assert!((found.eigenvalues[1] - 0.13227233).abs() < 5e-9, "{}", found.eigenvalues[1]);
            assert!((adjusted_rand(&clubs, &found.labels) - 0.7717250).abs() < 5e-8);
            assert!((modularity(&graph, &found.labels, 1.0).unwrap() - 0.3599606).abs() < 5e-8);
            assert!(found.warnings.is_empty() && found.converged && found.components == 1);
        }
    }
}

#[test]
fn football_has_the_numbers_of_the_specification() {
    let Some((graph, conferences)) = fixtures::graph("football") else { return };
    let options = SpectralOptions { embedding: Embedding::Njw, kmeans_restarts: 200, ..fixed(12) };
    let found = spectral_graph(&[View::new(&graph)], &options, &Silent).unwrap();
    assert!((found.eigenvalues[1] - 0.13680425).abs() < 5e-9, "{}", found.eigenvalues[1]);
    assert!((found.inertia - 8.69401947).abs() < 5e-9, "{}", found.inertia);
    assert!((adjusted_rand(&conferences, &found.labels) - 0.8966500).abs() < 5e-8);
    assert!((modularity(&graph, &found.labels, 1.0).unwrap() - 0.6005165).abs() < 5e-8);
}

/// The spectra agree, and so do the spaces below the last gap.
fn check_equal(a: &Spectrum, b: &Spectrum, n: usize) {
    assert!(a.converged && b.converged);
    assert_eq!((a.values.len(), a.components), (b.values.len(), b.components));
    for (x, y) in a.values.iter().zip(&b.values) {
        // A residual of 1e-10 bounds the error of a value; n roundings in the dense solver.
        assert!((x - y).abs() < 1e-10 + n as f64 * f64::EPSILON * 10.0, "{x} {y}");
    }
    for s in [a, b] {
        for (i, v) in s.vectors.chunks_exact(n).enumerate() {
            for (j, w) in s.vectors.chunks_exact(n).enumerate() {
                let dot: f64 = v.iter().zip(w).map(|(x, y)| x * y).sum();
                // Orthonormal to rounding within a component.
                assert!((dot - if i == j { 1.0 } else { 0.0 }).abs() < 1e-12 * n as f64, "{i} {j} {dot}");
            }
        }
    }
    // The largest k with a gap behind it: vectors below are determined as a space, with an error of residual / gap.
    let last = (1..a.values.len()).rev().find(|&k| a.values[k] - a.values[k - 1] > 1e-3);
    let Some(k) = last else { return };
    for v in a.vectors.chunks_exact(n).take(k) {
        let inside: f64 =
            b.vectors.chunks_exact(n).take(k).map(|w| v.iter().zip(w).map(|(x, y)| x * y).sum::<f64>().powi(2)).sum();
        assert!((inside - 1.0).abs() < 1e-6, "{inside}");
    }
}

#[test]
fn lanczos_equals_dense() {
    let Some((football, _)) = fixtures::graph("football") else { return };
    check_equal(&spectrum(&football, 13, Solver::Lanczos), &spectrum(&football, 13, Solver::Dense), 115);
    let Some((x, truth, d)) = table("uci-small/iris.csv") else { return };
    let iris = affinity::neighbour_graph(Points::new(&x, truth.len(), d).unwrap(), 10).unwrap();
    check_equal(&spectrum(&iris, 9, Solver::Lanczos), &spectrum(&iris, 9, Solver::Dense), 150);
    // As many as there are.
    let small = cycle(9);
    check_equal(&spectrum(&small, 9, Solver::Lanczos), &spectrum(&small, 9, Solver::Dense), 9);
}

#[test]
fn multiple_eigenvalues_come_as_often_as_they_are() {
    // A cycle: 1 − cos(2πj/n), each twice. A Krylov space alone would hold each once.
    let n = 64;
    let found = spectrum(&cycle(n), 7, Solver::Lanczos);
    for (i, value) in found.values.iter().enumerate() {
        let want = 1.0 - (2.0 * std::f64::consts::PI * i.div_ceil(2) as f64 / n as f64).cos();
        assert!((value - want).abs() < 1e-10, "{i}: {value} {want}");
    }
    // A complete graph: n / (n − 1), n − 1 times.
    let edges: Vec<(u32, u32, f64)> = (0..30).flat_map(|i| (0..i).map(move |j| (i, j, 1.0))).collect();
    let complete = Graph::new(30, &edges, false).unwrap();
    for solver in [Solver::Lanczos, Solver::Dense] {
        let found = spectrum(&complete, 6, solver);
        assert!(found.values[1..].iter().all(|v| (v - 30.0 / 29.0).abs() < 1e-10), "{:?}", found.values);
    }
    // A hypercube of 2^8 nodes: 2j / 8, choose(8, j) times.
    let edges: Vec<(u32, u32, f64)> = (0..256u32).flat_map(|i| (0..8).map(move |b| (i, i ^ (1 << b), 0.5))).collect();
    let cube = Graph::new(256, &edges, false).unwrap();
    let found = spectrum(&cube, 12, Solver::Lanczos);
    for (i, value) in found.values.iter().enumerate() {
        let want = [0.0, 0.25, 0.5][(i > 0) as usize + (i > 8) as usize];
        assert!((value - want).abs() < 1e-10, "{i}: {value}");
    }
}

#[test]
fn components_have_zeros_of_their_own() {
    // Three cycles of 40, 20 and 20 nodes, mixed, and two nodes without edges (one with a loop).
    let mut edges = Vec::new();
    let mut offset = 0;
    for size in [20u32, 40, 20] {
        edges.extend((0..size).map(|i| (offset + i, offset + (i + 1) % size, 1.0)));
        offset += size;
    }
    edges.push((80, 80, 3.0));
    let place: Vec<u32> = (0..82).map(|i| i * 31 % 82).collect();
    edges.iter_mut().for_each(|e| (e.0, e.1) = (place[e.0 as usize], place[e.1 as usize]));
    let graph = Graph::new(82, &edges, false).unwrap();
    for count in [2, 5, 9, 82] {
        check_equal(&spectrum(&graph, count, Solver::Lanczos), &spectrum(&graph, count, Solver::Dense), 82);
        let found = spectrum(&graph, count, Solver::Auto);
        assert_eq!((found.values.iter().filter(|v| **v == 0.0).count(), found.components), (count.min(5), 5));
    }
    // Five clusters are the components.
    let found = spectral_graph(&[View::new(&graph)], &fixed(5), &Silent).unwrap();
    assert_eq!(found.labels, crate::cluster::graph_tools::components(&graph));
    assert!(found.warnings.is_empty());
    // Two: the largest against the rest or the like, and a warning.
    let found = spectral_graph(&[View::new(&graph)], &fixed(2), &Silent).unwrap();
    assert_eq!((found.warnings.len(), found.components), (1, 5));
}

#[test]
fn the_largest_gap_tells_k() {
    // Four cliques in a chain.
    let mut edges = Vec::new();
    for c in 0..4u32 {
        (0..8).for_each(|i| (0..i).for_each(|j| edges.push((8 * c + i, 8 * c + j, 1.0))));
        if c > 0 {
            edges.push((8 * c - 1, 8 * c, 0.5));
        }
    }
    let graph = Graph::new(32, &edges, false).unwrap();
    let auto = |from, to| SpectralOptions { clusters: Clusters::Auto { from, to }, ..SpectralOptions::default() };
    let found = spectral_graph(&[View::new(&graph)], &auto(2, 10), &Silent).unwrap();
    assert_eq!((found.k, found.eigenvalues.len()), (4, 11));
    assert_eq!(found.labels, (0..32).map(|i| i / 8).collect::<Vec<i32>>());
    for (from, to) in [(0, 3), (3, 2), (2, 32)] {
        assert!(matches!(spectral_graph(&[View::new(&graph)], &auto(from, to), &Silent), Err(ClusterError::Setting { .. })));
    }
}

#[test]
fn neighbours_are_those_of_plain_loops() {
    let (n, d, count) = (300, 3, 7);
    let mut rng = Streams::new(1).stream("points", 0);
    // Coarse coordinates: many ties, many equal points.
    let x: Vec<f64> = (0..n * d).map(|_| rng.random_range(0..4) as f64).collect();
    let got = affinity::nearest(Points::new(&x, n, d).unwrap(), count).unwrap();
    for i in 0..n {
        let far = |j: usize| (0..d).map(|c| (x[i * d + c] - x[j * d + c]).powi(2)).sum::<f64>();
        let mut all: Vec<usize> = (0..n).filter(|&j| j != i).collect();
        all.sort_by(|&a, &b| far(a).total_cmp(&far(b)));
        all.insert(0, i);
        let want: Vec<u32> = all[..count].iter().map(|&j| j as u32).collect();
        assert_eq!(&got[i * count..(i + 1) * count], want);
    }
    let one = affinity::nearest(Points::new(&x, n, d).unwrap(), 1).unwrap();
    assert_eq!(one, (0..n as u32).collect::<Vec<_>>());
}

#[test]
fn a_gaussian_kernel_finds_two_rings() {
    let ring = |radius: f64, count: usize| {
        (0..count).flat_map(move |i| {
            let angle = i as f64 / count as f64 * std::f64::consts::TAU;
            [radius * angle.cos(), radius * angle.sin()]
        })
    };
    let x: Vec<f64> = ring(1.0, 40).chain(ring(4.0, 80)).collect();
    let want: Vec<i32> = (0..120).map(|i| (i >= 40) as i32).collect();
    for solver in [Solver::Dense, Solver::Lanczos] {
        // 5: neighbours on a ring are 0.3 apart and have 0.6, the rings are 3 apart and have e^-45; 400: all but neighbours underflow.
        for gamma in [5.0, 400.0] {
            let options = SpectralOptions { affinity: Affinity::Rbf, gamma, solver, ..fixed(2) };
            let found = spectral(Points::new(&x, 120, 2).unwrap(), &options, &Silent).unwrap();
            assert_eq!(found.labels, want, "{solver:?} {gamma}");
        }
        let options = SpectralOptions { neighbours: 4, solver, ..fixed(2) };
        assert_eq!(spectral(Points::new(&x, 120, 2).unwrap(), &options, &Silent).unwrap().labels, want);
    }
}

#[test]
fn threads_do_not_change_a_byte() {
    let mut rng = Streams::new(5).stream("points", 0);
    let x: Vec<f64> = (0..1500 * 3).map(|e| rng.random::<f64>() + (e / 300) as f64).collect();
    for affinity in Affinity::ALL {
        let options =
            SpectralOptions { affinity: *affinity, solver: Solver::Lanczos, tolerance: 1e-6, kmeans_restarts: 2, ..fixed(4) };
        let fit = |threads| on_threads(threads, || spectral(Points::new(&x, 1500, 3).unwrap(), &options, &Silent).unwrap());
        assert_eq!(fit(1), fit(2));
    }
}

#[test]
fn permuting_nodes_permutes_the_spectrum() {
    let Some((graph, _)) = fixtures::graph("football") else { return };
    let n = graph.n();
    let place: Vec<u32> = (0..n as u32).map(|i| i * 7 % n as u32).collect();
    let edges: Vec<(u32, u32, f64)> = (0..n)
        .flat_map(|i| graph.row(i).0.iter().filter(move |j| i < **j as usize).map(move |&j| (i, j)))
        .map(|(i, j)| (place[i], place[j as usize], 1.0))
        .collect();
    let moved = Graph::new(n, &edges, false).unwrap();
    let (a, b) = (spectrum(&graph, 13, Solver::Dense), spectrum(&moved, 13, Solver::Dense));
    for (x, y) in a.values.iter().zip(&b.values) {
        assert!((x - y).abs() < 1e-12);
    }
    for (v, w) in a.vectors.chunks_exact(n).zip(b.vectors.chunks_exact(n)).take(5) {
        // The sign is by the largest entry; eigenvalues of football are apart by 1e-2.
        for (x, &to) in v.iter().zip(&place) {
            assert!((x - w[to as usize]).abs() < 1e-9);
        }
    }
}

#[test]
fn odd_input_is_answered_or_refused() {
    let graph = |edges: &[(u32, u32, f64)], n| Graph::new(n, edges, false).unwrap();
    let run = |g: &Graph, k| spectral_graph(&[View::new(g)], &fixed(k), &Silent);
    // No edges at all, one node, as many clusters as nodes.
    let none = run(&graph(&[], 4), 4).unwrap();
    assert_eq!((none.labels, none.eigenvalues), (vec![0, 1, 2, 3], vec![0.0; 4]));
    assert_eq!(run(&graph(&[], 1), 1).unwrap().labels, [0]);
    assert_eq!(run(&graph(&[(0, 1, 1.0), (1, 2, 1.0)], 3), 3).unwrap().labels, [0, 1, 2]);
    // An edge of weight 0 is none; a directed edge counts from both ends.
    assert_eq!(run(&graph(&[(0, 1, 0.0), (2, 3, 1.0)], 4), 3).unwrap().labels, [0, 1, 2, 2]);
    let directed = Graph::new(4, &[(1, 0, 1.0), (2, 3, 1.0)], true).unwrap();
    assert_eq!(run(&directed, 2).unwrap().labels, [0, 0, 1, 1]);
    for (g, k) in [(graph(&[(0, 1, -1.0)], 2), 1), (graph(&[], 0), 1), (graph(&[], 3), 0), (graph(&[], 3), 4)] {
        assert!(run(&g, k).is_err());
    }
    let big = graph(&[(0, 1, f64::MAX), (1, 2, f64::MAX)], 3);
    assert!(matches!(run(&big, 2), Err(ClusterError::Numbers(_))));
    // Weights near the ends of the range of numbers.
    for size in [1e-300, 1e300] {
        assert_eq!(run(&graph(&[(0, 1, size), (2, 3, size)], 4), 2).unwrap().labels, [0, 0, 1, 1]);
    }
    let points = |x: &[f64], options: &SpectralOptions| spectral(Points::new(x, x.len(), 1).unwrap(), options, &Silent);
    assert!(matches!(points(&[1.0, 2.0, 3.0], &fixed(2)), Err(ClusterError::Setting { what: "neighbours", .. })));
    let far = [1e200, -1e200, 3e200, 1.0];
    assert!(matches!(points(&far, &SpectralOptions { neighbours: 2, ..fixed(2) }), Err(ClusterError::Numbers(_))));
    let rbf = SpectralOptions { affinity: Affinity::Rbf, ..fixed(2) };
    assert!(points(&far, &rbf).unwrap().warnings.len() == 1);
    // Equal points: one cluster is what there is.
    assert_eq!(points(&[2.0; 6], &SpectralOptions { neighbours: 6, ..fixed(1) }).unwrap().labels, [0; 6]);
    for bad in [
        SpectralOptions { gamma: 0.0, ..fixed(2) },
        SpectralOptions { tolerance: f64::NAN, ..fixed(2) },
        SpectralOptions { neighbours: 0, ..fixed(2) },
        SpectralOptions { kmeans_restarts: 0, ..fixed(2) },
        SpectralOptions { max_products: 0, ..fixed(2) },
    ] {
        assert!(matches!(points(&[1.0, 2.0, 3.0], &bad), Err(ClusterError::Setting { .. })));
    }
    // Too few products are said, not hidden.
    let few = SpectralOptions { solver: Solver::Lanczos, max_products: 5, ..fixed(2) };
    let found = spectral_graph(&[View::new(&cycle(400))], &few, &Silent).unwrap();
    assert!(!found.converged && found.warnings.len() == 1);
}
