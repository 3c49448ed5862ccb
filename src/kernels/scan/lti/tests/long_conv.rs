//! Against the definition, over sizes that take both forms.

use crate::kernels::scan::Sequences;
use crate::kernels::scan::lti::long_conv::{Gradients, LongConv, reference};
use crate::kernels::simd::{Real, available, with_isa};
use crate::kernels::testing::{bits, cast, close, differences, in_pool, numbers, wide};

/// Bounds, channels, taps.
type Case = (Vec<usize>, usize, usize);

fn cases() -> Vec<Case> {
    vec![
        (vec![0, 7, 7, 8, 150], 5, 150),
        (vec![0, 1], 1, 1),
        (vec![0, 65], 19, 65),
        (vec![0, 300, 600, 900], 17, 300),
        (vec![0, 600, 601, 1700], 3, 2000),
        (vec![0, 1000], 16, 40),
        (vec![0, 1000, 2000], 8, 700),
        (vec![0, 513, 1026, 1539], 33, 513),
        (vec![0, 2200, 3000], 2, 2200),
    ]
}

fn run<T: Real>((bounds, channels, taps): &Case, k: &[f64], u: &[f64], dy: &[f64]) -> [Vec<T>; 3] {
    let kernel = cast::<T>(k);
    let conv = LongConv { sequences: Sequences::Packed(bounds), channels: *channels, taps: *taps, kernel: &kernel };
    let nan = |len: usize| vec![T::from_f64(f64::NAN); len];
    let (mut y, mut du, mut dk) = (nan(u.len()), nan(u.len()), nan(k.len()));
    conv.forward(&cast::<T>(u), &mut y);
    conv.backward(&cast::<T>(u), &cast::<T>(dy), Gradients { u: Some(&mut du), kernel: Some(&mut dk) });
    [y, du, dk]
}

fn inputs((bounds, channels, taps): &Case) -> [Vec<f64>; 3] {
    let rows = bounds[bounds.len() - 1];
    [numbers(1, channels * taps), numbers(2, rows * channels), numbers(3, rows * channels)]
}

#[test]
fn both_forms_are_the_definition() {
    for case in cases() {
        let [k, u, dy] = inputs(&case);
        let conv = LongConv { sequences: Sequences::Packed(&case.0), channels: case.1, taps: case.2, kernel: &k };
        let y = reference::forward(&conv, &u);
        let (du, dk) = reference::backward(&conv, &u, &dy);
        let what = |name: &str| format!("{name} of {case:?}");
        for (found, (exact, name)) in run::<f64>(&case, &k, &u, &dy).iter().zip([(&y, "y"), (&du, "du"), (&dk, "dk")]) {
            close(found, exact, 1e-13, &what(name));
        }
        for (found, (exact, name)) in run::<f32>(&case, &k, &u, &dy).iter().zip([(&y, "y"), (&du, "du"), (&dk, "dk")]) {
            close(&wide(found), exact, 5e-6, &what(name));
        }
    }
}

#[test]
fn gradients_are_central_differences() {
    for case in [(vec![0, 4, 4, 30], 3, 30), (vec![0, 300, 600], 1, 300)] {
        let [k, u, dy] = inputs(&case);
        let [_, du, dk] = run::<f64>(&case, &k, &u, &dy);
        let loss = |k: &[f64], u: &[f64]| {
            let y = &run::<f64>(&case, k, u, &dy)[0];
            y.iter().zip(&dy).map(|(a, b)| a * b).sum::<f64>()
        };
        // The loss is linear: what is left is its rounding, 1e-13 at a size of some hundred, over the step of 1e-5.
        differences(&u, &du, 13, 5e-8, "u", |u| loss(&k, u));
        differences(&k, &dk, 11, 5e-8, "kernel", |k| loss(k, &u));
    }
}

#[test]
fn threads_and_instruction_sets_change_no_bit() {
    for case in cases() {
        let [k, u, dy] = inputs(&case);
        let run = || run::<f32>(&case, &k, &u, &dy).map(|v| bits(&v));
        let one = in_pool(1, run);
        assert!(one == in_pool(2, run) && one == in_pool(8, run));
        for isa in available() {
            assert!(one == in_pool(1, || with_isa(isa, run)), "{isa:?}");
        }
    }
}

#[test]
fn nothing_in_gives_nothing_and_misfits_are_refused() {
    for case in [(vec![0], 2, 3), (vec![0, 0, 0], 2, 3)] {
        let [y, du, dk] = run::<f64>(&case, &numbers(1, 6), &[], &[]);
        assert!(y.is_empty() && du.is_empty() && dk == vec![0.0; 6]);
    }
    let [y, du, _] = run::<f64>(&(vec![0, 5], 1, 0), &[], &numbers(1, 5), &numbers(2, 5));
    assert!(y.iter().chain(&du).all(|v| *v == 0.0));
    let refused =
        |case: &Case, u: usize| std::panic::catch_unwind(|| run::<f64>(case, &[1.0; 6], &vec![0.0; u], &vec![0.0; u])).is_err();
    assert!(!refused(&(vec![0, 4], 2, 3), 8));
    assert!(refused(&(vec![0, 4], 2, 2), 8) && refused(&(vec![0, 4], 2, 3), 6) && refused(&(vec![1, 4], 2, 3), 8));
}
