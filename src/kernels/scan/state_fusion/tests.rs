//! Against the definition and the golden, gradients against central differences, and the edges.

use super::*;
use crate::kernels::scan::Sequences;
use crate::kernels::scan::selective::{Inputs, SelectiveScan};
use crate::kernels::simd::{available, with_isa};
use crate::kernels::testing::{bits, cast, close, differences, exchanged, flat, golden, in_pool, numbers, wide};

#[derive(Clone, Debug)]
struct Case {
    batch: usize,
    grid: Grid,
    channels: usize,
    h: Vec<f64>,
    kernels: [Vec<f64>; 3],
    alpha: [f64; 3],
    dout: Vec<f64>,
}

/// The result, and the gradients of h, kernels and α.
#[derive(Debug, PartialEq)]
struct Results<T> {
    out: Vec<T>,
    h: Vec<T>,
    kernels: [Vec<T>; 3],
    alpha: [T; 3],
}

impl Case {
    fn new(batch: usize, (height, width): (usize, usize), channels: usize) -> Self {
        let len = batch * height * width * channels;
        Self {
            batch,
            grid: Grid { height, width },
            channels,
            h: numbers(1, len),
            kernels: std::array::from_fn(|k| numbers(2 + k as u64, 9 * channels)),
            alpha: [0.75, -1.25, 0.5],
            dout: numbers(9, len),
        }
    }

    fn fusion<'a, T: Real>(&self, kernels: &'a [Vec<T>; 3]) -> StateFusion<'a, T> {
        let Self { batch, grid, channels, .. } = *self;
        let kernels = [&kernels[0][..], &kernels[1], &kernels[2]];
        StateFusion { batch, grid, channels, kernels, alpha: self.alpha.map(T::from_f64) }
    }

    fn run<T: Real>(&self) -> Results<T> {
        let kernels: [Vec<T>; 3] = std::array::from_fn(|k| cast(&self.kernels[k]));
        let (fusion, h, dout) = (self.fusion(&kernels), cast::<T>(&self.h), cast::<T>(&self.dout));
        let nan = |len: usize| vec![T::from_f64(f64::NAN); len];
        let (mut out, mut dh, mut alpha) = (nan(h.len()), nan(h.len()), [T::from_f64(f64::NAN); 3]);
        let mut dkernels: [Vec<T>; 3] = std::array::from_fn(|_| nan(9 * self.channels));
        fusion.forward(&h, &mut out);
        let [a, b, c] = &mut dkernels;
        let to = Gradients { h: Some(&mut dh), kernels: [Some(a), Some(b), Some(c)], alpha: Some(&mut alpha) };
        fusion.backward(&h, &dout, to);
        Results { out, h: dh, kernels: dkernels, alpha }
    }

    fn exact(&self) -> Results<f64> {
        let fusion = self.fusion(&self.kernels);
        let (h, kernels, alpha) = reference::backward(&fusion, &self.h, &self.dout);
        Results { out: reference::forward(&fusion, &self.h), h, kernels, alpha }
    }
}

fn cases() -> Vec<Case> {
    let shapes = [
        (1, (1, 1), 1),
        (2, (4, 5), 3),
        (1, (2, 30), 5),
        (3, (12, 11), 16),
        (1, (30, 1), 8),
        (2, (13, 24), 21),
        // Several bands of rows and blocks of channels.
        (2, (40, 40), 70),
    ];
    shapes.into_iter().map(|(batch, shape, channels)| Case::new(batch, shape, channels)).collect()
}

fn agree<T: Real>(found: &Results<T>, exact: &Results<f64>, result: f64, gradient: f64, what: &str) {
    close(&wide(&found.out), &exact.out, result, &format!("{what}: out"));
    close(&wide(&found.h), &exact.h, gradient, &format!("{what}: h"));
    for k in 0..3 {
        close(&wide(&found.kernels[k]), &exact.kernels[k], gradient, &format!("{what}: kernel {k}"));
    }
    close(&wide(&found.alpha), &exact.alpha, gradient, &format!("{what}: alpha"));
}

