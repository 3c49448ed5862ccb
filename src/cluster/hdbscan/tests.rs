//! Against scikit-learn and the hdbscan package, and what must hold for all points.

use super::*;
use crate::cluster::kd_tree::tests::{blobs, grid, hash, on_threads, shuffled, table, uniform};
use crate::cluster::score::adjusted_rand;
use crate::cluster::{NOISE, labels};
use crate::kernels::simd::{available, with_isa};
use crate::run::observer::Silent;

fn points(values: &[f64], d: usize) -> Points<'_> {
    Points::new(values, values.len() / d, d).unwrap()
}

fn fit(values: &[f64], d: usize, options: &HdbscanOptions) -> Hdbscan {
    hdbscan(points(values, d), options, &Silent).unwrap()
}

fn options(min_cluster_size: usize, min_samples: usize) -> HdbscanOptions {
    HdbscanOptions { min_cluster_size, min_samples: Some(min_samples), ..HdbscanOptions::default() }
}

/// All settings that change what is chosen.
fn variants() -> Vec<HdbscanOptions> {
    let leaf = HdbscanOptions { selection: Selection::Leaf, ..options(5, 3) };
    vec![
        options(5, 5),
        options(12, 2),
        leaf.clone(),
        HdbscanOptions { epsilon: 0.8, ..leaf },
        HdbscanOptions { epsilon: 1.5, ..options(5, 2) },
        HdbscanOptions { allow_single_cluster: true, ..options(8, 3) },
        HdbscanOptions { allow_single_cluster: true, epsilon: 2.0, ..options(5, 5) },
        HdbscanOptions { max_cluster_size: Some(40), ..options(6, 4) },
        HdbscanOptions { convention: Convention::Hdbscan, ..options(6, 4) },
    ]
}

/// What holds for every result: numbers in their ranges, noise without strength, training rows predicted as fitted, kept and read as it
/// was.
fn sound(found: &Hdbscan, values: &[f64], d: usize) {
    let share = |x: &f64| (0.0..=1.0).contains(x);
    assert!(
        found.probabilities.iter().all(share) && found.outlier_scores.iter().all(share) && found.persistences.iter().all(share)
    );
    assert!(found.core_distances.iter().all(|c| c.is_finite()));
    assert_eq!(found.persistences.len(), labels::count(&found.labels));
    assert_eq!(found.clusters.len(), found.persistences.len());
    for (i, &label) in found.labels.iter().enumerate() {
        assert!(label != NOISE || found.probabilities[i] == 0.0);
    }
    let predicted = found.predict(points(values, d)).unwrap();
    assert_eq!(predicted.labels, found.labels);
    assert_eq!(predicted.probabilities, found.probabilities);
    assert_eq!(predicted.outlier_scores, found.outlier_scores);
    assert_eq!(Hdbscan::from_saved(&found.to_saved()).unwrap(), *found);
}

