//! Decoding: one row of each sequence, the states in f32.

use super::*;
use crate::kernels::scan::causal_conv::CausalConv;
use crate::kernels::scan::mamba3::tests::{Case as Mamba3Case, Parts};
use crate::kernels::scan::mamba3::{self, Rotation, StatesMut};
use crate::kernels::scan::selective::case::Case as SelectiveCase;
use crate::kernels::scan::{Sequences, ssd};
use crate::kernels::testing::cast;

#[test]
fn convolutions_step_as_the_plain_one() {
    let (weight, bias) = (cast::<f32>(&numbers(1, 7 * 4)), cast::<f32>(&numbers(2, 7)));
    let sequences = Sequences::Equal { count: 0, len: 0 };
    let conv = CausalConv { sequences, channels: 7, taps: 4, weight: &weight, bias: Some(&bias), silu: true };
    let mut carried = cast::<f32>(&numbers(3, 2 * 3 * 7));
    let mut other = carried.clone();
    for t in 0..6 {
        let (x, mut y, mut plain) = (made_up(10 + t, 14, 1.0), [NAN; 14], [f32::NAN; 14]);
        conv.step_bf16(&x, &mut carried, &mut y);
        conv.step(&singles(&x), &mut other, &mut plain);
        same(&y, &plain, "y");
    }
    same_singles(&carried, &other, "carried rows");
}

#[test]
fn selective_scans_step_as_the_plain_one() {
    for optional in [true, false] {
        // Three sequences of one row.
        let mut case = SelectiveCase::new(&[0, 1, 2, 3], [20, 3, 2], optional);
        case.inputs[..5].iter_mut().for_each(|v| *v = rounded(v));
        let rows: [Vec<u16>; 5] = std::array::from_fn(|i| halves(&case.inputs[i]));
        let all = case.inputs.each_ref().map(|v| cast::<f32>(v));
        let (scan, x, _) = case.views(&all);
        let half = case.rows(rows.each_ref().map(|v| &v[..]));
        let (mut states, mut out) = (all[8].clone(), vec![NAN; 60]);
        let (mut other, mut plain) = (states.clone(), vec![f32::NAN; 60]);
        for _ in 0..3 {
            scan.step_bf16(&half, &mut states, &mut out);
            scan.step(&x, &mut other, &mut plain);
            same(&out, &plain, "out");
        }
        same_singles(&states, &other, "states");
    }
}

#[test]
fn ssd_steps_as_the_plain_one() {
    let case = ssd::case::case(&[0, 1, 2], [4, 5, 2, 7], 16, 1);
    let mut data = ssd::case::data(&case);
    data[..4].iter_mut().for_each(|v| *v = rounded(v));
    let rows: [Vec<u16>; 4] = std::array::from_fn(|i| halves(&data[i]));
    let all = data.each_ref().map(|v| cast::<f32>(v));
    let [x, dt, b, c] = &rows;
    let half = ssd::Inputs { x, dt, b, c };
    let [x, dt, b, c, a, d, first, ..] = &all;
    let (scan, inputs) = (case.scan(a, d), ssd::Inputs { x, dt, b, c });
    let (mut states, mut y) = (first.clone(), vec![NAN; x.len()]);
    let (mut other, mut plain) = (states.clone(), vec![f32::NAN; x.len()]);
    for _ in 0..3 {
        scan.step_bf16(&half, &mut states, &mut y);
        scan.step(&inputs, &mut other, &mut plain);
        same(&y, &plain, "y");
    }
    same_singles(&states, &other, "states");
}

#[test]
fn mamba3_steps_as_the_plain_one() {
    for (rank, rotation, parts) in [(1, Rotation::Pairwise, Parts::Gate), (2, Rotation::Halves, Parts::Mixed)] {
        let mut case = Mamba3Case::new(&[0, 1, 2], [4, 2], [5, 6], [rank, 2], rotation, false, parts, true);
        case.data[..8].iter_mut().for_each(|v| *v = rounded(v));
        let rows: [Vec<u16>; 8] = std::array::from_fn(|i| halves(&case.data[i]));
        let all: [Vec<f32>; 19] = case.data.clone().map(|v| cast(&v));
        let (scan, inputs, _) = case.scan(&all);
        let [q, k, x, z, log_decay, dt, trap, angles] = &rows;
        let half = mamba3::Inputs { q, k, x, z: inputs.z.map(|_| &z[..]), log_decay, dt, trap, angles };
        let mut states = scan.state_sizes().map(|len| cast::<f32>(&numbers(len as u64, len)));
        let mut other = states.clone();
        let (mut out, mut plain) = (vec![NAN; x.len()], vec![f32::NAN; x.len()]);
        for _ in 0..3 {
            let [angle, state, key, value] = &mut states;
            scan.step_bf16(&half, StatesMut { angle, state, key, value }, &mut out);
            let [angle, state, key, value] = &mut other;
            scan.step(&inputs, StatesMut { angle, state, key, value }, &mut plain);
            same(&out, &plain, "out");
        }
        (0..4).for_each(|i| same_singles(&states[i], &other[i], "states"));
    }
}
