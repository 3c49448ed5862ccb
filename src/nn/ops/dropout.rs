//! Dropout as a recorded operation.

use crate::by_float;
use crate::kernels::dropout;
use crate::nn::pass::Pass;
use crate::nn::storage::{numbers, output, tensor};
use crate::nn::tape::{Value, record};
use candle_core::{Result, Tensor, bail};

/// Zeros a share `rate` of the elements and divides the others by 1 − rate, while training; otherwise x itself. The mask depends on
/// the pass's seed and step, on how many dropouts came before in the pass, and on the element's place alone.
pub fn dropout(pass: &Pass, x: &Value, rate: f64) -> Result<Value> {
    if !(0.0..1.0).contains(&rate) {
        bail!("dropout: the rate is {rate}, expected at least 0 and below 1");
    }
    let Some(key) = pass.dropout_key().filter(|_| rate > 0.0) else { return Ok(x.clone()) };
    let source = x.tensor().contiguous()?;
    let dims = x.dims().to_vec();
    by_float!("dropout", source, T => {
        let mut y = output::<T>(source.elem_count());
        dropout::dropout(key, rate, &numbers::<T>("dropout", &source)?, &mut y);
        Ok(record(&[x], tensor(y, &dims)?, |_| {
            move |g: Tensor| {
                let g = g.contiguous()?;
                let mut out = output::<T>(g.elem_count());
                dropout::dropout(key, rate, &numbers::<T>("dropout", &g)?, &mut out);
                Ok(vec![Some(tensor(out, &dims)?)])
            }
        }))
    })
}
