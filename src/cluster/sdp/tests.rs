use rand::RngExt;
use rand_distr::{Distribution, StandardNormal};

use super::*;
use crate::run::observer::{Observer, Silent};

pub(in crate::cluster) const TWELVE: [f64; 24] =
    [0.0, 0.0, 1.0, 0.0, 0.0, 1.0, 1.0, 1.0, 4.0, 0.0, 5.0, 0.0, 4.0, 1.0, 2.2, 3.0, 3.0, 3.4, 2.6, 4.2, 2.5, 1.5, 3.4, 1.9];
/// k, SDP optimum (Clarabel, ten digits), k-means optimum.
const OPTIMA: [(usize, f64, f64); 3] = [(2, 24.451974456, 25.23375), (3, 8.893359766, 9.065333333), (4, 4.884938557, 4.885)];

/// Numbers, columns and labels (the last column) of a file with a header.
pub(in crate::cluster) fn table(name: &str) -> Option<(Vec<f64>, usize, Vec<i32>)> {
    let text = std::fs::read_to_string(crate::testing::shared(name)?).expect("a readable file");
    let rows: Vec<Vec<f64>> =
        text.lines().skip(1).map(|l| l.split(',').map(|v| v.parse().expect("a number")).collect()).collect();
    let d = rows[0].len() - 1;
    Some((rows.iter().flat_map(|r| r[..d].to_vec()).collect(), d, rows.iter().map(|r| r[d] as i32).collect()))
}

/// Columns to mean 0 and population standard deviation 1.
fn standardised(x: &[f64], d: usize) -> Vec<f64> {
    let n = (x.len() / d) as f64;
    let mean: Vec<f64> = (0..d).map(|j| x.iter().skip(j).step_by(d).sum::<f64>() / n).collect();
    let deviation: Vec<f64> =
        (0..d).map(|j| (x.iter().skip(j).step_by(d).map(|v| (v - mean[j]).powi(2)).sum::<f64>() / n).sqrt()).collect();
    x.iter().enumerate().map(|(e, v)| (v - mean[e % d]) / deviation[e % d]).collect()
}

/// `per` points of unit variance around each of k corners `apart` from one another, in turn.
pub(in crate::cluster) fn blobs(per: usize, k: usize, d: usize, apart: f64, seed: u64) -> Vec<f64> {
    let mut rng = Streams::new(seed).stream("blobs", 0);
    let mut normal = || -> f64 { StandardNormal.sample(&mut rng) };
    (0..per * k * d).map(|e| normal() + if e % d == e / d % k % d { apart * (1 + e / d % k / d) as f64 } else { 0.0 }).collect()
}

fn with(k: usize, solver: Solver) -> SdpOptions {
    SdpOptions { k, solver, ..SdpOptions::default() }
}

fn admm(k: usize, tolerance: f64) -> SdpOptions {
    SdpOptions { tolerance: Some(tolerance), ..with(k, Solver::Admm) }
}

/// What a residual `tolerance` may do to ⟨D, Z⟩: the multipliers of the scaled programme have norms up to about ten, the copies of Z differ by
/// (1 + ‖Z‖) times the residual, and the scale is ‖D‖_F.
fn slack(rows: &[f64], d: usize, k: usize, tolerance: f64) -> f64 {
    let size = half_distances(rows, rows.len() / d, d).iter().map(|v| v * v).sum::<f64>().sqrt();
    10.0 * size * (1.0 + (k as f64).sqrt()) * tolerance
}

fn close(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(x, y)| (x - y).abs()).fold(0.0, f64::max)
}

#[test]
fn twelve_points_have_the_optima_of_the_specification() {
    let points = Points::new(&TWELVE, 12, 2).unwrap();
    for (k, optimum, inertia) in OPTIMA {
        let found = sdp(points, &SdpOptions { membership: true, ..admm(k, 1e-9) }, &Silent).unwrap();
        let slack = slack(&TWELVE, 2, k, 1e-9);
        let (relaxed, bound) = (found.relaxed.unwrap(), found.bound.unwrap());
        assert!(found.converged && found.solved == Solved::Admm);
        // The reference has ten digits.
        assert!((relaxed - optimum).abs() < slack, "{k}: {relaxed}, slack {slack:e}");
        assert!(bound < optimum + 1e-9 && bound > optimum - slack, "{k}: {bound}, slack {slack:e}");
        assert!((found.objective - inertia).abs() < 1e-9, "{k}: {}", found.objective);
        assert_eq!(found.gap, Some(found.objective - bound));
        assert!(!found.tight);
        let z = found.membership.unwrap();
        let trace: f64 = (0..12).map(|i| z[i * 13]).sum();
        assert!((trace - k as f64).abs() < 1e-12, "{trace}");
        // Row sums are exact up to rounding, entries and eigenvalues up to the residual.
        assert!(z.chunks(12).all(|row| (row.iter().sum::<f64>() - 1.0).abs() < 1e-12));
        let edge = 1e-9 * (1.0 + (k as f64).sqrt());
        assert!(z.iter().all(|v| *v > -edge));
        assert!(dense::eigenvalues(&z, 12).unwrap()[0] > -edge);
    }
}

