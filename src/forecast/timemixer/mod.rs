//! TimeMixer: an all-MLP forecaster that mixes a window at several time scales.
//!
//! The window is pooled to coarser scales; in each block every scale is split into season and trend, seasons are mixed from fine to
//! coarse and trends from coarse to fine by small MLPs along time, and each scale predicts the horizon with its own linear head; the
//! forecasts of the scales are added up.
//!
//! # Shapes
//! Hidden states are (rows, d_model, T_i), time last: rows = batch · channels in the channel-independent form, batch in the
//! channel-mixing form. The channel-independent form with the moving average keeps all scales in one tensor instead and runs each
//! block as one operation, see `fused.rs`.
//!
//! # Cost
//! Per row and block about 2 d (Σ T_i T_{i+1} + T_{i+1}²) multiply-adds for season and as much for trend, 2 d d_ff ΣT_i for the
//! channel MLP; heads H ΣT_i + d ΣT_i.
//!
//! # Source
//! Wang et al., TimeMixer: Decomposable Multiscale Mixing for Time Series Forecasting, ICLR 2024 (arXiv 2405.14616), and the
//! authors' program. Changed: the head's projection d → 1 is applied before the linear map along time instead of after it (the two
//! commute, which saves a factor d); `Dft` decomposes each series along time and keeps exactly k frequencies (in the program it keeps
//! all; see [`Decomposition::DftReference`]); the convolution between scales is trained (in the program it is drawn anew at every
//! call); calendar features are matched to their own window unless [`MarkOrder::Reference`] is asked for; when pooling drops a
//! remainder, the calendar features of the dropped steps are dropped too.

mod config;
mod fused;
pub mod presets;
#[cfg(test)]
mod tests;

pub use config::{Decomposition, MarkOrder, Pooling, TimeMixerConfig};

use crate::forecast::neural::{Batch, Network};
use crate::kernels::elementwise::Activation;
use crate::nn::init::Init;
use crate::nn::ops::{self, Statistics};
use crate::nn::{ParamId, Params, Pass, Value};
use crate::run::seed::Streams;
use candle_core::{DType, Device, Result, Tensor, bail};

/// Added to the variance under the root.
const NORM_EPS: f64 = 1e-5;
/// Width of the embedding's convolution.
const TOKEN_KERNEL: usize = 3;

/// A weight and a bias.
#[derive(Debug, Clone, Copy)]
struct Affine {
    weight: ParamId,
    bias: ParamId,
}

/// Two affine maps with a GELU between them.
#[derive(Debug, Clone, Copy)]
struct Mlp {
    first: Affine,
    second: Affine,
}

struct Block {
    /// From scale i to i + 1.
    season: Vec<Mlp>,
    /// In the order they are applied: from scale M − i to M − i − 1.
    trend: Vec<Mlp>,
    /// `out` of the channel-independent form, `cross` of the mixing form.
    channel: Mlp,
}

/// The network; see the module's description.
pub struct TimeMixer {
    config: TimeMixerConfig,
    params: Params,
    blocks: Vec<Block>,
    token: ParamId,
    time: Option<ParamId>,
    norms: Vec<Affine>,
    heads: Vec<Affine>,
    projection: Affine,
    /// `out_res` and `regr` of the mixing form.
    residual: Vec<(Affine, Affine)>,
    down: Option<ParamId>,
    /// Whether blocks are run as one operation each.
    fused: bool,
}

