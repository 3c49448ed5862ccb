//! What a PatchTST is made of.

use serde::{Deserialize, Serialize};

/// What follows each residual sum.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TokenNorm {
    /// statistics of each feature over all patches of the batch (the paper's choice)
    #[default]
    Batch,
    /// statistics of each patch over its features
    Layer,
}

/// Architecture of a [`PatchTst`](super::PatchTst).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PatchTstConfig {
    /// Inputs per channel L.
    pub lookback: usize,
    /// Steps ahead H.
    pub horizon: usize,
    /// Channels N. The network takes any number of them unless `affine` gives each a gain and a shift.
    pub channels: usize,
    /// Outputs per step: 1 for a mean, else one per quantile.
    pub outputs: usize,
    /// Steps of a patch.
    pub patch: usize,
    /// Steps between the starts of patches; the last value is repeated so many times at the end.
    pub stride: usize,
    /// Width of the hidden state d.
    pub d_model: usize,
    /// Attention heads; they share out d.
    pub heads: usize,
    /// Hidden width of the feed-forward part.
    pub d_ff: usize,
    /// Encoder layers.
    pub layers: usize,
    /// Share of values dropped in the encoder while training.
    pub dropout: f64,
    /// Share of the head's inputs dropped while training.
    pub head_dropout: f64,
    /// Normalise each window by its own mean and deviation.
    pub revin: bool,
    /// With a trained gain and shift for each channel.
    pub affine: bool,
    /// See [`TokenNorm`].
    pub norm: TokenNorm,
    /// Each layer adds its scores to those of the layers before it.
    pub residual_attention: bool,
}

impl PatchTstConfig {
    /// The paper's PatchTST: patches of 16 every 8 steps, three layers of width 128.
    pub fn new(lookback: usize, horizon: usize, channels: usize) -> Self {
        Self {
            lookback,
            horizon,
            channels,
            outputs: 1,
            patch: 16,
            stride: 8,
            d_model: 128,
            heads: 16,
            d_ff: 256,
            layers: 3,
            dropout: 0.2,
            head_dropout: 0.0,
            revin: true,
            affine: false,
            norm: TokenNorm::Batch,
            residual_attention: true,
        }
    }

    /// Patches P = ⌊(L − patch) / stride⌋ + 2.
    pub fn patches(&self) -> usize {
        self.lookback.saturating_sub(self.patch) / self.stride.max(1) + 2
    }

    /// What is wrong with it, in words.
    pub fn check(&self) -> Result<(), String> {
        let positive = [
            ("lookback", self.lookback),
            ("horizon", self.horizon),
            ("channels", self.channels),
            ("outputs", self.outputs),
            ("patch", self.patch),
            ("stride", self.stride),
            ("d_model", self.d_model),
            ("heads", self.heads),
            ("d_ff", self.d_ff),
            ("layers", self.layers),
        ];
        if let Some((name, _)) = positive.iter().find(|(_, v)| *v == 0) {
            return Err(format!("patchtst: {name} is 0, expected 1 or more"));
        }
        if self.patch > self.lookback {
            let (patch, lookback) = (self.patch, self.lookback);
            return Err(format!(
                "patchtst: patches of {patch} steps do not fit a lookback of {lookback}: raise -L or lower --patch"
            ));
        }
        if !self.d_model.is_multiple_of(self.heads) {
            return Err(format!("patchtst: d_model {} cannot be shared out among {} heads", self.d_model, self.heads));
        }
        for (name, rate) in [("dropout", self.dropout), ("head_dropout", self.head_dropout)] {
            if !(0.0..1.0).contains(&rate) {
                return Err(format!("patchtst: {name} is {rate}, expected at least 0 and below 1"));
            }
        }
        if self.affine && !self.revin {
            return Err("patchtst: a trained gain and shift (affine) need window normalisation (revin)".into());
        }
        Ok(())
    }
}
