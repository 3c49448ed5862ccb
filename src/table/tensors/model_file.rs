//! A decomposition as one safetensors file: `model.safetensors`, and back.
//!
//! Arrays (F64, C order): `weights` (R) and `factor_0`, … (I_n, R) of a CP model; `core` (r_1, …, r_N) and `factor_0`, … (I_n, r_n) of a
//! Tucker model; `core_0`, … (r_{n-1}, I_n, r_n) of a tensor train. The metadata say `format` (`shoal-decomposition-1`), `kind` (`cp`,
//! `tucker`, `tt`), `shape` and `modes` (JSON: name and labels of each) and whatever else the program notes.
//!
//! The header is written here and not by the safetensors crate, which keeps metadata in a hash map: the same model must give the same bytes.

use super::input::Input;
use super::safetensors::damaged;
use super::{MOST_MODES, Mode, genten};
use crate::table::BadInput;
use crate::table::error::quoted;
use crate::tensor::data::Dense;
use crate::tensor::model::{Kruskal, Matrix, Train, Tucker};
use safetensors::tensor::{Dtype, SafeTensors};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

const FORMAT: &str = "shoal-decomposition-1";
/// Keys of the metadata that are ours.
const OURS: [&str; 4] = ["format", "kind", "shape", "modes"];

/// A decomposition of any kind.
#[derive(Debug, Clone, PartialEq)]
pub enum Model {
    /// `cp`
    Cp(Kruskal),
    /// `tucker`
    Tucker(Tucker),
    /// `tt`
    Train(Train),
}

impl Model {
    /// `cp`, `tucker` or `tt`.
    pub fn kind(&self) -> &'static str {
        match self {
            Model::Cp(_) => "cp",
            Model::Tucker(_) => "tucker",
            Model::Train(_) => "tt",
        }
    }

    /// Sizes of the modes of the tensor it stands for.
    pub fn shape(&self) -> Vec<usize> {
        match self {
            Model::Cp(k) => k.factors.iter().map(|f| f.rows).collect(),
            Model::Tucker(t) => t.factors.iter().map(|f| f.rows).collect(),
            Model::Train(t) => t.cores.iter().map(|c| c.shape()[1]).collect(),
        }
    }
}

/// A decomposition with what is known of its modes.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelFile {
    /// The numbers.
    pub model: Model,
    /// One a mode.
    pub modes: Vec<Mode>,
    /// What else the file says: method, seed, fit …; the keys `format`, `kind`, `shape` and `modes` are not for it.
    pub about: BTreeMap<String, String>,
}

