//! PatchTST: a transformer over the patches of each series.
//!
//! The window of every channel is cut into overlapping patches; each patch becomes a token by one linear map and a trained position;
//! an encoder (attention and feed-forward, both normalised after their residual sum) mixes the tokens; one linear map of all tokens
//! gives the horizon. Channels share all weights and never meet.
//!
//! # Shapes
//! Hidden states are (rows, P, d): rows = batch · channels, P patches.
//!
//! # Cost
//! Per row and layer P (4 d² + 2 d d_ff) + 2 P² d multiply-adds, and P² exponentials per head; the head takes P d H. No matrix of
//! attention scores is stored.
//!
//! # Source
//! Nie et al., A Time Series is Worth 64 Words, ICLR 2023 (arXiv 2211.14730), section 3 and appendix A.1. Changed: residual attention
//! works on longer queries and keys instead of handing scores on ([`ops::residual_attention`]); two dropouts in a row are drawn as
//! one; the last linear map reads the hidden state in the order in which it lies, its weight being turned instead.

mod config;
mod patches;
pub mod presets;
#[cfg(test)]
mod tests;

pub use config::{PatchTstConfig, TokenNorm};

use crate::forecast::neural::{Batch, Network};
use crate::kernels::elementwise::Activation;
use crate::nn::init::Init;
use crate::nn::ops::{self, Running};
use crate::nn::{ParamId, Params, Pass, Value};
use crate::run::seed::Streams;
use candle_core::{DType, Device, Result, bail};

/// Added to variances under the root.
const NORM_EPS: f64 = 1e-5;
/// Share of a batch's statistics that goes into the running averages.
const MOMENTUM: f64 = 0.1;
/// Positions start within ± this.
const POSITION_BOUND: f64 = 0.02;

/// A weight and a bias.
#[derive(Debug, Clone, Copy)]
struct Affine {
    weight: ParamId,
    bias: ParamId,
}

/// What follows a residual sum.
struct Norm {
    affine: Affine,
    /// Of batch norm only.
    running: Option<Running>,
}

struct Layer {
    q: Affine,
    k: Affine,
    v: Affine,
    out: Affine,
    norm1: Norm,
    wide: Affine,
    narrow: Affine,
    norm2: Norm,
}

/// The network; see the module's description.
pub struct PatchTst {
    config: PatchTstConfig,
    params: Params,
    embed: Affine,
    position: ParamId,
    layers: Vec<Layer>,
    head: Affine,
    revin: Option<Affine>,
}

impl PatchTst {
    /// A network with freshly drawn weights.
    ///
    /// # Errors
    /// What [`PatchTstConfig::check`] finds.
    pub fn new(config: PatchTstConfig, dtype: DType, streams: &Streams) -> Result<Self> {
        if let Err(problem) = config.check() {
            bail!("{problem}");
        }
        let mut params = Params::new(dtype, &Device::Cpu);
        let (d, ff, p) = (config.d_model, config.d_ff, config.patches());
        let embed = affine(&mut params, "embed", d, config.patch, streams)?;
        let position = params.declare("embed.pos", &[p, d], Init::Uniform { bound: POSITION_BOUND }, streams)?;
        let mut layers = Vec::with_capacity(config.layers);
        for i in 0..config.layers {
            let mut map =
                |name: &str, out: usize, input: usize| affine(&mut params, &format!("layer{i}.{name}"), out, input, streams);
            let [q, k, v, out] = [map("attn.q", d, d)?, map("attn.k", d, d)?, map("attn.v", d, d)?, map("attn.out", d, d)?];
            let norm1 = norm(&mut params, &format!("layer{i}.norm1"), &config, streams)?;
            let wide = affine(&mut params, &format!("layer{i}.ff.0"), ff, d, streams)?;
            let narrow = affine(&mut params, &format!("layer{i}.ff.2"), d, ff, streams)?;
            let norm2 = norm(&mut params, &format!("layer{i}.norm2"), &config, streams)?;
            layers.push(Layer { q, k, v, out, norm1, wide, narrow, norm2 });
        }
        let head = affine(&mut params, "head", config.horizon * config.outputs, d * p, streams)?;
        let revin = match config.affine {
            true => Some(Affine {
                weight: params.declare("norm.weight", &[config.channels], Init::Constant(1.0), streams)?,
                bias: params.declare("norm.bias", &[config.channels], Init::Constant(0.0), streams)?,
            }),
            false => None,
        };
        Ok(Self { config, params, embed, position, layers, head, revin })
    }

    /// What it is made of.
    pub fn config(&self) -> &PatchTstConfig {
        &self.config
    }

