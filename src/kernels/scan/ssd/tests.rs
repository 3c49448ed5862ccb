//! Against the definition, worked examples and central differences, and the edges.

use super::case::{Case, Data, case, data};
use super::*;
use crate::kernels::simd::{available, with_isa};
use crate::kernels::testing::{bits, cast, wide};
use serde_json::Value;

const NAMES: [&str; 7] = ["x", "dt", "b", "c", "a", "D", "h0"];

/// Packed sequences with empty ones, a single row, widths of no whole vector, several groups, chunks from one step to more than
/// there are, more chunks than a segment, more heads than a task takes.
fn cases() -> Vec<Case> {
    vec![
        case(&[0, 0, 13, 13, 14, 37, 37], [4, 5, 2, 3], 7, 5),
        case(&[0, 1], [1, 1, 1, 1], 64, 1),
        case(&[0, 150], [2, 3, 1, 4], 1, 1),
        case(&[0, 67, 70], [3, 17, 3, 19], 64, 0),
        case(&[0, 90], [7, 16, 1, 16], 16, 1),
        case(&[0, 33, 33], [2, 4, 1, 33], 2, 4),
        case(&[0, 41], [2, 6, 2, 5], 3, 0),
        case(&[0, 10, 20], [2, 9, 1, 2], 100, 9),
        case(&[0, 300], [1, 2, 1, 3], 256, 1),
        case(&[0, 3, 4, 60], [20, 2, 2, 5], 64, 1),
    ]
}

/// y and the last states.
fn forward<T: Real>(case: &Case, data: &Data, with_states: bool) -> [Vec<T>; 2] {
    let [x, dt, b, c, a, d, h0, ..] = data.each_ref().map(|v| cast::<T>(v));
    let mut y = vec![T::from_f64(f64::NAN); x.len()];
    let mut last = vec![T::from_f64(f64::NAN); h0.len()];
    let inputs = Inputs { x: &x, dt: &dt, b: &b, c: &c };
    case.scan(&a, &d).forward(&inputs, with_states.then_some(&h0), &mut y, with_states.then_some(&mut last));
    [y, last]
}

/// The gradients that are wanted, in the order of [`NAMES`].
fn backward<T: Real>(case: &Case, data: &Data, with_states: bool, wanted: [bool; 7]) -> [Vec<T>; 7] {
    let [x, dt, b, c, a, d, h0, dy, dlast] = data.each_ref().map(|v| cast::<T>(v));
    let mut to = [&x, &dt, &b, &c, &a, &d, &h0].map(|v| vec![T::from_f64(f64::NAN); v.len()]);
    let inputs = Inputs { x: &x, dt: &dt, b: &b, c: &c };
    let places: [Option<&mut [T]>; 7] = {
        let mut wanted = wanted.into_iter();
        to.each_mut().map(|v| if wanted.next() == Some(true) && !v.is_empty() { Some(&mut v[..]) } else { None })
    };
    let [gx, gdt, gb, gc, ga, gd, gh] = places;
    let gradients = Gradients { x: gx, dt: gdt, b: gb, c: gc, a: ga, skip: gd, initial: gh };
    case.scan(&a, &d).backward(&inputs, with_states.then_some(&h0), &dy, with_states.then_some(&dlast), gradients);
    to
}

fn exact_backward(case: &Case, data: &Data, with_states: bool) -> [Vec<f64>; 7] {
    let [_, _, gradients @ ..] = case.exact(data, with_states);
    gradients
}

fn exact_forward(case: &Case, data: &Data, with_states: bool) -> [Vec<f64>; 2] {
    let [y, last, ..] = case.exact(data, with_states);
    [y, last]
}

/// The same case with the absolute values of all numbers but A: what it gives is the sum of the absolute values of all terms of the
/// result, to which rounding errors are relative.
fn absolute(data: &Data) -> Data {
    let mut all = data.clone();
    all.iter_mut().enumerate().filter(|(i, _)| *i != 4).for_each(|(_, v)| v.iter_mut().for_each(|v| *v = v.abs()));
    all
}

/// Sums of absolute values of the terms of all gradients.
fn magnitudes(case: &Case, data: &Data) -> [Vec<f64>; 7] {
    let data = absolute(data);
    let mut all = exact_backward(case, &data, true);
    // The terms of dΔ by way of the decay have the sign of A. Those by way of the input are dX·x/Δ, without D.
    let plain = Case { skip: 0, ..case.clone() };
    let dx = &exact_backward(&plain, &data, true)[0];
    for (place, total) in all[1].iter_mut().enumerate() {
        let line = place * case.width..(place + 1) * case.width;
        let input: f64 = dx[line.clone()].iter().zip(&data[0][line]).map(|(d, x)| d * x / data[1][place]).sum();
        *total = 2.0 * input - *total;
    }
    all
}