#[test]
fn bounds_hold_at_every_iterate() {
    for (k, optimum, inertia) in OPTIMA {
        let mut cost = half_distances(&TWELVE, 12, 2);
        let size = cost.iter().map(|v| v * v).sum::<f64>().sqrt();
        cost.iter_mut().for_each(|v| *v /= size);
        let costs = [cost];
        let problem = Problem { n: 12, costs: &costs, trace: k as f64 };
        let mut state = Admm::new(12, 1);
        let mut best = f64::NEG_INFINITY;
        for _ in 0..120 {
            state.solve(&problem, Limits { iterations: 1, tolerance: 1e-15 }, &Silent).unwrap();
            let fan = size * bound::ky_fan(&state, &problem).unwrap();
            let plain = size * bound::by_multipliers(&state, &problem).unwrap();
            // 1e-9: digits of the reference.
            assert!(fan <= optimum + 1e-9 && plain <= optimum + 1e-9 && optimum < inertia, "{k}: {fan} {plain}");
            // Ky Fan's is the better one, up to what both take off for rounding.
            assert!(fan >= plain - 1e-10, "{k}: {fan} {plain}");
            best = f64::max(best, fan);
        }
        assert!(best > 0.9 * optimum, "{k}: {best}");
    }
}

#[test]
fn iris_is_not_tight_and_rounds_to_a_lloyd_fixed_point() {
    let Some((x, d, _)) = table("uci-small/iris.csv") else { return };
    let points = Points::new(&x, 150, d).unwrap();
    let found = sdp(points, &admm(3, 1e-7), &Silent).unwrap();
    // Specification: 75.53710 ± 1e-5 for the optimum, 75.537102 for a bound; here to what the residual allows.
    let slack = slack(&x, d, 3, 1e-7);
    assert!((found.relaxed.unwrap() - 75.5371).abs() < slack, "{:?}, slack {slack:e}", found.relaxed);
    assert!(found.bound.unwrap() < 75.53711 && found.bound.unwrap() > 75.5371 - slack, "{:?}", found.bound);
    assert!((found.rounded - 78.85566583).abs() < 1e-8, "{}", found.rounded);
    assert!(found.moves > 0 && (found.objective - 78.8514414).abs() < 1e-7, "{} {}", found.moves, found.objective);
    assert!(!found.tight);
    assert_eq!(found.predict(points).unwrap(), found.labels);

    // Rows in another order: the same partition.
    let order: Vec<usize> = (0..150).map(|i| (i * 47 + 11) % 150).collect();
    let turned: Vec<f64> = order.iter().flat_map(|&i| points.row(i).to_vec()).collect();
    let other = sdp(Points::new(&turned, 150, d).unwrap(), &admm(3, 1e-6), &Silent).unwrap();
    let mut back = vec![0; 150];
    order.iter().zip(&other.labels).for_each(|(&i, &l)| back[i] = l);
    super::super::labels::canonical(&mut back);
    assert_eq!(back, found.labels);
}

#[test]
fn wine_is_between_the_bounds_of_the_specification() {
    let Some((x, d, _)) = table("uci-small/wine.csv") else { return };
    let x = standardised(&x, d);
    let found = sdp(Points::new(&x, 178, d).unwrap(), &admm(3, 4e-6), &Silent).unwrap();
    // 1266.923 ≤ SDP* ≤ 1266.925, of which this residual leaves three decimals to the relaxed value and two to the bound.
    assert!((found.relaxed.unwrap() - 1266.924).abs() < 3e-3, "{:?}", found.relaxed);
    assert!(found.bound.unwrap() < 1266.925 && found.bound.unwrap() > 1266.90, "{:?}", found.bound);
    assert!((found.objective - 1277.92849).abs() < 1e-5, "{}", found.objective);
}

