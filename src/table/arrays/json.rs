//! Arrays as nested lists.

use super::{Array, ArrayType, Arrays};
use crate::table::BadInput;
use serde_json::Value;
use std::fmt::Write;

pub(super) fn read(file: &str, bytes: &[u8]) -> Result<Arrays, BadInput> {
    let value: Value = serde_json::from_slice(bytes).map_err(|e| BadInput::new(file, format!("is not JSON: {e}")))?;
    let mut arrays = Arrays::default();
    collect(file, "", &value, &mut arrays)?;
    Ok(arrays)
}

fn collect(file: &str, prefix: &str, value: &Value, to: &mut Arrays) -> Result<(), BadInput> {
    let Value::Object(entries) = value else { return Ok(()) };
    for (name, value) in entries {
        let name = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
        match value {
            Value::Object(_) => collect(file, &name, value, to)?,
            Value::Number(_) | Value::Array(_) => {
                let (mut shape, mut values) = (Vec::new(), Vec::new());
                // Lists of texts are notes; a list with both is a mistake.
                if !holds_numbers(value) {
                    continue;
                }
                fill(value, 0, &mut shape, &mut values).map_err(|why| BadInput::new(file, format!("array \"{name}\" {why}")))?;
                to.push(name, Array { shape, values });
            }
            _ => {}
        }
    }
    Ok(())
}

fn holds_numbers(value: &Value) -> bool {
    match value {
        Value::Array(items) => items.is_empty() || items.iter().any(holds_numbers),
        other => other.is_number(),
    }
}

/// `depth`: axes above `value`. The first list of an axis gives its length.
fn fill(value: &Value, depth: usize, shape: &mut Vec<usize>, values: &mut Vec<f64>) -> Result<(), String> {
    match value {
        Value::Array(items) => {
            match shape.get(depth) {
                // Deeper than numbers that were found before.
                None if !values.is_empty() => return Err("has lists of unequal depth".into()),
                None => shape.push(items.len()),
                Some(len) if *len != items.len() => {
                    return Err(format!("has lists of unequal length: {len} and {}", items.len()));
                }
                Some(_) => {}
            }
            items.iter().try_for_each(|item| fill(item, depth + 1, shape, values))
        }
        Value::Number(_) if depth != shape.len() => Err("has lists of unequal depth".into()),
        Value::Number(n) => {
            values.push(n.as_f64().ok_or_else(|| format!("holds {n}, which is beyond f64"))?);
            Ok(())
        }
        other => Err(format!("holds {other}, expected a number")),
    }
}

pub(super) fn write(arrays: &Arrays, dtype: ArrayType) -> Vec<u8> {
    let mut text = String::from("{");
    for (i, (name, array)) in arrays.iter().enumerate() {
        let _ = write!(text, "{}\n  {}: ", if i == 0 { "" } else { "," }, Value::from(name));
        list(&array.shape, &array.values, dtype, &mut text);
    }
    text.push_str("\n}\n");
    text.into_bytes()
}

fn list(shape: &[usize], values: &[f64], dtype: ArrayType, text: &mut String) {
    let Some((count, inner)) = shape.split_first() else {
        let v = values[0];
        // JSON has no infinities and no NaN.
        let _ = match dtype {
            _ if !v.is_finite() => write!(text, "null"),
            ArrayType::F32 => write!(text, "{:?}", shortest(v as f32)),
            ArrayType::F64 => write!(text, "{v:?}"),
        };
        return;
    };
    let step = values.len() / (*count).max(1);
    text.push('[');
    for k in 0..*count {
        if k > 0 {
            text.push_str(", ");
        }
        list(inner, &values[k * step..(k + 1) * step], dtype, text);
    }
    text.push(']');
}

/// The f64 with the fewest digits that reads back as this f32.
fn shortest(v: f32) -> f64 {
    v.to_string().parse().unwrap_or(f64::from(v))
}
