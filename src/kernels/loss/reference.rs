//! The definitions, as plain loops in `f64`. Each gives the mean loss and its gradient with respect to the prediction.

/// Σ wᵢ ℓᵢ / divisor with `term(f, y) -> (ℓ, ∂ℓ/∂f)`; a weight of 0 leaves its term out.
pub fn mean(
    term: impl Fn(f64, f64) -> (f64, f64),
    prediction: &[f64],
    target: &[f64],
    weights: Option<&[f64]>,
    divisor: f64,
) -> (f64, Vec<f64>) {
    let mut loss = 0.0;
    let mut gradient = vec![0.0; prediction.len()];
    for i in 0..prediction.len() {
        let w = weights.map_or(1.0, |w| w[i]);
        if w != 0.0 && divisor != 0.0 {
            let (l, g) = term(prediction[i], target[i]);
            loss += w * l / divisor;
            gradient[i] = w * g / divisor;
        }
    }
    (loss, gradient)
}

fn sign(x: f64) -> f64 {
    if x > 0.0 {
        1.0
    } else if x < 0.0 {
        -1.0
    } else {
        0.0
    }
}

/// (f − y)².
pub fn squared(f: f64, y: f64) -> (f64, f64) {
    ((f - y) * (f - y), 2.0 * (f - y))
}

/// |f − y|.
pub fn absolute(f: f64, y: f64) -> (f64, f64) {
    ((f - y).abs(), sign(f - y))
}

/// ½d² up to δ, δ(|d| − ½δ) beyond.
pub fn huber(delta: f64) -> impl Fn(f64, f64) -> (f64, f64) {
    move |f, y| {
        let d: f64 = f - y;
        if d.abs() <= delta { (0.5 * d * d, d) } else { (delta * (d.abs() - 0.5 * delta), delta * sign(d)) }
    }
}

/// 200 |f − y| / (|f| + |y|), the denominator a constant, not-finite numbers 0.
pub fn smape(f: f64, y: f64) -> (f64, f64) {
    let finite = |x: f64| if x.is_finite() { x } else { 0.0 };
    let denominator = f.abs() + y.abs();
    (finite(200.0 * (f - y).abs() / denominator), finite(200.0 * sign(f - y) / denominator))
}

/// max(q (y − f), (q − 1)(y − f)).
pub fn pinball(q: f64) -> impl Fn(f64, f64) -> (f64, f64) {
    move |f, y| {
        let d = y - f;
        let slope = if d > 0.0 {
            -q
        } else if d < 0.0 {
            1.0 - q
        } else {
            0.0
        };
        ((q * d).max((q - 1.0) * d), slope)
    }
}

/// Cross entropy; see [`super::cross_entropy`].
pub fn cross_entropy(
    logits: &[f64],
    targets: &[u32],
    classes: usize,
    ignore: Option<u32>,
    smoothing: f64,
    weights: Option<&[f64]>,
) -> (f64, Vec<f64>) {
    let weight = |c: usize| weights.map_or(1.0, |w| w[c]);
    let divisor: f64 = targets.iter().filter(|c| Some(**c) != ignore).map(|&c| weight(c as usize)).sum();
    let mut loss = 0.0;
    let mut gradient = vec![0.0; logits.len()];
    for (row, &class) in targets.iter().enumerate() {
        if Some(class) == ignore || divisor == 0.0 {
            continue;
        }
        let z = &logits[row * classes..(row + 1) * classes];
        let top = z.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let log_sum = top + z.iter().map(|z| (z - top).exp()).sum::<f64>().ln();
        let q = |c: usize| (smoothing / classes as f64 + if c == class as usize { 1.0 - smoothing } else { 0.0 }) * weight(c);
        let mass: f64 = (0..classes).map(q).sum();
        for c in 0..classes {
            loss -= q(c) * (z[c] - log_sum) / divisor;
            gradient[row * classes + c] = (mass * (z[c] - log_sum).exp() - q(c)) / divisor;
        }
    }
    (loss, gradient)
}