impl TimeMixer {
    /// A network with freshly drawn weights.
    ///
    /// # Errors
    /// What [`TimeMixerConfig::check`] finds.
    pub fn new(config: TimeMixerConfig, dtype: DType, streams: &Streams) -> Result<Self> {
        if let Err(problem) = config.check() {
            bail!("{problem}");
        }
        let mut params = Params::new(dtype, &Device::Cpu);
        let lengths = config.lengths();
        let (n, d, ff) = (config.channels, config.d_model, config.d_ff);
        let mut affine = |name: &str, out: usize, input: usize| -> Result<Affine> {
            let init = Init::FanInUniform { fan_in: input };
            Ok(Affine {
                weight: params.declare(format!("{name}.weight"), &[out, input], init, streams)?,
                bias: params.declare(format!("{name}.bias"), &[out], init, streams)?,
            })
        };
        let mut mlp = |name: String, input: usize, hidden: usize, out: usize| -> Result<Mlp> {
            Ok(Mlp { first: affine(&format!("{name}.0"), hidden, input)?, second: affine(&format!("{name}.2"), out, hidden)? })
        };
        let channel = if config.channel_independent { "out" } else { "cross" };
        let blocks = (0..config.layers)
            .map(|e| {
                let pairs: Vec<(usize, usize)> = lengths.windows(2).map(|t| (t[0], t[1])).collect();
                Ok(Block {
                    season: (pairs.iter().enumerate())
                        .map(|(i, &(fine, coarse))| mlp(format!("pdm{e}.season{i}"), fine, coarse, coarse))
                        .collect::<Result<_>>()?,
                    trend: (pairs.iter().rev().enumerate())
                        .map(|(i, &(fine, coarse))| mlp(format!("pdm{e}.trend{i}"), coarse, fine, fine))
                        .collect::<Result<_>>()?,
                    channel: mlp(format!("pdm{e}.{channel}"), d, ff, d)?,
                })
            })
            .collect::<Result<Vec<_>>>()?;
        let inputs = if config.channel_independent { 1 } else { n };
        // Gain of a leaky ReLU with slope 0.01, as the published program asks for.
        let gain = (2.0f64 / (1.0 + 0.01f64.powi(2))).sqrt();
        let kaiming = Init::KaimingNormal { fan_in: inputs * TOKEN_KERNEL, gain };
        let token = params.declare("embed.token.weight", &[d, inputs, TOKEN_KERNEL], kaiming, streams)?;
        let time = match config.features {
            0 => None,
            f => Some(params.declare("embed.time.weight", &[d, f], Init::FanInUniform { fan_in: f }, streams)?),
        };
        // The checkpoint's order: all gains, then all shifts.
        let gains = (0..lengths.len())
            .map(|i| params.declare(format!("norm{i}.weight"), &[n], Init::Constant(1.0), streams))
            .collect::<Result<Vec<_>>>()?;
        let norms = gains
            .into_iter()
            .enumerate()
            .map(|(i, weight)| {
                Ok(Affine { weight, bias: params.declare(format!("norm{i}.bias"), &[n], Init::Constant(0.0), streams)? })
            })
            .collect::<Result<_>>()?;
        let mut affine = |name: String, out: usize, input: usize| -> Result<Affine> {
            let init = Init::FanInUniform { fan_in: input };
            Ok(Affine {
                weight: params.declare(format!("{name}.weight"), &[out, input], init, streams)?,
                bias: params.declare(format!("{name}.bias"), &[out], init, streams)?,
            })
        };
        let heads = (lengths.iter().enumerate())
            .map(|(i, &t)| affine(format!("pred{i}"), config.horizon, t))
            .collect::<Result<Vec<_>>>()?;
        let outputs = if config.channel_independent { config.outputs } else { n * config.outputs };
        let projection = affine("proj".into(), outputs, d)?;
        let mut residual = Vec::new();
        if !config.channel_independent {
            let keep =
                (lengths.iter().enumerate()).map(|(i, &t)| affine(format!("out_res{i}"), t, t)).collect::<Result<Vec<_>>>()?;
            for (i, (keep, &t)) in keep.into_iter().zip(&lengths).enumerate() {
                residual.push((keep, affine(format!("regr{i}"), config.horizon, t)?));
            }
        }
        let down = match config.pooling {
            Pooling::Conv if config.scales > 0 => {
                let init = Init::FanInUniform { fan_in: n * TOKEN_KERNEL };
                Some(params.declare("down.weight", &[n, n, TOKEN_KERNEL], init, streams)?)
            }
            _ => None,
        };
        let fused = config.channel_independent && matches!(config.decomposition, Decomposition::MovingAverage { .. });
        Ok(Self { config, params, blocks, token, time, norms, heads, projection, residual, down, fused })
    }

    /// What it is made of.
    pub fn config(&self) -> &TimeMixerConfig {
        &self.config
    }

