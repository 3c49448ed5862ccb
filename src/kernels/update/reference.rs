//! The steps as they are defined, one element at a time in `f64`. Each gives the new parameter and state.

use super::{Adam, Sgd};

/// New parameter, first and second moment; see [`super::adam`].
pub fn adam(rule: &Adam, step: u64, p: f64, g: f64, m: f64, v: f64) -> (f64, f64, f64) {
    let p_decayed = if rule.decoupled { p - rule.lr * rule.weight_decay * p } else { p };
    let g = if rule.decoupled { g } else { g + rule.weight_decay * p };
    let m = rule.beta1 * m + (1.0 - rule.beta1) * g;
    let v = rule.beta2 * v + (1.0 - rule.beta2) * g * g;
    let m_hat = m / (1.0 - rule.beta1.powf(step as f64));
    let v_hat = v / (1.0 - rule.beta2.powf(step as f64));
    (p_decayed - rule.lr * m_hat / (v_hat.sqrt() + rule.eps), m, v)
}

/// New parameter and velocity; see [`super::sgd`].
pub fn sgd(rule: &Sgd, p: f64, g: f64, b: f64) -> (f64, f64) {
    let g = g + rule.weight_decay * p;
    let b = rule.momentum * b + g;
    let direction = if rule.nesterov { g + rule.momentum * b } else { b };
    (p - rule.lr * direction, b)
}
