//! Learning rates over time, as functions of the step alone.

use serde::{Deserialize, Serialize};
use std::f64::consts::PI;

/// What a step uses.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rate {
    /// Learning rate.
    pub lr: f64,
    /// Adam's β₁ (or the momentum) where the schedule cycles it.
    pub beta1: Option<f64>,
}

/// A schedule. Past its end it keeps its last value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum Schedule {
    /// The same throughout.
    Constant { lr: f64 },
    /// From max/25 up to max over a share `warm_up` of all steps and down to max/250,000, both along a cosine; β₁ from 0.95 down to
    /// 0.85 and back. `total`: length in steps where it is not that of the training.
    OneCycle { max: f64, warm_up: f64, total: Option<u64> },
    /// Halved after every epoch but the first: lr, lr, lr/2, lr/4, ... (the programs set the rate after epoch e to lr/2^(e − 1)).
    Type1 { lr: f64 },
    /// From `lr` down to 0 along half a cosine.
    Cosine { lr: f64 },
}

/// The first rate is the largest over this, and the last the first over 10,000.
const DIVISOR: f64 = 25.0;
const FINAL_DIVISOR: f64 = 1e4;
/// Ends of the cycled β₁.
const BETA: (f64, f64) = (0.95, 0.85);

impl Schedule {
    /// The same rate throughout.
    pub fn constant(lr: f64) -> Self {
        Self::Constant { lr }
    }

    /// One cycle over the whole training.
    pub fn one_cycle(max: f64, warm_up: f64) -> Self {
        Self::OneCycle { max, warm_up, total: None }
    }

    /// One cycle over `total` steps, whatever the training's length.
    pub fn one_cycle_over(max: f64, warm_up: f64, total: u64) -> Self {
        Self::OneCycle { max, warm_up, total: Some(total) }
    }

    /// Halved after every epoch but the first.
    pub fn type1(lr: f64) -> Self {
        Self::Type1 { lr }
    }

    /// Half a cosine down to 0.
    pub fn cosine(lr: f64) -> Self {
        Self::Cosine { lr }
    }

    /// The rate of step `step` (from 0) of a training of `total` steps, `per_epoch` of them an epoch.
    ///
    /// Source of the one-cycle form: Smith & Topin (2019), with the phases of PyTorch's OneCycleLR: the peak is at step
    /// warm_up · total − 1, the end at total − 1.
    pub fn at(&self, step: u64, per_epoch: u64, total: u64) -> Rate {
        match *self {
            Self::Constant { lr } => Rate { lr, beta1: None },
            Self::Type1 { lr } => Rate { lr: lr * 0.5f64.powf((step / per_epoch.max(1)).saturating_sub(1) as f64), beta1: None },
            Self::Cosine { lr } => Rate { lr: cosine(lr, 0.0, step as f64 / total.max(1) as f64), beta1: None },
            Self::OneCycle { max, warm_up, total: own } => {
                let last = own.unwrap_or(total).max(1) as f64 - 1.0;
                let peak = (warm_up * (last + 1.0) - 1.0).max(0.0);
                let (step, low) = (step as f64, max / DIVISOR);
                if step <= peak && peak > 0.0 {
                    let share = step / peak;
                    Rate { lr: cosine(low, max, share), beta1: Some(cosine(BETA.0, BETA.1, share)) }
                } else {
                    let share = if last > peak { (step - peak) / (last - peak) } else { 1.0 };
                    Rate { lr: cosine(max, low / FINAL_DIVISOR, share), beta1: Some(cosine(BETA.1, BETA.0, share)) }
                }
            }
        }
    }
}

/// From `from` at share 0 to `to` at share 1.
fn cosine(from: f64, to: f64, share: f64) -> f64 {
    to + (from - to) / 2.0 * (1.0 + (PI * share.clamp(0.0, 1.0)).cos())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_cycle_has_the_published_points() {
        let s = Schedule::one_cycle(0.01, 0.2);
        let at = |step| s.at(step, 66, 660);
        // Printed to eight digits.
        for (step, lr) in [(0, 4e-4), (1, 4.0138022e-4), (66, 5.2575545e-3), (131, 1e-2), (330, 6.8859106e-3), (659, 4e-8)] {
            assert!((at(step).lr - lr).abs() < 5e-8 * lr + 1e-15, "step {step}: {}", at(step).lr);
        }
        let beta = |step| at(step).beta1.unwrap();
        assert_eq!((beta(0), beta(131)), (0.95, 0.85));
        assert!((beta(330) - 0.881141).abs() < 5e-7);
        assert_eq!(at(10_000), at(659));
    }

    #[test]
    fn the_others_fall_as_they_should() {
        let halved = [0, 9, 10, 19, 20, 35].map(|step| Schedule::type1(0.1).at(step, 10, 100).lr);
        assert_eq!(halved, [0.1, 0.1, 0.1, 0.1, 0.05, 0.025]);
        assert_eq!(Schedule::constant(0.1).at(99, 10, 100).lr, 0.1);
        let c = Schedule::cosine(0.2);
        assert_eq!(c.at(0, 10, 100).lr, 0.2);
        assert!((c.at(50, 10, 100).lr - 0.1).abs() < 1e-15);
        assert!(c.at(1000, 10, 100).lr.abs() < 1e-15);
        // Degenerate lengths stay finite.
        for total in [0, 1, 2, 3] {
            for step in 0..4 {
                assert!(Schedule::one_cycle(1.0, 0.2).at(step, 0, total).lr.is_finite());
            }
        }
    }

    #[test]
    fn rates_of_the_published_training_run() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/data/forecast-goldens/timemixer_train_golden.json");
        let Ok(text) = std::fs::read_to_string(path) else {
            eprintln!("skipped: timemixer_train_golden.json is not here");
            return;
        };
        let golden: serde_json::Value = serde_json::from_str(&text).unwrap();
        for case in golden["cases"].as_object().unwrap().values() {
            let total = case["total_steps"].as_u64().unwrap();
            let s = Schedule::one_cycle(case["max_lr"].as_f64().unwrap(), 0.2);
            for (k, (lr, beta)) in case["lr"].as_array().unwrap().iter().zip(case["beta1"].as_array().unwrap()).enumerate() {
                let rate = s.at(k as u64, total, total);
                let (lr, beta) = (lr.as_f64().unwrap(), beta.as_f64().unwrap());
                assert!((rate.lr - lr).abs() < 1e-12 * lr.max(1e-3) && (rate.beta1.unwrap() - beta).abs() < 1e-14, "step {k}");
            }
        }
    }
}
