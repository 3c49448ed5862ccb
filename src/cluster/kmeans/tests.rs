//! Worked numbers, equal algorithms, bad input.

use super::*;
use crate::cluster::score::adjusted_rand;
use crate::kernels::simd::Real;
use crate::run::observer::Silent;
use crate::run::seed::Streams;
use crate::testing::shared;
use proptest::prelude::*;
use rand::RngExt;

/// Columns of a table of the specification, and its last column as labels.
fn table(name: &str) -> Option<(Vec<f64>, Vec<i32>, usize)> {
    let text = std::fs::read_to_string(shared(&format!("uci-small/{name}.csv"))?).ok()?;
    let (mut values, mut truth, mut names) = (Vec::new(), Vec::new(), Vec::new());
    for line in text.lines().skip(1) {
        let (row, label) = line.rsplit_once(',')?;
        values.extend(row.split(',').map(|x| x.parse::<f64>().unwrap()));
        let at = names.iter().position(|n| n == label).unwrap_or_else(|| {
            names.push(label.to_string());
            names.len() - 1
        });
        truth.push(at as i32);
    }
    let d = values.len() / truth.len();
    Some((values, truth, d))
}

/// Columns with mean 0 and population variance 1.
fn zscore(values: &[f64], d: usize) -> Vec<f64> {
    let n = (values.len() / d) as f64;
    let mut out = values.to_vec();
    for j in 0..d {
        let mean = values.iter().skip(j).step_by(d).sum::<f64>() / n;
        let deviation = (values.iter().skip(j).step_by(d).map(|x| (x - mean).powi(2)).sum::<f64>() / n).sqrt();
        out.iter_mut().skip(j).step_by(d).for_each(|x| *x = (*x - mean) / deviation);
    }
    out
}

fn options(k: usize) -> KmeansOptions {
    KmeansOptions { k, ..Default::default() }
}

fn fit<T: Real>(values: &[T], d: usize, options: &KmeansOptions) -> Kmeans {
    kmeans(Points::new(values, values.len() / d, d).unwrap(), options, &Silent).unwrap()
}

/// Clouds in d dimensions.
fn clouds(n: usize, d: usize, clouds: usize, width: f64, seed: u64) -> Vec<f64> {
    let mut rng = Streams::new(seed).stream("clouds", 0);
    let centres: Vec<f64> = (0..clouds * d).map(|_| rng.random::<f64>() * 10.0).collect();
    let row = |i: usize| (0..d).map(|j| centres[i % clouds * d + j] + width * (rng.random::<f64>() - 0.5)).collect::<Vec<_>>();
    (0..n).flat_map(row).collect()
}

#[test]
fn inertias_of_the_specification() {
    let close = |found: f64, expected: f64, what: &str| {
        // The specification has nine digits.
        assert!((found / expected - 1.0).abs() < 1e-8, "{what}: {found}, not {expected}");
    };
    let Some((iris, truth, d)) = table("iris") else { return };
    for (k, inertia, ari) in
        [(2, 152.347952, 0.5399218), (3, 78.8514414, 0.7302383), (4, 57.2284732, 0.6498177), (5, 46.4461821, 0.6078965)]
    {
        let found = fit(&iris, d, &KmeansOptions { restarts: 30, ..options(k) });
        close(found.inertia, inertia, &format!("iris, k = {k}"));
        assert!((adjusted_rand(&truth, &found.labels) - ari).abs() < 5e-8, "iris, k = {k}");
    }
    let found = fit(&zscore(&iris, d), d, &KmeansOptions { restarts: 30, ..options(3) });
    close(found.inertia, 139.820496, "iris_z");
    assert!((adjusted_rand(&truth, &found.labels) - 0.6201352).abs() < 5e-8);
    let Some((wine, truth, d)) = table("wine") else { return };
    let found = fit(&zscore(&wine, d), d, &KmeansOptions { restarts: 30, ..options(3) });
    close(found.inertia, 1277.92849, "wine_z");
    assert!((adjusted_rand(&truth, &found.labels) - 0.8974950).abs() < 5e-8);
}