/// The bytes of the file.
///
/// Panics when the parts of the model disagree in their sizes, or `modes` or `about` do not fit it. Cost: linear.
pub fn write_model(file: &ModelFile) -> Vec<u8> {
    let shape = file.model.shape();
    assert_eq!(file.modes.len(), shape.len(), "modes of the model");
    let modes: Vec<Value> = file
        .modes
        .iter()
        .zip(&shape)
        .map(|(mode, size)| match &mode.labels {
            None => json!({"name": mode.name}),
            Some(labels) => {
                assert_eq!(labels.len(), *size, "labels of mode {}", mode.name);
                json!({"name": mode.name, "labels": labels.iter().map(|l| &**l).collect::<Vec<&str>>()})
            }
        })
        .collect();
    let mut meta = Map::new();
    meta.insert("format".into(), FORMAT.into());
    meta.insert("kind".into(), file.model.kind().into());
    meta.insert("shape".into(), json!(shape).to_string().into());
    meta.insert("modes".into(), Value::from(modes).to_string().into());
    for (key, value) in &file.about {
        assert!(!OURS.contains(&key.as_str()), "the key {key} is taken");
        meta.insert(key.clone(), value.as_str().into());
    }
    let matrices = |factors: &[Matrix], all: &mut Vec<(String, Vec<usize>, Vec<f64>)>| {
        for (n, f) in factors.iter().enumerate() {
            all.push((format!("factor_{n}"), vec![f.rows, f.cols], f.values.clone()));
        }
    };
    let mut arrays = Vec::new();
    match &file.model {
        Model::Cp(k) => {
            arrays.push(("weights".to_string(), vec![k.weights.len()], k.weights.clone()));
            matrices(&k.factors, &mut arrays);
        }
        Model::Tucker(t) => {
            arrays.push(("core".to_string(), t.core.shape().to_vec(), t.core.values().to_vec()));
            matrices(&t.factors, &mut arrays);
        }
        Model::Train(t) => {
            for (n, core) in t.cores.iter().enumerate() {
                arrays.push((format!("core_{n}"), core.shape().to_vec(), core.values().to_vec()));
            }
        }
    }
    let mut header = Map::new();
    header.insert("__metadata__".into(), meta.into());
    let mut at = 0;
    for (name, shape, values) in &arrays {
        let end = at + 8 * values.len();
        header.insert(name.clone(), json!({"dtype": "F64", "shape": shape, "data_offsets": [at, end]}));
        at = end;
    }
    let mut text = Value::from(header).to_string();
    // The numbers start at a multiple of eight.
    text.extend(std::iter::repeat_n(' ', text.len().next_multiple_of(8) - text.len()));
    let mut bytes = Vec::with_capacity(8 + text.len() + at);
    bytes.extend((text.len() as u64).to_le_bytes());
    bytes.extend(text.as_bytes());
    for (_, _, values) in &arrays {
        values.iter().for_each(|v| bytes.extend(v.to_le_bytes()));
    }
    bytes
}

