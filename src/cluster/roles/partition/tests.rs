use super::*;
use crate::cluster::Graph;
use crate::cluster::criteria::testing::{blobs, on_threads};
use crate::cluster::roles::features::{FeatureOptions, Features, features};

fn close(found: f64, expected: f64, within: f64) {
    assert!((found - expected).abs() <= within, "{found} is not {expected}");
}

#[test]
fn email_roles_as_in_the_specification() {
    let Some(path) = crate::testing::shared("email-eu-core/edges.csv") else { return };
    let text = std::fs::read_to_string(path).unwrap();
    let edge = |line: &str| {
        let (a, b) = line.split_once(',').unwrap();
        (a.parse().unwrap(), b.parse().unwrap(), 1.0)
    };
    let edges: Vec<(u32, u32, f64)> = text.lines().skip(1).map(edge).collect();
    let graph = Graph::new(1005, &edges, true).unwrap();
    // The specification's PageRank is networkx's with tol 1e-12, which stops when ranks move by less than n times that in sum; at the fixed
    // point inertias are 1.4e-5 larger.
    let options = FeatureOptions { tolerance: 1005.0 * 1e-12, ..Default::default() };
    let measured = features(&graph, &options, &Silent).unwrap();
    let prepared = Prepared::new(&measured.matrix(), &Features::NAMES, 10).unwrap();
    assert_eq!((prepared.kept.len(), prepared.dropped.len(), prepared.width), (5, 0, 5));
    let options = PartitionOptions { restarts: 400, replicates: 4, replicate_restarts: 2, ..Default::default() };
    let found = partition(&prepared, &options, &Silent).unwrap();
    for (k, inertia, silhouette) in [(3, 2234.594178, 0.395711), (6, 999.688692, 0.422365), (8, 696.314392, 0.425757)] {
        let row = &found.scan.rows[k - 3];
        close(row.objective, inertia, 5.1e-7);
        close(row.silhouette.unwrap(), silhouette, 5.1e-7);
    }
    assert_eq!(found.scan.chosen.k, 8);
    let mut sizes: Vec<usize> = (0..3).map(|l| found.scan.fits[0].0.labels.iter().filter(|x| **x == l).count()).collect();
    sizes.sort_unstable();
    assert_eq!(sizes, [39, 247, 719]);
    assert_eq!(found.roles.iter().map(|r| r.size).sum::<usize>(), 1005);
    let largest = found.roles.iter().map(|r| r.size).max().unwrap();
    let others = || found.roles.iter().filter(|r| r.size != largest);
    let mean = others().map(|r| r.size as f64 * r.silhouette).sum::<f64>() / others().map(|r| r.size as f64).sum::<f64>();
    close(found.silhouette_without_largest, mean, 1e-12);
    // Weighted by size, profiles of standardised columns cancel.
    for j in 0..5 {
        close(found.roles.iter().map(|r| r.size as f64 * r.profile[j]).sum(), 0.0, 1e-9);
    }
    assert_eq!(found.stability.unwrap().aris.len(), 4);
}

