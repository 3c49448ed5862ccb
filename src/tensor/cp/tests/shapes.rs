//! Odd shapes, equivariance, threads, starts.

use super::*;
use crate::tensor::align::align;

fn quick(rank: usize) -> Options {
    Options { tol: 1e-12, max_iter: 60, ..Options::new(rank) }
}

/// Every method that takes this input, none may fail or give what is not finite.
fn all_methods(input: Input<'_, f64>, rank: usize) {
    for missing in [Missing::Em, Missing::Weighted] {
        for init in [Init::Random, Init::Svd] {
            let options = Options { missing, init, line_search: true, ..quick(rank) };
            let modes = vec![true; input.shape().len()];
            for cp in [
                als(input, &options, &Run::default()).unwrap(),
                hals(input, &options, &modes, NonnegSolver::Hals, &Run::default()).unwrap(),
                hals(input, &options, &modes, NonnegSolver::ActiveSet, &Run::default()).unwrap(),
            ] {
                finite(&cp.model);
                assert!(cp.fit.is_finite() && cp.fit <= 1.0 && cp.norm.is_finite());
            }
        }
    }
    let found =
        bayes(input, &Bayes { max_iter: 30, max_rank: Some(5), restarts: 1, ..Bayes::default() }, &Run::default()).unwrap();
    finite(&found.model);
    assert!(found.noise.is_finite());
    if let Input::Dense(_) = input {
        for mix in [false, true] {
            for sampling in [Sampling::Uniform, Sampling::Leverage] {
                let options = Rand { mix, sampling, max_epochs: 5, ..Rand::new(rank) };
                finite(&cprand(input, &options, &Run::default()).unwrap().model);
            }
        }
    }
}

fn finite(model: &Kruskal) {
    assert!(model.weights.iter().all(|w| w.is_finite() && *w >= 0.0), "{:?}", model.weights);
    assert!(model.factors.iter().all(|f| f.values.iter().all(|v| v.is_finite())));
}

#[test]
fn odd_tensors_go_through_every_method() {
    let ramp = |shape: &[usize]| {
        let n = shape.iter().product::<usize>();
        Dense::new(shape.to_vec(), (0..n).map(|k| ((k * 7) % 5) as f64 - 1.5).collect())
    };
    let mut empty_slices = ramp(&[4, 3, 5]);
    empty_slices.values_mut()[15..30].fill(0.0);
    let tensors = [
        Dense::zeros(&[3, 4, 2]),
        ramp(&[1, 1]),
        ramp(&[1, 1, 1]),
        ramp(&[5, 1, 4]),
        ramp(&[6, 5]),
        ramp(&[2, 2, 2, 2, 2]),
        ramp(&[2, 300, 3]),
        empty_slices,
    ];
    for x in &tensors {
        let mut observed = random_mask(x.values().len(), 0.5, 7);
        observed[0] = true;
        let known = coordinates(x, |c, _| observed[c]);
        // Ranks above the sizes of modes too.
        for rank in [1, 4] {
            all_methods(Input::Dense(x), rank);
            all_methods(Input::Masked { x, observed: &observed }, rank);
            all_methods(Input::Known(&known), rank);
            all_methods(Input::Sparse(&coordinates(x, |_, v| v != 0.0)), rank);
        }
    }
}

#[test]
fn empty_slices_have_rows_of_zeros() {
    let mut x = reconstruct::full(&random_model(&[4, 5, 6], 2, 3)).unwrap();
    // Slice 2 of mode 1.
    for i in 0..4 {
        x.values_mut()[(i * 5 + 2) * 6..][..6].fill(0.0);
    }
    let cp = als(Input::Dense(&x), &quick(2), &Run::default()).unwrap();
    assert_eq!(cp.model.factors[1].row(2), [0.0, 0.0]);
    let observed: Vec<bool> = (0..120).map(|c| c / 6 % 5 != 2).collect();
    let options = Options { missing: Missing::Weighted, ..quick(2) };
    let cp = als(Input::Masked { x: &x, observed: &observed }, &options, &Run::default()).unwrap();
    assert_eq!(cp.model.factors[1].row(2), [0.0, 0.0]);
    let zero = als(Input::Dense(&Dense::<f64>::zeros(&[3, 3, 3])), &quick(2), &Run::default()).unwrap();
    assert_eq!((zero.fit, zero.model.weights), (1.0, vec![0.0, 0.0]));
}

#[test]
fn a_matrix_gets_its_leading_singular_values() {
    let x = reconstruct::full(&random_model(&[7, 9], 5, 2)).unwrap();
    let a = faer::Mat::from_fn(7, 9, |i, j| x.values()[i * 9 + j]);
    let values = a.singular_values().unwrap();
    let options = Options { tol: 1e-14, max_iter: 2000, ..Options::new(2) };
    let cp = als(Input::Dense(&x), &options, &Run::default()).unwrap();
    let left: f64 = values[2..].iter().map(|s| s * s).sum();
    close((cp.rel_error * cp.norm).powi(2), left, 1e-9 * left, "Eckart and Young");
}

