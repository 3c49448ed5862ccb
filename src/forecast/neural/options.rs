//! What a user may say about a network and its training, and what the rest is: the data set's published settings, else the model's
//! defaults.

use super::architecture::Architecture;
use super::learner::Loss;
use crate::forecast::linear::LinearKind;
use crate::forecast::linear_network::LinearNetworkConfig;
use crate::forecast::patchtst::{self, PatchTstConfig};
use crate::forecast::timemixer::{self, Decomposition, MarkOrder, Pooling, TimeMixerConfig};
use crate::nn::optimizer::OptimizerConfig;
use crate::nn::schedule::Schedule;
use crate::nn::train::TrainConfig;
use candle_core::DType;
use serde::{Deserialize, Serialize};

/// Which network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NetworkKind {
    TimeMixer,
    PatchTst,
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
}

/// Season and trend in a TimeMixer, as typed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DecompositionKind {
    /// trend = moving average
    MovingAverage,
    /// season = the strongest frequencies
    Dft,
    /// what the published program's DFT option computes: no decomposition (for comparisons)
    DftReference,
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
            NetworkKind::Linear(kind) => {
                let config = LinearNetworkConfig { kind, lookback: shape.lookback, horizon: shape.horizon, outputs };
                (Architecture::Linear(config), linear_defaults(preset))
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
        let network = mixer || patch;
        let name = match kind {
            NetworkKind::TimeMixer => "timemixer",
            NetworkKind::PatchTst => "patchtst",
            NetworkKind::Linear(_) => "a linear network",
        };
        let uses = [
            ("--d-model", self.d_model.is_some(), network),
            ("--d-ff", self.d_ff.is_some(), network),
            ("--layers", self.layers.is_some(), network),
            ("--dropout", self.dropout.is_some(), network),
            ("--heads", self.heads.is_some(), patch),
            ("--patch", self.patch.is_some(), patch),
            ("--stride", self.stride.is_some(), patch),
            ("--scales", self.scales.is_some(), mixer),
            ("--scale-window", self.scale_window.is_some(), mixer),
            ("--pooling", self.pooling.is_some(), mixer),
            ("--decomposition", self.decomposition.is_some(), mixer),
            ("--top-k", self.top_k.is_some(), mixer),
            ("--moving-average", self.moving_average.is_some(), mixer),
            ("--normalize", self.normalize.is_some(), network),
            ("--mixing", self.channel_independent.is_some(), mixer),
            ("--time-features", self.time_features.is_some(), mixer),
            ("--future-features", self.future_features, mixer),
            ("--compat mark-order", self.mark_order == MarkOrder::Reference, mixer),
        ];
        match uses.iter().find(|(_, given, used)| *given && !used) {
            Some((option, ..)) => Err(format!("{option} means nothing for {name}: leave it out")),
            None => Ok(()),
        }
    }

    fn timemixer(&self, preset: Option<&str>, shape: Shape, outputs: usize) -> Result<(Architecture, Defaults), String> {
        let mut c = TimeMixerConfig::new(shape.lookback, shape.horizon, shape.channels);
        c.outputs = outputs;
        // As many scales as the window allows, up to the scripts' three.
        let mut defaults = Defaults {
            epochs: 10,
            batch_size: 32,
            learning_rate: 0.003,
            patience: 3,
            schedule: ScheduleKind::OneCycle,
            warm_up: 0.2,
            loss: Loss::Mse,
        };
        if let Some(p) = preset.and_then(timemixer::presets::find) {
            p.apply(&mut c);
            defaults = Defaults {
                epochs: p.epochs,
                batch_size: p.batch_size,
                learning_rate: p.learning_rate,
                patience: p.patience,
                loss: p.loss(),
                ..defaults
            };
        }
        set(&mut c.d_model, self.d_model);
        set(&mut c.d_ff, self.d_ff);
        set(&mut c.layers, self.layers);
        set(&mut c.window, self.scale_window);
        match self.scales {
            Some(scales) => c.scales = scales,
            None => {
                let mut shortest = shape.lookback;
                let fits = (0..c.scales)
                    .take_while(|_| {
                        shortest /= c.window.max(2);
                        shortest >= 2
                    })
                    .count();
                c.scales = fits;
            }
        }
        set(&mut c.pooling, self.pooling);
        set(&mut c.moving_average, self.moving_average);
        set(&mut c.normalize, self.normalize);
        set(&mut c.channel_independent, self.channel_independent);
        set(&mut c.dropout, self.dropout);
        let dft = matches!(self.decomposition, Some(DecompositionKind::Dft));
        if self.top_k.is_some() && !dft {
            return Err("--top-k belongs to --decomposition dft".into());
        }
        c.decomposition = match self.decomposition {
            Some(DecompositionKind::Dft) => Decomposition::Dft { top_k: self.top_k.unwrap_or(5) },
            Some(DecompositionKind::DftReference) => Decomposition::DftReference,
            _ => Decomposition::MovingAverage { window: c.moving_average },
        };
        match self.time_features {
            Some(true) if shape.features == 0 => {
                return Err("--time-features on: the time stamps have no calendar (plain integers)".into());
            }
            Some(true) => c.features = shape.features,
            Some(false) | None if self.future_features => {
                return Err(
                    "--future-features adds the calendar of the horizon to that of the window: it needs --time-features on"
                        .into(),
                );
            }
            Some(false) | None if self.mark_order == MarkOrder::Reference => {
                return Err("--compat mark-order is about calendar features: it needs --time-features on".into());
            }
            Some(false) | None => c.features = 0,
        }
        c.future_features = self.future_features;
        c.mark_order = self.mark_order;
        c.check()?;
        Ok((Architecture::TimeMixer(c), defaults))
    }

    fn patchtst(&self, preset: Option<&str>, shape: Shape, outputs: usize) -> Result<(Architecture, Defaults), String> {
        let mut c = PatchTstConfig::new(shape.lookback, shape.horizon, shape.channels);
        c.outputs = outputs;
        let mut defaults = Defaults {
            epochs: 20,
            batch_size: 32,
            learning_rate: 1e-4,
            patience: 5,
            schedule: ScheduleKind::OneCycle,
            warm_up: 0.3,
            loss: Loss::Mse,
        };
        if let Some(p) = preset.and_then(patchtst::presets::find) {
            p.apply(&mut c);
            defaults = Defaults {
                epochs: p.epochs,
                batch_size: p.batch_size,
                learning_rate: p.learning_rate,
                patience: p.patience,
                warm_up: p.warm_up,
                ..defaults
            };
        }
        set(&mut c.d_model, self.d_model);
        set(&mut c.d_ff, self.d_ff);
        set(&mut c.layers, self.layers);
        set(&mut c.heads, self.heads);
        set(&mut c.patch, self.patch);
        set(&mut c.stride, self.stride);
        set(&mut c.dropout, self.dropout);
        set(&mut c.revin, self.normalize);
        c.check()?;
        Ok((Architecture::PatchTst(c), defaults))
    }
}

fn set<T>(to: &mut T, from: Option<T>) {
    if let Some(value) = from {
        *to = value;
    }
}

/// Settings of the LTSF-Linear scripts (learning rate and batch; ten epochs, patience 3, the rate halved every epoch).
fn linear_defaults(preset: Option<&str>) -> Defaults {
    let (learning_rate, batch_size) = match preset {
        Some("etth2") => (0.05, 32),
        Some("ettm1") => (1e-4, 8),
        Some("ettm2") => (1e-3, 32),
        Some("exchange") => (5e-4, 8),
        Some("illness") => (0.01, 32),
        Some("electricity") => (1e-3, 16),
        Some("traffic") => (0.05, 16),
        Some("weather") => (1e-4, 16),
        _ => (0.005, 32),
    };
    Defaults { epochs: 10, batch_size, learning_rate, patience: 3, schedule: ScheduleKind::Type1, warm_up: 0.2, loss: Loss::Mse }
}