#[test]
fn labels_and_strengths_are_those_of_scikit_learn() {
    // scikit-learn 1.9.1 on cases whose outcome there does not hang on the order of equal mutual reachabilities (as is seen by
    // shuffling rows; digits with min_cluster_size 5 gives 20 or 21 clusters there): hash of canonical labels, sum of strengths.
    let leaf = |epsilon| HdbscanOptions { selection: Selection::Leaf, epsilon, ..options(5, 3) };
    let cases: [(&str, HdbscanOptions, u64, f64); 14] = [
        ("iris", options(5, 5), 0xe706_c064_5de0_ad81, 130.5456257604),
        ("iris", options(10, 10), 0xe706_c064_5de0_ad81, 119.9209146874),
        ("iris", options(5, 2), 0xe706_c064_5de0_ad81, 138.9455779376),
        ("iris", options(15, 15), 0xe706_c064_5de0_ad81, 120.8840494700),
        ("iris", HdbscanOptions { max_cluster_size: Some(60), ..options(10, 10) }, 0x81c3_e7fb_f493_3779, 39.6894318797),
        ("iris", HdbscanOptions { epsilon: 0.6, ..options(5, 5) }, 0xe706_c064_5de0_ad81, 130.5456257604),
        ("wine", options(20, 3), 0x7a9f_f5ba_ef7c_721b, 155.3171838530),
        ("digits", options(5, 2), 0x80fa_d704_37d7_c8e9, 1425.6913983461),
        ("blobs 4", options(10, 10), 0xe08f_facd_0432_5eb4, 424.0127499653),
        ("blobs 4", HdbscanOptions { selection: Selection::Leaf, ..options(10, 10) }, 0xe08f_facd_0432_5eb4, 424.0127499653),
        ("blobs 4", HdbscanOptions { epsilon: 0.9, ..options(5, 2) }, 0x8978_f56a_54c8_4a01, 530.7306669852),
        ("blobs 20", HdbscanOptions { max_cluster_size: Some(100), ..options(8, 3) }, 0xa37c_cc33_bf74_3678, 53.8155556094),
        ("blobs 20", HdbscanOptions { epsilon: 2.6, ..options(5, 2) }, 0xe6ab_6697_c7de_3c3c, 524.6602307809),
        // scikit-learn fails here (a TypeError in its search upwards); the hdbscan package does not.
        ("blobs 4", leaf(1.2), 0x1335_ccf1_7444_263f, 500.0788090174),
    ];
    for (name, options, expected, strength) in cases {
        let (values, d) = match name {
            "blobs 4" => (blobs(600, 4, 5, 3), 4),
            "blobs 20" => (blobs(600, 20, 5, 3), 20),
            _ => match table(name) {
                Some((values, d, _)) => (values, d),
                None => continue,
            },
        };
        let found = fit(&values, d, &options);
        assert_eq!(hash(found.labels.iter().map(|&l| l.into())), expected, "{name} {options:?}");
        // Ten decimals are given; sums of up to 1797 numbers at most 1 round in the 13th.
        let sum: f64 = found.probabilities.iter().sum();
        assert!((sum - strength).abs() < 1e-9, "{name} {options:?}: {sum}");
        sound(&found, &values, d);
    }
}

#[test]
fn iris_has_two_persistent_clusters() {
    let Some((values, d, truth)) = table("iris") else { return };
    let found = fit(&values, d, &HdbscanOptions { convention: Convention::Hdbscan, ..HdbscanOptions::default() });
    let sizes = [0, 1].map(|l| found.labels.iter().filter(|x| **x == l).count());
    assert_eq!(sizes, [50, 100]);
    assert!((adjusted_rand(&truth, &found.labels) - 0.5681159).abs() < 5e-8, "seven digits are given");
    // hdbscan 0.8.44, five of its six algorithms, and six orders of the rows; eight digits. (Its "generic" one gives .57701372 and
    // .32378072: another order of equal distances.)
    for (found, expected) in found.persistences.iter().zip([0.59095437, 0.32378072]) {
        assert!((found - expected).abs() < 5e-9, "{found}");
    }
}

#[test]
fn outlier_scores_are_those_of_the_hdbscan_package() {
    // Sums of `outlier_scores_` of hdbscan 0.8.44 (its min_samples is one less), nine or ten decimals.
    let cases =
        [("iris", options(10, 10), 30.079085313), ("iris", options(5, 2), 43.120317720), ("wine", options(20, 3), 40.643186205)];
    for (name, options, expected) in cases {
        let Some((values, d, _)) = table(name) else { return };
        let sum: f64 = fit(&values, d, &options).outlier_scores.iter().sum();
        assert!((sum - expected).abs() < 1e-8, "{name}: {sum}");
    }
    for (d, epsilon, expected) in [(4, 0.9, 175.3331865220), (20, 2.6, 118.0941835311)] {
        let sum: f64 = fit(&blobs(600, d, 5, 3), d, &HdbscanOptions { epsilon, ..options(5, 2) }).outlier_scores.iter().sum();
        assert!((sum - expected).abs() < 1e-8, "blobs {d}: {sum}");
    }
}

#[test]
fn conventions_differ_by_the_point_itself() {
    let Some((values, d, _)) = table("digits") else { return };
    let ours = fit(&values, d, &options(10, 11));
    let theirs = fit(&values, d, &HdbscanOptions { convention: Convention::Hdbscan, ..options(10, 10) });
    assert_eq!(adjusted_rand(&ours.labels, &theirs.labels), 1.0);
    assert_eq!(ours.core_distances, theirs.core_distances);
    // Left out, it is the size.
    let left_out = HdbscanOptions { min_samples: None, ..options(10, 1) };
    assert_eq!(fit(&values, d, &left_out).labels, fit(&values, d, &options(10, 10)).labels);
}