/// Reads a model that [`write_model`] wrote (F64 or F32), or a GenTen `ktensor`.
///
/// # Errors
/// Damaged, a safetensors file of something else, arrays that are missing or disagree in their sizes, a number that is not finite.
pub fn read_model(mut input: Input) -> Result<ModelFile, BadInput> {
    if genten::is_ktensor(input.head()) {
        let model = genten::read_ktensor(&mut input)?;
        let modes = Mode::unnamed(model.factors.len());
        return Ok(ModelFile { model: Model::Cp(model), modes, about: BTreeMap::new() });
    }
    let file = input.name().to_owned();
    let bytes = input.rest()?;
    let foreign = |what: &str| {
        BadInput::new(&file, format!("holds no decomposition: {what}"))
            .remedy("expected model.safetensors as decompose-tensor writes it, or a GenTen ktensor")
    };
    if bytes.get(8) != Some(&b'{') {
        return Err(foreign("it is no safetensors file"));
    }
    let (_, metadata) = SafeTensors::read_metadata(&bytes).map_err(|e| damaged(&file, &e))?;
    let meta = metadata.metadata().clone().unwrap_or_default();
    match meta.get("format").map(String::as_str) {
        Some(FORMAT) => {}
        Some(other) => return Err(foreign(&format!("its format is {}", quoted(other)))),
        None => return Err(foreign("its header does not name a format")),
    }
    let tensors = SafeTensors::deserialize(&bytes).map_err(|e| damaged(&file, &e))?;
    let broken = |what: String| BadInput::new(&file, what).remedy("the file is damaged: write it again");
    let parsed = |key: &str| -> Result<Value, BadInput> {
        let text = meta.get(key).ok_or_else(|| broken(format!("its header has no {}", quoted(key))))?;
        serde_json::from_str(text).map_err(|e| broken(format!("its header entry {} cannot be read: {e}", quoted(key))))
    };
    let shape: Option<Vec<usize>> =
        parsed("shape")?.as_array().and_then(|a| a.iter().map(|n| Some(n.as_u64()? as usize)).collect());
    let shape = shape.filter(|s| !s.is_empty() && s.len() <= MOST_MODES && !s.contains(&0));
    let shape = shape.ok_or_else(|| broken("its shape is no list of sizes above 0".into()))?;
    let modes = modes_of(&parsed("modes")?, &shape).ok_or_else(|| broken("its modes do not fit its shape".into()))?;
    let array = |name: &str| -> Result<(Vec<usize>, Vec<f64>), BadInput> {
        let view = tensors.tensor(name).map_err(|_| broken(format!("holds no array {}", quoted(name))))?;
        let data = view.data();
        let values: Vec<f64> = match view.dtype() {
            Dtype::F64 => data.as_chunks::<8>().0.iter().map(|b| f64::from_le_bytes(*b)).collect(),
            Dtype::F32 => data.as_chunks::<4>().0.iter().map(|b| f64::from(f32::from_le_bytes(*b))).collect(),
            other => return Err(broken(format!("array {} holds {other:?}, expected F64 or F32", quoted(name)))),
        };
        match values.iter().position(|v| !v.is_finite()) {
            Some(k) => Err(broken(format!("array {}, number {k}: found {}, expected a finite number", quoted(name), values[k]))),
            None if values.is_empty() => Err(broken(format!("array {} is empty", quoted(name)))),
            None => Ok((view.shape().to_vec(), values)),
        }
    };
    let misfit = |name: &str, found: &[usize], expected: String| {
        broken(format!("array {} has shape {found:?}, expected {expected}", quoted(name)))
    };
    let factors = |ranks: &dyn Fn(usize) -> usize| -> Result<Vec<Matrix>, BadInput> {
        let factor = |(n, size): (usize, &usize)| {
            let name = format!("factor_{n}");
            let (found, values) = array(&name)?;
            match found == [*size, ranks(n)] {
                true => Ok(Matrix::new(*size, ranks(n), values)),
                false => Err(misfit(&name, &found, format!("[{size}, {}]", ranks(n)))),
            }
        };
        shape.iter().enumerate().map(factor).collect()
    };
    let model = match meta.get("kind").map(String::as_str) {
        Some("cp") => {
            let (found, weights) = array("weights")?;
            if found.len() != 1 {
                return Err(misfit("weights", &found, "one axis".into()));
            }
            if let Some(w) = weights.iter().find(|w| **w < 0.0) {
                return Err(broken(format!("found the weight {w}, expected weights that are not negative")));
            }
            let rank = weights.len();
            Model::Cp(Kruskal { weights, factors: factors(&|_| rank)? })
        }
        Some("tucker") => {
            let (ranks, values) = array("core")?;
            if ranks.len() != shape.len() {
                return Err(misfit("core", &ranks, format!("{} axes", shape.len())));
            }
            let factors = factors(&|n| ranks[n])?;
            Model::Tucker(Tucker { core: Dense::new(ranks, values), factors })
        }
        Some("tt") => {
            let (mut cores, mut left) = (Vec::new(), 1);
            for (n, size) in shape.iter().enumerate() {
                let name = format!("core_{n}");
                let (found, values) = array(&name)?;
                let last = n + 1 == shape.len();
                if found.len() != 3 || found[0] != left || found[1] != *size || (last && found[2] != 1) {
                    let right = if last { "1" } else { "rank" };
                    return Err(misfit(&name, &found, format!("[{left}, {size}, {right}]")));
                }
                left = found[2];
                cores.push(Dense::new(found, values));
            }
            Model::Train(Train { cores })
        }
        other => return Err(broken(format!("its kind is {}, expected cp, tucker or tt", quoted(other.unwrap_or_default())))),
    };
    let about = meta.into_iter().filter(|(key, _)| !OURS.contains(&key.as_str())).collect();
    Ok(ModelFile { model, modes, about })
}

fn modes_of(value: &Value, shape: &[usize]) -> Option<Vec<Mode>> {
    let list = value.as_array().filter(|l| l.len() == shape.len())?;
    let mode = |(entry, size): (&Value, &usize)| {
        let labels = match entry.get("labels") {
            None => None,
            Some(l) => {
                let labels: Option<Vec<Arc<str>>> = l.as_array()?.iter().map(|t| Some(t.as_str()?.into())).collect();
                Some(labels.filter(|l| l.len() == *size)?)
            }
        };
        Some(Mode { name: entry.get("name")?.as_str()?.to_owned(), labels })
    };
    list.iter().zip(shape).map(mode).collect()
}
