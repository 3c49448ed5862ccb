//! Arrays in numpy's archive.

use super::{Array, ArrayType, Arrays};
use crate::table::BadInput;
use npyz::npz::{NpzArchive, NpzWriter};
use npyz::{Order, WriterBuilder};
use std::io::Cursor;

pub(super) fn read(file: &str, bytes: &[u8]) -> Result<Arrays, BadInput> {
    let broken = |e: std::io::Error| BadInput::new(file, format!("is not a readable npz file: {e}"));
    let mut archive = NpzArchive::new(Cursor::new(bytes)).map_err(broken)?;
    let names: Vec<String> = archive.array_names().map(str::to_string).collect();
    let mut arrays = Arrays::default();
    for name in names {
        let Some(array) = archive.by_name(&name).map_err(broken)? else { continue };
        let shape: Vec<usize> = array.shape().iter().map(|d| *d as usize).collect();
        if array.order() != Order::C && shape.len() > 1 {
            return Err(BadInput::new(file, format!("array \"{name}\" is in Fortran order, expected C order")));
        }
        let kind = array.dtype().descr();
        let values = match kind.trim_matches(['\'', '"', '<', '>', '|', '=']) {
            "f8" => array.into_vec().map_err(broken)?,
            "f4" => wide(array.into_vec::<f32>().map_err(broken)?),
            "i4" => wide(array.into_vec::<i32>().map_err(broken)?),
            "i8" => array.into_vec::<i64>().map_err(broken)?.into_iter().map(|v| v as f64).collect(),
            _ => {
                let expected = "expected float32, float64, int32 or int64";
                return Err(BadInput::new(file, format!("array \"{name}\" holds {kind}, {expected}")));
            }
        };
        arrays.push(name, Array { shape, values });
    }
    Ok(arrays)
}

fn wide<T: Into<f64>>(values: Vec<T>) -> Vec<f64> {
    values.into_iter().map(Into::into).collect()
}

pub(super) fn write(arrays: &Arrays, dtype: ArrayType) -> Result<Vec<u8>, String> {
    let failed = |e: std::io::Error| format!("npz: {e}");
    let mut bytes = Vec::new();
    {
        let mut npz = NpzWriter::new(Cursor::new(&mut bytes));
        for (name, array) in arrays.iter() {
            let shape: Vec<u64> = array.shape.iter().map(|d| *d as u64).collect();
            match dtype {
                ArrayType::F64 => {
                    let entry = npz.array::<f64>(name, Default::default()).map_err(failed)?;
                    let mut w = entry.default_dtype().shape(&shape).begin_nd().map_err(failed)?;
                    w.extend(array.values.iter().copied()).map_err(failed)?;
                    w.finish().map_err(failed)?;
                }
                ArrayType::F32 => {
                    let entry = npz.array::<f32>(name, Default::default()).map_err(failed)?;
                    let mut w = entry.default_dtype().shape(&shape).begin_nd().map_err(failed)?;
                    w.extend(array.values.iter().map(|v| *v as f32)).map_err(failed)?;
                    w.finish().map_err(failed)?;
                }
            }
        }
    }
    Ok(bytes)
}
