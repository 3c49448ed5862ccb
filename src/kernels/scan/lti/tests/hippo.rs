//! Against the golden, closed forms and identities.

use crate::kernels::scan::lti::complex::Complex;
use crate::kernels::scan::lti::dense::{diagonal, exponential, multiply, power, solve};
use crate::kernels::scan::lti::hippo::{Diagonal, Measure, dense_kernel, discretise, nplr};
use crate::kernels::scan::lti::modes::Rule;
use crate::kernels::testing::{close, flat, golden, numbers};

#[test]
fn golden_matrices_and_steps() {
    let g = golden("hippo");
    for measure in [Measure::LegS, Measure::LegT, Measure::FouT] {
        let g = &g[measure.name()];
        let n = g["N"].as_u64().expect("a number") as usize;
        let system = measure.system(n);
        close(&system.a, &flat(&g["A"]), 1e-15, "A");
        close(&system.b, &flat(&g["B"]), 1e-15, "B");
        for (rule, name) in [(Rule::Bilinear, "bilinear_dt0.1"), (Rule::Zoh, "zoh_dt0.1")] {
            let what = format!("{} {name}", measure.name());
            let (a, b) = discretise(&system, rule, 0.1).expect("a regular matrix");
            close(&a, &flat(&g[name]["A"]), 1e-14, &what);
            close(&b, &flat(&g[name]["B"]), 1e-14, &what);
            close(&dense_kernel((&a, &b), &vec![1.0; n], 8), &flat(&g[name]["K_C1_L8"]), 1e-14, &what);
        }
    }
    let g = &g["s4d_init_imag_N16"];
    for kind in Diagonal::ALL {
        let a = kind.system(16).expect("a system").a;
        if kind == Diagonal::Real {
            close(&a.iter().map(|z| z.re).collect::<Vec<_>>(), &flat(&g["real_init_A"]), 1e-15, kind.name());
            assert!(a.iter().all(|z| z.im == 0.0));
            continue;
        }
        // Within 1e-13 of each frequency, not of the largest.
        for (z, expected) in a.iter().zip(flat(&g[kind.name().trim_start_matches("s4d-")])) {
            assert!((z.im - expected).abs() <= 1e-13 * expected.abs(), "{}: {z:?}, not {expected}", kind.name());
            assert!((z.re - g["real_part"].as_f64().expect("a number")).abs() <= 1e-13, "{z:?}");
        }
    }
}

#[test]
fn every_normal_form_is_its_matrix() {
    for measure in Measure::ALL.into_iter().filter(|m| *m != Measure::Lmu) {
        for n in [2, 4, 8, 16, 64] {
            let (system, form) = (measure.system(n), nplr(measure, n).expect("a normal form"));
            let (half, rank) = (n / 2, form.rank());
            // V·Λ·V* + its conjugate, less P·P* in the real basis.
            let mut a = vec![0.0; n * n];
            let real = |x: &[Complex], i: usize| 2.0 * (0..half).map(|k| (form.v[i * half + k] * x[k]).re).sum::<f64>();
            for i in 0..n {
                for j in 0..n {
                    let normal: Complex = (0..half)
                        .fold(Complex::ZERO, |s, k| s + form.v[i * half + k] * form.lambda[k] * form.v[j * half + k].conj());
                    let low: f64 = (0..rank)
                        .map(|r| real(&form.p[r * half..(r + 1) * half], i) * real(&form.p[r * half..(r + 1) * half], j))
                        .sum();
                    a[i * n + j] = 2.0 * normal.re - low;
                }
            }
            let what = format!("{} with {n} states", measure.name());
            close(&a, &system.a, 1e-13, &what);
            close(&(0..n).map(|i| real(&form.b, i)).collect::<Vec<_>>(), &system.b, 1e-13, &what);
            let expected = match measure {
                Measure::LegS | Measure::LegSD | Measure::FouD => -0.5,
                // The tilt of 0.01, half of it.
                Measure::GLagT => -0.005,
                _ => 0.0,
            };
            assert!(form.lambda.iter().all(|z| (z.re - expected).abs() <= 1e-13 && z.im <= 0.0), "{what}: {:?}", form.lambda);
            assert!(form.lambda.windows(2).all(|w| w[0].im <= w[1].im), "{what}");
            // V*·V = 1, and V^T·V = 0: the conjugates are the other half of the basis.
            for k in 0..half {
                for l in 0..half {
                    let (mut inner, mut plain) = (Complex::ZERO, Complex::ZERO);
                    for i in 0..n {
                        inner += form.v[i * half + k].conj() * form.v[i * half + l];
                        plain += form.v[i * half + k] * form.v[i * half + l];
                    }
                    let one = if k == l { 1.0 } else { 0.0 };
                    assert!((inner - Complex::real(one)).abs() < 1e-12 && plain.abs() < 1e-12, "{what}: {k} {l}");
                }
            }
        }
    }
    assert_eq!(nplr(Measure::FouT, 16).expect("a form").lambda[7].im, 0.0);
    assert!(nplr(Measure::Lmu, 4).is_err() && nplr(Measure::LegS, 5).is_err() && Diagonal::Lin.system(3).is_err());
}

