//! What a TimeMixer is made of, from options and presets.

use super::{DecompositionKind, Defaults, NetworkOptions, ScheduleKind, Shape, set};
use crate::forecast::neural::architecture::Architecture;
use crate::forecast::neural::learner::Loss;
use crate::forecast::timemixer::{self, Decomposition, MarkOrder, TimeMixerConfig};

impl NetworkOptions {
    pub(super) fn timemixer(
        &self,
        preset: Option<&str>,
        shape: Shape,
        outputs: usize,
    ) -> Result<(Architecture, Defaults), String> {
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
        if matches!(self.decomposition, Some(DecompositionKind::Attention | DecompositionKind::None)) {
            return Err("timemixer: --decomposition must be moving-average, dft or dft-reference".into());
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
}
