//! The whole state of a training run in one safetensors file: weights, optimiser moments, best weights, and a JSON header with the
//! configuration and the progress. Written beside the old one and renamed, so there is always one whole file.

use super::optimizer::Optimizer;
use super::params::Params;
use super::train::{Progress, TrainConfig};
use candle_core::{Device, Tensor};
use std::collections::{BTreeMap, HashMap};
use std::path::Path;

const FORMAT: &str = "shoal-checkpoint-1";

/// A checkpoint in memory.
#[derive(Debug, Clone)]
pub struct Checkpoint {
    config: TrainConfig,
    progress: Progress,
    tensors: BTreeMap<String, Tensor>,
}

/// Why a checkpoint cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    #[error("{file}: {reason}")]
    File { file: String, reason: String },
    #[error("the checkpoint was made with other settings: {0}; a resumed run must repeat them")]
    OtherConfig(String),
    #[error(transparent)]
    Tensor(#[from] candle_core::Error),
}

pub(super) struct State {
    pub progress: Progress,
    pub weights: BTreeMap<String, Tensor>,
    pub moments: BTreeMap<String, Tensor>,
    pub best: Option<BTreeMap<String, Tensor>>,
}

impl Checkpoint {
    pub(super) fn of(
        config: &TrainConfig,
        progress: &Progress,
        params: &Params,
        optimizer: &Optimizer,
        best: Option<&BTreeMap<String, Tensor>>,
    ) -> Result<Self, CheckpointError> {
        let mut tensors = BTreeMap::new();
        for (_, p) in params.iter() {
            tensors.insert(format!("weights/{}", p.name), p.tensor.copy()?);
        }
        for (name, tensor) in optimizer.moments(params)? {
            tensors.insert(format!("moments/{name}"), tensor);
        }
        for (name, tensor) in best.into_iter().flatten() {
            tensors.insert(format!("best/{name}"), tensor.clone());
        }
        Ok(Self { config: config.clone(), progress: progress.clone(), tensors })
    }

    /// Steps done when it was made.
    pub fn steps(&self) -> u64 {
        self.progress.step
    }

    /// The configuration it was made with.
    pub fn config(&self) -> &TrainConfig {
        &self.config
    }

    /// Writes the file; an old one is replaced only when the new one is whole and on disk.
    pub fn write(&self, to: &Path) -> Result<(), CheckpointError> {
        let fail = |reason: String| CheckpointError::File { file: to.display().to_string(), reason };
        let header = HashMap::from([
            ("format".to_string(), FORMAT.to_string()),
            ("config".to_string(), serde_json::to_string(&self.config).map_err(|e| fail(e.to_string()))?),
            ("progress".to_string(), serde_json::to_string(&self.progress).map_err(|e| fail(e.to_string()))?),
        ]);
        let bytes = safetensors::serialize(&self.tensors, Some(header)).map_err(|e| fail(e.to_string()))?;
        let folder = to.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        std::fs::create_dir_all(folder).map_err(|e| fail(e.to_string()))?;
        let mut file = tempfile::NamedTempFile::new_in(folder).map_err(|e| fail(e.to_string()))?;
        std::io::Write::write_all(&mut file, &bytes).map_err(|e| fail(e.to_string()))?;
        file.as_file().sync_all().map_err(|e| fail(e.to_string()))?;
        file.persist(to).map_err(|e| fail(e.to_string()))?;
        Ok(())
    }

    /// Reads a file.
    pub fn read(from: &Path) -> Result<Self, CheckpointError> {
        let fail = |reason: String| CheckpointError::File { file: from.display().to_string(), reason };
        let bytes = std::fs::read(from).map_err(|e| fail(e.to_string()))?;
        let (_, metadata) =
            safetensors::SafeTensors::read_metadata(&bytes).map_err(|e| fail(format!("not a checkpoint ({e})")))?;
        let header = metadata.metadata().clone().unwrap_or_default();
        if header.get("format").map(String::as_str) != Some(FORMAT) {
            return Err(fail("not a checkpoint of this program".into()));
        }
        let part = |key: &str| header.get(key).ok_or_else(|| fail(format!("its header has no \"{key}\"")));
        let config = serde_json::from_str(part("config")?).map_err(|e| fail(format!("its settings cannot be read ({e})")))?;
        let progress = serde_json::from_str(part("progress")?).map_err(|e| fail(format!("its progress cannot be read ({e})")))?;
        let tensors = candle_core::safetensors::load_buffer(&bytes, &Device::Cpu)?.into_iter().collect();
        Ok(Self { config, progress, tensors })
    }

    /// Takes it apart, for a run with `config`: everything that a step depends on must be the same.
    pub(super) fn open(self, config: &TrainConfig) -> Result<State, CheckpointError> {
        if self.config != *config {
            let old = serde_json::to_value(&self.config).unwrap_or_default();
            let new = serde_json::to_value(config).unwrap_or_default();
            return Err(CheckpointError::OtherConfig(difference(&old, &new)));
        }
        let mut state = State { progress: self.progress, weights: BTreeMap::new(), moments: BTreeMap::new(), best: None };
        for (name, tensor) in self.tensors {
            if let Some(name) = name.strip_prefix("weights/") {
                state.weights.insert(name.to_string(), tensor);
            } else if let Some(name) = name.strip_prefix("moments/") {
                state.moments.insert(name.to_string(), tensor);
            } else if let Some(name) = name.strip_prefix("best/") {
                state.best.get_or_insert_default().insert(name.to_string(), tensor);
            }
        }
        Ok(state)
    }
}

/// The first settings that differ, in words.
fn difference(old: &serde_json::Value, new: &serde_json::Value) -> String {
    let (Some(old), Some(new)) = (old.as_object(), new.as_object()) else { return "unreadable".into() };
    let differing: Vec<String> = new
        .iter()
        .filter(|(key, value)| old.get(*key) != Some(value))
        .map(|(key, value)| format!("{key} was {}, now {value}", old.get(key).unwrap_or(&serde_json::Value::Null)))
        .collect();
    differing.join("; ")
}
