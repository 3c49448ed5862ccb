//! Errors against twice the precision, limits, identities, and the same bits on every instruction set.

use super::oracle::{self, Double};
use super::*;
use crate::kernels::simd::{available, with_isa};

const SAMPLES: usize = 1000;

/// A small generator (SplitMix64), so that the samples never change.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 * 2f64.powi(-53)
    }
    /// Numbers of `T` in the range: evenly spread, or evenly in the exponent down to 2^-40.
    fn samples<T: Real>(&mut self, (low, high): (f64, f64)) -> Vec<T> {
        let mut x = Vec::new();
        while x.len() < SAMPLES {
            let even = low + (high - low) * self.unit();
            let end = if self.next().is_multiple_of(2) { low } else { high };
            let spread = end * (-40.0 * self.unit()).exp2();
            x.extend([even, spread].into_iter().map(T::from_f64).filter(|x| (low..=high).contains(&x.to_f64())));
        }
        x
    }
}

/// The size of a unit in the last place of a number of this size.
trait Ulp: Real {
    fn ulp(y: f64) -> f64;
}
impl Ulp for f32 {
    fn ulp(y: f64) -> f64 {
        2f64.powi(((y.abs().to_bits() >> 52) as i32 - 1023).max(-126) - 23)
    }
}
impl Ulp for f64 {
    fn ulp(y: f64) -> f64 {
        2f64.powi(((y.abs().to_bits() >> 52) as i32 - 1023).max(-1022) - 52)
    }
}

/// Checks one function on a range; where the result passes through 0, `floor` is the size that errors are measured against.
#[track_caller]
fn check<T: Ulp>(name: &str, f: impl Fn(&mut [T]), exact: fn(Double) -> Double, range: (f64, f64), floor: f64, bound: f64) {
    let x = Random(11).samples::<T>(range);
    let mut y = x.clone();
    f(&mut y);
    let mut worst = (0.0, 0.0);
    for (x, y) in x.iter().zip(&y) {
        let want = exact(x.to_f64().into());
        let error = (Double::from(y.to_f64()) - want).high.abs() / T::ulp(want.high.abs().max(floor));
        assert!(error <= bound, "{name}({x}) = {y}, not {want:?}: {error} ulp, bound {bound}");
        if error > worst.0 {
            worst = (error, x.to_f64());
        }
    }
    println!("{name} {range:?}: {:.3} ulp of {bound} at {}", worst.0, worst.1);
}

/// One output of a function with two.
fn first<T: Real>(f: fn(&[T], &mut [T], &mut [T])) -> impl Fn(&mut [T]) {
    move |x| {
        let input = x.to_vec();
        f(&input, x, &mut vec![T::ZERO; input.len()]);
    }
}
fn second<T: Real>(f: fn(&[T], &mut [T], &mut [T])) -> impl Fn(&mut [T]) {
    move |x| {
        let input = x.to_vec();
        f(&input, &mut vec![T::ZERO; input.len()], x);
    }
}

