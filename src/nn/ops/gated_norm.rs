//! The gated RMS norm on the tape.

use crate::by_float;
use crate::kernels::norm::{GatedGradients, RmsNormGated};
use crate::nn::storage::{numbers, output, tensor};
use crate::nn::tape::{Value, record};
use candle_core::{Result, Tensor, bail};

/// How a gated norm goes over its rows.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RmsGate {
    /// Numbers that share a mean square.
    pub group: usize,
    /// Added to it.
    pub eps: f64,
    /// The gate comes after the norm.
    pub norm_first: bool,
}

/// RMS norm of x · silu(z) over groups of the last axis, times the weight; or of x, gated after it. Cost and source: see
/// [`RmsNormGated`].
///
/// Shapes: `x`, `z` and result (…, width), `weight` (width). Saves the inputs (free) and a number for each group.
///
/// # Errors
/// Shapes or types that do not fit.
pub fn gated_rms_norm(x: &Value, z: &Value, weight: &Value, gate: RmsGate) -> Result<Value> {
    const OP: &str = "gated_rms_norm";
    let width = x.dims().last().copied().unwrap_or(0);
    let RmsGate { group, eps, norm_first } = gate;
    if x.dims() != z.dims() || weight.dims() != [width] || group == 0 || !width.is_multiple_of(group) {
        bail!("{OP}: x {:?}, z {:?}, weight {:?} in groups of {group} do not fit", x.dims(), z.dims(), weight.dims());
    }
    let (xs, zs, ws) = (x.tensor().contiguous()?, z.tensor().contiguous()?, weight.tensor().contiguous()?);
    by_float!(OP, xs, T => {
        let mut y = output::<T>(xs.elem_count());
        let inverse = {
            let w = numbers::<T>(OP, &ws)?;
            let norm = RmsNormGated { width, group, weight: Some(&w[..]), eps, norm_before_gate: norm_first };
            norm.forward(&numbers::<T>(OP, &xs)?, Some(&numbers::<T>(OP, &zs)?), &mut y)
        };
        let y = tensor(y, xs.dims())?;
        Ok(record(&[x, z, weight], y, |wanted| move |g: Tensor| {
            let g = g.contiguous()?;
            let mut rooms = [&xs, &zs, &ws].map(|t| output::<T>(t.elem_count()));
            {
                let w = numbers::<T>(OP, &ws)?;
                let norm = RmsNormGated { width, group, weight: Some(&w[..]), eps, norm_before_gate: norm_first };
                let [dx, dz, dw] = &mut rooms;
                let some = |i: usize, v| if wanted.wanted(i) { Some(v) } else { None };
                let to = GatedGradients {
                    x: some(0, dx).map(|v| &mut v[..]),
                    z: some(1, dz).map(|v| &mut v[..]),
                    weight: some(2, dw).map(|v| &mut v[..]),
                };
                let (x, z, g) = (numbers::<T>(OP, &xs)?, numbers::<T>(OP, &zs)?, numbers::<T>(OP, &g)?);
                norm.backward(&x, Some(&z), &inverse, &g, to);
            }
            let dims = [xs.dims(), zs.dims(), ws.dims()];
            let gradients = rooms.into_iter().zip(dims).enumerate();
            gradients.map(|(i, (room, dims))| wanted.wanted(i).then(|| tensor(room, dims)).transpose()).collect()
        }))
    })
}
