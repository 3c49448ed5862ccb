//! ssd.

use super::*;
use crate::kernels::scan::Sequences;
use crate::kernels::scan::half::{ROWS, ROWS_BACK};
use crate::kernels::scan::ssd::{Gradients, Inputs, Skip, Ssd, reference};
use crate::kernels::testing::{cast, flat, golden, numbers};

struct Case {
    bounds: Vec<usize>,
    heads: usize,
    width: usize,
    groups: usize,
    states: usize,
    chunk: usize,
    /// Numbers of D for each head.
    skip: usize,
    given: bool,
    /// x, Δ, B, C as bf16 has them; A, D, first states.
    inputs: [Vec<f64>; 7],
    dy: Vec<f64>,
    dlast: Vec<f64>,
}

const NAMES: [&str; 10] = ["y", "dx", "ddt", "dB", "dC", "last states", "dA", "dD", "dfirst states", ""];

fn case(bounds: &[usize], [heads, width, groups, states]: [usize; 4], chunk: usize, skip: usize, given: bool) -> Case {
    let (rows, count) = (bounds[bounds.len() - 1], bounds.len() - 1);
    let positive = |seed, len, by: f64| numbers(seed, len).into_iter().map(|v| (v.abs() + 0.0625) * by).collect::<Vec<f64>>();
    let (wide, shared, state) = (rows * heads * width, rows * groups * states, count * heads * width * states);
    let inputs = [
        rounded(&numbers(1, wide)),
        rounded(&positive(5, rows * heads, 0.5)),
        rounded(&numbers(3, shared)),
        rounded(&numbers(4, shared)),
        positive(6, heads, -2.0),
        numbers(7, heads * skip),
        numbers(8, state),
    ];
    let (dy, dlast) = (rounded(&numbers(78, wide)), numbers(79, state));
    Case { bounds: bounds.to_vec(), heads, width, groups, states, chunk, skip, given, inputs, dy, dlast }
}

/// Lengths about those of blocks both ways, several blocks, a chunk that is no divisor of a block and one that is longer.
fn cases() -> Vec<Case> {
    let lens = [0, 1, ROWS - 1, ROWS, ROWS + 1, ROWS_BACK - 1, ROWS_BACK, ROWS_BACK + 1];
    let mut cases: Vec<Case> = lens.map(|len| case(&[0, len], [2, 3, 1, 4], 64, 1, true)).into();
    cases.extend([
        case(&[0, 0, 13, 13, 14, 37, 37], [4, 5, 2, 3], 7, 5, true),
        case(&[0, 3, 2 * ROWS_BACK + 70, 2 * ROWS_BACK + 71], [4, 5, 2, 3], 48, 5, true),
        case(&[0, 700], [3, 17, 3, 19], 600, 0, false),
        case(&(0..150).map(|i| i * 4).collect::<Vec<_>>(), [7, 4, 1, 5], 16, 1, true),
        case(&[0], [2, 3, 1, 4], 16, 1, false),
    ]);
    cases
}

impl Case {
    fn scan<'a, T>(&'a self, [a, d, initial]: [&'a [T]; 3]) -> (Ssd<'a, T>, Option<&'a [T]>) {
        let Self { heads, width, groups, states, chunk, .. } = *self;
        let skip = match self.skip {
            0 => None,
            1 => Some(Skip::Head(d)),
            _ => Some(Skip::Channel(d)),
        };
        let sequences = Sequences::Packed(&self.bounds);
        (Ssd { sequences, heads, width, groups, states, chunk, a, skip }, self.given.then_some(initial))
    }

