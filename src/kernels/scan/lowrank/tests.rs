//! Against the definition and the golden, gradients against central differences, and the edges.

use super::*;
use crate::kernels::simd::{available, with_isa};
use crate::kernels::testing::{bits, cast, close, differences, flat, golden, in_pool, numbers, wide};
use reference::AllGradients;

/// b, U, V and the first states in f64.
#[derive(Clone, Debug)]
struct Case {
    bounds: Vec<usize>,
    lines: usize,
    states: usize,
    rank: usize,
    /// Whether first states and gradients of the last ones are given.
    carried: bool,
    inputs: [Vec<f64>; 4],
}

const NAMES: [&str; 4] = ["b", "U", "V", "first states"];

impl Case {
    fn new(bounds: &[usize], lines: usize, states: usize, rank: usize, carried: bool) -> Self {
        let (rows, count) = (bounds[bounds.len() - 1], bounds.len() - 1);
        let sizes = [rows * lines * states, states * rank, states * rank, count * lines * states];
        let mut inputs: [Vec<f64>; 4] = std::array::from_fn(|i| numbers(i as u64 + 1, sizes[i]));
        // A spectral norm below 1: the Frobenius norm of U·Vᵀ is about states·√rank / 3 times the square of this.
        let size = 1.6 / ((states as f64) * (rank as f64).sqrt()).sqrt();
        inputs[1].iter_mut().for_each(|v| *v *= size);
        inputs[2].iter_mut().for_each(|v| *v *= size);
        Self { bounds: bounds.to_vec(), lines, states, rank, carried, inputs }
    }

    fn views<'a, T: Real>(&'a self, [_, u, v, first]: &'a [Vec<T>; 4]) -> (LowRank<'a, T>, Option<&'a [T]>) {
        let Self { lines, states, rank, .. } = *self;
        let of = LowRank { sequences: Sequences::Packed(&self.bounds), lines, states, rank, u, v };
        (of, self.carried.then_some(&first[..]))
    }

    fn upstream(&self) -> [Vec<f64>; 2] {
        [numbers(20, self.inputs[0].len()), numbers(21, self.inputs[3].len())]
    }

    /// The states and the last ones, and the gradients in the order of the inputs.
    fn run<T: Real>(&self) -> ([Vec<T>; 2], [Vec<T>; 4]) {
        let owned: [Vec<T>; 4] = std::array::from_fn(|i| cast(&self.inputs[i]));
        let (of, initial) = self.views(&owned);
        let nan = |len: usize| vec![T::from_f64(f64::NAN); len];
        let (mut h, mut last) = (nan(owned[0].len()), nan(of.state_len()));
        of.forward(&owned[0], initial, &mut h, Some(&mut last));
        let mut to: [Vec<T>; 4] = std::array::from_fn(|i| nan(owned[i].len()));
        let [b, u, v, first] = &mut to;
        let [dh, dlast] = self.upstream().map(|v| cast::<T>(&v));
        let gradients = Gradients { b: Some(b), u: Some(u), v: Some(v), initial: Some(first) };
        of.backward(&h, initial, &dh, self.carried.then_some(&dlast), gradients);
        ([h, last], to)
    }

    fn exact(&self) -> ([Vec<f64>; 2], [Vec<f64>; 4]) {
        let (of, initial) = self.views(&self.inputs);
        let (h, last) = reference::forward(&of, &self.inputs[0], initial);
        let [dh, dlast] = self.upstream();
        let AllGradients { b, u, v, initial } = reference::backward(&of, &h, initial, &dh, self.carried.then_some(&dlast));
        ([h, last], [b, u, v, initial])
    }
}

fn cases() -> Vec<Case> {
    vec![
        Case::new(&[0, 7, 7, 8, 150], 1, 6, 3, true),
        Case::new(&[0, 33, 65, 97], 3, 16, 4, true),
        Case::new(&[0, 64], 70, 12, 5, true),
        Case::new(&[0, 500], 1, 40, 20, false),
        Case::new(&[0, 32, 40], 20, 8, 1, false),
        Case::new(&[0, 1], 1, 1, 1, true),
    ]
}

