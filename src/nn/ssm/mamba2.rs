//! The Mamba-2 block: state-space duality behind a short convolution, with a gated norm.

use super::mamba1::project;
use super::{STEP_FLOOR, STEPS};
use crate::nn::builder::Builder;
use crate::nn::init::Init;
use crate::nn::ops::{self, SsdInputs};
use crate::nn::params::{ParamId, WeightsError};
use crate::nn::pass::Pass;
use crate::nn::tape::Value;
use candle_core::Result;
use serde::{Deserialize, Serialize};

/// Sizes of a [`Mamba2`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Mamba2Config {
    /// Width of the stream, d.
    pub width: usize,
    /// Step sizes at the start are drawn between, evenly in the logarithm.
    #[serde(default = "super::default_steps")]
    pub steps: [f64; 2],
    /// States of a channel, n.
    pub states: usize,
    pub taps: usize,
    pub expand: usize,
    /// Channels of a head, p.
    pub head_width: usize,
    /// Groups of heads that share B and C.
    pub groups: usize,
    /// Channels that go through the scan; the others of expand · d are a gated perceptron beside it.
    pub scan_channels: usize,
    /// Smallest and largest step size.
    pub dt_range: [f64; 2],
    pub norm_before_gate: bool,
    /// The norm is over all channels instead of those of a group.
    pub whole_norm: bool,
    /// Added to the mean square.
    pub eps: f64,
    pub conv_bias: bool,
    pub bias: bool,
}

impl Mamba2Config {
    /// The published block: 128 states, 4 taps, expansion 2, heads of 64, one group.
    pub fn new(width: usize) -> Self {
        Self {
            width,
            steps: STEPS,
            states: 128,
            taps: 4,
            expand: 2,
            head_width: 64,
            groups: 1,
            scan_channels: 2 * width,
            dt_range: [0.0, f64::INFINITY],
            norm_before_gate: false,
            whole_norm: false,
            eps: 1e-5,
            conv_bias: true,
            bias: false,
        }
    }

    pub fn heads(&self) -> usize {
        self.scan_channels / self.head_width
    }

    /// Channels of the perceptron beside the scan.
    fn beside(&self) -> usize {
        self.expand * self.width - self.scan_channels
    }
}

/// What a [`Mamba2`] carries on.
#[derive(Clone)]
pub struct Mamba2State {
    /// The last inputs of the convolution: of x, (batch, taps − 1, channels), and of B and C, (batch, taps − 1, 2·groups·states).
    pub conv: [Value; 2],
    /// (batch, heads, head width, states).
    pub scan: Value,
}

/// The block of Dao & Gu 2024 (arXiv 2405.21060): z, x, B, C, δ = W·u; x, B, C = silu(conv(…)); scan; norm(y·silu(z)); W'·y.
#[derive(Debug, Clone)]
pub struct Mamba2 {
    config: Mamba2Config,
    in_proj: ParamId,
    in_bias: Option<ParamId>,
    conv_weight: ParamId,
    conv_bias: Option<ParamId>,
    dt_bias: ParamId,
    a_log: ParamId,
    skip: ParamId,
    /// D for each channel instead of each head.
    skip_per_channel: bool,
    norm: ParamId,
    out_proj: ParamId,
    out_bias: Option<ParamId>,
}

