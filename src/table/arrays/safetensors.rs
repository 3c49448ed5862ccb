//! Arrays in a safetensors file.

use super::{Array, ArrayType, Arrays};
use crate::table::BadInput;
use safetensors::tensor::{Dtype, SafeTensors, TensorView, serialize};

pub(super) fn read(file: &str, bytes: &[u8]) -> Result<Arrays, BadInput> {
    let broken = |e: safetensors::SafeTensorError| BadInput::new(file, format!("is not a readable safetensors file: {e}"));
    let tensors = SafeTensors::deserialize(bytes).map_err(broken)?;
    let mut arrays = Arrays::default();
    let mut all = tensors.tensors();
    all.sort_by(|a, b| a.0.cmp(&b.0));
    for (name, view) in all {
        let data = view.data();
        let values = match view.dtype() {
            Dtype::F64 => numbers(data, f64::from_le_bytes),
            Dtype::F32 => numbers(data, |b| f64::from(f32::from_le_bytes(b))),
            // The upper half of an f32.
            Dtype::BF16 => numbers(data, |[low, high]: [u8; 2]| f64::from(f32::from_le_bytes([0, 0, low, high]))),
            Dtype::I64 => numbers(data, |b| i64::from_le_bytes(b) as f64),
            Dtype::I32 => numbers(data, |b| f64::from(i32::from_le_bytes(b))),
            other => {
                let expected = "expected F64, F32, BF16, I64 or I32";
                return Err(BadInput::new(file, format!("array \"{name}\" holds {other:?}, {expected}")));
            }
        };
        arrays.push(name, Array { shape: view.shape().to_vec(), values });
    }
    Ok(arrays)
}

fn numbers<const N: usize>(data: &[u8], of: impl Fn([u8; N]) -> f64) -> Vec<f64> {
    data.as_chunks::<N>().0.iter().map(|b| of(*b)).collect()
}

pub(super) fn write(arrays: &Arrays, dtype: ArrayType) -> Result<Vec<u8>, String> {
    let failed = |e: safetensors::SafeTensorError| format!("safetensors: {e}");
    let bytes: Vec<(String, Vec<u8>, &[usize])> = arrays
        .iter()
        .map(|(name, array)| {
            let bytes = match dtype {
                ArrayType::F64 => array.values.iter().flat_map(|v| v.to_le_bytes()).collect(),
                ArrayType::F32 => array.values.iter().flat_map(|v| (*v as f32).to_le_bytes()).collect(),
            };
            (name.to_string(), bytes, &array.shape[..])
        })
        .collect();
    let kind = match dtype {
        ArrayType::F64 => Dtype::F64,
        ArrayType::F32 => Dtype::F32,
    };
    let views = bytes
        .iter()
        .map(|(name, bytes, shape)| Ok((name.as_str(), TensorView::new(kind, shape.to_vec(), bytes).map_err(failed)?)))
        .collect::<Result<Vec<_>, String>>()?;
    serialize(views, None).map_err(failed)
}
