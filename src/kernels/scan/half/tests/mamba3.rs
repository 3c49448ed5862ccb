//! mamba3.

use super::*;
use crate::kernels::scan::half::{ROWS, ROWS_BACK};
use crate::kernels::scan::mamba3::tests::{Case, Parts};
use crate::kernels::scan::mamba3::{Gradients, Inputs, Mamba3, Rotation, States, StatesMut, reference};
use crate::kernels::testing::{cast, wide};

/// Data of the rows come first.
const ROWS_OF: usize = 8;

const NAMES: [&str; 25] = [
    "out",
    "dq",
    "dk",
    "dx",
    "dz",
    "dlog_decay",
    "ddt",
    "dtrap",
    "dangles",
    "angle",
    "state",
    "key",
    "value",
    "dq_bias",
    "dk_bias",
    "dskip",
    "dmix_x",
    "dmix_z",
    "dmix_out",
    "dnorm",
    "dangle",
    "dstate",
    "dkey",
    "dvalue",
    "",
];

fn rounded_case(mut case: Case) -> Case {
    case.data[..ROWS_OF].iter_mut().for_each(|v| *v = rounded(v));
    case.dout = rounded(&case.dout);
    case
}

fn cases() -> Vec<Case> {
    let one = |len: usize| Case::new(&[0, len], [2, 1], [3, 4], [1, 2], Rotation::Pairwise, false, Parts::Gate, true).chunk(64);
    let mut cases: Vec<Case> = [0, 1, ROWS - 1, ROWS, ROWS + 1, ROWS_BACK, ROWS_BACK + 1].map(one).into();
    let many: Vec<usize> = (0..120).map(|i| i * 4).collect();
    cases.extend([
        Case::new(&[0, 0, 5, 5, 6, 40, 40], [4, 2], [5, 6], [1, 2], Rotation::Pairwise, true, Parts::Bare, true),
        Case::new(&[0, 300, 301, 601], [4, 2], [5, 8], [2, 4], Rotation::Halves, false, Parts::Mixed, true).chunk(32),
        Case::new(&[0, 2 * ROWS_BACK + 3], [2, 1], [4, 6], [3, 2], Rotation::Halves, true, Parts::Norm, false).chunk(20),
        Case::new(&many, [2, 2], [3, 5], [1, 0], Rotation::Pairwise, false, Parts::Gate, true),
        Case::new(&[0, 310], [1, 1], [2, 4], [1, 1], Rotation::Pairwise, false, Parts::Gate, false).chunk(300),
    ]);
    cases.into_iter().map(rounded_case).collect()
}

fn run(case: &Case) -> Found {
    let data: [Vec<f32>; 19] = case.data.clone().map(|v| cast(&v));
    let rows: [Vec<u16>; ROWS_OF] = std::array::from_fn(|i| halves(&case.data[i]));
    let (scan, plain, initial) = case.scan(&data);
    let [q, k, x, z, log_decay, dt, trap, angles] = &rows;
    let inputs = Inputs { q, k, x, z: plain.z.map(|_| &z[..]), log_decay, dt, trap, angles };
    let nan = |len: usize| vec![f32::NAN; len];
    let mut out = vec![NAN; x.len()];
    let mut last = scan.state_sizes().map(nan);
    {
        let [angle, state, key, value] = &mut last;
        scan.forward_bf16(&inputs, initial, &mut out, Some(StatesMut { angle, state, key, value }));
    }
    let mut d: [Vec<u16>; ROWS_OF] = std::array::from_fn(|i| vec![NAN; rows[i].len()]);
    let mut e: [Vec<f32>; 11] = std::array::from_fn(|i| nan(data[ROWS_OF + i].len()));
    let dlast = [&case.dlast.angle, &case.dlast.state, &case.dlast.key, &case.dlast.value].map(|v| cast::<f32>(v));
    {
        fn has<T>(v: &mut [T]) -> Option<&mut [T]> {
            Some(v).filter(|v| !v.is_empty())
        }
        let [q, k, x, z, log_decay, dt, trap, angles] = &mut d;
        let [q_bias, k_bias, skip, mix_x, mix_z, mix_out, norm, angle, state, key, value] = &mut e;
        let to = Gradients {
            q: Some(&mut q[..]),
            k: Some(k),
            x: Some(x),
            z: has(z),
            log_decay: Some(log_decay),
            dt: Some(dt),
            trap: Some(trap),
            angles: Some(angles),
            q_bias: Some(&mut q_bias[..]),
            k_bias: Some(k_bias),
            skip: has(skip),
            mix_x: has(mix_x),
            mix_z: has(mix_z),
            mix_out: has(mix_out),
            norm: has(norm),
            initial: case.initial.then_some(StatesMut { angle, state, key, value }),
        };
        let [angle, state, key, value] = &dlast;
        scan.backward_bf16(&inputs, initial, &halves(&case.dout), Some(States { angle, state, key, value }), to);
    }
    let halves = std::iter::once(out).chain(d).collect();
    Found { halves, singles: last.into_iter().chain(e).collect() }
}

