//! The Mamba block: gated selective scan behind a short convolution.

use super::{STEP_FLOOR, STEPS};
use crate::nn::builder::Builder;
use crate::nn::init::Init;
use crate::nn::ops::{self, SelectiveInputs};
use crate::nn::params::{ParamId, WeightsError};
use crate::nn::pass::Pass;
use crate::nn::tape::Value;
use candle_core::Result;
use serde::{Deserialize, Serialize};

/// Sizes of a [`Mamba1`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Mamba1Config {
    /// Width of the stream, d.
    pub width: usize,
    /// Step sizes at the start are drawn between, evenly in the logarithm.
    #[serde(default = "super::default_steps")]
    pub steps: [f64; 2],
    /// States of a channel, n.
    pub states: usize,
    /// Taps of the convolution.
    pub taps: usize,
    /// Channels of the scan over the width.
    pub expand: usize,
    /// Inputs of the projection of δ, r.
    pub dt_rank: usize,
    /// Whether the convolution has a bias, and the projections.
    pub conv_bias: bool,
    pub bias: bool,
}

impl Mamba1Config {
    /// The published block: 16 states, 4 taps, expansion 2, r = ⌈d/16⌉.
    pub fn new(width: usize) -> Self {
        Self { width, steps: STEPS, states: 16, taps: 4, expand: 2, dt_rank: width.div_ceil(16), conv_bias: true, bias: false }
    }

    /// Channels of the scan.
    pub fn channels(&self) -> usize {
        self.expand * self.width
    }
}

/// What a [`Mamba1`] carries on.
#[derive(Clone)]
pub struct Mamba1State {
    /// The last inputs of the convolution, (batch, taps − 1, channels).
    pub conv: Value,
    /// (batch, channels, states).
    pub scan: Value,
}

/// The block of Gu & Dao 2023 (arXiv 2312.00752): x, z = W·u; x = silu(conv(x)); δ, B, C from x; scan gated by silu(z); W'·y.
#[derive(Debug, Clone)]
pub struct Mamba1 {
    config: Mamba1Config,
    in_proj: ParamId,
    in_bias: Option<ParamId>,
    conv_weight: ParamId,
    conv_bias: Option<ParamId>,
    x_proj: ParamId,
    dt_weight: ParamId,
    dt_bias: ParamId,
    a_log: ParamId,
    skip: ParamId,
    out_proj: ParamId,
    out_bias: Option<ParamId>,
}

