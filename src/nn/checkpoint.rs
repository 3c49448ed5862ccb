//! The whole state of a training run as the bytes of one safetensors file: weights, optimiser moments, best weights, and a JSON header
//! with the configuration, the task and the progress. Who keeps the bytes, and where, is the caller's business.

use super::optimizer::Optimizer;
use super::params::Params;
use super::train::{Progress, TrainConfig};
use candle_core::{Device, Tensor};
use std::collections::{BTreeMap, HashMap};

const FORMAT: &str = "shoal-checkpoint-1";

/// A checkpoint in memory.
#[derive(Debug, Clone)]
pub struct Checkpoint {
    config: TrainConfig,
    task: serde_json::Value,
    progress: Progress,
    tensors: BTreeMap<String, Tensor>,
}

/// Why a checkpoint cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    #[error("it is no checkpoint of this program: {0}")]
    NotOurs(String),
    #[error("the checkpoint could not be kept: {0}")]
    NotKept(String),
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
        task: &serde_json::Value,
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
        Ok(Self { config: config.clone(), task: task.clone(), progress: progress.clone(), tensors })
    }

    /// Steps done when it was made.
    pub fn steps(&self) -> u64 {
        self.progress.step
    }

    /// The configuration it was made with.
    pub fn config(&self) -> &TrainConfig {
        &self.config
    }

    /// The bytes of its file.
    pub fn to_bytes(&self) -> Result<Vec<u8>, CheckpointError> {
        let fail = |e: serde_json::Error| CheckpointError::NotKept(e.to_string());
        let header = HashMap::from([
            ("format".to_string(), FORMAT.to_string()),
            ("config".to_string(), serde_json::to_string(&self.config).map_err(fail)?),
            ("task".to_string(), self.task.to_string()),
            ("progress".to_string(), serde_json::to_string(&self.progress).map_err(fail)?),
        ]);
        safetensors::serialize(&self.tensors, Some(header)).map_err(|e| CheckpointError::NotKept(e.to_string()))
    }

    /// From the bytes of a file.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, CheckpointError> {
        let fail = CheckpointError::NotOurs;
        let (_, metadata) = safetensors::SafeTensors::read_metadata(bytes).map_err(|e| fail(e.to_string()))?;
        let header = metadata.metadata().clone().unwrap_or_default();
        if header.get("format").map(String::as_str) != Some(FORMAT) {
            return Err(fail(format!("its format is not {FORMAT}")));
        }
        let part = |key: &str| header.get(key).ok_or_else(|| fail(format!("its header has no \"{key}\"")));
        let unreadable = |e: serde_json::Error| fail(format!("its header cannot be read: {e}"));
        let config = serde_json::from_str(part("config")?).map_err(unreadable)?;
        let task = serde_json::from_str(part("task")?).map_err(unreadable)?;
        let progress = serde_json::from_str(part("progress")?).map_err(unreadable)?;
        let tensors = candle_core::safetensors::load_buffer(bytes, &Device::Cpu)?.into_iter().collect();
        Ok(Self { config, task, progress, tensors })
    }

    /// Takes it apart, for a run with `config` on `task`: everything that a step depends on must be the same.
    pub(super) fn open(self, config: &TrainConfig, task: &serde_json::Value) -> Result<State, CheckpointError> {
        if self.config != *config {
            let old = serde_json::to_value(&self.config).unwrap_or_default();
            let new = serde_json::to_value(config).unwrap_or_default();
            return Err(CheckpointError::OtherConfig(difference(&old, &new)));
        }
        if self.task != *task {
            return Err(CheckpointError::OtherConfig(difference(&self.task, task)));
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
