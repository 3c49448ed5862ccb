//! Both methods against sorting all pairs.

use super::*;
use crate::cluster::Points;
use crate::cluster::dendrogram::UnionFind;
use crate::cluster::kd_tree::tests::{blobs, grid, on_threads, uniform};
use crate::cluster::kd_tree::{squared_distance, unpack};
use crate::run::observer::Silent;

/// The edges, squared, that Kruskal takes from all pairs by (reachability, length).
fn kruskal(points: Points, core: &[f64]) -> Vec<(f64, f64)> {
    let n = points.n();
    let mut pairs = Vec::new();
    for a in 0..n {
        for b in a + 1..n {
            let length = squared_distance(points.row(a), points.row(b));
            pairs.push((length.max(core[a]).max(core[b]), length, a as u32, b as u32));
        }
    }
    pairs.sort_by(|x, y| x.partial_cmp(y).unwrap());
    let mut sets = UnionFind::new(n);
    pairs.into_iter().filter(|p| sets.join(p.2, p.3)).map(|p| (p.0.sqrt(), p.1.sqrt())).collect()
}

/// Squared distance of each place to its k-th neighbour, and its `width` nearest places.
fn cores(tree: &KdTree, k: usize, width: usize) -> (Vec<f64>, Vec<u32>) {
    let (mut core, mut near) = (Vec::new(), Vec::new());
    tree.nearest_of(&tree.gather(0..tree.n()), k, |_, found| {
        found.sort_unstable();
        core.push(unpack(found[k - 1]).0);
        near.extend(found[..width].iter().map(|&f| tree.places()[unpack(f).1 as usize]));
    });
    (core, near)
}

#[test]
fn both_methods_weigh_what_sorting_all_pairs_gives() {
    for (n, d) in [(1, 2), (2, 1), (9, 3), (70, 2), (400, 2), (300, 4), (100, 15)] {
        for values in [uniform(n, d, 1), grid(n, d, 2), blobs(n, d, 3, 4), vec![1.0; n * d]] {
            let points = Points::new(&values, n, d).unwrap();
            for k in [1, 2, 5, 30].into_iter().filter(|&k| k <= n) {
                let mut found = Vec::new();
                let mut by_row = vec![0.0; n];
                for tree in [KdTree::new(points).unwrap(), KdTree::flat(points).unwrap()] {
                    let (core, near) = cores(&tree, k, k.min(7));
                    for (&row, &core) in tree.rows().iter().zip(&core) {
                        by_row[row as usize] = core;
                    }
                    for near in [&near[..], &[]] {
                        let width = near.len() / n;
                        found.push(spanning_tree(&tree, Cores { squared: &core, near, width }, &Silent).unwrap());
                    }
                }
                let expected = kruskal(points, &by_row);
                for edges in &found {
                    let weights: Vec<(f64, f64)> = edges.iter().map(|e| (e.distance, e.length)).collect();
                    assert_eq!(weights, expected, "n {n} d {d} k {k}");
                    let mut sets = UnionFind::new(n);
                    assert!(edges.iter().all(|e| e.a < e.b && sets.join(e.a, e.b)), "a tree");
                }
            }
        }
    }
}

#[test]
fn generic_points_have_one_tree() {
    // No two lengths are equal: not only weights, the edges themselves agree.
    let values = uniform(2000, 3, 9);
    let points = Points::new(&values, 2000, 3).unwrap();
    let (tree, flat) = (KdTree::new(points).unwrap(), KdTree::flat(points).unwrap());
    let (core, near) = cores(&tree, 10, 10);
    let (flat_core, _) = cores(&flat, 10, 0);
    let one = spanning_tree(&tree, Cores { squared: &core, near: &near, width: 10 }, &Silent).unwrap();
    let other = spanning_tree(&flat, Cores { squared: &flat_core, near: &[], width: 0 }, &Silent).unwrap();
    assert_eq!(one, other);
}

#[test]
fn threads_do_not_matter() {
    for (d, n) in [(3, 6000), (64, 1200)] {
        for values in [blobs(n, d, 5, 7), grid(n, d, 7)] {
            let tree = KdTree::new(Points::new(&values, n, d).unwrap()).unwrap();
            let run = || spanning_tree(&tree, Cores::default(), &Silent).unwrap();
            assert_eq!(on_threads(1, run), on_threads(2, run));
        }
    }
}

#[test]
fn it_stops_when_told() {
    struct Stop;
    impl Observer for Stop {
        fn cancelled(&self) -> bool {
            true
        }
    }
    for d in [2, 20] {
        let values = uniform(50, d, 1);
        let tree = KdTree::new(Points::new(&values, 50, d).unwrap()).unwrap();
        assert_eq!(spanning_tree(&tree, Cores::default(), &Stop), Err(ClusterError::Cancelled));
    }
}