    /// The window at every scale, (b, n, T_i).
    fn pool(&self, pass: &Pass, x: &Tensor) -> Result<Vec<Value>> {
        let mut scales = vec![Value::constant(x)];
        for _ in 0..self.config.scales {
            let fine = &scales[scales.len() - 1];
            let coarse = match (self.config.pooling, self.down) {
                (Pooling::Conv, Some(down)) => self.strided_convolution(&pass.param(down), fine)?,
                (Pooling::Max, _) => ops::max_pool(fine, self.config.window)?,
                _ => ops::avg_pool(fine, self.config.window)?,
            };
            scales.push(coarse);
        }
        Ok(scales)
    }

    /// Circular convolution of width 3 at every `window`-th step, as many steps as pooling gives.
    fn strided_convolution(&self, weight: &Value, x: &Value) -> Result<Value> {
        let (b, n, t) = x.tensor().dims3()?;
        let kernel = ops::reshape(weight, &[n, n * TOKEN_KERNEL])?;
        let all = ops::linear_mid(&ops::circular_unfold(x, TOKEN_KERNEL)?, &kernel, None, Activation::Identity)?;
        let steps = t / self.config.window;
        let chosen: Vec<u32> = (0..steps).map(|i| (i * self.config.window) as u32).collect();
        let time_first = ops::permute(&all, &[2, 0, 1])?;
        let taken = ops::index_rows(&time_first, &Tensor::from_vec(chosen, steps, x.tensor().device())?)?;
        ops::reshape(&ops::permute(&taken, &[1, 2, 0])?, &[b, n, steps])
    }

    /// The embedded calendar features, (b, d, steps).
    fn embed_marks(&self, pass: &Pass, marks: &Tensor, every: usize, steps: usize) -> Result<Option<Value>> {
        let Some(time) = self.time else { return Ok(None) };
        let marks = every_mark(marks, every, steps)?;
        Ok(Some(ops::linear_mid(&Value::constant(&marks), &pass.param(time), None, Activation::Identity)?))
    }

    /// Adds what belongs to a window to all its rows. `h`: (rows, d, t), `per_window`: (b, d, t).
    fn add_to_rows(&self, h: &Value, per_window: &Value) -> Result<Value> {
        let (b, d, t) = per_window.tensor().dims3()?;
        let n = h.dims()[0] / b.max(1);
        match self.config.mark_order {
            MarkOrder::Aligned => ops::add_broadcast(h, per_window, b, n, d * t),
            MarkOrder::Reference => ops::add_broadcast(h, per_window, 1, n, b * d * t),
        }
    }

    fn split(&self, h: &Value) -> Result<(Value, Value)> {
        match self.config.decomposition {
            Decomposition::MovingAverage { window } => ops::decompose(h, window),
            Decomposition::Dft { top_k } => ops::dft_decompose(h, top_k),
            Decomposition::DftReference => {
                let first = h.tensor().narrow(0, 0, 1)?;
                let rest = h.tensor().narrow(0, 1, h.dims()[0] - 1)?;
                let season = Tensor::cat(&[&first.zeros_like()?, &rest.ones_like()?], 0)?;
                let trend = Tensor::cat(&[&first.ones_like()?, &rest.zeros_like()?], 0)?;
                Ok((ops::mul(h, &season.into())?, ops::mul(h, &trend.into())?))
            }
        }
    }

