//! What a state-space forecaster is made of.

use crate::kernels::scan::causal_conv::MOST_TAPS;
use crate::nn::ssm::{Mamba1Config, Mamba2Config, Mamba3Config, MixerConfig, S4Config, StateInit};
use serde::{Deserialize, Serialize};

/// Which scan the blocks are made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StateSpaceKind {
    /// Diagonal plus low rank, fixed in time.
    S4,
    /// Diagonal, fixed in time.
    S4d,
    Mamba,
    Mamba2,
    Mamba3,
}

impl StateSpaceKind {
    /// As typed.
    pub fn name(self) -> &'static str {
        match self {
            Self::S4 => "s4",
            Self::S4d => "s4d",
            Self::Mamba => "mamba",
            Self::Mamba2 => "mamba2",
            Self::Mamba3 => "mamba3",
        }
    }

    /// Whether its channels come in heads.
    pub fn has_heads(self) -> bool {
        matches!(self, Self::Mamba2 | Self::Mamba3)
    }

    /// Whether a short convolution stands before the scan.
    pub fn has_convolution(self) -> bool {
        matches!(self, Self::Mamba | Self::Mamba2)
    }

    /// Whether the scan is wider than the stream.
    pub fn expands(self) -> bool {
        !self.is_fixed()
    }

    /// Whether it is the same system at every step.
    pub fn is_fixed(self) -> bool {
        matches!(self, Self::S4 | Self::S4d)
    }
}

/// Architecture of a [`StateSpace`](super::StateSpace).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StateSpaceConfig {
    pub kind: StateSpaceKind,
    /// Inputs per channel L.
    pub lookback: usize,
    /// Steps ahead H.
    pub horizon: usize,
    /// Channels N.
    pub channels: usize,
    /// Outputs per step: 1 for a mean, else one per quantile.
    pub outputs: usize,
    /// Width of the stream d.
    pub d_model: usize,
    /// Blocks.
    pub layers: usize,
    /// States of a channel of the scans.
    pub states: usize,
    /// Channels of the scans over the width.
    pub expand: usize,
    /// Taps of the convolutions.
    pub taps: usize,
    /// Channels of a head.
    pub head_width: usize,
    /// Share of a block's output dropped while training.
    pub dropout: f64,
    /// Normalise each window by its own mean and deviation.
    pub normalize: bool,
    /// Every channel is a sequence of its own, all with the same weights; else a step is the vector of all channels.
    pub channel_independent: bool,
    /// Calendar features that each step brings along; 0 for none.
    pub features: usize,
}

impl StateSpaceConfig {
    /// Two blocks of width 64.
    pub fn new(kind: StateSpaceKind, lookback: usize, horizon: usize, channels: usize) -> Self {
        Self {
            kind,
            lookback,
            horizon,
            channels,
            outputs: 1,
            d_model: 64,
            layers: 2,
            states: match kind {
                StateSpaceKind::Mamba => 16,
                StateSpaceKind::Mamba2 | StateSpaceKind::Mamba3 => 32,
                StateSpaceKind::S4 | StateSpaceKind::S4d => 64,
            },
            expand: 2,
            taps: 4,
            head_width: 16,
            dropout: 0.1,
            normalize: true,
            channel_independent: true,
            features: 0,
        }
    }

    /// The blocks' own sizes.
    pub fn mixer(&self) -> MixerConfig {
        let (width, states, expand, taps, head_width) = (self.d_model, self.states, self.expand, self.taps, self.head_width);
        match self.kind {
            StateSpaceKind::S4 | StateSpaceKind::S4d => {
                let init = if self.kind == StateSpaceKind::S4 { StateInit::Legs } else { StateInit::S4dLin };
                MixerConfig::S4(S4Config { states, init, longest: self.lookback, ..S4Config::new(width) })
            }
            StateSpaceKind::Mamba => MixerConfig::Mamba1(Mamba1Config { states, expand, taps, ..Mamba1Config::new(width) }),
            StateSpaceKind::Mamba2 => {
                let scan_channels = expand * width;
                MixerConfig::Mamba2(Mamba2Config { states, expand, taps, head_width, scan_channels, ..Mamba2Config::new(width) })
            }
            StateSpaceKind::Mamba3 => {
                MixerConfig::Mamba3(Mamba3Config { states, expand, head_width, ..Mamba3Config::new(width) })
            }
        }
    }

    /// What is wrong with it, in words.
    pub fn check(&self) -> Result<(), String> {
        let name = self.kind.name();
        let positive = [
            ("lookback", self.lookback),
            ("horizon", self.horizon),
            ("channels", self.channels),
            ("outputs", self.outputs),
            ("d_model", self.d_model),
            ("layers", self.layers),
            ("d_state", self.states),
            ("expand", self.expand),
            ("d_conv", self.taps),
            ("head_width", self.head_width),
        ];
        if let Some((what, _)) = positive.iter().find(|(_, v)| *v == 0) {
            return Err(format!("{name}: {what} is 0, expected 1 or more"));
        }
        let channels = self.expand * self.d_model;
        if self.kind.has_heads() && !channels.is_multiple_of(self.head_width) {
            return Err(format!("{name}: {channels} channels do not make heads of {}: set --head-width", self.head_width));
        }
        if (self.kind == StateSpaceKind::Mamba3 || self.kind.is_fixed()) && !self.states.is_multiple_of(2) {
            return Err(format!("{name}: states come in pairs, and {} is odd: set --d-state", self.states));
        }
        if self.taps > MOST_TAPS {
            return Err(format!("{name}: d_conv is {}, expected {MOST_TAPS} at most", self.taps));
        }
        if !(0.0..1.0).contains(&self.dropout) {
            return Err(format!("{name}: dropout is {}, expected at least 0 and below 1", self.dropout));
        }
        Ok(())
    }
}
