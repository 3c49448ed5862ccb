//! Against the definition, the golden and the one-dimensional scan, gradients against central differences, and the edges.

use super::*;
use crate::kernels::scan::Sequences;
use crate::kernels::scan::cross_scan::{CrossScan, Layout};
use crate::kernels::scan::selective::{self, SelectiveScan};
use crate::kernels::simd::{available, with_isa};
use crate::kernels::testing::{bits, cast, close, differences, exchanged, flat, golden, in_pool, numbers, wide};
use reference::AllGradients;

/// Every input in f64, in the order of [`NAMES`].
#[derive(Clone, Debug)]
struct Case {
    batch: usize,
    grid: Grid,
    directions: &'static [Direction],
    channels: usize,
    states: usize,
    /// Whether D and the bias are given.
    optional: bool,
    inputs: [Vec<f64>; 7],
}

const NAMES: [&str; 7] = ["u", "delta", "B", "C", "A", "D", "bias"];

impl Case {
    fn new(
        batch: usize,
        (height, width): (usize, usize),
        directions: &'static [Direction],
        (channels, states): (usize, usize),
        optional: bool,
    ) -> Self {
        let (cells, k) = (batch * height * width, directions.len());
        let couplings = cells * k * states;
        let sizes =
            [cells * channels, cells * k * channels, couplings, couplings, k * channels * states, k * channels, k * channels];
        let mut inputs: [Vec<f64>; 7] = std::array::from_fn(|i| numbers(i as u64 + 1, sizes[i]));
        // Stable rates of different sizes.
        inputs[4].iter_mut().for_each(|a| *a = -2.0 * (*a + 1.125));
        Self { batch, grid: Grid { height, width }, directions, channels, states, optional, inputs }
    }

    fn views<'a, T: Real>(&'a self, of: &'a [Vec<T>; 7]) -> (Ss2d<'a, T>, Inputs<'a, T>) {
        let [u, delta, b, c, a, skip, bias] = of;
        let some = |v: &'a Vec<T>| self.optional.then_some(&v[..]);
        let Self { batch, grid, directions, channels, states, .. } = *self;
        let (skip, delta_bias) = (some(skip), some(bias));
        let scan = Ss2d { batch, grid, directions, channels, states, a, skip, delta_bias, softplus: true };
        (scan, Inputs { u, delta, b, c })
    }

    fn dy(&self) -> Vec<f64> {
        numbers(20, self.inputs[0].len())
    }

    /// y, then the gradients in the order of the inputs.
    fn run<T: Real>(&self) -> (Vec<T>, [Vec<T>; 7]) {
        let owned: [Vec<T>; 7] = std::array::from_fn(|i| cast(&self.inputs[i]));
        let (scan, x) = self.views(&owned);
        let nan = |len: usize| vec![T::from_f64(f64::NAN); len];
        let (mut y, mut starts) = (nan(x.u.len()), nan(scan.starts_len()));
        scan.forward(&x, &mut y, Some(&mut starts));
        let mut to: [Vec<T>; 7] = std::array::from_fn(|i| nan(owned[i].len()));
        let [u, delta, b, c, a, skip, bias] = &mut to;
        let gradients = Gradients {
            u: Some(u),
            delta: Some(delta),
            b: Some(b),
            c: Some(c),
            a: Some(a),
            skip: self.optional.then_some(skip),
            delta_bias: self.optional.then_some(bias),
        };
        scan.backward(&x, &starts, &cast::<T>(&self.dy()), gradients);
        if !self.optional {
            to[5].clear();
            to[6].clear();
        }
        (y, to)
    }

    fn exact(&self) -> (Vec<f64>, [Vec<f64>; 7]) {
        let (scan, x) = self.views(&self.inputs);
        let AllGradients { u, delta, b, c, a, skip, delta_bias } = reference::backward(&scan, &x, &self.dy());
        (reference::forward(&scan, &x), [u, delta, b, c, a, skip, delta_bias])
    }
}

fn cases() -> Vec<Case> {
    let all = &Direction::ALL;
    vec![
        Case::new(2, (4, 5), all, (5, 3), true),
        Case::new(1, (9, 15), all, (40, 2), true),
        Case::new(3, (8, 8), all, (16, 1), false),
        Case::new(1, (1, 70), all, (3, 2), true),
        Case::new(2, (66, 1), &all[1..2], (17, 1), true),
        Case::new(1, (7, 11), &all[3..4], (22, 4), true),
        Case::new(1, (5, 3), &all[2..4], (300, 1), true),
        Case::new(1, (1, 1), all, (1, 1), false),
    ]
}