    /// One past-decomposable-mixing block.
    fn block(&self, pass: &Pass, block: &Block, h: &[Value]) -> Result<Vec<Value>> {
        let mid = |x: &Value, m: &Mlp, residual: Option<&Value>| {
            let [w1, b1, w2, b2] = mlp_values(pass, m);
            ops::mlp_mid(x, &w1, Some(&b1), Activation::Gelu, &w2, Some(&b2), residual)
        };
        let mix = |x: &Value, m: &Mlp, onto: &Value| {
            let [w1, b1, w2, b2] = mlp_values(pass, m);
            ops::mlp(x, &w1, Some(&b1), Activation::Gelu, &w2, Some(&b2), Some(onto))
        };
        let (mut season, mut trend) = (Vec::new(), Vec::new());
        for x in h {
            let (mut s, mut t) = self.split(x)?;
            if !self.config.channel_independent {
                s = mid(&s, &block.channel, None)?;
                t = mid(&t, &block.channel, None)?;
            }
            season.push(s);
            trend.push(t);
        }
        for i in 0..block.season.len() {
            season[i + 1] = mix(&season[i], &block.season[i], &season[i + 1])?;
        }
        for (i, m) in block.trend.iter().enumerate() {
            let coarse = trend.len() - 1 - i;
            trend[coarse - 1] = mix(&trend[coarse], m, &trend[coarse - 1])?;
        }
        h.iter()
            .zip(season.iter().zip(&trend))
            .map(|(x, (s, t))| {
                let mixed = ops::add(s, t)?;
                if self.config.channel_independent { mid(&mixed, &block.channel, Some(x)) } else { Ok(mixed) }
            })
            .collect()
    }

    /// Steps forward of one scale: (rows, outputs, H) without the shares of the biases.
    fn head(&self, pass: &Pass, i: usize, h: &Value) -> Result<Value> {
        let projected = ops::linear_mid(h, &pass.param(self.projection.weight), None, Activation::Identity)?;
        ops::linear(&projected, &pass.param(self.heads[i].weight), None, Activation::Identity)
    }

    /// What the biases of heads and projection add to every row, (outputs, H): (Σ_c p_c) Σ_i b_i + (M + 1) p_0.
    fn head_bias(&self, pass: &Pass) -> Result<Value> {
        let p = pass.param(self.projection.weight);
        let (outputs, d) = p.tensor().dims2()?;
        let ones = |a: usize, b: usize| Tensor::ones((a, b), p.tensor().dtype(), p.tensor().device()).map(Value::from);
        let row_sums = ops::linear(&p, &ones(1, d)?, None, Activation::Identity)?;
        let mut along_time = ops::reshape(&pass.param(self.heads[0].bias), &[self.config.horizon, 1])?;
        for head in &self.heads[1..] {
            along_time = ops::add(&along_time, &ops::reshape(&pass.param(head.bias), &[self.config.horizon, 1])?)?;
        }
        let from_heads = ops::linear(&row_sums, &along_time, None, Activation::Identity)?;
        let shift = ops::reshape(&pass.param(self.projection.bias), &[outputs, 1])?;
        let from_projection = ops::linear(&shift, &ones(self.config.horizon, 1)?, None, Activation::Identity)?;
        ops::add(&from_heads, &ops::scale(&from_projection, self.heads.len() as f64)?)
    }

    /// From the normalised scales (b, n, T_i) to the forecast (rows, outputs, H) without the shares of the biases. `trends` gets the trend
    /// of each scale that the channel-mixing form splits off first.
    fn forecast(&self, pass: &Pass, batch: &Batch, scales: Vec<Value>, trends: &mut Vec<Value>) -> Result<Value> {
        let c = &self.config;
        let mut hidden = Vec::new();
        let mut every = 1;
        for mut x in scales {
            let (b, n, t) = x.tensor().dims3()?;
            if c.channel_independent {
                x = ops::reshape(&x, &[b * n, 1, t])?;
            } else {
                let (season, trend) = ops::decompose(&x, c.moving_average)?;
                x = season;
                trends.push(trend);
            }
            let token = pass.param(self.token);
            let kernel = ops::reshape(&token, &[c.d_model, token.dims()[1] * TOKEN_KERNEL])?;
            let mut h = ops::linear_mid(&ops::circular_unfold(&x, TOKEN_KERNEL)?, &kernel, None, Activation::Identity)?;
            if let Some(marks) = &batch.marks
                && let Some(embedded) = self.embed_marks(pass, marks, every, t)?
            {
                h = self.add_to_rows(&h, &embedded)?;
            }
            hidden.push(ops::dropout(pass, &h, c.dropout)?);
            every *= c.window;
        }
        for block in &self.blocks {
            hidden = self.block(pass, block, &hidden)?;
        }
        let mut y = self.head(pass, 0, &hidden[0])?;
        for (i, h) in hidden.iter().enumerate().skip(1) {
            y = ops::add(&y, &self.head(pass, i, h)?)?;
        }
        Ok(y)
    }

