//! Against the definition and the golden, gradients against central differences, and the edges.

use super::{complex, joined};
use crate::kernels::scan::Sequences;
use crate::kernels::scan::lti::complex::{Complex, ComplexMut, ComplexRef};
use crate::kernels::scan::lti::modes::Rule;
use crate::kernels::scan::lti::s4d::reference::{self, AllGradients, Outputs};
use crate::kernels::scan::lti::s4d::{Gradients, S4d, Stepper};
use crate::kernels::simd::{Real, available, with_isa};
use crate::kernels::testing::{bits, cast, close, differences, exchanged, flat, golden, in_pool, numbers, wide};

/// Which form is asked for.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Form {
    Scan,
    Kernel,
}

/// Every input in f64, in the order of [`NAMES`].
#[derive(Clone, Debug)]
struct Case {
    bounds: Vec<usize>,
    channels: usize,
    pairs: usize,
    rule: Rule,
    rate: f64,
    /// Whether B and D are given.
    optional: bool,
    /// Whether states are given and wanted.
    states: bool,
    inputs: [Vec<f64>; 11],
}

const NAMES: [&str; 11] =
    ["u", "log dt", "log decay", "frequency", "Re B", "Im B", "Re C", "Im C", "D", "Re first states", "Im first states"];

impl Case {
    fn new(bounds: &[usize], channels: usize, pairs: usize, rule: Rule, optional: bool) -> Self {
        let (rows, count) = (bounds[bounds.len() - 1], bounds.len() - 1);
        let (hn, states) = (channels * pairs, count * channels * pairs);
        let sizes = [rows * channels, channels, hn, hn, hn, hn, hn, hn, channels, states, states];
        let mut inputs: [Vec<f64>; 11] = std::array::from_fn(|i| numbers(i as u64 + 1, sizes[i]));
        // Steps of 0.01 to 0.1, decays of 0.2 to 1, frequencies up to 40.
        inputs[1].iter_mut().for_each(|x| *x = *x * 1.125 - 3.5);
        inputs[2].iter_mut().for_each(|x| *x = *x * 0.75 - 0.75);
        inputs[3].iter_mut().for_each(|x| *x *= 40.0);
        // As single precision holds them: phases of some hundred turns show every rounding of a parameter.
        inputs.iter_mut().flatten().for_each(|x| *x = f64::from(*x as f32));
        Self { bounds: bounds.to_vec(), channels, pairs, rule, rate: 1.0, optional, states: optional, inputs }
    }

    fn dy(&self) -> Vec<f64> {
        numbers(20, self.inputs[0].len())
    }

    fn dlast(&self) -> [Vec<f64>; 2] {
        [21, 22].map(|seed| numbers(seed, self.inputs[9].len()))
    }

    /// y and last states, then the gradients in the order of the inputs (empty where there is no input).
    fn run<T: Real>(&self, form: Form) -> (Vec<T>, [Vec<T>; 2], [Vec<T>; 11]) {
        let owned: [Vec<T>; 11] = std::array::from_fn(|i| cast(&self.inputs[i]));
        let (s4d, initial) = views(self, &owned);
        let nan = |len: usize| vec![T::from_f64(f64::NAN); len];
        let (mut y, mut re, mut im) = (nan(owned[0].len()), nan(s4d.state_len()), nan(s4d.state_len()));
        let mut to: [Vec<T>; 11] = std::array::from_fn(|i| nan(owned[i].len()));
        let (dy, [dre, dim]) = (cast::<T>(&self.dy()), self.dlast().map(|d| cast::<T>(&d)));
        let dlast = self.states.then_some(ComplexRef { re: &dre, im: &dim });
        {
            let [u, log_dt, log_decay, frequency, b_re, b_im, c_re, c_im, skip, x_re, x_im] = &mut to;
            let gradients = Gradients {
                u: Some(u),
                log_dt: Some(log_dt),
                log_decay: Some(log_decay),
                frequency: Some(frequency),
                b: self.optional.then_some(ComplexMut { re: b_re, im: b_im }),
                c: Some(ComplexMut { re: c_re, im: c_im }),
                skip: self.optional.then_some(&mut skip[..]),
                initial: self.states.then_some(ComplexMut { re: x_re, im: x_im }),
            };
            match form {
                Form::Scan => {
                    s4d.scan(&owned[0], initial, &mut y, Some(ComplexMut { re: &mut re, im: &mut im }));
                    s4d.scan_back(&owned[0], initial, &dy, dlast, gradients);
                }
                Form::Kernel => {
                    s4d.through_kernel_forward(&owned[0], &mut y);
                    s4d.through_kernel(&owned[0], &dy, gradients);
                }
            }
        }
        if !self.optional {
            [4, 5, 8].into_iter().for_each(|i| to[i].clear());
        }
        if !self.states {
            [9, 10].into_iter().for_each(|i| to[i].clear());
        }
        (y, [re, im], to)
    }

