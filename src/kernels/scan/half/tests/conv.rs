//! The causal convolution.

use super::*;
use crate::kernels::scan::Sequences;
use crate::kernels::scan::causal_conv::{CausalConv, Gradients, reference};
use crate::kernels::testing::{cast, exchanged, flat, golden, numbers};

/// Rows of a task of the kernel.
const ROWS: usize = 256;

struct Case {
    bounds: Vec<usize>,
    channels: usize,
    taps: usize,
    silu: bool,
    given: bool,
}

fn case(bounds: &[usize], channels: usize, taps: usize, silu: bool, given: bool) -> Case {
    Case { bounds: bounds.to_vec(), channels, taps, silu, given }
}

/// Lengths about that of a block, many short sequences, one channel to several blocks of them, 1 to 16 taps.
fn cases() -> Vec<Case> {
    let mut cases: Vec<Case> = [0, 1, ROWS - 1, ROWS, ROWS + 1].map(|len| case(&[0, len], 5, 4, true, true)).into();
    cases.extend([
        case(&[0, 7, 7, 8, 21], 5, 4, true, false),
        case(&[0, 2, ROWS + 2, ROWS + 3, 3 * ROWS + 5, 3 * ROWS + 6], 33, 3, false, true),
        case(&[0, 2 * ROWS + 1], 300, 2, true, true),
        case(&[0, 2 * ROWS + 2], 3, 16, true, true),
        case(&[0, 9, 18], 17, 1, false, true),
        case(&(0..200).map(|i| i * 3).collect::<Vec<_>>(), 4, 4, true, true),
        case(&[0], 4, 4, true, false),
    ]);
    cases
}

/// x, dy as bf16 has them, weight, bias, before, dafter.
fn data(case: &Case) -> [Vec<f64>; 6] {
    let (rows, count, d, k) = (case.bounds[case.bounds.len() - 1], case.bounds.len() - 1, case.channels, case.taps);
    let carried = count * (k - 1) * d;
    let [x, dy, w, b, before, dafter] = [rows * d, rows * d, d * k, d, carried, carried];
    [rounded(&numbers(3, x)), rounded(&numbers(4, dy)), numbers(1, w), numbers(2, b), numbers(5, before), numbers(6, dafter)]
}

impl Case {
    fn conv<'a, T>(&'a self, weight: &'a [T], bias: &'a [T]) -> CausalConv<'a, T> {
        let sequences = Sequences::Packed(&self.bounds);
        CausalConv { sequences, channels: self.channels, taps: self.taps, weight, bias: Some(bias), silu: self.silu }
    }

    /// y, dx; after, dweight, dbias, dbefore.
    fn run(&self) -> Found {
        let all = data(self);
        let [x, dy] = [0, 1].map(|i| halves(&all[i]));
        let [w, b, before, dafter] = [2, 3, 4, 5].map(|i| cast::<f32>(&all[i]));
        let conv = self.conv(&w, &b);
        let (mut y, mut dx) = (vec![NAN; x.len()], vec![NAN; x.len()]);
        let [mut after, mut dw, mut db, mut dbefore] =
            [before.len(), w.len(), b.len(), before.len()].map(|len| vec![f32::NAN; len]);
        conv.forward_bf16(&x, self.given.then_some(&before), &mut y, Some(&mut after));
        let to = Gradients { x: Some(&mut dx[..]), weight: Some(&mut dw), bias: Some(&mut db), before: Some(&mut dbefore) };
        conv.backward_bf16(&x, self.given.then_some(&before), &dy, self.given.then_some(&dafter), to);
        Found { halves: vec![y, dx], singles: vec![after, dw, db, dbefore] }
    }
}

#[test]
fn forward_is_the_plain_one_rounded() {
    for case in cases() {
        let found = case.run();
        let all = data(&case);
        let [x, w, b, before] = [0, 2, 3, 4].map(|i| cast::<f32>(&all[i]));
        let (mut y, mut after) = (vec![f32::NAN; x.len()], vec![f32::NAN; before.len()]);
        case.conv(&w, &b).forward(&x, case.given.then_some(&before), &mut y, Some(&mut after));
        let y: Vec<u16> = y.into_iter().map(to_bf16).collect();
        assert!(found.halves[0] == y && found.singles[0] == after, "{:?}", case.bounds);
    }
}

