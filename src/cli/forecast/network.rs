//! Options of the verbs that train networks, and how their progress is told.

use crate::cli::args::{not_negative, positive, share};
use crate::cli::failure::{Failure, Outcome};
use crate::forecast::neural::fit::{NetworkError, NetworkSeries};
use crate::forecast::neural::options::{DecompositionKind, LossKind, NetworkKind, NetworkOptions, OptimizerKind, ScheduleKind};
use crate::forecast::sequence;
use crate::forecast::spec::ModelSpec;
use crate::forecast::time_features::{Sampling, time_features};
use crate::forecast::timemixer::{MarkOrder, Pooling};
use crate::kernels::scan::step_size::Rate;
use crate::kernels::wavelet::Wavelet;
use crate::nn::ssm::{BlockKind, StateInit};
use crate::nn::train::TrainError;
use crate::table::{Freq, Panel};
use clap::builder::PossibleValue;
use clap::{Args, ValueEnum};

/// How networks are made and trained. What is not given comes from the preset, else from the model.
#[derive(Debug, Clone, Args)]
#[command(
    next_help_heading = "Networks (timemixer, patchtst, karma, s4, s4d, mamba, mamba2, mamba3, linear models with --solver adam)"
)]
pub struct NetworkArgs {
    /// How linear models find their weights: exactly by least squares, or by gradient descent.
    #[arg(long, value_enum, value_name = "HOW")]
    pub solver: Option<Solver>,
    /// Passes over the training windows.
    #[arg(long, value_name = "N")]
    pub epochs: Option<u32>,
    /// Windows per step.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub batch_size: Option<u32>,
    /// Learning rate (the highest one of a one-cycle schedule).
    #[arg(long, visible_alias = "learning-rate", value_name = "RATE", value_parser = positive)]
    pub lr: Option<f64>,
    /// Epochs without a better validation loss before training stops.
    #[arg(long, value_name = "N")]
    pub patience: Option<u32>,
    /// How the learning rate changes.
    #[arg(long, visible_alias = "lradj", value_enum, value_name = "KIND")]
    pub schedule: Option<ScheduleKind>,
    /// Update rule [default: adam]
    #[arg(long, value_enum, value_name = "RULE")]
    pub optimizer: Option<OptimizerKind>,
    /// Weight decay [default: 0; adamw 0.01]
    #[arg(long, value_name = "X", value_parser = not_negative)]
    pub weight_decay: Option<f64>,
    /// Largest L2 norm of the gradient [default: none]
    #[arg(long, value_name = "NORM", value_parser = positive)]
    pub clip: Option<f64>,
    /// What training minimises, on standardised data; with quantiles it is the pinball loss.
    #[arg(long, value_enum, value_name = "LOSS")]
    pub loss: Option<LossKind>,
    /// Numbers of weights and activations [default: f32]
    #[arg(long, value_enum, value_name = "TYPE")]
    pub dtype: Option<DtypeArg>,
    /// Width of the hidden state.
    #[arg(long, value_name = "D", value_parser = clap::value_parser!(u32).range(1..=65536))]
    pub d_model: Option<u32>,
    /// Hidden width of the feed-forward layers.
    #[arg(long, value_name = "D", value_parser = clap::value_parser!(u32).range(1..=65536))]
    pub d_ff: Option<u32>,
    /// Blocks.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub layers: Option<u32>,
    /// Share of hidden values dropped while training.
    #[arg(long, value_name = "SHARE", value_parser = share)]
    pub dropout: Option<f64>,
    /// patchtst, karma: attention heads.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=4096))]
    pub heads: Option<u32>,
    /// patchtst: steps per patch.
    #[arg(long, value_name = "STEPS", value_parser = clap::value_parser!(u32).range(1..))]
    pub patch: Option<u32>,
    /// patchtst: steps between patches.
    #[arg(long, value_name = "STEPS", value_parser = clap::value_parser!(u32).range(1..))]
    pub stride: Option<u32>,
    /// timemixer: coarser scales besides the window itself.
    #[arg(long, value_name = "N")]
    pub scales: Option<u32>,
    /// timemixer: steps that one step of the next scale stands for.
    #[arg(long, value_name = "STEPS", value_parser = clap::value_parser!(u32).range(2..))]
    pub scale_window: Option<u32>,
    /// timemixer: how those steps are put together.
    #[arg(long, value_enum, value_name = "HOW")]
    pub pooling: Option<Pooling>,
    /// timemixer, karma: how season and trend are split.
    #[arg(long, value_enum, value_name = "HOW")]
    pub decomposition: Option<DecompositionKind>,
    /// timemixer: frequencies that make up the season, with --decomposition dft [default: 5]
    #[arg(long, value_name = "K", value_parser = clap::value_parser!(u32).range(1..))]
    pub top_k: Option<u32>,
    /// timemixer, karma: window of the moving average, odd.
    #[arg(long, value_name = "STEPS", value_parser = clap::value_parser!(u32).range(1..))]
    pub moving_average: Option<u32>,
    /// timemixer, patchtst, s4*, mamba*: normalise each window by its own mean and deviation.
    #[arg(long, value_enum, value_name = "WHETHER")]
    pub normalize: Option<OnOff>,
    /// timemixer, s4*, mamba*: forecast channels one at a time with shared weights, or mix them.
    #[arg(long, value_enum, value_name = "HOW")]
    pub channels: Option<ChannelsArg>,
    /// timemixer, karma, s4*, mamba*: calendar features of the time stamps as inputs [default: off; karma without decomposition: on]
    #[arg(long, value_enum, value_name = "WHETHER")]
    pub time_features: Option<OnOff>,
    /// timemixer: calendar features of the horizon as inputs too; needs --time-features on.
    #[arg(long)]
    pub future_features: bool,
    /// karma, s4*, mamba*: states of a channel of the scans.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=4096))]
    pub d_state: Option<u32>,
    /// karma, mamba*: channels of the scans over the width.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=64))]
    pub expand: Option<u32>,
    /// karma, mamba, mamba2: taps of the scans' convolutions.
    #[arg(long, value_name = "TAPS", value_parser = clap::value_parser!(u32).range(1..=8))]
    pub d_conv: Option<u32>,
    /// mamba2, mamba3: channels of a head of the scans.
    #[arg(long, value_name = "CHANNELS", value_parser = clap::value_parser!(u32).range(1..=4096))]
    pub head_width: Option<u32>,
    /// karma: the wavelet whose halves are scanned.
    #[arg(long, value_enum, value_name = "WAVELET")]
    pub wavelet: Option<Wavelet>,
    /// karma: width of the mix of variates that --decomposition attention works on.
    #[arg(long, value_name = "D", value_parser = clap::value_parser!(u32).range(1..=65536))]
    pub mix_width: Option<u32>,
}

