use proptest::prelude::*;
use rand::RngExt;

use super::*;
use crate::cluster::fixtures::{on_threads, standardise, table};
use crate::cluster::score::adjusted_rand;
use crate::cluster::{ClusterError, Points};
use crate::run::observer::{Observer, Silent};
use crate::run::seed::Streams;

fn tight(covariance: Covariance, k: usize) -> GmmOptions {
    GmmOptions { k, covariance, tolerance: 1e-12, max_iterations: 5000, ..GmmOptions::default() }
}

/// Blobs with unequal spreads along the columns; the label of row i is i % k.
fn blobs(n: usize, d: usize, k: usize, seed: u64) -> Vec<f64> {
    let mut rng = Streams::new(seed).stream("blobs", 0);
    let centres: Vec<f64> = (0..k * d).map(|_| rng.random_range(-8.0..8.0)).collect();
    let mut normal = || (0..12).map(|_| rng.random::<f64>()).sum::<f64>() - 6.0;
    (0..n * d).map(|e| centres[e / d % k * d + e % d] + (0.3 + (e % d) as f64 * 0.2) * normal()).collect()
}

#[test]
fn iris_has_the_numbers_of_scikit_learn() {
    let Some((x, truth, d)) = table("uci-small/iris.csv") else { return };
    let points = Points::new(&x, truth.len(), d).unwrap();
    // (type, k, log-likelihood, BIC, ARI); BIC where the specification has it. From a k-means start.
    let table: [(Covariance, usize, f64, Option<f64>, f64); 5] = [
        (Covariance::Full, 3, -180.185478, Some(580.83891), 0.9038742),
        (Covariance::Tied, 3, -256.354044, Some(632.96334), 0.9410123),
        (Covariance::Diag, 3, -307.177572, Some(744.63166), 0.7591987),
        (Covariance::Spherical, 3, -384.314095, Some(853.80899), 0.7302383),
        (Covariance::Full, 2, -214.354705, Some(574.01783), 0.5681159),
    ];
    for (covariance, k, log_likelihood, bic, ari) in table {
        let fit = gmm(points, &tight(covariance, k), &Silent).unwrap();
        // Six decimals are printed; EM at this tolerance is within 1e-7 of its limit.
        assert!((fit.log_likelihood - log_likelihood).abs() < 1e-6, "{covariance:?} {k}: {}", fit.log_likelihood);
        if let Some(bic) = bic {
            assert!((fit.bic - bic).abs() < 1e-5, "{covariance:?} {k}: {}", fit.bic);
        }
        let got = adjusted_rand(&truth, &fit.labels);
        assert!((got - ari).abs() < 5e-8, "{covariance:?} {k}: {got}");
        assert!(fit.converged && fit.warnings.is_empty(), "{:?}", fit.warnings);
        assert_eq!(fit.model.predict(points).unwrap(), fit.labels);
        assert_eq!(fit.model.predict_proba(points).unwrap(), fit.responsibilities);
    }
}

#[test]
fn more_starts_find_the_better_optimum_of_diagonal_iris() {
    let Some((x, truth, d)) = table("uci-small/iris.csv") else { return };
    let points = Points::new(&x, truth.len(), d).unwrap();
    let options = GmmOptions { restarts: 40, start: Start::Random, ..tight(Covariance::Diag, 3) };
    let fit = gmm(points, &options, &Silent).unwrap();
    // The specification has -306.860512, where scikit-learn stopped at its tolerance of 1e-6 a point; the limit is a little higher.
    assert!((fit.log_likelihood + 306.860461).abs() < 1e-6, "{}", fit.log_likelihood);
    assert!((adjusted_rand(&truth, &fit.labels) - 0.8342589).abs() < 5e-8);
}

