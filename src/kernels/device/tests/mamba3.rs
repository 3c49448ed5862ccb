//! The scan of Mamba-3.

use super::*;
use crate::kernels::device::mamba3;
use crate::kernels::scan::Sequences;
use crate::kernels::scan::mamba3::reference::{self, Carried};
use crate::kernels::scan::mamba3::{HeadNorm, Inputs, Mamba3, Rotation, States, StatesMut};
use crate::kernels::testing::{cast, close, exchanged, flat, golden, numbers, wide};
use serde_json::Value;

/// Which optional parts a scan has.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Parts {
    Bare,
    /// D and the gate: SISO.
    Gate,
    /// Mixes too: MIMO.
    Mixed,
    /// And the norm.
    Norm,
}

/// A scan in f64 with everything that it takes.
#[derive(Clone, Debug)]
struct Case {
    bounds: Vec<usize>,
    heads: usize,
    width: usize,
    groups: usize,
    states: usize,
    rank: usize,
    angles: usize,
    shared: bool,
    rotation: Rotation,
    chunk: usize,
    parts: Parts,
    eps: f64,
    initial: bool,
    /// q, k, x, z, log_decay, dt, trap, angles, q_bias, k_bias, skip, mix_x, mix_z, mix_out, norm, then angle, state, key, value
    /// before.
    data: [Vec<f64>; 19],
}

impl Case {
    fn new(
        bounds: &[usize],
        [heads, groups, width, states, rank, angles, chunk]: [usize; 7],
        rotation: Rotation,
        shared: bool,
        parts: Parts,
        initial: bool,
    ) -> Self {
        let (rows, count) = (bounds.last().copied().unwrap_or(0), bounds.len() - 1);
        let mut seed = 7;
        let mut some = |len: usize, scale: f64, shift: f64| -> Vec<f64> {
            seed += 1;
            numbers(seed, len).into_iter().map(|v| scale * v + shift).collect()
        };
        let mixes = if parts == Parts::Mixed || parts == Parts::Norm { heads * rank * width } else { 0 };
        let kept = if initial { count } else { 0 };
        let gated = |len: usize| if parts == Parts::Bare { 0 } else { len };
        let data = [
            some(rows * rank * groups * states, 1.0, 0.0),
            some(rows * rank * groups * states, 1.0, 0.0),
            some(rows * heads * width, 1.0, 0.0),
            some(gated(rows * heads * width), 2.0, 0.0),
            some(rows * heads, 0.5, -0.5),
            some(rows * heads, 0.25, 0.375),
            some(rows * heads, 2.0, 0.0),
            some(rows * if shared { angles } else { heads * angles }, 2.0, 0.0),
            some(heads * rank * states, 0.5, 0.0),
            some(heads * rank * states, 0.5, 0.0),
            some(gated(heads), 1.0, 0.0),
            some(mixes, 1.0, 0.0),
            some(mixes, 1.0, 0.0),
            some(mixes, 1.0, 0.0),
            some(if parts == Parts::Norm { heads * width } else { 0 }, 1.0, 0.0),
            some(kept * heads * angles, 3.0, 3.0),
            some(kept * heads * width * states, 1.0, 0.0),
            some(kept * rank * heads * states, 1.0, 0.0),
            some(kept * heads * width, 1.0, 0.0),
        ];
        let (bounds, eps) = (bounds.to_vec(), 1e-2);
        Self { bounds, heads, width, groups, states, rank, angles, shared, rotation, chunk, parts, eps, initial, data }
    }

    fn scan<'a, T>(&'a self, d: &'a [Vec<T>; 19]) -> (Mamba3<'a, T>, Inputs<'a, T>, Option<States<'a, T>>) {
        let some = |i: usize| (!d[i].is_empty()).then_some(&d[i][..]);
        let norm = (self.parts == Parts::Norm).then_some(&d[14][..]);
        let scan = Mamba3 {
            sequences: Sequences::Packed(&self.bounds),
            heads: self.heads,
            width: self.width,
            groups: self.groups,
            states: self.states,
            rank: self.rank,
            angles: self.angles,
            shared_angles: self.shared,
            rotation: self.rotation,
            chunk: self.chunk,
            q_bias: &d[8],
            k_bias: &d[9],
            skip: some(10),
            mix_x: some(11),
            mix_z: some(12),
            mix_out: some(13),
            norm: norm.map(|weight| HeadNorm { weight, eps: self.eps }),
        };
        let z = (self.parts != Parts::Bare).then_some(&d[3][..]);
        let x = Inputs { q: &d[0], k: &d[1], x: &d[2], z, log_decay: &d[4], dt: &d[5], trap: &d[6], angles: &d[7] };
        let before = States { angle: &d[15], state: &d[16], key: &d[17], value: &d[18] };
        (scan, x, self.initial.then_some(before))
    }

    /// The result and the states after it: angle, state, key, value.
    fn run(&self, device: &mut dyn Executor) -> Result<[Vec<f32>; 5], DeviceError> {
        let data = self.data.each_ref().map(|v| cast::<f32>(v));
        let (scan, x, before) = self.scan(&data);
        let mut out = nan(x.x.len());
        let [mut angle, mut state, mut key, mut value] = scan.state_sizes().map(nan);
        let last = StatesMut { angle: &mut angle, state: &mut state, key: &mut key, value: &mut value };
        mamba3::forward(device, &scan, &x, before, &mut out, Some(last))?;
        Ok([out, angle, state, key, value])
    }

    fn exact(&self) -> [Vec<f64>; 5] {
        let (scan, x, _) = self.scan(&self.data);
        let [angle, state, key, value] = [15, 16, 17, 18].map(|i| self.data[i].clone());
        let (out, last) = reference::forward(&scan, &x, self.initial.then_some(Carried { angle, state, key, value }).as_ref());
        [out, last.angle, last.state, last.key, last.value]
    }
}

