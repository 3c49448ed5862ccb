//! Against the definition and the golden, gradients against central differences, and the edges.

use super::*;
use crate::kernels::simd::{available, with_isa};
use crate::kernels::testing::{bits, cast, close, differences, exchanged, flat, golden, in_pool, numbers, wide};

/// Sequences, channels, taps, silu.
fn cases() -> Vec<(Vec<usize>, usize, usize, bool)> {
    vec![
        (vec![0, 7, 7, 8, 21], 5, 4, true),
        (vec![0, 600], 3, 4, true),
        (vec![0, 300, 301, 303], 17, 3, false),
        (vec![0, 9, 18], 32, 2, true),
        (vec![0, 5], 1, 1, false),
        (vec![0, 3, 40], 33, 9, true),
    ]
}

fn conv<'a, T>(bounds: &'a [usize], d: usize, k: usize, silu: bool, w: &'a [T], b: &'a [T]) -> CausalConv<'a, T> {
    CausalConv { sequences: Sequences::Packed(bounds), channels: d, taps: k, weight: w, bias: Some(b), silu }
}

#[test]
fn golden_values() {
    let g = golden("causal_conv1d");
    let of = |name: &str| flat(&g[name]);
    let (w, b) = (of("weight"), of("bias"));
    let x = exchanged(&of("x"), 2, 6);
    let carried = exchanged(&of("init_state_last3"), 2, 3);
    for (name, silu, before) in
        [("y_silu", true, None), ("y_linear", false, None), ("y_silu_with_state", true, Some(&carried[..]))]
    {
        let mut y = vec![f64::NAN; 12];
        conv(&[0, 6], 2, 4, silu, &w, &b).forward(&x, before, &mut y, None);
        close(&y, &exchanged(&of(name), 2, 6), 1e-15, name);
        let (w, b, x) = (cast::<f32>(&w), cast::<f32>(&b), cast::<f32>(&x));
        let before = before.map(cast::<f32>);
        let mut y = vec![f32::NAN; 12];
        conv(&[0, 6], 2, 4, silu, &w, &b).forward(&x, before.as_deref(), &mut y, None);
        // Four products and a sum, a sigmoid of a few ulp.
        close(&wide(&y), &exchanged(&of(name), 2, 6), 1e-6, name);
    }
}

fn run<T: Real>(case: &(Vec<usize>, usize, usize, bool), given: bool) -> [Vec<T>; 6] {
    let (bounds, d, k, silu) = case;
    let rows = bounds[bounds.len() - 1];
    let count = bounds.len() - 1;
    let (w, b) = (cast::<T>(&numbers(1, d * k)), cast::<T>(&numbers(2, *d)));
    let (x, dy) = (cast::<T>(&numbers(3, rows * d)), cast::<T>(&numbers(4, rows * d)));
    let (before, dafter) = (cast::<T>(&numbers(5, count * (k - 1) * d)), cast::<T>(&numbers(6, count * (k - 1) * d)));
    let op = conv(bounds, *d, *k, *silu, &w, &b);
    let nan = |len: usize| vec![T::from_f64(f64::NAN); len];
    let (mut y, mut after) = (nan(x.len()), nan(before.len()));
    op.forward(&x, given.then_some(&before), &mut y, Some(&mut after));
    let (mut dx, mut dw, mut db, mut dbefore) = (nan(x.len()), nan(w.len()), nan(b.len()), nan(before.len()));
    let to = Gradients { x: Some(&mut dx), weight: Some(&mut dw), bias: Some(&mut db), before: Some(&mut dbefore) };
    op.backward(&x, given.then_some(&before), &dy, given.then_some(&dafter), to);
    [y, after, dx, dw, db, dbefore]
}

#[test]
fn fast_is_the_definition() {
    for case in cases() {
        for given in [false, true] {
            let (bounds, d, k, silu) = &case;
            let (rows, count) = (bounds[bounds.len() - 1], bounds.len() - 1);
            let (w, b) = (numbers(1, d * k), numbers(2, *d));
            let (x, dy) = (numbers(3, rows * d), numbers(4, rows * d));
            let (before, dafter) = (numbers(5, count * (k - 1) * d), numbers(6, count * (k - 1) * d));
            let op = conv(bounds, *d, *k, *silu, &w, &b);
            let (y, after) = reference::forward(&op, &x, given.then_some(&before));
            let [dx, dw, db, dbefore] = reference::backward(&op, &x, given.then_some(&before), &dy, given.then_some(&dafter));
            let exact = [y, after, dx, dw, db, dbefore];
            // A dozen roundings in each element; the sums over rows in trees and runs of up to 600 terms, relative to their own size.
            for (i, ((f, e), name)) in
                (run::<f64>(&case, given).iter().zip(&exact)).zip(["y", "after", "dx", "dw", "db", "dbefore"]).enumerate()
            {
                close(f, e, if i == 3 || i == 4 { 1e-12 } else { 1e-14 }, &format!("{name} of {case:?}"));
            }
            for (i, (f, e)) in run::<f32>(&case, given).iter().zip(&exact).enumerate() {
                close(&wide(f), e, if i == 3 || i == 4 { 2e-5 } else { 2e-6 }, &format!("f32 {i} of {case:?}"));
            }
        }
    }
}