/// P_0..P_{n−1} at x.
fn legendre(n: usize, x: f64) -> Vec<f64> {
    let mut p = vec![1.0, x];
    for k in 1..n {
        let k_ = k as f64;
        p.push(((2.0 * k_ + 1.0) * x * p[k] - k_ * p[k - 1]) / (k_ + 1.0));
    }
    p.truncate(n);
    p
}

/// e^{tA}·B.
fn response(measure: Measure, n: usize, t: f64) -> Vec<f64> {
    let system = measure.system(n);
    let e = exponential(&system.a.iter().map(|a| t * a).collect::<Vec<_>>(), n);
    multiply(&e, &system.b, (n, n, 1))
}

#[test]
fn responses_are_orthogonal_functions() {
    for t in [0.0, 0.05, 0.5, 1.0, 3.0] {
        let x = f64::exp(-t);
        let exact: Vec<f64> =
            legendre(8, 2.0 * x - 1.0).iter().enumerate().map(|(n, p)| x * ((2 * n + 1) as f64).sqrt() * p).collect();
        close(&response(Measure::LegS, 8, t), &exact, 1e-13, "LegS");
        // L_{k+1} = ((2k + 1 − t)·L_k − k·L_{k−1})/(k + 1).
        let mut laguerre = vec![1.0, 1.0 - t];
        for k in 1..7 {
            let k_ = k as f64;
            laguerre.push(((2.0 * k_ + 1.0 - t) * laguerre[k] - k_ * laguerre[k - 1]) / (k_ + 1.0));
        }
        let exact: Vec<f64> = laguerre.iter().map(|l| (-t / 2.0).exp() * l).collect();
        close(&response(Measure::LagT, 8, t), &exact, 1e-13, "LagT");
        let tilted: Vec<f64> = exact.iter().map(|x| 0.1 * (-0.005 * t).exp() * x).collect();
        close(&response(Measure::GLagT, 8, t), &tilted, 1e-13, "GLagT");
        let wave = |i: usize| {
            let angle = std::f64::consts::TAU * (i / 2) as f64 * t;
            (-t / 2.0).exp()
                * if i < 2 { 1.0 - i as f64 } else { 2f64.sqrt() * if i.is_multiple_of(2) { angle.cos() } else { angle.sin() } }
        };
        close(&response(Measure::FouD, 8, t), &(0..8).map(wave).collect::<Vec<_>>(), 1e-13, "FouD");
        // Half the window, so time runs twice as fast.
        let faster: Vec<f64> = response(Measure::FouT, 8, 2.0 * t).iter().map(|x| 2.0 * x).collect();
        close(&response(Measure::Fou2, 8, t), &faster, 1e-13, "Fou2");
    }
    // Windows of length 2 are reached as the states become many: first numbers of 128 at some places.
    for t in [0.3, 1.1, 1.7] {
        let legt: Vec<f64> =
            legendre(4, 1.0 - t).iter().enumerate().map(|(n, p)| 0.5 * ((2 * n + 1) as f64).sqrt() * p).collect();
        let found = response(Measure::LegT, 128, t);
        let angle = std::f64::consts::PI * t;
        let half = std::f64::consts::FRAC_1_SQRT_2;
        let fout = [0.5, 0.0, half * angle.cos(), half * angle.sin(), half * (2.0 * angle).cos(), half * (2.0 * angle).sin()];
        for (a, b) in found.iter().zip(&legt).chain(response(Measure::FouT, 128, t).iter().zip(&fout)) {
            assert!((a - b).abs() < 0.05, "{t}: {a} {b}");
        }
    }
    assert!(response(Measure::LegT, 128, 2.3).iter().chain(&response(Measure::FouT, 128, 2.3)).take(6).all(|x| x.abs() < 0.02));
}

