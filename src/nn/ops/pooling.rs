//! Sequences to one vector each: over all steps, or over those that count.

use crate::by_float;
use crate::nn::storage::{numbers, output, tensor};
use crate::nn::tape::{Value, record};
use candle_core::{Result, Tensor, bail};

/// Σ_t weights\[b, t\] · x\[b, t, :\]: (batch, steps, width) to (batch, width). The weights are constant.
pub fn weighted_mean(x: &Value, weights: &Tensor) -> Result<Value> {
    let (batch, steps, width) = x.tensor().dims3()?;
    if weights.dims() != [batch, steps] {
        bail!("weighted_mean: weights {:?} for x {:?}", weights.dims(), x.dims());
    }
    let (xs, weights) = (x.tensor().contiguous()?, weights.to_dtype(x.tensor().dtype())?.contiguous()?);
    by_float!("weighted_mean", xs, T => {
        let mut y = vec![<T as crate::kernels::simd::Real>::ZERO; batch * width];
        {
            let (from, w) = (numbers::<T>("weighted_mean", &xs)?, numbers::<T>("weighted_mean", &weights)?);
            for (i, (rows, w)) in from.chunks_exact((steps * width).max(1)).zip(w.chunks_exact(steps.max(1))).enumerate() {
                let to = &mut y[i * width..(i + 1) * width];
                for (row, w) in rows.chunks_exact(width.max(1)).zip(w) {
                    to.iter_mut().zip(row).for_each(|(a, b)| *a += *w * *b);
                }
            }
        }
        Ok(record(&[x], tensor(y, &[batch, width])?, |_| {
            move |g: Tensor| {
                let g = g.contiguous()?;
                let mut dx = output::<T>(batch * steps * width);
                {
                    let (g, w) = (numbers::<T>("weighted_mean", &g)?, numbers::<T>("weighted_mean", &weights)?);
                    for (r, to) in dx.chunks_exact_mut(width.max(1)).enumerate() {
                        let g = &g[r / steps * width..][..width];
                        to.iter_mut().zip(g).for_each(|(a, b)| *a = w[r] * *b);
                    }
                }
                Ok(vec![Some(tensor(dx, &[batch, steps, width])?)])
            }
        }))
    })
}

/// The largest of each column over a sequence's first `lengths[b]` steps: (batch, steps, width) to (batch, width). The gradient goes to the
/// first step that has the largest value.
pub fn max_over_steps(x: &Value, lengths: &[usize]) -> Result<Value> {
    let (batch, steps, width) = x.tensor().dims3()?;
    if lengths.len() != batch || lengths.iter().any(|&l| l == 0 || l > steps) {
        bail!("max_over_steps: lengths {lengths:?} for x {:?}, expected {batch} of 1 to {steps}", x.dims());
    }
    let xs = x.tensor().contiguous()?;
    by_float!("max_over_steps", xs, T => {
        let mut y = output::<T>(batch * width);
        let mut at = vec![0usize; batch * width];
        {
            let from = numbers::<T>("max_over_steps", &xs)?;
            for (i, &length) in lengths.iter().enumerate() {
                let rows = &from[i * steps * width..][..length * width];
                let (to, at) = (&mut y[i * width..][..width], &mut at[i * width..][..width]);
                to.copy_from_slice(&rows[..width]);
                for (t, row) in rows.chunks_exact(width.max(1)).enumerate().skip(1) {
                    for ((best, at), v) in to.iter_mut().zip(at.iter_mut()).zip(row) {
                        if *v > *best {
                            (*best, *at) = (*v, t);
                        }
                    }
                }
            }
        }
        Ok(record(&[x], tensor(y, &[batch, width])?, |_| {
            move |g: Tensor| {
                let g = g.contiguous()?;
                let mut dx = vec![<T as crate::kernels::simd::Real>::ZERO; batch * steps * width];
                for (k, (g, t)) in numbers::<T>("max_over_steps", &g)?.iter().zip(&at).enumerate() {
                    dx[(k / width * steps + t) * width + k % width] = *g;
                }
                Ok(vec![Some(tensor(dx, &[batch, steps, width])?)])
            }
        }))
    })
}