#[test]
fn wine_full_from_kmeans_is_better_than_the_best_likelihood() {
    let Some((mut x, truth, d)) = table("uci-small/wine.csv") else { return };
    standardise(&mut x, d);
    let points = Points::new(&x, truth.len(), d).unwrap();
    let fit = gmm(points, &tight(Covariance::Full, 3), &Silent).unwrap();
    assert!((fit.log_likelihood + 2073.051599).abs() < 1e-6, "{}", fit.log_likelihood);
    assert!(fit.warnings.is_empty());
    assert!((adjusted_rand(&truth, &fit.labels) - 0.9458851).abs() < 5e-8);
    // The start of the spurious optimum of the specification: five rows that lie in a small simplex. Any 5 rows of 13 columns make a component
    // that a small ridge rewards without bound, and the result says so.
    let start: Vec<i32> = (0..truth.len()).map(|i| if i < 5 { 0 } else { 1 + fit.labels[i].min(1) }).collect();
    let few = gmm_from_labels(points, &start, &tight(Covariance::Full, 3), &Silent).unwrap();
    assert!(few.smallest < 14.0 && few.warnings.len() == 1, "{} {:?}", few.smallest, few.warnings);
}

#[test]
fn wine_tied_has_the_best_optimum_of_the_specification() {
    let Some((mut x, truth, d)) = table("uci-small/wine.csv") else { return };
    standardise(&mut x, d);
    let points = Points::new(&x, truth.len(), d).unwrap();
    let fit = gmm_from_labels(points, &truth, &tight(Covariance::Tied, 3), &Silent).unwrap();
    assert!((fit.log_likelihood + 2441.377771).abs() < 1e-6, "{}", fit.log_likelihood);
    assert!((adjusted_rand(&truth, &fit.labels) - 0.9832439).abs() < 5e-8);
}

/// The E and M steps as their formulas read, in plain loops.
#[allow(clippy::too_many_arguments)]
fn plain_em(
    x: &[f64],
    n: usize,
    d: usize,
    k: usize,
    covariance: Covariance,
    start: &[i32],
    steps: usize,
    reg: f64,
) -> (Vec<f64>, f64) {
    let mut r = vec![0.0; n * k];
    start.iter().enumerate().for_each(|(i, &c)| r[i * k + c as usize] = 1.0);
    let mut log_likelihood = f64::NAN;
    for _ in 0..=steps {
        let counts: Vec<f64> = (0..k).map(|c| (0..n).map(|i| r[i * k + c]).sum::<f64>() + 10.0 * f64::EPSILON).collect();
        let means: Vec<f64> =
            (0..k * d).map(|e| (0..n).map(|i| r[i * k + e / d] * x[i * d + e % d]).sum::<f64>() / counts[e / d]).collect();
        let mut matrices: Vec<faer::Mat<f64>> = (0..k)
            .map(|c| {
                faer::Mat::from_fn(d, d, |a, b| {
                    let z = |i: usize, j: usize| x[i * d + j] - means[c * d + j];
                    (0..n).map(|i| r[i * k + c] * z(i, a) * z(i, b)).sum::<f64>() / counts[c]
                })
            })
            .collect();
        match covariance {
            Covariance::Full => {}
            Covariance::Tied => {
                let all =
                    faer::Mat::from_fn(d, d, |a, b| (0..k).map(|c| counts[c] * matrices[c][(a, b)]).sum::<f64>() / n as f64);
                matrices = vec![all; k];
            }
            Covariance::Diag => {
                matrices =
                    matrices.iter().map(|m| faer::Mat::from_fn(d, d, |a, b| if a == b { m[(a, a)] } else { 0.0 })).collect()
            }
            Covariance::Spherical => {
                matrices = matrices
                    .iter()
                    .map(|m| {
                        let v = (0..d).map(|j| m[(j, j)]).sum::<f64>() / d as f64;
                        faer::Mat::from_fn(d, d, |a, b| if a == b { v } else { 0.0 })
                    })
                    .collect()
            }
        }
        matrices.iter_mut().for_each(|m| (0..d).for_each(|j| m[(j, j)] += reg));
        log_likelihood = 0.0;
        for i in 0..n {
            let logs: Vec<f64> = (0..k)
                .map(|c| {
                    let eigen = matrices[c].self_adjoint_eigen(faer::Side::Lower).unwrap();
                    let mut value = (counts[c] / n as f64).ln() - 0.5 * d as f64 * (2.0 * std::f64::consts::PI).ln();
                    for e in 0..d {
                        let l = eigen.S().column_vector()[e];
                        let dot: f64 = (0..d).map(|j| eigen.U()[(j, e)] * (x[i * d + j] - means[c * d + j])).sum();
                        value -= 0.5 * (l.ln() + dot * dot / l);
                    }
                    value
                })
                .collect();
            let most = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let total: f64 = logs.iter().map(|l| (l - most).exp()).sum();
            log_likelihood += most + total.ln();
            (0..k).for_each(|c| r[i * k + c] = (logs[c] - most).exp() / total);
        }
    }
    (r, log_likelihood)
}

