//! Against the definition and the golden, gradients against central differences, and the edges.

use super::*;
use crate::kernels::simd::{available, with_isa};
use crate::kernels::testing::{bits, cast, close, differences, flat, golden, in_pool, numbers, wide};

#[derive(Clone, Copy, Debug)]
struct Case {
    of: SoftSort,
    width: usize,
}

const NAMES: [&str; 5] = ["P", "dscores of P", "y", "dscores of y", "dx"];

impl Case {
    fn new(batch: usize, len: usize, tau: f64, width: usize) -> Self {
        Self { of: SoftSort { batch, len, tau }, width }
    }

    /// Scores with some equal ones, x, the gradients of P and of y.
    fn inputs(&self) -> [Vec<f64>; 4] {
        let SoftSort { batch, len, .. } = self.of;
        let mut scores: Vec<f64> = numbers(1, batch * len).iter().map(|v| 3.0 * v).collect();
        for i in (7..scores.len()).step_by(11) {
            scores[i] = scores[i - 3];
        }
        [scores, numbers(2, batch * len * self.width), numbers(3, batch * len * len), numbers(4, batch * len * self.width)]
    }

    fn run<T: Real>(&self) -> [Vec<T>; 5] {
        let [scores, x, dp, dy] = self.inputs().map(|v| cast::<T>(&v));
        let nan = |len: usize| vec![T::from_f64(f64::NAN); len];
        let (mut p, mut ds, mut y, mut dys, mut dx) =
            (nan(dp.len()), nan(scores.len()), nan(x.len()), nan(scores.len()), nan(x.len()));
        self.of.forward(&scores, &mut p);
        self.of.backward(&scores, &dp, &mut ds);
        self.of.apply(&scores, &x, self.width, &mut y);
        self.of.apply_backward(&scores, &x, self.width, &dy, Some(&mut dys), Some(&mut dx));
        [p, ds, y, dys, dx]
    }

    fn exact(&self) -> [Vec<f64>; 5] {
        let [scores, x, dp, dy] = self.inputs();
        let [dys, dx] = reference::apply_backward(&self.of, &scores, &x, self.width, &dy);
        let y = reference::apply(&self.of, &scores, &x, self.width);
        [reference::forward(&self.of, &scores), reference::backward(&self.of, &scores, &dp), y, dys, dx]
    }
}

fn cases() -> Vec<Case> {
    let sizes = [(1, 1, 1), (2, 5, 3), (3, 16, 8), (1, 33, 17), (2, 130, 40), (1, 300, 5), (20, 12, 4)];
    sizes.into_iter().zip([1.0, 0.5, 2.0].into_iter().cycle()).map(|((b, l, d), tau)| Case::new(b, l, tau, d)).collect()
}

#[test]
fn golden_values_and_gradients() {
    let g = &golden("token_dynamics")["softsort"];
    let (scores, p, dp) = (flat(&g["scores"]), flat(&g["P_hat"]), flat(&g["dP_hat"]));
    let (dscores, tau) = (flat(&g["grads"]["scores"]), g["tau"].as_f64().expect("a number"));
    let of = SoftSort { batch: 1, len: 4, tau };
    close(&reference::forward(&of, &scores), &p, 1e-14, "P by the definition");
    close(&reference::backward(&of, &scores, &dp), &dscores, 1e-14, "the gradient by the definition");
    fn fast<T: Real>(of: &SoftSort, scores: &[f64], dp: &[f64]) -> [Vec<f64>; 2] {
        let (mut p, mut dscores) = (vec![T::ZERO; 16], vec![T::ZERO; 4]);
        of.forward(&cast::<T>(scores), &mut p);
        of.backward(&cast::<T>(scores), &cast::<T>(dp), &mut dscores);
        [wide(&p), wide(&dscores)]
    }
    for (found, result, gradient) in
        [(fast::<f64>(&of, &scores, &dp), 1e-10, 1e-10), (fast::<f32>(&of, &scores, &dp), 1e-5, 1e-4)]
    {
        close(&found[0], &p, result, "P");
        close(&found[1], &dscores, gradient, "the gradient");
    }
}

#[test]
fn fast_is_the_definition() {
    for case in cases() {
        let (double, single, exact) = (case.run::<f64>(), case.run::<f32>(), case.exact());
        for (k, name) in NAMES.iter().enumerate() {
            let what = format!("{name} of {case:?}");
            close(&double[k], &exact[k], 1e-12, &what);
            close(&wide(&single[k]), &exact[k], if k == 0 || k == 2 { 1e-5 } else { 1e-4 }, &what);
        }
    }
}

