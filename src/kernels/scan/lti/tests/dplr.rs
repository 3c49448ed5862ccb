//! Against the dense system and the goldens, gradients against central differences, steps, and the edges.

use crate::kernels::scan::lti::complex::{Complex, ComplexMut, ComplexRef};
use crate::kernels::scan::lti::dplr::{Dplr, Gradients, Stepper, reference};
use crate::kernels::scan::lti::hippo::{Measure, Nplr, nplr};
use crate::kernels::simd::{Real, available, with_isa};
use crate::kernels::testing::{bits, cast, close, flat, golden, in_pool, numbers, wide};

/// log Δ; Λ, P, B and C, real and imaginary parts.
#[derive(Clone, Debug)]
struct Case {
    channels: usize,
    pairs: usize,
    rank: usize,
    inputs: [Vec<f64>; 9],
}

const NAMES: [&str; 9] = ["log dt", "Re lambda", "Im lambda", "Re P", "Im P", "Re B", "Im B", "Re C", "Im C"];

impl Case {
    fn random(channels: usize, pairs: usize, rank: usize) -> Self {
        let (hn, hrn) = (channels * pairs, channels * rank * pairs);
        let sizes = [channels, hn, hn, hrn, hrn, hn, hn, hn, hn];
        let mut inputs: [Vec<f64>; 9] = std::array::from_fn(|i| numbers(i as u64 + 30, sizes[i]));
        inputs[0].iter_mut().for_each(|x| *x -= 3.0);
        inputs[1].iter_mut().for_each(|x| *x = 0.4 * *x - 0.5);
        inputs[2].iter_mut().enumerate().for_each(|(i, x)| *x += 4.0 * (i % pairs) as f64);
        inputs.iter_mut().flatten().for_each(|x| *x = f64::from(*x as f32));
        Self { channels, pairs, rank, inputs }
    }

    /// One channel of a measure.
    fn measure(form: &Nplr, dt: f64, c: &[f64]) -> Self {
        let [[lambda, lambda_], [p, p_], [b, b_], [c, c_]] =
            [&form.lambda, &form.p, &form.b, &form.row(c)].map(|z| Complex::split(z));
        Self {
            channels: 1,
            pairs: form.lambda.len(),
            rank: form.rank(),
            inputs: [vec![dt.ln()], lambda, lambda_, p, p_, b, b_, c, c_],
        }
    }

    /// With C̃ for C.
    fn tilde(&self, len: usize) -> Self {
        let mut to = self.clone();
        let [.., re, im] = &mut to.inputs;
        views(self, &self.inputs).tilde(len, ComplexMut { re, im });
        to
    }

    fn kernel<T: Real>(&self, len: usize) -> Vec<T> {
        let owned: [Vec<T>; 9] = std::array::from_fn(|i| cast(&self.inputs[i]));
        let mut k = vec![T::from_f64(f64::NAN); self.channels * len];
        views(self, &owned).kernel(len, &mut k);
        k
    }

    fn gradients<T: Real>(&self, len: usize, dk: &[f64]) -> [Vec<T>; 9] {
        let owned: [Vec<T>; 9] = std::array::from_fn(|i| cast(&self.inputs[i]));
        let mut to: [Vec<T>; 9] = std::array::from_fn(|i| vec![T::from_f64(f64::NAN); owned[i].len()]);
        let [log_dt, l_re, l_im, p_re, p_im, b_re, b_im, c_re, c_im] = &mut to;
        let gradients = Gradients {
            log_dt: Some(log_dt),
            lambda: Some(ComplexMut { re: l_re, im: l_im }),
            p: Some(ComplexMut { re: p_re, im: p_im }),
            b: Some(ComplexMut { re: b_re, im: b_im }),
            c: Some(ComplexMut { re: c_re, im: c_im }),
        };
        views(self, &owned).backward(len, &cast::<T>(dk), gradients);
        to
    }
}

fn views<'a, T: Real>(case: &Case, of: &'a [Vec<T>; 9]) -> Dplr<'a, T> {
    let [log_dt, l_re, l_im, p_re, p_im, b_re, b_im, c_re, c_im] = of;
    Dplr {
        channels: case.channels,
        pairs: case.pairs,
        rank: case.rank,
        rate: 1.0,
        log_dt,
        lambda: ComplexRef { re: l_re, im: l_im },
        p: ComplexRef { re: p_re, im: p_im },
        b: ComplexRef { re: b_re, im: b_im },
        c: ComplexRef { re: c_re, im: c_im },
    }
}