/// (channels, cells) as (cells, channels).
fn last(x: &serde_json::Value) -> Vec<f64> {
    exchanged(&flat(x), 2, 20)
}

#[test]
fn golden_values_and_gradients() {
    let g = &golden("spatial_mamba")["fusion"];
    let kernels = ["k_d1", "k_d3", "k_d5"];
    let alpha = |v: &serde_json::Value| <[f64; 3]>::try_from(flat(v)).expect("three numbers");
    let case = Case {
        h: last(&g["h"]),
        kernels: kernels.map(|k| flat(&g[k])),
        alpha: alpha(&g["alpha"]),
        dout: last(&g["dout"]),
        ..Case::new(1, (4, 5), 2)
    };
    let expected = Results {
        out: last(&g["out"]),
        h: last(&g["grads"]["h"]),
        kernels: kernels.map(|k| flat(&g["grads"][k])),
        alpha: alpha(&g["grads"]["alpha"]),
    };
    agree(&case.exact(), &expected, 1e-14, 1e-14, "the definition");
    agree(&case.run::<f64>(), &expected, 1e-10, 1e-10, "f64");
    agree(&case.run::<f32>(), &expected, 1e-5, 1e-4, "f32");
}

/// The scan of Spatial-Mamba: states, fused, then read out.
#[test]
fn golden_scan() {
    let g = golden("spatial_mamba");
    let (s, f) = (&g["scan"], &g["fusion"]);
    let kernels = ["k_d1", "k_d3", "k_d5"].map(|k| flat(&f[k]));
    let alpha = <[f64; 3]>::try_from(flat(&f["alpha"])).expect("three numbers");
    let case = Case { kernels, alpha, ..Case::new(1, (4, 5), 2) };
    let (u, delta, c, skip) = (last(&s["u"]), last(&s["delta"]), flat(&s["C"]), flat(&s["D"]));
    let (a, bias) = (flat(&s["A"]), flat(&s["delta_bias"]));
    // A scan that reads its only state as it is.
    let scan = SelectiveScan {
        sequences: Sequences::Equal { count: 1, len: 20 },
        channels: 2,
        states: 1,
        groups: 1,
        a: &a,
        skip: None,
        delta_bias: Some(&bias),
        softplus: true,
    };
    let (mut h, mut fused) = (vec![0.0; 40], vec![0.0; 40]);
    let inputs = Inputs { u: &u, delta: &delta, b: &flat(&s["B"]), c: &[1.0; 20], z: None };
    scan.forward(&inputs, None, &mut h, None, None);
    close(&h, &last(&s["h_raw"]), 1e-10, "states");
    case.fusion(&case.kernels).forward(&h, &mut fused);
    close(&fused, &last(&s["h_fused"]), 1e-10, "fused states");
    let y: Vec<f64> = (0..40).map(|i| c[i / 2] * fused[i] + skip[i % 2] * u[i]).collect();
    close(&y, &last(&s["y"]), 1e-10, "y");
}

#[test]
fn fast_is_the_definition() {
    for case in cases() {
        let (exact, what) = (case.exact(), format!("{:?} x {}", case.grid, case.channels));
        agree(&case.run::<f64>(), &exact, 1e-13, 1e-12, &what);
        agree(&case.run::<f32>(), &exact, 1e-5, 1e-4, &what);
    }
}

