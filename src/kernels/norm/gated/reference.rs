//! The definition, in plain `f64` loops.

use super::RmsNormGated;

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// y.
pub fn forward(norm: &RmsNormGated<'_, f64>, x: &[f64], z: Option<&[f64]>) -> Vec<f64> {
    let mut y = vec![0.0; x.len()];
    for first in (0..x.len()).step_by(norm.group.max(1)) {
        let cells = first..first + norm.group;
        let gate = |i: usize| z.map_or(1.0, |z| z[i] * sigmoid(z[i]));
        let v = |i: usize| if norm.norm_before_gate { x[i] } else { x[i] * gate(i) };
        let mean = cells.clone().map(|i| v(i) * v(i)).sum::<f64>() / norm.group as f64;
        for i in cells {
            let weight = norm.weight.map_or(1.0, |w| w[i % norm.width]);
            let after = if norm.norm_before_gate { gate(i) } else { 1.0 };
            y[i] = v(i) / (mean + norm.eps).sqrt() * weight * after;
        }
    }
    y
}

/// The gradients of x, z and weight; empty for what is not there.
pub fn backward(norm: &RmsNormGated<'_, f64>, x: &[f64], z: Option<&[f64]>, dy: &[f64]) -> [Vec<f64>; 3] {
    let n = norm.group as f64;
    let (mut dx, mut dz) = (vec![0.0; x.len()], vec![0.0; z.map_or(0, <[f64]>::len)]);
    let mut dweight = vec![0.0; norm.weight.map_or(0, <[f64]>::len)];
    for first in (0..x.len()).step_by(norm.group.max(1)) {
        let cells = first..first + norm.group;
        let gate = |i: usize| z.map_or(1.0, |z| z[i] * sigmoid(z[i]));
        let slope = |i: usize| z.map_or(0.0, |z| sigmoid(z[i]) * (1.0 + z[i] * (1.0 - sigmoid(z[i]))));
        let weight = |i: usize| norm.weight.map_or(1.0, |w| w[i % norm.width]);
        let v = |i: usize| if norm.norm_before_gate { x[i] } else { x[i] * gate(i) };
        let r = 1.0 / (cells.clone().map(|i| v(i) * v(i)).sum::<f64>() / n + norm.eps).sqrt();
        // The gradient of v̂·weight, then of v̂.
        let outer = |i: usize| if norm.norm_before_gate { dy[i] * gate(i) } else { dy[i] };
        let along = cells.clone().map(|i| outer(i) * weight(i) * v(i) * r).sum::<f64>() / n;
        for i in cells {
            let hat = v(i) * r;
            let dv = r * (outer(i) * weight(i) - hat * along);
            dx[i] = if norm.norm_before_gate { dv } else { dv * gate(i) };
            if z.is_some() {
                let before = if norm.norm_before_gate { dy[i] * hat * weight(i) } else { dv * x[i] };
                dz[i] = before * slope(i);
            }
            if let Some(sum) = dweight.get_mut(i % norm.width) {
                *sum += outer(i) * hat;
            }
        }
    }
    [dx, dz, dweight]
}
