//! Language models of state-space blocks: embedding, layers, norm, and a head that may share the embedding's weight.

mod config;
#[cfg(test)]
mod tests;

pub use config::{LanguageModelConfig, ModelOptions};

use super::mamba1::plain;
use super::mixer::{Mixer, MixerState};
use crate::nn::builder::Builder;
use crate::nn::init::Init;
use crate::nn::ops;
use crate::nn::params::{ParamId, Params, WeightsError};
use crate::nn::pass::Pass;
use crate::nn::tape::Value;
use crate::run::seed::Streams;
use candle_core::{DType, Device, Result, Tensor, bail};
use std::collections::BTreeMap;

/// Why a model cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// The configuration, with the key.
    #[error("{0}")]
    Config(String),
    #[error(transparent)]
    Weights(#[from] WeightsError),
}

/// x += mixer(norm(x)), then x += mlp(norm2(x)) where there is one.
#[derive(Debug, Clone)]
pub struct Layer {
    norm: ParamId,
    mixer: Mixer,
    mlp: Option<Mlp>,
}

/// fc2(a · silu(b)), where a and b are the halves of fc1(x).
#[derive(Debug, Clone)]
struct Mlp {
    norm: ParamId,
    fc1: ParamId,
    fc2: ParamId,
    hidden: usize,
}

/// What a model carries from one call to the next: one state a layer.
#[derive(Clone)]
pub struct ModelState {
    layers: Vec<MixerState>,
}

/// A model with its sizes; the numbers are in a [`Params`].
#[derive(Debug, Clone)]
pub struct LanguageModel {
    config: LanguageModelConfig,
    embedding: ParamId,
    layers: Vec<Layer>,
    norm: ParamId,
    /// Its own weight, unless it is the embedding's.
    head: Option<ParamId>,
}

impl LanguageModel {
    /// Declares the parameters under the names of state-spaces (`backbone.layers.0.mixer.in_proj.weight`, …).
    ///
    /// # Errors
    /// Stored tensors that are missing or do not fit.
    pub fn new(b: &mut Builder<'_>, config: LanguageModelConfig) -> std::result::Result<Self, WeightsError> {
        let d = config.width;
        let rows = config.padded_vocabulary;
        let one = Init::Constant(1.0);
        let table = Init::Normal { std: 0.02 };
        let embedding = b.get("backbone.embedding.weight".into(), &[rows, d], table, "vocab_size, d_model")?;
        let depth = (config.layers * if config.mlp > 0 { 2 } else { 1 }) as f64;
        let mut layers = Vec::new();
        for i in 0..config.layers {
            let name = |s: &str| format!("backbone.layers.{i}.{s}");
            let norm = b.get(name("norm.weight"), &[d], one, "d_model")?;
            let mixer = Mixer::new(b, &name("mixer."), &config.mixer, depth)?;
            let hidden = config.mlp;
            let mlp = if hidden > 0 {
                let norm = b.get(name("norm2.weight"), &[d], one, "d_model")?;
                let why = "d_intermediate, d_model";
                let fc1 = b.get(name("mlp.fc1.weight"), &[2 * hidden, d], Init::FanInUniform { fan_in: d }, why)?;
                let gain = (3.0 * depth).sqrt().recip();
                let fc2 = b.get(name("mlp.fc2.weight"), &[d, hidden], Init::KaimingUniform { fan_in: hidden, gain }, why)?;
                Some(Mlp { norm, fc1, fc2, hidden })
            } else {
                None
            };
            layers.push(Layer { norm, mixer, mlp });
        }
        let norm = b.get("backbone.norm_f.weight".into(), &[d], one, "d_model")?;
        const HEAD: &str = "lm_head.weight";
        let head = if config.tied {
            // Some files hold the shared weight twice.
            b.take(HEAD);
            None
        } else {
            Some(b.get(HEAD.into(), &[rows, d], table, "vocab_size, d_model, tie_embeddings")?)
        };
        Ok(Self { config, embedding, layers, norm, head })
    }

    /// Its sizes.
    pub fn config(&self) -> &LanguageModelConfig {
        &self.config
    }

    /// Parameters that must not decay.
    pub fn undecayed(&self) -> Vec<ParamId> {
        self.layers.iter().flat_map(|l| l.mixer.undecayed()).collect()
    }

