//! The definition: three convolutions with clamped indices, in plain `f64` loops.

use super::{DILATIONS, StateFusion};

/// Gives `visit` the kernel and its place, the channel, and the places in h and in the result, of every product.
fn each(fusion: &StateFusion<'_, f64>, mut visit: impl FnMut(usize, usize, usize, [usize; 2])) {
    let (height, width, d) = (fusion.grid.height as isize, fusion.grid.width as isize, fusion.channels);
    for (k, dilation) in DILATIONS.into_iter().enumerate() {
        for cell in 0..(fusion.batch * fusion.grid.cells()) as isize {
            let (map, y, x) = (cell / width / height, cell / width % height, cell % width);
            for place in 0..9 {
                let (down, right) = (dilation as isize * (place / 3 - 1), dilation as isize * (place % 3 - 1));
                let (y, x) = ((y + down).clamp(0, height - 1), (x + right).clamp(0, width - 1));
                for c in 0..d {
                    visit(k, place as usize, c, [((map * height + y) * width + x) as usize * d + c, cell as usize * d + c]);
                }
            }
        }
    }
}

/// The fused states.
pub fn forward(fusion: &StateFusion<'_, f64>, h: &[f64]) -> Vec<f64> {
    let mut out = vec![0.0; h.len()];
    each(fusion, |k, place, c, [from, to]| out[to] += fusion.alpha[k] * fusion.kernels[k][c * 9 + place] * h[from]);
    out
}

/// The gradients of h, of the kernels and of α.
pub fn backward(fusion: &StateFusion<'_, f64>, h: &[f64], dout: &[f64]) -> (Vec<f64>, [Vec<f64>; 3], [f64; 3]) {
    let (mut dh, mut dalpha) = (vec![0.0; h.len()], [0.0; 3]);
    let mut dkernels: [Vec<f64>; 3] = std::array::from_fn(|_| vec![0.0; 9 * fusion.channels]);
    each(fusion, |k, place, c, [from, to]| {
        let weight = fusion.kernels[k][c * 9 + place];
        dh[from] += fusion.alpha[k] * weight * dout[to];
        dkernels[k][c * 9 + place] += fusion.alpha[k] * h[from] * dout[to];
        dalpha[k] += weight * h[from] * dout[to];
    });
    (dh, dkernels, dalpha)
}
