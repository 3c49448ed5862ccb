//! Named arrays in and out: JSON (nested lists), npz, safetensors.
//!
//! Numbers are held as f64, which has every f32, bf16 and integer below 2^53 exactly.

mod json;
mod npz;
mod safetensors;

use super::BadInput;
use std::path::Path;

/// An array in row-major order.
#[derive(Debug, Clone, PartialEq)]
pub struct Array {
    pub shape: Vec<usize>,
    pub values: Vec<f64>,
}

impl Array {
    /// Panics when the shape and the number of values disagree.
    pub fn new(shape: &[usize], values: Vec<f64>) -> Self {
        assert_eq!(shape.iter().product::<usize>(), values.len(), "an array of shape {shape:?}");
        Self { shape: shape.to_vec(), values }
    }
}

/// Arrays by name, in the order of the file.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Arrays(Vec<(String, Array)>);

impl Arrays {
    pub fn get(&self, name: &str) -> Option<&Array> {
        self.0.iter().find(|(n, _)| n == name).map(|(_, a)| a)
    }

    pub fn push(&mut self, name: impl Into<String>, array: Array) {
        self.0.push((name.into(), array));
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &Array)> {
        self.0.iter().map(|(n, a)| (n.as_str(), a))
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// A file of arrays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ArrayFormat {
    Json,
    Npz,
    Safetensors,
}

impl ArrayFormat {
    /// By the extension: .json, .npz, .safetensors.
    pub fn of_path(path: &Path) -> Option<Self> {
        match path.extension()?.to_str()? {
            "json" => Some(Self::Json),
            "npz" => Some(Self::Npz),
            "safetensors" => Some(Self::Safetensors),
            _ => None,
        }
    }
}

/// The type of numbers in npz and safetensors files that are written. JSON has the shortest text that reads back as the number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ArrayType {
    F32,
    F64,
}

/// Reads arrays; the format is told by content.
///
/// In JSON, entries that are no arrays of numbers are left out, those of an object inside are named `outer.inner`, and a plain number is
/// an array without axes.
///
/// # Errors
/// None of the formats, a damaged file, lists of unequal length, numbers of a type that is not read.
pub fn read_arrays(file: &str, bytes: &[u8]) -> Result<Arrays, BadInput> {
    let arrays = match bytes {
        [b'P', b'K', ..] => npz::read(file, bytes)?,
        _ if bytes.iter().find(|b| !b.is_ascii_whitespace()) == Some(&b'{') => json::read(file, bytes)?,
        // Eight bytes of length, then a JSON object.
        [_, _, _, _, _, _, _, _, b'{', ..] => safetensors::read(file, bytes)?,
        _ => {
            return Err(BadInput::new(
                file,
                "holds no arrays that can be read: expected a JSON object, an npz or a safetensors file",
            ));
        }
    };
    if arrays.is_empty() {
        return Err(BadInput::new(file, "holds no array of numbers"));
    }
    Ok(arrays)
}

/// The bytes of a file with these arrays.
///
/// # Errors
/// A text when the format cannot hold them.
pub fn write_arrays(arrays: &Arrays, format: ArrayFormat, dtype: ArrayType) -> Result<Vec<u8>, String> {
    match format {
        ArrayFormat::Json => Ok(json::write(arrays, dtype)),
        ArrayFormat::Npz => npz::write(arrays, dtype),
        ArrayFormat::Safetensors => safetensors::write(arrays, dtype),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn some() -> Arrays {
        let mut arrays = Arrays::default();
        arrays.push("x", Array::new(&[2, 3], vec![0.5, -1.0, 2.0, 1e-3, 4.0, 5.0]));
        arrays.push("scalar", Array::new(&[], vec![7.25]));
        arrays.push("none", Array::new(&[0], vec![]));
        arrays
    }

    #[test]
    fn what_is_written_is_read() {
        for format in [ArrayFormat::Json, ArrayFormat::Npz, ArrayFormat::Safetensors] {
            let bytes = write_arrays(&some(), format, ArrayType::F64).unwrap();
            let read = read_arrays("f", &bytes).unwrap();
            for (name, array) in some().iter() {
                assert_eq!(read.get(name), Some(array), "{format:?} {name}");
            }
            let single = read_arrays("f", &write_arrays(&some(), format, ArrayType::F32).unwrap()).unwrap();
            // As text the shortest number that reads back.
            assert_eq!(single.get("x").unwrap().values[3] as f32, 1e-3, "{format:?}");
        }
    }

    #[test]
    fn json_nests_and_is_refused_when_ragged() {
        let text = r#"{"about": "text", "grads": {"u": [[1, 2.5]], "note": null}, "n": 3, "empty": []}"#;
        let arrays = read_arrays("f", text.as_bytes()).unwrap();
        assert_eq!(arrays.get("grads.u"), Some(&Array::new(&[1, 2], vec![1.0, 2.5])));
        assert_eq!(arrays.get("n"), Some(&Array::new(&[], vec![3.0])));
        assert_eq!(arrays.get("empty"), Some(&Array::new(&[0], vec![])));
        assert!(arrays.get("about").is_none());
        let ragged = read_arrays("f", br#"{"x": [[1, 2], [3]]}"#).unwrap_err().to_string();
        assert!(ragged.contains("\"x\"") && ragged.contains("unequal"), "{ragged}");
        let mixed = read_arrays("f", br#"{"x": [1, "a"]}"#).unwrap_err().to_string();
        assert!(mixed.contains("\"x\"") && mixed.contains("number"), "{mixed}");
    }

    #[test]
    fn other_files_are_refused() {
        for bytes in [&b"hello"[..], b"PK nonsense", b"{\"a\": 1", b"\x08\0\0\0\0\0\0\0{garbage", b"", b"{}"] {
            assert!(read_arrays("f", bytes).is_err(), "{bytes:?}");
        }
    }
}