#[test]
fn separated_blobs_are_proved_optimal_by_every_solver() {
    let (n, k, d) = (90, 3, 4);
    let x = blobs(n / k, k, d, 12.0, 1);
    let points = Points::new(&x, n, d).unwrap();
    let truth: Vec<i32> = (0..n).map(|i| (i % k) as i32).collect();
    for (solver, solved) in
        [(Solver::Auto, Solved::Certificate), (Solver::Admm, Solved::Admm), (Solver::BurerMonteiro, Solved::BurerMonteiro)]
    {
        let found = sdp(points, &SdpOptions { membership: true, ..with(k, solver) }, &Silent).unwrap();
        assert_eq!((found.solved, &found.labels), (solved, &truth), "{}", solver.name());
        assert!(found.tight && found.relative_gap.unwrap() <= 1e-6, "{}: {:?}", solver.name(), found.relative_gap);
        // Burer-Monteiro stops at an infeasibility of 1e-6, where every row sum is that far off at the root mean square.
        let off = if solver == Solver::BurerMonteiro { 1e-5 } else { 1e-6 };
        let slack = slack(&x, d, k, off / 10.0);
        assert!(
            (found.relaxed.unwrap() - found.objective).abs() < slack,
            "{}: {:?}, slack {slack:e}",
            solver.name(),
            found.relaxed
        );
        let values = dense::eigenvalues(&found.membership.unwrap(), n).unwrap();
        assert!(values[n - k..].iter().all(|v| (v - 1.0).abs() < off), "{}: {:?}", solver.name(), &values[n - k..]);
        assert!(values[..n - k].iter().all(|v| v.abs() < off), "{}", solver.name());
    }
}

#[test]
fn burer_monteiro_reaches_the_relaxed_value_of_iris() {
    let Some((x, d, _)) = table("uci-small/iris.csv") else { return };
    let points = Points::new(&x, 150, d).unwrap();
    let found = sdp(points, &SdpOptions { max_iterations: 4000, ..with(3, Solver::BurerMonteiro) }, &Silent).unwrap();
    // U ≥ 0 is more than Z ≥ 0, so the value is between the relaxation's and k-means'.
    let relaxed = found.relaxed.unwrap();
    assert!(relaxed > 75.53 && relaxed < 78.86, "{relaxed}");
    assert!((found.objective - 78.8514414).abs() < 1e-7, "{}", found.objective);
    assert_eq!(found.predict(points).unwrap(), found.labels);
}

#[test]
fn shifts_change_nothing_and_scales_square() {
    let points = Points::new(&TWELVE, 12, 2).unwrap();
    let options = SdpOptions { membership: true, ..admm(3, 1e-8) };
    let first = sdp(points, &options, &Silent).unwrap();
    let moved: Vec<f64> = TWELVE.iter().enumerate().map(|(e, v)| v + [100.0, -40.0][e % 2]).collect();
    let other = sdp(Points::new(&moved, 12, 2).unwrap(), &options, &Silent).unwrap();
    // Rounding of the shift (1e-14) is amplified to the size of the residual at worst.
    assert!(close(first.membership.as_ref().unwrap(), other.membership.as_ref().unwrap()) < 1e-6);
    assert_eq!(first.labels, other.labels);
    for scale in [3.0, 1e-90, 1e100] {
        let scaled: Vec<f64> = TWELVE.iter().map(|v| v * scale).collect();
        let other = sdp(Points::new(&scaled, 12, 2).unwrap(), &options, &Silent).unwrap();
        assert_eq!(first.labels, other.labels);
        for (a, b) in [(first.relaxed, other.relaxed), (first.bound, other.bound), (Some(first.objective), Some(other.objective))]
        {
            let ratio = b.unwrap() / scale / scale / a.unwrap();
            assert!((ratio - 1.0).abs() < 1e-7, "{scale}: {ratio}");
        }
    }
}

#[test]
fn threads_do_not_change_bytes() {
    let x = blobs(60, 4, 3, 2.5, 5);
    let points = Points::new(&x, 240, 3).unwrap();
    for solver in [Solver::Admm, Solver::BurerMonteiro, Solver::Auto] {
        let options = SdpOptions { max_iterations: 80, membership: true, ..with(4, solver) };
        let run = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| sdp(points, &options, &Silent).unwrap())
        };
        let (one, two) = (run(1), run(2));
        assert!(one == two, "{}", solver.name());
        assert_eq!(one.iterations, 80);
        assert_eq!(one.predict(points).unwrap(), one.labels);
    }
}

