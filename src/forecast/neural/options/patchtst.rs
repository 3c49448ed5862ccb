//! What a PatchTST is made of, from options and presets.

use super::{Defaults, NetworkOptions, ScheduleKind, Shape, set};
use crate::forecast::neural::architecture::Architecture;
use crate::forecast::neural::learner::Loss;
use crate::forecast::patchtst::{self, PatchTstConfig};

impl NetworkOptions {
    pub(super) fn patchtst(
        &self,
        preset: Option<&str>,
        shape: Shape,
        outputs: usize,
    ) -> Result<(Architecture, Defaults), String> {
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