#[test]
fn algorithms_and_threads_give_the_same_bytes() {
    fn check<T: Real>(values: &[f64], d: usize, k: usize) {
        let values: Vec<T> = values.iter().map(|&x| T::from_f64(x)).collect();
        let run = |algorithm, threads, tolerance| {
            let settings = KmeansOptions { algorithm, tolerance, restarts: 2, max_iterations: 60, ..options(k) };
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let mut found = pool.install(|| fit(&values, d, &settings));
            found.algorithm = Algorithm::Auto;
            found
        };
        for tolerance in [0.0, 1e-3] {
            let expected = run(Algorithm::Lloyd, 1, tolerance);
            for &algorithm in Algorithm::ALL {
                for threads in [1, 2] {
                    assert_eq!(run(algorithm, threads, tolerance), expected, "{algorithm:?}, {threads} threads, k = {k}");
                }
            }
        }
    }
    let noise = clouds(4000, 3, 4000, 0.0, 1);
    // Points of a coarse grid: ties everywhere.
    let grid: Vec<f64> = noise.iter().map(|x| x.round()).collect();
    for k in [2, 13, 60] {
        check::<f64>(&noise, 3, k);
        check::<f32>(&noise, 3, k);
        check::<f64>(&grid, 3, k);
        check::<f32>(&grid, 3, k);
    }
    check::<f64>(&clouds(3000, 20, 12, 4.0, 2), 20, 15);
    // A cloud far from the origin, whose spread is near the rounding of f32.
    let far: Vec<f64> =
        clouds(1000, 2, 5, 2.0, 3).iter().enumerate().map(|(i, x)| if i == 0 { -3000.0 } else { 1e-3 * x }).collect();
    check::<f64>(&far, 2, 6);
    check::<f32>(&far, 2, 6);
    if let Some((digits, _, d)) = table("digits") {
        check::<f64>(&digits[..600 * d], d, 10);
        check::<f32>(&digits[..600 * d], d, 10);
    }
}

#[test]
fn a_given_start_is_iterated_as_written() {
    // From 0 and 1 of the points 0, 1, 2, 10: {0} {1, 2, 10} -> 0, 13/3 -> {0, 1, 2} {10} -> 1, 10 -> no change.
    let values = [0.0, 1.0, 2.0, 10.0];
    let found = fit(&values, 1, &KmeansOptions { start: Start::Given(vec![0.0, 1.0]), ..options(2) });
    assert_eq!((found.labels, found.sizes, found.iterations, found.converged), (vec![0, 0, 0, 1], vec![3, 1], 3, true));
    assert!((found.inertia - 2.0).abs() <= 1e-14 && (found.centroids[0] - 1.0).abs() <= 1e-15 && found.centroids[1] == 10.0);
    assert_eq!(found.restarts.len(), 1);
    // One iteration is not enough to converge.
    let settings = KmeansOptions { start: Start::Given(vec![0.0, 1.0]), max_iterations: 1, ..options(2) };
    let found = fit(&values, 1, &settings);
    assert_eq!((found.iterations, found.converged, &found.labels[..]), (1, false, &[0, 0, 0, 1][..]));
}

#[test]
fn empty_clusters_get_the_farthest_points() {
    let values = [0.0, 1.0, 2.0, 50.0, 52.0, 100.0];
    for algorithm in [Algorithm::Lloyd, Algorithm::Hamerly, Algorithm::Elkan] {
        // Two starts that no point is nearest to, one of them infinitely far in f32: they get 100 and then 52.
        let start = Start::Given(vec![1.0, -1e300, -500.0]);
        let found = fit(&values, 1, &KmeansOptions { start, algorithm, ..options(3) });
        assert_eq!(found.labels, [0, 0, 0, 1, 1, 2], "{algorithm:?}");
        let single: Vec<f32> = values.iter().map(|&x| x as f32).collect();
        let start = Start::Given(vec![1.0, -1e300, -500.0]);
        let found = fit(&single, 1, &KmeansOptions { start, algorithm, ..options(3) });
        assert_eq!(found.labels, [0, 0, 0, 1, 1, 2], "{algorithm:?} in f32");
    }
    // Equal starts.
    let found = fit(&values, 1, &KmeansOptions { start: Start::Given(vec![1.0; 6]), ..options(6) });
    assert_eq!((found.labels, found.inertia), (vec![0, 1, 2, 3, 4, 5], 0.0));
}

