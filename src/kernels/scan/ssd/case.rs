//! Scans made up for tests, here and of other forms of the same scan.

use super::{Inputs, Skip, Ssd, reference};
use crate::kernels::scan::Sequences;
use crate::kernels::testing::numbers;

/// Sizes; `skip` numbers of D for each head.
#[derive(Clone, Debug)]
pub(in crate::kernels) struct Case {
    pub bounds: Vec<usize>,
    pub heads: usize,
    pub width: usize,
    pub groups: usize,
    pub states: usize,
    pub chunk: usize,
    pub skip: usize,
}

/// Inputs, parameters and what comes back to the results, in the order x, dt, b, c, a, D, h0, dy, dlast.
pub(in crate::kernels) type Data = [Vec<f64>; 9];

pub(in crate::kernels) fn case(bounds: &[usize], [heads, width, groups, states]: [usize; 4], chunk: usize, skip: usize) -> Case {
    Case { bounds: bounds.to_vec(), heads, width, groups, states, chunk, skip }
}

pub(in crate::kernels) fn data(case: &Case) -> Data {
    let Case { heads: h, width: p, groups: g, states: n, .. } = *case;
    let (rows, count) = (case.bounds[case.bounds.len() - 1], case.bounds.len() - 1);
    let positive = |seed, len, by: f64| numbers(seed, len).into_iter().map(|v| (v.abs() + 0.0625) * by).collect::<Vec<f64>>();
    let mut all =
        [rows * h * p, 0, rows * g * n, rows * g * n, 0, h * case.skip, count * h * p * n, rows * h * p, count * h * p * n]
            .map(|len| numbers(len as u64, len));
    all[3] = numbers(77, rows * g * n);
    all[7] = numbers(78, rows * h * p);
    all[8] = numbers(79, count * h * p * n);
    all[1] = positive(5, rows * h, 0.5);
    all[4] = positive(6, h, -2.0);
    all
}

impl Case {
    /// The scan of A and D.
    pub fn scan<'a, T>(&'a self, a: &'a [T], d: &'a [T]) -> Ssd<'a, T> {
        let Case { heads, width, groups, states, chunk, .. } = *self;
        let skip = match self.skip {
            0 => None,
            1 => Some(Skip::Head(d)),
            _ => Some(Skip::Channel(d)),
        };
        Ssd { sequences: Sequences::Packed(&self.bounds), heads, width, groups, states, chunk, a, skip }
    }

    /// y, last states, then the gradients, by the definition. `given`: the states before the first steps, and the gradient of the last.
    pub fn exact(&self, data: &Data, given: bool) -> [Vec<f64>; 9] {
        let [x, dt, b, c, a, d, h0, dy, dlast] = data.each_ref().map(|v| &v[..]);
        let (scan, inputs) = (self.scan(a, d), Inputs { x, dt, b, c });
        let out = reference::forward(&scan, &inputs, given.then_some(h0));
        let g = reference::backward(&scan, &inputs, given.then_some(h0), dy, given.then_some(dlast));
        [out.y, out.last, g.x, g.dt, g.b, g.c, g.a, g.skip, g.initial]
    }
}