/// The bounds are the worst error seen in the sweep over all `f32` (see the table of the module), or in a million samples for
/// `f64`, and a margin of a few percent. Results of `f64` stay above 1e-270, where the oracle has its full precision.
fn accuracy<T: Ulp>(single: bool) {
    let pick = |f32_value: f64, f64_value: f64| if single { f32_value } else { f64_value };
    let tail = pick(-104.0, -620.0);
    check::<T>("exp", exp_in_place, oracle::exp, (tail, pick(88.7, 700.0)), 0.0, pick(1.1, 1.1));
    check::<T>("log", log_in_place, oracle::log, (pick(1.2e-38, 1e-300), pick(3e38, 1e300)), 0.0, pick(1.0, 1.0));
    check::<T>("log", log_in_place, oracle::log, (0.3, 3.0), 0.0, pick(1.0, 1.0));
    check::<T>("erf", erf_in_place, oracle::erf, (-6.5, 6.5), 0.0, pick(1.3, 1.3));
    check::<T>("erf", erf_in_place, oracle::erf, (-1.5, 1.5), 0.0, pick(1.3, 1.3));
    check::<T>("erfc", erfc_in_place, oracle::erfc, (-6.0, pick(10.0, 24.0)), 0.0, pick(6.0, 8.0));
    check::<T>("tanh", tanh_in_place, oracle::tanh, (-22.0, 22.0), 0.0, pick(2.8, 2.8));
    check::<T>("tanh", tanh_in_place, oracle::tanh, (-1.0, 1.0), 0.0, pick(2.8, 2.8));
    check::<T>("sigmoid", sigmoid_in_place, oracle::sigmoid, (tail, 40.0), 0.0, pick(2.5, 2.5));
    check::<T>("sigmoid", sigmoid_in_place, oracle::sigmoid, (-10.0, 5.0), 0.0, pick(2.5, 2.5));
    let low = pick(-14.6, -35.0);
    for range in [(low, 12.0), (-3.0, 3.0)] {
        check::<T>("gelu", gelu_in_place, oracle::gelu, range, 0.0, pick(5.5, 8.0));
        check::<T>("gelu", first(gelu_and_derivative_of), oracle::gelu, range, 0.0, pick(5.5, 8.0));
    }
    check::<T>("gelu'", second(gelu_and_derivative_of), oracle::gelu_slope, (low, -1.2), 0.0, pick(5.5, 8.0));
    check::<T>("gelu'", second(gelu_and_derivative_of), oracle::gelu_slope, (-1.2, 12.0), 0.25, pick(5.5, 8.0));
    for range in [(tail, 30.0), (-8.0, 4.0)] {
        check::<T>("silu", silu_in_place, oracle::silu, range, 0.0, pick(3.5, 3.5));
        check::<T>("silu", first(silu_and_derivative_of), oracle::silu, range, 0.0, pick(3.5, 3.5));
    }
    check::<T>("silu'", second(silu_and_derivative_of), oracle::silu_slope, (tail, -2.0), 0.0, pick(4.0, 4.0));
    check::<T>("silu'", second(silu_and_derivative_of), oracle::silu_slope, (-2.0, 30.0), 0.25, pick(4.0, 4.0));
    for range in [(tail, 30.0), (-8.0, 4.0)] {
        check::<T>("softplus", softplus_in_place, oracle::softplus, range, 0.0, pick(1.9, 1.9));
        check::<T>("softplus", first(softplus_and_derivative_of), oracle::softplus, range, 0.0, pick(1.9, 1.9));
        check::<T>("softplus'", second(softplus_and_derivative_of), oracle::sigmoid, range, 0.0, pick(2.5, 2.5));
    }
}

#[test]
fn errors_of_single_precision_stay_in_their_bounds() {
    accuracy::<f32>(true);
}

#[test]
fn errors_of_double_precision_stay_in_their_bounds() {
    accuracy::<f64>(false);
}

#[test]
fn exp_rounds_once_where_the_result_is_subnormal() {
    // Compared 2^300 times larger, where the oracle and the unit are normal numbers.
    for x in Random(5).samples::<f64>((-745.0, -708.0)) {
        let mut y = [x];
        exp_in_place(&mut y);
        let (m, n) = oracle::exp_parts(x.into());
        let error = (y[0] * 2f64.powi(300) - m.high * 2f64.powi(n / 2 + 300) * 2f64.powi(n - n / 2)) * 2f64.powi(774);
        assert!(error.abs() <= 1.0, "exp({x}) = {}: {error} units", y[0]);
    }
}

fn one<T: Real>(f: fn(&mut [T]), x: f64) -> f64 {
    let mut y = [T::from_f64(x)];
    f(&mut y);
    y[0].to_f64()
}

fn both<T: Real>(f: fn(&[T], &mut [T], &mut [T]), x: f64) -> (f64, f64) {
    let (mut y, mut d) = ([T::ZERO], [T::ZERO]);
    f(&[T::from_f64(x)], &mut y, &mut d);
    (y[0].to_f64(), d[0].to_f64())
}

