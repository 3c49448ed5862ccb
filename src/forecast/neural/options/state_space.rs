//! What a state-space forecaster is made of, from options.

use super::{Defaults, NetworkOptions, ScheduleKind, Shape, set};
use crate::forecast::neural::architecture::Architecture;
use crate::forecast::neural::learner::Loss;
use crate::forecast::state_space::StateSpaceConfig;
use crate::nn::ssm::BlockKind;

impl NetworkOptions {
    pub(super) fn state_space(&self, kind: BlockKind, shape: Shape, outputs: usize) -> Result<(Architecture, Defaults), String> {
        let mut c = StateSpaceConfig::new(kind, shape.lookback, shape.horizon, shape.channels);
        c.outputs = outputs;
        set(&mut c.d_model, self.d_model);
        set(&mut c.layers, self.layers);
        set(&mut c.states, self.states);
        set(&mut c.expand, self.expand);
        set(&mut c.taps, self.taps);
        set(&mut c.head_width, self.head_width);
        set(&mut c.dropout, self.dropout);
        set(&mut c.normalize, self.normalize);
        set(&mut c.channel_independent, self.channel_independent);
        c.features = match self.time_features {
            Some(true) if shape.features == 0 => {
                return Err("--time-features on: the time stamps have no calendar (plain integers)".into());
            }
            Some(true) => shape.features,
            _ => 0,
        };
        c.check()?;
        let defaults = Defaults {
            epochs: 10,
            batch_size: 32,
            learning_rate: 1e-3,
            patience: 3,
            schedule: ScheduleKind::OneCycle,
            warm_up: 0.2,
            loss: Loss::Mse,
        };
        Ok((Architecture::StateSpace(c), defaults))
    }
}
