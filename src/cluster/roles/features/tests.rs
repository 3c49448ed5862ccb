use super::*;
use crate::cluster::criteria::testing::on_threads;
use crate::run::observer::Silent;

fn email() -> Option<Graph> {
    let text = std::fs::read_to_string(crate::testing::shared("email-eu-core/edges.csv")?).unwrap();
    let edges: Vec<(u32, u32, f64)> = text
        .lines()
        .skip(1)
        .map(|line| {
            let (a, b) = line.split_once(',').unwrap();
            (a.parse().unwrap(), b.parse().unwrap(), 1.0)
        })
        .collect();
    Some(Graph::new(1005, &edges, true).unwrap())
}

fn close(found: f64, expected: f64, within: f64) {
    assert!((found - expected).abs() <= within, "{found} is not {expected}");
}

#[test]
fn email_features_as_in_the_specification() {
    let Some(graph) = email() else { return };
    assert_eq!(graph.entries(), 25571);
    let f = features(&graph, &FeatureOptions::default(), &Silent).unwrap();
    assert_eq!((f.in_degree[0], f.out_degree[0]), (32.0, 41.0));
    close(f.betweenness[0], 0.001537949, 5.1e-10);
    close(f.clustering[0], 0.276422764, 5.1e-10);
    close(f.betweenness.iter().sum(), 1.300622038, 5.1e-10);
    close(f.clustering.iter().sum(), 401.351741254, 5.1e-10);
    let largest = |v: &[f64]| (0..v.len()).max_by(|&i, &j| v[i].total_cmp(&v[j])).unwrap();
    assert_eq!((largest(&f.betweenness), largest(&f.pagerank)), (160, 1));
    close(f.betweenness[160], 0.072120786, 5.1e-10);
    close(f.pagerank[0], 0.001271997, 5.1e-10);
    close(f.pagerank[1], 0.009981137, 5.1e-10);
    close(f.pagerank.iter().sum(), 1.0, 1e-12);
    // networkx (3.6.1, as it comes) stops when ranks move by less than 1005e-6 in sum, 6 % short of the largest rank.
    let early = pagerank(&graph, &reversed(&graph), &FeatureOptions { tolerance: 1005.0 * 1e-6, ..Default::default() }).unwrap();
    close(early[0], 0.0012754775504594832, 1e-15);
    close(early[1], 0.009411560186382712, 1e-15);
    let [one, two] = on_threads(|| features(&graph, &FeatureOptions::default(), &Silent).unwrap());
    assert_eq!(one, two);
}

#[test]
fn pivots_estimate_betweenness() {
    let Some(graph) = email() else { return };
    let exact = betweenness(&graph, None, 0, &Silent).unwrap();
    assert_eq!(exact.se, None);
    // Over twelve samples the mean of the estimates is off by about its standard error, in the mean over the nodes that matter.
    let central: Vec<usize> = (0..1005).filter(|&i| exact.values[i] > 0.005).collect();
    assert!(central.len() > 30);
    let samples: Vec<Betweenness> = (0..12).map(|seed| betweenness(&graph, Some(150), seed, &Silent).unwrap()).collect();
    let z = |&i: &usize| {
        let mean = samples.iter().map(|s| s.values[i] / 12.0).sum::<f64>();
        let variance = samples.iter().map(|s| s.se.as_ref().unwrap()[i].powi(2) / 12.0).sum::<f64>();
        ((mean - exact.values[i]) / (variance / 12.0).sqrt()).powi(2)
    };
    let spread = (central.iter().map(z).sum::<f64>() / central.len() as f64).sqrt();
    assert!((0.5..1.6).contains(&spread), "{spread}");
    assert_eq!(betweenness(&graph, Some(5000), 7, &Silent).unwrap(), exact);
    assert!(betweenness(&graph, Some(0), 7, &Silent).is_err());
}