/// As the states become many, wᵀ·e^{tA}·w without the low rank is a comb of period 2, so that with a share c of w·wᵀ the first state answers
/// an impulse with (c/s)·(1 − z)/(1 + c − (1 − c)·z), z = e^{−2s} (B = c·w): c/(1 + c) in the window, (1 − c)/(1 + c) of that in the next
/// one. FouT has c = 1 and forgets, c = 1/2 has 1/3, then 1/9. 0.02: about one frequency of 128.
#[test]
fn the_decaying_window_returns_a_third() {
    for (t, exact) in [(0.7, 1.0 / 3.0), (1.3, 1.0 / 3.0), (2.7, 1.0 / 9.0), (3.3, 1.0 / 9.0)] {
        let first = response(Measure::FouDecay, 256, t)[0];
        assert!((first - exact).abs() < 0.02, "{t}: {first}, not {exact}");
    }
}

#[test]
fn the_scaled_polynomials_diagonal_form_is_their_normal_part() {
    let (whole, diagonal) = (nplr(Measure::LegS, 16).expect("a form"), nplr(Measure::LegSD, 16).expect("a form"));
    whole.lambda.iter().zip(&diagonal.lambda).for_each(|(a, b)| assert!((*a - *b).abs() < 1e-12 * a.abs(), "{a:?} {b:?}"));
    assert!(diagonal.p.iter().all(|p| p.abs() == 0.0));
}

#[test]
fn the_memory_unit_is_the_window_in_another_scale() {
    let n = 9;
    let (lmu, legt) = (Measure::Lmu.system(n), Measure::LegT.system(n));
    let scale = |i: usize| if i.is_multiple_of(2) { 1.0 } else { -1.0 } * ((2 * i + 1) as f64).sqrt();
    let a: Vec<f64> = (0..n * n).map(|i| 2.0 * scale(i / n) * legt.a[i] / scale(i % n)).collect();
    let b: Vec<f64> = (0..n).map(|i| 2.0 * scale(i) * legt.b[i]).collect();
    close(&lmu.a, &a, 1e-15, "A");
    close(&lmu.b, &b, 1e-15, "B");
}

#[test]
fn discretisation_follows_the_exact_system() {
    // Two half steps of the zero-order hold are one step; the trapezoidal rule comes near it with the square of the step.
    let system = Measure::LegT.system(7);
    let (a, b) = discretise(&system, Rule::Zoh, 0.2).expect("a system");
    let (half_a, half_b) = discretise(&system, Rule::Zoh, 0.1).expect("a system");
    close(&multiply(&half_a, &half_a, (7, 7, 7)), &a, 1e-14, "A");
    let twice: Vec<f64> = multiply(&half_a, &half_b, (7, 7, 1)).iter().zip(&half_b).map(|(x, y)| x + y).collect();
    close(&twice, &b, 1e-14, "B");
    let error = |step: f64| {
        let (exact, near) = (discretise(&system, Rule::Zoh, step), discretise(&system, Rule::Bilinear, step));
        let (exact, near) = (exact.expect("a system").0, near.expect("a system").0);
        exact.iter().zip(&near).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
    };
    let ratio = error(0.01) / error(0.005);
    assert!((7.5..8.5).contains(&ratio), "{ratio}");
}

#[test]
fn dense_helpers() {
    let a: Vec<f64> = numbers(1, 25);
    let x = numbers(2, 10);
    let b = multiply(&a, &x, (5, 5, 2));
    close(&solve(&a, &b, 5, 2).expect("a regular matrix"), &x, 1e-12, "solution");
    assert!(solve(&[1.0, 2.0, 2.0, 4.0], &[1.0, 1.0], 2, 1).is_none());
    let mut product = diagonal(5, 1.0);
    for exponent in 0..9 {
        close(&power(&a, 5, exponent), &product, 1e-13, "power");
        product = multiply(&product, &a, (5, 5, 5));
    }
    let turn = exponential(&[0.0, -30.0, 30.0, 0.0], 2);
    close(&turn, &[30f64.cos(), -30f64.sin(), 30f64.sin(), 30f64.cos()], 1e-13, "turn");
}