/// See [`NetworkArgs::solver`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Solver {
    /// exact least squares
    Ols,
    /// gradient descent
    Adam,
}

/// Yes or no.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum OnOff {
    On,
    Off,
}

/// See [`NetworkArgs::dtype`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum DtypeArg {
    F32,
    F64,
}

/// See [`NetworkArgs::channels`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ChannelsArg {
    Independent,
    Mixing,
}

/// The library's choices as clap takes them: the library itself knows nothing of clap.
macro_rules! choices {
    ($kind:ty { $($variant:ident = $name:literal $(: $help:literal)?;)* }) => {
        impl ValueEnum for $kind {
            fn value_variants<'a>() -> &'a [Self] {
                &[$(<$kind>::$variant),*]
            }
            fn to_possible_value(&self) -> Option<PossibleValue> {
                Some(match self {
                    $(<$kind>::$variant => PossibleValue::new($name)$(.help($help))?,)*
                })
            }
        }
    };
}

choices! { ScheduleKind {
    OneCycle = "one-cycle": "up to --lr and down to almost nothing, step by step, momentum against it";
    Type1 = "type1": "halved after every epoch but the first";
    Cosine = "cosine": "down along a half cosine";
    Constant = "constant": "the same throughout";
} }
choices! { OptimizerKind {
    Adam = "adam";
    Adamw = "adamw": "Adam with decoupled weight decay";
    Sgd = "sgd": "stochastic gradient descent with momentum 0.9";
} }
choices! { LossKind {
    Mse = "mse": "squared error";
    Mae = "mae": "absolute error";
    Huber = "huber": "squared up to one standard deviation, absolute beyond";
    Smape = "smape": "symmetric percentage error";
    Htf = "htf": "0.2 times the squared error plus 0.8 times the distance of the spectra over the horizon";
} }
choices! { DecompositionKind {
    MovingAverage = "moving-average": "trend = moving average";
    Dft = "dft": "season = the strongest frequencies";
    DftReference = "dft-reference": "what the published program's DFT option computes: no decomposition (for comparisons)";
    Attention = "attention": "karma: trend = what attention over the steps finds";
    None = "none": "karma: not split; the calendar enters";
} }
choices! { Wavelet {
    Db4 = "db4": "Daubechies' with eight taps";
    Haar = "haar": "means and differences of neighbours";
} }
choices! { Pooling {
    Avg = "avg": "mean of neighbours";
    Max = "max": "largest of neighbours";
    Conv = "conv": "a trained circular convolution of width 3";
} }