    fn exact(&self) -> (Vec<f64>, [Vec<f64>; 2], [Vec<f64>; 11]) {
        let (s4d, _) = views(self, &self.inputs);
        let first = joined(&[self.inputs[9].clone(), self.inputs[10].clone()]);
        let (initial, dlast) = (self.states.then_some(&first[..]), joined(&self.dlast()));
        let Outputs { y, last } = reference::forward(&s4d, &self.inputs[0], initial);
        let g = reference::backward(&s4d, &self.inputs[0], initial, &self.dy(), self.states.then_some(&dlast));
        let AllGradients { u, log_dt, log_decay, frequency, b, c, skip, initial } = g;
        let ([b_re, b_im], [c_re, c_im], [x_re, x_im]) = (Complex::split(&b), Complex::split(&c), Complex::split(&initial));
        (y, Complex::split(&last), [u, log_dt, log_decay, frequency, b_re, b_im, c_re, c_im, skip, x_re, x_im])
    }
}

fn views<'a, T: Real>(case: &'a Case, of: &'a [Vec<T>; 11]) -> (S4d<'a, T>, Option<ComplexRef<'a, T>>) {
    let [_, log_dt, log_decay, frequency, b_re, b_im, c_re, c_im, skip, x_re, x_im] = of;
    let s4d = S4d {
        sequences: Sequences::Packed(&case.bounds),
        channels: case.channels,
        pairs: case.pairs,
        rule: case.rule,
        rate: case.rate,
        log_dt,
        log_decay,
        frequency,
        b: case.optional.then_some(ComplexRef { re: b_re, im: b_im }),
        c: ComplexRef { re: c_re, im: c_im },
        skip: case.optional.then_some(&skip[..]),
    };
    (s4d, case.states.then_some(ComplexRef { re: x_re, im: x_im }))
}

fn cases() -> Vec<Case> {
    let zoh = |bounds: &[usize], channels, pairs, optional| Case::new(bounds, channels, pairs, Rule::Zoh, optional);
    vec![
        zoh(&[0, 7, 7, 8, 150], 5, 3, true),
        Case::new(&[0, 131], 40, 16, Rule::Bilinear, true),
        zoh(&[0, 64, 128], 16, 1, false),
        Case { rate: 2.0, ..zoh(&[0, 66], 6, 2, true) },
        Case::new(&[0, 1], 1, 1, Rule::Bilinear, false),
        zoh(&[0, 20, 40, 60], 300, 5, true),
        // Beyond one segment of tiles.
        zoh(&[0, 4400, 4403], 3, 2, true),
        zoh(&[0, 8192 + 64], 1, 1, false),
    ]
}

