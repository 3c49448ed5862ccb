//! What a KARMA is made of.

use crate::kernels::wavelet::Wavelet;
use serde::{Deserialize, Serialize};

/// How a window is split into season and trend.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KarmaDecomposition {
    /// Not at all; calendar features are tokens beside the variates. What the published program does on ETTh1, ETTh2, exchange, traffic.
    None,
    /// Trend = moving average. What the published program does elsewhere.
    MovingAverage { window: usize },
    /// Trend = what attention over the steps finds in a mix of the variates (the paper's choice). `width`: of the mix.
    Attention { width: usize, heads: usize },
}

/// Architecture of a [`Karma`](super::Karma).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct KarmaConfig {
    /// Inputs per channel L.
    pub lookback: usize,
    /// Steps ahead H.
    pub horizon: usize,
    /// Channels N.
    pub channels: usize,
    /// Outputs per step: 1 for a mean, else one per quantile.
    pub outputs: usize,
    /// Width of a token d, even.
    pub d_model: usize,
    /// Blocks.
    pub layers: usize,
    /// States of a channel of the scans.
    pub states: usize,
    /// Channels of the scans over the width.
    pub expand: usize,
    /// Taps of the scans' convolutions.
    pub taps: usize,
    /// Share of values dropped behind the embedding while training.
    pub dropout: f64,
    pub decomposition: KarmaDecomposition,
    pub wavelet: Wavelet,
    /// Calendar features, each a token; 0 without, and with a decomposition.
    pub features: usize,
}

impl KarmaConfig {
    /// The paper's KARMA with the sizes of most of its scripts.
    pub fn new(lookback: usize, horizon: usize, channels: usize) -> Self {
        Self {
            lookback,
            horizon,
            channels,
            outputs: 1,
            d_model: 256,
            layers: 2,
            states: 16,
            expand: 2,
            taps: 4,
            dropout: 0.1,
            decomposition: KarmaDecomposition::Attention { width: 64, heads: 4 },
            wavelet: Wavelet::Db4,
            features: 0,
        }
    }

    /// What is wrong with it, in words.
    pub fn check(&self) -> Result<(), String> {
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
        ];
        if let Some((name, _)) = positive.iter().find(|(_, v)| *v == 0) {
            return Err(format!("karma: {name} is 0, expected 1 or more"));
        }
        if !self.d_model.is_multiple_of(2) {
            return Err(format!("karma: d_model {} is odd, and the wavelet halves it: expected an even number", self.d_model));
        }
        if self.taps > crate::kernels::scan::causal_conv::MOST_TAPS {
            let most = crate::kernels::scan::causal_conv::MOST_TAPS;
            return Err(format!("karma: d_conv is {}, expected {most} at most", self.taps));
        }
        if !(0.0..1.0).contains(&self.dropout) {
            return Err(format!("karma: dropout is {}, expected at least 0 and below 1", self.dropout));
        }
        match self.decomposition {
            KarmaDecomposition::None => {}
            _ if self.features > 0 => {
                return Err("karma: calendar features are tokens only without a decomposition: add --decomposition none".into());
            }
            KarmaDecomposition::MovingAverage { window } if window.is_multiple_of(2) => {
                return Err(format!("karma: the moving average over {window} steps has no middle: expected an odd number"));
            }
            KarmaDecomposition::Attention { width, heads } if heads == 0 || width == 0 || !width.is_multiple_of(heads) => {
                return Err(format!("karma: a mix of width {width} cannot be shared out among {heads} heads"));
            }
            _ => {}
        }
        Ok(())
    }
}