fn limits<T: Real>(huge: f64) {
    let inf = f64::INFINITY;
    let same = |got: f64, want: f64, what: &str| {
        assert!(got == want && (got == 0.0 || got.is_sign_negative() == want.is_sign_negative()), "{what}: {got}, not {want}");
    };
    let zero = |got: f64, negative: bool, what: &str| assert!(got == 0.0 && got.is_sign_negative() == negative, "{what}: {got}");
    for x in [inf, huge] {
        same(one::<T>(exp_in_place, x), inf, "exp");
        zero(one::<T>(exp_in_place, -x), false, "exp");
        same(one::<T>(erf_in_place, x), 1.0, "erf");
        same(one::<T>(erf_in_place, -x), -1.0, "erf");
        zero(one::<T>(erfc_in_place, x), false, "erfc");
        same(one::<T>(erfc_in_place, -x), 2.0, "erfc");
        same(one::<T>(tanh_in_place, x), 1.0, "tanh");
        same(one::<T>(tanh_in_place, -x), -1.0, "tanh");
        same(one::<T>(sigmoid_in_place, x), 1.0, "sigmoid");
        zero(one::<T>(sigmoid_in_place, -x), false, "sigmoid");
        same(one::<T>(softplus_in_place, x), x, "softplus");
        zero(one::<T>(softplus_in_place, -x), false, "softplus");
        assert!(one::<T>(log_in_place, -x).is_nan());
        for f in [gelu_and_derivative_of, silu_and_derivative_of, softplus_and_derivative_of] {
            assert_eq!(both::<T>(f, x), (x, 1.0));
            assert_eq!(both::<T>(f, -x), (0.0, 0.0));
        }
    }
    same(one::<T>(log_in_place, inf), inf, "log");
    for x in [0.0, -0.0] {
        same(one::<T>(exp_in_place, x), 1.0, "exp");
        same(one::<T>(log_in_place, x), -inf, "log");
        for f in [erf_in_place, tanh_in_place, gelu_in_place, silu_in_place] {
            zero(one::<T>(f, x), x.is_sign_negative(), "zeros keep their sign");
        }
        same(one::<T>(erfc_in_place, x), 1.0, "erfc");
        same(one::<T>(sigmoid_in_place, x), 0.5, "sigmoid");
        same(both::<T>(gelu_and_derivative_of, x).1, 0.5, "gelu'");
        same(both::<T>(silu_and_derivative_of, x).1, 0.5, "silu'");
    }
    zero(one::<T>(log_in_place, 1.0), false, "log");
    let all = [exp_in_place, log_in_place, erf_in_place, erfc_in_place, tanh_in_place, sigmoid_in_place];
    for f in all.into_iter().chain([gelu_in_place, silu_in_place, softplus_in_place]) {
        assert!(one::<T>(f, f64::NAN).is_nan(), "NaN must stay");
    }
    for f in [gelu_and_derivative_of, silu_and_derivative_of, softplus_and_derivative_of] {
        let (y, d) = both::<T>(f, f64::NAN);
        assert!(y.is_nan() && d.is_nan());
    }
}

#[test]
fn limits_and_special_values() {
    limits::<f32>(f32::MAX as f64);
    limits::<f64>(f64::MAX);
    // Logarithms of subnormal numbers.
    assert_eq!(one::<f32>(log_in_place, 2f64.powi(-149)) as f32, -149.0 * std::f32::consts::LN_2);
    assert_eq!(one::<f64>(log_in_place, 5e-324), -1074.0 * std::f64::consts::LN_2);
}

fn identities<T: Ulp>() {
    let x = Random(7).samples::<T>((-30.0, 30.0));
    // The terms of each sum are rounded by a few units of the largest.
    let close = |a: f64, b: f64, size: f64| assert!((a - b).abs() <= 4.0 * T::ulp(size), "{a} and {b}");
    for x in x.into_iter().map(T::to_f64) {
        for f in [erf_in_place, tanh_in_place] {
            let (up, down) = (one::<T>(f, x), one::<T>(f, -x));
            assert!(up == -down && up.abs() <= 1.0, "odd to the bit and never past 1: {up} {down}");
        }
        close(one::<T>(erf_in_place, x) + one::<T>(erfc_in_place, x), 1.0, 1.0);
        for f in [gelu_and_derivative_of, silu_and_derivative_of, softplus_and_derivative_of] {
            // f(x) − f(−x) = x, so the slopes at x and −x add to 1.
            let ((up, up_slope), (down, down_slope)) = (both::<T>(f, x), both::<T>(f, -x));
            close(up - down, x, x.abs().max(1.0));
            close(up_slope + down_slope, 1.0, 1.0);
        }
    }
}

