//! Mean distance of the spectra of two series.
//!
//! For rows of length n and e = prediction − target, with E_k = Σ_t e_t exp(−2πi·k·t/n) and K = ⌊n/2⌋ + 1: the mean of |E_k| over rows
//! and k < K. The gradient of e_t is Σ_k Re(Ē_k/|E_k| · exp(−2πi·k·t/n)) over the number of terms, 0 where E_k is.
//!
//! # Cost
//! Two products with an (n, 2K) matrix of cosines, 4·n·K operations a row each, and as many again for the gradient. The matrix is made for
//! each call from n sines and cosines: n·2K copies, less than the products from a few rows on.
//!
//! # Source
//! The amplitude term of KARMA's hybrid time-frequency loss (arXiv 2506.08939).

use crate::kernels::gemm::{MatMut, MatRef, matmul, with_scratch};
use crate::kernels::simd::Real;

/// (n, 2K): cosines in the first K columns, minus sines in the others.
fn basis<T: Real>(n: usize) -> Vec<T> {
    let bins = n / 2 + 1;
    let table: Vec<(T, T)> = (0..n)
        .map(|i| {
            let angle = std::f64::consts::TAU * i as f64 / n as f64;
            (T::from_f64(angle.cos()), T::from_f64(-angle.sin()))
        })
        .collect();
    let mut matrix = Vec::with_capacity(n * 2 * bins);
    for t in 0..n {
        matrix.extend((0..bins).map(|k| table[t * k % n].0));
        matrix.extend((0..bins).map(|k| table[t * k % n].1));
    }
    matrix
}

/// The mean distance, and `upstream` times its gradient. Rows of `n` numbers; equal lengths.
pub fn frequency<T: Real>(n: usize, prediction: &[T], target: &[T], upstream: f64, gradient: Option<&mut [T]>) -> f64 {
    assert!(n > 0 && prediction.len().is_multiple_of(n), "frequency: {} numbers do not make rows of {n}", prediction.len());
    assert_eq!(prediction.len(), target.len(), "frequency: one target per prediction");
    assert!(gradient.as_ref().is_none_or(|g| g.len() == prediction.len()), "frequency: one gradient per prediction");
    let (rows, bins) = (prediction.len() / n, n / 2 + 1);
    if rows == 0 {
        return 0.0;
    }
    let matrix = basis::<T>(n);
    let matrix = MatRef::new(&matrix, n, 2 * bins);
    let terms = (rows * bins) as f64;
    let mut error: Vec<T> = prediction.iter().zip(target).map(|(a, b)| *a - *b).collect();
    with_scratch(rows * 2 * bins, |spectrum| {
        matmul(MatRef::new(&error, rows, n), matrix, MatMut::new(spectrum, rows, 2 * bins), false);
        let factor = upstream / terms;
        let mut sum = 0.0;
        for row in spectrum.chunks_exact_mut(2 * bins) {
            let (real, imaginary) = row.split_at_mut(bins);
            for (re, im) in real.iter_mut().zip(imaginary) {
                let size = re.to_f64().hypot(im.to_f64());
                sum += size;
                let scale = T::from_f64(if size > 0.0 { factor / size } else { 0.0 });
                *re = *re * scale;
                *im = *im * scale;
            }
        }
        if let Some(gradient) = gradient {
            matmul(MatRef::new(spectrum, rows, 2 * bins), matrix.t(), MatMut::new(&mut error, rows, n), false);
            gradient.copy_from_slice(&error);
        }
        sum / terms
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::testing::{differences, numbers};

    /// The worked numbers of the hybrid loss: y = sin(t/2 + n), ŷ = 0.8 cos(0.4 t + n), eight steps, two series.
    #[test]
    fn worked_numbers() {
        let of = |f: &dyn Fn(f64, f64) -> f64| -> Vec<f64> { (0..16).map(|i| f((i % 8) as f64, (i / 8) as f64)).collect() };
        let (y, guess) = (of(&|t, n| (0.5 * t + n).sin()), of(&|t, n| 0.8 * (0.4 * t + n).cos()));
        let value = frequency(8, &guess, &y, 1.0, None);
        assert!((value - 1.650_507_467_0).abs() < 1e-10, "{value}");
        let mse = guess.iter().zip(&y).map(|(a, b)| (a - b).powi(2)).sum::<f64>() / 16.0;
        assert!((0.2 * mse + 0.8 * value - 1.419_936_059_9).abs() < 1e-10);
    }

    #[test]
    fn gradients_are_central_differences_and_equal_series_have_none() {
        for n in [1, 2, 7, 12] {
            let (x, y) = (numbers(1, 3 * n), numbers(2, 3 * n));
            let mut g = vec![f64::NAN; 3 * n];
            frequency(n, &x, &y, 2.5, Some(&mut g));
            differences(&x, &g, 1, 1e-7, "prediction", |x| 2.5 * frequency(n, x, &y, 1.0, None));
            let mut g = vec![f32::NAN; 3 * n];
            let same: Vec<f32> = x.iter().map(|v| *v as f32).collect();
            assert_eq!(frequency(n, &same, &same, 1.0, Some(&mut g)), 0.0);
            assert!(g.iter().all(|g| *g == 0.0));
        }
        assert_eq!(frequency::<f64>(4, &[], &[], 1.0, None), 0.0);
    }
}
