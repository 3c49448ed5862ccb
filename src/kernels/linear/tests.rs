//! Against the definition, its gradients against central differences, and the edges.

use super::reference::{activate, affine, affine_backward, slope};
use super::*;
use crate::kernels::elementwise::Activation;
use crate::kernels::simd::{available, with_isa};
use crate::kernels::testing::{bits, cast, close, in_pool, numbers};

const ALL: [Activation; 6] =
    [Activation::Identity, Activation::Gelu, Activation::Silu, Activation::Relu, Activation::Tanh, Activation::Sigmoid];

/// Last axis or middle axis.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Form {
    Last,
    Middle,
}

/// A problem of either kind: one affine map with an activation, or two with the activation between and a residual.
struct Problem {
    form: Form,
    activation: Activation,
    rows: usize,
    /// Inputs, hidden (perceptron only), outputs, time.
    sizes: [usize; 4],
    two: bool,
    biased: bool,
    x: Vec<f64>,
    residual: Vec<f64>,
    dy: Vec<f64>,
    /// W₁, b₁, W₂, b₂; the last two are used when there are two maps.
    weights: [Vec<f64>; 4],
}

/// y, dx, dW₁, db₁, dW₂, db₂.
type Results<N> = [Vec<N>; 6];

impl Problem {
    fn new(form: Form, activation: Activation, rows: usize, sizes: [usize; 4], two: bool, biased: bool) -> Self {
        let [i, h, o, t] = sizes;
        let width = if two { h } else { o };
        let weights = [numbers(1, width * i), numbers(2, width), numbers(3, o * h), numbers(4, o)];
        let x = numbers(5, rows * i * t);
        Self {
            form,
            activation,
            rows,
            sizes,
            two,
            biased,
            x,
            residual: numbers(6, rows * o * t),
            dy: numbers(7, rows * o * t),
            weights,
        }
    }

    fn label(&self) -> String {
        let Self { form, activation, rows, sizes, two, biased, .. } = self;
        format!("{form:?} {activation:?} rows {rows} sizes {sizes:?} two {two} biased {biased}")
    }

    /// By the definition.
    fn exact(&self) -> Results<f64> {
        let [i, h, o, t] = self.sizes;
        let [w1, b1, w2, b2] = &self.weights;
        let (b1, b2) = (self.biased.then_some(&b1[..]), self.biased.then_some(&b2[..]));
        if !self.two {
            let pre = affine(w1, b1, [i, o, t], &self.x);
            let y: Vec<f64> = pre.iter().map(|&p| activate(self.activation, p)).collect();
            let inner: Vec<f64> = pre.iter().zip(&self.dy).map(|(&p, g)| g * slope(self.activation, p)).collect();
            let [dx, dw, db] = affine_backward(w1, [i, o, t], &self.x, &inner);
            return [y, dx, dw, db, vec![], vec![]];
        }
        let pre = affine(w1, b1, [i, h, t], &self.x);
        let hidden: Vec<f64> = pre.iter().map(|&p| activate(self.activation, p)).collect();
        let y = affine(w2, b2, [h, o, t], &hidden).iter().zip(&self.residual).map(|(a, b)| a + b).collect();
        let [dh, dw2, db2] = affine_backward(w2, [h, o, t], &hidden, &self.dy);
        let inner: Vec<f64> = pre.iter().zip(&dh).map(|(&p, g)| g * slope(self.activation, p)).collect();
        let [dx, dw1, db1] = affine_backward(w1, [i, h, t], &self.x, &inner);
        [y, dx, dw1, db1, dw2, db2]
    }