#[test]
fn blocks_and_panels_equal_the_formulas() {
    // 19 columns: a whole panel and a part of one; 150 rows: blocks of 104 and a rest; 3 columns: less than a vector.
    for (n, d, k) in [(150, 19, 3), (131, 3, 4)] {
        let x = blobs(n, d, k, 5);
        let start: Vec<i32> = (0..n).map(|i| ((i + i / 7) % k) as i32).collect();
        for &covariance in Covariance::ALL {
            let options =
                GmmOptions { k, covariance, max_iterations: 3, tolerance: 0.0, reg_covar: 1e-3, ..GmmOptions::default() };
            let fit = gmm_from_labels(Points::new(&x, n, d).unwrap(), &start, &options, &Silent).unwrap();
            let (r, log_likelihood) = plain_em(&x, n, d, k, covariance, &start, 3, 1e-3);
            // Rounding grows through three steps by the conditions of the covariances (spread 1e1 over reg 1e-3): 1e4 eps n.
            let tolerance = 1e4 * f64::EPSILON * n as f64;
            assert!(
                (fit.log_likelihood - log_likelihood).abs() < tolerance * log_likelihood.abs().max(1.0),
                "{covariance:?} {d}"
            );
            let order: Vec<usize> = (0..k)
                .map(|c| {
                    let close = |o: &usize| (0..n).map(|i| (fit.responsibilities[i * k + c] - r[i * k + o]).abs()).sum::<f64>();
                    (0..k).min_by(|a, b| close(a).total_cmp(&close(b))).unwrap()
                })
                .collect();
            for i in 0..n {
                for c in 0..k {
                    let (got, want) = (fit.responsibilities[i * k + c], r[i * k + order[c]]);
                    assert!((got - want).abs() < tolerance * 10.0, "{covariance:?} {d}: {got} {want}");
                }
            }
        }
    }
}

#[test]
fn likelihood_never_falls_and_a_far_origin_changes_nothing() {
    let (n, d, k) = (400, 5, 3);
    let x = blobs(n, d, k, 1);
    let far: Vec<f64> = x.iter().map(|v| v + 1048576.0).collect();
    for &covariance in Covariance::ALL {
        let options = GmmOptions { k, covariance, reg_covar: 0.0, start: Start::Random, seed: 3, ..GmmOptions::default() };
        let fit = gmm(Points::new(&x, n, d).unwrap(), &options, &Silent).unwrap();
        for pair in fit.history.windows(2) {
            // EM never lowers the likelihood; rounding of a mean of n terms of size 10.
            assert!(pair[1] >= pair[0] - 1e3 * f64::EPSILON, "{covariance:?}: {pair:?}");
        }
        let moved = gmm(Points::new(&far, n, d).unwrap(), &options, &Silent).unwrap();
        assert_eq!(fit.labels, moved.labels, "{covariance:?}");
        // Coordinates at 2^20 keep 2^-33 of a unit; per point, times a slope of the log-density below 1e2.
        assert!((fit.log_likelihood - moved.log_likelihood).abs() < n as f64 * 1e2 * 2f64.powi(-33), "{covariance:?}");
    }
}