impl Mamba2 {
    /// Declares the parameters under `prefix`. `depth`: layers of the model, which the output is scaled down by.
    ///
    /// # Errors
    /// Stored tensors that do not fit.
    pub fn new(b: &mut Builder<'_>, prefix: &str, config: Mamba2Config, depth: f64) -> std::result::Result<Self, WeightsError> {
        let (d, c, h) = (config.width, config.scan_channels, config.heads());
        let shared = 2 * config.groups * config.states;
        let rows = 2 * config.beside() + 2 * c + shared + h;
        let name = |s: &str| format!("{prefix}{s}");
        let fan = |fan_in| Init::FanInUniform { fan_in };
        let sizes = "d_model, expand, headdim, ngroups, d_state";
        let in_proj = b.get(name("in_proj.weight"), &[rows, d], fan(d), sizes)?;
        let bias = |b: &mut Builder<'_>, s: &str, len| -> std::result::Result<Option<ParamId>, WeightsError> {
            config.bias.then(|| b.get(name(s), &[len], Init::Constant(0.0), "use_bias")).transpose()
        };
        let in_bias = bias(b, "in_proj.bias", rows)?;
        let conv_weight = b.get(name("conv1d.weight"), &[c + shared, 1, config.taps], fan(config.taps), sizes)?;
        let conv_bias =
            config.conv_bias.then(|| b.get(name("conv1d.bias"), &[c + shared], fan(config.taps), "use_conv_bias")).transpose()?;
        let [low, high] = config.steps;
        let floor = STEP_FLOOR;
        let dt_bias = b.get(name("dt_bias"), &[h], Init::StepBias { low, high, floor }, "headdim, expand")?;
        let a_log = b.get(name("A_log"), &[h], Init::LogOfUniform { low: 1.0, high: 16.0 }, "headdim, expand")?;
        let skip_per_channel = b.stored_len(&name("D")).is_some_and(|len| len == c && c != h);
        let skip = b.get(name("D"), &[if skip_per_channel { c } else { h }], Init::Constant(1.0), "headdim, expand")?;
        let norm = b.get(name("norm.weight"), &[c], Init::Constant(1.0), "d_model, expand")?;
        let inner = c + config.beside();
        let gain = (3.0 * depth).sqrt().recip();
        let out_proj =
            b.get(name("out_proj.weight"), &[d, inner], Init::KaimingUniform { fan_in: inner, gain }, "d_model, expand")?;
        let out_bias = bias(b, "out_proj.bias", d)?;
        Ok(Self {
            config,
            in_proj,
            in_bias,
            conv_weight,
            conv_bias,
            dt_bias,
            a_log,
            skip,
            skip_per_channel,
            norm,
            out_proj,
            out_bias,
        })
    }

    /// Its sizes.
    pub fn config(&self) -> &Mamba2Config {
        &self.config
    }

    /// Parameters that must not decay.
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
        state: Option<&Mamba2State>,
        residual: Option<&Value>,
    ) -> Result<(Value, Mamba2State)> {
        let Mamba2Config { states: n, groups: g, head_width: p, scan_channels: c, taps, .. } = self.config;
        let (h, shared, beside) = (self.config.heads(), 2 * g * n, self.config.beside());
        let (batch, steps, _) = u.tensor().dims3()?;
        let (w, bias) = (pass.param(self.in_proj), self.in_bias.map(|b| pass.param(b)));
        // Rows of the weight instead of columns of the result: the large parts are not copied.
        let rows = |start: usize, len: usize| -> Result<Value> {
            let bias = bias.as_ref().map(|b| ops::narrow(b, 0, start, len)).transpose()?;
            let w = ops::narrow(&w, 0, start, len)?;
            ops::linear(u, &w, bias.as_ref(), crate::kernels::elementwise::Activation::Identity)
        };
        let first = 2 * beside;
        let (z, x) = (rows(first, c)?, rows(first + c, c)?);
        let rest = rows(first + 2 * c, shared + h)?;
        let (couplings, dt) = (ops::narrow(&rest, 2, 0, shared)?, ops::narrow(&rest, 2, shared, h)?);
        let kernel = ops::reshape(&pass.param(self.conv_weight), &[c + shared, taps])?;
        let conv_bias = self.conv_bias.map(|b| pass.param(b));
        let conv = |x: &Value, start: usize, len: usize, which: usize| -> Result<(Value, Value)> {
            let bias = conv_bias.as_ref().map(|b| ops::narrow(b, 0, start, len)).transpose()?;
            ops::causal_conv(x, &ops::narrow(&kernel, 0, start, len)?, bias.as_ref(), state.map(|s| &s.conv[which]), true)
        };
        let (x, conv_x) = conv(&x, 0, c, 0)?;
        let (couplings, conv_shared) = conv(&couplings, c, shared, 1)?;
        let dt = ops::step_sizes(&dt, &pass.param(self.dt_bias), self.config.dt_range)?;
        let part = |start| ops::reshape(&ops::narrow(&couplings, 2, start, g * n)?, &[batch, steps, g, n]);
        let (a_log, mut skip) = (pass.param(self.a_log), pass.param(self.skip));
        if self.skip_per_channel {
            skip = ops::reshape(&skip, &[h, p])?;
        }
        let (y, scan) = ops::ssd_scan(&SsdInputs {
            x: &ops::reshape(&x, &[batch, steps, h, p])?,
            dt: &dt,
            a_log: &a_log,
            b: &part(0)?,
            c: &part(g * n)?,
            skip: Some(&skip),
            initial: state.map(|s| &s.scan),
        })?;
        let y = ops::reshape(&y, &[batch, steps, c])?;
        let group = if self.config.whole_norm { c } else { c / g };
        let norm = ops::RmsGate { group, eps: self.config.eps, norm_first: self.config.norm_before_gate };
        let mut y = ops::gated_rms_norm(&y, &z, &pass.param(self.norm), norm)?;
        if beside > 0 {
            let mlp = ops::silu_gate(&rows(beside, beside)?, &rows(0, beside)?)?;
            y = ops::cat(&[&mlp, &y], 2)?;
        }
        let out = project(pass, &y, self.out_proj, self.out_bias, residual)?;
        Ok((out, Mamba2State { conv: [conv_x, conv_shared], scan }))
    }
}