/// A factor of a matrix of low rank: an orthonormal basis of its columns, and what they are in it.
fn factors(m: &[f64], n: usize, rank: usize) -> [Vec<f64>; 2] {
    let mut basis: Vec<Vec<f64>> = Vec::new();
    for j in 0..rank {
        let mut column: Vec<f64> = (0..n).map(|i| m[i * n + j]).collect();
        // Twice, for the last digits.
        for _ in 0..2 {
            for b in &basis {
                let along: f64 = column.iter().zip(b).map(|(x, b)| x * b).sum();
                column.iter_mut().zip(b).for_each(|(x, b)| *x -= along * b);
            }
        }
        let norm = column.iter().map(|x| x * x).sum::<f64>().sqrt();
        basis.push(column.into_iter().map(|x| x / norm).collect());
    }
    let u = (0..n * rank).map(|at| basis[at % rank][at / rank]).collect();
    let v = (0..n * rank).map(|at| (0..n).map(|i| m[i * n + at / rank] * basis[at % rank][i]).sum()).collect();
    [u, v]
}

#[test]
fn golden_values() {
    let g = golden("lowrank_ss2d");
    let (teacher, best) = (flat(&g["A_teacher"]), flat(&g["UV^T_best_rank3"]));
    let error = teacher.iter().zip(&best).map(|(a, b)| (a - b) * (a - b)).sum::<f64>().sqrt();
    let rest: f64 = flat(&g["singular_values"])[3..].iter().map(|s| s * s).sum::<f64>().sqrt();
    let expected = g["frobenius_error"].as_f64().expect("a number");
    assert!((error - expected).abs() < 1e-13 && (rest - expected).abs() < 1e-13);
    let [mut u, v] = factors(&best, 6, 3);
    let product: Vec<f64> = (0..36).map(|at| (0..3).map(|k| u[at / 6 * 3 + k] * v[at % 6 * 3 + k]).sum()).collect();
    close(&product, &best, 1e-13, "the factors");
    // The recurrence of the golden has a tenth of it.
    u.iter_mut().for_each(|x| *x *= 0.1);
    let (coupling, x) = (flat(&g["recurrence"]["B"]), flat(&g["recurrence"]["x"]));
    let b: Vec<f64> = (0..30).map(|at| (0..2).map(|k| coupling[at % 6 * 2 + k] * x[at / 6 * 2 + k]).sum()).collect();
    let case = Case { inputs: [b, u, v, vec![0.0; 6]], ..Case::new(&[0, 5], 1, 6, 3, false) };
    let h = flat(&g["recurrence"]["h"]);
    close(&case.exact().0[0], &h, 1e-13, "by the definition");
    close(&case.run::<f64>().0[0], &h, 1e-10, "f64");
    close(&wide(&case.run::<f32>().0[0]), &h, 1e-5, "f32");
}

#[test]
fn fast_is_the_definition() {
    for case in cases() {
        let (result, exact) = (case.run::<f64>(), case.exact());
        let single = case.run::<f32>();
        let what = |name: &str| format!("{name} of {:?} x {} x {}, rank {}", case.bounds, case.lines, case.states, case.rank);
        for (k, name) in ["h", "last states"].iter().enumerate() {
            close(&result.0[k], &exact.0[k], 1e-12, &what(name));
            close(&wide(&single.0[k]), &exact.0[k], 1e-5, &what(name));
        }
        for (k, name) in NAMES.iter().enumerate() {
            close(&result.1[k], &exact.1[k], 1e-12, &what(name));
            close(&wide(&single.1[k]), &exact.1[k], 1e-4, &what(name));
        }
    }
}

#[test]
fn gradients_are_central_differences() {
    for case in [Case::new(&[0, 4, 4, 70], 1, 5, 2, true), Case::new(&[0, 9], 3, 4, 3, false)] {
        let (_, to) = case.run::<f64>();
        let [dh, dlast] = case.upstream();
        for i in 0..if case.carried { 4 } else { 3 } {
            // Truncation: step²/6 times third derivatives of some hundreds; rounding: a loss of size 100 over the step.
            differences(&case.inputs[i], &to[i], 3, 1e-7, NAMES[i], |x| {
                let mut changed = case.clone();
                changed.inputs[i] = x.to_vec();
                let (of, initial) = changed.views(&changed.inputs);
                let (mut h, mut last) = (vec![0.0; dh.len()], vec![0.0; dlast.len()]);
                of.forward(&changed.inputs[0], initial, &mut h, Some(&mut last));
                let sum = |a: &[f64], g: &[f64]| a.iter().zip(g).map(|(a, g)| a * g).sum::<f64>();
                sum(&h, &dh) + if case.carried { sum(&last, &dlast) } else { 0.0 }
            });
        }
    }
}

