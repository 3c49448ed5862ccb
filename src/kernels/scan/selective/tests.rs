//! Against the definition and the golden, gradients against central differences, and the edges.

use super::case::{Case, NAMES};
use super::*;
use crate::kernels::simd::{available, with_isa};
use crate::kernels::testing::{bits, cast, close, differences, exchanged, flat, golden, in_pool, numbers, wide};

/// `out` and last states, then the gradients in the order of the inputs.
fn run<T: Real>(case: &Case) -> [Vec<T>; 11] {
    let owned: [Vec<T>; 9] = std::array::from_fn(|i| cast(&case.inputs[i]));
    let (scan, x, initial) = case.views(&owned);
    let nan = |len: usize| vec![T::from_f64(f64::NAN); len];
    let (mut out, mut last, mut starts) = (nan(x.u.len()), nan(scan.state_len()), nan(scan.starts_len()));
    scan.forward(&x, initial, &mut out, Some(&mut last), Some(&mut starts));
    let mut to: [Vec<T>; 9] = std::array::from_fn(|i| nan(owned[i].len()));
    {
        let [u, delta, b, c, z, a, skip, delta_bias, initial] = &mut to;
        let some = |v| case.optional.then_some(v);
        let gradients = Gradients {
            u: Some(u),
            delta: Some(delta),
            b: Some(b),
            c: Some(c),
            z: some(z).map(|v: &mut Vec<T>| &mut v[..]),
            a: Some(a),
            skip: some(skip).map(|v| &mut v[..]),
            delta_bias: some(delta_bias).map(|v| &mut v[..]),
            initial: Some(initial),
        };
        let dlast = cast::<T>(&case.dlast);
        scan.backward(&x, &starts, &cast::<T>(&case.dout), case.optional.then_some(&dlast), gradients);
    }
    if !case.optional {
        [4, 6, 7].into_iter().for_each(|i| to[i].clear());
    }
    let [u, delta, b, c, z, a, skip, bias, first] = to;
    [out, last, u, delta, b, c, z, a, skip, bias, first]
}

fn cases() -> Vec<Case> {
    vec![
        Case::new(&[0, 7, 7, 8, 150], [5, 3, 1], true),
        Case::new(&[0, 130], [40, 16, 2], true),
        Case::new(&[0, 64, 128], [16, 1, 1], false),
        Case::new(&[0, 65], [6, 2, 6], true),
        Case::new(&[0, 1], [1, 1, 1], false),
        Case::new(&[0, 20, 40, 60], [300, 5, 1], true),
    ]
}

#[test]
fn golden_values_and_gradients() {
    let g = golden("selective_scan");
    // Arrays are (b, d, l) and (b, g, n, l); rows come first here.
    let of = |v: &serde_json::Value, name: &str| {
        let x = flat(&v[name]);
        if matches!(name, "u" | "delta" | "z" | "B" | "C" | "out") || name == "dout" { exchanged(&x, 2, 5) } else { x }
    };
    let names = ["u", "delta", "B", "C", "z", "A", "D", "delta_bias", "h0"];
    let (dout, dlast) = (of(&g, "dout"), flat(&g["dlast_state"]));
    let case = Case { inputs: names.map(|n| of(&g, n)), dout, dlast, ..Case::new(&[0, 5], [2, 2, 1], true) };
    let [out, last, to @ ..] = case.exact();
    close(&out, &of(&g, "out"), 1e-14, "out by the definition");
    close(&last, &flat(&g["last_state"]), 1e-14, "last states by the definition");
    for (found, name) in to.iter().zip(names) {
        close(found, &of(&g["grads"], name), 1e-13, name);
    }
    // The tolerances of the goldens.
    let single = run::<f32>(&case).map(|v| wide(&v));
    for (all, outputs, gradients) in [(run::<f64>(&case), 1e-10, 1e-10), (single, 1e-5, 1e-4)] {
        let [out, last, to @ ..] = all;
        close(&out, &of(&g, "out"), outputs, "out");
        close(&last, &flat(&g["last_state"]), outputs, "last states");
        for (found, name) in to.iter().zip(names) {
            close(found, &of(&g["grads"], name), gradients, name);
        }
    }
}

#[test]
fn fast_is_the_definition() {
    for case in cases() {
        let what = |name: &str| format!("{name} of {:?} {}x{}", case.bounds, case.channels, case.states);
        let [out, last, to @ ..] = case.exact();
        let [f, l, g @ ..] = run::<f64>(&case);
        // Decays below 1 keep errors from growing; sums have at most some thousands of terms, all relative to the largest result.
        close(&f, &out, 1e-13, &what("out"));
        close(&l, &last, 1e-13, &what("last states"));
        for ((found, exact), name) in g.iter().zip(&to).zip(NAMES) {
            close(found, exact, 1e-12, &what(name));
        }
        let [f, l, g @ ..] = run::<f32>(&case);
        close(&wide(&f), &out, 1e-5, &what("out"));
        close(&wide(&l), &last, 1e-5, &what("last states"));
        for ((found, exact), name) in g.iter().zip(&to).zip(NAMES) {
            close(&wide(found), exact, 1e-4, &what(name));
        }
    }
}

