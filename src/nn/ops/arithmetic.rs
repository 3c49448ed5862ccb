//! Arithmetic on tensors of equal shape by our own kernels: candle's run on a thread pool of their own, whatever `--threads` says.

use crate::by_float;
use crate::kernels::elementwise;
use crate::nn::storage::{numbers, output, tensor};
use candle_core::{Result, Tensor, bail};

/// An element-by-element operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Binary {
    Add,
    Sub,
    Mul,
}

/// `a ∘ b`; equal shapes and types.
pub fn binary(op: Binary, a: &Tensor, b: &Tensor) -> Result<Tensor> {
    if a.dims() != b.dims() || a.dtype() != b.dtype() {
        bail!("{op:?}: {:?} of {:?} and {:?} of {:?} do not go together", a.dims(), a.dtype(), b.dims(), b.dtype());
    }
    let (a, b) = (a.contiguous()?, b.contiguous()?);
    by_float!("arithmetic", a, T => {
        let mut out = output::<T>(a.elem_count());
        let (x, y) = (numbers::<T>("arithmetic", &a)?, numbers::<T>("arithmetic", &b)?);
        match op {
            Binary::Add => elementwise::add(&x, &y, &mut out),
            Binary::Sub => elementwise::sub(&x, &y, &mut out),
            Binary::Mul => elementwise::mul(&x, &y, &mut out),
        }
        tensor(out, a.dims())
    })
}

/// `factor · a`.
pub fn scaled(a: &Tensor, factor: f64) -> Result<Tensor> {
    let a = a.contiguous()?;
    by_float!("arithmetic", a, T => {
        let mut out = output::<T>(a.elem_count());
        elementwise::scale(factor, &numbers::<T>("arithmetic", &a)?, &mut out);
        tensor(out, a.dims())
    })
}
