//! Every network there is, as a configuration that can be saved and built.

use super::Network;
use crate::forecast::karma::{Karma, KarmaConfig};
use crate::forecast::linear_network::{LinearNetwork, LinearNetworkConfig};
use crate::forecast::patchtst::{PatchTst, PatchTstConfig};
use crate::forecast::state_space::{StateSpace, StateSpaceConfig};
use crate::forecast::timemixer::{TimeMixer, TimeMixerConfig};
use crate::run::seed::Streams;
use candle_core::{DType, Result};
use serde::{Deserialize, Serialize};

/// A network's make.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "model")]
pub enum Architecture {
    TimeMixer(TimeMixerConfig),
    PatchTst(PatchTstConfig),
    Karma(KarmaConfig),
    StateSpace(StateSpaceConfig),
    Linear(LinearNetworkConfig),
}

impl Architecture {
    /// The network with freshly drawn weights.
    pub fn build(&self, dtype: DType, streams: &Streams) -> Result<Box<dyn Network>> {
        Ok(match self {
            Self::TimeMixer(c) => Box::new(TimeMixer::new(c.clone(), dtype, streams)?),
            Self::PatchTst(c) => Box::new(PatchTst::new(c.clone(), dtype, streams)?),
            Self::Karma(c) => Box::new(Karma::new(c.clone(), dtype, streams)?),
            Self::StateSpace(c) => Box::new(StateSpace::new(c.clone(), dtype, streams)?),
            Self::Linear(c) => Box::new(LinearNetwork::new(c.clone(), dtype, streams)?),
        })
    }

    /// Inputs per channel.
    pub fn lookback(&self) -> usize {
        match self {
            Self::TimeMixer(c) => c.lookback,
            Self::PatchTst(c) => c.lookback,
            Self::Karma(c) => c.lookback,
            Self::StateSpace(c) => c.lookback,
            Self::Linear(c) => c.lookback,
        }
    }

    /// Steps ahead.
    pub fn horizon(&self) -> usize {
        match self {
            Self::TimeMixer(c) => c.horizon,
            Self::PatchTst(c) => c.horizon,
            Self::Karma(c) => c.horizon,
            Self::StateSpace(c) => c.horizon,
            Self::Linear(c) => c.horizon,
        }
    }

    /// Outputs per step.
    pub fn outputs(&self) -> usize {
        match self {
            Self::TimeMixer(c) => c.outputs,
            Self::PatchTst(c) => c.outputs,
            Self::Karma(c) => c.outputs,
            Self::StateSpace(c) => c.outputs,
            Self::Linear(c) => c.outputs,
        }
    }

    /// Calendar features it takes; 0 for none.
    pub fn features(&self) -> usize {
        match self {
            Self::TimeMixer(c) => c.features,
            Self::Karma(c) => c.features,
            Self::StateSpace(c) => c.features,
            _ => 0,
        }
    }
}
