//! Worked numbers of the specification: amino acid fluorescence, IL-2 responses.

use super::*;
use crate::tensor::align::align;
use crate::tensor::corcondia::corcondia;
use crate::tensor::rank_scan::{RankScan, rank_scan};

/// Fits are given with eight digits.
const DIGITS: f64 = 5.1e-9;

fn tight(rank: usize) -> Options {
    Options { tol: 1e-12, max_iter: 3000, line_search: true, ..Options::new(rank) }
}

#[test]
fn amino_acid_fits_of_ranks_1_to_3() {
    let Some(x) = amino_acid() else { return };
    for (rank, fit) in [(1, 0.40325883), (2, 0.63631742), (3, 0.97495148)] {
        for init in [Init::Random, Init::Svd] {
            let cp = als(Input::Dense(&x), &Options { init, ..tight(rank) }, &Run::default()).unwrap();
            close(cp.fit, fit, DIGITS, &format!("rank {rank}"));
            assert!(cp.converged() && cp.warnings.is_empty(), "{:?}", cp.warnings);
            // Norms agree to the digits given; λ below.
            close(cp.norm, 47991.95013208926, 1e-9, "norm");
        }
    }
}

#[test]
fn amino_acid_weights_and_samples_at_rank_3() {
    let Some(x) = amino_acid() else { return };
    let options = Options { tol: 1e-14, max_iter: 4000, stop_window: 5, line_search: true, ..Options::new(3) };
    let cp = als(Input::Dense(&x), &options, &Run::default()).unwrap();
    for (got, want) in cp.model.weights.iter().zip([33487.76260847, 23483.09871598, 21192.10047144]) {
        // The fit is flat at its optimum: a change of 1e-14 leaves factors open to about 1e-7, λ to 1e-7 · 3e4.
        close(*got, want, 5e-3, "weight");
    }
    let columns = [
        [0.83212474, 0.00427552, 0.01467704, 0.48189839, 0.27405961],
        [-0.00549469, 0.88591690, 0.00998320, 0.35691922, 0.29602375],
        [-0.00196934, 0.00029068, 0.86628095, 0.37702862, 0.32772362],
    ];
    for (c, column) in columns.iter().enumerate() {
        for (i, want) in column.iter().enumerate() {
            close(cp.model.factors[0].at(i, c), *want, 2e-7, "sample");
        }
    }
}

#[test]
fn amino_acid_in_f32_as_sparse_and_by_em_without_missing_cells() {
    let Some(x) = amino_acid() else { return };
    let options = Options { tol: 1e-9, ..tight(3) };
    let cp = als(Input::Dense(&x), &options, &Run::default()).unwrap();
    let single = als(Input::Dense(&to_f32(&x)), &options, &Run::default()).unwrap();
    // Values rounded to 24 bits change the residual by 2⁻²⁵ of a tensor that is 40 times larger; factors of f32 sums are good to 1e-6.
    close(single.fit, cp.fit, 1e-7, "f32");
    assert!(align(&single.model, &cp.model, true).unwrap().fms > 1.0 - 1e-4);
    let sparse = als(Input::Sparse(&coordinates(&x, |_, v| v != 0.0)), &options, &Run::default()).unwrap();
    close(sparse.fit, cp.fit, 1e-8, "sparse");
    let observed = vec![true; x.values().len()];
    let all = als(Input::Masked { x: &x, observed: &observed }, &options, &Run::default()).unwrap();
    assert_eq!(all.model, cp.model);
}

#[test]
fn amino_acid_non_negative() {
    let Some(x) = amino_acid() else { return };
    for (rank, fit, tol, solver) in
        [(3, 0.97485888, DIGITS, NonnegSolver::Hals), (3, 0.97485888, DIGITS, NonnegSolver::ActiveSet)]
    {
        let options = Options { tol: 1e-11, ..tight(rank) };
        let cp = hals(Input::Dense(&x), &options, &[true; 3], solver, &Run::default()).unwrap();
        close(cp.fit, fit, tol, &format!("rank {rank} {solver:?}"));
        assert!(cp.model.factors.iter().all(|f| f.values.iter().all(|&v| v >= 0.0)));
    }
    // Rank 4 has several optima and slow valleys between them: the specification stops at 0.97799877 ("1.2e-7 in 1000 sweeps"), the best of
    // our starts, two of which meet, is above it. It cannot beat the best model without signs by much: 0.9783.
    let options = Options { tol: 1e-10, max_iter: 1000, line_search: true, restarts: 2, ..Options::new(4) };
    let cp = hals(Input::Dense(&x), &options, &[true; 3], NonnegSolver::Hals, &Run::default()).unwrap();
    assert!(cp.fit > 0.97799877 && cp.fit < 0.9784, "{}", cp.fit);
    close(cp.restarts[0].fit, cp.restarts[1].fit, 1e-7, "starts");
}

