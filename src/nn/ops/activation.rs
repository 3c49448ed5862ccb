//! Activation functions by themselves, and gated units.

use crate::by_float;
use crate::kernels::elementwise::Activation;
use crate::kernels::elementwise::activation as kernels;
use crate::kernels::elementwise::gate::Gate;
use crate::kernels::simd::Real;
use crate::nn::storage::{numbers, output, tensor};
use crate::nn::tape::{Value, record};
use candle_core::{Result, Tensor, bail};

fn forward<T: Real>(kind: Activation, x: &[T], y: &mut [T]) {
    match kind {
        Activation::Identity => y.copy_from_slice(x),
        Activation::Gelu => kernels::gelu(x, y),
        Activation::Silu => kernels::silu(x, y),
        Activation::Relu => kernels::relu(x, y),
        Activation::Tanh => kernels::tanh(x, y),
        Activation::Sigmoid => kernels::sigmoid(x, y),
    }
}

/// `saved`: the input, for tanh and sigmoid the output.
fn backward<T: Real>(kind: Activation, saved: &[T], g: &[T], dx: &mut [T]) {
    match kind {
        Activation::Identity => dx.copy_from_slice(g),
        Activation::Gelu => kernels::gelu_backward(saved, g, dx),
        Activation::Silu => kernels::silu_backward(saved, g, dx),
        Activation::Relu => kernels::relu_backward(saved, g, dx),
        Activation::Tanh => kernels::tanh_backward(saved, g, dx),
        Activation::Sigmoid => kernels::sigmoid_backward(saved, g, dx),
    }
}

/// `kind` of every element. Saves its input or its output. Cost: one pass over memory each way.
///
/// # Errors
/// Numbers that are not f32 or f64.
pub fn activate(x: &Value, kind: Activation) -> Result<Value> {
    const OP: &str = "activate";
    let xs = x.tensor().contiguous()?;
    by_float!(OP, xs, T => {
        let mut y = output::<T>(xs.elem_count());
        forward(kind, &numbers::<T>(OP, &xs)?[..], &mut y);
        let y = tensor(y, xs.dims())?;
        let saved = if matches!(kind, Activation::Tanh | Activation::Sigmoid) { y.clone() } else { xs };
        Ok(record(&[x], y, |_| move |g: Tensor| {
            let mut dx = output::<T>(saved.elem_count());
            backward(kind, &numbers::<T>(OP, &saved)?[..], &numbers::<T>(OP, &g.contiguous()?)?, &mut dx);
            Ok(vec![Some(tensor(dx, saved.dims())?)])
        }))
    })
}

/// `x · silu(gate)`, equal shapes.
///
/// # Errors
/// Shapes or types that do not fit.
pub fn silu_gate(x: &Value, gate: &Value) -> Result<Value> {
    gated("silu_gate", x, gate, Gate::Silu)
}

/// `x · σ(gate)`, equal shapes.
///
/// # Errors
/// Shapes or types that do not fit.
pub fn sigmoid_gate(x: &Value, gate: &Value) -> Result<Value> {
    gated("sigmoid_gate", x, gate, Gate::Sigmoid)
}

fn gated(op: &'static str, x: &Value, gate: &Value, kind: Gate) -> Result<Value> {
    if x.dims() != gate.dims() || x.tensor().dtype() != gate.tensor().dtype() {
        bail!(
            "{op}: x is {:?} {:?}, the gate {:?} {:?}: expected the same",
            x.dims(),
            x.tensor().dtype(),
            gate.dims(),
            gate.tensor().dtype()
        );
    }
    let (a, b) = (x.tensor().contiguous()?, gate.tensor().contiguous()?);
    by_float!(op, a, T => {
        let mut y = output::<T>(a.elem_count());
        kind.forward(&numbers::<T>(op, &a)?[..], &numbers::<T>(op, &b)?, &mut y);
        let y = tensor(y, a.dims())?;
        Ok(record(&[x, gate], y, |_| move |g: Tensor| {
            let (mut dx, mut dgate) = (output::<T>(a.elem_count()), output::<T>(a.elem_count()));
            let g = g.contiguous()?;
            kind.backward(&numbers::<T>(op, &a)?[..], &numbers::<T>(op, &b)?, &numbers::<T>(op, &g)?, &mut dx, &mut dgate);
            Ok(vec![Some(tensor(dx, a.dims())?), Some(tensor(dgate, a.dims())?)])
        }))
    })
}