#[test]
fn the_order_of_rows_does_not_matter() {
    let mut samples = vec![(blobs(500, 3, 4, 2), 3), (grid(400, 2, 3), 2), (blobs(300, 17, 3, 2), 17), (grid(200, 16, 4), 16)];
    samples.extend(["iris", "wine", "digits"].into_iter().filter_map(|name| table(name).map(|t| (t.0, t.1))));
    for (i, (values, d)) in samples.into_iter().enumerate() {
        let (turned, order) = shuffled(&values, d, 5);
        for options in variants() {
            if values.len() > 50_000 && options.min_cluster_size != 5 {
                continue;
            }
            let (one, other) = (fit(&values, d, &options), fit(&turned, d, &options));
            let mut expected: Vec<i32> = order.iter().map(|&i| one.labels[i]).collect();
            let renumbered = labels::canonical(&mut expected);
            assert_eq!(other.labels, expected, "sample {i} {options:?}");
            let moved = |x: &[f64]| order.iter().map(|&i| x[i]).collect::<Vec<f64>>();
            assert_eq!(other.probabilities, moved(&one.probabilities), "sample {i}");
            assert_eq!(other.outlier_scores, moved(&one.outlier_scores), "sample {i}");
            let persistences: Vec<f64> = renumbered.iter().map(|&l| one.persistences[l as usize]).collect();
            assert_eq!(other.persistences, persistences, "sample {i}");
        }
    }
}

#[test]
fn training_rows_are_predicted_as_fitted() {
    for (values, d) in [(blobs(700, 3, 4, 2), 3), (grid(300, 2, 3), 2), (blobs(200, 18, 3, 2), 18), (uniform(150, 1, 2), 1)] {
        for options in variants() {
            sound(&fit(&values, d, &options), &values, d);
        }
    }
}

#[test]
fn other_points_go_where_they_are() {
    let values = blobs(600, 2, 3, 21);
    let found = fit(&values, 2, &options(15, 5));
    assert_eq!(labels::count(&found.labels), 3);
    // A little beside a training row of high strength is its cluster; far outside is noise.
    for i in (0..600).filter(|&i| found.probabilities[i] > 0.5).step_by(17) {
        let beside = [values[2 * i] + 1e-6, values[2 * i + 1] - 1e-6, 1e4, -1e4];
        let predicted = found.predict(points(&beside, 2)).unwrap();
        assert_eq!(predicted.labels, [found.labels[i], NOISE]);
        assert!((predicted.probabilities[0] - found.probabilities[i]).abs() < 1e-4);
        assert!(predicted.outlier_scores[1] > 0.99);
    }
}

#[test]
fn threads_do_not_matter() {
    for (n, d) in [(5000, 3), (900, 20)] {
        let values = blobs(n, d, 6, 4);
        let run = || fit(&values, d, &options(20, 10));
        let one = on_threads(1, run);
        assert_eq!(one, on_threads(2, run));
        assert_eq!(on_threads(1, || one.predict(points(&values, d))), on_threads(2, || one.predict(points(&values, d))));
    }
}

#[test]
fn duplicates_and_few_points_are_fine() {
    let mut two_heaps = vec![0.0; 20];
    two_heaps.extend([9.0; 20]);
    let mut heap_and_rest = uniform(30, 2, 3);
    heap_and_rest.extend([0.5; 24]);
    let samples = [
        (vec![1.0], 1),
        (vec![1.0, 2.0], 2),
        (vec![1.0, 2.0], 1),
        (vec![3.0; 40], 2),
        (two_heaps, 2),
        (heap_and_rest, 2),
        (vec![7.0; 60], 20),
    ];
    for (values, d) in &samples {
        for options in variants() {
            sound(&fit(values, *d, &options), values, *d);
        }
    }
    // Fewer points than a cluster has: noise, even where one cluster is allowed.
    for allow_single_cluster in [false, true] {
        let few = fit(&uniform(4, 2, 1), 2, &HdbscanOptions { allow_single_cluster, ..options(5, 5) });
        assert_eq!(few.labels, [NOISE; 4]);
    }
    // Equal points are one cluster where that is allowed, else noise; two heaps are two, as persistent as can be.
    let same = |allow_single_cluster| fit(&[3.0; 20], 1, &HdbscanOptions { allow_single_cluster, ..options(5, 5) });
    assert_eq!((same(false).labels, same(true).labels), (vec![NOISE; 20], vec![0; 20]));
    assert_eq!(same(true).probabilities, [1.0; 20]);
    let two = fit(&samples[4].0, 2, &options(5, 5));
    assert_eq!(two.labels, [[0; 10], [1; 10]].concat());
    assert_eq!((two.persistences, two.probabilities), (vec![1.0; 2], vec![1.0; 20]));
}

