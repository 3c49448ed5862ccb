//! The Mamba-3 block: exponential-trapezoidal steps and rotated states, without a convolution.

use super::mamba1::{plain, project};
use super::{STEP_FLOOR, STEPS};
use crate::kernels::scan::mamba3::Rotation;
use crate::kernels::scan::step_size::{Decay, Rate};
use crate::nn::builder::Builder;
use crate::nn::init::Init;
use crate::nn::ops::{self, Mamba3Inputs, Mamba3States};
use crate::nn::params::{ParamId, WeightsError};
use crate::nn::pass::Pass;
use crate::nn::tape::Value;
use candle_core::Result;
use serde::{Deserialize, Serialize};

/// Sizes of a [`Mamba3`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Mamba3Config {
    /// Width of the stream, d.
    pub width: usize,
    /// Step sizes at the start are drawn between, evenly in the logarithm.
    #[serde(default = "super::default_steps")]
    pub steps: [f64; 2],
    /// States of a channel, n.
    pub states: usize,
    pub expand: usize,
    /// Channels of a head, p.
    pub head_width: usize,
    /// Groups of heads that share B and C.
    pub groups: usize,
    /// Keys and queries of a step; 0: one, without mixes (SISO).
    pub mimo_rank: usize,
    /// Share of the states that is rotated, 0, 0.5 or 1. At 0 no angle is computed.
    pub rope_fraction: f64,
    /// How A comes from its projection. A checkpoint does not say: heavy-tail in state-spaces since June 2026, softplus before.
    pub rate: Rate,
    /// Least −A.
    pub floor: f64,
    /// Whether each head is normalised before the gate.
    pub out_norm: bool,
    /// Added to mean squares.
    pub eps: f64,
}

impl Mamba3Config {
    /// The published SISO block: 128 states, expansion 2, heads of 64, half of the states rotated.
    pub fn new(width: usize) -> Self {
        Self {
            width,
            steps: STEPS,
            states: 128,
            expand: 2,
            head_width: 64,
            groups: 1,
            mimo_rank: 0,
            rope_fraction: 0.5,
            rate: Rate::HeavyTail,
            floor: 1e-4,
            out_norm: false,
            eps: 1e-5,
        }
    }

    pub fn channels(&self) -> usize {
        self.expand * self.width
    }

    pub fn heads(&self) -> usize {
        self.channels() / self.head_width
    }

    /// Keys and queries of a step.
    pub fn rank(&self) -> usize {
        self.mimo_rank.max(1)
    }

    /// Rotated pairs of states.
    pub fn angles(&self) -> usize {
        (self.states as f64 * self.rope_fraction) as usize / 2
    }
}

/// What a [`Mamba3`] carries on.
pub type Mamba3State = Mamba3States;

/// The block of Mamba-3 (arXiv 2603.15569): z, x, B, C, δ, A, λ, φ = W·u; B and C normalised over the states; scan; W'·y.
#[derive(Debug, Clone)]
pub struct Mamba3 {
    config: Mamba3Config,
    in_proj: ParamId,
    dt_bias: ParamId,
    k_bias: ParamId,
    q_bias: ParamId,
    k_norm: ParamId,
    q_norm: ParamId,
    skip: ParamId,
    /// mx, mz, mo.
    mixes: Option<[ParamId; 3]>,
    norm: Option<ParamId>,
    out_proj: ParamId,
}

