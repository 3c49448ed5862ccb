//! What a TimeMixer is made of, and the settings the paper's scripts give each data set.

use serde::{Deserialize, Serialize};

/// How a window becomes the next coarser one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Pooling {
    /// mean of neighbours
    Avg,
    /// largest of neighbours
    Max,
    /// a trained circular convolution of width 3
    Conv,
}

/// How a block splits season and trend.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum Decomposition {
    /// Trend = moving average over `window` (odd) steps, edges replicated.
    MovingAverage { window: usize },
    /// Season = the `top_k` strongest frequencies of each series (constant excluded), trend = the rest.
    Dft { top_k: usize },
    /// What the published `dft_decomp` computes: everything is season, except that row 0 of the batch is all trend. For comparison
    /// with published numbers only.
    DftReference,
}

/// Which window's calendar features a row of the batch is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MarkOrder {
    /// Its own.
    #[default]
    Aligned,
    /// Row r of (batch · channels) gets those of window r mod batch, as the published program does.
    Reference,
}

/// Architecture of a [`TimeMixer`](super::TimeMixer).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TimeMixerConfig {
    /// Inputs per channel L.
    pub lookback: usize,
    /// Steps ahead H.
    pub horizon: usize,
    /// Channels N.
    pub channels: usize,
    /// Outputs per step: 1 for a mean, else one per quantile.
    pub outputs: usize,
    /// Calendar features per row; 0 = none are used.
    pub features: usize,
    /// Whether calendar features of the horizon are used too.
    pub future_features: bool,
    /// Width of the hidden state d.
    pub d_model: usize,
    /// Hidden width of the channel MLP.
    pub d_ff: usize,
    /// Blocks E.
    pub layers: usize,
    /// Coarser scales M besides the window itself.
    pub scales: usize,
    /// Steps that one step of the next scale stands for.
    pub window: usize,
    /// How they are put together.
    pub pooling: Pooling,
    /// Season and trend.
    pub decomposition: Decomposition,
    /// Window of the moving average that splits the input of the channel-mixing form.
    pub moving_average: usize,
    /// Normalise each window by its own mean and deviation, with trained gain and shift.
    pub normalize: bool,
    /// One series at a time with shared weights; otherwise channels are mixed.
    pub channel_independent: bool,
    /// Share of embedded values dropped while training.
    pub dropout: f64,
    /// See [`MarkOrder`].
    pub mark_order: MarkOrder,
}

impl TimeMixerConfig {
    /// The program's defaults with three coarser scales, for windows of `lookback`.
    pub fn new(lookback: usize, horizon: usize, channels: usize) -> Self {
        Self {
            lookback,
            horizon,
            channels,
            outputs: 1,
            features: 0,
            future_features: false,
            d_model: 16,
            d_ff: 32,
            layers: 2,
            scales: 3,
            window: 2,
            pooling: Pooling::Avg,
            decomposition: Decomposition::MovingAverage { window: 25 },
            moving_average: 25,
            normalize: true,
            channel_independent: true,
            dropout: 0.1,
            mark_order: MarkOrder::Aligned,
        }
    }

    /// Steps of every scale, T_i = ⌊T_{i−1} / window⌋, from the window itself on.
    pub fn lengths(&self) -> Vec<usize> {
        std::iter::successors(Some(self.lookback), |t| Some(t / self.window.max(1))).take(self.scales + 1).collect()
    }

    /// What is wrong with it, in words.
    pub fn check(&self) -> Result<(), String> {
        let positive = [
            ("lookback", self.lookback),
            ("horizon", self.horizon),
            ("channels", self.channels),
            ("outputs", self.outputs),
            ("d_model", self.d_model),
            ("d_ff", self.d_ff),
            ("layers", self.layers),
        ];
        if let Some((name, _)) = positive.iter().find(|(_, v)| *v == 0) {
            return Err(format!("timemixer: {name} is 0, expected 1 or more"));
        }
        if self.scales > 0 && self.window < 2 {
            return Err(format!("timemixer: the window between scales is {}, expected 2 or more", self.window));
        }
        if self.lengths().last() == Some(&0) {
            let (l, w, m) = (self.lookback, self.window, self.scales);
            return Err(format!("timemixer: lookback {l} is too short for {m} scales of window {w}: raise -L or lower --scales"));
        }
        let even = |k: usize| k.is_multiple_of(2);
        match self.decomposition {
            Decomposition::MovingAverage { window } if even(window) => {
                return Err(format!("timemixer: the moving average takes {window} steps, expected an odd number"));
            }
            Decomposition::Dft { top_k: 0 } => return Err("timemixer: top_k is 0, expected 1 or more".into()),
            _ => {}
        }
        if !self.channel_independent && even(self.moving_average) {
            return Err(format!("timemixer: the moving average takes {} steps, expected an odd number", self.moving_average));
        }
        if self.future_features && self.features == 0 {
            return Err("timemixer: future time features need time features".into());
        }
        if !(0.0..1.0).contains(&self.dropout) {
            return Err(format!("timemixer: dropout is {}, expected at least 0 and below 1", self.dropout));
        }
        Ok(())
    }
}
