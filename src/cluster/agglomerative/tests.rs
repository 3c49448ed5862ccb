//! Against scipy, scikit-learn and brute force.

use super::*;
use crate::cluster::kd_tree::tests::{blobs, grid, hash, on_threads, shuffled, table, uniform};
use crate::cluster::labels;
use crate::cluster::score::adjusted_rand;
use crate::kernels::simd::{available, with_isa};
use crate::run::observer::Silent;

fn points(values: &[f64], d: usize) -> Points<'_> {
    Points::new(values, values.len() / d, d).unwrap()
}

fn fit(values: &[f64], d: usize, linkage: Linkage, cut: Cut, graph: Option<&Graph>) -> Agglomerative {
    let options = AgglomerativeOptions { linkage, cut, ..AgglomerativeOptions::default() };
    agglomerative(points(values, d), &options, graph, &Silent).unwrap()
}

fn heights(found: &Agglomerative) -> Vec<f64> {
    found.dendrogram.merges().iter().map(|m| m.height).collect()
}

/// Sums of heights and of heights times their number from 1, which see every height and its place.
fn sums(heights: &[f64]) -> (f64, f64) {
    (heights.iter().sum(), heights.iter().zip(1..).map(|(h, i)| h * f64::from(i)).sum())
}

/// The mutual 0/1 graph of the `k` nearest neighbours.
fn neighbours(values: &[f64], d: usize, k: usize) -> Graph {
    let points = points(values, d);
    let found = KdTree::new(points).unwrap().nearest(points, k + 1).unwrap();
    let edges: Vec<(u32, u32, f64)> =
        found.rows.chunks_exact(k + 1).zip(0..).flat_map(|(row, i)| row[1..].iter().map(move |&j| (i, j, 1.0))).collect();
    Graph::new(points.n(), &edges, false).unwrap()
}

#[test]
fn iris_has_the_heights_of_scipy() {
    let Some((values, d, truth)) = table("iris") else { return };
    // The last three merges; the agreement of three clusters with the species.
    let cases = [
        (Linkage::Ward, [6.399407, 12.300396, 32.447607], Some(0.7311986)),
        (Linkage::Average, [1.785566, 1.963614, 4.062683], Some(0.7591987)),
        (Linkage::Complete, [3.210919, 4.024922, 7.085196], None),
        (Linkage::Single, [0.734847, 0.818535, 1.640122], None),
    ];
    for (linkage, expected, agreement) in cases {
        let found = fit(&values, d, linkage, Cut::Clusters(3), None);
        for (height, expected) in heights(&found)[146..].iter().zip(expected) {
            assert!((height - expected).abs() < 5.1e-7, "{} {height}: six digits are given", linkage.name());
        }
        if let Some(expected) = agreement {
            let found = adjusted_rand(&truth, &found.labels);
            assert!((found - expected).abs() < 5.1e-8, "{} {found}: seven digits are given", linkage.name());
        }
    }
}

#[test]
fn merges_are_those_of_scipy() {
    // scipy.cluster.hierarchy.linkage: hash of clusters and sizes of all merges, the two sums of heights.
    let cases = [
        (Linkage::Ward, 0x5163_5908_7dea_ae30, 96.529882507706, 23267.1086805849),
        (Linkage::Complete, 0x0b92_09ec_fd6e_f66c, 64.000286195746, 13986.5953704146),
        (Linkage::Average, 0xad20_16ff_720c_b16a, 47.665604979321, 9740.1572450805),
        (Linkage::Weighted, 0xb2ef_9a89_aa3f_3056, 48.368686010433, 9934.5289769064),
        (Linkage::Single, 0xd512_0de1_fa9f_3232, 30.286303101696, 5436.8884593399),
    ];
    let values = uniform(300, 3, 7);
    for (linkage, expected, sum, weighted) in cases {
        let found = fit(&values, 3, linkage, Cut::Clusters(1), None);
        let parts = found.dendrogram.merges().iter().flat_map(|m| [m.left, m.right, m.size]);
        assert_eq!(hash(parts.map(i64::from)), expected, "{}", linkage.name());
        let ours = sums(&heights(&found));
        // Twelve and ten decimals are given, and both programs round some hundred times at 1e-16.
        assert!((ours.0 - sum).abs() < 1e-11 && (ours.1 - weighted).abs() < 1e-9, "{} {ours:?}", linkage.name());
    }
}