#[test]
fn golden_values_and_gradients() {
    fn check<T: Real>(outputs: f64, gradients_bound: f64) {
        let g = golden("s4d");
        let ([c_re, c_im], [log_dt, log_decay, frequency, skip, u, dk]) =
            (complex(&g["C"]), ["log_dt", "log_A_real", "A_imag", "D", "u", "dK"].map(|n| cast::<T>(&flat(&g[n]))));
        let (c_re, c_im) = (cast::<T>(&c_re), cast::<T>(&c_im));
        // One sequence of two channels and 12 steps: (channels, steps) to rows.
        let u = cast::<T>(&exchanged(&wide(&u), 2, 12));
        for (rule, name) in [(Rule::Zoh, "zoh"), (Rule::Bilinear, "bilinear")] {
            let of = S4d {
                sequences: Sequences::Equal { count: 1, len: 12 },
                channels: 2,
                pairs: 3,
                rule,
                rate: 1.0,
                log_dt: &log_dt,
                log_decay: &log_decay,
                frequency: &frequency,
                b: None,
                c: ComplexRef { re: &c_re, im: &c_im },
                skip: Some(&skip),
            };
            let g = &g[name];
            let stepper = Stepper::new(&of);
            for (i, (a, b)) in joined(&complex(&g["A_bar"])).into_iter().zip(joined(&complex(&g["B_bar"]))).enumerate() {
                let (found_a, found_b) = stepper.mode(i / 3, i % 3);
                assert!(
                    (found_a - a).abs() <= outputs && (found_b - b).abs() <= outputs * 0.2,
                    "{name}: {found_a:?} {found_b:?}"
                );
            }
            let mut k = vec![T::ZERO; 24];
            of.kernel(12, &mut k);
            close(&wide(&k), &flat(&g["K"]), outputs, "K");
            let expected = exchanged(&flat(&g["y"]), 2, 12);
            let (mut y, mut re, mut im) = (vec![T::ZERO; 24], vec![T::ZERO; 6], vec![T::ZERO; 6]);
            of.forward(&u, None, &mut y, None);
            close(&wide(&y), &expected, outputs, "y");
            of.forward(&u, None, &mut y, Some(ComplexMut { re: &mut re, im: &mut im }));
            close(&wide(&y), &expected, outputs, "y by the scan");
            let last = complex(&g["final_state"]);
            close(&wide(&[&re[..], &im].concat()), &last.concat(), outputs, "last states");
            let (mut step_re, mut step_im) = (vec![T::ZERO; 6], vec![T::ZERO; 6]);
            for (u, y) in u.chunks(2).zip(y.chunks_mut(2)) {
                stepper.step(u, ComplexMut { re: &mut step_re, im: &mut step_im }, y);
            }
            close(&wide(&y), &expected, outputs, "y by steps");
            close(&wide(&[step_re, step_im].concat()), &last.concat(), outputs, "states after steps");
            if rule != Rule::Zoh {
                continue;
            }
            let g = &g["grad_of_sum_K_dK"];
            let mut to: [Vec<T>; 5] = [2, 6, 6, 6, 6].map(|len| vec![T::ZERO; len]);
            let [dt, decay, frequency, re, im] = &mut to;
            let gradients = Gradients {
                log_dt: Some(dt),
                log_decay: Some(decay),
                frequency: Some(frequency),
                c: Some(ComplexMut { re, im }),
                ..Default::default()
            };
            of.kernel_backward(12, &dk, gradients);
            let [re, im] = complex(&g["C"]);
            for (found, expected) in to.iter().zip([flat(&g["log_dt"]), flat(&g["log_A_real"]), flat(&g["A_imag"]), re, im]) {
                close(&wide(found), &expected, gradients_bound, "gradient");
            }
        }
    }
    check::<f64>(1e-10, 1e-10);
    check::<f32>(1e-5, 1e-4);
}

#[test]
fn both_forms_are_the_definition() {
    for case in cases() {
        for form in [Form::Scan, Form::Kernel] {
            let case = Case { states: form == Form::Scan && case.states, ..case.clone() };
            let what = |name: &str| format!("{name} of {:?} {}x{} by {form:?}", case.bounds, case.channels, case.pairs);
            let (y, last, to) = case.exact();
            let compare = |f: Vec<f64>, l: [Vec<f64>; 2], g: Vec<Vec<f64>>, [outputs, gradients]: [f64; 2]| {
                close(&f, &y, outputs, &what("y"));
                if form == Form::Scan {
                    close(&l.concat(), &last.concat(), outputs, &what("last states"));
                }
                for ((found, exact), name) in g.iter().zip(&to).zip(NAMES) {
                    // Without B its gradient is not asked for, and without states that of the first ones.
                    if !found.is_empty() || exact.is_empty() {
                        close(found, exact, gradients, &what(name));
                    }
                }
            };
            let (f, l, g) = case.run::<f64>(form);
            compare(f, l, g.to_vec(), [1e-12, 1e-11]);
            let (f, l, g) = case.run::<f32>(form);
            compare(wide(&f), l.map(|l| wide(&l)), g.iter().map(|g| wide(g)).collect(), [1e-5, 1e-4]);
        }
    }
}

#[test]
fn gradients_are_central_differences() {
    for (rule, optional) in [(Rule::Zoh, true), (Rule::Zoh, false), (Rule::Bilinear, true)] {
        let case = Case { rate: 1.5, ..Case::new(&[0, 4, 4, 75], 3, 2, rule, optional) };
        for form in [Form::Scan, Form::Kernel] {
            let case = Case { states: form == Form::Scan && case.states, ..case.clone() };
            let (_, _, to) = case.run::<f64>(form);
            let (dy, dlast) = (case.dy(), case.dlast().concat());
            for i in 0..11 {
                if to[i].is_empty() {
                    continue;
                }
                differences(&case.inputs[i], &to[i], 5, 1e-6, NAMES[i], |x| {
                    let mut changed = case.clone();
                    changed.inputs[i] = x.to_vec();
                    let (y, last, _) = changed.run::<f64>(form);
                    let sum = |a: &[f64], g: &[f64]| a.iter().zip(g).map(|(a, g)| a * g).sum::<f64>();
                    sum(&y, &dy) + if case.states { sum(&last.concat(), &dlast) } else { 0.0 }
                });
            }
        }
    }
}