    /// By the kernels; `wanted`: gradients of x, first weight, first bias, second weight, second bias.
    fn run<T: Real>(&self, wanted: [bool; 5]) -> Results<T> {
        let [i, h, o, t] = self.sizes;
        let weights = [0, 1, 2, 3].map(|k| cast::<T>(&self.weights[k]));
        let (x, residual, dy) = (cast::<T>(&self.x), cast::<T>(&self.residual), cast::<T>(&self.dy));
        let nan = |n: usize| vec![T::from_f64(f64::NAN); n];
        let first_out = if self.two { h } else { o };
        let first = Affine { weight: &weights[0], bias: self.biased.then_some(&weights[1][..]), inputs: i, outputs: first_out };
        let second = Affine { weight: &weights[2], bias: self.biased.then_some(&weights[3][..]), inputs: h, outputs: o };
        let mut r: Results<T> =
            [nan(dy.len()), nan(x.len()), nan(weights[0].len()), nan(first_out), nan(weights[2].len()), nan(o)];
        let [y, dx, dw1, db1, dw2, db2] = &mut r;
        let dx = wanted[0].then_some(&mut dx[..]);
        let [dw1, db1, dw2, db2] = {
            let mut rest = [dw1, db1, dw2, db2].into_iter().zip(&wanted[1..]).map(|(v, &on)| on.then_some(&mut v[..]));
            std::array::from_fn(|_| rest.next().flatten())
        };
        let (g1, g2) = (AffineGrad { weight: dw1, bias: db1 }, AffineGrad { weight: dw2, bias: db2 });
        let activation = self.activation;
        match (self.form, self.two) {
            (Form::Last, false) => {
                let map = Linear { affine: first, activation };
                map.forward(&x, None, y);
                map.backward(&x, &dy, dx, g1);
            }
            (Form::Middle, false) => {
                let map = LinearMid { affine: first, activation, time: t };
                map.forward(&x, y);
                map.backward(&x, &dy, dx, g1);
            }
            (Form::Last, true) => {
                let map = Mlp { first, activation, second };
                map.forward(&x, Some(&residual), y);
                map.backward(&x, &dy, dx, g1, g2);
            }
            (Form::Middle, true) => {
                let map = MlpMid { first, activation, second, time: t };
                map.forward(&x, Some(&residual), y);
                map.backward(&x, &dy, dx, g1, g2);
            }
        }
        if !self.two {
            r[4].clear();
            r[5].clear();
        }
        r
    }
}

const EVERYTHING: [bool; 5] = [true; 5];

/// Largest difference over the largest size a sum of that many terms may reach.
fn check<T: Real>(problem: &Problem, eps: f64) {
    let [i, h, o, t] = problem.sizes;
    let terms = (problem.rows * t) as f64;
    let widths = [i + 1, o, 1, 1, 1, 1].map(|w| w as f64);
    let found = problem.run::<T>(EVERYTHING);
    let exact = problem.exact();
    for (k, (found, exact)) in found.iter().zip(&exact).enumerate() {
        assert_eq!(found.len(), exact.len());
        // Operands are below 1 in size: a chain of n terms is off by at most n² eps / 2, and a hidden layer in between multiplies
        // that by its width (terms of size i). What rounding does in practice grows with √n: the allowance is 8 √n · size · eps.
        let n = if k < 2 { widths[k] * if problem.two { h as f64 } else { 1.0 } } else { terms };
        let inner = (i + 1) as f64 * if problem.two { h.max(o) as f64 } else { 1.0 };
        let allowed = 8.0 * eps * (n.max(1.0).sqrt() * inner.sqrt() + inner);
        for (j, (&f, &e)) in found.iter().zip(exact).enumerate() {
            let off = (f.to_f64() - e).abs();
            assert!(
                off <= allowed,
                "{}: result {k} element {j}: {f}, not {e} (off {off:e}, allowed {allowed:e})",
                problem.label()
            );
        }
    }
}

/// Sizes of a problem: rows, (inputs, hidden, outputs, time).
const SMALL: [(usize, [usize; 4]); 7] = [
    (1, [1, 1, 1, 1]),
    (3, [2, 5, 3, 7]),
    (17, [16, 32, 16, 12]),
    (5, [33, 17, 19, 24]),
    (2, [7, 16, 1, 50]),
    (29, [48, 24, 25, 1]),
    (3, [1, 40, 16, 96]),
];

fn every(check: impl Fn(Form, usize, [usize; 4], bool)) {
    for form in [Form::Last, Form::Middle] {
        for two in [false, true] {
            for (rows, mut sizes) in SMALL {
                if form == Form::Last {
                    sizes[3] = 1;
                }
                check(form, rows, sizes, two);
            }
        }
    }
}

