//! A clustering as one safetensors file, and back: what `cluster predict` needs.
//!
//! The metadata are texts: `format` (`shoal-cluster-1`), `method`, `version` (of the program that wrote it), and as JSON `inputs` (coordinates
//! in order with their means, id column, other columns), `scaler`, `label_names`, `header` (settings and results of the method) and `arrays`
//! (their names in the order of the method). Arrays are F64, F32 or I32 in C order; in the file those of wide numbers come first, so that
//! all are aligned.
//!
//! The header is written here and not by the safetensors crate, which keeps metadata in a hash map: the same model must give the same bytes.

use super::error::quoted;
use super::points::Inputs;
use super::{AtomicFile, BadInput};
use crate::cluster::saved::{Array, Numbers, Saved};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use std::collections::HashMap;
use std::io::Write;
use std::path::Path;

const FORMAT: &str = "shoal-cluster-1";
const REMEDY: &str = "expected a model that shoal cluster points --model wrote";

/// A kept clustering.
#[derive(Debug, Clone, PartialEq)]
pub struct ClusterModel {
    /// Version of the program that wrote it.
    pub version: String,
    /// The columns that it was trained on.
    pub inputs: Inputs,
    /// How coordinates were scaled, in the form of the code that scales; null if they were not.
    pub scaler: Value,
    /// Names of the known labels of the training rows, by code; empty without known labels.
    pub label_names: Vec<String>,
    /// The method's own part.
    pub saved: Saved,
}

impl ClusterModel {
    /// A model of this program.
    pub fn new(inputs: Inputs, scaler: Value, label_names: Vec<String>, saved: Saved) -> Self {
        Self { version: env!("CARGO_PKG_VERSION").to_owned(), inputs, scaler, label_names, saved }
    }

    /// Writes the file; under its name it appears whole or not at all.
    ///
    /// Errors: the file cannot be written.
    pub fn write(&self, path: impl AsRef<Path>) -> Result<(), BadInput> {
        let path = path.as_ref();
        let mut file = AtomicFile::create(path)?;
        let done = file.write_all(&write_cluster_model(self)).and_then(|()| file.commit());
        done.map_err(|e| BadInput::new(path.display().to_string(), format!("cannot write it: {e}")).remedy("is the disk full?"))
    }

    /// Reads a file that [`write`](Self::write) wrote. Errors: it cannot be read; see [`read_cluster_model`].
    pub fn read(path: impl AsRef<Path>) -> Result<Self, BadInput> {
        let path = path.as_ref();
        let name = path.display().to_string();
        let bytes = std::fs::read(path).map_err(|e| {
            BadInput::new(&name, format!("cannot read it: {}", super::source::plain(&e))).remedy("check the path")
        })?;
        read_cluster_model(&name, &bytes)
    }
}

fn width(values: &Numbers) -> usize {
    match values {
        Numbers::F64(_) => 8,
        Numbers::F32(_) | Numbers::I32(_) => 4,
    }
}

fn len(values: &Numbers) -> usize {
    match values {
        Numbers::F64(v) => v.len(),
        Numbers::F32(v) => v.len(),
        Numbers::I32(v) => v.len(),
    }
}