#[test]
fn merges_along_a_graph_are_those_of_scikit_learn() {
    // scikit-learn 1.9.1, six clusters: hash of canonical labels, sums of `distances_`. With 8 neighbours the graph is connected, with
    // 2 it has 9 parts.
    let cases = [
        (8, Linkage::Ward, 0x9e2d_d1b8_767a_3298, 96.529882507706, 23267.1086805849),
        (8, Linkage::Complete, 0x44e7_da5f_8e02_7445, 40.898100606093, 7761.5629751100),
        (8, Linkage::Average, 0xafc1_c7b0_d911_c1d6, 37.284779266600, 6951.6358170329),
        (8, Linkage::Single, 0x8ae8_58b7_9951_2d06, 30.286303101696, 5436.8884593399),
        (2, Linkage::Ward, 0x3403_a5b0_8d34_92f9, 99.060555608339, 23947.6706956528),
        (2, Linkage::Complete, 0x2891_6f7d_1823_439d, 35.783763794053, 6855.6220000844),
        (2, Linkage::Average, 0x9d7a_167f_77e3_082d, 32.986103931377, 6097.9336808439),
        (2, Linkage::Single, 0xb52b_0465_e45b_0aa4, 30.777852463044, 5560.0884798072),
    ];
    let values = uniform(300, 3, 7);
    for (k, linkage, expected, sum, weighted) in cases {
        let graph = neighbours(&values, 3, k);
        let found = fit(&values, 3, linkage, Cut::Clusters(6), Some(&graph));
        assert_eq!((found.components, found.added.len()), if k == 8 { (1, 0) } else { (9, 36) });
        let ours = sums(&heights(&found));
        assert!((ours.0 - sum).abs() < 1e-10 && (ours.1 - weighted).abs() < 1e-8, "{k} {} {ours:?}", linkage.name());
        assert_eq!(hash(found.labels.iter().map(|&l| l.into())), expected, "{k} {}", linkage.name());
    }
}

/// Merges of the two nearest clusters, found among all, by the definition of the linkage.
fn by_definition(values: &[f64], d: usize, linkage: Linkage) -> Vec<f64> {
    let row = |i: usize| &values[i * d..(i + 1) * d];
    let mut clusters: Vec<Vec<usize>> = (0..values.len() / d).map(|i| vec![i]).collect();
    let centroid = |c: &[usize]| (0..d).map(|j| c.iter().map(|&i| row(i)[j]).sum::<f64>() / c.len() as f64).collect::<Vec<f64>>();
    let far = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(x, y)| (x - y) * (x - y)).sum::<f64>().sqrt();
    let mut heights = Vec::new();
    while clusters.len() > 1 {
        let mut best = (f64::INFINITY, 0, 0);
        for a in 0..clusters.len() {
            for b in a + 1..clusters.len() {
                let pairs =
                    clusters[a].iter().flat_map(|&i| clusters[b].iter().map(move |&j| (i, j))).map(|(i, j)| far(row(i), row(j)));
                let (n, m) = (clusters[a].len() as f64, clusters[b].len() as f64);
                let height = match linkage {
                    Linkage::Single => pairs.fold(f64::INFINITY, f64::min),
                    Linkage::Complete => pairs.fold(0.0, f64::max),
                    Linkage::Average => pairs.sum::<f64>() / (n * m),
                    _ => (2.0 * n * m / (n + m)).sqrt() * far(&centroid(&clusters[a]), &centroid(&clusters[b])),
                };
                if height < best.0 {
                    best = (height, a, b);
                }
            }
        }
        heights.push(best.0);
        let gone = clusters.remove(best.2);
        clusters[best.1].extend(gone);
    }
    heights
}

#[test]
fn heights_follow_from_the_definitions() {
    // The complete graph restricts nothing: with it Ward's and single linkage are as without. (For the others too: all distances are
    // known.)
    for (values, d) in [(uniform(40, 2, 5), 2), (blobs(50, 17, 3, 6), 17)] {
        let n = (values.len() / d) as u32;
        let all: Vec<(u32, u32, f64)> = (0..n).flat_map(|a| (0..a).map(move |b| (a, b, 1.0))).collect();
        let graph = Graph::new(n as usize, &all, false).unwrap();
        for linkage in [Linkage::Ward, Linkage::Complete, Linkage::Average, Linkage::Single] {
            let expected = by_definition(&values, d, linkage);
            for graph in [None, Some(&graph)] {
                let found = fit(&values, d, linkage, Cut::Clusters(1), graph);
                for (height, expected) in heights(&found).iter().zip(&expected) {
                    // Some hundred roundings at 1e-16 of distances of at most 50.
                    assert!((height - expected).abs() < 1e-12, "{} {height} {expected}", linkage.name());
                }
            }
        }
    }
}

#[test]
fn equal_distances_give_monotone_trees() {
    for (values, d) in [(grid(150, 2, 5), 2), (grid(90, 17, 5), 17), (vec![2.0; 60], 3), (vec![1.0], 1), (vec![1.0, 2.0], 1)] {
        for &linkage in Linkage::ALL {
            let found = fit(&values, d, linkage, Cut::Clusters(1), None);
            let heights = heights(&found);
            assert!(heights.is_sorted() && heights.iter().all(|h| h.is_finite()), "{}", linkage.name());
            assert_eq!(heights.len() + 1, values.len() / d);
        }
    }
}