/// Roundings that a term meets at most: on its way through the steps (a decay has an exponential and a sum of steps, whose error is
/// relative to an exponent x that weighs x·exp(-x) < 1), and in the sums over states, channels, heads and rows.
fn roundings(case: &Case) -> f64 {
    let rows = case.bounds[case.bounds.len() - 1];
    (4 * rows + 2 * case.states + case.heads * case.width + case.states * case.width / 4 + 40) as f64
}

fn assert_close<T: Real>(found: &[T], exact: &[f64], magnitude: &[f64], allowed: f64, what: &str) {
    assert!(found.len() == exact.len() && exact.len() == magnitude.len(), "{what}");
    for (i, ((f, e), m)) in found.iter().zip(exact).zip(magnitude).enumerate() {
        let f = f.to_f64();
        assert!((f - e).abs() <= allowed * m, "{what}[{i}] is {f}, not {e}: error {} of {m}", (f - e).abs() / m);
    }
}

fn against_the_definition<T: Real>(case: &Case, eps: f64) {
    let data = data(case);
    let allowed = roundings(case) * eps;
    for with_states in [true, false] {
        let (found, exact) = (forward::<T>(case, &data, with_states), exact_forward(case, &data, with_states));
        let magnitude = exact_forward(case, &absolute(&data), true);
        assert_close(&found[0], &exact[0], &magnitude[0], allowed, &format!("{case:?} y"));
        if with_states {
            assert_close(&found[1], &exact[1], &magnitude[1], allowed, &format!("{case:?} last"));
        }
        let (found, exact) = (backward::<T>(case, &data, with_states, [true; 7]), exact_backward(case, &data, with_states));
        for ((name, magnitude), (f, e)) in NAMES.iter().zip(magnitudes(case, &data)).zip(found.iter().zip(&exact)) {
            assert_close(f, e, &magnitude, allowed, &format!("{case:?} d{name}"));
        }
    }
}

#[test]
fn double_precision_is_the_definition() {
    cases().iter().for_each(|case| against_the_definition::<f64>(case, f64::EPSILON));
}

#[test]
fn single_precision_is_the_definition() {
    cases().iter().for_each(|case| against_the_definition::<f32>(case, f64::from(f32::EPSILON)));
}

#[test]
fn the_chunk_changes_rounding_alone() {
    let mut case = case(&[0, 70, 71, 71, 97], [4, 18, 2, 17], 1, 1);
    for chunk in [1, 2, 3, 5, 7, 8, 64, 70, 77] {
        case.chunk = chunk;
        against_the_definition::<f64>(&case, f64::EPSILON);
        against_the_definition::<f32>(&case, f64::from(f32::EPSILON));
    }
}

#[test]
fn equal_sequences_are_packed_ones() {
    let case = case(&[0, 9, 18, 27], [2, 3, 1, 4], 4, 1);
    let data = data(&case);
    let [x, dt, b, c, a, d, ..] = &data;
    let ssd = Ssd { sequences: Sequences::Equal { count: 3, len: 9 }, ..case.scan(a, d) };
    let mut y = vec![0.0; x.len()];
    ssd.forward(&Inputs { x, dt, b, c }, None, &mut y, None);
    assert_eq!(y, forward::<f64>(&case, &data, false)[0]);
}

#[test]
fn gradients_are_central_differences() {
    let mut sizes = cases();
    sizes.push(case(&[0, 9, 9, 14], [4, 3, 2, 4], 4, 3));
    for case in sizes.iter().filter(|c| c.bounds[c.bounds.len() - 1] <= 42) {
        let mut data = data(case);
        let found = backward::<f64>(case, &data, true, [true; 7]);
        let loss = |data: &Data| -> f64 {
            let [y, last] = forward::<f64>(case, data, true);
            let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
            dot(&y, &data[7]) + dot(&last, &data[8])
        };
        let step = 1e-5;
        for (k, name) in NAMES.iter().enumerate() {
            for i in (0..data[k].len()).step_by(data[k].len() / 24 + 1) {
                let before = data[k][i];
                let mut at = |v: f64| {
                    data[k][i] = v;
                    loss(&data)
                };
                let numeric = (at(before + step) - at(before - step)) / (2.0 * step);
                data[k][i] = before;
                // Truncation: step²/6 times third derivatives of some hundreds (of Δ and A); rounding: a loss of some hundreds in
                // steps of 2^-52 over the step. Both are below 2e-8.
                let error = (numeric - found[k][i]).abs();
                assert!(error <= 5e-8 * (1.0 + found[k][i].abs()), "{case:?} d{name}[{i}] is {}, not {numeric}", found[k][i]);
            }
        }
    }
}

