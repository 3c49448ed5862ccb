//! What a KARMA is made of, from options and presets.

use super::{DecompositionKind, Defaults, NetworkOptions, ScheduleKind, Shape, set};
use crate::forecast::karma::presets::{HYBRID, MOVING_AVERAGE, find};
use crate::forecast::karma::{KarmaConfig, KarmaDecomposition};
use crate::forecast::neural::architecture::Architecture;
use crate::forecast::neural::learner::Loss;

/// Width of the mix that the split by attention works on, where no script says another.
const MIX: usize = 64;
/// Heads of that attention.
const HEADS: usize = 4;

impl NetworkOptions {
    pub(super) fn karma(&self, preset: Option<&str>, shape: Shape, outputs: usize) -> Result<(Architecture, Defaults), String> {
        let mut c = KarmaConfig::new(shape.lookback, shape.horizon, shape.channels);
        c.outputs = outputs;
        let [time, frequency] = HYBRID;
        let mut defaults = Defaults {
            epochs: 10,
            batch_size: 32,
            learning_rate: 1e-4,
            patience: 3,
            schedule: ScheduleKind::Type1,
            warm_up: 0.2,
            loss: Loss::TimeFrequency { time, frequency },
        };
        let mut width = MIX;
        if let Some(p) = preset.and_then(find) {
            p.apply(&mut c);
            width = p.width();
            defaults = Defaults { batch_size: p.batch_size, learning_rate: p.learning_rate, loss: p.loss(), ..defaults };
        }
        set(&mut c.d_model, self.d_model);
        set(&mut c.layers, self.layers);
        set(&mut c.states, self.states);
        set(&mut c.expand, self.expand);
        set(&mut c.taps, self.taps);
        set(&mut c.dropout, self.dropout);
        set(&mut c.wavelet, self.wavelet);
        let split = KarmaDecomposition::Attention { width: self.mix_width.unwrap_or(width), heads: self.heads.unwrap_or(HEADS) };
        c.decomposition = match (self.decomposition, c.decomposition) {
            (Some(DecompositionKind::None), _) => KarmaDecomposition::None,
            (Some(DecompositionKind::MovingAverage), _) => {
                KarmaDecomposition::MovingAverage { window: self.moving_average.unwrap_or(MOVING_AVERAGE) }
            }
            (None, KarmaDecomposition::MovingAverage { window }) => {
                KarmaDecomposition::MovingAverage { window: self.moving_average.unwrap_or(window) }
            }
            (None, KarmaDecomposition::None) => KarmaDecomposition::None,
            (Some(DecompositionKind::Attention), _) | (None, KarmaDecomposition::Attention { .. }) => split,
            (Some(_), _) => return Err("karma: --decomposition must be attention, moving-average or none".into()),
        };
        let attention = matches!(c.decomposition, KarmaDecomposition::Attention { .. });
        for (option, given, used) in [
            ("--mix-width", self.mix_width.is_some(), attention),
            ("--heads", self.heads.is_some(), attention),
            (
                "--moving-average",
                self.moving_average.is_some(),
                matches!(c.decomposition, KarmaDecomposition::MovingAverage { .. }),
            ),
        ] {
            if given && !used {
                return Err(format!("{option} means nothing for karma with this --decomposition: leave it out"));
            }
        }
        // The program always feeds the calendar where it does not split.
        let unsplit = c.decomposition == KarmaDecomposition::None;
        c.features = match self.time_features {
            Some(true) if !unsplit => {
                return Err("karma takes calendar features only with --decomposition none".into());
            }
            Some(true) if shape.features == 0 => {
                return Err("--time-features on: the time stamps have no calendar (plain integers)".into());
            }
            Some(true) | None if unsplit => shape.features,
            _ => 0,
        };
        c.check()?;
        Ok((Architecture::Karma(c), defaults))
    }
}