#[test]
fn scaling_scales_the_weights_alone() {
    let Some(x) = amino_acid() else { return };
    let options = Options { max_iter: 15, tol: 0.0, ..Options::new(3) };
    let plain = als(Input::Dense(&x), &options, &Run::default()).unwrap();
    let plain_svd = als(Input::Dense(&x), &Options { init: Init::Svd, ..options.clone() }, &Run::default()).unwrap();
    // Within the safe range, and far outside of it.
    for factor in [3.7, 1e-6, 1e150, 1e-200, 2f64.powi(-1000)] {
        let scaled = Dense::new(x.shape().to_vec(), x.values().iter().map(|v| v * factor).collect());
        for input in [Input::Dense(&scaled), Input::Sparse(&coordinates(&scaled, |_, _| true))] {
            let cp = als(input, &options, &Run::default()).unwrap();
            // Sweeps normalise by max(1, max |u|), which the scale may switch on or off, so only rounding differs.
            close(cp.fit, plain.fit, 1e-9, &format!("factor {factor:e}"));
            close(cp.norm / factor, plain.norm, 1e-9 * plain.norm, "norm");
            for (a, b) in cp.model.weights.iter().zip(&plain.model.weights) {
                close(a / factor, *b, 1e-6 * b, &format!("weight at {factor:e}"));
            }
            for (f, g) in cp.model.factors.iter().zip(&plain.model.factors) {
                f.values.iter().zip(&g.values).for_each(|(a, b)| close(*a, *b, 1e-6, "factor"));
            }
            let svd = Options { init: Init::Svd, ..options.clone() };
            close(als(input, &svd, &Run::default()).unwrap().fit, plain_svd.fit, 1e-9, "svd start");
        }
    }
    // f32 near the end of its range.
    let small = Dense::new(x.shape().to_vec(), x.values().iter().map(|&v| (v * 1e-33) as f32).collect());
    close(als(Input::Dense(&small), &options, &Run::default()).unwrap().fit, plain.fit, 1e-5, "small f32");
}

#[test]
fn permuting_modes_permutes_factors() {
    let truth = random_model(&[6, 7, 8], 3, 12);
    let turned = Kruskal { weights: truth.weights.clone(), factors: [2, 0, 1].map(|m| truth.factors[m].clone()).to_vec() };
    let options = Options { tol: 1e-13, max_iter: 2000, line_search: true, restarts: 2, ..Options::new(3) };
    let a = als(Input::Dense(&reconstruct::full(&truth).unwrap()), &options, &Run::default()).unwrap();
    let b = als(Input::Dense(&reconstruct::full(&turned).unwrap()), &options, &Run::default()).unwrap();
    let back = Kruskal { weights: b.model.weights, factors: [1, 2, 0].map(|m| b.model.factors[m].clone()).to_vec() };
    assert!(align(&a.model, &back, true).unwrap().fms > 1.0 - 1e-6);
}

#[test]
fn threads_change_no_bit() {
    let x = reconstruct::full(&random_model(&[40, 50, 45], 6, 3)).unwrap();
    let observed = random_mask(x.values().len(), 0.3, 1);
    let known = coordinates(&x, |c, _| observed[c]);
    let single = to_f32(&x);
    let work = || {
        let options = Options { max_iter: 8, tol: 0.0, line_search: true, restarts: 2, ..Options::new(4) };
        let (em, svd) = (Options { missing: Missing::Em, ..options.clone() }, Options { init: Init::Svd, ..options.clone() });
        let masked = Input::Masked { x: &x, observed: &observed };
        let silent = Run::default();
        (
            [
                als(Input::Dense(&x), &svd, &silent).unwrap(),
                als(Input::Dense(&single), &options, &silent).unwrap(),
                als(Input::Sparse(&known), &svd, &silent).unwrap(),
                als(masked, &options, &silent).unwrap(),
                als(masked, &em, &silent).unwrap(),
                als(Input::Known(&known), &em, &silent).unwrap(),
                hals(Input::Dense(&x), &options, &[true; 3], NonnegSolver::Hals, &silent).unwrap(),
            ],
            cprand(Input::Dense(&x), &Rand { mix: true, sampling: Sampling::Leverage, max_epochs: 3, ..Rand::new(4) }, &silent)
                .unwrap(),
            bayes(masked, &Bayes { max_rank: Some(3), max_iter: 4, restarts: 2, ..Bayes::default() }, &silent).unwrap(),
        )
    };
    assert_eq!(run_on(1, work), run_on(2, work));
}