choices! { sequence::Pooling {
    Mean = "mean": "the mean over the steps";
    Max = "max": "the largest value over the steps";
    Last = "last": "the last step";
    All = "all": "all three";
} }
choices! { BlockKind {
    S4 = "s4": "fixed in time, diagonal plus low rank";
    S4d = "s4d": "fixed in time, diagonal";
    Mamba = "mamba": "decays and couplings chosen by the input";
    Mamba2 = "mamba2": "one decay for each head";
    Mamba3 = "mamba3": "and a rotation";
} }
choices! { StateInit {
    Legs = "legs": "s4: Legendre polynomials of a decaying past";
    Legt = "legt": "s4: Legendre polynomials of a window";
    Fout = "fout": "s4: Fourier series of a window";
    Lagt = "lagt": "s4: Laguerre functions of a decaying past";
    Glagt = "glagt": "s4: the same, decaying a little faster";
    FourierDecay = "fourier-decay": "s4: Fourier series of a window that comes back weaker";
    Fourier2 = "fourier2": "s4: Fourier series of a window of half the length";
    S4dLin = "s4d-lin";
    S4dInv = "s4d-inv";
    S4dLegs = "s4d-legs";
    S4dQuad = "s4d-quad";
    S4dReal = "s4d-real";
} }
choices! { Rate {
    HeavyTail = "heavy-tail": "1 + x, and 1/(1 - x) below 0: state-spaces since June 2026";
    Softplus = "softplus": "before, and in flash-linear-attention";
} }

impl NetworkArgs {
    /// The library's form.
    pub fn options(&self, quantiles: &[f64], mark_order: MarkOrder, drop_last: bool) -> Outcome<NetworkOptions> {
        let count = |v: Option<u32>| v.map(|v| v as usize);
        let on = |v: Option<OnOff>| v.map(|v| v == OnOff::On);
        if let Some(bad) = quantiles.iter().find(|q| !(**q > 0.0 && **q < 1.0)) {
            return Err(Failure::usage(format!("--quantiles: found {bad}, expected values between 0 and 1 such as 0.1,0.5,0.9")));
        }
        let mut quantiles = quantiles.to_vec();
        quantiles.sort_by(f64::total_cmp);
        quantiles.dedup();
        Ok(NetworkOptions {
            epochs: count(self.epochs),
            batch_size: count(self.batch_size),
            learning_rate: self.lr,
            patience: count(self.patience),
            schedule: self.schedule,
            optimizer: self.optimizer,
            weight_decay: self.weight_decay,
            clip_norm: self.clip,
            loss: self.loss,
            quantiles,
            double: self.double(),
            d_model: count(self.d_model),
            d_ff: count(self.d_ff),
            layers: count(self.layers),
            dropout: self.dropout,
            heads: count(self.heads),
            patch: count(self.patch),
            stride: count(self.stride),
            scales: count(self.scales),
            scale_window: count(self.scale_window),
            pooling: self.pooling,
            decomposition: self.decomposition,
            top_k: count(self.top_k),
            moving_average: count(self.moving_average),
            normalize: on(self.normalize),
            channel_independent: self.channels.map(|c| c == ChannelsArg::Independent),
            time_features: on(self.time_features),
            future_features: self.future_features,
            states: count(self.d_state),
            expand: count(self.expand),
            taps: count(self.d_conv),
            head_width: count(self.head_width),
            wavelet: self.wavelet,
            mix_width: count(self.mix_width),
            mark_order,
            drop_last,
        })
    }

    /// Whether networks compute in f64.
    pub fn double(&self) -> bool {
        self.dtype == Some(DtypeArg::F64)
    }

    /// The network a model stands for under these options; `None` for models that are fitted otherwise.
    pub fn network(&self, spec: &ModelSpec) -> Option<NetworkKind> {
        match spec {
            ModelSpec::Network(kind) => Some(*kind),
            ModelSpec::Linear(kind) if self.solver == Some(Solver::Adam) => Some(NetworkKind::Linear(*kind)),
            _ => None,
        }
    }

    /// Refuses network options where no network is trained: they would be ignored.
    pub fn refuse_unused(&self, models: &[ModelSpec]) -> Outcome {
        if self.solver.is_some() && !models.iter().any(|m| matches!(m, ModelSpec::Linear(_))) {
            return Err(Failure::usage("--solver belongs to the linear models, and none of the models is one: leave it out"));
        }
        if models.iter().any(|m| self.network(m).is_some()) {
            return Ok(());
        }
        match self.first_given() {
            Some(option) => Err(Failure::usage(format!(
                "{option} belongs to networks, and none of the models is trained as one: leave it out, or choose timemixer, patchtst, karma, s4, s4d, mamba, mamba2, mamba3, or a \
                 linear model with --solver adam"
            ))),
            None => Ok(()),
        }
    }

