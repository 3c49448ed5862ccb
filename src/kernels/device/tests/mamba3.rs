//! The scan of Mamba-3.

use super::*;
use crate::kernels::device::mamba3;
use crate::kernels::scan::mamba3::tests::{Case, Parts};
use crate::kernels::scan::mamba3::{Rotation, StatesMut};
use crate::kernels::testing::{cast, close, exchanged, flat, golden, numbers, wide};
use serde_json::Value;

/// A case with its chunk.
fn case(
    bounds: &[usize],
    [heads, groups, width, states, rank, angles, chunk]: [usize; 7],
    rotation: Rotation,
    shared: bool,
    parts: Parts,
    initial: bool,
) -> Case {
    let (heads, width, rank) = ([heads, groups], [width, states], [rank, angles]);
    Case::new(bounds, heads, width, rank, rotation, shared, parts, initial).chunk(chunk)
}

/// The result and the states after it: angle, state, key, value.
fn run(case: &Case, device: &mut dyn Executor) -> Result<[Vec<f32>; 5], DeviceError> {
    let data = case.data.each_ref().map(|v| cast::<f32>(v));
    let (scan, x, before) = case.scan(&data);
    let mut out = nan(x.x.len());
    let [mut angle, mut state, mut key, mut value] = scan.state_sizes().map(nan);
    let last = StatesMut { angle: &mut angle, state: &mut state, key: &mut key, value: &mut value };
    mamba3::forward(device, &scan, &x, before, &mut out, Some(last))?;
    Ok([out, angle, state, key, value])
}

fn cases() -> Vec<Case> {
    use Parts::{Bare, Gate, Mixed, Norm};
    use Rotation::{Halves, Pairwise};
    vec![
        // Several sequences, an empty one first, last and between; groups.
        case(&[0, 0, 5, 5, 18, 19, 19], [6, 2, 5, 7, 1, 2, 4], Pairwise, false, Gate, true),
        case(&[0, 11, 12], [4, 1, 3, 6, 3, 3, 3], Halves, false, Norm, true),
        case(&[0, 13], [2, 2, 18, 20, 2, 5, 64], Halves, true, Mixed, true),
        case(&[0, 1], [1, 1, 1, 1, 1, 0, 64], Pairwise, true, Bare, false),
        case(&[0, 9, 40], [3, 1, 16, 16, 1, 8, 1000], Pairwise, true, Gate, false),
        case(&[0, 37], [3, 3, 4, 18, 5, 9, 64], Pairwise, false, Norm, true),
        case(&[0, 6, 9], [5, 5, 2, 4, 4, 0, 2], Halves, false, Mixed, true),
        case(&[0, 8], [1, 1, 70, 66, 2, 33, 64], Halves, false, Bare, true),
        case(&[0, 3], [1, 1, 3, 4, 64, 2, 64], Pairwise, false, Mixed, false),
    ]
}

const NAMES: [&str; 5] = ["out", "angle", "state", "key", "value"];

#[test]
fn emulated_is_the_definition() {
    for case in cases() {
        let found = in_all_orders(|device| run(&case, device));
        for ((f, e), name) in found.iter().zip(&case.exact()).zip(NAMES) {
            close(&wide(f), e, VALUES, &format!("{name} of {:?} {:?} rank {}", case.bounds, case.parts, case.rank));
        }
    }
}

/// A golden (heads, rows) array as (rows, heads).
fn turned(v: &Value, heads: usize) -> Vec<f64> {
    let x = flat(v);
    exchanged(&x, heads, x.len() / heads)
}

fn golden_case(name: &str, rotation: Rotation, chunk: usize) -> (Value, Case) {
    let g = golden(name);
    let shape = |v: &Value, axis: usize| (0..axis).fold(v, |v, _| &v[0]).as_array().unwrap().len();
    let (rows, rank, groups, states) = (shape(&g["Q"], 1), shape(&g["Q"], 2), shape(&g["Q"], 3), shape(&g["Q"], 4));
    let (heads, width, angles) = (shape(&g["V"], 2), shape(&g["V"], 3), shape(&g["ang"], 3));
    let mixed = g.get("mx").is_some();
    let parts = if mixed { Parts::Mixed } else { Parts::Gate };
    let mut case = case(&[0, rows], [heads, groups, width, states, rank, angles, chunk], rotation, false, parts, false);
    for (i, key) in [(0, "Q"), (1, "K"), (2, "V"), (3, "Z"), (7, "ang"), (8, "qb"), (9, "kb"), (10, "D")] {
        case.data[i] = flat(&g[key]);
    }
    for (i, key) in [(4, "ADT"), (5, "DT"), (6, "trap")] {
        case.data[i] = turned(&g[key], heads);
    }
    if mixed {
        for (i, key) in [(11, "mx"), (12, "mz"), (13, "mo")] {
            case.data[i] = flat(&g[key]);
        }
    }
    (g, case)
}

