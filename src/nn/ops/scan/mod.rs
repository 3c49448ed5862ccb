//! Scans over the steps of a batch, as recorded operations: (batch, steps, channels).
//!
//! Every scan takes what came before the first step and gives what it carries on, and both have gradients.

mod causal_conv;
mod mamba3;
mod s4d;
mod selective;
mod ssd;
mod step_size;
#[cfg(test)]
mod tests;

pub use causal_conv::causal_conv;
pub use mamba3::{Mamba3Inputs, Mamba3States, mamba3_scan};
pub use s4d::{DplrInputs, S4dInputs, dplr_kernel, long_convolution, s4d_scan};
pub use selective::{SelectiveInputs, selective_scan};
pub use ssd::{SsdInputs, ssd_scan};
pub use step_size::{decay, step_sizes};

use crate::kernels::simd::Real;
use crate::nn::storage::{Element, output, tensor};
use crate::nn::tape::Value;
use candle_core::{Result, Tensor, bail};

/// (batch, steps, width) of a tensor.
fn steps_of(op: &str, x: &Value) -> Result<[usize; 3]> {
    match *x.dims() {
        [b, l, d] if d > 0 => Ok([b, l, d]),
        _ => bail!("{op}: takes (batch, steps, channels), got shape {:?}", x.dims()),
    }
}

/// Checks the shape of an input.
fn expect(op: &str, name: &str, x: &Value, shape: &[usize]) -> Result<()> {
    if x.dims() != shape {
        bail!("{op}: {name} has shape {:?}, expected {shape:?}", x.dims());
    }
    Ok(())
}

fn same_type(op: &str, inputs: &[&Value]) -> Result<()> {
    let dtype = inputs[0].tensor().dtype();
    match inputs.iter().find(|v| v.tensor().dtype() != dtype) {
        Some(other) => bail!("{op}: inputs hold {dtype:?} and {:?} numbers", other.tensor().dtype()),
        None => Ok(()),
    }
}

/// The first of two outputs, and the second.
fn pair(op: &str, outputs: Vec<Value>) -> Result<(Value, Value)> {
    let mut outputs = outputs.into_iter();
    match (outputs.next(), outputs.next()) {
        (Some(a), Some(b)) => Ok((a, b)),
        _ => bail!("{op}: two outputs expected"),
    }
}

/// A gradient that may not have come: zeros like `shape`.
fn or_zeros(g: Option<Tensor>, like: &Tensor) -> Result<Tensor> {
    match g {
        Some(g) => g.contiguous(),
        None => like.zeros_like(),
    }
}

/// A from ln(−A).
fn negative_exp<T: Element>(log: T) -> T {
    <T as Real>::from_f64(-Real::to_f64(log).exp())
}

/// Room for a gradient, when somebody wants it.
fn room<T: Element>(wanted: bool, len: usize) -> Option<Vec<T>> {
    wanted.then(|| output(len))
}

fn gradient<T: Element>(data: Option<Vec<T>>, like: &Tensor) -> Result<Option<Tensor>> {
    data.map(|data| tensor(data, like.dims())).transpose()
}