#[test]
fn epsilon_and_single_clusters() {
    // Two tight pairs of groups: 0, 1 and 20, 21, and epsilon between 1 and 19 joins the pairs.
    let mut mix = crate::cluster::kd_tree::tests::Mix(3);
    let values: Vec<f64> = (0..200).map(|i| [0.0, 1.0, 20.0, 21.0][i % 4] + 0.1 * mix.next()).collect();
    let k = |options: &HdbscanOptions| labels::count(&fit(&values, 1, options).labels);
    let leaf = HdbscanOptions { selection: Selection::Leaf, ..options(30, 3) };
    assert_eq!(k(&leaf), 4);
    assert_eq!(k(&HdbscanOptions { epsilon: 3.0, ..leaf.clone() }), 2);
    // Above the split of the root: the last ones below it, or all where that is allowed.
    assert_eq!(k(&HdbscanOptions { epsilon: 30.0, ..leaf.clone() }), 2);
    let all = fit(&values, 1, &HdbscanOptions { epsilon: 30.0, allow_single_cluster: true, ..leaf });
    assert_eq!(all.labels, [0; 200]);
    // Clusters of 100 are too large for 60: their halves are taken.
    assert_eq!(k(&HdbscanOptions { max_cluster_size: Some(60), ..options(30, 3) }), 4);
}

#[test]
fn bad_settings_and_models_are_refused() {
    let values = uniform(20, 2, 1);
    let text = |options: HdbscanOptions| hdbscan(points(&values, 2), &options, &Silent).unwrap_err().to_string();
    assert_eq!(text(options(1, 1)), "min_cluster_size is 1; expected at least 2");
    assert_eq!(text(options(5, 0)), "min_samples is 0; expected at least 1");
    assert_eq!(text(HdbscanOptions { epsilon: -1.0, ..options(5, 5) }), "epsilon is -1; expected a distance, at least 0");
    assert_eq!(text(HdbscanOptions { epsilon: f64::NAN, ..options(5, 5) }), "epsilon is NaN; expected a distance, at least 0");
    assert_eq!(
        text(HdbscanOptions { max_cluster_size: Some(3), ..options(5, 5) }),
        "max_cluster_size is 3; expected at least min_cluster_size"
    );
    let leaf = HdbscanOptions { max_cluster_size: Some(9), selection: Selection::Leaf, ..options(5, 5) };
    assert!(text(leaf).contains("none with leaf selection"));
    let found = fit(&values, 2, &options(3, 2));
    let three = [0.0; 3];
    assert_eq!(found.predict(points(&three, 3)).unwrap_err().to_string(), "points with 3 columns; the model has 2");
    let mut saved = found.to_saved();
    saved.header = serde_json::json!({});
    assert!(Hdbscan::from_saved(&saved).unwrap_err().to_string().contains("its options"));
    let mut saved = found.to_saved();
    saved.arrays[2].values = crate::cluster::saved::Numbers::I32(vec![0; 38]);
    assert!(Hdbscan::from_saved(&saved).unwrap_err().to_string().contains("no tree of 20 points"));
    let mut saved = found.to_saved();
    saved.arrays.truncate(1);
    assert!(Hdbscan::from_saved(&saved).unwrap_err().to_string().contains("no array \"core_distances\""));
}

#[test]
fn instruction_sets_do_not_matter() {
    // One thread, as the choice is one of the thread.
    for (n, d) in [(700, 3), (300, 18)] {
        let values = blobs(n, d, 4, 6);
        let run = |isa| on_threads(1, || with_isa(isa, || fit(&values, d, &options(8, 4))));
        let found: Vec<Hdbscan> = available().into_iter().map(run).collect();
        assert!(found.iter().all(|f| *f == found[0]));
    }
}
