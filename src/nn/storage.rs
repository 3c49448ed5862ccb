//! Between tensors and slices: CPU kernels read tensors without a copy and hand their output over without one.

use crate::kernels::simd::Real;
use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, DType, Device, Result, Storage, StorageRef, Tensor, WithDType, bail};
use std::ops::Deref;

/// A float that both kernels and tensors know.
pub trait Element: Real + WithDType {
    /// The numbers of a CPU storage, when it holds this type.
    fn of(storage: &CpuStorage) -> Option<&[Self]>;
    /// Same, to be changed in place.
    fn of_mut(storage: &mut CpuStorage) -> Option<&mut [Self]>;
}

impl Element for f32 {
    fn of(storage: &CpuStorage) -> Option<&[f32]> {
        match storage {
            CpuStorage::F32(v) => Some(v),
            _ => None,
        }
    }
    fn of_mut(storage: &mut CpuStorage) -> Option<&mut [f32]> {
        match storage {
            CpuStorage::F32(v) => Some(v),
            _ => None,
        }
    }
}

impl Element for f64 {
    fn of(storage: &CpuStorage) -> Option<&[f64]> {
        match storage {
            CpuStorage::F64(v) => Some(v),
            _ => None,
        }
    }
    fn of_mut(storage: &mut CpuStorage) -> Option<&mut [f64]> {
        match storage {
            CpuStorage::F64(v) => Some(v),
            _ => None,
        }
    }
}

/// A tensor's numbers in row-major order, borrowed.
pub struct Numbers<'a, T> {
    guard: StorageRef<'a>,
    start: usize,
    len: usize,
    kind: std::marker::PhantomData<T>,
}

impl<T: Element> Deref for Numbers<'_, T> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        match &*self.guard {
            Storage::Cpu(storage) => T::of(storage).map_or(&[], |v| &v[self.start..self.start + self.len]),
            _ => &[],
        }
    }
}

/// Borrows the numbers of a contiguous CPU tensor. Other layouts, devices and types are errors that name `op`.
pub fn numbers<'a, T: Element>(op: &str, tensor: &'a Tensor) -> Result<Numbers<'a, T>> {
    let (guard, layout) = tensor.storage_and_layout();
    let Some((start, end)) = layout.contiguous_offsets() else {
        bail!("{op}: needs a contiguous tensor, got strides {:?} for shape {:?}", layout.stride(), layout.dims());
    };
    match &*guard {
        Storage::Cpu(storage) if T::of(storage).is_some() => {}
        Storage::Cpu(storage) => bail!("{op}: expected {:?} numbers, got {:?}", T::DTYPE, storage.dtype()),
        _ => bail!("{op}: has no kernel for {:?}; use the CPU", tensor.device().location()),
    }
    Ok(Numbers { guard, start, len: end - start, kind: std::marker::PhantomData })
}

/// A buffer for a kernel that writes every place of it.
pub fn output<T: Element>(len: usize) -> Vec<T> {
    let mut buffer = Vec::with_capacity(len);
    // SAFETY: T is f32 or f64, for which every bit pattern is a value, the capacity is there, and nothing is dropped. Clearing
    // first would cost a pass over memory for each operation.
    #[allow(clippy::uninit_vec)]
    unsafe {
        buffer.set_len(len)
    };
    buffer
}

/// A tensor on the CPU from a kernel's output.
pub fn tensor<T: Element>(data: Vec<T>, dims: &[usize]) -> Result<Tensor> {
    Tensor::from_vec(data, dims, &Device::Cpu)
}

/// Calls `$body` with `$T` bound to the float type of `$tensor`; other types are an error that names the operation.
#[macro_export]
macro_rules! by_float {
    ($op:expr, $tensor:expr, $T:ident => $body:expr) => {
        match $tensor.dtype() {
            candle_core::DType::F32 => {
                type $T = f32;
                $body
            }
            candle_core::DType::F64 => {
                type $T = f64;
                $body
            }
            other => candle_core::bail!("{}: works on f32 and f64, got {other:?}", $op),
        }
    };
}

/// An error unless the tensor holds `dtype`.
pub fn expect_dtype(op: &str, tensor: &Tensor, dtype: DType) -> Result<()> {
    if tensor.dtype() != dtype {
        bail!("{op}: expected {dtype:?}, got {:?}", tensor.dtype());
    }
    Ok(())
}