/// (k, rows, l) in the order of steps as (l, k, rows) in the order of cells.
fn by_cells(x: &[f64], grid: Grid, rows: usize) -> Vec<f64> {
    let (l, k) = (grid.cells(), x.len() / rows / grid.cells());
    let mut to = vec![0.0; x.len()];
    for (i, &v) in x.iter().enumerate() {
        let (direction, row, step) = (i / l / rows, i / l % rows, i % l);
        to[(grid.cell(Direction::ALL[direction], step) * k + direction) * rows + row] = v;
    }
    to
}

#[test]
fn golden_values() {
    let g = golden("ss2d");
    let grid = Grid { height: 2, width: 3 };
    // delta, B and C are in the order of the steps of their directions.
    let inputs = [
        exchanged(&flat(&g["x"]), 4, 6),
        by_cells(&flat(&g["delta"]), grid, 4),
        by_cells(&flat(&g["B"]), grid, 2),
        by_cells(&flat(&g["C"]), grid, 2),
        flat(&g["A"]),
        flat(&g["D"]),
        flat(&g["delta_bias"]),
    ];
    let case = Case { inputs, ..Case::new(1, (2, 3), &Direction::ALL, (4, 2), true) };
    let merged = exchanged(&flat(&g["merged"]), 4, 6);
    let (y, _) = case.exact();
    close(&y, &merged, 1e-14, "by the definition");
    close(&case.run::<f64>().0, &merged, 1e-10, "f64");
    close(&wide(&case.run::<f32>().0), &merged, 1e-5, "f32");
    // Each direction by itself, as GroupMamba runs it; its quarter here has all channels.
    let maps = flat(&g["groupmamba_dirs"]["maps"]);
    for k in 0..4 {
        let part = |x: &[f64], per: usize| -> Vec<f64> { x.chunks(per).skip(k).step_by(4).flatten().copied().collect() };
        let of = &case.inputs;
        let inputs = [
            of[0].clone(),
            part(&of[1], 4),
            part(&of[2], 2),
            part(&of[3], 2),
            of[4][k * 8..(k + 1) * 8].to_vec(),
            of[5][k * 4..(k + 1) * 4].to_vec(),
            of[6][k * 4..(k + 1) * 4].to_vec(),
        ];
        let single = Case { inputs, ..Case::new(1, (2, 3), &Direction::ALL[k..k + 1], (4, 2), true) };
        let expected = exchanged(&maps[k * 24..(k + 1) * 24], 4, 6);
        close(&single.run::<f64>().0, &expected, 1e-10, "a single direction");
    }
}

#[test]
fn fast_is_the_definition() {
    for case in cases() {
        let what = |name: &str| format!("{name} of {:?} x {}, {}", case.grid, case.channels, case.states);
        let (y, to) = case.exact();
        let (f, g) = case.run::<f64>();
        // Decays below 1 keep errors from growing; sums have at most some thousands of terms, all relative to the largest result.
        close(&f, &y, 1e-13, &what("y"));
        for ((found, exact), name) in g.iter().zip(&to).zip(NAMES) {
            close(found, exact, 1e-12, &what(name));
        }
        let (f, g) = case.run::<f32>();
        close(&wide(&f), &y, 1e-5, &what("y"));
        for ((found, exact), name) in g.iter().zip(&to).zip(NAMES) {
            close(&wide(found), exact, 1e-4, &what(name));
        }
    }
}

#[test]
fn gradients_are_central_differences() {
    for optional in [true, false] {
        let case = Case::new(1, (5, 14), &Direction::ALL, (3, 2), optional);
        let (_, to) = case.run::<f64>();
        let dy = case.dy();
        for i in 0..7 {
            if to[i].is_empty() {
                continue;
            }
            // Truncation: step²/6 times third derivatives of some tens; rounding: a loss of size 100 over the step.
            differences(&case.inputs[i], &to[i], 7, 5e-8, NAMES[i], |x| {
                let mut changed = case.clone();
                changed.inputs[i] = x.to_vec();
                let (scan, x) = changed.views(&changed.inputs);
                let mut y = vec![0.0; dy.len()];
                scan.forward(&x, &mut y, None);
                y.iter().zip(&dy).map(|(y, g)| y * g).sum()
            });
        }
    }
}

