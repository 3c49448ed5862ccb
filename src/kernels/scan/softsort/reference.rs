//! The definition, in plain `f64` loops.

use super::SoftSort;

/// P (batch, len, len).
pub fn forward(of: &SoftSort, scores: &[f64]) -> Vec<f64> {
    let (l, order) = (of.len, of.order(scores));
    let mut p = vec![0.0; of.batch * l * l];
    for b in 0..of.batch {
        let s = &scores[b * l..][..l];
        for i in 0..l {
            let score = s[order[b * l + i]];
            let weight = |j: usize| (-(s[j] - score).abs() / of.tau).exp();
            let sum: f64 = (0..l).map(weight).sum();
            for j in 0..l {
                p[(b * l + i) * l + j] = weight(j) / sum;
            }
        }
    }
    p
}

/// The gradient of the scores from that of P.
pub fn backward(of: &SoftSort, scores: &[f64], dp: &[f64]) -> Vec<f64> {
    let (l, order, p) = (of.len, of.order(scores), forward(of, scores));
    let mut dscores = vec![0.0; scores.len()];
    for b in 0..of.batch {
        for i in 0..l {
            let (row, place) = ((b * l + i) * l, b * l + order[b * l + i]);
            let along: f64 = (0..l).map(|j| p[row + j] * dp[row + j]).sum();
            for j in 0..l {
                // The gradient of the exponent −|s_j − s_(i)| / τ.
                let g = p[row + j] * (dp[row + j] - along);
                let difference = scores[b * l + j] - scores[place];
                let signed = if difference == 0.0 { 0.0 } else { g * difference.signum() } / of.tau;
                dscores[b * l + j] -= signed;
                dscores[place] += signed;
            }
        }
    }
    dscores
}

/// P·x, x being (batch, len, width).
pub fn apply(of: &SoftSort, scores: &[f64], x: &[f64], width: usize) -> Vec<f64> {
    let (l, p) = (of.len, forward(of, scores));
    let mut y = vec![0.0; x.len()];
    for row in 0..of.batch * l {
        for j in 0..l {
            for c in 0..width {
                y[row * width + c] += p[row * l + j] * x[(row / l * l + j) * width + c];
            }
        }
    }
    y
}

/// The gradients of the scores and of x from that of y.
pub fn apply_backward(of: &SoftSort, scores: &[f64], x: &[f64], width: usize, dy: &[f64]) -> [Vec<f64>; 2] {
    let (l, p) = (of.len, forward(of, scores));
    let (mut dp, mut dx) = (vec![0.0; p.len()], vec![0.0; x.len()]);
    for row in 0..of.batch * l {
        for j in 0..l {
            for c in 0..width {
                let (token, g) = ((row / l * l + j) * width + c, dy[row * width + c]);
                dp[row * l + j] += g * x[token];
                dx[token] += p[row * l + j] * g;
            }
        }
    }
    [backward(of, scores, &dp), dx]
}
