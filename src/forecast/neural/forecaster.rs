//! A trained network with everything needed to use it: what it was trained on, scales, calibration. One safetensors file.

use super::Network;
use super::architecture::Architecture;
use super::learner::{EVALUATION_BATCH, Loss};
use super::windows::{Block, inputs};
use crate::forecast::intervals::Calibration;
use crate::forecast::time_features::Sampling;
use crate::nn::Pass;
use crate::nn::params::WeightsError;
use crate::nn::train::{TrainConfig, TrainReport};
use crate::run::seed::Streams;
use candle_core::{DType, Device, Tensor};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};

const FORMAT: &str = "shoal-forecaster-1";
/// Name of the calibration scores in the file.
pub(super) const SCORES: &str = "calibration/scores";

/// Whether channels are forecast together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Channels {
    /// All series share their time stamps and enter a window together; a forecast needs the same series again.
    Joint,
    /// Every series makes windows of its own; the model serves any series.
    Pooled,
}

/// A channel as it was trained on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Channel {
    pub id: String,
    /// Mean and standard deviation of the training rows, taken out of the data before the network.
    pub mean: f64,
    pub deviation: f64,
}

/// What a saved forecaster says about itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Card {
    format: String,
    /// The program's version that trained it.
    pub version: String,
    pub architecture: Architecture,
    /// f32 or f64.
    pub dtype: String,
    pub channels_are: Channels,
    /// The channels of a joint model; empty for a pooled one.
    pub channels: Vec<Channel>,
    /// Spacing of the time stamps, as --freq takes it.
    pub freq: String,
    /// Which calendar features the network takes.
    pub sampling: Option<Sampling>,
    /// Probabilities of the outputs, ascending; empty for a mean.
    pub quantiles: Vec<f64>,
    pub loss: Loss,
    pub training: TrainConfig,
    pub report: TrainReport,
}

/// What [`Card::new`] needs to know.
pub struct CardFields {
    pub architecture: Architecture,
    pub dtype: DType,
    pub channels_are: Channels,
    pub channels: Vec<Channel>,
    pub freq: String,
    pub sampling: Option<Sampling>,
    pub quantiles: Vec<f64>,
    pub loss: Loss,
    pub training: TrainConfig,
    pub report: TrainReport,
}

impl Card {
    /// The card of a model trained by this version of the program.
    pub fn new(f: CardFields) -> Self {
        Self {
            format: FORMAT.into(),
            version: env!("CARGO_PKG_VERSION").into(),
            architecture: f.architecture,
            dtype: if f.dtype == DType::F64 { "f64" } else { "f32" }.into(),
            channels_are: f.channels_are,
            channels: f.channels,
            freq: f.freq,
            sampling: f.sampling,
            quantiles: f.quantiles,
            loss: f.loss,
            training: f.training,
            report: f.report,
        }
    }

    fn dtype(&self) -> DType {
        if self.dtype == "f64" { DType::F64 } else { DType::F32 }
    }
}