#[test]
fn all_forms_are_what_the_definition_says() {
    every(|form, rows, sizes, two| {
        for activation in ALL {
            for biased in [false, true] {
                let problem = Problem::new(form, activation, rows, sizes, two, biased);
                check::<f32>(&problem, f64::from(f32::EPSILON));
                // The reference's own error function is good to some 1e-15.
                check::<f64>(&problem, 4.0 * f64::EPSILON);
            }
        }
    });
}

#[test]
fn many_tiles_and_chunks_are_what_the_definition_says() {
    for (form, rows, sizes, two) in [
        (Form::Last, 5003, [24, 0, 20, 1], false),
        (Form::Last, 3001, [20, 24, 12, 1], true),
        (Form::Middle, 301, [16, 0, 24, 36], false),
        (Form::Middle, 257, [16, 32, 16, 24], true),
    ] {
        let problem = Problem::new(form, Activation::Gelu, rows, sizes, two, true);
        check::<f32>(&problem, f64::from(f32::EPSILON));
    }
}

#[test]
fn gradients_are_central_differences() {
    let loss = |p: &Problem| -> f64 { p.run::<f64>([false; 5])[0].iter().zip(&p.dy).map(|(y, g)| y * g).sum() };
    for form in [Form::Last, Form::Middle] {
        for two in [false, true] {
            for activation in ALL.into_iter().filter(|&a| a != Activation::Relu) {
                let time = if form == Form::Last { 1 } else { 5 };
                let mut problem = Problem::new(form, activation, 3, [4, 5, 3, time], two, true);
                let found = problem.run::<f64>(EVERYTHING);
                let step = 1e-5;
                for k in 1..if two { 6 } else { 4 } {
                    for j in 0..found[k].len() {
                        let mut moved = |by: f64| {
                            let place = if k == 1 { &mut problem.x[j] } else { &mut problem.weights[k - 2][j] };
                            let before = std::mem::replace(place, *place + by);
                            let value = loss(&problem);
                            let place = if k == 1 { &mut problem.x[j] } else { &mut problem.weights[k - 2][j] };
                            *place = before;
                            value
                        };
                        let numeric = (moved(step) - moved(-step)) / (2.0 * step);
                        // Truncation: step²/6 times a third derivative of at most some hundreds; rounding: 1e-14 / step.
                        let off = (numeric - found[k][j]).abs();
                        assert!(off <= 2e-8, "{}: gradient {k} element {j}: {}, not {numeric}", problem.label(), found[k][j]);
                    }
                }
            }
        }
    }
}

#[test]
fn a_gradient_does_not_depend_on_which_others_are_wanted() {
    every(|form, rows, sizes, two| {
        let problem = Problem::new(form, Activation::Silu, rows, sizes, two, true);
        let all = problem.run::<f32>(EVERYTHING);
        for mask in 0..32u32 {
            let wanted = [0, 1, 2, 3, 4].map(|k| mask >> k & 1 == 1);
            let some = problem.run::<f32>(wanted);
            for k in 0..5 {
                if wanted[k] {
                    assert_eq!(bits(&some[k + 1]), bits(&all[k + 1]), "{} {wanted:?}", problem.label());
                } else {
                    assert!(some[k + 1].iter().all(|v| v.is_nan()));
                }
            }
        }
    });
}

#[test]
fn threads_and_instruction_sets_change_no_bit() {
    for (form, rows, sizes, two) in [
        (Form::Last, 4001, [24, 31, 20, 1], false),
        (Form::Last, 2003, [24, 31, 20, 1], true),
        (Form::Middle, 203, [16, 24, 16, 25], true),
    ] {
        let problem = Problem::new(form, Activation::Tanh, rows, sizes, two, true);
        let run = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| problem.run::<f32>(EVERYTHING).map(|v| bits(&v)))
        };
        assert_eq!(run(1), run(3), "{}", problem.label());
        let run = |isa| {
            // One worker, and the choice made on it.
            let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
            pool.install(|| with_isa(isa, || problem.run::<f32>(EVERYTHING).map(|v| bits(&v))))
        };
        let all: Vec<_> = available().into_iter().map(run).collect();
        assert!(all.windows(2).all(|w| w[0] == w[1]), "{}", problem.label());
    }
}