#[test]
fn clocks_and_restarts() {
    let x = reconstruct::full(&random_model(&[5, 6, 7], 4, 3)).unwrap();
    let options = Options { restarts: 4, max_iter: 40, ..Options::new(3) };
    let plain = als(Input::Dense(&x), &options, &Run::default()).unwrap();
    let ticks = std::cell::Cell::new(0.0);
    let clock = || {
        ticks.set(ticks.get() + 1.0);
        ticks.get()
    };
    let timed = als(Input::Dense(&x), &options, &Run { clock: Some(&clock), ..Run::default() }).unwrap();
    assert_eq!((&timed.model, &timed.restarts), (&plain.model, &plain.restarts));
    assert_eq!(timed.trace[0].seconds, Some(1.0));
    assert_eq!(plain.trace[0].seconds, None);
    // The best of the starts is the model, and each can be had by itself.
    let best = plain.restarts.iter().map(|r| r.fit).fold(f64::MIN, f64::max);
    assert_eq!((plain.fit, plain.restarts[plain.best].fit), (best, best));
    let alone = Options { restarts: 1, seed: plain.restarts[plain.best].seed, ..options.clone() };
    assert_eq!(als(Input::Dense(&x), &alone, &Run::default()).unwrap().model, plain.model);
    // Going on from a model: nothing is lost, and converged models stay.
    let warm = Options { init: Init::Model(plain.model.clone()), restarts: 1, ..options.clone() };
    assert!(als(Input::Dense(&x), &warm, &Run::default()).unwrap().trace[0].fit >= plain.fit - 1e-12);
    let observed = random_mask(x.values().len(), 0.6, 3);
    let masked = Input::Masked { x: &x, observed: &observed };
    for missing in [Missing::Em, Missing::Weighted] {
        let first = als(masked, &Options { missing, ..options.clone() }, &Run::default()).unwrap();
        let warm = Options { missing, init: Init::Model(first.model.clone()), restarts: 1, ..options.clone() };
        assert!(als(masked, &warm, &Run::default()).unwrap().trace[0].fit >= first.fit - 1e-12, "{missing:?}");
    }
    // A window asks for several quiet sweeps.
    let window = Options { stop_window: 5, restarts: 1, max_iter: 500, tol: 1e-6, ..options };
    let cp = als(Input::Dense(&x), &window, &Run::default()).unwrap();
    let tail = &cp.trace[cp.trace.len() - 6..];
    assert!(cp.converged() && tail.windows(2).all(|w| (w[1].rel_error - w[0].rel_error).abs() < 1e-6));
}

#[test]
fn ridge_shrinks_and_prox_slows() {
    let x = reconstruct::full(&random_model(&[5, 6, 7], 2, 3)).unwrap();
    let weights = |options: Options| {
        let cp = als(Input::Dense(&x), &options, &Run::default()).unwrap();
        cp.model.weights.iter().map(|w| w * w).sum::<f64>()
    };
    let plain = weights(quick(2));
    assert!(weights(Options { l2: 0.5, ..quick(2) }) < plain);
    // One mode of size 1 and R = 1: x u vᵀ with l2 has a closed form. X = a bᵀ, ‖b‖ = 1 at the fixed point: u = a (bᵀb)/(bᵀb + l2).
    let one = Options { max_iter: 1, tol: 0.0, ..Options::new(2) };
    let start = random_model(&[5, 6, 7], 2, 99);
    let moved = |prox: f64| {
        let options = Options { prox, init: Init::Model(start.clone()), ..one.clone() };
        let cp = als(Input::Dense(&x), &options, &Run::default()).unwrap();
        1.0 - align(&cp.model, &canonical(start.clone()), true).unwrap().fms
    };
    let (free, held, fixed) = (moved(0.0), moved(10.0), moved(1e9));
    assert!(free > held && held > fixed && fixed < 1e-6, "{free} {held} {fixed}");
    // The same for rows of their own.
    let observed = random_mask(x.values().len(), 0.4, 3);
    let options = Options { prox: 1e9, init: Init::Model(start.clone()), missing: Missing::Weighted, ..one.clone() };
    let cp = als(Input::Masked { x: &x, observed: &observed }, &options, &Run::default()).unwrap();
    assert!(1.0 - align(&cp.model, &canonical(start), true).unwrap().fms < 1e-6);
}

#[test]
fn ridge_at_rank_one_has_its_closed_form() {
    // x = a bᵀ: the second solve is v = Xᵀu / (uᵀu + l2), with u of norm 1 after the first sweep's normalisation.
    let (a, b) = ([3.0, 4.0], [1.0, 2.0, 2.0]);
    let x = Dense::new(vec![2, 3], a.iter().flat_map(|a| b.iter().map(move |b| a * b)).collect());
    let cp = als(Input::Dense(&x), &Options { l2: 0.25, max_iter: 1, ..Options::new(1) }, &Run::default()).unwrap();
    // λ = ‖a‖ ‖b‖ / (1 + ¼).
    close(cp.model.weights[0], 15.0 / 1.25, 1e-12, "weight");
    close(cp.rel_error, 0.2, 1e-12, "error");
}