#[test]
fn restarts_are_reported_and_the_best_is_kept() {
    let values = clouds(900, 2, 9, 1.0, 4);
    for start in [Start::PlusPlus, Start::Random] {
        let found = fit(&values, 2, &KmeansOptions { start, restarts: 7, ..options(9) });
        assert_eq!(found.restarts.len(), 7);
        let least = found.restarts.iter().map(|r| r.inertia).fold(f64::INFINITY, f64::min);
        assert_eq!((found.inertia, found.restarts[found.best].inertia), (least, least));
        assert_eq!(found.iterations, found.restarts[found.best].iterations);
        assert!(found.restarts[..found.best].iter().all(|r| r.inertia > least));
        assert_eq!(found.sizes.iter().sum::<usize>(), 900);
    }
    // Another seed draws other starts.
    let a = fit(&values, 2, &KmeansOptions { restarts: 1, ..options(20) });
    let b = fit(&values, 2, &KmeansOptions { restarts: 1, seed: 1, ..options(20) });
    assert!(a.labels != b.labels);
}

#[test]
fn the_same_after_shifting_scaling_and_permuting() {
    let values = clouds(500, 3, 6, 1.0, 5);
    let start: Vec<f64> = values[..18].to_vec();
    let given = |start: Vec<f64>| KmeansOptions { start: Start::Given(start), ..options(6) };
    let found = fit(&values, 3, &given(start.clone()));
    let affine = |x: &[f64]| x.iter().map(|x| 4.0 * x + 1024.0).collect::<Vec<f64>>();
    let moved = fit(&affine(&values), 3, &given(affine(&start)));
    assert_eq!(moved.labels, found.labels);
    // The shift rounds every coordinate (1024 has 2^-42 for a last place); sums of squares are wrong by 2·|x|·that at most.
    assert!((moved.inertia / 16.0 / found.inertia - 1.0).abs() < 1e-10);
    let turned: Vec<f64> = values.chunks(3).rev().flatten().copied().collect();
    let back = fit(&turned, 3, &given(start));
    let mut labels: Vec<i32> = back.labels.iter().rev().copied().collect();
    crate::cluster::labels::canonical(&mut labels);
    assert_eq!(labels, found.labels);
}

#[test]
fn predictions_are_the_labels_of_the_fit_also_from_a_kept_model() {
    for (n, d, k) in [(700, 2, 30), (300, 9, 5), (50, 1, 50)] {
        let values = clouds(n, d, n, 0.0, 6);
        for tolerance in [0.0, 0.1] {
            for polish in [false, true] {
                let settings = KmeansOptions { restarts: 2, tolerance, max_iterations: 3, polish, ..options(k) };
                let found = fit(&values, d, &settings);
                let points = Points::new(&values, n, d).unwrap();
                assert_eq!(found.predict(points).unwrap(), found.labels);
                let kept = Kmeans::from_saved(&found.to_saved()).unwrap();
                assert_eq!(kept.predict(points).unwrap(), found.labels);
                assert_eq!(kept, Kmeans { labels: Vec::new(), ..found.clone() });
                let single: Vec<f32> = values.iter().map(|&x| x as f32).collect();
                let points = Points::new(&single, n, d).unwrap();
                let found = fit(&single, d, &settings);
                assert_eq!(found.predict(points).unwrap(), found.labels);
                // The same numbers as f64 give the same labels.
                let wide: Vec<f64> = single.iter().map(|&x| x as f64).collect();
                assert_eq!(found.predict(Points::new(&wide, n, d).unwrap()).unwrap(), found.labels);
            }
        }
    }
}