fn exact(case: &Case) -> Vec<Vec<f64>> {
    let (scan, x, initial) = case.scan(&case.data);
    let first = initial.map(|_| {
        let [angle, state, key, value] = [15, 16, 17, 18].map(|i| case.data[i].clone());
        reference::Carried { angle, state, key, value }
    });
    let (out, last) = reference::forward(&scan, &x, first.as_ref());
    let g = reference::backward(&scan, &x, first.as_ref(), &case.dout, Some(&case.dlast));
    let mut all = vec![out, g.q, g.k, g.x, g.z, g.log_decay, g.dt, g.trap, g.angles];
    all.extend([last.angle, last.state, last.key, last.value]);
    all.extend([g.q_bias, g.k_bias, g.skip, g.mix_x, g.mix_z, g.mix_out, g.norm]);
    let first = [g.initial.angle, g.initial.state, g.initial.key, g.initial.value];
    all.extend(first.map(|v| if case.initial { v } else { Vec::new() }));
    all
}

/// Angles at 0 and 2π are the same.
fn unwind(found: &mut [f32], exact: &[f64]) {
    for (f, e) in found.iter_mut().zip(exact) {
        let turns = ((f64::from(*f) - e) / std::f64::consts::TAU).round();
        *f = (f64::from(*f) - turns * std::f64::consts::TAU) as f32;
    }
}

#[test]
fn all_is_the_definition() {
    for case in cases() {
        let (mut found, exact) = (run(&case), exact(&case));
        unwind(&mut found.singles[0], &exact[ROWS_OF + 1]);
        let noise: [f64; 24] = std::array::from_fn(|i| if i == 0 || (9..13).contains(&i) { 1e-5 } else { 1e-4 });
        found.check(&exact, &NAMES, &noise, &format!("{:?} {:?}", case.bounds, case.parts));
    }
}

/// Half a distance of two bf16, and what other ends of blocks change in f32.
#[test]
fn forward_is_the_plain_one_rounded_once() {
    for case in cases() {
        let mut found = run(&case);
        let data: [Vec<f32>; 19] = case.data.clone().map(|v| cast(&v));
        let (scan, x, initial) = case.scan(&data);
        let mut out = vec![f32::NAN; x.x.len()];
        let mut last = scan.state_sizes().map(|len| vec![f32::NAN; len]);
        {
            let [angle, state, key, value] = &mut last;
            scan.forward(&x, initial, &mut out, Some(StatesMut { angle, state, key, value }));
        }
        let what = format!("{:?} {:?}", case.bounds, case.parts);
        rounded_once(&found.halves[0], &wide(&out), 2e-6, &what);
        unwind(&mut found.singles[0], &wide(&last[0]));
        for (found, plain) in found.singles.iter().zip(&last) {
            close(&wide(found), &wide(plain), 2e-6, &what);
        }
        // Where a single block holds a sequence nothing differs.
        if case.bounds.windows(2).all(|w| w[1] - w[0] <= ROWS) && case.initial {
            assert!(found.halves[0] == out.iter().map(|&x| to_bf16(x)).collect::<Vec<_>>(), "{what}");
        }
    }
}

#[test]
fn threads_and_instruction_sets_change_no_bit() {
    cases().iter().for_each(|case| changes_no_bit(|| run(case)));
}

#[test]
fn misfits_are_refused() {
    let refused = |change: fn(&mut Mamba3<'_, f32>)| {
        let case = rounded_case(Case::new(&[0, 4], [2, 1], [3, 4], [1, 2], Rotation::Pairwise, false, Parts::Gate, true));
        let data: [Vec<f32>; 19] = case.data.clone().map(|v| cast(&v));
        let rows: [Vec<u16>; ROWS_OF] = std::array::from_fn(|i| halves(&case.data[i]));
        std::panic::catch_unwind(|| {
            let (mut scan, _, initial) = case.scan(&data);
            change(&mut scan);
            let [q, k, x, z, log_decay, dt, trap, angles] = &rows;
            let inputs = Inputs { q, k, x, z: Some(z), log_decay, dt, trap, angles };
            scan.forward_bf16(&inputs, initial, &mut vec![NAN; x.len()], None);
        })
        .is_err()
    };
    assert!(!refused(|_| ()));
    assert!(refused(|s| s.states = 5) && refused(|s| s.angles = 1) && refused(|s| s.groups = 0));
}