#[test]
fn gradients_are_central_differences() {
    let case = Case::new(2, 9, 0.75, 3);
    let [mut scores, x, dp, dy] = case.inputs();
    // Differences across equal scores would step over a kink.
    scores.iter_mut().enumerate().for_each(|(i, s)| *s += 0.01 * i as f64);
    let (mut ds, mut dys, mut dx) = (vec![0.0; 18], vec![0.0; 18], vec![0.0; 54]);
    case.of.backward(&scores, &dp, &mut ds);
    case.of.apply_backward(&scores, &x, 3, &dy, Some(&mut dys), Some(&mut dx));
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let applied = |scores: &[f64], x: &[f64]| {
        let mut y = vec![0.0; 54];
        case.of.apply(scores, x, 3, &mut y);
        dot(&y, &dy)
    };
    // Truncation: step²/6 times third derivatives of some units; rounding: a loss of size 10 over the step.
    differences(&scores, &ds, 1, 1e-8, "scores of P", |scores| {
        let mut p = vec![0.0; dp.len()];
        case.of.forward(scores, &mut p);
        dot(&p, &dp)
    });
    differences(&scores, &dys, 1, 1e-8, "scores of y", |scores| applied(scores, &x));
    differences(&x, &dx, 1, 1e-8, "x", |x| applied(&scores, x));
}

#[test]
fn rows_add_to_one_and_a_shift_changes_nothing() {
    let case = Case::new(2, 50, 1.0, 3);
    let [scores, ..] = case.inputs();
    let shifted: Vec<f64> = scores.iter().map(|s| s + 4.0).collect();
    let (mut p, mut q) = (vec![0.0; 5000], vec![0.0; 5000]);
    case.of.forward(&scores, &mut p);
    case.of.forward(&shifted, &mut q);
    assert!(p.chunks(50).all(|row| (row.iter().sum::<f64>() - 1.0).abs() < 1e-14));
    close(&q, &p, 1e-13, "shifted");
    // The gradient of a shift is none.
    let total: f64 = case.run::<f64>()[1].iter().sum();
    assert!(total.abs() < 1e-12, "{total}");
}

#[test]
fn a_hard_sort_is_the_limit() {
    let of = SoftSort { batch: 2, len: 4, tau: 1e-3 };
    let scores = [0.5, -1.0, 2.0, 1.0, 3.0, 1.0, 2.0, 0.0f32];
    assert_eq!(of.order(&scores), [2, 3, 0, 1, 0, 2, 1, 3]);
    let mut y = [0.0; 8];
    of.apply(&scores, &scores.clone(), 1, &mut y);
    assert_eq!(y, [2.0, 1.0, 0.5, -1.0, 3.0, 2.0, 1.0, 0.0]);
    // Of equal scores the first comes first, and −0 is 0.
    assert_eq!(SoftSort { batch: 1, len: 5, tau: 1.0 }.order(&[-0.0, 1.0, 0.0, 1.0, -0.0]), [1, 3, 0, 2, 4]);
    // Scores far apart leave nothing of each other, and no NaN.
    let (mut p, mut ds) = ([f32::NAN; 4], [f32::NAN; 2]);
    let of = SoftSort { batch: 1, len: 2, tau: 1e-6 };
    of.forward(&[-1e30f32, 1e30], &mut p);
    of.backward(&[-1e30f32, 1e30], &[1.0, 2.0, 3.0, 4.0], &mut ds);
    assert_eq!((p, ds), ([0.0, 1.0, 1.0, 0.0], [0.0; 2]));
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
    let case = Case::new(2, 130, 1.0, 7);
    let ([scores, x, _, dy], [_, _, _, dys, dx]) = (case.inputs(), case.run::<f64>());
    let (mut ds, mut d) = (vec![f64::NAN; 260], vec![f64::NAN; 260 * 7]);
    case.of.apply_backward(&scores, &x, 7, &dy, Some(&mut ds), None);
    case.of.apply_backward(&scores, &x, 7, &dy, None, Some(&mut d));
    assert!(ds == dys && d == dx);
}

#[test]
fn nothing_in_gives_nothing_and_misfits_are_refused() {
    for (batch, len) in [(0, 4), (3, 0)] {
        assert!(Case::new(batch, len, 1.0, 2).run::<f32>().iter().all(Vec::is_empty));
    }
    let mut ds = [f32::NAN; 4];
    SoftSort { batch: 1, len: 4, tau: 1.0 }.apply_backward(&[1.0f32; 4], &[], 0, &[], Some(&mut ds), None);
    assert_eq!(ds, [0.0; 4]);
    let refused = |tau: f64, scores: usize, p: usize| {
        let of = SoftSort { batch: 2, len: 3, tau };
        std::panic::catch_unwind(|| of.forward(&vec![1f32; scores], &mut vec![0f32; p])).is_err()
    };
    assert!(!refused(1.0, 6, 18));
    assert!(refused(0.0, 6, 18) && refused(f64::NAN, 6, 18) && refused(1.0, 5, 18) && refused(1.0, 6, 17));
}