    /// What the calendar of the horizon adds, (b, outputs, H), from all scales.
    fn future(&self, pass: &Pass, batch: &Batch) -> Result<Option<Value>> {
        if !self.config.future_features {
            return Ok(None);
        }
        let Some(marks) = &batch.future_marks else {
            bail!("timemixer: the time features of the horizon are not known, but the model was trained with them");
        };
        let Some(embedded) = self.embed_marks(pass, marks, 1, self.config.horizon)? else { return Ok(None) };
        let embedded = ops::dropout(pass, &embedded, self.config.dropout)?;
        let projected = ops::linear_mid(&embedded, &pass.param(self.projection.weight), None, Activation::Identity)?;
        Ok(Some(ops::scale(&projected, self.heads.len() as f64)?))
    }
}

/// Every `every`-th of the calendar features (b, f, t), `steps` of them.
fn every_mark(marks: &Tensor, every: usize, steps: usize) -> Result<Tensor> {
    if every == 1 {
        return marks.narrow(2, 0, steps)?.contiguous();
    }
    let rows: Vec<u32> = (0..steps).map(|i| (i * every) as u32).collect();
    marks.index_select(&Tensor::from_vec(rows, steps, marks.device())?, 2)
}

fn mlp_values(pass: &Pass, m: &Mlp) -> [Value; 4] {
    [m.first.weight, m.first.bias, m.second.weight, m.second.bias].map(|id| pass.param(id))
}

impl Network for TimeMixer {
    fn params(&self) -> &Params {
        &self.params
    }

    fn params_mut(&mut self) -> &mut Params {
        &mut self.params
    }

    fn forward(&self, pass: &Pass, batch: &Batch) -> Result<Value> {
        let c = &self.config;
        let (b, n, l) = batch.x.dims3()?;
        if (n, l) != (c.channels, c.lookback) {
            bail!("timemixer: takes windows of {} channels and {} steps, got {n} and {l}", c.channels, c.lookback);
        }
        let rows = if c.channel_independent { b * n } else { b };
        let mut statistics: Option<Statistics> = None;
        let mut scales = self.pool(pass, &batch.x)?;
        if c.normalize {
            for (x, norm) in scales.iter_mut().zip(&self.norms) {
                let (gain, shift) = (pass.param(norm.weight), pass.param(norm.bias));
                let (y, stats) = ops::instance_norm(x, Some((&gain, &shift)), NORM_EPS, false)?;
                *x = y;
                statistics.get_or_insert(stats);
            }
        }
        let mut trends = Vec::new();
        let mut y = if self.fused {
            self.fused_forecast(pass, batch, &scales)?
        } else {
            self.forecast(pass, batch, scales, &mut trends)?
        };
        let per_row = y.dims()[1] * c.horizon;
        y = ops::add_broadcast(&y, &self.head_bias(pass)?, 1, rows, per_row)?;
        if let Some(future) = self.future(pass, batch)? {
            y = self.add_to_rows(&y, &future)?;
        }
        for (trend, (i, (keep, regression))) in trends.iter().zip(self.residual.iter().enumerate()) {
            debug_assert!(i < self.heads.len());
            let affine =
                |x: &Value, a: &Affine| ops::linear(x, &pass.param(a.weight), Some(&pass.param(a.bias)), Activation::Identity);
            let forecast = affine(&affine(trend, keep)?, regression)?;
            // Every output of a channel gets the channel's trend.
            y = ops::add_broadcast(&y, &forecast, b * n, c.outputs, c.horizon)?;
        }
        y = ops::reshape(&y, &[b, n, c.outputs * c.horizon])?;
        if let Some(statistics) = &statistics {
            let (gain, shift) = (pass.param(self.norms[0].weight), pass.param(self.norms[0].bias));
            y = ops::instance_denorm(&y, statistics, Some((&gain, &shift)))?;
        }
        if c.outputs == 1 {
            return Ok(y);
        }
        ops::permute(&ops::reshape(&y, &[b, n, c.outputs, c.horizon])?, &[0, 1, 3, 2])
    }
}
