//! Goldens, and parity over a million steps.

use super::*;
use crate::kernels::testing::{exchanged, flat, golden};
use serde_json::Value;

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
    let mut case =
        Case::new(&[0, rows], [heads, groups], [width, states], [rank, angles], rotation, false, parts, false).chunk(chunk);
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
    case.dout = flat(&g["dout"]);
    let [angle, state, key, value] =
        [&case.dlast.angle, &case.dlast.state, &case.dlast.key, &case.dlast.value].map(|v| vec![0.0; v.len()]);
    case.dlast = carried([angle, state, key, value]);
    (g, case)
}

fn check_golden<T: Real>(g: &Value, case: &Case, [values, gradients]: [f64; 2]) {
    let [out, angle, state, key, value] = case.forward::<T>().map(|v| wide(&v));
    let last = &g["final"];
    close(&out, &flat(&g["out"]), values, "out");
    close(&angle, &flat(&last["angle_mod_2pi"]), values, "angle");
    close(&state, &flat(&last["S"]), values, "S");
    // The golden has (heads, rank, states).
    let per_head = case.rank * case.states;
    let keys: Vec<f64> = (0..case.heads * per_head)
        .map(|i| key[(i % per_head / case.states * case.heads + i / per_head) * case.states + i % case.states])
        .collect();
    close(&keys, &flat(&last["K_rot"]), values, "K_rot");
    if let Some(v) = last.get("V") {
        close(&value, &flat(v), values, "V");
    }
    let d = case.backward::<T>().map(|v| wide(&v));
    for (i, key) in
        [(0, "Q"), (1, "K"), (2, "V"), (3, "Z"), (7, "ang"), (8, "qb"), (9, "kb"), (10, "D"), (11, "mx"), (12, "mz"), (13, "mo")]
    {
        if let Some(expected) = g["grads"].get(key) {
            close(&d[i], &flat(expected), gradients, key);
        }
    }
    for (i, key) in [(4, "ADT"), (5, "DT"), (6, "trap")] {
        close(&d[i], &turned(&g["grads"][key], case.heads), gradients, key);
    }
}

#[test]
fn goldens() {
    for (name, rotation) in [("mamba3_siso", Rotation::Pairwise), ("mamba3_mimo", Rotation::Halves)] {
        for chunk in [1, 2, 3, 64] {
            let (g, case) = golden_case(name, rotation, chunk);
            check_golden::<f64>(&g, &case, [1e-10, 1e-10]);
            check_golden::<f32>(&g, &case, [1e-5, 1e-4]);
        }
        let (g, case) = golden_case(name, rotation, 64);
        let [out, ..] = case.exact();
        close(&out, &flat(&g["out"]), 1e-12, "the definition");
    }
}

#[test]
fn golden_with_a_norm_before_the_gate() {
    let (g, mut case) = golden_case("mamba3_mimo", Rotation::Halves, 2);
    case.data[14] = flat(&g["norm_weight_hp"]);
    (case.parts, case.eps) = (Parts::Norm, 1e-5);
    let expected = flat(&g["out_with_pregate_headwise_rmsnorm"]);
    close(&case.forward::<f64>()[0], &expected, 1e-10, "f64");
    close(&wide(&case.forward::<f32>()[0]), &expected, 1e-5, "f32");
}

/// The scan that computes parity: v is 1 at the start, ones turn by π.
fn parity(bits: &[bool], shared: bool) -> Case {
    let rows = bits.len() + 1;
    let mut case = Case::new(&[0, rows], [1, 1], [1, 2], [1, 1], Rotation::Pairwise, shared, Parts::Bare, false).chunk(64);
    for i in [0, 1] {
        case.data[i] = vec![0.0; 2 * rows];
    }
    case.data[2] = (0..rows).map(|t| f64::from(t == 0)).collect();
    case.data[4] = vec![-1e-4; rows];
    case.data[5] = vec![1.0; rows];
    case.data[6] = vec![40.0; rows];
    case.data[7] = [0.0].into_iter().chain(bits.iter().map(|&b| if b { 20.0 } else { 0.0 })).collect();
    case.data[8] = vec![1.0, 0.0];
    case.data[9] = vec![1.0, 0.0];
    case
}

#[test]
fn parity_golden() {
    let g = golden("mamba3_parity");
    let bits: Vec<bool> = flat(&g["bits_after_BOS"]).iter().map(|&b| b > 0.5).collect();
    let case = parity(&bits, false);
    close(&case.forward::<f64>()[0], &flat(&g["y"]), 1e-10, "f64");
    close(&wide(&case.forward::<f32>()[0]), &flat(&g["y"]), 1e-5, "f32");
}

#[test]
fn parity_of_a_million_bits_in_single_precision() {
    let bits: Vec<bool> = numbers(3, 1_000_000).iter().map(|&v| v > 0.0).collect();
    let mut case = parity(&bits, true);
    // No decay, so that the last result can be seen.
    case.data[4].fill(0.0);
    let out = case.forward::<f32>();
    let mut sign = 1.0;
    for (t, y) in out[0].iter().enumerate() {
        if t > 0 && bits[t - 1] {
            sign = -sign;
        }
        assert!((y - sign).abs() < 1e-6, "step {t}: {y}, not {sign}");
    }
    // The same by steps, with angles carried in f32: no rounding adds up either, as π and 0 are all there is.
    let data = case.cast::<f32>();
    let (mut scan, x, _) = case.scan(&data);
    scan.sequences = Sequences::Equal { count: 1, len: 1 };
    let (mut angle, mut state, mut key, mut value) = ([0.0f32], [0.0f32; 2], [0.0f32; 2], [0.0f32]);
    let mut y = [0.0f32];
    for t in 0..x.dt.len() {
        let one = t..t + 1;
        let row = Inputs {
            q: &x.q[2 * t..2 * t + 2],
            k: &x.k[2 * t..2 * t + 2],
            x: &x.x[one.clone()],
            z: None,
            log_decay: &x.log_decay[one.clone()],
            dt: &x.dt[one.clone()],
            trap: &x.trap[one.clone()],
            angles: &x.angles[one],
        };
        scan.step(&row, StatesMut { angle: &mut angle, state: &mut state, key: &mut key, value: &mut value }, &mut y);
        assert!((y[0] - out[0][t]).abs() < 1e-5, "step {t}: {}", y[0]);
    }
}
