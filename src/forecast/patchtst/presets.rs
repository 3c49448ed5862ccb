//! The settings of the authors' scripts, by data set (lookback 336, for illness 104). Written down from memory, not read again.
//!
//! The scripts for ETTh1, ETTh2, weather and illness lower the learning rate by other rules than the one-cycle schedule of the rest;
//! here all data sets share the one-cycle schedule with the given warm-up.

use super::PatchTstConfig;

/// Settings of one data set.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Preset {
    /// The data set's name in `--preset`.
    pub name: &'static str,
    pub patch: usize,
    pub stride: usize,
    pub d_model: usize,
    pub heads: usize,
    pub d_ff: usize,
    pub layers: usize,
    pub dropout: f64,
    pub learning_rate: f64,
    pub batch_size: usize,
    pub epochs: usize,
    pub patience: usize,
    /// Share of the steps in which the one-cycle learning rate rises.
    pub warm_up: f64,
}

/// Width 128, for data sets with many windows.
const fn wide(name: &'static str, batch_size: usize, patience: usize, warm_up: f64) -> Preset {
    Preset {
        name,
        patch: 16,
        stride: 8,
        d_model: 128,
        heads: 16,
        d_ff: 256,
        layers: 3,
        dropout: 0.2,
        learning_rate: 1e-4,
        batch_size,
        epochs: 100,
        patience,
        warm_up,
    }
}

/// Width 16, for small data sets.
const fn small(name: &'static str, warm_up: f64) -> Preset {
    Preset { d_model: 16, heads: 4, d_ff: 128, dropout: 0.3, ..wide(name, 128, 100, warm_up) }
}

/// Every data set there is a script for.
pub const PRESETS: &[Preset] = &[
    small("etth1", 0.3),
    small("etth2", 0.3),
    wide("ettm1", 128, 20, 0.4),
    wide("ettm2", 128, 20, 0.4),
    wide("weather", 128, 20, 0.3),
    wide("electricity", 32, 10, 0.2),
    wide("traffic", 24, 10, 0.2),
    Preset { patch: 24, stride: 2, learning_rate: 2.5e-3, batch_size: 16, ..small("illness", 0.3) },
];

/// The settings of a data set.
pub fn find(name: &str) -> Option<&'static Preset> {
    PRESETS.iter().find(|p| p.name == name)
}

impl Preset {
    /// Puts the architecture into `config`.
    pub fn apply(&self, config: &mut PatchTstConfig) {
        config.patch = self.patch;
        config.stride = self.stride;
        config.d_model = self.d_model;
        config.heads = self.heads;
        config.d_ff = self.d_ff;
        config.layers = self.layers;
        config.dropout = self.dropout;
    }
}
