//! Against the definition and the golden, gradients against central differences, and the edges.

use super::*;
use crate::kernels::simd::{available, with_isa};
use crate::kernels::testing::{bits, cast, close, differences, flat, golden, in_pool, numbers, wide};

/// Rows, width, group, whether the norm comes first, whether there is a gate, whether there is a weight.
#[derive(Clone, Copy, Debug)]
struct Case(usize, usize, usize, bool, bool, bool);

struct Inputs {
    x: Vec<f64>,
    z: Vec<f64>,
    weight: Vec<f64>,
    dy: Vec<f64>,
}

impl Case {
    fn inputs(self) -> Inputs {
        let len = self.0 * self.1;
        let z = numbers(2, len).iter().map(|v| 4.0 * v).collect();
        Inputs { x: numbers(1, len), z, weight: numbers(3, self.1), dy: numbers(4, len) }
    }

    fn norm<T>(self, weight: &[T]) -> RmsNormGated<'_, T> {
        let Self(_, width, group, norm_before_gate, _, weighted) = self;
        // A number by itself is normalised to ±1 but for eps: with a small one its gradient is a difference of equal numbers.
        let eps = if group == 1 { 0.25 } else { 1e-5 };
        RmsNormGated { width, group, weight: weighted.then_some(weight), eps, norm_before_gate }
    }

    /// y, and the gradients of x, z and weight.
    fn run<T: Real>(self) -> [Vec<T>; 4] {
        let of = self.inputs();
        let [x, z, weight, dy] = [&of.x, &of.z, &of.weight, &of.dy].map(|v| cast::<T>(v));
        let (norm, z) = (self.norm(&weight), self.4.then_some(&z[..]));
        let nan = |len: usize| vec![T::from_f64(f64::NAN); len];
        let (mut y, mut dx, mut dz, mut dw) = (nan(x.len()), nan(x.len()), nan(z.map_or(0, <[T]>::len)), nan(self.1));
        let saved = norm.forward(&x, z, &mut y);
        let to = Gradients { x: Some(&mut dx), z: self.4.then_some(&mut dz), weight: Some(&mut dw) };
        norm.backward(&x, z, &saved, &dy, to);
        if !self.5 {
            dw.clear();
        }
        [y, dx, dz, dw]
    }

    fn exact(self) -> [Vec<f64>; 4] {
        let of = self.inputs();
        let (norm, z) = (self.norm(&of.weight), self.4.then_some(&of.z[..]));
        let [dx, dz, dw] = reference::backward(&norm, &of.x, z, &of.dy);
        [reference::forward(&norm, &of.x, z), dx, dz, dw]
    }
}

const NAMES: [&str; 4] = ["y", "dx", "dz", "dweight"];

fn cases() -> Vec<Case> {
    let shapes =
        [(1, 8, 8), (3, 12, 4), (5, 40, 20), (2, 64, 64), (7, 33, 11), (70, 21, 7), (300, 192, 64), (4, 3, 1), (1, 1, 1)];
    let mut all = Vec::new();
    for (rows, width, group) in shapes {
        for (norm_first, gate, weight) in [(false, true, true), (true, true, true), (false, true, false), (true, false, true)] {
            all.push(Case(rows, width, group, norm_first, gate, weight));
        }
    }
    all
}

#[test]
fn golden_values() {
    let g = golden("rmsnorm_gated");
    let [x, z, weight] = ["x", "z", "weight"].map(|name| flat(&g[name]));
    fn fast<T: Real>([x, z, weight]: [&[f64]; 3], group: usize, norm_before_gate: bool) -> Vec<f64> {
        let [x, z, weight] = [x, z, weight].map(cast::<T>);
        let norm = RmsNormGated { width: 8, group, weight: Some(&weight), eps: 1e-5, norm_before_gate };
        let mut y = vec![T::ZERO; x.len()];
        norm.forward(&x, Some(&z), &mut y);
        wide(&y)
    }
    for (order, norm_before_gate) in [("after", false), ("before", true)] {
        for group in [8, 4] {
            let name = format!("norm_{order}_gate_group{group}");
            let expected = flat(&g[&name]);
            let norm = RmsNormGated { width: 8, group, weight: Some(&weight), eps: 1e-5, norm_before_gate };
            close(&reference::forward(&norm, &x, Some(&z)), &expected, 1e-14, &name);
            close(&fast::<f64>([&x, &z, &weight], group, norm_before_gate), &expected, 1e-10, &name);
            close(&fast::<f32>([&x, &z, &weight], group, norm_before_gate), &expected, 1e-5, &name);
        }
    }
}

