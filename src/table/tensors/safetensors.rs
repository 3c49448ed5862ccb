//! One array of a safetensors file as a tensor. The file is held in memory while it is read.

use super::dense::Collector;
use super::input::Input;
use super::npy::{Kind, choose, take};
use super::{ReadOptions, TensorFormat, TensorInput};
use crate::kernels::simd::Real;
use crate::table::BadInput;
use crate::table::error::quoted;
use safetensors::tensor::{Dtype, SafeTensors};

/// Reads the array that the options name, or the only one. f64, f32, bf16, integers and bool.
pub fn read<T: Real>(input: &mut Input, options: &ReadOptions) -> Result<TensorInput<T>, BadInput> {
    let file = input.name().to_owned();
    let bytes = input.rest()?;
    let tensors = SafeTensors::deserialize(&bytes).map_err(|e| damaged(&file, &e))?;
    let mut names: Vec<String> = tensors.names().into_iter().map(str::to_owned).collect();
    names.sort();
    let name = choose(&file, &names, options)?;
    let view = tensors.tensor(name).map_err(|e| damaged(&file, &e))?;
    let place = format!("{file}, array {}", quoted(name));
    let mut collector = Collector::new(&place, view.shape(), false, options)?;
    let data = view.data();
    let kind = match view.dtype() {
        Dtype::F64 => Kind::F64,
        Dtype::F32 => Kind::F32,
        Dtype::BOOL => Kind::Bool,
        Dtype::I8 => Kind::Signed(1),
        Dtype::I16 => Kind::Signed(2),
        Dtype::I32 => Kind::Signed(4),
        Dtype::I64 => Kind::Signed(8),
        Dtype::U8 => Kind::Unsigned(1),
        Dtype::U16 => Kind::Unsigned(2),
        Dtype::U32 => Kind::Unsigned(4),
        Dtype::U64 => Kind::Unsigned(8),
        Dtype::BF16 => {
            // The upper half of an f32.
            let pairs = data.as_chunks::<2>().0.iter();
            collector.extend(pairs.map(|[low, high]| f64::from(f32::from_le_bytes([0, 0, *low, *high]))))?;
            return collector.finish(options, TensorFormat::Safetensors, input);
        }
        other => {
            let what = format!("holds {other:?}, expected F64, F32, BF16, integers or bool");
            return Err(BadInput::new(place, what).remedy("convert it to F64 before saving"));
        }
    };
    take(kind, data, &mut collector)?;
    collector.finish(options, TensorFormat::Safetensors, input)
}

/// The error for a file whose parts contradict each other.
pub(super) fn damaged(file: &str, e: &safetensors::SafeTensorError) -> BadInput {
    BadInput::new(file, format!("is not a readable safetensors file: {e}"))
        .remedy("the file is damaged or cut off: copy it again")
}