#[test]
fn columns_are_standardised_filtered_and_reduced() {
    let (values, _) = blobs(60, 12, 3, 2.0);
    let mut wide = Vec::new();
    for row in values.chunks(12) {
        wide.extend(row.iter().enumerate().map(|(j, v)| v * 10f64.powi(j as i32 - 3)));
        wide.push(7.0);
    }
    let names: Vec<String> = (0..13).map(|j| format!("c{j}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let all = Prepared::new(&wide, &names, 20).unwrap();
    assert_eq!((all.width, all.dropped.as_slice(), all.explained.as_ref()), (12, &["c12".to_string()][..], None));
    for j in 0..12 {
        let column: Vec<f64> = all.standard.iter().skip(j).step_by(12).copied().collect();
        close(column.iter().sum::<f64>(), 0.0, 1e-10);
        close(column.iter().map(|v| v * v).sum::<f64>() / 60.0, 1.0, 1e-12);
    }
    let some = Prepared::new(&wide, &names, 10).unwrap();
    let explained = some.explained.clone().unwrap();
    assert_eq!((some.width, explained.len(), some.values.len()), (10, 10, 600));
    assert!(explained.is_sorted_by(|a, b| a >= b) && explained.iter().sum::<f64>() < 1.0);
    // Components are uncorrelated, with the variance that they explain.
    for a in 0..10 {
        for b in 0..=a {
            let dot: f64 = some.values.chunks(10).map(|r| r[a] * r[b]).sum::<f64>() / 60.0;
            close(dot, if a == b { 12.0 * explained[a] } else { 0.0 }, 1e-10);
        }
    }
    assert!(Prepared::new(&[1.0, 1.0, 1.0], &["x"], 10).unwrap_err().to_string().contains("none of the columns x varies"));
    assert!(Prepared::new(&[1.0, f64::NAN], &["x"], 10).is_err());
}

#[test]
fn sizes_and_agreement() {
    // χ² of 10, 20, 30 against 20 each: 100/20 + 0 + 100/20 = 10; p = e^−5.
    let sizes = Sizes::of(&[10, 20, 30]);
    close(sizes.chi_squared, 10.0, 1e-13);
    close(sizes.p, (-5f64).exp(), 1e-12);
    close(sizes.cramers_v, (10.0f64 / 120.0).sqrt(), 1e-15);
    let shares = [1.0f64 / 6.0, 1.0 / 3.0, 0.5];
    close(sizes.evenness, -shares.iter().map(|p| p * p.ln()).sum::<f64>() / 3f64.ln(), 1e-15);
    let equal = Sizes::of(&[5, 5]);
    assert_eq!((equal.chi_squared, equal.p, equal.cramers_v), (0.0, 1.0, 0.0));
    close(Sizes::of(&[0, 9]).cramers_v, 1.0, 1e-15);
    assert_eq!(Sizes::of(&[0, 9]).evenness, 0.0);
    assert_eq!(Sizes::of(&[4]).evenness, 1.0);
    let same = agreement(&[0, 0, 1, 2], &[5, 5, 3, 1]);
    assert_eq!((same.ari, same.nmi), (1.0, 1.0));
}

#[test]
fn rules_in_their_order() {
    // z of (0, 0, 0, 0, 10): −½ four times, 2 once; of (−9, 1, 1, 1, 1, ..) alike.
    let low = [-9.0, 1.0, 1.0, 1.0, 1.0, 1.0];
    let columns = RuleColumns {
        entropy: Some(&low),
        betweenness: Some(&[9.0, 9.0, 0.0, 0.0, 0.0, 0.0]),
        ratio: Some(&[0.0, 0.0, 9.0, 9.0, -9.0, -9.0]),
        posts: Some(&[1.0, 1.0, 1.0, 0.0, 1.0, 1.0]),
        in_degree: Some(&[1.0, 1.0, 1.0, 1.0, 1.0, 0.0]),
    };
    use RuleRole::*;
    assert_eq!(rules(columns, 6), [Specialist, Connector, Initiator, Generalist, Synthesizer, Generalist]);
    assert_eq!(rules(RuleColumns { entropy: None, ..columns }, 6)[0], Connector);
    assert_eq!(rules(RuleColumns { ratio: Some(&[3.0; 6]), ..columns }, 6)[2], Generalist);
}

#[test]
fn same_roles_at_any_number_of_threads() {
    let (values, labels) = blobs(90, 3, 3, 1.0);
    let prepared = Prepared::new(&values, &["a", "b", "c"], 10).unwrap();
    let options = PartitionOptions { restarts: 5, replicates: 3, k_min: 2, k_max: 4, ..Default::default() };
    let [one, two] = on_threads(|| partition(&prepared, &options, &Silent).unwrap());
    assert_eq!(one, two);
    assert_eq!(one.labels, labels);
    let gap = PartitionOptions { criterion: Criterion::Gap, restarts: 2, replicates: 0, ..options };
    assert_eq!(partition(&prepared, &gap, &Silent).unwrap().labels, labels);
}