    /// Tokens (batch · steps, the steps of a sequence together) to the last layer's normed output (batch, steps, width), and what to
    /// carry on. Takes the state that an earlier call gave.
    ///
    /// # Errors
    /// Tokens outside the vocabulary, a state of another model or batch.
    pub fn hidden(&self, pass: &Pass, tokens: &[u32], batch: usize, state: Option<&ModelState>) -> Result<(Value, ModelState)> {
        if batch == 0 || tokens.is_empty() || !tokens.len().is_multiple_of(batch) {
            bail!("{} tokens do not make {batch} sequences", tokens.len());
        }
        if let Some(token) = tokens.iter().find(|t| **t as usize >= self.config.padded_vocabulary) {
            bail!("token {token} is outside of the vocabulary of {}", self.config.vocabulary);
        }
        if state.is_some_and(|s| s.layers.len() != self.layers.len()) {
            bail!("the state that was carried in belongs to a model of another depth");
        }
        let (steps, d, eps) = (tokens.len() / batch, self.config.width, self.config.eps);
        let ids = Tensor::from_slice(tokens, tokens.len(), &Device::Cpu)?;
        let mut x = ops::index_rows(&pass.param(self.embedding), &ids)?;
        x = ops::reshape(&x, &[batch, steps, d])?;
        let mut carried = Vec::with_capacity(self.layers.len());
        for (i, layer) in self.layers.iter().enumerate() {
            let h = ops::rms_norm(&x, &pass.param(layer.norm), eps)?;
            let (y, next) = layer.mixer.forward(pass, &h, state.map(|s| &s.layers[i]), Some(&x))?;
            carried.push(next);
            x = y;
            if let Some(mlp) = &layer.mlp {
                let h = ops::rms_norm(&x, &pass.param(mlp.norm), eps)?;
                let w = pass.param(mlp.fc1);
                let half = |start| plain(&h, &ops::narrow(&w, 0, start, mlp.hidden)?);
                let y = ops::silu_gate(&half(0)?, &half(mlp.hidden)?)?;
                x = ops::linear_onto(&y, &pass.param(mlp.fc2), None, &x)?;
            }
        }
        Ok((ops::rms_norm(&x, &pass.param(self.norm), eps)?, ModelState { layers: carried }))
    }

    /// The head: (…, width) → (…, padded vocabulary).
    ///
    /// # Errors
    /// Shapes that do not fit.
    pub fn logits(&self, pass: &Pass, hidden: &Value) -> Result<Value> {
        plain(hidden, &pass.param(self.head.unwrap_or(self.embedding)))
    }

    /// A state from named tensors: `layers.0.scan` and so on, as [`ModelState::tensors`] gives them.
    ///
    /// # Errors
    /// A tensor that is missing or has another shape.
    pub fn state_from(&self, tensors: &BTreeMap<String, Tensor>, batch: usize, dtype: DType) -> Result<ModelState> {
        let mut layers = Vec::new();
        for (i, layer) in self.layers.iter().enumerate() {
            let find = |name: &str| tensors.get(name).and_then(|t| t.to_dtype(dtype).ok());
            layers.push(layer.mixer.state_from(&format!("layers.{i}."), batch, find)?);
        }
        Ok(ModelState { layers })
    }
}

impl ModelState {
    /// Its tensors by name.
    pub fn tensors(&self) -> Vec<(String, Tensor)> {
        let of = |(i, s): (usize, &MixerState)| -> Vec<(String, Tensor)> {
            s.tensors().into_iter().map(|(name, t)| (format!("layers.{i}.{name}"), t.clone())).collect()
        };
        self.layers.iter().enumerate().flat_map(of).collect()
    }
}

/// A model from the text of its `config.json` and its tensors, in the layout of state-spaces or of Hugging Face.
///
/// # Errors
/// A configuration of something else, the first tensor that is missing or does not fit with the setting it follows from, tensors that
/// have no place.
pub fn load_model(
    config: &str,
    tensors: BTreeMap<String, Tensor>,
    dtype: DType,
    options: ModelOptions,
) -> std::result::Result<(LanguageModel, Params), ModelError> {
    let config = LanguageModelConfig::from_json(config, options)?;
    let rename = |name: String| match name.as_str() {
        "backbone.embeddings.weight" => "backbone.embedding.weight".to_string(),
        _ => name,
    };
    let tensors = tensors.into_iter().map(|(name, t)| (rename(name), t)).collect();
    let mut params = Params::new(dtype, &Device::Cpu);
    let mut builder = Builder::stored(&mut params, tensors);
    let model = LanguageModel::new(&mut builder, config)?;
    builder.finish()?;
    Ok((model, params))
}

/// A model with drawn parameters.
///
/// # Errors
/// Sizes that candle refuses.
pub fn new_model(
    config: LanguageModelConfig,
    dtype: DType,
    streams: &Streams,
) -> std::result::Result<(LanguageModel, Params), WeightsError> {
    let mut params = Params::new(dtype, &Device::Cpu);
    let model = LanguageModel::new(&mut Builder::drawn(&mut params, streams), config)?;
    Ok((model, params))
}