/// The bytes of the file.
///
/// Panics when an array has another number of values than its shape says, or two have one name. Cost: linear.
pub fn write_cluster_model(model: &ClusterModel) -> Vec<u8> {
    let arrays = &model.saved.arrays;
    let names: Vec<&str> = arrays.iter().map(|a| a.name.as_str()).collect();
    for (i, a) in arrays.iter().enumerate() {
        assert_eq!(len(&a.values), a.shape.iter().product::<usize>(), "values of array {} of shape {:?}", a.name, a.shape);
        assert!(!names[..i].contains(&a.name.as_str()) && a.name != "__metadata__", "the array name {} is taken", a.name);
    }
    let mut meta = Map::new();
    meta.insert("format".into(), FORMAT.into());
    meta.insert("method".into(), model.saved.method.as_str().into());
    meta.insert("version".into(), model.version.as_str().into());
    let parts = [
        ("inputs", json!(model.inputs)),
        ("scaler", model.scaler.clone()),
        ("label_names", json!(model.label_names)),
        ("header", model.saved.header.clone()),
        ("arrays", json!(names)),
    ];
    for (key, value) in parts {
        meta.insert(key.into(), value.to_string().into());
    }
    let mut order: Vec<&Array> = arrays.iter().collect();
    order.sort_by_key(|a| std::cmp::Reverse(width(&a.values)));
    let mut header = Map::new();
    header.insert("__metadata__".into(), meta.into());
    let mut at = 0;
    for a in &order {
        let end = at + width(&a.values) * len(&a.values);
        let dtype = match a.values {
            Numbers::F64(_) => "F64",
            Numbers::F32(_) => "F32",
            Numbers::I32(_) => "I32",
        };
        header.insert(a.name.clone(), json!({"dtype": dtype, "shape": a.shape, "data_offsets": [at, end]}));
        at = end;
    }
    let mut text = Value::from(header).to_string();
    // The numbers start at a multiple of eight.
    text.extend(std::iter::repeat_n(' ', text.len().next_multiple_of(8) - text.len()));
    let mut bytes = Vec::with_capacity(8 + text.len() + at);
    bytes.extend((text.len() as u64).to_le_bytes());
    bytes.extend(text.as_bytes());
    for a in order {
        match &a.values {
            Numbers::F64(v) => v.iter().for_each(|x| bytes.extend(x.to_le_bytes())),
            Numbers::F32(v) => v.iter().for_each(|x| bytes.extend(x.to_le_bytes())),
            Numbers::I32(v) => v.iter().for_each(|x| bytes.extend(x.to_le_bytes())),
        }
    }
    bytes
}

/// Reads the bytes that [`write_cluster_model`] gave; `file` is what messages call them.
///
/// # Errors
/// Not a safetensors file, cut off, another kind of file, a part that is missing or does not fit, NaN in an array, an array too many or of
/// another type. (Infinities are allowed: some methods keep them. Whether shapes fit the method is for the method to say.)
pub fn read_cluster_model(file: &str, bytes: &[u8]) -> Result<ClusterModel, BadInput> {
    let foreign = |what: &str| BadInput::new(file, format!("holds no clustering: {what}")).remedy(REMEDY);
    if bytes.is_empty() {
        return Err(BadInput::new(file, "the file is empty").remedy(REMEDY));
    }
    if bytes.get(8) != Some(&b'{') {
        return Err(foreign("it is no safetensors file"));
    }
    let damaged = |e: safetensors::SafeTensorError| {
        let e = BadInput::new(file, format!("is not a readable safetensors file: {e}"));
        e.remedy("the file is damaged or cut off: copy it again")
    };
    let (_, metadata) = SafeTensors::read_metadata(bytes).map_err(damaged)?;
    let meta = metadata.metadata().clone().unwrap_or_default();
    match meta.get("format").map(String::as_str) {
        Some(FORMAT) => {}
        Some(other) => return Err(foreign(&format!("its format is {}", quoted(other)))),
        None => return Err(foreign("its header does not name a format")),
    }
    let tensors = SafeTensors::deserialize(bytes).map_err(damaged)?;
    let version = part(file, &meta, "version")?.clone();
    let inputs: Inputs = parsed(file, &meta, "inputs")?;
    if inputs.columns.is_empty() || inputs.means.len() != inputs.columns.len() {
        return Err(broken(file, format!("it has {} columns and {} means of columns", inputs.columns.len(), inputs.means.len())));
    }
    let names: Vec<String> = parsed(file, &meta, "arrays")?;
    let mut arrays = Vec::with_capacity(names.len());
    for name in names {
        let view = tensors.tensor(&name).map_err(|_| broken(file, format!("holds no array {}", quoted(&name))))?;
        let values = values(file, &name, &view)?;
        arrays.push(Array { shape: view.shape().to_vec(), name, values });
    }
    if let Some(other) = tensors.names().into_iter().find(|n| !arrays.iter().any(|a| a.name == **n)) {
        return Err(broken(file, format!("its header does not know the array {}", quoted(other))));
    }
    let saved = Saved { method: part(file, &meta, "method")?.clone(), header: parsed(file, &meta, "header")?, arrays };
    Ok(ClusterModel {
        version,
        inputs,
        scaler: parsed(file, &meta, "scaler")?,
        label_names: parsed(file, &meta, "label_names")?,
        saved,
    })
}