#[test]
fn all_is_the_definition() {
    for case in cases() {
        let [x, dy, w, b, before, dafter] = data(&case);
        let conv = case.conv(&w, &b);
        let given = |v| case.given.then_some(v);
        let (y, after) = reference::forward(&conv, &x, given(&before[..]));
        let [dx, dw, db, dbefore] = reference::backward(&conv, &x, given(&before[..]), &dy, given(&dafter[..]));
        // As for the plain form in f32.
        let noise = [2e-6, 2e-6, 2e-6, 2e-5, 2e-5, 2e-6];
        let names = ["y", "dx", "after", "dweight", "dbias", "dbefore"];
        case.run().check(&[y, dx, after, dw, db, dbefore], &names, &noise, &format!("{:?}", case.bounds));
    }
}

#[test]
fn goldens_rounded_first() {
    let g = golden("causal_conv1d");
    let of = |name: &str| flat(&g[name]);
    let (w, b) = (of("weight"), of("bias"));
    let (w32, b32) = (cast::<f32>(&w), cast::<f32>(&b));
    let x = exchanged(&of("x"), 2, 6);
    let before = exchanged(&of("init_state_last3"), 2, 3);
    for (name, silu, given) in [("y_silu", true, false), ("y_linear", false, false), ("y_silu_with_state", true, true)] {
        let case = case(&[0, 6], 2, 4, silu, given);
        let mut y = vec![NAN; 12];
        let before32 = cast::<f32>(&before);
        case.conv(&w32, &b32).forward_bf16(&halves(&x), given.then_some(&before32), &mut y, None);
        let (exact, _) = reference::forward(&case.conv(&w, &b), &rounded(&x), given.then_some(&before));
        rounded_once(&y, &exact, 1e-6, name);
        // Each x was off by half a distance at most, and the slope of SiLU is below 1.1.
        let spread: f64 = w.iter().map(|w| w.abs()).fold(0.0, f64::max) * 4.0 * x.iter().map(|x| x.abs()).fold(0.0, f64::max);
        for (f, e) in doubles(&y).iter().zip(exchanged(&of(name), 2, 6)) {
            assert!((f - e).abs() <= HALF * (1.1 * spread + e.abs()) * (1.0 + HALF), "{name}: {f}, not {e}");
        }
    }
}

#[test]
fn threads_and_instruction_sets_change_no_bit() {
    cases().iter().for_each(|case| changes_no_bit(|| case.run()));
}

#[test]
fn single_gradients_are_those_of_all() {
    let case = case(&[0, 5, 2 * ROWS], 20, 4, true, true);
    let all = case.run();
    let numbers = data(&case);
    let [x, dy] = [0, 1].map(|i| halves(&numbers[i]));
    let [w, b, before, dafter] = [2, 3, 4, 5].map(|i| cast::<f32>(&numbers[i]));
    let run = |to: Gradients<'_, f32, u16>| case.conv(&w, &b).backward_bf16(&x, Some(&before), &dy, Some(&dafter), to);
    let mut dx = vec![NAN; x.len()];
    run(Gradients { x: Some(&mut dx), ..Default::default() });
    assert_eq!(dx, all.halves[1]);
    let mut dw = vec![f32::NAN; w.len()];
    run(Gradients { weight: Some(&mut dw), ..Default::default() });
    assert_eq!(dw, all.singles[1]);
    let mut dbefore = vec![f32::NAN; before.len()];
    run(Gradients { before: Some(&mut dbefore), ..Default::default() });
    assert_eq!(dbefore, all.singles[3]);
}

#[test]
fn misfits_are_refused() {
    let refused = |x: usize, y: usize| {
        std::panic::catch_unwind(|| {
            let case = case(&[0, 4], 2, 3, true, false);
            case.conv(&[0.0; 6], &[0.0; 2]).forward_bf16(&vec![0; x], None, &mut vec![0; y], None);
        })
        .is_err()
    };
    assert!(!refused(8, 8) && refused(7, 7) && refused(8, 7));
}