#[test]
fn gradients_are_central_differences() {
    for optional in [true, false] {
        let case = Case::new(&[0, 4, 4, 70], [3, 2, 1], optional);
        let [_, _, to @ ..] = run::<f64>(&case);
        let (dout, dlast) = (&case.dout, &case.dlast);
        for i in 0..9 {
            if to[i].is_empty() || (!optional && i == 8) {
                continue;
            }
            // Truncation: step²/6 times third derivatives of some tens; rounding: a loss of size 100 over the step.
            differences(&case.inputs[i], &to[i], 7, 5e-8, NAMES[i], |x| {
                let mut changed = case.clone();
                changed.inputs[i] = x.to_vec();
                let (scan, x, initial) = changed.views(&changed.inputs);
                let (mut out, mut last) = (vec![0.0; dout.len()], vec![0.0; dlast.len()]);
                scan.forward(&x, initial, &mut out, Some(&mut last), None);
                let sum = |a: &[f64], g: &[f64]| a.iter().zip(g).map(|(a, g)| a * g).sum::<f64>();
                sum(&out, dout) + if optional { sum(&last, dlast) } else { 0.0 }
            });
        }
    }
}

#[test]
fn parts_and_steps_continue_each_other() {
    let case = Case::new(&[0, 90], [5, 3, 1], true);
    let (scan, x, initial) = case.views(&case.inputs);
    let (mut whole, mut last) = (vec![0.0; 450], vec![0.0; 15]);
    scan.forward(&x, initial, &mut whole, Some(&mut last), None);
    let part = |rows: Range<usize>| Inputs {
        u: &x.u[rows.start * 5..rows.end * 5],
        delta: &x.delta[rows.start * 5..rows.end * 5],
        b: &x.b[rows.start * 3..rows.end * 3],
        c: &x.c[rows.start * 3..rows.end * 3],
        z: x.z.map(|z| &z[rows.start * 5..rows.end * 5]),
    };
    for cut in [0, 1, 63, 64, 65, 89, 90] {
        let (mut out, mut state, mut end) = (vec![0.0; 450], vec![0.0; 15], vec![0.0; 15]);
        let (first, second) = out.split_at_mut(cut * 5);
        let of = |len| SelectiveScan { sequences: Sequences::Equal { count: 1, len }, ..scan };
        of(cut).forward(&part(0..cut), initial, first, Some(&mut state), None);
        of(90 - cut).forward(&part(cut..90), Some(&state), second, Some(&mut end), None);
        assert_eq!((&out, &end), (&whole, &last), "cut at {cut}");
    }
    let (mut state, mut out) = (case.inputs[8].clone(), vec![0.0; 450]);
    for (t, y) in out.chunks_mut(5).enumerate() {
        scan.step(&part(t..t + 1), &mut state, y);
    }
    assert_eq!((out, state), (whole, last));
}

#[test]
fn threads_and_instruction_sets_change_no_bit() {
    let run = |case: &Case| run::<f32>(case).map(|v| bits(&v));
    for case in cases() {
        let one = in_pool(1, || run(&case));
        assert!(one == in_pool(2, || run(&case)) && one == in_pool(3, || run(&case)));
        for isa in available() {
            assert!(one == in_pool(1, || with_isa(isa, || run(&case))), "{isa:?}");
        }
    }
}

#[test]
fn equal_sequences_are_packed_ones() {
    let case = Case::new(&[0, 20, 40, 60], [7, 3, 1], true);
    let (scan, x, initial) = case.views(&case.inputs);
    let equal = SelectiveScan { sequences: Sequences::Equal { count: 3, len: 20 }, ..scan };
    let run = |scan: &SelectiveScan<'_, f64>| {
        let mut out = vec![0.0; x.u.len()];
        scan.forward(&x, initial, &mut out, None, None);
        out
    };
    assert_eq!(run(&scan), run(&equal));
    assert_eq!(scan.starts_len(), equal.starts_len());
}

#[test]
fn nothing_in_gives_nothing_and_misfits_are_refused() {
    let [out, last, to @ ..] = run::<f64>(&Case::new(&[0, 0], [2, 3, 1], true));
    assert!(out.is_empty() && to[5].iter().chain(&to[6]).chain(&to[7]).all(|v| *v == 0.0));
    assert_eq!(last, numbers(9, 6));
    assert_eq!(to[8], numbers(21, 6));
    let none = Case::new(&[0], [2, 3, 1], false);
    assert!(run::<f64>(&none)[7].iter().all(|v| *v == 0.0));
    let refused = |change: fn(&mut Case)| {
        let mut case = Case::new(&[0, 4], [2, 3, 1], true);
        change(&mut case);
        std::panic::catch_unwind(|| run::<f64>(&case)).is_err()
    };
    assert!(!refused(|_| ()));
    assert!(refused(|c| c.groups = 3) && refused(|c| c.bounds = vec![0, 5]) && refused(|c| c.states = 2));
}
