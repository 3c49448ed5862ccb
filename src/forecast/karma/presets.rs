//! Settings of the published scripts, by data set. What they leave out is the model's default.

use super::config::{KarmaConfig, KarmaDecomposition};
use crate::forecast::neural::learner::Loss;

/// Window of the scripts' moving average.
pub const MOVING_AVERAGE: usize = 25;

/// One row of the scripts.
#[derive(Debug, Clone, Copy)]
pub struct Preset {
    pub name: &'static str,
    d_model: usize,
    layers: usize,
    states: usize,
    expand: usize,
    taps: usize,
    /// Whether season and trend are split.
    split: bool,
    /// Width of the mix in the paper's split.
    width: usize,
    pub learning_rate: f64,
    pub batch_size: usize,
    /// Weights of the error over time and of that of the spectra; the first alone for plain squared errors.
    loss: [f64; 2],
}

const ETT: Preset = Preset {
    name: "ettm1",
    d_model: 256,
    layers: 2,
    states: 16,
    expand: 2,
    taps: 4,
    split: true,
    width: 32,
    learning_rate: 1e-4,
    batch_size: 32,
    loss: HYBRID,
};
/// The weights of the paper.
pub const HYBRID: [f64; 2] = [0.2, 0.8];

const ALL: [Preset; 8] = [
    Preset { name: "etth1", states: 2, split: false, ..ETT },
    Preset { name: "etth2", split: false, width: 64, ..ETT },
    ETT,
    Preset { name: "ettm2", width: 64, ..ETT },
    Preset { name: "weather", d_model: 128, layers: 3, width: 128, ..ETT },
    Preset {
        name: "electricity",
        d_model: 512,
        layers: 3,
        expand: 1,
        taps: 2,
        width: 256,
        learning_rate: 5e-4,
        batch_size: 16,
        ..ETT
    },
    Preset {
        name: "traffic",
        d_model: 512,
        layers: 4,
        states: 32,
        expand: 1,
        taps: 2,
        split: false,
        width: 256,
        learning_rate: 1e-3,
        loss: [1.0, 0.0],
        ..ETT
    },
    Preset {
        name: "exchange",
        d_model: 512,
        expand: 1,
        taps: 2,
        split: false,
        width: 64,
        learning_rate: 1e-5,
        batch_size: 16,
        loss: [0.99, 0.01],
        ..ETT
    },
];

/// The row of a data set.
pub fn find(name: &str) -> Option<&'static Preset> {
    ALL.iter().find(|p| p.name == name)
}

impl Preset {
    /// Puts the script's sizes in.
    pub fn apply(&self, c: &mut KarmaConfig) {
        // The script of ETTh1 is wider for the two longer horizons.
        c.d_model = if self.name == "etth1" && c.horizon >= 336 { 512 } else { self.d_model };
        c.layers = self.layers;
        c.states = self.states;
        c.expand = self.expand;
        c.taps = self.taps;
        c.decomposition = match self.split {
            true => KarmaDecomposition::MovingAverage { window: MOVING_AVERAGE },
            false => KarmaDecomposition::None,
        };
    }

    /// Width of the mix in the paper's split.
    pub fn width(&self) -> usize {
        self.width
    }

    /// What the script minimises.
    pub fn loss(&self) -> Loss {
        match self.loss {
            [_, 0.0] => Loss::Mse,
            [time, frequency] => Loss::TimeFrequency { time, frequency },
        }
    }
}
