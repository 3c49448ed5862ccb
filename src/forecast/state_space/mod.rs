//! Forecasts from blocks of state-space scans over the steps of a window.
//!
//! Every step of the (normalised) window becomes a vector; blocks x += scan(norm(x)) pass over the steps; what the last step holds
//! after them is mapped to the horizon. The state that a scan carries is of fixed size, so that the cost of a window grows with its
//! length alone.
//!
//! # Shapes
//! The stream is (sequences, L, d): a sequence is a channel of a window, or a window whose steps are vectors of all channels.
//!
//! # Cost
//! Per step and block about 6·d² multiply-adds at expansion 2 (projections), and what the scan costs; see [`crate::kernels::scan`].
//!
//! # Source
//! Blocks: Gu & Dao 2023 (Mamba), Dao & Gu 2024 (Mamba-2), Mamba-3 2026; window normalisation: Kim et al. 2022. That they are put
//! together this way to forecast is ours.

mod config;
#[cfg(test)]
mod tests;

pub use config::StateSpaceConfig;

use crate::forecast::neural::{Batch, Network};
use crate::kernels::elementwise::Activation;
use crate::nn::init::Init;
use crate::nn::params::Group;
use crate::nn::ssm::Mixer;
use crate::nn::{Builder, ParamId, Params, Pass, Value, ops};
use crate::run::seed::Streams;
use candle_core::{DType, Device, Result, bail};

/// Added to variances and mean squares under the root.
const NORM_EPS: f64 = 1e-5;

struct Block {
    norm: ParamId,
    mixer: Mixer,
}

/// The network; see the module's description.
pub struct StateSpace {
    config: StateSpaceConfig,
    params: Params,
    embed: (ParamId, ParamId),
    blocks: Vec<Block>,
    norm: ParamId,
    head: (ParamId, ParamId),
}

impl StateSpace {
    /// A network with freshly drawn weights.
    ///
    /// # Errors
    /// What [`StateSpaceConfig::check`] finds.
    pub fn new(config: StateSpaceConfig, dtype: DType, streams: &Streams) -> Result<Self> {
        if let Err(problem) = config.check() {
            bail!("{problem}");
        }
        let mixer = config.mixer().map_err(candle_core::Error::msg)?;
        let mut params = Params::new(dtype, &Device::Cpu);
        let mut b = Builder::drawn(&mut params, streams);
        let wrap = candle_core::Error::wrap;
        let d = config.d_model;
        let inputs = config.features + if config.channel_independent { 1 } else { config.channels };
        let affine = |b: &mut Builder<'_>, name: &str, out: usize, input: usize| -> Result<(ParamId, ParamId)> {
            let init = Init::FanInUniform { fan_in: input };
            let weight = b.get(format!("{name}.weight"), &[out, input], init, "the architecture").map_err(wrap)?;
            Ok((weight, b.get(format!("{name}.bias"), &[out], init, "the architecture").map_err(wrap)?))
        };
        let embed = affine(&mut b, "embed", d, inputs)?;
        let mut blocks = Vec::with_capacity(config.layers);
        for i in 0..config.layers {
            let one = Init::Constant(1.0);
            let norm = b.get(format!("layers.{i}.norm.weight"), &[d], one, "the architecture").map_err(wrap)?;
            let mixer = Mixer::new(&mut b, &format!("layers.{i}.mixer."), &mixer, config.layers as f64).map_err(wrap)?;
            blocks.push(Block { norm, mixer });
        }
        let norm = b.get("norm.weight".into(), &[d], Init::Constant(1.0), "the architecture").map_err(wrap)?;
        let per_sequence = if config.channel_independent { 1 } else { config.channels };
        let head = affine(&mut b, "head", per_sequence * config.horizon * config.outputs, d)?;
        for id in blocks.iter().flat_map(|b| b.mixer.undecayed()) {
            params.set_group(id, Group { rate: 1.0, decays: false });
        }
        Ok(Self { config, params, embed, blocks, norm, head })
    }

    /// What it is made of.
    pub fn config(&self) -> &StateSpaceConfig {
        &self.config
    }

    /// Windows (batch, N, L) as sequences of steps.
    fn sequences(&self, x: &Value, batch: &Batch) -> Result<Value> {
        let c = &self.config;
        let (b, n, l) = x.tensor().dims3()?;
        let x = match c.channel_independent {
            true => ops::reshape(x, &[b * n, l, 1])?,
            false => ops::permute(x, &[0, 2, 1])?,
        };
        if c.features == 0 {
            return Ok(x);
        }
        let Some(marks) = &batch.marks else {
            bail!("{}: the windows have no calendar features, but the model was trained with them", c.kind.name());
        };
        let mut marks = marks.narrow(2, 0, l)?.transpose(1, 2)?.contiguous()?;
        if c.channel_independent {
            marks = marks.unsqueeze(1)?.broadcast_as((b, n, l, c.features))?.reshape((b * n, l, c.features))?.contiguous()?;
        }
        ops::cat(&[&x, &Value::constant(&marks)], 2)
    }
}

impl Network for StateSpace {
    fn params(&self) -> &Params {
        &self.params
    }

    fn params_mut(&mut self) -> &mut Params {
        &mut self.params
    }

    fn forward(&self, pass: &Pass, batch: &Batch) -> Result<Value> {
        let c = &self.config;
        let (b, n, l) = batch.x.dims3()?;
        if l != c.lookback || (!c.channel_independent && n != c.channels) {
            let channels = if c.channel_independent { "any number of".into() } else { c.channels.to_string() };
            bail!("{}: takes windows of {channels} channels and {} steps, got {n} and {l}", c.kind.name(), c.lookback);
        }
        let mut x = Value::constant(&batch.x);
        let mut statistics = None;
        if c.normalize {
            let (y, stats) = ops::instance_norm(&x, None, NORM_EPS, false)?;
            (x, statistics) = (y, Some(stats));
        }
        let map = |x: &Value, (weight, bias): (ParamId, ParamId)| {
            ops::linear(x, &pass.param(weight), Some(&pass.param(bias)), Activation::Identity)
        };
        let mut h = map(&self.sequences(&x, batch)?, self.embed)?;
        for block in &self.blocks {
            let normed = ops::rms_norm(&h, &pass.param(block.norm), NORM_EPS)?;
            h = if pass.is_training() && c.dropout > 0.0 {
                let (y, _) = block.mixer.forward(pass, &normed, None, None)?;
                ops::add(&h, &ops::dropout(pass, &y, c.dropout)?)?
            } else {
                block.mixer.forward(pass, &normed, None, Some(&h))?.0
            };
        }
        let last = ops::reshape(&ops::narrow(&h, 1, l - 1, 1)?, &[h.dims()[0], c.d_model])?;
        let y = map(&ops::rms_norm(&last, &pass.param(self.norm), NORM_EPS)?, self.head)?;
        let mut y = ops::reshape(&y, &[b, n, c.horizon * c.outputs])?;
        if let Some(statistics) = &statistics {
            y = ops::instance_denorm(&y, statistics, None)?;
        }
        if c.outputs == 1 { Ok(y) } else { ops::reshape(&y, &[b, n, c.horizon, c.outputs]) }
    }
}
