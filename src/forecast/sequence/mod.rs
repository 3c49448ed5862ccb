//! One label for a whole sequence, from blocks of state-space scans: what `classify` and `seqtask` train.
//!
//! Steps are vectors of numbers or tokens; blocks x += scan(norm(x)), each with a perceptron behind it if wanted, pass over them; the last
//! step's vector, the mean of all, their largest values, or all three are mapped to the classes.
//!
//! # Shapes
//! Values are (batch, L, channels), tokens batch · L numbers; scores (batch, classes). Sequences of a batch that are shorter than the
//! longest end early: what stands behind their end does not count.
//!
//! # Source
//! Blocks as in the language models of [`crate::nn::ssm`]; head as in S4's published classifiers (Gu et al. 2022).

#[cfg(test)]
mod tests;

use crate::kernels::elementwise::Activation;
use crate::nn::init::Init;
use crate::nn::params::Group;
use crate::nn::ssm::{Mixer, MixerConfig};
use crate::nn::{Builder, ParamId, Params, Pass, Value, ops};
use crate::run::seed::Streams;
use candle_core::{DType, Device, Result, Tensor, bail};
use serde::{Deserialize, Serialize};

/// Added to mean squares under the root.
const NORM_EPS: f64 = 1e-5;

/// What the steps of a sequence are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Steps {
    /// So many numbers.
    Values(usize),
    /// One of so many tokens.
    Tokens(usize),
}

/// What the head looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Pooling {
    /// the mean over the steps
    Mean,
    /// the largest value over the steps
    Max,
    /// the last step
    Last,
    /// mean, largest and last behind each other
    All,
}

/// Architecture of a [`SequenceNetwork`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SequenceConfig {
    pub steps: Steps,
    pub classes: usize,
    pub width: usize,
    pub layers: usize,
    pub mixer: MixerConfig,
    /// Hidden width of a gated perceptron behind each scan; 0: none.
    pub mlp: usize,
    pub dropout: f64,
    pub pooling: Pooling,
}

/// Sequences of a batch.
pub enum Input {
    /// (batch, L, channels).
    Values(Tensor),
    /// Sequence after sequence, all of the same length.
    Tokens { tokens: Vec<u32>, batch: usize },
}

impl Input {
    fn batch(&self) -> Result<usize> {
        match self {
            Self::Values(x) => Ok(x.dims3()?.0),
            Self::Tokens { batch, .. } => Ok(*batch),
        }
    }
}

struct Block {
    norm: ParamId,
    mixer: Mixer,
    mlp: Option<Mlp>,
}

struct Mlp {
    norm: ParamId,
    fc1: ParamId,
    fc2: ParamId,
}

/// The network; see the module's description.
pub struct SequenceNetwork {
    config: SequenceConfig,
    params: Params,
    embed: ParamId,
    embed_bias: Option<ParamId>,
    blocks: Vec<Block>,
    norm: ParamId,
    head: (ParamId, ParamId),
}