#[test]
fn empty_axes_give_biases_and_zeros() {
    for form in [Form::Last, Form::Middle] {
        for two in [false, true] {
            for (rows, mut sizes) in
                [(0, [3, 4, 2, 5]), (4, [0, 4, 2, 5]), (4, [3, 4, 0, 5]), (4, [3, 4, 2, 0]), (4, [3, 0, 2, 5])]
            {
                if form == Form::Last {
                    sizes[3] = 1;
                }
                let problem = Problem::new(form, Activation::Gelu, rows, sizes, two, true);
                for (k, found) in problem.run::<f64>(EVERYTHING).iter().enumerate() {
                    assert!(found.iter().all(|v| v.is_finite()), "{}: result {k} is {found:?}", problem.label());
                }
                let [i, h, o, t] = sizes;
                if i == 0 && o * t > 0 {
                    let first = if two { h } else { o };
                    let mut hidden = problem.weights[1][..first].to_vec();
                    hidden.iter_mut().for_each(|v| *v = activate(Activation::Gelu, *v));
                    let y = problem.run::<f64>(EVERYTHING)[0][0];
                    let exact = if two {
                        problem.weights[3][0]
                            + problem.residual[0]
                            + (0..h).map(|k| problem.weights[2][k] * hidden[k]).sum::<f64>()
                    } else {
                        hidden[0]
                    };
                    // A handful of roundings of numbers below 4.
                    assert!((y - exact).abs() < 1e-14);
                }
            }
        }
    }
}

#[test]
fn lengths_that_do_not_fit_are_refused() {
    let affine = Affine { weight: &[1.0f32; 6], bias: None, inputs: 3, outputs: 2 };
    let map = Linear { affine, activation: Activation::Identity };
    let refused = |x: usize, y: usize| std::panic::catch_unwind(|| map.forward(&vec![0.0; x], None, &mut vec![0.0; y])).is_err();
    assert!(!refused(6, 4));
    assert!(refused(6, 3));
    assert!(refused(5, 4));
}

/// Large weights, with a few rows (one pass over the weight) and with more (a blocked product): against plain sums, on every instruction
/// set and thread count the same.
#[test]
fn large_weights() {
    let few = [(1, 70, 67), (1, 4096, 1), (2, 131, 40), (5, 100, 83), (8, 33, 401), (1, 768, 300)];
    let more = [(9, 1031, 521), (40, 130, 4100), (9, 0, 4100), (300, 768, 700)];
    for (rows, inputs, outputs) in few.into_iter().chain(more) {
        let (w, b) = (numbers(1, inputs * outputs), numbers(2, outputs));
        let (x, residual) = (numbers(3, rows * inputs), numbers(4, rows * outputs));
        let exact: Vec<f64> = (0..rows * outputs)
            .map(|i| {
                let (r, o) = (i / outputs, i % outputs);
                let sum: f64 = (0..inputs).map(|k| w[o * inputs + k] * x[r * inputs + k]).sum();
                (sum + b[o]).max(0.0) + residual[i]
            })
            .collect();
        fn run<T: Real>([w, b, x, residual]: [&[f64]; 4], inputs: usize, outputs: usize) -> Vec<T> {
            let (w, b, x, residual) = (cast::<T>(w), cast::<T>(b), cast::<T>(x), cast::<T>(residual));
            let affine = Affine { weight: &w, bias: Some(&b), inputs, outputs };
            let mut y = vec![T::from_f64(f64::NAN); residual.len()];
            Linear { affine, activation: Activation::Relu }.forward(&x, Some(&residual), &mut y);
            y
        }
        let all = [&w[..], &b, &x, &residual];
        close(&run::<f64>(all, inputs, outputs), &exact, 1e-13, "f64");
        let single = run::<f32>(all, inputs, outputs);
        // Sums of at most 4096 terms in sixteen lanes, or of 1031 in a row.
        let wide: Vec<f64> = single.iter().map(|v| f64::from(*v)).collect();
        close(&wide, &exact, 1e-5, "f32");
        for isa in available() {
            assert_eq!(with_isa(isa, || bits(&run::<f32>(all, inputs, outputs))), bits(&single), "{isa:?}");
        }
        for threads in [1, 3] {
            assert_eq!(in_pool(threads, || bits(&run::<f32>(all, inputs, outputs))), bits(&single));
        }
    }
}
