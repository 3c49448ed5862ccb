//! The definition, in `f64`.

use super::CausalConv;

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// x with the rows carried in, of one sequence.
fn with_carried(conv: &CausalConv<'_, f64>, i: usize, x: &[f64], before: Option<&[f64]>) -> Vec<f64> {
    let (d, kept) = (conv.channels, conv.taps - 1);
    let mut all = before.map_or_else(|| vec![0.0; kept * d], |b| b[i * kept * d..(i + 1) * kept * d].to_vec());
    let rows = conv.sequences.range(i);
    all.extend_from_slice(&x[rows.start * d..rows.end * d]);
    all
}

/// y, and the rows to carry on.
pub fn forward(conv: &CausalConv<'_, f64>, x: &[f64], before: Option<&[f64]>) -> (Vec<f64>, Vec<f64>) {
    let (d, k) = (conv.channels, conv.taps);
    let (mut y, mut after) = (Vec::new(), Vec::new());
    for i in 0..conv.sequences.count() {
        let all = with_carried(conv, i, x, before);
        for t in 0..conv.sequences.range(i).len() {
            for c in 0..d {
                let sum: f64 = (0..k).map(|j| conv.weight[c * k + j] * all[(t + j) * d + c]).sum();
                let sum = sum + conv.bias.map_or(0.0, |b| b[c]);
                y.push(if conv.silu { sum * sigmoid(sum) } else { sum });
            }
        }
        after.extend_from_slice(&all[all.len() - (k - 1) * d..]);
    }
    (y, after)
}

/// The gradients of x, weight, bias and the rows carried in.
pub fn backward(
    conv: &CausalConv<'_, f64>,
    x: &[f64],
    before: Option<&[f64]>,
    dy: &[f64],
    dafter: Option<&[f64]>,
) -> [Vec<f64>; 4] {
    let (d, k) = (conv.channels, conv.taps);
    let (mut dx, mut dbefore) = (Vec::new(), Vec::new());
    let (mut dw, mut db) = (vec![0.0; d * k], vec![0.0; d]);
    for i in 0..conv.sequences.count() {
        let all = with_carried(conv, i, x, before);
        let mut dall = vec![0.0; all.len()];
        let rows = conv.sequences.range(i);
        for t in 0..rows.len() {
            for c in 0..d {
                let sum: f64 = (0..k).map(|j| conv.weight[c * k + j] * all[(t + j) * d + c]).sum();
                let (sum, mut g) = (sum + conv.bias.map_or(0.0, |b| b[c]), dy[(rows.start + t) * d + c]);
                if conv.silu {
                    let s = sigmoid(sum);
                    g *= s * (1.0 + sum * (1.0 - s));
                }
                db[c] += g;
                for j in 0..k {
                    dw[c * k + j] += g * all[(t + j) * d + c];
                    dall[(t + j) * d + c] += g * conv.weight[c * k + j];
                }
            }
        }
        if let Some(g) = dafter {
            let kept = (k - 1) * d;
            let end = dall.len() - kept;
            dall[end..].iter_mut().zip(&g[i * kept..(i + 1) * kept]).for_each(|(a, g)| *a += g);
        }
        dbefore.extend_from_slice(&dall[..(k - 1) * d]);
        dx.extend_from_slice(&dall[(k - 1) * d..]);
    }
    [dx, dw, db, dbefore]
}
