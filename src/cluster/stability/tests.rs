use super::*;
use crate::cluster::criteria::testing::{Data, blobs, on_threads};
use crate::cluster::kmeans::{KmeansOptions, kmeans};
use crate::run::observer::Silent;

fn refit(points: Points, k: usize) -> impl FnMut(&[usize]) -> Result<Vec<i32>, ClusterError> {
    move |drawn| {
        let values = gather(points, drawn);
        let again = Points::new(&values, drawn.len(), points.d())?;
        Ok(kmeans(again, &KmeansOptions { k, restarts: 3, ..Default::default() }, &Silent)?.labels)
    }
}

#[test]
fn clear_clusters_are_stable_whatever_their_names() {
    let (values, labels) = blobs(120, 3, 3, 1.0);
    let points = Points::new(&values, 120, 3).unwrap();
    let options = StabilityOptions { replicates: 20, seed: 4 };
    let found = bootstrap(&labels, &options, refit(points, 3), &Silent).unwrap();
    assert_eq!((found.ari.mean, found.ari.low, found.ari.high, found.failed), (1.0, 1.0, 1.0, 0));
    assert_eq!(found.aris.len(), 20);
    for (c, cluster) in found.clusters.iter().enumerate() {
        assert_eq!((cluster.label, cluster.size, cluster.jaccard, cluster.replicates), (c as i32, 40, Some(1.0), 20));
    }
    let [one, two] = on_threads(|| bootstrap(&labels, &options, refit(points, 3), &Silent).unwrap());
    assert_eq!(one, two);
    assert_eq!(one, found);
}

#[test]
fn iris_has_one_stable_cluster_of_three() {
    let Some(data) = Data::load("iris") else { return };
    let labels = kmeans(data.points(), &KmeansOptions { k: 3, ..Default::default() }, &Silent).unwrap().labels;
    let found = bootstrap(&labels, &StabilityOptions { replicates: 50, seed: 0 }, refit(data.points(), 3), &Silent).unwrap();
    // The first 50 flowers are well apart, the others are cut differently now and then.
    assert!(found.clusters[0].jaccard.unwrap() > 0.9);
    assert!(found.ari.low < found.ari.mean && found.ari.mean < found.ari.high && found.ari.mean > 0.7);
}

#[test]
fn labels_are_compared_on_each_thing_once() {
    let labels = [0, 0, 1, 1, -1];
    let options = StabilityOptions { replicates: 200, seed: 9 };
    let mut draws = Vec::new();
    // The same partition under other names: a copy has the label of its original.
    let found = bootstrap(
        &labels,
        &options,
        |drawn| {
            draws.push(drawn.to_vec());
            Ok(drawn.iter().map(|&i| [7, 7, 3, 3, -1][i]).collect())
        },
        &Silent,
    )
    .unwrap();
    assert_eq!(found.ari.mean, 1.0);
    assert_eq!(found.clusters.len(), 2, "noise is no cluster");
    // A cluster of two of five is missing in (3/5)⁵ = 7.8 % of the draws: 15.6 of 200, deviation 3.8.
    for (cluster, members) in found.clusters.iter().zip([[0, 1], [2, 3]]) {
        let with = draws.iter().filter(|d| d.iter().any(|i| members.contains(i))).count();
        assert_eq!(cluster.replicates, with);
        assert!((165..=200).contains(&with), "{with}");
        assert_eq!(cluster.jaccard, Some(1.0));
    }
    // Everything in one cluster: Jaccard of the matched one is its share, of the other 0.
    let found = bootstrap(&[0, 0, 0, 1], &options, |d| Ok(vec![0; d.len()]), &Silent).unwrap();
    assert!(found.clusters[0].jaccard.unwrap() > 0.6 && found.clusters[1].jaccard.unwrap() < 0.1);
}

#[test]
fn what_cannot_be_drawn_is_counted_or_refused() {
    let labels = [0, 1, 2];
    let options = StabilityOptions { replicates: 60, seed: 1 };
    let distinct = |drawn: &[usize]| {
        let mut d = drawn.to_vec();
        d.sort_unstable();
        d.dedup();
        if d.len() < 3 {
            Err(ClusterError::Distinct { k: 3, distinct: d.len() })
        } else {
            Ok(drawn.iter().map(|&i| i as i32).collect())
        }
    };
    let found = bootstrap(&labels, &options, distinct, &Silent).unwrap();
    // Six of 27 draws have all three.
    assert!(found.failed > 30 && found.failed + found.aris.len() == 60);
    assert_eq!(found.ari.mean, 1.0);
    let never = |_: &[usize]| Err(ClusterError::Distinct { k: 3, distinct: 1 });
    assert_eq!(bootstrap(&labels, &options, never, &Silent), Err(ClusterError::Distinct { k: 3, distinct: 1 }));
    let broken = |_: &[usize]| Err(ClusterError::Numbers("x".into()));
    assert_eq!(bootstrap(&labels, &options, broken, &Silent), Err(ClusterError::Numbers("x".into())));
    let none = StabilityOptions { replicates: 0, seed: 1 };
    assert!(matches!(bootstrap(&labels, &none, distinct, &Silent), Err(ClusterError::Setting { .. })));
    assert_eq!(bootstrap(&[], &options, distinct, &Silent), Err(ClusterError::Empty));
}

#[test]
fn quantiles_are_interpolated() {
    // numpy.quantile([1, 2, 3, 4], [.025, .975]) = 1.075, 3.925.
    let found = Spread::of(&[4.0, 1.0, 3.0, 2.0]).unwrap();
    assert_eq!(found.mean, 2.5);
    assert!((found.low - 1.075).abs() < 1e-15 && (found.high - 3.925).abs() < 1e-15);
    assert_eq!(Spread::of(&[]), None);
}