/// Why a saved forecaster cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error("it is no forecaster saved by this program ({0})")]
    NotOurs(String),
    #[error("its weights do not fit: {0}")]
    Weights(#[from] WeightsError),
    #[error(transparent)]
    Tensor(#[from] candle_core::Error),
}

/// Forecasts of one channel: one vector of `horizon` numbers per output.
pub type ChannelForecast = Vec<Vec<f64>>;

/// See the module's description.
pub struct Forecaster {
    card: Card,
    network: Box<dyn Network>,
    /// One per channel of a joint model, one for all of a pooled model, none when not calibrated.
    calibration: Vec<Calibration>,
}

impl Forecaster {
    /// From a trained network.
    pub fn new(card: Card, network: Box<dyn Network>, calibration: Vec<Calibration>) -> Self {
        Self { card, network, calibration }
    }

    /// With calibration scores.
    pub fn with_calibration(self, calibration: Vec<Calibration>) -> Self {
        Self { calibration, ..self }
    }

    /// What it says about itself.
    pub fn card(&self) -> &Card {
        &self.card
    }

    /// The network.
    pub fn network(&self) -> &dyn Network {
        &*self.network
    }

    /// The calibration of channel `channel`; scores are in units of the data for joint models and in standard deviations of the
    /// series for pooled ones.
    pub fn calibration(&self, channel: usize) -> Option<&Calibration> {
        match self.card.channels_are {
            Channels::Joint => self.calibration.get(channel),
            Channels::Pooled => self.calibration.first(),
        }
    }

    /// Forecasts on the network's own (standardised) scale for windows that start at (block, row): one entry per window and channel,
    /// window by window.
    ///
    /// # Errors
    /// What the network refuses; nothing is said about infinite forecasts.
    pub fn forecast(&self, blocks: &[Block], places: &[(usize, usize)]) -> candle_core::Result<Vec<ChannelForecast>> {
        forecast_windows(&*self.network, &self.card.architecture, blocks, places, EVALUATION_BATCH)
    }

    /// The file's bytes: weights, calibration, card.
    pub fn to_bytes(&self) -> Result<Vec<u8>, LoadError> {
        let mut tensors: BTreeMap<String, Tensor> =
            self.network.params().iter().map(|(_, p)| (p.name.clone(), p.tensor.clone())).collect();
        if !self.calibration.is_empty() {
            let h = self.calibration[0].scores().len();
            let windows = self.calibration[0].scores().first().map_or(0, Vec::len);
            let flat: Vec<f64> = self.calibration.iter().flat_map(|c| c.scores().iter().flatten().copied()).collect();
            let scores = Tensor::from_vec(flat, (self.calibration.len(), h, windows), &Device::Cpu)?;
            tensors.insert(SCORES.into(), scores);
        }
        let card = serde_json::to_string(&self.card).map_err(|e| LoadError::NotOurs(e.to_string()))?;
        let header = HashMap::from([("shoal".to_string(), card)]);
        safetensors::serialize(&tensors, Some(header)).map_err(|e| LoadError::NotOurs(e.to_string()))
    }

    /// Reads a file's bytes.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, LoadError> {
        let (_, metadata) = safetensors::SafeTensors::read_metadata(bytes)
            .map_err(|e| LoadError::NotOurs(format!("no safetensors file: {e}")))?;
        let header = metadata.metadata().clone().unwrap_or_default();
        let text = header.get("shoal").ok_or_else(|| LoadError::NotOurs("its header has no entry \"shoal\"".into()))?;
        let card: Card = serde_json::from_str(text).map_err(|e| LoadError::NotOurs(format!("its card cannot be read: {e}")))?;
        if card.format != FORMAT {
            return Err(LoadError::NotOurs(format!("format {}, expected {FORMAT}", card.format)));
        }
        let mut tensors: BTreeMap<String, Tensor> =
            candle_core::safetensors::load_buffer(bytes, &Device::Cpu)?.into_iter().collect();
        let calibration = match tensors.remove(SCORES) {
            None => Vec::new(),
            Some(scores) => scores.to_dtype(DType::F64)?.to_vec3::<f64>()?.into_iter().map(Calibration::from_scores).collect(),
        };
        let mut network = card.architecture.build(card.dtype(), &Streams::new(0))?;
        network.params_mut().restore(&tensors)?;
        Ok(Self { card, network, calibration })
    }
}

/// Forecasts of a network for windows that start at (block, row), `at_once` windows (above 0) in a batch, on its own scale. Several outputs come back in ascending order at
/// every step: quantiles must not cross.
pub fn forecast_windows(
    network: &dyn Network,
    architecture: &Architecture,
    blocks: &[Block],
    places: &[(usize, usize)],
    at_once: usize,
) -> candle_core::Result<Vec<ChannelForecast>> {
    let (l, h, q) = (architecture.lookback(), architecture.horizon(), architecture.outputs());
    let mut out = Vec::new();
    for some in places.chunks(at_once) {
        let batch = inputs(blocks, some, l, h, network.params().dtype())?;
        let y = network.forward(&Pass::inference(network.params()), &batch)?;
        let flat = y.tensor().flatten_all()?.to_dtype(DType::F64)?.to_vec1::<f64>()?;
        for channel in flat.chunks_exact(h * q) {
            let mut outputs = vec![Vec::with_capacity(h); q];
            for step in channel.chunks_exact(q) {
                let mut step = step.to_vec();
                step.sort_by(f64::total_cmp);
                outputs.iter_mut().zip(step).for_each(|(o, v)| o.push(v));
            }
            out.push(outputs);
        }
    }
    Ok(out)
}