#[test]
fn threads_do_not_change_a_byte() {
    let (n, d, k) = (3000, 7, 4);
    let x = blobs(n, d, k, 2);
    for &covariance in Covariance::ALL {
        let options = GmmOptions { k, covariance, restarts: 2, ..GmmOptions::default() };
        let fit = |threads| on_threads(threads, || gmm(Points::new(&x, n, d).unwrap(), &options, &Silent).unwrap());
        assert_eq!(fit(1), fit(2));
    }
}

#[test]
fn permuting_rows_permutes_labels() {
    let (n, d, k) = (300, 4, 3);
    let x = blobs(n, d, k, 7);
    let start: Vec<i32> = (0..n).map(|i| (i % k) as i32).collect();
    let order: Vec<usize> = (0..n).map(|i| i * 7 % n).collect();
    let y: Vec<f64> = order.iter().flat_map(|&i| x[i * d..(i + 1) * d].to_vec()).collect();
    let moved: Vec<i32> = order.iter().map(|&i| start[i]).collect();
    for &covariance in Covariance::ALL {
        let options = GmmOptions { k, covariance, ..GmmOptions::default() };
        let a = gmm_from_labels(Points::new(&x, n, d).unwrap(), &start, &options, &Silent).unwrap();
        let b = gmm_from_labels(Points::new(&y, n, d).unwrap(), &moved, &options, &Silent).unwrap();
        let mut want: Vec<i32> = order.iter().map(|&i| a.labels[i]).collect();
        crate::cluster::labels::canonical(&mut want);
        assert_eq!(b.labels, want);
    }
}

#[test]
fn a_kept_model_says_the_same_to_the_bit() {
    let (n, d, k) = (200, 3, 3);
    let x = blobs(n, d, k, 4);
    let points = Points::new(&x, n, d).unwrap();
    for &covariance in Covariance::ALL {
        let fit = gmm(points, &GmmOptions { k, covariance, ..GmmOptions::default() }, &Silent).unwrap();
        let saved = fit.model.to_saved();
        let again = GmmModel::from_saved(&saved).unwrap();
        assert_eq!(again, fit.model);
        assert_eq!(again.assign(points).unwrap().responsibilities, fit.responsibilities);
        let mut other = saved.clone();
        other.method = "kmeans".into();
        assert!(matches!(GmmModel::from_saved(&other), Err(ClusterError::Model { .. })));
        for missing in 0..3 {
            let mut less = saved.clone();
            less.arrays.remove(missing);
            assert!(matches!(GmmModel::from_saved(&less), Err(ClusterError::Model { .. })));
            let mut short = saved.clone();
            short.arrays[missing].shape[0] += 1;
            assert!(matches!(GmmModel::from_saved(&short), Err(ClusterError::Model { .. })));
        }
        let mut bad = saved.clone();
        bad.header["covariance"] = "round".into();
        assert!(GmmModel::from_saved(&bad).is_err());
    }
}