#[test]
fn a_sketch_labels_all_rows_and_keeps_the_bound_valid() {
    let (n, k, d) = (1500, 3, 3);
    let x = blobs(n / k, k, d, 12.0, 2);
    let points = Points::new(&x, n, d).unwrap();
    for solver in [Solver::Admm, Solver::BurerMonteiro] {
        let found = sdp(points, &SdpOptions { sketch: Some(80), ..with(k, solver) }, &Silent).unwrap();
        assert!(found.sketched.is_some_and(|m| (50..120).contains(&m)), "{:?}", found.sketched);
        assert_eq!(found.labels, (0..n).map(|i| (i % k) as i32).collect::<Vec<_>>());
        assert!(found.tight);
        assert_eq!(found.predict(points).unwrap(), found.labels);
    }
}

#[test]
fn certificates_are_below_every_clustering() {
    // Overlapping blobs, any labels: the bound of a bad partition is weak, never wrong.
    let (n, k, d) = (40, 3, 2);
    let x = blobs(n / k + 1, k, d, 4.0, 3)[..n * d].to_vec();
    let best = sdp(Points::new(&x, n, d).unwrap(), &with(k, Solver::Auto), &Silent).unwrap().objective;
    let mut rng = Streams::new(7).stream("test", 0);
    for trial in 0..40 {
        let mut labels: Vec<i32> = (0..n).map(|_| rng.random_range(0..k as i32)).collect();
        if trial % 2 == 0 {
            labels = polish::polish(&x, labels, k, d).labels;
        }
        let (centroids, _) = polish::means(&x, &mut labels, k, d);
        let bound = certificate::bound(&x, &labels, &centroids, k, d).unwrap().unwrap();
        assert!(bound <= best * (1.0 + 1e-12), "{trial}: {bound} {best}");
    }
    assert_eq!(certificate::bound(&x, &vec![0; n], &[0.0; 6], 3, 2).unwrap(), None);
}

#[test]
fn the_certificate_is_that_of_the_dense_dual_solution() {
    let (n, k, d) = (24, 3, 2);
    let x = blobs(n / k, k, d, 7.0, 4);
    let found = polish::polish(&x, (0..n).map(|i| (i % k) as i32).collect(), k, d);
    let bound = certificate::bound(&x, &found.labels, &found.centroids, k, d).unwrap().unwrap();
    // The formulas of the module's text, entry by entry.
    let (labels, size) = (&found.labels, |l: usize| found.labels.iter().filter(|o| **o as usize == l).count() as f64);
    let far = |i: usize, l: usize| polish::far(&x[i * d..][..d], &found.centroids[l * d..][..d]);
    let own = |i: usize| labels[i] as usize;
    let gap = |i: usize, l: usize| far(i, l) - far(i, own(i));
    let b = -(0..n)
        .flat_map(|i| (0..k).filter(move |&l| l != own(i)).map(move |l| (i, l)))
        .map(|(i, l)| gap(i, l) * size(own(i)) * size(l) / (size(own(i)) + size(l)))
        .fold(f64::INFINITY, f64::min);
    let r = |i: usize, l: usize| 0.5 * size(l) * (gap(i, l) + b * (1.0 / size(own(i)) + 1.0 / size(l)));
    let a = |i: usize| 0.5 * far(i, own(i)) - b / (2.0 * size(own(i)));
    let mut slack = half_distances(&x, n, d);
    for i in 0..n {
        for j in 0..n {
            let pair = if own(i) == own(j) {
                0.0
            } else {
                let total: f64 = (0..n).filter(|&m| own(m) == own(i)).map(|m| r(m, own(j))).sum();
                r(i, own(j)) * r(j, own(i)) / total
            };
            assert!(pair > -1e-9);
            slack[i * n + j] -= a(i) + a(j) + pair + if i == j { b } else { 0.0 };
        }
    }
    for l in 0..k {
        for row in slack.chunks(n) {
            let sum: f64 = row.iter().zip(labels).filter(|v| *v.1 as usize == l).map(|v| v.0).sum();
            assert!(sum.abs() < 1e-9, "{sum}");
        }
    }
    // The k − 1 smallest on the complement of 1: the vector 1 has the eigenvalue 0, like the other indicators.
    let values = dense::eigenvalues(&slack, n).unwrap();
    let below: f64 = values[..k - 1].iter().map(|v| v.min(0.0)).sum();
    assert!((found.inertia + below - bound).abs() < 1e-9, "{} {below} {bound}", found.inertia);
}

