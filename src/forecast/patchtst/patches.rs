//! Windows cut into overlapping patches.

use crate::by_float;
use crate::nn::storage::{numbers, output, tensor};
use crate::nn::tape::{Value, record};
use candle_core::{Result, Tensor, bail};
use rayon::prelude::*;

/// Rows in a task.
const ROWS: usize = 64;

/// Cuts the last axis into `count` patches of `patch` steps every `stride` steps; steps past the end hold the last value.
///
/// Shapes: `x` (.., time) with `rows` numbers of other axes, result (rows, count, patch). Cost: one read and one write.
pub(super) fn patches(x: &Value, patch: usize, stride: usize, count: usize) -> Result<Value> {
    const OP: &str = "patches";
    let time = x.dims().last().copied().unwrap_or(0);
    if time == 0 || patch == 0 || count == 0 {
        bail!("{OP}: {count} patches of {patch} steps cannot be cut from shape {:?}", x.dims());
    }
    let rows = x.tensor().elem_count() / time;
    let xs = x.tensor().contiguous()?;
    let dims = x.dims().to_vec();
    by_float!(OP, xs, T => {
        let mut y = output::<T>(rows * count * patch);
        {
            let xs = numbers::<T>(OP, &xs)?;
            y.par_chunks_mut(ROWS * count * patch).zip(xs.par_chunks(ROWS * time)).for_each(|(y, x)| {
                for (y, x) in y.chunks_exact_mut(count * patch).zip(x.chunks_exact(time)) {
                    for (p, y) in y.chunks_exact_mut(patch).enumerate() {
                        let from = (p * stride).min(time);
                        let inside = patch.min(time - from);
                        y[..inside].copy_from_slice(&x[from..from + inside]);
                        y[inside..].fill(x[time - 1]);
                    }
                }
            });
        }
        let y = tensor(y, &[rows, count, patch])?;
        Ok(record(&[x], y, |_| move |g: Tensor| {
            let g = g.contiguous()?;
            let mut dx = vec![T::default(); rows * time];
            {
                let g = numbers::<T>(OP, &g)?;
                dx.par_chunks_mut(ROWS * time).zip(g.par_chunks(ROWS * count * patch)).for_each(|(dx, g)| {
                    for (dx, g) in dx.chunks_exact_mut(time).zip(g.chunks_exact(count * patch)) {
                        for (p, g) in g.chunks_exact(patch).enumerate() {
                            let from = (p * stride).min(time);
                            let inside = patch.min(time - from);
                            dx[from..from + inside].iter_mut().zip(g).for_each(|(a, b)| *a += *b);
                            g[inside..].iter().for_each(|b| dx[time - 1] += *b);
                        }
                    }
                });
            }
            Ok(vec![Some(tensor(dx, &dims)?)])
        }))
    })
}