/// Central differences of fourth order: a C̃ without its power of Ā has sharp resonances, with third derivatives of some ten thousand.
fn differences(at: &[f64], gradient: &[f64], error: f64, what: &str, loss: impl Fn(&[f64]) -> f64) {
    let (mut x, step) = (at.to_vec(), 5e-5);
    for i in 0..x.len() {
        let mut moved = |by: f64| {
            x[i] = at[i] + by * step;
            let l = loss(&x);
            x[i] = at[i];
            l
        };
        let (near, far) = (moved(1.0) - moved(-1.0), moved(2.0) - moved(-2.0));
        let numeric = (8.0 * near - far) / (12.0 * step);
        assert!(
            (numeric - gradient[i]).abs() <= error * (1.0 + numeric.abs()),
            "{what}: gradient {i} is {}, not {numeric}",
            gradient[i]
        );
    }
}

#[test]
fn golden_kernels() {
    let g = golden("s4_dplr");
    let (n, len) = (g["N"].as_u64().expect("a number") as usize, g["L"].as_u64().expect("a number") as usize);
    let (dt, c) = (g["dt"].as_f64().expect("a number"), flat(&g["C_real_basis"]));
    let more = &g["rank2_and_zero_mode"];
    for (measure, exact, clamped) in [
        (Measure::LegS, &g["K_bilinear"], None),
        (Measure::LegT, &more["legt"]["K_exact"], Some(&more["legt"]["K_reference_clamped"])),
        (Measure::FouT, &more["fout"]["K_exact"], Some(&more["fout"]["K_reference_clamped"])),
    ] {
        let what = measure.name();
        let case = Case::measure(&nplr(measure, n).expect("a form"), dt, &c);
        close(&reference::kernel(&views(&case, &case.inputs), len).expect("a kernel"), &flat(exact), 1e-13, what);
        let tilde = case.tilde(len);
        close(&tilde.kernel::<f64>(len), &flat(exact), 1e-10, what);
        close(&wide(&tilde.kernel::<f32>(len)), &flat(exact), 1e-5, what);
        if let Some(clamped) = clamped {
            close(&tilde.kernel::<f64>(len), &flat(clamped), 1e-4, what);
        }
    }
}

#[test]
fn every_length_and_rank_is_the_dense_system() {
    let (legs, legt, fout) = (
        nplr(Measure::LegS, 64).expect("a form"),
        nplr(Measure::LegT, 32).expect("a form"),
        nplr(Measure::FouT, 32).expect("a form"),
    );
    let cases = [
        Case::random(3, 4, 1),
        Case::random(11, 3, 2),
        Case::random(1, 1, 1),
        Case::measure(&legs, 0.01, &numbers(1, 64)),
        Case::measure(&legt, 0.02, &numbers(2, 32)),
        Case::measure(&fout, 0.02, &numbers(3, 32)),
    ];
    for case in cases {
        for len in [1, 2, 3, 7, 8, 33, 100, 128, 257] {
            let what = format!("{}x{} of rank {} and length {len}", case.channels, case.pairs, case.rank);
            let of = views(&case, &case.inputs);
            let exact = reference::kernel(&of, len).expect("a kernel");
            let tilde = case.tilde(len);
            let expected = Complex::split(&reference::tilde(&of, len).expect("a row")).concat();
            close(&tilde.inputs[7..].concat(), &expected, 1e-12, &what);
            close(&tilde.kernel::<f64>(len), &exact, 1e-11, &what);
            close(&wide(&tilde.kernel::<f32>(len)), &exact, 1e-5, &what);
        }
    }
}

#[test]
fn gradients_are_central_differences() {
    let mut slow = Case::measure(&nplr(Measure::FouT, 6).expect("a form"), 0.05, &numbers(1, 6)).tilde(11);
    // A slow state near to 0, at which the bin of frequency 0 goes its own way.
    (slow.inputs[1][2], slow.inputs[2][2]) = (-0.011, -0.008);
    let cases = [
        (Case::random(2, 3, 1), 12),
        (Case::random(2, 3, 1), 13),
        (Case::random(2, 2, 2), 16),
        (Case::random(1, 1, 2), 1),
        (slow, 11),
    ];
    for (case, len) in cases {
        let dk = numbers(50, case.channels * len);
        let to = case.gradients::<f64>(len, &dk);
        for i in 0..9 {
            differences(&case.inputs[i], &to[i], 1e-8, NAMES[i], |x| {
                let mut changed = case.clone();
                changed.inputs[i] = x.to_vec();
                changed.kernel::<f64>(len).iter().zip(&dk).map(|(a, b)| a * b).sum::<f64>()
            });
        }
        for ((single, exact), name) in case.gradients::<f32>(len, &dk).iter().zip(&to).zip(NAMES) {
            close(&wide(single), exact, 1e-4, name);
        }
    }
}

