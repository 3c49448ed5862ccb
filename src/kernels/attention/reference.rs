//! The definitions, in plain `f64` loops.

use super::Attention;

/// Softmax of each row; zeros for a row of −∞.
pub(crate) fn softmax(x: &[f64], width: usize) -> Vec<f64> {
    let mut y = Vec::new();
    for row in x.chunks(width) {
        let top = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let weights: Vec<f64> = row.iter().map(|x| if top == f64::NEG_INFINITY { 0.0 } else { (x - top).exp() }).collect();
        let sum: f64 = weights.iter().sum();
        y.extend(weights.iter().map(|w| if sum == 0.0 { 0.0 } else { w / sum }));
    }
    y
}

/// Its logarithm, for rows with a finite number.
pub(crate) fn log_softmax(x: &[f64], width: usize) -> Vec<f64> {
    let mut y = Vec::new();
    for row in x.chunks(width) {
        let top = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let log = row.iter().map(|x| (x - top).exp()).sum::<f64>().ln();
        y.extend(row.iter().map(|x| x - top - log));
    }
    y
}

/// Output of attention and log Σ exp of the logits of each query (+∞ where everything is masked).
pub(crate) fn attention(shape: &Attention<f64>, q: &[f64], k: &[f64], v: &[f64]) -> (Vec<f64>, Vec<f64>) {
    let Attention { batch, heads, queries, keys, width, .. } = *shape;
    let mut out = vec![0.0; batch * queries * heads * width];
    let mut log_sums = Vec::new();
    for b in 0..batch {
        for h in 0..heads {
            for i in 0..queries {
                let q_at = ((b * queries + i) * heads + h) * width;
                let k_at = |j: usize| ((b * keys + j) * heads + h) * width;
                let logits: Vec<f64> = (0..keys)
                    .map(|j| {
                        let dot: f64 = (0..width).map(|c| q[q_at + c] * k[k_at(j) + c]).sum();
                        let hidden = shape.causal && j > i;
                        if hidden { f64::NEG_INFINITY } else { dot * shape.scale + shape.mask.map_or(0.0, |m| m[i * keys + j]) }
                    })
                    .collect();
                let weights = if keys == 0 { Vec::new() } else { softmax(&logits, keys) };
                for c in 0..width {
                    out[q_at + c] = (0..keys).map(|j| weights[j] * v[k_at(j) + c]).sum();
                }
                let top = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                let log_sum = top + logits.iter().map(|l| (l - top).exp()).sum::<f64>().ln();
                log_sums.push(if top == f64::NEG_INFINITY { f64::INFINITY } else { log_sum });
            }
        }
    }
    (out, log_sums)
}
