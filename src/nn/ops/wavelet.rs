//! The wavelet transform on the tape.

use crate::by_float;
use crate::kernels::wavelet::Wavelet;
use crate::nn::storage::{numbers, output, tensor};
use crate::nn::tape::{Value, record, record_many};
use candle_core::{Result, Tensor, bail};

/// Low and high half (…, [`half`](Wavelet::half)) of the last axis. Cost and source: see [`Wavelet`].
///
/// # Errors
/// No axis, numbers that are not f32 or f64.
pub fn wavelet(x: &Value, wavelet: Wavelet) -> Result<(Value, Value)> {
    const OP: &str = "wavelet";
    let Some((&len, outer)) = x.dims().split_last().filter(|(len, _)| **len > 0) else {
        bail!("{OP}: takes (.., steps), got shape {:?}", x.dims());
    };
    let dims: Vec<usize> = outer.iter().copied().chain([wavelet.half(len)]).collect();
    let xs = x.tensor().contiguous()?;
    let x_dims = xs.dims().to_vec();
    by_float!(OP, xs, T => {
        let count = dims.iter().product();
        let (mut low, mut high) = (output::<T>(count), output::<T>(count));
        wavelet.forward(len, &numbers::<T>(OP, &xs)?, &mut low, &mut high);
        let outputs = vec![tensor(low, &dims)?, tensor(high, &dims)?];
        let zeros = outputs[0].clone();
        let mut values = record_many(&[x], outputs, |_| move |gradients: Vec<Option<Tensor>>| {
            let whole = |g: &Option<Tensor>| g.as_ref().map_or_else(|| zeros.zeros_like(), Tensor::contiguous);
            let (low, high) = (whole(&gradients[0])?, whole(&gradients[1])?);
            let mut dx = output::<T>(x_dims.iter().product());
            wavelet.backward(len, &numbers::<T>(OP, &low)?, &numbers::<T>(OP, &high)?, &mut dx);
            Ok(vec![Some(tensor(dx, &x_dims)?)])
        })
        .into_iter();
        match (values.next(), values.next()) {
            (Some(low), Some(high)) => Ok((low, high)),
            _ => bail!("{OP}: two outputs expected"),
        }
    })
}

/// What [`wavelet`] took apart. Cost and source: see [`Wavelet`].
///
/// # Errors
/// Halves of different shapes or types, shorter than half the filter.
pub fn inverse_wavelet(low: &Value, high: &Value, wavelet: Wavelet) -> Result<Value> {
    const OP: &str = "inverse_wavelet";
    let half = low.dims().last().copied().unwrap_or(0);
    if low.dims() != high.dims() || 2 * half < wavelet.low().len() || low.tensor().dtype() != high.tensor().dtype() {
        bail!("{OP}: halves {:?} and {:?} do not fit {} taps", low.dims(), high.dims(), wavelet.low().len());
    }
    let (a, b) = (low.tensor().contiguous()?, high.tensor().contiguous()?);
    let mut dims = a.dims().to_vec();
    if let Some(last) = dims.last_mut() {
        *last = wavelet.whole(half);
    }
    by_float!(OP, a, T => {
        let mut y = output::<T>(dims.iter().product());
        wavelet.inverse(half, &numbers::<T>(OP, &a)?, &numbers::<T>(OP, &b)?, &mut y);
        let halves = a.dims().to_vec();
        Ok(record(&[low, high], tensor(y, &dims)?, |_| move |g: Tensor| {
            let count = halves.iter().product();
            let (mut dlow, mut dhigh) = (output::<T>(count), output::<T>(count));
            wavelet.inverse_backward(half, &numbers::<T>(OP, &g.contiguous()?)?, &mut dlow, &mut dhigh);
            Ok(vec![Some(tensor(dlow, &halves)?), Some(tensor(dhigh, &halves)?)])
        }))
    })
}