    fn first_given(&self) -> Option<&'static str> {
        let given = [
            ("--epochs", self.epochs.is_some()),
            ("--batch-size", self.batch_size.is_some()),
            ("--lr", self.lr.is_some()),
            ("--patience", self.patience.is_some()),
            ("--schedule", self.schedule.is_some()),
            ("--optimizer", self.optimizer.is_some()),
            ("--weight-decay", self.weight_decay.is_some()),
            ("--clip", self.clip.is_some()),
            ("--loss", self.loss.is_some()),
            ("--dtype", self.dtype.is_some()),
            ("--d-model", self.d_model.is_some()),
            ("--d-ff", self.d_ff.is_some()),
            ("--layers", self.layers.is_some()),
            ("--dropout", self.dropout.is_some()),
            ("--heads", self.heads.is_some()),
            ("--patch", self.patch.is_some()),
            ("--stride", self.stride.is_some()),
            ("--scales", self.scales.is_some()),
            ("--scale-window", self.scale_window.is_some()),
            ("--pooling", self.pooling.is_some()),
            ("--decomposition", self.decomposition.is_some()),
            ("--top-k", self.top_k.is_some()),
            ("--moving-average", self.moving_average.is_some()),
            ("--normalize", self.normalize.is_some()),
            ("--channels", self.channels.is_some()),
            ("--time-features", self.time_features.is_some()),
            ("--future-features", self.future_features),
            ("--d-state", self.d_state.is_some()),
            ("--expand", self.expand.is_some()),
            ("--d-conv", self.d_conv.is_some()),
            ("--head-width", self.head_width.is_some()),
            ("--wavelet", self.wavelet.is_some()),
            ("--mix-width", self.mix_width.is_some()),
        ];
        given.into_iter().find(|(_, given)| *given).map(|(option, _)| option)
    }
}

/// Which calendar features a spacing has; none for plain integers.
pub fn sampling(freq: Freq) -> Option<Sampling> {
    const MINUTE: i64 = 60_000_000;
    const DAY: i64 = 24 * 60 * MINUTE;
    match freq {
        Freq::Step(us) if us < MINUTE => Some(Sampling::Second),
        Freq::Step(us) if us < 60 * MINUTE => Some(Sampling::Minute),
        Freq::Step(us) if us < DAY => Some(Sampling::Hour),
        Freq::Step(us) if us % (7 * DAY) == 0 => Some(Sampling::Week),
        Freq::Step(_) | Freq::Business(_) => Some(Sampling::Day),
        Freq::Months(..) => Some(Sampling::Month),
        Freq::Integer(_) => None,
    }
}

/// The calendar features of stamps; empty when there are none to have.
pub fn marks(times: &[i64], sampling: Option<Sampling>) -> Vec<Vec<f64>> {
    let Some(sampling) = sampling else { return Vec::new() };
    times.iter().map(|t| time_features(*t, sampling)).collect::<Option<_>>().unwrap_or_default()
}

/// The series of a panel with their features over history and horizon.
pub fn network_series<'a>(panel: &'a Panel, sampling: Option<Sampling>, horizon: usize) -> Outcome<Vec<NetworkSeries<'a>>> {
    if sampling.is_some() && matches!(panel.freq, Freq::Integer(_)) {
        return Err(Failure::usage(
            "the network takes calendar features, and the data has plain integers for time stamps: give it the time column it was trained with",
        ));
    }
    (panel.series.iter())
        .map(|s| {
            let mut times = s.times.to_vec();
            if sampling.is_some() {
                times.extend(super::predict::future(panel, times.last().copied().unwrap_or(0), horizon)?);
            }
            Ok(NetworkSeries { id: &s.id, y: &s.y, marks: marks(&times, sampling) })
        })
        .collect()
}

/// A failed training as the program ends with it.
pub fn failure(e: NetworkError, kept: Option<&str>) -> Failure {
    match e {
        NetworkError::Data(text) => Failure::usage(text),
        NetworkError::Train(e) => train_failure(e, kept),
    }
}

/// Same, for the training loop's own errors. `kept`: where the state is.
pub fn train_failure(e: TrainError, kept: Option<&str>) -> Failure {
    let whereabouts = kept.map_or(String::new(), |k| format!("; {k}"));
    match e {
        TrainError::Interrupted { .. } => Failure::Interrupted,
        e @ TrainError::NotFinite { .. } => Failure::Numbers(vec![format!("{e}{whereabouts}")]),
        e @ (TrainError::NoBatch { .. } | TrainError::Checkpoint(_) | TrainError::Weights(_)) => Failure::usage(e.to_string()),
        e => Failure::Run(anyhow::anyhow!("{e}")),
    }
}
