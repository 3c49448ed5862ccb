//! Sines, roots of unity, and steps of modes, against the standard library and series.

use crate::kernels::scan::lti::complex::{Complex, Pair};
use crate::kernels::scan::lti::modes::{Rule, discretise, root_of_unity, sin_cos};
use crate::kernels::simd::{Kernel, Lanes, available, dispatch, with_isa};

struct SinCos<'a>(&'a [f64]);

impl Kernel<f64> for SinCos<'_> {
    type Output = Vec<(f64, f64)>;
    #[inline(always)]
    fn run<V: Lanes<f64>>(self) -> Self::Output {
        let mut to = Vec::new();
        for x in self.0.chunks(V::N) {
            let (s, c) = sin_cos(V::load_partial(x));
            let (mut sin, mut cos) = ([0.0; 8], [0.0; 8]);
            s.store(&mut sin);
            c.store(&mut cos);
            for i in 0..x.len() {
                to.push((sin[i], cos[i]));
            }
        }
        to
    }
}

#[test]
fn sines_are_those_of_the_standard_library() {
    let x: Vec<f64> =
        (-20000..20000).map(|i| i as f64 * 0.0137).chain([0.0, 1e-300, 1e4, -1e5, 9.9e5, std::f64::consts::FRAC_PI_2]).collect();
    for isa in available() {
        for (x, (s, c)) in x.iter().zip(with_isa(isa, || dispatch(SinCos(&x)))) {
            // Twice the rounding of a number near 1.
            assert!((s - x.sin()).abs() <= 2.5e-16 && (c - x.cos()).abs() <= 2.5e-16, "{x}: {s} {c}");
        }
    }
}

#[test]
fn roots_of_unity_are_exact_at_eighths() {
    for d in [1, 2, 3, 4, 5, 7, 8, 12, 16, 1000] {
        for n in 0..2 * d {
            let (c, s) = root_of_unity(n, d);
            let angle = std::f64::consts::TAU * (n % d) as f64 / d as f64;
            assert!((c - angle.cos()).abs() <= 2e-15 && (s - angle.sin()).abs() <= 2e-15, "{n}/{d}: {c} {s}");
            assert!((c * c + s * s - 1.0).abs() <= 4e-16);
        }
    }
    assert_eq!([(1.0, 0.0), (0.0, 1.0), (-1.0, 0.0)], [root_of_unity(0, 8), root_of_unity(2, 8), root_of_unity(4, 8)]);
}

struct Modes<'a>(Rule, &'a [Complex]);

impl Kernel<f64> for Modes<'_> {
    type Output = Vec<[Complex; 4]>;
    #[inline(always)]
    fn run<V: Lanes<f64>>(self) -> Self::Output {
        let mut to = Vec::new();
        for z in self.1 {
            let m = discretise(self.0, Pair::new(V::splat(z.re), V::splat(z.im)));
            let mut values = [Complex::ZERO; 4];
            for (to, pair) in values.iter_mut().zip([m.a, m.gain, m.da, m.dgain]) {
                let (mut re, mut im) = ([0.0; 8], [0.0; 8]);
                pair.re.store(&mut re);
                pair.im.store(&mut im);
                *to = Complex::new(re[0], im[0]);
            }
            to.push(values);
        }
        to
    }
}

/// Σ_k c_k·z^k with c_k = 1/(k + 1)! for the gain, (k + 1)/(k + 2)! for its derivative; 60 terms.
fn series(z: Complex, derivative: bool) -> Complex {
    let (mut sum, mut power, mut factorial) = (Complex::ZERO, Complex::ONE, 1.0);
    for k in 0..60 {
        factorial *= (k + 1) as f64;
        let factor = if derivative { (k + 1) as f64 / (factorial * (k + 2) as f64) } else { 1.0 / factorial };
        sum += power.scale(factor);
        power = power * z;
    }
    sum
}

#[test]
fn steps_of_modes_are_exact_near_0_and_far_from_it() {
    let mut z = vec![Complex::ZERO, Complex::real(-1e-200), Complex::new(-1e-40, 1e-35), Complex::new(-30.0, 400.0)];
    for size in [1e-12, 1e-6, 1e-3, 0.1, 0.3, 0.49, 0.51, 1.0, 3.0] {
        for angle in [0.0, 0.4, 1.0, 1.57] {
            z.push(Complex::new(-size * f64::cos(angle), size * f64::sin(angle)));
        }
    }
    for (z, [a, gain, da, dgain]) in z.iter().zip(dispatch(Modes(Rule::Zoh, &z))) {
        let near = |found: Complex, exact: Complex, bound: f64| {
            assert!((found - exact).abs() <= bound * exact.abs(), "{z:?}: {found:?}, not {exact:?}");
        };
        near(a, z.exp(), 1e-15);
        assert_eq!(a, da);
        if z.abs() < 5.0 {
            near(gain, series(*z, false), 2e-15);
            // Just above 1/2 two numbers of size 1 leave a quarter.
            near(dgain, series(*z, true), 1e-14);
        } else {
            near(gain, z.exp_m1() / *z, 1e-15);
        }
    }
    for (z, [a, gain, da, dgain]) in z.iter().zip(dispatch(Modes(Rule::Bilinear, &z))) {
        let inverse = Complex::ONE / (Complex::ONE - z.scale(0.5));
        for (found, exact) in [
            (a, (Complex::ONE + z.scale(0.5)) * inverse),
            (gain, inverse),
            (da, inverse * inverse),
            (dgain, (inverse * inverse).scale(0.5)),
        ] {
            assert!((found - exact).abs() <= 2e-15 * exact.abs().max(1e-2), "{z:?}: {found:?}, not {exact:?}");
        }
    }
}