#[test]
fn parts_and_steps_continue_each_other() {
    for lines in [1, 20] {
        let case = Case::new(&[0, 90], lines, 7, 3, true);
        let (of, initial) = case.views(&case.inputs);
        let ([whole, last], _) = case.run::<f64>();
        let (b, each) = (&case.inputs[0], lines * 7);
        for cut in [0, 1, 31, 32, 33, 64, 89, 90] {
            let (mut h, mut state, mut end) = (vec![0.0; 90 * each], vec![0.0; each], vec![0.0; each]);
            let (first, second) = h.split_at_mut(cut * each);
            let part = |len| LowRank { sequences: Sequences::Equal { count: 1, len }, ..of };
            part(cut).forward(&b[..cut * each], initial, first, Some(&mut state));
            part(90 - cut).forward(&b[cut * each..], Some(&state), second, Some(&mut end));
            close(&h, &whole, 1e-12, "parts");
            close(&end, &last, 1e-12, "the last states of parts");
        }
        let (mut state, mut h) = (case.inputs[3].clone(), Vec::new());
        for b in b.chunks(each) {
            of.step(b, &mut state);
            h.extend_from_slice(&state);
        }
        close(&h, &whole, 1e-12, "steps");
        close(&state, &last, 1e-12, "the last states of steps");
    }
}

#[test]
fn threads_and_instruction_sets_change_no_bit() {
    let run = |case: &Case| {
        let (result, to) = case.run::<f32>();
        (result.map(|v| bits(&v)), to.map(|v| bits(&v)))
    };
    for case in cases() {
        let one = in_pool(1, || run(&case));
        assert!(one == in_pool(2, || run(&case)) && one == in_pool(8, || run(&case)));
        for isa in available() {
            assert!(one == in_pool(1, || with_isa(isa, || run(&case))), "{isa:?}");
        }
    }
}

#[test]
fn a_gradient_alone_is_the_same() {
    let case = Case::new(&[0, 40, 50], 2, 6, 3, true);
    let (of, initial) = case.views(&case.inputs);
    let ([h, _], to) = case.run::<f64>();
    let [dh, dlast] = case.upstream();
    for k in 0..4 {
        let mut alone = vec![f64::NAN; to[k].len()];
        let some = |i: usize, v: &mut Vec<f64>| (i == k).then(|| std::mem::take(v));
        let mut given: [Option<Vec<f64>>; 4] = std::array::from_fn(|i| some(i, &mut alone));
        let [b, u, v, first] = given.each_mut().map(|v| v.as_deref_mut());
        of.backward(&h, initial, &dh, Some(&dlast), Gradients { b, u, v, initial: first });
        assert_eq!(given[k].as_ref(), Some(&to[k]), "{}", NAMES[k]);
    }
}

#[test]
fn nothing_in_gives_nothing_and_misfits_are_refused() {
    let ([h, last], to) = Case::new(&[0, 0], 2, 3, 2, true).run::<f64>();
    assert!(h.is_empty() && to[1].iter().chain(&to[2]).all(|v| *v == 0.0));
    // Without a step the first states are the last ones.
    assert_eq!((last, &to[3]), (numbers(4, 6), &numbers(21, 6)));
    assert!(Case::new(&[0], 2, 3, 2, false).run::<f64>().1[1].iter().all(|v| *v == 0.0));
    let refused = |change: fn(&mut Case)| {
        let mut case = Case::new(&[0, 4], 2, 3, 2, true);
        change(&mut case);
        std::panic::catch_unwind(|| case.run::<f64>()).is_err()
    };
    assert!(!refused(|_| ()));
    assert!(refused(|c| c.rank = 3) && refused(|c| c.bounds = vec![0, 5]) && refused(|c| c.lines = 3));
}
