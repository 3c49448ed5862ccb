//! The transform of one row in f64, by its definition.

use super::{Wavelet, reflected};

/// Low and high half of a row.
pub fn forward(wavelet: Wavelet, x: &[f64]) -> [Vec<f64>; 2] {
    let (taps, half) = (wavelet.low(), wavelet.half(x.len()));
    let at = |k: usize, j: usize| x[reflected((2 * k + 1) as isize - j as isize, x.len())];
    let with = |tap: &dyn Fn(usize) -> f64| (0..half).map(|k| (0..taps.len()).map(|j| tap(j) * at(k, j)).sum()).collect();
    [with(&|j| taps[j]), with(&|j| wavelet.high(j))]
}

/// The row that these are the halves of.
pub fn inverse(wavelet: Wavelet, low: &[f64], high: &[f64]) -> Vec<f64> {
    let count = wavelet.low().len();
    let sum = |i: usize| {
        let mut sum = 0.0;
        for k in 0..low.len() {
            // The filters turned round, centred on the row.
            let Some(j) = (i + count - 2).checked_sub(2 * k).filter(|j| *j < count) else { continue };
            sum += wavelet.low()[count - 1 - j] * low[k] + wavelet.high(count - 1 - j) * high[k];
        }
        sum
    };
    (0..wavelet.whole(low.len())).map(sum).collect()
}