fn flat(v: &Value) -> Vec<f64> {
    match v {
        Value::Array(parts) => parts.iter().flat_map(flat).collect(),
        other => vec![other.as_f64().unwrap()],
    }
}

fn golden() -> (Value, Case, Data) {
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/ssm/ssd.json")).unwrap();
    let json: Value = serde_json::from_str(&text).unwrap();
    let names = ["X", "dt", "B", "C", "A", "D", "h0", "dY", "dfinal_state"];
    let data = names.map(|name| flat(&json[name]));
    (json, case(&[0, 8], [2, 2, 1, 3], 4, 1), data)
}

fn within<T: Real>(found: &[T], exact: &[f64], tolerance: f64, what: &str) {
    let largest = exact.iter().fold(0.0f64, |m, v| m.max(v.abs()));
    assert_close(found, exact, &vec![largest; exact.len()], tolerance, what);
}

fn worked_example<T: Real>(outputs: f64, gradients: f64) {
    let (json, mut case, data) = golden();
    for chunk in [1, 3, 4, 64] {
        case.chunk = chunk;
        let [y, last] = forward::<T>(&case, &data, true);
        within(&y, &flat(&json["Y"]), outputs, "Y");
        within(&last, &flat(&json["final_state"]), outputs, "final_state");
        let found = backward::<T>(&case, &data, true, [true; 7]);
        for (name, found) in ["X", "dt", "B", "C", "A", "D", "h0"].iter().zip(&found) {
            within(found, &flat(&json["grads"][name]), gradients, name);
        }
    }
}

#[test]
fn the_worked_example_comes_out() {
    worked_example::<f64>(1e-10, 1e-10);
    worked_example::<f32>(1e-5, 1e-4);
}

#[test]
fn the_definition_gives_the_worked_example() {
    let (json, case, data) = golden();
    let [y, last] = exact_forward(&case, &data, true);
    within(&y, &flat(&json["Y"]), 1e-13, "Y");
    within(&last, &flat(&json["final_state"]), 1e-13, "final_state");
    for (name, found) in ["X", "dt", "B", "C", "A", "D", "h0"].iter().zip(&exact_backward(&case, &data, true)) {
        within(found, &flat(&json["grads"][name]), 1e-13, name);
    }
}

/// Rows of a single sequence on their own, the state before them given.
fn part(case: &Case, data: &Data, rows: Range<usize>, h0: &[f64]) -> (Case, Data) {
    let all = case.bounds[1];
    let mut of = data.clone();
    for k in [0, 1, 2, 3, 7] {
        let each = data[k].len() / all;
        of[k] = data[k][rows.start * each..rows.end * each].to_vec();
    }
    of[6] = h0.to_vec();
    (Case { bounds: vec![0, rows.len()], ..case.clone() }, of)
}

#[test]
fn a_split_sequence_is_the_whole_one() {
    let case = case(&[0, 23], [2, 5, 1, 6], 8, 1);
    let data = data(&case);
    let [y, last] = forward::<f64>(&case, &data, true);
    let whole = backward::<f64>(&case, &data, true, [true; 7]);
    for at in 0..=23 {
        let (first, first_data) = part(&case, &data, 0..at, &data[6]);
        let [y1, middle] = forward::<f64>(&first, &first_data, true);
        let (second, second_data) = part(&case, &data, at..23, &middle);
        let [y2, end] = forward::<f64>(&second, &second_data, true);
        within(&[y1, y2].concat(), &y, 1e-12, "y");
        within(&end, &last, 1e-12, "last");
        // The gradient of the state between is what the second part gives and the first takes.
        let g2 = backward::<f64>(&second, &second_data, true, [true; 7]);
        let mut first_data = first_data;
        first_data[8] = g2[6].clone();
        let g1 = backward::<f64>(&first, &first_data, true, [true; 7]);
        for k in 0..4 {
            within(&[&g1[k][..], &g2[k]].concat(), &whole[k], 1e-12, NAMES[k]);
        }
        for k in 4..6 {
            let sum: Vec<f64> = g1[k].iter().zip(&g2[k]).map(|(a, b)| a + b).collect();
            within(&sum, &whole[k], 1e-12, NAMES[k]);
        }
        within(&g1[6], &whole[6], 1e-12, "h0");
    }
}