#[test]
fn fast_is_the_definition() {
    for case in cases() {
        let (double, single, exact) = (case.run::<f64>(), case.run::<f32>(), case.exact());
        for (k, name) in NAMES.iter().enumerate() {
            close(&double[k], &exact[k], 1e-13, &format!("{name} of {case:?}"));
            close(&wide(&single[k]), &exact[k], if k == 0 { 1e-5 } else { 1e-4 }, &format!("{name} of {case:?}"));
        }
    }
}

#[test]
fn gradients_are_central_differences() {
    for (norm_first, gate) in [(false, true), (true, true), (true, false)] {
        let case = Case(3, 12, 6, norm_first, gate, true);
        let (of, [_, dx, dz, dw]) = (case.inputs(), case.run::<f64>());
        let loss = |x: &[f64], z: &[f64], weight: &[f64]| {
            let mut y = vec![0.0; x.len()];
            case.norm(weight).forward(x, gate.then_some(z), &mut y);
            y.iter().zip(&of.dy).map(|(y, g)| y * g).sum::<f64>()
        };
        // Truncation: step²/6 times third derivatives of some tens; rounding: a loss of size 10 over the step.
        differences(&of.x, &dx, 1, 1e-8, "x", |x| loss(x, &of.z, &of.weight));
        differences(&of.weight, &dw, 1, 1e-8, "weight", |weight| loss(&of.x, &of.z, weight));
        if gate {
            differences(&of.z, &dz, 1, 1e-8, "z", |z| loss(&of.x, z, &of.weight));
        }
    }
}

#[test]
fn threads_and_instruction_sets_change_no_bit() {
    for case in cases() {
        let run = || case.run::<f32>().map(|v| bits(&v));
        let one = in_pool(1, run);
        assert!(one == in_pool(2, run) && one == in_pool(8, run), "{case:?}");
        for isa in available() {
            assert!(one == in_pool(1, || with_isa(isa, run)), "{case:?} {isa:?}");
        }
    }
}

#[test]
fn a_gradient_alone_is_the_same() {
    let case = Case(5, 20, 10, false, true, true);
    let (of, [_, dx, dz, dw]) = (case.inputs(), case.run::<f64>());
    let norm = case.norm(&of.weight);
    let mut y = vec![0.0; 100];
    let saved = norm.forward(&of.x, Some(&of.z), &mut y);
    let (mut x, mut z, mut w) = (vec![f64::NAN; 100], vec![f64::NAN; 100], vec![f64::NAN; 20]);
    let run = |to| norm.backward(&of.x, Some(&of.z), &saved, &of.dy, to);
    run(Gradients { x: Some(&mut x), ..Default::default() });
    run(Gradients { z: Some(&mut z), ..Default::default() });
    run(Gradients { weight: Some(&mut w), ..Default::default() });
    run(Gradients::default());
    assert_eq!((x, z, w), (dx, dz, dw));
}

#[test]
fn nothing_in_gives_nothing_and_misfits_are_refused() {
    let [y, dx, dz, dw] = Case(0, 8, 4, false, true, true).run::<f64>();
    assert!(y.is_empty() && dx.is_empty() && dz.is_empty());
    assert_eq!(dw, [0.0; 8]);
    let refused = |width: usize, group: usize, weight: usize, z: usize| {
        std::panic::catch_unwind(|| {
            let weight = vec![1.0; weight];
            let norm = RmsNormGated { width, group, weight: Some(&weight), eps: 1e-5, norm_before_gate: false };
            norm.forward(&[1.0; 8], Some(&vec![1.0; z]), &mut [0.0; 8])
        })
        .is_err()
    };
    assert!(!refused(4, 2, 4, 8));
    assert!(refused(4, 3, 4, 8) && refused(4, 0, 4, 8) && refused(4, 2, 3, 8) && refused(4, 2, 4, 7) && refused(3, 3, 3, 8));
}
