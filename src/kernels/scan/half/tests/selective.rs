//! The selective scan.

use super::*;
use crate::kernels::scan::Sequences;
use crate::kernels::scan::half::selective::ROWS;
use crate::kernels::scan::selective::case::Case;
use crate::kernels::scan::selective::{Gradients, SelectiveScan};
use crate::kernels::testing::{cast, exchanged, flat, golden, numbers};

const NAMES: [&str; 12] =
    ["out", "du", "ddelta", "dB", "dC", "dz", "last states", "dA", "dD", "dbias", "dfirst states", "starts"];

/// What lies over the rows is as bf16 has it.
fn case(bounds: &[usize], channels: usize, states: usize, groups: usize, optional: bool) -> Case {
    let mut case = Case::new(bounds, [channels, states, groups], optional);
    case.inputs[..5].iter_mut().for_each(|v| *v = rounded(v));
    case.dout = rounded(&case.dout);
    case
}

fn cases() -> Vec<Case> {
    let mut cases: Vec<Case> = [0, 1, ROWS - 1, ROWS, ROWS + 1].map(|len| case(&[0, len], 5, 3, 1, true)).into();
    cases.extend([
        case(&[0, 7, 7, 8, 2 * ROWS + 30, 2 * ROWS + 31], 5, 3, 1, true),
        case(&[0, ROWS, 3 * ROWS], 40, 16, 2, true),
        case(&[0, 20, 40, 60], 300, 5, 1, false),
        case(&[0, 65], 6, 2, 6, true),
        Case { softplus: false, ..case(&[0, 70, 2 * ROWS], 17, 4, 1, true) },
        case(&(0..150).map(|i| i * 2).collect::<Vec<_>>(), 4, 3, 1, true),
        case(&[0], 2, 3, 1, false),
    ]);
    // Without softplus step sizes must be positive.
    cases[9].inputs[1] = rounded(&numbers(30, cases[9].inputs[1].len()).iter().map(|v| 0.3 * (v + 1.1)).collect::<Vec<_>>());
    cases[9].inputs[7].iter_mut().for_each(|v| *v = 0.1 * (*v + 1.0));
    cases
}

fn run(case: &Case) -> Found {
    let rows: [Vec<u16>; 5] = std::array::from_fn(|i| halves(&case.inputs[i]));
    let others: [Vec<f32>; 4] = std::array::from_fn(|i| cast(&case.inputs[5 + i]));
    let (scan, initial) = case.scan(others.each_ref().map(|v| &v[..]));
    let x = case.rows(rows.each_ref().map(|v| &v[..]));
    let nan = |len: usize| vec![f32::NAN; len];
    let (mut out, mut last, mut starts) = (vec![NAN; x.u.len()], nan(scan.state_len()), nan(scan.starts_len()));
    scan.forward_bf16(&x, initial, &mut out, Some(&mut last), Some(&mut starts));
    let mut d: [Vec<u16>; 5] = std::array::from_fn(|i| vec![NAN; rows[i].len()]);
    let mut e: [Vec<f32>; 4] = std::array::from_fn(|i| nan(others[i].len()));
    let dlast = cast::<f32>(&case.dlast);
    {
        let ([u, delta, b, c, z], [a, skip, bias, first]) = (&mut d, &mut e);
        let to = Gradients {
            u: Some(&mut u[..]),
            delta: Some(delta),
            b: Some(b),
            c: Some(c),
            z: case.optional.then_some(z),
            a: Some(&mut a[..]),
            skip: case.optional.then_some(skip),
            delta_bias: case.optional.then_some(bias),
            initial: Some(first),
        };
        scan.backward_bf16(&x, &starts, &halves(&case.dout), case.optional.then_some(&dlast), to);
    }
    if !case.optional {
        d[4].clear();
        e[1].clear();
        e[2].clear();
    }
    let halves = std::iter::once(out).chain(d).collect();
    let singles = std::iter::once(last).chain(e).chain([starts]).collect();
    Found { halves, singles }
}

/// Those of bf16 first, without the starts.
fn exact(case: &Case) -> Vec<Vec<f64>> {
    let [out, last, u, delta, b, c, z, a, skip, bias, first] = case.exact();
    vec![out, u, delta, b, c, z, last, a, skip, bias, first]
}

