//! What a state-space forecaster is made of.

use crate::nn::ssm::{BlockKind, BlockSizes, MixerConfig};
use serde::{Deserialize, Serialize};

/// Architecture of a [`StateSpace`](super::StateSpace).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StateSpaceConfig {
    pub kind: BlockKind,
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
    pub fn new(kind: BlockKind, lookback: usize, horizon: usize, channels: usize) -> Self {
        Self {
            kind,
            lookback,
            horizon,
            channels,
            outputs: 1,
            d_model: 64,
            layers: 2,
            states: match kind {
                BlockKind::Mamba => 16,
                BlockKind::Mamba2 | BlockKind::Mamba3 => 32,
                BlockKind::S4 | BlockKind::S4d => 64,
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
    ///
    /// # Errors
    /// What is wrong with them, in words.
    pub fn mixer(&self) -> Result<MixerConfig, String> {
        let (expand, taps, head_width) = (self.expand, self.taps, self.head_width);
        let sizes = BlockSizes { expand, taps, head_width, ..BlockSizes::new(self.d_model, self.states, self.lookback) };
        self.kind.block(&sizes)
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
        self.mixer()?;
        if !(0.0..1.0).contains(&self.dropout) {
            return Err(format!("{name}: dropout is {}, expected at least 0 and below 1", self.dropout));
        }
        Ok(())
    }
}