#[test]
fn the_order_of_rows_does_not_matter() {
    let values = blobs(400, 3, 4, 9);
    let (turned, order) = shuffled(&values, 3, 2);
    let graph = neighbours(&values, 3, 6);
    let turned_graph = neighbours(&turned, 3, 6);
    for &linkage in Linkage::ALL {
        for (graph, turned_graph) in [(None, None), (Some(&graph), Some(&turned_graph))] {
            let one = fit(&values, 3, linkage, Cut::Clusters(12), graph);
            let other = fit(&turned, 3, linkage, Cut::Clusters(12), turned_graph);
            let mut expected: Vec<i32> = order.iter().map(|&i| one.labels[i]).collect();
            labels::canonical(&mut expected);
            assert_eq!(other.labels, expected, "{}", linkage.name());
        }
    }
}

#[test]
fn threads_do_not_matter() {
    // Wide enough for several tasks a search.
    let values = blobs(900, 80, 5, 3);
    for &linkage in Linkage::ALL {
        let run = || fit(&values, 80, linkage, Cut::Clusters(5), None);
        assert_eq!(on_threads(1, run), on_threads(2, run), "{}", linkage.name());
    }
}

#[test]
fn a_threshold_cuts_below_it() {
    let values = [0.0, 1.0, 5.0, 7.0];
    let cut = |height| {
        let found = fit(&values, 1, Linkage::Single, Cut::Distance(height), None);
        (found.k, found.labels)
    };
    assert_eq!(cut(1.0), (4, vec![0, 1, 2, 3]));
    assert_eq!(cut(1.5), (3, vec![0, 0, 1, 2]));
    assert_eq!(cut(4.0), (2, vec![0, 0, 1, 1]));
    assert_eq!(cut(f64::INFINITY), (1, vec![0; 4]));
}

#[test]
fn parts_of_a_graph_are_joined_at_their_nearest_points() {
    let values = [0.0, 1.0, 10.0, 12.0, 30.0];
    // One direction, twice, and a loop: all are one edge, or none.
    let graph = Graph::new(5, &[(1, 0, 1.0), (2, 3, 0.0), (2, 3, 5.0), (4, 4, 1.0)], true).unwrap();
    let found = fit(&values, 1, Linkage::Single, Cut::Clusters(3), Some(&graph));
    assert_eq!((found.components, found.added), (3, vec![(1, 2), (1, 4), (3, 4)]));
    assert_eq!(found.labels, [0, 0, 1, 1, 2]);
}

#[test]
fn bad_questions_are_refused() {
    let values = uniform(30, 2, 1);
    let text = |options: &AgglomerativeOptions, graph: Option<&Graph>| {
        agglomerative(points(&values, 2), options, graph, &Silent).unwrap_err().to_string()
    };
    let cut = |cut| AgglomerativeOptions { cut, ..AgglomerativeOptions::default() };
    assert_eq!(text(&cut(Cut::Clusters(0)), None), "0 clusters of 30 points: ask for 1 to 30");
    assert_eq!(text(&cut(Cut::Clusters(31)), None), "31 clusters of 30 points: ask for 1 to 30");
    assert!(text(&cut(Cut::Distance(f64::NAN)), None).starts_with("the distance threshold is NaN"));
    let small = AgglomerativeOptions { linkage: Linkage::Average, memory_bytes: 3000, ..AgglomerativeOptions::default() };
    assert!(text(&small, None).starts_with("average linkage of 30 points takes 0.0 GiB for their distances; the limit is"));
    let graph = Graph::new(29, &[], false).unwrap();
    assert!(text(&cut(Cut::Clusters(2)), Some(&graph)).contains("a graph of 29 nodes for 30 points"));
    let many = uniform(1001, 1, 1);
    let error = agglomerative(points(&many, 1), &cut(Cut::Clusters(2)), Some(&Graph::new(1001, &[], false).unwrap()), &Silent);
    assert!(error.unwrap_err().to_string().contains("1001 components"));
    let huge = [1e200, 1e200];
    let error = agglomerative(points(&huge, 1), &cut(Cut::Clusters(2)), None, &Silent);
    assert!(error.unwrap_err().to_string().contains("scale the columns"));
}

#[test]
fn instruction_sets_do_not_matter() {
    let values = blobs(300, 5, 4, 6);
    for &linkage in Linkage::ALL {
        let run = |isa| on_threads(1, || with_isa(isa, || fit(&values, 5, linkage, Cut::Clusters(4), None)));
        let found: Vec<Agglomerative> = available().into_iter().map(run).collect();
        assert!(found.iter().all(|f| *f == found[0]), "{}", linkage.name());
    }
}