fn cases() -> Vec<Case> {
    use Parts::{Bare, Gate, Mixed, Norm};
    use Rotation::{Halves, Pairwise};
    vec![
        // Several sequences, an empty one first, last and between; groups.
        Case::new(&[0, 0, 5, 5, 18, 19, 19], [6, 2, 5, 7, 1, 2, 4], Pairwise, false, Gate, true),
        Case::new(&[0, 11, 12], [4, 1, 3, 6, 3, 3, 3], Halves, false, Norm, true),
        Case::new(&[0, 13], [2, 2, 18, 20, 2, 5, 64], Halves, true, Mixed, true),
        Case::new(&[0, 1], [1, 1, 1, 1, 1, 0, 64], Pairwise, true, Bare, false),
        Case::new(&[0, 9, 40], [3, 1, 16, 16, 1, 8, 1000], Pairwise, true, Gate, false),
        Case::new(&[0, 37], [3, 3, 4, 18, 5, 9, 64], Pairwise, false, Norm, true),
        Case::new(&[0, 6, 9], [5, 5, 2, 4, 4, 0, 2], Halves, false, Mixed, true),
        Case::new(&[0, 8], [1, 1, 70, 66, 2, 33, 64], Halves, false, Bare, true),
        Case::new(&[0, 3], [1, 1, 3, 4, 64, 2, 64], Pairwise, false, Mixed, false),
    ]
}

const NAMES: [&str; 5] = ["out", "angle", "state", "key", "value"];

#[test]
fn emulated_is_the_definition() {
    for case in cases() {
        let found = in_all_orders(|device| case.run(device));
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
    let mut case = Case::new(&[0, rows], [heads, groups, width, states, rank, angles, chunk], rotation, false, parts, false);
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
            let [out, angle, state, key, value] = in_all_orders(|device| case.run(device)).map(|v| wide(&v));
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
                let [out, ..] = case.run(&mut Emulator::new(Order::Forward)).unwrap();
                close(&wide(&out), &flat(&g["out_with_pregate_headwise_rmsnorm"]), 1e-5, "with a norm");
            }
        }
    }
}

#[test]
fn angles_do_not_drift() {
    // Parity of 3000 bits: v is 1 at the start, ones turn by half a turn, nothing decays.
    let rows = 3001;
    let mut case = Case::new(&[0, rows], [1, 1, 1, 2, 1, 1, 64], Rotation::Pairwise, true, Parts::Bare, false);
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
    let [out, ..] = case.run(&mut Emulator::new(Order::Forward)).unwrap();
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
    let found = case.run(&mut Emulator::new(Order::Forward)).unwrap();
    close(&wide(&found[0]), &exact[0], 1e-5, "out");
    close(&wide(&found[1]), &exact[1], 1e-5, "angle");
    // Small equal steps, whose rounding in one f32 would all go one way.
    case.data[5].fill(0.5f64.powi(10));
    case.data[7].fill(0.3125);
    case.chunk = 4;
    let found = case.run(&mut Emulator::new(Order::Forward)).unwrap();
    close(&wide(&found[1]), &case.exact()[1], 1e-7, "angle after small steps");
}

#[test]
fn nothing_in_gives_nothing_and_misfits_are_errors() {
    for bounds in [&[0, 0, 0][..], &[0]] {
        let case = Case::new(bounds, [2, 1, 3, 4, 2, 1, 4], Rotation::Halves, true, Parts::Norm, true);
        let [out, a, s, k, v] = case.run(&mut Emulator::new(Order::Forward)).unwrap();
        assert!(out.is_empty());
        let before = [15, 16, 17, 18].map(|i| cast::<f32>(&case.data[i]));
        assert_eq!([a, s, k, v], before);
    }
    let run = |change: fn(&mut Case)| {
        let mut case = Case::new(&[0, 4], [2, 1, 3, 4, 2, 1, 4], Rotation::Halves, true, Parts::Norm, true);
        change(&mut case);
        case.run(&mut Emulator::new(Order::Forward)).map(|_| ())
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
        let case = Case::new(&bounds, sizes, rotation, draw.flag(), parts, draw.flag());
        let found = case.run(&mut draw.device()).unwrap_or_else(|e| panic!("{e}"));
        for ((f, e), name) in found.iter().zip(&case.exact()).zip(NAMES) {
            close(&wide(f), e, VALUES, &format!("{name} of {bounds:?} {sizes:?} {rotation:?} {parts:?}"));
        }
    }
}