#[test]
fn a_model_that_does_not_fit_is_refused() {
    let found = fit(&[0.0, 1.0, 5.0], 1, &options(2));
    let text = found.predict(Points::new(&[1.0, 2.0], 1, 2).unwrap()).unwrap_err().to_string();
    assert!(text.contains("2 columns") && text.contains("has 1"), "{text}");
    let refused = |change: fn(&mut crate::cluster::saved::Saved)| {
        let mut saved = found.to_saved();
        change(&mut saved);
        Kmeans::from_saved(&saved).unwrap_err().to_string()
    };
    assert!(refused(|s| s.method = "gmm".into()).contains("gmm"));
    assert!(refused(|s| s.arrays.retain(|a| a.name != "frame_centre")).contains("frame_centre"));
    assert!(refused(|s| s.header["precision"] = "f16".into()).contains("f16"));
    assert!(refused(|s| s.header["exponent"] = 5000.into()).contains("5000"));
    assert!(refused(|s| s.header["sizes"] = serde_json::json!([1])).contains("1 sizes"));
}

#[test]
fn moves_of_single_points_leave_fixed_points_of_lloyd() {
    let Some((iris, _, d)) = table("iris") else { return };
    let n = iris.len() / d;
    let points = Points::new(&iris, n, d).unwrap();
    // Of the fixed points of Lloyd's iteration from many starts, moves make only better ones, all of them fixed points again.
    let mut improved = 0;
    for seed in 0..20 {
        let plain = fit(&iris, d, &KmeansOptions { seed, restarts: 1, tolerance: 0.0, start: Start::Random, ..options(3) });
        let (labels, inertia, moves) = hartigan(points, &plain.labels, 3).unwrap();
        assert!(if moves > 0 { inertia < plain.inertia } else { labels == plain.labels });
        improved += (moves > 0) as usize;
        let settings = KmeansOptions { seed, restarts: 1, polish: true, start: Start::Random, ..options(3) };
        let polished = fit(&iris, d, &settings);
        let report = polished.polished.unwrap();
        assert!(report.after <= report.before && report.after == polished.inertia && polished.converged);
        assert_eq!(hartigan(points, &polished.labels, 3).unwrap().2, 0);
    }
    assert!(improved > 0);
    // The specification: 78.85566583 is a fixed point of Lloyd (here from the first three rows), from which single moves reach 78.8514414.
    let given = KmeansOptions { start: Start::Given(iris[..3 * d].to_vec()), ..options(3) };
    let plain = fit(&iris, d, &given);
    assert!((plain.inertia - 78.85566583).abs() < 5e-9);
    assert!((hartigan(points, &plain.labels, 3).unwrap().1 - 78.8514414).abs() < 5e-8);
    let report = fit(&iris, d, &KmeansOptions { polish: true, ..given }).polished.unwrap();
    assert!(report.before == plain.inertia && (report.after - 78.8514414).abs() < 5e-8 && report.moves > 0, "{report:?}");
}

#[test]
fn inertias_and_iterations_of_scikit_learn_from_equal_starts() {
    // KMeans of scikit-learn 1.9.1, init = the first k rows, n_init 1, tol 0 and 1e-4 alike, lloyd and elkan alike; one Python process.
    for (name, k, inertia, iterations) in
        [("digits", 10, 1167859.3840065985, 14), ("iris", 3, 78.85566582597727, 12), ("wine", 3, 2633555.332409339, 13)]
    {
        let Some((values, _, d)) = table(name) else { return };
        for &algorithm in Algorithm::ALL {
            for tolerance in [0.0, 1e-4] {
                let start = Start::Given(values[..k * d].to_vec());
                let found = fit(&values, d, &KmeansOptions { start, algorithm, tolerance, ..options(k) });
                // Sums of 1797·64 squares at most, by two programs: n·d·ε would be 3e-11.
                assert!((found.inertia / inertia - 1.0).abs() < 3e-11, "{name}: {}", found.inertia);
                assert_eq!(found.iterations, iterations, "{name}");
            }
        }
    }
}

