//! The definitions: plain loops in f64. Beside each number stands the sum of the magnitudes of its terms, which errors scale with.

use super::super::mttkrp::reference::each_entry;
use crate::kernels::simd::Real;

/// X ×_mode M for M (rows, I_mode) in rows.
pub fn ttm<T: Real>(x: &[T], shape: &[usize], m: &[T], rows: usize, mode: usize) -> Vec<(f64, f64)> {
    let mut to_shape = shape.to_vec();
    to_shape[mode] = rows;
    let mut out = vec![(0.0, 0.0); to_shape.iter().product()];
    each_entry(shape, |place, index| {
        for j in 0..rows {
            let mut to = index.to_vec();
            to[mode] = j;
            let at = to.iter().zip(&to_shape).fold(0, |at, (&i, &size)| at * size + i);
            let term = x[place].to_f64() * m[j * shape[mode] + index[mode]].to_f64();
            out[at] = (out[at].0 + term, out[at].1 + term.abs());
        }
    });
    out
}

/// X_(mode) Y_(mode)ᵀ.
pub fn mode_gram<T: Real>(x: &[T], y: &[T], shape: &[usize], mode: usize) -> Vec<(f64, f64)> {
    let size = shape[mode];
    let step: usize = shape[mode + 1..].iter().product();
    let mut out = vec![(0.0, 0.0); size * size];
    each_entry(shape, |place, index| {
        for j in 0..size {
            let other = place - index[mode] * step + j * step;
            let term = x[place].to_f64() * y[other].to_f64();
            let to = &mut out[index[mode] * size + j];
            *to = (to.0 + term, to.1 + term.abs());
        }
    });
    out
}

/// Gradients of a loss whose derivative by `Y = X ×_mode M` is `dy`: of X and of M.
pub fn ttm_backward<T: Real>(x: &[T], shape: &[usize], m: &[T], rows: usize, mode: usize, dy: &[T]) -> [Vec<(f64, f64)>; 2] {
    let mut to_shape = shape.to_vec();
    to_shape[mode] = rows;
    let (mut dx, mut dm) = (vec![(0.0, 0.0); x.len()], vec![(0.0, 0.0); m.len()]);
    each_entry(shape, |place, index| {
        for j in 0..rows {
            let mut from = index.to_vec();
            from[mode] = j;
            let at = from.iter().zip(&to_shape).fold(0, |at, (&i, &size)| at * size + i);
            let entry = j * shape[mode] + index[mode];
            for (to, by) in [(&mut dx[place], m[entry]), (&mut dm[entry], x[place])] {
                let term = dy[at].to_f64() * by.to_f64();
                *to = (to.0 + term, to.1 + term.abs());
            }
        }
    });
    [dx, dm]
}
