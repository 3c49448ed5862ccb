//! Every network there is, as a configuration that can be saved and built.

use super::Network;
use crate::forecast::linear_network::{LinearNetwork, LinearNetworkConfig};
use crate::forecast::patchtst::{PatchTst, PatchTstConfig};
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
    Linear(LinearNetworkConfig),
}

impl Architecture {
    /// The network with freshly drawn weights.
    pub fn build(&self, dtype: DType, streams: &Streams) -> Result<Box<dyn Network>> {
        Ok(match self {
            Self::TimeMixer(c) => Box::new(TimeMixer::new(c.clone(), dtype, streams)?),
            Self::PatchTst(c) => Box::new(PatchTst::new(c.clone(), dtype, streams)?),
            Self::Linear(c) => Box::new(LinearNetwork::new(c.clone(), dtype, streams)?),
        })
    }

    /// Inputs per channel.
    pub fn lookback(&self) -> usize {
        match self {
            Self::TimeMixer(c) => c.lookback,
            Self::PatchTst(c) => c.lookback,
            Self::Linear(c) => c.lookback,
        }
    }

    /// Steps ahead.
    pub fn horizon(&self) -> usize {
        match self {
            Self::TimeMixer(c) => c.horizon,
            Self::PatchTst(c) => c.horizon,
            Self::Linear(c) => c.horizon,
        }
    }

    /// Outputs per step.
    pub fn outputs(&self) -> usize {
        match self {
            Self::TimeMixer(c) => c.outputs,
            Self::PatchTst(c) => c.outputs,
            Self::Linear(c) => c.outputs,
        }
    }

    /// Calendar features it takes; 0 for none.
    pub fn features(&self) -> usize {
        match self {
            Self::TimeMixer(c) => c.features,
            _ => 0,
        }
    }
}
