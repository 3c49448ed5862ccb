//! Tensors that are models: recovered whatever way the data are held.

use super::*;
use crate::tensor::align::align;

/// The score that an exactly recovered model reaches.
const FOUND: f64 = 1.0 - 1e-6;

fn tight(rank: usize) -> Options {
    Options { tol: 1e-13, max_iter: 3000, line_search: true, restarts: 3, ..Options::new(rank) }
}

#[test]
fn dense_models_of_several_orders_and_ranks() {
    for (shape, rank) in [(vec![6, 7, 8], 3), (vec![5, 5, 5], 5), (vec![4, 5, 3, 6], 3), (vec![3, 4, 3, 2, 3], 2)] {
        let truth = canonical(random_model(&shape, rank, 4));
        let x = reconstruct::full(&truth).unwrap();
        for init in [Init::Random, Init::Svd] {
            let cp = als(Input::Dense(&x), &Options { init, ..tight(rank) }, &Run::default()).unwrap();
            assert!(cp.fit > FOUND, "{shape:?} {}", cp.fit);
            let found = align(&cp.model, &truth, true).unwrap();
            assert!(found.fms > FOUND, "{shape:?} {}", found.fms);
            let checked = evaluate(Input::Dense(&x), &cp.model).unwrap();
            // Both are computed cell by cell; the canonical form moves entries by an eps or two.
            close(checked.rel_error, cp.rel_error, 1e-14, "fit");
        }
    }
}

#[test]
fn with_forty_percent_missing_and_nonsense_there() {
    let truth = canonical(random_model(&[9, 8, 10], 3, 9));
    let x = reconstruct::full(&truth).unwrap();
    let observed = random_mask(x.values().len(), 0.6, 1);
    let known = coordinates(&x, |c, _| observed[c]);
    let mut models = Vec::new();
    for nonsense in [0.0, 1e30, f64::NAN, f64::INFINITY] {
        let mut spoiled = x.clone();
        spoiled.values_mut().iter_mut().zip(&observed).filter(|(_, o)| !**o).for_each(|(v, _)| *v = nonsense);
        for missing in [Missing::Em, Missing::Weighted] {
            for init in [Init::Random, Init::Svd] {
                let options = Options { missing, init, restarts: 1, ..tight(3) };
                let cp = als(Input::Masked { x: &spoiled, observed: &observed }, &options, &Run::default()).unwrap();
                assert!(align(&cp.model, &truth, true).unwrap().fms > FOUND, "{missing:?} {nonsense}: fit {}", cp.fit);
                models.push(cp.model);
            }
        }
    }
    // What stands in missing cells changes no bit.
    for chunk in models.chunks(4).skip(1) {
        assert_eq!(chunk, &models[..4]);
    }
    for missing in [Missing::Em, Missing::Weighted, Missing::Auto] {
        let cp = als(Input::Known(&known), &Options { missing, ..tight(3) }, &Run::default()).unwrap();
        assert!(align(&cp.model, &truth, true).unwrap().fms > FOUND, "{missing:?}: fit {}", cp.fit);
    }
}

#[test]
fn sparse_models() {
    // Components on blocks of rows: most cells are zero.
    let mut truth = random_model(&[20, 24, 18], 3, 2);
    for f in &mut truth.factors {
        for i in 0..f.rows {
            for c in 0..3 {
                if i * 4 / f.rows != c && i * 4 / f.rows != c + 1 {
                    f.values[i * 3 + c] = 0.0;
                }
            }
        }
    }
    let truth = canonical(truth);
    let x = coordinates(&reconstruct::full(&truth).unwrap(), |_, v| v != 0.0);
    assert!(x.len() < 20 * 24 * 18 / 2);
    for init in [Init::Random, Init::Svd] {
        let cp = als(Input::Sparse(&x), &Options { init, ..tight(3) }, &Run::default()).unwrap();
        assert!(cp.fit > FOUND && align(&cp.model, &truth, true).unwrap().fms > FOUND, "{}", cp.fit);
    }
}

#[test]
fn splatt_tensors_as_dense_and_sparse() {
    for (name, norm_sq) in [("splatt/small4.tns", 97.0), ("splatt/small.tns", 91.0)] {
        let Some(x) = tns(name) else { return };
        let dense = dense_of(&x);
        for rank in [1, 2, 3] {
            let options = Options { tol: 1e-10, max_iter: 50, ..Options::new(rank) };
            let a = als(Input::Sparse(&x), &options, &Run::default()).unwrap();
            let b = als(Input::Dense(&dense), &options, &Run::default()).unwrap();
            close(a.norm * a.norm, norm_sq, 1e-12, "norm");
            assert_eq!(a.trace.len(), b.trace.len());
            for (s, t) in a.trace.iter().zip(&b.trace) {
                // The same sweeps with other orders of sums; 50 of them let rounding grow, and fits near 1 are sums that cancel.
                close(s.fit, t.fit, 1e-7, name);
            }
        }
    }
}

