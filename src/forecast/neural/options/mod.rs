//! What a user may say about a network and its training, and what the rest is: the data set's published settings, else the model's
//! defaults.

mod karma;
mod linear;
mod patchtst;
mod state_space;
mod timemixer;

use super::architecture::Architecture;
use super::learner::Loss;
use crate::forecast::linear::LinearKind;
use crate::forecast::linear_network::LinearNetworkConfig;
use crate::forecast::timemixer::{MarkOrder, Pooling};
use crate::kernels::wavelet::Wavelet;
use crate::nn::optimizer::OptimizerConfig;
use crate::nn::schedule::Schedule;
use crate::nn::ssm::BlockKind;
use crate::nn::train::TrainConfig;
use candle_core::DType;
use serde::{Deserialize, Serialize};

/// Which network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NetworkKind {
    TimeMixer,
    PatchTst,
    Karma,
    /// Blocks of state-space scans over the steps.
    StateSpace(BlockKind),
    /// A linear map trained by gradient descent.
    Linear(LinearKind),
}

/// How the learning rate changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ScheduleKind {
    /// up to --lr and down to almost nothing, step by step, momentum against it
    OneCycle,
    /// halved after every epoch but the first
    Type1,
    /// down along a half cosine
    Cosine,
    /// the same throughout
    Constant,
}

/// The update rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OptimizerKind {
    Adam,
    /// Adam with decoupled weight decay
    Adamw,
    /// stochastic gradient descent with momentum 0.9
    Sgd,
}

/// What training minimises, as typed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LossKind {
    /// squared error
    Mse,
    /// absolute error
    Mae,
    /// squared up to one standard deviation, absolute beyond
    Huber,
    /// symmetric percentage error
    Smape,
    /// 0.2 times the squared error plus 0.8 times the distance of the spectra over the horizon
    Htf,
}

/// Season and trend in a TimeMixer or a KARMA, as typed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DecompositionKind {
    /// trend = moving average
    MovingAverage,
    /// season = the strongest frequencies
    Dft,
    /// what the published program's DFT option computes: no decomposition (for comparisons)
    DftReference,
    /// trend = what attention over the steps finds
    Attention,
    /// not split
    None,
}

/// Everything that can be said; `None` leaves it to the preset or the model.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct NetworkOptions {
    pub epochs: Option<usize>,
    pub batch_size: Option<usize>,
    pub learning_rate: Option<f64>,
    pub patience: Option<usize>,
    pub schedule: Option<ScheduleKind>,
    pub optimizer: Option<OptimizerKind>,
    pub weight_decay: Option<f64>,
    pub clip_norm: Option<f64>,
    pub loss: Option<LossKind>,
    pub quantiles: Vec<f64>,
    pub double: bool,
    pub d_model: Option<usize>,
    pub d_ff: Option<usize>,
    pub layers: Option<usize>,
    pub dropout: Option<f64>,
    pub heads: Option<usize>,
    pub patch: Option<usize>,
    pub stride: Option<usize>,
    pub scales: Option<usize>,
    pub scale_window: Option<usize>,
    pub pooling: Option<Pooling>,
    pub decomposition: Option<DecompositionKind>,
    pub top_k: Option<usize>,
    pub moving_average: Option<usize>,
    pub normalize: Option<bool>,
    pub channel_independent: Option<bool>,
    pub time_features: Option<bool>,
    pub future_features: bool,
    /// States of a channel of a scan.
    pub states: Option<usize>,
    /// Channels of a scan over the width.
    pub expand: Option<usize>,
    /// Taps of a scan's convolution.
    pub taps: Option<usize>,
    /// Channels of a head of a scan.
    pub head_width: Option<usize>,
    pub wavelet: Option<Wavelet>,
    pub mix_width: Option<usize>,
    pub mark_order: MarkOrder,
    pub drop_last: bool,
}

/// The shape of the task.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    pub lookback: usize,
    pub horizon: usize,
    pub channels: usize,
    /// Calendar features there could be.
    pub features: usize,
}

/// Fully decided.
#[derive(Debug, Clone, PartialEq)]
pub struct Recipe {
    pub architecture: Architecture,
    pub training: TrainConfig,
    pub loss: Loss,
    pub dtype: DType,
}

/// Training settings before they are overridden.
struct Defaults {
    epochs: usize,
    batch_size: usize,
    learning_rate: f64,
    patience: usize,
    schedule: ScheduleKind,
    warm_up: f64,
    loss: Loss,
}