#[test]
fn hartigan_by_hand() {
    // {0, 1, 2 | 2.9, 4}: moving 2 changes the inertia by −3/2·1² + 2/3·1.45² < 0; then moving 1 by −2·.25 + 3/4·(2.9667 − 1)² > 0.
    let values = [0.0, 1.0, 2.0, 2.9, 4.0];
    let points = Points::new(&values, 5, 1).unwrap();
    let (labels, inertia, moves) = hartigan(points, &[1, 1, 1, 0, 0], 2).unwrap();
    assert_eq!((labels, moves), (vec![1, 1, 0, 0, 0], 1));
    // {0, 1}: 1/2; {2, 2.9, 4} with the mean 8.9/3: 4 + 8.41 + 16 − 8.9²/3.
    assert!((inertia - (0.5 + 28.41 - 8.9 * 8.9 / 3.0)).abs() < 1e-13);
    // An empty cluster is filled.
    let (labels, inertia, moves) = hartigan(points, &[0; 5], 5).unwrap();
    assert!(moves >= 4 && inertia < 1e-30);
    let mut sorted = labels;
    sorted.sort();
    assert_eq!(sorted, [0, 1, 2, 3, 4]);
    assert!(matches!(hartigan(points, &[0, 0, 2, 0, 0], 2), Err(ClusterError::Data(text)) if text.contains("point 2")));
    assert!(matches!(hartigan(points, &[0; 5], 6), Err(ClusterError::Clusters { k: 6, n: 5, .. })));
    // All points equal: nothing gains.
    let same = [3.0; 4];
    assert_eq!(hartigan(Points::new(&same, 4, 1).unwrap(), &[0, 1, 0, 1], 2).unwrap(), (vec![0, 1, 0, 1], 0.0, 0));
}

#[test]
fn bad_input_is_refused_in_words() {
    let values = [0.0, 0.0, 1.0, -0.0];
    let points = Points::new(&values, 4, 1).unwrap();
    let fails = |options: KmeansOptions| kmeans(points, &options, &Silent).unwrap_err();
    assert_eq!(fails(options(0)), ClusterError::Clusters { k: 0, n: 4, things: "points" });
    assert_eq!(fails(options(5)), ClusterError::Clusters { k: 5, n: 4, things: "points" });
    assert_eq!(fails(options(3)), ClusterError::Distinct { k: 3, distinct: 2 });
    let named =
        |options, name: &str| assert!(matches!(fails(options), ClusterError::Setting { what, .. } if what == name), "{name}");
    named(KmeansOptions { restarts: 0, ..options(2) }, "restarts");
    named(KmeansOptions { max_iterations: 0, ..options(2) }, "max_iterations");
    named(KmeansOptions { tolerance: -1.0, ..options(2) }, "tolerance");
    named(KmeansOptions { tolerance: f64::NAN, ..options(2) }, "tolerance");
    named(KmeansOptions { start: Start::Given(vec![1.0]), ..options(2) }, "the number of starting coordinates");
    named(KmeansOptions { start: Start::Given(vec![1.0, f64::NAN]), ..options(2) }, "a starting coordinate");
    struct Stop;
    impl Observer for Stop {
        fn cancelled(&self) -> bool {
            true
        }
    }
    assert_eq!(kmeans(points, &options(2), &Stop).unwrap_err(), ClusterError::Cancelled);
}