#[test]
fn small_graphs_by_hand() {
    // 0 → 1 → 2, 0 → 3 → 2, 2 → 0, a loop at 1.
    let edges = [(0, 1, 1.0), (1, 2, 1.0), (0, 3, 1.0), (3, 2, 1.0), (2, 0, 1.0), (1, 1, 5.0)];
    let graph = Graph::new(4, &edges, true).unwrap();
    let f = features(&graph, &FeatureOptions::default(), &Silent).unwrap();
    assert_eq!(f.in_degree, [1.0, 2.0, 2.0, 1.0]);
    assert_eq!(f.out_degree, [2.0, 2.0, 1.0, 1.0]);
    // Through 1: half of 0 → 2. Through 2: 1 → 0, 1 → 3, 3 → 0, 3 → 1. Through 0: 2 → 1, 2 → 3, 1 → 3, 3 → 1. Over 3 · 2 pairs.
    for (found, expected) in f.betweenness.iter().zip([4.0, 0.5, 4.0, 0.5]) {
        close(*found, expected / 6.0, 1e-15);
    }
    // Edges 01, 12, 03, 23, 02: triangles 012 and 023.
    for (found, expected) in f.clustering.iter().zip([2.0 / 3.0, 1.0, 2.0 / 3.0, 1.0]) {
        close(*found, expected, 1e-15);
    }
    close(density(&graph), 0.5, 1e-15);
    assert_eq!(reciprocity(&graph), 0.0);
    // PageRank of a ring with weights on one way is uniform; a sink gives its rank to all.
    let ring = Graph::new(3, &[(0, 1, 2.0), (1, 2, 7.0), (2, 0, 1.0)], true).unwrap();
    for r in features(&ring, &FeatureOptions::default(), &Silent).unwrap().pagerank {
        close(r, 1.0 / 3.0, 1e-15);
    }
    let sink = Graph::new(2, &[(0, 1, 1.0)], true).unwrap();
    let r = features(&sink, &FeatureOptions::default(), &Silent).unwrap().pagerank;
    // r₁ = .075 + .85 (r₀ + r₁ / 2), r₀ = .075 + .85 r₁ / 2: r₀ = 1 / 2.85.
    close(r[0], 1.0 / 2.85, 1e-12);
}

#[test]
fn counts_of_paths_do_not_overflow() {
    // 1100 diamonds in a row: 2^1100 shortest paths from end to end.
    let mut edges = Vec::new();
    for d in 0..1100u32 {
        let (a, b) = (3 * d, 3 * d + 3);
        edges.extend([(a, a + 1, 1.0), (a, a + 2, 1.0), (a + 1, b, 1.0), (a + 2, b, 1.0)]);
    }
    let n = 3301;
    let graph = Graph::new(n, &edges, true).unwrap();
    let found = betweenness(&graph, None, 0, &Silent).unwrap().values;
    // Through node 1: half of the paths from 0 to all beyond.
    let pairs = (n - 1) as f64 * (n - 2) as f64;
    close(found[1] * pairs, 0.5 * (n - 3) as f64, 1e-6);
    // Through the junction 3: from the three before it to the n − 4 behind.
    close(found[3] * pairs, 3.0 * (n - 4) as f64, 1e-6);
}

#[test]
fn graphs_that_are_refused() {
    let text = |g: &Graph| features(g, &FeatureOptions::default(), &Silent).unwrap_err().to_string();
    assert!(text(&Graph::new(2, &[(0, 1, 1.0)], false).unwrap()).contains("directed"));
    assert!(text(&Graph::new(2, &[(0, 1, -1.0)], true).unwrap()).contains("weight -1"));
    assert_eq!(features(&Graph::new(0, &[], true).unwrap(), &FeatureOptions::default(), &Silent), Err(ClusterError::Empty));
    let lone = features(&Graph::new(1, &[], true).unwrap(), &FeatureOptions::default(), &Silent).unwrap();
    assert_eq!(lone.matrix(), [0.0, 0.0, 0.0, 0.0, 1.0]);
    let graph = Graph::new(2, &[(0, 1, 1.0)], true).unwrap();
    for bad in [
        FeatureOptions { damping: 1.0, ..Default::default() },
        FeatureOptions { damping: f64::NAN, ..Default::default() },
        FeatureOptions { max_iterations: 1, ..Default::default() },
    ] {
        assert!(matches!(features(&graph, &bad, &Silent), Err(ClusterError::Setting { .. })));
    }
}