    fn run(&self) -> Found {
        let rows: [Vec<u16>; 4] = std::array::from_fn(|i| halves(&self.inputs[i]));
        let others: [Vec<f32>; 3] = std::array::from_fn(|i| cast(&self.inputs[4 + i]));
        let (scan, initial) = self.scan(others.each_ref().map(|v| &v[..]));
        let [x, dt, b, c] = &rows;
        let inputs = Inputs { x, dt, b, c };
        let (mut y, mut last) = (vec![NAN; x.len()], vec![f32::NAN; scan.state_len()]);
        scan.forward_bf16(&inputs, initial, &mut y, Some(&mut last));
        let mut d: [Vec<u16>; 4] = std::array::from_fn(|i| vec![NAN; rows[i].len()]);
        let mut e: [Vec<f32>; 3] = std::array::from_fn(|i| vec![f32::NAN; others[i].len()]);
        let dlast = cast::<f32>(&self.dlast);
        {
            let ([x, dt, b, c], [a, skip, first]) = (&mut d, &mut e);
            let to = Gradients {
                x: Some(&mut x[..]),
                dt: Some(dt),
                b: Some(b),
                c: Some(c),
                a: Some(&mut a[..]),
                skip: (self.skip > 0).then_some(skip),
                initial: Some(first),
            };
            scan.backward_bf16(&inputs, initial, &halves(&self.dy), self.given.then_some(&dlast), to);
        }
        Found { halves: std::iter::once(y).chain(d).collect(), singles: std::iter::once(last).chain(e).collect() }
    }

    fn exact(&self) -> Vec<Vec<f64>> {
        let [x, dt, b, c, a, d, first] = &self.inputs;
        let (scan, initial) = self.scan([a, d, first]);
        let inputs = Inputs { x, dt, b, c };
        let reference::Outputs { y, last } = reference::forward(&scan, &inputs, initial);
        let g = reference::backward(&scan, &inputs, initial, &self.dy, self.given.then_some(&self.dlast));
        vec![y, g.x, g.dt, g.b, g.c, last, g.a, g.skip, g.initial]
    }
}

const NOISE: [f64; 9] = [1e-5, 1e-4, 1e-4, 1e-4, 1e-4, 1e-5, 1e-4, 1e-4, 1e-4];

#[test]
fn forward_is_the_plain_one_rounded() {
    for case in cases() {
        let found = case.run();
        let all = case.inputs.each_ref().map(|v| cast::<f32>(v));
        let [x, dt, b, c, a, d, first] = &all;
        let (scan, initial) = case.scan([a, d, first]);
        let (mut y, mut last) = (vec![f32::NAN; x.len()], vec![f32::NAN; scan.state_len()]);
        scan.forward(&Inputs { x, dt, b, c }, initial, &mut y, Some(&mut last));
        let y: Vec<u16> = y.into_iter().map(to_bf16).collect();
        assert!(found.halves[0] == y && found.singles[0] == last, "{:?} chunk {}", case.bounds, case.chunk);
    }
}

#[test]
fn all_is_the_definition() {
    for case in cases() {
        case.run().check(&case.exact(), &NAMES, &NOISE, &format!("{:?} chunk {}", case.bounds, case.chunk));
    }
}

#[test]
fn goldens_rounded_first() {
    let g = golden("ssd");
    let shape = |name: &str| -> Vec<usize> {
        let (mut v, mut shape) = (&g[name], Vec::new());
        while let Some(items) = v.as_array() {
            shape.push(items.len());
            v = &items[0];
        }
        shape
    };
    let (x, b) = (shape("X"), shape("B"));
    let [batch, l, h, p] = [x[0], x[1], x[2], x[3]];
    let skip = flat(&g["D"]).len() / h;
    let bounds: Vec<usize> = (0..=batch).map(|i| i * l).collect();
    let mut case = case(&bounds, [h, p, b[2], b[3]], 2, skip, true);
    for (i, name) in ["X", "dt", "B", "C", "A", "D", "h0"].iter().enumerate() {
        let x = flat(&g[name]);
        assert_eq!(x.len(), case.inputs[i].len(), "{name}");
        case.inputs[i] = if i < 4 { rounded(&x) } else { x };
    }
    (case.dy, case.dlast) = (rounded(&flat(&g["dY"])), flat(&g["dfinal_state"]));
    case.run().check(&case.exact(), &NAMES, &NOISE, "the golden");
}

#[test]
fn threads_and_instruction_sets_change_no_bit() {
    cases().iter().for_each(|case| changes_no_bit(|| case.run()));
}

#[test]
fn misfits_are_refused() {
    let refused = |change: fn(&mut Case)| {
        let mut case = case(&[0, 4], [2, 3, 1, 2], 2, 1, true);
        change(&mut case);
        std::panic::catch_unwind(|| case.run()).is_err()
    };
    assert!(!refused(|_| ()));
    assert!(refused(|c| c.groups = 3) && refused(|c| c.bounds = vec![0, 5]) && refused(|c| c.states = 3));
}
