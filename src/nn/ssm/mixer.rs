//! One of the blocks, chosen at run time.

use super::mamba1::{Mamba1, Mamba1Config, Mamba1State};
use super::mamba2::{Mamba2, Mamba2Config, Mamba2State};
use super::mamba3::{Mamba3, Mamba3Config, Mamba3State};
use super::s4::{S4, S4Config, S4State};
use crate::nn::builder::Builder;
use crate::nn::params::{ParamId, WeightsError};
use crate::nn::pass::Pass;
use crate::nn::tape::Value;
use candle_core::{Result, Tensor, bail};
use serde::{Deserialize, Serialize};

/// A block and its sizes.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "layer", rename_all = "kebab-case")]
pub enum MixerConfig {
    Mamba1(Mamba1Config),
    Mamba2(Mamba2Config),
    Mamba3(Mamba3Config),
    S4(S4Config),
}

/// A block that mixes the steps of a sequence.
#[derive(Debug, Clone)]
pub enum Mixer {
    Mamba1(Mamba1),
    Mamba2(Mamba2),
    Mamba3(Mamba3),
    S4(S4),
}

/// What a block carries on.
#[derive(Clone)]
pub enum MixerState {
    Mamba1(Mamba1State),
    Mamba2(Mamba2State),
    Mamba3(Mamba3State),
    S4(S4State),
    /// Nothing: the sequence was run whole.
    Nothing,
}

impl Mixer {
    /// Declares the parameters under `prefix`. `depth`: layers of the model, which the output is scaled down by.
    ///
    /// # Errors
    /// Stored tensors that do not fit.
    pub fn new(b: &mut Builder<'_>, prefix: &str, config: &MixerConfig, depth: f64) -> std::result::Result<Self, WeightsError> {
        Ok(match *config {
            MixerConfig::Mamba1(config) => Self::Mamba1(Mamba1::new(b, prefix, config, depth)?),
            MixerConfig::Mamba2(config) => Self::Mamba2(Mamba2::new(b, prefix, config, depth)?),
            MixerConfig::Mamba3(config) => Self::Mamba3(Mamba3::new(b, prefix, config, depth)?),
            MixerConfig::S4(config) => Self::S4(S4::new(b, prefix, config)?),
        })
    }

    /// Parameters that must not decay.
    pub fn undecayed(&self) -> Vec<ParamId> {
        match self {
            Self::Mamba1(m) => m.undecayed(),
            Self::Mamba2(m) => m.undecayed(),
            Self::Mamba3(m) => m.undecayed(),
            Self::S4(m) => m.undecayed(),
        }
    }

    /// (batch, steps, width) → same, added to `residual` if there is one; and what to carry on.
    ///
    /// # Errors
    /// Shapes that do not fit, the state of another block.
    pub fn forward(
        &self,
        pass: &Pass,
        u: &Value,
        state: Option<&MixerState>,
        residual: Option<&Value>,
    ) -> Result<(Value, MixerState)> {
        match (self, state) {
            (Self::Mamba1(m), None) => m.forward(pass, u, None, residual).map(|(y, s)| (y, MixerState::Mamba1(s))),
            (Self::Mamba1(m), Some(MixerState::Mamba1(s))) => {
                m.forward(pass, u, Some(s), residual).map(|(y, s)| (y, MixerState::Mamba1(s)))
            }
            (Self::Mamba2(m), None) => m.forward(pass, u, None, residual).map(|(y, s)| (y, MixerState::Mamba2(s))),
            (Self::Mamba2(m), Some(MixerState::Mamba2(s))) => {
                m.forward(pass, u, Some(s), residual).map(|(y, s)| (y, MixerState::Mamba2(s)))
            }
            (Self::Mamba3(m), None) => m.forward(pass, u, None, residual).map(|(y, s)| (y, MixerState::Mamba3(s))),
            (Self::Mamba3(m), Some(MixerState::Mamba3(s))) => {
                m.forward(pass, u, Some(s), residual).map(|(y, s)| (y, MixerState::Mamba3(s)))
            }
            (Self::S4(m), None) => m.forward(pass, u, None, residual).map(|(y, _)| (y, MixerState::Nothing)),
            (Self::S4(m), Some(MixerState::S4(s))) => {
                let (y, next) = m.forward(pass, u, Some(s), residual)?;
                Ok((y, next.map_or(MixerState::Nothing, MixerState::S4)))
            }
            _ => bail!("the state that was carried in belongs to another kind of block"),
        }
    }