fn broken(file: &str, what: String) -> BadInput {
    BadInput::new(file, what).remedy("the file is damaged: write it again")
}

fn part<'a>(file: &str, meta: &'a HashMap<String, String>, key: &str) -> Result<&'a String, BadInput> {
    meta.get(key).ok_or_else(|| broken(file, format!("its header has no {}", quoted(key))))
}

fn parsed<T: DeserializeOwned>(file: &str, meta: &HashMap<String, String>, key: &str) -> Result<T, BadInput> {
    let text = part(file, meta, key)?;
    serde_json::from_str(text).map_err(|e| broken(file, format!("its header entry {} cannot be read: {e}", quoted(key))))
}

fn values(file: &str, name: &str, view: &TensorView<'_>) -> Result<Numbers, BadInput> {
    let data = view.data();
    let values = match view.dtype() {
        Dtype::F64 => Numbers::F64(data.as_chunks::<8>().0.iter().map(|b| f64::from_le_bytes(*b)).collect()),
        Dtype::F32 => Numbers::F32(data.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect()),
        Dtype::I32 => Numbers::I32(data.as_chunks::<4>().0.iter().map(|b| i32::from_le_bytes(*b)).collect()),
        other => return Err(broken(file, format!("array {} holds {other:?}, expected F64, F32 or I32", quoted(name)))),
    };
    let nan = match &values {
        Numbers::F64(v) => v.iter().position(|x| x.is_nan()),
        Numbers::F32(v) => v.iter().position(|x| x.is_nan()),
        Numbers::I32(_) => None,
    };
    match nan {
        Some(k) => Err(broken(file, format!("array {}, number {k}: found NaN, expected a number", quoted(name)))),
        None => Ok(values),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model() -> ClusterModel {
        let arrays = vec![
            Array { name: "counts".into(), shape: vec![3], values: Numbers::I32(vec![2, -1, i32::MAX]) },
            Array {
                name: "centroids".into(),
                shape: vec![3, 2],
                values: Numbers::F64(vec![0.1, -2.5, 1e300, 5e-324, 0.0, f64::INFINITY]),
            },
            Array { name: "small".into(), shape: vec![1], values: Numbers::F32(vec![0.1]) },
            Array { name: "none".into(), shape: vec![0, 2], values: Numbers::F64(Vec::new()) },
            Array { name: "scalar".into(), shape: vec![], values: Numbers::F64(vec![-0.0]) },
        ];
        let header = json!({"zeta": 1, "alpha": {"inertia": 0.1 + 0.2, "list": [1e-300, 7]}, "µ": "ß\n\"x\""});
        let inputs = Inputs {
            columns: vec!["petal length".into(), "b".into()],
            means: vec![0.3, 1.0 / 3.0],
            id: Some("id".into()),
            left_out: vec!["id".into(), "label".into()],
        };
        let saved = Saved { method: "kmeans".into(), header, arrays };
        ClusterModel::new(inputs, json!({"kind": "zscore", "mean": [1.5, 0.1]}), vec!["a".into(), "b".into()], saved)
    }

    #[test]
    fn what_is_written_is_read_and_the_bytes_are_always_the_same() {
        let m = model();
        let bytes = write_cluster_model(&m);
        assert_eq!(bytes, write_cluster_model(&m.clone()));
        let back = read_cluster_model("m", &bytes).unwrap();
        assert_eq!(back, m);
        assert_eq!(write_cluster_model(&back), bytes);
        // Numbers are the same to the last bit, negative zero too; keys keep their order.
        let (_, scalar) = back.saved.f64("kmeans", "scalar").unwrap();
        assert!(scalar[0].is_sign_negative());
        assert_eq!(back.saved.header.to_string(), m.saved.header.to_string());
        // Other programs map the file: every array is aligned to its numbers.
        let (start, meta) = SafeTensors::read_metadata(&bytes).unwrap();
        for (name, info) in meta.tensors() {
            let size = if info.dtype == Dtype::F64 { 8 } else { 4 };
            assert_eq!((start + 8 + info.data_offsets.0) % size, 0, "{name}");
        }
    }

    #[test]
    fn a_file_appears_whole_and_is_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m.safetensors");
        model().write(&path).unwrap();
        assert_eq!(ClusterModel::read(&path).unwrap(), model());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "no temporary file is left");
        let e = ClusterModel::read(folder.path().join("absent")).unwrap_err().to_string();
        assert!(e.contains("no such file"), "{e}");
        assert!(model().write(folder.path().join("no/such/m")).is_err());
    }

    #[test]
    fn no_cut_makes_a_model() {
        let bytes = write_cluster_model(&model());
        for end in 0..bytes.len() {
            assert!(read_cluster_model("m", &bytes[..end]).is_err(), "{end} of {} bytes", bytes.len());
        }
        let mut longer = bytes.clone();
        longer.push(0);
        assert!(read_cluster_model("m", &longer).is_err());
    }

    /// The file with one text of its header replaced by another.
    fn changed(from: &str, to: &str) -> String {
        let bytes = write_cluster_model(&model());
        let size = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
        let text = std::str::from_utf8(&bytes[8..8 + size]).unwrap();
        assert!(text.contains(from), "{text}");
        let text = text.replacen(from, to, 1);
        let text = format!("{text}{}", " ".repeat(text.len().next_multiple_of(8) - text.len()));
        let all = [&(text.len() as u64).to_le_bytes()[..], text.as_bytes(), &bytes[8 + size..]].concat();
        read_cluster_model("m.st", &all).unwrap_err().to_string()
    }

    #[test]
    fn other_files_are_refused() {
        let e = |bytes: &[u8]| read_cluster_model("m.st", bytes).unwrap_err().to_string();
        assert!(e(b"").contains("empty"));
        assert!(e(b"id,label\n1,0\n").contains("no safetensors file"));
        assert!(changed("shoal-cluster-1", "shoal-decomposition-1").contains("its format is \"shoal-decomposition-1\""));
        assert!(changed("\"format\":", "\"form\":").contains("does not name a format"));
        assert!(changed("\"scaler\":", "\"scale\":").contains("no \"scaler\""));
        assert!(changed("\"version\":", "\"versio\":").contains("no \"version\""));
        assert!(changed("\\\"means\\\":[0.3,", "\\\"means\\\":[").contains("2 columns and 1 means"));
        assert!(changed("\\\"columns\\\"", "\\\"column\\\"").contains("\"inputs\" cannot be read"));
        assert!(changed("\"small\":{", "\"large\":{").contains("no array \"small\""));
        assert!(changed("\\\"small\\\",", "").contains("does not know the array \"small\""));
        assert!(changed("\"dtype\":\"I32\"", "\"dtype\":\"U32\"").contains("expected F64, F32 or I32"));
        let mut nan = model();
        nan.saved.arrays[2].values = Numbers::F32(vec![f32::NAN]);
        assert!(e(&write_cluster_model(&nan)).contains("array \"small\", number 0: found NaN"));
    }

    #[test]
    fn no_changed_byte_makes_the_reader_panic() {
        let bytes = write_cluster_model(&model());
        for at in 0..bytes.len() {
            for flip in [0x01, 0x10, 0x80] {
                let mut other = bytes.clone();
                other[at] ^= flip;
                // A number that is changed is still a number; whatever is read can be written.
                if let Ok(m) = read_cluster_model("m", &other) {
                    write_cluster_model(&m);
                }
            }
        }
    }
}