#[test]
fn amino_acid_rank_scan_has_its_elbow_at_3() {
    let Some(x) = amino_acid() else { return };
    let scan = RankScan {
        // Rank 4 has several optima; the best of some starts.
        options: Options { tol: 1e-10, max_iter: 1000, line_search: true, restarts: 5, ..Options::new(1) },
        split_mode: Some(1),
        ..RankScan::new(1..=4)
    };
    let rows = rank_scan(Input::Dense(&x), &scan, &Run::default()).unwrap();
    let core: Vec<f64> = rows.iter().map(|r| r.corcondia.unwrap()).collect();
    close(core[0], 100.0, 5e-3, "rank 1");
    close(core[1], 100.0, 5e-3, "rank 2");
    close(core[2], 99.89, 5e-3, "rank 3");
    assert!(core[3] < 0.0, "rank 4: {} {:?}", core[3], rows[3].cp.restarts);
    assert!(rows.windows(2).all(|w| w[1].cp.fit > w[0].cp.fit));
    // The components of both halves of the emission mode are those of the chemistry.
    assert!(rows[2].split_half.unwrap() > 0.98, "{:?}", rows[2].split_half);
    assert!(rows[3].split_half.unwrap() < rows[2].split_half.unwrap());
    let bic: Vec<f64> = rows.iter().map(|r| r.bic.unwrap()).collect();
    assert!(bic[2] < bic[1] && bic[1] < bic[0], "{bic:?}");
    // By its formula at rank 1: p = 5 + 201 + 61 - 2.
    let rss = (rows[0].cp.rel_error * rows[0].cp.norm).powi(2);
    let want = 61305.0 * (rss / 61305.0f64).ln() + 265.0 * 61305f64.ln();
    // Logarithms of numbers of order 1e4, times 6e4: 1e-10 relative is ample.
    close(bic[0], want, 1e-10 * want.abs(), "bic");
}

#[test]
fn core_consistency_is_the_same_for_all_inputs() {
    let Some(x) = amino_acid() else { return };
    let cp = als(Input::Dense(&x), &Options { tol: 1e-10, ..tight(3) }, &Run::default()).unwrap();
    let dense = corcondia(Input::Dense(&x), &cp.model).unwrap();
    let all = coordinates(&x, |_, _| true);
    let observed = vec![true; x.values().len()];
    // The cores are sums of 61305 terms of order 1 at most: 1e-12 each, 100 times that in the diagnostic.
    close(corcondia(Input::Sparse(&all), &cp.model).unwrap(), dense, 1e-8, "sparse");
    close(corcondia(Input::Known(&all), &cp.model).unwrap(), dense, 1e-8, "known");
    close(corcondia(Input::Masked { x: &x, observed: &observed }, &cp.model).unwrap(), dense, 1e-8, "masked");
}

#[test]
fn il2_fits_by_em_and_by_weights() {
    let Some(x) = il2() else { return };
    let observed = input::mask_of_nan(&x);
    let masked = Input::Masked { x: &x, observed: &observed };
    assert_eq!(masked.observed(), 4800);
    let known = coordinates(&x, |_, v| !v.is_nan());
    for (rank, fit) in [(1, 0.59739110), (2, 0.68175475), (3, 0.7636794)] {
        let mut models = Vec::new();
        for input in [masked, Input::Known(&known)] {
            for missing in [Missing::Em, Missing::Weighted] {
                // Some starts end in optima that are not the best.
                let restarts = if rank < 3 { 2 } else { 1 };
                let options = Options { missing, tol: 1e-12, max_iter: 1200, line_search: true, restarts, ..Options::new(rank) };
                let cp = als(input, &options, &Run::default()).unwrap();
                close(cp.norm, 18.436781202632684, 1e-12, "norm");
                if rank < 3 {
                    close(cp.fit, fit, DIGITS, &format!("rank {rank} {missing:?}"));
                } else {
                    // Rank 3 has no optimum: two components cancel more and more while the fit creeps up (0.763679 early, 0.763695 after
                    // 20000 plain sweeps, 0.763697 with line search). The specification's number is a point on that way.
                    assert!(cp.fit > fit && cp.fit < 0.76370, "rank 3 {missing:?}: {}", cp.fit);
                    assert!(cp.trace.iter().any(|t| (t.fit - fit).abs() < 2e-5));
                }
                models.push(cp.model);
            }
        }
        // Both ways reach the same optimum, where there is one.
        for other in models[1..].iter().filter(|_| rank < 3) {
            // Fits within 1e-11 leave factors open to about 1e-5.
            assert!(align(&models[0], other, true).unwrap().fms > 1.0 - 1e-4, "rank {rank}");
        }
    }
}

#[test]
fn il2_non_negative_by_em_and_by_weights() {
    let Some(x) = il2() else { return };
    let observed = input::mask_of_nan(&x);
    let masked = Input::Masked { x: &x, observed: &observed };
    let mut fits = Vec::new();
    for missing in [Missing::Em, Missing::Weighted] {
        for solver in [NonnegSolver::Hals, NonnegSolver::ActiveSet] {
            let options = Options { missing, tol: 1e-11, max_iter: 800, line_search: true, restarts: 2, ..Options::new(2) };
            let cp = hals(masked, &options, &[true, true, false, true], solver, &Run::default()).unwrap();
            for m in [0, 1, 3] {
                assert!(cp.model.factors[m].values.iter().all(|&v| v >= 0.0));
            }
            fits.push(cp.fit);
        }
    }
    for fit in &fits {
        close(*fit, fits[0], 1e-7, "fit");
        assert!(*fit <= 0.68175475 + DIGITS);
    }
}