#[test]
fn identities_between_the_functions() {
    identities::<f32>();
    identities::<f64>();
}

#[test]
fn slopes_are_the_derivatives() {
    for f in [gelu_and_derivative_of::<f64>, silu_and_derivative_of, softplus_and_derivative_of] {
        for x in Random(9).samples::<f64>((-8.0, 8.0)) {
            // Truncation h²/6 times a third derivative below 2, and rounding 1e-15·8/h at most.
            let h = 1e-5;
            let central = (both(f, x + h).0 - both(f, x - h).0) / (2.0 * h);
            let slope = both(f, x).1;
            assert!((central - slope).abs() <= 1e-9, "{x}: {slope}, not {central}");
        }
    }
}

/// Random bit patterns, which include every kind of special number, and numbers of middling size.
fn same_everywhere<T: Real>(from_bits: fn(u64) -> T, bits: fn(T) -> u64) {
    let mut random = Random(3);
    let wild: Vec<T> = (0..2000).map(|_| from_bits(random.next())).collect();
    let tame = random.samples::<T>((-120.0, 120.0));
    let x = [wild, tame].concat();
    // One pattern for all NaN.
    let clean = |y: Vec<T>| -> Vec<u64> { y.into_iter().map(|y| if y.to_f64().is_nan() { u64::MAX } else { bits(y) }).collect() };
    let all = || {
        let mut all: Vec<Vec<u64>> = Vec::new();
        let one_output = [exp_in_place, log_in_place, erf_in_place, erfc_in_place, tanh_in_place, sigmoid_in_place];
        for f in one_output.into_iter().chain([gelu_in_place, silu_in_place, softplus_in_place]) {
            let mut y = x.clone();
            f(&mut y);
            all.push(clean(y));
        }
        for f in [gelu_and_derivative_of, silu_and_derivative_of, softplus_and_derivative_of] {
            let (mut y, mut d) = (x.clone(), x.clone());
            f(&x, &mut y, &mut d);
            all.extend([clean(y), clean(d)]);
        }
        all
    };
    let scalar = with_isa(available()[0], all);
    for isa in available() {
        for (f, (got, want)) in with_isa(isa, all).iter().zip(&scalar).enumerate() {
            for (i, x) in x.iter().enumerate() {
                assert!(got[i] == want[i], "{isa:?}, function {f} at {x}: {:x}, not {:x}", got[i], want[i]);
            }
        }
    }
}

#[test]
fn every_instruction_set_gives_the_same_bits() {
    same_everywhere::<f32>(|b| f32::from_bits((b >> 32) as u32), |y| y.to_bits() as u64);
    same_everywhere::<f64>(f64::from_bits, f64::to_bits);
}

#[test]
fn slices_of_every_length_match_single_numbers() {
    for n in 0..50 {
        let x: Vec<f32> = (0..n).map(|i| i as f32 * 0.37 - 5.0).collect();
        let mut y = x.clone();
        gelu_in_place(&mut y);
        let (mut value, mut slope) = (x.clone(), x.clone());
        gelu_and_derivative_of(&x, &mut value, &mut slope);
        for i in 0..n {
            let (want, want_slope) = both::<f32>(gelu_and_derivative_of, x[i] as f64);
            assert_eq!((y[i], value[i], slope[i]), (want as f32, want as f32, want_slope as f32), "{i} of {n}");
        }
    }
}

#[test]
#[should_panic(expected = "as long as x")]
fn outputs_of_another_length_are_refused() {
    gelu_and_derivative_of(&[0.0f32; 3], &mut [0.0; 3], &mut [0.0; 2]);
}
