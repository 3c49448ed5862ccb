//! The files of a language model: a folder with `config.json` and its tensors.

use crate::cli::failure::{Failure, Outcome};
use crate::cli::session::Session;
use crate::nn::Params;
use crate::nn::params::tensors_of;
use crate::nn::ssm::{LanguageModel, ModelOptions, load_model};
use crate::table::BadInput;
use candle_core::{DType, Tensor};
use std::collections::BTreeMap;
use std::path::Path;

const WEIGHTS: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";
const PICKLE: &str = "pytorch_model.bin";

fn bad(path: &Path, why: impl Into<String>) -> Failure {
    BadInput::new(path.display().to_string(), why).into()
}

/// Reads a model in the layout of state-spaces or of Hugging Face.
pub fn read_model(session: &mut Session, folder: &Path, dtype: DType, options: ModelOptions) -> Outcome<(LanguageModel, Params)> {
    if !folder.is_dir() {
        return Err(bad(folder, format!("is no folder; expected one with config.json and {WEIGHTS}")));
    }
    let path = folder.join("config.json");
    let config = session.open_raw(&path.display().to_string())?;
    let config = String::from_utf8(config).map_err(|_| bad(&path, "is not text"))?;
    let tensors = read_tensors(session, folder)?;
    load_model(&config, tensors, dtype, options).map_err(|e| match e {
        crate::nn::ssm::ModelError::Config(why) => bad(&path, why),
        crate::nn::ssm::ModelError::Weights(e) => bad(folder, e.to_string()),
    })
}

/// All tensors: one safetensors file, several with an index, or PyTorch's own format.
fn read_tensors(session: &mut Session, folder: &Path) -> Outcome<BTreeMap<String, Tensor>> {
    let single = folder.join(WEIGHTS);
    if single.exists() {
        return read_safetensors(session, &single);
    }
    let index = folder.join(INDEX);
    if index.exists() {
        let text = session.open_raw(&index.display().to_string())?;
        let parsed: serde_json::Value = serde_json::from_slice(&text).map_err(|e| bad(&index, format!("is not JSON: {e}")))?;
        let Some(map) = parsed["weight_map"].as_object() else {
            return Err(bad(&index, "has no object \"weight_map\""));
        };
        let mut files: Vec<&str> = map.values().filter_map(serde_json::Value::as_str).collect();
        files.sort_unstable();
        files.dedup();
        let mut all = BTreeMap::new();
        for file in files {
            // Names of files in the folder, nothing else.
            if Path::new(file).file_name().is_none_or(|name| name != file) {
                return Err(bad(&index, format!("names a file outside of its folder, \"{file}\"")));
            }
            all.extend(read_safetensors(session, &folder.join(file))?);
        }
        return Ok(all);
    }
    let pickle = folder.join(PICKLE);
    if pickle.exists() {
        let tensors = candle_core::pickle::read_all(&pickle).map_err(|e| bad(&pickle, format!("cannot be read: {e}")))?;
        return Ok(tensors.into_iter().collect());
    }
    Err(bad(folder, format!("holds no weights: expected {WEIGHTS}, {INDEX} or {PICKLE}")))
}

fn read_safetensors(session: &mut Session, path: &Path) -> Outcome<BTreeMap<String, Tensor>> {
    let bytes = session.open_raw(&path.display().to_string())?;
    tensors_of(&bytes).map_err(|e| bad(path, format!("cannot be read: {e}")))
}
