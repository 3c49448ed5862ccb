use super::*;
use crate::cluster::criteria::spherical::spherical;
use crate::cluster::criteria::testing::{Data, blobs, on_threads};
use crate::cluster::kmeans::{Kmeans, KmeansOptions, kmeans};
use crate::run::observer::Silent;

fn by_kmeans(points: Points, k: usize) -> Result<(Fit, Kmeans), ClusterError> {
    let found = kmeans(points, &KmeansOptions { k, restarts: 5, ..Default::default() }, &Silent)?;
    let model = spherical(&Dispersion::of(points, &found.labels, Noise::Group)?);
    let fit = Fit {
        labels: found.labels.clone(),
        objective: found.inertia,
        log_likelihood: model.map(|m| m.log_likelihood),
        bic: model.map(|m| m.bic),
        aic: model.map(|m| m.aic),
    };
    Ok((fit, found))
}

fn options(k_min: usize, k_max: usize) -> KScanOptions {
    KScanOptions { k_min, k_max, references: 5, ..Default::default() }
}

#[test]
fn clear_clusters_are_counted_by_every_criterion() {
    let (values, labels) = blobs(200, 4, 4, 1.0);
    let points = Points::new(&values, 200, 4).unwrap();
    let spectrum = [0.0, 0.01, 0.02, 0.03, 0.9, 0.95, 0.97, 1.0];
    let scan = k_scan(points, &options(1, 7), Some(&spectrum), by_kmeans, &Silent).unwrap();
    assert_eq!(scan.rows.iter().map(|r| r.k).collect::<Vec<_>>(), [1, 2, 3, 4, 5, 6, 7]);
    // AIC charges too little for a sphere more than there are, so it is not asked.
    for choice in scan.choices.iter().filter(|c| c.criterion != Criterion::Aic) {
        assert_eq!(choice.k, 4, "{}", choice.criterion.name());
    }
    assert_eq!(scan.choices.len(), Criterion::ALL.len());
    assert_eq!(scan.disagree(), scan.choices.iter().any(|c| c.k != 4));
    // One cluster has no silhouette, and a gap.
    assert_eq!((scan.rows[0].silhouette, scan.rows[0].ch, scan.rows[0].db), (None, None, None));
    assert!(scan.rows.iter().all(|r| r.gap.is_some() && r.gap_se.is_some_and(|se| se > 0.0)));
    assert!((scan.rows[3].eigengap.unwrap() - 0.87).abs() < 1e-15);
    let (fit, model) = scan.into_chosen();
    assert_eq!(fit.labels, labels);
    assert_eq!(model.inertia, fit.objective);
}

#[test]
fn iris_is_two_by_silhouette_and_three_by_others() {
    let Some(data) = Data::load("iris") else { return };
    let scan = k_scan(data.points(), &KScanOptions { references: 0, ..options(2, 5) }, None, by_kmeans, &Silent).unwrap();
    assert_eq!(scan.chosen, Choice { criterion: Criterion::Silhouette, k: 2 });
    let ch = scan.choices.iter().find(|c| c.criterion == Criterion::Ch).unwrap();
    assert_eq!(ch.k, 3);
    assert!(scan.disagree());
    assert!(scan.rows.iter().all(|r| r.gap.is_none() && r.eigengap.is_none()));
    // The specification's row for k = 3.
    assert!((scan.rows[1].silhouette.unwrap() - 0.5528190).abs() < 5.1e-8);
    // A sampled silhouette says how far it may be off.
    let sampled = KScanOptions { references: 0, silhouette_sample: Some(60), ..options(2, 3) };
    let row = &k_scan(data.points(), &sampled, None, by_kmeans, &Silent).unwrap().rows[1];
    assert!((row.silhouette.unwrap() - 0.5528190).abs() < 4.0 * row.silhouette_se.unwrap());
}

/// A scan whose labels are given, so that scores tie.
#[test]
fn of_equals_the_smaller_k_is_taken() {
    let values = [0.0, 0.1, 1.0, 1.1];
    let points = Points::new(&values, 4, 1).unwrap();
    let same = |_: Points, _: usize| {
        let fit = Fit { labels: vec![0, 0, 1, 1], objective: 1.0, log_likelihood: None, bic: Some(3.0), aic: None };
        Ok((fit, ()))
    };
    let scan = k_scan(points, &options(2, 4), None, same, &Silent).unwrap();
    let taken: Vec<(Criterion, usize)> = scan.choices.iter().map(|c| (c.criterion, c.k)).collect();
    use Criterion::*;
    assert_eq!(taken, [(Silhouette, 2), (Ch, 2), (Db, 2), (Bic, 2), (Gap, 2)]);
    assert_eq!(scan.rows[2].clusters, 2);
    let text = k_scan(points, &KScanOptions { criterion: Aic, ..options(2, 4) }, None, same, &Silent).unwrap_err().to_string();
    assert!(text.contains("aic") && text.contains("one of silhouette, ch, db, bic, gap"), "{text}");
}

#[test]
fn points_that_do_not_suffice_end_the_range() {
    let values = [0.0, 1.0, 5.0];
    let points = Points::new(&values, 3, 1).unwrap();
    let scan = k_scan(points, &KScanOptions { references: 0, ..options(2, 9) }, None, by_kmeans, &Silent).unwrap();
    assert_eq!(scan.rows.len(), 2);
    let (k, why) = scan.ended.clone().unwrap();
    assert!(k == 4 && why.contains("4 clusters of 3 points"), "{why}");
    // As many clusters as points: nothing to compare.
    assert_eq!((scan.rows[1].silhouette, scan.rows[1].bic), (None, None));
    let error = k_scan(points, &options(4, 9), None, by_kmeans, &Silent).unwrap_err();
    assert!(matches!(error, ClusterError::Clusters { k: 4, n: 3, .. }));
    for (low, high) in [(0, 3), (4, 3)] {
        let text = k_scan(points, &options(low, high), None, by_kmeans, &Silent).unwrap_err().to_string();
        assert!(text.contains("the range of k"), "{text}");
    }
    // Nothing but one cluster cannot be judged by silhouettes.
    let one = KScanOptions { references: 0, ..options(1, 1) };
    assert!(matches!(k_scan(points, &one, None, by_kmeans, &Silent), Err(ClusterError::Setting { .. })));
}

#[test]
fn equal_points_have_no_gap() {
    let values = [3.0; 8];
    let points = Points::new(&values, 8, 1).unwrap();
    let all_in_one = |_: Points, _: usize| {
        Ok((Fit { labels: vec![0; 8], objective: 0.0, log_likelihood: None, bic: Some(1.0), aic: None }, ()))
    };
    let bic = KScanOptions { criterion: Criterion::Bic, ..options(1, 3) };
    let scan = k_scan(points, &bic, None, all_in_one, &Silent).unwrap();
    assert!(scan.rows.iter().all(|r| r.gap.is_none()));
    assert_eq!(scan.chosen.k, 1);
}

#[test]
fn same_scan_at_any_number_of_threads() {
    let (values, _) = blobs(150, 3, 3, 3.0);
    let points = Points::new(&values, 150, 3).unwrap();
    let [one, two] = on_threads(|| k_scan(points, &options(2, 4), None, by_kmeans, &Silent).unwrap().rows);
    assert_eq!(one, two);
}

#[test]
fn names_of_criteria_are_those_of_the_command_line() {
    for criterion in Criterion::ALL {
        assert_eq!(serde_json::to_string(criterion).unwrap(), format!("{:?}", criterion.name()));
    }
}
