//! Against the definition, PyWavelets' numbers, perfect reconstruction, and gradients.

use super::*;
use crate::kernels::simd::{available, with_isa};
use crate::kernels::testing::{bits, cast, close, differences, in_pool, numbers, wide};

const BOTH: [Wavelet; 2] = [Wavelet::Haar, Wavelet::Db4];

fn halves<T: Real>(wavelet: Wavelet, len: usize, x: &[T]) -> [Vec<T>; 2] {
    let size = x.len() / len * wavelet.half(len);
    let mut to = [vec![T::from_f64(f64::NAN); size], vec![T::from_f64(f64::NAN); size]];
    let [low, high] = &mut to;
    wavelet.forward(len, x, low, high);
    to
}

#[test]
fn numbers_of_pywavelets() {
    let x: Vec<f64> = (1..=8).map(f64::from).collect();
    let [low, high] = halves(Wavelet::Db4, 8, &x);
    close(&low, &[7.06453146, 4.23073611, 1.41360717, 2.83605428, 5.6633906, 8.49718595, 11.3143149], 1e-8, "low");
    let expected = [0.0237131306, 0.0409620864, -0.0646752170, 0.0, -0.0237131306, -0.0409620864, 0.0646752170];
    high.iter().zip(expected).for_each(|(a, b)| assert!((a - b).abs() < 1e-9, "{a} {b}"));
    let [low, high] = halves(Wavelet::Haar, 8, &x);
    close(&low, &[3.0, 7.0, 11.0, 15.0].map(|v| v * std::f64::consts::FRAC_1_SQRT_2), 1e-15, "haar low");
    close(&high, &[-std::f64::consts::FRAC_1_SQRT_2; 4], 1e-15, "haar high");
}

#[test]
fn rows_are_those_of_the_definition_and_come_back() {
    for wavelet in BOTH {
        for len in [1, 2, 3, 7, 8, 33, 256] {
            let rows = 5;
            let x = numbers(len as u64, rows * len);
            let found = halves(wavelet, len, &x);
            for (i, row) in x.chunks(len).enumerate() {
                let half = wavelet.half(len);
                for (found, exact) in found.iter().zip(reference::forward(wavelet, row)) {
                    found[i * half..(i + 1) * half].iter().zip(&exact).for_each(|(a, b)| assert!((a - b).abs() < 1e-14));
                }
            }
            let half = wavelet.half(len);
            let whole = wavelet.whole(half);
            let mut y = vec![f64::NAN; rows * whole];
            wavelet.inverse(half, &found[0], &found[1], &mut y);
            for (i, row) in x.chunks(len).enumerate() {
                let y = &y[i * whole..(i + 1) * whole];
                let part = |x: &Vec<f64>| x[i * half..(i + 1) * half].to_vec();
                let exact = reference::inverse(wavelet, &part(&found[0]), &part(&found[1]));
                y.iter().zip(&exact).for_each(|(a, b)| assert!((a - b).abs() < 1e-14));
                // The published taps have 17 digits.
                row.iter().zip(y).for_each(|(a, b)| assert!((a - b).abs() < 1e-11, "{wavelet:?} {len}: {a} {b}"));
            }
            let single = halves(wavelet, len, &cast::<f32>(&x));
            close(&wide(&single[0]), &found[0], 1e-6, "f32");
        }
    }
}

#[test]
fn gradients_are_central_differences() {
    for wavelet in BOTH {
        for len in [1, 2, 5, 12] {
            let (rows, half) = (2, wavelet.half(len));
            let (x, g) = (numbers(1, rows * len), numbers(2, 2 * rows * half));
            let (glow, ghigh) = g.split_at(rows * half);
            let mut dx = vec![f64::NAN; x.len()];
            wavelet.backward(len, glow, ghigh, &mut dx);
            let dot = |a: &[f64], b: &[f64]| -> f64 { a.iter().zip(b).map(|(a, b)| a * b).sum() };
            differences(&x, &dx, 1, 1e-8, "rows", |x| {
                let [low, high] = halves(wavelet, len, x);
                dot(&low, glow) + dot(&high, ghigh)
            });
            let whole = wavelet.whole(half);
            let gy = numbers(3, rows * whole);
            let (mut dlow, mut dhigh) = (vec![f64::NAN; rows * half], vec![f64::NAN; rows * half]);
            wavelet.inverse_backward(half, &gy, &mut dlow, &mut dhigh);
            let inverse = |low: &[f64], high: &[f64]| {
                let mut y = vec![0.0; rows * whole];
                wavelet.inverse(half, low, high, &mut y);
                dot(&y, &gy)
            };
            differences(glow, &dlow, 1, 1e-8, "low", |low| inverse(low, ghigh));
            differences(ghigh, &dhigh, 1, 1e-8, "high", |high| inverse(glow, high));
        }
    }
}

#[test]
fn instruction_sets_and_threads_give_the_same_bits() {
    let (rows, len) = (400, 130);
    let x = cast::<f32>(&numbers(1, rows * len));
    let run = || halves(Wavelet::Db4, len, &x).map(|v| bits(&v));
    let first = run();
    for isa in available() {
        assert_eq!(with_isa(isa, run), first, "{isa:?}");
    }
    for threads in [1, 2, 8] {
        assert_eq!(in_pool(threads, run), first);
    }
}
