//! Sampled decompositions.

use super::*;
use crate::tensor::align::align;

#[test]
fn exact_models_are_found_from_samples() {
    let truth = canonical(random_model(&[20, 25, 22], 3, 5));
    let x = reconstruct::full(&truth).unwrap();
    for mix in [false, true] {
        for sampling in [Sampling::Uniform, Sampling::Leverage] {
            let options = Rand { mix, sampling, tol: 1e-12, max_epochs: 300, restarts: 4, ..Rand::new(3) };
            let found = cprand(Input::Dense(&x), &options, &Run::default()).unwrap();
            assert_eq!(found.samples, 33);
            let fms = align(&found.model, &truth, true).unwrap().fms;
            assert!(fms > 1.0 - 1e-6, "mix {mix} {sampling:?}: fms {fms} fit {}", found.evaluation.fit);
            assert!(found.evaluation.fit > 1.0 - 1e-6);
        }
    }
}

#[test]
fn amino_acid_fit_is_near_that_of_all_rows() {
    let Some(x) = amino_acid() else { return };
    for (mix, sampling) in [(false, Sampling::Uniform), (true, Sampling::Uniform), (false, Sampling::Leverage)] {
        let options = Rand { mix, sampling, samples: Some(200), ..Rand::new(3) };
        let found = cprand(Input::Dense(&x), &options, &Run::default()).unwrap();
        // Residuals of sampled problems exceed the least by about R / S: 1.5 % of 0.025.
        assert!(
            found.evaluation.fit > 0.974 && found.evaluation.fit <= 0.97495149,
            "mix {mix} {sampling:?}: {}",
            found.evaluation.fit
        );
    }
}

#[test]
fn mass_in_few_cells_is_seen_after_mixing() {
    // One component lives on a single row of every mode: a uniform sample of 33 rows of 900 nearly always misses it.
    let mut truth = random_model(&[30, 30, 30], 2, 7);
    for f in &mut truth.factors {
        f.values.iter_mut().skip(1).step_by(2).for_each(|v| *v = 0.0);
        f.values[2 * 11 + 1] = 10.0;
    }
    let truth = canonical(truth);
    let x = reconstruct::full(&truth).unwrap();
    // Leverage scores do not help here: those of random factors know nothing of the row.
    let found = |mix| cprand(Input::Dense(&x), &Rand { mix, tol: 1e-10, restarts: 3, ..Rand::new(2) }, &Run::default()).unwrap();
    assert!(found(true).evaluation.fit > 0.999);
    assert!(found(false).evaluation.fit < 0.9);
}