#[test]
fn steps_are_the_scan() {
    // Three sequences of six rows, the rows of a step taken from each.
    for skip in [0, 1, 5] {
        let case = case(&[0, 6, 12, 18], [4, 5, 2, 21], 4, skip);
        let data = data(&case);
        let exact = forward::<f64>(&case, &data, true);
        let [.., a, d, h0, _, _] = &data;
        let mut states = h0.clone();
        for t in 0..6 {
            let of = |k: usize| -> Vec<f64> {
                let each = data[k].len() / 18;
                (0..3).flat_map(|s| data[k][(s * 6 + t) * each..][..each].to_vec()).collect()
            };
            let [x, dt, b, c] = [0, 1, 2, 3].map(of);
            let mut y = vec![f64::NAN; x.len()];
            case.scan(a, d).step(&Inputs { x: &x, dt: &dt, b: &b, c: &c }, &mut states, &mut y);
            for s in 0..3 {
                within(&y[s * 20..(s + 1) * 20], &exact[0][(s * 6 + t) * 20..][..20], 1e-12, "y");
            }
        }
        within(&states, &exact[1], 1e-12, "states");
    }
}

#[test]
fn a_step_of_many_heads_is_cut_anywhere() {
    // States of 64 x 128: eight heads a task.
    let mut case = case(&[0, 1, 2], [12, 64, 1, 128], 64, 1);
    let data = data(&case);
    let exact = forward::<f64>(&case, &data, true);
    let [x, dt, b, c, a, d, h0, ..] = &data;
    let (mut states, mut y) = (h0.clone(), vec![f64::NAN; x.len()]);
    case.bounds = vec![0, 0, 0];
    case.scan(a, d).step(&Inputs { x, dt, b, c }, &mut states, &mut y);
    within(&y, &exact[0], 1e-12, "y");
    within(&states, &exact[1], 1e-12, "states");
}

#[test]
fn heads_of_width_one_are_the_selective_scan() {
    // With p = 1 and a group for each head: h_t = exp(Δ·A)·h + Δ·B·u for each state, y = C·h.
    let case = case(&[0, 40], [3, 1, 3, 4], 16, 0);
    let data = data(&case);
    let [x, dt, b, c, a, ..] = &data;
    let mut expected = vec![0.0; x.len()];
    for channel in 0..3 {
        let mut h = [0.0; 4];
        for t in 0..40 {
            let at = t * 3 + channel;
            for n in 0..4 {
                h[n] = (dt[at] * a[channel]).exp() * h[n] + dt[at] * b[at * 4 + n] * x[at];
                expected[at] += c[at * 4 + n] * h[n];
            }
        }
    }
    within(&forward::<f64>(&case, &data, false)[0], &expected, 1e-12, "y");
}

#[test]
fn strong_and_weak_decays_stay_exact() {
    let case = case(&[0, 130], [3, 4, 1, 5], 64, 1);
    for a in [-1e4, -300.0, -40.0, -1e-3, -1e-9] {
        let mut data = data(&case);
        data[4] = vec![a, a / 2.0, -0.5];
        let allowed = roundings(&case) * f64::from(f32::EPSILON);
        // A step size times a large A rounds like an exponent of that size where the decay still counts: x·exp(-x) < 1. Below the
        // range of f32 a decay is 0, which is no error relative to the other terms of a result.
        let (found, exact) = (forward::<f32>(&case, &data, true), exact_forward(&case, &data, true));
        let magnitude = exact_forward(&case, &absolute(&data), true);
        for k in 0..2 {
            assert_close(&found[k], &exact[k], &magnitude[k], allowed, "outputs");
        }
        let (found, exact) = (backward::<f32>(&case, &data, true, [true; 7]), exact_backward(&case, &data, true));
        for (k, magnitude) in magnitudes(&case, &data).iter().enumerate() {
            // Where everything has decayed away, sums of absolute values can be as small as the smallest f32 is coarse.
            let magnitude: Vec<f64> = magnitude.iter().map(|m| m.max(1e-30)).collect();
            assert_close(&found[k], &exact[k], &magnitude, allowed, NAMES[k]);
        }
    }
}

#[test]
fn a_gradient_does_not_depend_on_whether_others_are_wanted() {
    let case = cases().remove(0);
    let data = data(&case);
    let all = backward::<f32>(&case, &data, true, [true; 7]);
    for k in 0..7 {
        let only = backward::<f32>(&case, &data, true, std::array::from_fn(|i| i == k));
        assert_eq!(bits(&only[k]), bits(&all[k]), "{}", NAMES[k]);
    }
    backward::<f32>(&case, &data, true, [false; 7]);
}

