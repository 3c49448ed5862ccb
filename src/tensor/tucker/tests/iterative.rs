//! HOOI and the non-negative method.

use std::sync::atomic::{AtomicUsize, Ordering};

use proptest::prelude::*;

use super::*;
use crate::run::observer::{Observer, Silent};
use hooi::{HooiConfig, hooi};
use nonnegative::{NonNegativeConfig, Start, model_squares, nonnegative};
use sthosvd::sthosvd;

/// Stops after some sweeps.
struct StopAfter(usize, AtomicUsize);
impl Observer for StopAfter {
    fn advance(&self, n: usize) {
        self.1.fetch_add(n, Ordering::Relaxed);
    }
    fn cancelled(&self) -> bool {
        self.1.load(Ordering::Relaxed) >= self.0
    }
}

fn positive(shape: &[usize], ranks: &[usize], seed: u64) -> Dense<f64> {
    let abs = |x: Dense<f64>| -> Vec<f64> { x.into_values().into_iter().map(f64::abs).collect() };
    let factors = shape.iter().zip(ranks).enumerate();
    let factors = factors.map(|(m, (&i, &r))| Matrix::new(i, r, abs(normal(&[i, r], seed + m as u64 + 1)))).collect();
    whole(&Tucker { core: Dense::new(ranks.to_vec(), abs(normal(ranks, seed))), factors })
}