    /// Names and shapes of what is carried on, for a batch of `batch`.
    fn carried(&self, batch: usize) -> Vec<(&'static str, Vec<usize>)> {
        match self {
            Self::Mamba1(m) => {
                let c = m.config();
                vec![("conv", vec![batch, c.taps - 1, c.channels()]), ("scan", vec![batch, c.channels(), c.states])]
            }
            Self::Mamba2(m) => {
                let c = m.config();
                vec![
                    ("conv_x", vec![batch, c.taps - 1, c.scan_channels]),
                    ("conv_bc", vec![batch, c.taps - 1, 2 * c.groups * c.states]),
                    ("scan", vec![batch, c.heads(), c.head_width, c.states]),
                ]
            }
            Self::S4(m) => {
                let c = m.config();
                vec![("re", vec![batch, c.width, c.states / 2]), ("im", vec![batch, c.width, c.states / 2])]
            }
            Self::Mamba3(m) => {
                let c = m.config();
                vec![
                    ("angle", vec![batch, c.heads(), c.angles()]),
                    ("scan", vec![batch, c.heads(), c.head_width, c.states]),
                    ("key", vec![batch, c.rank(), c.heads(), c.states]),
                    ("value", vec![batch, c.heads(), c.head_width]),
                ]
            }
        }
    }

    /// Builds a state from tensors found by name.
    ///
    /// # Errors
    /// A tensor that is missing or has another shape, named with `prefix`.
    pub fn state_from(&self, prefix: &str, batch: usize, mut find: impl FnMut(&str) -> Option<Tensor>) -> Result<MixerState> {
        let mut values = Vec::new();
        for (name, dims) in self.carried(batch) {
            let name = format!("{prefix}{name}");
            let Some(tensor) = find(&name) else {
                bail!("tensor \"{name}\" is missing; the model carries it with shape {dims:?}")
            };
            if tensor.dims() != dims {
                bail!("tensor \"{name}\" has shape {:?}, the model carries {dims:?}", tensor.dims());
            }
            values.push(Value::from(tensor));
        }
        let mut values = values.into_iter();
        let mut next = || values.next().ok_or_else(|| candle_core::Error::Msg("a state is missing".into()));
        Ok(match self {
            Self::Mamba1(_) => MixerState::Mamba1(Mamba1State { conv: next()?, scan: next()? }),
            Self::Mamba2(_) => MixerState::Mamba2(Mamba2State { conv: [next()?, next()?], scan: next()? }),
            Self::S4(_) => MixerState::S4([next()?, next()?]),
            Self::Mamba3(_) => MixerState::Mamba3(Mamba3State { angle: next()?, state: next()?, key: next()?, value: next()? }),
        })
    }
}

impl MixerState {
    /// Its tensors by name.
    pub fn tensors(&self) -> Vec<(&'static str, &Tensor)> {
        match self {
            Self::Mamba1(s) => vec![("conv", s.conv.tensor()), ("scan", s.scan.tensor())],
            Self::Mamba2(s) => {
                vec![("conv_x", s.conv[0].tensor()), ("conv_bc", s.conv[1].tensor()), ("scan", s.scan.tensor())]
            }
            Self::S4([re, im]) => vec![("re", re.tensor()), ("im", im.tensor())],
            Self::Nothing => Vec::new(),
            Self::Mamba3(s) => vec![
                ("angle", s.angle.tensor()),
                ("scan", s.state.tensor()),
                ("key", s.key.tensor()),
                ("value", s.value.tensor()),
            ],
        }
    }
}
