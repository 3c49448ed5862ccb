//! How linear networks are trained.

use super::{Defaults, ScheduleKind};
use crate::forecast::neural::learner::Loss;

/// Settings of the LTSF-Linear scripts (learning rate and batch; ten epochs, patience 3, the rate halved every epoch).
pub(super) fn linear_defaults(preset: Option<&str>) -> Defaults {
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