#[test]
fn goldens() {
    for (name, rotation) in [("mamba3_siso", Rotation::Pairwise), ("mamba3_mimo", Rotation::Halves)] {
        for chunk in [1, 3, 64] {
            let (g, mut case) = golden_case(name, rotation, chunk);
            let [out, angle, state, key, value] = in_all_orders(|device| run(&case, device)).map(|v| wide(&v));
            let last = &g["final"];
            close(&out, &flat(&g["out"]), 1e-5, "out");
            close(&angle, &flat(&last["angle_mod_2pi"]), 1e-5, "angle");
            close(&state, &flat(&last["S"]), 1e-5, "S");
            // The golden has (heads, rank, states).
            let per_head = case.rank * case.states;
            let keys: Vec<f64> = (0..case.heads * per_head)
                .map(|i| key[(i % per_head / case.states * case.heads + i / per_head) * case.states + i % case.states])
                .collect();
            close(&keys, &flat(&last["K_rot"]), 1e-5, "K_rot");
            if let Some(v) = last.get("V") {
                close(&value, &flat(v), 1e-5, "V");
            }
            if name == "mamba3_mimo" {
                case.data[14] = flat(&g["norm_weight_hp"]);
                (case.parts, case.eps) = (Parts::Norm, 1e-5);
                let [out, ..] = run(&case, &mut Emulator::new(Order::Forward)).unwrap();
                close(&wide(&out), &flat(&g["out_with_pregate_headwise_rmsnorm"]), 1e-5, "with a norm");
            }
        }
    }
}

#[test]
fn angles_do_not_drift() {
    // Parity of 3000 bits: v is 1 at the start, ones turn by half a turn, nothing decays.
    let rows = 3001;
    let mut case = case(&[0, rows], [1, 1, 1, 2, 1, 1, 64], Rotation::Pairwise, true, Parts::Bare, false);
    let ones: Vec<bool> = numbers(3, rows - 1).iter().map(|&v| v > 0.0).collect();
    for i in [0, 1] {
        case.data[i].fill(0.0);
    }
    case.data[2] = (0..rows).map(|t| f64::from(t == 0)).collect();
    case.data[4].fill(0.0);
    case.data[5].fill(1.0);
    case.data[6].fill(40.0);
    case.data[7] = [0.0].into_iter().chain(ones.iter().map(|&b| if b { 20.0 } else { 0.0 })).collect();
    case.data[8] = vec![1.0, 0.0];
    case.data[9] = vec![1.0, 0.0];
    let [out, ..] = run(&case, &mut Emulator::new(Order::Forward)).unwrap();
    let mut sign = 1.0;
    for (t, y) in out.iter().enumerate() {
        if t > 0 && ones[t - 1] {
            sign = -sign;
        }
        assert!((y - sign).abs() < 1e-6, "step {t}: {y}, not {sign}");
    }
    // Angles of no particular size, against f64.
    case.data[7] = numbers(8, rows);
    case.data[5] = numbers(9, rows).iter().map(|v| 0.5 + 0.25 * v).collect();
    let exact = case.exact();
    let found = run(&case, &mut Emulator::new(Order::Forward)).unwrap();
    close(&wide(&found[0]), &exact[0], 1e-5, "out");
    close(&wide(&found[1]), &exact[1], 1e-5, "angle");
    // Small equal steps, whose rounding in one f32 would all go one way.
    case.data[5].fill(0.5f64.powi(10));
    case.data[7].fill(0.3125);
    case.chunk = 4;
    let found = run(&case, &mut Emulator::new(Order::Forward)).unwrap();
    close(&wide(&found[1]), &case.exact()[1], 1e-7, "angle after small steps");
}

#[test]
fn nothing_in_gives_nothing_and_misfits_are_errors() {
    for bounds in [&[0, 0, 0][..], &[0]] {
        let case = case(bounds, [2, 1, 3, 4, 2, 1, 4], Rotation::Halves, true, Parts::Norm, true);
        let [out, a, s, k, v] = run(&case, &mut Emulator::new(Order::Forward)).unwrap();
        assert!(out.is_empty());
        let before = [15, 16, 17, 18].map(|i| cast::<f32>(&case.data[i]));
        assert_eq!([a, s, k, v], before);
    }
    let run = |change: fn(&mut Case)| {
        let mut case = case(&[0, 4], [2, 1, 3, 4, 2, 1, 4], Rotation::Halves, true, Parts::Norm, true);
        change(&mut case);
        run(&case, &mut Emulator::new(Order::Forward)).map(|_| ())
    };
    assert_eq!(run(|_| ()), Ok(()));
    assert!(run(|c| c.groups = 3).is_err() && run(|c| c.chunk = 0).is_err() && run(|c| c.angles = 3).is_err());
    assert!(run(|c| c.data[17].push(0.0)).is_err() && run(|c| c.bounds = vec![0, 5]).is_err());
}

#[test]
fn sizes_at_random() {
    let mut draw = Draw::new(3000);
    for _ in 0..16 {
        let bounds = draw.bounds(80);
        let (groups, per_group, rank) = (draw.size(1, 2), draw.size(1, 3), draw.size(1, 5));
        let (width, half) = (draw.size(1, 20), draw.size(1, 10));
        let rotation = if draw.flag() { Rotation::Halves } else { Rotation::Pairwise };
        let states = if rotation == Rotation::Halves { 2 * half } else { 2 * half + draw.size(0, 1) };
        let parts = [Parts::Bare, Parts::Gate, Parts::Mixed, Parts::Norm][draw.size(0, 3)];
        let sizes = [groups * per_group, groups, width, states, rank, draw.size(0, half), draw.size(1, 70)];
        let case = case(&bounds, sizes, rotation, draw.flag(), parts, draw.flag());
        let found = run(&case, &mut draw.device()).unwrap_or_else(|e| panic!("{e}"));
        for ((f, e), name) in found.iter().zip(&case.exact()).zip(NAMES) {
            close(&wide(f), e, VALUES, &format!("{name} of {bounds:?} {sizes:?} {rotation:?} {parts:?}"));
        }
    }
}