#[test]
fn non_negative_models_with_and_without_missing_cells() {
    let mut truth = random_model(&[8, 9, 10], 3, 6);
    // A third of the entries zero: the constraint is active, and the model unique.
    truth.factors.iter_mut().for_each(|f| f.values.iter_mut().for_each(|v| *v = (*v + 0.3).max(0.0)));
    let truth = canonical(truth);
    let x = reconstruct::full(&truth).unwrap();
    let observed = random_mask(x.values().len(), 0.6, 3);
    let known = coordinates(&x, |c, _| observed[c]);
    for input in [Input::Dense(&x), Input::Masked { x: &x, observed: &observed }, Input::Known(&known)] {
        for missing in [Missing::Em, Missing::Weighted] {
            for solver in [NonnegSolver::Hals, NonnegSolver::ActiveSet] {
                let options = Options { missing, ..tight(3) };
                let cp = hals(input, &options, &[true; 3], solver, &Run::default()).unwrap();
                let found = align(&cp.model, &truth, true).unwrap();
                assert!(found.fms > 1.0 - 1e-4, "{missing:?} {solver:?}: fms {} fit {}", found.fms, cp.fit);
                assert!(cp.model.factors.iter().all(|f| f.values.iter().all(|&v| v >= 0.0)));
            }
        }
    }
}

#[test]
fn bayes_finds_the_rank() {
    let truth = canonical(random_model(&[12, 10, 11], 3, 8));
    let mut x = reconstruct::full(&truth).unwrap();
    let exact = x.clone();
    // Noise with a standard deviation of 1 % of the tensor's root mean square.
    let rms = (x.values().iter().map(|v| v * v).sum::<f64>() / x.values().len() as f64).sqrt();
    let mut rng = Streams::new(5).stream("noise", 0);
    x.values_mut().iter_mut().for_each(|v| *v += 0.01 * rms * rng.sample::<f64, _>(rand_distr::StandardNormal));
    let observed = random_mask(x.values().len(), 0.6, 2);
    let known = coordinates(&x, |c, _| observed[c]);
    let all = coordinates(&x, |_, _| true);
    let inputs = [Input::Dense(&x), Input::Sparse(&all), Input::Masked { x: &x, observed: &observed }, Input::Known(&known)];
    for (k, input) in inputs.into_iter().enumerate() {
        let options = Bayes { max_rank: Some(8), ..Bayes::default() };
        let found = bayes(input, &options, &Run::default()).unwrap();
        assert_eq!(found.model.weights.len(), 3, "input {k}: {:?}", found.ranks);
        assert!(align(&found.model, &truth, true).unwrap().fms > 0.99, "input {k}");
        // The noise of n cells is known to 1/√(2n) of itself: 2 % here, and the model takes a few per cent of it.
        close(found.noise, 0.01 * rms, 0.1 * 0.01 * rms, "noise");
        assert!(found.deviations.iter().all(|d| d.values.iter().all(|&s| s > 0.0 && s < 0.1)));
    }
    let found = bayes(Input::Dense(&exact), &Bayes { max_rank: Some(8), ..Bayes::default() }, &Run::default()).unwrap();
    assert_eq!(found.model.weights.len(), 3, "without noise: {:?}", found.ranks);
}

#[test]
fn fits_never_fall_and_formula_is_the_residual() {
    let Some(x) = amino_acid() else { return };
    let mut last: Option<f64> = None;
    for sweeps in 1..=25 {
        // The same start, one sweep more each time: every fit of the trace is checked against the model it belongs to.
        let cp = als(Input::Dense(&x), &Options { max_iter: sweeps, tol: 0.0, ..Options::new(3) }, &Run::default()).unwrap();
        let checked = evaluate(Input::Dense(&x), &cp.model).unwrap();
        close(cp.fit, checked.fit, 1e-10, "formula");
        close(cp.trace.last().unwrap().fit, cp.fit, 0.0, "trace");
        if let Some(last) = last {
            assert!(cp.fit >= last - 1e-12, "sweep {sweeps}");
        }
        last = Some(cp.fit);
    }
    let y = reconstruct::full(&random_model(&[6, 5, 7], 5, 1)).unwrap();
    let observed = random_mask(y.values().len(), 0.5, 1);
    for line_search in [false, true] {
        for missing in [Missing::Em, Missing::Weighted] {
            let options = Options { missing, line_search, max_iter: 200, tol: 0.0, ..Options::new(3) };
            for cp in [
                als(Input::Dense(&y), &options, &Run::default()).unwrap(),
                als(Input::Masked { x: &y, observed: &observed }, &options, &Run::default()).unwrap(),
                als(Input::Sparse(&coordinates(&y, |_, _| true)), &options, &Run::default()).unwrap(),
                hals(
                    Input::Masked { x: &y, observed: &observed },
                    &options,
                    &[true, false, true],
                    NonnegSolver::Hals,
                    &Run::default(),
                )
                .unwrap(),
            ] {
                // The first sweep of EM runs on the mean and may be followed by anything; from then on a sweep lowers the residual.
                for w in cp.trace.windows(2).skip(1) {
                    assert!(w[1].fit >= w[0].fit - 1e-12, "{missing:?} line {line_search}: {:?}", w);
                }
            }
        }
    }
}