impl NetworkOptions {
    /// Decides everything for one network on one data set. `preset`: the data set's name, when it is a published one.
    ///
    /// # Errors
    /// A text when an option has no meaning for the network or the result makes no sense.
    pub fn resolve(&self, kind: NetworkKind, preset: Option<&str>, shape: Shape, seed: u64) -> Result<Recipe, String> {
        self.check_meaning(kind)?;
        let outputs = self.quantiles.len().max(1);
        let (architecture, defaults) = match kind {
            NetworkKind::TimeMixer => self.timemixer(preset, shape, outputs)?,
            NetworkKind::PatchTst => self.patchtst(preset, shape, outputs)?,
            NetworkKind::Karma => self.karma(preset, shape, outputs)?,
            NetworkKind::StateSpace(kind) => self.state_space(kind, shape, outputs)?,
            NetworkKind::Linear(kind) => {
                let config = LinearNetworkConfig { kind, lookback: shape.lookback, horizon: shape.horizon, outputs };
                (Architecture::Linear(config), linear::linear_defaults(preset))
            }
        };
        let lr = self.learning_rate.unwrap_or(defaults.learning_rate);
        let schedule = match self.schedule.unwrap_or(defaults.schedule) {
            ScheduleKind::OneCycle => Schedule::one_cycle(lr, defaults.warm_up),
            ScheduleKind::Type1 => Schedule::type1(lr),
            ScheduleKind::Cosine => Schedule::cosine(lr),
            ScheduleKind::Constant => Schedule::constant(lr),
        };
        let decay = self.weight_decay;
        let optimizer = match self.optimizer.unwrap_or(OptimizerKind::Adam) {
            OptimizerKind::Adam => OptimizerConfig::adam().with_weight_decay(decay.unwrap_or(0.0)),
            OptimizerKind::Adamw => OptimizerConfig::adamw().with_weight_decay(decay.unwrap_or(0.01)),
            OptimizerKind::Sgd => OptimizerConfig::sgd(0.9).with_weight_decay(decay.unwrap_or(0.0)),
        };
        let loss = match (self.loss, &self.quantiles[..]) {
            (Some(_), [_, ..]) => return Err("quantile outputs are trained with the pinball loss: leave --loss out".into()),
            (None, [_, ..]) => Loss::Pinball { quantiles: self.quantiles.clone() },
            (None, []) => defaults.loss,
            (Some(LossKind::Mse), []) => Loss::Mse,
            (Some(LossKind::Mae), []) => Loss::Mae,
            (Some(LossKind::Huber), []) => Loss::Huber { delta: 1.0 },
            (Some(LossKind::Smape), []) => Loss::Smape,
            (Some(LossKind::Htf), []) => {
                let [time, frequency] = crate::forecast::karma::presets::HYBRID;
                Loss::TimeFrequency { time, frequency }
            }
        };
        let training = TrainConfig {
            epochs: self.epochs.unwrap_or(defaults.epochs),
            batch_size: self.batch_size.unwrap_or(defaults.batch_size),
            drop_last: self.drop_last,
            shuffle: true,
            optimizer,
            schedule,
            clip_norm: self.clip_norm,
            patience: Some(self.patience.unwrap_or(defaults.patience)),
            seed,
        };
        Ok(Recipe { architecture, training, loss, dtype: if self.double { DType::F64 } else { DType::F32 } })
    }

    /// An option that the network has no use for is a mistake, not a wish to be ignored.
    fn check_meaning(&self, kind: NetworkKind) -> Result<(), String> {
        let mixer = kind == NetworkKind::TimeMixer;
        let patch = kind == NetworkKind::PatchTst;
        let karma = kind == NetworkKind::Karma;
        let (scan, heads) = match kind {
            NetworkKind::StateSpace(kind) => (true, kind.has_heads()),
            _ => (false, false),
        };
        let deep = mixer || patch || karma || scan;
        let conv = karma || matches!(kind, NetworkKind::StateSpace(k) if k.has_convolution());
        let expand = karma || matches!(kind, NetworkKind::StateSpace(k) if !k.is_fixed());
        let name = match kind {
            NetworkKind::TimeMixer => "timemixer",
            NetworkKind::PatchTst => "patchtst",
            NetworkKind::Karma => "karma",
            NetworkKind::StateSpace(kind) => kind.name(),
            NetworkKind::Linear(_) => "a linear network",
        };
        let uses = [
            ("--d-model", self.d_model.is_some(), deep),
            ("--d-ff", self.d_ff.is_some(), mixer || patch),
            ("--layers", self.layers.is_some(), deep),
            ("--dropout", self.dropout.is_some(), deep),
            ("--heads", self.heads.is_some(), patch || karma),
            ("--patch", self.patch.is_some(), patch),
            ("--stride", self.stride.is_some(), patch),
            ("--scales", self.scales.is_some(), mixer),
            ("--scale-window", self.scale_window.is_some(), mixer),
            ("--pooling", self.pooling.is_some(), mixer),
            ("--decomposition", self.decomposition.is_some(), mixer || karma),
            ("--top-k", self.top_k.is_some(), mixer),
            ("--moving-average", self.moving_average.is_some(), mixer || karma),
            ("--normalize", self.normalize.is_some(), mixer || patch || scan),
            ("--channels", self.channel_independent.is_some(), mixer || scan),
            ("--time-features", self.time_features.is_some(), mixer || karma || scan),
            ("--future-features", self.future_features, mixer),
            ("--d-state", self.states.is_some(), karma || scan),
            ("--expand", self.expand.is_some(), expand),
            ("--d-conv", self.taps.is_some(), conv),
            ("--head-width", self.head_width.is_some(), heads),
            ("--wavelet", self.wavelet.is_some(), karma),
            ("--mix-width", self.mix_width.is_some(), karma),
            ("--compat mark-order", self.mark_order == MarkOrder::Reference, mixer),
        ];
        match uses.iter().find(|(_, given, used)| *given && !used) {
            Some((option, ..)) => Err(format!("{option} means nothing for {name}: leave it out")),
            None => Ok(()),
        }
    }
}

fn set<T>(to: &mut T, from: Option<T>) {
    if let Some(value) = from {
        *to = value;
    }
}