impl Mamba3 {
    /// Declares the parameters under `prefix`. `depth`: layers of the model, which the output is scaled down by.
    ///
    /// # Errors
    /// Stored tensors that do not fit.
    pub fn new(b: &mut Builder<'_>, prefix: &str, config: Mamba3Config, depth: f64) -> std::result::Result<Self, WeightsError> {
        let (d, c, h, n, r) = (config.width, config.channels(), config.heads(), config.states, config.rank());
        let rows = 2 * c + 2 * n * config.groups * r + 3 * h + config.angles();
        let name = |s: &str| format!("{prefix}{s}");
        let one = Init::Constant(1.0);
        let sizes = "d_model, expand, headdim, ngroups, d_state, mimo_rank, rope_fraction";
        let in_proj = b.get(name("in_proj.weight"), &[rows, d], Init::FanInUniform { fan_in: d }, sizes)?;
        let [low, high] = config.steps;
        let floor = STEP_FLOOR;
        let dt_bias = b.get(name("dt_bias"), &[h], Init::StepBias { low, high, floor }, "headdim, expand")?;
        let k_bias = b.get(name("B_bias"), &[h, r, n], one, "headdim, mimo_rank, d_state")?;
        let q_bias = b.get(name("C_bias"), &[h, r, n], one, "headdim, mimo_rank, d_state")?;
        let k_norm = b.get(name("B_norm.weight"), &[n], one, "d_state")?;
        let q_norm = b.get(name("C_norm.weight"), &[n], one, "d_state")?;
        let skip = b.get(name("D"), &[h], one, "headdim, expand")?;
        let mix = |b: &mut Builder<'_>, s: &str, value: f64| {
            b.get(name(s), &[h, r, config.head_width], Init::Constant(value), "headdim, mimo_rank")
        };
        let mixes = if config.mimo_rank > 0 {
            let share = 1.0 / r as f64;
            Some([mix(b, "mimo_x", share)?, mix(b, "mimo_z", 1.0)?, mix(b, "mimo_o", share)?])
        } else {
            None
        };
        let norm = config.out_norm.then(|| b.get(name("norm.weight"), &[c], one, "is_outproj_norm")).transpose()?;
        let gain = (3.0 * depth).sqrt().recip();
        let out_proj = b.get(name("out_proj.weight"), &[d, c], Init::KaimingUniform { fan_in: c, gain }, "d_model, expand")?;
        Ok(Self { config, in_proj, dt_bias, k_bias, q_bias, k_norm, q_norm, skip, mixes, norm, out_proj })
    }

    /// Its sizes.
    pub fn config(&self) -> &Mamba3Config {
        &self.config
    }

    /// Parameters that must not decay.
    pub fn undecayed(&self) -> Vec<ParamId> {
        vec![self.skip, self.dt_bias]
    }

    /// (batch, steps, width) → same, added to `residual` if there is one; and what to carry on.
    ///
    /// # Errors
    /// Shapes that do not fit.
    pub fn forward(
        &self,
        pass: &Pass,
        u: &Value,
        state: Option<&Mamba3State>,
        residual: Option<&Value>,
    ) -> Result<(Value, Mamba3State)> {
        let Mamba3Config { states: n, groups: g, head_width: p, .. } = self.config;
        let (c, h, r, s) = (self.config.channels(), self.config.heads(), self.config.rank(), self.config.angles());
        let (batch, steps, _) = u.tensor().dims3()?;
        let w = pass.param(self.in_proj);
        // Rows of the weight instead of columns of the result: the large parts are not copied.
        let rows = |start: usize, len: usize| plain(u, &ops::narrow(&w, 0, start, len)?);
        let heads = |v: &Value| ops::reshape(v, &[batch, steps, h, p]);
        let (z, x) = (heads(&rows(0, c)?)?, heads(&rows(c, c)?)?);
        let keys = g * n * r;
        let rest = rows(2 * c, 2 * keys + 3 * h + s)?;
        let part = |start, len| ops::narrow(&rest, 2, start, len);
        let coupling = |start, norm| {
            let v = ops::reshape(&part(start, keys)?, &[batch, steps, r, g, n])?;
            ops::rms_norm(&v, &pass.param(norm), self.config.eps)
        };
        let (k, q) = (coupling(0, self.k_norm)?, coupling(keys, self.q_norm)?);
        let dt = ops::step_sizes(&part(2 * keys, h)?, &pass.param(self.dt_bias), [0.0, f64::INFINITY])?;
        let decay = Decay { rate: self.config.rate, floor: self.config.floor };
        let log_decay = ops::decay(&part(2 * keys + h, h)?, &dt, decay)?;
        let (trap, angles) = (part(2 * keys + 2 * h, h)?, part(2 * keys + 3 * h, s)?);
        let (q_bias, k_bias, skip) = (pass.param(self.q_bias), pass.param(self.k_bias), pass.param(self.skip));
        let mixes = self.mixes.map(|m| m.map(|m| pass.param(m)));
        let norm = self.norm.map(|w| pass.param(w));
        let (y, state) = ops::mamba3_scan(&Mamba3Inputs {
            q: &q,
            k: &k,
            x: &x,
            log_decay: &log_decay,
            dt: &dt,
            trap: &trap,
            angles: &angles,
            q_bias: &q_bias,
            k_bias: &k_bias,
            z: Some(&z),
            skip: Some(&skip),
            mixes: mixes.as_ref().map(|[x, z, o]| [x, z, o]),
            norm: norm.as_ref().map(|w| (w, self.config.eps)),
            rotation: if self.config.mimo_rank > 0 { Rotation::Halves } else { Rotation::Pairwise },
            initial: state,
        })?;
        let y = ops::reshape(&y, &[batch, steps, c])?;
        Ok((project(pass, &y, self.out_proj, None, residual)?, state))
    }
}
