//! ssd.

use super::*;
use crate::kernels::scan::half::{ROWS, ROWS_BACK};
use crate::kernels::scan::ssd::case::{self as ssd_case, Data};
use crate::kernels::scan::ssd::{Gradients, Inputs};
use crate::kernels::testing::{cast, flat, golden};

/// A scan, its numbers, and whether states are given.
struct Case {
    of: ssd_case::Case,
    given: bool,
    /// x, Δ, B, C and dy as bf16 has them.
    data: Data,
}

const NAMES: [&str; 10] = ["y", "dx", "ddt", "dB", "dC", "last states", "dA", "dD", "dfirst states", ""];

fn case(bounds: &[usize], sizes: [usize; 4], chunk: usize, skip: usize, given: bool) -> Case {
    let of = ssd_case::case(bounds, sizes, chunk, skip);
    let mut data = ssd_case::data(&of);
    [0, 1, 2, 3, 7].into_iter().for_each(|i| data[i] = rounded(&data[i]));
    Case { of, given, data }
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
    fn run(&self) -> Found {
        let rows: [Vec<u16>; 4] = std::array::from_fn(|i| halves(&self.data[i]));
        let others: [Vec<f32>; 3] = std::array::from_fn(|i| cast(&self.data[4 + i]));
        let (scan, initial) = (self.of.scan(&others[0], &others[1]), self.given.then_some(&others[2][..]));
        let [x, dt, b, c] = &rows;
        let inputs = Inputs { x, dt, b, c };
        let (mut y, mut last) = (vec![NAN; x.len()], vec![f32::NAN; scan.state_len()]);
        scan.forward_bf16(&inputs, initial, &mut y, Some(&mut last));
        let mut d: [Vec<u16>; 4] = std::array::from_fn(|i| vec![NAN; rows[i].len()]);
        let mut e: [Vec<f32>; 3] = std::array::from_fn(|i| vec![f32::NAN; others[i].len()]);
        let dlast = cast::<f32>(&self.data[8]);
        {
            let ([x, dt, b, c], [a, skip, first]) = (&mut d, &mut e);
            let to = Gradients {
                x: Some(&mut x[..]),
                dt: Some(dt),
                b: Some(b),
                c: Some(c),
                a: Some(&mut a[..]),
                skip: (self.of.skip > 0).then_some(skip),
                initial: Some(first),
            };
            scan.backward_bf16(&inputs, initial, &halves(&self.data[7]), self.given.then_some(&dlast), to);
        }
        Found { halves: std::iter::once(y).chain(d).collect(), singles: std::iter::once(last).chain(e).collect() }
    }

    /// Those of bf16 first.
    fn exact(&self) -> Vec<Vec<f64>> {
        let [y, last, x, dt, b, c, a, skip, first] = self.of.exact(&self.data, self.given);
        vec![y, x, dt, b, c, last, a, skip, first]
    }
}

const NOISE: [f64; 9] = [1e-5, 1e-4, 1e-4, 1e-4, 1e-4, 1e-5, 1e-4, 1e-4, 1e-4];

#[test]
fn forward_is_the_plain_one_rounded() {
    for case in cases() {
        let found = case.run();
        let all = case.data.each_ref().map(|v| cast::<f32>(v));
        let [x, dt, b, c, a, d, first, ..] = &all;
        let (scan, initial) = (case.of.scan(a, d), case.given.then_some(&first[..]));
        let (mut y, mut last) = (vec![f32::NAN; x.len()], vec![f32::NAN; scan.state_len()]);
        scan.forward(&Inputs { x, dt, b, c }, initial, &mut y, Some(&mut last));
        let y: Vec<u16> = y.into_iter().map(to_bf16).collect();
        assert!(found.halves[0] == y && found.singles[0] == last, "{:?} chunk {}", case.of.bounds, case.of.chunk);
    }
}

#[test]
fn all_is_the_definition() {
    for case in cases() {
        case.run().check(&case.exact(), &NAMES, &NOISE, &format!("{:?} chunk {}", case.of.bounds, case.of.chunk));
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
        assert_eq!(x.len(), case.data[i].len(), "{name}");
        case.data[i] = if i < 4 { rounded(&x) } else { x };
    }
    (case.data[7], case.data[8]) = (rounded(&flat(&g["dY"])), flat(&g["dfinal_state"]));
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
    assert!(refused(|c| c.of.groups = 3) && refused(|c| c.of.bounds = vec![0, 5]) && refused(|c| c.of.states = 3));
}
