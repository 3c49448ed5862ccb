//! The definition: two loops over time in `f64`.

use super::LongConv;

/// y.
pub fn forward(conv: &LongConv<'_, f64>, u: &[f64]) -> Vec<f64> {
    let (h, mut y) = (conv.channels, vec![0.0; u.len()]);
    for rows in conv.sequences.iter() {
        for t in 0..rows.len() {
            for l in 0..conv.taps.min(t + 1) {
                for c in 0..h {
                    y[(rows.start + t) * h + c] += conv.kernel[c * conv.taps + l] * u[(rows.start + t - l) * h + c];
                }
            }
        }
    }
    y
}

/// The gradients of u and of the kernel.
pub fn backward(conv: &LongConv<'_, f64>, u: &[f64], dy: &[f64]) -> (Vec<f64>, Vec<f64>) {
    let h = conv.channels;
    let (mut du, mut dk) = (vec![0.0; u.len()], vec![0.0; conv.kernel.len()]);
    for rows in conv.sequences.iter() {
        for t in 0..rows.len() {
            for l in 0..conv.taps.min(t + 1) {
                for c in 0..h {
                    let (to, from) = ((rows.start + t) * h + c, (rows.start + t - l) * h + c);
                    du[from] += conv.kernel[c * conv.taps + l] * dy[to];
                    dk[c * conv.taps + l] += dy[to] * u[from];
                }
            }
        }
    }
    (du, dk)
}