#[test]
fn parts_and_steps_continue_each_other() {
    fn check<T: Real>(bound: f64) {
        let (len, h, n) = (150, 5, 3);
        let case = Case::new(&[0, len], h, n, Rule::Zoh, true);
        let owned: [Vec<T>; 11] = std::array::from_fn(|i| cast(&case.inputs[i]));
        let (s4d, initial) = views(&case, &owned);
        let u = &owned[0];
        let (mut whole, mut re, mut im) = (vec![T::ZERO; len * h], vec![T::ZERO; h * n], vec![T::ZERO; h * n]);
        s4d.forward(u, initial, &mut whole, Some(ComplexMut { re: &mut re, im: &mut im }));
        for cut in [0, 1, 2, 3, 5, 8, 63, 64, 65, 149, 150] {
            let mut y = vec![T::ZERO; len * h];
            let (mut x, mut x_im) = (vec![T::ZERO; h * n], vec![T::ZERO; h * n]);
            let (mut end, mut end_im) = (x.clone(), x.clone());
            let (first, second) = y.split_at_mut(cut * h);
            let of = |len| S4d { sequences: Sequences::Equal { count: 1, len }, ..s4d };
            of(cut).forward(&u[..cut * h], initial, first, Some(ComplexMut { re: &mut x, im: &mut x_im }));
            let carried = Some(ComplexRef { re: &x, im: &x_im });
            of(len - cut).forward(&u[cut * h..], carried, second, Some(ComplexMut { re: &mut end, im: &mut end_im }));
            close(&wide(&y), &wide(&whole), bound, "y");
            close(&wide(&[end, end_im].concat()), &wide(&[&re[..], &im].concat()), bound, "states");
        }
        let stepper = Stepper::new(&s4d);
        let (mut x, mut x_im, mut y) = (owned[9].clone(), owned[10].clone(), vec![T::ZERO; len * h]);
        for (u, y) in u.chunks(h).zip(y.chunks_mut(h)) {
            stepper.step(u, ComplexMut { re: &mut x, im: &mut x_im }, y);
        }
        close(&wide(&y), &wide(&whole), bound, "y by steps");
        close(&wide(&[x, x_im].concat()), &wide(&[re, im].concat()), bound, "states after steps");
    }
    check::<f64>(1e-13);
    check::<f32>(3e-6);
}

/// The steps answer an impulse with K, and a doubled rate is a doubled Δ.
#[test]
fn impulses_and_rates() {
    for rule in [Rule::Zoh, Rule::Bilinear] {
        let case = Case { states: false, ..Case::new(&[0, 90], 3, 4, rule, true) };
        let (mut s4d, _) = views(&case, &case.inputs);
        s4d.skip = None;
        let (mut k, mut y) = (vec![0.0; 270], vec![0.0; 270]);
        s4d.kernel(90, &mut k);
        close(&k, &reference::kernel(&s4d, 90), 1e-13, "K");
        let stepper = Stepper::new(&s4d);
        let (mut re, mut im) = (vec![0.0; 12], vec![0.0; 12]);
        for (t, y) in y.chunks_mut(3).enumerate() {
            stepper.step(&[if t == 0 { 1.0 } else { 0.0 }; 3], ComplexMut { re: &mut re, im: &mut im }, y);
        }
        close(&exchanged(&y, 90, 3), &k, 1e-13, "impulse response");
        let doubled: Vec<f64> = s4d.log_dt.iter().map(|x| x + 2f64.ln()).collect();
        let mut again = k.clone();
        S4d { rate: 2.0, ..s4d }.kernel(90, &mut k);
        S4d { log_dt: &doubled, ..s4d }.kernel(90, &mut again);
        close(&k, &again, 1e-13, "rate 2");
    }
}