/// The trace may rise by what rounding does to ‖X‖² − ‖G‖²: some eps in the square.
#[track_caller]
fn assert_monotone(trace: &[f64]) {
    for pair in trace.windows(2) {
        assert!(pair[1].powi(2) <= pair[0].powi(2) + 1e-14, "{trace:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn hooi_never_loses_to_st_hosvd(
        shape in prop::collection::vec(1usize..8, 1..6),
        picks in prop::collection::vec(0usize..100, 5),
        noise in -9.0f64..1.0,
        seed in 0u64..1000,
    ) {
        let x = falling(&shape, 10f64.powf(noise), seed);
        let ranks: Vec<usize> = shape.iter().zip(&picks).map(|(&i, &p)| 1 + p % i).collect();
        let size = Size::Ranks(ranks.clone());
        for precision in [Precision::Gram, Precision::Lq] {
            let start = sthosvd(&x, &size, &ModeOrder::Auto, precision).unwrap();
            let config = HooiConfig { precision, max_iter: 20, ..HooiConfig::new(size.clone()) };
            let fit = hooi(&x, &config, &Silent).unwrap();
            assert_sound(&x, &fit);
            assert_monotone(&fit.iterations.as_ref().unwrap().trace);
            // Gram matrices place a direction to eps ‖X‖ / σ: errors below some 1e-13 are rounding.
            prop_assert!(fit.rel_error <= start.rel_error * (1.0 + 1e-9) + 1e-13, "{} after {}", fit.rel_error, start.rel_error);
        }
    }

    #[test]
    fn non_negative_parts_stay_so(
        shape in prop::collection::vec(1usize..7, 1..5),
        picks in prop::collection::vec(0usize..100, 5),
        seed in 0u64..1000,
        random in any::<bool>(),
    ) {
        // Half of the numbers are negative: many parts end at zero.
        let x = normal(&shape, seed);
        let ranks: Vec<usize> = shape.iter().zip(&picks).map(|(&i, &p)| 1 + p % i).collect();
        let start = if random { Start::Random } else { Start::Svd };
        let config = NonNegativeConfig { start, seed, max_iter: 30, ..NonNegativeConfig::new(ranks.clone()) };
        let fit = nonnegative(&x, &config, &Silent).unwrap().best;
        assert_non_negative(&x, &fit);
        prop_assert_eq!(fit.ranks(), &ranks[..]);
    }
}

#[track_caller]
fn assert_non_negative(x: &Dense<f64>, fit: &TuckerFit) {
    assert!(fit.model.core.values().iter().all(|&g| g >= 0.0 && g.is_finite()));
    for (mode, u) in fit.model.factors.iter().enumerate() {
        assert!(u.values.iter().all(|&u| u >= 0.0 && u.is_finite()));
        for j in 0..u.cols {
            let norm: f64 = (0..u.rows).map(|i| u.at(i, j).powi(2)).sum();
            assert!(norm == 0.0 || (norm - 1.0).abs() <= 1e-12, "mode {mode}: {norm}");
            assert!(norm > 0.0 || fit.core_shares[mode][j] == 0.0);
        }
        // In order, up to the rounding of sums that are taken again after the other modes were put in order.
        assert!(fit.core_shares[mode].windows(2).all(|p| p[0] >= p[1] * (1.0 - 1e-13)));
    }
    assert_monotone(&fit.iterations.as_ref().unwrap().trace);
    if fit.norm > 0.0 {
        let explicit = explicit_error(x, &fit.model);
        // The square is a difference of three numbers near 1, each a sum of some hundred terms.
        close(fit.rel_error.powi(2), explicit.powi(2), 1e-12);
    }
    let squares = squares(whole(&fit.model).values());
    close(model_squares(&fit.model), squares, 1e-12 * squares);
}

#[test]
fn hooi_by_tolerance_narrow_and_sparse() {
    let x = falling(&[12, 10, 14], 0.05, 3);
    let by_eps = HooiConfig::new(Size::Eps(0.1));
    let fit = hooi(&x, &by_eps, &Silent).unwrap();
    let start = sthosvd(&x, &Size::Eps(0.1), &ModeOrder::Auto, Precision::Auto).unwrap();
    assert_eq!(fit.ranks(), start.ranks());
    assert_eq!(fit.iterations.as_ref().unwrap().trace[0], start.rel_error);
    assert!(fit.rel_error < start.rel_error && fit.rel_error <= 0.1);
    assert!(fit.iterations.as_ref().unwrap().converged());
    let narrow = Dense::new(x.shape().to_vec(), x.values().iter().map(|&v| v as f32).collect());
    close(hooi(&narrow, &by_eps, &Silent).unwrap().rel_error, fit.rel_error, 1e-6);

    let (x, dense) = sparse(&[14, 11, 9, 5], 0.1, 6);
    let config = HooiConfig { tol: 0.0, max_iter: 4, ..HooiConfig::new(Size::Ranks(vec![3, 2, 4, 2])) };
    let (a, b) = (hooi(&x, &config, &Silent).unwrap(), hooi(&dense, &config, &Silent).unwrap());
    assert_sound(&dense, &a);
    let (a, b) = (a.iterations.unwrap(), b.iterations.unwrap());
    a.trace.iter().zip(&b.trace).for_each(|(&a, &b)| close(a, b, 1e-11));
    assert_eq!((a.stop_reason, a.count()), (StopReason::MaxIter, 4));
}

/// HOOI by its definition: every Y_n from X, its vectors from an SVD.
#[test]
fn sweeps_with_shared_products_are_plain_hooi() {
    for shape in [&[9, 7, 8][..], &[5, 4, 6, 3], &[4, 3, 5, 3, 4], &[12, 10]] {
        let x = falling(shape, 0.3, 5);
        let ranks: Vec<usize> = shape.iter().map(|i| i / 2).collect();
        let size = Size::Ranks(ranks.clone());
        let start = sthosvd(&x, &size, &ModeOrder::Auto, Precision::Lq).unwrap();
        let mut factors = start.model.factors;
        for _ in 0..3 {
            for mode in 0..shape.len() {
                let mut y = x.clone();
                for other in (0..shape.len()).filter(|&m| m != mode) {
                    y = y.ttm(vectors::transposed(&factors[other]), other);
                }
                factors[mode] = vectors::left_vectors(&y, mode, vectors::Keep::Rank(ranks[mode]), Precision::Lq).unwrap().u;
            }
        }
        let modes: Vec<usize> = (0..shape.len()).collect();
        let core = tree::multiply(&x, &modes, &factors);
        let config = HooiConfig { tol: 0.0, max_iter: 3, precision: Precision::Lq, ..HooiConfig::new(size) };
        let fit = hooi(&x, &config, &Silent).unwrap();
        close(fit.rel_error, error_of_norms(squares(x.values()), squares(core.values())), 1e-12);
        fit.model.factors.iter().zip(&factors).for_each(|(a, b)| assert!(distance(&a.values, &b.values) <= 1e-9));
    }
}

#[test]
fn iterations_end_for_a_reason() {
    let x = normal(&[8, 8, 8], 1);
    let size = Size::Ranks(vec![2; 3]);
    let run = |config: HooiConfig, observer: &dyn Observer| hooi(&x, &config, observer).unwrap().iterations.unwrap();
    let base = HooiConfig::new(size);
    let none = run(HooiConfig { max_iter: 0, ..base.clone() }, &Silent);
    assert_eq!((none.count(), none.stop_reason), (0, StopReason::MaxIter));
    let stopped = run(HooiConfig { tol: 0.0, ..base.clone() }, &StopAfter(2, AtomicUsize::new(0)));
    assert_eq!((stopped.count(), stopped.stop_reason), (2, StopReason::Cancelled));
    assert!(!stopped.converged());
    assert_eq!(run(HooiConfig { tol: 1e-4, ..base.clone() }, &Silent).stop_reason, StopReason::Tolerance);
    assert_eq!(run(HooiConfig { tol: 0.0, max_iter: 10_000, ..base.clone() }, &Silent).stop_reason, StopReason::Rounding);
    for tol in [-1.0, f64::NAN, f64::INFINITY] {
        assert!(matches!(hooi(&x, &HooiConfig { tol, ..base.clone() }, &Silent), Err(TuckerError::Option { name: "tol", .. })));
    }
    // Nothing to improve: exact ranks, full ranks, zeros.
    for (x, ranks) in [
        (of_ranks(&[8, 7, 6], &[2, 3, 2], 1), [2, 3, 2]),
        (normal(&[4, 3, 2], 2), [4, 3, 2]),
        (Dense::zeros(&[4, 3, 2]), [2, 2, 2]),
    ] {
        let fit = hooi(&x, &HooiConfig { tol: 0.0, ..HooiConfig::new(Size::Ranks(ranks.to_vec())) }, &Silent).unwrap();
        assert!(fit.rel_error <= 1e-12);
        let iterations = fit.iterations.as_ref().unwrap();
        assert!(iterations.converged() && iterations.count() <= 5, "{iterations:?}");
        assert_sound(&x, &fit);
    }
}

#[test]
fn non_negative_tensors_are_fitted() {
    let (shape, ranks) = ([9, 8, 10], [2, 3, 2]);
    let x = positive(&shape, &ranks, 4);
    let config = NonNegativeConfig { max_iter: 3000, tol: 1e-9, runs: 3, ..NonNegativeConfig::new(ranks.to_vec()) };
    let fit = nonnegative(&x, &config, &Silent).unwrap();
    assert_non_negative(&x, &fit.best);
    let errors: Vec<f64> = fit.runs.iter().map(|r| r.rel_error).collect();
    println!("runs: {:?}", fit.runs);
    assert_eq!(fit.runs.len(), 3);
    // A model exists that fits exactly; a first-order method comes close, not to rounding.
    assert!(fit.best.rel_error <= 0.01, "{errors:?}");
    close(*fit.best.iterations.as_ref().unwrap().trace.last().unwrap(), errors.iter().copied().fold(1.0, f64::min), 0.0);
    // No non-negative model is better than the best of any sign.
    let free = hooi(&x, &HooiConfig::new(Size::Ranks(vec![2, 2, 2])), &Silent).unwrap();
    let bound = nonnegative(&x, &NonNegativeConfig::new(vec![2, 2, 2]), &Silent).unwrap().best;
    assert!(bound.rel_error >= free.rel_error - 1e-9);
}

#[test]
fn non_negative_amino_acids() {
    let Some(x) = amino_acids() else { return };
    let config = NonNegativeConfig { max_iter: 200, ..NonNegativeConfig::new(vec![3, 3, 3]) };
    let fit = nonnegative(&x, &config, &Silent).unwrap().best;
    println!("non-negative (3,3,3): {} after {}", fit.rel_error, fit.iterations.as_ref().unwrap().count());
    assert_non_negative(&x, &fit);
    // Between the best of any sign and the best non-negative CP model of rank 3 (specification: fit .97485888), which is one of ours.
    assert!(fit.rel_error >= 0.02446289 - 1e-8 && fit.rel_error <= 1.0 - 0.97485888 + 1e-4, "{}", fit.rel_error);
}

#[test]
fn non_negative_odd_input() {
    // All negative: zero is the best there is.
    let x = Dense::new(vec![2, 3], vec![-1.0; 6]);
    for start in [Start::Svd, Start::Random] {
        let fit = nonnegative(&x, &NonNegativeConfig { start, ..NonNegativeConfig::new(vec![2, 2]) }, &Silent).unwrap().best;
        assert_non_negative(&x, &fit);
        close(fit.rel_error, 1.0, 1e-9);
    }
    let zero = Dense::zeros(&[3, 2, 2]);
    let fit = nonnegative(&zero, &NonNegativeConfig::new(vec![2, 1, 2]), &Silent).unwrap().best;
    assert_non_negative(&zero, &fit);
    assert_eq!(fit.rel_error, 0.0);
    let refused = |config: NonNegativeConfig| nonnegative(&zero, &config, &Silent).unwrap_err();
    assert_eq!(refused(NonNegativeConfig::new(vec![2, 3, 2])), TuckerError::RankRange { mode: 1, rank: 3, size: 2 });
    assert!(matches!(
        refused(NonNegativeConfig { runs: 0, ..NonNegativeConfig::new(vec![1; 3]) }),
        TuckerError::Option { name: "runs", .. }
    ));
    assert!(matches!(
        refused(NonNegativeConfig { tol: -1.0, ..NonNegativeConfig::new(vec![1; 3]) }),
        TuckerError::Option { name: "tol", .. }
    ));
    let x = positive(&[5, 5, 5], &[2, 2, 2], 1);
    let stop = StopAfter(2, AtomicUsize::new(0));
    let fit = nonnegative(&x, &NonNegativeConfig { tol: 0.0, runs: 3, ..NonNegativeConfig::new(vec![2; 3]) }, &stop).unwrap();
    assert_eq!((fit.runs.len(), fit.runs[0].sweeps, fit.runs[0].stop_reason), (1, 2, StopReason::Cancelled));
    // Sparse input.
    let (sparse, dense) = sparse(&[7, 6, 5], 0.3, 2);
    let config = NonNegativeConfig { max_iter: 20, ..NonNegativeConfig::new(vec![2, 3, 2]) };
    let (a, b) = (nonnegative(&sparse, &config, &Silent).unwrap().best, nonnegative(&dense, &config, &Silent).unwrap().best);
    assert_non_negative(&dense, &a);
    close(a.rel_error, b.rel_error, 1e-9);
}

#[test]
fn same_bytes_at_any_number_of_threads() {
    let x = falling(&[40, 50, 60], 0.2, 1);
    let (one, two) = on_threads(|| hooi(&x, &HooiConfig::new(Size::Ranks(vec![6, 5, 7])), &Silent).unwrap());
    assert_eq!(one, two);
    let config = NonNegativeConfig { max_iter: 5, start: Start::Random, runs: 2, ..NonNegativeConfig::new(vec![4, 3, 5]) };
    let (one, two) = on_threads(|| nonnegative(&x, &config, &Silent).unwrap());
    assert_eq!(one, two);
}