    /// One encoder layer. `earlier`: queries and keys of the layers before it, to which its own are added.
    fn encode(&self, pass: &Pass, layer: &Layer, h: &Value, earlier: &mut Vec<(Value, Value)>) -> Result<Value> {
        let c = &self.config;
        let scale = 1.0 / ((c.d_model / c.heads) as f64).sqrt();
        if !c.residual_attention {
            earlier.clear();
        }
        earlier.push((apply(pass, layer.q, h)?, apply(pass, layer.k, h)?));
        let v = apply(pass, layer.v, h)?;
        let pairs: Vec<(&Value, &Value)> = earlier.iter().map(|(q, k)| (q, k)).collect();
        let mixed = apply(pass, layer.out, &ops::residual_attention(&pairs, &v, c.heads, scale)?)?;
        // The published program drops twice in a row: together a value is kept with probability (1 − p)².
        let mixed = ops::dropout(pass, &mixed, 1.0 - (1.0 - c.dropout) * (1.0 - c.dropout))?;
        let h = normalize(pass, &layer.norm1, &ops::add(h, &mixed)?)?;
        let sum = if pass.is_training() && c.dropout > 0.0 {
            let (weight, bias) = values(pass, layer.wide);
            let hidden = ops::linear(&h, &weight, Some(&bias), Activation::Gelu)?;
            let narrow = apply(pass, layer.narrow, &ops::dropout(pass, &hidden, c.dropout)?)?;
            ops::add(&h, &ops::dropout(pass, &narrow, c.dropout)?)?
        } else {
            let ((w1, b1), (w2, b2)) = (values(pass, layer.wide), values(pass, layer.narrow));
            ops::mlp(&h, &w1, Some(&b1), Activation::Gelu, &w2, Some(&b2), Some(&h))?
        };
        normalize(pass, &layer.norm2, &sum)
    }

    /// The forecasts of all rows, (rows, H · outputs). The weight (H · outputs, d · P) reads feature after feature, the hidden state
    /// lies patch after patch: turning the weight moves fewer numbers than turning the state.
    fn project(&self, pass: &Pass, h: &Value) -> Result<Value> {
        let (rows, p, d) = h.tensor().dims3()?;
        let (weight, bias) = values(pass, self.head);
        let out = weight.dims()[0];
        let turned = ops::permute(&ops::reshape(&weight, &[out, d, p])?, &[0, 2, 1])?;
        let flat = ops::dropout(pass, &ops::reshape(h, &[rows, p * d])?, self.config.head_dropout)?;
        ops::linear(&flat, &ops::reshape(&turned, &[out, p * d])?, Some(&bias), Activation::Identity)
    }
}

/// A linear layer with PyTorch's default start.
fn affine(params: &mut Params, name: &str, out: usize, input: usize, streams: &Streams) -> Result<Affine> {
    let init = Init::FanInUniform { fan_in: input };
    Ok(Affine {
        weight: params.declare(format!("{name}.weight"), &[out, input], init, streams)?,
        bias: params.declare(format!("{name}.bias"), &[out], init, streams)?,
    })
}

fn norm(params: &mut Params, name: &str, config: &PatchTstConfig, streams: &Streams) -> Result<Norm> {
    let d = config.d_model;
    let affine = Affine {
        weight: params.declare(format!("{name}.weight"), &[d], Init::Constant(1.0), streams)?,
        bias: params.declare(format!("{name}.bias"), &[d], Init::Constant(0.0), streams)?,
    };
    let running = match config.norm {
        TokenNorm::Batch => Some(Running {
            mean: params.declare_buffer(format!("{name}.running_mean"), &[d], 0.0)?,
            variance: params.declare_buffer(format!("{name}.running_var"), &[d], 1.0)?,
            momentum: MOMENTUM,
        }),
        TokenNorm::Layer => None,
    };
    Ok(Norm { affine, running })
}

fn values(pass: &Pass, affine: Affine) -> (Value, Value) {
    (pass.param(affine.weight), pass.param(affine.bias))
}

fn apply(pass: &Pass, affine: Affine, x: &Value) -> Result<Value> {
    let (weight, bias) = values(pass, affine);
    ops::linear(x, &weight, Some(&bias), Activation::Identity)
}

fn normalize(pass: &Pass, norm: &Norm, x: &Value) -> Result<Value> {
    let (weight, bias) = values(pass, norm.affine);
    match norm.running {
        Some(running) => ops::batch_norm(pass, x, &weight, &bias, running, NORM_EPS),
        None => ops::layer_norm(x, &weight, &bias, NORM_EPS),
    }
}

impl Network for PatchTst {
    fn params(&self) -> &Params {
        &self.params
    }

    fn params_mut(&mut self) -> &mut Params {
        &mut self.params
    }

    fn forward(&self, pass: &Pass, batch: &Batch) -> Result<Value> {
        let c = &self.config;
        let (b, n, l) = batch.x.dims3()?;
        if l != c.lookback || (c.affine && n != c.channels) {
            let channels = if c.affine { c.channels.to_string() } else { "any number of".into() };
            bail!("patchtst: takes windows of {channels} channels and {} steps, got {n} and {l}", c.lookback);
        }
        let trained = self.revin.map(|a| values(pass, a));
        let trained = trained.as_ref().map(|(gain, shift)| (gain, shift));
        let mut x = Value::constant(&batch.x);
        let mut statistics = None;
        if c.revin {
            let (y, stats) = ops::instance_norm(&x, trained, NORM_EPS, false)?;
            (x, statistics) = (y, Some(stats));
        }
        let (p, d) = (c.patches(), c.d_model);
        let h = apply(pass, self.embed, &patches::patches(&x, c.patch, c.stride, p)?)?;
        let h = ops::add_broadcast(&h, &pass.param(self.position), 1, b * n, p * d)?;
        let mut h = ops::dropout(pass, &h, c.dropout)?;
        let mut earlier = Vec::new();
        for layer in &self.layers {
            h = self.encode(pass, layer, &h, &mut earlier)?;
        }
        let mut y = ops::reshape(&self.project(pass, &h)?, &[b, n, c.horizon * c.outputs])?;
        if let Some(statistics) = &statistics {
            y = ops::instance_denorm(&y, statistics, trained)?;
        }
        if c.outputs == 1 { Ok(y) } else { ops::reshape(&y, &[b, n, c.horizon, c.outputs]) }
    }
}
