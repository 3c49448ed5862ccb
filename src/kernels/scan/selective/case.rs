//! Scans made up for tests, here and of other forms of the same scan.

use super::{Inputs, SelectiveScan, reference};
use crate::kernels::scan::Sequences;
use crate::kernels::testing::numbers;

/// Sizes, every input in the order of [`NAMES`], and what comes back to the results.
#[derive(Clone)]
pub(in crate::kernels) struct Case {
    pub bounds: Vec<usize>,
    pub channels: usize,
    pub states: usize,
    pub groups: usize,
    /// Whether z, D, the bias, the states and the gradient of the last ones are given.
    pub optional: bool,
    pub softplus: bool,
    pub inputs: [Vec<f64>; 9],
    pub dout: Vec<f64>,
    pub dlast: Vec<f64>,
}

pub(in crate::kernels) const NAMES: [&str; 9] = ["u", "delta", "B", "C", "z", "A", "D", "bias", "first states"];

impl Case {
    pub fn new(bounds: &[usize], [channels, states, groups]: [usize; 3], optional: bool) -> Self {
        let (rows, count) = (bounds[bounds.len() - 1], bounds.len() - 1);
        let (x, coupling) = (rows * channels, rows * groups * states);
        let sizes = [x, x, coupling, coupling, x, channels * states, channels, channels, count * channels * states];
        let mut inputs: [Vec<f64>; 9] = std::array::from_fn(|i| numbers(i as u64 + 1, sizes[i]));
        // Stable rates of different sizes.
        inputs[5].iter_mut().for_each(|a| *a = -2.0 * (*a + 1.125));
        let (dout, dlast) = (numbers(20, x), numbers(21, sizes[8]));
        Self { bounds: bounds.to_vec(), channels, states, groups, optional, softplus: true, inputs, dout, dlast }
    }

    /// The scan of A, D, bias and first states.
    pub fn scan<'a, T>(&'a self, [a, skip, bias, initial]: [&'a [T]; 4]) -> (SelectiveScan<'a, T>, Option<&'a [T]>) {
        let some = |v: &'a [T]| self.optional.then_some(v);
        let scan = SelectiveScan {
            sequences: Sequences::Packed(&self.bounds),
            channels: self.channels,
            states: self.states,
            groups: self.groups,
            a,
            skip: some(skip),
            delta_bias: some(bias),
            softplus: self.softplus,
        };
        (scan, some(initial))
    }

    /// u, δ, B, C, z.
    pub fn rows<'a, T>(&self, [u, delta, b, c, z]: [&'a [T]; 5]) -> Inputs<'a, T> {
        Inputs { u, delta, b, c, z: self.optional.then_some(z) }
    }

    /// Both, of all inputs.
    pub fn views<'a, T>(&'a self, of: &'a [Vec<T>; 9]) -> (SelectiveScan<'a, T>, Inputs<'a, T>, Option<&'a [T]>) {
        let [u, delta, b, c, z, a, skip, bias, initial] = of.each_ref().map(|v| &v[..]);
        let (scan, initial) = self.scan([a, skip, bias, initial]);
        (scan, self.rows([u, delta, b, c, z]), initial)
    }

    /// out, last states, then the gradients, by the definition.
    pub fn exact(&self) -> [Vec<f64>; 11] {
        let (scan, x, initial) = self.views(&self.inputs);
        let reference::Outputs { out, last } = reference::forward(&scan, &x, initial);
        let g = reference::backward(&scan, &x, initial, &self.dout, self.optional.then_some(&self.dlast[..]));
        [out, last, g.u, g.delta, g.b, g.c, g.z, g.a, g.skip, g.delta_bias, g.initial]
    }
}