#[test]
fn odd_points() {
    // One point; all equal; as many clusters as points; sizes at the ends of the range of f64.
    assert_eq!(fit(&[7.0, 8.0], 2, &options(1)).inertia, 0.0);
    let found = fit(&[0.1; 30], 3, &options(1));
    assert_eq!((found.inertia, found.labels.len(), found.centroids), (0.0, 10, vec![0.1; 3]));
    let found = fit(&[3.0, 1.0, 2.0], 1, &options(3));
    assert_eq!((found.labels, found.inertia), (vec![0, 1, 2], 0.0));
    for size in [5e-324, 1e-300, 1e150] {
        let found = fit(&[0.0, size, 100.0 * size, 101.0 * size], 1, &options(2));
        assert_eq!(found.labels, [0, 0, 1, 1], "{size}");
        assert!(found.inertia.is_finite() && found.centroids.iter().all(|c| c.is_finite()));
    }
    let huge = [1e300, -1e300, 1.1e300];
    assert!(matches!(kmeans(Points::new(&huge, 3, 1).unwrap(), &options(2), &Silent), Err(ClusterError::Numbers(_))));
    // Four different points, two of which no square can tell apart.
    let close = [0.0, 1e-200, 1.0, -1.0];
    let found = kmeans(Points::new(&close, 4, 1).unwrap(), &options(4), &Silent);
    assert!(matches!(found, Err(ClusterError::Distinct { k: 4, distinct: 3 })), "{found:?}");
}

#[test]
fn names_and_settings_are_kept() {
    for &algorithm in Algorithm::ALL {
        assert_eq!(serde_json::to_value(algorithm).unwrap(), algorithm.name());
    }
    for start in Start::ALL {
        assert_eq!(serde_json::to_value(start).unwrap(), start.name());
    }
    let settings = KmeansOptions { start: Start::Given(vec![0.5]), polish: true, ..options(1) };
    let text = serde_json::to_string(&settings).unwrap();
    assert_eq!(serde_json::from_str::<KmeansOptions>(&text).unwrap(), settings);
    assert_eq!(serde_json::from_str::<KmeansOptions>("{}").unwrap(), KmeansOptions::default());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    /// Whatever the points: equal algorithms, labels nearest, canonical and of every cluster, centroids the means of their points.
    #[test]
    fn partitions_are_consistent(
        cells in prop::collection::vec(-6i32..6, 8..160),
        d in 1usize..4,
        k in 1usize..7,
        seed in 0u64..1000,
    ) {
        let n = cells.len() / d;
        let values: Vec<f64> = cells[..n * d].iter().map(|&c| c as f64 * 0.37).collect();
        let points = Points::new(&values, n, d).unwrap();
        let run = |algorithm| kmeans(points, &KmeansOptions { seed, algorithm, restarts: 2, tolerance: 0.0, ..options(k) }, &Silent);
        match run(Algorithm::Lloyd) {
            Err(ClusterError::Distinct { distinct, .. }) => {
                let rows: std::collections::HashSet<&[i32]> = cells[..n * d].chunks(d).collect();
                prop_assert!(distinct < k && distinct == rows.len());
            }
            Err(e) => prop_assert!(k > n, "{}", e),
            Ok(found) => {
                for algorithm in [Algorithm::Hamerly, Algorithm::Elkan] {
                    let other = run(algorithm).unwrap();
                    prop_assert_eq!((&other.labels, other.inertia, other.iterations), (&found.labels, found.inertia, found.iterations));
                }
                prop_assert_eq!(&found.predict(points).unwrap(), &found.labels);
                prop_assert!(found.sizes.iter().all(|&s| s > 0));
                let mut canonical = found.labels.clone();
                crate::cluster::labels::canonical(&mut canonical);
                prop_assert_eq!(&canonical, &found.labels);
                if found.converged {
                    for c in 0..k {
                        for j in 0..d {
                            let members = (0..n).filter(|&i| found.labels[i] == c as i32).map(|i| values[i * d + j]);
                            let mean = members.sum::<f64>() / found.sizes[c] as f64;
                            // Sums of up to n numbers below 3, twice.
                            prop_assert!((mean - found.centroids[c * d + j]).abs() <= 4.0 * n as f64 * f64::EPSILON * 3.0);
                        }
                    }
                }
            }
        }
    }
}
