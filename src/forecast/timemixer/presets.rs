//! The settings of the authors' scripts (the "unified" ones: lookback 96), by data set.
//!
//! Most scripts (not those of solar, PEMS and M4) also feed calendar features, which their program gives to the wrong rows of a batch. What is published is thus reached by networks for which the calendar is noise; given to the right rows it makes them overfit
//! (docs/results.md). Calendar features are therefore off unless asked for.

use super::TimeMixerConfig;
use crate::forecast::neural::learner::Loss;

/// Settings of one data set.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Preset {
    /// The data set's name in `--preset`.
    pub name: &'static str,
    pub layers: usize,
    pub scales: usize,
    pub d_model: usize,
    pub d_ff: usize,
    pub learning_rate: f64,
    pub batch_size: usize,
    pub epochs: usize,
    pub patience: usize,
    /// Whether windows are normalised and channels forecast one at a time.
    pub normalize: bool,
    pub channel_independent: bool,
    /// Absolute instead of squared error.
    pub absolute_loss: bool,
}

const fn unified(name: &'static str, layers: usize, d_model: usize, d_ff: usize, batch_size: usize, epochs: usize) -> Preset {
    Preset {
        name,
        layers,
        scales: 3,
        d_model,
        d_ff,
        learning_rate: 0.01,
        batch_size,
        epochs,
        patience: 10,
        normalize: true,
        channel_independent: true,
        absolute_loss: false,
    }
}

const fn pems(name: &'static str) -> Preset {
    Preset {
        scales: 1,
        learning_rate: 0.003,
        normalize: false,
        channel_independent: false,
        absolute_loss: true,
        ..unified(name, 5, 128, 256, 32, 10)
    }
}

/// Every data set there is a script for. M4 is not among them: its training draws cut points and masks, which the window learner
/// does not do.
pub const PRESETS: &[Preset] = &[
    unified("etth1", 2, 16, 32, 128, 10),
    unified("etth2", 2, 16, 32, 16, 10),
    unified("ettm1", 2, 16, 32, 16, 10),
    unified("ettm2", 2, 32, 32, 128, 10),
    unified("weather", 3, 16, 32, 128, 20),
    unified("electricity", 3, 16, 32, 32, 20),
    unified("traffic", 3, 32, 64, 8, 10),
    Preset {
        scales: 2,
        learning_rate: 0.001,
        patience: 3,
        normalize: false,
        channel_independent: false,
        ..unified("solar", 3, 512, 2048, 32, 10)
    },
    pems("pems03"),
    pems("pems04"),
    pems("pems07"),
    pems("pems08"),
];

/// The settings of a data set.
pub fn find(name: &str) -> Option<&'static Preset> {
    PRESETS.iter().find(|p| p.name == name)
}

impl Preset {
    /// Puts the architecture into `config`.
    pub fn apply(&self, config: &mut TimeMixerConfig) {
        config.layers = self.layers;
        config.scales = self.scales;
        config.d_model = self.d_model;
        config.d_ff = self.d_ff;
        config.normalize = self.normalize;
        config.channel_independent = self.channel_independent;
    }

    /// What the script minimises.
    pub fn loss(&self) -> Loss {
        if self.absolute_loss { Loss::Mae } else { Loss::Mse }
    }
}