#[test]
fn gradients_are_central_differences() {
    let case = (vec![0, 5, 5, 14], 3, 4, true);
    let (bounds, d, k) = (&case.0, 3, 4);
    let (w, b, x, before) = (numbers(1, d * k), numbers(2, d), numbers(3, 14 * d), numbers(5, 3 * 3 * d));
    let (dy, dafter) = (numbers(4, 14 * d), numbers(6, 3 * 3 * d));
    let loss = |w: &[f64], b: &[f64], x: &[f64], before: &[f64]| -> f64 {
        let (mut y, mut after) = (vec![0.0; x.len()], vec![0.0; before.len()]);
        conv(bounds, d, k, true, w, b).forward(x, Some(before), &mut y, Some(&mut after));
        let sum = |a: &[f64], g: &[f64]| a.iter().zip(g).map(|(a, g)| a * g).sum::<f64>();
        sum(&y, &dy) + sum(&after, &dafter)
    };
    let [_, _, dx, dw, db, dbefore] = run::<f64>(&case, true);
    // Truncation: step²/6 · third derivatives below 10; rounding: 1e-15 · 10 over the step.
    differences(&x, &dx, 1, 5e-9, "x", |x| loss(&w, &b, x, &before));
    differences(&w, &dw, 1, 5e-9, "weight", |w| loss(w, &b, &x, &before));
    differences(&b, &db, 1, 5e-9, "bias", |b| loss(&w, b, &x, &before));
    differences(&before, &dbefore, 1, 5e-9, "rows carried in", |before| loss(&w, &b, &x, before));
}

#[test]
fn parts_and_steps_continue_each_other() {
    let (d, k, rows) = (5, 4, 20);
    let (w, b, x, before) = (numbers(1, d * k), numbers(2, d), numbers(3, rows * d), numbers(5, 3 * d));
    let mut whole = vec![0.0; rows * d];
    conv(&[0, rows], d, k, true, &w, &b).forward(&x, Some(&before), &mut whole, None);
    for cut in 0..=rows {
        let (mut y, mut carried) = (vec![0.0; rows * d], vec![0.0; 3 * d]);
        let (first, second) = y.split_at_mut(cut * d);
        conv(&[0, cut], d, k, true, &w, &b).forward(&x[..cut * d], Some(&before), first, Some(&mut carried));
        conv(&[0, rows - cut], d, k, true, &w, &b).forward(&x[cut * d..], Some(&carried), second, None);
        assert_eq!(y, whole, "cut at {cut}");
    }
    let (mut carried, mut y) = (before, vec![0.0; rows * d]);
    for (x, y) in x.chunks(d).zip(y.chunks_mut(d)) {
        conv(&[0, rows], d, k, true, &w, &b).step(x, &mut carried, y);
    }
    assert_eq!(y, whole);
}

#[test]
fn threads_and_instruction_sets_change_no_bit() {
    for case in cases() {
        let all = |threads| in_pool(threads, || run::<f32>(&case, true).map(|v| bits(&v)));
        let one = all(1);
        assert_eq!(one, all(3));
        for isa in available() {
            assert_eq!(one, in_pool(1, || with_isa(isa, || run::<f32>(&case, true).map(|v| bits(&v)))), "{isa:?}");
        }
    }
}

#[test]
fn nothing_in_gives_nothing_and_misfits_are_refused() {
    let empty = (vec![0, 0], 2, 3, true);
    let [y, after, _, dw, db, dbefore] = run::<f64>(&empty, true);
    assert!(y.is_empty() && dw.iter().chain(&db).all(|v| *v == 0.0));
    assert_eq!(after, numbers(5, 4));
    assert_eq!(dbefore, numbers(6, 4));
    let refused = |bounds: &[usize], k: usize, x: usize| {
        std::panic::catch_unwind(|| {
            conv(bounds, 2, k, true, &[0.0; 6], &[0.0; 2]).forward(&vec![0.0; x], None, &mut vec![0.0; x], None)
        })
        .is_err()
    };
    assert!(!refused(&[0, 4], 3, 8));
    assert!(refused(&[0, 4], 3, 7) && refused(&[0, 4], 2, 8) && refused(&[1, 4], 3, 8));
}