/// Slow modes over many steps: rounding must not build up.
#[test]
fn long_sequences_stay_exact_in_single_precision() {
    let len = 20000;
    let mut case = Case { states: true, ..Case::new(&[0, len], 2, 3, Rule::Zoh, true) };
    // Steps of 1e-4: a memory of 20000 steps.
    case.inputs[1].fill(-9.2103);
    case.inputs[2].fill(-0.7);
    case.inputs.iter_mut().flatten().for_each(|x| *x = f64::from(*x as f32));
    let (y, last, to) = case.exact();
    let (f, l, g) = case.run::<f32>(Form::Scan);
    close(&wide(&f), &y, 1e-5, "y");
    close(&wide(&l.concat()), &last.concat(), 1e-5, "last states");
    for ((found, exact), name) in g.iter().zip(&to).zip(NAMES) {
        close(&wide(found), exact, 1e-4, name);
    }
    let mut k = vec![0f32; 2 * len];
    let owned: [Vec<f32>; 11] = std::array::from_fn(|i| cast(&case.inputs[i]));
    views(&case, &owned).0.kernel(len, &mut k);
    close(&wide(&k), &reference::kernel(&views(&case, &case.inputs).0, len), 2e-6, "K");
    let stepper = Stepper::new(&views(&case, &owned).0);
    let (mut x, mut x_im, mut y_steps) = (owned[9].clone(), owned[10].clone(), vec![0f32; 2 * len]);
    for (u, y) in owned[0].chunks(2).zip(y_steps.chunks_mut(2)) {
        stepper.step(u, ComplexMut { re: &mut x, im: &mut x_im }, y);
    }
    close(&wide(&y_steps), &y, 1e-5, "y by steps");
}

#[test]
fn threads_and_instruction_sets_change_no_bit() {
    for case in cases() {
        for form in [Form::Scan, Form::Kernel] {
            let case = Case { states: form == Form::Scan && case.states, ..case.clone() };
            let run = || {
                let (y, last, to) = case.run::<f32>(form);
                (bits(&y), last.map(|l| bits(&l)), to.map(|v| bits(&v)))
            };
            let one = in_pool(1, run);
            assert!(one == in_pool(2, run) && one == in_pool(8, run), "{form:?}");
            for isa in available() {
                assert!(one == in_pool(1, || with_isa(isa, run)), "{isa:?} {form:?}");
            }
        }
    }
}

#[test]
fn nothing_in_gives_nothing_and_misfits_are_refused() {
    for bounds in [&[0usize, 0][..], &[0]] {
        let case = Case::new(bounds, 2, 3, Rule::Zoh, true);
        let (y, last, to) = case.run::<f64>(Form::Scan);
        assert!(y.is_empty() && to[1..9].iter().flatten().all(|v| *v == 0.0));
        assert_eq!(last, [case.inputs[9].clone(), case.inputs[10].clone()]);
        assert_eq!([to[9].clone(), to[10].clone()], case.dlast());
        let case = Case { states: false, ..case };
        assert!(case.run::<f64>(Form::Kernel).2[1..9].iter().flatten().all(|v| *v == 0.0));
    }
    let refused = |change: fn(&mut Case)| {
        let mut case = Case::new(&[0, 4], 2, 3, Rule::Zoh, true);
        change(&mut case);
        let (s4d, initial) = views(&case, &case.inputs);
        let mut y = vec![0.0; case.inputs[0].len()];
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| s4d.forward(&case.inputs[0], initial, &mut y, None))).is_err()
    };
    assert!(!refused(|_| ()));
    assert!(refused(|c| c.rate = 0.0) && refused(|c| c.bounds = vec![0, 5]) && refused(|c| c.pairs = 2));
    assert!(
        refused(|c| c.inputs[9] = vec![0.0; 3]) && refused(|c| c.inputs[8].truncate(1)) && refused(|c| c.inputs[5].truncate(1))
    );
}

/// Which form is chosen changes no more than rounding does.
#[test]
fn the_public_form_is_one_of_the_two() {
    for case in [Case::new(&[0, 50, 100, 150], 20, 16, Rule::Zoh, false), Case::new(&[0, 300], 4, 1, Rule::Zoh, false)] {
        let (s4d, _) = views(&case, &case.inputs);
        let mut y = vec![f64::NAN; case.inputs[0].len()];
        s4d.forward(&case.inputs[0], None, &mut y, None);
        let forms = [Form::Scan, Form::Kernel].map(|form| case.run::<f64>(form));
        assert!(bits(&y) == bits(&forms[0].0) || bits(&y) == bits(&forms[1].0));
        close(&forms[0].0, &forms[1].0, 1e-13, "y");
        let mut dt = vec![f64::NAN; case.channels];
        s4d.backward(&case.inputs[0], None, &case.dy(), None, Gradients { log_dt: Some(&mut dt), ..Default::default() });
        assert!(bits(&dt) == bits(&forms[0].2[1]) || bits(&dt) == bits(&forms[1].2[1]));
    }
}