#[test]
fn odd_points_are_answered_or_refused() {
    let fit = |x: &[f64], n, d, options: &GmmOptions| gmm(Points::new(x, n, d).unwrap(), options, &Silent);
    for &covariance in Covariance::ALL {
        let options = GmmOptions { k: 1, covariance, ..GmmOptions::default() };
        // One point; equal points; a constant column.
        let one = fit(&[1.0, 2.0], 1, 2, &options).unwrap();
        assert_eq!((one.labels.as_slice(), one.warnings.len()), (&[0][..], 1));
        assert!(fit(&[3.0; 20], 10, 2, &options).unwrap().log_likelihood.is_finite());
        let constant: Vec<f64> = (0..40).map(|e| if e % 2 == 0 { 5.0 } else { (e * e % 17) as f64 }).collect();
        assert!(fit(&constant, 20, 2, &GmmOptions { k: 2, ..options.clone() }).is_ok());
        // Without a ridge these are singular.
        assert!(matches!(
            fit(&[3.0; 20], 10, 2, &GmmOptions { reg_covar: 0.0, ..options.clone() }),
            Err(ClusterError::Numbers(_))
        ));
        // As many components as points.
        let each = fit(&[0.0, 5.0, 11.0], 3, 1, &GmmOptions { k: 3, ..options.clone() }).unwrap();
        assert_eq!(each.labels, [0, 1, 2]);
        assert!(each.smallest < 1.5 && !each.warnings.is_empty());
        // Squares beyond the range of numbers.
        let huge = [1e200, -1e200, 3e200, 1.0];
        assert!(matches!(fit(&huge, 4, 1, &options), Err(ClusterError::Numbers(_))), "{covariance:?}");
        // A point beyond the range at prediction, and another number of columns.
        let model = fit(&[0.0, 1.0, 2.0, 5.0], 4, 1, &options).unwrap().model;
        assert!(matches!(model.predict(Points::new(&[1e300], 1, 1).unwrap()), Err(ClusterError::Numbers(_))));
        assert!(matches!(model.predict(Points::new(&[1.0, 1.0], 1, 2).unwrap()), Err(ClusterError::Data(_))));
    }
    let good = GmmOptions::default();
    let x = [0.0, 1.0, 2.0];
    for bad in [
        GmmOptions { k: 0, ..good.clone() },
        GmmOptions { k: 4, ..good.clone() },
        GmmOptions { restarts: 0, ..good.clone() },
        GmmOptions { kmeans_restarts: 0, ..good.clone() },
        GmmOptions { max_iterations: 0, ..good.clone() },
        GmmOptions { tolerance: -1.0, ..good.clone() },
        GmmOptions { reg_covar: f64::NAN, ..good.clone() },
    ] {
        assert!(fit(&x, 3, 1, &bad).is_err(), "{bad:?}");
    }
    let points = Points::new(&x, 3, 1).unwrap();
    for bad in [&[0, 1][..], &[0, 1, 2], &[0, -1, 1], &[0, 0, 0]] {
        assert!(matches!(gmm_from_labels(points, bad, &good, &Silent), Err(ClusterError::Data(_))), "{bad:?}");
    }
}

#[test]
fn an_observer_can_stop_it() {
    struct Stop;
    impl Observer for Stop {
        fn cancelled(&self) -> bool {
            true
        }
    }
    let x = blobs(50, 2, 2, 0);
    assert_eq!(gmm(Points::new(&x, 50, 2).unwrap(), &GmmOptions::default(), &Stop), Err(ClusterError::Cancelled));
}

#[test]
fn tied_ties_are_canonical() {
    // Two components that start with equal clusters tie in every point: all go to the first.
    let x = [0.0, 0.0, 1.0, 1.0, 2.0, 2.0];
    let fit = gmm_from_labels(Points::new(&x, 6, 1).unwrap(), &[1, 0, 1, 0, 1, 0], &GmmOptions::default(), &Silent).unwrap();
    assert_eq!(fit.labels, [0; 6]);
    assert_eq!(fit.model.predict(Points::new(&x, 6, 1).unwrap()).unwrap(), [0; 6]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn rows_of_responsibilities_sum_to_one_and_labels_are_canonical(seed in 0u64..1000, n in 6usize..60, d in 1usize..6, k in 1usize..5, c in 0usize..4) {
        let x = blobs(n, d, k, seed);
        let options = GmmOptions { k, covariance: Covariance::ALL[c], start: Start::Random, seed, max_iterations: 30, ..GmmOptions::default() };
        let points = Points::new(&x, n, d).unwrap();
        let fit = gmm(points, &options, &Silent).unwrap();
        for row in fit.responsibilities.chunks_exact(k) {
            // k roundings of numbers that sum to 1.
            prop_assert!((row.iter().sum::<f64>() - 1.0).abs() <= 4.0 * k as f64 * f64::EPSILON);
        }
        let mut canonical = fit.labels.clone();
        crate::cluster::labels::canonical(&mut canonical);
        prop_assert_eq!(&canonical, &fit.labels);
        prop_assert_eq!(fit.model.predict(points).unwrap(), fit.labels);
        prop_assert!((fit.model.weights().iter().sum::<f64>() - 1.0).abs() < 1e-12);
    }
}