/// What the module saves: sequences written by a cross scan, scanned, and merged.
#[test]
fn it_is_a_cross_scan_a_selective_scan_and_a_cross_merge() {
    let case = Case::new(2, (5, 13), &Direction::ALL, (6, 3), true);
    let (scan, x) = case.views(&case.inputs);
    let mut y = vec![0.0; x.u.len()];
    scan.forward(&x, &mut y, None);
    let (l, d, n) = (65, 6, 3);
    let cross =
        |channels| CrossScan { batch: 2, channels, grid: case.grid, directions: &Direction::ALL, layout: Layout::ChannelsLast };
    let mut ys = vec![0.0; cross(d).sequences_len()];
    for k in 0..4 {
        // The same maps in one direction, (batch, cells, width).
        let sequences = |x: &[f64], width: usize, of: usize, at: usize| {
            let map: Vec<f64> = x.chunks(of * width).flat_map(|cell| &cell[at * width..(at + 1) * width]).copied().collect();
            let mut xs = vec![0.0; map.len()];
            CrossScan { directions: &Direction::ALL[k..k + 1], ..cross(width) }.scan(&map, &mut xs);
            xs
        };
        let (u, delta) = (sequences(x.u, d, 1, 0), sequences(x.delta, d, 4, k));
        let (b, c) = (sequences(x.b, n, 4, k), sequences(x.c, n, 4, k));
        let one = SelectiveScan {
            sequences: Sequences::Equal { count: 2, len: l },
            channels: d,
            states: n,
            groups: 1,
            a: &scan.a[k * d * n..(k + 1) * d * n],
            skip: scan.skip.map(|v| &v[k * d..(k + 1) * d]),
            delta_bias: scan.delta_bias.map(|v| &v[k * d..(k + 1) * d]),
            softplus: true,
        };
        let mut out = vec![0.0; u.len()];
        one.forward(&selective::Inputs { u: &u, delta: &delta, b: &b, c: &c, z: None }, None, &mut out, None, None);
        for (e, out) in out.chunks(l * d).enumerate() {
            ys[(e * 4 + k) * l * d..][..l * d].copy_from_slice(out);
        }
    }
    let mut merged = vec![0.0; y.len()];
    cross(d).merge(&ys, &mut merged);
    // The same operations in the same order.
    assert_eq!(merged, y);
}

#[test]
fn directions_of_a_line() {
    // On a map of one row, columns are cells: directions 0 and 1 agree, and 2 and 3.
    let case = |k: usize| Case::new(1, (1, 30), &Direction::ALL[k..k + 1], (4, 2), true);
    assert_eq!(case(0).run::<f64>(), case(1).run::<f64>());
    assert_eq!(case(2).run::<f64>(), case(3).run::<f64>());
    // Backwards is forwards on the reversed line.
    let mut reversed = case(0);
    for (i, width) in [(0, 4), (1, 4), (2, 2), (3, 2)] {
        reversed.inputs[i] = case(2).inputs[i].chunks(width).rev().flatten().copied().collect();
    }
    let back: Vec<f64> = reversed.run::<f64>().0.chunks(4).rev().flatten().copied().collect();
    assert_eq!(case(2).run::<f64>().0, back);
}

#[test]
fn threads_and_instruction_sets_change_no_bit() {
    let run = |case: &Case| {
        let (y, to) = case.run::<f32>();
        (bits(&y), to.map(|v| bits(&v)))
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
    let case = Case::new(2, (5, 6), &Direction::ALL, (20, 2), true);
    let (scan, x) = case.views(&case.inputs);
    let (mut y, mut starts) = (vec![0.0; x.u.len()], vec![0.0; scan.starts_len()]);
    scan.forward(&x, &mut y, Some(&mut starts));
    let (_, to) = case.run::<f64>();
    let (mut u, mut c) = (vec![f64::NAN; to[0].len()], vec![f64::NAN; to[3].len()]);
    scan.backward(&x, &starts, &case.dy(), Gradients { u: Some(&mut u), ..Default::default() });
    scan.backward(&x, &starts, &case.dy(), Gradients { c: Some(&mut c), ..Default::default() });
    assert!(u == to[0] && c == to[3]);
}

#[test]
fn nothing_in_gives_nothing_and_misfits_are_refused() {
    for (batch, shape) in [(0, (3, 4)), (2, (0, 4)), (1, (3, 0))] {
        let (y, to) = Case::new(batch, shape, &Direction::ALL, (2, 3), true).run::<f64>();
        assert!(y.is_empty() && to[4].iter().chain(&to[5]).chain(&to[6]).all(|v| *v == 0.0));
    }
    let refused = |change: fn(&mut Case)| {
        let mut case = Case::new(1, (2, 4), &Direction::ALL, (2, 3), true);
        change(&mut case);
        std::panic::catch_unwind(|| case.run::<f64>()).is_err()
    };
    assert!(!refused(|_| ()));
    assert!(refused(|c| c.states = 2) && refused(|c| c.batch = 2) && refused(|c| c.directions = &Direction::ALL[..2]));
}