#[test]
fn threads_and_instruction_sets_change_no_bit() {
    for case in [case(&[0, 50, 50, 121, 130], [20, 17, 2, 19], 33, 17), case(&[0, 70], [9, 64, 1, 32], 64, 1)] {
        let data = data(&case);
        let run = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| {
                let (out, back) = (forward::<f32>(&case, &data, true), backward::<f32>(&case, &data, true, [true; 7]));
                out.iter().chain(&back).map(|v| bits(v)).collect::<Vec<_>>()
            })
        };
        let one = run(1);
        assert!(one == run(2) && one == run(3));
        let on = |isa| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
            pool.install(|| {
                with_isa(isa, || {
                    let (out, back) = (forward::<f32>(&case, &data, true), backward::<f32>(&case, &data, true, [true; 7]));
                    let double = backward::<f64>(&case, &data, true, [true; 7]);
                    let mut all: Vec<Vec<u64>> = out.iter().chain(&back).map(|v| bits(v)).collect();
                    all.extend(double.iter().map(|v| bits(v)));
                    all
                })
            })
        };
        let sets: Vec<_> = available().into_iter().map(on).collect();
        assert!(sets.windows(2).all(|w| w[0] == w[1]));
        assert_eq!(sets[0][..9], one[..]);
    }
}

#[test]
fn steps_are_the_same_for_all_instruction_sets() {
    let case = case(&[0, 1, 2], [4, 3, 2, 37], 64, 1);
    let data = data(&case);
    let [x, dt, b, c, a, d, h0, ..] = data.each_ref().map(|v| cast::<f32>(v));
    let run = |isa| {
        with_isa(isa, || {
            let (mut states, mut y) = (h0.clone(), vec![0.0; x.len()]);
            case.scan(&a, &d).step(&Inputs { x: &x, dt: &dt, b: &b, c: &c }, &mut states, &mut y);
            [bits(&states), bits(&y)]
        })
    };
    let sets: Vec<_> = available().into_iter().map(run).collect();
    assert!(sets.windows(2).all(|w| w[0] == w[1]));
}

#[test]
fn no_rows_pass_the_states_on() {
    for bounds in [&[0][..], &[0, 0], &[0, 0, 0]] {
        let case = case(bounds, [2, 3, 1, 4], 8, 1);
        let data = data(&case);
        let [y, last] = forward::<f32>(&case, &data, true);
        assert!(y.is_empty());
        assert_eq!(wide(&last), data[6]);
        let all = backward::<f32>(&case, &data, true, [true; 7]);
        assert_eq!(wide(&all[6]), data[8]);
        assert!(all[4].iter().chain(&all[5]).all(|&g| g == 0.0));
    }
}

#[test]
fn misfits_are_refused() {
    let good = case(&[0, 6], [4, 3, 2, 5], 8, 3);
    let of = data(&good);
    let refused = |case: &Case, data: &Data| {
        let forward = std::panic::catch_unwind(|| forward::<f32>(case, data, true)).is_err();
        forward && std::panic::catch_unwind(|| backward::<f32>(case, data, true, [true; 7])).is_err()
    };
    assert!(!refused(&good, &of));
    for k in 0..7 {
        let mut data = of.clone();
        data[k].pop();
        assert!(refused(&good, &data), "{k}");
    }
    assert!(refused(&Case { chunk: 0, ..good.clone() }, &of));
    assert!(refused(&Case { groups: 3, ..good.clone() }, &of));
    assert!(refused(&Case { bounds: vec![0, 7, 6], ..good.clone() }, &of));
    let [x, dt, b, c, a, ..] = &of;
    let inputs = Inputs { x, dt, b, c };
    let none = Case { skip: 0, ..good.clone() };
    let without = || none.scan(a, &[]).backward(&inputs, None, x, None, Gradients { skip: Some(&mut []), ..Default::default() });
    assert!(std::panic::catch_unwind(without).is_err());
    let short = || none.scan(a, &[]).backward(&inputs, None, &x[1..], None, Gradients::default());
    assert!(std::panic::catch_unwind(short).is_err());
    // A step takes one row of each sequence.
    assert!(std::panic::catch_unwind(|| none.scan(a, &[]).step(&inputs, &mut vec![0.0; 60], &mut vec![0.0; 72])).is_err());
}