/// With a frequency of exactly 0 the kernel has gradients in what keeps it there.
#[test]
fn gradients_beside_an_undamped_state_are_central_differences() {
    let len = 16;
    let case = Case::measure(&nplr(Measure::FouT, 6).expect("a form"), 0.05, &numbers(1, 6)).tilde(len);
    let dk = numbers(50, len);
    let to = case.gradients::<f64>(len, &dk);
    assert!(to.iter().flatten().all(|v| v.is_finite()));
    for i in [0, 7, 8] {
        differences(&case.inputs[i], &to[i], 1e-8, NAMES[i], |x| {
            let mut changed = case.clone();
            changed.inputs[i] = x.to_vec();
            changed.kernel::<f64>(len).iter().zip(&dk).map(|(a, b)| a * b).sum::<f64>()
        });
    }
}

#[test]
fn rows_go_there_and_back_and_lengths_double() {
    for case in [Case::random(3, 4, 1), Case::random(2, 5, 2)] {
        let len = 21;
        let tilde = case.tilde(len);
        let mut back = case.clone();
        {
            let [.., re, im] = &mut back.inputs;
            views(&tilde, &tilde.inputs).untilde(len, ComplexMut { re, im });
        }
        close(&back.inputs[7..].concat(), &case.inputs[7..].concat(), 1e-10, "C");
        let mut double = tilde.clone();
        {
            let [.., re, im] = &mut double.inputs;
            views(&tilde, &tilde.inputs).double(len, ComplexMut { re, im });
        }
        close(&double.inputs[7..].concat(), &case.tilde(2 * len).inputs[7..].concat(), 1e-12, "twice the length");
        let (long, short) = (double.kernel::<f64>(2 * len), tilde.kernel::<f64>(len));
        let first: Vec<f64> = long.chunks(2 * len).flat_map(|k| k[..len].to_vec()).collect();
        close(&first, &short, 1e-11, "first half");
    }
}

#[test]
fn steps_answer_an_impulse_with_the_kernel() {
    fn check<T: Real>(case: &Case, bound: f64) {
        let len = 70;
        let owned: [Vec<T>; 9] = std::array::from_fn(|i| cast(&case.inputs[i]));
        let stepper = Stepper::new(&views(case, &owned));
        let (h, n) = (case.channels, case.pairs);
        // Two sequences, the second with twice the impulse.
        let (mut re, mut im, mut y) = (vec![T::ZERO; 2 * h * n], vec![T::ZERO; 2 * h * n], vec![T::ZERO; 2 * h]);
        let exact = reference::kernel(&views(case, &case.inputs), len).expect("a kernel");
        let mut found = vec![0.0; h * len];
        for t in 0..len {
            let size = T::from_f64(if t == 0 { 1.0 } else { 0.0 });
            let u = [vec![size; h], vec![size + size; h]].concat();
            stepper.step(&u, ComplexMut { re: &mut re, im: &mut im }, &mut y);
            for c in 0..h {
                found[c * len + t] = y[c].to_f64();
                assert!((y[h + c].to_f64() - 2.0 * y[c].to_f64()).abs() <= bound);
            }
        }
        close(&found, &exact, bound, "impulse response");
    }
    for case in [
        Case::random(3, 4, 1),
        Case::random(2, 5, 2),
        Case::measure(&nplr(Measure::LegT, 8).expect("a form"), 0.05, &numbers(4, 8)),
    ] {
        check::<f64>(&case, 1e-12);
        check::<f32>(&case, 1e-5);
    }
}

#[test]
fn threads_and_instruction_sets_change_no_bit() {
    for case in [Case::random(11, 3, 2), Case::random(20, 4, 1)] {
        let dk = numbers(50, case.channels * 45);
        let run = || (bits(&case.kernel::<f32>(45)), case.gradients::<f32>(45, &dk).map(|g| bits(&g)));
        let one = in_pool(1, run);
        assert!(one == in_pool(2, run) && one == in_pool(8, run));
        for isa in available() {
            assert!(one == in_pool(1, || with_isa(isa, run)), "{isa:?}");
        }
    }
}

#[test]
fn nothing_in_gives_nothing_and_misfits_are_refused() {
    let case = Case::random(2, 3, 1);
    assert!(case.kernel::<f64>(0).is_empty());
    assert!(case.gradients::<f64>(0, &[]).iter().flatten().all(|v| *v == 0.0));
    let refused = |change: fn(&mut Case)| {
        let mut case = Case::random(2, 3, 1);
        change(&mut case);
        std::panic::catch_unwind(|| case.kernel::<f64>(4)).is_err()
    };
    assert!(!refused(|_| ()));
    assert!(refused(|c| c.rank = 3) && refused(|c| c.pairs = 2) && refused(|c| c.inputs[3].truncate(2)));
}