impl SequenceNetwork {
    /// A network with freshly drawn weights. `scan_rate`: what the learning rate is multiplied by for the parameters of the scans
    /// themselves, which are never decayed.
    ///
    /// # Errors
    /// Sizes of 0.
    pub fn new(config: SequenceConfig, scan_rate: f64, dtype: DType, streams: &Streams) -> Result<Self> {
        let (d, classes) = (config.width, config.classes);
        if d == 0 || classes == 0 || config.layers == 0 {
            bail!("a sequence network of width {d} with {} layers for {classes} classes", config.layers);
        }
        let mut params = Params::new(dtype, &Device::Cpu);
        let mut b = Builder::drawn(&mut params, streams);
        let get = |b: &mut Builder<'_>, name: String, dims: &[usize], init: Init| {
            b.get(name, dims, init, "the architecture").map_err(candle_core::Error::wrap)
        };
        let (embed, embed_bias) = match config.steps {
            Steps::Values(channels) => {
                let init = Init::FanInUniform { fan_in: channels };
                let weight = get(&mut b, "embed.weight".into(), &[d, channels], init)?;
                (weight, Some(get(&mut b, "embed.bias".into(), &[d], init)?))
            }
            Steps::Tokens(count) => (get(&mut b, "embed.weight".into(), &[count, d], Init::Normal { std: 1.0 })?, None),
        };
        let one = Init::Constant(1.0);
        let mut blocks = Vec::with_capacity(config.layers);
        for i in 0..config.layers {
            let name = |s: &str| format!("layers.{i}.{s}");
            let norm = get(&mut b, name("norm.weight"), &[d], one)?;
            let depth = (config.layers * if config.mlp > 0 { 2 } else { 1 }) as f64;
            let mixer = Mixer::new(&mut b, &name("mixer."), &config.mixer, depth).map_err(candle_core::Error::wrap)?;
            let mlp = if config.mlp > 0 {
                Some(Mlp {
                    norm: get(&mut b, name("norm2.weight"), &[d], one)?,
                    fc1: get(&mut b, name("mlp.fc1.weight"), &[2 * config.mlp, d], Init::FanInUniform { fan_in: d })?,
                    fc2: get(&mut b, name("mlp.fc2.weight"), &[d, config.mlp], Init::FanInUniform { fan_in: config.mlp })?,
                })
            } else {
                None
            };
            blocks.push(Block { norm, mixer, mlp });
        }
        let norm = get(&mut b, "norm.weight".into(), &[d], one)?;
        let pooled = if config.pooling == Pooling::All { 3 * d } else { d };
        let init = Init::FanInUniform { fan_in: pooled };
        let head =
            (get(&mut b, "head.weight".into(), &[classes, pooled], init)?, get(&mut b, "head.bias".into(), &[classes], init)?);
        for id in blocks.iter().flat_map(|b| b.mixer.undecayed()) {
            params.set_group(id, Group { rate: scan_rate, decays: false });
        }
        Ok(Self { config, params, embed, embed_bias, blocks, norm, head })
    }

    /// What it is made of.
    pub fn config(&self) -> &SequenceConfig {
        &self.config
    }

    /// Its parameters.
    pub fn params(&self) -> &Params {
        &self.params
    }

    /// Its parameters, to be restored or loaded.
    pub fn params_mut(&mut self) -> &mut Params {
        &mut self.params
    }

    /// Scores of the classes, (batch, classes). `lengths`: steps of each sequence that count; all without.
    ///
    /// # Errors
    /// Shapes that do not fit, tokens that the network does not know.
    pub fn scores(&self, pass: &Pass, input: &Input, lengths: Option<&[usize]>) -> Result<Value> {
        let pooled = Self::pool(self.config.pooling, &self.hidden(pass, input)?, lengths)?;
        self.classify(pass, &pooled)
    }

    /// Scores behind some steps, (rows, classes); `rows`: their numbers in the batch, sequence after sequence.
    ///
    /// # Errors
    /// Those of [`scores`](Self::scores), rows that are not there.
    pub fn scores_at(&self, pass: &Pass, input: &Input, rows: &[u32]) -> Result<Value> {
        let h = self.hidden(pass, input)?;
        let (batch, steps, d) = h.tensor().dims3()?;
        let rows = Tensor::from_slice(rows, rows.len(), &Device::Cpu)?;
        self.classify(pass, &ops::index_rows(&ops::reshape(&h, &[batch * steps, d])?, &rows)?)
    }

    fn classify(&self, pass: &Pass, rows: &Value) -> Result<Value> {
        let (weight, bias) = self.head;
        ops::linear(rows, &pass.param(weight), Some(&pass.param(bias)), Activation::Identity)
    }

    /// What stands behind every step, normed: (batch, L, width).
    fn hidden(&self, pass: &Pass, input: &Input) -> Result<Value> {
        let (d, batch) = (self.config.width, input.batch()?);
        let mut h = match (input, self.config.steps) {
            (Input::Values(x), Steps::Values(channels)) if x.dims3()?.2 == channels => {
                let bias = self.embed_bias.map(|b| pass.param(b));
                ops::linear(&Value::constant(x), &pass.param(self.embed), bias.as_ref(), Activation::Identity)?
            }
            (Input::Tokens { tokens, .. }, Steps::Tokens(count)) => {
                if let Some(token) = tokens.iter().find(|t| **t as usize >= count) {
                    bail!("token {token} is none of the {count} that the network knows");
                }
                let ids = Tensor::from_slice(tokens, tokens.len(), &Device::Cpu)?;
                let rows = ops::index_rows(&pass.param(self.embed), &ids)?;
                ops::reshape(&rows, &[batch, tokens.len() / batch.max(1), d])?
            }
            _ => bail!("the network takes steps of {:?}", self.config.steps),
        };
        let dropping = pass.is_training() && self.config.dropout > 0.0;
        for block in &self.blocks {
            let normed = ops::rms_norm(&h, &pass.param(block.norm), NORM_EPS)?;
            h = if dropping {
                let (y, _) = block.mixer.forward(pass, &normed, None, None)?;
                ops::add(&h, &ops::dropout(pass, &y, self.config.dropout)?)?
            } else {
                block.mixer.forward(pass, &normed, None, Some(&h))?.0
            };
            if let Some(mlp) = &block.mlp {
                let normed = ops::rms_norm(&h, &pass.param(mlp.norm), NORM_EPS)?;
                let w = pass.param(mlp.fc1);
                let half = |start| {
                    let w = ops::narrow(&w, 0, start, self.config.mlp)?;
                    ops::linear(&normed, &w, None, Activation::Identity)
                };
                let y = ops::silu_gate(&half(0)?, &half(self.config.mlp)?)?;
                h = ops::linear_onto(&y, &pass.param(mlp.fc2), None, &h)?;
            }
        }
        ops::rms_norm(&h, &pass.param(self.norm), NORM_EPS)
    }

    /// (batch, L, d) to (batch, d), or (batch, 3·d) with all poolings.
    fn pool(pooling: Pooling, h: &Value, lengths: Option<&[usize]>) -> Result<Value> {
        let (batch, steps, d) = h.tensor().dims3()?;
        let length = |i: usize| lengths.map_or(steps, |l| l[i].min(steps));
        if lengths.is_some_and(|l| l.len() != batch || l.contains(&0)) {
            bail!("{batch} sequences need as many lengths of at least 1");
        }
        match pooling {
            Pooling::All => {
                let one = |pooling| Self::pool(pooling, h, lengths);
                ops::cat(&[&one(Pooling::Mean)?, &one(Pooling::Max)?, &one(Pooling::Last)?], 1)
            }
            Pooling::Max => ops::max_over_steps(h, &(0..batch).map(length).collect::<Vec<_>>()),
            Pooling::Last => {
                let rows: Vec<u32> = (0..batch).map(|i| (i * steps + length(i) - 1) as u32).collect();
                ops::index_rows(&ops::reshape(h, &[batch * steps, d])?, &Tensor::from_vec(rows, batch, &Device::Cpu)?)
            }
            Pooling::Mean => {
                // A product with a row of weights for each sequence.
                let weights: Vec<f32> = (0..batch)
                    .flat_map(|i| {
                        let n = length(i);
                        (0..steps).map(move |t| if t < n { 1.0 / n as f32 } else { 0.0 })
                    })
                    .collect();
                ops::weighted_mean(h, &Tensor::from_vec(weights, (batch, steps), &Device::Cpu)?)
            }
        }
    }
}
