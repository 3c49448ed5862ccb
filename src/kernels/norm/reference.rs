//! The definitions, in plain `f64` loops.

use super::{Centre, Layout};

/// Layer norm, or RMS norm when not `centred`. `x`: (rows × width).
pub(crate) fn row_norm(x: &[f64], width: usize, centred: bool, weight: &[f64], bias: &[f64], eps: f64) -> Vec<f64> {
    let mut y = Vec::new();
    for row in x.chunks(width) {
        let mean = if centred { row.iter().sum::<f64>() / width as f64 } else { 0.0 };
        let variance = row.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / width as f64;
        for c in 0..width {
            y.push((row[c] - mean) / (variance + eps).sqrt() * weight[c] + bias[c]);
        }
    }
    y
}

/// Batch norm with the statistics of the rows.
pub(crate) fn batch_norm(x: &[f64], width: usize, weight: &[f64], bias: &[f64], eps: f64) -> Vec<f64> {
    let rows = x.len() / width;
    let mut y = vec![0.0; x.len()];
    for c in 0..width {
        let mean = (0..rows).map(|r| x[r * width + c]).sum::<f64>() / rows as f64;
        let variance = (0..rows).map(|r| (x[r * width + c] - mean).powi(2)).sum::<f64>() / rows as f64;
        for r in 0..rows {
            y[r * width + c] = (x[r * width + c] - mean) / (variance + eps).sqrt() * weight[c] + bias[c];
        }
    }
    y
}

/// Sums of columns.
pub(crate) fn column_sums(x: &[f64], width: usize) -> Vec<f64> {
    let mut sums = vec![0.0; width];
    for row in x.chunks(width) {
        for c in 0..width {
            sums[c] += row[c];
        }
    }
    sums
}

/// Where step `t` of channel `c` of element `b` lies.
pub(crate) fn place(layout: Layout, channels: usize, time: usize, [b, c, t]: [usize; 3]) -> usize {
    match layout {
        Layout::TimeLast => (b * channels + c) * time + t,
        Layout::ChannelsLast => (b * time + t) * channels + c,
    }
}

/// Centre and standard deviation of each series.
pub(crate) fn series_moments(
    x: &[f64],
    layout: Layout,
    [batch, channels, time]: [usize; 3],
    centre: Centre,
    eps: f64,
) -> (Vec<f64>, Vec<f64>) {
    let (mut centres, mut stds) = (Vec::new(), Vec::new());
    for b in 0..batch {
        for c in 0..channels {
            let series: Vec<f64> = (0..time).map(|t| x[place(layout, channels, time, [b, c, t])]).collect();
            let mean = series.iter().sum::<f64>() / time as f64;
            let variance = series.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / time as f64;
            centres.push(if centre == Centre::Mean { mean } else { series[time - 1] });
            stds.push((variance + eps).sqrt());
        }
    }
    (centres, stds)
}

/// Instance norm with given statistics.
pub(crate) fn instance_norm(
    x: &[f64],
    layout: Layout,
    [batch, channels, time]: [usize; 3],
    (centres, stds): (&[f64], &[f64]),
    (gamma, beta): (&[f64], &[f64]),
) -> Vec<f64> {
    let mut y = vec![0.0; x.len()];
    for b in 0..batch {
        for c in 0..channels {
            for t in 0..time {
                let at = place(layout, channels, time, [b, c, t]);
                y[at] = (x[at] - centres[b * channels + c]) / stds[b * channels + c] * gamma[c] + beta[c];
            }
        }
    }
    y
}

/// Its inverse with `eps` squared added to gamma.
pub(crate) fn instance_restore(
    y: &[f64],
    layout: Layout,
    [batch, channels, time]: [usize; 3],
    (centres, stds): (&[f64], &[f64]),
    (gamma, beta): (&[f64], &[f64]),
    eps: f64,
) -> Vec<f64> {
    let mut x = vec![0.0; y.len()];
    for b in 0..batch {
        for c in 0..channels {
            for t in 0..time {
                let at = place(layout, channels, time, [b, c, t]);
                x[at] = (y[at] - beta[c]) / (gamma[c] + eps * eps) * stds[b * channels + c] + centres[b * channels + c];
            }
        }
    }
    x
}

/// The gradient of `Σ f(x) · dy` by central differences with step `h`; the error is about `h²` and `1e-16 / h`.
pub(crate) fn central(x: &[f64], dy: &[f64], h: f64, f: impl Fn(&[f64]) -> Vec<f64>) -> Vec<f64> {
    let mut x = x.to_vec();
    (0..x.len())
        .map(|i| {
            let kept = x[i];
            x[i] = kept + h;
            let up = f(&x);
            x[i] = kept - h;
            let down = f(&x);
            x[i] = kept;
            up.iter().zip(&down).zip(dy).map(|((u, d), w)| (u - d) * w).sum::<f64>() / (2.0 * h)
        })
        .collect()
}