#[test]
fn forward_is_the_plain_one_rounded() {
    for case in cases() {
        let found = run(&case);
        let all = case.inputs.each_ref().map(|v| cast::<f32>(v));
        let (scan, x, initial) = case.views(&all);
        let nan = |len: usize| vec![f32::NAN; len];
        let (mut out, mut last, mut starts) = (nan(x.u.len()), nan(scan.state_len()), nan(scan.starts_len()));
        scan.forward(&x, initial, &mut out, Some(&mut last), Some(&mut starts));
        let out: Vec<u16> = out.into_iter().map(to_bf16).collect();
        assert!(found.halves[0] == out && found.singles[0] == last && found.singles[5] == starts, "{:?}", case.bounds);
    }
}

#[test]
fn all_is_the_definition() {
    for case in cases() {
        let mut found = run(&case);
        found.singles.pop();
        // As for the plain form in f32.
        let noise: [f64; 11] = std::array::from_fn(|i| if i == 0 || i == 6 { 1e-5 } else { 1e-4 });
        let what = format!("{:?} {}x{}", case.bounds, case.channels, case.states);
        found.check(&exact(&case), &NAMES, &noise, &what);
    }
}

#[test]
fn goldens_rounded_first() {
    let g = golden("selective_scan");
    let names = ["u", "delta", "B", "C", "z", "A", "D", "delta_bias", "h0"];
    let mut case = case(&[0, 5], 2, 2, 1, true);
    for (i, name) in names.iter().enumerate() {
        let x = flat(&g[name]);
        case.inputs[i] = if i < 5 { rounded(&exchanged(&x, 2, 5)) } else { x };
    }
    (case.dout, case.dlast) = (rounded(&exchanged(&flat(&g["dout"]), 2, 5)), flat(&g["dlast_state"]));
    let mut found = run(&case);
    found.singles.pop();
    let noise: [f64; 11] = std::array::from_fn(|i| if i == 0 || i == 6 { 1e-5 } else { 1e-4 });
    found.check(&exact(&case), &NAMES, &noise, "the golden");
}

#[test]
fn threads_and_instruction_sets_change_no_bit() {
    cases().iter().for_each(|case| changes_no_bit(|| run(case)));
}

#[test]
fn equal_sequences_are_packed_ones() {
    let case = case(&[0, 150, 300, 450], 7, 3, 1, true);
    let rows: [Vec<u16>; 5] = std::array::from_fn(|i| halves(&case.inputs[i]));
    let others: [Vec<f32>; 4] = std::array::from_fn(|i| cast(&case.inputs[5 + i]));
    let (scan, initial) = case.scan(others.each_ref().map(|v| &v[..]));
    let x = case.rows(rows.each_ref().map(|v| &v[..]));
    let equal = SelectiveScan { sequences: Sequences::Equal { count: 3, len: 150 }, ..scan };
    let mut out = vec![NAN; x.u.len()];
    equal.forward_bf16(&x, initial, &mut out, None, None);
    assert_eq!(out, run(&case).halves[0]);
}

#[test]
fn single_gradients_are_those_of_all() {
    let case = case(&[0, 5, 2 * ROWS], 40, 3, 2, true);
    let all = run(&case);
    let rows: [Vec<u16>; 5] = std::array::from_fn(|i| halves(&case.inputs[i]));
    let others: [Vec<f32>; 4] = std::array::from_fn(|i| cast(&case.inputs[5 + i]));
    let (scan, _) = case.scan(others.each_ref().map(|v| &v[..]));
    let x = case.rows(rows.each_ref().map(|v| &v[..]));
    let (dout, dlast) = (halves(&case.dout), cast::<f32>(&case.dlast));
    let back = |to: Gradients<'_, f32, u16>| scan.backward_bf16(&x, &all.singles[5], &dout, Some(&dlast), to);
    let mut dc = vec![NAN; rows[3].len()];
    back(Gradients { c: Some(&mut dc), ..Default::default() });
    assert_eq!(dc, all.halves[4]);
    let mut db = vec![NAN; rows[2].len()];
    back(Gradients { b: Some(&mut db), ..Default::default() });
    assert_eq!(db, all.halves[3]);
    let mut da = vec![f32::NAN; others[0].len()];
    back(Gradients { a: Some(&mut da), ..Default::default() });
    assert_eq!(da, all.singles[1]);
}

#[test]
fn misfits_are_refused() {
    let refused = |change: fn(&mut Case)| {
        let mut case = case(&[0, 4], 2, 3, 1, true);
        change(&mut case);
        std::panic::catch_unwind(|| run(&case)).is_err()
    };
    assert!(!refused(|_| ()));
    assert!(refused(|c| c.groups = 3) && refused(|c| c.bounds = vec![0, 5]) && refused(|c| c.states = 2));
}