#[test]
fn gradients_are_central_differences() {
    for case in [Case::new(1, (4, 13), 3), Case::new(2, (7, 2), 2)] {
        let to = case.run::<f64>();
        let loss = |case: &Case| {
            let mut out = vec![0.0; case.h.len()];
            case.fusion(&case.kernels).forward(&case.h, &mut out);
            out.iter().zip(&case.dout).map(|(y, g)| y * g).sum::<f64>()
        };
        // Linear in each: rounding alone, of a loss of some tens over the step.
        differences(&case.h, &to.h, 3, 1e-8, "h", |h| loss(&Case { h: h.to_vec(), ..case.clone() }));
        differences(&case.alpha, &to.alpha, 1, 1e-8, "alpha", |a| loss(&Case { alpha: [a[0], a[1], a[2]], ..case.clone() }));
        for k in 0..3 {
            differences(&case.kernels[k], &to.kernels[k], 1, 1e-8, "kernel", |kernel| {
                let mut changed = case.clone();
                changed.kernels[k] = kernel.to_vec();
                loss(&changed)
            });
        }
    }
}

#[test]
fn a_one_in_the_centre_changes_nothing() {
    for mut case in cases() {
        case.alpha = [1.0, 0.0, 0.0];
        case.kernels[0] = (0..9 * case.channels).map(|i| if i % 9 == 4 { 1.0 } else { 0.0 }).collect();
        let to = case.run::<f32>();
        assert!(to.out == cast::<f32>(&case.h) && to.h == cast::<f32>(&case.dout), "{:?}", case.grid);
    }
}

#[test]
fn ones_add_up_a_neighbourhood() {
    // The first state of training: a map of ones becomes 27 everywhere.
    let mut case = Case::new(1, (12, 14), 3);
    (case.h, case.alpha) = (vec![1.0; 12 * 14 * 3], [1.0; 3]);
    case.kernels = std::array::from_fn(|_| vec![1.0; 27]);
    assert!(case.run::<f32>().out.iter().all(|v| *v == 27.0));
}

#[test]
fn threads_and_instruction_sets_change_no_bit() {
    let run = |case: &Case| {
        let to = case.run::<f32>();
        (bits(&to.out), bits(&to.h), to.kernels.map(|k| bits(&k)), bits(&to.alpha))
    };
    for case in cases() {
        let one = in_pool(1, || run(&case));
        assert!(one == in_pool(2, || run(&case)) && one == in_pool(8, || run(&case)), "{:?}", case.grid);
        for isa in available() {
            assert!(one == in_pool(1, || with_isa(isa, || run(&case))), "{isa:?}");
        }
    }
}

#[test]
fn a_gradient_alone_is_the_same() {
    let case = Case::new(2, (12, 14), 5);
    let (fusion, all) = (case.fusion(&case.kernels), case.run::<f64>());
    let (mut h, mut kernel, mut alpha) = (vec![f64::NAN; case.h.len()], vec![f64::NAN; 45], [f64::NAN; 3]);
    fusion.backward(&case.h, &case.dout, Gradients { h: Some(&mut h), ..Default::default() });
    fusion.backward(&case.h, &case.dout, Gradients { kernels: [None, Some(&mut kernel), None], ..Default::default() });
    fusion.backward(&case.h, &case.dout, Gradients { alpha: Some(&mut alpha), ..Default::default() });
    assert!(h == all.h && kernel == all.kernels[1] && alpha == all.alpha);
}

#[test]
fn nothing_in_gives_nothing_and_misfits_are_refused() {
    for (batch, shape) in [(0, (3, 4)), (1, (0, 4)), (1, (3, 0))] {
        let to = Case::new(batch, shape, 2).run::<f32>();
        assert!(to.out.is_empty() && to.h.is_empty() && to.alpha == [0.0; 3]);
        assert!(to.kernels.iter().flatten().all(|v| *v == 0.0));
    }
    let refused = |change: fn(&mut Case)| {
        let mut case = Case::new(1, (3, 4), 2);
        change(&mut case);
        std::panic::catch_unwind(|| case.run::<f32>()).is_err()
    };
    assert!(!refused(|_| ()));
    assert!(refused(|c| c.channels = 3) && refused(|c| c.batch = 2) && refused(|c| c.kernels[1].push(0.0)));
}
