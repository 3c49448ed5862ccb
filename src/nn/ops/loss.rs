//! Losses as recorded operations. The gradient is computed together with the loss, in one pass, and scaled on the way back only
//! when the loss is not the end of the tape.

use super::arithmetic::scaled;
use crate::by_float;
use crate::kernels::loss::{self, CrossEntropy, Weights};
use crate::kernels::simd::Real;
use crate::nn::storage::{Element, numbers, output, tensor};
use crate::nn::tape::{Value, record};
use candle_core::{DType, Device, Result, Tensor, bail};

/// A kernel's loss and gradient, put on the tape.
fn recorded<T: Element>(
    prediction: &Value,
    loss: impl FnOnce(&[T], Option<&mut [T]>) -> Result<f64>,
    op: &'static str,
) -> Result<Value> {
    let x = prediction.tensor().contiguous()?;
    let dims = x.dims().to_vec();
    let mut gradient = if prediction.recorded() { Some(output::<T>(x.elem_count())) } else { None };
    let mean = loss(&numbers::<T>(op, &x)?, gradient.as_deref_mut())?;
    let value = Tensor::from_vec(vec![<T as Real>::from_f64(mean)], (), &Device::Cpu)?;
    let gradient = match gradient {
        Some(g) => Some(tensor(g, &dims)?),
        None => None,
    };
    Ok(record(&[prediction], value, |_| {
        move |upstream: Tensor| {
            let factor = upstream.to_dtype(DType::F64)?.to_scalar::<f64>()?;
            let gradient = match gradient {
                Some(g) if factor == 1.0 => Some(g),
                Some(g) => Some(scaled(&g, factor)?),
                None => None,
            };
            Ok(vec![gradient])
        }
    }))
}

fn same_shape(op: &str, prediction: &Value, target: &Tensor) -> Result<()> {
    if prediction.dims() != target.dims() {
        bail!("{op}: prediction {:?} and target {:?} differ in shape", prediction.dims(), target.dims());
    }
    Ok(())
}

macro_rules! regression {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        pub fn $name(prediction: &Value, target: &Tensor) -> Result<Value> {
            const OP: &str = stringify!($name);
            same_shape(OP, prediction, target)?;
            let target = target.contiguous()?;
            by_float!(OP, prediction.tensor(), T => {
                let y = numbers::<T>(OP, &target)?;
                let run = |f: &[T], g: Option<&mut [T]>| Ok(loss::$name(f, &y, Weights::Equal, 1.0, g));
                recorded::<T>(prediction, run, OP)
            })
        }
    };
}

regression! {
    /// Mean squared error over all elements, a scalar.
    mse
}
regression! {
    /// Mean absolute error over all elements, a scalar; gradient 0 where the two are equal.
    mae
}
regression! {
    /// Mean symmetric percentage error 200 |f − y| / (|f| + |y|), a scalar; the denominator is not differentiated.
    smape
}

/// `time` times the mean squared error plus `frequency` times the mean distance of the spectra over the last axis, a scalar. Cost and
/// source: see [`loss::frequency`].
pub fn time_frequency(prediction: &Value, target: &Tensor, time: f64, frequency: f64) -> Result<Value> {
    const OP: &str = "time_frequency";
    same_shape(OP, prediction, target)?;
    let steps = prediction.dims().last().copied().unwrap_or(0);
    if steps == 0 {
        bail!("{OP}: takes (.., steps), got shape {:?}", prediction.dims());
    }
    let target = target.contiguous()?;
    by_float!(OP, prediction.tensor(), T => {
        let y = numbers::<T>(OP, &target)?;
        let run = |f: &[T], gradient: Option<&mut [T]>| {
            let Some(gradient) = gradient else {
                let mean = loss::mse(f, &y, Weights::Equal, 1.0, None);
                return Ok(time * mean + frequency * loss::frequency(steps, f, &y, 1.0, None));
            };
            let mean = loss::mse(f, &y, Weights::Equal, time, Some(&mut *gradient));
            let mut spectral = output::<T>(f.len());
            let distance = loss::frequency(steps, f, &y, frequency, Some(&mut spectral));
            crate::kernels::elementwise::add_assign(gradient, &spectral);
            Ok(time * mean + frequency * distance)
        };
        recorded::<T>(prediction, run, OP)
    })
}

/// Mean Huber loss over all elements, a scalar: squared up to `delta` > 0, absolute beyond.
pub fn huber(prediction: &Value, target: &Tensor, delta: f64) -> Result<Value> {
    same_shape("huber", prediction, target)?;
    let valid = delta > 0.0;
    if !valid {
        bail!("huber: delta is {delta}, expected a number above 0");
    }
    let target = target.contiguous()?;
    by_float!("huber", prediction.tensor(), T => {
        let y = numbers::<T>("huber", &target)?;
        recorded::<T>(prediction, |f, g| Ok(loss::huber(delta, f, &y, Weights::Equal, 1.0, g)), "huber")
    })
}

/// Mean pinball loss over all elements and quantiles, a scalar. `prediction`: target's shape with one more axis at the end, one entry
/// per quantile.
pub fn pinball(prediction: &Value, target: &Tensor, quantiles: &[f64]) -> Result<Value> {
    let mut expected = target.dims().to_vec();
    // One quantile may come without the extra axis.
    if !(quantiles.len() == 1 && prediction.dims() == target.dims()) {
        expected.push(quantiles.len());
    }
    if prediction.dims() != expected {
        bail!("pinball: prediction {:?}, expected {expected:?} for {} quantiles", prediction.dims(), quantiles.len());
    }
    let target = target.contiguous()?;
    by_float!("pinball", prediction.tensor(), T => {
        let y = numbers::<T>("pinball", &target)?;
        recorded::<T>(prediction, |f, g| Ok(loss::pinball(quantiles, f, &y, Weights::Equal, 1.0, g)), "pinball")
    })
}

/// Mean cross entropy of logits (rows, classes) against class numbers, a scalar; see [`loss::cross_entropy`].
pub fn cross_entropy(logits: &Value, targets: &[u32], smoothing: f64) -> Result<Value> {
    let (rows, classes) = logits.tensor().dims2()?;
    if rows != targets.len() || !(0.0..1.0).contains(&smoothing) {
        bail!(
            "cross_entropy: {rows} rows of logits, {} targets, smoothing {smoothing} (expected 0 <= smoothing < 1)",
            targets.len()
        );
    }
    by_float!("cross_entropy", logits.tensor(), T => {
        let options = CrossEntropy { smoothing, ..CrossEntropy::default() };
        let run = |z: &[T], g: Option<&mut [T]>| {
            loss::cross_entropy(options, z, targets, classes, 1.0, g).map_err(candle_core::Error::wrap)
        };
        recorded::<T>(logits, run, "cross_entropy")
    })
}