impl Mamba1 {
    /// Declares the parameters under `prefix` (`in_proj.weight`, …). `depth`: layers of the model, which the output is scaled down by.
    ///
    /// # Errors
    /// Stored tensors that do not fit.
    pub fn new(b: &mut Builder<'_>, prefix: &str, config: Mamba1Config, depth: f64) -> std::result::Result<Self, WeightsError> {
        let (d, c, n, r) = (config.width, config.channels(), config.states, config.dt_rank);
        let name = |s: &str| format!("{prefix}{s}");
        let fan = |fan_in| Init::FanInUniform { fan_in };
        let in_proj = b.get(name("in_proj.weight"), &[2 * c, d], fan(d), "d_model, expand")?;
        let bias = |b: &mut Builder<'_>, s: &str, len| -> std::result::Result<Option<ParamId>, WeightsError> {
            config.bias.then(|| b.get(name(s), &[len], Init::Constant(0.0), "use_bias")).transpose()
        };
        let in_bias = bias(b, "in_proj.bias", 2 * c)?;
        let conv_weight = b.get(name("conv1d.weight"), &[c, 1, config.taps], fan(config.taps), "d_model, expand, d_conv")?;
        let conv_bias =
            config.conv_bias.then(|| b.get(name("conv1d.bias"), &[c], fan(config.taps), "use_conv_bias")).transpose()?;
        let x_proj = b.get(name("x_proj.weight"), &[r + 2 * n, c], fan(c), "dt_rank, d_state, expand")?;
        let bound = (r as f64).powf(-0.5);
        let dt_weight = b.get(name("dt_proj.weight"), &[c, r], Init::Uniform { bound }, "dt_rank, expand")?;
        let [low, high] = config.steps;
        let floor = STEP_FLOOR;
        let dt_bias = b.get(name("dt_proj.bias"), &[c], Init::StepBias { low, high, floor }, "d_model, expand")?;
        let a_log = b.get(name("A_log"), &[c, n], Init::LogCounting { period: n }, "d_state, expand")?;
        let skip = b.get(name("D"), &[c], Init::Constant(1.0), "d_model, expand")?;
        let gain = (3.0 * depth).sqrt().recip();
        let out_proj = b.get(name("out_proj.weight"), &[d, c], Init::KaimingUniform { fan_in: c, gain }, "d_model, expand")?;
        let out_bias = bias(b, "out_proj.bias", d)?;
        Ok(Self { config, in_proj, in_bias, conv_weight, conv_bias, x_proj, dt_weight, dt_bias, a_log, skip, out_proj, out_bias })
    }

    /// Its sizes.
    pub fn config(&self) -> &Mamba1Config {
        &self.config
    }

    /// Parameters that must not decay: rates, direct path, biases of step sizes.
    pub fn undecayed(&self) -> Vec<ParamId> {
        vec![self.a_log, self.skip, self.dt_bias]
    }

    /// (batch, steps, width) → same, added to `residual` if there is one; and what to carry on.
    ///
    /// # Errors
    /// Shapes that do not fit.
    pub fn forward(
        &self,
        pass: &Pass,
        u: &Value,
        state: Option<&Mamba1State>,
        residual: Option<&Value>,
    ) -> Result<(Value, Mamba1State)> {
        let (c, n, r) = (self.config.channels(), self.config.states, self.config.dt_rank);
        let (batch, steps, _) = u.tensor().dims3()?;
        let (w, bias) = (pass.param(self.in_proj), self.in_bias.map(|b| pass.param(b)));
        // Halves of the weight instead of halves of the result: nothing is copied.
        let half = |start: usize| -> Result<Value> {
            let bias = bias.as_ref().map(|b| ops::narrow(b, 0, start, c)).transpose()?;
            ops::linear(u, &ops::narrow(&w, 0, start, c)?, bias.as_ref(), crate::kernels::elementwise::Activation::Identity)
        };
        let (x, z) = (half(0)?, half(c)?);
        let kernel = ops::reshape(&pass.param(self.conv_weight), &[c, self.config.taps])?;
        let conv_bias = self.conv_bias.map(|b| pass.param(b));
        let (x, conv) = ops::causal_conv(&x, &kernel, conv_bias.as_ref(), state.map(|s| &s.conv), true)?;
        let couplings = plain(&x, &pass.param(self.x_proj))?;
        let delta = plain(&ops::narrow(&couplings, 2, 0, r)?, &pass.param(self.dt_weight))?;
        let part = |start| ops::reshape(&ops::narrow(&couplings, 2, start, n)?, &[batch, steps, 1, n]);
        let (a_log, skip, delta_bias) = (pass.param(self.a_log), pass.param(self.skip), pass.param(self.dt_bias));
        let (y, scan) = ops::selective_scan(&SelectiveInputs {
            u: &x,
            delta: &delta,
            a_log: &a_log,
            b: &part(r)?,
            c: &part(r + n)?,
            skip: Some(&skip),
            z: Some(&z),
            delta_bias: Some(&delta_bias),
            initial: state.map(|s| &s.scan),
        })?;
        let out = project(pass, &y, self.out_proj, self.out_bias, residual)?;
        Ok((out, Mamba1State { conv, scan }))
    }
}

/// x·Wᵀ.
pub(super) fn plain(x: &Value, w: &Value) -> Result<Value> {
    ops::linear(x, w, None, crate::kernels::elementwise::Activation::Identity)
}

/// The projection back to the stream, onto it if there is one.
pub(super) fn project(pass: &Pass, y: &Value, w: ParamId, bias: Option<ParamId>, residual: Option<&Value>) -> Result<Value> {
    let (w, bias) = (pass.param(w), bias.map(|b| pass.param(b)));
    match residual {
        Some(residual) => ops::linear_onto(y, &w, bias.as_ref(), residual),
        None => ops::linear(y, &w, bias.as_ref(), crate::kernels::elementwise::Activation::Identity),
    }
}
