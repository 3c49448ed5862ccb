//! Step sizes and decays on the tape.

use super::{expect, gradient, same_type};
use crate::by_float;
use crate::kernels::scan::step_size::{Decay, StepSizes};
use crate::kernels::simd::Real;
use crate::nn::storage::{numbers, output, tensor};
use crate::nn::tape::{Value, record};
use candle_core::{Result, Tensor, bail};

/// Δ = softplus(raw + bias) inside `range`, over the last axis of `raw` (…, heads); bias (heads).
///
/// # Errors
/// Shapes or types that do not fit.
pub fn step_sizes(raw: &Value, bias: &Value, range: [f64; 2]) -> Result<Value> {
    const OP: &str = "step_sizes";
    match (bias.dims(), raw.dims().last()) {
        ([heads], Some(last)) if heads == last && *heads > 0 => {}
        _ => bail!("{OP}: the bias has shape {:?}, the raw sizes {:?}: expected one bias per column", bias.dims(), raw.dims()),
    }
    same_type(OP, &[raw, bias])?;
    let (x, b) = (raw.tensor().contiguous()?, bias.tensor().contiguous()?);
    by_float!(OP, x, T => {
        let mut y = output::<T>(x.elem_count());
        StepSizes { bias: &numbers::<T>(OP, &b)?[..], range }.forward(&numbers::<T>(OP, &x)?, &mut y);
        let y = tensor(y, x.dims())?;
        Ok(record(&[raw, bias], y, |wanted| move |g: Tensor| {
            let g = g.contiguous()?;
            let mut draw = output::<T>(x.elem_count());
            let mut dbias = wanted.wanted(1).then(|| vec![T::ZERO; b.elem_count()]);
            {
                let held = numbers::<T>(OP, &b)?;
                let sizes = StepSizes { bias: &held[..], range };
                sizes.backward(&numbers::<T>(OP, &x)?, &numbers::<T>(OP, &g)?, &mut draw);
                if let Some(sums) = &mut dbias {
                    sizes.bias_gradient(&draw, sums);
                }
            }
            Ok(vec![Some(tensor(draw, x.dims())?), gradient(dbias, &b)?])
        }))
    })
}

/// A·Δ from raw rates and Δ, of equal shapes; see [`Decay`].
///
/// # Errors
/// Shapes or types that do not fit.
pub fn decay(raw: &Value, dt: &Value, decay: Decay) -> Result<Value> {
    const OP: &str = "decay";
    expect(OP, "the step sizes", dt, raw.dims())?;
    same_type(OP, &[raw, dt])?;
    let (x, s) = (raw.tensor().contiguous()?, dt.tensor().contiguous()?);
    by_float!(OP, x, T => {
        let mut y = output::<T>(x.elem_count());
        decay.forward(&numbers::<T>(OP, &x)?, &numbers::<T>(OP, &s)?, &mut y);
        let y = tensor(y, x.dims())?;
        Ok(record(&[raw, dt], y, |_| move |g: Tensor| {
            let g = g.contiguous()?;
            let (mut draw, mut ddt) = (output::<T>(x.elem_count()), output::<T>(x.elem_count()));
            decay.backward(&numbers::<T>(OP, &x)?, &numbers::<T>(OP, &s)?, &numbers::<T>(OP, &g)?, &mut draw, &mut ddt);
            Ok(vec![gradient(Some(draw), &x)?, gradient(Some(ddt), &s)?])
        }))
    })
}