#[test]
fn small_and_degenerate_points() {
    let line = [0.0, 1.0, 5.0, 5.0, 5.0, 9.0];
    let points = Points::new(&line, 6, 1).unwrap();
    for (k, objective) in [(1, 157.0 - 625.0 / 6.0), (3, 0.5), (4, 0.0)] {
        for &solver in Solver::ALL {
            let found = sdp(points, &SdpOptions { max_iterations: 3000, ..with(k, solver) }, &Silent).unwrap();
            assert!((found.objective - objective).abs() < 1e-12, "{k} {}: {}", solver.name(), found.objective);
            assert!(found.bound.is_none_or(|b| (0.0..=found.objective).contains(&b)));
            assert_eq!(found.predict(points).unwrap(), found.labels);
        }
    }
    let two = [1.0, 4.0];
    for k in [1, 2] {
        let found = sdp(Points::new(&two, 2, 1).unwrap(), &with(k, Solver::Admm), &Silent).unwrap();
        assert_eq!((found.solved, found.tight, found.labels.len()), (Solved::Trivial, true, 2));
    }
    let one = sdp(Points::new(&[3.0], 1, 1).unwrap(), &with(1, Solver::Auto), &Silent).unwrap();
    assert_eq!((one.labels, one.objective), (vec![0], 0.0));
    // One far row of 1e150 beside ordinary ones: still numbers, or an error.
    let wild = [0.0, 1.0, 1e150, 2.0];
    let found = sdp(Points::new(&wild, 4, 1).unwrap(), &with(2, Solver::Admm), &Silent);
    assert!(found.is_ok_and(|f| f.objective.is_finite() && f.centroids.iter().all(|c| c.is_finite())));
    let wild = [0.0, 1e300, -1e300, 2.0];
    let found = sdp(Points::new(&wild, 4, 1).unwrap(), &with(2, Solver::Admm), &Silent);
    assert!(matches!(found, Err(ClusterError::Numbers(_))), "{found:?}");
}

#[test]
fn bad_input_is_named() {
    let points = Points::new(&TWELVE, 12, 2).unwrap();
    let base = with(3, Solver::Admm);
    let says = |options: SdpOptions| sdp(points, &options, &Silent).unwrap_err().to_string();
    assert_eq!(says(SdpOptions { k: 0, ..base.clone() }), "0 clusters of 12 points: ask for 1 to 12");
    assert_eq!(says(SdpOptions { k: 13, ..base.clone() }), "13 clusters of 12 points: ask for 1 to 12");
    assert!(says(SdpOptions { max_iterations: 0, ..base.clone() }).contains("max_iterations is 0"));
    assert!(says(SdpOptions { restarts: 0, ..base.clone() }).contains("restarts is 0"));
    assert!(says(SdpOptions { tolerance: Some(f64::NAN), ..base.clone() }).contains("tolerance is NaN"));
    assert!(says(SdpOptions { rank: Some(2), ..base.clone() }).contains("rank is 2"));
    assert!(says(SdpOptions { sketch: Some(5), ..base.clone() }).contains("sketch is 5"));
    assert!(says(SdpOptions { sketch: Some(6), membership: true, ..base.clone() }).contains("membership is true"));
    let same = [1.0; 8];
    let found = sdp(Points::new(&same, 8, 1).unwrap(), &SdpOptions { k: 2, ..base.clone() }, &Silent);
    assert_eq!(found.unwrap_err(), ClusterError::Distinct { k: 2, distinct: 1 });
    let many = vec![0.5; 10_001];
    let found = sdp(Points::new(&many, 10_001, 1).unwrap(), &base, &Silent);
    assert!(found.unwrap_err().to_string().contains("burer-monteiro"));
    let found = sdp(points, &base, &Silent).unwrap();
    assert!(found.predict(Points::new(&TWELVE, 8, 3).unwrap()).unwrap_err().to_string().contains("3 columns"));

    struct Stop;
    impl Observer for Stop {
        fn cancelled(&self) -> bool {
            true
        }
    }
    assert_eq!(sdp(points, &base, &Stop).unwrap_err(), ClusterError::Cancelled);
}

#[test]
fn a_kept_model_predicts_the_same() {
    let x = blobs(20, 3, 2, 3.0, 8);
    let points = Points::new(&x, 60, 2).unwrap();
    let found = sdp(points, &with(3, Solver::Auto), &Silent).unwrap();
    let saved = found.to_saved();
    let back = Sdp::from_saved(&saved).unwrap();
    assert_eq!(back, found);
    assert_eq!(back.predict(points).unwrap(), found.labels);
    let mut other = saved.clone();
    other.method = "kmeans".into();
    assert!(Sdp::from_saved(&other).is_err());
    let mut other = saved.clone();
    other.arrays.retain(|a| a.name != "origin");
    assert!(Sdp::from_saved(&other).is_err());
    let mut other = saved;
    other.header["scale"] = 0.0.into();
    assert!(Sdp::from_saved(&other).is_err());
}
